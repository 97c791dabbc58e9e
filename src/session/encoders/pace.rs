//! Whether an encoder keeps up with the pictures, and how much of them it is given.

use std::time::{Duration, Instant};

use super::{Observation, wait};
use crate::rate::{Mode, Rung, Scale};
use crate::session::meter::Meter;

/// How much of the configured mode one encoder manages.
///
/// ```text
///               pictures are dropped before it    3 s (LACKING)
///          ┌───────────────────────────────────▶ Lacking ─────────▶ one step down, Level
///   Level ─┤◀── otherwise
///          └───────────────────────────────────▶ Ample ───────────▶ one step up, Level
///               lowered, and nothing is dropped    1 min, or longer where that step failed before
/// ```
/// The size gives way first, since the work goes with the pixels and motion stays smooth; then the frame
/// rate; one that lacks time on the last step is exhausted. There is no telling from what it does how much
/// more an encoder could do: each step up is a trial.
///
/// While the machine is strained, it stands on a step that does with less of the processor, before pictures are
/// dropped; and from its end on, nothing is dropped for a minute before more is tried.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Into [`STEPS`].
    step: usize,
    /// Why it does not stand on the first step.
    reason: Option<String>,
    trend: Trend,
    raised_at: Option<Duration>,
    /// While the machine is strained: the first step that is not beyond it.
    bearable: Option<usize>,
    /// As a multiple of real time at the whole mode; `None`: nobody knows.
    speed: Option<f64>,
    /// How often each step was gone back from soon after it was tried.
    failed: [usize; STEPS.len()],
    offered: Meter,
    dropped: Meter,
    dropped_in_all: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trend {
    Level,
    Lacking { since: Duration },
    Ample { since: Duration },
}

/// A change of step, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Down(String),
    Up(String),
    /// It does not even keep up on the last step.
    Exhausted(String),
}

impl Pace {
    /// Of an encoder that was proven to be so fast, as a multiple of real time at the whole mode.
    pub(super) fn new(speed: Option<f64>) -> Self {
        let step = speed.map_or(0, fitting);
        let reason = (step > 0).then(|| {
            let speed = speed.unwrap_or_default();
            format!("the whole picture was proven at {speed:.1} × real time")
        });
        Pace {
            step,
            reason,
            trend: Trend::Level,
            raised_at: None,
            bearable: None,
            speed,
            failed: [0; STEPS.len()],
            offered: Meter::default(),
            dropped: Meter::default(),
            dropped_in_all: 0,
        }
    }

    /// The encoder is used from now on, with the step where it stood.
    pub(super) fn begin(&mut self) {
        self.trend = Trend::Level;
        self.raised_at = None;
        self.offered = Meter::default();
        self.dropped = Meter::default();
        self.dropped_in_all = 0;
    }

    pub(super) fn rung(&self) -> Rung {
        STEPS[self.step]
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The machine is strained, for this reason, or is not any more: see [`STRAINED`]. The step down that follows
    /// from that.
    pub(super) fn strain(&mut self, time: Duration, strain: Option<&str>) -> Option<Step> {
        let last = STEPS.len() - 1;
        match (strain, self.bearable) {
            (Some(_), Some(_)) | (None, None) => None,
            (Some(reason), None) => {
                let bearable = match self.speed {
                    Some(speed) => fitting(speed * STRAINED),
                    None => self.step + 1,
                };
                self.bearable = Some(bearable.min(last));
                // An encoder with time to spare goes on as it is.
                (self.step < bearable.min(last))
                    .then(|| self.lower(time, bearable.min(last), reason.to_owned()))
            }
            (None, Some(_)) => {
                self.bearable = None;
                self.trend = Trend::Level;
                if self.step > 0 {
                    self.reason = Some(WAS_STRAINED.to_owned());
                }
                None
            }
        }
    }

    /// `now` is the clock's, `time` what was looked at; `mode` is the whole one.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        time: Duration,
        mode: Mode,
        seen: &Observation,
    ) -> Option<Step> {
        self.offered.observe(now, seen.pictures_in);
        self.dropped.observe(now, seen.dropped);
        let is_dropping = seen.dropped != self.dropped_in_all;
        self.dropped_in_all = seen.dropped;

        let is_lacking = self.dropped.per_second() > MOST_DROPPED * self.offered.per_second();
        let highest = self.bearable.unwrap_or(0);
        let may_rise = self.step > highest && !is_dropping && !seen.reduced;
        self.trend = match self.trend {
            Trend::Lacking { since } if is_lacking => Trend::Lacking { since },
            Trend::Level | Trend::Ample { .. } if is_lacking => Trend::Lacking { since: time },
            Trend::Ample { since } if may_rise => Trend::Ample { since },
            Trend::Level | Trend::Lacking { .. } if may_rise => Trend::Ample { since: time },
            Trend::Level | Trend::Lacking { .. } | Trend::Ample { .. } => Trend::Level,
        };
        match self.trend {
            Trend::Lacking { since } if time - since >= LACKING => {
                let reason = self.told_of(mode, seen);
                let is_last = self.step + 1 == STEPS.len();
                Some(if is_last { Step::Exhausted(reason) } else { self.lower(time, self.step + 1, reason) })
            }
            Trend::Ample { since } if time - since >= wait(1 + self.failed[self.step - 1]) => {
                Some(self.raise(time, mode, seen))
            }
            Trend::Level | Trend::Lacking { .. } | Trend::Ample { .. } => None,
        }
    }

    fn told_of(&self, mode: Mode, seen: &Observation) -> String {
        let (offered, dropped) = (self.offered.per_second(), self.dropped.per_second());
        let kept = (offered - dropped).max(0.0);
        let Mode { width, height, .. } = mode.at(self.rung());
        format!("{} keeps {kept:.0} of {offered:.0} pictures a second at {width}×{height}", seen.element)
    }

    fn lower(&mut self, time: Duration, step: usize, reason: String) -> Step {
        if self.raised_at.take().is_some_and(|at| time - at < TRIAL) {
            self.failed[self.step] += 1;
        }
        self.step = step;
        self.trend = Trend::Level;
        self.reason = Some(reason.clone());
        Step::Down(reason)
    }

    fn raise(&mut self, time: Duration, mode: Mode, seen: &Observation) -> Step {
        let Mode { width, height, .. } = mode.at(self.rung());
        self.step -= 1;
        self.trend = Trend::Level;
        self.raised_at = Some(time);
        if self.step == 0 {
            self.reason = None;
        }
        Step::Up(format!("{} has kept every picture at {width}×{height} for a while", seen.element))
    }
}

/// The first step that leaves some room, by what the encoder was proven to do at the whole mode.
fn fitting(speed: f64) -> usize {
    let fits = |&step: &usize| speed >= ROOM * work(STEPS[step]);
    (0..STEPS.len()).find(fits).unwrap_or(STEPS.len() - 1)
}

/// What a rung costs, as a share of the whole mode: work goes with pixels and pictures.
fn work(rung: Rung) -> f64 {
    let side = match rung.scale {
        Scale::Full => 1.0,
        Scale::ThreeQuarters => 0.75,
        Scale::Half => 0.5,
    };
    side * side / f64::from(rung.framerate_divisor)
}

/// From the whole mode down; what is below is no picture to send.
const STEPS: [Rung; 4] = [
    Rung::FULL,
    Rung { framerate_divisor: 1, scale: Scale::ThreeQuarters },
    Rung { framerate_divisor: 1, scale: Scale::Half },
    Rung { framerate_divisor: 2, scale: Scale::Half },
];

/// Share of the pictures whose loss is not worth another mode: one in ten is hardly seen.
const MOST_DROPPED: f64 = 0.1;

/// A pause of the machine is over by then.
const LACKING: Duration = Duration::from_secs(3);

/// A step up that is gone back from within so long has failed: a minute's load shows at once, the heat of a
/// small machine after some.
const TRIAL: Duration = Duration::from_secs(5 * 60);

/// Room that an encoder needs above what it was proven to do: other work, other scenes.
const ROOM: f64 = 1.2;

/// What is left of a processor that its machine slows down: a Raspberry Pi 4 falls from 1.8 to 1.0 GHz and a 5 from
/// 2.4 to 1.5, and a PC to its clock without turbo. One whose speed nobody knows gives up a step.
const STRAINED: f64 = 0.5;

const WAS_STRAINED: &str = "the machine was slowed down until a moment ago";

#[cfg(test)]
mod tests {
    use super::*;

    const HEAT: &str = "the processor is hot";

    fn strained(speed: Option<f64>) -> (Pace, Option<Step>) {
        let mut pace = Pace::new(speed);
        pace.begin();
        let step = pace.strain(Duration::from_secs(9), Some(HEAT));
        (pace, step)
    }

    #[test]
    fn a_strained_machine_is_given_less_at_once_and_only_where_it_needs_that() {
        let down = Some(Step::Down(HEAT.to_owned()));
        let cases = [
            (None, down.clone(), 1),
            (Some(3.0), None, 0),
            (Some(2.0), down.clone(), 1),
            (Some(1.3), down.clone(), 2),
            (Some(0.5), down.clone(), 3),
            (Some(0.2), None, 3), // it stood there anyway
        ];
        for (speed, expected, at) in cases {
            let (mut pace, step) = strained(speed);
            assert_eq!((step, pace.rung()), (expected, STEPS[at]), "{speed:?}");
            assert_eq!(pace.strain(Duration::from_secs(10), Some("hotter")), None, "once");
        }
    }

    #[test]
    fn what_was_lowered_already_goes_one_step_on_and_never_below_the_last() {
        let mut pace = Pace::new(None);
        for (step, expected) in [(2, STEPS[3]), (3, STEPS[3])] {
            pace.step = step;
            pace.strain(Duration::ZERO, Some(HEAT));
            assert_eq!(pace.rung(), expected);
            pace.strain(Duration::ZERO, None);
        }
    }

    #[test]
    fn the_reason_is_the_machines_while_that_lasts_and_says_so_afterwards() {
        let (mut pace, _) = strained(None);
        assert_eq!(pace.reason(), Some(HEAT));
        pace.strain(Duration::from_secs(60), None);
        assert_eq!((pace.rung(), pace.reason()), (STEPS[1], Some(WAS_STRAINED)));
        let (mut pace, _) = strained(Some(4.0));
        pace.strain(Duration::from_secs(60), None);
        assert_eq!(pace.reason(), None);
    }
}
