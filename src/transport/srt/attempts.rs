//! How often a passphrase is derived for strangers.
//!
//! A derivation is slow on purpose, to make guessing expensive; who asks for one has to wait for his
//! turn, lest he spend our time in place of his own.

use std::net::IpAddr;
use std::time::Instant;

use crate::networks::network;

/// How many passphrases are derived: so many a second in all, and so many for one source.
#[derive(Debug)]
pub struct Attempts {
    all: Bucket,
    sources: Vec<(IpAddr, Bucket)>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Attempts {
    pub fn new(now: Instant) -> Self {
        Attempts { all: Bucket { tokens: ALL.burst, at: now }, sources: Vec::new() }
    }

    /// Whether one more may be made for this source.
    pub fn allow(&mut self, now: Instant, from: IpAddr) -> bool {
        let source = network(from);
        let place = match self.sources.iter().position(|(other, _)| *other == source) {
            Some(place) => place,
            None => {
                if self.sources.len() == SOURCES {
                    // Who was here longest ago has the most to spend again, and loses least.
                    let oldest = (0..SOURCES).min_by_key(|place| self.sources[*place].1.at);
                    self.sources.swap_remove(oldest.expect("there are sources"));
                }
                self.sources.push((source, Bucket { tokens: EACH.burst, at: now }));
                self.sources.len() - 1
            }
        };
        self.sources[place].1.take(now, EACH) && self.all.take(now, ALL)
    }
}

#[cfg(test)]
impl Attempts {
    pub fn sources(&self) -> usize {
        self.sources.len()
    }
}

/// Tokens a second, and at most.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    rate: f64,
    burst: f64,
}

impl Bucket {
    fn take(&mut self, now: Instant, allowance: Allowance) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * allowance.rate).min(allowance.burst);
        self.at = self.at.max(now);
        let is_allowed = self.tokens >= 1.0;
        if is_allowed {
            self.tokens -= 1.0;
        }
        is_allowed
    }
}

/// A derivation takes a millisecond: a fiftieth of a core at most. Eight callers may come at once.
const ALL: Allowance = Allowance { rate: 20.0, burst: 8.0 };
/// A receiver behind a bad link repeats its call four times a second; several may share an address.
const EACH: Allowance = Allowance { rate: 2.0, burst: 4.0 };
/// Sources whose attempts are counted apart.
const SOURCES: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn attempts_are_rationed_for_each_source_and_for_all() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        let allowed = |attempts: &mut Attempts, now: Instant, from: &str, tries: usize| {
            (0..tries).filter(|_| attempts.allow(now, from.parse().unwrap())).count()
        };
        assert_eq!(allowed(&mut attempts, start, "192.0.2.1", 100), 4);
        assert_eq!(allowed(&mut attempts, start, "192.0.2.2", 100), 4);
        assert_eq!(allowed(&mut attempts, start, "192.0.2.3", 100), 0, "eight at once in all");
        let later = start + 1000 * MS;
        assert_eq!(allowed(&mut attempts, later, "192.0.2.1", 100), 2);
        // One subscriber's addresses are one source.
        assert_eq!(allowed(&mut attempts, later, "2001:db8::1", 2), 2);
        assert_eq!(allowed(&mut attempts, later, "2001:db8::ffff:1", 100), 2);
        assert_eq!(allowed(&mut attempts, later, "2001:db8:0:1::1", 100), 2, "the last of eight");
        for number in 0..1000u32 {
            attempts.allow(later, IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(attempts.sources.len(), SOURCES);
    }
}
