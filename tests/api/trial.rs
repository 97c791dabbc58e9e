//! Changes that are watched, confirmed, rolled back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::{delete, get, on_air, overrides, patch, post, setting};

fn streaming(port: u16) -> Daemon {
    let daemon = Daemon::start(&test_stream(port, 300, ""));
    on_air(&daemon);
    daemon
}

fn rolled_back(daemon: &Daemon) -> String {
    get(daemon, "/v1/config").body["rolled_back"]["reason"].as_str().unwrap_or_default().to_owned()
}

fn url(port: u16) -> String {
    format!("[[streams.main.outputs]]\nname = \"studio\"\nurl = \"srt://127.0.0.1:{port}\"\n")
}

#[test]
fn a_change_that_does_not_stream_is_rolled_back_with_its_reason() {
    let (port, nobody) = (free_port(), free_port());
    let _peer = Peer::srt_live_transmit(port, "");
    let daemon = streaming(port);
    let applied = overrides(&daemon, "apply", &url(nobody));
    assert_eq!(applied.status, 200, "{:#}", applied.body);
    assert_eq!(applied.body["on_trial"]["unproven"], json!(["main"]), "{:#}", applied.body);
    assert_eq!(setting(&daemon, "streams.main.outputs[studio].url")[1], "override");
    eventually("it is rolled back", Duration::from_secs(60), || !rolled_back(&daemon).is_empty());
    let reason = rolled_back(&daemon);
    assert!(reason.contains("stream main streamed before") && reason.contains("studio"), "{reason}");
    assert_eq!(setting(&daemon, "streams.main.outputs[studio].url")[1], "etc");
    assert!(!daemon.state_directory().join("overrides.toml").exists());
    assert!(daemon.log().contains("is taken back"), "{}", daemon.log());
    on_air(&daemon);
}

#[test]
fn a_change_that_streams_settles() {
    let (port, other) = (free_port(), free_port());
    let (_peer, _second) = (Peer::srt_live_transmit(port, ""), Peer::srt_live_transmit(other, ""));
    let daemon = streaming(port);
    assert_eq!(patch(&daemon, "main", &json!({"video": {"width": 640, "height": 360}})).status, 200);
    // Another change meanwhile is judged with the first.
    assert_eq!(overrides(&daemon, "apply", &url(other)).status, 200);
    assert_ne!(get(&daemon, "/v1/config").body["on_trial"], Value::Null);
    eventually("it settles", Duration::from_secs(60), || {
        get(&daemon, "/v1/config").body["on_trial"].is_null()
    });
    assert_eq!(rolled_back(&daemon), "");
    assert_eq!(setting(&daemon, "streams.main.outputs[studio].url")[0], format!("srt://127.0.0.1:{other}"));
    on_air(&daemon);
    assert_eq!(post(&daemon, "/v1/config/confirm").status, 409, "there is nothing to confirm");
    assert_eq!(post(&daemon, "/v1/config/rollback").status, 409);
}

#[test]
fn what_nobody_confirms_is_rolled_back() {
    let daemon = Daemon::start("[log]\nlevel = \"info\"");
    let applied = overrides(&daemon, "apply?confirm_within_s=3", "[log]\nlevel = \"debug\"");
    assert_eq!(applied.body["on_trial"]["confirm_within_s"], 3, "{:#}", applied.body);
    assert_eq!(setting(&daemon, "log.level"), json!(["debug", "override"]));
    for answer in [
        overrides(&daemon, "apply", "[log]\nlevel = \"warn\""),
        delete(&daemon, "/v1/config/overrides"),
        crate::http::put(&daemon, "other", &json!({})),
    ] {
        assert_eq!(answer.status, 409, "first things first: {:#}", answer.body);
    }
    assert_eq!(overrides(&daemon, "plan", "[log]\nlevel = \"warn\"").status, 200, "planning does no harm");
    eventually("it is rolled back", Duration::from_secs(20), || {
        setting(&daemon, "log.level") == json!(["info", "etc"])
    });
    assert_eq!(rolled_back(&daemon), "nobody has confirmed it within 3 s");
    for wrong in ["0", "3601", "-1", "soon", ""] {
        let answer = overrides(&daemon, &format!("apply?confirm_within_s={wrong}"), "");
        assert_eq!(
            (answer.status, answer.error()["field"].as_str()),
            (422, Some("confirm_within_s")),
            "{wrong}"
        );
    }
    assert_eq!(overrides(&daemon, "apply?confirm=3", "").status, 422, "a parameter that there is not");
}

#[test]
fn what_somebody_confirms_stays() {
    let mut daemon = Daemon::start("[log]\nlevel = \"info\"");
    assert_eq!(overrides(&daemon, "apply?confirm_within_s=600", "[log]\nlevel = \"debug\"").status, 200);
    assert_eq!(post(&daemon, "/v1/config/confirm").status, 200);
    assert_eq!(get(&daemon, "/v1/config").body["on_trial"], Value::Null);
    daemon.kill_and_start();
    assert_eq!(setting(&daemon, "log.level"), json!(["debug", "override"]));

    assert_eq!(overrides(&daemon, "apply?confirm_within_s=600", "[log]\nlevel = \"warn\"").status, 200);
    assert_eq!(setting(&daemon, "log.level"), json!(["warn", "override"]));
    let back = post(&daemon, "/v1/config/rollback");
    assert_eq!(back.status, 200, "{:#}", back.body);
    assert_eq!(setting(&daemon, "log.level"), json!(["debug", "override"]));
}

#[test]
fn a_restart_before_the_confirmation_rolls_back() {
    let mut daemon = Daemon::start("[log]\nlevel = \"info\"");
    assert_eq!(overrides(&daemon, "apply", "[log]\nlevel = \"debug\"").status, 200);
    assert_eq!(overrides(&daemon, "apply?confirm_within_s=600", "[log]\nlevel = \"warn\"").status, 200);
    daemon.kill_and_start();
    assert_eq!(setting(&daemon, "log.level"), json!(["debug", "override"]));
    assert_eq!(rolled_back(&daemon), "the daemon ended before somebody confirmed it");
    daemon.kill_and_start();
    assert_eq!(rolled_back(&daemon), "", "that is told once");
}
