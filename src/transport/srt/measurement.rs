//! What the wire says about a connection.
//!
//! `srt-protocol` leaves most of its statistics unassigned, so everything here is counted where it
//! happens: as packets are handed over, leave, come back acknowledged or asked for again, or are
//! given up as too late. The receiver's own figures come with its acknowledgements. Its estimate of
//! the link's capacity is left out on purpose: measured, it was wrong by a factor of two.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::units::{Bitrate, ByteCount};

/// The state of a connection at one moment; counters run from its start. Published every 20 ms.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub at: Instant,
    /// Smoothed round trip, as the receiver measures it; the handshake's before it has.
    pub rtt: Duration,
    pub rtt_variance: Duration,
    /// The smallest round trip of the last 15 s, smoothed or fresh, the handshake's included: what the
    /// path takes with its queues empty.
    pub base_rtt: Duration,
    /// The shortest unsmoothed round trip since the last measurement; None without a sample. From a
    /// packet that was sent once to the answer that shows that it had just arrived: an acknowledgement
    /// that moves, up to 10 ms (SRT's period) after the arrival, or the report of a fresh loss before
    /// it, at once. The queue on the path is what it has beyond [`base_rtt`](Self::base_rtt).
    pub fresh_rtt: Option<Duration>,
    /// All packets that were taken from the input.
    pub handed_over: Traffic,
    /// First transmissions. Bytes are payload, here and below.
    pub sent: Traffic,
    pub retransmitted: Traffic,
    pub acknowledged: Traffic,
    /// What is known to have arrived: the acknowledged, and while acknowledgements wait at a hole also
    /// what lies below a packet whose arrival made the receiver report a loss, without what it ever
    /// reported lost. Each packet counts once. A lost report makes it count packets too early that
    /// are missing, no more than that report named.
    pub arrived: Traffic,
    /// Packets that the receiver reported lost, each report counted.
    pub nak_packets: u64,
    /// Transmissions that were lost by the receiver's reports, each counted once: of all that were
    /// sent, first and again, the share that the link loses.
    pub lost_transmissions: u64,
    /// Packets that did not make it in time (SRT's TLPKTDROP): given up here, or skipped by the receiver
    /// after it had reported them lost. They are not among the acknowledged ones.
    pub late_packets: u64,
    /// Retransmissions that were asked for, or that `srt-protocol` wanted to do, and that were left out.
    pub suppressed_retransmissions: u64,
    pub rejected_datagrams: u64,
    /// Datagrams that the system did not take, other than for a full socket buffer.
    pub send_errors: u64,
    /// What the receiver last said it receives, SRT, UDP and IP headers included. A bound of the link
    /// only while the link is the limit; otherwise simply what we send.
    pub delivered: Bitrate,
    /// Free packets in the receiver's buffer, once it has said so.
    pub peer_buffer_packets: Option<u32>,
    /// Sent and neither acknowledged nor given up.
    pub in_flight_packets: u64,
    /// Handed over and neither acknowledged nor given up.
    pub send_buffer: Traffic,
    /// Time since the oldest packet of the send buffer was handed over; zero when it is empty.
    pub oldest_unacknowledged: Duration,
    /// Time since the last transmission, the first or a repeated one, of the oldest packet in flight;
    /// zero where there is none. Unlike its age it does not grow while a loss is mended.
    pub oldest_sent: Duration,
    /// Time since an acknowledgement last moved while something is in flight; zero otherwise.
    pub silence: Duration,
    /// Bytes that were sent and are not known to have arrived, or to be gone: also those that were given
    /// up as too late while the network still held them.
    pub in_network: ByteCount,
    /// Time since the receiver last said anything new about data, arrived or lost, while something is in
    /// the network; zero otherwise. It repeats itself while the way there is dead: that does not count.
    pub heard: Duration,
    /// For how long in all something has waited in the input for the pace to allow it.
    pub held_back: Duration,
    /// Since the last measurement nothing has waited so: what was sent is all that we were given. A
    /// burst above the pace, such as a large picture, makes it false for as long as the burst takes.
    pub limited_by_application: bool,
}

impl Measurement {
    /// Of a connection on which nothing has happened yet.
    pub fn new(at: Instant) -> Self {
        Measurement {
            at,
            rtt: Duration::ZERO,
            rtt_variance: Duration::ZERO,
            base_rtt: Duration::ZERO,
            fresh_rtt: None,
            handed_over: Traffic::default(),
            sent: Traffic::default(),
            retransmitted: Traffic::default(),
            acknowledged: Traffic::default(),
            arrived: Traffic::default(),
            nak_packets: 0,
            lost_transmissions: 0,
            late_packets: 0,
            suppressed_retransmissions: 0,
            rejected_datagrams: 0,
            send_errors: 0,
            delivered: Bitrate::ZERO,
            peer_buffer_packets: None,
            in_flight_packets: 0,
            send_buffer: Traffic::default(),
            oldest_unacknowledged: Duration::ZERO,
            oldest_sent: Duration::ZERO,
            silence: Duration::ZERO,
            in_network: ByteCount::ZERO,
            heard: Duration::ZERO,
            held_back: Duration::ZERO,
            limited_by_application: true,
        }
    }
}

/// Packets, and the payload in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: ByteCount,
}

impl Traffic {
    /// One more packet.
    pub(super) fn add(&mut self, payload: ByteCount) {
        self.packets += 1;
        self.bytes += payload;
    }

    /// One packet less, of those that were added.
    pub(super) fn take(&mut self, payload: ByteCount) {
        self.packets -= 1;
        self.bytes = self.bytes - payload;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// A smoothed round trip and its variance, as SRT exchanges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    pub mean: Duration,
    pub variance: Duration,
}

impl Rtt {
    /// From one sample, that of the handshake, as TCP starts (RFC 6298).
    pub fn first(sample: Duration) -> Self {
        Rtt { mean: sample, variance: sample / 2 }
    }

    /// Nearly no answer comes earlier than this.
    pub fn early(self) -> Duration {
        self.mean.saturating_sub(4 * self.variance)
    }

    /// Nearly every answer has come by then.
    pub fn late(self) -> Duration {
        self.mean + 4 * self.variance
    }
}

/// What is known of the path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    pub rtt: Rtt,
    /// The smallest round trip of late.
    pub base_rtt: Duration,
    /// How much longer the way back takes than it did at its best. What else the round trip has grown
    /// by is a queue on the way there.
    pub reverse_queue: Duration,
}

/// The smallest value over [`MINIMUM_WINDOW`].
#[derive(Debug, Default)]
pub struct Minimum<T> {
    /// Rising in both time and value: the front is the minimum, each later entry its successor.
    candidates: VecDeque<(Instant, T)>,
}

impl<T: Copy + PartialOrd> Minimum<T> {
    pub fn record(&mut self, now: Instant, sample: T) {
        while self.candidates.back().is_some_and(|(_, value)| *value >= sample) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((now, sample));
        // The newest is always kept: after a long silence an old value is better than none.
        while self.candidates.len() > 1
            && now.saturating_duration_since(self.candidates[0].0) > MINIMUM_WINDOW
        {
            self.candidates.pop_front();
        }
    }

    pub fn smallest(&self) -> Option<T> {
        self.candidates.front().map(|(_, value)| *value)
    }
}

/// How long the way back takes, beyond its best of the last 15 s, from the peer's timestamps.
#[derive(Debug, Default)]
pub struct ReverseDelay {
    /// Our time less the peer's at the first packet, which nobody knows the meaning of.
    reference: Option<u32>,
    best: Minimum<i32>,
    excess: Duration,
}

impl ReverseDelay {
    /// `ours` and `peers` are microseconds since any fixed moment, and wrap.
    pub fn record(&mut self, now: Instant, ours: u32, peers: u32) {
        let offset = ours.wrapping_sub(peers);
        // The difference of two wrapping clocks, as a signed number.
        let delay = offset.wrapping_sub(*self.reference.get_or_insert(offset)) as i32;
        self.best.record(now, delay);
        let best = self.best.smallest().unwrap_or(delay);
        self.excess = Duration::from_micros(delay.abs_diff(best).into());
    }

    pub fn excess(&self) -> Duration {
        self.excess
    }
}

/// Long enough to outlast a queue that a rate controller is draining, short enough to follow a new
/// route (Copa and the prototype of the rate law use the same order).
const MINIMUM_WINDOW: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_base_is_the_minimum_of_the_window_and_forgets() {
        let start = Instant::now();
        let mut base = Minimum::default();
        assert_eq!(base.smallest(), None);
        for (second, rtt) in [(0, 50), (1, 40), (2, 90), (3, 60)] {
            base.record(start + second * 1000 * MS, rtt * MS);
        }
        assert_eq!(base.smallest(), Some(40 * MS));
        base.record(start + 16_500 * MS, 100 * MS);
        assert_eq!(base.smallest(), Some(60 * MS));
        base.record(start + 60_000 * MS, 120 * MS);
        assert_eq!(base.smallest(), Some(120 * MS));
    }

    #[test]
    fn a_queue_on_the_way_back_shows_in_the_peers_timestamps_across_the_wrap() {
        let start = Instant::now();
        let mut reverse = ReverseDelay::default();
        let mut after = |ms: u32, queue_ms: u32| {
            let peers = (u32::MAX - 1_000_000).wrapping_add(ms * 1000);
            reverse.record(start + ms * MS, 77 + (ms + queue_ms) * 1000, peers);
            reverse.excess()
        };
        assert_eq!(after(0, 5), Duration::ZERO);
        assert_eq!(after(500, 0), Duration::ZERO);
        assert_eq!(after(1_500, 30), 30 * MS);
        assert_eq!(after(2_000, 10), 10 * MS);
        assert_eq!(after(17_000, 10), Duration::ZERO, "the best is forgotten");
    }

    #[test]
    fn the_base_agrees_with_a_search_of_everything() {
        let start = Instant::now();
        let mut base = Minimum::default();
        let mut all = Vec::new();
        let mut state = 7u32;
        for step in 0..5_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (now, rtt) = (start + step * 10 * MS, (20 + state % 200) * MS);
            base.record(now, rtt);
            all.push((now, rtt));
            let smallest = all.iter().rev().take_while(|(at, _)| now - *at <= MINIMUM_WINDOW);
            assert_eq!(base.smallest(), smallest.map(|(_, rtt)| *rtt).min());
        }
    }
}
