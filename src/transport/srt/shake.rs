//! Handshake datagrams as plain values: read with every length checked, and written.
//!
//! ```text
//!   header (16)            control type 0, timestamp, destination socket
//!   fixed part (48)        version, encryption | flags, initial sequence number, MTU, flow window,
//!                          kind, socket, cookie, address
//!   extensions             type | words, content; any number of them
//! ```

use std::net::IpAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use srt_protocol::packet::{SeqNumber, SocketId};

use super::guard::{HANDSHAKE_BYTES, HEADER_BYTES, Rejection, be32};

/// One handshake datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shake<'a> {
    /// The sender's clock, in microseconds.
    pub timestamp: u32,
    /// Zero before the other side's socket is known.
    pub destination: SocketId,
    pub version: u32,
    /// The length of the sender's AES key in units of 8 bytes; zero where it does not say.
    pub encryption: u16,
    /// In an Induction's answer [`SRT_MAGIC`], otherwise which extensions there are.
    pub flags: u16,
    pub initial_sequence: SeqNumber,
    /// Bytes of an IP packet that the sender takes.
    pub mss: u32,
    /// Packets.
    pub flow_window: u32,
    pub kind: Kind,
    pub socket: SocketId,
    pub cookie: u32,
    /// For people only: nobody acts on it.
    pub address: Option<IpAddr>,
    pub extensions: &'a [u8],
}

/// The step of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a rendezvous.
    Waveahand,
    Induction,
    Conclusion,
    /// The last of a rendezvous.
    Agreement,
    /// SRT's rejection code, 1000 and above.
    Rejection(i32),
}

/// The extensions that mean something to us.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extensions<'a> {
    /// Of the initiator.
    pub request: Option<Greeting>,
    /// Of the responder.
    pub response: Option<Greeting>,
    pub key_request: Option<&'a [u8]>,
    /// The key material echoed, or one word that says why not.
    pub key_response: Option<&'a [u8]>,
    /// In the order of the wire, which turns each word round.
    pub stream_id: Option<&'a [u8]>,
    pub congestion: Option<&'a [u8]>,
    pub has_filter: bool,
    pub has_group: bool,
}

/// What a side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// `0x010502` is SRT 1.5.2.
    pub version: u32,
    pub flags: u32,
    /// At most 65 s. How long it wants to hold what it receives.
    pub receive_latency: Duration,
    /// At most 65 s. How long the other side is to hold what it sends.
    pub send_latency: Duration,
}

impl<'a> Shake<'a> {
    /// # Errors
    /// `Malformed` where a length or the kind is none of a handshake's, `Unwanted` for other control
    /// packets, `Data` for data.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Rejection> {
        let (header, body) = datagram.split_at_checked(HEADER_BYTES).ok_or(Rejection::Malformed)?;
        let first = be32(header, 0);
        if first & CONTROL == 0 {
            return Err(Rejection::Data);
        }
        if first != CONTROL {
            return Err(Rejection::Unwanted);
        }
        let (fixed, extensions) = body.split_at_checked(HANDSHAKE_BYTES).ok_or(Rejection::Malformed)?;
        let word = |index: usize| be32(fixed, index * 4);
        if word(2) & CONTROL != 0 {
            return Err(Rejection::Malformed);
        }
        Ok(Shake {
            timestamp: be32(header, 8),
            destination: SocketId(be32(header, 12)),
            version: word(0),
            encryption: (word(1) >> 16) as u16,
            flags: word(1) as u16,
            initial_sequence: SeqNumber::new_truncate(word(2)),
            mss: word(3),
            flow_window: word(4),
            kind: match word(5) as i32 {
                0 => Kind::Waveahand,
                1 => Kind::Induction,
                -1 => Kind::Conclusion,
                -2 => Kind::Agreement,
                code @ 1000.. => Kind::Rejection(code),
                _ => return Err(Rejection::Malformed),
            },
            socket: SocketId(word(6)),
            cookie: word(7),
            address: None,
            extensions,
        })
    }

    /// Replaces what `out` holds.
    pub fn write(&self, out: &mut BytesMut) {
        out.clear();
        let kind = match self.kind {
            Kind::Waveahand => 0,
            Kind::Induction => 1,
            Kind::Conclusion => -1,
            Kind::Agreement => -2,
            Kind::Rejection(code) => code,
        };
        let type_field = u32::from(self.encryption) << 16 | u32::from(self.flags);
        [CONTROL, 0, self.timestamp, self.destination.0].into_iter().for_each(|word| out.put_u32(word));
        [self.version, type_field, self.initial_sequence.as_raw(), self.mss, self.flow_window]
            .into_iter()
            .for_each(|word| out.put_u32(word));
        out.put_i32(kind);
        out.put_u32(self.socket.0);
        out.put_u32(self.cookie);
        out.put_slice(&address_field(self.address));
        out.put_slice(self.extensions);
    }

    /// # Errors
    /// `Malformed` where an extension's length is not what is there, or not its type's.
    pub fn extensions(&self) -> Result<Extensions<'a>, Rejection> {
        let mut found = Extensions::default();
        let mut rest = self.extensions;
        while let Some((head, behind)) = rest.split_at_checked(4) {
            let (kind, words) = ((be32(head, 0) >> 16) as u16, be32(head, 0) as u16);
            let (content, next) =
                behind.split_at_checked(usize::from(words) * 4).ok_or(Rejection::Malformed)?;
            match kind {
                EXTENSION_HSREQ => found.request = Some(Greeting::read(content)?),
                EXTENSION_HSRSP => found.response = Some(Greeting::read(content)?),
                EXTENSION_KMREQ => found.key_request = Some(content),
                EXTENSION_KMRSP => found.key_response = Some(content),
                EXTENSION_SID => found.stream_id = Some(content),
                EXTENSION_CONGESTION => found.congestion = Some(content),
                EXTENSION_FILTER => found.has_filter = true,
                EXTENSION_GROUP => found.has_group = true,
                _ => {} // of a later SRT: what is not answered is not used
            }
            rest = next;
        }
        if rest.is_empty() { Ok(found) } else { Err(Rejection::Malformed) }
    }
}

impl Greeting {
    fn read(content: &[u8]) -> Result<Self, Rejection> {
        let content: &[u8; 12] = content.first_chunk().ok_or(Rejection::Malformed)?;
        let latencies = be32(content, 8);
        let latency = |millis: u32| Duration::from_millis(millis.into());
        Ok(Greeting {
            version: be32(content, 0),
            flags: be32(content, 4),
            receive_latency: latency(latencies >> 16),
            send_latency: latency(latencies & 0xffff),
        })
    }

    /// Appends it as an extension.
    pub fn write(&self, kind: u16, out: &mut Vec<u8>) {
        let millis = |latency: Duration| u16::try_from(latency.as_millis()).unwrap_or(u16::MAX);
        let latencies = u32::from(millis(self.receive_latency)) << 16 | u32::from(millis(self.send_latency));
        let words = [self.version, self.flags, latencies];
        write_extension(kind, &words.map(u32::to_be_bytes).concat(), out);
    }
}

/// Writes a handshake datagram anew, with the time of now: receivers set their clock by it.
pub fn write_again(datagram: &[u8], timestamp: u32, out: &mut BytesMut) {
    out.clear();
    out.put_slice(datagram);
    out[TIMESTAMP..TIMESTAMP + 4].copy_from_slice(&timestamp.to_be_bytes());
}

/// Appends an extension. `content` is whole words.
pub fn write_extension(kind: u16, content: &[u8], out: &mut Vec<u8>) {
    // The cast is exact: no content of ours is longer than the key material's 104 bytes.
    let head = u32::from(kind) << 16 | (content.len() / 4) as u32;
    out.extend_from_slice(&head.to_be_bytes());
    out.extend_from_slice(content);
}

/// A text of an extension, whose words are turned round and padded with zeros.
pub fn text(content: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = content.chunks(4).flat_map(|word| word.iter().rev()).copied().collect();
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(end);
    text
}

/// libsrt writes the words of an address in its machine's order, which is the little-endian one.
fn address_field(address: Option<IpAddr>) -> [u8; 16] {
    let mut field = [0; 16];
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => field[..4].copy_from_slice(&address.octets()),
        Some(IpAddr::V6(address)) => field = address.octets(),
        None => {}
    }
    field.chunks_mut(4).for_each(<[u8]>::reverse);
    field
}

/// Where the timestamp stands.
const TIMESTAMP: usize = 8;
/// The first word of every handshake datagram: a control packet of type 0.
const CONTROL: u32 = 0x8000_0000;
/// Handshakes with extensions.
pub const VERSION_5: u32 = 5;
/// In the flags of an SRT listener's Induction.
pub const SRT_MAGIC: u16 = 0x4A17;

/// Which extensions a Conclusion has.
pub const HAS_GREETING: u16 = 1;
pub const HAS_KEY: u16 = 2;

pub const EXTENSION_HSREQ: u16 = 1;
pub const EXTENSION_HSRSP: u16 = 2;
pub const EXTENSION_KMREQ: u16 = 3;
pub const EXTENSION_KMRSP: u16 = 4;
const EXTENSION_SID: u16 = 5;
const EXTENSION_CONGESTION: u16 = 6;
const EXTENSION_FILTER: u16 = 7;
const EXTENSION_GROUP: u16 = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREETING: Greeting = Greeting {
        version: 0x01_05_01,
        flags: 0xbf,
        receive_latency: Duration::from_millis(700),
        send_latency: Duration::from_millis(120),
    };

    fn shake(kind: Kind, extensions: &[u8]) -> Shake<'_> {
        Shake {
            timestamp: 77,
            destination: SocketId(3),
            version: VERSION_5,
            encryption: 2,
            flags: HAS_GREETING | HAS_KEY,
            initial_sequence: SeqNumber::new_truncate(99),
            mss: 1500,
            flow_window: 8192,
            kind,
            socket: SocketId(4),
            cookie: 0xdead_beef,
            address: None,
            extensions,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut extensions = Vec::new();
        GREETING.write(EXTENSION_HSREQ, &mut extensions);
        write_extension(EXTENSION_KMREQ, &[7; 8], &mut extensions);
        write_extension(99, &[], &mut extensions);
        for kind in
            [Kind::Waveahand, Kind::Induction, Kind::Conclusion, Kind::Agreement, Kind::Rejection(1010)]
        {
            let mut out = BytesMut::new();
            shake(kind, &extensions).write(&mut out);
            let read = Shake::read(&out).unwrap();
            assert_eq!(read, shake(kind, &extensions));
            let found = read.extensions().unwrap();
            assert_eq!((found.request, found.response), (Some(GREETING), None));
            assert_eq!(found.key_request, Some(&[7; 8][..]));
        }
    }

    #[test]
    fn a_stream_id_has_its_words_turned_round() {
        assert_eq!(text(b"!#:: =rv"), b"::#!vr= ");
        assert_eq!(text(b"evil\0\0\0n"), b"liven");
        assert_eq!(text(b""), b"");
    }

    #[test]
    fn an_address_stands_as_libsrt_writes_it() {
        let mut out = BytesMut::new();
        let address = Some("::ffff:192.0.2.1".parse().unwrap());
        Shake { address, ..shake(Kind::Induction, &[]) }.write(&mut out);
        assert_eq!(out[HEADER_BYTES + 32..], [&[1, 2, 0, 192][..], &[0; 12]].concat());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            plausible: bool,
            kind in prop::sample::select(vec![0i32, 1, -1, -2, 1010]),
        ) {
            if plausible && bytes.len() >= 40 {
                bytes[..4].copy_from_slice(&CONTROL.to_be_bytes());
                bytes[24] &= 0x7f;
                bytes[36..40].copy_from_slice(&kind.to_be_bytes());
            }
            if let Ok(shake) = Shake::read(&bytes) {
                let mut out = BytesMut::new();
                shake.write(&mut out);
                let again = Shake::read(&out).unwrap();
                prop_assert_eq!(again, shake);
                prop_assert_eq!(again.extensions(), shake.extensions());
            }
        }
    }
}
