//! The constants of the law, each with its unit and reason.
//!
//! They were found by running the sixteen scenarios of a link lab (synthetic steps, losses and
//! outages; recorded LTE, 5G and Starlink uplinks) and are flat around their values: none needs its
//! last digit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a controller is tuned by. The default is what streams use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The queue that is aimed at, as a share of the latency, and its bounds. A queue is what makes
    /// a link's capacity visible; it must be small beside the latency, and large beside the jitter
    /// of acknowledgements (10 ms).
    pub queue_share: f64,
    pub shortest_queue: Duration,
    pub longest_queue: Duration,
    /// How much longer it may be for a stream that is slower: the power of the upper bound over the rate.
    pub sharing: f64,
    /// Growth with an empty queue, per second: at first, what it gains each second, and at most.
    /// Doubling in a second is what an encoder's buffer can follow.
    pub growth: f64,
    pub growth_gain: f64,
    pub growth_limit: f64,
    /// Share of the growth that does not depend on the rate: of two streams on one link the smaller
    /// grows faster, and they meet (Chiu and Jain, 1989).
    pub additive: f64,
    /// Growth per second near a capacity that was measured not long ago; how far above it is near,
    /// and for how long it is remembered.
    pub growth_near: f64,
    pub near: f64,
    pub memory: Duration,
    /// In how long an excess queue is to be worked off.
    pub drain: Duration,
    /// Least share of the measured capacity while draining; less only as the latency runs out.
    pub drain_floor: f64,
    /// Share of the measured capacity to return to.
    pub refill: f64,
    /// What got through over this long while draining is returned to at least.
    pub refill_window: Duration,
    /// What gets through is measured over this long while a queue stands.
    pub window: Duration,
    /// Nothing arrived for this long beyond a round trip is a stall: longer than any pause between
    /// acknowledgements (10 ms) that scheduling and radio grants make.
    pub stall: Duration,
    /// The rate halves in this time during a stall.
    pub halving: Duration,
    /// What the driver may send at, over the larger of target and capacity: key frames need it.
    pub pace: f64,
    /// The same over what was measured, while a queue is worked off or nothing is known: more can only
    /// be found out by sending more.
    pub search_pace: f64,
    /// In flight beyond the round trip: at least this long, and this many times the aimed-at queue.
    pub allowance: Duration,
    pub allowance_queues: f64,
    /// The same while a queue is worked off: enough to keep the link busy between two looks at it.
    pub drain_allowance: Duration,
    /// Of the latency: the backlog above which pictures are thinned. (Not to encode any above a larger
    /// one was tried: the picture froze half as long again.)
    pub thin: f64,
    /// Times what was shown to get through in the last second that may be tried.
    pub shown: f64,
    /// Times the queue: having left so much room for it to go, it is somebody else's.
    pub in_vain: f64,
    /// A queue of somebody else's that is shorter than this is not worth fighting.
    pub rival_queue: Duration,
    /// Beside somebody who fills the queue: growth, as a share of the upper bound per second; what is
    /// kept of the rate when it overflows; and times what gets through that may be tried.
    pub rival_growth: f64,
    pub rival_cut: f64,
    pub rival_shown: f64,
    /// Of the latency: how often a stall gets a key frame for the return to begin with.
    pub stall_key: f64,
}

impl Default for Law {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Law {
            queue_share: 0.025,
            shortest_queue: ms(20),
            longest_queue: ms(80),
            sharing: 0.5,
            growth: 0.9,
            growth_gain: 0.3,
            growth_limit: 1.0,
            additive: 0.3,
            growth_near: 0.6,
            near: 1.1,
            memory: ms(4_000),
            drain: ms(1_200),
            drain_floor: 0.6,
            refill: 0.9,
            refill_window: ms(500),
            window: ms(100),
            stall: ms(160),
            halving: ms(200),
            pace: 1.2,
            search_pace: 1.6,
            allowance: ms(60),
            allowance_queues: 1.2,
            drain_allowance: ms(60),
            thin: 0.15,
            shown: 3.0,
            in_vain: 1.0,
            rival_queue: ms(100),
            rival_growth: 0.05,
            rival_cut: 0.7,
            rival_shown: 1.5,
            stall_key: 0.4,
        }
    }
}

impl Law {
    /// The queue that is aimed at.
    pub fn queue(&self, latency: Duration) -> Duration {
        latency.mul_f64(self.queue_share).clamp(self.shortest_queue, self.longest_queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_follows_the_latency_within_its_bounds() {
        let law = Law::default();
        let queue = |ms| law.queue(Duration::from_millis(ms)).as_millis();
        assert_eq!((queue(100), queue(1_000), queue(8_000)), (20, 25, 80));
    }
}
