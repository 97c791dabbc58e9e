//! Intel Quick Sync through oneVPL or the Media SDK: the best of Intel's ways for a rate that changes.

use std::time::Duration;

use super::backend::{Backend, Input, KeyFrames, Place, Rate, Settings, Versions, no_controls};
use super::setting::{Setting, may, must};
use super::vaapi::BY_VA;
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

pub(super) static H264: Backend = Backend {
    info: info("qsvh264enc", Codec::H264, 4096),
    settings: settings_h264,
    profiles: &["high", "main", "constrained-baseline"],
    ..ROW
};

pub(super) static H265: Backend = Backend {
    info: info("qsvh265enc", Codec::H265, 8192),
    settings: settings_h265,
    profiles: &["main"],
    ..ROW
};

/// A change of the rate drains the session and resets it without a new sequence, so without a key frame, as
/// long as nothing is promised of the HRD (GStreamer's source; the driver may decide otherwise). Its buffer
/// cannot be set: no property leads to it.
const ROW: Backend = Backend {
    info: info("", Codec::H264, 0),
    versions: Versions::since((1, 22, 0)),
    plugin: "qsv",
    wants: "wants an Intel GPU, its VA driver (intel-media-va-driver) and the runtime (libmfx-gen1.2, \
            before Tiger Lake libmfx1)",
    pixels: &["NV12"],
    input: Input::System,
    import: None,
    conversion: Some(BY_VA),
    rate: Rate {
        place: Place::Property("bitrate"),
        unit: Bitrate::from_kbps(1),
        range: (1, MAX_KBPS as u32),
    },
    buffer: None,
    key_frames: KeyFrames::EVENT,
    profiles: &[],
    level: None,
    settings: settings_h264,
    controls: no_controls,
};

const fn info(element: &'static str, codec: Codec, largest: u32) -> EncoderInfo {
    EncoderInfo {
        backend: "qsv",
        element,
        package: "gstreamer1.0-plugins-bad",
        codec,
        hardware: true,
        rate_step: 0.03,
        rate_interval: RATE_INTERVAL,
        rate_change_is_key_frame: false,
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

fn settings_h264(settings: &Settings) -> Vec<Setting> {
    settings_with_idr(settings, 0) // each I frame is an IDR frame
}

fn settings_h265(settings: &Settings) -> Vec<Setting> {
    settings_with_idr(settings, 1) // as 0 is for H.264; 0 would be the first I frame alone
}

fn settings_with_idr(settings: &Settings, idr_interval: u32) -> Vec<Setting> {
    vec![
        must(&["rate-control"], "cbr"),
        must(&["gop-size"], settings.group()),
        must(&["idr-interval"], idr_interval),
        must(&["b-frames"], 0),
        must(&["low-latency"], true),
        may(&["disable-hrd-conformance"], true),
    ]
}

/// Each change drains what is in the encoder: at 10 a second that is one picture in three or more.
const RATE_INTERVAL: Duration = Duration::from_millis(100);

/// Far above every level; the element multiplies beyond 16 bits by itself.
const MAX_KBPS: u64 = 240_000;
