//! The test picture and the test tone, with a flash and a beep each second ([`marks`]).

use gst::prelude::*;

use super::clock;
use super::device_sound::{described_sound, tell};
use super::error::Error;
use super::event::EventSender;
use super::format::{SOUND_CHANNELS, SOUND_RATE};
use super::graph::{self, Graph};
use super::inputs::Inputs;
use super::live_sound::Teller;
use super::marks;
use super::source::{picture_end, picture_news, run_from};

/// A moving picture with the time since its start, and a flash each second ([`marks`]).
pub(super) fn test_picture(inputs: &Inputs, events: &EventSender) -> Result<Graph, Error> {
    let graph = Graph::new("test picture");
    let source = graph::make("videotestsrc", |source| {
        source
            .property("is-live", true)
            .property_from_str("pattern", "smpte")
            .property("horizontal-speed", SCROLLING)
    })?;
    let filter = graph::only(&inputs.formats.picture)?;
    let time = graph::plain("timeoverlay")?;
    let sink = picture_end(inputs, events, &filter)?;
    let begin = clock::now();
    if let Ok(format) = gst_video::VideoInfo::from_caps(&inputs.formats.picture) {
        graph::pad(&sink, "sink").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                flash(buffer, &format, begin);
            }
            gst::PadProbeReturn::Ok
        });
    }
    graph.chain(&[&source, &filter, &time, &sink])?;
    let events = events.clone();
    run_from(graph, begin, move |report| {
        if let Some(event) = picture_news(report) {
            events.send(event);
        }
    })
}

/// Paints the flash's place as bright as it is at the picture's time.
fn flash(buffer: &mut gst::Buffer, format: &gst_video::VideoInfo, begin: gst::ClockTime) {
    let Some(at) = buffer.pts() else { return };
    let luma = marks::luma((begin + at).into());
    let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), format) else {
        return; // a picture that cannot be written to goes on without
    };
    let (columns, rows) = marks::place(format.width(), format.height());
    for plane in 0..format.n_planes() {
        // Plane 0 is luma, the others are chroma (I420), or both of it side by side (NV12).
        let component = plane.min(format.format_info().n_components() - 1) as usize;
        let right = format.format_info().w_sub()[component];
        let down = format.format_info().h_sub()[component];
        let bytes = format.comp_pstride(component as u8).unsigned_abs();
        let value = if plane == 0 { luma } else { NEUTRAL };
        let stride = format.stride()[plane as usize].unsigned_abs() as usize;
        let Ok(data) = frame.plane_data_mut(plane) else { return };
        for row in
            data.chunks_mut(stride).take((rows.end >> down) as usize).skip((rows.start >> down) as usize)
        {
            let from = (columns.start >> right) * bytes;
            let to = (columns.end >> right) * bytes;
            if let Some(place) = row.get_mut(from as usize..to as usize) {
                place.fill(value);
            }
        }
    }
}

/// A tone of 440 Hz, quiet enough not to annoy, and a beep with each flash of the picture ([`marks`]).
pub(super) fn test_tone(inputs: &Inputs, teller: Teller) -> Result<Graph, Error> {
    let graph = Graph::new("test tone");
    let source = graph::make("audiotestsrc", |source| {
        source
            .property("is-live", true)
            .property("volume", TONE_VOLUME)
            .property("samplesperbuffer", TONE_SAMPLES)
    })?;
    let filter = graph::only(&inputs.formats.sound)?;
    let begin = clock::now();
    graph::pad(&filter, "src").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            beep(buffer, begin);
        }
        gst::PadProbeReturn::Ok
    });
    graph.chain(&[&source, &filter, &sound_end(inputs, &teller)?])?;
    run_from(graph, begin, move |report| tell(&teller, report))
}

/// Adds the beep, where one is due, to sound of the stream's format.
fn beep(buffer: &mut gst::Buffer, begin: gst::ClockTime) {
    let Some(at) = buffer.pts() else { return };
    let Ok(mut samples) = buffer.make_mut().map_writable() else { return };
    let frame_bytes = 2 * SOUND_CHANNELS as usize;
    for (index, frame) in (0u64..).zip(samples.chunks_exact_mut(frame_bytes)) {
        let at = begin + at + gst::ClockTime::from_nseconds(index * 1_000_000_000 / SOUND_RATE as u64);
        let beep = marks::beep(at.into());
        for sample in frame.chunks_exact_mut(2) {
            let tone = f32::from(i16::from_le_bytes([sample[0], sample[1]]));
            let both = (tone + beep * f32::from(i16::MAX)) as i16; // saturates
            sample.copy_from_slice(&both.to_le_bytes());
        }
    }
}

fn sound_end(inputs: &Inputs, teller: &Teller) -> Result<gst::Element, Error> {
    let (sounding, heard) = (teller.clone(), teller.clone());
    let format = described_sound(Some(&inputs.formats.sound));
    let sink = inputs.sound_sink(false, move || sounding.sounding(format))?;
    graph::pad(&sink, "sink").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        heard.heard();
        gst::PadProbeReturn::Ok
    });
    Ok(sink)
}

/// Pixels a frame: the whole picture changes, as a camera's does.
const SCROLLING: i32 = 4;

const TONE_VOLUME: f64 = 0.1;

/// Chroma without colour.
const NEUTRAL: u8 = 128;

/// 10 ms at 48 kHz.
const TONE_SAMPLES: i32 = 480;
