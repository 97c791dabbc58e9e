//! `[streams.NAME.video]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::super::values::LARGEST_FRAMERATE;
use super::super::{Camera, Codec, EncoderChoice, Framerate, Slate, Video, VideoDevice, VideoSource};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;
use super::suggest;

/// `source` with the key that belongs to it.
pub(super) fn read_source(section: &mut Section<'_>) -> Option<VideoSource> {
    let source = section.read("source", |value| convert::choice(value, SOURCES.into_iter())).or(Source::V4l2);
    let device = section.read("device", device).or(VideoDevice::Auto);
    let edid_file = section.read("edid_file", convert::path).optional();
    let controls = section.section("controls").settings(control);
    let path = section.read("path", convert::path).optional();
    let source = source?;
    let mut consistent = true;
    // `auto` says nothing, so that it may stay where the source is changed for a moment.
    if source != Source::V4l2 && device.as_ref().is_some_and(|device| *device != VideoDevice::Auto) {
        let fix = "write source = \"v4l2\", or remove device";
        section.complain("device", Complaint::new("is only for source = \"v4l2\"", fix));
        consistent = false;
    }
    for (key, is_given) in [
        ("edid_file", matches!(edid_file, Some(Some(_)))),
        ("controls", controls.as_ref().is_some_and(|controls| !controls.is_empty())),
    ] {
        if source != Source::V4l2 && is_given {
            let fix = format!("write source = \"v4l2\", or remove {key}");
            section.complain(key, Complaint::new("is only for source = \"v4l2\"", fix));
            consistent = false;
        }
    }
    if source != Source::File && matches!(path, Some(Some(_))) {
        let fix = "write source = \"file\", or remove path";
        section.complain("path", Complaint::new("is only for source = \"file\"", fix));
        consistent = false;
    }
    if source == Source::File && path == Some(None) {
        let fix = "write path = \"/…\", the video file";
        section.complain("path", Complaint::new("is missing beside source = \"file\"", fix));
        consistent = false;
    }
    let (device, path) = (device?, path?);
    let camera = Camera { device, edid_file: edid_file?, controls: controls? };
    match source {
        _ if !consistent => None,
        Source::V4l2 => Some(VideoSource::V4l2(camera)),
        Source::Test => Some(VideoSource::Test),
        Source::File => path.map(|path| VideoSource::File { path }),
    }
}

/// The rest of the section.
pub(super) fn read(mut section: Section<'_>, source: Option<VideoSource>) -> Option<Video> {
    let width = section.read("width", |value| even(value, WIDTH)).or(1280);
    let height = section.read("height", |value| even(value, HEIGHT)).or(720);
    let framerate = section.read("framerate", framerate).or(DEFAULT_FRAMERATE);
    let codec = section.read("codec", convert::word).or(Codec::H264);
    let encoder = section.read("encoder", encoder).or(EncoderChoice::Auto);
    let keyframe_interval = section
        .read("keyframe_interval_ms", |value| convert::milliseconds(value, KEYFRAME_INTERVAL_MS))
        .or(DEFAULT_KEYFRAME_INTERVAL);
    let slate = section.read("slate", slate).or(Slate::Text);
    let fallback = read_fallback(&mut section, source.as_ref());
    if let (Some(codec), Some(EncoderChoice::Element(element))) = (codec, &encoder)
        && EncoderChoice::codec_of(element) != Some(codec)
    {
        let fix = format!("write codec = \"{}\", or another encoder", other(codec));
        let message = format!("{element:?} does not encode {codec}, which codec asks for");
        section.complain("encoder", Complaint::new(message, fix));
    }
    section.finish();
    Some(Video {
        source: source?,
        fallback: fallback?,
        width: width?,
        height: height?,
        framerate: framerate?,
        codec: codec?,
        encoder: encoder?,
        keyframe_interval: keyframe_interval?,
        slate: slate?,
    })
}

/// `[[fallback]]`, each a source as in the section itself. One that is there twice could take no place.
fn read_fallback(section: &mut Section<'_>, first: Option<&VideoSource>) -> Option<Vec<VideoSource>> {
    let mut seen: Vec<(Option<VideoSource>, String)> = vec![(first.cloned(), section.path().to_owned())];
    for mut fallback in section.list("fallback")? {
        let source = read_source(&mut fallback);
        let twin = source.as_ref().and_then(|_| seen.iter().find(|(other, _)| *other == source));
        if let Some((_, path)) = twin {
            let message = format!("is the same as in {path}, and fails with it");
            fallback
                .complain("source", Complaint::new(message, "write another source, or remove this section"));
        }
        seen.push((source, fallback.path().to_owned()));
        fallback.finish();
    }
    seen.into_iter().skip(1).map(|(source, _)| source).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    V4l2,
    Test,
    File,
}

const SOURCES: [(&str, Source); 3] = [("v4l2", Source::V4l2), ("test", Source::Test), ("file", Source::File)];

fn device(value: &Value<'_>) -> Result<VideoDevice, Complaint> {
    let text = convert::text(value)?;
    let name_below = |name: &str| !name.is_empty() && !name.contains(['/', '\0']);
    if text == "auto" {
        return Ok(VideoDevice::Auto);
    }
    if let Some(name) = text.strip_prefix("by-id:").filter(|name| name_below(name)) {
        return Ok(VideoDevice::ById(name.into()));
    }
    if let Some(name) = text.strip_prefix("by-path:").filter(|name| name_below(name)) {
        return Ok(VideoDevice::ByPath(name.into()));
    }
    if text.starts_with("/dev/") && !text.contains('\0') {
        return Ok(VideoDevice::Node(text.into()));
    }
    let number = text.strip_prefix("video").unwrap_or(text);
    let fix = if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        format!("write device = \"/dev/video{number}\"")
    } else if text.starts_with("usb-") {
        format!("write device = \"by-id:{text}\"")
    } else {
        "write \"auto\", \"by-id:…\", \"by-path:…\" or \"/dev/video0\", as `uplinkd devices` shows them"
            .into()
    };
    Err(Complaint::new(format!("{} is no video device", convert::shown(text)), fix))
}

/// The value of a control, which has its range from the device.
fn control(name: &str, value: &DeValue<'_>) -> Result<i32, Complaint> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        let fix = "write it in small letters, with _ between its words, as `uplinkd devices` shows it";
        return Err(Complaint::new("is no control's name", fix));
    }
    let number = match value {
        DeValue::Boolean(truth) => Some(i32::from(*truth)),
        DeValue::Integer(number) => i32::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let message = match value {
            DeValue::Integer(_) => "is no number that a device takes".to_owned(),
            other => format!("is {}, not a whole number, true or false", convert::kind(other)),
        };
        Complaint::new(message, "write a number in the range that `uplinkd devices` shows")
    })
}

fn even(value: &Value<'_>, range: RangeInclusive<i64>) -> Result<u32, Complaint> {
    let number = convert::integer(value, range)?;
    match u32::try_from(number) {
        Ok(number) if number % 2 == 0 => Ok(number),
        _ => Err(Complaint::new(
            format!("is {number}, but an encoder takes even sizes only"),
            format!("write {} = {}", value.key, number - 1),
        )),
    }
}

/// A whole number, one of television's fractions by its usual short form, or the fraction itself.
fn framerate(value: &Value<'_>) -> Result<Framerate, Complaint> {
    let rate = match value.contents {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|number| Framerate::new(number, 1)),
        DeValue::Float(number) => number.as_str().parse().ok().and_then(framerate_of_decimal),
        DeValue::String(text) => text.split_once('/').and_then(|(numerator, denominator)| {
            Framerate::new(numerator.trim().parse().ok()?, denominator.trim().parse().ok()?)
        }),
        other => {
            let message = format!("is {}, not a number of frames per second", convert::kind(other));
            return Err(Complaint::new(message, FRAMERATE_FIX));
        }
    };
    rate.ok_or_else(|| {
        let message = format!("is no frame rate in use from 1 to {LARGEST_FRAMERATE} frames per second");
        match value.contents.as_str().filter(|text| text.parse::<f64>().is_ok()) {
            Some(number) => Complaint::new("is a text, not a number", format!("write framerate = {number}")),
            None => Complaint::new(message, FRAMERATE_FIX),
        }
    })
}

fn framerate_of_decimal(rate: f64) -> Option<Framerate> {
    /// 23.98 for 24000/1001 is the coarsest form in use: 0.004 off, where the nearest whole rate is 0.02 off.
    const TOLERANCE: f64 = 0.006;
    if !(1.0..=f64::from(LARGEST_FRAMERATE)).contains(&rate) {
        return None;
    }
    let halves = rate * 2.0;
    if halves.fract() == 0.0 {
        return Framerate::new(halves as u32, 2);
    }
    let nominal = (rate * 1.001).round();
    let exact = nominal * 1000.0 / 1001.0;
    ((rate - exact).abs() < TOLERANCE).then(|| Framerate::new(nominal as u32 * 1000, 1001)).flatten()
}

fn encoder(value: &Value<'_>) -> Result<EncoderChoice, Complaint> {
    let text = convert::text(value)?;
    if let Some((_, family)) = EncoderChoice::FAMILIES.into_iter().find(|(word, _)| *word == text) {
        return Ok(family);
    }
    if text == X265 {
        let fix = "write codec = \"h265\" and encoder = \"auto\" for an encoder in hardware, \
                   or codec = \"h264\" and encoder = \"software\"";
        let message =
            format!("{text:?} cannot change its bitrate while it runs: it would begin anew each time");
        return Err(Complaint::new(message, fix));
    }
    if EncoderChoice::codec_of(text).is_some() {
        return Ok(EncoderChoice::Element(text.into()));
    }
    let (words, elements) =
        (EncoderChoice::FAMILIES.map(|(word, _)| word), EncoderChoice::ELEMENTS.map(|(name, _)| name));
    let quoted = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let fix = match suggest::closest(text, words.into_iter().chain(elements)) {
        Some(word) => format!("did you mean encoder = {word:?}?"),
        None => format!("write one of {}, or of the elements {}", quoted(&words), quoted(&elements)),
    };
    let message = format!("{} is no encoder that is known here, nor a family of them", convert::shown(text));
    Err(Complaint::new(message, fix))
}

fn other(codec: Codec) -> Codec {
    match codec {
        Codec::H264 => Codec::H265,
        Codec::H265 => Codec::H264,
    }
}

fn slate(value: &Value<'_>) -> Result<Slate, Complaint> {
    match convert::text(value)? {
        "text" => Ok(Slate::Text),
        "hold" => Ok(Slate::Hold),
        path if path.starts_with('/') && !path.contains('\0') => Ok(Slate::Picture(path.into())),
        other => {
            let fix = match suggest::closest(other, ["text", "hold"]) {
                Some(word) => format!("did you mean slate = {word:?}?"),
                None => "write \"text\", \"hold\" or the whole path of a picture, from / on".into(),
            };
            Err(Complaint::new(format!("{} is no slate", convert::shown(other)), fix))
        }
    }
}

/// GStreamer's H.265 in software: it closes and reopens its encoder for each bitrate that it is told, and the
/// rate follows the link many times a minute.
const X265: &str = "x265enc";

/// Pixels. From the smallest picture that H.264 has whole to 8K.
const WIDTH: RangeInclusive<i64> = 16..=7680;

/// Pixels.
const HEIGHT: RangeInclusive<i64> = 16..=4320;

/// Below a tenth of a second nearly all pictures are key frames; above 20 s nobody waits to join.
const KEYFRAME_INTERVAL_MS: RangeInclusive<i64> = 100..=20_000;

/// What receivers and re-packagers (HLS segments) ask for.
const DEFAULT_KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

const DEFAULT_FRAMERATE: Framerate = Framerate::new(30, 1).expect("30 frames per second are within 1 to 240");

const FRAMERATE_FIX: &str = "write framerate = 30, or 29.97, or \"30000/1001\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn television_framerates_are_known_by_their_short_form() {
        for (written, meant) in [
            (23.976, "24000/1001"),
            (23.98, "24000/1001"),
            (29.97, "30000/1001"),
            (59.94, "60000/1001"),
            (119.88, "120000/1001"),
            (25.0, "25"),
            (12.5, "25/2"),
        ] {
            assert_eq!(framerate_of_decimal(written).unwrap().to_string(), meant, "{written}");
        }
        for nonsense in [0.0, 0.5, 29.8, 30.02, 241.0, 1e300, f64::NAN, f64::INFINITY, -25.0] {
            assert_eq!(framerate_of_decimal(nonsense), None, "{nonsense}");
        }
    }
}
