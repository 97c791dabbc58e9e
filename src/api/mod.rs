//! The HTTP API: reads statuses, hands commands over, knows nothing else.
//!
//! [`listen`] lets connections in and bounds them ([`admission`]), [`connection`] speaks TLS and HTTP with
//! each, and [`secured`] stands before the routes: a browser that is led here by a foreign page is turned
//! away by [`guard`], and who has neither token nor session by [`access`].

mod access;
mod admission;
mod attempts;
pub mod capabilities;
pub mod client;
mod connection;
pub mod devices;
mod guard;
pub mod keys;
mod listen;
mod problem;
mod rate;
mod seat;
mod secured;
mod session;
mod trust;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};

pub use self::listen::{Api, BindError, Locks};
use crate::supervisor::{Command, Refusal, StreamHandle, Streams};
use problem::Problem;

/// What the API cannot find out by itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub streams: Streams,
    /// Raised while the daemon is up and not draining.
    pub ready: Arc<AtomicBool>,
    pub started: Instant,
    /// The version of GStreamer in use.
    pub gstreamer: String,
}

fn routes(facts: Facts) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/v1/info", get(info))
        .route("/v1/capabilities", get(capabilities::answer))
        .route("/v1/devices", get(devices::answer))
        .route("/v1/streams", get(streams))
        .route("/v1/streams/{id}", get(stream))
        .route("/v1/streams/{id}/rate", get(rate::decisions))
        .route("/v1/streams/{id}/actions/{action}", post(act))
        .fallback(|| async { Problem::not_found("there is no such resource") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::disable()) // bodies are read, within their limit, before they come here
        .with_state(facts)
}

async fn readyz(State(facts): State<Facts>) -> Response {
    if facts.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting or draining").into_response()
    }
}

async fn info(State(facts): State<Facts>) -> Json<wire::Info> {
    Json(wire::Info::new(facts.started, facts.gstreamer))
}

async fn streams(State(facts): State<Facts>) -> Json<wire::Streams> {
    Json(wire::Streams { items: facts.streams.statuses().iter().map(wire::Stream::from).collect() })
}

async fn stream(State(facts): State<Facts>, id: Segments<String>) -> Result<Json<wire::Stream>, Problem> {
    let UrlPath(id) = id.map_err(unreadable)?;
    Ok(Json(wire::Stream::from(&find(&facts, &id)?.status())))
}

/// 202: the command was handed over; the stream's state tells how it went.
async fn act(
    State(facts): State<Facts>,
    segments: Segments<(String, String)>,
) -> Result<(StatusCode, Json<wire::Stream>), Problem> {
    let UrlPath((id, action)) = segments.map_err(unreadable)?;
    let stream = find(&facts, &id)?;
    let command = match action.as_str() {
        "start" => Command::Start,
        "stop" => Command::Stop,
        "restart" => Command::Restart,
        "keyframe" => Command::KeyFrame,
        other => {
            let known = "actions are start, stop, restart and keyframe";
            return Err(Problem::not_found(&format!("there is no action {other:?}: {known}")));
        }
    };
    stream.command(command).map_err(|refusal| match refusal {
        Refusal::Gone => Problem::not_found(&refusal.to_string()),
        Refusal::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
    })?;
    Ok((StatusCode::ACCEPTED, Json(wire::Stream::from(&stream.status()))))
}

/// Parts of a path, if they are text.
type Segments<T> = Result<UrlPath<T>, PathRejection>;

fn unreadable(_: PathRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the path is not text")
}

fn find(facts: &Facts, id: &str) -> Result<StreamHandle, Problem> {
    facts.streams.stream(id).ok_or_else(|| Problem::not_found(&format!("there is no stream {id:?}")))
}
