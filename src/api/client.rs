//! A client of the API, for programs of ours: over a Unix socket, TCP or TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::uri::{Authority, InvalidUri, Uri};
use axum::http::{Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::keys::{KeyError, Token};
use super::trust;
use crate::config::{self, Listen};

/// Where the daemon is asked, and what it is shown.
#[derive(Clone, Debug)]
pub struct Client {
    place: Place,
    token: Option<Token>,
}

#[derive(Clone, Debug)]
enum Place {
    Unix(PathBuf),
    Tcp { authority: Authority, tls: Option<Arc<ClientConfig>> },
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream(Incoming);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("{url:?} is no place of an API: http://, https:// or unix: and a path")]
    Url { url: String },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("cannot reach the daemon at {place}: does it run?")]
    Unreachable { place: String, source: io::Error },
    #[error("the daemon at {place} does not answer")]
    Silent { place: String },
    #[error("the answer of the daemon is broken off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the path {path:?} cannot be asked for")]
    Path { path: String, source: InvalidUri },
}

impl Client {
    /// Of the daemon with this section on this machine: its socket, or else loopback. Blocks on files.
    ///
    /// # Errors
    /// Where the token or the certificate cannot be read.
    pub fn of(api: &config::Api) -> Result<Self, ClientError> {
        let nearness = |listen: &&Listen| match listen {
            Listen::Unix(_) => 0,
            Listen::Tcp(_) if !listen.is_public() => 1,
            Listen::Tcp(_) => 2,
        };
        let address = match api.listen.iter().min_by_key(nearness) {
            Some(Listen::Unix(path)) => return Ok(Client { place: Place::Unix(path.clone()), token: None }),
            Some(Listen::Tcp(address)) => reachable(*address),
            None => return Err(ClientError::Url { url: String::new() }),
        };
        let token = api.token_file.as_ref().map(Token::load).transpose()?;
        let tls = api.tls.as_ref().map(|files| trust::client_config(&files.certificate)).transpose()?;
        let authority = parse(&address.to_string())?;
        Ok(Client { place: Place::Tcp { authority, tls }, token })
    }

    /// Of the daemon at `url`: `http://…`, `https://…` with the certificates in `trusted`, or `unix:` and a
    /// path. Blocks on files.
    ///
    /// # Errors
    /// Where this is no such URL, or the certificates cannot be read.
    pub fn at(url: &str, token: Option<Token>, trusted: &Path) -> Result<Self, ClientError> {
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Client { place: Place::Unix(path.into()), token });
        }
        let wrong = || ClientError::Url { url: url.to_owned() };
        let (scheme, authority) = url.split_once("://").ok_or_else(wrong)?;
        let authority = parse(authority.trim_end_matches('/')).map_err(|_| wrong())?;
        let tls = match scheme {
            "http" => None,
            "https" => Some(trust::client_config(trusted)?),
            _ => return Err(wrong()),
        };
        Ok(Client { place: Place::Tcp { authority, tls }, token })
    }

    /// Asks, and waits for the whole answer. `body` is its type and its bytes.
    ///
    /// # Errors
    /// Where there is no answer; a refusal is one.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer, ClientError> {
        let asked = async {
            let response = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER);
            let body = body.collect().await.map_err(ClientError::Broken)?.to_bytes();
            Ok(Answer { status, body })
        };
        timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Asks for something that goes on; the answer itself, where it is a refusal.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn follow(&self, path: &str) -> Result<Result<Stream, Answer>, ClientError> {
        let sent = timeout(ANSWER_TIMEOUT, self.send("GET", path, None));
        let response = sent.await.unwrap_or_else(|_| Err(self.silent()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(Stream(response.into_body())));
        }
        let body = Limited::new(response.into_body(), LARGEST_ANSWER);
        let body = body.collect().await.map_err(ClientError::Broken)?.to_bytes();
        Ok(Err(Answer { status: status.as_u16(), body }))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { place: self.place(), source };
        match &self.place {
            Place::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
                self.speak(stream, "localhost", method, path, body).await
            }
            Place::Tcp { authority, tls } => {
                let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
                let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await {
                    Ok(connected) => connected.map_err(unreachable)?,
                    Err(_) => return Err(self.silent()),
                };
                let Some(tls) = tls else {
                    return self.speak(stream, authority.as_str(), method, path, body).await;
                };
                let name = ServerName::try_from(host).map_err(|_| ClientError::Url { url: self.place() })?;
                let stream =
                    TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(unreachable)?;
                self.speak(stream, authority.as_str(), method, path, body).await
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response<Incoming>, ClientError> {
        let path: Uri = path.parse().map_err(|source| ClientError::Path { path: path.to_owned(), source })?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let body = match body {
            Some((kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Body::from(bytes)
            }
            None => Body::empty(),
        };
        let broken = |error: hyper::Error| ClientError::Broken(Box::new(error));
        let request = request.body(body).map_err(|error| ClientError::Broken(Box::new(error)))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move {
            // What goes wrong with it shows in the answer.
            if let Err(error) = connection.await {
                log::debug!(error:%; "the connection to the daemon has ended");
            }
        });
        sender.send_request(request).await.map_err(broken)
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent { place: self.place() }
    }

    fn place(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix:{}", path.display()),
            Place::Tcp { authority, tls: None } => format!("http://{authority}"),
            Place::Tcp { authority, tls: Some(_) } => format!("https://{authority}"),
        }
    }
}

impl Stream {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken(Box::new(error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn parse(authority: &str) -> Result<Authority, ClientError> {
    authority.parse().map_err(|_| ClientError::Url { url: authority.to_owned() })
}

/// All addresses of a machine are reached on its loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon itself gives up after 30 s, and says why.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes: ten minutes of decisions are a few million.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
