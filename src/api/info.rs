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
use super::wire::{millis, rfc3339};
use crate::machine::{self, Condition, Flag, Flags, LimitKind, Zone};

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
    machine: Machine,
    /// Why changes of the configuration cannot be kept, as the last attempt has it, or the daemon's start: a disk
    /// that is full, or read-only, or overrides that cannot be read and must not be replaced.
    state_trouble: Option<String>,
    /// The connection to the MQTT broker; `null` where none is configured.
    mqtt: Option<Shown>,
}

/// How the machine does, as of the last look, one each second. What it does not tell is `null`, or is not in the list.
#[derive(Serialize, ToSchema)]
struct Machine {
    /// Of that look: more than 2000 where a sensor keeps the kernel waiting. `null` before the first.
    age_ms: Option<u64>,
    under_voltage: Trouble,
    /// The processor is slower than it is made for, or about to be; an encoder in software is given less then.
    throttled: Trouble,
    firmware: Option<Firmware>,
    zones: Vec<ThermalZone>,
    /// Of the fastest processor.
    clock_mhz: Option<u64>,
    most_clock_mhz: Option<u64>,
}

/// Something that is the case or not.
#[derive(Serialize, ToSchema)]
struct Trouble {
    now: bool,
    /// Why, and RFC 3339 since when, while it is the case.
    reason: Option<String>,
    since: Option<String>,
    /// How often it began since the daemon did.
    times: u64,
}

/// A Raspberry Pi's firmware's flags: `under_voltage`, `frequency_capped`, `throttled`, `soft_temperature_limit`.
#[derive(Serialize, ToSchema)]
struct Firmware {
    now: Vec<&'static str>,
    /// Some seconds ago.
    recently: Vec<&'static str>,
}

/// A temperature that the kernel measures.
#[derive(Serialize, ToSchema)]
struct ThermalZone {
    number: u32,
    name: String,
    celsius: f64,
    /// Where it is too hot, and where the kernel switches the machine off.
    hot_celsius: Option<f64>,
    critical_celsius: Option<f64>,
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
            machine: Machine::from(&facts.streams.machine()),
            state_trouble: facts.configuration.as_ref().and_then(|handle| handle.current().unkept.clone()),
            mqtt: facts.broker.borrow().as_ref().map(Shown::from),
        }
    }
}

impl From<&machine::Machine> for Machine {
    fn from(machine: &machine::Machine) -> Machine {
        let megahertz = |khz: u64| khz / 1000;
        Machine {
            age_ms: machine.looked.map(|looked| millis(looked.elapsed())),
            under_voltage: Trouble::from(&machine.under_voltage),
            throttled: Trouble::from(&machine.throttled),
            firmware: machine.firmware.map(Firmware::from),
            zones: machine.zones.iter().map(ThermalZone::from).collect(),
            clock_mhz: machine.clock.map(|clock| megahertz(clock.now_khz)),
            most_clock_mhz: machine.clock.map(|clock| megahertz(clock.most_khz)),
        }
    }
}

impl From<&Condition> for Trouble {
    fn from(condition: &Condition) -> Trouble {
        Trouble {
            now: condition.is_the_case(),
            reason: condition.reason().map(str::to_owned),
            since: condition.since().and_then(rfc3339),
            times: condition.times,
        }
    }
}

impl From<Flags> for Firmware {
    fn from(flags: Flags) -> Firmware {
        let held = |is_set: fn(Flags, Flag) -> bool| {
            Flag::ALL.into_iter().filter(|flag| is_set(flags, *flag)).map(Flag::as_str).collect()
        };
        Firmware { now: held(Flags::now), recently: held(Flags::recently) }
    }
}

impl From<&Zone> for ThermalZone {
    fn from(zone: &Zone) -> ThermalZone {
        ThermalZone {
            number: zone.number,
            name: zone.name.clone(),
            celsius: zone.celsius,
            hot_celsius: zone.limit(LimitKind::Hot),
            critical_celsius: zone.limit(LimitKind::Critical),
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
