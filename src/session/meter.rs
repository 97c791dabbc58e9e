//! Rates measured from counters that only rise.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::units::{Bitrate, ByteCount};

/// The rate of a counter over the last second or so.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Oldest first; spans at most [`WINDOW`] plus one sample. Bounded by [`MOST_SAMPLES`].
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// The counter stands at `total` now. A total below the last one (the counter began again) starts the
    /// measurement anew.
    pub fn observe(&mut self, now: Instant, total: u64) {
        if self.samples.back().is_some_and(|&(at, last)| total < last || now < at) {
            self.samples.clear();
        }
        self.samples.push_back((now, total));
        while self.samples.len() > MOST_SAMPLES
            || self.samples.get(1).is_some_and(|&(at, _)| now.duration_since(at) >= WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Counts per second over the window; zero before there are two samples.
    pub fn per_second(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some(&(from, first)), Some(&(to, last))) if to > from => {
                (last - first) as f64 / (to - from).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// The counter's rate where it counts bytes.
    pub fn bitrate(&self) -> Bitrate {
        match (self.samples.front(), self.samples.back()) {
            (Some(&(from, first)), Some(&(to, last))) => ByteCount::new(last - first) / (to - from),
            _ => Bitrate::ZERO,
        }
    }
}

/// Long enough to smooth key frames and groups of acknowledgements, short enough to follow by eye.
const WINDOW: Duration = Duration::from_secs(1);

/// More than one a 20 ms in the window; who observes more often than that loses the oldest.
const MOST_SAMPLES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_change_within_its_window() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        let mut total = 0;
        for tick in 0..40u64 {
            meter.observe(start + Duration::from_millis(100 * tick), total);
            total += if tick < 20 { 12_500 } else { 25_000 };
            if tick == 19 {
                assert_eq!(meter.bitrate(), Bitrate::from_kbps(1000));
            }
        }
        assert_eq!(meter.bitrate(), Bitrate::from_kbps(2000));
        assert_eq!(meter.per_second(), 250_000.0);
    }

    #[test]
    fn a_counter_that_begins_again_is_not_a_negative_rate() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        meter.observe(start, 1_000_000);
        meter.observe(start + Duration::from_millis(500), 10);
        assert_eq!(meter.bitrate(), Bitrate::ZERO);
        meter.observe(start + Duration::from_millis(1000), 1010);
        assert_eq!(meter.bitrate(), Bitrate::from_bps(16_000));
    }

    #[test]
    fn memory_is_bounded() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        (0..10_000).for_each(|n| meter.observe(start, n));
        assert!(meter.samples.len() <= MOST_SAMPLES + 1);
    }
}
