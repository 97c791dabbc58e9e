//! The door of a fake: an element that turns one kind of memory into another in name only, and in front of an
//! encoder lets its faults happen.

use std::sync::{Arc, OnceLock, Weak};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::encoder::{Passage, Shared};

/// What a gate lies between. Memories are caps features; the empty name is system memory.
pub struct Passing {
    /// What it takes, of each memory.
    pub sink: gst::Caps,
    /// In order of preference: the first that is taken downstream is the one.
    pub src: Vec<&'static str>,
    /// The encoder that stands behind it.
    pub encoder: Weak<Shared>,
}

glib::wrapper! {
    pub struct Gate(ObjectSubclass<GateImp>) @extends gst::Element, gst::Object;
}

impl Gate {
    pub fn new(passing: Passing) -> Gate {
        let gate: Gate = glib::Object::new();
        assert!(gate.imp().passing.set(passing).is_ok(), "a gate is set up once");
        gate
    }
}

pub struct GateImp {
    sink: gst::Pad,
    src: gst::Pad,
    passing: OnceLock<Passing>,
}

#[glib::object_subclass]
impl ObjectSubclass for GateImp {
    const NAME: &'static str = "UplinkdFakeGate";
    type Type = Gate;
    type ParentType = gst::Element;

    fn new() -> Self {
        let templates = Self::pad_templates();
        let sink = gst::Pad::builder_from_template(&templates[0])
            .chain_function(|pad, parent, buffer| {
                GateImp::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |gate| gate.chain(pad, buffer),
                )
            })
            .event_function(|pad, parent, event| {
                GateImp::catch_panic_pad_function(parent, || false, |gate| gate.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                GateImp::catch_panic_pad_function(parent, || false, |gate| gate.sink_query(pad, query))
            })
            .build();
        let src = gst::Pad::builder_from_template(&templates[1])
            .query_function(|pad, parent, query| {
                GateImp::catch_panic_pad_function(parent, || false, |gate| gate.src_query(pad, query))
            })
            .build();
        GateImp { sink, src, passing: OnceLock::new() }
    }
}

impl ObjectImpl for GateImp {
    fn constructed(&self) {
        self.parent_constructed();
        self.obj().add_pad(&self.sink).unwrap();
        self.obj().add_pad(&self.src).unwrap();
    }
}

impl GstObjectImpl for GateImp {}

impl ElementImpl for GateImp {
    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
        TEMPLATES.get_or_init(|| {
            let caps = gst::Caps::builder_full_with_any_features()
                .structure(gst::Structure::new_empty("video/x-raw"))
                .build();
            let template = |name, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).unwrap()
            };
            vec![template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)]
        })
    }
}

impl GateImp {
    fn passing(&self) -> &Passing {
        self.passing.get().expect("a gate is set up when it is made")
    }

    fn encoder(&self) -> Option<Arc<Shared>> {
        self.passing().encoder.upgrade()
    }

    fn chain(&self, _: &gst::Pad, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        match self.encoder().map(|encoder| encoder.pass()) {
            Some(Passage::Swallowed) => Ok(gst::FlowSuccess::Ok),
            Some(Passage::Refused(reason)) => {
                gst::element_imp_error!(self, gst::StreamError::Encode, ["{reason}"]);
                Err(gst::FlowError::Error)
            }
            Some(Passage::Free) | None => self.src.push(buffer),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if let gst::EventView::Caps(caps) = event.view() {
            return self.take_caps(caps.caps());
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn take_caps(&self, caps: &gst::CapsRef) -> bool {
        let plain = with_memory(caps, &[""]);
        let started = self.encoder().map_or(Ok(false), |encoder| encoder.start(&plain));
        match started {
            // The coder began anew for its settings: what came before the caps is told again.
            Ok(true) => {
                let stream = self.src.sticky_event::<gst::event::StreamStart>(0);
                if let (Some(stream), Some(peer)) = (stream, self.src.peer()) {
                    peer.send_event(stream);
                }
            }
            Ok(false) => {}
            Err(reason) => {
                gst::element_imp_error!(self, gst::StreamError::Encode, ["{reason}"]);
                return false;
            }
        }
        let fits = |memory: &&&str| {
            let caps = with_memory(&plain, &[memory]);
            !self.src.peer_query_caps(Some(&caps)).is_empty()
        };
        match self.passing().src.iter().find(fits) {
            Some(memory) => self.src.push_event(gst::event::Caps::new(&with_memory(&plain, &[memory]))),
            None => false,
        }
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(caps) => {
                let below = self.src.peer_query_caps(None);
                let of_memory = |memory: &&'static str| only_memory(&below, memory);
                let below = self.passing().src.iter().map(of_memory).find(|caps| !caps.is_empty());
                answer(caps, alike(&self.passing().sink, &below.unwrap_or_else(gst::Caps::new_empty)));
                true
            }
            gst::QueryViewMut::AcceptCaps(accept) => {
                accept.set_result(accept.caps_owned().is_subset(&self.passing().sink));
                true
            }
            gst::QueryViewMut::Allocation(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(caps) => {
                let above = with_memory(&self.sink.peer_query_caps(None), &[""]);
                answer(caps, with_memory(&above, &self.passing().src));
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

fn answer(query: &mut gst::query::Caps, caps: gst::Caps) {
    let result = match query.filter() {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    };
    query.set_result(&result);
}

/// What `wanted` has of the pictures of `plain`, which is in system memory, each in its own memory.
fn alike(wanted: &gst::CapsRef, plain: &gst::CapsRef) -> gst::Caps {
    let mut result = gst::Caps::new_empty();
    for (structure, features) in wanted.iter_with_features() {
        let one = with_memory(&gst::Caps::builder_full().structure(structure.to_owned()).build(), &[""]);
        let mut common = one.intersect(plain);
        let in_place = common.make_mut();
        for at in 0..in_place.size() {
            in_place.set_features(at, Some(features.to_owned()));
        }
        result.merge(common);
    }
    result
}

/// Those in this memory, as if they were in system memory.
fn only_memory(caps: &gst::CapsRef, memory: &str) -> gst::Caps {
    if caps.is_any() {
        return raw(&[""]);
    }
    let name = if memory.is_empty() { SYSTEM_MEMORY } else { memory };
    let mut result = gst::Caps::new_empty();
    let into = result.make_mut();
    for (structure, features) in caps.iter_with_features() {
        if features.is_any() || features.contains(name) {
            into.append_structure(structure.to_owned());
        }
    }
    result
}

/// The same pictures in these memories.
pub fn with_memory(caps: &gst::CapsRef, memories: &[&str]) -> gst::Caps {
    if caps.is_any() {
        return raw(memories);
    }
    let mut result = gst::Caps::new_empty();
    let into = result.make_mut();
    for memory in memories {
        for structure in caps.iter().filter(|structure| structure.name() == "video/x-raw") {
            let features = (!memory.is_empty()).then(|| gst::CapsFeatures::new([*memory]));
            into.append_structure_full(structure.to_owned(), features);
        }
    }
    result
}

/// Any picture in these memories.
pub fn raw(memories: &[&str]) -> gst::Caps {
    with_memory(&gst::Caps::new_empty_simple("video/x-raw"), memories)
}

const SYSTEM_MEMORY: &str = "memory:SystemMemory";
