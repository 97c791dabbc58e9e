//! What the fakes promise, each alone.

mod faults;
mod habits;
mod text;

use gst::prelude::*;

/// An element by name, with properties as text.
pub fn make(element: &str, properties: &[(&str, &str)]) -> gst::Element {
    let made = gst::ElementFactory::make(element).build().unwrap();
    for (name, value) in properties {
        made.set_property_from_str(name, value);
    }
    made
}

/// How one is told a rate, and what it wants in front and behind.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub element: &'static str,
    pub property: &'static str,
    /// Bits per second of one step.
    pub unit: u32,
    pub memory: &'static str,
    pub asked: Option<&'static str>,
    /// What it is made with, beside the rate.
    pub settings: &'static [(&'static str, &'static str)],
    /// The name of the distance of key frames.
    pub gop: &'static str,
}

impl Way {
    pub fn make(&self, bits_per_second: u32, settings: &[(&str, &str)]) -> gst::Element {
        let encoder = make(self.element, self.settings);
        self.tell(&encoder, bits_per_second);
        for (name, value) in settings {
            encoder.set_property_from_str(name, value);
        }
        encoder
    }

    pub fn tell(&self, encoder: &gst::Element, bits_per_second: u32) {
        if self.property == "extra-controls" {
            let controls = gst::Structure::builder("controls").field("video_bitrate", bits_per_second as i32);
            encoder.set_property("extra-controls", controls.build());
        } else {
            encoder.set_property(self.property, bits_per_second / self.unit);
        }
    }
}

const NVMM: &str = "memory:NVMM";
const LEVEL_4: Option<&str> = Some("video/x-h264, level=(string)4, profile=main");

const fn way(element: &'static str, property: &'static str, unit: u32, gop: &'static str) -> Way {
    Way { element, property, unit, memory: "", asked: None, settings: &[], gop }
}

pub const WAYS: [Way; 12] = [
    Way { settings: &[("cpb-size", "400")], ..way("vah264enc", "bitrate", 1_000, "key-int-max") },
    Way { settings: &[("cpb-size", "400")], ..way("vah264lpenc", "bitrate", 1_000, "key-int-max") },
    Way { settings: &[("cpb-length", "300")], ..way("vaapih264enc", "bitrate", 1_000, "keyframe-period") },
    Way {
        settings: &[("disable-hrd-conformance", "true")],
        ..way("qsvh264enc", "bitrate", 1_000, "gop-size")
    },
    Way { asked: LEVEL_4, ..way("v4l2h264enc", "extra-controls", 1, "h264_i_frame_period") },
    Way { settings: &[("gop-size", "-1")], ..way("nvcudah264enc", "bitrate", 1_024, "gop-size") },
    Way { settings: &[("gop-size", "-1")], ..way("nvautogpuh264enc", "bitrate", 1_024, "gop-size") },
    Way { settings: &[("gop-size", "-1")], ..way("nvh264enc", "bitrate", 1_024, "gop-size") },
    Way {
        memory: NVMM,
        settings: &[("vbv-size", "300000")],
        ..way("nvv4l2h264enc", "bitrate", 1, "idrinterval")
    },
    Way { settings: &[("gop", "1000")], ..way("mpph264enc", "bps", 1, "gop") },
    way("vah265enc", "bitrate", 1_000, "key-int-max"),
    way("qsvh265enc", "bitrate", 1_000, "gop-size"),
];

pub fn way_of(element: &str) -> Way {
    WAYS.into_iter().find(|way| way.element == element).unwrap()
}
