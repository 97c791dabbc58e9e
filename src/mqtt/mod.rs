//! Telemetry and commands over MQTT 3.1.1 and 5: what a fleet's owner looks at, where the API is out of reach.
//!
//! ```text
//! Streams, events ─▶ Publisher ─▶ Session ─▶ packets ─▶ dial ─▶ broker
//!                       ▲            │
//!                       └── Commands ◀┘      carried out as the API carries them out
//! ```
//!
//! One task, for which nobody waits: a broker that is away, slow or hostile costs the streams nothing. What is told is
//! written down when the broker takes it ([`publisher`]); events wait in their ring, where the oldest gives way; and
//! commands are heeded only where the configuration says so, each at most once ([`commands`]).
//!
//! rumqttc knows the packets; the conversation and the socket are ours: rumqttc's own TLS stands on a rustls-webpki
//! that is not mended any more, and its queue would keep old statuses and lose new ones.

pub mod access;
mod commands;
mod dial;
mod dialling;
mod link;
mod packet;
mod publisher;
mod session;
mod topics;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::link::{Exit, Link};
use crate::api::{Broker, Facts};
use crate::reconfigure::{Current, Handle};
use crate::supervisor::events::{Event, Place};

/// The task; [`Client::shut_down`] ends it.
#[derive(Debug)]
pub struct Client {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What the task lives by.
struct Task {
    facts: Facts,
    broker: watch::Sender<Option<Broker>>,
    orders: Orders,
    /// The last event that was handed over.
    seen: Option<Place>,
}

/// What may interrupt it.
struct Orders {
    configuration: watch::Receiver<Arc<Current>>,
    closing: watch::Receiver<bool>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// There may be another configuration.
    Look,
    Close,
}

/// Begins to tell the broker that is configured, now or later, and to hear its commands.
///
/// Must be called on a tokio runtime.
pub fn spawn(facts: Facts, configuration: &Handle, broker: watch::Sender<Option<Broker>>) -> Client {
    let (closing, is_closing) = watch::channel(false);
    let orders = Orders { configuration: configuration.watch(), closing: is_closing };
    let task = tokio::spawn(Task { facts, broker, orders, seen: None }.run());
    Client { closing, task }
}

impl Client {
    /// Tells the broker the last state of everything, and that this machine is offline. Waits for the broker as long
    /// as that takes on a good link, and no longer.
    pub async fn shut_down(self) {
        self.closing.send_replace(true);
        if timeout(link::PARTING + Duration::from_secs(1), self.task).await.is_err() {
            log::warn!("the MQTT client did not end in time");
        }
    }
}

impl Task {
    async fn run(mut self) {
        loop {
            let current = self.orders.configuration.borrow_and_update().clone();
            let Some(section) = &current.layers.config.mqtt else {
                self.broker.send_replace(None);
                match self.orders.next().await {
                    Order::Look => continue,
                    Order::Close => return,
                }
            };
            let link = Link::new(&mut self, section.clone());
            match AssertUnwindSafe(link.run()).catch_unwind().await {
                Ok(Exit::Reconfigured) => {}
                Ok(Exit::Closed) => return,
                Err(_) => {
                    self.facts.streams.events().say(Event::PartFailed { part: "MQTT client".to_owned() });
                    sleep(REST).await;
                }
            }
        }
    }
}

impl Orders {
    /// The next one. Cancel safe.
    async fn next(&mut self) -> Order {
        if *self.closing.borrow() {
            return Order::Close;
        }
        tokio::select! {
            _ = self.closing.changed() => Order::Close,
            changed = self.configuration.changed() => match changed {
                Ok(()) => Order::Look,
                // The configuration has an end, at the daemon's, and after it comes the order to close.
                Err(_) => match self.closing.changed().await {
                    Ok(()) | Err(_) => Order::Close, // or nobody is left to give orders
                }
            }
        }
    }
}

/// After a panic: what fails at once is not to fill the log.
const REST: Duration = Duration::from_secs(10);
