//! uplinkd with fake encoders: `UPLINKD_FAKES='vah264enc:stall_at=8s;vapostproc' uplinkd-with-fakes run ...`.
//!
//! The environment's `UPLINKD_FAKES` names elements and their faults, as `fake_encoders::quirks::parse` reads
//! them; empty, `none` or unset: none. Child processes inherit it, but for those that probe where
//! `UPLINKD_PROBE_FAKES` names a file: these read it anew each time, since hardware can come to its senses;
//! `slowly` before the elements in it stands for a runtime that takes 5 s to load. The rest is the daemon's own `main`.

#![allow(clippy::unwrap_used, reason = "fakes end at their first surprise, as tests do")]

#[path = "mod.rs"]
mod fake_encoders;

use std::process::ExitCode;

use clap::Parser;
use uplinkd::cli::Arguments;

fn main() -> ExitCode {
    let is_probe = std::env::args().nth(1).is_some_and(|command| command == "probe-encoder");
    let told = match std::env::var("UPLINKD_PROBE_FAKES") {
        Ok(file) if is_probe => {
            let told = std::fs::read_to_string(file).unwrap();
            match told.strip_prefix("slowly ") {
                Some(elements) => {
                    std::thread::sleep(std::time::Duration::from_secs(5));
                    elements.to_owned()
                }
                None => told,
            }
        }
        Ok(_) | Err(_) => std::env::var("UPLINKD_FAKES").unwrap_or_default(),
    };
    if let Err(reason) = fake_encoders::register_as_told(&told) {
        eprintln!("UPLINKD_FAKES: {reason}");
        return ExitCode::from(2);
    }
    uplinkd::cli::run(Arguments::parse())
}
