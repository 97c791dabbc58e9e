// Writes views into the page: what stands in them is decided elsewhere.

import { byId, element, fillFacts, fillLines, fillList, setAttributes, setEnabled, setText, show, svg } from "./dom.js";
import { encoderCard, outputCard, soundCard, sourceCard } from "./facts.js";
import { actions, headline } from "./headline.js";
import { fillMeters, meterNote, meters } from "./meters.js";
import { timeOfDay } from "./words.js";

/** All of one stream but picture, charts and events; `daemonNow` in ms on the daemon's clock. */
export function showStream(stream, daemonNow, isLost) {
  showHeadline(stream, daemonNow, isLost);
  fillMeters(byId("meters"), meters(stream.audio));
  setText(byId("meter-note"), meterNote(stream.audio));
  showCard(byId("source"), sourceCard(stream));
  showCard(byId("encoder"), encoderCard(stream));
  showCard(byId("sound"), soundCard(stream));
  const cards = stream.outputs.map((output) => outputCard(output, daemonNow));
  fillList(byId("outputs"), cards, newCard, showCard);
}

/** Links to the streams, where there is more than one. */
export function showStreams(streams, selected, daemonNow, isLost) {
  show(byId("streams"), streams.length > 1);
  const make = () => element("li", {}, element("a", {}, icon(), element("span")));
  fillList(byId("streams").firstElementChild, streams, make, (item, stream) => {
    const [link] = item.children;
    const { tone, title } = headline(stream, daemonNow);
    setAttributes(link, { href: `#/${stream.id}`, "aria-current": stream.id === selected ? "page" : null, title });
    showTone(link, isLost ? "idle" : tone);
    setText(link.lastElementChild, stream.id);
  });
}

/** The line above everything; `null` where all is well. */
export function showWarning(warning) {
  const place = byId("warning");
  if (warning !== null) {
    setAttributes(place, { "data-tone": warning.tone });
    setText(byId("warning-title"), warning.title);
    setText(byId("warning-text"), warning.text);
  }
  show(place, warning !== null);
}

/** `lines` as events.js makes them, the newest first; `viewerTime` brings the daemon's clock to ours. */
export function showEvents(lines, viewerTime, now) {
  const make = () =>
    element("li", {}, element("time"), icon(), element("span", { class: "text" }), element("span", { class: "detail" }));
  fillList(byId("events"), lines, make, (item, line) => {
    const [time, , text, detail] = item.children;
    showTone(item, line.tone);
    const at = line.at === null ? null : viewerTime(line.at);
    setText(time, at === null ? "" : timeOfDay(at, now));
    setAttributes(time, { datetime: at === null ? null : new Date(at).toISOString() });
    setText(text, line.text);
    setText(detail, line.detail);
  });
  show(byId("no-events"), lines.length === 0);
}

function showHeadline(stream, daemonNow, isLost) {
  const { title, tone, state, reasons, note, since } = headline(stream, daemonNow);
  const place = byId("headline");
  showTone(place, isLost ? "idle" : tone);
  setText(byId("state"), isLost ? `Was: ${title}` : title);
  setText(byId("state-word"), state);
  setText(byId("stream-name"), stream.id);
  setText(byId("since"), isLost ? "" : since ?? "");
  fillLines(byId("reasons"), reasons);
  setText(byId("note"), isLost ? "" : note ?? "");
  // Read out when the state changes, and not with each number in a reason.
  const announcer = byId("announcer");
  const said = isLost ? "No contact with uplinkd" : `${stream.id}: ${title}`;
  if (announcer.dataset.said !== said) {
    announcer.dataset.said = said;
    setText(announcer, isLost ? said : [said, ...reasons].join(". "));
  }
  const possible = actions(stream);
  for (const button of byId("actions").querySelectorAll("button")) {
    setEnabled(button, !isLost && possible[button.dataset.action]);
  }
}

function showCard(card, { title, tone, badge, reasons, rows }) {
  if (title !== undefined) setText(card.querySelector("h3"), title);
  showTone(card.querySelector(".badge"), tone);
  setText(card.querySelector(".badge span"), badge);
  fillLines(card.querySelector(".reasons"), reasons);
  fillFacts(card.querySelector("dl"), rows);
}

function newCard() {
  return element(
    "article",
    { class: "card" },
    element("header", {}, element("h3"), element("p", { class: "badge" }, icon(), element("span"))),
    element("ul", { class: "reasons" }),
    element("dl"),
  );
}

/** Colour and sign: never colour alone. */
function showTone(node, tone) {
  setAttributes(node, { "data-tone": tone });
  setAttributes(node.querySelector("use"), { href: `#sign-${tone}` });
}

function icon() {
  return svg("svg", { class: "sign", "aria-hidden": "true" }, svg("use"));
}
