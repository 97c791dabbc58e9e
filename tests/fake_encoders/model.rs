//! What a fake knows of the element that it stands for: properties, caps, and how its settings become a rate.

use std::collections::HashMap;
use std::time::Duration;

use gst::glib::{self, ParamSpec, Value};
use gst::prelude::*;

/// A hardware encoder as it looks from outside.
pub struct Model {
    /// Its properties in this version of GStreamer.
    pub properties: fn() -> Vec<Property>,
    pub codec: Codec,
    /// What it takes: memory features, formats and sizes, as caps.
    pub sink: &'static str,
    /// What it gives.
    pub src: &'static str,
    /// Its settings as those of the coder inside.
    pub plan: fn(&mut Settings, &Mode) -> Plan,
    /// Whether it takes pictures of this mode with these settings.
    pub start: fn(&Settings, &Mode) -> Start,
    /// Whether a changed rate makes the next picture a key frame.
    pub change_is_key_frame: fn(&Settings) -> bool,
    /// Whether a rate that is set again without being another is a change.
    pub equal_is_change: bool,
    /// From which version of GStreamer on a force-key-unit event gives an IDR frame; `None`: in none.
    pub force_key_since: Option<(u32, u32, u32)>,
    /// Controls of the driver, which `extra-controls` sets.
    pub controls: &'static [Control],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

pub struct Property {
    pub spec: ParamSpec,
    pub live: Live,
}

/// What a write does while the encoder runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// It is a new rate.
    Rate,
    /// The encoder begins anew with it: a key frame.
    Restart,
    /// It is kept, and holds from the next change that is taken.
    Later,
    /// It is kept and has no effect.
    Ignored,
    /// It is a structure of driver controls, which are set at once.
    Controls,
}

/// A control of a V4L2 driver: other values are brought into the range and onto the step, as the kernel does.
pub struct Control {
    pub name: &'static str,
    pub min: i32,
    pub max: i32,
    pub step: i32,
    pub default: i32,
}

/// What the pictures are, and what downstream asks of the stream.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub frames_per_second: f64,
    /// In downstream's caps, if any: the level and the profile.
    pub level: Option<String>,
    pub profile: Option<String>,
}

/// What the coder inside is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub bits_per_second: u64,
    pub buffer: Duration,
    /// Pictures from key frame to key frame, at the most.
    pub key_distance: u32,
    /// Whether each key frame has the parameter sets, or the first one only.
    pub repeats_headers: bool,
}

/// What becomes of an encoder that is told to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Runs,
    /// It does not take the caps.
    Refuses(String),
    /// It takes them and never gives a picture: the call that brings the first does not return.
    Hangs,
}

/// Values that were set, by property, and by control of the driver.
#[derive(Default)]
pub struct Settings {
    values: HashMap<String, Setting>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Bool(bool),
    Uint(u32),
    Uint64(u64),
    Int(i32),
    /// By its nick.
    Enum(String),
    Double(f64),
    Text(Option<String>),
    Structure(Option<gst::Structure>),
}

impl Property {
    pub fn live(mut self, live: Live) -> Self {
        self.live = live;
        self
    }
}

/// Properties as the sources write them: name, smallest, largest, default. They have no effect while the
/// encoder runs, unless [`Property::live`] says otherwise.
pub fn uint(name: &str, min: u32, max: u32, default: u32) -> Property {
    let spec = glib::ParamSpecUInt::builder(name).minimum(min).maximum(max).default_value(default);
    fixed(spec.build())
}

pub fn int(name: &str, min: i32, max: i32, default: i32) -> Property {
    let spec = glib::ParamSpecInt::builder(name).minimum(min).maximum(max).default_value(default);
    fixed(spec.build())
}

pub fn uint64(name: &str, min: u64, max: u64, default: u64) -> Property {
    let spec = glib::ParamSpecUInt64::builder(name).minimum(min).maximum(max).default_value(default);
    fixed(spec.build())
}

pub fn double(name: &str, min: f64, max: f64, default: f64) -> Property {
    let spec = glib::ParamSpecDouble::builder(name).minimum(min).maximum(max).default_value(default);
    fixed(spec.build())
}

pub fn boolean(name: &str, default: bool) -> Property {
    fixed(glib::ParamSpecBoolean::builder(name).default_value(default).build())
}

pub fn text(name: &str, default: &str) -> Property {
    fixed(glib::ParamSpecString::builder(name).default_value(default).build())
}

pub fn structure(name: &str) -> Property {
    fixed(glib::ParamSpecBoxed::builder::<gst::Structure>(name).build())
}

pub fn choice<T>(name: &str, default: T) -> Property
where
    T: StaticType + glib::translate::FromGlib<i32> + glib::translate::IntoGlib<GlibType = i32>,
{
    fixed(glib::ParamSpecEnum::builder_with_default::<T>(name, default).build())
}

fn fixed(spec: ParamSpec) -> Property {
    Property { spec, live: Live::Ignored }
}

impl Settings {
    /// Each property with its default.
    pub fn new(properties: &[Property], controls: &[Control]) -> Self {
        let of = |property: &Property| {
            let spec = &property.spec;
            (spec.name().to_owned(), Setting::of(spec.default_value(), spec))
        };
        let mut values: HashMap<_, _> = properties.iter().map(of).collect();
        let control = |control: &Control| (control_key(control.name), Setting::Int(control.default));
        values.extend(controls.iter().map(control));
        Settings { values }
    }

    pub fn of(&self, name: &str) -> &Setting {
        self.values.get(name).unwrap_or_else(|| panic!("{name} is no property of the model"))
    }

    /// Returns whether it was another value before.
    pub fn put(&mut self, name: &str, value: Setting) -> bool {
        let before = self.values.insert(name.to_owned(), value.clone());
        before != Some(value)
    }

    pub fn uint(&self, name: &str) -> u32 {
        match self.of(name) {
            Setting::Uint(value) => *value,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        match self.of(name) {
            Setting::Int(value) => *value,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn is(&self, name: &str) -> bool {
        *self.of(name) == Setting::Bool(true)
    }

    pub fn nick(&self, name: &str) -> &str {
        match self.of(name) {
            Setting::Enum(nick) => nick,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn control(&self, name: &str) -> i32 {
        self.int(&control_key(name))
    }

    pub fn put_control(&mut self, control: &Control, value: i32) -> bool {
        let steps = (f64::from(value - control.min) / f64::from(control.step)).round() as i32;
        let value = (control.min + steps.max(0) * control.step).min(control.max);
        self.put(&control_key(control.name), Setting::Int(value))
    }
}

fn control_key(name: &str) -> String {
    format!("control {name}")
}

impl Setting {
    /// What GObject brings for a property.
    pub fn of(value: &Value, spec: &ParamSpec) -> Self {
        let type_ = spec.value_type();
        if type_.is_a(glib::Type::ENUM) {
            let (_, value) = glib::EnumValue::from_value(value).unwrap();
            return Setting::Enum(value.nick().to_owned());
        }
        match type_ {
            glib::Type::BOOL => Setting::Bool(value.get().unwrap()),
            glib::Type::U32 => Setting::Uint(value.get().unwrap()),
            glib::Type::U64 => Setting::Uint64(value.get().unwrap()),
            glib::Type::I32 => Setting::Int(value.get().unwrap()),
            glib::Type::F64 => Setting::Double(value.get().unwrap()),
            glib::Type::STRING => Setting::Text(value.get().unwrap()),
            _ => Setting::Structure(value.get().unwrap()),
        }
    }

    pub fn to_value(&self, spec: &ParamSpec) -> Value {
        match self {
            Setting::Bool(value) => value.to_value(),
            Setting::Uint(value) => value.to_value(),
            Setting::Uint64(value) => value.to_value(),
            Setting::Int(value) => value.to_value(),
            Setting::Enum(nick) => {
                let class = glib::EnumClass::with_type(spec.value_type()).unwrap();
                class.to_value_by_nick(nick).unwrap()
            }
            Setting::Double(value) => value.to_value(),
            Setting::Text(value) => value.to_value(),
            Setting::Structure(value) => value.to_value(),
        }
    }
}

/// A model to make another of.
pub const fn copy(model: &Model) -> Model {
    Model {
        properties: model.properties,
        codec: model.codec,
        sink: model.sink,
        src: model.src,
        plan: model.plan,
        start: model.start,
        change_is_key_frame: model.change_is_key_frame,
        equal_is_change: model.equal_is_change,
        force_key_since: model.force_key_since,
        controls: model.controls,
    }
}

/// Properties but for those that the other codec's element lacks.
pub fn without(mut properties: Vec<Property>, names: &[&str]) -> Vec<Property> {
    properties.retain(|property| !names.contains(&property.spec.name()));
    properties
}

/// For models without conditions.
pub fn always_runs(_: &Settings, _: &Mode) -> Start {
    Start::Runs
}

pub fn always(_: &Settings) -> bool {
    true
}

pub fn never(_: &Settings) -> bool {
    false
}

/// A GOP without an end.
pub const ENDLESS: u32 = i32::MAX as u32;

/// The buffer of an encoder that has no property for it.
pub const USUAL_BUFFER: Duration = Duration::from_millis(300);
