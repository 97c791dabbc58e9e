//! Judges a recorded transport stream with the project's own checker: a line `name value` for each figure.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use uplinkd::demo::checker::{Checker, Report};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: tscheck RECORDING");
        return ExitCode::from(2);
    };
    match check(Path::new(&path)) {
        Ok(report) => {
            print(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{} cannot be read: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> io::Result<Report> {
    let mut file = File::open(path)?;
    let mut checker = Checker::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(checker.report(Duration::ZERO)),
            read => checker.feed(Duration::ZERO, &piece[..read]),
        }
    }
}

fn print(report: &Report) {
    println!("packets {}", report.packets);
    println!("continuity_errors {}", report.continuity_errors());
    println!("torn {}", report.sync_byte_errors + report.sync_losses + report.transport_errors);
    println!("backward_timestamps {}", report.backward_timestamps());
    if let Some(video) = &report.video {
        println!("pictures {}", video.units);
        println!("damaged_pictures {}", video.damaged);
        println!("longest_step_ms {}", video.longest_step.as_millis());
    }
}

/// Bytes read at a time.
const PIECE: usize = 1 << 20;
