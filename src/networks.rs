//! Who counts as one visitor: not each address, of which one line may have very many.

use std::net::{IpAddr, Ipv6Addr};

/// What one owner has of the network: an IPv4 address, or the 64 bits that an IPv6 line has for itself at least
/// (RFC 6177).
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_network() {
        let line = |text: &str| network(text.parse().unwrap());
        assert_eq!(line("2001:db8::1"), line("2001:db8::ffff:1"));
        assert_ne!(line("2001:db8::1"), line("2001:db8:0:1::1"));
        assert_eq!(line("::ffff:192.0.2.1"), line("192.0.2.1"));
        assert_ne!(line("192.0.2.1"), line("192.0.2.2"));
    }
}
