//! The real controller over a simulated link, on a virtual clock.
//!
//! ```text
//! Encoder ─▶ GopQueue ─▶ Sender ═══▶ link up ═══▶ Receiver ─▶ Recorder ─▶ Score, Timeline
//!    ▲          ▲          ▲  ◀═════ link down ◀════  │
//!    │          │          │
//!    └────── Decision ◀── Controller ◀── LinkSample, every 20 ms
//! ```
//! What is real: [`crate::rate`], the GOP queue, and both directions of [`crate::link`]. What is a model:
//! an [`encoder`], the sender of `transport::srt` and libsrt's receiver, each reduced to what changes
//! the time at which bytes arrive. Of all but the links there may be several, and others' uploads
//! ([`crate::link::cubic`]) beside them. Nothing reads a clock; the same scenario gives the same answers.

pub mod encoder;
mod flight;
pub mod picture;
mod receiver;
pub mod recorder;
pub mod report;
pub mod score;
mod sender;
pub mod sharing;
mod stream;
mod world;

use std::time::{Duration, Instant};

pub use self::encoder::EncoderModel;
pub use self::recorder::Timeline;
pub use self::score::Score;
pub use self::sharing::Sharing;
use self::world::World;
use crate::link::Spec;
use crate::rate::recording::Line;
use crate::rate::{Law, Settings};

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Both directions, and others' uploads; its seed is the encoder's too.
    pub link: Spec,
    /// As negotiated between sender and receiver.
    pub latency: Duration,
    pub duration: Duration,
    /// What the controller keeps to; its sound and pictures per second are the encoders'.
    pub settings: Settings,
    pub law: Law,
    pub encoder: EncoderModel,
    /// More streams of the same kind on the same link, and how long after the one before each begins.
    pub others: usize,
    pub apart: Duration,
}

/// What came of it, for the first stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub score: Score,
    pub timeline: Timeline,
    /// Where the link is shared.
    pub sharing: Option<Sharing>,
}

impl Scenario {
    /// Plays it to its end. The GOP queue wants moments of a clock: `epoch` is the first of them, and any
    /// does.
    pub fn run(&self, epoch: Instant) -> Outcome {
        World::new(self, epoch).run()
    }

    /// Plays it to its end, and gives what the flight recorder would hold of it had it no bounds.
    pub fn record(&self, epoch: Instant) -> Vec<Line> {
        World::new(self, epoch).record()
    }
}

#[cfg(test)]
mod tests;
