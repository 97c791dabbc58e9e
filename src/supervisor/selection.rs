//! Which encoders a stream may use: found out from the configuration and this machine.
//!
//! [`Encoders`] decides between its candidates; this finds them, and knows their rows of the table.

use std::time::Instant;

use crate::config::{self, EncoderChoice};
use crate::media::{self, EncoderInfo, Offer};
use crate::rate::{Mode, Rung};
use crate::session::encoders::{Action, Candidate, Demotion, Encoders, Observation};

/// A stream's encoders, found out when they are first needed.
#[derive(Default)]
pub struct Selection {
    known: Option<Known>,
}

struct Known {
    infos: Vec<&'static EncoderInfo>,
    encoders: Encoders,
}

/// An encoder that a stream may use.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    info: &'static EncoderInfo,
    candidate: Candidate,
}

impl Selection {
    /// What was found out no longer holds: the configuration is another, or somebody wants it tried anew.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// The encoder to begin with, and what it manages of the mode.
    ///
    /// # Errors
    /// Where there is none: in words, why.
    pub fn start(
        &mut self,
        now: Instant,
        video: &config::Video,
    ) -> Result<(&'static EncoderInfo, Rung), String> {
        if self.known.is_none() {
            let found = found(&video.encoder, offers(&video.encoder, video), || {
                offers(&EncoderChoice::Software, video)
            })?;
            self.known = Some(Known::new(now, video, found));
        }
        let known = self.known.as_mut().expect("it was found out just now");
        let element = known.encoders.start(now).expect("there are candidates, or an error before");
        Ok((known.info(element), known.encoders.rung()))
    }

    /// See [`Encoders::observe`].
    pub fn observe(&mut self, now: Instant, seen: &Observation) -> Action {
        self.ask(|encoders| encoders.observe(now, seen))
    }

    /// See [`Encoders::failed`].
    pub fn failed(&mut self, now: Instant, element: &str, reason: &str) -> Action {
        self.ask(|encoders| encoders.failed(now, element, reason))
    }

    /// See [`Encoders::key_frame_forced`].
    pub fn key_frame_forced(&mut self, now: Instant) {
        if let Some(known) = &mut self.known {
            known.encoders.key_frame_forced(now);
        }
    }

    /// The row of one of the candidates, and what it manages of the mode.
    pub fn in_use(&self) -> Option<(&'static EncoderInfo, Rung)> {
        let known = self.known.as_ref()?;
        Some((known.info(known.encoders.in_use()?.element), known.encoders.rung()))
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

    fn ask(&mut self, question: impl FnOnce(&mut Encoders) -> Action) -> Action {
        self.known.as_mut().map_or(Action::Keep, |known| question(&mut known.encoders))
    }
}

impl Known {
    fn new(now: Instant, video: &config::Video, found: Vec<Found>) -> Known {
        let mode = Mode { width: video.width, height: video.height, framerate: video.framerate };
        let (infos, candidates) = found.into_iter().map(|found| (found.info, found.candidate)).unzip();
        Known { infos, encoders: Encoders::new(now, mode, candidates) }
    }

    fn info(&self, element: &str) -> &'static EncoderInfo {
        let row = self.infos.iter().find(|info| info.element == element);
        row.expect("candidates were made from these rows, and no other is ever named")
    }
}

fn offers(choice: &EncoderChoice, video: &config::Video) -> Vec<Offer> {
    media::offers(choice, video.codec, video.width, video.height, video.framerate)
}

/// The candidates, in order of preference, of which at least one can be tried. What the configuration names is
/// tried first, and software after it: the wish counts less than that the stream goes on.
fn found(
    choice: &EncoderChoice,
    offers: Vec<Offer>,
    software: impl FnOnce() -> Vec<Offer>,
) -> Result<Vec<Found>, String> {
    if offers.is_empty() {
        return Err(format!("this version has no encoder for video.encoder = \"{choice}\" and the codec"));
    }
    let mut found: Vec<Found> = offers.iter().map(|offer| candidate(choice, offer)).collect();
    if *choice == EncoderChoice::Auto {
        // Nobody has proven that hardware works; software does as a rule.
        found.sort_by_key(|found| found.info.hardware);
    } else {
        let is_new = |offer: &Offer| offers.iter().all(|other| other.info.element != offer.info.element);
        let instead = software().into_iter().filter(is_new).filter(|offer| offer.unavailable.is_none());
        found.extend(instead.map(|Offer { info, .. }| {
            let reason = format!("software, in place of {choice}, which is configured");
            Found { info, candidate: Candidate { element: info.element, reason, speed: None, failed: None } }
        }));
    }
    if found.iter().all(|found| found.candidate.failed.is_some()) {
        return Err(found
            .into_iter()
            .filter_map(|found| found.candidate.failed)
            .collect::<Vec<_>>()
            .join("; "));
    }
    Ok(found)
}

fn candidate(choice: &EncoderChoice, offer: &Offer) -> Found {
    let Offer { info, unavailable } = offer;
    let reason = match choice {
        EncoderChoice::Auto => "not proven".to_owned(),
        EncoderChoice::Vaapi
        | EncoderChoice::V4l2M2m
        | EncoderChoice::Nvenc
        | EncoderChoice::Qsv
        | EncoderChoice::Software
        | EncoderChoice::Element(_) => format!("video.encoder is {choice}"),
    };
    let failed = unavailable.as_ref().map(|reason| format!("{}: {reason}", info.element));
    Found { info, candidate: Candidate { element: info.element, reason, speed: None, failed } }
}
