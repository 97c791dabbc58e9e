//! What this process takes of its machine, as the kernel counts it.

use std::fs;
use std::io;
use std::time::{Instant, SystemTime};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    pub descriptors: u64,
    /// Infinite where nothing bounds them.
    pub most_descriptors: f64,
    pub started_unix_seconds: f64,
}

impl Process {
    /// # Errors
    /// When `/proc` cannot be read, or is not what it should be.
    pub fn of_this(started: Instant) -> io::Result<Process> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has another form"))?;
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64;
        let most_descriptors = getrlimit(Resource::Nofile).current;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Process {
            cpu_seconds: stat.cpu_ticks as f64 / clock_ticks_per_second() as f64,
            resident_bytes: stat.resident_pages * page_size() as u64,
            virtual_bytes: stat.virtual_bytes,
            threads: stat.threads,
            descriptors,
            most_descriptors: most_descriptors.map_or(f64::INFINITY, |most| most as f64),
            started_unix_seconds: since_1970.saturating_sub(started.elapsed()).as_secs_f64(),
        })
    }
}

/// Some of `proc(5)`'s `/proc/pid/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// User and system.
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The second field is the program's name in brackets, which may hold anything.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - FIRST_AFTER_NAME)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// `proc(5)` counts from 1.
const FIRST_AFTER_NAME: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 17 0 99 123456 321 18446744073709551615";
        let expected = Stat { cpu_ticks: 200, threads: 17, virtual_bytes: 123_456, resident_pages: 321 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("42 (x) S 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let process = Process::of_this(Instant::now()).unwrap();
        assert!(process.resident_bytes > 1_000_000 && process.virtual_bytes > process.resident_bytes);
        assert!(process.threads >= 1 && process.descriptors >= 3, "{process:?}");
        assert!(process.started_unix_seconds > 1.7e9, "{process:?}");
    }
}
