//! `GET /`: the page that people look at, and its parts below `/page/`.
//!
//! It is plain HTML, CSS and modules of JavaScript, in the binary as they stand in `page/`: nothing is built, and
//! nothing is loaded from elsewhere. What it shows comes from the API, by the same requests that curl makes. Nothing
//! of it is secret, so it is served to everybody; where the daemon wants a token, the page asks for it.
//!
//! ```text
//! app.js ──▶ api.js, event-stream.js ──▶ the daemon
//!   │
//!   ├─▶ panels.js, chart-view.js, picture.js, bounds-form.js ──▶ dom.js ──▶ the document
//!   │        │
//!   └────────┴─▶ clock, contact, history, headline, facts, meters, events, bounds, chart, words:
//!                what was measured in, what is to be seen out; no clock, no document
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Facts, body};

/// The routes.
pub fn routes() -> Router<Facts> {
    PARTS.iter().fold(Router::new(), |router, part| {
        let etag = part.etag();
        let answer = async move |headers: HeaderMap| part.answer(&headers, &etag);
        router.route(part.path, get(answer))
    })
}

/// Whether a path is the page's, which everybody may see.
pub fn is_of_page(path: &str) -> bool {
    PARTS.iter().any(|part| part.path == path)
}

/// A file of the page.
struct Part {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

impl Part {
    /// A browser that has this very text is told so.
    fn answer(&self, headers: &HeaderMap, etag: &str) -> Response {
        let always = [
            (header::ETAG, etag),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        if body::is_known(headers, etag) {
            return (StatusCode::NOT_MODIFIED, always).into_response();
        }
        (always, [(header::CONTENT_TYPE, self.content_type)], self.text).into_response()
    }

    /// Of the text, so that it changes with each version that changes it.
    fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A script below `/page/`.
macro_rules! script {
    ($name:literal) => {
        Part {
            path: concat!("/page/", $name),
            content_type: SCRIPT,
            text: include_str!(concat!("page/", $name)),
        }
    };
}

/// All of it. A test compares this with what the files name.
const PARTS: &[Part] = &[
    Part { path: "/", content_type: HTML, text: include_str!("page/index.html") },
    Part { path: "/page/theme.css", content_type: CSS, text: include_str!("page/theme.css") },
    Part { path: "/page/style.css", content_type: CSS, text: include_str!("page/style.css") },
    Part { path: "/page/icon.svg", content_type: SVG, text: include_str!("page/icon.svg") },
    script!("app.js"),
    script!("api.js"),
    script!("bounds.js"),
    script!("bounds-form.js"),
    script!("chart.js"),
    script!("chart-view.js"),
    script!("clock.js"),
    script!("contact.js"),
    script!("dom.js"),
    script!("event-stream.js"),
    script!("events.js"),
    script!("facts.js"),
    script!("headline.js"),
    script!("history.js"),
    script!("meters.js"),
    script!("panels.js"),
    script!("picture.js"),
    script!("words.js"),
];

/// Own files only, nothing inline, no frame around it, nowhere to send a form. `blob:` is the live picture, which the
/// page fetches itself, since an `<img>` cannot tell why there is none.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_browser_that_has_the_page_does_not_get_it_again() {
        let part = &PARTS[0];
        let etag = part.etag();
        for (sent, status) in [
            (None, 200),
            (Some("\"0123456789abcdef\"".to_owned()), 200),
            (Some(etag.clone()), 304),
            (Some(format!("\"other\", W/{etag}")), 304),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(sent) = &sent {
                headers.insert(header::IF_NONE_MATCH, sent.parse().unwrap());
            }
            let answer = part.answer(&headers, &etag);
            assert_eq!(answer.status().as_u16(), status, "{sent:?}");
            assert_eq!(answer.headers()[header::ETAG], etag.as_str());
        }
    }

    #[test]
    fn everything_that_the_page_names_is_served_and_everything_that_is_served_is_named() {
        let mut named = BTreeSet::from(["/".to_owned()]);
        for part in PARTS {
            let quoted = part.text.split(['"', '\'']).skip(1).step_by(2);
            let files = quoted.filter(|text| [".js", ".css", ".svg"].iter().any(|end| text.ends_with(end)));
            named.extend(files.map(|file| match file.strip_prefix("./") {
                Some(beside) => format!("/page/{beside}"),
                None => file.to_owned(),
            }));
        }
        assert_eq!(named, PARTS.iter().map(|part| part.path.to_owned()).collect());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_inline() {
        for Part { path, text, .. } in PARTS {
            // The namespace of SVG is a name, and nothing is loaded from there.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in
                ["http:", "https:", "//cdn", "@import", "url(", "javascript:", "innerHTML", "eval("]
            {
                assert!(!text.contains(forbidden), "{path}: {forbidden}");
            }
        }
        let html = PARTS[0].text;
        for forbidden in ["<style", " style=", "<script>", " onclick=", " onload=", " onsubmit="] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn the_policy_allows_no_more_than_the_page_needs() {
        for (directive, value) in [
            ("default-src", "'none'"),
            ("script-src", "'self'"),
            ("style-src", "'self'"),
            ("connect-src", "'self'"),
        ] {
            let said = POLICY.split(';').find_map(|part| part.trim().strip_prefix(directive));
            assert_eq!(said.map(str::trim), Some(value), "{directive}");
        }
        assert!(!POLICY.contains("unsafe") && !POLICY.contains("http") && !POLICY.contains('*'));
    }
}
