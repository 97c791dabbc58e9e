//! The task of a connection: one socket, one [`Sender`], one input.
//!
//! Everything happens in the future of [`run`], which owns all of it. It wakes for a datagram, for
//! chunks, for another allowance, and at the sender's deadline or for the next measurement, whichever is first. It may be
//! dropped at any point: the peer is then told by the [`Wire`]'s `Drop`.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::error::{ConnectError, SilentBecause};
use super::guard::Rejection;
use super::handshake::{Caller, Established, Step, fresh_socket_id, initial_sequence};
use super::measurement::Measurement;
use super::rendezvous::{Rendezvous, Us};
use super::responder::Terms;
use super::sender::{Finished, Sender};
use super::{Allowance, CONNECT_TIMEOUT, Ended, RENDEZVOUS_TIMEOUT, Target, Tuning, socket};
use crate::transport::Chunk;

/// A socket whose peer believes in a connection, and is told when it goes away.
pub struct Wire {
    socket: UdpSocket,
    shutdown: BytesMut,
}

impl Wire {
    /// For a connection that was just made on this socket.
    pub fn new(socket: UdpSocket, established: &Established) -> Self {
        Wire { socket, shutdown: farewell(established) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // libsrt listens again at once after a Shutdown, and after five seconds without one.
        if let Err(error) = self.socket.try_send(&self.shutdown) {
            log::debug!(error:% = error; "SRT Shutdown not sent");
        }
    }
}

/// A side of a handshake.
enum Side {
    Caller(Box<Caller>),
    Rendezvous(Box<Rendezvous>),
}

impl Side {
    /// See [`Caller::request`] and [`Rendezvous::request`].
    fn request(&mut self, now: Instant, out: &mut BytesMut) {
        match self {
            Side::Caller(caller) => caller.request(now, out),
            Side::Rendezvous(rendezvous) => rendezvous.request(now, out),
        }
    }

    /// See [`Caller::receive`] and [`Rendezvous::receive`].
    fn receive(&mut self, now: Instant, datagram: &[u8], out: &mut BytesMut) -> Result<Step, Rejection> {
        match self {
            Side::Caller(caller) => caller.receive(now, datagram, out),
            Side::Rendezvous(rendezvous) => rendezvous.receive(now, datagram, out),
        }
    }
}

/// The handshake of a caller, on a socket of its own.
pub async fn connect(target: &Target, tuning: &Tuning) -> Result<(Wire, Established), ConnectError> {
    let remote = target.remote;
    let socket = socket::open(remote, target.peak)?;
    let local = socket.local_addr().map_err(|source| ConnectError::Io {
        operation: "read the local address",
        remote,
        source,
    })?;
    let side = Side::Caller(Box::new(Caller::new(target, local.ip(), tuning)));
    shake_hands(remote, socket, side, CONNECT_TIMEOUT).await
}

/// The handshake of a rendezvous, on a socket of its own at the peer's port.
pub async fn meet(target: &Target, tuning: &Tuning) -> Result<(Wire, Established), ConnectError> {
    let remote = target.remote;
    let local = SocketAddr::new(socket::way_to(remote)?, remote.port());
    let socket = socket::open_at(local, remote, target.peak)?;
    let Target { latency, stream_id, encryption, .. } = target.clone();
    let terms = Terms { latency, stream_id, encryption, tuning: tuning.clone() };
    let now = Instant::now();
    let us = Us {
        socket: fresh_socket_id(),
        cookie: rand::random::<u32>() | 1, // libsrt takes zero for none
        initial_sequence: initial_sequence(tuning),
        epoch: now.checked_sub(tuning.lead).unwrap_or(now),
    };
    let side = Side::Rendezvous(Box::new(Rendezvous::new(terms, remote, us, now)));
    shake_hands(remote, socket, side, RENDEZVOUS_TIMEOUT).await
}

async fn shake_hands(
    remote: SocketAddr,
    socket: UdpSocket,
    side: Side,
    patience: Duration,
) -> Result<(Wire, Established), ConnectError> {
    let attempt = AssertUnwindSafe(exchange(remote, socket, side, patience)).catch_unwind();
    attempt.await.unwrap_or_else(|panic| {
        Err(ConnectError::Panicked { remote, message: panic_message(panic.as_ref()) })
    })
}

async fn exchange(
    remote: SocketAddr,
    socket: UdpSocket,
    mut side: Side,
    patience: Duration,
) -> Result<(Wire, Established), ConnectError> {
    let mut end = pin!(tokio::time::sleep(patience));
    let mut repeat = interval(REPEAT_REQUEST);
    repeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut request = BytesMut::with_capacity(DATAGRAM_BYTES);
    let mut datagram = [0; DATAGRAM_BYTES];
    let mut cause = SilentBecause::NoAnswer;
    loop {
        request.clear();
        let step = tokio::select! {
            () = &mut end => return Err(ConnectError::TimedOut { remote, after: patience, cause }),
            _ = repeat.tick() => {
                side.request(Instant::now(), &mut request);
                Step::Send
            }
            received = socket.recv(&mut datagram) => match received {
                Ok(length) => match side.receive(Instant::now(), &datagram[..length], &mut request) {
                    Ok(step) => step,
                    Err(_) => {
                        cause = SilentBecause::NoUsableAnswer;
                        continue;
                    }
                },
                Err(error) => {
                    cause = unreachable(&error);
                    continue;
                }
            }
        };
        if !request.is_empty()
            && let Err(error) = socket.send(&request).await
        {
            cause = unreachable(&error);
        }
        match step {
            Step::Waiting | Step::Send => {}
            Step::Connected(established) => return Ok((Wire::new(socket, &established), *established)),
            Step::Refused(reason) => return Err(ConnectError::Refused { remote, reason }),
        }
    }
}

/// Sends what comes from `input` until there is no more of it, or the connection ends.
pub async fn run(
    wire: Wire,
    sender: Sender,
    input: &mut mpsc::Receiver<Chunk>,
    report: &watch::Sender<Measurement>,
    allowance: watch::Receiver<Allowance>,
) -> Ended {
    let drive = AssertUnwindSafe(drive(wire, sender, input, report, allowance)).catch_unwind();
    match drive.await {
        Ok(Finished::Drained) => Ended::Drained,
        Ok(Finished::ClosedByPeer) => Ended::ClosedByPeer,
        Ok(Finished::PeerIdle { silence }) => Ended::PeerIdle { silence },
        Err(panic) => {
            Ended::Failed { reason: format!("the SRT sender panicked: {}", panic_message(panic.as_ref())) }
        }
    }
}

async fn drive(
    mut wire: Wire,
    mut sender: Sender,
    input: &mut mpsc::Receiver<Chunk>,
    report: &watch::Sender<Measurement>,
    mut allowance: watch::Receiver<Allowance>,
) -> Finished {
    let mut out = BytesMut::with_capacity(DATAGRAM_BYTES);
    let mut datagram = [0; DATAGRAM_BYTES];
    let mut chunks = Vec::with_capacity(CHUNKS_AT_ONCE);
    let mut next_report = Instant::now();
    let mut wake = pin!(sleep_until(next_report.into()));
    let (mut open, mut unsent, mut send_error) = (true, false, None);
    let mut may_change = true;
    sender.allow(Instant::now(), *allowance.borrow_and_update());
    let finished = loop {
        let now = Instant::now();
        if let Some(finished) = sender.poll(now) {
            break finished;
        }
        unsent = send_all(&wire.socket, &mut sender, now, &mut out, unsent, &mut send_error);
        if open && input.is_closed() {
            sender.expect_last(now, input.len());
            if input.is_empty() {
                open = false;
                sender.close(now);
            }
        }
        // What is not allowed waits in the input, and at a full buffer, when the stream is above its own peak:
        // the queue before us knows better than we do what of it to drop.
        let room = sender.admits(now, input.len()).min(CHUNKS_AT_ONCE);
        if now >= next_report {
            report.send_replace(sender.report(now));
            next_report = now + REPORT_INTERVAL;
        }
        wake.as_mut().reset(sender.deadline(now).min(next_report).into());
        tokio::select! {
            () = &mut wake => {}
            // A failure here shows again, and is counted, at the sending or the receiving.
            _ = wire.socket.writable(), if unsent => {}
            _ = wire.socket.readable() => receive_all(&wire.socket, &mut sender, &mut datagram),
            changed = allowance.changed(), if may_change => {
                may_change = changed.is_ok();
                sender.allow(Instant::now(), *allowance.borrow_and_update());
            }
            // None of them: the input was closed.
            _ = input.recv_many(&mut chunks, room), if open && room > 0 => {
                let now = Instant::now();
                chunks.drain(..).for_each(|chunk| sender.push(now, chunk));
            }
        }
    };
    let now = Instant::now();
    report.send_replace(sender.report(now));
    sender.shutdown(now, &mut wire.shutdown);
    let rejections = sender.rejections();
    if rejections.total() > 0 {
        log::warn!(
            malformed = rejections.of(Rejection::Malformed),
            wrong_socket = rejections.of(Rejection::WrongSocket),
            data = rejections.of(Rejection::Data),
            unwanted = rejections.of(Rejection::Unwanted),
            outside_window = rejections.of(Rejection::OutsideWindow);
            "SRT datagrams rejected"
        );
    }
    finished
}

/// Sends until there is nothing left, or the socket is full: then `out` holds the datagram that waits,
/// and the answer is true.
fn send_all(
    socket: &UdpSocket,
    sender: &mut Sender,
    now: Instant,
    out: &mut BytesMut,
    mut unsent: bool,
    send_error: &mut Option<io::ErrorKind>,
) -> bool {
    while unsent || sender.next_datagram(now, out) {
        match socket.try_send(out) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // No route, no buffers, a filter's or a neighbour's refusal: they come and go, and
            // whether the peer is gone is for its silence to say.
            Err(error) => {
                sender.send_failed();
                if send_error.replace(error.kind()) != Some(error.kind()) {
                    log::info!(error:% = error; "SRT datagram not sent");
                }
            }
        }
        unsent = false;
    }
    false
}

/// Takes what has arrived, but not so much that a flood keeps us from sending.
fn receive_all(socket: &UdpSocket, sender: &mut Sender, datagram: &mut [u8]) {
    let now = Instant::now();
    for _ in 0..DATAGRAMS_AT_ONCE {
        match socket.try_recv(datagram) {
            Ok(length) => sender.receive(now, &datagram[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // An ICMP message about something that we sent.
            Err(_) => sender.send_failed(),
        }
    }
}

/// The Shutdown of a connection that is dropped before it runs.
fn farewell(established: &Established) -> BytesMut {
    let mut out = BytesMut::with_capacity(32);
    established.write_shutdown(&mut out);
    out
}

/// What an error of the socket says about a peer that has not answered.
fn unreachable(error: &io::Error) -> SilentBecause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => SilentBecause::NoListener,
        kind => SilentBecause::Unreachable(kind),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// libsrt's interval for repeated handshake requests.
const REPEAT_REQUEST: Duration = Duration::from_millis(250);
/// How often a measurement is published: the rate controller's step.
const REPORT_INTERVAL: Duration = Duration::from_millis(20);
/// Longer than any datagram of SRT (1500 bytes of IP); the rest of a longer one is cut off.
const DATAGRAM_BYTES: usize = 2048;
/// Chunks taken from the input in one go: a key frame's worth.
const CHUNKS_AT_ONCE: usize = 64;
/// Datagrams taken from the socket in one go.
const DATAGRAMS_AT_ONCE: usize = 64;
