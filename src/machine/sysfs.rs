//! Reads what the kernel says of the machine. A file that is not there, or cannot be read now, says nothing: most
//! machines have some of these files, and none has all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::readings::{self, Clock, Flags, Limit, LimitKind, Readings, Zone};

/// Where the kernel shows what it knows.
pub const SYS: &str = "/sys";

/// The files of this machine, found out now and then.
#[derive(Debug)]
pub struct Sysfs {
    root: PathBuf,
    places: Places,
    /// Times that were read since the places were looked for.
    readings: u32,
}

#[derive(Debug, Default)]
struct Places {
    firmware: Option<PathBuf>,
    low_voltage: Option<PathBuf>,
    zones: Vec<ZonePlace>,
    throttle_counts: Vec<PathBuf>,
    /// Names of means of cooling that slow processors down, and their states.
    slowing: Vec<(String, PathBuf)>,
    /// A policy is a group of processors with one clock.
    policies: Vec<PathBuf>,
}

#[derive(Debug)]
struct ZonePlace {
    number: u32,
    name: String,
    temperature: PathBuf,
    limits: Vec<Limit>,
}

impl Sysfs {
    /// Of the tree at `root`: [`SYS`], or another like it.
    pub fn at(root: &Path) -> Sysfs {
        Sysfs { root: root.to_owned(), places: Places::below(root), readings: 0 }
    }

    /// As of now. Blocks on the file system, where a sensor may take its time.
    pub fn read(&mut self) -> Readings {
        self.readings += 1;
        if self.readings >= READINGS_PER_SEARCH {
            (self.places, self.readings) = (Places::below(&self.root), 0);
        }
        let Places { firmware, low_voltage, zones, throttle_counts, slowing, policies } = &self.places;
        let counts: Vec<u64> = throttle_counts.iter().filter_map(|path| number(path)).collect();
        let is_slowing = |(_, state): &&(String, PathBuf)| signed(state).is_some_and(|state| state > 0);
        Readings {
            firmware: firmware.as_deref().and_then(text).and_then(|flags| Flags::parse(&flags)),
            low_voltage: low_voltage.as_deref().and_then(number).map(|alarm| alarm != 0),
            zones: zones.iter().filter_map(ZonePlace::read).collect(),
            throttle_count: (!counts.is_empty()).then(|| counts.iter().sum()),
            slowing: slowing.iter().filter(is_slowing).map(|(name, _)| name.clone()).collect(),
            clock: policies.iter().filter_map(|policy| clock(policy)).max_by_key(|clock| clock.most_khz),
        }
    }
}

impl Places {
    fn below(root: &Path) -> Places {
        let cooling = below(&root.join("class/thermal"), |name| name.starts_with("cooling_device"));
        let processors =
            below(&root.join("devices/system/cpu"), |name| numbered(name, "cpu").is_some()).into_iter();
        let throttled = processors.flat_map(|processor| {
            below(&processor.join("thermal_throttle"), |name| name.ends_with("_throttle_count"))
        });
        Places {
            firmware: firmware(root),
            low_voltage: low_voltage(root),
            zones: zones(root),
            throttle_counts: throttled.collect(),
            slowing: cooling.iter().filter_map(|device| slowing(device)).collect(),
            policies: below(&root.join("devices/system/cpu/cpufreq"), |name| name.starts_with("policy")),
        }
    }
}

impl ZonePlace {
    fn read(&self) -> Option<Zone> {
        let celsius = readings::celsius(&text(&self.temperature)?)?;
        let ZonePlace { number, name, limits, .. } = self;
        Some(Zone { number: *number, name: name.clone(), celsius, limits: limits.clone() })
    }
}

/// `soc/soc:firmware` of a Raspberry Pi up to 4, `soc@107c000000/soc@107c000000:firmware` of a 5.
fn firmware(root: &Path) -> Option<PathBuf> {
    let devices = below(&root.join("devices/platform"), |name| name == "soc" || name.starts_with("soc@"));
    let firmwares = devices.iter().flat_map(|device| below(device, |name| name.ends_with("firmware")));
    firmwares.map(|firmware| firmware.join("get_throttled")).find(|path| path.exists())
}

fn low_voltage(root: &Path) -> Option<PathBuf> {
    let sensors = below(&root.join("class/hwmon"), |_| true).into_iter();
    let is_voltage = |sensor: &PathBuf| text(&sensor.join("name")).is_some_and(|name| name == "rpi_volt");
    sensors.filter(is_voltage).map(|sensor| sensor.join("in0_lcrit_alarm")).find(|path| path.exists())
}

fn zones(root: &Path) -> Vec<ZonePlace> {
    let folders = below(&root.join("class/thermal"), |name| numbered(name, "thermal_zone").is_some());
    let zone = |folder: PathBuf| {
        let number = numbered(folder.file_name()?.to_str()?, "thermal_zone")?;
        let name = text(&folder.join("type"))?;
        Some(ZonePlace { number, name, temperature: folder.join("temp"), limits: limits(&folder) })
    };
    let mut zones: Vec<ZonePlace> = folders.into_iter().filter_map(zone).collect();
    zones.sort_by_key(|zone| zone.number);
    zones.truncate(MOST_ZONES);
    zones
}

fn limits(zone: &Path) -> Vec<Limit> {
    let kinds = below(zone, |name| name.starts_with("trip_point_") && name.ends_with("_type"));
    let limit = |path: PathBuf| {
        let kind = LimitKind::parse(&text(&path)?)?;
        let temperature = path.file_name()?.to_str()?.replace("_type", "_temp");
        let celsius = readings::celsius(&text(&zone.join(temperature))?)?;
        (celsius >= LEAST_LIMIT).then_some(Limit { kind, celsius })
    };
    kinds.into_iter().filter_map(limit).collect()
}

/// A means of cooling by a processor that does less: `thermal-cpufreq-0` where a device tree describes it,
/// `Processor` where ACPI does, `intel_powerclamp`. Others are fans, and radios.
fn slowing(device: &Path) -> Option<(String, PathBuf)> {
    let name = text(&device.join("type"))?;
    let slows = ["cpufreq", "Processor", "intel_powerclamp"].iter().any(|kind| name.contains(kind));
    slows.then(|| (name, device.join("cur_state")))
}

fn clock(policy: &Path) -> Option<Clock> {
    Some(Clock {
        now_khz: number(&policy.join("scaling_cur_freq"))?,
        most_khz: number(&policy.join("cpuinfo_max_freq"))?,
    })
}

/// What a folder holds, of these names and in their order.
fn below(folder: &Path, of: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_one = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(&of);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_one).collect();
    paths.sort();
    paths
}

/// The number behind these words.
fn numbered(name: &str, words: &str) -> Option<u32> {
    name.strip_prefix(words)?.parse().ok()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

fn signed(path: &Path) -> Option<i64> {
    text(path)?.parse().ok()
}

/// Drivers that come late, a sensor on a stick: a minute, by the second in which it is read.
const READINGS_PER_SEARCH: u32 = 60;

/// Machines have one to a dozen; servers with more have none that is hotter than these.
const MOST_ZONES: usize = 32;

/// Degrees: what firmware gives as a limit below this is a setting that nobody made.
const LEAST_LIMIT: f64 = 50.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Flag;

    /// A tree with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{contents}\n")).unwrap();
        }
        root
    }

    #[test]
    fn a_raspberry_pi_tells_of_its_voltage_heat_and_clock() {
        for firmware in ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"] {
            let root = tree(&[
                (&format!("devices/platform/{firmware}/get_throttled"), "50005"),
                ("class/hwmon/hwmon0/name", "cpu_thermal"),
                ("class/hwmon/hwmon1/name", "rpi_volt"),
                ("class/hwmon/hwmon1/in0_lcrit_alarm", "1"),
                ("class/thermal/thermal_zone0/type", "cpu-thermal"),
                ("class/thermal/thermal_zone0/temp", "81312"),
                ("class/thermal/thermal_zone0/trip_point_0_type", "critical"),
                ("class/thermal/thermal_zone0/trip_point_0_temp", "90000"),
                ("class/thermal/thermal_zone0/trip_point_1_type", "active"),
                ("class/thermal/thermal_zone0/trip_point_1_temp", "60000"),
                ("class/thermal/cooling_device0/type", "pwm-fan"),
                ("class/thermal/cooling_device0/cur_state", "4"),
                ("devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1000000"),
                ("devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1800000"),
            ]);
            let readings = Sysfs::at(root.path()).read();
            let flags = readings.firmware.unwrap();
            assert!(flags.now(Flag::UnderVoltage) && flags.recently(Flag::Throttled));
            assert_eq!(readings.low_voltage, Some(true));
            let critical = Limit { kind: LimitKind::Critical, celsius: 90.0 };
            let name = "cpu-thermal".to_owned();
            let zone = Zone { number: 0, name, celsius: 81.312, limits: vec![critical] };
            assert_eq!(readings.zones, [zone]);
            assert_eq!(readings.clock, Some(Clock { now_khz: 1_000_000, most_khz: 1_800_000 }));
            assert!(readings.slowing.is_empty(), "a fan slows nothing");
            assert_eq!(readings.throttle_count, None);
        }
    }

    #[test]
    fn a_pc_tells_how_often_it_was_throttled_and_what_firmware_left_unset_is_no_limit() {
        let root = tree(&[
            ("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3"),
            ("devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "10"),
            ("devices/system/cpu/cpu0/thermal_throttle/package_throttle_max_time_ms", "900"),
            ("devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4"),
            ("devices/system/cpu/cpuidle/current_driver", "intel_idle"),
            ("class/thermal/thermal_zone10/type", "x86_pkg_temp"),
            ("class/thermal/thermal_zone10/temp", "64000"),
            ("class/thermal/thermal_zone10/trip_point_0_type", "critical"),
            ("class/thermal/thermal_zone10/trip_point_0_temp", "0"),
            ("class/thermal/thermal_zone2/type", "iwlwifi_1"),
            ("class/thermal/cooling_device3/type", "Processor"),
            ("class/thermal/cooling_device3/cur_state", "2"),
            ("class/thermal/cooling_device4/type", "intel_powerclamp"),
            ("class/thermal/cooling_device4/cur_state", "-1"),
        ]);
        let readings = Sysfs::at(root.path()).read();
        assert_eq!(readings.throttle_count, Some(17));
        assert_eq!(readings.slowing, ["Processor"]);
        let zones: Vec<_> = readings.zones.iter().map(|zone| (zone.number, zone.limits.len())).collect();
        assert_eq!(zones, [(10, 0)], "one whose radio is off has no temperature");
    }

    #[test]
    fn a_machine_that_tells_nothing_is_read_as_such_and_looked_at_again() {
        let root = tree(&[]);
        let mut sysfs = Sysfs::at(root.path());
        assert_eq!(sysfs.read(), Readings::default());
        let late = root.path().join("class/hwmon/hwmon0");
        fs::create_dir_all(&late).unwrap();
        fs::write(late.join("name"), "rpi_volt\n").unwrap();
        fs::write(late.join("in0_lcrit_alarm"), "0\n").unwrap();
        let found = (0..READINGS_PER_SEARCH).find_map(|_| sysfs.read().low_voltage);
        assert_eq!(found, Some(false));
    }
}
