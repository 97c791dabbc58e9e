//! `uplinkd report`: everything that helps, and nothing that is secret.

#![allow(clippy::unwrap_used)]

use std::fs;
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
    Command::new(env!("CARGO_BIN_EXE_uplinkd"))
        .arg("report")
        .arg(archive)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
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
