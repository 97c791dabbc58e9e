//! Overrides as a document: what counts, checked, planned, applied, forgotten.

use std::time::Duration;

use serde_json::json;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::{delete, get, on_air, overrides, send, setting};

#[test]
fn every_setting_tells_who_says_so() {
    let daemon = Daemon::start("[log]\nlevel = \"warn\"\n[streams.main.rate]\nmax_kbps = 4000");
    assert_eq!(overrides(&daemon, "apply", "[streams.main.rate]\nmin_kbps = 500").status, 200);
    assert_eq!(setting(&daemon, "log.level"), json!(["warn", "etc"]));
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([4000, "etc"]));
    assert_eq!(setting(&daemon, "streams.main.rate.min_kbps"), json!([500, "override"]));
    assert_eq!(setting(&daemon, "streams.main.rate.start_kbps"), json!([1500, "default"]));
    let config = get(&daemon, "/v1/config");
    assert!(
        config.body["file"].as_str().is_some_and(|file| file.ends_with("uplinkd.toml")),
        "{:#}",
        config.body
    );
    assert_eq!(config.body["overrides_trouble"], json!(null));
    assert!(config.tag.is_some());
}

#[test]
fn a_bad_document_has_lines_and_columns_and_touches_nothing() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        let frames = daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        for action in ["check", "plan", "apply", "apply?confirm_within_s=5"] {
            for (wrong, line, column) in [
                ("\n[streams.main.rate]\nmax_kbps = \"fast\"", 3, 12),
                ("[streams.main]\n\nwidht = 3", 3, 1),
                ("[streams.main\n", 1, 14),
                ("[api]\nlisten = \"127.0.0.1:1\"", 1, 2),
                ("remove = [\"streams..main\"]", 1, 11),
            ] {
                let answer = overrides(&daemon, action, wrong);
                assert_eq!(answer.status, 422, "{wrong}: {:#}", answer.body);
                let error = answer.error();
                assert_eq!(error["document"], "request", "{wrong}: {error:#}");
                assert_eq!(
                    (&error["line"], &error["column"]),
                    (&json!(line), &json!(column)),
                    "{wrong}: {error:#}"
                );
            }
        }
        let both = overrides(&daemon, "check", "[streams.main]\nx = 1\n[streams.main.rate]\ny = 2");
        assert_eq!(both.body["errors"].as_array().map(Vec::len), Some(2), "all at once: {:#}", both.body);
        let status = daemon.status();
        assert_eq!(status["outputs"][0]["connections"], 1, "the same connection goes on: {status:#}");
        assert!(status["encoder"]["frames"].as_u64().expect("frames") >= frames, "the same encoder goes on");
        assert!(!daemon.state_directory().join("overrides.toml").exists());
    });
}

#[test]
fn a_plan_says_what_would_restart_and_does_nothing() {
    let daemon = Daemon::start(&test_stream(free_port(), 300, ""));
    let plan = |toml: &str| {
        let answer = overrides(&daemon, "plan", toml);
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        let all = answer.body["consequences"].as_array().expect("a list").clone();
        all.into_iter().map(|it| it["effect"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(plan("[streams.main.rate]\nmax_kbps = 1500"), ["live"]);
    assert_eq!(plan("[streams.main.video]\nwidth = 640"), ["restarts"]);
    assert_eq!(plan("[[streams.main.outputs]]\nname = \"studio\"\nlatency_ms = 500"), ["reconnects"]);
    assert_eq!(plan("remove = [\"streams.main\"]"), ["stops"]);
    assert_eq!(plan("[streams.other]"), ["live"]);
    assert_eq!(plan(""), Vec::<String>::new());
    let answer = overrides(&daemon, "plan", "[streams.main.rate]\nmax_kbps = 1500");
    assert_eq!(
        answer.body["changes"],
        json!([{"key": "streams.main.rate.max_kbps", "before": 2000, "after": 1500}])
    );
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([2000, "etc"]));
    assert_eq!(
        overrides(&daemon, "check", "[streams.main.video]\nwidth = 640").body,
        json!({"warnings": []})
    );
    let typed = send(&daemon, "POST", "/v1/config/plan", &[("content-type", "text/plain")], "x = 1");
    assert_eq!(typed.status, 415);
}

#[test]
fn a_document_is_kept_word_for_word_and_forgotten_as_a_whole() {
    let mut daemon = Daemon::start("[log]\nlevel = \"info\"");
    let document = "# for the concert\n[log]\nlevel = \"debug\" # for a day\n";
    let tag = get(&daemon, "/v1/config").tag.expect("a tag");
    assert_eq!(overrides(&daemon, "apply", document).status, 200);
    let kept = || std::fs::read_to_string(daemon.state_directory().join("overrides.toml"));
    assert_eq!(kept().expect("overrides"), document);
    let headers = [("if-match", tag.as_str())];
    assert_eq!(send(&daemon, "DELETE", "/v1/config/overrides", &headers, "").status, 412);
    daemon.kill_and_start();
    assert_eq!(setting(&daemon, "log.level"), json!(["debug", "override"]));
    let forgotten = delete(&daemon, "/v1/config/overrides");
    assert_eq!(forgotten.body["changes"][0]["key"], "log.level", "{:#}", forgotten.body);
    assert_eq!(setting(&daemon, "log.level"), json!(["info", "etc"]));
    assert!(!daemon.state_directory().join("overrides.toml").exists());
}

#[test]
fn a_reload_keeps_the_overrides_on_top() {
    let daemon = Daemon::start("[streams.main.rate]\nmax_kbps = 4000\nmin_kbps = 400");
    assert_eq!(overrides(&daemon, "apply", "[streams.main.rate]\nmax_kbps = 3000").status, 200);
    daemon.reload("[streams.main.rate]\nmax_kbps = 5000\nmin_kbps = 500");
    eventually("the file's new value counts", Duration::from_secs(15), || {
        setting(&daemon, "streams.main.rate.min_kbps") == json!([500, "etc"])
    });
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([3000, "override"]));
    // A file that is good alone, and not with what is laid over it.
    daemon.reload("[streams.main.rate]\nmax_kbps = 5000\nmin_kbps = 3500");
    eventually("the refusal is logged", Duration::from_secs(15), || daemon.log().contains("reload refused"));
    assert!(daemon.log().contains("overrides.toml:2:12"), "{}", daemon.log());
    assert_eq!(setting(&daemon, "streams.main.rate.min_kbps"), json!([500, "etc"]));
}
