//! One time for all pipelines: CLOCK_MONOTONIC, which is also what [`Instant`] reads on Linux.
//!
//! Every pipeline runs on [`shared`]. The encode pipeline's base time is zero, so that its running
//! time *is* the clock's time; a capture pipeline's base time is the moment it began, and its frames
//! are stamped with base time + running time when they are handed over. A timestamp that leaves
//! this module's users is therefore always the clock's time, and [`to_instant`] translates it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gst::prelude::*;

/// The clock of every pipeline.
pub(super) fn shared() -> gst::Clock {
    // Its type is monotonic unless someone changes the property of this process-wide object.
    gst::SystemClock::obtain()
}

/// The time on [`shared`].
pub(super) fn now() -> gst::ClockTime {
    shared().time()
}

/// A time on [`shared`] as the rest of the program says it.
pub(super) fn to_instant(time: gst::ClockTime) -> Instant {
    let (instant, at) = *PAIR;
    if time >= at {
        instant + Duration::from(time - at)
    } else {
        instant.checked_sub(Duration::from(at - time)).unwrap_or(instant)
    }
}

/// The same moment on both scales; their difference never changes, so one pair serves for ever. Between two looks
/// at clocks a thread can be kept from running, which would be in every translation: of several pairs the closest.
static PAIR: LazyLock<(Instant, gst::ClockTime)> = LazyLock::new(|| {
    let pairs = std::array::from_fn::<_, LOOKS, _>(|_| {
        let (before, at, after) = (Instant::now(), now(), Instant::now());
        (after - before, (after, at)) // `after`: nothing seems to have happened before it did
    });
    let [first, others @ ..] = pairs;
    others.into_iter().fold(first, |closest, pair| if pair.0 < closest.0 { pair } else { closest }).1
});

/// One takes less than a microsecond: all of them are not interrupted.
const LOOKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scales_run_together() {
        gst::init().unwrap();
        let before = Instant::now();
        let between = to_instant(now());
        let after = Instant::now();
        let slack = Duration::from_millis(2);
        assert!(between + slack >= before && between <= after + slack);
        let later = to_instant(now() + gst::ClockTime::from_seconds(3));
        assert!(later > after + Duration::from_secs(2));
        assert!(to_instant(gst::ClockTime::ZERO) <= before, "the past is reachable");
    }
}
