import assert from "node:assert/strict";
import test from "node:test";

import { encoderCard, outputCard, shortCaps, soundCard, sourceCard } from "../../../src/api/page/facts.js";
import { actions, headline, tabTitle } from "../../../src/api/page/headline.js";
import { meterNote, meters, share, tone } from "../../../src/api/page/meters.js";
import { caption, widthFor } from "../../../src/api/page/picture.js";
import { streaming } from "./stream.js";

const NOW = Date.parse("2026-01-02T03:05:25.000Z");

const slate = () => {
  const stream = streaming();
  const reason = "slate: no signal; output studio: groups of pictures are left out";
  return { ...stream, state: "degraded", reason, source: { ...stream.source, state: "lost", reason: "no signal" } };
};

test("a stream that is well says so, and who receives it", () => {
  assert.deepEqual(headline(streaming(), NOW), {
    title: "Streaming",
    tone: "ok",
    state: "streaming",
    reasons: [],
    note: "studio receives 2.10 Mbit/s",
    since: "for 1 min 20 s",
  });
});

test("each state has words of its own, and one that is not known is shown as it is", () => {
  const titles = ["stopped", "starting", "connecting", "streaming", "degraded", "backing_off", "failed"].map((state) => {
    const { title, tone } = headline({ ...streaming(), state }, NOW);
    return [title, tone];
  });
  assert.equal(new Set(titles.map(String)).size, titles.length);
  assert.deepEqual(headline({ ...streaming(), state: "odd" }, NOW).title, "odd");
});

test("the slate is named where viewers see it, with all reasons", () => {
  const { title, tone, reasons, note } = headline(slate(), NOW);
  assert.deepEqual([title, tone, note], ["Slate on air", "warn", null]);
  assert.deepEqual(reasons, ["slate: no signal", "output studio: groups of pictures are left out"]);
  assert.equal(headline({ ...streaming(), state: "degraded" }, NOW).title, "On air, with a problem");
});

test("actions are those that do something", () => {
  const off = { ...streaming(), state: "stopped", encoder: null };
  assert.deepEqual(actions(off), { start: true, stop: false, restart: false, keyframe: false });
  assert.deepEqual(actions(streaming()), { start: false, stop: true, restart: true, keyframe: true });
  assert.equal(actions({ ...off, state: "failed" }).start, true);
});

test("the tab says the state, and when there is no contact", () => {
  assert.equal(tabTitle(slate(), "live"), "Slate on air – main – uplinkd");
  assert.equal(tabTitle(slate(), "lost"), "No contact – uplinkd");
  assert.equal(tabTitle(null, "live"), "uplinkd");
});

test("the source says what it gives and why not", () => {
  const well = sourceCard(streaming());
  assert.deepEqual([well.tone, well.badge, well.reasons], ["ok", "live", []]);
  assert.deepEqual(Object.fromEntries(well.rows), {
    Device: "by-id:usb-Camera",
    Camera: "Camera",
    Mode: "1280x720 MJPG 30/s",
    "Why this mode": "the least to decode",
  });
  const lost = slate();
  lost.source.losses = 2;
  lost.source.frames_corrupt = 7;
  lost.source.sources.push({ device: "/dev/video3", state: "waiting", reason: "no such file", on_air: false });
  const card = sourceCard(lost);
  assert.deepEqual([card.tone, card.badge, card.reasons], ["warn", "lost: slate on air", ["No signal"]]);
  const rows = Object.fromEntries(card.rows);
  assert.equal(rows["Lost so far"], "2 times");
  assert.equal(rows["Damaged frames"], "7 corrupt");
  assert.equal(rows["Source 2"], "/dev/video3, waiting: no such file");
});

test("the encoder says which it is, why, and what is not used", () => {
  const stream = streaming();
  stream.encoder.reason = "no other passed its probe";
  stream.encoder.demoted = [{ element: "vah264enc", reason: "it gave nothing", since: null }];
  stream.encoder.thinned_frames = 1200;
  stream.rate.thinned_percent = 50;
  const card = encoderCard(stream);
  assert.equal(card.tone, "warn");
  assert.deepEqual(card.reasons, ["No other passed its probe", "vah264enc is not used: it gave nothing"]);
  const rows = Object.fromEntries(card.rows);
  assert.equal(rows.Encoder, "x264enc");
  assert.equal(rows["Frames dropped"], "1,200 for the link");
  assert.equal(rows["Thinned out"], "50 % of the frames");
  assert.match(rows.Target, /^2\.00 Mbit\/s: the link carries more/);
  assert.equal(encoderCard({ ...stream, encoder: null }).badge, "not running");
});

test("an output says how it does", () => {
  const rows = Object.fromEntries(outputCard(streaming().outputs[1], NOW).rows);
  assert.equal(rows["Streaming for"], "1 min 20 s");
  assert.equal(rows["Send buffer"], "66 ms of 2.0 s");
  assert.equal(rows.Repeated, "2.1 % of the packets");
  assert.equal(rows["Too late"], "1 packet");
  const unknown = { ...streaming().outputs[1], rtt_ms: null, send_buffer_ms: null, latency_ms: null, callers: 2, refused_callers: 1 };
  const others = Object.fromEntries(outputCard(unknown, NOW).rows);
  assert.deepEqual([others.RTT, others["Send buffer"], others.Callers], ["–", "–", "2, 1 refused"]);
});

test("caps are shown without what nobody reads", () => {
  assert.equal(shortCaps(null), null);
  const raw = "video/x-raw(memory:DMABuf), format=(string)NV12, width=(int)1920, height=(int)1080, framerate=(fraction)30000/1001";
  assert.equal(shortCaps(raw), "video/x-raw, NV12, 1920 × 1080, 30000/1001 frames/s");
  assert.equal(shortCaps(streaming().audio.format), "audio/x-raw, S16LE, 48000 Hz, 2 channels");
});

test("levels become meters with their tone", () => {
  assert.deepEqual([-90, -60, -30, 0, 3, null].map(share), [0, 0, 0.5, 1, 1, 0]);
  assert.deepEqual([-60, -12, -9, -1, 0, null].map(tone), ["quiet", "ok", "hot", "over", "over", "quiet"]);
  const [left, right] = meters(streaming().audio);
  assert.deepEqual([left.channel, left.peak, left.rmsText], ["left", 0.8, "−20.0 dB"]);
  assert.equal(right.peakText, "−30.0 dB");
  assert.deepEqual(meters({ ...streaming().audio, peak_db: null }), []);
});

test("what is wrong with the sound is said", () => {
  const sound = streaming().audio;
  assert.equal(meterNote(sound), "");
  assert.match(meterNote({ ...sound, peak_db: [-0.3, -20] }), /Too loud/);
  assert.match(meterNote({ ...sound, peak_db: [-120, -120] }), /silent/);
  assert.match(meterNote({ ...sound, muted: true }), /Muted/);
  assert.match(meterNote({ ...sound, state: "missing", reason: "no such device" }), /Silence is sent: no such device/);
  assert.equal(soundCard({ audio: { ...sound, muted: true } }).badge, "muted");
});

test("the picture says what is seen and how old it is", () => {
  assert.equal(caption(streaming(), true, 800, false, false), "On air");
  assert.equal(caption(slate(), true, 800, false, false), "Slate");
  assert.equal(caption(streaming(), true, 65_000, false, true), "On air, paused, 1 min 5 s old");
  assert.match(caption(streaming(), true, 12_000, true, false), /before contact was lost, 12 s old/);
  assert.equal(caption({ ...streaming(), state: "stopped" }, false, 0, false, false), "Off air");
  assert.deepEqual([100, 320, 321, 5000].map(widthFor), [320, 320, 640, 1280]);
});
