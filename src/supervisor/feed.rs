//! From an output's queue through its mux to its driver, as far as the link allows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::fanout::OutputQueue;
use crate::media::{Error, Mux, Tracks};
use crate::transport::Chunk;
use crate::transport::gate::{Gate, LinkAge};

/// One output's feed. Its mux outlives connections, so that continuity counters and timestamps go
/// on where they were.
pub struct Feed {
    queue: Arc<OutputQueue>,
    mux: Mux,
    gate: Gate,
    link: LinkAge,
    /// Of the present connection. Dropped, it tells the driver that no more will come.
    driver: Option<mpsc::Sender<Chunk>>,
    /// What is left of a unit that the driver had no room for. No further unit is muxed before it
    /// has gone: what is in a mux is promised to the receiver.
    rest: VecDeque<Chunk>,
    finishing: bool,
}

impl Feed {
    pub fn new(queue: Arc<OutputQueue>, tracks: Tracks, latency: Duration) -> Self {
        let (gate, link, mux) = (Gate::new(latency), LinkAge::default(), Mux::new(tracks));
        Feed { queue, mux, gate, link, driver: None, rest: VecDeque::new(), finishing: false }
    }

    pub fn queue(&self) -> &Arc<OutputQueue> {
        &self.queue
    }

    /// A connection begins: with tables and a key frame, so that a decoder can begin there too.
    /// Gives what the driver is to send.
    pub fn begin(&mut self, latency: Duration) -> mpsc::Receiver<Chunk> {
        let (driver, chunks) = mpsc::channel(CHUNKS);
        self.driver = Some(driver);
        self.rest.clear();
        self.gate = Gate::new(latency);
        self.link = LinkAge::default();
        self.mux.resend_tables();
        self.queue.open();
        chunks
    }

    /// It has ended: what still waits would be stale by the next one.
    pub fn end(&mut self) {
        self.queue.close();
        self.driver = None;
        self.rest.clear();
    }

    /// What the link looks like now.
    pub fn measured(&mut self, link: LinkAge) {
        self.link = link;
    }

    /// From now on everything that waits is moved on, in whatever state the link is, and nothing new
    /// is waited for.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Moves on what the link and the driver have room for. Tells whether pictures can only go on
    /// with a key frame.
    ///
    /// # Errors
    /// When a unit's memory cannot be read.
    pub fn pump(&mut self) -> Result<bool, Error> {
        loop {
            if !self.hand_over() || !(self.gate.admits(&self.link) || self.finishing) {
                return Ok(false);
            }
            match self.queue.pop() {
                Some(unit) => self.mux.push(&unit, &mut self.rest)?,
                None if self.finishing => {
                    self.driver = None;
                    return Ok(false);
                }
                None => return Ok(self.queue.awaits_key_frame()),
            }
        }
    }

    /// Gives the driver what it takes of the rest; true once nothing of it is left.
    fn hand_over(&mut self) -> bool {
        let Some(driver) = &self.driver else { return false };
        while let Some(chunk) = self.rest.pop_front() {
            match driver.try_send(chunk) {
                Ok(()) => {}
                Err(TrySendError::Full(chunk)) => {
                    self.rest.push_front(chunk);
                    return false;
                }
                Err(TrySendError::Closed(_)) => return false, // the connection has ended, which its task is about to learn
            }
        }
        true
    }
}

/// Chunks between mux and driver: more than a key frame of 1 MB. When they are full the units wait in
/// the queue, where whole groups can be left out.
const CHUNKS: usize = 1024;
