//! What runs in the child: one trial, and one line that says what was measured.

use serde::{Deserialize, Serialize};

use super::plan::{Measurements, Request};
use crate::causes::with_causes;

/// The line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Measured(Measurements),
    /// The encoder could not even be tried.
    NotTried(String),
}

/// Tries what is asked. [`crate::media::init`] comes first. A driver may hang or crash in this.
pub fn answer(request: &Request) -> Answer {
    let trial = request.trial();
    match trial.run() {
        Ok(trace) => Answer::Measured(Measurements::of(&trial, &trace)),
        Err(error) => Answer::NotTried(with_causes(&error)),
    }
}
