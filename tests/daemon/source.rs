//! The source goes and comes back; the receiver sees one stream.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, make_clip, make_pipe, test_stream};
use crate::ts::{assert_clean, check_drained};

#[test]
fn a_lost_source_is_a_slate_on_the_same_connection_until_it_is_back() {
    calmly(3, || {
        let (_directory, clip, copy) = clip_and_copy();

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

        assert_drains_without_a_freeze(&mut daemon, &peer);
    });
}

#[test]
fn a_pipe_in_place_of_the_clip_and_the_slate_is_the_reason_and_hangs_nothing() {
    calmly(3, || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let pipe = folder.path().join("clip.mp4");
        make_pipe(&pipe);
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let video = format!("source = \"file\"\npath = {pipe:?}\nslate = {pipe:?}");
        let mut daemon = Daemon::start(&test_stream(port, 1000, "").replacen("source = \"test\"", &video, 1));
        daemon.wait_for("degraded", Duration::from_secs(20));
        eventually(&format!("the reason is told\n{:#}", daemon.status()), Duration::from_secs(10), || {
            daemon.status()["source"]["reason"]
                .as_str()
                .is_some_and(|it| it.contains("is a pipe, and no file"))
        });
        let of_slate = "clip.mp4 is a pipe, and no file";
        assert!(
            daemon.log().lines().any(|it| it.contains("the slate stays dark") && it.contains(of_slate)),
            "{}",
            daemon.log()
        );
        daemon.signal("TERM");
        assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0), "{}", daemon.log());
    });
}

#[test]
fn a_fallback_takes_the_place_of_a_lost_source_until_that_has_proven_itself() {
    calmly(3, || {
        let (_directory, clip, copy) = clip_and_copy();

        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let stream = test_stream(port, 1000, "").replacen(
            "source = \"test\"",
            &format!("source = \"file\"\npath = {clip:?}\nfallback = [{{ source = \"test\" }}]"),
            1,
        );
        let mut daemon = Daemon::start(&stream);
        daemon.wait_for("streaming", Duration::from_secs(10));
        let sources = daemon.status()["source"]["sources"].clone();
        assert_eq!(
            (&sources[0]["on_air"], &sources[1]["on_air"]),
            (&true.into(), &false.into()),
            "{sources:#}"
        );
        assert_eq!(sources[1]["state"], "off", "a spare source is not open");

        std::fs::remove_file(&clip).expect("removed");
        eventually("the fallback is on air", Duration::from_secs(10), || {
            daemon.status()["source"]["sources"][1]["on_air"] == true
        });
        let status = daemon.status();
        assert_eq!((&status["state"], &status["source"]["device"]), (&"degraded".into(), &"test".into()));
        let reason = status["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("fallback: ") && reason.contains("clip.mp4"), "{status:#}");
        assert_eq!(status["source"]["state"], "live");
        assert_eq!(status["source"]["sources"][0]["state"], "lost");

        std::thread::sleep(Duration::from_secs(1));
        std::fs::copy(&copy, &clip).expect("copied");
        eventually("the clip works again", Duration::from_secs(10), || {
            daemon.status()["source"]["sources"][0]["state"] == "live"
        });
        let status = daemon.status();
        assert_eq!(
            status["source"]["sources"][1]["on_air"], true,
            "not before it has proven itself: {status:#}"
        );
        let dwell = daemon.wait_for("streaming", Duration::from_secs(10));
        assert!(dwell > Duration::from_secs(2), "{dwell:?}");
        let status = daemon.status();
        assert_eq!(status["source"]["device"], clip.display().to_string());
        assert_eq!(status["source"]["sources"][1]["state"], "off");
        assert_eq!(status["outputs"][0]["connections"], 1);

        assert_drains_without_a_freeze(&mut daemon, &peer);
    });
}

#[test]
fn other_fallbacks_are_taken_over_without_another_encoder() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let absent = test_stream(port, 500, "").replacen("\"test\"", "\"file\"\npath = \"/no/such/file\"", 1);
        let mut daemon = Daemon::start(&absent);
        daemon.wait_for("degraded", Duration::from_secs(10));
        let frames = daemon.status()["encoder"]["frames"].as_u64().expect("an encoder");
        daemon.reload(&absent.replacen("width", "fallback = [{ source = \"test\" }]\nwidth", 1));
        eventually("the fallback is on air", Duration::from_secs(5), || {
            daemon.status()["source"]["device"] == "test"
        });
        eventually("the encoder goes on", Duration::from_secs(5), || {
            daemon.status()["encoder"]["frames"].as_u64().is_some_and(|now| now > frames + 30)
        });
        assert_eq!(daemon.status()["outputs"][0]["connections"], 1);
        assert_eq!(daemon.log().matches("encoder started").count(), 1, "{}", daemon.log());
        assert!(daemon.is_running());
    });
}

#[test]
fn another_slate_and_higher_bounds_come_on_air_without_a_gap() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let absent = test_stream(port, 500, "").replacen("\"test\"", "\"file\"\npath = \"/no/such/file\"", 1);
        let mut daemon = Daemon::start(&absent);
        daemon.wait_for("degraded", Duration::from_secs(10));
        let size = || slate(&daemon).len();
        eventually("the reason stands there", Duration::from_secs(5), || size() > MOST_WITHOUT_TEXT);
        daemon.reload(&absent.replacen("width", "slate = \"hold\"\nwidth", 1).replacen(
            "max_kbps = ",
            "max_kbps = 9000 # ",
            1,
        ));
        eventually("it is dark: nothing was there to hold", Duration::from_secs(5), || {
            size() < MOST_WITHOUT_TEXT
        });
        daemon.reload(&absent);
        eventually("the reason is back", Duration::from_secs(5), || size() > MOST_WITHOUT_TEXT);
        eventually("the receiver has seen a while of it", Duration::from_secs(10), || {
            daemon.status()["outputs"][0]["acked_bytes"].as_u64().is_some_and(|bytes| bytes > 120_000)
        });
        let (status, log) = (daemon.status(), daemon.log());
        assert_eq!(status["outputs"][0]["connections"], 1, "{status:#}");
        assert_eq!(log.matches("encoder started").count(), 1, "{log}");
        assert_drains_without_a_freeze(&mut daemon, &peer);
    });
}

/// What is on air, as a JPEG.
fn slate(daemon: &Daemon) -> Vec<u8> {
    let mut answer = ureq::get(daemon.url("/v1/streams/main/snapshot.jpg")).call().expect("a picture");
    answer.body_mut().read_to_vec().expect("a picture")
}

/// Bytes of a plain picture of the test's size; with some words on it there are thousands.
const MOST_WITHOUT_TEXT: usize = 2_500;

/// All that was sent has arrived, and the receiver saw no freeze.
fn assert_drains_without_a_freeze(daemon: &mut Daemon, peer: &Peer) {
    let report = check_drained(daemon, peer, Duration::from_secs(4));
    assert_clean(&report, 60);
    let video = report.video.expect("a picture track");
    assert!(video.longest_step < Duration::from_millis(700), "no freeze: {video:#?}");
}

/// A clip that may be spoilt, and what it is mended with; gone with the directory.
fn clip_and_copy() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (clip, copy) = (directory.path().join("clip.mp4"), directory.path().join("copy.mp4"));
    make_clip(&copy, "640x360", 30, 2);
    std::fs::copy(&copy, &clip).expect("copied");
    (directory, clip, copy)
}
