//! V4L2's pixel formats in GStreamer's words, and what a picture in each costs.

use super::description::{Extent, FourCc};

/// How pictures of a format are brought to the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// GStreamer's name of the raw format, and the bits of each pixel.
    Raw {
        name: &'static str,
        bits: u32,
    },
    Mjpeg,
    H264,
}

/// What can be taken of a device; `None` for what nothing here reads: Bayer patterns, depth, codecs beyond
/// H.264, formats of one chip.
pub fn coding(fourcc: FourCc) -> Option<Coding> {
    match &fourcc.0 {
        b"MJPG" | b"JPEG" => Some(Coding::Mjpeg),
        b"H264" => Some(Coding::H264),
        other => {
            let (_, name, bits) = RAW.iter().find(|(own, ..)| *own == other)?;
            Some(Coding::Raw { name, bits: *bits })
        }
    }
}

/// Bytes of one raw picture.
pub fn bytes(bits: u32, extent: Extent) -> u64 {
    extent.area() * u64::from(bits) / 8
}

/// As v4l2src maps them (`gstv4l2object.c`, GStreamer 1.22). Of formats with an alpha channel the one
/// without is named: a camera has nothing to put there.
const RAW: [(&[u8; 4], &str, u32); 26] = [
    (b"NV12", "NV12", 12),
    (b"NM12", "NV12", 12),
    (b"NV21", "NV21", 12),
    (b"NM21", "NV21", 12),
    (b"YU12", "I420", 12),
    (b"YM12", "I420", 12),
    (b"YV12", "YV12", 12),
    (b"YUYV", "YUY2", 16),
    (b"UYVY", "UYVY", 16),
    (b"YVYU", "YVYU", 16),
    (b"NV16", "NV16", 16),
    (b"NM16", "NV16", 16),
    (b"NV61", "NV61", 16),
    (b"NM61", "NV61", 16),
    (b"NV24", "NV24", 24),
    (b"422P", "Y42B", 16),
    (b"411P", "Y41B", 12),
    (b"GREY", "GRAY8", 8),
    (b"RGB3", "RGB", 24),
    (b"BGR3", "BGR", 24),
    (b"RGBP", "RGB16", 16),
    (b"BGR4", "BGRx", 32),
    (b"XR24", "BGRx", 32),
    (b"RGB4", "xRGB", 32),
    (b"BX24", "xRGB", 32),
    (b"AR24", "BGRA", 32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_names() {
        assert_eq!(coding(FourCc(*b"YUYV")), Some(Coding::Raw { name: "YUY2", bits: 16 }));
        assert_eq!(coding(FourCc(*b"MJPG")), Some(Coding::Mjpeg));
        assert_eq!(coding(FourCc(*b"pRAA")), None, "a Bayer pattern wants an image processor");
        assert_eq!(bytes(12, Extent::new(1280, 720)), 1_382_400);
    }
}
