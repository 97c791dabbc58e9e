//! Rockchip: `mpph264enc` and `mpph265enc`, as in gstreamer-rockchip, `gstmppenc.c`, `gstmpph264enc.c` and
//! `gstmpph265enc.c`.
//!
//! Bits per second; what differs from before is told to the hardware with the next picture.

use gst::glib;

use super::super::model::{
    Codec, Live, Mode, Model, Plan, Property, Settings, USUAL_BUFFER, always_runs, boolean, choice, copy,
    int, never, uint, without,
};
use super::{H264, H265};

pub static MPPH264ENC: Model = Model {
    properties,
    codec: Codec::H264,
    sink: "video/x-raw, format={ NV12, I420, YUY2, UYVY, BGR16, RGB16, ABGR, ARGB, BGRA, RGBA, xBGR, xRGB, BGRx, \
           RGBx, NV24, Y444 }, width=[ 96, 2147483647 ], height=[ 64, 2147483647 ]",
    src: H264,
    plan,
    start: always_runs,
    change_is_key_frame: never,
    equal_is_change: false,
    force_key_since: Some((1, 14, 0)),
    controls: &[],
};

pub static MPPH265ENC: Model = Model {
    properties: || without(properties(), &["profile", "level"]),
    codec: Codec::H265,
    src: H265,
    ..copy(&MPPH264ENC)
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeMppRcMode")]
#[repr(i32)]
enum RateControl {
    #[enum_value(name = "Variable bitrate", nick = "vbr")]
    Vbr = 0,
    #[enum_value(name = "Constant bitrate", nick = "cbr")]
    Cbr = 1,
    #[enum_value(name = "Fixed QP", nick = "fixqp")]
    FixQp = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeMppHeaderMode")]
#[repr(i32)]
enum HeaderMode {
    #[enum_value(name = "Only in the first frame", nick = "first-frame")]
    FirstFrame = 0,
    #[enum_value(name = "In every IDR frames", nick = "each-idr")]
    EachIdr = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeMppSeiMode")]
#[repr(i32)]
enum SeiMode {
    #[enum_value(name = "SEI disabled", nick = "disable")]
    Disable = 0,
    #[enum_value(name = "One SEI per sequence", nick = "one-seq")]
    OneSequence = 1,
    #[enum_value(name = "One SEI per frame(if changed)", nick = "one-frame")]
    OneFrame = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeMppProfile")]
#[repr(i32)]
enum Profile {
    #[enum_value(name = "Baseline", nick = "baseline")]
    Baseline = 66,
    #[enum_value(name = "Main", nick = "main")]
    Main = 77,
    #[enum_value(name = "High", nick = "high")]
    High = 100,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "UplinkdFakeMppLevel")]
#[repr(i32)]
enum Level {
    #[enum_value(name = "1", nick = "1")]
    L10 = 10,
    #[enum_value(name = "3.1", nick = "3.1")]
    L31 = 31,
    #[enum_value(name = "4", nick = "4")]
    L40 = 40,
    #[enum_value(name = "4.1", nick = "4.1")]
    L41 = 41,
    #[enum_value(name = "4.2", nick = "4.2")]
    L42 = 42,
    #[enum_value(name = "5", nick = "5")]
    L50 = 50,
    #[enum_value(name = "5.1", nick = "5.1")]
    L51 = 51,
}

fn properties() -> Vec<Property> {
    let mut properties = vec![
        choice("header-mode", HeaderMode::FirstFrame),
        choice("sei-mode", SeiMode::Disable),
        choice("rc-mode", RateControl::Cbr),
        int("gop", -1, i32::MAX, -1),
        uint("max-reenc", 0, 3, 1),
        uint("bps", 0, i32::MAX as u32, 0),
        uint("bps-min", 0, i32::MAX as u32, 0),
        uint("bps-max", 0, i32::MAX as u32, 0),
        choice("profile", Profile::High),
        choice("level", Level::L40),
        uint("qp-init", 0, 51, 26),
        uint("qp-min", 0, 51, 0),
        uint("qp-max", 0, 51, 0),
        uint("qp-min-i", 0, 51, 0),
        uint("qp-max-i", 0, 51, 0),
        int("qp-ip", -1, 51, -1),
    ];
    properties = properties.into_iter().map(|property| property.live(Live::Rate)).collect();
    properties.push(boolean("zero-copy-pkt", true).live(Live::Later));
    properties
}

fn plan(settings: &mut Settings, mode: &Mode) -> Plan {
    let bits_per_second = match settings.uint("bps") {
        0 => (f64::from(mode.width * mode.height / 8) * mode.frames_per_second) as u64,
        bps => u64::from(bps),
    };
    let key_distance = match settings.int("gop") {
        negative if negative < 0 => mode.frames_per_second as u32,
        pictures => pictures as u32,
    };
    Plan {
        bits_per_second,
        buffer: USUAL_BUFFER,
        key_distance,
        repeats_headers: settings.nick("header-mode") == "each-idr",
    }
}
