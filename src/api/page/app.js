// The page: asks the daemon, keeps what it said, and has it shown.

import { Api } from "./api.js";
import { BoundsForm } from "./bounds-form.js";
import { trialOf } from "./bounds.js";
import { ChartView } from "./chart-view.js";
import { UNKNOWN_OFFSET, daemonTime, offsetAfter, viewerTime } from "./clock.js";
import { answered, failed, label, opened, staleness, standing, warning } from "./contact.js";
import { byId, isEnabled, setAttributes, setText, show } from "./dom.js";
import { follow } from "./event-stream.js";
import { about, lineOf, missedLine, withLine } from "./events.js";
import { tabTitle } from "./headline.js";
import { History, SPAN, sampleOf, samplesOf } from "./history.js";
import { showEvents, showStream, showStreams, showWarning } from "./panels.js";
import { Picture } from "./picture.js";
import { milliseconds, rate, sentence } from "./words.js";

class Page {
  #api = new Api(window.fetch.bind(window), (response) => this.#readClock(response));
  #contact = opened(Date.now());
  /** Of the daemon's clock, see clock.js. */
  #offset = UNKNOWN_OFFSET;
  #needsToken = false;
  #streams = [];
  #selected = null;
  /** By stream. */
  #histories = new Map();
  #events = [];
  #lastEvent = null;
  /** Ends the reading of events. */
  #reading = null;
  #version = null;
  #isOutdated = false;
  #isOnTrial = false;

  #picture = new Picture(document.querySelector(".watch"), this.#api);
  #bounds = new BoundsForm(byId("bounds"), this.#api);
  #charts = [
    new ChartView(byId("rates"), {
      scale: "rate",
      text: rate,
      series: [
        { key: "acknowledged", name: "Acknowledged, with sound", shape: "area" },
        { key: "estimate", name: "Estimate of the link", shape: "line" },
        { key: "encoded", name: "Encoded", shape: "line" },
        { key: "target", name: "Target", shape: "steps" },
      ],
    }),
    new ChartView(byId("delays"), {
      scale: "time",
      text: milliseconds,
      series: [
        { key: "buffer", name: "Send buffer", shape: "area" },
        { key: "rtt", name: "RTT", shape: "line" },
      ],
    }),
  ];

  async run() {
    this.#listen();
    setInterval(() => this.#tick(), TICK);
    await this.#askForSession();
    this.#enter();
    while (true) {
      await (this.#needsToken ? this.#askForSession() : this.#ask());
      await new Promise((resolve) => setTimeout(resolve, this.#interval()));
    }
  }

  // What the daemon says.

  async #ask() {
    try {
      const streams = await this.#api.streams();
      const now = Date.now();
      const wasLost = standing(this.#contact, now) === "lost";
      this.#contact = answered(this.#contact, now);
      this.#take(streams, now);
      if (wasLost) this.#enter();
    } catch (error) {
      this.#fail(error);
    }
    this.#show();
  }

  #take(streams, now) {
    this.#streams = streams;
    for (const stream of streams) this.#history(stream.id).add(sampleOf(stream, now));
    this.#choose();
  }

  /** The stream that the address names, or the first. */
  #choose() {
    const wanted = location.hash.replace(/^#\/?/, "");
    const stream = this.#streams.find(({ id }) => id === wanted) ?? this.#streams[0];
    this.#select(stream?.id ?? null);
  }

  #fail(error) {
    if (error.kind === "sign-in") return this.#demandToken();
    const isMute = error.kind === "unreachable";
    const detail = isMute ? sentence(error.message) : `It answers with an error: ${error.message}`;
    this.#contact = failed(this.#contact, detail);
  }

  /** After a silence the daemon may be another one: what seldom changes is asked for anew. */
  #enter() {
    if (this.#needsToken) return;
    this.#readInfo();
    this.#readConfiguration();
    this.#readEvents();
    if (this.#selected !== null) this.#bounds.load(this.#selected);
  }

  async #readInfo() {
    try {
      const { version, gstreamer, host } = await this.#api.info();
      setText(byId("host"), host ?? "");
      setText(byId("version"), `uplinkd ${version}, ${gstreamer.replace(/^(?=\d)/, "GStreamer ")}`);
      this.#isOutdated = this.#version !== null && this.#version !== version;
      this.#version ??= version;
    } catch (error) {
      this.#fail(error);
    }
  }

  async #readConfiguration() {
    const place = byId("trial");
    try {
      const configuration = await this.#api.configuration();
      const trial = trialOf(configuration, daemonTime(this.#offset, Date.now()));
      this.#isOnTrial = trial?.canConfirm ?? false;
      if (trial !== null) setText(place.firstElementChild, trial.text);
      for (const button of place.querySelectorAll("button")) show(button, this.#isOnTrial);
      show(place, trial !== null);
    } catch {
      // A daemon without a configuration to change has nothing on trial; one that is gone is told of elsewhere.
      this.#isOnTrial = false;
      show(place, false);
    }
  }

  async #readHistory(id) {
    try {
      const series = await this.#api.series(id, SPAN / 1000);
      this.#history(id).prepend(samplesOf(series, (time) => viewerTime(this.#offset, time)));
    } catch (error) {
      // Without what was recorded, the charts begin now; a daemon that is gone is told of elsewhere.
      console.info(`no recording of ${id}: ${error.message}`);
    }
  }

  #readEvents() {
    this.#reading?.abort();
    if (document.hidden) return;
    this.#reading = new AbortController();
    follow({
      open: (id, signal) => this.#api.events(id, signal),
      onEvent: (event) => this.#takeEvent(event),
      onTrouble: (error) => this.#showEventTrouble(error),
      signal: this.#reading.signal,
      lastId: this.#lastEvent,
    });
  }

  #takeEvent({ id, event, data }) {
    this.#lastEvent = id;
    if (event === "snapshot") {
      if (data.missed > 0) this.#addLine(missedLine(id, data));
      return;
    }
    this.#addLine(lineOf({ id, data }));
    if (event.startsWith("configuration")) {
      this.#readConfiguration();
      if (this.#selected !== null) this.#bounds.load(this.#selected);
    }
  }

  #addLine(line) {
    const lines = withLine(this.#events, line);
    if (lines === null) return;
    this.#events = lines;
    this.#showEvents();
  }

  // What people do.

  #listen() {
    window.addEventListener("hashchange", () => (this.#choose(), this.#show()));
    document.addEventListener("visibilitychange", () => {
      if (this.#needsToken) return;
      this.#readEvents();
      this.#ask(); // a browser may have let the page sleep
    });
    byId("actions").addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (button && isEnabled(button)) this.#act(button.dataset.action);
    });
    byId("sign-in").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn(byId("token"));
    });
    byId("sign-out").addEventListener("click", () => this.#signOut());
    const trial = byId("trial");
    trial.querySelector(".keep").addEventListener("click", () => this.#settle(() => this.#api.confirm()));
    trial.querySelector(".take-back").addEventListener("click", () => this.#settle(() => this.#api.rollBack()));
  }

  async #act(action) {
    const id = this.#selected;
    const message = byId("action-message");
    if (QUESTIONS[action] && !(await this.#confirm(QUESTIONS[action], id))) return;
    const say = (text, tone) => (setText(message, text), setAttributes(message, { "data-tone": tone }));
    say(`Asking for ${ACTIONS[action]} …`, "info");
    try {
      await this.#api.act(id, action);
      say(`Asked for ${ACTIONS[action]}.`, "ok");
    } catch (error) {
      say(`No ${ACTIONS[action]}: ${error.message}.`, "bad");
    }
    setTimeout(() => setText(message, ""), MESSAGE_TIME);
  }

  #confirm({ title, text, yes }, id) {
    const dialog = byId("confirm");
    setText(byId("confirm-title"), `${title} ${id}?`);
    setText(byId("confirm-text"), text);
    setText(dialog.querySelector("[value=yes]"), yes);
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }

  async #settle(ask) {
    try {
      await ask();
    } catch (error) {
      setText(byId("action-message"), `${sentence(error.message)}.`);
    }
    this.#readConfiguration();
    this.#bounds.load(this.#selected);
  }

  // Who may see it.

  /** Somebody may have signed in beside us, in another window. */
  async #askForSession() {
    try {
      const { token_required, open } = await this.#api.session();
      this.#contact = answered(this.#contact, Date.now());
      show(byId("sign-out"), token_required && open);
      if (token_required && !open) this.#demandToken();
      else this.#admit();
    } catch (error) {
      this.#fail(error);
    }
  }

  #demandToken() {
    if (this.#needsToken) return;
    this.#needsToken = true;
    this.#reading?.abort();
    this.#show();
    byId("token").focus();
  }

  #admit() {
    if (!this.#needsToken) return;
    this.#needsToken = false;
    this.#enter();
  }

  async #signIn(input) {
    const message = byId("sign-in-message");
    setText(message, "Signing in …");
    try {
      await this.#api.signIn(input.value);
      setText(message, "");
      show(byId("sign-out"), true);
      this.#admit();
    } catch (error) {
      const again = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
      setText(message, error.kind === "sign-in" ? "That is not the token." : `${sentence(error.message)}.${again}`);
      setAttributes(message, { "data-tone": "bad" });
      input.focus();
    }
    input.value = "";
  }

  async #signOut() {
    try {
      await this.#api.signOut();
    } catch (error) {
      return this.#fail(error);
    }
    show(byId("sign-out"), false);
    this.#demandToken();
  }

  // What is shown.

  #select(id) {
    if (id === this.#selected) return;
    this.#selected = id;
    if (id === null) return;
    this.#picture.watch(id);
    this.#bounds.load(id);
    if (!this.#history(id).isRecalled) {
      this.#history(id).isRecalled = true;
      this.#readHistory(id);
    }
    this.#showEvents();
  }

  /** Twice a second, whether the daemon answers or not. */
  #tick() {
    const now = Date.now();
    this.#show();
    if (document.hidden || this.#needsToken || this.#selected === null) return;
    for (const chart of this.#charts) chart.show(this.#history(this.#selected), now);
    this.#picture.refresh(now, matchMedia("(prefers-reduced-motion: reduce)").matches);
    if (this.#isOnTrial) this.#readConfiguration();
  }

  #show() {
    const now = Date.now();
    const daemonNow = daemonTime(this.#offset, now);
    const stream = this.#streams.find(({ id }) => id === this.#selected) ?? null;
    const contact = standing(this.#contact, now);
    const isLost = contact === "lost";
    document.title = this.#needsToken ? "Sign in – uplinkd" : tabTitle(stream, contact);
    document.body.classList.toggle("lost", isLost);
    showWarning(this.#warning(this.#needsToken ? null : stream, now));
    show(byId("sign-in"), this.#needsToken);
    show(byId("stream"), !this.#needsToken && stream !== null);
    show(byId("empty"), !this.#needsToken && contact === "live" && stream === null);
    const isOut = this.#needsToken && !isLost;
    setText(byId("contact").querySelector("span"), isOut ? "Signed out" : label(this.#contact, now));
    const tone = isOut ? "idle" : CONTACT_TONES[contact];
    setAttributes(byId("contact"), { "data-tone": tone });
    setAttributes(byId("contact").querySelector("use"), { href: `#sign-${tone}` });
    if (stream === null) return;
    showStreams(this.#needsToken ? [] : this.#streams, stream.id, daemonNow, isLost);
    showStream(stream, daemonNow, isLost);
    this.#picture.describe(stream, daemonNow, isLost);
  }

  #warning(stream, now) {
    const outdated = { tone: "warn", title: "uplinkd is another version now", text: "Please load this page again." };
    return warning(this.#contact, now) ?? staleness(stream) ?? (this.#isOutdated ? outdated : null);
  }

  #showEvents() {
    const lines = about(this.#events, this.#selected);
    showEvents(lines, (time) => viewerTime(this.#offset, time), Date.now());
  }

  #showEventTrouble(error) {
    if (error?.kind === "sign-in") return this.#demandToken();
    const place = byId("events-trouble");
    show(place, error !== null);
    if (error === null) return;
    const isMissing = error.kind === "missing";
    setText(place, isMissing ? "This version of uplinkd tells no events here." : `No new events: ${error.message}.`);
  }

  #history(id) {
    if (!this.#histories.has(id)) this.#histories.set(id, new History());
    return this.#histories.get(id);
  }

  #readClock(response) {
    this.#offset = offsetAfter(this.#offset, Date.parse(response.headers.get("date")), Date.now());
  }

  #interval() {
    if (standing(this.#contact, Date.now()) === "lost") return LOST_INTERVAL;
    return document.hidden || this.#needsToken ? HIDDEN_INTERVAL : INTERVAL;
  }
}

const CONTACT_TONES = { live: "ok", late: "warn", lost: "bad", never: "wait" };

const ACTIONS = { start: "a start", stop: "a stop", restart: "a restart", keyframe: "a key frame" };

/** What takes a stream off air is asked about first. */
const QUESTIONS = {
  stop: {
    title: "Stop",
    text: "Viewers lose picture and sound until somebody starts it again.",
    yes: "Stop the stream",
  },
  restart: {
    title: "Restart",
    text: "Picture and sound are made anew: viewers see an interruption.",
    yes: "Restart the stream",
  },
};

// ms between questions for the streams: meters want to move.
const INTERVAL = 250;

// ms, while nobody looks or may look: enough for the title and the charts.
const HIDDEN_INTERVAL = 2000;

// ms, while the daemon does not answer.
const LOST_INTERVAL = 1000;

// ms between looks at how old everything is.
const TICK = 500;

// ms
const MESSAGE_TIME = 8000;

new Page().run();
