//! The running media of a stream: the encoder, and the capture that feeds it.
//!
//! Opening a device can take seconds and closing one can hang in its driver, so both happen on a
//! blocking thread. Each opening has channels of its own: what an abandoned one still reports
//! reaches nobody.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::fanout::Fanout;
use super::selection::Pick;
use crate::capture::Chosen;
use crate::causes::with_causes;
use crate::config;
use crate::media::{
    self, Capture, Counters, Encode, EncoderInfo, Error, Inputs, MediaEvent, Picture, Reduction, Track,
};
use crate::rate::{Actuator, ChangeCost, LadderMachine, Mode, Rung};
use crate::session::encoders::Observation;
use crate::session::meter::Meter;
use crate::units::Bitrate;

/// Encoder and capture. Dropped, both are torn down.
pub struct Program {
    /// Shared with the thread on which an encoder is replaced.
    encode: Arc<Encode>,
    events: mpsc::Receiver<MediaEvent>,
    capture: Option<CaptureSlot>,
    /// As configured.
    mode: Mode,
    in_use: Setup,
    wanted: Setup,
    change: Option<Change>,
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
    /// Whether its units go to the fan-out.
    on_air: Arc<AtomicBool>,
}

/// News of a program.
#[derive(Debug)]
pub enum News {
    Media(MediaEvent),
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
}

/// An encoder that is being started, on a thread where its driver may take its time.
struct Change {
    to: Setup,
    done: JoinHandle<Result<(), Error>>,
}

/// A capture that is being opened, is open, or could not be.
struct CaptureSlot {
    /// What it may push on; revoked before it closes, since closing takes its time.
    lease: Inputs,
    opening: Option<oneshot::Receiver<Result<Capture, Error>>>,
    open: Option<Capture>,
    events: mpsc::Receiver<MediaEvent>,
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
        let whole = Setup { info, preset, reduction: encode.reduction() };
        let mut program = Program {
            encode: Arc::new(encode),
            events,
            capture: None,
            mode,
            in_use: whole,
            wanted: whole,
            change: None,
            actuator: actuator(info),
            ladder: LadderMachine::new(config.rate.ladder, mode),
            sustained: Rung::FULL,
            thin: 0.0,
            told: Bitrate::ZERO,
            started,
            encoded: Meter::default(),
            frames: Meter::default(),
            key_frames,
            on_air,
        };
        program.follow(started, target, 0.0);
        program.sustain(sustained);
        Ok(program)
    }

    /// Has this encoder take the place of the one in use, which stays on air until it is ready: then
    /// [`News::Replaced`] comes.
    pub fn replace(&mut self, encoder: Pick) {
        (self.wanted.info, self.wanted.preset) = (encoder.info, encoder.preset);
        self.sustain(encoder.sustained);
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
        if info == self.in_use.info && info.resizes {
            match encode.reduce(to.reduction) {
                Ok(()) => self.in_use = to,
                Err(error) => log::error!(element = info.element, error:%; "picture not reduced"),
            }
            return;
        }
        let done = spawn_blocking(move || encode.replace(info, preset, to.reduction, target));
        self.change = Some(Change { to, done });
    }

    fn changed(&mut self, to: Setup, result: Result<Result<(), Error>, JoinError>) -> News {
        let element = to.info.element;
        let reason = match result {
            Ok(Ok(())) => {
                self.in_use = to;
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

    /// Opens the source, anew where it is open already. How it went comes from [`Program::next`].
    /// One that is still being opened is waited for: a device or a file server that hangs would
    /// otherwise hold one more thread with each attempt.
    pub fn open_capture(&mut self, config: &config::Stream, chosen: &Chosen) {
        if self.capture.as_ref().is_some_and(|slot| slot.opening.is_some()) {
            return;
        }
        let before = self.take_capture();
        let (sender, events) = media::events();
        let (opened, opening) = oneshot::channel();
        let lease = self.encode.inputs().lease();
        let (config, chosen, inputs) = (config.clone(), chosen.clone(), lease.clone());
        spawn_blocking(move || {
            drop(before); // first: a device opens once
            if let Err(abandoned) = opened.send(Capture::start_with(&config, &chosen, &inputs, sender)) {
                drop(abandoned); // on this thread, where closing a device may take its time
            }
        });
        self.capture = Some(CaptureSlot { lease, opening: Some(opening), open: None, events });
    }

    /// Has the camera's controls be set, where one is open; one that is being opened is given them then.
    pub fn adjust_camera(&self, controls: &BTreeMap<String, i32>) {
        if let Some(capture) = self.capture.as_ref().and_then(|slot| slot.open.as_ref()) {
            capture.adjust(controls);
        }
    }

    /// Closes the source; the encoder goes on with the slate. The task ends when the device is closed.
    pub fn close_capture(&mut self) -> JoinHandle<()> {
        let slot = self.take_capture();
        spawn_blocking(move || drop(slot))
    }

    /// From now on the capture pushes nothing any more.
    fn take_capture(&mut self) -> Option<CaptureSlot> {
        self.capture.take().inspect(|slot| slot.lease.revoke())
    }

    /// The next thing that encoder or capture has to say; cancel safe.
    pub async fn next(&mut self) -> News {
        let capture = async {
            match &mut self.capture {
                Some(slot) => slot.next_event().await,
                None => pending().await,
            }
        };
        let change = async {
            match &mut self.change {
                Some(change) => (&mut change.done).await,
                None => pending().await,
            }
        };
        let result = tokio::select! {
            Some(event) = self.events.recv() => return News::Media(event),
            event = capture => return News::Media(event),
            result = change => result,
        };
        let Change { to, .. } = self.change.take().expect("it has ended just now, and nobody else takes it");
        self.changed(to, result)
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

    pub fn show(&self, picture: Picture) {
        self.encode.show(picture);
    }

    pub fn force_key_frame(&self) {
        self.encode.force_key_frame();
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.in_use.info
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
        let closing = self.close_capture();
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

impl CaptureSlot {
    async fn next_event(&mut self) -> MediaEvent {
        if let Some(opening) = &mut self.opening {
            let opened = opening.await;
            self.opening = None;
            match opened {
                Ok(Ok(capture)) => self.open = Some(capture),
                Ok(Err(error)) => return MediaEvent::CaptureFailed { reason: with_causes(&error) },
                Err(_) => return MediaEvent::CaptureFailed { reason: "opening the source panicked".into() },
            }
        }
        match self.events.recv().await {
            Some(event) => event,
            None => pending().await, // a closed capture has nothing more to say
        }
    }
}
