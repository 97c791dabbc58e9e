//! Fewer and smaller pictures for the encoder, changed while it runs.
//!
//! ```text
//! inbox ─▶ (1 of n) ─▶ videoscale ─▶ capsfilter ─▶ encoder
//! ```
//! At the full mode nothing is scaled or copied: videoscale passes buffers on. A change comes into force
//! between two pictures: new caps go ahead of the next one, and the encoder begins anew with a key frame
//! that carries its parameter sets. (videorate would be the element for the frame rate, but at the full
//! rate it leaves out live pictures that come a little early.)

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;

use super::error::Error;
use super::format::{Formats, side};
use super::graph;
use crate::config;

/// What the encoder is given of the stream's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// One picture of so many, at least 1.
    pub one_of: u32,
    /// Size that pictures are scaled to; even, at most the stream's.
    pub width: u32,
    pub height: u32,
}

impl Reduction {
    /// All of the stream's pictures as they are.
    pub(super) fn none(video: &config::Video) -> Reduction {
        Reduction { one_of: 1, width: video.width, height: video.height }
    }
}

/// The elements before the encoder, and how they are told.
pub(super) struct Reducer {
    pub(super) scale: gst::Element,
    pub(super) size: gst::Element,
    wanted: Arc<Mutex<Option<Reduction>>>,
}

/// What the streaming thread knows.
struct Course {
    wanted: Arc<Mutex<Option<Reduction>>>,
    size: gst::Element,
    /// As the stream has them.
    caps: gst::Caps,
    /// In nanoseconds, as what follows.
    frame: u64,
    keyframe_interval: u64,
    /// The rest changes on the streaming thread alone.
    one_of: AtomicU32,
    /// The last picture that went on: nanoseconds, 0 before the first.
    last_kept: AtomicU64,
    /// While the frame rate is reduced: the last picture that a key frame was asked for.
    last_key: AtomicU64,
}

impl Reducer {
    /// For pictures that come out of `before`, reduced from the first on.
    pub(super) fn new(
        before: &gst::Pad,
        formats: &Formats,
        video: &config::Video,
        reduction: Reduction,
    ) -> Result<Reducer, Error> {
        let scale = graph::make("videoscale", |scale| scale.property("add-borders", false))?;
        let size = graph::only(&size_caps(reduction.width, reduction.height))?;
        let wanted = Arc::new(Mutex::new(None));
        let course = Course {
            wanted: wanted.clone(),
            size: size.clone(),
            caps: formats.picture.clone(),
            frame: nanoseconds(video.framerate.frame_duration()),
            keyframe_interval: nanoseconds(video.keyframe_interval),
            one_of: AtomicU32::new(reduction.one_of.max(1)),
            last_kept: AtomicU64::new(0),
            last_key: AtomicU64::new(0),
        };
        watch(before, course);
        Ok(Reducer { scale, size, wanted })
    }

    /// Comes into force with the next picture.
    pub(super) fn set(&self, reduction: Reduction) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reduction);
    }
}

/// Puts the course's decisions into force on what leaves `pad`.
fn watch(pad: &gst::Pad, course: Course) {
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(mask, move |pad, info| {
        if let Some(event) = info.event() {
            let caps = match event.view() {
                gst::EventView::Caps(event) => course.reduced(event.caps()),
                _ => return gst::PadProbeReturn::Ok,
            };
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
            return gst::PadProbeReturn::Ok;
        }
        let Some(at) = info.buffer().and_then(|picture| picture.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        course.change(pad, at);
        if course.keeps(pad, at) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
    });
}

impl Course {
    /// Puts what is wanted into force, ahead of the picture of `at`.
    fn change(&self, pad: &gst::Pad, at: gst::ClockTime) {
        let Some(reduction) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        self.one_of.store(reduction.one_of.max(1), Ordering::Relaxed);
        self.size.set_property("caps", size_caps(reduction.width, reduction.height));
        // Both changes meet at the encoder as one: the filter's is looked at when these caps pass it.
        if !pad.push_event(gst::event::Caps::new(&self.caps)) {
            log::error!(reduction:?; "the encoder did not take another mode");
        }
        self.last_kept.store(0, Ordering::Relaxed);
        self.last_key.store(at.nseconds(), Ordering::Relaxed);
    }

    /// Whether the picture of `at` is one of those that the encoder is given. Asks for the key frames that
    /// are due: the encoder counts frames, of which there are fewer now, and receivers wait for times.
    fn keeps(&self, pad: &gst::Pad, at: gst::ClockTime) -> bool {
        let one_of = self.one_of.load(Ordering::Relaxed);
        if one_of == 1 {
            return true;
        }
        let (at, frame) = (at.nseconds(), self.frame);
        let last = self.last_kept.load(Ordering::Relaxed);
        if last != 0 && at < last + frame * u64::from(one_of) - frame / 2 {
            return false;
        }
        self.last_kept.store(at, Ordering::Relaxed);
        if at >= self.last_key.load(Ordering::Relaxed) + self.keyframe_interval {
            self.last_key.store(at, Ordering::Relaxed);
            let event = gst_video::DownstreamForceKeyUnitEvent::builder().all_headers(true).build();
            if !pad.push_event(event) {
                log::warn!("the encoder did not take the wish for a key frame that was due");
            }
        }
        true
    }

    /// The stream's caps with the frame rate that is left of it.
    fn reduced(&self, caps: &gst::CapsRef) -> gst::Caps {
        let mut caps = caps.to_owned();
        let one_of = self.one_of.load(Ordering::Relaxed);
        for structure in caps.make_mut().iter_mut() {
            if let Ok(full) = structure.get::<gst::Fraction>("framerate") {
                let divisor = i32::try_from(one_of).unwrap_or(i32::MAX);
                structure.set("framerate", full / gst::Fraction::new(divisor, 1));
            }
        }
        caps
    }
}

/// What the encoder's pictures measure. The aspect ratio of pixels stays: a size is chosen to keep the
/// picture's shape.
fn size_caps(width: u32, height: u32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("width", side(width))
        .field("height", side(height))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) // seconds, in the configuration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::graph::Graph;
    use crate::media::{clock, init};

    #[test]
    fn at_the_full_mode_pictures_pass_untouched_and_otherwise_each_second_one_smaller() {
        init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'\nwidth = 64\nheight = 64\n\
                        [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
        let video = config::parse(document).unwrap().streams.into_values().next().unwrap().video;
        let formats = Formats::of(&video, "I420");
        let graph = Graph::new("test");
        let inlet =
            gst_app::AppSrc::builder().caps(&formats.picture).format(gst::Format::Time).is_live(true).build();
        let queue = graph::plain("queue").unwrap();
        let reducer =
            Reducer::new(&graph::pad(&queue, "src"), &formats, &video, Reduction::none(&video)).unwrap();
        let outlet = gst_app::AppSink::builder().sync(false).async_(false).build();
        let chain = [inlet.upcast_ref(), &queue, &reducer.scale, &reducer.size, outlet.upcast_ref()];
        graph.chain(&chain).unwrap();
        graph.play(clock::now()).unwrap();

        let push = |number: u64| {
            let mut picture = gst::Buffer::with_size(64 * 64 * 3 / 2).unwrap();
            picture.make_mut().set_pts(gst::ClockTime::from_nseconds(number * 33_333_333));
            inlet.push_buffer(picture.clone()).unwrap();
            picture
        };
        let pull = |wait| outlet.try_pull_sample(wait);
        for number in 1..=3 {
            let given = push(number);
            let came = pull(5 * gst::ClockTime::SECOND).unwrap();
            assert_eq!(came.buffer().unwrap().peek_memory(0).as_ptr(), given.peek_memory(0).as_ptr());
        }
        reducer.set(Reduction { one_of: 2, width: 32, height: 32 });
        (4..=7).for_each(|number| drop(push(number)));
        let came: Vec<_> = std::iter::from_fn(|| pull(gst::ClockTime::SECOND)).collect();
        let caps = came[0].caps().unwrap().structure(0).unwrap();
        assert_eq!((caps.get("width"), caps.get("framerate")), (Ok(32), Ok(gst::Fraction::new(15, 1))));
        let times: Vec<_> = came.iter().map(|sample| sample.buffer().unwrap().pts().unwrap()).collect();
        assert_eq!(times, [4, 6].map(|number| gst::ClockTime::from_nseconds(number * 33_333_333)));
    }
}
