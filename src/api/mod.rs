//! The local HTTP API: reads statuses, hands commands and changes of the configuration over, knows nothing else.
//!
//! It serves loopback or a Unix socket. A browser that is led here by a foreign page is turned away
//! by [`guard`]: the Host must be this machine's, the Origin its own. [`routes`] lists what there is, but
//! for [`page`], which people look at.

mod body;
pub mod capabilities;
mod configuration;
pub mod devices;
mod events;
mod exposition;
mod guard;
mod info;
mod metrics;
mod page;
mod patience;
mod problem;
mod process;
mod rate;
mod routes;
mod settings;
mod snapshot;
mod streams;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::serve;
use tokio::net::{TcpListener, UnixListener};

pub use self::routes::description;
use crate::config::Listen;
use crate::reconfigure::Handle;
use crate::supervisor::Streams;
use patience::Patient;

/// A bound API that does not answer yet.
#[derive(Debug)]
pub struct Api {
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The socket's name in the file system, which goes when the API does.
#[derive(Debug)]
struct SocketFile(PathBuf);

/// What the API cannot find out by itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub streams: Streams,
    /// `None` where the configuration is a command line's, and nobody can change it.
    pub configuration: Option<Handle>,
    /// Raised while the daemon is up and not draining.
    pub ready: Arc<AtomicBool>,
    pub started: Instant,
    /// The version of GStreamer in use.
    pub gstreamer: String,
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    #[error("cannot listen on {address}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on the socket {}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot serve {address}: this version serves loopback addresses and Unix sockets only")]
    NotLoopback { address: SocketAddr },
}

/// Whether this version can serve that address at all.
///
/// # Errors
/// [`BindError::NotLoopback`] where it cannot.
pub fn check(listen: &Listen) -> Result<(), BindError> {
    match listen {
        Listen::Tcp(address) if !address.ip().is_loopback() => {
            Err(BindError::NotLoopback { address: *address })
        }
        Listen::Tcp(_) | Listen::Unix(_) => Ok(()),
    }
}

impl Api {
    /// Binds the address or the socket.
    ///
    /// # Errors
    /// When it is taken, not permitted, or not loopback.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        check(listen)?;
        let listener = match listen {
            Listen::Tcp(address) => Listener::Tcp(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| BindError::Tcp { address: *address, source })?,
            ),
            Listen::Unix(path) => {
                let listener =
                    bind_unix(path).map_err(|source| BindError::Unix { path: path.clone(), source })?;
                Listener::Unix(listener, SocketFile(path.clone()))
            }
        };
        Ok(Api { listener })
    }

    /// Where it listens, as a URL that curl takes.
    pub fn url(&self) -> String {
        match &self.listener {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(error) => format!("http://(unknown: {error})"),
            },
            Listener::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    /// Answers until the task is dropped.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(self, facts: Facts) -> io::Result<()> {
        let routes = routes::router(facts);
        match self.listener {
            Listener::Tcp(listener) => serve(Patient(listener), routes).await,
            Listener::Unix(listener, _file) => serve(Patient(listener), routes).await,
        }
    }
}

/// Binds a Unix socket for owner and group. One that a killed daemon left behind is replaced, one
/// that somebody answers on is not.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers on it")),
            Err(_) => std::fs::remove_file(path)?,
        }
    }
    let listener = UnixListener::bind(path)?;
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

/// Owner and group.
const SOCKET_MODE: u32 = 0o660;
