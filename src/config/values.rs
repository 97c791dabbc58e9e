//! The small values of the tree: how they are made, and how they are written.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use log::LevelFilter;

use super::{
    AudioCodec, AudioDevice, Channels, Codec, EncoderChoice, Framerate, KeyLength, Ladder, Listen, MqttUrl,
    MqttVersion, OutputName, SecretFile, Slate, SrtMode, SrtUrl, StreamName, Video, VideoDevice, VideoSource,
};

/// A value that is written as one of a few words.
pub trait Word: Copy + PartialEq + 'static {
    /// Every word with its meaning, in the order in which they are offered.
    const WORDS: &'static [(&'static str, Self)];

    /// The word as the document has it.
    fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, meaning)| *meaning == self)
            .map(|(word, _)| *word)
            .expect("each meaning has its word, as a test shows")
    }
}

impl Word for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", LevelFilter::Off),
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ];
}

impl Word for MqttVersion {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", MqttVersion::Auto), ("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)];
}

impl Word for Codec {
    const WORDS: &'static [(&'static str, Self)] = &[("h264", Codec::H264), ("h265", Codec::H265)];
}

impl Word for AudioCodec {
    const WORDS: &'static [(&'static str, Self)] = &[("aac", AudioCodec::Aac), ("opus", AudioCodec::Opus)];
}

impl Word for Channels {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("stereo", Channels::Stereo),
        ("mono", Channels::Mono),
        ("left", Channels::Left),
        ("right", Channels::Right),
    ];
}

impl Word for Ladder {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Ladder::Off),
        ("framerate", Ladder::Framerate),
        ("framerate-and-size", Ladder::FramerateAndSize),
    ];
}

impl Word for SrtMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("caller", SrtMode::Caller), ("listener", SrtMode::Listener), ("rendezvous", SrtMode::Rendezvous)];
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SrtMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a name: see [`StreamName`] for the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 32 of a-z, 0-9, - and _, a letter or digit first")]
pub struct InvalidName;

impl StreamName {
    /// A name, where `name` keeps the rule.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        checked(name).map(StreamName)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OutputName {
    /// A name, where `name` keeps the rule.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        checked(name).map(OutputName)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for OutputName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn checked(name: &str) -> Result<String, InvalidName> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: u8| plain(c) || c == b'-' || c == b'_';
    let valid = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(allowed);
    if valid { Ok(name.to_owned()) } else { Err(InvalidName) }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Framerate {
    /// `numerator / denominator` frames per second in lowest terms, where that is 1 to 240.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        let (n, d) = (numerator as u64, denominator as u64);
        if d == 0 || n < d || n > LARGEST_FRAMERATE as u64 * d {
            return None;
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Some(Framerate { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// 1 for a whole number of frames per second.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// The time of one frame, to the nearest nanosecond.
    pub fn frame_duration(self) -> Duration {
        let (n, d) = (u64::from(self.numerator), u64::from(self.denominator));
        Duration::from_nanos((NANOS_PER_SECOND * d + n / 2) / n)
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Framerate {
    /// `30`, or `30000/1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

impl KeyLength {
    /// Every length, the shortest first.
    pub const ALL: [KeyLength; 3] = [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256];

    /// The length of the key in bytes, as the document has it.
    pub const fn bytes(self) -> usize {
        match self {
            KeyLength::Aes128 => 16,
            KeyLength::Aes192 => 24,
            KeyLength::Aes256 => 32,
        }
    }
}

impl From<KeyLength> for i64 {
    /// The number of the document.
    fn from(length: KeyLength) -> i64 {
        length.bytes() as i64 // 32 at most
    }
}

impl fmt::Display for Listen {
    /// `127.0.0.1:9980`, `unix:/run/uplinkd/api.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listen {
    /// Whether other machines can reach it.
    pub fn is_public(&self) -> bool {
        match self {
            Listen::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Listen::Unix(_) => false,
        }
    }
}

impl fmt::Display for SecretFile {
    /// `/etc/uplinkd/api.token`, `credential:api.token`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretFile::Path(path) => write!(f, "{}", path.display()),
            SecretFile::Credential(name) => write!(f, "{CREDENTIAL}{name}"),
        }
    }
}

impl Video {
    /// Where the picture may come from, the most wanted first.
    pub fn sources(&self) -> impl Iterator<Item = &VideoSource> {
        std::iter::once(&self.source).chain(&self.fallback)
    }
}

impl fmt::Display for VideoSource {
    /// What its owner calls it: the device, the path, or `test`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VideoSource::V4l2(camera) => camera.device.fmt(f),
            VideoSource::Test => f.write_str("test"),
            VideoSource::File { path } => path.display().fmt(f),
        }
    }
}

impl fmt::Display for VideoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VideoDevice::Auto => f.write_str("auto"),
            VideoDevice::ById(name) => write!(f, "by-id:{name}"),
            VideoDevice::ByPath(name) => write!(f, "by-path:{name}"),
            VideoDevice::Node(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for AudioDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AudioDevice::Auto => f.write_str("auto"),
            AudioDevice::Named(name) => f.write_str(name),
        }
    }
}

impl EncoderChoice {
    /// The families of back ends, by the word of each; anything else is an element's name.
    pub(super) const FAMILIES: [(&'static str, EncoderChoice); 6] = [
        ("auto", EncoderChoice::Auto),
        ("vaapi", EncoderChoice::Vaapi),
        ("v4l2m2m", EncoderChoice::V4l2M2m),
        ("nvenc", EncoderChoice::Nvenc),
        ("qsv", EncoderChoice::Qsv),
        ("software", EncoderChoice::Software),
    ];

    /// The elements that there are back ends for, with what each encodes: those of `media`'s table of encoders, which
    /// has a test that says so.
    pub const ELEMENTS: [(&'static str, Codec); 21] = [
        ("x264enc", Codec::H264),
        ("openh264enc", Codec::H264),
        ("vah264enc", Codec::H264),
        ("vah264lpenc", Codec::H264),
        ("vah265enc", Codec::H265),
        ("vah265lpenc", Codec::H265),
        ("qsvh264enc", Codec::H264),
        ("qsvh265enc", Codec::H265),
        ("v4l2h264enc", Codec::H264),
        ("v4l2h265enc", Codec::H265),
        ("nvcudah264enc", Codec::H264),
        ("nvcudah265enc", Codec::H265),
        ("nvh264enc", Codec::H264),
        ("nvh265enc", Codec::H265),
        ("nvautogpuh264enc", Codec::H264),
        ("nvautogpuh265enc", Codec::H265),
        ("nvv4l2h264enc", Codec::H264),
        ("nvv4l2h265enc", Codec::H265),
        ("mpph264enc", Codec::H264),
        ("mpph265enc", Codec::H265),
        ("vaapih264enc", Codec::H264),
    ];

    /// What an element encodes, if there is a back end for it.
    pub(super) fn codec_of(element: &str) -> Option<Codec> {
        EncoderChoice::ELEMENTS.into_iter().find(|(name, _)| *name == element).map(|(_, codec)| codec)
    }
}

impl fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EncoderChoice::Auto => "auto",
            EncoderChoice::Vaapi => "vaapi",
            EncoderChoice::V4l2M2m => "v4l2m2m",
            EncoderChoice::Nvenc => "nvenc",
            EncoderChoice::Qsv => "qsv",
            EncoderChoice::Software => "software",
            EncoderChoice::Element(name) => name,
        })
    }
}

impl fmt::Display for Slate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slate::Text => f.write_str("text"),
            Slate::Hold => f.write_str("hold"),
            Slate::Picture(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for SrtUrl {
    /// `srt://HOST:PORT`, with `?mode=` where it is not `caller`. There is nothing secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "srt://[{address}]:{}", self.port)?,
            Err(_) => write!(f, "srt://{}:{}", self.host, self.port)?,
        }
        match self.mode {
            SrtMode::Caller => Ok(()),
            mode @ (SrtMode::Listener | SrtMode::Rendezvous) => write!(f, "?mode={mode}"),
        }
    }
}

impl MqttUrl {
    /// Ports of IANA's list, for `mqtt` and `secure-mqtt`.
    pub fn usual_port(tls: bool) -> u16 {
        if tls { 8883 } else { 1883 }
    }

    /// What is sent there does not leave this machine.
    pub fn is_loopback(&self) -> bool {
        let is_address = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        is_address || self.host.trim_end_matches('.') == "localhost"
    }
}

impl fmt::Display for MqttUrl {
    /// `mqtts://HOST:PORT`. There is nothing secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "{scheme}://[{address}]:{}", self.port),
            Err(_) => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// What the name of a systemd credential stands behind, where a path could stand.
pub(super) const CREDENTIAL: &str = "credential:";

/// Characters. Long enough for a place and a number, short enough for a metric's label and a table.
const LONGEST_NAME: usize = 32;

/// Frames per second: the fastest that capture hardware in reach delivers.
pub(super) const LARGEST_FRAMERATE: u32 = 240;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_rule() {
        for good in ["main", "0", "a-b_c", &"x".repeat(32)] {
            assert_eq!(StreamName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "Main", "a b", "é", "a.b", &"x".repeat(33)] {
            assert_eq!(OutputName::new(bad), Err(InvalidName), "{bad:?}");
        }
    }

    #[test]
    fn framerates_are_fractions_in_lowest_terms() {
        let ntsc = Framerate::new(60_000, 2_002).unwrap();
        assert_eq!(ntsc.to_string(), "30000/1001");
        assert_eq!(ntsc.frame_duration(), Duration::from_nanos(33_366_667));
        assert_eq!(Framerate::new(50, 2).unwrap().to_string(), "25");
        assert_eq!(Framerate::new(240, 1).unwrap().as_f64(), 240.0);
        for (n, d) in [(0, 1), (1, 0), (241, 1), (1, 2), (u32::MAX, 1)] {
            assert_eq!(Framerate::new(n, d), None);
        }
    }

    #[test]
    fn every_word_comes_back() {
        fn check<T: Word + fmt::Debug>() {
            for (word, meaning) in T::WORDS {
                assert_eq!(meaning.as_str(), *word);
            }
        }
        check::<LevelFilter>();
        check::<Codec>();
        check::<Ladder>();
        check::<SrtMode>();
        check::<MqttVersion>();
        assert_eq!(LevelFilter::iter().count(), LevelFilter::WORDS.len());
        for (word, family) in EncoderChoice::FAMILIES {
            assert_eq!(family.to_string(), word);
        }
    }

    #[test]
    fn an_address_of_six_words_gets_its_brackets() {
        let url = SrtUrl { host: "2001:db8::1".into(), port: 9000, mode: SrtMode::Caller };
        assert_eq!(url.to_string(), "srt://[2001:db8::1]:9000");
    }
}
