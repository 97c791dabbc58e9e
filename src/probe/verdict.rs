//! Whether an encoder may be trusted with a stream, and in words why not.

use serde::{Deserialize, Serialize};

use super::plan::{KEY_FRAME_PATIENCE, Measurements, Step};
use crate::media::{Decoded, End, Mode};

/// What a probe says of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Proven {
        /// Of real time.
        factor: f64,
    },
    /// It does all that it should, but not fast enough for this mode; for a smaller one it may be.
    TooSlow {
        factor: f64,
        reason: String,
    },
    Refused {
        reason: String,
    },
}

impl Verdict {
    /// Judges what was measured.
    pub fn of(measured: &Measurements, mode: Mode) -> Verdict {
        let factor = measured.factor;
        match fault(measured, mode) {
            Some(reason) => Verdict::Refused { reason },
            None if factor < LEAST_FACTOR || measured.end == End::OutOfPatience => {
                Verdict::TooSlow { factor, reason: too_slow(measured, mode) }
            }
            None => Verdict::Proven { factor },
        }
    }

    pub fn is_proven(&self) -> bool {
        matches!(self, Verdict::Proven { .. })
    }

    /// In one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Proven { .. } => "proven",
            Verdict::TooSlow { .. } => "too_slow",
            Verdict::Refused { .. } => "refused",
        }
    }

    /// In words.
    pub fn reason(&self) -> String {
        match self {
            Verdict::Proven { factor } => format!("proven at {factor:.1} times real time"),
            Verdict::TooSlow { reason, .. } | Verdict::Refused { reason } => reason.clone(),
        }
    }
}

/// What is wrong with it, apart from its speed; the worst first.
fn fault(measured: &Measurements, mode: Mode) -> Option<String> {
    let Measurements { given, coded, .. } = measured;
    match &measured.end {
        End::Failed(reason) => return Some(format!("fails: {reason}")),
        End::OutOfPatience if *coded == 0 => {
            return Some(format!("takes {given} pictures and gives none"));
        }
        End::OutOfPatience if measured.fell_silent => {
            return Some(format!("gives {coded} pictures and then no more"));
        }
        // Too slow for the rest to be measured.
        End::OutOfPatience => return None,
        End::Complete => {}
    }
    if coded != given {
        return Some(format!("gives {coded} pictures for {given}"));
    }
    measured
        .decoded
        .as_ref()
        .and_then(|decoded| decoding_fault(decoded, *coded, mode))
        .or_else(|| rate_fault(&measured.rates))
        .or_else(|| key_frame_fault(measured))
        .or_else(|| (!measured.stops).then(|| "does not stop when it is told to".to_owned()))
}

fn decoding_fault(decoded: &Decoded, coded: u32, mode: Mode) -> Option<String> {
    let (judge, pictures, size, error) = match decoded {
        Decoded::With { decoder, pictures, size, error } => (decoder.as_str(), pictures, *size, error),
        Decoded::Parsed { pictures, error } => {
            ("GStreamer's parser", pictures, Some((mode.width, mode.height)), error)
        }
    };
    if let Some(error) = error {
        return Some(format!("gives a stream that {judge} does not decode: {error}"));
    }
    if *pictures != coded {
        return Some(format!("gives {coded} pictures of which {judge} decodes {pictures}"));
    }
    match size {
        Some((width, height)) if (width, height) != (mode.width, mode.height) => {
            Some(format!("gives pictures of {width}×{height} for {}×{}", mode.width, mode.height))
        }
        Some(_) => None,
        None => Some(format!("gives pictures whose size {judge} does not tell")),
    }
}

fn rate_fault(rates: &[Step]) -> Option<String> {
    let share = |step: &Step| step.gave.as_bps() as f64 / step.asked.as_bps().max(1) as f64;
    let words = |step: &Step| {
        let (asked, gave) = (step.asked.as_kbps(), step.gave.as_kbps());
        format!("asked for {asked} kbit/s, gave {gave}")
    };
    let wrong = rates.iter().find(|step| !(LEAST_FILLED..=MOST_FILLED).contains(&share(step)))?;
    // One that gives the same whatever it is told has another fault than one that is just coarse.
    let gave = rates.iter().map(|step| step.gave.as_bps());
    let (least, most) = (gave.clone().min()?, gave.max()?);
    let follows = most as f64 > least as f64 * LEAST_DIFFERENCE;
    let fault = if follows { "does not keep its bitrate" } else { "ignores its bitrate" };
    Some(format!("{fault}: {}", words(wrong)))
}

fn key_frame_fault(measured: &Measurements) -> Option<String> {
    match measured.key_frame_after {
        None => Some("gives no key frame (IDR) when asked for one".to_owned()),
        Some(after) if after > KEY_FRAME_PATIENCE => {
            Some(format!("gives a key frame only {after} pictures after it was asked for one"))
        }
        Some(_) if !measured.parameter_sets => {
            Some("gives key frames without their parameter sets".to_owned())
        }
        Some(_) => None,
    }
}

fn too_slow(measured: &Measurements, mode: Mode) -> String {
    let factor = measured.factor;
    let mut words = format!("keeps {factor:.1} of real time at {mode}");
    if factor >= LEAST_FACTOR {
        words.push_str(", which is too slow for a whole probe");
    }
    if measured.is_disturbed() {
        let percent = measured.others * 100.0;
        words.push_str(&format!(", while other programs used {percent:.0} % of the processors"));
    }
    words
}

/// Of real time. Below it, a scene that is harder than the probe's picture, a warm processor or a second
/// stream costs pictures.
pub const LEAST_FACTOR: f64 = 1.2;

/// Of what was asked for. A little less than all is no harm; half of it is an encoder that does not follow a
/// step up, since the probe's picture has use for all of it.
const LEAST_FILLED: f64 = 0.5;

/// More than a third too much within 600 ms fills a link's queue, whatever the rate control does.
const MOST_FILLED: f64 = 1.35;

/// Between what came of the lower rate and of three times that.
const LEAST_DIFFERENCE: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Framerate;
    use crate::units::Bitrate;

    type Fault = fn(&mut Measurements);

    #[test]
    fn each_fault_has_its_words() {
        let cases: &[(Fault, &str)] = &[
            (|_| (), "proven at 3.0 times real time"),
            (|m| m.factor = 1.2, "proven at 1.2 times real time"),
            (|m| m.factor = 0.64, "keeps 0.6 of real time at 1920×1080, 30/s"),
            (|m| m.end = End::Failed("enc0: No such device".into()), "fails: enc0: No such device"),
            (|m| (m.end, m.coded) = (End::OutOfPatience, 0), "takes 108 pictures and gives none"),
            (
                |m| (m.end, m.coded, m.fell_silent) = (End::OutOfPatience, 7, true),
                "gives 7 pictures and then no more",
            ),
            (
                |m| (m.end, m.coded, m.factor, m.decoded) = (End::OutOfPatience, 60, 0.4, None),
                "keeps 0.4 of real time at 1920×1080, 30/s",
            ),
            (
                |m| (m.factor, m.others) = (0.64, 0.5),
                "keeps 0.6 of real time at 1920×1080, 30/s, while other programs used 50 % of the processors",
            ),
            (
                |m| (m.end, m.coded, m.factor) = (End::OutOfPatience, 60, 1.3),
                "keeps 1.3 of real time at 1920×1080, 30/s, which is too slow for a whole probe",
            ),
            (|m| m.coded = 100, "gives 100 pictures for 108"),
            (
                |m| m.rates = steps([1_000, 3_000, 4_200]),
                "does not keep its bitrate: asked for 1000 kbit/s, gave 4200",
            ),
            (
                |m| m.rates = steps([4_200, 4_300, 4_200]),
                "ignores its bitrate: asked for 1000 kbit/s, gave 4200",
            ),
            (|m| m.rates = steps([900, 950, 900]), "ignores its bitrate: asked for 3000 kbit/s, gave 950"),
            (|m| m.rates = steps([700, 2_300, 1_300]), "proven at 3.0 times real time"),
            (|m| m.key_frame_after = None, "gives no key frame (IDR) when asked for one"),
            (
                |m| m.key_frame_after = Some(30),
                "gives a key frame only 30 pictures after it was asked for one",
            ),
            (|m| m.parameter_sets = false, "gives key frames without their parameter sets"),
            (|m| m.stops = false, "does not stop when it is told to"),
            (|m| m.decoded = decoded(108, (1920, 1088), None), "gives pictures of 1920×1088 for 1920×1080"),
            (
                |m| m.decoded = decoded(90, (1920, 1080), None),
                "gives 108 pictures of which avdec_h264 decodes 90",
            ),
            (
                |m| m.decoded = decoded(108, (1920, 1080), Some("no frame!")),
                "gives a stream that avdec_h264 does not decode: no frame!",
            ),
            (
                |m| m.decoded = Some(Decoded::Parsed { pictures: 3, error: None }),
                "gives 108 pictures of which GStreamer's parser decodes 3",
            ),
            (
                |m| m.decoded = Some(Decoded::Parsed { pictures: 108, error: None }),
                "proven at 3.0 times real time",
            ),
        ];
        for (change, expected) in cases {
            let mut measured = good();
            change(&mut measured);
            let verdict = Verdict::of(&measured, mode());
            assert_eq!(verdict.reason(), *expected);
            assert_eq!(verdict.is_proven(), expected.starts_with("proven"));
        }
    }

    #[test]
    fn slowness_is_no_fault_of_its_own() {
        let slow = Measurements { factor: 0.9, ..good() };
        assert!(matches!(Verdict::of(&slow, mode()), Verdict::TooSlow { factor: 0.9, .. }));
        let faulty = Measurements { stops: false, ..slow };
        assert!(matches!(Verdict::of(&faulty, mode()), Verdict::Refused { .. }));
    }

    fn good() -> Measurements {
        Measurements {
            factor: 3.0,
            first_picture_ms: 50,
            rates: steps([1_000, 3_000, 1_000]),
            key_frame_after: Some(1),
            parameter_sets: true,
            key_frame_on_change: false,
            given: 108,
            coded: 108,
            end: End::Complete,
            fell_silent: false,
            stops: true,
            decoded: decoded(108, (1920, 1080), None),
            others: 0.05,
        }
    }

    fn steps(gave: [u64; 3]) -> Vec<Step> {
        let step = |(asked, gave)| Step { asked: Bitrate::from_kbps(asked), gave: Bitrate::from_kbps(gave) };
        [1_000, 3_000, 1_000].into_iter().zip(gave).map(step).collect()
    }

    fn decoded(pictures: u32, size: (u32, u32), error: Option<&str>) -> Option<Decoded> {
        let error = error.map(str::to_owned);
        Some(Decoded::With { decoder: "avdec_h264".to_owned(), pictures, size: Some(size), error })
    }

    fn mode() -> Mode {
        Mode { width: 1920, height: 1080, framerate: Framerate::new(30, 1).unwrap() }
    }
}
