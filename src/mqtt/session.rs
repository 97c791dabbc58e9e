//! One connection's conversation: who has said what, what waits to be acknowledged, and whether the other side lives.
//!
//! Bytes come in and go out; sockets and the clock are the caller's. It begins anew with each connection: nothing is
//! asked of the broker's memory, so that no command is delivered that was given while nobody heard it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use super::packet::{Delivery, Hello, Incoming, Malformed, Message, Outgoing, Refusal, Terms, Version};

/// The conversation.
///
/// ```text
/// CONNECT ──▶ Greeting ──CONNACK──▶ Open ──close()──▶ Closed
///                └── refused, silent, no MQTT ──┴──▶ an error, and its end
/// ```
#[derive(Debug)]
pub struct Session {
    version: Version,
    phase: Phase,
    terms: Terms,
    keep_alive: Duration,
    input: BytesMut,
    /// Bytes of a packet that is too large, and left out.
    skip: usize,
    output: BytesMut,
    /// In the order in which they were published; at most [`WINDOW`], and so `output` is bounded, too.
    unacknowledged: VecDeque<(u16, Message)>,
    last_id: u16,
    last_sent: Instant,
    /// When an answer was asked for that has not come yet.
    pinged: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting { since: Instant },
    Open,
    Closed,
}

/// What came of bytes that were received.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Open,
    Delivery(Delivery),
    /// The broker did not take a message to this topic.
    NotTaken {
        topic: String,
        reason: String,
    },
    /// The broker does not deliver what was asked for under this number.
    NotSubscribed {
        id: u16,
        reason: String,
    },
}

/// Why a conversation has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error("the broker does not let this machine in: {}", in_words(.0))]
    Refused(Refusal),
    #[error("the broker has ended the connection: {0}")]
    Goodbye(String),
    #[error("the broker does not answer")]
    Silent,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Session {
    /// Begins it.
    ///
    /// # Errors
    /// Where the greeting is longer than the protocol allows.
    pub fn open(now: Instant, version: Version, hello: &Hello) -> Result<Session, Malformed> {
        let mut session = Session {
            version,
            phase: Phase::Greeting { since: now },
            terms: Terms::default(),
            keep_alive: hello.keep_alive,
            input: BytesMut::new(),
            skip: 0,
            output: BytesMut::new(),
            unacknowledged: VecDeque::new(),
            last_id: 0,
            last_sent: now,
            pinged: None,
        };
        session.say(now, &Outgoing::Connect(hello))?;
        Ok(session)
    }

    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Takes what was received.
    ///
    /// # Errors
    /// Where it ends the conversation.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<Vec<News>, Ended> {
        self.input.extend_from_slice(bytes);
        let mut news = Vec::new();
        while let Some(packet) = self.version.read(&mut self.input, &mut self.skip)? {
            news.extend(self.heed(now, packet)?);
        }
        Ok(news)
    }

    fn heed(&mut self, now: Instant, packet: Incoming) -> Result<Option<News>, Ended> {
        match (packet, self.phase) {
            (Incoming::Refused(refusal), Phase::Greeting { .. }) => Err(Ended::Refused(refusal)),
            (Incoming::Welcome(terms), Phase::Greeting { .. }) => {
                self.terms = terms;
                self.keep_alive = terms.keep_alive.unwrap_or(self.keep_alive);
                self.phase = Phase::Open;
                Ok(Some(News::Open))
            }
            (Incoming::Goodbye(reason), _) => Err(Ended::Goodbye(reason)),
            (Incoming::Welcome(_) | Incoming::Refused(_), _) | (_, Phase::Greeting { .. }) => {
                Err(Malformed("it greets twice, or not at all".to_owned()).into())
            }
            (Incoming::Delivery(delivery, id), _) => {
                if let Some(id) = id {
                    self.say(now, &Outgoing::Acknowledge(id))?;
                }
                Ok(Some(News::Delivery(delivery)))
            }
            (Incoming::Acknowledged(id, refused), _) => {
                let place = self.unacknowledged.iter().position(|(known, _)| *known == id);
                let message = place.and_then(|place| self.unacknowledged.remove(place));
                Ok(message
                    .zip(refused)
                    .map(|((_, Message { topic, .. }), reason)| News::NotTaken { topic, reason }))
            }
            (Incoming::Subscribed(id, refused), _) => {
                Ok(refused.map(|reason| News::NotSubscribed { id, reason }))
            }
            (Incoming::Pong, _) => {
                self.pinged = None;
                Ok(None)
            }
            (Incoming::Unsubscribed, _) => Ok(None),
        }
    }

    /// Whether one more message may be published now: few enough wait to be acknowledged, and to be sent.
    pub fn has_room(&self) -> bool {
        let window = WINDOW.min(self.terms.window.into()).max(1);
        self.is_open() && self.unacknowledged.len() < window && self.output.len() < MOST_UNSENT
    }

    /// Publishes a message, as the broker allows it. One that is larger than it takes is left out, and told.
    ///
    /// # Errors
    /// Where the protocol has no such message.
    pub fn publish(&mut self, now: Instant, mut message: Message) -> Result<Option<News>, Malformed> {
        let size = message.payload.len() + message.topic.len() + HEADERS;
        if size > self.terms.largest {
            let reason = format!("{size} bytes are more than it takes");
            return Ok(Some(News::NotTaken { topic: message.topic, reason }));
        }
        message.retain &= self.terms.retains;
        let id = self.terms.acknowledges.then(|| self.next_id());
        self.say(now, &Outgoing::Publish(&message, id))?;
        if let Some(id) = id {
            self.unacknowledged.push_back((id, message));
        }
        Ok(None)
    }

    /// Asks for messages to these topics; under a number.
    ///
    /// # Errors
    /// Where the protocol has no such topic.
    pub fn subscribe(&mut self, now: Instant, filters: &[String]) -> Result<u16, Malformed> {
        let id = self.next_id();
        self.say(now, &Outgoing::Subscribe(id, filters))?;
        Ok(id)
    }

    /// Asks for them no longer.
    ///
    /// # Errors
    /// Where the protocol has no such topic.
    pub fn unsubscribe(&mut self, now: Instant, filters: &[String]) -> Result<(), Malformed> {
        let id = self.next_id();
        self.say(now, &Outgoing::Unsubscribe(id, filters))
    }

    /// Says goodbye: the broker does not tell the last will then.
    ///
    /// # Errors
    /// None that can happen: the packet has no texts.
    pub fn close(&mut self, now: Instant) -> Result<(), Malformed> {
        self.say(now, &Outgoing::Disconnect)?;
        self.phase = Phase::Closed;
        Ok(())
    }

    /// What waits to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of it were.
    pub fn sent(&mut self, bytes: usize) {
        self.output.advance(bytes);
    }

    /// When [`Session::look`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting { since } => Some(since + PATIENCE),
            Phase::Open => match self.pinged {
                Some(pinged) => Some(pinged + PATIENCE),
                None if self.keep_alive.is_zero() => None,
                None => Some(self.last_sent + self.keep_alive),
            },
            Phase::Closed => None,
        }
    }

    /// Shows the broker that we live, and looks whether it does.
    ///
    /// # Errors
    /// [`Ended::Silent`].
    pub fn look(&mut self, now: Instant) -> Result<(), Ended> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        match (self.phase, self.pinged) {
            (Phase::Greeting { .. }, _) | (Phase::Open, Some(_)) => Err(Ended::Silent),
            (Phase::Open, None) => {
                self.say(now, &Outgoing::Ping)?;
                self.pinged = Some(now);
                Ok(())
            }
            (Phase::Closed, _) => Ok(()),
        }
    }

    /// Nothing waits to be sent, or to be acknowledged.
    pub fn is_idle(&self) -> bool {
        self.output.is_empty() && self.unacknowledged.is_empty()
    }

    /// What the broker may not have, in order.
    pub fn into_unacknowledged(self) -> impl Iterator<Item = Message> {
        self.unacknowledged.into_iter().map(|(_, message)| message)
    }

    fn say(&mut self, now: Instant, packet: &Outgoing<'_>) -> Result<(), Malformed> {
        self.version.write(packet, &mut self.output)?;
        self.last_sent = now;
        Ok(())
    }

    /// From 1 on, and none that is in use.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.unacknowledged.iter().any(|(id, _)| *id == self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn in_words(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Version => "it does not speak this version of MQTT",
        Refusal::ClientId => "it does not take this client id: set mqtt.client_id",
        Refusal::Login(reason) => reason,
        Refusal::Other(reason) => reason,
    }
}

/// Messages that wait to be acknowledged: on a link with a round trip of a second, 16 a second still go.
const WINDOW: usize = 16;

/// Bytes that wait to be sent, where nothing is acknowledged.
const MOST_UNSENT: usize = 256 * 1024;

/// Bytes of a packet beside topic and payload, at the most: fixed header, number and properties.
const HEADERS: usize = 512;

/// A link of a mobile network answers within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::packet::Password;
    use super::*;

    fn hello() -> Hello {
        Hello {
            client_id: "a".into(),
            keep_alive: Duration::from_secs(20),
            username: Some("a".into()),
            password: Some(Password("b".into())),
            will: Message { topic: "t".into(), payload: "offline".into(), ..Message::default() },
        }
    }

    fn open(start: Instant, connack: &[u8]) -> Session {
        let mut session = Session::open(start, Version::V5, &hello()).unwrap();
        assert!(!session.has_room(), "nothing is said before the greeting is answered");
        assert_eq!(session.receive(start, connack).unwrap(), [News::Open]);
        drain(&mut session);
        session
    }

    fn drain(session: &mut Session) -> Vec<u8> {
        let bytes = session.output().to_vec();
        session.sent(bytes.len());
        bytes
    }

    fn message(topic: &str) -> Message {
        Message { topic: topic.into(), payload: "x".into(), retain: true, ..Message::default() }
    }

    const WELCOME: [u8; 5] = [0x20, 3, 0, 0, 0];

    #[test]
    fn a_broker_that_does_not_answer_is_left() {
        let start = Instant::now();
        let mut session = Session::open(start, Version::V311, &hello()).unwrap();
        assert_eq!(session.look(start + Duration::from_secs(9)), Ok(()));
        assert_eq!(session.look(start + PATIENCE), Err(Ended::Silent));
    }

    #[test]
    fn life_is_shown_where_nothing_else_is_said_and_looked_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut session = open(start, &WELCOME);
        session.publish(at(15), message("t")).unwrap();
        drain(&mut session);
        session.look(at(34)).unwrap();
        assert!(session.output().is_empty(), "what was published has shown it");
        session.look(at(35)).unwrap();
        assert_eq!(drain(&mut session), [0xc0, 0]);
        session.receive(at(36), &[0xd0, 0]).unwrap();
        session.look(at(56)).unwrap();
        assert_eq!(drain(&mut session), [0xc0, 0]);
        assert_eq!(session.look(at(66)), Err(Ended::Silent));
    }

    #[test]
    fn so_many_wait_as_the_broker_allows_and_what_it_did_not_take_comes_back() {
        let start = Instant::now();
        let mut session = open(start, &[0x20, 6, 0, 0, 3, 33, 0, 2]); // receive maximum 2
        for topic in ["a", "b"] {
            assert!(session.has_room());
            assert_eq!(session.publish(start, message(topic)), Ok(None));
        }
        assert!(!session.has_room());
        drain(&mut session);
        assert_eq!(session.receive(start, &[0x40, 2, 0, 1]).unwrap(), []);
        assert!(session.has_room() && !session.is_idle());
        let topics: Vec<_> = session.into_unacknowledged().map(|message| message.topic).collect();
        assert_eq!(topics, ["b"]);
    }

    #[test]
    fn a_message_that_is_refused_is_told() {
        let start = Instant::now();
        let mut session = open(start, &WELCOME);
        session.publish(start, message("a/b")).unwrap();
        let news = session.receive(start, &[0x40, 4, 0, 1, 0x87, 0]).unwrap();
        assert_eq!(news, [News::NotTaken { topic: "a/b".into(), reason: "not authorized".into() }]);
    }

    #[test]
    fn a_broker_s_limits_are_kept() {
        let start = Instant::now();
        // Maximum QoS 0, retain not available, maximum packet size 1024.
        let mut session = open(start, &[0x20, 12, 0, 0, 9, 36, 0, 37, 0, 39, 0, 0, 4, 0]);
        session.publish(start, message("t")).unwrap();
        assert_eq!(drain(&mut session)[0], 0x30, "neither kept nor acknowledged");
        assert!(session.is_idle());
        let large = Message { payload: vec![b'x'; 2000].into(), ..message("t") };
        assert!(matches!(session.publish(start, large), Ok(Some(News::NotTaken { .. }))));
        assert!(session.is_idle());
    }

    #[test]
    fn numbers_are_never_zero_and_never_used_twice() {
        let start = Instant::now();
        let mut session = open(start, &WELCOME);
        session.publish(start, message("kept")).unwrap(); // number 1
        for _ in 0..u32::from(u16::MAX) {
            let id = session.next_id();
            assert!(id > 1);
        }
    }

    #[test]
    fn refusals_and_goodbyes_say_why() {
        let start = Instant::now();
        let mut session = Session::open(start, Version::V5, &hello()).unwrap();
        let refused = session.receive(start, &[0x20, 3, 0, 0x86, 0]).unwrap_err();
        let said = "the broker does not let this machine in: username or password is wrong";
        assert_eq!(refused.to_string(), said);
        let mut session = open(start, &WELCOME);
        let ended = session.receive(start, &[0xe0, 2, 0x8e, 0]).unwrap_err();
        assert!(ended.to_string().contains("give each machine an id of its own"), "{ended}");
    }
}
