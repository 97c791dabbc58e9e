// Where the lines, ticks and gaps of a chart over time go. Pure: numbers in, numbers and SVG paths out.

import { GAP, SPAN } from "./history.js";

/**
 * `samples` in order of time; `series` as `{key, shape}` with the shapes `line`, `steps` and `area`; `size` in
 * pixels with the `margin` for the ticks' texts; `scale` as one of `SCALES`. Times in ms.
 */
export function layout({ samples, series, now, size, margin, scale }) {
  const plot = {
    left: margin.left,
    top: margin.top,
    right: Math.max(margin.left + 1, size.width - margin.right),
    bottom: Math.max(margin.top + 1, size.height - margin.bottom),
  };
  const shown = samples.filter(({ at }) => at >= now - SPAN && at <= now + GAP);
  const most = Math.max(0, ...shown.flatMap((sample) => series.map(({ key }) => sample[key] ?? 0)));
  const top = ceiling(most, scale.least);
  const x = (at) => round(plot.right - ((now - Math.min(at, now)) / SPAN) * (plot.right - plot.left));
  const y = (value) => round(plot.bottom - (value / top) * (plot.bottom - plot.top));
  return {
    plot,
    top,
    x,
    y,
    paths: series.map(({ key, shape }) => ({ key, d: path(pieces(shown, key), shape, x, y, plot.bottom) })),
    gaps: gaps(shown, now).map(([from, to]) => ({ x: x(from), width: Math.max(0, round(x(to) - x(from))) })),
    rows: rows(top).map((value) => ({ y: y(value), text: scale.text(value, top) })),
    columns: columns(now, plot.right - plot.left).map((at) => ({ x: x(at), at })),
  };
}

/** What the y axis counts: the least that its top stands for, and the words beside its ticks. The top has the unit. */
export const SCALES = {
  rate: { least: 500_000, text: inUnits([[1e6, "Mbit/s"], [1e3, "kbit/s"]]) },
  time: { least: 100, text: inUnits([[1000, "s"], [1, "ms"]]) },
};

function inUnits(units) {
  return (value, top) => {
    const [size, unit] = units.find(([size]) => top >= size) ?? units.at(-1);
    return value === top ? `${trim(value / size)} ${unit}` : trim(value / size);
  };
}

/** The time below a place on the x axis. */
export function timeAt(x, plot, now) {
  const share = (x - plot.left) / (plot.right - plot.left);
  return now - SPAN + Math.min(1, Math.max(0, share)) * SPAN;
}

/** The round number above all values, with room for the line's width. */
export function ceiling(most, least) {
  const wanted = Math.max(most * 1.05, least);
  return tops(wanted).find(({ value }) => value >= wanted * (1 - 1e-9)).value;
}

/** Round tops, each with the number of rows that makes these round too. */
const ROUND = [[1, 4], [1.2, 4], [1.6, 4], [2, 4], [2.5, 5], [3, 3], [4, 4], [5, 5], [6, 3], [8, 4], [10, 5]];

function tops(wanted) {
  const decade = 10 ** Math.floor(Math.log10(wanted));
  return ROUND.map(([factor, rows]) => ({ value: factor * decade, rows }));
}

/** Runs of known values: `[[{at, value}, …], …]`. */
function pieces(samples, key) {
  const all = [];
  let last = null;
  for (const { at, [key]: value } of samples) {
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    if (last === null || at - last > GAP) all.push([]);
    all.at(-1).push({ at, value });
    last = at;
  }
  return all;
}

function path(pieces, shape, x, y, bottom) {
  return pieces.map((points) => SHAPES[shape](points.map(({ at, value }) => [x(at), y(value)]), bottom)).join("");
}

const SHAPES = {
  line: (points) => `M${points.map(([x, y]) => `${x} ${y}`).join("L")}`,
  steps: ([[x, y], ...others]) => `M${x} ${y}${others.map(([x, y]) => `H${x}V${y}`).join("")}`,
  area: (points, bottom) => {
    const edge = points.map(([x, y]) => `${x} ${y}`).join("L");
    return `M${points[0][0]} ${bottom}L${edge}L${points.at(-1)[0]} ${bottom}Z`;
  },
};

/** Where nothing was measured, after the first sample. */
function gaps(samples, now) {
  const all = [];
  samples.forEach(({ at }, index) => {
    const next = samples[index + 1]?.at ?? now;
    if (next - at > GAP) all.push([at, next]);
  });
  return all;
}

function rows(top) {
  const { rows } = tops(top * (1 - 1e-9)).find(({ value }) => value >= top * (1 - 1e-9));
  return Array.from({ length: rows + 1 }, (_, index) => (top * index) / rows);
}

/** Whole minutes, as many as there is room for. */
function columns(now, width) {
  const step = MINUTE * (width > 70 * 10 ? 1 : width > 70 * 5 ? 2 : 5);
  const last = Math.floor(now / step) * step;
  const all = [];
  for (let at = last; at > now - SPAN; at -= step) all.unshift(at);
  return all;
}

const MINUTE = 60_000;

function trim(number) {
  return String(Number(number.toPrecision(3)));
}

function round(pixels) {
  return Math.round(pixels * 10) / 10;
}
