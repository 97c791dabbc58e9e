//! The configuration: a tree of sections whose values cannot be wrong.
//!
//! A TOML document becomes this tree at once and wholly, or is refused with *all* of its errors,
//! each with line, column, key and what to write instead ([`parse()`]). Nothing checks a value again
//! afterwards. What only the machine can tell (a missing file, an encoder that is not there) is
//! the caller's to check; [`mod@file`] and [`mod@store`] are the only I/O here.
//!
//! The way back is [`Config::to_table`], the effective configuration in the document's own keys;
//! [`diff::changes`] says what lies between two configurations, and what each change touches, and [`plan`] says
//! that in words. What was changed through the API lies over the file in [`Layers`], and lasts in the
//! [`store`](mod@store).

pub mod diff;
mod effective;
pub mod file;
pub mod json;
mod layers;
mod parse;
pub mod path;
pub mod plan;
mod problem;
pub mod store;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::layers::{HIDDEN, Layers, Origin, Setting, is_confidential, without_secrets};
pub use self::parse::parse;
pub use self::problem::{Document, Problem, Problems};
pub use self::values::{InvalidName, Word};

use crate::units::Bitrate;

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub api: Api,
    pub log: Log,
    /// `None`: nothing is told to a broker.
    pub mqtt: Option<Mqtt>,
    /// By name; the names are the `{id}` of the API.
    pub streams: BTreeMap<StreamName, Stream>,
}

/// `[api]`: where the HTTP API listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// One to eight places, all different.
    pub listen: Vec<Listen>,
    /// Names, in small letters, by which browsers and programs may call this machine; addresses and
    /// `localhost` need none.
    pub hosts: Vec<String>,
    /// Needed off loopback; read when the API starts, and at a reload.
    pub token_file: Option<SecretFile>,
    /// Certificate and key, PEM; both or none.
    pub tls: Option<TlsFiles>,
    /// Allows a token over plain HTTP off loopback.
    pub insecure: bool,
}

/// One of `api.listen`: an address, or `unix:` and a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Where a secret is kept: a path, or `credential:` and the name of one that systemd hands over.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretFile {
    Path(PathBuf),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// `api.tls_certificate_file` and `api.tls_key_file`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// `[log]`: what is written to the journal, or to stderr outside systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub level: log::LevelFilter,
}

/// `[mqtt]`: which broker is told how streams do, and may give commands.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    pub url: MqttUrl,
    pub version: MqttVersion,
    /// What all topics begin with; without a `/` at either end.
    pub topic_prefix: String,
    /// This machine's level of the topics; `None`: its host name.
    pub id: Option<String>,
    /// `None`: `uplinkd-` and the id.
    pub client_id: Option<String>,
    pub username: Option<String>,
    /// Read at each connection.
    pub password_file: Option<SecretFile>,
    /// Whom to take for the broker; `None`: those whom an authority of this machine's has certified.
    pub tls_ca_file: Option<PathBuf>,
    /// What this machine shows of itself, PEM; both or none.
    pub tls: Option<TlsFiles>,
    /// Allows a password, and commands, over plain TCP off loopback.
    pub insecure: bool,
    /// Whether commands are heeded.
    pub commands: bool,
    /// How often a stream's status is told while its state stays; 1 s to 1 h.
    pub interval: Duration,
}

/// `mqtt.url`: `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttUrl {
    /// A name or an address; without brackets where it is IPv6.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// `mqtt.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// 5, and 3.1.1 with a broker that does not speak it.
    Auto,
    V5,
    V311,
}

/// A name that is safe in a URL, a metric's label and a file name: 1 to 32 of `a-z 0-9 - _`, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

/// An output's name; the same rule as [`StreamName`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputName(String);

/// `[streams.NAME]`: one picture and sound, encoded once, sent to any number of outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub enabled: bool,
    pub video: Video,
    pub audio: Audio,
    pub rate: Rate,
    /// At least one where the stream is enabled; exactly one of them is the lead.
    pub outputs: Vec<Output>,
}

/// `[streams.NAME.video]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub source: VideoSource,
    /// What takes its place while it gives nothing, in the order of preference; all of them differ.
    pub fallback: Vec<VideoSource>,
    /// Pixels, even, 16 to 7680.
    pub width: u32,
    /// Pixels, even, 16 to 4320.
    pub height: u32,
    pub framerate: Framerate,
    pub codec: Codec,
    pub encoder: EncoderChoice,
    /// 100 ms to 20 s.
    pub keyframe_interval: Duration,
    pub slate: Slate,
}

/// Where the picture comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoSource {
    V4l2(Camera),
    Test,
    /// Looped.
    File {
        path: PathBuf,
    },
}

/// A V4L2 device, and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    pub device: VideoDevice,
    /// What an HDMI input tells its senders; without it, what the device has.
    pub edid_file: Option<PathBuf>,
    /// By their names; what is not named stays as it is.
    pub controls: BTreeMap<String, i32>,
}

/// `video.device`.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoDevice {
    /// The first capture device that there is.
    Auto,
    /// The name below `/dev/v4l/by-id`.
    ById(String),
    /// The name below `/dev/v4l/by-path`.
    ByPath(String),
    Node(PathBuf),
}

/// Frames per second as a fraction, 1 to 240: 30/1, 30000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framerate {
    numerator: u32,
    denominator: u32,
}

/// `video.codec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

/// `video.encoder`: a family of back ends, or one GStreamer element by its name.
#[derive(Clone, Debug, PartialEq)]
pub enum EncoderChoice {
    Auto,
    Vaapi,
    V4l2M2m,
    Nvenc,
    Qsv,
    Software,
    Element(String),
}

/// `video.slate`: what is on air while the source gives nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Slate {
    /// A dark picture that says why.
    Text,
    /// The last frame.
    Hold,
    Picture(PathBuf),
}

/// `[streams.NAME.audio]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub source: AudioSource,
    pub codec: AudioCodec,
    /// 32 to 512 kbit/s of AAC, 16 to 510 of Opus.
    pub bitrate: Bitrate,
    /// Decibels, −60 to 30; 0 leaves the sound as it is.
    pub gain_db: f64,
    /// The track goes on, with silence in it.
    pub mute: bool,
    pub channels: Channels,
    /// Positive: the sound is sent later than it was heard; −2000 to 2000.
    pub offset_ms: i32,
}

/// `audio.codec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    Aac,
    Opus,
}

/// `audio.channels`: what of the source's two channels is heard. The track has two in any case, so that
/// this may change on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Each on its own side.
    Stereo,
    /// The mean of both on both sides.
    Mono,
    /// The left one on both sides: a microphone on one channel of a mixer, the other silent or noise.
    Left,
    /// The right one on both sides.
    Right,
}

/// Where the sound comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioSource {
    Alsa {
        device: AudioDevice,
    },
    /// A tone.
    Test,
    /// The sound of the video file.
    File,
    Silence,
    /// No sound track at all.
    None,
}

/// `audio.device`.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioDevice {
    Auto,
    /// An ALSA name such as `hw:CARD=Device`.
    Named(String),
}

/// `[streams.NAME.rate]`: bounds of the video elementary stream, as the encoder is told; `min ≤ start ≤ max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    pub min: Bitrate,
    pub max: Bitrate,
    pub start: Bitrate,
    pub adaptive: bool,
    pub ladder: Ladder,
}

/// `rate.ladder`: what gives way below the rate that the mode needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ladder {
    Off,
    Framerate,
    FramerateAndSize,
}

/// `[[streams.NAME.outputs]]`: one SRT connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: OutputName,
    pub url: SrtUrl,
    /// The rate controller follows this output.
    pub lead: bool,
    /// SRT's latency, 20 ms to 30 s.
    pub latency: Duration,
    /// At most 512 bytes.
    pub stream_id: Option<String>,
    /// Without it, nothing is encrypted.
    pub passphrase_file: Option<PathBuf>,
    pub key_length: KeyLength,
}

/// `outputs.url`: `srt://HOST:PORT?mode=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtUrl {
    /// A name or an address; without brackets where it is IPv6.
    pub host: String,
    pub port: u16,
    pub mode: SrtMode,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtMode {
    Caller,
    Listener,
    Rendezvous,
}

/// AES key length of SRT's encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLength {
    Aes128,
    Aes192,
    Aes256,
}
