//! The receiving side: libsrt, reduced to what it acknowledges, asks for again, and releases when.
//!
//! As in libsrt 1.5 (`srtcore/core.cpp`): a full acknowledgement every 10 ms when the contiguous edge
//! has moved, or again where no ACKACK has come; a loss report at once for each new gap, and for all of
//! them periodically; TSBPD with TLPKTDROP, which skips a gap when the packet behind it is due.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A data packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    pub number: u64,
    /// Its source time.
    pub captured: Duration,
    pub payload: u16,
    /// The unit that it is part of.
    pub unit: u32,
}

/// What a receiver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `sent` comes back with the ACKACK. No round trip before the first one was measured.
    Acknowledge {
        edge: u64,
        rtt: Option<Rtt>,
        sent: Duration,
    },
    Report {
        missing: Vec<RangeInclusive<u64>>,
        fresh: bool,
    },
}

/// A packet that the application gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    pub data: Data,
    pub at: Duration,
}

/// A round trip, smoothed, and its variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    pub mean: Duration,
    pub variance: Duration,
}

#[derive(Debug)]
pub struct Receiver {
    /// From a packet's source time to its release.
    delay: Duration,
    /// From `next` on: what has arrived and was not released. Bounded by the sender's window.
    buffer: VecDeque<Option<Data>>,
    /// The next to be released, or to be skipped.
    next: u64,
    /// Rising numbers that are missing between `next` and the end of the buffer.
    missing: VecDeque<u64>,
    rtt: Option<Rtt>,
    acknowledged: u64,
    acknowledged_at: Duration,
    confirmed: u64,
    next_tick: Duration,
    next_report: Duration,
    next_release: Duration,
}

impl Receiver {
    /// `way` is what the packets of the handshake took, by which the receiver's clock is set.
    pub fn new(latency: Duration, way: Duration) -> Self {
        Receiver {
            delay: latency + way,
            buffer: VecDeque::new(),
            next: 0,
            missing: VecDeque::new(),
            rtt: None,
            acknowledged: 0,
            acknowledged_at: Duration::ZERO,
            confirmed: 0,
            next_tick: Duration::ZERO,
            next_report: Duration::ZERO,
            next_release: Duration::MAX,
        }
    }

    /// When it next has something to do by itself.
    pub fn next(&self) -> Duration {
        self.next_tick.min(self.next_release)
    }

    /// Takes a packet; the answer is a report of a gap before it.
    pub fn receive(&mut self, data: Data) -> Option<Answer> {
        let index = data.number.checked_sub(self.next)? as usize; // belated: already skipped
        let newest = self.buffer.len();
        if index < newest {
            if self.buffer[index].is_none() {
                self.buffer[index] = Some(data);
                if let Ok(place) = self.missing.binary_search(&data.number) {
                    self.missing.remove(place);
                }
                self.plan_release();
            }
            return None;
        }
        let gap = (index > newest).then(|| self.next + newest as u64..=data.number - 1);
        if let Some(gap) = gap.clone() {
            self.missing.extend(gap);
            self.buffer.resize(index, None);
        }
        self.buffer.push_back(Some(data));
        self.plan_release();
        gap.map(|gap| Answer::Report { missing: vec![gap], fresh: true })
    }

    /// The ACKACK of the acknowledgement that was sent at `sent`, up to `edge`.
    pub fn confirm(&mut self, now: Duration, sent: Duration, edge: u64) {
        self.confirmed = self.confirmed.max(edge);
        let sample = now.saturating_sub(sent);
        self.rtt = Some(match self.rtt {
            None => Rtt { mean: sample, variance: sample / 2 },
            Some(Rtt { mean, variance }) => {
                Rtt { mean: (mean * 7 + sample) / 8, variance: (variance * 3 + sample.abs_diff(mean)) / 4 }
            }
        });
    }

    /// The next packet that the application gets by `now`.
    pub fn release(&mut self, now: Duration) -> Option<Released> {
        while self.next_release <= now {
            let front = self.buffer.pop_front()?;
            self.next += 1;
            match front {
                Some(data) => {
                    self.plan_release();
                    return Some(Released { data, at: now });
                }
                // A gap, and what is behind it is due.
                None => {
                    self.missing.pop_front();
                }
            }
        }
        None
    }

    /// What is due every 10 ms: at most an acknowledgement and a report.
    pub fn tick(&mut self, now: Duration) -> [Option<Answer>; 2] {
        if now < self.next_tick {
            return [None, None];
        }
        self.next_tick = now + ACK_PERIOD;
        [self.acknowledge(now), self.report(now)]
    }

    fn acknowledge(&mut self, now: Duration) -> Option<Answer> {
        let edge = self.missing.front().copied().unwrap_or(self.next + self.buffer.len() as u64);
        let is_new = edge > self.acknowledged;
        let answer_by = self.acknowledged_at + self.waiting_time();
        if !is_new && (edge <= self.confirmed || now < answer_by) {
            return None;
        }
        self.acknowledged = edge;
        self.acknowledged_at = now;
        Some(Answer::Acknowledge { edge, rtt: self.rtt, sent: now })
    }

    fn report(&mut self, now: Duration) -> Option<Answer> {
        if now < self.next_report {
            return None;
        }
        self.next_report = now + (self.waiting_time() / 2).max(SHORTEST_REPORT_PERIOD);
        if self.missing.is_empty() {
            return None;
        }
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for number in self.missing.iter().copied() {
            if let Some(last) = ranges.last_mut().filter(|last| last.end() + 1 == number) {
                *last = *last.start()..=number;
            } else if ranges.len() < MOST_RANGES {
                ranges.push(number..=number);
            } else {
                break;
            }
        }
        Some(Answer::Report { missing: ranges, fresh: false })
    }

    fn waiting_time(&self) -> Duration {
        let Rtt { mean, variance } = self.rtt.unwrap_or(FIRST_RTT);
        mean + 4 * variance
    }

    /// The first packet that is there decides; gaps before it are skipped with it.
    fn plan_release(&mut self) {
        let first = self.buffer.iter().flatten().next();
        self.next_release = first.map_or(Duration::MAX, |data| data.captured + self.delay);
    }
}

/// libsrt's `COMM_SYN_INTERVAL_US`.
const ACK_PERIOD: Duration = Duration::from_millis(10);
/// libsrt's `CUDT::m_tdMinNakInterval`.
const SHORTEST_REPORT_PERIOD: Duration = Duration::from_millis(20);
/// libsrt's `INITIAL_RTT` and `INITIAL_RTTVAR`.
const FIRST_RTT: Rtt = Rtt { mean: Duration::from_millis(100), variance: Duration::from_millis(50) };
/// What fits into one loss report: 1456 bytes, 8 for a range.
const MOST_RANGES: usize = 182;
