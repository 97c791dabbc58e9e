//! The encoder back ends: one row each. Nothing about an encoder stands anywhere else.
//!
//! A row ([`Backend`]) says which element of which versions of GStreamer it is, in which unit and where it
//! is told its rate, what a change costs, how its buffer and groups of pictures are set, what it takes and
//! how that gets to it, what it cannot do, and how a key frame is asked for. What others may know of a row
//! is its [`EncoderInfo`].
//!
//! Reading order: this file, `backend` (what a row says), `setting` (properties by name), `running` (an
//! encoder in a pipeline), `import` (pictures that it takes without a copy), then the rows, a family a file.

mod backend;
mod import;
mod nvidia;
mod openh264;
mod qsv;
mod rockchip;
mod running;
mod setting;
mod v4l2;
mod vaapi;
mod x264;

use std::time::Duration;

use self::backend::Backend;
pub(super) use self::backend::Settings;
pub(super) use self::running::Encoder;
use super::error::Error;
use super::heap::Heap;
use super::memory::{self, Way};
use crate::config::{Codec, EncoderChoice, Framerate, Video};
use crate::units::Bitrate;

/// What a stream's pictures are encoded with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderInfo {
    /// The family, as in `video.encoder` where it stands there.
    pub backend: &'static str,
    /// GStreamer's name of the element.
    pub element: &'static str,
    /// The Debian package that holds it, or its vendor's.
    pub package: &'static str,
    pub codec: Codec,
    pub hardware: bool,
    /// Smallest relative change of its rate that is worth making: 0.02 is 2 %.
    pub rate_step: f64,
    /// Least time between two changes of its rate.
    pub rate_interval: Duration,
    /// Whether each change of its rate brings a key frame.
    pub rate_change_is_key_frame: bool,
    /// Whether its pictures can change in size and rate while it runs ([`super::Encode::reduce`]).
    pub resizes: bool,
    /// How much it can be told to try, from most to least; empty where it has no choice, or none that is worth it.
    pub presets: &'static [&'static str],
    pub limits: Limits,
    /// How pictures get to it that are in the first of its pixel formats.
    pub memory: MemoryPath,
}

/// What a back end can do at the most, wherever it runs. What the hardware at hand allows may be less:
/// [`offers`] asks the element too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub max_width: u32,
    pub max_height: u32,
    /// Pictures a second, below which it does not work: of the full mode and of a reduced one.
    pub min_framerate: f64,
    /// A higher target is told as this one.
    pub max_bitrate: Bitrate,
    /// Bytes of which a picture's lines are a multiple in its memory: a picture of another width is laid out
    /// anew by the copy that it takes in any case.
    pub stride: u32,
}

/// How a picture gets from system memory into an encoder that imports nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPath {
    /// The element that changes its format or its memory, where one is needed.
    pub converter: Option<&'static str>,
    /// Times that the picture is copied on the way, within the encoder too; a conversion is one.
    pub copies: u32,
    pub description: &'static str,
}

/// How pictures get into an encoder that runs, by the newest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryInUse {
    /// As in [`MemoryPath`], as is what follows.
    pub converter: Option<&'static str>,
    pub copies: u32,
    pub description: &'static str,
    /// Why there are copies, where the encoder could do without.
    pub reason: Option<String>,
}

/// A back end and whether it can be tried here.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pub info: &'static EncoderInfo,
    /// Why not, and what would help. That there is a reason to try does not mean that it works: a driver
    /// may still refuse, which only a probe shows.
    pub unavailable: Option<String>,
}

/// Every back end that `choice` and `codec` allow, in order of preference: hardware before software, those
/// that change their rate without a key frame before those that do not, the legacy one last. Empty where
/// `choice` names an element that is not in the table. [`init`](super::init) comes first.
pub fn offers(
    choice: &EncoderChoice,
    codec: Codec,
    width: u32,
    height: u32,
    framerate: Framerate,
) -> Vec<Offer> {
    candidates(choice, codec)
        .map(|backend| Offer {
            info: &backend.info,
            unavailable: backend.obstacle(width, height, framerate).map(|obstacle| obstacle.to_string()),
        })
        .collect()
}

/// Whether pictures in DMABufs could get into this encoder without a copy here, the slate's with one; else why not.
/// `None`: it imports nothing. What a driver makes of a camera's memory, only the stream shows.
pub fn import(info: &EncoderInfo) -> Option<Result<(), String>> {
    let backend = row(info);
    backend.import?;
    let no_heap = Heap::open().err().map(|error| error.to_string());
    let facts = memory::Facts {
        imports: true,
        pixels: backend.native_pixels(),
        native: backend.pixels,
        width: info.limits.stride,
        stride: info.limits.stride,
        no_heap: no_heap.as_deref(),
        refused: None,
    };
    Some(match memory::way(&facts) {
        Way::Imported => Ok(()),
        Way::Copied { because } => Err(because.unwrap_or_default()),
    })
}

/// The element that cuts a stream of this codec into access units.
pub(super) fn parser(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264parse",
        Codec::H265 => "h265parse",
    }
}

/// All back ends that this version knows, in order of preference.
pub fn back_ends() -> impl Iterator<Item = &'static EncoderInfo> {
    BACKENDS.iter().map(|backend| &backend.info)
}

/// The row of a back end.
pub(super) fn row(info: &EncoderInfo) -> &'static Backend {
    BACKENDS
        .iter()
        .find(|backend| backend.info.element == info.element)
        .expect("every EncoderInfo is that of a row: nobody else makes one")
}

/// The back end to begin with that fits the configuration and that this machine seems to have. Left to
/// itself (`auto`) it is software where there is some, since nothing here has proven that hardware works;
/// what is named is taken at its word.
///
/// # Errors
/// When there is none: with the reason of each that was asked for.
pub(super) fn choose(video: &Video) -> Result<&'static EncoderInfo, Error> {
    let Video { encoder: choice, codec, width, height, framerate, .. } = video;
    let mut wanted: Vec<&'static Backend> = candidates(choice, *codec).collect();
    if *choice == EncoderChoice::Auto {
        wanted.sort_by_key(|backend| backend.info.hardware); // stable: else in order of preference
    }
    let mut obstacles = Vec::new();
    for backend in wanted {
        match backend.obstacle(*width, *height, *framerate) {
            None => return Ok(&backend.info),
            Some(obstacle) => obstacles.push((backend, obstacle)),
        }
    }
    Err(match obstacles.as_slice() {
        [(backend, obstacle)] if obstacle.is_missing_package() => {
            Error::MissingElement { element: backend.info.element, package: backend.info.package }
        }
        [] => unavailable(video, format!("this version has {}", known_backends())),
        several => {
            let reason =
                |(backend, obstacle): &(&Backend, _)| format!("{}: {obstacle}", backend.info.element);
            unavailable(video, several.iter().map(reason).collect::<Vec<_>>().join("; "))
        }
    })
}

fn unavailable(video: &Video, reason: String) -> Error {
    let what = format!("video.encoder = \"{}\" with video.codec = \"{}\"", video.encoder, video.codec);
    Error::Unavailable { what, reason }
}

fn candidates(choice: &EncoderChoice, codec: Codec) -> impl Iterator<Item = &'static Backend> {
    BACKENDS.iter().copied().filter(move |backend| backend.info.codec == codec && backend.is(choice))
}

fn known_backends() -> String {
    let rows = back_ends().map(|info| format!("{} ({}, {})", info.element, info.backend, info.codec));
    rows.collect::<Vec<_>>().join(", ")
}

/// In order of preference, as [`offers`] promises it.
static BACKENDS: &[&Backend] = &[
    &qsv::H264,
    &qsv::H265,
    &nvidia::CUDA_H264,
    &nvidia::CUDA_H265,
    &nvidia::NVENC_H264,
    &nvidia::NVENC_H265,
    &nvidia::AUTO_H264,
    &nvidia::AUTO_H265,
    &nvidia::JETSON_H264,
    &nvidia::JETSON_H265,
    &v4l2::H264,
    &v4l2::H265,
    &rockchip::H264,
    &rockchip::H265,
    &vaapi::LOW_POWER_H264,
    &vaapi::LOW_POWER_H265,
    &vaapi::H264,
    &vaapi::H265,
    &x264::H264,
    &openh264::H264,
    &vaapi::LEGACY_H264,
];

#[cfg(test)]
mod tests;
