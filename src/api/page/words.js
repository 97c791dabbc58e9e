// Numbers and times in words. Pure: nothing here reads a clock or the page.

/** What stands where a number is not known. */
export const UNKNOWN = "–";

/** Bits per second: `2.35 Mbit/s`, `480 kbit/s`. */
export function rate(bps) {
  if (!isNumber(bps)) return UNKNOWN;
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(bps < 9.995e6 ? 2 : 1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

/** Milliseconds as they are measured: `3.2 ms`, `140 ms`, `2.1 s`. */
export function milliseconds(ms) {
  if (!isNumber(ms)) return UNKNOWN;
  if (ms >= 10_000) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** How long something has lasted, in the two largest units: `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const [large, small, ratio] =
    s < 3600 ? ["min", "s", 60] : s < 86_400 ? ["h", "min", 60] : ["d", "h", 24];
  const inSmall = Math.floor(s / { s: 1, min: 60, h: 3600 }[small]);
  const rest = inSmall % ratio;
  return `${Math.floor(inSmall / ratio)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

/** Time of day where the reader is: `14:03:22`; with its day where that is not today's. */
export function timeOfDay(ms, nowMs) {
  const date = new Date(ms);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  const isToday = date.toDateString() === new Date(nowMs).toDateString();
  return isToday ? time : `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())} ${time}`;
}

/** Decibels relative to full scale: `−12.3 dB`. */
export function decibels(db) {
  if (!isNumber(db)) return UNKNOWN;
  return `${db < 0 ? "−" : ""}${Math.abs(db).toFixed(1)} dB`;
}

/** A count with its noun: `1 frame`, `1,234 frames`. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** A name of the API without its underscores. */
export function plain(name) {
  return String(name).replaceAll("_", " ");
}

/** With a capital letter, as a sentence begins; names such as `video.encoder` and `vah264enc` stay as they are. */
export function sentence(text) {
  return /^[a-z]+(?![\w.-])/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function twoDigits(number) {
  return String(number).padStart(2, "0");
}
