// A stream's state with its reason, for somebody who has a second to look. Pure.

import { duration, rate } from "./words.js";

/**
 * `tone` is ok, wait, warn, bad or idle; `title` says it in words, `reasons` why, `note` what else there is to say;
 * `state` is the API's own word.
 */
export function headline(stream, nowMs) {
  const { title, tone } = words(stream);
  return {
    title,
    tone,
    state: stream.state,
    reasons: reasons(stream.reason),
    note: note(stream),
    since: since(stream.since, nowMs),
  };
}

/** Which actions make sense now. */
export function actions(stream) {
  const isOff = stream.state === "stopped";
  return {
    start: isOff || stream.state === "failed",
    stop: !isOff,
    restart: !isOff,
    keyframe: stream.encoder !== null,
  };
}

/** The title of the browser's tab. */
export function tabTitle(stream, contact) {
  if (contact === "lost") return "No contact – uplinkd";
  return stream ? `${words(stream).title} – ${stream.id} – uplinkd` : "uplinkd";
}

function words(stream) {
  const { state, source } = stream;
  if (state === "degraded" && isSlate(source)) return { title: "Slate on air", tone: "warn" };
  return STATES[state] ?? { title: state, tone: "warn" };
}

/** Whether viewers see the slate in place of a picture. */
export function isSlate(source) {
  return source.state === "lost" || source.state === "waiting";
}

const STATES = {
  stopped: { title: "Stopped", tone: "idle" },
  starting: { title: "Starting", tone: "wait" },
  connecting: { title: "Connecting", tone: "wait" },
  streaming: { title: "Streaming", tone: "ok" },
  degraded: { title: "On air, with a problem", tone: "warn" },
  backing_off: { title: "Off air, trying again", tone: "bad" },
  failed: { title: "Failed, needs attention", tone: "bad" },
};

/** The daemon says all reasons in one line. */
function reasons(reason) {
  return reason ? reason.split("; ") : [];
}

function note(stream) {
  if (stream.state !== "streaming") return null;
  const receivers = stream.outputs.filter((output) => output.state === "streaming");
  return receivers.map((output) => `${output.name} receives ${rate(output.acked_bps)}`).join(", ");
}

function since(text, nowMs) {
  const began = Date.parse(text);
  return Number.isNaN(began) ? null : `for ${duration(nowMs - began)}`;
}
