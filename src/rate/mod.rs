//! How much picture the link carries: samples in, decisions out.
//!
//! ```text
//!   LinkSample, every 20 ms ─▶ Signals: queue, what gets through ─▶ Controller ─▶ Decision
//!   (from the driver's measurement           (filters)            (Open, Drain,   (target, window, pace,
//!    and the output's queue)                                    Compete, Stall)    thinning, and its rule)
//! ```
//!
//! Each output has a [`Controller`] of its own, which keeps its queue out of the network; the one of
//! the lead output sets the encoder's target. Between that and the encoder stand the [`Actuator`] (when a
//! changed target is worth telling it) and the [`LadderMachine`] (when frame rate and size give way).
//! Nothing here knows a clock, a socket or an encoder.

mod actuator;
mod competition;
mod controller;
mod decision;
mod ladder;
mod law;
pub mod recording;
mod sample;
mod settings;
mod signals;

pub use actuator::{Actuator, ChangeCost};
pub use controller::Controller;
pub use decision::{Decision, Rule};
pub use ladder::{LadderMachine, Mode, Rung, Scale};
pub use law::Law;
pub use sample::LinkSample;
pub use settings::{AAC_FRAMES, Bounds, OPUS_FRAMES, Settings};

#[cfg(test)]
mod tests;
