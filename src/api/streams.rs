//! `/v1/streams`: what streams do, what they are told to do, and how they are configured.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};

use super::body::{self, JSON, MERGE_PATCH};
use super::configuration::Outcome;
use super::problem::Problem;
use super::settings::StreamSettings;
use super::{Facts, wire};
use crate::config::StreamName;
use crate::reconfigure::{Change, Current, Guard, Mode, tag};
use crate::supervisor::{Command, Refusal, StreamHandle};

#[utoipa::path(get, path = "/v1/streams", operation_id = "list_streams", tag = "streams", responses(
    (status = 200, description = "Every stream and how it does.", body = wire::Streams),
))]
pub async fn list(State(facts): State<Facts>) -> Json<wire::Streams> {
    Json(wire::Streams { items: facts.streams.statuses().iter().map(wire::Stream::from).collect() })
}

#[utoipa::path(get, path = "/v1/streams/{id}", operation_id = "read_stream", tag = "streams",
    params(("id" = String, Path, description = "The stream's name.")),
    responses(
        (status = 200, description = "How the stream does, and under `config` how it is configured.",
            body = wire::OneStream,
            headers(("ETag" = String, description = "Of the configuration, for `If-Match`; the status has none."))),
        (status = 404, description = "There is no such stream."),
    )
)]
pub async fn read(State(facts): State<Facts>, id: Segments<String>) -> Result<Response, Problem> {
    let UrlPath(id) = id.map_err(unreadable)?;
    let stream = find(&facts, &id)?;
    let current = facts.configuration.as_ref().map(|configuration| configuration.current());
    let (body, tag) = one(&stream, current.as_deref());
    Ok(response(StatusCode::OK, body, tag))
}

/// What is not said has its default. What the configuration file says already is not repeated in the overrides.
#[utoipa::path(put, path = "/v1/streams/{id}", operation_id = "replace_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name: 1 to 32 of a-z, 0-9, - and _."),
        ("If-Match" = Option<String>, Header, description = "An `ETag` that was given for this stream."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only where there is no such stream yet."),
    ),
    request_body(content = StreamSettings, content_type = "application/json",
        description = "All of the stream's configuration."),
    responses(
        (status = 200, description = "The stream is configured so.", body = wire::OneStream,
            headers(("ETag" = String))),
        (status = 201, description = "The stream is new.", body = wire::OneStream,
            headers(("ETag" = String), ("Location" = String))),
        (status = 409, description = "Another change waits to be confirmed."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "The configuration would be wrong; nothing has changed."),
        (status = 503, description = "It cannot be kept, or the daemon is busy; nothing has changed."),
        (status = 507, description = "The disk is full; nothing has changed."),
    )
)]
pub async fn replace(
    State(facts): State<Facts>,
    id: Segments<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let stream = name(id)?;
    let section = body::json(&headers, body, &[JSON])?;
    changed(&facts, &headers, stream.clone(), Change::Replace { stream, section }).await
}

/// The patch is one on what file and overrides say, without defaults: `null` gives a setting its default back. A
/// list, such as `outputs`, is replaced as a whole.
#[utoipa::path(patch, path = "/v1/streams/{id}", operation_id = "patch_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("If-Match" = Option<String>, Header, description = "An `ETag` that was given for this stream."),
    ),
    request_body(description = "A JSON merge patch (RFC 7396) of the stream's configuration.", content(
        (StreamSettings = "application/merge-patch+json"),
        (StreamSettings = "application/json"),
    )),
    responses(
        (status = 200, description = "The stream is configured so.", body = wire::OneStream,
            headers(("ETag" = String))),
        (status = 404, description = "There is no such stream."),
        (status = 409, description = "Another change waits to be confirmed."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "The configuration would be wrong; nothing has changed."),
        (status = 503, description = "It cannot be kept, or the daemon is busy; nothing has changed."),
        (status = 507, description = "The disk is full; nothing has changed."),
    )
)]
pub async fn merge(
    State(facts): State<Facts>,
    id: Segments<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let stream = existing(&facts, &text(id)?)?;
    let patch = body::json(&headers, body, &[MERGE_PATCH, JSON])?;
    changed(&facts, &headers, stream.clone(), Change::Merge { stream, patch }).await
}

/// Nothing is changed: this is what the same `PATCH` would do.
#[utoipa::path(post, path = "/v1/streams/{id}/plan", operation_id = "plan_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("If-Match" = Option<String>, Header, description = "An `ETag` that was given for this stream."),
    ),
    request_body(description = "A JSON merge patch (RFC 7396) of the stream's configuration.", content(
        (serde_json::Value = "application/merge-patch+json"),
        (serde_json::Value = "application/json"),
    )),
    responses(
        (status = 200, description = "What it would change, and what that would restart.", body = Outcome),
        (status = 404, description = "There is no such stream."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "The configuration would be wrong."),
        (status = 503, description = "The daemon is busy, or has no configuration file."),
    )
)]
pub async fn plan(
    State(facts): State<Facts>,
    id: Segments<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Outcome>, Problem> {
    let stream = existing(&facts, &text(id)?)?;
    let patch = body::json(&headers, body, &[MERGE_PATCH, JSON])?;
    let change = Change::Merge { stream, patch };
    let done = facts.configuration()?.change(change, body::guard(&headers), Mode::Plan).await?;
    Ok(Json(Outcome::from(&done)))
}

/// The stream sends what it has, and is gone; one of the configuration file too, until the overrides are removed.
#[utoipa::path(delete, path = "/v1/streams/{id}", operation_id = "remove_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("If-Match" = Option<String>, Header, description = "An `ETag` that was given for this stream."),
    ),
    responses(
        (status = 204, description = "There is no such stream any more."),
        (status = 404, description = "There was none."),
        (status = 409, description = "Another change waits to be confirmed."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "The configuration would be wrong; nothing has changed."),
        (status = 503, description = "It cannot be kept, or the daemon is busy; nothing has changed."),
        (status = 507, description = "The disk is full; nothing has changed."),
    )
)]
pub async fn remove(
    State(facts): State<Facts>,
    id: Segments<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let stream = existing(&facts, &text(id)?)?;
    let mode = Mode::Apply { confirm_within: None };
    facts.configuration()?.change(Change::Remove { stream }, body::guard(&headers), mode).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The command is handed over; the stream's state tells how it went. What is started or stopped so stays so until
/// the daemon restarts; `enabled` lasts.
#[utoipa::path(post, path = "/v1/streams/{id}/actions/{action}", operation_id = "act_on_stream", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("action" = String, Path, description = "`start`, `stop`, `restart` or `keyframe`."),
    ),
    responses(
        (status = 202, description = "The command is handed over.", body = wire::Stream),
        (status = 404, description = "There is no such stream, or no such action."),
        (status = 503, description = "The stream has not carried out earlier commands yet."),
    )
)]
pub async fn act(
    State(facts): State<Facts>,
    segments: Segments<(String, String)>,
) -> Result<(StatusCode, Json<wire::Stream>), Problem> {
    let UrlPath((id, action)) = segments.map_err(unreadable)?;
    Ok((StatusCode::ACCEPTED, Json(ask(&facts, &id, &action)?)))
}

/// Hands a command over, and shows how the stream does. For HTTP, and for MQTT.
pub fn ask(facts: &Facts, id: &str, action: &str) -> Result<wire::Stream, Problem> {
    let stream = find(facts, id)?;
    let command = match action {
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
    Ok(wire::Stream::from(&stream.status()))
}

/// What became of a change, and the stream as it is with it.
pub struct Changed {
    pub created: bool,
    pub stream: wire::OneStream,
    /// Of its configuration; `None` where there is none.
    pub tag: Option<String>,
}

/// Makes a change of a stream. For HTTP, and for MQTT.
pub async fn change(
    facts: &Facts,
    stream: StreamName,
    change: Change,
    guard: Guard,
) -> Result<Changed, Problem> {
    let mode = Mode::Apply { confirm_within: None };
    let done = facts.configuration()?.change(change, guard, mode).await?;
    let (stream, tag) = one(&find(facts, stream.as_str())?, Some(&done.current));
    Ok(Changed { created: done.created, stream, tag })
}

/// The name of a stream that there is: whoever asks for another learns that before what else is wrong.
pub fn existing(facts: &Facts, id: &str) -> Result<StreamName, Problem> {
    find(facts, id).map(|stream| stream.status().name)
}

/// A stream with its configuration, where that is known, and the configuration's tag.
pub fn one(stream: &StreamHandle, current: Option<&Current>) -> (wire::OneStream, Option<String>) {
    let status = stream.status();
    let config = current.and_then(|current| current.layers.config.streams.get(&status.name));
    (wire::OneStream::new(&status, config), config.map(|config| tag(config.fingerprint())))
}

/// Parts of a path, if they are text.
pub type Segments<T> = Result<UrlPath<T>, PathRejection>;

pub fn unreadable(_: PathRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the path is not text")
}

pub fn find(facts: &Facts, id: &str) -> Result<StreamHandle, Problem> {
    facts.streams.stream(id).ok_or_else(|| Problem::not_found(&format!("there is no stream {id:?}")))
}

fn text(id: Segments<String>) -> Result<String, Problem> {
    id.map(|UrlPath(id)| id).map_err(unreadable)
}

fn name(id: Segments<String>) -> Result<StreamName, Problem> {
    let id = text(id)?;
    StreamName::new(&id).map_err(|error| {
        Problem::of_field("id", "is no name for a stream", &format!("take another: {error}"))
    })
}

async fn changed(
    facts: &Facts,
    headers: &HeaderMap,
    stream: StreamName,
    wanted: Change,
) -> Result<Response, Problem> {
    let Changed { created, stream: body, tag } =
        change(facts, stream.clone(), wanted, body::guard(headers)).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = response(status, body, tag);
    if created && let Ok(location) = format!("/v1/streams/{stream}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn response(status: StatusCode, body: wire::OneStream, tag: Option<String>) -> Response {
    match tag {
        Some(tag) => (status, [(header::ETAG, format!("\"{tag}\""))], Json(body)).into_response(),
        None => (status, Json(body)).into_response(),
    }
}
