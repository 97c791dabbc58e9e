//! The sending side: `transport::srt`'s driver, reduced to what decides when a packet leaves.
//!
//! Kept of it: the window between hand-over and acknowledgement, pacing, the governor's rules for
//! retransmissions, TLPKTDROP, the probe of the tail, and what a measurement is made of. Left out:
//! everything about bytes on the wire but their number.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::receiver::{Data, Rtt};
use crate::link::Spec;
use crate::rate::LinkSample;
use crate::units::{Bitrate, ByteCount};

/// A caller's connection after its handshake, sending.
#[derive(Debug)]
pub struct Sender {
    latency: Duration,
    /// Of the handshake, when the receiver's clock was set.
    handshake: Duration,
    /// From the oldest that is neither acknowledged nor given up.
    packets: VecDeque<Packet>,
    oldest: u64,
    /// How many of them, from the oldest, have been sent.
    sent: usize,
    held: u64,
    /// Bytes of them that are known to have arrived all the same.
    early: u64,
    /// Given up, oldest first, and not passed by an acknowledgement yet; and their bytes.
    given_up: VecDeque<(u64, u16)>,
    given_up_bytes: u64,
    /// Numbers whose retransmission was granted; those that were acknowledged meanwhile are passed over.
    granted: VecDeque<u64>,
    /// Everything below has arrived or was reported missing.
    told_to: u64,
    pace: Bitrate,
    /// What may be in the network when another packet leaves for the first time.
    window: ByteCount,
    /// Bytes of packets that have not left.
    unsent: u64,
    free_at: Duration,
    /// The pace has kept a packet waiting since the last sample.
    held_back: bool,
    rtt: Rtt,
    /// Smallest of late, rising in time and value.
    shortest: VecDeque<(Duration, Duration)>,
    fresh_rtt: Option<Duration>,
    heard: Duration,
    /// Tokens for retransmissions, and when they were last filled.
    budget: (f64, Duration),
    budget_per_second: f64,
    probes: u32,
    active: Duration,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    captured: Duration,
    payload: u16,
    unit: u32,
    last_sent: Duration,
    retransmissions: u16,
    granted: bool,
    /// The receiver is known to have it.
    arrived: bool,
}

/// Since the start; bytes are payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub handed_over: u64,
    pub arrived: u64,
    pub sent: u64,
    pub retransmitted: u64,
    pub lost: u64,
    pub late: u64,
}

impl Sender {
    pub fn new(link: &Spec, latency: Duration, peak: Bitrate) -> Self {
        let handshake = 2 * link.delay + link.jitter;
        let per_second = (peak.as_bps() as f64 / 8.0 / PAYLOAD as f64).max(SMALLEST_BUDGET);
        Sender {
            latency,
            handshake,
            packets: VecDeque::new(),
            oldest: 0,
            sent: 0,
            held: 0,
            early: 0,
            given_up: VecDeque::new(),
            given_up_bytes: 0,
            granted: VecDeque::new(),
            told_to: 0,
            pace: peak,
            window: ByteCount::new(u64::MAX),
            unsent: 0,
            free_at: Duration::ZERO,
            held_back: false,
            rtt: Rtt { mean: handshake, variance: handshake / 2 },
            shortest: VecDeque::from([(Duration::ZERO, handshake)]),
            fresh_rtt: None,
            heard: Duration::ZERO,
            budget: (per_second, Duration::ZERO),
            budget_per_second: per_second,
            probes: 0,
            active: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// Hands over a unit of so many bytes of transport stream, in packets of 1316 and a shorter last
    /// one; how many.
    pub fn push(&mut self, captured: Duration, bytes: u64, unit: u32) -> usize {
        let before = self.packets.len();
        let mut left = bytes;
        while left > 0 {
            let payload = left.min(PAYLOAD);
            left -= payload;
            self.packets.push_back(Packet {
                captured,
                payload: payload as u16, // at most PAYLOAD
                unit,
                last_sent: Duration::ZERO,
                retransmissions: 0,
                granted: false,
                arrived: false,
            });
        }
        self.held += bytes;
        self.unsent += bytes;
        self.counters.handed_over += bytes;
        self.packets.len() - before
    }

    /// Bytes handed over and neither acknowledged nor given up.
    pub fn held(&self) -> ByteCount {
        ByteCount::new(self.held)
    }

    /// Handed over and not known to have arrived or to be gone; the given up included.
    pub fn in_network(&self) -> ByteCount {
        ByteCount::new(self.held - self.early + self.given_up_bytes)
    }

    /// At most so fast, and so much in the network when another packet leaves for the first time.
    pub fn allow(&mut self, pace: Bitrate, window: ByteCount) {
        self.pace = pace;
        self.window = window;
    }

    fn may_send_more(&self) -> bool {
        self.sent < self.packets.len() && self.in_network().get() - self.unsent < self.window.get()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When the next packet may leave.
    pub fn next(&self) -> Duration {
        let has_any = self.may_send_more() || !self.granted.is_empty();
        if has_any { self.free_at } else { Duration::MAX }
    }

    /// The packet that leaves now, if one may: repeated ones first.
    pub fn leave(&mut self, now: Duration) -> Option<Data> {
        if self.free_at > now {
            self.held_back |= self.next() < Duration::MAX;
            return None;
        }
        let (index, repeated) = self.choose()?;
        let number = self.oldest + index as u64;
        let in_flight = self.sent;
        let packet = &mut self.packets[index];
        packet.last_sent = now;
        packet.granted = false;
        let Packet { captured, payload, unit, .. } = *packet;
        if repeated {
            packet.retransmissions = packet.retransmissions.saturating_add(1);
            self.counters.retransmitted += 1;
        } else {
            self.sent += 1;
            self.unsent -= u64::from(payload);
            self.counters.sent += 1;
            self.probes = 0;
            self.active = now;
            if in_flight == 0 && self.given_up.is_empty() {
                self.heard = now;
            }
        }
        let wire = ByteCount::new(u64::from(payload) + WIRE_HEADERS);
        // What a timer was late with is made up for, up to BURST.
        self.free_at =
            self.free_at.max(now.saturating_sub(BURST)) + self.pace.time_for(wire).min(LONGEST_GAP);
        Some(Data { number, captured, payload, unit })
    }

    /// The place of the packet that is to leave next, and whether it is a repeated one.
    fn choose(&mut self) -> Option<(usize, bool)> {
        while let Some(number) = self.granted.pop_front() {
            if let Some(index) = number.checked_sub(self.oldest)
                && self.packets.get(index as usize).is_some_and(|packet| packet.granted)
            {
                return Some((index as usize, true));
            }
        }
        self.may_send_more().then_some((self.sent, false))
    }

    /// Everything before `edge` has arrived or was skipped by the receiver.
    pub fn acknowledge(&mut self, now: Duration, edge: u64, rtt: Option<Rtt>) {
        if let Some(rtt) = rtt {
            self.rtt = rtt;
            self.record_shortest(now, rtt.mean);
        }
        let is_news = self.passed(edge) || edge > self.oldest;
        if is_news {
            self.heard = now;
        }
        self.mend_overdue(now, edge);
        let count = edge.saturating_sub(self.oldest).min(self.sent as u64) as usize;
        if count == 0 {
            return;
        }
        let newest = self.packets[count - 1];
        // One that was known to have arrived waited for what was lost before it.
        if newest.retransmissions == 0 && !newest.arrived {
            self.record_fresh(now, newest.last_sent);
        }
        self.release(count);
        self.probes = 0;
        self.active = now;
    }

    /// The receiver lacks these; `fresh` is a gap that it has just noticed.
    pub fn report(&mut self, now: Duration, missing: &[RangeInclusive<u64>], fresh: bool) {
        for range in missing {
            for number in *range.start()..=*range.end() {
                self.counters.lost += u64::from(self.is_in_flight(number));
                self.mend(now, number);
            }
            if fresh {
                self.learn_around(now, range);
            }
        }
    }

    /// Whether anything that was given up comes before `edge`: it has arrived, or is gone.
    fn passed(&mut self, edge: u64) -> bool {
        let before = self.given_up.len();
        while let Some((_, payload)) = self.given_up.front().filter(|(number, _)| *number < edge) {
            self.given_up_bytes -= u64::from(*payload);
            self.given_up.pop_front();
        }
        self.given_up.len() < before
    }

    fn is_in_flight(&self, number: u64) -> bool {
        (self.oldest..self.oldest + self.sent as u64).contains(&number)
    }

    /// What came before and right after a fresh gap has arrived.
    fn learn_around(&mut self, now: Duration, gap: &RangeInclusive<u64>) {
        for number in self.told_to.max(self.oldest)..*gap.start() {
            self.mark_arrived(number);
        }
        let after = gap.end() + 1;
        if after >= self.told_to {
            self.heard = now;
        }
        self.mark_arrived(after);
        self.told_to = self.told_to.max(after + 1);
        let packet = after.checked_sub(self.oldest).and_then(|index| self.packets.get(index as usize));
        if let Some(packet) = packet.filter(|packet| packet.retransmissions == 0) {
            let sent = packet.last_sent;
            self.record_fresh(now, sent);
        }
    }

    fn mark_arrived(&mut self, number: u64) {
        let Some(index) = number.checked_sub(self.oldest) else { return };
        if let Some(packet) = self.packets.get_mut(index as usize)
            && !packet.arrived
        {
            packet.arrived = true;
            self.counters.arrived += u64::from(packet.payload);
            self.early += u64::from(packet.payload);
        }
    }

    /// The governor's rules: not what is under way, not what would be too late, not beyond the budget.
    fn mend(&mut self, now: Duration, number: u64) {
        let Some(index) = number.checked_sub(self.oldest).map(|index| index as usize) else { return };
        if index >= self.sent {
            return;
        }
        let base = self.base_rtt();
        let packet = &mut self.packets[index];
        let least = if packet.retransmissions == 0 { Duration::ZERO } else { base + SHORTEST_REPEAT };
        let early = self.rtt.mean.saturating_sub(4 * self.rtt.variance).max(least);
        let useful = packet.captured + self.latency + self.handshake + LATENESS_MARGIN;
        if packet.granted || now.saturating_sub(packet.last_sent) < early || now + self.rtt.mean > useful {
            return;
        }
        let (tokens, filled) = self.budget;
        let gained = (now - filled).as_secs_f64() * self.budget_per_second;
        let tokens = (tokens + gained).min(self.budget_per_second * BUDGET_DEPTH.as_secs_f64());
        self.budget = (tokens, now);
        if tokens < 1.0 {
            return;
        }
        self.budget.0 -= 1.0;
        packet.granted = true;
        self.granted.push_back(number);
    }

    /// An acknowledgement that stops at a repeated packet whose answer is overdue says that it was lost.
    fn mend_overdue(&mut self, now: Duration, edge: u64) {
        let index = edge.checked_sub(self.oldest).map(|index| index as usize);
        let late = self.rtt.mean + 4 * self.rtt.variance;
        let is_overdue = index.and_then(|index| self.packets.get(index)).is_some_and(|packet| {
            packet.retransmissions > 0 && !packet.granted && now >= packet.last_sent + late
        });
        if is_overdue {
            self.mend(now, edge);
        }
    }

    /// Gives up what is too late, and makes the receiver notice a lost tail.
    pub fn tend(&mut self, now: Duration) {
        let patience = (self.latency + self.latency / 4).max(LEAST_PATIENCE);
        let is_late = |packet: &&Packet| packet.captured + patience < now;
        let late = self.packets.iter().take(self.sent).take_while(is_late).count();
        if late > 0 {
            let skipped = self.packets.iter().take(late).filter(|packet| !packet.arrived).count();
            self.counters.late += skipped as u64;
            for (number, packet) in (self.oldest..).zip(self.packets.iter().take(late)) {
                if !packet.arrived {
                    self.given_up.push_back((number, packet.payload));
                    self.given_up_bytes += u64::from(packet.payload);
                }
            }
            self.release_unarrived(late);
        }
        self.probe(now);
    }

    fn probe(&mut self, now: Duration) {
        if self.sent < self.packets.len() || !self.granted.is_empty() {
            return;
        }
        let Some(index) = self.sent.checked_sub(1) else { return };
        let wait =
            (self.rtt.mean + 4 * self.rtt.variance + ACK_DELAY) * (1 << self.probes.min(MOST_DOUBLINGS));
        let newest = &mut self.packets[index];
        let useful = newest.captured + self.latency + self.handshake + LATENESS_MARGIN;
        if now >= newest.last_sent.max(self.active) + wait && now + self.rtt.mean <= useful {
            self.probes += 1;
            newest.granted = true;
            self.granted.push_back(self.oldest + index as u64);
        }
    }

    fn release(&mut self, count: usize) {
        for index in 0..count {
            self.mark_arrived(self.oldest + index as u64);
        }
        self.release_unarrived(count);
    }

    fn release_unarrived(&mut self, count: usize) {
        for packet in self.packets.drain(..count) {
            self.held -= u64::from(packet.payload);
            self.early -= if packet.arrived { u64::from(packet.payload) } else { 0 };
        }
        self.oldest += count as u64;
        self.sent -= count;
        self.told_to = self.told_to.max(self.oldest);
    }

    fn record_fresh(&mut self, now: Duration, sent: Duration) {
        let sample = now.saturating_sub(sent);
        self.fresh_rtt = Some(self.fresh_rtt.map_or(sample, |fresh| fresh.min(sample)));
        self.record_shortest(now, sample);
    }

    fn record_shortest(&mut self, now: Duration, sample: Duration) {
        while self.shortest.back().is_some_and(|(_, value)| *value >= sample) {
            self.shortest.pop_back();
        }
        self.shortest.push_back((now, sample));
        while self.shortest.len() > 1 && now.saturating_sub(self.shortest[0].0) > BASE_WINDOW {
            self.shortest.pop_front();
        }
    }

    fn base_rtt(&self) -> Duration {
        self.shortest.front().map_or(self.handshake, |(_, value)| *value)
    }

    /// The link's part of a sample; the queue's is the caller's.
    pub fn sample(&mut self, now: Duration) -> LinkSample {
        let since = |at: Duration| now.saturating_sub(at);
        let in_flight = self.packets.front().filter(|_| self.sent > 0);
        let counters = self.counters;
        let unsent = self.packets.range(self.sent..).map(|packet| u64::from(packet.payload)).sum();
        let unsent = ByteCount::new(unsent);
        let in_network = self.in_network().saturating_sub(unsent);
        LinkSample {
            at: now,
            latency: self.latency,
            rtt: self.rtt.mean,
            rtt_variance: self.rtt.variance,
            fresh_rtt: self.fresh_rtt.take(),
            base_rtt: self.base_rtt(),
            arrived: ByteCount::new(counters.handed_over).saturating_sub(unsent + in_network),
            handed_over: ByteCount::new(counters.handed_over),
            send_buffer: self.held().saturating_sub(unsent),
            in_network,
            waiting: unsent,
            oldest: self.packets.front().map_or(Duration::ZERO, |packet| since(packet.captured)),
            oldest_sent: in_flight.map_or(Duration::ZERO, |packet| since(packet.last_sent)),
            heard: if in_network > ByteCount::ZERO { since(self.heard) } else { Duration::ZERO },
            sent: counters.sent,
            retransmitted: counters.retransmitted,
            lost: counters.lost,
            late: counters.late,
            left_out: 0,
            limited_by_application: !std::mem::take(&mut self.held_back),
            encoded: None,
        }
    }
}

/// SRT's usual payload: seven TS packets.
pub const PAYLOAD: u64 = 1316;
/// SRT header, as a part of the UDP payload.
pub const SRT_HEADER: usize = 16;
/// SRT (16), UDP (8) and IPv4 (20) headers: what pacing counts beside the payload.
pub const WIRE_HEADERS: u64 = 44;
/// What the driver's timer may be late with and make up for.
const BURST: Duration = Duration::from_millis(1);
/// However slow the pace, the next packet leaves after this.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// `transport::srt::measurement`: what the smallest round trip is remembered for.
const BASE_WINDOW: Duration = Duration::from_secs(15);

// The governor's and the sender's constants, which `transport::srt` gives the reasons of.
const SHORTEST_REPEAT: Duration = Duration::from_millis(10);
const ACK_DELAY: Duration = Duration::from_millis(20);
const MOST_DOUBLINGS: u32 = 2;
const LATENESS_MARGIN: Duration = Duration::from_millis(20);
const BUDGET_DEPTH: Duration = Duration::from_secs(1);
const SMALLEST_BUDGET: f64 = 100.0;
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sender() -> Sender {
        let link = Spec { delay: 20 * MS, ..Spec::default() };
        Sender::new(&link, 500 * MS, Bitrate::from_kbps(10_880))
    }

    /// Everything that leaves by `until`, as numbers and times in ms.
    fn leave(sender: &mut Sender, until: Duration) -> Vec<(u64, u128)> {
        let mut left = Vec::new();
        while sender.next() <= until {
            let now = sender.next();
            left.extend(sender.leave(now).map(|data| (data.number, now.as_millis())));
        }
        left
    }

    #[test]
    fn a_unit_leaves_in_packets_at_the_pace() {
        let mut sender = sender();
        // 1360 bytes on the wire at 10.88 Mbit/s take a millisecond.
        assert_eq!(sender.push(Duration::ZERO, 3 * 1316 + 188, 0), 4);
        assert_eq!(leave(&mut sender, 100 * MS), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(sender.held(), ByteCount::new(3 * 1316 + 188));
    }

    #[test]
    fn losses_are_mended_first_and_not_twice_in_a_round_trip() {
        let mut sender = sender();
        sender.push(Duration::ZERO, 10 * 1316, 0);
        leave(&mut sender, 3 * MS);
        sender.acknowledge(45 * MS, 0, Some(Rtt { mean: 40 * MS, variance: MS }));
        sender.report(45 * MS, &[1..=2], true);
        assert_eq!(sender.leave(45 * MS).map(|data| data.number), Some(1));
        assert_eq!(sender.leave(46 * MS).map(|data| data.number), Some(2));
        assert_eq!(sender.leave(47 * MS).map(|data| data.number), Some(4));
        sender.report(60 * MS, &[1..=2], false);
        assert_eq!(sender.leave(60 * MS).map(|data| data.number), Some(5));
        let counters = sender.counters();
        assert_eq!((counters.retransmitted, counters.lost), (2, 4));
    }

    #[test]
    fn a_fresh_report_tells_of_what_came_around_it() {
        let mut sender = sender();
        sender.push(Duration::ZERO, 10 * 1316, 0);
        leave(&mut sender, 9 * MS);
        sender.report(50 * MS, &[3..=4], true);
        let sample = sender.sample(50 * MS);
        assert_eq!(sample.arrived, ByteCount::new(4 * 1316), "three before the gap, and one behind it");
        assert_eq!(sample.fresh_rtt, Some(45 * MS), "the one behind it was sent at 5 ms");
        sender.acknowledge(60 * MS, 10, None);
        let sample = sender.sample(60 * MS);
        assert_eq!((sample.arrived, sample.send_buffer), (ByteCount::new(13_160), ByteCount::ZERO));
        assert_eq!((sample.fresh_rtt, sample.heard), (Some(51 * MS), Duration::ZERO));
    }

    #[test]
    fn what_is_too_late_is_given_up() {
        let mut sender = sender();
        sender.push(Duration::ZERO, 2 * 1316, 0);
        leave(&mut sender, MS);
        sender.tend(1_000 * MS);
        assert_eq!(sender.counters().late, 0);
        sender.tend(1_001 * MS);
        assert_eq!((sender.counters().late, sender.held()), (2, ByteCount::ZERO));
    }
}
