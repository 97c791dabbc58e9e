//! Which encoders a stream may use: found out from the configuration, this machine and probes.
//!
//! [`Encoders`] decides between its candidates; this finds them, knows their rows of the table, and runs the
//! probes that are asked for on tasks of their own: each takes seconds.

use std::time::Instant;

use tokio::task::block_in_place;

use self::search::{Probing, Search};
use crate::causes::with_causes;
use crate::config::{self, EncoderChoice};
use crate::media::{self, EncoderInfo, Offer};
use crate::probe::Probes;
use crate::probe::ranking::{Choice, Finding, rank};
use crate::probe::verdict::Verdict;
use crate::rate::{Mode, Rung};
use crate::session::encoders::{Action, Candidate, Demotion, Encoders, Observation};

mod search;

/// A stream's encoders, found out when they are first needed. Dropped, it ends the probes that run for it.
///
/// ```text
///              what is named, is here                      one that may be used
///   Unknown ────────────────────────────▶ Known ───────────────────────────────────▶ With
///      │                                   ▲  │
///      └──▶ Seeking: probes, one by one ───┘  └──▶ Waiting: none passed, probes again by and by
/// ```
#[derive(Default)]
pub struct Selection {
    known: Option<Known>,
    search: Option<Search>,
    probing: Option<Probing>,
    /// Why the machine's processor has less to give than it had.
    strain: Option<String>,
}

/// What to begin with.
pub enum Begin {
    With(Pick),
    /// That is to be found out first; [`Selection::next`] tells when it is. In words, how.
    Seeking(String),
    /// None has passed its probe; in words, why of each. [`Selection::idle`] looks at them again, and
    /// [`Selection::next`] tells when more is known.
    Waiting(String),
    /// There is nothing, and nothing to probe; in words, why.
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

impl Selection {
    /// What was found out no longer holds: the configuration is another, or somebody wants it tried anew.
    pub fn forget(&mut self) {
        *self = Selection { strain: self.strain.take(), ..Selection::default() };
    }

    /// What to begin with. What the configuration names and this machine has is tried as it is asked for;
    /// where it leaves the choice open, or what it names is not there, probes make it.
    pub fn start(&mut self, now: Instant, video: &config::Video) -> Begin {
        if self.known.is_none() {
            match self.find(now, video) {
                Ok(Ok(found)) => self.known = Some(Known::new(now, video, found)),
                Ok(Err(reason)) => return Begin::Nothing(reason),
                Err(doing) => return Begin::Seeking(doing),
            }
        }
        let Some(known) = &mut self.known else { return Begin::Nothing("no encoder is known".to_owned()) };
        if let Some(probing) = &self.probing {
            known.encoders.probing(probing.element());
        }
        if known.encoders.start(now).is_none() {
            return Begin::Waiting(known.refusals());
        }
        match self.in_use() {
            Some(pick) => Begin::With(pick),
            None => Begin::Nothing(format!("no encoder for video.codec = \"{}\"", video.codec)),
        }
    }

    /// The candidates, or why there are none; while they are sought, what is being done.
    fn find(&mut self, now: Instant, video: &config::Video) -> Result<Result<Vec<Found>, String>, String> {
        let every = offers(&EncoderChoice::Auto, video);
        let named = match &video.encoder {
            EncoderChoice::Auto => Vec::new(),
            EncoderChoice::Vaapi
            | EncoderChoice::V4l2M2m
            | EncoderChoice::Nvenc
            | EncoderChoice::Qsv
            | EncoderChoice::Software
            | EncoderChoice::Element(_) => {
                let named = offers(&video.encoder, video);
                if named.is_empty() {
                    let (encoder, codec) = (&video.encoder, video.codec);
                    return Ok(Err(format!(
                        "this version has no encoder for video.encoder = \"{encoder}\" and video.codec = \"{codec}\""
                    )));
                }
                named
            }
        };
        if usable(&named).next().is_some() {
            let known = match Probes::of_this_machine() {
                Ok(probes) => block_in_place(|| probes.remembered(media_mode(video), &every)),
                Err(error) => {
                    log::error!("what is known of encoders cannot be read: {}", with_causes(&error));
                    Vec::new()
                }
            };
            return Ok(Ok(as_named(&video.encoder, &named, &every, &known)));
        }
        if self.search.as_ref().is_none_or(|search| !search.is_for(video)) {
            let others = every.into_iter().filter(|offer| !has(&named, offer.info)).collect();
            self.search = Some(Search::begin(now, video, others));
        }
        let Some(search) = &mut self.search else { return Err("looking for encoders".to_owned()) };
        let (found, under_way) = search.go_on()?;
        let missing: Vec<Found> = missing(&named).collect();
        let result = if found.is_empty() {
            let named = missing.into_iter().filter_map(|found| found.candidate.failed);
            Err(nothing_here(named.chain(search.unavailable()).collect()))
        } else {
            Ok(missing.into_iter().chain(found).collect())
        };
        (self.search, self.probing) = (None, under_way);
        Ok(result)
    }

    /// Waits until something that was sought is found, or a probe has ended; cancel safe. Then
    /// [`Selection::start`] may tell more than before.
    pub async fn next(&mut self) {
        match (&mut self.search, &mut self.probing) {
            (Some(search), _) => search.next().await,
            (None, Some(probing)) => {
                let finding = probing.finding().await;
                self.probing = None;
                if let Some(known) = &mut self.known {
                    known.probed(Instant::now(), &finding);
                }
            }
            (None, None) => std::future::pending().await,
        }
    }

    /// Sees whether this one works.
    pub fn probe(&mut self, element: &'static str, video: &config::Video) {
        let Some(known) = &self.known else { return };
        let Some((info, _)) = known.row(element) else { return };
        let mut offers = offers(&EncoderChoice::Auto, video).into_iter();
        let offer = offers.find(|offer| offer.info.element == element);
        let unavailable = offer.and_then(|offer| offer.unavailable);
        let is_alone = known.encoders.in_use().is_none();
        self.probing = Some(Probing::begin(info, media_mode(video), unavailable, is_alone));
    }

    /// What to do while there is none to begin with: a probe, or nothing.
    pub fn idle(&mut self, now: Instant) -> Action {
        self.known.as_mut().map_or(Action::Keep, |known| known.encoders.idle(now))
    }

    /// The processor has less to give from now on, for this reason, or as much as ever: of no matter to hardware.
    pub fn strained(&mut self, strain: Option<String>) {
        self.strain = strain;
    }

    /// See [`Encoders::observe`].
    pub fn observe(&mut self, now: Instant, seen: &Observation) -> Action {
        let Some(known) = &mut self.known else { return Action::Keep };
        let is_software = known.row(seen.element).is_some_and(|(info, _)| !info.hardware);
        known.encoders.strained(self.strain.clone().filter(|_| is_software));
        known.encoders.observe(now, seen)
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

    /// Why this one is on air. See [`Encoders::reason_for`].
    pub fn reason(&self, element: &str) -> Option<String> {
        self.known.as_ref()?.encoders.reason_for(element)
    }

    /// See [`Encoders::has_another`].
    pub fn has_another(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.encoders.has_another())
    }

    /// See [`Encoders::trouble`].
    pub fn trouble(&self) -> Option<String> {
        self.known.as_ref()?.encoders.trouble()
    }

    /// Why this one's picture is smaller than configured.
    pub fn lowered(&self, element: &str) -> Option<&str> {
        self.known.as_ref()?.encoders.lowered_for(element)
    }

    pub fn demoted(&self) -> Vec<Demotion> {
        self.known.iter().flat_map(|known| known.encoders.demoted()).collect()
    }
}

impl Known {
    fn new(now: Instant, video: &config::Video, found: Vec<Found>) -> Known {
        let mode = Mode { width: video.width, height: video.height, framerate: video.framerate };
        let rows = found.iter().map(|found| (found.info, found.preset)).collect();
        let candidates = found.into_iter().map(|found| found.candidate).collect();
        Known { rows, encoders: Encoders::new(now, mode, candidates) }
    }

    fn probed(&mut self, now: Instant, Finding { info, verdict, preset }: &Finding) {
        if let Some((_, own)) = self.rows.iter_mut().find(|(row, _)| row.element == info.element) {
            *own = *preset;
        }
        let passed = Ok((verdict.reason(), speed(verdict)));
        let is_demoted = self.encoders.demoted().any(|demotion| demotion.element == info.element);
        let result = match verdict {
            Verdict::Proven { .. } => passed,
            // Software that is slow, or that a busy machine has not even let try, is better than nothing.
            Verdict::TooSlow { .. } | Verdict::Refused { .. } if !info.hardware && !is_demoted => passed,
            Verdict::TooSlow { .. } if self.encoders.in_use().is_none() => passed, // a part of the picture
            Verdict::TooSlow { .. } | Verdict::Refused { .. } => Err(verdict.reason()),
        };
        self.encoders.probed(now, info.element, result);
    }

    /// Why none of them may be used.
    fn refusals(&self) -> String {
        let reasons: Vec<String> = self.encoders.demoted().map(|demotion| demotion.reason).collect();
        format!("no encoder has passed its probe; they are probed again by and by: {}", reasons.join("; "))
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

/// The candidates where the configuration names some and one of them is here: those first, and the others after
/// them, since that the stream goes on counts more than the wish. What is known of each is made use of.
fn as_named(choice: &EncoderChoice, named: &[Offer], every: &[Offer], known: &[Finding]) -> Vec<Found> {
    // Of a family, what is not there is no news where another one is.
    let asked = usable(named).map(|Offer { info, .. }| {
        let preset = known.iter().find(|finding| finding.info == *info).and_then(|finding| finding.preset);
        let found = found(info, format!("video.encoder is {choice}"), None);
        Found { preset, candidate: Candidate { named: true, ..found.candidate }, ..found }
    });
    let others: Vec<Offer> = every.iter().filter(|offer| !has(named, offer.info)).cloned().collect();
    let instead = ranked(&others, known).into_iter().map(|found| {
        let reason = format!("in place of {choice}, which is configured: {}", found.candidate.reason);
        Found { candidate: Candidate { reason, ..found.candidate }, ..found }
    });
    // Hardware that nobody has tried may be why another is named: it is left alone.
    let is_safe =
        |found: &Found| found.candidate.failed.is_none() && !(found.info.hardware && found.candidate.untried);
    asked.chain(instead.filter(is_safe)).collect()
}

/// What the configuration names where none of it is here.
fn missing(named: &[Offer]) -> impl Iterator<Item = Found> {
    named.iter().map(|Offer { info, unavailable }| {
        let reason = unavailable.as_deref().unwrap_or("it is not there");
        let found = found(info, reason.to_owned(), Some(format!("{}: {reason}", info.element)));
        Found { candidate: Candidate { named: true, ..found.candidate }, ..found }
    })
}

/// The candidates in the order that probes give them. Those that were refused keep their place before the
/// others: they are looked at again later.
fn ranked(offers: &[Offer], findings: &[Finding]) -> Vec<Found> {
    let choices = rank(offers, findings);
    let verdict = |info: &EncoderInfo| {
        findings.iter().find(|finding| finding.info.element == info.element).map(|finding| &finding.verdict)
    };
    let is_chosen = |offer: &&Offer| choices.iter().any(|choice| choice.info.element == offer.info.element);
    let refused = usable(offers).filter(|offer| !is_chosen(offer)).filter_map(|Offer { info, .. }| {
        let verdict = verdict(info)?; // one that nobody has looked at is among the choices
        let reason = verdict.reason();
        // Less of the picture is better than none.
        let is_last_resort = choices.is_empty() && matches!(verdict, Verdict::TooSlow { .. });
        let failed = (!is_last_resort).then(|| format!("{}: {reason}", info.element));
        let found = found(info, reason, failed);
        Some(Found { candidate: Candidate { speed: speed(verdict), ..found.candidate }, ..found })
    });
    let chosen = choices.iter().map(|Choice { info, preset, reason, .. }| {
        let verdict = verdict(info);
        let found = found(info, reason.clone(), None);
        let untried = verdict.is_none() && is_worth_a_probe(info);
        let candidate = Candidate { speed: verdict.and_then(speed), untried, ..found.candidate };
        Found { preset: *preset, candidate, ..found }
    });
    refused.chain(chosen).collect()
}

/// Whether a probe would tell more than whether it works, which software does as a rule.
fn is_worth_a_probe(info: &EncoderInfo) -> bool {
    info.hardware || !info.presets.is_empty()
}

fn speed(verdict: &Verdict) -> Option<f64> {
    match verdict {
        Verdict::Proven { factor } | Verdict::TooSlow { factor, .. } => Some(*factor),
        Verdict::Refused { .. } => None,
    }
}

fn found(info: &'static EncoderInfo, reason: String, failed: Option<String>) -> Found {
    let candidate =
        Candidate { element: info.element, reason, speed: None, failed, named: false, untried: false };
    Found { info, preset: None, candidate }
}

/// GStreamer lists its elements when it starts.
fn nothing_here(reasons: Vec<String>) -> String {
    let reasons = reasons.join("; ");
    format!(
        "this machine has no encoder for the stream's codec and mode: {reasons}; restart uplinkd when one is there"
    )
}

fn has(offers: &[Offer], info: &EncoderInfo) -> bool {
    offers.iter().any(|offer| offer.info.element == info.element)
}

#[cfg(test)]
mod tests;
