use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::config::Codec;
use crate::media::{events, init, threads_left_behind};

#[test]
fn a_failing_encoder_is_an_event_with_its_element_and_reason() {
    let mut rig = Rig::start();
    assert!(rig.events.try_recv().is_err(), "all is well");
    fail(&rig.encode.in_use().element());
    let MediaEvent::EncoderFailed { element, reason, .. } = rig.events.try_recv().unwrap() else {
        panic!("another event");
    };
    assert!(element.starts_with("x264enc"), "{element}");
    assert_eq!(reason, "Can not encode");
}

#[test]
fn a_failing_switch_is_another_event() {
    let mut rig = Rig::start();
    fail(&rig.encode.graph.find("fallbackswitch").unwrap());
    assert!(matches!(rig.events.try_recv().unwrap(), MediaEvent::ProgramFailed { .. }));
}

#[test]
fn one_that_failed_is_replaced_and_says_nothing_more() {
    let mut rig = Rig::start();
    rig.feed(10);
    let old = rig.encode.in_use();
    fail(&old.element());
    assert!(matches!(rig.events.try_recv(), Ok(MediaEvent::EncoderFailed { .. })));
    rig.replace();
    let before = rig.units().len();
    rig.feed(10);
    assert!(rig.units().len() >= before + 9);
    rig.encode.serving.0.failed(old.generation, "x264enc", "x264enc0".to_owned(), "again".to_owned());
    assert!(rig.events.try_recv().is_err(), "it is no longer in use");
    rig.assert_whole();
}

#[test]
fn one_that_hangs_is_replaced_at_once() {
    let _alone = lock(&ALONE);
    let rig = Rig::start();
    // A machine that is busy with other things may take its time: once of three times counts.
    let mut hung = Vec::new();
    let mut hang_and_replace = || {
        rig.feed(10);
        hung.push(Hanging::from_now_on(&rig.encode));
        rig.feed(10);
        let begun = Instant::now();
        rig.replace();
        begun.elapsed()
    };
    let took = [hang_and_replace(), hang_and_replace(), hang_and_replace()];
    assert!(took.iter().any(|took| *took < Duration::from_millis(100)), "{took:?}");
    rig.feed(5);
    rig.assert_whole();
}

#[test]
fn one_that_hangs_is_seen_and_what_waits_for_it_goes_to_its_successor() {
    let _alone = lock(&ALONE);
    let rig = Rig::start();
    rig.feed(10);
    let hanging = Hanging::from_now_on(&rig.encode);
    rig.feed(30);
    let stuck = rig.encode.encoder_progress();
    assert!(stuck.pictures_offered >= 30 && stuck.pictures_in <= 12, "{stuck:?}");
    assert!(stuck.units_out < stuck.pictures_in, "{stuck:?}");
    let before = rig.encode.counters();

    let left_behind = threads_left_behind();
    rig.replace();
    rig.feed(10);
    let fresh = rig.encode.encoder_progress();
    assert!(fresh.units_out >= 5 && fresh.since > stuck.since, "{fresh:?}");
    rig.assert_whole();
    let counters = rig.encode.counters();
    assert!(counters.frames_out >= before.frames_out + fresh.units_out, "totals only rise");

    let limit = Instant::now() + Duration::from_secs(10);
    while threads_left_behind() == left_behind {
        assert!(Instant::now() < limit, "its thread is counted");
        thread::sleep(Duration::from_millis(20));
    }
    drop(rig); // does not wait for it
    drop(hanging);
    while threads_left_behind() > left_behind {
        assert!(Instant::now() < limit + Duration::from_secs(5), "one that returns after all is not");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stream_ends_though_its_encoder_hangs() {
    let _alone = lock(&ALONE);
    let rig = Rig::start();
    rig.feed(5);
    let hanging = Hanging::from_now_on(&rig.encode);
    rig.feed(5);
    let begun = Instant::now();
    drop(rig);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(hanging);
}

#[test]
fn a_late_unit_of_the_old_one_goes_nowhere() {
    let rig = Rig::start();
    rig.feed(10);
    let old = rig.encode.in_use();
    rig.replace();
    let before = rig.units().len();
    let unit = rig.units()[0].clone();
    rig.encode.serving.0.deliver(old.generation, &old.inbox, unit);
    assert_eq!(rig.units().len(), before);
}

#[test]
fn a_codec_that_is_not_the_streams_is_refused_and_all_stays() {
    let rig = Rig::start();
    rig.feed(3);
    let other: &_ = Box::leak(Box::new(EncoderInfo { codec: Codec::H265, ..*rig.encode.encoder() }));
    let error = rig.encode.replace(other, None, rig.encode.reduction(), rig.encode.target()).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    rig.feed(3);
    assert!(rig.units().len() >= 5);
}

#[test]
fn what_the_new_one_was_told_in_the_meantime_holds() {
    let rig = Rig::start();
    let (reduction, low) = (Reduction { one_of: 2, width: 32, height: 32 }, Bitrate::from_kbps(321));
    rig.encode.replace(rig.encode.encoder(), None, reduction, low).unwrap();
    assert_eq!((rig.encode.reduction(), rig.encode.target()), (reduction, low));
    assert_eq!(rig.encode.in_use().element().property::<u32>("bitrate"), 321);
}

#[test]
fn fifty_replacements_leave_no_thread_and_no_descriptor() {
    let rig = Rig::start();
    rig.feed(3);
    rig.replace();
    let (threads, descriptors) = (held("task"), held("fd"));
    for _ in 0..50 {
        rig.replace();
        rig.feed(2);
    }
    rig.assert_whole();
    let limit = Instant::now() + Duration::from_secs(5);
    // Other tests of this process begin and end in the meantime: they have as many themselves.
    while held("task") > threads + 60 || held("fd") > descriptors + 60 {
        let held = (held("task"), held("fd"));
        assert!(Instant::now() < limit, "{held:?} threads and descriptors after {threads}, {descriptors}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Time from a picture's hand-over by a capture to the encoder's own input.
#[test]
#[ignore = "a measurement"]
fn how_long_the_way_to_the_encoder_takes() {
    let rig = Rig::start();
    let took = Arc::new(Mutex::new(Vec::new()));
    let sink = took.clone();
    let entry = graph::pad(&rig.encode.in_use().element(), "sink");
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let at = info.buffer().unwrap().pts().unwrap();
        lock(&sink).push((clock::now() - at).useconds());
        gst::PadProbeReturn::Ok
    });
    rig.feed(450);
    let mut took = lock(&took).clone();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{} pictures: p50 {} p90 {} p99 {} max {} us", took.len(), at(0.5), at(0.9), at(0.99), at(1.0));
}

/// A running stream that is fed by hand, and what came out.
struct Rig {
    encode: Encode,
    units: Arc<Mutex<Vec<Unit>>>,
    events: Receiver<MediaEvent>,
}

impl Rig {
    fn start() -> Rig {
        let (sender, events) = events();
        let units = Arc::new(Mutex::new(Vec::new()));
        let sink = units.clone();
        let encode = Encode::start(&stream(), sender, move |unit| lock(&sink).push(unit)).unwrap();
        Rig { encode, units, events }
    }

    /// So many pictures, one each 33 ms.
    fn feed(&self, pictures: usize) {
        for _ in 0..pictures {
            self.encode.inputs.push_now(gst::Buffer::with_size(64 * 64 * 3 / 2).unwrap());
            thread::sleep(Duration::from_millis(33));
        }
    }

    fn replace(&self) {
        let encode = &self.encode;
        encode.replace(encode.encoder(), None, encode.reduction(), encode.target()).unwrap();
    }

    fn units(&self) -> Vec<Unit> {
        lock(&self.units).clone()
    }

    /// Timestamps rise.
    fn assert_whole(&self) {
        let times: Vec<_> = self.units().iter().map(|unit| (unit.buffer.pts(), unit.buffer.dts())).collect();
        assert!(times.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{times:?}");
    }
}

/// An encoder that blocks for ever with the next picture: until this is dropped, for the tests' sake.
struct Hanging(#[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

/// Threads left behind are counted for the process: tests that leave some wait for one another.
static ALONE: Mutex<()> = Mutex::new(());

impl Hanging {
    fn from_now_on(encode: &Encode) -> Hanging {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let entry = graph::pad(&encode.in_use().element(), "sink");
        entry.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            assert!(lock(&hang).recv().is_err(), "nobody sends");
            gst::PadProbeReturn::Ok
        });
        Hanging(release)
    }
}

/// How many threads (`task`) or descriptors (`fd`) this process has.
fn held(kind: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{kind}")).unwrap().count()
}

fn fail(element: &gst::Element) {
    let message = gst::message::Error::builder(gst::LibraryError::Encode, "Can not encode.").src(element);
    element.post_message(message.build()).unwrap();
}

fn stream() -> config::Stream {
    init().unwrap();
    let document = "[streams.main.video]\nsource = 'test'\nwidth = 64\nheight = 64\n\
                    [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
    config::parse(document).unwrap().streams.into_values().next().unwrap()
}
