//! `uplinkd run`: the daemon, from READY to drained.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};

use super::Failure;
use crate::api::{Api, Facts};
use crate::config::{Config, file};
use crate::supervisor::events::Event;
use crate::supervisor::{Streams, Supervisor};
use crate::{media, systemd, telemetry};

/// Runs until SIGTERM or SIGINT, and then until everything is drained.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = file::load(path).map_err(Failure::configuration)?;
    telemetry::init(config.log.level).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    allow_all_descriptors();
    super::block_on(serve(path, config))?
}

/// GStreamer 1.22's v4l2src leaks five descriptors each time that it is opened: with the usual limit of 1024 a
/// camera with a bad cable would end the daemon after some two hundred losses.
fn allow_all_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!(limit:? = current, error:%; "the limit of descriptors is not raised");
    }
}

async fn serve(path: &Path, config: Config) -> Result<(), Failure> {
    let started = Instant::now();
    let Signals { mut terminate, mut interrupt, mut hangup } = Signals::new().map_err(Failure::other)?;
    let api = Api::bind(&config.api.listen).await.map_err(Failure::other)?;
    let url = api.url();
    let mut level = config.log.level;
    let mut supervisor = Supervisor::start(config);
    let streams = supervisor.streams();
    let ready = Arc::new(AtomicBool::new(true));
    let gstreamer = media::version();
    let mut api =
        tokio::spawn(api.serve(Facts { streams: streams.clone(), ready: ready.clone(), started, gstreamer }));
    log::info!(api = url, version = env!("CARGO_PKG_VERSION"), streams = streams.statuses().len(); "ready");
    systemd::ready();

    let mut vitals = Vitals::new(streams);
    let mut result = loop {
        tokio::select! {
            () = asked_to_stop(&mut terminate, &mut interrupt) => break Ok(()),
            _ = hangup.recv() => reload(path, &mut supervisor, &mut level).await,
            () = vitals.tick() => {}
            ended = &mut api => break Err(api_ended(ended)),
        }
    };

    supervisor.events().say(Event::Draining {});
    systemd::stopping();
    ready.store(false, Ordering::Relaxed);
    tokio::select! {
        () = supervisor.shut_down() => log::info!("drained"),
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

/// Applies the file as it is now; a bad one is refused wholly and what runs goes on.
async fn reload(path: &Path, supervisor: &mut Supervisor, level: &mut log::LevelFilter) {
    systemd::reloading();
    match file::load(path) {
        Err(error) => {
            let errors = error.to_string();
            errors.lines().for_each(|line| log::error!("{line}"));
            supervisor.events().say(Event::refused(errors.lines().map(str::to_owned)));
            log::error!(path:% = path.display(); "reload refused");
        }
        Ok(config) => {
            if config.log.level != *level {
                *level = config.log.level;
                telemetry::set_level(*level);
            }
            let changes = supervisor.apply(config).await;
            if changes.api {
                log::warn!("changes of [api] take effect when the daemon is restarted");
            }
            log::info!(path:% = path.display(); "reloaded");
        }
    }
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
            log::error!(stream = stream.name.as_str(); "stream task hangs, the watchdog is not fed");
        }
    }
}

/// As often as a person who watches `systemctl status` looks.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
