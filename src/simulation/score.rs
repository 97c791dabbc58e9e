//! How well it went: the figures of a run.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::Scenario;
use super::recorder::{BIN, Bin, Fate, Picture, Recorder, TOLERANCE};
use super::sender::Counters;
use crate::units::{Bitrate, ByteCount};

/// All over the window: from the first packet to the end less the latency and 2 s, by source time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Transport stream that the receiver's application got, as a share of what the link and the upper
    /// bound allow: per second the smaller of capacity × 1316/1360 and 1.04 × the upper bound.
    pub utilisation: f64,
    /// The same without what was late.
    pub utilisation_on_time: f64,
    pub goodput_kbps: f64,
    pub usable_kbps: f64,
    /// What packets waited for the bottleneck.
    pub queue_delay_ms: QueueDelay,
    /// Packets that the application never got.
    pub lost_percent: f64,
    pub lost_packets: u64,
    /// Packets that it got more than 100 ms after source time + latency + way.
    pub late_percent: f64,
    /// Gaps above 200 ms between pictures that were on time, whole, and had all that they need.
    pub freeze_s: f64,
    pub freezes: u32,
    pub longest_freeze_s: f64,
    /// Retransmissions, as a share of first transmissions.
    pub retransmitted_percent: f64,
    pub queue_drops: u64,
    pub pictures: u64,
    /// Not encoded, to save the rate.
    pub thinned: u64,
    /// Encoded, and left out in whole groups before the mux.
    pub left_out: u64,
    /// Frames of sound that were left out before the mux.
    pub sounds_left_out: u64,
    /// Mean change of the wire rate from second to second, as a share of its mean.
    pub step_percent: f64,
    /// Times that the target moved by a twentieth since its last count.
    pub target_changes: u64,
    /// Times that it turned, after having moved by a tenth or more.
    pub reversals: u64,
    /// What followed the link's changes of rate, and the ends of its outages.
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct QueueDelay {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// `None` where it did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    pub at_s: f64,
    pub to_kbps: u64,
    #[serde(flatten)]
    pub response: Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    Fall {
        /// Until the wire rate stays below the new capacity for a second.
        react_s: Option<f64>,
        /// Until the queue stays below 150 ms for half a second.
        drain_s: Option<f64>,
        longest_queue_ms: f64,
    },
    Rise {
        /// Until a second's mean wire rate reaches nine tenths of what is usable.
        refill_s: Option<f64>,
    },
}

/// Counts what the target does.
#[derive(Debug, Default)]
pub(super) struct Targets {
    counted: Option<f64>,
    changes: u64,
    extreme: f64,
    direction: i8,
    reversals: u64,
}

impl Targets {
    pub fn record(&mut self, target: Bitrate) {
        let rate = (target.as_bps() as f64).max(1.0);
        let Some(counted) = self.counted else {
            (self.counted, self.extreme) = (Some(rate), rate);
            return;
        };
        if (rate - counted).abs() > CHANGE * counted {
            self.counted = Some(rate);
            self.changes += 1;
        }
        let goes_on = match self.direction {
            1 => rate >= self.extreme,
            -1 => rate <= self.extreme,
            _ => false,
        };
        if goes_on {
            self.extreme = rate;
        } else if (rate - self.extreme).abs() > TURN * self.extreme {
            self.reversals += u64::from(self.direction != 0);
            self.direction = if rate > self.extreme { 1 } else { -1 };
            self.extreme = rate;
        }
    }
}

impl Score {
    pub(super) fn of(scenario: &Scenario, recorder: &mut Recorder, counters: &Counters) -> Score {
        let window = recorder.window;
        let complete = (window.as_nanos() / BIN.as_nanos()) as usize;
        let bins = &recorder.bins[..complete.min(recorder.bins.len())];
        let most = scenario.settings.bounds.max + scenario.settings.sound;
        let usable = usable(bins, most);
        let bits = recorder.released.bytes as f64 * 8.0;
        let on_time = bits - recorder.late.bytes as f64 * 8.0;
        let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
        let lost = recorder.lost_packets;
        let fates = || recorder.pictures.iter().filter(|picture| picture.captured <= window);
        let freezes = recorder.freezes();
        let frozen = || freezes.iter().map(|freeze| freeze.end - freeze.start);
        let rates = wire_rates(bins);
        Score {
            utilisation: round(share(bits, usable), 4),
            utilisation_on_time: round(share(on_time, usable), 4),
            goodput_kbps: round(bits / seconds / 1000.0, 0),
            usable_kbps: round(usable / (complete / 10).max(1) as f64 / 1000.0, 0),
            queue_delay_ms: QueueDelay::of(&mut recorder.queued),
            lost_percent: round(percent(lost, lost + recorder.released.packets), 3),
            lost_packets: lost,
            late_percent: round(percent(recorder.late.packets, recorder.released.packets), 3),
            freeze_s: round(frozen().sum::<Duration>().as_secs_f64(), 2),
            freezes: freezes.len() as u32,
            longest_freeze_s: round(frozen().max().unwrap_or_default().as_secs_f64(), 2),
            retransmitted_percent: round(percent(counters.retransmitted, counters.sent), 2),
            queue_drops: bins.iter().map(|bin| u64::from(bin.queue_drops)).sum(),
            pictures: fates().count() as u64,
            thinned: fates().filter(|picture| picture.fate == Fate::Thinned).count() as u64,
            left_out: fates().filter(|picture| matches!(picture.fate, Fate::Waiting { .. })).count() as u64,
            sounds_left_out: recorder.sounds_left_out,
            step_percent: round(step_percent(&rates), 1),
            target_changes: recorder.targets.changes,
            reversals: recorder.targets.reversals,
            changes: changes(scenario, bins, most),
        }
    }
}

impl QueueDelay {
    /// From waits in µs.
    fn of(waits: &mut [u32]) -> Self {
        waits.sort_unstable();
        let at = |share: f64| {
            let index = ((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1));
            waits.get(index).map_or(0.0, |wait| round(f64::from(*wait) / 1000.0, 1))
        };
        QueueDelay { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// Bits of transport stream that could have been delivered in whole seconds.
fn usable(bins: &[Bin], most: Bitrate) -> f64 {
    let most = most.as_bps() as f64 * TS_SHARE;
    let second = |bins: &[Bin]| {
        let capacity: Option<ByteCount> = bins.iter().map(|bin| bin.capacity).sum();
        capacity.map_or(most, |bytes| (bytes.get() as f64 * 8.0 * PAYLOAD_SHARE).min(most))
    };
    bins.chunks_exact(10).map(second).sum()
}

/// Gaps between clean pictures that were on time, by their time of capture.
pub(super) fn gaps<'a>(pictures: impl Iterator<Item = &'a Picture>) -> Vec<Range<Duration>> {
    let (mut freezes, mut last, mut newest) = (Vec::new(), None, Duration::ZERO);
    let mut is_whole = false;
    for picture in pictures {
        newest = picture.captured;
        let before = *last.get_or_insert(picture.captured);
        let Fate::Sent { key, damaged, latest } = picture.fate else { continue };
        is_whole = !damaged && (key || is_whole);
        if is_whole && latest <= TOLERANCE {
            freezes.push(before..picture.captured);
            last = Some(picture.captured);
        }
    }
    freezes.push(last.unwrap_or(newest)..newest);
    freezes.retain(|gap| gap.end - gap.start > FREEZE);
    freezes
}

/// kbit/s on the wire, by the second.
fn wire_rates(bins: &[Bin]) -> Vec<f64> {
    bins.chunks_exact(10).map(wire_kbps).collect()
}

fn wire_kbps(bins: &[Bin]) -> f64 {
    let bytes: ByteCount = bins.iter().map(|bin| bin.offered).sum();
    bytes.get() as f64 * 8.0 / 1000.0 / (BIN.as_secs_f64() * bins.len().max(1) as f64)
}

fn step_percent(rates: &[f64]) -> f64 {
    let body = rates.get(START_SECONDS..).unwrap_or_default();
    let mean = body.iter().sum::<f64>() / body.len().max(1) as f64;
    let steps: f64 = body.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    100.0 * share(steps / body.len().saturating_sub(1).max(1) as f64, mean)
}

fn changes(scenario: &Scenario, bins: &[Bin], most: Bitrate) -> Vec<Change> {
    let link = &scenario.link;
    let mut moments: Vec<(Duration, Bitrate)> =
        link.rate_changes.iter().map(|change| (change.at, change.rate)).collect();
    for outage in &link.outages {
        let end = outage.start + outage.duration;
        let before = link.rate_changes.iter().rev().find(|change| change.at <= end).map(|change| change.rate);
        moments.extend(before.or(link.rate).map(|rate| (end, rate)));
    }
    moments.sort_unstable();
    moments.iter().filter_map(|(at, to)| change(*at, *to, bins, most)).collect()
}

fn change(at: Duration, to: Bitrate, bins: &[Bin], most: Bitrate) -> Option<Change> {
    let begin = (at.as_nanos() / BIN.as_nanos()) as usize;
    let after = bins.get(begin..).filter(|after| after.len() > 10)?;
    let before = &bins[begin.saturating_sub(20)..begin];
    let was: Option<ByteCount> = before.iter().map(|bin| bin.capacity).sum();
    let to_kbps = to.as_bps() as f64 / 1000.0;
    let falls = was.is_none_or(|was| {
        to_kbps < was.get() as f64 * 8.0 / 1000.0 / (BIN.as_secs_f64() * before.len().max(1) as f64)
    });
    // The wire rate over the half second up to each bin.
    let half: Vec<f64> =
        (begin..bins.len()).map(|index| wire_kbps(&bins[index.saturating_sub(4)..=index])).collect();
    let since = |index: Option<usize>| index.map(|index| index as f64 / 10.0);
    let response = if falls {
        let is_below = |rates: &[f64]| rates.iter().all(|rate| *rate <= to_kbps * 1.02);
        let is_short = |bins: &[Bin]| bins.iter().all(|bin| bin.queue < DRAINED);
        let longest = after.iter().take(200).map(|bin| bin.queue).max().unwrap_or_default();
        Response::Fall {
            react_s: since(half.windows(10).skip(1).position(is_below).map(|index| index + 1)),
            drain_s: since(after.windows(5).skip(3).position(is_short).map(|index| index + 3)),
            longest_queue_ms: round(longest.as_secs_f64() * 1000.0, 1),
        }
    } else {
        let goal = to_kbps.min(most.as_bps() as f64 / 1000.0 * WIRE_SHARE);
        let is_full = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64 >= 0.9 * goal;
        Response::Rise { refill_s: since(half.windows(10).skip(1).position(is_full).map(|index| index + 1)) }
    };
    Some(Change { at_s: at.as_secs_f64(), to_kbps: to.as_kbps(), response })
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    100.0 * share(part as f64, whole as f64)
}

/// To so many decimal places: more would be noise, and an object that machines compare.
pub(super) fn round(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// Seven TS packets and their headers on the wire.
const PAYLOAD_SHARE: f64 = 1316.0 / 1360.0;
/// What the upper bound of the video comes to as transport stream, and on the wire.
const TS_SHARE: f64 = 1.04;
const WIRE_SHARE: f64 = 1.07;
/// A viewer sees a gap from here on.
const FREEZE: Duration = Duration::from_millis(200);
const DRAINED: Duration = Duration::from_millis(150);
/// Of a rate, what counts as a change, and as a turn.
const CHANGE: f64 = 0.05;
const TURN: f64 = 0.1;
/// Left out of the figures about steadiness.
const START_SECONDS: usize = 3;
