//! Two daemons on one machine: the second gives way, and says to whom.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::on_air;

/// Another daemon, which ends by itself.
fn second(state: &Path, api: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("uplinkd.toml");
    std::fs::write(&path, format!("[api]\nlisten = \"{api}\"\n")).expect("the configuration is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
    command.args(["run", "--config"]).arg(&path).env("STATE_DIRECTORY", state).output().expect("uplinkd runs")
}

#[test]
fn the_second_says_who_is_in_the_way_and_the_first_goes_on() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let mut daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

        let same_state = second(daemon.state_directory(), "127.0.0.1:0");
        assert_eq!(same_state.status.code(), Some(75), "{}", said(&same_state));
        let (process, state) = (daemon.id(), daemon.state_directory().display());
        let expected =
            format!("another uplinkd (process {process}) keeps its state in {state}; end that one first");
        assert!(said(&same_state).contains(&expected), "{}", said(&same_state));

        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let same_api = second(elsewhere.path(), daemon.address());
        assert_eq!(same_api.status.code(), Some(75), "{}", said(&same_api));
        let expected = format!("cannot listen on {}: ", daemon.address());
        assert!(said(&same_api).contains(&expected), "{}", said(&same_api));
        assert!(said(&same_api).contains("another uplinkd or another program"), "{}", said(&same_api));

        let frames = || daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        let before = frames();
        eventually("the first streams on", Duration::from_secs(10), || frames() > before + 15);
        assert_eq!(daemon.status()["outputs"][0]["connections"], 1);
        daemon.kill_and_start(); // nothing of the one that was killed is in the way
        on_air(&daemon);
    });
}
