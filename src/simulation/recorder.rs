//! What happened, as far as a score and a picture need it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::receiver::{Data, Released};
use super::score::{Score, Targets, gaps};
use super::sender::Counters;
use super::{Outcome, Scenario};
use crate::link::{DropReason, Link, Verdict};
use crate::rate::{Decision, LinkSample, Rule};
use crate::transport::gop_queue::LeftOut;
use crate::units::{Bitrate, ByteCount};

/// Bins of [`BIN`] from the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    pub bins: Vec<Bin>,
}

/// What happened in a tenth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Of the uplink; `None` where it has no limit.
    pub capacity: Option<ByteCount>,
    /// On the wire, into the uplink.
    pub offered: ByteCount,
    /// Transport stream that reached the receiver, each packet once.
    pub delivered: ByteCount,
    /// The longest that a packet waited for the bottleneck, of those that were served in this bin or
    /// waited at its end.
    pub queue: Duration,
    pub queue_drops: u32,
    pub random_losses: u32,
    /// Packets by their source time, see [`Score`].
    pub late: u32,
    pub lost: u32,
    /// Pictures by their time of capture.
    pub left_out: u32,
    pub thinned: u32,
    /// The picture stood still: what was captured in it was not shown, or too late.
    pub is_frozen: bool,
    /// Of the last decision in the bin.
    pub target: Bitrate,
    pub estimate: Option<Bitrate>,
    pub rule: Option<Rule>,
    /// How old the oldest unacknowledged byte was at most.
    pub oldest: Duration,
}

/// A picture's way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Picture {
    pub captured: Duration,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// Not encoded, to save the rate.
    Thinned,
    /// Encoded, and not handed over.
    Waiting {
        key: bool,
    },
    Sent {
        key: bool,
        damaged: bool,
        latest: Duration,
    },
}

/// Takes down what happens.
#[derive(Debug)]
pub(super) struct Recorder {
    pub bins: Vec<Bin>,
    pub pictures: Vec<Picture>,
    /// What each packet of the uplink waited, in µs.
    pub queued: Vec<u32>,
    /// Packets that wait for the bottleneck: when they came, and when they are served.
    waiting: VecDeque<(Duration, Duration)>,
    /// Up to where `waiting` has been looked at, in bins.
    closed: usize,
    /// Source time up to which packets count.
    pub window: Duration,
    /// From a packet's source time to its release.
    delay: Duration,
    /// The unit of each packet that was handed over.
    owners: Vec<u32>,
    next_number: u64,
    pub released: Tally,
    pub late: Tally,
    pub lost_packets: u64,
    pub targets: Targets,
    last_left_out: u64,
    pub sounds_left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub packets: u64,
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u16) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }
}

impl Recorder {
    pub fn new(scenario: &Scenario) -> Self {
        let bins = (scenario.duration.as_nanos() / BIN.as_nanos()) as usize + 1;
        Recorder {
            bins: vec![Bin::default(); bins],
            pictures: Vec::new(),
            queued: Vec::new(),
            waiting: VecDeque::new(),
            closed: 0,
            window: scenario.duration.saturating_sub(scenario.latency + AFTERMATH),
            delay: scenario.latency + scenario.link.delay + scenario.link.jitter / 2,
            owners: Vec::new(),
            next_number: 0,
            released: Tally::default(),
            late: Tally::default(),
            lost_packets: 0,
            targets: Targets::default(),
            last_left_out: 0,
            sounds_left_out: 0,
        }
    }

    /// A picture was not encoded.
    pub fn thinned(&mut self, captured: Duration) {
        self.pictures.push(Picture { captured, fate: Fate::Thinned });
        self.bin(captured).thinned += 1;
    }

    /// A picture was encoded; its number.
    pub fn encoded(&mut self, captured: Duration, key: bool) -> u32 {
        self.pictures.push(Picture { captured, fate: Fate::Waiting { key } });
        self.pictures.len() as u32 - 1
    }

    /// A unit passed the queue, in so many packets.
    pub fn handed_over(&mut self, number: u32, packets: usize) {
        self.owners.extend(std::iter::repeat_n(number, packets));
        if let Some(picture) = self.pictures.get_mut(number as usize)
            && let Fate::Waiting { key } = picture.fate
        {
            picture.fate = Fate::Sent { key, damaged: false, latest: Duration::ZERO };
        }
    }

    /// A datagram went up the link.
    pub fn offered(&mut self, now: Duration, bytes: usize, verdict: &Verdict, is_data: bool) {
        self.close_bins(now);
        let in_window = now <= self.window;
        let bin = self.bin(now);
        bin.offered += ByteCount::new(bytes as u64 + LINK_HEADERS);
        match *verdict {
            Verdict::Deliver { queued, .. } => {
                let served = now + queued;
                self.bin(served).queue = self.bin(served).queue.max(queued);
                self.waiting.push_back((now, served));
                if in_window {
                    self.queued.push(u32::try_from(queued.as_micros()).unwrap_or(u32::MAX));
                }
            }
            Verdict::Dropped(DropReason::Loss) => bin.random_losses += u32::from(is_data),
            Verdict::Dropped(DropReason::Queue | DropReason::Outage) => bin.queue_drops += 1,
        }
    }

    /// Notes, for each bin that is over, how long the packet at the head of the queue had waited.
    fn close_bins(&mut self, now: Duration) {
        while bin_end(self.closed) <= now && self.closed < self.bins.len() {
            let end = bin_end(self.closed);
            while self.waiting.front().is_some_and(|(_, served)| *served <= end) {
                self.waiting.pop_front();
            }
            if let Some((came, _)) = self.waiting.front() {
                let bin = &mut self.bins[self.closed];
                bin.queue = bin.queue.max(end.saturating_sub(*came));
            }
            self.closed += 1;
        }
    }

    /// A packet reached the receiver.
    pub fn arrived(&mut self, now: Duration, data: &Data) {
        self.bin(now).delivered += ByteCount::new(u64::from(data.payload));
    }

    /// The receiver's application got a packet; those before it that it did not get are lost.
    pub fn released(&mut self, released: &Released) {
        let Data { number, captured, payload, unit } = released.data;
        let in_window = captured <= self.window;
        let skipped = number - self.next_number;
        if skipped > 0 {
            self.bin(captured).lost += skipped as u32;
            if in_window {
                self.lost_packets += skipped;
            }
            for owner in &self.owners[self.next_number as usize..number as usize] {
                if let Some(Picture { fate: Fate::Sent { damaged, .. }, .. }) =
                    self.pictures.get_mut(*owner as usize)
                {
                    *damaged = true;
                }
            }
        }
        self.next_number = number + 1;
        let lateness = released.at.saturating_sub(captured + self.delay);
        let is_late = lateness > TOLERANCE;
        if is_late {
            self.bin(captured).late += 1;
        }
        if in_window {
            self.released.add(payload);
            if is_late {
                self.late.add(payload);
            }
        }
        if let Some(Picture { fate: Fate::Sent { latest, .. }, .. }) = self.pictures.get_mut(unit as usize) {
            *latest = lateness.max(*latest);
        }
    }

    pub fn decided(&mut self, sample: &LinkSample, decision: &Decision) {
        if sample.at <= self.window {
            self.targets.record(decision.target);
        }
        let left_out = sample.left_out - self.last_left_out;
        self.last_left_out = sample.left_out;
        let bin = self.bin(sample.at);
        bin.target = decision.target;
        bin.estimate = decision.estimate;
        bin.rule = Some(decision.rule);
        bin.oldest = bin.oldest.max(sample.oldest);
        bin.left_out += left_out as u32;
    }

    pub fn left_out(&mut self, left_out: LeftOut) {
        self.sounds_left_out = left_out.sounds;
    }

    /// `start` is when the stream began, on the link's clock.
    pub fn finish(
        mut self,
        scenario: &Scenario,
        start: Duration,
        uplink: &Link,
        counters: &Counters,
    ) -> Outcome {
        self.close_bins(scenario.duration);
        for (index, bin) in self.bins.iter_mut().enumerate() {
            bin.capacity = uplink.capacity_between(start + bin_end(index) - BIN, start + bin_end(index));
        }
        for freeze in self.freezes() {
            let (first, last) = (bin_of(freeze.start), bin_of(freeze.end));
            self.bins.iter_mut().take(last).skip(first).for_each(|bin| bin.is_frozen = true);
        }
        let score = Score::of(scenario, &mut self, counters);
        Outcome { score, timeline: Timeline { bins: self.bins }, sharing: None }
    }

    /// When the picture stood still, by the time of capture.
    pub fn freezes(&self) -> Vec<Range<Duration>> {
        gaps(self.pictures.iter().filter(|picture| picture.captured <= self.window))
    }

    fn bin(&mut self, at: Duration) -> &mut Bin {
        // Packets may be served, and pictures of the end released, after the end.
        let last = self.bins.len() - 1;
        &mut self.bins[bin_of(at).min(last)]
    }
}

fn bin_of(at: Duration) -> usize {
    (at.as_millis() / BIN.as_millis()) as usize
}

fn bin_end(index: usize) -> Duration {
    BIN * (index as u32 + 1)
}

/// The grain of everything over time.
pub const BIN: Duration = Duration::from_millis(100);
/// Beyond the latency, what the end of a run needs to be judged.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Released later than this after its time, a packet is late: a player with a fixed delay has missed it.
pub const TOLERANCE: Duration = Duration::from_millis(100);
/// UDP and IPv4, which the link counts.
const LINK_HEADERS: u64 = 28;
