//! The document that is served is the one that is checked in.
//!
//! `UPDATE_GOLDEN=1 cargo test --test api openapi` writes it anew: read the difference before committing.

use std::path::Path;

use crate::harness::Daemon;
use crate::http::get;

#[test]
fn the_checked_in_document_is_that_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/openapi.json");
    let described = uplinkd::api::description();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, described).expect("the document is written");
    }
    let kept = std::fs::read_to_string(&path).expect("etc/openapi.json is there");
    assert!(kept == described, "the routes have changed: UPDATE_GOLDEN=1 cargo test --test api openapi");
}

#[test]
fn the_document_is_served() {
    let daemon = Daemon::start("");
    let answer = get(&daemon, "/v1/openapi.json");
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.body["info"]["version"], env!("CARGO_PKG_VERSION"));
}
