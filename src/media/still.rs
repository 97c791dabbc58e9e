//! A picture as JPEG.
//!
//! All of it happens on the calling thread, without a pipeline: GStreamer's pipelines run on threads that they
//! share with the encoder's, and those are not to wait, nor to be slowed, for somebody who looks on.

use std::sync::mpsc;

use gst::prelude::*;
use gst_video::{VideoColorMatrix, VideoColorRange, VideoFrameRef, VideoInfo};

use super::error::Error;
use super::glimpse::Seen;
use super::graph;

impl Seen {
    /// Copies the picture's bytes, so that its source has its buffer back: the first thing to do with one.
    ///
    /// # Errors
    /// When its memory cannot be read.
    pub fn copied(self) -> Result<Seen, Error> {
        let picture = self.picture.copy_deep().map_err(|error| still(error.to_string()))?;
        Ok(Seen { picture, caps: self.caps })
    }

    /// As JPEG, at most this many pixels wide, in its own shape. Takes some milliseconds of processor time on this
    /// thread.
    ///
    /// # Errors
    /// When GStreamer has no `jpegenc`, or the picture is in a form that it cannot convert.
    pub fn jpeg(&self, widest: u32) -> Result<Vec<u8>, Error> {
        let from = VideoInfo::from_caps(&self.caps).map_err(|error| still(error.to_string()))?;
        let (width, height) = fitted(from.width(), from.height(), widest);
        let format = gst_video::VideoFormat::I420;
        let to = VideoInfo::builder(format, width, height)
            .colorimetry(&full_range(&from))
            .chroma_site(gst_video::VideoChromaSite::JPEG)
            .fps(from.fps()) // the converter wants both sides alike
            .par(from.par())
            .build()
            .map_err(|error| still(error.to_string()))?;
        let converted = converted(&self.picture, &from, &to)?;
        encoded(&to, converted)
    }
}

/// JPEG's files are of the full range, by BT.601; transfer and primaries are nowhere told, and stay.
fn full_range(from: &VideoInfo) -> gst_video::VideoColorimetry {
    let colours = from.colorimetry();
    gst_video::VideoColorimetry::new(
        VideoColorRange::Range0_255,
        VideoColorMatrix::Bt601,
        colours.transfer(),
        colours.primaries(),
    )
}

/// Even sides, at most so wide, of the same shape.
fn fitted(width: u32, height: u32, widest: u32) -> (u32, u32) {
    let even = |side: u64| u32::try_from((side & !1).max(2)).unwrap_or(u32::MAX);
    if width <= widest {
        return (even(u64::from(width)), even(u64::from(height)));
    }
    let lines = u64::from(height) * u64::from(widest) / u64::from(width.max(1));
    (even(u64::from(widest)), even(lines))
}

fn converted(picture: &gst::BufferRef, from: &VideoInfo, to: &VideoInfo) -> Result<gst::Buffer, Error> {
    let mut quick = gst_video::VideoConverterConfig::new();
    quick.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
    let converter =
        gst_video::VideoConverter::new(from, to, Some(quick)).map_err(|error| still(error.to_string()))?;
    let mut result = gst::Buffer::with_size(to.size()).map_err(|error| still(error.to_string()))?;
    {
        let unreadable = |error: gst::glib::BoolError| still(error.to_string());
        let source = VideoFrameRef::from_buffer_ref_readable(picture, from).map_err(unreadable)?;
        let target = result.get_mut().expect("nobody else has this buffer yet");
        let mut target = VideoFrameRef::from_buffer_ref_writable(target, to).map_err(unreadable)?;
        converter.frame_ref(&source, &mut target);
    }
    result.get_mut().expect("nobody else has this buffer yet").set_pts(gst::ClockTime::ZERO);
    Ok(result)
}

/// Pushes one picture through `jpegenc`, which encodes on the thread of whoever pushes.
fn encoded(info: &VideoInfo, picture: gst::Buffer) -> Result<Vec<u8>, Error> {
    let encoder = graph::make("jpegenc", |encoder| encoder.property("quality", QUALITY))?;
    let (sender, coded) = mpsc::sync_channel(1);
    let outlet = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |_, _, buffer| match sender.try_send(buffer) {
            Ok(()) | Err(mpsc::TrySendError::Full(_)) => Ok(gst::FlowSuccess::Ok),
            Err(mpsc::TrySendError::Disconnected(_)) => Err(gst::FlowError::Flushing),
        })
        .event_function(|_, _, _| true)
        .build();
    outlet.set_active(true).map_err(|error| still(error.to_string()))?;
    graph::pad(&encoder, "src").link(&outlet).map_err(|error| still(error.to_string()))?;
    encoder.set_state(gst::State::Playing).map_err(|error| still(error.to_string()))?;
    let result = pushed(&graph::pad(&encoder, "sink"), info, picture);
    let ended = encoder.set_state(gst::State::Null).map_err(|error| still(error.to_string()));
    result.and(ended.map(|_| ()))?;
    let coded = coded.try_recv().map_err(|_| still("the encoder gave none".to_owned()))?;
    let bytes = coded.map_readable().map_err(|error| still(error.to_string()))?;
    Ok(bytes.to_vec())
}

fn pushed(inlet: &gst::Pad, info: &VideoInfo, picture: gst::Buffer) -> Result<(), Error> {
    let caps = info.to_caps().map_err(|error| still(error.to_string()))?;
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    for event in [
        gst::event::StreamStart::new("still"),
        gst::event::Caps::new(&caps),
        gst::event::Segment::new(&segment),
    ] {
        if !inlet.send_event(event) {
            return Err(still("the encoder does not take its form".to_owned()));
        }
    }
    inlet.chain(picture).map_err(|error| still(error.to_string()))?;
    inlet.send_event(gst::event::Eos::new()); // of one picture it has given the result by now
    Ok(())
}

fn still(reason: String) -> Error {
    Error::Still { reason }
}

/// Of 100: a face is told from another, and 1280×720 are some 100 kB.
const QUALITY: i32 = 75;

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one colour: red, in BT.709's limited range, as a camera's would be.
    fn red(width: u32, height: u32) -> Seen {
        crate::media::init().unwrap();
        let info = VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
            .colorimetry(&"bt709".parse().unwrap())
            .fps(gst::Fraction::new(30, 1))
            .par(gst::Fraction::new(1, 1))
            .build()
            .unwrap();
        let mut picture = gst::Buffer::with_size(info.size()).unwrap();
        {
            let target = picture.get_mut().unwrap();
            let mut frame = VideoFrameRef::from_buffer_ref_writable(target, &info).unwrap();
            for (plane, value) in [(0, 63), (1, 102), (2, 240)] {
                frame.plane_data_mut(plane).unwrap().fill(value);
            }
        }
        Seen { picture, caps: info.to_caps().unwrap() }
    }

    #[test]
    fn a_still_is_fitted_and_keeps_its_shape() {
        assert_eq!(fitted(1920, 1080, 1280), (1280, 720));
        assert_eq!(fitted(640, 360, 1280), (640, 360));
        assert_eq!(fitted(720, 576, 320), (320, 256));
        assert_eq!(fitted(1279, 719, 1280), (1278, 718));
        assert_eq!(fitted(7680, 2, 320), (320, 2));
    }

    #[test]
    fn a_still_is_a_jpeg_of_the_asked_size_with_the_pictures_colours() {
        let jpeg = red(1920, 1080).copied().unwrap().jpeg(640).unwrap();
        assert_eq!((&jpeg[..2], &jpeg[jpeg.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
        let rgb = decoded(&jpeg);
        let info = VideoInfo::from_caps(&rgb.1).unwrap();
        assert_eq!((info.width(), info.height()), (640, 360));
        let pixels = rgb.0.map_readable().unwrap();
        let middle = info.stride()[0] as usize * 180 + 3 * 320;
        let [r, g, b] = [pixels[middle], pixels[middle + 1], pixels[middle + 2]];
        assert!(r > 245 && g < 12 && b < 12, "{r} {g} {b}");
    }

    #[test]
    fn what_is_no_raw_picture_is_refused() {
        crate::media::init().unwrap();
        let caps = gst::Caps::builder("image/jpeg").build();
        let error = Seen { picture: gst::Buffer::new(), caps }.jpeg(640).unwrap_err();
        assert!(matches!(error, Error::Still { .. }), "{error}");
        let short = Seen { picture: gst::Buffer::with_size(10).unwrap(), ..red(640, 360) };
        assert!(short.jpeg(640).is_err());
    }

    /// By another decoder than the encoder's own library would be: GStreamer's, with its reading of colours.
    fn decoded(jpeg: &[u8]) -> (gst::Buffer, gst::Caps) {
        let graph = graph::Graph::new("decoded still");
        let inlet = gst_app::AppSrc::builder().caps(&gst::Caps::builder("image/jpeg").build()).build();
        let (decoder, convert) = (graph::plain("jpegdec").unwrap(), graph::plain("videoconvert").unwrap());
        let rgb = graph::only(&gst::Caps::builder("video/x-raw").field("format", "RGB").build()).unwrap();
        let outlet = gst_app::AppSink::builder().sync(false).build();
        graph.chain(&[inlet.upcast_ref(), &decoder, &convert, &rgb, outlet.upcast_ref()]).unwrap();
        graph.play(gst::ClockTime::ZERO).unwrap();
        inlet.push_buffer(gst::Buffer::from_slice(jpeg.to_vec())).unwrap();
        inlet.end_of_stream().unwrap();
        let sample = outlet.try_pull_sample(gst::ClockTime::from_seconds(10)).unwrap();
        (sample.buffer_owned().unwrap(), sample.caps_owned().unwrap())
    }
}
