//! The API, as curl would use it.

use std::time::Duration;

use serde_json::Value;
use uplinkd::config::Framerate;
use uplinkd::media::{self, Mode};
use uplinkd::probe::Probes;
use uplinkd::probe::cache::Cache;
use uplinkd::probe::parent::Prober;

use crate::harness::{Daemon, Peer, free_port, test_stream};

/// Status and body of a request; errors are answers too.
pub fn get(url: String, headers: &[(&str, &str)]) -> (u16, String, Value) {
    let mut request = ureq::get(url).config().http_status_as_error(false).build();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().expect("an answer");
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.to_string();
    let text = response.body_mut().read_to_string().expect("a body");
    (response.status().as_u16(), kind, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn routes_and_actions() {
    let port = free_port();
    let _peer = Peer::srt_live_transmit(port, "");
    let daemon = Daemon::start(&test_stream(port, 300, ""));
    daemon.wait_for("streaming", Duration::from_secs(10));

    let (status, _, body) = get(daemon.url("/healthz"), &[]);
    assert_eq!((status, body), (200, Value::String("ok\n".into())));
    let (_, _, info) = get(daemon.url("/v1/info"), &[]);
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    let (_, _, list) = get(daemon.url("/v1/streams"), &[]);
    assert_eq!(list["items"][0]["id"], "main");

    let stream = daemon.status();
    assert_eq!(stream["source"]["state"], "live", "{stream:#}");
    assert_eq!(stream["encoder"]["element"], "x264enc", "{stream:#}");
    assert_eq!(stream["rate"]["output"], "studio", "{stream:#}");
    let target = stream["rate"]["target_bps"].as_u64();
    assert!(target.is_some_and(|target| (300_000..=2_000_000).contains(&target)), "{stream:#}");
    let acknowledged = |stream: &Value| stream["outputs"][0]["acked_bytes"].as_u64().expect("a number");
    std::thread::sleep(Duration::from_millis(700));
    assert!(acknowledged(&daemon.status()) > acknowledged(&stream), "streaming means that this rises");

    assert_eq!(daemon.act("keyframe"), 202);
    assert_eq!(daemon.act("stop"), 202);
    daemon.wait_for("stopped", Duration::from_secs(5));
    assert_eq!(daemon.status()["outputs"], Value::Array(Vec::new()), "nothing is left connected");
    assert_eq!(daemon.status()["encoder"], Value::Null);
    assert_eq!(daemon.act("start"), 202);
    daemon.wait_for("streaming", Duration::from_secs(10));
    assert_eq!(daemon.act("restart"), 202);
    daemon.wait_for("starting", Duration::from_secs(5));
    daemon.wait_for("streaming", Duration::from_secs(10));
}

#[test]
fn devices_are_listed_with_all_that_they_offer() {
    let daemon = Daemon::start("");
    let (status, _, body) = get(daemon.url("/v1/devices"), &[]);
    assert_eq!(status, 200);
    for list in ["video", "video_errors", "sound"] {
        assert!(body[list].is_array(), "{list}: {body:#}");
    }
    // Where this machine has cameras.
    for camera in body["video"].as_array().expect("a list") {
        assert!(camera["node"].as_str().is_some_and(|node| node.starts_with("/dev/video")), "{camera:#}");
        assert!(camera["formats"].is_array() && camera["controls"].is_array(), "{camera:#}");
    }
}

#[test]
fn capabilities_are_the_tables_with_what_probes_said() {
    let daemon = Daemon::start("");
    let x264 = || {
        let (status, _, body) = get(daemon.url("/v1/capabilities"), &[]);
        assert_eq!(status, 200);
        assert_eq!(body["codecs"][0], "h264", "{body:#}");
        let encoders = body["encoders"].as_array().expect("a list").clone();
        let missing = encoders.iter().find(|encoder| encoder["available"] == false);
        assert!(missing.is_none_or(|encoder| encoder["reason"].is_string()), "{missing:?}");
        encoders.into_iter().find(|encoder| encoder["element"] == "x264enc").expect("x264enc")
    };
    let before = x264();
    assert_eq!((&before["available"], &before["hardware"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(before["reason"], "not probed: run uplinkd devices --probe");

    media::init().expect("GStreamer starts");
    let prober = Prober::command(env!("CARGO_BIN_EXE_uplinkd"), &[], Duration::from_secs(30));
    let probes = Probes::new(prober, Cache::at(&daemon.state_directory().join("encoders.json")));
    let info = media::back_ends().find(|info| info.element == "x264enc").expect("x264enc");
    let mode = Mode { width: 320, height: 180, framerate: Framerate::new(15, 1).expect("a frame rate") };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(probes.probe(info, mode));
    let after = x264();
    assert_eq!(after["reason"], Value::Null, "{after:#}");
    assert_eq!(after["probes"][0]["verdict"], "proven", "{after:#}");
    assert_eq!(after["probes"][0]["width"], 320);
}

#[test]
fn errors_are_problems() {
    let daemon = Daemon::start("");
    for (path, expected) in
        [("/v1/streams/nobody", 404), ("/v1/nothing", 404), ("/v1/streams/a/actions/stop", 405)]
    {
        let (status, kind, body) = get(daemon.url(path), &[]);
        assert_eq!((status, kind.as_str()), (expected, "application/problem+json"), "{path}");
        assert_eq!(body["status"], expected, "{path}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{path}");
    }
}

#[test]
fn foreign_pages_are_turned_away() {
    let daemon = Daemon::start("");
    let (status, ..) = get(daemon.url("/v1/info"), &[("Host", "evil.example")]);
    assert_eq!(status, 403);
    let (status, ..) = get(daemon.url("/v1/info"), &[("Origin", "http://evil.example")]);
    assert_eq!(status, 403);
}
