//! What stands between a connection and the routes: each request goes through here, each answer back.
//!
//! ```text
//! request ─▶ guard ─▶ access ─▶ body ─▶ routes
//!             403      401       413      │
//!             400      429       408      │ 503 after a time
//! answer  ◀── headers ◀── problems ◀──────┘
//! ```
//!
//! Before somebody is let in, nothing of his is kept: no body is read but a token, and his connection may
//! be closed for another one's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::access::Access;
use super::connection::Visit;
use super::guard;
use super::page;
use super::problem::Problem;
use super::seat::Occupied;

/// The routes behind their guards.
#[derive(Clone, Debug)]
pub struct Secured {
    routes: TowerToHyperService<Router>,
    access: Arc<Access>,
    /// Names of this machine, in small letters.
    hosts: Arc<[String]>,
}

/// `routes`, for those whom `access` lets in, under the names `hosts`.
pub fn secured(routes: Router, access: Arc<Access>, hosts: &[String]) -> Secured {
    Secured { routes: TowerToHyperService::new(routes), access, hosts: hosts.into() }
}

impl Secured {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, visit: &Visit) -> Response {
        let head = request.method() == Method::HEAD;
        let answer = self.judge(request, visit).await.unwrap_or_else(|refusal| refusal);
        let mut answer = if head { answer } else { as_problem(answer).await };
        let headers = answer.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        answer
    }

    async fn judge(&self, request: Request<Incoming>, visit: &Visit) -> Result<Response, Response> {
        let (parts, body) = request.into_parts();
        guard::check(&parts, &self.hosts, visit.door).map_err(IntoResponse::into_response)?;
        if parts.uri.path() == SESSION {
            return self.session(&parts.method, &parts.headers, body, visit).await;
        }
        let open = is_open(&parts.method, parts.uri.path());
        if !open {
            let admitted = self.access.check(&parts.headers, visit.door, visit.peer).await;
            admitted.map_err(IntoResponse::into_response)?;
        }
        let admitted = !open || !self.access.is_guarded(visit.door);
        let occupied = admitted.then(|| visit.seat.occupy());
        let limit = if admitted { LARGEST_BODY } else { 0 };
        let body = read(body, &parts.headers, limit).await.map_err(IntoResponse::into_response)?;
        let changes = !parts.method.is_safe();
        if changes {
            guard::is_typed(&parts.headers, &body).map_err(IntoResponse::into_response)?;
        }
        let routed = self.routes.call(Request::from_parts(parts, Body::from(body)));
        // Whoever asks for a change and hangs up must not leave half of it: it is carried out by itself.
        let answer = match changes {
            true => in_time(by_itself(routed)).await,
            false => in_time(async { routed.await.unwrap_or_else(|never| match never {}) }).await,
        };
        Ok(answer.map(|body| Body::new(Guarded { body, _occupied: occupied })))
    }

    /// `/v1/session`: a token in, a cookie out.
    async fn session(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Incoming,
        visit: &Visit,
    ) -> Result<Response, Response> {
        let door = visit.door;
        let guarded = self.access.is_guarded(door);
        match *method {
            Method::GET | Method::HEAD => {
                let open = self.access.check(headers, door, visit.peer).await.is_ok();
                Ok(Json(Session { token_required: guarded, open }).into_response())
            }
            Method::POST if !guarded => Ok(StatusCode::NO_CONTENT.into_response()),
            Method::POST => {
                let body = read(body, headers, LARGEST_LOGIN).await.map_err(IntoResponse::into_response)?;
                guard::is_typed(headers, &body).map_err(IntoResponse::into_response)?;
                let Ok(Login { token }) = serde_json::from_slice(&body) else {
                    let detail = "the body is to be {\"token\": \"…\"}";
                    return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).into_response());
                };
                let admitted = self.access.check_token(token.as_bytes(), visit.peer).await;
                admitted.map_err(IntoResponse::into_response)?;
                let cookie = self.access.open_session(door);
                Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
            }
            Method::DELETE => {
                self.access.close_session(headers, door);
                let cookie = super::session::forget_cookie(door.is_tls());
                Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
            }
            _ => {
                let allow = [(header::ALLOW, "GET, HEAD, POST, DELETE")];
                Err((allow, Problem::method_not_allowed()).into_response())
            }
        }
    }
}

/// What `GET /v1/session` tells: whether a page has to ask for the token.
#[derive(Serialize, ToSchema)]
pub struct Session {
    token_required: bool,
    /// The request itself was let in.
    open: bool,
}

/// What `POST /v1/session` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    token: String,
}

/// Descriptions of what [`Secured::session`] answers.
pub mod described {
    use super::{Login, Session};

    /// Whether a token is needed, and whether this request has one.
    #[utoipa::path(get, path = "/v1/session", operation_id = "session", tag = "daemon", responses(
        (status = 200, description = "Whether the page has to ask for the token.", body = Session),
    ))]
    #[expect(dead_code, reason = "the description only")]
    pub fn ask_session() {}

    /// A token in, a cookie out: for pages, which cannot send a bearer.
    #[utoipa::path(post, path = "/v1/session", operation_id = "sign_in", tag = "daemon", request_body = Login, responses(
        (status = 204, description = "The cookie is set; or there is no need of one."),
        (status = 422, description = "The body is not {\"token\": …}."),
    ))]
    #[expect(dead_code, reason = "the description only")]
    pub fn open_session() {}

    /// Ends the session.
    #[utoipa::path(delete, path = "/v1/session", operation_id = "sign_out", tag = "daemon", responses(
        (status = 204, description = "The cookie is worth nothing any more."),
    ))]
    #[expect(dead_code, reason = "the description only")]
    pub fn close_session() {}
}

/// What everybody may see: that the daemon is there, and the page, which asks for the token.
fn is_open(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && (OPEN.contains(&path) || page::is_of_page(path))
}

/// The whole body: no route wants to begin before it is there.
async fn read(body: Incoming, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {} KiB", limit / 1024);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, &detail)
    };
    if !guard::has_body(headers) {
        return Ok(Bytes::new());
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body is damaged")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

async fn in_time(answer: impl Future<Output = Response>) -> Response {
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let detail = "there is no answer yet: a device or a file that it takes hangs";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })
}

/// Goes on to its end, whoever still waits for it.
async fn by_itself(routed: impl Future<Output = Result<Response, Infallible>> + Send + 'static) -> Response {
    match tokio::spawn(routed).await {
        Ok(Ok(answer)) => answer,
        Err(error) => {
            log::error!(error:%; "a route of the API has failed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a defect of uplinkd").into_response()
        }
    }
}

/// Errors that a library has answered by itself get the form of all others.
async fn as_problem(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !(status.is_client_error() || status.is_server_error()) || kind == Some(PROBLEM) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, LARGEST_DETAIL).await.unwrap_or_default();
    let detail = match std::str::from_utf8(&body) {
        Ok(text) if !text.trim().is_empty() => text.trim(),
        Ok(_) | Err(_) => status.canonical_reason().unwrap_or("error"),
    };
    let problem = Problem::new(status, detail).into_response();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers().clone());
    Response::from_parts(parts, problem.into_body())
}

/// An answer's body, during which the connection is nobody else's.
struct Guarded {
    body: Body,
    /// `None` for what everybody may see.
    _occupied: Option<Occupied>,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// The login of pages. It is answered here, since it is about who may use the routes.
const SESSION: &str = "/v1/session";

const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Bytes: a configuration with hundreds of streams has less.
const LARGEST_BODY: usize = 1024 * 1024;

/// Bytes of a login: nothing else is read of somebody who is not let in.
const LARGEST_LOGIN: usize = 4 * 1024;

/// Bytes of a library's own message that are shown.
const LARGEST_DETAIL: usize = 4 * 1024;

/// A body of 1 MiB at less than 1 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Devices that do not answer are given up before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const PROBLEM: &[u8] = b"application/problem+json";

/// On every answer that does not say otherwise. A page says what it needs in a policy of its own.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
