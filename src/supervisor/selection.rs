//! Which encoders a stream may use: found out from the configuration, this machine and probes.
//!
//! [`Encoders`] decides between its candidates; this finds them, knows their rows of the table, and runs the
//! probes that are asked for on tasks of their own: each takes seconds.

use std::future::pending;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::causes::with_causes;
use crate::config::{self, EncoderChoice};
use crate::media::{self, EncoderInfo, Offer};
use crate::probe::ranking::{Choice, Finding, rank};
use crate::probe::verdict::Verdict;
use crate::probe::{Probes, Until};
use crate::rate::{Mode, Rung};
use crate::session::encoders::{Action, Candidate, Demotion, Encoders, Observation};

/// A stream's encoders, found out when they are first needed. Dropped, it ends the probes that run for it.
#[derive(Default)]
pub struct Selection {
    known: Option<Known>,
    seeking: Option<Seeking>,
    probing: Option<Probing>,
}

/// What to begin with.
pub enum Begin {
    With(Pick),
    /// That is to be found out first; [`Selection::next`] tells when it is. In words, how.
    Seeking(String),
    /// There is nothing; in words, why.
    Nothing(String),
}

/// An encoder and how it is to be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    pub info: &'static EncoderInfo,
    /// How much it is to try, where it has a choice of that; the table's own choice where nobody knows better.
    pub preset: Option<&'static str>,
    /// What it manages of the mode.
    pub sustained: Rung,
}

struct Known {
    rows: Vec<(&'static EncoderInfo, Option<&'static str>)>,
    encoders: Encoders,
}

/// An encoder that a stream may use.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    info: &'static EncoderInfo,
    preset: Option<&'static str>,
    candidate: Candidate,
}

struct Seeking {
    /// For what.
    video: config::Video,
    task: JoinHandle<Result<Vec<Found>, String>>,
    found: Option<Result<Vec<Found>, String>>,
}

struct Probing {
    element: &'static str,
    task: JoinHandle<Result<(String, f64), String>>,
}

impl Selection {
    /// What was found out no longer holds: the configuration is another, or somebody wants it tried anew.
    pub fn forget(&mut self) {
        *self = Selection::default();
    }

    /// What to begin with. What the configuration names is tried as it is asked for; where it leaves the
    /// choice open, probes make it.
    pub fn start(&mut self, now: Instant, video: &config::Video) -> Begin {
        if self.known.is_none() {
            let found = match &video.encoder {
                EncoderChoice::Auto => match self.sought(video) {
                    Ok(found) => found,
                    Err(reason) => return Begin::Seeking(reason),
                },
                EncoderChoice::Vaapi
                | EncoderChoice::V4l2M2m
                | EncoderChoice::Nvenc
                | EncoderChoice::Qsv
                | EncoderChoice::Software
                | EncoderChoice::Element(_) => named(
                    &video.encoder,
                    &offers(&video.encoder, video),
                    &offers(&EncoderChoice::Software, video),
                ),
            };
            match found {
                Ok(found) => self.known = Some(Known::new(now, video, found)),
                Err(reason) => return Begin::Nothing(reason),
            }
        }
        let started = self.known.as_mut().and_then(|known| known.encoders.start(now));
        match started.and_then(|_| self.in_use()) {
            Some(pick) => Begin::With(pick),
            None => Begin::Nothing(format!("no encoder for video.codec = \"{}\"", video.codec)),
        }
    }

    /// What the search has found; while it goes on, what it does.
    fn sought(&mut self, video: &config::Video) -> Result<Result<Vec<Found>, String>, String> {
        if let Some(found) =
            self.seeking.as_mut().filter(|it| it.video == *video).and_then(|it| it.found.take())
        {
            self.seeking = None;
            return Ok(found);
        }
        let offers = offers(&EncoderChoice::Auto, video);
        let names: Vec<_> = usable(&offers).map(|offer| offer.info.element).collect();
        let doing = format!("trying the encoders of this machine: {}", names.join(", "));
        if self.seeking.as_ref().is_none_or(|seeking| seeking.video != *video) {
            let task = tokio::spawn(proven(media_mode(video), offers));
            self.seeking = Some(Seeking { video: video.clone(), task, found: None });
        }
        Err(doing)
    }

    /// Waits until something that was sought is found, or a probe has ended; cancel safe. Then
    /// [`Selection::start`] may tell more than before.
    pub async fn next(&mut self) {
        let seek = async {
            match &mut self.seeking {
                Some(Seeking { task, found, .. }) if found.is_none() => task.await,
                Some(_) | None => pending().await,
            }
        };
        let probe = async {
            match &mut self.probing {
                Some(probing) => (&mut probing.task).await,
                None => pending().await,
            }
        };
        tokio::select! {
            found = seek => {
                let found = found.unwrap_or_else(|_| Err("looking for encoders panicked".to_owned()));
                if let Some(seeking) = &mut self.seeking {
                    seeking.found = Some(found);
                }
            }
            result = probe => {
                let result = result.unwrap_or_else(|_| Err("the probe panicked".to_owned()));
                if let (Some(Probing { element, .. }), Some(known)) = (self.probing.take(), &mut self.known) {
                    known.encoders.probed(Instant::now(), element, result);
                }
            }
        }
    }

    /// Sees whether this one works again.
    pub fn probe(&mut self, element: &'static str, video: &config::Video) {
        let Some(info) = self.known.as_ref().and_then(|known| known.row(element)).map(|(info, _)| info)
        else {
            return;
        };
        let offer = offers(&video.encoder, video).into_iter().find(|offer| offer.info.element == element);
        let mode = media_mode(video);
        let task = tokio::spawn(async move {
            if let Some(reason) = offer.and_then(|offer| offer.unavailable) {
                return Err(reason);
            }
            let probes = Probes::of_this_machine().map_err(|error| with_causes(&error))?;
            let finding = probes.probe(info, mode).await;
            match finding.verdict {
                Verdict::Proven { factor } => Ok((finding.verdict.reason(), factor)),
                Verdict::TooSlow { .. } | Verdict::Refused { .. } => Err(finding.verdict.reason()),
            }
        });
        self.probing = Some(Probing { element, task });
    }

    /// See [`Encoders::observe`].
    pub fn observe(&mut self, now: Instant, seen: &Observation) -> Action {
        self.known.as_mut().map_or(Action::Keep, |known| known.encoders.observe(now, seen))
    }

    /// See [`Encoders::failed`].
    pub fn failed(&mut self, now: Instant, element: &str, reason: &str) -> Action {
        self.known.as_mut().map_or(Action::Keep, |known| known.encoders.failed(now, element, reason))
    }

    /// See [`Encoders::broken`].
    pub fn broken(&mut self, now: Instant, element: &str, reason: &str) -> Action {
        self.known.as_mut().map_or(Action::Keep, |known| known.encoders.broken(now, element, reason))
    }

    /// See [`Encoders::key_frame_forced`].
    pub fn key_frame_forced(&mut self, now: Instant) {
        if let Some(known) = &mut self.known {
            known.encoders.key_frame_forced(now);
        }
    }

    /// The one that is in use, or is to be.
    pub fn in_use(&self) -> Option<Pick> {
        let known = self.known.as_ref()?;
        let (info, preset) = known.row(known.encoders.in_use()?.element)?;
        Some(Pick { info, preset, sustained: known.encoders.rung() })
    }

    /// Why this one.
    pub fn reason(&self) -> Option<String> {
        self.known.as_ref()?.encoders.reason()
    }

    /// See [`Encoders::trouble`].
    pub fn trouble(&self) -> Option<String> {
        self.known.as_ref()?.encoders.trouble()
    }

    /// Why the picture is smaller than configured.
    pub fn lowered(&self) -> Option<&str> {
        self.known.as_ref()?.encoders.lowered()
    }

    pub fn demoted(&self) -> Vec<Demotion> {
        self.known.iter().flat_map(|known| known.encoders.demoted()).collect()
    }
}

impl Drop for Seeking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Known {
    fn new(now: Instant, video: &config::Video, found: Vec<Found>) -> Known {
        let mode = Mode { width: video.width, height: video.height, framerate: video.framerate };
        let rows = found.iter().map(|found| (found.info, found.preset)).collect();
        let candidates = found.into_iter().map(|found| found.candidate).collect();
        Known { rows, encoders: Encoders::new(now, mode, candidates) }
    }

    fn row(&self, element: &str) -> Option<(&'static EncoderInfo, Option<&'static str>)> {
        self.rows.iter().find(|(info, _)| info.element == element).copied()
    }
}

fn offers(choice: &EncoderChoice, video: &config::Video) -> Vec<Offer> {
    media::offers(choice, video.codec, video.width, video.height, video.framerate)
}

fn usable(offers: &[Offer]) -> impl Iterator<Item = &Offer> {
    offers.iter().filter(|offer| offer.unavailable.is_none())
}

fn media_mode(video: &config::Video) -> media::Mode {
    media::Mode { width: video.width, height: video.height, framerate: video.framerate }
}

/// The candidates where the configuration names some: those first, and software after them, since that the
/// stream goes on counts more than the wish.
fn named(choice: &EncoderChoice, offers: &[Offer], software: &[Offer]) -> Result<Vec<Found>, String> {
    if offers.is_empty() {
        return Err(format!("this version has no encoder for video.encoder = \"{choice}\" and the codec"));
    }
    // Of a family, what is not there is no news where another one is.
    let is_there = usable(offers).next().is_some();
    let asked = offers.iter().filter(|offer| !is_there || offer.unavailable.is_none());
    let asked = asked.map(|Offer { info, unavailable }| {
        let failed = unavailable.as_ref().map(|reason| format!("{}: {reason}", info.element));
        found(info, format!("video.encoder is {choice}"), failed)
    });
    let is_new = |offer: &&Offer| offers.iter().all(|other| other.info.element != offer.info.element);
    let instead = usable(software).filter(is_new).map(|Offer { info, .. }| {
        found(info, format!("software, in place of {choice}, which is configured"), None)
    });
    or_reasons(asked.chain(instead).collect())
}

/// The candidates in the order that probes give them. Those that were refused keep their place before the
/// others: they are looked at again later.
async fn proven(mode: media::Mode, offers: Vec<Offer>) -> Result<Vec<Found>, String> {
    let probes = match Probes::of_this_machine() {
        Ok(probes) => probes,
        Err(error) => {
            log::error!("no encoder can be probed: {}", with_causes(&error));
            let mut unproven: Vec<Found> =
                usable(&offers).map(|offer| found(offer.info, "not proven".to_owned(), None)).collect();
            unproven.sort_by_key(|found| found.info.hardware); // software works as a rule
            return or_reasons(unproven);
        }
    };
    or_reasons(ranked(&offers, &probes.prove(mode, &offers, Until::FirstProven).await))
}

fn ranked(offers: &[Offer], findings: &[Finding]) -> Vec<Found> {
    let choices = rank(offers, findings);
    let verdict = |info: &EncoderInfo| {
        findings.iter().find(|finding| finding.info.element == info.element).map(|finding| &finding.verdict)
    };
    let is_chosen = |offer: &&Offer| choices.iter().any(|choice| choice.info.element == offer.info.element);
    let refused = usable(offers).filter(|offer| !is_chosen(offer)).filter_map(|Offer { info, .. }| {
        let reason = verdict(info)?.reason(); // one that nobody has looked at is among the choices
        Some(found(info, reason.clone(), Some(format!("{}: {reason}", info.element))))
    });
    let chosen = choices.iter().map(|Choice { info, preset, reason, .. }| {
        let speed = match verdict(info) {
            Some(Verdict::Proven { factor } | Verdict::TooSlow { factor, .. }) => Some(*factor),
            Some(Verdict::Refused { .. }) | None => None,
        };
        let found = found(info, reason.clone(), None);
        Found { preset: *preset, candidate: Candidate { speed, ..found.candidate }, ..found }
    });
    refused.chain(chosen).collect()
}

fn found(info: &'static EncoderInfo, reason: String, failed: Option<String>) -> Found {
    let candidate = Candidate { element: info.element, reason, speed: None, failed };
    Found { info, preset: None, candidate }
}

/// At least one that can be tried, or why there is none.
fn or_reasons(found: Vec<Found>) -> Result<Vec<Found>, String> {
    if found.iter().any(|found| found.candidate.failed.is_none()) {
        return Ok(found);
    }
    let reasons: Vec<String> = found.into_iter().filter_map(|found| found.candidate.failed).collect();
    Err(if reasons.is_empty() {
        "this machine has no encoder for the stream's codec and mode; uplinkd devices says why of each"
            .to_owned()
    } else {
        reasons.join("; ")
    })
}

#[cfg(test)]
mod tests;
