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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LATENCY: Duration = Duration::from_millis(500);
    const WAY: Duration = Duration::from_millis(20);

    fn data(number: u64) -> Data {
        Data { number, captured: number as u32 * MS, payload: 1316, unit: 0 }
    }

    fn edge(answers: [Option<Answer>; 2]) -> Option<u64> {
        answers.into_iter().flatten().find_map(|answer| match answer {
            Answer::Acknowledge { edge, .. } => Some(edge),
            Answer::Report { .. } => None,
        })
    }

    #[test]
    fn packets_are_released_at_their_time_and_in_order() {
        let mut receiver = Receiver::new(LATENCY, WAY);
        for number in [0, 2, 1] {
            receiver.receive(data(number));
        }
        assert_eq!(receiver.release(519 * MS), None);
        assert_eq!(receiver.release(520 * MS).map(|released| released.data.number), Some(0));
        assert_eq!(receiver.release(520 * MS), None);
        let rest: Vec<u64> =
            std::iter::from_fn(|| receiver.release(522 * MS)).map(|released| released.data.number).collect();
        assert_eq!(rest, [1, 2]);
    }

    #[test]
    fn a_gap_is_reported_at_once_and_again_until_it_is_filled_or_skipped() {
        let mut receiver = Receiver::new(LATENCY, WAY);
        receiver.receive(data(0));
        let report = receiver.receive(data(4));
        assert_eq!(report, Some(Answer::Report { missing: vec![1..=3], fresh: true }));
        assert_eq!(receiver.receive(data(2)), None);
        let again = receiver.tick(200 * MS);
        assert_eq!(again[1], Some(Answer::Report { missing: vec![1..=1, 3..=3], fresh: false }));
        assert_eq!(edge(again), Some(1));
        // The packet behind a gap is due: the gap is skipped, and acknowledged.
        assert_eq!(receiver.release(520 * MS).map(|released| released.data.number), Some(0));
        assert_eq!(receiver.release(522 * MS).map(|released| released.data.number), Some(2));
        assert_eq!(receiver.release(524 * MS).map(|released| released.data.number), Some(4));
        assert_eq!(edge(receiver.tick(530 * MS)), Some(5));
        assert_eq!(receiver.receive(data(1)), None, "belated");
    }

    #[test]
    fn an_edge_that_was_not_confirmed_is_acknowledged_again() {
        let mut receiver = Receiver::new(LATENCY, WAY);
        receiver.receive(data(0));
        assert_eq!(edge(receiver.tick(10 * MS)), Some(1));
        assert_eq!(edge(receiver.tick(20 * MS)), None);
        assert_eq!(edge(receiver.tick(310 * MS)), Some(1), "after a round trip and four variances");
        receiver.confirm(330 * MS, 310 * MS, 1);
        assert_eq!(edge(receiver.tick(900 * MS)), None);
    }

    #[test]
    fn round_trips_are_smoothed_as_libsrt_does() {
        let mut receiver = Receiver::new(LATENCY, WAY);
        receiver.confirm(80 * MS, Duration::ZERO, 1);
        assert_eq!(receiver.rtt, Some(Rtt { mean: 80 * MS, variance: 40 * MS }));
        receiver.confirm(160 * MS, Duration::ZERO, 2);
        assert_eq!(receiver.rtt, Some(Rtt { mean: 90 * MS, variance: 50 * MS }));
    }
}
