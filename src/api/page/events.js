// Events of the daemon as lines of text. Pure.

import { decibels, isNumber, milliseconds, plain, rate, sentence } from "./words.js";

/** The newest that are kept and shown. */
export const MOST_LINES = 200;

/** `{id, at, tone, stream, text, detail}`; `at` in ms on the daemon's clock, `stream` is `null` for the daemon. */
export function lineOf({ id, data }) {
  const { time, event, level, stream, text, ...fields } = data;
  const at = Date.parse(time);
  return {
    id,
    at: Number.isNaN(at) ? null : at,
    tone: TONES[level] ?? "info",
    stream: stream ?? null,
    text: sentence(text ?? plain(event)),
    detail: detail(fields),
  };
}

/** Said where events are missing from the list. */
export function missedLine(id, { time, missed }) {
  const text = `${missed} events were not kept long enough to be shown here`;
  return { id: `${id}-missed`, at: Date.parse(time), tone: "warn", stream: null, text, detail: "" };
}

/** With one line more, at the front; `null` where it is there already. */
export function withLine(lines, line) {
  if (lines.some(({ id }) => id === line.id)) return null;
  return [line, ...lines].slice(0, MOST_LINES);
}

/** Those about this stream or the daemon as a whole. */
export function about(lines, stream) {
  return lines.filter((line) => line.stream === null || line.stream === stream);
}

/** An event's own fields in one line, the most telling first. */
export function detail(fields) {
  const { width, height, ...others } = fields;
  const size = isNumber(width) && isNumber(height) ? [`${width} × ${height}`] : [];
  const names = Object.keys(others).sort((a, b) => rank(a) - rank(b));
  return [...size, ...names.map((name) => word(name, others[name])).filter(Boolean)].join(" · ");
}

const TONES = { info: "info", warn: "warn", error: "bad" };

const ORDER = ["state", "output", "caller", "source", "device", "action", "element", "instead_of", "part", "rule"];

/** Reasons are long, and come last. */
function rank(name) {
  const place = ORDER.indexOf(name);
  if (place >= 0) return place;
  return name === "reason" ? ORDER.length + 1 : ORDER.length;
}

function word(name, value) {
  if (value === null || value === false || value === "" || (Array.isArray(value) && !value.length)) return null;
  const known = WORDS[name];
  if (known) return known(value);
  return `${plain(name)} ${value === true ? "" : Array.isArray(value) ? value.join(", ") : value}`.trim();
}

const asIs = (value) => String(value);

const WORDS = {
  action: asIs,
  caller: asIs,
  changes: (changes) => changes.join(", "),
  device: asIs,
  element: asIs,
  errors: (errors) => errors.join("; "),
  estimate_bps: (bps) => `the link carries ${rate(bps)}`,
  format: asIs,
  framerate: (framerate) => `${framerate} frames/s`,
  instead_of: (element) => `instead of ${element}`,
  latency_ms: (ms) => `latency ${milliseconds(ms)}`,
  level_db: decibels,
  output: asIs,
  part: asIs,
  reason: asIs,
  source: (number) => (number > 0 ? `source ${number + 1}` : null),
  state: (state) => plain(state),
  target_bps: (bps) => `target ${rate(bps)}`,
  thinned_percent: (percent) => (percent > 0 ? `${percent} % of the frames left out` : null),
};
