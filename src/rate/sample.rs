//! What a controller sees.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Bitrate, ByteCount};

/// An output's link and queue at one moment. Counters run from the connection's start and count
/// bytes of the transport stream (headers of SRT and below are not in them).
///
/// Samples are taken every 20 ms. They may come late, twice or out of order: a controller takes from
/// each what is sound, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkSample {
    /// Since the connection began.
    #[serde(with = "micros")]
    pub at: Duration,
    /// What the receiver holds packets for, as negotiated.
    #[serde(with = "micros")]
    pub latency: Duration,
    /// Smoothed, as the receiver measures it; zero before there is one.
    #[serde(with = "micros")]
    pub rtt: Duration,
    #[serde(with = "micros")]
    pub rtt_variance: Duration,
    /// The shortest round trip since the last sample, unsmoothed; `None` where nothing told.
    #[serde(with = "optional_micros")]
    pub fresh_rtt: Option<Duration>,
    /// The shortest round trip of the last 15 s.
    #[serde(with = "micros")]
    pub base_rtt: Duration,
    /// Known to have left the network: acknowledged, reported around by the receiver's loss reports, or
    /// given up and passed by an acknowledgement.
    pub arrived: ByteCount,
    /// Taken over by the transport.
    pub handed_over: ByteCount,
    /// Sent, and neither acknowledged nor given up.
    pub send_buffer: ByteCount,
    /// Sent, and not known to have arrived or to be gone: what was given up as well.
    pub in_network: ByteCount,
    /// Not sent yet: in the GOP queue, or behind it until the pace allows it.
    pub waiting: ByteCount,
    /// Age of the oldest byte that has not been acknowledged, in the send buffer or in the queue
    /// before it; zero where there is none.
    #[serde(with = "micros")]
    pub oldest: Duration,
    /// Since the oldest packet in flight was last sent, for the first time or again; zero where
    /// nothing is in flight.
    #[serde(with = "micros")]
    pub oldest_sent: Duration,
    /// Since the receiver last said anything new about data, arrived or lost, while something was in the
    /// network; zero where nothing is.
    #[serde(with = "micros")]
    pub heard: Duration,
    /// Packets: first transmissions, repeated ones, reported lost, given up as too late.
    pub sent: u64,
    pub retransmitted: u64,
    pub lost: u64,
    pub late: u64,
    /// Pictures left out of the queue before the transport, over all the output's connections.
    pub left_out: u64,
    /// All that there was to send has been sent: what arrives is then the stream's rate, not the link's.
    pub limited_by_application: bool,
    /// What the encoders give together, over the last second; `None` before it is known.
    pub encoded: Option<Bitrate>,
}

impl LinkSample {
    /// As it is recorded: to the microsecond. Controllers go by this, so that a recording decides the same.
    pub fn rounded(&self) -> LinkSample {
        let whole = |time: Duration| Duration::from_micros(micros::whole(time));
        LinkSample {
            at: whole(self.at),
            latency: whole(self.latency),
            rtt: whole(self.rtt),
            rtt_variance: whole(self.rtt_variance),
            fresh_rtt: self.fresh_rtt.map(whole),
            base_rtt: whole(self.base_rtt),
            oldest: whole(self.oldest),
            oldest_sent: whole(self.oldest_sent),
            heard: whole(self.heard),
            ..*self
        }
    }

    /// Everything that waits to be acknowledged, wherever it waits.
    pub fn backlog(&self) -> ByteCount {
        self.send_buffer + self.waiting
    }
}

/// Durations as whole microseconds, which a JSON number holds exactly.
mod micros {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(whole(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }

    pub fn whole(time: Duration) -> u64 {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }
}

mod optional_micros {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(micros::whole).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}
