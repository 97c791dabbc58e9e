//! What a controller is to keep to.

use serde::{Deserialize, Serialize};

use crate::units::Bitrate;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub bounds: Bounds,
    /// False: the target rests at `bounds.start`, and only window, pace and patience follow the link.
    pub adaptive: bool,
    /// What of the stream is sound.
    pub sound: Bitrate,
    /// Pictures per second.
    pub framerate: f64,
}

/// Of the video elementary stream; `min ≤ start ≤ max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: Bitrate,
    pub max: Bitrate,
    pub start: Bitrate,
}

impl Settings {
    /// Of a transport stream's rate, what is video: bits per second.
    pub(super) fn video(&self, stream: Bitrate) -> f64 {
        ((stream.as_bps() as f64 - self.beside()) / TS_OVERHEAD).max(0.0)
    }

    /// The transport stream's rate with that much video: bits per second.
    pub(super) fn stream(&self, video: f64) -> f64 {
        video * TS_OVERHEAD + self.beside()
    }

    /// What of the transport stream does not depend on the rate of the video.
    fn beside(&self) -> f64 {
        self.framerate * PICTURE_OVERHEAD + self.sound.as_bps() as f64 * SOUND_OVERHEAD
    }
}

/// A packet of 188 bytes carries 184.
const TS_OVERHEAD: f64 = 188.0 / 184.0;
/// Bits that a picture costs beside: its PES header (19 bytes) and half of its last packet, on average.
const PICTURE_OVERHEAD: f64 = (19.0 + 92.0) * 8.0;
/// Frames of sound are small: their headers and half-empty packets cost about a third.
const SOUND_OVERHEAD: f64 = 1.35;
