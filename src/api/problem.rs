//! Errors as RFC 9457 `application/problem+json`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::reconfigure::{Fault, Place, Refused};

/// An error's answer. The text is for users: nothing internal is in it.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
}

/// A problem as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// `about:blank`: the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// What is wrong, in words.
    detail: String,
    /// Each thing that is wrong with what was sent, where there is more to say than the detail does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// The setting, dotted; empty where none is concerned.
    field: String,
    detail: String,
    /// What to write instead, or to do.
    fix: String,
    /// `request`, or the path of the file that stands against it.
    document: Option<String>,
    /// From 1.
    line: Option<usize>,
    /// From 1, in characters.
    column: Option<usize>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: &str) -> Self {
        Problem { status, detail: detail.to_string(), errors: Vec::new() }
    }

    pub fn not_found(detail: &str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn bad_request(detail: &str) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn busy(detail: &str) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub fn forbidden(detail: &str) -> Self {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn method_not_allowed() -> Self {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method")
    }

    /// One setting is wrong.
    pub fn of_field(field: &str, detail: &str, fix: &str) -> Self {
        let place = None;
        let fault = Fault { key: field.to_owned(), message: detail.to_owned(), fix: fix.to_owned(), place };
        Problem::from(Refused::Wrong(vec![fault]))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let status = match &refused {
            Refused::NoStream(_) => StatusCode::NOT_FOUND,
            Refused::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Changed => StatusCode::PRECONDITION_FAILED,
            Refused::Unconfirmed | Refused::NothingOnTrial => StatusCode::CONFLICT,
            Refused::NotKept { is_full: true, .. } => StatusCode::INSUFFICIENT_STORAGE,
            Refused::NotKept { is_full: false, .. } | Refused::Blocked(_) | Refused::Busy | Refused::Gone => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let problem = Problem::new(status, &refused.to_string());
        match refused {
            Refused::Wrong(faults) => {
                Problem { errors: faults.iter().map(FieldError::from).collect(), ..problem }
            }
            Refused::NoStream(_)
            | Refused::Changed
            | Refused::Unconfirmed
            | Refused::NothingOnTrial
            | Refused::NotKept { .. }
            | Refused::Blocked(_)
            | Refused::Busy
            | Refused::Gone => problem,
        }
    }
}

impl From<&Fault> for FieldError {
    fn from(Fault { key, message, fix, place }: &Fault) -> FieldError {
        FieldError {
            field: key.clone(),
            detail: message.clone(),
            fix: fix.clone(),
            document: place.as_ref().map(|place| place.document.clone()),
            line: place.as_ref().map(|Place { line, .. }| *line),
            column: place.as_ref().map(|Place { column, .. }| *column),
        }
    }
}

impl Problem {
    /// As it is sent.
    pub fn into_body(self) -> Body {
        Body {
            kind: "about:blank", // as RFC 9457 section 4.2.1 has it
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
        match serde_json::to_vec(&self.into_body()) {
            Ok(json) => (status, headers, json).into_response(),
            Err(_) => status.into_response(), // cannot happen for texts and numbers; the status is told all the same
        }
    }
}

pub const CONTENT_TYPE: &str = "application/problem+json";
