//! Somebody else's upload over the same bottleneck: one TCP connection with CUBIC (RFC 9438), without end.
//!
//! [`Upload`] offers its packets to the [`Link`] that others use too, and learns of each from the
//! link's verdict: what is delivered is acknowledged when the way back is over, what is dropped never
//! is. It lives on the clock of whoever drives it: the simulation's, or the relay's.
//!
//! ```text
//!               RTT rises
//!    SlowStart ───────────▶ Avoidance (cubic growth) ◀─────┐
//!      ▲    │                   │                          │ what was sent after the loss
//!      │    │ loss              │ loss                     │ is acknowledged
//!      │    └───────────────────┴────────▶ Recovery ───────┘
//!      └──── timeout: from each of them
//! ```
//!
//! Simplified, since only its use of the link matters: each packet is acknowledged by itself (no
//! delayed acknowledgements), a packet is lost once three later ones are acknowledged (RFC 6675), and
//! sending it again is sending any other packet. Acknowledgements are cumulative, so that of the way
//! back only the delay counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::{Cross, Link, Traffic, Verdict};
use crate::units::{Bitrate, ByteCount};

/// One upload.
#[derive(Clone, Debug)]
pub struct Upload {
    end: Duration,
    way_back: Duration,
    /// Congestion window and slow start threshold, in segments.
    window: f64,
    threshold: f64,
    slow_start: SlowStart,
    /// The growth since the last reduction; `None` until the first acknowledgement after it.
    epoch: Option<Epoch>,
    /// The window before the last reduction (`W_max`); `None` after a timeout and before any loss.
    peak: Option<f64>,
    /// Sent, and neither acknowledged nor given up: number and time. At most [`LARGEST_WINDOW`].
    in_flight: BTreeMap<u64, Duration>,
    /// When the sender hears of which packet.
    acknowledgements: BinaryHeap<Reverse<(Duration, u64)>>,
    next_number: u64,
    highest_acknowledged: Option<u64>,
    /// Losses below this number belong to the reduction that was made already.
    recovery_until: u64,
    next_send: Duration,
    round_trip: RoundTrip,
    /// When the retransmission timer was last set.
    timer: Duration,
    delivered: Traffic,
}

/// All the uploads that share a link.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Vec<Upload>);

/// The first search for the capacity, which a rising RTT ends (HyStart++, RFC 9406, without its
/// conservative phase).
#[derive(Clone, Copy, Debug, Default)]
struct SlowStart {
    /// The round ends with the acknowledgement of this number.
    round_end: u64,
    before: Option<Duration>,
    smallest: Option<Duration>,
    samples: u32,
}

/// Congestion avoidance since its beginning; windows in segments.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    begun: Duration,
    /// The plateau, and how many seconds the way up to it takes.
    peak: f64,
    to_peak: f64,
    /// What Reno would have by now.
    reno: f64,
}

/// RFC 6298.
#[derive(Clone, Copy, Debug, Default)]
struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    /// Timeouts in a row.
    timeouts: u32,
}

impl Upload {
    /// `way_back` is the delay of acknowledgements.
    pub fn new(cross: Cross, way_back: Duration) -> Self {
        Upload {
            end: cross.start.saturating_add(cross.duration),
            way_back,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            slow_start: SlowStart::default(),
            epoch: None,
            peak: None,
            in_flight: BTreeMap::new(),
            acknowledgements: BinaryHeap::new(),
            next_number: 0,
            highest_acknowledged: None,
            recovery_until: 0,
            next_send: cross.start,
            round_trip: RoundTrip::default(),
            timer: cross.start,
            delivered: Traffic::default(),
        }
    }

    /// When something happens next; `None` once all is over.
    pub fn next_deadline(&self) -> Option<Duration> {
        let acknowledgement = self.acknowledgements.peek().map(|Reverse((at, _))| *at);
        [acknowledgement, self.timeout(), self.sending()].into_iter().flatten().min()
    }

    /// Does what is due until `now`, each thing at its own time. To be called before anything else is
    /// offered to the link at `now`, so that the order of packets is right.
    pub fn advance(&mut self, now: Duration, link: &mut Link) {
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            match self.acknowledgements.peek() {
                Some(Reverse((due, number))) if *due == at => {
                    let number = *number;
                    self.acknowledgements.pop();
                    self.acknowledged(at, number);
                }
                _ if self.timeout() == Some(at) => self.timed_out(at),
                _ => self.send(at, link),
            }
        }
    }

    /// What has arrived at the other end and is known to have, in bytes on the wire.
    pub fn delivered(&self) -> Traffic {
        self.delivered
    }

    fn sending(&self) -> Option<Duration> {
        let has_room = (self.in_flight.len() as f64) < self.window.floor().max(1.0);
        (has_room && self.next_send < self.end).then_some(self.next_send)
    }

    fn timeout(&self) -> Option<Duration> {
        (!self.in_flight.is_empty()).then(|| self.timer.saturating_add(self.round_trip.timeout()))
    }

    fn send(&mut self, now: Duration, link: &mut Link) {
        if self.in_flight.is_empty() {
            self.timer = now;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.in_flight.insert(number, now);
        if let Verdict::Deliver { at, .. } = link.offer(now, UDP_PAYLOAD_BYTES) {
            self.acknowledgements.push(Reverse((at + self.way_back, number)));
        }
        self.next_send = now + ACCESS_RATE.time_for(ByteCount::new(PACKET_BYTES));
    }

    fn acknowledged(&mut self, now: Duration, number: u64) {
        self.delivered.add(PACKET_BYTES as u32);
        // Room for packets appears now, not when it was missed.
        self.next_send = self.next_send.max(now);
        let highest = self.highest_acknowledged.map_or(number, |highest| highest.max(number));
        self.highest_acknowledged = Some(highest);
        let Some(sent) = self.in_flight.remove(&number) else { return }; // given up too early
        self.timer = now;
        let rtt = now - sent;
        self.round_trip.sample(rtt);
        let lost = self.give_up_below(highest.saturating_sub(REORDERING - 1));
        if lost.is_some_and(|newest| newest >= self.recovery_until) {
            self.reduce();
        }
        if number < self.recovery_until {
            return; // in recovery
        }
        if self.window >= self.threshold {
            self.avoid(now, rtt);
        } else {
            self.window += 1.0;
            if self.slow_start.has_found(number, self.next_number, rtt, self.window) {
                self.threshold = self.window;
            }
        }
        self.window = self.window.min(LARGEST_WINDOW);
    }

    /// Counts everything below `number` that is still in flight as lost; the newest of it.
    fn give_up_below(&mut self, number: u64) -> Option<u64> {
        let kept = self.in_flight.split_off(&number);
        let lost = std::mem::replace(&mut self.in_flight, kept);
        lost.into_keys().next_back()
    }

    /// A loss: RFC 9438, sections 4.6 and 4.7.
    fn reduce(&mut self) {
        let converges = self.peak.is_some_and(|peak| self.window < peak);
        self.peak = Some(if converges { self.window * (1.0 + BETA) / 2.0 } else { self.window });
        self.threshold = (self.window * BETA).max(SMALLEST_THRESHOLD);
        self.window = self.threshold;
        self.epoch = None;
        self.recovery_until = self.next_number;
    }

    /// Nothing was acknowledged for too long: RFC 9438, section 4.8.
    fn timed_out(&mut self, now: Duration) {
        self.in_flight.clear();
        self.threshold = (self.window * BETA).max(SMALLEST_THRESHOLD);
        self.window = 1.0;
        self.peak = None;
        self.epoch = None;
        self.slow_start = SlowStart { round_end: self.next_number, ..SlowStart::default() };
        self.recovery_until = self.next_number;
        self.round_trip.timeouts += 1;
        self.timer = now;
        self.next_send = self.next_send.max(now);
    }

    /// Grows in congestion avoidance, by one acknowledgement: RFC 9438, sections 4.2 to 4.5.
    fn avoid(&mut self, now: Duration, rtt: Duration) {
        let window = self.window;
        let peak = self.peak.unwrap_or(window);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            begun: now,
            peak,
            to_peak: ((peak - window).max(0.0) / C).cbrt(),
            reno: window,
        });
        let gain = if epoch.reno < epoch.peak { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        epoch.reno += gain / window;
        if epoch.cubic(now) < epoch.reno {
            self.window = epoch.reno;
        } else {
            let target = epoch.cubic(now + rtt).clamp(window, 1.5 * window);
            self.window += (target - window) / window;
        }
    }
}

impl Uploads {
    pub fn new(uploads: impl IntoIterator<Item = Upload>) -> Self {
        Uploads(uploads.into_iter().collect())
    }

    /// As [`Upload::next_deadline`], of them all.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.0.iter().filter_map(Upload::next_deadline).min()
    }

    /// As [`Upload::advance`], in the order of time.
    pub fn advance(&mut self, now: Duration, link: &mut Link) {
        while let Some((at, upload)) = (self.0.iter_mut())
            .filter_map(|upload| Some((upload.next_deadline()?, upload)))
            .min_by_key(|(at, _)| *at)
            .filter(|(at, _)| *at <= now)
        {
            upload.advance(at, link);
        }
    }

    /// As [`Upload::delivered`], of each, in the order of their starts.
    pub fn delivered(&self) -> impl Iterator<Item = Traffic> {
        self.0.iter().map(Upload::delivered)
    }
}

impl Epoch {
    fn cubic(&self, now: Duration) -> f64 {
        let beyond_peak = (now - self.begun).as_secs_f64() - self.to_peak;
        C * beyond_peak.powi(3) + self.peak
    }
}

impl SlowStart {
    /// Takes a sample; whether the RTT has risen so much that a queue must have formed.
    fn has_found(&mut self, number: u64, next_number: u64, rtt: Duration, window: f64) -> bool {
        if number >= self.round_end {
            *self = SlowStart { round_end: next_number, before: self.smallest, smallest: None, samples: 0 };
        }
        self.samples += 1;
        let smallest = self.smallest.map_or(rtt, |smallest| smallest.min(rtt));
        self.smallest = Some(smallest);
        let rise = |before: Duration| (before / 8).clamp(SMALLEST_RISE, LARGEST_RISE);
        window >= SMALLEST_FOUND_WINDOW
            && self.samples >= ROUND_SAMPLES
            && self.before.is_some_and(|before| smallest >= before + rise(before))
    }
}

impl RoundTrip {
    fn sample(&mut self, rtt: Duration) {
        self.timeouts = 0;
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
    }

    fn timeout(&self) -> Duration {
        let single = self
            .smoothed
            .map_or(INITIAL_TIMEOUT, |smoothed| smoothed + (self.variation * 4).max(SMALLEST_TIMEOUT_MARGIN));
        single.saturating_mul(1 << self.timeouts.min(16)).min(LARGEST_TIMEOUT)
    }
}

/// RFC 9438, section 4.6 and 5: the share of the window that is kept, and the steepness in segments
/// per cubic second.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Segments: RFC 6928.
const INITIAL_WINDOW: f64 = 10.0;
const SMALLEST_THRESHOLD: f64 = 2.0;
/// Segments: 6 MB, the largest receive buffer that Linux gives by default (`tcp_rmem`).
const LARGEST_WINDOW: f64 = 4143.0;
/// Packets acknowledged behind a missing one before it counts as lost: RFC 5681, section 3.2.
const REORDERING: u64 = 3;
/// A segment of 1448 bytes with TCP (20 bytes, and 12 of time stamps) and IP headers: an Ethernet MTU.
const PACKET_BYTES: u64 = 1500;
/// The link adds the headers of IP and UDP, 28 bytes, itself.
const UDP_PAYLOAD_BYTES: usize = 1472;
/// How fast the uploader's own network is: it spaces the packets of a window, and bounds how many a
/// second an unlimited link has to carry.
const ACCESS_RATE: Bitrate = Bitrate::from_kbps(100_000);
/// RFC 9406, section 4.2: `MIN_RTT_THRESH`, `MAX_RTT_THRESH`, `N_RTT_SAMPLE`; and Linux's
/// `hystart_low_window` in segments.
const SMALLEST_RISE: Duration = Duration::from_millis(4);
const LARGEST_RISE: Duration = Duration::from_millis(16);
const ROUND_SAMPLES: u32 = 8;
const SMALLEST_FOUND_WINDOW: f64 = 16.0;
/// RFC 6298, section 2.1 and 2.5; the margin is Linux's (`TCP_RTO_MIN`).
const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
const LARGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SMALLEST_TIMEOUT_MARGIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Spec;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A link with its uploads.
    struct Scene {
        link: Link,
        uploads: Uploads,
        longest_queue: ByteCount,
    }

    impl Scene {
        fn new(spec: &str) -> Scene {
            let spec: Spec = spec.parse().unwrap();
            Scene { link: spec.uplink(), uploads: spec.uploads(), longest_queue: ByteCount::ZERO }
        }

        /// Runs until then; what each upload got through in all.
        fn run(&mut self, until: Duration) -> Vec<u64> {
            while let Some(at) = self.uploads.next_deadline().filter(|at| *at <= until) {
                self.uploads.advance(at, &mut self.link);
                self.longest_queue = self.longest_queue.max(self.link.queued(at));
            }
            self.uploads.delivered().map(|traffic| traffic.bytes.get()).collect()
        }

        /// The share of the capacity that each upload had in that time.
        fn shares(&mut self, from: Duration, to: Duration) -> Vec<f64> {
            let before = self.run(from);
            let after = self.run(to);
            let capacity = self.link.capacity_between(from, to).unwrap().get() as f64;
            before.iter().zip(after).map(|(before, after)| (after - before) as f64 / capacity).collect()
        }
    }

    #[test]
    fn alone_it_fills_the_link_and_the_queue() {
        for spec in [
            "rate=6M,delay=25ms,queue=75000",
            "rate=6M,delay=25ms,queue=375000",
            "rate=20M,delay=100ms,queue=750000",
            "rate=1M,delay=5ms,queue=30000",
        ] {
            let mut scene = Scene::new(&format!("{spec},cross=cubic@0s+120s"));
            let share = scene.shares(seconds(10), seconds(110))[0];
            assert!((0.95..=1.001).contains(&share), "{spec}: {share}");
            let queue = spec.parse::<Spec>().unwrap().queue;
            assert!(scene.longest_queue.get() + 1500 > queue.get(), "{spec}: {:?}", scene.longest_queue);
        }
    }

    #[test]
    fn two_share_the_link() {
        for later in [0, 3, 20] {
            let spec =
                format!("rate=6M,delay=25ms,queue=75000,cross=cubic@0s+400s,cross=cubic@{later}s+400s");
            let shares = Scene::new(&spec).shares(seconds(100), seconds(300));
            assert!(shares.iter().sum::<f64>() > 0.95, "{spec}: {shares:?}");
            let first = shares[0] / (shares[0] + shares[1]);
            assert!((0.35..=0.65).contains(&first), "{spec}: {shares:?}");
        }
    }

    #[test]
    fn scattered_losses_cost_little() {
        let mut scene = Scene::new("rate=6M,delay=25ms,loss=0.0005,cross=cubic@0s+120s");
        let share = scene.shares(seconds(10), seconds(110))[0];
        assert!(share > 0.85, "{share}");
    }

    #[test]
    fn comes_back_after_an_outage() {
        let mut scene = Scene::new("rate=6M,delay=25ms,queue=75000,outage=30s+10s,cross=cubic@0s+120s");
        // What the queue held passes when the link is back; beyond that nothing is delivered meanwhile.
        let before = scene.run(Duration::from_millis(30_100))[0];
        assert_eq!(scene.run(seconds(40))[0], before);
        // The timer may have backed off to as long as the outage was.
        let share = scene.shares(seconds(55), seconds(85))[0];
        assert!(share > 0.9, "{share}");
    }

    #[test]
    fn sends_only_in_its_time() {
        let mut scene = Scene::new("rate=6M,delay=25ms,cross=cubic@10s+30s");
        assert_eq!(scene.uploads.next_deadline(), Some(seconds(10)));
        scene.run(seconds(40));
        let offered = scene.link.counters().offered;
        scene.run(seconds(500));
        assert_eq!(scene.link.counters().offered, offered);
        assert_eq!(scene.uploads.next_deadline(), None);
        assert_eq!(scene.uploads.0[0].delivered(), scene.link.counters().delivered);
        // 30 s at 6 Mbit/s, and the queue that was left.
        assert!((20_000_000..23_000_000).contains(&offered.bytes.get()), "{offered:?}");
    }

    #[test]
    fn the_way_back_to_the_peak_takes_as_long_as_the_cubic_says() {
        // Far from where Reno would be faster: a window of 1000 segments at an RTT of 200 ms.
        let mut upload = Upload::new(Cross { start: Duration::ZERO, duration: seconds(1) }, Duration::ZERO);
        let rtt = Duration::from_millis(200);
        (upload.window, upload.threshold) = (1000.0, 0.0);
        upload.reduce();
        assert_eq!((upload.window, upload.peak), (700.0, Some(1000.0)));
        let (mut now, mut took) = (Duration::ZERO, None);
        while took.is_none() && now < seconds(60) {
            for _ in 0..upload.window as u32 {
                upload.avoid(now, rtt);
            }
            now += rtt;
            took = (upload.window > 999.0).then_some(now.as_secs_f64());
        }
        let expected = (300.0_f64 / 0.4).cbrt();
        // The window is that of an RTT later, and flat around its peak.
        assert!((took.unwrap() - expected).abs() < 2.0, "{took:?} against {expected}");
    }

    #[test]
    fn an_unlimited_link_does_not_make_it_endless() {
        let mut scene = Scene::new("cross=cubic@0s+10s");
        scene.run(seconds(10));
        let sent = Bitrate::from_kbps(100_000) * seconds(10);
        let delivered = scene.uploads.0[0].delivered().bytes;
        assert!(delivered <= sent + ByteCount::new(1500) && delivered.get() > sent.get() * 9 / 10);
        assert!(scene.uploads.0[0].in_flight.len() <= LARGEST_WINDOW as usize);
    }

    #[test]
    fn repeats() {
        let spec =
            "rate=3M,delay=25ms,loss=0.01,jitter=5ms,reorder=yes,cross=cubic@0s+60s,cross=cubic@5s+60s";
        assert_eq!(Scene::new(spec).run(seconds(60)), Scene::new(spec).run(seconds(60)));
    }
}
