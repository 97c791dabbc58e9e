//! Turns away what a foreign web page sends through its visitor's browser.
//!
//! A page cannot forge Host or Origin. DNS rebinding makes the browser send the attacker's name as
//! Host; a cross-site request carries the attacker's Origin. Programs send neither a foreign Host
//! nor an Origin, and pass.

use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// The middleware.
pub async fn same_origin(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(detail) => Problem::forbidden(detail).into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("(not text)"));
    let host = text(header::HOST).unwrap_or("localhost");
    if !is_local(host) {
        return Err("the Host header names another machine: use localhost or 127.0.0.1");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => Err("the Origin is another site"),
        Some(_) | None => Ok(()),
    }
}

/// Whether an authority (host, or host and port) is this machine's loopback.
fn is_local(authority: &str) -> bool {
    let Ok(uri) = format!("http://{authority}/").parse::<Uri>() else { return false };
    if authority.contains('@') {
        return false; // user information belongs into no Host header
    }
    let Some(host) = uri.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn local_programs_and_the_own_page_pass() {
        for host in ["127.0.0.1:9980", "localhost", "LOCALHOST:9980", "[::1]:9980", "127.1.2.3:80"] {
            assert_eq!(check(&headers(host, None)), Ok(()), "{host}");
        }
        assert_eq!(check(&headers("localhost:9980", Some("http://localhost:9980"))), Ok(()));
        assert_eq!(check(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn rebound_names_and_foreign_pages_do_not() {
        for host in [
            "evil.example:9980",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "",
            "@127.0.0.1",
            "a b",
        ] {
            assert!(check(&headers(host, None)).is_err(), "{host}");
        }
        for origin in ["http://evil.example", "null", "https://localhost:9980", "http://localhost:9981"] {
            assert!(check(&headers("localhost:9980", Some(origin))).is_err(), "{origin}");
        }
    }
}
