//! uplinkd with fake encoders: `UPLINKD_FAKES='vah264enc:stall_at=8s;vapostproc' uplinkd-with-fakes run ...`.
//!
//! The environment's `UPLINKD_FAKES` names elements and their faults, as `fake_encoders::quirks::parse` reads
//! them; empty, `none` or unset: none. Child processes inherit it. The rest is the daemon's own `main`.

#![allow(clippy::unwrap_used, reason = "fakes end at their first surprise, as tests do")]

#[path = "mod.rs"]
mod fake_encoders;

use std::process::ExitCode;

use clap::Parser;
use uplinkd::cli::Arguments;

fn main() -> ExitCode {
    let told = std::env::var("UPLINKD_FAKES").unwrap_or_default();
    if let Err(reason) = fake_encoders::register_as_told(&told) {
        eprintln!("UPLINKD_FAKES: {reason}");
        return ExitCode::from(2);
    }
    uplinkd::cli::run(Arguments::parse())
}
