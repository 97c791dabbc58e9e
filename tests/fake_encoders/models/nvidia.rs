//! NVIDIA: NVENC of graphics cards (gst-plugins-bad, `sys/nvcodec`), and of Jetson boards (`nvv4l2h264enc`).
//!
//! `nvcudah264enc` and `nvautogpuh264enc` (1.22 on; the first is called `nvh264enc` from 1.26 on) are
//! `gstnvh264encoder.cpp`: a bitrate is a soft reconfiguration, while the buffer, the GOP and the rate control
//! make the encoder begin anew. Presets `p1` to `p7`, `tune` and `multi-pass` exist from 1.24 on; 1.26 gave
//! `rate-control`, `zero-reorder-delay` and `b-frames` the names that the older element has for them. Before 1.26,
//! `nvh264enc` is the older `gstnvh264enc.c`, with other names: each change of its bitrate is a key frame.
//! A unit of the bitrate is 1024 bit/s. `nvv4l2h264enc` is NVIDIA's own (open source part of its multimedia API):
//! bit/s, NVMM memory only, key frames asked for by the action signal `force-IDR` and not by event.

use std::time::Duration;

use gst::glib;

use super::super::model::{
    Codec, ENDLESS, Live, Mode, Model, Plan, Property, Settings, USUAL_BUFFER, always, always_runs, boolean,
    choice, copy, double, int, never, text, uint, uint64, without,
};
use super::{H264, H265};

pub static NVCUDAH264ENC: Model = Model {
    properties: cuda_properties,
    codec: Codec::H264,
    sink: "video/x-raw(memory:CUDAMemory), format=NV12, width=[ 145, 4096 ], height=[ 49, 4096 ]; \
           video/x-raw, format=NV12, width=[ 145, 4096 ], height=[ 49, 4096 ]",
    src: H264,
    plan: cuda_plan,
    start: always_runs,
    change_is_key_frame: never,
    equal_is_change: false,
    force_key_since: Some((1, 22, 0)),
    controls: &[],
};

/// `gstnvh265encoder.cpp`: the same but for what H.265 does not know.
pub static NVCUDAH265ENC: Model = Model {
    properties: || without(cuda_properties(), &["cabac"]),
    codec: Codec::H265,
    sink: "video/x-raw(memory:CUDAMemory), format={ NV12, P010_10LE }, width=[ 129, 8192 ], height=[ 33, 8192 ]; \
           video/x-raw, format={ NV12, P010_10LE }, width=[ 129, 8192 ], height=[ 33, 8192 ]",
    src: H265,
    ..copy(&NVCUDAH264ENC)
};

/// The element that is called so up to 1.24.
pub static LEGACY_NVH264ENC: Model = Model {
    properties: legacy_properties,
    codec: Codec::H264,
    sink: "video/x-raw(memory:CUDAMemory), format={ NV12, YV12, I420, BGRA, RGBA }, width=[ 145, 4096 ], \
           height=[ 49, 4096 ]; \
           video/x-raw, format={ NV12, YV12, I420, BGRA, RGBA }, width=[ 145, 4096 ], height=[ 49, 4096 ]",
    src: H264,
    plan: legacy_plan,
    start: always_runs,
    change_is_key_frame: always,
    equal_is_change: true,
    force_key_since: Some((1, 18, 0)),
    controls: &[],
};

pub static NVV4L2H264ENC: Model = Model {
    properties: jetson_properties,
    codec: Codec::H264,
    sink: "video/x-raw(memory:NVMM), format={ I420, NV12 }",
    src: H264,
    plan: jetson_plan,
    start: always_runs,
    change_is_key_frame: never,
    equal_is_change: false,
    force_key_since: None,
    controls: &[],
};

pub static NVV4L2H265ENC: Model = Model {
    properties: || without(jetson_properties(), &["profile", "poc-type", "disable-cabac"]),
    codec: Codec::H265,
    src: H265,
    ..copy(&NVV4L2H264ENC)
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvEncoderRcMode")]
#[repr(i32)]
enum RateControl {
    #[enum_value(name = "Constant Quantization", nick = "cqp")]
    Cqp = 0,
    #[enum_value(name = "Variable Bit Rate", nick = "vbr")]
    Vbr = 1,
    #[enum_value(name = "Constant Bit Rate", nick = "cbr")]
    Cbr = 2,
    #[enum_value(name = "Low-Delay CBR, High Quality", nick = "cbr-ld-hq")]
    CbrLowDelayHq = 3,
    #[enum_value(name = "CBR, High Quality", nick = "cbr-hq")]
    CbrHq = 4,
    #[enum_value(name = "VBR, High Quality", nick = "vbr-hq")]
    VbrHq = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvRcMode")]
#[repr(i32)]
enum LegacyRateControl {
    #[enum_value(name = "Default", nick = "default")]
    Default = 0,
    #[enum_value(name = "Constant Quantization", nick = "constqp")]
    ConstQp = 1,
    #[enum_value(name = "Constant Bit Rate", nick = "cbr")]
    Cbr = 2,
    #[enum_value(name = "Variable Bit Rate", nick = "vbr")]
    Vbr = 3,
    #[enum_value(name = "Variable Bit Rate (with minimum quantization parameter)", nick = "vbr-minqp")]
    VbrMinQp = 4,
    #[enum_value(name = "Low-Delay CBR, High Quality", nick = "cbr-ld-hq")]
    CbrLowDelayHq = 5,
    #[enum_value(name = "CBR, High Quality (slower)", nick = "cbr-hq")]
    CbrHq = 6,
    #[enum_value(name = "VBR, High Quality (slower)", nick = "vbr-hq")]
    VbrHq = 7,
}

/// Presets up to 1.22, and those of the older element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvPreset")]
#[repr(i32)]
enum Preset {
    #[enum_value(name = "Default", nick = "default")]
    Default = 0,
    #[enum_value(name = "High Performance", nick = "hp")]
    Hp = 1,
    #[enum_value(name = "High Quality", nick = "hq")]
    Hq = 2,
    #[enum_value(name = "Low Latency", nick = "low-latency")]
    LowLatency = 3,
    #[enum_value(name = "Low Latency, High Quality", nick = "low-latency-hq")]
    LowLatencyHq = 4,
    #[enum_value(name = "Low Latency, High Performance", nick = "low-latency-hp")]
    LowLatencyHp = 5,
    #[enum_value(name = "Lossless", nick = "lossless")]
    Lossless = 6,
    #[enum_value(name = "Lossless, High Performance", nick = "lossless-hp")]
    LosslessHp = 7,
}

/// Presets from 1.24 on: the older ones are still taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvEncoderPreset")]
#[repr(i32)]
enum NewPreset {
    #[enum_value(name = "Default (deprecated, use p1~7 with tune)", nick = "default")]
    Default = 0,
    #[enum_value(name = "High Performance (deprecated, use p1~7 with tune)", nick = "hp")]
    Hp = 1,
    #[enum_value(name = "High Quality (deprecated, use p1~7 with tune)", nick = "hq")]
    Hq = 2,
    #[enum_value(name = "Low Latency (deprecated, use p1~7 with tune)", nick = "low-latency")]
    LowLatency = 3,
    #[enum_value(name = "Low Latency, High Quality (deprecated)", nick = "low-latency-hq")]
    LowLatencyHq = 4,
    #[enum_value(name = "Low Latency, High Performance (deprecated)", nick = "low-latency-hp")]
    LowLatencyHp = 5,
    #[enum_value(name = "Lossless (deprecated)", nick = "lossless")]
    Lossless = 6,
    #[enum_value(name = "Lossless, High Performance (deprecated)", nick = "lossless-hp")]
    LosslessHp = 7,
    #[enum_value(name = "P1, fastest", nick = "p1")]
    P1 = 8,
    #[enum_value(name = "P2, faster", nick = "p2")]
    P2 = 9,
    #[enum_value(name = "P3, fast", nick = "p3")]
    P3 = 10,
    #[enum_value(name = "P4, medium", nick = "p4")]
    P4 = 11,
    #[enum_value(name = "P5, slow", nick = "p5")]
    P5 = 12,
    #[enum_value(name = "P6, slower", nick = "p6")]
    P6 = 13,
    #[enum_value(name = "P7, slowest", nick = "p7")]
    P7 = 14,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvEncoderTune")]
#[repr(i32)]
enum Tune {
    #[enum_value(name = "Default", nick = "default")]
    Default = 0,
    #[enum_value(name = "High quality", nick = "high-quality")]
    HighQuality = 1,
    #[enum_value(name = "Low latency", nick = "low-latency")]
    LowLatency = 2,
    #[enum_value(name = "Ultra low latency", nick = "ultra-low-latency")]
    UltraLowLatency = 3,
    #[enum_value(name = "Lossless", nick = "lossless")]
    Lossless = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvEncoderMultiPass")]
#[repr(i32)]
enum MultiPass {
    #[enum_value(name = "Default", nick = "default")]
    Default = 0,
    #[enum_value(name = "Disabled", nick = "disabled")]
    Disabled = 1,
    #[enum_value(name = "Two pass with quarter resolution encoding in first pass", nick = "two-pass-quarter")]
    TwoPassQuarter = 2,
    #[enum_value(name = "Two pass", nick = "two-pass")]
    TwoPass = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvV4l2RateControl")]
#[repr(i32)]
enum JetsonRateControl {
    #[enum_value(name = "GST_V4L2_VIDENC_VARIABLE_BITRATE", nick = "variable_bitrate")]
    Variable = 0,
    #[enum_value(name = "GST_V4L2_VIDENC_CONSTANT_BITRATE", nick = "constant_bitrate")]
    Constant = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvV4l2Preset")]
#[repr(i32)]
enum JetsonPreset {
    #[enum_value(name = "Disable HW-Preset", nick = "DisablePreset")]
    Disable = 0,
    #[enum_value(name = "UltraFastPreset for high perf", nick = "UltraFastPreset")]
    UltraFast = 1,
    #[enum_value(name = "FastPreset", nick = "FastPreset")]
    Fast = 2,
    #[enum_value(name = "MediumPreset", nick = "MediumPreset")]
    Medium = 3,
    #[enum_value(name = "SlowPreset", nick = "SlowPreset")]
    Slow = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeNvV4l2Profile")]
#[repr(i32)]
enum JetsonProfile {
    #[enum_value(name = "GST_V4L2_H264_VIDENC_BASELINE_PROFILE", nick = "Baseline")]
    Baseline = 0,
    #[enum_value(name = "GST_V4L2_H264_VIDENC_MAIN_PROFILE", nick = "Main")]
    Main = 2,
    #[enum_value(name = "GST_V4L2_H264_VIDENC_HIGH_PROFILE", nick = "High")]
    High = 4,
}

fn cuda_properties() -> Vec<Property> {
    let (major, minor, _, _) = gst::version();
    let has_tune = (major, minor) >= (1, 24);
    let [rate_control, zero_latency, b_frames] = if (major, minor) >= (1, 26) {
        ["rc-mode", "zerolatency", "bframes"]
    } else {
        ["rate-control", "zero-reorder-delay", "b-frames"]
    };
    let mut properties = vec![
        int("gop-size", -1, i32::MAX, 30),
        uint(b_frames, 0, 4, 0),
        choice(rate_control, RateControl::Vbr),
        int("qp-i", -1, 51, -1),
        int("qp-p", -1, 51, -1),
        int("qp-b", -1, 51, -1),
        uint("max-bitrate", 0, MOST_UNITS, 0),
        uint("vbv-buffer-size", 0, u32::MAX, 0),
        uint("rc-lookahead", 0, 32, 0),
        boolean("i-adapt", false),
        boolean("b-adapt", false),
        boolean("spatial-aq", false),
        boolean("temporal-aq", false),
        boolean("weighted-pred", false),
        boolean(zero_latency, false),
        boolean("nonref-p", false),
        boolean("strict-gop", false),
        uint("aq-strength", 0, 15, 0),
        double("const-quality", 0.0, 51.0, 0.0),
        boolean("aud", true),
        boolean("cabac", true),
        boolean("repeat-sequence-header", false),
    ];
    for name in ["min-qp-i", "min-qp-p", "min-qp-b", "max-qp-i", "max-qp-p", "max-qp-b"] {
        properties.push(int(name, -1, 51, -1));
    }
    if has_tune {
        properties.extend([
            choice("preset", NewPreset::Default),
            choice("tune", Tune::Default),
            choice("multi-pass", MultiPass::Default),
        ]);
    } else {
        properties.push(choice("preset", Preset::Default));
    }
    let mut properties: Vec<_> =
        properties.into_iter().map(|property| property.live(Live::Restart)).collect();
    properties.push(uint("bitrate", 0, MOST_UNITS, 0).live(Live::Rate));
    properties.push(uint("cuda-device-id", 0, i32::MAX as u32, 0));
    properties
}

fn legacy_properties() -> Vec<Property> {
    vec![
        uint("cuda-device-id", 0, u32::MAX, 0),
        choice("preset", Preset::Default).live(Live::Restart),
        choice("rc-mode", LegacyRateControl::Default).live(Live::Restart),
        int("qp-min", -1, 51, -1).live(Live::Restart),
        int("qp-max", -1, 51, -1).live(Live::Restart),
        int("qp-const", -1, 51, -1).live(Live::Restart),
        int("gop-size", -1, i32::MAX, 75).live(Live::Restart),
        uint("bitrate", 0, MOST_UNITS, 0).live(Live::Rate),
        uint("max-bitrate", 0, MOST_UNITS, 0).live(Live::Rate),
        boolean("spatial-aq", false).live(Live::Restart),
        uint("aq-strength", 0, 15, 0).live(Live::Restart),
        boolean("nonref-p", false).live(Live::Restart),
        boolean("zerolatency", false).live(Live::Restart),
        boolean("strict-gop", false).live(Live::Restart),
        double("const-quality", 0.0, 51.0, 0.0).live(Live::Restart),
        boolean("i-adapt", false),
        boolean("aud", true).live(Live::Restart),
        boolean("weighted-pred", false).live(Live::Restart),
        uint("vbv-buffer-size", 0, u32::MAX, 0),
        uint("rc-lookahead", 0, 32, 0),
        boolean("temporal-aq", false).live(Live::Restart),
        uint("bframes", 0, 4, 0),
        boolean("b-adapt", false),
    ]
}

fn jetson_properties() -> Vec<Property> {
    vec![
        text("device", "/dev/v4l2-nvenc"),
        choice("control-rate", JetsonRateControl::Constant),
        uint("bitrate", 0, u32::MAX, 4_000_000).live(Live::Rate),
        uint("iframeinterval", 0, u32::MAX, 30),
        text("qp-range", "-1,-1:-1,-1:-1,-1"),
        uint("idrinterval", 0, u32::MAX, 256),
        uint("peak-bitrate", 0, u32::MAX, 0),
        uint("quant-i-frames", 0, u32::MAX, u32::MAX),
        uint("quant-p-frames", 0, u32::MAX, u32::MAX),
        uint("quant-b-frames", 0, u32::MAX, u32::MAX),
        choice("preset-level", JetsonPreset::UltraFast),
        uint("vbv-size", 0, u32::MAX, 4_000_000),
        boolean("MeasureEncoderLatency", false),
        boolean("ratecontrol-enable", true),
        boolean("maxperf-enable", false),
        choice("profile", JetsonProfile::Baseline),
        uint("poc-type", 0, 2, 0),
        boolean("insert-vui", false),
        boolean("insert-sps-pps", false),
        boolean("insert-aud", false),
        uint("num-B-Frames", 0, 2, 0),
        boolean("disable-cabac", false),
        boolean("bit-packetization", false),
        uint64("slice-header-spacing", 0, u64::MAX, 0),
        boolean("EnableMVBufferMeta", false),
        uint("SliceIntraRefreshInterval", 0, u32::MAX, 0),
        boolean("EnableTwopassCBR", false),
        uint("num-Ref-Frames", 0, 8, 1),
        boolean("enable-lossless", false),
    ]
}

fn cuda_plan(settings: &mut Settings, _: &Mode) -> Plan {
    units_plan(settings, settings.is("repeat-sequence-header"))
}

/// The older one has no property for its headers: each IDR frame has them.
fn legacy_plan(settings: &mut Settings, _: &Mode) -> Plan {
    units_plan(settings, true)
}

fn units_plan(settings: &Settings, repeats_headers: bool) -> Plan {
    let units = match settings.uint("bitrate") {
        0 => AUTOMATIC_UNITS,
        units => units,
    };
    let buffer = match settings.uint("vbv-buffer-size") {
        0 => USUAL_BUFFER,
        kbit => Duration::from_secs_f64(f64::from(kbit) / f64::from(units)),
    };
    Plan {
        bits_per_second: u64::from(units) * 1_024,
        buffer,
        key_distance: u32::try_from(settings.int("gop-size")).unwrap_or(ENDLESS),
        repeats_headers,
    }
}

fn jetson_plan(settings: &mut Settings, _: &Mode) -> Plan {
    let bits_per_second = u64::from(settings.uint("bitrate"));
    let buffer = f64::from(settings.uint("vbv-size")) / (bits_per_second.max(1) as f64);
    Plan {
        bits_per_second,
        buffer: Duration::from_secs_f64(buffer),
        key_distance: settings.uint("idrinterval").clamp(1, ENDLESS),
        repeats_headers: settings.is("insert-sps-pps"),
    }
}

/// The largest bitrate, in units of 1024 bit/s.
const MOST_UNITS: u32 = 2_000 * 1_024;

/// What a bitrate of 0 becomes is the driver's choice: this is the fake's.
const AUTOMATIC_UNITS: u32 = 2_000;
