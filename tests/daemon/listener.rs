//! Receivers that call: three programs built on libsrt, welcome and unwelcome ones, at one output.

use std::time::Duration;

use serde_json::Value;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream_at};
use crate::ts::{assert_clean, check};

const PASSPHRASE: &str = "a passphrase of many words";

fn secret(passphrase: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), passphrase).expect("the passphrase is written");
    let setting = format!("passphrase_file = {:?}\n", file.path());
    (file, setting)
}

fn listening(port: u16, more: &str) -> Daemon {
    Daemon::start(&test_stream_at(&format!(":{port}?mode=listener"), 500, more))
}

/// The only output's status.
fn output(daemon: &Daemon) -> Value {
    daemon.status()["outputs"][0].clone()
}

fn callers(daemon: &Daemon) -> u64 {
    output(daemon)["callers"].as_u64().expect("a number of callers")
}

fn wait_for_callers(daemon: &Daemon, count: u64) {
    let what = format!("{count} callers\n{:#}\n{}", daemon.status(), daemon.log());
    eventually(&what, Duration::from_secs(12), || callers(daemon) == count);
}

/// So many pictures have come, however slow the machine is.
fn wait_for_pictures(peer: &Peer, pictures: u64) {
    eventually(&format!("{pictures} pictures\n{}", peer.log()), Duration::from_secs(20), || {
        check(&peer.received()).video.is_some_and(|video| video.units > pictures)
    });
}

/// What the state says while callers come and go, each with its own whole stream.
#[test]
fn callers_come_and_go_and_the_state_says_so() {
    calmly(3, || {
        let port = free_port();
        let mut daemon = listening(port, "");
        let waiting = format!("waiting for a caller on 0.0.0.0:{port}");
        eventually("the output listens", Duration::from_secs(10), || output(&daemon)["reason"] == waiting);
        assert_eq!(output(&daemon)["state"], "connecting");
        daemon.wait_for("connecting", Duration::from_secs(5)); // nobody receives
        assert_eq!(callers(&daemon), 0);

        let first = Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller"));
        daemon.wait_for("streaming", Duration::from_secs(8));
        assert_eq!(callers(&daemon), 1);
        assert_eq!(daemon.status()["rate"]["output"], "studio", "the rate follows the first caller");
        // Into the midst of a group of pictures.
        std::thread::sleep(Duration::from_millis(900));
        let second = Peer::ffmpeg_at(&format!("127.0.0.1:{port}?mode=caller"));
        let third = Peer::srtsrc_at(&format!("127.0.0.1:{port}?mode=caller"), &[]);
        wait_for_callers(&daemon, 3);
        wait_for_pictures(&third, 30);
        third.freeze(); // noticed after five seconds of silence, and by nobody else
        wait_for_callers(&daemon, 2);
        daemon.wait_for("streaming", Duration::from_secs(5));
        wait_for_pictures(&second, 90);
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
        assert_clean(&check(&first.received()), 90);
        assert_clean(&check(&second.received()), 90);
    });
}

#[test]
fn the_wrong_passphrase_beside_the_right_one() {
    calmly(3, || {
        let (port, (_file, setting)) = (free_port(), secret(PASSPHRASE));
        let mut daemon = listening(port, &setting);
        let good =
            Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}"));
        daemon.wait_for("streaming", Duration::from_secs(10));
        let place = format!("127.0.0.1:{port}?mode=caller");
        let _wrong = Peer::srt_live_transmit_at(&format!("{place}&passphrase=quite another one"));
        let _none = Peer::ffmpeg_at(&place);
        let other = Peer::srtsrc_at(&place, &[&format!("passphrase={PASSPHRASE}"), "pbkeylen=32"]);
        wait_for_callers(&daemon, 2);
        eventually("two are refused", Duration::from_secs(5), || {
            output(&daemon)["refused_callers"].as_u64().is_some_and(|refused| refused >= 2)
        });
        daemon.wait_for("streaming", Duration::from_secs(5));
        assert!(daemon.log().contains("SRT caller refused"), "{}", daemon.log());
        wait_for_pictures(&other, 60);
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
        assert_clean(&check(&good.received()), 60);
        assert_clean(&check(&other.received()), 60);
        assert!(!daemon.log().contains(PASSPHRASE));
    });
}

/// Another latency and passphrase, while the daemon runs: the callers call again, nothing else starts anew.
#[test]
fn a_changed_latency_and_passphrase_touch_the_output_alone() {
    calmly(3, || {
        let (port, (_old, before), (new, after)) =
            (free_port(), secret(PASSPHRASE), secret("another passphrase"));
        let url = format!(":{port}?mode=listener");
        let daemon = Daemon::start(&test_stream_at(&url, 300, &before));
        let place = format!("127.0.0.1:{port}?mode=caller");
        let _first = Peer::srt_live_transmit_at(&format!("{place}&passphrase={PASSPHRASE}&rcvlatency=120"));
        daemon.wait_for("streaming", Duration::from_secs(10));
        assert_eq!(output(&daemon)["latency_ms"], 300);
        let frames = || daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        let before = frames();
        daemon.reload(&test_stream_at(&url, 700, &after));
        let waiting = format!("waiting for a caller on 0.0.0.0:{port}");
        eventually("it listens anew", Duration::from_secs(6), || output(&daemon)["reason"] == waiting);
        assert!(frames() > before, "the encoder went on");
        let _second =
            Peer::srt_live_transmit_at(&format!("{place}&passphrase=another passphrase&rcvlatency=120"));
        daemon.wait_for("streaming", Duration::from_secs(8));
        assert_eq!(output(&daemon)["latency_ms"], 700);
        // A secret that changes in its file is read once somebody is refused for the old one.
        std::fs::write(new.path(), "a third passphrase").expect("the passphrase is written");
        let _third = Peer::srt_live_transmit_at(&format!("{place}&passphrase=a third passphrase"));
        wait_for_callers(&daemon, 2);
    });
}

/// Both call each other; the state says what is missing until then.
#[test]
fn a_rendezvous_is_kept_and_kept_again_after_a_change() {
    calmly(3, || {
        let (port, (_old, before), (_new, after)) =
            (free_port(), secret(PASSPHRASE), secret("another passphrase"));
        let url = format!("127.0.0.2:{port}?mode=rendezvous");
        let mut daemon = Daemon::start(&test_stream_at(&url, 300, &before));
        daemon.wait_for("connecting", Duration::from_secs(5));
        let place = format!("127.0.0.1:{port}?mode=rendezvous&adapter=127.0.0.2");
        let first = Peer::srt_live_transmit_at(&format!("{place}&passphrase={PASSPHRASE}"));
        daemon.wait_for("streaming", Duration::from_secs(10));
        wait_for_pictures(&first, 30);
        daemon.reload(&test_stream_at(&url, 700, &after));
        eventually("the first is left", Duration::from_secs(8), || daemon.state() != "streaming");
        assert_clean(&check(&first.received()), 30);
        drop(first);
        let second = Peer::srt_live_transmit_at(&format!("{place}&passphrase=another passphrase"));
        daemon.wait_for("streaming", Duration::from_secs(20));
        assert_eq!(output(&daemon)["latency_ms"], 700);
        wait_for_pictures(&second, 60);
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
        assert_clean(&check(&second.received()), 60);
    });
}
