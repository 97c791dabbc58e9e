// What was measured over the last ten minutes, for the charts. Pure but for the ring it keeps.

/** ms: as long as the daemon's own recorder. */
export const SPAN = 600_000;

/**
 * Samples in order of time: `{at, target, encoded, acknowledged, estimate, rtt, buffer}`, with `at` in ms on the
 * viewer's clock, rates in bits per second, the others in ms; `null` is not known.
 */
export class History {
  #samples = [];

  get samples() {
    return this.#samples;
  }

  /** The newest. The last before it goes, where that is close behind the one before. */
  add(sample) {
    const [beforeLast, last] = this.#samples.slice(-2);
    if (last && last.at - beforeLast.at < SPACING) this.#samples.pop();
    this.#samples.push(sample);
    const oldest = sample.at - SPAN - SPACING;
    const kept = this.#samples.findIndex(({ at }) => at >= oldest);
    if (kept > 0) this.#samples.splice(0, kept);
  }

  /** What the daemon has recorded: those that are older than all that there are. */
  prepend(samples) {
    const first = this.#samples[0]?.at ?? Infinity;
    this.#samples = [...samples.filter(({ at }) => at < first), ...this.#samples];
  }

  /** The one that was the newest at that time; `null` where there was none, or only one of long before. */
  at(time) {
    const sample = this.#samples.findLast(({ at }) => at <= time);
    return sample && time - sample.at <= GAP ? sample : null;
  }
}

/** Of a stream's status that came at `at`. */
export function sampleOf(stream, at) {
  const output = followed(stream);
  const isEncoding = stream.encoder !== null;
  return {
    at,
    target: isEncoding ? stream.rate.target_bps : null,
    encoded: isEncoding ? stream.encoder.encoded_bps : null,
    acknowledged: output && isEncoding ? output.acked_bps : null,
    estimate: stream.rate.estimate_bps,
    rtt: output?.rtt_ms ?? null,
    buffer: output?.send_buffer_ms ?? null,
  };
}

/** The output whose link the rate follows, or else the first. */
export function followed(stream) {
  return stream.outputs.find(({ name }) => name === stream.rate.output) ?? stream.outputs[0] ?? null;
}

/** Of what the daemon has recorded, in columns; `viewerTime` brings its clock's times to ours. */
export function samplesOf(series, viewerTime) {
  const began = Date.parse(series.time);
  const columns = Object.entries(COLUMNS).map(([key, name]) => [key, series[name]]);
  const samples = series.target_bps.map((_, second) => {
    const values = columns.map(([key, column]) => [key, column[second]]);
    return { at: viewerTime(began + second * series.step_ms), ...Object.fromEntries(values) };
  });
  return samples.filter(({ target }) => target !== null);
}

const COLUMNS = {
  target: "target_bps",
  encoded: "encoded_bps",
  acknowledged: "acked_bps",
  estimate: "estimate_bps",
  rtt: "rtt_ms",
  buffer: "send_buffer_ms",
};

/** ms without a sample: nothing was measured. */
export const GAP = 3500;

// ms between samples that are kept: less than the charts can show.
const SPACING = 500;
