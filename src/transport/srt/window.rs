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
}

/// What an acknowledgement or a drop has taken out of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub arrived: Traffic,
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
        Window { oldest: initial, packets: VecDeque::new(), sent: 0, granted: 0, held: Traffic::default() }
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
        });
    }

    /// The next waiting packet was sent for the first time; its payload.
    pub fn first_transmission(&mut self, now: Instant) -> ByteCount {
        let packet = &mut self.packets[self.sent];
        packet.last_sent = Some(now);
        self.sent += 1;
        packet.payload
    }

    /// The peer reports the last transmission of a packet in flight lost.
    pub fn report_missing(&mut self, index: usize) {
        self.packets[index].missing = true;
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
            let kind = if packet.missing { &mut released.missing } else { &mut released.arrived };
            kind.add(packet.payload);
            self.held.take(packet.payload);
            self.granted -= usize::from(packet.granted);
        }
        self.sent -= count;
        self.oldest += count as u32;
        released
    }
}

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
        window.report_missing(0);
        let released = window.release(2);
        assert_eq!((released.arrived.packets, released.missing.packets), (1, 1));
        assert_eq!((window.granted(), window.len(), window.in_flight()), (0, 2, 1));
    }

    proptest! {
        #[test]
        fn the_sums_hold(steps in proptest::collection::vec((0u8..4, 0usize..6), 0..200)) {
            let now = Instant::now();
            let mut window = Window::new(SeqNumber(0x7fff_fff0));
            for (kind, amount) in steps {
                match kind {
                    0 => window.push(now, now, ByteCount::new(188 * amount as u64)),
                    1 if window.waiting() > 0 => { window.first_transmission(now); }
                    2 if amount < window.in_flight() => window.grant(amount),
                    _ => { window.release(amount.min(window.in_flight())); }
                }
                let packets = (0..window.len()).map(|index| window.packet(index).unwrap());
                prop_assert_eq!(window.held().bytes, packets.clone().map(|packet| packet.payload).sum());
                prop_assert_eq!(window.held().packets as usize, window.len());
                prop_assert_eq!(window.granted(), packets.filter(|packet| packet.granted).count());
            }
        }
    }
}
