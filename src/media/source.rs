//! Live pictures: V4L2. Each source is a pipeline of its own, so that a sound device that fails leaves the
//! picture alone; the test picture and tone are in `test_source`, ALSA is in `device_sound`.

use std::path::Path;

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::Formats;
use super::graph::{self, Graph};
use super::inputs::Inputs;

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

/// Runs a live source from now on.
fn run(graph: Graph, handler: impl Fn(Report) + Send + Sync + 'static) -> Result<Graph, Error> {
    run_from(graph, clock::now(), handler)
}

/// Runs a live source whose running time counts from `begin`.
pub(super) fn run_from(
    graph: Graph,
    begin: gst::ClockTime,
    handler: impl Fn(Report) + Send + Sync + 'static,
) -> Result<Graph, Error> {
    graph.play(begin)?;
    graph.on_report(handler);
    Ok(graph)
}

pub(super) fn picture_news(report: Report) -> Option<MediaEvent> {
    match report {
        Report::Failed { element, reason } => {
            Some(MediaEvent::CaptureFailed { reason: format!("{element}: {reason}") })
        }
        Report::Ended => Some(MediaEvent::CaptureEnded),
        Report::Prerolled => None,
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
