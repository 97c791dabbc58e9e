//! Over bad links to libsrt: what is lost is mended, no more is sent than that takes, and outages are
//! survived or noticed.

use std::time::{Duration, Instant};

use super::common::*;
use crate::calm::calmly_async;
use tokio::sync::{mpsc, watch};
use uplinkd::link::relay::Relay;
use uplinkd::transport::Chunk;
use uplinkd::transport::srt::{Ended, Measurement, Target, Tuning};
use uplinkd::units::{Bitrate, ByteCount};

/// What the relay saw, in percent: retransmissions of the packets that had to be sent, and losses of
/// those that it was given.
fn overhead_and_loss(relay: &Relay) -> (f64, f64) {
    let up = relay.counters().up;
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64;
    (percent(up.srt.retransmitted, up.srt.unique), percent(up.link.lost.packets, up.link.offered.packets))
}

async fn nothing_is_missing_at(loss_percent: f64, seconds: u64) {
    let far = Far::start(&format!("delay=25ms,loss={},seed=3", loss_percent / 100.0)).await;
    let count = packets_in(seconds);
    let (ended, measurement) = send(connect_soon(&far.to).await, RATE, count).await;
    assert_eq!(ended, Ended::Drained);
    let received = far.peer.finish().await;
    let (overhead, loss) = overhead_and_loss(&far.relay);
    eprintln!("{loss:.2} % lost, {overhead:.2} % sent again, {:?} missing", missing(&received, count));
    assert_eq!(missing(&received, count), NOTHING);
    assert!(overhead <= 1.3 * loss + 1.0, "{overhead} % at {loss} % loss");
    // What we count is what the relay saw, and what the receiver has.
    let relay = far.relay.counters().up.srt;
    assert_eq!(measurement.sent.packets, count);
    assert_eq!(measurement.retransmitted.packets, relay.retransmitted);
    assert_eq!(measurement.acknowledged.packets + measurement.late_packets, count);
    assert_eq!(measurement.late_packets, 0);
    assert!((50 * MS..65 * MS).contains(&measurement.base_rtt), "{:?}", measurement.base_rtt);
    assert_eq!(measurement.nak_packets == 0, loss_percent == 0.0);
}

#[test]
fn a_clean_link_needs_no_retransmissions() {
    calmly_async(3, || async {
        nothing_is_missing_at(0.0, 6).await;
    });
}

#[test]
fn two_percent_loss_is_mended() {
    calmly_async(3, || async {
        nothing_is_missing_at(2.0, 6).await;
    });
}

#[test]
fn five_percent_loss_is_mended() {
    calmly_async(3, || async {
        nothing_is_missing_at(5.0, 6).await;
    });
}

#[test]
fn ten_percent_loss_is_mended() {
    calmly_async(3, || async {
        nothing_is_missing_at(10.0, 6).await;
    });
}

async fn from_the_first_packet(up: Duration, seconds: u64) {
    let far = Far::start("delay=25ms,loss=0.02,seed=9").await;
    tokio::time::sleep_until((far.up_since + up).into()).await;
    let count = packets_in(seconds);
    for connection in 0..2 {
        let before = far.peer.received_bytes();
        let (ended, _) = send(connect_soon(&far.to).await, RATE, count).await;
        assert_eq!(ended, Ended::Drained, "connection {connection}");
        assert!(far.peer.received_bytes() > before, "connection {connection}");
    }
    let received = far.peer.finish().await;
    assert_eq!(received.len(), 2 * count as usize * PACKET);
    let (first, second) = received.split_at(received.len() / 2);
    assert_eq!((missing(first, count), missing(second, count)), (vec![], vec![]));
}

#[test]
#[ignore = "make lab: 20 s"]
fn nothing_is_missing_at_a_listener_that_has_been_up_for_a_while() {
    calmly_async(3, || async {
        from_the_first_packet(12_000 * MS, 3).await;
    });
}

#[test]
#[ignore = "make lab: 45 s"]
fn nothing_is_missing_in_the_first_ten_seconds_nor_after_a_reconnect() {
    calmly_async(3, || async {
        from_the_first_packet(20_000 * MS, 10).await;
    });
}

/// A stream without an end, and its connection, each in a task.
struct Running {
    measurement: watch::Receiver<Measurement>,
    ended: tokio::task::JoinHandle<Ended>,
    feeding: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(to: &Target) -> Running {
        let connection = connect_soon(to).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
        let feeding = tokio::spawn(feed(input, RATE, u32::MAX.into()));
        let ended = tokio::spawn(async move { connection.run(&mut chunks, &report, unpaced()).await });
        Running { measurement, ended, feeding }
    }

    fn now(&self) -> Measurement {
        self.measurement.borrow().clone()
    }
}

#[test]
fn an_outage_of_three_seconds_is_survived() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms").await;
        let running = Running::start(&far.to).await;
        tokio::time::sleep(1_500 * MS).await;
        let before = running.now();
        assert!(before.silence < 200 * MS && before.oldest_unacknowledged < 300 * MS, "{before:?}");
        far.relay.set_outage(true);
        tokio::time::sleep(2_500 * MS).await;
        let during = running.now();
        assert!((2_200 * MS..2_600 * MS).contains(&during.silence), "{during:?}");
        assert!(during.oldest_unacknowledged <= 1_100 * MS, "given up after a second: {during:?}");
        assert!(during.late_packets > 0);
        tokio::time::sleep(500 * MS).await;
        far.relay.set_outage(false);
        tokio::time::sleep(1_500 * MS).await;
        let after = running.now();
        assert!(!running.ended.is_finished());
        assert!(after.silence < 200 * MS && after.oldest_unacknowledged < 300 * MS, "{after:?}");
        assert!(after.acknowledged.packets > before.acknowledged.packets + packets_in(1));
        // What could still arrive in time was worth sending again, the rest of the outage was not.
        let again = after.retransmitted.packets - before.retransmitted.packets;
        eprintln!("retransmitted after 3 s of outage: {again} of {}", packets_in(3));
        assert!(again <= packets_in(1), "{again} retransmissions");
        running.feeding.abort();
        assert_eq!(running.ended.await.unwrap(), Ended::Drained);
    });
}

#[test]
fn an_outage_without_end_is_noticed_and_a_new_connection_works() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms").await;
        let running = Running::start(&far.to).await;
        tokio::time::sleep(1_000 * MS).await;
        far.relay.set_outage(true);
        let start = Instant::now();
        tokio::time::sleep(1_500 * MS).await;
        assert!(running.now().silence > 1_300 * MS);
        let ended = running.ended.await.unwrap();
        let noticed = start.elapsed();
        assert!(matches!(ended, Ended::PeerIdle { silence } if silence >= 5_000 * MS), "{ended:?}");
        assert!((4_900 * MS..5_300 * MS).contains(&noticed), "{noticed:?}");
        far.relay.set_outage(false);
        let count = packets_in(1);
        let (ended, measurement) = send(connect_soon(&far.to).await, RATE, count).await;
        assert_eq!((ended, measurement.acknowledged.packets), (Ended::Drained, count));
        let received = far.peer.finish().await;
        let tail = &received[received.len() - count as usize * PACKET..];
        assert_eq!(missing(tail, count), NOTHING);
    });
}

#[test]
fn a_peer_that_goes_away_is_noticed_at_once() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms").await;
        let running = Running::start(&far.to).await;
        tokio::time::sleep(500 * MS).await;
        far.peer.finish().await;
        let start = Instant::now();
        assert_eq!(running.ended.await.unwrap(), Ended::ClosedByPeer);
        assert!(start.elapsed() < 500 * MS);
    });
}

/// Killed, a peer says nothing; the system says that nobody listens. That may pass, so only the
/// silence counts.
#[test]
fn a_peer_that_crashes_is_given_five_seconds() {
    calmly_async(3, || async {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "latency=500");
        let running = Running::start(&target(local(port), 500 * MS)).await;
        tokio::time::sleep(500 * MS).await;
        drop(peer);
        let start = Instant::now();
        let measurement = running.measurement.clone();
        let ended = running.ended.await.unwrap();
        assert!(matches!(ended, Ended::PeerIdle { .. }), "{ended:?}");
        assert!((4_800 * MS..5_500 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert!(measurement.borrow().send_errors > 10);
    });
}

/// A payload whose release panics, inside the state machine.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &[0x47; PACKET]
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb went off");
    }
}

#[test]
fn a_panic_ends_the_connection_and_nothing_else() {
    calmly_async(3, || async {
        let far = Far::start("delay=5ms").await;
        let connection = connect_soon(&far.to).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, _measurement) = watch::channel(Measurement::new(Instant::now()));
        let bomb = Chunk { captured: Instant::now(), data: bytes::Bytes::from_owner(Bomb) };
        input.send(bomb).await.unwrap();
        let ended = connection.run(&mut chunks, &report, unpaced()).await;
        let Ended::Failed { reason } = ended else { panic!("{ended:?}") };
        assert!(reason.ends_with("the bomb went off"), "{reason}");
        // The peer was told, and takes the next connection at once.
        let (ended, measurement) = send(connect_soon(&far.to).await, RATE, 100).await;
        assert_eq!((ended, measurement.acknowledged.packets), (Ended::Drained, 100));
    });
}

/// The whole test runs on one thread, so that its sleeps are the driver's and those of the feed.
#[test]
fn the_driver_sleeps_when_there_is_nothing_to_do() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms").await;
        let connection = connect_soon(&far.to).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, _measurement) = watch::channel(Measurement::new(Instant::now()));
        let running = tokio::spawn(async move { connection.run(&mut chunks, &report, unpaced()).await });
        let idle = wake_ups(3).await;
        let feeding = tokio::spawn(feed(input, RATE, u32::MAX.into()));
        let busy = wake_ups(3).await;
        feeding.abort();
        assert_eq!(running.await.unwrap(), Ended::Drained);
        eprintln!("wake-ups a second: {idle} idle, {busy} at {RATE}");
        // 50 measurements; at work 100 acknowledgements, 100 bursts of the feed and their timers as well.
        assert!(idle <= 75, "{idle} wake-ups a second");
        assert!(busy <= 500, "{busy} wake-ups a second");
    });
}

/// How often this thread went to sleep, a second.
async fn wake_ups(seconds: u64) -> u64 {
    let sleeps = || -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = sleeps();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    (sleeps() - before) / seconds
}

/// Three times the link's capacity: the queue shows in every signal, and packets that can no longer
/// arrive are counted, every one.
#[test]
fn overload_shows_and_what_is_late_is_counted() {
    calmly_async(3, || async {
        let far = Far::start("rate=2M,delay=25ms,queue=75000").await;
        let connection = connect_soon(&far.to).await;
        let count = packets_in(5);
        let (ended, measurement) = send(connection, RATE, count).await;
        assert_eq!(ended, Ended::Drained);
        eprintln!("{measurement:?}");
        assert_eq!(measurement.sent.packets, count);
        let buffered = measurement.send_buffer.packets;
        assert_eq!(measurement.acknowledged.packets + measurement.late_packets + buffered, count);
        let received = far.peer.finish().await;
        let missed = missing(&received, count).len() as u64;
        eprintln!("{} late by our count, {missed} not received", measurement.late_packets);
        assert!(missed > count / 4);
        assert!(measurement.late_packets.abs_diff(missed) <= missed / 10, "{measurement:?}");
        assert!(measurement.base_rtt < 80 * MS);
    });
}

#[test]
fn sequence_numbers_and_the_clock_wrap() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms,loss=0.02,seed=5").await;
        let wrap = Duration::from_micros(1 << 32);
        let tuning = Tuning {
            initial_sequence: Some(0x7fff_ffff - 700),
            lead: wrap - 1_500 * MS,
            ..Tuning::default()
        };
        let count = packets_in(4);
        let (ended, measurement) = send(connect_soon_tuned(&far.to, &tuning).await, RATE, count).await;
        assert_eq!((ended, measurement.late_packets), (Ended::Drained, 0));
        assert_eq!(missing(&far.peer.finish().await, count), NOTHING);
    });
}

#[test]
fn keys_are_refreshed_without_a_gap() {
    calmly_async(3, || async {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "latency=500&passphrase=correct-horse");
        let relay =
            Relay::start(local(0), local(port), "delay=25ms,loss=0.02,seed=7".parse().unwrap()).unwrap();
        let encryption = encryption("correct-horse", uplinkd::config::KeyLength::Aes256);
        let to = Target { encryption, ..target(relay.address(), 500 * MS) };
        let tuning = Tuning { key_refresh: Some((600, 250)), ..Tuning::default() };
        let count = packets_in(5);
        let (ended, _) = send(connect_soon_tuned(&to, &tuning).await, RATE, count).await;
        assert_eq!(ended, Ended::Drained);
        assert_eq!(missing(&peer.finish().await, count), NOTHING);
    });
}

/// What is handed over before a connection began keeps its pace, or is too late; it does not upset
/// the receiver's clock.
#[test]
fn packets_captured_before_the_connection_are_delivered() {
    calmly_async(3, || async {
        let far = Far::start("delay=25ms").await;
        let captured = Instant::now();
        let connection = connect_soon(&far.to).await;
        let (input, mut chunks) = mpsc::channel(512);
        for number in 0..300 {
            let captured = captured + MS * number as u32;
            input.send(Chunk { captured, data: packet(number) }).await.unwrap();
        }
        drop(input);
        let (report, _) = watch::channel(Measurement::new(Instant::now()));
        assert_eq!(connection.run(&mut chunks, &report, unpaced()).await, Ended::Drained);
        assert_eq!(missing(&far.peer.finish().await, 300), NOTHING);
    });
}

fn packets_in(seconds: u64) -> u64 {
    (RATE * Duration::from_secs(seconds)).get() / ByteCount::new(PACKET as u64).get()
}

const RATE: Bitrate = Bitrate::from_kbps(6_000);
