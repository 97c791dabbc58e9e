//! Where pictures wait for one encoder, and which of them it has.
//!
//! ```text
//! offer ─▶ waiting, 2 at most ─▶ in hand ─▶ being coded ─▶ its unit came
//!          (the oldest is lost)  (left out by the reduction, or entered)
//! ```
//! When an encoder is replaced, what has no unit yet goes to the next one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The pictures of one encoder. Offered on one thread, taken on another; neither waits for the other.
#[derive(Default)]
pub(super) struct Inbox {
    pictures: Mutex<Pictures>,
    came: Condvar,
}

/// What went through one encoder's pipeline. All of it only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Pictures that came in, those that were dropped later included.
    pub(super) offered: u64,
    /// Pictures that the encoder was given.
    pub(super) entered: u64,
    pub(super) units: u64,
    pub(super) bytes: u64,
}

/// What an encoder that is replaced leaves behind.
pub(super) struct Left {
    /// Pictures without a unit, for the next encoder; in order.
    pub(super) pictures: Vec<gst::Buffer>,
    /// Further pictures that it was given and gave no unit for.
    pub(super) lost: u64,
}

#[derive(Default)]
struct Pictures {
    waiting: VecDeque<gst::Buffer>,
    /// Taken, and on its way through the reduction.
    in_hand: Option<gst::Buffer>,
    /// The newest that the encoder was given and gave no unit for.
    coding: VecDeque<gst::Buffer>,
    /// How many it was given before those without giving a unit.
    coding_older: u64,
    is_closed: bool,
    passed: Passed,
}

impl Inbox {
    /// Never waits. False: a picture was lost for it, the oldest that waited.
    pub(super) fn offer(&self, picture: gst::Buffer) -> bool {
        let mut pictures = self.lock();
        if pictures.is_closed {
            return false;
        }
        pictures.passed.offered += 1;
        let is_full = pictures.waiting.len() >= MOST_WAITING;
        if is_full {
            pictures.waiting.pop_front();
        }
        pictures.waiting.push_back(picture);
        self.came.notify_one();
        !is_full
    }

    /// The oldest that waits, or the next that comes; `None` once it is closed.
    pub(super) fn take(&self) -> Option<gst::Buffer> {
        let is_empty = |pictures: &mut Pictures| pictures.waiting.is_empty() && !pictures.is_closed;
        let mut pictures =
            self.came.wait_while(self.lock(), is_empty).unwrap_or_else(PoisonError::into_inner);
        let picture = pictures.waiting.pop_front()?;
        // The one before has entered, or the reduction has left it out.
        pictures.in_hand = Some(picture.clone());
        Some(picture)
    }

    /// The encoder was given the picture that was taken last.
    pub(super) fn entered(&self) {
        let mut pictures = self.lock();
        pictures.passed.entered += 1;
        if let Some(picture) = pictures.in_hand.take() {
            pictures.coding.push_back(picture);
        }
        if pictures.coding.len() > MOST_KEPT {
            pictures.coding.pop_front();
            pictures.coding_older += 1;
        }
    }

    /// The encoder gave the unit of the picture of `at`.
    pub(super) fn coded(&self, at: gst::ClockTime, bytes: u64) {
        let mut pictures = self.lock();
        pictures.passed.units += 1;
        pictures.passed.bytes += bytes;
        let is_coded = |picture: &gst::Buffer| picture.pts().is_none_or(|pts| pts <= at);
        let before = pictures.coding.len();
        while pictures.coding.front().is_some_and(is_coded) {
            pictures.coding.pop_front();
        }
        let is_of_an_older_one = pictures.coding.len() == before;
        pictures.coding_older = if is_of_an_older_one { pictures.coding_older.saturating_sub(1) } else { 0 };
    }

    /// From now on nothing is taken, and what is offered is lost.
    pub(super) fn close(&self) -> Left {
        let mut guard = self.lock();
        let pictures = &mut *guard;
        pictures.is_closed = true;
        let coding = pictures.coding.drain(..);
        let left = coding.chain(pictures.in_hand.take()).chain(pictures.waiting.drain(..)).collect();
        self.came.notify_all();
        Left { pictures: left, lost: std::mem::take(&mut pictures.coding_older) }
    }

    pub(super) fn passed(&self) -> Passed {
        self.lock().passed
    }

    fn lock(&self) -> MutexGuard<'_, Pictures> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pictures that wait for the encoder: one that is late by more than a frame or two is of less worth than
/// the one after it.
const MOST_WAITING: usize = 2;

/// Pictures that are kept while the encoder has them: what a healthy one has at a time. Each is a buffer of
/// the camera's.
const MOST_KEPT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wait_and_for_a_third_the_oldest_is_lost() {
        let inbox = inbox();
        assert!(inbox.offer(picture(1)) && inbox.offer(picture(2)));
        assert!(!inbox.offer(picture(3)) && !inbox.offer(picture(4)));
        assert_eq!([inbox.take(), inbox.take()].map(|it| second(&it.unwrap())), [3, 4]);
        assert_eq!(inbox.passed().offered, 4);
    }

    #[test]
    fn what_has_no_unit_is_left_for_the_next() {
        let inbox = inbox();
        for number in 1..=3 {
            inbox.offer(picture(number));
            inbox.take().unwrap();
            inbox.entered();
        }
        inbox.coded(gst::ClockTime::from_seconds(1), 100);
        inbox.offer(picture(4));
        inbox.take().unwrap(); // on its way
        inbox.offer(picture(5));
        let left = inbox.close();
        assert_eq!(left.pictures.iter().map(second).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(left.lost, 0);
        assert_eq!(inbox.passed(), Passed { offered: 5, entered: 3, units: 1, bytes: 100 });
        assert!(inbox.take().is_none() && !inbox.offer(picture(6)));
    }

    #[test]
    fn one_that_the_reduction_left_out_is_not_kept() {
        let inbox = inbox();
        for number in 1..=2 {
            inbox.offer(picture(number));
            inbox.take().unwrap();
        }
        assert_eq!(inbox.close().pictures.iter().map(second).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn an_encoder_that_swallows_keeps_few_and_the_rest_is_counted() {
        let inbox = inbox();
        let give = |number| {
            inbox.offer(picture(number));
            inbox.take().unwrap();
            inbox.entered();
        };
        (1..=10).for_each(give);
        inbox.coded(gst::ClockTime::from_seconds(3), 1); // three of them are still before it in its pipeline
        let left = inbox.close();
        assert_eq!(left.pictures.iter().map(second).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(left.lost, 7, "all but the one that came and the two that are kept");
    }

    #[test]
    fn closing_wakes_who_waits() {
        let inbox = std::sync::Arc::new(inbox());
        let waiting = inbox.clone();
        let taker = std::thread::spawn(move || waiting.take().is_none());
        inbox.close();
        assert!(taker.join().unwrap());
    }

    fn inbox() -> Inbox {
        gst::init().unwrap();
        Inbox::default()
    }

    fn picture(second: u64) -> gst::Buffer {
        let mut picture = gst::Buffer::new();
        picture.make_mut().set_pts(gst::ClockTime::from_seconds(second));
        picture
    }

    fn second(picture: &gst::Buffer) -> u64 {
        picture.pts().unwrap().seconds()
    }
}
