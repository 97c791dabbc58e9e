//! Two sides that call each other, without their sockets.
//!
//! ```text
//!                          the larger cookie: we propose
//!              ┌─────────────────────────────────────────▶ Proposing ── its answer ──▶ connected,
//!   Waving ────┤                                                                       Agreement sent
//!              └──▶ Attentive ── its proposal ──▶ Agreed ── Agreement, or any sign ──▶ connected
//!                          the smaller one           of its connection
//! ```
//!
//! Each state repeats its datagram until the peer's next one comes: Waveahand; an empty Conclusion;
//! one with a proposal (latency, key); one with the answer. Both must use the same port as they call,
//! since each is the other's way through a firewall.
//!
//! `srt-protocol`'s `Rendezvous` is not used: it judges a proposal with what [`responder`] says about
//! `gen_hsv5_response`, sends every datagram with the time zero, changes its first sequence number
//! when it has already told it (libsrt makes its receive buffer for the first one), and takes its
//! cookie from its address and the clock, where two of them on one host draw.
//!
//! [`responder`]: super::responder

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use srt_protocol::packet::{SeqNumber, SocketId, SrtControlPacket};
use srt_protocol::settings::CipherSettings;

use super::attempts::Attempts;
use super::error::RefusedBecause;
use super::guard::{self, Arrival, KeyReply, NOBODY, Rejection};
use super::handshake::{
    self, ETHERNET_MTU, Established, Step, greeting, headers, key_refresh, key_settings, key_trouble,
    size_trouble,
};
use super::responder::{Agreed, TLPKTDROP_FLAG, Terms, encryption_field, vet};
use super::shake::{
    EXTENSION_HSREQ, EXTENSION_KMREQ, Extensions, Greeting, HAS_GREETING, HAS_KEY, Kind, Shake, VERSION_5,
    write_extension,
};

/// One attempt to meet a peer.
pub struct Rendezvous {
    terms: Terms,
    remote: SocketAddr,
    us: Us,
    attempts: Attempts,
    state: State,
}

/// Who we are in this attempt: random, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Us {
    pub socket: SocketId,
    /// Decides who proposes.
    pub cookie: u32,
    /// Of our data.
    pub initial_sequence: SeqNumber,
    /// The time that our timestamps count from.
    pub epoch: Instant,
}

enum State {
    Waving,
    Attentive { peer: SocketId },
    Proposing { peer: SocketId, since: Instant, proposal: Proposal },
    Agreed { peer: SocketId, since: Instant, agreed: Agreed },
}

struct Proposal {
    cipher: Option<CipherSettings>,
    /// Which the peer is to send back.
    key: Vec<u8>,
    extensions: Vec<u8>,
}

impl Rendezvous {
    pub fn new(terms: Terms, remote: SocketAddr, us: Us, now: Instant) -> Self {
        Rendezvous { terms, remote, us, attempts: Attempts::new(now), state: State::Waving }
    }

    /// Writes the datagram that waits for the peer's next one.
    pub fn request(&self, now: Instant, out: &mut BytesMut) {
        let encryption = self.terms.encryption.as_ref().map_or(0, |it| encryption_field(it.key_length));
        let (kind, destination, flags, extensions) = match &self.state {
            State::Waving => (Kind::Waveahand, NOBODY, 0, &[][..]),
            State::Attentive { peer } => (Kind::Conclusion, *peer, 0, &[][..]),
            State::Proposing { peer, proposal, .. } => {
                let flags = if proposal.key.is_empty() { HAS_GREETING } else { HAS_GREETING | HAS_KEY };
                (Kind::Conclusion, *peer, flags, &proposal.extensions[..])
            }
            State::Agreed { peer, agreed, .. } => {
                (Kind::Conclusion, *peer, agreed.flags, &agreed.extensions[..])
            }
        };
        let encryption = match &self.state {
            State::Agreed { agreed, .. } => agreed.encryption,
            State::Waving | State::Attentive { .. } | State::Proposing { .. } => encryption,
        };
        Shake { encryption, flags, extensions, ..self.shake(kind, destination, now) }.write(out);
    }

    /// Acts on a datagram from the peer's address. What is to be sent at once is in `out`.
    ///
    /// # Errors
    /// Where it means nothing here.
    pub fn receive(&mut self, now: Instant, datagram: &[u8], out: &mut BytesMut) -> Result<Step, Rejection> {
        match Shake::read(datagram) {
            Ok(shake) => self.heed(now, &shake, out),
            Err(Rejection::Unwanted) => self.overhear(now, guard::admit(datagram, self.us.socket)?, out),
            Err(rejection) => Err(rejection),
        }
    }

    /// What is no handshake, and for us alone.
    fn overhear(&mut self, now: Instant, sign: Arrival<'_>, out: &mut BytesMut) -> Result<Step, Rejection> {
        match (&self.state, sign) {
            // libsrt turns a proposal down in this way.
            (State::Proposing { .. } | State::Agreed { .. }, Arrival::Shutdown) => {
                Ok(Step::Refused(RefusedBecause::Unexplained))
            }
            // Its Agreement was lost on the way: what it sends now, it sends on a connection.
            (
                State::Agreed { .. },
                Arrival::KeepAlive | Arrival::Ack(_) | Arrival::Nak(_) | Arrival::KeyResponse(_),
            ) => self.conclude(now, out),
            _ => Err(Rejection::Unwanted),
        }
    }

    fn heed(&mut self, now: Instant, shake: &Shake<'_>, out: &mut BytesMut) -> Result<Step, Rejection> {
        if shake.destination != NOBODY && shake.destination != self.us.socket {
            return Err(Rejection::WrongSocket);
        }
        if let Kind::Rejection(code) = shake.kind {
            // Our id is known to nobody but the peer.
            return match shake.destination == self.us.socket {
                true => Ok(Step::Refused(RefusedBecause::rejected(code, self.terms.encryption.is_some()))),
                false => Err(Rejection::Unwanted),
            };
        }
        if shake.version != VERSION_5 || shake.socket == NOBODY || shake.kind == Kind::Induction {
            return Err(Rejection::Unwanted);
        }
        let extensions = shake.extensions()?;
        if self.peer() != Some(shake.socket) && shake.kind != Kind::Agreement {
            self.meet(now, shake)?;
        }
        match (&self.state, shake.kind) {
            (State::Attentive { .. }, Kind::Conclusion) if extensions.request.is_some() => {
                self.judge(now, shake, out)
            }
            (State::Agreed { .. }, Kind::Agreement) => self.conclude(now, out),
            (State::Proposing { .. }, Kind::Conclusion | Kind::Agreement)
                if extensions.response.is_some() && shake.destination == self.us.socket =>
            {
                self.settle(now, shake, &extensions, out)
            }
            // It has missed something: the same again.
            (State::Attentive { .. } | State::Proposing { .. } | State::Agreed { .. }, _) => {
                self.request(now, out);
                Ok(Step::Send)
            }
            (State::Waving, _) => Err(Rejection::Unwanted),
        }
    }

    fn peer(&self) -> Option<SocketId> {
        match &self.state {
            State::Waving => None,
            State::Attentive { peer } | State::Proposing { peer, .. } | State::Agreed { peer, .. } => {
                Some(*peer)
            }
        }
    }

    /// A peer that is there for the first time, or anew: the cookies say who proposes.
    fn meet(&mut self, now: Instant, shake: &Shake<'_>) -> Result<(), Rejection> {
        let peer = shake.socket;
        let lead = self.us.cookie.wrapping_sub(shake.cookie) as i32;
        self.state = match lead {
            0 => return Err(Rejection::Unwanted), // the next attempt has another cookie
            ..0 => State::Attentive { peer },
            1.. if !self.attempts.allow(now, self.remote.ip()) => return Err(Rejection::TooOften),
            1.. => State::Proposing { peer, since: now, proposal: Proposal::new(&self.terms) },
        };
        Ok(())
    }

    /// Its proposal.
    fn judge(&mut self, now: Instant, shake: &Shake<'_>, out: &mut BytesMut) -> Result<Step, Rejection> {
        if !self.attempts.allow(now, self.remote.ip()) {
            return Err(Rejection::TooOften);
        }
        let judged = vet(&self.terms, shake, headers(&self.remote)).and_then(|vetted| vetted.unlock());
        match judged {
            Ok(agreed) => {
                self.state = State::Agreed { peer: shake.socket, since: now, agreed };
                self.request(now, out);
                Ok(Step::Send)
            }
            Err(refusal) => {
                self.shake(Kind::Rejection(refusal.code()), shake.socket, now).write(out);
                let encrypted = self.terms.encryption.is_some();
                Ok(Step::Refused(RefusedBecause::rejected(refusal.code(), encrypted)))
            }
        }
    }

    /// Its answer to our proposal.
    fn settle(
        &mut self,
        now: Instant,
        shake: &Shake<'_>,
        extensions: &Extensions<'_>,
        out: &mut BytesMut,
    ) -> Result<Step, Rejection> {
        let State::Proposing { peer, since, proposal } = &mut self.state else {
            return Err(Rejection::Unwanted);
        };
        let Some(Greeting { receive_latency, flags, .. }) = extensions.response else {
            return Err(Rejection::Malformed);
        };
        let reply = KeyReply::read(extensions.key_response);
        if let Some(reason) = size_trouble(shake.mss, &self.remote) {
            return Ok(Step::Refused(reason));
        }
        if let Some(reason) = key_trouble(self.terms.encryption.is_some(), &proposal.key, reply)? {
            return Ok(Step::Refused(reason));
        }
        let (peer, rtt, cipher) = (*peer, now.saturating_duration_since(*since), proposal.cipher.take());
        self.shake(Kind::Agreement, peer, now).write(out);
        Ok(Step::Connected(Box::new(Established::new(handshake::Terms {
            remote: self.remote,
            local: self.us.socket,
            peer,
            initial: self.us.initial_sequence,
            cipher,
            epoch: self.us.epoch,
            latency: self.terms.latency.max(receive_latency),
            rtt,
            skips_late: flags & TLPKTDROP_FLAG != 0,
            last_word: Some(out.clone()),
        }))))
    }

    /// It has our answer to its proposal.
    fn conclude(&mut self, now: Instant, out: &mut BytesMut) -> Result<Step, Rejection> {
        self.request(now, out);
        let last_word = out.split();
        match std::mem::replace(&mut self.state, State::Waving) {
            State::Agreed { peer, since, agreed } => {
                Ok(Step::Connected(Box::new(Established::new(handshake::Terms {
                    remote: self.remote,
                    local: self.us.socket,
                    peer,
                    initial: self.us.initial_sequence,
                    cipher: agreed.cipher,
                    epoch: self.us.epoch,
                    latency: agreed.latency,
                    rtt: now.saturating_duration_since(since),
                    skips_late: agreed.skips_late,
                    last_word: Some(last_word),
                }))))
            }
            state @ (State::Waving | State::Attentive { .. } | State::Proposing { .. }) => {
                self.state = state;
                Err(Rejection::Unwanted)
            }
        }
    }

    fn shake(&self, kind: Kind, destination: SocketId, now: Instant) -> Shake<'static> {
        Shake {
            timestamp: now.saturating_duration_since(self.us.epoch).as_micros() as u32,
            destination,
            version: VERSION_5,
            encryption: 0,
            flags: 0,
            initial_sequence: self.us.initial_sequence,
            mss: ETHERNET_MTU,
            flow_window: FLOW_WINDOW,
            kind,
            socket: self.us.socket,
            cookie: self.us.cookie,
            address: Some(self.remote.ip()),
            extensions: &[],
        }
    }
}

impl Proposal {
    fn new(terms: &Terms) -> Self {
        let mut extensions = Vec::new();
        greeting(terms.latency, terms.latency).write(EXTENSION_HSREQ, &mut extensions);
        let cipher = terms.encryption.as_ref().map(|encryption| {
            let settings = key_settings(&encryption.passphrase, encryption.key_length);
            CipherSettings::new_random(&settings, &key_refresh(&terms.tuning))
        });
        let mut key = Vec::new();
        if let Some(message) = cipher.as_ref().and_then(CipherSettings::wrap_keying_material) {
            SrtControlPacket::KeyRefreshRequest(message).serialize(&mut key);
            write_extension(EXTENSION_KMREQ, &key, &mut extensions);
        }
        Proposal { cipher, key, extensions }
    }
}

/// libsrt's `SRTO_FC` is three times that, srt-protocol's as much; the peer sends us nothing.
const FLOW_WINDOW: u32 = 8192;

#[cfg(test)]
mod tests;
