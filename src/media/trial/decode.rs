//! What a decoder of another make says of coded pictures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use serde::{Deserialize, Serialize};

use super::complaints::Complaints;
use super::{End, parser, sink, wait};
use crate::config::Codec;
use crate::media::encoder;
use crate::media::encoding::coded_caps;
use crate::media::error::Error;
use crate::media::graph::{self, Graph};

/// What decoding gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoded {
    With {
        /// GStreamer's name of the decoder.
        decoder: String,
        /// Whole pictures that it gave.
        pictures: u32,
        /// Width and height of the last of them.
        size: Option<(u32, u32)>,
        /// What it complained of.
        error: Option<String>,
    },
    /// There is no software decoder on this machine: only the parser has looked at the pictures.
    Parsed {
        /// Pictures that it found.
        pictures: u32,
        error: Option<String>,
    },
}

/// How much is spent on decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Of the decoder; its own choice where none is said.
    pub(super) threads: Option<i32>,
    /// What is not decoded after this time is an error.
    pub(super) patience: Duration,
}

/// Decodes pictures that begin with a key frame, on one thread, in as long as it takes: whoever calls this sets
/// a limit, since a decoder may hang, or crash.
///
/// # Errors
/// When a pipeline cannot be built or started: that says nothing of the pictures.
pub fn decode_sample(codec: Codec, units: Vec<Vec<u8>>) -> Result<Decoded, Error> {
    let times = (0..).map(gst::ClockTime::from_mseconds).step_by(SAMPLE_STEP_MS);
    decode(codec, times.zip(units), Effort { threads: Some(1), patience: SAMPLE_PATIENCE })
}

/// Decodes pictures with their times.
pub(super) fn decode(
    codec: Codec,
    pictures: impl Iterator<Item = (gst::ClockTime, Vec<u8>)>,
    effort: Effort,
) -> Result<Decoded, Error> {
    let found = find(codec);
    decode_by(found, codec, pictures, effort)
}

/// The best decoder of this machine.
fn find(codec: Codec) -> Option<&'static str> {
    decoders(codec).iter().find(|name| gst::ElementFactory::find(name).is_some()).copied()
}

fn decode_by(
    found: Option<&'static str>,
    codec: Codec,
    pictures: impl Iterator<Item = (gst::ClockTime, Vec<u8>)>,
    effort: Effort,
) -> Result<Decoded, Error> {
    let graph = Graph::new("trial decode");
    let source = gst_app::AppSrc::builder().caps(&coded_caps(codec)).format(gst::Format::Time).build();
    source.set_max_bytes(0); // all of it is there already, a megabyte or so
    let seen = Arc::new(Mutex::new(Seen::default()));
    let watcher = seen.clone();
    let sink = sink(&gst::Caps::new_any(), move |sample| {
        watcher.lock().unwrap_or_else(PoisonError::into_inner).take(sample);
    });
    let parse = parser(encoder::parser(codec))?;
    match found {
        Some(name) => {
            let decoder = strict(name, effort)?;
            graph.chain(&[source.upcast_ref(), &parse, &decoder, sink.upcast_ref()])?;
        }
        None => graph.chain(&[source.upcast_ref(), &parse, sink.upcast_ref()])?,
    }
    let complaints = Complaints::listen();
    graph.play(gst::ClockTime::ZERO)?;
    for (at, bytes) in pictures {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        buffer.make_mut().set_pts(at);
        if let Err(error) = source.push_buffer(buffer) {
            log::debug!(error:%; "the decoder takes no more pictures");
            break; // the bus says why
        }
    }
    if let Err(error) = source.end_of_stream() {
        log::debug!(error:%; "the decoder takes no end");
    }
    let error = match wait(&graph, effort.patience) {
        End::Complete => None,
        End::OutOfPatience => Some(format!("it did not come to an end within {:?}", effort.patience)),
        End::Failed(reason) => Some(reason),
    };
    drop(graph);
    let Seen { pictures, size, broken } =
        std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let damaged = || (broken > 0).then(|| format!("{broken} pictures are damaged"));
    let error = error.or_else(|| complaints.heard()).or_else(damaged);
    Ok(match found {
        Some(decoder) => Decoded::With { decoder: decoder.to_owned(), pictures, size, error },
        None => Decoded::Parsed { pictures, error },
    })
}

/// A decoder that ends with its first error and hides nothing, as far as it can be told to.
fn strict(name: &'static str, effort: Effort) -> Result<gst::Element, Error> {
    let decoder = graph::plain(name)?;
    // Out of a live pipeline it would hold a stream against the letter of the standard, as no player does.
    if decoder.has_property("std-compliance") {
        decoder.set_property_from_str("std-compliance", "normal");
    }
    if let Some(threads) = effort.threads.filter(|_| decoder.has_property("max-threads")) {
        decoder.set_property("max-threads", threads);
    }
    if decoder.has_property_with_type("max-errors", i32::static_type()) {
        decoder.set_property("max-errors", 0i32);
    }
    Ok(decoder)
}

#[derive(Default)]
struct Seen {
    pictures: u32,
    size: Option<(u32, u32)>,
    broken: u32,
}

impl Seen {
    fn take(&mut self, sample: &gst::Sample) {
        self.pictures += 1;
        if sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED)) {
            self.broken += 1;
        }
        let format = sample.caps().and_then(|caps| caps.structure(0));
        let side = |name| format.and_then(|format| u32::try_from(format.get::<i32>(name).ok()?).ok());
        self.size = side("width").zip(side("height"));
    }
}

/// In software, and none that shares a driver with what is tried.
fn decoders(codec: Codec) -> &'static [&'static str] {
    match codec {
        Codec::H264 => &["avdec_h264", "openh264dec"],
        Codec::H265 => &["avdec_h265", "libde265dec"],
    }
}

/// Beyond every caller's limit.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(60);

/// What a sample's pictures are apart; decoders do not mind.
const SAMPLE_STEP_MS: usize = 33;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::init;

    #[test]
    fn what_is_no_stream_is_found() {
        let garbage = [vec![0, 0, 0, 1, 0x65], vec![0x5a; 500]].concat();
        for decoder in here() {
            let decoded = by(decoder, vec![garbage.clone()]);
            assert!(decoded.0 == 0 || decoded.1.is_some(), "{decoder}: {decoded:?}");
        }
    }

    #[test]
    fn each_encoder_is_decoded_by_each_decoder_and_damage_in_any_of_its_pictures_is_found() {
        init().unwrap();
        for (encoder, settings) in [
            ("x264enc", &[("speed-preset", "ultrafast")][..]), // without arithmetic coding
            ("x264enc", &[("speed-preset", "veryfast")]),
            ("openh264enc", &[]),
        ] {
            let units = coded(encoder, settings);
            for decoder in here() {
                assert_eq!(by(decoder, units.clone()), (12, None), "{encoder} {settings:?} by {decoder}");
                for from in [0, 6] {
                    let mut broken = units.clone();
                    broken[from..].iter_mut().for_each(|unit| garble(unit));
                    let (_, error) = by(decoder, broken);
                    assert!(error.is_some(), "{encoder} {settings:?} from {from} on by {decoder}");
                }
            }
        }
    }

    #[test]
    fn of_h265_what_refers_to_missing_pictures_is_found() {
        init().unwrap();
        let units = coded("x265enc", &[("speed-preset", "ultrafast")]);
        let decoded = decode_sample(Codec::H265, units.clone()).unwrap();
        let Decoded::With { pictures: 12, error: None, .. } = decoded else { panic!("{decoded:?}") };
        let every_other = units.into_iter().step_by(2).collect();
        let decoded = decode_sample(Codec::H265, every_other).unwrap();
        assert!(matches!(decoded, Decoded::With { error: Some(_), .. }), "{decoded:?}");
    }

    fn here() -> impl Iterator<Item = &'static str> {
        init().unwrap();
        decoders(Codec::H264).iter().copied().filter(|name| gst::ElementFactory::find(name).is_some())
    }

    /// Pictures, and what is wrong with them.
    fn by(decoder: &'static str, units: Vec<Vec<u8>>) -> (u32, Option<String>) {
        let effort = Effort { threads: Some(1), patience: Duration::from_secs(10) };
        let pictures = (0..).map(gst::ClockTime::from_mseconds).step_by(SAMPLE_STEP_MS).zip(units);
        match decode_by(Some(decoder), Codec::H264, pictures, effort).unwrap() {
            Decoded::With { pictures, error, .. } => (pictures, error),
            Decoded::Parsed { .. } => panic!("it was to be decoded"),
        }
    }

    fn coded(name: &'static str, settings: &[(&str, &str)]) -> Vec<Vec<u8>> {
        let codec = if name == "x265enc" { Codec::H265 } else { Codec::H264 };
        let source = graph::make("videotestsrc", |source| {
            source.property("num-buffers", 12).property_from_str("pattern", "snow")
        });
        let source = source.unwrap();
        let caps = gst::Caps::builder("video/x-raw").field("format", "I420").field("width", 320);
        let caps = caps.field("height", 180).field("framerate", gst::Fraction::new(30, 1)).build();
        let coder = graph::plain(name).unwrap();
        if coder.has_property("tune") {
            coder.set_property_from_str("tune", "zerolatency");
        }
        settings.iter().for_each(|(name, value)| coder.set_property_from_str(name, value));
        let units = Arc::new(Mutex::new(Vec::new()));
        let kept = units.clone();
        let sink = sink(&coded_caps(codec), move |sample| {
            let bytes = sample.buffer().unwrap().map_readable().unwrap().to_vec();
            kept.lock().unwrap().push(bytes);
        });
        let graph = Graph::new("test");
        let parse = parser(encoder::parser(codec)).unwrap();
        graph.chain(&[&source, &graph::only(&caps).unwrap(), &coder, &parse, sink.upcast_ref()]).unwrap();
        graph.play(gst::ClockTime::ZERO).unwrap();
        assert_eq!(wait(&graph, Duration::from_secs(10)), End::Complete);
        drop(graph);
        std::mem::take(&mut *units.lock().unwrap())
    }

    /// Breaks the picture's data; its headers stay.
    fn garble(unit: &mut [u8]) {
        let is_slice = |four: &[u8]| four[..3] == [0, 0, 1] && matches!(four[3] & 0x1f, 1 | 5);
        let first = unit.windows(4).position(is_slice).unwrap();
        for byte in unit.iter_mut().skip(first + 16) {
            *byte = (*byte ^ 0x5a) | 0x04; // never below 4, which would be a start code
        }
    }
}
