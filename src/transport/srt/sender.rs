//! An established connection that sends, without its socket and without a clock.
//!
//! `srt-protocol`'s `DuplexConnection` numbers, stamps and encrypts packets, keeps them until they are
//! acknowledged, refreshes keys and keeps the connection alive. What it is told is decided here:
//! acknowledgements whose number makes sense, losses that the [`Governor`] wants mended, packets that
//! are too late. It never sees a datagram, nor a number from the peer that was not checked.

mod bounds;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use srt_protocol::connection::DuplexConnection;
use srt_protocol::options::{PacketCount, PacketSize};
use srt_protocol::packet::{
    AckStatistics, Acknowledgement, CompressedLossList, ControlPacket, ControlTypes, FullAckSeqNumber,
    KeyingMaterialMessage, Packet, SeqNumber, SocketId, SrtControlPacket, TimeSpan, TimeStamp,
};
use srt_protocol::protocol::time::Rtt as CoreRtt;

use self::bounds::{capacity, packets_per_second, patience};
use super::governor::{COPY_DELAY, Governor, Verdict};
use super::guard::{self, Ack, Arrival, LossList, Rejection, Rejections};
use super::handshake::Established;
use super::measurement::{Measurement, Minimum, Path, ReverseDelay, Rtt};
use super::pacer::Pacer;
use super::window::{Packet as Sent, Place, Released, Window};
use super::{Allowance, PAYLOAD_BYTES, PEER_IDLE, shake};
use crate::transport::Chunk;
use crate::units::{Bitrate, ByteCount};

/// ```text
///             close()                    the last packet's time has come
///    Open ────────────────▶ Draining ──────────────────────────────────▶ Drained
///      │                       │
///      ├───────────────────────┼──── Shutdown from the peer ───────────▶ ClosedByPeer
///      └───────────────────────┴──── nothing heard for 5 s ────────────▶ PeerIdle
/// ```
pub struct Sender {
    core: DuplexConnection,
    remote: SocketAddr,
    local: SocketId,
    peer: SocketId,
    epoch: Instant,
    latency: Duration,
    /// How long after its capture a packet is given up.
    patience: Duration,
    capacity: usize,
    window: Window,
    governor: Governor,
    pacer: Pacer,
    /// See [`Allowance::window`].
    most_in_network: Option<ByteCount>,
    rejections: Rejections,
    counters: Measurement,
    rtt: Rtt,
    base_rtt: Minimum<Duration>,
    /// The shortest since the last report.
    fresh_rtt: Option<Duration>,
    reverse: ReverseDelay,
    /// The newest full acknowledgement, which waits for its ACK2.
    unanswered_ack: Option<FullAckSeqNumber>,
    /// Our key refresh that the peer has not confirmed: as sent, and as the core knows it.
    key_request: Option<(Vec<u8>, KeyingMaterialMessage)>,
    lost: Vec<SeqNumber>,
    /// Second transmissions of a last chance, and when they are due, in order. The budget of
    /// retransmissions bounds them; without a place in it there is no copy.
    copies: VecDeque<(Instant, SeqNumber)>,
    last_capture: Instant,
    last_heard: Instant,
    /// When an acknowledgement last moved, or the first packet after an empty window left.
    last_progress: Instant,
    /// The same of anything that the peer said about data.
    last_word: Instant,
    closed: Option<Instant>,
    shut_down_by_peer: bool,
    started: bool,
    /// Our last word of the handshake, until the peer shows that it has heard it.
    handshake_answer: Option<BytesMut>,
    /// The peer has not: it repeats its own.
    repeats_handshake: bool,
}

/// How a sender ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    Drained,
    ClosedByPeer,
    PeerIdle { silence: Duration },
}

impl Sender {
    /// `peak` is the highest rate of the stream that will be handed over.
    pub fn new(established: Established, peak: Bitrate, now: Instant) -> Self {
        let Established { mut core, latency, rtt, skips_late, last_word: handshake_answer } = established;
        let patience = patience(latency);
        let settings = &mut core.settings;
        // The core must never drop by itself: at a full buffer it forgets what to send next, and what
        // it drops as too late stays in its timer queue for good. Here is room; there, patience.
        settings.send_buffer_size = CORE_CAPACITY;
        settings.max_flow_size = CORE_CAPACITY;
        settings.send_tsbpd_latency = CORE_LATENCY;
        settings.peer_idle_timeout = CORE_PEER_IDLE;
        settings.max_packet_size = PacketSize(PAYLOAD_BYTES as u64);
        let (remote, local, peer) = (settings.remote, settings.local_sockid, settings.remote_sockid);
        let (epoch, initial) = (settings.socket_start_time, settings.init_seq_num);
        let mut base_rtt = Minimum::default();
        base_rtt.record(now, rtt);
        Sender {
            core: DuplexConnection::new(core),
            remote,
            local,
            peer,
            epoch,
            latency,
            patience,
            capacity: capacity(peak, patience),
            window: Window::new(initial),
            governor: Governor::new(skips_late.then_some(latency), rtt, packets_per_second(peak), now),
            pacer: Pacer::new(remote, now),
            most_in_network: None,
            rejections: Rejections::default(),
            counters: Measurement::new(now),
            rtt: Rtt::first(rtt),
            base_rtt,
            fresh_rtt: None,
            reverse: ReverseDelay::default(),
            unanswered_ack: None,
            key_request: None,
            lost: Vec::new(),
            copies: VecDeque::new(),
            last_capture: epoch,
            last_heard: now,
            last_progress: now,
            last_word: now,
            closed: None,
            shut_down_by_peer: false,
            started: false,
            handshake_answer,
            repeats_handshake: false,
        }
    }

    pub fn rejections(&self) -> Rejections {
        self.rejections
    }

    /// From now on no more than this.
    pub fn allow(&mut self, now: Instant, allowance: Allowance) {
        self.pacer.set_pace(now, allowance.pace);
        self.most_in_network = allowance.window;
        if let Some(peak) = allowance.peak {
            self.capacity = capacity(peak, self.patience);
            self.governor.set_budget(packets_per_second(peak));
        }
    }

    /// Nothing will come after the chunks that wait: they leave soon, whatever is allowed.
    pub fn expect_last(&mut self, now: Instant, waiting: usize) {
        self.pacer.drain(now, waiting);
        self.most_in_network = None;
    }

    /// How many packets may be handed over now, where so many chunks wait for that.
    pub fn admits(&mut self, now: Instant, waiting: usize) -> usize {
        let allowed = self.most_in_network.map_or(usize::MAX, |most| {
            let bytes = most.saturating_sub(self.window.in_network()).get();
            usize::try_from(bytes.div_ceil(PAYLOAD_BYTES as u64)).unwrap_or(usize::MAX)
        });
        self.pacer.admits(now, waiting, allowed).min(self.room())
    }

    /// How many more packets the send buffer takes. It holds twice what the peak rate can leave in it
    /// before its packets are too late: only a stream above its own peak ever fills it.
    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.window.len())
    }

    /// Takes over a chunk. The caller has asked whether it is [admitted](Self::admits).
    pub fn push(&mut self, now: Instant, chunk: Chunk) {
        if chunk.data.is_empty() {
            return;
        }
        // The receiver delivers in order, so a timestamp before its predecessor's means nothing to it;
        // one before our epoch or in the future would be taken for the clock's wrap.
        let captured = chunk.captured.min(now).max(self.last_capture);
        self.last_capture = captured;
        for payload in chunk.data.chunks(PAYLOAD_BYTES) {
            let payload = ByteCount::new(payload.len() as u64);
            self.counters.handed_over.add(payload);
            self.window.push(captured, now, payload);
        }
        if self.started {
            self.core.handle_data_input(now, Some((captured, chunk.data)));
        } else {
            self.start_core(now, (captured, chunk.data));
        }
    }

    /// Hands over the first chunk. The core would send one packet a millisecond until it has seen
    /// 100 ms of input, and put its retransmission timers, 34 ms after each packet, before them: the
    /// first key frame would crawl. So that time is let pass, and the timers are told to wait.
    fn start_core(&mut self, now: Instant, first: (Instant, Bytes)) {
        self.started = true;
        let before = now.checked_sub(CORE_WARM_UP).unwrap_or(now);
        self.core.handle_data_input(before, Some(first));
        self.release(now, 0);
    }

    /// No more chunks will come: [`poll`](Self::poll) tells when the last has been played.
    pub fn close(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
    }

    /// Acts on a datagram from the peer's address.
    pub fn receive(&mut self, now: Instant, datagram: &[u8]) {
        match self.accept(now, datagram) {
            Ok(()) => self.last_heard = now,
            Err(reason) => self.rejections.count(reason),
        }
    }

    /// A datagram of ours was not taken by the system: survived, the peer will ask for it again.
    pub fn send_failed(&mut self) {
        self.counters.send_errors += 1;
    }

    /// Does what is due. Some when the connection is over.
    pub fn poll(&mut self, now: Instant) -> Option<Finished> {
        self.drop_late(now);
        self.probe_tail(now);
        self.copy_last_chances(now);
        self.core.check_timers(now);
        let silence = now.saturating_duration_since(self.last_heard);
        if self.shut_down_by_peer {
            Some(Finished::ClosedByPeer)
        } else if silence >= PEER_IDLE {
            Some(Finished::PeerIdle { silence })
        } else if self.drained_at().is_some_and(|at| now >= at) {
            Some(Finished::Drained)
        } else {
            None
        }
    }

    /// When [`poll`](Self::poll) is to be called next, if nothing arrives before.
    pub fn deadline(&self, now: Instant) -> Instant {
        let core_is_sending = self.window.waiting() > 0 || self.window.granted() > 0;
        [
            Some(self.last_heard + PEER_IDLE),
            core_is_sending.then(|| self.core.next_timer(now)),
            self.window.oldest().map(|oldest| oldest.captured + self.patience),
            self.probe_at(),
            self.copies.front().map(|(due, _)| *due),
            self.drained_at(),
            self.pacer.ready_at().filter(|_| self.closed.is_none()),
        ]
        .into_iter()
        .flatten()
        .fold(now + KEEP_ALIVE, Instant::min)
    }

    /// Writes the next datagram to send. False when there is none.
    pub fn next_datagram(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        let is_there = self.write_next(now, out);
        if is_there {
            self.pacer.spend(now, out.len());
        }
        is_there
    }

    /// Writes a Shutdown.
    pub fn shutdown(&self, now: Instant, out: &mut BytesMut) {
        self.write_control(now, ControlTypes::Shutdown, out);
    }

    /// The state as of now, and what happened since the last report.
    pub fn report(&mut self, now: Instant) -> Measurement {
        let fresh_rtt = self.fresh_rtt.take();
        let limited_by_application = !self.pacer.has_held_back(now);
        Measurement { fresh_rtt, limited_by_application, ..self.measurement(now) }
    }

    fn measurement(&self, now: Instant) -> Measurement {
        let in_flight = self.window.in_flight() as u64;
        let in_network = self.window.in_network();
        let since = |then: Instant| now.saturating_duration_since(then);
        Measurement {
            at: now,
            rtt: self.rtt.mean,
            rtt_variance: self.rtt.variance,
            base_rtt: self.base_rtt.smallest().unwrap_or(self.rtt.mean),
            rejected_datagrams: self.rejections.total(),
            in_flight_packets: in_flight,
            send_buffer: self.window.held(),
            oldest_unacknowledged: self.window.oldest().map_or(Duration::ZERO, |it| since(it.handed_over)),
            oldest_sent: self.window.oldest().and_then(|it| it.last_sent).map_or(Duration::ZERO, since),
            silence: if in_flight > 0 { since(self.last_progress) } else { Duration::ZERO },
            in_network,
            heard: if in_network > ByteCount::ZERO { since(self.last_word) } else { Duration::ZERO },
            held_back: self.pacer.held_back(now),
            ..self.counters.clone()
        }
    }

    fn write_next(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        if std::mem::take(&mut self.repeats_handshake)
            && let Some(handshake_answer) = &self.handshake_answer
        {
            let timestamp = self.timestamp(now);
            shake::write_again(handshake_answer, timestamp.as_micros(), out);
            return true;
        }
        if let Some(number) = self.unanswered_ack.take() {
            self.write_control(now, ControlTypes::Ack2(number), out);
            return true;
        }
        while let Some((packet, _)) = self.core.next_packet(now) {
            if self.may_leave(now, &packet) {
                out.clear();
                packet.serialize(out);
                self.remember_key_request(&packet, out);
                return true;
            }
        }
        false
    }

    fn accept(&mut self, now: Instant, datagram: &[u8]) -> Result<(), Rejection> {
        let arrival = guard::admit(datagram, self.local)?;
        match arrival {
            Arrival::HandshakeRepeat => self.repeats_handshake = true,
            Arrival::KeepAlive
            | Arrival::Shutdown
            | Arrival::Ack(_)
            | Arrival::Nak(_)
            | Arrival::KeyResponse(_) => self.handshake_answer = None,
        }
        match arrival {
            // Anybody can write one: it does not carry our socket id. Whoever has confirmed our answer has
            // no more need of it, and is not kept alive by it.
            Arrival::HandshakeRepeat if self.handshake_answer.is_none() => Err(Rejection::Unwanted),
            Arrival::KeepAlive | Arrival::HandshakeRepeat => Ok(()),
            Arrival::Shutdown => {
                self.shut_down_by_peer = true;
                Ok(())
            }
            Arrival::Ack(ack) => self.acknowledge(now, ack),
            Arrival::Nak(losses) => self.mend(now, losses),
            Arrival::KeyResponse(body) => self.confirm_key(now, body),
        }
    }

    fn acknowledge(&mut self, now: Instant, ack: Ack) -> Result<(), Rejection> {
        let (count, is_newest) = match self.window.place(ack.number) {
            Place::InFlight(count) => (count, true),
            // Overtaken on the way by a later one, or of packets that were given up meanwhile. Its
            // round trip is true all the same, and without its ACK2 there would be no further one.
            Place::Passed => (0, false),
            Place::Outside => return Err(Rejection::OutsideWindow),
        };
        // Acknowledgements are repeated while the way there is dead: only one that moves says something.
        if self.window.passed(ack.number) || count > 0 {
            self.last_word = now;
        }
        if count > 0 {
            let newest = self.window.packet(count - 1).copied();
            let Released { arrived, news, missing } = self.release(now, count);
            if let Some(newest) = newest.filter(|newest| !newest.arrived) {
                self.sample_round_trip(now, &newest);
            }
            self.counters.acknowledged += arrived;
            self.counters.arrived += news;
            // A receiver acknowledges past what it has skipped as too late.
            self.counters.late_packets += missing.packets;
            self.last_progress = now;
            self.governor.progressed();
        }
        self.reverse.record(now, self.timestamp(now).as_micros(), ack.timestamp);
        if let Some(report) = ack.report {
            if let Some(rtt) = report.rtt {
                self.rtt = rtt;
                self.base_rtt.record(now, rtt.mean);
            }
            self.counters.peer_buffer_packets = Some(report.buffer);
            // Zero is what libsrt says when the arrivals were too uneven for an estimate.
            if let Some(bytes) = report.bytes_per_second.filter(|bytes| *bytes > 0) {
                self.counters.delivered = Bitrate::from_bps(u64::from(bytes) * 8);
            }
        }
        if is_newest {
            self.mend_hole(now);
        }
        // The core leaves an acknowledgement of nothing new without its ACK2, and the receiver
        // without a round trip; it also takes any number for the next, and 2^32 − 1 for a crash.
        self.unanswered_ack = ack.full.and_then(FullAckSeqNumber::new).or(self.unanswered_ack);
        Ok(())
    }

    fn mend(&mut self, now: Instant, losses: LossList<'_>) -> Result<(), Rejection> {
        // All ranges are looked at before one is acted on: a forged list has no effect at all.
        if !losses.ranges().all(|(first, last)| self.in_flight_part(first, last).is_some()) {
            return Err(Rejection::OutsideWindow);
        }
        let path = self.path();
        let mut proof = None;
        // A true list names no packet twice: what goes on for longer than the window is a forgery.
        let mut patience = self.window.in_flight();
        self.lost.clear();
        for (first, last) in losses.ranges() {
            let lost = self.in_flight_part(first, last).unwrap_or(0..0);
            if self.window.lost_for_good(first, last) {
                self.last_word = now;
            }
            if !lost.is_empty() && lost.end < self.window.in_flight() {
                proof = proof.max(Some(lost.end));
            }
            for index in lost {
                if patience == 0 {
                    break;
                }
                patience -= 1;
                self.counters.nak_packets += 1;
                self.judge_lost(now, path, index);
            }
        }
        // A loss is reported when a packet after it arrives, and again from time to time.
        if let Some(index) = proof.filter(|index| *index >= self.window.noticed()) {
            self.last_word = now;
            self.notice_arrival(now, path, index);
        }
        self.retransmit_lost(now);
        Ok(())
    }

    /// Decides about a packet in flight whose last transmission the peer lacks. What is to be sent
    /// again joins the lost.
    fn judge_lost(&mut self, now: Instant, path: Path, index: usize) {
        let packet = self.window.report(index);
        let was_missing = packet.missing;
        let verdict = self.governor.judge(packet, path, now);
        self.counters.lost_transmissions += u64::from(verdict != Verdict::UnderWay && !was_missing);
        match verdict {
            Verdict::Retransmit => self.send_again(index),
            Verdict::RetransmitTwice => {
                self.send_again(index);
                self.copies.push_back((now + COPY_DELAY, self.window.sequence(index)));
            }
            Verdict::UnderWay => self.counters.suppressed_retransmissions += 1,
            Verdict::TooLate | Verdict::OverBudget => {
                self.counters.suppressed_retransmissions += 1;
                self.window.leave_missing(index);
            }
        }
    }

    fn send_again(&mut self, index: usize) {
        self.lost.push(self.window.sequence(index));
        self.window.grant(index);
    }

    /// The packet at `index` has just arrived, and what was lost before it was reported.
    fn notice_arrival(&mut self, now: Instant, path: Path, index: usize) {
        self.counters.arrived += self.window.arrived_up_to(index);
        let Some(packet) = self.window.packet(index).copied() else { return };
        self.sample_round_trip(now, &packet);
        let sent_once = packet.last_sent.filter(|_| packet.retransmissions == 0);
        if let (Some(sent), Some(hole)) = (sent_once, self.window.oldest())
            && self.governor.overtaken(hole, path, sent)
        {
            self.judge_lost(now, path, 0);
        }
    }

    /// An acknowledgement stops at the oldest packet.
    fn mend_hole(&mut self, now: Instant) {
        let path = self.path();
        let hole = self.window.oldest().filter(|_| self.window.in_flight() > 0);
        if hole.is_some_and(|hole| self.governor.acknowledgement_lacks(hole, path, now)) {
            self.lost.clear();
            self.judge_lost(now, path, 0);
            self.retransmit_lost(now);
        }
    }

    /// The answer to a packet says that it had just arrived. Which transmission is answered is known
    /// only where there was one.
    fn sample_round_trip(&mut self, now: Instant, packet: &Sent) {
        if let Some(sent) = packet.last_sent.filter(|_| packet.retransmissions == 0) {
            let rtt = now.saturating_duration_since(sent);
            self.fresh_rtt = Some(self.fresh_rtt.map_or(rtt, |shortest| shortest.min(rtt)));
            self.base_rtt.record(now, rtt);
        }
    }

    /// The places of a reported range that are still in flight; None where the range is nonsense.
    fn in_flight_part(&self, first: SeqNumber, last: SeqNumber) -> Option<std::ops::Range<usize>> {
        match (self.window.place(first), self.window.place(last)) {
            (Place::Passed, Place::Passed) => Some(0..0),
            (Place::Passed, Place::InFlight(last)) if last < self.window.in_flight() => Some(0..last + 1),
            (Place::InFlight(first), Place::InFlight(last))
                if first <= last && last < self.window.in_flight() =>
            {
                Some(first..last + 1)
            }
            _ => None,
        }
    }

    fn confirm_key(&mut self, now: Instant, body: &[u8]) -> Result<(), Rejection> {
        match self.key_request.take_if(|(sent, _)| sent == body) {
            Some((_, key)) => {
                self.tell_core(now, ControlTypes::Srt(SrtControlPacket::KeyRefreshResponse(key)));
                Ok(())
            }
            // A repeated confirmation, or one that says the peer cannot use the key: the core then
            // goes on with the old key and asks again.
            None => Err(Rejection::Unwanted),
        }
    }

    fn drop_late(&mut self, now: Instant) {
        let late = (0..self.window.in_flight())
            .take_while(|index| {
                self.window.packet(*index).is_some_and(|packet| now > packet.captured + self.patience)
            })
            .count();
        if late > 0 {
            let Released { arrived, missing, .. } = self.give_up(now, late);
            self.counters.late_packets += arrived.packets + missing.packets;
        }
    }

    fn probe_tail(&mut self, now: Instant) {
        if self.probe_at().is_some_and(|at| now >= at)
            && let Some((index, _)) = self.window.newest_in_flight()
        {
            self.governor.probed();
            self.lost.clear();
            self.send_again(index);
            self.retransmit_lost(now);
        }
    }

    fn copy_last_chances(&mut self, now: Instant) {
        let path = self.path();
        self.lost.clear();
        while let Some((_, number)) = self.copies.front().copied().filter(|(due, _)| *due <= now) {
            self.copies.pop_front();
            if let Place::InFlight(index) = self.window.place(number)
                && let Some(packet) = self.window.packet(index)
                && self.governor.allows_copy(packet, path, now)
            {
                self.send_again(index);
            }
        }
        self.retransmit_lost(now);
    }

    fn probe_at(&self) -> Option<Instant> {
        let (_, newest) = self.window.newest_in_flight().filter(|_| self.window.waiting() == 0)?;
        self.governor.probe_at(newest, self.last_progress, self.path())
    }

    fn path(&self) -> Path {
        let base_rtt = self.base_rtt.smallest().unwrap_or(Duration::ZERO);
        Path { rtt: self.rtt, base_rtt, reverse_queue: self.reverse.excess() }
    }

    /// When everything that was handed over has been played or given up by the receiver. A libsrt
    /// receiver throws away what waits in its buffer at a Shutdown, so that acknowledgement alone is
    /// not enough.
    fn drained_at(&self) -> Option<Instant> {
        let closed = self.closed?;
        let played = self.last_capture + self.latency + self.rtt.late() + PLAYOUT_MARGIN;
        Some(if self.counters.sent.packets == 0 && self.window.len() == 0 { closed } else { played })
    }

    /// Frees packets in flight, here and in the core.
    fn release(&mut self, now: Instant, count: usize) -> Released {
        self.release_in_core(now, count);
        self.window.release(count)
    }

    fn give_up(&mut self, now: Instant, count: usize) -> Released {
        self.release_in_core(now, count);
        self.window.give_up(count)
    }

    fn release_in_core(&mut self, now: Instant, count: usize) {
        let next = self.window.sequence(count);
        let statistics = AckStatistics {
            rtt: CoreRtt::new(CORE_RTT, TimeSpan::ZERO),
            buffer_available: 0,
            packet_receive_rate: None,
            estimated_link_capacity: None,
            data_receive_rate: None,
        };
        self.tell_core(now, ControlTypes::Ack(Acknowledgement::Small(next, statistics)));
    }

    fn retransmit_lost(&mut self, now: Instant) {
        // The core's own compression insists on rising numbers, a NAK's ranges need not rise.
        self.lost.sort_unstable();
        self.lost.dedup();
        if let Some(list) = CompressedLossList::try_from_iter(self.lost.iter().copied()) {
            self.tell_core(now, ControlTypes::Nak(list));
        }
    }

    /// The timestamp is ours: the core would adjust a clock by the peer's, which only a receiver
    /// needs, and fail at one that is exactly 2^31 µs away.
    fn tell_core(&mut self, now: Instant, control_type: ControlTypes) {
        let packet = ControlPacket { timestamp: self.timestamp(now), dest_sockid: self.local, control_type };
        self.core.handle_packet_input(now, Ok((Packet::Control(packet), self.remote)));
    }

    /// Whether a packet of the core's really leaves, with what follows if it does.
    fn may_leave(&mut self, now: Instant, packet: &Packet) -> bool {
        match packet {
            Packet::Data(data) if data.retransmitted => {
                match self.window.retransmission(data.seq_number, now) {
                    Some(payload) => {
                        self.counters.retransmitted.add(payload);
                        true
                    }
                    None => {
                        self.counters.suppressed_retransmissions += 1; // one of the core's own timers
                        false
                    }
                }
            }
            Packet::Data(_) => {
                if self.window.in_flight() == 0 {
                    self.last_progress = now;
                    if self.window.in_network() == ByteCount::ZERO {
                        self.last_word = now;
                    }
                }
                self.governor.progressed();
                self.counters.sent.add(self.window.first_transmission(now));
                true
            }
            Packet::Control(_) => true,
        }
    }

    fn remember_key_request(&mut self, packet: &Packet, datagram: &[u8]) {
        if let Packet::Control(ControlPacket {
            control_type: ControlTypes::Srt(SrtControlPacket::KeyRefreshRequest(key)),
            ..
        }) = packet
        {
            self.key_request = Some((datagram[guard::HEADER_BYTES..].to_vec(), key.clone()));
        }
    }

    fn write_control(&self, now: Instant, control_type: ControlTypes, out: &mut BytesMut) {
        out.clear();
        ControlPacket { timestamp: self.timestamp(now), dest_sockid: self.peer, control_type }.serialize(out);
    }

    fn timestamp(&self, now: Instant) -> TimeStamp {
        TimeStamp::MIN + now.saturating_duration_since(self.epoch)
    }
}

/// What the receiver's thread may be late with playing the last packet.
const PLAYOUT_MARGIN: Duration = Duration::from_millis(50);
/// SRT's keep-alive interval, which the core's timers need to be called for.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// For the core: more than any capacity here; it takes no memory before there are packets. An eighth of the sequence
/// numbers, so that before and after stay apart in their circle.
const CORE_CAPACITY: PacketCount = PacketCount(1 << 28);
/// For the core: longer than any packet is kept here (its own limit is 1.25 times this), and short
/// enough for its comparisons of timestamps, which hold up to 35 minutes.
const CORE_LATENCY: Duration = Duration::from_secs(600);
/// For the core: never. Silence is measured here.
const CORE_PEER_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);
/// For the core: longer than the 100 ms after which it believes its measure of the input.
const CORE_WARM_UP: Duration = Duration::from_millis(200);
/// For the core's retransmission timers, whose packets are all left out: long enough to make them
/// rare; and its product with the repetitions of one packet (at most one in 10 ms) stays in range.
const CORE_RTT: TimeSpan = TimeSpan::from_millis(500);

#[cfg(test)]
mod tests;
