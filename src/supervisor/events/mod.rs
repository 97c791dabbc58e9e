//! Where everything that is told goes: to the log, and into a ring that the API reads.
//!
//! Nobody waits for a reader. Each reader has a place in the ring and nothing else; one that falls behind the oldest
//! event is dropped.

mod event;
mod notable;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use log::Record;
use log::kv::{Key, Source, Value, VisitSource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::lock;
use crate::config::StreamName;
pub use event::{Event, Manner};
pub use notable::{RateNews, StateNews};
pub use ring::{Entry, KEPT};
use ring::{Next, Ring};

/// All events of this run of the daemon. Clones share them.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Told apart from every other run's, so that numbers of that one are not taken for this one's.
    run: u32,
    kept: Mutex<Kept>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
    readers: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    ring: Ring,
    /// How many there were of each kind.
    counts: BTreeMap<&'static str, u64>,
}

/// Tells what happens to one stream.
#[derive(Clone, Debug)]
pub struct Teller {
    events: Events,
    stream: StreamName,
}

/// Where a reader stands: it has seen everything up to this number of that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub run: u32,
    pub number: u64,
}

/// From where a reader wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Only what happens from now on, after so many of the last events, at most [`KEPT`].
    Last(u64),
    /// What followed there; of another run, all that is kept.
    Place(Place),
    /// All that is kept.
    Start,
}

/// Reads on, one event after the other.
#[derive(Debug)]
pub struct Reader {
    events: Events,
    number: u64,
    news: watch::Receiver<u64>,
    _seat: OwnedSemaphorePermit,
}

/// A reader that has just begun.
#[derive(Debug)]
pub struct Beginning {
    pub reader: Reader,
    pub place: Place,
    /// How many events that it had not seen are no longer kept.
    pub missed: u64,
}

/// As many read as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{READERS} readers of events are connected, and no more are served")]
pub struct Full;

impl Default for Events {
    fn default() -> Self {
        let kept = Mutex::default();
        let (newest, readers) = (watch::Sender::new(0), Arc::new(Semaphore::new(READERS)));
        Events(Arc::new(Shared { run: rand::random(), kept, newest, readers }))
    }
}

impl Events {
    /// Tells something of the daemon as a whole.
    pub fn say(&self, event: Event) {
        self.tell(None, event);
    }

    /// Who tells of that stream.
    pub fn of(&self, stream: &StreamName) -> Teller {
        Teller { events: self.clone(), stream: stream.clone() }
    }

    /// Begins to read.
    ///
    /// # Errors
    /// When too many do.
    pub fn read(&self, since: Since) -> Result<Beginning, Full> {
        let seat = self.0.readers.clone().try_acquire_owned().map_err(|_| Full)?;
        let (run, news) = (self.0.run, self.0.newest.subscribe());
        let kept = lock(&self.0.kept);
        let (newest, before_oldest) = (kept.ring.newest(), kept.ring.before_oldest());
        drop(kept);
        let number = match since {
            Since::Last(events) => newest.saturating_sub(events),
            Since::Place(place) if place.run == run => place.number.min(newest),
            Since::Place(_) | Since::Start => before_oldest,
        };
        let missed = match since {
            Since::Place(_) => before_oldest.saturating_sub(number),
            Since::Last(_) | Since::Start => 0,
        };
        let number = number.max(before_oldest);
        let reader = Reader { events: self.clone(), number, news, _seat: seat };
        Ok(Beginning { reader, place: Place { run, number }, missed })
    }

    /// How many events there were of each kind that has happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0.kept).counts.clone()
    }

    /// How many read.
    pub fn readers(&self) -> usize {
        READERS - self.0.readers.available_permits()
    }

    fn tell(&self, stream: Option<&StreamName>, event: Event) {
        let manner = event.manner();
        write(&manner, stream, &event);
        let mut kept = lock(&self.0.kept);
        *kept.counts.entry(manner.kind).or_default() += 1;
        let number = kept.ring.push(Instant::now(), stream.cloned(), event);
        drop(kept);
        self.0.newest.send_replace(number);
    }
}

impl Teller {
    pub fn say(&self, event: Event) {
        self.events.tell(Some(&self.stream), event);
    }
}

impl Reader {
    /// The next event; waits for it. `None` once the reader has fallen so far behind that there is a gap. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            self.news.mark_unchanged();
            let next = lock(&self.events.0.kept).ring.after(self.number);
            match next {
                Next::Entry(entry) => {
                    self.number = entry.number;
                    return Some(entry);
                }
                Next::Gone(_) => return None,
                // The sender lives as long as this reader, which holds it.
                Next::Nothing => self.news.changed().await.ok()?,
            }
        }
    }

    /// The run that its events are of.
    pub fn run(&self) -> u32 {
        self.events.0.run
    }
}

impl std::fmt::Display for Place {
    /// `1f00c0de-17`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{}", self.run, self.number)
    }
}

impl std::str::FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Place, NoPlace> {
        let (run, number) = text.split_once('-').ok_or(NoPlace)?;
        let run = u32::from_str_radix(run, 16).map_err(|_| NoPlace)?;
        Ok(Place { run, number: number.parse().map_err(|_| NoPlace)? })
    }
}

/// Not an id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no id of an event")]
pub struct NoPlace;

/// Writes the log's line, with the event's fields as key-values.
fn write(manner: &Manner, stream: Option<&StreamName>, event: &Event) {
    if manner.level > log::max_level() {
        return;
    }
    let fields = Fields { kind: manner.kind, stream: stream.map(StreamName::as_str), fields: event.fields() };
    let mut record = Record::builder();
    let record = record.level(manner.level).target(module_path!()).key_values(&fields);
    log::logger().log(&record.args(format_args!("{}", manner.text)).build());
}

/// What goes with the line.
struct Fields<'a> {
    kind: &'static str,
    stream: Option<&'a str>,
    fields: serde_json::Map<String, serde_json::Value>,
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), log::kv::Error> {
        visitor.visit_pair(Key::from_str("event"), Value::from(self.kind))?;
        if let Some(stream) = self.stream {
            visitor.visit_pair(Key::from_str("stream"), Value::from(stream))?;
        }
        for (name, field) in &self.fields {
            let value = match field {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => Value::from(text.as_str()),
                other => Value::from_display(other),
            };
            visitor.visit_pair(Key::from_str(name), value)?;
        }
        Ok(())
    }
}

/// Pages, scripts and engines that look at one daemon; each costs a connection.
const READERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: usize) -> Events {
        let all = Events::default();
        (0..events).for_each(|_| all.say(Event::ActionRequested { action: "stop" }));
        all
    }

    #[tokio::test]
    async fn a_reader_gets_what_it_has_not_seen_and_then_what_happens() {
        let events = told(5);
        let Beginning { place, .. } = events.read(Since::Last(3)).unwrap();
        assert_eq!(place.number, 2);
        let seen = Place { number: 4, ..place };
        let Beginning { mut reader, missed, .. } = events.read(Since::Place(seen)).unwrap();
        assert_eq!((reader.next().await.unwrap().number, missed), (5, 0));
        let stream: StreamName = StreamName::new("main").unwrap();
        let later = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        events.of(&stream).say(Event::SlateOnAir { reason: "no signal".into() });
        let entry = later.await.unwrap().unwrap();
        assert_eq!((entry.number, entry.stream.as_ref()), (6, Some(&stream)));
    }

    #[tokio::test]
    async fn a_place_of_another_run_is_none_of_this_one() {
        let events = told(3);
        let Beginning { place, .. } = events.read(Since::Last(0)).unwrap();
        assert_eq!(place.number, 3);
        let other = Place { run: !place.run, number: 2 };
        let Beginning { mut reader, missed, .. } = events.read(Since::Place(other)).unwrap();
        assert_eq!((reader.next().await.unwrap().number, missed), (1, 0));
        let ahead = Place { number: 99, ..place };
        assert_eq!(events.read(Since::Place(ahead)).unwrap().place.number, 3, "never happened");
    }

    #[tokio::test]
    async fn who_was_away_for_long_is_told_so_and_who_falls_behind_is_dropped() {
        let events = told(1);
        let Beginning { mut reader, place, .. } = events.read(Since::Last(0)).unwrap();
        (0..KEPT + 10).for_each(|_| events.say(Event::Draining {}));
        assert!(reader.next().await.is_none(), "there is a gap");
        let again = events.read(Since::Place(place)).unwrap();
        assert_eq!((again.missed, again.place.number), (10, 11));
        assert_eq!(events.counts()["draining"], KEPT as u64 + 10);
    }

    #[test]
    fn readers_are_bounded_and_one_that_goes_makes_room() {
        let events = told(0);
        let mut seats: Vec<_> = (0..READERS).map(|_| events.read(Since::Last(0)).unwrap()).collect();
        assert_eq!(events.read(Since::Last(0)).unwrap_err(), Full);
        assert_eq!(events.readers(), READERS);
        seats.pop();
        assert!(events.read(Since::Last(0)).is_ok());
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = Place { run: 0x1f, number: 17 };
        assert_eq!(place.to_string(), "0000001f-17");
        assert_eq!("0000001f-17".parse(), Ok(place));
        for wrong in ["", "17", "1f-", "-1", "zz-1", "1f-1-1", "100000000-1"] {
            assert_eq!(wrong.parse::<Place>(), Err(NoPlace), "{wrong}");
        }
    }
}
