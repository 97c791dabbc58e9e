//! Turns away what a foreign web page sends through its visitor's browser.
//!
//! A page cannot forge Host, Origin and Sec-Fetch-Site. DNS rebinding makes the browser send the attacker's
//! name as Host, so names must be known; an address as Host was no name that could be rebound. A cross-site
//! request carries the attacker's Origin, and a form can send no JSON. Programs send no Origin, and pass.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Version, header, request};

use super::problem::Problem;

/// The way on which a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// No browser comes here, and who may is the socket's file's business.
    Unix,
    Tcp {
        /// Other machines reach it.
        public: bool,
        tls: bool,
    },
}

impl Door {
    /// Nobody listens to what goes through it.
    pub fn is_tls(self) -> bool {
        matches!(self, Door::Tcp { tls: true, .. })
    }
}

/// Whether a request may be looked at: `hosts` are the names of this machine, in small letters.
///
/// # Errors
/// What to answer instead.
pub fn check(request: &request::Parts, hosts: &[String], door: Door) -> Result<(), Problem> {
    let headers = &request.headers;
    let host = host(request)?;
    if let (Door::Tcp { public, .. }, Some(host)) = (door, &host)
        && !is_ours(host, public)
        && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host.host()))
    {
        let detail = "the Host is a name that this machine is not known by: use its address, or put the \
                      name into api.hosts";
        return Err(Problem::forbidden(detail));
    }
    same_origin(headers, host.as_ref(), hosts, door)?;
    not_cross_site(request)?;
    content_type(request)
}

/// The authority that is asked, if any is named.
fn host(request: &request::Parts) -> Result<Option<Authority>, Problem> {
    let wrong = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut named = request.headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(wrong("there is more than one Host header"));
    }
    if first.is_none() && request.version >= Version::HTTP_11 {
        return Err(wrong("there is no Host header"));
    }
    let host = match first {
        Some(value) => Some(authority(value.as_bytes()).ok_or_else(|| wrong("the Host is no host"))?),
        None => None,
    };
    match (request.uri.authority(), host) {
        (Some(target), Some(host)) if !target.as_str().eq_ignore_ascii_case(host.as_str()) => {
            Err(wrong("the request is for another host than its Host header says"))
        }
        (Some(target), _) => Ok(Some(authority(target.as_str().as_bytes()).ok_or_else(|| wrong("no host"))?)),
        (None, host) => Ok(host),
    }
}

/// A host, or a host and a port, and nothing else.
fn authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let user_information = authority.as_str().contains('@');
    let port = authority.as_str().strip_prefix(authority.host())?;
    let valid_port = port.is_empty() || authority.port_u16().is_some();
    (!user_information && valid_port && !authority.host().is_empty()).then_some(authority)
}

/// Whether a host is one that nobody else can have made the browser take for ours.
fn is_ours(authority: &Authority, public: bool) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => public || address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn same_origin(
    headers: &HeaderMap,
    host: Option<&Authority>,
    hosts: &[String],
    door: Door,
) -> Result<(), Problem> {
    let foreign = || Problem::forbidden("the Origin is another site");
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        let (scheme, named) = origin.split_once("://").ok_or_else(foreign)?;
        let named = authority(named.as_bytes()).ok_or_else(foreign)?;
        let host = host.ok_or_else(foreign)?;
        // Behind a proxy that does TLS, under a name that is known, the browser's scheme is not ours.
        let proxied = scheme == "https" && hosts.iter().any(|known| known.eq_ignore_ascii_case(host.host()));
        let ours = if door.is_tls() { "https" } else { "http" };
        let same =
            named.host().eq_ignore_ascii_case(host.host()) && port(&named, scheme) == port(host, scheme);
        if !same || !(scheme == ours || proxied) {
            return Err(foreign());
        }
    }
    Ok(())
}

fn port(authority: &Authority, scheme: &str) -> u16 {
    authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 })
}

/// What other sites may do is send their visitors to a page here; nothing else.
fn not_cross_site(request: &request::Parts) -> Result<(), Problem> {
    let said = |name: &HeaderName| request.headers.get(name).map(|value| value.as_bytes());
    match said(&SEC_FETCH_SITE) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_)
            if request.method == Method::GET
                && said(&SEC_FETCH_MODE) == Some(b"navigate")
                && said(&SEC_FETCH_DEST) == Some(b"document") =>
        {
            Ok(())
        }
        Some(_) => Err(Problem::forbidden("another site's page has sent this")),
    }
}

/// A change says what it brings; a form of another site cannot say this.
fn content_type(request: &request::Parts) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    if request.method.is_safe() {
        return Ok(());
    }
    let mut types = request.headers.get_all(header::CONTENT_TYPE).iter();
    let Some(kind) = types.next() else {
        return if announces_body(&request.headers) { Err(untyped()) } else { Ok(()) };
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if types.next().is_none() && CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    refused("changes are application/json, application/merge-patch+json or application/toml")
}

/// Whether a body that has come is one whose type was told; one that came in chunks was let through [`check`] without.
///
/// # Errors
/// 415.
pub fn is_typed(headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() || headers.contains_key(header::CONTENT_TYPE) { Ok(()) } else { Err(untyped()) }
}

fn untyped() -> Problem {
    let detail = "a body wants a Content-Type: application/json";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

/// Whether a body may come.
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) || announces_body(headers)
}

/// Whether the header says that the body is not empty. In chunks, only the body itself says it.
fn announces_body(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

const CONTENT_TYPES: [&str; 3] = ["application/json", "application/merge-patch+json", "application/toml"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use axum::response::IntoResponse;

    use super::*;

    const LOOPBACK: Door = Door::Tcp { public: false, tls: false };
    const PUBLIC: Door = Door::Tcp { public: true, tls: true };

    /// The status of the refusal; 200 where there is none.
    fn judge(door: Door, method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/streams");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let hosts = ["encoder.local".to_owned()];
        check(&parts, &hosts, door).map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn local_programs_and_the_own_page_pass() {
        for host in [
            "127.0.0.1:9980",
            "localhost",
            "LOCALHOST:9980",
            "[::1]:9980",
            "[::1]",
            "127.1.2.3:80",
            "encoder.local:9980",
            "Encoder.Local",
        ] {
            assert_eq!(judge(LOOPBACK, "GET", &[("host", host)]), 200, "{host}");
            let origin = format!("http://{host}");
            assert_eq!(judge(LOOPBACK, "POST", &[("host", host), ("origin", &origin)]), 200, "{host}");
        }
        for host in ["192.0.2.7:9980", "[2001:db8::1]:9980", "encoder.local"] {
            let origin = format!("https://{host}");
            assert_eq!(judge(PUBLIC, "POST", &[("host", host), ("origin", &origin)]), 200, "{host}");
        }
        assert_eq!(judge(LOOPBACK, "GET", &[("host", "localhost:80"), ("origin", "http://localhost")]), 200);
        assert_eq!(judge(Door::Unix, "POST", &[("host", "anything")]), 200);
    }

    #[test]
    fn a_proxy_that_does_tls_is_known_by_its_name() {
        let from = |origin| judge(LOOPBACK, "POST", &[("host", "encoder.local"), ("origin", origin)]);
        assert_eq!(from("https://encoder.local"), 200);
        assert_eq!(from("ftp://encoder.local"), 403);
        assert_eq!(
            judge(PUBLIC, "GET", &[("host", "encoder.local"), ("origin", "http://encoder.local")]),
            403
        );
    }

    #[test]
    fn rebound_names_do_not_pass() {
        for host in [
            "evil.example:9980",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "encoder.local.evil.example",
            "2130706433", // 127.0.0.1, as some resolvers read it
        ] {
            for door in [LOOPBACK, PUBLIC] {
                assert_eq!(judge(door, "GET", &[("host", host)]), 403, "{host}");
            }
        }
        assert_eq!(judge(LOOPBACK, "GET", &[("host", "192.0.2.1")]), 403, "on loopback only loopback");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in
            ["", "@127.0.0.1", "a b", "localhost:", "localhost:x", "[::1", "::1", "localhost:99999", "a/b"]
        {
            assert_eq!(judge(LOOPBACK, "GET", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(judge(LOOPBACK, "GET", &[]), 400);
        assert_eq!(judge(LOOPBACK, "GET", &[("host", "localhost"), ("host", "evil.example")]), 400);
        let (mut parts, ()) = Request::get("http://evil.example/").body(()).unwrap().into_parts();
        assert!(check(&parts, &[], LOOPBACK).is_err());
        parts.version = Version::HTTP_10;
        assert!(check(&parts, &[], LOOPBACK).is_err(), "the target counts where there is no Host");
        parts.uri = "/".parse().unwrap();
        assert!(check(&parts, &[], LOOPBACK).is_ok(), "HTTP/1.0 has no Host");
    }

    #[test]
    fn foreign_pages_do_not_pass() {
        for origin in [
            "http://evil.example",
            "null",
            "https://localhost:9980",
            "http://localhost:9981",
            "http://localhost",
            "localhost:9980",
            "http://localhost:9980@evil.example",
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let headers = [("host", "localhost:9980"), ("origin", origin)];
                assert_eq!(judge(LOOPBACK, method, &headers), 403, "{origin}");
            }
        }
    }

    #[test]
    fn other_sites_may_only_link_here() {
        let fetch = |method, site, mode, dest| {
            let headers = [
                ("host", "localhost"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ];
            judge(LOOPBACK, method, &headers)
        };
        for site in ["cross-site", "same-site"] {
            assert_eq!(fetch("GET", site, "navigate", "document"), 200);
            assert_eq!(fetch("GET", site, "navigate", "iframe"), 403);
            assert_eq!(fetch("GET", site, "no-cors", "image"), 403);
            assert_eq!(fetch("POST", site, "navigate", "document"), 403);
        }
        assert_eq!(fetch("POST", "same-origin", "cors", "empty"), 200);
        assert_eq!(fetch("GET", "none", "navigate", "document"), 200);
    }

    #[test]
    fn a_change_says_what_it_is() {
        let change = |method, more: &[(&str, &str)]| {
            judge(LOOPBACK, method, &[&[("host", "localhost")], more].concat())
        };
        assert_eq!(change("POST", &[]), 200, "an action has no body");
        assert_eq!(change("POST", &[("content-length", "0")]), 200);
        assert_eq!(change("POST", &[("content-length", "2")]), 415);
        assert_eq!(change("POST", &[("transfer-encoding", "chunked")]), 200, "it may be empty");
        let chunked = HeaderMap::from_iter([(header::TRANSFER_ENCODING, "chunked".parse().unwrap())]);
        assert!(is_typed(&chunked, b"").is_ok() && is_typed(&chunked, b"{}").is_err());
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/TOML",
            "application/merge-patch+json",
        ] {
            assert_eq!(change("PATCH", &[("content-type", kind), ("content-length", "2")]), 200, "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
        {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(change(method, &[("content-type", kind)]), 415, "{kind}");
            }
        }
        let two = [("content-type", "application/json"), ("content-type", "text/plain")];
        assert_eq!(change("POST", &two), 415);
    }
}
