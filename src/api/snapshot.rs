//! `GET /v1/streams/{id}/snapshot.jpg`: what is on air, as a picture.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::problem::Problem;
use super::streams::{Segments, find, unreadable};
use super::wire::rfc3339;
use super::{Facts, body};

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// At most so many pixels wide: one of [`WIDTHS`].
    #[serde(default = "widest")]
    width: u32,
}

/// What is on air, as a picture.
#[utoipa::path(get, path = "/v1/streams/{id}/snapshot.jpg", operation_id = "snapshot", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("width" = Option<u32>, Query, description = "At most so many pixels wide: 160, 320, 640 or 1280."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the picture that is known."),
    ),
    responses(
        (status = 200, description = "The newest picture.", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 304, description = "It is the one that is known."),
        (status = 404, description = "There is no such stream."),
        (status = 422, description = "The width is none of those."),
        (status = 503, description = "Nothing is on air; the detail says why."),
    ),
)]
pub async fn answer(
    State(facts): State<Facts>,
    id: Segments<String>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let UrlPath(id) = id.map_err(unreadable)?;
    let refused = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let Query(Asked { width }) = asked.map_err(|error| refused(&error.body_text()))?;
    if !WIDTHS.contains(&width) {
        return Err(refused(&format!("width: {width} is none of {WIDTHS:?}")));
    }
    let snapshots = find(&facts, &id)?.snapshots().clone();
    let snapshot = snapshots
        .newest(width)
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))?;
    let tag = format!("\"{:016x}\"", snapshot.number);
    let always = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
    ];
    if body::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, always).into_response());
    }
    let time = [(CAPTURED, rfc3339(snapshot.at).unwrap_or_default())];
    Ok((always, time, snapshot.jpeg.clone()).into_response())
}

fn widest() -> u32 {
    WIDTHS[WIDTHS.len() - 1]
}

/// A few, since what was made for one reader serves the others.
const WIDTHS: [u32; 4] = [160, 320, 640, 1280];

/// When the picture was on air.
const CAPTURED: header::HeaderName = header::HeaderName::from_static("x-captured-at");
