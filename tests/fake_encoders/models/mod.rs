//! One file a family of hardware encoders: property for property as in the sources of GStreamer, and of the
//! plugins that vendors ship.

pub mod intel;
pub mod nvidia;
pub mod rockchip;
pub mod v4l2;
pub mod va;

/// What each of the H.264 encoders can give, where their sources name it.
const H264: &str = "video/x-h264, stream-format=byte-stream, alignment=au, \
                    profile={ high, main, constrained-baseline }";

/// The same for H.265.
const H265: &str = "video/x-h265, stream-format=byte-stream, alignment=au, profile=main";
