//! Commands: carried out as the API carries them out, one after the other, and answered in its words.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::packet::{Delivery, Message};
use super::topics::{Asked, Topics, What};
use crate::api::problem::{self, Problem};
use crate::api::{Facts, body, streams};
use crate::reconfigure::{Change, Guard};

/// Carries commands out; ends when it is dropped, after the one that it is at.
#[derive(Debug)]
pub struct Commands {
    topics: Topics,
    /// At most [`WAITING`]; who comes with one more is told so.
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Message>,
}

#[derive(Debug)]
struct Order {
    asked: Asked,
    delivery: Delivery,
}

/// What came of one that was carried out.
#[derive(Serialize)]
struct Done<T> {
    /// The end of its topic.
    command: String,
    /// As HTTP has it.
    status: u16,
    /// The stream as the API answers it.
    stream: T,
    /// Of its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// What came of one that was not: a problem as RFC 9457 has it, with one member more.
#[derive(Serialize)]
struct Failed {
    command: String,
    #[serde(flatten)]
    problem: problem::Body,
}

impl Commands {
    /// Must be called on a tokio runtime.
    pub fn new(facts: Facts, topics: Topics) -> Commands {
        let (orders, mut waiting) = mpsc::channel::<Order>(WAITING);
        let (answer, answers) = mpsc::channel(WAITING);
        let own = topics.clone();
        tokio::spawn(async move {
            while let Some(Order { asked, delivery }) = waiting.recv().await {
                let result = carry_out(&facts, &asked, &delivery).await;
                if answer.send(message(&own, &asked, &delivery, result)).await.is_err() {
                    log::debug!("nobody waits for the answer to an MQTT command any more");
                }
            }
        });
        Commands { topics, orders, answers }
    }

    /// Takes a message that was delivered; gives an answer where there is one at once.
    pub fn take(&self, delivery: Delivery) -> Option<Message> {
        let asked = self.topics.asked(&delivery.topic)?;
        let command = asked.to_string();
        if delivery.retained && delivery.payload.is_empty() {
            return None; // somebody takes away what the broker keeps
        }
        if delivery.retained {
            log::warn!(command; "an MQTT command is not carried out, since it is a retained message");
            let detail = "a retained command is not carried out, since it would be again at every connection: send it \
                          without the retain flag, and take this one away with an empty retained message";
            return Some(message(&self.topics, &asked, &delivery, Err(Problem::bad_request(detail))));
        }
        self.orders.try_send(Order { asked, delivery }).err().map(|error| {
            let Order { asked, delivery } = error.into_inner();
            let problem = Problem::busy("earlier commands are still being carried out");
            message(&self.topics, &asked, &delivery, Err(problem))
        })
    }

    /// The next answer. Cancel safe.
    pub async fn answer(&mut self) -> Message {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await, // its task has failed, and says nothing more
        }
    }
}

async fn carry_out(facts: &Facts, asked: &Asked, delivery: &Delivery) -> Result<Vec<u8>, Problem> {
    let command = asked.to_string();
    log::info!(command; "MQTT command");
    match &asked.what {
        What::Action(action) => {
            let stream = streams::ask(facts, &asked.stream, action)?;
            Ok(json(&Done { command, status: ACCEPTED, stream, etag: None }))
        }
        What::Patch => {
            let stream = streams::existing(facts, &asked.stream)?;
            let patch = body::parse(&delivery.payload)?;
            let change = Change::Merge { stream: stream.clone(), patch };
            let changed = streams::change(facts, stream, change, guard(delivery)).await?;
            Ok(json(&Done { command, status: OK, stream: changed.stream, etag: changed.tag }))
        }
    }
}

/// `If-Match` as a user property, of version 5.
fn guard(delivery: &Delivery) -> Guard {
    let lines = delivery.properties.iter().filter(|(name, _)| name.eq_ignore_ascii_case("if-match"));
    let tags = body::tags(lines.map(|(_, tags)| tags.as_str()));
    Guard { is_one_of: (!tags.is_empty()).then_some(tags), is_new: false }
}

fn message(topics: &Topics, asked: &Asked, delivery: &Delivery, result: Result<Vec<u8>, Problem>) -> Message {
    let (payload, content_type) = match result {
        Ok(json) => (json, body::JSON),
        Err(problem) => {
            let failed = Failed { command: asked.to_string(), problem: problem.into_body() };
            (json(&failed), problem::CONTENT_TYPE)
        }
    };
    Message {
        topic: topics.response(delivery.response_topic.as_deref()),
        payload: Bytes::from(payload),
        content_type: Some(content_type),
        correlation: delivery.correlation.clone(),
        ..Message::default()
    }
}

/// An answer, or whatever is told, as it is sent.
pub fn json(answer: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(answer) {
        Ok(json) => json,
        Err(_) => b"{}".to_vec(), // cannot happen for texts, numbers, and lists of them
    }
}

/// As HTTP has them.
const OK: u16 = 200;
const ACCEPTED: u16 = 202;

/// Commands that wait. An action takes no time, a patch as long as a disk.
const WAITING: usize = 16;
