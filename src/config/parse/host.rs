//! The host and the port of a URL. No message repeats any part of them: it may be a secret in the wrong place.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::report::Complaint;

/// A URL's address, taken apart; each part is good by itself, or not.
pub(super) struct Parts {
    pub host: Host,
    /// `None` where there is none.
    pub port: Option<Result<u16, Complaint>>,
}

/// What stands where the host does.
pub(super) enum Host {
    Missing,
    /// Without brackets, in small letters.
    Given(Result<String, Complaint>),
}

/// How such a URL is written, for complaints.
pub(super) struct Spelling {
    /// In quotes.
    pub example: &'static str,
    /// With an IPv6 address, without quotes.
    pub ipv6: &'static str,
}

/// Takes `HOST:PORT` apart.
///
/// # Errors
/// Where it cannot be said which is which.
pub(super) fn split(address: &str, spelling: &Spelling) -> Result<Parts, Complaint> {
    let bracketed = address.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (Host::Given(ipv6(host, spelling)), rest.strip_prefix(':')),
        None if address.parse::<Ipv6Addr>().is_ok() || address.matches(':').count() > 1 => {
            let fix = format!("write it as {}", spelling.ipv6);
            return Err(Complaint::new("has an IPv6 address without its brackets", fix));
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (named(host, spelling), Some(port)),
            None => (named(address, spelling), None),
        },
    };
    Ok(Parts { host, port: port.map(|port| self::port(port, spelling)) })
}

fn ipv6(host: &str, spelling: &Spelling) -> Result<String, Complaint> {
    host.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| {
        Complaint::new("has no IPv6 address between its brackets", format!("write it as {}", spelling.ipv6))
    })
}

fn named(host: &str, spelling: &Spelling) -> Host {
    if host.is_empty() { Host::Missing } else { Host::Given(name(host, spelling)) }
}

/// A name, or an IPv4 address.
fn name(host: &str, spelling: &Spelling) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if numeric {
        return match host.parse::<Ipv4Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => {
                Err(Complaint::new("has no IPv4 address for a host", "write four numbers, as in 192.0.2.10"))
            }
        };
    }
    if host.len() <= LONGEST_HOST && host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        return Ok(host.to_lowercase());
    }
    let fix = match host.is_ascii() {
        true => format!("write {}", spelling.example),
        false => "write its ASCII form, which begins with xn--".into(),
    };
    Err(Complaint::new("has a host that is neither a name nor an address", fix))
}

fn port(port: &str, spelling: &Spelling) -> Result<u16, Complaint> {
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Complaint::new("has no port from 1 to 65535", format!("write {}", spelling.example))),
    }
}

/// Bytes, the limit of DNS.
const LONGEST_HOST: usize = 253;
