//! An encoder in a pipeline: made as its row says, told its rate, asked for key frames.
//!
//! ```text
//! ─▶ [converter … ─▶ its caps] ─▶ (into DMABufs) ─▶ element ─▶ profile and level ─▶
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;

use super::super::error::Error;
use super::super::graph;
use super::super::heap::Heap;
use super::super::memory::{self, Admission, Facts, Way as MemoryWay};
use super::backend::{Backend, Conversion, Input, Place, Settings, Way, gstreamer_version};
use super::import::Importer;
use super::{EncoderInfo, MemoryInUse, MemoryPath};
use crate::config::Codec;
use crate::units::Bitrate;

/// An encoder: a short chain of elements, not yet in a pipeline.
pub(in crate::media) struct Encoder {
    /// Before the element; empty where it takes the stream's pixel format.
    before: Vec<gst::Element>,
    pub(in crate::media) element: gst::Element,
    /// The element's output, narrowed to what the row asks for.
    output: gst::Element,
    /// The parser of what comes out.
    pub(in crate::media) parser: &'static str,
    memory: Memory,
    controls: Arc<Controls>,
}

/// How pictures get to it.
enum Memory {
    Imported(Arc<Importer>),
    Copied {
        path: MemoryPath,
        /// Why it does not import, where it could.
        because: Option<String>,
    },
}

/// How the element is told things while it runs, from any thread.
struct Controls {
    backend: &'static Backend,
    element: gst::Element,
    /// V4L2 controls that are set once: the property holds all of them at any time.
    fixed: Vec<(&'static str, i32)>,
    way: Way,
    told: Mutex<Told>,
}

/// What the element was told last.
#[derive(Clone, Copy)]
struct Told {
    /// In the element's unit. Some answer even an equal value with a key frame.
    value: u32,
    /// The rate that the buffer was sized for.
    buffer: Bitrate,
}

impl Backend {
    /// Makes the encoder. That it can be made does not mean that its device works. `refused`: why pictures are not
    /// to be imported, even if it could.
    ///
    /// # Errors
    /// When an element is missing, or lacks a property without which a live stream cannot do.
    pub(in crate::media) fn build(
        &'static self,
        settings: &Settings,
        refused: Option<&str>,
    ) -> Result<Encoder, Error> {
        let name = self.info.element;
        if gst::ElementFactory::find(name).is_none() {
            return Err(Error::MissingElement { element: name, package: self.info.package });
        }
        let element = graph::plain(name)?;
        let (before, memory) = self.way_in(settings, refused, &element)?;
        for setting in (self.settings)(settings) {
            setting.apply(&element, name)?;
        }
        let value = self.rate_value(settings.start);
        let told = Told { value, buffer: self.rate_of(value) };
        let controls = Controls {
            backend: self,
            element: element.clone(),
            fixed: (self.controls)(settings),
            way: self.key_frames.way(gstreamer_version()),
            told: Mutex::new(told),
        };
        controls.require_rate()?;
        controls.size_buffer(told.buffer);
        controls.set_rate(value, None);
        let output = graph::only(&self.output_caps(settings))?;
        let controls = Arc::new(controls);
        answer_downstream_wishes(before.first().unwrap_or(&element), &controls);
        Ok(Encoder { before, element, output, parser: self.parser(), memory, controls })
    }

    /// What stands before the element, and how pictures get to it so.
    fn way_in(
        &self,
        settings: &Settings,
        refused: Option<&str>,
        element: &gst::Element,
    ) -> Result<(Vec<gst::Element>, Memory), Error> {
        let because = match self.importer(settings, refused, element) {
            Ok(importer) => return Ok((Vec::new(), Memory::Imported(importer))),
            Err(because) => because,
        };
        let (before, path) = self.copying_way(settings.pixels)?;
        Ok((before, Memory::Copied { path, because }))
    }

    /// Has the element import; else tells why it does not, where it could.
    fn importer(
        &self,
        settings: &Settings,
        refused: Option<&str>,
        element: &gst::Element,
    ) -> Result<Arc<Importer>, Option<String>> {
        let import = self.import.filter(|import| element.has_property(import.property)).ok_or(None)?;
        let heap = Heap::open();
        let no_heap = heap.as_ref().err().map(ToString::to_string);
        let way = memory::way(&Facts {
            imports: true,
            pixels: settings.pixels,
            native: self.pixels,
            width: settings.width,
            stride: self.info.limits.stride,
            no_heap: no_heap.as_deref(),
            refused,
        });
        match (way, heap) {
            (MemoryWay::Imported, Ok(heap)) => {
                element.set_property_from_str(import.property, import.value);
                Ok(Importer::install(heap, element))
            }
            (MemoryWay::Imported, Err(error)) => Err(Some(error.to_string())),
            (MemoryWay::Copied { because }, _) => Err(because),
        }
    }

    fn copying_way(&self, pixels: &str) -> Result<(Vec<gst::Element>, MemoryPath), Error> {
        let is_native = self.pixels.contains(&pixels);
        if is_native && self.input == Input::System {
            return Ok((Vec::new(), self.info.memory));
        }
        let has = |element: &&'static str| gst::ElementFactory::find(element).is_some();
        let own = self.conversion.filter(|own| own.elements.iter().all(has));
        let conversion = match (own, self.input) {
            (Some(own), _) => own,
            (None, Input::System) => BY_CPU,
            (None, Input::Only(memory)) => {
                let reason =
                    format!("it takes pictures in {memory} memory alone, and its converter is missing");
                return Err(Error::Unavailable { what: self.info.element.to_owned(), reason });
            }
        };
        let mut elements: Vec<gst::Element> =
            conversion.elements.iter().map(|element| graph::plain(element)).collect::<Result<_, _>>()?;
        let caps = gst::Caps::builder("video/x-raw").field("format", self.native_pixels());
        elements.push(graph::only(&match conversion.memory {
            Some(memory) => caps.features([memory]).build(),
            None => caps.build(),
        })?);
        Ok((elements, conversion.path))
    }

    fn output_caps(&self, settings: &Settings) -> gst::Caps {
        let media = match self.info.codec {
            Codec::H264 => "video/x-h264",
            Codec::H265 => "video/x-h265",
        };
        let mut caps =
            gst::Caps::builder(media).field("stream-format", "byte-stream").field("alignment", "au");
        match self.profiles {
            [] => {}
            [profile] => caps = caps.field("profile", *profile),
            several => caps = caps.field("profile", gst::List::new(several.iter().copied())),
        }
        if let Some(level) = self.level {
            caps = caps.field("level", level(settings));
        }
        caps.build()
    }
}

impl Encoder {
    pub(in crate::media) fn info(&self) -> &'static EncoderInfo {
        &self.controls.backend.info
    }

    /// The elements in the order in which they are linked: converters, the encoder, a filter.
    pub(in crate::media) fn chain(&self) -> Vec<&gst::Element> {
        self.before.iter().chain([&self.element, &self.output]).collect()
    }

    /// How pictures get to it.
    pub(in crate::media) fn memory(&self) -> MemoryInUse {
        match &self.memory {
            Memory::Imported(importer) => match importer.newest() {
                Some(Admission::Copied(mismatch)) => {
                    let reason = Some(mismatch.to_string());
                    MemoryInUse { converter: None, copies: 1, description: COPIED_TO_IMPORT, reason }
                }
                Some(Admission::AsItIs) | None => {
                    MemoryInUse { converter: None, copies: 0, description: IMPORTED, reason: None }
                }
            },
            Memory::Copied { path: MemoryPath { converter, copies, description }, because } => {
                let (converter, copies, description) = (*converter, *copies, *description);
                MemoryInUse { converter, copies, description, reason: because.clone() }
            }
        }
    }

    /// Whether it imports pictures.
    pub(in crate::media) fn imports(&self) -> bool {
        matches!(self.memory, Memory::Imported(_))
    }

    /// To be called once the element has its format and before it has a picture.
    ///
    /// # Errors
    /// When it imports, and it is not known how pictures lie in its buffers: then it must not be given any.
    pub(in crate::media) fn agree_on_memory(&self) -> Result<(), Error> {
        match &self.memory {
            Memory::Imported(importer) => importer.agree(&self.element),
            Memory::Copied { .. } => Ok(()),
        }
    }

    /// Changes the rate of the running encoder, and of its buffer where that does not follow by itself; an
    /// unchanged value does not reach the element.
    pub(in crate::media) fn set_target(&self, target: Bitrate) {
        self.controls.set_target(target);
    }

    /// Has the next frame coded as a key frame with all parameter sets. False: the element did not take it.
    pub(in crate::media) fn force_key_frame(&self) -> bool {
        self.controls.force_key_frame()
    }

    /// A property of the element as GStreamer writes it.
    pub(in crate::media) fn property(&self, name: &str) -> Option<String> {
        let spec = self.element.find_property(name)?;
        let value = self.element.property_value(spec.name());
        value.serialize().ok().map(Into::into)
    }
}

impl Controls {
    fn set_target(&self, target: Bitrate) {
        let value = self.backend.rate_value(target);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.value == value {
            return;
        }
        let rate = self.backend.rate_of(value);
        // The buffer first: some elements look at it only when the rate is set.
        if self.backend.buffer.is_some_and(|buffer| buffer.is_due(told.buffer, rate)) {
            self.size_buffer(rate);
            told.buffer = rate;
        }
        self.set_rate(value, None);
        told.value = value;
    }

    fn force_key_frame(&self) -> bool {
        match self.way {
            Way::Event => self.send_event(),
            Way::SameRate => {
                let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                // What the element wrote back may be larger than what it was told.
                self.size_buffer(told.buffer);
                self.set_rate(told.value, None);
                true
            }
            Way::Control(button) => {
                let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                self.set_rate(told.value, Some(button));
                true
            }
            Way::Signal(name) => {
                if glib::subclass::SignalId::lookup(name, self.element.type_()).is_none() {
                    return self.send_event();
                }
                self.element.emit_by_name::<()>(name, &[]);
                true
            }
        }
    }

    fn send_event(&self) -> bool {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        graph::pad(&self.element, "src").send_event(event)
    }

    /// `button`: a control to press with it.
    fn set_rate(&self, value: u32, button: Option<&'static str>) {
        match self.backend.rate.place {
            Place::Property(property) => self.set_number(property, value),
            Place::Control(control) => {
                let value = i32::try_from(value).unwrap_or(i32::MAX); // the row's range is below that
                let mut controls = gst::Structure::new_empty("controls");
                for (name, value) in self.fixed.iter().copied().chain([(control, value)]) {
                    controls.set(name, value);
                }
                if let Some(button) = button {
                    controls.set(button, 1i32);
                }
                self.element.set_property(EXTRA_CONTROLS, controls);
            }
        }
    }

    fn size_buffer(&self, rate: Bitrate) {
        if let Some(buffer) = self.backend.buffer
            && self.element.has_property(buffer.property)
        {
            self.set_number(buffer.property, buffer.value(rate));
        }
    }

    /// A whole number, whatever kind of one the property is.
    fn set_number(&self, property: &str, value: u32) {
        let is_signed = self.element.property_type(property) == Some(i32::static_type());
        if is_signed {
            self.element.set_property(property, i32::try_from(value).unwrap_or(i32::MAX));
        } else {
            self.element.set_property(property, value);
        }
    }

    /// An element of this name from elsewhere, without what the row goes by, is an error and no panic.
    fn require_rate(&self) -> Result<(), Error> {
        let (property, kinds) = match self.backend.rate.place {
            Place::Property(property) => (property, [u32::static_type(), i32::static_type()]),
            Place::Control(_) => (EXTRA_CONTROLS, [gst::Structure::static_type(); 2]),
        };
        match self.element.property_type(property) {
            Some(kind) if kinds.contains(&kind) => Ok(()),
            Some(_) | None => Err(Error::Unavailable {
                what: self.backend.info.element.to_owned(),
                reason: format!("it has no property {property} of the kind that its rate is told by"),
            }),
        }
    }
}

/// Key frames that are due are asked for from upstream ([`super::super::Reduction`]), by the event. Where
/// the element does not heed that, its own way is taken instead.
fn answer_downstream_wishes(first: &gst::Element, controls: &Arc<Controls>) {
    if controls.way == Way::Event {
        return;
    }
    let controls = Arc::downgrade(controls);
    graph::pad(first, "sink").add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let is_wish = info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event));
        match controls.upgrade() {
            Some(controls) if is_wish && controls.force_key_frame() => gst::PadProbeReturn::Drop,
            Some(_) | None => gst::PadProbeReturn::Ok,
        }
    });
}

const IMPORTED: &str = "DMABuf; imported by the encoder as it is";
const COPIED_TO_IMPORT: &str = "copied into a DMABuf, which the encoder imports";

const EXTRA_CONTROLS: &str = "extra-controls";

/// What every machine has.
const BY_CPU: Conversion = Conversion {
    elements: &["videoconvertscale"],
    memory: None,
    path: MemoryPath {
        converter: Some("videoconvertscale"),
        copies: 2,
        description: "converted by the CPU in system memory, then copied by the encoder",
    },
};
