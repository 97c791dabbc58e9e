//! Heat and voltage, in a tree of files as a Raspberry Pi's kernel has it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::apart::behind;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::http::{get, on_air};

const FLAGS: &str = "devices/platform/soc/soc:firmware/get_throttled";
const TEMPERATURE: &str = "class/thermal/thermal_zone0/temp";

fn raspberry_pi() -> TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    for (file, contents) in [
        (FLAGS, "0"),
        (TEMPERATURE, "61812"),
        ("class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("class/thermal/thermal_zone0/trip_point_0_type", "critical"),
        ("class/thermal/thermal_zone0/trip_point_0_temp", "90000"),
        ("class/hwmon/hwmon1/name", "rpi_volt"),
        ("class/hwmon/hwmon1/in0_lcrit_alarm", "0"),
    ] {
        write(tree.path(), file, contents);
    }
    tree
}

fn write(tree: &Path, file: &str, contents: &str) {
    let path = tree.join(file);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    fs::write(path, format!("{contents}\n")).expect("the file is written");
}

fn on(tree: &Path, configuration: &str) -> Daemon {
    Daemon::start_as(behind(&format!("exec \"$0\" \"$@\" --sys {}", tree.display())), configuration)
}

/// How many events of each kind there were.
fn events(daemon: &Daemon, kind: &str) -> usize {
    daemon.log().matches(&format!("event={kind} ")).count()
}

fn machine(daemon: &Daemon) -> Value {
    get(daemon, "/v1/info").body["machine"].clone()
}

#[test]
fn a_machine_that_is_slowed_down_is_shown_and_sends_a_smaller_picture_before_any_is_lost() {
    calmly(3, || {
        let (tree, port) = (raspberry_pi(), free_port());
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = on(tree.path(), &test_stream(port, 300, ""));
        on_air(&daemon);
        let width = || daemon.status()["encoder"]["width"].as_u64().expect("a width");
        assert_eq!((width(), events(&daemon, "throttled")), (320, 0));
        eventually("its temperature is shown", Duration::from_secs(10), || {
            machine(&daemon)["zones"][0]["celsius"] == 61.812
        });
        assert_eq!(machine(&daemon)["zones"][0]["critical_celsius"], 90.0);

        let dropped = |status: &Value| status["encoder"]["dropped_frames"].as_u64().expect("a number");
        let before = dropped(&daemon.status());
        write(tree.path(), TEMPERATURE, "84900");
        write(tree.path(), FLAGS, "60006");
        eventually("the picture is smaller", Duration::from_secs(10), || width() == 240);
        let status = daemon.status();
        let reason = "the firmware holds the processor back at 85 °C";
        assert_eq!(status["encoder"]["lowered"], reason, "{status:#}");
        let told = status["reason"].as_str().unwrap_or_default().to_owned();
        assert!(
            status["state"] == "degraded" && told.starts_with(&format!("encoder: {reason}")),
            "{status:#}"
        );
        let shown = machine(&daemon);
        assert_eq!(
            (&shown["throttled"]["now"], &shown["throttled"]["reason"]),
            (&true.into(), &reason.into())
        );
        assert_eq!(shown["firmware"]["now"], serde_json::json!(["frequency_capped", "throttled"]));
        assert_eq!(shown["under_voltage"]["now"], false);
        assert_eq!((events(&daemon, "throttled"), events(&daemon, "picture_lowered")), (1, 1));
        assert!(dropped(&status) < before + 5, "what it does cannot be why: {status:#}");

        let mut metrics = ureq::get(daemon.url("/metrics")).call().expect("metrics");
        let metrics = metrics.body_mut().read_to_string().expect("text");
        for line in [
            "uplinkd_thermal_zone_celsius{zone=\"0\",type=\"cpu-thermal\"} 84.9",
            "uplinkd_machine_throttled 1",
            "uplinkd_machine_throttled_total 1",
            "uplinkd_machine_under_voltage 0",
        ] {
            assert!(metrics.lines().any(|other| other == line), "no {line} in {metrics}");
        }

        write(tree.path(), FLAGS, "0");
        write(tree.path(), TEMPERATURE, "70000");
        eventually("the end is told", Duration::from_secs(30), || events(&daemon, "throttling_ended") == 1);
        assert_eq!(
            (width(), &machine(&daemon)["throttled"]["now"]),
            (240, &false.into()),
            "not raised at once"
        );
    });
}

#[test]
fn a_weak_power_supply_is_told_and_is_no_reason_to_send_less_by_itself() {
    let tree = raspberry_pi();
    let daemon = on(tree.path(), "");
    eventually("it has looked", Duration::from_secs(10), || machine(&daemon)["zones"][0]["number"] == 0);
    write(tree.path(), "class/hwmon/hwmon1/in0_lcrit_alarm", "1");
    eventually("it is told", Duration::from_secs(10), || events(&daemon, "under_voltage") == 1);
    let shown = machine(&daemon);
    assert_eq!((&shown["under_voltage"]["now"], &shown["throttled"]["now"]), (&true.into(), &false.into()));
    let reason = shown["under_voltage"]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("power supply") && daemon.log().contains(&reason), "{}", daemon.log());
    write(tree.path(), "class/hwmon/hwmon1/in0_lcrit_alarm", "0");
    eventually("its end too", Duration::from_secs(30), || events(&daemon, "voltage_restored") == 1);
}

#[test]
fn a_machine_that_tells_nothing_is_no_trouble() {
    let tree = tempfile::tempdir().expect("a temporary directory");
    let daemon = on(tree.path(), "");
    std::thread::sleep(Duration::from_secs(2));
    let shown = machine(&daemon);
    assert_eq!((&shown["firmware"], &shown["zones"]), (&Value::Null, &serde_json::json!([])));
    assert!(!daemon.log().contains("WARN") && !daemon.log().contains("ERROR"), "{}", daemon.log());
}

#[test]
fn a_sensor_that_hangs_is_told_by_the_age_of_what_is_shown() {
    let (tree, port) = (raspberry_pi(), free_port());
    let _peer = Peer::srt_live_transmit(port, "");
    let daemon = on(tree.path(), &test_stream(port, 300, ""));
    on_air(&daemon);
    let age = || machine(&daemon)["age_ms"].as_u64();
    eventually("it has looked", Duration::from_secs(10), || age().is_some_and(|age| age < 2000));
    let sensor = tree.path().join(TEMPERATURE);
    fs::remove_file(&sensor).expect("the sensor is removed");
    let made = Command::new("mkfifo").arg(&sensor).status().expect("mkfifo runs");
    assert!(made.success(), "who opens it waits for a writer that never comes");
    eventually("the age grows", Duration::from_secs(15), || age().is_some_and(|age| age > 4000));
    assert_eq!(machine(&daemon)["zones"][0]["celsius"], 61.812);
    let frames = || daemon.status()["encoder"]["frames"].as_u64().expect("frames");
    let before = frames();
    eventually("it streams on", Duration::from_secs(10), || frames() > before + 15);
}
