//! NVENC: GStreamer's `nvcodec` plugin on a PC, NVIDIA's own elements on a Jetson.

use std::time::Duration;

use super::backend::{
    Backend, Buffer, Conversion, Input, KeyFrames, Place, Rate, Settings, Versions, Way, no_controls,
};
use super::setting::{Setting, may, must};
use super::{EncoderInfo, Limits, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

/// Until 1.26 this name, from then on the next.
pub(super) static CUDA_H264: Backend = Backend {
    info: info("nvcudah264enc", Codec::H264, 4096),
    versions: Versions { from: (1, 22, 0), before: Some(RENAMED) },
    profiles: H264_PROFILES,
    ..ROW
};

pub(super) static CUDA_H265: Backend = Backend {
    info: info("nvcudah265enc", Codec::H265, 8192),
    versions: Versions { from: (1, 22, 0), before: Some(RENAMED) },
    profiles: &["main"],
    ..ROW
};

/// Before 1.26 this was the name of another element, which answers each change of its rate with an IDR frame.
pub(super) static NVENC_H264: Backend = Backend {
    info: info("nvh264enc", Codec::H264, 4096),
    versions: Versions::since(RENAMED),
    profiles: H264_PROFILES,
    ..ROW
};

pub(super) static NVENC_H265: Backend = Backend {
    info: info("nvh265enc", Codec::H265, 8192),
    versions: Versions::since(RENAMED),
    profiles: &["main"],
    ..ROW
};

pub(super) static AUTO_H264: Backend =
    Backend { info: info("nvautogpuh264enc", Codec::H264, 4096), profiles: H264_PROFILES, ..ROW };

pub(super) static AUTO_H265: Backend =
    Backend { info: info("nvautogpuh265enc", Codec::H265, 8192), profiles: &["main"], ..ROW };

pub(super) static JETSON_H264: Backend = Backend {
    info: jetson_info("nvv4l2h264enc", Codec::H264, 4096),
    profiles: H264_PROFILES,
    settings: |settings| [jetson_settings(settings), vec![may(&["profile"], "4")]].concat(), // High
    ..JETSON_ROW
};

pub(super) static JETSON_H265: Backend =
    Backend { info: jetson_info("nvv4l2h265enc", Codec::H265, 8192), profiles: &["main"], ..JETSON_ROW };

/// The rate is in units of 1024 bit, though the property says kbit. A change of it alone is put into the
/// running session. A change of the buffer, the group or the mode makes a new one, which begins with a key
/// frame: so the buffer follows only when the rate has moved far from what it was sized for. Names and
/// values changed with the versions: the older ones stand second.
const ROW: Backend = Backend {
    info: info("", Codec::H264, 0),
    versions: Versions::since((1, 22, 0)),
    plugin: "nvcodec",
    wants: "wants an NVIDIA GPU with NVENC and NVIDIA's driver (nvidia-driver, libnvidia-encode1)",
    pixels: &["NV12"],
    input: Input::System,
    import: None,
    conversion: Some(Conversion {
        elements: &["cudaupload", "cudaconvert"],
        memory: Some("memory:CUDAMemory"),
        path: MemoryPath {
            converter: Some("cudaupload"),
            copies: 1,
            description: "copied to the GPU, converted there",
        },
    }),
    rate: Rate {
        place: Place::Property("bitrate"),
        unit: Bitrate::from_bps(1024),
        range: (1, MAX_STEPS as u32),
    },
    buffer: Some(Buffer { property: "vbv-buffer-size", unit: 1024, time: BUFFER, factor: 1.5 }),
    key_frames: KeyFrames::EVENT,
    profiles: &[],
    level: None,
    settings,
    controls: no_controls,
};

/// Takes pictures in NVIDIA's own memory alone. Orin Nano has no encoder, and an attempt can hang. The
/// size of the buffer is taken only before it runs, and stays that of the first rate.
const JETSON_ROW: Backend = Backend {
    info: jetson_info("", Codec::H264, 0),
    plugin: "nvvideo4linux2",
    wants: "comes from NVIDIA's archive for Jetson, and wants a Jetson with an encoder (Orin Nano has none)",
    input: Input::Only(NVMM),
    conversion: Some(Conversion { elements: &["nvvidconv"], memory: Some(NVMM), path: JETSON_PATH }),
    rate: Rate {
        place: Place::Property("bitrate"),
        unit: Bitrate::from_bps(1),
        range: (1_000, JETSON_MAX_BPS as u32),
    },
    buffer: Some(Buffer { property: "vbv-size", unit: 1, time: BUFFER, factor: f64::INFINITY }),
    key_frames: KeyFrames { way: Way::Signal("force-IDR"), once: None },
    settings: jetson_settings,
    ..ROW
};

const fn info(element: &'static str, codec: Codec, largest: u32) -> EncoderInfo {
    EncoderInfo {
        backend: "nvenc",
        element,
        package: "gstreamer1.0-plugins-bad",
        codec,
        hardware: true,
        rate_step: 0.02,
        rate_interval: RATE_INTERVAL,
        rate_change_is_key_frame: false,
        resizes: true,
        presets: &[],
        limits: Limits {
            max_width: largest,
            max_height: largest,
            min_framerate: 1.0,
            max_bitrate: Bitrate::from_bps(MAX_STEPS * 1024),
            stride: 1,
        },
        memory: MemoryPath {
            converter: None,
            copies: 1,
            description: "system memory; copied by the encoder to the GPU",
        },
    }
}

const fn jetson_info(element: &'static str, codec: Codec, largest: u32) -> EncoderInfo {
    let desktop = info(element, codec, largest);
    EncoderInfo {
        package: "nvidia-l4t-gstreamer",
        rate_step: 0.03,
        resizes: false, // not known of it
        limits: Limits { max_bitrate: Bitrate::from_bps(JETSON_MAX_BPS), ..desktop.limits },
        memory: JETSON_PATH,
        ..desktop
    }
}

fn settings(settings: &Settings) -> Vec<Setting> {
    vec![
        may(&["preset"], "p4").or("low-latency-hq"),
        may(&["tune"], "ultra-low-latency"),
        must(&["rc-mode", "rate-control"], "cbr"),
        must(&["zerolatency", "zero-reorder-delay"], true),
        // Devices that know no B frames have no such property.
        may(&["bframes", "b-frames"], 0),
        must(&["gop-size"], settings.group()),
        must(&["repeat-sequence-header"], true),
    ]
}

fn jetson_settings(settings: &Settings) -> Vec<Setting> {
    vec![
        must(&["control-rate"], "constant_bitrate").or("1"),
        must(&["iframeinterval"], settings.group()),
        must(&["idrinterval"], settings.group()), // 256 by default
        must(&["insert-sps-pps"], true),
        may(&["num-B-Frames"], 0),
        may(&["maxperf-enable"], true),
        may(&["preset-level"], "UltraFastPreset").or("1"),
        may(&["EnableTwopassCBR"], false),
        may(&["insert-vui"], true),
    ]
}

const H264_PROFILES: &[&str] = &["high", "main", "constrained-baseline"];

/// GStreamer that has the CUDA elements under the plain names.
const RENAMED: (u32, u32, u32) = (1, 26, 0);

const NVMM: &str = "memory:NVMM";

const JETSON_PATH: MemoryPath = MemoryPath {
    converter: Some("nvvidconv"),
    copies: 1,
    description: "copied into NVMM memory by the Jetson's converter, encoded from there",
};

/// As with x264: a cut of the rate is followed within this.
const BUFFER: Duration = Duration::from_millis(200);

/// Takes effect with the next picture; the interval only spares the driver.
const RATE_INTERVAL: Duration = Duration::from_millis(100);

/// The bound of the property: 2000 × 1024.
const MAX_STEPS: u64 = 2_048_000;

/// Level 5.1 in High profile; the property takes any number.
const JETSON_MAX_BPS: u64 = 240_000_000;
