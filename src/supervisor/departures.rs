//! What was taken off air and still delivers what it had, while the stream goes on without it.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::output::OutputHandle;
use super::program::{Opening, Program};
use super::status::OutputStatus;
use crate::config::OutputName;
use crate::media;

/// Programs that stop and outputs that drain. Dropped, it leaves them to themselves.
#[derive(Default)]
pub struct Departures {
    programs: JoinSet<()>,
    drains: JoinSet<Vec<OutputName>>,
    outputs: BTreeMap<OutputName, watch::Receiver<OutputStatus>>,
}

impl Departures {
    /// Ends in the order of the data: first the program, whose last units the outputs still send,
    /// then all outputs at once.
    pub fn add(&mut self, program: Option<Program>, outputs: Vec<(OutputName, OutputHandle)>) {
        let (stopped, has_stopped) = oneshot::channel::<()>();
        match program {
            Some(program) => {
                self.programs.spawn(async move {
                    stop(program).await;
                    drop(stopped);
                });
            }
            None => drop(stopped),
        }
        if outputs.is_empty() {
            return;
        }
        self.outputs.extend(outputs.iter().map(|(name, output)| (name.clone(), output.watch())));
        self.drains.spawn(async move {
            let dropped = has_stopped.await; // nothing is ever sent: the end of the sender is the sign
            debug_assert!(dropped.is_err());
            let (names, outputs): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
            join_all(outputs.into_iter().map(OutputHandle::stop)).await;
            names
        });
    }

    /// A program that is no longer wanted and still being opened: it is stopped when it is there.
    pub fn add_opening(&mut self, opening: Option<Opening>) {
        let Some(mut opening) = opening else { return };
        self.programs.spawn(async move {
            match opening.opened().await {
                Ok(program) => stop(program).await,
                Err(error) => log::debug!(error:%; "what is no longer wanted did not start either"),
            }
        });
    }

    /// Whether an output of that name still drains: its receiver may take one connection at a time,
    /// so its successor waits.
    pub fn has_output(&self, name: &OutputName) -> bool {
        self.outputs.contains_key(name)
    }

    /// Whether a program still stops: it may hold the camera and the encoder that its successor needs.
    pub fn has_program(&self) -> bool {
        !self.programs.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.drains.is_empty()
    }

    /// Of the outputs that still drain.
    pub fn statuses(&self) -> impl Iterator<Item = OutputStatus> + '_ {
        self.outputs.values().map(|status| status.borrow().clone())
    }

    /// Waits until one more has gone; for ever where none is left. Cancel safe.
    pub async fn next(&mut self) {
        tokio::select! {
            Some(program) = self.programs.join_next() => log_panic(&program),
            Some(drained) = self.drains.join_next() => match drained {
                Ok(names) => self.outputs.retain(|name, _| !names.contains(name)),
                Err(_) => {
                    log_panic(&drained);
                    self.outputs.clear(); // nobody can tell which these were, and none of them lives on
                }
            },
            else => pending().await,
        }
    }
}

/// A driver can hang when it is told to stop; it is left behind then.
async fn stop(program: Program) {
    let element = program.encoder().element;
    if timeout(STOP_LIMIT, program.stop()).await.is_err() {
        log::error!(element, limit_s = STOP_LIMIT.as_secs(); "encoder or capture does not stop, it is left behind");
    }
}

fn log_panic<T>(ended: &Result<T, JoinError>) {
    if let Err(error) = ended {
        log::error!(error:%; "taking down failed");
    }
}

/// Pipelines stop within milliseconds, a camera within a second.
const STOP_LIMIT: Duration = Duration::from_secs(2);

// An encoder that hangs is left behind by its own limit, which tells more of it.
const _: () = assert!(media::END_LIMIT.as_millis() < STOP_LIMIT.as_millis());
