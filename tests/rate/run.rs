//! A run of the daemon over a link, from a plan to figures.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use uplinkd::link::Spec;
use uplinkd::units::Bitrate;

use crate::bench::{Bench, Seen, Stream};
use crate::harness::Daemon;
use crate::score::{Score, Terms};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub link: &'a str,
    pub latency: Duration,
    pub duration: Duration,
    pub clip: &'a Path,
    /// Kilobits per second of sound; `None` for none.
    pub sound_kbps: Option<u32>,
    /// Kilobits per second at which the encoder stays; `None` lets it follow the link.
    pub fixed_kbps: Option<u32>,
}

/// How it went.
pub struct Outcome {
    pub score: Score,
    pub stream: Stream,
    /// The API's, when the time was over.
    pub status: Value,
    pub log: String,
}

impl Plan<'_> {
    /// One stream over the link, from its first packet until all that it sent was released.
    pub fn run(&self) -> Outcome {
        let _one = one_at_a_time();
        let bench = Bench::start(&self.spec(), self.latency, 1);
        let mut daemon = Daemon::start(&self.stream(bench.ports()[0]));
        bench.wait_until(self.duration);
        let status = daemon.status();
        end(&mut [&mut daemon], self.latency);
        let Seen { mut streams, .. } = bench.finish();
        let stream = streams.remove(0);
        let score = stream.recording.score(&self.terms());
        let score = score.unwrap_or_else(|| panic!("no stream\n{status:#}\n{}", daemon.log()));
        let outcome = Outcome { score, stream, status, log: daemon.log() };
        eprintln!("{} at {:?}: {:?}", self.link, self.latency, outcome.score);
        outcome
    }

    pub fn spec(&self) -> Spec {
        self.link.parse().expect("a link")
    }

    pub fn terms(&self) -> Terms {
        Terms::new(&self.spec(), self.latency, self.duration, Bitrate::from_kbps(MAX_KBPS))
    }

    /// The daemon's configuration for a receiver at `port` of the loopback.
    pub fn stream(&self, port: u16) -> String {
        let audio = match self.sound_kbps {
            Some(kbps) => format!("source = \"test\"\nbitrate_kbps = {kbps}"),
            None => "source = \"none\"".to_owned(),
        };
        let rate = match self.fixed_kbps {
            Some(kbps) => format!("start_kbps = {kbps}\nadaptive = false"),
            None => format!("start_kbps = {START_KBPS}\nadaptive = true"),
        };
        format!(
            r#"
[streams.main]
enabled = true

[streams.main.video]
source = "file"
path = {clip:?}
width = 640
height = 360
framerate = 30
encoder = "software"

[streams.main.audio]
{audio}

[streams.main.rate]
min_kbps = {MIN_KBPS}
max_kbps = {MAX_KBPS}
{rate}

[[streams.main.outputs]]
name = "studio"
url = "srt://127.0.0.1:{port}"
latency_ms = {latency}
"#,
            clip = self.clip,
            latency = self.latency.as_millis(),
        )
    }
}

impl Outcome {
    /// Nothing was given up on the way, and nothing was released too late.
    pub fn assert_nothing_lost_or_late(&self) {
        let Score { lost_pkts, loss_episodes, late_pct, .. } = self.score;
        assert_eq!((lost_pkts, loss_episodes, late_pct), (0, 0, 0.0), "{:?}\n{}", self.score, self.log);
        assert_eq!(self.status["outputs"][0]["late_packets"], 0, "{:#}", self.status);
    }
}

/// Until the test that asked is over, no other goes on: also for those that do more than [`Plan::run`].
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    gst::init().expect("GStreamer starts");
    // A test that failed has left nothing behind that the next one could stumble over.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the senders drain, and what they sent be released.
pub fn end(daemons: &mut [&mut Daemon], latency: Duration) {
    daemons.iter().for_each(|daemon| daemon.signal("TERM"));
    for daemon in &mut *daemons {
        let exit = daemon.wait(latency + Duration::from_secs(5));
        assert!(exit.success(), "{}", daemon.log());
    }
    std::thread::sleep(latency + RELEASE_MARGIN);
}

/// Looks every 10 ms; how long it took until `holds`, or `None` after the time-out.
pub fn time_until(timeout: Duration, mut holds: impl FnMut() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < timeout {
        if holds() {
            return Some(begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// What the link lab's runs allow the picture, so that figures can be compared.
pub const MIN_KBPS: u64 = 500;
pub const MAX_KBPS: u64 = 6000;
pub const START_KBPS: u64 = 1500;
/// The last packet is released a latency after it was sent; then the receiver hands it on.
pub const RELEASE_MARGIN: Duration = Duration::from_millis(500);
