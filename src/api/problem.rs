//! Errors as RFC 9457 `application/problem+json`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error's answer. The text is for users: nothing internal is in it.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub fn new(status: StatusCode, detail: &str) -> Self {
        Problem { status, detail: detail.to_string() }
    }

    pub fn not_found(detail: &str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn forbidden(detail: &str) -> Self {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn method_not_allowed() -> Self {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: "about:blank", // the status says it all, as RFC 9457 section 4.2.1 has it
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        match serde_json::to_vec(&body) {
            Ok(json) => (self.status, headers, json).into_response(),
            Err(_) => self.status.into_response(), // cannot happen for strings and a number; the status is told all the same
        }
    }
}
