//! Live sources: the test picture and tone, V4L2 and ALSA. Each is a pipeline of its own, so that
//! a sound device that fails leaves the picture alone.

use std::path::Path;

use gst::prelude::*;

use super::clock;
use super::decoding::decoder;
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::Formats;
use super::graph::{self, Graph};
use super::inputs::Inputs;
use super::live_sound::Teller;
use crate::config::AudioDevice;

/// A moving picture with the time since its start.
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
    graph.chain(&[&source, &filter, &time, &sink])?;
    run_picture(graph, events)
}

/// A tone of 440 Hz, quiet enough not to annoy.
pub(super) fn test_tone(inputs: &Inputs, teller: Teller) -> Result<Graph, Error> {
    let graph = Graph::new("test tone");
    let source = graph::make("audiotestsrc", |source| {
        source
            .property("is-live", true)
            .property("volume", TONE_VOLUME)
            .property("samplesperbuffer", TONE_SAMPLES)
    })?;
    let filter = graph::only(&inputs.formats.sound)?;
    graph.chain(&[&source, &filter, &sound_end(inputs, &teller)?])?;
    run(graph, move |report| tell(&teller, report))
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
    camera_branch(&graph, &filter, &wanted, inputs, events)?;
    graph.link(&[&source, &filter])?;
    run_picture(graph, events)
}

/// Adds what stands behind a camera that gives `caps`, from its `entry` on: the decoder where there is something to
/// decode, and what brings any picture to the stream's format. A camera that changes its size, rate or pixels
/// in mid-stream changes nothing behind that.
pub(super) fn camera_branch(
    graph: &Graph,
    entry: &gst::Element,
    caps: &gst::Caps,
    inputs: &Inputs,
    events: &EventSender,
) -> Result<(), Error> {
    let mut elements = vec![entry.clone()];
    elements.extend(decoder(caps, inputs)?);
    elements.extend(normalised_picture(&inputs.formats)?);
    elements.push(picture_end(inputs, events, entry)?);
    graph.chain(&elements.iter().collect::<Vec<_>>())
}

/// An ALSA device.
pub(super) fn alsa(device: &AudioDevice, inputs: &Inputs, teller: Teller) -> Result<Graph, Error> {
    let graph = Graph::new("alsa");
    let source = graph::make("alsasrc", |source| {
        let source = source.property("provide-clock", false).property_from_str("slave-method", "skew");
        match device {
            AudioDevice::Auto => source,
            AudioDevice::Named(name) => source.property("device", name),
        }
    })?;
    let [convert, resample, filter] = normalised_sound(&inputs.formats)?;
    graph.chain(&[&source, &convert, &resample, &filter, &sound_end(inputs, &teller)?])?;
    run(graph, move |report| tell(&teller, report))
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
        "video/x-h264" => "H.264",
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

fn sound_end(inputs: &Inputs, teller: &Teller) -> Result<gst::Element, Error> {
    let teller = teller.clone();
    inputs.sound_sink(false, move || teller.sounding())
}

/// Runs a live picture's source from now on.
pub(super) fn run_picture(graph: Graph, events: &EventSender) -> Result<Graph, Error> {
    let events = events.clone();
    run(graph, move |report| {
        if let Some(event) = picture_news(report) {
            events.send(event);
        }
    })
}

/// Runs a live source from now on.
fn run(graph: Graph, handler: impl Fn(Report) + Send + Sync + 'static) -> Result<Graph, Error> {
    graph.play(clock::now())?;
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

/// Of what the device offers: raw at the stream's size and rate, else MJPEG or H.264 so, else one of them in
/// whatever size it likes. (Choosing a mode with more care is the capture module's business.)
fn device_caps(graph: &Graph, source: &gst::Element, formats: &Formats) -> Result<gst::Caps, Error> {
    if source.set_state(gst::State::Ready).is_err() {
        return Err(graph.not_started());
    }
    let offered = graph::pad(source, "src").query_caps(None);
    let candidates = ["video/x-raw", "image/jpeg", "video/x-h264"].into_iter().flat_map(|name| {
        let mut exact = gst::Structure::new_empty(name);
        for field in ["width", "height", "framerate"] {
            exact.set_value(field, mode(&formats.picture, field));
        }
        [(0, gst::Caps::builder_full().structure(exact).build()), (1, gst::Caps::new_empty_simple(name))]
    });
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|(rank, _)| *rank); // stable: raw stays before MJPEG, and that before H.264
    candidates.into_iter().map(|(_, caps)| caps).find(|caps| caps.can_intersect(&offered)).ok_or_else(|| {
        Error::Unavailable {
            what: "the capture device".to_owned(),
            reason: "it gives neither raw pictures nor MJPEG nor H.264".to_owned(),
        }
    })
}

fn mode(picture: &gst::Caps, field: &str) -> gst::glib::SendValue {
    let value = picture.structure(0).and_then(|format| format.value(field).ok());
    value.expect("the picture's caps are ours and fixed").clone()
}

/// Pixels a frame: the whole picture changes, as a camera's does.
const SCROLLING: i32 = 4;

const TONE_VOLUME: f64 = 0.2;

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
    }
}
