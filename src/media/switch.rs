//! The switch between live picture and slate, and what is left out behind it.
//!
//! ```text
//! live appsrc  ─▶┐
//!                ├─▶ fallbackswitch ─▶ kept apart ─▶ thinned ─▶ appsink ─▶ Handover
//! slate appsrc ─▶┘
//! ```
//! Nothing in it waits for an encoder: the hand-over takes a picture or loses one, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gst::prelude::*;

use super::error::Error;
use super::format::Formats;
use super::glimpse::Glimpse;
use super::graph::{self, Graph};
use super::inputs::OnAir;
use super::thinning::Thinning;
use crate::config;

/// The manual switch between live and slate.
#[derive(Clone)]
pub(super) struct Switch {
    element: gst::Element,
    live: gst::Pad,
    slate: gst::Pad,
    pub(super) on_air: OnAir,
}

/// What stands behind the switch: which pictures go on, and how many did not.
#[derive(Clone, Default)]
pub(super) struct Gate {
    /// Left out because they came too soon after the picture before.
    pub(super) crowded: Arc<AtomicU64>,
    /// Left out since only a share is wanted.
    pub(super) thinned: Arc<AtomicU64>,
    pub(super) thinning: Arc<Thinning>,
    pub(super) glimpse: Glimpse,
    /// Time of the picture that left the switch last, on the shared clock.
    pub(super) last_out: Arc<AtomicU64>,
}

impl Switch {
    /// Adds the branch to `graph`; `take` is called with each picture that goes on, on the thread of the
    /// inlet that it came through. It must not block.
    pub(super) fn build(
        graph: &Graph,
        live: &gst_app::AppSrc,
        slate: &gst_app::AppSrc,
        framerate: config::Framerate,
        gate: &Gate,
        take: impl Fn(gst::Buffer) + Send + 'static,
    ) -> Result<Switch, Error> {
        let element = graph::make("fallbackswitch", |switch| switch.property("auto-switch", false))?;
        let outlet = outlet(take)?;
        keep_apart(&graph::pad(&outlet, "sink"), framerate.frame_duration() / 2, gate);
        graph.add(&[live.upcast_ref(), slate.upcast_ref()])?;
        graph.chain(&[&element, &outlet])?;
        let (live, slate) = (link(graph, &element, live)?, link(graph, &element, slate)?);
        Ok(Switch { element, live, slate, on_air: OnAir::new() })
    }

    pub(super) fn to_live(&self) {
        self.element.set_property("active-pad", &self.live);
        self.on_air.set(true);
    }

    pub(super) fn to_slate(&self) {
        self.on_air.set(false);
        self.element.set_property("active-pad", &self.slate);
    }
}

/// Where raw pictures come in: two may wait, then the newest is lost ([`Inputs`](super::Inputs) sees to
/// that).
pub(super) fn picture_inlet(formats: &Formats) -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .caps(&formats.picture)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .max_buffers(2)
        .build()
}

/// The base time is zero and the inlets' segments begin there: a buffer's time is the clock's.
fn outlet(take: impl Fn(gst::Buffer) + Send + 'static) -> Result<gst::Element, Error> {
    graph::require("appsink")?;
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(picture) = sample.buffer_owned() {
                drop(sample);
                take(picture);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .qos(false)
        .enable_last_sample(false)
        .callbacks(callbacks)
        .build();
    Ok(sink.upcast())
}

fn link(graph: &Graph, switch: &gst::Element, source: &gst_app::AppSrc) -> Result<gst::Pad, Error> {
    let pad = switch
        .request_pad_simple("sink_%u")
        .ok_or_else(|| graph.not_assembled(gst::glib::bool_error!("the switch gives no further input")))?;
    let output = graph::pad(source.upcast_ref(), "src");
    output
        .link(&pad)
        .map_err(|error| graph.not_assembled(gst::glib::bool_error!("switch input: {error}")))?;
    Ok(pad)
}

/// Leaves out a picture that would follow the one before by less than half a frame, or precede it:
/// when live and slate alternate, timestamps keep rising and the rate stays the stream's. Of the
/// others those go on that are not thinned out.
fn keep_apart(pad: &gst::Pad, half_a_frame: Duration, gate: &Gate) {
    let half_a_frame = u64::try_from(half_a_frame.as_nanos()).unwrap_or(u64::MAX); // at most half a second
    let gate = gate.clone();
    // Left out with `Handled`: with `Drop`, GStreamer 1.22 wants to release a buffer that is not there.
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(picture) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let Some(at) = picture.pts() else {
            return gst::PadProbeReturn::Handled; // every inlet's buffers are stamped
        };
        let last = gate.last_out.load(Ordering::Relaxed);
        if last != 0 && at.nseconds() < last + half_a_frame {
            gate.crowded.fetch_add(1, Ordering::Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        gate.last_out.store(at.nseconds(), Ordering::Relaxed);
        gate.glimpse.offer(pad, picture);
        if gate.thinning.leaves_out() {
            gate.thinned.fetch_add(1, Ordering::Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
