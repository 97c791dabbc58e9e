//! Counts that never go back while the daemon runs, though what is counted ends and begins anew.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::status::{LeftOut, OutputStatus, Totals};
use crate::config::OutputName;
use crate::media::{Counters, DamagedFrames};
pub use crate::session::source::Losses;
use crate::units::ByteCount;

/// What a stream has counted since it was configured: over all its encoders, programs and outputs of a name, and
/// over panics of its task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub encoder: EncoderCounts,
    pub outputs: BTreeMap<OutputName, OutputCounts>,
    pub losses: Losses,
}

/// Of an encode pipeline, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncoderCounts {
    /// Coded pictures and their bytes.
    pub frames: u64,
    pub bytes: ByteCount,
    /// Pictures that were not coded: the encoder was not ready for them; they were stuck in one that was replaced;
    /// they came too soon after another; the link could not carry them.
    pub dropped: u64,
    pub lost: u64,
    pub crowded: u64,
    pub thinned: u64,
    /// Captured buffers of sound that were not coded.
    pub dropped_sounds: u64,
    /// Pictures that came damaged.
    pub damaged: DamagedFrames,
}

/// Of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCounts {
    pub totals: Totals,
    pub left_out: LeftOut,
    /// Callers that were turned away.
    pub refused_callers: u64,
}

/// Sums up what a stream's parts have counted. To be shown the parts as they are, again and again.
#[derive(Clone, Debug, Default)]
pub struct Lasting {
    encoder: Continued<EncoderCounts>,
    outputs: BTreeMap<OutputName, Continued<OutputCounts>>,
    losses: Continued<Losses>,
}

impl Lasting {
    /// Where no encoder is, or no output of a name, that has ended; what was counted stays. Of an output that is no
    /// longer configured nothing stays.
    pub fn observe(
        &mut self,
        encoder: Option<EncoderCounts>,
        outputs: impl Iterator<Item = (OutputName, OutputCounts)>,
        losses: Losses,
        is_configured: impl Fn(&OutputName) -> bool,
    ) {
        self.encoder.observe(encoder);
        self.losses.observe(Some(losses));
        let mut present: BTreeMap<_, _> = outputs.collect();
        self.outputs.retain(|name, _| present.contains_key(name) || is_configured(name));
        for (name, counts) in &mut self.outputs {
            counts.observe(present.remove(name));
        }
        for (name, counts) in present {
            self.outputs.entry(name).or_default().observe(Some(counts));
        }
    }

    pub fn sums(&self) -> Sums {
        Sums {
            encoder: self.encoder.sum(),
            outputs: self.outputs.iter().map(|(name, counts)| (name.clone(), counts.sum())).collect(),
            losses: self.losses.sum(),
        }
    }
}

/// Counts of one thing, and then of the next.
#[derive(Clone, Copy, Debug, Default)]
struct Continued<C> {
    earlier: C,
    latest: C,
}

trait Counts: Copy + Default + AddAssign {
    /// Whether these are of another thing than those before.
    fn began_anew(&self, before: &Self) -> bool;
}

impl<C: Counts> Continued<C> {
    fn observe(&mut self, now: Option<C>) {
        let now = now.unwrap_or_default();
        if now.began_anew(&self.latest) {
            self.earlier += self.latest;
        }
        self.latest = now;
    }

    fn sum(&self) -> C {
        let mut sum = self.earlier;
        sum += self.latest;
        sum
    }
}

impl Counts for EncoderCounts {
    fn began_anew(&self, before: &Self) -> bool {
        self.each().into_iter().zip(before.each()).any(|(now, before)| now < before)
    }
}

impl EncoderCounts {
    fn each(&self) -> [u64; 10] {
        let DamagedFrames { truncated, corrupt, undecoded } = self.damaged;
        let EncoderCounts { frames, bytes, dropped, lost, crowded, thinned, dropped_sounds, .. } = *self;
        [frames, bytes.get(), dropped, lost, crowded, thinned, dropped_sounds, truncated, corrupt, undecoded]
    }
}

impl Counts for OutputCounts {
    fn began_anew(&self, before: &Self) -> bool {
        let (now, before) = (&self.totals, &before.totals);
        now.connections < before.connections || now.sent_packets < before.sent_packets
    }
}

impl Counts for Losses {
    fn began_anew(&self, before: &Self) -> bool {
        self.total() < before.total()
    }
}

impl From<Counters> for EncoderCounts {
    fn from(counters: Counters) -> EncoderCounts {
        EncoderCounts {
            frames: counters.frames_out,
            bytes: counters.bytes_out,
            dropped: counters.frames_dropped,
            lost: counters.frames_lost,
            crowded: counters.frames_crowded,
            thinned: counters.frames_thinned,
            dropped_sounds: counters.sound_dropped,
            damaged: counters.frames_damaged,
        }
    }
}

impl OutputCounts {
    pub fn of(output: &OutputStatus) -> OutputCounts {
        let refused_callers = output.callers.map_or(0, |callers| callers.refused);
        OutputCounts { totals: output.totals, left_out: output.left_out, refused_callers }
    }
}

impl AddAssign for EncoderCounts {
    fn add_assign(&mut self, other: EncoderCounts) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.crowded += other.crowded;
        self.thinned += other.thinned;
        self.dropped_sounds += other.dropped_sounds;
        self.damaged.truncated += other.damaged.truncated;
        self.damaged.corrupt += other.damaged.corrupt;
        self.damaged.undecoded += other.damaged.undecoded;
    }
}

impl AddAssign for OutputCounts {
    fn add_assign(&mut self, other: OutputCounts) {
        self.totals += other.totals;
        self.left_out += other.left_out;
        self.refused_callers += other.refused_callers;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoder(frames: u64, thinned: u64) -> EncoderCounts {
        EncoderCounts { frames, thinned, ..EncoderCounts::default() }
    }

    fn output(connections: u64, sent_packets: u64) -> OutputCounts {
        let totals = Totals { connections, sent_packets, ..Totals::default() };
        OutputCounts { totals, ..OutputCounts::default() }
    }

    fn none() -> impl Iterator<Item = (OutputName, OutputCounts)> {
        std::iter::empty()
    }

    #[test]
    fn an_encoder_goes_on_where_the_one_before_ended() {
        let mut lasting = Lasting::default();
        for (seen, expected) in [(Some(7), 7), (Some(9), 9), (None, 9), (Some(1), 10), (Some(20), 29)] {
            let seen = seen.map(|frames| encoder(frames, 0));
            lasting.observe(seen, none(), Losses::default(), |_| true);
            assert_eq!(lasting.sums().encoder.frames, expected);
        }
    }

    #[test]
    fn outputs_are_summed_by_name_as_long_as_they_are_configured() {
        let (mut lasting, name) = (Lasting::default(), OutputName::new("studio").unwrap());
        let mut look = |counts: Option<OutputCounts>, is_configured: bool| {
            let outputs = counts.map(|counts| (name.clone(), counts)).into_iter();
            lasting.observe(None, outputs, Losses::default(), |_| is_configured);
            lasting.sums().outputs.get(&name).map(|sums| sums.totals.sent_packets)
        };
        assert_eq!(look(Some(output(1, 50)), true), Some(50));
        assert_eq!(look(None, true), Some(50), "between two");
        assert_eq!(look(Some(output(0, 0)), true), Some(50));
        assert_eq!(look(Some(output(1, 60)), true), Some(110));
        assert_eq!(look(Some(output(1, 70)), false), Some(120), "it leaves");
        assert_eq!(look(None, false), None);
    }

    proptest! {
        /// Whatever comes and goes.
        #[test]
        fn sums_never_go_back(steps in prop::collection::vec((0u8..4, 0u64..50, 0u64..9), 1..60)) {
            let mut lasting = Lasting::default();
            let mut present: Option<EncoderCounts> = None;
            let mut before = Sums::default();
            for (what, frames, thinned) in steps {
                match (what, &mut present) {
                    (0, present) => *present = None,
                    (1, present) => *present = Some(encoder(0, 0)),
                    (_, Some(counts)) => *counts += encoder(frames, thinned),
                    (_, None) => {}
                }
                lasting.observe(present, none(), Losses::default(), |_| true);
                let now = lasting.sums();
                prop_assert!(now.encoder.frames >= before.encoder.frames);
                prop_assert!(now.encoder.thinned >= before.encoder.thinned);
                before = now;
            }
        }
    }
}
