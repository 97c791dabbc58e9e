//! The command line: what each command does, and its exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, or drained after SIGTERM or SIGINT |
//! | 1 | something else went wrong: the message says what |
//! | 69 | GStreamer is unusable (never "no camera") |
//! | 75 | another daemon is in the way |
//! | 77 | `ctl` only: not permitted |
//! | 78 | the configuration is wrong |

mod check_config;
mod ctl;
mod daemon;
mod decode_sample;
mod demo;
mod devices;
mod key_files;
mod probe_encoder;
mod reach;
mod report;
mod simulate;
mod withheld;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::causes::with_causes;
use crate::machine::SYS;
use crate::{media, telemetry};

/// A live encoder: camera and sound in, hardware encoding, MPEG-TS over SRT out.
#[derive(Debug, Parser)]
#[command(name = "uplinkd", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon, from its configuration file
    Run {
        #[arg(long, value_name = "PATH", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Where the kernel tells how the machine does: another place in tests
        #[arg(long, value_name = "PATH", default_value = SYS, hide = true)]
        sys: PathBuf,
    },
    /// The whole job on this machine, over an emulated link, to a receiver that checks what arrives
    Demo(demo::DemoArguments),
    /// Parse a configuration and check it against this machine; all errors at once
    CheckConfig {
        #[arg(value_name = "PATH", default_value = DEFAULT_CONFIG)]
        path: PathBuf,
    },
    /// Ask a running daemon: status, start, stop, restart, keyframe, rate, events
    Ctl(ctl::CtlArguments),
    /// Cameras, sound inputs and encoders of this machine, with what probes say of each encoder
    Devices(devices::DevicesArguments),
    /// What `devices` and the daemon run to probe an encoder: one trial, one line of JSON
    #[command(hide = true)]
    ProbeEncoder(probe_encoder::ProbeArguments),
    /// What the daemon runs to decode a sample of what its encoder gives: units in, one line of JSON out
    #[command(hide = true)]
    DecodeSample(decode_sample::SampleArguments),
    /// Everything that somebody who helps wants to know, in one archive without secrets
    Report(report::ReportArguments),
    /// The rate controller over a simulated link, much faster than real time
    Simulate(Box<simulate::SimulateArguments>),
    /// Print the version
    Version,
}

/// Runs the command to its end.
pub fn run(arguments: Arguments) -> ExitCode {
    if !media::prepare() {
        eprintln!(
            "threads run already: GStreamer is not told how to live with full disks and closed cameras"
        );
    }
    let result = match arguments.command {
        Command::Run { config, sys } => daemon::run(&config, sys),
        Command::Demo(arguments) => demo::run(arguments),
        Command::CheckConfig { path } => check_config::run(&path),
        Command::Ctl(arguments) => ctl::run(arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::ProbeEncoder(arguments) => probe_encoder::run(&arguments),
        Command::DecodeSample(arguments) => decode_sample::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Version => say(&format!("uplinkd {}\n", env!("CARGO_PKG_VERSION"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            telemetry::last_words(failure.event, &failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command ended without doing its job: for people, and for the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
    /// What the journal calls it.
    event: &'static str,
}

impl Failure {
    fn configuration(message: impl ToString) -> Self {
        Failure { message: message.to_string(), code: EX_CONFIG, event: "configuration_wrong" }
    }

    fn gstreamer(error: impl Error) -> Self {
        Failure { message: with_causes(&error), code: EX_UNAVAILABLE, event: "gstreamer_unusable" }
    }

    /// With a code of its own.
    fn coded(message: String, code: u8) -> Self {
        Failure { message, code, event: "failed" }
    }

    /// Something else has what this needs, and will let go of it some time.
    fn in_the_way(message: String) -> Self {
        Failure { message, code: EX_TEMPFAIL, event: "another_daemon" }
    }

    fn plain(message: &str) -> Self {
        Failure { message: message.to_string(), code: EX_OTHER, event: "failed" }
    }

    fn other(error: impl Error) -> Self {
        Failure { message: with_causes(&error), code: EX_OTHER, event: "failed" }
    }
}

/// Writes to standard output, which may be a full disk or a closed pipe.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::other)
}

/// Runs a daemon or a demo to its end, on a runtime of its own. A call that hangs in a driver, a
/// file server or a name look-up is left behind after a moment: it must not keep the process from
/// ending. The moment is for what ends by being dropped: sockets that say farewell, files that go.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(FAREWELL);
    Ok(result)
}

fn runtime() -> Result<Runtime, Failure> {
    // Two threads at least, so that one that opens a pipeline does not stop the network.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().map_err(Failure::other)
}

const FAREWELL: Duration = Duration::from_millis(500);

/// `sysexits.h`: a service that is needed is not there.
const EX_UNAVAILABLE: u8 = 69;

/// `sysexits.h`: what is in the way may go away.
const EX_TEMPFAIL: u8 = 75;

/// `sysexits.h`: something in the configuration is wrong.
const EX_CONFIG: u8 = 78;

const EX_OTHER: u8 = 1;

const DEFAULT_CONFIG: &str = "/etc/uplinkd/uplinkd.toml";
