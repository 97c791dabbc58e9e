//! Each knob.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::{make, way_of};
use crate::fake_encoders::{self, Pretence, Quirks, Stage, When, pretend_each};
use crate::rig::{Mode, Rig, kbps, keys};

#[test]
fn it_ignores_its_rate_from_then_on() {
    let quirks = Quirks { ignores_bitrate: Some(When::After(60)), ..Quirks::NONE };
    let (_fakes, mut rig) = rig(quirks);
    rig.pictures(30);
    rig.encoder.set_property("bitrate", 400u32);
    rig.pictures(30);
    rig.encoder.set_property("bitrate", 1_200u32);
    let rate = kbps(&rig.pictures(60));
    assert!((320.0..480.0).contains(&rate), "{rate}");
}

#[test]
fn it_gives_more_or_less_than_it_is_told() {
    for (excess, range) in [(1.5, 950.0..1_400.0), (0.5, 320.0..480.0)] {
        let (_fakes, mut rig) = rig(Quirks { excess, ..Quirks::NONE });
        let rate = kbps(&rig.pictures(90)[30..]);
        assert!(range.contains(&rate), "{rate} with {excess}");
    }
}

#[test]
fn it_follows_later() {
    let (_fakes, mut rig) = rig(Quirks { follows_after: Duration::from_millis(400), ..Quirks::NONE });
    rig.pictures(1);
    rig.encoder.set_property("bitrate", 400u32);
    let set = Instant::now();
    rig.pictures(1);
    let told = || fake_encoders::seen(ELEMENT).pop().unwrap().bits_per_second;
    assert!(told() == 800_000 || set.elapsed() > Duration::from_millis(400));
    thread::sleep(Duration::from_millis(450));
    rig.pictures(1);
    assert_eq!(told(), 400_000);
}

#[test]
fn it_answers_each_change_with_a_key_frame() {
    let (_fakes, mut rig) = rig(Quirks { key_frame_each_change: true, ..Quirks::NONE });
    rig.pictures(5);
    rig.encoder.set_property("bitrate", 400u32);
    assert_eq!(keys(&rig.pictures(5)), [0]);
}

#[test]
fn it_stalls() {
    let (_fakes, mut rig) = rig(Quirks { stalls: Some(When::After(20)), ..Quirks::NONE });
    rig.pictures(20);
    rig.push();
    assert!(rig.unit(SHORT).is_none());
    rig.push();
    assert!(rig.unit(SHORT).is_none() && rig.error().is_none());
    let seen = fake_encoders::seen(ELEMENT).pop().unwrap();
    assert_eq!((seen.pictures, seen.units), (22, 20), "they are swallowed");
}

#[test]
fn it_stalls_at_a_time() {
    let (_fakes, mut rig) = rig(Quirks { stalls: Some(When::At(SHORT)), ..Quirks::NONE });
    rig.pictures(2);
    thread::sleep(SHORT);
    rig.push();
    assert!(rig.unit(SHORT).is_none());
}

#[test]
fn it_blocks_until_released() {
    let (fakes, mut rig) = rig(Quirks { blocks: Some(When::After(20)), ..Quirks::NONE });
    rig.pictures(20);
    rig.push();
    rig.push();
    assert!(rig.unit(SHORT).is_none() && rig.error().is_none());
    assert_eq!(fake_encoders::seen(ELEMENT).pop().unwrap().pictures, 21, "the next one waits behind it");
    drop(fakes);
    assert!(rig.unit(SHORT).is_none());
    assert!(rig.error().is_some());
}

#[test]
fn it_fails() {
    let (_fakes, mut rig) = rig(Quirks { fails: Some(When::After(20)), ..Quirks::NONE });
    rig.pictures(20);
    rig.push();
    assert!(rig.unit(SHORT).is_none());
    assert!(rig.error().unwrap().contains("the driver failed"));
}

#[test]
fn it_is_slow() {
    let quirks = Quirks { takes: Duration::from_millis(30), takes_from: When::After(10), ..Quirks::NONE };
    let (_fakes, mut rig) = rig(quirks);
    rig.pictures(10);
    let begin = Instant::now();
    rig.pictures(10);
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[test]
fn its_stream_breaks() {
    let (_fakes, mut rig) = rig(Quirks { corrupts: Some(When::After(20)), ..Quirks::NONE });
    let units = rig.pictures(40);
    let decodes = |units: &[crate::rig::Unit]| decoder_errors(units).is_empty();
    assert!(decodes(&units[..20]), "{}", decoder_errors(&units[..20]));
    assert!(!decodes(&units), "broken slices are no stream");
}

#[test]
fn it_loses_pictures() {
    let (_fakes, mut rig) = rig(Quirks { loses: Some(When::After(10)), ..Quirks::NONE });
    rig.pictures(10);
    let mut lost = 0;
    for _ in 0..10 {
        rig.push();
        lost += usize::from(rig.unit(Duration::from_millis(200)).is_none());
    }
    assert_eq!(lost, 5);
}

#[test]
fn it_hangs_at_a_stage() {
    for stage in [Stage::Creation, Stage::Ready, Stage::FirstPicture, Stage::Stop] {
        let fakes = pretend_each(&[(ELEMENT, Quirks { hangs_at: Some(stage), ..Quirks::NONE })]);
        let (told, heard) = mpsc::channel();
        let life = thread::spawn(move || {
            let encoder = make(ELEMENT, &[]);
            told.send(Stage::Creation).unwrap();
            encoder.set_state(gst::State::Ready).unwrap();
            told.send(Stage::Ready).unwrap();
            encoder.set_state(gst::State::Null).unwrap();
            let mut rig = Rig::new(&encoder, &[], None, Mode::USUAL);
            rig.play();
            rig.push();
            if rig.unit(Duration::from_secs(1)).is_some() {
                told.send(Stage::FirstPicture).unwrap();
            }
            rig.pipeline.set_state(gst::State::Null).unwrap();
            told.send(Stage::Stop).unwrap();
        });
        let order = [Stage::Creation, Stage::Ready, Stage::FirstPicture, Stage::Stop];
        let before = order.iter().position(|other| *other == stage).unwrap();
        for expected in &order[..before] {
            assert_eq!(heard.recv_timeout(Duration::from_secs(5)).unwrap(), *expected, "{stage:?}");
        }
        assert!(heard.recv_timeout(SHORT).is_err(), "{stage:?} was passed");
        drop(fakes);
        life.join().unwrap();
    }
}

#[test]
fn it_takes_the_process_along() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "tests::faults::a_process_with_a_crashing_encoder"])
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(SEGMENTATION_FAULT), "{child:?}");
}

#[test]
#[ignore = "ends its process: run by it_takes_the_process_along"]
fn a_process_with_a_crashing_encoder() {
    let _fakes = pretend_each(&[(ELEMENT, Quirks { crashes_at: Some(Stage::Ready), ..Quirks::NONE })]);
    make(ELEMENT, &[]).set_state(gst::State::Ready).unwrap();
}

fn rig(quirks: Quirks) -> (Pretence, Rig) {
    let fakes = pretend_each(&[(ELEMENT, quirks)]);
    let encoder = way_of(ELEMENT).make(800_000, &[]);
    let rig = Rig::new(&encoder, &[], None, Mode::USUAL);
    rig.play();
    (fakes, rig)
}

/// What ffmpeg says of the stream.
fn decoder_errors(units: &[crate::rig::Unit]) -> String {
    let file = tempfile::NamedTempFile::with_suffix(".h264").unwrap();
    let stream: Vec<u8> = units.iter().flat_map(|unit| unit.data.clone()).collect();
    std::fs::write(file.path(), stream).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "error", "-i"])
        .arg(file.path())
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One whose rate changes cost nothing.
const ELEMENT: &str = "qsvh264enc";

const SHORT: Duration = Duration::from_millis(400);

/// SIGSEGV.
const SEGMENTATION_FAULT: i32 = 11;
