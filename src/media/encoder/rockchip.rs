//! Rockchip's media process platform: RK3399, RK3568, RK3588 and their like, with the vendor's plugin.

use std::time::Duration;

use super::backend::{Backend, Input, KeyFrames, Place, Rate, Settings, Versions, no_controls};
use super::setting::{Setting, may, must};
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

pub(super) static H264: Backend = Backend {
    info: info("mpph264enc", Codec::H264),
    profiles: &["high"],
    settings: |settings| [common(settings), vec![may(&["level"], level(settings))]].concat(),
    ..ROW
};

pub(super) static H265: Backend =
    Backend { info: info("mpph265enc", Codec::H265), profiles: &["main"], ..ROW };

/// The rate is put into the configuration of the next picture. It stays within a sixteenth of the target
/// by its own bounds, and has no buffer to set.
const ROW: Backend = Backend {
    info: info("", Codec::H264),
    versions: Versions::since((1, 22, 0)),
    plugin: "rockchipmpp",
    wants: "comes from the board's vendor (or github.com/JeffyCN/mirrors), and wants a Rockchip SoC with \
            /dev/mpp_service",
    pixels: &["NV12", "I420"],
    input: Input::System,
    import: None,
    conversion: None,
    rate: Rate { place: Place::Property("bps"), unit: Bitrate::from_bps(1), range: (1_000, MAX_BPS as u32) },
    buffer: None,
    key_frames: KeyFrames::EVENT,
    profiles: &[],
    level: None,
    settings: common,
    controls: no_controls,
};

const fn info(element: &'static str, codec: Codec) -> EncoderInfo {
    EncoderInfo {
        backend: "rockchip",
        element,
        package: "gstreamer1.0-rockchip1",
        codec,
        hardware: true,
        rate_step: 0.03,
        rate_interval: RATE_INTERVAL,
        rate_change_is_key_frame: false,
        resizes: false, // its reset has not been seen to keep the timestamps
        presets: &[],
        limits: Limits {
            max_width: 7680,
            max_height: 4320,
            min_framerate: 1.0,
            max_bitrate: Bitrate::from_bps(MAX_BPS),
            stride: 16,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the element into the encoder's buffers",
        },
    }
}

fn common(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["rc-mode"], "cbr"),
        must(&["gop"], settings.group()),
        must(&["header-mode"], "each-idr"),
        // By itself it stops at 28 with a constant rate, and then exceeds any low one.
        may(&["qp-max"], 51),
        // A picture that is coded again is late.
        may(&["max-reenc"], 0),
    ]
}

/// By itself it says 4, whatever comes.
fn level(settings: &Settings) -> &'static str {
    let pixels = f64::from(settings.width) * f64::from(settings.height) * settings.framerate.as_f64();
    if pixels <= PIXELS_OF_1080P30 {
        "4"
    } else if pixels <= 2.0 * PIXELS_OF_1080P30 {
        "4.2"
    } else {
        "5.2"
    }
}

/// The configuration is sent with the next picture; the interval only spares the driver.
const RATE_INTERVAL: Duration = Duration::from_millis(100);

/// Level 5.2 in High profile; the property takes any number that fits 31 bits.
const MAX_BPS: u64 = 240_000_000;

const PIXELS_OF_1080P30: f64 = 1920.0 * 1088.0 * 30.0;
