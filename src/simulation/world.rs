//! The loop of events: streams, and whoever else is there, on one link.

use std::time::{Duration, Instant};

use super::sharing::{SHARED, Sharing};
use super::stream::Stream;
use super::{Outcome, Scenario};
use crate::link::Link;
use crate::link::cubic::Uploads;
use crate::rate::recording::Line;
use crate::units::ByteCount;

/// All that is simulated, at one moment.
pub struct World {
    duration: Duration,
    network: Network,
    first: Stream,
    /// In the order of their starts.
    others: Vec<Stream>,
}

/// What the streams share.
pub struct Network {
    pub uplink: Link,
    pub downlink: Link,
    /// Somebody else's traffic on the uplink.
    uploads: Uploads,
}

impl World {
    pub fn new(scenario: &Scenario, epoch: Instant) -> Self {
        let link = &scenario.link;
        World {
            duration: scenario.duration,
            network: Network { uplink: link.uplink(), downlink: link.downlink(), uploads: link.uploads() },
            first: Stream::new(scenario, 0, epoch),
            others: (1..=scenario.others).map(|number| Stream::new(scenario, number, epoch)).collect(),
        }
    }

    /// To the end of the scenario; what came of the first stream, and what each had of the link.
    pub fn run(mut self) -> Outcome {
        let from = self.duration.saturating_sub(SHARED);
        self.play(from);
        let before = self.network.crossed();
        self.play(self.duration);
        let World { duration, network, first, others } = self;
        let cross = network.crossed() - before;
        let is_shared = !others.is_empty() || network.uploads.delivered().count() > 0;
        let mut first = first.finish(&network);
        if is_shared {
            let others: Vec<Outcome> = others.into_iter().map(|other| other.finish(&network)).collect();
            let streams: Vec<&Outcome> = std::iter::once(&first).chain(&others).collect();
            let capacity = network.uplink.capacity_between(from, duration);
            first.sharing = Some(Sharing::of(&streams, cross, capacity, duration - from));
        }
        first
    }

    /// To the end of the scenario, for what the first stream's controller saw and decided.
    pub fn record(mut self) -> Vec<Line> {
        self.first.record();
        self.play(self.duration);
        self.first.into_lines()
    }

    fn play(&mut self, until: Duration) {
        loop {
            let next = self.streams().map(|stream| stream.next_deadline()).min();
            let Some(now) = next.filter(|now| *now <= until) else { return };
            let World { network, first, others, .. } = self;
            network.uploads.advance(now, &mut network.uplink);
            for stream in std::iter::once(first).chain(others) {
                if stream.next_deadline() <= now {
                    stream.advance(now, network);
                }
            }
        }
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Network {
    /// What the others' uploads got through so far, on the wire.
    fn crossed(&self) -> ByteCount {
        self.uploads.delivered().map(|traffic| traffic.bytes).sum()
    }
}
