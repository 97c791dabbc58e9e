//! Everything that runs: one task a stream, one task an output, and the list of them.
//!
//! ```text
//! Supervisor ── StreamTask (stream.rs) ── Program (program.rs): encoder, captures (captures.rs)
//!                    │                        │ units
//!                    │                    Fanout (fanout.rs)
//!                    │                        │ one queue each
//!                    └── OutputHandle ──── Output (output.rs) ── Feed (feed.rs): queue → mux → driver
//! ```
//!
//! Data goes down, measurements come back up through `watch` channels, and commands come in through
//! one `mpsc` a stream. What happens is told through [`events`]: to the log, and to whoever reads them.
//! [`Streams`] is all that the API and the demo see of it.

mod camera;
mod captures;
mod departures;
pub mod events;
mod fanout;
mod feed;
pub mod lasting;
mod machine;
mod output;
pub mod passphrase;
mod program;
pub mod recorder;
mod refrain;
mod sampling;
mod selection;
pub mod snapshots;
pub mod status;
mod steering;
mod stream;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::config::diff::{self, Changes, StreamChange};
use crate::config::{self, Config, StreamName};
use crate::machine::Machine;
use events::{Event, Events};
use lasting::Lasting;
use machine::MachineWatch;
use recorder::Recorders;
use snapshots::Snapshots;
use status::{State, Status};
pub use stream::Command;
use stream::{Memory, StreamTask, Surroundings};

/// Owns the streams; [`Supervisor::shut_down`] drains them. Dropped, it leaves them to the runtime.
pub struct Supervisor {
    config: Config,
    tasks: BTreeMap<StreamName, (StreamHandle, JoinHandle<()>)>,
    /// Streams that were removed and still drain.
    leaving: JoinSet<()>,
    directory: watch::Sender<Directory>,
    events: Events,
    machine: MachineWatch,
}

/// All streams, as of now; follows additions and removals.
#[derive(Clone, Debug)]
pub struct Streams {
    directory: watch::Receiver<Directory>,
    events: Events,
    machine: watch::Receiver<Machine>,
}

/// One stream, for those who watch and command it.
#[derive(Clone, Debug)]
pub struct StreamHandle {
    status: watch::Receiver<Status>,
    commands: mpsc::Sender<Command>,
    recorders: Recorders,
    snapshots: Snapshots,
}

/// Why a command could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the stream is shutting down or has been removed")]
    Gone,
    #[error("the stream has not carried out earlier commands yet")]
    Busy,
}

type Directory = Arc<BTreeMap<StreamName, StreamHandle>>;

impl Supervisor {
    /// Starts every stream's task; those that are enabled begin by themselves. How the machine does is read below
    /// `sys`, which is [`SYS`](crate::machine::SYS) but in tests.
    ///
    /// Must be called on a multi-threaded tokio runtime, after `media::init`.
    pub fn start(config: Config, sys: PathBuf) -> Self {
        let events = Events::default();
        let mut supervisor = Supervisor {
            config: config.clone(),
            tasks: BTreeMap::new(),
            leaving: JoinSet::new(),
            directory: watch::Sender::new(Directory::default()),
            machine: MachineWatch::begin(sys, events.clone()),
            events,
        };
        for (name, stream) in config.streams {
            supervisor.add(name, stream);
        }
        supervisor.publish();
        supervisor
    }

    /// What the API may see.
    pub fn streams(&self) -> Streams {
        let (directory, events) = (self.directory.subscribe(), self.events.clone());
        Streams { directory, events, machine: self.machine.machine() }
    }

    /// Where everything that happens is told.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Brings the streams in line with another configuration, touching just what it touches.
    pub async fn apply(&mut self, config: Config) -> Changes {
        let changes = diff::changes(&self.config, &config);
        for (name, change) in &changes.streams {
            match (change, config.streams.get(name)) {
                (StreamChange::Removed, _) => self.remove(name),
                (StreamChange::Added, Some(stream)) => self.add(name.clone(), stream.clone()),
                (StreamChange::Modified { effects, .. }, Some(stream)) => {
                    let reconfigure =
                        Command::Reconfigure { config: Box::new(stream.clone()), effects: effects.clone() };
                    if let Some((handle, _)) = self.tasks.get(name)
                        && let Err(error) = handle.commands.send(reconfigure).await
                    {
                        log::error!(stream = name.as_str(), error:%; "cannot reconfigure");
                    }
                }
                (StreamChange::Added | StreamChange::Modified { .. }, None) => {
                    unreachable!("a change names a stream that the new configuration has")
                }
            }
        }
        self.config = config;
        self.publish();
        self.events.say(Event::taken(changes.list.iter().map(ToString::to_string)));
        changes
    }

    /// Drains every stream: what was captured is delivered, within each output's latency and a second.
    pub async fn shut_down(mut self) {
        for (handle, task) in std::mem::take(&mut self.tasks).into_values() {
            self.leaving.spawn(drain(handle, task));
        }
        self.leaving.join_all().await;
    }

    fn add(&mut self, name: StreamName, config: config::Stream) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (sender, status) = watch::channel(stream::initial_status(&name, &config));
        let memory = Memory { wanted: config.enabled, config, lasting: Lasting::default() };
        let recorders = Recorders::default();
        let (glimpse, on_air) = watch::channel(None);
        let snapshots = Snapshots::new(on_air);
        let events = self.events.of(&name);
        let machine = self.machine.machine();
        let surroundings = Surroundings { events, recorders: recorders.clone(), glimpse, machine };
        let task = tokio::spawn(keep_alive(name.clone(), memory, surroundings, sender, receiver));
        self.tasks.insert(name, (StreamHandle { status, commands, recorders, snapshots }, task));
    }

    fn remove(&mut self, name: &StreamName) {
        if let Some((handle, task)) = self.tasks.remove(name) {
            self.leaving.spawn(drain(handle, task));
        }
    }

    fn publish(&self) {
        let handles = self.tasks.iter().map(|(name, (handle, _))| (name.clone(), handle.clone()));
        self.directory.send_replace(Arc::new(handles.collect()));
    }
}

impl Streams {
    /// The stream of that name.
    pub fn stream(&self, name: &str) -> Option<StreamHandle> {
        self.directory.borrow().iter().find(|(own, _)| own.as_str() == name).map(|(_, handle)| handle.clone())
    }

    /// The status of every stream, by name.
    pub fn statuses(&self) -> Vec<Status> {
        self.directory.borrow().values().map(StreamHandle::status).collect()
    }

    /// What happens to them, and to the daemon.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// How the machine does, as of the last second.
    pub fn machine(&self) -> Machine {
        self.machine.borrow().clone()
    }
}

impl StreamHandle {
    /// The newest status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits for the next status and gives it; `None` once the stream is gone. Cancel safe.
    pub async fn next_status(&mut self) -> Option<Status> {
        self.status.changed().await.ok()?;
        Some(self.status.borrow_and_update().clone())
    }

    /// What the rate controllers of its outputs have seen and decided.
    pub fn recorders(&self) -> &Recorders {
        &self.recorders
    }

    /// What is on air, as a picture.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Hands a command over; it is carried out soon after. Never waits.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn command(&self, command: Command) -> Result<(), Refusal> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Busy,
            TrySendError::Closed(_) => Refusal::Gone,
        })
    }
}

/// A panic in a stream's task ends its pipeline and connections, which are then made anew; other
/// streams do not notice.
async fn keep_alive(
    name: StreamName,
    mut memory: Memory,
    surroundings: Surroundings,
    status: watch::Sender<Status>,
    mut commands: mpsc::Receiver<Command>,
) {
    loop {
        let task = StreamTask::new(name.clone(), &mut memory, surroundings.clone(), status.clone());
        match AssertUnwindSafe(task.run(&mut commands)).catch_unwind().await {
            Ok(()) => return,
            Err(_) => surroundings.events.say(Event::PartFailed { part: "stream task".to_owned() }),
        }
        status.send_modify(|status| {
            status.state = State::BackingOff;
            status.reason = Some("an internal error; the stream is started anew".to_string());
        });
        sleep(AFTER_PANIC).await;
    }
}

async fn drain(handle: StreamHandle, task: JoinHandle<()>) {
    if handle.commands.send(Command::Shutdown).await.is_err() {
        log::debug!("stream had ended before it was shut down");
    }
    if let Err(error) = task.await {
        log::error!(error:%; "stream task failed");
    }
}

/// A panic while it was held leaves what is shared here as it was: each operation on a queue or a
/// recording is whole or not begun.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Commands that may wait. A stream looks at them at once; who sends more than this at a time is told so.
const COMMANDS: usize = 16;

/// Long enough that a task which panics at once does not fill the journal.
const AFTER_PANIC: Duration = Duration::from_secs(1);
