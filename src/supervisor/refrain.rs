//! What was said a moment ago is not said again: a log that is read later shows what changed, and not how
//! often it was looked at.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What was said lately, for each topic. Two texts that take turns are each said once too.
#[derive(Debug)]
pub struct Refrain<Topic>(BTreeMap<Topic, VecDeque<Said>>);

#[derive(Debug)]
struct Said {
    text: String,
    at: Instant,
}

impl<Topic: Ord> Refrain<Topic> {
    /// Whether this is to be said: for the first time on its topic, or again after [`AGAIN`].
    pub fn is_news(&mut self, now: Instant, topic: Topic, text: &str) -> bool {
        let said = self.0.entry(topic).or_default();
        said.retain(|said| now.saturating_duration_since(said.at) < AGAIN);
        if said.iter().any(|said| said.text == text) {
            return false;
        }
        if said.len() == MOST {
            said.pop_front();
        }
        said.push_back(Said { text: text.to_owned(), at: now });
        true
    }

    /// Something has changed: what is said next on these topics is news whatever it is.
    pub fn forget(&mut self, is_over: impl Fn(&Topic) -> bool) {
        self.0.retain(|topic, _| !is_over(topic));
    }
}

impl<Topic> Default for Refrain<Topic> {
    fn default() -> Self {
        Refrain(BTreeMap::new())
    }
}

/// Who looks at the last minute of a log sees why a source is away.
const AGAIN: Duration = Duration::from_secs(60);

/// Texts kept for one topic; beyond it the oldest is forgotten, and may be said again early.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_said_once_a_minute() {
        let (begin, mut refrain) = (Instant::now(), Refrain::default());
        let mut said = Vec::new();
        for second in 0..130 {
            let text = ["no such device", "no frames"][second % 2];
            if refrain.is_news(begin + Duration::from_secs(second as u64), 1, text) {
                said.push((second, text));
            }
        }
        let (away, silent) = ("no such device", "no frames");
        assert_eq!(said, [(0, away), (1, silent), (60, away), (61, silent), (120, away), (121, silent)]);
    }

    #[test]
    fn topics_are_apart_and_what_changed_is_news() {
        let (now, mut refrain) = (Instant::now(), Refrain::default());
        assert!(refrain.is_news(now, 1, "away"));
        assert!(refrain.is_news(now, 2, "away"));
        refrain.forget(|topic| *topic == 1);
        assert!(refrain.is_news(now, 1, "away"));
        assert!(!refrain.is_news(now, 2, "away"));
    }

    #[test]
    fn texts_that_never_repeat_take_no_more_than_their_room() {
        let (now, mut refrain) = (Instant::now(), Refrain::default());
        for number in 0..100 {
            assert!(refrain.is_news(now, 1, &number.to_string()));
        }
        assert_eq!(refrain.0[&1].len(), MOST);
    }
}
