//! A pipeline as a typed graph: elements are made, set, linked and kept in fields, on the shared
//! clock, and torn down on drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::element_factory::ElementBuilder;
use gst::prelude::*;

use super::clock;
use super::contexts::Contexts;
use super::error::Error;
use super::event::{self, Report};

/// One pipeline. Dropping it stops its threads; never drop it on one of them.
pub(super) struct Graph {
    name: &'static str,
    pipeline: gst::Pipeline,
    contexts: Contexts,
}

impl Graph {
    /// An empty pipeline on the shared clock, whose base time is ours to choose.
    pub(super) fn new(name: &'static str) -> Graph {
        Graph::sharing(name, &Contexts::default())
    }

    /// As [`Graph::new`], with the contexts of other pipelines, which have its own in their turn.
    pub(super) fn sharing(name: &'static str, contexts: &Contexts) -> Graph {
        let pipeline = gst::Pipeline::with_name(name);
        pipeline.use_clock(Some(&clock::shared()));
        pipeline.set_start_time(gst::ClockTime::NONE);
        contexts.give(&pipeline);
        let graph = Graph { name, pipeline, contexts: contexts.clone() };
        let contexts = contexts.clone();
        graph.bus().set_sync_handler(move |_, message| {
            contexts.heed(message);
            gst::BusSyncReply::Pass
        });
        graph
    }

    /// Adds elements and links each to the next.
    pub(super) fn chain(&self, elements: &[&gst::Element]) -> Result<(), Error> {
        self.add(elements)?;
        self.link(elements)
    }

    /// Adds elements without linking them.
    pub(super) fn add(&self, elements: &[&gst::Element]) -> Result<(), Error> {
        self.pipeline.add_many(elements).map_err(|source| self.not_assembled(source))
    }

    /// For callbacks of this pipeline's elements, which must not keep it alive.
    pub(super) fn downgrade(&self) -> gst::glib::WeakRef<gst::Pipeline> {
        self.pipeline.downgrade()
    }

    /// Links each of the elements to the next.
    pub(super) fn link(&self, elements: &[&gst::Element]) -> Result<(), Error> {
        gst::Element::link_many(elements).map_err(|source| self.not_assembled(source))
    }

    pub(super) fn not_assembled(&self, source: gst::glib::BoolError) -> Error {
        Error::Assemble { graph: self.name, source }
    }

    /// Has `handler` called for what matters on the bus: with what is there already, then on the
    /// thread that posts. It must be quick, and must neither drop this graph nor change its state.
    /// A pipeline ends or fails once: what its other elements say about it afterwards is left out.
    /// Comes after [`Graph::play`], whose failure is an error and not a report.
    pub(super) fn on_report(&self, handler: impl Fn(Report) + Send + Sync + 'static) {
        let over = AtomicBool::new(false);
        let handler = Arc::new(move |message: &gst::Message| match event::read(message) {
            Some(Report::Failed { .. } | Report::Ended) if over.swap(true, Ordering::Relaxed) => {}
            Some(report) => handler(report),
            None => {}
        });
        let (later, contexts) = (handler.clone(), self.contexts.clone());
        self.bus().set_sync_handler(move |_, message| {
            contexts.heed(message);
            later(message);
            gst::BusSyncReply::Drop
        });
        while let Some(message) = self.bus().pop() {
            handler(&message);
        }
    }

    /// Brings all sinks to their first buffer without showing it; [`Report::Prerolled`] tells when.
    pub(super) fn pause(&self) -> Result<(), Error> {
        self.set_state(gst::State::Paused)
    }

    /// Runs the pipeline: its running time zero is `begin` on the shared clock.
    pub(super) fn play(&self, begin: gst::ClockTime) -> Result<(), Error> {
        self.pipeline.set_base_time(begin);
        self.set_state(gst::State::Playing)
    }

    fn set_state(&self, state: gst::State) -> Result<(), Error> {
        self.pipeline.set_state(state).map(drop).map_err(|_| self.not_started())
    }

    /// Why an element refused to start: what it said on the bus, where nobody has read that yet.
    pub(super) fn not_started(&self) -> Error {
        let said = self.bus().pop_filtered(&[gst::MessageType::Error]);
        let reason = match said.as_ref().and_then(event::read) {
            Some(Report::Failed { element, reason }) => format!("{element}: {reason}"),
            Some(Report::Ended | Report::Prerolled) | None => "an element refuses".to_owned(),
        };
        Error::Start { graph: self.name, reason }
    }

    /// One of its elements, by the name of its factory, which begins its own.
    #[cfg(test)]
    pub(super) fn find(&self, factory: &str) -> Option<gst::Element> {
        let is_it = |element: &gst::Element| element.name().starts_with(factory);
        self.pipeline.iterate_elements().into_iter().flatten().find(is_it)
    }

    pub(super) fn bus(&self) -> gst::Bus {
        self.pipeline.bus().expect("a pipeline has a bus from its creation on")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            log::error!(pipeline = self.name; "pipeline does not stop: {error}");
        }
        // The handler may hold what holds the pipeline.
        self.bus().unset_sync_handler();
    }
}

/// Adds elements to a running pipeline, links each to the next and starts them.
pub(super) fn graft(
    pipeline: &gst::Pipeline,
    elements: &[&gst::Element],
) -> Result<(), gst::glib::BoolError> {
    pipeline.add_many(elements)?;
    gst::Element::link_many(elements)?;
    elements.iter().rev().try_for_each(|element| element.sync_state_with_parent())
}

/// Makes an element and sets its properties.
pub(super) fn make<'a>(
    element: &'static str,
    settings: impl FnOnce(ElementBuilder<'a>) -> ElementBuilder<'a>,
) -> Result<gst::Element, Error> {
    require(element)?;
    settings(gst::ElementFactory::make(element)).build().map_err(|source| Error::Create { element, source })
}

/// Makes an element as it is.
pub(super) fn plain(element: &'static str) -> Result<gst::Element, Error> {
    make(element, |builder| builder)
}

/// A filter that lets only `caps` through.
pub(super) fn only(caps: &gst::Caps) -> Result<gst::Element, Error> {
    make("capsfilter", |filter| filter.property("caps", caps))
}

/// Checks that GStreamer has this element.
pub(super) fn require(element: &'static str) -> Result<(), Error> {
    match gst::ElementFactory::find(element) {
        Some(_) => Ok(()),
        None => Err(Error::MissingElement { element, package: package_of(element) }),
    }
}

/// A pad that the element has from its creation on.
pub(super) fn pad(element: &gst::Element, name: &str) -> gst::Pad {
    element.static_pad(name).expect("the element's static pads are known when the graph is written")
}

/// The Debian package that holds an element; the same names on Raspberry Pi OS.
fn package_of(element: &str) -> &'static str {
    match element {
        "queue" | "capsfilter" | "filesrc" => "libgstreamer1.0-0",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "avenc_aac" | "avdec_h264" => "gstreamer1.0-libav",
        "h264parse" | "h265parse" | "openh264dec" | "mpegtsmux" | "voaacenc" | "fdkaacenc" => {
            "gstreamer1.0-plugins-bad"
        }
        "aacparse" | "jpegdec" | "v4l2src" => "gstreamer1.0-plugins-good",
        "alsasrc" => "gstreamer1.0-alsa",
        "textoverlay" | "timeoverlay" => "gstreamer1.0-x",
        _ => "gstreamer1.0-plugins-base",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_element_is_named_with_its_package() {
        gst::init().unwrap();
        let error = require("fallbackwitch-that-is-not").unwrap_err();
        assert!(matches!(error, Error::MissingElement { element: "fallbackwitch-that-is-not", .. }));
        assert_eq!(package_of("x264enc"), "gstreamer1.0-plugins-ugly");
        assert_eq!(
            Error::MissingElement { element: "alsasrc", package: package_of("alsasrc") }.to_string(),
            "GStreamer has no element alsasrc: install the Debian package gstreamer1.0-alsa"
        );
    }
}
