//! The measuring itself: what is known beforehand is what is measured.

use std::time::Duration;

use crate::clips;
use crate::run::Plan;

const S: Duration = Duration::from_secs(1);

#[test]
fn a_constant_rate_on_a_wide_link_is_measured_as_it_is() {
    let clip = clips::motion();
    let plan = Plan {
        link: "rate=8M,delay=25ms",
        latency: S / 2,
        duration: 10 * S,
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: Some(2000),
    };
    let outcome = plan.run();
    let score = &outcome.score;
    // The picture's 2 Mbit/s and some percent of packing; x264 needs a moment to come up to it.
    assert!((1800.0..2250.0).contains(&score.goodput_kbps), "{score:?}");
    // Of what the encoder may use at most, since the link carries more.
    assert!((score.usable_kbps - 6240.0).abs() < 1.0, "{score:?}");
    assert!((score.util - score.goodput_kbps / 6240.0).abs() < 0.01, "{score:?}");
    // A packet takes 1.4 ms; the bursts of pictures make the rest.
    assert!(score.qd_p50 < 30.0, "{score:?}");
    assert!(score.frames > 200, "{score:?}");
    assert_eq!((score.damaged, score.broken, score.missing, score.qdrop), (0, 0, 0, 0), "{score:?}");
    assert_eq!(outcome.stream.reception.stream.continuity_errors(), 0);
    outcome.assert_nothing_lost_or_late();
}

/// A fifth more than the link carries: the queue fills, whole groups are left out, and the link is full.
#[test]
#[ignore = "make lab: 30 s"]
fn a_constant_rate_above_the_link_is_measured_as_overload() {
    let clip = clips::motion();
    let plan = Plan {
        link: "rate=2M,delay=25ms,queue=100000",
        latency: S,
        duration: 20 * S,
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: Some(2400),
    };
    let score = plan.run().score;
    assert!((1930.0..1940.0).contains(&score.usable_kbps), "{score:?}");
    assert!((0.85..=1.01).contains(&score.util), "{score:?}");
    // The window keeps most of the queue at home.
    assert!((50.0..200.0).contains(&score.qd_p95), "{score:?}");
}
