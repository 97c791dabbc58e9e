//! Decodes what was received, to see and hear its marks ([`alignment`](super::alignment)).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_video::prelude::*;

use super::alignment::{Alignment, Marks};
use crate::media::marks;

/// A running decoder of a transport stream. Dropping it stops it.
pub struct Decoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    marks: Arc<Mutex<Marks>>,
}

impl Decoder {
    /// GStreamer must have been initialised.
    ///
    /// # Errors
    /// When the machine lacks an element.
    pub fn start() -> Result<Decoder, glib::BoolError> {
        let caps = gst::Caps::builder("video/mpegts").field("systemstream", true).build();
        let source = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Bytes).max_bytes(0).build();
        let decode = gst::ElementFactory::make("decodebin").build()?;
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([source.upcast_ref(), &decode])?;
        source.link(&decode)?;
        let marks = Arc::new(Mutex::new(Marks::default()));
        let (found, weak) = (marks.clone(), pipeline.downgrade());
        decode.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = weak.upgrade()
                && let Err(error) = connect(&pipeline, pad, &found)
            {
                log::warn!(error:%; "a track of the received stream is not decoded");
            }
        });
        if pipeline.set_state(gst::State::Playing).is_err() {
            return Err(glib::bool_error!("the decoder does not start"));
        }
        Ok(Decoder { pipeline, source, marks })
    }

    /// Takes the next bytes of the stream, or gives false while too much waits: who does not offer them again
    /// leaves them out, which costs marks.
    pub fn feed(&self, bytes: &[u8]) -> bool {
        let has_room = self.source.current_level_bytes() < MOST_WAITING;
        if has_room && let Err(error) = self.source.push_buffer(gst::Buffer::from_slice(bytes.to_vec())) {
            log::debug!(error:%; "the decoder has stopped");
        }
        has_room
    }

    /// What was found until now; `None` before the first mark.
    pub fn alignment(&self) -> Option<Alignment> {
        lock(&self.marks).alignment()
    }

    /// Waits for what was fed to be decoded, and gives the whole.
    pub fn finish(self) -> Option<Alignment> {
        if let Err(error) = self.source.end_of_stream() {
            log::debug!(error:%; "the decoder has stopped");
        }
        if let Some(bus) = self.pipeline.bus() {
            let end = [gst::MessageType::Eos, gst::MessageType::Error];
            let patience = gst::ClockTime::from_nseconds(PATIENCE.as_nanos() as u64);
            bus.timed_pop_filtered(Some(patience), &end);
        }
        self.alignment()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            log::warn!(error:%; "the decoder does not stop");
        }
    }
}

/// Puts what looks at a decoded track behind it.
fn connect(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    marks: &Arc<Mutex<Marks>>,
) -> Result<(), glib::BoolError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map(|format| format.name().as_str());
    let (convert, wanted, take): (_, _, fn(&gst::Sample, &mut Marks) -> Option<()>) = match kind {
        Some("video/x-raw") => {
            let wanted = gst::Caps::builder("video/x-raw").field("format", "I420").build();
            ("videoconvert", wanted, see)
        }
        Some("audio/x-raw") => {
            let wanted = gst::Caps::builder("audio/x-raw")
                .field("format", "F32LE")
                .field("layout", "interleaved")
                .field("channels", 1)
                .build();
            ("audioconvert", wanted, hear)
        }
        Some(_) | None => return Ok(()),
    };
    let convert = gst::ElementFactory::make(convert).build()?;
    let marks = marks.clone();
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if take(&sample, &mut lock(&marks)).is_none() {
                log::debug!("a decoded buffer without a time, or that cannot be read, is left out");
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = gst_app::AppSink::builder().caps(&wanted).sync(false).callbacks(callbacks).build();
    let elements = [&convert, sink.upcast_ref()];
    pipeline.add_many(elements)?;
    gst::Element::link_many(elements)?;
    elements.iter().rev().try_for_each(|element| element.sync_state_with_parent())?;
    let entry =
        convert.static_pad("sink").ok_or_else(|| glib::bool_error!("a converter without an entry"))?;
    pad.link(&entry).map(drop).map_err(|error| glib::bool_error!("{error}"))
}

fn see(sample: &gst::Sample, marks: &mut Marks) -> Option<()> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (columns, rows) = marks::place(info.width(), info.height());
    let (data, stride) = (frame.plane_data(0).ok()?, frame.plane_stride()[0].unsigned_abs() as usize);
    let within = columns.start as usize..columns.end as usize;
    let (mut sum, mut count) = (0u64, 0u64);
    for row in data.chunks(stride).take(rows.end as usize).skip(rows.start as usize) {
        let place = row.get(within.clone())?;
        sum += place.iter().map(|luma| u64::from(*luma)).sum::<u64>();
        count += place.len() as u64;
    }
    marks.picture(time(sample)?, sum as f64 / count.max(1) as f64);
    Some(())
}

fn hear(sample: &gst::Sample, marks: &mut Marks) -> Option<()> {
    let rate: i32 = sample.caps()?.structure(0)?.get("rate").ok()?;
    let samples = sample.buffer()?.map_readable().ok()?;
    let samples = samples.chunks_exact(4).map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]]));
    marks.sound(time(sample)?, f64::from(rate), samples);
    Some(())
}

/// Seconds, for picture and sound alike.
fn time(sample: &gst::Sample) -> Option<f64> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_running_time(sample.buffer()?.pts()?)?;
    Some(at.nseconds() as f64 / 1e9)
}

/// What is found is whole after any panic: one mark more or less.
fn lock(marks: &Mutex<Marks>) -> MutexGuard<'_, Marks> {
    marks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that wait to be decoded, at most: four seconds at 8 Mbit/s; the newest are not taken.
const MOST_WAITING: u64 = 4 << 20;

/// For the end of what waits.
const PATIENCE: Duration = Duration::from_secs(10);
