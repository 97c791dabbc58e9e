//! Simulated and real: the same link gives the same figures, so that the simulation can be believed.

use std::time::{Duration, Instant};

use uplinkd::rate::{AAC_FRAMES, Bounds, Law, Settings};
use uplinkd::simulation::{EncoderModel, Scenario};
use uplinkd::units::Bitrate;

use crate::clips;
use crate::run::{MAX_KBPS, MIN_KBPS, Plan, START_KBPS};

/// Runs a link both ways: used within five percent of each other.
fn agree(link: &str, latency: Duration, seconds: u64) {
    let clip = clips::motion();
    let duration = Duration::from_secs(seconds);
    let plan = Plan { link, latency, duration, clip: &clip, sound_kbps: None, fixed_kbps: None };
    let simulated = scenario(&plan).run(Instant::now()).score;
    let real = plan.run().score;
    let difference = simulated.utilisation / real.util - 1.0;
    eprintln!(
        "{link}: used {:.3} in simulation and {:.3} in reality: {:+.1} %; queue p95 {} and {:.1} ms, \
         late {} and {:.3} %, frozen {} and {:.2} s",
        simulated.utilisation,
        real.util,
        100.0 * difference,
        simulated.queue_delay_ms.p95,
        real.qd_p95,
        simulated.late_percent,
        real.late_pct,
        simulated.freeze_s,
        real.freeze_s,
    );
    assert!(difference.abs() <= 0.05, "{simulated:?}\n{real:?}");
}

/// What the plan is for a simulation.
fn scenario(plan: &Plan<'_>) -> Scenario {
    let bounds = Bounds {
        min: Bitrate::from_kbps(MIN_KBPS),
        max: Bitrate::from_kbps(MAX_KBPS),
        start: Bitrate::from_kbps(START_KBPS),
    };
    Scenario {
        others: 0,
        apart: Duration::ZERO,
        link: plan.spec(),
        latency: plan.latency,
        duration: plan.duration,
        settings: Settings {
            bounds,
            adaptive: true,
            sound: Bitrate::ZERO,
            sound_frames: AAC_FRAMES,
            framerate: 30.0,
        },
        law: Law::default(),
        encoder: EncoderModel::default(),
    }
}

const LATENCY: Duration = Duration::from_secs(2);

#[test]
#[ignore = "make lab: 22 s, and a quiet machine"]
fn a_link_that_halves_for_a_while() {
    let link = "rate=3M,delay=25ms,at=8s:rate=1500k,at=14s:rate=3M,seed=1";
    agree(link, Duration::from_secs(1), 22);
}

#[test]
#[ignore = "make lab: 65 s"]
fn steps_down_and_up() {
    agree("rate=6500k,delay=25ms,at=20s:rate=1500k,at=40s:rate=6500k,seed=1", LATENCY, 60);
}

#[test]
#[ignore = "make lab: 50 s"]
fn scattered_losses() {
    agree("rate=4M,delay=40ms,loss=0.02,seed=1", LATENCY, 45);
}

#[test]
#[ignore = "make lab: 50 s"]
fn a_narrow_link_with_jitter() {
    agree("rate=1M,delay=30ms,jitter=15ms,seed=1", LATENCY, 45);
}
