//! Looks at files and devices that may never answer: a file server may be away for hours, and a change must not wait
//! for it, nor all that come after.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::blocking;

/// Nothing came within the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub(super) struct NoAnswer(Duration);

/// Has `look` done on a thread of its own, and waits for it for at most `limit`, [`PATIENCE`] as a rule. What changes
/// anything does not belong here: it may still come to its end when nobody waits any more.
///
/// # Errors
/// When it does not end in time. Its thread is left behind until it does; where [`MOST_LEFT_BEHIND`] are, nothing
/// begins, and all are refused.
pub(super) async fn within<T: Send + 'static>(
    limit: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    static ROOM: Semaphore = Semaphore::const_new(MOST_LEFT_BEHIND);
    let looked = async {
        let room = ROOM.acquire().await.expect("nobody closes it");
        blocking(move || {
            let _until_it_ends = room;
            look()
        })
        .await
    };
    timeout(limit, looked).await.map_err(|_| NoAnswer(limit))
}

/// A camera's driver is given 5 s for each question and a slate 5 s to be decoded; a stream has a few of them.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Threads. Each change that somebody tries again leaves one behind, until what hangs answers.
const MOST_LEFT_BEHIND: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_given_up_and_not_begun_without_end() {
        let short = Duration::from_millis(50);
        let (answer, hung) = mpsc::channel::<()>();
        let hung = std::sync::Arc::new(std::sync::Mutex::new(hung));
        for _ in 0..MOST_LEFT_BEHIND {
            let hung = hung.clone();
            let look = move || hung.lock().unwrap().recv().is_err();
            assert_eq!(within(short, look).await, Err(NoAnswer(short)));
        }
        let refused = within(short, || panic!("it begins beside so many that hang")).await;
        assert_eq!(refused, Err::<(), _>(NoAnswer(short)));

        drop(answer); // they all end
        assert_eq!(within(PATIENCE, || 7).await, Ok(7));
        assert_eq!(NoAnswer(PATIENCE).to_string(), "no answer within 20 s");
    }
}
