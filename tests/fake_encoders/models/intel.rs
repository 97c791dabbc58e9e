//! Intel Quick Sync: `qsvh264enc` and `qsvh265enc`, as in gst-plugins-bad 1.22, `sys/qsv/gstqsvh264enc.cpp`.
//!
//! A bitrate that differs resets the encoder; with HRD conformance, which is the default, that begins a new
//! sequence: an IDR frame. An equal one is none of a change. Other properties that differ make it begin anew.

use gst::glib;

use super::super::model::{
    Codec, ENDLESS, Live, Mode, Model, Plan, Property, Settings, USUAL_BUFFER, always_runs, boolean, choice,
    text, uint,
};
use super::{H264, H265};

pub static QSVH264ENC: Model = Model {
    properties: h264_properties,
    codec: Codec::H264,
    sink: "video/x-raw(memory:VAMemory), format=NV12, width=[ 16, 8192 ], height=[ 16, 8192 ]; \
           video/x-raw, format=NV12, width=[ 16, 8192 ], height=[ 16, 8192 ]",
    src: H264,
    plan: h264_plan,
    start: always_runs,
    change_is_key_frame: |settings| !settings.is("disable-hrd-conformance"),
    equal_is_change: false,
    force_key_since: Some((1, 22, 0)),
    controls: &[],
};

pub static QSVH265ENC: Model = Model {
    properties: h265_properties,
    codec: Codec::H265,
    sink: "video/x-raw(memory:VAMemory), format={ NV12, P010_10LE }, width=[ 16, 8192 ], height=[ 16, 8192 ]; \
           video/x-raw, format={ NV12, P010_10LE }, width=[ 16, 8192 ], height=[ 16, 8192 ]",
    src: H265,
    plan: h265_plan,
    start: always_runs,
    change_is_key_frame: |settings| !settings.is("disable-hrd-conformance"),
    equal_is_change: false,
    force_key_since: Some((1, 22, 0)),
    controls: &[],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeQsvRateControl")]
#[repr(i32)]
enum RateControl {
    #[enum_value(name = "Constant Bitrate", nick = "cbr")]
    Cbr = 1,
    #[enum_value(name = "Variable Bitrate", nick = "vbr")]
    Vbr = 2,
    #[enum_value(name = "Constant Quantizer", nick = "cqp")]
    Cqp = 3,
    #[enum_value(name = "Average Bitrate", nick = "avbr")]
    Avbr = 4,
    #[enum_value(name = "Intelligent CQP", nick = "icq")]
    Icq = 9,
    #[enum_value(name = "Video Conferencing Mode (Non HRD compliant)", nick = "vcm")]
    Vcm = 10,
    #[enum_value(name = "VBR with CQP", nick = "qvbr")]
    Qvbr = 14,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeQsvCodingOption")]
#[repr(i32)]
enum CodingOption {
    #[enum_value(name = "Unknown", nick = "unknown")]
    Unknown = 0,
    #[enum_value(name = "On", nick = "on")]
    On = 16,
    #[enum_value(name = "Off", nick = "off")]
    Off = 32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeQsvSeiInsertMode")]
#[repr(i32)]
enum SeiInsertMode {
    #[enum_value(name = "Insert SEI", nick = "insert")]
    Insert = 0,
    #[enum_value(
        name = "Insert SEI and remove corresponding meta from output buffer",
        nick = "insert-and-drop"
    )]
    InsertAndDrop = 1,
    #[enum_value(name = "Disable SEI insertion", nick = "disabled")]
    Disabled = 2,
}

fn common_properties() -> Vec<Property> {
    vec![
        text("device-path", "/dev/dri/renderD128"),
        uint("target-usage", 1, 7, 4),
        boolean("low-latency", false),
        uint("qp-i", 0, 51, 0).live(Live::Restart),
        uint("qp-p", 0, 51, 0).live(Live::Restart),
        uint("qp-b", 0, 51, 0).live(Live::Restart),
        uint("gop-size", 0, u32::from(u16::MAX), 0).live(Live::Restart),
        uint("b-frames", 0, u32::from(u16::MAX), 0).live(Live::Restart),
        uint("ref-frames", 0, 16, 0).live(Live::Restart),
        uint("bitrate", 0, i32::MAX as u32, 2_000).live(Live::Rate),
        uint("max-bitrate", 0, i32::MAX as u32, 0).live(Live::Rate),
        choice("rate-control", RateControl::Vbr).live(Live::Restart),
        uint("icq-quality", 0, 51, 0).live(Live::Restart),
        uint("qvbr-quality", 0, 51, 0).live(Live::Restart),
        boolean("disable-hrd-conformance", false).live(Live::Restart),
        choice("cc-insert", SeiInsertMode::Insert),
    ]
}

fn h264_properties() -> Vec<Property> {
    let mut properties = common_properties();
    properties.push(idr_interval(0));
    properties.push(choice("cabac", CodingOption::Unknown).live(Live::Restart));
    for name in ["min-qp-i", "min-qp-p", "min-qp-b", "max-qp-i", "max-qp-p", "max-qp-b"] {
        properties.push(uint(name, 0, 51, 0).live(Live::Restart));
    }
    properties.extend([
        uint("rc-lookahead", 10, 100, 10).live(Live::Restart),
        uint("avbr-accuracy", 0, u32::from(u16::MAX), 0).live(Live::Restart),
        uint("avbr-convergence", 0, u32::from(u16::MAX), 0).live(Live::Restart),
    ]);
    properties
}

fn h265_properties() -> Vec<Property> {
    let mut properties = common_properties();
    properties.push(idr_interval(1));
    properties
}

fn idr_interval(default: u32) -> Property {
    uint("idr-interval", 0, u32::from(u16::MAX), default).live(Live::Restart)
}

/// `idr-interval` counts the I frames between two IDR frames.
fn h264_plan(settings: &mut Settings, _: &Mode) -> Plan {
    plan(settings, settings.uint("idr-interval").checked_add(1))
}

/// `idr-interval` counts from one IDR frame to the next in I frames; with 0 the first picture alone is one.
fn h265_plan(settings: &mut Settings, _: &Mode) -> Plan {
    plan(settings, Some(settings.uint("idr-interval")).filter(|groups| *groups > 0))
}

/// `groups`: from IDR frame to IDR frame, in groups of pictures; `None` is without an end.
fn plan(settings: &Settings, groups: Option<u32>) -> Plan {
    let key_distance = match (settings.uint("gop-size"), groups) {
        (0, _) | (_, None) => ENDLESS, // for a size of 0 it is the runtime's choice
        (pictures, Some(groups)) => pictures.saturating_mul(groups),
    };
    Plan {
        bits_per_second: u64::from(settings.uint("bitrate")) * 1_000,
        buffer: USUAL_BUFFER,
        key_distance,
        repeats_headers: true,
    }
}
