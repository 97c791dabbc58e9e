//! Tests of what happens in real time, which a machine that is busy with something else falsifies.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// Runs it; up to so many times while it fails and the machine was too busy meanwhile: then it was the machine
/// that was tested.
pub fn calmly(attempts: u32, test: impl Fn()) {
    for attempt in 1.. {
        let observer = Observer::start();
        let outcome = catch_unwind(AssertUnwindSafe(&test));
        let load = observer.stop();
        match outcome {
            Ok(()) => return,
            Err(_) if load.is_too_much() && attempt < attempts => {
                eprintln!("{load}: attempt {attempt} says nothing");
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// The same of what is asynchronous, each time on a runtime of its own.
#[allow(dead_code, reason = "not every program of tests has such")]
pub fn calmly_async<T: Future<Output = ()>>(attempts: u32, test: impl Fn() -> T) {
    calmly(attempts, || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(test());
    });
}

/// Sees how busy the machine is: by a thread with next to nothing to do, which knows how late it is woken, and by
/// what the kernel says of all others.
struct Observer {
    ended: Arc<AtomicBool>,
    watching: JoinHandle<Duration>,
    since: Instant,
    waited: Option<Duration>,
}

impl Observer {
    fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = ended.clone();
        let watching = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !is_ended.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(NAP);
                longest = longest.max(before.elapsed() - NAP);
            }
            longest
        });
        Observer { ended, watching, since: Instant::now(), waited: waited_for_processors() }
    }

    fn stop(self) -> Load {
        let waited =
            waited_for_processors().zip(self.waited).map_or(Duration::ZERO, |(now, then)| now - then);
        let waited_percent = 100.0 * waited.as_secs_f64() / self.since.elapsed().as_secs_f64();
        self.ended.store(true, Ordering::Relaxed);
        Load { late: self.watching.join().expect("it only sleeps"), waited_percent }
    }
}

struct Load {
    /// How late a thread was woken at the worst.
    late: Duration,
    /// Of the time, that in which something that could have run had no processor.
    waited_percent: f64,
}

impl Load {
    fn is_too_much(&self) -> bool {
        self.late > CALM || self.waited_percent > CALM_PERCENT
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { late, waited_percent } = self;
        write!(f, "a thread was woken {late:?} late, and for {waited_percent:.0} % of the time one waited")
    }
}

/// As long as something has waited for a processor since the machine was started (the kernel's pressure stall
/// information); `None` where it does not say.
fn waited_for_processors() -> Option<Duration> {
    let pressure = fs::read_to_string("/proc/pressure/cpu").ok()?;
    let total = pressure.lines().find(|line| line.starts_with("some "))?.split_once("total=")?.1;
    total.trim().parse().ok().map(Duration::from_micros)
}

const NAP: Duration = Duration::from_millis(2);
/// A scheduler's slice is a few milliseconds: later than this something else has the processors.
const CALM: Duration = Duration::from_millis(8);
/// An encoder of a small picture and its receiver let one another wait for about a twentieth of the time.
const CALM_PERCENT: f64 = 25.0;
