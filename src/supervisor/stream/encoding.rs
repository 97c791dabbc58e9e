//! The encoder of a stream: which one, whether it works, and what is done where it does not.

use std::time::Instant;

use super::StreamTask;
use crate::causes::with_causes;
use crate::media::{self, Counters};
use crate::session::encoders::Action;
use crate::session::sampling::Finding;
use crate::supervisor::events::Event;
use crate::supervisor::program::{Opening, Program};
use crate::supervisor::sampling::Judgement;
use crate::supervisor::selection::{Begin, Pick};

impl StreamTask<'_> {
    /// More is known of encoders.
    pub(super) fn found(&mut self) {
        if self.is_seeking {
            self.is_seeking = false;
            self.life.encoder_down(); // and so it is wanted again
        }
    }

    /// A sample of what the encoder gives was decoded, or not.
    pub(super) fn judge(&mut self, Judgement { element, finding, wants_key_frame }: Judgement) {
        let doubted =
            |element: Option<&'static str>, reason: String| Event::SampleDoubted { element, reason };
        match finding {
            Finding::Nothing => {}
            Finding::Suspect(reason) => {
                self.events.say(doubted(Some(element), format!("{reason}; another one is taken")));
            }
            Finding::Broken(reason) => self.encoder_broken(Instant::now(), element, &reason),
            Finding::NotLookedAt(reason) => {
                self.events.say(doubted(None, format!("{reason}, which says nothing of the encoder")));
            }
            Finding::Off(reason) => {
                self.events.say(doubted(None, format!("{reason}; no decoder can be trusted with any")));
            }
        }
        if wants_key_frame {
            if let Some(program) = &self.program {
                program.want_sample();
            }
            self.force_key_frame();
        }
    }

    pub(super) fn encoder_broken(&mut self, now: Instant, element: &'static str, reason: &str) {
        self.events.say(Event::EncoderBroken { element, reason: reason.to_owned() });
        let action = self.selection.broken(now, element, reason);
        self.act(now, action);
    }

    pub(super) fn choose_encoder(&mut self, now: Instant) {
        self.is_seeking = false;
        match self.selection.start(now, &self.memory.config.video) {
            Begin::With(first) => self.open_program(now, first),
            Begin::Seeking(reason) => {
                self.events.say(Event::EncoderSought { reason: reason.clone() });
                self.is_seeking = true;
                self.life.encoder_sought(now, reason);
            }
            Begin::Waiting(reason) => {
                self.events.say(Event::EncoderMissing { reason: reason.clone() });
                self.is_seeking = true;
                self.life.encoder_awaited(reason);
            }
            Begin::Nothing(reason) => self.program_failed(now, reason, true),
        }
    }

    pub(super) fn open_program(&mut self, now: Instant, encoder: Pick) {
        let config = &self.memory.config;
        self.life.encoder_starting(now);
        self.sources.start(now, config.video.framerate.frame_duration());
        let slate = self.sources.slate().unwrap_or_default();
        self.opening = Some(Opening::begin(config, encoder, self.rate.target, &self.fanout, slate));
    }

    pub(super) fn opened(&mut self, opened: Result<Program, media::Error>) {
        let now = Instant::now();
        let Some(opening) = self.opening.take() else { return };
        let element = opening.encoder().element;
        let error = match opened {
            Ok(program) => {
                let (reason, target_bps) = (self.selection.reason(element), program.target().as_bps());
                self.events.say(Event::EncoderStarted { element, reason, target_bps });
                self.sources.start(now, self.memory.config.video.framerate.frame_duration());
                self.silences.clear();
                self.glimpse.send_replace(Some(program.glimpse()));
                self.program = Some(program);
                self.set_sound_and_slate();
                return;
            }
            Err(error) => error,
        };
        let reason = with_causes(&error);
        self.events.say(Event::EncoderNotStarted { element, reason: reason.clone() });
        self.selection.failed(now, element, &reason);
        match self.selection.in_use() {
            Some(next) => self.open_program(now, next), // each that fails is demoted: this ends
            None => self.program_failed(now, reason, error.is_hopeless()),
        }
    }

    pub(super) fn watch_encoder(&mut self, now: Instant, counters: &Counters) {
        let Some(seen) = self.program.as_ref().and_then(|program| program.observation(counters)) else {
            return;
        };
        self.selection.strained(self.machine.borrow().throttled.reason().map(str::to_owned));
        let action = self.selection.observe(now, &seen);
        self.act(now, action);
    }

    /// Has what was decided about encoders be done.
    pub(super) fn act(&mut self, now: Instant, action: Action) {
        if let Action::Probe { element } = action {
            self.events.say(Event::EncoderProbed { element });
            return self.selection.probe(element, &self.memory.config.video);
        }
        let Some(program) = &mut self.program else { return };
        match action {
            Action::Keep | Action::Probe { .. } => {}
            Action::Replace { element, reason } => {
                let instead_of = program.encoder().element;
                self.events.say(Event::EncoderReplaced { element, instead_of, reason });
                if let Some(next) = self.selection.in_use() {
                    program.replace(next, self.selection.has_another());
                }
            }
            Action::Lower { rung, reason } => {
                self.events.say(Event::PictureLowered { reason });
                program.sustain(rung);
            }
            Action::Raise { rung, reason } => {
                self.events.say(Event::PictureRaised { reason });
                program.sustain(rung);
            }
            Action::ForceKeyFrame => self.force_key_frame(),
            Action::GiveUp { reason } => self.program_failed(now, reason, false),
        }
    }

    pub(super) fn program_failed(&mut self, now: Instant, reason: String, hopeless: bool) {
        self.events.say(Event::EncodingFailed { reason: reason.clone(), hopeless });
        self.abandon_program();
        self.life.encoder_failed(now, reason, hopeless, rand::random());
    }

    /// Lets go of a program at once, and of nothing else: what it still gives is not sent.
    pub(super) fn abandon_program(&mut self) {
        self.capture_closed();
        self.life.encoder_down();
        self.departures.add_opening(self.opening.take());
        self.glimpse.send_replace(None);
        if let Some(program) = self.program.take() {
            program.cut_off();
            self.departures.add(Some(program), Vec::new());
        }
    }
}
