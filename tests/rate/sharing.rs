//! Others on the same link: another uplinkd, and a TCP upload that fills the queue whatever we do.

use std::time::Duration;

use crate::bench::Bench;
use crate::clips;
use crate::harness::Daemon;
use crate::run::{Plan, end, one_at_a_time};

#[test]
#[ignore = "make lab: 130 s"]
fn two_streams_share_a_link() {
    let clip = clips::motion();
    let plan = Plan {
        link: "rate=6M,delay=25ms,seed=1",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(120),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let _one = one_at_a_time();
    let bench = Bench::start(&plan.spec(), plan.latency, 2);
    let ports = bench.ports();
    let mut first = Daemon::start(&plan.stream(ports[0]));
    // The second finds a link that the first has filled.
    bench.wait_until(Duration::from_secs(10));
    let mut second = Daemon::start(&plan.stream(ports[1]));
    bench.wait_until(plan.duration);
    end(&mut [&mut first, &mut second], plan.latency);
    let seen = bench.finish();
    let carried = |stream: usize| {
        let from = plan.duration - Duration::from_secs(60);
        seen.streams[stream].recording.carried(from, plan.duration) as f64
    };
    let share = carried(0) / (carried(0) + carried(1));
    let used = 8.0 * (carried(0) + carried(1)) / 60.0 / 6e6;
    eprintln!(
        "the first had {:.1} % of what both had, together {:.1} % of the link",
        100.0 * share,
        100.0 * used
    );
    assert!((0.4..=0.6).contains(&share), "the first had {share:.3} of what both had");
    assert!(used > 0.8, "both together used {used:.3} of the link");
}

#[test]
#[ignore = "make lab: 105 s"]
fn a_stream_beside_a_tcp_upload_keeps_a_quarter_and_is_in_time() {
    let clip = clips::motion();
    let plan = Plan {
        link: "rate=6M,delay=25ms,seed=1,cross=cubic@20s+80s",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(95),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let outcome = plan.run();
    let (from, to) = (Duration::from_secs(35), Duration::from_secs(90));
    let recording = &outcome.stream.recording;
    let share = 8.0 * recording.carried(from, to) as f64 / (to - from).as_secs_f64() / 6e6;
    eprintln!("{:.1} % of the link beside the upload", 100.0 * share);
    assert!(share >= 0.25, "{share:.3} of the link");
    // The upload was there: its queue is.
    assert!(recording.queue_delays(from, to).last().is_some_and(|longest| *longest > 200.0));
    outcome.assert_nothing_lost_or_late();
}
