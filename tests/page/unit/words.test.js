import assert from "node:assert/strict";
import test from "node:test";

import { daemonTime, offsetAfter, viewerTime } from "../../../src/api/page/clock.js";
import { answered, failed, label, opened, staleness, standing, warning } from "../../../src/api/page/contact.js";
import { decibels, duration, milliseconds, rate, sentence, timeOfDay } from "../../../src/api/page/words.js";

test("rates have two digits behind the point below 10 Mbit/s", () => {
  assert.deepEqual([0, 480_400, 999_499, 1e6, 2_345_678, 9.99e6, 9_996_000, 25e6].map(rate), [
    "0 kbit/s",
    "480 kbit/s",
    "999 kbit/s",
    "1.00 Mbit/s",
    "2.35 Mbit/s",
    "9.99 Mbit/s",
    "10.0 Mbit/s",
    "25.0 Mbit/s",
  ]);
  assert.equal(rate(null), "–");
  assert.equal(rate(undefined), "–");
});

test("durations are told in their two largest units", () => {
  const s = 1000;
  const told = [0, -5 * s, 59 * s, 60 * s, 200 * s, 3600 * s, 7500 * s, 86_400 * s, 90_000 * s];
  const words = ["0 s", "0 s", "59 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min", "1 d", "1 d 1 h"];
  assert.deepEqual(told.map(duration), words);
});

test("milliseconds keep what matters", () => {
  const words = ["0.0 ms", "3.2 ms", "41 ms", "999 ms", "1.4 s", "12 s", "–"];
  assert.deepEqual([0, 3.21, 41.3, 999, 1400, 12_300, null].map(milliseconds), words);
});

test("a time of another day says the day", () => {
  const now = new Date(2026, 0, 2, 3, 4, 5).getTime();
  assert.equal(timeOfDay(now, now), "03:04:05");
  assert.equal(timeOfDay(now - 86_400_000, now), "2026-01-01 03:04:05");
});

test("sentences begin with a capital letter, names stay as they are", () => {
  const texts = ["no signal", "output: gone", "video.encoder is software", "vah264enc crashed", "", "Nothing"];
  const wanted = ["No signal", "Output: gone", "video.encoder is software", "vah264enc crashed", "", "Nothing"];
  assert.deepEqual(texts.map(sentence), wanted);
});

test("decibels have a true minus", () => {
  assert.deepEqual([-12.34, 0, 1.5, null].map(decibels), ["−12.3 dB", "0.0 dB", "1.5 dB", "–"]);
});

test("the daemon's clock is the nearest of several answers, until it is set", () => {
  let offset = null;
  assert.equal(daemonTime(offset, 5), 5);
  // The daemon is 1 h ahead; its Date is cut to whole seconds.
  for (let now = 10_300; now < 14_000; now += 250) {
    offset = offsetAfter(offset, Math.floor((now + 3_600_000) / 1000) * 1000, now);
  }
  assert.ok(Math.abs(offset - 3_600_000) <= 250, String(offset));
  assert.equal(offsetAfter(offset, NaN, 14_000), offset);
  offset = offsetAfter(offset, 20_000, 20_400);
  assert.equal(offset, -400, "the clock was set back by an hour");
  assert.equal(viewerTime(offset, daemonTime(offset, 77)), 77);
});

test("contact goes from live over late to lost, and comes back", () => {
  let contact = opened(0);
  assert.equal(standing(contact, 1000), "never");
  assert.equal(warning(contact, 1000), null);
  contact = answered(contact, 1000);
  assert.deepEqual([1000, 3400, 3500, 6999, 7000].map((now) => standing(contact, now)), [
    "live",
    "live",
    "late",
    "late",
    "lost",
  ]);
  assert.match(warning(contact, 4000).title, /3 s old/);
  assert.equal(standing(failed(contact, "refused"), 1500), "live", "one failure is no loss");
  assert.equal(standing(failed(contact, "refused"), 3600), "lost");
  assert.equal(standing(answered(failed(contact, "refused"), 9000), 9100), "live");
});

test("a lost contact says since when and why, and that the stream may go on", () => {
  const at = new Date(2026, 0, 2, 14, 3, 22).getTime();
  const contact = failed(answered(opened(at - 9999), at), "It cannot be reached");
  const { tone, title, text } = warning(contact, at + 72_000);
  assert.equal(tone, "bad");
  assert.equal(title, "No contact with uplinkd since 14:03:22 (1 min 12 s)");
  assert.match(text, /^It cannot be reached\. .*from before.*may still be on air/);
  assert.equal(label(contact, at + 72_000), "No contact");
  assert.doesNotMatch(warning(failed(opened(at), "It cannot be reached"), at + 5000).text, /from before/);
});

test("a stream that hangs in a daemon that answers is told of", () => {
  assert.equal(staleness({ id: "main" }), null);
  assert.equal(staleness({ id: "main", age_ms: 60 }), null);
  assert.match(staleness({ id: "main", age_ms: 61_000 }).title, /main are 1 min 1 s old/);
});
