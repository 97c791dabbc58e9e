//! `uplinkd run`: the daemon, from READY to drained.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};

use super::Failure;
use super::key_files::KeyFiles;
use super::reach;
use crate::api::{self, Api, BindError, Facts, Locks};
use crate::causes::with_causes;
use crate::config::store::Store;
use crate::config::{self, SecretFile, file};
use crate::reconfigure::{self, Handle, Start, Unusable};
use crate::supervisor::Streams;
use crate::supervisor::events::Event;
use crate::{media, mqtt, secrets, systemd, telemetry};

/// Runs until SIGTERM or SIGINT, and then until everything is drained. How the machine does is read below `sys`.
pub fn run(path: &Path, sys: PathBuf) -> Result<(), Failure> {
    let store = Store::of_this_machine();
    // Held until the end: of what another daemon keeps nothing is to be taken back here.
    let hold = store.hold().map_err(|held| match file::load(path) {
        Err(wrong) => Failure::configuration(wrong), // it would not start alone, either
        Ok(_) => Failure::in_the_way(format!("{held}; {LET_GO}")),
    })?;
    let start = Start::read(path, store, &hold).map_err(Failure::configuration)?;
    telemetry::init(start.layers.config.log.level).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    allow_all_descriptors();
    if !media::code_in_memory() {
        log::warn!(
            "neither XDG_RUNTIME_DIR nor /dev/shm is memory that code can run from: a full disk may end this"
        );
    }
    if let Some(trouble) = &start.trouble {
        log::error!("{trouble}");
    }
    if let Some(reason) = &start.unkept {
        log::error!(event = "nothing_kept", reason; "changes through the API cannot be kept");
    }
    if let Some(reason) = &start.taken_back {
        log::warn!(reason; "a change of the configuration is taken back");
    }
    super::block_on(serve(path, start, sys))?
}

/// What loses descriptors (v4l2src of GStreamer 1.22 does, where a camera does not begin) must not end the daemon at
/// the usual limit of 1024.
fn allow_all_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!(limit:? = current, error:%; "the limit of descriptors is not raised");
    }
}

async fn serve(path: &Path, start: Start, sys: PathBuf) -> Result<(), Failure> {
    let started = Instant::now();
    let Signals { mut terminate, mut interrupt, hangup } = Signals::new().map_err(Failure::other)?;
    let section = &start.layers.config.api;
    let api = Api::bind(section).await.map_err(|error| cannot_bind(path, error))?;
    let (urls, locks) = (api.urls().join(" "), api.locks());
    let (configuration, streams, mut keeper) = reconfigure::spawn(start, sys, api_can_start);
    let ready = Arc::new(AtomicBool::new(true));
    let (broker, broker_shown) = watch::channel(None);
    let facts = Facts {
        streams: streams.clone(),
        configuration: Some(configuration.clone()),
        broker: broker_shown,
        ready: ready.clone(),
        started,
        gstreamer: media::version(),
    };
    let mqtt = mqtt::spawn(facts.clone(), &configuration, broker);
    let mut api = tokio::spawn(api.serve(facts));
    let (version, running) = (env!("CARGO_PKG_VERSION"), streams.statuses().len());
    log::info!(api = urls, version, streams = running, event = "ready"; "ready");
    systemd::ready();

    let events = streams.events().clone();
    let mut vitals = Vitals::new(streams);
    let mut reloads = pin!(reload_when_asked(hangup, &configuration, &locks)); // it may take as long as a disk
    let mut result = loop {
        tokio::select! {
            () = asked_to_stop(&mut terminate, &mut interrupt) => break Ok(()),
            never = &mut reloads => match never {},
            () = vitals.tick() => {}
            ended = &mut api => break Err(api_ended(ended)),
            ended = &mut keeper => break Err(keeper_ended(ended)),
        }
    };

    events.say(Event::Draining {});
    systemd::stopping();
    ready.store(false, Ordering::Relaxed);
    tokio::select! {
        () = async {
            configuration.shut_down().await;
            mqtt.shut_down().await; // the last, so that it can tell how the streams ended
        } => log::info!("drained"),
        () = asked_to_stop(&mut terminate, &mut interrupt) => {
            result = Err(Failure::plain("second signal: what was not delivered yet is lost"));
        }
    }
    result
}

/// An API that cannot serve is no API: systemd starts the daemon anew.
fn api_ended(ended: Result<std::io::Result<()>, JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::plain("the API has ended"),
        Ok(Err(error)) => Failure::other(error),
        Err(error) => Failure::other(error),
    }
}

/// Streams without their owner run on, and nobody can change or end them: systemd starts the daemon anew.
fn keeper_ended(ended: Result<(), JoinError>) -> Failure {
    match ended {
        Ok(()) => Failure::plain("the configuration's task has ended"),
        Err(error) => Failure::other(error),
    }
}

fn cannot_bind(path: &Path, error: BindError) -> Failure {
    match error {
        BindError::Keys(error) => {
            let text = file::text(path).unwrap_or_default(); // it was read a moment ago; else the key alone helps, too
            Failure::configuration(format!("{}: {error}", file::located(path, &text, error.key)))
        }
        error if error.is_taken() => Failure::in_the_way(format!(
            "{}; another uplinkd or another program listens there: `ss -lntxp` shows which. End it, or give api.listen \
             another place",
            with_causes(&error)
        )),
        error => Failure::other(error),
    }
}

/// What this process may not read, systemd may hand over to the next.
fn api_can_start(section: &config::Api) -> Result<(), Unusable> {
    let awaits_credential = match &section.token_file {
        Some(SecretFile::Credential(name)) => secrets::credential(name).is_some_and(|path| !path.exists()),
        Some(SecretFile::Path(_)) | None => false,
    };
    let mut there = section.clone();
    there.token_file.take_if(|_| awaits_credential);
    // Warnings are told when the files are used.
    let KeyFiles { errors, withheld, warnings: _ } = KeyFiles::of_api(&there);
    if let Some(error) = errors.first() {
        return Err(Unusable { key: error.key, message: error.to_string() });
    }
    if let Some((key, withheld)) = withheld.iter().find(|(_, withheld)| !withheld.may_come()) {
        return Err(Unusable { key, message: format!("{key}: {withheld}; {}", reach::SECRET_FIX) });
    }
    match section.listen.iter().find_map(api::not_permitted) {
        Some(error) => Err(Unusable { key: LISTEN, message: format!("{LISTEN}: {}", with_causes(&error)) }),
        None => Ok(()),
    }
}

/// One reload after the other; those that are asked for meanwhile are one.
async fn reload_when_asked(mut hangup: Signal, configuration: &Handle, locks: &Locks) -> Infallible {
    loop {
        hangup.recv().await;
        reload(configuration, locks).await;
    }
}

/// Applies the file as it is now, with the overrides on top; a bad one is refused wholly and what runs goes on.
async fn reload(configuration: &Handle, locks: &Locks) {
    systemd::reloading();
    configuration.reload().await;
    locks.renew().await;
    systemd::ready();
}

/// The signals that a daemon heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for SIGTERM or SIGINT; cancel safe.
async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What systemd is told while the daemon runs.
struct Vitals {
    streams: Streams,
    tick: tokio::time::Interval,
    /// A stream that has not looked for so long is hung; `None` without a watchdog.
    limit: Option<Duration>,
}

impl Vitals {
    fn new(streams: Streams) -> Self {
        let limit = systemd::watchdog_interval();
        let mut tick = interval(limit.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Vitals { streams, tick, limit }
    }

    async fn tick(&mut self) {
        self.tick.tick().await;
        let statuses = self.streams.statuses();
        systemd::status(&statuses);
        let Some(limit) = self.limit else { return };
        let hung = systemd::hung(&statuses, Instant::now(), limit);
        if hung.is_empty() {
            systemd::alive();
        }
        for stream in hung {
            let stream = stream.name.as_str();
            log::error!(event = "stream_hangs", stream; "stream task hangs, the watchdog is not fed");
        }
    }
}

const LISTEN: &str = "api.listen";

/// What helps against another daemon.
const LET_GO: &str = "end that one first (`systemctl stop uplinkd`, where it is the service), or set STATE_DIRECTORY \
                      to another folder for this one";

/// As often as a person who watches `systemctl status` looks.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
