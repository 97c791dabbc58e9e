//! The formats that are fixed for a stream's whole life, before the switch: whatever a source
//! gives is brought to these, so that the encoder never renegotiates.

use crate::config;

/// Picture and sound as the encode pipeline takes them.
#[derive(Clone, Debug)]
pub(super) struct Formats {
    pub(super) picture: gst::Caps,
    pub(super) sound: gst::Caps,
}

impl Formats {
    /// `pixels`: the encoder's native pixel format, so that nothing is converted behind the switch.
    pub(super) fn of(video: &config::Video, pixels: &str) -> Formats {
        let picture = gst::Caps::builder("video/x-raw")
            .field("format", pixels)
            .field("width", side(video.width))
            .field("height", side(video.height))
            .field("framerate", fraction(video.framerate))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", colorimetry(video.height))
            .build();
        let sound = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", SOUND_RATE)
            .field("channels", SOUND_CHANNELS)
            .field("channel-mask", gst::Bitmask::new(0x3)) // front left and right
            .build();
        Formats { picture, sound }
    }

    /// The pictures' pixel format.
    pub(super) fn pixels(&self) -> &str {
        let format = self.picture.structure(0).and_then(|format| format.get("format").ok());
        format.expect("the picture's caps are ours and have a format")
    }
}

/// The configuration's frame rate as GStreamer says it.
pub(super) fn fraction(framerate: config::Framerate) -> gst::Fraction {
    let side = |part: u32| i32::try_from(part).unwrap_or(i32::MAX);
    gst::Fraction::new(side(framerate.numerator()), side(framerate.denominator()))
}

/// A width or height as caps want it.
pub(super) fn side(pixels: u32) -> i32 {
    i32::try_from(pixels).expect("the configuration allows at most 7680 pixels")
}

/// What players assume for a picture of this height when nothing is said (ITU-R BT.601 and BT.709).
fn colorimetry(height: u32) -> &'static str {
    if height > LARGEST_STANDARD_DEFINITION { "bt709" } else { "bt601" }
}

/// Samples per second of all sound: what every AAC decoder and ALSA device takes.
pub(super) const SOUND_RATE: i32 = 48_000;
pub(super) const SOUND_CHANNELS: i32 = 2;

/// Lines of the larger standard-definition picture (625-line systems).
const LARGEST_STANDARD_DEFINITION: u32 = 576;
