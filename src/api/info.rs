//! `GET /v1/info`: what runs here, and where.

use std::path::Path;
use std::time::Instant;

use axum::extract::State;
use axum::response::Json;
use rustix::system::uname;
use serde::Serialize;
use utoipa::ToSchema;

use super::Facts;
use super::broker::Shown;
use super::wire::rfc3339;

/// Its answer.
#[derive(Serialize, ToSchema)]
pub struct Info {
    name: &'static str,
    version: &'static str,
    gstreamer: String,
    /// Of the machine: its name, its kernel's name and version, and its architecture.
    host: String,
    kernel: String,
    architecture: String,
    /// The machine's own, RFC 3339: what times in other answers are told by.
    time: Option<String>,
    /// Whether that clock follows a time server, as systemd-timesyncd has it; `null` where something else, or
    /// nothing, sees to that.
    clock_synchronised: Option<bool>,
    /// RFC 3339.
    started: Option<String>,
    uptime_s: u64,
    /// The connection to the MQTT broker; `null` where none is configured.
    mqtt: Option<Shown>,
}

/// What runs here, and where.
#[utoipa::path(get, path = "/v1/info", operation_id = "info", tag = "daemon", responses(
    (status = 200, description = "What this daemon is, and since when it runs.", body = Info),
))]
pub async fn answer(State(facts): State<Facts>) -> Json<Info> {
    Json(Info::new(&facts))
}

impl Info {
    /// As of now.
    pub fn new(facts: &Facts) -> Info {
        let machine = uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Info {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            gstreamer: facts.gstreamer.clone(),
            host: text(machine.nodename()),
            kernel: format!("{} {}", text(machine.sysname()), text(machine.release())),
            architecture: text(machine.machine()),
            time: rfc3339(Instant::now()),
            clock_synchronised: clock_synchronised(Path::new(TIMESYNC)),
            started: rfc3339(facts.started),
            uptime_s: facts.started.elapsed().as_secs(),
            mqtt: facts.broker.borrow().as_ref().map(Shown::from),
        }
    }
}

/// systemd-timesyncd makes its folder when it starts, and the file in it when it has set the clock.
fn clock_synchronised(timesync: &Path) -> Option<bool> {
    timesync.is_dir().then(|| timesync.join("synchronized").exists())
}

const TIMESYNC: &str = "/run/systemd/timesync";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_synchronised_when_timesyncd_says_so() {
        let run = tempfile::tempdir().unwrap();
        let timesync = run.path().join("timesync");
        assert_eq!(clock_synchronised(&timesync), None);
        std::fs::create_dir(&timesync).unwrap();
        assert_eq!(clock_synchronised(&timesync), Some(false));
        std::fs::write(timesync.join("synchronized"), "").unwrap();
        assert_eq!(clock_synchronised(&timesync), Some(true));
    }
}
