//! Tests of what happens in real time, which a machine that is busy with something else falsifies.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Runs it; up to so many times while it fails and threads were kept from running in the meantime: then it was
/// the machine that was tested.
pub fn calmly(attempts: u32, test: impl Fn()) {
    for attempt in 1.. {
        let canary = Canary::start();
        let outcome = catch_unwind(AssertUnwindSafe(&test));
        let late = canary.stop();
        match outcome {
            Ok(()) => return,
            Err(_) if late > CALM && attempt < attempts => {
                eprintln!("a thread was kept from running for {late:?}: attempt {attempt} says nothing");
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// A thread with next to nothing to do, which sees how late it is woken.
struct Canary {
    ended: Arc<AtomicBool>,
    watching: JoinHandle<Duration>,
}

impl Canary {
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
        Canary { ended, watching }
    }

    /// How late it was woken at the worst.
    fn stop(self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        self.watching.join().expect("it only sleeps")
    }
}

const NAP: Duration = Duration::from_millis(2);
/// A scheduler's slice is a few milliseconds: later than this something else has the processors.
const CALM: Duration = Duration::from_millis(8);
