//! What is known of a stream: measured, with its reason. The API and the demo show this and nothing else.

use std::time::{Duration, Instant};

use super::lasting::{Losses, Sums};
use crate::config::{self, AudioCodec, AudioSource, OutputName, StreamName};
use crate::media::{DamagedFrames, Levels, MemoryInUse};
use crate::rate::Mode;
pub use crate::session::encoders::Demotion;
pub use crate::session::life::State;
pub use crate::session::output::OutputState;
pub use crate::session::source::SourceState;
pub use crate::transport::gop_queue::LeftOut;
use crate::transport::srt::Measurement;
use crate::units::{Bitrate, ByteCount};

/// One stream at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    pub name: StreamName,
    /// When the stream's task looked: a task that is alive does so every 50 ms.
    pub at: Instant,
    pub state: State,
    /// When the state was entered.
    pub since: Instant,
    /// Why, where the state does not say it all.
    pub reason: Option<String>,
    pub source: SourceStatus,
    pub audio: AudioStatus,
    /// `None` while no encoder runs.
    pub encoder: Option<EncoderStatus>,
    pub outputs: Vec<OutputStatus>,
    pub rate: RateStatus,
    /// What was counted since the stream was configured.
    pub sums: Sums,
}

/// Where the picture comes from.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    pub state: SourceState,
    /// The source on air, or the first while the slate is; as configured: a device, a file's path, `test`.
    pub device: String,
    /// The camera that is captured from; `None` where none is.
    pub camera: Option<CameraStatus>,
    /// What the source gives, in GStreamer's caps; `None` before the first frame.
    pub format: Option<String>,
    /// Why the slate is on air, or another source than the first.
    pub reason: Option<String>,
    /// Why silence is sent in place of the source's sound.
    pub silence: Option<String>,
    /// Times that a live source was lost.
    pub losses: Losses,
    /// Pictures that came damaged, and were left out.
    pub damaged: DamagedFrames,
    /// All of them, the most wanted first.
    pub all: Vec<OneSource>,
}

/// One of a stream's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneSource {
    /// As configured.
    pub device: String,
    /// [`SourceState::Off`]: it is not needed, since a better one works.
    pub state: SourceState,
    /// Why it gives nothing.
    pub reason: Option<String>,
    pub on_air: bool,
}

/// A camera that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraStatus {
    /// What it calls itself, its serial number, and where it is plugged in.
    pub name: String,
    /// What it was set to: `1280x720 MJPG 30/s`.
    pub mode: String,
    /// Why to that.
    pub reason: String,
    /// Of the controls that were asked for, those that it does not take, and why.
    pub refused: Vec<String>,
}

/// What becomes of the sound.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioStatus {
    pub state: AudioState,
    /// As configured: an ALSA name, `auto`, `test`, `file`, `silence`; `None` without a sound track.
    pub device: Option<String>,
    /// What the device gives; `None` before its first sound, and of a file.
    pub format: Option<String>,
    pub codec: AudioCodec,
    /// Why silence is sent.
    pub reason: Option<String>,
    /// Of what is captured, behind gain and channel choice; `None` where none came for a second.
    pub levels: Option<Levels>,
    pub muted: bool,
}

/// Where the sound stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioState {
    /// There is no sound track, or the stream does not run.
    Off,
    /// Silence is what was asked for.
    Silence,
    /// Sound comes.
    Live,
    /// None comes, and silence is sent until it does.
    Missing,
}

impl AudioState {
    /// Every word of [`AudioState::as_str`].
    pub const WORDS: [&str; 4] = ["off", "silence", "live", "missing"];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            AudioState::Off => "off",
            AudioState::Silence => "silence",
            AudioState::Live => "live",
            AudioState::Missing => "missing",
        }
    }
}

impl AudioStatus {
    /// Of a stream that does not run.
    pub fn of(audio: &config::Audio) -> AudioStatus {
        let device = match &audio.source {
            AudioSource::Alsa { device } => Some(device.to_string()),
            AudioSource::Test => Some("test".to_owned()),
            AudioSource::File => Some("file".to_owned()),
            AudioSource::Silence => Some("silence".to_owned()),
            AudioSource::None => None,
        };
        AudioStatus {
            state: AudioState::Off,
            device,
            format: None,
            codec: audio.codec,
            reason: None,
            levels: None,
            muted: audio.mute,
        }
    }

    /// Of a stream that runs: with what is measured, why silence is sent, and what the source gives.
    pub fn running(
        audio: &config::Audio,
        levels: Option<Levels>,
        reason: Option<String>,
        format: Option<String>,
    ) -> AudioStatus {
        let state = match &audio.source {
            AudioSource::None => AudioState::Off,
            AudioSource::Silence => AudioState::Silence,
            AudioSource::Alsa { .. } | AudioSource::Test | AudioSource::File if levels.is_some() => {
                AudioState::Live
            }
            AudioSource::Alsa { .. } | AudioSource::Test | AudioSource::File => AudioState::Missing,
        };
        AudioStatus { state, levels, reason, format, ..AudioStatus::of(audio) }
    }
}

/// What the encoder does.
#[derive(Clone, Debug)]
pub struct EncoderStatus {
    /// The family: `software`, `vaapi`, …
    pub backend: &'static str,
    /// GStreamer's name of the element.
    pub element: &'static str,
    pub hardware: bool,
    /// Why this one.
    pub reason: Option<String>,
    /// Why it is given less than the configured mode, where it does not manage that.
    pub lowered: Option<String>,
    /// Those that are not used, because they failed or did not pass their probe.
    pub demoted: Vec<Demotion>,
    /// How pictures get to it, by the newest of them.
    pub memory: MemoryInUse,
    /// What it is given: the configured size and frame rate, or less where the rate is too low or the encoder
    /// too slow for that.
    pub mode: Mode,
    /// What it was told.
    pub target: Bitrate,
    /// What it gives, over the last second.
    pub encoded: Bitrate,
    /// Frames per second that leave it, over the last second.
    pub fps: f64,
    /// Frames that had to be dropped before it, because it was not ready for them.
    pub dropped_frames: u64,
    /// Frames that were stuck in an encoder when it was replaced.
    pub lost_frames: u64,
    /// Frames left out where live and slate meet.
    pub crowded_frames: u64,
    /// Frames left out because the link could not carry them.
    pub thinned_frames: u64,
    /// Buffers of sound (10 ms as a rule) that had to be dropped before its encoder.
    pub dropped_sounds: u64,
    /// Threads that hang in a driver and were left behind, of the whole process.
    pub hung_threads: usize,
    /// Frames that left it, and their bytes.
    pub frames: u64,
    pub bytes: ByteCount,
}

/// What an output does.
#[derive(Clone, Debug)]
pub struct OutputStatus {
    pub name: OutputName,
    pub state: OutputState,
    pub since: Instant,
    pub reason: Option<String>,
    /// Given to the network for the first time, over the last second.
    pub sent: Bitrate,
    /// Acknowledged by the receiver, over the last second.
    pub acknowledged: Bitrate,
    /// Of the present connection.
    pub link: Option<LinkStatus>,
    /// Since the output began, over all its connections.
    pub totals: Totals,
    /// Left out before the mux, since the output began.
    pub left_out: LeftOut,
    /// Of an output that listens: the figures above are then the sums over its callers, and `link` is
    /// that of the one who has been there longest.
    pub callers: Option<Callers>,
}

/// Who has called an output that listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    pub present: u64,
    /// Turned away since it began to listen: for a wrong passphrase, another stream id, ….
    pub refused: u64,
}

/// The measured connection, as of now.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// Negotiated.
    pub latency: Duration,
    pub rtt: Duration,
    /// Age of the oldest packet that waits to be acknowledged.
    pub send_buffer: Duration,
    pub in_flight_packets: u64,
}

/// What was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub connections: u64,
    /// First transmissions.
    pub sent_packets: u64,
    pub sent_bytes: ByteCount,
    pub acknowledged_bytes: ByteCount,
    pub retransmitted_packets: u64,
    pub retransmitted_bytes: ByteCount,
    /// Reported missing by the receiver.
    pub lost_packets: u64,
    /// Given up because they could not arrive in time.
    pub late_packets: u64,
    /// Datagrams that no honest peer sends.
    pub rejected_datagrams: u64,
}

impl Totals {
    /// These and what one more connection carried.
    pub fn with(self, connection: &Measurement) -> Totals {
        Totals {
            connections: self.connections,
            sent_packets: self.sent_packets + connection.sent.packets,
            sent_bytes: self.sent_bytes + connection.sent.bytes,
            acknowledged_bytes: self.acknowledged_bytes + connection.acknowledged.bytes,
            retransmitted_packets: self.retransmitted_packets + connection.retransmitted.packets,
            retransmitted_bytes: self.retransmitted_bytes + connection.retransmitted.bytes,
            lost_packets: self.lost_packets + connection.nak_packets,
            late_packets: self.late_packets + connection.late_packets,
            rejected_datagrams: self.rejected_datagrams + connection.rejected_datagrams,
        }
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.connections += other.connections;
        self.sent_packets += other.sent_packets;
        self.sent_bytes += other.sent_bytes;
        self.acknowledged_bytes += other.acknowledged_bytes;
        self.retransmitted_packets += other.retransmitted_packets;
        self.retransmitted_bytes += other.retransmitted_bytes;
        self.lost_packets += other.lost_packets;
        self.late_packets += other.late_packets;
        self.rejected_datagrams += other.rejected_datagrams;
    }
}

/// How the encoder's target is found.
#[derive(Clone, Debug)]
pub struct RateStatus {
    pub target: Bitrate,
    /// What the link was measured to carry, as video; `None` while nothing measures it.
    pub estimate: Option<Bitrate>,
    /// The rule that set the target.
    pub rule: &'static str,
    /// The output whose link it follows; `None` while none is connected.
    pub output: Option<OutputName>,
    /// How long a packet waits in that link.
    pub queue: Duration,
    /// Share of the pictures that are not encoded, 0 to 1.
    pub thin: f64,
}
