//! One connection: TLS's handshake, then HTTP/1.1, each step within its time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::guard::Door;
use super::handshakes::Handshakes;
use super::seat::Seat;
use super::secured::Secured;

/// Who is here, and how he came in.
#[derive(Debug)]
pub struct Visit {
    pub door: Door,
    /// `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    pub seat: Arc<Seat>,
}

/// What a connection needs to speak TLS.
#[derive(Debug)]
pub struct Tls {
    pub config: Arc<ServerConfig>,
    /// Of all listeners together: they have the same processor.
    pub handshakes: Arc<Mutex<Handshakes>>,
}

impl Tls {
    fn turn(&self, peer: IpAddr) -> Option<Duration> {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner); // whole after each turn
        handshakes.turn(peer, Instant::now())
    }
}

/// Serves a connection until it ends. What it ends with is the visitor's business: nothing here is an
/// error of the daemon's.
pub async fn serve<S>(stream: S, tls: Option<Tls>, visit: Visit, secured: Secured)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = Impatient { inner: stream, stalled: None };
    let Some(tls) = tls else { return serve_http(stream, visit, secured).await };
    let Some(wait) = visit.peer.map_or(Some(Duration::ZERO), |peer| tls.turn(peer)) else {
        return log::debug!(peer:? = visit.peer; "a visitor of the API comes too often for TLS");
    };
    sleep(wait).await;
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.config).accept(stream)).await {
        Ok(Ok(stream)) => serve_http(stream, visit, secured).await,
        Ok(Err(error)) => log::debug!(peer:? = visit.peer, error:%; "no TLS with this visitor of the API"),
        Err(_) => log::debug!(peer:? = visit.peer; "a visitor of the API was too slow for TLS"),
    }
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin>(stream: S, visit: Visit, secured: Secured) {
    let (visit, secured) = (&visit, &secured);
    let service = service_fn(|request| {
        Box::pin(async move { Ok::<_, Infallible>(secured.answer(request, visit).await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MOST_HEADERS)
        .max_header_size(LARGEST_HEADER)
        .max_buf_size(LARGEST_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await {
        log::debug!(peer:? = visit.peer, error:%; "a connection to the API was broken off");
    }
    leave(connection.into_parts().io.into_inner()).await;
}

/// Closes so that the last answer arrives: what the visitor still sends is read for a while, since the
/// kernel would otherwise reset the connection, and he would lose the answer with it.
async fn leave<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let rest = async {
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout(LINGER, rest).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => log::debug!(error:%; "a visitor of the API has gone"),
    }
}

/// A stream that gives up on a visitor who does not read what he asked for.
struct Impatient<S> {
    inner: S,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Impatient<S> {
    fn patiently<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.inner), context) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the visitor does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.patiently(context, |inner, context| inner.poll_write(context, data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.patiently(context, |inner, context| inner.poll_write_vectored(context, data))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patiently(context, |inner, context| inner.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patiently(context, |inner, context| inner.poll_shutdown(context))
    }
}

/// Some round trips on a mobile link, and the slowest processor's share.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of the last answer, or the beginning, to the end of the next request's header: a page that
/// asks every few seconds keeps its connection, and a slow-loris does not.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A browser sends some twenty.
const MOST_HEADERS: usize = 64;

/// Bytes of a request's header, and of what one connection may buffer: a browser sends about one thousand.
const LARGEST_HEADER: usize = 16 * 1024;

/// Nothing was read for so long: as long as SRT's connections wait for a sign of life, and then some.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The round trip of the last answer.
const LINGER: Duration = Duration::from_secs(2);
