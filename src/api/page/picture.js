// The live picture: a still, fetched again and again while somebody looks.

import { isEnabled, setAttributes, setText, show } from "./dom.js";
import { duration, sentence } from "./words.js";

export class Picture {
  #api;
  #image;
  #reason;
  #caption;
  #pause;
  #id = null;
  #etag = null;
  #url = null;
  /** When the picture was on air, in ms on the daemon's clock. */
  #capturedAt = null;
  #isPaused = false;
  #isFetching = false;
  #nextAt = 0;

  /** `figure` has an `img`, a `.reason`, a `.caption` and a `.pause`. */
  constructor(figure, api) {
    this.#api = api;
    this.#image = figure.querySelector("img");
    this.#reason = figure.querySelector(".reason");
    this.#caption = figure.querySelector(".caption");
    this.#pause = figure.querySelector(".pause");
    this.#pause.addEventListener("click", () => {
      if (!isEnabled(this.#pause)) return;
      this.#isPaused = !this.#isPaused;
      setText(this.#pause, this.#isPaused ? "Go on" : "Pause picture");
    });
  }

  /** Shows that stream from now on. */
  watch(id) {
    this.#id = id;
    this.#etag = null;
    this.#nextAt = 0;
    this.#drop("The picture is being fetched.");
  }

  /** Fetches the next picture where it is time for that; `isCalm` asks for fewer. */
  async refresh(nowMs, isCalm) {
    const wanted = this.#id !== null && !this.#isPaused && !this.#isFetching && nowMs >= this.#nextAt;
    if (!wanted) return;
    this.#isFetching = true;
    this.#nextAt = nowMs + (isCalm ? CALM_INTERVAL : INTERVAL);
    const id = this.#id;
    try {
      const width = widthFor(this.#image.parentElement.clientWidth * devicePixelRatio);
      const snapshot = await this.#api.snapshot(id, width, this.#etag);
      if (snapshot && id === this.#id) this.#take(snapshot);
    } catch (error) {
      if (id === this.#id) this.#fail(error, nowMs);
    } finally {
      this.#isFetching = false;
    }
  }

  /** Says what is seen, and how old it is: `daemonNow` in ms on the daemon's clock. */
  describe(stream, daemonNow, isLost) {
    const age = this.#capturedAt === null ? 0 : daemonNow - this.#capturedAt;
    const said = caption(stream, this.#url !== null, age, isLost, this.#isPaused);
    setText(this.#caption, said);
    setAttributes(this.#image, { alt: `Picture of ${stream.id}: ${said}` });
  }

  #take({ blob, etag, capturedAt }) {
    this.#release();
    this.#url = URL.createObjectURL(blob);
    this.#image.src = this.#url;
    this.#etag = etag;
    this.#capturedAt = Number.isNaN(capturedAt) ? null : capturedAt;
    show(this.#image, true);
    show(this.#reason, false);
  }

  /** An old picture stays, with its age, while the daemon is gone; where it says that there is none, there is none. */
  #fail(error, nowMs) {
    if (error.kind === "missing") this.#nextAt = nowMs + MISSING_INTERVAL;
    if (error.kind === "unreachable" || error.kind === "sign-in") return;
    const isMissing = error.kind === "missing";
    this.#drop(isMissing ? "This version of uplinkd shows no picture here." : `No picture: ${error.message}.`);
  }

  #drop(reason) {
    this.#release();
    this.#etag = null;
    this.#capturedAt = null;
    show(this.#image, false);
    setText(this.#reason, sentence(reason));
    show(this.#reason, true);
  }

  #release() {
    if (this.#url !== null) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}

/** The smallest of the widths that the daemon makes that is enough for so many pixels. */
export function widthFor(pixels) {
  return WIDTHS.find((width) => width >= pixels) ?? WIDTHS.at(-1);
}

/** What is seen, in words; `age` in ms. */
export function caption(stream, isShown, age, isLost, isPaused) {
  if (!isShown) return stream.state === "stopped" ? "Off air" : "No picture here";
  const seen = stream.source.state === "live" ? "On air" : "Slate";
  const old = age >= OLD ? `, ${duration(age)} old` : "";
  if (isLost) return `Last picture before contact was lost${old}`;
  return `${seen}${isPaused ? ", paused" : ""}${old}`;
}

const WIDTHS = [320, 640, 1280];

// ms: the daemon makes a picture at most every 500 ms, however many look.
const INTERVAL = 1000;

// ms, for those who want less motion.
const CALM_INTERVAL = 5000;

// ms: whether the daemon has learnt it meanwhile.
const MISSING_INTERVAL = 30_000;

// ms: a picture is fetched, and shown for a second.
const OLD = 4000;
