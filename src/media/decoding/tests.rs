use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::config;
use crate::media::damage::DamagedFrames;
use crate::media::graph::Graph;
use crate::media::source::{camera_branch, run_picture};
use crate::media::{Encode, MediaEvent, Track, Unit, clock, events};

#[test]
fn what_went_in_and_did_not_come_out_is_counted() {
    let at = gst::ClockTime::from_mseconds;
    let mut under_way = UnderWay::default();
    for time in [0, 100, 33, 66, 133] {
        assert_eq!(under_way.enter(at(time)), 0, "in the order of coding");
    }
    assert_eq!(under_way.leave(at(0)), 0);
    assert_eq!(under_way.leave(at(66)), 1, "33 is lost");
    assert_eq!(under_way.leave(at(100)), 0);
    for time in 0..MOST_UNDER_WAY as u64 {
        under_way.enter(at(200 + time));
    }
    assert_eq!(under_way.enter(at(900)), 1, "133 never came out");
}

#[test]
fn a_minute_of_a_bad_mjpeg_dongle_is_counted_exactly_and_harms_no_encoder() {
    let mut rig = Rig::start();
    let camera = rig.plug_in(&mjpeg_caps((320, 180)));
    let pictures = jpegs((320, 180));
    let mut dongle = Dongle::seeded(5);
    for number in 0..MINUTE {
        camera.push(dongle.frame(&pictures[number as usize % pictures.len()]), number);
    }
    camera.end();
    rig.wait_for(&MediaEvent::CaptureEnded);
    let Dongle { sent, whole, .. } = dongle;
    assert!((60..=120).contains(&sent.truncated) && (8..=30).contains(&sent.corrupt), "{sent:?}");
    assert!(sent.undecoded > 0);
    assert_eq!(rig.encode.counters().frames_damaged, sent);
    // At the stream's rate videorate gives a picture for each, repeated where one is missing.
    let arrived = rig.encode.counters().frames_in;
    assert!(whole <= arrived && arrived <= MINUTE, "{arrived} of {whole}");
    assert_eq!(rig.encoder_news(), []);
}

#[test]
fn on_air_a_bad_mjpeg_dongle_costs_its_damaged_frames_alone() {
    let mut rig = Rig::start();
    let mut camera = rig.plug_in(&mjpeg_caps((320, 180)));
    let pictures = jpegs((320, 180));
    let mut dongle = Dongle::seeded(6);
    for number in 0..90 {
        camera.push_in_time(dongle.frame(&pictures[number as usize % pictures.len()]), number, 30);
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(rig.encode.counters().frames_damaged, dongle.sent);
    assert_eq!(rig.encoder_news(), []);
    let units = rig.stop();
    assert!(units.iter().filter(|unit| unit.track == Track::Video).count() > 70, "{} units", units.len());
    assert!(units.is_sorted_by(|a, b| a.captured < b.captured));
}

#[test]
fn a_camera_that_never_writes_an_end_is_as_good_as_another() {
    let mut rig = Rig::start();
    let camera = rig.plug_in(&mjpeg_caps((320, 180)));
    let pictures = jpegs((320, 180));
    let frames = 60;
    for number in 0..frames {
        let mut frame = pictures[number as usize % pictures.len()].clone();
        frame.truncate(frame.len() - 2);
        if number % 2 == 0 {
            frame = without_tables(&frame);
        }
        if number % 3 == 0 {
            frame.resize(frame.len() + 500, 0);
        }
        camera.push(gst::Buffer::from_mut_slice(frame), number);
    }
    camera.end();
    rig.wait_for(&MediaEvent::CaptureEnded);
    assert_eq!(rig.encode.counters().frames_damaged, DamagedFrames::default());
    assert!(rig.encode.counters().frames_in >= frames - 1, "{:?}", rig.encode.counters());
    assert_eq!(rig.encoder_news(), []);
}

#[test]
fn a_camera_that_changes_its_mode_changes_nothing_for_the_encoder() {
    let mut rig = Rig::start();
    let mut camera = rig.plug_in(&raw_caps("YUY2", (320, 180), 30));
    let modes = [
        ("YUY2", (320, 180), 30),
        ("NV12", (640, 480), 15),
        ("RGB", (160, 120), 60),
        ("I420", (320, 180), 25),
    ];
    let mut number = 0;
    for (format, size, rate) in modes {
        let before = rig.units();
        camera.source.set_caps(Some(&raw_caps(format, size, rate)));
        camera.begin = None;
        let bytes = gst_video::VideoInfo::from_caps(&raw_caps(format, size, rate)).unwrap().size();
        for frame in 0..rate {
            camera.push_in_time(gst::Buffer::from_mut_slice(vec![0x40; bytes]), frame as u64, rate as u64);
        }
        number += 1;
        thread::sleep(Duration::from_millis(200));
        let seen = rig.units() - before;
        assert!(seen >= 15, "mode {number}: {seen} pictures in its second");
    }
    assert_eq!(rig.encoder_news(), []);
    assert_eq!(rig.encode.counters().frames_lost, 0);
    let units = rig.stop();
    let parameters: Vec<_> = units.iter().filter(|unit| unit.key).map(sequence_parameters).collect();
    assert!(parameters[0].is_some());
    assert!(
        parameters.iter().all(|other| *other == parameters[0]),
        "the encoder never began another sequence"
    );
}

#[test]
fn an_h264_camera_is_decoded() {
    let mut rig = Rig::start();
    let caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("width", 320)
        .field("height", 180)
        .field("framerate", gst::Fraction::new(30, 1))
        .build();
    let mut camera = rig.plug_in(&caps);
    let coded = coded("x264enc", (320, 180), 60);
    for (number, picture) in coded.into_iter().enumerate() {
        // One is lost on the cable; what refers to it is smeared, and left out until the next key frame.
        if number != 40 {
            camera.push_in_time(picture, number as u64, 30);
        }
    }
    camera.end();
    rig.wait_for(&MediaEvent::CaptureEnded);
    let counters = rig.encode.counters();
    assert!(counters.frames_in >= 30, "{counters:?}");
    assert_eq!(rig.encoder_news(), []);
}

/// A minute at 30 frames a second.
const MINUTE: u64 = 1800;

/// What a bad grabber makes of good frames, and what of that is to be counted.
struct Dongle {
    dice: Pcg32,
    sent: DamagedFrames,
    whole: u64,
}

impl Dongle {
    fn seeded(seed: u64) -> Dongle {
        Dongle { dice: Pcg32::seed_from_u64(seed), sent: DamagedFrames::default(), whole: 0 }
    }

    /// 5 % truncated, 1 % noise, and 0.5 % that only a decoder can tell: they name a table that there is not.
    fn frame(&mut self, good: &[u8]) -> gst::Buffer {
        let mut frame = good.to_vec();
        match self.dice.gen_range(0..1000) {
            0..50 => {
                self.sent.truncated += 1;
                frame.truncate(self.dice.gen_range(0..good.len() - 2));
                if self.dice.gen_bool(0.5) {
                    frame.resize(good.len(), 0); // as UVC cameras pad
                }
            }
            50..60 => {
                self.sent.corrupt += 1;
                self.dice.fill(&mut frame[..]);
            }
            60..65 => {
                self.sent.undecoded += 1;
                let scan = frame.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
                frame[scan + 6] = 0x33; // tables of the first component
            }
            _ => self.whole += 1,
        }
        gst::Buffer::from_mut_slice(frame)
    }
}

/// An encoder, and pictures pushed into it as a camera would.
struct Rig {
    encode: Encode,
    units: Arc<Mutex<Vec<Unit>>>,
    encoder_events: Receiver<MediaEvent>,
    camera_events: Receiver<MediaEvent>,
    _graph: Option<Graph>,
}

struct FakeCamera {
    source: gst_app::AppSrc,
    /// When its first picture was pushed.
    begin: Option<gst::ClockTime>,
}

impl Rig {
    fn start() -> Rig {
        crate::media::init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\n\
                        encoder = 'software'\n\
                        [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
        let stream = config::parse(document).unwrap().streams.into_values().next().unwrap();
        let units = Arc::new(Mutex::new(Vec::new()));
        let (sender, encoder_events) = events();
        let sink = units.clone();
        let encode = Encode::start(&stream, sender, move |unit| sink.lock().unwrap().push(unit)).unwrap();
        Rig { encode, units, encoder_events, camera_events: events().1, _graph: None }
    }

    fn plug_in(&mut self, caps: &gst::Caps) -> FakeCamera {
        let source = gst_app::AppSrc::builder()
            .caps(caps)
            .format(gst::Format::Time)
            .max_bytes(0)
            .max_buffers(4)
            .block(true)
            .build();
        let graph = Graph::new("fake camera");
        graph.add(&[source.upcast_ref()]).unwrap();
        let entry = graph::plain("identity").unwrap();
        let (sender, receiver) = events();
        camera_branch(&graph, &entry, caps, &self.encode.inputs(), &sender).unwrap();
        graph.link(&[source.upcast_ref(), &entry]).unwrap();
        self._graph = Some(run_picture(graph, &sender).unwrap());
        self.camera_events = receiver;
        FakeCamera { source, begin: None }
    }

    fn wait_for(&mut self, wanted: &MediaEvent) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            match self.camera_events.try_recv() {
                Ok(MediaEvent::CaptureFailed { reason }) => panic!("{reason}"),
                Ok(event) if event == *wanted => return,
                Ok(_) => {}
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("no {wanted:?}");
    }

    fn units(&self) -> usize {
        self.units.lock().unwrap().len()
    }

    fn encoder_news(&mut self) -> Vec<MediaEvent> {
        std::iter::from_fn(|| self.encoder_events.try_recv().ok()).collect()
    }

    fn stop(self) -> Vec<Unit> {
        drop(self._graph);
        self.encode.stop();
        std::mem::take(&mut *self.units.lock().unwrap())
    }
}

impl FakeCamera {
    /// As fast as it is taken.
    fn push(&self, mut picture: gst::Buffer, number: u64) {
        let header = picture.make_mut();
        header.set_pts(gst::ClockTime::from_nseconds(number * 1_000_000_000 / 30));
        header.set_duration(gst::ClockTime::from_nseconds(1_000_000_000 / 30));
        header.set_dts(gst::ClockTime::NONE);
        self.source.push_buffer(picture).unwrap();
    }

    /// At its time.
    fn push_in_time(&mut self, mut picture: gst::Buffer, number: u64, rate: u64) {
        let begin = *self.begin.get_or_insert_with(clock::now);
        let at = begin + gst::ClockTime::from_nseconds(number * 1_000_000_000 / rate);
        thread::sleep(Duration::from_nanos(at.nseconds().saturating_sub(clock::now().nseconds())));
        let header = picture.make_mut();
        // The running time of a pipeline that was started a little before.
        header.set_pts(at.saturating_sub(self.source.base_time().unwrap()));
        header.set_dts(gst::ClockTime::NONE);
        header.set_duration(gst::ClockTime::from_nseconds(1_000_000_000 / rate));
        self.source.push_buffer(picture).unwrap();
    }

    fn end(&self) {
        self.source.end_of_stream().unwrap();
    }
}

fn mjpeg_caps((width, height): (i32, i32)) -> gst::Caps {
    gst::Caps::builder("image/jpeg")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

fn raw_caps(format: &str, (width, height): (i32, i32), rate: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(rate, 1))
        .build()
}

/// Some different pictures.
fn jpegs(size: (i32, i32)) -> Vec<Vec<u8>> {
    let coded = coded("jpegenc", size, 8);
    coded.iter().map(|picture| picture.map_readable().unwrap().to_vec()).collect()
}

/// Without its Huffman tables, which are the usual ones.
fn without_tables(frame: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (frame[..2].to_vec(), &frame[2..]);
    while rest[1] != 0xDA {
        let (segment, tail) = rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        if segment[1] != 0xC4 {
            kept.extend(segment);
        }
        rest = tail;
    }
    assert!(kept.len() + rest.len() < frame.len(), "jpegenc writes its tables");
    kept.extend(rest);
    kept
}

/// What an encoder makes of a moving picture.
fn coded(encoder: &'static str, size: (i32, i32), frames: usize) -> Vec<gst::Buffer> {
    let graph = Graph::new("coded");
    let source = graph::make("videotestsrc", |source| {
        source.property("horizontal-speed", 4).property("num-buffers", frames as i32)
    })
    .unwrap();
    let filter = graph::only(&raw_caps("I420", size, 30)).unwrap();
    let encoder = match encoder {
        "x264enc" => graph::make(encoder, |encoder| {
            encoder.property_from_str("tune", "zerolatency").property("key-int-max", 10_u32)
        }),
        _ => graph::plain(encoder),
    }
    .unwrap();
    let streams = gst::Caps::builder_full()
        .structure(gst::Structure::new_empty("image/jpeg"))
        .structure(
            gst::Structure::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
        )
        .build();
    let sink = gst_app::AppSink::builder().sync(false).caps(&streams).build();
    graph.chain(&[&source, &filter, &encoder, sink.upcast_ref()]).unwrap();
    graph.play(gst::ClockTime::ZERO).unwrap();
    let mut pictures = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(10)) {
        pictures.push(sample.buffer_owned().unwrap());
    }
    assert_eq!(pictures.len(), frames);
    pictures
}

/// The first sequence parameter set of a unit in a byte stream.
fn sequence_parameters(unit: &Unit) -> Option<Vec<u8>> {
    let bytes = unit.buffer.map_readable().unwrap();
    let begin = bytes.windows(4).position(|head| head[..3] == [0, 0, 1] && head[3] & 0x1F == 7)? + 3;
    let end = bytes[begin..].windows(3).position(|head| head == [0, 0, 1])? + begin;
    Some(bytes[begin..end].to_vec())
}
