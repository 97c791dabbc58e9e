//! Which packets are sent again, and when.
//!
//! `srt-protocol` retransmits at every NAK and runs a timer for each unacknowledged packet as well:
//! 65 % more traffic at 10 % loss, 1.8 % without any. libsrt (its `retransmitalgo=1`, the default
//! since 1.4.4) leaves out what is probably still under way, and relies on the receiver's periodic
//! NAKs for the rest; with that rule the overhead is the loss. Five rules are ours:
//! - What can no longer arrive in time is not sent again: after an outage a receiver asks for
//!   everything that it missed, and the link has better things to carry.
//! - A budget: a flood of NAKs, forged or not, cannot make us send more than the stream's own peak
//!   rate on top of it.
//! - A lost retransmission is not waited out: a receiver repeats its report only after half a round
//!   trip or more, but an acknowledgement that stops at the packet, or a later packet's arrival, says
//!   as much ([`Governor::acknowledgement_lacks`], [`Governor::overtaken`]).
//! - A last chance is taken twice: what was lost twice and can be sent but once more.
//! - A probe for the tail: with nothing sent after a lost packet, the receiver cannot know of it.

use std::time::{Duration, Instant};

use super::measurement::Path;
use super::window::Packet;

/// What becomes of a packet that was reported lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Retransmit,
    /// Retransmit, and again after [`COPY_DELAY`]: it was lost twice, and there will be no time for a
    /// further answer.
    RetransmitTwice,
    /// Sent so recently that the report cannot know of it.
    UnderWay,
    /// The receiver will have played on before it arrives.
    TooLate,
    /// The budget is used up; the receiver will ask again.
    OverBudget,
}

#[derive(Debug)]
pub struct Governor {
    /// The time from a packet's capture to the answer to its last useful transmission, on the path of
    /// the handshake. None where the receiver waits for everything.
    useful: Option<Duration>,
    budget: Budget,
    /// Tail probes since something was last sent or acknowledged: each doubles the wait.
    probes: u32,
}

impl Governor {
    /// `latency` is the negotiated one where the receiver skips what is late; `handshake` the round
    /// trip when its clock was set; `packets_per_second` the stream's peak.
    pub fn new(
        latency: Option<Duration>,
        handshake: Duration,
        packets_per_second: f64,
        now: Instant,
    ) -> Self {
        let useful = latency.map(|latency| latency + handshake + LATENESS_MARGIN);
        Governor { useful, budget: Budget::new(packets_per_second, now), probes: 0 }
    }

    /// The stream's peak is another: so many packets a second.
    pub fn set_budget(&mut self, packets_per_second: f64) {
        self.budget.per_second = packets_per_second.max(SMALLEST_BUDGET);
    }

    /// Judges a packet in flight that the peer reports lost.
    pub fn judge(&mut self, packet: &Packet, path: Path, now: Instant) -> Verdict {
        // A first loss is reported as soon as it is noticed; a repeated report is periodic, and often
        // leaves before the repair arrives. It cannot know of it within the shortest round trip, and
        // being a little patient with the rest costs less than sending one in five twice.
        let least = match packet.retransmissions {
            0 => Duration::ZERO,
            _ => path.base_rtt + SHORTEST_REPEAT,
        };
        let under_way = packet
            .last_sent
            .is_none_or(|sent| now.saturating_duration_since(sent) < path.rtt.early().max(least));
        if packet.granted || under_way {
            Verdict::UnderWay
        } else if self.is_too_late(packet, path, now) {
            Verdict::TooLate
        } else if !self.budget.spend(now) {
            Verdict::OverBudget
        } else if self.is_last_chance(packet, path, now) {
            Verdict::RetransmitTwice
        } else {
            Verdict::Retransmit
        }
    }

    /// Whether the second of two retransmissions is still worth sending.
    pub fn allows_copy(&mut self, packet: &Packet, path: Path, now: Instant) -> bool {
        !packet.granted && !self.is_too_late(packet, path, now) && self.budget.spend(now)
    }

    /// Whether an acknowledgement that stops at `packet` says that its retransmission was lost: it
    /// should have been in it, had it arrived.
    pub fn acknowledgement_lacks(&self, packet: &Packet, path: Path, now: Instant) -> bool {
        packet.retransmissions > 0 && packet.last_sent.is_some_and(|sent| now >= sent + path.rtt.late())
    }

    /// Whether the arrival of a packet that was sent at `other` says so: had this one arrived, it
    /// would have come first, and been acknowledged before that was reported.
    pub fn overtaken(&self, packet: &Packet, path: Path, other: Instant) -> bool {
        let margin = ACK_PERIOD + 4 * path.rtt.variance;
        packet.retransmissions > 0 && packet.last_sent.is_some_and(|sent| other >= sent + margin)
    }

    /// When the newest packet in flight, last sent at `last_sent`, is sent again to make the receiver
    /// notice what it lacks. None where that no longer helps.
    pub fn probe_at(&self, newest: &Packet, last_activity: Instant, path: Path) -> Option<Instant> {
        let wait = (path.rtt.late() + ACK_DELAY).saturating_mul(1 << self.probes.min(MOST_DOUBLINGS));
        let at = newest.last_sent?.max(last_activity) + wait;
        (!self.is_too_late(newest, path, at)).then_some(at)
    }

    /// A probe was sent.
    pub fn probed(&mut self) {
        self.probes += 1;
    }

    /// Something new was sent, or an acknowledgement moved.
    pub fn progressed(&mut self) {
        self.probes = 0;
    }

    /// Whether there would be no time left, once the receiver has asked again: its reports are half
    /// its long round trip apart (libsrt's `NAKInterval` of live mode). Where a queue makes the
    /// losses, a copy would only make it longer.
    fn is_last_chance(&self, packet: &Packet, path: Path, now: Instant) -> bool {
        let is_calm = path.rtt.mean < path.base_rtt + CALM_QUEUE;
        let report = (path.rtt.late() / 2).max(SHORTEST_REPORT_INTERVAL);
        let next = now + path.rtt.late() + report + LATENESS_MARGIN;
        packet.retransmissions > 0 && is_calm && self.is_too_late(packet, path, next)
    }

    /// The receiver plays a packet at its capture + latency, in its own time, which lags ours by the
    /// way there as it was at the handshake. The way there now is longer by what the round trip has
    /// grown, less what the way back has.
    fn is_too_late(&self, packet: &Packet, path: Path, now: Instant) -> bool {
        self.useful.is_some_and(|useful| now + path.rtt.mean > packet.captured + useful + path.reverse_queue)
    }
}

/// Tokens, one for each retransmission.
#[derive(Debug)]
struct Budget {
    tokens: f64,
    per_second: f64,
    filled: Instant,
}

impl Budget {
    fn new(packets_per_second: f64, now: Instant) -> Self {
        let per_second = packets_per_second.max(SMALLEST_BUDGET);
        Budget { tokens: per_second * BUDGET_DEPTH.as_secs_f64(), per_second, filled: now }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.per_second * BUDGET_DEPTH.as_secs_f64());
        self.filled = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

/// libsrt's `MIN_NAK_INTERVAL` of live mode.
const SHORTEST_REPORT_INTERVAL: Duration = Duration::from_millis(20);
/// Beyond the shortest round trip, the least time between two retransmissions of a packet: half of
/// [`SHORTEST_REPORT_INTERVAL`].
const SHORTEST_REPEAT: Duration = Duration::from_millis(10);
/// Between the two transmissions of a last chance: long enough to outlast a short burst of losses.
pub const COPY_DELAY: Duration = Duration::from_millis(10);
/// A round trip that is longer than the path's shortest by less shows no queue of ours.
const CALM_QUEUE: Duration = Duration::from_millis(30);
/// How often a receiver acknowledges what has arrived.
const ACK_PERIOD: Duration = Duration::from_millis(10);
/// A receiver may wait this long before it acknowledges: two of SRT's 10 ms periods.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// Probes back off to four times the first wait. In a stall nothing else is sent: they are what finds
/// out that the link is back, and one in 300 ms costs it nothing.
const MOST_DOUBLINGS: u32 = 2;
/// What the estimates of the path may be wrong by: two acknowledgement periods.
const LATENESS_MARGIN: Duration = Duration::from_millis(20);
/// A budget saved up for this long can be spent at once: what an outage of a second leaves behind.
const BUDGET_DEPTH: Duration = Duration::from_secs(1);
/// Retransmissions a second that even the slowest stream may do.
const SMALLEST_BUDGET: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::super::measurement::Rtt;
    use super::*;
    use crate::units::ByteCount;

    const MS: Duration = Duration::from_millis(1);
    const PATH: Path = path(50, 2);

    const fn path(mean_ms: u64, variance_ms: u64) -> Path {
        let (mean, variance) = (Duration::from_millis(mean_ms), Duration::from_millis(variance_ms));
        Path { rtt: Rtt { mean, variance }, base_rtt: Duration::ZERO, reverse_queue: Duration::ZERO }
    }

    fn governor(now: Instant) -> Governor {
        Governor::new(Some(500 * MS), 50 * MS, 600.0, now)
    }

    fn sent(now: Instant) -> Packet {
        let payload = ByteCount::new(1316);
        let last_sent = Some(now);
        Packet {
            captured: now,
            handed_over: now,
            payload,
            last_sent,
            retransmissions: 0,
            granted: false,
            missing: false,
            reported: false,
            arrived: false,
        }
    }

    #[test]
    fn what_is_under_way_is_not_sent_again() {
        let start = Instant::now();
        let mut governor = governor(start);
        let packet = sent(start);
        assert_eq!(governor.judge(&packet, PATH, start + 41 * MS), Verdict::UnderWay);
        assert_eq!(governor.judge(&packet, PATH, start + 42 * MS), Verdict::Retransmit);
        let granted = Packet { granted: true, ..packet };
        assert_eq!(governor.judge(&granted, PATH, start + 200 * MS), Verdict::UnderWay);
        // A round trip of nothing allows the first repeat at once, and then one in 10 ms.
        let none = path(0, 0);
        assert_eq!(governor.judge(&packet, none, start), Verdict::Retransmit);
        let again = Packet { retransmissions: 1, ..packet };
        assert_eq!(governor.judge(&again, none, start + 9 * MS), Verdict::UnderWay);
        assert_eq!(governor.judge(&again, none, start + 10 * MS), Verdict::Retransmit);
        // However much the round trip varies, an answer within the shortest one is none.
        let varying = Path { base_rtt: 48 * MS, ..path(60, 20) };
        assert_eq!(governor.judge(&packet, varying, start), Verdict::Retransmit);
        assert_eq!(governor.judge(&again, varying, start + 57 * MS), Verdict::UnderWay);
        assert_eq!(governor.judge(&again, varying, start + 58 * MS), Verdict::Retransmit);
    }

    #[test]
    fn what_cannot_arrive_in_time_is_not_sent_again() {
        let start = Instant::now();
        let packet = sent(start);
        let verdict = |path, ms| governor(start).judge(&packet, path, start + ms * MS);
        assert_eq!((verdict(PATH, 520), verdict(PATH, 521)), (Verdict::Retransmit, Verdict::TooLate));
        // A queue of 250 ms on the way there: what is sent at 270 ms arrives at its last moment.
        let queue = path(300, 2);
        assert_eq!((verdict(queue, 293), verdict(queue, 271)), (Verdict::TooLate, Verdict::UnderWay));
        let shorter = path(250, 20);
        assert_eq!((verdict(shorter, 320), verdict(shorter, 321)), (Verdict::Retransmit, Verdict::TooLate));
        // On the way back it takes nothing from the packet's time.
        let back = Path { reverse_queue: 200 * MS, ..shorter };
        assert_eq!((verdict(back, 520), verdict(back, 521)), (Verdict::Retransmit, Verdict::TooLate));
        let mut patient = Governor::new(None, 50 * MS, 600.0, start);
        assert_eq!(patient.judge(&packet, PATH, start + 5_000 * MS), Verdict::Retransmit);
    }

    #[test]
    fn a_last_chance_is_taken_twice() {
        let start = Instant::now();
        let calm = Path { base_rtt: 48 * MS, ..PATH };
        let first = sent(start);
        let again = Packet { retransmissions: 1, ..first };
        let verdict = |packet, path, ms| governor(start).judge(packet, path, start + ms * MS);
        // Lost once more, it would be sent again 87 ms later, for which 500 ms is the end.
        assert_eq!(verdict(&again, calm, 413), Verdict::Retransmit);
        assert_eq!(verdict(&again, calm, 414), Verdict::RetransmitTwice);
        assert_eq!(verdict(&first, calm, 414), Verdict::Retransmit, "it may be the first loss of many");
        assert_eq!(verdict(&again, PATH, 414), Verdict::Retransmit, "a queue of 50 ms");
        let mut governor = governor(start);
        assert!(governor.allows_copy(&again, calm, start + 520 * MS));
        assert!(!governor.allows_copy(&again, calm, start + 521 * MS), "too late");
        assert!(!governor.allows_copy(&Packet { granted: true, ..again }, calm, start + 450 * MS));
    }

    #[test]
    fn a_lost_repetition_is_inferred_once_its_answer_is_overdue() {
        let start = Instant::now();
        let governor = governor(start);
        let first = sent(start);
        let again = Packet { retransmissions: 1, ..first };
        assert!(!governor.acknowledgement_lacks(&again, PATH, start + 57 * MS));
        assert!(governor.acknowledgement_lacks(&again, PATH, start + 58 * MS));
        assert!(!governor.acknowledgement_lacks(&first, PATH, start + 200 * MS), "its loss is reported");
        assert!(!governor.overtaken(&again, PATH, start + 17 * MS));
        assert!(governor.overtaken(&again, PATH, start + 18 * MS));
        assert!(!governor.overtaken(&first, PATH, start + 200 * MS));
    }

    #[test]
    fn a_flood_of_naks_is_held_to_the_peak_rate() {
        let start = Instant::now();
        let mut governor = Governor::new(None, 50 * MS, 600.0, start);
        let packet = sent(start);
        let mut retransmitted = 0;
        for step in 0..50_000 {
            let now = start + 1_000 * MS + step * MS / 10;
            retransmitted += u32::from(governor.judge(&packet, PATH, now) == Verdict::Retransmit);
        }
        // Five seconds' worth, and what was saved up.
        assert!((3_590..=3_610).contains(&retransmitted), "{retransmitted}");
    }

    #[test]
    fn the_tail_is_probed_with_a_back_off() {
        let start = Instant::now();
        let mut governor = Governor::new(None, 50 * MS, 600.0, start);
        let packet = sent(start);
        assert_eq!(governor.probe_at(&packet, start, PATH), Some(start + 78 * MS));
        governor.probed();
        assert_eq!(governor.probe_at(&packet, start, PATH), Some(start + 156 * MS));
        (0..100).for_each(|_| governor.probed());
        assert_eq!(governor.probe_at(&packet, start, PATH), Some(start + 4 * 78 * MS));
        governor.progressed();
        assert_eq!(governor.probe_at(&packet, start + 10 * MS, PATH), Some(start + 88 * MS));
        let useful = Governor::new(Some(10 * MS), 50 * MS, 600.0, start);
        assert_eq!(useful.probe_at(&packet, start, PATH), None);
    }
}
