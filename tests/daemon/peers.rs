//! The same stream, received by three programs that are built on libsrt, plain and encrypted.

use std::time::Duration;

use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::ts::{Report, check};

/// Streams to a peer for a while, ends in order, and judges what the peer got.
fn receive(peer: &Peer, port: u16, output: &str) -> Report {
    let mut daemon = Daemon::start(&test_stream(port, 300, output));
    daemon.wait_for("streaming", Duration::from_secs(10));
    eventually(&format!("a megabyte arrives\n{}", peer.log()), Duration::from_secs(30), || {
        peer.received().len() > 600_000
    });
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
    check(&peer.received())
}

fn assert_clean(report: &Report) {
    assert_eq!(report.continuity_errors, 0, "{report:?}");
    assert_eq!(report.sync_losses, 0, "{report:?}");
    assert!(report.video_frames > 60 && report.audio_frames > 60, "{report:?}");
}
