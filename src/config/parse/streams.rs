//! `[streams.NAME]` and its rate.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::{Ladder, Rate, Stream, StreamName};
use super::report::Complaint;
use super::section::{Key, Section};
use super::{audio, convert, outputs, video};
use crate::units::Bitrate;

pub(super) fn read(mut section: Section<'_>) -> Option<BTreeMap<StreamName, Stream>> {
    let mut streams = BTreeMap::new();
    let mut complete = true;
    for (name, stream) in section.named_sections("streams") {
        let name = StreamName::new(name).map_err(|error| {
            let complaint = Complaint::new("is no name for a stream", format!("take another: {error}"));
            section.complain_about_key(name, complaint);
        });
        match (name, read_stream(stream)) {
            (Ok(name), Some(stream)) => {
                streams.insert(name, stream);
            }
            _ => complete = false,
        }
    }
    complete.then_some(streams)
}

fn read_stream(mut section: Section<'_>) -> Option<Stream> {
    let enabled = section.read("enabled", convert::boolean).or(false);
    let mut video = section.section("video");
    let video_source = video::read_source(&mut video);
    let audio = audio::read(section.section("audio"), video_source.as_ref());
    let video = video::read(video, video_source);
    let rate = read_rate(section.section("rate"));
    let outputs = outputs::read(&mut section);
    if enabled == Some(true) && outputs.as_ref().is_some_and(Vec::is_empty) {
        let fix = format!("write [[{}.outputs]] with name and url, or enabled = false", section.path());
        section.complain_among(
            &["enabled", "outputs"],
            Complaint::new("is true, but the stream has no output", fix),
        );
    }
    section.finish();
    Some(Stream { enabled: enabled?, video: video?, audio: audio?, rate: rate?, outputs: outputs? })
}

/// A default gives way to a bound that was written, as far as it can.
fn read_rate(mut section: Section<'_>) -> Option<Rate> {
    let max = section.read("max_kbps", |value| convert::kbps(value, RATE_KBPS));
    let max = max.or(DEFAULT_MAX);
    let min = section.read("min_kbps", |value| convert::kbps(value, RATE_KBPS));
    let min = min.or(max.map_or(DEFAULT_MIN, |max| DEFAULT_MIN.min(max)));
    let start = section.read("start_kbps", |value| convert::kbps(value, RATE_KBPS));
    let adaptive = section.read("adaptive", convert::boolean).or(true);
    let ladder = section.read("ladder", convert::word).or(Ladder::Framerate);

    let (min, max) = match (min, max) {
        (Some(min), Some(max)) if min > max => {
            let (min, max) = (min.as_kbps(), max.as_kbps());
            let message = format!("is {min}, above max_kbps, which is {max}");
            let fix = format!("write min_kbps = {max} or less, or max_kbps = {min} or more");
            section.complain_among(&["min_kbps", "max_kbps"], Complaint::new(message, fix));
            (None, None)
        }
        bounds => bounds,
    };
    let start = read_start(&section, start, min, max);
    section.finish();
    Some(Rate { min: min?, max: max?, start: start?, adaptive: adaptive?, ladder: ladder? })
}

/// Checks the start against the bounds, as far as they could be read.
fn read_start(
    section: &Section<'_>,
    start: Key<Bitrate>,
    min: Option<Bitrate>,
    max: Option<Bitrate>,
) -> Option<Bitrate> {
    let lowest = min.unwrap_or(Bitrate::ZERO);
    let highest = max.unwrap_or(Bitrate::from_bps(u64::MAX));
    let Key::Given(given) = start else { return start.or(DEFAULT_START.clamp(lowest, highest)) };
    let (nearest, bound, side) = match given.clamp(lowest, highest) {
        nearest if nearest > given => (nearest, "min_kbps", "below"),
        nearest if nearest < given => (nearest, "max_kbps", "above"),
        _ => return Some(given),
    };
    let (given, nearest) = (given.as_kbps(), nearest.as_kbps());
    let message = format!("is {given}, {side} {bound}, which is {nearest}");
    let fix = format!("write start_kbps = {nearest}, or remove it");
    section.complain_among(&["start_kbps", bound], Complaint::new(message, fix));
    None
}

/// Below 50 kbit/s no encoder makes a picture worth the name; 200 Mbit/s is the most that the
/// hardware encoders in reach take.
const RATE_KBPS: RangeInclusive<i64> = 50..=200_000;

/// A small picture that moves little is still a picture.
const DEFAULT_MIN: Bitrate = Bitrate::from_kbps(300);

/// Good for 1280 × 720 at 30 frames per second.
const DEFAULT_MAX: Bitrate = Bitrate::from_kbps(6_000);

/// A mobile uplink carries this at once in most places; the controller finds the rest.
const DEFAULT_START: Bitrate = Bitrate::from_kbps(1_500);
