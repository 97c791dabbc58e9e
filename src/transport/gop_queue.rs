//! What waits for the network waits here: whole groups of pictures that can still be left out.
//!
//! One queue stands before each output's mux. A packet that has reached the mux is promised to the
//! receiver; a group of pictures that is still here can be left out without leaving a mark on
//! continuity counters, PCR or sound. So everything that has to give way gives way here:
//!
//! ```text
//!            connected, first key frame             too old, or too much
//!   closed ───────────────────────────▶ flowing ───────────────────────▶ awaiting a key frame
//!     ▲                                    ▲                                   │
//!     └── connection lost (all left out)   └───────────── key frame ◀──────────┘
//! ```
//!
//! Pictures are left out in whole groups, oldest first; sound only when it is itself too late to
//! be heard, and never when the network merely stutters. Sound that has waited for long goes first.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::units::ByteCount;

/// Units of one output, in capture order, until its mux takes them.
#[derive(Debug)]
pub struct GopQueue<T> {
    entries: VecDeque<Entry<T>>,
    bytes: ByteCount,
    state: State,
    limits: Limits,
    left_out: LeftOut,
    offered: ByteCount,
}

/// What a unit is to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture that needs no other: a group begins here.
    KeyFrame,
    /// A picture that needs those before it in its group.
    DeltaFrame,
    Sound,
}

/// How much may wait. Beyond either bound the oldest loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What is older cannot arrive in time any more.
    pub age: Duration,
    /// A bound on memory, whatever the clock says.
    pub bytes: ByteCount,
}

/// How many units never reached the mux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub pictures: u64,
    pub sounds: u64,
    /// Times that pictures were left out in the midst of a stream: what a viewer sees as a jump.
    pub gaps: u64,
}

/// What a queue holds, and what it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub bytes: ByteCount,
    /// Age of the oldest unit; zero where there is none.
    pub oldest: Duration,
    /// Everything that was pushed since the queue was made, taken in or not.
    pub offered: ByteCount,
    pub left_out: LeftOut,
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.pictures += other.pictures;
        self.sounds += other.sounds;
        self.gaps += other.gaps;
    }
}

#[derive(Debug)]
struct Entry<T> {
    kind: Kind,
    captured: Instant,
    size: ByteCount,
    item: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    AwaitingKeyFrame,
    Flowing,
}

impl<T> GopQueue<T> {
    /// A closed queue: without a connection nothing is kept.
    pub fn closed() -> Self {
        GopQueue {
            entries: VecDeque::new(),
            bytes: ByteCount::ZERO,
            state: State::Closed,
            limits: Limits { age: Duration::ZERO, bytes: ByteCount::ZERO },
            left_out: LeftOut::default(),
            offered: ByteCount::ZERO,
        }
    }

    /// A connection is there: the next key frame, and the sound from now on, go out. Its latency says
    /// how long units may wait.
    pub fn open(&mut self, limits: Limits) {
        self.clear();
        self.limits = limits;
        self.state = State::AwaitingKeyFrame;
    }

    /// What holds from now on; what waits beyond it is left out at the next unit.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The connection is gone: what waits is stale by the time of the next one.
    pub fn close(&mut self) {
        self.clear();
        self.state = State::Closed;
    }

    /// Takes a unit in, unless nobody could use it; then makes room within the limits.
    pub fn push(&mut self, now: Instant, kind: Kind, captured: Instant, size: ByteCount, item: T) {
        self.offered += size;
        match (self.state, kind) {
            (State::Closed, _) => return, // not counted: nobody is there to miss it
            (State::AwaitingKeyFrame, Kind::DeltaFrame) => {
                self.left_out.pictures += 1;
                return;
            }
            (State::AwaitingKeyFrame, Kind::KeyFrame) => self.state = State::Flowing,
            (State::AwaitingKeyFrame | State::Flowing, _) => {}
        }
        self.entries.push_back(Entry { kind, captured, size, item });
        self.bytes += size;
        self.expire(now);
    }

    /// The next unit for the mux.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.expire(now);
        let entry = self.entries.pop_front()?;
        self.bytes = self.bytes - entry.size;
        Some(entry.item)
    }

    /// Sounds that have waited for `wait` or longer, at most `count`, before pictures that were captured
    /// earlier: where the network is too slow for pictures, it need not be too slow for the sound.
    ///
    /// A receiver plays in the order of arrival. A picture that is overtaken would be late by as much as
    /// it is older, so those that are older by more than a moment are left out.
    pub fn pop_sounds(&mut self, now: Instant, count: usize, wait: Duration) -> Vec<T> {
        self.expire(now);
        let mut popped = Vec::new();
        let mut newest = None;
        let mut position = 0;
        while popped.len() < count && position < self.entries.len() {
            let entry = &self.entries[position];
            let is_due = now.saturating_duration_since(entry.captured) >= wait || newest.is_some();
            if entry.kind != Kind::Sound {
                position += 1;
            } else if !is_due {
                break;
            } else if let Some(entry) = self.entries.remove(position) {
                self.bytes = self.bytes - entry.size;
                newest = Some(entry.captured);
                popped.push(entry.item);
            }
        }
        if let Some(oldest_useful) = newest.and_then(|captured| captured.checked_sub(SLIGHTLY_LATE)) {
            let is_overtaken = |entry: &Entry<T>| entry.kind != Kind::Sound && entry.captured < oldest_useful;
            if self.entries.iter().any(is_overtaken) {
                let entry_point = self
                    .entries
                    .iter()
                    .position(|entry| entry.kind == Kind::KeyFrame && entry.captured >= oldest_useful);
                self.leave_out_pictures_before(entry_point);
            }
        }
        popped
    }

    /// When the oldest unit was captured.
    pub fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.captured)
    }

    /// Whether pictures can only go on with a key frame: worth asking the encoder for one.
    pub fn awaits_key_frame(&self) -> bool {
        self.state == State::AwaitingKeyFrame
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What waits.
    pub fn bytes(&self) -> ByteCount {
        self.bytes
    }

    /// The state as of now.
    pub fn waiting(&self, now: Instant) -> Waiting {
        let age = |entry: &Entry<T>| now.saturating_duration_since(entry.captured);
        Waiting {
            bytes: self.bytes,
            oldest: self.entries.front().map(age).unwrap_or_default(),
            offered: self.offered,
            left_out: self.left_out,
        }
    }

    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = ByteCount::ZERO;
    }

    fn expire(&mut self, now: Instant) {
        let late = |entry: &Entry<T>| now.saturating_duration_since(entry.captured) > self.limits.age;
        let pictures_are_late = self.entries.iter().find(|entry| entry.kind != Kind::Sound).is_some_and(late);
        let sound_is_late = self.entries.iter().find(|entry| entry.kind == Kind::Sound).is_some_and(late);
        if pictures_are_late {
            self.leave_out_pictures(now);
        }
        if sound_is_late {
            self.leave_out_sound(now);
        }
        while self.bytes > self.limits.bytes {
            let before = self.entries.len();
            self.leave_out_oldest_group();
            if self.entries.len() == before {
                // Sound alone above the bound: the oldest of it goes.
                let Some(entry) = self.entries.pop_front() else { break };
                self.bytes = self.bytes - entry.size;
                self.left_out.sounds += 1;
            }
        }
    }

    /// Leaves out pictures up to the first key frame that is still in time; all of them without one.
    fn leave_out_pictures(&mut self, now: Instant) {
        let age = self.limits.age;
        let entry_point = self.entries.iter().position(|entry| {
            entry.kind == Kind::KeyFrame && now.saturating_duration_since(entry.captured) <= age
        });
        self.leave_out_pictures_before(entry_point);
    }

    /// Leaves out the pictures of the group at the front, whatever their age.
    fn leave_out_oldest_group(&mut self) {
        let mut pictures = self.entries.iter().enumerate().filter(|(_, entry)| entry.kind != Kind::Sound);
        pictures.next();
        let entry_point =
            pictures.find(|(_, entry)| entry.kind == Kind::KeyFrame).map(|(position, _)| position);
        self.leave_out_pictures_before(entry_point);
    }

    fn leave_out_pictures_before(&mut self, entry_point: Option<usize>) {
        let before = entry_point.unwrap_or(self.entries.len());
        let mut position = 0;
        let pictures_before = self.left_out.pictures;
        let (bytes, left_out) = (&mut self.bytes, &mut self.left_out);
        self.entries.retain(|entry| {
            let keep = position >= before || entry.kind == Kind::Sound;
            position += 1;
            if !keep {
                *bytes = *bytes - entry.size;
                left_out.pictures += 1;
            }
            keep
        });
        if self.left_out.pictures > pictures_before {
            self.left_out.gaps += 1;
        }
        if entry_point.is_none() && self.state == State::Flowing {
            self.state = State::AwaitingKeyFrame;
        }
    }

    fn leave_out_sound(&mut self, now: Instant) {
        let age = self.limits.age;
        let (bytes, left_out) = (&mut self.bytes, &mut self.left_out);
        self.entries.retain(|entry| {
            let keep = entry.kind != Kind::Sound || now.saturating_duration_since(entry.captured) <= age;
            if !keep {
                *bytes = *bytes - entry.size;
                left_out.sounds += 1;
            }
            keep
        });
    }
}

/// A picture may be late by this much: a player's own buffer hides it.
const SLIGHTLY_LATE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { age: Duration::from_millis(1000), bytes: ByteCount::new(10_000) };

    fn open_queue<T>() -> (GopQueue<T>, Instant) {
        let mut queue = GopQueue::closed();
        queue.open(LIMITS);
        (queue, Instant::now())
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn push(queue: &mut GopQueue<u32>, start: Instant, millis: u64, kind: Kind, item: u32) {
        queue.push(at(start, millis), kind, at(start, millis), ByteCount::new(100), item);
    }

    fn drain(queue: &mut GopQueue<u32>, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(now)).collect()
    }

    #[test]
    fn nothing_is_kept_without_a_connection() {
        let (start, mut queue) = (Instant::now(), GopQueue::closed());
        push(&mut queue, start, 0, Kind::KeyFrame, 1);
        assert!(queue.is_empty() && !queue.awaits_key_frame());
        assert_eq!(queue.left_out(), LeftOut::default());
    }

    #[test]
    fn a_connection_begins_with_a_key_frame_and_sound_need_not_wait_for_it() {
        let (mut queue, start) = open_queue();
        push(&mut queue, start, 0, Kind::DeltaFrame, 1);
        push(&mut queue, start, 5, Kind::Sound, 2);
        assert!(queue.awaits_key_frame());
        push(&mut queue, start, 33, Kind::KeyFrame, 3);
        push(&mut queue, start, 66, Kind::DeltaFrame, 4);
        assert!(!queue.awaits_key_frame());
        assert_eq!(drain(&mut queue, at(start, 70)), [2, 3, 4]);
        assert_eq!(queue.left_out().pictures, 1);
    }

    #[test]
    fn late_pictures_go_in_whole_groups_and_sound_in_time_stays() {
        let (mut queue, start) = open_queue();
        push(&mut queue, start, 0, Kind::KeyFrame, 1);
        push(&mut queue, start, 400, Kind::DeltaFrame, 2);
        push(&mut queue, start, 500, Kind::Sound, 3);
        push(&mut queue, start, 600, Kind::KeyFrame, 4);
        push(&mut queue, start, 700, Kind::DeltaFrame, 5);
        // At 1100 only the first key frame is late, but the frame that needs it goes too.
        assert_eq!(drain(&mut queue, at(start, 1100)), [3, 4, 5]);
        assert_eq!(queue.left_out(), LeftOut { pictures: 2, sounds: 0, gaps: 1 });
        assert!(!queue.awaits_key_frame());
    }

    #[test]
    fn without_a_later_key_frame_all_pictures_go_and_one_is_awaited() {
        let (mut queue, start) = open_queue();
        push(&mut queue, start, 0, Kind::KeyFrame, 1);
        push(&mut queue, start, 900, Kind::DeltaFrame, 2);
        assert_eq!(drain(&mut queue, at(start, 1500)), [] as [u32; 0]);
        assert!(queue.awaits_key_frame());
        push(&mut queue, start, 1500, Kind::DeltaFrame, 3);
        push(&mut queue, start, 1533, Kind::KeyFrame, 4);
        assert_eq!(drain(&mut queue, at(start, 1540)), [4]);
    }

    #[test]
    fn after_a_frame_of_the_group_has_left_the_rest_of_it_can_still_go() {
        let (mut queue, start) = open_queue();
        push(&mut queue, start, 0, Kind::KeyFrame, 1);
        push(&mut queue, start, 33, Kind::DeltaFrame, 2);
        assert_eq!(queue.pop(at(start, 40)), Some(1));
        push(&mut queue, start, 900, Kind::KeyFrame, 3);
        assert_eq!(drain(&mut queue, at(start, 1500)), [3]);
        assert_eq!(queue.left_out().gaps, 1);
    }

    #[test]
    fn memory_is_bounded_even_when_the_clock_stands_still() {
        let (mut queue, start) = open_queue();
        for item in 0..1000 {
            let kind = if item % 50 == 0 { Kind::KeyFrame } else { Kind::DeltaFrame };
            queue.push(start, kind, start, ByteCount::new(100), item);
            assert!(queue.bytes() <= LIMITS.bytes);
        }
        let left = drain(&mut queue, start);
        assert_eq!(left.first().map(|item| item % 50), Some(0), "what is left begins with a key frame");
    }

    proptest! {
        /// Whatever comes in whatever order: memory is bounded, order kept, and no delta frame goes
        /// out unless the picture right before it in its group went out just before.
        #[test]
        fn what_goes_out_can_be_decoded(steps in prop::collection::vec((0u8..5, 0u64..400, 1u64..3000), 1..200)) {
            let (mut queue, start) = open_queue();
            let (mut millis, mut picture, mut last_sent) = (0, 0u32, None);
            for (what, wait, size) in steps {
                millis += wait;
                let now = at(start, millis);
                let kind = match what {
                    0 => Kind::KeyFrame,
                    1 | 2 => Kind::DeltaFrame,
                    3 => Kind::Sound,
                    _ => {
                        if let Some((kind, number)) = queue.pop(now) {
                            match kind {
                                Kind::KeyFrame => last_sent = Some(number),
                                Kind::DeltaFrame => {
                                    prop_assert_eq!(last_sent, Some(number - 1));
                                    last_sent = Some(number);
                                }
                                Kind::Sound => {}
                            }
                        }
                        continue;
                    }
                };
                if kind != Kind::Sound {
                    picture += 1;
                }
                queue.push(now, kind, now, ByteCount::new(size), (kind, picture));
                prop_assert!(queue.bytes() <= LIMITS.bytes);
            }
        }
    }
}
