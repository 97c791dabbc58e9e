//! Live sources: the test picture and tone, V4L2 and ALSA. Each is a pipeline of its own, so that
//! a sound device that fails leaves the picture alone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::{Formats, SOUND_CHANNELS, SOUND_RATE};
use super::graph::{self, Graph};
use super::inputs::Inputs;
use super::live_sound::Teller;
use super::marks;
use super::sound_inlet::SharedClock;
use crate::capture;
use crate::config::AudioDevice;

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

/// A V4L2 device in the first of its formats that gives the stream's size and rate, converted
/// where it is none of ours.
pub(super) fn v4l2(node: &Path, inputs: &Inputs, events: &EventSender) -> Result<Graph, Error> {
    let graph = Graph::new("v4l2");
    // do-timestamp stays off: v4l2src takes the driver's own time of the frame.
    let device = node.to_string_lossy();
    let source = graph::make("v4l2src", |source| source.property("device", device.as_ref()))?;
    graph.add(&[&source])?;
    let wanted = device_caps(&graph, &source, &inputs.formats)?;
    let filter = graph::only(&wanted)?;
    let mut elements = vec![filter.clone()];
    if wanted.structure(0).is_some_and(|format| format.has_name("image/jpeg")) {
        elements.push(graph::plain("jpegdec")?);
    }
    elements.extend(normalised_picture(&inputs.formats)?);
    elements.push(picture_end(inputs, events, &filter)?);
    let elements: Vec<_> = elements.iter().collect();
    graph.chain(&elements)?;
    graph.link(&[&source, elements[0]])?;
    let events = events.clone();
    run(graph, move |report| {
        if let Some(event) = picture_news(report) {
            events.send(event);
        }
    })
}

/// An ALSA device.
pub(super) fn alsa(device: &AudioDevice, inputs: &Inputs, teller: Teller) -> Result<Graph, Error> {
    let graph = Graph::new("alsa");
    let name = capture::sound_device(device);
    // Without its driver's own times, those at which it is read are taken: DeviceClock makes of both what
    // the stream needs.
    let source = graph::make("alsasrc", |source| {
        source
            .property("device", name)
            .property("provide-clock", false)
            .property_from_str("slave-method", "re-timestamp")
    })?;
    let [convert, resample, filter] = normalised_sound(&inputs.formats)?;
    let (begin, entry) = (clock::now(), graph::pad(&source, "src"));
    let sink = device_sound_end(inputs, &teller, &entry, begin)?;
    graph.chain(&[&source, &convert, &resample, &filter, &sink])?;
    run_from(graph, begin, move |report| tell(&teller, report))
}

/// The end of a pipeline that began at `begin` for sound of a device with its own clock, which is
/// observed where the sound comes from it.
fn device_sound_end(
    inputs: &Inputs,
    teller: &Teller,
    entry: &gst::Pad,
    begin: gst::ClockTime,
) -> Result<gst::Element, Error> {
    let device = SharedClock::new();
    let (observed, heard) = (device.clone(), teller.clone());
    let counted = AtomicU64::new(0);
    let observe = move |buffer: &mut gst::BufferRef| {
        let (Some(at), Some(lasts)) = (buffer.pts(), buffer.duration()) else { return };
        let is_break = buffer.flags().contains(gst::BufferFlags::DISCONT);
        heard.heard();
        observed.lock().observe((begin + at).into(), lasts.into(), is_break);
        // audioresample takes time that does not fit the samples for a break: it gets time that fits.
        let counted = counted.fetch_add(lasts.nseconds(), Ordering::Relaxed);
        buffer.set_pts(gst::ClockTime::from_nseconds(counted));
    };
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            observe(buffer.make_mut());
        }
        gst::PadProbeReturn::Ok
    });
    let (teller, entry) = (teller.clone(), entry.downgrade());
    inputs.device_sound_sink(device, move || {
        let caps = entry.upgrade().and_then(|pad| pad.current_caps());
        teller.sounding(described_sound(caps.as_ref()));
    })
}

/// The end of a picture's pipeline; tells the format at `entry` when the first picture is there.
pub(super) fn picture_end(
    inputs: &Inputs,
    events: &EventSender,
    entry: &gst::Element,
) -> Result<gst::Element, Error> {
    let (events, entry) = (events.clone(), graph::pad(entry, "sink").downgrade());
    inputs.picture_sink(false, move || {
        let caps = entry.upgrade().and_then(|pad| pad.current_caps());
        events.send(MediaEvent::CaptureLive { format: described(caps.as_ref()) });
    })
}

/// Brings any raw picture to the stream's size, rate and format, with borders where the shape differs.
pub(super) fn normalised_picture(formats: &Formats) -> Result<[gst::Element; 3], Error> {
    let scale = graph::make("videoconvertscale", |scale| scale.property("add-borders", true))?;
    let rate = graph::plain("videorate")?;
    Ok([rate, scale, graph::only(&formats.picture)?])
}

/// Brings any raw sound to the stream's.
pub(super) fn normalised_sound(formats: &Formats) -> Result<[gst::Element; 3], Error> {
    Ok([graph::plain("audioconvert")?, graph::plain("audioresample")?, graph::only(&formats.sound)?])
}

/// A source's format as people write it: `1280x720 YUY2 30 fps`.
pub(super) fn described(caps: Option<&gst::Caps>) -> String {
    let Some(format) = caps.and_then(|caps| caps.structure(0)) else { return "unknown".to_owned() };
    let pixels = match format.name().as_str() {
        "video/x-raw" => format.get::<&str>("format").unwrap_or("raw"),
        "image/jpeg" => "MJPEG",
        other => other,
    };
    let mut text = match (format.get::<i32>("width"), format.get::<i32>("height")) {
        (Ok(width), Ok(height)) => format!("{width}x{height} {pixels}"),
        _ => pixels.to_owned(),
    };
    if let Ok(framerate) = format.get::<gst::Fraction>("framerate")
        && framerate.numer() > 0
    {
        let frames = f64::from(framerate.numer()) / f64::from(framerate.denom());
        text.push_str(&format!(" {} fps", (frames * 100.0).round() / 100.0));
    }
    text
}

/// A sound's format as people write it: `S16LE 48000 Hz, 2 channels`.
pub(super) fn described_sound(caps: Option<&gst::Caps>) -> String {
    let described = || {
        let format = caps?.structure(0)?;
        let (rate, channels) = (format.get::<i32>("rate").ok()?, format.get::<i32>("channels").ok()?);
        let samples = format.get::<&str>("format").ok()?;
        let channels = if channels == 1 { "1 channel".to_owned() } else { format!("{channels} channels") };
        Some(format!("{samples} {rate} Hz, {channels}"))
    };
    described().unwrap_or_else(|| "unknown".to_owned())
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

/// Runs a live source from now on.
fn run(graph: Graph, handler: impl Fn(Report) + Send + Sync + 'static) -> Result<Graph, Error> {
    run_from(graph, clock::now(), handler)
}

/// Runs a live source whose running time counts from `begin`.
fn run_from(
    graph: Graph,
    begin: gst::ClockTime,
    handler: impl Fn(Report) + Send + Sync + 'static,
) -> Result<Graph, Error> {
    graph.play(begin)?;
    graph.on_report(handler);
    Ok(graph)
}

fn picture_news(report: Report) -> Option<MediaEvent> {
    match report {
        Report::Failed { element, reason } => {
            Some(MediaEvent::CaptureFailed { reason: format!("{element}: {reason}") })
        }
        Report::Ended => Some(MediaEvent::CaptureEnded),
        Report::Prerolled => None,
    }
}

fn tell(teller: &Teller, report: Report) {
    match report {
        Report::Failed { element, reason } => teller.failed(format!("{element}: {reason}")),
        Report::Ended => teller.failed("the sound ended".to_owned()),
        Report::Prerolled => {}
    }
}

/// Of what the device offers: raw at the stream's size and rate, else MJPEG so, else raw or MJPEG in
/// whatever size it likes. (Choosing a mode with more care is the capture module's business.)
fn device_caps(graph: &Graph, source: &gst::Element, formats: &Formats) -> Result<gst::Caps, Error> {
    if source.set_state(gst::State::Ready).is_err() {
        return Err(graph.not_started());
    }
    let offered = graph::pad(source, "src").query_caps(None);
    let candidates = ["video/x-raw", "image/jpeg"].into_iter().flat_map(|name| {
        let mut exact = gst::Structure::new_empty(name);
        for field in ["width", "height", "framerate"] {
            exact.set_value(field, mode(&formats.picture, field));
        }
        [(0, gst::Caps::builder_full().structure(exact).build()), (1, gst::Caps::new_empty_simple(name))]
    });
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|(rank, _)| *rank); // stable: raw stays before MJPEG
    candidates.into_iter().map(|(_, caps)| caps).find(|caps| caps.can_intersect(&offered)).ok_or_else(|| {
        Error::Unavailable {
            what: "the capture device".to_owned(),
            reason: "it gives neither raw pictures nor MJPEG".to_owned(),
        }
    })
}

fn mode(picture: &gst::Caps, field: &str) -> gst::glib::SendValue {
    let value = picture.structure(0).and_then(|format| format.value(field).ok());
    value.expect("the picture's caps are ours and fixed").clone()
}

/// Pixels a frame: the whole picture changes, as a camera's does.
const SCROLLING: i32 = 4;

const TONE_VOLUME: f64 = 0.1;

/// Chroma without colour.
const NEUTRAL: u8 = 128;

/// 10 ms at 48 kHz.
const TONE_SAMPLES: i32 = 480;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_as_people_write_it() {
        gst::init().unwrap();
        let raw = gst::Caps::builder("video/x-raw")
            .field("format", "YUY2")
            .field("width", 1280)
            .field("height", 720)
            .field("framerate", gst::Fraction::new(30000, 1001))
            .build();
        assert_eq!(described(Some(&raw)), "1280x720 YUY2 29.97 fps");
        assert_eq!(described(Some(&gst::Caps::new_empty_simple("image/jpeg"))), "MJPEG");
        assert_eq!(described(None), "unknown");
        let sound = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("rate", 44_100)
            .field("channels", 1)
            .build();
        assert_eq!(described_sound(Some(&sound)), "S16LE 44100 Hz, 1 channel");
        assert_eq!(described_sound(None), "unknown");
    }
}
