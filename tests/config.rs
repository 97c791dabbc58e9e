//! The configuration as its owner meets it: the shipped file, good documents, and the messages for
//! wrong ones.
//!
//! Each `golden/config/NAME.toml` is wrong, and `NAME.err` is what is said about it.
//! `UPDATE_GOLDEN=1 cargo test --test config` writes the latter anew: read them before committing.

#![allow(clippy::unwrap_used)] // in what the tests share

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use uplinkd::config::{self, Listen, OutputName, SrtMode, VideoSource};

const SHIPPED: &str = include_str!("../etc/uplinkd/uplinkd.toml");

#[test]
fn wrong_configurations_are_explained() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    let cases = golden_files();
    assert!(cases.len() >= 30, "only {} golden files", cases.len());
    for path in cases {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let said = match config::parse(&text) {
            Ok(_) => panic!("{name} is taken for a good configuration"),
            Err(problems) => problems.render(|_| name.to_owned()),
        };
        assert!(!said.is_empty(), "{name} is refused without a reason");
        let expected = path.with_extension("err");
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            differing.push(format!("--- {name}\n{said}"));
        }
    }
    assert!(differing.is_empty(), "these say something else now:\n{}", differing.join("\n"));
}

#[test]
fn no_message_repeats_a_secret() {
    for path in golden_files() {
        let problems = config::parse(&fs::read_to_string(&path).unwrap()).unwrap_err();
        for said in [problems.render(|_| "x".to_owned()), problems.to_string(), format!("{problems:?}")] {
            assert!(!said.contains("horse") && !said.contains("battery"), "{}: {said}", path.display());
        }
    }
}

#[test]
fn the_shipped_file_is_good() {
    let config = config::parse(SHIPPED).unwrap();
    let main = &config.streams["main"];
    assert!(!main.enabled);
    assert!(main.outputs.is_empty());
    assert_eq!(config::parse("[streams.main]").unwrap(), config, "what it leaves out is the default");
}

/// What stands behind a `#` in the shipped file is either its default, or an example that works.
#[test]
fn each_setting_of_the_shipped_file_may_be_uncommented() {
    let uncommented: String = SHIPPED.lines().map(uncomment).collect();
    let config = config::parse(&uncommented).unwrap_err();
    let refused: Vec<_> = config.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(refused, ["streams.main.video.path"], "{config}");

    let without_path = uncommented.replace("path = \"/srv/loop.mp4\"", "#");
    let all = config::parse(&without_path).unwrap();
    assert_eq!(all.api.tls.as_ref().unwrap().key, Path::new("/etc/uplinkd/secrets/api.key"));
    assert_eq!(all.streams["main"].outputs[0].name.as_str(), "studio");

    let mut shown: Vec<String> = keys(&all.to_table());
    shown.sort();
    let mut documented: Vec<String> = keys(&toml::from_str(&without_path).unwrap());
    documented.retain(|key| key != "streams.main.audio.device"); // "auto" beside source = "none" says nothing
    documented.sort();
    assert_eq!(shown, documented, "the shipped file names every key, and no other");

    let enabled = without_path.replace("enabled = false", "enabled = true");
    assert!(config::parse(&enabled).unwrap().streams["main"].enabled);
}

/// Prose begins with `# `, a setting that is switched off with `#` and its key.
fn uncomment(line: &str) -> String {
    let setting =
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
    format!("{}\n", setting.unwrap_or(line))
}

fn keys(table: &toml::Table) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        let below = match value {
            toml::Value::Table(table) => keys(table),
            toml::Value::Array(elements) => {
                elements.iter().filter_map(toml::Value::as_table).flat_map(keys).collect()
            }
            _ => Vec::new(),
        };
        all.extend(below.iter().map(|name| format!("{key}.{name}")));
        all.push(key.clone());
    }
    all
}

#[test]
fn everything_has_its_default() {
    let config = config::parse("").unwrap();
    assert_eq!(config.api.listen, [Listen::Tcp("127.0.0.1:9980".parse().unwrap())]);
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert!(config.streams.is_empty());
}

#[test]
fn an_output_needs_name_and_url_alone() {
    let config = config::parse(
        "[streams.main]\nenabled = true\n[[streams.main.outputs]]\nname = \"a\"\nurl = \"srt://[2001:DB8::1]:9000?mode=caller\"",
    )
    .unwrap();
    let output = &config.streams["main"].outputs[0];
    assert!(output.lead, "the first output leads where none says so");
    assert_eq!(
        (output.url.host.as_str(), output.url.port, output.url.mode),
        ("2001:db8::1", 9000, SrtMode::Caller)
    );
    assert_eq!(output.latency, Duration::from_secs(2));
    assert_eq!(output.passphrase_file, None);
}

#[test]
fn the_design_s_example_is_good() {
    let config = config::parse(EXAMPLE).unwrap();
    let stream = &config.streams["main"];
    assert!(matches!(stream.video.source, VideoSource::V4l2 { .. }));
    assert_eq!(stream.rate.start.as_kbps(), 1500);
    assert_eq!(stream.outputs[0].name, OutputName::new("studio").unwrap());
}

#[test]
fn a_default_start_rate_stays_within_the_bounds() {
    let start = |rate: &str| {
        let text = format!("[streams.main.rate]\n{rate}");
        config::parse(&text).unwrap().streams["main"].rate.start.as_kbps()
    };
    assert_eq!(start("max_kbps = 1000"), 1000);
    assert_eq!(start("min_kbps = 2000"), 2000);
    assert_eq!(start("max_kbps = 200"), 200, "the default minimum gives way too");
    assert_eq!(start("min_kbps = 100\nmax_kbps = 9000"), 1500);
}

#[test]
fn one_receiver_may_get_two_streams_by_their_ids() {
    let text = r#"
        [[streams.main.outputs]]
        name = "a"
        url = "srt://ingest.example.net:9000"
        stream_id = "a"
        [[streams.main.outputs]]
        name = "b"
        url = "srt://ingest.example.net:9000"
        stream_id = "b"
    "#;
    config::parse(text).unwrap();
}

#[test]
fn a_file_with_windows_line_ends_and_a_byte_order_mark_is_read() {
    let text = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    assert_eq!(config::parse(&text), config::parse(EXAMPLE));
    let wrong = config::parse("\u{feff}lgo = 1\r\nx = 2\r\n").unwrap_err();
    let places: Vec<_> = wrong.0.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 1), (2, 1)]);
}

#[test]
fn the_effective_configuration_is_a_document_for_itself() {
    for text in GOOD {
        let config = config::parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        let written = toml::to_string(&config.to_table()).unwrap();
        assert_eq!(config::parse(&written).as_ref(), Ok(&config), "{written}");
    }
}

#[test]
fn problems_come_in_the_order_of_the_lines() {
    for path in golden_files() {
        let Err(problems) = config::parse(&fs::read_to_string(&path).unwrap()) else { continue };
        let places: Vec<_> = problems.0.iter().map(|problem| (problem.line, problem.column)).collect();
        assert!(places.is_sorted(), "{}: {places:?}", path.display());
    }
}

proptest! {
    // A failing text stands in the message; no file is kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        answer(&text);
    }

    #[test]
    fn any_text_of_toml_s_signs_is_answered(text in "[a-e0-9\\[\\]{}=.,#\"'\\\\ \r\n\té_-]{0,200}") {
        answer(&text);
    }

    #[test]
    fn a_damaged_document_is_answered(
        which in 0..GOOD.len() + 1,
        damages in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[a-z0-9\\[\\]=.\"'\\\\{}, \né\u{1F600}-]{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = GOOD.get(which).unwrap_or(&SHIPPED).chars().collect();
        for (at, length, replacement) in damages {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, replacement.chars());
        }
        answer(&text.into_iter().collect::<String>());
    }
}

/// Whatever comes: no panic, and either a configuration that can be written and read again, or a
/// reason with a place in the text.
fn answer(text: &str) {
    match config::parse(text) {
        Ok(config) => {
            let written = toml::to_string(&config.to_table()).unwrap();
            assert_eq!(config::parse(&written).unwrap(), config);
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(!problem.message.is_empty() && !problem.fix.is_empty());
                let line = text.split('\n').nth(problem.line - 1).expect("the line exists");
                assert!(problem.column <= line.chars().count() + 1, "{problem}");
            }
        }
    }
}

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

const EXAMPLE: &str = include_str!("golden/config/good/example.toml");

const GOOD: &[&str] = &[
    EXAMPLE,
    include_str!("golden/config/good/file-and-two-outputs.toml"),
    include_str!("golden/config/good/everything-else.toml"),
    include_str!("golden/config/good/api.toml"),
    "",
    "streams.main = {}",
];
