//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from one failure to the next, up to a bound, spread by jitter so that many
/// boxes that lost the same server do not come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

/// The first wait and the longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    pub const fn new(policy: Policy) -> Self {
        Backoff { policy, failures: 0 }
    }

    /// The wait after one more failure. `jitter` is uniform in 0..1 and moves it by up to ±20 %.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let doublings = self.failures.min(LARGEST_EXPONENT);
        self.failures = self.failures.saturating_add(1);
        let wait = self.policy.first.saturating_mul(1 << doublings).min(self.policy.longest);
        wait.mul_f64(1.0 + JITTER * (2.0 * jitter.clamp(0.0, 1.0) - 1.0))
    }

    /// It went well: the next failure waits for the first wait again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Share of the wait by which it is spread to either side.
const JITTER: f64 = 0.2;

/// 2¹⁶ × the first wait is beyond any longest wait in use; keeps the shift in range.
const LARGEST_EXPONENT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

    #[test]
    fn doubles_up_to_the_bound_and_starts_again_after_success() {
        let mut backoff = Backoff::new(POLICY);
        let waits: Vec<_> = (0..8).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), POLICY.first);
    }

    #[test]
    fn jitter_spreads_by_a_fifth_to_either_side() {
        assert_eq!(Backoff::new(POLICY).next(0.0), Duration::from_millis(400));
        assert_eq!(Backoff::new(POLICY).next(1.0), Duration::from_millis(600));
        assert_eq!(Backoff::new(POLICY).next(f64::INFINITY), Duration::from_millis(600));
    }

    #[test]
    fn survives_any_number_of_failures() {
        let mut backoff = Backoff { policy: POLICY, failures: u32::MAX };
        assert_eq!(backoff.next(0.5), POLICY.longest);
    }
}
