//! Whether a change stays: streams that streamed must stream again soon, and somebody may have to confirm it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::StreamName;

/// A change that was made and may still be taken back.
///
/// ```text
///              each watched stream streams for PROOF, and nobody needs to confirm, or somebody has
///   on trial ──────────────────────────────────────────────────────────────────────────────────▶ settled
///      │
///      │ a watched stream has not proven itself within LIMIT, or nobody has confirmed in time
///      ▼
///   taken back
/// ```
///
/// Streams that did not stream before are not watched: their trouble is not the change's. A stream that
/// somebody stops is not watched any longer.
#[derive(Clone, Debug)]
pub struct Trial {
    began: Instant,
    /// `None`: nobody has to.
    confirm_within: Option<Duration>,
    watched: BTreeMap<StreamName, Watched>,
}

/// How a stream does, as far as a change can be blamed; the better, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing arrives anywhere.
    Off,
    /// Some receiver gets the slate.
    Slate,
    /// Some receiver gets the source's picture.
    Picture,
}

/// A stream now.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub name: &'a StreamName,
    pub health: Health,
    /// Nobody wants it to run.
    pub is_stopped: bool,
    pub reason: Option<&'a str>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wait,
    /// The change stays.
    Settled,
    /// It is taken back, for this reason.
    TakeBack(String),
}

#[derive(Clone, Debug)]
struct Watched {
    before: Health,
    /// Since when it does as well as before, without a break.
    well_since: Option<Instant>,
    is_proven: bool,
    reason: Option<String>,
}

impl Trial {
    /// A change made now, with the streams that it touches and that stay on, each with how it did before.
    pub fn new(
        now: Instant,
        confirm_within: Option<Duration>,
        touched: impl IntoIterator<Item = (StreamName, Health)>,
    ) -> Trial {
        let watch = |before| Watched { before, well_since: None, is_proven: false, reason: None };
        let watched = touched.into_iter().filter(|(_, before)| *before != Health::Off);
        Trial {
            began: now,
            confirm_within,
            watched: watched.map(|(name, before)| (name, watch(before))).collect(),
        }
    }

    /// The same with a change more: what was watched stays watched, and all have their time anew.
    pub fn renewed(self, other: Trial) -> Trial {
        let mut watched = other.watched;
        for (name, earlier) in self.watched.into_iter().filter(|(_, it)| !it.is_proven) {
            let before = earlier.before.max(watched.get(&name).map_or(Health::Off, |it| it.before));
            watched.insert(name, Watched { before, well_since: None, is_proven: false, reason: None });
        }
        Trial { watched, ..other }
    }

    /// Until when somebody has to confirm it.
    pub fn confirm_by(&self) -> Option<Instant> {
        Some(self.began + self.confirm_within?)
    }

    /// The streams that still have to prove themselves.
    pub fn unproven(&self) -> impl Iterator<Item = &StreamName> {
        self.watched.iter().filter(|(_, it)| !it.is_proven).map(|(name, _)| name)
    }

    /// Until when they have to.
    pub fn prove_by(&self) -> Instant {
        self.began + LIMIT
    }

    /// Looks at the streams, several times a second.
    pub fn observe(&mut self, now: Instant, streams: &[View<'_>]) -> Verdict {
        let views = streams.iter().filter(|view| !view.is_stopped);
        let views: BTreeMap<&StreamName, &View<'_>> = views.map(|view| (view.name, view)).collect();
        self.watched.retain(|name, _| views.contains_key(name));
        for (name, watched) in &mut self.watched {
            if let Some(view) = views.get(name) {
                watched.observe(now.saturating_duration_since(self.began), now, view);
            }
        }
        let late = now.saturating_duration_since(self.began) >= LIMIT;
        if let Some((name, failed)) = self.watched.iter().find(|(_, it)| late && !it.is_proven) {
            return Verdict::TakeBack(failed.sentence(name));
        }
        match self.confirm_by() {
            Some(by) if now >= by => {
                let seconds = self.confirm_within.unwrap_or_default().as_secs();
                Verdict::TakeBack(format!("nobody has confirmed it within {seconds} s"))
            }
            Some(_) => Verdict::Wait,
            None if self.unproven().next().is_some() => Verdict::Wait,
            None => Verdict::Settled,
        }
    }
}

impl Watched {
    fn observe(&mut self, age: Duration, now: Instant, view: &View<'_>) {
        self.reason = view.reason.map(str::to_owned);
        if view.health < self.before || age < DELAY {
            self.well_since = None;
            return;
        }
        let since = *self.well_since.get_or_insert(now);
        self.is_proven |= now.saturating_duration_since(since) >= PROOF;
    }

    fn sentence(&self, name: &StreamName) -> String {
        let what = match self.before {
            Health::Picture => "does not show its source's picture to any receiver",
            Health::Slate | Health::Off => "does not reach any receiver",
        };
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("stream {name} streamed before, and {what} {} s after the change{reason}", LIMIT.as_secs())
    }
}

/// A probe of a hardware encoder may take ten seconds, and a receiver whose connection was cut may take some more
/// to listen again.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Longer than a connection that breaks at once, or an encoder that fails with its first frames, looks well.
const PROOF: Duration = Duration::from_secs(3);

/// What is seen before is still of the time before the change: a status is up to 50 ms old, and its rates are those
/// of the last second.
const DELAY: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    fn name(name: &str) -> StreamName {
        StreamName::new(name).unwrap()
    }

    /// Looks until there is a verdict, or an hour is over; gives it with its time.
    fn run(
        trial: &mut Trial,
        began: Instant,
        health: impl Fn(Duration) -> Option<Health>,
    ) -> (Verdict, Duration) {
        let main = name("main");
        for tick in 0..14_400 {
            let age = TICK * tick;
            let reason = Some("connection refused");
            let view = |health| View { name: &main, health, is_stopped: false, reason };
            let views: Vec<_> = health(age).map(view).into_iter().collect();
            match trial.observe(began + age, &views) {
                Verdict::Wait => {}
                verdict => return (verdict, age),
            }
        }
        (Verdict::Wait, Duration::MAX)
    }

    fn trial(before: Health, confirm_s: Option<u64>) -> (Trial, Instant) {
        let began = Instant::now();
        (Trial::new(began, confirm_s.map(Duration::from_secs), [(name("main"), before)]), began)
    }

    #[test]
    fn a_stream_that_goes_on_settles_soon() {
        let (mut trial, began) = trial(Health::Picture, None);
        let (verdict, age) = run(&mut trial, began, |_| Some(Health::Picture));
        assert_eq!(verdict, Verdict::Settled);
        assert_eq!(age, Duration::from_millis(4500));
    }

    #[test]
    fn one_that_is_away_for_some_seconds_settles_later() {
        let (mut trial, began) = trial(Health::Picture, None);
        let away = |age: Duration| if age.as_secs() < 9 { Health::Off } else { Health::Picture };
        let (verdict, age) = run(&mut trial, began, |age| Some(away(age)));
        assert_eq!((verdict, age.as_secs()), (Verdict::Settled, 12));
    }

    #[test]
    fn one_that_does_not_come_back_is_taken_back_with_its_reason() {
        let (mut trial, began) = trial(Health::Picture, None);
        let (verdict, age) = run(&mut trial, began, |_| Some(Health::Off));
        assert_eq!(age, LIMIT);
        let Verdict::TakeBack(reason) = verdict else { panic!("{verdict:?}") };
        assert!(reason.contains("stream main") && reason.ends_with("connection refused"), "{reason}");
    }

    #[test]
    fn the_slate_is_enough_only_where_it_was_before() {
        let (mut picture, began) = trial(Health::Picture, None);
        let (verdict, _) = run(&mut picture, began, |_| Some(Health::Slate));
        assert!(matches!(verdict, Verdict::TakeBack(_)));
        let (mut slate, began) = trial(Health::Slate, None);
        assert_eq!(run(&mut slate, began, |_| Some(Health::Slate)).0, Verdict::Settled);
    }

    #[test]
    fn one_that_comes_and_goes_proves_nothing() {
        let (mut trial, began) = trial(Health::Picture, None);
        let blinking =
            |age: Duration| if age.as_secs().is_multiple_of(3) { Health::Off } else { Health::Picture };
        assert!(matches!(run(&mut trial, began, |age| Some(blinking(age))).0, Verdict::TakeBack(_)));
    }

    #[test]
    fn what_did_not_stream_is_not_watched() {
        let (mut trial, began) = trial(Health::Off, None);
        assert_eq!(run(&mut trial, began, |_| Some(Health::Off)), (Verdict::Settled, Duration::ZERO));
    }

    #[test]
    fn what_somebody_stops_is_not_watched_any_longer() {
        let (mut trial, began) = trial(Health::Picture, None);
        let (verdict, age) = run(&mut trial, began, |age| (age.as_secs() < 5).then_some(Health::Off));
        assert_eq!((verdict, age.as_secs()), (Verdict::Settled, 5));
    }

    #[test]
    fn nobody_confirms_in_time() {
        let (mut trial, began) = trial(Health::Picture, Some(30));
        let (verdict, age) = run(&mut trial, began, |_| Some(Health::Picture));
        assert_eq!(verdict, Verdict::TakeBack("nobody has confirmed it within 30 s".into()));
        assert_eq!(age, Duration::from_secs(30));
    }

    #[test]
    fn a_stream_that_fails_is_not_waited_for_until_the_confirmation() {
        let (mut trial, began) = trial(Health::Picture, Some(300));
        let (verdict, age) = run(&mut trial, began, |_| Some(Health::Off));
        assert!(matches!(verdict, Verdict::TakeBack(_)));
        assert_eq!(age, LIMIT);
    }

    #[test]
    fn a_second_change_is_judged_with_the_first() {
        let (first, _) = trial(Health::Picture, None);
        let (second, began) = trial(Health::Off, None);
        let mut both = first.renewed(second);
        assert_eq!(both.unproven().count(), 1, "the first one's stream is still owed");
        let (verdict, age) = run(&mut both, began, |_| Some(Health::Slate));
        assert!(matches!(verdict, Verdict::TakeBack(_)));
        assert_eq!(age, LIMIT);
    }
}
