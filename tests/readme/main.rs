//! README.md, followed from top to bottom: every example is run as it stands there, on a machine of its own. What
//! cannot be run is on a list with its reason, and what is neither fails: an example without a test cannot be added.

#[path = "../calm/mod.rs"]
mod calm;
mod document;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest of it")]
#[path = "../daemon/harness.rs"]
mod harness;
mod reader;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use self::calm::calmly;
use self::document::{blocks, commands};
use self::reader::Reader;

/// What is not run, by its beginning, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make ", "it installs, builds, or runs tests, this one too; below, that there is such a target"),
    ("sudo ", "it changes this machine, as root: tests/lab/package does it in a new Debian"),
    ("mosquitto_", "it wants a broker of a fleet: tests/mqtt has one, and the same clients ask it the same"),
    ("journalctl ", "it wants systemd and the service: tests/lab/package has both"),
];

/// What goes on until somebody ends it, by its beginning; and what it says when it is as it should be.
const UNTIL: &[(&str, &str)] = &[
    ("uplinkd demo", " acked "),
    ("ffmpeg -i ", "Output #0, mpegts, to 'received.ts'"),
    ("curl -sN ", "event: snapshot\ndata: {\"time\":"),
];

/// What is left running while the rest is read.
const STAYS: &str = "target/release/uplinkd run --config my.toml";

/// What is to be found in what a command says, by its beginning. Whatever comes from below `/v1/` is JSON besides.
const SAYS: &[(&str, &str)] = &[
    ("uplinkd devices #", "x264enc"),
    ("uplinkd devices --probe", "1280×720, 30/s"),
    ("uplinkd devices --json", "\"encoders\":"),
    ("uplinkd simulate --link rate=6500k", "of what is usable"),
    ("uplinkd simulate --link rate=3M", "\"queue_delay_ms\""),
    ("uplinkd simulate --link delay=30ms", "of what is usable"),
    ("uplinkd simulate --replay", "\"rule\":"),
    ("uplinkd ctl status", "output   studio: "),
    ("uplinkd ctl get", "\"version\""),
    ("curl -s localhost:9980/v1/streams ", "\"state\":\"streaming\""),
    ("curl -s localhost:9980/v1/streams/main ", "\"state\":\"streaming\""),
    ("curl -s 'localhost:9980/v1/streams/main/rate?last_s=10'", "\"rule\":"),
    ("curl -s 'localhost:9980/v1/streams/main/rate?last_s=600&", "\"target_bps\":["),
    ("curl -s localhost:9980/v1/capabilities", "x264enc"),
    ("curl -s localhost:9980/v1/openapi.json", "\"openapi\": \"3.1"),
    ("curl -s localhost:9980/metrics #", "\nuplinkd_stream_state{"),
    ("curl -s -X PATCH", "\"max_kbps\":4000"),
    ("curl -s localhost:9980/v1/config/plan", "\"effect\":"),
    ("curl -s 'localhost:9980/v1/config/apply", "\"confirm_within_s\":"),
    ("uplinkd ctl --url https", "no stream"),
];

#[test]
fn every_example_works() {
    calmly(2, || {
        let mut reader = Reader::new();
        let mut used = BTreeSet::new();
        for block in blocks(&readme()) {
            match block.language.as_str() {
                "sh" => {
                    for command in commands(&block.text) {
                        run(&mut reader, &command, &mut used);
                    }
                }
                "toml" => reader.take_toml(&block.text),
                "text" => reader.compare_events(&block.text),
                other => panic!("README.md:{}: nobody knows how to try {other:?}", block.line),
            }
        }
        let listed = NOT_RUN.iter().chain(UNTIL).chain(SAYS).map(|(command, _)| *command).chain([STAYS]);
        let unused: Vec<_> = listed.filter(|command| !used.contains(command)).collect();
        assert!(unused.is_empty(), "README.md has none of these any more: {unused:?}");
    });
}

fn run(reader: &mut Reader, command: &str, used: &mut BTreeSet<&'static str>) {
    let began = Instant::now();
    try_out(reader, command, used);
    eprintln!("{:4.1} s  {command}", began.elapsed().as_secs_f64());
}

fn try_out(reader: &mut Reader, command: &str, used: &mut BTreeSet<&'static str>) {
    // This one changes nothing, and the secrets of this folder are for whoever runs the tests.
    let command = command.strip_prefix("sudo ").filter(|it| *it == "uplinkd check-config").unwrap_or(command);
    // The blank that follows a word is a comment's, or the line's end.
    let line = format!("{command} #");
    let mut listed = |list: &[(&'static str, &'static str)]| {
        let (begins, value) = list.iter().find(|(begins, _)| line.starts_with(begins))?;
        used.insert(begins);
        Some(*value)
    };
    if listed(NOT_RUN).is_some() {
        return;
    }
    if let Some(says) = listed(UNTIL) {
        return reader.run_until(command, says);
    }
    let says = listed(SAYS);
    if command == STAYS {
        used.insert(STAYS);
        return reader.leave_running(command);
    }
    reader.run(command, says);
}

#[test]
fn every_target_of_make_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = std::fs::read_to_string(folder.join("Makefile")).expect("a Makefile");
    let readme = readme();
    let mut named = BTreeSet::new();
    for part in readme.split(['\n', '`', '(', '&']) {
        let target = part.trim().strip_prefix("make ").and_then(|rest| rest.split_whitespace().next());
        named.extend(target.filter(|target| target.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
    assert!(named.len() > 8, "{named:?}");
    for target in named {
        let is_there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(is_there, "README.md names `make {target}`, and the Makefile has none");
    }
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("README.md is there")
}
