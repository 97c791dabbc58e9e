//! A link in real time: UDP datagrams between clients and a server, through the link model.
//!
//! One thread owns the sockets and waits with `ppoll`, which keeps departures to a fraction of a
//! millisecond (tokio's timers have a grain of 1 ms). Each client address has a socket of its own
//! towards the server, so that a client that comes back from another port, or a second client, is
//! another peer to the server too; all of them share the two directions of the one link. So do several
//! routes (a port for clients, a server behind it) of one relay, and the uploads of the spec. The
//! link's time starts with the first datagram of a client.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io::{self, PipeReader, PipeWriter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::cubic::Uploads;
use super::srt_header::SrtCounter;
pub use super::srt_header::SrtPackets;
use super::{Counters, Link, Spec, Traffic, Verdict, on_the_wire};
use crate::units::{Bitrate, ByteCount};

/// A running relay. Dropping it stops it; what is still under way is lost.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    /// Dropped to wake the thread for the last time.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What one direction of a relay has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionCounters {
    /// What the link made of the datagrams, and of the packets of cross traffic.
    pub link: Counters,
    /// Datagrams that the link delivered and the relay could not hand on: the link was cut while
    /// they were under way, their client was forgotten, or a socket refused them.
    pub not_forwarded: u64,
    /// SRT packets among the datagrams received, before the link touched them.
    pub srt: SrtPackets,
    /// Bytes that wait for the bottleneck.
    pub queued: ByteCount,
    /// What the bottleneck can carry now; `None` is unlimited.
    pub capacity: Option<Bitrate>,
}

/// What a relay has seen, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// From clients to the server.
    pub up: DirectionCounters,
    /// From the server to clients.
    pub down: DirectionCounters,
    /// Client addresses seen, one that came back after having been forgotten counted again.
    pub clients: u64,
    /// Cross traffic (the spec's `cross`) that has arrived.
    pub cross: Traffic,
}

/// What one route of a relay has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounters {
    /// What the link made of its datagrams, from clients to its server and back.
    pub up: Counters,
    pub down: Counters,
    /// SRT packets among them.
    pub srt_up: SrtPackets,
    pub srt_down: SrtPackets,
}

/// A datagram from a client, as it came to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    pub at: Duration,
    /// The place of its route among those that the relay was started with.
    pub route: usize,
    /// On the wire, headers included.
    pub bytes: ByteCount,
    pub verdict: Verdict,
}

impl Relay {
    /// Listens on `listen` (port 0 takes a free one, see [`Relay::address`]) and forwards to
    /// `target` and back, through a link as `spec` says.
    pub fn start(listen: SocketAddr, target: SocketAddr, spec: Spec) -> io::Result<Relay> {
        Relay::start_shared(&[(listen, target)], spec)
    }

    /// The same with several routes, each of an address to listen on and its target, over one link.
    /// At least one.
    pub fn start_shared(routes: &[(SocketAddr, SocketAddr)], spec: Spec) -> io::Result<Relay> {
        if routes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a relay needs a route"));
        }
        let fronts = routes.iter().map(|(listen, _)| socket(*listen)).collect::<io::Result<Vec<_>>>()?;
        let addresses = fronts.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
        let targets = routes.iter().map(|(_, target)| *target).collect();
        let (woken, stop) = io::pipe()?;
        let state = Mutex::new(State::new(&spec, routes.len()));
        let shared = Arc::new(Shared { fronts, state });
        let worker = Worker::new(Arc::clone(&shared), woken, targets);
        let thread = thread::Builder::new().name("link-relay".to_owned()).spawn(move || worker.run())?;
        Ok(Relay { addresses, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients send to: of the first route.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0] // there is one: `start_shared` sees to it
    }

    /// Where the clients of each route send to.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn counters(&self) -> RelayCounters {
        let mut state = self.shared.state();
        let now = state.advance();
        RelayCounters {
            up: state.counters(Way::Up, now),
            down: state.counters(Way::Down, now),
            clients: state.clients,
            cross: state.uploads.delivered().fold(Traffic::default(), |sum, one| Traffic {
                packets: sum.packets + one.packets,
                bytes: sum.bytes + one.bytes,
            }),
        }
    }

    /// What each route has seen.
    pub fn routes(&self) -> Vec<RouteCounters> {
        self.shared.state().routes.iter().map(Route::counters).collect()
    }

    /// The link's time: since the first datagram of a client.
    pub fn elapsed(&self) -> Duration {
        self.shared.state().now()
    }

    /// What the uplink could have carried, by the link's time; `None` for no limit.
    pub fn capacity_between(&self, from: Duration, to: Duration) -> Option<ByteCount> {
        self.shared.state().up.link.capacity_between(from, to)
    }

    /// Keeps what becomes of each datagram from a client from now on, up to [`MAX_PASSAGES`] of them
    /// until they are [taken](Relay::take_record); later ones are left out of it.
    pub fn record(&self) {
        self.shared.state().record.get_or_insert_default();
    }

    /// What was kept since the last time, in order.
    pub fn take_record(&self) -> Vec<Passage> {
        self.shared.state().record.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Cuts the link in both directions, with all that is under way, or restores it.
    pub fn set_outage(&self, cut: bool) {
        let mut state = self.shared.state();
        state.cut = cut;
        state.up.link.set_outage(cut);
        state.down.link.set_outage(cut);
    }

    /// Sends a datagram to the newest client at once, past the link, from the address that the
    /// client believes to be its server. `NotConnected` before there is a client.
    pub fn inject(&self, datagram: &[u8]) -> io::Result<()> {
        let (route, client) = self.shared.state().newest_client.ok_or(io::ErrorKind::NotConnected)?;
        self.shared.fronts[route].send_to(datagram, client).map(|_| ())
    }

    /// The client that a new address was last seen of.
    pub fn client(&self) -> Option<SocketAddr> {
        self.shared.state().newest_client.map(|(_, client)| client)
    }

    /// The SRT socket id of a client, as the server of the newest client last addressed it.
    pub fn client_srt_socket(&self) -> Option<u32> {
        let state = self.shared.state();
        let (route, _) = state.newest_client?;
        state.routes[route].down.srt.last_destination()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(address:% = self.address(); "link relay panicked");
        }
    }
}

#[derive(Debug)]
struct Shared {
    fronts: Vec<UdpSocket>,
    state: Mutex<State>,
}

impl Shared {
    /// Counters and links stay usable after a panic elsewhere.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State {
    started: Option<Instant>,
    up: Direction,
    down: Direction,
    routes: Vec<Route>,
    uploads: Uploads,
    cut: bool,
    newest_client: Option<(usize, SocketAddr)>,
    clients: u64,
    /// At most [`MAX_PASSAGES`], newcomers lose; `None` where nobody wants them.
    record: Option<Vec<Passage>>,
}

#[derive(Debug)]
struct Direction {
    link: Link,
    not_forwarded: u64,
}

/// What the datagrams of one route were.
#[derive(Debug, Default)]
struct Route {
    up: RouteDirection,
    down: RouteDirection,
}

#[derive(Debug, Default)]
struct RouteDirection {
    link: Counters,
    srt: SrtCounter,
}

impl State {
    fn new(spec: &Spec, routes: usize) -> Self {
        let direction = |link| Direction { link, not_forwarded: 0 };
        State {
            started: None,
            up: direction(spec.uplink()),
            down: direction(spec.downlink()),
            routes: (0..routes).map(|_| Route::default()).collect(),
            uploads: spec.uploads(),
            cut: false,
            newest_client: None,
            clients: 0,
            record: None,
        }
    }

    /// The link's time: since the first datagram of a client.
    fn now(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Lets the cross traffic catch up with the time that it is now.
    fn advance(&mut self) -> Duration {
        let now = self.now();
        self.uploads.advance(now, &mut self.up.link);
        now
    }

    /// Puts a datagram on the link: when it is to leave it.
    fn offer(&mut self, way: Way, route: usize, datagram: &[u8]) -> Option<Duration> {
        let at = self.advance();
        let verdict = self.direction(way).link.offer(at, datagram.len());
        let bytes = on_the_wire(datagram.len());
        let seen = self.routes[route].direction(way);
        seen.srt.see(datagram);
        seen.link.add(verdict, bytes);
        if let (Way::Up, Some(record)) = (way, &mut self.record)
            && record.len() < MAX_PASSAGES
        {
            record.push(Passage { at, route, bytes: ByteCount::new(bytes.into()), verdict });
        }
        match verdict {
            Verdict::Deliver { at, .. } => Some(at),
            Verdict::Dropped(_) => None,
        }
    }

    fn direction(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn counters(&mut self, way: Way, now: Duration) -> DirectionCounters {
        let srt = self.routes.iter_mut().map(|route| route.direction(way).srt.packets());
        let srt = srt.fold(SrtPackets::default(), SrtPackets::add);
        let direction = self.direction(way);
        DirectionCounters {
            link: direction.link.counters(),
            not_forwarded: direction.not_forwarded,
            srt,
            queued: direction.link.queued(now),
            capacity: direction.link.capacity(now),
        }
    }
}

impl Route {
    fn direction(&mut self, way: Way) -> &mut RouteDirection {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn counters(&self) -> RouteCounters {
        RouteCounters {
            up: self.up.link,
            down: self.down.link,
            srt_up: self.up.srt.packets(),
            srt_down: self.down.srt.packets(),
        }
    }
}

/// The relay's thread.
struct Worker {
    shared: Arc<Shared>,
    woken: PipeReader,
    /// Of each route.
    targets: Vec<SocketAddr>,
    /// At most [`MAX_SESSIONS`]; the one silent for longest gives way.
    sessions: Vec<Session>,
    /// Under way, at most [`MAX_HELD_BYTES`]; newcomers lose.
    departures: BinaryHeap<Reverse<Departure>>,
    held_bytes: usize,
    order: u64,
}

/// A client's address, and the socket that stands for it towards the server.
struct Session {
    id: u64,
    route: usize,
    client: SocketAddr,
    back: UdpSocket,
    heard: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Departure {
    at: Duration,
    /// Keeps packets of the same time in their order.
    order: u64,
    way: Way,
    session: u64,
    datagram: Box<[u8]>,
}

impl Worker {
    fn new(shared: Arc<Shared>, woken: PipeReader, targets: Vec<SocketAddr>) -> Self {
        Worker {
            shared,
            woken,
            targets,
            sessions: Vec::new(),
            departures: BinaryHeap::new(),
            held_bytes: 0,
            order: 0,
        }
    }

    fn run(mut self) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        loop {
            match self.wait() {
                Ok(Wake::Stop) => return,
                Ok(Wake::Work) => {}
                Err(error) => {
                    log::error!(error:%; "link relay cannot wait for its sockets and stops");
                    return;
                }
            }
            self.receive_from_clients(&mut buffer);
            self.receive_from_server(&mut buffer);
            self.forward_due();
        }
    }

    /// Until a socket is readable, a departure is due, cross traffic has something to do, or the relay
    /// is to stop.
    fn wait(&self) -> io::Result<Wake> {
        let departure = self.departures.peek().map(|Reverse(next)| next.at);
        let timeout = {
            let state = self.shared.state();
            let cross = state.started.and_then(|_| state.uploads.next_deadline());
            [departure, cross].into_iter().flatten().min().map(|due| {
                let wait = due.saturating_sub(state.now());
                // An i64 holds the seconds of any wait that a link can ask for, and 32 bits the rest.
                Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) as _ }
            })
        };
        let mut sources = vec![PollFd::new(&self.woken, PollFlags::IN)];
        sources.extend(self.shared.fronts.iter().map(|front| PollFd::new(front, PollFlags::IN)));
        sources.extend(self.sessions.iter().map(|session| PollFd::new(&session.back, PollFlags::IN)));
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) if !sources[0].revents().is_empty() => Ok(Wake::Stop),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wake::Work),
            Err(error) => Err(error.into()),
        }
    }

    fn receive_from_clients(&mut self, buffer: &mut [u8]) {
        for route in 0..self.targets.len() {
            for _ in 0..BATCH {
                match self.shared.fronts[route].recv_from(buffer) {
                    Ok((length, client)) => match self.session_of(route, client) {
                        Ok(session) => self.offer(Way::Up, route, session, &buffer[..length]),
                        Err(error) => {
                            log::warn!(client:%, error:%; "link relay has no socket for a client");
                            self.shared.state().up.not_forwarded += 1;
                        }
                    },
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What went wrong with a datagram sent earlier is reported here.
                    Err(_) => self.shared.state().down.not_forwarded += 1,
                }
            }
        }
    }

    fn receive_from_server(&mut self, buffer: &mut [u8]) {
        for index in 0..self.sessions.len() {
            for _ in 0..BATCH {
                let Session { id, route, back, .. } = &self.sessions[index];
                match back.recv(buffer) {
                    Ok(length) => self.offer(Way::Down, *route, *id, &buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Nobody listens at the target (yet): an earlier datagram was refused.
                    Err(_) => self.shared.state().up.not_forwarded += 1,
                }
            }
        }
    }

    /// Puts a datagram on the link, and keeps it until it leaves.
    fn offer(&mut self, way: Way, route: usize, session: u64, datagram: &[u8]) {
        let mut state = self.shared.state();
        let Some(at) = state.offer(way, route, datagram) else { return };
        if self.held_bytes + datagram.len() > MAX_HELD_BYTES {
            state.direction(way).not_forwarded += 1;
            return;
        }
        drop(state);
        self.held_bytes += datagram.len();
        self.order += 1;
        let order = self.order;
        self.departures.push(Reverse(Departure { at, order, way, session, datagram: datagram.into() }));
    }

    fn forward_due(&mut self) {
        let mut state = self.shared.state();
        let now = state.advance();
        while let Some(Reverse(next)) = self.departures.peek()
            && next.at <= now
        {
            let Some(Reverse(due)) = self.departures.pop() else { return };
            self.held_bytes -= due.datagram.len();
            let session = self.sessions.iter().find(|session| session.id == due.session);
            let forwarded = match session {
                Some(session) if !state.cut => match due.way {
                    Way::Up => session.back.send(&due.datagram).is_ok(),
                    Way::Down => {
                        self.shared.fronts[session.route].send_to(&due.datagram, session.client).is_ok()
                    }
                },
                _ => false,
            };
            if !forwarded {
                state.direction(due.way).not_forwarded += 1;
            }
        }
    }

    /// The session of a client, made when it is new.
    fn session_of(&mut self, route: usize, client: SocketAddr) -> io::Result<u64> {
        let now = Instant::now();
        if let Some(session) =
            self.sessions.iter_mut().find(|session| (session.route, session.client) == (route, client))
        {
            session.heard = now;
            return Ok(session.id);
        }
        let target = self.targets[route];
        let back = socket(unspecified(target.ip()))?;
        back.connect(target)?;
        if self.sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = (0..self.sessions.len()).min_by_key(|index| self.sessions[*index].heard)
        {
            self.sessions.swap_remove(oldest);
        }
        let mut state = self.shared.state();
        state.started.get_or_insert(now);
        state.newest_client = Some((route, client));
        state.clients += 1;
        let id = state.clients;
        self.sessions.push(Session { id, route, client, back, heard: now });
        Ok(id)
    }
}

enum Wake {
    Stop,
    Work,
}

impl Ord for Departure {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Departure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Departure {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Departure {}

/// A non-blocking socket with large buffers: a burst must be lost by the model or not at all.
fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // Only root may pass the system's limit; what the system allows has to do for others.
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    }
    Ok(socket)
}

/// Any free port of the family of `ip`.
fn unspecified(ip: IpAddr) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Client addresses at a time: enough for tests with several senders, each with reconnects.
const MAX_SESSIONS: usize = 16;
/// Passages: five minutes at 10 Mbit/s, 12 MB.
const MAX_PASSAGES: usize = 1 << 18;
/// Datagrams read from one socket before the others, and departures, have their turn.
const BATCH: usize = 64;
/// Bytes under way: a second at half a Gbit/s.
const MAX_HELD_BYTES: usize = 64 << 20;
/// Bytes: half a second at 60 Mbit/s of a relay that gets no CPU.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Bytes: what UDP can carry.
const LARGEST_DATAGRAM: usize = 65_535;

#[cfg(test)]
mod tests;
