//! The demonstration itself: a stream like any other, a bad network, and a receiver that judges.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use toml::{Table, Value};

use super::json::json;
use super::receiver::{self, Receiver, Reception};
use super::status::{Display, Snapshot, line, line_before};
use super::summary::{SenderTotals, Summary, Verdict, table};
use crate::api::{Api, BindError, Facts};
use crate::config::{self, Config, Listen, Problems};
use crate::link::Spec;
use crate::link::relay::Relay;
use crate::machine::SYS;
use crate::media;
use crate::supervisor::status::{SourceState, State, Status};
use crate::supervisor::{StreamHandle, Supervisor};
use crate::units::Bitrate;

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the first encoded picture on.
    pub duration: Duration,
    /// The link as it was written, and what it means.
    pub link: (String, Spec),
    pub save: Option<PathBuf>,
    pub source: Source,
    /// One JSON object in the end, and nothing else.
    pub json: bool,
}

/// Where the picture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A moving picture and a tone, with marks that tell how far they are apart.
    Test,
    /// A clip, looped, with its own sound.
    File(PathBuf),
    /// A V4L2 device, with a tone.
    Device(PathBuf),
}

/// Why nothing can be demonstrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot demonstrate this: {0}")]
    Configuration(#[from] Problems),
    #[error("cannot start the receiver")]
    Receiver(#[from] receiver::Error),
    #[error("cannot start the emulated link")]
    Relay(#[source] io::Error),
    #[error(transparent)]
    Api(#[from] BindError),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot wait for an interrupt")]
    Interrupt(#[source] io::Error),
    #[error("the stream has gone")]
    Gone,
}

/// Runs until the time is over or somebody interrupts it, prints the table, and gives the verdict.
/// GStreamer must have been initialised; needs tokio's multi-threaded runtime.
///
/// # Errors
/// When a part of it cannot be started. A stream that went badly is not an error but a verdict.
pub async fn run(options: Options) -> Result<Verdict, Error> {
    let (spec_text, spec) = options.link;
    let save = options.save.clone();
    let receiver =
        Receiver::start(&receiver::Options { listen: ANY_PORT, latency: LATENCY, encryption: None, save })?;
    if options.source == Source::Test {
        receiver.watch_marks()?;
    }
    let relay = Relay::start(ANY_PORT, receiver.address(), spec).map_err(Error::Relay)?;
    let config = configuration(&options.source, relay.address())?;
    let sound_expected =
        config.streams.values().all(|stream| stream.audio.source != config::AudioSource::None);
    let api = bind_api(&config.api).await?;
    let url = api.urls().concat(); // it listens at one place
    let supervisor = Supervisor::start(config, SYS.into());
    let streams = supervisor.streams();
    let stream = streams.stream(STREAM).ok_or(Error::Gone)?;
    let facts = Facts {
        streams,
        configuration: None, // the command line is
        broker: tokio::sync::watch::channel(None).1,
        ready: Arc::new(AtomicBool::new(true)),
        started: Instant::now(),
        gstreamer: media::version(),
    };
    let api = tokio::spawn(api.serve(facts));
    if !options.json {
        print(&format!("{}\nAPI: curl {url}/v1/streams/{STREAM}\n", headline(&options.source, &spec_text)))?;
    }
    let (totals, quiet) = (Totals::default(), options.json);
    let mut show = Show { receiver: &receiver, begin: None, totals, quiet };
    show.watch(stream.clone(), options.duration).await?;
    let elapsed = show.begin.map_or(Duration::ZERO, |begin| begin.elapsed());
    let nothing_encoded = match show.begin {
        Some(_) => None,
        None => Some(stream.status().reason.unwrap_or_else(|| NO_REASON.to_owned())),
    };
    let drained = supervisor.shut_down();
    tokio::join!(drained, show.follow(stream));
    sleep(RELEASE_MARGIN).await;
    api.abort();
    let totals = show.totals;
    let summary = Summary {
        elapsed,
        encoder: totals.encoder.to_string(),
        link: spec_text,
        sound_expected,
        sender: totals.sender,
        relay: relay.counters(),
        reception: receiver.stop(),
        nothing_encoded,
        source_missing: totals.source_missing,
        saved_to: options.save.map(|path| path.display().to_string()),
    };
    print(&if options.json { json(&summary) } else { table(&summary) })?;
    Ok(Verdict::of(&summary))
}

/// Looks at the stream and at what arrives.
struct Show<'a> {
    receiver: &'a Receiver,
    /// When the first encoded picture was seen. Encoders may have been tried for long before.
    begin: Option<Instant>,
    totals: Totals,
    /// Without the lines.
    quiet: bool,
}

impl Show<'_> {
    /// A line a second, until the time is over or somebody interrupts; or until it is clear that no picture comes.
    async fn watch(&mut self, mut stream: StreamHandle, duration: Duration) -> Result<(), Error> {
        let display = Display::of_stdout();
        let mut tick = interval(LINE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let started = Instant::now();
        let mut end = started + FIRST_PICTURE_WITHIN;
        loop {
            tokio::select! {
                status = stream.next_status() => {
                    let status = status.ok_or(Error::Gone)?;
                    self.totals.add(&status);
                    if self.begin.is_none() && self.totals.sender.frames_encoded > 0 {
                        let now = Instant::now();
                        self.begin = Some(now);
                        end = now + duration;
                    }
                    // It would fail again, and has said why.
                    if self.begin.is_none() && status.state == State::Failed {
                        break;
                    }
                }
                _ = tick.tick(), if !self.quiet => {
                    let line = self.line(started, &stream.status());
                    print(&display.show(&line))?;
                }
                () = sleep_until(end.into()) => break,
                result = &mut interrupted => {
                    result.map_err(Error::Interrupt)?;
                    break;
                }
            }
        }
        if self.quiet { Ok(()) } else { print(display.end()) }
    }

    fn line(&self, started: Instant, status: &Status) -> String {
        match self.begin {
            Some(begin) => line(&snapshot(begin.elapsed(), status, &self.receiver.report())),
            None => line_before(started.elapsed(), status.state.as_str(), status.reason.as_deref()),
        }
    }

    /// Keeps count while the stream drains.
    async fn follow(&mut self, mut stream: StreamHandle) {
        while let Some(status) = stream.next_status().await {
            self.totals.add(&status);
        }
    }
}

/// What the sender counted; the newest figures of each part, since parts leave one by one.
#[derive(Default)]
struct Totals {
    encoder: &'static str,
    sender: SenderTotals,
    /// Why the source has not given a picture yet.
    source_missing: Option<String>,
    source_seen: bool,
}

impl Totals {
    fn add(&mut self, status: &Status) {
        self.source_seen |= status.source.state == SourceState::Live;
        match &status.source.reason {
            Some(_) | None if self.source_seen => self.source_missing = None,
            Some(reason) => self.source_missing = Some(reason.clone()),
            None => {}
        }
        let sender = &mut self.sender;
        if let Some(encoder) = &status.encoder {
            self.encoder = encoder.element;
            sender.target = encoder.target;
            sender.frames_encoded = encoder.frames;
            sender.encoded = encoder.bytes;
            sender.frames_dropped = encoder.dropped_frames;
        }
        if let Some(output) = status.outputs.first() {
            let totals = &output.totals;
            sender.frames_left_out = output.left_out.pictures;
            sender.sent_packets = totals.sent_packets;
            sender.sent = totals.sent_bytes + totals.retransmitted_bytes;
            sender.retransmitted_packets = totals.retransmitted_packets;
            sender.acknowledged = totals.acknowledged_bytes;
            sender.late_packets = totals.late_packets;
            sender.rtt = output.link.as_ref().map_or(sender.rtt, |link| link.rtt);
        }
    }
}

/// The configuration of the demonstration, taken as a user's would be.
fn configuration(source: &Source, output: SocketAddr) -> Result<Config, Problems> {
    let (video, audio) = match source {
        Source::Test => (table_of([("source", "test".into())]), "test"),
        Source::File(path) => (table_of([("source", "file".into()), ("path", absolute(path))]), "file"),
        Source::Device(path) => (table_of([("source", "v4l2".into()), ("device", absolute(path))]), "test"),
    };
    let output = table_of([
        ("name", "receiver".into()),
        ("url", format!("srt://{output}").into()),
        ("latency_ms", Value::Integer(LATENCY.as_millis() as i64)),
    ]);
    let stream = table_of([
        ("enabled", Value::Boolean(true)),
        ("video", Value::Table(video)),
        ("audio", Value::Table(table_of([("source", audio.into())]))),
        ("outputs", Value::Array(vec![Value::Table(output)])),
    ]);
    let document = table_of([("streams", Value::Table(table_of([(STREAM, Value::Table(stream))])))]);
    config::parse(&document.to_string())
}

fn table_of<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// The configuration takes no relative paths: a daemon's working directory is nobody's business.
fn absolute(path: &Path) -> Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Value::String(path.display().to_string())
}

/// The API's usual place, or another where a daemon has it.
async fn bind_api(usual: &config::Api) -> Result<Api, BindError> {
    match Api::bind(usual).await {
        Err(BindError::Tcp { .. }) => {
            let other = config::Api { listen: vec![Listen::Tcp(ANY_PORT)], ..usual.clone() };
            Api::bind(&other).await
        }
        bound => bound,
    }
}

fn headline(source: &Source, link: &str) -> String {
    let source = match source {
        Source::Test => "a test picture and a tone".to_string(),
        Source::File(path) => path.display().to_string(),
        Source::Device(path) => format!("{} and a tone", path.display()),
    };
    let link = if link.is_empty() { "a perfect link" } else { link };
    format!("uplinkd demo: {source} → best encoder → MPEG-TS → SRT → {link} → libsrt receiver")
}

fn snapshot(elapsed: Duration, status: &Status, reception: &Reception) -> Snapshot {
    let output = status.outputs.first();
    let link = output.and_then(|output| output.link.as_ref());
    let has_units = |units: Option<u64>| units.is_some_and(|units| units > 0);
    Snapshot {
        elapsed,
        state: status.state.as_str().to_string(),
        target: status.rate.target,
        encoded: status.encoder.as_ref().map_or(Bitrate::ZERO, |encoder| encoder.encoded),
        sent: output.map_or(Bitrate::ZERO, |output| output.sent),
        acknowledged: output.map_or(Bitrate::ZERO, |output| output.acknowledged),
        delivered: reception.stream.delivered,
        rtt: link.map(|link| link.rtt),
        delay: reception.delay.map(|delay| delay.newest),
        late_packets: output.map_or(0, |output| output.totals.late_packets),
        late_gaps: reception.srt.gaps,
        continuity_errors: reception.stream.continuity_errors(),
        video_frames: reception.stream.video.as_ref().map_or(0, |track| track.units),
        picture: has_units(reception.stream.video.as_ref().map(|track| track.units)),
        sound: has_units(reception.stream.audio.as_ref().map(|track| track.units)),
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

const STREAM: &str = "demo";

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Enough for a round trip of 100 ms with losses to be mended a few times, and not long to wait for.
const LATENCY: Duration = Duration::from_millis(1000);

/// For how long encoders may be tried before the first picture: a probe is killed after 10 s, and a machine with
/// hardware has a dozen to try, of which few hang.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(120);

/// Said where a stream that has encoded nothing does not say why.
const NO_REASON: &str = "the stream gives no reason";

const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// The receiver releases the last packet a latency after its capture, as the sender has waited for;
/// this is for its pipeline to hand it on.
const RELEASE_MARGIN: Duration = Duration::from_millis(300);
