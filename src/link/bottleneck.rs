//! The slowest hop: when a packet has been served, and what could have been carried.

use std::sync::Arc;
use std::time::Duration;

use super::spec::{Outage, RateChange};
use super::trace::{OPPORTUNITY_BYTES, Recorded, Trace};
use crate::units::{Bitrate, ByteCount};

/// First in, first out, at a capacity that changes with time. All times are ns since the start.
#[derive(Clone, Debug)]
pub(super) struct Bottleneck {
    capacity: Capacity,
    outages: Outages,
}

#[derive(Clone, Debug)]
enum Capacity {
    Steps(Steps),
    Opportunities(Opportunities),
}

impl Bottleneck {
    pub fn unlimited(outages: &[Outage]) -> Self {
        Self::scheduled(None, &[], outages)
    }

    /// `rate` from the start (`None`: unlimited), then each change at its time.
    pub fn scheduled(rate: Option<Bitrate>, changes: &[RateChange], outages: &[Outage]) -> Self {
        let mut steps: Vec<_> = changes.iter().map(|change| (nanoseconds(change.at), change.rate)).collect();
        steps.sort_by_key(|(at, _)| *at);
        let first_change = steps.first().map_or(u64::MAX, |(at, _)| *at);
        if let Some(rate) = rate {
            steps.insert(0, (0, rate));
        }
        let unlimited_until = if rate.is_some() { 0 } else { first_change };
        let capacity = Capacity::Steps(Steps::new(steps, FOREVER, unlimited_until));
        Bottleneck { capacity, outages: Outages::new(outages) }
    }

    pub fn recorded(trace: &Trace, outages: &[Outage]) -> Self {
        let period = trace.period_ns;
        let capacity = match &trace.capacity {
            Recorded::Steps(steps) => Capacity::Steps(Steps::new(steps.to_vec(), period, 0)),
            Recorded::Opportunities(times) => Capacity::Opportunities(Opportunities {
                times: Arc::clone(times),
                period,
                next: 0,
                round: 0,
                credit: OPPORTUNITY_BYTES,
            }),
        };
        Bottleneck { capacity, outages: Outages::new(outages) }
    }

    /// Whether nothing is served at `now`, and nothing can wait either since packets are never held.
    pub fn drops_all(&self, now: u64) -> bool {
        self.is_unlimited(now) && self.outages.find(now).is_ok()
    }

    pub fn is_unlimited(&self, now: u64) -> bool {
        match &self.capacity {
            Capacity::Steps(steps) => now < steps.unlimited_until,
            Capacity::Opportunities(_) => false,
        }
    }

    /// Accepts a packet that arrives at `now` (calls in order of time) and returns when its last
    /// byte has been served. `served` is told of each part of it: when, and how many bytes.
    pub fn serve(&mut self, now: u64, bytes: u32, served: impl FnMut(u64, u32)) -> u64 {
        match &mut self.capacity {
            Capacity::Steps(steps) => steps.serve(&self.outages, now, bytes, served),
            Capacity::Opportunities(opportunities) => opportunities.serve(&self.outages, now, bytes, served),
        }
    }

    /// What could be carried after `from`, up to and including `to`; `None` where there is no limit.
    pub fn capacity_between(&self, from: u64, to: u64) -> Option<ByteCount> {
        match &self.capacity {
            Capacity::Steps(steps) => steps.capacity_between(&self.outages, from, to),
            Capacity::Opportunities(opportunities) => {
                Some(opportunities.capacity_between(&self.outages, from, to))
            }
        }
    }
}

/// Rates that follow each other. Service is exact: the fraction of a nanosecond that one packet
/// leaves over is charged to the next, and a packet during which the rate changes is served at both.
#[derive(Clone, Debug)]
struct Steps {
    /// Rising start times, the first 0 where nothing is unlimited.
    steps: Vec<(u64, Bitrate)>,
    /// Then they start over.
    period: u64,
    /// Before the first step there may be no limit.
    unlimited_until: u64,
    /// The stretch around `free_at`, kept since most packets are served within the same.
    current: Stretch,
    /// When everything accepted so far will have been served.
    free_at: u64,
    /// Work (bits × 1e9) that still has to be done at `free_at`: less than a nanosecond's worth.
    remainder: u64,
}

/// A time during which the capacity does not change; `None` is unlimited.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    until: u64,
    rate: Option<Bitrate>,
}

impl Steps {
    fn new(steps: Vec<(u64, Bitrate)>, period: u64, unlimited_until: u64) -> Self {
        // Around no time at all, so that the first packet looks its stretch up.
        let current = Stretch { from: 0, until: 0, rate: None };
        Steps { steps, period, unlimited_until, current, free_at: 0, remainder: 0 }
    }

    fn serve(&mut self, outages: &Outages, now: u64, bytes: u32, mut served: impl FnMut(u64, u32)) -> u64 {
        if self.free_at <= now {
            self.free_at = now;
            self.remainder = 0;
        }
        self.work_off(outages, u64::from(bytes) * 8 * NS_PER_SECOND);
        served(self.free_at, bytes);
        self.free_at
    }

    /// Moves `free_at` past `work` (bits × 1e9), stretch by stretch.
    fn work_off(&mut self, outages: &Outages, work: u64) {
        let mut work = work + self.remainder;
        // A rate of zero for ever, which no text can ask for, still has to end.
        while self.free_at < FOREVER {
            if self.free_at < self.current.from || self.free_at >= self.current.until {
                self.current = self.stretch_at(outages, self.free_at);
            }
            let Some(rate) = self.current.rate.map(Bitrate::as_bps) else {
                self.remainder = 0;
                return;
            };
            let span = self.current.until - self.free_at;
            match work.checked_div(rate) {
                Some(needed) if needed <= span => {
                    self.free_at += needed;
                    self.remainder = work % rate;
                    return;
                }
                Some(_) => work -= rate * span, // Less than `work`, so it cannot overflow.
                None => {}                      // Nothing is served at a rate of zero.
            }
            self.free_at = self.current.until;
        }
    }

    fn capacity_between(&self, outages: &Outages, from: u64, to: u64) -> Option<ByteCount> {
        let mut at = from;
        let mut work = 0_u128; // bits × 1e9
        while at < to {
            let stretch = self.stretch_at(outages, at);
            let end = stretch.until.min(to);
            work += u128::from(stretch.rate?.as_bps()) * u128::from(end - at);
            at = end;
        }
        let bytes = work / (8 * u128::from(NS_PER_SECOND));
        Some(ByteCount::new(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }

    /// The capacity at `now`. In an outage even an unlimited link has none.
    fn stretch_at(&self, outages: &Outages, now: u64) -> Stretch {
        let step = self.step_at(now);
        match outages.find(now) {
            Ok(end) => Stretch { from: now, until: end, rate: Some(Bitrate::ZERO) },
            Err(begin) => Stretch { from: now, until: step.until.min(begin), ..step },
        }
    }

    fn step_at(&self, now: u64) -> Stretch {
        if now < self.unlimited_until {
            return Stretch { from: 0, until: self.unlimited_until, rate: None };
        }
        let in_period = now % self.period;
        let begun = now - in_period;
        let next = self.steps.partition_point(|(at, _)| *at <= in_period);
        let end = self.steps.get(next).map_or(self.period, |(at, _)| *at);
        // A step begins at 0 or where nothing is unlimited any more, so that there is one before `next`.
        let (at, rate) = self.steps[next - 1];
        Stretch { from: begun + at, until: begun.saturating_add(end), rate: Some(rate) }
    }
}

/// Moments at which up to [`OPPORTUNITY_BYTES`] are delivered, as Mahimahi replays them: those that
/// pass while nothing waits are gone, and so is what one has left over when the queue runs empty.
#[derive(Clone, Debug)]
struct Opportunities {
    times: Arc<[u64]>,
    period: u64,
    /// The one in use: its place in `times`, when that round of them began, and what is left of it.
    next: usize,
    round: u64,
    credit: u32,
}

impl Opportunities {
    fn serve(&mut self, outages: &Outages, now: u64, bytes: u32, mut served: impl FnMut(u64, u32)) -> u64 {
        if self.round + self.times[self.next] <= now {
            self.go_behind(now);
        }
        let mut left = bytes;
        loop {
            let at = self.round + self.times[self.next];
            if let Ok(end) = outages.find(at) {
                self.go_behind(end - 1);
                continue;
            }
            let taken = left.min(self.credit);
            self.credit -= taken;
            left -= taken;
            if taken > 0 {
                served(at, taken);
            }
            if left == 0 {
                return at;
            }
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.credit = OPPORTUNITY_BYTES;
        self.next += 1;
        if self.next == self.times.len() {
            self.next = 0;
            self.round += self.period;
        }
    }

    /// To the first opportunity after `now`: most often it is near, otherwise it is searched for.
    fn go_behind(&mut self, now: u64) {
        for _ in 0..NEAR {
            self.advance();
            if self.round + self.times[self.next] > now {
                return;
            }
        }
        let count = self.times.len() as u64;
        let next = self.until(now);
        self.next = (next % count) as usize;
        self.round = next / count * self.period;
    }

    fn capacity_between(&self, outages: &Outages, from: u64, to: u64) -> ByteCount {
        let between = |from, to| self.until(to) - self.until(from);
        let unused: u64 = (outages.spans.iter())
            // An outage includes its first nanosecond and excludes its end.
            .map(|(begin, end)| (begin.saturating_sub(1).max(from), (end - 1).min(to)))
            .filter(|(begin, end)| begin < end)
            .map(|(begin, end)| between(begin, end))
            .sum();
        ByteCount::new((between(from, to) - unused) * u64::from(OPPORTUNITY_BYTES))
    }

    /// How many opportunities come up to and including `now`.
    fn until(&self, now: u64) -> u64 {
        let in_period = now % self.period;
        let within = self.times.partition_point(|at| *at <= in_period);
        (now / self.period) * self.times.len() as u64 + within as u64
    }
}

/// Times without any service.
#[derive(Clone, Debug)]
struct Outages {
    /// Begin (included) and end (not included), in order and apart from each other.
    spans: Vec<(u64, u64)>,
}

impl Outages {
    fn new(outages: &[Outage]) -> Self {
        let mut spans: Vec<(u64, u64)> = (outages.iter())
            .map(|outage| (nanoseconds(outage.start), nanoseconds(outage.start + outage.duration)))
            .filter(|(begin, end)| begin < end)
            .collect();
        spans.sort_unstable();
        spans.dedup_by(|later, earlier| {
            let touches = later.0 <= earlier.1;
            if touches {
                earlier.1 = earlier.1.max(later.1);
            }
            touches
        });
        Outages { spans }
    }

    /// The end of the outage at `now`, or else the begin of the next one.
    fn find(&self, now: u64) -> Result<u64, u64> {
        let index = self.spans.partition_point(|(_, end)| *end <= now);
        match self.spans.get(index) {
            Some((begin, end)) if *begin <= now => Ok(*end),
            Some((begin, _)) => Err(*begin),
            None => Err(FOREVER),
        }
    }
}

/// Nanoseconds up to [`FOREVER`]; later times are held there.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).map_or(FOREVER, |ns| ns.min(FOREVER))
}

const NS_PER_SECOND: u64 = 1_000_000_000;
/// Opportunities tried one by one before searching: some ms of a fast trace.
const NEAR: usize = 8;
/// The end of what never ends, in ns: 292 years.
const FOREVER: u64 = u64::MAX / 2;
