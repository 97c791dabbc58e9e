//! The flight recorder: what a controller saw and decided in the last ten minutes.
//!
//! A recording is a list of lines. The first of each stretch holds the controller as it was, so that
//! all that follow can be computed again; controllers read no clock and no dice, so what comes out is
//! the same to the last bit.
//!
//! ```text
//! {"start":{…controller…}}
//! {"step":{"sample":{…},"decision":{…}}}   fifty a second
//! {"settings":{…}}                         where somebody changed the bounds
//! {"start":{…}}                            each minute, and at each connection
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::controller::Controller;
use super::decision::Decision;
use super::sample::LinkSample;
use super::settings::Settings;

/// The last ten minutes of one output, over all its connections. Bounded: the oldest minute goes first.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    stretches: VecDeque<Stretch>,
}

/// One line of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all lines are steps")]
pub enum Line {
    Start(Box<Controller>),
    Settings(Settings),
    Step(Step),
}

/// A sample, and what was decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub sample: LinkSample,
    pub decision: Decision,
}

/// What follows from one state of a controller.
#[derive(Clone, Debug)]
struct Stretch {
    /// From the recorder's beginning to the connection's.
    connected: Duration,
    /// Starts with the controller, and goes on with at most [`LONGEST_STRETCH`] other lines.
    lines: Vec<Line>,
}

impl Recording {
    /// A connection begins, `connected` after the recording did, with this controller.
    pub fn begin(&mut self, connected: Duration, controller: &Controller) {
        self.stretches
            .push_back(Stretch { connected, lines: vec![Line::Start(Box::new(controller.clone()))] });
        while self.stretches.len() > MOST_STRETCHES || self.spans_too_much() {
            self.stretches.pop_front();
        }
    }

    /// A step of the connection that began last. Where a stretch is full, the next begins with
    /// the controller `after` the step.
    pub fn step(&mut self, after: &Controller, step: Step) {
        self.push(after, Line::Step(step));
    }

    /// Its controller was given other settings.
    pub fn settings(&mut self, after: &Controller, settings: Settings) {
        self.push(after, Line::Settings(settings));
    }

    /// Everything that is kept, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.stretches.iter().flat_map(|stretch| &stretch.lines)
    }

    /// The steps from `since` on, with the time of each: from the recording's beginning.
    pub fn steps(&self, since: Duration) -> impl Iterator<Item = (Duration, &Step)> {
        let steps = self.stretches.iter().flat_map(|stretch| {
            stretch.lines.iter().filter_map(|line| match line {
                Line::Step(step) => Some((stretch.connected + step.sample.at, step)),
                Line::Start(_) | Line::Settings(_) => None,
            })
        });
        steps.filter(move |(at, _)| *at >= since)
    }

    fn push(&mut self, after: &Controller, line: Line) {
        let Some(stretch) = self.stretches.back_mut() else { return }; // no connection has begun
        stretch.lines.push(line);
        if stretch.lines.len() > LONGEST_STRETCH {
            let connected = stretch.connected;
            self.begin(connected, after);
        }
    }

    fn spans_too_much(&self) -> bool {
        self.stretches.len() > 1
            && self.stretches.iter().map(|stretch| stretch.lines.len()).sum::<usize>() > MOST_LINES
    }
}

/// Decides again what was decided.
#[derive(Debug, Default)]
pub struct Replay {
    controller: Option<Controller>,
}

/// A recording that does not begin with a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording has a step before its first controller")]
pub struct NoController;

impl Replay {
    /// Takes the next line in. Some for a step: what is decided now, and what was then.
    ///
    /// # Errors
    /// When there was no controller before it.
    pub fn next(&mut self, line: Line) -> Result<Option<(Decision, Decision)>, NoController> {
        match line {
            Line::Start(controller) => self.controller = Some(*controller),
            Line::Settings(settings) => self.controller.as_mut().ok_or(NoController)?.set(settings),
            Line::Step(Step { sample, decision }) => {
                let controller = self.controller.as_mut().ok_or(NoController)?;
                return Ok(Some((controller.observe(&sample), decision)));
            }
        }
        Ok(None)
    }
}

/// A minute of steps.
const LONGEST_STRETCH: usize = 60 * 50;
/// Ten minutes, and the one that is being filled.
const MOST_LINES: usize = 11 * LONGEST_STRETCH;
/// Against connections that fail again and again: each takes a stretch.
const MOST_STRETCHES: usize = 100;
