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

/** Of the decisions that the daemon has recorded; `viewerTime` brings its clock's times to ours. */
export function samplesOf(decisions, viewerTime) {
  const samples = [];
  let second = [];
  for (const { time, after_bps, estimate_bps, inputs } of decisions) {
    const at = viewerTime(Date.parse(time));
    second.push({ at, arrived: inputs.arrived_bytes });
    if (samples.length && at - samples.at(-1).at < SPACING) continue;
    second = second.slice(Math.max(0, second.findLastIndex((point) => at - point.at >= RATE_WINDOW)));
    samples.push({
      at,
      target: after_bps,
      encoded: inputs.encoded_bps,
      acknowledged: rateBetween(second[0], second.at(-1)),
      estimate: estimate_bps,
      rtt: inputs.rtt_ms,
      buffer: inputs.oldest_ms,
    });
  }
  return samples;
}

/** Bits per second; `null` where a connection began between, which counts anew. */
function rateBetween(before, after) {
  const ms = after.at - before.at;
  const bytes = after.arrived - before.arrived;
  return ms < RATE_WINDOW || ms > GAP || bytes < 0 ? null : (bytes * 8000) / ms;
}

/** ms without a sample: nothing was measured. */
export const GAP = 3500;

// ms between samples that are kept: less than the charts can show.
const SPACING = 500;

// ms: rates in the status are of a second too.
const RATE_WINDOW = 950;
