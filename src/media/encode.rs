//! The encode pipeline: runs from the stream's start to its end, whatever becomes of the source.
//!
//! ```text
//! live appsrc  ─▶┐
//!                ├─▶ switch ─▶ thinning ─▶ queue ─▶ reduction ─▶ encoder ─▶ parser ─▶ appsink ─▶ Unit
//! slate appsrc ─▶┘
//! sound appsrc ─▶ livesync ─▶ AAC ─────────────────────────────────────────────────▶ appsink ─▶ Unit
//! ```
//! Nobody ever sends an end of stream into it: sources end in their own pipelines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::clock;
use super::encoder::{self, Encoder, EncoderInfo, MemoryPath, Settings};
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::Formats;
use super::graph::{self, Graph};
use super::inputs::{Inputs, OnAir};
use super::reduction::{Reducer, Reduction};
use super::slate::{Held, Outlet, Slate};
use super::sound;
use super::thinning::Thinning;
use super::unit::{self, Track, Unit};
use crate::config::{self, Codec};
use crate::units::{Bitrate, ByteCount};

/// A running encode pipeline. Dropping it stops it.
pub struct Encode {
    // In the order of their end: the slate's thread pushes into the graph.
    slate: Slate,
    graph: Graph,
    inputs: Inputs,
    encoder: Encoder,
    reducer: Reducer,
    gates: Gates,
}

/// What is on air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    Live,
    /// The slate; `reason` stands on it where it is a text.
    Slate {
        reason: String,
    },
}

/// What went through. All of it only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Live pictures handed over by captures, on air or not.
    pub frames_in: u64,
    /// Pictures dropped before the encoder because it was not ready for them; counted when it takes
    /// the next one.
    pub frames_dropped: u64,
    /// Pictures left out because they came less than half a frame after the one before: where live
    /// and slate, or two captures, meet.
    pub frames_crowded: u64,
    /// Pictures on air, the slate's included, left out because of [`Encode::set_thinning`].
    pub frames_thinned: u64,
    /// Coded pictures, the slate's included.
    pub frames_out: u64,
    /// Of coded pictures.
    pub bytes_out: ByteCount,
    /// Buffers of captured sound (10 ms, as a rule) dropped because the encoder was not ready for them.
    pub sound_dropped: u64,
    /// Coded frames of sound.
    pub sound_frames_out: u64,
    /// When the newest live picture arrived.
    pub last_live_frame: Option<Instant>,
}

impl Encode {
    /// Builds and starts the pipeline, with the live picture on air. `sink` is called with each unit,
    /// on one thread for each track; it must not block.
    pub fn start(
        stream: &config::Stream,
        events: EventSender,
        sink: impl Fn(Unit) + Send + Sync + 'static,
    ) -> Result<Encode, Error> {
        let video = &stream.video;
        let backend = encoder::row(encoder::choose(video)?);
        let pixels = backend.native_pixels();
        let encoder = backend.build(&Settings {
            width: video.width,
            height: video.height,
            framerate: video.framerate,
            keyframe_interval: video.keyframe_interval,
            start: stream.rate.start,
            pixels,
            preset: None,
        })?;
        let formats = Formats::of(video, pixels);
        let graph = Graph::new(PIPELINE);
        let gates = Gates::default();
        let sink = Arc::new(sink);

        let sound = {
            let (coded, sink) = (gates.coded_sound.clone(), sink.clone());
            sound::build(&graph, &stream.audio, &formats, move |unit| {
                coded.fetch_add(1, Ordering::Relaxed);
                sink(unit);
            })?
        };
        let held = Held::default();
        let (live, slate_inlet) = (picture_inlet(&formats), picture_inlet(&formats));
        let before = queue_before_encoder(video.framerate, &gates)?;
        let reducer = Reducer::new(&graph::pad(&before, "src"), &formats, video)?;
        let after = [vec![&before, &reducer.scale, &reducer.size], encoder.chain()].concat();
        let coded = (encoder.parser, video.codec);
        let switch =
            picture_branch(&graph, &live, &slate_inlet, after, coded, &gates, move |unit| sink(unit))?;
        if video.slate == config::Slate::Hold {
            hold_frames(&live, &held);
        }

        switch.to_live();
        let outlet = Outlet {
            inlet: slate_inlet,
            switch_to_slate: {
                let switch = switch.clone();
                Box::new(move || switch.to_slate())
            },
            switch_to_live: {
                let switch = switch.clone();
                Box::new(move || switch.to_live())
            },
            last_out: gates.last_out.clone(),
        };
        let slate = Slate::start(video, &formats, held, outlet)?;
        let inputs = Inputs::new(&formats, live, sound.clone(), stream.audio.offset_ms, switch.on_air);
        graph.play(gst::ClockTime::ZERO)?;
        graph.on_report(move |report| match report {
            Report::Failed { element, reason } => {
                events.send(MediaEvent::EncoderFailed { element, reason });
            }
            Report::Ended => {
                let reason = "the encode pipeline ended by itself".to_owned();
                events.send(MediaEvent::EncoderFailed { element: PIPELINE.to_owned(), reason });
            }
            Report::Prerolled => {}
        });
        if let Some(sound) = &sound {
            sound::prime(sound);
        }
        Ok(Encode { slate, graph, inputs, encoder, reducer, gates })
    }

    /// Where captures hand pictures and sound over, on a fresh lease.
    pub fn inputs(&self) -> Inputs {
        self.inputs.lease()
    }

    /// Changes the rate of the video elementary stream; takes effect within the encoder's buffer
    /// (200 ms).
    pub fn set_target(&self, target: Bitrate) {
        self.encoder.set_target(target);
    }

    /// Leaves out a share of the pictures on air, 0 to 1, spread evenly; from the next picture on. Of 1,
    /// only key frames that are asked for remain. A picture that is coded gets as many bits as before, so
    /// the rate falls by that share.
    pub fn set_thinning(&self, share: f64) {
        self.gates.thinning.set_share(share);
    }

    /// Gives the encoder fewer or smaller pictures from the next one on, with a key frame and new
    /// parameter sets. The target stays, so each picture gets more bits.
    pub fn reduce(&self, reduction: Reduction) {
        self.reducer.set(reduction);
    }

    /// Has the next picture coded as a key frame; it is not thinned out.
    pub fn force_key_frame(&self) {
        self.gates.thinning.let_next_through();
        if !self.encoder.force_key_frame() {
            log::warn!(element = self.encoder.info().element; "the encoder did not take the wish for a key frame");
        }
    }

    /// Chooses what is on air. Both directions take effect within a few milliseconds, with
    /// timestamps that keep rising.
    pub fn show(&self, picture: Picture) {
        match picture {
            Picture::Live => self.slate.hide(),
            Picture::Slate { reason } => self.slate.show(reason),
        }
    }

    pub fn counters(&self) -> Counters {
        Counters {
            frames_in: self.inputs.frames(),
            frames_dropped: self.gates.dropped.load(Ordering::Relaxed) + self.inputs.frames_refused(),
            frames_crowded: self.gates.crowded.load(Ordering::Relaxed),
            frames_thinned: self.gates.thinned.load(Ordering::Relaxed),
            frames_out: self.gates.coded.load(Ordering::Relaxed),
            bytes_out: ByteCount::new(self.gates.coded_bytes.load(Ordering::Relaxed)),
            sound_dropped: self.inputs.sound_refused(),
            sound_frames_out: self.gates.coded_sound.load(Ordering::Relaxed),
            last_live_frame: self.inputs.newest_frame().map(clock::to_instant),
        }
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.encoder.info()
    }

    /// How pictures get to the encoder from system memory.
    pub fn memory(&self) -> MemoryPath {
        self.encoder.memory()
    }

    /// A property of the encoder's element as GStreamer writes it; `None` where it has no such property.
    pub fn encoder_property(&self, name: &str) -> Option<String> {
        self.encoder.property(name)
    }

    /// Stops the pipeline; what is in it is lost (one picture at most: nothing is reordered).
    pub fn stop(self) {
        let Encode { slate, graph, .. } = self;
        drop(slate);
        drop(graph);
    }
}

/// Counters that pad probes keep.
#[derive(Clone, Default)]
struct Gates {
    /// Pictures that went into the queue before the encoder: each is numbered with the count before it.
    queued: Arc<AtomicU64>,
    /// The number that the queue's next picture has if none before it was dropped.
    expected: Arc<AtomicU64>,
    /// Numbers that were missing when the one after them came out of the queue.
    dropped: Arc<AtomicU64>,
    /// Left out because they came too soon after the picture before.
    crowded: Arc<AtomicU64>,
    /// Left out since only a share is wanted.
    thinned: Arc<AtomicU64>,
    thinning: Arc<Thinning>,
    coded: Arc<AtomicU64>,
    coded_bytes: Arc<AtomicU64>,
    coded_sound: Arc<AtomicU64>,
    /// Time of the picture that left the switch last.
    last_out: Arc<AtomicU64>,
}

/// The manual switch between live and slate.
#[derive(Clone)]
struct Switch {
    element: gst::Element,
    live: gst::Pad,
    slate: gst::Pad,
    on_air: OnAir,
}

impl Switch {
    fn to_live(&self) {
        self.element.set_property("active-pad", &self.live);
        self.on_air.set(true);
    }

    fn to_slate(&self) {
        self.on_air.set(false);
        self.element.set_property("active-pad", &self.slate);
    }
}

/// Where raw pictures come in: two may wait, then the newest is lost ([`Inputs`] sees to that).
fn picture_inlet(formats: &Formats) -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .caps(&formats.picture)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .max_buffers(2)
        .build()
}

fn picture_branch(
    graph: &Graph,
    live: &gst_app::AppSrc,
    slate: &gst_app::AppSrc,
    encoder: Vec<&gst::Element>,
    (parser, codec): (&'static str, Codec),
    gates: &Gates,
    sink: impl Fn(Unit) + Send + Sync + 'static,
) -> Result<Switch, Error> {
    let element = graph::make("fallbackswitch", |switch| switch.property("auto-switch", false))?;
    let parse = graph::make(parser, |parse| parse.property("config-interval", -1))?;
    let coded = (gates.coded.clone(), gates.coded_bytes.clone());
    let output = unit::sink(Track::Video, &coded_caps(codec), move |unit| {
        coded.0.fetch_add(1, Ordering::Relaxed);
        coded.1.fetch_add(unit.size.get(), Ordering::Relaxed);
        sink(unit);
    })?;
    graph.add(&[live.upcast_ref(), slate.upcast_ref()])?;
    graph.chain(&[&[&element], encoder.as_slice(), &[&parse, &output]].concat())?;

    let (live_pad, slate_pad) = (switch_pad(graph, &element, live)?, switch_pad(graph, &element, slate)?);
    Ok(Switch { element, live: live_pad, slate: slate_pad, on_air: OnAir::new() })
}

fn queue_before_encoder(framerate: config::Framerate, gates: &Gates) -> Result<gst::Element, Error> {
    let queue = graph::make("queue", |queue| {
        queue
            .property_from_str("leaky", "downstream")
            .property("max-size-buffers", QUEUE_BEFORE_ENCODER)
            .property("max-size-bytes", 0u32)
            .property("max-size-time", 0u64)
            .property("silent", true)
    })?;
    keep_apart(&graph::pad(&queue, "sink"), framerate.frame_duration() / 2, gates);
    count_dropped(&graph::pad(&queue, "src"), gates);
    Ok(queue)
}

/// What leaves the encoder: whole access units with their start codes.
pub(super) fn coded_caps(codec: Codec) -> gst::Caps {
    let name = match codec {
        Codec::H264 => "video/x-h264",
        Codec::H265 => "video/x-h265",
    };
    gst::Caps::builder(name).field("stream-format", "byte-stream").field("alignment", "au").build()
}

fn switch_pad(graph: &Graph, switch: &gst::Element, source: &gst_app::AppSrc) -> Result<gst::Pad, Error> {
    let pad = switch
        .request_pad_simple("sink_%u")
        .ok_or_else(|| graph.not_assembled(gst::glib::bool_error!("the switch gives no further input")))?;
    let output = graph::pad(source.upcast_ref(), "src");
    output
        .link(&pad)
        .map_err(|error| graph.not_assembled(gst::glib::bool_error!("switch input: {error}")))?;
    Ok(pad)
}

/// Leaves out a picture that would follow the one before by less than half a frame, or precede it:
/// when live and slate alternate, timestamps keep rising and the rate stays the stream's. Of the
/// others those go on, numbered, that are not thinned out.
fn keep_apart(pad: &gst::Pad, half_a_frame: Duration, gates: &Gates) {
    let half_a_frame = u64::try_from(half_a_frame.as_nanos()).unwrap_or(u64::MAX); // at most half a second
    let gates = gates.clone();
    // Left out with `Handled`: with `Drop`, GStreamer 1.22 wants to release a buffer that is not there.
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(picture) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let Some(at) = picture.pts() else {
            return gst::PadProbeReturn::Handled; // every inlet's buffers are stamped
        };
        let last = gates.last_out.load(Ordering::Relaxed);
        if last != 0 && at.nseconds() < last + half_a_frame {
            gates.crowded.fetch_add(1, Ordering::Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        gates.last_out.store(at.nseconds(), Ordering::Relaxed);
        if gates.thinning.leaves_out() {
            gates.thinned.fetch_add(1, Ordering::Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        picture.make_mut().set_offset(gates.queued.fetch_add(1, Ordering::Relaxed));
        gst::PadProbeReturn::Ok
    });
}

/// Counts the pictures that are missing between one that leaves the queue and the one before. Differences
/// of what went in and what came out would not do: they hold pictures that are still on their way.
fn count_dropped(pad: &gst::Pad, gates: &Gates) {
    let (expected, dropped) = (gates.expected.clone(), gates.dropped.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(number) = info.buffer().map(|picture| picture.offset()) {
            let missing = number.saturating_sub(expected.swap(number + 1, Ordering::Relaxed));
            dropped.fetch_add(missing, Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Keeps the newest live picture for the slate.
fn hold_frames(live: &gst_app::AppSrc, held: &Held) {
    let held = held.clone();
    graph::pad(live.upcast_ref(), "src").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(frame) = info.buffer() {
            held.keep(frame.to_owned());
        }
        gst::PadProbeReturn::Ok
    });
}

const PIPELINE: &str = "encode";

/// Pictures that wait for the encoder; when it is full, the oldest is dropped and counted.
const QUEUE_BEFORE_ENCODER: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{events, init};

    #[test]
    fn a_failing_encoder_is_an_event_with_its_element_and_reason() {
        let (sender, mut receiver) = events();
        let encode = Encode::start(&stream(), sender, |_| ()).unwrap();
        assert!(receiver.try_recv().is_err(), "all is well");

        let element = &encode.encoder.element;
        let message = gst::message::Error::builder(gst::LibraryError::Encode, "Can not encode.").src(element);
        element.post_message(message.build()).unwrap();
        let MediaEvent::EncoderFailed { element, reason } = receiver.try_recv().unwrap() else {
            panic!("another event");
        };
        assert!(element.starts_with("x264enc"), "{element}");
        assert_eq!(reason, "Can not encode");
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_a_failure_with_a_name() {
        let (sender, mut receiver) = events();
        let encode = Encode::start(&stream(), sender, |_| ()).unwrap();
        let pipeline = encode.graph.downgrade().upgrade().unwrap();
        pipeline.bus().unwrap().post(gst::message::Eos::builder().src(&pipeline).build()).unwrap();
        let MediaEvent::EncoderFailed { element, reason } = receiver.try_recv().unwrap() else {
            panic!("another event");
        };
        assert_eq!((element.as_str(), reason.as_str()), ("encode", "the encode pipeline ended by itself"));
    }

    #[test]
    fn every_picture_that_the_queue_drops_is_counted_once() {
        init().unwrap();
        let (graph, gates) = (Graph::new("test"), Gates::default());
        let inlet = gst_app::AppSrc::builder().format(gst::Format::Time).build();
        let outlet = gst_app::AppSink::builder().sync(false).async_(false).build();
        let queue = queue_before_encoder(config::Framerate::new(30, 1).unwrap(), &gates).unwrap();
        graph.chain(&[inlet.upcast_ref(), &queue, outlet.upcast_ref()]).unwrap();
        let entry = graph::pad(outlet.upcast_ref(), "sink");
        let block = entry
            .add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Ok);
        graph.play(clock::now()).unwrap();
        for second in 1..=3 {
            push(&inlet, second);
            wait_until(|| entry.is_blocking() && queued(&gates) == second);
        }
        assert_eq!(dropped(&gates), 0, "one is with the encoder, two wait");
        for second in 4..=10 {
            push(&inlet, second);
            wait_until(|| queued(&gates) == second);
        }
        entry.remove_probe(block.unwrap());
        push(&inlet, 11);
        let came: Vec<u64> = std::iter::from_fn(|| outlet.try_pull_sample(gst::ClockTime::SECOND / 2))
            .map(|sample| sample.buffer().unwrap().pts().unwrap().seconds())
            .collect();
        assert_eq!((came.first(), came.last()), (Some(&1), Some(&11)));
        assert_eq!(dropped(&gates), 11 - came.len() as u64, "{came:?} came");
        assert!(dropped(&gates) >= 7);
    }

    fn push(inlet: &gst_app::AppSrc, second: u64) {
        let mut picture = gst::Buffer::new();
        picture.make_mut().set_pts(gst::ClockTime::from_seconds(second));
        inlet.push_buffer(picture).unwrap();
    }

    fn queued(gates: &Gates) -> u64 {
        gates.queued.load(Ordering::Relaxed)
    }

    fn dropped(gates: &Gates) -> u64 {
        gates.dropped.load(Ordering::Relaxed)
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(5);
        while !is_so() {
            assert!(Instant::now() < limit, "waited for too long");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stream() -> config::Stream {
        init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'\nwidth = 64\nheight = 64\n\
                        [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
        config::parse(document).unwrap().streams.into_values().next().unwrap()
    }
}
