//! The newest events, by their numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::event::Event;
use crate::config::StreamName;

/// So many are kept. Whoever comes for older ones is told how many there were.
pub const KEPT: usize = 1000;

/// An event with its place among all of this run of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// 1 for the first; each next one's is one higher.
    pub number: u64,
    pub at: Instant,
    /// The stream it happened to; `None` for the daemon.
    pub stream: Option<StreamName>,
    pub event: Event,
}

/// Keeps [`KEPT`] events; the oldest gives way.
#[derive(Debug, Default)]
pub struct Ring {
    entries: VecDeque<Arc<Entry>>,
    newest: u64,
}

/// What follows a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing yet.
    Nothing,
    Entry(Arc<Entry>),
    /// It is not kept any more; so many have gone.
    Gone(u64),
}

impl Ring {
    /// Adds one; tells its number.
    pub fn push(&mut self, at: Instant, stream: Option<StreamName>, event: Event) -> u64 {
        self.newest += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::new(Entry { number: self.newest, at, stream, event }));
        self.newest
    }

    /// The number of the newest; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The number before that of the oldest that is kept.
    pub fn before_oldest(&self) -> u64 {
        self.newest - self.entries.len() as u64
    }

    /// The event that follows this number. One that lies ahead of all that has happened has nothing behind it.
    pub fn after(&self, number: u64) -> Next {
        let before_oldest = self.before_oldest();
        if number < before_oldest {
            return Next::Gone(before_oldest - number);
        }
        let place = usize::try_from(number - before_oldest).unwrap_or(usize::MAX);
        self.entries.get(place).map_or(Next::Nothing, |entry| Next::Entry(entry.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(events: usize) -> Ring {
        let (mut ring, now) = (Ring::default(), Instant::now());
        for _ in 0..events {
            ring.push(now, None, Event::Draining {});
        }
        ring
    }

    fn number(next: &Next) -> Option<u64> {
        match next {
            Next::Entry(entry) => Some(entry.number),
            Next::Nothing | Next::Gone(_) => None,
        }
    }

    #[test]
    fn events_follow_one_another_by_number() {
        let ring = filled(3);
        assert_eq!(number(&ring.after(0)), Some(1));
        assert_eq!(number(&ring.after(2)), Some(3));
        assert_eq!(ring.after(3), Next::Nothing);
        assert_eq!(ring.after(99), Next::Nothing);
        assert_eq!(Ring::default().after(0), Next::Nothing);
    }

    #[test]
    fn the_oldest_gives_way_and_who_comes_for_it_is_told_how_many_have_gone() {
        let ring = filled(KEPT + 7);
        assert_eq!((ring.newest(), ring.before_oldest()), (KEPT as u64 + 7, 7));
        assert_eq!(ring.after(0), Next::Gone(7));
        assert_eq!(ring.after(6), Next::Gone(1));
        assert_eq!(number(&ring.after(7)), Some(8));
        assert_eq!(ring.entries.len(), KEPT);
    }
}
