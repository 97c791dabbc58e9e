//! Work that may never end: a driver that hangs holds a thread of ours for ever, and must hold no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::error::Error;

/// Threads that were given up and have not ended since, in the whole process.
pub fn threads_left_behind() -> usize {
    left_behind().values().sum()
}

/// Whether so many threads hang in what this is about that it would be no use to let one more try.
///
/// # Errors
/// When they are [`MOST_LEFT_BEHIND`]: in words, what would free them.
pub(super) fn refuse_hopeless(about: &'static str) -> Result<(), String> {
    let count = left_behind().get(about).copied().unwrap_or_default();
    if count < MOST_LEFT_BEHIND {
        return Ok(());
    }
    Err(format!(
        "{count} threads hang in {about}: it is not tried again before they return or uplinkd is restarted"
    ))
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
                if let Some(count) = left_behind().get_mut(about) {
                    *count = count.saturating_sub(1);
                }
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
                *left_behind().entry(about).or_default() += 1;
                let left_behind = threads_left_behind();
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

/// By what they hang in. A panic while it is held leaves a number that is right.
fn left_behind() -> MutexGuard<'static, BTreeMap<&'static str, usize>> {
    LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)
}

static LEFT_BEHIND: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

/// Of one driver. Each holds a stack (8 MB of addresses, some tens of kilobytes of memory) and what of the device its
/// driver holds; an encoder that hangs at each attempt is tried a few times a day.
const MOST_LEFT_BEHIND: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_ends_in_time_is_given_back_and_what_hangs_is_left_behind_and_counted() {
        let of_this_one = || left_behind().get("a driver that hangs once").copied().unwrap_or_default();
        assert_eq!(within(LONG, "test", "nothing", || 7).unwrap(), Some(7));
        let (release, hang) = mpsc::channel::<()>();
        let (dropped, was_dropped) = mpsc::channel();
        let begun = Instant::now();
        let work = move || {
            hang.recv().unwrap_err();
            DropNote(dropped)
        };
        assert!(
            within(Duration::from_millis(50), "test", "a driver that hangs once", work).unwrap().is_none()
        );
        assert!(begun.elapsed() < LONG);
        assert_eq!(of_this_one(), 1);
        assert!(threads_left_behind() >= 1);
        drop(release);
        was_dropped.recv_timeout(LONG).expect("what came too late is dropped over there");
    }

    #[test]
    fn a_driver_that_always_hangs_does_not_take_all_threads() {
        let driver = "a driver that always hangs";
        let mut releases = Vec::new();
        for _ in 0..MOST_LEFT_BEHIND {
            assert_eq!(refuse_hopeless(driver), Ok(()));
            let (release, hang) = mpsc::channel::<()>();
            releases.push(release);
            let work = move || hang.recv().unwrap_err();
            assert!(within(Duration::from_millis(1), "test", driver, work).unwrap().is_none());
        }
        let refused = refuse_hopeless(driver).unwrap_err();
        assert!(refused.starts_with("8 threads hang in a driver that always hangs: "), "{refused}");
        assert_eq!(refuse_hopeless("another driver"), Ok(()));
        releases.clear();
        let limit = Instant::now() + LONG;
        while refuse_hopeless(driver).is_err() {
            assert!(Instant::now() < limit, "they have returned");
            thread::sleep(Duration::from_millis(5));
        }
    }

    struct DropNote(mpsc::Sender<()>);

    impl Drop for DropNote {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    const LONG: Duration = Duration::from_secs(5);
}
