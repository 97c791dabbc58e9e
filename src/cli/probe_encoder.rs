//! `uplinkd probe-encoder`: the child that `devices` and the daemon start to try an encoder. A driver that
//! hangs or crashes takes only this process along.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use log::LevelFilter;

use super::Failure;
use crate::config::{Codec, Framerate, Word};
use crate::media::{self, EncoderInfo, Mode};
use crate::probe::child::{self, Answer};
use crate::probe::plan::Request;
use crate::telemetry;

#[derive(Debug, Args)]
pub struct ProbeArguments {
    /// GStreamer's name of the encoder
    #[arg(long, value_name = "NAME")]
    element: String,
    #[arg(long, value_name = "h264|h265", value_parser = codec)]
    codec: Codec,
    #[arg(long, value_name = "W")]
    width: u32,
    #[arg(long, value_name = "H")]
    height: u32,
    /// A whole number, or a fraction such as 30000/1001
    #[arg(long, value_name = "N", value_parser = framerate)]
    framerate: Framerate,
    /// How much it is to try, where it has a choice of that
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

/// Prints one line of JSON, also where the encoder cannot be tried.
pub fn run(arguments: &ProbeArguments) -> Result<(), Failure> {
    telemetry::init(LevelFilter::Warn).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    let answer = match request(arguments) {
        Ok(request) => on_its_own("probe", move || child::answer(&request))?,
        Err(reason) => Answer::NotTried(reason),
    };
    let line = serde_json::to_string(&answer).map_err(Failure::other)?;
    super::say(&format!("{line}\n"))
}

/// On a thread of its own, which a hanging driver keeps: a child whose parent was killed ends all the same.
pub(super) fn on_its_own<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel();
    let try_it = move || {
        if sender.send(work()).is_err() {
            log::warn!("there is an answer, but too late");
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(try_it).map_err(Failure::other)?;
    receiver.recv_timeout(LAST_MOMENT).map_err(|_| Failure::plain("a driver or decoder hangs, or panics"))
}

fn request(arguments: &ProbeArguments) -> Result<Request, String> {
    let ProbeArguments { element, codec, width, height, framerate, preset } = arguments;
    let is_meant = |info: &&EncoderInfo| info.element == element && info.codec == *codec;
    let info = media::back_ends()
        .find(is_meant)
        .ok_or_else(|| format!("this version has no encoder {element} for {codec}"))?;
    let preset = match preset {
        Some(name) => {
            let known = info.presets.iter().find(|preset| *preset == name);
            Some(*known.ok_or_else(|| format!("{element} has no preset {name}"))?)
        }
        None => None,
    };
    Ok(Request { info, mode: Mode { width: *width, height: *height, framerate: *framerate }, preset })
}

pub(super) fn codec(text: &str) -> Result<Codec, String> {
    let known = Codec::WORDS.iter().find(|(word, _)| *word == text);
    known.map(|(_, codec)| *codec).ok_or_else(|| "write h264 or h265".to_owned())
}

fn framerate(text: &str) -> Result<Framerate, String> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    let rate = numerator.parse().ok().zip(denominator.parse().ok());
    rate.and_then(|(numerator, denominator)| Framerate::new(numerator, denominator))
        .ok_or_else(|| "write 1 to 240, or a fraction such as 30000/1001".to_owned())
}

/// Beyond every parent's limit.
const LAST_MOMENT: Duration = Duration::from_secs(30);
