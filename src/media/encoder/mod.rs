//! The encoder back ends: one row each. Nothing about an encoder stands anywhere else.

mod openh264;
mod x264;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::element_factory::ElementBuilder;
use gst::prelude::*;

use super::error::Error;
use super::graph;
use crate::config::{Codec, EncoderChoice, Framerate};
use crate::units::Bitrate;

/// What a stream's pictures are encoded with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderInfo {
    /// The family, as in `video.encoder`.
    pub backend: &'static str,
    /// GStreamer's name of the element.
    pub element: &'static str,
    pub codec: Codec,
    pub hardware: bool,
    /// Smallest relative change of its rate that is worth making: 0.02 is 2 %.
    pub rate_step: f64,
    /// Least time between two changes of its rate.
    pub rate_interval: Duration,
    /// Whether each change of its rate brings a key frame.
    pub rate_change_is_key_frame: bool,
    /// Whether its pictures can change in size and rate while it runs ([`super::Encode::reduce`]).
    pub resizes: bool,
}

/// One row of the table.
pub(super) struct Backend {
    pub(super) info: EncoderInfo,
    /// The pixel format that the element takes without converting.
    pub(super) pixels: &'static str,
    /// The element's bitrate property, a `guint`.
    rate_property: &'static str,
    /// One step of that property.
    rate_unit: Bitrate,
    /// The property's smallest and largest value.
    rate_range: (u32, u32),
    /// What is asked of the element's output, beside byte-stream access units.
    profile: &'static str,
    configure: for<'a> fn(ElementBuilder<'a>, &Settings) -> ElementBuilder<'a>,
}

/// What a stream asks of its encoder when it starts.
pub(super) struct Settings {
    pub(super) framerate: Framerate,
    pub(super) keyframe_interval: Duration,
    pub(super) start: Bitrate,
}

/// An encoder in a pipeline.
pub(super) struct Encoder {
    backend: &'static Backend,
    pub(super) element: gst::Element,
    /// The element's output, narrowed to the row's profile.
    pub(super) output: gst::Element,
    /// The property's value that was set last: some encoders answer even an equal value with a key frame.
    set: AtomicU64,
}

/// The best back end that fits `choice` and that this machine has.
pub(super) fn choose(choice: &EncoderChoice, codec: Codec) -> Result<&'static Backend, Error> {
    let mut missing = None;
    for backend in BACKENDS.iter().filter(|backend| backend.info.codec == codec && backend.is(choice)) {
        match graph::require(backend.info.element) {
            Ok(()) => return Ok(backend),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    Err(missing.unwrap_or_else(|| Error::Unavailable {
        what: format!("video.encoder = \"{choice}\" with video.codec = \"{codec}\""),
        reason: format!("this version has {}", known_backends()),
    }))
}

/// All back ends that this version knows, in order of preference.
pub fn back_ends() -> impl Iterator<Item = &'static EncoderInfo> {
    BACKENDS.iter().map(|backend| &backend.info)
}

/// The row of a back end.
pub(super) fn row(info: &EncoderInfo) -> &'static Backend {
    BACKENDS
        .iter()
        .find(|backend| backend.info.element == info.element)
        .expect("every EncoderInfo is that of a row: nobody else makes one")
}

impl Backend {
    pub(super) fn build(&'static self, settings: &Settings) -> Result<Encoder, Error> {
        let rate = self.rate_value(settings.start);
        let element = graph::make(self.info.element, |builder| {
            (self.configure)(builder, settings).property(self.rate_property, rate)
        })?;
        let output = graph::only(
            &gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .field("profile", self.profile)
                .build(),
        )?;
        Ok(Encoder { backend: self, element, output, set: AtomicU64::new(u64::from(rate)) })
    }

    fn is(&self, choice: &EncoderChoice) -> bool {
        match choice {
            EncoderChoice::Auto => true,
            EncoderChoice::Element(name) => name == self.info.element,
            EncoderChoice::Vaapi
            | EncoderChoice::V4l2M2m
            | EncoderChoice::Nvenc
            | EncoderChoice::Qsv
            | EncoderChoice::Software => choice.to_string() == self.info.backend,
        }
    }

    /// `target` in the property's unit, within its range.
    fn rate_value(&self, target: Bitrate) -> u32 {
        let steps = target.as_bps() / self.rate_unit.as_bps();
        let (smallest, largest) = self.rate_range;
        u32::try_from(steps).unwrap_or(largest).clamp(smallest, largest)
    }
}

impl Encoder {
    pub(super) fn info(&self) -> &'static EncoderInfo {
        &self.backend.info
    }

    /// Changes the rate of the running encoder; an unchanged value does not reach it.
    pub(super) fn set_target(&self, target: Bitrate) {
        let value = self.backend.rate_value(target);
        if self.set.swap(u64::from(value), Ordering::Relaxed) != u64::from(value) {
            self.element.set_property(self.backend.rate_property, value);
        }
    }

    /// Has the next frame coded as a key frame with all parameter sets. False: the element did not take it.
    pub(super) fn force_key_frame(&self) -> bool {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        graph::pad(&self.element, "src").send_event(event)
    }
}

fn known_backends() -> String {
    let rows = BACKENDS.iter().map(|backend| {
        format!("{} ({}, {})", backend.info.backend, backend.info.element, backend.info.codec)
    });
    rows.collect::<Vec<_>>().join(", ")
}

/// In order of preference.
static BACKENDS: &[Backend] = &[x264::BACKEND, openh264::BACKEND];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_x264_and_the_rest_is_said_to_be_missing() {
        gst::init().unwrap();
        let x264 = EncoderChoice::Element("x264enc".to_owned());
        for choice in [EncoderChoice::Auto, EncoderChoice::Software, x264] {
            assert_eq!(choose(&choice, Codec::H264).ok().unwrap().info.element, "x264enc");
        }
        let other = EncoderChoice::Element("vp8enc".to_owned());
        for choice in
            [EncoderChoice::Vaapi, EncoderChoice::V4l2M2m, EncoderChoice::Nvenc, EncoderChoice::Qsv, other]
        {
            let error = choose(&choice, Codec::H264).err().unwrap();
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        }
        let error = choose(&EncoderChoice::Auto, Codec::H265).err().unwrap().to_string();
        assert_eq!(
            error,
            "video.encoder = \"auto\" with video.codec = \"h265\" is not available: \
             this version has software (x264enc, h264), software (openh264enc, h264)"
        );
    }

    #[test]
    fn a_target_becomes_the_elements_unit() {
        let backend = &x264::BACKEND;
        assert_eq!(backend.rate_value(Bitrate::from_kbps(6_000)), 6_000);
        assert_eq!(backend.rate_value(Bitrate::from_bps(999)), 1, "never zero, which x264 takes as free");
        assert_eq!(backend.rate_value(Bitrate::from_kbps(9_000_000)), 2_048_000);
    }
}
