//! A link in real time with a libsrt receiver behind each of its routes, and what was seen there.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use uplinkd::demo::receiver::{Options, Receiver, Reception};
use uplinkd::link::Spec;
use uplinkd::link::relay::Relay;

use crate::score::{BIN, Recording};

/// Receivers at the end of one link, each with a route of its own.
pub struct Bench {
    relay: Relay,
    receivers: Vec<Receiver>,
}

/// What a bench has seen.
pub struct Seen {
    /// Of each stream.
    pub streams: Vec<Stream>,
    /// When, by the receivers' clock, the link's time began.
    pub began: Duration,
}

/// One stream, as it came to the link and as it was released.
pub struct Stream {
    pub recording: Recording,
    pub reception: Reception,
}

impl Bench {
    /// Records from now on. GStreamer must have been initialised.
    pub fn start(link: &Spec, latency: Duration, streams: usize) -> Bench {
        let options = Options { listen: ANY, latency, encryption: None, save: None };
        let receivers: Vec<Receiver> =
            (0..streams).map(|_| Receiver::start(&options).expect("a receiver starts")).collect();
        receivers.iter().for_each(Receiver::record);
        let routes: Vec<_> = receivers.iter().map(|receiver| (ANY, receiver.address())).collect();
        let relay = Relay::start_shared(&routes, link.clone()).expect("the relay starts");
        relay.record();
        Bench { relay, receivers }
    }

    /// Where the sender of each stream has to call.
    pub fn ports(&self) -> Vec<u16> {
        self.relay.addresses().iter().map(SocketAddr::port).collect()
    }

    /// The link's time: since a sender's first packet.
    pub fn elapsed(&self) -> Duration {
        self.relay.elapsed()
    }

    /// Waits for the first packet of a sender; whether it came.
    pub fn starts_within(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        while self.elapsed() == Duration::ZERO && begun.elapsed() < patience {
            std::thread::sleep(STEP);
        }
        self.elapsed() > Duration::ZERO
    }

    /// Until the link is that old.
    pub fn wait_until(&self, time: Duration) {
        assert!(self.starts_within(CALL), "no sender called within {CALL:?}");
        while let Some(left) = time.checked_sub(self.elapsed()).filter(|left| !left.is_zero()) {
            std::thread::sleep(left.min(STEP));
        }
    }

    /// Ends it. The senders must have ended, and what they sent must have been released.
    pub fn finish(self) -> Seen {
        let now: Duration = gst::prelude::ClockExt::time(&gst::SystemClock::obtain()).into();
        let end = self.relay.elapsed();
        let bins = (end.as_nanos() / BIN.as_nanos()) as u32;
        let between = |bin| self.relay.capacity_between(BIN * bin, BIN * (bin + 1));
        // What an unlimited link could carry is what nobody asks for.
        let capacity: Vec<u64> =
            (0..bins).map(|bin| between(bin).map_or(UNLIMITED, |bytes| bytes.get())).collect();
        let (passages, routes) = (self.relay.take_record(), self.relay.routes());
        let streams = self.receivers.into_iter().enumerate().map(|(route, receiver)| {
            let messages = receiver.take_record();
            let recording = Recording {
                capacity: capacity.clone(),
                passages: passages.iter().filter(|passage| passage.route == route).copied().collect(),
                sent_messages: routes[route].srt_up.unique,
                messages,
            };
            Stream { recording, reception: receiver.stop() }
        });
        Seen { streams: streams.collect(), began: now - end }
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// For a daemon that is ready to call, on a busy machine.
const CALL: Duration = Duration::from_secs(20);
/// How often the time is looked at.
const STEP: Duration = Duration::from_millis(20);
/// Bytes in 100 ms: 1 Gbit/s.
const UNLIMITED: u64 = 12_500_000;
