//! One output's life: who is told what about its connection, and when the next attempt is made.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Policy};
use crate::units::ByteCount;

/// The machine of one output.
///
/// ```text
///             attempt                 acknowledged bytes rise
///   Idle ───────────▶ Connecting ──────────────────────────▶ Streaming
///                      ▲      │                               │     ▲
///              wait is │      │ refused, timed out    nothing │     │ they rise
///                 over │      ▼                  acknowledged ▼     │ again
///                     BackingOff ◀───────────────────────── Stalled
///                            connection lost (from Connecting, Streaming or Stalled)
///
///             listens                a caller is there
///   Idle ───────────▶ Waiting ◀──────────────────────▶ what its callers' machines amount to
///                                    the last one goes
/// ```
///
/// "Streaming" is never a guess: it means that the receiver acknowledges more and more bytes.
#[derive(Clone, Debug)]
pub struct OutputMachine {
    state: OutputState,
    since: Instant,
    reason: Option<String>,
    acknowledged: ByteCount,
    /// When the acknowledged bytes last rose, or the connection began.
    rose_at: Instant,
    refusals: Backoff,
    losses: Backoff,
    retry_at: Option<Instant>,
}

/// Where an output stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// Not asked to connect, or drained.
    Idle,
    /// An attempt is under way, or it has succeeded and nothing was acknowledged yet.
    Connecting,
    /// The receiver acknowledges more and more.
    Streaming,
    /// Connected, but nothing more is acknowledged.
    Stalled,
    /// Waiting before the next attempt.
    BackingOff,
    /// Listening, and nobody has called: nothing is wrong, and nobody receives.
    Waiting,
}

impl OutputState {
    /// Every word of [`OutputState::as_str`].
    pub const WORDS: [&str; 5] = ["stopped", "connecting", "streaming", "degraded", "backing_off"];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            OutputState::Idle => "stopped",
            OutputState::Connecting => "connecting",
            OutputState::Streaming => "streaming",
            OutputState::Stalled => "degraded",
            OutputState::BackingOff => "backing_off",
            OutputState::Waiting => "connecting", // the reason says to whom: to nobody yet
        }
    }
}

/// One caller of an output that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerView {
    /// Its address.
    pub name: String,
    pub state: OutputState,
    pub reason: Option<String>,
}

/// What the driver saw of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Acknowledged since the connection began.
    pub acknowledged: ByteCount,
    /// Whether anything waits to be acknowledged.
    pub in_flight: bool,
    /// Round-trip time, as measured.
    pub rtt: Duration,
}

/// Why there is no connection, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The other side said no: trying again soon cannot help, and would only fill its log.
    Refused,
    /// Nobody answered, or the connection broke: the network may be back at any moment.
    Unreachable,
}

impl OutputMachine {
    pub fn new(now: Instant) -> Self {
        OutputMachine {
            state: OutputState::Idle,
            since: now,
            reason: None,
            acknowledged: ByteCount::ZERO,
            rose_at: now,
            refusals: Backoff::new(AFTER_REFUSAL),
            losses: Backoff::new(AFTER_LOSS),
            retry_at: None,
        }
    }

    pub fn state(&self) -> OutputState {
        self.state
    }

    /// When the state was entered.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why the state is what it is; `None` where the state says it all.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// When the next attempt is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// An attempt begins. What went wrong before stays readable until it succeeds.
    pub fn attempt(&mut self, now: Instant) {
        let reason = self.reason.take();
        self.enter(now, OutputState::Connecting, reason);
    }

    /// The handshake is done; that nothing was acknowledged yet is said.
    pub fn connected(&mut self, now: Instant) {
        self.acknowledged = ByteCount::ZERO;
        self.rose_at = now;
        self.refusals.reset();
        self.enter(now, OutputState::Connecting, Some("connected, nothing acknowledged yet".into()));
    }

    /// Whether the present connection has carried anything to the receiver.
    pub fn has_delivered(&self) -> bool {
        self.acknowledged > ByteCount::ZERO
    }

    /// A measurement of the connection. Without one the machine believes nothing.
    pub fn progress(&mut self, now: Instant, progress: &Progress) {
        let rose = progress.acknowledged > self.acknowledged;
        self.acknowledged = progress.acknowledged;
        if rose {
            self.rose_at = now;
        }
        let silence = now.saturating_duration_since(self.rose_at);
        let stalled = silence > silence_bound(progress.rtt);
        match self.state {
            OutputState::Connecting | OutputState::Stalled if rose => {
                self.losses.reset();
                self.enter(now, OutputState::Streaming, None);
            }
            OutputState::Connecting | OutputState::Streaming | OutputState::Stalled if stalled => {
                // Packets that are too late are given up, so that after a while nothing is in flight.
                let what = if progress.in_flight { "" } else { " (and nothing is in flight)" };
                let reason = format!("nothing acknowledged for {:.1} s{what}", silence.as_secs_f64());
                self.enter(now, OutputState::Stalled, Some(reason));
            }
            OutputState::Connecting | OutputState::Streaming | OutputState::Stalled => {}
            // a late measurement of a connection that is gone, or a listener's, which has none itself
            OutputState::Idle | OutputState::BackingOff | OutputState::Waiting => {}
        }
    }

    /// It listens at `place`, and these are there, the longest first. Each of them has a machine of its
    /// own; this one says what they amount to. What is wrong with one of them is said, and does not
    /// hide that another receives.
    pub fn listening(&mut self, now: Instant, place: &str, callers: &[CallerView]) {
        let is_any = |state: OutputState| callers.iter().any(|caller| caller.state == state);
        let state = if callers.is_empty() {
            OutputState::Waiting
        } else if is_any(OutputState::Streaming) {
            OutputState::Streaming
        } else if is_any(OutputState::Stalled) {
            OutputState::Stalled
        } else {
            OutputState::Connecting
        };
        // One who has just come is no trouble for the others.
        let is_new = |caller: &CallerView| caller.state == OutputState::Connecting;
        let troubles = callers
            .iter()
            .filter(|caller| state == OutputState::Connecting || !is_new(caller))
            .filter_map(|caller| Some(format!("caller {}: {}", caller.name, caller.reason.as_ref()?)));
        let troubles = troubles.collect::<Vec<_>>().join("; ");
        let reason = match state {
            OutputState::Waiting => Some(format!("waiting for a caller on {place}")),
            _ => (!troubles.is_empty()).then_some(troubles),
        };
        self.enter(now, state, reason);
    }

    /// An attempt failed or a connection ended. `jitter` is uniform in 0..1.
    pub fn setback(&mut self, now: Instant, setback: Setback, reason: String, jitter: f64) {
        let wait = match setback {
            Setback::Refused => self.refusals.next(jitter),
            Setback::Unreachable => self.losses.next(jitter),
        };
        self.enter(now, OutputState::BackingOff, Some(reason));
        self.retry_at = Some(now + wait);
    }

    /// Drained, or told to stop.
    pub fn stopped(&mut self, now: Instant) {
        self.enter(now, OutputState::Idle, None);
    }

    fn enter(&mut self, now: Instant, state: OutputState, reason: Option<String>) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason;
        self.retry_at = None;
    }
}

/// Acknowledgements come every 10 ms plus the way there and back; four round trips and a third of a
/// second are beyond any scheduling hiccup, and well inside the second and a half in which users
/// expect to be told.
fn silence_bound(rtt: Duration) -> Duration {
    (rtt * 4).min(Duration::from_millis(900)) + Duration::from_millis(300)
}

/// A wrong passphrase or stream id stays wrong until somebody changes it.
const AFTER_REFUSAL: Policy = Policy { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// An attempt listens for three seconds by itself, sending a handshake four times a second, so the
/// pause between attempts is all that a returning network can be missed for: it stays short.
const AFTER_LOSS: Policy = Policy { first: Duration::from_millis(100), longest: Duration::from_millis(800) };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn progress(acknowledged: u64) -> Progress {
        let rtt = Duration::from_millis(50);
        Progress { acknowledged: ByteCount::new(acknowledged), in_flight: true, rtt }
    }

    /// Does one thing to a machine.
    type Step = fn(&mut OutputMachine, Instant);

    const ATTEMPT: Step = |m, now| m.attempt(now);
    const CONNECTED: Step = |m, now| m.connected(now);
    const ACKED: Step = |m, now| m.progress(now, &progress(m.acknowledged.get() + 1316));
    /// The same number as before, this long after it last rose.
    const QUIET: Step =
        |m, _| m.progress(m.rose_at + Duration::from_millis(400), &progress(m.acknowledged.get()));
    const SILENT: Step =
        |m, _| m.progress(m.rose_at + Duration::from_millis(600), &progress(m.acknowledged.get()));
    const REFUSED: Step = |m, now| m.setback(now, Setback::Refused, "wrong passphrase".into(), 0.5);
    const LOST: Step = |m, now| m.setback(now, Setback::Unreachable, "peer silent for 5 s".into(), 0.5);
    const STOPPED: Step = |m, now| m.stopped(now);

    #[test]
    fn table_of_transitions() {
        use OutputState::*;
        let table: &[(&[Step], OutputState)] = &[
            (&[], Idle),
            (&[ATTEMPT], Connecting),
            (&[ATTEMPT, CONNECTED], Connecting),
            (&[ATTEMPT, CONNECTED, QUIET], Connecting),
            (&[ATTEMPT, CONNECTED, SILENT], Stalled),
            (&[ATTEMPT, CONNECTED, ACKED], Streaming),
            (&[ATTEMPT, CONNECTED, ACKED, QUIET], Streaming),
            (&[ATTEMPT, CONNECTED, ACKED, SILENT], Stalled),
            (&[ATTEMPT, CONNECTED, ACKED, SILENT, QUIET], Stalled),
            (&[ATTEMPT, CONNECTED, ACKED, SILENT, ACKED], Streaming),
            (&[ATTEMPT, CONNECTED, ACKED, LOST], BackingOff),
            (&[ATTEMPT, CONNECTED, ACKED, SILENT, LOST, ATTEMPT], Connecting),
            (&[ATTEMPT, REFUSED], BackingOff),
            (&[ATTEMPT, REFUSED, ACKED], BackingOff),
            (&[ATTEMPT, CONNECTED, ACKED, STOPPED], Idle),
            (&[ATTEMPT, REFUSED, STOPPED, ACKED], Idle),
        ];
        for (number, (steps, expected)) in table.iter().enumerate() {
            let now = Instant::now();
            let mut machine = OutputMachine::new(now);
            steps.iter().for_each(|step| step(&mut machine, now));
            assert_eq!(machine.state(), *expected, "row {number}");
            assert_eq!(machine.next_deadline().is_some(), *expected == BackingOff, "row {number}");
        }
    }

    #[test]
    fn refusals_are_tried_ever_more_rarely_and_lost_networks_soon() {
        let now = Instant::now();
        let mut machine = OutputMachine::new(now);
        let wait = |machine: &mut OutputMachine, step: Step| {
            machine.attempt(now);
            step(machine, now);
            (machine.next_deadline().expect("a retry is due") - now).as_millis()
        };
        let refused: Vec<_> = (0..7).map(|_| wait(&mut machine, REFUSED)).collect();
        assert_eq!(refused, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        let lost: Vec<_> = (0..5).map(|_| wait(&mut machine, LOST)).collect();
        assert_eq!(lost, [100, 200, 400, 800, 800]);
    }

    #[test]
    fn an_output_that_has_nothing_to_send_does_not_stream() {
        let now = Instant::now();
        let mut machine = OutputMachine::new(now);
        [ATTEMPT, CONNECTED, ACKED].iter().for_each(|step| step(&mut machine, now));
        let nothing = Progress { in_flight: false, ..progress(1316) };
        machine.progress(now + Duration::from_secs(6), &nothing);
        assert_eq!(machine.state(), OutputState::Stalled);
        assert_eq!(machine.reason(), Some("nothing acknowledged for 6.0 s (and nothing is in flight)"));
    }

    #[test]
    fn the_last_setback_is_readable_while_the_next_attempt_runs() {
        let now = Instant::now();
        let mut machine = OutputMachine::new(now);
        REFUSED(&mut machine, now);
        machine.attempt(now);
        assert_eq!(machine.reason(), Some("wrong passphrase"));
        machine.connected(now);
        ACKED(&mut machine, now);
        assert_eq!(machine.reason(), None);
    }

    #[test]
    fn a_listener_is_what_its_callers_are() {
        use OutputState::*;
        let now = Instant::now();
        let mut machine = OutputMachine::new(now);
        let caller = |name: &str, state, reason: Option<&str>| CallerView {
            name: name.into(),
            state,
            reason: reason.map(str::to_owned),
        };
        let mut amounts = |callers: &[CallerView]| {
            machine.listening(now, "0.0.0.0:9000", callers);
            assert_eq!(machine.next_deadline(), None);
            (machine.state(), machine.reason().unwrap_or_default().to_owned())
        };
        assert_eq!(amounts(&[]), (Waiting, "waiting for a caller on 0.0.0.0:9000".into()));
        let new = caller("b", Connecting, Some("connected, nothing acknowledged yet"));
        let said = "caller b: connected, nothing acknowledged yet";
        assert_eq!(amounts(std::slice::from_ref(&new)), (Connecting, said.into()));
        let good = caller("a", Streaming, None);
        assert_eq!(amounts(std::slice::from_ref(&good)), (Streaming, String::new()));
        assert_eq!(amounts(&[good.clone(), new]), (Streaming, String::new()));
        let dead = caller("c", Stalled, Some("gone"));
        assert_eq!(amounts(&[dead.clone(), good]), (Streaming, "caller c: gone".into()));
        assert_eq!(amounts(&[dead]), (Stalled, "caller c: gone".into()));
        assert_eq!(amounts(&[]).0, Waiting);
    }

    #[test]
    fn a_long_round_trip_is_not_a_stall_and_no_stall_goes_unnoticed_for_long() {
        assert!(silence_bound(Duration::from_millis(600)) > Duration::from_millis(1100));
        assert!(silence_bound(Duration::from_millis(10)) < Duration::from_millis(350));
        assert!(silence_bound(Duration::from_secs(10)) <= Duration::from_millis(1200));
    }

    proptest! {
        #[test]
        fn streaming_always_means_that_acknowledgements_rose(steps in prop::collection::vec(0usize..8, 0..60)) {
            let all = [ATTEMPT, CONNECTED, ACKED, QUIET, SILENT, REFUSED, LOST, STOPPED];
            let start = Instant::now();
            let mut machine = OutputMachine::new(start);
            for (count, step) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(20 * count as u64);
                let (state, acknowledged) = (machine.state(), machine.acknowledged);
                all[step](&mut machine, now);
                if machine.state() == OutputState::Streaming && state != OutputState::Streaming {
                    prop_assert!(machine.acknowledged > acknowledged);
                }
                prop_assert_eq!(machine.next_deadline().is_some(), machine.state() == OutputState::BackingOff);
            }
        }
    }
}
