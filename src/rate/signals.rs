//! What samples say together: the queue in the network, and what gets through.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sample::LinkSample;
use crate::units::{Bitrate, ByteCount};

/// The samples of the last [`KEPT`], and what can be read from them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Signals {
    /// Bounded by time, and by [`MOST_KEPT`] against samples that come too often: the oldest go.
    points: VecDeque<Point>,
    lost: u64,
    lost_at: Option<Duration>,
    /// The shortest round trip of the path.
    base: Duration,
}

/// What is kept of a sample.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    at: Duration,
    arrived: ByteCount,
    fresh_rtt: Option<Duration>,
    oldest_sent: Duration,
    waiting: ByteCount,
}

impl Signals {
    /// Takes a sample in. Its time is not before that of an earlier one.
    pub fn record(&mut self, sample: &LinkSample) {
        let LinkSample { at, fresh_rtt, oldest_sent, waiting, .. } = *sample;
        // A counter only rises: one that does not is a sample out of order.
        let arrived = self.points.back().map_or(sample.arrived, |last| last.arrived.max(sample.arrived));
        self.points.push_back(Point { at, arrived, fresh_rtt, oldest_sent, waiting });
        while self.points.len() > MOST_KEPT
            || self.points.front().is_some_and(|first| at.saturating_sub(first.at) > KEPT)
        {
            self.points.pop_front();
        }
        self.base = sample.base_rtt;
        if sample.lost > self.lost {
            self.lost = sample.lost;
            self.lost_at = Some(at);
        }
    }

    /// Whether losses were reported so lately that their repair is still under way.
    pub fn is_mending(&self, base: Duration) -> bool {
        let now = self.now();
        self.lost_at.is_some_and(|at| now.saturating_sub(at) < 3 * base + MENDING)
    }

    /// How long a packet waits in the network: from round trips, and, faster where nothing comes
    /// back any more, from the time since the oldest packet in flight was last sent.
    pub fn queue(&self, base: Duration) -> Duration {
        self.round_trip().map_or(Duration::ZERO, |rtt| rtt.saturating_sub(base)).max(self.overdue(base))
    }

    /// The shortest round trip of late: the jitter of single ones is not a queue.
    fn round_trip(&self) -> Option<Duration> {
        let now = self.now();
        self.recent(FRESH).filter_map(|point| point.fresh_rtt).min().or_else(|| {
            // Acknowledgements are rare on a thin stream: then the last word counts, while it is news.
            let last = self.points.iter().rev().find(|point| point.fresh_rtt.is_some())?;
            (now - last.at < STALE).then_some(last.fresh_rtt?)
        })
    }

    /// The shortest round trip over `window`.
    pub fn shortest(&self, window: Duration) -> Option<Duration> {
        self.recent(window).filter_map(|point| point.fresh_rtt).min()
    }

    /// By how much the answer to the oldest packet in flight is overdue.
    fn overdue(&self, base: Duration) -> Duration {
        // A repeated packet may be lost as well, and is then asked for again half a round trip later.
        let grace = if self.is_mending(base) { SLACK * 2 + base.mul_f64(0.75) } else { SLACK };
        let waited = self.recent(STEADY).map(|point| point.oldest_sent).min().unwrap_or_default();
        waited.saturating_sub(base + grace)
    }

    /// What has been waiting before the network for longer than a large picture takes.
    pub fn held_back(&self) -> ByteCount {
        self.recent(LARGE_PICTURE).map(|point| point.waiting).min().unwrap_or_default()
    }

    /// What arrived, as transport stream, over the last `window` but not before `from`; `None` where
    /// that is too short to say, or nothing came.
    ///
    /// While losses are mended, what arrives behind one is known only when something tells: a measure
    /// then goes from one such moment to another, or it would show the pauses and the jumps between them.
    pub fn delivered(&self, window: Duration, from: Duration) -> Option<Bitrate> {
        let base = self.base;
        let is_known = |point: &&Point| point.fresh_rtt.is_some();
        let mends = self.is_mending(base);
        let told = self.recent(base + MENDING).find(is_known).filter(|_| mends);
        let last = told.or(self.points.back())?;
        let mut first = None;
        let points = self.points.iter().rev().skip_while(|point| point.at > last.at);
        for point in
            points.take_while(|point| point.at >= from).filter(|point| told.is_none() || is_known(point))
        {
            first = Some(point);
            if last.at - point.at >= window {
                break;
            }
        }
        let first = first?;
        let (time, bytes) = (last.at - first.at, last.arrived.saturating_sub(first.arrived));
        (time >= SHORTEST_MEASURE && bytes > ByteCount::ZERO).then(|| bytes / time)
    }

    fn now(&self) -> Duration {
        self.points.back().map_or(Duration::ZERO, |last| last.at)
    }

    fn recent(&self, window: Duration) -> impl Iterator<Item = &Point> {
        let now = self.now();
        self.points.iter().rev().take_while(move |point| now - point.at <= window)
    }
}

/// As long as the longest window that is asked for.
const KEPT: Duration = Duration::from_secs(4);
/// Four seconds of samples at their usual 20 ms, and as many again.
const MOST_KEPT: usize = 400;
/// Several acknowledgements (10 ms each) of which the luckiest counts.
const FRESH: Duration = Duration::from_millis(100);
/// An older round trip says nothing about now.
const STALE: Duration = Duration::from_millis(400);
/// An overdue answer counts once it is overdue in three samples.
const STEADY: Duration = Duration::from_millis(60);
/// In which the pace lets a key frame out, for the most part.
const LARGE_PICTURE: Duration = Duration::from_millis(240);
/// Beyond the round trip, an acknowledgement may take this long: its period of 10 ms twice, and scheduling.
const SLACK: Duration = Duration::from_millis(30);
/// Beyond three round trips, a loss is mended in this time, or the link is not merely lossy.
const MENDING: Duration = Duration::from_millis(200);
/// Acknowledgements come every 10 ms: over less than this their grain shows.
const SHORTEST_MEASURE: Duration = Duration::from_millis(80);
