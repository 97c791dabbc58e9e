//! Encoders that are harder to lead than x264, over a link that falls and rises: the stream runs in the test's
//! own process, where fakes can stand in the real encoder's place.

use std::time::Duration;

use tokio::runtime::Runtime;
use uplinkd::supervisor::Supervisor;
use uplinkd::{config, media};

use crate::bench::Bench;
use crate::clips;
use crate::fake_encoders::{Quirks, pretend};
use crate::run::{Plan, RELEASE_MARGIN, one_at_a_time};

/// Most of the link is used, and nothing is late.
fn led(quirks: Quirks) {
    let _fake = pretend(quirks);
    media::init().expect("GStreamer starts");
    let clip = clips::motion();
    let plan = Plan {
        link: "rate=6500k,delay=25ms,at=20s:rate=2500k,at=40s:rate=6500k,seed=1",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(60),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let _one = one_at_a_time();
    let bench = Bench::start(&plan.spec(), plan.latency, 1);
    let config = config::parse(&plan.stream(bench.ports()[0])).expect("a configuration");
    let runtime = Runtime::new().expect("a runtime");
    let supervisor = runtime.block_on(async { Supervisor::start(config, uplinkd::machine::SYS.into()) });
    bench.wait_until(plan.duration);
    let statuses = supervisor.streams().statuses();
    runtime.block_on(supervisor.shut_down());
    std::thread::sleep(plan.latency + RELEASE_MARGIN);
    let stream = bench.finish().streams.remove(0);
    let score = stream.recording.score(&plan.terms()).unwrap_or_else(|| panic!("no stream: {statuses:#?}"));
    eprintln!("{quirks:?}: {score:?}");
    assert!(score.util >= 0.80, "{quirks:?}: {score:?}\n{statuses:#?}");
    assert_eq!((score.lost_pkts, score.late_pct), (0, 0.0), "{quirks:?}: {score:?}\n{statuses:#?}");
}

#[test]
#[ignore = "make lab: 65 s"]
fn an_encoder_that_answers_each_change_with_a_key_frame() {
    led(Quirks { key_frame_each_change: true, ..Quirks::NONE });
}

#[test]
#[ignore = "make lab: 65 s"]
fn an_encoder_that_takes_a_second_to_follow() {
    led(Quirks { follows_after: Duration::from_secs(1), ..Quirks::NONE });
}

#[test]
#[ignore = "make lab: 65 s"]
fn an_encoder_that_gives_a_third_more() {
    led(Quirks { excess: 1.3, ..Quirks::NONE });
}
