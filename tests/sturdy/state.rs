//! Where the daemon keeps what lasts: read-only, full, or no folder at all; and a configuration that is not there.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::apart::{apart, behind};
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::{get, on_air, patch};

/// Of the script below, mounted where the daemon keeps its state.
fn with_disk(options: &str, then: &str) -> Option<Command> {
    let script = format!(
        "STATE_DIRECTORY=$STATE_DIRECTORY/state; export STATE_DIRECTORY; mkdir -p $STATE_DIRECTORY
         mount -t tmpfs -o {options} none $STATE_DIRECTORY
         {then}
         exec \"$0\" \"$@\""
    );
    apart("-rm", &script)
}

/// It streams, has said once that nothing can be kept, and refuses changes with the reason.
fn streams_and_refuses(daemon: &Daemon, status: u16, cause: &str) {
    on_air(daemon);
    let said = daemon.log().matches("changes through the API cannot be kept").count();
    assert_eq!(said, 1, "{}", daemon.log());
    let trouble = get(daemon, "/v1/info").body["state_trouble"].to_string();
    assert!(trouble.contains(cause), "{trouble}");
    let answer = patch(daemon, "main", &json!({"rate": {"max_kbps": 1500}}));
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.to_string().contains(cause), "{answer:?}");
    let rate = get(daemon, "/v1/streams/main").body["config"]["rate"]["max_kbps"].clone();
    assert_eq!(rate, 2000, "what cannot be kept is not made");
}

#[test]
fn on_a_read_only_root_it_streams_and_refuses_changes() {
    calmly(3, || {
        let Some(command) = with_disk("ro", "") else { return };
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start_as(command, &test_stream(port, 300, ""));
        streams_and_refuses(&daemon, 503, "Read-only file system");
    });
}

#[test]
fn where_there_can_be_no_folder_it_streams_and_refuses_changes() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let script = "STATE_DIRECTORY=$STATE_DIRECTORY/uplinkd.toml/state exec \"$0\" \"$@\"";
        let daemon = Daemon::start_as(behind(script), &test_stream(port, 300, ""));
        streams_and_refuses(&daemon, 503, "Not a directory");
        assert!(!daemon.log().contains("overrides were not used"), "{}", daemon.log());
    });
}

#[test]
fn with_a_full_disk_it_streams_and_takes_changes_once_there_is_room() {
    calmly(3, || {
        // The home is on that disk, too, as is all the rest of a small machine: but for what GStreamer and the harness
        // need.
        let fill = "cat /dev/zero >$STATE_DIRECTORY/filler 2>&- || true;
            unset XDG_RUNTIME_DIR; export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache} HOME=$STATE_DIRECTORY";
        let Some(command) = with_disk("size=64k", fill) else { return };
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start_as(command, &test_stream(port, 300, ""));
        streams_and_refuses(&daemon, 507, "No space left on device");
        assert!(!daemon.log().contains("a full disk may end this"), "{}", daemon.log());

        let seen = format!("/proc/{}/root{}", daemon.id(), daemon.state_directory().join("state").display());
        fs::remove_file(format!("{seen}/filler")).expect("the filler is removed");
        let answer = patch(&daemon, "main", &json!({"rate": {"max_kbps": 1500}}));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(fs::read_to_string(format!("{seen}/overrides.toml")).expect("kept").contains("1500"));
        assert_eq!(get(&daemon, "/v1/info").body["state_trouble"], json!(null));
    });
}

#[test]
fn without_a_configuration_it_does_not_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("etc/uplinkd/uplinkd.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_uplinkd"))
        .args(["run", "--config"])
        .arg(&path)
        .env("STATE_DIRECTORY", folder.path())
        .output()
        .expect("uplinkd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let path = path.display();
    assert!(said.contains(&format!("there is no configuration {path}; copy /usr/share/uplinkd/")), "{said}");
}

#[test]
fn a_configuration_that_goes_while_it_runs_changes_nothing() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        on_air(&daemon);
        fs::remove_file(daemon.configuration()).expect("the configuration is removed");
        daemon.signal("HUP");
        eventually("the refusal is told", Duration::from_secs(10), || {
            daemon.log().contains("reload refused")
        });
        assert!(daemon.log().contains("there is no configuration"), "{}", daemon.log());
        let frames = || daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        let before = frames();
        eventually("it streams on", Duration::from_secs(10), || frames() > before + 15);
        assert_eq!(daemon.status()["outputs"][0]["connections"], 1);
    });
}
