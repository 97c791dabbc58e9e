//! The places at one door, and the connections that hold them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::admission::{Admission, Admitted};

/// One listener's connections.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    admission: Admission,
    /// How each connection is ended.
    tasks: HashMap<u64, AbortHandle>,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    seats: Seats,
}

/// An answer is under way to somebody who may have it: the connection is not ended for another one's sake.
#[derive(Debug)]
pub struct Occupied(Arc<Seat>);

impl Seats {
    /// At most `limit` at a time.
    pub fn new(limit: usize) -> Self {
        let (admission, tasks) = (Admission::new(limit), HashMap::new());
        Seats(Arc::new(Mutex::new(Inner { admission, tasks })))
    }

    /// A place for a connection from there, perhaps an older one's, which is ended; `None` where all are busy.
    pub fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<Seat>> {
        let mut inner = self.lock();
        let number = match inner.admission.admit(peer) {
            Admitted::Seat(seat) => seat,
            Admitted::InPlaceOf { seat, leaves } => {
                if let Some(task) = inner.tasks.remove(&leaves) {
                    task.abort();
                }
                seat
            }
            Admitted::Full => return None,
        };
        Some(Arc::new(Seat { number, seats: self.clone() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // each change of it is whole or not made
    }
}

impl Seat {
    /// The task that is to be ended where another connection needs the place.
    pub fn is_served_by(&self, task: AbortHandle) {
        if !task.is_finished() {
            self.seats.lock().tasks.insert(self.number, task);
        }
    }

    /// Until what is returned is dropped.
    pub fn occupy(self: &Arc<Self>) -> Occupied {
        self.seats.lock().admission.occupy(self.number);
        Occupied(self.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.lock();
        inner.admission.leave(self.number);
        inner.tasks.remove(&self.number);
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.seats.lock().admission.release(self.0.number);
    }
}
