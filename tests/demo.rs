//! `uplinkd demo` as its owner first runs it: on a machine whose encoders nobody has tried yet.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calm;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use self::calm::calmly;

/// Probes of this machine's encoders take longer than the two seconds that are asked for.
#[test]
fn the_time_begins_when_encoders_have_been_tried() {
    calmly(3, || {
        let state = tempfile::tempdir().unwrap();
        let output = demo(&["--seconds", "2"], state.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("00:00 starting   trying "), "{said}");
        assert!(said.contains("\n2 seconds with ") && said.contains("verdict  clean"), "{said}");
        assert!(state.path().join("encoders.json").is_file(), "they were tried");
    });
}

#[test]
fn a_source_that_is_not_there_is_the_reason() {
    calmly(3, || {
        let state = tempfile::tempdir().unwrap();
        let output = demo(&["--seconds", "2", "--source", "/nonexistent.mp4", "--json"], state.path());
        assert_eq!(output.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let defects = told["defects"].to_string();
        assert!(defects.contains("/nonexistent.mp4") && !defects.contains("nothing arrived"), "{told:#}");
    });
}

fn demo(arguments: &[&str], state: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
    command.arg("demo").args(arguments).env("STATE_DIRECTORY", state).output().unwrap()
}
