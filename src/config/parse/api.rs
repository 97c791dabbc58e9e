//! `[api]`.

use std::net::{IpAddr, SocketAddr};

use super::super::{Api, Listen, TlsFiles};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;

pub(super) fn read(mut section: Section<'_>) -> Option<Api> {
    let listen = section.read("listen", listen).or(Listen::Tcp(default_listen()));
    let token_file = section.read("token_file", convert::path).optional();
    let certificate = section.read("tls_certificate_file", convert::path).optional();
    let key = section.read("tls_key_file", convert::path).optional();
    let insecure = section.read("insecure", convert::boolean).or(false);

    let tls = match (certificate, key) {
        (Some(Some(certificate)), Some(Some(key))) => Some(Some(TlsFiles { certificate, key })),
        (Some(None), Some(None)) => Some(None),
        (Some(Some(_)), Some(None)) => {
            let fix = "write tls_key_file = \"/…\", the key of the certificate";
            section.complain("tls_key_file", Complaint::new("is missing beside tls_certificate_file", fix));
            None
        }
        (Some(None), Some(Some(_))) => {
            let fix = "write tls_certificate_file = \"/…\", the certificate of the key";
            section.complain("tls_certificate_file", Complaint::new("is missing beside tls_key_file", fix));
            None
        }
        (None, _) | (_, None) => None,
    };
    if let Some(Listen::Tcp(address)) = &listen
        && !address.ip().to_canonical().is_loopback()
    {
        if token_file == Some(None) {
            let message = format!("is missing, and {address} can be reached from other machines");
            let fix = "write token_file = \"/…\", a file with a long random text, or listen on 127.0.0.1";
            section.complain("token_file", Complaint::new(message, fix));
        }
        if tls == Some(None) && insecure == Some(false) {
            let message = format!(
                "{address} can be reached from other machines, and the token would go there in clear"
            );
            let fix = "write tls_certificate_file and tls_key_file, or listen on 127.0.0.1, \
                       or accept that with insecure = true";
            section.complain("listen", Complaint::new(message, fix));
        }
    }
    section.finish();
    Some(Api { listen: listen?, token_file: token_file?, tls: tls?, insecure: insecure? })
}

/// Port 9980 is unassigned, and free on the usual encoder boxes.
fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9980))
}

fn listen(value: &Value<'_>) -> Result<Listen, Complaint> {
    let port_alone = match value.contents {
        toml::de::DeValue::Integer(port) => Some(port.as_str()),
        other => other.as_str().map(|text| text.trim_start_matches("*:").trim_start_matches(':')),
    };
    if let Some(port) = port_alone.and_then(|port| port.parse::<u16>().ok()) {
        let fix = format!("write listen = \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all machines");
        return Err(Complaint::new("has a port, but no address", fix));
    }
    let text = convert::text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') && !path.contains('\0') {
            true => Ok(Listen::Unix(path.into())),
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
