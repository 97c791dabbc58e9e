//! `[streams.NAME.audio]`.

use std::ops::RangeInclusive;

use super::super::{Audio, AudioDevice, AudioSource, VideoSource};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;
use crate::units::Bitrate;

/// `video` is where the picture comes from, since its file may give the sound too.
pub(super) fn read(mut section: Section<'_>, video: Option<&VideoSource>) -> Option<Audio> {
    let source = section.read("source", |value| convert::choice(value, SOURCES.into_iter())).or(Source::None);
    let device = section.read("device", device).or(AudioDevice::Auto);
    let bitrate =
        section.read("bitrate_kbps", |value| convert::kbps(value, BITRATE_KBPS)).or(DEFAULT_BITRATE);
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
    Some(Audio { source, bitrate: bitrate?, offset_ms: offset_ms? })
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
const BITRATE_KBPS: RangeInclusive<i64> = 32..=512;

/// Transparent for nearly everything in two channels of AAC.
const DEFAULT_BITRATE: Bitrate = Bitrate::from_kbps(128);

/// Picture and sound farther apart than two seconds are no matter of lips.
const OFFSET_MS: RangeInclusive<i64> = -2000..=2000;
