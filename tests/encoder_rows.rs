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

    // Told nothing new, it makes groups of a second. All is counted in pictures: a machine that has no time
    // for all of them leaves some out before the encoder.
    run.await_pictures(65);
    let keys = run.numbers_of_keys();
    assert_eq!(keys[..3], [0, 30, 60], "{row}: groups of a second");

    // Twenty steps, up and down, none alike.
    for step in 1..=20u64 {
        let kbps = 250 + 37 * (step * 7 % 20);
        run.encode.set_target(Bitrate::from_kbps(kbps));
        assert_eq!(told(&run.encode, row), in_its_unit(row, kbps), "{row}: {kbps} kbit/s");
        run.await_pictures(2);
    }

    // As many bits as it is told, or what a still scene takes of them.
    for kbps in [900, 300] {
        run.encode.set_target(Bitrate::from_kbps(kbps));
        run.await_pictures(35);
        let from = run.pictures();
        run.await_pictures(60);
        let (by_pictures, by_time) = run.shares_since(from, kbps);
        assert!(by_pictures > 0.6, "{row}: {by_pictures:.2} of {kbps} kbit/s");
        assert!(by_time < 1.25, "{row}: {by_time:.2} of {kbps} kbit/s");
    }

    // A key frame when it is asked for, in the middle of a group.
    let last = run.await_key(run.pictures());
    run.await_pictures(5);
    run.encode.force_key_frame();
    let asked = run.pictures();
    let forced = run.await_key(asked);
    assert!(forced - last < 28, "{row}: that was due anyway, {} pictures on", forced - last);
    assert!(forced - asked < 8, "{row}: a key frame {} pictures later", forced - asked);
    assert!(run.is_entry(info.codec, forced), "{row}: no decoder can begin at the forced key frame");

    // Fewer and smaller pictures, where it can have them while it runs: it begins anew with a key frame.
    if info.resizes {
        run.encode.reduce(Reduction { one_of: 2, width: 160, height: 90 }).unwrap();
        let smaller = run.await_key(run.pictures());
        assert!(run.is_entry(info.codec, smaller), "{row}: no decoder can begin at the smaller picture");
        run.await_pictures(5);
    }
}

struct Run {
    encode: Encode,
    _capture: Capture,
    units: Arc<Mutex<Vec<Unit>>>,
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
        let sink = units.clone();
        let encode = Encode::start(&stream, media::events().0, move |unit: Unit| {
            if unit.track == Track::Video {
                sink.lock().unwrap().push(unit);
            }
        });
        let encode = encode.unwrap();
        assert_eq!(encode.encoder().element, info.element);
        let capture = Capture::start(&stream, &encode.inputs(), media::events().0).unwrap();
        Run { encode, _capture: capture, units }
    }

    /// Pictures that came out so far.
    fn pictures(&self) -> usize {
        self.units.lock().unwrap().len()
    }

    fn await_pictures(&self, more: usize) {
        let wanted = self.pictures() + more;
        self.wait_until(|units| units.len() >= wanted);
    }

    /// Which of the coded pictures are key frames.
    fn numbers_of_keys(&self) -> Vec<usize> {
        let units = self.units.lock().unwrap();
        let keys = units.iter().enumerate().filter(|(_, unit)| unit.key);
        keys.map(|(number, _)| number).collect()
    }

    /// The bits of the pictures since, against a rate in kbit/s: over the time that so many pictures should
    /// take, and over the time that they took. Where pictures are left out, some encoders give the others
    /// their bits and some do not.
    fn shares_since(&self, number: usize, kbps: u64) -> (f64, f64) {
        let units = self.units.lock().unwrap();
        let since = &units[number - 1..];
        let (before, since) = since.split_first().unwrap();
        let bytes: ByteCount = since.iter().map(|unit| unit.size).sum();
        let took = since.last().unwrap().captured - before.captured;
        let share = |seconds: f64| (bytes.get() * 8) as f64 / (seconds * (kbps * 1000) as f64);
        (share(since.len() as f64 / 30.0), share(took.as_secs_f64()))
    }

    /// The number of the first key frame of those since.
    fn await_key(&self, since: usize) -> usize {
        let key = |units: &[Unit]| (since..units.len()).find(|number| units[*number].key);
        self.wait_until(|units| key(units).is_some());
        key(&self.units.lock().unwrap()).unwrap()
    }

    fn wait_until(&self, is_so: impl Fn(&[Unit]) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(&self.units.lock().unwrap()) {
            assert!(Instant::now() < limit, "nothing came for {PATIENCE:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether a decoder can begin with this picture: one for random access behind its parameter sets.
    fn is_entry(&self, codec: Codec, number: usize) -> bool {
        let kinds = kinds_of_nal_units(codec, &self.units.lock().unwrap()[number]);
        let (sets, entry): (&[u8], &[u8]) = match codec {
            Codec::H264 => (&[7, 8], &[5]),
            Codec::H265 => (&[32, 33, 34], &[16, 17, 18, 19, 20, 21]),
        };
        sets.iter().all(|set| kinds.contains(set)) && kinds.iter().any(|kind| entry.contains(kind))
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

/// For what should take three seconds at the most, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rows that are checked together: each takes a fraction of a core.
const AT_ONCE: usize = 3;
