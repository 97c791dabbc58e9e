//! A network, or a name server, that is not there when the machine starts.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::apart::{apart, entering, inside};
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, test_stream_at};

/// In a network that has nothing but itself, and names that are this daemon's alone.
fn cut_off(configuration: &str) -> Option<Daemon> {
    let script = "ip link set lo up
                  echo 127.0.0.1 localhost >$STATE_DIRECTORY/hosts
                  mount --bind $STATE_DIRECTORY/hosts /etc/hosts
                  exec \"$0\" \"$@\"";
    Some(Daemon::start_as(apart("-rmn", script)?, configuration))
}

/// The stream `main`, as the API tells in the daemon's network.
fn status(daemon: &Daemon) -> Value {
    let output = Command::new("nsenter")
        .args(entering(daemon.id()))
        .args([env!("CARGO_BIN_EXE_uplinkd"), "ctl", "--config"])
        .arg(daemon.configuration())
        .args(["--json", "get", "/v1/streams/main"])
        .output()
        .expect("nsenter runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A receiver there, on all addresses.
fn receiver(daemon: &Daemon, port: u16) -> Peer {
    let mut arguments = entering(daemon.id());
    let place = format!("srt://0.0.0.0:{port}?mode=listener");
    arguments.extend(["srt-live-transmit", "-loglevel:fatal", &place, "file://con"].map(str::to_owned));
    Peer::spawn("nsenter", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until it streams, which an interface or a name that has come makes it do within seconds.
fn comes_on_air(daemon: &Daemon) {
    let since = Instant::now();
    eventually("it is on air", Duration::from_secs(30), || {
        status(daemon)["outputs"][0]["state"] == "streaming"
    });
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[test]
fn without_a_network_it_is_ready_says_so_and_is_on_air_once_there_is_one() {
    calmly(3, || {
        let Some(daemon) = cut_off(&test_stream_at("192.0.2.7:9000", 300, "")) else { return };
        eventually("it says that there is no way", Duration::from_secs(20), || {
            let output = status(&daemon)["outputs"][0].clone();
            output["state"] == "backing_off"
                && output["reason"].as_str().is_some_and(|reason| reason.contains("unreachable"))
        });
        let _peer = receiver(&daemon, 9000);
        inside(daemon.id(), "ip addr add 192.0.2.7/32 dev lo");
        comes_on_air(&daemon);
        let restarts = daemon.log().matches("encoder started").count();
        assert_eq!(restarts, 1, "the encoder ran meanwhile: {}", daemon.log());
    });
}

#[test]
fn a_name_that_is_not_known_yet_is_named_and_asked_for_again() {
    calmly(3, || {
        let Some(daemon) = cut_off(&test_stream_at("ingest.example.test:9000", 300, "")) else { return };
        eventually("it names the name", Duration::from_secs(30), || {
            let output = status(&daemon)["outputs"][0].clone();
            output["state"] == "backing_off"
                && output["reason"].as_str().is_some_and(|reason| reason.contains("ingest.example.test"))
        });
        let _peer = receiver(&daemon, 9000);
        inside(daemon.id(), "echo 127.0.0.1 ingest.example.test >>/etc/hosts");
        comes_on_air(&daemon);
    });
}
