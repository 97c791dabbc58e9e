//! When a TLS handshake may begin: whoever comes often waits, so that a flood of them cannot take the processor from
//! the encoder.
//!
//! A handshake is all that a stranger can have computed here: a signature, and the key of the connection. It costs a
//! Raspberry Pi some milliseconds with RSA, and a flood of a few hundred a second would cost it the stream. Each
//! network has an allowance of its own, so that one flood leaves the others' alone, and all together have one which is
//! what they can cost at most. Connections that are open, a page's or a scraper's, need none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::networks::network;

/// The handshakes of late.
#[derive(Debug, Default)]
pub struct Handshakes {
    all: Allowance,
    /// At most [`MOST_NETWORKS`]: those whose allowance is whole again are forgotten, and then who has the most of it.
    networks: HashMap<IpAddr, Allowance>,
}

/// Handshakes one after the other, some of them ahead of time.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// When those that were allowed so far would be over, had none come ahead of time.
    paid_until: Option<Instant>,
}

impl Handshakes {
    /// How long a visitor from there waits before his handshake, which counts from now on; `None`: too many wait
    /// before him, and he is to come again.
    pub fn turn(&mut self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let network = network(peer);
        let own = self.networks.get(&network).copied().unwrap_or_default();
        let wait = own.wait(&OF_NETWORK, now).max(self.all.wait(&OF_ALL, now));
        if wait > LONGEST_WAIT {
            return None;
        }
        if self.networks.len() >= MOST_NETWORKS && !self.networks.contains_key(&network) {
            self.forget(now);
        }
        self.networks.insert(network, own.after_one(&OF_NETWORK, now));
        self.all = self.all.after_one(&OF_ALL, now);
        Some(wait)
    }

    fn forget(&mut self, now: Instant) {
        self.networks.retain(|_, own| own.paid_until.is_some_and(|until| until > now));
        if self.networks.len() < MOST_NETWORKS {
            return;
        }
        let least = self.networks.iter().min_by_key(|(network, own)| (own.paid_until, **network));
        if let Some(least) = least.map(|(network, _)| *network) {
            self.networks.remove(&least);
        }
    }
}

impl Allowance {
    fn wait(self, rate: &Rate, now: Instant) -> Duration {
        let ahead = self.paid_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        (ahead + rate.interval).saturating_sub(rate.interval * rate.at_once)
    }

    fn after_one(self, rate: &Rate, now: Instant) -> Self {
        Allowance { paid_until: Some(self.paid_until.map_or(now, |until| until.max(now)) + rate.interval) }
    }
}

/// How many there may be.
#[derive(Debug)]
struct Rate {
    /// Between two that last.
    interval: Duration,
    /// That may come at once after a silence.
    at_once: u32,
}

/// Browsers open six connections each, a few of them at a time; a script that opens one for each of its questions still
/// has ten a second.
const OF_NETWORK: Rate = Rate { interval: Duration::from_millis(100), at_once: 30 };

/// A fifth of one of a Pi's processors, at the 6 ms that RSA with 2048 bits takes there; an elliptic curve takes less
/// than one.
const OF_ALL: Rate = Rate { interval: Duration::from_millis(30), at_once: 60 };

/// Who waits for longer has given up, or asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Some 50 KiB.
const MOST_NETWORKS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));
    const OWNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// How many of a thousand a second begin within so many seconds.
    fn begun(
        handshakes: &mut Handshakes,
        peers: impl Fn(u32) -> IpAddr,
        start: Instant,
        seconds: u32,
    ) -> usize {
        let end = start + Duration::from_secs(seconds.into());
        let turns = (0..seconds * 1000).filter_map(|number| {
            let now = start + Duration::from_millis(number.into());
            handshakes.turn(peers(number), now).map(|wait| now + wait)
        });
        turns.filter(|begins| *begins < end).count()
    }

    #[test]
    fn a_browser_does_not_wait() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for _ in 0..OF_NETWORK.at_once {
            assert_eq!(handshakes.turn(OWNER, now), Some(Duration::ZERO));
        }
        assert_eq!(handshakes.turn(OWNER, now), Some(OF_NETWORK.interval));
        assert_eq!(handshakes.turn(OWNER, now + Duration::from_secs(10)), Some(Duration::ZERO), "later on");
    }

    #[test]
    fn one_network_s_flood_is_held_back_and_another_s_visitor_does_not_notice() {
        let (mut handshakes, start) = (Handshakes::default(), Instant::now());
        let begun = begun(&mut handshakes, |_| FLOOD, start, 10);
        assert!((125..=130).contains(&begun), "{begun} in 10 s: 30 at once, and ten a second");
        let now = start + Duration::from_secs(10);
        let two = [(); 2].map(|()| handshakes.turn(FLOOD, now));
        assert!(two.contains(&None) && !two.contains(&Some(Duration::ZERO)), "{two:?}");
        assert_eq!(handshakes.turn(OWNER, now), Some(Duration::ZERO));
    }

    #[test]
    fn all_networks_together_cost_no_more_than_they_may() {
        let (mut handshakes, start) = (Handshakes::default(), Instant::now());
        let begun = begun(&mut handshakes, |number| IpAddr::from(number.to_be_bytes()), start, 10);
        assert!((385..=394).contains(&begun), "{begun} in 10 s: 60 at once, and 33 a second");
        assert!(handshakes.networks.len() <= MOST_NETWORKS);
    }

    #[test]
    fn a_thousand_networks_are_remembered_and_no_more() {
        let (mut handshakes, start) = (Handshakes::default(), Instant::now());
        let peer = |number: u32| IpAddr::from(number.to_be_bytes());
        begun(&mut handshakes, |number| peer(number / 3), start, 100);
        assert!(handshakes.networks.len() <= MOST_NETWORKS, "{}", handshakes.networks.len());
    }
}
