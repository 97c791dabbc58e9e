//! One question to the daemon's API, on this machine.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Api, Listen};
use crate::secrets;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the API at {0}")]
    Connect(Listen, #[source] io::Error),
    #[error("cannot ask the API for {0}")]
    Exchange(String, #[source] io::Error),
    #[error("the API speaks TLS here, and this command does not")]
    Tls,
    #[error("the API answers {0}")]
    Refused(String),
}

/// The body of the answer to `GET path`. Blocks, for [`PATIENCE`] at a time.
///
/// # Errors
/// When nobody answers, or not with 200.
pub fn get(api: &Api, path: &str) -> Result<String, Error> {
    if api.tls.is_some() {
        return Err(Error::Tls);
    }
    let connect = |error| Error::Connect(api.listen.clone(), error);
    let exchange = |error| Error::Exchange(path.to_owned(), error);
    let token = api.token_file.as_ref().and_then(|file| super::secret(&secrets::locate(file)));
    // In version 1.0 the answer ends with the connection, and comes in one piece.
    let mut request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n");
    if let Some(token) = token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    request.push_str("\r\n");

    let mut answer = Vec::new();
    match dialled(&api.listen) {
        Dialled::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(connect)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(exchange)?;
            stream.write_all(request.as_bytes()).map_err(exchange)?;
            stream.take(LARGEST_ANSWER).read_to_end(&mut answer).map_err(exchange)?;
        }
        Dialled::Unix(path) => {
            let mut stream = UnixStream::connect(path).map_err(connect)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(exchange)?;
            stream.write_all(request.as_bytes()).map_err(exchange)?;
            stream.take(LARGEST_ANSWER).read_to_end(&mut answer).map_err(exchange)?;
        }
    }
    body(&String::from_utf8_lossy(&answer))
}

enum Dialled {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Where a daemon that listens there is met on its own machine.
fn dialled(listen: &Listen) -> Dialled {
    match listen {
        Listen::Unix(path) => Dialled::Unix(path.clone()),
        Listen::Tcp(address) => {
            let mut address = *address;
            match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                IpAddr::V4(_) | IpAddr::V6(_) => {}
            }
            Dialled::Tcp(address)
        }
    }
}

/// What follows the head of an answer, where its status is 200.
fn body(answer: &str) -> Result<String, Error> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(Error::Refused(if status.is_empty() { "nothing".to_owned() } else { status.to_owned() })),
    }
}

/// A daemon that has much to tell takes seconds on a small machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// In bytes: above a recording of ten minutes, which has some twenty million.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config;

    #[test]
    fn an_answer_is_what_follows_its_head() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("[api]\nlisten = \"{}\"", listener.local_addr().unwrap());
        let api = config::parse(&text).unwrap().api;
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{}\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        assert_eq!(get(&api, "/v1/info").unwrap(), "{}\r\n\r\n");
        assert!(daemon.join().unwrap().starts_with("GET /v1/info HTTP/1.0\r\nHost: localhost\r\n"));
    }

    #[test]
    fn a_refusal_is_told_with_its_status() {
        assert_eq!(
            body("HTTP/1.0 404 Not Found\r\n\r\n{}").unwrap_err().to_string(),
            "the API answers HTTP/1.0 404 Not Found"
        );
        assert_eq!(body("").unwrap_err().to_string(), "the API answers nothing");
    }

    #[test]
    fn a_daemon_that_listens_everywhere_is_met_here() {
        let Dialled::Tcp(address) = dialled(&Listen::Tcp("0.0.0.0:9980".parse().unwrap())) else {
            panic!("no address")
        };
        assert_eq!(address.to_string(), "127.0.0.1:9980");
    }
}
