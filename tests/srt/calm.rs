//! Measurements in real time, which a machine that is busy with something else falsifies.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime;

/// Runs a measurement while no other is run; again where it fails and threads were kept from running in the
/// meantime: then it was the machine that was measured.
pub fn calmly<M: Future<Output = ()>>(measure: impl Fn() -> M) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for attempt in 1.. {
        let canary = Canary::start();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(measure())));
        drop(runtime);
        let late = canary.stop();
        match outcome {
            Ok(()) => return,
            Err(_) if late > CALM && attempt < ATTEMPTS => {
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
        self.watching.join().unwrap()
    }
}

const NAP: Duration = Duration::from_millis(2);
/// A scheduler's slice is a few milliseconds: later than this something else has the processors.
const CALM: Duration = Duration::from_millis(8);
const ATTEMPTS: u32 = 6;
