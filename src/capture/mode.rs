//! Which of a device's formats, sizes and frame rates a stream takes.
//!
//! In this order:
//! 1. a rate of at least half of what is wanted, so that a huge slide show is not preferred to a picture;
//! 2. the wanted size, else the nearest that covers it, else the nearest below;
//! 3. at least the wanted rate, else the nearest below;
//! 4. the least work: raw as the encoder takes it, raw that is converted, MJPEG, which is decoded; formats that
//!    a library converts in the driver's place are the last of their kind;
//! 5. the wanted rate, else the nearest above; and the fewest bytes.
//!
//! So MJPEG is taken where no raw format has that size at that rate. A camera's own H.264 comes after all
//! of this unless it is asked for: it is decoded and encoded again, and no better for it.

use std::cmp::Reverse;
use std::fmt;

use super::description::{Capabilities, Extent, Extents, Format, FourCc, Rate, Rates, Signal, Size};
use super::pixels::{self, Coding};
use crate::config::{Framerate, Video};

/// What a stream wants of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub extent: Extent,
    pub rate: Rate,
    /// GStreamer's name of the raw format that the encoder takes.
    pub pixels: String,
    /// The camera's own H.264 before everything else.
    pub prefer_h264: bool,
}

/// What the device is to be set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    pub fourcc: FourCc,
    pub coding: Coding,
    pub extent: Extent,
    /// `None` where the device does not tell its rates: it gives what it gives.
    pub rate: Option<Rate>,
}

/// A mode, and why it is this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub mode: Mode,
    /// In words.
    pub reason: String,
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    #[error("it offers no format at all")]
    NoFormats,
    #[error("it offers only formats that nothing here reads: {0}")]
    NoneKnown(String),
    #[error("it tells no size")]
    NoSize,
}

impl Wish {
    /// Of a stream whose encoder takes `pixels`, by GStreamer's name.
    pub fn new(video: &Video, pixels: &str) -> Wish {
        Wish {
            extent: Extent::new(video.width, video.height),
            rate: rate_of(video.framerate),
            pixels: pixels.to_owned(),
            prefer_h264: false,
        }
    }
}

/// The mode that suits the wish best.
///
/// # Errors
/// Where the device offers nothing that can be taken.
pub fn choose(offered: &Capabilities, wish: &Wish) -> Result<Choice, Unsuitable> {
    let candidates: Vec<Candidate> =
        offered.formats.iter().flat_map(|format| candidates(format, offered, wish)).collect();
    let best = candidates.iter().min_by_key(|candidate| candidate.order(wish));
    match best {
        Some(best) => Ok(Choice { mode: best.mode, reason: reason(best, &candidates, wish) }),
        None if offered.formats.is_empty() => Err(Unsuitable::NoFormats),
        None if offered.formats.iter().any(|format| pixels::coding(format.fourcc).is_some()) => {
            Err(Unsuitable::NoSize)
        }
        None => {
            let names: Vec<_> = offered.formats.iter().map(|format| format.fourcc.to_string()).collect();
            Err(Unsuitable::NoneKnown(names.join(", ")))
        }
    }
}

/// One mode that the device has.
#[derive(Debug)]
struct Candidate {
    mode: Mode,
    emulated: bool,
}

/// How much is to be done with each picture, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    None,
    Convert,
    ConvertTwice,
    Decode,
}

/// Of one format: in each of its sizes the rate that suits best.
fn candidates(format: &Format, offered: &Capabilities, wish: &Wish) -> Vec<Candidate> {
    let Some(coding) = pixels::coding(format.fourcc) else { return Vec::new() };
    let candidate = |extent, rate| Candidate {
        mode: Mode { fourcc: format.fourcc, coding, extent, rate },
        emulated: format.emulated,
    };
    if format.sizes.is_empty() {
        // A receiver without a scaler gives what comes in.
        return match (&offered.signal, offered.current) {
            (Signal::Present(Some(timings)), _) => vec![candidate(timings.extent, timings.rate)],
            (_, Some(extent)) => vec![candidate(extent, None)],
            (_, None) => Vec::new(),
        };
    }
    let in_size =
        |size: &Size| candidate(fitting(size.extent, wish.extent), best_rate(&size.rates, wish.rate));
    format.sizes.iter().map(in_size).collect()
}

impl Candidate {
    /// The least comes first; see the head of this module.
    fn order(&self, wish: &Wish) -> impl Ord + use<> {
        let Mode { extent, rate, coding, .. } = self.mode;
        let is_late = (coding == Coding::H264) != wish.prefer_h264;
        let rate_misses = match rate {
            Some(rate) if rate < wish.rate => Some(Reverse(rate)),
            Some(_) | None => None,
        };
        let bits = match coding {
            Coding::Raw { bits, .. } => bits,
            Coding::Mjpeg | Coding::H264 => 0,
        };
        let bytes = pixels::bytes(bits, extent);
        (
            is_late,
            is_too_slow(rate, wish),
            size_order(extent, wish.extent),
            rate_misses,
            self.work(wish),
            rate.filter(|rate| *rate > wish.rate),
            bytes,
        )
    }

    fn work(&self, wish: &Wish) -> Work {
        match self.mode.coding {
            Coding::Raw { .. } if self.emulated => Work::ConvertTwice,
            Coding::Raw { name, .. } if name == wish.pixels => Work::None,
            Coding::Raw { .. } => Work::Convert,
            Coding::Mjpeg | Coding::H264 => Work::Decode,
        }
    }
}

/// Less than half of the pictures that are wanted.
fn is_too_slow(rate: Option<Rate>, wish: &Wish) -> bool {
    rate.is_some_and(|rate| rate.as_f64() * 2.0 < wish.rate.as_f64())
}

/// Exact, then larger, the nearest first, then smaller, the nearest first.
fn size_order(extent: Extent, wanted: Extent) -> (u8, u64) {
    if extent == wanted {
        (0, 0)
    } else if extent.covers(wanted) {
        (1, extent.area() - wanted.area())
    } else {
        // What of the wanted picture it has no pixels for; the rest of its own area is of no use.
        let of_use = Extent::new(extent.width.min(wanted.width), extent.height.min(wanted.height));
        (2, wanted.area() - of_use.area())
    }
}

/// Of these sizes the wanted one, else the nearest that covers it, else the largest.
fn fitting(extents: Extents, wanted: Extent) -> Extent {
    match extents {
        Extents::One(extent) => extent,
        Extents::Stepwise { least, most, step } => Extent {
            width: stepped(least.width, most.width, step.width, wanted.width),
            height: stepped(least.height, most.height, step.height, wanted.height),
        },
    }
}

fn stepped(least: u32, most: u32, step: u32, wanted: u32) -> u32 {
    let step = step.max(1);
    let last = least + most.saturating_sub(least) / step * step;
    if wanted >= last { last } else { least + wanted.saturating_sub(least).div_ceil(step) * step }
}

/// The wanted rate, else the nearest above it, else the nearest below.
fn best_rate(rates: &[Rates], wanted: Rate) -> Option<Rate> {
    let nearest = |rates: &Rates| match *rates {
        Rates::One(rate) => rate,
        Rates::Range { slowest, fastest } => wanted.clamp(slowest.min(fastest), fastest.max(slowest)),
    };
    let rates: Vec<Rate> = rates.iter().map(nearest).collect();
    let above = rates.iter().filter(|rate| **rate >= wanted).min();
    above.or_else(|| rates.iter().max()).copied()
}

/// Why `best` is the best of all.
fn reason(best: &Candidate, all: &[Candidate], wish: &Wish) -> String {
    let Mode { extent, rate, coding, .. } = best.mode;
    let mut said = Vec::new();
    if extent != wish.extent {
        let what = if extent.covers(wish.extent) { "larger" } else { "smaller" };
        let is_there = all.iter().any(|other| other.mode.extent == wish.extent);
        let wanted = wish.extent;
        said.push(match is_there {
            true => format!("the nearest {what} size that is fast enough: {wanted} is too slow"),
            false => format!("the nearest {what} size: it has no {wanted}"),
        });
    }
    let there = all.iter().filter(|other| other.mode.extent == extent);
    match rate {
        None => said.push("its rate is not told".to_owned()),
        Some(rate) if rate > wish.rate => said.push(format!("the nearest rate above {}/s", wish.rate)),
        Some(rate) if rate < wish.rate => said.push(format!("the nearest rate below {}/s", wish.rate)),
        Some(_) => {}
    }
    said.push(match (coding, best.work(wish)) {
        (Coding::Raw { name, .. }, Work::None) => format!("raw {name}, as the encoder takes it"),
        (Coding::Raw { .. }, Work::ConvertTwice) => "raw, converted in the driver's place".to_owned(),
        (Coding::Raw { .. }, Work::Convert | Work::Decode) => {
            format!("raw, converted to {} for the encoder", wish.pixels)
        }
        (Coding::H264, _) if wish.prefer_h264 => "H.264, as asked for".to_owned(),
        (Coding::H264, _) => "H.264, which is decoded: it has nothing else".to_owned(),
        (Coding::Mjpeg, _) => {
            let raw = there.filter(|other| matches!(other.mode.coding, Coding::Raw { .. }));
            match raw.filter_map(|raw| raw.mode.rate).max() {
                Some(fastest) => format!("MJPEG: raw comes at {fastest}/s in this size"),
                None => "MJPEG: nothing raw has this size".to_owned(),
            }
        }
    });
    said.join("; ")
}

/// The configuration's frame rate, as devices have theirs.
fn rate_of(framerate: Framerate) -> Rate {
    Rate::new(framerate.numerator(), framerate.denominator()).expect("neither side of a frame rate is 0")
}

impl fmt::Display for Mode {
    /// `1280x720 MJPG 30/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.extent, self.fourcc)?;
        match self.rate {
            Some(rate) => write!(f, " {rate}/s"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
