//! `[api]`.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;

use super::super::{Api, Listen};
use super::convert::{self, Value};
use super::files;
use super::report::Complaint;
use super::section::Section;

pub(super) fn read(mut section: Section<'_>) -> Option<Api> {
    let places = section.read("listen", places).or(vec![Listen::Tcp(default_listen())]);
    let hosts = section.read("hosts", hosts).or(Vec::new());
    let token_file = section.read("token_file", files::secret).optional();
    let tls = files::tls(&mut section);
    let insecure = section.read("insecure", convert::boolean).or(false);

    if let Some(public) = places.iter().flatten().find(|place| place.is_public()) {
        if token_file == Some(None) {
            let message = format!("is missing, and {public} can be reached from other machines");
            let fix = "write token_file = \"/…\", a file with a long random text, or listen on 127.0.0.1";
            section.complain("token_file", Complaint::new(message, fix));
        }
        if tls == Some(None) && insecure == Some(false) {
            let message =
                format!("{public} can be reached from other machines, and the token would go there in clear");
            let fix = "write tls_certificate_file and tls_key_file, or listen on 127.0.0.1, \
                       or accept that with insecure = true";
            section.complain("listen", Complaint::new(message, fix));
        }
    }
    section.finish();
    Some(Api { listen: places?, hosts: hosts?, token_file: token_file?, tls: tls?, insecure: insecure? })
}

/// Port 9980 is unassigned, and free on the usual encoder boxes.
fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9980))
}

/// One place, or a list of them.
fn places(value: &Value<'_>) -> Result<Vec<Listen>, Complaint> {
    let DeValue::Array(elements) = value.contents else { return Ok(vec![place(value)?]) };
    if !(1..=MOST_PLACES).contains(&elements.len()) {
        let message = format!("is a list of {}, not of 1 to {MOST_PLACES}", elements.len());
        return Err(Complaint::new(message, "write listen = [\"127.0.0.1:9980\"]"));
    }
    let mut places = Vec::new();
    for element in elements {
        let listen = place(&Value { key: value.key, contents: element.get_ref() })?;
        if places.contains(&listen) {
            return Err(Complaint::new(format!("has {listen} twice"), "remove one of them"));
        }
        places.push(listen);
    }
    Ok(places)
}

fn place(value: &Value<'_>) -> Result<Listen, Complaint> {
    let port_alone = match value.contents {
        DeValue::Integer(port) => Some(port.as_str()),
        other => other.as_str().map(|text| text.trim_start_matches("*:").trim_start_matches(':')),
    };
    if let Some(port) = port_alone.and_then(|port| port.parse::<u16>().ok()) {
        let fix = format!("write listen = \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all machines");
        return Err(Complaint::new("has a port, but no address", fix));
    }
    let text = convert::text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') && !path.contains('\0') {
            true if path.len() <= LONGEST_SOCKET_PATH => Ok(Listen::Unix(path.into())),
            true => Err(Complaint::new(
                format!(
                    "has a path of {} bytes, and a socket's has {LONGEST_SOCKET_PATH} at most",
                    path.len()
                ),
                "write listen = \"unix:/run/uplinkd/api.sock\"",
            )),
            false => Err(Complaint::new(
                "is not a whole path behind unix:",
                "write listen = \"unix:/run/uplinkd/api.sock\"",
            )),
        };
    }
    if let Ok(address) = text.parse() {
        return Ok(Listen::Tcp(address));
    }
    let fix = match text.parse::<IpAddr>() {
        Ok(ip) => format!("write listen = \"{}\"", SocketAddr::new(ip, default_listen().port())),
        Err(_) => match text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
            Some(port) => format!("write listen = \"127.0.0.1:{port}\""),
            None if text.starts_with('/') => "write listen = \"unix:/…\" for a Unix socket".into(),
            None => "write listen = \"127.0.0.1:9980\", or \"unix:/run/uplinkd/api.sock\"".into(),
        },
    };
    Err(Complaint::new(format!("{} is not an address with a port", convert::shown(text)), fix))
}

/// Names as they stand in a browser's address line, without scheme and port.
fn hosts(value: &Value<'_>) -> Result<Vec<String>, Complaint> {
    let fix = "write hosts = [\"encoder.local\"], the names that stand in the browser's address line";
    let DeValue::Array(elements) = value.contents else {
        return Err(Complaint::new(format!("is {}, not a list", convert::kind(value.contents)), fix));
    };
    if elements.len() > MOST_HOSTS {
        return Err(Complaint::new(format!("has more than {MOST_HOSTS} names"), "remove some of them"));
    }
    let mut hosts = Vec::new();
    for element in elements {
        let DeValue::String(name) = element.get_ref() else {
            let message = format!("has {} in its list, not a text", convert::kind(element.get_ref()));
            return Err(Complaint::new(message, fix));
        };
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        };
        if name.len() > LONGEST_HOST || !name.split('.').all(label) {
            let message = format!("{} is not the name of a machine", convert::shown(name));
            let fix = "write the name alone, without http:// and port, such as \"encoder.local\"; addresses \
                       need not be named";
            return Err(Complaint::new(message, fix));
        }
        hosts.push(name.to_ascii_lowercase());
    }
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// Loopback, a Unix socket and an address or two for each of some networks.
const MOST_PLACES: usize = 8;

/// More than a machine has names.
const MOST_HOSTS: usize = 32;

/// Bytes of a DNS name, RFC 1035.
const LONGEST_HOST: usize = 253;

/// Bytes: `sun_path` of `struct sockaddr_un` has 108, with a zero at the end.
const LONGEST_SOCKET_PATH: usize = 107;
