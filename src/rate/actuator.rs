//! Between a target and the encoder: what it is told, when, and corrected for what it makes of it.
//!
//! Changing the rate of an encoder is not free: some send a key frame each time. And what comes out is
//! not always what was asked for: some give a third more. So the target is told in steps that are worth
//! it, falling ones soonest, and divided by the encoder's measured [bias](Actuator::bias).

mod bias;

use std::time::Duration;

use self::bias::Bias;
use crate::units::Bitrate;

/// What one change of the rate costs with an encoder; a row of the table of back ends says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangeCost {
    /// Smallest relative change that is worth making: 0.02 is 2 %. A fall is worth it from half of that.
    pub step: f64,
    /// Least time between two changes. Urgent falls wait for less.
    pub interval: Duration,
    /// Whether each change brings a key frame.
    pub key_frame: bool,
}

/// Follows a target with an encoder's rate.
#[derive(Clone, Debug)]
pub struct Actuator {
    cost: ChangeCost,
    told: Option<Told>,
    rest: Option<Rest>,
    bias: Bias,
}

/// What the encoder goes by.
#[derive(Clone, Copy, Debug)]
struct Told {
    rate: Bitrate,
    at: Duration,
}

/// A target that has not changed for a while.
#[derive(Clone, Copy, Debug)]
struct Rest {
    target: Bitrate,
    since: Duration,
}

impl Actuator {
    /// For an encoder that was told nothing yet: its first command comes at once.
    pub fn new(cost: ChangeCost) -> Self {
        Actuator { cost, told: None, rest: None, bias: Bias::default() }
    }

    /// What to tell the encoder now, above zero and at most `target`; `None`: leave it as it is.
    ///
    /// `now` is the time since any fixed moment, `encoded` what came out of the encoder over the last
    /// second, where that is known. To be called at least twice a second: more seldom, the bias stays.
    pub fn command(&mut self, now: Duration, target: Bitrate, encoded: Option<Bitrate>) -> Option<Bitrate> {
        if let (Some(told), Some(encoded)) = (self.told, encoded) {
            self.bias.observe(now, told.rate, encoded);
        }
        let rests = self.rests(now, target);
        let wanted = self.corrected(target)?;
        if self.told.is_some_and(|told| !self.is_worth_it(now, told, wanted, rests)) {
            return None;
        }
        self.told = Some(Told { rate: wanted, at: now });
        Some(wanted)
    }

    /// What the encoder gives for each bit that it was told to give; 1.0 to 1.6. An encoder that gives
    /// less is left alone: a scene that stands still needs less.
    pub fn bias(&self) -> f64 {
        self.bias.factor()
    }

    /// Whether it gives so much more than it is told that no correction helps: then the link must be
    /// kept free by other means.
    pub fn ignores_target(&self) -> bool {
        self.bias.is_out_of_reach()
    }

    /// `target` as it must be told for that much to come out; `None` for a target of nothing, which no
    /// encoder takes.
    fn corrected(&self, target: Bitrate) -> Option<Bitrate> {
        let target = target.as_bps();
        let corrected = (target as f64 / self.bias.factor()) as u64;
        (target > 0).then(|| Bitrate::from_bps(corrected.clamp(1, target)))
    }

    fn is_worth_it(&self, now: Duration, told: Told, wanted: Bitrate, rests: bool) -> bool {
        let change = wanted.as_bps() as f64 / told.rate.as_bps() as f64 - 1.0;
        let smallest = match (rests, change < 0.0) {
            (true, _) => self.cost.step.min(REST_STEP),
            (false, true) => self.cost.step / 2.0,
            (false, false) => self.cost.step,
        };
        let interval = if change <= -URGENT_FALL { self.urgent_interval() } else { self.cost.interval };
        change != 0.0 && change.abs() >= smallest && now.saturating_sub(told.at) >= interval
    }

    fn urgent_interval(&self) -> Duration {
        let shortened = if self.cost.key_frame { URGENT_INTERVAL } else { self.cost.interval / URGENT_SHARE };
        shortened.min(self.cost.interval)
    }

    /// Whether the target has rested: at a bound, or on a link that is known. Then it is told exactly,
    /// though the last bit of the way is a small one.
    fn rests(&mut self, now: Duration, target: Bitrate) -> bool {
        let rest = self.rest.filter(|rest| rest.target == target).unwrap_or(Rest { target, since: now });
        self.rest = Some(rest);
        now.saturating_sub(rest.since) >= REST
    }
}

/// A fall by this share that is not told fills half a second's worth of queue in three seconds.
const URGENT_FALL: f64 = 0.15;

/// How soon after a change an urgent fall may follow, where each costs a key frame: with fewer than about
/// ten frames between them, key frames alone take more than the fall saves.
const URGENT_INTERVAL: Duration = Duration::from_millis(300);

/// Elsewhere the interval only spares the driver work: an urgent fall waits for this part of it.
const URGENT_SHARE: u32 = 4;

/// A target that stays for so long is not on its way somewhere else.
const REST: Duration = Duration::from_secs(2);

/// Of a target at rest, differences below this are not told: no picture shows them.
const REST_STEP: f64 = 0.02;

#[cfg(test)]
mod tests;
