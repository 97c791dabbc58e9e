//! How much may be in the network: the gate between an output's GOP queue and its mux.

use std::time::Duration;

/// Bounds the time that packets spend unacknowledged.
///
/// What waits in the GOP queue can still be left out in whole groups; what waits in the network or
/// in SRT's send buffer can only be late. So pictures pass while the oldest unacknowledged packet
/// is young, and wait in front of the mux once it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    latency: Duration,
}

/// What the link looked like at the last measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAge {
    /// Age of the oldest packet that the receiver has not acknowledged; zero when there is none.
    pub oldest_unacknowledged: Duration,
    pub rtt: Duration,
    pub rtt_variance: Duration,
}

impl Gate {
    /// For a connection with this negotiated latency.
    pub const fn new(latency: Duration) -> Self {
        Gate { latency }
    }

    /// Whether more may be sent.
    pub fn is_open(&self, link: &LinkAge) -> bool {
        link.oldest_unacknowledged < self.bound(link)
    }

    /// Half the latency leaves the other half for what waits to be retransmitted and to arrive; a
    /// link with a long round trip needs its round trip, and one more for a retransmission.
    fn bound(&self, link: &LinkAge) -> Duration {
        let round_trips = link.rtt * 2 + link.rtt_variance * 4 + ACKNOWLEDGEMENT_DELAY;
        (self.latency / 2).max(round_trips)
    }
}

/// libsrt acknowledges every 10 ms; our own measurement is up to 20 ms old.
const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn link(oldest_ms: u64, rtt_ms: u64) -> LinkAge {
        LinkAge {
            oldest_unacknowledged: Duration::from_millis(oldest_ms),
            rtt: Duration::from_millis(rtt_ms),
            rtt_variance: Duration::from_millis(rtt_ms / 10),
        }
    }

    #[test]
    fn closes_at_half_the_latency() {
        let gate = Gate::new(Duration::from_millis(2000));
        assert!(gate.is_open(&link(0, 50)));
        assert!(gate.is_open(&link(990, 50)));
        assert!(!gate.is_open(&link(1000, 50)));
    }

    #[test]
    fn a_long_round_trip_does_not_close_it() {
        let gate = Gate::new(Duration::from_millis(1200));
        assert!(gate.is_open(&link(1100, 600)));
        assert!(!gate.is_open(&link(1500, 600)));
    }
}
