//! Looking for a stream's encoders: probes, one after the other, until one passes.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep_until;

use super::{Found, found, media_mode, ranked, usable};
use crate::causes::with_causes;
use crate::config;
use crate::media::{EncoderInfo, Mode, Offer};
use crate::probe::Probes;
use crate::probe::ranking::Finding;
use crate::probe::verdict::Verdict;

/// A search for encoders. Dropped, it ends the probe that runs for it.
pub(super) struct Search {
    /// For what.
    video: config::Video,
    /// In order of preference.
    offers: Vec<Offer>,
    findings: Vec<Finding>,
    under_way: Option<Probing>,
    begun: Instant,
    /// Whether it has taken so long that the stream had better begin with what is sure to be harmless.
    is_late: bool,
}

/// A probe that runs. Dropped, it is ended.
pub(super) struct Probing {
    info: &'static EncoderInfo,
    task: JoinHandle<Finding>,
}

impl Search {
    /// Begins with what earlier probes have found; reads a file.
    pub(super) fn begin(now: Instant, video: &config::Video, offers: Vec<Offer>) -> Search {
        let findings = match Probes::of_this_machine() {
            Ok(probes) => block_in_place(|| probes.remembered(media_mode(video), &offers)),
            Err(error) => {
                log::error!("no encoder can be probed: {}", with_causes(&error));
                Vec::new()
            }
        };
        Search { video: video.clone(), offers, findings, under_way: None, begun: now, is_late: false }
    }

    pub(super) fn is_for(&self, video: &config::Video) -> bool {
        self.video == *video
    }

    /// The candidates, with the probe that still runs for one of them; until they are found, what is being
    /// done. Goes on with the next probe where none runs.
    pub(super) fn go_on(&mut self) -> Result<(Vec<Found>, Option<Probing>), String> {
        let Some(next) = self.next_untried() else {
            return Ok((ranked(&self.offers, &self.findings), None));
        };
        let has_software = usable(&self.offers).any(|offer| !offer.info.hardware);
        if self.is_late && next.hardware && has_software {
            return Ok((self.meanwhile(), self.under_way.take()));
        }
        if self.under_way.is_none() {
            self.under_way = Some(Probing::begin(next, media_mode(&self.video), None, true));
        }
        Err(self.doing())
    }

    /// Waits until there is more to go on with; cancel safe.
    pub(super) async fn next(&mut self) {
        let (under_way, late) = (&mut self.under_way, self.begun + HURRY);
        let finding = async {
            match under_way {
                Some(probing) => probing.finding().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            finding = finding => {
                self.under_way = None;
                self.findings.push(finding);
            }
            () = sleep_until(late.into()), if !self.is_late => self.is_late = true,
        }
    }

    /// Why of each that cannot even be tried.
    pub(super) fn unavailable(&self) -> impl Iterator<Item = String> {
        self.offers
            .iter()
            .filter_map(|offer| Some(format!("{}: {}", offer.info.element, offer.unavailable.as_ref()?)))
    }

    /// The first that a probe is still to tell of; nothing where one has passed.
    fn next_untried(&self) -> Option<&'static EncoderInfo> {
        if self.findings.iter().any(|finding| finding.verdict.is_proven()) {
            return None;
        }
        usable(&self.offers).map(|offer| offer.info).find(|info| self.finding(info).is_none())
    }

    /// Hardware that is not known to work waits, demoted, and software begins.
    fn meanwhile(&self) -> Vec<Found> {
        let is_waiting = |offer: &&Offer| offer.info.hardware && self.finding(offer.info).is_none();
        let waiting = usable(&self.offers).filter(is_waiting).map(|Offer { info, .. }| {
            let is_under_way = self.under_way.as_ref().is_some_and(|probing| probing.info == *info);
            let reason = match is_under_way {
                true => format!("{}: its probe takes more than {} s", info.element, HURRY.as_secs()),
                false => format!("{}: not probed yet", info.element),
            };
            let found = found(info, reason.clone(), Some(reason));
            Found {
                candidate: crate::session::encoders::Candidate { untried: true, ..found.candidate },
                ..found
            }
        });
        let others: Vec<Offer> = self.offers.iter().filter(|offer| !is_waiting(offer)).cloned().collect();
        waiting.chain(ranked(&others, &self.findings)).collect()
    }

    fn finding(&self, info: &EncoderInfo) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.info.element == info.element)
    }

    fn doing(&self) -> String {
        let word = |offer: &Offer| match self.finding(offer.info) {
            Some(finding) => format!("{} ({})", offer.info.element, finding.verdict.reason()),
            None => offer.info.element.to_owned(),
        };
        let words: Vec<String> = usable(&self.offers).map(word).collect();
        format!("trying the encoders of this machine: {}", words.join(", "))
    }
}

impl Probing {
    /// `unavailable`: why there is nothing to try. `is_alone`: whether the processors are all its own.
    pub(super) fn begin(
        info: &'static EncoderInfo,
        mode: Mode,
        unavailable: Option<String>,
        is_alone: bool,
    ) -> Probing {
        let task = tokio::spawn(async move {
            let probes = match (unavailable, Probes::of_this_machine()) {
                (Some(reason), _) => return refused(info, reason),
                (None, Err(error)) => return refused(info, with_causes(&error)),
                (None, Ok(probes)) => probes,
            };
            let probes = if is_alone { probes } else { probes.beside_a_stream() };
            probes.probe(info, mode).await
        });
        Probing { info, task }
    }

    pub(super) fn element(&self) -> &'static str {
        self.info.element
    }

    /// Waits for what it finds; cancel safe.
    pub(super) async fn finding(&mut self) -> Finding {
        let found = (&mut self.task).await;
        found.unwrap_or_else(|_| refused(self.info, "the probe panicked".to_owned()))
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn refused(info: &'static EncoderInfo, reason: String) -> Finding {
    Finding { info, verdict: Verdict::Refused { reason }, preset: None }
}

/// Hardware that works shows it within a second or two, its runtime's loading included; one whose driver
/// hangs is waited for on air.
const HURRY: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::super::tests::{begins_with, elements, offer};
    use super::*;

    #[test]
    fn while_a_driver_hangs_software_begins() {
        let mut search = search(&["vah264lpenc", "vah264enc", "qsvh264enc", "x264enc", "openh264enc"]);
        search.findings.push(refused(search.offers[0].info, "it crashed".to_owned()));
        search.is_late = true;
        let (found, under_way) = search.go_on().ok().unwrap();
        assert!(under_way.is_none());
        assert_eq!(elements(&found), ["vah264enc", "qsvh264enc", "vah264lpenc", "x264enc", "openh264enc"]);
        let untried: Vec<bool> = found.iter().map(|found| found.candidate.untried).collect();
        assert_eq!(untried, [true, true, false, true, false]);
        let failed: Vec<_> = found.iter().map(|found| found.candidate.failed.as_deref()).collect();
        let not_yet = ["vah264enc: not probed yet", "qsvh264enc: not probed yet"].map(Some);
        assert_eq!(failed, [not_yet[0], not_yet[1], Some("vah264lpenc: it crashed"), None, None]);
        assert_eq!(begins_with(found), Some("x264enc"));
    }

    #[test]
    fn what_has_passed_ends_the_search_and_so_does_the_last() {
        let mut search = search(&["vah264lpenc", "vah264enc", "x264enc"]);
        let proven = Verdict::Proven { factor: 3.0 };
        search.findings.push(Finding { verdict: proven, ..refused(search.offers[1].info, String::new()) });
        let (found, _) = search.go_on().ok().unwrap();
        assert_eq!(begins_with(found), Some("vah264enc"));

        let mut search = self::search(&["vah265enc"]);
        search.findings.push(refused(search.offers[0].info, "it crashed".to_owned()));
        let (found, _) = search.go_on().ok().unwrap();
        assert_eq!(found[0].candidate.failed.as_deref(), Some("vah265enc: it crashed"));
        assert_eq!(begins_with(found), None);
    }

    fn search(elements: &[&str]) -> Search {
        let config = config::parse("[streams.a]").unwrap();
        Search {
            video: config.streams["a"].video.clone(),
            offers: elements.iter().map(|element| offer(element, None)).collect(),
            findings: Vec::new(),
            under_way: None,
            begun: Instant::now(),
            is_late: false,
        }
    }
}
