// What the cards say about source, encoder, sound and outputs. Pure: parts of a status in, texts out.
//
// A card is `{tone, badge, reasons, rows}`; `reasons` are whole lines, `rows` are labels with values.

import { isSlate } from "./headline.js";
import { UNKNOWN, count, decibels, duration, milliseconds, plain, rate, sentence } from "./words.js";

export function sourceCard({ source }) {
  const { camera, sources } = source;
  return {
    tone: SOURCE_TONES[source.state] ?? "warn",
    badge: isSlate(source) ? `${source.state}: slate on air` : source.state,
    reasons: lines(source.reason),
    rows: rows([
      ["Device", source.device],
      ["Camera", camera?.name],
      ["Mode", camera?.mode],
      ["Why this mode", camera?.mode_reason],
      ["Picture", camera ? null : shortCaps(source.format)],
      ["Controls refused", camera?.refused_controls.join("; ")],
      ["Lost so far", source.losses > 0 ? count(source.losses, "time") : null],
      ["Damaged frames", damaged(source)],
      ...(sources.length > 1 ? sources.map(otherSource) : []),
    ]),
  };
}

export function encoderCard({ encoder, rate: target }) {
  if (!encoder) return { tone: "idle", badge: "not running", reasons: [], rows: [] };
  const { element, backend, hardware, width, height, framerate } = encoder;
  const isHealthy = !encoder.lowered && !encoder.demoted.length;
  return {
    tone: isHealthy ? "ok" : "warn",
    badge: hardware ? "hardware" : "software",
    reasons: [
      ...lines(encoder.reason),
      ...lines(encoder.lowered),
      ...encoder.demoted.map(({ element, reason }) => `${element} is not used: ${reason}`),
    ],
    rows: rows([
      ["Encoder", hardware ? `${element} (${backend})` : element],
      ["Picture", `${width} × ${height}, ${framerate} frames/s`],
      ["Measured", `${rate(encoder.encoded_bps)}, ${encoder.fps.toFixed(1)} frames/s`],
      ["Target", `${rate(target.target_bps)}: ${RULES[target.rule] ?? plain(target.rule)}`],
      ["Thinned out", target.thinned_percent > 0 ? `${target.thinned_percent} % of the frames` : null],
      ["Frames dropped", losses(encoder)],
      ["Hung threads", encoder.hung_threads > 0 ? String(encoder.hung_threads) : null],
    ]),
  };
}

export function soundCard({ audio }) {
  return {
    tone: AUDIO_TONES[audio.state] ?? "warn",
    badge: audio.muted ? "muted" : AUDIO_WORDS[audio.state] ?? audio.state,
    reasons: lines(audio.reason),
    rows: rows([
      ["Device", audio.device],
      ["Gives", shortCaps(audio.format)],
      ["Sent as", audio.state === "off" ? null : audio.codec.toUpperCase()],
      ["Peak", audio.peak_db && audio.peak_db.map(decibels).join(" / ")],
      ["RMS", audio.rms_db && audio.rms_db.map(decibels).join(" / ")],
    ]),
  };
}

export function outputCard(output, nowMs) {
  return {
    title: `Output ${output.name}`,
    tone: OUTPUT_TONES[output.state] ?? "warn",
    badge: plain(output.state),
    reasons: lines(output.reason),
    rows: rows([
      [output.state === "streaming" ? "Streaming for" : "So for", since(output.since, nowMs)],
      ["Sent", rate(output.sent_bps)],
      ["Acknowledged", rate(output.acked_bps)],
      ["RTT", milliseconds(output.rtt_ms)],
      ["Send buffer", buffer(output)],
      ["Repeated", repeated(output)],
      ["Reported lost", output.lost_packets > 0 ? count(output.lost_packets, "packet") : "none"],
      ["Too late", output.late_packets > 0 ? count(output.late_packets, "packet") : "none"],
      ["Left out", output.left_out_frames > 0 ? count(output.left_out_frames, "frame") : null],
      ["Connections", output.connections > 1 ? String(output.connections) : null],
      ["Callers", output.callers === null ? null : callers(output)],
    ]),
  };
}

/** GStreamer's caps, without what is of no use to a reader: `video/x-raw, 1280 × 720, 30/1`. */
export function shortCaps(caps) {
  if (!caps) return null;
  const fields = Object.fromEntries(
    [...caps.matchAll(/([\w-]+)=\(\w+\)("[^"]*"|[^,;]+)/g)].map(([, name, value]) => [name, value.trim()]),
  );
  const { width, height, framerate, format, rate, channels } = fields;
  const kind = caps.split(/[,;(]/)[0].trim();
  return [
    kind,
    format,
    width && `${width} × ${height}`,
    framerate && `${framerate.replace(/\/1$/, "")} frames/s`,
    rate && `${rate} Hz`,
    channels && count(Number(channels), "channel"),
  ]
    .filter(Boolean)
    .join(", ");
}

const SOURCE_TONES = { off: "idle", waiting: "warn", live: "ok", lost: "warn" };

const AUDIO_TONES = { off: "idle", silence: "idle", live: "ok", missing: "warn" };

const AUDIO_WORDS = { off: "no sound track", silence: "silence", live: "live", missing: "missing: silence is sent" };

const OUTPUT_TONES = { stopped: "idle", connecting: "wait", streaming: "ok", degraded: "warn", backing_off: "bad" };

/** The rules of the rate, in words. */
const RULES = {
  fixed: "it does not follow the link, as configured",
  grow: "the link carries more, it grows",
  probe: "trying whether the link carries more",
  unproven: "as much as the link has proven",
  maximum: "the most that is allowed",
  measure: "what the link is measured to carry",
  drain: "lower, to empty the queue",
  refill: "the queue is empty again, it comes back",
  compete: "holding its share beside others",
  stall: "the link carries nothing",
  no_output: "at rest, no output is connected",
};

function rows(all) {
  return all.filter(([, value]) => value !== null && value !== undefined && value !== "");
}

function lines(reason) {
  return reason ? [sentence(reason)] : [];
}

function otherSource({ device, state, on_air, reason }, index) {
  const words = [on_air ? "on air" : state, reason].filter(Boolean).join(": ");
  return [`Source ${index + 1}`, `${device}, ${words}`];
}

function damaged({ frames_truncated, frames_corrupt, frames_undecoded }) {
  const kinds = [
    [frames_truncated, "truncated"],
    [frames_corrupt, "corrupt"],
    [frames_undecoded, "not decoded"],
  ];
  return counts(kinds);
}

function losses(encoder) {
  return counts([
    [encoder.dropped_frames, "before a busy encoder"],
    [encoder.lost_frames, "when it was replaced"],
    [encoder.crowded_frames, "beside the slate"],
    [encoder.thinned_frames, "for the link"],
  ]);
}

function counts(kinds) {
  return kinds
    .filter(([number]) => number > 0)
    .map(([number, kind]) => `${number.toLocaleString("en")} ${kind}`)
    .join(", ");
}

function since(text, nowMs) {
  const began = Date.parse(text);
  return Number.isNaN(began) ? null : duration(nowMs - began);
}

function buffer({ send_buffer_ms, latency_ms }) {
  if (send_buffer_ms === null) return UNKNOWN;
  return latency_ms === null
    ? milliseconds(send_buffer_ms)
    : `${milliseconds(send_buffer_ms)} of ${milliseconds(latency_ms)}`;
}

function repeated({ retransmitted_packets, sent_packets }) {
  if (!sent_packets) return null;
  if (!retransmitted_packets) return "none";
  return `${((100 * retransmitted_packets) / sent_packets).toFixed(1)} % of the packets`;
}

function callers({ callers, refused_callers }) {
  return refused_callers > 0 ? `${callers}, ${refused_callers} refused` : String(callers);
}
