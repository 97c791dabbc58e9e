//! Whether the picture on air is the camera's or the slate, and when capture is tried again.

use std::time::{Duration, Instant};

use super::backoff::{Backoff, Policy};

/// The machine of one source.
///
/// ```text
///        opened             a fresh frame              no frame for `quiet`, or capture failed
///   Off ───────▶ Waiting ───────────────────────▶ Live ──────────────────────────────────▶ Lost
///    ▲             │ ▲                              ▲                                        │
///    │ closed      └─┘ capture failed               └──────────── a fresh frame ─────────────┘
///    └── (from anywhere)
/// ```
///
/// In `Waiting` and `Lost` the slate is on air. Capture is started anew at [`SourceMachine::next_deadline`]:
/// soon after it failed, at once when what it lacked may be there ([`SourceMachine::hurry`]), and when a running
/// capture has been quiet for long (some USB losses are silent).
#[derive(Clone, Debug)]
pub struct SourceMachine {
    state: SourceState,
    since: Instant,
    reason: Option<String>,
    /// The picture freezes for this long before the slate takes over.
    quiet: Duration,
    restart_at: Option<Instant>,
    backoff: Backoff,
    losses: Losses,
}

/// Where the source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Not wanted: nothing is captured.
    Off,
    /// No frame yet since capture began.
    Waiting,
    /// Frames come.
    Live,
    /// They came, and do no longer.
    Lost,
}

impl SourceState {
    /// Every word of [`SourceState::as_str`].
    pub const WORDS: [&str; 4] = ["off", "waiting", "live", "lost"];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceState::Off => "off",
            SourceState::Waiting => "waiting",
            SourceState::Live => "live",
            SourceState::Lost => "lost",
        }
    }
}

/// How often a live source was lost, by how that was found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// It gave no frames any more.
    pub quiet: u64,
    /// Its capture failed or ended.
    pub failed: u64,
    /// Its input had no signal any more.
    pub no_signal: u64,
}

impl Losses {
    pub fn total(&self) -> u64 {
        self.quiet + self.failed + self.no_signal
    }
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Losses) {
        self.quiet += other.quiet;
        self.failed += other.failed;
        self.no_signal += other.no_signal;
    }
}

/// What is to go on air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    Live,
    /// The slate, with the reason to be shown on it.
    Slate(String),
}

impl SourceMachine {
    /// A source that is not open yet.
    pub fn new(now: Instant) -> Self {
        SourceMachine {
            state: SourceState::Off,
            since: now,
            reason: None,
            quiet: QUIET,
            restart_at: None,
            backoff: Backoff::new(RESTARTS),
            losses: Losses::default(),
        }
    }

    /// Capture was started; the slate is on air. `frame` is the time between two frames.
    pub fn opened(&mut self, now: Instant, frame: Duration) {
        self.quiet = QUIET.max(frame.mul_f64(2.5));
        self.restart_at = Some(now + SILENT_RESTART);
        self.since = now; // a frame from before proves nothing, even where the state is the same
        self.enter(now, SourceState::Waiting, Some(WAITING.into()));
    }

    /// Capture was ended on purpose.
    pub fn closed(&mut self, now: Instant) {
        self.restart_at = None;
        self.backoff.reset();
        self.enter(now, SourceState::Off, None);
    }

    pub fn state(&self) -> SourceState {
        self.state
    }

    /// Why the slate is on air; `None` while the source is live, or off.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Times that a live source was lost.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// When capture is to be torn down and started anew.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.restart_at
    }

    /// Looks at when the newest frame came. To be called at least every 50 ms.
    pub fn observe(&mut self, now: Instant, newest_frame: Option<Instant>) -> Option<Show> {
        let age = newest_frame.map(|at| now.saturating_duration_since(at));
        let fresh = age.is_some_and(|age| age <= self.quiet);
        match self.state {
            // A frame from before the loss proves nothing about the source of now.
            SourceState::Waiting | SourceState::Lost
                if fresh && newest_frame.is_some_and(|at| at > self.since) =>
            {
                self.backoff.reset();
                self.restart_at = None;
                self.enter(now, SourceState::Live, None);
                Some(Show::Live)
            }
            SourceState::Live if !fresh => {
                self.restart_at = Some(now + SILENT_RESTART);
                self.losses.quiet += 1;
                Some(self.lose(now, "the source gives no frames".into()))
            }
            SourceState::Off | SourceState::Waiting | SourceState::Live | SourceState::Lost => None,
        }
    }

    /// Capture reported an error or its end. `jitter` is uniform in 0..1.
    pub fn failed(&mut self, now: Instant, reason: String, jitter: f64) -> Show {
        self.restart_at = Some(now + self.backoff.next(jitter));
        self.losses.failed += u64::from(self.state == SourceState::Live);
        self.lose(now, reason)
    }

    /// Capture is open, and its source gives no picture yet: not before it says so is it worth another attempt.
    pub fn waits(&mut self, now: Instant, reason: String) -> Show {
        self.backoff.reset();
        self.restart_at = Some(now + SILENT_RESTART);
        self.losses.no_signal += u64::from(self.state == SourceState::Live);
        self.lose(now, reason)
    }

    /// What was missing may be there: the next attempt is due, where one is wanted at all.
    pub fn hurry(&mut self, now: Instant) {
        match self.state {
            SourceState::Waiting | SourceState::Lost => {
                self.backoff.reset(); // it may come in steps, or an attempt be under way that is too early
                self.restart_at = Some(now);
            }
            SourceState::Off | SourceState::Live => {}
        }
    }

    /// Capture was started anew.
    pub fn restarted(&mut self, now: Instant) {
        self.restart_at = Some(now + SILENT_RESTART);
    }

    fn lose(&mut self, now: Instant, reason: String) -> Show {
        let state = match self.state {
            SourceState::Off | SourceState::Waiting => SourceState::Waiting,
            SourceState::Live | SourceState::Lost => SourceState::Lost,
        };
        self.enter(now, state, Some(reason.clone()));
        Show::Slate(reason)
    }

    fn enter(&mut self, now: Instant, state: SourceState, reason: Option<String>) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason;
    }
}

const WAITING: &str = "waiting for the first frame";

/// The slate must be on air within 500 ms of the last frame: 350 ms of patience, 50 ms between two
/// looks, and 100 ms for the switch.
const QUIET: Duration = Duration::from_millis(350);

/// A capture that gives nothing for so long is started anew: some devices need it after a change of mode.
const SILENT_RESTART: Duration = Duration::from_secs(4);

/// A camera that was plugged in again is on air within a second; one that is away for the night
/// costs an attempt every few seconds.
const RESTARTS: Policy = Policy { first: Duration::from_millis(400), longest: Duration::from_secs(4) };

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn opened(now: Instant, frame: Duration) -> SourceMachine {
        let mut source = SourceMachine::new(now);
        source.opened(now, frame);
        source
    }

    #[test]
    fn live_with_the_first_frame_and_slate_soon_after_the_last() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        assert_eq!(source.observe(start + ms(50), None), None);
        assert_eq!(source.state(), SourceState::Waiting);
        assert_eq!(source.observe(start + ms(200), Some(start + ms(190))), Some(Show::Live));
        assert_eq!(source.observe(start + ms(500), Some(start + ms(190))), None);
        let shown = source.observe(start + ms(541), Some(start + ms(190)));
        assert!(matches!(shown, Some(Show::Slate(_))));
        assert_eq!(source.state(), SourceState::Lost);
        assert_eq!(source.losses(), Losses { quiet: 1, ..Losses::default() });
    }

    #[test]
    fn only_a_frame_newer_than_the_loss_brings_it_back() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        source.observe(start + ms(20), Some(start + ms(10)));
        source.failed(start + ms(30), "device is gone".into(), 0.5);
        assert_eq!(source.reason(), Some("device is gone"));
        source.failed(start + ms(35), "device is gone".into(), 0.5);
        assert_eq!(
            source.losses(),
            Losses { failed: 1, ..Losses::default() },
            "what is lost is not lost again"
        );
        assert_eq!(source.observe(start + ms(40), Some(start + ms(10))), None);
        assert_eq!(source.state(), SourceState::Lost);
        assert_eq!(source.observe(start + ms(900), Some(start + ms(890))), Some(Show::Live));
        assert_eq!(source.reason(), None);
    }

    #[test]
    fn capture_is_tried_again_soon_after_a_failure_and_late_after_silence() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        source.observe(start + ms(20), Some(start + ms(10)));
        assert_eq!(source.next_deadline(), None);
        source.observe(start + ms(500), Some(start + ms(10)));
        assert_eq!(source.next_deadline(), Some(start + ms(500) + SILENT_RESTART));
        source.failed(start + ms(600), "no such device".into(), 0.5);
        assert_eq!(source.next_deadline(), Some(start + ms(1000)));
        source.failed(start + ms(1000), "no such device".into(), 0.5);
        assert_eq!(source.next_deadline(), Some(start + ms(1800)));
    }

    #[test]
    fn a_camera_that_is_plugged_in_is_tried_at_once() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        for attempt in 0..6 {
            source.failed(start + ms(100 * attempt), "no such device".into(), 0.5);
        }
        assert!(source.next_deadline().unwrap() > start + ms(3000));
        source.hurry(start + ms(700));
        assert_eq!(source.next_deadline(), Some(start + ms(700)));
        source.failed(start + ms(705), "not yet".into(), 0.5);
        assert_eq!(source.next_deadline(), Some(start + ms(1105)), "and soon again");
        source.restarted(start + ms(710));
        source.observe(start + ms(900), Some(start + ms(890)));
        source.hurry(start + ms(1000));
        assert_eq!(source.next_deadline(), None, "one that is live is left alone");
        source.closed(start + ms(1100));
        source.hurry(start + ms(1200));
        assert_eq!(source.next_deadline(), None);
    }

    #[test]
    fn an_input_without_a_signal_says_so_and_is_waited_for() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        source.observe(start + ms(20), Some(start + ms(10)));
        let shown = source.waits(start + ms(30), "no signal".into());
        assert_eq!(shown, Show::Slate("no signal".into()));
        assert_eq!(source.state(), SourceState::Lost);
        assert_eq!(source.losses(), Losses { no_signal: 1, ..Losses::default() });
        assert_eq!(source.next_deadline(), Some(start + ms(30) + SILENT_RESTART));
        source.hurry(start + ms(500));
        assert_eq!(source.next_deadline(), Some(start + ms(500)));
    }

    #[test]
    fn a_source_that_is_off_is_neither_live_nor_tried_again() {
        let start = Instant::now();
        let mut source = opened(start, FRAME);
        source.observe(start + ms(20), Some(start + ms(10)));
        source.closed(start + ms(30));
        assert_eq!(source.observe(start + ms(40), Some(start + ms(35))), None);
        assert_eq!((source.state(), source.reason(), source.next_deadline()), (SourceState::Off, None, None));
        source.opened(start + ms(50), FRAME);
        assert_eq!(source.observe(start + ms(60), Some(start + ms(45))), None, "a frame from before");
        assert_eq!(source.observe(start + ms(80), Some(start + ms(70))), Some(Show::Live));
    }

    #[test]
    fn a_slow_source_is_given_two_and_a_half_frames() {
        let start = Instant::now();
        let mut source = opened(start, ms(1000));
        source.observe(start + ms(20), Some(start + ms(10)));
        assert_eq!(source.observe(start + ms(2400), Some(start + ms(10))), None);
        assert!(source.observe(start + ms(2600), Some(start + ms(10))).is_some());
    }
}
