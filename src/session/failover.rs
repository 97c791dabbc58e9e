//! Which of a stream's sources is on air: the best that works, without going to and fro.

use std::time::{Duration, Instant};

use super::source::{Losses, SourceMachine, SourceState};

/// The sources of one stream in the order of preference, each with its own [`SourceMachine`].
///
/// ```text
///               the first gives frames                    it is lost
///   Slate ───────────────────────────────▶ On air: first ────────────▶ Slate
///     ▲  another gives frames, and none before it does                   │
///     ├──────────────────▶ On air: another ◀─────────────────────────────┘
///     │ it is lost, and no other gives frames │ ▲
///     └───────────────────────────────────────┤ └── it is lost, and another gives frames
///                                             ▼
///                      a better one has given frames for its dwell: that is on air
/// ```
///
/// The first source is always captured from. Another is opened only when all before it have failed, and closed
/// once a better one is on air: a spare camera does not wear, and costs nothing. Until it gives frames, the
/// slate is on air.
///
/// A source that comes back has to give frames without a break for a *dwell* while a worse one is on air. One that
/// is lost again soon after it took over has to for twice as long the next time.
#[derive(Clone, Debug)]
pub struct Failover {
    sources: Vec<Source>,
    /// Whether anything is captured at all.
    is_running: bool,
    frame: Duration,
    on_air: Option<usize>,
    shown: Option<OnAir>,
}

/// What is on air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnAir {
    /// The source of this number; 0 is the first.
    Source(usize),
    /// The slate, with the reason to be shown on it.
    Slate(String),
}

/// What is to be done about captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin to capture from this source; anew, where one is open.
    Open(usize),
    Close(usize),
}

#[derive(Clone, Debug)]
struct Source {
    machine: SourceMachine,
    is_open: bool,
    /// Since when it waits without a frame or a failure.
    opened: Instant,
    has_failed: bool,
    live_since: Option<Instant>,
    /// When it was put on air last, in the place of a worse one.
    returned: Option<Instant>,
    dwell: Duration,
}

impl Failover {
    /// Of so many sources, at least one; none is captured from yet.
    pub fn new(now: Instant, sources: usize) -> Failover {
        let source = Source {
            machine: SourceMachine::new(now),
            is_open: false,
            opened: now,
            has_failed: false,
            live_since: None,
            returned: None,
            dwell: DWELL,
        };
        Failover {
            sources: vec![source; sources.max(1)],
            is_running: false,
            frame: Duration::ZERO,
            on_air: None,
            shown: None,
        }
    }

    /// Captures from now on, with the slate on air. `frame` is the time between two frames. What to open,
    /// [`Failover::next_order`] says.
    pub fn start(&mut self, now: Instant, frame: Duration) {
        self.frame = frame;
        self.is_running = true;
        self.on_air = None;
        self.sources[0].open(now, frame);
        self.sources[0].is_open = false; // it is still to be ordered
        self.shown = Some(OnAir::Slate(self.slate_reason()));
    }

    /// Ends it all; the captures have been closed.
    pub fn stop(&mut self, now: Instant) {
        self.is_running = false;
        self.on_air = None;
        self.shown = None;
        for source in &mut self.sources {
            source.close(now);
        }
    }

    /// Looks at when the newest frame of each came; to be called at least every 50 ms. Tells what is on air
    /// where that has changed, or its reason has.
    pub fn observe(&mut self, now: Instant, newest: impl Fn(usize) -> Option<Instant>) -> Option<OnAir> {
        for (number, source) in self.sources.iter_mut().enumerate().filter(|(_, source)| source.is_open) {
            source.machine.observe(now, newest(number));
            source.live_since = match source.machine.state() {
                SourceState::Live => source.live_since.or(Some(now)),
                SourceState::Off | SourceState::Waiting | SourceState::Lost => None,
            };
        }
        self.choose(now);
        let shown = self.is_running.then(|| match self.on_air {
            Some(source) => OnAir::Source(source),
            None => OnAir::Slate(self.slate_reason()),
        });
        if shown == self.shown {
            return None;
        }
        self.shown = shown.clone();
        shown
    }

    /// What is to be done next about captures; to be asked until there is nothing.
    pub fn next_order(&mut self, now: Instant) -> Option<Order> {
        for number in 0..self.sources.len() {
            let is_wanted = self.is_running && self.is_wanted(now, number);
            let source = &mut self.sources[number];
            if is_wanted && !source.is_open {
                source.open(now, self.frame);
                return Some(Order::Open(number));
            }
            if !is_wanted && source.is_open {
                source.close(now);
                return Some(Order::Close(number));
            }
            if source.is_open && source.machine.next_deadline().is_some_and(|at| now >= at) {
                source.machine.restarted(now);
                return Some(Order::Open(number));
            }
        }
        None
    }

    /// A capture reported an error or its end, and is closed. `jitter` is uniform in 0..1.
    pub fn failed(&mut self, now: Instant, source: usize, reason: String, jitter: f64) {
        if let Some(source) = self.sources.get_mut(source).filter(|source| source.is_open) {
            source.machine.failed(now, reason, jitter);
            source.has_failed = true;
            source.live_since = None;
        }
    }

    /// A capture is open, and its source gives no picture yet: not before it says so is it worth another attempt.
    pub fn waits(&mut self, now: Instant, source: usize, reason: String) {
        if let Some(source) = self.sources.get_mut(source).filter(|source| source.is_open) {
            source.machine.waits(now, reason);
            source.has_failed = true;
            source.live_since = None;
        }
    }

    /// What this source lacked may be there: its next attempt is due, where one is wanted at all.
    pub fn hurry(&mut self, now: Instant, source: usize) {
        if let Some(source) = self.sources.get_mut(source).filter(|source| source.is_open) {
            source.machine.hurry(now);
        }
    }

    /// As [`Failover::hurry`], of all.
    pub fn hurry_all(&mut self, now: Instant) {
        (0..self.sources.len()).for_each(|source| self.hurry(now, source));
    }

    /// The number of the source on air; `None` while the slate is.
    pub fn on_air(&self) -> Option<usize> {
        self.on_air
    }

    /// Of the one on air, or of the first while none is.
    pub fn state(&self) -> SourceState {
        self.sources[self.on_air.unwrap_or(0)].machine.state()
    }

    /// Of each, in their order, with its reason where it has one.
    pub fn states(&self) -> impl Iterator<Item = (SourceState, Option<&str>)> {
        self.sources.iter().map(|source| (source.machine.state(), source.machine.reason()))
    }

    /// Why the slate is on air; `None` while a source is, or nothing is captured.
    pub fn slate(&self) -> Option<String> {
        (self.is_running && self.on_air.is_none()).then(|| self.slate_reason())
    }

    /// Why another source than the first is on air.
    pub fn fallback(&self) -> Option<String> {
        let first = &self.sources[0].machine;
        match (self.on_air, first.reason()) {
            (None | Some(0), _) => None,
            (Some(_), Some(reason)) => Some(reason.to_owned()),
            (Some(_), None) => Some("the first source is back, and has to prove itself".to_owned()),
        }
    }

    /// Times that a live source was lost, whether it was on air or not.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        self.sources.iter().for_each(|source| losses += source.machine.losses());
        losses
    }

    fn choose(&mut self, now: Instant) {
        let is_live = |source: &Source| source.live_since.is_some();
        if let Some(lost) = self.on_air.filter(|&current| !is_live(&self.sources[current])) {
            self.sources[lost].leave_air(now);
            self.on_air = None;
        }
        let next = match self.on_air {
            None => self.sources.iter().position(is_live),
            Some(current) => self.sources[..current].iter().position(|source| source.is_proven(now)),
        };
        if let Some(next) = next {
            self.sources[next].returned = self.on_air.map(|_| now);
            self.on_air = Some(next);
        }
    }

    /// Whether a source is to be captured from.
    fn is_wanted(&self, now: Instant, number: usize) -> bool {
        match self.on_air {
            Some(on_air) if number <= on_air => {
                number == on_air || number == 0 || self.have_failed(now, number)
            }
            Some(_) => false,
            None => self.have_failed(now, number),
        }
    }

    /// Whether all before this one give nothing.
    fn have_failed(&self, now: Instant, number: usize) -> bool {
        self.sources[..number].iter().all(|source| source.gives_nothing(now))
    }

    fn slate_reason(&self) -> String {
        self.sources[0].machine.reason().unwrap_or_default().to_owned()
    }
}

impl Source {
    fn open(&mut self, now: Instant, frame: Duration) {
        self.machine.opened(now, frame);
        self.is_open = true;
        self.opened = now;
        self.has_failed = false;
        self.live_since = None;
    }

    fn close(&mut self, now: Instant) {
        self.machine.closed(now);
        self.is_open = false;
        self.live_since = None;
        self.returned = None;
    }

    /// It was on air, and is lost.
    fn leave_air(&mut self, now: Instant) {
        let is_soon = |since: Instant| now.saturating_duration_since(since) < PROBATION;
        self.dwell = match self.returned.take() {
            Some(since) if is_soon(since) => (self.dwell * 2).min(LONGEST_DWELL),
            Some(_) | None => DWELL,
        };
    }

    /// Whether it may take a worse one's place.
    fn is_proven(&self, now: Instant) -> bool {
        self.live_since.is_some_and(|since| now.saturating_duration_since(since) >= self.dwell)
    }

    /// Whether others are to be tried in its place.
    fn gives_nothing(&self, now: Instant) -> bool {
        match self.machine.state() {
            SourceState::Live => false,
            SourceState::Lost => true,
            SourceState::Off | SourceState::Waiting => {
                self.has_failed || now.saturating_duration_since(self.opened) >= PATIENCE
            }
        }
    }
}

/// A camera that has just been opened takes up to 2 s to its first frame; one that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A plug that is pushed in makes contact more than once, and a camera that starts up stutters: 3 s outlast both.
const DWELL: Duration = Duration::from_secs(3);

/// One that is lost so soon after it came back was not really back.
const PROBATION: Duration = Duration::from_secs(60);

/// However bad a source was, after a minute without a fault it is the best again.
const LONGEST_DWELL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Duration = Duration::from_millis(33);
    const TICK: Duration = Duration::from_millis(50);

    /// Sources that work or not, each giving its first frame 100 ms after it was opened.
    struct World {
        now: Instant,
        machine: Failover,
        works: Vec<bool>,
        opened: Vec<Option<Instant>>,
        switches: u32,
    }

    impl World {
        fn new(sources: usize) -> World {
            let now = Instant::now();
            let mut machine = Failover::new(now, sources);
            machine.start(now, FRAME);
            World { now, machine, works: vec![true; sources], opened: vec![None; sources], switches: 0 }
        }

        fn tick(&mut self) {
            self.now += TICK;
            for number in 0..self.works.len() {
                if !self.works[number] && self.opened[number].take().is_some() {
                    self.machine.failed(self.now, number, format!("{number} is gone"), 0.5);
                }
            }
            let (now, opened) = (self.now, self.opened.clone());
            let newest = |number: usize| {
                let first = opened[number]? + Duration::from_millis(100);
                (first <= now).then_some(now)
            };
            if let Some(OnAir::Source(_)) = self.machine.observe(now, newest) {
                self.switches += 1;
            }
            while let Some(order) = self.machine.next_order(now) {
                match order {
                    Order::Open(number) if self.works[number] => self.opened[number] = Some(now),
                    Order::Open(number) => {
                        self.machine.failed(now, number, format!("{number} is not there"), 0.5);
                    }
                    Order::Close(number) => self.opened[number] = None,
                }
            }
        }

        fn run(&mut self, seconds: f64) {
            let end = self.now + Duration::from_secs_f64(seconds);
            while self.now < end {
                self.tick();
            }
        }

        /// How long until this is on air.
        fn time_to(&mut self, wanted: Option<usize>) -> Duration {
            let begun = self.now;
            while self.machine.on_air() != wanted {
                self.tick();
                assert!(self.now - begun < Duration::from_secs(300), "never");
            }
            self.now - begun
        }

        fn open(&self) -> Vec<usize> {
            (0..self.opened.len()).filter(|&number| self.opened[number].is_some()).collect()
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_first_alone_is_captured_from_while_it_works() {
        let mut world = World::new(3);
        assert!(world.time_to(Some(0)) <= seconds(0.3));
        world.run(600.0);
        assert_eq!((world.open(), world.switches), (vec![0], 1));
        assert_eq!((world.machine.slate(), world.machine.fallback()), (None, None));
    }

    #[test]
    fn a_lost_first_gives_way_at_once_and_comes_back_after_its_dwell() {
        let mut world = World::new(2);
        world.run(5.0);
        world.works[0] = false;
        assert!(world.time_to(Some(1)) <= seconds(0.3));
        assert_eq!(world.machine.fallback().as_deref(), Some("0 is gone"));
        assert_eq!(world.machine.state(), SourceState::Live);
        world.run(20.0);
        assert_eq!(world.open(), [1]);
        world.works[0] = true;
        let back = world.time_to(Some(0));
        // An attempt every 4 s at the latest, its first frame, and the dwell.
        assert!(back >= DWELL && back <= seconds(4.8 + 0.1 + 3.2), "{back:?}");
        world.run(1.0);
        assert_eq!(world.open(), [0], "the spare one is closed");
        assert_eq!(world.machine.losses().total(), 1);
    }

    #[test]
    fn a_first_that_is_not_there_from_the_beginning_does_not_hold_up_the_others() {
        let mut world = World::new(2);
        world.works[0] = false;
        assert!(world.time_to(Some(1)) <= seconds(0.3));
        assert_eq!(world.machine.fallback().as_deref(), Some("0 is not there"));
    }

    /// With what the switch needs beyond that, the slate is on air within 500 ms of the last frame, and the source
    /// within 1 s of its return.
    #[test]
    fn a_silent_loss_is_seen_within_400_ms_and_a_return_at_once() {
        let start = Instant::now();
        let mut machine = Failover::new(start, 1);
        machine.start(start, FRAME);
        let (lost, back) = (start + seconds(5.0), start + seconds(7.0));
        let mut shown = Vec::new();
        for tick in 0..200 {
            let now = start + TICK * tick;
            let newest = if now > lost && now < back { lost } else { now };
            shown.extend(machine.observe(now, |_| Some(newest)).map(|on_air| (now, on_air)));
            while machine.next_order(now).is_some() {}
        }
        let [(_, OnAir::Source(0)), (slate, OnAir::Slate(_)), (live, OnAir::Source(0))] = shown[..] else {
            panic!("{shown:?}");
        };
        assert!(slate - lost <= Duration::from_millis(400), "{:?}", slate - lost);
        assert!(live - back <= TICK, "{:?}", live - back);
    }

    #[test]
    fn one_that_is_open_and_silent_is_waited_for_a_while() {
        let now = Instant::now();
        let mut machine = Failover::new(now, 2);
        machine.start(now, FRAME);
        assert_eq!(machine.next_order(now), Some(Order::Open(0)));
        assert_eq!(machine.next_order(now + PATIENCE / 2), None);
        assert_eq!(machine.next_order(now + PATIENCE), Some(Order::Open(1)));
        assert!(machine.slate().is_some());
    }

    #[test]
    fn with_none_left_the_slate_is_on_air_until_any_comes() {
        let mut world = World::new(3);
        world.run(1.0);
        world.works = vec![false; 3];
        world.time_to(None);
        assert_eq!(world.machine.slate().as_deref(), Some("0 is gone"));
        world.run(10.0);
        world.works[2] = true;
        world.time_to(Some(2));
        world.works[1] = true;
        world.time_to(Some(1));
        world.run(1.0);
        assert_eq!(world.open(), [1]);
        assert_eq!(world.machine.fallback().as_deref(), Some("0 is not there"));
    }

    #[test]
    fn one_that_comes_and_goes_stays_off_air_longer_each_time() {
        let mut world = World::new(2);
        world.run(5.0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            world.works[0] = false;
            world.time_to(Some(1));
            world.works[0] = true;
            waits.push(world.time_to(Some(0)));
            world.run(2.0);
        }
        assert!(waits[5] >= LONGEST_DWELL && waits[6] < LONGEST_DWELL + seconds(6.0), "{waits:?}");
        assert!(waits.is_sorted_by_key(|wait| wait.as_secs() / 6), "{waits:?}");
        world.run(PROBATION.as_secs_f64());
        world.works[0] = false;
        world.time_to(Some(1));
        world.works[0] = true;
        assert!(world.time_to(Some(0)) < seconds(9.0), "a minute without a fault: as before");
    }

    #[test]
    fn a_first_that_never_gives_frames_for_long_is_never_on_air() {
        let mut world = World::new(2);
        world.works[0] = false;
        world.time_to(Some(1));
        for _ in 0..100 {
            world.works[0] = true;
            world.run(2.0);
            world.works[0] = false;
            world.run(1.0);
        }
        assert_eq!((world.machine.on_air(), world.switches), (Some(1), 1));
    }

    #[test]
    fn stopped_it_wants_nothing() {
        let mut world = World::new(2);
        world.run(1.0);
        world.machine.stop(world.now);
        assert_eq!(world.machine.next_order(world.now), None);
        assert_eq!(world.machine.state(), SourceState::Off);
        assert_eq!((world.machine.slate(), world.machine.on_air()), (None, None));
        world.machine.start(world.now, FRAME);
        assert_eq!(world.machine.next_order(world.now), Some(Order::Open(0)));
    }

    proptest! {
        #[test]
        fn what_is_on_air_works_or_the_slate_is(changes in proptest::collection::vec((0..3_usize, any::<bool>(), 1..80_u32), 1..60)) {
            let mut world = World::new(3);
            for (source, works, ticks) in changes {
                world.works[source] = works;
                for _ in 0..ticks {
                    world.tick();
                    if let Some(on_air) = world.machine.on_air() {
                        prop_assert!(world.works[on_air], "at most a tick late");
                        prop_assert!(world.machine.slate().is_none());
                    }
                }
            }
            world.works = vec![true; 3];
            world.run(100.0);
            prop_assert_eq!(world.machine.on_air(), Some(0));
            prop_assert_eq!(world.open(), vec![0]);
        }
    }
}
