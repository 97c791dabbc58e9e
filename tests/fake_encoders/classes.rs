//! The classes of the fakes: GObject wants a type for each element, so a macro makes them.

use std::sync::{Arc, OnceLock};

use gst::glib::{self, ParamSpec, Value};
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::encoder::Shared;
use super::model::{Codec, Live};
use super::model::{Model, Property};
use super::models::{intel, nvidia, rockchip, v4l2, va};
use super::real;

/// A fake that can be registered.
pub struct Class {
    /// The element's name, and behind `@` the version of GStreamer where the name alone does not tell.
    pub name: &'static str,
    pub codec: Codec,
    pub type_: fn() -> glib::Type,
}

impl Class {
    /// The name that it is registered under.
    pub fn element(&self) -> &'static str {
        self.name.split('@').next().unwrap_or(self.name)
    }
}

macro_rules! classes {
    ($($module:ident: $name:literal, $class:literal, $codec:ident, $model:expr;)*) => {
        $(mod $module {
            use super::*;

            glib::wrapper! {
                pub struct Encoder(ObjectSubclass<Fake>) @extends gst::Bin, gst::Element, gst::Object,
                    @implements gst::ChildProxy;
            }

            pub struct Fake {
                shared: Arc<Shared>,
            }

            #[glib::object_subclass]
            impl ObjectSubclass for Fake {
                const NAME: &'static str = $class;
                type Type = Encoder;
                type ParentType = gst::Bin;

                fn new() -> Self {
                    let element = $name.split('@').next().unwrap_or($name);
                    Fake { shared: Shared::new(element, $model, own_properties()) }
                }
            }

            fn own_properties() -> &'static [Property] {
                static PROPERTIES: OnceLock<Vec<Property>> = OnceLock::new();
                PROPERTIES.get_or_init(|| properties_of($model))
            }

            impl ObjectImpl for Fake {
                fn properties() -> &'static [ParamSpec] {
                    static SPECS: OnceLock<Vec<ParamSpec>> = OnceLock::new();
                    let spec = |property: &Property| property.spec.clone();
                    SPECS.get_or_init(|| own_properties().iter().map(spec).collect())
                }

                fn signals() -> &'static [glib::subclass::Signal] {
                    static SIGNALS: OnceLock<Vec<glib::subclass::Signal>> = OnceLock::new();
                    SIGNALS.get_or_init(|| {
                        if !$name.starts_with("nvv4l2") {
                            return Vec::new();
                        }
                        let force = glib::subclass::Signal::builder("force-IDR").action().class_handler(|arguments| {
                            let encoder: Encoder = arguments[0].get().expect("the first is the encoder");
                            encoder.imp().shared.force_key();
                            None
                        });
                        vec![force.build()]
                    })
                }

                fn set_property(&self, _: usize, value: &Value, spec: &ParamSpec) {
                    self.shared.set_property(value, spec);
                }

                fn property(&self, _: usize, spec: &ParamSpec) -> Value {
                    self.shared.property(spec)
                }

                fn constructed(&self) {
                    self.parent_constructed();
                    self.shared.furnish(self.obj().upcast_ref());
                }
            }

            impl GstObjectImpl for Fake {}

            impl ElementImpl for Fake {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    static METADATA: OnceLock<gst::subclass::ElementMetadata> = OnceLock::new();
                    Some(METADATA.get_or_init(|| {
                        let what = concat!("Fake of ", $name);
                        gst::subclass::ElementMetadata::new(what, "Codec/Encoder/Video/Hardware", what, "uplinkd")
                    }))
                }

                fn pad_templates() -> &'static [gst::PadTemplate] {
                    static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
                    TEMPLATES.get_or_init(|| templates_of($model))
                }

                fn change_state(
                    &self,
                    transition: gst::StateChange,
                ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
                    self.shared.change_state(transition);
                    self.parent_change_state(transition)
                }
            }

            impl BinImpl for Fake {}
        })*

        pub static CLASSES: &[Class] = &[
            $(Class { name: $name, codec: Codec::$codec, type_: $module::Encoder::static_type },)*
        ];
    };
}

classes! {
    x264enc: "x264enc", "UplinkdFakeX264Enc", H264, None;
    vah264enc: "vah264enc", "UplinkdFakeVaH264Enc", H264, Some(&va::VAH264ENC);
    vah264lpenc: "vah264lpenc", "UplinkdFakeVaH264LpEnc", H264, Some(&va::VAH264LPENC);
    vah265enc: "vah265enc", "UplinkdFakeVaH265Enc", H265, Some(&va::VAH265ENC);
    vah265lpenc: "vah265lpenc", "UplinkdFakeVaH265LpEnc", H265, Some(&va::VAH265LPENC);
    vaapih264enc: "vaapih264enc", "UplinkdFakeVaapiH264Enc", H264, Some(&va::VAAPIH264ENC);
    qsvh264enc: "qsvh264enc", "UplinkdFakeQsvH264Enc", H264, Some(&intel::QSVH264ENC);
    qsvh265enc: "qsvh265enc", "UplinkdFakeQsvH265Enc", H265, Some(&intel::QSVH265ENC);
    v4l2h264enc: "v4l2h264enc", "UplinkdFakeV4l2H264Enc", H264, Some(&v4l2::V4L2H264ENC);
    v4l2h265enc: "v4l2h265enc", "UplinkdFakeV4l2H265Enc", H265, Some(&v4l2::V4L2H265ENC);
    nvcudah264enc: "nvcudah264enc", "UplinkdFakeNvCudaH264Enc", H264, Some(&nvidia::NVCUDAH264ENC);
    nvcudah265enc: "nvcudah265enc", "UplinkdFakeNvCudaH265Enc", H265, Some(&nvidia::NVCUDAH265ENC);
    nvautogpuh264enc: "nvautogpuh264enc", "UplinkdFakeNvAutoGpuH264Enc", H264, Some(&nvidia::NVCUDAH264ENC);
    nvautogpuh265enc: "nvautogpuh265enc", "UplinkdFakeNvAutoGpuH265Enc", H265, Some(&nvidia::NVCUDAH265ENC);
    nvh264enc_new: "nvh264enc@1.26", "UplinkdFakeNvH264Enc", H264, Some(&nvidia::NVCUDAH264ENC);
    nvh264enc_old: "nvh264enc@1.22", "UplinkdFakeNvLegacyH264Enc", H264, Some(&nvidia::LEGACY_NVH264ENC);
    nvh265enc: "nvh265enc", "UplinkdFakeNvH265Enc", H265, Some(&nvidia::NVCUDAH265ENC);
    nvv4l2h264enc: "nvv4l2h264enc", "UplinkdFakeNvV4l2H264Enc", H264, Some(&nvidia::NVV4L2H264ENC);
    nvv4l2h265enc: "nvv4l2h265enc", "UplinkdFakeNvV4l2H265Enc", H265, Some(&nvidia::NVV4L2H265ENC);
    mpph264enc: "mpph264enc", "UplinkdFakeMppH264Enc", H264, Some(&rockchip::MPPH264ENC);
    mpph265enc: "mpph265enc", "UplinkdFakeMppH265Enc", H265, Some(&rockchip::MPPH265ENC);
}

/// The model's, or those of x264enc itself.
fn properties_of(model: Option<&Model>) -> Vec<Property> {
    let Some(model) = model else {
        let pattern = real(Codec::H264).expect("x264enc exists").create().build().unwrap();
        let own = |spec: &&ParamSpec| spec.owner_type() == pattern.type_();
        let specs = pattern.list_properties();
        let overridden = |spec: &ParamSpec| Property {
            spec: glib::ParamSpecOverride::builder(spec.name(), spec).build(),
            live: Live::Rate,
        };
        return specs.iter().filter(own).map(overridden).collect();
    };
    (model.properties)()
}

fn templates_of(model: Option<&Model>) -> Vec<gst::PadTemplate> {
    use std::str::FromStr;
    let Some(model) = model else { return Vec::new() };
    let template = |name, direction, caps: &str| {
        let caps = gst::Caps::from_str(caps).unwrap();
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).unwrap()
    };
    vec![
        template("sink", gst::PadDirection::Sink, model.sink),
        template("src", gst::PadDirection::Src, model.src),
    ]
}
