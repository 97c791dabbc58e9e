//! The source goes and comes back; the receiver sees one stream.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::ts::{assert_clean, check};

#[test]
fn a_lost_source_is_a_slate_on_the_same_connection_until_it_is_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clip = directory.path().join("clip.mp4");
    let copy = directory.path().join("copy.mp4");
    make_clip(&copy);
    std::fs::copy(&copy, &clip).expect("copied");

    let port = free_port();
    let peer = Peer::srt_live_transmit(port, "");
    let mut daemon = Daemon::start(&test_stream(port, 1000, "").replacen(
        "source = \"test\"",
        &format!("source = \"file\"\npath = {clip:?}"),
        1,
    ));
    daemon.wait_for("streaming", Duration::from_secs(10));
    std::fs::write(&clip, "no film").expect("written");
    daemon.wait_for("degraded", Duration::from_secs(10));
    let status = daemon.status();
    assert_eq!(status["source"]["state"], "lost", "{status:#}");
    assert!(status["reason"].as_str().is_some_and(|reason| reason.starts_with("slate: ")), "{status:#}");
    std::thread::sleep(Duration::from_secs(1));
    std::fs::copy(&copy, &clip).expect("copied");
    daemon.wait_for("streaming", Duration::from_secs(10));
    let status = daemon.status();
    assert_eq!((&status["source"]["state"], &status["source"]["losses"]), (&"live".into(), &1.into()));
    assert_eq!(status["outputs"][0]["connections"], 1);

    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(4)).success(), "{}", daemon.log());
    let sent = daemon.logged_number("sent_bytes");
    eventually("everything arrives", Duration::from_secs(4), || peer.received().len() as u64 == sent);
    let report = check(&peer.received());
    assert_clean(&report, 60);
    let video = report.video.expect("a picture track");
    assert!(video.longest_step < Duration::from_millis(700), "no freeze: {video:#?}");
}

/// Two seconds of picture and sound.
fn make_clip(path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=640x360:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440", "-t", "2", "-pix_fmt", "yuv420p"])
        .arg(path)
        .output()
        .expect("ffmpeg runs; `make setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
