//! Arguments → command → exit code; the rest is in the library.

use std::process::ExitCode;

use clap::Parser;
use uplinkd::cli::Arguments;

fn main() -> ExitCode {
    uplinkd::cli::run(Arguments::parse())
}
