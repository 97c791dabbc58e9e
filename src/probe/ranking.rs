//! Which encoder to take: the order of what is there, with the reason for each one's place.

use super::verdict::Verdict;
use crate::media::{EncoderInfo, Offer};

/// What a probe said of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub info: &'static EncoderInfo,
    pub verdict: Verdict,
    /// How much it is to try, where it has a choice of that.
    pub preset: Option<&'static str>,
}

/// An encoder to take.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub info: &'static EncoderInfo,
    /// How much it is to try, where it has a choice of that.
    pub preset: Option<&'static str>,
    pub standing: Standing,
    /// Why it stands where it does.
    pub reason: String,
}

/// What speaks for an encoder; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    Proven,
    /// Nobody has looked.
    Unproven,
    /// In software, at a smaller mode than was asked for.
    TooSlow,
    /// In software, and better than nothing: no driver can take the daemon along.
    LastResort,
}

/// The encoders to take, the best first: the proven before the others; hardware before software; those that
/// change their rate without a key frame before those that do not; and where all that is equal, in the order
/// of `offers`. Hardware that a probe refused, and what is not there, is left out.
pub fn rank(offers: &[Offer], findings: &[Finding]) -> Vec<Choice> {
    let here = offers.iter().filter(|offer| offer.unavailable.is_none());
    let mut choices: Vec<Choice> = here.filter_map(|offer| choice(offer.info, findings)).collect();
    // Stable: of equals the one that was offered first.
    choices
        .sort_by_key(|choice| (choice.standing, !choice.info.hardware, choice.info.rate_change_is_key_frame));
    choices
}

/// Whether there is no need to have the encoder try less.
pub fn has_reserve(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Proven { factor } if *factor >= RESERVE)
}

fn choice(info: &'static EncoderInfo, findings: &[Finding]) -> Option<Choice> {
    let Some(finding) = findings.iter().find(|finding| finding.info.element == info.element) else {
        let (standing, reason) = (Standing::Unproven, "not probed".to_owned());
        return Some(Choice { info, preset: None, standing, reason });
    };
    let standing = match finding.verdict {
        Verdict::Proven { .. } => Standing::Proven,
        Verdict::TooSlow { .. } if info.hardware => return None,
        Verdict::TooSlow { .. } => Standing::TooSlow,
        Verdict::Refused { .. } if info.hardware => return None,
        Verdict::Refused { .. } => Standing::LastResort,
    };
    Some(Choice { info, preset: finding.preset, standing, reason: finding.verdict.reason() })
}

/// Of real time, for an encoder in software that has a choice of how much it tries: half of the processors is
/// left to capture, conversion, sound, the network and scenes that are harder than the probe's picture.
pub const RESERVE: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media;

    #[test]
    fn the_order_is_that_of_trust() {
        let proven = |factor| Verdict::Proven { factor };
        let slow = Verdict::TooSlow { factor: 0.5, reason: "keeps 0.5".to_owned() };
        let refused = Verdict::Refused { reason: "hangs".to_owned() };
        // Each: hardware, a key frame at each change, available, verdict, the place that it takes.
        type Case = (bool, bool, bool, Option<Verdict>, Option<usize>);
        let cases: &[Case] = &[
            (true, false, true, Some(refused.clone()), None),
            (true, true, true, Some(proven(9.0)), Some(1)),
            (true, false, true, Some(proven(1.3)), Some(0)),
            (true, false, true, None, Some(4)),
            (true, false, false, Some(proven(9.0)), None),
            (true, false, true, Some(slow.clone()), None),
            (false, false, true, Some(proven(3.0)), Some(2)),
            (false, false, true, Some(proven(5.0)), Some(3)),
            (false, false, true, None, Some(5)),
            (false, false, true, Some(refused), Some(7)),
            (false, false, true, Some(slow), Some(6)),
        ];
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let (mut offers, mut findings, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (name, (hardware, key_frame, available, verdict, place)) in names.iter().zip(cases) {
            let info = info(name, *hardware, *key_frame);
            offers.push(Offer { info, unavailable: (!available).then(|| "missing".to_owned()) });
            findings.extend(verdict.clone().map(|verdict| Finding { info, verdict, preset: None }));
            expected.extend(place.map(|place| (place, *name)));
        }
        expected.sort_unstable();
        let order: Vec<&str> = rank(&offers, &findings).iter().map(|choice| choice.info.element).collect();
        assert_eq!(order, expected.iter().map(|(_, name)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn a_choice_has_its_reason_and_preset() {
        let info = info("x264enc", false, false);
        let offers = [Offer { info, unavailable: None }];
        let verdict = Verdict::Proven { factor: 2.5 };
        let finding = Finding { info, verdict, preset: Some("veryfast") };
        let choice = &rank(&offers, &[finding])[0];
        assert_eq!(choice.reason, "proven at 2.5 times real time");
        assert_eq!(choice.preset, Some("veryfast"));
        assert_eq!(rank(&offers, &[])[0].reason, "not probed");
    }

    #[test]
    fn twice_real_time_is_reserve_enough() {
        assert!(has_reserve(&Verdict::Proven { factor: 2.0 }));
        assert!(!has_reserve(&Verdict::Proven { factor: 1.9 }));
        assert!(!has_reserve(&Verdict::TooSlow { factor: 3.0, reason: String::new() }));
    }

    fn info(element: &'static str, hardware: bool, rate_change_is_key_frame: bool) -> &'static EncoderInfo {
        let real = media::back_ends().next().unwrap();
        Box::leak(Box::new(EncoderInfo { element, hardware, rate_change_is_key_frame, ..*real }))
    }
}
