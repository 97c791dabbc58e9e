//! What runs in the child: one trial, and one line that says what was measured.

use serde::{Deserialize, Serialize};

use super::machine::Work;
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
    let before = Work::so_far();
    let result = trial.run();
    let others =
        before.zip(Work::so_far()).map_or(0.0, |(before, after)| after.share_of_others_since(&before));
    match result {
        Ok(trace) => Answer::Measured(Measurements { others, ..Measurements::of(&trial, &trace) }),
        Err(error) => Answer::NotTried(with_causes(&error)),
    }
}
