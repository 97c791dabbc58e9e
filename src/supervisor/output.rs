//! The task of one output: its queue → its mux → its driver, again and again.
//!
//! One task owns all of it. `run` retries for ever, with the waits that [`OutputMachine`] names;
//! `run_once` is one connection from the address look-up to its end, and uses `?`. An output that
//! listens has in place of that connection an output for each of its callers ([`listening`]).

mod listening;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::events::{Event, StateNews, Teller};
use super::fanout::Fanout;
use super::feed::Feed;
use super::passphrase::{self, PassphraseError};
use super::recorder::{Recorder, Recorders};
use super::status::{LinkStatus, OutputStatus, Totals};
use super::steering::Steering;
use crate::causes::with_causes;
use crate::config::{self, OutputName, SrtMode};
use crate::media::{self, Tracks};
use crate::rate::{self, Decision};
use crate::session::meter::Meter;
use crate::session::output::{OutputMachine, OutputState, Progress, Setback};
use crate::transport::gop_queue::LeftOut;
use crate::transport::srt::{
    self, ConnectError, Connection, Encryption, Ended, ListenError, Measurement, Passphrase, Target,
};
use crate::units::{Bitrate, ByteCount};

/// A running output. Dropped, it drains by itself; [`OutputHandle::stop`] waits for that.
#[derive(Debug)]
pub struct OutputHandle {
    status: watch::Receiver<OutputStatus>,
    steered_by: watch::Receiver<Option<Decisions>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What an output needs to know of its stream.
#[derive(Clone, Debug)]
pub struct StreamContext {
    pub name: config::StreamName,
    pub tracks: Tracks,
    pub fanout: Fanout,
    /// Notified when this output can only go on with a key frame.
    pub key_frame_wanted: Arc<Notify>,
    /// What its rate controller keeps to.
    pub rate: watch::Receiver<rate::Settings>,
    /// Notified at each decision of an output's rate controller.
    pub rate_decided: Arc<Notify>,
    /// Told what becomes of the output; nobody is where it stands for one caller of several.
    pub events: Option<Teller>,
    pub recorder: Arc<Recorder>,
    /// Those of all outputs.
    pub recorders: Recorders,
}

impl StreamContext {
    /// The most that picture and sound together are, as of now.
    fn peak(&self) -> Bitrate {
        self.rate.borrow().peak()
    }

    /// What an output's queue may hold.
    fn room(&self) -> ByteCount {
        self.peak() * QUEUE_SPAN
    }
}

/// What a rate controller decides; `None` without a connection.
type Decisions = watch::Receiver<Option<Decision>>;

impl OutputHandle {
    /// Starts connecting at once.
    pub fn spawn(settings: config::Output, context: StreamContext) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (output, status) = Output::new(settings, context, stopping);
        let steered_by = output.steered_by.subscribe();
        OutputHandle { status, steered_by, stop, task: tokio::spawn(output.run()) }
    }

    /// The newest status.
    pub fn status(&self) -> OutputStatus {
        self.status.borrow().clone()
    }

    /// Follows the status, also while the output drains.
    pub fn watch(&self) -> watch::Receiver<OutputStatus> {
        self.status.clone()
    }

    /// What its rate controller last decided; `None` without a connection.
    pub fn decision(&self) -> Option<Decision> {
        self.steered_by.borrow().as_ref().and_then(|decisions| *decisions.borrow())
    }

    /// Whether its task has ended, which it does by itself only by a panic.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends what still waits, waits until the receiver has it (at most the latency and a second), and ends.
    pub async fn stop(self) {
        if self.stop.send(true).is_err() {
            log::debug!("output had ended before it was stopped");
        }
        if let Err(error) = self.task.await {
            log::error!(error:%; "output task failed");
        }
    }
}

struct Output {
    settings: config::Output,
    context: StreamContext,
    machine: OutputMachine,
    feed: Feed,
    steering: Steering,
    /// Whose decisions the encoder is to follow, where this output is the one: its own, or its first caller's.
    steered_by: watch::Sender<Option<Decisions>>,
    stopping: watch::Receiver<bool>,
    publisher: Publisher,
    /// Which of the receiver's addresses is called: the next one after an attempt that failed.
    address: usize,
}

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("closed by the receiver before it had acknowledged anything: does it want another stream id?")]
    Dismissed,
    #[error(transparent)]
    Media(#[from] media::Error),
}

impl Output {
    fn new(
        settings: config::Output,
        context: StreamContext,
        stopping: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<OutputStatus>) {
        let machine = OutputMachine::new(Instant::now());
        let (publisher, status) = Publisher::new(&settings.name, &machine, context.events.clone());
        let feed = Feed::new(context.fanout.clone(), context.tracks, settings.latency);
        let steering =
            Steering::new(context.rate.clone(), context.rate_decided.clone(), context.recorder.clone());
        let steered_by = watch::Sender::new(Some(steering.decisions()));
        let address = 0;
        let output =
            Output { settings, context, machine, feed, steering, steered_by, stopping, publisher, address };
        (output, status)
    }

    async fn run(mut self) {
        while let Err(error) = self.run_once().await {
            let reason = with_causes(&error);
            self.machine.setback(Instant::now(), error.setback(), reason, rand::random());
            self.publish();
            let retry_at = self.machine.next_deadline().unwrap_or_else(Instant::now);
            tokio::select! {
                () = sleep_until(retry_at.into()) => {}
                () = requested(&mut self.stopping) => break,
            }
        }
        self.machine.stopped(Instant::now());
        self.publish();
    }

    /// One connection, from the address look-up to its end. `Ok` when the output was asked to stop and has drained.
    async fn run_once(&mut self) -> Result<(), OutputError> {
        self.machine.attempt(Instant::now());
        self.publish();
        if self.settings.url.mode == SrtMode::Listener {
            return self.listen().await;
        }
        let connection = tokio::select! {
            connection = connect(&self.settings, self.context.peak(), self.address) => connection,
            () = requested(&mut self.stopping) => return Ok(()),
        };
        let connection = connection.inspect_err(|_| self.address += 1)?;
        self.hold(connection).await
    }

    /// A connection that was just made, to its end.
    async fn hold(&mut self, connection: Connection) -> Result<(), OutputError> {
        self.machine.connected(Instant::now());
        self.publisher.connected();
        if let Some(events) = &self.context.events {
            let latency_ms = connection.latency().as_millis() as u64;
            events.say(Event::OutputConnected { output: self.settings.name.to_string(), latency_ms });
        }
        self.publish();
        let ended = self.carry(connection).await;
        self.feed.end();
        self.steering.end();
        match ended? {
            Ended::Drained => Ok(()),
            Ended::ClosedByPeer if !self.machine.has_delivered() => Err(OutputError::Dismissed),
            Ended::ClosedByPeer => Err(OutputError::Lost("closed by the receiver".into())),
            Ended::PeerIdle { silence } => Err(OutputError::Lost(format!(
                "nothing from the receiver for {:.1} s",
                silence.as_secs_f64()
            ))),
            Ended::Failed { reason } => Err(OutputError::Lost(reason)),
        }
    }

    /// Keeps a connection fed until it ends.
    async fn carry(&mut self, connection: Connection) -> Result<Ended, OutputError> {
        let latency = connection.latency();
        let (report, mut reported) = watch::channel(Measurement::new(Instant::now()));
        let mut chunks = self.feed.begin(latency, self.context.room());
        let mut course = self.steering.begin(latency);
        self.context.key_frame_wanted.notify_one();
        let Output { feed, steering, stopping, machine, context, publisher, .. } = self;
        let queue = feed.queue().clone();
        let mut run = pin!(connection.run(&mut chunks, &report, steering.allowance()));
        let mut finishing = false;
        loop {
            tokio::select! {
                ended = &mut run => {
                    let measurement = reported.borrow().clone();
                    log_totals(context, &publisher.name, &measurement);
                    publisher.measured(machine, &measurement, latency, queue.left_out(), true);
                    publisher.ended(&measurement);
                    return Ok(ended);
                }
                Ok(()) = reported.changed() => {
                    let measurement = reported.borrow_and_update().clone();
                    let (before, progress) = (machine.state(), progress(&measurement));
                    // An output that ends and has nothing left to deliver is not stalled.
                    if !finishing || progress.in_flight {
                        machine.progress(Instant::now(), &progress);
                    }
                    publisher.measured(machine, &measurement, latency, queue.left_out(), before != machine.state());
                    if !finishing {
                        let decision = steering.steer(&mut course, &measurement, feed);
                        feed.follow(&measurement, &decision, context.room());
                        publisher.thinned(machine, decision.thin);
                        if decision.key_frame {
                            context.key_frame_wanted.notify_one();
                        }
                    }
                }
                () = queue.arrived() => {}
                () = requested(stopping), if !finishing => {
                    finishing = true;
                    feed.finish();
                    steering.release();
                }
            }
            if feed.pump()? {
                context.key_frame_wanted.notify_one();
            }
        }
    }

    fn publish(&mut self) {
        self.publisher.unconnected(&self.machine, self.feed.queue().left_out());
    }
}

/// Tells the world how an output does.
struct Publisher {
    name: OutputName,
    status: watch::Sender<OutputStatus>,
    events: Option<Teller>,
    news: StateNews<OutputState>,
    sent: Meter,
    acknowledged: Meter,
    published: Instant,
    /// How often groups had been left out by then, and when pictures were last left out on this connection.
    gaps: u64,
    gap_at: Option<Instant>,
    /// Of connections that have ended.
    earlier: Totals,
}

impl Publisher {
    fn new(
        name: &OutputName,
        machine: &OutputMachine,
        events: Option<Teller>,
    ) -> (Self, watch::Receiver<OutputStatus>) {
        let (status, receiver) = watch::channel(bare_status(name, machine, LeftOut::default()));
        let (sent, acknowledged) = (Meter::default(), Meter::default());
        let published = machine.since();
        let (name, gap_at) = (name.clone(), None);
        (
            Publisher {
                name,
                status,
                events,
                news: StateNews::new(machine.state()),
                sent,
                acknowledged,
                published,
                gaps: 0,
                gap_at,
                earlier: Totals::default(),
            },
            receiver,
        )
    }

    fn connected(&mut self) {
        self.earlier.connections += 1;
    }

    fn ended(&mut self, measurement: &Measurement) {
        self.earlier = self.earlier.with(measurement);
    }

    fn unconnected(&mut self, machine: &OutputMachine, left_out: LeftOut) {
        self.sent = Meter::default();
        self.acknowledged = Meter::default();
        self.gaps = left_out.gaps;
        self.gap_at = None;
        self.tell(OutputStatus { totals: self.earlier, ..bare_status(&self.name, machine, left_out) });
    }

    fn tell(&mut self, status: OutputStatus) {
        if let Some(events) = &self.events
            && self.news.observe(status.state, status.reason.as_deref())
        {
            let (output, state, reason) =
                (self.name.to_string(), status.state.as_str(), status.reason.clone());
            events.say(Event::OutputState { output, state, reason });
        }
        self.status.send_replace(status);
    }

    /// The link wants a share of the pictures not to be encoded.
    fn thinned(&mut self, machine: &OutputMachine, share: f64) {
        if share > 0.0 && is_steady(machine) {
            self.gap_at = Some(Instant::now());
        }
    }

    /// Measurements come every 20 ms; people and programs are told ten times a second, of a new state at once.
    fn measured(
        &mut self,
        machine: &OutputMachine,
        measurement: &Measurement,
        latency: Duration,
        left_out: LeftOut,
        urgent: bool,
    ) {
        let now = Instant::now();
        self.sent.observe(now, measurement.sent.bytes.get());
        self.acknowledged.observe(now, measurement.acknowledged.bytes.get());
        if left_out.gaps > self.gaps {
            self.gaps = left_out.gaps;
            self.gap_at = is_steady(machine).then_some(now).or(self.gap_at);
        }
        let is_too_slow = self.gap_at.is_some_and(|at| now.duration_since(at) < GAP_MEMORY);
        if !urgent && now.duration_since(self.published) < PUBLISH_INTERVAL {
            return;
        }
        self.published = now;
        let bare = bare_status(&self.name, machine, left_out);
        self.tell(OutputStatus {
            reason: bare.reason.or_else(|| is_too_slow.then(|| TOO_SLOW.to_string())),
            sent: self.sent.bitrate(),
            acknowledged: self.acknowledged.bitrate(),
            link: Some(LinkStatus {
                latency,
                rtt: measurement.rtt,
                send_buffer: measurement.oldest_unacknowledged,
                in_flight_packets: measurement.in_flight_packets,
            }),
            totals: self.earlier.with(measurement),
            ..bare
        });
    }
}

/// What an outage has cost is not said of the link that has just come back.
fn is_steady(machine: &OutputMachine) -> bool {
    machine.state() == OutputState::Streaming && machine.since().elapsed() > SETTLED
}

fn bare_status(name: &OutputName, machine: &OutputMachine, left_out: LeftOut) -> OutputStatus {
    OutputStatus {
        name: name.clone(),
        state: machine.state(),
        since: machine.since(),
        reason: machine.reason().map(str::to_string),
        sent: Bitrate::ZERO,
        acknowledged: Bitrate::ZERO,
        link: None,
        totals: Totals::default(),
        left_out,
        callers: None,
    }
}

/// One attempt to reach the output's receiver, at one of its addresses: the resolver's first choice
/// first, and in turn where that does not answer.
async fn connect(output: &config::Output, peak: Bitrate, address: usize) -> Result<Connection, OutputError> {
    let encryption = encryption(output).await?;
    let addresses = srt::resolve(&output.url.host, output.url.port).await?;
    let remote = addresses[address % addresses.len()];
    let (latency, stream_id) = (output.latency, output.stream_id.clone());
    let target = Target { remote, latency, stream_id, encryption, peak };
    Ok(match output.url.mode {
        SrtMode::Rendezvous => srt::rendezvous(&target).await?,
        SrtMode::Caller | SrtMode::Listener => srt::connect(&target).await?,
    })
}

async fn encryption(output: &config::Output) -> Result<Option<Encryption>, OutputError> {
    Ok(match &output.passphrase_file {
        Some(path) => Some(Encryption { passphrase: passphrase(path).await?, key_length: output.key_length }),
        None => None,
    })
}

/// Read anew for each attempt, so that a changed secret needs no restart.
async fn passphrase(path: &Path) -> Result<Passphrase, PassphraseError> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || passphrase::load(&owned)).await.unwrap_or_else(|error| {
        Err(PassphraseError::Unreadable { path: path.to_owned(), source: error.into() })
    })
}

impl OutputError {
    /// What the next attempt may hope for.
    fn setback(&self) -> Setback {
        match self {
            OutputError::Connect(error) if error.is_refusal() => Setback::Refused,
            OutputError::Passphrase(_) | OutputError::Dismissed | OutputError::Media(_) => Setback::Refused,
            OutputError::Connect(_) | OutputError::Listen(_) | OutputError::Lost(_) => Setback::Unreachable,
        }
    }
}

/// What a connection has carried, for those who look for it later.
fn log_totals(context: &StreamContext, output: &OutputName, measurement: &Measurement) {
    log::info!(
        stream = context.name.as_str(),
        output = output.as_str(),
        sent_packets = measurement.sent.packets,
        sent_bytes = measurement.sent.bytes.get(),
        acknowledged_packets = measurement.acknowledged.packets,
        retransmitted_packets = measurement.retransmitted.packets,
        late_packets = measurement.late_packets,
        rejected_datagrams = measurement.rejected_datagrams;
        "connection ended"
    );
}

fn progress(measurement: &Measurement) -> Progress {
    Progress {
        acknowledged: measurement.acknowledged.bytes,
        in_flight: measurement.in_flight_packets > 0,
        rtt: measurement.rtt,
    }
}

/// Waits until the flag is raised, or whoever could raise it is gone; cancel safe.
async fn requested(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        log::debug!("owner of an output is gone");
    }
}

/// The queue's bound in bytes is this much of the stream at its peak: beyond any age that is useful
/// at usual latencies, and a bound where a latency of 30 s meets a small machine.
const QUEUE_SPAN: Duration = Duration::from_secs(10);

/// Said of an output that streams with gaps.
const TOO_SLOW: &str = "the link is slower than the stream: pictures are left out";

/// For how long it is said after the last gap: longer than a group of pictures usually is.
const GAP_MEMORY: Duration = Duration::from_secs(4);

/// After so long, gaps are no longer those of an outage before.
const SETTLED: Duration = Duration::from_secs(1);

/// Ten times a second.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
