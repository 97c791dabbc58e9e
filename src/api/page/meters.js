// Levels of the sound. Pure, but for `fillMeters`.

import { element, fillList, setAttributes, setText } from "./dom.js";
import { decibels, isNumber } from "./words.js";

/** dB relative to full scale: where the scale begins. */
export const FLOOR = -60;

/** One meter a channel; empty while no sound comes. */
export function meters(audio) {
  if (!audio.peak_db || !audio.rms_db) return [];
  return ["left", "right"].map((channel, index) => {
    const [peak, rms] = [audio.peak_db[index], audio.rms_db[index]];
    return { channel, peak: share(peak), rms: share(rms), tone: tone(peak), peakText: level(peak), rmsText: level(rms) };
  });
}

/** Where a level stands on the scale, 0 to 1. */
export function share(db) {
  return isNumber(db) ? Math.min(1, Math.max(0, 1 - db / FLOOR)) : 0;
}

/** Of a peak: `over` may have been clipped, `hot` is near that, `quiet` is nothing that anybody hears. */
export function tone(peak) {
  if (!isNumber(peak) || peak <= FLOOR) return "quiet";
  if (peak >= OVER) return "over";
  return peak >= HOT ? "hot" : "ok";
}

/** What is said below the meters. */
export function meterNote(audio) {
  if (audio.state === "off") return "There is no sound track.";
  if (audio.muted) return "Muted: silence is sent.";
  if (audio.state === "silence") return "Silence is sent, as configured.";
  if (audio.state === "missing") return `Silence is sent: ${audio.reason ?? "no sound comes"}.`;
  const tones = audio.peak_db?.map(tone) ?? [];
  if (tones.includes("over")) return "Too loud: the sound may be distorted.";
  if (tones.length && tones.every((each) => each === "quiet")) return "The input is silent.";
  return "";
}

/** Writes meters into their list. */
export function fillMeters(list, views) {
  const make = () => {
    const bar = element("div", { class: "level", role: "meter", "aria-valuemin": FLOOR, "aria-valuemax": 0 });
    bar.append(element("span", { class: "rms" }), element("span", { class: "peak" }));
    return element("li", {}, element("span", { class: "channel" }), bar, element("span", { class: "levels" }));
  };
  fillList(list, views, make, (entry, view) => {
    const [channel, bar, levels] = entry.children;
    setText(channel, view.channel[0].toUpperCase());
    setAttributes(bar, {
      "aria-label": `Sound, ${view.channel}`,
      "aria-valuenow": Math.round(FLOOR + view.rms * -FLOOR),
      "aria-valuetext": `peak ${view.peakText}, RMS ${view.rmsText}`,
      "data-tone": view.tone,
    });
    // Properties of an element's style are not inline style to the page's policy.
    bar.firstElementChild.style.setProperty("--share", view.rms);
    bar.lastElementChild.style.setProperty("--share", view.peak);
    setText(levels, `${view.peakText} peak, ${view.rmsText} RMS`);
  });
}

function level(db) {
  return isNumber(db) && db <= -100 ? "−∞ dB" : decibels(db);
}

// dB. A peak above -1 is likely to be clipped on its way; programme peaks belong below -9 (EBU R 68).
const OVER = -1;
const HOT = -9;
