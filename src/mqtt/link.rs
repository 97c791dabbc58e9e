//! One broker as it is configured: called, told, heard, called again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{future, io};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use rustix::system::uname;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::access::Access;
use super::commands::{self, Commands};
use super::dial::{self, Duplex};
use super::dialling::{Dialling, Failure, Next};
use super::packet::{Hello, Message};
use super::publisher::{Due, Face, Publisher};
use super::session::{Ended, News, Session};
use super::topics::Topics;
use super::{Order, Task};
use crate::api::events::Told;
use crate::api::info::Info;
use crate::api::wire::rfc3339;
use crate::api::{Broker, body, streams};
use crate::config;
use crate::supervisor::events::{Beginning, Entry, Event, Place, Reader, Since};

/// One configuration's life.
pub struct Link<'a> {
    task: &'a mut Task,
    section: config::Mqtt,
    topics: Topics,
    client_id: String,
    publisher: Publisher,
    dialling: Dialling,
    /// Of the configuration: statuses show it.
    revision: u64,
    /// Events and answers that the broker may not have got; at most as many as wait to be acknowledged at once.
    undelivered: VecDeque<Message>,
    /// What is wrong with the files, told once.
    has_warned: bool,
}

/// Why it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Reconfigured,
    Closed,
}

/// A connection, from the greeting to its end.
struct Talk {
    session: Session,
    commands: Option<Commands>,
    events: Option<Reader>,
    /// The commands' subscription.
    commands_id: Option<u16>,
    /// Until when what the broker keeps of earlier days is looked for.
    sweep_until: Option<Instant>,
    parting: Option<Parting>,
    was_open: bool,
}

/// It is to end.
struct Parting {
    exit: Exit,
    by: Instant,
    /// The broker is told that this machine is offline.
    is_said: bool,
}

impl<'a> Link<'a> {
    pub fn new(task: &'a mut Task, section: config::Mqtt) -> Link<'a> {
        let id = section.id.clone().unwrap_or_else(|| uname().nodename().to_string_lossy().into_owned());
        Link {
            topics: Topics::new(&section.topic_prefix, &id),
            client_id: section.client_id.clone().unwrap_or_else(|| format!("uplinkd-{id}")),
            publisher: Publisher::new(section.interval),
            dialling: Dialling::new(section.version),
            revision: 0,
            undelivered: VecDeque::new(),
            has_warned: false,
            task,
            section,
        }
    }

    /// Runs until it is to end. A broker that cannot be reached is called again and again.
    pub async fn run(mut self) -> Exit {
        self.tell_state(None, None);
        loop {
            let (failure, was_open) = match self.connection().await {
                Ok(exit) => return exit,
                Err(failed) => failed,
            };
            let Next { wait, tell } = self.dialling.failed(&failure, was_open, rand::random());
            self.tell_state(None, Some(failure.to_string()));
            if let Some(reason) = tell {
                self.say(Event::MqttLost { broker: self.section.url.to_string(), reason });
            }
            let again = sleep(wait);
            tokio::pin!(again);
            tokio::select! {
                () = &mut again => {}
                // Where it is none: somebody has seen to something, and it is tried at once.
                order = self.task.orders.next() => if let Some(exit) = self.exit_of(order) {
                    return exit;
                }
            }
        }
    }

    /// One connection; the failure comes with whether there was one.
    async fn connection(&mut self) -> Result<Exit, (Failure, bool)> {
        let attempt = timeout(LONGEST_ATTEMPT, attempt(self.section.clone()));
        tokio::pin!(attempt);
        let connected = loop {
            tokio::select! {
                connected = &mut attempt => break connected,
                order = self.task.orders.next() => if let Some(exit) = self.exit_of(order) {
                    return Ok(exit);
                }
            }
        };
        let never = |failure| (failure, false);
        let silent = || Failure::Network(format!("{} does not answer", self.section.url));
        let (access, stream) = connected.map_err(|_| never(silent()))?.map_err(never)?;
        if !self.has_warned {
            access.warnings.iter().for_each(|warning| log::warn!("{warning}"));
            self.has_warned = true;
        }
        let hello = Hello {
            client_id: self.client_id.clone(),
            keep_alive: KEEP_ALIVE,
            username: self.section.username.clone(),
            password: access.password,
            will: self.availability(OFFLINE),
        };
        let session = Session::open(Instant::now(), self.dialling.version(), &hello);
        let mut talk = Talk {
            session: session.map_err(|malformed| never(Failure::Ended(malformed.into())))?,
            commands: None,
            events: None,
            commands_id: None,
            sweep_until: None,
            parting: None,
            was_open: false,
        };
        let result = self.converse(&mut talk, stream).await;
        let was_open = talk.was_open;
        let unacknowledged = talk.session.into_unacknowledged().filter(|message| !message.retain);
        // What is kept is told anew in any case.
        let undelivered: Vec<_> = unacknowledged.chain(std::mem::take(&mut self.undelivered)).collect();
        self.undelivered = undelivered.into();
        result.map_err(|failure| (failure, was_open))
    }

    async fn converse(&mut self, talk: &mut Talk, stream: Box<dyn Duplex>) -> Result<Exit, Failure> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut input = BytesMut::with_capacity(READ);
        let mut is_to_flush = false;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill(talk)?;
            let is_written = talk.session.output().is_empty() && !is_to_flush;
            if let Some(parting) = &talk.parting
                && (Instant::now() >= parting.by || (talk.was_open && !talk.session.is_open() && is_written))
            {
                return Ok(parting.exit);
            }
            tokio::select! {
                read = reader.read_buf(&mut input) => {
                    match read {
                        Ok(0) => return Err(Ended::Goodbye("it has hung up".to_owned()).into()),
                        Ok(_) => {}
                        Err(error) => return Err(dial::interrupted(&error)),
                    }
                    for news in talk.session.receive(Instant::now(), &input)? {
                        self.heed(talk, news)?;
                    }
                    input.clear();
                }
                sent = send(&mut writer, talk.session.output()), if !is_written => {
                    let bytes = sent.map_err(|error| dial::interrupted(&error))?;
                    talk.session.sent(bytes);
                    is_to_flush = bytes > 0;
                }
                answer = answer(&mut talk.commands) => self.publisher.answer(answer),
                entry = next(&mut talk.events), if talk.session.has_room() => self.pass_on(talk, entry)?,
                _ = tick.tick() => self.look(talk)?,
                order = self.task.orders.next(), if talk.parting.is_none() => {
                    if let Some(exit) = self.exit_of(order) {
                        if !talk.session.is_open() {
                            return Ok(exit);
                        }
                        self.observe();
                        self.publisher.hurry();
                        talk.parting = Some(Parting { exit, by: Instant::now() + PARTING, is_said: false });
                    }
                }
            }
        }
    }

    /// Publishes what is due, while there is room.
    fn fill(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        let now = Instant::now();
        while talk.session.has_room() {
            if let Some(message) = self.undelivered.pop_front() {
                self.publish(talk, message)?;
            } else if let Some(due) = self.publisher.next(now) {
                if let Some(message) = self.message(due) {
                    self.publish(talk, message)?;
                }
            } else if let Some(entry) = next(&mut talk.events).now_or_never() {
                self.pass_on(talk, entry)?;
            } else {
                break;
            }
        }
        let Some(parting) = &mut talk.parting else { return Ok(()) };
        if !parting.is_said && talk.session.has_room() {
            parting.is_said = true;
            let message = self.availability(OFFLINE);
            self.publish(talk, message)?;
        } else if parting.is_said && talk.session.is_open() && talk.session.is_idle() {
            talk.session.close(now).map_err(Ended::from)?;
        }
        Ok(())
    }

    fn heed(&mut self, talk: &mut Talk, news: News) -> Result<(), Failure> {
        match news {
            News::Open => self.opened(talk)?,
            News::Delivery(delivery) => {
                if let Some(stream) = self.topics.stream_of_status(&delivery.topic) {
                    if delivery.retained && !delivery.payload.is_empty() {
                        self.publisher.found(stream);
                    }
                } else if let Some(answer) =
                    talk.commands.as_ref().and_then(|commands| commands.take(delivery))
                {
                    self.publisher.answer(answer);
                }
            }
            News::NotTaken { topic, reason } => {
                log::warn!(topic, reason; "the MQTT broker does not take a message");
            }
            News::NotSubscribed { id, reason } if Some(id) == talk.commands_id => {
                log::warn!(reason; "the MQTT broker does not deliver commands");
            }
            // Who may only write cannot take away what it kept of a stream that is gone: it stays there.
            News::NotSubscribed { reason, .. } => {
                log::debug!(reason; "the MQTT broker does not show what it keeps")
            }
        }
        Ok(())
    }

    fn opened(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        let now = Instant::now();
        talk.was_open = true;
        self.dialling.connected();
        let version = self.dialling.version().as_str();
        self.tell_state(Some(version), None);
        self.say(Event::MqttConnected { broker: self.section.url.to_string(), version });
        if self.section.commands {
            talk.commands = Some(Commands::new(self.task.facts.clone(), self.topics.clone()));
            let id = talk.session.subscribe(now, &self.topics.commands());
            talk.commands_id = Some(id.map_err(Ended::from)?);
        }
        talk.session.subscribe(now, &[self.topics.statuses()]).map_err(Ended::from)?;
        talk.sweep_until = Some(now + SWEEP);
        self.observe();
        self.publisher.connected();
        self.begin_to_read(talk)
    }

    /// Goes on with the events where it stopped; the first time, with the daemon's first.
    fn begin_to_read(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        talk.events = None;
        let since = self.task.seen.map_or(Since::Start, Since::Place);
        match self.task.facts.streams.events().read(since) {
            Ok(Beginning { reader, place, missed }) => {
                self.task.seen = Some(place);
                talk.events = Some(reader);
                if missed > 0 {
                    let told = json!({"time": rfc3339(Instant::now()), "event": "missed", "missed": missed});
                    self.undelivered.push_back(self.event(commands::json(&told), place));
                }
            }
            Err(full) => log::warn!("the MQTT broker is told no events: {full}"),
        }
        Ok(())
    }

    /// An event goes to the broker; `None`: so much has happened that some are not kept any more.
    fn pass_on(&mut self, talk: &mut Talk, entry: Option<Arc<Entry>>) -> Result<(), Failure> {
        let (Some(entry), Some(reader)) = (entry, &talk.events) else { return self.begin_to_read(talk) };
        let place = Place { run: reader.run(), number: entry.number };
        self.task.seen = Some(place);
        let message = self.event(commands::json(&Told::from(&*entry)), place);
        self.publish(talk, message)
    }

    /// What is to be looked at from time to time.
    fn look(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        let now = Instant::now();
        talk.session.look(now)?;
        if talk.sweep_until.is_some_and(|until| until <= now) && talk.session.is_open() {
            talk.sweep_until = None;
            talk.session.unsubscribe(now, &[self.topics.statuses()]).map_err(Ended::from)?;
        }
        if talk.session.is_open() {
            self.observe();
        }
        Ok(())
    }

    fn observe(&mut self) {
        let revision = self.revision;
        let statuses = self.task.facts.streams.statuses();
        self.publisher
            .observe(statuses.iter().map(|status| (status.name.clone(), Face::of(status, revision))));
    }

    fn publish(&self, talk: &mut Talk, message: Message) -> Result<(), Failure> {
        match talk.session.publish(Instant::now(), message).map_err(Ended::from)? {
            Some(News::NotTaken { topic, reason }) => {
                log::warn!(topic, reason; "a message is too large for the MQTT broker");
                Ok(())
            }
            Some(News::Open | News::Delivery(_) | News::NotSubscribed { .. }) | None => Ok(()),
        }
    }

    /// `None` where there is nothing to tell after all: the stream has gone this moment.
    fn message(&self, due: Due) -> Option<Message> {
        let facts = &self.task.facts;
        let kept = |topic, payload: Vec<u8>| Message {
            topic,
            payload: payload.into(),
            retain: true,
            content_type: Some(body::JSON),
            ..Message::default()
        };
        Some(match due {
            Due::Online => self.availability(ONLINE),
            Due::Info => kept(self.topics.info(), commands::json(&Info::new(facts))),
            Due::Status(name) => {
                let stream = facts.streams.stream(name.as_str())?;
                let current = facts.configuration.as_ref().map(|configuration| configuration.current());
                let (status, tag) = streams::one(&stream, current.as_deref());
                let properties = tag.into_iter().map(|tag| ("etag".to_owned(), tag)).collect();
                Message { properties, ..kept(self.topics.status(&name), commands::json(&status)) }
            }
            Due::Gone(name) => {
                Message { topic: self.topics.status(&name), retain: true, ..Message::default() }
            }
            Due::Answer(answer) => answer,
        })
    }

    fn availability(&self, word: &'static str) -> Message {
        Message {
            topic: self.topics.availability(),
            payload: Bytes::from_static(word.as_bytes()),
            retain: true,
            ..Message::default()
        }
    }

    fn event(&self, payload: Vec<u8>, place: Place) -> Message {
        Message {
            topic: self.topics.events(),
            payload: payload.into(),
            content_type: Some(body::JSON),
            properties: vec![("id".to_owned(), place.to_string())],
            ..Message::default()
        }
    }

    /// What an order means; `None`: it goes on.
    fn exit_of(&mut self, order: Order) -> Option<Exit> {
        match order {
            Order::Close => Some(Exit::Closed),
            Order::Look => {
                self.revision += 1;
                let current = self.task.orders.configuration.borrow_and_update();
                let is_same = current.layers.config.mqtt.as_ref() == Some(&self.section);
                (!is_same).then_some(Exit::Reconfigured)
            }
        }
    }

    fn tell_state(&self, version: Option<&'static str>, reason: Option<String>) {
        self.task.broker.send_modify(|broker| {
            let url = self.section.url.to_string();
            let before = broker.take().filter(|before| before.url == url);
            let since = match before {
                Some(before) if before.version.is_some() == version.is_some() => before.since,
                _ => Instant::now(),
            };
            *broker = Some(Broker { url, topic: self.topics.base().to_owned(), version, since, reason });
        });
    }

    fn say(&self, event: Event) {
        self.task.facts.streams.events().say(event);
    }
}

async fn attempt(section: config::Mqtt) -> Result<(Access, Box<dyn Duplex>), Failure> {
    let url = section.url.clone();
    let read = tokio::task::spawn_blocking(move || Access::load(&section)).await;
    let read =
        read.map_err(|error| Failure::Files(format!("the files of [mqtt] cannot be read: {error}")))?;
    let access = read.map_err(|error| Failure::Files(error.to_string()))?;
    let stream = dial::dial(&url, access.tls.clone()).await?;
    Ok((access, stream))
}

/// Writes something; where there is nothing, sees to it that what was written goes on its way. Cancel safe.
async fn send(writer: &mut WriteHalf<Box<dyn Duplex>>, bytes: &[u8]) -> io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => writer.write(bytes).await,
    }
}

/// Cancel safe, as is the next one.
async fn answer(commands: &mut Option<Commands>) -> Message {
    match commands {
        Some(commands) => commands.answer().await,
        None => future::pending().await,
    }
}

async fn next(events: &mut Option<Reader>) -> Option<Arc<Entry>> {
    match events {
        Some(reader) => reader.next().await,
        None => future::pending().await,
    }
}

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A broker tells the last will after half as much again: in half a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Name server, TCP and TLS; a mobile link has them in a few seconds.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(15);

/// To say goodbye: some round trips of a bad link, and no systemd that waits.
pub const PARTING: Duration = Duration::from_secs(3);

/// A broker sends what it keeps at once.
const SWEEP: Duration = Duration::from_secs(5);

/// How often statuses are looked at: a stream's is made anew every 50 ms.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that are read at once.
const READ: usize = 8 * 1024;
