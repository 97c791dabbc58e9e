//! What a row of the table says, and what follows from it before anything runs.

use std::fmt;
use std::time::Duration;

use super::super::format::{fraction, side};
use super::import::Import;
use super::setting::Setting;
use super::{EncoderInfo, MemoryPath};
use crate::config::{EncoderChoice, Framerate};
use crate::units::Bitrate;

/// One row of the table.
pub(in crate::media) struct Backend {
    pub(super) info: EncoderInfo,
    /// Versions of GStreamer whose element of that name this row is.
    pub(super) versions: Versions,
    /// The plugin that brings the element, where it finds a device.
    pub(super) plugin: &'static str,
    /// What the plugin wants to find, or where the package comes from: for whoever misses the element.
    pub(super) wants: &'static str,
    /// Pixel formats that it takes as they are, the best first.
    pub(super) pixels: &'static [&'static str],
    pub(super) input: Input,
    /// How it is told to take DMABufs as they are; `None`: it copies from whatever it is given.
    pub(super) import: Option<Import>,
    /// What converts the other pixel formats; where it is missing, `videoconvertscale` does.
    pub(super) conversion: Option<Conversion>,
    pub(super) rate: Rate,
    pub(super) buffer: Option<Buffer>,
    pub(super) key_frames: KeyFrames,
    /// Profiles to ask for, the best first.
    pub(super) profiles: &'static [&'static str],
    /// The level to ask for, where the element would otherwise take one that is too low.
    pub(super) level: Option<fn(&Settings) -> &'static str>,
    pub(super) settings: fn(&Settings) -> Vec<Setting>,
    /// V4L2 controls beside that of the rate, by GStreamer's spelling of their names.
    pub(super) controls: fn(&Settings) -> Vec<(&'static str, i32)>,
}

/// What a stream asks of its encoder when it starts.
#[derive(Clone, Copy, Debug)]
pub(in crate::media) struct Settings {
    pub(in crate::media) width: u32,
    pub(in crate::media) height: u32,
    pub(in crate::media) framerate: Framerate,
    pub(in crate::media) keyframe_interval: Duration,
    pub(in crate::media) start: Bitrate,
    /// The stream's pixel format, fixed before the switch. Where the element does not take it, the encoder
    /// begins with a converter.
    pub(in crate::media) pixels: &'static str,
    /// One of [`EncoderInfo::presets`]; the row's own choice where there is none.
    pub(in crate::media) preset: Option<&'static str>,
}

/// GStreamer's versions, major, minor and micro.
pub(super) type Version = (u32, u32, u32);

#[derive(Clone, Copy)]
pub(super) struct Versions {
    pub(super) from: Version,
    /// The first that no longer has it under this name.
    pub(super) before: Option<Version>,
}

/// In what memory the element takes pictures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    System,
    /// In this memory alone: a converter is always needed.
    Only(&'static str),
}

/// A way from system memory and any pixel format to what the element takes.
#[derive(Clone, Copy)]
pub(super) struct Conversion {
    /// In this order.
    pub(super) elements: &'static [&'static str],
    /// The caps feature of what comes out, where that is not system memory.
    pub(super) memory: Option<&'static str>,
    pub(super) path: MemoryPath,
}

/// How the element is told its rate.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    pub(super) place: Place,
    /// One step of the value.
    pub(super) unit: Bitrate,
    /// Smallest and largest value.
    pub(super) range: (u32, u32),
}

#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A property.
    Property(&'static str),
    /// A field of the `extra-controls` property, an `i32`.
    Control(&'static str),
}

/// The buffer whose size bounds how long the encoder may exceed its rate, where that size is an amount of
/// data and must follow the rate.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    /// Not every device has it.
    pub(super) property: &'static str,
    /// Bits of one step.
    pub(super) unit: u64,
    /// What the buffer holds of the rate.
    pub(super) time: Duration,
    /// It is set anew when the rate has changed by this factor since: 1.0 is at each change.
    pub(super) factor: f64,
}

/// How a key frame is asked for.
#[derive(Clone, Copy)]
pub(super) struct KeyFrames {
    pub(super) way: Way,
    /// Before this version of GStreamer, another way.
    pub(super) once: Option<(Version, Way)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// GStreamer's force-key-unit event.
    Event,
    /// The rate is set again: the element begins anew even for an equal one.
    SameRate,
    /// A button among the V4L2 controls.
    Control(&'static str),
    /// An action signal of the element.
    Signal(&'static str),
}

/// Why a row cannot be tried here.
pub(super) enum Obstacle {
    Version {
        versions: Versions,
        here: Version,
    },
    MissingPackage {
        package: &'static str,
        wants: &'static str,
    },
    NoDevice {
        plugin: &'static str,
        wants: &'static str,
    },
    /// What is asked for cannot be, with what there is.
    Mode(String),
}

impl Backend {
    /// The pixel format to give it, where there is a choice.
    pub(in crate::media) fn native_pixels(&self) -> &'static str {
        self.pixels[0]
    }

    /// Whether it can take DMABufs as they are.
    pub(in crate::media) fn can_import(&self) -> bool {
        self.import.is_some()
    }

    pub(super) fn is(&self, choice: &EncoderChoice) -> bool {
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

    /// Why it cannot encode this mode here; `None`: it can be tried.
    pub(super) fn obstacle(&self, width: u32, height: u32, framerate: Framerate) -> Option<Obstacle> {
        let here = gstreamer_version();
        if !self.versions.contain(here) {
            return Some(Obstacle::Version { versions: self.versions, here });
        }
        // The element is what counts: plugins are installed that find no device and register nothing.
        let Some(factory) = gst::ElementFactory::find(self.info.element) else {
            let wants = self.wants;
            return Some(match gst::Registry::get().find_plugin(self.plugin) {
                Some(_) => Obstacle::NoDevice { plugin: self.plugin, wants },
                None => Obstacle::MissingPackage { package: self.info.package, wants },
            });
        };
        if let Some(converter) = self.missing_converter() {
            return Some(Obstacle::Mode(format!("its pictures come through {converter}, which is missing")));
        }
        let refused = self.refusal(width, height, framerate);
        refused.or_else(|| refusal_of(&factory, width, height, framerate)).map(Obstacle::Mode)
    }

    /// The element that it cannot do without and that is not here.
    fn missing_converter(&self) -> Option<&'static str> {
        let elements = self.conversion.filter(|_| self.input != Input::System)?.elements;
        elements.iter().copied().find(|element| gst::ElementFactory::find(element).is_none())
    }

    /// What of the mode is beyond the row's limits.
    pub(super) fn refusal(&self, width: u32, height: u32, framerate: Framerate) -> Option<String> {
        let limits = &self.info.limits;
        if width > limits.max_width || height > limits.max_height {
            let (most, lines) = (limits.max_width, limits.max_height);
            return Some(format!("{width}×{height} is more than the {most}×{lines} that it can do"));
        }
        (framerate.as_f64() < limits.min_framerate).then(|| {
            let least = limits.min_framerate;
            format!("{framerate} pictures a second are fewer than the {least} that it needs")
        })
    }

    /// `target` in the unit of the element, within its range.
    pub(super) fn rate_value(&self, target: Bitrate) -> u32 {
        let target = target.as_bps().min(self.info.limits.max_bitrate.as_bps());
        let steps = target / self.rate.unit.as_bps();
        let (smallest, largest) = self.rate.range;
        u32::try_from(steps).unwrap_or(largest).clamp(smallest, largest)
    }

    /// The rate that a value stands for.
    pub(super) fn rate_of(&self, value: u32) -> Bitrate {
        Bitrate::from_bps(u64::from(value) * self.rate.unit.as_bps())
    }

    /// The element that cuts what comes out into access units.
    pub(in crate::media) fn parser(&self) -> &'static str {
        super::parser(self.info.codec)
    }
}

impl Buffer {
    /// Its size for `rate` in the unit of its property.
    pub(super) fn value(&self, rate: Bitrate) -> u32 {
        let bits = u128::from(rate.as_bps()) * self.time.as_millis() / 1000;
        u32::try_from(bits.div_ceil(u128::from(self.unit))).unwrap_or(u32::MAX).max(1)
    }

    /// Whether a buffer that was sized for one rate no longer does for another.
    pub(super) fn is_due(&self, sized_for: Bitrate, rate: Bitrate) -> bool {
        let (a, b) = (sized_for.as_bps().max(1) as f64, rate.as_bps().max(1) as f64);
        a != b && (a / b).max(b / a) >= self.factor
    }
}

impl KeyFrames {
    pub(super) const EVENT: KeyFrames = KeyFrames { way: Way::Event, once: None };

    /// The way of a version of GStreamer.
    pub(super) fn way(&self, version: Version) -> Way {
        match self.once {
            Some((until, way)) if version < until => way,
            Some(_) | None => self.way,
        }
    }
}

impl Versions {
    pub(super) const fn since(from: Version) -> Versions {
        Versions { from, before: None }
    }

    pub(super) fn contain(&self, version: Version) -> bool {
        version >= self.from && self.before.is_none_or(|before| version < before)
    }
}

impl Settings {
    /// Pictures from one key frame to the next, 1 to 4800: 20 s at 240 a second.
    pub(super) fn group(&self) -> u32 {
        let frames = self.framerate.as_f64() * self.keyframe_interval.as_secs_f64();
        (frames.round() as u32).max(1)
    }
}

impl Obstacle {
    /// Whether an installation of the row's package is what helps.
    pub(super) fn is_missing_package(&self) -> bool {
        matches!(self, Obstacle::MissingPackage { .. })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Version { versions, here } => {
                let dotted = |(major, minor, micro): Version| format!("{major}.{minor}.{micro}");
                write!(f, "it is that of GStreamer {} on", dotted(versions.from))?;
                if let Some(before) = versions.before {
                    write!(f, " and before {}", dotted(before))?;
                }
                write!(f, ", and this is {}", dotted(*here))
            }
            Obstacle::MissingPackage { package, wants } => {
                write!(f, "GStreamer has no such element: install the Debian package {package}; it {wants}")
            }
            Obstacle::NoDevice { plugin, wants } => {
                write!(f, "GStreamer's plugin {plugin} is there and found no device for it: it {wants}")
            }
            Obstacle::Mode(reason) => f.write_str(reason),
        }
    }
}

/// What of the mode the element refuses: what a driver told its plugin stands in the template of its pad. One
/// without a template says nothing.
fn refusal_of(
    factory: &gst::ElementFactory,
    width: u32,
    height: u32,
    framerate: Framerate,
) -> Option<String> {
    let mode = gst::Caps::builder("video/x-raw")
        .any_features()
        .field("width", side(width))
        .field("height", side(height))
        .field("framerate", fraction(framerate))
        .build();
    let mut inputs = factory
        .static_pad_templates()
        .into_iter()
        .filter(|template| template.direction() == gst::PadDirection::Sink)
        .peekable();
    let takes = inputs.peek().is_none() || inputs.any(|template| template.caps().can_intersect(&mode));
    (!takes).then(|| format!("the one of this machine takes no {width}×{height} at {framerate}"))
}

pub(super) fn gstreamer_version() -> Version {
    let (major, minor, micro, _) = gst::version();
    (major, minor, micro)
}

/// For rows that know no V4L2 controls.
pub(super) fn no_controls(_: &Settings) -> Vec<(&'static str, i32)> {
    Vec::new()
}
