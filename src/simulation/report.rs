//! A score for people and for machines.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::score::{Change, Response, Score};
use super::{Outcome, Scenario, Sharing};

/// What `uplinkd simulate` says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The line that describes the link, without its trace.
    pub link: String,
    pub latency_ms: u64,
    #[serde(flatten)]
    pub score: Score,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    pub simulated_s: f64,
    pub real_s: f64,
    /// Simulated over real time.
    pub speed: f64,
}

impl Report {
    /// `real` is how long the simulation took.
    pub fn new(scenario: &Scenario, outcome: Outcome, real: Duration) -> Self {
        let (simulated_s, real_s) = (scenario.duration.as_secs_f64(), real.as_secs_f64());
        Report {
            link: scenario.link.to_string(),
            latency_ms: scenario.latency.as_millis() as u64,
            score: outcome.score,
            sharing: outcome.sharing,
            simulated_s,
            real_s,
            speed: (simulated_s / real_s.max(f64::MIN_POSITIVE)).round(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { queue_delay_ms: queue, .. } = self.score;
        let score = &self.score;
        let link = if self.link.is_empty() { "unlimited" } else { &self.link };
        writeln!(f, "link         {link}")?;
        writeln!(
            f,
            "used         {:.1} % of what is usable: {} of {} kbit/s",
            100.0 * score.utilisation,
            score.goodput_kbps,
            score.usable_kbps
        )?;
        writeln!(
            f,
            "queue        {} ms typically, {} ms at most for 95 % of packets, {} ms at the worst",
            queue.p50, queue.p95, queue.max
        )?;
        writeln!(
            f,
            "lost, late   {} %, {} % of packets at {} ms of latency",
            score.lost_percent, score.late_percent, self.latency_ms
        )?;
        writeln!(
            f,
            "picture      {} s frozen in {} places ({} s at the longest); of {} pictures {} not encoded, {} left out",
            score.freeze_s,
            score.freezes,
            score.longest_freeze_s,
            score.pictures,
            score.thinned,
            score.left_out
        )?;
        writeln!(
            f,
            "target       {} changes, {} reversals; {} % from second to second on the wire, {} % sent again",
            score.target_changes, score.reversals, score.step_percent, score.retransmitted_percent
        )?;
        for Change { at_s, to_kbps, response } in &score.changes {
            write!(f, "at {at_s} s: to {to_kbps} kbit/s: ")?;
            match response {
                Response::Fall { react_s, drain_s, longest_queue_ms } => writeln!(
                    f,
                    "below it after {}, queue of {longest_queue_ms} ms gone after {}",
                    Seconds(*react_s),
                    Seconds(*drain_s)
                )?,
                Response::Rise { refill_s } => writeln!(f, "nine tenths of it after {}", Seconds(*refill_s))?,
            }
        }
        if let Some(sharing) = &self.sharing {
            write!(f, "{sharing}")?;
        }
        writeln!(f, "simulated    {} s in {:.3} s: {} × real time", self.simulated_s, self.real_s, self.speed)
    }
}

struct Seconds(Option<f64>);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seconds) => write!(f, "{seconds} s"),
            None => f.write_str("never"),
        }
    }
}
