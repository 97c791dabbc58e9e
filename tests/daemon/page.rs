//! The page, as a browser fetches it.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Daemon;

/// An answer, with its headers in small letters.
struct Fetched {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

fn fetch(daemon: &Daemon, path: &str, known: Option<&str>) -> Fetched {
    let mut request = ureq::get(daemon.url(path)).config().http_status_as_error(false).build();
    if let Some(tag) = known {
        request = request.header("If-None-Match", tag);
    }
    let mut response = request.call().expect("an answer");
    let header = |value: &ureq::http::HeaderValue| value.to_str().expect("text").to_owned();
    Fetched {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(|(name, value)| (name.to_string(), header(value))).collect(),
        text: response.body_mut().read_to_string().expect("a body"),
    }
}

/// Files that this one names, as paths of the daemon.
fn named(text: &str) -> impl Iterator<Item = String> {
    let quoted = text.split(['"', '\'']).skip(1).step_by(2);
    let files = quoted.filter(|word| [".js", ".css", ".svg"].iter().any(|end| word.ends_with(end)));
    files.map(|file| match file.strip_prefix("./") {
        Some(beside) => format!("/page/{beside}"),
        None => file.to_owned(),
    })
}

#[test]
fn the_page_is_whole_and_asks_nobody_else() {
    let daemon = Daemon::start("");
    let mut seen = BTreeSet::new();
    let mut to_fetch = vec!["/".to_owned()];
    while let Some(path) = to_fetch.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Fetched { status, headers, text } = fetch(&daemon, &path, None);
        assert_eq!(status, 200, "{path}");
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(_) | None => "text/html; charset=utf-8",
        };
        assert_eq!(headers["content-type"], kind, "{path}");
        let elsewhere = text.replace("http://www.w3.org/2000/svg", ""); // a name, which nobody fetches
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}");
        to_fetch.extend(named(&text));

        // A part that does not fit its policy is one that a browser leaves out.
        let policy = &headers["content-security-policy"];
        for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]
        {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for inline in ["<style", " style=", "<script>", " onclick=", " onload="] {
            assert!(!text.contains(inline), "{path}: {inline}");
        }

        let again = fetch(&daemon, &path, Some(&headers["etag"]));
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        assert_eq!(again.headers["etag"], headers["etag"], "{path}");
    }
    assert!(seen.len() > 15, "{seen:?}");
    assert_eq!(fetch(&daemon, "/page/no-such.js", None).status, 404);
}

#[test]
fn the_page_asks_for_the_token_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "correct-horse-battery-staple\n").expect("the token is written");
    let daemon = Daemon::start(&format!("token_file = \"{}\"\n", file.display()));
    for path in ["/", "/page/app.js", "/page/style.css"] {
        assert_eq!(fetch(&daemon, path, None).status, 200, "{path}");
    }
    for path in ["/v1/streams", "/v1/info", "/page/../v1/streams", "/page/no-such.js"] {
        assert_eq!(fetch(&daemon, path, None).status, 401, "{path}");
    }
}
