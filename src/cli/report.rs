//! `uplinkd report`: one archive for whoever helps from afar, without a secret in it.
//!
//! What cannot be had (no daemon answers, no journal) is told in the archive in its place: a machine in trouble is
//! what it is for.

mod answers;
mod archive;
mod known;
mod redaction;
mod size;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use log::LevelFilter;

use super::{Failure, devices};
use crate::causes::with_causes;
use crate::config::store::Store;
use crate::config::{Api, Config, Document, Layers, file, parse};
use crate::{media, telemetry};
use known::Known;
use redaction::Redaction;
use size::{JOURNAL, LEFT_OUT};

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

    let mut known = Known::default();
    let settings = Settings::read(&arguments.config, &Store::of_this_machine(), &mut known);
    let mut pages = vec![
        Page::new("machine.txt", machine()),
        Page::new("configuration.toml", settings.page),
        Page::new("devices.json", devices()),
        Page::new(
            JOURNAL,
            output("journalctl", &["-u", "uplinkd", "-n", JOURNAL_LINES, "--no-pager", "-o", "short-iso"]),
        ),
        Page::new("unit.txt", output("systemctl", &["status", "uplinkd", "--no-pager", "-n", "0"])),
    ];
    let answers = answers::ask(&settings.api);
    known.learn_answer(&answers.config);
    pages.extend(answers.pages);
    let redaction = Redaction::of(&known);
    for page in &mut pages {
        page.text = redaction.apply(&page.text, page.is_json());
    }
    let promise = promise(&known);
    if let Err(gaps) = &promise {
        pages.push(Page::new("maybe-secret.txt", gaps.clone()));
    }

    let file = create(&path)?;
    let size = write(file, &mut pages, now).map_err(|error| {
        let removed = match fs::remove_file(&path) {
            Ok(()) => String::new(),
            Err(trouble) => format!(", and what there is of it cannot be removed: {trouble}"),
        };
        Failure::plain(&format!("cannot write {}: {error}{removed}", path.display()))
    })?;
    let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    super::say(&format!(
        "{}: {} KiB: {}\n{}Look at it before you send it: tar -xzf {0}\n",
        path.display(),
        size.div_ceil(1024),
        names.join(", "),
        promise.unwrap_or_else(|gaps| gaps),
    ))
}

/// What can be said of secrets in the archive; else what may be in it, and why.
fn promise(known: &Known) -> Result<String, String> {
    let mut gaps: Vec<String> = known.gaps.iter().cloned().collect();
    if known.stream_ids.iter().any(|id| redaction::is_like_a_word(id)) {
        gaps.push(
            "a stream id is as short as a word, and is taken out only where it stands in quotes".to_owned(),
        );
    }
    if gaps.is_empty() {
        return Ok("No passphrase, token or stream id is in it.\n".to_owned());
    }
    let gaps: String = gaps.iter().map(|gap| format!("  - {gap}\n")).collect();
    Err(format!(
        "Passphrases, tokens and stream ids that could be read are taken out. Others may be in it, for:\n{gaps}"
    ))
}

/// Writes what fits, and tells how many bytes that is; `pages` are afterwards those that it has.
fn write(mut file: File, pages: &mut Vec<Page>, now: u64) -> io::Result<u64> {
    let complete: Vec<_> = pages.iter().map(|page| (page.name.clone(), page.text.len())).collect();
    loop {
        let size = archive::write(&file, pages, now)?;
        if size <= LARGEST_ARCHIVE || !size::shrink(pages) {
            return Ok(size);
        }
        pages.retain(|page| page.name != LEFT_OUT);
        let losses = size::losses(&complete, pages, LARGEST_ARCHIVE);
        pages.push(Page::new(LEFT_OUT, losses));
        file.set_len(0)?;
        file.rewind()?;
    }
}

/// What the daemon was told.
struct Settings {
    /// For the archive: what counts, or what is wrong with it.
    page: String,
    /// Where the daemon is asked: where it would listen, as far as that can be read.
    api: Api,
}

impl Settings {
    /// Of the file and the overrides; what of them is secret is learnt. Blocks on files.
    fn read(path: &Path, store: &Store, known: &mut Known) -> Settings {
        known.learn_folders(path);
        let overrides = store.path();
        if let (Some(folder), Some(name)) = (overrides.parent(), overrides.file_name()) {
            known.learn_overrides(folder, &name.to_string_lossy());
        }
        let text = file::text(path).map_err(|error| error.to_string());
        if let Ok(text) = &text {
            known.learn_document(path, text);
        }
        let text = match text {
            Ok(text) => text,
            Err(error) => return Settings::unusable(path, "", &error, known),
        };
        let parsed = |overrides: &str| {
            Layers::parse(&text, overrides).map(|layers| layers.config).map_err(|problems| {
                problems.render(|document| match document {
                    Document::File => path.display().to_string(),
                    Document::Overrides => store.path().display().to_string(),
                })
            })
        };
        let both = store.load().map_err(|error| error.to_string()).and_then(|overrides| parsed(&overrides));
        match both {
            Ok(config) => Settings::usable("", config),
            Err(trouble) => match parsed("") {
                // As the daemon does at a start.
                Ok(config) => Settings::usable(&commented("without the overrides", &trouble), config),
                Err(error) => Settings::unusable(path, &text, &error, known),
            },
        }
    }

    fn usable(comment: &str, config: Config) -> Settings {
        Settings { page: format!("{comment}{}", redaction::configuration(&config)), api: config.api }
    }

    /// The error names no value that may be a secret.
    fn unusable(path: &Path, text: &str, error: &str, known: &mut Known) -> Settings {
        let unknown = "stream ids of the running daemon that cannot be read there are not known";
        known.gaps.insert(format!("{} cannot be used, and {unknown}", path.display()));
        Settings { page: commented("it cannot be used", error), api: likely_api(text) }
    }
}

fn commented(what: &str, why: &str) -> String {
    format!("# {what}:\n{}", why.trim_end().lines().map(|line| format!("# {line}\n")).collect::<String>())
}

/// `[api]` of a document that is wrong elsewhere, or itself so far that only its address can be used; else the
/// default.
fn likely_api(text: &str) -> Api {
    let section: Vec<&str> = text
        .lines()
        .skip_while(|line| line.split('#').next().unwrap_or_default().trim() != "[api]")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .collect();
    let addressing = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        ["listen", "token_file", "tls_certificate_file", "tls_key_file"].contains(&key)
    };
    let address: Vec<&str> = section.iter().copied().filter(addressing).collect();
    [format!("[api]\n{}", section.join("\n")), format!("[api]\ninsecure = true\n{}", address.join("\n"))]
        .iter()
        .find_map(|text| parse(text).ok())
        .unwrap_or_else(|| parse("").expect("an empty configuration is one, with defaults"))
        .api
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

    fn is_json(&self) -> bool {
        self.name.ends_with(".json") || self.name.ends_with(".jsonl")
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

/// A day of a daemon that has little to say, and some minutes of one in trouble.
const JOURNAL_LINES: &str = "2000";

/// In bytes: far above what the system's files have.
const LARGEST_FILE: u64 = 64 * 1024;

/// In bytes: what a letter takes along.
const LARGEST_ARCHIVE: u64 = 5_000_000;

/// More than any board has.
const MOST_ZONES: usize = 32;
