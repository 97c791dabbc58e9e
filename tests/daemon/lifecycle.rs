//! Start, reload, refusal, end.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, make_pipe, test_stream};
use crate::ts::{assert_clean, assert_decodes, check};

/// Everything that was encoded after the first key frame arrives, though the end comes in the middle of it.
fn ends_in_order(signal: &str) {
    let port = free_port();
    let peer = Peer::srt_live_transmit(port, "");
    let mut daemon = Daemon::start(&test_stream(port, 1000, ""));
    daemon.wait_for("streaming", Duration::from_secs(10));
    std::thread::sleep(Duration::from_secs(3));
    let before = daemon.status();
    daemon.signal(signal);
    let exit = daemon.wait(Duration::from_secs(3)); // the latency and two seconds
    assert_eq!(exit.code(), Some(0), "{}", daemon.log());
    assert!(!daemon.log().contains("stalled"), "what ends is not stalled\n{}", daemon.log());
    let sent = daemon.logged_number("sent_bytes");
    eventually(&format!("all {sent} bytes arrive\n{}", daemon.log()), Duration::from_secs(4), || {
        peer.received().len() as u64 == sent
    });
    assert_eq!(daemon.logged_number("late_packets"), 0);
    let report = check(&peer.received());
    assert_clean(&report, 80);
    // What the encoder had made when it was stopped is in it, but for the frames before the connection.
    let frames = before["encoder"]["frames"].as_u64().expect("frames");
    let units = report.video.expect("a picture track").units;
    assert!(units + 25 >= frames, "{units} of {frames} frames before the signal");
    assert_decodes(peer.recording());
}

#[test]
fn sigterm_drains() {
    calmly(3, || {
        ends_in_order("TERM");
    });
}

#[test]
fn sigint_drains() {
    calmly(3, || {
        ends_in_order("INT");
    });
}

#[test]
fn a_bad_reload_is_refused_and_what_runs_goes_on() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        let frames = daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        daemon.reload(&test_stream(port, 300, "latency = 3\nname = 7"));
        eventually("the refusal is logged", Duration::from_secs(5), || {
            daemon.log().contains("reload refused")
        });
        let log = daemon.log();
        assert!(log.contains("latency_ms"), "the fix is named: {log}");
        let status = daemon.status();
        assert_eq!(status["state"], "streaming");
        assert_eq!(status["outputs"][0]["connections"], 1);
        assert!(status["encoder"]["frames"].as_u64().expect("frames") >= frames, "the same encoder goes on");
        assert_eq!(check(&peer.received()).continuity_errors(), 0);
    });
}

#[test]
fn a_reload_touches_what_it_changes_and_nothing_else() {
    calmly(3, || {
        let (first, second) = (free_port(), free_port());
        let one = Peer::srt_live_transmit(first, "");
        let two = Peer::srt_live_transmit(second, "");
        let daemon = Daemon::start(&test_stream(first, 1000, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        let backup = format!(
            "[[streams.main.outputs]]\nname = \"backup\"\nurl = \"srt://127.0.0.1:{second}\"\nlatency_ms = 1000\n"
        );
        daemon.reload(&test_stream(first, 1000, &backup));
        eventually(&format!("both stream\n{}", daemon.log()), Duration::from_secs(10), || {
            let status = daemon.status();
            status["outputs"].as_array().is_some_and(|outputs| {
                outputs.len() == 2 && outputs.iter().all(|output| output["state"] == "streaming")
            })
        });
        assert_eq!(daemon.status()["outputs"][0]["connections"], 1, "the first output was left alone");
        let before = daemon.status()["encoder"]["frames"].as_u64().expect("frames");
        let target = || daemon.status()["encoder"]["target_bps"].as_u64().expect("a target");
        eventually("the link proves wide", Duration::from_secs(5), || target() > 800_000);
        let slower = test_stream(first, 1000, &backup)
            .replace("start_kbps = 1000", "start_kbps = 500")
            .replace("max_kbps = 2000", "max_kbps = 600");
        daemon.reload(&slower);
        eventually("the new bound is the target", Duration::from_secs(5), || target() <= 600_000);
        assert!(daemon.status()["encoder"]["frames"].as_u64().expect("frames") >= before, "the same encoder");
        eventually("the encoder follows", Duration::from_secs(10), || {
            daemon.status()["encoder"]["encoded_bps"].as_u64().is_some_and(|bps| bps < 700_000)
        });
        std::thread::sleep(Duration::from_millis(1500));
        for peer in [one, two] {
            let report = check(&peer.received());
            let log = daemon.log();
            assert_eq!(
                (report.continuity_errors(), report.backward_timestamps()),
                (0, 0),
                "{report:#?}\n{log}"
            );
        }
    });
}

#[test]
fn two_outputs_do_not_disturb_each_other() {
    calmly(3, || {
        let (good, dead) = (free_port(), free_port());
        let peer = Peer::srt_live_transmit(good, "");
        let second = format!(
            "[[streams.main.outputs]]\nname = \"nobody\"\nurl = \"srt://127.0.0.1:{dead}\"\nlatency_ms = 300\n"
        );
        let daemon = Daemon::start(&test_stream(good, 1000, &second));
        daemon.wait_for("degraded", Duration::from_secs(10));
        std::thread::sleep(Duration::from_secs(5));
        let status = daemon.status();
        assert_eq!(status["outputs"][0]["state"], "streaming", "{status:#}");
        let reason = status["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("nobody"), "{status:#}");
        assert_clean(&check(&peer.received()), 90);
    });
}

#[test]
fn wrong_configurations_end_with_78_and_all_their_errors() {
    calmly(3, || {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("wrong.toml");
        std::fs::write(&path, "[streams.main.video]\nwidht = 1280\nframerate = \"fast\"\n").expect("written");
        for command in ["run", "check-config"] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
            let program =
                if command == "run" { program.args(["run", "--config"]) } else { program.arg(command) };
            let output = program.arg(&path).output().expect("uplinkd runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{said}");
            assert!(said.contains(":2:") && said.contains("width"), "{said}");
            assert!(said.contains(":3:") && said.contains("framerate"), "{said}");
        }
    });
}

#[test]
fn check_config_looks_at_the_machine_too() {
    calmly(3, || {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("uplinkd.toml");
        let check = |source: &str| {
            let with_source = test_stream(9000, 300, "").replacen("source = \"test\"", source, 1);
            std::fs::write(&path, with_source).expect("written");
            let output = Command::new(env!("CARGO_BIN_EXE_uplinkd"))
                .arg("check-config")
                .arg(&path)
                .output()
                .expect("it runs");
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8_lossy(&said).into_owned())
        };
        assert_eq!(check("source = \"test\"").0, Some(0));
        let pipe = directory.path().join("pipe.mp4");
        make_pipe(&pipe);
        for (source, key, message) in [
            ("source = \"file\"\npath = \"/nowhere.mp4\"".to_owned(), "path", "/nowhere.mp4"),
            (format!("source = \"file\"\npath = {pipe:?}"), "path", "pipe.mp4 is a pipe, and no file; write"),
            (
                format!("source = \"file\"\npath = {:?}", directory.path()),
                "path",
                " is a folder, and no file",
            ),
            (
                format!("source = \"test\"\nslate = {pipe:?}"),
                "slate",
                "pipe.mp4 is a pipe, and no file; write",
            ),
            (
                "source = \"v4l2\"\nedid_file = \"/dev/zero\"".to_owned(),
                "edid_file",
                "/dev/zero is a device, and no file; write the path of an EDID",
            ),
        ] {
            let (code, said) = check(&source);
            assert_eq!(code, Some(78), "{said}");
            let is_it = |line: &str| {
                line.contains(&format!(": streams.main.video.{key}: ")) && line.contains(message)
            };
            assert!(said.lines().any(is_it), "{key}, {message}: {said}");
        }
    });
}

#[test]
fn check_config_warns_of_a_sound_input_that_is_not_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("uplinkd.toml");
    let check = |device: &str| {
        let sound = format!("[streams.main.audio]\nsource = \"alsa\"\ndevice = \"{device}\"");
        let file = test_stream(9000, 300, "");
        let file = file.replace("[streams.main.audio]\nsource = \"test\"", &sound);
        std::fs::write(&path, &file).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_uplinkd"))
            .arg("check-config")
            .arg(&path)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        let line = file.lines().position(|line| line.starts_with("device = ")).expect("a line") + 1;
        (said, format!("uplinkd.toml:{line}:10: warning: streams.main.audio.device: "))
    };
    for absent in ["hw:CARD=Nope", "hw:31,0"] {
        let (said, warning) = check(absent);
        assert!(said.contains(&format!("{warning}ALSA lists no sound input {absent}; plug it in")), "{said}");
    }
    let (said, _) = check("default");
    assert!(!said.contains("audio.device"), "it is not known before it is opened: {said}");
}

#[test]
fn a_reload_that_hangs_stops_neither_the_watchdog_nor_the_end() {
    calmly(3, || {
        let told = Told::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
        command.env("NOTIFY_SOCKET", told.path()).env("WATCHDOG_USEC", "900000");
        let mut daemon = Daemon::start_as(command, "");
        let file = daemon.configuration();
        let text = std::fs::read_to_string(&file).expect("it is read");
        std::fs::remove_file(&file).expect("it is removed");
        make_pipe(&file);

        daemon.signal("HUP");
        told.await_all(&["RELOADING=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"], "READY=1");
        std::fs::write(&file, &text).expect("the pipe is read");
        told.await_all(&["READY=1"], "STOPPING=1");

        daemon.signal("HUP");
        told.await_all(&["RELOADING=1"], "STOPPING=1");
        daemon.signal("TERM");
        told.await_all(&["STOPPING=1"], "READY=1");
        std::fs::write(&file, &text).expect("the pipe is read");
        assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0), "{}", daemon.log());
    });
}

/// What a daemon tells systemd.
struct Told {
    folder: TempDir,
    lines: mpsc::Receiver<String>,
}

impl Told {
    fn new() -> Told {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let (tell, lines) = mpsc::channel();
        // All the time: who tells waits where the socket is full. It ends when its test has.
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                if text.lines().any(|line| tell.send(line.to_owned()).is_err()) {
                    return;
                }
            }
        });
        Told { folder, lines }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Waits for these lines, one after the other; the other one must not come before. What was told at the start is
    /// passed over.
    fn await_all(&self, wanted: &[&str], never: &str) {
        let mut begun = false;
        for wanted in wanted {
            loop {
                let line = self.lines.recv_timeout(Duration::from_secs(10));
                let line = line.unwrap_or_else(|_| panic!("{wanted} is not told"));
                assert!(!begun || line != never, "{never} is told before {wanted}");
                if line == *wanted {
                    begun = true;
                    break;
                }
            }
        }
    }
}
