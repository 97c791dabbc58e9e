//! What is measured, paced and inferred from the peer's reports, step by step.

use super::*;

#[test]
fn what_has_arrived_is_known_before_it_is_acknowledged() {
    let (mut sender, sent) = in_flight(20);
    let arrived = |sender: &Sender, now| sender.measurement(now).arrived.packets;
    let now = sent + 60 * MS;
    sender.receive(now, &control(2, 0, &[INITIAL + 3]));
    assert_eq!(arrived(&sender, now), 3);
    // 3 to 5 are lost, 6 has arrived.
    sender.receive(now, &control(3, 0, &[0x8000_0000 | (INITIAL + 3), INITIAL + 5]));
    assert_eq!(arrived(&sender, now), 4);
    // 10 is lost, 11 has arrived.
    sender.receive(now, &control(3, 0, &[INITIAL + 10]));
    assert_eq!(arrived(&sender, now), 8);
    // The periodic report brings no news, whatever it lists.
    sender.receive(now, &control(3, 0, &[0x8000_0000 | (INITIAL + 3), INITIAL + 5, INITIAL + 10]));
    assert_eq!(arrived(&sender, now), 8);
    assert_eq!(sender.measurement(now).acknowledged.packets, 3);
    // The first hole is mended.
    drain(&mut sender, now);
    let mended = now + 60 * MS;
    sender.receive(mended, &control(2, 0, &[INITIAL + 10]));
    assert_eq!(arrived(&sender, mended), 11);
    sender.receive(mended, &control(2, 0, &[INITIAL + 20]));
    let end = sender.measurement(mended);
    assert_eq!((end.arrived, end.acknowledged.packets), (end.acknowledged, 20));
}

#[test]
fn a_fresh_round_trip_is_that_of_a_packet_sent_once_that_had_just_arrived() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut sender = sender(start);
    let mut elapsed = 0;
    // A packet leaves every 10 ms, packet n at n · 10 ms but for the first.
    let mut fresh = |datagram: &[u8], ms| {
        for ms in elapsed..=ms {
            if ms % 10 == 0 {
                sender.push(at(ms), chunk(at(ms)));
            }
            assert_eq!(sender.poll(at(ms)), None);
            drain(&mut sender, at(ms));
        }
        elapsed = ms + 1;
        sender.receive(at(ms), datagram);
        assert_eq!(sender.poll(at(ms)), None);
        drain(&mut sender, at(ms));
        let report = sender.report(at(ms));
        report.fresh_rtt.inspect(|rtt| assert!(*rtt >= report.base_rtt))
    };
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 2]), 80), Some(70 * MS));
    assert_eq!(fresh(&control(1, 0, &[0]), 81), None, "none since the last report");
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 5]), 98), Some(58 * MS));
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 5]), 99), None, "nothing new");
    // 5 is lost; 6, which left at 60 ms, shows it.
    assert_eq!(fresh(&control(3, 0, &[INITIAL + 5]), 113), Some(53 * MS));
    assert_eq!(fresh(&control(3, 0, &[INITIAL + 5]), 123), None, "the periodic report of the same loss");
    // 8 is lost as well. 5 is mended: 7 has been waiting in the receiver, nobody knows for how long.
    assert_eq!(fresh(&control(3, 0, &[INITIAL + 8]), 145), Some(55 * MS));
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 8]), 172), None);
    // Of 8, sent twice, nobody knows which one arrived.
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 9]), 205), None);
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 12]), 206), Some(96 * MS));
    assert_eq!(fresh(&control(2, 0, &[INITIAL + 18]), 217), Some(47 * MS), "less than the handshake's");
}

#[test]
fn a_mended_loss_is_no_silence_and_no_age() {
    let (mut sender, start) = in_flight(5);
    let at = |ms: u32| start + MS * ms;
    sender.receive(at(60), &control(3, 0, &[INITIAL]));
    assert_eq!(sender.poll(at(60)), None);
    drain(&mut sender, at(60));
    sender.receive(at(80), &control(1, 0, &[0]));
    let mending = sender.measurement(at(100));
    assert_eq!((mending.oldest_sent, mending.heard), (40 * MS, 40 * MS));
    assert_eq!((mending.silence, mending.oldest_unacknowledged), (100 * MS, 100 * MS));
    sender.receive(at(120), &control(2, 0, &[INITIAL + 5]));
    let mended = sender.measurement(at(150));
    assert_eq!((mended.oldest_sent, mended.heard, mended.silence), Default::default());
    // What is said of nothing does not count either, once something is in flight again.
    sender.push(at(500), chunk(at(500)));
    assert_eq!(sender.poll(at(500)), None);
    drain(&mut sender, at(500));
    let again = sender.measurement(at(510));
    assert_eq!((again.oldest_sent, again.heard, again.silence), (10 * MS, 10 * MS, 10 * MS));
}

#[test]
fn all_that_leaves_keeps_to_the_pace_and_the_rest_is_known_to_wait() {
    let start = Instant::now();
    let mut sender = sender(start);
    let pace = Bitrate::from_kbps(2_000);
    sender.allow(start, Allowance { pace: Some(pace), ..Allowance::default() });
    let (mut waiting, mut is_held, mut wire) = (0, false, 0);
    for step in 0..4_000 {
        let now = start + MS * step;
        waiting += usize::from(step % 4 == 0); // 2.6 Mbit/s of payload
        let count = sender.admits(now, waiting).min(waiting);
        waiting -= count;
        let was_held = std::mem::replace(&mut is_held, waiting > 0);
        (0..count).for_each(|_| sender.push(now, chunk(now)));
        if step % 10 == 9 {
            // Of what was sent 60 ms ago the last packet is lost, and each ACK wants its ACK2.
            let old = |it: &&Sent| it.last_sent.is_some_and(|sent| now - sent >= 60 * MS);
            let window = &sender.window;
            let lost = (0..window.in_flight()).take_while(|at| window.packet(*at).as_ref().is_some_and(old));
            if let Some(lost) = lost.last() {
                let number = window.sequence(lost).0;
                sender.receive(now, &control(2, step, &[number, 50_000, 2_000, 8_000]));
                sender.receive(now, &control(3, 0, &[number]));
            }
        }
        assert_eq!(sender.poll(now), None);
        wire += drain(&mut sender, now).iter().map(|datagram| datagram.len() as u64 + 28).sum::<u64>();
        let report = sender.report(now);
        // What waits for less than 10 ms is only spread.
        let limited_by_link = (was_held || waiting > 0) && step > 20;
        assert!(step <= 20 || report.limited_by_application != limited_by_link, "at {step} ms: {waiting}");
        let wakes = sender.deadline(now) - now;
        assert!(waiting == 0 || wakes <= 20 * MS, "at {step} ms the next packet is waited for in {wakes:?}");
    }
    let allowed = (pace * Duration::from_secs(4)).get();
    assert!(sender.counters.retransmitted.packets > 50, "{:?}", sender.counters);
    assert!((allowed * 99 / 100..=allowed + 3_000).contains(&wire), "{wire} of {allowed}");
    assert!(sender.measurement(start + 4_000 * MS).held_back > 3_900 * MS);
}

#[test]
fn a_full_network_admits_no_more_until_something_has_arrived() {
    let (mut sender, now) = in_flight(20);
    let packet = sender.window.in_network().get() / 20;
    let allow = |sender: &mut Sender, packets: u64| {
        let window = Some(ByteCount::new(packets * packet));
        sender.allow(now, Allowance { window, ..Allowance::default() });
    };
    allow(&mut sender, 25);
    assert!((1..=5).contains(&sender.admits(now, 10)), "whole packets of the largest size");
    allow(&mut sender, 20);
    assert_eq!(sender.admits(now, 10), 0);
    assert!(!sender.report(now).limited_by_application, "the link is what it waits for");
    // Three are acknowledged, 5 is lost and 6 has arrived.
    sender.receive(now + 50 * MS, &control(2, 0, &[INITIAL + 3]));
    sender.receive(now + 50 * MS, &control(3, 0, &[INITIAL + 5]));
    assert_eq!(sender.window.in_network().get(), 14 * packet);
    assert!(sender.admits(now + 50 * MS, 10) > 0);
    // A window that has shrunk below what is there lets nothing through, and no end waits for it.
    allow(&mut sender, 3);
    assert_eq!(sender.admits(now + 50 * MS, 10), 0);
    sender.expect_last(now + 50 * MS, 10);
    assert!(sender.admits(now + 50 * MS, 10) >= 10);
}

/// A sender with a round trip of 50 ± 2 ms and 30 packets in flight, of which the first was lost and
/// sent again; and when that was.
fn with_a_repetition_under_way() -> (Sender, Instant) {
    let (mut sender, now) = in_flight(30);
    sender.receive(now + 50 * MS, &control(2, 1, &[INITIAL, 50_000, 2_000, 8_000]));
    sender.receive(now + 50 * MS, &control(3, 0, &[INITIAL]));
    assert_eq!(repeated(&mut sender, now + 50 * MS), [INITIAL]);
    (sender, now + 50 * MS)
}

/// The sequence numbers that are sent again now, without the newest, which is probed for.
fn repeated(sender: &mut Sender, now: Instant) -> Vec<u32> {
    let newest = sender.window.sequence(sender.window.in_flight().saturating_sub(1)).0;
    assert_eq!(sender.poll(now), None);
    let data = drain(sender, now).into_iter().filter(|datagram| datagram[0] & 0x80 == 0);
    let again = data.filter(|datagram| datagram[4] & 4 != 0);
    let numbers = again.map(|datagram| u32::from_be_bytes(datagram[..4].try_into().unwrap()));
    numbers.filter(|number| *number != newest).collect()
}

#[test]
fn a_lost_repetition_is_sent_again_before_the_receiver_asks() {
    let unmoved = control(2, 2, &[INITIAL, 50_000, 2_000, 8_000]);
    let (mut sender, sent) = with_a_repetition_under_way();
    sender.receive(sent + 59 * MS, &unmoved);
    assert!(repeated(&mut sender, sent + 59 * MS).is_empty(), "the answer may be under way");
    sender.receive(sent + 60 * MS, &unmoved);
    assert_eq!(repeated(&mut sender, sent + 60 * MS), [INITIAL]);
    sender.receive(sent + 70 * MS, &unmoved);
    assert!(repeated(&mut sender, sent + 70 * MS).is_empty());

    // The same from a report of another loss, by a packet that left long enough after the repetition.
    let (mut sender, sent) = with_a_repetition_under_way();
    for ms in [10, 20] {
        (0..2).for_each(|_| sender.push(sent + MS * ms, chunk(sent + MS * ms)));
        assert!(repeated(&mut sender, sent + MS * ms).is_empty());
    }
    let number = |index: u32| SeqNumber::new_truncate(INITIAL + index).0;
    sender.receive(sent + 62 * MS, &control(3, 0, &[number(30)]));
    assert_eq!(repeated(&mut sender, sent + 62 * MS), [number(30)], "sent only 10 ms later");
    sender.receive(sent + 72 * MS, &control(3, 0, &[number(32)]));
    assert_eq!(repeated(&mut sender, sent + 72 * MS), [INITIAL, number(32)]);
    assert_eq!(sender.measurement(sent + 72 * MS).lost_transmissions, 4);
}

#[test]
fn a_last_chance_is_taken_twice_unless_the_first_arrives() {
    for arrives in [false, true] {
        let (mut sender, sent) = with_a_repetition_under_way();
        // That is 470 ms after the capture: there is no time for another answer.
        let last = sent + 420 * MS;
        sender.receive(last, &control(3, 0, &[INITIAL]));
        assert_eq!(repeated(&mut sender, last), [INITIAL]);
        if arrives {
            sender.receive(last + 5 * MS, &control(2, 0, &[INITIAL + 30]));
        } else {
            assert!(sender.deadline(last) <= last + COPY_DELAY);
        }
        assert!(repeated(&mut sender, last + 9 * MS).is_empty());
        assert_eq!(repeated(&mut sender, last + 10 * MS).len(), usize::from(!arrives));
        assert!(repeated(&mut sender, last + 20 * MS).is_empty());
    }
}
