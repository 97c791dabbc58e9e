//! Looks at the machine once a second: for streams, which do with less where it is slowed down, and for whoever
//! reads.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::events::{Event, Events};
use crate::machine::{Judge, Machine, Notice, Sysfs};

/// Looks until it is dropped.
#[derive(Debug)]
pub struct MachineWatch {
    machine: watch::Receiver<Machine>,
    task: JoinHandle<()>,
}

impl MachineWatch {
    /// Of what the kernel says below `sys`.
    pub fn begin(sys: PathBuf, events: Events) -> MachineWatch {
        let (sender, machine) = watch::channel(Machine::default());
        MachineWatch { machine, task: tokio::spawn(look(sys, sender, events)) }
    }

    /// As it was at the last look.
    pub fn machine(&self) -> watch::Receiver<Machine> {
        self.machine.clone()
    }
}

impl Drop for MachineWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(sys: PathBuf, machine: watch::Sender<Machine>, events: Events) {
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut judge = Judge::default();
    let mut sysfs = None;
    loop {
        tick.tick().await;
        let (files, root) = (sysfs.take(), sys.clone());
        let read = move || {
            let mut files = files.unwrap_or_else(|| Sysfs::at(&root));
            let readings = files.read();
            (files, readings)
        };
        // A sensor that hangs keeps this task waiting, and nobody else.
        let readings = match spawn_blocking(read).await {
            Ok((files, readings)) => {
                sysfs = Some(files);
                readings
            }
            Err(error) => {
                log::error!(error:%; "the machine's state cannot be read");
                continue;
            }
        };
        for notice in judge.observe(Instant::now(), readings) {
            events.say(event(notice));
        }
        machine.send_replace(judge.machine().clone());
    }
}

fn event(notice: Notice) -> Event {
    match notice {
        Notice::UnderVoltage { reason } => Event::UnderVoltage { reason },
        Notice::VoltageRestored { lasted } => Event::VoltageRestored { lasted_s: lasted.as_secs() },
        Notice::Throttled { reason } => Event::Throttled { reason },
        Notice::ThrottlingEnded { lasted } => Event::ThrottlingEnded { lasted_s: lasted.as_secs() },
    }
}

/// An encoder that lacks time drops pictures within seconds.
const INTERVAL: Duration = Duration::from_secs(1);
