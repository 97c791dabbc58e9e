//! Whether an encoder works here: not by its name, but because it has just encoded.
//!
//! ```text
//! Probes ─▶ Cache ─ known ─▶ Finding ─▶ rank ─▶ Choice, Choice, …
//!    │                          ▲
//!    └─▶ Prober ─▶ child: Request ─▶ Trial ─▶ Measurements ─▶ Verdict
//! ```
//! The child is this program again (`uplinkd probe-encoder`): a driver that hangs or crashes takes only that
//! along, costs its time limit and gives a reason.
//!
//! Reading order: [`plan`] (what is asked and measured), [`verdict`], [`ranking`], all of which only decide;
//! [`child`], [`parent`], [`cache`], [`machine`]; and [`sample`], by which an encoder is judged that is on air.

pub mod cache;
pub mod child;
pub mod machine;
pub mod parent;
pub mod plan;
pub mod ranking;
pub mod sample;
pub mod verdict;

use std::time::{SystemTime, UNIX_EPOCH};

use self::cache::{Cache, Entry, Key, Moment, Results};
use self::machine::Machine;
use self::parent::Prober;
use self::plan::{Measurements, Request};
use self::ranking::Finding;
use self::verdict::Verdict;
use crate::causes::with_causes;
use crate::config::{Codec, EncoderChoice, Framerate, Word};
use crate::media::{self, EncoderInfo, Mode, Offer};

/// Probes of this machine's encoders, and what is known of them. Cloning shares nothing but the file.
#[derive(Clone, Debug)]
pub struct Probes {
    prober: Prober,
    cache: Cache,
    machine: Machine,
}

/// A row of the encoder table on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct BackEnd {
    pub offer: Offer,
    /// In every mode in which it was probed, the oldest first.
    pub probes: Vec<Entry>,
    /// See [`media::import`].
    pub import: Option<Result<(), String>>,
}

impl Probes {
    /// Of this user's cache. [`media::init`] comes before any use.
    ///
    /// # Errors
    /// When the system does not tell which file this program is.
    pub fn of_this_machine() -> Result<Probes, parent::Error> {
        Ok(Probes::new(Prober::this_program()?, Cache::of_this_user()))
    }

    /// With another command or file.
    pub fn new(prober: Prober, cache: Cache) -> Probes {
        Probes { prober, cache, machine: Machine::this() }
    }

    /// The same, with probes that leave the processors to a stream which is on air.
    pub fn beside_a_stream(self) -> Probes {
        Probes { prober: self.prober.beside_a_stream(), ..self }
    }

    /// What is known without a probe of the encoders that are here, in the order of the offers; reads a file.
    pub fn remembered(&self, mode: Mode, offers: &[Offer]) -> Vec<Finding> {
        let results = self.cache.load();
        let usable = offers.iter().filter(|offer| offer.unavailable.is_none());
        usable.filter_map(|offer| self.known(&results, offer.info, mode)).collect()
    }

    /// Probes one encoder, whatever is known of it, and keeps the result. Of one that has a choice of how much
    /// it tries, the most is taken that leaves a reserve.
    pub async fn probe(&self, info: &'static EncoderInfo, mode: Mode) -> Finding {
        let mut presets = info.presets.iter().copied().map(Some).collect::<Vec<_>>();
        if presets.is_empty() {
            presets.push(None);
        }
        let mut best: Option<(Finding, Option<Measurements>)> = None;
        for preset in presets {
            let next = self.probe_once(&Request { info, mode, preset }).await;
            let better = best.as_ref().is_none_or(|(before, _)| is_better(&next.0.verdict, &before.verdict));
            if better {
                best = Some(next);
            }
            if best.as_ref().is_some_and(|(finding, _)| ranking::has_reserve(&finding.verdict)) {
                break;
            }
        }
        let (finding, measured) = best.expect("there is a preset, or the lack of one");
        log::info!(element = info.element, mode:%, preset = finding.preset; "{}", finding.verdict.reason());
        if let Some(measured) = measured.as_ref().filter(|_| finding.verdict.is_proven())
            && measured.key_frame_on_change != info.rate_change_is_key_frame
        {
            let (claimed, seen) = (info.rate_change_is_key_frame, measured.key_frame_on_change);
            log::info!(element = info.element, claimed, seen; "changes of the rate bring key frames, or not, unlike the table says");
        }
        self.keep(self.entry(&finding, mode, measured)).await;
        finding
    }

    /// Every row of the table for a mode, with what is known of it; reads a file.
    pub fn back_ends(&self, mode: Mode) -> Vec<BackEnd> {
        let (results, now) = (self.cache.load(), self.moment());
        let offers = Codec::WORDS.iter().flat_map(|(_, codec)| {
            media::offers(&EncoderChoice::Auto, *codec, mode.width, mode.height, mode.framerate)
        });
        let back_end = |offer: Offer| {
            let key = self.key(offer.info, mode);
            let probes = results.of_element(&key, &now).cloned().collect();
            let import = media::import(offer.info);
            BackEnd { offer, probes, import }
        };
        offers.map(back_end).collect()
    }

    async fn probe_once(&self, request: &Request) -> (Finding, Option<Measurements>) {
        let (verdict, measured) = match self.prober.probe(request).await {
            Ok(measured) => (Verdict::of(&measured, request.mode), Some(measured)),
            Err(error) => (Verdict::Refused { reason: with_causes(&error) }, None),
        };
        (Finding { info: request.info, verdict, preset: request.preset }, measured)
    }

    fn known(&self, results: &Results, info: &'static EncoderInfo, mode: Mode) -> Option<Finding> {
        let entry = results.find(&self.key(info, mode), &self.moment())?;
        let preset = match &entry.preset {
            // A preset that this version no longer has was another encoder.
            Some(name) => Some(*info.presets.iter().find(|preset| *preset == name)?),
            None => None,
        };
        Some(Finding { info, verdict: entry.verdict.clone(), preset })
    }

    async fn keep(&self, entry: Entry) {
        let cache = self.cache.clone();
        match tokio::task::spawn_blocking(move || cache.keep(entry)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("{}; it will be probed again", with_causes(&error)),
            Err(error) => log::error!(error:%; "keeping a probe's result failed"),
        }
    }

    fn entry(&self, finding: &Finding, mode: Mode, measured: Option<Measurements>) -> Entry {
        // Of an encoder that has a choice, less than the most was taken because of the time that it took.
        let is_most = finding.preset == finding.info.presets.first().copied();
        // Software that was killed, or gave no answer, tells more of the machine than of itself.
        let disturbed = measured.as_ref().map_or(!finding.info.hardware, Measurements::is_disturbed);
        let Moment { boot, at } = self.moment();
        Entry {
            key: self.key(finding.info, mode),
            lasting: finding.verdict.is_proven() && is_most,
            verdict: finding.verdict.clone(),
            preset: finding.preset.map(str::to_owned),
            measured,
            disturbed,
            boot,
            probed_at: at,
        }
    }

    fn moment(&self) -> Moment {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Moment { boot: self.machine.boot.clone(), at }
    }

    fn key(&self, info: &EncoderInfo, mode: Mode) -> Key {
        Key {
            element: info.element.to_owned(),
            codec: info.codec.to_string(),
            width: mode.width,
            height: mode.height,
            framerate: mode.framerate.to_string(),
            plugin: media::plugin_version(info.element).unwrap_or_default(),
            gstreamer: media::version(),
            kernel: self.machine.kernel.clone(),
            drivers: if info.hardware { self.machine.drivers.clone() } else { String::new() },
            uplinkd: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Of two ways to drive one encoder.
fn is_better(new: &Verdict, before: &Verdict) -> bool {
    let worth = |verdict: &Verdict| match verdict {
        Verdict::Proven { factor } => (2, *factor),
        Verdict::TooSlow { factor, .. } => (1, *factor),
        Verdict::Refused { .. } => (0, 0.0),
    };
    worth(new) > worth(before)
}

/// What a configuration has where it says nothing: what `uplinkd devices` probes with.
pub const USUAL_MODE: Mode = Mode {
    width: 1280,
    height: 720,
    framerate: Framerate::new(30, 1).expect("30 pictures a second are a frame rate"),
};
