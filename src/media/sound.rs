//! The encode pipeline's sound branch:
//! appsrc → livesync → audiorate → convert → AAC in ADTS frames, or Opus → appsink.
//!
//! livesync paces the sound by the clock and fills every gap with silence, so that sound never
//! stops while the stream runs. Where real sound comes back it leaves up to 100 ms open (its own idea
//! of a buffer's length), or laps over the silence: audiorate makes sample follow sample.

use std::time::Duration;

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::format::{Formats, SOUND_CHANNELS, SOUND_RATE};
use super::graph::{self, Graph};
use super::unit::{self, Track, Unit};
use crate::config::{Audio, AudioCodec, AudioSource};

/// The branch's end towards the capture; kept for hand-over.
pub(super) fn build(
    graph: &Graph,
    audio: &Audio,
    formats: &Formats,
    sink: impl Fn(Unit) + Send + Sync + 'static,
) -> Result<Option<gst_app::AppSrc>, Error> {
    if audio.source == AudioSource::None {
        return Ok(None);
    }
    let source = inlet(formats, audio);
    let sync = graph::make("livesync", |sync| sync.property("single-segment", true))?;
    let rate = graph::make("audiorate", |rate| {
        rate.property("tolerance", TOLERANCE.nseconds()).property("skip-to-first", true)
    })?;
    let convert = graph::plain("audioconvert")?;
    let coder = coder(audio)?;
    let held_back = LATENCY + lateness(audio);
    let late = coder.late;
    let output = unit::sink(Track::Audio, &coder.caps, move |mut unit| {
        unit.captured += held_back;
        unit.advance(late);
        sink(unit);
    })?;
    hide_seams(&graph::pad(&coder.elements[0], "sink"));
    let mut chain = vec![source.upcast_ref(), &sync, &rate, &convert];
    chain.extend(&coder.elements);
    chain.push(&output);
    graph.chain(&chain)?;
    Ok(Some(source))
}

/// What codes the sound, beginning with the encoder, and what comes out.
struct Coder {
    elements: Vec<gst::Element>,
    caps: gst::Caps,
    /// How much later than its timestamp sound is heard from a decoder: what the encoder puts before the
    /// first of it, and does not take off its times.
    late: gst::ClockTime,
}

fn coder(audio: &Audio) -> Result<Coder, Error> {
    let bits_per_second = i32::try_from(audio.bitrate.as_bps()).unwrap_or(i32::MAX);
    match audio.codec {
        AudioCodec::Aac => {
            let (element, priming) = aac_row()?;
            let encoder = graph::make(element, |encoder| encoder.property("bitrate", bits_per_second))?;
            let elements = vec![encoder, graph::plain("aacparse")?];
            Ok(Coder { elements, caps: adts_caps(), late: of_frames(priming) })
        }
        AudioCodec::Opus => {
            // Constrained: over a few frames it keeps to its rate, which the link's rate control counts on.
            let encoder = graph::make(OPUS_ENCODER, |encoder| {
                encoder
                    .property("bitrate", bits_per_second)
                    .property_from_str("bitrate-type", "constrained-vbr")
                    .property_from_str("frame-size", "20")
            })?;
            let caps = gst::Caps::new_empty_simple("audio/x-opus");
            Ok(Coder { elements: vec![encoder], caps, late: of_frames(OPUS_PRIMING) })
        }
    }
}

/// One AAC frame an access unit, each with its own header, so that a mux needs nothing beside it.
fn adts_caps() -> gst::Caps {
    gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("stream-format", "adts")
        .field("framed", true)
        .field("rate", SOUND_RATE)
        .field("channels", SOUND_CHANNELS)
        .build()
}

/// Starts the branch: livesync fills gaps, and a gap begins with something before it.
pub(super) fn prime(source: &gst_app::AppSrc) {
    let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; PRIMING_BYTES]);
    let header = buffer.get_mut().expect("the buffer is new");
    header.set_pts(clock::now());
    header.set_duration(PRIMING_DURATION);
    if let Err(error) = source.push_buffer(buffer) {
        log::warn!("the sound branch does not take its first silence: {error}");
    }
}

/// Checks that there is an encoder for the codec.
pub(super) fn check(codec: AudioCodec) -> Result<(), Error> {
    match codec {
        AudioCodec::Aac => aac_row().map(drop).and_then(|()| graph::require("aacparse")),
        AudioCodec::Opus => graph::require(OPUS_ENCODER),
    }
}

/// How much later than its timestamp sound comes because it is to be heard earlier.
pub(super) fn lateness(audio: &Audio) -> Duration {
    Duration::from_millis(audio.offset_ms.min(0).unsigned_abs().into())
}

/// How much sound may wait for livesync, which takes one latency's worth: sound that is to be sent later
/// waits there too.
pub(super) fn most_waiting(audio: &Audio) -> gst::ClockTime {
    MOST_WAITING + gst::ClockTime::from_mseconds(audio.offset_ms.max(0).unsigned_abs().into())
}

fn inlet(formats: &Formats, audio: &Audio) -> gst_app::AppSrc {
    let latency = LATENCY + lateness(audio);
    let latency = i64::try_from(latency.as_nanos()).unwrap_or(i64::MAX);
    gst_app::AppSrc::builder()
        .caps(&formats.sound)
        .format(gst::Format::Time)
        .is_live(true)
        .min_latency(latency)
        .max_bytes(0)
        .max_buffers(0)
        .max_time(most_waiting(audio))
        .build()
}

/// livesync and audiorate mark where sound gives way to silence and back. An encoder starts anew at
/// such a mark; there is no need to, because the samples follow each other.
fn hide_seams(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && buffer.flags().contains(gst::BufferFlags::DISCONT)
        {
            buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The first of [`AAC_ENCODERS`] that is there.
fn aac_row() -> Result<(&'static str, u64), Error> {
    let found = AAC_ENCODERS.iter().copied().find(|(element, _)| graph::require(element).is_ok());
    let first @ (element, _) = AAC_ENCODERS[0];
    found.map_or_else(|| graph::require(element).map(|()| first), Ok)
}

fn of_frames(frames: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(frames * 1_000_000_000 / SOUND_RATE as u64)
}

/// In order of preference, with the frames that each puts before the sound; all take a `bitrate` in bit/s
/// as a `gint`. avenc_aac's and voaacenc's frames were measured behind a decoder (21.33 and 33.34 ms),
/// fdkaacenc's are what its library says for AAC-LC.
const AAC_ENCODERS: [(&str, u64); 3] = [("avenc_aac", 1024), ("fdkaacenc", 2048), ("voaacenc", 1600)];

/// Measured as well (0.1 ms): decoders leave out what Opus's own header says.
const OPUS_PRIMING: u64 = 0;

const OPUS_ENCODER: &str = "opusenc";

/// How late sound may come in before silence is put in its place: a capture buffer of 10 ms, and
/// what a loaded machine delays its threads. It delays the sound, and with it what the mux sends.
const LATENCY: Duration = Duration::from_millis(60);

/// Sound that waits before livesync, at most: when it does not keep up, the newest is lost.
const MOST_WAITING: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// Smaller gaps and overlaps are let be, and the sound stays that far from the picture: files have times in
/// whole milliseconds. (Those of devices follow each other, see `device_clock`.)
const TOLERANCE: gst::ClockTime = gst::ClockTime::from_mseconds(2);

const PRIMING_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// [`PRIMING_DURATION`] of 16-bit samples.
const PRIMING_BYTES: usize = SOUND_RATE as usize / 50 * SOUND_CHANNELS as usize * 2;
