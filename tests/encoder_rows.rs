//! Each back end, in the daemon's own pipeline: those in software as they are, those in hardware by their fakes. It
//! is picked by its name, its element's properties are set, what it is told lands in the element's own property in
//! the element's own unit, comes out as so many bits, with the groups of pictures and the key frames that were
//! asked for.
//!
//! What properties are called, what their units are and what they have to be is told here from the elements'
//! documentation and not from the table.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calm;
#[path = "fake_encoders/mod.rs"]
mod fake_encoders;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use calm::calmly;
use fake_encoders::Seen;
use uplinkd::config::{self, Codec, EncoderChoice, Framerate};
use uplinkd::media::{self, Capture, Encode, EncoderInfo, Mux, Offer, Reduction, Track, Tracks, Unit};
use uplinkd::units::{Bitrate, ByteCount};

#[test]
fn what_each_row_is_told_is_what_its_element_does() {
    let rows = rows();
    let left_out = left_out();
    for info in media::back_ends() {
        let reason = left_out.iter().find(|(element, _)| *element == info.element);
        assert_ne!(reason.is_some(), rows.contains(&info), "{}: either checked or left out", info.element);
    }
    let failed: Vec<&str> = rows.chunks(AT_ONCE).flat_map(failed_of).collect();
    assert!(failed.is_empty(), "{} fail, as told above", failed.join(", "));
}

/// Those of these rows that fail, checked at the same time.
fn failed_of(rows: &[&'static EncoderInfo]) -> Vec<&'static str> {
    thread::scope(|scope| {
        let start = |info: &&'static EncoderInfo| (info.element, scope.spawn(|| calmly(3, || check(info))));
        let checks: Vec<_> = rows.iter().map(start).collect();
        let failed = checks.into_iter().filter_map(|(row, check)| check.join().is_err().then_some(row));
        failed.collect()
    })
}

#[test]
fn a_row_is_picked_by_its_name_or_left_out_for_a_reason() {
    let rows = rows();
    for info in &rows {
        let offers = offers(info);
        let offered: Vec<_> = offers.iter().map(|offer| (offer.info.element, &offer.unavailable)).collect();
        assert_eq!(offered, [(info.element, &None)]);
    }
    for (element, why) in left_out() {
        let info = media::back_ends().find(|info| info.element == element).expect("a row of the table");
        let offer = offers(info).remove(0);
        let reason = offer.unavailable.expect("it cannot be tried here");
        assert!(reason.starts_with(why), "{element}: {reason}");
    }
}

/// The back ends that can be tried here, with fakes in the place of all hardware.
fn rows() -> Vec<&'static EncoderInfo> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // x264enc is to be itself; of what is behind an @, the name alone leads to that of this GStreamer.
        let names = fake_encoders::names().into_iter().map(|name| name.split('@').next().unwrap_or(name));
        let hardware: Vec<_> = names.filter(|name| *name != "x264enc").collect();
        fake_encoders::register(&hardware);
        media::init().unwrap();
        assert!(gst::ElementFactory::find("x265enc").is_some(), "the fakes of H.265 code with it");
    });
    let can_be_tried = |info: &&EncoderInfo| offers(info).iter().all(|offer| offer.unavailable.is_none());
    media::back_ends().filter(can_be_tried).collect()
}

fn offers(info: &EncoderInfo) -> Vec<Offer> {
    let choice = EncoderChoice::Element(info.element.to_owned());
    media::offers(&choice, info.codec, 320, 180, Framerate::new(30, 1).unwrap())
}

/// Rows that no fake stands for in this version of GStreamer, and how the reason that the daemon gives begins:
/// an element that has another name in it.
fn left_out() -> Vec<(&'static str, &'static str)> {
    if version() >= (1, 26) {
        let old = "it is that of GStreamer 1.22.0 on and before 1.26.0";
        vec![("nvcudah264enc", old), ("nvcudah265enc", old)]
    } else {
        let new = "it is that of GStreamer 1.26.0 on";
        vec![("nvh264enc", new), ("nvh265enc", new)]
    }
}

fn check(info: &'static EncoderInfo) {
    let row = info.element;
    let run = Run::start(info);
    run.await_pictures(1);
    check_properties(&run.encode, row);

    // Told nothing new, it makes groups of a second. All is counted in pictures: a machine that has no time
    // for all of them leaves some out before the encoder.
    run.await_pictures(64);
    let keys = run.numbers_of_keys();
    assert_eq!(keys[..3], [0, 30, 60], "{row}: groups of a second");

    // Twenty steps, up and down, none alike.
    for step in 1..=20u64 {
        let kbps = 250 + 37 * (step * 7 % 20);
        run.encode.set_target(Bitrate::from_kbps(kbps));
        assert_eq!(told(&run.encode, row), in_its_unit(row, kbps), "{row}: {kbps} kbit/s");
        if let Some(seen) = seen(row) {
            let (is, expected) = (seen.bits_per_second, in_force(row, kbps));
            assert!(is.abs_diff(expected) <= 500, "{row}: {is} instead of {expected} bit/s are in force");
        }
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
        assert!(by_time < 1.4, "{row}: {by_time:.2} of {kbps} kbit/s");
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

    // Nothing of all this was lost on the element.
    if let Some(seen) = seen(row) {
        assert_eq!(seen.ignored, 0, "{row}: properties that it does not take while it runs");
        assert!(seen.rates >= 22, "{row}: {} changes of the rate took effect", seen.rates);
    }

    // Fewer and smaller pictures, where it can have them while it runs: it begins anew with a key frame.
    if info.resizes {
        run.encode.reduce(Reduction { one_of: 2, width: 160, height: 90 }).unwrap();
        let smaller = run.await_key(run.pictures());
        assert!(run.is_entry(info.codec, smaller), "{row}: no decoder can begin at the smaller picture");
        run.await_pictures(5);
    }
}

/// What the fake of this row has seen; `None`: it is the element itself.
fn seen(row: &str) -> Option<Seen> {
    let seen = fake_encoders::seen(row);
    assert!(seen.len() <= 1, "{row}: {} of them live", seen.len());
    seen.first().copied()
}

/// All properties of the element that a live stream needs, and its memory.
fn check_properties(encode: &Encode, row: &str) {
    for (property, value) in properties(row) {
        let is = encode.encoder_property(property);
        assert_eq!(is.as_deref(), Some(value), "{row}: {property}");
    }
    if row.starts_with("v4l2") {
        let controls = unescaped(&encode.encoder_property("extra-controls").unwrap());
        for (control, value) in [
            ("video_bitrate_mode", 0),
            ("h264_i_frame_period", 30),
            ("video_gop_size", 30),
            ("video_b_frames", 0),
            ("repeat_sequence_header", 1),
            ("video_bitrate", 600_000),
        ] {
            let is = controls.contains(&format!(" {control}=(int){value}"));
            assert!(is, "{row}: {control} is not {value} in {controls}");
        }
    }
    let (memory, io_mode) = (encode.memory(), encode.encoder_property("output-io-mode"));
    match memory.reason {
        // Without a heap there is nothing to put the slate into.
        Some(reason) if reason.contains("/dev/dma_heap") => {
            assert_eq!((io_mode.as_deref(), memory.copies), (Some("auto"), 1), "{row}: {reason}");
        }
        reason if row.starts_with("v4l2") => {
            assert_eq!(io_mode.as_deref(), Some("dmabuf-import"), "{row}: {reason:?}");
        }
        reason => assert_eq!((io_mode, reason), (None, None), "{row}"),
    }
    let converter = row.starts_with("nvv4l2").then_some("nvvidconv"); // which takes NVMM memory alone
    assert_eq!(encode.memory().converter, converter, "{row}");
    assert_eq!(told(encode, row), in_its_unit(row, 600), "{row}: the rate that it starts with");
}

/// A stream of 30 pictures and 600 kbit a second that begins a group each second, without delay: no B frames, no
/// look-ahead, a constant rate and a small buffer, parameter sets with each key frame.
fn properties(row: &str) -> Vec<(&'static str, &'static str)> {
    match row {
        "x264enc" => vec![
            ("tune", "Zero latency"), // flags, which GStreamer writes by their long names
            ("pass", "cbr"),
            ("vbv-buf-capacity", "200"),
            ("bframes", "0"),
            ("key-int-max", "30"),
        ],
        "openh264enc" => {
            vec![("rate-control", "bitrate"), ("gop-size", "30"), ("scene-change-detection", "false")]
        }
        "vah264enc" | "vah265enc" | "vah264lpenc" | "vah265lpenc" => vec![
            ("rate-control", "cbr"),
            ("cpb-size", "300"), // kbit: half a second, of less it makes two
            ("key-int-max", "30"),
            ("b-frames", "0"),
            ("ref-frames", "1"),
        ],
        "vaapih264enc" => vec![
            ("rate-control", "cbr"),
            ("cpb-length", "200"),
            ("keyframe-period", "30"),
            ("max-bframes", "0"),
            ("refs", "1"),
        ],
        "qsvh264enc" | "qsvh265enc" => vec![
            ("rate-control", "cbr"),
            ("gop-size", "30"),
            // Each I frame an IDR frame: it counts what is between them for H.264, and steps for H.265.
            ("idr-interval", if row == "qsvh264enc" { "0" } else { "1" }),
            ("b-frames", "0"),
            ("low-latency", "true"),
            ("disable-hrd-conformance", "true"),
        ],
        "nvcudah264enc" | "nvcudah265enc" | "nvautogpuh264enc" | "nvautogpuh265enc" | "nvh264enc"
        | "nvh265enc" => nvidia_properties(),
        "nvv4l2h264enc" | "nvv4l2h265enc" => vec![
            ("control-rate", "constant_bitrate"),
            ("vbv-size", "120000"), // bit
            ("iframeinterval", "30"),
            ("idrinterval", "30"),
            ("insert-sps-pps", "true"),
            ("num-B-Frames", "0"),
            ("maxperf-enable", "true"),
        ],
        "mpph264enc" => [mpp_properties(), vec![("level", "4")]].concat(),
        "mpph265enc" => mpp_properties(),
        "v4l2h264enc" | "v4l2h265enc" => Vec::new(), // controls
        _ => panic!("{row} is a row that this test does not know the properties of"),
    }
}

/// Of GStreamer 1.26 on, and what they were called before.
fn nvidia_properties() -> Vec<(&'static str, &'static str)> {
    let [rate_control, zero_latency, b_frames] = if version() >= (1, 26) {
        ["rc-mode", "zerolatency", "bframes"]
    } else {
        ["rate-control", "zero-reorder-delay", "b-frames"]
    };
    let mut properties = vec![
        (rate_control, "cbr"),
        (zero_latency, "true"),
        (b_frames, "0"),
        ("gop-size", "30"),
        ("repeat-sequence-header", "true"),
        ("vbv-buffer-size", "117"), // of 1024 bit: a fifth of a second of 585
    ];
    if version() >= (1, 24) {
        properties.extend([("preset", "p4"), ("tune", "ultra-low-latency")]);
    } else {
        properties.push(("preset", "low-latency-hq"));
    }
    properties
}

fn mpp_properties() -> Vec<(&'static str, &'static str)> {
    vec![("rc-mode", "cbr"), ("gop", "30"), ("header-mode", "each-idr"), ("max-reenc", "0")]
}

fn version() -> (u32, u32) {
    let (major, minor, _, _) = gst::version();
    (major, minor)
}

struct Run {
    row: &'static str,
    encode: Encode,
    _capture: Capture,
    units: Arc<Mutex<Vec<Unit>>>,
}

impl Run {
    fn start(info: &'static EncoderInfo) -> Run {
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
        Run { row: info.element, encode, _capture: capture, units }
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
            assert!(Instant::now() < limit, "{}: nothing came for {PATIENCE:?}", self.row);
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
    let text = unescaped(&encode.encoder_property(bitrate_property(row)).unwrap());
    let number = match text.split_once("video_bitrate=(int)") {
        Some((_, rest)) => rest.split(|c: char| !c.is_ascii_digit()).next().unwrap(),
        None => &text,
    };
    number.parse().unwrap()
}

/// GStreamer writes a structure as a quoted text.
fn unescaped(text: &str) -> String {
    text.replace('\\', "")
}

/// The property of each element.
fn bitrate_property(row: &str) -> &'static str {
    match row {
        "v4l2h264enc" | "v4l2h265enc" => "extra-controls",
        "mpph264enc" | "mpph265enc" => "bps",
        _ => "bitrate",
    }
}

/// A rate as that property has it.
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

/// The bits per second that the hardware works with then: a Raspberry Pi's driver knows steps of 25 kbit.
fn in_force(row: &str, kbps: u64) -> u64 {
    match row {
        "v4l2h264enc" | "v4l2h265enc" => (kbps * 1000 + 12_500) / 25_000 * 25_000,
        "nvcudah264enc" | "nvcudah265enc" | "nvautogpuh264enc" | "nvautogpuh265enc" | "nvh264enc"
        | "nvh265enc" => in_its_unit(row, kbps) * 1024,
        _ => kbps * 1000,
    }
}

/// From the video packets of a transport stream of this unit alone.
fn kinds_of_nal_units(codec: Codec, unit: &Unit) -> Vec<u8> {
    let mut chunks = VecDeque::new();
    let tracks = Tracks { video: codec, audio: None, audio_lateness: Duration::ZERO };
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
const AT_ONCE: usize = 5;
