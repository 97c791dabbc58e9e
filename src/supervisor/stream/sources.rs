//! What a stream's task does about its sources: it hears what captures say, and carries out what the machine wants.

use std::time::Instant;

use super::StreamTask;
use crate::config;
use crate::media::{DamagedFrames, MediaEvent};
use crate::session::failover::{Failover, OnAir, Order};
use crate::supervisor::captures::Origin;
use crate::supervisor::events::Event;
use crate::supervisor::refrain::Refrain;
use crate::supervisor::status::{OneSource, SourceStatus};

/// What the log is told of sources, again and again while one stays away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Camera(Origin),
    Controls(Origin),
    Waiting(Origin),
    Failure(Origin),
    Silence(Origin),
    Slate,
}

impl StreamTask<'_> {
    /// What a capture says of itself.
    pub(super) fn heed_capture(&mut self, origin: Origin, event: MediaEvent) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match event {
            MediaEvent::CaptureOpened { camera, mode, reason } => {
                let text = format!("{camera}, {mode}");
                if self.refrain.is_news(now, Topic::Camera(origin), &text) {
                    log::info!(stream, source:? = origin, camera, mode, reason; "camera opened");
                }
                if let Origin::Source(number) = origin {
                    self.cameras.opened(number, camera, mode, reason);
                }
            }
            MediaEvent::ControlsSet { refused } => {
                if !refused.is_empty()
                    && self.refrain.is_news(now, Topic::Controls(origin), &refused.join(", "))
                {
                    log::warn!(stream, source:? = origin, refused:?; "the camera refuses some of its controls");
                }
                if let Origin::Source(number) = origin {
                    self.cameras.controls_set(number, refused);
                }
            }
            MediaEvent::CaptureWaits { reason } => {
                if self.refrain.is_news(now, Topic::Waiting(origin), &reason) {
                    self.events.say(Event::CaptureWaits { source: origin.source(), reason: reason.clone() });
                }
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
                self.events.say(Event::CaptureLive { source: origin.source(), format: format.clone() });
                self.refrain.forget(|topic| topic.is_absence_of(origin));
                if let Origin::Source(number) = origin {
                    self.formats.insert(number, format);
                    self.cameras.live(number);
                }
            }
            MediaEvent::CaptureEnded => self.capture_failed(now, origin, "the source has ended".into()),
            MediaEvent::CaptureFailed { reason } => self.capture_failed(now, origin, reason),
            MediaEvent::SoundMissing { reason } | MediaEvent::SoundFailed { reason } => {
                if self.refrain.is_news(now, Topic::Silence(origin), &reason) {
                    self.events.say(Event::SoundMissing { source: origin.source(), reason: reason.clone() });
                }
                self.silences.insert(origin, reason);
                self.sound_format = None;
            }
            MediaEvent::SoundLive { format } => {
                self.events.say(Event::SoundLive { format: format.clone() });
                self.refrain.forget(|topic| *topic == Topic::Silence(origin));
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
            if let Some(event) = on_air_event(now, &self.memory.config, &on_air, &mut self.refrain) {
                self.events.say(event);
            }
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
        if self.refrain.is_news(now, Topic::Failure(origin), &reason) {
            self.events.say(Event::CaptureFailed { source: origin.source(), reason: reason.clone() });
        }
        let Origin::Source(number) = origin else {
            self.silences.insert(origin, reason); // not its device, which is tried again, but what keeps it going
            return;
        };
        self.formats.remove(&number);
        self.cameras.failed(number);
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
        self.refrain.forget(|_| true);
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

impl Topic {
    /// Whether it is about this capture not being live; one that is has put an end to it.
    fn is_absence_of(self, origin: Origin) -> bool {
        match self {
            Topic::Waiting(of) | Topic::Failure(of) => of == origin,
            Topic::Camera(_) | Topic::Controls(_) | Topic::Silence(_) | Topic::Slate => false,
        }
    }
}

/// What is worth telling of it.
fn on_air_event(
    now: Instant,
    config: &config::Stream,
    on_air: &OnAir,
    refrain: &mut Refrain<Topic>,
) -> Option<Event> {
    match on_air {
        OnAir::Source(number) => {
            refrain.forget(|topic| *topic == Topic::Slate);
            let device = config.video.sources().nth(*number).map(ToString::to_string);
            Some(Event::SourceOnAir { source: *number, device, fallback: *number > 0 })
        }
        OnAir::Slate(reason) => {
            let is_news = refrain.is_news(now, Topic::Slate, reason);
            is_news.then(|| Event::SlateOnAir { reason: reason.clone() })
        }
    }
}
