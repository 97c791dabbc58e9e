//! `outputs.url`, in the spelling of libsrt's URIs.
//!
//! No message here repeats any part of the text but parameters that are known
//! by their names: the rest may be a secret that stands in the wrong place.

use std::net::Ipv4Addr;

use super::super::{SrtMode, SrtUrl, Word};
use super::convert::{self, Value};
use super::host::{self, Host, Parts, Spelling};
use super::report::{Complaint, Complaints};
use super::suggest;

pub(super) fn read(value: &Value<'_>) -> Result<SrtUrl, Complaints> {
    parse(convert::text(value)?)
}

/// Reads the parts of a URL, each with its own complaints.
fn parse(text: &str) -> Result<SrtUrl, Complaints> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Complaint::new("is no SRT address", format!("write {EXAMPLE}")).into());
    };
    let mut complaints = Vec::new();
    if !scheme.eq_ignore_ascii_case("srt") {
        let message = "begins with another protocol, but this version sends SRT only";
        return Err(Complaint::new(message, format!("write {EXAMPLE}")).into());
    }
    // A `#` behind the `?` begins no fragment here: stream ids begin with `#!::`.
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let address = match address.split_once(['/', '#']) {
        Some((address, "")) => address,
        Some((address, _)) => {
            let fix = "write the address alone, and what the receiver calls the stream as stream_id";
            complaints.push(Complaint::new("has a path, which SRT does not know", fix));
            address
        }
        None => address,
    };
    let address = match address.rsplit_once('@') {
        Some((_, address)) => {
            let fix =
                "remove everything before and with the @; passphrase_file holds the path of a passphrase";
            complaints.push(Complaint::new("has a user or password, which SRT does not know", fix));
            address
        }
        None => address,
    };
    let mode = read_parameters(parameters, &mut complaints);
    let place = read_address(address, mode, &mut complaints);
    match (place, complaints.is_empty()) {
        (Some((host, port)), true) => Ok(SrtUrl { host, port, mode }),
        _ => Err(Complaints(complaints)),
    }
}

fn read_parameters(parameters: &str, complaints: &mut Vec<Complaint>) -> SrtMode {
    let mut mode = SrtMode::Caller;
    let mut mode_given = false;
    for (name, value) in ::url::form_urlencoded::parse(parameters.as_bytes()) {
        let setting = match name.to_lowercase().as_str() {
            "mode" => {
                if mode_given {
                    complaints.push(Complaint::new("has ?mode= twice", "remove one of the two"));
                }
                mode_given = true;
                match read_mode(&value) {
                    Ok(read) => mode = read,
                    Err(complaint) => complaints.push(complaint),
                }
                continue;
            }
            "passphrase" | "password" | "pass" | "secret" => {
                let fix = "remove it from the url and write the passphrase alone into a file, with \
                           passphrase_file = \"/its/path\" here: this file, and every view of it, stays without secrets";
                complaints.push(Complaint::new("has the passphrase in it", fix));
                continue;
            }
            "latency" | "rcvlatency" | "peerlatency" => "latency_ms = …",
            "streamid" | "stream_id" | "srt_streamid" => "stream_id = \"…\"",
            "pbkeylen" | "key_length" => "key_length = …",
            _ => {
                let slip = suggest::closest(&name, ["mode"]);
                let fix = slip.map_or("remove it: mode is the only one", |_| "did you mean ?mode=?");
                let complaint = Complaint::new("has a parameter that is not known here", fix);
                if !complaints.contains(&complaint) {
                    complaints.push(complaint);
                }
                continue;
            }
        };
        let message = format!("has {name}= in it, which has its own key");
        let fix = format!("remove it from the url, and write {setting} as a setting of this output");
        complaints.push(Complaint::new(message, fix));
    }
    mode
}

fn read_mode(value: &str) -> Result<SrtMode, Complaint> {
    let value = value.to_lowercase();
    // libsrt's own tools take the other two words too.
    let meant = match value.as_str() {
        "client" => Some(SrtMode::Caller),
        "server" => Some(SrtMode::Listener),
        word => SrtMode::WORDS.iter().find(|(known, _)| *known == word).map(|(_, mode)| *mode),
    };
    match meant {
        Some(mode) => Ok(mode),
        None => Err(Complaint::new(
            "asks for a mode that SRT does not have",
            match suggest::closest(&value, SrtMode::WORDS.iter().map(|(word, _)| *word)) {
                Some(word) => format!("did you mean ?mode={word}?"),
                None => "write ?mode=listener or ?mode=rendezvous, or nothing for a caller".into(),
            },
        )),
    }
}

fn read_address(address: &str, mode: SrtMode, complaints: &mut Vec<Complaint>) -> Option<(String, u16)> {
    let Parts { host, port } = host::split(address, &SPELLING).map_err(|it| complaints.push(it)).ok()?;
    let host = match host {
        Host::Missing => missing_host(mode),
        Host::Given(host) => host,
    };
    let host = host.map_err(|complaint| complaints.push(complaint)).ok();
    let port = port
        .unwrap_or_else(|| Err(Complaint::new("has no port", format!("write {EXAMPLE}"))))
        .map_err(|complaint| complaints.push(complaint))
        .ok();
    Some((host?, port?))
}

fn missing_host(mode: SrtMode) -> Result<String, Complaint> {
    match mode {
        SrtMode::Caller => Err(Complaint::new("names no host", format!("write {EXAMPLE}"))),
        SrtMode::Listener => Ok(Ipv4Addr::UNSPECIFIED.to_string()), // libsrt's spelling of "any address"
        SrtMode::Rendezvous => Err(Complaint::new(
            "names no host to meet",
            "write \"srt://HOST:PORT?mode=rendezvous\"; this machine uses the same port",
        )),
    }
}

const SPELLING: Spelling = Spelling { example: EXAMPLE, ipv6: "srt://[2001:db8::1]:9000" };

const EXAMPLE: &str = "\"srt://HOST:PORT\", such as \"srt://ingest.example.net:9000\"";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for (text, host, port) in [
            ("srt://ingest.example.net:9000", "ingest.example.net", 9000),
            ("SRT://Ingest.Example.NET:1", "ingest.example.net", 1),
            ("srt://localhost:65535/", "localhost", 65535),
            ("srt://192.0.2.1:9000?mode=client", "192.0.2.1", 9000),
            ("srt://[2001:DB8:0::1]:9000", "2001:db8::1", 9000),
            ("srt://[::ffff:192.0.2.1]:9000?mode=caller", "::ffff:192.0.2.1", 9000),
            ("srt://host_1.:9000", "host_1.", 9000),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.mode), (host, port, SrtMode::Caller), "{text}");
            assert_eq!(parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn a_listener_needs_no_host() {
        for (text, host, mode) in [
            ("srt://:9000?mode=listener", "0.0.0.0", SrtMode::Listener),
            ("srt://0.0.0.0:9000?mode=server", "0.0.0.0", SrtMode::Listener),
            ("srt://[::]:9000?mode=Listener", "::", SrtMode::Listener),
            ("srt://192.0.2.1:9000?mode=rendezvous", "192.0.2.1", SrtMode::Rendezvous),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.mode), (host, 9000, mode), "{text}");
            assert_eq!(parse(&url.to_string()), Ok(url));
        }
        for text in ["srt://:9000", "srt://:9000?mode=caller", "srt://:9000?mode=rendezvous"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_message_repeats_a_part_of_the_url(
            before in "(srt://|)[a-z0-9@:/?&=%#\\[\\].]{0,20}",
            behind in "[a-z0-9@:/?&=%#\\[\\].]{0,20}",
        ) {
            if let Err(complaints) = parse(&format!("{before}hunter2{behind}")) {
                let said = format!("{complaints:?}");
                prop_assert!(!said.contains("hunter2"), "{}", said);
            }
        }
    }
}
