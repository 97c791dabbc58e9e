// A chart on the page: draws what chart.js lays out, with a cursor for pointer and keyboard.

import { SCALES, layout, timeAt } from "./chart.js";
import { clear, setAttributes, setText, svg } from "./dom.js";
import { SPAN } from "./history.js";
import { duration, timeOfDay } from "./words.js";

export class ChartView {
  #figure;
  #series;
  #scale;
  #text;
  #parts;
  #values;
  #history = null;
  #now = 0;
  #layout = null;
  /** ms before now, or `null` while the newest values are shown. */
  #cursor = null;

  /**
   * `figure` has a `.plot`, a `.legend` and a `.time`; `series` are `{key, name, shape}`, the first one below all
   * others; `scale` is a name of chart.js; `text` says a value in words.
   */
  constructor(figure, { series, scale, text }) {
    this.#figure = figure.querySelector(".plot");
    this.#series = series;
    this.#scale = SCALES[scale];
    this.#text = text;
    this.#parts = this.#draw();
    this.#values = this.#writeLegend(figure.querySelector(".legend"));
    this.time = figure.querySelector(".time");
    this.#listen();
    new ResizeObserver(() => this.#update()).observe(this.#figure);
  }

  /** Shows what `history` holds at `now`, in ms on the viewer's clock. */
  show(history, now) {
    this.#history = history;
    this.#now = now;
    this.#update();
  }

  #draw() {
    const part = (name, tag = "g") => svg(tag, { class: name });
    const parts = { gaps: part("gaps"), grid: part("grid"), cursor: part("cursor", "line"), lines: {} };
    const picture = svg("svg", { "aria-hidden": "true", focusable: "false" }, parts.gaps, parts.grid);
    for (const { key, shape } of this.#series) {
      parts.lines[key] = svg("path", { class: `line ${shape} series-${key}` });
      picture.append(parts.lines[key]);
    }
    picture.append(parts.cursor);
    this.#figure.append(picture);
    return { ...parts, picture };
  }

  #writeLegend(list) {
    const values = {};
    for (const { key, name, shape } of [...this.#series].reverse()) {
      const value = document.createElement("b");
      const label = document.createElement("span");
      label.textContent = name;
      const line = shape === "area" ? "M1 11V4H27V11Z" : "M1 6H27";
      const swatch = svg("path", { class: `line ${shape} series-${key}`, d: line });
      const entry = document.createElement("li");
      entry.append(svg("svg", { class: "swatch", "aria-hidden": "true", viewBox: "0 0 28 12" }, swatch), label, value);
      list.append(entry);
      values[key] = value;
    }
    return values;
  }

  #update() {
    const { width, height } = this.#figure.getBoundingClientRect();
    if (this.#history === null || width === 0) return;
    const em = parseFloat(getComputedStyle(this.#figure).fontSize);
    const margin = { left: 6.2 * em, right: 0.3 * em, top: 0.6 * em, bottom: 1.7 * em };
    const { samples } = this.#history;
    const size = { width, height };
    this.#layout = layout({ samples, series: this.#series, now: this.#now, size, margin, scale: this.#scale });
    setAttributes(this.#parts.picture, { viewBox: `0 0 ${width} ${height}`, width, height });
    for (const { key, d } of this.#layout.paths) setAttributes(this.#parts.lines[key], { d });
    this.#drawGrid(em);
    this.#showValues();
  }

  #drawGrid(em) {
    const { plot, rows, columns, gaps } = this.#layout;
    const { gaps: gapsPart, grid } = this.#parts;
    clear(gapsPart, grid);
    for (const { x, width } of gaps) {
      gapsPart.append(svg("rect", { x, width, y: plot.top, height: plot.bottom - plot.top }));
    }
    for (const { y, text } of rows) {
      grid.append(svg("line", { x1: plot.left, x2: plot.right, y1: y, y2: y }));
      grid.append(svg("text", { x: plot.left - 0.5 * em, y: y + 0.3 * em, "text-anchor": "end" }, text));
    }
    for (const { x, at } of columns) {
      grid.append(svg("line", { x1: x, x2: x, y1: plot.bottom, y2: plot.bottom + 0.3 * em }));
      if (x < plot.left + em || x > plot.right - em) continue;
      const text = timeOfDay(at, at).slice(0, 5);
      grid.append(svg("text", { x, y: plot.bottom + 1.4 * em, "text-anchor": "middle" }, text));
    }
  }

  #showValues() {
    const ago = this.#cursor;
    const time = this.#now - (ago ?? 0);
    const sample = this.#history.at(time);
    const said = this.#series.map(({ key, name }) => {
      setText(this.#values[key], this.#text(sample?.[key]));
      return `${name} ${this.#text(sample?.[key])}`;
    });
    const when = ago === null ? "now" : `${timeOfDay(time, this.#now)}, ${duration(ago)} ago`;
    setText(this.time, when);
    const { plot, x } = this.#layout;
    setAttributes(this.#parts.cursor, { x1: x(time), x2: x(time), y1: plot.top, y2: plot.bottom });
    this.#parts.cursor.classList.toggle("on", ago !== null);
    setAttributes(this.#figure, {
      "aria-valuenow": -Math.round((ago ?? 0) / 1000),
      "aria-valuetext": `${when}: ${said.join(", ")}`,
    });
  }

  #listen() {
    const figure = this.#figure;
    figure.addEventListener("pointermove", (event) => {
      if (this.#layout === null) return;
      const x = event.clientX - figure.getBoundingClientRect().left;
      this.#moveTo(this.#now - timeAt(x, this.#layout.plot, this.#now));
    });
    figure.addEventListener("pointerleave", () => this.#moveTo(null));
    figure.addEventListener("blur", () => this.#moveTo(null));
    figure.addEventListener("keydown", (event) => {
      const moved = moveBy(this.#cursor ?? 0, event.key);
      if (moved === undefined) return;
      event.preventDefault();
      this.#moveTo(moved);
    });
  }

  #moveTo(ago) {
    this.#cursor = ago;
    if (this.#layout !== null) this.#showValues();
  }
}

/** Where a key moves the cursor, in ms before now; `null`: to now, `undefined`: the key does not. */
function moveBy(ago, key) {
  const to = (ms) => Math.min(SPAN, Math.max(0, ms));
  switch (key) {
    case "ArrowLeft":
    case "ArrowDown":
      return to(ago + 5000);
    case "ArrowRight":
    case "ArrowUp":
      return to(ago - 5000);
    case "PageDown":
      return to(ago + 60_000);
    case "PageUp":
      return to(ago - 60_000);
    case "Home":
      return SPAN;
    case "End":
    case "Escape":
      return null;
    default:
      return undefined;
  }
}
