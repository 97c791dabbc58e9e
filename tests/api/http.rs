//! Requests as curl would make them, and what comes back.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Request;

use crate::harness::{Daemon, eventually};

/// An answer; errors are answers too.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub tag: Option<String>,
    pub body: Value,
}

/// Any request, with headers and a body.
pub fn send(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(daemon.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build(),
    );
    let response = match body {
        "" => agent.run(request.body(&[][..]).expect("a request")), // of no length, where `()` is of any
        body => agent.run(request.body(body.to_owned()).expect("a request")),
    };
    let mut response = response.expect("an answer");
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, tag) = (header("content-type").unwrap_or_default(), header("etag"));
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, content_type, tag, body }
}

pub fn get(daemon: &Daemon, path: &str) -> Answer {
    send(daemon, "GET", path, &[], "")
}

pub fn delete(daemon: &Daemon, path: &str) -> Answer {
    send(daemon, "DELETE", path, &[], "")
}

pub fn post(daemon: &Daemon, path: &str) -> Answer {
    send(daemon, "POST", path, &[], "")
}

pub fn patch(daemon: &Daemon, stream: &str, patch: &Value) -> Answer {
    let kind = [("content-type", "application/merge-patch+json")];
    send(daemon, "PATCH", &format!("/v1/streams/{stream}"), &kind, &patch.to_string())
}

pub fn put(daemon: &Daemon, stream: &str, section: &Value) -> Answer {
    let kind = [("content-type", "application/json")];
    send(daemon, "PUT", &format!("/v1/streams/{stream}"), &kind, &section.to_string())
}

/// Sends overrides to `check`, `plan` or `apply`.
pub fn overrides(daemon: &Daemon, action: &str, toml: &str) -> Answer {
    send(daemon, "POST", &format!("/v1/config/{action}"), &[("content-type", "application/toml")], toml)
}

/// A setting's value and origin, as `GET /v1/config` has them.
pub fn setting(daemon: &Daemon, key: &str) -> Value {
    let settings = get(daemon, "/v1/config").body["settings"].clone();
    let found = settings.as_array().expect("a list").iter().find(|setting| setting["key"] == key).cloned();
    found.map_or(Value::Null, |setting| json!([setting["value"], setting["origin"]]))
}

/// Waits until `main` reaches its receiver. On a busy machine it may be degraded even so: the encoder gives way.
pub fn on_air(daemon: &Daemon) {
    eventually("the stream reaches its receiver", Duration::from_secs(30), || {
        daemon.status()["outputs"][0]["state"] == "streaming"
    });
}

impl Answer {
    /// The first thing that is wrong.
    pub fn error(&self) -> &Value {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        &self.body["errors"][0]
    }
}
