//! One short encode through a row of the encoder table, as fast as the encoder goes: what it did, unjudged.
//!
//! ```text
//! pictures made beforehand ─▶ appsrc ─▶ encoder ─▶ parser ─▶ appsink ─▶ kept
//!                               ▲ targets and the wish for a key frame, at their pictures
//! afterwards: what was kept ─▶ appsrc ─▶ parser ─▶ decoder ─▶ appsink ─▶ counted
//! ```
//! A driver may hang or crash in any of this: [`Trial::run`] belongs into a process of its own, with a limit.

mod complaints;
mod decode;
mod picture;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;
use serde::{Deserialize, Serialize};

use super::encoder::{self, Encoder, EncoderInfo, Settings};
use super::encoding::coded_caps;
use super::error::Error;
use super::event::{self, Report};
use super::format::Formats;
use super::graph::{self, Graph};
use super::headers::HeaderReader;
use super::inputs::running_time;
use crate::config::{self, Codec, EncoderChoice, Framerate};
use crate::units::{Bitrate, ByteCount};

use self::decode::Effort;

pub use self::decode::{Decoded, decode_sample};

/// What is asked of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub info: &'static EncoderInfo,
    pub mode: Mode,
    /// How much the encoder tries, where it has a choice of that ([`super::EncoderInfo::presets`]).
    pub preset: Option<&'static str>,
    /// How many pictures it is given.
    pub pictures: u32,
    /// Bitrates, each from a picture's number on; the first is there from the start.
    pub targets: Vec<(u32, Bitrate)>,
    /// The number of the picture that is wished to be a key frame.
    pub key_frame_at: u32,
    /// After this time no more is waited for.
    pub patience: Duration,
}

/// Size and pace of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub framerate: Framerate,
}

impl fmt::Display for Mode {
    /// `1920×1080, 30/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}, {}/s", self.width, self.height, self.framerate)
    }
}

/// What an encoder did.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// In the order in which they came.
    pub coded: Vec<CodedPicture>,
    /// Pictures that it was given.
    pub given: u32,
    pub end: End,
    /// Whether it could be stopped in a moment; an encoder that cannot keeps its driver's session.
    pub stops: bool,
    /// What a decoder makes of it; nothing where the encoder did not come to its end.
    pub decoded: Option<Decoded>,
}

/// One coded picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodedPicture {
    /// Which of the given pictures it is, counted from 0, by its timestamp.
    pub number: u32,
    /// Since the start.
    pub after: Duration,
    pub size: ByteCount,
    /// A decoder can begin here: an IDR picture.
    pub idr: bool,
    /// Whether all parameter sets come with it.
    pub parameter_sets: bool,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With the last picture.
    Complete,
    /// It was too slow, or hung.
    OutOfPatience,
    Failed(String),
}

impl Trial {
    /// Encodes, and decodes what came. Takes at most its patience and about two seconds more, unless a
    /// driver hangs where it is asked for something other than pictures.
    ///
    /// # Errors
    /// When the encoder cannot be made or started.
    pub fn run(&self) -> Result<Trace, Error> {
        let backend = encoder::row(self.info);
        let video = self.video();
        let pixels = backend.native_pixels();
        let start = self.targets.first().map_or(Bitrate::ZERO, |(_, target)| *target);
        let encoder = Arc::new(backend.build(
            &Settings {
                width: video.width,
                height: video.height,
                framerate: video.framerate,
                keyframe_interval: video.keyframe_interval,
                start,
                pixels,
                preset: self.preset,
            },
            Some(TRIAL_MEMORY),
        )?);
        let formats = Formats::of(&video, pixels);
        let pictures = picture::moving(&formats.picture)?;
        let (graph, source, kept) = self.graph(&formats, &encoder)?;

        let given = Arc::new(AtomicU32::new(0));
        self.steer(&source, &encoder, &given);
        kept.begin();
        graph.play(gst::ClockTime::ZERO)?;
        self.feed(source, pictures)?;
        let end = wait(&graph, self.patience);
        let stops = stop(graph)?;
        let kept = kept.take();
        let decoded = match end {
            End::Complete => {
                let pictures = kept.iter().map(|kept| (kept.at, kept.bytes.clone()));
                Some(decode::decode(self.info.codec, pictures, DECODING)?)
            }
            End::OutOfPatience | End::Failed(_) => None,
        };
        let coded = kept.iter().map(|kept| self.coded(kept)).collect();
        Ok(Trace { coded, given: given.load(Ordering::Relaxed), end, stops, decoded })
    }

    /// The stream's section that asks for this.
    fn video(&self) -> config::Video {
        config::Video {
            source: config::VideoSource::Test,
            fallback: Vec::new(),
            width: self.mode.width,
            height: self.mode.height,
            framerate: self.mode.framerate,
            codec: self.info.codec,
            encoder: EncoderChoice::Element(self.info.element.to_owned()),
            keyframe_interval: NO_KEY_FRAME_BY_ITSELF,
            slate: config::Slate::Hold,
        }
    }

    fn graph(&self, formats: &Formats, encoder: &Encoder) -> Result<(Graph, gst_app::AppSrc, Kept), Error> {
        let graph = Graph::new("trial");
        let source = gst_app::AppSrc::builder()
            .caps(&formats.picture)
            .format(gst::Format::Time)
            .max_bytes(0)
            .max_buffers(PICTURES_WAITING)
            .block(true)
            .build();
        let parse = parser(encoder.parser)?;
        let kept = Kept::default();
        let sink = kept.sink(self.info.codec);
        graph
            .chain(&[vec![source.upcast_ref()], encoder.chain(), vec![&parse, sink.upcast_ref()]].concat())?;
        Ok((graph, source, kept))
    }

    /// Has targets and the key frame take effect exactly before their pictures, on the thread that brings these.
    fn steer(&self, source: &gst_app::AppSrc, encoder: &Arc<Encoder>, given: &Arc<AtomicU32>) {
        let (encoder, given) = (encoder.clone(), given.clone());
        let (targets, key_frame_at) = (self.targets.clone(), self.key_frame_at);
        graph::pad(source.upcast_ref(), "src").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let number = given.fetch_add(1, Ordering::Relaxed);
            for (_, target) in targets.iter().filter(|(from, _)| *from == number) {
                encoder.set_target(*target);
            }
            if number == key_frame_at && !encoder.force_key_frame() {
                log::warn!("the encoder did not take the wish for a key frame");
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Gives all pictures, on a thread of its own, which a hanging encoder keeps.
    fn feed(&self, source: gst_app::AppSrc, pictures: Vec<gst::Buffer>) -> Result<(), Error> {
        let (count, framerate) = (self.pictures, self.mode.framerate);
        let give = move || {
            for (number, picture) in (0..count).zip(picture::there_and_back(&pictures)) {
                let mut picture = picture.clone();
                let header = picture.make_mut();
                header.set_pts(time_of(number, framerate));
                header.set_duration(time_of(number + 1, framerate) - time_of(number, framerate));
                if let Err(error) = source.push_buffer(picture) {
                    log::debug!(error:%; "the encoder takes no more pictures");
                    return;
                }
            }
            if let Err(error) = source.end_of_stream() {
                log::debug!(error:%; "the encoder takes no end");
            }
        };
        thread(FEEDER, give).map(drop)
    }

    fn coded(&self, kept: &KeptPicture) -> CodedPicture {
        let frame = self.mode.framerate.as_f64();
        let number = (kept.at.nseconds() as f64 / 1e9 * frame).round() as u32; // a few hundred pictures
        let headers = HeaderReader::new(self.info.codec).read(&kept.bytes);
        CodedPicture {
            number,
            after: kept.after,
            size: ByteCount::new(kept.bytes.len() as u64),
            idr: headers.idr,
            parameter_sets: headers.has_parameter_sets(self.info.codec),
        }
    }
}

/// Waits for the end; what an element says on the bus before is what it ended with.
fn wait(graph: &Graph, patience: Duration) -> End {
    let limit = Instant::now() + patience;
    loop {
        let rest = limit.saturating_duration_since(Instant::now());
        let rest = gst::ClockTime::try_from(rest).unwrap_or(gst::ClockTime::MAX);
        let Some(message) = graph.bus().timed_pop(rest) else { return End::OutOfPatience };
        match event::read(&message) {
            Some(Report::Ended) => return End::Complete,
            Some(Report::Failed { element, reason }) => return End::Failed(format!("{element}: {reason}")),
            Some(Report::Prerolled) | None => {}
        }
    }
}

/// What came out of the encoder, in the order in which it came. Bounded by the trial's pictures.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(Option<Instant>, Vec<KeptPicture>)>>);

struct KeptPicture {
    /// Stream time.
    at: gst::ClockTime,
    /// Real time since the start.
    after: Duration,
    bytes: Vec<u8>,
}

impl Kept {
    fn begin(&self) {
        self.lock().0 = Some(Instant::now());
    }

    fn take(&self) -> Vec<KeptPicture> {
        std::mem::take(&mut self.lock().1)
    }

    fn sink(&self, codec: Codec) -> gst_app::AppSink {
        let kept = self.clone();
        sink(&coded_caps(codec), move |sample| {
            let mut kept = kept.lock();
            let after = kept.0.map_or(Duration::ZERO, |begin| begin.elapsed());
            let bytes = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
            if let (Some(at), Some(bytes)) = (running_time(sample), bytes) {
                kept.1.push(KeptPicture { at, after, bytes: bytes.to_vec() });
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Instant>, Vec<KeptPicture>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a graph that calls `take` with each sample, as fast as they come.
fn sink(caps: &gst::Caps, take: impl Fn(&gst::Sample) + Send + 'static) -> gst_app::AppSink {
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            take(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    gst_app::AppSink::builder()
        .caps(caps)
        .sync(false)
        .qos(false)
        .enable_last_sample(false)
        .callbacks(callbacks)
        .build()
}

fn parser(element: &'static str) -> Result<gst::Element, Error> {
    graph::make(element, |parse| parse.property("config-interval", -1))
}

/// Tears the graph down on a thread of its own; false where that takes too long.
fn stop(graph: Graph) -> Result<bool, Error> {
    let (stopped, stopping) = mpsc::channel();
    thread(STOPPER, move || {
        drop(graph);
        if stopped.send(()).is_err() {
            log::debug!("the encoder stopped too late");
        }
    })?;
    Ok(stopping.recv_timeout(STOPPING).is_ok())
}

fn thread(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Error> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|source| Error::Thread { name, source })
}

/// When a picture begins.
fn time_of(number: u32, framerate: Framerate) -> gst::ClockTime {
    let (n, d) = (u64::from(framerate.numerator()), u64::from(framerate.denominator()));
    gst::ClockTime::from_nseconds(u64::from(number) * gst::ClockTime::SECOND.nseconds() * d / n)
}

/// Longer than any trial, and what the configuration allows at most.
/// A trial is of the encoder, and its pictures are no camera's.
const TRIAL_MEMORY: &str = "a trial's pictures are in system memory";

const NO_KEY_FRAME_BY_ITSELF: Duration = Duration::from_secs(20);

/// Enough for an encoder that codes several at a time; when so many wait, the feeder waits.
const PICTURES_WAITING: u64 = 4;

/// What a good encoder takes to stop is a few milliseconds.
const STOPPING: Duration = Duration::from_secs(1);

/// Software decodes a hundred pictures of 1080p in a second or two on a Raspberry Pi.
const DECODING: Effort = Effort { threads: None, patience: Duration::from_secs(4) };

const FEEDER: &str = "trial-feeder";
const STOPPER: &str = "trial-stopper";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::init;

    #[test]
    fn x264_codes_every_picture_and_a_decoder_takes_them() {
        init().unwrap();
        let trace = trial().run().unwrap();
        assert_eq!(trace.end, End::Complete);
        assert!(trace.stops);
        assert_eq!((trace.given, trace.coded.len()), (30, 30));
        assert!(trace.coded.iter().enumerate().all(|(index, coded)| coded.number as usize == index));
        let keys: Vec<u32> = trace.coded.iter().filter(|coded| coded.idr).map(|coded| coded.number).collect();
        assert_eq!(keys, [0, 12]);
        assert!(trace.coded[12].parameter_sets && !trace.coded[13].parameter_sets);
        let bytes = |from: usize, to: usize| trace.coded[from..to].iter().map(|coded| coded.size.get()).sum();
        let (low, high): (u64, u64) = (bytes(14, 20), bytes(24, 30));
        assert!(high > 2 * low, "{low} bytes at 200 kbit/s, {high} at 800");
        assert_eq!(
            trace.decoded,
            Some(Decoded::With {
                decoder: "avdec_h264".to_owned(),
                pictures: 30,
                size: Some((320, 180)),
                error: None
            })
        );
    }

    #[test]
    fn one_that_is_too_slow_is_not_waited_for() {
        init().unwrap();
        let slow = Trial { pictures: 100_000, patience: Duration::from_millis(300), ..trial() };
        let trace = slow.run().unwrap();
        assert_eq!((trace.end, trace.decoded), (End::OutOfPatience, None));
        assert!(trace.stops);
        assert!(trace.given > 0 && !trace.coded.is_empty());
    }

    fn trial() -> Trial {
        Trial {
            info: crate::media::back_ends().find(|info| info.element == "x264enc").unwrap(),
            mode: Mode { width: 320, height: 180, framerate: Framerate::new(30, 1).unwrap() },
            preset: None,
            pictures: 30,
            targets: vec![(0, Bitrate::from_kbps(200)), (20, Bitrate::from_kbps(800))],
            key_frame_at: 12,
            patience: Duration::from_secs(5),
        }
    }
}
