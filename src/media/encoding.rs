//! One encoder at work, in a pipeline of its own: what it does to itself it does to nobody else.
//!
//! ```text
//! Inbox ─▶ appsrc ─▶ reduction ─▶ encoder ─▶ parser ─▶ appsink ─▶ Unit
//! ```
//! It is [started](Encoding::start) to the point where the encoder has taken the format, so that its first
//! picture costs no more than its second. Both starting and ending may hang in a driver, so both happen
//! on threads of their own ([`apart`]).

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::apart;
use super::contexts::Contexts;
use super::encoder::{self, Encoder, EncoderInfo, Settings};
use super::error::Error;
use super::event::Report;
use super::examiner::Examiner;
use super::format::Formats;
use super::graph::{self, Graph};
use super::handover::Handover;
use super::inbox::Inbox;
use super::reduction::{Reducer, Reduction};
use super::unit::{self, Track};
use crate::config::{self, Codec};
use crate::units::{Bitrate, ByteCount};

/// A running encoder. Dropped, it ends on the spot: one that may hang is [ended](Encoding::end) first.
pub(super) struct Encoding {
    /// Which one of the stream's, in order.
    pub(super) generation: u64,
    pub(super) encoder: Encoder,
    pub(super) reducer: Reducer,
    pub(super) inbox: Arc<Inbox>,
    pub(super) examiner: Arc<Examiner>,
    health: Arc<Health>,
    /// When it was put in use.
    since: OnceLock<Instant>,
    graph: Mutex<Option<Graph>>,
}

/// What all encoders of a stream have in common.
pub(super) struct Plan {
    pub(super) video: config::Video,
    /// The pixel format before the switch; an encoder that takes others converts.
    pub(super) pixels: &'static str,
    pub(super) formats: Formats,
    pub(super) contexts: Contexts,
    pub(super) imports: Imports,
}

/// Whether the stream's encoders may import pictures: until one fails that does, whatever the reason.
#[derive(Default)]
pub(super) struct Imports(OnceLock<String>);

/// What one encoder is built for.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) info: &'static EncoderInfo,
    pub(super) preset: Option<&'static str>,
    pub(super) generation: u64,
    pub(super) reduction: Reduction,
    pub(super) target: Bitrate,
    /// How long its start may take.
    pub(super) limit: Duration,
}

/// How far the encoder in use has come. The counts begin at zero with each encoder, and only rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderProgress {
    /// GStreamer's name of the element.
    pub element: &'static str,
    /// When it was put in use.
    pub since: Instant,
    /// Pictures that were handed over to it, taken or not. They go on rising when it hangs.
    pub pictures_offered: u64,
    /// Pictures that it took.
    pub pictures_in: u64,
    pub units_out: u64,
    pub bytes_out: ByteCount,
}

impl Encoding {
    /// Builds the pipeline, starts it and waits until the encoder has taken the format; blocks for the order's
    /// limit at the most. Its units and what becomes of it go to `handover`.
    pub(super) fn start(
        plan: &Arc<Plan>,
        order: Order,
        handover: &Arc<Handover>,
    ) -> Result<Arc<Encoding>, Error> {
        let (plan, handover) = (plan.clone(), Arc::downgrade(handover));
        let (element, limit) = (order.info.element, order.limit);
        apart::refuse_hopeless(element).map_err(|reason| Error::Start { graph: PIPELINE, reason })?;
        let started = apart::within(limit, "encoder start", element, move || play(&plan, order, &handover))?;
        let late = || Error::Start {
            graph: PIPELINE,
            reason: format!("{element} is not ready after {} s", limit.as_secs()),
        };
        started.ok_or_else(late)?.map(Arc::new)
    }

    pub(super) fn info(&self) -> &'static EncoderInfo {
        self.encoder.info()
    }

    /// Why it gives nothing more, as an error of starting it.
    pub(super) fn failure(&self) -> Option<Error> {
        self.health.failure()
    }

    /// From now on pictures are handed over to it.
    pub(super) fn put_in_use(&self) {
        self.since.get_or_init(Instant::now);
    }

    pub(super) fn progress(&self) -> EncoderProgress {
        let passed = self.inbox.passed();
        EncoderProgress {
            element: self.info().element,
            since: self.since.get().copied().unwrap_or_else(Instant::now),
            pictures_offered: passed.offered,
            pictures_in: passed.entered,
            units_out: passed.units,
            bytes_out: ByteCount::new(passed.bytes),
        }
    }

    /// Ends it on a thread of its own, for which nobody waits. Its inbox is closed by now.
    pub(super) fn end(&self) {
        let Some(graph) = self.take_graph() else { return };
        let element = self.info().element;
        if let Err(error) = apart::alone(END_LIMIT, "encoder end", element, move || drop(graph)) {
            log::error!(element; "ended in place: {error}");
        }
    }

    /// Ends it and waits for that, for [`END_LIMIT`] at the most. Its inbox is closed by now.
    pub(super) fn end_and_wait(&self) {
        let Some(graph) = self.take_graph() else { return };
        let element = self.info().element;
        if let Err(error) = apart::within(END_LIMIT, "encoder end", element, move || drop(graph)) {
            log::error!(element; "ended in place: {error}");
        }
    }

    #[cfg(test)]
    pub(super) fn element(&self) -> gst::Element {
        let graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        graph.as_ref().and_then(|graph| graph.find(self.info().element)).expect("it is in its own pipeline")
    }

    fn take_graph(&self) -> Option<Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        // The pipeline's thread may wait for a picture, and its end would wait for that thread.
        self.inbox.close();
    }
}

impl Imports {
    /// From now on pictures are copied. The first reason counts.
    fn refuse(&self, reason: String) {
        self.0.get_or_init(|| reason);
    }

    fn refused(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Builds, starts and waits; on a thread where each of these may hang. An encoder that does not start importing
/// pictures is tried once more without that.
fn play(plan: &Arc<Plan>, order: Order, handover: &Weak<Handover>) -> Result<Encoding, Error> {
    let refused = plan.imports.refused();
    match attempt(plan, order, handover, refused) {
        Err(error) if refused.is_none() && encoder::row(order.info).can_import() => {
            let reason = error.to_string();
            let encoding = attempt(plan, order, handover, Some(&reason))?; // else that was not the reason
            log::warn!(element = order.info.element, reason; "pictures are copied to the encoder");
            Ok(encoding)
        }
        result => result,
    }
}

fn attempt(
    plan: &Arc<Plan>,
    order: Order,
    handover: &Weak<Handover>,
    refused: Option<&str>,
) -> Result<Encoding, Error> {
    let Order { info, preset, generation, reduction, target, .. } = order;
    let backend = encoder::row(info);
    let graph = Graph::sharing(PIPELINE, &plan.contexts);
    let (inbox, health) = (Arc::new(Inbox::default()), Arc::new(Health::default()));
    let inlet = inlet(&plan.formats);
    let reducer =
        Reducer::new(&graph::pad(inlet.upcast_ref(), "src"), &plan.formats, &plan.video, reduction)?;
    let encoder = backend.build(
        &Settings {
            width: plan.video.width,
            height: plan.video.height,
            pixels: plan.pixels,
            preset,
            framerate: plan.video.framerate,
            keyframe_interval: plan.video.keyframe_interval,
            start: target,
        },
        refused,
    )?;
    // Parameter sets ahead of each key frame: a receiver may begin at any of them.
    let parse = graph::make(encoder.parser, |parse| parse.property("config-interval", -1))?;
    let examiner = Arc::new(Examiner::new(plan.video.codec));
    let outlet = {
        let (handover, inbox, examiner) = (handover.clone(), inbox.clone(), examiner.clone());
        unit::sink(Track::Video, &coded_caps(plan.video.codec), move |unit| {
            if let Some(handover) = handover.upgrade() {
                if let Some(flaw) = examiner.look(&unit) {
                    handover.broken(generation, info.element, flaw);
                }
                handover.deliver(generation, &inbox, unit);
            }
        })?
    };
    feed(&inlet, &reducer.scale, &inbox, &health);
    graph.chain(&chain(inlet.upcast_ref(), &reducer, &encoder, [&parse, &outlet]))?;

    let since = OnceLock::new();
    // Whole from here on: its end closes the inbox first.
    let graph = Mutex::new(Some(graph));
    let encoding = Encoding { generation, encoder, reducer, inbox, examiner, health, since, graph };
    encoding.run(plan, handover.clone())?;
    if let Some(error) = encoding.health.wait_until_started() {
        return Err(error);
    }
    encoding.encoder.agree_on_memory()?;
    Ok(encoding)
}

impl Encoding {
    fn run(&self, plan: &Arc<Plan>, handover: Weak<Handover>) -> Result<(), Error> {
        let guard = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let graph = guard.as_ref().expect("it was built with one, and nobody else has it yet");
        graph.play(gst::ClockTime::ZERO)?;
        let (health, generation, encoder) = (self.health.clone(), self.generation, self.info().element);
        let (plan, imports) = (plan.clone(), self.encoder.imports());
        graph.on_report(move |report| {
            let (element, reason) = match report {
                Report::Failed { element, reason } => (element, reason),
                Report::Ended => (PIPELINE.to_owned(), "the encoder ended by itself".to_owned()),
                Report::Prerolled => return,
            };
            health.fail(&element, &reason);
            let Some(handover) = handover.upgrade() else { return };
            if imports && handover.serves(generation) {
                let reason = format!("{element}: {reason}");
                plan.imports.refuse(reason.clone());
                handover.memory_refused(generation, encoder, reason);
            } else {
                handover.failed(generation, encoder, element, reason);
            }
        });
        Ok(())
    }
}

/// All elements of the pipeline, in order.
fn chain<'a>(
    inlet: &'a gst::Element,
    reducer: &'a Reducer,
    encoder: &'a Encoder,
    end: [&'a gst::Element; 2],
) -> Vec<&'a gst::Element> {
    let before = [inlet, &reducer.scale, &reducer.size];
    before.into_iter().chain(encoder.chain()).chain(end).collect()
}

/// It holds one picture at a time: they wait in the [`Inbox`].
fn inlet(formats: &Formats) -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .caps(&formats.picture)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(0)
        .max_buffers(1)
        .build()
}

/// Gives the pipeline a picture whenever it asks for one. When it asks for the first, all elements have
/// taken the format, or one has refused it: the inlet sends it ahead.
fn feed(inlet: &gst_app::AppSrc, first: &gst::Element, inbox: &Arc<Inbox>, health: &Arc<Health>) {
    let entry = graph::pad(first, "sink");
    let entered = inbox.clone();
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        entered.entered();
        gst::PadProbeReturn::Ok
    });
    let (entry, inbox, health) = (entry.downgrade(), inbox.clone(), health.clone());
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |inlet, _| {
        let has_format = entry.upgrade().is_some_and(|entry| entry.current_caps().is_some());
        health.started(has_format);
        if let Some(picture) = inbox.take()
            && let Err(error) = inlet.push_buffer(picture)
        {
            log::debug!(pipeline = PIPELINE; "a picture came while it was being stopped: {error}");
        }
    });
    inlet.set_callbacks(callbacks.build());
}

/// What leaves the encoder: whole access units with their start codes.
pub(super) fn coded_caps(codec: Codec) -> gst::Caps {
    let name = match codec {
        Codec::H264 => "video/x-h264",
        Codec::H265 => "video/x-h265",
    };
    gst::Caps::builder(name).field("stream-format", "byte-stream").field("alignment", "au").build()
}

/// Whether an encoder works.
///
/// ```text
/// Starting ──▶ Works ──▶ Failed
///     └───────────────────▲
/// ```
#[derive(Default)]
struct Health {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Starting,
    Works,
    Failed {
        reason: String,
    },
}

impl Health {
    /// Where it still was being started, that is over.
    fn started(&self, has_format: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Starting = *state {
            *state = if has_format {
                State::Works
            } else {
                State::Failed { reason: "the encoder refuses the pictures' format".to_owned() }
            };
            self.changed.notify_all();
        }
    }

    fn fail(&self, element: &str, reason: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Failed { reason: format!("{element}: {reason}") };
        self.changed.notify_all();
    }

    fn wait_until_started(&self) -> Option<Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_starting = |state: &mut State| matches!(state, State::Starting);
        drop(self.changed.wait_while(state, is_starting).unwrap_or_else(PoisonError::into_inner));
        self.failure()
    }

    fn failure(&self) -> Option<Error> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Starting | State::Works => None,
            State::Failed { reason } => Some(Error::Start { graph: PIPELINE, reason: reason.clone() }),
        }
    }
}

const PIPELINE: &str = "encoder";

/// Opening a hardware encoder takes up to a second or so (loading its runtime, the first time); one that
/// takes longer is not waited for.
pub const START_LIMIT: Duration = Duration::from_secs(3);

/// Where nothing is on air and another encoder could be: one in software starts within some tens of
/// milliseconds, and hardware whose runtime is loaded within tenths of a second.
pub const HURRIED_START: Duration = Duration::from_secs(1);

/// A healthy encoder ends within milliseconds; beyond this it is taken to hang, and left behind.
pub const END_LIMIT: Duration = Duration::from_secs(1);
