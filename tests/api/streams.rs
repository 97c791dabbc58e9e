//! Streams are read, made, changed and removed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, make_pipe, test_stream};
use crate::http::{delete, get, on_air, patch, put, send, setting};

#[test]
fn a_patch_of_the_rate_takes_effect_on_air_and_lasts() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let mut daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        let before = get(&daemon, "/v1/streams/main");
        assert_eq!(before.body["config"]["rate"]["max_kbps"], 2000, "{:#}", before.body);
        assert_eq!(before.body["config"]["video"]["codec"], "h264", "defaults are told too");
        let old_tag = before.tag.expect("a tag");

        let after = patch(&daemon, "main", &json!({"rate": {"max_kbps": 700, "start_kbps": 500}}));
        assert_eq!(after.status, 200, "{:#}", after.body);
        assert_eq!(after.body["config"]["rate"]["max_kbps"], 700);
        let tag = after.tag.expect("a tag");
        assert_ne!(tag, old_tag);
        let target = || daemon.status()["encoder"]["target_bps"].as_u64().expect("a target");
        eventually("the new bound is the target", Duration::from_secs(15), || target() <= 700_000);
        assert_eq!(daemon.status()["outputs"][0]["connections"], 1, "nothing connected anew");
        assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([700, "override"]));
        assert_eq!(setting(&daemon, "streams.main.rate.min_kbps"), json!([300, "etc"]));

        // Somebody who has not seen that does not undo it.
        let kind = ("content-type", "application/json");
        let guarded = |tag: &str| {
            let headers = [kind, ("if-match", tag)];
            send(&daemon, "PATCH", "/v1/streams/main", &headers, r#"{"rate":{"max_kbps":800}}"#)
        };
        assert_eq!(guarded(&old_tag).status, 412);
        assert_eq!(get(&daemon, "/v1/streams/main").body["config"]["rate"]["max_kbps"], 700);
        assert_eq!(guarded(&tag).status, 200);

        daemon.kill_and_start();
        assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([800, "override"]));
        let back = patch(&daemon, "main", &json!({"rate": {"max_kbps": 2000, "start_kbps": 1000}}));
        assert_eq!(back.status, 200, "{:#}", back.body);
        assert_eq!(back.tag, Some(old_tag), "the same configuration has the same tag");
        assert!(
            !daemon.state_directory().join("overrides.toml").exists(),
            "nothing is otherwise than in the file"
        );
    });
}

#[test]
fn a_wrong_patch_names_the_field_and_changes_nothing() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        let tag = get(&daemon, "/v1/streams/main").tag;
        let frames = daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        for (wrong, field) in [
            (json!({"rate": {"max_kbps": "much"}}), "streams.main.rate.max_kbps"),
            (json!({"rate": {"max_kbps": 10}}), "streams.main.rate.max_kbps"),
            (json!({"rate": {"max_kbps": 200}}), "streams.main.rate.min_kbps"),
            (json!({"latency_ms": 300}), "streams.main.latency_ms"),
            (json!({"outputs": [{"name": "a"}]}), "streams.main.outputs[0].url"),
            (json!({"outputs": null}), "streams.main.enabled"),
            (json!({"video": {"source": "file", "path": "/nowhere.mp4"}}), "streams.main.video.path"),
            (json!({"video": {"width": [null]}}), "streams.main.video.width[0]"),
            (json!([1]), "streams.main"),
            (json!(null), "streams.main"),
        ] {
            let answer = patch(&daemon, "main", &wrong);
            assert_eq!(answer.status, 422, "{wrong}: {:#}", answer.body);
            assert_eq!(answer.error()["field"], field, "{wrong}: {:#}", answer.body);
            assert!(answer.error()["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{:#}", answer.body);
        }
        let status = daemon.status();
        assert_eq!(status["outputs"][0]["connections"], 1, "the same connection goes on: {status:#}");
        assert!(status["encoder"]["frames"].as_u64().expect("frames") >= frames, "the same encoder goes on");
        assert_eq!(get(&daemon, "/v1/streams/main").tag, tag);
        assert!(!daemon.state_directory().join("overrides.toml").exists());
    });
}

#[test]
fn what_is_no_file_is_refused_and_holds_nothing_up() {
    calmly(3, || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let pipe = folder.path().join("clip.mp4");
        make_pipe(&pipe);
        let mut daemon = Daemon::start(&test_stream(free_port(), 300, ""));
        for (wrong, field, said) in [
            (json!({"source": "file", "path": pipe}), "path", "clip.mp4 is a pipe, and no file"),
            (json!({"source": "file", "path": folder.path()}), "path", " is a folder, and no file"),
            (json!({"slate": pipe}), "slate", "clip.mp4 is a pipe, and no file"),
            (json!({"source": "v4l2", "edid_file": pipe}), "edid_file", "clip.mp4 is a pipe, and no file"),
            (
                json!({"source": "v4l2", "edid_file": "/dev/zero"}),
                "edid_file",
                "/dev/zero is a device, and no",
            ),
        ] {
            let asked = Instant::now();
            let answer = patch(&daemon, "main", &json!({"video": wrong}));
            assert_eq!(answer.status, 422, "{wrong}: {:#}", answer.body);
            let error = answer.error();
            assert_eq!(error["field"], format!("streams.main.video.{field}"), "{:#}", answer.body);
            assert!(error["detail"].as_str().is_some_and(|it| it.contains(said)), "{:#}", answer.body);
            assert!(
                error["fix"].as_str().is_some_and(|fix| fix.starts_with("write the path of ")),
                "{error:#}"
            );
            assert!(asked.elapsed() < Duration::from_secs(10), "{wrong}: it was waited for");
        }
        assert_eq!(
            patch(&daemon, "main", &json!({"rate": {"max_kbps": 700, "start_kbps": 500}})).status,
            200
        );
        daemon.signal("TERM");
        assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0), "{}", daemon.log());
    });
}

#[test]
fn streams_come_and_go_and_that_lasts() {
    let mut daemon = Daemon::start("[streams.main.audio]\nsource = \"test\"");
    let second = json!({"video": {"source": "test"}, "rate": {"max_kbps": 900}});
    let made = put(&daemon, "second", &second);
    assert_eq!(made.status, 201, "{:#}", made.body);
    assert_eq!(made.body["state"], "stopped", "{:#}", made.body);
    assert_eq!(put(&daemon, "second", &second).status, 200);
    let new_only = [("content-type", "application/json"), ("if-none-match", "*")];
    assert_eq!(send(&daemon, "PUT", "/v1/streams/second", &new_only, "{}").status, 412);
    assert_eq!(put(&daemon, "Not A Name".replace(' ', "%20").as_str(), &second).error()["field"], "id");
    let sections = json!({"video": {"source": "test"}});
    let replaced = put(&daemon, "main", &sections);
    assert_eq!(replaced.body["config"]["audio"]["source"], "none", "what is not said has its default");
    assert_eq!(get(&daemon, "/v1/config").body["removed"], json!(["streams.main.audio"]));

    daemon.kill_and_start();
    assert_eq!(get(&daemon, "/v1/streams/second").body["config"]["rate"]["max_kbps"], 900);
    assert_eq!(delete(&daemon, "/v1/streams/second").status, 204);
    assert_eq!(delete(&daemon, "/v1/streams/second").status, 404);
    assert_eq!(delete(&daemon, "/v1/streams/main").status, 204);
    assert_eq!(patch(&daemon, "main", &json!({})).status, 404);
    assert_eq!(get(&daemon, "/v1/streams").body["items"], json!([]));
    daemon.kill_and_start();
    assert_eq!(get(&daemon, "/v1/streams/main").status, 404, "one of the file too");
    assert_eq!(delete(&daemon, "/v1/config/overrides").status, 200);
    assert_eq!(get(&daemon, "/v1/streams/main").body["config"]["audio"]["source"], "test");
}

#[test]
fn what_is_disabled_stays_so_and_what_is_stopped_does_not() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let mut daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        assert_eq!(daemon.act("stop"), 202);
        daemon.wait_for("stopped", Duration::from_secs(15));
        daemon.kill_and_start();
        on_air(&daemon);
        assert_eq!(patch(&daemon, "main", &json!({"enabled": false})).status, 200);
        daemon.wait_for("stopped", Duration::from_secs(15));
        daemon.kill_and_start();
        assert_eq!(daemon.state(), "stopped");
        assert_eq!(patch(&daemon, "main", &json!({"enabled": null})).status, 200, "the default is false too");
        assert_eq!(patch(&daemon, "main", &json!({"enabled": true})).status, 200);
        on_air(&daemon);
    });
}

#[test]
fn bodies_are_what_they_say() {
    let daemon = Daemon::start("[streams.main]");
    let patch = |kind: &str, body: &str| {
        send(&daemon, "PATCH", "/v1/streams/main", &[("content-type", kind)], body).status
    };
    assert_eq!(patch("text/plain", "{}"), 415);
    assert_eq!(patch("application/json", "{"), 400);
    assert_eq!(patch("application/json", &format!("{{\"a\":\"{}\"}}", "x".repeat(1_100_000))), 413);
    assert_eq!(patch("application/json", "{}"), 200);
    let deep = "[".repeat(10_000);
    assert_eq!(patch("application/json", &deep), 400, "no stack is deep enough for everything");
}

#[test]
fn a_credential_is_not_shown_and_comes_back_by_itself() {
    let secret = "#!::u=admin,s=hunter2";
    let output = format!(
        "[[streams.main.outputs]]\nname = \"a\"\nurl = \"srt://127.0.0.1:9\"\nstream_id = \"{secret}\""
    );
    let daemon = Daemon::start(&output);
    let given = get(&daemon, "/v1/streams/main");
    assert_eq!(given.body["config"]["outputs"][0]["stream_id"], "***");
    let mut config = given.body["config"].clone();
    config["rate"]["max_kbps"] = json!(1800);
    let sent_back = put(&daemon, "main", &config);
    assert_eq!(sent_back.status, 200, "{:#}", sent_back.body);
    let kept = std::fs::read_to_string(daemon.state_directory().join("overrides.toml")).expect("overrides");
    assert!(!kept.contains("***"), "{kept}");
    let outputs = json!([{"name": "b", "url": "srt://127.0.0.1:9", "stream_id": secret}]);
    let patched = patch(&daemon, "main", &json!({"outputs": outputs}));
    assert_eq!(patched.status, 200, "{:#}", patched.body);
    let planned = crate::http::overrides(&daemon, "plan", "");
    let config = get(&daemon, "/v1/config");
    for answer in [given, sent_back, patched, planned, config] {
        assert!(!answer.body.to_string().contains("hunter2"), "{:#}", answer.body);
    }
    assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
    assert_ne!(Value::Null, setting(&daemon, "streams.main.outputs[b].stream_id"));
}
