//! How fast packets leave: a bucket of tokens, one for each byte on the wire.
//!
//! What is sent in one burst waits in the first buffer that it meets, where nobody can leave it out
//! any more and where everything else on the path waits behind it. So chunks are taken from the input
//! only as fast as the pace allows. Repetitions and control packets pay like everything else and are
//! never kept waiting: they leave the bucket in debt, and the next chunks wait for longer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{PAYLOAD_BYTES, guard};
use crate::units::{Bitrate, ByteCount};

/// Pure: it is told what has left, and says when the next packet may.
#[derive(Debug)]
pub struct Pacer {
    /// None is as fast as it comes.
    pace: Option<Bitrate>,
    /// While draining, whatever the pace says.
    least: Bitrate,
    /// Bytes that may leave at once; below zero after repetitions.
    tokens: f64,
    filled: Instant,
    held: HeldBack,
    /// Of each datagram, below UDP's payload.
    header_bytes: u64,
}

/// For how long something that could have been sent was not.
#[derive(Debug, Default)]
struct HeldBack {
    since: Option<Instant>,
    before: Duration,
    /// Since that was last asked.
    lately: bool,
}

impl Pacer {
    /// Without a limit.
    pub fn new(remote: SocketAddr, now: Instant) -> Self {
        let header_bytes = if remote.is_ipv6() { IPV6_UDP_BYTES } else { IPV4_UDP_BYTES };
        Pacer {
            pace: None,
            least: Bitrate::ZERO,
            tokens: 0.0,
            filled: now,
            held: HeldBack::default(),
            header_bytes,
        }
    }

    /// From now on at most so much on the wire, IP and UDP headers included.
    pub fn set_pace(&mut self, now: Instant, pace: Option<Bitrate>) {
        self.refill(now);
        self.pace = pace;
        self.refill(now);
    }

    /// No more will come than these packets, which are to have left within [`DRAIN_TIME`]: what is
    /// later than that could no longer be played, and a drain has to end.
    pub fn drain(&mut self, now: Instant, packets: usize) {
        self.refill(now);
        // The cast is exact: the input is bounded far below 2^64 packets.
        let rest = ByteCount::new(packets as u64 * self.packet_bytes());
        self.least = self.least.max(rest / DRAIN_TIME);
    }

    /// How many whole packets may leave now, of so many that wait, where no more than so many are
    /// `allowed` for other reasons.
    pub fn admits(&mut self, now: Instant, waiting: usize, allowed: usize) -> usize {
        self.refill(now);
        let packets = match self.rate() {
            None => usize::MAX,
            // Truncated, and zero while in debt.
            Some(_) => (self.tokens / self.packet_bytes() as f64) as usize,
        };
        let packets = packets.min(allowed);
        self.held.lately |= waiting > allowed || self.is_kept_waiting(now);
        if waiting > packets {
            self.held.since.get_or_insert(now);
        } else {
            self.held.before = self.held_back(now);
            self.held.since = None;
        }
        packets
    }

    /// For how long in all something has waited to be admitted.
    pub fn held_back(&self, now: Instant) -> Duration {
        let lately = self.held.since.map(|since| now.saturating_duration_since(since));
        self.held.before + lately.unwrap_or_default()
    }

    /// Whether the link is what something waits for to be admitted, or has waited for since this was last
    /// asked: for longer than it takes to spread a burst of the application's by [`DEPTH`].
    pub fn has_held_back(&mut self, now: Instant) -> bool {
        let lately = self.held.lately || self.is_kept_waiting(now);
        self.held.lately = lately && self.held.since.is_some();
        lately
    }

    fn is_kept_waiting(&self, now: Instant) -> bool {
        self.held.since.is_some_and(|since| now.saturating_duration_since(since) >= DEPTH)
    }

    /// When the next packet may leave, if not now. None where it may, or where nothing ever will at
    /// a pace of zero.
    pub fn ready_at(&self) -> Option<Instant> {
        let missing = self.packet_bytes() as f64 - self.tokens;
        let per_second = bytes_per_second(self.rate()?);
        if missing <= 0.0 || per_second <= 0.0 {
            return None;
        }
        Some(self.filled + Duration::from_secs_f64((missing / per_second).min(LONGEST_WAIT_SECONDS)))
    }

    /// A datagram with a UDP payload of `bytes` leaves.
    pub fn spend(&mut self, now: Instant, bytes: usize) {
        self.refill(now);
        if let Some(rate) = self.rate() {
            let debt = bytes_per_second(rate) * MOST_DEBT.as_secs_f64();
            self.tokens = (self.tokens - (bytes as u64 + self.header_bytes) as f64).max(-debt);
        }
    }

    fn rate(&self) -> Option<Bitrate> {
        self.pace.map(|pace| pace.max(self.least))
    }

    fn packet_bytes(&self) -> u64 {
        (PAYLOAD_BYTES + guard::HEADER_BYTES) as u64 + self.header_bytes
    }

    fn refill(&mut self, now: Instant) {
        let gone = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        // Without a limit one packet is kept for the day that there is one.
        let (gained, depth, debt) = match self.rate() {
            None => (f64::INFINITY, 0.0, 0.0),
            Some(rate) => {
                let per_second = bytes_per_second(rate);
                let share = |time: Duration| per_second * time.as_secs_f64();
                // Only what has waited is made good: time in which there was nothing to send buys no burst.
                let depth = if self.held.since.is_some() { share(DEPTH) } else { 0.0 };
                (per_second * gone, depth, share(MOST_DEBT))
            }
        };
        self.tokens = (self.tokens.max(-debt) + gained).min(self.packet_bytes() as f64 + depth);
    }
}

fn bytes_per_second(rate: Bitrate) -> f64 {
    rate.as_bps() as f64 / 8.0
}

/// What may be saved up beyond one packet while something waits: several of the timers' 1 ms, and what a
/// thread that was kept waiting has to make good. With four busy threads for each core, 10 ms kept a pace of
/// 3 Mbit/s within 1.5 %; 5 ms left it 8 to 12 % short.
const DEPTH: Duration = Duration::from_millis(10);
/// More debt is forgiven: the longest that new packets wait for repetitions. A window's worth that is
/// sent again after a short outage is within it.
const MOST_DEBT: Duration = Duration::from_millis(500);
/// What waits when the input is closed has left by then, however low the pace: half of the second that
/// a drain may take beyond the latency.
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// Keeps the arithmetic of time in range at the lowest rates.
const LONGEST_WAIT_SECONDS: f64 = 3600.0;
/// Bytes of an IPv4 (20) and a UDP (8) header.
const IPV4_UDP_BYTES: u64 = 28;
/// Bytes of an IPv6 (40) and a UDP (8) header.
const IPV6_UDP_BYTES: u64 = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    /// UDP's payload of a full SRT packet, and what it takes on the wire.
    const DATAGRAM: usize = 1332;
    const PACKET: u64 = 1360;

    fn pacer(now: Instant, pace: Option<Bitrate>) -> Pacer {
        let mut pacer = Pacer::new(([127, 0, 0, 1], 9000).into(), now);
        pacer.set_pace(now, pace);
        pacer
    }

    /// Sends whatever it may at every step; the bytes on the wire.
    fn greedy(pacer: &mut Pacer, from: Instant, steps: u32, step: Duration) -> u64 {
        let mut bytes = 0;
        for number in 1..=steps {
            let now = from + step * number;
            for _ in 0..pacer.admits(now, usize::MAX, usize::MAX).min(10_000) {
                pacer.spend(now, DATAGRAM);
                bytes += PACKET;
            }
        }
        bytes
    }

    #[test]
    fn the_pace_is_kept_whatever_the_grain_of_the_timer() {
        let start = Instant::now();
        for kbps in [300, 2_000, 6_000, 50_000] {
            for step in [MS, 2 * MS, 4 * MS] {
                let mut pacer = pacer(start, Some(Bitrate::from_kbps(kbps)));
                let bytes = greedy(&mut pacer, start, 10_000 / step.as_millis() as u32, step);
                let expected = kbps as f64 * 1000.0 / 8.0 * 10.0;
                let off = bytes as f64 / expected - 1.0;
                assert!(off.abs() < 0.01, "{kbps} kbit/s every {step:?}: {off:.3}");
            }
        }
    }

    #[test]
    fn no_burst_is_longer_than_the_depth_and_a_packet() {
        let start = Instant::now();
        let mut pacer = pacer(start, Some(Bitrate::from_kbps(6_000)));
        assert_eq!(pacer.admits(start + 2_000 * MS, 0, usize::MAX), 1, "nothing waited");
        assert_eq!(pacer.admits(start + 2_000 * MS, 40, usize::MAX), 1);
        let later = start + 3_000 * MS;
        // 10 ms at 6 Mbit/s are 7500 bytes; with a packet more, six whole packets fit.
        assert_eq!(pacer.admits(later, 0, usize::MAX), 6);
        (0..6).for_each(|_| pacer.spend(later, DATAGRAM));
        assert_eq!(pacer.admits(later, 0, usize::MAX), 0);
        let ready = pacer.ready_at().unwrap();
        assert_eq!(pacer.admits(ready - MS / 1000, 0, usize::MAX), 0);
        assert_eq!(pacer.admits(ready + MS / 1000, 0, usize::MAX), 1);
    }

    #[test]
    fn repetitions_are_paid_for_by_what_comes_next() {
        let start = Instant::now();
        let pace = Bitrate::from_kbps(2_000);
        let mut pacer = pacer(start, Some(pace));
        (0..20).for_each(|_| pacer.spend(start, DATAGRAM));
        let bytes = greedy(&mut pacer, start, 1_000, MS) + 20 * PACKET;
        let allowed = (pace * (1_000 * MS)).get() + PACKET;
        assert!((allowed - PACKET..=allowed).contains(&bytes), "{bytes} of {allowed}");
        // However many there were, new packets wait for half a second at most.
        (0..10_000).for_each(|_| pacer.spend(start + 1_000 * MS, DATAGRAM));
        let wait = pacer.ready_at().unwrap() - (start + 1_000 * MS);
        assert_eq!(wait.as_millis(), (MOST_DEBT + pace.time_for(ByteCount::new(PACKET))).as_millis());
    }

    #[test]
    fn what_waits_for_the_pace_is_known() {
        let start = Instant::now();
        let mut pacer = pacer(start, Some(Bitrate::from_kbps(1_000)));
        assert_eq!(pacer.admits(start, 1, usize::MAX), 1);
        pacer.spend(start, DATAGRAM);
        assert_eq!(pacer.admits(start + MS, 1, usize::MAX), 0);
        assert_eq!(pacer.held_back(start + 4 * MS), 3 * MS);
        assert!(!pacer.has_held_back(start + 10 * MS), "a burst is being spread");
        assert!(pacer.has_held_back(start + 11 * MS));
        assert_eq!(pacer.admits(start + 12 * MS, 1, usize::MAX), 1);
        assert!(pacer.has_held_back(start + 12 * MS), "it did so until now");
        assert!(!pacer.has_held_back(start + 12 * MS));
        assert_eq!(pacer.held_back(start + 50 * MS), 11 * MS);
        // What a full network does not let through waits for the link from the first moment.
        assert_eq!(pacer.admits(start + 50 * MS, 1, 0), 0);
        assert!(pacer.has_held_back(start + 50 * MS));
        assert!(pacer.has_held_back(start + 51 * MS), "it still waits");
        pacer.admits(start + 51 * MS, 0, 0);
        assert!(pacer.has_held_back(start + 52 * MS));
        assert!(!pacer.has_held_back(start + 53 * MS));
    }

    #[test]
    fn changes_apply_at_once() {
        let start = Instant::now();
        let mut pacer = pacer(start, None);
        assert_eq!((pacer.admits(start, 0, usize::MAX), pacer.ready_at()), (usize::MAX, None));
        pacer.set_pace(start, Some(Bitrate::from_kbps(1_000)));
        assert_eq!(pacer.admits(start, 0, usize::MAX), 1);
        pacer.spend(start, DATAGRAM);
        pacer.set_pace(start, Some(Bitrate::ZERO));
        assert_eq!((pacer.admits(start + 5_000 * MS, 0, usize::MAX), pacer.ready_at()), (0, None));
        pacer.set_pace(start + 5_000 * MS, Some(Bitrate::from_kbps(1_000)));
        let slow = pacer.ready_at().unwrap() - (start + 5_000 * MS);
        pacer.set_pace(start + 5_000 * MS, Some(Bitrate::from_kbps(10_000)));
        let fast = pacer.ready_at().unwrap() - (start + 5_000 * MS);
        assert!(fast < slow / 9, "{fast:?} after {slow:?}");
        // A debt at a high pace does not last longer at a low one.
        (0..1_000).for_each(|_| pacer.spend(start + 5_000 * MS, DATAGRAM));
        pacer.set_pace(start + 5_000 * MS, Some(Bitrate::from_kbps(100)));
        assert!(pacer.ready_at().unwrap() <= start + 5_000 * MS + MOST_DEBT + 110 * MS);
    }

    #[test]
    fn what_waits_at_the_end_leaves_in_half_a_second() {
        let start = Instant::now();
        for pace in [Bitrate::ZERO, Bitrate::from_kbps(300)] {
            let mut pacer = pacer(start, Some(pace));
            pacer.drain(start, 1_000);
            pacer.set_pace(start, Some(pace));
            assert!(greedy(&mut pacer, start, 502, MS) >= 1_000 * PACKET, "{pace}");
        }
        let mut pacer = pacer(start, Some(Bitrate::from_kbps(6_000)));
        pacer.drain(start, 10);
        let bytes = greedy(&mut pacer, start, 1_000, MS);
        assert!(bytes < 760_000, "a pace that suffices stays: {bytes}");
    }

    #[test]
    fn a_longer_header_uses_more_of_the_pace() {
        let start = Instant::now();
        let mut pacer = Pacer::new("[::1]:9000".parse().unwrap(), start);
        pacer.set_pace(start, Some(Bitrate::from_kbps(1_000)));
        assert_eq!(pacer.packet_bytes(), PACKET + 20);
    }

    proptest! {
        /// Whatever happens in whatever order, what is taken keeps to the highest pace and the depth.
        #[test]
        fn never_more_than_the_pace(
            events in proptest::collection::vec((0u8..4, 0u32..200, 1u64..20_000), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let fastest = Bitrate::from_kbps(20_000);
            let mut pacer = pacer(start, Some(fastest));
            let mut bytes = 0;
            for (kind, ms, kbps) in events {
                match kind {
                    0 => now += MS * ms,
                    1 => pacer.set_pace(now, Some(Bitrate::from_kbps(kbps))),
                    2 => pacer.spend(now - MS * ms.min((now - start).as_millis() as u32), DATAGRAM),
                    _ => {
                        let count = pacer.admits(now, ms as usize, usize::MAX).min(ms as usize);
                        prop_assert!(count <= 19);
                        (0..count).for_each(|_| pacer.spend(now, DATAGRAM));
                        bytes += count as u64 * PACKET;
                    }
                }
                prop_assert!(bytes <= (fastest * (now - start + DEPTH)).get() + PACKET);
                prop_assert!(pacer.tokens.is_finite());
                if let Some(at) = pacer.ready_at() {
                    prop_assert!(at <= now + MOST_DEBT + DRAIN_TIME * 1000);
                }
            }
        }
    }
}
