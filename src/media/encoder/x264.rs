//! x264enc: H.264 in software, the back end that every machine has.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use super::backend::{Backend, Input, KeyFrames, Place, Rate, Settings, Versions, no_controls};
use super::setting::{Setting, must};
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

/// A changed bitrate takes effect in place, without a key frame; other caps make it begin anew, which takes
/// milliseconds. Its buffer is told as a time and follows the rate. `nal-hrd` stays unset: with it,
/// decreases are ignored.
pub(super) static H264: Backend = Backend {
    info: EncoderInfo {
        backend: "software",
        element: "x264enc",
        package: "gstreamer1.0-plugins-ugly",
        codec: Codec::H264,
        hardware: false,
        rate_step: 0.02,
        rate_interval: Duration::ZERO,
        rate_change_is_key_frame: false,
        resizes: true,
        presets: &["veryfast", "superfast", "ultrafast"],
        limits: Limits {
            max_width: 7680,
            max_height: 4320,
            min_framerate: 1.0,
            max_bitrate: Bitrate::from_kbps(2_048_000),
            stride: 1,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the encoder into its own picture",
        },
    },
    versions: Versions::since((1, 22, 0)),
    plugin: "x264",
    wants: "is software and wants nothing else",
    pixels: &["I420", "NV12"],
    input: Input::System,
    import: None,
    conversion: None,
    rate: Rate { place: Place::Property("bitrate"), unit: Bitrate::from_kbps(1), range: (1, 2_048_000) },
    buffer: None,
    key_frames: KeyFrames::EVENT,
    profiles: &["high"],
    level: None,
    settings,
    controls: no_controls,
};

fn settings(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["tune"], "zerolatency"),
        must(&["speed-preset"], settings.preset.unwrap_or(SPEED_PRESET)),
        must(&["pass"], "cbr"),
        must(&["vbv-buf-capacity"], VBV_MILLISECONDS),
        must(&["bframes"], 0),
        must(&["key-int-max"], settings.group()),
        must(&["byte-stream"], true),
        must(&["option-string"], OPTIONS),
        must(&["threads"], threads()),
    ]
}

/// zerolatency codes a slice a thread: more threads cost picture quality.
fn threads() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(MOST_THREADS).min(MOST_THREADS)
}

/// 720p30 takes a third of an x86 core (measured); slower presets cost small machines frames.
const SPEED_PRESET: &str = "superfast";

/// Measured at 640×360, 30 frames a second, a moving scene, with [`OPTIONS`] below; what comes out against
/// what is told at 500 kbit/s, 2 and 5 Mbit/s, the largest key frame against the mean frame at 2 Mbit/s, the
/// backlog after a cut from 6 to 1.5 Mbit/s, and what comes out of a ramp of 4 % each 100 ms:
///
/// | ms  | filled               | key frame | backlog | ramp |
/// |-----|----------------------|-----------|---------|------|
/// | 120 | 0.94 / 0.95 / 0.99   | 3.4       | 163 ms  | 0.93 |
/// | 200 | 0.94 / 0.98 / 1.00   | 4.3       | 189 ms  | 0.90 |
///
/// Above that, cuts and ramps are followed later (300 ms: 310 ms and 0.86) and little more is filled.
const VBV_MILLISECONDS: u32 = 200;

/// Key frames come when they are due or asked for, not at each cut of a scene. And only the buffer bounds
/// the rate: by default x264 also works off what it gave too much or too little *since it began*, measured
/// by the rate of now. After a change of rate that is a debt that never was, and fills 3 % less at 2 Mbit/s.
const OPTIONS: &str = "scenecut=0:ratetol=100";

const MOST_THREADS: u32 = 4;
