//! Judges a recorded transport stream with the project's own checker: a line `name value` for each figure. With
//! `--marks` it decodes the recording instead, and says how far beeps are behind the test picture's flashes.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use uplinkd::demo::alignment::Alignment;
use uplinkd::demo::checker::{Checker, Report};
use uplinkd::demo::decode::Decoder;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (judged, path) = match arguments.as_slice() {
        [path] => (check(Path::new(path)).map(|report| print(&report)).map_err(Into::into), path),
        [option, path] if option == "--marks" => (marks(Path::new(path)).map(print_marks), path),
        _ => {
            eprintln!("usage: tscheck [--marks] RECORDING");
            return ExitCode::from(2);
        }
    };
    match judged {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} cannot be judged: {error}", path.display());
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

/// How far apart picture and sound are; unlike the decoder's own, the extremes are those of the whole.
fn marks(path: &Path) -> Result<Option<Alignment>, Box<dyn Error>> {
    uplinkd::media::init()?;
    let mut file = File::open(path)?;
    let decoder = Decoder::start()?;
    let mut whole: Option<Alignment> = None;
    let mut add = |newest: Option<Alignment>| {
        let Some(newest) = newest else { return };
        let sum = whole.get_or_insert(newest);
        (sum.marks, sum.offset_ms) = (newest.marks, newest.offset_ms);
        sum.smallest_ms = sum.smallest_ms.min(newest.smallest_ms);
        sum.largest_ms = sum.largest_ms.max(newest.largest_ms);
    };
    let mut piece = vec![0; MARKS_PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        let began = Instant::now();
        while !decoder.feed(&piece[..read]) {
            if began.elapsed() > PATIENCE {
                return Err("its decoder has stopped".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        add(decoder.alignment());
    }
    add(decoder.finish());
    Ok(whole)
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
    if let Some(audio) = &report.audio {
        println!("sounds {}", audio.sound_frames);
        println!("damaged_sounds {}", audio.damaged + audio.unreadable);
        println!("longest_sound_step_ms {}", audio.longest_step.as_millis());
    }
}

fn print_marks(found: Option<Alignment>) {
    let Some(found) = found else { return println!("marks 0") };
    println!("marks {}", found.marks);
    println!("mark_offset_ms {:.1}", found.offset_ms);
    println!("mark_smallest_ms {:.1}", found.smallest_ms);
    println!("mark_largest_ms {:.1}", found.largest_ms);
}

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Likewise: seconds of a stream, of which the decoder remembers minutes.
const MARKS_PIECE: usize = 1 << 17;

/// For what waits in the decoder, which takes far less.
const PATIENCE: Duration = Duration::from_secs(60);
