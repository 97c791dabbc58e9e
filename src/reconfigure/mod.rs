//! Changes of the configuration while the daemon runs: checked, planned, kept, made, watched, taken back.
//!
//! ```text
//! api ── Handle ── orders ──▶ Task ──▶ Supervisor        a change is made only after it is kept
//!          ▲                   │  │
//!          └──── Current ◀─────┘  └──▶ Store, Trial      and taken back where it does not stream
//! ```
//!
//! One task owns the supervisor, the two documents and what lasts of them, so changes come one after another, and
//! what a change was checked against is what it is made on. The file is never written.

mod changes;
mod patience;
mod start;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

pub use self::changes::{Change, Done, Fault, Guard, Mode, Place, Refused, tag};
use self::patience::{PATIENCE, within};
pub use self::start::{Error as StartError, Start};
use self::trial::{Health, Trial, Verdict, View};
use crate::causes::with_causes;
use crate::config::plan::{Plan, Reach};
use crate::config::store::{self, Store};
use crate::config::{self, Config, Document, Layers, StreamName, file};
use crate::supervisor::events::Event;
use crate::supervisor::status::{OutputState, SourceState, State, Status};
use crate::supervisor::{Streams, Supervisor};
use crate::telemetry;

/// Gives orders to the task, and knows what counts.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    current: watch::Receiver<Arc<Current>>,
}

/// What counts now.
#[derive(Clone, Debug)]
pub struct Current {
    /// The administrator's.
    pub file: PathBuf,
    /// Where changes through the API are kept.
    pub overrides_file: PathBuf,
    pub layers: Layers,
    /// A change that may still be taken back.
    pub on_trial: Option<OnTrial>,
    /// The last change that was.
    pub taken_back: Option<TakenBack>,
    /// What is wrong with the overrides that are kept.
    pub trouble: Option<String>,
    /// Why no change can be kept, as the last attempt has it, or the daemon's start.
    pub unkept: Option<String>,
}

/// A change that was made and has not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTrial {
    /// When it is taken back unless it is confirmed; `None`: nobody has to.
    pub confirm_by: Option<Instant>,
    /// Streams that have to stream again.
    pub unproven: Vec<StreamName>,
    /// By when.
    pub prove_by: Instant,
}

/// A change that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    pub at: Instant,
    pub reason: String,
}

enum Order {
    Change { change: Change, guard: Guard, mode: Mode, reply: Reply<Done> },
    Confirm { reply: Reply<Arc<Current>> },
    TakeBack { reply: Reply<Arc<Current>> },
    Reload { reply: oneshot::Sender<()> },
    ShutDown { reply: oneshot::Sender<()> },
}

/// Says what would keep the API from starting by this section, which counts from the next start on. Blocks on the
/// file system.
pub type ApiCheck = fn(&config::Api) -> Result<(), Unusable>;

/// A setting that cannot be used here.
#[derive(Debug)]
pub struct Unusable {
    /// As in `api.token_file`.
    pub key: &'static str,
    /// What is wrong, with the key and with what to do.
    pub message: String,
}

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Owns the configuration and everything that runs by it.
struct Task {
    file: PathBuf,
    store: Store,
    supervisor: Supervisor,
    streams: Streams,
    file_text: String,
    overrides: String,
    layers: Layers,
    trial: Option<Pending>,
    taken_back: Option<TakenBack>,
    trouble: Option<String>,
    unkept: Option<String>,
    /// Why nothing can be kept: it would replace something that nobody has read.
    is_blocked: Option<String>,
    api_check: ApiCheck,
    current: watch::Sender<Arc<Current>>,
}

struct Pending {
    trial: Trial,
    /// The overrides to go back to.
    before: String,
    /// Those that a start would find.
    kept: String,
    /// Somebody has to confirm the change.
    is_unconfirmed: bool,
}

/// Starts everything that the configuration asks for. The task ends after [`Handle::shut_down`].
///
/// Must be called on a multi-threaded tokio runtime, after `media::init`. For `sys`, see [`Supervisor::start`].
pub fn spawn(start: Start, sys: PathBuf, api_check: ApiCheck) -> (Handle, Streams, JoinHandle<()>) {
    let Start { file, store, file_text, overrides, layers, taken_back, trouble, unkept, is_blocked } = start;
    let supervisor = Supervisor::start(layers.config.clone(), sys);
    let streams = supervisor.streams();
    let taken_back = taken_back.map(|reason| TakenBack { at: Instant::now(), reason });
    let current = watch::Sender::new(Arc::new(Current {
        file: file.clone(),
        overrides_file: store.path(),
        layers: layers.clone(),
        on_trial: None,
        taken_back: taken_back.clone(),
        trouble: trouble.clone(),
        unkept: unkept.clone(),
    }));
    let (orders, receiver) = mpsc::channel(ORDERS);
    let handle = Handle { orders, current: current.subscribe() };
    let task = Task {
        file,
        store,
        supervisor,
        streams: streams.clone(),
        file_text,
        overrides,
        layers,
        trial: None,
        taken_back,
        trouble,
        unkept,
        is_blocked,
        api_check,
        current,
    };
    (handle, streams, tokio::spawn(task.run(receiver)))
}

impl Handle {
    /// What counts now.
    pub fn current(&self) -> Arc<Current> {
        self.current.borrow().clone()
    }

    /// The same, for those who live by it.
    pub fn watch(&self) -> watch::Receiver<Arc<Current>> {
        self.current.clone()
    }

    /// Checks a change, plans it, or makes it.
    ///
    /// # Errors
    /// See [`Refused`]; what runs goes on then.
    pub async fn change(&self, change: Change, guard: Guard, mode: Mode) -> Result<Done, Refused> {
        self.ask(|reply| Order::Change { change, guard, mode, reply }).await?
    }

    /// The change on trial stays.
    ///
    /// # Errors
    /// Where there is none, or it cannot be kept.
    pub async fn confirm(&self) -> Result<Arc<Current>, Refused> {
        self.ask(|reply| Order::Confirm { reply }).await?
    }

    /// The change on trial goes.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn take_back(&self) -> Result<Arc<Current>, Refused> {
        self.ask(|reply| Order::TakeBack { reply }).await?
    }

    /// Reads both documents anew; bad ones are refused wholly, and what runs goes on. The log says how it went.
    pub async fn reload(&self) {
        if let Err(refused) = self.ask(|reply| Order::Reload { reply }).await {
            log::error!("reload: {refused}");
        }
    }

    /// Drains every stream.
    pub async fn shut_down(&self) {
        if let Err(refused) = self.ask(|reply| Order::ShutDown { reply }).await {
            log::error!("shutting down: {refused}");
        }
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(order(reply)).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Busy,
            TrySendError::Closed(_) => Refused::Gone,
        })?;
        answer.await.map_err(|_| Refused::Gone)
    }
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => break None,
                    Some(Order::ShutDown { reply }) => break Some(reply),
                    Some(order) => self.obey(order).await,
                },
                _ = tick.tick(), if self.trial.is_some() => self.look().await,
            }
        };
        orders.close(); // nothing is promised any more
        self.supervisor.shut_down().await;
        if let Some(done) = done {
            answer(done, ());
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Change { change, guard, mode, reply } => {
                answer(reply, self.change(change, &guard, mode).await);
            }
            Order::Confirm { reply } => answer(reply, self.confirm().await),
            Order::TakeBack { reply } if self.trial.is_none() => {
                answer(reply, Err(Refused::NothingOnTrial));
            }
            Order::TakeBack { reply } => {
                self.take_back("somebody has asked for it".to_owned()).await;
                answer(reply, Ok(self.current.borrow().clone()));
            }
            Order::Reload { reply } => {
                self.reload().await;
                answer(reply, ());
            }
            Order::ShutDown { .. } => unreachable!("the loop ends with it"),
        }
    }

    async fn change(&mut self, change: Change, guard: &Guard, mode: Mode) -> Result<Done, Refused> {
        let applies = matches!(mode, Mode::Apply { .. });
        if applies && self.trial.as_ref().is_some_and(|pending| pending.is_unconfirmed) {
            return Err(Refused::Unconfirmed);
        }
        guard.check(&change, &self.layers.config)?;
        let (overrides, created) = change.overrides(&self.layers)?;
        let (layers, plan, warnings) =
            changes::check(&self.file, &self.file_text, &self.layers, &change, &overrides).await?;
        if let Mode::Apply { confirm_within } = mode {
            self.keep(&overrides, confirm_within.is_some()).await?;
            self.make(layers, overrides, confirm_within).await;
        }
        Ok(Done { plan, warnings, created, current: self.current.borrow().clone() })
    }

    /// Before anything is made of them: what cannot be kept is not made.
    async fn keep(&mut self, overrides: &str, unconfirmed: bool) -> Result<(), Refused> {
        if let Some(reason) = &self.is_blocked {
            return Err(Refused::Blocked(reason.clone()));
        }
        let overrides = overrides.to_owned();
        self.with_store(move |store| match unconfirmed {
            true => store.try_out(&overrides),
            false => store.keep(&overrides),
        })
        .await?;
        self.trouble = None;
        Ok(())
    }

    /// What was checked and kept takes effect, and is watched.
    async fn make(&mut self, layers: Layers, overrides: String, confirm_within: Option<Duration>) {
        let interrupted = self.interrupted(&layers.config);
        let before = std::mem::replace(&mut self.overrides, overrides);
        self.run_by(layers).await;
        let trial = Trial::new(Instant::now(), confirm_within, interrupted);
        let is_unconfirmed = confirm_within.is_some();
        let kept = if is_unconfirmed { before.clone() } else { self.overrides.clone() };
        // What was on trial has not proven itself: both stay, or both go.
        let (trial, before) = match self.trial.take() {
            Some(earlier) => (earlier.trial.renewed(trial), earlier.before),
            None => (trial, before),
        };
        self.trial = Some(Pending { trial, before, kept, is_unconfirmed });
        self.look().await; // where nothing is to be watched, it settles at once
    }

    /// Streams that a change interrupts and does not end, each with how it does before it. What takes effect on air
    /// cannot end a stream: a link that breaks down meanwhile must not take it back.
    fn interrupted(&self, new: &Config) -> Vec<(StreamName, Health)> {
        let plan = Plan::new(&self.layers.config, new);
        let is_interrupted = |status: &&Status| {
            let mut consequences =
                plan.consequences.iter().filter(|it| it.stream.as_ref() == Some(&status.name));
            consequences.any(|it| it.reach != Reach::Live)
        };
        let goes_on = |status: &&Status| {
            let before = self.layers.config.streams.get(&status.name).is_some_and(|stream| stream.enabled);
            let after = new.streams.get(&status.name).map(|stream| stream.enabled);
            after.is_some_and(|after| after || !before)
        };
        let statuses = self.streams.statuses();
        let watched = statuses.iter().filter(is_interrupted).filter(goes_on);
        watched.map(|status| (status.name.clone(), health(status))).collect()
    }

    async fn run_by(&mut self, layers: Layers) {
        if layers.config.log.level != self.layers.config.log.level {
            telemetry::set_level(layers.config.log.level);
        }
        let changes = self.supervisor.apply(layers.config.clone()).await;
        if changes.api {
            log::warn!("changes of where and how the API listens wait for a restart");
        }
        self.layers = layers;
    }

    /// Looks whether the change on trial does well.
    async fn look(&mut self) {
        let statuses = self.streams.statuses();
        let views: Vec<View<'_>> = statuses.iter().map(view).collect();
        let verdict = match &mut self.trial {
            Some(pending) => pending.trial.observe(Instant::now(), &views),
            None => return,
        };
        match verdict {
            Verdict::Wait => self.publish(),
            Verdict::Settled => {
                self.trial = None;
                self.publish();
            }
            Verdict::TakeBack(reason) => self.take_back(reason).await,
        }
    }

    async fn confirm(&mut self) -> Result<Arc<Current>, Refused> {
        let Some(pending) = &mut self.trial else { return Err(Refused::NothingOnTrial) };
        if pending.is_unconfirmed {
            self.with_store(Store::confirm).await?;
        }
        log::info!("the change of the configuration is confirmed");
        self.trial = None;
        self.publish();
        Ok(self.current.borrow().clone())
    }

    /// Goes back to the overrides before the change, over the file as it is now.
    async fn take_back(&mut self, reason: String) {
        let Some(Pending { before, kept, .. }) = self.trial.take() else { return };
        log::error!(reason; "the change of the configuration is taken back");
        let wanted = before.clone();
        let stored = self.with_store(move |store| match wanted == kept {
            true => store.take_back().map(|_| ()), // a full disk does not keep us from that
            false => store.keep(&wanted),
        });
        if let Err(error) = stored.await {
            let trouble =
                format!("a change was taken back and is still kept, for the next start to find: {error}");
            log::error!("{trouble}");
            self.trouble = Some(trouble);
        }
        match Layers::parse(&self.file_text, &before) {
            Ok(layers) => self.run_by(layers).await,
            Err(problems) => {
                // The file was loaded anew meanwhile, and goes with the change only.
                let said = problems.render(|document| self.name_of(document));
                log::error!(
                    "the former overrides do not go with the file any more, the change stays: {said}"
                );
                self.trouble = Some(format!("the former overrides do not go with the file: {said}"));
            }
        }
        self.overrides = before;
        self.taken_back = Some(TakenBack { at: Instant::now(), reason });
        self.publish();
    }

    async fn reload(&mut self) {
        match self.read_anew().await {
            Err(refusal) => {
                refusal.lines().for_each(|line| log::error!("{line}"));
                self.supervisor.events().say(Event::refused(refusal.lines().map(str::to_owned)));
                log::error!(path:% = self.file.display(); "reload refused, the running configuration stays");
            }
            Ok((file_text, overrides, layers)) => {
                (self.file_text, self.overrides) = (file_text, overrides);
                self.run_by(layers).await;
                self.publish();
                log::info!(path:% = self.file.display(); "reloaded");
            }
        }
    }

    /// Both documents as they are now; the overrides that run where those that are kept are not those.
    async fn read_anew(&self) -> Result<(String, String, Layers), String> {
        let path = self.file.clone();
        let late = |what: String| move |late| format!("{what}: {late}");
        let file_text = within(PATIENCE, move || file::text(&path)).await;
        let file_text = file_text.map_err(late(self.name_of(Document::File)))?;
        let file_text = file_text.map_err(|error| error.to_string())?;
        let holds_others = self.is_blocked.is_some() || self.trial.is_some();
        let overrides = match holds_others {
            true => self.overrides.clone(),
            false => {
                let store = self.store.clone();
                let loaded = within(PATIENCE, move || store.load()).await;
                let loaded = loaded.map_err(late(self.name_of(Document::Overrides)))?;
                loaded.map_err(|error| error.to_string())?
            }
        };
        let layers = Layers::parse(&file_text, &overrides);
        let layers = layers.map_err(|problems| problems.render(|document| self.name_of(document)))?;
        let api = layers.config.api.clone();
        if api != self.layers.config.api {
            // Or the next start, which nobody watches, would find out.
            let check = self.api_check;
            let checked = within(PATIENCE, move || check(&api)).await;
            checked.map_err(late("the files that api names".to_owned()))?.map_err(
                |Unusable { key, message }| {
                    format!("{}: {message}", file::located(&self.file, &file_text, key))
                },
            )?;
        }
        Ok((file_text, overrides, layers))
    }

    fn name_of(&self, document: Document) -> String {
        match document {
            Document::File => self.file.display().to_string(),
            Document::Overrides => self.store.path().display().to_string(),
        }
    }

    async fn with_store(
        &mut self,
        act: impl FnOnce(&Store) -> Result<(), store::Error> + Send + 'static,
    ) -> Result<(), Refused> {
        let store = self.store.clone();
        let done = blocking(move || act(&store)).await;
        self.unkept = done.as_ref().err().map(|error| with_causes(error));
        self.publish();
        done.map_err(|error| {
            log::error!("{}", with_causes(&error));
            Refused::NotKept { is_full: error.is_full(), reason: with_causes(&error) }
        })
    }

    fn publish(&self) {
        let on_trial = self.trial.as_ref().map(|pending| OnTrial {
            confirm_by: pending.trial.confirm_by(),
            unproven: pending.trial.unproven().cloned().collect(),
            prove_by: pending.trial.prove_by(),
        });
        self.current.send_replace(Arc::new(Current {
            file: self.file.clone(),
            overrides_file: self.store.path(),
            layers: self.layers.clone(),
            on_trial,
            taken_back: self.taken_back.clone(),
            trouble: self.trouble.clone(),
            unkept: self.unkept.clone(),
        }));
    }
}

fn view(status: &Status) -> View<'_> {
    View {
        name: &status.name,
        health: health(status),
        is_stopped: status.state == State::Stopped,
        reason: status.reason.as_deref(),
    }
}

fn health(status: &Status) -> Health {
    let is_on_air = matches!(status.state, State::Streaming | State::Degraded);
    let arrives = status.outputs.iter().any(|output| output.state == OutputState::Streaming);
    match status.source.state {
        _ if !is_on_air || !arrives => Health::Off,
        SourceState::Live => Health::Picture,
        SourceState::Off | SourceState::Waiting | SourceState::Lost => Health::Slate,
    }
}

/// File systems may hang, and the runtime's threads must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("nobody cancels it, and a runtime that ends does not wait for us"),
        },
    }
}

/// Whoever asked may have gone; the log has said what became of it.
fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    if reply.send(with).is_err() {
        log::debug!("nobody waits for the answer any more");
    }
}

/// Orders that may wait. Each takes milliseconds, or as long as a disk; who comes with one more is told so.
const ORDERS: usize = 8;

/// How often a change on trial is looked at: a stream's status is made anew every 50 ms.
const TICK: Duration = Duration::from_millis(250);
