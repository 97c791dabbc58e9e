//! What the first 16 bytes of an SRT packet tell a bystander (draft-sharabayko-srt-01, section 3).

use std::ops::Add;

/// SRT packets seen in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrtPackets {
    pub data: u64,
    /// Data packets that carry the mark of a retransmission.
    pub retransmitted: u64,
    /// Data packets with a sequence number not seen before: what the sender's user sent.
    pub unique: u64,
    pub control: u64,
}

impl Add for SrtPackets {
    type Output = SrtPackets;

    fn add(self, other: SrtPackets) -> SrtPackets {
        SrtPackets {
            data: self.data + other.data,
            retransmitted: self.retransmitted + other.retransmitted,
            unique: self.unique + other.unique,
            control: self.control + other.control,
        }
    }
}

/// Counts SRT packets, and remembers which sequence numbers it has seen.
#[derive(Debug)]
pub(super) struct SrtCounter {
    packets: SrtPackets,
    /// The last sequence number seen of each remainder; a [`SEEN`] numbers wide window.
    seen: Box<[Option<u32>]>,
    last_destination: Option<u32>,
}

impl Default for SrtCounter {
    fn default() -> Self {
        SrtCounter {
            packets: SrtPackets::default(),
            seen: vec![None; SEEN].into_boxed_slice(),
            last_destination: None,
        }
    }
}

impl SrtCounter {
    /// Looks at a datagram; one too short for an SRT header is not counted.
    pub fn see(&mut self, datagram: &[u8]) {
        let Some(header) = datagram.first_chunk::<HEADER_BYTES>() else { return };
        let word = |index: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[4 * index + byte]));
        // Zero is the destination of a handshake, before the peer's id is known.
        if word(3) != 0 {
            self.last_destination = Some(word(3));
        }
        let first = word(0);
        if first & CONTROL_FLAG != 0 {
            self.packets.control += 1;
            return;
        }
        self.packets.data += 1;
        if word(1) & RETRANSMITTED_FLAG != 0 {
            self.packets.retransmitted += 1;
        }
        let slot = &mut self.seen[first as usize % SEEN];
        if *slot != Some(first) {
            *slot = Some(first);
            self.packets.unique += 1;
        }
    }

    pub fn packets(&self) -> SrtPackets {
        self.packets
    }

    /// The SRT socket id that a packet was last addressed to.
    pub fn last_destination(&self) -> Option<u32> {
        self.last_destination
    }
}

const HEADER_BYTES: usize = 16;
/// F, the first bit of a packet.
const CONTROL_FLAG: u32 = 1 << 31;
/// R, in the word of the message number.
const RETRANSMITTED_FLAG: u32 = 1 << 26;
/// Sequence numbers remembered: a minute at 12 Mbit/s, far beyond any retransmission.
const SEEN: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sequence: u32, retransmitted: bool) -> Vec<u8> {
        let message = 0xc000_0001 | if retransmitted { RETRANSMITTED_FLAG } else { 0 };
        [sequence, message, 0, 77].iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn tells_data_retransmissions_and_control_apart() {
        let mut counter = SrtCounter::default();
        counter.see(&data(5, false));
        counter.see(&data(6, false));
        counter.see(&data(5, true));
        counter.see(&data(7, true)); // Its first transmission was lost before it got here.
        counter.see(&[0x80, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        counter.see(&[0; 15]);
        assert_eq!(counter.packets(), SrtPackets { data: 4, retransmitted: 2, unique: 3, control: 1 });
        assert_eq!(counter.last_destination(), Some(77));
    }

    #[test]
    fn a_number_counts_as_new_again_when_the_numbers_have_gone_round() {
        let mut counter = SrtCounter::default();
        for sequence in [1, 1 + SEEN as u32, 1] {
            counter.see(&data(sequence, false));
        }
        assert_eq!(counter.packets().unique, 3);
    }
}
