//! The guard between the network and `srt-protocol`: which datagrams mean something to a caller that sends.
//!
//! `srt-protocol` 0.4.4 panics or spins on datagrams that anybody can forge: `todo!()` at a
//! CongestionWarning or PeerError, a read past the end at an SRT extension without a body, an
//! assertion at an unterminated NAK range, seconds of work at the range 1..0x7ffffff0. So no
//! datagram from the network reaches its parser. [`admit`] reads the few shapes that a sender needs
//! into plain values; everything else is counted by its reason and forgotten. Whether a *value* makes
//! sense now (a sequence number that was sent, and is not yet acknowledged) is [`Window`]'s to say.
//!
//! [`Window`]: super::window::Window

use std::time::Duration;

use srt_protocol::packet::{SeqNumber, SocketId};

use super::measurement::Rtt;
use super::shake::{EXTENSION_KMRSP, Greeting, Kind, SRT_MAGIC, Shake, VERSION_5};

/// A datagram of an established connection that a sender can act on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival<'a> {
    KeepAlive,
    Shutdown,
    Ack(Ack),
    Nak(LossList<'a>),
    /// The answer to our key refresh: the key material echoed, or a status word.
    KeyResponse(&'a [u8]),
    /// The peer repeats its side of the handshake: it has heard ours twice, or not at all.
    HandshakeRepeat,
}

/// Everything before `number` has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ack {
    pub number: SeqNumber,
    /// The peer's clock, in microseconds, when it was sent.
    pub timestamp: u32,
    /// Of a full acknowledgement: the number that an ACK2 answers.
    pub full: Option<u32>,
    pub report: Option<AckReport>,
}

/// What the receiver says of itself in a full or small acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AckReport {
    /// None while the receiver has not measured it and sends its built-in first guess.
    pub rtt: Option<Rtt>,
    /// Free packets in its buffer.
    pub buffer: u32,
    /// Bytes a second that it receives, UDP and SRT headers included.
    pub bytes_per_second: Option<u32>,
}

/// The ranges of a NAK. Every range has its end; nothing else is promised about the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossList<'a>(&'a [u8]);

impl LossList<'_> {
    /// First and last sequence number of each range, in the order of the datagram.
    pub fn ranges(&self) -> impl Iterator<Item = (SeqNumber, SeqNumber)> + '_ {
        let mut words = self.0.chunks_exact(4).map(|word| be32(word, 0));
        std::iter::from_fn(move || {
            let first = words.next()?;
            let last = if first & TOP_BIT == 0 { first } else { words.next()? };
            Some((SeqNumber::new_truncate(first & !TOP_BIT), SeqNumber::new_truncate(last)))
        })
    }
}

/// A listener's answer during the handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply<'a> {
    /// The cookie that our Conclusion has to carry.
    Induction {
        cookie: i32,
        mss: u32,
        flow_window: u32,
        socket: SocketId,
    },
    Conclusion(Conclusion<'a>),
    /// SRT's rejection code, 1000 and above.
    Rejection(i32),
}

/// The listener takes us.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conclusion<'a> {
    pub socket: SocketId,
    pub initial_sequence: SeqNumber,
    /// Bytes of an IP packet that the peer takes.
    pub mss: u32,
    /// Packets.
    pub flow_window: u32,
    pub greeting: Greeting,
    pub key: KeyReply<'a>,
}

/// What a Conclusion says about the key that we proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyReply<'a> {
    Absent,
    /// libsrt's `SRT_KM_STATE`: the peer could not use the key.
    Status(u32),
    Echo(&'a [u8]),
}

impl<'a> KeyReply<'a> {
    pub fn read(response: Option<&'a [u8]>) -> Self {
        match response {
            None => KeyReply::Absent,
            // libsrt sends the small number in its own machine's byte order.
            Some(&[a, b, c, d]) => {
                let status = u32::from_be_bytes([a, b, c, d]);
                KeyReply::Status(status.min(status.swap_bytes()))
            }
            Some(key) => KeyReply::Echo(key),
        }
    }
}

/// Why a datagram was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Too short for its header or its type, or with a length or a value that its type cannot have.
    Malformed,
    /// For another SRT socket.
    WrongSocket,
    /// Data: we send, the peer has nothing to send us.
    Data,
    /// A control type that a sender never needs.
    Unwanted,
    /// A sequence number that was never sent, or is long acknowledged.
    OutsideWindow,
    /// A call from an address that did not hear our answer.
    Forged,
    /// More calls than there is time to judge.
    TooOften,
}

impl Rejection {
    /// All reasons, in the order of [`Rejections`].
    pub const ALL: [Rejection; 7] = [
        Rejection::Malformed,
        Rejection::WrongSocket,
        Rejection::Data,
        Rejection::Unwanted,
        Rejection::OutsideWindow,
        Rejection::Forged,
        Rejection::TooOften,
    ];
}

/// How many datagrams were not let in, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections([u64; Rejection::ALL.len()]);

impl Rejections {
    pub fn count(&mut self, reason: Rejection) {
        self.0[reason as usize] += 1;
    }

    pub fn of(&self, reason: Rejection) -> u64 {
        self.0[reason as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Reads a datagram of an established connection whose own socket id is `local`.
pub fn admit(datagram: &[u8], local: SocketId) -> Result<Arrival<'_>, Rejection> {
    // A caller's Conclusion is for nobody: it does not know us until it is answered.
    if let Ok(Shake { destination: NOBODY, kind: Kind::Conclusion, .. }) = Shake::read(datagram) {
        return Ok(Arrival::HandshakeRepeat);
    }
    let (header, body) = control(datagram, local)?;
    match header.kind {
        CONTROL_HANDSHAKE => match Shake::read(datagram)?.kind {
            Kind::Conclusion => Ok(Arrival::HandshakeRepeat),
            Kind::Agreement => Ok(Arrival::KeepAlive),
            Kind::Waveahand | Kind::Induction | Kind::Rejection(_) => Err(Rejection::Unwanted),
        },
        CONTROL_KEEP_ALIVE => Ok(Arrival::KeepAlive),
        CONTROL_ACK => acknowledgement(&header, body).map(Arrival::Ack),
        CONTROL_NAK => loss_list(body).map(Arrival::Nak),
        CONTROL_SHUTDOWN => Ok(Arrival::Shutdown),
        CONTROL_EXTENSION if header.subtype == EXTENSION_KMRSP => Ok(Arrival::KeyResponse(body)),
        _ => Err(Rejection::Unwanted),
    }
}

/// Reads a datagram that arrives during the handshake of the caller whose socket id is `local`.
pub fn admit_reply(datagram: &[u8], local: SocketId) -> Result<Reply<'_>, Rejection> {
    let shake = Shake::read(datagram)?;
    if shake.destination != local {
        return Err(Rejection::WrongSocket);
    }
    let Shake { mss, flow_window, socket, initial_sequence, .. } = shake;
    match (shake.kind, shake.version) {
        (Kind::Rejection(code), _) => Ok(Reply::Rejection(code)),
        (Kind::Induction, VERSION_5) if shake.flags == SRT_MAGIC => {
            Ok(Reply::Induction { cookie: shake.cookie as i32, mss, flow_window, socket })
        }
        (Kind::Conclusion, VERSION_5) => {
            // Others, such as a packet filter's, are for a peer that asked for them: passed over.
            let extensions = shake.extensions()?;
            let greeting = extensions.response.ok_or(Rejection::Malformed)?;
            let key = KeyReply::read(extensions.key_response);
            Ok(Reply::Conclusion(Conclusion { socket, initial_sequence, mss, flow_window, greeting, key }))
        }
        _ => Err(Rejection::Malformed),
    }
}

struct Header {
    kind: u16,
    subtype: u16,
    /// The "type-specific information" word.
    info: u32,
    timestamp: u32,
}

fn control(datagram: &[u8], local: SocketId) -> Result<(Header, &[u8]), Rejection> {
    let (header, body) = datagram.split_at_checked(HEADER_BYTES).ok_or(Rejection::Malformed)?;
    if be32(header, 12) != local.0 {
        return Err(Rejection::WrongSocket);
    }
    let first = be32(header, 0);
    if first & TOP_BIT == 0 {
        return Err(Rejection::Data);
    }
    let kind = (first >> 16) as u16 & 0x7fff;
    Ok((Header { kind, subtype: first as u16, info: be32(header, 4), timestamp: be32(header, 8) }, body))
}

fn acknowledgement(header: &Header, body: &[u8]) -> Result<Ack, Rejection> {
    if body.len() < 4 || be32(body, 0) & TOP_BIT != 0 {
        return Err(Rejection::Malformed);
    }
    let report = if body.len() < ACK_REPORT_BYTES {
        None
    } else {
        Some(AckReport {
            rtt: round_trip(be32(body, 4), be32(body, 8))?,
            buffer: be32(body, 12),
            bytes_per_second: (body.len() >= ACK_RATES_BYTES).then(|| be32(body, 24)),
        })
    };
    Ok(Ack {
        number: SeqNumber::new_truncate(be32(body, 0)),
        timestamp: header.timestamp,
        full: (header.info != 0).then_some(header.info),
        report,
    })
}

/// The round trip of an acknowledgement, unless it is the guess that libsrt starts with.
fn round_trip(mean_us: u32, variance_us: u32) -> Result<Option<Rtt>, Rejection> {
    if mean_us > LONGEST_RTT_US || variance_us > LONGEST_RTT_US {
        return Err(Rejection::Malformed);
    }
    let measured = (mean_us, variance_us) != LIBSRT_FIRST_GUESS_US;
    Ok(measured.then(|| Rtt {
        mean: Duration::from_micros(mean_us.into()),
        variance: Duration::from_micros(variance_us.into()),
    }))
}

fn loss_list(body: &[u8]) -> Result<LossList<'_>, Rejection> {
    if body.is_empty() || !body.len().is_multiple_of(4) {
        return Err(Rejection::Malformed);
    }
    let mut words = body.chunks_exact(4).map(|word| be32(word, 0));
    while let Some(first) = words.next() {
        // A range's end carries no flag, and there has to be one.
        if first & TOP_BIT != 0 && words.next().is_none_or(|last| last & TOP_BIT != 0) {
            return Err(Rejection::Malformed);
        }
    }
    Ok(LossList(body))
}

/// The big-endian word at an offset that the caller has checked.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The destination of a handshake before the other side's socket is known.
pub const NOBODY: SocketId = SocketId(0);
/// SRT's header, of data and of control packets.
pub const HEADER_BYTES: usize = 16;
/// A handshake's fixed part, before its extensions.
pub const HANDSHAKE_BYTES: usize = 48;
/// "This is a control packet" in a first word, "this is a range" in a loss list.
const TOP_BIT: u32 = 0x8000_0000;
/// An acknowledgement with round trip and buffer.
const ACK_REPORT_BYTES: usize = 16;
/// An acknowledgement with packet rate, link capacity and byte rate as well.
const ACK_RATES_BYTES: usize = 28;
/// No SRT link has a round trip of a minute; larger numbers (or negative ones) are forged, and would
/// overflow the arithmetic of `srt-protocol`.
const LONGEST_RTT_US: u32 = 60_000_000;
/// `INITIAL_RTT` and `INITIAL_RTTVAR` of libsrt, sent until it has measured.
const LIBSRT_FIRST_GUESS_US: (u32, u32) = (100_000, 50_000);

const CONTROL_HANDSHAKE: u16 = 0;
const CONTROL_KEEP_ALIVE: u16 = 1;
const CONTROL_ACK: u16 = 2;
const CONTROL_NAK: u16 = 3;
const CONTROL_SHUTDOWN: u16 = 5;
const CONTROL_EXTENSION: u16 = 0x7fff;

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: SocketId = SocketId(0x0102_0304);

    fn datagram(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn admitted(words: &[u32]) -> Result<(), Rejection> {
        admit(&datagram(words), LOCAL).map(|_| ())
    }

    #[test]
    fn what_kills_srt_protocol_stays_outside() {
        let id = LOCAL.0;
        for subtype in [0, 1, 2, 3, 5, 6, 7, 8, 0xffff] {
            assert_eq!(admitted(&[0xffff_0000 | subtype, 0, 0, id]), Err(Rejection::Unwanted));
        }
        assert_eq!(admitted(&[0x8004_0000, 0, 0, id, 0]), Err(Rejection::Unwanted));
        assert_eq!(admitted(&[0x8008_0000, 4000, 0, id, 0]), Err(Rejection::Unwanted));
        assert_eq!(admitted(&[0x8003_0000, 0, 0, id, 0x8000_0001]), Err(Rejection::Malformed));
        assert_eq!(admitted(&[0x8003_0000, 0, 0, id]), Err(Rejection::Malformed));
        assert_eq!(admitted(&[0x8006_0000, 0, 0, id, 0]), Err(Rejection::Unwanted));
        assert_eq!(admitted(&[0x8007_0000, 0, 0, id, 1, 0x7fff_fff0]), Err(Rejection::Unwanted));
        assert_eq!(admitted(&[0x0000_0001, 0xc000_0001, 0, id, 0]), Err(Rejection::Data));
        assert_eq!(admitted(&[0x8005_0000, 0, 0, id + 1, 0]), Err(Rejection::WrongSocket));
        assert_eq!(admit(&[0x80; 15], LOCAL), Err(Rejection::Malformed));
    }

    #[test]
    fn an_acknowledgement_is_read_in_its_three_sizes() {
        let head = |number| [0x8002_0000, number, 0, LOCAL.0];
        let ack = |words: &[u32]| match admit(&datagram(words), LOCAL) {
            Ok(Arrival::Ack(ack)) => ack,
            other => panic!("{other:?}"),
        };
        let light = ack(&[&head(0)[..], &[77]].concat());
        assert_eq!((light.number.0, light.full, light.report), (77, None, None));
        let small = ack(&[&head(0)[..], &[78, 20_000, 1_000, 8_000]].concat());
        assert_eq!(small.report.unwrap().bytes_per_second, None);
        let full = ack(&[&head(9)[..], &[79, 20_000, 1_000, 8_000, 500, 1_000, 750_000]].concat());
        let report = full.report.unwrap();
        assert_eq!(full.full, Some(9));
        assert_eq!(report.rtt.unwrap().mean, Duration::from_millis(20));
        assert_eq!(report.bytes_per_second, Some(750_000));
        let guess = ack(&[&head(9)[..], &[79, 100_000, 50_000, 8_000]].concat());
        assert_eq!(guess.report.unwrap().rtt, None, "a first guess is no measurement");
        let forged = [&head(9)[..], &[79, 0xffff_fff0, 1_000, 8_000]].concat();
        assert_eq!(admitted(&forged), Err(Rejection::Malformed));
    }

    #[test]
    fn loss_ranges_come_as_written() {
        let words = [0x8003_0000, 0, 0, LOCAL.0, 5, 0x8000_0007, 9, 11];
        let bytes = datagram(&words);
        let Ok(Arrival::Nak(list)) = admit(&bytes, LOCAL) else { panic!("not a NAK") };
        let ranges: Vec<_> = list.ranges().map(|(first, last)| (first.0, last.0)).collect();
        assert_eq!(ranges, [(5, 5), (7, 9), (11, 11)]);
    }

    #[test]
    fn a_conclusion_is_read_past_extensions_that_we_did_not_ask_for() {
        let head =
            [0x8000_0000, 0, 0, LOCAL.0, 5, 0x0000_0003, 1234, 1500, 8192, u32::MAX, 99, 0, 0, 0, 0, 0];
        let filter = [0x0007_0001, 0x6665_6300];
        let srt = [0x0002_0003, 0x0001_0501, 0xbf, 500 << 16 | 120];
        let refused_key = [0x0004_0001, 4];
        let bytes = datagram(&[&head[..], &filter, &srt, &refused_key].concat());
        let Ok(Reply::Conclusion(reply)) = admit_reply(&bytes, LOCAL) else { panic!("not a conclusion") };
        assert_eq!((reply.socket.0, reply.initial_sequence.0), (99, 1234));
        assert_eq!(reply.greeting.receive_latency, Duration::from_millis(500));
        assert_eq!(reply.key, KeyReply::Status(4));
        let cut = &bytes[..bytes.len() - 4];
        assert_eq!(admit_reply(cut, LOCAL), Err(Rejection::Malformed));
        let without = datagram(&head);
        assert_eq!(admit_reply(&without, LOCAL), Err(Rejection::Malformed));
    }
}
