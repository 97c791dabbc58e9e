//! What was changed lasts, wholly or not at all, whatever becomes of power and disk.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::Daemon;
use crate::http::{delete, get, overrides, patch, setting};

const FILE: &str = "[streams.main.rate]\nmax_kbps = 4000";

#[test]
fn overrides_that_are_no_use_are_set_aside_and_told() {
    let no_configuration = "# what another program has left\n".repeat(64 * 1024);
    for (garbage, reason) in [
        ("[streams.main.rate]\nmax_kbps = 30", "overrides.toml:2:12: streams.main.rate.max_kbps"),
        ("[streams.main.rate]\nmax_kb", "overrides.toml:2"),
        ("\0\0\0\0", "overrides.toml:1:"),
        ("[[streams.main.outputs]]\nname = \"gone\"\nlatency_ms = 300", "url"),
        (&no_configuration, "larger than 1024 KiB"),
    ] {
        let mut daemon = Daemon::start_with_state(&[("overrides.toml", garbage)], FILE);
        let trouble = get(&daemon, "/v1/config").body["overrides_trouble"].clone();
        assert!(trouble.as_str().is_some_and(|trouble| trouble.contains(reason)), "{garbage:?}: {trouble}");
        assert!(daemon.log().contains("the overrides were not used"), "{}", daemon.log());
        assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([4000, "etc"]));
        let aside = daemon.state_directory().join("overrides.toml.refused");
        assert!(std::fs::read_to_string(&aside).expect("it is kept") == garbage);
        assert_eq!(get(&daemon, "/v1/info").body["state_trouble"], json!(null));
        // It stands in nobody's way.
        assert_eq!(patch(&daemon, "main", &json!({"rate": {"max_kbps": 3000}})).status, 200);
        daemon.kill_and_start();
        assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([3000, "override"]));
        assert_eq!(get(&daemon, "/v1/config").body["overrides_trouble"], json!(null));
        assert!(std::fs::read_to_string(aside).expect("it is kept") == garbage);
    }
}

#[test]
fn overrides_that_cannot_be_read_stay_and_nothing_replaces_them() {
    let mut daemon = Daemon::start(FILE);
    let change = |daemon: &Daemon| patch(daemon, "main", &json!({"rate": {"max_kbps": 3000}}));
    assert_eq!(change(&daemon).status, 200);
    daemon.kill();
    let path = daemon.state_directory().join("overrides.toml");
    let kept = std::fs::read(&path).expect("overrides");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("what nobody, not even root, can read as a file");
    daemon.kill_and_start();
    let trouble = get(&daemon, "/v1/config").body["overrides_trouble"].to_string();
    assert!(trouble.contains("cannot read") && trouble.contains("overrides.toml"), "{trouble}");
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([4000, "etc"]));
    told_where_it_is_blocked(&daemon, "cannot read");
    assert!(path.is_dir() && !path.with_extension("toml.refused").exists(), "it stays");

    std::fs::remove_dir(&path).expect("removed");
    told_where_it_is_blocked(&daemon, "restart uplinkd");
    std::fs::write(&path, kept).expect("written");
    daemon.kill_and_start();
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([3000, "override"]));
    assert_eq!(get(&daemon, "/v1/info").body["state_trouble"], json!(null));
}

#[test]
fn overrides_that_are_no_use_and_cannot_be_set_aside_stay() {
    let earlier = (2..=9).map(|number| (format!("overrides.toml.refused-{number}"), "an earlier one"));
    let mut state: Vec<_> = earlier.collect();
    state.push(("overrides.toml.refused".into(), "the first one"));
    state.push(("overrides.toml".into(), "no configuration"));
    let state: Vec<_> = state.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let daemon = Daemon::start_with_state(&state, FILE);
    told_where_it_is_blocked(&daemon, "9 of them were set aside already");
    let kept = std::fs::read_to_string(daemon.state_directory().join("overrides.toml"));
    assert_eq!(kept.expect("it stays"), "no configuration");
}

/// What a refused change says, `/v1/info` says before and after it, and the log has said it once.
fn told_where_it_is_blocked(daemon: &Daemon, cause: &str) {
    let told = || {
        let trouble = get(daemon, "/v1/info").body["state_trouble"].clone();
        trouble.as_str().unwrap_or_else(|| panic!("nothing of {cause}")).to_owned()
    };
    let before = told();
    assert!(before.contains(cause), "{before}");
    let changes = [
        patch(daemon, "main", &json!({"rate": {"max_kbps": 3000}})),
        delete(daemon, "/v1/config/overrides"),
        overrides(daemon, "apply?confirm_within_s=30", "[log]\nlevel = \"debug\""),
    ];
    for refused in changes {
        assert_eq!(refused.status, 503, "{refused:?}");
        let detail = refused.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(&before), "{detail}: {before}");
    }
    assert_eq!(told(), before);
    let said = daemon.log().matches("changes through the API cannot be kept").count();
    assert_eq!(said, 1, "{}", daemon.log());
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made() {
    let daemon = Daemon::start(FILE);
    let change = |max: u32| patch(&daemon, "main", &json!({"rate": {"max_kbps": max}}));
    assert_eq!(change(3000).status, 200);
    let new = daemon.state_directory().join("overrides.toml.new");

    symlink("/dev/full", &new).expect("a disk without room");
    let full = change(2500);
    assert_eq!(
        (full.status, full.content_type.as_str()),
        (507, "application/problem+json"),
        "{:#}",
        full.body
    );
    let detail = full.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("overrides.toml.new") && detail.contains("No space left"), "{detail}");

    std::fs::create_dir(&new).expect("something that cannot be written");
    let refused = overrides(&daemon, "apply?confirm_within_s=30", "[log]\nlevel = \"debug\"");
    assert_eq!(refused.status, 503, "{:#}", refused.body);

    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([3000, "override"]));
    assert_eq!(setting(&daemon, "log.level"), json!(["info", "default"]));
    std::fs::remove_dir(&new).expect("the disk is mended");
    assert_eq!(change(2500).status, 200);
    assert_eq!(setting(&daemon, "streams.main.rate.max_kbps"), json!([2500, "override"]));
}

#[test]
fn a_kill_in_the_middle_of_changes_leaves_one_of_them_whole() {
    let mut daemon = Daemon::start(FILE);
    for round in 0..6u64 {
        let is_dead = AtomicBool::new(false);
        let answered = std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                let mut answered = 0;
                for max in 1000.. {
                    let url = daemon.url("/v1/streams/main");
                    let body = json!({"rate": {"max_kbps": max, "start_kbps": max / 2}}).to_string();
                    let sent = ureq::patch(url).header("content-type", "application/json").send(body);
                    match sent {
                        Ok(_) => answered = max,
                        Err(_) if is_dead.load(Ordering::Relaxed) => return answered,
                        Err(error) => panic!("{error}"),
                    }
                }
                answered
            });
            std::thread::sleep(Duration::from_millis(150 + 37 * round));
            is_dead.store(true, Ordering::Relaxed);
            daemon.signal("KILL");
            changing.join().expect("no change was refused")
        });
        daemon.kill_and_start();
        let config = get(&daemon, "/v1/config").body;
        assert_eq!(config["overrides_trouble"], json!(null), "{config:#}");
        let (max, start) = (
            setting(&daemon, "streams.main.rate.max_kbps")[0].as_u64().expect("a number"),
            setting(&daemon, "streams.main.rate.start_kbps")[0].as_u64().expect("a number"),
        );
        // The last one that was answered, or the one after it, whose answer the kill has swallowed.
        assert!(answered == 0 || max == answered || max == answered + 1, "{max} after {answered}");
        assert!(max == 4000 || start == max / 2, "half of a change: {max} and {start}");
        assert_eq!(delete(&daemon, "/v1/config/overrides").status, 200);
    }
}
