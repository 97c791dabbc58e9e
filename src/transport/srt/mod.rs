//! SRT connections that send, called, calling or meeting: a driver of our own over `srt-protocol`.
//!
//! ```text
//!   Chunk ──▶ driver ──▶ Sender ──▶ DuplexConnection (srt-protocol) ──▶ Sender ──▶ driver ──▶ UDP
//!             (tokio)    (pure)      numbers, encrypts, keeps           (pure)     (tokio)
//!                          ▲ │
//!     guard: datagram ─────┘ └── pacer: how fast chunks are taken from the input
//!     → checked values           window, governor: what is in flight, what is sent again
//!                                measurement: what the wire says → watch, every 20 ms
//! ```
//!
//! How a connection comes about, each way with a pure machine and a socket:
//!
//! ```text
//!   connect      handshake: calls a listener ─────────────────┐
//!   rendezvous   rendezvous: both call, the cookies decide ────┼──▶ Connection
//!   Listener     doorkeeper: who may call; responder: on what ─┘    (one for each caller)
//! ```
//!
//! `srt-tokio`, the socket that comes with `srt-protocol`, is not used: as a sender it lost packets
//! that libsrt does not lose (0.9 % at 2 % wire loss) and sent up to 65 % more. The core below it is
//! sound where it is driven with care. What 0.4.4 gets wrong for one who sends, and where that
//! is met:
//!
//! | defect | met in |
//! |---|---|
//! | The Conclusion carries the listener's timestamp, so a libsrt peer puts our clock's start at its own: latency 0 and no loss recovery for the first 11 s | `handshake`: our own time base |
//! | A sender's latency is read from the wrong half of the listener's answer | `handshake` |
//! | A key that the peer could not use is not noticed | `handshake` |
//! | `todo!()`, slices past the end, assertions and endless ranges on forged datagrams; arithmetic that overflows on forged round trips, timestamps and ACK numbers | `guard` and `sender`: no datagram reaches the core's parser, no unchecked number the core; and a panic ends a connection, never the daemon (`driver`) |
//! | Each NAK and a timer for each packet retransmit | `governor` |
//! | Most statistics are never assigned, drops as too late are not counted | `measurement`, `sender` |
//! | A full send buffer forgets what to send next | `sender`: sized for the peak, never overfilled |
//! | Packets dropped as too late stay in the timer queue, and stop it | `sender` gives packets up itself |
//! | An acknowledgement that finds the buffer empty gets no ACK2 | `sender` |
//! | Received data that nobody takes blocks the socket | `guard`: data is not let in |
//! | Closing throws the last `latency` of the stream away | `sender`: waits until it was played |
//! | Addresses are strings, and the first one of a name is taken | `socket` |
//! | A bandwidth limit adds a queue | `handshake`: none |
//! | A listener's answer has its two latencies in each other's place; a key of another length, or one where none is wanted, ends the task (`unimplemented!`) | `responder`: our own answer |
//! | A listener keeps each Induction, and one that is followed by nothing wedges it; its cookie is an unkeyed hash | `doorkeeper`: keeps nothing, keys its cookies |
//! | Rendezvous: every datagram at time zero, a first sequence number that changes, equal cookies on one host | `rendezvous`: our own machine |
//!
//! Datagrams from other addresses are dropped by the system, since the socket is connected. Whoever
//! can forge the peer's address *and* knows the random socket id can still end the connection with a
//! Shutdown, as with any SRT implementation: the protocol does not authenticate its control packets.

mod attempts;
mod doorkeeper;
mod driver;
mod error;
mod governor;
mod guard;
mod handshake;
mod listener;
mod measurement;
mod pacer;
mod rendezvous;
mod responder;
mod sender;
mod shake;
mod socket;
mod window;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::config::KeyLength;
use crate::transport::Chunk;
use crate::units::{Bitrate, ByteCount};
pub use error::{ConnectError, ListenError, RefusedBecause, SilentBecause};
pub use listener::{Listener, Reception};
pub use measurement::{Measurement, Traffic};
pub use socket::resolve;

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// From [`resolve`], anew for each attempt.
    pub remote: SocketAddr,
    /// At most 65 s; the receiver may ask for more, see [`Connection::latency`].
    pub latency: Duration,
    /// At most 512 bytes.
    pub stream_id: Option<String>,
    pub encryption: Option<Encryption>,
    /// The highest rate of the transport stream, until [`Allowance::peak`] says otherwise: bounds send buffer and
    /// retransmissions.
    pub peak: Bitrate,
}

/// What a connection may send; by default without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Of all that leaves, first transmissions, repetitions and control packets, in bits per second of IP
    /// packets. Only first transmissions wait for it.
    pub pace: Option<Bitrate>,
    /// Bytes of payload: with so many in the network ([`Measurement::in_network`]) nothing else is sent
    /// for the first time.
    pub window: Option<ByteCount>,
    /// The highest rate of the transport stream from now on; `None`: it is as before.
    pub peak: Option<Bitrate>,
}

/// How the stream is encrypted.
#[derive(Clone, Debug)]
pub struct Encryption {
    pub passphrase: Passphrase,
    pub key_length: KeyLength,
}

/// A secret of 10 to 79 bytes, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// # Errors
    /// Where SRT allows no passphrase of that length.
    pub fn new(text: &str) -> Result<Self, PassphraseLength> {
        match text.len() {
            10..=79 => Ok(Passphrase(text.to_owned())),
            bytes => Err(PassphraseLength { bytes }),
        }
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// SRT allows no such passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has {bytes} bytes; SRT allows 10 to 79")]
pub struct PassphraseLength {
    pub bytes: usize,
}

/// Calls a listener: one attempt, which gives up by itself after 3 s. May be dropped at any time.
///
/// # Errors
/// See [`ConnectError`]; `Refused` is the peer's own word, the rest may pass with time.
pub async fn connect(target: &Target) -> Result<Connection, ConnectError> {
    connect_tuned(target, &Tuning::default()).await
}

/// [`connect`], with what tests need to reach the rare places.
#[doc(hidden)]
pub async fn connect_tuned(target: &Target, tuning: &Tuning) -> Result<Connection, ConnectError> {
    let (wire, established) = driver::connect(target, tuning).await?;
    Ok(Connection { wire, established, peak: target.peak, presence: None })
}

/// Meets a peer that calls us while we call it: one attempt, which gives up by itself after 30 s. The
/// port of the peer is ours too. May be dropped at any time.
///
/// # Errors
/// See [`ConnectError`].
pub async fn rendezvous(target: &Target) -> Result<Connection, ConnectError> {
    rendezvous_tuned(target, &Tuning::default()).await
}

/// [`rendezvous`], with what tests need to reach the rare places.
#[doc(hidden)]
pub async fn rendezvous_tuned(target: &Target, tuning: &Tuning) -> Result<Connection, ConnectError> {
    let (wire, established) = driver::meet(target, tuning).await?;
    Ok(Connection { wire, established, peak: target.peak, presence: None })
}

/// What a test may choose and a stream does not.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Random where there is none.
    pub initial_sequence: Option<u32>,
    /// Packets between two keys, and from the announcement of a key to its use.
    pub key_refresh: Option<(usize, usize)>,
    /// How far our clock is ahead of zero at the Conclusion. Packets captured before the connection
    /// was there keep their pace within this time.
    pub lead: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { initial_sequence: None, key_refresh: None, lead: CLOCK_LEAD }
    }
}

/// An accepted connection. The peer is told when it is dropped.
pub struct Connection {
    wire: driver::Wire,
    established: handshake::Established,
    peak: Bitrate,
    /// Tells the listener that its caller is still there.
    presence: Option<Arc<()>>,
}

impl Connection {
    /// As negotiated: the larger of ours and the receiver's.
    pub fn latency(&self) -> Duration {
        self.established.latency
    }

    /// Sends what comes from `input`, and publishes a measurement every 20 ms and at the end. May be
    /// dropped at any time.
    ///
    /// What is not allowed yet waits in `input`, as does a stream above its peak rate. Once `input` is
    /// closed, what is in it leaves within half a second, so that the connection has drained a second
    /// after the latency.
    pub async fn run(
        self,
        input: &mut mpsc::Receiver<Chunk>,
        report: &watch::Sender<Measurement>,
        allowance: watch::Receiver<Allowance>,
    ) -> Ended {
        let Connection { wire, established, peak, presence } = self;
        let sender = sender::Sender::new(established, peak, Instant::now());
        let ended = driver::run(wire, sender, input, report, allowance).await;
        drop(presence);
        ended
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("latency", &self.latency()).finish_non_exhaustive()
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The input was closed, and what was sent has been played, or can no longer be in time.
    Drained,
    /// The peer said so.
    ClosedByPeer,
    /// Nothing at all was heard from the peer.
    PeerIdle { silence: Duration },
    /// A caught panic of the state machine.
    Failed { reason: String },
}

/// Callers of one listener: each has a queue of its own and takes the whole stream's rate. Beyond a
/// few, a server that multiplies the stream is the better tool.
pub const MAX_CALLERS: usize = 8;
/// Seven TS packets, SRT's usual payload (`SRT_LIVE_DEF_PLSIZE`).
const PAYLOAD_BYTES: usize = 1316;
/// libsrt's `SRTO_CONNTIMEO` default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What libsrt makes of it for a rendezvous: ten times as long, since both have to be there.
const RENDEZVOUS_TIMEOUT: Duration = Duration::from_secs(30);
/// libsrt's `SRTO_PEERIDLETIMEO` default.
const PEER_IDLE: Duration = Duration::from_secs(5);
/// Longer than the longest latency (30 s): what was captured earlier than that is too late anyway.
const CLOCK_LEAD: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_has_srts_length_and_is_never_shown() {
        for (length, allowed) in [(9, false), (10, true), (79, true), (80, false)] {
            assert_eq!(Passphrase::new(&"x".repeat(length)).is_ok(), allowed, "{length}");
        }
        let passphrase = Passphrase::new("correct-horse").unwrap();
        let shown = format!("{:?}", Encryption { passphrase, key_length: KeyLength::Aes128 });
        assert!(!shown.contains("horse"), "{shown}");
    }
}
