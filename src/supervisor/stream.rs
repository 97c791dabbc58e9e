//! The task of one stream: it owns capture, encoder and outputs, and drives the pure machines.
//!
//! Everything that can happen to a stream arrives in one `select!`: commands, media events, cameras plugged in and
//! out, wishes for a key frame, departures, and a tick every 50 ms. After each of them `step` brings the world in
//! line with what the machines want, and the status is published. Nothing in the loop waits for the
//! network or a device: outputs are tasks of their own, capture is opened and closed on a blocking
//! thread, and what is taken down leaves through [`Departures`].

mod encoding;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use self::sources::Topic;
use super::camera::Cameras;
use super::captures::Origin;
use super::departures::Departures;
use super::events::{Event, RateNews, StateNews, Teller};
use super::fanout::Fanout;
use super::lasting::{EncoderCounts, Lasting, OutputCounts, Sums};
use super::output::{OutputHandle, StreamContext};
use super::program::{News, Opening, Program};
use super::recorder::Recorders;
use super::refrain::Refrain;
use super::sampling::Samples;
use super::selection::Selection;
use super::status::{AudioStatus, EncoderStatus, RateStatus, SourceStatus, Status};
use crate::capture::changes::Changes;
use crate::config::diff::Effect;
use crate::config::{self, OutputName, StreamName, VideoSource};
use crate::machine::Machine;
use crate::media::{self, Glimpse, MediaEvent, Tracks};
use crate::rate::{self, Decision, Mode};
use crate::session::failover::Failover;
use crate::session::life::{Life, OutputView, Parts, State};
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
    pub lasting: Lasting,
}

/// What a stream's task tells others by, besides its status.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub events: Teller,
    pub recorders: Recorders,
    /// Where the pictures on air can be looked at; `None` while nothing is encoded.
    pub glimpse: watch::Sender<Option<Glimpse>>,
    pub machine: watch::Receiver<Machine>,
}

/// One stream, until it is shut down.
pub struct StreamTask<'a> {
    name: StreamName,
    memory: &'a mut Memory,
    life: Life,
    sources: Failover,
    selection: Selection,
    samples: Samples,
    /// Nothing can be encoded before an encoder is found.
    is_seeking: bool,
    opening: Option<Opening>,
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
    rate_news: RateNews,
    state_news: StateNews<State>,
    events: Teller,
    recorders: Recorders,
    glimpse: watch::Sender<Option<Glimpse>>,
    machine: watch::Receiver<Machine>,
    cameras: Cameras,
    /// What each source gives, as it said itself.
    formats: BTreeMap<usize, String>,
    /// What the log was told of them.
    refrain: Refrain<Topic>,
    /// What is not heard of each capture, and why.
    silences: BTreeMap<Origin, String>,
    /// What the sound's source gives, as it said itself.
    sound_format: Option<String>,
    status: watch::Sender<Status>,
}

impl<'a> StreamTask<'a> {
    pub fn new(
        name: StreamName,
        memory: &'a mut Memory,
        surroundings: Surroundings,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        let (settings, rate) = (rate_settings(&memory.config), resting(&memory.config));
        let (life, Surroundings { events, recorders, glimpse, machine }) =
            (Life::new(now, memory.wanted), surroundings);
        glimpse.send_replace(None); // of a task that panicked there may be one left
        StreamTask {
            name,
            state_news: StateNews::new(life.state()),
            life,
            sources: Failover::new(now, memory.config.video.sources().count()),
            memory,
            selection: Selection::default(),
            samples: Samples::default(),
            is_seeking: false,
            opening: None,
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
            rate_news: RateNews::default(),
            events,
            recorders,
            glimpse,
            machine,
            cameras: Cameras::default(),
            formats: BTreeMap::new(),
            refrain: Refrain::default(),
            silences: BTreeMap::new(),
            sound_format: None,
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
                changes = self.cameras.changes(&self.memory.config.video) => self.heed_changes(&changes),
                () = self.departures.next() => {}
                () = self.selection.next() => self.found(),
                judgement = self.samples.next() => self.judge(judgement),
                opened = next_opened(&mut self.opening) => self.opened(opened),
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
        let now = Instant::now();
        match command {
            Command::Start => {
                self.events.say(Event::ActionRequested { action: "start" });
                self.start(now);
            }
            Command::Stop => {
                self.events.say(Event::ActionRequested { action: "stop" });
                self.stop("stopped by request");
            }
            Command::Restart => {
                self.events.say(Event::ActionRequested { action: "restart" });
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
        if self.program.is_none() && self.opening.is_none() {
            self.selection.forget(); // they may have mended it
            self.found();
        }
        self.life.start(now);
    }

    fn stop(&mut self, reason: &str) {
        self.memory.wanted = false;
        self.life.stop(reason);
        self.is_seeking = false;
        self.selection.forget(); // nothing is probed for a stream that nobody wants
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
                Effect::Fallback => self.choose_sources_anew(),
                Effect::Sound | Effect::Slate => self.set_sound_and_slate(),
                Effect::Controls => {
                    if let (Some(program), VideoSource::V4l2(camera)) =
                        (&self.program, &self.memory.config.video.source)
                    {
                        program.adjust_camera(0, &camera.controls);
                    }
                }
                Effect::RestartStream => {
                    self.rate_settings.send_replace(rate_settings(&self.memory.config));
                    self.abandon_program();
                    self.selection.forget();
                    self.cameras.forget();
                }
                Effect::Enabled if self.memory.config.enabled => self.start(Instant::now()),
                Effect::Enabled => self.stop("not enabled"),
            }
        }
        let is_configured = |name: &OutputName| self.memory.config.outputs.iter().any(|it| it.name == *name);
        self.recorders.keep(is_configured);
        if config::plan::reconnection(&before, &self.memory.config).is_some() {
            let names: Vec<_> = self.outputs.keys().cloned().collect();
            names.iter().for_each(|name| self.close_output(name));
        }
    }

    /// Tells the program, which may have been begun with others.
    fn set_sound_and_slate(&mut self) {
        let Some(program) = &self.program else { return };
        program.set_sound(&self.memory.config.audio);
        if let Err(error) = program.set_slate(&self.memory.config.video.slate) {
            log::warn!(stream = self.name.as_str(), error:%; "the slate stays as it was");
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Media(event) => self.heed(event),
            News::Capture { origin, event } => self.heed_capture(origin, event),
            News::Replaced { element } => self.events.say(Event::EncoderOnAir { element }),
            News::NotReplaced { element, reason } => {
                let now = Instant::now();
                let action = self.selection.failed(now, element, &reason);
                self.act(now, action);
            }
        }
    }

    /// Cameras were plugged in or out. Whether the one that is wanted is among them, opening it tells.
    fn heed_changes(&mut self, changes: &Changes) {
        let named = |nodes: &[_]| nodes.iter().map(|node: &PathBuf| node.display().to_string()).collect();
        let (appeared, gone) = (named(&changes.appeared), named(&changes.gone));
        self.events.say(Event::DevicesChanged { appeared, gone });
        if !changes.appeared.is_empty() {
            self.sources.hurry_all(Instant::now());
        }
    }

    fn heed(&mut self, event: MediaEvent) {
        let (now, stream) = (Instant::now(), self.name.as_str());
        match event {
            MediaEvent::CaptureOpened { .. }
            | MediaEvent::ControlsSet { .. }
            | MediaEvent::CaptureWaits { .. }
            | MediaEvent::CaptureReady
            | MediaEvent::CaptureLive { .. }
            | MediaEvent::CaptureEnded
            | MediaEvent::CaptureFailed { .. }
            | MediaEvent::SoundMissing { .. }
            | MediaEvent::SoundFailed { .. }
            | MediaEvent::SoundLive { .. } => {
                log::error!(stream, event:?; "only a capture knows of this");
            }
            MediaEvent::EncoderFailed { encoder, element, reason } => {
                let told = reason.clone();
                self.events.say(Event::EncoderFailed { element: encoder, part: element, reason: told });
                if let Some(program) = &mut self.program {
                    program.encoder_failed(encoder);
                }
                let action = self.selection.failed(now, encoder, &reason);
                self.act(now, action);
            }
            MediaEvent::MemoryRefused { encoder, reason } => {
                log::warn!(stream, encoder, reason; "encoder failed importing pictures: a fresh one is given copies");
                if let Some(program) = &mut self.program {
                    program.renew();
                }
            }
            MediaEvent::EncoderBroken { encoder, reason } => self.encoder_broken(now, encoder, reason),
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
            self.choose_encoder(now);
        }
        if self.is_seeking {
            let action = self.selection.idle(now);
            self.act(now, action);
        }
        self.watch_program(now);
        self.follow_link(); // an encoder whose changes are dear may be told later than it was decided
        if self.key_frame_is_due {
            self.force_key_frame();
        }
        // A receiver that is called before there is anything to send would wait, and the output seem stalled.
        if self.life.is_wanted() && self.program.is_some() {
            self.open_outputs();
        }
        self.observe(now);
        self.publish();
    }

    fn watch_program(&mut self, now: Instant) {
        let Some(program) = &mut self.program else { return };
        let counters = program.observe(now);
        if program.has_given_units() {
            self.life.encoder_running(now);
        }
        self.samples.observe(now, program);
        self.watch_sources(now);
        self.watch_encoder(now, &counters);
    }

    fn capture_closed(&mut self) {
        self.sources.stop(Instant::now());
        self.formats.clear();
        self.cameras.all_closed();
        self.silences.clear();
        self.refrain.forget(|_| true);
        self.sound_format = None;
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
                fanout: self.fanout.clone(),
                key_frame_wanted: self.key_frame_wanted.clone(),
                rate: self.rate_settings.subscribe(),
                rate_decided: self.rate_decided.clone(),
                events: Some(self.events.clone()),
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
            self.events.say(Event::PartFailed { part: format!("output {name}") });
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
        self.departures.add_opening(self.opening.take());
        let outputs = std::mem::take(&mut self.outputs).into_iter().collect();
        self.glimpse.send_replace(None);
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
        let now = Instant::now();
        if self.rate_news.observe(now, &self.rate) {
            self.events.say(rate_event(&self.rate));
        }
        if let Some(mode) = self.program.as_mut().and_then(|it| it.follow(now, target, thin)) {
            let Mode { width, height, framerate } = mode;
            let (framerate, target_bps) = (framerate.to_string(), target.as_bps());
            self.events.say(Event::PictureChanged { width, height, framerate, target_bps });
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
        let (slate, fallback, trouble) =
            (self.sources.slate(), self.sources.fallback(), self.selection.trouble());
        let silence = self.silence().map(str::to_string);
        let parts = Parts {
            slate: slate.as_deref(),
            fallback: fallback.as_deref(),
            silence: silence.as_deref(),
            encoder: trouble.as_deref(),
            outputs: &outputs,
            draining: !self.departures.is_empty(),
        };
        self.life.observe(now, &parts);
        let (state, reason) = (self.life.state(), self.life.reason());
        if self.state_news.observe(state, reason) {
            let reason = reason.map(str::to_owned);
            self.events.say(Event::StreamState { state: state.as_str(), reason });
        }
    }

    fn publish(&mut self) {
        let bare = bare_status(&self.name, &self.memory.config, &self.life, &self.sources);
        let encoder = self.program.as_ref().map(|program| {
            let (counters, info, mode) = (program.counters(), program.encoder(), program.mode());
            EncoderStatus {
                backend: info.backend,
                element: info.element,
                hardware: info.hardware,
                reason: self.selection.reason(info.element),
                lowered: self.selection.lowered(info.element).map(str::to_string),
                demoted: self.selection.demoted(),
                memory: program.memory(),
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
                hung_threads: media::threads_left_behind(),
            }
        });
        // In the order of the configuration, which is the order that their owner thinks in; then
        // those that leave.
        let present = self.memory.config.outputs.iter().filter_map(|output| self.outputs.get(&output.name));
        let outputs: Vec<_> = present.map(OutputHandle::status).chain(self.departures.statuses()).collect();
        let counts = self.program.as_ref().map(|program| EncoderCounts::from(program.counters()));
        let carried = outputs.iter().map(|output| (output.name.clone(), OutputCounts::of(output)));
        let is_configured = |name: &OutputName| self.memory.config.outputs.iter().any(|it| it.name == *name);
        self.memory.lasting.observe(counts, carried, self.sources.losses(), is_configured);
        let sums = self.memory.lasting.sums();
        let on_air = self.sources.on_air().unwrap_or(0);
        let (camera, format) = (self.cameras.status(on_air).cloned(), self.formats.get(&on_air).cloned());
        let silence = self.silence().map(str::to_string);
        let damaged = self.program.as_ref().map(|program| program.counters().frames_damaged);
        let damaged = damaged.unwrap_or_default();
        let running = |program: &Program| {
            let (reason, format) = (silence.clone(), self.sound_format.clone());
            AudioStatus::running(&self.memory.config.audio, program.levels(), reason, format)
        };
        let audio = self.program.as_ref().map_or(bare.audio, running);
        let source = SourceStatus { camera, format, silence, damaged, ..bare.source };
        let rate = self.rate.clone();
        self.status.send_replace(Status { encoder, outputs, source, audio, rate, sums, ..bare });
    }
}

async fn next_opened(opening: &mut Option<Opening>) -> Result<Program, media::Error> {
    match opening {
        Some(opening) => opening.opened().await,
        None => pending().await,
    }
}

async fn next_news(program: &mut Option<Program>) -> News {
    match program {
        Some(program) => program.next().await,
        None => pending().await,
    }
}

/// The status of a stream whose task has not looked at it yet.
pub fn initial_status(name: &StreamName, config: &config::Stream) -> Status {
    let now = Instant::now();
    bare_status(
        name,
        config,
        &Life::new(now, config.enabled),
        &Failover::new(now, config.video.sources().count()),
    )
}

fn bare_status(name: &StreamName, config: &config::Stream, life: &Life, sources: &Failover) -> Status {
    Status {
        name: name.clone(),
        at: Instant::now(),
        state: life.state(),
        since: life.since(),
        reason: life.reason().map(str::to_string),
        source: sources::status(config, sources),
        audio: AudioStatus::of(&config.audio),
        encoder: None,
        outputs: Vec::new(),
        rate: resting(config),
        sums: Sums::default(),
    }
}

fn rate_event(rate: &RateStatus) -> Event {
    Event::Rate {
        output: rate.output.as_ref().map(ToString::to_string),
        rule: rate.rule,
        target_bps: rate.target.as_bps(),
        estimate_bps: rate.estimate.map(Bitrate::as_bps),
        thinned_percent: (rate.thin * 1000.0).round() / 10.0,
    }
}

/// What rate controllers keep to.
fn rate_settings(config: &config::Stream) -> rate::Settings {
    let config::Rate { min, max, start, adaptive, .. } = config.rate;
    let sound = match config.audio.source {
        config::AudioSource::None => Bitrate::ZERO,
        _ => config.audio.bitrate,
    };
    let sound_frames = match config.audio.codec {
        config::AudioCodec::Aac => rate::AAC_FRAMES,
        config::AudioCodec::Opus => rate::OPUS_FRAMES,
    };
    let framerate = config.video.framerate.as_f64();
    rate::Settings { bounds: rate::Bounds { min, max, start }, adaptive, sound, sound_frames, framerate }
}

/// While no output is connected, nobody sees what more than the least would be spent on.
fn resting(config: &config::Stream) -> RateStatus {
    let (target, rule) = match config.rate.adaptive {
        true => (config.rate.min, NO_OUTPUT),
        false => (config.rate.start, rate::Rule::Fixed.as_str()),
    };
    RateStatus { target, estimate: None, rule, output: None, queue: Duration::ZERO, thin: 0.0 }
}

/// How often machines are looked at: a twentieth of a second is what the slate's half second allows.
const TICK: Duration = Duration::from_millis(50);

/// At most three forced key frames a second, however many outputs come and go.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(300);

/// The rule of a target that no link has set.
const NO_OUTPUT: &str = "no_output";
