//! How much may be in the network: the gate between an output's GOP queue and its mux.

use std::time::{Duration, Instant};

/// Bounds the time that packets spend unacknowledged.
///
/// What waits in the GOP queue can still be left out in whole groups; what waits in the network or
/// in SRT's send buffer can only be late. So pictures pass while the oldest unacknowledged packet
/// is young, and wait in front of the mux once it is not. The time that the network may take
/// ([`Gate::bound`]) and the time that the queue may take ([`longest_wait`]) together leave a part
/// of the latency for the way itself and for what is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    latency: Duration,
    /// The smallest round trip of this connection: the path with its queues empty. The smoothed one
    /// would not do: it contains the queue that we fill ourselves, and the gate would open the wider
    /// the longer that queue is.
    path: Option<Duration>,
    /// Packets that the receiver has reported lost, and when that last rose.
    losses: u64,
    lost_at: Option<Instant>,
}

/// What the link looked like at the last measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAge {
    pub at: Instant,
    /// Age of the oldest packet that the receiver has not acknowledged; zero when there is none.
    pub oldest_unacknowledged: Duration,
    /// Smoothed; zero before there is one.
    pub rtt: Duration,
    /// The smallest round trip of late.
    pub base_rtt: Duration,
    /// Packets that the receiver has reported lost since the connection began.
    pub losses: u64,
}

impl Gate {
    /// For a connection with this negotiated latency.
    pub const fn new(latency: Duration) -> Self {
        Gate { latency, path: None, losses: 0, lost_at: None }
    }

    /// Takes a measurement in, and tells whether more may be sent.
    pub fn admits(&mut self, link: &LinkAge) -> bool {
        if link.base_rtt > Duration::ZERO {
            self.path = Some(self.path.map_or(link.base_rtt, |path| path.min(link.base_rtt)));
        }
        if link.losses > self.losses {
            self.losses = link.losses;
            self.lost_at = Some(link.at);
        }
        // Acknowledgements are cumulative: behind a lost packet all wait for its repetition, however
        // empty the network is. So while losses are mended and the round trip shows no queue, the age
        // of the oldest packet is excused. (The round trip alone must not shut the gate: with nothing
        // under way nobody measures it.)
        let is_mending = self.lost_at.is_some_and(|at| link.at.saturating_duration_since(at) < MENDING);
        let queue = link.rtt.saturating_sub(self.path.unwrap_or_default());
        let patience = if is_mending && queue < BURST { self.largest() } else { self.bound() };
        link.oldest_unacknowledged < patience
    }

    /// A round trip, another for a packet that is sent again, and a tenth of a second for bursts; or
    /// a share of the latency, whichever is more: where the latency is long, more may be under way.
    fn bound(&self) -> Duration {
        let mending = self.path.unwrap_or_default() * 2 + BURST;
        mending.max(self.latency.mul_f64(LEAST_SHARE)).min(self.largest())
    }

    /// Never more than this, lest nothing be left of the latency.
    fn largest(&self) -> Duration {
        self.latency.mul_f64(LARGEST_SHARE).max(SHORTEST)
    }
}

/// How old a picture may get in the queue. Beyond it, waiting would leave too little of the latency
/// for the network. Encoders take tens of milliseconds of it, so it is not shorter than [`SHORTEST`]
/// even where the latency is: a picture that meets an open gate is better sent late than left out.
pub fn longest_wait(latency: Duration) -> Duration {
    latency.mul_f64(QUEUE_SHARE).max(SHORTEST)
}

/// A key frame's worth at a rate that fits the link, and an acknowledgement's delay.
const BURST: Duration = Duration::from_millis(100);

/// A loss is mended in a few round trips, or not at all.
const MENDING: Duration = Duration::from_millis(500);

const LEAST_SHARE: f64 = 0.25;
const LARGEST_SHARE: f64 = 0.6;
const QUEUE_SHARE: f64 = 0.4;

const SHORTEST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// A link whose queues are empty, as far as its round trip tells.
    fn link(oldest_ms: u64, base_rtt_ms: u64) -> LinkAge {
        let base_rtt = Duration::from_millis(base_rtt_ms);
        let oldest_unacknowledged = Duration::from_millis(oldest_ms);
        LinkAge { at: Instant::now(), oldest_unacknowledged, rtt: base_rtt, base_rtt, losses: 0 }
    }

    fn gate(latency_ms: u64) -> Gate {
        Gate::new(Duration::from_millis(latency_ms))
    }

    #[test]
    fn closes_once_packets_stay_out_for_a_quarter_of_the_latency() {
        let mut gate = gate(2000);
        assert!(gate.admits(&link(0, 50)));
        assert!(gate.admits(&link(490, 50)));
        assert!(!gate.admits(&link(500, 50)));
    }

    #[test]
    fn a_long_round_trip_does_not_close_it() {
        let mut gate = gate(2400);
        assert!(gate.admits(&link(1200, 600)));
        assert!(!gate.admits(&link(1300, 600)));
    }

    #[test]
    fn a_queue_that_stands_for_long_does_not_open_it_wider() {
        let mut gate = gate(1000);
        assert!(gate.admits(&link(40, 40)));
        // Fifteen seconds later the shortest round trip of late has the queue in it.
        assert!(!gate.admits(&link(300, 600)));
        assert!(!gate.admits(&link(260, 900)));
    }

    #[test]
    fn losses_that_are_mended_do_not_close_it_and_a_queue_does() {
        let mut gate = gate(1000);
        let mending = LinkAge { losses: 3, ..link(400, 50) };
        assert!(gate.admits(&mending));
        assert!(
            !gate.admits(&LinkAge { rtt: Duration::from_millis(350), ..mending }),
            "a full queue loses too"
        );
        assert!(!gate.admits(&LinkAge { oldest_unacknowledged: Duration::from_millis(600), ..mending }));
        let later = mending.at + MENDING;
        assert!(!gate.admits(&LinkAge { at: later, ..mending }), "no loss of late explains the age");
    }

    #[test]
    fn queue_and_network_together_fit_into_the_latency() {
        for latency_ms in [500, 1000, 2000, 8000] {
            let latency = Duration::from_millis(latency_ms);
            let mut gate = gate(latency_ms);
            gate.admits(&link(0, latency_ms / 10));
            assert!(gate.bound() + longest_wait(latency) < latency.mul_f64(0.9), "{latency:?}");
        }
    }
}
