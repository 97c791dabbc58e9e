//! The one model of a link: a bottleneck with a drop-tail queue, then random loss, delay and jitter.
//!
//! [`Link`] is one direction, pure and on whatever clock its caller keeps: the simulation drives it
//! on a virtual one, [`relay`] in real time between UDP sockets. [`Spec`] describes both directions
//! in one line; [`Trace`] replays the recorded capacity of a real link; [`cubic::Upload`] is somebody
//! else's traffic over the same uplink.
//!
//! ```text
//! offer ─▶ queue (drop-tail) ─▶ bottleneck ─▶ loss ─▶ delay + jitter ─▶ delivery
//!              │ full              ▲ no service during an outage
//!              ▼ dropped
//! ```
//! A packet lost at random has used its share of the bottleneck, as one lost in the air has.

mod bottleneck;
pub mod cubic;
mod loss;
pub mod relay;
mod spec;
mod srt_header;
mod trace;

use std::collections::VecDeque;
use std::time::Duration;

use self::bottleneck::{Bottleneck, nanoseconds};
pub use self::loss::Loss;
use self::loss::{Jitter, LossProcess};
pub use self::spec::{Cross, Outage, RateChange, Spec, SpecError};
pub(crate) use self::spec::{rate, time};
pub use self::trace::{Trace, TraceError};
use crate::units::{Bitrate, ByteCount};

/// One direction of a link. It is told of each packet as it is sent, and says at once what becomes
/// of it; the same spec and the same packets always give the same answers.
///
/// Times are since the link's start. A time before that of an earlier call counts as that one.
#[derive(Clone, Debug)]
pub struct Link {
    bottleneck: Bottleneck,
    queue_limit: u64,
    /// When which bytes leave the queue, in order; at most `queue_limit` bytes, newcomers lose.
    queue: VecDeque<(u64, u32)>,
    queued: u64,
    delay_ns: u64,
    loss: LossProcess,
    jitter: Jitter,
    may_reorder: bool,
    cut: bool,
    now: u64,
    last_delivery: u64,
    counters: Counters,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives at `at`, having waited `queued` for the bottleneck (its own service included).
    Deliver {
        at: Duration,
        queued: Duration,
    },
    Dropped(DropReason),
}

/// Why a packet does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// At random.
    Loss,
    /// The queue was full.
    Queue,
    /// Nothing passed at that time, and there was no queue to wait in.
    Outage,
}

/// What was offered and what became of it, since the start: `offered` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub offered: Traffic,
    pub delivered: Traffic,
    pub lost: Traffic,
    pub queue_drops: Traffic,
    pub outage_drops: Traffic,
}

/// An amount of packets, in bytes on the wire (IP and UDP headers included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: ByteCount,
}

impl Link {
    fn uplink(spec: &Spec) -> Self {
        let bottleneck = match &spec.trace {
            Some(trace) => Bottleneck::recorded(trace, &spec.outages),
            None => Bottleneck::scheduled(spec.rate, &spec.rate_changes, &spec.outages),
        };
        Self::new(spec, bottleneck, spec.loss, spec.seed.wrapping_mul(2))
    }

    fn downlink(spec: &Spec) -> Self {
        let bottleneck = Bottleneck::unlimited(&spec.outages);
        Self::new(spec, bottleneck, spec.loss_down, spec.seed.wrapping_mul(2).wrapping_add(1))
    }

    fn new(spec: &Spec, bottleneck: Bottleneck, loss: Loss, seed: u64) -> Self {
        Link {
            bottleneck,
            queue_limit: spec.queue.get(),
            queue: VecDeque::new(),
            queued: 0,
            delay_ns: nanoseconds(spec.delay),
            loss: LossProcess::new(loss, seed),
            jitter: Jitter::new(nanoseconds(spec.jitter), seed),
            may_reorder: spec.reorder,
            cut: false,
            now: 0,
            last_delivery: 0,
            counters: Counters::default(),
        }
    }

    /// Sends a datagram with a payload of `bytes`; IP and UDP headers are added here.
    pub fn offer(&mut self, now: Duration, bytes: usize) -> Verdict {
        let now = self.advance(now);
        let size = on_the_wire(bytes);
        let verdict = self.decide(now, size);
        self.counters.add(verdict, size);
        verdict
    }

    fn decide(&mut self, now: u64, size: u32) -> Verdict {
        if self.cut || self.bottleneck.drops_all(now) {
            return Verdict::Dropped(DropReason::Outage);
        }
        if self.queued + u64::from(size) > self.queue_limit && !self.bottleneck.is_unlimited(now) {
            return Verdict::Dropped(DropReason::Queue);
        }
        let queue = &mut self.queue;
        let mut waiting = 0;
        let served = self.bottleneck.serve(now, size, |at, bytes| {
            if at > now {
                queue.push_back((at, bytes));
                waiting += u64::from(bytes);
            }
        });
        self.queued += waiting;
        if self.loss.strikes() {
            return Verdict::Dropped(DropReason::Loss);
        }
        let mut at = served + self.delay_ns + self.jitter.draw_ns();
        if !self.may_reorder {
            at = at.max(self.last_delivery);
            self.last_delivery = at;
        }
        Verdict::Deliver { at: Duration::from_nanos(at), queued: Duration::from_nanos(served - now) }
    }

    /// Cuts the link, as if its cable were pulled, or restores it: until then all that is offered is
    /// dropped. (An outage of the spec lets a limited link's queue wait instead.)
    pub fn set_outage(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// Bytes that wait for the bottleneck at `now`.
    pub fn queued(&mut self, now: Duration) -> ByteCount {
        self.advance(now);
        ByteCount::new(self.queued)
    }

    /// The capacity at `now`: the mean of the 100 ms up to then, outages included; `None` for no limit.
    pub fn capacity(&self, now: Duration) -> Option<Bitrate> {
        let to = now.max(CAPACITY_WINDOW);
        Some(self.capacity_between(to - CAPACITY_WINDOW, to)? / CAPACITY_WINDOW)
    }

    /// What could have been carried after `from`, up to and including `to`; `None` for no limit.
    pub fn capacity_between(&self, from: Duration, to: Duration) -> Option<ByteCount> {
        if self.cut {
            return Some(ByteCount::ZERO);
        }
        self.bottleneck.capacity_between(nanoseconds(from), nanoseconds(to))
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Lets everything leave the queue that has been served by `now`.
    fn advance(&mut self, now: Duration) -> u64 {
        self.now = self.now.max(nanoseconds(now));
        while let Some((at, bytes)) = self.queue.front().copied() {
            if at > self.now {
                break;
            }
            self.queued -= u64::from(bytes);
            self.queue.pop_front();
        }
        self.now
    }
}

impl Counters {
    /// Notes what became of a packet of `size` bytes on the wire.
    fn add(&mut self, verdict: Verdict, size: u32) {
        let class = match verdict {
            Verdict::Deliver { .. } => &mut self.delivered,
            Verdict::Dropped(DropReason::Loss) => &mut self.lost,
            Verdict::Dropped(DropReason::Queue) => &mut self.queue_drops,
            Verdict::Dropped(DropReason::Outage) => &mut self.outage_drops,
        };
        class.add(size);
        self.offered.add(size);
    }
}

impl Traffic {
    fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += ByteCount::new(u64::from(bytes));
    }
}

/// What a datagram with a payload of `bytes` is to the link.
fn on_the_wire(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(HEADER_BYTES)
}

/// Bytes of an IPv4 (20) and a UDP (8) header, which use capacity and queue like the payload.
const HEADER_BYTES: u32 = 28;
/// Long enough to hold several of a trace's opportunities, short enough to show a fade.
const CAPACITY_WINDOW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
