//! Why there is no connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use srt_protocol::packet::{CoreRejectReason, RejectReason};

/// Why an attempt to connect came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or the resolver did not answer.
    #[error("cannot resolve host {host:?}")]
    Resolve { host: String, source: io::Error },
    /// The socket could not be set up.
    #[error("cannot {operation} for {remote}")]
    Io { operation: &'static str, remote: SocketAddr, source: io::Error },
    /// The peer answered and does not want us as we are: trying again without a change is of little use.
    #[error("{remote} refuses the connection: {reason}")]
    Refused { remote: SocketAddr, reason: RefusedBecause },
    /// Nobody completed the handshake in time.
    #[error("no SRT handshake with {remote} within {} s: {cause}", after.as_secs_f64())]
    TimedOut { remote: SocketAddr, after: Duration, cause: SilentBecause },
    /// A defect of the protocol implementation, caught.
    #[error("the SRT handshake with {remote} panicked: {message}")]
    Panicked { remote: SocketAddr, message: String },
}

impl ConnectError {
    /// True where a person has to change something at either end.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ConnectError::Refused { .. })
    }
}

/// Why nobody can be listened for.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, the address is not this machine's, or the system has no socket to give.
    #[error("cannot {operation} {local}")]
    Io { operation: &'static str, local: SocketAddr, source: io::Error },
}

/// What the peer has against us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedBecause {
    /// Both ends have a passphrase, and they differ.
    WrongPassphrase,
    /// The peer wants encryption, and we have no passphrase.
    PassphraseMissing,
    /// We have a passphrase, and the peer does not encrypt.
    UnexpectedPassphrase,
    /// The peer takes only smaller packets than the seven TS packets that everybody uses.
    PacketsTooLarge { largest: u32 },
    /// The peer hung up on what we proposed, as libsrt does in a rendezvous.
    Unexplained,
    /// Any other rejection, with the code of SRT's handshake.
    Peer { code: i32, name: String },
}

impl RefusedBecause {
    /// What a rejection means, given whether we offered a passphrase.
    pub(super) fn rejected(code: i32, encrypted: bool) -> Self {
        match RejectReason::try_from(code) {
            Ok(RejectReason::Core(CoreRejectReason::BadSecret)) => RefusedBecause::WrongPassphrase,
            // libsrt says the same to both: only one side has a passphrase.
            Ok(RejectReason::Core(CoreRejectReason::Unsecure)) if encrypted => {
                RefusedBecause::UnexpectedPassphrase
            }
            Ok(RejectReason::Core(CoreRejectReason::Unsecure)) => RefusedBecause::PassphraseMissing,
            Ok(reason) => RefusedBecause::Peer { code, name: reason.to_string() },
            Err(code) => RefusedBecause::Peer { code, name: "not a code of SRT".into() },
        }
    }
}

impl fmt::Display for RefusedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedBecause::WrongPassphrase => f.write_str("the passphrase is not the peer's"),
            RefusedBecause::PassphraseMissing => {
                f.write_str("the peer wants encryption, and no passphrase is configured here")
            }
            RefusedBecause::UnexpectedPassphrase => {
                f.write_str("a passphrase is configured here, and the peer does not encrypt")
            }
            RefusedBecause::PacketsTooLarge { largest } => {
                write!(f, "the peer takes packets of at most {largest} bytes")
            }
            RefusedBecause::Unexplained => {
                f.write_str("the peer hung up without a reason; are both passphrases the same?")
            }
            RefusedBecause::Peer { code, name } => write!(f, "{name} (code {code})"),
        }
    }
}

/// What is known about a peer that never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilentBecause {
    /// Nothing came back at all.
    NoAnswer,
    /// ICMP said that the port is closed. It may have been stale or forged, so we went on asking.
    NoListener,
    /// The system had no way there, all of the time.
    Unreachable(io::ErrorKind),
    /// Something answered, but not with a handshake that can be used.
    NoUsableAnswer,
}

impl fmt::Display for SilentBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SilentBecause::NoAnswer => f.write_str("no answer"),
            SilentBecause::NoListener => f.write_str("connection refused by host (no listener on the port)"),
            SilentBecause::Unreachable(kind) => write!(f, "{kind}"),
            SilentBecause::NoUsableAnswer => f.write_str("the answers were no usable SRT handshake"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_reads_by_what_we_offered() {
        assert_eq!(RefusedBecause::rejected(1010, true), RefusedBecause::WrongPassphrase);
        assert_eq!(RefusedBecause::rejected(1011, true), RefusedBecause::UnexpectedPassphrase);
        assert_eq!(RefusedBecause::rejected(1011, false), RefusedBecause::PassphraseMissing);
        let forbidden = RefusedBecause::rejected(2403, false);
        assert!(matches!(forbidden, RefusedBecause::Peer { code: 2403, .. }), "{forbidden}");
        assert!(matches!(RefusedBecause::rejected(7, false), RefusedBecause::Peer { code: 7, .. }));
    }
}
