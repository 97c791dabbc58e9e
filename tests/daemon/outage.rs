//! The network goes and comes back.

use std::time::{Duration, Instant};

use uplinkd::link::Spec;
use uplinkd::link::relay::Relay;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, free_port, test_stream};
use crate::ts::{assert_clean, assert_decodes, check, resumption};

fn relay_to(port: u16) -> Relay {
    relay(port, "delay=25ms,seed=1")
}

fn relay(port: u16, spec: &str) -> Relay {
    let spec: Spec = spec.parse().expect("a link");
    Relay::start(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], port).into(), spec).expect("the relay starts")
}

#[test]
fn three_seconds_are_one_connection() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let relay = relay_to(port);
        let daemon = Daemon::start(&test_stream(relay.address().port(), 1000, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        std::thread::sleep(Duration::from_secs(2));
        relay.set_outage(true);
        let noticed = daemon.wait_for("degraded", Duration::from_millis(1500));
        std::thread::sleep(Duration::from_secs(3) - noticed);
        relay.set_outage(false);
        daemon.wait_for("streaming", Duration::from_secs(2));
        std::thread::sleep(Duration::from_secs(3));
        let status = daemon.status();
        assert_eq!(status["outputs"][0]["connections"], 1, "{status:#}\n{}", daemon.log());
        assert_eq!(status["state"], "streaming", "{status:#}");
        let report = check(&peer.received());
        assert_eq!(report.backward_timestamps(), 0, "{report:#?}");
        // What outlived its latency is gone, the rest is there: at most the outage itself is missing.
        let video = report.video.expect("a picture track");
        assert!(video.longest_step < Duration::from_millis(3700), "{video:#?}");
    });
}

#[test]
fn fifteen_seconds_are_told_survived_and_forgotten() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let relay = relay_to(port);
        let mut daemon = Daemon::start(&test_stream(relay.address().port(), 1000, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        std::thread::sleep(Duration::from_secs(2));
        relay.set_outage(true);
        let begin = Instant::now();
        daemon.wait_for("degraded", Duration::from_millis(1500));
        let reason = daemon.status()["reason"].as_str().unwrap_or_default().to_string();
        assert!(reason.contains("nothing acknowledged"), "{reason}");
        std::thread::sleep(Duration::from_secs(7) - begin.elapsed());
        assert_ne!(daemon.state(), "streaming");
        let memory = daemon.resident_kib();
        std::thread::sleep(Duration::from_secs(15) - begin.elapsed());
        let grown = daemon.resident_kib().saturating_sub(memory);
        assert!(grown < 4096, "{grown} KiB more in 8 s without a network");
        relay.set_outage(false);
        daemon.wait_for("streaming", Duration::from_secs(2));
        std::thread::sleep(Duration::from_secs(3));

        let status = daemon.status();
        assert_eq!(status["outputs"][0]["connections"], 2, "{status:#}");
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(3)).success(), "{}", daemon.log());
        std::thread::sleep(Duration::from_secs(1)); // the receiver writes what it held for the latency
        // What the second connection brought begins with tables and a key frame, and is of now.
        let received = peer.received();
        let after = resumption(&received, Duration::from_secs(5));
        let report = check(after);
        let video = report.video.as_ref().unwrap_or_else(|| panic!("no pictures: {report:#?}"));
        assert_eq!((video.damaged, report.continuity_errors()), (0, 0), "{report:#?}");
        assert!(video.units > 30, "{video:#?}");
        assert!(video.span < Duration::from_millis(5500), "no stale backlog: {video:#?}");
        let recording = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(recording.path(), after).expect("written");
        assert_decodes(recording.path());
    });
}

#[test]
fn a_link_slower_than_the_encoder_costs_pictures_and_nothing_else() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let relay = relay(port, "rate=700k,delay=25ms,seed=1");
        let stays = "start_kbps = 1000\nadaptive = false";
        let stream = test_stream(relay.address().port(), 1000, "").replace("start_kbps = 1000", stays);
        let mut daemon = Daemon::start(&stream);
        daemon.wait_for("degraded", Duration::from_secs(10));
        let reason = daemon.status()["reason"].as_str().unwrap_or_default().to_string();
        assert!(reason.contains("slower than the stream"), "{reason}");
        std::thread::sleep(Duration::from_secs(8));
        let output = daemon.status()["outputs"][0].clone();
        assert_eq!(
            (output["connections"].as_u64(), output["late_packets"].as_u64()),
            (Some(1), Some(0)),
            "{output:#}"
        );
        let thinned = daemon.status()["encoder"]["thinned_frames"].as_u64();
        let missing =
            thinned.zip(output["left_out_frames"].as_u64()).map(|(thinned, left_out)| thinned + left_out);
        assert!(missing > Some(30), "{missing:?}: {output:#}");
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(4)).success(), "{}", daemon.log());
        std::thread::sleep(Duration::from_secs(1));
        let report = check(&peer.received());
        assert_eq!((report.continuity_errors(), report.backward_timestamps()), (0, 0), "{report:#?}");
        let video = report.video.expect("a picture track");
        assert_eq!(video.damaged, 0, "{video:#?}");
        assert!(video.units > 60, "{video:#?}");
        assert_decodes(peer.recording());
    });
}

#[test]
fn an_output_whose_network_is_gone_does_not_touch_the_other() {
    calmly(3, || {
        let (good, cut) = (free_port(), free_port());
        let peer = Peer::srt_live_transmit(good, "");
        let _far = Peer::srt_live_transmit(cut, "");
        let relay = relay_to(cut);
        let second = format!(
            "[[streams.main.outputs]]\nname = \"far\"\nurl = \"srt://127.0.0.1:{}\"\nlatency_ms = 1000\n",
            relay.address().port()
        );
        let mut daemon = Daemon::start(&test_stream(good, 1000, &second));
        daemon.wait_for("streaming", Duration::from_secs(10));
        // Who connects between two key frames begins at the next.
        let before = daemon.status()["outputs"][0]["left_out_frames"].clone();
        relay.set_outage(true);
        daemon.wait_for("degraded", Duration::from_millis(1500));
        std::thread::sleep(Duration::from_secs(3));
        let outputs = daemon.status()["outputs"].clone();
        assert_eq!(outputs[0]["state"], "streaming", "{outputs:#}");
        assert_eq!(
            (&outputs[0]["left_out_frames"], &outputs[0]["late_packets"]),
            (&before, &0.into()),
            "{outputs:#}"
        );
        assert!(outputs[1]["left_out_frames"].as_u64().is_some_and(|frames| frames > 0), "{outputs:#}");
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(5)).success(), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(1500));
        assert_clean(&check(&peer.received()), 90);
    });
}
