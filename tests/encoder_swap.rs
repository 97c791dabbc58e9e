//! Encoders that take over from one another while on air, all of them real ones in the daemon's own
//! pipeline: what comes out is one stream, to a decoder and to its timestamps.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "calm/mod.rs"]
mod calm;

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use calm::calmly;
use tokio::sync::mpsc::Receiver;
use uplinkd::config;
use uplinkd::media::{
    self, Capture, Encode, EncoderInfo, MediaEvent, Mux, Picture, Reduction, Track, Tracks, Unit,
};
use uplinkd::units::Bitrate;

#[test]
fn x264_and_openh264_take_over_from_one_another_without_a_seam() {
    calmly(3, || {
        let rig = Rig::start("");
        rig.run(1.0);
        let mut swaps = Vec::new();
        for element in ["openh264enc", "x264enc", "openh264enc", "x264enc"] {
            let before = rig.encode.counters();
            swaps.push(rig.replace(element, FULL));
            assert_eq!(rig.encode.encoder().element, element);
            rig.run(1.0);
            let (progress, after) = (rig.encode.encoder_progress(), rig.encode.counters());
            assert!(progress.element == element && progress.units_out >= 20, "{progress:?}");
            assert!(progress.units_out < after.frames_out && before.frames_out < after.frames_out);
        }
        let (units, missing) = rig.stop();
        assert_rises(&units);
        assert!(longest_step(&units) < FRAME * (2 + missing) + FRAME / 2, "{:?}", longest_step(&units));
        for swap in swaps {
            let first = units.iter().find(|unit| unit.captured >= swap.done).unwrap();
            let taken_over: Vec<&Unit> =
                units.iter().filter(|unit| (swap.begun..=first.captured).contains(&unit.captured)).collect();
            let key = taken_over.iter().find(|unit| unit.key).expect("it begins with a key frame");
            assert!(key.captured <= first.captured, "and gives nothing before that");
        }
        let decoded = decode(&units);
        assert_eq!(decoded.complaints, "");
        assert_eq!(decoded.frames, units.len(), "each of them is decoded");
        assert_eq!(decoded.bare_key_frames, 0, "each key frame brings its parameter sets");
    });
}

#[test]
fn a_successor_takes_over_at_a_reduced_mode() {
    let rig = Rig::start("");
    rig.encode.reduce(Reduction { one_of: 2, width: 160, height: 90 }).unwrap();
    rig.run(1.5);
    rig.replace("openh264enc", rig.encode.reduction());
    rig.run(1.5);
    rig.encode.reduce(Reduction { one_of: 1, width: 240, height: 136 }).unwrap(); // cannot resize: is replaced
    assert_eq!(rig.encode.encoder().element, "openh264enc");
    let changed = Instant::now();
    rig.run(1.5);
    rig.encode.reduce(rig.encode.reduction()).unwrap();
    assert!(rig.encode.encoder_progress().since < changed, "as it is: there is nothing to do");
    let (units, _) = rig.stop();
    assert_rises(&units);
    let slow = units.iter().filter(|unit| unit.captured < changed).count();
    let fast = units.iter().filter(|unit| unit.captured > changed).count();
    assert!((35..=52).contains(&slow) && (35..=50).contains(&fast), "{slow} at 15, {fast} at 30 a second");
    let decoded = decode(&units);
    assert_eq!(decoded.complaints, "");
    assert_eq!(decoded.sizes.last().unwrap(), "240x136");
    assert!(decoded.sizes.contains(&"160x90".to_owned()));
}

#[test]
fn thinned_out_to_nothing_a_successor_waits_for_the_key_frame_that_is_asked_for() {
    let rig = Rig::start("");
    rig.run(0.5);
    rig.encode.set_thinning(1.0);
    rig.run(0.2);
    let before = rig.encode.counters().frames_out;
    rig.replace("openh264enc", FULL);
    rig.run(0.5);
    assert_eq!(rig.encode.counters().frames_out, before, "thinning is as it was");
    rig.encode.force_key_frame();
    rig.run(0.3);
    assert_eq!(rig.encode.counters().frames_out, before + 1);
    rig.encode.set_thinning(0.0);
    rig.run(0.5);
    let (units, _) = rig.stop();
    assert!(units[usize::try_from(before).unwrap()].key);
    assert!(units.len() > usize::try_from(before).unwrap() + 10);
    assert_rises(&units);
    assert_eq!(decode(&units).complaints, "");
}

#[test]
fn the_slate_goes_on_over_a_change_of_encoder() {
    let rig = Rig::start("slate = 'hold'");
    rig.run(0.7);
    rig.encode.show(Picture::Slate { reason: String::new() });
    rig.run(0.5);
    rig.replace("openh264enc", FULL);
    rig.run(0.5);
    rig.encode.show(Picture::Live);
    rig.run(0.5);
    let (units, missing) = rig.stop();
    assert_rises(&units);
    assert!(longest_step(&units) < FRAME * (3 + missing) + FRAME / 2, "{:?}", longest_step(&units));
    assert_eq!(decode(&units).complaints, "");
}

#[test]
fn the_new_target_is_the_new_encoders() {
    let rig = Rig::start("");
    rig.run(0.5);
    let high = Bitrate::from_kbps(1_500);
    rig.encode.replace(info("openh264enc"), None, FULL, Bitrate::from_kbps(300)).unwrap();
    let low_since = Instant::now() + Duration::from_secs(1);
    rig.run(3.0);
    rig.encode.replace(info("x264enc"), None, FULL, high).unwrap();
    let high_since = Instant::now() + Duration::from_secs(1);
    rig.run(3.0);
    assert_eq!(rig.encode.target(), high);
    let (units, _) = rig.stop();
    let rate = |since: Instant| {
        let within = |unit: &&Unit| unit.captured >= since && unit.captured < since + Duration::from_secs(2);
        let size: uplinkd::units::ByteCount = units.iter().filter(within).map(|unit| unit.size).sum();
        (size / Duration::from_secs(2)).as_kbps()
    };
    let (low, high) = (rate(low_since), rate(high_since));
    assert!((150..=500).contains(&low), "{low} kbit/s for 300");
    assert!((1_100..=1_700).contains(&high), "{high} kbit/s for 1500");
}

#[test]
fn a_good_encoder_never_looks_broken() {
    for encoder in ["x264enc", "openh264enc"] {
        let rig = Rig::start(&format!("slate = 'hold'\nencoder = '{encoder}'"));
        let mut samples = vec![rig.sample()];
        for (step, change) in changes().iter().enumerate() {
            rig.encode.want_sample();
            rig.run(0.1);
            change(&rig.encode);
            rig.encode.force_key_frame();
            rig.run(0.2);
            // Where pictures are withheld a sample does not become complete: what there is has to do.
            samples.push(rig.encode.take_sample(true).unwrap_or_else(|| panic!("no sample in step {step}")));
        }
        rig.encode.want_sample();
        rig.encode.force_key_frame();
        samples.push(rig.sample());
        assert!(samples.iter().any(|sample| sample.len() == 16), "there are whole ones");
        let (units, _) = rig.stop(); // without any event of a broken encoder
        for (number, sample) in samples.into_iter().enumerate() {
            let count = sample.len();
            let decoded = media::decode_sample(config::Codec::H264, sample).unwrap();
            let media::Decoded::With { pictures, error, .. } = &decoded else {
                panic!("a decoder is installed")
            };
            assert_eq!(
                (*pictures as usize, error),
                (count, &None),
                "{encoder}, sample {number}: {decoded:?}"
            );
        }
        assert_rises(&units);
    }
}

/// What is done to an encoder while it is on air.
fn changes() -> [fn(&Encode); 12] {
    [
        |encode| encode.set_thinning(0.5),
        |encode| encode.set_thinning(0.9),
        |encode| encode.set_thinning(1.0),
        |encode| encode.set_thinning(0.0),
        |encode| encode.reduce(Reduction { one_of: 1, width: 240, height: 136 }).unwrap(),
        |encode| encode.reduce(Reduction { one_of: 2, width: 160, height: 90 }).unwrap(),
        |encode| encode.reduce(FULL).unwrap(),
        |encode| encode.show(Picture::Slate { reason: String::new() }),
        |encode| encode.show(Picture::Live),
        |encode| encode.set_target(Bitrate::from_kbps(300)),
        |encode| encode.set_target(Bitrate::from_kbps(1_500)),
        |encode| encode.replace(info(encode.encoder().element), None, FULL, encode.target()).unwrap(),
    ]
}

#[test]
fn a_successor_is_sampled_from_its_first_picture_on() {
    let rig = Rig::start("");
    rig.sample();
    rig.encode.want_sample();
    rig.replace("openh264enc", FULL);
    let first = rig.sample();
    assert!(
        first.len() == 16,
        "the successor's first group is sampled, whatever was wanted of the one before"
    );
    assert!(rig.encode.take_sample(true).is_none(), "once");
    rig.stop();
}

/// A stream of 320×180 at 30 pictures a second with a capture, and all that came out.
struct Rig {
    encode: Encode,
    capture: Capture,
    units: Arc<Mutex<Vec<Unit>>>,
    events: Receiver<MediaEvent>,
}

struct Swap {
    begun: Instant,
    done: Instant,
}

impl Rig {
    fn start(video: &str) -> Rig {
        media::init().unwrap();
        let encoder = if video.contains("encoder =") { "" } else { "encoder = 'x264enc'\n" };
        let document = format!(
            "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\n{encoder}{video}\n\
             keyframe_interval_ms = 10000\n[[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n"
        );
        let stream = config::parse(&document).unwrap().streams.into_values().next().unwrap();
        let units = Arc::new(Mutex::new(Vec::new()));
        let (sender, events) = media::events();
        let sink = units.clone();
        let encode = Encode::start(&stream, sender, move |unit| sink.lock().unwrap().push(unit)).unwrap();
        let capture = Capture::start(&stream, &encode.inputs(), media::events().0).unwrap();
        Rig { encode, capture, units, events }
    }

    fn run(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// The beginning of a group of pictures that is sampled already, or will be with the next key frame.
    fn sample(&self) -> Vec<Vec<u8>> {
        for _ in 0..100 {
            if let Some(sample) = self.encode.take_sample(false) {
                return sample;
            }
            self.run(0.05);
        }
        panic!("no sample in 5 s");
    }

    fn replace(&self, element: &str, reduction: Reduction) -> Swap {
        let begun = Instant::now();
        self.encode.replace(info(element), None, reduction, self.encode.target()).unwrap();
        Swap { begun, done: Instant::now() }
    }

    /// All pictures that came out, and how many a machine that was too busy left out before the encoder.
    fn stop(mut self) -> (Vec<Unit>, u32) {
        drop(self.capture);
        assert!(self.events.try_recv().is_err(), "no encoder failed");
        let counters = self.encode.counters();
        self.encode.stop();
        assert_eq!(counters.frames_lost, 0);
        let mut units = std::mem::take(&mut *self.units.lock().unwrap());
        units.retain(|unit| unit.track == Track::Video);
        (units, u32::try_from(counters.frames_dropped).unwrap())
    }
}

fn info(element: &str) -> &'static EncoderInfo {
    media::back_ends().find(|info| info.element == element).unwrap()
}

fn assert_rises(units: &[Unit]) {
    assert!(units.is_sorted_by(|a, b| a.captured < b.captured), "a picture's time goes back");
}

fn longest_step(units: &[Unit]) -> Duration {
    units.windows(2).map(|pair| pair[1].captured - pair[0].captured).max().unwrap()
}

struct Decoded {
    /// What ffmpeg has to say, continuity and timestamp errors included.
    complaints: String,
    frames: usize,
    /// Sizes of the pictures, each once for as long as it stays.
    sizes: Vec<String>,
    /// Key frames without parameter sets in the same access unit.
    bare_key_frames: usize,
}

/// What a receiver makes of it: muxed, read by ffmpeg, every picture decoded.
fn decode(units: &[Unit]) -> Decoded {
    let mut mux =
        Mux::new(Tracks { video: config::Codec::H264, audio: None, audio_lateness: Duration::ZERO });
    let mut chunks = VecDeque::new();
    units.iter().for_each(|unit| mux.push(unit, &mut chunks).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ts");
    std::fs::write(&path, chunks.iter().flat_map(|chunk| chunk.data.iter().copied()).collect::<Vec<u8>>())
        .unwrap();
    let path = path.to_str().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, complaints) =
        run("ffmpeg", &["-v", "warning", "-i", path, "-fps_mode", "vfr", "-f", "null", "-"]);
    let frames = [
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=width,height",
        "-of",
        "csv=p=0:s=x",
        path,
    ];
    let (listed, _) = run("ffprobe", &frames);
    let mut sizes: Vec<String> = listed
        .lines()
        .map(|line| line.trim_end_matches('x').to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let frames = sizes.len();
    sizes.dedup();
    let trace = ["-v", "verbose", "-i", path, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"];
    let (_, headers) = run("ffmpeg", &trace);
    let bare_key_frames = bare_key_frames(&headers);
    Decoded { complaints, frames, sizes, bare_key_frames }
}

/// Key frames in ffmpeg's trace of headers that have not both parameter sets before them in their own
/// access unit.
fn bare_key_frames(trace: &str) -> usize {
    let (mut bare, mut key_frames) = (0, 0);
    let (mut sequence, mut picture) = (false, false);
    for line in trace.lines() {
        if line.ends_with("Access Unit Delimiter") {
            (sequence, picture) = (false, false);
        }
        sequence |= line.ends_with("] Sequence Parameter Set");
        picture |= line.ends_with("] Picture Parameter Set");
        if line.contains("nal_unit_type") && line.ends_with("= 5") {
            key_frames += 1;
            bare += usize::from(!(sequence && picture));
        }
    }
    assert!(key_frames > 0, "the trace was understood");
    bare
}

const FULL: Reduction = Reduction { one_of: 1, width: 320, height: 180 };

const FRAME: Duration = Duration::from_nanos(33_333_333);
