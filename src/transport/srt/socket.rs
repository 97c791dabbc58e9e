//! Names to addresses, and the UDP socket of one connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::error::{ConnectError, ListenError};
use crate::units::Bitrate;

/// All addresses of a host, asked for anew at each call. Literals of both families are taken, IPv6
/// with or without brackets.
///
/// # Errors
/// `ConnectError::Resolve` where there is none, or no answer within 5 s.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = timeout(RESOLVE_TIMEOUT, lookup_host((bare, port)))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// A socket of the remote's family, connected: the system drops what comes from elsewhere.
pub fn open(remote: SocketAddr, peak: Bitrate) -> Result<UdpSocket, ConnectError> {
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    open_at(any, remote, peak)
}

/// The same, at an address of this machine's.
pub fn open_at(local: SocketAddr, remote: SocketAddr, peak: Bitrate) -> Result<UdpSocket, ConnectError> {
    let socket = buffered(remote, peak)?;
    join(socket, local, remote)
}

/// A socket for one caller of a listening one, at the same address.
pub fn open_beside(
    listening: &UdpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    peak: Bitrate,
) -> Result<UdpSocket, ConnectError> {
    let failed = |operation| move |source| ConnectError::Io { operation, remote, source };
    let socket = buffered(remote, peak)?;
    // Only so long as it takes: nobody else is to have this port.
    let listening = SockRef::from(listening);
    socket.set_reuse_port(true).map_err(failed("share the port of a UDP socket"))?;
    listening.set_reuse_port(true).map_err(failed("share the listener's port"))?;
    let joined = join(socket, local, remote);
    listening.set_reuse_port(false).map_err(failed("keep the listener's port"))?;
    joined
}

/// A socket that anybody may send to. An IPv6 one for all addresses takes IPv4 as well.
pub fn listen(local: SocketAddr) -> Result<UdpSocket, ListenError> {
    let failed = |operation| move |source| ListenError::Io { operation, local, source };
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("create a UDP socket for"))?;
    socket.set_nonblocking(true).map_err(failed("make non-blocking the UDP socket for"))?;
    if local.is_ipv6() {
        socket.set_only_v6(false).map_err(failed("open to IPv4 the UDP socket for"))?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed("set the UDP receive buffer for"))?;
    socket.bind(&local.into()).map_err(failed("listen on"))?;
    UdpSocket::from_std(socket.into()).map_err(failed("register the UDP socket for"))
}

/// The address of this machine's from which the remote is reached.
pub fn way_to(remote: SocketAddr) -> Result<IpAddr, ConnectError> {
    let socket = open(remote, Bitrate::ZERO)?;
    let failed = |source| ConnectError::Io { operation: "read the local address", remote, source };
    Ok(socket.local_addr().map_err(failed)?.ip())
}

fn buffered(remote: SocketAddr, peak: Bitrate) -> Result<Socket, ConnectError> {
    let failed = |operation| move |source| ConnectError::Io { operation, remote, source };
    let domain = Domain::for_address(remote);
    let socket =
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(failed("create a UDP socket"))?;
    socket.set_nonblocking(true).map_err(failed("make the UDP socket non-blocking"))?;
    let burst = (peak * SEND_BURST).get() as usize * BUFFER_OVERHEAD;
    // Sizes above the system's limit are cut down to it without an error.
    socket
        .set_send_buffer_size(burst.clamp(SMALLEST_SEND_BUFFER, LARGEST_SEND_BUFFER))
        .map_err(failed("set the UDP send buffer"))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed("set the UDP receive buffer"))?;
    Ok(socket)
}

fn join(socket: Socket, local: SocketAddr, remote: SocketAddr) -> Result<UdpSocket, ConnectError> {
    let failed = |operation| move |source| ConnectError::Io { operation, remote, source };
    if local.is_ipv6() {
        socket.set_only_v6(false).map_err(failed("open to IPv4 the UDP socket"))?;
    }
    socket.bind(&local.into()).map_err(failed("bind a UDP socket"))?;
    socket.connect(&remote.into()).map_err(failed("find a route"))?;
    UdpSocket::from_std(socket.into()).map_err(failed("register the UDP socket"))
}

/// A resolver that is down must not hold up a stream for its usual 30 s.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What the system may hold of our own burst. More would hide a queue from us.
const SEND_BURST: Duration = Duration::from_millis(100);
/// The kernel accounts whole buffers, about twice the payload of a full packet.
const BUFFER_OVERHEAD: usize = 2;
const SMALLEST_SEND_BUFFER: usize = 128 << 10;
const LARGEST_SEND_BUFFER: usize = 4 << 20;
/// Acknowledgements and loss reports of a second, with a flood on top.
const RECEIVE_BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_of_both_families_resolve() {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:9"), ("::1", "[::1]:9"), ("[::1]", "[::1]:9")] {
            assert_eq!(resolve(host, 9).await.unwrap(), [expected.parse().unwrap()]);
        }
        let error = resolve("no such host.invalid", 9).await.unwrap_err();
        assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_socket_has_the_family_of_the_remote() {
        for remote in ["127.0.0.1:9", "[::1]:9"] {
            let remote: SocketAddr = remote.parse().unwrap();
            let socket = open(remote, Bitrate::from_kbps(6_000)).unwrap();
            assert_eq!(socket.local_addr().unwrap().is_ipv6(), remote.is_ipv6());
            assert!(!socket.local_addr().unwrap().ip().is_unspecified());
        }
    }
}
