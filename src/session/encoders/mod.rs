//! Which encoder a stream uses, why, and how large a picture it manages.
//!
//! - [`watch`]: what is wrong with the encoder in use.
//! - [`pace`]: whether it keeps up with the pictures, and how much of them it is given.

mod pace;
mod watch;

use std::time::{Duration, Instant};

use self::pace::{Pace, Step};
use self::watch::{Fault, Finding, Watch};
use crate::rate::{Mode, Rung};
use crate::units::Bitrate;

/// The encoders that a stream may use, one of them in use.
///
/// ```text
///             start             its first picture
///   Down ──────────────▶ Starting ──────────────▶ Working
///    ▲                    ▲     │                    │ ▲
///    │                    │     │ it fails           │ │ lowered, raised, another one probed
///    │ give up:           │     ▼                    │ └─┘
///    │ no other is left   │  (demoted) ◀─────────────┤ it fails
///    └────────────────────┼─────┘                    │
///                         └─────┴────────────────────┘ replaced by the next one, or by a better one
///                                                      that has passed its probe
/// ```
/// One that has failed is demoted: it is not used again before a probe of it has passed. Only a stream
/// that would otherwise have none begins anew with the one that failed on air longest ago. One that has not
/// even passed a probe is never begun with: where there is no other, probes are waited for
/// ([`Encoders::idle`]).
///
/// A worse one that nobody has tried is probed while another one works, so that what would take over is known
/// beforehand.
///
/// Faults are judged by the time that was looked at: where nobody looked for a while, because the whole
/// process had to wait, that while proves nothing about an encoder.
#[derive(Clone, Debug)]
pub struct Encoders {
    /// As configured.
    mode: Mode,
    /// In order of preference.
    entries: Vec<Entry>,
    stage: Stage,
    watch: Watch,
    /// Time that was looked at.
    time: Duration,
    last_look: Instant,
    /// The one that a probe was asked for and has not answered yet.
    probing: Option<usize>,
    /// Demotions so far.
    demotions: u64,
    /// Why the machine has less to give than it had.
    strain: Option<String>,
}

/// An encoder that this machine has.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// GStreamer's name of the element.
    pub element: &'static str,
    /// Why it stands where it does: `proven: 4.1 × real time`.
    pub reason: String,
    /// Pictures of the configured mode that it was proven to encode, as a multiple of real time.
    pub speed: Option<f64>,
    /// Why it did not pass its probe, where it did not: it is demoted from the beginning.
    pub failed: Option<String>,
    /// Whether the configuration names it: that another one stands in for it is trouble.
    pub named: bool,
    /// Whether a probe is still to tell what it is worth.
    pub untried: bool,
}

/// What is seen of the encoder in use. Counters only rise, and count what this encoder did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Whom the rest is about; while one is being replaced, that is still the one before.
    pub element: &'static str,
    /// Pictures that were meant for it, those that it was not ready for included.
    pub pictures_in: u64,
    /// Of these, what was dropped before it because it was not ready.
    pub dropped: u64,
    /// Pictures that were kept from it because fewer are wanted.
    pub withheld: u64,
    /// Pictures that it took.
    pub taken: u64,
    pub units_out: u64,
    /// Of the units, those that a decoder can begin with.
    pub key_frames: u64,
    /// What it was told last.
    pub told: Bitrate,
    /// What came out of it over the last second.
    pub encoded: Bitrate,
    /// Whether it gives so much more than it is told that no correction helps
    /// ([`Actuator::ignores_target`](crate::rate::Actuator::ignores_target)).
    pub out_of_reach: bool,
    /// Whether the rate has it given less than it would be given otherwise: fewer or smaller pictures.
    pub reduced: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Keep,
    /// Use this one from now on; what is seen of the one before no longer counts.
    Replace {
        element: &'static str,
        reason: String,
    },
    /// Give the encoder less.
    Lower {
        rung: Rung,
        reason: String,
    },
    /// Give the encoder more again.
    Raise {
        rung: Rung,
        reason: String,
    },
    /// A key frame was asked for and did not come: ask again, and tell by [`Encoders::key_frame_forced`].
    ForceKeyFrame,
    /// See whether this one works again; the answer is awaited in [`Encoders::probed`].
    Probe {
        element: &'static str,
    },
    /// Nothing else is left: take everything down and begin anew, a while later, with [`Encoders::start`].
    GiveUp {
        reason: String,
    },
}

/// An encoder that is not to be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demotion {
    pub element: &'static str,
    pub reason: String,
    pub since: Instant,
}

#[derive(Clone, Debug)]
struct Entry {
    candidate: Candidate,
    demoted: Option<Demoted>,
    /// Failures on air, until it has worked for long.
    faults: usize,
    pace: Pace,
}

#[derive(Clone, Debug)]
struct Demoted {
    reason: String,
    since: Instant,
    /// Demotions before this one, of any encoder.
    number: u64,
    failed_probes: usize,
    /// What the last probe found.
    probe: Option<String>,
    probe_due: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Down,
    /// Chosen; has given nothing yet.
    Starting {
        at: usize,
        since: Duration,
    },
    Working {
        at: usize,
        since: Duration,
    },
}

impl Encoders {
    /// Of `candidates`, in order of preference, none is in use yet.
    pub fn new(now: Instant, mode: Mode, candidates: Vec<Candidate>) -> Self {
        let mut encoders = Encoders {
            mode,
            entries: Vec::new(),
            stage: Stage::Down,
            watch: Watch::new(Duration::ZERO),
            time: Duration::ZERO,
            last_look: now,
            probing: None,
            demotions: 0,
            strain: None,
        };
        for mut candidate in candidates {
            let failed = candidate.failed.take();
            let mut demoted = failed.map(|reason| encoders.demotion(now, reason, 1));
            if let Some(demoted) = demoted.as_mut().filter(|_| candidate.untried) {
                demoted.probe_due = Duration::ZERO; // its first, not another one
            }
            let pace = Pace::new(candidate.speed);
            encoders.entries.push(Entry { candidate, demoted, faults: 0, pace });
        }
        encoders
    }

    /// A probe of this one is under way already: its answer is awaited in [`Encoders::probed`].
    pub fn probing(&mut self, element: &str) {
        self.probing = self.entry(element);
    }

    /// The one to begin with, or to begin anew with after [`Action::GiveUp`]; `None` where none has passed a
    /// probe or worked: then [`Encoders::idle`] looks after them.
    pub fn start(&mut self, now: Instant) -> Option<&'static str> {
        self.pass_time(now);
        let number = |at: &usize| self.entries[*at].demoted.as_ref().map(|demoted| demoted.number);
        let may_begin = |at: &usize| self.entries[*at].demoted.is_none() || self.entries[*at].faults > 0;
        // None at all comes before any number.
        let at = (0..self.entries.len()).filter(may_begin).min_by_key(number)?;
        self.begin(at);
        Some(self.entries[at].candidate.element)
    }

    /// From now on the machine has less to give to the encoder in use, for this reason, or as much as ever.
    pub fn strained(&mut self, strain: Option<String>) {
        self.strain = strain;
    }

    /// Looks at the encoder in use. To be called every 50 ms while it is to work.
    pub fn observe(&mut self, now: Instant, seen: &Observation) -> Action {
        self.pass_time(now);
        let Some(at) = self.stage.at() else { return Action::Keep };
        if seen.element != self.entries[at].candidate.element {
            return self.await_start(now, at);
        }
        match self.watch.observe(now, self.time, seen) {
            Finding::Fault(Fault::Starved) => {
                return self.give_up(Fault::Starved.told_of(seen.element));
            }
            Finding::Fault(fault) if self.is_unbearable(at, &fault) => {
                return self.demote(now, at, fault.told_of(seen.element));
            }
            Finding::KeyFrameOverdue => return Action::ForceKeyFrame,
            Finding::Fault(_) | Finding::Well => {}
        }
        if seen.units_out > 0 {
            self.credit(at);
        }
        if let Some(better) = self.proven_again(at) {
            return self.replace(better);
        }
        let pace = &mut self.entries[at].pace;
        let strained = pace.strain(self.time, self.strain.as_deref());
        match strained.or_else(|| pace.observe(now, self.time, self.mode, seen)) {
            Some(Step::Down(reason)) => return Action::Lower { rung: pace.rung(), reason },
            Some(Step::Up(reason)) => return Action::Raise { rung: pace.rung(), reason },
            Some(Step::Exhausted(reason)) if self.best_but(at).is_some() => {
                return self.demote(now, at, reason);
            }
            Some(Step::Exhausted(_)) | None => {}
        }
        self.due_probe(at).unwrap_or(Action::Keep)
    }

    /// While there is none to begin with. To be called every 50 ms then; asks for probes and nothing else.
    pub fn idle(&mut self, now: Instant) -> Action {
        self.pass_time(now);
        match self.stage {
            Stage::Down => self.probe_one_of(0..self.entries.len()),
            Stage::Starting { .. } | Stage::Working { .. } => None,
        }
        .unwrap_or(Action::Keep)
    }

    /// `element` could not be started, or reported that it does not work any more. Of one that is not in
    /// use that is no news.
    pub fn failed(&mut self, now: Instant, element: &str, reason: &str) -> Action {
        self.pass_time(now);
        match self.stage.at().filter(|&at| self.entries[at].candidate.element == element) {
            Some(at) => self.demote(now, at, format!("{element}: {reason}")),
            None => Action::Keep,
        }
    }

    /// What came out of `element` is no stream that a decoder could use. That is borne where there is no other.
    pub fn broken(&mut self, now: Instant, element: &str, reason: &str) -> Action {
        match self.stage.at() {
            Some(at) if self.best_but(at).is_some() => {
                self.failed(now, element, &format!("its stream is broken: {reason}"))
            }
            Some(_) | None => Action::Keep,
        }
    }

    /// The encoder in use was asked for a key frame.
    pub fn key_frame_forced(&mut self, now: Instant) {
        self.pass_time(now);
        self.watch.key_frame_forced(self.time);
    }

    /// What became of a probe that [`Action::Probe`] asked for: the new reason for its place and its speed,
    /// where that is known, or why it did not pass.
    pub fn probed(&mut self, now: Instant, element: &str, result: Result<(String, Option<f64>), String>) {
        self.pass_time(now);
        let Some(at) = self.probing.filter(|&at| self.entries[at].candidate.element == element) else {
            return;
        };
        self.probing = None;
        let (time, is_in_use) = (self.time, self.stage.at() == Some(at));
        let entry = &mut self.entries[at];
        let is_first = std::mem::take(&mut entry.candidate.untried);
        match (result, &mut entry.demoted) {
            (Ok((reason, speed)), demoted) => {
                *demoted = None;
                entry.candidate.reason = reason;
                entry.candidate.speed = speed;
                if !is_in_use {
                    entry.pace = Pace::new(speed);
                }
            }
            (Err(reason), Some(demoted)) => {
                demoted.failed_probes += 1;
                demoted.probe_due = time + wait(entry.faults + demoted.failed_probes);
                if is_first && entry.faults == 0 {
                    demoted.reason = format!("{element}: {reason}");
                } else {
                    demoted.probe = Some(reason);
                }
            }
            (Err(reason), None) if is_first && !is_in_use => {
                self.entries[at].demoted = Some(self.demotion(now, format!("{element}: {reason}"), 1));
            }
            (Err(_), None) => {} // it was begun with in the meantime, and worked
        }
    }

    /// The one in use, or the one that is to be.
    pub fn in_use(&self) -> Option<&Candidate> {
        self.stage.at().map(|at| &self.entries[at].candidate)
    }

    /// Why this one.
    pub fn reason(&self) -> Option<String> {
        self.reason_for(self.in_use()?.element)
    }

    /// Why `element` is on air: it was chosen, or its successor is not there yet.
    pub fn reason_for(&self, element: &str) -> Option<String> {
        let (at, next) = (self.entry(element)?, self.stage.at()?);
        let Entry { candidate, demoted, .. } = &self.entries[at];
        if at != next {
            let own = demoted.as_ref().map_or(&candidate.reason, |demoted| &demoted.reason);
            return Some(format!("{own}; {} takes its place", self.entries[next].candidate.element));
        }
        let better = self.entries[..at].iter().filter_map(|entry| entry.demoted.as_ref());
        let reasons: Vec<&str> =
            better.map(|demoted| demoted.reason.as_str()).chain([candidate.reason.as_str()]).collect();
        Some(reasons.join("; "))
    }

    /// What is not as it should be: a better one failed on air, or cannot be used though it is configured, or
    /// the picture is smaller than configured.
    pub fn trouble(&self) -> Option<String> {
        let at = self.stage.at()?;
        let has_failed = |entry: &&Entry| entry.faults > 0 || entry.candidate.named;
        let failed = self.entries[..at].iter().filter(has_failed).filter_map(|entry| entry.demoted.as_ref());
        let reasons: Vec<&str> =
            failed.map(|demoted| demoted.reason.as_str()).chain(self.lowered()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Those that have failed, on air or in their probe.
    pub fn demoted(&self) -> impl Iterator<Item = Demotion> {
        self.entries.iter().filter_map(|entry| {
            let Demoted { reason, probe, since, .. } = entry.demoted.as_ref()?;
            let reason = match probe {
                Some(probe) => format!("{reason}; probed again: {probe}"),
                None => reason.clone(),
            };
            Some(Demotion { element: entry.candidate.element, reason, since: *since })
        })
    }

    /// What of the configured mode the encoder in use manages.
    pub fn rung(&self) -> Rung {
        self.stage.at().map_or(Rung::FULL, |at| self.entries[at].pace.rung())
    }

    /// Why that is not all of it.
    pub fn lowered(&self) -> Option<&str> {
        self.entries[self.stage.at()?].pace.reason()
    }

    /// Why `element` is given less than the configured mode.
    pub fn lowered_for(&self, element: &str) -> Option<&str> {
        self.entries[self.entry(element)?].pace.reason()
    }

    /// Whether another one could take over if the one in use failed.
    pub fn has_another(&self) -> bool {
        self.stage.at().and_then(|at| self.best_but(at)).is_some()
    }

    fn entry(&self, element: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.candidate.element == element)
    }

    /// Lets time go on by what was looked at.
    fn pass_time(&mut self, now: Instant) {
        self.time += now.saturating_duration_since(self.last_look).min(LONGEST_LOOK);
        self.last_look = now;
    }

    fn begin(&mut self, at: usize) {
        self.stage = Stage::Starting { at, since: self.time };
        self.watch = Watch::new(self.time);
        self.entries[at].pace.begin();
    }

    /// While nothing is seen of the one that was chosen.
    fn await_start(&mut self, now: Instant, at: usize) -> Action {
        let Stage::Starting { since, .. } = self.stage else { return Action::Keep };
        if self.time - since < START {
            self.watch = Watch::new(self.time); // its own time begins when something is seen of it
            return Action::Keep;
        }
        let element = self.entries[at].candidate.element;
        self.demote(now, at, format!("{element} did not start within {} s", START.as_secs()))
    }

    fn credit(&mut self, at: usize) {
        match self.stage {
            Stage::Down | Stage::Starting { .. } => self.stage = Stage::Working { at, since: self.time },
            Stage::Working { since, .. } => {
                let entry = &mut self.entries[at];
                if self.time - since >= AS_GOOD_AS_A_PROBE {
                    entry.demoted = None;
                }
                if self.time - since >= FORGIVEN {
                    entry.faults = 0;
                }
            }
        }
    }

    /// What an encoder does badly is borne where there is no other that could do better.
    fn is_unbearable(&self, at: usize, fault: &Fault) -> bool {
        let is_another_left = self.best_but(at).is_some();
        match fault {
            Fault::Excess { .. } | Fault::NoKeyFrame { .. } | Fault::Loss { .. } => is_another_left,
            Fault::Stall { lasting, .. } => is_another_left || *lasting >= LAST_STALL,
            Fault::Starved => true,
        }
    }

    fn best_but(&self, at: usize) -> Option<usize> {
        (0..self.entries.len()).find(|&other| other != at && self.entries[other].demoted.is_none())
    }

    fn demote(&mut self, now: Instant, at: usize, reason: String) -> Action {
        self.entries[at].faults += 1;
        self.entries[at].demoted = Some(self.demotion(now, reason.clone(), self.entries[at].faults));
        match self.best_but(at) {
            Some(next) => {
                self.begin(next);
                Action::Replace { element: self.entries[next].candidate.element, reason }
            }
            None => self.give_up(reason),
        }
    }

    fn demotion(&mut self, now: Instant, reason: String, failures: usize) -> Demoted {
        let number = self.demotions;
        self.demotions += 1;
        let probe_due = self.time + wait(failures);
        Demoted { reason, since: now, number, failed_probes: 0, probe: None, probe_due }
    }

    fn give_up(&mut self, reason: String) -> Action {
        self.stage = Stage::Down;
        Action::GiveUp { reason }
    }

    /// A better one that may be used again, while the one in use works.
    fn proven_again(&self, at: usize) -> Option<usize> {
        match self.stage {
            Stage::Working { .. } => self.best_but(at).filter(|&better| better < at),
            Stage::Down | Stage::Starting { .. } => None,
        }
    }

    fn replace(&mut self, better: usize) -> Action {
        self.begin(better);
        let Candidate { element, reason, .. } = &self.entries[better].candidate;
        Action::Replace { element, reason: format!("{element} has passed its probe: {reason}") }
    }

    /// While the one in use works: a better one that failed may be back, and a worse one that nobody has tried
    /// may be needed soon.
    fn due_probe(&mut self, at: usize) -> Option<Action> {
        let Stage::Working { since, .. } = self.stage else { return None };
        if self.time - since < SETTLED {
            return None;
        }
        let worse = (at + 1..self.entries.len()).find(|&worse| self.is_unknown(worse));
        self.probe_one_of(0..at).or_else(|| self.probe_one_of(worse))
    }

    fn probe_one_of(&mut self, range: impl IntoIterator<Item = usize>) -> Option<Action> {
        if self.probing.is_some() {
            return None;
        }
        let is_due = |&at: &usize| {
            let entry = &self.entries[at];
            let due = entry.demoted.as_ref().map(|demoted| demoted.probe_due);
            entry.faults < MOST_FAULTS && due.is_some_and(|due| self.time >= due) || self.is_unknown(at)
        };
        let at = range.into_iter().find(is_due)?;
        self.probing = Some(at);
        Some(Action::Probe { element: self.entries[at].candidate.element })
    }

    /// Whether it may be used, though nobody has tried it.
    fn is_unknown(&self, at: usize) -> bool {
        self.entries[at].candidate.untried && self.entries[at].demoted.is_none()
    }
}

impl Stage {
    /// Which entry it is about.
    fn at(self) -> Option<usize> {
        match self {
            Stage::Down => None,
            Stage::Starting { at, .. } | Stage::Working { at, .. } => Some(at),
        }
    }
}

/// How long to wait before what has gone wrong so often, at least once, is tried again.
fn wait(times: usize) -> Duration {
    WAITS[times.saturating_sub(1).min(WAITS.len() - 1)]
}

/// The stream's task looks every 50 ms. Of a longer pause so much is counted: a process that was stopped,
/// or a machine that was busy, has not seen an encoder fail in the meantime.
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// Building an encoder takes some tens of milliseconds in software; a hardware context, a device's firmware
/// included, a second or two. One that takes longer hangs in its driver.
const START: Duration = Duration::from_secs(5);

/// The last encoder that is left is given as long as it takes to see that a new pipeline would be sooner:
/// opening a camera anew takes seconds, too.
const LAST_STALL: Duration = Duration::from_secs(3);

/// Nothing is probed beside an encoder that was begun with just now.
const SETTLED: Duration = Duration::from_secs(10);

/// A probe encodes for about a second: who has worked on air for so long has shown more than that.
const AS_GOOD_AS_A_PROBE: Duration = Duration::from_secs(60);

/// One that has worked on air for so long is forgiven what was before.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// Passing its probe and failing on air, each time at the cost of a second of picture, is believed an
/// encoder so many times; then it is left out for as long as the stream runs.
const MOST_FAULTS: usize = 3;

/// A driver that was just reset is back within a minute; one that stays broken costs a probe each half hour.
const WAITS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(30 * 60)];

#[cfg(test)]
mod tests;
