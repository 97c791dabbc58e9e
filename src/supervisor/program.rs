//! The running media of a stream: the encoder, and the capture that feeds it.
//!
//! What can take its time, starting an encoder or opening and closing a device ([`Captures`]), happens on a
//! blocking thread.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::captures::{Captures, Origin};
use super::fanout::Fanout;
use super::selection::Pick;
use crate::capture::Chosen;
use crate::causes::with_causes;
use crate::config;
use crate::media::{
    self, Counters, Encode, EncoderInfo, EncoderProgress, Error, Glimpse, Levels, MediaEvent, MemoryInUse,
    Picture, Reduction, Track,
};
use crate::rate::{Actuator, ChangeCost, LadderMachine, Mode, Rung};
use crate::session::encoders::Observation;
use crate::session::failover::OnAir;
use crate::session::meter::Meter;
use crate::units::Bitrate;

/// Encoder and capture. Dropped, both are torn down.
pub struct Program {
    /// Shared with the thread on which an encoder is replaced.
    encode: Arc<Encode>,
    events: mpsc::Receiver<MediaEvent>,
    captures: Captures,
    /// As configured.
    mode: Mode,
    in_use: Setup,
    wanted: Setup,
    change: Option<Change>,
    /// Whether another one could be tried if that which is wanted does not start.
    is_another_left: bool,
    actuator: Actuator,
    ladder: LadderMachine,
    /// What the encoder manages.
    sustained: Rung,
    /// Share of the pictures that is left out.
    thin: f64,
    /// What the encoder was told last.
    told: Bitrate,
    started: Instant,
    encoded: Meter,
    frames: Meter,
    key_frames: Arc<AtomicU64>,
    /// Whether the encoder in use said that it gives nothing more.
    has_failed: bool,
    /// Whether its units go to the fan-out.
    on_air: Arc<AtomicBool>,
}

/// A program that is being started, on a thread where a driver may take its time. Dropped, it leaves the
/// program to that thread, which ends it.
pub struct Opening {
    encoder: &'static EncoderInfo,
    task: JoinHandle<Result<Program, Error>>,
}

impl Opening {
    /// See [`Program::start`].
    pub fn begin(
        config: &config::Stream,
        encoder: Pick,
        target: Bitrate,
        fanout: &Fanout,
        slate: String,
    ) -> Opening {
        let (config, fanout) = (config.clone(), fanout.clone());
        let task = spawn_blocking(move || Program::start(&config, encoder, target, fanout, slate));
        Opening { encoder: encoder.info, task }
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.encoder
    }

    /// Waits until it is open, or why it is not; cancel safe. Not to be called again after that.
    pub async fn opened(&mut self) -> Result<Program, Error> {
        let panicked = |_: JoinError| Error::Start {
            graph: "program",
            reason: format!("{}: starting it panicked", self.encoder.element),
        };
        (&mut self.task).await.unwrap_or_else(|error| Err(panicked(error)))
    }
}

/// News of a program.
#[derive(Debug)]
pub enum News {
    Media(MediaEvent),
    /// Of a capture.
    Capture {
        origin: Origin,
        event: MediaEvent,
    },
    /// The encoder that was wanted is on air.
    Replaced {
        element: &'static str,
    },
    /// It could not be started; the one before is still there, for what it is worth.
    NotReplaced {
        element: &'static str,
        reason: String,
    },
}

/// An encoder and what it is given.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Setup {
    info: &'static EncoderInfo,
    preset: Option<&'static str>,
    reduction: Reduction,
    /// Rises when a fresh one is wanted, though nothing else is.
    renewals: u32,
}

/// An encoder that is being started, on a thread where its driver may take its time.
struct Change {
    to: Setup,
    done: JoinHandle<Result<(), Error>>,
}

impl Program {
    /// Builds the encoder, tells it its target and puts the slate on air; its units go to the fan-out.
    ///
    /// # Errors
    /// When the machine lacks an element, or a pipeline cannot be started.
    pub fn start(
        config: &config::Stream,
        encoder: Pick,
        target: Bitrate,
        fanout: Fanout,
        slate: String,
    ) -> Result<Self, Error> {
        let (sender, events) = media::events();
        let (on_air, key_frames) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (is_on_air, keys) = (on_air.clone(), key_frames.clone());
        let encode = Encode::start_with(encoder.info, encoder.preset, config, sender, move |unit| {
            if unit.track == Track::Video && unit.key {
                keys.fetch_add(1, Ordering::Relaxed);
            }
            if is_on_air.load(Ordering::Relaxed) {
                fanout.deliver(&unit);
            }
        })?;
        encode.show(Picture::Slate { reason: slate });
        let mode = Mode {
            width: config.video.width,
            height: config.video.height,
            framerate: config.video.framerate,
        };
        let started = Instant::now();
        let Pick { info, preset, sustained } = encoder;
        let whole = Setup { info, preset, reduction: encode.reduction(), renewals: 0 };
        let mut program = Program {
            encode: Arc::new(encode),
            events,
            captures: Captures::default(),
            mode,
            in_use: whole,
            wanted: whole,
            change: None,
            is_another_left: false,
            actuator: actuator(info),
            ladder: LadderMachine::new(config.rate.ladder, mode),
            sustained: Rung::FULL,
            thin: 0.0,
            told: Bitrate::ZERO,
            started,
            encoded: Meter::default(),
            frames: Meter::default(),
            key_frames,
            has_failed: false,
            on_air,
        };
        program.captures.open_sound(config, program.encode.inputs());
        program.follow(started, target, 0.0);
        program.sustain(sustained);
        Ok(program)
    }

    /// Has this encoder take the place of the one in use, which stays on air until it is ready: then
    /// [`News::Replaced`] comes. Where nothing comes out of the one in use and there is another one yet, this
    /// one is not waited for as long as it may take.
    pub fn replace(&mut self, encoder: Pick, is_another_left: bool) {
        (self.wanted.info, self.wanted.preset) = (encoder.info, encoder.preset);
        self.is_another_left = is_another_left;
        self.sustain(encoder.sustained);
    }

    /// Has a fresh one of its kind take the place of the encoder in use, which gives nothing more; how that went is
    /// told as by [`Program::replace`].
    pub fn renew(&mut self) {
        self.has_failed = true;
        self.wanted.renewals = self.in_use.renewals + 1;
        self.bring_in_line();
    }

    /// Gives the encoder no more than so much of the mode; what the rate allows may be less.
    pub fn sustain(&mut self, rung: Rung) {
        self.sustained = rung;
        self.bring_in_line();
    }

    /// Has the encoder be what is wanted, unless it is being changed: then once that is done.
    fn bring_in_line(&mut self) {
        let Mode { width, height, .. } = self.mode();
        let one_of = self.ladder.rung().and(self.sustained).framerate_divisor;
        self.wanted.reduction = Reduction { one_of, width, height };
        if self.change.is_some() || self.wanted == self.in_use {
            return;
        }
        let (to, target, encode) = (self.wanted, self.told, self.encode.clone());
        let Setup { info, preset, .. } = to;
        if info == self.in_use.info && info.resizes && to.renewals == self.in_use.renewals {
            match encode.reduce(to.reduction) {
                Ok(()) => self.in_use = to,
                Err(error) => log::error!(element = info.element, error:%; "picture not reduced"),
            }
            return;
        }
        let is_dead = self.has_failed || self.frames.per_second() == 0.0;
        let limit = if is_dead && self.is_another_left { media::HURRIED_START } else { media::START_LIMIT };
        let done = spawn_blocking(move || encode.replace_within(limit, info, preset, to.reduction, target));
        self.change = Some(Change { to, done });
    }

    fn changed(&mut self, to: Setup, result: Result<Result<(), Error>, JoinError>) -> News {
        let element = to.info.element;
        let reason = match result {
            Ok(Ok(())) => {
                self.in_use = to;
                self.has_failed = false;
                // Nothing that was learnt of the one before holds for this one.
                self.actuator = actuator(to.info);
                self.encoded = Meter::default();
                self.bring_in_line();
                return News::Replaced { element };
            }
            Ok(Err(error)) => with_causes(&error),
            Err(_) => "starting it panicked".to_owned(),
        };
        if self.wanted == to {
            self.wanted = self.in_use; // whoever hears of this says what is to be tried next
        }
        self.bring_in_line();
        News::NotReplaced { element, reason }
    }

    /// Opens one of the stream's sources, on stand-by, anew where it is open already. How it went comes from
    /// [`Program::next`].
    pub fn open_source(&mut self, number: usize, config: &config::Stream, chosen: Chosen) {
        self.captures.open_source(number, config, chosen, self.encode.inputs());
    }

    /// Has a camera's controls be set, where it is open; one that is being opened is given them then.
    pub fn adjust_camera(&self, number: usize, controls: &BTreeMap<String, i32>) {
        self.captures.adjust(number, controls);
    }

    /// Closes one of them; the encoder goes on. The task ends when the device is closed.
    pub fn close_source(&mut self, number: usize) -> JoinHandle<()> {
        self.captures.close(Origin::Source(number))
    }

    /// When the newest picture of this source arrived, on air or not.
    pub fn newest_of(&self, number: usize) -> Option<Instant> {
        self.captures.newest(number)
    }

    /// The next thing that encoder or capture has to say; cancel safe.
    pub async fn next(&mut self) -> News {
        let change = async {
            match &mut self.change {
                Some(change) => (&mut change.done).await,
                None => pending().await,
            }
        };
        let result = tokio::select! {
            Some(event) = self.events.recv() => return News::Media(event),
            (origin, event) = self.captures.next() => return News::Capture { origin, event },
            result = change => result,
        };
        let Change { to, .. } = self.change.take().expect("it has ended just now, and nobody else takes it");
        self.changed(to, result)
    }

    /// The encoder said that it gives nothing more. Of one that is no longer in use that is no news.
    pub fn encoder_failed(&mut self, element: &str) {
        self.has_failed |= self.in_use.info.element == element;
    }

    /// Measures. To be called at each tick.
    pub fn observe(&mut self, now: Instant) -> Counters {
        let counters = self.encode.counters();
        self.encoded.observe(now, counters.bytes_out.get());
        self.frames.observe(now, counters.frames_out);
        counters
    }

    /// What is seen of the encoder in use; `None` while it changes.
    pub fn observation(&self, counters: &Counters) -> Option<Observation> {
        let progress = self.encode.encoder_progress();
        (progress.element == self.in_use.info.element).then(|| Observation {
            element: progress.element,
            pictures_in: progress.pictures_offered,
            dropped: counters.frames_dropped,
            withheld: counters.frames_thinned,
            taken: progress.pictures_in,
            units_out: progress.units_out,
            key_frames: self.key_frames.load(Ordering::Relaxed),
            told: self.told,
            encoded: self.encoded(),
            out_of_reach: self.actuator.ignores_target(),
            reduced: self.thin > 0.0 || self.ladder.rung() != Rung::FULL,
        })
    }

    pub fn counters(&self) -> Counters {
        self.encode.counters()
    }

    /// Whether the encoder in use has given anything.
    pub fn has_given_units(&self) -> bool {
        self.encode.encoder_progress().units_out > 0
    }

    /// Has the encoder give `target`, and leave out a share of the pictures, 0 to 1: as soon and as
    /// exactly as is worth it with this encoder. Tells the mode where that has changed.
    pub fn follow(&mut self, now: Instant, target: Bitrate, thin: f64) -> Option<Mode> {
        let since_start = now.saturating_duration_since(self.started);
        if let Some(rate) = self.actuator.command(since_start, target, Some(self.encoded.bitrate())) {
            self.told = rate;
            self.encode.set_target(rate);
        }
        self.thin = thin;
        self.encode.set_thinning(thin);
        self.ladder.observe(since_start, target)?;
        self.bring_in_line();
        Some(self.mode())
    }

    /// What the encoder was told last: the target, corrected for what it makes of it.
    pub fn target(&self) -> Bitrate {
        self.told
    }

    /// What the encoder is given: the configured mode, or less where the rate is too low or the encoder too
    /// slow for that.
    pub fn mode(&self) -> Mode {
        self.mode.at(self.ladder.rung().and(self.sustained))
    }

    /// Puts one of the sources on air, or the slate.
    pub fn show(&self, on_air: &OnAir) {
        match on_air {
            OnAir::Source(number) => {
                self.captures.put_on_air(Some(*number));
                self.encode.show(Picture::Live);
            }
            OnAir::Slate(reason) => {
                self.encode.show(Picture::Slate { reason: reason.clone() });
                self.captures.put_on_air(None);
            }
        }
    }

    /// Takes over what of the sound may change on air.
    pub fn set_sound(&self, audio: &config::Audio) {
        self.encode.set_sound(audio);
    }

    /// See [`Encode::set_slate`].
    ///
    /// # Errors
    /// As there.
    pub fn set_slate(&self, slate: &config::Slate) -> Result<(), Error> {
        self.encode.set_slate(slate)
    }

    /// How loud the captured sound is; `None` where none came for a second.
    pub fn levels(&self) -> Option<Levels> {
        self.encode.levels()
    }

    /// See [`Encode::glimpse`].
    pub fn glimpse(&self) -> Glimpse {
        self.encode.glimpse()
    }

    pub fn force_key_frame(&self) {
        self.encode.force_key_frame();
    }

    /// How far the encoder has come that gives units now; while one is being replaced, that is still the one before.
    pub fn progress(&self) -> EncoderProgress {
        self.encode.encoder_progress()
    }

    /// See [`Encode::want_sample`].
    pub fn want_sample(&self) {
        self.encode.want_sample();
    }

    /// See [`Encode::take_sample`].
    pub fn take_sample(&self, short: bool) -> Option<Vec<Vec<u8>>> {
        self.encode.take_sample(short)
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.in_use.info
    }

    /// How pictures get to the encoder, by the newest of them.
    pub fn memory(&self) -> MemoryInUse {
        self.encode.memory()
    }

    /// Encoded, over the last second.
    pub fn encoded(&self) -> Bitrate {
        self.encoded.bitrate()
    }

    /// Frames per second that left the encoder, over the last second.
    pub fn fps(&self) -> f64 {
        self.frames.per_second()
    }

    /// From now on nothing that it gives is sent: its successor's units must not mix with its own.
    pub fn cut_off(&self) {
        self.on_air.store(false, Ordering::Relaxed);
    }

    /// Ends capture and encoder; what was encoded has gone to the fan-out.
    pub async fn stop(mut self) {
        let closing = self.captures.close_all();
        let encode = self.encode;
        // A thread that replaces an encoder at this moment ends it in its turn.
        for ended in [spawn_blocking(move || drop(encode)).await, closing.await] {
            if let Err(error) = ended {
                log::error!(error:%; "stopping encoder or capture failed");
            }
        }
    }
}

/// For an encoder that has been told nothing yet.
fn actuator(info: &EncoderInfo) -> Actuator {
    Actuator::new(ChangeCost {
        step: info.rate_step,
        interval: info.rate_interval,
        key_frame: info.rate_change_is_key_frame,
    })
}
