//! On a virtual clock: what hostile datagrams do, what a lossy path costs, and `srt-protocol` as it
//! comes beside it, where the difference is the reason for a way round.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use srt_protocol::connection::{Connection as CoreConnection, ConnectionSettings};
use srt_protocol::options::LiveBandwidthMode;
use srt_protocol::protocol::handshake::Handshake;

use super::bounds::SMALLEST_CAPACITY;
use super::*;

mod following;

const MS: Duration = Duration::from_millis(1);
const LOCAL: SocketId = SocketId(0x1111);
const PEER: SocketId = SocketId(0x2222);
const INITIAL: u32 = 0x7fff_ff00; // the numbers wrap early in every test
const LATENCY: Duration = Duration::from_millis(500);
const PEAK: Bitrate = Bitrate::from_kbps(8_000);

fn remote() -> SocketAddr {
    ([127, 0, 0, 1], 9000).into()
}

fn core(local: SocketId, peer: SocketId, now: Instant, buffer: u64) -> CoreConnection {
    CoreConnection {
        settings: ConnectionSettings {
            remote: remote(),
            remote_sockid: peer,
            local_sockid: local,
            socket_start_time: now,
            rtt: 50 * MS,
            init_seq_num: SeqNumber(INITIAL),
            max_packet_size: PacketSize(1316),
            max_flow_size: PacketCount(25_600),
            send_tsbpd_latency: LATENCY,
            recv_tsbpd_latency: LATENCY,
            too_late_packet_drop: true,
            peer_idle_timeout: 5_000 * MS,
            recv_buffer_size: PacketCount(8_192),
            send_buffer_size: PacketCount(buffer),
            cipher: None,
            stream_id: None,
            bandwidth: LiveBandwidthMode::Unlimited,
            statistics_interval: 1_000 * MS,
        },
        handshake: Handshake::Connector,
    }
}

fn sender(now: Instant) -> Sender {
    sender_after(now, None)
}

fn sender_after(now: Instant, last_word: Option<BytesMut>) -> Sender {
    let established = Established {
        core: core(LOCAL, PEER, now, 32),
        latency: LATENCY,
        rtt: 50 * MS,
        skips_late: true,
        last_word,
    };
    Sender::new(established, PEAK, now)
}

#[test]
fn a_peer_that_missed_the_end_of_the_handshake_hears_it_again_until_it_speaks() {
    let now = Instant::now();
    let handshake = |kind: i32| -> Vec<u8> {
        let words = [0x8000_0000, 0, 77, 0, 5, 1, 9, 1500, 8192, kind as u32, PEER.0, 4242, 0, 0, 0, 0];
        words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect()
    };
    let mut sender = sender_after(now, Some(handshake(-1).as_slice().into()));
    let mut out = BytesMut::new();
    let epoch = sender.epoch;
    for millis in [250, 500] {
        let later = now + MS * millis;
        sender.receive(later, &handshake(-1));
        assert!(sender.next_datagram(later, &mut out));
        let mut expected = handshake(-1);
        expected[8..12].copy_from_slice(&((later - epoch).as_micros() as u32).to_be_bytes());
        assert_eq!(out, expected, "the same, with the time of now");
        assert!(!sender.next_datagram(later, &mut out), "once for each time");
    }
    sender.receive(now + 600 * MS, &handshake(1));
    assert_eq!(sender.rejections().of(Rejection::WrongSocket), 1, "an Induction is not for a connection");
    let keep_alive = [0x8001_0000u32, 0, 0, LOCAL.0, 0].map(u32::to_be_bytes).concat();
    sender.receive(now + 700 * MS, &keep_alive);
    sender.receive(now + 800 * MS, &handshake(-1));
    assert!(!sender.next_datagram(now + 800 * MS, &mut out), "it has heard it: a late repetition");
}

fn chunk(captured: Instant) -> Chunk {
    Chunk { captured, data: Bytes::from_static(&[0x47; 1316]) }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn control(kind: u32, info: u32, body: &[u32]) -> Vec<u8> {
    words(&[&[0x8000_0000 | kind << 16, info, 0, LOCAL.0], body].concat())
}

/// All datagrams that want to leave.
fn drain(sender: &mut Sender, now: Instant) -> Vec<BytesMut> {
    let (mut all, mut out) = (Vec::new(), BytesMut::new());
    while sender.next_datagram(now, &mut out) {
        all.push(out.clone());
    }
    all
}

/// A sender with so many packets in flight.
fn in_flight(count: usize) -> (Sender, Instant) {
    let start = Instant::now();
    let mut sender = sender(start);
    let now = start + 2 * MS * count as u32;
    (0..count).for_each(|_| sender.push(now, chunk(now)));
    assert_eq!(sender.poll(now), None);
    drain(&mut sender, now);
    assert_eq!(sender.window.in_flight(), count);
    (sender, now)
}

/// What the core holds is what we believe that it holds.
fn core_agrees(sender: &mut Sender, now: Instant) -> bool {
    sender.core.update_statistics(now);
    sender.core.statistics().tx_buffered_data == sender.window.len() as u64
}

/// Each of these ends or stalls a raw `srt-protocol` connection.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut datagrams = vec![
        ("congestion warning", control(4, 0, &[0])),
        ("peer error", control(8, 4000, &[0])),
        ("unterminated range", control(3, 0, &[0x8000_0001])),
        ("stream id without text", control(0x7fff, 0, &[])),
        ("ACK with the largest number", control(2, u32::MAX, &[INITIAL, 20_000, 1_000, 8_000, 1, 1, 1])),
        ("ACK with a negative round trip", control(2, 1, &[INITIAL, 0x8000_0000, 0x7fff_ffff, 1, 1, 1, 1])),
        ("a timestamp as far away as can be", {
            let mut ack = control(2, 1, &[INITIAL, 20_000, 1_000, 8_000, 1, 1, 1]);
            ack[8..12].copy_from_slice(&0x8000_0000u32.to_be_bytes());
            ack
        }),
    ];
    for subtype in [5u32, 6, 7, 8] {
        datagrams.push(("extension without a body", control(0x7fff, 0, &[]).with_subtype(subtype)));
    }
    datagrams
}

trait Subtype {
    fn with_subtype(self, subtype: u32) -> Self;
}

impl Subtype for Vec<u8> {
    fn with_subtype(mut self, subtype: u32) -> Self {
        self[2..4].copy_from_slice(&(subtype as u16).to_be_bytes());
        self
    }
}

#[test]
fn what_ends_a_raw_connection_is_survived_and_counted() {
    let mut deadly = 0;
    for (name, datagram) in hostile() {
        let now = Instant::now();
        let raw = catch_unwind(AssertUnwindSafe(|| {
            let mut raw = DuplexConnection::new(core(LOCAL, PEER, now, 8_192));
            let later = now + 100 * MS;
            raw.handle_data_input(now, Some((now, Bytes::from_static(&[0; 1316]))));
            raw.check_timers(later);
            let mut bytes = std::io::Cursor::new(&datagram[..]);
            let packet = Packet::parse(&mut bytes, false).map(|packet| (packet, remote()));
            raw.handle_packet_input(later, packet.map_err(Into::into));
            raw.check_timers(later + 1_000 * MS);
        }));
        deadly += u32::from(raw.is_err());
        let (mut ours, later) = in_flight(3);
        ours.receive(later, &datagram);
        assert_eq!(ours.poll(later), None, "{name}");
        drain(&mut ours, later);
        assert!(core_agrees(&mut ours, later), "{name}");
        let harmless = name.starts_with("ACK with the largest") || name.starts_with("a timestamp");
        assert_eq!(ours.rejections.total(), u64::from(!harmless), "{name}");
    }
    assert!(deadly >= 9, "only {deadly} of these harm srt-protocol: is the guard still needed?");
}

#[test]
fn a_range_of_all_numbers_takes_no_time() {
    for (first, last) in [(1, 0x7fff_fff0), (0x7fff_fff0, 5), (INITIAL, 30_000)] {
        let (mut sender, now) = in_flight(3);
        let clock = Instant::now();
        sender.receive(now, &control(3, 0, &[0x8000_0000 | first, last]));
        assert!(clock.elapsed() < 10 * MS);
        assert_eq!(sender.rejections.of(Rejection::OutsideWindow), 1);
        assert_eq!(sender.counters.nak_packets, 0);
    }
}

/// Random datagrams, and real ones with some bytes changed, all for the right socket.
/// No step may take 50 ms; but one that is slow because the machine is busy is not slow again.
fn fuzz(count: u32, mutated: bool) {
    let mut slow = fuzzed(count, mutated);
    for _ in 0..2 {
        if !slow.is_empty() {
            let again = fuzzed(count, mutated);
            slow.retain(|step| again.contains(step));
        }
    }
    assert!(slow.is_empty(), "steps {slow:?} take 50 ms and more");
}

fn fuzzed(count: u32, mutated: bool) -> Vec<u32> {
    let (mut sender, mut now) = in_flight(300);
    let mut random = Pcg64Mcg::seed_from_u64(11);
    let mut slow = Vec::new();
    for step in 0..count {
        let mut datagram = if mutated {
            let number = sender.window.sequence(random.gen_range(0..300)).0;
            match random.gen_range(0..8) {
                0 => control(2, step, &[number, 50_000, 2_000, 8_000, 600, 1_000, 750_000]),
                1 => control(2, 0, &[number]),
                2 => control(3, 0, &[number, 0x8000_0000 | number, (number + 20) & 0x7fff_ffff]),
                3 => control(0x7fff, 0, &[0x1220_2900, 0, 0x0200_0200, 0x0404, 1, 2, 3, 4]).with_subtype(4),
                4 => control(1, 0, &[0]),
                5 => control(
                    0,
                    0,
                    &[5, 3, INITIAL, 1500, 8192, u32::MAX, PEER.0, 0, 0, 0, 0, 0, 0x2_0003, 1, 2, 3],
                ),
                6 => control(6, step, &[0]),
                _ => control(7, 0, &[number, number]),
            }
        } else {
            (0..random.gen_range(0..400)).map(|_| random.r#gen()).collect()
        };
        for _ in 0..if mutated { random.gen_range(0..4) } else { 0 } {
            let at = random.gen_range(0..datagram.len());
            datagram[at] = random.r#gen();
        }
        if datagram.len() >= 16 {
            datagram[12..16].copy_from_slice(&LOCAL.0.to_be_bytes());
        }
        now += MS / 100;
        let clock = Instant::now();
        sender.receive(now, &datagram);
        sender.shut_down_by_peer = false; // any Shutdown for our socket ends the connection, see below
        if sender.window.len() < 300 {
            sender.push(now, chunk(now));
        }
        assert_eq!(sender.poll(now), None);
        drain(&mut sender, now);
        if clock.elapsed() >= 50 * MS {
            slow.push(step);
        }
    }
    assert!(core_agrees(&mut sender, now));
    assert!(sender.rejections.total() > u64::from(count) / 10, "{:?}", sender.rejections);
    slow
}

#[test]
fn a_hundred_thousand_random_datagrams_are_survived() {
    fuzz(100_000, false);
}

#[test]
fn a_hundred_thousand_mutated_datagrams_are_survived() {
    fuzz(100_000, true);
}

proptest! {
    #[test]
    fn any_sequence_of_events_leaves_the_window_and_the_core_agreed(
        events in proptest::collection::vec((0u8..7, any::<u32>(), any::<u32>()), 1..120),
    ) {
        let start = Instant::now();
        let mut sender = sender(start);
        let (mut now, mut arrived, mut held_back) = (start, 0, Duration::ZERO);
        for (kind, a, b) in events {
            let near = SeqNumber::new_truncate(INITIAL + a % 200).0;
            match kind {
                0 => (0..a % 40).for_each(|left| {
                    if sender.admits(now, 40 - left as usize) > 0 {
                        sender.push(now, chunk(now));
                        drain(&mut sender, now);
                    }
                }),
                1 => sender.receive(now, &control(2, b, &[near, a % 500_000, b % 100_000, 100, 1, 2, 3])),
                2 => sender.receive(now, &control(3, 0, &[0x8000_0000 | near, (near + b % 50) & 0x7fff_ffff])),
                3 => sender.receive(now, &words(&[a, b, a ^ b, LOCAL.0, b])),
                4 => sender.receive(now, &control(2, 0, &[a, b])),
                5 => sender.allow(
                        now,
                        Allowance {
                            pace: (a % 5 > 0).then(|| Bitrate::from_bps(u64::from(b) % 10_000_000)),
                            window: (a % 3 > 0).then(|| ByteCount::new(u64::from(b) % 100_000)),
                            peak: (a % 7 > 0).then(|| Bitrate::from_bps(u64::from(b) % 50_000_000)),
                        },
                    ),
                _ => now += MS * (a % 700),
            }
            sender.shut_down_by_peer = false;
            sender.last_heard = now;
            sender.poll(now);
            drain(&mut sender, now);
            prop_assert!(core_agrees(&mut sender, now));
            let (m, held) = (sender.report(now), sender.window.held().packets);
            prop_assert!(sender.deadline(now) <= now + KEEP_ALIVE);
            let accounted = m.acknowledged.packets + m.late_packets + m.in_flight_packets;
            prop_assert_eq!(m.sent.packets, accounted);
            prop_assert_eq!(held, m.in_flight_packets + sender.window.waiting() as u64);
            prop_assert_eq!(m.handed_over.packets, m.sent.packets + sender.window.waiting() as u64);
            prop_assert!(m.arrived.packets >= arrived.max(m.acknowledged.packets), "{:?}", m);
            prop_assert!(m.arrived.packets <= m.sent.packets);
            prop_assert!(m.held_back >= held_back && m.held_back <= now - start);
            prop_assert!(m.fresh_rtt.is_none_or(|rtt| rtt >= m.base_rtt && rtt <= now - start));
            prop_assert!(m.oldest_sent.max(m.heard).max(m.silence) <= now - start);
            (arrived, held_back) = (m.arrived.packets, m.held_back);
        }
    }
}

#[test]
fn sequence_numbers_out_of_the_window_change_nothing() {
    let (mut sender, now) = in_flight(10);
    let beyond = SeqNumber(INITIAL) + 11;
    for datagram in [
        control(2, 1, &[beyond.0, 50_000, 2_000, 8_000]),
        control(2, 0, &[INITIAL - 100_000]),
        control(3, 0, &[beyond.0]),
        control(3, 0, &[INITIAL, 0x8000_0000 | INITIAL, beyond.0]),
    ] {
        sender.receive(now, &datagram);
    }
    assert_eq!(sender.rejections.of(Rejection::OutsideWindow), 4);
    assert_eq!((sender.window.in_flight(), sender.counters.nak_packets), (10, 0));
    // A report that crossed an acknowledgement on its way is no attack.
    sender.receive(now, &control(2, 0, &[INITIAL + 5]));
    sender.receive(now, &control(2, 0, &[INITIAL + 3]));
    sender.receive(now, &control(3, 0, &[INITIAL + 4]));
    assert_eq!((sender.rejections.total(), sender.window.in_flight()), (4, 5));
}

#[test]
fn a_shutdown_for_our_socket_ends_the_connection() {
    let (mut sender, now) = in_flight(1);
    let mut other = control(5, 0, &[0]);
    other[15] ^= 1;
    sender.receive(now, &other);
    assert_eq!(sender.poll(now), None);
    sender.receive(now, &control(5, 0, &[0]));
    assert_eq!(sender.poll(now), Some(Finished::ClosedByPeer));
}

/// Packets of `number` that leave within a time, retransmissions included.
fn raw_packets(raw: &mut DuplexConnection, from: Instant, time: Duration) -> usize {
    let mut count = 0;
    for step in 0..time.as_millis() as u32 {
        raw.check_timers(from + MS * step);
        while let Some((packet, _)) = raw.next_packet(from + MS * step) {
            count += usize::from(packet.data().is_some());
        }
    }
    count
}

#[test]
fn a_full_buffer_does_not_stop_the_sender() {
    let now = Instant::now();
    let mut raw = DuplexConnection::new(core(LOCAL, PEER, now, 32));
    (0..40).for_each(|_| raw.handle_data_input(now, Some((now, Bytes::from_static(&[0; 1316])))));
    assert_eq!(raw_packets(&mut raw, now, 900 * MS), 0, "the raw core is wedged");

    let mut ours = sender(now);
    assert!(ours.room() >= 1000);
    while ours.room() > 0 {
        ours.push(now, chunk(now));
    }
    let mut sent = 0;
    for step in 0..50 {
        ours.poll(now + MS * step);
        sent += drain(&mut ours, now + MS * step).len();
    }
    assert_eq!(sent, ours.capacity, "all of it soon, and none of it again unasked");
}

#[test]
fn the_buffer_holds_twice_what_the_peak_leaves_in_it() {
    let (peak, packets) = (Bitrate::from_kbps(8_000), 8e6 / 8.0 / 1316.0);
    assert_eq!(capacity(peak, patience(2_000 * MS)), (2.0 * packets * 3.0f64).ceil() as usize);
    assert_eq!(patience(100 * MS), 1_000 * MS);
    assert_eq!(capacity(Bitrate::ZERO, 1_000 * MS), SMALLEST_CAPACITY);
}

#[test]
fn a_peak_that_rises_makes_room_at_once_and_one_that_falls_drops_nothing() {
    let now = Instant::now();
    let mut sender = sender(now);
    let before = sender.room();
    let peak = |kbps| Allowance { peak: Some(Bitrate::from_kbps(kbps)), ..Allowance::default() };
    sender.allow(now, peak(100_000));
    let risen = sender.room();
    assert!(risen > 5 * before, "{before} → {risen}");
    while sender.room() > 0 {
        sender.push(now, chunk(now));
    }
    sender.allow(now, Allowance::default());
    assert_eq!(sender.capacity, risen, "it stays until something else is said");
    sender.allow(now, peak(1));
    assert_eq!((sender.room(), sender.capacity), (0, SMALLEST_CAPACITY));
    let mut sent = 0;
    for step in 0..400 {
        sender.poll(now + MS * step);
        sent += drain(&mut sender, now + MS * step).len();
    }
    assert_eq!(sent, risen, "the core has forgotten none");
}

#[test]
fn what_is_given_up_is_counted_and_leaves_nothing_behind() {
    let (mut sender, now) = in_flight(20);
    let given_up = now + 1_000 * MS;
    assert!(sender.deadline(now) <= given_up);
    sender.poll(given_up);
    assert_eq!(sender.measurement(given_up).late_packets, 0);
    sender.poll(given_up + MS);
    assert_eq!(sender.measurement(given_up + MS).late_packets, 20);
    assert!(core_agrees(&mut sender, given_up + MS));
    assert_eq!(sender.measurement(given_up + MS).oldest_unacknowledged, Duration::ZERO);
    // The raw core counts none of them.
    let mut raw = DuplexConnection::new(core(LOCAL, PEER, now, 8_192));
    (0..20).for_each(|_| raw.handle_data_input(now, Some((now, Bytes::from_static(&[0; 1316])))));
    raw_packets(&mut raw, now, 2_000 * MS);
    raw.update_statistics(now + 2_000 * MS);
    assert_eq!((raw.statistics().tx_buffered_data, raw.statistics().tx_dropped_data), (0, 0));
}

#[test]
fn received_data_is_not_let_in() {
    let (mut sender, now) = in_flight(1);
    for number in 0..50_000 {
        sender.receive(
            now,
            &words(&[(INITIAL + number) & 0x7fff_ffff, 0xc000_0000 | number, 0, LOCAL.0, 1, 2, 3]),
        );
    }
    assert_eq!(sender.rejections.of(Rejection::Data), 50_000);
    assert!(sender.core.next_data(now + 1_000 * MS).is_none());
    assert!(drain(&mut sender, now).is_empty(), "nothing of it is acknowledged or asked for again");
}

#[test]
fn every_full_acknowledgement_gets_its_ack2() {
    let (mut sender, now) = in_flight(2);
    let everything = control(2, 7, &[INITIAL + 2, 50_000, 2_000, 8_000, 1, 1, 1]);
    for number in [7u32, 8] {
        let mut ack = everything.clone();
        ack[4..8].copy_from_slice(&number.to_be_bytes());
        sender.receive(now, &ack); // the second one finds nothing left to acknowledge
        let answers = drain(&mut sender, now);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0][..8], words(&[0x8006_0000, number])[..]);
    }
    assert_eq!(sender.measurement(now).rtt, 50 * MS);
}

#[test]
fn closing_waits_until_the_last_packet_was_played() {
    let (mut sender, now) = in_flight(3);
    sender.close(now);
    sender.receive(now, &control(2, 0, &[INITIAL + 3]));
    assert_eq!(sender.poll(now + LATENCY), None, "all acknowledged, and still in the receiver's buffer");
    let played = now + LATENCY + sender.rtt.late() + PLAYOUT_MARGIN;
    assert_eq!(sender.poll(played - MS), None);
    assert_eq!(sender.poll(played), Some(Finished::Drained));
    let mut unused = super::tests::sender(now);
    unused.close(now);
    assert_eq!(unused.poll(now), Some(Finished::Drained));
}

#[test]
fn silence_is_noticed_after_five_seconds_whatever_is_sent() {
    let (mut sender, start) = in_flight(1);
    let heard = sender.last_heard;
    let mut now = start;
    let finished = loop {
        now += 10 * MS;
        sender.push(now, chunk(now));
        if let Some(finished) = sender.poll(now) {
            break finished;
        }
        drain(&mut sender, now);
        let expected = (now - sender.last_progress).max(10 * MS);
        assert!(sender.measurement(now).silence <= expected);
    };
    assert!(matches!(finished, Finished::PeerIdle { silence } if silence >= PEER_IDLE));
    assert!(now - heard < PEER_IDLE + 20 * MS);
}

/// One way of a path with a fixed delay; the other end is the crate's own receiver.
struct Run {
    sent: usize,
    repeated: usize,
    delivered: usize,
}

fn over_a_path(loss: f64, governed: bool) -> Run {
    const STEPS: u32 = 10_000;
    let start = Instant::now();
    let mut ours = governed.then(|| sender(start));
    let mut raw = DuplexConnection::new(core(LOCAL, PEER, start, 8_192));
    let mut receiver = DuplexConnection::new(core(PEER, LOCAL, start, 8_192));
    let mut random = Pcg64Mcg::seed_from_u64(3);
    let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
    let mut run = Run { sent: 0, repeated: 0, delivered: 0 };
    let mut out = BytesMut::new();
    for step in 0..STEPS + 2_000 {
        let now = start + MS * step;
        // A frame's worth every 40 ms.
        if step < STEPS && step % 40 == 0 {
            for _ in 0..24 {
                match &mut ours {
                    Some(ours) => ours.push(now, chunk(now)),
                    None => raw.handle_data_input(now, Some((now, Bytes::from_static(&[0x47; 1316])))),
                }
            }
        }
        while back.front().is_some_and(|(at, _)| *at <= now) {
            let (_, datagram): (Instant, BytesMut) = back.pop_front().unwrap();
            match &mut ours {
                Some(ours) => ours.receive(now, &datagram),
                None => raw.handle_packet_input(now, parse(&datagram)),
            }
        }
        let leaving: Vec<BytesMut> = match &mut ours {
            Some(ours) => {
                ours.poll(now);
                drain(ours, now)
            }
            None => {
                raw.check_timers(now);
                std::iter::from_fn(|| raw.next_packet(now)).map(|(packet, _)| serialized(&packet)).collect()
            }
        };
        for datagram in leaving {
            let data = datagram[0] & 0x80 == 0;
            run.sent += usize::from(data && datagram[4] & 4 == 0);
            run.repeated += usize::from(data && datagram[4] & 4 != 0);
            if !data || random.r#gen::<f64>() >= loss {
                there.push_back((now + 25 * MS, datagram));
            }
        }
        while there.front().is_some_and(|(at, _)| *at <= now) {
            receiver.handle_packet_input(now, parse(&there.pop_front().unwrap().1));
        }
        receiver.check_timers(now);
        while let Some((packet, _)) = receiver.next_packet(now) {
            out.clear();
            packet.serialize(&mut out);
            back.push_back((now + 25 * MS, out.clone()));
        }
        while receiver.next_data(now).is_some() {
            run.delivered += 1;
        }
    }
    run
}

fn parse(datagram: &[u8]) -> srt_protocol::packet::ReceivePacketResult {
    let packet = Packet::parse(&mut std::io::Cursor::new(datagram), false).unwrap();
    Ok((packet, remote()))
}

fn serialized(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    packet.serialize(&mut out);
    out
}

#[test]
fn no_more_is_sent_again_than_was_lost() {
    for percent in [0.0, 2.0, 5.0, 10.0] {
        let (ours, raw) = (over_a_path(percent / 100.0, true), over_a_path(percent / 100.0, false));
        let share = |run: &Run| 100.0 * run.repeated as f64 / run.sent as f64;
        eprintln!("{percent} % lost: {:.1} % sent again, raw {:.1} %", share(&ours), share(&raw));
        // The crate's receiver waits for ever longer between its reports; libsrt's does better.
        let missing = (ours.sent - ours.delivered) as f64 / ours.sent as f64;
        assert!(missing <= if percent > 5.0 { 0.005 } else { 0.0 }, "{missing} at {percent} %");
        assert!(share(&ours) <= 1.3 * percent + 1.0, "{} % at {percent} %", share(&ours));
        assert!(share(&raw) > share(&ours) + 5.0 || percent == 0.0);
    }
}

#[test]
fn a_lost_tail_is_probed_for() {
    let (mut sender, now) = in_flight(5);
    let probe = sender.probe_at().unwrap();
    assert!(sender.deadline(now) <= probe);
    sender.poll(probe - MS / 10);
    assert!(drain(&mut sender, probe - MS / 10).is_empty());
    let mut sent = Vec::new();
    for step in 0..3 {
        sender.poll(probe + MS * step);
        sent.extend(drain(&mut sender, probe + MS * step));
    }
    assert_eq!(sent.len(), 1);
    let newest = SeqNumber(INITIAL) + 4;
    assert_eq!(sent[0][..4], newest.0.to_be_bytes());
    assert_ne!(sent[0][4] & 4, 0, "marked as a retransmission");
}
