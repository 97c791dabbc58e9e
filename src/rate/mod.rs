//! The rate: from what was measured of the link to what the encoder is told.
//!
//! - [`Actuator`]: when a changed target is worth telling the encoder, and what to tell one that
//!   gives more than it was asked for.
//! - [`LadderMachine`]: when the frame rate, then the size, give way.

mod actuator;
mod ladder;

pub use self::actuator::{Actuator, ChangeCost};
pub use self::ladder::{LadderMachine, Mode, Rung, Scale};
