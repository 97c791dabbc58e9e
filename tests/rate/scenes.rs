//! What the picture does to the rate: stillness proves nothing about the link, and a cut is a burst.

use std::time::Duration;

use crate::clips;
use crate::run::Plan;
use crate::score::percentile;

#[test]
#[ignore = "make lab: 90 s"]
fn motion_after_a_minute_of_stillness_does_not_flood_the_link() {
    let clip = clips::still_then_motion();
    let plan = Plan {
        link: "rate=3M,delay=25ms,seed=1",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(85),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let outcome = plan.run();
    let queued = |from, to| {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        outcome.stream.recording.queue_delays(from, to)
    };
    // The stillness must have been one, and the motion must have filled the link.
    let carried = |from: u64, to: u64| {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        8.0 * outcome.stream.recording.carried(from, to) as f64 / (to - from).as_secs_f64() / 3e6
    };
    assert!(carried(10, 58) < 0.3, "the still scene used {:.2} of the link", carried(10, 58));
    assert!(carried(72, 80) > 0.7, "the motion used {:.2} of the link", carried(72, 80));
    let longest = percentile(&queued(58, 85), 1.0);
    assert!(longest <= 300.0, "{longest} ms of queue");
    outcome.assert_nothing_lost_or_late();
}

#[test]
#[ignore = "make lab: 65 s"]
fn scene_cuts_on_a_full_link_make_nothing_late() {
    let clip = clips::cuts();
    let plan = Plan {
        link: "rate=3M,delay=25ms,seed=1",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(60),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let outcome = plan.run();
    assert!(outcome.score.util > 0.8, "the link was not full: {:?}", outcome.score);
    outcome.assert_nothing_lost_or_late();
}
