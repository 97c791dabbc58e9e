//! V4L2 M2M: `v4l2h264enc` and `v4l2h265enc` (gst-plugins-good, `sys/v4l2`) on the driver of the Raspberry Pi 3
//! and 4 (`bcm2835-v4l2-codec`); the second has no such hardware there and is the same with other names.
//!
//! There is no bitrate property (before 1.29): the driver's controls are set by `extra-controls`, at once while
//! it runs. Integers and booleans are taken; another type or an unknown name is a warning in the log and nothing
//! else. A level must be asked for in downstream's caps, or it is level 1, whose pictures are tiny. Below 9
//! pictures a second, and with constant bitrate in High profile, it takes pictures and gives none.

use super::super::model::{
    Codec, Control, Live, Mode, Model, Plan, Property, Settings, Start, USUAL_BUFFER, int, never, structure,
    text,
};
use super::{H264, H265};

pub static V4L2H264ENC: Model = Model {
    properties,
    codec: Codec::H264,
    sink: "video/x-raw, format={ I420, YV12, NV12, NV21, RGB16, RGB, BGR, BGRx, BGRA, YUY2, UYVY, YVYU, VYUY }, \
           width=[ 32, 1920 ], height=[ 32, 1920 ]",
    src: H264,
    plan: h264_plan,
    start: h264_start,
    change_is_key_frame: never,
    equal_is_change: false,
    force_key_since: Some((1, 24, 0)),
    controls: &[
        BITRATE,
        BITRATE_MODE,
        REPEAT_HEADERS,
        FORCE_KEY,
        GOP,
        Control { name: "h264_i_frame_period", min: 0, max: i32::MAX, step: 1, default: 60 },
        Control { name: "h264_minimum_qp_value", min: 0, max: 51, step: 1, default: 20 },
        Control { name: "h264_maximum_qp_value", min: 0, max: 51, step: 1, default: 51 },
        Control { name: "h264_level", min: 0, max: 15, step: 1, default: 0 },
        Control { name: "h264_profile", min: 0, max: 4, step: 1, default: 4 },
    ],
};

pub static V4L2H265ENC: Model = Model {
    properties,
    codec: Codec::H265,
    sink: "video/x-raw, format={ I420, YV12, NV12, NV21 }, width=[ 32, 4096 ], height=[ 32, 4096 ]",
    src: H265,
    plan: h265_plan,
    start: |_, _| Start::Runs,
    change_is_key_frame: never,
    equal_is_change: false,
    force_key_since: Some((1, 24, 0)),
    controls: &[BITRATE, BITRATE_MODE, REPEAT_HEADERS, FORCE_KEY, GOP],
};

fn properties() -> Vec<Property> {
    vec![
        text("device", "/dev/video11"),
        int("device-fd", -1, i32::MAX, -1),
        text("output-io-mode", "auto"), // an enumeration of the real one's
        structure("extra-controls").live(Live::Controls),
    ]
}

fn h264_plan(settings: &mut Settings, _: &Mode) -> Plan {
    let period = settings.control("h264_i_frame_period");
    plan(settings, if period == 0 { settings.control("video_gop_size") } else { period })
}

fn h265_plan(settings: &mut Settings, _: &Mode) -> Plan {
    plan(settings, settings.control("video_gop_size"))
}

fn plan(settings: &Settings, key_distance: i32) -> Plan {
    Plan {
        bits_per_second: settings.control("video_bitrate").unsigned_abs().into(),
        buffer: USUAL_BUFFER,
        key_distance: key_distance.max(1).unsigned_abs(),
        repeats_headers: settings.control("repeat_sequence_header") != 0,
    }
}

fn h264_start(settings: &Settings, mode: &Mode) -> Start {
    let level = mode.level.as_deref().unwrap_or("1");
    let Some(&(_, most_macroblocks, most_a_second)) = LEVELS.iter().find(|(name, _, _)| *name == level)
    else {
        return Start::Refuses(format!("level {level} is unknown"));
    };
    let macroblocks = mode.width.div_ceil(16) * mode.height.div_ceil(16);
    let a_second = f64::from(macroblocks) * mode.frames_per_second;
    if macroblocks > most_macroblocks || a_second > f64::from(most_a_second) {
        let Mode { width, height, frames_per_second, .. } = mode;
        return Start::Refuses(format!(
            "{width}x{height} at {frames_per_second} a second is beyond level {level}"
        ));
    }
    let is_constant = settings.control("video_bitrate_mode") == CONSTANT_BITRATE;
    if mode.frames_per_second < FEWEST_PICTURES_A_SECOND
        || (is_constant && mode.profile.as_deref().unwrap_or("high") == "high")
    {
        return Start::Hangs;
    }
    Start::Runs
}

const BITRATE: Control =
    Control { name: "video_bitrate", min: 25_000, max: 25_000_000, step: 25_000, default: 10_000_000 };
const BITRATE_MODE: Control = Control { name: "video_bitrate_mode", min: 0, max: 1, step: 1, default: 0 };
const REPEAT_HEADERS: Control =
    Control { name: "repeat_sequence_header", min: 0, max: 1, step: 1, default: 0 };
const FORCE_KEY: Control = Control { name: "force_key_frame", min: 0, max: 1, step: 1, default: 0 };
const GOP: Control = Control { name: "video_gop_size", min: 0, max: i32::MAX, step: 1, default: 60 };

const CONSTANT_BITRATE: i32 = 1;

const FEWEST_PICTURES_A_SECOND: f64 = 9.0;

/// H.264, table A-1: macroblocks of a picture and of a second.
const LEVELS: [(&str, u32, u32); 13] = [
    ("1", 99, 1_485),
    ("1.1", 396, 3_000),
    ("1.2", 396, 6_000),
    ("1.3", 396, 11_880),
    ("2", 396, 11_880),
    ("2.1", 792, 19_800),
    ("2.2", 1_620, 20_250),
    ("3", 1_620, 40_500),
    ("3.1", 3_600, 108_000),
    ("3.2", 5_120, 216_000),
    ("4", 8_192, 245_760),
    ("4.1", 8_192, 245_760),
    ("4.2", 8_704, 522_240),
];
