//! GStreamer's contexts (a display, a CUDA device), made once a stream and shared by its pipelines.
//!
//! An element that needs one asks its neighbours, then its pipeline, then makes its own and says so. What
//! was made in one pipeline is kept here and given to those that are built later, and to those that ask:
//! so an encoder that takes over works on the same device handle as the one before, and memory can pass.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

/// The contexts of one stream. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Contexts(Arc<Mutex<Vec<gst::Context>>>);

impl Contexts {
    /// Gives a pipeline all that there are; it passes them on to what is added to it.
    pub(super) fn give(&self, pipeline: &gst::Pipeline) {
        for context in self.lock().iter() {
            pipeline.set_context(context);
        }
    }

    /// Keeps what a pipeline's element has made, and answers one that asks.
    pub(super) fn heed(&self, message: &gst::Message) {
        match message.view() {
            gst::MessageView::HaveContext(have) => self.keep(have.context()),
            gst::MessageView::NeedContext(need) => {
                let found = self.find(need.context_type());
                let source = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
                if let (Some(context), Some(element)) = (found, source) {
                    element.set_context(&context); // not under the lock: it may post a message
                }
            }
            _ => {}
        }
    }

    /// The newest of its type stays: an element makes another only where the one there was is of no use to it.
    fn keep(&self, context: gst::Context) {
        let mut contexts = self.lock();
        contexts.retain(|kept| kept.context_type() != context.context_type());
        contexts.push(context);
    }

    fn find(&self, kind: &str) -> Option<gst::Context> {
        self.lock().iter().find(|context| context.context_type() == kind).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<gst::Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::graph::{self, Graph};

    #[test]
    fn what_one_pipeline_made_the_next_has_from_the_start() {
        gst::init().unwrap();
        let contexts = Contexts::default();
        let (first, maker) = pipeline(&contexts);
        assert_eq!(held(&maker), None);
        for device in ["/dev/dri/renderD128", "/dev/dri/renderD129"] {
            let message = gst::message::HaveContext::builder(context(device)).src(&maker).build();
            maker.post_message(message).unwrap();
        }
        drop(first);

        let (_second, taker) = pipeline(&contexts);
        assert_eq!(held(&taker).as_deref(), Some("/dev/dri/renderD129"), "the newest");
        assert_eq!(held(&pipeline(&Contexts::default()).1), None, "another stream has its own");
    }

    #[test]
    fn one_that_asks_is_given_what_came_in_the_meantime() {
        gst::init().unwrap();
        let contexts = Contexts::default();
        let (_first, maker) = pipeline(&contexts);
        let (_second, asker) = pipeline(&contexts);
        maker.post_message(gst::message::HaveContext::builder(context("a")).src(&maker).build()).unwrap();
        assert_eq!(held(&asker), None);
        asker.post_message(gst::message::NeedContext::builder(KIND).src(&asker).build()).unwrap();
        assert_eq!(held(&asker).as_deref(), Some("a"));
    }

    fn pipeline(contexts: &Contexts) -> (Graph, gst::Element) {
        let graph = Graph::sharing("test", contexts);
        let element = graph::plain("identity").unwrap();
        graph.add(&[&element]).unwrap();
        (graph, element)
    }

    fn context(device: &str) -> gst::Context {
        let mut context = gst::Context::new(KIND, true);
        context.get_mut().unwrap().structure_mut().set("device", device);
        context
    }

    fn held(element: &gst::Element) -> Option<String> {
        element.context(KIND).and_then(|context| context.structure().get("device").ok())
    }

    const KIND: &str = "uplinkd.test.display";
}
