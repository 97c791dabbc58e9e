//! The task of one stream: it owns capture, encoder and outputs, and drives the pure machines.
//!
//! Everything that can happen to a stream arrives in one `select!`: commands, media events, cameras plugged in and
//! out, wishes for a key frame, departures, and a tick every 50 ms. After each of them `step` brings the world in
//! line with what the machines want, and the status is published. Nothing in the loop waits for the
//! network or a device: outputs are tasks of their own, capture is opened and closed on a blocking
//! thread, and what is taken down leaves through [`Departures`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};

use super::camera::CameraState;
use super::departures::Departures;
use super::fanout::Fanout;
use super::output::{OutputHandle, StreamContext};
use super::program::{News, Program};
use super::recorder::Recorders;
use super::selection::{Begin, Selection};
use super::status::{EncoderStatus, RateStatus, SourceStatus, Status};
use crate::capture::changes::Changes;
use crate::causes::with_causes;
use crate::config::diff::Effect;
use crate::config::{self, OutputName, StreamName, VideoSource};
use crate::media::{Counters, MediaEvent, Picture, Tracks};
use crate::rate::{self, Decision, Mode};
use crate::session::encoders::Action;
use crate::session::life::{Life, OutputView, Parts};
use crate::session::source::{Show, SourceMachine};
use crate::units::Bitrate;

/// What a stream can be told.
#[derive(Debug)]
pub enum Command {
    Start,
    Stop,
    /// Everything anew: capture, encoder, connections.
    Restart,
    KeyFrame,
    /// Another configuration, and what of the running stream it touches.
    Reconfigure {
        config: Box<config::Stream>,
        effects: BTreeSet<Effect>,
    },
    /// Drain and end.
    Shutdown,
}

/// What must outlive a panic of the stream's task.
#[derive(Debug)]
pub struct Memory {
    pub config: config::Stream,
    /// Whether it is to be on air: as configured, or as somebody has said since.
    pub wanted: bool,
}

/// One stream, until it is shut down.
pub struct StreamTask<'a> {
    name: StreamName,
    memory: &'a mut Memory,
    life: Life,
    source: SourceMachine,
    selection: Selection,
    /// Nothing can be encoded before an encoder is found.
    is_seeking: bool,
    program: Option<Program>,
    outputs: BTreeMap<OutputName, OutputHandle>,
    departures: Departures,
    fanout: Fanout,
    key_frame_wanted: Arc<Notify>,
    key_frame_forced: Option<Instant>,
    /// Wanted, and put off.
    key_frame_is_due: bool,
    rate_settings: watch::Sender<rate::Settings>,
    rate_decided: Arc<Notify>,
    rate: RateStatus,
    recorders: Recorders,
    camera: CameraState,
    /// What the source gives, as it said itself.
    format: Option<String>,
    /// Why silence is sent in place of sound.
    silence: Option<String>,
    status: watch::Sender<Status>,
}

impl<'a> StreamTask<'a> {
    pub fn new(
        name: StreamName,
        memory: &'a mut Memory,
        recorders: Recorders,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        let (settings, rate) = (rate_settings(&memory.config), resting(&memory.config));
        StreamTask {
            name,
            life: Life::new(now, memory.wanted),
            memory,
            source: SourceMachine::new(now),
            selection: Selection::default(),
            is_seeking: false,
            program: None,
            outputs: BTreeMap::new(),
            departures: Departures::default(),
            fanout: Fanout::default(),
            key_frame_wanted: Arc::new(Notify::new()),
            key_frame_forced: None,
            key_frame_is_due: false,
            rate_settings: watch::Sender::new(settings),
            rate_decided: Arc::new(Notify::new()),
            rate,
            recorders,
            camera: CameraState::default(),
            format: None,
            silence: None,
            status,
        }
    }

    /// Runs until told to shut down, or until nobody is left who could tell it.
    pub async fn run(mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (key_frame_wanted, rate_decided) = (self.key_frame_wanted.clone(), self.rate_decided.clone());
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::Shutdown) => break,
                    Some(command) => self.obey(command),
                },
                news = next_news(&mut self.program) => self.hear(news),
                changes = self.camera.changes(&self.memory.config.video.source) => self.heed_changes(&changes),
                () = self.departures.next() => {}
                () = self.selection.next() => self.found(),
                () = key_frame_wanted.notified() => {
                    self.force_key_frame();
                    continue;
                }
                () = rate_decided.notified() => {
                    self.follow_link();
                    continue; // fifty times a second: there is nothing else to bring in line
                }
                _ = tick.tick() => {}
            }
            self.step();
        }
        commands.close(); // nothing is promised any more
        self.stop("shutting down");
        while !self.departures.is_empty() {
            tokio::select! {
                () = self.departures.next() => {}
                _ = tick.tick() => {}
            }
            self.step();
        }
    }

    fn obey(&mut self, command: Command) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match command {
            Command::Start => {
                log::info!(stream; "start requested");
                self.start(now);
            }
            Command::Stop => {
                log::info!(stream; "stop requested");
                self.stop("stopped by request");
            }
            Command::Restart => {
                log::info!(stream; "restart requested");
                self.take_down();
                self.start(now);
            }
            Command::KeyFrame => self.force_key_frame(),
            Command::Reconfigure { config, effects } => self.reconfigure(*config, &effects),
            Command::Shutdown => {} // `run` ends its loop before it would come here
        }
    }

    fn start(&mut self, now: Instant) {
        self.memory.wanted = true;
        if self.program.is_none() {
            self.selection.forget(); // they may have mended it
        }
        self.life.start(now);
    }

    fn stop(&mut self, reason: &str) {
        self.memory.wanted = false;
        self.life.stop(reason);
        self.take_down();
    }

    fn reconfigure(&mut self, config: config::Stream, effects: &BTreeSet<Effect>) {
        let before = std::mem::replace(&mut self.memory.config, config);
        for effect in effects {
            match effect {
                Effect::RateBounds => {
                    self.rate_settings.send_replace(rate_settings(&self.memory.config));
                    self.follow_link();
                }
                Effect::Output(name) => self.close_output(name), // `step` opens it again if it is still wanted
                Effect::Lead => self.follow_link(),
                Effect::Controls => {
                    if let (Some(program), VideoSource::V4l2(camera)) =
                        (&self.program, &self.memory.config.video.source)
                    {
                        program.adjust_camera(&camera.controls);
                    }
                }
                Effect::Slate | Effect::RestartStream => {
                    self.rate_settings.send_replace(rate_settings(&self.memory.config));
                    self.abandon_program();
                    self.selection.forget();
                    self.camera.chosen.forget();
                }
                Effect::Enabled if self.memory.config.enabled => self.start(Instant::now()),
                Effect::Enabled => self.stop("not enabled"),
            }
        }
        let is_configured = |name: &OutputName| self.memory.config.outputs.iter().any(|it| it.name == *name);
        self.recorders.keep(is_configured);
        // Muxes are made for their tracks, send buffers and queues for their peak.
        let config = &self.memory.config;
        if Tracks::of(config) != Tracks::of(&before) || peak(config) > peak(&before) {
            let names: Vec<_> = self.outputs.keys().cloned().collect();
            names.iter().for_each(|name| self.close_output(name));
        }
    }

    /// More is known of encoders.
    fn found(&mut self) {
        if self.is_seeking {
            self.is_seeking = false;
            self.life.encoder_down(); // and so it is wanted again
        }
    }

    fn hear(&mut self, news: News) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match news {
            News::Media(event) => self.heed(event),
            News::Replaced { element } => log::info!(stream, element; "encoder is on air"),
            News::NotReplaced { element, reason } => {
                let action = self.selection.failed(now, element, &reason);
                self.act(now, action);
            }
        }
    }

    /// Cameras were plugged in or out. Whether the one that is wanted is among them, opening it tells.
    fn heed_changes(&mut self, changes: &Changes) {
        let (stream, appeared, gone) = (self.name.as_str(), &changes.appeared, &changes.gone);
        log::info!(stream, appeared:?, gone:?; "capture devices have changed");
        if !appeared.is_empty() {
            self.source.hurry(Instant::now());
        }
    }

    fn heed(&mut self, event: MediaEvent) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match event {
            MediaEvent::CaptureOpened { camera, mode, reason } => self.camera.opened(camera, mode, reason),
            MediaEvent::ControlsSet { refused } => self.camera.controls_set(stream, refused),
            MediaEvent::CaptureWaits { reason } => {
                log::info!(stream, reason; "capture waits");
                let show = self.source.waits(now, reason);
                if let Some(program) = &self.program {
                    put_on_air(&self.name, program, show);
                }
            }
            MediaEvent::CaptureReady => self.source.hurry(now),
            MediaEvent::CaptureLive { format } => {
                log::info!(stream, format; "capture is live");
                self.format = Some(format);
            }
            MediaEvent::CaptureEnded => self.capture_failed(now, "the source has ended".into()),
            MediaEvent::CaptureFailed { reason } => self.capture_failed(now, reason),
            MediaEvent::SoundMissing { reason } | MediaEvent::SoundFailed { reason } => {
                log::warn!(stream, reason; "silence is sent");
                self.silence = Some(reason);
            }
            MediaEvent::SoundRestored => {
                log::info!(stream; "sound is back");
                self.silence = None;
            }
            MediaEvent::EncoderFailed { encoder, element, reason } => {
                log::warn!(stream, encoder, element, reason; "encoder failed");
                let action = self.selection.failed(now, encoder, &reason);
                self.act(now, action);
            }
            MediaEvent::ProgramFailed { element, reason } => {
                self.program_failed(now, format!("{element}: {reason}"), false);
            }
        }
    }

    /// Brings the world in line with what the machines want.
    fn step(&mut self) {
        let now = Instant::now();
        self.bury_outputs();
        if self.life.wants_encoder(now) && !self.departures.has_program() {
            self.open_program(now);
        }
        self.watch_program(now);
        self.follow_link(); // an encoder whose changes are dear may be told later than it was decided
        if self.key_frame_is_due {
            self.force_key_frame();
        }
        if self.life.is_wanted() {
            self.open_outputs();
        }
        self.observe(now);
        self.publish();
    }

    fn open_program(&mut self, now: Instant) {
        let config = &self.memory.config;
        self.is_seeking = false;
        let mut encoder = match self.selection.start(now, &config.video) {
            Begin::With(first) => first,
            Begin::Seeking(reason) => {
                log::info!(stream = self.name.as_str(), reason; "encoder is sought");
                self.is_seeking = true;
                return self.life.encoder_sought(now, reason);
            }
            Begin::Nothing(reason) => return self.program_failed(now, reason, true),
        };
        self.life.encoder_starting(now);
        self.source.opened(now, config.video.framerate.frame_duration());
        self.silence = None;
        let slate = self.source.reason().unwrap_or_default();
        loop {
            let (target, fanout) = (self.rate.target, self.fanout.clone());
            // Plugins are loaded, threads started and the slate is drawn here; meanwhile the runtime's
            // other tasks go on elsewhere.
            let started =
                block_in_place(|| Program::start(config, encoder, target, fanout, slate.to_string()));
            let (stream, element) = (self.name.as_str(), encoder.info.element);
            let error = match started {
                Ok(mut program) => {
                    let reason = self.selection.reason();
                    log::info!(stream, element, reason, target_kbps = target.as_kbps(); "encoder started");
                    program.open_capture(config, &self.camera.chosen);
                    self.program = Some(program);
                    return;
                }
                Err(error) => error,
            };
            let reason = with_causes(&error);
            log::warn!(stream, element, reason; "encoder not started");
            self.selection.failed(now, element, &reason);
            match self.selection.in_use() {
                Some(next) => encoder = next, // each that fails is demoted: this ends
                None => return self.program_failed(now, reason, error.is_hopeless()),
            }
        }
    }

    fn watch_program(&mut self, now: Instant) {
        let Some(program) = &mut self.program else { return };
        let counters = program.observe(now);
        if program.has_given_units() {
            self.life.encoder_running(now);
        }
        if let Some(show) = self.source.observe(now, counters.last_live_frame) {
            put_on_air(&self.name, program, show);
        }
        if self.source.next_deadline().is_some_and(|at| now >= at) {
            self.source.restarted(now);
            self.silence = None;
            program.open_capture(&self.memory.config, &self.camera.chosen);
        }
        self.watch_encoder(now, &counters);
    }

    fn watch_encoder(&mut self, now: Instant, counters: &Counters) {
        let Some(seen) = self.program.as_ref().and_then(|program| program.observation(counters)) else {
            return;
        };
        let action = self.selection.observe(now, &seen);
        self.act(now, action);
    }

    /// Has what was decided about encoders be done.
    fn act(&mut self, now: Instant, action: Action) {
        let (stream, Some(program)) = (self.name.as_str(), &mut self.program) else { return };
        match action {
            Action::Keep => {}
            Action::Replace { element, reason } => {
                log::warn!(stream, element, instead_of = program.encoder().element, reason; "encoder is replaced");
                if let Some(next) = self.selection.in_use() {
                    program.replace(next);
                }
            }
            Action::Lower { rung, reason } => {
                log::warn!(stream, reason; "encoded picture lowered");
                program.sustain(rung);
            }
            Action::Raise { rung, reason } => {
                log::info!(stream, reason; "encoded picture raised");
                program.sustain(rung);
            }
            Action::ForceKeyFrame => self.force_key_frame(),
            Action::Probe { element } => {
                log::info!(stream, element; "encoder is probed again");
                self.selection.probe(element, &self.memory.config.video);
            }
            Action::GiveUp { reason } => self.program_failed(now, reason, false),
        }
    }

    fn capture_failed(&mut self, now: Instant, reason: String) {
        let stream = self.name.as_str();
        log::warn!(stream, reason; "capture failed");
        self.format = None;
        self.camera.status = None;
        let show = self.source.failed(now, reason, rand::random());
        if let Some(program) = &mut self.program {
            drop(program.close_capture()); // closes by itself, while the source machine waits for the next attempt
            put_on_air(&self.name, program, show);
        }
    }

    fn program_failed(&mut self, now: Instant, reason: String, hopeless: bool) {
        let stream = self.name.as_str();
        log::error!(stream, reason, hopeless; "nothing is encoded");
        self.abandon_program();
        self.life.encoder_failed(now, reason, hopeless, rand::random());
    }

    /// Lets go of a program at once, and of nothing else: what it still gives is not sent.
    fn abandon_program(&mut self) {
        self.capture_closed();
        self.life.encoder_down();
        if let Some(program) = self.program.take() {
            program.cut_off();
            self.departures.add(Some(program), Vec::new());
        }
    }

    fn capture_closed(&mut self) {
        self.source.closed(Instant::now());
        self.format = None;
        self.camera.status = None;
        self.silence = None;
    }

    fn open_outputs(&mut self) {
        let is_missing = |output: &&config::Output| {
            !self.outputs.contains_key(&output.name) && !self.departures.has_output(&output.name)
        };
        let config = &self.memory.config;
        let missing: Vec<_> = config.outputs.iter().filter(is_missing).cloned().collect();
        for settings in missing {
            let context = StreamContext {
                name: self.name.clone(),
                tracks: Tracks::of(config),
                peak: peak(config),
                fanout: self.fanout.clone(),
                key_frame_wanted: self.key_frame_wanted.clone(),
                rate: self.rate_settings.subscribe(),
                rate_decided: self.rate_decided.clone(),
                recorder: self.recorders.open(&settings.name),
                recorders: self.recorders.clone(),
            };
            let name = settings.name.clone();
            self.outputs.insert(name, OutputHandle::spawn(settings, context));
        }
    }

    /// An output ends by itself only by a panic; `open_outputs` makes it anew.
    fn bury_outputs(&mut self) {
        let is_dead = |(_, output): &(&OutputName, &OutputHandle)| output.is_finished();
        let dead: Vec<_> = self.outputs.iter().filter(is_dead).map(|(name, _)| name.clone()).collect();
        for name in dead {
            log::error!(stream = self.name.as_str(), output = name.as_str(); "output has failed, it is made anew");
            self.close_output(&name);
        }
    }

    fn close_output(&mut self, name: &OutputName) {
        if let Some(output) = self.outputs.remove(name) {
            self.departures.add(None, vec![(name.clone(), output)]);
        }
    }

    /// Takes everything off air, so that what was captured is still sent.
    fn take_down(&mut self) {
        self.capture_closed();
        self.life.encoder_down();
        let outputs = std::mem::take(&mut self.outputs).into_iter().collect();
        self.departures.add(self.program.take(), outputs);
        self.fanout = Fanout::default(); // successors' units are not for those who leave
    }

    /// Has the encoder do what the link asks for: that of the lead output, or while it is not
    /// connected that of the next one that is.
    fn follow_link(&mut self) {
        let config = &self.memory.config;
        let in_turn = config.outputs.iter().filter(|output| output.lead);
        let in_turn = in_turn.chain(config.outputs.iter().filter(|output| !output.lead));
        let decided = |output: &config::Output| -> Option<(OutputName, Decision)> {
            Some((output.name.clone(), self.outputs.get(&output.name)?.decision()?))
        };
        let Some((output, decision)) = in_turn.into_iter().find_map(decided) else {
            self.rate = resting(config);
            self.apply_rate();
            return;
        };
        let Decision { target, estimate, queue, thin, rule, .. } = decision;
        self.rate = RateStatus { target, estimate, rule: rule.as_str(), output: Some(output), queue, thin };
        self.apply_rate();
    }

    fn apply_rate(&mut self) {
        let RateStatus { target, thin, .. } = self.rate;
        if let Some(mode) = self.program.as_mut().and_then(|it| it.follow(Instant::now(), target, thin)) {
            let Mode { width, height, framerate } = mode;
            let (stream, target_kbps) = (self.name.as_str(), target.as_kbps());
            log::info!(stream, target_kbps, width, height, framerate:%; "encoded picture changed with the rate");
        }
    }

    /// Forces a key frame; where one was forced just now, a moment later: each costs as much as many frames.
    fn force_key_frame(&mut self) {
        let now = Instant::now();
        let is_too_soon = self.key_frame_forced.is_some_and(|at| now.duration_since(at) < KEY_FRAME_INTERVAL);
        self.key_frame_is_due = is_too_soon;
        if !is_too_soon && let Some(program) = &self.program {
            program.force_key_frame();
            self.selection.key_frame_forced(now);
            self.key_frame_forced = Some(now);
        }
    }

    fn observe(&mut self, now: Instant) {
        let statuses: Vec<_> = self.outputs.values().map(OutputHandle::status).collect();
        let outputs: Vec<_> = statuses
            .iter()
            .map(|output| OutputView {
                name: output.name.as_str(),
                state: output.state,
                reason: output.reason.as_deref(),
            })
            .collect();
        let (slate, silence, trouble) =
            (self.source.reason(), self.silence.as_deref(), self.selection.trouble());
        let (encoder, draining) = (trouble.as_deref(), !self.departures.is_empty());
        if self.life.observe(now, &Parts { slate, silence, encoder, outputs: &outputs, draining }) {
            let (stream, reason) = (self.name.as_str(), self.life.reason().unwrap_or_default());
            log::info!(stream, state:? = self.life.state(), reason; "state changed");
        }
    }

    fn publish(&self) {
        let bare = bare_status(&self.name, &self.memory.config, &self.life, &self.source);
        let encoder = self.program.as_ref().map(|program| {
            let (counters, info, mode) = (program.counters(), program.encoder(), program.mode());
            EncoderStatus {
                backend: info.backend,
                element: info.element,
                hardware: info.hardware,
                reason: self.selection.reason(),
                lowered: self.selection.lowered().map(str::to_string),
                demoted: self.selection.demoted(),
                mode,
                target: program.target(),
                encoded: program.encoded(),
                fps: program.fps(),
                dropped_frames: counters.frames_dropped,
                lost_frames: counters.frames_lost,
                crowded_frames: counters.frames_crowded,
                thinned_frames: counters.frames_thinned,
                dropped_sounds: counters.sound_dropped,
                frames: counters.frames_out,
                bytes: counters.bytes_out,
            }
        });
        // In the order of the configuration, which is the order that their owner thinks in; then
        // those that leave.
        let present = self.memory.config.outputs.iter().filter_map(|output| self.outputs.get(&output.name));
        let outputs = present.map(OutputHandle::status).chain(self.departures.statuses()).collect();
        let (camera, format, silence) =
            (self.camera.status.clone(), self.format.clone(), self.silence.clone());
        let source = SourceStatus { camera, format, silence, ..bare.source };
        self.status.send_replace(Status { encoder, outputs, source, rate: self.rate.clone(), ..bare });
    }
}

async fn next_news(program: &mut Option<Program>) -> News {
    match program {
        Some(program) => program.next().await,
        None => pending().await,
    }
}

fn put_on_air(stream: &StreamName, program: &Program, show: Show) {
    let stream = stream.as_str();
    program.show(match show {
        Show::Live => {
            log::info!(stream; "source is on air");
            Picture::Live
        }
        Show::Slate(reason) => {
            log::warn!(stream, reason; "slate is on air");
            Picture::Slate { reason }
        }
    });
}

/// The status of a stream whose task has not looked at it yet.
pub fn initial_status(name: &StreamName, config: &config::Stream) -> Status {
    let now = Instant::now();
    bare_status(name, config, &Life::new(now, config.enabled), &SourceMachine::new(now))
}

fn bare_status(name: &StreamName, config: &config::Stream, life: &Life, source: &SourceMachine) -> Status {
    Status {
        name: name.clone(),
        at: Instant::now(),
        state: life.state(),
        since: life.since(),
        reason: life.reason().map(str::to_string),
        source: SourceStatus {
            state: source.state(),
            device: config.video.source.to_string(),
            camera: None,
            format: None,
            silence: None,
            reason: source.reason().map(str::to_string),
            losses: source.losses(),
        },
        encoder: None,
        outputs: Vec::new(),
        rate: resting(config),
    }
}

/// What rate controllers keep to.
fn rate_settings(config: &config::Stream) -> rate::Settings {
    let config::Rate { min, max, start, adaptive, .. } = config.rate;
    let sound = match config.audio.source {
        config::AudioSource::None => Bitrate::ZERO,
        _ => config.audio.bitrate,
    };
    let framerate = config.video.framerate.as_f64();
    rate::Settings { bounds: rate::Bounds { min, max, start }, adaptive, sound, framerate }
}

/// While no output is connected, nobody sees what more than the least would be spent on.
fn resting(config: &config::Stream) -> RateStatus {
    let (target, rule) = match config.rate.adaptive {
        true => (config.rate.min, NO_OUTPUT),
        false => (config.rate.start, rate::Rule::Fixed.as_str()),
    };
    RateStatus { target, estimate: None, rule, output: None, queue: Duration::ZERO, thin: 0.0 }
}

/// The most that the encoders together give: a key frame's peak is the send buffer's to bear.
fn peak(config: &config::Stream) -> Bitrate {
    config.rate.max + config.audio.bitrate
}

/// How often machines are looked at: a twentieth of a second is what the slate's half second allows.
const TICK: Duration = Duration::from_millis(50);

/// At most three forced key frames a second, however many outputs come and go.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(300);

/// The rule of a target that no link has set.
const NO_OUTPUT: &str = "no_output";
