//! `uplinkd report`: everything that helps, and nothing that is secret.

#![allow(clippy::unwrap_used)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SECRETS: [&str; 3] = ["correct horse battery", "0123456789abcdef0123456789abcdef", "planted"];

#[test]
fn a_report_of_a_running_daemon_has_its_state_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let daemon = Daemon::start(folder.path(), &config);
    let archive = folder.path().join("report.tar.gz");
    let output = report(&config, &archive);
    drop(daemon);
    assert!(output.status.success(), "{output:?}");
    assert!(fs::metadata(&archive).unwrap().len() < 5_000_000);

    let listed = tar(&["-tzf"], &archive);
    for page in [
        "machine.txt",
        "configuration.toml",
        "devices.json",
        "info.json",
        "streams.json",
        "rate-main-studio.json",
    ] {
        assert!(listed.contains(&format!("uplinkd-report/{page}\n")), "no {page} in\n{listed}");
    }
    let text = tar(&["-xzOf"], &archive);
    assert!(text.contains(r#""id":"main""#), "the stream's state is not there");
    assert!(text.contains("x264enc"), "the encoders are not there");
    assert!(text.contains("passphrase_file = ") && text.contains("[redacted]"));
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in it");
    }
}

#[test]
fn a_report_is_made_without_a_daemon_and_over_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let archive = folder.path().join("report.tar.gz");
    assert!(report(&config, &archive).status.success());
    let text = tar(&["-xzOf"], &archive);
    assert!(text.contains("no answer: cannot reach the daemon at unix:"), "{text}");

    let again = report(&config, &archive);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("name another file"), "{again:?}");
}

#[test]
fn mistakes_of_a_configuration_are_reported_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wrong.toml");
    fs::write(&config, "[streams.main]\npassphrase = \"correct horse battery\"\n").unwrap();
    let archive = folder.path().join("report.tar.gz");
    assert!(report(&config, &archive).status.success());
    let text = tar(&["-xzOf"], &archive);
    assert!(text.contains("wrong.toml:2:1: "), "{text}");
    assert!(!text.contains(SECRETS[0]));
}

#[test]
fn with_a_configuration_that_has_become_wrong_the_daemon_is_asked_and_no_secret_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let daemon = Daemon::start(folder.path(), &config);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("nonsense = 1\n{text}")).unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/broker"), "mosquito net\n").unwrap();
    fake(
        folder.path(),
        "journalctl",
        &format!("echo 'a {} b {} c #!::u=admin,k=planted d mosquito net e'", SECRETS[0], SECRETS[1]),
    );
    let archive = folder.path().join("report.tar.gz");
    let output = report(&config, &archive);
    drop(daemon);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("uplinkd.toml cannot be used") && !said.contains("No passphrase"), "{said}");

    let text = tar(&["-xzOf"], &archive);
    assert!(text.contains("a [redacted] b [redacted] c [redacted] d [redacted] e"), "{text}");
    assert!(text.contains(r#""id":"main""#) && text.contains("uplinkd.toml:1:1: "), "{text}");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in it");
    }
    let listed = tar(&["-tzf"], &archive);
    for page in ["info.json", "config.json", "streams.json", "rate-main-studio.json", "maybe-secret.txt"] {
        assert!(listed.contains(&format!("uplinkd-report/{page}\n")), "no {page} in\n{listed}");
    }
}

#[test]
fn what_was_changed_through_the_api_is_in_it_and_its_secrets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let (pass, tried) = (folder.path().join("second.pass"), folder.path().join("tried.pass"));
    fs::write(&pass, "battery staple\n").unwrap();
    fs::write(&tried, "tried and true\n").unwrap();
    let overrides = format!(
        "[streams.second]\nenabled = false\n[[streams.second.outputs]]\nname = \"far\"\nurl = \"srt://127.0.0.1:9\"\n\
         stream_id = \"put-by-the-api\"\npassphrase_file = {pass:?}\n"
    );
    fs::write(folder.path().join("overrides.toml"), &overrides).unwrap();
    let daemon = Daemon::start(folder.path(), &config);
    let unconfirmed = overrides.replace(pass.to_str().unwrap(), tried.to_str().unwrap());
    fs::write(folder.path().join("overrides.toml.unconfirmed"), unconfirmed).unwrap();
    fake(folder.path(), "journalctl", "echo 'a battery staple b put-by-the-api c tried and true d'");
    let archive = folder.path().join("report.tar.gz");
    let output = report(&config, &archive);
    drop(daemon);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("No passphrase, token or stream id is in it"), "{said}");
    let listed = tar(&["-tzf"], &archive);
    assert!(listed.contains("uplinkd-report/rate-second-far.json\n"), "{listed}");
    let text = tar(&["-xzOf"], &archive);
    assert!(text.contains("a [redacted] b [redacted] c [redacted] d"), "{text}");
    assert!(text.contains("[streams.second.") || text.contains("[[streams.second."), "{text}");
}

#[test]
fn a_journal_that_is_too_large_is_cut_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let noise = "head -c 12000000 /dev/urandom | base64 -w 1000; echo the last line";
    fake(folder.path(), "journalctl", noise);
    let archive = folder.path().join("report.tar.gz");
    let output = report(&config, &archive);
    assert!(output.status.success(), "{output:?}");
    let size = fs::metadata(&archive).unwrap().len();
    assert!((1_000_000..=5_000_000).contains(&size), "{size}");
    let journal = tar(&["-xzOf"], &archive);
    assert!(journal.contains("the last line"));
    let left_out = page(&archive, "left-out.txt");
    assert!(left_out.contains("journal.txt: the last ") && !left_out.contains("flight"), "{left_out}");
}

#[test]
fn a_daemon_that_says_nothing_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
    let archive = folder.path().join("report.tar.gz");
    let begun = Instant::now();
    let output = report(&config, &archive);
    assert!(output.status.success(), "{output:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.incoming().map_while(Result::ok).count(), 1);
    assert!(page(&archive, "info.json").starts_with("no answer: the daemon is silent"));
    assert!(page(&archive, "streams.json").starts_with("no answer: the daemon was not asked"));
}

#[test]
fn nothing_is_left_of_an_archive_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let archive = folder.path().join("report.tar.gz");
    fake(folder.path(), "gzip", "head -c 100; echo 'gzip: stdout: No space left on device' >&2; exit 1");
    let output = report(&config, &archive);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!archive.exists(), "a part of it is there");

    fs::remove_file(folder.path().join("bin/gzip")).unwrap();
    let again = report(&config, &archive);
    assert!(again.status.success(), "{again:?}");
}

#[test]
fn a_stream_id_that_is_a_word_breaks_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let text = fs::read_to_string(&config).unwrap().replace("#!::u=admin,k=planted", "state");
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(folder.path(), &config);
    let archive = folder.path().join("report.tar.gz");
    let output = report(&config, &archive);
    drop(daemon);
    assert!(output.status.success(), "{output:?}");
    let streams: serde_json::Value = serde_json::from_str(&page(&archive, "streams.json")).unwrap();
    assert!(streams["items"][0]["state"].is_string(), "{streams}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("a stream id is as short as a word"), "{said}");
}

#[test]
fn a_pipe_and_a_device_are_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path());
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(folder.path().join("studio.pass").to_str().unwrap(), pipe.to_str().unwrap());
    let second = "[[streams.main.outputs]]\nname = \"b\"\nurl = \"srt://127.0.0.2:9\"\npassphrase_file = \"/dev/zero\"\n";
    fs::write(&config, format!("{text}{second}")).unwrap();
    let archive = folder.path().join("report.tar.gz");
    let mut command = reporting(&config, &archive);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > START_LIMIT {
            child.kill().unwrap();
            panic!("it reads without end");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    for path in [pipe.to_str().unwrap(), "/dev/zero"] {
        assert!(said.contains(&format!("cannot read {path}: it is no plain file")), "{said}");
    }
}

/// A stream that is off, with a secret of each kind.
fn configure(folder: &Path) -> std::path::PathBuf {
    let (pass, token) = (folder.join("studio.pass"), folder.join("api.token"));
    fs::write(&pass, format!("{}\n", SECRETS[0])).unwrap();
    fs::write(&token, SECRETS[1]).unwrap();
    let path = folder.join("uplinkd.toml");
    let socket = folder.join("api.sock");
    let text = format!(
        "# a comment with {}\n[api]\nlisten = \"unix:{}\"\ntoken_file = {token:?}\n\n[streams.main]\nenabled = false\n\
         [[streams.main.outputs]]\nname = \"studio\"\nurl = \"srt://127.0.0.1:9\"\nstream_id = \"#!::u=admin,k=planted\"\n\
         passphrase_file = {pass:?}\n",
        SECRETS[0],
        socket.display(),
    );
    fs::write(&path, text).unwrap();
    path
}

fn report(config: &Path, archive: &Path) -> Output {
    reporting(config, archive).output().unwrap()
}

/// Beside the archive are the daemon's state, and programs that stand in for the system's.
fn reporting(config: &Path, archive: &Path) -> Command {
    let folder = archive.parent().unwrap();
    let path = env::var_os("PATH").unwrap();
    let programs = [folder.join("bin")].into_iter().chain(env::split_paths(&path));
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
    command.arg("report").arg(archive).arg("--config").arg(config);
    command
        .env("STATE_DIRECTORY", folder)
        .env("PATH", env::join_paths(programs.collect::<Vec<_>>()).unwrap());
    command
}

/// A program of the system's that does this instead.
fn fake(folder: &Path, name: &str, script: &str) {
    let path = folder.join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn page(archive: &Path, name: &str) -> String {
    let output =
        Command::new("tar").arg("-xzOf").arg(archive).arg(format!("uplinkd-report/{name}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tar(arguments: &[&str], archive: &Path) -> String {
    let output = Command::new("tar").args(arguments).arg(archive).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ends with its test.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path, config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
        command.arg("run").arg("--config").arg(config).env("STATE_DIRECTORY", folder).stderr(Stdio::null());
        let daemon = Daemon(command.spawn().unwrap());
        let begun = Instant::now();
        while !folder.join("api.sock").exists() {
            assert!(begun.elapsed() < START_LIMIT, "the daemon does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait().map(drop)).unwrap();
    }
}

/// GStreamer looks at its plugins first, on a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(60);
