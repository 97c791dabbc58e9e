//! Live pictures: V4L2. Each source is a pipeline of its own, so that a sound device that fails leaves the
//! picture alone; the test picture and tone are in `test_source`, ALSA is in `device_sound`.

use std::path::Path;

use gst::prelude::*;

use super::clock;
use super::decoding::decoder;
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::Formats;
use super::graph::{self, Graph};
use super::inputs::Inputs;
use crate::capture::mode::Mode;
use crate::capture::pixels::Coding;

/// A V4L2 device in that mode, converted where it is not the stream's.
pub(super) fn v4l2(node: &Path, mode: &Mode, inputs: &Inputs, events: &EventSender) -> Result<Graph, Error> {
    let graph = Graph::new("v4l2");
    // do-timestamp stays off: v4l2src takes the driver's own time of the frame.
    let device = node.to_string_lossy();
    // It says who failed: by a number that rises with each attempt, each failure would be another.
    let source = graph::make("v4l2src", |source| source.name("v4l2src").property("device", device.as_ref()))?;
    graph.add(&[&source])?;
    let wanted = device_caps(&graph, &source, mode)?;
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

/// The mode as v4l2src offers it. What it does not offer in so many words is left to it: some drivers list a
/// rate or a size that they then round.
fn device_caps(graph: &Graph, source: &gst::Element, mode: &Mode) -> Result<gst::Caps, Error> {
    if source.set_state(gst::State::Ready).is_err() {
        return Err(graph.not_started());
    }
    let offered = graph::pad(source, "src").query_caps(None);
    let fields: [&[&str]; 3] = [&["width", "height", "framerate"], &["width", "height"], &[]];
    let whole = caps_of(mode);
    let mut candidates = fields.into_iter().map(|kept| with_fields(&whole, kept));
    candidates.find(|caps| caps.can_intersect(&offered)).ok_or_else(|| Error::Unavailable {
        what: format!("{mode} of the capture device"),
        reason: "GStreamer's v4l2src does not offer it".to_owned(),
    })
}

fn caps_of(mode: &Mode) -> gst::Structure {
    let mut caps = gst::Structure::new_empty(match mode.coding {
        Coding::Raw { .. } => "video/x-raw",
        Coding::Mjpeg => "image/jpeg",
        Coding::H264 => "video/x-h264",
    });
    if let Coding::Raw { name, .. } = mode.coding {
        caps.set("format", name);
    }
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    caps.set("width", number(mode.extent.width));
    caps.set("height", number(mode.extent.height));
    if let Some(rate) = mode.rate {
        caps.set("framerate", gst::Fraction::new(number(rate.numerator()), number(rate.denominator())));
    }
    caps
}

/// With its format, and of the other fields just these.
fn with_fields(whole: &gst::Structure, kept: &[&str]) -> gst::Caps {
    let mut caps = gst::Structure::new_empty(whole.name());
    for (field, value) in
        whole.iter().filter(|(field, _)| *field == "format" || kept.contains(&field.as_str()))
    {
        caps.set_value(field, value.clone());
    }
    gst::Caps::builder_full().structure(caps).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::description::{Extent, FourCc, Rate};
    use crate::capture::pixels;

    #[test]
    fn a_mode_is_asked_for_in_gstreamers_words() {
        gst::init().unwrap();
        let rate = Rate::new(30_000, 1001);
        let mode = |fourcc: &[u8; 4], rate| {
            let fourcc = FourCc(*fourcc);
            Mode { fourcc, coding: pixels::coding(fourcc).unwrap(), extent: Extent::new(1280, 720), rate }
        };
        let raw = caps_of(&mode(b"YUYV", rate));
        assert_eq!(
            with_fields(&raw, &["width", "height", "framerate"]).to_string(),
            "video/x-raw, format=(string)YUY2, width=(int)1280, height=(int)720, framerate=(fraction)30000/1001"
        );
        assert_eq!(with_fields(&raw, &[]).to_string(), "video/x-raw, format=(string)YUY2");
        let mjpeg = caps_of(&mode(b"MJPG", None));
        let all = ["width", "height", "framerate"];
        assert_eq!(with_fields(&mjpeg, &all).to_string(), "image/jpeg, width=(int)1280, height=(int)720");
    }

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
