//! VA-API: Intel and AMD through Mesa or Intel's driver. GStreamer's `va` plugin, and last the legacy one.

use std::time::Duration;

use super::backend::{
    Backend, Buffer, Conversion, Input, KeyFrames, Place, Rate, Settings, Versions, Way, no_controls,
};
use super::setting::{Setting, may, must};
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

/// Intel's fixed-function encoder. Jasper and Elkhart Lake have no other, and there a constant rate wants the
/// HuC firmware; without it `rate-control` knows only `cqp`, and the encoder is refused.
pub(super) static LOW_POWER_H264: Backend =
    Backend { info: info("vah264lpenc", Codec::H264, 4096), profiles: H264_PROFILES, ..ROW };

pub(super) static LOW_POWER_H265: Backend =
    Backend { info: info("vah265lpenc", Codec::H265, 8192), profiles: &["main"], ..ROW };

pub(super) static H264: Backend =
    Backend { info: info("vah264enc", Codec::H264, 4096), profiles: H264_PROFILES, ..ROW };

pub(super) static H265: Backend =
    Backend { info: info("vah265enc", Codec::H265, 8192), profiles: &["main"], ..ROW };

/// gstreamer-vaapi, removed upstream in 2025: where nothing else is left. Its buffer is told as a time.
pub(super) static LEGACY_H264: Backend = Backend {
    info: EncoderInfo {
        package: "gstreamer1.0-vaapi",
        resizes: false,
        ..info("vaapih264enc", Codec::H264, 4096)
    },
    plugin: "vaapi",
    conversion: None,
    buffer: None,
    key_frames: KeyFrames::EVENT,
    profiles: H264_PROFILES,
    settings: legacy_settings,
    ..ROW
};

/// Every change of the rate, even to an equal one, drains the encoder and begins a new group with an IDR
/// frame; and a forced key frame is an I frame that is no IDR before 1.24.4, at which no receiver can begin.
/// So there, the rate is set again instead. The size of the buffer is written back when it is too small for
/// the rate, so that a lowered rate would keep a buffer of many seconds: it is set before each rate.
const ROW: Backend = Backend {
    info: info("", Codec::H264, 0),
    versions: Versions::since((1, 22, 0)),
    plugin: "va",
    wants: "wants a GPU that encodes and its VA driver (intel-media-va-driver or mesa-va-drivers), and \
            access to /dev/dri/renderD128",
    pixels: &["NV12"],
    input: Input::System,
    import: None,
    conversion: Some(BY_VA),
    rate: Rate {
        place: Place::Property("bitrate"),
        unit: Bitrate::from_kbps(1),
        range: (1, MAX_KBPS as u32),
    },
    buffer: Some(Buffer { property: "cpb-size", unit: 1_000, time: SMALLEST_BUFFER, factor: 1.0 }),
    key_frames: KeyFrames { way: Way::Event, once: Some(((1, 24, 4), Way::SameRate)) },
    profiles: &[],
    level: None,
    settings,
    controls: no_controls,
};

/// Also what Quick Sync takes its pictures by.
pub(super) const BY_VA: Conversion = Conversion {
    elements: &["vapostproc"],
    memory: Some("memory:VAMemory"),
    path: MemoryPath {
        converter: Some("vapostproc"),
        copies: 1,
        description: "copied into a VA surface, converted there by the GPU",
    },
};

const fn info(element: &'static str, codec: Codec, largest: u32) -> EncoderInfo {
    EncoderInfo {
        backend: "vaapi",
        element,
        package: "gstreamer1.0-plugins-bad",
        codec,
        hardware: true,
        rate_step: 0.1,
        rate_interval: RATE_INTERVAL,
        rate_change_is_key_frame: true,
        resizes: true,
        presets: &[],
        limits: Limits {
            max_width: largest,
            max_height: largest,
            min_framerate: 1.0,
            max_bitrate: Bitrate::from_kbps(MAX_KBPS),
            stride: 16,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the encoder into a VA surface",
        },
    }
}

fn settings(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["rate-control"], "cbr"),
        must(&["key-int-max"], settings.group().min(LONGEST_GROUP)),
        must(&["b-frames"], 0),
        // One reference more than needed is a picture more in the decoder's delay.
        may(&["ref-frames"], 1),
    ]
}

fn legacy_settings(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["rate-control"], "cbr"),
        must(&["keyframe-period"], settings.group()),
        must(&["max-bframes"], 0),
        must(&["cpb-length"], LEGACY_BUFFER_MILLISECONDS),
        may(&["refs"], 1),
    ]
}

const H264_PROFILES: &[&str] = &["high", "main", "constrained-baseline"];

/// Each change is a key frame: more than one a second is paid for with picture quality.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The smallest that the element takes (1.22, 1.26): it makes two seconds of anything smaller.
const SMALLEST_BUFFER: Duration = Duration::from_millis(500);

/// As with x264: a cut of the rate is followed within this.
const LEGACY_BUFFER_MILLISECONDS: u32 = 200;

/// The element's own bound for `key-int-max`.
const LONGEST_GROUP: u32 = 1024;

/// The bound of the property: 2000 × 1024.
const MAX_KBPS: u64 = 2_048_000;
