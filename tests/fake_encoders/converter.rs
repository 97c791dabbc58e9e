//! Converters of the hardware encoders' families: they bring pictures into the memory that an encoder takes, in
//! name only. Those whose real one converts formats and sizes too have software for it inside.

use std::sync::{OnceLock, Weak};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::gate::{Gate, Passing, raw};

/// A converter that can be registered.
pub struct Converter {
    pub element: &'static str,
    pub type_: fn() -> glib::Type,
}

macro_rules! converters {
    ($($module:ident: $class:literal, $converts:literal, $memories:expr;)*) => {
        $(mod $module {
            use super::*;

            glib::wrapper! {
                pub struct Bin(ObjectSubclass<Fake>) @extends gst::Bin, gst::Element, gst::Object,
                    @implements gst::ChildProxy;
            }

            #[derive(Default)]
            pub struct Fake;

            #[glib::object_subclass]
            impl ObjectSubclass for Fake {
                const NAME: &'static str = $class;
                type Type = Bin;
                type ParentType = gst::Bin;
            }

            impl ObjectImpl for Fake {
                fn constructed(&self) {
                    self.parent_constructed();
                    furnish(self.obj().upcast_ref(), $converts, $memories);
                }
            }

            impl GstObjectImpl for Fake {}

            impl ElementImpl for Fake {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
                    Some(METADATA.get_or_init(|| {
                        let what = concat!("Fake of ", stringify!($module));
                        gst::subclass::ElementMetadata::new(what, "Filter/Converter/Video", what, "uplinkd")
                    }))
                }

                fn pad_templates() -> &'static [gst::PadTemplate] {
                    static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
                    TEMPLATES.get_or_init(|| templates($memories))
                }
            }

            impl BinImpl for Fake {}
        })*

        pub static CONVERTERS: &[Converter] = &[
            $(Converter { element: stringify!($module), type_: $module::Bin::static_type },)*
        ];
    };
}

// Memory that comes out, in order of preference; the empty name is system memory.
converters! {
    vapostproc: "UplinkdFakeVaPostProc", true, &["memory:VAMemory", ""];
    vaapipostproc: "UplinkdFakeVaapiPostProc", true, &["memory:VASurface", ""];
    cudaupload: "UplinkdFakeCudaUpload", false, &["memory:CUDAMemory"];
    cudaconvert: "UplinkdFakeCudaConvert", true, &["memory:CUDAMemory"];
    cudaconvertscale: "UplinkdFakeCudaConvertScale", true, &["memory:CUDAMemory"];
    nvvidconv: "UplinkdFakeNvVidConv", true, &["memory:NVMM", ""];
    v4l2convert: "UplinkdFakeV4l2Convert", true, &[""];
}

fn furnish(bin: &gst::Bin, converts: bool, memories: &[&'static str]) {
    // One gate takes the memory's name off, so that software can work, another gives it one.
    let mut chain = Vec::new();
    let off = Passing { sink: raw(&inputs(memories)), src: vec![""], encoder: Weak::new() };
    chain.push(Gate::new(off).upcast::<gst::Element>());
    if converts {
        chain.push(gst::ElementFactory::make("videoconvertscale").build().unwrap());
    }
    let out = Passing { sink: raw(&[""]), src: memories.to_vec(), encoder: Weak::new() };
    chain.push(Gate::new(out).upcast());
    bin.add_many(&chain).unwrap();
    gst::Element::link_many(&chain).unwrap();
    let ends = [("sink", chain.first()), ("src", chain.last())];
    for (name, element) in ends {
        let target = element.and_then(|element| element.static_pad(name)).unwrap();
        let template = bin.pad_template(name).unwrap();
        let ghost = gst::GhostPad::builder_from_template_with_target(&template, &target).unwrap();
        bin.add_pad(&ghost.name(name).build()).unwrap();
    }
}

/// Each takes what it gives, and system memory.
fn inputs(memories: &[&'static str]) -> Vec<&'static str> {
    let mut inputs = vec![""];
    inputs.extend(memories.iter().copied().filter(|memory| !memory.is_empty()));
    inputs
}

fn templates(memories: &[&'static str]) -> Vec<gst::PadTemplate> {
    let template = |name, direction, memories: &[&str]| {
        let caps = raw(memories);
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).unwrap()
    };
    vec![
        template("sink", gst::PadDirection::Sink, &inputs(memories)),
        template("src", gst::PadDirection::Src, memories),
    ]
}
