//! The moving picture of a trial, made before it begins: making pictures must not be what takes the time.

use gst::prelude::*;

use super::{sink, wait};
use crate::media::error::Error;
use crate::media::graph::{self, Graph};

/// The first moments of rings that turn into one another while they are scrolled: detail everywhere, which no
/// one motion predicts, so that an encoder has use for the rate that it is given; and unlike noise it can be
/// coded at a low rate too.
pub(super) fn moving(caps: &gst::Caps) -> Result<Vec<gst::Buffer>, Error> {
    let graph = Graph::new("trial picture");
    let (sender, receiver) = std::sync::mpsc::channel();
    let source = graph::make("videotestsrc", |source| {
        source
            .property_from_str("pattern", "zone-plate")
            .property("kx2", RINGS)
            .property("ky2", RINGS)
            .property("kt", TURN)
            .property("horizontal-speed", SCROLLED)
            .property("num-buffers", count(caps))
    })?;
    let sink = sink(caps, move |sample| {
        let sent = sample.buffer_owned().map(|buffer| sender.send(buffer));
        if matches!(sent, Some(Err(_))) {
            log::debug!("a picture came after the end");
        }
    });
    graph.chain(&[&source, sink.upcast_ref()])?;
    graph.play(gst::ClockTime::ZERO)?;
    let end = wait(&graph, MAKING);
    let pictures: Vec<gst::Buffer> = receiver.try_iter().collect();
    if pictures.is_empty() {
        return Err(Error::Start { graph: "trial picture", reason: format!("no picture came: {end:?}") });
    }
    Ok(pictures)
}

/// The pictures forwards, then backwards, and so on: without a cut where they begin anew.
pub(super) fn there_and_back(pictures: &[gst::Buffer]) -> impl Iterator<Item = &gst::Buffer> {
    let last = pictures.len().saturating_sub(1).max(1);
    pictures.iter().chain(pictures.get(1..last).unwrap_or_default().iter().rev()).cycle()
}

/// As many as fit into the memory that a trial may take, within reason.
fn count(caps: &gst::Caps) -> i32 {
    let bytes = gst_video::VideoInfo::from_caps(caps).map_or(MEMORY, |info| info.size());
    let fit = MEMORY / bytes.max(1);
    i32::try_from(fit).unwrap_or(MOST).clamp(FEWEST, MOST)
}

/// The spatial frequency grows from the middle to 40/256 cycles a pixel at the edge (videotestsrc's unit):
/// fine detail that is still far from noise.
const RINGS: i32 = 40;

/// Change of the phase from picture to picture, in 1/256 cycles (videotestsrc's unit).
const TURN: i32 = 5;

/// Pixels a picture.
const SCROLLED: i32 = 4;

/// Small enough for a machine of 512 MB: 34 pictures of 720p, 15 of 1080p.
const MEMORY: usize = 48 << 20;

/// Four are a motion; a second of them is enough.
const FEWEST: i32 = 4;
const MOST: i32 = 30;

/// A slow machine makes 30 pictures of 720p in less than a second.
const MAKING: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::init;

    #[test]
    fn pictures_move_and_fit_into_memory() {
        init().unwrap();
        let caps = caps(320, 180);
        let pictures = moving(&caps).unwrap();
        assert_eq!(pictures.len(), MOST as usize);
        let bytes = |index: usize| pictures[index].map_readable().unwrap().to_vec();
        assert_ne!(bytes(0), bytes(1));
        assert_eq!((count(&caps), count(&self::caps(3840, 2160))), (MOST, FEWEST));
    }

    #[test]
    fn there_and_back_has_no_cut() {
        gst::init().unwrap();
        for (length, expected) in [(1, [0, 0, 0, 0, 0]), (2, [0, 1, 0, 1, 0]), (3, [0, 1, 2, 1, 0])] {
            let pictures: Vec<gst::Buffer> = (0..length).map(numbered).collect();
            let order: Vec<u64> = there_and_back(&pictures).take(5).map(|picture| picture.offset()).collect();
            assert_eq!(order, expected);
        }
    }

    fn numbered(number: u64) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().set_offset(number);
        buffer
    }

    fn caps(width: i32, height: i32) -> gst::Caps {
        let builder = gst::Caps::builder("video/x-raw").field("format", "I420");
        builder
            .field("width", width)
            .field("height", height)
            .field("framerate", gst::Fraction::new(30, 1))
            .build()
    }
}
