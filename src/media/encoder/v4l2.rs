//! V4L2 memory-to-memory encoders behind GStreamer's `video4linux2` plugin: Raspberry Pi 3 and 4, and
//! others whose kernel driver is a stateful encoder. A Pi 5 has none.

use std::time::Duration;

use super::backend::{Backend, Conversion, Input, KeyFrames, Place, Rate, Settings, Versions, Way};
use super::import::Import;
use super::setting::Setting;
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

pub(super) static H264: Backend = Backend {
    info: info("v4l2h264enc", Codec::H264),
    profiles: &["high", "main", "constrained-baseline", "baseline"],
    level: Some(|settings| if is_beyond_1080p30(settings) { "4.2" } else { "4" }),
    ..ROW
};

pub(super) static H265: Backend = Backend {
    info: info("v4l2h265enc", Codec::H265),
    profiles: &["main"],
    level: Some(|settings| if is_beyond_1080p30(settings) { "4.1" } else { "4" }),
    ..ROW
};

/// The controls belong to the element's file handle and are told through `extra-controls`, at any time and
/// with values as `i32`; one that fails or that the driver does not have is a line in GStreamer's log and
/// nothing else. All of them are in the property at any time, for it is what an element that is opened
/// anew goes by; a driver is not asked again for a value that it has. GStreamer 1.22 does not heed the event
/// for a key frame and later ones press the same button.
const ROW: Backend = Backend {
    info: info("", Codec::H264),
    versions: Versions::since((1, 22, 0)),
    plugin: "video4linux2",
    wants: "wants a stateful encoder of the kernel (a Raspberry Pi 3 or 4: bcm2835-codec) and access to its \
            /dev/video*",
    pixels: &["NV12", "I420"],
    input: Input::System,
    import: Some(Import { property: "output-io-mode", value: "dmabuf-import" }),
    conversion: Some(Conversion {
        elements: &["v4l2convert"],
        memory: None,
        path: MemoryPath {
            converter: Some("v4l2convert"),
            copies: 2,
            description: "copied to the V4L2 converter, and from there into the encoder's buffers",
        },
    }),
    rate: Rate {
        place: Place::Control("video_bitrate"),
        unit: Bitrate::from_bps(1),
        range: (LOWEST_BPS, MAX_BPS as u32),
    },
    buffer: None,
    key_frames: KeyFrames { way: Way::Control("force_key_frame"), once: None },
    profiles: &[],
    level: None,
    settings: no_settings,
    controls,
};

const fn info(element: &'static str, codec: Codec) -> EncoderInfo {
    EncoderInfo {
        backend: "v4l2m2m",
        element,
        package: "gstreamer1.0-plugins-good",
        codec,
        hardware: true,
        rate_step: 0.03,
        rate_interval: RATE_INTERVAL,
        rate_change_is_key_frame: false,
        // Other caps while it plays can race with the driver: the encoder is replaced instead.
        resizes: false,
        presets: &[],
        limits: Limits {
            max_width: 1920,
            max_height: 1920,
            min_framerate: 9.0, // below, the firmware of the Pi hangs
            max_bitrate: Bitrate::from_bps(MAX_BPS),
            stride: 32,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the element into the driver's buffers",
        },
    }
}

fn no_settings(_: &Settings) -> Vec<Setting> {
    Vec::new()
}

/// Two spellings of the group's length: drivers have one or the other. The mode is 0, variable: the Pi's
/// firmware refuses a constant rate in High profile, and hangs with it at 1080p in Main.
fn controls(settings: &Settings) -> Vec<(&'static str, i32)> {
    let group = i32::try_from(settings.group()).unwrap_or(i32::MAX); // at most 4800
    vec![
        ("video_bitrate_mode", 0),
        ("h264_i_frame_period", group),
        ("video_gop_size", group),
        ("video_b_frames", 0),
        ("repeat_sequence_header", 1),
    ]
}

/// GStreamer would take level 1 by itself.
fn is_beyond_1080p30(settings: &Settings) -> bool {
    let blocks = settings.width.div_ceil(16) * settings.height.div_ceil(16);
    f64::from(blocks) * settings.framerate.as_f64() > BLOCKS_OF_LEVEL_4
}

/// Takes effect at once; the interval only spares the driver.
const RATE_INTERVAL: Duration = Duration::from_millis(100);

/// The least that the Pi's driver takes, and the most that level 4 in High profile may have.
const LOWEST_BPS: u32 = 25_000;
const MAX_BPS: u64 = 20_000_000;

/// Macroblocks a second of H.264's level 4: 1920×1080 has 8160 of them, 30 times a second.
const BLOCKS_OF_LEVEL_4: f64 = 245_760.0;
