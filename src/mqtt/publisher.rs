//! What is told, and when: at once what is another state, else every interval, and after a connection everything.
//!
//! Nothing is kept here but what is due: a status is written down when its turn comes, so however long a broker was
//! away, what it gets is new, and takes no room. Answers alone wait, and the oldest gives way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::packet::Message;
use crate::config::{OutputName, StreamName};
use crate::supervisor::status::{AudioState, OutputState, SourceState, State, Status};

/// What is due, of one machine.
#[derive(Debug)]
pub struct Publisher {
    interval: Duration,
    online: bool,
    info: bool,
    streams: BTreeMap<StreamName, Told>,
    /// Streams that there are no longer, and whose status the broker may still keep.
    gone: BTreeSet<StreamName>,
    /// At most [`ANSWERS`].
    answers: VecDeque<Message>,
}

#[derive(Debug)]
struct Told {
    face: Face,
    /// When it was told last; `None`: not over this connection.
    at: Option<Instant>,
    /// It is another since.
    is_news: bool,
}

/// What of a status is told at once when it changes: states, and not each figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    state: (State, Instant),
    source: SourceState,
    audio: AudioState,
    encoder: Option<&'static str>,
    outputs: Vec<(OutputName, OutputState)>,
    /// Of the configuration.
    revision: u64,
}

/// What is to be told next.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    Online,
    Info,
    Status(StreamName),
    /// The broker is not to keep the status of this one.
    Gone(StreamName),
    Answer(Message),
}

impl Face {
    pub fn of(status: &Status, revision: u64) -> Face {
        Face {
            state: (status.state, status.since),
            source: status.source.state,
            audio: status.audio.state,
            encoder: status.encoder.as_ref().map(|encoder| encoder.element),
            outputs: status.outputs.iter().map(|output| (output.name.clone(), output.state)).collect(),
            revision,
        }
    }
}

impl Publisher {
    pub fn new(interval: Duration) -> Publisher {
        Publisher {
            interval,
            online: false,
            info: false,
            streams: BTreeMap::new(),
            gone: BTreeSet::new(),
            answers: VecDeque::new(),
        }
    }

    /// There is a connection, and a broker that knows nothing.
    pub fn connected(&mut self) {
        (self.online, self.info) = (true, true);
        self.streams.values_mut().for_each(|told| told.at = None);
    }

    /// These streams there are, and no others.
    pub fn observe(&mut self, streams: impl IntoIterator<Item = (StreamName, Face)>) {
        let mut before = std::mem::take(&mut self.streams);
        for (name, face) in streams {
            let told = match before.remove(&name) {
                Some(told) => Told { is_news: told.is_news || told.face != face, face, at: told.at },
                None => Told { face, at: None, is_news: true },
            };
            self.gone.remove(&name);
            self.streams.insert(name, told);
        }
        self.gone.extend(before.into_keys());
    }

    /// The broker keeps a status of this stream, which may be one of an earlier day.
    pub fn found(&mut self, stream: StreamName) {
        if !self.streams.contains_key(&stream) {
            self.gone.insert(stream);
        }
    }

    /// Something is to be answered. Where too much waits, the oldest answer is lost: whoever waited for it has
    /// given up.
    pub fn answer(&mut self, answer: Message) {
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// Everything counts as told that is due now, but for answers: for a last round.
    pub fn hurry(&mut self) {
        self.streams.values_mut().for_each(|told| told.at = None);
    }

    /// What is to be told now; counts as told.
    pub fn next(&mut self, now: Instant) -> Option<Due> {
        if std::mem::take(&mut self.online) {
            return Some(Due::Online);
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(Due::Answer(answer));
        }
        if std::mem::take(&mut self.info) {
            return Some(Due::Info);
        }
        if let Some(stream) = self.gone.pop_first() {
            return Some(Due::Gone(stream));
        }
        let interval = self.interval;
        let due = self.streams.iter_mut().filter(|(_, told)| told.due(interval).is_none_or(|due| due <= now));
        // The one that waits longest: none keeps the others from their turn.
        let (stream, told) = due.min_by_key(|(_, told)| told.at)?;
        (told.at, told.is_news) = (Some(now), false);
        Some(Due::Status(stream.clone()))
    }
}

impl Told {
    /// `None`: long ago.
    fn due(&self, interval: Duration) -> Option<Instant> {
        let wait = if self.is_news { BREATH } else { interval };
        self.at.map(|at| at + wait)
    }
}

/// Between two statuses of one stream, however fast its states change.
const BREATH: Duration = Duration::from_millis(250);

/// Answers that wait for a connection.
const ANSWERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stream: &str) -> StreamName {
        StreamName::new(stream).unwrap()
    }

    fn face(state: State) -> Face {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Face {
            state: (state, *START.get_or_init(Instant::now)),
            source: SourceState::Off,
            audio: AudioState::Off,
            encoder: None,
            outputs: Vec::new(),
            revision: 0,
        }
    }

    fn all(publisher: &mut Publisher, now: Instant) -> Vec<Due> {
        std::iter::from_fn(|| publisher.next(now)).collect()
    }

    fn status(stream: &str) -> Due {
        Due::Status(name(stream))
    }

    fn connected(streams: &[&str], now: Instant) -> Publisher {
        let mut publisher = Publisher::new(Duration::from_secs(10));
        publisher.observe(streams.iter().map(|stream| (name(stream), face(State::Stopped))));
        publisher.connected();
        let told = all(&mut publisher, now);
        assert_eq!(told[..2], [Due::Online, Due::Info], "who is there comes first");
        assert_eq!(told.len(), 2 + streams.len());
        publisher
    }

    #[test]
    fn a_state_is_told_at_once_and_else_every_interval() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut publisher = connected(&["a", "b"], start);
        assert_eq!(all(&mut publisher, at(9_999)), []);
        assert_eq!(all(&mut publisher, at(10_000)), [status("a"), status("b")]);
        publisher.observe([(name("a"), face(State::Starting)), (name("b"), face(State::Stopped))]);
        assert_eq!(all(&mut publisher, at(12_000)), [status("a")]);
        publisher.observe([(name("a"), face(State::Streaming)), (name("b"), face(State::Stopped))]);
        assert_eq!(all(&mut publisher, at(12_100)), [], "a breath is taken");
        assert_eq!(all(&mut publisher, at(12_250)), [status("a")]);
        assert_eq!(all(&mut publisher, at(20_000)), [status("b")], "each has its own interval");
    }

    #[test]
    fn another_configuration_is_told_at_once() {
        let start = Instant::now();
        let mut publisher = connected(&["a"], start);
        publisher.observe([(name("a"), Face { revision: 1, ..face(State::Stopped) })]);
        assert_eq!(all(&mut publisher, start + BREATH), [status("a")]);
    }

    #[test]
    fn who_is_gone_is_taken_away_and_may_come_back() {
        let start = Instant::now();
        let mut publisher = connected(&["a", "b"], start);
        publisher.observe([(name("a"), face(State::Stopped))]);
        assert_eq!(all(&mut publisher, start), [Due::Gone(name("b"))]);
        publisher.observe([]);
        publisher.observe([(name("a"), face(State::Stopped))]);
        assert_eq!(all(&mut publisher, start), [status("a")]);
        publisher.found(name("a"));
        publisher.found(name("former"));
        assert_eq!(all(&mut publisher, start), [Due::Gone(name("former"))]);
    }

    #[test]
    fn a_broker_that_was_away_gets_everything_once_however_long() {
        let start = Instant::now();
        let mut publisher = connected(&["a"], start);
        for minute in 0..100u64 {
            let state = if minute % 2 == 0 { State::Streaming } else { State::Degraded };
            publisher.observe([(name("a"), face(state))]);
            publisher.answer(Message { topic: minute.to_string(), ..Message::default() });
        }
        publisher.connected();
        let told = all(&mut publisher, start + Duration::from_secs(6000));
        assert_eq!(told.len(), ANSWERS + 3);
        let Due::Answer(oldest) = &told[1] else { panic!("{told:?}") };
        assert_eq!(oldest.topic, "68", "the oldest answers gave way");
    }

    #[test]
    fn a_stream_that_changes_all_the_time_leaves_room_for_others() {
        let start = Instant::now();
        let mut publisher = connected(&["a", "b"], start);
        let mut told = Vec::new();
        for step in 1..200u64 {
            let now = start + Duration::from_millis(100 * step);
            let state = if step % 2 == 0 { State::Starting } else { State::BackingOff };
            publisher.observe([(name("a"), face(state)), (name("b"), face(State::Stopped))]);
            told.extend(publisher.next(now));
        }
        let of = |stream| told.iter().filter(|due| **due == status(stream)).count();
        assert!((50..=80).contains(&of("a")) && of("b") == 1, "{} and {}", of("a"), of("b"));
    }
}
