// The daemon's clock, as its answers tell it. Encoders in the field often have another time than their viewers, so
// how long something has lasted is counted on the clock that told when it began. Pure.

/** Before any answer. */
export const UNKNOWN_OFFSET = null;

/**
 * How far the daemon's clock is before ours, in ms, from the `Date` of an answer that came at `nowMs`.
 *
 * `Date` says whole seconds and was said before the answer came, so the largest of several differences is nearest
 * the truth. One that is far from that is of a clock that was set.
 */
export function offsetAfter(offset, dateMs, nowMs) {
  if (!Number.isFinite(dateMs)) return offset;
  const seen = dateMs - nowMs;
  const isFirst = offset === UNKNOWN_OFFSET;
  return isFirst || seen > offset || offset - seen > LARGEST_JITTER ? seen : offset;
}

/** What the daemon's clock shows at `nowMs` of ours. */
export function daemonTime(offset, nowMs) {
  return nowMs + (offset ?? 0);
}

/** When, on our clock, it was `daemonMs` on the daemon's. */
export function viewerTime(offset, daemonMs) {
  return daemonMs - (offset ?? 0);
}

// ms: the second that `Date` is cut to, and a slow answer.
const LARGEST_JITTER = 6000;
