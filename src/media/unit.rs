//! Access units: what leaves the encoder, and what every output's mux takes.

use std::time::{Duration, Instant};

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::graph;
use super::inputs::running_time;
use super::sound;
use crate::config::{AudioCodec, AudioSource, Codec, Stream};
use crate::units::ByteCount;

/// One coded picture or one frame of sound. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct Unit {
    pub track: Track,
    /// When the picture was taken. Of sound: when its first sample was due to be coded, which is a fixed
    /// time (60 ms) after it was heard. Outputs count a unit's age from here.
    pub captured: Instant,
    /// A decoder can begin here; always true for sound.
    pub key: bool,
    pub size: ByteCount,
    /// Stamped with the shared clock's time.
    pub(super) buffer: gst::Buffer,
}

/// What a unit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    Video,
    Audio,
}

/// The tracks of a stream, as a mux must know them beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracks {
    pub video: Codec,
    /// `None` where there is no sound track.
    pub audio: Option<AudioCodec>,
    /// How much later than the picture of the same time the sound comes, because it is to be heard
    /// earlier (a negative `audio.offset_ms`).
    pub audio_lateness: Duration,
}

impl Tracks {
    pub fn of(stream: &Stream) -> Tracks {
        Tracks {
            video: stream.video.codec,
            audio: (stream.audio.source != AudioSource::None).then_some(stream.audio.codec),
            audio_lateness: sound::lateness(&stream.audio),
        }
    }
}

/// The end of a branch of the encode pipeline: calls `take` with each unit, on the branch's thread.
pub(super) fn sink(
    track: Track,
    caps: &gst::Caps,
    take: impl Fn(Unit) + Send + Sync + 'static,
) -> Result<gst::Element, Error> {
    graph::require("appsink")?;
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            match unit(track, sample) {
                Some(unit) => take(unit),
                None => log::warn!(track:? = track; "unit without a timestamp left out"),
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = gst_app::AppSink::builder()
        .caps(caps)
        .sync(false)
        .async_(false)
        .qos(false)
        .enable_last_sample(false)
        .callbacks(callbacks)
        .build();
    Ok(sink.upcast())
}

/// The encode pipeline's base time is zero, so its running times are the clock's times. An
/// encoder's own timestamps are not: x264enc moves them by 1000 hours, and its segment back.
fn unit(track: Track, sample: gst::Sample) -> Option<Unit> {
    let at = running_time(&sample)?;
    let decoded = sample
        .segment()
        .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
        .and_then(|segment| segment.to_running_time(sample.buffer()?.dts()?));
    let mut buffer = sample.buffer_owned()?;
    drop(sample);
    let header = buffer.make_mut();
    header.set_pts(at);
    header.set_dts(decoded.unwrap_or(at).min(at));
    Some(Unit {
        track,
        captured: clock::to_instant(at),
        key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        size: ByteCount::new(buffer.size() as u64),
        buffer,
    })
}

impl Unit {
    /// Has it be shown or heard earlier.
    pub(super) fn advance(&mut self, by: gst::ClockTime) {
        let header = self.buffer.make_mut();
        let earlier = |at: Option<gst::ClockTime>| at.map(|at| at.saturating_sub(by));
        let (pts, dts) = (earlier(header.pts()), earlier(header.dts()));
        header.set_pts(pts);
        header.set_dts(dts);
    }
}

#[cfg(test)]
impl Unit {
    /// A unit of so many bytes, for tests of those who pass units on.
    pub fn sample(track: Track, key: bool, captured: Instant, bytes: usize) -> Unit {
        super::init().expect("GStreamer starts");
        let mut buffer = gst::Buffer::from_slice(vec![0xab; bytes]);
        let at = clock::now();
        buffer.make_mut().set_pts(at);
        buffer.make_mut().set_dts(at);
        Unit { track, captured, key, size: ByteCount::new(bytes as u64), buffer }
    }
}
