//! `uplinkd decode-sample`: the child that the daemon starts to see whether what its encoder gives can be decoded.

use std::io;

use clap::Args;
use log::LevelFilter;
use rustix::process::setpriority_process;

use super::Failure;
use super::probe_encoder::{codec, on_its_own};
use crate::config::Codec;
use crate::media;
use crate::probe::sample::{answer, unpacked};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct SampleArguments {
    #[arg(long, value_name = "h264|h265", value_parser = codec)]
    codec: Codec,
}

/// Reads units from standard input and prints one line of JSON.
pub fn run(arguments: &SampleArguments) -> Result<(), Failure> {
    // Before there are further threads, which inherit it. What is on air goes first.
    setpriority_process(None, PRIORITY).map_err(Failure::other)?;
    telemetry::init(LevelFilter::Warn).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    let units = unpacked(&mut io::stdin().lock()).map_err(Failure::other)?;
    let codec = arguments.codec;
    let answer = on_its_own("decode", move || answer(codec, units))?;
    let line = serde_json::to_string(&answer).map_err(Failure::other)?;
    super::say(&format!("{line}\n"))
}

/// Of setpriority(2): behind the stream, and before probes, which take all that they get.
const PRIORITY: i32 = 5;
