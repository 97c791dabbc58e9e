//! One encode, any number of outputs: each unit goes into the queue of each output.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::lock;
use crate::media::{Track, Unit};
use crate::transport::gop_queue::{GopQueue, Kind, LeftOut, Limits, Waiting};

/// The encoder's side. Delivering never waits: an output that blocks or dies only fills its own queue.
#[derive(Clone, Debug, Default)]
pub struct Fanout {
    queues: Arc<Mutex<Vec<Arc<OutputQueue>>>>,
}

/// One output's side.
#[derive(Debug)]
pub struct OutputQueue {
    queue: Mutex<GopQueue<Unit>>,
    arrived: Notify,
}

impl Fanout {
    /// Hands a unit to every output. Called on the encoder's own thread.
    pub fn deliver(&self, unit: &Unit) {
        for queue in lock(&self.queues).iter() {
            queue.push(Instant::now(), unit.clone());
        }
    }

    /// A queue of its own for one more output; it is closed until its output opens it.
    pub fn attach(&self) -> Arc<OutputQueue> {
        let queue = Arc::new(OutputQueue { queue: Mutex::new(GopQueue::closed()), arrived: Notify::new() });
        lock(&self.queues).push(queue.clone());
        queue
    }

    #[cfg(test)]
    pub fn outputs(&self) -> usize {
        lock(&self.queues).len()
    }

    /// Nothing is delivered to that queue any more.
    pub fn detach(&self, queue: &Arc<OutputQueue>) {
        lock(&self.queues).retain(|other| !Arc::ptr_eq(other, queue));
    }
}

impl OutputQueue {
    /// A connection is there: see [`GopQueue::open`].
    pub fn open(&self, limits: Limits) {
        lock(&self.queue).open(limits);
    }

    /// The connection is gone: see [`GopQueue::close`].
    pub fn close(&self) {
        lock(&self.queue).close();
    }

    pub fn pop(&self) -> Option<Unit> {
        lock(&self.queue).pop(Instant::now())
    }

    /// See [`GopQueue::pop_sounds`].
    pub fn pop_sounds(&self, count: usize, wait: Duration) -> Vec<Unit> {
        lock(&self.queue).pop_sounds(Instant::now(), count, wait)
    }

    /// See [`GopQueue::oldest`].
    pub fn oldest(&self) -> Option<Instant> {
        lock(&self.queue).oldest()
    }

    /// What holds from now on.
    pub fn limit(&self, limits: Limits) {
        lock(&self.queue).limit(limits);
    }

    /// The state as of now.
    pub fn waiting(&self, now: Instant) -> Waiting {
        lock(&self.queue).waiting(now)
    }

    pub fn awaits_key_frame(&self) -> bool {
        lock(&self.queue).awaits_key_frame()
    }

    pub fn left_out(&self) -> LeftOut {
        lock(&self.queue).left_out()
    }

    /// Waits until something was pushed since the last call; cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn push(&self, now: Instant, unit: Unit) {
        let kind = match unit.track {
            Track::Video if unit.key => Kind::KeyFrame,
            Track::Video => Kind::DeltaFrame,
            Track::Audio => Kind::Sound,
        };
        lock(&self.queue).push(now, kind, unit.captured, unit.size, unit);
        self.arrived.notify_one();
    }
}
