//! VA-API: `vah264enc`, `vah264lpenc` and `vah265enc` (plugin `va`), and the older `vaapih264enc` (gstreamer-vaapi).
//!
//! The first three as in gst-plugins-bad 1.22 to 1.26, `sys/va/gstvah264enc.c`: a bitrate, even an equal one,
//! drains the encoder and begins a group of pictures anew. Only what is marked as mutable there has an effect
//! while it runs; `cpb-size` has one with the next such change. A `cpb-size` of 0, or below half a second of the
//! bitrate, becomes two seconds, and is written back: it stays when the bitrate falls.

use std::time::Duration;

use gst::glib;

use super::super::model::{
    Codec, ENDLESS, Live, Mode, Model, Plan, Property, Setting, Settings, always, always_runs, boolean,
    choice, copy, int, uint,
};
use super::{H264, H265};

pub static VAH264ENC: Model = Model {
    properties: h264_properties,
    codec: Codec::H264,
    sink: "video/x-raw(memory:VAMemory), format=NV12; video/x-raw, format=NV12",
    src: H264,
    plan,
    start: always_runs,
    change_is_key_frame: always,
    equal_is_change: true,
    force_key_since: Some((1, 24, 4)),
    controls: &[],
};

pub static VAH264LPENC: Model = Model { properties: low_power_properties, ..copy(&VAH264ENC) };

pub static VAH265ENC: Model = Model {
    properties: h265_properties,
    codec: Codec::H265,
    sink: "video/x-raw(memory:VAMemory), format={ NV12, P010_10LE }; video/x-raw, format={ NV12, P010_10LE }",
    src: H265,
    ..copy(&VAH264ENC)
};

pub static VAH265LPENC: Model = copy(&VAH265ENC);

pub static VAAPIH264ENC: Model = Model {
    properties: vaapi_properties,
    sink: "video/x-raw(memory:VASurface), format=NV12; video/x-raw, format={ NV12, I420, YV12, YUY2 }",
    plan: vaapi_plan,
    force_key_since: Some((1, 0, 0)),
    ..copy(&VAH264ENC)
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeVaRateControl")]
#[repr(i32)]
enum RateControl {
    #[enum_value(name = "Constant Bitrate", nick = "cbr")]
    Cbr = 2,
    #[enum_value(name = "Variable Bitrate", nick = "vbr")]
    Vbr = 4,
    #[enum_value(name = "Video Conferencing Mode (Non HRD compliant)", nick = "vcm")]
    Vcm = 8,
    #[enum_value(name = "Constant Quantizer", nick = "cqp")]
    Cqp = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeVaFeature")]
#[repr(i32)]
enum Feature {
    #[enum_value(name = "Disabled", nick = "disabled")]
    Disabled = 0,
    #[enum_value(name = "Enabled", nick = "enabled")]
    Enabled = 1,
    #[enum_value(name = "Auto", nick = "auto")]
    Auto = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeVaapiRateControl")]
#[repr(i32)]
enum VaapiRateControl {
    #[enum_value(name = "Constant QP", nick = "cqp")]
    Cqp = 1,
    #[enum_value(name = "Constant bitrate", nick = "cbr")]
    Cbr = 2,
    #[enum_value(name = "Variable bitrate", nick = "vbr")]
    Vbr = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeVaapiTune")]
#[repr(i32)]
enum VaapiTune {
    #[enum_value(name = "None", nick = "none")]
    None = 0,
    #[enum_value(name = "High compression", nick = "high-compression")]
    HighCompression = 1,
    #[enum_value(name = "Low power mode", nick = "low-power")]
    LowPower = 3,
}

/// Properties that H.264 and H.265 share.
fn common_properties() -> Vec<Property> {
    vec![
        uint("key-int-max", 0, MOST_GOP, 0),
        uint("b-frames", 0, 31, 0),
        uint("i-frames", 0, 1023, 0),
        uint("num-slices", 1, 200, 1),
        boolean("b-pyramid", false),
        uint("max-qp", 0, 51, 51),
        uint("min-qp", 0, 51, 1),
        uint("qpi", 0, 51, 26).live(Live::Restart),
        uint("qpp", 0, 51, 26).live(Live::Restart),
        uint("qpb", 0, 51, 26).live(Live::Restart),
        boolean("trellis", false),
        boolean("aud", false),
        boolean("cc-insert", true),
        choice("mbbrc", Feature::Auto),
        uint("bitrate", 0, MOST_KBPS, 0).live(Live::Rate),
        uint("target-percentage", 50, 100, 66).live(Live::Restart),
        uint("target-usage", 1, 7, 4).live(Live::Restart),
        uint("cpb-size", 0, MOST_KBPS, 0).live(Live::Later),
        choice("rate-control", RateControl::Cbr).live(Live::Restart),
    ]
}

fn h264_properties() -> Vec<Property> {
    let mut properties = common_properties();
    properties.extend([uint("ref-frames", 0, 16, 3), boolean("dct8x8", true), boolean("cabac", true)]);
    properties
}

/// As those of `vah264enc`: what a driver of the low-power entry point lacks is left out by the real element too.
fn low_power_properties() -> Vec<Property> {
    h264_properties()
}

fn h265_properties() -> Vec<Property> {
    let mut properties = common_properties();
    properties.extend([
        uint("ref-frames", 0, 15, 3),
        uint("num-tile-cols", 1, 20, 1),
        uint("num-tile-rows", 1, 22, 1),
    ]);
    properties
}

fn vaapi_properties() -> Vec<Property> {
    vec![
        choice("rate-control", VaapiRateControl::Cqp),
        uint("bitrate", 0, MOST_KBPS, 0).live(Live::Rate),
        uint("target-percentage", 1, 100, 70),
        uint("keyframe-period", 0, u32::MAX, 30),
        uint("quality-level", 1, 7, 4),
        int("default-roi-delta-qp", -10, 10, -10),
        choice("tune", VaapiTune::None),
        uint("max-bframes", 0, 10, 0),
        uint("refs", 0, 8, 1),
        uint("init-qp", 0, 51, 26),
        uint("min-qp", 0, 51, 1),
        uint("max-qp", 0, 51, 51),
        uint("num-slices", 1, 200, 1),
        boolean("cabac", true),
        boolean("dct8x8", true),
        uint("cpb-length", 1, 10_000, 1_500),
        boolean("aud", false),
        boolean("trellis", false),
    ]
}

fn plan(settings: &mut Settings, mode: &Mode) -> Plan {
    let kbps = match settings.uint("bitrate") {
        0 => default_kbps(mode),
        kbps => kbps,
    };
    let mut buffer = settings.uint("cpb-size");
    if buffer < kbps / 2 {
        buffer = kbps.saturating_mul(2);
        settings.put("cpb-size", Setting::Uint(buffer));
    }
    let key_distance = match settings.uint("key-int-max") {
        0 => mode.frames_per_second.ceil() as u32,
        pictures => pictures,
    };
    Plan {
        bits_per_second: u64::from(kbps) * 1_000,
        buffer: Duration::from_secs_f64(f64::from(buffer) / f64::from(kbps)),
        key_distance,
        repeats_headers: true,
    }
}

fn vaapi_plan(settings: &mut Settings, mode: &Mode) -> Plan {
    let kbps = match settings.uint("bitrate") {
        0 => default_kbps(mode),
        kbps => kbps,
    };
    let key_distance = match settings.uint("keyframe-period") {
        0 => mode.frames_per_second.ceil() as u32,
        pictures => pictures.min(ENDLESS),
    };
    Plan {
        bits_per_second: u64::from(kbps) * 1_000,
        buffer: Duration::from_millis(u64::from(settings.uint("cpb-length"))),
        key_distance,
        repeats_headers: true,
    }
}

/// The real one estimates from the picture's size: 48 bits a macroblock and picture, which is much.
fn default_kbps(mode: &Mode) -> u32 {
    let macroblocks = mode.width.div_ceil(16) * mode.height.div_ceil(16);
    ((f64::from(macroblocks) * 48.0 * mode.frames_per_second / 1_000.0) as u32).max(1)
}

/// `MAX_GOP_SIZE` of `sys/va`.
const MOST_GOP: u32 = 1_024;

const MOST_KBPS: u32 = 2_000 * 1_024;
