//! Encoders with the quirks of hardware, in software: a bin named `x264enc` around the real one.
//!
//! Where a test needs them, it says
//!
//! ```ignore
//! #[path = "fake_encoders/mod.rs"]
//! mod fake_encoders;
//!
//! let _fake = fake_encoders::pretend(Quirks { key_frame_each_change: true, ..Quirks::NONE });
//! // From here on, each encoder that the process makes has these quirks, until `_fake` is dropped.
//! ```
//! The registry of elements is the process's: tests that pretend wait for one another. One that must
//! not meet a fake is a test of another file. An encoder keeps the quirks that it was made with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::glib::{self, ParamSpec, Value};
use gst::prelude::*;
use gst::subclass::prelude::*;

/// What an encoder does otherwise than x264.
#[derive(Clone, Copy, Debug)]
pub struct Quirks {
    /// Each bitrate that is set, even an equal one, makes the next picture a key frame: as VA-API does.
    pub key_frame_each_change: bool,
    /// A bitrate that is set takes effect so much later. Of several, each does.
    pub follows_after: Duration,
    /// It gives so much more than it is told: 1.3 is 30 %.
    pub excess: f64,
}

impl Quirks {
    pub const NONE: Quirks =
        Quirks { key_frame_each_change: false, follows_after: Duration::ZERO, excess: 1.0 };
}

/// While it lives, encoders are made with its quirks.
pub struct Pretence {
    _alone: MutexGuard<'static, ()>,
}

/// Has encoders made with these quirks. GStreamer is started where it was not.
pub fn pretend(quirks: Quirks) -> Pretence {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    register();
    *in_force() = quirks;
    Pretence { _alone: alone }
}

impl Drop for Pretence {
    fn drop(&mut self) {
        *in_force() = Quirks::NONE;
    }
}

fn in_force() -> MutexGuard<'static, Quirks> {
    static IN_FORCE: Mutex<Quirks> = Mutex::new(Quirks::NONE);
    IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the bin in the real element's place. The real factory is loaded and kept: its name no longer leads
/// to it.
fn register() {
    REAL.get_or_init(|| {
        gst::init().unwrap();
        let factory = gst::ElementFactory::find(ELEMENT).unwrap().load().unwrap();
        let real = factory.clone().downcast::<gst::ElementFactory>().unwrap();
        // Its properties are the pattern for the bin's, whose class is made by the registration.
        PATTERN.get_or_init(|| real.create().build().unwrap());
        real
    });
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        gst::Element::register(None, ELEMENT, gst::Rank::NONE, FakeEncoder::static_type()).unwrap();
    });
}

glib::wrapper! {
    pub struct FakeEncoder(ObjectSubclass<Fake>) @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// The bin: ghost pads, and the real one's properties, of which it watches the bitrate.
pub struct Fake {
    real: gst::Element,
    quirks: Quirks,
    /// Bitrates that were set and when; the oldest first, until they take effect.
    set: Mutex<Vec<(Instant, u32)>>,
    runs: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for Fake {
    const NAME: &'static str = "UplinkdFakeEncoder";
    type Type = FakeEncoder;
    type ParentType = gst::Bin;

    fn with_class(_: &Self::Class) -> Self {
        let real = REAL.get().expect("registered by what keeps it").create().build().unwrap();
        Fake { real, quirks: *in_force(), set: Mutex::default(), runs: AtomicBool::new(false) }
    }
}

impl ObjectImpl for Fake {
    fn properties() -> &'static [ParamSpec] {
        static PROPERTIES: OnceLock<Vec<ParamSpec>> = OnceLock::new();
        PROPERTIES.get_or_init(|| {
            let pattern = PATTERN.get().expect("registered by what keeps it");
            let own = |spec: &&ParamSpec| spec.owner_type() == pattern.type_();
            let specs = pattern.list_properties();
            specs
                .iter()
                .filter(own)
                .map(|spec| glib::ParamSpecOverride::builder(spec.name(), spec).build())
                .collect()
        })
    }

    fn set_property(&self, _: usize, value: &Value, spec: &ParamSpec) {
        if spec.name() == "bitrate" {
            self.set_bitrate(value.get().unwrap());
        } else {
            self.real.set_property_from_value(spec.name(), value);
        }
    }

    fn property(&self, _: usize, spec: &ParamSpec) -> Value {
        self.real.property_value(spec.name())
    }

    fn constructed(&self) {
        self.parent_constructed();
        let bin = self.obj();
        bin.add(&self.real).unwrap();
        for name in ["sink", "src"] {
            let target = self.real.static_pad(name).unwrap();
            let ghost = gst::GhostPad::builder_with_target(&target).unwrap().name(name).build();
            bin.add_pad(&ghost).unwrap();
        }
        let fake = bin.downgrade();
        self.real.static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if let Some(fake) = fake.upgrade() {
                fake.imp().runs.store(true, Ordering::Relaxed);
                fake.imp().apply_due();
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl GstObjectImpl for Fake {}
impl ElementImpl for Fake {}
impl BinImpl for Fake {}

impl Fake {
    fn set_bitrate(&self, kbps: u32) {
        if !self.runs.load(Ordering::Relaxed) {
            return self.apply(kbps); // what it is made with holds from the start
        }
        self.set.lock().unwrap().push((Instant::now(), kbps));
        if self.quirks.follows_after.is_zero() {
            self.apply_due();
        }
        if self.quirks.key_frame_each_change {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
            assert!(self.real.static_pad("src").unwrap().send_event(event));
        }
    }

    fn apply_due(&self) {
        let mut set = self.set.lock().unwrap();
        while let Some(&(at, kbps)) = set.first()
            && at.elapsed() >= self.quirks.follows_after
        {
            set.remove(0);
            self.apply(kbps);
        }
    }

    fn apply(&self, kbps: u32) {
        self.real.set_property("bitrate", (f64::from(kbps) * self.quirks.excess) as u32);
    }
}

/// The element that is pretended to be: the one that stands first in the daemon's table on every machine.
const ELEMENT: &str = "x264enc";

static ALONE: Mutex<()> = Mutex::new(());
static REAL: OnceLock<gst::ElementFactory> = OnceLock::new();
static PATTERN: OnceLock<gst::Element> = OnceLock::new();
