//! The summary as one JSON object, for programs.

use std::time::Duration;

use serde::Serialize;

use super::alignment::Alignment;
use super::checker::TrackReport;
use super::summary::{Summary, Verdict};
use crate::units::ByteCount;

/// One object, on one line with its end. What is not known is `null`.
pub fn json(summary: &Summary) -> String {
    let object = Object::of(summary);
    let text = serde_json::to_string(&object).expect("texts and finite numbers under fixed keys");
    format!("{text}\n")
}

#[derive(Serialize)]
struct Object<'a> {
    seconds: f64,
    encoder: &'a str,
    link: &'a str,
    /// `clean`, `late` or `defective`.
    verdict: &'static str,
    defects: Vec<String>,
    picture: Option<Track>,
    sound: Option<Track>,
    alignment: Option<Offset>,
    delay_ms: Option<Delay>,
    continuity_errors: u64,
    late_gaps: u64,
    encoded_bps: u64,
    sent_bps: u64,
    acked_bps: u64,
    received_bps: u64,
}

#[derive(Serialize)]
struct Track {
    codec: &'static str,
    units: u64,
    damaged: u64,
    longest_step_ms: f64,
}

/// Above 0 the sound comes later than its picture.
#[derive(Serialize)]
struct Offset {
    marks: u64,
    offset_ms: f64,
    smallest_ms: f64,
    largest_ms: f64,
}

#[derive(Serialize)]
struct Delay {
    smallest: f64,
    largest: f64,
}

impl Object<'_> {
    fn of(summary: &Summary) -> Object<'_> {
        let (reception, sender) = (&summary.reception, &summary.sender);
        let mean = |bytes: ByteCount| (bytes / summary.elapsed).as_bps();
        let (verdict, defects) = match Verdict::of(summary) {
            Verdict::Clean => ("clean", Vec::new()),
            Verdict::LateOnly { .. } => ("late", Vec::new()),
            Verdict::Defective(defects) => ("defective", defects),
        };
        Object {
            seconds: hundredths(summary.elapsed.as_secs_f64()),
            encoder: &summary.encoder,
            link: &summary.link,
            verdict,
            defects,
            picture: reception.stream.video.map(Track::of),
            sound: reception.stream.audio.map(Track::of),
            alignment: reception.alignment.map(Offset::of),
            delay_ms: reception
                .delay
                .map(|delay| Delay { smallest: millis(delay.smallest), largest: millis(delay.largest) }),
            continuity_errors: reception.stream.continuity_errors(),
            late_gaps: reception.srt.gaps,
            encoded_bps: mean(sender.encoded),
            sent_bps: mean(sender.sent),
            acked_bps: mean(sender.acknowledged),
            received_bps: mean(reception.stream.bytes),
        }
    }
}

impl Track {
    fn of(track: TrackReport) -> Track {
        let TrackReport { codec, units, damaged, longest_step, .. } = track;
        Track { codec: codec.name(), units, damaged, longest_step_ms: millis(longest_step) }
    }
}

impl Offset {
    fn of(found: Alignment) -> Offset {
        let Alignment { marks, offset_ms, smallest_ms, largest_ms } = found;
        let [offset_ms, smallest_ms, largest_ms] = [offset_ms, smallest_ms, largest_ms].map(hundredths);
        Offset { marks, offset_ms, smallest_ms, largest_ms }
    }
}

fn millis(time: Duration) -> f64 {
    hundredths(time.as_secs_f64() * 1e3)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_tells_the_offset_and_what_is_wrong() {
        let mut summary = Summary { elapsed: Duration::from_secs(20), ..Summary::default() };
        let parsed =
            |summary: &Summary| -> serde_json::Value { serde_json::from_str(&json(summary)).unwrap() };
        let nothing = parsed(&summary);
        assert_eq!(nothing["verdict"], "defective");
        assert_eq!(nothing["defects"][0], "nothing arrived");
        assert!(nothing["alignment"].is_null() && nothing["picture"].is_null());
        let found = Alignment { marks: 18, offset_ms: -3.041, smallest_ms: -4.0, largest_ms: 1.0 };
        summary.reception.alignment = Some(found);
        let told = parsed(&summary);
        assert_eq!(told["alignment"]["offset_ms"], -3.04);
        assert_eq!(told["alignment"]["marks"], 18);
    }
}
