//! `uplinkd demo`: the whole job on this machine, for people who want to see it before they believe it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use log::LevelFilter;

use super::Failure;
use crate::demo::run::{self as demo, Error, Options, Source};
use crate::link::Spec;
use crate::{media, telemetry};

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// How long, from the first encoded picture on; an interrupt (Ctrl-C) ends it earlier, with the summary
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// The network between: rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s
    #[arg(long, value_name = "SPEC", default_value = "")]
    link: String,
    /// Write what the receiver gets to a file
    #[arg(long, value_name = "FILE.ts")]
    save: Option<PathBuf>,
    /// test, a clip, or a capture device below /dev
    #[arg(long, value_name = "test|FILE|/dev/videoN", default_value = "test")]
    source: PathBuf,
    /// Print one JSON object in the end, and nothing else
    #[arg(long)]
    json: bool,
}

/// Success is a receiver that saw no gap beyond packets that were counted as too late.
pub fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let DemoArguments { seconds, link, save, source, json } = arguments;
    let spec: Spec = link.parse().map_err(|error| Failure::configuration(format!("--link: {error}")))?;
    telemetry::init(LevelFilter::Warn).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    let duration = Duration::from_secs(seconds);
    let options = Options { duration, link: (link, spec), save, source: source_of(&source), json };
    let verdict = super::block_on(demo::run(options))?.map_err(|error| match error {
        Error::Configuration(_) => Failure::configuration(error),
        other => Failure::other(other),
    })?;
    if verdict.is_success() { Ok(()) } else { Err(Failure::plain("the receiver saw defects: see above")) }
}

fn source_of(source: &Path) -> Source {
    if source == Path::new("test") {
        Source::Test
    } else if source.starts_with("/dev") {
        Source::Device(source.to_owned())
    } else {
        Source::File(source.to_owned())
    }
}
