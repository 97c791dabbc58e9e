//! The whole stream's life, as its users see it.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Policy};
use super::output::OutputState;

/// The machine of one stream.
///
/// ```text
///               start                 first unit               every output streams, source is live
///   Stopped ───────────▶ Starting ──────────────▶ Connecting ─────────────────────────▶ Streaming
///      ▲                    ▲  │                    │    ▲                                │   ▲
///      │ stop, drained      │  │ cannot be built    │    │ an output tries again          ▼   │
///      │ (from anywhere)    │  ▼                    ▼    │                              Degraded
///                      Failed / BackingOff       BackingOff (every output waits)
/// ```
///
/// What is *wanted* and what the encoder does are told to the machine; where it stands between
/// `Connecting` and `Streaming` is derived from the outputs and the source at each look, so that no
/// event can be missed.
#[derive(Clone, Debug)]
pub struct Life {
    wanted: bool,
    /// Why it is not wanted.
    unwanted: String,
    encoder: Encoder,
    backoff: Backoff,
    state: State,
    since: Instant,
    reason: Option<String>,
}

/// The state of a stream, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Stopped,
    /// The encoder is being started.
    Starting,
    /// It encodes; no output is connected yet.
    Connecting,
    /// Every output's receiver acknowledges more and more, nothing is left out, and the source is live.
    Streaming,
    /// On air, but not as it should be: the reason says how.
    Degraded,
    /// Nothing is on air; another attempt will be made by itself.
    BackingOff,
    /// Nothing is on air and nothing will change that but a change of the configuration.
    Failed,
}

/// What stands behind the state, looked at anew each time.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Why the slate is on air; `None` while the source is live.
    pub slate: Option<&'a str>,
    /// Why another source is on air than the first.
    pub fallback: Option<&'a str>,
    /// Why silence is sent in place of sound; `None` while there is sound, or none is wanted.
    pub silence: Option<&'a str>,
    /// Why another encoder is in use than the best one, or smaller pictures; `None` while all is well.
    pub encoder: Option<&'a str>,
    pub outputs: &'a [OutputView<'a>],
    /// Something that was taken down still delivers what it had.
    pub draining: bool,
}

/// One output, as the stream's state needs it.
#[derive(Clone, Copy, Debug)]
pub struct OutputView<'a> {
    pub name: &'a str,
    pub state: OutputState,
    pub reason: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Encoder {
    Down,
    /// What is still to be found out first, where something is.
    Starting {
        reason: Option<String>,
    },
    Running {
        since: Instant,
    },
    /// There is none to be built yet; what would be one is looked at again by and by.
    Awaited {
        reason: String,
    },
    /// `retry_at` is `None` where trying again cannot help.
    Failed {
        reason: String,
        retry_at: Option<Instant>,
    },
}

impl State {
    /// Every word of [`State::as_str`].
    pub const WORDS: [&str; 7] =
        ["stopped", "starting", "connecting", "streaming", "degraded", "backing_off", "failed"];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Connecting => "connecting",
            State::Streaming => "streaming",
            State::Degraded => "degraded",
            State::BackingOff => "backing_off",
            State::Failed => "failed",
        }
    }
}

impl Life {
    pub fn new(now: Instant, wanted: bool) -> Self {
        let reason = (!wanted).then(|| NOT_ENABLED.to_string());
        Life {
            wanted,
            unwanted: NOT_ENABLED.to_string(),
            encoder: Encoder::Down,
            backoff: Backoff::new(REBUILDS),
            state: if wanted { State::Starting } else { State::Stopped },
            since: now,
            reason,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// When the state was entered.
    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether the encoder should be built now.
    pub fn wants_encoder(&self, now: Instant) -> bool {
        self.wanted
            && match &self.encoder {
                Encoder::Down => true,
                Encoder::Failed { retry_at, .. } => retry_at.is_some_and(|at| now >= at),
                Encoder::Starting { .. } | Encoder::Running { .. } | Encoder::Awaited { .. } => false,
            }
    }

    /// Whether the stream is meant to be on air.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Somebody wants it on air. A failure is forgotten: they may have mended it.
    pub fn start(&mut self, now: Instant) {
        self.wanted = true;
        if matches!(self.encoder, Encoder::Failed { .. } | Encoder::Awaited { .. }) {
            self.encoder = Encoder::Down;
            self.backoff.reset();
        }
        if self.encoder == Encoder::Down {
            self.enter(now, State::Starting, None);
        }
    }

    /// Somebody wants it off air. It counts as stopped once it has delivered what it had.
    pub fn stop(&mut self, reason: &str) {
        self.wanted = false;
        self.unwanted = reason.to_string();
    }

    /// The driver has begun to build the encoder's pipeline.
    pub fn encoder_starting(&mut self, now: Instant) {
        self.encoder = Encoder::Starting { reason: None };
        self.enter(now, State::Starting, None);
    }

    /// Which encoder is to be built is still to be found out; `reason` says how. Then
    /// [`Life::encoder_starting`] comes.
    pub fn encoder_sought(&mut self, now: Instant, reason: String) {
        self.encoder = Encoder::Starting { reason: Some(reason.clone()) };
        self.enter(now, State::Starting, Some(reason));
    }

    /// There is none that could be built; somebody goes on looking, and says so by [`Life::encoder_down`].
    pub fn encoder_awaited(&mut self, reason: String) {
        self.encoder = Encoder::Awaited { reason };
    }

    /// It gives units.
    pub fn encoder_running(&mut self, now: Instant) {
        match self.encoder {
            Encoder::Running { since } if now.saturating_duration_since(since) >= PROVEN => {
                self.backoff.reset()
            }
            Encoder::Running { .. } => {}
            Encoder::Down | Encoder::Starting { .. } | Encoder::Awaited { .. } | Encoder::Failed { .. } => {
                self.encoder = Encoder::Running { since: now };
            }
        }
    }

    /// It was taken down as asked.
    pub fn encoder_down(&mut self) {
        self.encoder = Encoder::Down;
    }

    /// It could not be built, or broke. `hopeless`: the same would happen again. `jitter` is uniform in 0..1.
    pub fn encoder_failed(&mut self, now: Instant, reason: String, hopeless: bool, jitter: f64) {
        let retry_at = (!hopeless).then(|| now + self.backoff.next(jitter));
        self.encoder = Encoder::Failed { reason, retry_at };
    }

    /// Derives the state from what is the case now. Tells whether it changed.
    pub fn observe(&mut self, now: Instant, parts: &Parts<'_>) -> bool {
        let before = self.state;
        let (state, reason) = if self.wanted { self.wanted_state(parts) } else { self.unwanted_state(parts) };
        self.enter(now, state, reason);
        self.state != before
    }

    fn wanted_state(&self, parts: &Parts<'_>) -> (State, Option<String>) {
        match &self.encoder {
            Encoder::Down => (State::Starting, None),
            Encoder::Starting { reason } => (State::Starting, reason.clone()),
            Encoder::Awaited { reason } | Encoder::Failed { reason, retry_at: Some(_) } => {
                (State::BackingOff, Some(reason.clone()))
            }
            Encoder::Failed { reason, retry_at: None } => (State::Failed, Some(reason.clone())),
            Encoder::Running { .. } => on_air(parts),
        }
    }

    fn unwanted_state(&self, parts: &Parts<'_>) -> (State, Option<String>) {
        if parts.draining {
            (self.state, Some(format!("{}: delivering what was captured", self.unwanted)))
        } else {
            (State::Stopped, Some(self.unwanted.clone()))
        }
    }

    fn enter(&mut self, now: Instant, state: State, reason: Option<String>) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason;
    }
}

/// The state of a stream whose encoder runs.
fn on_air(parts: &Parts<'_>) -> (State, Option<String>) {
    let is = |state: OutputState| parts.outputs.iter().filter(|output| output.state == state).count();
    let streaming = is(OutputState::Streaming);
    // A listener that nobody calls is as it should be, as long as the stream has another receiver.
    let expected = parts.outputs.len() - is(OutputState::Waiting);
    let is_whole = parts.slate.is_none()
        && parts.fallback.is_none()
        && parts.silence.is_none()
        && parts.encoder.is_none()
        && parts.outputs.iter().all(|output| output.reason.is_none() || output.state == OutputState::Waiting);
    let state = if streaming == expected && streaming > 0 && is_whole {
        State::Streaming
    } else if streaming > 0 || is(OutputState::Stalled) > 0 {
        State::Degraded
    } else if is(OutputState::BackingOff) > 0 && is(OutputState::BackingOff) == parts.outputs.len() {
        State::BackingOff
    } else {
        State::Connecting
    };
    (state, reasons(parts))
}

/// All that is not as it should be, in one line.
fn reasons(parts: &Parts<'_>) -> Option<String> {
    let is_received = parts.outputs.iter().any(|output| output.state == OutputState::Streaming);
    let named = |name: &str, reason: Option<&str>| reason.map(|reason| format!("{name}: {reason}"));
    let outputs = parts.outputs.iter().filter_map(|output| {
        let reason = match (output.reason, output.state) {
            (_, OutputState::Waiting) if is_received => return None,
            (Some(reason), _) => reason,
            (None, OutputState::Streaming) => return None,
            (None, OutputState::Idle) => "not started yet",
            (None, OutputState::Connecting) => "connecting",
            (None, OutputState::Stalled) => "nothing acknowledged",
            (None, OutputState::BackingOff) => "waiting to try again",
            (None, OutputState::Waiting) => "waiting for a caller",
        };
        Some(format!("output {}: {reason}", output.name))
    });
    let inputs = [
        named("slate", parts.slate),
        named("fallback", parts.fallback),
        named("sound", parts.silence),
        named("encoder", parts.encoder),
    ];
    let inputs = inputs.into_iter().flatten();
    let reasons: Vec<_> = inputs.chain(outputs).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Why a stream that nobody has started is stopped.
const NOT_ENABLED: &str = "not enabled";

/// An encoder that has worked for so long is forgiven what was before.
const PROVEN: Duration = Duration::from_secs(10);

/// A pipeline that broke is rebuilt at once; one that breaks each time, every half minute.
const REBUILDS: Policy = Policy { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(state: OutputState) -> OutputView<'static> {
        OutputView { name: "studio", state, reason: None }
    }

    fn parts<'a>(slate: Option<&'a str>, outputs: &'a [OutputView<'a>]) -> Parts<'a> {
        Parts { slate, fallback: None, silence: None, encoder: None, outputs, draining: false }
    }

    fn running(now: Instant) -> Life {
        let mut life = Life::new(now, true);
        life.encoder_starting(now);
        life.encoder_running(now);
        life
    }

    #[test]
    fn state_of_a_running_encoder_comes_from_outputs_and_source() {
        use OutputState as O;
        let table: &[(Option<&str>, &[OutputState], State)] = &[
            (None, &[O::Idle], State::Connecting),
            (None, &[O::Connecting], State::Connecting),
            (None, &[O::Streaming], State::Streaming),
            (Some("no signal"), &[O::Streaming], State::Degraded),
            (Some("no signal"), &[O::Connecting], State::Connecting),
            (None, &[O::Stalled], State::Degraded),
            (None, &[O::BackingOff], State::BackingOff),
            (None, &[O::BackingOff, O::Connecting], State::Connecting),
            (None, &[O::BackingOff, O::Streaming], State::Degraded),
            (None, &[O::Streaming, O::Streaming], State::Streaming),
            (None, &[O::Waiting], State::Connecting),
            (None, &[O::Streaming, O::Waiting], State::Streaming),
            (None, &[O::Connecting, O::Waiting], State::Connecting),
            (None, &[O::BackingOff, O::Waiting], State::Connecting),
            (Some("no signal"), &[O::Streaming, O::Waiting], State::Degraded),
            (None, &[], State::Connecting),
        ];
        for (slate, outputs, expected) in table {
            let now = Instant::now();
            let mut life = running(now);
            let outputs: Vec<_> = outputs.iter().map(|&state| output(state)).collect();
            life.observe(now, &parts(*slate, &outputs));
            assert_eq!(life.state(), *expected, "{slate:?} {outputs:?}");
            assert_eq!(life.reason().is_none(), *expected == State::Streaming || outputs.is_empty());
        }
    }

    #[test]
    fn an_output_that_streams_with_gaps_degrades_the_stream() {
        let now = Instant::now();
        let mut life = running(now);
        let reason = Some("groups of pictures are left out");
        life.observe(now, &parts(None, &[OutputView { reason, ..output(OutputState::Streaming) }]));
        assert_eq!(life.state(), State::Degraded);
        assert_eq!(life.reason(), Some("output studio: groups of pictures are left out"));
    }

    #[test]
    fn silence_in_place_of_sound_degrades_the_stream() {
        let now = Instant::now();
        let mut life = running(now);
        let silence = Some("no such device");
        life.observe(now, &Parts { silence, ..parts(None, &[output(OutputState::Streaming)]) });
        assert_eq!((life.state(), life.reason()), (State::Degraded, Some("sound: no such device")));
    }

    #[test]
    fn another_encoder_than_the_best_degrades_the_stream() {
        let now = Instant::now();
        let mut life = running(now);
        let encoder = Some("vah264enc gave nothing for 1 s");
        life.observe(now, &Parts { encoder, ..parts(None, &[output(OutputState::Streaming)]) });
        let reason = Some("encoder: vah264enc gave nothing for 1 s");
        assert_eq!((life.state(), life.reason()), (State::Degraded, reason));
    }

    #[test]
    fn an_encoder_that_is_sought_is_starting_with_a_reason_and_not_sought_twice() {
        let now = Instant::now();
        let mut life = Life::new(now, true);
        life.encoder_sought(now, "trying x264enc".into());
        life.observe(now, &parts(None, &[]));
        assert_eq!((life.state(), life.reason()), (State::Starting, Some("trying x264enc")));
        assert!(!life.wants_encoder(now));
        life.encoder_starting(now);
        life.observe(now, &parts(None, &[]));
        assert_eq!((life.state(), life.reason()), (State::Starting, None));
    }

    #[test]
    fn an_encoder_that_is_awaited_is_no_dead_end() {
        let now = Instant::now();
        let mut life = Life::new(now, true);
        life.encoder_awaited("vah265enc: it crashed".into());
        life.observe(now, &parts(None, &[]));
        assert_eq!((life.state(), life.reason()), (State::BackingOff, Some("vah265enc: it crashed")));
        assert!(!life.wants_encoder(now + Duration::from_secs(3600)), "before there is one");
        life.encoder_down();
        assert!(life.wants_encoder(now));
    }

    #[test]
    fn every_reason_is_told() {
        let now = Instant::now();
        let mut life = running(now);
        let outputs = [
            OutputView { name: "studio", state: OutputState::Streaming, reason: None },
            OutputView { name: "backup", state: OutputState::BackingOff, reason: Some("wrong passphrase") },
        ];
        life.observe(now, &parts(Some("no signal"), &outputs));
        assert_eq!(life.reason(), Some("slate: no signal; output backup: wrong passphrase"));
    }

    #[test]
    fn a_broken_encoder_is_rebuilt_with_growing_waits_and_a_hopeless_one_is_not() {
        let now = Instant::now();
        let parts = parts(None, &[]);
        let mut life = Life::new(now, true);
        assert!(life.wants_encoder(now));
        life.encoder_starting(now);
        assert!(!life.wants_encoder(now));
        life.encoder_failed(now, "x264enc: out of memory".into(), false, 0.5);
        life.observe(now, &parts);
        assert_eq!(life.state(), State::BackingOff);
        let retry = now + REBUILDS.first;
        assert!(!life.wants_encoder(now) && life.wants_encoder(retry));

        life.encoder_failed(retry, "no element vah264enc".into(), true, 0.5);
        life.observe(retry, &parts);
        assert_eq!(life.state(), State::Failed);
        assert!(!life.wants_encoder(retry + Duration::from_secs(3600)));
        life.start(retry);
        assert!(life.wants_encoder(retry), "starting it by hand tries again");
    }

    #[test]
    fn an_encoder_that_breaks_soon_after_each_start_is_rebuilt_ever_more_rarely() {
        let mut now = Instant::now();
        let mut life = Life::new(now, true);
        let mut break_after = |life: &mut Life, seconds: u64| {
            life.encoder_starting(now);
            life.encoder_running(now);
            now += Duration::from_secs(seconds);
            life.encoder_running(now);
            life.encoder_failed(now, "broke".into(), false, 0.5);
            let waits = [500u64, 1000, 2000, 4000].map(Duration::from_millis);
            waits.into_iter().find(|&wait| life.wants_encoder(now + wait)).expect("a retry")
        };
        let waits: Vec<_> = (0..3).map(|_| break_after(&mut life, 1).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000]);
        assert_eq!(break_after(&mut life, 11).as_millis(), 500, "it had proven itself");
    }

    #[test]
    fn a_stop_wins_over_everything() {
        let now = Instant::now();
        let mut life = running(now);
        life.observe(now, &parts(None, &[output(OutputState::Streaming)]));
        life.stop("stopped by request");
        life.observe(now, &Parts { draining: true, ..parts(None, &[]) });
        assert_eq!(life.state(), State::Streaming, "it still delivers");
        assert!(life.reason().is_some_and(|reason| reason.contains("delivering")));
        life.observe(now, &parts(None, &[output(OutputState::Streaming)]));
        assert_eq!(life.state(), State::Stopped);
        assert!(!life.wants_encoder(now));
    }

    proptest! {
        /// Whatever happens: stopped exactly when not wanted, and `since` moves exactly when the state does.
        #[test]
        fn any_history(steps in prop::collection::vec((0usize..8, any::<bool>()), 0..80)) {
            let start = Instant::now();
            let mut life = Life::new(start, true);
            for (count, (step, draining)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(count as u64 + 1);
                let (state, since) = (life.state(), life.since());
                match step {
                    0 => life.start(now),
                    1 => life.stop("asked"),
                    2 if life.wants_encoder(now) => life.encoder_starting(now),
                    2 | 3 => life.encoder_running(now),
                    4 => life.encoder_failed(now, "broke".into(), false, 0.5),
                    5 => life.encoder_failed(now, "broke".into(), true, 0.5),
                    6 => life.encoder_down(),
                    _ => {}
                }
                life.observe(now, &Parts { draining, ..parts(None, &[output(OutputState::Streaming)]) });
                if life.is_wanted() || !draining {
                    prop_assert_eq!(life.state() == State::Stopped, !life.is_wanted());
                }
                prop_assert_eq!(life.since() == now, life.state() != state);
                prop_assert!(life.since() == now || life.since() == since);
            }
        }
    }
}
