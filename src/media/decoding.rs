//! From what a camera codes to raw pictures: damaged frames are left out and counted before the decoder, and what
//! it cannot decode all the same is counted behind it. Neither ends the capture.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

use super::error::Error;
use super::graph;
use super::inputs::Inputs;
use crate::capture::jpeg::{self, Damage};

/// The decoder for a source's caps, with what belongs in front of it; nothing where its pictures are raw.
///
/// # Errors
/// When the machine lacks an element; the error names the package.
pub(super) fn decoder(caps: &gst::Caps, inputs: &Inputs) -> Result<Vec<gst::Element>, Error> {
    let kind = caps.structure(0).map(|format| format.name().as_str());
    match kind {
        Some("image/jpeg") => {
            let decoder = patient("jpegdec")?;
            leave_out_damaged(&graph::pad(&decoder, "sink"), inputs);
            count_undecoded(&decoder, inputs);
            Ok(vec![decoder])
        }
        Some("video/x-h264") => {
            let decoder = patient(h264_decoder()?)?;
            count_undecoded(&decoder, inputs);
            Ok(vec![graph::plain("h264parse")?, decoder])
        }
        Some(_) | None => Ok(Vec::new()),
    }
}

/// The decoder of H.264 that this machine has: libav's, which knows all profiles, or Cisco's.
///
/// # Errors
/// When it has neither: names the package of the first.
pub(super) fn h264_decoder() -> Result<&'static str, Error> {
    let [best, other] = H264_DECODERS;
    match graph::require(best) {
        Ok(()) => Ok(best),
        Err(missing) => graph::require(other).map(|()| other).map_err(|_| missing),
    }
}

const H264_DECODERS: [&str; 2] = ["avdec_h264", "openh264dec"];

/// A decoder that goes on whatever it is given, and gives only what is whole.
fn patient(element: &'static str) -> Result<gst::Element, Error> {
    let decoder = graph::make(element, |decoder| {
        decoder.property("max-errors", -1).property("discard-corrupted-frames", true)
    })?;
    if decoder.has_property("output-corrupt") {
        decoder.set_property("output-corrupt", false); // libav's: what is smeared is corrupt too
    }
    Ok(decoder)
}

/// Lets only whole frames of Motion JPEG through.
fn leave_out_damaged(pad: &gst::Pad, inputs: &Inputs) {
    let inputs = inputs.clone();
    // Left out with `Handled`: with `Drop`, GStreamer 1.22 wants to release a buffer that is not there.
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(frame) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let found = match frame.map_readable() {
            Ok(bytes) => jpeg::check(&bytes, promised_size(pad)),
            Err(_) => Err(Damage::Corrupt("its memory cannot be read")),
        };
        let Err(damage) = found else { return gst::PadProbeReturn::Ok };
        log::debug!(bytes = frame.size(); "a frame of Motion JPEG is left out: {damage}");
        inputs.damage().note(damage);
        gst::PadProbeReturn::Handled
    });
}

fn promised_size(pad: &gst::Pad) -> Option<jpeg::Size> {
    let caps = pad.current_caps()?;
    let format = caps.structure(0)?;
    let side = |name| format.get::<i32>(name).ok().and_then(|side| u32::try_from(side).ok());
    Some((side("width")?, side("height")?))
}

/// Counts what goes into a decoder and does not come out.
fn count_undecoded(decoder: &gst::Element, inputs: &Inputs) {
    let under_way = Arc::new(Mutex::new(UnderWay::default()));
    for (pad, step) in [("sink", UnderWay::enter as Step), ("src", UnderWay::leave as Step)] {
        let (under_way, inputs) = (under_way.clone(), inputs.clone());
        // Behind the probe that leaves damaged frames out, which was added before.
        graph::pad(decoder, pad).add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(at) = info.buffer().and_then(|picture| picture.pts()) {
                inputs.damage().note_undecoded(step(&mut lock(&under_way), at));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

type Step = fn(&mut UnderWay, gst::ClockTime) -> u64;

/// The times of the pictures in a decoder. It gives them in the order in which they are shown, so one that
/// is older than what came out will not come any more.
#[derive(Default)]
struct UnderWay(VecDeque<gst::ClockTime>);

impl UnderWay {
    /// A picture goes in. Tells how many are given up for it.
    fn enter(&mut self, at: gst::ClockTime) -> u64 {
        self.0.push_back(at);
        match self.0.len() > MOST_UNDER_WAY {
            true => u64::from(self.0.pop_front().is_some()),
            false => 0,
        }
    }

    /// A picture comes out. Tells how many before it did not.
    fn leave(&mut self, at: gst::ClockTime) -> u64 {
        let lost = self.0.iter().filter(|&&other| other < at).count();
        self.0.retain(|&other| other > at);
        u64::try_from(lost).unwrap_or(u64::MAX)
    }
}

fn lock(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// H.264 reorders 16 pictures at the most; a decoder with a thread for each picture holds some more. Beyond
/// this the oldest counts as lost.
const MOST_UNDER_WAY: usize = 64;

#[cfg(test)]
mod tests;
