use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn spec(line: &str) -> Spec {
    line.parse().unwrap()
}

/// When a packet of `wire` bytes, headers included, is delivered.
fn deliver(link: &mut Link, now: Duration, wire: usize) -> Duration {
    match link.offer(now, wire - HEADER_BYTES as usize) {
        Verdict::Deliver { at, .. } => at,
        Verdict::Dropped(reason) => panic!("dropped at {now:?}: {reason:?}"),
    }
}

fn reason(verdict: Verdict) -> Option<DropReason> {
    match verdict {
        Verdict::Deliver { .. } => None,
        Verdict::Dropped(reason) => Some(reason),
    }
}

#[test]
fn a_perfect_link_only_delays() {
    let mut link = spec("delay=25ms").uplink();
    assert_eq!(deliver(&mut link, ms(3), 1500), ms(28));
    assert_eq!(deliver(&mut link, ms(3), 1500), ms(28));
    assert_eq!(link.capacity(ms(500)), None);
    assert_eq!(link.queued(ms(3)), ByteCount::ZERO);
}

#[test]
fn headers_count() {
    let mut link = spec("rate=8k").uplink(); // One byte a millisecond.
    let Verdict::Deliver { at, queued } = link.offer(ms(0), 100) else { panic!("dropped") };
    assert_eq!((at, queued), (ms(128), ms(128)));
    assert_eq!(link.counters().offered, Traffic { packets: 1, bytes: ByteCount::new(128) });
}

#[test]
fn the_rate_is_exact_over_an_hour() {
    // 7.3 Mbit/s does not divide a second into whole nanoseconds a packet: nothing may add up.
    let mut link = spec("rate=7300k,queue=100000").uplink();
    let (mut now, mut last, mut bytes) = (Duration::ZERO, Duration::ZERO, 0_u64);
    while now < Duration::from_secs(3600) {
        while link.queued(now) < ByteCount::new(50_000) {
            last = deliver(&mut link, now, 1344);
            bytes += 1344;
        }
        now += ms(10);
    }
    let exact = Bitrate::from_kbps(7300).time_for(ByteCount::new(bytes));
    assert!(last.abs_diff(exact) <= Duration::from_nanos(2), "{last:?} against {exact:?}");
}

#[test]
fn an_idle_link_saves_nothing_up() {
    let mut link = spec("rate=12M").uplink(); // 1500 bytes a millisecond.
    assert_eq!(deliver(&mut link, ms(0), 1500), ms(1));
    assert_eq!(deliver(&mut link, ms(100), 1500), ms(101));
    assert_eq!(deliver(&mut link, ms(100), 1500), ms(102));
}

#[test]
fn the_queue_holds_what_it_says_and_newcomers_lose() {
    let mut link = spec("rate=12M,queue=4500").uplink();
    for _ in 0..3 {
        deliver(&mut link, ms(0), 1500);
    }
    assert_eq!(link.queued(ms(0)), ByteCount::new(4500));
    assert_eq!(reason(link.offer(ms(0), 0)), Some(DropReason::Queue));
    // After the first has left there is room for one again.
    assert_eq!(deliver(&mut link, ms(1), 1500), ms(4));
    assert_eq!(reason(link.offer(ms(1), 1472)), Some(DropReason::Queue));
    assert_eq!(link.counters().queue_drops.packets, 2);
    assert_eq!(link.queued(ms(4)), ByteCount::ZERO);
}

#[test]
fn a_packet_on_the_wire_is_served_at_both_rates() {
    let mut link = spec("rate=12M,at=1s:rate=1200k,at=3s:rate=12M").uplink();
    // Half of it in the last 0.5 ms at 12 Mbit/s, the other half in 5 ms at 1.2 Mbit/s.
    assert_eq!(deliver(&mut link, Duration::from_micros(999_500), 1500), ms(1005));
    assert_eq!(link.capacity(ms(1000)), Some(Bitrate::from_kbps(12_000)));
    assert_eq!(link.capacity(ms(2000)), Some(Bitrate::from_kbps(1200)));
    assert_eq!(link.capacity(ms(9000)), Some(Bitrate::from_kbps(12_000)));
    assert_eq!(link.capacity_between(ms(500), ms(3500)), Some(ByteCount::new(2 * 750_000 + 2 * 150_000)));
}

#[test]
fn a_limit_can_begin_later() {
    let mut link = spec("at=1s:rate=12M").uplink();
    assert_eq!(deliver(&mut link, ms(999), 1500), ms(999));
    assert_eq!(link.capacity_between(ms(0), ms(2000)), None);
    assert_eq!(deliver(&mut link, ms(1000), 1500), ms(1001));
}

#[test]
fn the_end_of_time_is_no_trouble() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let stuck = Spec { rate: Some(Bitrate::ZERO), ..Spec::default() };
    for spec in [spec(""), spec("rate=1M"), spec("at=1s:rate=1M"), stuck] {
        let mut link = spec.uplink();
        for now in [Duration::ZERO, century, Duration::MAX, Duration::MAX] {
            assert!(deliver(&mut link, now, 1500) >= now.min(2 * century));
        }
    }
}

#[test]
fn an_outage_stops_service_and_the_queue_waits_as_in_a_modem() {
    let mut link = spec("rate=12M,queue=3000,outage=1s+2s").uplink();
    // Half served when the outage begins, the rest afterwards.
    assert_eq!(deliver(&mut link, Duration::from_micros(999_500), 1500), Duration::from_micros(3_000_500));
    assert_eq!(deliver(&mut link, ms(1500), 1500), Duration::from_micros(3_001_500));
    assert_eq!(reason(link.offer(ms(2500), 1000)), Some(DropReason::Queue));
    assert_eq!(link.capacity(ms(2000)), Some(Bitrate::ZERO));
    assert_eq!(deliver(&mut link, ms(5000), 1500), ms(5001));
}

#[test]
fn an_outage_of_an_unlimited_direction_drops() {
    for mut link in
        [spec("delay=5ms,outage=1s+2s").uplink(), spec("rate=1M,delay=5ms,outage=1s+2s").downlink()]
    {
        assert_eq!(deliver(&mut link, ms(999), 100), ms(1004));
        assert_eq!(reason(link.offer(ms(1000), 100)), Some(DropReason::Outage));
        assert_eq!(reason(link.offer(ms(2999), 100)), Some(DropReason::Outage));
        assert_eq!(deliver(&mut link, ms(3000), 100), ms(3005));
        assert_eq!(link.counters().outage_drops.packets, 2);
    }
}

#[test]
fn outages_that_touch_are_one() {
    let mut link = spec("rate=12M,outage=1s+2s,outage=2s+2s,outage=4s+1s").uplink();
    assert_eq!(deliver(&mut link, ms(1500), 1500), ms(5001));
    assert_eq!(link.capacity_between(ms(0), ms(6000)), Some(ByteCount::new(2 * 1_500_000)));
}

#[test]
fn a_cut_cable_drops_everything_until_restored() {
    let mut link = spec("rate=12M").uplink();
    link.set_outage(true);
    assert_eq!(reason(link.offer(ms(0), 100)), Some(DropReason::Outage));
    assert_eq!(link.capacity(ms(0)), Some(Bitrate::ZERO));
    link.set_outage(false);
    assert_eq!(deliver(&mut link, ms(1), 1500), ms(2));
}

#[test]
fn loss_uses_the_bottleneck_all_the_same() {
    let mut link = spec("rate=12M,loss=0.5,queue=2000000").uplink();
    let mut last = Duration::ZERO;
    for _ in 0..1000 {
        if let Verdict::Deliver { at, .. } = link.offer(ms(0), 1472) {
            last = at;
        }
    }
    let counters = link.counters();
    assert!((400..600).contains(&counters.lost.packets), "{counters:?}");
    assert!(last > ms(980), "{last:?}");
}

#[test]
fn the_downlink_has_a_loss_of_its_own() {
    let spec = spec("loss=1,loss-down=0.2");
    assert_eq!(reason(spec.uplink().offer(ms(0), 100)), Some(DropReason::Loss));
    let mut down = spec.downlink();
    for _ in 0..10_000 {
        down.offer(ms(0), 100);
    }
    assert!((1840..2160).contains(&down.counters().lost.packets), "{:?}", down.counters());
}

#[test]
fn jitter_keeps_the_order_unless_told_otherwise() {
    let arrivals = |line: &str| -> Vec<Duration> {
        let mut link = spec(line).uplink();
        (0..500).map(|number| deliver(&mut link, ms(number * 2), 1000)).collect()
    };
    let ordered = arrivals("delay=20ms,jitter=10ms");
    assert!(ordered.is_sorted());
    assert!((0..).zip(&ordered).all(|(n, at)| (ms(20)..ms(30)).contains(&(*at - ms(n * 2)))));
    let disordered = arrivals("delay=20ms,jitter=10ms,reorder=yes");
    assert!(!disordered.is_sorted());
    assert!((0..).zip(&disordered).all(|(n, at)| (ms(20)..ms(30)).contains(&(*at - ms(n * 2)))));
}

#[test]
fn a_mahimahi_trace_gives_its_opportunities_and_repeats() {
    // 1500 bytes at 1, 2, 2 and 5 ms, again from 5 ms on.
    let trace: Trace = "1\n2\n2\n5\n".parse().unwrap();
    let mut link = spec("queue=100000").with_trace(trace).uplink();
    // Two small packets share the first, the third needs the one after.
    let small: Vec<_> = (0..3).map(|_| deliver(&mut link, ms(0), 700)).collect();
    assert_eq!(small, [ms(1), ms(1), ms(2)]);
    // What is left of an opportunity goes to whoever waits by then.
    assert_eq!(deliver(&mut link, ms(1), 800), ms(2));
    assert_eq!(link.queued(ms(1)), ByteCount::new(1400));
    // An opportunity at the very time of arrival is gone, and the rest until 5 ms unused.
    assert_eq!(deliver(&mut link, ms(2), 1500), ms(5));
    assert_eq!(deliver(&mut link, ms(12), 1500), ms(15));
    // A long idle time passes at once: 5 ms × 100 000 000.
    assert_eq!(deliver(&mut link, ms(500_000_000), 1501), ms(500_000_002));
    assert_eq!(link.capacity_between(ms(0), ms(10)), Some(ByteCount::new(8 * 1500)));
    assert_eq!(link.capacity(ms(1000)), Some(Bitrate::from_kbps(80 * 1500 * 8 / 100)));
}

#[test]
fn opportunities_in_an_outage_pass_unused() {
    let trace: Trace = "1\n".parse().unwrap();
    let mut link = spec("queue=100000,outage=10ms+5ms,outage=20ms+1ms").with_trace(trace).uplink();
    assert_eq!(deliver(&mut link, ms(9), 1500), ms(15));
    assert_eq!(deliver(&mut link, ms(11), 700), ms(16));
    assert_eq!(deliver(&mut link, ms(19), 700), ms(21));
    // Of 1..=30 ms the five from 10 to 14 and the one at 20 are missing.
    assert_eq!(link.capacity_between(ms(0), ms(30)), Some(ByteCount::new(24 * 1500)));
    assert_eq!(link.capacity_between(ms(9), ms(14)), Some(ByteCount::ZERO));
    assert_eq!(link.capacity_between(ms(10), ms(15)), Some(ByteCount::new(1500)));
}

#[test]
fn steps_of_a_trace_repeat_and_may_be_zero() {
    // 12 Mbit/s, nothing, 12 Mbit/s: 10 ms each.
    let trace: Trace = "0,12000\n10,0\n20,12000\n".parse().unwrap();
    let mut link = spec("queue=100000").with_trace(trace).uplink();
    assert_eq!(deliver(&mut link, ms(9), 1500), ms(10));
    assert_eq!(deliver(&mut link, ms(10), 1500), ms(21));
    assert_eq!(deliver(&mut link, ms(29), 1500), ms(30));
    assert_eq!(deliver(&mut link, ms(45), 1500), ms(51));
    assert_eq!(link.capacity_between(ms(0), ms(60)), Some(ByteCount::new(40 * 1500)));
}

#[test]
fn losses_are_those_of_the_reference_generator() {
    // PCG32 (XSH-RR) with seed 2 × 7 and stream 1, computed with another implementation.
    let mut link = spec("loss=0.1,seed=7").uplink();
    let lost: Vec<usize> = (0..60).filter(|_| reason(link.offer(ms(0), 100)).is_some()).collect();
    assert_eq!(lost, [11, 22, 44, 48, 52]);
}

#[derive(Clone, Debug)]
enum Capacity {
    Line(String),
    Opportunities(Vec<u64>),
    Steps(Vec<u64>),
}

fn any_capacity() -> impl Strategy<Value = Capacity> {
    prop_oneof![
        Just(Capacity::Line(String::new())),
        (100_u64..20_000, 0_u64..2000, 100_u64..20_000)
            .prop_map(|(rate, at, then)| Capacity::Line(format!("rate={rate}k,at={at}ms:rate={then}k"))),
        proptest::collection::vec(0_u64..5, 1..20).prop_map(|gaps| {
            let mut times = vec![1];
            times.extend(gaps.iter().scan(1, |at, gap| {
                *at += gap;
                Some(*at)
            }));
            Capacity::Opportunities(times)
        }),
        proptest::collection::vec(0_u64..20_000, 1..8).prop_map(|mut rates| {
            rates.push(1000);
            Capacity::Steps(rates)
        }),
    ]
}

fn build(capacity: &Capacity, line: &str) -> Spec {
    match capacity {
        Capacity::Line(rate) => spec(&format!("{rate},{line}")),
        Capacity::Opportunities(times) => spec(line)
            .with_trace(times.iter().map(|at| format!("{at}\n")).collect::<String>().parse().unwrap()),
        Capacity::Steps(rates) => {
            let text: String = (0..).zip(rates).map(|(n, rate)| format!("{},{rate}\n", n * 50)).collect();
            spec(line).with_trace(text.parse().unwrap())
        }
    }
}

proptest! {
    #[test]
    fn every_packet_is_accounted_for_and_none_overtakes(
        capacity in any_capacity(),
        line in "delay=[0-9]ms,jitter=[0-9]{1,2}ms,loss=0\\.[0-3],queue=[2-9]000,outage=[01]s\\+[1-9]00ms,seed=[0-9]",
        packets in proptest::collection::vec((0_u64..20_000, 0_usize..1473), 1..300),
    ) {
        let spec = build(&capacity, &line);
        let mut link = spec.uplink();
        let mut twin = spec.uplink();
        let mut now = Duration::ZERO;
        let (mut last, mut delivered, mut bytes_in) = (Duration::ZERO, 0, 0);
        let mut passed: Vec<(Duration, u64)> = Vec::new();
        for (gap, size) in &packets {
            now += Duration::from_micros(*gap);
            let verdict = link.offer(now, *size);
            prop_assert_eq!(verdict, twin.offer(now, *size), "not deterministic");
            bytes_in += *size as u64 + 28;
            prop_assert!(link.queued(now) <= spec.queue);
            if let Verdict::Deliver { at, queued } = verdict {
                prop_assert!(at >= last, "overtaken");
                prop_assert!(at >= now + queued + spec.delay);
                prop_assert!(at <= (now + queued + spec.delay + spec.jitter).max(last));
                last = at;
                delivered += 1;
                passed.push((now + queued, *size as u64 + 28));
            }
        }
        let counters = link.counters();
        let parts = [counters.delivered, counters.lost, counters.queue_drops, counters.outage_drops];
        prop_assert_eq!(counters.offered.packets, packets.len() as u64);
        prop_assert_eq!(counters.offered.bytes, ByteCount::new(bytes_in));
        prop_assert_eq!(parts.iter().map(|part| part.packets).sum::<u64>(), counters.offered.packets);
        prop_assert_eq!(parts.iter().map(|part| part.bytes).sum::<ByteCount>(), counters.offered.bytes);
        prop_assert_eq!(counters.delivered.packets, delivered);
        // The bottleneck never carries more than it can.
        if let (Some(&(end, _)), Some(capacity)) =
            (passed.last(), passed.last().and_then(|(end, _)| link.capacity_between(Duration::ZERO, *end)))
        {
            let carried: u64 = passed.iter().map(|(_, bytes)| bytes).sum();
            prop_assert!(carried <= capacity.get() + 1, "{carried} of {capacity:?} by {end:?}");
        }
        // In the end the queue is empty.
        prop_assert_eq!(link.queued(now + Duration::from_secs(3600)), ByteCount::ZERO);
    }
}
