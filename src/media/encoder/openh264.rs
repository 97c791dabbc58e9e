//! openh264enc: H.264 in software, Cisco's; a second opinion where x264 is not installed.

use std::time::Duration;

use super::backend::{Backend, Input, KeyFrames, Place, Rate, Settings, Versions, no_controls};
use super::setting::{Setting, must};
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

/// Its rate is in bit/s and takes effect with the next picture; of all changes, the first brings a key
/// frame. `rate-control=buffer` is no control at all (130 Mbit/s were measured). It has no buffer to set.
pub(super) static H264: Backend = Backend {
    info: EncoderInfo {
        backend: "software",
        element: "openh264enc",
        package: "gstreamer1.0-plugins-bad",
        codec: Codec::H264,
        hardware: false,
        rate_step: 0.02,
        rate_interval: Duration::ZERO,
        rate_change_is_key_frame: false,
        resizes: true,
        presets: &[],
        limits: Limits {
            max_width: 3840,
            max_height: 2160,
            min_framerate: 1.0,
            max_bitrate: Bitrate::from_kbps(240_000), // level 5.2, its highest
            stride: 1,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the encoder into its own picture",
        },
    },
    versions: Versions::since((1, 22, 0)),
    plugin: "openh264",
    wants: "is software and wants nothing else",
    pixels: &["I420"],
    input: Input::System,
    import: None,
    conversion: None,
    rate: Rate { place: Place::Property("bitrate"), unit: Bitrate::from_bps(1), range: (1_000, u32::MAX) },
    buffer: None,
    key_frames: KeyFrames::EVENT,
    profiles: &["high", "main", "constrained-baseline"],
    level: None,
    settings,
    controls: no_controls,
};

fn settings(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["rate-control"], "bitrate"),
        must(&["gop-size"], settings.group()),
        must(&["scene-change-detection"], false),
        must(&["enable-frame-skip"], false),
        must(&["complexity"], "low"),
        must(&["usage-type"], "camera"),
    ]
}
