//! What a probe asks of an encoder, and how what it did is read: in numbers, not yet judged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::{CodedPicture, Decoded, EncoderInfo, End, Mode, Trace, Trial};
use crate::units::{Bitrate, ByteCount};

/// What a probe is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    pub info: &'static EncoderInfo,
    pub mode: Mode,
    /// How much the encoder is to try, where it has a choice of that.
    pub preset: Option<&'static str>,
}

/// What was measured of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Pictures coded in a second of real time, against those of the mode: 2 is twice as fast as needed.
    pub factor: f64,
    /// From the start to the first coded picture: what opening the device and its session takes.
    pub first_picture_ms: u64,
    /// The three steps, in their order.
    pub rates: Vec<Step>,
    /// How many pictures after the one that was wished for the key frame came; nothing where none came.
    pub key_frame_after: Option<u32>,
    /// Whether that key frame came with all parameter sets.
    pub parameter_sets: bool,
    /// Whether both changes of the rate brought a key frame.
    pub key_frame_on_change: bool,
    pub given: u32,
    pub coded: u32,
    pub end: End,
    /// Whether nothing came in the last moments before patience ended.
    pub fell_silent: bool,
    pub stops: bool,
    pub decoded: Option<Decoded>,
    /// Which share of the processors other programs used meanwhile, 0 to 1.
    pub others: f64,
}

/// A rate that was asked for, and what came once it had settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    #[serde(rename = "asked_bps")]
    pub asked: Bitrate,
    #[serde(rename = "gave_bps")]
    pub gave: Bitrate,
}

impl Request {
    /// A rate, three times that, and the first again, each for as long as settling and measuring take;
    /// and a key frame while the first settles, where it spoils no measurement.
    pub fn trial(&self) -> Trial {
        let (low, high) = rates(self.mode);
        let step = pictures(SETTLING, self.mode) + pictures(MEASURED, self.mode);
        Trial {
            info: self.info,
            mode: self.mode,
            preset: self.preset,
            pictures: 3 * step,
            targets: vec![(0, low), (step, high), (2 * step, low)],
            key_frame_at: pictures(SETTLING, self.mode) / 3,
            patience: PATIENCE,
        }
    }
}

impl Measurements {
    /// Whether a calm machine may say better: other programs were at work, too.
    pub fn is_disturbed(&self) -> bool {
        self.others > CALM
    }

    pub fn of(trial: &Trial, trace: &Trace) -> Measurements {
        let coded = &trace.coded;
        let key_frame =
            coded.iter().find(|picture| picture.idr && picture.number >= trial.key_frame_at.max(1));
        let changes = trial.targets.iter().skip(1).map(|(from, _)| *from);
        let is_key_soon = |from: u32| {
            let soon = from..from + KEY_FRAME_PATIENCE;
            coded.iter().any(|picture| picture.idr && soon.contains(&picture.number))
        };
        let last = coded.last().map_or(Duration::ZERO, |picture| picture.after);
        Measurements {
            factor: factor(trial.mode, coded),
            first_picture_ms: coded.first().map_or(0, |picture| picture.after.as_millis() as u64), // within patience
            rates: steps(trial, coded),
            key_frame_after: key_frame.map(|picture| picture.number - trial.key_frame_at),
            parameter_sets: key_frame.is_some_and(|picture| picture.parameter_sets),
            key_frame_on_change: trial.targets.len() > 1 && changes.clone().all(is_key_soon),
            given: trace.given,
            coded: u32::try_from(coded.len()).unwrap_or(u32::MAX),
            end: trace.end.clone(),
            fell_silent: trace.end == End::OutOfPatience && trial.patience.saturating_sub(last) > SILENCE,
            stops: trace.stops,
            decoded: trace.decoded.clone(),
            others: 0.0, // which the trial does not know
        }
    }
}

/// The speed between the first coded picture and the last: opening the device does not count.
fn factor(mode: Mode, coded: &[CodedPicture]) -> f64 {
    let (Some(first), Some(last)) = (coded.first(), coded.last()) else { return 0.0 };
    let seconds = last.after.saturating_sub(first.after).as_secs_f64();
    if seconds <= 0.0 {
        return 0.0; // one picture, which says nothing
    }
    let factor = (coded.len() - 1) as f64 / seconds / mode.framerate.as_f64();
    (factor * 100.0).round() / 100.0
}

/// Of each step the part that was measured, over the time that its pictures last: an encoder may be many
/// times faster than they are.
fn steps(trial: &Trial, coded: &[CodedPicture]) -> Vec<Step> {
    let settling = pictures(SETTLING, trial.mode);
    let measured = pictures(MEASURED, trial.mode);
    let frame = trial.mode.framerate.frame_duration();
    let step = |(from, asked): &(u32, Bitrate)| {
        let window = from + settling..from + settling + measured;
        let bytes: ByteCount =
            coded.iter().filter(|picture| window.contains(&picture.number)).map(|picture| picture.size).sum();
        Step { asked: *asked, gave: bytes / (frame * measured) }
    };
    trial.targets.iter().map(step).collect()
}

/// The lower and the higher rate for a mode.
fn rates(mode: Mode) -> (Bitrate, Bitrate) {
    let pixels = f64::from(mode.width) * f64::from(mode.height) * mode.framerate.as_f64();
    let low = ((pixels * BITS_A_PIXEL) as u64).clamp(LEAST.as_bps(), MOST.as_bps());
    (Bitrate::from_bps(low), Bitrate::from_bps(low * STEP))
}

/// How many pictures last that long; at least so many that a rate is one.
fn pictures(time: Duration, mode: Mode) -> u32 {
    let pictures = (time.as_secs_f64() * mode.framerate.as_f64()).round() as u32; // 240 a second at most
    pictures.max(FEWEST_PICTURES)
}

/// After a change; the slowest buffer that a row asks for is 300 ms, and what it holds goes first.
const SETTLING: Duration = Duration::from_millis(600);

/// A key frame in it would show, and a rate control that works in steps of 200 ms is averaged.
const MEASURED: Duration = Duration::from_millis(600);

/// At low frame rates.
const FEWEST_PICTURES: u32 = 12;

/// Of the lower rate: 1.1 Mbit/s at 1280×720 with 30 pictures a second, at which every encoder can still obey
/// with this picture.
const BITS_A_PIXEL: f64 = 0.04;

/// Of the lower rate, for the smallest pictures.
const LEAST: Bitrate = Bitrate::from_kbps(300);

/// Of the lower rate: three times that is what the smallest hardware encoders (Raspberry Pi, 20 Mbit/s) take.
const MOST: Bitrate = Bitrate::from_kbps(6_500);

/// The higher rate against the lower: more than any tolerance.
const STEP: u64 = 3;

/// Pictures between a wish and its key frame, or a change of the rate and its: what hardware has under way.
pub(super) const KEY_FRAME_PATIENCE: u32 = 8;

/// An encoder that keeps real time needs about 3.6 s of it, whatever the mode: one that needs more is too slow.
/// Below the parent's limit, so that a slow encoder is told from one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// A share of the processors. A desktop, a few daemons and the probe's own parent take a few hundredths.
const CALM: f64 = 0.2;

/// Without a picture at the end of patience.
const SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Framerate;

    #[test]
    fn a_good_encoder_is_measured_as_one() {
        let trial = request(1280, 720, 30).trial();
        assert_eq!((trial.pictures, trial.key_frame_at), (108, 6));
        let measured = Measurements::of(&trial, &trace(&trial, |number| number == 0 || number == 8));
        assert!((measured.factor - 2.0).abs() < 0.05, "{}", measured.factor);
        let kbps: Vec<_> =
            measured.rates.iter().map(|step| (step.asked.as_kbps(), step.gave.as_kbps())).collect();
        assert_eq!(kbps, [(1105, 1105), (3317, 3317), (1105, 1105)]);
        assert_eq!((measured.key_frame_after, measured.parameter_sets), (Some(2), true));
        assert!(!measured.key_frame_on_change && !measured.fell_silent);
    }

    #[test]
    fn key_frames_at_changes_are_seen() {
        let trial = request(1280, 720, 30).trial();
        let keys = |number| [0, 6, 37, 72].contains(&number);
        assert!(Measurements::of(&trial, &trace(&trial, keys)).key_frame_on_change);
        let only_one = |number| [0, 6, 37].contains(&number);
        assert!(!Measurements::of(&trial, &trace(&trial, only_one)).key_frame_on_change);
    }

    #[test]
    fn silence_is_told_from_slowness() {
        let trial = request(640, 360, 30).trial();
        let end = |coded: usize, milliseconds: u64| {
            let mut trace = trace(&trial, |number| number == 0);
            trace.end = End::OutOfPatience;
            trace.coded.truncate(coded);
            for (index, picture) in trace.coded.iter_mut().enumerate() {
                picture.after = Duration::from_millis(milliseconds) * (index as u32 + 1);
            }
            Measurements::of(&trial, &trace)
        };
        let slow = end(50, 95);
        assert!(!slow.fell_silent && (0.3..0.4).contains(&slow.factor), "{slow:?}");
        assert!(end(10, 10).fell_silent);
        let nothing = end(0, 0);
        assert!(nothing.fell_silent && nothing.factor == 0.0);
    }

    #[test]
    fn modes_of_every_size_have_rates_and_enough_pictures() {
        for (width, height, framerate, low) in
            [(64, 64, 1, 300), (1280, 720, 30, 1_105), (1920, 1080, 60, 4_976), (3840, 2160, 60, 6_500)]
        {
            let trial = request(width, height, framerate).trial();
            assert_eq!(trial.targets[0].1.as_kbps(), low, "{width}x{height}");
            assert_eq!(trial.targets[1].1.as_bps(), 3 * trial.targets[0].1.as_bps());
            assert!(trial.pictures >= 72 && trial.key_frame_at > 0);
        }
    }

    fn request(width: u32, height: u32, framerate: u32) -> Request {
        let mode = Mode { width, height, framerate: Framerate::new(framerate, 1).unwrap() };
        Request { info: crate::media::back_ends().next().unwrap(), mode, preset: None }
    }

    /// An encoder of twice real time that obeys exactly.
    fn trace(trial: &Trial, is_key: impl Fn(u32) -> bool) -> Trace {
        let frame = trial.mode.framerate.frame_duration();
        let target = |number| {
            trial
                .targets
                .iter()
                .rev()
                .find(|(from, _)| *from <= number)
                .map_or(Bitrate::ZERO, |(_, rate)| *rate)
        };
        let coded = (0..trial.pictures).map(|number| CodedPicture {
            number,
            after: Duration::from_millis(100) + frame * number / 2,
            size: ByteCount::new((target(number) * frame).get() + 1),
            idr: is_key(number),
            parameter_sets: is_key(number),
        });
        Trace {
            coded: coded.collect(),
            given: trial.pictures,
            end: End::Complete,
            stops: true,
            decoded: None,
        }
    }
}
