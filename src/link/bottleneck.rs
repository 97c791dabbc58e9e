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
        let mut steps = vec![(0, rate)];
        steps.extend(changes.iter().map(|change| (nanoseconds(change.at), Some(change.rate))));
        steps.sort_by_key(|(at, _)| *at);
        let capacity = Capacity::Steps(Steps::new(steps, FOREVER));
        Bottleneck { capacity, outages: Outages::new(outages) }
    }

    pub fn recorded(trace: &Trace, outages: &[Outage]) -> Self {
        let period = trace.period_ns;
        let capacity = match &trace.capacity {
            Recorded::Steps(steps) => {
                let steps = steps.iter().map(|(at, rate)| (*at, Some(*rate))).collect();
                Capacity::Steps(Steps::new(steps, period))
            }
            Recorded::Opportunities(times) => Capacity::Opportunities(Opportunities {
                times: Arc::clone(times),
                period,
                next: 0,
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
            Capacity::Steps(steps) => steps.at(now).rate.is_none(),
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
    /// Rising start times, the first 0; `None` is unlimited.
    steps: Vec<(u64, Option<Bitrate>)>,
    /// Then they start over.
    period: u64,
    /// When everything accepted so far will have been served.
    free_at: u64,
    /// Work (bits × 1e9) that still has to be done at `free_at`: less than a nanosecond's worth.
    remainder: u64,
}

/// A time during which the capacity does not change; `None` is unlimited.
struct Stretch {
    rate: Option<Bitrate>,
    until: u64,
}

impl Steps {
    fn new(steps: Vec<(u64, Option<Bitrate>)>, period: u64) -> Self {
        Steps { steps, period, free_at: 0, remainder: 0 }
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
        loop {
            let stretch = self.stretch_at(outages, self.free_at);
            let Some(rate) = stretch.rate.map(Bitrate::as_bps) else {
                self.remainder = 0;
                return;
            };
            let span = stretch.until - self.free_at;
            match work.checked_div(rate) {
                Some(needed) if needed <= span => {
                    self.free_at += needed;
                    self.remainder = work % rate;
                    return;
                }
                Some(_) => work -= rate * span, // Less than `work`, so it cannot overflow.
                None => {}                      // Nothing is served at a rate of zero.
            }
            self.free_at = stretch.until;
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

    /// The capacity at `now` and when it may change. In an outage even an unlimited link has none.
    fn stretch_at(&self, outages: &Outages, now: u64) -> Stretch {
        let step = self.at(now);
        match outages.find(now) {
            Ok(end) => Stretch { rate: Some(Bitrate::ZERO), until: end },
            Err(begin) => Stretch { until: step.until.min(begin), ..step },
        }
    }

    /// The step at `now`, outages aside.
    fn at(&self, now: u64) -> Stretch {
        let in_period = now % self.period;
        let next = self.steps.partition_point(|(at, _)| *at <= in_period);
        let end = self.steps.get(next).map_or(self.period, |(at, _)| *at);
        // The first step is at 0, so that there is one before `next`.
        Stretch { rate: self.steps[next - 1].1, until: (now - in_period).saturating_add(end) }
    }
}

/// Moments at which up to [`OPPORTUNITY_BYTES`] are delivered, as Mahimahi replays them: those that
/// pass while nothing waits are gone, and so is what one has left over when the queue runs empty.
#[derive(Clone, Debug)]
struct Opportunities {
    times: Arc<[u64]>,
    period: u64,
    /// The one in use, counted from the start through all periods, and what is left of it.
    next: u64,
    credit: u32,
}

impl Opportunities {
    fn serve(&mut self, outages: &Outages, now: u64, bytes: u32, mut served: impl FnMut(u64, u32)) -> u64 {
        if self.time(self.next) <= now {
            self.go_to(self.until(now));
        }
        let mut left = bytes;
        loop {
            let at = self.time(self.next);
            if let Ok(end) = outages.find(at) {
                self.go_to(self.until(end - 1));
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
            self.go_to(self.next + 1);
        }
    }

    fn go_to(&mut self, next: u64) {
        self.next = next;
        self.credit = OPPORTUNITY_BYTES;
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

    /// When opportunity number `index`, counted from the start, comes.
    fn time(&self, index: u64) -> u64 {
        let count = self.times.len() as u64;
        (index / count) * self.period + self.times[(index % count) as usize]
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
/// The end of what never ends, in ns: 292 years.
const FOREVER: u64 = u64::MAX / 2;
