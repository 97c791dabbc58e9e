//! `uplinkd ctl`, as its users and their scripts run it.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::security::{TOKEN, token_file};

fn ctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uplinkd")).arg("ctl").args(arguments).output().expect("uplinkd runs")
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

#[test]
fn a_stream_is_looked_at_and_acted_on() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let (_folder, token) = token_file(TOKEN);
        let daemon = Daemon::start(&format!("token_file = {token:?}\n{}", test_stream(port, 300, "")));
        let configuration = daemon.configuration();
        let configuration = configuration.to_str().expect("a text");
        let run = |arguments: &[&str]| {
            let output = ctl(&[&["--config", configuration], arguments].concat());
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
            said(&output)
        };
        eventually("it streams", Duration::from_secs(30), || run(&["status"]).starts_with("main: streaming"));
        let status = run(&["status", "main"]);
        assert!(
            status.contains("encoder  x264enc: target ") && status.contains("output   studio: streaming"),
            "{status}"
        );
        let status: Value = serde_json::from_str(&run(&["status", "--json"])).expect("JSON");
        assert_eq!(status["items"][0]["id"], "main");
        assert_eq!(run(&["keyframe"]), "main: keyframe asked for\n");
        assert!(run(&["rate"]).contains("kbit/s"));
        assert!(run(&["get", "/v1/info"]).contains("\"version\""));
        run(&["stop", "main"]);
        eventually("it stops", Duration::from_secs(10), || run(&["status"]).starts_with("main: stopped"));
        run(&["start"]);
        run(&["restart"]);
    });
}

#[test]
fn what_went_wrong_is_told_by_the_exit_code() {
    let (folder, token) = token_file(TOKEN);
    let daemon = Daemon::start(&format!("token_file = {token:?}\n[streams.a]\n[streams.b]\n"));
    let url = daemon.url("");
    let token = token.to_str().expect("a text");
    let expect = |code: i32, says: &str, arguments: &[&str]| {
        let output = ctl(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    };
    expect(0, "a: stopped", &["--url", &url, "--token-file", token, "status"]);
    expect(1, "which stream: a, b?", &["--url", &url, "--token-file", token, "stop"]);
    expect(1, "no stream \"c\"", &["--url", &url, "--token-file", token, "stop", "c"]);
    expect(77, "a token is needed", &["--url", &url, "status"]);
    let wrong = folder.path().join("wrong.token");
    std::fs::write(&wrong, "battery-horse-staple").expect("written");
    expect(77, "wrong", &["--url", &url, "--token-file", wrong.to_str().expect("a text"), "status"]);
    expect(69, "does it run?", &["--url", "http://127.0.0.1:1", "status"]);
    expect(69, "does it run?", &["--url", "unix:/nonexistent/api.sock", "status"]);
    expect(78, "is no place of an API", &["--url", "127.0.0.1:9980", "status"]);
    expect(78, "there is no configuration /nonexistent.toml", &["--config", "/nonexistent.toml", "status"]);
}
