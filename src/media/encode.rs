//! The encode side of a stream: runs from its start to its end, whatever becomes of source and encoder.
//!
//! ```text
//! live appsrc  ─▶┐                          ┌─▶ the encoder's own pipeline ─▶┐
//!                ├─▶ switch ─▶ thinning ─▶ Handover                       Handover ─▶ Unit
//! slate appsrc ─▶┘                          └╌▶ that of its successor ╌╌╌╌╌╌╌▲
//! sound appsrc ─▶ livesync ─▶ AAC ─────────────────────────────────────────────────▶ Unit
//! ```
//! Nobody ever sends an end of stream into it: sources end in their own pipelines. The encoder may fail,
//! hang or be replaced ([`Encode::replace`]) without a trace in the switch's pipeline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::clock;
use super::contexts::Contexts;
use super::damage::DamagedFrames;
use super::encoder::{self, EncoderInfo, MemoryInUse};
use super::encoding::{EncoderProgress, Encoding, Imports, Order, Plan, START_LIMIT};
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::format::Formats;
use super::glimpse::Glimpse;
use super::graph::{self, Graph};
use super::handover::Handover;
use super::inputs::Inputs;
use super::reduction::Reduction;
use super::slate::{Held, Outlet, Slate};
use super::sound;
use super::sound_inlet::SoundInlet;
use super::strip::Levels;
use super::switch::{Gate, Switch, picture_inlet};
use super::unit::Unit;
use crate::config;
use crate::units::{Bitrate, ByteCount};

/// The running switch and the encoder in use. Dropping it stops both.
pub struct Encode {
    // In the order of their end: the slate's thread pushes into the graph, and that to the encoder.
    slate: Slate,
    graph: Graph,
    serving: Serving,
    inputs: Inputs,
    gate: Gate,
    coded_sound: Arc<AtomicU64>,
    plan: Arc<Plan>,
    orders: Mutex<Orders>,
    /// Held while the encoder is changed: one change at a time.
    changing: Mutex<()>,
}

/// What is on air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    Live,
    /// The slate; `reason` stands on it where it is a text.
    Slate {
        reason: String,
    },
}

/// What went through, over all encoders. All of it only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Live pictures handed over by captures, on air or not.
    pub frames_in: u64,
    /// Pictures dropped before the encoder because it was not ready for them.
    pub frames_dropped: u64,
    /// Pictures that were stuck in an encoder when it was replaced.
    pub frames_lost: u64,
    /// Pictures left out because they came less than half a frame after the one before: where live
    /// and slate, or two captures, meet.
    pub frames_crowded: u64,
    /// Pictures on air, the slate's included, left out because of [`Encode::set_thinning`].
    pub frames_thinned: u64,
    /// Coded pictures, the slate's included.
    pub frames_out: u64,
    /// Of coded pictures.
    pub bytes_out: ByteCount,
    /// Buffers of captured sound (10 ms, as a rule) dropped because the encoder was not ready for them.
    pub sound_dropped: u64,
    /// Coded frames of sound.
    pub sound_frames_out: u64,
    /// Of captured pictures, those that came damaged.
    pub frames_damaged: DamagedFrames,
    /// When the newest live picture arrived.
    pub last_live_frame: Option<Instant>,
}

/// What the encoder was told, and its successor will be.
#[derive(Clone, Copy)]
struct Orders {
    /// One of its back end's presets, or the row's own choice.
    preset: Option<&'static str>,
    reduction: Reduction,
    target: Bitrate,
}

/// The encoders; their end waits for the one in use.
struct Serving(Arc<Handover>);

impl Encode {
    /// Starts the best encoder that the configuration allows and this machine has, with the live picture on
    /// air. `sink` is called with each unit, on one thread for each track; it must not block.
    ///
    /// # Errors
    /// When the machine lacks an element, or a pipeline cannot be started.
    pub fn start(
        stream: &config::Stream,
        events: EventSender,
        sink: impl Fn(Unit) + Send + Sync + 'static,
    ) -> Result<Encode, Error> {
        Encode::start_with(encoder::choose(&stream.video)?, None, stream, events, sink)
    }

    /// As [`Encode::start`], with an encoder that the caller has chosen, and one of its presets or the table's
    /// own choice.
    pub fn start_with(
        info: &'static EncoderInfo,
        preset: Option<&'static str>,
        stream: &config::Stream,
        events: EventSender,
        sink: impl Fn(Unit) + Send + Sync + 'static,
    ) -> Result<Encode, Error> {
        let video = &stream.video;
        let info = of_codec(info, video)?;
        let pixels = encoder::row(info).native_pixels();
        let formats = Formats::of(video, pixels);
        let contexts = Contexts::default();
        let graph = Graph::sharing(PIPELINE, &contexts);
        let (gate, coded_sound) = (Gate::default(), Arc::new(AtomicU64::new(0)));
        let sink = Arc::new(sink);

        let sound = {
            let (coded, sink) = (coded_sound.clone(), sink.clone());
            sound::build(&graph, &stream.audio, &formats, move |unit| {
                coded.fetch_add(1, Ordering::Relaxed);
                sink(unit);
            })?
        };
        let serving = Serving(Arc::new(Handover::new(events.clone(), move |unit| sink(unit))));
        let imports = Imports::default();
        let plan =
            Arc::new(Plan { video: video.clone(), pixels, formats: formats.clone(), contexts, imports });
        let orders = Orders { preset, reduction: Reduction::none(video), target: stream.rate.start };
        serving.put_in_use(&plan, info, orders, START_LIMIT)?;

        let held = Held::default();
        let (live, slate_inlet) = (picture_inlet(&formats), picture_inlet(&formats));
        let switch = {
            let handover = serving.0.clone();
            Switch::build(&graph, &live, &slate_inlet, video.framerate, &gate, move |picture| {
                handover.offer(picture);
            })?
        };
        hold_frames(&live, &held);

        switch.to_live();
        let outlet = Outlet {
            inlet: slate_inlet,
            switch_to_slate: {
                let switch = switch.clone();
                Box::new(move || switch.to_slate())
            },
            switch_to_live: {
                let switch = switch.clone();
                Box::new(move || switch.to_live())
            },
            last_out: gate.last_out.clone(),
        };
        let slate = Slate::start(video, &formats, held, outlet)?;
        let inlet = sound.clone().map(|sound| SoundInlet::new(sound, &stream.audio));
        let inputs = Inputs::new(&formats, live, inlet, switch.on_air);
        graph.play(gst::ClockTime::ZERO)?;
        graph.on_report(move |report| match report {
            Report::Failed { element, reason } => {
                events.send(MediaEvent::ProgramFailed { element, reason });
            }
            Report::Ended => {
                let reason = "the pipeline of switch and sound ended by itself".to_owned();
                events.send(MediaEvent::ProgramFailed { element: PIPELINE.to_owned(), reason });
            }
            Report::Prerolled => {}
        });
        if let Some(sound) = &sound {
            sound::prime(sound);
        }
        let (orders, changing) = (Mutex::new(orders), Mutex::new(()));
        Ok(Encode { slate, graph, serving, inputs, gate, coded_sound, plan, orders, changing })
    }

    /// Where captures hand pictures and sound over, on a fresh lease.
    pub fn inputs(&self) -> Inputs {
        self.inputs.lease()
    }

    /// Changes the rate of the video elementary stream; takes effect within the encoder's buffer
    /// (200 ms).
    pub fn set_target(&self, target: Bitrate) {
        self.orders().target = target;
        self.in_use().encoder.set_target(target);
    }

    /// Leaves out a share of the pictures on air, 0 to 1, spread evenly; from the next picture on. Of 1,
    /// only key frames that are asked for remain. A picture that is coded gets as many bits as before, so
    /// the rate falls by that share.
    pub fn set_thinning(&self, share: f64) {
        self.gate.thinning.set_share(share);
    }

    /// Gives the encoder fewer or smaller pictures from the next one on, with a key frame and new
    /// parameter sets. The target stays, so each picture gets more bits. An encoder that cannot change its
    /// pictures while it runs is replaced by one of its kind: that blocks, as [`Encode::replace`] does.
    ///
    /// # Errors
    /// When a successor that is needed cannot be started: then all stays as it is.
    pub fn reduce(&self, reduction: Reduction) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.changing);
        let Orders { preset, reduction: before, target } = *self.orders();
        let in_use = self.in_use();
        if in_use.info().resizes {
            in_use.reducer.set(reduction);
            self.orders().reduction = reduction;
        } else if reduction != before {
            self.change(in_use.info(), Orders { preset, reduction, target }, START_LIMIT)?;
        }
        Ok(())
    }

    /// Replaces the encoder while on air, by another or by a fresh one of the same back end. The successor
    /// is started first, which blocks for 3 s at the most; then it takes over between two pictures, with
    /// those that the old one was given and gave no unit for. Of the old one nothing goes out after that: it
    /// ends on a thread of its own, and if it hangs, that is left behind. The successor's first unit is a key
    /// frame with parameter sets, timestamps go on rising, and thinning stays as it was.
    ///
    /// # Errors
    /// When the successor is of another codec, is not there, cannot be started or fails at once: then the
    /// old one stays in use.
    pub fn replace(
        &self,
        info: &'static EncoderInfo,
        preset: Option<&'static str>,
        reduction: Reduction,
        target: Bitrate,
    ) -> Result<(), Error> {
        self.replace_within(START_LIMIT, info, preset, reduction, target)
    }

    /// As [`Encode::replace`], for those who can do with another one sooner than this takes at the most.
    ///
    /// # Errors
    /// As [`Encode::replace`], and when it is not ready within `limit`.
    pub fn replace_within(
        &self,
        limit: Duration,
        info: &'static EncoderInfo,
        preset: Option<&'static str>,
        reduction: Reduction,
        target: Bitrate,
    ) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.changing);
        self.change(of_codec(info, &self.plan.video)?, Orders { preset, reduction, target }, limit)
    }

    /// To be called by who holds `changing`.
    fn change(&self, info: &'static EncoderInfo, orders: Orders, limit: Duration) -> Result<(), Error> {
        let target_before = self.orders().target;
        self.serving.put_in_use(&self.plan, info, orders, limit)?;
        let mut told = self.orders();
        let target = if told.target == target_before { orders.target } else { told.target };
        *told = Orders { target, ..orders };
        drop(told);
        self.in_use().encoder.set_target(target); // told to the old one in the meantime
        Ok(())
    }

    /// What the encoder is given of the stream's pictures.
    pub fn reduction(&self) -> Reduction {
        self.orders().reduction
    }

    /// What the encoder was told last.
    pub fn target(&self) -> Bitrate {
        self.orders().target
    }

    /// Has the next picture coded as a key frame; it is not thinned out.
    pub fn force_key_frame(&self) {
        self.gate.thinning.let_next_through();
        let in_use = self.in_use();
        if !in_use.encoder.force_key_frame() {
            log::warn!(element = in_use.info().element; "the encoder did not take the wish for a key frame");
        }
    }

    /// Takes the sound's gain, mute, channels and delay over, within some milliseconds, without a click; of
    /// an offset below 0 only what the stream began with counts.
    pub fn set_sound(&self, audio: &config::Audio) {
        self.inputs.set_sound(audio);
    }

    /// Another slate, on air or not, as soon as it is made; see [`Slate::change`].
    ///
    /// # Errors
    /// When it cannot even be begun: then all stays as it is.
    pub fn set_slate(&self, slate: &config::Slate) -> Result<(), Error> {
        self.slate.change(slate)
    }

    /// Where the pictures on air can be looked at, thinned out or not.
    pub fn glimpse(&self) -> Glimpse {
        self.gate.glimpse.clone()
    }

    /// How loud the captured sound is; `None` where none came for a second.
    pub fn levels(&self) -> Option<Levels> {
        self.inputs.levels()
    }

    /// Chooses what is on air. Both directions take effect within a few milliseconds, with
    /// timestamps that keep rising.
    pub fn show(&self, picture: Picture) {
        match picture {
            Picture::Live => self.slate.hide(),
            Picture::Slate { reason } => self.slate.show(reason),
        }
    }

    pub fn counters(&self) -> Counters {
        let handover = &self.serving.0;
        Counters {
            frames_in: self.inputs.frames(),
            frames_dropped: handover.dropped() + self.inputs.frames_refused(),
            frames_lost: handover.lost(),
            frames_crowded: self.gate.crowded.load(Ordering::Relaxed),
            frames_thinned: self.gate.thinned.load(Ordering::Relaxed),
            frames_out: handover.coded(),
            bytes_out: handover.coded_bytes(),
            sound_dropped: self.inputs.sound_refused(),
            sound_frames_out: self.coded_sound.load(Ordering::Relaxed),
            frames_damaged: self.inputs.damage().frames(),
            last_live_frame: self.inputs.newest_frame().map(clock::to_instant),
        }
    }

    /// How far the encoder in use has come: whether pictures go in and nothing comes out.
    pub fn encoder_progress(&self) -> EncoderProgress {
        self.in_use().progress()
    }

    /// Has the next group of pictures of the encoder in use sampled. The first one of each encoder is sampled
    /// without being asked for.
    pub fn want_sample(&self) {
        self.in_use().examiner.want_sample();
    }

    /// The beginning of a group of pictures of the encoder in use, a key frame first, where it has been
    /// sampled; with `short` also where it is not complete, for want of pictures. At most 16 units and,
    /// but for the last of them, 4 MiB.
    pub fn take_sample(&self, short: bool) -> Option<Vec<Vec<u8>>> {
        self.in_use().examiner.take_sample(short)
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.in_use().info()
    }

    /// How pictures get to the encoder in use.
    pub fn memory(&self) -> MemoryInUse {
        self.in_use().encoder.memory()
    }

    /// A property of the encoder's element as GStreamer writes it; `None` where it has no such property.
    pub fn encoder_property(&self, name: &str) -> Option<String> {
        self.in_use().encoder.property(name)
    }

    /// Stops switch and encoder; what is in them is lost (one picture at most: nothing is reordered).
    pub fn stop(self) {
        let Encode { slate, graph, serving, .. } = self;
        drop(slate);
        drop(graph);
        drop(serving);
    }

    fn in_use(&self) -> Arc<Encoding> {
        self.serving.0.in_use().expect("an encoder is in use from the start to the end")
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        lock(&self.orders)
    }
}

impl Serving {
    /// Starts an encoder and puts it in the place of the one in use, which ends.
    fn put_in_use(
        &self,
        plan: &Arc<Plan>,
        info: &'static EncoderInfo,
        orders: Orders,
        limit: Duration,
    ) -> Result<(), Error> {
        let Serving(handover) = self;
        let Orders { preset, reduction, target } = orders;
        let order = Order { info, preset, generation: handover.next_generation(), reduction, target, limit };
        let next = Encoding::start(plan, order, handover)?;
        match handover.install(next.clone()) {
            Ok(before) => {
                if let Some(before) = before {
                    before.end();
                }
                Ok(())
            }
            Err(error) => {
                next.inbox.close();
                next.end();
                Err(error)
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The row of the table for an encoder of the stream's codec.
fn of_codec(info: &'static EncoderInfo, video: &config::Video) -> Result<&'static EncoderInfo, Error> {
    if info.codec == video.codec {
        return Ok(info);
    }
    Err(Error::Unavailable {
        what: format!("{} for this stream", info.element),
        reason: format!("the stream's codec is {}", video.codec),
    })
}

/// Keeps the newest live picture while the slate wants it.
fn hold_frames(live: &gst_app::AppSrc, held: &Held) {
    let held = held.clone();
    graph::pad(live.upcast_ref(), "src").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        held.keep(|| info.buffer().map(|frame| frame.to_owned()));
        gst::PadProbeReturn::Ok
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PIPELINE: &str = "encode";

#[cfg(test)]
mod tests;
