//! Wrong tokens: who has sent some is made to wait, and nobody is locked out.
//!
//! Whoever guesses often waits before each further token is looked at, the right one too: otherwise a
//! quick answer would tell it. Only so many wait at a time, and the rest are to come again. An owner behind
//! the same address gets in all the same, just slower, and with a session not even that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::networks::network;

/// The networks that wrong tokens came from.
#[derive(Debug, Default)]
pub struct Attempts {
    /// At most [`MOST_NETWORKS`]: the one that has been quiet for longest is forgotten.
    networks: HashMap<IpAddr, Record>,
}

#[derive(Debug)]
struct Record {
    wrong: u32,
    /// Up to here, what is forgiven is taken off `wrong`.
    counted: Instant,
    waiting: u32,
}

/// What is to happen before a token is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Then; [`Attempts::done_waiting`] is to be called, whatever comes between.
    After(Duration),
    /// Too many wait already: refuse without a look, and say to come again after this time.
    Later(Duration),
}

impl Attempts {
    /// Somebody shows a token.
    pub fn turn(&mut self, peer: IpAddr, now: Instant) -> Turn {
        let Some(record) = self.networks.get_mut(&network(peer)) else { return Turn::Now };
        record.forgive(now);
        if record.wrong < FREE {
            Turn::Now
        } else if record.waiting >= MOST_WAITING {
            Turn::Later(WAIT)
        } else {
            record.waiting += 1;
            Turn::After(WAIT)
        }
    }

    /// The time of [`Turn::After`] is over, or who waited has gone.
    pub fn done_waiting(&mut self, peer: IpAddr) {
        if let Some(record) = self.networks.get_mut(&network(peer)) {
            record.waiting = record.waiting.saturating_sub(1);
        }
    }

    /// It was a wrong one. Gives how many there have been from that network lately.
    pub fn wrong(&mut self, peer: IpAddr, now: Instant) -> u32 {
        let network = network(peer);
        if self.networks.len() >= MOST_NETWORKS && !self.networks.contains_key(&network) {
            self.forget_one(now);
        }
        let record = self.networks.entry(network).or_insert(Record { wrong: 0, counted: now, waiting: 0 });
        record.forgive(now);
        record.wrong = (record.wrong + 1).min(MOST_COUNTED);
        record.wrong
    }

    fn forget_one(&mut self, now: Instant) {
        let least = self
            .networks
            .iter_mut()
            .map(|(network, record)| {
                record.forgive(now);
                (record.waiting, record.wrong, record.counted, *network)
            })
            .min();
        if let Some((.., network)) = least {
            self.networks.remove(&network);
        }
    }
}

impl Record {
    fn forgive(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted);
        let forgiven = u32::try_from(elapsed.as_secs() / FORGIVEN_AFTER.as_secs()).unwrap_or(u32::MAX);
        if forgiven >= self.wrong {
            (self.wrong, self.counted) = (0, now);
        } else {
            self.wrong -= forgiven;
            self.counted += FORGIVEN_AFTER * forgiven;
        }
    }
}

/// Wrong tokens before anybody waits: an owner who mistypes, a script with an old one.
const FREE: u32 = 10;

/// One wrong token is forgotten after it.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);

/// However many came, the network is as good as new after ten minutes.
const MOST_COUNTED: u32 = 100;

/// A person hardly minds it; a guesser gets [`MOST_WAITING`] tokens a second.
const WAIT: Duration = Duration::from_secs(1);

/// Of one network at a time.
const MOST_WAITING: u32 = 4;

/// Some 100 KiB.
const MOST_NETWORKS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));
    const OWNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for count in 1..=FREE {
            assert_eq!(attempts.turn(GUESSER, now), Turn::Now);
            assert_eq!(attempts.wrong(GUESSER, now), count);
        }
        for _ in 0..MOST_WAITING {
            assert_eq!(attempts.turn(GUESSER, now), Turn::After(WAIT));
        }
        assert_eq!(attempts.turn(GUESSER, now), Turn::Later(WAIT));
        assert_eq!(attempts.turn(OWNER, now), Turn::Now);
        attempts.done_waiting(GUESSER);
        assert_eq!(attempts.turn(GUESSER, now), Turn::After(WAIT), "nobody is locked out");
    }

    #[test]
    fn it_is_forgotten() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..10_000 {
            attempts.wrong(GUESSER, now);
        }
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(matches!(attempts.turn(GUESSER, after(500)), Turn::After(_)));
        assert_eq!(attempts.turn(GUESSER, after(600)), Turn::Now);
    }

    #[test]
    fn a_thousand_networks_are_remembered_and_no_more() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..50 {
            attempts.wrong(GUESSER, now);
        }
        for number in 0..5000u32 {
            attempts.wrong(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(attempts.networks.len(), MOST_NETWORKS);
        assert!(matches!(attempts.turn(GUESSER, now), Turn::After(_)), "the worst is not forgotten first");
    }
}
