//! Judges a received transport stream: by our own checker, and by ffmpeg.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use uplinkd::demo::checker::{Checker, Report};

use crate::harness::{Daemon, Peer, eventually};

/// What the checker says of a whole recording.
pub fn check(recording: &[u8]) -> Report {
    let mut checker = Checker::new();
    checker.feed(Duration::ZERO, recording);
    checker.report(Duration::ZERO)
}

/// The same of a daemon that is told to end, when all that it sent has arrived; it has so long to end in.
pub fn check_drained(daemon: &mut Daemon, peer: &Peer, limit: Duration) -> Report {
    daemon.signal("TERM");
    assert!(daemon.wait(limit).success(), "{}", daemon.log());
    let sent = daemon.logged_number("sent_bytes");
    eventually("everything arrives", Duration::from_secs(4), || peer.received().len() as u64 == sent);
    check(&peer.received())
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
    assert!(audio.sound_frames >= pictures, "{audio:#?}"); // 47 sound frames a second against 30 pictures
}

/// ffmpeg decodes the whole recording, and has nothing to say about it.
pub fn assert_decodes(recording: &Path) {
    let input = recording.to_str().expect("a plain path");
    // Timestamps as they are: in steps of a frame's time, pictures where slate and source meet would share one.
    let as_they_are = ["-fps_mode", "passthrough", "-enc_time_base", "-1"];
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i", input])
        .args(as_they_are)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg runs; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "ffmpeg: {said}");
}

/// The same of what begins with the first key frame after so many bytes: where a receiver could tune in.
pub fn assert_decodes_from(recording: &[u8], bytes: usize) {
    let packets: Vec<&[u8]> = recording.chunks_exact(188).collect();
    let begins = |index: &usize| picture_start(packets[*index]).is_some_and(|(_, is_key)| is_key);
    let first = (bytes / 188..packets.len()).find(begins).expect("there is a further key frame");
    let tables = (0..first).rfind(|index| pid(packets[*index]) == PAT).expect("tables stand before it");
    let file = tempfile::NamedTempFile::with_suffix(".ts").expect("a temporary file");
    std::fs::write(file.path(), packets[tables..].concat()).expect("the recording's end is written");
    assert_decodes(file.path());
}

/// Where a stream goes on after its pictures had paused for at least `pause`: from the tables before
/// the first picture on. That picture must be a key frame with tables right before it.
pub fn resumption(recording: &[u8], pause: Duration) -> &[u8] {
    let packets: Vec<&[u8]> = recording.chunks_exact(188).collect();
    let mut last_pts = None;
    for (index, packet) in packets.iter().enumerate() {
        let Some((pts, is_key)) = picture_start(packet) else { continue };
        let paused = last_pts.replace(pts).is_some_and(|last| pts > last && pts - last >= pause);
        if !paused {
            continue;
        }
        assert!(is_key, "the first picture after the pause is not a key frame");
        let tables: Vec<u16> = packets[index - 2..index].iter().map(|packet| pid(packet)).collect();
        assert_eq!(tables, [PAT, PMT], "no tables right before the first picture");
        return &recording[(index - 2) * 188..];
    }
    panic!("the pictures never paused for {pause:?}");
}

/// PTS and random access of a packet in which a picture begins.
fn picture_start(packet: &[u8]) -> Option<(Duration, bool)> {
    let begins = packet[1] & 0x40 != 0;
    let field = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
    let is_key = field > 1 && packet[5] & 0x40 != 0;
    let pes = packet.get(4 + field..)?;
    if pid(packet) != VIDEO || !begins || pes.get(..3)? != [0, 0, 1] {
        return None;
    }
    let byte = |index: usize| pes.get(index).copied().map(u64::from);
    let pts = (byte(9)? >> 1 & 7) << 30
        | byte(10)? << 22
        | (byte(11)? >> 1) << 15
        | byte(12)? << 7
        | byte(13)? >> 1;
    Some((Duration::from_millis(pts / 90), is_key))
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

const PAT: u16 = 0;
const PMT: u16 = 0x1000;
const VIDEO: u16 = 0x100;
