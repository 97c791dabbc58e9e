//! Judges a received transport stream: by our own checker, and by ffmpeg.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use uplinkd::demo::checker::{Checker, Report};

/// What the checker says of a whole recording.
pub fn check(recording: &[u8]) -> Report {
    let mut checker = Checker::new();
    checker.feed(Duration::ZERO, recording);
    checker.report(Duration::ZERO)
}

/// Nothing is missing, torn or out of order, and there are at least so many pictures, with sound.
pub fn assert_clean(report: &Report, pictures: u64) {
    assert_eq!(report.continuity_errors(), 0, "{report:#?}");
    assert_eq!(
        (report.sync_losses, report.sync_byte_errors, report.transport_errors),
        (0, 0, 0),
        "{report:#?}"
    );
    assert_eq!(report.backward_timestamps(), 0, "{report:#?}");
    let video = report.video.as_ref().expect("a picture track");
    let audio = report.audio.as_ref().expect("a sound track");
    assert!(video.units >= pictures, "{video:#?}");
    assert_eq!((video.damaged, audio.damaged), (0, 0), "{report:#?}");
    assert!(audio.aac_frames >= pictures, "{audio:#?}"); // 47 sound frames a second against 30 pictures
}

/// ffmpeg decodes the whole recording, and has nothing to say about it.
pub fn assert_decodes(recording: &Path) {
    let input = recording.to_str().expect("a plain path");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i", input, "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "ffmpeg: {said}");
}
