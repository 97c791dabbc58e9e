//! `[streams.NAME.audio]`.

use std::ops::RangeInclusive;

use super::super::{Audio, AudioCodec, AudioDevice, AudioSource, Channels, VideoSource};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;
use crate::units::Bitrate;

/// `video` is where the picture comes from, since its file may give the sound too.
pub(super) fn read(mut section: Section<'_>, video: Option<&VideoSource>) -> Option<Audio> {
    let source = section.read("source", |value| convert::choice(value, SOURCES.into_iter())).or(Source::None);
    let device = section.read("device", device).or(AudioDevice::Auto);
    let codec = section.read("codec", convert::word).or(AudioCodec::Aac);
    let bitrate = section.read("bitrate_kbps", |value| bitrate(value, codec)).or(DEFAULT_BITRATE);
    let gain_db = section.read("gain_db", |value| convert::decibels(value, GAIN_DB)).or(0.0);
    let mute = section.read("mute", convert::boolean).or(false);
    let channels = section.read("channels", convert::word).or(Channels::Stereo);
    let offset_ms = section.read("offset_ms", offset_ms).or(0);

    // `auto` says nothing, so that it may stay where the source is changed for a moment.
    if source.is_some_and(|source| source != Source::Alsa)
        && device.as_ref().is_some_and(|device| *device != AudioDevice::Auto)
    {
        let fix = "write source = \"alsa\", or remove device";
        section.complain("device", Complaint::new("is only for source = \"alsa\"", fix));
    }
    if source == Some(Source::File)
        && let Some(VideoSource::V4l2 { .. } | VideoSource::Test) = video
    {
        let fix = "write source = \"file\" and a path for the picture, or another source for the sound";
        let message = "is \"file\", the sound of the video file, but the picture comes from no file";
        section.complain("source", Complaint::new(message, fix));
    }
    section.finish();
    let (source, device) = (source?, device?);
    let source = match source {
        Source::Alsa => AudioSource::Alsa { device },
        Source::Test => AudioSource::Test,
        Source::File => AudioSource::File,
        Source::Silence => AudioSource::Silence,
        Source::None => AudioSource::None,
    };
    Some(Audio {
        source,
        codec: codec?,
        bitrate: bitrate?,
        gain_db: gain_db?,
        mute: mute?,
        channels: channels?,
        offset_ms: offset_ms?,
    })
}

/// What the codec takes; where that is not known, what any of them does.
fn bitrate(value: &Value<'_>, codec: Option<AudioCodec>) -> Result<Bitrate, Complaint> {
    let (aac, opus) = (AAC_KBPS, OPUS_KBPS);
    let range = match codec {
        Some(AudioCodec::Aac) => aac,
        Some(AudioCodec::Opus) => opus,
        None => *opus.start().min(aac.start())..=*opus.end().max(aac.end()),
    };
    convert::kbps(value, range)
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Alsa,
    Test,
    File,
    Silence,
    None,
}

const SOURCES: [(&str, Source); 5] = [
    ("alsa", Source::Alsa),
    ("test", Source::Test),
    ("file", Source::File),
    ("silence", Source::Silence),
    ("none", Source::None),
];

fn device(value: &Value<'_>) -> Result<AudioDevice, Complaint> {
    match convert::text(value)? {
        "auto" => Ok(AudioDevice::Auto),
        name if !name.is_empty() && !name.contains(char::is_control) => Ok(AudioDevice::Named(name.into())),
        _ => Err(Complaint::new("is no ALSA device", "write \"auto\", or a name such as \"hw:CARD=Device\"")),
    }
}

fn offset_ms(value: &Value<'_>) -> Result<i32, Complaint> {
    let offset = convert::integer(value, OFFSET_MS)?;
    Ok(i32::try_from(offset).expect("the range is within i32"))
}

/// What AAC encoders take for two channels.
const AAC_KBPS: RangeInclusive<i64> = 32..=512;

/// What libopus takes for two channels (RFC 6716, 2.1.1: 6 to 510); below 16, not even speech is whole.
const OPUS_KBPS: RangeInclusive<i64> = 16..=510;

/// From a whisper to what makes a microphone's line level loud; to have nothing at all, there is `mute`.
const GAIN_DB: RangeInclusive<f64> = -60.0..=30.0;

/// Transparent for nearly everything in two channels of AAC, and more so in Opus.
const DEFAULT_BITRATE: Bitrate = Bitrate::from_kbps(128);

/// Picture and sound farther apart than two seconds are no matter of lips.
const OFFSET_MS: RangeInclusive<i64> = -2000..=2000;
