//! What Prometheus scrapes, read by another's parser, and the files for it in `etc/`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use prometheus_parse::{Scrape, Value};

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};

type Samples = BTreeMap<String, f64>;

/// The page as text.
fn page(daemon: &Daemon) -> String {
    let mut response = ureq::get(daemon.url("/metrics")).call().expect("metrics");
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    response.body_mut().read_to_string().expect("text")
}

fn scrape(page: &str) -> Scrape {
    Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).expect("the parser takes it")
}

/// The counters, by name and labels.
fn counters(page: &str) -> Samples {
    let mut counters = Samples::new();
    for sample in scrape(page).samples {
        if let Value::Counter(count) = sample.value {
            let labels: BTreeMap<_, _> = sample.labels.iter().collect();
            counters.insert(format!("{} {labels:?}", sample.metric), count);
        }
    }
    counters
}

#[test]
fn a_running_stream_is_measured() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1200)); // rates are of the last second
        let text = page(&daemon);
        let scrape = scrape(&text);
        let value = |name: &str, labels: &[(&str, &str)]| -> f64 {
            let found = scrape.samples.iter().find(|sample| {
                sample.metric == name
                    && labels.iter().all(|(key, value)| sample.labels.get(key) == Some(*value))
            });
            match found.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{text}")).value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                ref other => panic!("{name}: {other:?}"),
            }
        };
        let main = ("stream", "main");
        let studio = [main, ("output", "studio")];
        assert_eq!(value("uplinkd_stream_state", &[main, ("state", "streaming")]), 1.0);
        assert_eq!(value("uplinkd_stream_state", &[main, ("state", "failed")]), 0.0);
        assert_eq!(value("uplinkd_output_state", &[main, ("output", "studio"), ("state", "streaming")]), 1.0);
        let target = value("uplinkd_rate_target_bytes_per_second", &[main]);
        assert!((300_000.0 / 8.0..=2_000_000.0 / 8.0).contains(&target), "{target}");
        for (name, least, most) in [
            ("uplinkd_srt_rtt_seconds", 0.0, 1.0),
            ("uplinkd_srt_send_buffer_seconds", 0.0, 1.0),
            ("uplinkd_srt_latency_seconds", 0.3, 0.3),
            ("uplinkd_srt_packets_sent_total", 10.0, 1e6),
            ("uplinkd_srt_packets_retransmitted_total", 0.0, 1e6),
            ("uplinkd_srt_packets_lost_total", 0.0, 1e6),
            ("uplinkd_srt_packets_dropped_total", 0.0, 1e6),
            ("uplinkd_srt_bytes_acknowledged_total", 10_000.0, 1e9),
        ] {
            let value = value(name, &studio);
            assert!((least..=most).contains(&value), "{name} {value}");
        }
        assert!(value("uplinkd_encoder_output_bytes_total", &[main]) > 10_000.0);
        assert!(value("uplinkd_encoder_frames_per_second", &[main]) > 5.0);
        assert_eq!(value("uplinkd_encoder_info", &[main, ("element", "x264enc")]), 1.0);
        assert_eq!(value("uplinkd_source_lost_total", &[main, ("reason", "no_frames")]), 0.0);
        assert!((-40.0..=0.0).contains(&value("uplinkd_audio_peak_decibels", &[main, ("channel", "left")])));
        assert_eq!(value("uplinkd_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
        assert!(value("process_resident_memory_bytes", &[]) > 1e6);
        assert!(value("process_cpu_seconds_total", &[]) > 0.0);
        assert!(value("process_open_fds", &[]) > 3.0);

        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(text.contains(&format!("# HELP {name} ")), "{line}");
            assert!(name.starts_with("uplinkd_") || name.starts_with("process_"), "{line}");
        }
        dashboards_name_what_exists(&text);
        promtool(&["check", "metrics"], &text);
    });
}

#[test]
fn counters_never_go_back_while_what_they_count_begins_anew() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        let mut before = counters(&page(&daemon));
        for action in ["restart", "stop", "start"] {
            assert_eq!(daemon.act(action), 202);
            for _ in 0..20 {
                let now = counters(&page(&daemon));
                for (counter, count) in &before {
                    let later = now.get(counter).unwrap_or_else(|| panic!("{counter} has gone"));
                    assert!(later >= count, "{counter} went from {count} to {later} after {action}");
                }
                before = now;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        daemon.wait_for("streaming", Duration::from_secs(10));
        let sent = |counters: &Samples| {
            let is_it = |(name, _): &(&String, &f64)| name.starts_with("uplinkd_srt_packets_sent_total");
            counters.iter().find(is_it).map(|(_, count)| *count).expect("it is there")
        };
        eventually("it goes on", Duration::from_secs(5), || sent(&counters(&page(&daemon))) > sent(&before));
    });
}

#[test]
fn what_runs_where_is_told() {
    let daemon = Daemon::start("");
    let (status, _, info) = get(daemon.url("/v1/info"), &[]);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    assert_eq!((status, &info["kernel"]), (200, &format!("Linux {}", release.trim()).into()));
    for field in ["version", "host", "architecture", "gstreamer", "started", "time"] {
        assert!(info[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {info:#}");
    }
}

/// Of every expression of the dashboard, each metric is on this page.
fn dashboards_name_what_exists(page: &str) {
    let names: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<_> =
            words.filter(|word| word.starts_with("uplinkd_") || word.starts_with("process_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(names.contains(metric), "{metric} of {expression} is no metric");
        }
    }
}

fn dashboard_expressions() -> Vec<String> {
    let text = std::fs::read_to_string(etc("grafana/uplinkd.json")).expect("the dashboard is read");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let asked = targets.map(|target| target["expr"].as_str().expect("an expression").to_owned());
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    asked.chain(variables.filter_map(|variable| Some(variable["definition"].as_str()?.to_owned()))).collect()
}

#[test]
fn the_scrape_configuration_and_the_dashboards_expressions_are_prometheus_own_language() {
    let configuration = etc("prometheus/uplinkd.yml");
    promtool(&["check", "config", "--syntax-only", &configuration.display().to_string()], "");

    // Grafana's own functions and variables, as it would fill them in.
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in
        dashboard_expressions().iter().filter(|it| !it.starts_with("label_values")).enumerate()
    {
        let expression = expression.replace("$__rate_interval", "1m");
        rules += &format!("  - record: dashboard_{number}\n    expr: {expression:?}\n");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("rules.yml");
    std::fs::write(&path, rules).expect("the rules are written");
    promtool(&["check", "rules", "--lint=none", &path.display().to_string()], "");
}

/// Prometheus' own judge, where it is installed: it comes with a server that nobody wants only for that. `make lab`
/// sees to it.
fn promtool(arguments: &[&str], input: &str) {
    let started = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if std::env::var_os("UPLINKD_PROMTOOL").is_some() => panic!("promtool: {error}"),
        Err(error) => return eprintln!("promtool is not asked about {arguments:?}: {error}"),
    };
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}{}", said[0], said[1]);
}

fn etc(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(file)
}
