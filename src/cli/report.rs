//! `uplinkd report`: one archive for whoever helps from afar, without a secret in it.
//!
//! What cannot be had (no daemon answers, no journal) is told in the archive in its place: a machine in trouble is
//! what it is for.

mod archive;
mod redaction;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use log::LevelFilter;
use serde_json::Value;

use super::{Failure, block_on, devices};
use crate::api::client::{Answer, Client};
use crate::causes::with_causes;
use crate::config::{Config, file};
use crate::{media, telemetry};
use redaction::Redaction;

#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Where to write it: uplinkd-report-TIME.tar.gz in this folder by default; never over a file that is there
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The daemon's configuration
    #[arg(long, value_name = "PATH", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Writes the archive, and says what is in it.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    telemetry::init(LevelFilter::Error).map_err(Failure::other)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::other)?.as_secs();
    let path =
        arguments.file.clone().unwrap_or_else(|| PathBuf::from(format!("uplinkd-report-{now}.tar.gz")));
    let config = file::load(&arguments.config);
    let redaction = Redaction::of(config.as_ref().ok());

    let mut pages = vec![
        Page::new("machine.txt", machine()),
        Page::new(
            "configuration.toml",
            match &config {
                Ok(config) => redaction::configuration(config),
                Err(error) => format!("# it cannot be used:\n{error}\n"), // names no value that may be a secret
            },
        ),
        Page::new("devices.json", devices()),
        Page::new(
            "journal.txt",
            output("journalctl", &["-u", "uplinkd", "-n", JOURNAL_LINES, "--no-pager", "-o", "short-iso"]),
        ),
        Page::new("unit.txt", output("systemctl", &["status", "uplinkd", "--no-pager", "-n", "0"])),
    ];
    if let Ok(config) = &config {
        pages.extend(answers(config));
    }
    for page in &mut pages {
        page.text = redaction.apply(&page.text);
    }

    let cannot = |error| Failure::plain(&format!("cannot write {}: {error}", path.display()));
    let mut file = create(&path)?;
    let mut size = archive::write(&file, &pages, now).map_err(cannot)?;
    if size > LARGEST_ARCHIVE {
        pages.retain(|page| !page.name.starts_with(FLIGHT));
        pages.push(Page::new(
            "left-out.txt",
            "The flight recordings would be too large for a letter.\n".to_owned(),
        ));
        file.set_len(0).and_then(|()| file.rewind()).map_err(cannot)?;
        size = archive::write(&file, &pages, now).map_err(cannot)?;
    }
    let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    super::say(&format!(
        "{}: {} KiB: {}\nNo passphrase, token or stream id is in it. Look at it before you send it: tar -xzf {0}\n",
        path.display(),
        size.div_ceil(1024),
        names.join(", "),
    ))
}

/// One file of the archive.
#[derive(Debug)]
struct Page {
    name: String,
    text: String,
}

impl Page {
    fn new(name: &str, text: String) -> Self {
        Page { name: name.to_owned(), text }
    }
}

/// For its owner alone; one that is there stays.
fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        Failure::plain(&format!("cannot make {}: {error}; name another file", path.display()))
    })
}

/// Versions, the processor, memory, load, temperatures.
fn machine() -> String {
    let mut text = format!("uplinkd {}\n", env!("CARGO_PKG_VERSION"));
    for path in [
        "/proc/version",
        "/etc/os-release",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/asound/cards",
    ] {
        text.push_str(&format!("\n# {path}\n{}", contents(path)));
    }
    let processor = contents("/proc/cpuinfo");
    let model = |line: &&str| {
        line.starts_with("model name") || line.starts_with("Model") || line.starts_with("processor")
    };
    text.push_str(&format!(
        "\n# /proc/cpuinfo\n{}\n",
        processor.lines().filter(model).collect::<Vec<_>>().join("\n")
    ));
    for zone in 0..MOST_ZONES {
        let folder = format!("/sys/class/thermal/thermal_zone{zone}");
        if !Path::new(&folder).exists() {
            break;
        }
        let kind = contents(&format!("{folder}/type"));
        text.push_str(&format!("\n# {folder}: {}\n{}", kind.trim(), contents(&format!("{folder}/temp"))));
    }
    text
}

/// What there is to see, hear and encode with, and what probes have found.
fn devices() -> String {
    let json = media::init()
        .map_err(|error| with_causes(&error))
        .and_then(|()| devices::json().map_err(|failure| failure.message));
    json.unwrap_or_else(|problem| format!("not listed: {problem}\n"))
}

/// What the daemon says: each stream's status, and what the rate control saw and decided in the last ten minutes.
fn answers(config: &Config) -> Vec<Page> {
    let client = Client::of(&config.api);
    let ask = |path: &str| {
        let answer = match &client {
            Ok(client) => asked(client, path),
            Err(error) => Err(with_causes(error)),
        };
        answer.unwrap_or_else(|trouble| format!("no answer: {trouble}\n"))
    };
    let mut pages =
        vec![Page::new("info.json", ask("/v1/info")), Page::new("streams.json", ask("/v1/streams"))];
    for (stream, settings) in &config.streams {
        for output in &settings.outputs {
            let path = format!("/v1/streams/{stream}/rate?last_s=600&output={}", output.name);
            pages.push(Page::new(&format!("rate-{stream}-{}.json", output.name), ask(&path)));
        }
        // All that `uplinkd simulate --replay` wants, of the output that the encoder follows.
        let recording = ask(&format!("/v1/streams/{stream}/rate?format=recording"));
        if recording.lines().next().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok()) {
            pages.push(Page::new(&format!("{FLIGHT}{stream}.jsonl"), recording));
        }
    }
    pages
}

/// The body of the daemon's answer; in words, why there is none.
fn asked(client: &Client, path: &str) -> Result<String, String> {
    let answer = block_on(client.ask("GET", path, None)).map_err(|failure| failure.message)?;
    let Answer { status, body } = answer.map_err(|error| with_causes(&error))?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == 200 { Ok(text) } else { Err(format!("the API answers {status}: {text}")) }
}

/// The beginning of a file of the system's, or why it cannot be had.
fn contents(path: &str) -> String {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("not there: {error}\n"),
    }
}

/// What a program says, or why it does not.
fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => format!("{program} cannot be run: {error}\n"),
    }
}

/// The text of a secret's file, as its reader takes it; None where it cannot be read or is no text.
fn secret(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// A day of a daemon that has little to say, and some minutes of one in trouble.
const JOURNAL_LINES: &str = "2000";

/// In bytes: far above what the system's files have.
const LARGEST_FILE: u64 = 64 * 1024;

/// In bytes: what a letter takes along.
const LARGEST_ARCHIVE: u64 = 5_000_000;

/// What the names of flight recordings begin with.
const FLIGHT: &str = "flight-";

/// More than any board has.
const MOST_ZONES: usize = 32;
