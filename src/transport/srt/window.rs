//! The packets between hand-over and acknowledgement, one entry each, oldest first.
//!
//! A mirror of `srt-protocol`'s send buffer that can be looked into: it decides which sequence
//! numbers of the peer make sense, knows when each packet was last sent, and how old the oldest is.

use std::collections::VecDeque;
use std::time::Instant;

use srt_protocol::packet::SeqNumber;

use super::measurement::Traffic;
use crate::units::ByteCount;

/// ```text
///    oldest                               next_unsent         next
///      │◀─────────── in flight ────────────▶│◀── waiting ──▶│
///  ────┴────────────────────────────────────┴───────────────┴────▶ sequence numbers
/// ```
#[derive(Debug)]
pub struct Window {
    oldest: SeqNumber,
    packets: VecDeque<Packet>,
    /// How many of them, from the oldest, have been sent at least once.
    sent: usize,
    /// How many have a retransmission granted and not yet done.
    granted: usize,
    /// How many of them, from the oldest, the peer has received or knows to be lost.
    noticed: usize,
    /// Given up by us, oldest first, and not passed by an acknowledgement yet; bounded by [`MOST_GIVEN_UP`].
    given_up: VecDeque<(SeqNumber, ByteCount)>,
    given_up_bytes: ByteCount,
    /// Sent and not known to have arrived, of those that were not given up.
    unknown: ByteCount,
    held: Traffic,
}

/// What is remembered of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The time that its timestamp stands for.
    pub captured: Instant,
    pub handed_over: Instant,
    pub payload: ByteCount,
    /// None before the first transmission.
    pub last_sent: Option<Instant>,
    pub retransmissions: u32,
    /// A retransmission was granted and not yet done.
    pub granted: bool,
    /// The peer has reported its last transmission lost.
    pub missing: bool,
    /// The peer has reported it lost, if only once: only an acknowledgement says that it is there.
    pub reported: bool,
    /// The peer has received it, and cannot acknowledge it yet for one before it.
    pub arrived: bool,
}

/// What an acknowledgement or a drop has taken out of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub arrived: Traffic,
    /// Those of the arrived of which that was not known before.
    pub news: Traffic,
    /// Last known to be missing: acknowledged all the same, they were skipped by the receiver.
    pub missing: Traffic,
}

/// Where a sequence number of the peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Already acknowledged or given up, not long ago: the peer could not know.
    Passed,
    /// So many places after the oldest packet in flight; the number after the newest counts as well.
    InFlight(usize),
    /// Never sent, or long gone.
    Outside,
}

impl Window {
    pub fn new(initial: SeqNumber) -> Self {
        Window {
            oldest: initial,
            packets: VecDeque::new(),
            sent: 0,
            granted: 0,
            noticed: 0,
            given_up: VecDeque::new(),
            given_up_bytes: ByteCount::ZERO,
            unknown: ByteCount::ZERO,
            held: Traffic::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.packets.len()
    }

    pub fn held(&self) -> Traffic {
        self.held
    }

    pub fn in_flight(&self) -> usize {
        self.sent
    }

    pub fn waiting(&self) -> usize {
        self.packets.len() - self.sent
    }

    pub fn granted(&self) -> usize {
        self.granted
    }

    pub fn oldest(&self) -> Option<&Packet> {
        self.packets.front()
    }

    /// The sequence number that lies so many places after the oldest.
    pub fn sequence(&self, index: usize) -> SeqNumber {
        // The cast is exact: a window is bounded far below 2^31 packets.
        self.oldest + index as u32
    }

    /// The newest packet that was sent, and its place.
    pub fn newest_in_flight(&self) -> Option<(usize, &Packet)> {
        let index = self.sent.checked_sub(1)?;
        Some((index, &self.packets[index]))
    }

    pub fn packet(&self, index: usize) -> Option<&Packet> {
        self.packets.get(index)
    }

    /// How many packets, from the oldest, the peer has received or knows to be lost.
    pub fn noticed(&self) -> usize {
        self.noticed
    }

    /// Where a sequence number lies that came from the peer.
    pub fn place(&self, number: SeqNumber) -> Place {
        let ahead = number - self.oldest;
        let behind = self.oldest - number;
        if ahead as usize <= self.sent {
            Place::InFlight(ahead as usize)
        } else if behind <= REMEMBERED {
            Place::Passed
        } else {
            Place::Outside
        }
    }

    /// A packet was handed over.
    pub fn push(&mut self, captured: Instant, now: Instant, payload: ByteCount) {
        self.held.add(payload);
        self.packets.push_back(Packet {
            captured,
            handed_over: now,
            payload,
            last_sent: None,
            retransmissions: 0,
            granted: false,
            missing: false,
            reported: false,
            arrived: false,
        });
    }

    /// The next waiting packet was sent for the first time; its payload.
    pub fn first_transmission(&mut self, now: Instant) -> ByteCount {
        let packet = &mut self.packets[self.sent];
        packet.last_sent = Some(now);
        self.sent += 1;
        self.unknown += packet.payload;
        packet.payload
    }

    /// The peer has reported a packet in flight lost.
    pub fn report(&mut self, index: usize) -> &Packet {
        let packet = &mut self.packets[index];
        packet.reported = true;
        packet
    }

    /// It will not be sent again.
    pub fn leave_missing(&mut self, index: usize) {
        self.packets[index].missing = true;
    }

    /// The peer has received the packet at `index`: those before it that it has not reported lost have
    /// arrived as well. What was not known before; each packet counts once.
    pub fn arrived_up_to(&mut self, index: usize) -> Traffic {
        let mut news = Traffic::default();
        let seen = (index + 1).min(self.sent);
        for packet in self.packets.range_mut(self.noticed.min(seen)..seen) {
            packet.arrived = !packet.reported;
            if packet.arrived {
                news.add(packet.payload);
            }
        }
        self.noticed = self.noticed.max(seen);
        self.unknown = self.unknown - news.bytes;
        news
    }

    /// Allows one retransmission of a packet in flight.
    pub fn grant(&mut self, index: usize) {
        let packet = &mut self.packets[index];
        if !packet.granted {
            packet.granted = true;
            self.granted += 1;
        }
    }

    /// Uses up the grant of a packet that is about to leave again; its payload, or None without a grant.
    pub fn retransmission(&mut self, number: SeqNumber, now: Instant) -> Option<ByteCount> {
        let index = (number - self.oldest) as usize;
        let packet = self.packets.get_mut(index).filter(|packet| packet.granted)?;
        packet.granted = false;
        packet.missing = false;
        packet.last_sent = Some(now);
        packet.retransmissions += 1;
        self.granted -= 1;
        Some(packet.payload)
    }

    /// Removes that many packets in flight, the oldest first; what was in them.
    pub fn release(&mut self, count: usize) -> Released {
        let mut released = Released::default();
        for packet in self.packets.drain(..count) {
            if !packet.arrived {
                self.unknown = self.unknown - packet.payload;
            }
            if packet.missing {
                released.missing.add(packet.payload);
            } else {
                released.arrived.add(packet.payload);
                if !packet.arrived {
                    released.news.add(packet.payload);
                }
            }
            self.held.take(packet.payload);
            self.granted -= usize::from(packet.granted);
        }
        self.sent -= count;
        self.noticed = self.noticed.saturating_sub(count);
        self.oldest += count as u32;
        released
    }

    /// As [`release`](Self::release), of packets that are given up: the network may hold them still.
    pub fn give_up(&mut self, count: usize) -> Released {
        for (index, packet) in self.packets.range(..count).enumerate() {
            if !packet.arrived {
                self.given_up.push_back((self.oldest + index as u32, packet.payload));
                self.given_up_bytes += packet.payload;
            }
        }
        while self.given_up.len() > MOST_GIVEN_UP {
            self.forget_given_up();
        }
        self.release(count)
    }

    /// The peer wants `number` next: what was given up before it has arrived or is gone. Whether
    /// there was any.
    pub fn passed(&mut self, number: SeqNumber) -> bool {
        let before = self.given_up.len();
        // Of two numbers less than half the space apart the difference tells which comes first.
        while self.given_up.front().is_some_and(|(given_up, _)| (1..HALF).contains(&(number - *given_up))) {
            self.forget_given_up();
        }
        self.given_up.len() < before
    }

    /// The peer lacks what was given up between these two: it is gone. Whether there was any.
    pub fn lost_for_good(&mut self, first: SeqNumber, last: SeqNumber) -> bool {
        let before = self.given_up.len();
        self.given_up.retain(|(number, _)| *number - first > last - first);
        self.given_up_bytes = self.given_up.iter().map(|(_, payload)| *payload).sum();
        self.given_up.len() < before
    }

    /// Sent and not known to have arrived, or to be gone; the given up included.
    pub fn in_network(&self) -> ByteCount {
        self.unknown + self.given_up_bytes
    }

    fn forget_given_up(&mut self) {
        if let Some((_, payload)) = self.given_up.pop_front() {
            self.given_up_bytes = self.given_up_bytes - payload;
        }
    }
}

/// Sequence numbers have 31 bits.
const HALF: u32 = 1 << 30;

/// Five megabytes in the network: whatever queues there are, no more fits. The oldest are forgotten.
const MOST_GIVEN_UP: usize = 4096;

/// How far behind the oldest packet a late or repeated report may point without being called forged:
/// more than what the largest window releases while a report is under way.
const REMEMBERED: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window_of(initial: u32, packets: usize, sent: usize) -> (Window, Instant) {
        let now = Instant::now();
        let mut window = Window::new(SeqNumber(initial));
        (0..packets).for_each(|_| window.push(now, now, ByteCount::new(1316)));
        (0..sent).for_each(|_| assert_eq!(window.first_transmission(now), ByteCount::new(1316)));
        (window, now)
    }

    #[test]
    fn places_are_told_apart_across_the_wrap() {
        let last = 0x7fff_ffff;
        let (window, _) = window_of(last - 1, 10, 6);
        assert_eq!(window.place(SeqNumber(last - 1)), Place::InFlight(0));
        assert_eq!(window.place(SeqNumber(2)), Place::InFlight(4));
        assert_eq!(window.place(SeqNumber(4)), Place::InFlight(6), "one past the newest: all arrived");
        assert_eq!(window.place(SeqNumber(5)), Place::Outside, "waiting, never sent");
        assert_eq!(window.place(SeqNumber(last - 2)), Place::Passed);
        assert_eq!(window.place(SeqNumber(0x4000_0000)), Place::Outside);
    }

    #[test]
    fn a_grant_is_good_for_one_retransmission() {
        let (mut window, now) = window_of(100, 4, 3);
        assert_eq!(window.retransmission(SeqNumber(101), now), None);
        window.grant(1);
        window.grant(1);
        assert_eq!(window.granted(), 1);
        assert!(window.retransmission(SeqNumber(101), now).is_some());
        assert_eq!(window.retransmission(SeqNumber(101), now), None);
        window.grant(0);
        window.leave_missing(0);
        let released = window.release(2);
        assert_eq!((released.arrived.packets, released.missing.packets), (1, 1));
        assert_eq!((window.granted(), window.len(), window.in_flight()), (0, 2, 1));
    }

    #[test]
    fn what_a_report_of_a_loss_proves_counts_once() {
        let (mut window, now) = window_of(100, 10, 9);
        // 103 is lost, 104 has arrived.
        window.report(3);
        assert_eq!(window.arrived_up_to(4).packets, 4, "100 to 102, and 104");
        assert_eq!(window.arrived_up_to(4).packets, 0);
        // 107 as well, by a report that overtook another, of 105 and 106.
        window.report(7);
        assert_eq!(window.arrived_up_to(20).packets, 3, "105, 106 and 108, as far as anybody knows");
        window.report(5);
        assert_eq!((window.arrived_up_to(2).packets, window.noticed()), (0, 9));
        // 103 is mended, and everything below 107 acknowledged.
        window.grant(3);
        window.retransmission(SeqNumber(103), now);
        let released = window.release(7);
        assert_eq!((released.arrived.packets, released.news.packets), (7, 1));
        assert_eq!(window.noticed(), 2);
        window.first_transmission(now);
        assert_eq!(window.arrived_up_to(2).packets, 1, "the next one starts where the last one ended");
    }

    proptest! {
        #[test]
        fn the_sums_hold(steps in proptest::collection::vec((0u8..6, 0usize..6), 0..200)) {
            let now = Instant::now();
            let mut window = Window::new(SeqNumber(0x7fff_fff0));
            let (mut sent, mut arrived) = (0, 0);
            for (kind, amount) in steps {
                match kind {
                    0 => window.push(now, now, ByteCount::new(188 * amount as u64)),
                    1 if window.waiting() > 0 => {
                        window.first_transmission(now);
                        sent += 1;
                    }
                    2 if amount < window.in_flight() => window.grant(amount),
                    3 if amount < window.in_flight() => { window.report(amount); }
                    4 => arrived += window.arrived_up_to(amount).packets,
                    _ => arrived += window.release(amount.min(window.in_flight())).news.packets,
                }
                let known = (0..window.in_flight()).filter(|index| window.packet(*index).unwrap().arrived);
                let acknowledged = sent - window.in_flight() as u64;
                prop_assert_eq!(arrived, acknowledged + known.count() as u64);
                let in_flight = (0..window.in_flight()).map(|index| window.packet(index).unwrap());
                let unknown = in_flight.filter(|packet| !packet.arrived).map(|packet| packet.payload).sum();
                prop_assert_eq!(window.in_network(), unknown);
                prop_assert!(window.noticed() <= window.in_flight());
                let packets = (0..window.len()).map(|index| window.packet(index).unwrap());
                prop_assert_eq!(window.held().bytes, packets.clone().map(|packet| packet.payload).sum());
                prop_assert_eq!(window.held().packets as usize, window.len());
                prop_assert_eq!(window.granted(), packets.filter(|packet| packet.granted).count());
            }
        }
    }
}
