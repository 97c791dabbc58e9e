//! Encoders that fail while they are on air, and the stream that does not.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use uplinkd::demo::checker::TrackReport;

use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, eventually_or, free_port, test_stream};
use crate::ts::{assert_clean, assert_decodes, assert_decodes_from, check_drained};

/// A second without picture is a stall, and half of it what is left for the swap.
const SWAP: Duration = Duration::from_secs(2);

/// A second sample that is decoded in its turn: half a second of pictures, and a child process, which has to wait
/// for whatever else the machine does.
const PROOF: Duration = Duration::from_secs(10);

#[test]
fn a_stalled_encoder_is_replaced_on_air() {
    in_turn(|| {
        survives("stall_after=150", "gave nothing for 1 s", SWAP, Lost::AtMostOneBeyondTheGap);
    });
}

#[test]
fn one_whose_driver_blocks_is_replaced_on_air() {
    in_turn(|| {
        survives("block_after=150", "gave nothing for 1 s", SWAP, Lost::AtMostOneBeyondTheGap);
    });
}

#[test]
fn one_that_reports_an_error_is_replaced_on_air() {
    in_turn(|| {
        survives("error_after=150", "vah264enc: ", SWAP, Lost::AtMostOne);
    });
}

#[test]
fn one_that_gives_far_too_much_is_replaced_on_air() {
    in_turn(|| {
        let late = Duration::from_secs(15);
        survives("excess=3,excess_after=10", "ignores its target", late, Lost::AtMostOne);
    });
}

#[test]
fn one_whose_pictures_break_is_replaced_on_air() {
    in_turn(|| {
        breaks("corrupt_after=60", "a sample of the stream was not decoded", "avdec_h264 does not decode it");
    });
}

#[test]
fn one_that_loses_pictures_is_replaced_on_air() {
    in_turn(|| {
        breaks("lose_after=60", "encoder gives a broken stream", "pictures are missing that others refer to");
    });
}

#[test]
fn one_that_hangs_when_it_is_opened_costs_a_limit_and_a_reason() {
    in_turn(|| {
        for stage in ["ready", "first"] {
            let (daemon, _peer) = streaming("vaapi", &format!("vah264enc:hang={stage};vapostproc"));
            let element = eventually_or(Duration::from_secs(12), || in_use(&daemon) == "x264enc");
            assert!(element.is_some(), "{stage}: {:#}\n{}", daemon.status(), daemon.log());
            daemon.wait_for("degraded", Duration::from_secs(10));
            assert!(demoted(&daemon).contains("vah264enc"), "{:#}", daemon.status());
        }
    });
}

#[test]
fn a_probe_that_crashes_costs_a_reason_and_nothing_else() {
    in_turn(|| {
        let (daemon, _peer) = streaming("auto", "vah264enc:crash=first;vapostproc");
        let streams = eventually_or(Duration::from_secs(60), || daemon.state() == "streaming");
        assert!(streams.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
        assert_eq!(in_use(&daemon), "x264enc");
        assert!(demoted(&daemon).contains("crashed"), "{:#}", daemon.status());
    });
}

/// The driver hangs for good; the receiver has a picture long before that is certain.
#[test]
fn a_probe_that_hangs_costs_its_limit_and_no_picture_meanwhile() {
    in_turn(|| {
        let (daemon, _peer) = streaming("auto", "vah264enc:hang=creation;vapostproc");
        let took = daemon.wait_for("streaming", Duration::from_secs(12));
        assert_eq!(in_use(&daemon), "x264enc");
        let reason = daemon.status()["encoder"]["reason"].to_string();
        assert!(reason.contains("vah264enc: its probe takes more than 4 s"), "{took:?}: {reason}");
        eventually("the probe ends", Duration::from_secs(12), || {
            demoted(&daemon).contains("vah264enc: the probe gave no answer within 10 s and was killed")
        });
        // A busy machine may have other troubles.
        let status = daemon.status();
        assert!(in_use(&daemon) == "x264enc" && !contains(&status["reason"], "vah264enc"), "{status:#}");
    });
}

#[test]
fn a_probe_that_takes_long_and_passes_gives_the_stream_to_hardware() {
    in_turn(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let probed = directory.path().join("fakes");
        std::fs::write(&probed, "slowly vah264enc;vapostproc").expect("it is written");
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let stream = test_stream(port, 1000, "").replacen("encoder = \"software\"", "encoder = \"auto\"", 1);
        let daemon = Daemon::start_with_probed_fakes("vah264enc;vapostproc", &probed, &stream);
        daemon.wait_for("streaming", Duration::from_secs(12));
        assert_eq!(in_use(&daemon), "x264enc", "{:#}", daemon.status());
        let taken = eventually_or(Duration::from_secs(20), || in_use(&daemon) == "vah264enc");
        assert!(taken.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
        eventually("all is well", Duration::from_secs(5), || daemon.state() == "streaming");
        assert_eq!(demoted(&daemon), "[]");
    });
}

#[test]
#[ignore = "make lab: 80 s"]
fn hardware_of_h265_that_is_refused_is_probed_again_and_taken_when_it_passes() {
    in_turn(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let probed = directory.path().join("fakes");
        std::fs::write(&probed, "vah265enc:crash=first;vapostproc").expect("it is written");
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let stream = test_stream(port, 1000, "");
        let stream = stream.replacen("encoder = \"software\"", "encoder = \"auto\"\ncodec = \"h265\"", 1);
        let daemon = Daemon::start_with_probed_fakes("vah265enc;vapostproc", &probed, &stream);
        daemon.wait_for("backing_off", Duration::from_secs(15));
        let status = daemon.status();
        assert!(contains(&status["reason"], "vah265enc: the probe crashed (SIGSEGV)"), "{status:#}");
        std::fs::write(&probed, "vah265enc;vapostproc").expect("it is written");
        daemon.wait_for("streaming", Duration::from_secs(90));
        assert_eq!(in_use(&daemon), "vah265enc");
        assert_eq!(demoted(&daemon), "[]");
    });
}

#[test]
fn an_encoder_that_is_named_and_not_here_is_told_of_and_another_one_takes_its_place() {
    in_turn(|| {
        let (daemon, _peer) = streaming("vaapi", "none");
        daemon.wait_for("degraded", Duration::from_secs(20));
        assert_eq!(in_use(&daemon), "x264enc");
        let status = daemon.status();
        assert!(contains(&status["reason"], "encoder: vah264lpenc: "), "{status:#}");
        assert!(contains(&status["encoder"]["reason"], "vah264enc: "), "{status:#}");
    });
}

#[test]
fn a_successor_that_hangs_costs_a_second_where_there_is_another() {
    in_turn(|| {
        let (daemon, _peer) =
            streaming("vaapi", "vah264lpenc:stall_after=150;vah264enc:hang=ready;vapostproc");
        daemon.wait_for("streaming", Duration::from_secs(15));
        assert_eq!(in_use(&daemon), "vah264lpenc", "{:#}", daemon.status());
        let (mut frames, mut moved, mut longest) = (0, Instant::now(), Duration::ZERO);
        let swapped = eventually_or(Duration::from_secs(40), || {
            let encoder = daemon.status()["encoder"].clone();
            let (element, reason) = (encoder["element"].to_string(), encoder["reason"].to_string());
            assert!(!element.contains("lpenc") || !reason.starts_with("\"x264enc"), "{element}: {reason}");
            let now = encoder["frames"].as_u64().unwrap_or_default();
            if now != frames {
                longest = longest.max(moved.elapsed());
                (frames, moved) = (now, Instant::now());
            }
            element.contains("x264enc")
        });
        assert!(swapped.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
        assert!(longest < Duration::from_secs(3), "{longest:?} without picture\n{}", daemon.log());
        assert!(demoted(&daemon).contains("vah264enc is not ready after 1 s"), "{:#}", daemon.status());
        eventually("the thread is told of", Duration::from_secs(2), || {
            daemon.status()["encoder"]["hung_threads"] == 1
        });
    });
}

/// The daemon answers and obeys while an encoder's driver hangs in its first start.
#[test]
fn a_stream_is_stopped_while_its_encoder_hangs() {
    in_turn(|| {
        let (daemon, _peer) = streaming("vaapi", "vah264enc:hang=ready;vapostproc");
        daemon.wait_for("starting", Duration::from_secs(2));
        assert_eq!(daemon.act("stop"), 202);
        let took = eventually_or(Duration::from_secs(2), || {
            daemon.status()["reason"].to_string().contains("stopped")
        });
        assert!(took.is_some(), "{:#}", daemon.status());
        daemon.wait_for("stopped", Duration::from_secs(6));
    });
}

/// What a failing encoder may cost of the pictures on air.
#[derive(Clone, Copy)]
enum Lost {
    /// One: it told at once, or goes on until its successor takes over.
    AtMostOne,
    /// One beyond those that came in the gap that the receiver sees: it was stuck with them.
    AtMostOneBeyondTheGap,
}

impl Lost {
    /// By what the daemon counted at its encoders, until one failed and in all, and by what the receiver got. What
    /// a machine that was too busy before already drops is not the failing one's.
    fn assert(self, before: &Value, encoder: &Value, video: &TrackReport) {
        let counted = |encoder: &Value, name: &str| encoder[name].as_u64().expect("a number");
        let keeps_up = counted(before, "dropped_frames") == 0;
        let dropped = if keeps_up { counted(encoder, "dropped_frames") } else { 0 };
        let lost = counted(encoder, "lost_frames") + dropped;
        let in_gap = (video.longest_step.as_secs_f64() * 30.0).round() as u64 - 1;
        let allowed = match self {
            Lost::AtMostOne => 1,
            Lost::AtMostOneBeyondTheGap => in_gap + 1,
        };
        assert!(lost <= allowed, "{lost} lost, {in_gap} missing at once: {encoder:#}");
    }
}

/// Streams with a fake VA encoder that goes wrong so, and looks at what the receiver got.
fn survives(knobs: &str, reason: &str, within: Duration, lost: Lost) {
    let (mut daemon, peer) = streaming("vaapi", &format!("vah264enc:{knobs};vapostproc"));
    daemon.wait_for("streaming", Duration::from_secs(15));
    assert_eq!(in_use(&daemon), "vah264enc", "{:#}", daemon.status());
    let (mut before, mut moved) = (Value::Null, Instant::now());
    let swapped = eventually_or(Duration::from_secs(40), || {
        let encoder = daemon.status()["encoder"].clone();
        if encoder["element"] == "vah264enc" && encoder["frames"] != before["frames"] {
            (before, moved) = (encoder.clone(), Instant::now());
        }
        encoder["element"] == "x264enc"
    });
    assert!(swapped.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
    assert!(moved.elapsed() < within, "{:?} without picture", moved.elapsed());
    assert_demoted_for(&daemon, reason);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemon.status()["outputs"][0]["connections"], 1);
    let encoder = daemon.status()["encoder"].clone();
    let report = check_drained(&mut daemon, &peer, Duration::from_secs(8));
    assert_clean(&report, 120);
    let video = report.video.expect("a picture track");
    assert!(video.longest_step < within + Duration::from_millis(500), "{video:#?}");
    lost.assert(&before, &encoder, &video);
    assert_decodes(peer.recording());
}

/// Streams with a fake VA encoder that soon gives no stream any more, though as much as ever, and looks at how
/// soon it is replaced once that is found, and at what the receiver got.
fn breaks(knobs: &str, found: &str, reason: &str) {
    let (mut daemon, peer) = streaming("vaapi", &format!("vah264enc:{knobs};vapostproc"));
    daemon.wait_for("streaming", Duration::from_secs(15));
    let is_found = eventually_or(Duration::from_secs(25), || daemon.log().contains(found));
    assert!(is_found.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
    let swapped = eventually_or(PROOF + SWAP, || in_use(&daemon) == "x264enc");
    assert!(swapped.is_some(), "{:#}\n{}", daemon.status(), daemon.log());
    assert_demoted_for(&daemon, reason);
    std::thread::sleep(Duration::from_millis(1500)); // the receiver holds back what it gets for a second
    let broken = peer.received().len();
    std::thread::sleep(Duration::from_secs(3)); // in which there is a key frame

    let status = daemon.status();
    assert_eq!(status["outputs"][0]["connections"], 1);
    assert!(status["encoder"]["lost_frames"].as_u64().is_some_and(|lost| lost <= 1), "{status:#}");
    let report = check_drained(&mut daemon, &peer, Duration::from_secs(8));
    assert_clean(&report, 120);
    assert_decodes_from(&peer.received(), broken);
}

/// The stream goes on, and says what was wrong with its first encoder.
fn assert_demoted_for(daemon: &Daemon, reason: &str) {
    eventually("the stream says why", Duration::from_secs(5), || {
        let status = daemon.status();
        let encoder = &status["encoder"];
        status["state"] == "degraded"
            && contains(&status["reason"], reason)
            && contains(&encoder["reason"], reason)
            && contains(&encoder["demoted"][0]["reason"], reason)
    });
    assert!(daemon.log().contains("encoder is replaced"), "{}", daemon.log());
}

fn streaming(encoder: &str, fakes: &str) -> (Daemon, Peer) {
    let port = free_port();
    let peer = Peer::srt_live_transmit(port, "");
    let stream = test_stream(port, 1000, "");
    // Of a smaller picture no encoder makes much more than it is told.
    let stream = stream.replacen("width = 320\nheight = 180", "width = 640\nheight = 360", 1);
    let stream = stream.replacen("encoder = \"software\"", &format!("encoder = \"{encoder}\""), 1);
    (Daemon::start_with_fakes(fakes, &stream), peer)
}

/// What an encoder and its probes take of the machine is part of what is tested: two of these tests at a time, and
/// again what fails on a machine that is busy.
fn in_turn(test: impl Fn()) {
    let _turn = Turn::wait();
    calmly(3, test);
}

struct Turn;

impl Turn {
    fn wait() -> Turn {
        let mut running = Turn::running();
        while *running == 2 {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Turn
    }

    fn running() -> MutexGuard<'static, usize> {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *Turn::running() -= 1;
        ENDED.notify_one();
    }
}

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

fn in_use(daemon: &Daemon) -> String {
    daemon.status()["encoder"]["element"].as_str().unwrap_or_default().to_owned()
}

fn demoted(daemon: &Daemon) -> String {
    daemon.status()["encoder"]["demoted"].to_string()
}

fn contains(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}
