//! `GET /v1/streams/{id}/rate`: what the rate controllers saw and decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Facts;
use super::problem::Problem;
use super::series::Series;
use super::streams::{Segments, find, unreadable};
use super::wire::{fine_millis, millis, rfc3339};
use crate::supervisor::StreamHandle;
use crate::supervisor::recorder::{Line, Recorder, Step};

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// How far back, in seconds; the recorder keeps ten minutes.
    #[serde(default = "a_minute")]
    last_s: u32,
    /// An output's name; the one that the encoder follows where there is none.
    output: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The decisions that changed something, and at least one a second.
    #[default]
    Json,
    /// One value a second, as columns: what charts show.
    Series,
    /// The whole recording as `uplinkd simulate --replay` takes it, a JSON value a line.
    Recording,
}

/// What is told, by the format that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Told {
    Decisions(Decisions),
    Series(Series),
}

/// What the rate control decided for an output, the oldest first.
#[derive(Serialize, ToSchema)]
struct Decisions {
    output: String,
    items: Vec<Item>,
}

/// One decision, and what it was made from.
#[derive(Serialize, ToSchema)]
#[schema(as = Decision)]
struct Item {
    time: Option<String>,
    rule: &'static str,
    before_bps: u64,
    after_bps: u64,
    estimate_bps: Option<u64>,
    queue_ms: u64,
    window_bytes: u64,
    pace_bps: u64,
    patience_ms: u64,
    thinned_percent: f64,
    key_frame: bool,
    inputs: Inputs,
}

/// What a decision was made from.
#[derive(Serialize, ToSchema)]
struct Inputs {
    rtt_ms: f64,
    base_rtt_ms: f64,
    fresh_rtt_ms: Option<f64>,
    arrived_bytes: u64,
    handed_over_bytes: u64,
    send_buffer_bytes: u64,
    in_network_bytes: u64,
    waiting_bytes: u64,
    oldest_ms: u64,
    oldest_sent_ms: u64,
    heard_ms: u64,
    sent_packets: u64,
    retransmitted_packets: u64,
    lost_packets: u64,
    late_packets: u64,
    left_out_frames: u64,
    limited_by_application: bool,
    encoded_bps: Option<u64>,
}

#[utoipa::path(get, path = "/v1/streams/{id}/rate", operation_id = "rate_decisions", tag = "streams",
    params(
        ("id" = String, Path, description = "The stream's name."),
        ("last_s" = Option<u32>, Query, description = "How far back, in seconds; 60 unless told. Ten minutes are kept."),
        ("output" = Option<String>, Query,
            description = "An output's name; the one whose link the rate follows unless told."),
        ("format" = Option<String>, Query,
            description = "`json`: decisions that changed something, and one a second. `series`: one value a second, as \
                columns for a chart. `recording`: all decisions, for `uplinkd simulate --replay`."),
    ),
    responses(
        (status = 200, description = "The decisions and what they were made from.", content(
            (Told = "application/json"),
            (String = "application/jsonl"),
        )),
        (status = 404, description = "There is no such stream, or no such output has run."),
        (status = 422, description = "A parameter is wrong."),
    )
)]
pub async fn decisions(
    State(facts): State<Facts>,
    id: Segments<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let UrlPath(id) = id.map_err(unreadable)?;
    let Query(asked) = asked.map_err(|error| {
        let detail = format!(
            "{}: last_s is a number of seconds, format is json, series or recording",
            error.body_text()
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, &detail)
    })?;
    let stream = find(&facts, &id)?;
    let (output, recorder) = recorder(&stream, asked.output)?;
    let last = Duration::from_secs(asked.last_s.into());
    Ok(match asked.format {
        Format::Json => {
            Json(Told::Decisions(Decisions { output, items: telling(&recorder.steps(last)) })).into_response()
        }
        Format::Series => Json(Told::Series(Series::new(output, &recorder.steps(last)))).into_response(),
        Format::Recording => recording(recorder.lines()),
    })
}

/// Of the output that was asked for; of the one that the encoder follows; or of the first.
fn recorder(stream: &StreamHandle, asked: Option<String>) -> Result<(String, Arc<Recorder>), Problem> {
    let status = stream.status();
    let output = match asked {
        Some(asked) => status.outputs.iter().map(|output| &output.name).find(|name| name.as_str() == asked),
        None => status.rate.output.as_ref().or(status.outputs.first().map(|output| &output.name)),
    };
    output
        .and_then(|output| Some((output.to_string(), stream.recorders().find(output)?)))
        .ok_or_else(|| Problem::not_found("there is no such output, or it has not run yet"))
}

/// The steps that changed something, and enough of the others to see time pass.
fn telling(steps: &[(Instant, Step)]) -> Vec<Item> {
    let mut told: Option<(Instant, Step)> = None;
    let mut items = Vec::new();
    for (at, step) in steps {
        let is_news = told.is_none_or(|(before_at, before)| {
            before.decision.rule != step.decision.rule
                || before.decision.target != step.decision.target
                || before.decision.thin != step.decision.thin
                || step.decision.key_frame
                || *at - before_at >= LONGEST_SILENCE
        });
        if is_news {
            items.push(Item::new(*at, step));
            told = Some((*at, *step));
        }
    }
    items
}

/// Written as it is read: ten minutes are megabytes.
fn recording(lines: Vec<Line>) -> Response {
    let parts = stream::iter(lines).map(|line| {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(text))
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(parts)).into_response()
}

impl Item {
    fn new(at: Instant, step: &Step) -> Self {
        let (sample, decision) = (&step.sample, &step.decision);
        Item {
            time: rfc3339(at),
            rule: decision.rule.as_str(),
            before_bps: decision.before.as_bps(),
            after_bps: decision.target.as_bps(),
            estimate_bps: decision.estimate.map(|estimate| estimate.as_bps()),
            queue_ms: millis(decision.queue),
            window_bytes: decision.window.get(),
            pace_bps: decision.pace.as_bps(),
            patience_ms: millis(decision.patience),
            thinned_percent: (decision.thin * 1000.0).round() / 10.0,
            key_frame: decision.key_frame,
            inputs: Inputs {
                rtt_ms: fine_millis(sample.rtt),
                base_rtt_ms: fine_millis(sample.base_rtt),
                fresh_rtt_ms: sample.fresh_rtt.map(fine_millis),
                arrived_bytes: sample.arrived.get(),
                handed_over_bytes: sample.handed_over.get(),
                send_buffer_bytes: sample.send_buffer.get(),
                in_network_bytes: sample.in_network.get(),
                waiting_bytes: sample.waiting.get(),
                oldest_ms: millis(sample.oldest),
                oldest_sent_ms: millis(sample.oldest_sent),
                heard_ms: millis(sample.heard),
                sent_packets: sample.sent,
                retransmitted_packets: sample.retransmitted,
                lost_packets: sample.lost,
                late_packets: sample.late,
                left_out_frames: sample.left_out,
                limited_by_application: sample.limited_by_application,
                encoded_bps: sample.encoded.map(|encoded| encoded.as_bps()),
            },
        }
    }
}

fn a_minute() -> u32 {
    60
}

/// Decisions that change nothing are told this often.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
