//! An output that listens: for each caller an output of its own, and one status of them all.
//!
//! A caller has everything that a called receiver has: queue, mux, driver, rate controller, machine. So one that
//! is slow or dead fills its own queue, and one that comes begins with tables and a key frame. The
//! one that has been there longest stands for all where there can be only one: its link is the one
//! that is shown, and that the rate follows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::{Decisions, Output, OutputError, StreamContext, bare_status, encryption, requested};
use crate::causes::with_causes;
use crate::session::output::CallerView;
use crate::supervisor::events::Event;
use crate::supervisor::recorder::Recorder;
use crate::supervisor::status::{Callers, LeftOut, OutputStatus, Totals};
use crate::transport::srt::{self, Connection, Listener, Reception};
use crate::units::Bitrate;

/// The callers of one output.
#[derive(Default)]
struct Audience {
    /// In the order in which they came.
    callers: Vec<Caller>,
    /// Dropped, it ends them all.
    connections: JoinSet<Result<(), OutputError>>,
    /// What those have carried who have gone.
    totals: Totals,
    left_out: LeftOut,
    /// Whose link the rate follows.
    lead: Option<Id>,
}

struct Caller {
    address: SocketAddr,
    status: watch::Receiver<OutputStatus>,
    decisions: Decisions,
    recorder: Arc<Recorder>,
    task: Id,
}

impl Output {
    /// Takes callers until the output is asked to stop, and lets those drain who are there then.
    ///
    /// # Errors
    /// Where it cannot listen. What happens to callers is theirs alone.
    pub(super) async fn listen(&mut self) -> Result<(), OutputError> {
        let mut listener = self.bind().await?;
        let address = listener.local().to_string();
        self.say(|output| Event::OutputListens { output, address });
        let mut audience = Audience::default();
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut refused = 0;
        loop {
            if refused != listener.refused() {
                refused = listener.refused();
                self.renew_secret(&mut listener).await;
            }
            self.follow_first(&mut audience);
            self.publish_audience(&listener, &audience);
            tokio::select! {
                (address, connection) = listener.accept() => self.seat(&mut audience, address, connection),
                Some(left) = audience.connections.join_next_with_id() => self.leave(&mut audience, left),
                _ = tick.tick() => {}
                () = requested(&mut self.stopping) => break,
            }
        }
        // Nobody is let in any more; who is here was told by the same flag.
        while let Some(left) = audience.connections.join_next_with_id().await {
            self.leave(&mut audience, left);
            self.publish_audience(&listener, &audience);
        }
        Ok(())
    }

    async fn bind(&self) -> Result<Listener, OutputError> {
        let config = &self.settings;
        let encryption = encryption(config).await?;
        let local = srt::resolve(&config.url.host, config.url.port).await?[0];
        let (latency, stream_id) = (config.latency, config.stream_id.clone());
        let reception = Reception { local, latency, stream_id, encryption, peak: self.context.peak() };
        Ok(Listener::bind(&reception)?)
    }

    /// Somebody was refused: perhaps the passphrase has changed in its file, and is to be read anew.
    async fn renew_secret(&self, listener: &mut Listener) {
        match encryption(&self.settings).await {
            Ok(encryption) => listener.renew(encryption),
            Err(error) => log::warn!(
                stream = self.context.name.as_str(),
                output = self.settings.name.as_str(),
                reason = with_causes(&error);
                "the passphrase stays as it was"
            ),
        }
    }

    fn seat(&self, audience: &mut Audience, address: SocketAddr, connection: Connection) {
        self.say(|output| Event::CallerArrived { output, caller: address.to_string() });
        let recorder = Arc::new(Recorder::default());
        let context = StreamContext { recorder: recorder.clone(), events: None, ..self.context.clone() };
        let (mut output, status) = Output::new(self.settings.clone(), context, self.stopping.clone());
        let decisions = output.steering.decisions();
        let task = audience.connections.spawn(async move { output.hold(connection).await }).id();
        audience.callers.push(Caller { address, status, decisions, recorder, task });
    }

    fn leave(&self, audience: &mut Audience, left: Result<(Id, Result<(), OutputError>), JoinError>) {
        let (task, reason) = match left {
            Ok((task, Ok(()))) => (task, None),
            Ok((task, Err(error))) => (task, Some(with_causes(&error))),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let Some(place) = audience.callers.iter().position(|caller| caller.task == task) else { return };
        let caller = audience.callers.remove(place);
        let last = caller.status.borrow();
        audience.totals += last.totals;
        audience.left_out += last.left_out;
        let reason = reason.unwrap_or_else(|| "the output ends".to_owned());
        self.say(|output| Event::CallerGone { output, caller: caller.address.to_string(), reason });
    }

    /// The rate follows the link of the caller that has been there longest.
    fn follow_first(&self, audience: &mut Audience) {
        let first = audience.callers.first();
        let lead = first.map(|caller| caller.task);
        if audience.lead != lead {
            audience.lead = lead;
            self.steered_by.send_replace(first.map(|caller| caller.decisions.clone()));
            if let Some(caller) = first {
                self.context.recorders.replace(&self.settings.name, caller.recorder.clone());
            }
            self.context.rate_decided.notify_one();
        }
    }

    fn publish_audience(&mut self, listener: &Listener, audience: &Audience) {
        let statuses: Vec<_> = audience.callers.iter().map(|caller| caller.status.borrow().clone()).collect();
        let views = audience.callers.iter().zip(&statuses).map(|(caller, status)| CallerView {
            name: caller.address.to_string(),
            state: status.state,
            reason: status.reason.clone(),
        });
        let views: Vec<_> = views.collect();
        self.machine.listening(Instant::now(), &listener.local().to_string(), &views);

        let (mut totals, mut left_out) = (audience.totals, audience.left_out);
        let (mut sent, mut acknowledged) = (Bitrate::ZERO, Bitrate::ZERO);
        for status in &statuses {
            totals += status.totals;
            left_out += status.left_out;
            sent = sent + status.sent;
            acknowledged = acknowledged + status.acknowledged;
        }
        totals.rejected_datagrams += listener.rejected_datagrams();
        let callers = Callers { present: statuses.len() as u64, refused: listener.refused() };
        let ours = bare_status(&self.publisher.name, &self.machine, left_out);
        // Whatever there can be only one of is the first caller's.
        let first = statuses.into_iter().next().unwrap_or_else(|| ours.clone());
        let OutputStatus { name, state, since, reason, .. } = ours;
        let callers = Some(callers);
        let status = OutputStatus {
            name,
            state,
            since,
            reason,
            sent,
            acknowledged,
            totals,
            left_out,
            callers,
            ..first
        };
        self.publisher.earlier = totals; // what is said once nobody listens any more
        self.publisher.tell(status);
    }

    fn say(&self, event: impl FnOnce(String) -> Event) {
        if let Some(events) = &self.context.events {
            events.say(event(self.settings.name.to_string()));
        }
    }
}

/// How often callers are looked at: as often as they publish their status.
const LOOK: Duration = Duration::from_millis(100);
