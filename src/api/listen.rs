//! Where the API listens, and who comes in.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustix::fs::{Access as AccessMode, access};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::access::Access;
use super::connection::{self, Tls, Visit};
use super::guard::Door;
use super::handshakes::Handshakes;
use super::keys::{KeyError, Keys};
use super::seat::Seats;
use super::secured::{Secured, secured};
use super::{Facts, routes};
use crate::causes::with_causes;
use crate::config::{self, Listen};

/// A bound API that does not answer yet.
#[derive(Debug)]
pub struct Api {
    listeners: Vec<Listener>,
    locks: Locks,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener, Door),
    Unix(UnixListener, SocketFile),
}

/// The socket's name in the file system, which goes when the API does.
#[derive(Debug)]
struct SocketFile(PathBuf);

/// Token and certificate as they are now; they may change while the API serves.
#[derive(Clone, Debug)]
pub struct Locks {
    /// As it was when the listeners were bound. One that has changed since may name no token, and they would
    /// be open.
    section: Arc<config::Api>,
    access: Arc<Access>,
    tls: Arc<RwLock<Option<Arc<ServerConfig>>>>,
    handshakes: Arc<Mutex<Handshakes>>,
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    #[error("cannot listen on {address}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on the socket {}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    /// A mistake of the configuration.
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("cannot read the files of the API")]
    Reading(#[from] JoinError),
}

impl BindError {
    /// Whether somebody else listens there.
    pub fn is_taken(&self) -> bool {
        match self {
            BindError::Tcp { source, .. } | BindError::Unix { source, .. } => {
                source.kind() == io::ErrorKind::AddrInUse
            }
            BindError::Keys(_) | BindError::Reading(_) => false,
        }
    }
}

impl Api {
    /// Reads token and certificate, and binds every address and socket.
    ///
    /// # Errors
    /// When a file is of no use, or a place is taken or not permitted.
    pub async fn bind(api: &config::Api) -> Result<Self, BindError> {
        let Keys { token, tls, warnings, is_handed_over: _ } = load(api).await?;
        for warning in warnings {
            log::warn!("{warning}");
        }
        let mut listeners = Vec::new();
        for listen in &api.listen {
            let listener = match listen {
                Listen::Tcp(address) => {
                    let door = Door::Tcp { public: listen.is_public(), tls: tls.is_some() };
                    let wrong = |source| BindError::Tcp { address: *address, source };
                    Listener::Tcp(bind_tcp(*address).map_err(wrong)?, door)
                }
                Listen::Unix(path) => {
                    let wrong = |source| BindError::Unix { path: path.clone(), source };
                    Listener::Unix(bind_unix(path).await.map_err(wrong)?, SocketFile(path.clone()))
                }
            };
            listeners.push(listener);
        }
        let locks = Locks {
            section: Arc::new(api.clone()),
            access: Arc::new(Access::new(token)),
            tls: Arc::new(RwLock::new(tls)),
            handshakes: Arc::default(),
        };
        Ok(Api { listeners, locks })
    }

    /// Where it listens, as URLs that curl takes, and `unix:` with the path of a socket.
    pub fn urls(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::url).collect()
    }

    /// With what its keys are changed while it serves.
    pub fn locks(&self) -> Locks {
        self.locks.clone()
    }

    /// Answers until the task is dropped.
    ///
    /// # Errors
    /// When one of its listeners has ended, which only a defect makes it do.
    pub async fn serve(self, facts: Facts) -> io::Result<()> {
        let secured = secured(routes::router(facts), self.locks.access.clone(), &self.locks.section.hosts);
        let mut doors = JoinSet::new();
        for listener in self.listeners {
            doors.spawn(listener.serve(self.locks.clone(), secured.clone()));
        }
        match doors.join_next().await {
            Some(Err(error)) => Err(io::Error::other(error)),
            Some(Ok(())) | None => Err(io::Error::other("a listener of the API has ended")),
        }
    }
}

impl Locks {
    /// Reads token and certificate again, from the files that were named when the API was bound; one of no
    /// use is told of, and all stays as it was. Another token ends all sessions, and a certificate is for the
    /// connections that come.
    pub async fn renew(&self) {
        match load(&self.section).await {
            Ok(Keys { token, tls, is_handed_over, warnings }) => {
                for warning in warnings {
                    log::warn!("{warning}");
                }
                if is_handed_over {
                    log::info!(
                        "what systemd has handed over is as old as the service: `systemctl restart uplinkd` \
                                takes over another token or certificate"
                    );
                }
                self.access.renew(token);
                *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
            }
            Err(error) => {
                log::error!(error:% = with_causes(&error); "the API keeps its token and its certificate");
            }
        }
    }

    fn tls(&self) -> Option<Tls> {
        let config = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Tls { config, handshakes: self.handshakes.clone() })
    }
}

async fn load(api: &config::Api) -> Result<Keys, BindError> {
    let api = api.clone();
    Ok(spawn_blocking(move || Keys::load(&api)).await??)
}

impl Listener {
    fn url(&self) -> String {
        match self {
            Listener::Tcp(listener, door) => {
                let scheme = if door.is_tls() { "https" } else { "http" };
                match listener.local_addr() {
                    Ok(address) => format!("{scheme}://{address}"),
                    Err(error) => format!("{scheme}://(unknown: {error})"),
                }
            }
            Listener::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    /// Lets visitors in, each within the number of [`MOST_CONNECTIONS`]; never ends by itself.
    async fn serve(self, locks: Locks, secured: Secured) {
        let seats = Seats::new(MOST_CONNECTIONS);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    note(ended);
                    continue;
                }
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptor is left, or the visitor has gone again already.
                    log::warn!(error:%; "cannot accept a connection to the API");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(seat) = seats.admit(peer.map(|peer| peer.ip().to_canonical())) else {
                log::warn!(peer:?, limit = MOST_CONNECTIONS; "the API is busy with as many as it serves");
                continue;
            };
            let visit = Visit { door: self.door(), peer: peer.map(|peer| peer.ip()), seat: seat.clone() };
            let secured = secured.clone();
            let task = match stream {
                Stream::Tcp(stream) => {
                    let tls = if self.door().is_tls() { locks.tls() } else { None };
                    connections.spawn(connection::serve(stream, tls, visit, secured))
                }
                Stream::Unix(stream) => connections.spawn(connection::serve(stream, None, visit, secured)),
            };
            seat.is_served_by(task);
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_user_timeout(Some(DEAD_PEER))?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Listener::Unix(listener, _) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }

    fn door(&self) -> Door {
        match self {
            Listener::Tcp(_, door) => *door,
            Listener::Unix(..) => Door::Unix,
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that was ended for another one's sake is no news; one that panicked is.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        log::error!(error:%; "a connection of the API has failed");
    }
}

/// Why this process may not listen there; whether the place is taken, by itself for instance, is not looked at. Blocks
/// on the file system.
pub fn not_permitted(listen: &Listen) -> Option<BindError> {
    match listen {
        Listen::Tcp(address) => {
            let source =
                bound(*address).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
            Some(BindError::Tcp { address: *address, source })
        }
        Listen::Unix(path) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let source = access(folder, AccessMode::WRITE_OK | AccessMode::EXEC_OK).err()?.into();
            Some(BindError::Unix { path: path.clone(), source })
        }
    }
}

/// Binds an address that this machine may not have yet: a network that comes later is no reason not to start.
fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    if UdpSocket::bind((address.ip(), 0)).is_err() {
        log::warn!(address:%; "this machine does not have the API's address; it is served there once it has");
    }
    TcpListener::from_std(socket.into())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds a Unix socket for owner and group, the group being its folder's. One that a killed daemon left
/// behind is replaced, one that somebody listens on is not.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens on it"));
            }
        }
    }
    let listener = UnixListener::bind(path)?;
    let folder = path.parent().unwrap_or(Path::new("/")).metadata()?.gid();
    if path.metadata()?.gid() != folder
        && let Err(error) = chown(path, None, Some(folder))
    {
        log::info!(path:% = path.display(), error:%; "the API's socket keeps this daemon's group");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            log::debug!(path:% = self.0.display(), error:%; "cannot remove the API's socket");
        }
    }
}

/// Connections that wait to be accepted, which is done at once; as tokio has it.
const BACKLOG: i32 = 1024;

/// Owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Of each listener, so that a network's flood leaves loopback and socket alone. Browsers take six each.
const MOST_CONNECTIONS: usize = 64;

/// A lack of descriptors does not end within microseconds.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What was sent is not acknowledged for so long: whoever was there is there no more.
const DEAD_PEER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_not_here_yet_is_listened_on_and_one_that_is_taken_is_not() {
        assert!(bind_tcp("192.0.2.7:0".parse().unwrap()).is_ok());
        let first = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let source = bind_tcp(address).unwrap_err();
        assert!(BindError::Tcp { address, source }.is_taken());
    }
}
