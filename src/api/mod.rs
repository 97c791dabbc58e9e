//! The HTTP API: reads statuses, hands commands and changes of the configuration over, knows nothing else.
//!
//! [`listen`] lets connections in and bounds them ([`admission`]), [`connection`] speaks TLS and HTTP with
//! each, and [`secured`] stands before the [`routes`]: a browser that is led here by a foreign page is turned
//! away by [`guard`], and who has neither token nor session by [`access`]. [`page`] is what people look at.

mod access;
mod admission;
mod attempts;
pub mod body;
mod broker;
pub mod capabilities;
pub mod client;
mod configuration;
mod connection;
pub mod devices;
pub mod events;
mod exposition;
mod guard;
mod handshakes;
pub mod info;
pub mod keys;
mod listen;
mod metrics;
mod page;
pub mod problem;
mod process;
mod rate;
mod routes;
mod seat;
mod secured;
mod series;
mod session;
mod settings;
mod snapshot;
pub mod streams;
pub mod trust;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::watch;

pub use self::broker::Broker;
pub use self::listen::{Api, BindError, Locks, not_permitted};
pub use self::routes::description;
use crate::reconfigure::Handle;
use crate::supervisor::Streams;

/// What the API cannot find out by itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub streams: Streams,
    /// `None` where the configuration is a command line's, and nobody can change it.
    pub configuration: Option<Handle>,
    /// The connection to the MQTT broker; `None` where none is configured.
    pub broker: watch::Receiver<Option<Broker>>,
    /// Raised while the daemon is up and not draining.
    pub ready: Arc<AtomicBool>,
    pub started: Instant,
    /// The version of GStreamer in use.
    pub gstreamer: String,
}
