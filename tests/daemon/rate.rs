//! What the rate control has seen and decided, as it is told, and decided again by `uplinkd simulate`.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use uplinkd::link::Spec;
use uplinkd::link::relay::Relay;

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, free_port, test_stream};

#[test]
fn decisions_are_told_and_can_be_made_again() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let link: Spec = "rate=3M,delay=25ms,at=4s:rate=800k,seed=1".parse().expect("a link");
        let relay = Relay::start(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], port).into(), link);
        let relay = relay.expect("the relay starts");
        let daemon = Daemon::start(&test_stream(relay.address().port(), 1000, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        std::thread::sleep(Duration::from_secs(8));

        let (status, _, body) = get(daemon.url("/v1/streams/main/rate?last_s=5"), &[]);
        assert_eq!((status, &body["output"]), (200, &Value::from("studio")), "{body:#}");
        let items = body["items"].as_array().expect("items");
        assert!(items.len() >= 4, "one a second at least: {body:#}");
        for item in items {
            assert!(item["time"].is_string() && item["rule"].is_string(), "{item:#}");
            assert!(item["before_bps"].is_u64() && item["after_bps"].is_u64(), "{item:#}");
            assert!(item["inputs"]["rtt_ms"].as_f64().is_some_and(|rtt| rtt > 40.0), "{item:#}");
        }
        assert!(items.iter().any(|item| item["before_bps"] != item["after_bps"]), "{body:#}");
        let times = items.iter().map(|item| item["time"].as_str());
        assert!(times.is_sorted(), "{body:#}");

        // The recording of all of it, decided again.
        let (status, kind, recording) = get(daemon.url("/v1/streams/main/rate?format=recording"), &[]);
        assert_eq!((status, kind.as_str()), (200, "application/jsonl"));
        let Value::String(recording) = recording else { panic!("many lines are no JSON value: {recording}") };
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(recording.as_bytes()).expect("written");
        let mut replay = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
        let replay = replay.args(["simulate", "--replay"]).arg(file.path()).output().expect("uplinkd runs");
        assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
        let then: Vec<&str> = recording.lines().filter_map(decision).collect();
        assert!(then.len() > 250, "{} decisions in eight seconds", then.len());
        let now = String::from_utf8(replay.stdout).expect("text");
        assert!(now.lines().eq(then), "the same decisions, byte for byte");
        assert!(recording.contains("\"rule\":\"drain\""), "the link became slower than the stream");
    });
}

#[test]
fn what_is_asked_wrongly_is_said() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        for (query, expected) in [
            ("main/rate", 200),
            ("main/rate?output=studio", 200),
            ("main/rate?last_s=soon", 422),
            ("main/rate?last_s=-1", 422),
            ("main/rate?format=csv", 422),
            ("main/rate?since=1", 422),
            ("main/rate?output=nobody", 404),
            ("nobody/rate", 404),
        ] {
            let (status, _, body) = get(daemon.url(&format!("/v1/streams/{query}")), &[]);
            assert_eq!(status, expected, "{query}: {body:#}");
            assert!(status == 200 || body["status"] == expected, "{query}: {body:#}");
        }
    });
}

/// The decision in a recording's line, as it is written there; `None` where the line is no step.
fn decision(line: &str) -> Option<&str> {
    let (_, decision) = line.strip_prefix(r#"{"step":{"#)?.split_once(r#""decision":"#)?;
    decision.strip_suffix("}}")
}
