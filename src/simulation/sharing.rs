//! Who had what of a link that is shared.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::recorder::BIN;
use super::score::{percent, round};
use super::sender::{PAYLOAD, WIRE_HEADERS};
use super::{Outcome, Timeline};
use crate::units::{Bitrate, ByteCount};

/// Over the last [`SHARED`] of a scenario, on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sharing {
    /// In the order of their starts.
    pub streams: Vec<StreamShare>,
    /// Of what all carried together: what the uploads had.
    pub cross_percent: f64,
    /// Of the link: what all carried together; `None` for a link without a limit.
    pub used_percent: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StreamShare {
    /// Of what all carried together.
    pub percent: f64,
    pub kbps: u64,
    /// As in the score, of its whole time.
    pub late_percent: f64,
    pub lost_percent: f64,
    pub queue_p95_ms: f64,
}

impl Sharing {
    /// What the streams and the uploads (`cross`, on the wire) had in the last `time` of the scenario.
    pub(super) fn of(
        streams: &[&Outcome],
        cross: ByteCount,
        capacity: Option<ByteCount>,
        time: Duration,
    ) -> Sharing {
        let carried: Vec<u64> = streams.iter().map(|stream| carried(&stream.timeline, time)).collect();
        let together = carried.iter().sum::<u64>() + cross.get();
        let share = |bytes: u64| round(percent(bytes, together), 1);
        let streams = (streams.iter().zip(&carried)).map(|(stream, bytes)| StreamShare {
            percent: share(*bytes),
            kbps: Bitrate::as_kbps(ByteCount::new(*bytes) / time),
            late_percent: stream.score.late_percent,
            lost_percent: stream.score.lost_percent,
            queue_p95_ms: stream.score.queue_delay_ms.p95,
        });
        Sharing {
            streams: streams.collect(),
            cross_percent: share(cross.get()),
            used_percent: capacity.map(|capacity| round(percent(together, capacity.get()), 1)),
        }
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, stream) in (1..).zip(&self.streams) {
            writeln!(
                f,
                "stream {number}     {} % of what all carried in the last minute, {} kbit/s; {} % late, {} % lost",
                stream.percent, stream.kbps, stream.late_percent, stream.lost_percent
            )?;
        }
        write!(f, "uploads      {} %", self.cross_percent)?;
        match self.used_percent {
            Some(used) => writeln!(f, "; all together {used} % of the link"),
            None => writeln!(f),
        }
    }
}

/// Bytes on the wire that reached the receiver in the last `time`.
fn carried(timeline: &Timeline, time: Duration) -> u64 {
    let count = (time.as_nanos() / BIN.as_nanos()) as usize;
    let last = timeline.bins.iter().rev().take(count);
    let bytes: u64 = last.map(|bin| bin.delivered.get()).sum();
    bytes * (PAYLOAD + WIRE_HEADERS) / PAYLOAD
}

/// Long enough for streams to have met.
pub const SHARED: Duration = Duration::from_secs(60);
