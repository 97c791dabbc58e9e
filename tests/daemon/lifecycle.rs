//! Start, reload, refusal, end.

use std::process::Command;
use std::time::Duration;

use uplinkd::demo::checker::Report;

use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::peers::judge;

#[test]
fn sigterm_and_sigint_drain_and_the_receiver_has_everything() {
    for signal in ["TERM", "INT"] {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let mut daemon = Daemon::start(&test_stream(port, 1000, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        std::thread::sleep(Duration::from_secs(3));
        daemon.signal(signal);
        // The latency and two seconds.
        let exit = daemon.wait(Duration::from_secs(3));
        assert_eq!(exit.code(), Some(0), "{}", daemon.log());
        let acknowledged = acknowledged_at_the_end(&daemon.log());
        eventually("the receiver releases the last latency", Duration::from_secs(3), || {
            peer.received().len() as u64 >= acknowledged.sent
        });
        assert_eq!(peer.received().len() as u64, acknowledged.sent, "{}", daemon.log());
        let report: Report = judge(&peer.received());
        assert_eq!(report.continuity_errors(), 0, "{report:?}");
    }
}
