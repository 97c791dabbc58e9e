//! Questions to drivers, at arm's length: some never answer, and what some answer makes the v4l crate panic.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Error;

/// Has `question` asked of the device at `node` on a thread of its own, and waits for the answer for at
/// most [`PATIENCE`]. One that does not answer is not asked for ever: each question holds a thread.
///
/// # Errors
/// What the question says; else [`Error::Hung`] or [`Error::Malformed`].
pub fn ask<T: Send + 'static>(
    node: &Path,
    question: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let hung = || Error::Hung { node: node.to_owned() };
    let Some(asking) = Asking::begin(node) else { return Err(hung()) };
    let (sender, answer) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("v4l2".to_owned()).spawn(move || {
        let said = panic::catch_unwind(AssertUnwindSafe(question));
        drop(asking);
        if let Err(late) = sender.send(said) {
            drop(late); // nobody waits any more; the device that it may hold is closed here
        }
    });
    thread.map_err(|source| Error::Thread { source })?;
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(said)) => said,
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(Error::Malformed { node: node.to_owned() }),
        Err(RecvTimeoutError::Timeout) => Err(hung()),
    }
}

/// One question that is not answered yet.
struct Asking(PathBuf);

impl Asking {
    /// `None` where too many hang there already.
    fn begin(node: &Path) -> Option<Asking> {
        let mut unanswered = unanswered();
        let count = unanswered.entry(node.to_owned()).or_insert(0);
        if *count == TOGETHER {
            return None;
        }
        *count += 1;
        Some(Asking(node.to_owned()))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut unanswered = unanswered();
        if let Some(count) = unanswered.get_mut(&self.0) {
            *count -= 1;
        }
        unanswered.retain(|_, count| *count > 0);
    }
}

/// Questions by the node that they were asked of.
fn unanswered() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    static UNANSWERED: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());
    UNANSWERED.lock().unwrap_or_else(PoisonError::into_inner) // each change of it is whole
}

/// USB cameras answer a list of all that they have within half a second, slow ones within two.
const PATIENCE: Duration = Duration::from_secs(5);

/// Questions to one device at a time, those that hang included: of a stream, of the API and of its owner.
const TOGETHER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_a_refusal_and_a_panic() {
        let node = Path::new("/dev/video-answers");
        assert_eq!(ask(node, || Ok(7)).unwrap(), 7);
        assert!(matches!(ask(node, || Err::<(), _>(Error::None)), Err(Error::None)));
        let error = ask::<()>(node, || panic!("not UTF-8")).unwrap_err();
        assert_eq!(error.to_string(), "what the driver of /dev/video-answers says is malformed");
        assert_eq!(ask(node, || Ok(7)).unwrap(), 7, "and it may be asked again");
    }

    #[test]
    fn a_driver_that_hangs_holds_few_threads_and_no_caller() {
        let node = Path::new("/dev/video-hangs");
        let held: Vec<_> = (0..TOGETHER).map(|_| Asking::begin(node).unwrap()).collect();
        let error = ask(node, || Ok(7)).unwrap_err();
        assert_eq!(error.to_string(), "the driver of /dev/video-hangs does not answer");
        assert_eq!(ask(Path::new("/dev/video-other"), || Ok(7)).unwrap(), 7);
        drop(held);
        assert_eq!(ask(node, || Ok(7)).unwrap(), 7, "it has woken up");
    }
}
