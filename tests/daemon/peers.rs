//! The same stream, received by three programs that are built on libsrt, plain and encrypted.

use std::time::Duration;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::ts::{assert_clean, check};

/// Streams to a peer for a while, ends in order, and judges what the peer got.
fn deliver(peer: &Peer, port: u16, passphrase: Option<&str>, output: &str) {
    let secret = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut output = output.to_string();
    if let Some(passphrase) = passphrase {
        std::fs::write(secret.path(), format!("{passphrase}\n")).expect("the passphrase is written");
        output.push_str(&format!("\npassphrase_file = {:?}\n", secret.path()));
    }
    let mut daemon = Daemon::start(&test_stream(port, 500, &output));
    daemon.wait_for("streaming", Duration::from_secs(10));
    std::thread::sleep(Duration::from_secs(4));
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
    // Receivers hold what they got for the latency, and write in blocks.
    eventually(&format!("four seconds arrive\n{}", peer.log()), Duration::from_secs(5), || {
        check(&peer.received()).video.is_some_and(|video| video.units > 100)
    });
    assert_clean(&check(&peer.received()), 100);
}

const PASSPHRASE: &str = "a passphrase of many words";

#[test]
fn srt_live_transmit_plain() {
    calmly(3, || {
        let port = free_port();
        deliver(&Peer::srt_live_transmit(port, ""), port, None, r#"stream_id = "publish:live/main""#);
    });
}

#[test]
fn srt_live_transmit_aes_128() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, &format!("&passphrase={PASSPHRASE}&pbkeylen=16"));
        deliver(&peer, port, Some(PASSPHRASE), "key_length = 16");
    });
}

#[test]
fn srt_live_transmit_aes_256() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, &format!("&passphrase={PASSPHRASE}&pbkeylen=32"));
        deliver(
            &peer,
            port,
            Some(PASSPHRASE),
            r##"key_length = 32
    stream_id = "#!::m=publish,r=live/main""##,
        );
    });
}

#[test]
fn gstreamer_plain() {
    calmly(3, || {
        let port = free_port();
        deliver(&Peer::srtsrc(port, &[]), port, None, r#"stream_id = "live""#);
    });
}

#[test]
fn gstreamer_aes_128() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srtsrc(port, &[&format!("passphrase={PASSPHRASE}"), "pbkeylen=16"]);
        deliver(&peer, port, Some(PASSPHRASE), "key_length = 16");
    });
}

#[test]
fn gstreamer_aes_256() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srtsrc(port, &[&format!("passphrase={PASSPHRASE}"), "pbkeylen=32"]);
        deliver(&peer, port, Some(PASSPHRASE), "key_length = 32");
    });
}

#[test]
fn ffmpeg_plain() {
    calmly(3, || {
        let port = free_port();
        deliver(&Peer::ffmpeg(port, ""), port, None, r#"stream_id = "live""#);
    });
}

#[test]
fn ffmpeg_aes_128() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::ffmpeg(port, &format!("&passphrase={PASSPHRASE}&pbkeylen=16"));
        deliver(&peer, port, Some(PASSPHRASE), "key_length = 16");
    });
}

#[test]
fn ffmpeg_aes_256() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::ffmpeg(port, &format!("&passphrase={PASSPHRASE}&pbkeylen=32"));
        deliver(&peer, port, Some(PASSPHRASE), "key_length = 32");
    });
}

#[test]
fn a_wrong_passphrase_is_a_state_with_a_reason_and_not_a_crash_loop() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, &format!("&passphrase={PASSPHRASE}&pbkeylen=16"));
        let secret = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(secret.path(), "quite another passphrase").expect("the passphrase is written");
        let mut daemon =
            Daemon::start(&test_stream(port, 300, &format!("passphrase_file = {:?}", secret.path())));
        daemon.wait_for("backing_off", Duration::from_secs(10));
        let status = daemon.status();
        let reason = status["outputs"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("passphrase"), "{status:#}");
        assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("passphrase")), "{status:#}");
        // Ever more rarely: in the first four seconds there is time for an attempt at 0, about 1, and about 3 s.
        std::thread::sleep(Duration::from_secs(4));
        let refusals = daemon.log().matches("output has no connection").count();
        assert!((1..=4).contains(&refusals), "{refusals} attempts\n{}", daemon.log());
        assert!(daemon.is_running());
        for text in [daemon.log(), daemon.status().to_string()] {
            assert!(!text.contains("quite another"), "the passphrase is shown: {text}");
        }
        // Once the secret is right, it is read anew.
        std::fs::write(secret.path(), PASSPHRASE).expect("the passphrase is written");
        daemon.wait_for("streaming", Duration::from_secs(12));
    });
}
