//! Each back end whose element this machine has, in the daemon's own pipeline: what it is told lands in the
//! element's own property in the element's own unit, comes out as so many bits, with the groups of pictures
//! and the key frames that were asked for.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uplinkd::config::{self, Codec, EncoderChoice, Framerate};
use uplinkd::media::{self, Capture, Encode, EncoderInfo, Mux, Reduction, Track, Tracks, Unit};
use uplinkd::units::{Bitrate, ByteCount};

#[test]
fn what_each_row_is_told_is_what_its_element_does() {
    let rows = rows();
    assert!(rows.iter().any(|info| info.element == "x264enc"), "the row that every machine has");
    for few in rows.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for info in few {
                scope.spawn(|| check(info));
            }
        });
    }
}

/// The back ends that can be tried here.
fn rows() -> Vec<&'static EncoderInfo> {
    media::init().unwrap();
    let is_here = |info: &&EncoderInfo| {
        let choice = EncoderChoice::Element(info.element.to_owned());
        let offers = media::offers(&choice, info.codec, 320, 180, Framerate::new(30, 1).unwrap());
        offers.iter().all(|offer| offer.unavailable.is_none())
    };
    media::back_ends().filter(is_here).collect()
}

fn check(info: &'static EncoderInfo) {
    let row = info.element;
    let run = Run::start(info);

    // Told nothing new, it makes groups of a second.
    let begin = run.seconds();
    run.wait(2.6);
    let keys = run.numbers_of_keys(0.0, begin + 2.6);
    assert!(keys.len() >= 2, "{row}: key frames {keys:?}");
    assert!(keys.windows(2).all(|pair| pair[1] - pair[0] == 30), "{row}: key frames {keys:?}");

    // Twenty steps, up and down, none alike.
    for step in 1..=20u64 {
        let kbps = 250 + 37 * (step * 7 % 20);
        run.encode.set_target(Bitrate::from_kbps(kbps));
        assert_eq!(told(&run.encode, row), in_its_unit(row, kbps), "{row}: {kbps} kbit/s");
        run.wait(0.1);
    }

    // As many bits as it is told, or what a still scene takes of them.
    for kbps in [900, 300] {
        run.encode.set_target(Bitrate::from_kbps(kbps));
        run.wait(3.2);
        let share = run.share_of_the_last(2.0, kbps);
        assert!((0.6..1.25).contains(&share), "{row}: {share:.2} of {kbps} kbit/s");
    }

    // A key frame when it is asked for, in the middle of a group.
    let last = run.await_key(run.seconds());
    run.wait(0.3);
    run.encode.force_key_frame();
    let asked = run.seconds();
    let forced = run.await_key(asked);
    assert!(forced.at - last.at < 0.95, "{row}: that was due anyway, {:.2} s on", forced.at - last.at);
    assert!(forced.at - asked < 0.3, "{row}: a key frame after {:.2} s", forced.at - asked);
    assert!(is_entry(info.codec, &forced.unit), "{row}: no decoder can begin at the forced key frame");

    // Fewer and smaller pictures, where it can have them while it runs: it begins anew with a key frame.
    if info.resizes {
        run.encode.reduce(Reduction { one_of: 2, width: 160, height: 90 });
        let smaller = run.await_key(run.seconds());
        assert!(is_entry(info.codec, &smaller.unit), "{row}: no decoder can begin at the smaller picture");
        let before = run.encode.counters().frames_out;
        run.wait(1.0);
        let pictures = run.encode.counters().frames_out - before;
        assert!((12..=18).contains(&pictures), "{row}: {pictures} pictures a second of 15");
    }
}

struct Run {
    encode: Encode,
    _capture: Capture,
    begin: Instant,
    units: Arc<Mutex<Vec<Coded>>>,
}

#[derive(Clone)]
struct Coded {
    /// Seconds since the beginning at which the picture was taken.
    at: f64,
    unit: Unit,
}

impl Run {
    fn start(info: &EncoderInfo) -> Run {
        let document = format!(
            "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\nkeyframe_interval_ms = 1000\n\
             encoder = '{}'\ncodec = '{}'\n[streams.main.rate]\nstart_kbps = 600\n\
             [[streams.main.outputs]]\nname = 'studio'\nurl = 'srt://127.0.0.1:9000'\n",
            info.element, info.codec
        );
        let stream = config::parse(&document).unwrap().streams.into_values().next().unwrap();
        let units = Arc::new(Mutex::new(Vec::new()));
        let (sink, begin) = (units.clone(), Instant::now());
        let encode = Encode::start(&stream, media::events().0, move |unit: Unit| {
            let at = unit.captured.saturating_duration_since(begin).as_secs_f64();
            if unit.track == Track::Video {
                sink.lock().unwrap().push(Coded { at, unit });
            }
        });
        let encode = encode.unwrap();
        assert_eq!(encode.encoder().element, info.element);
        let capture = Capture::start(&stream, &encode.inputs(), media::events().0).unwrap();
        Run { encode, _capture: capture, begin, units }
    }

    fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    fn wait(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// Which of the coded pictures are key frames.
    fn numbers_of_keys(&self, from: f64, to: f64) -> Vec<usize> {
        let units = self.units.lock().unwrap();
        let numbered = units.iter().enumerate().filter(|(_, coded)| (from..to).contains(&coded.at));
        numbered.filter(|(_, coded)| coded.unit.key).map(|(number, _)| number).collect()
    }

    /// What came out lately, against a rate in kbit/s.
    fn share_of_the_last(&self, seconds: f64, kbps: u64) -> f64 {
        let units = self.units.lock().unwrap();
        let newest = units.last().unwrap().at;
        let lately = units.iter().filter(|coded| coded.at > newest - seconds);
        let bytes: ByteCount = lately.map(|coded| coded.unit.size).sum();
        let rate = bytes / Duration::from_secs_f64(seconds);
        rate.as_bps() as f64 / Bitrate::from_kbps(kbps).as_bps() as f64
    }

    /// The first key frame that was taken since.
    fn await_key(&self, since: f64) -> Coded {
        let limit = Instant::now() + Duration::from_secs(3);
        loop {
            let units = self.units.lock().unwrap();
            if let Some(key) = units.iter().find(|coded| coded.unit.key && coded.at >= since) {
                return key.clone();
            }
            drop(units);
            assert!(Instant::now() < limit, "no key frame within three seconds");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What the element's own property says.
fn told(encode: &Encode, row: &str) -> u64 {
    let text = encode.encoder_property(bitrate_property(row)).unwrap();
    let number = match text.split_once("video_bitrate=(int)") {
        Some((_, rest)) => rest.split(|c: char| !c.is_ascii_digit()).next().unwrap(),
        None => &text,
    };
    number.parse().unwrap()
}

/// The property of each element, from its documentation and not from the table.
fn bitrate_property(row: &str) -> &'static str {
    match row {
        "v4l2h264enc" | "v4l2h265enc" => "extra-controls",
        "mpph264enc" | "mpph265enc" => "bps",
        _ => "bitrate",
    }
}

/// A rate as that property has it, from the element's documentation and not from the table.
fn in_its_unit(row: &str, kbps: u64) -> u64 {
    let bits = match row {
        "nvcudah264enc" | "nvcudah265enc" | "nvautogpuh264enc" | "nvautogpuh265enc" => 1024,
        "nvh264enc" | "nvh265enc" => 1024,
        "v4l2h264enc" | "v4l2h265enc" | "nvv4l2h264enc" | "nvv4l2h265enc" => 1,
        "mpph264enc" | "mpph265enc" | "openh264enc" => 1,
        "x264enc" | "qsvh264enc" | "qsvh265enc" | "vaapih264enc" => 1000,
        "vah264enc" | "vah265enc" | "vah264lpenc" | "vah265lpenc" => 1000,
        _ => panic!("{row} is a row that this test does not know the unit of"),
    };
    kbps * 1000 / bits
}

/// Whether a decoder can begin with this picture: an IDR picture behind its parameter sets.
fn is_entry(codec: Codec, unit: &Unit) -> bool {
    let kinds = kinds_of_nal_units(codec, unit);
    let (sets, entry): (&[u8], &[u8]) = match codec {
        Codec::H264 => (&[7, 8], &[5]),
        Codec::H265 => (&[32, 33, 34], &[19, 20]),
    };
    sets.iter().all(|set| kinds.contains(set)) && kinds.iter().any(|kind| entry.contains(kind))
}

/// From the video packets of a transport stream of this unit alone.
fn kinds_of_nal_units(codec: Codec, unit: &Unit) -> Vec<u8> {
    let mut chunks = VecDeque::new();
    let tracks = Tracks { video: codec, audio: false, audio_lateness: Duration::ZERO };
    Mux::new(tracks).push(unit, &mut chunks).unwrap();
    let mut stream = Vec::new();
    for packet in chunks.iter().flat_map(|chunk| chunk.data.chunks(188)) {
        let (pid, field) = (u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]), packet[3] & 0x20 != 0);
        if pid == VIDEO_PID {
            stream.extend_from_slice(&packet[if field { 5 + usize::from(packet[4]) } else { 4 }..]);
        }
    }
    let after_start_codes = stream.windows(4).filter(|bytes| bytes[..3] == [0, 0, 1]);
    let kind = |bytes: &[u8]| match codec {
        Codec::H264 => bytes[3] & 0x1f,
        Codec::H265 => bytes[3] >> 1 & 0x3f,
    };
    after_start_codes.map(kind).collect()
}

const VIDEO_PID: u16 = 0x100;

/// Rows that are checked together: each takes a fraction of a core.
const AT_ONCE: usize = 3;
