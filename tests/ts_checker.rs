//! The transport stream checker against a multiplexer that is not GStreamer's: ffmpeg's.

#![allow(clippy::unwrap_used)] // Clippy excuses tests, but not the functions they share.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use uplinkd::demo::checker::{Checker, Codec, Report};

/// Runs a tool of the ffmpeg package and returns what it printed.
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(["-v", "error"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs the package ffmpeg: {tool}: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn clip(path: &Path, video: &[&str]) {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"];
    let tone = ["-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let sound = ["-c:a", "aac", "-b:a", "96k", "-t", "4", "-f", "mpegts", "-y", path.to_str().unwrap()];
    run("ffmpeg", &[&picture[..], &tone, video, &sound].concat());
}

fn check(bytes: &[u8]) -> Report {
    let mut checker = Checker::new();
    bytes.chunks(1316).for_each(|piece| checker.feed(Duration::ZERO, piece));
    checker.report(Duration::ZERO)
}

/// Packets of a track, and key frames among them, as ffprobe counts them.
fn packets(path: &Path, track: &str) -> (u64, u64) {
    let list = run(
        "ffprobe",
        &[
            "-select_streams",
            track,
            "-show_entries",
            "packet=flags",
            "-of",
            "csv=p=0",
            path.to_str().unwrap(),
        ],
    );
    let lines = || list.lines().filter(|line| !line.is_empty());
    (lines().count() as u64, lines().filter(|line| line.starts_with('K')).count() as u64)
}

#[test]
fn counts_what_ffprobe_counts_and_finds_no_defect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.ts");
    let cases: [(&[&str], Codec, bool); 2] = [
        (
            &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"],
            Codec::H264,
            false,
        ),
        (&["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "50"], Codec::H264, true),
    ];
    for (arguments, codec, reordered) in cases {
        clip(&path, arguments);
        let bytes = std::fs::read(&path).unwrap();
        let report = check(&bytes);
        let (video, audio) = (report.video.unwrap(), report.audio.unwrap());
        assert_eq!((video.codec, audio.codec), (codec, Codec::Aac));
        assert_eq!((video.units, video.keys), packets(&path, "v"));
        assert_eq!(audio.sound_frames, packets(&path, "a").0);
        assert_eq!((video.pts_backwards > 0, video.dts_backwards), (reordered, 0));
        assert_eq!(video.longest_step, Duration::from_millis(40));
        assert_eq!(video.damaged + audio.damaged + video.unreadable + audio.unreadable, 0);
        assert_eq!(report.continuity_errors() + report.sync_losses + report.backward_timestamps(), 0);
        assert_eq!(report.packets * 188, bytes.len() as u64);
        assert!(report.clock.references > 30 && report.clock.too_long == 0, "{:?}", report.clock);
    }
}

#[test]
fn finds_the_packets_that_are_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.ts");
    clip(&path, &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]);
    let mut bytes = std::fs::read(&path).unwrap();
    // Four messages of SRT, a second or so apart.
    for place in [4, 3, 2, 1] {
        let at = bytes.len() / 5 / 188 * 188 * place;
        bytes.drain(at..at + 1316);
    }
    let report = check(&bytes);
    assert!((4..=12).contains(&report.continuity_errors()), "{report:?}");
    assert_eq!(report.pids.values().map(|pid| pid.missing_at_least).sum::<u64>(), 28);
    assert_eq!(report.sync_losses + report.sync_byte_errors, 0);
    assert!((1..=8).contains(&report.video.unwrap().damaged), "{report:?}");
}
