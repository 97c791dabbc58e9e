//! Near and far: the link is used whatever its base RTT, at a latency that fits it.

use std::time::Duration;

use crate::clips;
use crate::run::Plan;

fn used_at(rtt_ms: u64) {
    let clip = clips::motion();
    let link = format!("rate=6M,delay={}us,seed=1", rtt_ms * 500);
    let latency = Duration::from_millis((4 * rtt_ms).max(500));
    let duration = Duration::from_secs(60) + latency;
    let plan = Plan { link: &link, latency, duration, clip: &clip, sound_kbps: None, fixed_kbps: None };
    let outcome = plan.run();
    assert!(outcome.score.util >= 0.90, "RTT {rtt_ms} ms: {:?}", outcome.score);
}

#[test]
#[ignore = "make lab: 70 s"]
fn a_base_rtt_of_5_ms() {
    used_at(5);
}

#[test]
#[ignore = "make lab: 70 s"]
fn a_base_rtt_of_80_ms() {
    used_at(80);
}

#[test]
#[ignore = "make lab: 70 s"]
fn a_base_rtt_of_300_ms() {
    used_at(300);
}

#[test]
#[ignore = "make lab: 75 s"]
fn a_base_rtt_of_600_ms() {
    used_at(600);
}
