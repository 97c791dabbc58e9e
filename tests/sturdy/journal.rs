//! What the journal gets, seen by a journal of the test's own.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::apart::apart;
use crate::harness::{Daemon, free_port, test_stream};

type Entry = BTreeMap<String, String>;

/// Makes the program believe that its standard error is the journal's, which is the test's.
const BELIEVES: &str = "mount -t tmpfs none /run; mkdir -p /run/systemd; ln -s JOURNAL /run/systemd/journal
                        JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr); export JOURNAL_STREAM
                        exec \"$0\" \"$@\"";

struct Journal {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Journal {
    fn new() -> Journal {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(folder.path().join("socket")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        Journal { socket, folder }
    }

    fn believed(&self) -> Option<Command> {
        apart("-rm", &BELIEVES.replace("JOURNAL ", &format!("{} ", self.folder.path().display())))
    }

    /// The first entry that is this one.
    fn entry(&self, what: &str, is_it: impl Fn(&Entry) -> bool) -> Entry {
        let (since, mut seen) = (Instant::now(), Vec::new());
        let mut datagram = vec![0; 1 << 18];
        while since.elapsed() < Duration::from_secs(20) {
            if let Ok(length) = self.socket.recv(&mut datagram) {
                let entry = parse(&datagram[..length]);
                if is_it(&entry) {
                    return entry;
                }
                seen.push(entry);
            }
        }
        panic!("no {what} among {seen:#?}");
    }
}

/// systemd's native protocol: `NAME=value`, or the name alone, eight bytes of length and the value.
fn parse(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            entry.insert(name.to_owned(), value.to_owned());
        } else {
            let (length, rest) = bytes.split_at(8);
            let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            entry.insert(line, String::from_utf8_lossy(&rest[..length]).into_owned());
            bytes = &rest[length + 1..];
        }
    }
    entry
}

/// The subject of its explanation.
fn subject(id: &str) -> String {
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/uplinkd.catalog");
    let catalogue = std::fs::read_to_string(catalogue).expect("the catalogue is there");
    let (_, entry) =
        catalogue.split_once(&format!("-- {id}\nSubject: ")).unwrap_or_else(|| panic!("no {id}"));
    entry.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn entries_have_fields_and_the_ids_of_their_explanations() {
    let journal = Journal::new();
    let Some(command) = journal.believed() else { return };
    let daemon = Daemon::start_as(command, &test_stream(free_port(), 300, ""));
    let of = |event: &'static str, state: &'static str| {
        move |entry: &Entry| {
            entry.get("UPLINKD_EVENT").is_some_and(|it| it == event)
                && entry.get("UPLINKD_STATE").is_some_and(|it| it == state)
        }
    };
    let ready = journal.entry("ready", |entry| entry.get("UPLINKD_EVENT").is_some_and(|it| it == "ready"));
    assert_eq!(subject(&ready["MESSAGE_ID"]), "uplinkd is ready");
    assert!(ready["UPLINKD_API"].starts_with("http://127.0.0.1:"), "{ready:?}");
    // Nobody listens there.
    let output = journal.entry("lost output", of("output_state", "backing_off"));
    assert_eq!(
        subject(&output["MESSAGE_ID"]),
        "Output @UPLINKD_OUTPUT@ of stream @UPLINKD_STREAM@ has no connection"
    );
    assert_eq!((output["UPLINKD_STREAM"].as_str(), output["UPLINKD_OUTPUT"].as_str()), ("main", "studio"));
    assert_eq!((output["PRIORITY"].as_str(), output["SYSLOG_IDENTIFIER"].as_str()), ("4", "uplinkd"));
    assert!(
        !output["UPLINKD_REASON"].is_empty() && output["MESSAGE"] == "output has no connection",
        "{output:?}"
    );
    daemon.act("stop");
    let stopped = journal.entry("stop", of("stream_state", "stopped"));
    assert_eq!(stopped.get("MESSAGE_ID"), None, "nobody has to act upon that: {stopped:?}");
}

#[test]
fn a_start_that_fails_is_in_the_journal_too() {
    let journal = Journal::new();
    let Some(mut command) = journal.believed() else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("uplinkd.toml");
    std::fs::write(&config, "[streams.main.video]\nwidht = 7\nheight = 7\n").expect("written");
    let output =
        command.args(["run", "--config"]).arg(&config).env("STATE_DIRECTORY", folder.path()).output();
    let output = output.expect("uplinkd runs");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(78), ""));
    let entry = journal.entry("refusal", |entry| entry.get("PRIORITY").is_some_and(|it| it == "3"));
    assert_eq!(subject(&entry["MESSAGE_ID"]), "uplinkd does not start: its configuration is wrong");
    assert!(entry["MESSAGE"].contains("widht") && entry["MESSAGE"].contains("height"), "{entry:?}");
}

#[test]
fn every_id_has_its_explanation_and_every_explanation_its_message() {
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/uplinkd.catalog");
    let text = std::fs::read_to_string(&catalogue).expect("the catalogue is there");
    let mut explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
    let mut ids: Vec<&str> = uplinkd::telemetry::message_ids().collect();
    explained.sort_unstable();
    ids.sort_unstable();
    assert_eq!(explained, ids);

    let root = tempfile::tempdir().expect("a temporary directory");
    for folder in ["usr/lib/systemd/catalog", "var/lib/systemd/catalog"] {
        std::fs::create_dir_all(root.path().join(folder)).expect("the folder is made");
    }
    std::fs::copy(&catalogue, root.path().join("usr/lib/systemd/catalog/uplinkd.catalog")).expect("copied");
    let journalctl = |argument: &str| {
        let mut command = Command::new("journalctl");
        command.arg(format!("--root={}", root.path().display())).arg(argument).output()
    };
    let Ok(updated) = journalctl("--update-catalog") else {
        return eprintln!("not checked: there is no journalctl here");
    };
    assert!(updated.status.success(), "{}", String::from_utf8_lossy(&updated.stderr));
    let listed = journalctl("--list-catalog").expect("journalctl runs");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), ids.len());
}
