//! When samples of the encoded stream are decoded, and what comes of it.

use std::time::{Duration, Instant};

/// Samples of whichever encoder is in use.
///
/// ```text
///              its time has come             it is there              it decodes, or nobody can tell
///   Waiting ─────────────────────▶ Gathering ──────────▶ Decoding ────────────────────────▶ Waiting, longer
///                                    ▲  ▲                    │
///             another encoder: at once  └────────────────────┤ it does not
///                                         for the first time │ a second time in a row
///                                                            ▼
///   Off ◀── there is no decoder, or it decodes nobody's      told, Waiting
/// ```
/// A good encoder that is taken for a broken one costs more than a broken one that is found a little later:
/// one sample proves nothing, the next one, which is begun with a key frame at once, has to agree; what a decoder
/// does to itself (it crashes, hangs, is missing) is none of the encoder's; and a decoder that has not decoded
/// anything yet is believed of one encoder, not of a second.
#[derive(Clone, Debug)]
pub struct Sampling {
    stage: Stage,
    /// When the encoder in use began, which tells it from others.
    encoder: Option<Instant>,
    /// From one sample to the next.
    wait: Duration,
    /// The last sample did not decode.
    is_suspect: bool,
    trust: Trust,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Off,
    Waiting {
        until: Instant,
    },
    Gathering {
        /// What has come by then has to do.
        limit: Instant,
    },
    Decoding,
}

/// In the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Untried,
    /// It has decoded nothing yet, and one encoder was given up for that.
    Doubtful,
    Proven,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Nothing,
    /// The next group of pictures is to be sampled; of a key frame at once, where that is said.
    Sample {
        at_once: bool,
    },
    /// See whether the sample is there, if need be a short one, and tell by [`Sampling::taken`] if so.
    Take {
        short: bool,
    },
}

/// What became of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Decoded,
    /// The decoder looked at all of it and could not make pictures of it; in words.
    NotDecoded(String),
    /// The decoder came to no end; in words.
    Unknown(String),
    NoDecoder,
}

/// What that says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Nothing,
    /// It may be broken: the next sample shows.
    Suspect(String),
    Broken(String),
    /// Nothing is known of the encoder; said once for each encoder.
    NotLookedAt(String),
    /// No more samples are taken; in words, why.
    Off(String),
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            stage: Stage::Decoding, // of no encoder: what comes of it would not count
            encoder: None,
            wait: FIRST_WAIT,
            is_suspect: false,
            trust: Trust::Untried,
            has_failed: false,
        }
    }
}

impl Sampling {
    /// To be called every 50 ms while the encoder that began at `encoder` is in use. The first sample of an
    /// encoder is taken by itself.
    pub fn observe(&mut self, now: Instant, encoder: Instant) -> Want {
        if self.stage == Stage::Off {
            return Want::Nothing;
        }
        if self.encoder != Some(encoder) {
            self.encoder = Some(encoder);
            (self.wait, self.is_suspect, self.has_failed) = (FIRST_WAIT, false, false);
            self.stage = Stage::Gathering { limit: now + LONGEST_GATHERING };
        }
        match self.stage {
            Stage::Waiting { until } if now >= until => self.gather(now, false),
            Stage::Gathering { limit } => Want::Take { short: now >= limit },
            Stage::Off | Stage::Waiting { .. } | Stage::Decoding => Want::Nothing,
        }
    }

    /// The sample is there, and is being decoded.
    pub fn taken(&mut self) {
        self.stage = Stage::Decoding;
    }

    /// What became of the sample of the encoder that began at `encoder`. Where this says that it is suspect,
    /// what is returned with it is to be done, as if it came from [`Sampling::observe`].
    pub fn decoded(&mut self, now: Instant, encoder: Instant, outcome: Outcome) -> (Finding, Want) {
        let is_current = self.stage == Stage::Decoding && self.encoder == Some(encoder);
        if !is_current {
            if outcome == Outcome::Decoded {
                self.trust = Trust::Proven;
            }
            return (Finding::Nothing, Want::Nothing);
        }
        let finding = match outcome {
            Outcome::Decoded => {
                self.trust = Trust::Proven;
                self.is_suspect = false;
                Finding::Nothing
            }
            Outcome::NotDecoded(reason) if !self.is_suspect => {
                self.is_suspect = true;
                return (Finding::Suspect(reason), self.gather(now, true));
            }
            Outcome::NotDecoded(reason) => {
                self.is_suspect = false;
                match self.trust {
                    Trust::Untried => {
                        self.trust = Trust::Doubtful;
                        Finding::Broken(reason)
                    }
                    Trust::Doubtful => {
                        return self.off(format!("it decodes no encoder's pictures: {reason}"));
                    }
                    Trust::Proven => Finding::Broken(reason),
                }
            }
            Outcome::Unknown(reason) if !self.has_failed => {
                self.has_failed = true;
                Finding::NotLookedAt(reason)
            }
            Outcome::Unknown(_) => Finding::Nothing,
            Outcome::NoDecoder => return self.off("this machine has none".to_owned()),
        };
        self.stage = Stage::Waiting { until: now + self.wait };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        (finding, Want::Nothing)
    }

    fn gather(&mut self, now: Instant, at_once: bool) -> Want {
        self.stage = Stage::Gathering { limit: now + LONGEST_GATHERING };
        Want::Sample { at_once }
    }

    fn off(&mut self, reason: String) -> (Finding, Want) {
        self.stage = Stage::Off;
        (Finding::Off(reason), Want::Nothing)
    }
}

/// What is wrong from the beginning has shown by then, and what goes wrong early does so soon.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// A sample of 1080p costs half a second of one slow core: of a Raspberry Pi's four that is less than one in a
/// hundred.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The usual distance of key frames, and room; where pictures are withheld, a sample is not complete by then.
const LONGEST_GATHERING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_encoder_is_sampled_soon_and_then_more_seldom() {
        let mut bench = Bench::new();
        let mut waits = Vec::new();
        for _ in 0..5 {
            let before = bench.now;
            bench.runs_to_sample();
            waits.push((bench.now - before).as_secs_f64().round() as u64);
            assert_eq!(bench.outcome(Outcome::Decoded), (Finding::Nothing, Want::Nothing));
        }
        assert_eq!(waits, [0, 5, 10, 20, 20]);
    }

    #[test]
    fn broken_is_what_two_samples_in_a_row_say() {
        let mut bench = Bench::new();
        bench.runs_to_sample();
        let suspect = (Finding::Suspect("no frame".into()), Want::Sample { at_once: true });
        assert_eq!(bench.outcome(not_decoded()), suspect);
        bench.runs_to_sample();
        assert_eq!(bench.outcome(Outcome::Decoded).0, Finding::Nothing);
        bench.runs_to_sample();
        assert_eq!(bench.outcome(not_decoded()), suspect, "what was before is forgiven");
        bench.runs_to_sample();
        assert_eq!(
            bench.outcome(Outcome::Unknown("it hangs".into())).0,
            Finding::NotLookedAt("it hangs".into())
        );
        bench.runs_to_sample();
        assert_eq!(bench.outcome(not_decoded()).0, Finding::Broken("no frame".into()));
    }

    #[test]
    fn what_a_decoder_does_to_itself_is_none_of_the_encoders_and_told_once() {
        let mut bench = Bench::new();
        let findings: Vec<Finding> = (0..4)
            .map(|_| {
                bench.runs_to_sample();
                bench.outcome(Outcome::Unknown("it crashed".into())).0
            })
            .collect();
        assert_eq!(findings[0], Finding::NotLookedAt("it crashed".into()));
        assert_eq!(findings[1..], [Finding::Nothing, Finding::Nothing, Finding::Nothing]);
    }

    #[test]
    fn without_a_decoder_that_is_said_once() {
        let mut bench = Bench::new();
        bench.runs_to_sample();
        assert_eq!(bench.outcome(Outcome::NoDecoder).0, Finding::Off("this machine has none".into()));
        bench.replaced();
        for _ in 0..10_000 {
            assert_eq!(bench.look(), Want::Nothing);
        }
    }

    #[test]
    fn one_that_decodes_nobodys_pictures_is_itself_what_is_broken() {
        let mut bench = Bench::new();
        let broken = |bench: &mut Bench| {
            bench.runs_to_sample();
            bench.outcome(not_decoded());
            bench.runs_to_sample();
            bench.outcome(not_decoded()).0
        };
        assert_eq!(broken(&mut bench), Finding::Broken("no frame".into()));
        bench.replaced();
        assert_eq!(broken(&mut bench), Finding::Off("it decodes no encoder's pictures: no frame".into()));

        let mut bench = Bench::new();
        assert_eq!(broken(&mut bench), Finding::Broken("no frame".into()));
        bench.replaced();
        bench.runs_to_sample();
        bench.outcome(Outcome::Decoded);
        bench.replaced();
        assert_eq!(broken(&mut bench), Finding::Broken("no frame".into()), "it has shown that it can");
    }

    #[test]
    fn another_encoder_begins_anew_and_is_not_taken_for_the_one_before() {
        let mut bench = Bench::new();
        bench.runs_to_sample();
        bench.outcome(not_decoded());
        bench.runs_to_sample();
        let before = bench.encoder;
        bench.replaced();
        assert_eq!(bench.look(), Want::Take { short: false });
        let late = bench.sampling.decoded(bench.now, before, not_decoded());
        assert_eq!(late, (Finding::Nothing, Want::Nothing));
        bench.runs_to_sample();
        assert!(matches!(bench.outcome(not_decoded()).0, Finding::Suspect(_)), "one sample of its own");
    }

    #[test]
    fn where_few_pictures_come_a_short_sample_does() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(), Want::Take { short: false });
        let begin = bench.now;
        while bench.look() == (Want::Take { short: false }) {}
        assert_eq!(bench.now - begin, LONGEST_GATHERING);
        assert_eq!(bench.look(), Want::Take { short: true }, "until there is one");
    }

    struct Bench {
        sampling: Sampling,
        now: Instant,
        encoder: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let now = Instant::now();
            Bench { sampling: Sampling::default(), now, encoder: now }
        }

        fn look(&mut self) -> Want {
            self.now += Duration::from_millis(50);
            self.sampling.observe(self.now, self.encoder)
        }

        /// Until a sample is asked for, which is there at once.
        fn runs_to_sample(&mut self) {
            for _ in 0..1_000 {
                match self.look() {
                    Want::Nothing | Want::Sample { .. } => {}
                    Want::Take { .. } => return self.sampling.taken(),
                }
            }
            panic!("no sample in 50 s");
        }

        fn outcome(&mut self, outcome: Outcome) -> (Finding, Want) {
            self.sampling.decoded(self.now, self.encoder, outcome)
        }

        fn replaced(&mut self) {
            self.now += Duration::from_millis(1);
            self.encoder = self.now;
        }
    }

    fn not_decoded() -> Outcome {
        Outcome::NotDecoded("no frame".to_owned())
    }
}
