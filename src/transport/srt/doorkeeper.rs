//! Who may call: the listener's side of SRT's handshake, without its socket.
//!
//! ```text
//!   caller                                   listener
//!     │── Induction ──────────────────────────▶│  nothing is kept
//!     │◀───────────────── Induction (cookie) ──│
//!     │── Conclusion (cookie, all it wants) ──▶│  the cookie proves the address; a key is derived
//!     │◀──── Conclusion (latency, key echo) ───│  or a rejection with its code
//! ```
//!
//! What a datagram may cost, from whom nothing is known: a hash. The cookie is a keyed hash of the
//! caller's address and the minute, so that nothing has to be kept of who has asked; only who has
//! heard our answer knows it. What a Conclusion with the right cookie may cost, whose sender is
//! really at that address: a comparison of words, and a passphrase's derivation as often as
//! [`Attempts`] allows. What is kept of callers is kept of those that were let in, and those are
//! bounded.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use srt_protocol::packet::SocketId;

use super::attempts::Attempts;
use super::guard::{NOBODY, Rejection};
use super::handshake::{ETHERNET_MTU, Established, headers};
use super::responder::{Agreed, Refusal, Terms, encryption_field, vet};
use super::shake::{Kind, SRT_MAGIC, Shake, VERSION_5, write_again};
use super::{Encryption, MAX_CALLERS, handshake};

/// Answers whoever calls.
#[derive(Debug)]
pub struct Doorkeeper {
    terms: Terms,
    /// Keys the hash of cookies: random, and known to nobody.
    secret: RandomState,
    opened: Instant,
    knocks: Knocks,
    attempts: Attempts,
    guests: Vec<Guest>,
}

/// What to do about a datagram.
pub enum Verdict {
    /// Send the answer.
    Answer,
    /// Send the answer to one who is turned away.
    Refuse(Refusal),
    /// Send the answer: a connection begins.
    Welcome(Box<Established>),
}

/// One who was let in, as long as it is there.
#[derive(Debug)]
struct Guest {
    from: SocketAddr,
    /// Its socket.
    peer: SocketId,
    /// Ours.
    local: SocketId,
    epoch: Instant,
    /// What it may have missed.
    last_word: BytesMut,
}

impl Doorkeeper {
    pub fn new(terms: Terms, secret: RandomState, now: Instant) -> Self {
        let (knocks, attempts) = (Knocks::default(), Attempts::new(now));
        Doorkeeper { terms, secret, opened: now, knocks, attempts, guests: Vec::new() }
    }

    /// From the next caller on.
    pub fn renew(&mut self, encryption: Option<Encryption>) {
        self.terms.encryption = encryption;
    }

    /// Forgets those of whose sockets `is_here` knows nothing any more.
    pub fn retain(&mut self, is_here: impl Fn(SocketId) -> bool) {
        self.guests.retain(|guest| is_here(guest.local));
    }

    /// Acts on a datagram. `fresh` is a socket id for one who is let in. The answer is in `out`.
    ///
    /// # Errors
    /// Why there is none: it is no handshake of a caller, its cookie is not ours, or there were so
    /// many attempts of late that this one has to be repeated (which callers do by themselves).
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        fresh: SocketId,
        out: &mut BytesMut,
    ) -> Result<Verdict, Rejection> {
        let shake = Shake::read(datagram)?;
        if shake.destination != NOBODY {
            return Err(Rejection::WrongSocket);
        }
        if shake.socket == NOBODY {
            return Err(Rejection::Malformed);
        }
        match shake.kind {
            Kind::Induction => {
                self.induct(now, from, &shake, out);
                Ok(Verdict::Answer)
            }
            Kind::Conclusion => self.conclude(now, from, &shake, fresh, out),
            Kind::Waveahand | Kind::Agreement | Kind::Rejection(_) => Err(Rejection::Unwanted),
        }
    }

    fn induct(&mut self, now: Instant, from: SocketAddr, shake: &Shake<'_>, out: &mut BytesMut) {
        self.knocks.remember(now, from, shake.socket);
        let encryption = self.terms.encryption.as_ref();
        let answer = Shake {
            timestamp: self.clock(now),
            version: VERSION_5,
            // A caller without a key length of its own takes this one.
            encryption: encryption.map_or(0, |encryption| encryption_field(encryption.key_length)),
            flags: SRT_MAGIC,
            cookie: self.cookie(from, self.minute(now)),
            ..reply_to(shake, from)
        };
        answer.write(out);
    }

    fn conclude(
        &mut self,
        now: Instant,
        from: SocketAddr,
        shake: &Shake<'_>,
        fresh: SocketId,
        out: &mut BytesMut,
    ) -> Result<Verdict, Rejection> {
        let minute = self.minute(now);
        let is_ours = |minute: u64| shake.cookie == self.cookie(from, minute);
        if !is_ours(minute) && !minute.checked_sub(1).is_some_and(is_ours) {
            return Err(Rejection::Forged);
        }
        if let Some(guest) = self.guests.iter().find(|guest| guest.from == from) {
            if guest.peer != shake.socket {
                return Err(Rejection::Unwanted); // its predecessor at that port is still there
            }
            write_again(&guest.last_word, since(guest.epoch, now), out);
            return Ok(Verdict::Answer);
        }
        match self.negotiate(now, from, shake)? {
            Ok(agreed) => Ok(Verdict::Welcome(Box::new(self.welcome(now, from, shake, fresh, agreed, out)))),
            Err(refusal) => {
                let kind = Kind::Rejection(refusal.code());
                Shake { timestamp: self.clock(now), kind, ..reply_to(shake, from) }.write(out);
                Ok(Verdict::Refuse(refusal))
            }
        }
    }

    fn negotiate(
        &mut self,
        now: Instant,
        from: SocketAddr,
        shake: &Shake<'_>,
    ) -> Result<Result<Agreed, Refusal>, Rejection> {
        let vetted = match vet(&self.terms, shake, headers(&from)) {
            Ok(_) if self.guests.len() >= MAX_CALLERS => return Ok(Err(Refusal::Crowded)),
            Ok(vetted) => vetted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !self.attempts.allow(now, from.ip()) {
            return Err(Rejection::TooOften);
        }
        Ok(vetted.unlock())
    }

    fn welcome(
        &mut self,
        now: Instant,
        from: SocketAddr,
        shake: &Shake<'_>,
        fresh: SocketId,
        agreed: Agreed,
        out: &mut BytesMut,
    ) -> Established {
        // The receiver sets its idea of our clock by the timestamp of this answer.
        let epoch = now.checked_sub(self.terms.tuning.lead).unwrap_or(now);
        let Agreed { cipher, latency, skips_late, extensions, flags, encryption } = agreed;
        let answer = Shake {
            timestamp: since(epoch, now),
            version: VERSION_5,
            encryption,
            flags,
            mss: shake.mss.min(ETHERNET_MTU),
            socket: fresh,
            extensions: &extensions,
            ..reply_to(shake, from)
        };
        answer.write(out);
        let (peer, last_word) = (shake.socket, out.clone());
        let rtt = self.knocks.round_trip(now, from, peer);
        self.guests.push(Guest { from, peer, local: fresh, epoch, last_word: last_word.clone() });
        Established::new(handshake::Terms {
            remote: from,
            local: fresh,
            peer,
            // What the caller offers for its own data is what libsrt expects of ours.
            initial: shake.initial_sequence,
            cipher,
            epoch,
            latency,
            rtt,
            skips_late,
            last_word: Some(last_word),
        })
    }

    /// A keyed hash: who does not hear our answers can only guess among 2^32.
    fn cookie(&self, from: SocketAddr, minute: u64) -> u32 {
        self.secret.hash_one((from, minute)) as u32
    }

    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.opened).as_secs() / 60
    }

    fn clock(&self, now: Instant) -> u32 {
        since(self.opened, now)
    }
}

/// The fields of an answer that are the same for all.
fn reply_to<'a>(shake: &Shake<'_>, from: SocketAddr) -> Shake<'a> {
    Shake {
        destination: shake.socket,
        address: Some(from.ip()),
        encryption: 0,
        flags: 0,
        extensions: &[],
        ..*shake
    }
}

/// Microseconds, wrapping as SRT's clocks do.
fn since(epoch: Instant, now: Instant) -> u32 {
    now.saturating_duration_since(epoch).as_micros() as u32
}

/// When those who asked for a cookie of late did so, which gives the round trip once they return.
/// A hint, in a fixed space: who floods it takes the hint away, nothing else.
#[derive(Debug, Default)]
struct Knocks(VecDeque<(SocketAddr, SocketId, Instant)>);

impl Knocks {
    fn remember(&mut self, now: Instant, from: SocketAddr, socket: SocketId) {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < super::CONNECT_TIMEOUT;
        // The first one counts: a request repeated on a long path would make it look shorter.
        if self.0.iter().any(|(other, id, at)| (*other, *id) == (from, socket) && is_fresh(*at)) {
            return;
        }
        if self.0.len() == KNOCKS {
            self.0.pop_front();
        }
        self.0.push_back((from, socket, now));
    }

    fn round_trip(&self, now: Instant, from: SocketAddr, socket: SocketId) -> Duration {
        let knock = self.0.iter().rev().find(|(other, id, _)| (*other, *id) == (from, socket));
        knock.map_or(UNKNOWN_RTT, |(.., at)| now.saturating_duration_since(*at))
    }
}

/// Requests for a cookie that are remembered for their time.
const KNOCKS: usize = 64;
/// Where it was not measured: rather too long, which the first acknowledgement corrects at once; one
/// that is too short would be taken for the path with its queues empty.
const UNKNOWN_RTT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
