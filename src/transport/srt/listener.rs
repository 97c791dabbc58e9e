//! The socket that receivers call, and a connection for each that is let in.
//!
//! One socket listens; each caller that is let in gets one of its own, bound to the same port and
//! connected to the caller, so that the system itself tells the callers apart. The other way, one
//! socket for all and a table of callers, knows no races, but all callers then share one receive
//! buffer with whoever floods the port, and their acknowledgements are lost in it. Here a flood fills
//! the listening socket's buffer and nothing else; how much of it is read is ours to say ([`REST`]).
//! What the system cannot do at once is met as follows:
//!
//! - Between its `bind` and its `connect` a new socket may be given what is meant for the listening
//!   one: microseconds, once for each caller. It is a request for a handshake, which is repeated; the
//!   new connection takes it for nothing, since it does not have its random id.
//! - What the new caller had sent before the `connect` waits in the listening socket's buffer: a
//!   repeated Conclusion, which is answered as the first one was.
//! - A port is shared only while a caller is let in: the listening socket is bound without
//!   `SO_REUSEPORT` and has it for the moment of the other's `bind`. Nobody else can have the port.
//! - A caller that dies and calls again from the same port within five seconds reaches its old
//!   connection, which knows nothing of it, until that one has noticed the silence.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use srt_protocol::packet::SocketId;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::doorkeeper::{Doorkeeper, Verdict};
use super::driver::Wire;
use super::guard::{Rejection, Rejections};
use super::handshake::{Established, fresh_socket_id};
use super::responder::{Refusal, Terms};
use super::{Connection, Encryption, ListenError, Tuning, socket};
use crate::units::Bitrate;

/// Where and on which terms callers are taken.
#[derive(Clone, Debug)]
pub struct Reception {
    pub local: SocketAddr,
    /// At most 65 s; a caller may ask for more.
    pub latency: Duration,
    /// Who asks for another is refused; None takes all.
    pub stream_id: Option<String>,
    /// The key length is a wish: it is the caller who makes the key.
    pub encryption: Option<Encryption>,
    /// The highest rate of the transport stream.
    pub peak: Bitrate,
}

/// A socket that waits for callers. Dropped, it takes no more; those it has let in stay.
pub struct Listener {
    socket: UdpSocket,
    local: SocketAddr,
    keeper: Doorkeeper,
    peak: Bitrate,
    /// Whose connections are still there.
    present: Vec<(SocketId, Weak<()>)>,
    refused: u64,
    rejections: Rejections,
    datagram: Box<[u8; DATAGRAM_BYTES]>,
    answer: BytesMut,
    /// Datagrams since the socket was last found empty.
    burst: usize,
    complaint: Complaint,
}

impl Listener {
    /// # Errors
    /// [`ListenError`], where the port is taken or the address is not this machine's.
    pub fn bind(reception: &Reception) -> Result<Listener, ListenError> {
        Listener::bind_tuned(reception, &Tuning::default())
    }

    /// [`Listener::bind`], with what tests need to reach the rare places.
    #[doc(hidden)]
    pub fn bind_tuned(reception: &Reception, tuning: &Tuning) -> Result<Listener, ListenError> {
        let Reception { local, latency, stream_id, encryption, peak } = reception.clone();
        let socket = socket::listen(local)?;
        let failed = |source| ListenError::Io { operation: "read the address of", local, source };
        let local = socket.local_addr().map_err(failed)?;
        let terms = Terms { latency, stream_id, encryption, tuning: tuning.clone() };
        Ok(Listener {
            socket,
            local,
            keeper: Doorkeeper::new(terms, RandomState::new(), Instant::now()),
            peak,
            present: Vec::new(),
            refused: 0,
            rejections: Rejections::default(),
            datagram: Box::new([0; DATAGRAM_BYTES]),
            answer: BytesMut::with_capacity(DATAGRAM_BYTES),
            burst: 0,
            complaint: Complaint::default(),
        })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Callers that were told to go.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Datagrams that no honest caller sends, or that came too often.
    pub fn rejected_datagrams(&self) -> u64 {
        self.rejections.total()
    }

    /// From the next caller on.
    pub fn renew(&mut self, encryption: Option<Encryption>) {
        self.keeper.renew(encryption);
    }

    /// Waits for a caller that is let in, and answers all others meanwhile. Cancel safe.
    pub async fn accept(&mut self) -> (SocketAddr, Connection) {
        loop {
            if self.burst >= DATAGRAMS_AT_ONCE {
                sleep(REST).await;
                self.burst = 0;
            }
            if let Err(error) = self.socket.readable().await {
                log::warn!(error:% = error; "SRT listener's socket fails");
                sleep(AFTER_FAILURE).await;
            }
            while self.burst < DATAGRAMS_AT_ONCE {
                self.burst += 1;
                match self.socket.try_recv_from(&mut self.datagram[..]) {
                    Ok((length, from)) => {
                        if let Some(connection) = self.receive(from, length) {
                            return (SocketAddr::new(from.ip().to_canonical(), from.port()), connection);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.burst = 0;
                        break;
                    }
                    Err(error) => {
                        log::debug!(error:% = error; "SRT listener: nothing received");
                        break;
                    }
                }
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, length: usize) -> Option<Connection> {
        let now = Instant::now();
        let Listener { keeper, present, datagram, answer, .. } = self;
        present.retain(|(_, presence)| presence.strong_count() > 0);
        keeper.retain(|socket| present.iter().any(|(other, _)| *other == socket));
        let fresh = fresh_socket_id();
        // Whatever a stranger sends may cost him his call, not the others theirs.
        let judged = AssertUnwindSafe(|| keeper.receive(now, from, &datagram[..length], fresh, answer));
        match catch_unwind(judged) {
            Ok(Ok(Verdict::Answer)) => self.send(from),
            Ok(Ok(Verdict::Refuse(refusal))) => {
                self.refused += 1;
                self.complaint.about(now, from, refusal);
                self.send(from);
            }
            Ok(Ok(Verdict::Welcome(established))) => return self.welcome(from, *established),
            Ok(Err(rejection)) => self.rejections.count(rejection),
            Err(_) => {
                self.rejections.count(Rejection::Malformed);
                log::error!(caller:% = from; "a panic while judging an SRT caller was caught");
            }
        }
        None
    }

    fn send(&mut self, to: SocketAddr) {
        // A caller that hears nothing asks again.
        if let Err(error) = self.socket.try_send_to(&self.answer, to) {
            log::debug!(error:% = error, caller:% = to; "SRT handshake not answered");
        }
    }

    fn welcome(&mut self, from: SocketAddr, established: Established) -> Option<Connection> {
        let socket = match socket::open_beside(&self.socket, self.local, from, self.peak) {
            Ok(socket) => socket,
            Err(error) => {
                log::warn!(caller:% = from, error:? = error; "no socket for an SRT caller");
                return None; // it is forgotten at once, since nobody is present for it
            }
        };
        let presence = Arc::new(());
        self.present.push((established.core.settings.local_sockid, Arc::downgrade(&presence)));
        self.send(from);
        let wire = Wire::new(socket, &established);
        Some(Connection { wire, established, peak: self.peak, presence: Some(presence) })
    }
}

/// Says who was turned away and why, not more often than anybody would read.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    fn about(&mut self, now: Instant, caller: SocketAddr, reason: Refusal) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < COMPLAINT_INTERVAL) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(now);
        let unsaid = std::mem::take(&mut self.unsaid);
        log::warn!(caller:%, reason:%, code = reason.code(), others_unsaid = unsaid; "SRT caller refused");
    }
}

/// Longer than any datagram of SRT (1500 bytes of IP); the rest of a longer one is cut off.
const DATAGRAM_BYTES: usize = 2048;
/// More than honest callers ever send in one go.
const DATAGRAMS_AT_ONCE: usize = 64;
/// After so many in one go, the system may throw away what comes: at most 32,000 a second are read,
/// some percent of a core.
const REST: Duration = Duration::from_millis(2);
/// A socket that fails at once does so again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// One line in so many is enough to know that somebody tries.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);
