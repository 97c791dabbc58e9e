//! The newest picture of a stream as JPEG: made when somebody asks, and not again for half a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::nice;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::timeout;

use crate::causes::with_causes;
use crate::media::{self, Glimpse, Seen};

/// Of one stream. Clones share what was made.
#[derive(Clone, Debug)]
pub struct Snapshots {
    on_air: watch::Receiver<Option<Glimpse>>,
    /// The newest of each width. Held while one is made: who asks meanwhile waits for that one.
    made: Arc<Mutex<BTreeMap<u32, Arc<Snapshot>>>>,
}

/// A picture of a moment.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was on air.
    pub at: Instant,
    /// Told apart from all others that this run of the daemon has made.
    pub number: u64,
    pub jpeg: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoSnapshot {
    #[error("nothing is on air: the stream does not run")]
    OffAir,
    #[error("no picture has gone on air for {} s", PATIENCE.as_secs())]
    NoPicture,
    #[error("the picture cannot be made into a JPEG")]
    Unmade(#[source] media::Error),
    #[error("no thread can be started for it")]
    Thread(#[source] std::io::Error),
}

impl Snapshots {
    /// `on_air` is what can be looked at, where anything can.
    pub fn new(on_air: watch::Receiver<Option<Glimpse>>) -> Snapshots {
        Snapshots { on_air, made: Arc::default() }
    }

    /// What is on air, at most so many pixels wide; not older than [`FRESH`] and the time that it takes.
    ///
    /// # Errors
    /// See [`NoSnapshot`].
    pub async fn newest(&self, widest: u32) -> Result<Arc<Snapshot>, NoSnapshot> {
        let mut made = self.made.lock().await;
        let glimpse = self.on_air.borrow().clone().ok_or(NoSnapshot::OffAir)?;
        made.retain(|_, snapshot| snapshot.at.elapsed() < FRESH);
        if let Some(snapshot) = made.get(&widest) {
            return Ok(snapshot.clone());
        }
        let seen = match timeout(PATIENCE, glimpse.next()).await {
            Ok(Some(seen)) => seen,
            Ok(None) => return Err(NoSnapshot::OffAir), // only one asks at a time: its encoder has gone
            Err(_) => return Err(NoSnapshot::NoPicture),
        };
        let at = Instant::now();
        let jpeg = made_aside(seen, widest).await?;
        let snapshot = Arc::new(Snapshot { at, number: rand::random(), jpeg });
        made.insert(widest, snapshot.clone());
        Ok(snapshot)
    }
}

/// Makes it on a thread of its own, which yields to all others but for the copy: a camera waits for its buffer.
async fn made_aside(seen: Seen, widest: u32) -> Result<Vec<u8>, NoSnapshot> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let made = seen.copied().and_then(|seen| {
            if let Err(error) = nice(NICE) {
                log::debug!(error:%; "the snapshot's thread keeps its priority");
            }
            seen.jpeg(widest)
        });
        if sender.send(made).is_err() {
            log::debug!("a snapshot was made, and is not wanted any more");
        }
    };
    std::thread::Builder::new().name("snapshot".to_owned()).spawn(work).map_err(NoSnapshot::Thread)?;
    let panicked = |_| {
        let reason = "making it panicked".to_owned();
        NoSnapshot::Unmade(media::Error::Still { reason })
    };
    receiver.await.map_err(panicked)?.map_err(NoSnapshot::Unmade).inspect_err(|error| {
        log::warn!(reason = with_causes(error); "no snapshot");
    })
}

/// A snapshot is shown again for so long, to whoever asks.
pub const FRESH: Duration = Duration::from_millis(500);

/// The slowest stream has a picture a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// Linux knows a priority for each thread: this one gets what the encoder leaves.
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_on_air_there_is_no_snapshot_and_a_reason() {
        let (on_air, receiver) = watch::channel(None);
        let snapshots = Snapshots::new(receiver);
        assert!(matches!(snapshots.newest(640).await, Err(NoSnapshot::OffAir)));
        on_air.send_replace(Some(Glimpse::default()));
        let error = snapshots.newest(640).await.unwrap_err();
        assert_eq!(error.to_string(), "no picture has gone on air for 2 s");
    }
}
