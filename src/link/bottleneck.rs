//! The slowest hop: when a packet has been served, and what could have been.

use super::spec::{Outage, RateChange};
use super::trace::{OPPORTUNITY_BYTES, Recorded, Trace};
use crate::units::{Bitrate, ByteCount};

/// First in, first out, at a capacity that changes with time. All times are ns since the start.
///
/// Service is exact: the fraction of a nanosecond that one packet leaves over is charged to the
/// next one, and a packet during which the rate changes is served at both.
#[derive(Clone, Debug)]
pub(super) struct Bottleneck {
    capacity: Capacity,
    /// Sorted, apart from each other.
    outages: Vec<(u64, u64)>,
    /// When everything accepted so far will have been served.
    free_at: u64,
    /// Work (bits × 1e9) that still has to be done at `free_at`: less than a nanosecond's worth.
    remainder: u64,
}

#[derive(Clone, Debug)]
enum Capacity {
    /// Rising start times, the first 0; `None` is unlimited. Starts over after `period`.
    Steps { steps: Vec<(u64, Option<Bitrate>)>, period: u64 },
    /// Mahimahi: `next` counts opportunities since the start, `credit` is what is left of it.
    Opportunities { trace: Trace, next: u64, credit: u32 },
}

/// A stretch of time with one capacity, `None` for unlimited.
struct Stretch {
    rate: Option<Bitrate>,
    until: u64,
}

impl Bottleneck {
    pub fn unlimited(outages: &[Outage]) -> Self {
        Self::new(Capacity::Steps { steps: vec![(0, None)], period: FOREVER }, outages)
    }

    /// `rate` from the start (`None`: unlimited), then each change at its time.
    pub fn scheduled(rate: Option<Bitrate>, changes: &[RateChange], outages: &[Outage]) -> Self {
        let mut steps = vec![(0, rate)];
        steps.extend(changes.iter().map(|change| (nanoseconds(change.at), Some(change.rate))));
        steps.sort_by_key(|(at, _)| *at);
        Self::new(Capacity::Steps { steps, period: FOREVER }, outages)
    }

    pub fn recorded(trace: &Trace, outages: &[Outage]) -> Self {
        let capacity = match &trace.capacity {
            Recorded::Steps(steps) => Capacity::Steps {
                steps: steps.iter().map(|(at, rate)| (*at, Some(*rate))).collect(),
                period: trace.period_ns,
            },
            Recorded::Opportunities(_) => {
                Capacity::Opportunities { trace: trace.clone(), next: 0, credit: OPPORTUNITY_BYTES }
            }
        };
        Self::new(capacity, outages)
    }

    fn new(capacity: Capacity, outages: &[Outage]) -> Self {
        Bottleneck { capacity, outages: merged(outages), free_at: 0, remainder: 0 }
    }

    /// Whether `now` lies in an outage.
    pub fn is_out(&self, now: u64) -> bool {
        self.outage_at(now).is_ok()
    }

    /// Whether packets pass at `now` without being held: then an outage cannot hold them either.
    pub fn is_unlimited(&self, now: u64) -> bool {
        match &self.capacity {
            Capacity::Steps { steps, period } => step_at(steps, *period, now).rate.is_none(),
            Capacity::Opportunities { .. } => false,
        }
    }

    /// Accepts a packet that arrives at `now` (calls in order of time) and returns when its last
    /// byte has been served. `served` is told of each part of it: when, and how many bytes.
    pub fn serve(&mut self, now: u64, bytes: u32, mut served: impl FnMut(u64, u32)) -> u64 {
        if self.free_at <= now {
            self.free_at = now;
            self.remainder = 0;
        }
        if let Capacity::Opportunities { .. } = self.capacity {
            self.free_at = self.use_opportunities(now, bytes, served);
        } else {
            self.work_off(u64::from(bytes) * 8 * NS_PER_SECOND);
            served(self.free_at, bytes);
        }
        self.free_at
    }

    /// Moves `free_at` past `work`, stretch by stretch.
    fn work_off(&mut self, work: u64) {
        let mut work = work + self.remainder;
        loop {
            let stretch = self.stretch_at(self.free_at);
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

    /// Opportunities that pass while nothing waits are gone, and so is what an opportunity has left
    /// over when the queue runs empty.
    fn use_opportunities(&mut self, now: u64, bytes: u32, mut served: impl FnMut(u64, u32)) -> u64 {
        let Capacity::Opportunities { trace, next, credit } = &mut self.capacity else {
            unreachable!("serve() asked for the kind of capacity")
        };
        if opportunity(trace, *next) <= now {
            *next = opportunities_until(trace, now);
            *credit = OPPORTUNITY_BYTES;
        }
        let mut left = bytes;
        loop {
            let at = opportunity(trace, *next);
            if let Ok(index) = find_outage(&self.outages, at) {
                // The last nanosecond of an outage counts as out: the next opportunity is behind it.
                *next = opportunities_until(trace, self.outages[index].1 - 1);
                *credit = OPPORTUNITY_BYTES;
                continue;
            }
            let taken = left.min(*credit);
            *credit -= taken;
            left -= taken;
            if taken > 0 {
                served(at, taken);
            }
            if left == 0 {
                return at;
            }
            *next += 1;
            *credit = OPPORTUNITY_BYTES;
        }
    }

    /// What could be carried after `from`, up to and including `to`; `None` where there is no limit.
    pub fn capacity_between(&self, from: u64, to: u64) -> Option<ByteCount> {
        match &self.capacity {
            Capacity::Steps { .. } => {
                let mut at = from;
                let mut bits = 0_u128; // × 1e9
                while at < to {
                    let stretch = self.stretch_at(at);
                    let end = stretch.until.min(to);
                    bits += u128::from(stretch.rate?.as_bps()) * u128::from(end - at);
                    at = end;
                }
                let bytes = bits / (8 * u128::from(NS_PER_SECOND));
                Some(ByteCount::new(u64::try_from(bytes).unwrap_or(u64::MAX)))
            }
            Capacity::Opportunities { trace, .. } => {
                let between = |from, to| opportunities_until(trace, to) - opportunities_until(trace, from);
                let lost: u64 = (self.outages.iter())
                    // An outage includes its first nanosecond and excludes its end.
                    .map(|(start, end)| (start.saturating_sub(1).max(from), (end - 1).min(to)))
                    .filter(|(start, end)| start < end)
                    .map(|(start, end)| between(start, end))
                    .sum();
                Some(ByteCount::new((between(from, to) - lost) * u64::from(OPPORTUNITY_BYTES)))
            }
        }
    }

    /// Only for steps: the capacity at `now` and when it may change, outages included.
    fn stretch_at(&self, now: u64) -> Stretch {
        let Capacity::Steps { steps, period } = &self.capacity else {
            unreachable!("opportunities have no stretches")
        };
        let step = step_at(steps, *period, now);
        match self.outage_at(now) {
            // In an outage even an unlimited link serves nothing.
            Ok(index) => Stretch { rate: Some(Bitrate::ZERO), until: self.outages[index].1 },
            Err(next) => {
                let outage = self.outages.get(next).map_or(FOREVER, |(start, _)| *start);
                Stretch { rate: step.rate, until: step.until.min(outage) }
            }
        }
    }

    /// The outage around `now`, or else where the next one stands.
    fn outage_at(&self, now: u64) -> Result<usize, usize> {
        find_outage(&self.outages, now)
    }
}

fn find_outage(outages: &[(u64, u64)], now: u64) -> Result<usize, usize> {
    let index = outages.partition_point(|(_, end)| *end <= now);
    match outages.get(index) {
        Some((start, _)) if *start <= now => Ok(index),
        _ => Err(index),
    }
}

fn step_at(steps: &[(u64, Option<Bitrate>)], period: u64, now: u64) -> Stretch {
    let in_period = now % period;
    let begun = now - in_period;
    let next = steps.partition_point(|(at, _)| *at <= in_period);
    let end = steps.get(next).map_or(period, |(at, _)| *at);
    Stretch { rate: steps[next - 1].1, until: begun.saturating_add(end) }
}

/// When opportunity number `index`, counted from the start, comes.
fn opportunity(trace: &Trace, index: u64) -> u64 {
    let times = opportunity_times(trace);
    let count = times.len() as u64;
    (index / count) * trace.period_ns + times[(index % count) as usize]
}

/// How many opportunities come up to and including `now`.
fn opportunities_until(trace: &Trace, now: u64) -> u64 {
    let times = opportunity_times(trace);
    let within = |ns: u64| times.partition_point(|at| *at <= ns) as u64;
    // The first opportunities of a cycle may stand at 0, together with the last of the cycle before.
    (now / trace.period_ns) * times.len() as u64 + within(now % trace.period_ns)
}

fn opportunity_times(trace: &Trace) -> &[u64] {
    match &trace.capacity {
        Recorded::Opportunities(times) => times,
        Recorded::Steps(_) => unreachable!("steps are not made into opportunities"),
    }
}

/// Outages in order, with those that touch joined.
fn merged(outages: &[Outage]) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = (outages.iter())
        .map(|outage| (nanoseconds(outage.start), nanoseconds(outage.start + outage.duration)))
        .filter(|(start, end)| start < end)
        .collect();
    spans.sort_unstable();
    spans.dedup_by(|later, earlier| {
        let touches = later.0 <= earlier.1;
        if touches {
            earlier.1 = earlier.1.max(later.1);
        }
        touches
    });
    spans
}

/// Half a millennium is enough: later times are held there.
pub(super) fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(FOREVER).min(FOREVER)
}

const NS_PER_SECOND: u64 = 1_000_000_000;
/// The end of a capacity that never changes.
const FOREVER: u64 = u64::MAX / 2;
