//! Whether an encoder still works.

use std::time::{Duration, Instant};

/// How long an encoder has given nothing although it was to give something.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    given: u64,
    withheld: u64,
    since: Instant,
}

impl Progress {
    pub fn new(now: Instant) -> Self {
        Progress { given: 0, withheld: 0, since: now }
    }

    /// Of the pictures so far, `given` came out of the encoder, and `withheld` were kept from it because
    /// fewer are wanted: while that is so its silence proves nothing. If it is broken, nothing is sent, the
    /// link has room again, and it is soon given all of them.
    pub fn observe(&mut self, now: Instant, given: u64, withheld: u64) {
        if given > self.given || withheld > self.withheld {
            *self = Progress { given, withheld, since: now };
        }
    }

    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether anything has come out yet.
    pub fn has_begun(&self) -> bool {
        self.given > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_time_without_pictures_that_were_due() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        assert_eq!(progress.silence(start + SECOND), SECOND);
        assert!(!progress.has_begun());
        progress.observe(start + 2 * SECOND, 5, 0);
        progress.observe(start + 5 * SECOND, 5, 0);
        assert_eq!(progress.silence(start + 5 * SECOND), 3 * SECOND);
        assert!(progress.has_begun());
    }

    #[test]
    fn while_pictures_are_withheld_it_may_be_silent_and_afterwards_not_for_longer_than_others() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        progress.observe(start, 100, 0);
        for second in 1..=60 {
            progress.observe(start + second * SECOND, 100, 30 * u64::from(second));
            assert_eq!(progress.silence(start + second * SECOND), Duration::ZERO);
        }
        progress.observe(start + 62 * SECOND, 100, 1800);
        assert_eq!(progress.silence(start + 64 * SECOND), 4 * SECOND);
    }
}
