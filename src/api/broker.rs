//! How the connection to the MQTT broker does: told by [`mqtt`](crate::mqtt), shown by `/v1/info` and `/metrics`.

use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::wire::rfc3339;

/// The connection, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// As configured.
    pub url: String,
    /// What this machine's topics begin with.
    pub topic: String,
    /// The protocol's version, while there is a connection.
    pub version: Option<&'static str>,
    /// Since when there is a connection, or none.
    pub since: Instant,
    /// Why there is none.
    pub reason: Option<String>,
}

/// The same as `/v1/info` shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = Mqtt)]
pub struct Shown {
    url: String,
    /// What this machine's topics begin with.
    topic: String,
    connected: bool,
    /// The version of MQTT that is spoken.
    version: Option<&'static str>,
    /// RFC 3339: since when there is a connection, or none.
    since: Option<String>,
    /// Why there is none.
    reason: Option<String>,
}

impl Broker {
    pub fn is_connected(&self) -> bool {
        self.version.is_some()
    }
}

impl From<&Broker> for Shown {
    fn from(broker: &Broker) -> Shown {
        let Broker { url, topic, version, since, reason } = broker;
        Shown {
            url: url.clone(),
            topic: topic.clone(),
            connected: broker.is_connected(),
            version: *version,
            since: rfc3339(*since),
            reason: reason.clone(),
        }
    }
}
