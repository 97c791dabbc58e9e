//! Which of many changes are worth an event: what repeats itself and what moves all the time would leave no room for
//! the rest.

use std::time::{Duration, Instant};

use crate::config::OutputName;
use crate::rate::Rule;
use crate::session::life::State;
use crate::session::output::OutputState;
use crate::supervisor::status::RateStatus;
use crate::units::Bitrate;

/// A state that may be left and entered again and again while an attempt follows the other.
pub trait Attempts: Copy + PartialEq {
    /// Whether this is an attempt, or the wait for the next one.
    fn is_attempt(self) -> bool;
}

impl Attempts for State {
    fn is_attempt(self) -> bool {
        match self {
            State::Starting | State::Connecting | State::BackingOff => true,
            State::Stopped | State::Streaming | State::Degraded | State::Failed => false,
        }
    }
}

impl Attempts for OutputState {
    fn is_attempt(self) -> bool {
        match self {
            OutputState::Connecting | OutputState::BackingOff => true,
            OutputState::Idle | OutputState::Streaming | OutputState::Stalled | OutputState::Waiting => false,
        }
    }
}

/// Tells which states are news. Attempts that fail for the reason of the one before are none.
#[derive(Clone, Debug)]
pub struct StateNews<S> {
    told: S,
    reason: Option<String>,
}

impl<S: Attempts> StateNews<S> {
    /// Begins in a state that everybody knows of.
    pub fn new(known: S) -> StateNews<S> {
        StateNews { told: known, reason: None }
    }

    /// Whether this is to be told.
    pub fn observe(&mut self, state: S, reason: Option<&str>) -> bool {
        let is_news = match (self.told.is_attempt(), state.is_attempt()) {
            // What an attempt says of itself counts, not that it begins.
            (true, true) => reason.is_some() && reason != self.reason.as_deref(),
            (true, false) | (false, true) | (false, false) => state != self.told,
        };
        if is_news {
            self.told = state;
            self.reason = reason.map(str::to_owned);
        }
        is_news
    }
}

/// Tells which moves of the rate are news: one by half or more, at most every [`CALM`]; and at most every second
/// that a stall or thinning begins or ends, or that another output leads.
#[derive(Clone, Debug, Default)]
pub struct RateNews(Option<Told>);

#[derive(Clone, Debug)]
struct Told {
    at: Instant,
    target: Bitrate,
    quality: Quality,
}

/// What of a rate is not a matter of degree.
#[derive(Clone, Debug, PartialEq)]
struct Quality {
    output: Option<OutputName>,
    is_stalled: bool,
    is_thinned: bool,
}

impl RateNews {
    /// Whether this is to be told. Before an output is connected there is nothing to tell.
    pub fn observe(&mut self, now: Instant, rate: &RateStatus) -> bool {
        let quality = Quality {
            output: rate.output.clone(),
            is_stalled: rate.rule == Rule::Stall.as_str(),
            is_thinned: rate.thin > 0.0,
        };
        let is_news = match &self.0 {
            None => rate.output.is_some(),
            Some(told) => {
                let passed = now.saturating_duration_since(told.at);
                let has_moved = moved_far(told.target, rate.target);
                (quality != told.quality && passed >= BREATH) || (has_moved && passed >= CALM)
            }
        };
        if is_news {
            self.0 = Some(Told { at: now, target: rate.target, quality });
        }
        is_news
    }
}

/// By half of the smaller one, or more.
fn moved_far(before: Bitrate, now: Bitrate) -> bool {
    let (less, more) = (before.min(now).as_bps(), before.max(now).as_bps());
    more.saturating_mul(2) >= less.saturating_mul(3) && more > less
}

/// Between two moves that are told: a link that swings all day fills the thousand events in three hours.
const CALM: Duration = Duration::from_secs(10);

/// Between two changes of another kind.
const BREATH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_alike_are_told_once() {
        use OutputState as O;
        let mut news = StateNews::new(O::Idle);
        let steps: &[(O, Option<&str>, bool)] = &[
            (O::Idle, None, false),
            (O::Connecting, None, true),
            (O::BackingOff, Some("no answer"), true),
            (O::Connecting, Some("no answer"), false),
            (O::BackingOff, Some("no answer"), false),
            (O::BackingOff, Some("refused"), true),
            (O::Connecting, Some("connected"), true),
            (O::Streaming, None, true),
            (O::Streaming, Some("gaps"), false),
            (O::Stalled, Some("nothing"), true),
            (O::Streaming, None, true),
            (O::BackingOff, Some("refused"), true),
        ];
        for (step, (state, reason, expected)) in steps.iter().enumerate() {
            assert_eq!(news.observe(*state, *reason), *expected, "step {step}");
        }
    }

    #[test]
    fn an_encoder_that_fails_again_and_again_is_told_once() {
        let mut news = StateNews::new(State::Starting);
        assert!(news.observe(State::BackingOff, Some("it crashed")));
        for _ in 0..3 {
            assert!(!news.observe(State::Starting, None));
            assert!(!news.observe(State::BackingOff, Some("it crashed")));
        }
        assert!(news.observe(State::Failed, Some("it crashed")));
    }

    fn rate(kbps: u64, rule: Rule, thin: f64) -> RateStatus {
        RateStatus {
            target: Bitrate::from_kbps(kbps),
            estimate: None,
            rule: rule.as_str(),
            output: Some(OutputName::new("studio").unwrap()),
            queue: Duration::ZERO,
            thin,
        }
    }

    #[test]
    fn a_rate_is_told_when_it_has_moved_far_and_not_too_often() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut news = RateNews::default();
        assert!(!news.observe(start, &RateStatus { output: None, ..rate(300, Rule::Fixed, 0.0) }));
        assert!(news.observe(start, &rate(1000, Rule::Grow, 0.0)), "an output leads");
        assert!(!news.observe(after(20), &rate(1499, Rule::Grow, 0.0)), "not far");
        assert!(news.observe(after(20), &rate(1500, Rule::Grow, 0.0)));
        assert!(!news.observe(after(29), &rate(500, Rule::Drain, 0.0)), "too soon");
        assert!(news.observe(after(30), &rate(500, Rule::Drain, 0.0)), "and not forgotten");
    }

    #[test]
    fn stalls_and_thinning_are_told_soon() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut news = RateNews::default();
        assert!(news.observe(start, &rate(1000, Rule::Grow, 0.0)));
        assert!(!news.observe(after(999), &rate(500, Rule::Stall, 0.0)));
        assert!(news.observe(after(1000), &rate(500, Rule::Stall, 0.0)));
        assert!(!news.observe(after(2500), &rate(300, Rule::Stall, 0.0)));
        assert!(news.observe(after(2600), &rate(300, Rule::Stall, 0.5)));
        assert!(news.observe(after(3600), &RateStatus { output: None, ..rate(300, Rule::Fixed, 0.0) }));
    }
}
