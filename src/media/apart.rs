//! Work that may never end: a driver that hangs holds a thread of ours for ever, and must hold no more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::error::Error;

/// Threads that were given up and have not ended since, in the whole process.
pub fn threads_left_behind() -> usize {
    LEFT_BEHIND.load(Ordering::Relaxed)
}

/// Does `work` on a thread of its own. `Ok(None)`: it was not done within `limit`; the thread is left
/// behind, and what it may give later is dropped there. `name` is the thread's, of at most 15 bytes;
/// `about` says in the log what hangs.
///
/// # Errors
/// When there is no further thread; `work` is dropped then.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    name: &'static str,
    about: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Error> {
    let slot = Arc::new(Slot { outcome: Mutex::new(Outcome::Pending), settled: Condvar::new() });
    let theirs = slot.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || theirs.settle(work(), name, about))
        .map_err(|source| Error::Thread { name, source })?;
    Ok(slot.wait(limit, name, about))
}

/// As [`within`], for work whose end nobody waits for.
pub(super) fn alone(
    limit: Duration,
    name: &'static str,
    about: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if let Err(error) = within(limit, name, about, work) {
                log::error!(thread = name, about; "{error}");
            }
        })
        .map(drop)
        .map_err(|source| Error::Thread { name, source })
}

struct Slot<T> {
    outcome: Mutex<Outcome<T>>,
    settled: Condvar,
}

enum Outcome<T> {
    Pending,
    Done(Option<T>),
    GivenUp,
}

impl<T> Slot<T> {
    fn settle(&self, result: T, thread: &'static str, about: &'static str) {
        let mut outcome = self.lock();
        match *outcome {
            Outcome::Pending | Outcome::Done(_) => {
                *outcome = Outcome::Done(Some(result));
                self.settled.notify_all();
            }
            Outcome::GivenUp => {
                drop(outcome);
                drop(result); // may hang in its turn
                LEFT_BEHIND.fetch_sub(1, Ordering::Relaxed);
                log::warn!(thread, about; "a thread that was given up has ended after all");
            }
        }
    }

    fn wait(&self, limit: Duration, thread: &'static str, about: &'static str) -> Option<T> {
        let is_pending = |outcome: &mut Outcome<T>| matches!(outcome, Outcome::Pending);
        let (mut outcome, _) = self
            .settled
            .wait_timeout_while(self.lock(), limit, is_pending)
            .unwrap_or_else(PoisonError::into_inner);
        match &mut *outcome {
            Outcome::Done(result) => result.take(),
            Outcome::Pending | Outcome::GivenUp => {
                *outcome = Outcome::GivenUp;
                let left_behind = LEFT_BEHIND.fetch_add(1, Ordering::Relaxed) + 1;
                let seconds = limit.as_secs_f64();
                log::error!(thread, about, seconds, left_behind; "does not return: its thread is left behind");
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outcome<T>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_ends_in_time_is_given_back_and_what_hangs_is_left_behind_and_counted() {
        let before = threads_left_behind();
        assert_eq!(within(LONG, "test", "nothing", || 7).unwrap(), Some(7));
        let (release, hang) = mpsc::channel::<()>();
        let (dropped, was_dropped) = mpsc::channel();
        let begun = Instant::now();
        let work = move || {
            hang.recv().unwrap_err();
            DropNote(dropped)
        };
        assert!(within(Duration::from_millis(50), "test", "a driver", work).unwrap().is_none());
        assert!(begun.elapsed() < LONG);
        assert!(threads_left_behind() > before);
        drop(release);
        was_dropped.recv_timeout(LONG).expect("what came too late is dropped over there");
    }

    struct DropNote(mpsc::Sender<()>);

    impl Drop for DropNote {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    const LONG: Duration = Duration::from_secs(5);
}
