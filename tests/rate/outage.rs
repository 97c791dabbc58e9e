//! Fifteen seconds without a network: noticed at once, and over at once.

use std::time::Duration;

use crate::bench::Bench;
use crate::clips;
use crate::frames::frames;
use crate::harness::Daemon;
use crate::run::{Plan, end, one_at_a_time, time_until};

#[test]
#[ignore = "make lab: 50 s"]
fn silence_is_noticed_and_the_return_begins_with_a_key_frame() {
    let clip = clips::motion();
    let (cut, back) = (Duration::from_secs(15), Duration::from_secs(30));
    let plan = Plan {
        link: "rate=6M,delay=25ms,outage=15s+15s,seed=1",
        latency: Duration::from_secs(2),
        duration: Duration::from_secs(40),
        clip: &clip,
        sound_kbps: None,
        fixed_kbps: None,
    };
    let _one = one_at_a_time();
    let bench = Bench::start(&plan.spec(), plan.latency, 1);
    let mut daemon = Daemon::start(&plan.stream(bench.ports()[0]));
    bench.wait_until(cut);
    // What was on its way to the bottleneck still is acknowledged: the silence begins half an RTT later,
    // and is long enough to be one an RTT and 300 ms after that.
    let seen = || {
        let status = daemon.status();
        let rule = status["rate"]["rule"].as_str().unwrap_or_default();
        status["state"] == "degraded" || rule == "stall"
    };
    let noticed = time_until(Duration::from_secs(3), seen);
    eprintln!("the outage was noticed after {noticed:?}");
    let bound = Duration::from_millis(300 + 50 + 25) + LOOKING;
    assert!(
        noticed.is_some_and(|noticed| noticed <= bound),
        "{noticed:?}, not within {bound:?}\n{}",
        daemon.log()
    );

    bench.wait_until(plan.duration);
    end(&mut [&mut daemon], plan.latency);
    let seen = bench.finish();
    let recording = &seen.streams[0].recording;
    // The first picture that was released after the link's return.
    let returned = seen.began + back;
    let pictures = frames(&recording.messages, &recording.late_ms());
    let index =
        pictures.iter().position(|frame| frame.released > returned).expect("a picture after the return");
    let first = &pictures[index];
    assert!(first.key && !first.damaged, "the first picture is {first:?}");
    let released = first.released - returned;
    // Its last byte came with the packet that brought the connection's total to it: nothing is lost here.
    let bytes_before = index.checked_sub(1).map_or(0, |before| pictures[before].end_byte);
    let arrived =
        recording.arrival_of(first.end_byte - bytes_before, back).expect("it passed the link") - back;
    eprintln!(
        "the first picture arrived {arrived:?} after the link's return and was released after {released:?}"
    );
    assert!(arrived <= Duration::from_secs(1), "arrived after {arrived:?}\n{}", daemon.log());
    assert!(
        released <= plan.latency + Duration::from_secs(1),
        "released after {released:?}\n{}",
        daemon.log()
    );
    let after = &pictures[index..];
    assert!(after.len() > 100 && after.iter().all(|frame| !frame.damaged), "the stream goes on whole");
}

/// The status is published every 50 ms, and looked at every 10 ms; the rest is the machine's.
const LOOKING: Duration = Duration::from_millis(100);
