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
    /// Frames of sound per second, each of which begins a packet of its own.
    #[serde(default = "aac_frames_per_second")] // recordings from before there was a choice
    pub sound_frames: f64,
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
    /// The most that picture and sound together are: a key frame's peak is the send buffer's to bear.
    pub fn peak(&self) -> Bitrate {
        self.bounds.max + self.sound
    }

    /// Of a transport stream's rate, what is video: bits per second.
    pub(super) fn video(&self, stream: Bitrate) -> f64 {
        ((stream.as_bps() as f64 - self.beside()) / TS_OVERHEAD).max(0.0)
    }

    /// The transport stream's rate with that much video: bits per second.
    pub(super) fn stream(&self, video: f64) -> f64 {
        video * TS_OVERHEAD + self.beside()
    }

    /// What of the transport stream does not depend on the rate of the video: bits per second.
    fn beside(&self) -> f64 {
        let frame = self.sound.as_bps() as f64 / self.sound_frames;
        let packets = if frame > 0.0 { ((frame + SOUND_HEADER) / PACKET_PAYLOAD).ceil() } else { 0.0 };
        self.framerate * PICTURE_OVERHEAD + packets * PACKET * self.sound_frames
    }
}

fn aac_frames_per_second() -> f64 {
    AAC_FRAMES
}

/// Frames of AAC per second: 1024 samples at 48 kHz.
pub const AAC_FRAMES: f64 = 48_000.0 / 1024.0;
/// Frames of Opus per second: 20 ms.
pub const OPUS_FRAMES: f64 = 50.0;

/// Bits of a TS packet, and of what it carries.
const PACKET: f64 = 188.0 * 8.0;
const PACKET_PAYLOAD: f64 = 184.0 * 8.0;
const TS_OVERHEAD: f64 = PACKET / PACKET_PAYLOAD;
/// Bits that a picture costs beside: its PES header (19 bytes) and half of its last packet, on average.
const PICTURE_OVERHEAD: f64 = (19.0 + 92.0) * 8.0;
/// Bits of the PES header of a frame of sound, and of Opus's control header.
const SOUND_HEADER: f64 = (14.0 + 4.0) * 8.0;
