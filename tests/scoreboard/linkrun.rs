//! One sender through one link of our own model, in real time: what a link lab's `run.py` does, for the
//! scoreboard. Leaves `score.json` in its folder.

#[path = "../rate/bench.rs"]
#[allow(dead_code, reason = "the tests of the rate use the rest of it")]
mod bench;
#[path = "../rate/clips.rs"]
#[allow(dead_code, reason = "the tests of the rate use the rest of it")]
mod clips;
#[path = "../rate/frames.rs"]
#[allow(dead_code, reason = "the tests of the rate use the rest of it")]
mod frames;
#[path = "../rate/score.rs"]
#[allow(dead_code, reason = "the tests of the rate use the rest of it")]
mod score;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use uplinkd::link::Spec;
use uplinkd::units::Bitrate;

use bench::Bench;
use score::Terms;

#[derive(Parser)]
enum Arguments {
    /// Makes the clip that is sent, if it is not there yet, and prints its path
    Clip,
    /// Runs a sender
    Run(Box<Plan>),
}

#[derive(Args)]
struct Plan {
    /// In the spelling of `uplinkd demo --link`
    #[arg(long)]
    link: Spec,
    /// Seconds, from the sender's first packet
    #[arg(long)]
    duration: u64,
    /// Milliseconds
    #[arg(long)]
    latency: u64,
    /// The most that the sender's encoder may use
    #[arg(long)]
    max_kbps: u64,
    /// An existing folder
    #[arg(long)]
    out: PathBuf,
    /// The sender: a command of the shell with {dir}, {port} and {latency} in it
    #[arg(long)]
    cmd: String,
}

fn main() -> ExitCode {
    match Arguments::parse() {
        Arguments::Clip => {
            println!("{}", clips::motion().display());
            ExitCode::SUCCESS
        }
        Arguments::Run(plan) => match run(&plan) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("linkrun: {problem}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(plan: &Plan) -> Result<(), String> {
    gst::init().map_err(|error| format!("GStreamer does not start: {error}"))?;
    let latency = Duration::from_millis(plan.latency);
    let duration = Duration::from_secs(plan.duration);
    let bench = Bench::start(&plan.link, latency, 1);
    let mut sender = Sender::start(plan, bench.ports()[0])?;
    if !bench.starts_within(PATIENCE) {
        return Err(format!("the sender has not called within {PATIENCE:?}"));
    }
    let mut died = false;
    while bench.elapsed() < duration && !died {
        thread::sleep(Duration::from_millis(20));
        died = sender.has_ended()?;
    }
    sender.end(latency + PATIENCE)?;
    thread::sleep(latency + RELEASE_MARGIN);
    let seen = bench.finish();
    if died {
        return Err("the sender has ended before its time".to_owned());
    }
    let terms = Terms::new(&plan.link, latency, duration, Bitrate::from_kbps(plan.max_kbps));
    let score = seen.streams[0].recording.score(&terms).ok_or("no stream arrived")?;
    let path = plan.out.join("score.json");
    let text = serde_json::to_string_pretty(&score).map_err(|error| error.to_string())?;
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The sender's process, killed when dropped.
struct Sender(Child);

impl Sender {
    fn start(plan: &Plan, port: u16) -> Result<Sender, String> {
        let folder = plan.out.display().to_string();
        let command = (plan.cmd)
            .replace("{dir}", &folder)
            .replace("{port}", &port.to_string())
            .replace("{latency}", &plan.latency.to_string());
        let log = log(&plan.out).map_err(|error| format!("cannot write into {folder}: {error}"))?;
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        child.map(Sender).map_err(|error| format!("sh does not start: {error}"))
    }

    fn has_ended(&mut self) -> Result<bool, String> {
        let status = self.0.try_wait().map_err(|error| format!("cannot ask for the sender: {error}"))?;
        Ok(status.is_some())
    }

    /// Asks it to end, and waits until it has.
    fn end(&mut self, patience: Duration) -> Result<(), String> {
        if self.has_ended()? {
            return Ok(());
        }
        let told = Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            return Err("cannot tell the sender to end".to_owned());
        }
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if self.has_ended()? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("the sender did not end within {patience:?}"))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // One that has ended in order can be neither killed nor waited for again: then all is well.
        if self.0.kill().is_ok()
            && let Err(error) = self.0.wait()
        {
            eprintln!("linkrun: cannot wait for the sender: {error}");
        }
    }
}

fn log(folder: &Path) -> io::Result<File> {
    File::create(folder.join("sender.log"))
}

/// For a start on a busy machine, and for an end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The last packet is released a latency after it was sent; then the receiver hands it on.
const RELEASE_MARGIN: Duration = Duration::from_millis(500);
