//! Somebody else on the link: how one is noticed who keeps the queue full whatever we do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What draining has given away so far.
///
/// While we send less than what arrives, a queue of our own making shrinks by just that room: after
/// having left as much of it as the queue is long, the queue is gone. Where it stands all the same,
/// somebody else has taken the room, and will take all that we leave (Copa tells its competitive mode
/// by the same sign, a queue that is never nearly empty: Arun and Balakrishnan, 2018). A link that
/// fades is no such case: there the queue becomes longer, and what would have to be left with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Yielded {
    /// Seconds of the link's time.
    room: f64,
    /// The longest queue meanwhile, seconds.
    longest: f64,
}

impl Yielded {
    /// For `dt` seconds this share of what arrived was sent, with that queue.
    pub fn add(&mut self, share: f64, dt: f64, queue: Duration) {
        // Who sends more than what arrives takes the room back.
        self.room = (self.room + (1.0 - share) * dt).max(0.0);
        self.longest = self.longest.max(queue.as_secs_f64());
    }

    /// Whether more was left than `times` the queue, which stands all the same: it was not shorter than
    /// `shortest` of late.
    pub fn is_in_vain(&self, times: f64, shortest: Duration) -> bool {
        self.room > times * self.longest && shortest.as_secs_f64() > STANDS * self.longest
    }
}

/// Life beside somebody who fills the queue: additive increase, multiplicative decrease, as TCP's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rivalry {
    /// The path's shortest round trip, from before.
    pub base: Duration,
    /// The shortest of late, with the queue that always stands.
    pub path: Duration,
    /// When the queue last overflowed, as far as our own packets tell, or the rivalry began.
    pub overflowed: Duration,
    /// Packets reported lost until then.
    lost: u64,
}

impl Rivalry {
    pub fn new(now: Duration, base: Duration, path: Duration, lost: u64) -> Self {
        Rivalry { base, path, overflowed: now, lost }
    }

    /// Whether packets were lost by another overflow than the last: once in a round trip.
    pub fn has_overflowed(&mut self, now: Duration, round_trip: Duration, lost: u64) -> bool {
        let has_lost = lost > self.lost;
        self.lost = self.lost.max(lost);
        let is_another = has_lost && now.saturating_sub(self.overflowed) > round_trip;
        if is_another {
            self.overflowed = now;
        }
        is_another
    }
}

/// Of the longest queue: what is shorter has begun to go.
const STANDS: f64 = 0.5;
