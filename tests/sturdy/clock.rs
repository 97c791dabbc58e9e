//! A wall clock that jumps by years, as that of a Raspberry Pi does when it first hears of the time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::apart::behind;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::{get, on_air, overrides, post};
use crate::ts::check;

const YEAR_S: i64 = 365 * 24 * 3600;

fn year(time: &Value) -> i64 {
    time.as_str()
        .and_then(|time| time.split('-').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{time} is no time"))
}

/// Builds the library that makes it jump.
fn build(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sturdy/wall_clock.c");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.join("wall_clock.so"))
        .arg(source)
        .arg("-ldl")
        .output()
        .expect("the C compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_clock_that_jumps_by_years_disturbs_nothing_and_times_are_told_by_the_new_one() {
    calmly(3, || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        build(folder.path());
        let clock = folder.path().join("jump");
        let jump =
            |years: i64| std::fs::write(&clock, (years * YEAR_S).to_string()).expect("the clock is set");
        jump(-20);
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let script = format!(
            "WALL_CLOCK={} LD_PRELOAD={}/wall_clock.so exec \"$0\" \"$@\"",
            clock.display(),
            folder.path().display()
        );
        let daemon = Daemon::start_as(behind(&script), &test_stream(port, 300, ""));
        on_air(&daemon);
        let began = year(&get(&daemon, "/v1/info").body["time"]);
        let change = "[streams.main.rate]\nmax_kbps = 1500\n";
        let answer = overrides(&daemon, "apply?confirm_within_s=60", change);
        assert_eq!(answer.status, 200, "{answer:?}");

        for years in [0, -30, 40, -20] {
            jump(years);
            let frames = || daemon.status()["encoder"]["frames"].as_u64().expect("frames");
            let before = frames();
            eventually("pictures go on", Duration::from_secs(10), || frames() > before + 45);
            let (info, status) = (get(&daemon, "/v1/info").body, daemon.status());
            assert_eq!(year(&info["time"]), began + 20 + years, "the clock was not set");
            assert_eq!(
                (&status["outputs"][0]["state"], &status["outputs"][0]["connections"]),
                (&"streaming".into(), &1.into())
            );
            for since in [&status["since"], &status["outputs"][0]["since"], &info["started"]] {
                assert!(year(&info["time"]) - year(since) <= 1, "since {since}, by another clock");
            }
            assert!(info["uptime_s"].as_u64().is_some_and(|uptime| uptime < 300), "{info}");
            assert!(!get(&daemon, "/v1/config").body["on_trial"].is_null(), "a minute is not over yet");
        }
        assert_eq!(post(&daemon, "/v1/config/confirm").status, 200);
        let rolled_back = get(&daemon, "/v1/config").body["rolled_back"].clone();
        assert_eq!(rolled_back, json!(null));
        let report = check(&peer.received());
        assert_eq!((report.continuity_errors(), report.backward_timestamps()), (0, 0), "{report:#?}");
    });
}
