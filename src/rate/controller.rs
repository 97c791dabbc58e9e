//! From samples to decisions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::competition::{Rivalry, Yielded};
use super::decision::{Decision, Rule};
use super::law::Law;
use super::sample::LinkSample;
use super::settings::Settings;
use super::signals::Signals;
use crate::units::{Bitrate, ByteCount};

/// Follows one output's link.
///
/// ```text
///                       queue above the set point
///            ┌───────────────────────────────────────────┐
///            │                                           ▼
///   ──▶  Open: no queue,                        Drain: follow what gets
///        the rate grows                         through, work the queue off
///            ▲                                           │
///            └───────────────────────────────────────────┘
///                 queue below half the set point: back to what was measured
///
///        Drain ── room was left, and the queue stands all the same ──▶ Compete: more and more,
///                                                                     less when it overflows
///        Open ◀── the queue is gone ─────────────────────────────────────┤
///        Drain ◀── it is too long, or never overflows ───────────────────┘
///
///        each ── nothing arrives any more ───────▶ Stall: halve and halve again
///                                                      │
///               Drain ◀── something gets through ──────┘
/// ```
///
/// A queue is what tells the capacity: while one stands, what arrives *is* what the link carries; with
/// none, what arrives is what was sent. So growth is a search, and what comes after it a measurement.
///
/// Everything is decided in [`observe`](Self::observe), from the sample and those before it. Samples
/// out of order and clocks that jump make it cautious, never wild: the target stays within its bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Controller {
    settings: Settings,
    law: Law,
    signals: Signals,
    state: State,
    /// Of video, bits per second. Below the least target, the pictures are thinned.
    rate: f64,
    /// What the link was last measured to carry.
    capacity: Option<Capacity>,
    /// Of video, bits per second: what was last shown to get through while nothing was in the way.
    shown: f64,
    /// Of video, bits per second: what the link is given at most, but for the pace's share above.
    offered: f64,
    /// The shortest round trip of the connection.
    path: Duration,
    /// Last sample's time.
    last: Option<Duration>,
    was_late: bool,
    /// The first samples may not be those of a settled connection.
    since: Duration,
    growing_since: Duration,
    key_frame_at: Option<Duration>,
    /// Packets that were given up, when last looked at.
    given_up: u64,
    owes_key_frame: bool,
    last_target: Bitrate,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    /// What gets through is measured from `from` on.
    Drain {
        from: Duration,
        yielded: Yielded,
    },
    /// Somebody else fills the queue.
    Compete(Rivalry),
    /// Nothing has arrived since `since`; something was last sent at `tried`.
    Stall {
        since: Duration,
        tried: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Capacity {
    rate: f64,
    at: Duration,
}

/// What a sample comes to.
struct View<'a> {
    sample: &'a LinkSample,
    now: Duration,
    /// Since the sample before, seconds; short even after a pause.
    dt: f64,
    /// The shortest round trip of the path.
    base: Duration,
    /// The same with the queue that others keep full, where they do.
    path: Duration,
    /// The set point.
    aim: Duration,
    /// How long a packet waits in the network, and there and before it together.
    network: Duration,
    queue: Duration,
    is_mending: bool,
}

impl Controller {
    pub fn new(settings: Settings) -> Self {
        Self::tuned(settings, Law::default())
    }

    /// With other constants than those of [`Law`]: for those who look for better ones.
    pub fn tuned(settings: Settings, law: Law) -> Self {
        let start = settings.bounds.start;
        Controller {
            settings,
            law,
            signals: Signals::default(),
            state: State::Open,
            rate: start.as_bps() as f64,
            capacity: None,
            shown: 0.0,
            offered: f64::MAX,
            path: Duration::MAX,
            last: None,
            was_late: false,
            since: Duration::ZERO,
            growing_since: Duration::ZERO,
            key_frame_at: None,
            given_up: 0,
            owes_key_frame: false,
            last_target: start,
        }
    }

    /// Other settings, from the next sample on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes a sample in, and decides. To be called every 20 ms.
    pub fn observe(&mut self, sample: &LinkSample) -> Decision {
        let sample = &sample.rounded();
        let now = self.last.map_or(sample.at, |last| last.max(sample.at));
        let pause = now - self.last.unwrap_or(now);
        self.last.get_or_insert_with(|| {
            self.since = now;
            self.growing_since = now;
            now
        });
        self.last = Some(now);
        self.signals.record(&LinkSample { at: now, ..*sample });
        self.path = self.path.min(sample.base_rtt);
        // Nothing tells while the repetition of what was lost is under way.
        if let State::Compete(rivalry) = &mut self.state
            && let Some(shortest) = self.signals.shortest(STANDING)
        {
            rivalry.path = shortest.max(rivalry.base);
        }
        let longest = self.path.max(sample.latency.mul_f64(LONGEST_BASE));
        let (base, path) = match self.state {
            State::Compete(rivalry) => (rivalry.base, rivalry.path.min(longest.max(rivalry.base))),
            State::Open | State::Drain { .. } | State::Stall { .. } => {
                let base = sample.base_rtt.min(longest);
                (base, base)
            }
        };
        let network = self.signals.queue(base);
        let view = View {
            sample,
            now,
            dt: pause.min(LONGEST_STEP).as_secs_f64(),
            base,
            path,
            aim: self.aim(sample.latency),
            network,
            queue: network + self.held_back(),
            is_mending: self.signals.is_mending(path),
        };
        // Nobody looked for a while: what is overdue is so because of that.
        let is_late = pause > LATE_SAMPLE && !self.was_late;
        self.was_late = is_late;
        let rule = if is_late { self.rule() } else { self.advance(&view) };
        self.decide(&view, rule)
    }

    /// Changes state where that is due, then the rate.
    fn advance(&mut self, view: &View<'_>) -> Rule {
        let stuck = view.sample.heard;
        let is_stalled = stuck > self.law.stall + view.path + self.mending_pause(view);
        match self.state {
            State::Open | State::Drain { .. } | State::Compete(_) if is_stalled => {
                self.state = State::Stall { since: view.now.saturating_sub(stuck), tried: view.now };
            }
            State::Stall { .. } if is_stalled => {}
            State::Stall { .. } => self.state = State::drain(view.now),
            State::Open if view.queue > view.aim => {
                // It has been forming for about as long as it is.
                let from = view.now.saturating_sub(view.queue.min(self.window(view)));
                self.state = State::drain(from);
            }
            State::Drain { from, .. } if view.queue < view.aim / 2 && self.is_measured_since(from) => {
                self.state = State::Open;
                self.growing_since = view.now;
                // Over a longer stretch than while draining: a picture of somebody else may have been large.
                let lately = self.signals.delivered(self.law.refill_window, from);
                let lately = lately.map_or(0.0, |lately| self.settings.video(lately));
                let capacity = self.capacity.map_or(0.0, |capacity| capacity.rate.max(lately));
                self.rate = self.rate.max(self.law.refill * capacity);
                return Rule::Refill;
            }
            State::Drain { yielded, .. } if self.is_in_vain(view, &yielded) => {
                self.state = State::Compete(Rivalry::new(
                    view.now,
                    view.base,
                    view.base + view.network,
                    view.sample.lost,
                ));
            }
            State::Compete(_) if view.network < view.aim => {
                self.state = State::Open;
                self.growing_since = view.now;
            }
            State::Compete(rivalry) if self.is_over(view, &rivalry) => self.state = State::drain(view.now),
            State::Open | State::Drain { .. } | State::Compete(_) => {}
        }
        match self.state {
            State::Open => self.grow(view),
            State::Drain { from, yielded } => self.drain(view, from, yielded),
            State::Compete(rivalry) => self.compete(view, rivalry),
            State::Stall { .. } => {
                self.rate *= 0.5f64.powf(view.dt / self.law.halving.as_secs_f64());
                Rule::Stall
            }
        }
    }

    /// That of the present state, where nothing is decided.
    fn rule(&self) -> Rule {
        match self.state {
            State::Open | State::Drain { .. } => Rule::Measure,
            State::Compete(_) => Rule::Compete,
            State::Stall { .. } => Rule::Stall,
        }
    }

    fn grow(&mut self, view: &View<'_>) -> Rule {
        let bounds = self.settings.bounds;
        let calm = (view.now.saturating_sub(self.growing_since)).as_secs_f64();
        let law = &self.law;
        let mut growth = (law.growth + law.growth_gain * calm).min(law.growth_limit);
        let mut rule = Rule::Grow;
        let is_near = self.capacity.is_some_and(|capacity| {
            view.now.saturating_sub(capacity.at) < law.memory
                && self.rate > law.refill * capacity.rate
                && self.rate < law.near * capacity.rate
        });
        if is_near && growth > law.growth_near {
            growth = law.growth_near;
            rule = Rule::Probe;
        }
        // Slower as the queue nears the set point.
        let ease = 1.0 - (view.queue.as_secs_f64() / view.aim.as_secs_f64()).min(1.0);
        let reference = bounds.max.as_bps() as f64 * ADDITIVE_SHARE;
        let scale = (1.0 - law.additive) * self.rate + law.additive * reference;
        self.rate = self.rate.max(bounds.min.as_bps() as f64) + growth * ease * view.dt * scale;
        // A rate that was never used proves nothing: a static scene is not a wide link.
        let is_settled = view.now.saturating_sub(self.since) > SETTLING;
        if is_settled && let Some(shown) = self.signals.delivered(SHOWN_WINDOW, Duration::ZERO) {
            let shown = self.settings.video(shown);
            self.shown = shown;
            let mut most = (law.shown * shown).max(shown + SHOWN_STEP).max(bounds.min.as_bps() as f64);
            // What a queue has just shown counts as well: the second before may have been an outage.
            if let Some(capacity) = self.capacity.filter(|it| view.now.saturating_sub(it.at) < SHOWN_WINDOW) {
                most = most.max(capacity.rate);
            }
            if self.rate > most {
                self.rate = most;
                rule = Rule::Unproven;
            }
        }
        if self.rate >= bounds.max.as_bps() as f64 { Rule::Maximum } else { rule }
    }

    fn drain(&mut self, view: &View<'_>, from: Duration, mut yielded: Yielded) -> Rule {
        let Some(delivered) = self.signals.delivered(self.window(view), from) else {
            return Rule::Measure;
        };
        // More than was sent cannot come through: what seems so was on its way for longer.
        let sent = self.offered * self.law.search_pace + PACE_MARGIN;
        let most = MOST_CAPACITY * self.settings.bounds.max.as_bps() as f64;
        let capacity = self.settings.video(delivered).min(sent).min(most);
        self.capacity = Some(Capacity { rate: capacity, at: view.now });
        // What is to be worked off: all that waits, as far as the queue bears it out.
        let law = &self.law;
        let waits = self.time_for(view.sample.backlog(), capacity) - view.base.as_secs_f64();
        let queue = view.queue.as_secs_f64();
        let excess = waits.min(2.0 * queue).max(queue.min(waits));
        let near = (excess / view.sample.latency.as_secs_f64().max(SHORTEST_LATENCY)).clamp(0.0, 1.0);
        let floor = law.drain_floor * (1.0 - near) * (1.0 - near);
        let share = 1.0 - (excess - 0.7 * view.aim.as_secs_f64()).max(0.0) / law.drain.as_secs_f64();
        self.rate = capacity * share.clamp(floor, 1.0);
        // Neither the rate nor the window lets more into the network.
        let window = (view.base + law.drain_allowance).div_duration_f64(view.base + view.network.max(SHORT));
        let share = window.min(self.rate / capacity.max(LEAST_CAPACITY));
        yielded.add(share, view.dt, view.network);
        self.state = State::Drain { from, yielded };
        Rule::Drain
    }

    /// Whether draining leads to nothing but that somebody else has more; where a repetition of what
    /// the queue drops would still be in time.
    fn is_in_vain(&self, view: &View<'_>, yielded: &Yielded) -> bool {
        let Some(shortest) = self.signals.shortest(STANDING) else { return false };
        let Some(shown) = self.signals.delivered(STANDING, Duration::ZERO) else { return false };
        // Pictures do not get smaller than the least rate makes them: where that does not get through, it
        // is the link that is narrow.
        let is_narrow = self.settings.video(shown) < NARROW * self.settings.bounds.min.as_bps() as f64;
        !is_narrow
            && shortest < view.sample.latency.mul_f64(LONGEST_BASE)
            && shortest > view.base + self.law.rival_queue
            && yielded.is_in_vain(self.law.in_vain, shortest.saturating_sub(view.base))
    }

    /// Whether competing leads to nothing, or there is nobody to compete with: the path has become longer.
    fn is_over(&self, view: &View<'_>, rivalry: &Rivalry) -> bool {
        let is_too_long = view.network > view.sample.latency.mul_f64(LONGEST_STANDING);
        is_too_long || view.now - rivalry.overflowed > LONGEST_PEACE
    }

    fn compete(&mut self, view: &View<'_>, mut rivalry: Rivalry) -> Rule {
        let bounds = self.settings.bounds;
        let law = &self.law;
        // What an overflow costs is reported for as long as what was sent before it is under way.
        let round_trip = view.path.max(view.sample.rtt.min(view.sample.latency)).mul_f64(1.5);
        if rivalry.has_overflowed(view.now, round_trip, view.sample.lost) {
            self.rate *= law.rival_cut;
        } else {
            self.rate += law.rival_growth * bounds.max.as_bps() as f64 * view.dt;
        }
        if let Some(shown) = self.signals.delivered(RIVAL_WINDOW, Duration::ZERO) {
            self.rate = self.rate.min(law.rival_shown * self.settings.video(shown));
        }
        self.rate = self.rate.max(bounds.min.as_bps() as f64);
        self.state = State::Compete(rivalry);
        Rule::Compete
    }

    fn decide(&mut self, view: &View<'_>, rule: Rule) -> Decision {
        let Settings { bounds, adaptive, .. } = self.settings;
        let (least, most) = (bounds.min.as_bps() as f64, bounds.max.as_bps() as f64);
        let wanted = self.rate;
        self.rate = self.rate.max(least * THINNEST).min(most);
        let target = if adaptive { bits(self.rate.max(least)) } else { bounds.start };
        let thin = self.thin(view, wanted / target.as_bps().max(1) as f64);
        let key_frame = self.wants_key_frame(view);
        let before = std::mem::replace(&mut self.last_target, target);
        let remembered =
            self.capacity.filter(|capacity| view.now.saturating_sub(capacity.at) < self.law.memory);
        self.offered = self.offer(target.as_bps() as f64, remembered).min(most);
        let offered = self.settings.stream(self.offered);
        let allowance = match self.state {
            State::Drain { from, .. } if self.is_measured_since(from) => self.law.drain_allowance,
            State::Open | State::Drain { .. } | State::Compete(_) | State::Stall { .. } => {
                self.law.allowance.max(view.aim.mul_f64(self.law.allowance_queues))
            }
        };
        let mending = if view.is_mending { view.path + UNKNOWN_ALLOWANCE } else { Duration::ZERO };
        let window = match self.state {
            // What is sent now only waits in the network, where nothing can be left out of it; but for
            // one picture every now and then, which finds out whether anything gets through again.
            State::Stall { since, tried } if view.now.saturating_sub(tried) >= try_again(since, tried) => {
                self.state = State::Stall { since, tried: view.now };
                view.sample.in_network + ByteCount::new(1)
            }
            State::Stall { .. } => ByteCount::ZERO,
            State::Open | State::Drain { .. } | State::Compete(_) => {
                (bits(offered) * (view.path + allowance + mending)).max(SMALLEST_WINDOW)
            }
        };
        Decision {
            at: view.now,
            rule: if adaptive { rule } else { Rule::Fixed },
            before,
            target,
            estimate: remembered.map(|capacity| bits(capacity.rate)),
            queue: view.network,
            window,
            pace: bits(offered * SRT_OVERHEAD * self.pace() + PACE_MARGIN),
            // (Less by the queue in the network was tried: a fifth less late, a third more frozen.)
            patience: view.sample.latency.saturating_sub(view.base / 2).max(view.sample.latency / 2),
            thin,
            key_frame,
        }
    }

    /// Where the encoder gives more than is wanted and cannot give less, its pictures are thinned.
    fn thin(&self, view: &View<'_>, share: f64) -> f64 {
        let State::Drain { from, .. } = self.state else { return 0.0 };
        let Some(capacity) = self.capacity.filter(|capacity| capacity.at >= from) else { return 0.0 };
        // What a picture encoded now would have to wait.
        let ahead = self.time_for(view.sample.backlog().saturating_sub(FEW_PACKETS), capacity.rate);
        if share < 0.9 && ahead > self.law.thin * view.sample.latency.as_secs_f64() {
            1.0 - share.max(LEAST_SHARE)
        } else {
            0.0
        }
    }

    /// A clean start once something that mattered was given up; and in a long stall one every now and
    /// then, so that what is still in time at its end begins with one.
    fn wants_key_frame(&mut self, view: &View<'_>) -> bool {
        let sample = view.sample;
        // (Where pictures were left out before the transport, their queue asks by itself.)
        let was_given_up = sample.late > self.given_up;
        if was_given_up || sample.oldest > sample.latency + view.base {
            self.given_up = self.given_up.max(sample.late);
            self.owes_key_frame = true;
        }
        let apart = self.key_frame_at.map_or(Duration::MAX, |at| view.now.saturating_sub(at));
        let wanted = match self.state {
            State::Stall { since, .. } => {
                let spacing = sample.latency.mul_f64(self.law.stall_key);
                view.now.saturating_sub(since) > spacing && apart > spacing
            }
            State::Open | State::Drain { .. } | State::Compete(_) => {
                let is_settled = sample.oldest < sample.latency / 2 && apart > KEY_FRAMES_APART;
                self.owes_key_frame && (is_settled || (was_given_up && apart > KEY_FRAMES_APART / 2))
            }
        };
        if wanted {
            self.owes_key_frame = false;
            self.key_frame_at = Some(view.now);
        }
        wanted
    }

    /// The queue that is aimed at: the longer the less of it is ours. Of two streams on one link the smaller
    /// then bears more queue before it gives way, and they meet, as those of Copa do (Arun, 2018).
    fn aim(&self, latency: Duration) -> Duration {
        let share = self.settings.bounds.max.as_bps() as f64 / self.rate.max(1.0);
        self.law.queue(latency).mul_f64(share.max(1.0).powf(self.law.sharing).min(MOST_PATIENT))
    }

    /// How long what is kept out of the network has to wait for it.
    fn held_back(&self) -> Duration {
        let capacity = self.capacity.map_or(self.rate, |capacity| capacity.rate.max(self.rate));
        Duration::from_secs_f64(self.time_for(self.signals.held_back(), capacity).min(LONGEST_HELD_BACK))
    }

    /// How long acknowledgements may pause for a loss to be mended.
    fn mending_pause(&self, view: &View<'_>) -> Duration {
        if view.is_mending {
            view.path.min(LONGEST_MENDING.max(view.path - view.base)) + NEXT_REPORT
        } else {
            Duration::ZERO
        }
    }

    /// Over how long what gets through is measured.
    fn window(&self, view: &View<'_>) -> Duration {
        let mending = if view.is_mending { view.path + MENDING_ALLOWANCE } else { view.path };
        self.law.window.max(mending)
    }

    /// What the link is given at most, as video: bits per second.
    fn offer(&self, target: f64, remembered: Option<Capacity>) -> f64 {
        let capacity = remembered.map_or(0.0, |capacity| capacity.rate);
        match self.state {
            State::Open => target.max(capacity),
            State::Compete(_) => target,
            // No more than it carries, whatever the encoder gives: the rest waits where it can be left out.
            State::Drain { from, .. } if remembered.is_some_and(|it| it.at >= from) => capacity,
            // Nothing is known of what it carries now. It is given what it carried before, so that what it
            // carries can be seen.
            // A target that does not follow the link says nothing here: the rate does.
            State::Drain { .. } | State::Stall { .. } => {
                let least = self.settings.bounds.min.as_bps() as f64;
                self.rate.max(least).max(capacity).max(self.shown)
            }
        }
    }

    /// How much faster than what is offered the driver may send.
    fn pace(&self) -> f64 {
        match self.state {
            State::Open | State::Compete(_) => self.law.pace,
            State::Drain { .. } | State::Stall { .. } => self.law.search_pace,
        }
    }

    fn is_measured_since(&self, from: Duration) -> bool {
        self.capacity.is_some_and(|capacity| capacity.at >= from)
    }

    /// How long the link takes for that much transport stream at a capacity of so much video: seconds.
    fn time_for(&self, bytes: ByteCount, capacity: f64) -> f64 {
        bytes.get() as f64 * 8.0 / self.settings.stream(capacity).max(LEAST_CAPACITY)
    }
}

impl State {
    /// What gets through is measured from `from` on.
    fn drain(from: Duration) -> Self {
        State::Drain { from, yielded: Yielded::default() }
    }
}

/// How long a stall waits before it tries again: ever longer.
fn try_again(since: Duration, tried: Duration) -> Duration {
    (tried.saturating_sub(since) / 2).clamp(SOONEST_TRY, LATEST_TRY)
}

/// Bits per second, from a number that is finite and not negative.
fn bits(rate: f64) -> Bitrate {
    Bitrate::from_bps(rate.round() as u64) // the cast saturates
}

/// Seven TS packets (1316 bytes) take 1360 on the wire: SRT 16, UDP 8, IPv4 20.
const SRT_OVERHEAD: f64 = 1360.0 / 1316.0;

/// Of the latency: a stretch of nothing but congestion must not pass for a path that has become longer
/// than the connection's shortest.
const LONGEST_BASE: f64 = 0.35;
/// Of the latency: beside a longer queue than this there is no time for a repetition of what it drops,
/// which takes as long again, and the report of it.
const LONGEST_STANDING: f64 = 0.4;
/// A queue that is none; in a divisor.
const SHORT: Duration = Duration::from_millis(1);
/// Of the lower bound.
const NARROW: f64 = 0.75;
/// The shortest round trip over this long shows the queue that is always there, whatever pictures of
/// different sizes make of it.
const STANDING: Duration = Duration::from_secs(1);
/// What gets through beside it is looked for over this long: a loss silences acknowledgements for a
/// round trip of the full queue.
const RIVAL_WINDOW: Duration = Duration::from_secs(3);
/// A TCP upload overflows the queue more often than this: CUBIC takes 11 s to fill one of 3 MB again.
const LONGEST_PEACE: Duration = Duration::from_secs(20);
/// A pause between samples changes the rate by no more than this much time would.
const LONGEST_STEP: Duration = Duration::from_millis(200);
/// Samples further apart than three periods come from a process that did not run.
const LATE_SAMPLE: Duration = Duration::from_millis(60);
/// A connection's first key frame comes before there is a rate to speak of.
const SETTLING: Duration = Duration::from_millis(1_500);
/// What was shown to get through is looked for over this long: a few pictures of each kind.
const SHOWN_WINDOW: Duration = Duration::from_secs(1);
/// Bits per second that may always be tried beyond what was shown.
const SHOWN_STEP: f64 = 500_000.0;
/// Of the upper bound: the additive part of the growth is in proportion to this.
const ADDITIVE_SHARE: f64 = 0.25;
/// Of the upper bound: a link that carries more is wide enough, however much more it is.
const MOST_CAPACITY: f64 = 1.5;
/// Of the lower bound: how far the rate may fall below it, where thinning makes up for the rest.
const THINNEST: f64 = 0.05;
/// At least a quarter of the pictures is encoded, where any is.
const LEAST_SHARE: f64 = 0.25;
/// A backlog of a picture or two is none.
const FEW_PACKETS: ByteCount = ByteCount::new(8 * 1316);
/// However little gets through, something must be under way to measure it.
const SMALLEST_WINDOW: ByteCount = ByteCount::new(8 * 1316);
/// Bits per second on the wire, beyond the pace: room for acknowledgements and repetitions at the lowest rates.
const PACE_MARGIN: f64 = 200_000.0;
/// A repetition that is lost is asked for again with the receiver's next periodic report.
const NEXT_REPORT: Duration = Duration::from_millis(40);
/// However long the path: a stall is to be noticed within 300 ms and a round trip.
const LONGEST_MENDING: Duration = Duration::from_millis(100);
/// While a loss is mended, what gets through is measured over this much more than a round trip.
const MENDING_ALLOWANCE: Duration = Duration::from_millis(150);
/// What waits behind a loss that is being mended has arrived for the most part, and nobody tells: so much
/// more than a round trip may be under way. (A hundred milliseconds more was tried: the queue was longer by
/// as much, and no more got through.)
const UNKNOWN_ALLOWANCE: Duration = Duration::from_millis(50);
/// In a stall a picture is sent after this time, and then more seldom: a network that holds what it cannot
/// carry must not fill up with what will be too late; but the link's return is to be found in half a second.
const SOONEST_TRY: Duration = Duration::from_millis(250);
const LATEST_TRY: Duration = Duration::from_millis(500);
/// Each key frame costs as much as many pictures.
const KEY_FRAMES_APART: Duration = Duration::from_millis(700);
/// Times the least queue that is aimed at.
const MOST_PATIENT: f64 = 4.0;
/// Seconds: more than that is no different.
const LONGEST_HELD_BACK: f64 = 60.0;
/// Bits per second; a divisor.
const LEAST_CAPACITY: f64 = 50_000.0;
/// Seconds; a divisor.
const SHORTEST_LATENCY: f64 = 0.001;
