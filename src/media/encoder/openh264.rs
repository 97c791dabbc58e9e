//! openh264enc: H.264 in software, for machines whose licence forbids x264.

use gst::element_factory::ElementBuilder;

use super::{Backend, EncoderInfo, Settings};
use crate::config::Codec;
use crate::units::Bitrate;
use std::time::Duration;

/// A changed bitrate takes effect with the next frame; the first change brings a key frame.
pub(super) const BACKEND: Backend = Backend {
    info: EncoderInfo {
        backend: "software",
        element: "openh264enc",
        codec: Codec::H264,
        hardware: false,
        rate_step: 0.02,
        rate_interval: Duration::ZERO,
        rate_change_is_key_frame: false,
        resizes: false,
    },
    pixels: "I420",
    rate_property: "bitrate",
    rate_unit: Bitrate::from_bps(1),
    rate_range: (1, 200_000_000),
    profile: "constrained-baseline",
    configure,
};

fn configure<'a>(builder: ElementBuilder<'a>, settings: &Settings) -> ElementBuilder<'a> {
    let frames = settings.framerate.as_f64() * settings.keyframe_interval.as_secs_f64();
    builder
        .property_from_str("rate-control", "bitrate")
        .property("scene-change-detection", false)
        .property("enable-frame-skip", false)
        .property("gop-size", (frames.round() as u32).max(1))
}
