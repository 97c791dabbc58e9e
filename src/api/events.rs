//! `GET /v1/events`: what happens, as server-sent events.
//!
//! The first is `snapshot`: every stream as `GET /v1/streams` has it. Its id is that of the event before the one that
//! follows, so that whoever reconnects with the id it saw last gets just what it has not seen. A reader that falls
//! behind the thousand events that are kept is dropped, and so is one that takes nothing for a while
//! ([`connection`](super::connection)); both come back with their id, and are told what they have missed.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Facts;
use super::problem::Problem;
use super::wire::{self, rfc3339};
use crate::supervisor::events::{Beginning, Entry, KEPT, Manner, Place, Reader, Since};

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// How many of the last events come first, where no id was seen: at most 1000, by default none.
    #[serde(default)]
    replay: u64,
    /// As the header `Last-Event-ID`, for those who cannot set one.
    last_event_id: Option<String>,
}

/// The first event.
#[derive(Serialize)]
struct Snapshot {
    time: Option<String>,
    /// This run of the daemon: ids begin with it.
    run: String,
    /// How many events that the reader had not seen are no longer kept.
    missed: u64,
    streams: Vec<wire::Stream>,
}

/// Each of the others; its own fields follow.
#[derive(Serialize)]
pub struct Told {
    time: Option<String>,
    event: &'static str,
    /// `info`, `warn` or `error`.
    level: String,
    /// `null`: the daemon as a whole.
    stream: Option<String>,
    text: &'static str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// What happens, as server-sent events; the first is a snapshot of all streams.
#[utoipa::path(get, path = "/v1/events", operation_id = "events", tag = "daemon",
    params(
        ("replay" = Option<u64>, Query, description = "How many of the last events come first, up to 1000."),
        ("last_event_id" = Option<String>, Query, description = "As Last-Event-ID, for those who cannot set it."),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen."),
    ),
    responses(
        (status = 200, description = "Events, until the reader goes.", body = String, content_type = "text/event-stream"),
        (status = 422, description = "The id or the number is none."),
        (status = 503, description = "Too many readers are there already."),
    ),
)]
pub async fn answer(
    State(facts): State<Facts>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(asked) =
        asked.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, &error.body_text()))?;
    let beginning = facts.streams.events().read(since(&asked, &headers)?);
    let Beginning { reader, place, missed } =
        beginning.map_err(|full| Problem::new(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))?;
    let snapshot = Snapshot {
        time: rfc3339(Instant::now()),
        run: format!("{:08x}", place.run),
        missed,
        streams: facts.streams.statuses().iter().map(wire::Stream::from).collect(),
    };
    let first = event(place, "snapshot", &snapshot).retry(RECONNECT);
    let events = stream::once(async { first }).chain(followed_by(reader)).map(Ok::<_, Infallible>);
    let live = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("nothing new"));
    // Proxies are not to gather what is for now.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], live).into_response())
}

/// The id wins over a wish for the last so many. An id that is none of ours is that of another run.
fn since(asked: &Asked, headers: &HeaderMap) -> Result<Since, Problem> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
    match header.or(asked.last_event_id.as_deref()).filter(|id| !id.is_empty()) {
        Some(id) => Ok(id.parse().map_or(Since::Start, Since::Place)),
        None if asked.replay <= KEPT as u64 => Ok(Since::Last(asked.replay)),
        None => {
            let detail = format!("replay: at most the last {KEPT} events are kept");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, &detail))
        }
    }
}

/// Ends when the reader has fallen behind.
fn followed_by(reader: Reader) -> impl Stream<Item = sse::Event> {
    stream::unfold(reader, |mut reader| async {
        let entry = reader.next().await?;
        let place = Place { run: reader.run(), number: entry.number };
        let told = event(place, entry.event.manner().kind, &Told::from(&*entry));
        Some((told, reader))
    })
}

fn event(place: Place, kind: &str, data: &impl Serialize) -> sse::Event {
    let event = sse::Event::default().id(place.to_string()).event(kind);
    match serde_json::to_string(data) {
        Ok(json) => event.data(json),
        Err(_) => event.data("{}"), // cannot happen for strings, numbers and lists of them; the id goes on
    }
}

impl From<&Entry> for Told {
    fn from(entry: &Entry) -> Told {
        let Manner { kind, level, text } = entry.event.manner();
        Told {
            time: rfc3339(entry.at),
            event: kind,
            level: level.as_str().to_ascii_lowercase(),
            stream: entry.stream.as_ref().map(ToString::to_string),
            text,
            fields: entry.event.fields(),
        }
    }
}

/// What browsers send when they reconnect.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Shorter than what proxies and mobile networks take for silence.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// After so long a browser comes back: soon enough to be shown as live, and no storm after a restart.
const RECONNECT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(replay: u64, id: Option<&str>) -> Asked {
        Asked { replay, last_event_id: id.map(str::to_owned) }
    }

    #[test]
    fn an_id_wins_over_a_replay_and_a_foreign_one_is_of_another_run() {
        let mut headers = HeaderMap::new();
        assert_eq!(since(&asked(7, None), &headers).unwrap(), Since::Last(7));
        assert!(since(&asked(1001, None), &headers).is_err());
        let place = |number| Since::Place(Place { run: 0xab, number });
        assert_eq!(since(&asked(7, Some("000000ab-5")), &headers).unwrap(), place(5));
        headers.insert(LAST_EVENT_ID, "000000ab-6".parse().unwrap());
        assert_eq!(since(&asked(7, Some("000000ab-5")), &headers).unwrap(), place(6));
        headers.insert(LAST_EVENT_ID, "what".parse().unwrap());
        assert_eq!(since(&asked(7, None), &headers).unwrap(), Since::Start);
    }
}
