//! What a connection says about its link, beside what the emulated link says of itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::common::*;
use crate::calm::calmly;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uplinkd::link::relay::{Relay, RelayCounters};
use uplinkd::transport::Chunk;
use uplinkd::transport::srt::{Allowance, Ended, Measurement, Target};
use uplinkd::units::{Bitrate, ByteCount};

/// A stream without an end over a connection, and what both it and the link have said.
struct Observed {
    allowance: watch::Sender<Allowance>,
    measurement: watch::Receiver<Measurement>,
    feeding: JoinHandle<()>,
    ended: JoinHandle<Ended>,
}

/// One measurement, and the link's counters as it was seen.
struct Sample {
    measured: Measurement,
    relay: RelayCounters,
}

impl Observed {
    async fn start(to: &Target, rate: Bitrate, pace: Option<Bitrate>) -> Observed {
        let connection = connect_soon(to).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
        let (allowance, allowed) = watch::channel(Allowance { pace, ..Allowance::default() });
        let feeding = tokio::spawn(feed(input, rate, u32::MAX.into()));
        let ended = tokio::spawn(async move { connection.run(&mut chunks, &report, allowed).await });
        Observed { allowance, measurement, feeding, ended }
    }

    /// All measurements of that time.
    async fn watch(&mut self, relay: &Relay, time: Duration) -> Vec<Sample> {
        let end = Instant::now() + time;
        let mut samples = Vec::new();
        while Instant::now() < end {
            self.measurement.changed().await.unwrap();
            let measured = self.measurement.borrow_and_update().clone();
            samples.push(Sample { measured, relay: relay.counters() });
        }
        samples
    }

    async fn stop(self) {
        self.feeding.abort();
        assert_eq!(self.ended.await.unwrap(), Ended::Drained);
    }
}

impl Sample {
    /// Data packets that the link has delivered, or is about to. What it did not deliver of the control
    /// packets is missing from the count; there is one of them for ten and more of data.
    fn delivered(&self) -> u64 {
        self.relay.up.link.delivered.packets - self.relay.up.srt.control
    }
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// How far `part` is from `whole`, in percent of it.
fn off(part: u64, whole: u64) -> f64 {
    100.0 * (part as f64 / whole as f64 - 1.0)
}

/// Alone: two at once on a small machine would measure each other.
fn measured<M: Future<Output = ()>>(measure: impl Fn() -> M) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    calmly(6, || runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure()));
}

#[test]
fn round_trips_are_those_of_the_path() {
    measured(round_trips);
}

async fn round_trips() {
    for one_way in [5u32, 40] {
        let far = Far::start(&format!("delay={one_way}ms")).await;
        let mut stream = Observed::start(&far.to, RATE, Some(AMPLE)).await;
        stream.watch(&far.relay, 1_000 * MS).await;
        let samples = stream.watch(&far.relay, 3_000 * MS).await;
        let path = 2 * one_way * MS;
        let fresh: Vec<_> = samples.iter().filter_map(|it| it.measured.fresh_rtt).collect();
        let (smallest, usual) = (*fresh.iter().min().unwrap(), median(fresh.iter().copied()));
        let smooth = median(samples.iter().map(|it| it.measured.rtt));
        let base = samples.last().unwrap().measured.base_rtt;
        eprintln!("path {path:?}: base {base:?}, fresh {smallest:?} to {usual:?}, smoothed {smooth:?}");
        // Nearly every 20 ms hold an acknowledgement, which comes up to 10 ms after the arrival.
        assert!(fresh.len() > samples.len() * 9 / 10, "{} of {}", fresh.len(), samples.len());
        assert!((path..path + 3 * MS).contains(&base), "{base:?}");
        assert!((path..path + 12 * MS).contains(&usual), "{usual:?}");
        assert!((path..path + 8 * MS).contains(&smooth), "{smooth:?}");
        assert!(smallest >= base);
        let limited = samples.iter().filter(|it| it.measured.limited_by_application).count();
        assert!(limited >= samples.len() * 9 / 10, "{limited} of {}", samples.len());
        assert!(samples.iter().all(|it| it.measured.heard < path + 40 * MS), "answers come all the time");
        stream.stop().await;
    }
}

#[test]
fn what_has_arrived_is_known_in_spite_of_holes() {
    measured(arrivals_in_spite_of_holes);
}

async fn arrivals_in_spite_of_holes() {
    let far = Far::start("delay=25ms,loss=0.05,seed=11").await;
    let mut stream = Observed::start(&far.to, RATE, None).await;
    stream.watch(&far.relay, 1_000 * MS).await;
    let samples = stream.watch(&far.relay, 5_000 * MS).await;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    // What we count is what the link has seen.
    let offered = last.relay.up.srt.data;
    let ours = last.measured.sent.packets + last.measured.retransmitted.packets;
    assert!(offered.abs_diff(ours) <= 20, "{ours} sent, {offered} seen: measured a moment apart");
    let link = last.relay.up.link;
    let lost = (link.lost.packets as f64 * offered as f64 / link.offered.packets as f64) as u64;
    let (reported, reports) = (last.measured.lost_transmissions, last.measured.nak_packets);
    eprintln!("{lost} lost, {reported} reported in {reports} reports");
    // What was lost a moment ago is not reported yet, what is periodically reported may be under way.
    assert!(off(reported, lost).abs() < 10.0, "{reported} of {lost}");
    assert!(reports >= reported);
    // Known to have arrived: never more than has, a round trip later all of it.
    let a_trip_before = |sample: &Sample| {
        let then = sample.measured.at - TRIP;
        samples.iter().rev().find(|earlier| earlier.measured.at <= then)
    };
    let (mut unknown, mut unacknowledged, mut count) = (0, 0, 0);
    for sample in &samples {
        assert!(sample.measured.arrived.packets <= sample.delivered(), "{:?}", sample.measured);
        assert!(sample.measured.arrived.packets >= sample.measured.acknowledged.packets);
        if let Some(before) = a_trip_before(sample) {
            unknown += before.delivered().saturating_sub(sample.measured.arrived.packets);
            unacknowledged += before.delivered().saturating_sub(sample.measured.acknowledged.packets);
            count += 1;
        }
    }
    let average = |sum: u64| sum as f64 / f64::from(count);
    let (unknown, unacknowledged) = (average(unknown), average(unacknowledged));
    eprintln!(
        "delivered {TRIP:?} ago: on average {unknown:.1} not known to have arrived, {unacknowledged:.1} not acknowledged"
    );
    assert!(unknown * 2.0 < unacknowledged, "{unknown} and {unacknowledged}");
    let (known, delivered) = (
        last.measured.arrived.packets - first.measured.arrived.packets,
        last.delivered() - first.delivered(),
    );
    assert!(off(known, delivered).abs() < 2.0, "{known} of {delivered}");
    // A packet that is mended is no silence, and no wait.
    let silent = samples.iter().map(|it| it.measured.silence).max().unwrap();
    let heard = samples.iter().map(|it| it.measured.heard).max().unwrap();
    let oldest = median(samples.iter().map(|it| it.measured.oldest_sent));
    eprintln!("longest without progress {silent:?}, without a word {heard:?}; oldest sent {oldest:?}");
    assert!(heard < silent && heard < 130 * MS, "{heard:?} of {silent:?}");
    assert!(oldest < 80 * MS, "{oldest:?}");
    stream.stop().await;
}

#[test]
fn an_overloaded_link_shows_its_capacity_and_its_queue() {
    measured(an_overloaded_link);
}

async fn an_overloaded_link() {
    let far = Far::start("rate=2M,delay=25ms,queue=75000").await;
    let mut stream = Observed::start(&far.to, RATE, None).await;
    stream.watch(&far.relay, 1_000 * MS).await;
    let samples = stream.watch(&far.relay, 3_000 * MS).await;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let time = last.measured.at - first.measured.at;
    let queue = median(samples.iter().map(|it| Bitrate::from_kbps(2_000).time_for(it.relay.up.queued)));
    let fresh = median(
        samples.iter().filter_map(|it| Some(it.measured.fresh_rtt?.saturating_sub(it.measured.base_rtt))),
    );
    let smooth = median(samples.iter().map(|it| it.measured.rtt.saturating_sub(it.measured.base_rtt)));
    eprintln!("queue {queue:?}, fresh {fresh:?}, smoothed {smooth:?}");
    assert!(fresh.abs_diff(queue) < queue / 10 + 10 * MS);
    assert!(smooth.abs_diff(queue) < queue / 5);
    assert!(last.measured.base_rtt < 80 * MS, "{:?}", last.measured.base_rtt);
    let known = last.measured.arrived.packets - first.measured.arrived.packets;
    let delivered = last.delivered() - first.delivered();
    let repeated = last.measured.retransmitted.packets - first.measured.retransmitted.packets;
    eprintln!("{known} known to have arrived of {delivered} delivered in {time:?}, {repeated} sent again");
    // What arrived twice is delivered twice; control packets that wait in the queue at one end of the time and
    // not at the other make the count of what was delivered a few packets wrong.
    assert!(known <= delivered + 5 && off(known, delivered) > -10.0, "{known} of {delivered}");
    stream.stop().await;
}

async fn the_pace_is_kept(link: &str, pace: Bitrate) {
    let far = Far::with_latency(link, 2_000 * MS).await;
    let mut stream = Observed::start(&far.to, RATE, Some(pace)).await;
    stream.watch(&far.relay, 500 * MS).await;
    let samples = stream.watch(&far.relay, 3_000 * MS).await;
    let (sent, time) = sent_in(&samples);
    assert!(samples.iter().all(|it| !it.measured.limited_by_application));
    let held = samples[samples.len() - 1].measured.held_back - samples[0].measured.held_back;
    assert!(held.abs_diff(time) < time / 20, "{held:?} of {time:?}");
    eprintln!("{link}: {sent} at a pace of {pace}");
    assert!((-5.0..3.0).contains(&off(sent.as_bps(), pace.as_bps())), "{sent} at a pace of {pace}");
    // Another pace applies at once.
    let slow = Bitrate::from_kbps(1_000);
    stream.allowance.send_replace(Allowance { pace: Some(slow), ..Allowance::default() });
    let (sent, _) = sent_in(&stream.watch(&far.relay, 2_000 * MS).await);
    assert!(off(sent.as_bps(), slow.as_bps()).abs() < 10.0, "{sent} after the change");
    stream.stop().await;
}

/// What was offered to the link between the first and the last sample, and the time between them.
fn sent_in(samples: &[Sample]) -> (Bitrate, Duration) {
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let time = last.measured.at - first.measured.at;
    ((last.relay.up.link.offered.bytes - first.relay.up.link.offered.bytes) / time, time)
}

#[test]
fn the_pace_is_kept_on_a_clean_link() {
    measured(|| the_pace_is_kept("delay=25ms", Bitrate::from_kbps(3_000)));
}

#[test]
#[ignore = "make lab: 16 s"]
fn the_pace_is_kept_where_much_is_sent_again() {
    measured(|| the_pace_is_kept("delay=25ms,loss=0.05,seed=4", Bitrate::from_kbps(3_000)));
}

/// What is not allowed yet is not lost when the stream ends, and does not keep it from ending.
#[test]
fn what_is_not_allowed_yet_does_not_draw_out_the_end() {
    measured(an_end_with_something_not_allowed_yet);
}

async fn an_end_with_something_not_allowed_yet() {
    let (none, slow) = (Some(Bitrate::ZERO), Some(Bitrate::from_kbps(100)));
    for (pace, window) in [(none, None), (slow, None), (None, Some(ByteCount::new(2 * 1316)))] {
        let far = Far::with_latency("delay=25ms", 1_000 * MS).await;
        let connection = connect_soon(&far.to).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
        let (_allowance, allowed) = watch::channel(Allowance { pace, window, peak: None });
        let running = tokio::spawn(async move { connection.run(&mut chunks, &report, allowed).await });
        for number in 0..400 {
            input.send(Chunk { captured: Instant::now(), data: packet(number) }).await.unwrap();
        }
        tokio::time::sleep(200 * MS).await;
        let sent = measurement.borrow().sent.packets;
        assert!(sent <= if window.is_some() { 12 } else { 3 }, "{sent} at {pace:?}, {window:?}");
        let closed = Instant::now();
        drop(input);
        assert_eq!(running.await.unwrap(), Ended::Drained);
        let drained = closed.elapsed();
        eprintln!("drained in {drained:?} at {pace:?}, {window:?}");
        assert!(drained < 2_000 * MS, "{drained:?}");
        let last = measurement.borrow().clone();
        assert_eq!((last.handed_over.packets, last.acknowledged.packets), (400, 400));
        assert_eq!(missing(&far.peer.finish().await, 400), NOTHING);
    }
}

const RATE: Bitrate = Bitrate::from_kbps(6_000);
/// Far more than the stream, so that its bursts of 10 ms pass.
const AMPLE: Bitrate = Bitrate::from_kbps(30_000);
/// What news take over a path of 25 ms: both ways, the receiver's 10 ms, and what our clocks differ by.
const TRIP: Duration = Duration::from_millis(70);
