//! The sound of a stream, from its source to what a decoder makes of it: codecs, controls on air, and how far
//! it is from the picture.
//!
//! Each test runs for a few seconds of real time.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calm;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use uplinkd::config::{self, Stream};
use uplinkd::demo::alignment::Alignment;
use uplinkd::demo::checker::{self, Checker};
use uplinkd::demo::decode::Decoder;
use uplinkd::media::{self, Capture, Encode, Mux, Track, Tracks, Unit};

/// Milliseconds. 20 are promised; but a constant offset of 5 would be an error of ours.
const NEAR: f64 = 5.0;

#[test]
fn picture_and_sound_arrive_together_or_as_far_apart_as_was_asked() {
    let _alone = alone();
    let each = [("aac", checker::Codec::Aac), ("opus", checker::Codec::Opus)];
    thread::scope(|scope| {
        for (name, codec) in each {
            scope.spawn(move || arrives_as_asked(name, codec));
        }
    });
}

fn arrives_as_asked(name: &str, codec: checker::Codec) {
    let mut plain = 0.0;
    for offset in [0, 150, -120] {
        let (found, report) = steady(&format!("codec = '{name}'\noffset_ms = {offset}"));
        println!("{name}, {offset} ms: {found:?}");
        if offset == 0 {
            assert!(found.offset_ms.abs() < NEAR, "{name}: {found:?}");
            plain = found.offset_ms;
        }
        let moved = found.offset_ms - plain;
        assert!((moved - f64::from(offset)).abs() < 3.0, "{name}: {moved} ms for {offset}");
        let audio = report.audio.unwrap();
        assert_eq!((audio.damaged, audio.unreadable, audio.dts_backwards), (0, 0, 0), "{audio:?}");
        assert_eq!((audio.codec, audio.sound_frames), (codec, audio.units));
        assert!(audio.longest_step < Duration::from_millis(30), "{audio:?}");
    }
}

#[test]
fn what_changes_on_air_leaves_no_mark_in_the_track() {
    let _alone = alone();
    calm::calmly(3, change_on_air);
}

fn change_on_air() {
    let rig = Rig::start("source = 'test'\ngain_db = -6");
    let set = |change: &str| {
        let change = format!("[streams.main.audio]\nsource = 'test'\n{change}");
        let changed = config::parse(&change).unwrap().streams.into_values().next().unwrap().audio;
        rig.encode.set_sound(&changed);
    };
    // A beep of a half, over a tone of a tenth.
    rig.assert_peak(-10.4);
    for (change, peak) in [("", -4.4), ("gain_db = 3.5\nchannels = 'mono'", -0.9), ("mute = true", -4.4)] {
        set(change);
        rig.assert_peak(peak);
    }
    rig.units.lock().unwrap().clear();
    for (change, seconds) in [("offset_ms = 100", 1.4), ("offset_ms = 250", 1.4), ("", 5.0)] {
        set(change);
        rig.run(seconds);
    }
    rig.assert_seamless();
    let (found, report) = rig.judge();
    let found = found.expect("there are marks");
    println!("{found:?}");
    // One or two marks came with each of the delays, and then most without.
    assert!(found.largest_ms > 90.0 && found.offset_ms.abs() < NEAR, "{found:?}");
    assert!(report.audio.unwrap().longest_step < Duration::from_millis(30));
}

#[test]
fn a_source_that_goes_away_and_comes_back_is_silence_in_between() {
    let _alone = alone();
    calm::calmly(3, go_away_and_come_back);
}

fn go_away_and_come_back() {
    let mut rig = Rig::start("source = 'test'\ncodec = 'opus'");
    rig.run(1.5);
    assert!(rig.encode.levels().is_some());
    rig.capture = None;
    rig.run(1.5);
    assert_eq!(rig.encode.levels(), None, "nothing comes, and so nothing is loud");
    rig.start_capture();
    rig.run(2.5);
    assert!(rig.encode.levels().is_some());
    rig.assert_seamless();
    let found = rig.judge().0.expect("there are marks");
    assert!(found.largest_ms.abs() < NEAR && found.smallest_ms.abs() < NEAR, "{found:?}");
}

/// What a receiver decodes of some seconds of test sound, with marks that agree: where a machine is too busy for
/// three pictures in a row, or for the sound, they do not, and it is tried again.
#[track_caller]
fn steady(audio: &str) -> (Alignment, checker::Report) {
    for _ in 0..12 {
        let rig = Rig::start(&format!("source = 'test'\n{audio}"));
        rig.run(4.0);
        let (found, report) = rig.judge();
        let found = found.unwrap_or_default();
        if found.marks >= 3 && found.largest_ms - found.smallest_ms < NEAR {
            return (found, report);
        }
        println!("this machine is busy: {found:?}");
    }
    panic!("no marks that agree in twelve attempts");
}

/// One test at a time: several would make each other late.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Rig {
    stream: Stream,
    encode: Encode,
    capture: Option<Capture>,
    units: Arc<Mutex<Vec<Unit>>>,
}

impl Rig {
    fn start(audio: &str) -> Rig {
        media::init().unwrap();
        let document = format!(
            "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\n[streams.main.audio]\n{audio}\n\
             [[streams.main.outputs]]\nname = 'studio'\nurl = 'srt://127.0.0.1:9000'\n"
        );
        let config = config::parse(&document).unwrap_or_else(|problems| panic!("{problems}"));
        let stream = config.streams.into_values().next().unwrap();
        let units = Arc::new(Mutex::new(Vec::new()));
        let sink = units.clone();
        let encode =
            Encode::start(&stream, media::events().0, move |unit| sink.lock().unwrap().push(unit)).unwrap();
        let mut rig = Rig { stream, encode, capture: None, units };
        rig.start_capture();
        rig
    }

    fn start_capture(&mut self) {
        let capture = Capture::start(&self.stream, &self.encode.inputs(), media::events().0);
        self.capture = Some(capture.unwrap());
    }

    /// The sound that came out follows itself: no frame is missing, none is there twice.
    fn assert_seamless(&self) {
        let units = self.units.lock().unwrap();
        let sounds = units.iter().filter(|unit| unit.track == Track::Audio).map(|unit| unit.captured);
        let sounds: Vec<Instant> = sounds.collect();
        assert!(sounds.len() > 100, "{} frames", sounds.len());
        // Of Opus's first frame, the encoder takes off what it puts before the sound.
        for pair in sounds[1..].windows(2) {
            let step = pair[1].saturating_duration_since(pair[0]);
            let frame = Duration::from_millis(19)..Duration::from_millis(23);
            assert!(frame.contains(&step), "{step:?} from one frame to the next");
        }
    }

    fn run(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// The level becomes that of the loudest in a second, on both sides.
    #[track_caller]
    fn assert_peak(&self, expected: f64) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let found = self.encode.levels();
            let is_expected = found.is_some_and(|found| {
                let [left, right] = found.peak_db.map(|peak| (peak - expected).abs());
                left < 0.5 && right < 0.5 && (0..2).all(|side| found.rms_db[side] < found.peak_db[side])
            });
            if is_expected {
                return;
            }
            assert!(Instant::now() < until, "{found:?} for {expected}");
            self.run(0.05);
        }
    }

    /// What a receiver decodes of all that came.
    fn judge(self) -> (Option<Alignment>, checker::Report) {
        let packets = self.packets();
        let mut checker = Checker::new();
        checker.feed(Duration::ZERO, &packets);
        let decoder = Decoder::start().unwrap();
        assert!(packets.chunks(1316).all(|chunk| decoder.feed(chunk)), "more than a decoder takes at once");
        (decoder.finish(), checker.report(Duration::ZERO))
    }

    fn packets(self) -> Vec<u8> {
        drop(self.capture);
        self.encode.stop();
        let units = std::mem::take(&mut *self.units.lock().unwrap());
        let mut mux = Mux::new(Tracks::of(&self.stream));
        let mut chunks = VecDeque::new();
        units.iter().for_each(|unit| mux.push(unit, &mut chunks).unwrap());
        chunks.iter().flat_map(|chunk| chunk.data.iter().copied()).collect()
    }
}
