//! x264enc: H.264 in software, the back end that every machine has.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use gst::element_factory::ElementBuilder;

use super::{Backend, EncoderInfo, Settings};
use crate::config::Codec;
use crate::units::Bitrate;

/// A changed bitrate takes effect in place, without a key frame; other caps make it begin anew, which takes
/// milliseconds. `nal-hrd` stays unset: with it, decreases are ignored.
pub(super) const BACKEND: Backend = Backend {
    info: EncoderInfo {
        backend: "software",
        element: "x264enc",
        hardware: false,
        rate_step: 0.02,
        rate_interval: Duration::ZERO,
        rate_change_is_key_frame: false,
        resizes: true,
    },
    codec: Codec::H264,
    pixels: "I420",
    rate_property: "bitrate",
    rate_unit: Bitrate::from_kbps(1),
    rate_range: (1, 2_048_000),
    profile: "high",
    configure,
};

fn configure<'a>(builder: ElementBuilder<'a>, settings: &Settings) -> ElementBuilder<'a> {
    builder
        .property_from_str("tune", "zerolatency")
        .property_from_str("speed-preset", SPEED_PRESET)
        .property_from_str("pass", "cbr")
        .property("vbv-buf-capacity", VBV_MILLISECONDS)
        .property("bframes", 0u32)
        .property("key-int-max", frames_between_key_frames(settings))
        .property("byte-stream", true)
        .property("option-string", "scenecut=0") // key frames come when they are due or asked for
        .property("threads", threads())
}

fn frames_between_key_frames(settings: &Settings) -> u32 {
    let frames = settings.framerate.as_f64() * settings.keyframe_interval.as_secs_f64();
    (frames.round() as u32).max(1) // at most 20 s at 240 frames per second
}

/// zerolatency codes a slice a thread: more threads cost picture quality.
fn threads() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(MOST_THREADS).min(MOST_THREADS)
}

/// 720p30 takes a third of an x86 core (measured); slower presets cost small machines frames.
const SPEED_PRESET: &str = "superfast";

/// The backlog after a cut from 6 to 1 Mbit/s is about 1.2 times this: 346 ms with 300 ms, 90 ms
/// with 120 ms (measured, 720p30); the smaller it is, the coarser are key frames.
const VBV_MILLISECONDS: u32 = 200;

const MOST_THREADS: u32 = 4;
