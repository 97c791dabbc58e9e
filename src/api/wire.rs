//! What the API's answers look like. Kept apart from the daemon's own types: these are a promise.

use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use super::settings::StreamSettings;
use crate::config::json::value_to_json;
use crate::config::{self, Word, without_secrets};
use crate::supervisor::status::{
    self, AudioStatus, CameraStatus, Demotion, EncoderStatus, OutputStatus, RateStatus, SourceStatus, Status,
};

/// `GET /v1/streams`.
#[derive(Serialize, ToSchema)]
pub struct Streams {
    pub items: Vec<Stream>,
}

/// How a stream does. Rates in bits per second over the last second; what is not known is `null`.
#[derive(Serialize, ToSchema)]
pub struct Stream {
    id: String,
    /// Since the stream was looked at: 50 at most while its task is alive. All else here is as old.
    age_ms: u64,
    state: &'static str,
    /// RFC 3339.
    since: Option<String>,
    reason: Option<String>,
    source: Source,
    audio: Audio,
    encoder: Option<Encoder>,
    outputs: Vec<Output>,
    rate: Rate,
}

/// `GET /v1/streams/{id}`: how a stream does, and how it is configured.
#[derive(Serialize, ToSchema)]
pub struct OneStream {
    #[serde(flatten)]
    status: Stream,
    /// The stream's section of the configuration with every setting, defaults too, as `PUT` takes it; `null` where
    /// the daemon has no configuration file. What others take as a credential is `***`, and sent back means itself.
    #[schema(value_type = Option<StreamSettings>)]
    config: Option<serde_json::Value>,
}

/// Where the picture comes from.
#[derive(Serialize, ToSchema)]
struct Source {
    state: &'static str,
    device: String,
    camera: Option<Camera>,
    format: Option<String>,
    reason: Option<String>,
    silence: Option<String>,
    losses: u64,
    frames_truncated: u64,
    frames_corrupt: u64,
    frames_undecoded: u64,
    sources: Vec<OneSource>,
}

/// A source, whether it is on air or not.
#[derive(Serialize, ToSchema)]
struct OneSource {
    device: String,
    state: &'static str,
    reason: Option<String>,
    on_air: bool,
}

/// The camera that is captured from.
#[derive(Serialize, ToSchema)]
struct Camera {
    name: String,
    mode: String,
    mode_reason: String,
    refused_controls: Vec<String>,
}

/// Levels in decibels relative to full scale, left and right; `null` while no sound comes.
#[derive(Serialize, ToSchema)]
struct Audio {
    state: &'static str,
    device: Option<String>,
    format: Option<String>,
    codec: &'static str,
    reason: Option<String>,
    muted: bool,
    peak_db: Option<[f64; 2]>,
    rms_db: Option<[f64; 2]>,
}

/// What the encoder does.
#[derive(Serialize, ToSchema)]
struct Encoder {
    backend: &'static str,
    element: &'static str,
    hardware: bool,
    reason: Option<String>,
    lowered: Option<String>,
    demoted: Vec<Demoted>,
    memory: Memory,
    width: u32,
    height: u32,
    framerate: String,
    target_bps: u64,
    encoded_bps: u64,
    fps: f64,
    frames: u64,
    bytes: u64,
    dropped_frames: u64,
    lost_frames: u64,
    crowded_frames: u64,
    thinned_frames: u64,
    dropped_sounds: u64,
    hung_threads: usize,
}

/// How the newest picture got to it.
#[derive(Serialize, ToSchema)]
struct Memory {
    path: &'static str,
    converter: Option<&'static str>,
    copies: u32,
    reason: Option<String>,
}

/// An encoder that is not used.
#[derive(Serialize, ToSchema)]
struct Demoted {
    element: &'static str,
    reason: String,
    since: Option<String>,
}

/// One SRT output.
#[derive(Serialize, ToSchema)]
struct Output {
    name: String,
    state: &'static str,
    since: Option<String>,
    reason: Option<String>,
    sent_bps: u64,
    acked_bps: u64,
    latency_ms: Option<u64>,
    rtt_ms: Option<f64>,
    send_buffer_ms: Option<u64>,
    in_flight_packets: Option<u64>,
    sent_packets: u64,
    sent_bytes: u64,
    acked_bytes: u64,
    retransmitted_packets: u64,
    retransmitted_bytes: u64,
    lost_packets: u64,
    late_packets: u64,
    rejected_datagrams: u64,
    left_out_frames: u64,
    left_out_gaps: u64,
    left_out_sounds: u64,
    connections: u64,
    /// Of a listener only.
    callers: Option<u64>,
    refused_callers: Option<u64>,
}

/// How the encoder's target is found.
#[derive(Serialize, ToSchema)]
struct Rate {
    target_bps: u64,
    estimate_bps: Option<u64>,
    rule: &'static str,
    output: Option<String>,
    queue_ms: u64,
    thinned_percent: f64,
}

impl OneStream {
    pub fn new(status: &Status, config: Option<&config::Stream>) -> Self {
        let shown =
            |config: &config::Stream| value_to_json(&without_secrets(toml::Value::Table(config.to_table())));
        OneStream { status: Stream::from(status), config: config.map(shown) }
    }
}

impl From<&Status> for Stream {
    fn from(status: &Status) -> Self {
        Stream {
            id: status.name.to_string(),
            age_ms: millis(status.at.elapsed()),
            state: status.state.as_str(),
            since: rfc3339(status.since),
            reason: status.reason.clone(),
            source: Source::from(&status.source),
            audio: Audio::from(&status.audio),
            encoder: status.encoder.as_ref().map(Encoder::from),
            outputs: status.outputs.iter().map(Output::from).collect(),
            rate: Rate::from(&status.rate),
        }
    }
}

impl From<&SourceStatus> for Source {
    fn from(source: &SourceStatus) -> Self {
        Source {
            state: source.state.as_str(),
            device: source.device.clone(),
            camera: source.camera.as_ref().map(Camera::from),
            format: source.format.clone(),
            reason: source.reason.clone(),
            silence: source.silence.clone(),
            losses: source.losses.total(),
            frames_truncated: source.damaged.truncated,
            frames_corrupt: source.damaged.corrupt,
            frames_undecoded: source.damaged.undecoded,
            sources: source.all.iter().map(OneSource::from).collect(),
        }
    }
}

impl From<&status::OneSource> for OneSource {
    fn from(source: &status::OneSource) -> Self {
        let status::OneSource { device, state, reason, on_air } = source;
        OneSource { device: device.clone(), state: state.as_str(), reason: reason.clone(), on_air: *on_air }
    }
}

impl From<&CameraStatus> for Camera {
    fn from(CameraStatus { name, mode, reason, refused }: &CameraStatus) -> Self {
        Camera {
            name: name.clone(),
            mode: mode.clone(),
            mode_reason: reason.clone(),
            refused_controls: refused.clone(),
        }
    }
}

impl From<&AudioStatus> for Audio {
    fn from(audio: &AudioStatus) -> Self {
        let tenths = |levels: [f64; 2]| levels.map(|level| (level * 10.0).round() / 10.0);
        Audio {
            state: audio.state.as_str(),
            device: audio.device.clone(),
            format: audio.format.clone(),
            codec: audio.codec.as_str(),
            reason: audio.reason.clone(),
            muted: audio.muted,
            peak_db: audio.levels.map(|levels| tenths(levels.peak_db)),
            rms_db: audio.levels.map(|levels| tenths(levels.rms_db)),
        }
    }
}

impl From<&EncoderStatus> for Encoder {
    fn from(encoder: &EncoderStatus) -> Self {
        Encoder {
            backend: encoder.backend,
            element: encoder.element,
            hardware: encoder.hardware,
            reason: encoder.reason.clone(),
            lowered: encoder.lowered.clone(),
            demoted: encoder.demoted.iter().map(Demoted::from).collect(),
            memory: Memory {
                path: encoder.memory.description,
                converter: encoder.memory.converter,
                copies: encoder.memory.copies,
                reason: encoder.memory.reason.clone(),
            },
            width: encoder.mode.width,
            height: encoder.mode.height,
            framerate: encoder.mode.framerate.to_string(),
            target_bps: encoder.target.as_bps(),
            encoded_bps: encoder.encoded.as_bps(),
            fps: (encoder.fps * 100.0).round() / 100.0,
            frames: encoder.frames,
            bytes: encoder.bytes.get(),
            dropped_frames: encoder.dropped_frames,
            lost_frames: encoder.lost_frames,
            crowded_frames: encoder.crowded_frames,
            thinned_frames: encoder.thinned_frames,
            dropped_sounds: encoder.dropped_sounds,
            hung_threads: encoder.hung_threads,
        }
    }
}

impl From<&Demotion> for Demoted {
    fn from(demotion: &Demotion) -> Self {
        let Demotion { element, reason, since } = demotion;
        Demoted { element, reason: reason.clone(), since: rfc3339(*since) }
    }
}

impl From<&OutputStatus> for Output {
    fn from(output: &OutputStatus) -> Self {
        let (link, totals) = (output.link.as_ref(), &output.totals);
        Output {
            name: output.name.to_string(),
            state: output.state.as_str(),
            since: rfc3339(output.since),
            reason: output.reason.clone(),
            sent_bps: output.sent.as_bps(),
            acked_bps: output.acknowledged.as_bps(),
            latency_ms: link.map(|link| millis(link.latency)),
            rtt_ms: link.map(|link| fine_millis(link.rtt)),
            send_buffer_ms: link.map(|link| millis(link.send_buffer)),
            in_flight_packets: link.map(|link| link.in_flight_packets),
            sent_packets: totals.sent_packets,
            sent_bytes: totals.sent_bytes.get(),
            acked_bytes: totals.acknowledged_bytes.get(),
            retransmitted_packets: totals.retransmitted_packets,
            retransmitted_bytes: totals.retransmitted_bytes.get(),
            lost_packets: totals.lost_packets,
            late_packets: totals.late_packets,
            rejected_datagrams: totals.rejected_datagrams,
            left_out_frames: output.left_out.pictures,
            left_out_gaps: output.left_out.gaps,
            left_out_sounds: output.left_out.sounds,
            connections: totals.connections,
            callers: output.callers.map(|callers| callers.present),
            refused_callers: output.callers.map(|callers| callers.refused),
        }
    }
}

impl From<&RateStatus> for Rate {
    fn from(rate: &RateStatus) -> Self {
        Rate {
            target_bps: rate.target.as_bps(),
            estimate_bps: rate.estimate.map(|estimate| estimate.as_bps()),
            rule: rate.rule,
            output: rate.output.as_ref().map(ToString::to_string),
            queue_ms: millis(rate.queue),
            thinned_percent: (rate.thin * 1000.0).round() / 10.0,
        }
    }
}

/// An instant as wall-clock time of now, always to the millisecond, so that texts sort as times do; `None` where
/// that clock stands outside of what RFC 3339 can say.
pub fn rfc3339(at: Instant) -> Option<String> {
    let time = SystemTime::now().checked_sub(at.elapsed())?;
    let whole = jiff::Timestamp::try_from(time).ok()?.round(jiff::Unit::Millisecond).ok()?;
    Some(format!("{whole:.3}"))
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds, to the hundredth.
pub fn fine_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}
