//! What systemd is told: readiness, reloads, the state in one line, and that we are alive.
//!
//! Outside systemd (no `NOTIFY_SOCKET`) each of these does nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::supervisor::status::{State, Status};

/// Up: the API is bound and each enabled stream's machine has started.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload begins; it ends with [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!(error:%; "cannot tell systemd of the reload"),
    }
}

/// Draining.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(streams: &[Status]) {
    notify(&[NotifyState::Status(&summary(streams))]);
}

/// How often [`alive`] must be told; `None` where no watchdog is set.
pub fn watchdog_interval() -> Option<Duration> {
    // Three signs of life in the time that one is asked for: one may be late.
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

/// Everything that should move does.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// The streams whose tasks have not looked at their world for `limit`: hung, and the watchdog's business.
pub fn hung(streams: &[Status], now: Instant, limit: Duration) -> Vec<&Status> {
    streams.iter().filter(|stream| now.saturating_duration_since(stream.at) > limit).collect()
}

fn summary(streams: &[Status]) -> String {
    let is = |state: State| streams.iter().filter(|stream| stream.state == state).count();
    let (streaming, stopped) = (is(State::Streaming), is(State::Stopped));
    match streams.iter().find(|stream| !matches!(stream.state, State::Streaming | State::Stopped)) {
        Some(troubled) => {
            let reason = troubled.reason.as_deref().unwrap_or("no reason yet");
            format!("{streaming} of {} streaming; {}: {reason}", streams.len(), troubled.name)
        }
        None if stopped == streams.len() => "idle".to_string(),
        None => format!("{streaming} of {} streaming", streams.len()),
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!(error:%; "cannot notify systemd");
    }
}
