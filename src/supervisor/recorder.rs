//! The flight recorders of a stream's outputs: written by their tasks, read by whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use crate::config::OutputName;
use crate::rate::recording::Recording;
pub use crate::rate::recording::{Line, Step};
use crate::rate::{Controller, Settings};

/// One recorder an output, by its name.
#[derive(Clone, Debug, Default)]
pub struct Recorders(Arc<Mutex<BTreeMap<OutputName, Arc<Recorder>>>>);

/// One output's recorder. It outlives connections, and the output's task.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    recording: Mutex<Recording>,
}

impl Recorders {
    /// The recorder of that output, which is made where there is none.
    pub fn open(&self, output: &OutputName) -> Arc<Recorder> {
        lock(&self.0).entry(output.clone()).or_default().clone()
    }

    /// That output is recorded by another from now on.
    pub fn replace(&self, output: &OutputName, recorder: Arc<Recorder>) {
        lock(&self.0).insert(output.clone(), recorder);
    }

    /// The recorder of that output.
    pub fn find(&self, output: &OutputName) -> Option<Arc<Recorder>> {
        lock(&self.0).get(output).cloned()
    }

    /// Forgets all but those outputs.
    pub fn keep(&self, is_kept: impl Fn(&OutputName) -> bool) {
        lock(&self.0).retain(|output, _| is_kept(output));
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder { began: Instant::now(), recording: Mutex::default() }
    }
}

impl Recorder {
    /// A connection began at `connected`, with this controller.
    pub fn begin(&self, connected: Instant, controller: &Controller) {
        lock(&self.recording).begin(connected.saturating_duration_since(self.began), controller);
    }

    /// A step of that connection; `after` is the controller that has taken it.
    pub fn step(&self, after: &Controller, step: Step) {
        lock(&self.recording).step(after, step);
    }

    /// Its controller was given other settings.
    pub fn settings(&self, after: &Controller, settings: Settings) {
        lock(&self.recording).settings(after, settings);
    }

    /// The steps of the last while, oldest first, with the time of each.
    pub fn steps(&self, last: Duration) -> Vec<(Instant, Step)> {
        let since = self.began.elapsed().saturating_sub(last);
        lock(&self.recording).steps(since).map(|(at, step)| (self.began + at, *step)).collect()
    }

    /// Everything that is kept, oldest first.
    pub fn lines(&self) -> Vec<Line> {
        lock(&self.recording).lines().cloned().collect()
    }
}
