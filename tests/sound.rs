//! The sound of a stream, from its source to what a decoder makes of it: codecs, controls on air, and how far
//! it is from the picture.
//!
//! Each test runs for a few seconds of real time.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uplinkd::config::{self, Stream};
use uplinkd::demo::alignment::Alignment;
use uplinkd::demo::checker::{self, Checker};
use uplinkd::demo::decode::Decoder;
use uplinkd::media::{self, Capture, Encode, MediaEvent, Mux, Track, Tracks, Unit};

/// Milliseconds. 20 are promised; but a constant offset of 5 would be an error of ours.
const NEAR: f64 = 5.0;

#[test]
fn picture_and_sound_arrive_together_in_either_codec() {
    for codec in ["aac", "opus"] {
        let (found, report) = Rig::start(&format!("source = 'test'\ncodec = '{codec}'")).measure(5.0);
        println!("{codec}: {found:?}");
        assert!(found.marks >= 3, "{codec}: {found:?}");
        assert!(found.offset_ms.abs() < NEAR, "{codec}: {found:?}");
        assert!(found.largest_ms - found.smallest_ms < 5.0, "{codec}: {found:?}");
        let audio = report.audio.unwrap();
        assert_eq!((audio.damaged, audio.unreadable, audio.dts_backwards), (0, 0, 0), "{audio:?}");
        let expected = if codec == "aac" { checker::Codec::Aac } else { checker::Codec::Opus };
        assert_eq!((audio.codec, audio.sound_frames), (expected, audio.units));
        assert!(audio.longest_step < Duration::from_millis(30), "{audio:?}");
    }
}

#[test]
fn an_offset_moves_the_sound_by_just_so_much() {
    let measure = |lines: &str| Rig::start(&format!("source = 'test'\n{lines}")).measure(5.0).0.offset_ms;
    for codec in ["aac", "opus"] {
        let plain = measure(&format!("codec = '{codec}'"));
        for offset in [150, -120] {
            let moved = measure(&format!("codec = '{codec}'\noffset_ms = {offset}")) - plain;
            println!("{codec}: {moved:.2} ms for {offset}");
            assert!((moved - f64::from(offset)).abs() < 3.0, "{codec}: {moved} ms for {offset}");
        }
    }
}

struct Rig {
    stream: Stream,
    encode: Encode,
    _capture: Capture,
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
        let capture = Capture::start(&stream, &encode.inputs(), media::events().0).unwrap();
        Rig { stream, encode, _capture: capture, units }
    }

    fn run(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// What a receiver decodes of so many seconds.
    fn measure(self, seconds: f64) -> (Alignment, checker::Report) {
        self.run(seconds);
        let packets = self.packets();
        let mut checker = Checker::new();
        checker.feed(Duration::ZERO, &packets);
        let decoder = Decoder::start().unwrap();
        packets.chunks(1316).for_each(|chunk| decoder.feed(chunk));
        (decoder.finish().expect("there are marks"), checker.report(Duration::ZERO))
    }

    fn packets(self) -> Vec<u8> {
        drop(self._capture);
        self.encode.stop();
        let units = std::mem::take(&mut *self.units.lock().unwrap());
        let mut mux = Mux::new(Tracks::of(&self.stream));
        let mut chunks = VecDeque::new();
        units.iter().for_each(|unit| mux.push(unit, &mut chunks).unwrap());
        chunks.iter().flat_map(|chunk| chunk.data.iter().copied()).collect()
    }
}
