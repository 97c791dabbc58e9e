import assert from "node:assert/strict";
import test from "node:test";

import { SCALES, ceiling, layout, timeAt } from "../../../src/api/page/chart.js";
import { History, SPAN, sampleOf, samplesOf } from "../../../src/api/page/history.js";
import { streaming } from "./stream.js";

const NOW = 1_000_000_000;
const SIZE = { width: 700, height: 130 };
const MARGIN = { left: 60, right: 40, top: 10, bottom: 20 }; // a plot of 600 × 100: 1 pixel a second
const SERIES = [{ key: "target", shape: "steps" }];

const drawn = (samples, series = SERIES) =>
  layout({ samples, series, now: NOW, size: SIZE, margin: MARGIN, scale: SCALES.rate });

test("a step of the rate is a step of the line, as soon as it is known", () => {
  const samples = [
    { at: NOW - 2000, target: 4e6 },
    { at: NOW - 1000, target: 4e6 },
    { at: NOW, target: 1e6 },
  ];
  const { top, paths } = drawn(samples);
  assert.equal(top, 5e6);
  assert.equal(paths[0].d, "M658 30H659V30H660V90");
});

test("lines are broken where nothing is known, and the gap is marked", () => {
  const samples = [
    { at: NOW - 60_000, target: 1e6 },
    { at: NOW - 59_000, target: 1e6 },
    { at: NOW - 20_000, target: 1e6 },
    { at: NOW - 19_000, target: null },
    { at: NOW - 18_000, target: 1e6 },
  ];
  const { paths, gaps } = drawn(samples, [{ key: "target", shape: "line" }]);
  assert.equal(paths[0].d.match(/M/g).length, 3);
  assert.deepEqual(gaps, [
    { x: 601, width: 39 },
    { x: 642, width: 18 },
  ]);
});

test("an area stands on the ground", () => {
  const samples = [
    { at: NOW - 1000, target: 2e6 },
    { at: NOW, target: 2e6 },
  ];
  const [{ d }] = drawn(samples, [{ key: "target", shape: "area" }]).paths;
  assert.equal(d, "M659 110L659 30L660 30L660 110Z");
});

test("what is older than ten minutes is not drawn", () => {
  const { paths, top } = drawn([{ at: NOW - SPAN - 1, target: 9e6 }]);
  assert.equal(paths[0].d, "");
  assert.equal(top, 500_000);
});

test("tops are round, above every value, and divided into round rows", () => {
  for (const most of [0, 1, 480e3, 499e3, 1e6, 2.3e6, 3e6, 5.9e6, 7.7e6, 12e6, 99e6]) {
    const top = ceiling(most, 500_000);
    assert.ok(top >= most * 1.05 && top >= 500_000, `${most}: ${top}`);
    assert.ok(top <= Math.max(most * 2, 500_000), `${most}: ${top}`);
  }
  const texts = (most) => drawn([{ at: NOW, target: most }]).rows.map(({ text }) => text);
  assert.deepEqual(texts(4.2e6), ["0", "1", "2", "3", "4", "5 Mbit/s"]);
  assert.deepEqual(texts(2.7e6), ["0", "1", "2", "3 Mbit/s"]);
  assert.deepEqual(texts(400e3), ["0", "100", "200", "300", "400", "500 kbit/s"]);
});

test("the time below a place of the chart", () => {
  const { plot } = drawn([]);
  assert.equal(timeAt(660, plot, NOW), NOW);
  assert.equal(timeAt(360, plot, NOW), NOW - 300_000);
  assert.equal(timeAt(0, plot, NOW), NOW - SPAN);
});

test("whole minutes are marked, fewer where there is little room", () => {
  assert.equal(drawn([]).columns.length, 5);
  const narrow = layout({ samples: [], series: SERIES, now: NOW, size: { ...SIZE, width: 300 }, margin: MARGIN, scale: SCALES.rate });
  assert.equal(narrow.columns.length, 2);
  for (const { at } of narrow.columns) assert.equal(at % 60_000, 0);
});

test("history keeps two samples a second, the newest at once, and ten minutes", () => {
  const history = new History();
  for (let at = 0; at <= 1000; at += 250) history.add({ at });
  assert.deepEqual(history.samples.map(({ at }) => at), [0, 500, 1000]);
  history.add({ at: 1010 });
  assert.equal(history.samples.at(-1).at, 1010, "the newest is always there");
  for (let at = 2000; at < SPAN + 60_000; at += 1000) history.add({ at });
  assert.ok(history.samples[0].at >= 59_000 - 500 && history.samples.length <= 602);
});

test("what the daemon has recorded comes before what was seen", () => {
  const history = new History();
  history.add({ at: 5000 });
  history.prepend([{ at: 3000 }, { at: 4000 }, { at: 5000 }, { at: 6000 }]);
  assert.deepEqual(history.samples.map(({ at }) => at), [3000, 4000, 5000]);
  assert.equal(history.at(4500).at, 4000);
  assert.equal(history.at(2000), null);
  assert.equal(history.at(9000), null, "long after the last");
});

test("a sample is of the output that the rate follows", () => {
  assert.deepEqual(sampleOf(streaming(), 7), {
    at: 7,
    target: 2e6,
    encoded: 1.9e6,
    acknowledged: 2.1e6,
    estimate: 3e6,
    rtt: 41.2,
    buffer: 66,
  });
  const stopped = sampleOf({ ...streaming(), encoder: null, outputs: [] }, 7);
  assert.deepEqual([stopped.target, stopped.acknowledged, stopped.rtt], [null, null, null]);
});

test("a recording is a value a second, and none where nothing was measured", () => {
  const samples = samplesOf(
    {
      output: "studio",
      time: new Date(5000).toISOString(),
      step_ms: 1000,
      target_bps: [1e6, null, 2e6],
      encoded_bps: [9e5, null, 19e5],
      acked_bps: [null, null, 2e6],
      estimate_bps: [null, null, null],
      rtt_ms: [40, null, 41.5],
      send_buffer_ms: [50, null, 60],
    },
    (ms) => ms + 100,
  );
  assert.deepEqual(samples, [
    { at: 5100, target: 1e6, encoded: 9e5, acknowledged: null, estimate: null, rtt: 40, buffer: 50 },
    { at: 7100, target: 2e6, encoded: 19e5, acknowledged: 2e6, estimate: null, rtt: 41.5, buffer: 60 },
  ]);
  const none = { time: null, step_ms: 1000, target_bps: [], encoded_bps: [], acked_bps: [], estimate_bps: [], rtt_ms: [], send_buffer_ms: [] };
  assert.deepEqual(samplesOf(none, (ms) => ms), []);
});
