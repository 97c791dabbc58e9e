//! How much more an encoder gives than it was told.
//!
//! An encoder follows late, and gives less when the scene needs less. So what came out is compared only
//! over seconds in which it was told about the same, with whichever is higher: what it is told now, or
//! what it was told up to a lag before. Excess is learnt in one step, as soon as it is seen whole, and
//! forgotten at leisure: to believe too long that an encoder gives too much costs a little picture, to
//! forget it too soon costs delay.

use std::collections::VecDeque;
use std::time::Duration;

use crate::units::Bitrate;

/// The measured excess of an encoder.
#[derive(Clone, Debug)]
pub(super) struct Bias {
    /// Oldest first, [`SAMPLE_INTERVAL`] apart, over [`WINDOW`] and [`LAG`]: bounded.
    samples: VecDeque<Sample>,
    factor: f64,
    /// Since when what came out has been out of the correction's reach.
    out_of_reach: Option<Duration>,
    newest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    told: f64,
    encoded: f64,
}

impl Default for Bias {
    fn default() -> Self {
        Bias { samples: VecDeque::new(), factor: 1.0, out_of_reach: None, newest: Duration::ZERO }
    }
}

impl Bias {
    /// 1.0 to [`MOST`].
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    pub(super) fn is_out_of_reach(&self) -> bool {
        self.out_of_reach.is_some_and(|since| self.newest.saturating_sub(since) >= PROOF)
    }

    #[cfg(test)]
    pub(super) fn samples(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn observe(&mut self, now: Duration, told: Bitrate, encoded: Bitrate) {
        let step = match self.samples.back() {
            None => Duration::ZERO,
            Some(last) if now >= last.at && now - last.at < SAMPLE_INTERVAL => return,
            Some(last) if now >= last.at && now - last.at <= LONGEST_GAP => now - last.at,
            Some(_) => {
                self.samples.clear(); // the clock has stepped, or nobody looked: nothing is known between
                self.out_of_reach = None;
                Duration::ZERO
            }
        };
        self.newest = now;
        let sample = Sample { at: now, told: told.as_bps() as f64, encoded: encoded.as_bps() as f64 };
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|second| now - second.at >= WINDOW + LAG) {
            self.samples.pop_front();
        }
        let Some(excess) = self.excess(now) else { return };
        if excess <= MOST {
            self.out_of_reach = None;
        } else if self.out_of_reach.is_none() {
            self.out_of_reach = Some(now);
        }
        self.learn(now, excess, step);
    }

    /// What came out over the window, as a multiple of what was told; `None` while that says nothing.
    fn excess(&self, now: Duration) -> Option<f64> {
        let first = self.samples.front()?;
        if now - first.at < WINDOW + LAG || !self.is_steady() {
            return None;
        }
        let encoded = self.mean(now - WINDOW, now, |sample| sample.encoded);
        let told = [Duration::ZERO, LAG / 2, LAG]
            .map(|lag| self.mean(now - WINDOW - lag, now - lag, |sample| sample.told))
            .into_iter()
            .fold(0.0, f64::max);
        (told > 0.0).then(|| encoded / told)
    }

    /// Whether what comes out has stopped rising: an excess that has just begun is not the whole of it.
    fn has_settled(&self, now: Duration, excess: f64) -> bool {
        let before = self.mean(now - WINDOW, now - WINDOW / 2, |sample| sample.encoded);
        let after = self.mean(now - WINDOW / 2, now, |sample| sample.encoded);
        let beyond_told = (before + after) / 2.0 * (1.0 - 1.0 / excess);
        after - before <= UNSETTLED * beyond_told
    }

    fn mean(&self, from: Duration, to: Duration, value: fn(&Sample) -> f64) -> f64 {
        let within = self.samples.iter().filter(|sample| sample.at >= from && sample.at <= to);
        let (sum, count) = within.fold((0.0, 0.0), |(sum, count), sample| (sum + value(sample), count + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    }

    fn is_steady(&self) -> bool {
        let told = || self.samples.iter().map(|sample| sample.told);
        told().fold(0.0, f64::max) <= STEADY * told().fold(f64::INFINITY, f64::min)
    }

    fn learn(&mut self, now: Duration, excess: f64, step: Duration) {
        if excess < PROVES_NOTHING {
            return;
        }
        let goal = if excess <= NOISE {
            1.0
        } else if excess < CERTAIN {
            1.0 + (CERTAIN - 1.0) * (excess - NOISE) / (CERTAIN - NOISE)
        } else {
            excess.min(MOST)
        };
        if goal <= self.factor {
            let share = step.as_secs_f64() / FORGETTING.as_secs_f64();
            self.factor += (goal - self.factor) * share;
        } else if self.has_settled(now, excess) {
            self.factor = goal;
            self.samples.clear(); // what comes out before the correction shows is no excess beyond it
        }
    }
}

/// Over what time output and target are compared: a group of pictures as it is by default, so that each
/// window holds a key frame.
const WINDOW: Duration = Duration::from_secs(2);

/// The slowest encoder known follows a change after a second, and what came out is measured over the last
/// second: after both, what is measured goes by what was told then.
const LAG: Duration = Duration::from_secs(2);

/// The means change little in that time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// With less than two samples a second, nothing is known of the time between.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// Largest ratio of what was told within the samples: a law that swings by ±20 % stays below it, one that
/// has cut does not.
const STEADY: f64 = 1.6;

/// Where the later half of the window exceeds the earlier by more than this share of the excess, the excess
/// is still growing into the window.
const UNSETTLED: f64 = 0.25;

/// x264 stays within 3 % of its target over two seconds (measured); more may be excess, ...
const NOISE: f64 = 1.03;

/// ... and from here on it is taken for what it is. In between the correction grows from none to all of
/// it, so that noise at the edge does not switch it on and off.
const CERTAIN: f64 = 1.10;

/// A scene that uses less than this share of its rate says nothing about one that needs all of it.
const PROVES_NOTHING: f64 = 0.8;

/// No rate control that works at all gives more; an encoder beyond it is broken or does not listen.
const MOST: f64 = 1.6;

/// Excess out of reach for so long is no accident of a scene.
const PROOF: Duration = Duration::from_secs(3);

/// Time constant of forgetting: several windows, so that one of them does not undo what was learnt.
const FORGETTING: Duration = Duration::from_secs(5);
