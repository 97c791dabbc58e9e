//! What a stream's task does about its sources: it hears what captures say, and carries out what the machine wants.

use std::time::Instant;

use super::StreamTask;
use crate::config::{self, StreamName};
use crate::media::{DamagedFrames, MediaEvent};
use crate::session::failover::{Failover, OnAir, Order};
use crate::supervisor::captures::Origin;
use crate::supervisor::status::{OneSource, SourceStatus};

impl StreamTask<'_> {
    /// What a capture says of itself.
    pub(super) fn heed_capture(&mut self, origin: Origin, event: MediaEvent) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match event {
            MediaEvent::CaptureOpened { camera, mode, reason } => {
                if let Origin::Source(number) = origin {
                    self.cameras.opened(number, camera, mode, reason);
                }
            }
            MediaEvent::ControlsSet { refused } => {
                if let Origin::Source(number) = origin {
                    self.cameras.controls_set(stream, number, refused);
                }
            }
            MediaEvent::CaptureWaits { reason } => {
                log::info!(stream, source:? = origin, reason; "capture waits");
                if let Origin::Source(number) = origin {
                    self.sources.waits(now, number, reason);
                }
            }
            MediaEvent::CaptureReady => {
                if let Origin::Source(number) = origin {
                    self.sources.hurry(now, number);
                }
            }
            MediaEvent::CaptureLive { format } => {
                log::info!(stream, source:? = origin, format; "capture is live");
                if let Origin::Source(number) = origin {
                    self.formats.insert(number, format);
                }
            }
            MediaEvent::CaptureEnded => self.capture_failed(now, origin, "the source has ended".into()),
            MediaEvent::CaptureFailed { reason } => self.capture_failed(now, origin, reason),
            MediaEvent::SoundMissing { reason } | MediaEvent::SoundFailed { reason } => {
                log::warn!(stream, source:? = origin, reason; "silence is sent");
                self.silences.insert(origin, reason);
                self.sound_format = None;
            }
            MediaEvent::SoundLive { format } => {
                log::info!(stream, format; "sound is live");
                self.silences.remove(&origin);
                self.sound_format = Some(format);
            }
            MediaEvent::EncoderFailed { .. }
            | MediaEvent::MemoryRefused { .. }
            | MediaEvent::EncoderBroken { .. }
            | MediaEvent::ProgramFailed { .. } => {
                log::error!(stream, source:? = origin, event:?; "a capture cannot know of this");
            }
        }
    }

    /// Why silence is sent in place of sound: that of its own device, or else of the file on air.
    pub(super) fn silence(&self) -> Option<&str> {
        let picture = Origin::Source(self.sources.on_air().unwrap_or(0));
        self.silences.get(&Origin::Sound).or_else(|| self.silences.get(&picture)).map(String::as_str)
    }

    /// Has the best source that works be on air, and captures be opened and closed as that needs.
    pub(super) fn watch_sources(&mut self, now: Instant) {
        let Some(program) = &mut self.program else { return };
        if let Some(on_air) = self.sources.observe(now, |number| program.newest_of(number)) {
            say_on_air(&self.name, &self.memory.config, &on_air);
            program.show(&on_air);
        }
        while let Some(order) = self.sources.next_order(now) {
            match order {
                Order::Open(number) => {
                    self.silences.remove(&Origin::Source(number)); // it says anew what it has
                    let chosen = self.cameras.chosen(number);
                    program.open_source(number, &self.memory.config, chosen);
                }
                Order::Close(number) => {
                    self.formats.remove(&number);
                    self.cameras.closed(number);
                    self.silences.remove(&Origin::Source(number));
                    drop(program.close_source(number)); // closes by itself
                }
            }
        }
    }

    fn capture_failed(&mut self, now: Instant, origin: Origin, reason: String) {
        let stream = self.name.as_str();
        log::warn!(stream, source:? = origin, reason; "capture failed");
        let Origin::Source(number) = origin else {
            self.silences.insert(origin, reason); // not its device, which is tried again, but what keeps it going
            return;
        };
        self.formats.remove(&number);
        self.cameras.closed(number);
        self.sources.failed(now, number, reason, rand::random());
        if let Some(program) = &mut self.program {
            drop(program.close_source(number)); // closes by itself, until the next attempt
        }
    }

    /// Others are configured: what is open is closed, and the slate on air until the best of them gives pictures.
    pub(super) fn choose_sources_anew(&mut self) {
        let (now, video) = (Instant::now(), &self.memory.config.video);
        let before = std::mem::replace(&mut self.sources, Failover::new(now, video.sources().count()));
        self.formats.clear();
        self.cameras.all_closed();
        self.cameras.forget();
        self.silences.retain(|origin, _| *origin == Origin::Sound);
        if let Some(program) = &mut self.program {
            (0..before.states().count()).for_each(|number| drop(program.close_source(number)));
            self.sources.start(now, video.framerate.frame_duration());
            program.show(&OnAir::Slate(self.sources.slate().unwrap_or_default()));
        }
    }
}

/// What the machine alone can tell.
pub(super) fn status(config: &config::Stream, sources: &Failover) -> SourceStatus {
    let on_air = sources.on_air();
    let all = config.video.sources().zip(sources.states()).enumerate();
    let all = all.map(|(number, (source, (state, reason)))| OneSource {
        device: source.to_string(),
        state,
        reason: reason.map(str::to_string),
        on_air: on_air == Some(number),
    });
    let device = config.video.sources().nth(on_air.unwrap_or(0)).unwrap_or(&config.video.source);
    SourceStatus {
        state: sources.state(),
        device: device.to_string(),
        camera: None,
        format: None,
        silence: None,
        reason: sources.slate().or_else(|| sources.fallback()),
        losses: sources.losses(),
        damaged: DamagedFrames::default(),
        all: all.collect(),
    }
}

fn say_on_air(stream: &StreamName, config: &config::Stream, on_air: &OnAir) {
    let stream = stream.as_str();
    match on_air {
        OnAir::Source(number) => {
            let device = config.video.sources().nth(*number).map(ToString::to_string);
            log::info!(stream, source = number, device; "source is on air");
        }
        OnAir::Slate(reason) => log::warn!(stream, reason; "slate is on air"),
    }
}
