//! The daemon over hours, with faults of its link, its source and those who ask it things: `make lab-soak`.
//!
//! One output is next to it, and must see one stream from beginning to end. The other is behind a link that changes,
//! loses and fails; what that link costs is counted, never torn.

#[path = "daemon/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the stream, which use the rest of it")]
mod harness;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;
use uplinkd::demo::checker::{Checker, Report};
use uplinkd::link::Spec;
use uplinkd::link::relay::Relay;

use harness::{Daemon, Peer, free_port, make_clip};

/// Reads `UPLINKD_SOAK_MINUTES` (60) and `UPLINKD_SOAK_SEED` (1).
#[test]
#[ignore = "an hour: make lab-soak"]
fn nothing_grows_and_nothing_tears() {
    let span = Duration::from_secs(60 * setting("UPLINKD_SOAK_MINUTES", 60));
    let seed = setting("UPLINKD_SOAK_SEED", 1);
    let clips = Clips::make();
    let (near_port, far_port) = (free_port(), free_port());
    let near = Peer::srt_live_transmit(near_port, "");
    let far = Peer::srt_live_transmit(far_port, "");
    let far_link = link(seed, span).parse::<Spec>().expect("a link");
    let relay = Relay::start(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], far_port).into(), far_link)
        .expect("the relay starts");
    let stream = configuration(&clips.used, near_port, relay.address().port());
    let mut daemon = Daemon::start(&stream);
    daemon.wait_for("streaming", Duration::from_secs(20));

    let (ended, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (faults, weights) = thread::scope(|scope| {
        let load = scope.spawn(|| ask_things(&daemon, seed, &ended, &asked));
        let course = course(&daemon, &relay, &clips, &stream, seed, span);
        ended.store(true, Ordering::Relaxed);
        load.join().expect("whoever asks gets answers");
        course
    });

    daemon.reload(&stream);
    daemon.wait_for("streaming", Duration::from_secs(60));
    thread::sleep(Duration::from_secs(3));
    let output = |name: &str| {
        let status = daemon.status();
        let outputs = status["outputs"].as_array().expect("outputs");
        outputs.iter().find(|output| output["name"] == name).expect("configured").clone()
    };
    let (of_near, of_far) = (output("near"), output("far"));
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(10)).success(), "{}", daemon.log());
    thread::sleep(Duration::from_secs(3)); // a receiver writes what it held for the latency
    let log = daemon.log();
    let (at_near, at_far) = (judge(near.recording()), judge(far.recording()));

    println!("{faults} faults in {} min, seed {seed}; {} answers", span.as_secs() / 60, asked.into_inner());
    for (minute, weight) in &weights {
        println!("minute {minute}: {weight:?}");
    }
    for (name, status, report) in [("near", &of_near, &at_near), ("far", &of_far, &at_far)] {
        let video = report.video.as_ref().expect("pictures");
        println!(
            "{name}: {} packets, {} continuity errors, {} backward timestamps, {} pictures ({} damaged), longest step \
             {} ms; {} connections, {} late packets, {} pictures left out since the output was configured",
            report.packets,
            report.continuity_errors(),
            report.backward_timestamps(),
            video.units,
            video.damaged,
            video.longest_step.as_millis(),
            status["connections"],
            status["late_packets"],
            status["left_out_frames"],
        );
    }

    assert_eq!(of_near["connections"], 1, "{of_near:#}");
    assert_eq!((at_near.continuity_errors(), at_near.backward_timestamps()), (0, 0), "{at_near:#?}");
    assert_eq!(at_near.video.as_ref().map(|video| video.damaged), Some(0), "{at_near:#?}");
    assert_eq!(at_far.backward_timestamps(), 0, "{at_far:#?}");
    let (late, lost) = (late_packets(&log, "far"), log.matches("connection lost").count());
    println!("far: {late} late packets over all its connections, of which {lost} were lost");
    assert!(
        late > 0 || lost > 0 || at_far.continuity_errors() == 0,
        "what is missing is counted: {at_far:#?}"
    );
    assert_flat(&weights);
}

/// The first window does not count: the flight recorder of each output fills for ten minutes.
fn assert_flat(weights: &[(u64, Weight)]) {
    let [_, first, between @ .., last] = weights else { panic!("too short: {weights:?}") };
    let growth = last.1.resident_kib as f64 / first.1.resident_kib as f64 - 1.0;
    println!("resident memory: {:+.1} % from minute {} to minute {}", 100.0 * growth, first.0, last.0);
    assert!(growth < MOST_GROWTH, "resident memory grew by {:.1} %", 100.0 * growth);
    let most = between.iter().fold(first.1, |most, (_, weight)| most.greatest(*weight));
    assert!(last.1.threads <= most.threads && last.1.descriptors <= most.descriptors, "{weights:?}");
}

/// What a process holds: the least that was seen in a window, so that what comes and goes does not count.
#[derive(Clone, Copy, Debug)]
struct Weight {
    resident_kib: u64,
    threads: usize,
    descriptors: usize,
}

impl Weight {
    fn of(daemon: &Daemon) -> Weight {
        Weight {
            resident_kib: daemon.resident_kib(),
            threads: daemon.count("task"),
            descriptors: daemon.count("fd"),
        }
    }

    fn greatest(self, other: Weight) -> Weight {
        Weight {
            resident_kib: self.resident_kib.max(other.resident_kib),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }

    fn least(self, other: Weight) -> Weight {
        Weight {
            resident_kib: self.resident_kib.min(other.resident_kib),
            threads: self.threads.min(other.threads),
            descriptors: self.descriptors.min(other.descriptors),
        }
    }
}

/// Lets faults happen for so long. Tells how many, and what the daemon weighed, by the minute at which each window
/// ended.
fn course(
    daemon: &Daemon,
    relay: &Relay,
    clips: &Clips,
    stream: &str,
    seed: u64,
    span: Duration,
) -> (u32, Vec<(u64, Weight)>) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (began, window) = (Instant::now(), span / WINDOWS);
    let (mut faults, mut weights, mut lightest) = (0, Vec::new(), None::<Weight>);
    let mut bag = Vec::new();
    let mut window_ends = window;
    while began.elapsed() < span {
        if bag.is_empty() {
            bag = Fault::ALL.to_vec();
            bag.shuffle(&mut random);
        }
        let fault = bag.pop().expect("filled just now");
        let lasts = Duration::from_millis(random.gen_range(500..8_000));
        fault.begin(daemon, relay, clips, stream);
        thread::sleep(lasts);
        fault.end(daemon, relay, clips, stream);
        faults += 1;
        let rest = Instant::now();
        while rest.elapsed() < Duration::from_millis(random.gen_range(2_000..6_000)) {
            let weight = Weight::of(daemon);
            lightest = Some(lightest.map_or(weight, |lightest| lightest.least(weight)));
            thread::sleep(Duration::from_millis(250));
        }
        if began.elapsed() >= window_ends {
            weights.extend(lightest.take().map(|weight| (began.elapsed().as_secs() / 60, weight)));
            window_ends += window;
        }
    }
    (faults, weights)
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing passes to the far output and back.
    Outage,
    /// The file is gone while it is played, and comes back.
    SourceGone,
    /// The file is no film any more.
    SourceSpoilt,
    /// A configuration that cannot be, by SIGHUP.
    WrongConfiguration,
    /// The far output is taken away and configured again.
    OutputRemoved,
    /// Another size: picture, sound and encoder start anew, and again.
    Resized,
    /// Other bounds and another slate, live.
    Adjusted,
}

impl Fault {
    const ALL: [Fault; 7] = [
        Fault::Outage,
        Fault::SourceGone,
        Fault::SourceSpoilt,
        Fault::WrongConfiguration,
        Fault::OutputRemoved,
        Fault::Resized,
        Fault::Adjusted,
    ];

    fn begin(self, daemon: &Daemon, relay: &Relay, clips: &Clips, stream: &str) {
        match self {
            Fault::Outage => relay.set_outage(true),
            Fault::SourceGone => std::fs::remove_file(&clips.used).expect("removed"),
            Fault::SourceSpoilt => std::fs::write(&clips.used, "no film").expect("written"),
            Fault::WrongConfiguration => daemon.reload("[streams.main]\nenabled = \"perhaps\""),
            Fault::OutputRemoved => {
                let (without, _) = stream.rsplit_once("[[").expect("two outputs");
                daemon.reload(without);
            }
            Fault::Resized => daemon.reload(&stream.replace("width = 320", "width = 256")),
            Fault::Adjusted => daemon.reload(
                &stream
                    .replace("max_kbps = 700", "max_kbps = 900")
                    .replace("framerate", "slate = \"hold\"\nframerate"),
            ),
        }
    }

    fn end(self, daemon: &Daemon, relay: &Relay, clips: &Clips, stream: &str) {
        match self {
            Fault::Outage => relay.set_outage(false),
            Fault::SourceGone | Fault::SourceSpoilt => {
                std::fs::copy(&clips.whole, &clips.used).expect("copied");
            }
            Fault::WrongConfiguration | Fault::OutputRemoved | Fault::Resized | Fault::Adjusted => {
                daemon.reload(stream);
            }
        }
    }
}

/// Asks whatever the API answers, and what it does not, at about thirty requests a second.
fn ask_things(daemon: &Daemon, seed: u64, ended: &AtomicBool, asked: &AtomicU64) {
    let mut random = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    while !ended.load(Ordering::Relaxed) {
        let path = *PATHS.choose(&mut random).expect("there are some");
        let status = match path {
            EVENTS => {
                let mut reader =
                    agent.get(daemon.url(path)).call().expect("an answer").into_body().into_reader();
                let mut some = [0; 512];
                reader.read_exact(&mut some).expect("the first event");
                200
            }
            "garbage" => {
                let mut wire = TcpStream::connect(daemon.address()).expect("it listens");
                wire.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").expect("written");
                400
            }
            "/v1/streams/main" if random.gen_bool(0.2) => {
                let wrong = agent.patch(daemon.url(path)).content_type("application/json");
                wrong.send(r#"{"rate":{"max_kbps":-1}}"#).expect("an answer").status().as_u16()
            }
            path => {
                let mut answer = agent.get(daemon.url(path)).call().expect("an answer");
                answer.body_mut().read_to_vec().expect("a body");
                answer.status().as_u16()
            }
        };
        let expected: &[u16] = match path {
            SNAPSHOT => &[200, 503],
            "/v1/streams/main" => &[200, 422],
            "/v1/nowhere" => &[404],
            "garbage" => &[400],
            _ => &[200],
        };
        assert!(expected.contains(&status), "{path}: {status}");
        asked.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(random.gen_range(0..60)));
    }
}

/// A clip that may be spoilt, and what it is mended with; gone with the directory.
struct Clips {
    _directory: TempDir,
    used: PathBuf,
    whole: PathBuf,
}

impl Clips {
    fn make() -> Clips {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (used, whole) = (directory.path().join("clip.mp4"), directory.path().join("whole.mp4"));
        make_clip(&whole, "320x180", 25, 7);
        std::fs::copy(&whole, &used).expect("copied");
        Clips { _directory: directory, used, whole }
    }
}

fn configuration(clip: &Path, near: u16, far: u16) -> String {
    format!(
        r#"
[streams.main]
enabled = true

[streams.main.video]
source = "file"
path = {clip:?}
width = 320
height = 180
framerate = 25
encoder = "software"

[streams.main.audio]
source = "file"

[streams.main.rate]
min_kbps = 100
max_kbps = 700
start_kbps = 400

[[streams.main.outputs]]
name = "near"
url = "srt://127.0.0.1:{near}"
latency_ms = 2000

[[streams.main.outputs]]
name = "far"
url = "srt://127.0.0.1:{far}"
latency_ms = 1000
lead = true
"#
    )
}

/// Its capacity changes every 10 to 40 s between a third of what the stream wants and twice that.
fn link(seed: u64, span: Duration) -> String {
    let mut random = Pcg64Mcg::seed_from_u64(seed ^ 0x11_4c);
    let mut spec = format!("rate=1500k,delay=30ms,jitter=5ms,loss=0.01,queue=60000,seed={seed}");
    let mut at = 20;
    while at < span.as_secs() {
        spec += &format!(",at={at}s:rate={}k", random.gen_range(300..2_000));
        at += random.gen_range(10..40);
    }
    spec
}

/// That it has told of as its connections ended.
fn late_packets(log: &str, output: &str) -> u64 {
    let ends = log
        .lines()
        .filter(|line| line.contains("connection ended") && line.contains(&format!(" output={output} ")));
    let late =
        ends.filter_map(|line| line.split_once(" late_packets=")?.1.split(' ').next()?.parse::<u64>().ok());
    late.sum()
}

/// The whole recording, a piece at a time.
fn judge(recording: &Path) -> Report {
    let (mut file, mut checker) = (File::open(recording).expect("a recording"), Checker::new());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).expect("the recording is read") {
            0 => return checker.report(Duration::ZERO),
            read => checker.feed(Duration::ZERO, &piece[..read]),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a whole number"))
}

/// Of the first: the acceptance's figure.
const MOST_GROWTH: f64 = 0.05;

/// In an hour each is as long as decisions are kept.
const WINDOWS: u32 = 6;

/// No answer takes so long, whatever is going on.
const PATIENCE: Duration = Duration::from_secs(10);

const EVENTS: &str = "/v1/events";
const SNAPSHOT: &str = "/v1/streams/main/snapshot.jpg";
const PATHS: [&str; 12] = [
    "/v1/streams/main",
    "/v1/streams/main",
    "/v1/streams/main",
    "/v1/streams",
    "/v1/streams/main/rate?last_s=60",
    SNAPSHOT,
    EVENTS,
    "/metrics",
    "/v1/config",
    "/v1/info",
    "/v1/nowhere",
    "garbage",
];
