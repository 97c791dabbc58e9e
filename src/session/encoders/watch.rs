//! What is wrong with the encoder in use.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Observation;
use crate::session::meter::Meter;
use crate::units::Bitrate;

/// Looks at one encoder from its start to its end.
///
/// What it does badly is told for as long as it does so: whether it is borne is decided elsewhere.
/// Giving less than it was told is no fault: a scene that stands still needs less.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    since: Duration,
    units_out: u64,
    /// Pictures that had been meant for it when its last unit came, or when it began.
    answered: u64,
    /// When the first picture after those came.
    unanswered_since: Option<Duration>,
    /// Pictures on air, given or withheld; and since when there has been no other.
    offered: u64,
    offered_at: Duration,
    /// What it was told, oldest first, [`TOLD_INTERVAL`] apart, over [`LAG`]: bounded.
    told: VecDeque<(Duration, Bitrate)>,
    excessive_since: Option<Duration>,
    taken: Meter,
    given: Meter,
    losing_since: Option<Duration>,
    key_frames: u64,
    asked: Option<Asked>,
}

/// A key frame that was asked for and has not come.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Duration,
    last: Duration,
    times: u32,
    /// Units that had come out when it was asked for first, ...
    units_before: u64,
    /// ... and when it was asked for last.
    units_out: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    Well,
    /// A key frame was asked for and did not come: worth asking again.
    KeyFrameOverdue,
    Fault(Fault),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// Pictures went in and none came out.
    Stall { lasting: Duration, has_begun: bool },
    /// No picture went in, though none was withheld: that is not the encoder's fault.
    Starved,
    /// It gives much more than it is told.
    Excess { told: Bitrate, encoded: Bitrate },
    /// Of the pictures that it took, some do not come out: those that refer to them are broken.
    Loss { taken: f64, given: f64 },
    /// It gives no key frames when it is asked for one.
    NoKeyFrame { times: u32 },
}

impl Watch {
    /// Of an encoder that begins now.
    pub(super) fn new(time: Duration) -> Self {
        Watch {
            since: time,
            units_out: 0,
            answered: 0,
            unanswered_since: None,
            offered: 0,
            offered_at: time,
            told: VecDeque::new(),
            excessive_since: None,
            taken: Meter::default(),
            given: Meter::default(),
            losing_since: None,
            key_frames: 0,
            asked: None,
        }
    }

    /// `now` is the clock's; `time` is the time that was looked at, and never goes back.
    pub(super) fn observe(&mut self, now: Instant, time: Duration, seen: &Observation) -> Finding {
        let stall = self.stall(time, seen);
        let excess = self.excess(time, seen).or(self.loss(now, time, seen));
        let key_frame = self.key_frame(time, seen);
        match stall.or(excess) {
            Some(fault) => Finding::Fault(fault),
            None => key_frame,
        }
    }

    pub(super) fn key_frame_forced(&mut self, time: Duration) {
        let units_out = self.units_out;
        let (first, units_before, times) =
            self.asked.map_or((time, units_out, 0), |asked| (asked.first, asked.units_before, asked.times));
        let times = times.saturating_add(1);
        self.asked = Some(Asked { first, last: time, times, units_before, units_out });
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.told.len()
    }

    fn stall(&mut self, time: Duration, seen: &Observation) -> Option<Fault> {
        let offered = seen.pictures_in.saturating_add(seen.withheld);
        if offered != self.offered {
            (self.offered, self.offered_at) = (offered, time);
        }
        if seen.units_out != self.units_out {
            (self.units_out, self.answered, self.unanswered_since) = (seen.units_out, seen.pictures_in, None);
        } else if seen.pictures_in > self.answered {
            self.unanswered_since = self.unanswered_since.or(Some(time));
        }
        let has_begun = seen.units_out > 0;
        let limit = if has_begun { STALL } else { FIRST_PICTURE };
        let lasting = self.unanswered_since.map_or(Duration::ZERO, |since| time - since);
        if lasting >= limit && seen.pictures_in.saturating_sub(self.answered) >= UNANSWERED {
            Some(Fault::Stall { lasting, has_begun })
        } else {
            (time - self.offered_at >= STARVED).then_some(Fault::Starved)
        }
    }

    fn excess(&mut self, time: Duration, seen: &Observation) -> Option<Fault> {
        if self.told.back().is_none_or(|&(at, _)| time - at >= TOLD_INTERVAL) {
            self.told.push_back((time, seen.told));
        }
        while self.told.get(1).is_some_and(|&(at, _)| time - at >= LAG) {
            self.told.pop_front();
        }
        // What it was told a while ago may still be what it gives.
        let most = self.told.iter().map(|&(_, told)| told).max().unwrap_or(seen.told).max(seen.told);
        let is_known = time - self.since >= LAG && most > Bitrate::ZERO;
        if is_known && seen.encoded.as_bps() as f64 > MOST_EXCESS * most.as_bps() as f64 {
            self.excessive_since = self.excessive_since.or(Some(time));
        } else {
            self.excessive_since = None;
        }
        let is_excessive = self.excessive_since.is_some_and(|since| time - since >= EXCESS_PROOF);
        (is_excessive || seen.out_of_reach).then_some(Fault::Excess { told: most, encoded: seen.encoded })
    }

    fn loss(&mut self, now: Instant, time: Duration, seen: &Observation) -> Option<Fault> {
        self.taken.observe(now, seen.taken);
        self.given.observe(now, seen.units_out);
        let (taken, given) = (self.taken.per_second(), self.given.per_second());
        if seen.units_out > 0 && taken - given > MOST_LOST * taken {
            self.losing_since = self.losing_since.or(Some(time));
        } else {
            self.losing_since = None;
        }
        let lasting = self.losing_since.map_or(Duration::ZERO, |since| time - since);
        (lasting >= LOSS_PROOF).then_some(Fault::Loss { taken, given })
    }

    fn key_frame(&mut self, time: Duration, seen: &Observation) -> Finding {
        if seen.key_frames != self.key_frames {
            (self.key_frames, self.asked) = (seen.key_frames, None);
        }
        let Some(asked) = self.asked else { return Finding::Well };
        let has_passed_over = |units: u64| seen.units_out.saturating_sub(units) >= UNANSWERED;
        // Whoever asks over and over must not hide that nothing comes of it: that counts from the first time.
        let is_proven = asked.times >= KEY_FRAME_TRIES
            && time - asked.first >= KEY_FRAME_PROOF
            && has_passed_over(asked.units_before);
        if is_proven {
            Finding::Fault(Fault::NoKeyFrame { times: asked.times })
        } else if time - asked.last >= KEY_FRAME_PATIENCE && has_passed_over(asked.units_out) {
            Finding::KeyFrameOverdue
        } else {
            Finding::Well
        }
    }
}

impl Fault {
    /// In words, of this element.
    pub(super) fn told_of(&self, element: &str) -> String {
        match self {
            Fault::Stall { lasting, has_begun: true } => {
                format!("{element} gave nothing for {:.0} s", lasting.as_secs_f64())
            }
            Fault::Stall { lasting, has_begun: false } => {
                format!("{element} gave no picture in {:.0} s", lasting.as_secs_f64())
            }
            Fault::Starved => format!("no picture reached {element} for {} s", STARVED.as_secs()),
            Fault::Excess { told, encoded } => {
                format!("{element} ignores its target: it gives {encoded} and was told {told}")
            }
            Fault::Loss { taken, given } => {
                format!("{element} loses pictures: it takes {taken:.0} a second and gives {given:.0}")
            }
            Fault::NoKeyFrame { times } => {
                format!("{element} gave no key frame though it was asked {times} times")
            }
        }
    }
}

/// A second without picture is what a viewer takes for broken; an encoder that works answers in some
/// frames' time.
const STALL: Duration = Duration::from_secs(1);

/// A hardware encoder loads its firmware, and one in software makes its tables, before the first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(3);

/// Pictures that an encoder without reordering may keep: hardware gives one when the next comes, some keep
/// two. Of so many, one must have come out.
const UNANSWERED: u64 = 4;

/// The slate gives pictures where no camera does: so long without any, the pipeline before the encoder hangs.
const STARVED: Duration = Duration::from_secs(3);

/// The slowest encoder known follows a change after a second, and what comes out is measured over the last
/// second; the third is room.
const LAG: Duration = Duration::from_secs(3);

/// Targets change more seldom than is worth remembering; [`LAG`] holds thirty of them.
const TOLD_INTERVAL: Duration = Duration::from_millis(100);

/// No rate control that works at all gives more (as [`Actuator`](crate::rate::Actuator) has it), ...
const MOST_EXCESS: f64 = 1.6;

/// ... and what came out in so long and the second before holds a group of pictures with its key frame.
const EXCESS_PROOF: Duration = Duration::from_secs(2);

/// Of the pictures taken in a second. What an encoder has under way differs by less from one moment to the next.
const MOST_LOST: f64 = 0.2;

/// Pictures that are only late have come by then.
const LOSS_PROOF: Duration = Duration::from_secs(2);

/// An encoder gives a key frame with the next picture or the one after.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(400);

/// A wish may be lost where it meets another change; not so many in a row, ...
const KEY_FRAME_TRIES: u32 = 4;

/// ... over so long.
const KEY_FRAME_PROOF: Duration = Duration::from_secs(2);
