//! `uplinkd simulate`: the controller over a link that does not exist, much faster than real time.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use crate::config::file;
use crate::config::{AudioSource, Stream, StreamName};
use crate::link::{self, Spec, Trace};
use crate::rate::recording::{Line, Replay};
use crate::rate::{AAC_FRAMES, Bounds, Law, Settings};
use crate::simulation::report::Report;
use crate::simulation::{EncoderModel, Scenario, picture};
use crate::units::Bitrate;

#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// The network: rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s
    #[arg(long, value_name = "SPEC", default_value = "")]
    link: String,
    /// A recorded link's capacity in place of a rate: a Mahimahi trace, or "ms,kbit/s" a line
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Take rates, latency, key frames and sound from a configuration
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Which of the configuration's streams, if it has several
    #[arg(long, value_name = "NAME", requires = "config")]
    stream: Option<String>,
    /// Of the receiver's buffer, in place of the configuration's, or of 2000
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(20..=30_000))]
    latency: Option<u64>,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Lowest rate of the picture
    #[arg(long, value_name = "KBPS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    min_kbps: Option<u64>,
    /// Highest rate of the picture
    #[arg(long, value_name = "KBPS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_kbps: Option<u64>,
    /// Rate of the picture at the start
    #[arg(long, value_name = "KBPS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    start_kbps: Option<u64>,
    /// So many streams on the same link; the figures are the first one's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    streams: u8,
    /// Each begins so long after the one before
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    apart: u64,
    /// How the encoder behaves: follow=1s,rise=1s,overshoot=0.3,noise=0.15,peak=3.5,floor=110k,keys-on-change=yes,still=20s+60s
    #[arg(long, value_name = "MODEL", default_value = "")]
    encoder: String,
    /// Other constants of the law, as its source names them, to look for better ones: growth=0.5,drain=900ms
    #[arg(long, value_name = "CONSTANTS", default_value = "", hide = true)]
    law: String,
    /// One JSON object in place of text
    #[arg(long)]
    json: bool,
    /// Draw what happened
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Keep every sample and decision, as the flight recorder does
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Decide again what a flight recorder has kept, and compare; no link is simulated
    #[arg(long, value_name = "FILE", exclusive = true)]
    replay: Option<PathBuf>,
}

/// Simulates, and tells how it went.
pub fn run(arguments: &SimulateArguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.replay {
        return replay(path);
    }
    let scenario = scenario(arguments)?;
    let begin = Instant::now();
    let outcome = scenario.run(begin);
    let real = begin.elapsed();
    if let Some(path) = &arguments.svg {
        write("--svg", path, &picture::draw(&scenario, &outcome))?;
    }
    if let Some(path) = &arguments.record {
        write("--record", path, &lines(&scenario.record(begin))?)?;
    }
    let report = Report::new(&scenario, outcome, real);
    if arguments.json {
        let object = serde_json::to_string(&report).map_err(Failure::other)?;
        super::say(&format!("{object}\n"))
    } else {
        super::say(&report.to_string())
    }
}

/// Prints what is decided now for each recorded step, and fails where that is not what was decided then.
fn replay(path: &Path) -> Result<(), Failure> {
    let complaint =
        |problem: &dyn Display| Failure::configuration(format!("--replay: {}: {problem}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| complaint(&error))?;
    let (mut replay, mut decisions, mut differing) = (Replay::default(), String::new(), 0);
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let in_line = |problem: &dyn Display| complaint(&format!("line {number}: {problem}"));
        let line: Line = serde_json::from_str(line).map_err(|error| in_line(&error))?;
        let Some((now, then)) = replay.next(line).map_err(|error| in_line(&error))? else { continue };
        let now = serde_json::to_string(&now).map_err(Failure::other)?;
        differing += usize::from(now != serde_json::to_string(&then).map_err(Failure::other)?);
        decisions.push_str(&now);
        decisions.push('\n');
    }
    super::say(&decisions)?;
    match differing {
        0 => Ok(()),
        _ => Err(Failure::plain(&format!("{differing} decisions are not those of the recording"))),
    }
}

/// A recording as JSON, a line each.
fn lines(recording: &[Line]) -> Result<String, Failure> {
    let mut text = String::new();
    for line in recording {
        text.push_str(&serde_json::to_string(line).map_err(Failure::other)?);
        text.push('\n');
    }
    Ok(text)
}

fn write(argument: &str, path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|error| Failure::configuration(format!("{argument}: {}: {error}", path.display())))
}

fn scenario(arguments: &SimulateArguments) -> Result<Scenario, Failure> {
    let mut link: Spec = arguments.link.parse().map_err(named("--link"))?;
    if let Some(path) = &arguments.trace {
        let name =
            |error: &dyn Display| Failure::configuration(format!("--trace: {}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| name(&error))?;
        link = link.with_trace(text.parse::<Trace>().map_err(|error| name(&error))?);
    }
    let mut encoder: EncoderModel = arguments.encoder.parse().map_err(named("--encoder"))?;
    let stream =
        arguments.config.as_deref().map(|path| stream(path, arguments.stream.as_deref())).transpose()?;
    let mut bounds = DEFAULT_BOUNDS;
    let mut latency = DEFAULT_LATENCY;
    let mut adaptive = true;
    if let Some(Stream { video, audio, rate, outputs, .. }) = &stream {
        encoder.interval = video.framerate.frame_duration();
        encoder.key_interval = video.keyframe_interval;
        encoder.sound = (audio.source != AudioSource::None).then_some(audio.bitrate);
        bounds = Bounds { min: rate.min, max: rate.max, start: rate.start };
        adaptive = rate.adaptive;
        let lead = outputs.iter().find(|output| output.lead).or(outputs.first());
        latency = lead.map_or(latency, |output| output.latency);
    }
    let kbps = |given: Option<u64>, other| given.map_or(other, Bitrate::from_kbps);
    bounds.min = kbps(arguments.min_kbps, bounds.min);
    bounds.max = kbps(arguments.max_kbps, bounds.max);
    // A start that was not asked for gives way to the bounds that were.
    let start = bounds.start.min(bounds.max).max(bounds.min);
    bounds.start = kbps(arguments.start_kbps, start);
    if !(bounds.min <= bounds.start && bounds.start <= bounds.max) {
        return Err(Failure::configuration(format!(
            "rates: the lowest ({}), the start ({}) and the highest ({}) are not in this order; \
             write --min-kbps, --start-kbps and --max-kbps that are",
            bounds.min, bounds.start, bounds.max
        )));
    }
    let settings = Settings {
        bounds,
        adaptive,
        sound: encoder.sound.unwrap_or(Bitrate::ZERO),
        sound_frames: AAC_FRAMES, // as the model of the encoder gives it
        framerate: 1.0 / encoder.interval.as_secs_f64(),
    };
    Ok(Scenario {
        link,
        latency: arguments.latency.map_or(latency, Duration::from_millis),
        duration: Duration::from_secs(arguments.seconds),
        settings,
        law: law(&arguments.law)?,
        encoder,
        others: usize::from(arguments.streams) - 1,
        apart: Duration::from_millis(arguments.apart),
    })
}

/// The stream that is meant; with only one, that one.
fn stream(path: &Path, name: Option<&str>) -> Result<Stream, Failure> {
    let config = file::load(path).map_err(Failure::configuration)?;
    let names: Vec<&str> = config.streams.keys().map(StreamName::as_str).collect();
    let found = match name {
        Some(name) => config.streams.iter().find(|(known, _)| known.as_str() == name),
        None => config.streams.iter().next().filter(|_| names.len() == 1),
    };
    found.map(|(_, stream)| stream.clone()).ok_or_else(|| {
        Failure::configuration(format!(
            "{}: it is not clear which stream is meant; write --stream and one of: {}",
            path.display(),
            names.join(", ")
        ))
    })
}

/// The law's constants with those of `key=value,…` in their place.
fn law(overrides: &str) -> Result<Law, Failure> {
    let wrong = |part: &str, problem: &str| Failure::configuration(format!("--law: {part:?}: {problem}"));
    let mut constants = serde_json::to_value(Law::default()).map_err(Failure::other)?;
    for part in overrides.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| wrong(part, "write KEY=VALUE"))?;
        let constant = constants.get_mut(key).ok_or_else(|| wrong(part, "no such constant"))?;
        *constant = if constant.is_number() {
            let number: f64 = value.parse().map_err(|_| wrong(part, "write a number"))?;
            number.into()
        } else {
            let time = link::time(value).map_err(|_| wrong(part, "write a time, such as 180ms"))?;
            serde_json::to_value(time).map_err(Failure::other)?
        };
    }
    serde_json::from_value(constants).map_err(Failure::other)
}

/// Says which argument cannot be read.
fn named<E: Display>(argument: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::configuration(format!("{argument}: {error}"))
}

/// As `config` has them where nothing is written.
const DEFAULT_BOUNDS: Bounds =
    Bounds { min: Bitrate::from_kbps(300), max: Bitrate::from_kbps(6_000), start: Bitrate::from_kbps(1_500) };
const DEFAULT_LATENCY: Duration = Duration::from_millis(2_000);
