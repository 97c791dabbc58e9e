//! What is under way on a link.

use std::collections::VecDeque;
use std::time::Duration;

/// Datagrams of one direction, by their time of arrival. Bounded by the link: by its queue, its delay
/// and what is sent meanwhile.
#[derive(Debug)]
pub struct Flight<T> {
    datagrams: VecDeque<(Duration, T)>,
}

impl<T> Flight<T> {
    pub fn new() -> Self {
        Flight { datagrams: VecDeque::new() }
    }

    /// Puts a datagram behind those that arrive no later: links seldom change the order.
    pub fn add(&mut self, arrival: Duration, datagram: T) {
        let later = self.datagrams.iter().rev().take_while(|(other, _)| *other > arrival).count();
        self.datagrams.insert(self.datagrams.len() - later, (arrival, datagram));
    }

    /// When the next one arrives.
    pub fn next(&self) -> Duration {
        self.datagrams.front().map_or(Duration::MAX, |(at, _)| *at)
    }

    /// The next one that has arrived by `now`.
    pub fn arrived(&mut self, now: Duration) -> Option<T> {
        if self.next() > now {
            return None;
        }
        self.datagrams.pop_front().map(|(_, datagram)| datagram)
    }
}
