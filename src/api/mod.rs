//! The local HTTP API: reads statuses, hands commands over, knows nothing else.
//!
//! It serves loopback or a Unix socket. A browser that is led here by a foreign page is turned away
//! by [`guard`]: the Host must be this machine's, the Origin its own.

pub mod capabilities;
pub mod devices;
mod events;
mod exposition;
mod guard;
mod info;
mod metrics;
mod patience;
mod problem;
mod process;
mod rate;
mod snapshot;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use tokio::net::{TcpListener, UnixListener};

use crate::config::Listen;
use crate::supervisor::{Command, Refusal, StreamHandle, Streams};
use patience::Patient;
use problem::Problem;

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
        let routes = routes(facts);
        match self.listener {
            Listener::Tcp(listener) => serve(Patient(listener), routes).await,
            Listener::Unix(listener, _file) => serve(Patient(listener), routes).await,
        }
    }
}

fn routes(facts: Facts) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::answer))
        .route("/v1/info", get(info::answer))
        .route("/v1/events", get(events::answer))
        .route("/v1/capabilities", get(capabilities::answer))
        .route("/v1/devices", get(devices::answer))
        .route("/v1/streams", get(streams))
        .route("/v1/streams/{id}", get(stream))
        .route("/v1/streams/{id}/rate", get(rate::decisions))
        .route("/v1/streams/{id}/snapshot.jpg", get(snapshot::answer))
        .route("/v1/streams/{id}/actions/{action}", post(act))
        .fallback(|| async { Problem::not_found("there is no such resource") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(middleware::from_fn(guard::same_origin))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(facts)
}

async fn readyz(State(facts): State<Facts>) -> Response {
    if facts.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting or draining").into_response()
    }
}

async fn streams(State(facts): State<Facts>) -> Json<wire::Streams> {
    Json(wire::Streams { items: facts.streams.statuses().iter().map(wire::Stream::from).collect() })
}

async fn stream(State(facts): State<Facts>, id: Segments<String>) -> Result<Json<wire::Stream>, Problem> {
    let UrlPath(id) = id.map_err(unreadable)?;
    Ok(Json(wire::Stream::from(&find(&facts, &id)?.status())))
}

/// 202: the command was handed over; the stream's state tells how it went.
async fn act(
    State(facts): State<Facts>,
    segments: Segments<(String, String)>,
) -> Result<(StatusCode, Json<wire::Stream>), Problem> {
    let UrlPath((id, action)) = segments.map_err(unreadable)?;
    let stream = find(&facts, &id)?;
    let command = match action.as_str() {
        "start" => Command::Start,
        "stop" => Command::Stop,
        "restart" => Command::Restart,
        "keyframe" => Command::KeyFrame,
        other => {
            let known = "actions are start, stop, restart and keyframe";
            return Err(Problem::not_found(&format!("there is no action {other:?}: {known}")));
        }
    };
    stream.command(command).map_err(|refusal| match refusal {
        Refusal::Gone => Problem::not_found(&refusal.to_string()),
        Refusal::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
    })?;
    Ok((StatusCode::ACCEPTED, Json(wire::Stream::from(&stream.status()))))
}

/// Parts of a path, if they are text.
type Segments<T> = Result<UrlPath<T>, PathRejection>;

fn unreadable(_: PathRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the path is not text")
}

fn find(facts: &Facts, id: &str) -> Result<StreamHandle, Problem> {
    facts.streams.stream(id).ok_or_else(|| Problem::not_found(&format!("there is no stream {id:?}")))
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

/// No request of this API needs more.
const LARGEST_BODY: usize = 64 * 1024;

/// Owner and group.
const SOCKET_MODE: u32 = 0o660;
