//! Which connections one door holds open, and who leaves when another one comes.
//!
//! A connection that nobody has proven himself on, or that just waits for its next request, may be told
//! to leave at any time. So a flood of idle ones only pushes itself out: whoever comes gets in, and it is
//! the network with the most idle connections that loses its oldest.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::networks::network;

/// The connections of one listener.
///
/// ```text
///  admit ──▶ idle ──occupy──▶ busy
///             │ ◀──release─────┤
///             ▼                ▼
///           leave (by itself, or since another one comes: only from idle)
/// ```
#[derive(Debug)]
pub struct Admission {
    limit: usize,
    seats: BTreeMap<u64, Seat>,
    /// Counts everything that happens: who was idle first has the smallest.
    clock: u64,
}

#[derive(Debug)]
struct Seat {
    network: Option<IpAddr>,
    /// Answers under way to somebody who may have them.
    busy: u32,
    idle_since: u64,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    Seat(u64),
    /// And this older one is to be closed; it has left already as far as this is concerned.
    InPlaceOf {
        seat: u64,
        leaves: u64,
    },
    /// Every connection is busy with somebody who may be here.
    Full,
}

impl Admission {
    /// No more than `limit` at a time.
    pub fn new(limit: usize) -> Self {
        Admission { limit, seats: BTreeMap::new(), clock: 0 }
    }

    /// A connection from `peer`; `None` for a Unix socket.
    pub fn admit(&mut self, peer: Option<IpAddr>) -> Admitted {
        let leaves = if self.seats.len() < self.limit { None } else { self.longest_idle() };
        match leaves {
            Some(leaves) => self.leave(leaves),
            None if self.seats.len() >= self.limit => return Admitted::Full,
            None => {}
        }
        let seat = self.tick();
        self.seats.insert(seat, Seat { network: peer.map(network), busy: 0, idle_since: seat });
        match leaves {
            Some(leaves) => Admitted::InPlaceOf { seat, leaves },
            None => Admitted::Seat(seat),
        }
    }

    /// An answer is under way, to somebody who may have it.
    pub fn occupy(&mut self, seat: u64) {
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.busy += 1;
        }
    }

    /// The answer has gone out.
    pub fn release(&mut self, seat: u64) {
        let now = self.tick();
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.busy = seat.busy.saturating_sub(1);
            seat.idle_since = now;
        }
    }

    /// The connection has ended.
    pub fn leave(&mut self, seat: u64) {
        self.seats.remove(&seat);
    }

    fn longest_idle(&self) -> Option<u64> {
        let mut idle: BTreeMap<Option<IpAddr>, (usize, u64, u64)> = BTreeMap::new();
        for (number, seat) in self.seats.iter().filter(|(_, seat)| seat.busy == 0) {
            let (count, since, oldest) = idle.entry(seat.network).or_insert((0, seat.idle_since, *number));
            *count += 1;
            if seat.idle_since < *since {
                (*since, *oldest) = (seat.idle_since, *number);
            }
        }
        idle.into_values()
            .max_by_key(|(count, since, _)| (*count, std::cmp::Reverse(*since)))
            .map(|(_, _, oldest)| oldest)
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_flood_pushes_itself_out() {
        let mut admission = Admission::new(4);
        let Admitted::Seat(owner) = admission.admit(peer(1)) else { panic!("there is room") };
        let mut flood = Vec::new();
        for _ in 0..100 {
            match admission.admit(peer(66)) {
                Admitted::Seat(seat) => flood.push(seat),
                Admitted::InPlaceOf { seat, leaves } => {
                    assert_ne!(leaves, owner, "the owner's network has only one");
                    assert_eq!(leaves, flood.remove(0), "the oldest of the flood");
                    flood.push(seat);
                }
                Admitted::Full => panic!("the flood is idle"),
            }
        }
        assert_eq!((admission.seats.len(), flood.len()), (4, 3));
    }

    #[test]
    fn a_newcomer_gets_in_unless_all_are_busy() {
        let mut admission = Admission::new(2);
        let (Admitted::Seat(a), Admitted::Seat(b)) = (admission.admit(peer(1)), admission.admit(peer(2)))
        else {
            panic!("there is room")
        };
        admission.occupy(a);
        admission.occupy(b);
        assert_eq!(admission.admit(peer(3)), Admitted::Full);
        admission.release(b);
        assert!(matches!(admission.admit(peer(3)), Admitted::InPlaceOf { leaves, .. } if leaves == b));
        admission.leave(a);
        assert!(matches!(admission.admit(peer(4)), Admitted::Seat(_)));
    }

    #[test]
    fn who_asked_last_stays_longest() {
        let mut admission = Admission::new(2);
        let (Admitted::Seat(a), Admitted::Seat(b)) = (admission.admit(peer(1)), admission.admit(peer(1)))
        else {
            panic!("there is room")
        };
        admission.occupy(a);
        admission.release(a);
        assert!(matches!(admission.admit(peer(1)), Admitted::InPlaceOf { leaves, .. } if leaves == b));
    }
}
