//! What was taken off air and still delivers what it had, while the stream goes on without it.

use std::collections::BTreeSet;
use std::future::pending;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::output::OutputHandle;
use super::program::Program;
use crate::config::OutputName;

/// Programs that stop and outputs that drain. Dropped, they are ended at once.
#[derive(Default)]
pub struct Departures {
    tasks: JoinSet<Vec<OutputName>>,
    outputs: BTreeSet<OutputName>,
}

impl Departures {
    /// Ends in the order of the data: first the program, whose last units the outputs still send,
    /// then all outputs at once.
    pub fn add(&mut self, program: Option<Program>, outputs: Vec<(OutputName, OutputHandle)>) {
        if program.is_none() && outputs.is_empty() {
            return;
        }
        let (names, outputs): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
        self.outputs.extend(names.iter().cloned());
        self.tasks.spawn(async move {
            if let Some(program) = program {
                program.stop().await;
            }
            join_all(outputs.into_iter().map(OutputHandle::stop)).await;
            names
        });
    }

    /// Whether an output of that name still drains: its receiver may take one connection at a time,
    /// so its successor waits.
    pub fn has_output(&self, name: &OutputName) -> bool {
        self.outputs.contains(name)
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until one more has gone; for ever where none is left. Cancel safe.
    pub async fn next(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(names)) => self.outputs.retain(|name| !names.contains(name)),
            Some(Err(error)) => {
                // A panic: nobody can tell which outputs these were, and none of them lives on.
                log::error!(error:%; "taking down failed");
                self.outputs.clear();
            }
            None => pending().await,
        }
    }
}
