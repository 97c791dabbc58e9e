//! The caller's side of SRT's handshake, without its socket.
//!
//! ```text
//!   caller                                  listener
//!     │── Induction ──────────────────────────▶│
//!     │◀───────────────── Induction (cookie) ──│
//!     │── Conclusion (cookie, latency, key) ──▶│   repeated until answered
//!     │◀──── Conclusion (latency, key echo) ───│   or a rejection with its code
//! ```
//!
//! `srt-protocol`'s `Connect` makes the requests and the keys. It is given answers that [`guard`] has
//! read, and two of its defects are met here: the time base of its Conclusion, and a key response
//! that it does not look at.
//!
//! [`guard`]: super::guard

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use srt_protocol::connection::{Connection as CoreConnection, ConnectionSettings};
use srt_protocol::packet::{
    ControlPacket, ControlTypes, HandshakeControlInfo, HandshakeVsInfo, HsV5Info, Packet, SeqNumber,
    ShakeType, SocketId, SrtControlPacket, SrtHandshake, SrtShakeFlags, TimeStamp,
};
use srt_protocol::protocol::handshake::Handshake as CoreHandshake;
use srt_protocol::protocol::pending_connection::ConnectionResult;
use srt_protocol::protocol::pending_connection::connect::Connect;
use srt_protocol::settings::{CipherSettings, ConnInitSettings, KeyMaterialRefreshSettings, KeySettings};
use srt_tokio::options::{
    KeySize, LiveBandwidthMode, PacketCount, PacketSize, Passphrase as CorePassphrase, SocketOptions,
    SrtVersion,
};

use super::error::RefusedBecause;
use super::guard::{self, Conclusion, KeyReply, Rejection, Reply};
use super::shake::Greeting;
use super::{Encryption, PAYLOAD_BYTES, Passphrase, Target, Tuning};
use crate::config::KeyLength;

/// One attempt at a handshake.
pub struct Caller {
    connect: Connect,
    remote: SocketAddr,
    local_ip: IpAddr,
    local: SocketId,
    initial: SeqNumber,
    latency: Duration,
    encrypted: bool,
    /// The key material of our Conclusion, as it was sent: a peer that has the passphrase echoes it.
    proposed_key: Vec<u8>,
    /// The time that our timestamps count from; set when the Conclusion is first sent.
    epoch: Option<Instant>,
    lead: Duration,
}

/// What an answer led to.
pub enum Step {
    /// Nothing new.
    Waiting,
    /// The output buffer holds the next request. (With the steps below it may hold a last word.)
    Send,
    Connected(Box<Established>),
    Refused(RefusedBecause),
}

/// A handshake's result.
pub struct Established {
    pub core: CoreConnection,
    /// Negotiated: the larger of ours and the receiver's.
    pub latency: Duration,
    /// How long an answer took; without its queues, what the path takes.
    pub rtt: Duration,
    /// The receiver skips what is too late (TLPKTDROP).
    pub skips_late: bool,
    /// Our last word, where the peer may have missed it: sent again when the peer repeats its own.
    /// Its timestamp is filled in then.
    pub last_word: Option<BytesMut>,
}

/// What both sides know after a handshake that `srt-protocol` did not take part in.
pub struct Terms {
    pub remote: SocketAddr,
    pub local: SocketId,
    pub peer: SocketId,
    /// Of the data that we send.
    pub initial: SeqNumber,
    pub cipher: Option<CipherSettings>,
    /// The time that our timestamps count from.
    pub epoch: Instant,
    pub latency: Duration,
    pub rtt: Duration,
    pub skips_late: bool,
    pub last_word: Option<BytesMut>,
}

impl Established {
    pub fn new(terms: Terms) -> Self {
        let Terms { remote, local, peer, initial, cipher, epoch, latency, rtt, skips_late, last_word } =
            terms;
        // What only a receiver needs, or what a sender of ours decides itself, has the core's defaults.
        let defaults = ConnInitSettings::default();
        let settings = ConnectionSettings {
            remote,
            remote_sockid: peer,
            local_sockid: local,
            socket_start_time: epoch,
            rtt,
            init_seq_num: initial,
            max_packet_size: PacketSize(PAYLOAD_BYTES as u64),
            max_flow_size: defaults.max_flow_size,
            send_tsbpd_latency: latency,
            recv_tsbpd_latency: latency,
            too_late_packet_drop: defaults.too_late_packet_drop,
            peer_idle_timeout: defaults.peer_idle_timeout,
            recv_buffer_size: defaults.recv_buffer_size,
            send_buffer_size: defaults.send_buffer_size,
            cipher,
            stream_id: None,
            // The encoder is the rate control: a limit here would only add a queue.
            bandwidth: LiveBandwidthMode::Unlimited,
            statistics_interval: defaults.statistics_interval,
        };
        let core = CoreConnection { settings, handshake: CoreHandshake::Connector };
        Established { core, latency, rtt, skips_late, last_word }
    }

    /// Writes the Shutdown of a connection on which nothing was sent.
    pub fn write_shutdown(&self, out: &mut BytesMut) {
        let settings = &self.core.settings;
        let timestamp = TimeStamp::MIN + settings.socket_start_time.elapsed();
        let control_type = ControlTypes::Shutdown;
        ControlPacket { timestamp, dest_sockid: settings.remote_sockid, control_type }.serialize(out);
    }
}

impl Caller {
    pub fn new(target: &Target, local_ip: IpAddr, tuning: &Tuning) -> Self {
        let local = fresh_socket_id();
        let initial = initial_sequence(tuning);
        let settings = ConnInitSettings {
            local_sockid: local,
            // The field is sent as the MTU, although the options mean the payload by it.
            max_packet_size: PacketSize(ETHERNET_MTU.into()),
            ..options(target, tuning).into()
        };
        Caller {
            connect: Connect::new(target.remote, local_ip, settings, target.stream_id.clone(), initial),
            remote: target.remote,
            local_ip,
            local,
            initial,
            latency: target.latency,
            encrypted: target.encryption.is_some(),
            proposed_key: Vec::new(),
            epoch: None,
            lead: tuning.lead,
        }
    }

    /// Writes the request that waits for its answer, anew at each call.
    pub fn request(&mut self, now: Instant, out: &mut BytesMut) {
        if let ConnectionResult::SendPacket((packet, _)) = self.connect.handle_tick(now) {
            self.write(packet, now, out);
        }
    }

    /// Acts on a datagram from the peer's address.
    pub fn receive(&mut self, now: Instant, datagram: &[u8], out: &mut BytesMut) -> Result<Step, Rejection> {
        match (guard::admit_reply(datagram, self.local)?, self.epoch) {
            (Reply::Induction { cookie, mss, flow_window, socket }, None) => {
                let info = HandshakeVsInfo::V5(HsV5Info::default());
                let answer = self.answer(ShakeType::Induction, socket, cookie, mss, flow_window, info);
                let ConnectionResult::SendPacket((packet, _)) = self.hand_to_core(now, answer) else {
                    return Err(Rejection::Unwanted);
                };
                self.epoch = Some(now.checked_sub(self.lead).unwrap_or(now));
                self.write(packet, now, out);
                Ok(Step::Send)
            }
            (Reply::Induction { .. }, Some(_)) => Ok(Step::Waiting), // an answer to a repeated request
            (Reply::Conclusion(_), None) => Err(Rejection::Unwanted),
            (Reply::Conclusion(conclusion), Some(epoch)) => self.conclude(now, epoch, conclusion),
            (Reply::Rejection(code), _) => Ok(Step::Refused(RefusedBecause::rejected(code, self.encrypted))),
        }
    }

    fn conclude(&mut self, now: Instant, epoch: Instant, reply: Conclusion<'_>) -> Result<Step, Rejection> {
        if reply.initial_sequence != self.initial {
            return Err(Rejection::Malformed);
        }
        if let Some(reason) = size_trouble(reply.mss, &self.remote) {
            return Ok(Step::Refused(reason));
        }
        if let Some(reason) = key_trouble(self.encrypted, &self.proposed_key, reply.key)? {
            return Ok(Step::Refused(reason));
        }
        let latency = self.latency.max(reply.greeting.receive_latency);
        let info = HandshakeVsInfo::V5(HsV5Info {
            ext_hs: Some(SrtControlPacket::HandshakeResponse(SrtHandshake {
                version: SrtVersion::parse(reply.greeting.version),
                flags: SrtShakeFlags::from_bits_truncate(reply.greeting.flags),
                send_latency: reply.greeting.send_latency,
                recv_latency: latency,
            })),
            ..HsV5Info::default()
        });
        let answer = self.answer(ShakeType::Conclusion, reply.socket, 0, reply.mss, reply.flow_window, info);
        match self.hand_to_core(now, answer) {
            ConnectionResult::Connected(_, mut core) => {
                core.settings.socket_start_time = epoch;
                Ok(Step::Connected(Box::new(Established {
                    rtt: core.settings.rtt,
                    core,
                    latency,
                    skips_late: reply.greeting.flags & SrtShakeFlags::TLPKTDROP.bits() != 0,
                    last_word: None, // the peer's was the last
                })))
            }
            _ => Err(Rejection::Unwanted),
        }
    }

    fn answer(
        &self,
        shake_type: ShakeType,
        socket_id: SocketId,
        syn_cookie: i32,
        mss: u32,
        flow_window: u32,
        info: HandshakeVsInfo,
    ) -> HandshakeControlInfo {
        HandshakeControlInfo {
            init_seq_num: self.initial,
            max_packet_size: PacketSize(mss.into()),
            max_flow_size: PacketCount(flow_window.into()),
            shake_type,
            socket_id,
            syn_cookie,
            peer_addr: self.local_ip,
            info,
        }
    }

    fn hand_to_core(&mut self, now: Instant, answer: HandshakeControlInfo) -> ConnectionResult {
        let packet = Packet::Control(ControlPacket {
            timestamp: TimeStamp::MIN,
            dest_sockid: self.local,
            control_type: ControlTypes::Handshake(answer),
        });
        self.connect.handle_packet(Ok((packet, self.remote)), now)
    }

    fn write(&mut self, mut packet: Packet, now: Instant, out: &mut BytesMut) {
        if let (Packet::Control(control), Some(epoch)) = (&mut packet, self.epoch) {
            // `Connect` echoes the listener's own timestamp here. A libsrt listener takes the
            // Conclusion's for the start of our clock: it would think that we began when it did, put
            // all of our packets too early, and so have no time left for retransmissions.
            control.timestamp = TimeStamp::MIN + (now - epoch);
            if let ControlTypes::Handshake(HandshakeControlInfo {
                info: HandshakeVsInfo::V5(HsV5Info { ext_km: Some(key), .. }),
                ..
            }) = &control.control_type
            {
                self.proposed_key.clear();
                key.serialize(&mut self.proposed_key);
            }
        }
        out.clear();
        packet.serialize(out);
    }
}

/// What is wrong with the answer to a key that we have proposed. `srt-protocol` connects whatever the
/// peer says about it; a peer that does not insist on encryption would then receive noise.
pub fn key_trouble(
    encrypted: bool,
    proposed: &[u8],
    reply: KeyReply<'_>,
) -> Result<Option<RefusedBecause>, Rejection> {
    match reply {
        KeyReply::Echo(key) if encrypted && key != proposed => Err(Rejection::Malformed),
        KeyReply::Echo(_) => Ok(None),
        KeyReply::Status(KM_BAD_SECRET) if encrypted => Ok(Some(RefusedBecause::WrongPassphrase)),
        KeyReply::Status(_) | KeyReply::Absent if encrypted => Ok(Some(RefusedBecause::UnexpectedPassphrase)),
        KeyReply::Status(_) | KeyReply::Absent => Ok(None),
    }
}

/// Refuses a peer that does not take the packets that everybody sends.
pub fn size_trouble(mss: u32, remote: &SocketAddr) -> Option<RefusedBecause> {
    let header = headers(remote);
    let is_too_small = mss < PAYLOAD_BYTES as u32 + header;
    is_too_small.then(|| RefusedBecause::PacketsTooLarge { largest: mss.saturating_sub(header) })
}

fn options(target: &Target, tuning: &Tuning) -> SocketOptions {
    let mut options = SocketOptions::default();
    let latency = target.latency.min(LONGEST_LATENCY);
    options.sender.peer_latency = latency;
    options.receiver.latency = latency;
    // The encoder is the rate control: a limit here would only add a queue.
    options.sender.bandwidth = LiveBandwidthMode::Unlimited;
    if let Some(Encryption { passphrase, key_length }) = &target.encryption {
        let KeySettings { key_size, passphrase } = key_settings(passphrase, *key_length);
        options.encryption.key_size = key_size;
        options.encryption.passphrase = Some(passphrase);
    }
    let refresh = key_refresh(tuning);
    options.encryption.km_refresh.period = PacketCount(refresh.period() as u64);
    options.encryption.km_refresh.pre_announcement_period =
        PacketCount(refresh.pre_announcement_period() as u64);
    options
}

/// Bytes of IP, UDP and SRT around each payload.
pub fn headers(remote: &SocketAddr) -> u32 {
    if remote.ip().to_canonical().is_ipv6() { IPV6_HEADERS } else { IPV4_HEADERS }
}

/// A passphrase as the core has it.
pub fn key_settings(passphrase: &Passphrase, key_length: KeyLength) -> KeySettings {
    let key_size = match key_length {
        KeyLength::Aes128 => KeySize::AES128,
        KeyLength::Aes192 => KeySize::AES192,
        KeyLength::Aes256 => KeySize::AES256,
    };
    let passphrase = CorePassphrase::try_from(passphrase.reveal().to_owned());
    KeySettings { key_size, passphrase: passphrase.expect("both types allow 10 to 79 bytes") }
}

/// When keys are changed.
pub fn key_refresh(tuning: &Tuning) -> KeyMaterialRefreshSettings {
    let (period, announcement) = tuning.key_refresh.unwrap_or(LIBSRT_KEY_REFRESH);
    KeyMaterialRefreshSettings::new(period, announcement)
        .expect("a key is announced within the first half of the one before")
}

/// What we say of ourselves, as the core's caller does.
pub fn greeting(receive_latency: Duration, send_latency: Duration) -> Greeting {
    let flags = SrtShakeFlags::SUPPORTED.bits();
    Greeting { version: SrtVersion::CURRENT.to_u32(), flags, receive_latency, send_latency }
}

/// A random identity: what an attacker off the path would have to guess. Never zero, which means nobody.
pub fn fresh_socket_id() -> SocketId {
    SocketId(rand::random::<u32>() & LARGEST_SOCKET_ID | 1)
}

/// The number of our first packet.
pub fn initial_sequence(tuning: &Tuning) -> SeqNumber {
    SeqNumber::new_truncate(tuning.initial_sequence.unwrap_or_else(rand::random))
}

/// What everybody announces; libsrt's `SRTO_MSS` default.
pub const ETHERNET_MTU: u32 = 1500;
/// IPv4, UDP and SRT.
const IPV4_HEADERS: u32 = 20 + 8 + 16;
/// IPv6, UDP and SRT.
const IPV6_HEADERS: u32 = 40 + 8 + 16;
/// libsrt's own ids have 30 bits; the upper ones mark groups.
const LARGEST_SOCKET_ID: u32 = 0x3fff_ffff;
/// The handshake carries latencies as 16 bits of milliseconds.
const LONGEST_LATENCY: Duration = Duration::from_millis(u16::MAX as u64);
/// Packets between two keys, and from the announcement of a key to its use: libsrt's
/// `SRTO_KMREFRESHRATE` and `SRTO_KMPREANNOUNCE` defaults.
const LIBSRT_KEY_REFRESH: (usize, usize) = (1 << 24, 1 << 12);
/// `SRT_KM_S_BADSECRET`.
const KM_BAD_SECRET: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::srt::Passphrase;
    use crate::units::Bitrate;

    const MS: Duration = Duration::from_millis(1);
    /// A listener that has been up for 20 minutes says so in its answers.
    const PEER_CLOCK: u32 = 1_200_000_000;

    fn target(encrypted: bool) -> Target {
        let passphrase = Passphrase::new("correct-horse").unwrap();
        let key_length = KeyLength::Aes256;
        Target {
            remote: ([127, 0, 0, 1], 9000).into(),
            latency: 500 * MS,
            stream_id: Some("#!::r=live/main,m=publish".into()),
            encryption: encrypted.then_some(Encryption { passphrase, key_length }),
            peak: Bitrate::from_kbps(6_000),
        }
    }

    fn caller(encrypted: bool) -> Caller {
        Caller::new(&target(encrypted), [127, 0, 0, 1].into(), &Tuning::default())
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn word(datagram: &[u8], index: usize) -> u32 {
        u32::from_be_bytes(datagram[4 * index..4 * index + 4].try_into().unwrap())
    }

    fn induction(caller: &Caller) -> Vec<u8> {
        let head = [0x8000_0000, 0, PEER_CLOCK, caller.local.0];
        words(&[&head[..], &[5, 0x4A17, caller.initial.0, 1500, 8192, 1, 77, 4242, 0, 0, 0, 0]].concat())
    }

    fn conclusion(caller: &Caller, mss: u32, extensions: &[u8]) -> Vec<u8> {
        let head = [0x8000_0000, 0, PEER_CLOCK, caller.local.0];
        let fixed = [5, 3, caller.initial.0, mss, 8192, u32::MAX, 78, 0, 0, 0, 0, 0];
        let srt = [0x0002_0003, 0x0001_0501, 0xbf, 700 << 16 | 120];
        [words(&[&head[..], &fixed, &srt].concat()), extensions.to_vec()].concat()
    }

    /// A caller whose Conclusion is in the buffer, and when that was.
    fn concluding(encrypted: bool) -> (Caller, Instant, BytesMut) {
        let (mut caller, now, mut out) = (caller(encrypted), Instant::now(), BytesMut::new());
        caller.request(now, &mut out);
        assert_eq!((word(&out, 0), word(&out, 3), word(&out, 9)), (0x8000_0000, 0, 1));
        let answer = induction(&caller);
        assert!(matches!(caller.receive(now, &answer, &mut out), Ok(Step::Send)));
        (caller, now, out)
    }

    #[test]
    fn the_conclusion_carries_our_own_clock() {
        let (mut caller, now, mut out) = concluding(false);
        assert_eq!(word(&out, 9), u32::MAX, "a Conclusion");
        assert_eq!(word(&out, 11), 4242, "the listener's cookie");
        let lead = Tuning::default().lead.as_micros() as u32;
        assert_eq!(word(&out, 2), lead);
        caller.request(now + 250 * MS, &mut out);
        assert_eq!(word(&out, 2), lead + 250_000, "and the time of each repetition");
        let answer = conclusion(&caller, 1500, &[]);
        let Ok(Step::Connected(established)) = caller.receive(now + 300 * MS, &answer, &mut out) else {
            panic!("not connected");
        };
        assert_eq!(established.core.settings.socket_start_time + Tuning::default().lead, now);
        assert_eq!(established.latency, 700 * MS, "the receiver's own, which is longer");
        assert_eq!((established.rtt, established.skips_late), (300 * MS, true));
    }

    #[test]
    fn the_raw_conclusion_carries_the_listeners_clock() {
        let mut caller = caller(false);
        let now = Instant::now();
        caller.connect.handle_tick(now);
        let answer = induction(&caller);
        let packet = Packet::parse(&mut std::io::Cursor::new(&answer[..]), false).unwrap();
        let step = caller.connect.handle_packet(Ok((packet, caller.remote)), now);
        let ConnectionResult::SendPacket((raw, _)) = step else { panic!("no conclusion") };
        assert_eq!(raw.timestamp().as_micros(), PEER_CLOCK, "is the time base still broken?");
    }

    #[test]
    fn a_key_that_the_peer_cannot_use_is_noticed() {
        let status = |state| words(&[0x0004_0001, state]);
        for (extension, reason) in [
            (status(4), RefusedBecause::WrongPassphrase),
            (status(4u32.swap_bytes()), RefusedBecause::WrongPassphrase),
            (status(3), RefusedBecause::UnexpectedPassphrase),
            (vec![], RefusedBecause::UnexpectedPassphrase),
        ] {
            let (mut caller, now, mut out) = concluding(true);
            let answer = conclusion(&caller, 1500, &extension);
            match caller.receive(now, &answer, &mut out) {
                Ok(Step::Refused(because)) => assert_eq!(because, reason),
                _ => panic!("not refused: {reason}"),
            }
        }
        let (mut caller, now, mut out) = concluding(true);
        let header = words(&[0x0004_0000 | (caller.proposed_key.len() / 4) as u32]);
        let echo = [header, caller.proposed_key.clone()].concat();
        let mut other = echo.clone();
        *other.last_mut().unwrap() ^= 1;
        let answer = conclusion(&caller, 1500, &other);
        assert!(matches!(caller.receive(now, &answer, &mut out), Err(Rejection::Malformed)));
        let answer = conclusion(&caller, 1500, &echo);
        assert!(matches!(caller.receive(now, &answer, &mut out), Ok(Step::Connected(_))));
    }

    #[test]
    fn what_the_core_would_stumble_over_is_refused() {
        let (mut caller, now, mut out) = concluding(false);
        let answer = conclusion(&caller, 0, &[]);
        let step = caller.receive(now, &answer, &mut out);
        assert!(matches!(step, Ok(Step::Refused(RefusedBecause::PacketsTooLarge { largest: 0 }))));
        let mut other = conclusion(&caller, 1500, &[]);
        other[24 + 3] ^= 1; // another initial sequence number than ours
        assert!(matches!(caller.receive(now, &other, &mut out), Err(Rejection::Malformed)));
        let repeated = induction(&caller);
        assert!(matches!(caller.receive(now, &repeated, &mut out), Ok(Step::Waiting)));
        let mut early = super::tests::caller(false);
        let answer = conclusion(&early, 1500, &[]);
        assert!(matches!(early.receive(now, &answer, &mut out), Err(Rejection::Unwanted)));
    }

    #[test]
    fn random_and_mutated_answers_are_survived() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(5);
        for round in 0..300 {
            let (mut caller, now, mut out) = concluding(round % 2 == 0);
            for _ in 0..100 {
                let mut answer = match random.gen_range(0..3) {
                    0 => induction(&caller),
                    1 => conclusion(&caller, 1500, &words(&[0x0004_0001, 4])),
                    _ => (0..random.gen_range(16..200)).map(|_| random.r#gen()).collect(),
                };
                for _ in 0..random.gen_range(0..4) {
                    let at = random.gen_range(0..answer.len());
                    answer[at] = random.r#gen();
                }
                answer[12..16].copy_from_slice(&caller.local.0.to_be_bytes());
                if matches!(caller.receive(now, &answer, &mut out), Ok(Step::Connected(_))) {
                    break;
                }
                caller.request(now, &mut out);
            }
        }
    }
}
