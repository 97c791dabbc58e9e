//! Fakes of the hardware encoders: bins under their names around a real x264enc or x265enc, with the real ones'
//! properties, units, caps and habits, and with faults on demand.
//!
//! ```ignore
//! #[path = "fake_encoders/mod.rs"]
//! mod fake_encoders;
//!
//! // The hardware of this process: elements of these names exist from here on, to its end.
//! fake_encoders::register(&["vah264enc", "vapostproc"]);
//!
//! // From here on, each fake that is made has these quirks, until `fakes` is dropped; x264enc is a fake too.
//! let fakes = fake_encoders::pretend(Quirks { key_frame_each_change: true, ..Quirks::NONE });
//! // Or each element its own (those not named have none), registered if they were not:
//! let fakes = fake_encoders::pretend_each(&[("vah264enc", Quirks { stalls: Some(When::After(120)), ..Quirks::NONE })]);
//! // A fault of one that runs already:
//! fakes.arm("vah264enc", |quirks| quirks.stalls = Some(When::ALWAYS));
//! // What those that live have seen:
//! let seen = fake_encoders::seen("vah264enc");
//! ```
//! `nvh264enc` is the element that the installed GStreamer has under that name: `nvh264enc@1.22` and
//! `nvh264enc@1.26` choose.
//!
//! The registry of elements is the process's: tests that pretend wait for one another, and one that must not
//! meet a fake of x264enc is a test of another file. A whole daemon with fakes is the example
//! `uplinkd-with-fakes`: the environment's `UPLINKD_FAKES` says which ([`quirks::parse`]), for its children too.
//!
//! What a fake is not: fast or sparing as hardware is. Those of H.265 begin anew with a key frame at each change
//! of the rate, since x265enc does, and have no buffer to set.

#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod classes;
mod converter;
mod encoder;
mod gate;
mod model;
mod models;
pub mod quirks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use gst::prelude::*;

pub use encoder::Seen;
pub use quirks::{ForceKey, Quirks, Stage, When};

use classes::CLASSES;
use converter::CONVERTERS;
use encoder::Shared;
use model::Codec;

/// The names of all fakes, converters included.
pub fn names() -> Vec<&'static str> {
    let encoders = CLASSES.iter().map(|class| class.name);
    encoders.chain(CONVERTERS.iter().map(|converter| converter.element)).collect()
}

/// Puts fakes into the registry, in the place of real elements of those names. GStreamer is started where it was
/// not. Those of H.265 are left out where there is no x265enc.
///
/// # Panics
///
/// Where there is no fake of such a name.
pub fn register(elements: &[&str]) {
    for name in elements {
        if !is_fake(name) {
            panic!("there is no fake of {name}: {}", names().join(", "));
        }
        register_one(name);
    }
}

/// Registers the fakes that the text names, and has them made with its quirks from here on: for a whole process.
pub fn register_as_told(text: &str) -> Result<(), String> {
    let told = quirks::parse(text)?;
    for (name, _) in &told {
        if !is_fake(name) {
            return Err(format!("there is no fake of {name}: {}", names().join(", ")));
        }
    }
    for (name, quirks) in told {
        register_one(&name);
        in_force_table().each.insert(element_of(&name).to_owned(), quirks);
    }
    Ok(())
}

/// While it lives, encoders are made with its quirks. Those that hang go on, with an error, when it is dropped.
pub struct Pretence {
    _alone: MutexGuard<'static, ()>,
}

/// Has all fakes made with these quirks, of which x264enc is one then.
pub fn pretend(quirks: Quirks) -> Pretence {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    register(&["x264enc"]);
    *in_force_table() = InForce { all: quirks, each: HashMap::new() };
    Pretence { _alone: alone }
}

/// Has these fakes made with these quirks, others without.
pub fn pretend_each(fakes: &[(&str, Quirks)]) -> Pretence {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, _) in fakes {
        register(&[name]);
    }
    let each = fakes.iter().map(|(name, quirks)| (element_of(name).to_owned(), *quirks)).collect();
    *in_force_table() = InForce { all: Quirks::NONE, each };
    Pretence { _alone: alone }
}

impl Pretence {
    /// Changes the quirks of the fakes of this name that live.
    pub fn arm(&self, element: &str, change: impl Fn(&mut Quirks)) {
        for fake in living(element) {
            fake.arm(&change);
        }
    }
}

impl Drop for Pretence {
    fn drop(&mut self) {
        *in_force_table() = InForce { all: Quirks::NONE, each: HashMap::new() };
        encoder::release_hung();
    }
}

/// Those that hang go on, with an error.
pub fn release() {
    encoder::release_hung();
}

/// What the fakes of this name that live have seen; the oldest first.
pub fn seen(element: &str) -> Vec<Seen> {
    living(element).iter().map(|fake| fake.seen()).collect()
}

fn living(element: &str) -> Vec<Arc<Shared>> {
    let mut alive = encoder::alive();
    alive.retain(|fake| fake.strong_count() > 0);
    alive.iter().filter_map(Weak::upgrade).filter(|fake| fake.element() == element).collect()
}

fn made(fake: &Arc<Shared>) {
    encoder::alive().push(Arc::downgrade(fake));
}

/// The quirks that an element is made with now.
fn in_force(element: &str) -> Quirks {
    let table = in_force_table();
    table.each.get(element).copied().unwrap_or(table.all)
}

struct InForce {
    all: Quirks,
    each: HashMap<String, Quirks>,
}

fn in_force_table() -> MutexGuard<'static, InForce> {
    static IN_FORCE: OnceLock<Mutex<InForce>> = OnceLock::new();
    let table = IN_FORCE.get_or_init(|| Mutex::new(InForce { all: Quirks::NONE, each: HashMap::new() }));
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_fake(name: &str) -> bool {
    let encoder = CLASSES.iter().any(|class| class.name == name || class.element() == name);
    encoder || CONVERTERS.iter().any(|converter| converter.element == name)
}

fn element_of(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// Does nothing where the name leads to this fake already.
fn register_one(name: &str) {
    // The real coders' factories are loaded before a fake takes one's name.
    let (h264, h265) = (real(Codec::H264), real(Codec::H265));
    if let Some(converter) = CONVERTERS.iter().find(|converter| converter.element == name) {
        return put(converter.element, (converter.type_)());
    }
    let (major, minor, _, _) = gst::version();
    let installed = if (major, minor) >= (1, 26) { "nvh264enc@1.26" } else { "nvh264enc@1.22" };
    let name = if name == "nvh264enc" { installed } else { name };
    let class = CLASSES.iter().find(|class| class.name == name).expect("asked for by its name");
    let exists = match class.codec {
        Codec::H264 => h264.is_some(),
        Codec::H265 => h265.is_some(),
    };
    if exists {
        put(class.element(), (class.type_)());
    }
}

fn put(element: &'static str, type_: gst::glib::Type) {
    static REGISTERED: Mutex<Vec<(&'static str, gst::glib::Type)>> = Mutex::new(Vec::new());
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if registered.iter().rfind(|(name, _)| *name == element) != Some(&(element, type_)) {
        gst::Element::register(None, element, gst::Rank::NONE, type_).unwrap();
        registered.push((element, type_));
    }
}

/// A real x264enc, whatever that name leads to by now: what its fake is measured by.
pub fn real_x264enc() -> gst::Element {
    real(Codec::H264).expect("x264enc is installed").create().build().unwrap()
}

/// The real coder, whatever its name leads to by now.
fn real(codec: Codec) -> Option<gst::ElementFactory> {
    static REAL: OnceLock<[Option<gst::ElementFactory>; 2]> = OnceLock::new();
    let [h264, h265] = REAL.get_or_init(|| {
        gst::init().unwrap();
        ["x264enc", "x265enc"].map(|coder| {
            let factory = gst::ElementFactory::find(coder)?.load().ok()?;
            factory.downcast::<gst::ElementFactory>().ok()
        })
    });
    match codec {
        Codec::H264 => h264.clone(),
        Codec::H265 => h265.clone(),
    }
}

static ALONE: Mutex<()> = Mutex::new(());
