use std::thread::sleep;
use std::time::Instant;

use super::*;
use crate::link::relay::Relay;

/// Picture and tone by GStreamer's own elements, over its own SRT, in this process.
struct Sender(gst::Pipeline);

impl Sender {
    fn start(to: SocketAddr, latency_ms: i32, passphrase: Option<&str>) -> Sender {
        let make = gst::ElementFactory::make;
        let picture = make("videotestsrc").property("is-live", true).build().unwrap();
        let size = gst::Caps::builder("video/x-raw").field("width", 320).field("height", 240);
        let size = size.field("framerate", gst::Fraction::new(30, 1)).build();
        let size = make("capsfilter").property("caps", size).build().unwrap();
        let video = make("x264enc").property("key-int-max", 30_u32).property("bitrate", 800_u32);
        let video =
            video.property_from_str("tune", "zerolatency").property_from_str("speed-preset", "ultrafast");
        let video = video.build().unwrap();
        let parse = make("h264parse").property("config-interval", -1).build().unwrap();
        let tone = make("audiotestsrc").property("is-live", true).build().unwrap();
        let audio = make("avenc_aac").build().unwrap();
        let adts = make("aacparse").build().unwrap();
        let mux = make("mpegtsmux").property("alignment", 7).property("pcr-interval", 2700_u32);
        let mux = mux.build().unwrap();
        let sink = make("srtsink").property("uri", format!("srt://{to}")).property("latency", latency_ms);
        let sink = sink.property("wait-for-connection", false).build().unwrap();
        if let Some(passphrase) = passphrase {
            sink.set_property("passphrase", passphrase);
            sink.set_property_from_str("pbkeylen", "32");
        }
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&picture, &size, &video, &parse, &tone, &audio, &adts, &mux, &sink]).unwrap();
        gst::Element::link_many([&picture, &size, &video, &parse, &mux, &sink]).unwrap();
        gst::Element::link_many([&tone, &audio, &adts, &mux]).unwrap();
        // Running time is the monotonic clock, as in our own pipelines.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(gst::ClockTime::ZERO);
        pipeline.set_state(gst::State::Playing).unwrap();
        Sender(pipeline)
    }
}

impl Sender {
    /// `srtsink` of GStreamer 1.22 gives up when its connection breaks, which a restart of `srtsrc` does.
    fn keep_going(&self) {
        if self.0.bus().unwrap().pop_filtered(&[gst::MessageType::Error]).is_some() {
            self.0.set_state(gst::State::Null).unwrap();
            self.0.set_state(gst::State::Playing).unwrap();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

fn options(latency_ms: u64) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        latency: Duration::from_millis(latency_ms),
        encryption: None,
        save: None,
    }
}

fn through(receiver: &Receiver, spec: &str) -> Relay {
    let listen = "127.0.0.1:0".parse().unwrap();
    Relay::start(listen, receiver.address(), spec.parse().unwrap()).unwrap()
}

fn wait_until(receiver: &Receiver, sender: Option<&Sender>, what: &str, holds: impl Fn(&Reception) -> bool) {
    let begun = Instant::now();
    loop {
        let reception = receiver.report();
        if holds(&reception) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "in vain: {what}: {reception:?}");
        if let Some(sender) = sender {
            sender.keep_going();
        }
        sleep(Duration::from_millis(50));
    }
}

fn frames(reception: &Reception) -> u64 {
    reception.stream.video.map_or(0, |video| video.units)
}

#[test]
fn receives_checks_and_saves_an_encrypted_stream() {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("received.ts");
    let encryption = Some(("a good long secret".to_owned(), KeyLength::Aes256));
    let receiver =
        Receiver::start(&Options { encryption, save: Some(path.clone()), ..options(200) }).unwrap();
    let relay = through(&receiver, "delay=20ms");
    let sender = Sender::start(relay.address(), 200, Some("a good long secret"));
    wait_until(&receiver, Some(&sender), "two seconds of picture", |now| frames(now) > 60);
    let running = receiver.report();
    assert!(running.stream.delivered.as_kbps() > 100, "{running:?}");
    let delay = running.delay.unwrap();
    // The latency asked for, and never less; a busy machine may add to it.
    assert!(delay.smallest >= Duration::from_millis(200), "{delay:?}");
    assert!(delay.smallest < Duration::from_millis(900), "{delay:?}");
    assert!(delay.smallest <= delay.newest && delay.newest <= delay.largest);
    drop(sender);
    let reception = receiver.stop();
    let stream = &reception.stream;
    assert_eq!(stream.continuity_errors() + stream.excused_gaps() + stream.sync_losses, 0, "{reception:?}");
    assert_eq!(stream.backward_timestamps(), 0, "{reception:?}");
    assert!(stream.audio.unwrap().sound_frames > 80, "{reception:?}");
    assert_eq!((reception.srt.connections, reception.srt.gaps), (1, 0));
    let saved = std::fs::read(path).unwrap();
    assert_eq!((reception.save_error, reception.failure), (None, None));
    assert_eq!(reception.saved, ByteCount::new(saved.len() as u64));
    assert_eq!(stream.bytes, reception.saved);
}

#[test]
fn tells_packets_that_came_too_late_from_defects() {
    gst::init().unwrap();
    let receiver = Receiver::start(&options(60)).unwrap();
    // A retransmission takes longer than the receiver waits.
    let relay = through(&receiver, "delay=50ms,loss=0.05,seed=3");
    let sender = Sender::start(relay.address(), 60, None);
    wait_until(&receiver, Some(&sender), "gaps", |now| now.stream.excused_gaps() >= 3);
    let reception = receiver.stop();
    assert_eq!(reception.stream.continuity_errors(), 0, "{reception:?}");
    assert!(reception.srt.gaps > 0, "{reception:?}");
}

#[test]
fn goes_on_listening_when_its_caller_has_gone() {
    gst::init().unwrap();
    let receiver = Receiver::start(&options(100)).unwrap();
    for round in 1..=2 {
        let before = receiver.report();
        let sender = Sender::start(receiver.address(), 100, None);
        wait_until(&receiver, Some(&sender), "a picture", |now| frames(now) > frames(&before) + 15);
        let srt = receiver.report().srt;
        assert_eq!(srt, SrtReport { connections: round, gaps: round - 1, restarts: 0 });
    }
    assert_eq!(receiver.stop().failure, None);
}

#[test]
fn is_started_again_when_it_fails_and_gives_up_when_it_always_does() {
    gst::init().unwrap();
    let receiver = Receiver::start(&options(100)).unwrap();
    let fail = || gst::element_error!(receiver.pipeline, gst::ResourceError::Read, ["made up"]);
    fail();
    wait_until(&receiver, None, "a restart", |now| now.srt.restarts == 1);
    let sender = Sender::start(receiver.address(), 100, None);
    wait_until(&receiver, Some(&sender), "a picture", |now| frames(now) > 15);
    drop(sender);
    let begun = Instant::now();
    while receiver.report().failure.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never gives up");
        fail();
        sleep(Duration::from_millis(20));
    }
    let pipeline = receiver.pipeline.downgrade();
    let failure = receiver.stop().failure.unwrap();
    assert!(failure.contains("made up"), "{failure}");
    assert!(pipeline.upgrade().is_none(), "something keeps the pipeline");
}

#[test]
fn says_why_it_cannot_save() {
    gst::init().unwrap();
    let save = Some(PathBuf::from("/nowhere/received.ts"));
    let Err(error) = Receiver::start(&Options { save, ..options(100) }) else { panic!("started") };
    assert_eq!(error.to_string(), "cannot write /nowhere/received.ts");
    let full = Some(PathBuf::from("/dev/full"));
    let receiver = Receiver::start(&Options { save: full, ..options(100) }).unwrap();
    let sender = Sender::start(receiver.address(), 100, None);
    wait_until(&receiver, Some(&sender), "a picture", |now| frames(now) > 15);
    let reception = receiver.stop();
    assert!(reception.save_error.is_some_and(|error| error.contains("No space left")));
}

#[test]
fn time_stamps_of_another_clock_give_no_delay() {
    let lag = |ticks| checker::Lag { newest: ticks, smallest: ticks, spread: Duration::ZERO };
    let hour_before = Ticks::new((1 << 33) - MPEGTSMUX_OFFSET.value() + 45_000);
    let half_a_second = Duration::from_millis(500);
    let same = Delay { newest: half_a_second, smallest: half_a_second, largest: half_a_second };
    assert_eq!(Delay::of(lag(Ticks::new(45_000))), Some(same));
    assert_eq!(Delay::of(lag(hour_before)), Some(same));
    assert_eq!(Delay::of(lag(Ticks::new(2 * 3600 * TICKS_PER_SECOND))), None);
}
