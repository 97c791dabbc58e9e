//! The running media of a stream: the encoder, and the capture that feeds it.
//!
//! Opening a device can take seconds and closing one can hang in its driver, so both happen on a
//! blocking thread. Each opening has channels of its own: what an abandoned one still reports
//! reaches nobody.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};

use super::fanout::Fanout;
use crate::causes::with_causes;
use crate::config;
use crate::media::{
    self, Capture, Counters, Encode, EncoderInfo, Error, Inputs, MediaEvent, Picture, Reduction,
};
use crate::rate::{Actuator, ChangeCost, LadderMachine, Mode};
use crate::session::meter::Meter;
use crate::session::progress::Progress;
use crate::units::Bitrate;

/// Encoder and capture. Dropped, both are torn down.
pub struct Program {
    encode: Encode,
    events: mpsc::Receiver<MediaEvent>,
    capture: Option<CaptureSlot>,
    /// As configured.
    mode: Mode,
    actuator: Actuator,
    ladder: LadderMachine,
    /// What the encoder was told last.
    told: Bitrate,
    started: Instant,
    encoded: Meter,
    frames: Meter,
    progress: Progress,
    /// Whether its units go to the fan-out.
    on_air: Arc<AtomicBool>,
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
        target: Bitrate,
        fanout: Fanout,
        slate: String,
    ) -> Result<Self, Error> {
        let (sender, events) = media::events();
        let on_air = Arc::new(AtomicBool::new(true));
        let is_on_air = on_air.clone();
        let encode = Encode::start(config, sender, move |unit| {
            if is_on_air.load(Ordering::Relaxed) {
                fanout.deliver(&unit);
            }
        })?;
        encode.show(Picture::Slate { reason: slate });
        let info = encode.encoder();
        let actuator = Actuator::new(ChangeCost {
            step: info.rate_step,
            interval: info.rate_interval,
            key_frame: info.rate_change_is_key_frame,
        });
        let mode = Mode {
            width: config.video.width,
            height: config.video.height,
            framerate: config.video.framerate,
        };
        let started = Instant::now();
        let mut program = Program {
            encode,
            events,
            capture: None,
            mode,
            actuator,
            ladder: LadderMachine::new(config.rate.ladder, mode),
            told: Bitrate::ZERO,
            started,
            encoded: Meter::default(),
            frames: Meter::default(),
            progress: Progress::new(started),
            on_air,
        };
        program.follow(started, target, 0.0);
        Ok(program)
    }

    /// Opens the source, anew where it is open already. How it went comes from [`Program::next_event`].
    /// One that is still being opened is waited for: a device or a file server that hangs would
    /// otherwise hold one more thread with each attempt.
    pub fn open_capture(&mut self, config: &config::Stream) {
        if self.capture.as_ref().is_some_and(|slot| slot.opening.is_some()) {
            return;
        }
        let before = self.take_capture();
        let (sender, events) = media::events();
        let (opened, opening) = oneshot::channel();
        let lease = self.encode.inputs().lease();
        let (config, inputs) = (config.clone(), lease.clone());
        spawn_blocking(move || {
            drop(before); // first: a device opens once
            if let Err(abandoned) = opened.send(Capture::start(&config, &inputs, sender)) {
                drop(abandoned); // on this thread, where closing a device may take its time
            }
        });
        self.capture = Some(CaptureSlot { lease, opening: Some(opening), open: None, events });
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
    pub async fn next_event(&mut self) -> MediaEvent {
        let capture = async {
            match &mut self.capture {
                Some(slot) => slot.next_event().await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(event) = self.events.recv() => event,
            event = capture => event,
        }
    }

    /// Measures. To be called at each tick.
    pub fn observe(&mut self, now: Instant) -> Counters {
        let counters = self.encode.counters();
        self.encoded.observe(now, counters.bytes_out.get());
        self.frames.observe(now, counters.frames_out);
        self.progress.observe(now, counters.frames_out, counters.frames_thinned);
        counters
    }

    /// How long nothing has left the encoder, though live picture or slate went in.
    pub fn silence(&self, now: Instant) -> Duration {
        self.progress.silence(now)
    }

    pub fn counters(&self) -> Counters {
        self.encode.counters()
    }

    pub fn has_given_units(&self) -> bool {
        self.progress.has_begun()
    }

    /// Has the encoder give `target`, and leave out a share of the pictures, 0 to 1: as soon and as
    /// exactly as is worth it with this encoder. Tells the mode where that has changed.
    pub fn follow(&mut self, now: Instant, target: Bitrate, thin: f64) -> Option<Mode> {
        let since_start = now.saturating_duration_since(self.started);
        if let Some(rate) = self.actuator.command(since_start, target, Some(self.encoded.bitrate())) {
            self.told = rate;
            self.encode.set_target(rate);
        }
        self.encode.set_thinning(thin);
        let rung = self.ladder.observe(since_start, target)?;
        let mode = self.mode.at(rung);
        let (width, height) = (mode.width, mode.height);
        self.reduce(Reduction { one_of: rung.framerate_divisor, width, height });
        Some(mode)
    }

    fn reduce(&mut self, reduction: Reduction) {
        let reduced = if self.encode.encoder().resizes {
            self.encode.reduce(reduction)
        } else {
            block_in_place(|| self.encode.reduce(reduction)) // an encoder is opened
        };
        if let Err(error) = reduced {
            let (element, reason) = (self.encode.encoder().element, with_causes(&error));
            log::warn!(element, reduction:?, reason; "the encoder cannot change its mode");
        }
    }

    /// What the encoder was told last: the target, corrected for what it makes of it.
    pub fn target(&self) -> Bitrate {
        self.told
    }

    /// What the encoder is given: the configured mode, or less where the rate is too low for that.
    pub fn mode(&self) -> Mode {
        self.mode.at(self.ladder.rung())
    }

    pub fn show(&self, picture: Picture) {
        self.encode.show(picture);
    }

    pub fn force_key_frame(&self) {
        self.encode.force_key_frame();
    }

    pub fn encoder(&self) -> &'static EncoderInfo {
        self.encode.encoder()
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
        for ended in [spawn_blocking(move || encode.stop()).await, closing.await] {
            if let Err(error) = ended {
                log::error!(error:%; "stopping encoder or capture failed");
            }
        }
    }
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
