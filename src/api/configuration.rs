//! `/v1/config`: what counts and who says so; changes that are checked, planned, made, confirmed or taken back.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Facts;
use super::body;
use super::problem::{FieldError, Problem};
use super::wire::rfc3339;
use crate::config::json::value_to_json;
use crate::config::plan::Consequence;
use crate::config::{HIDDEN, Setting, diff, is_confidential, without_secrets};
use crate::reconfigure::{Change, Current, Done, Handle, Mode, OnTrial, TakenBack, tag};

/// `GET /v1/config`.
#[derive(Serialize, ToSchema)]
pub struct Configuration {
    /// The administrator's file, which the daemon never writes.
    file: String,
    /// Where changes through the API are kept.
    overrides_file: String,
    /// Why overrides that were there are not used, or something else that is wrong with the file that keeps them.
    overrides_trouble: Option<String>,
    /// What the overrides take out of the file.
    removed: Vec<String>,
    /// Every setting that counts.
    settings: Vec<Effective>,
    on_trial: Option<Trial>,
    rolled_back: Option<RolledBack>,
}

/// A setting as it counts.
#[derive(Serialize, ToSchema)]
struct Effective {
    /// Dotted, with outputs by their names: `streams.main.outputs[studio].latency_ms`.
    key: String,
    /// `***` where others take it as a credential.
    value: serde_json::Value,
    /// `etc`, `override` or `default`.
    origin: &'static str,
}

/// A change that was made, and may still be rolled back.
#[derive(Serialize, ToSchema)]
struct Trial {
    /// Seconds until it is rolled back unless it is confirmed; `null` where nobody has to.
    confirm_within_s: Option<u64>,
    /// Streams that streamed before the change, and have to stream again.
    unproven: Vec<String>,
    /// Seconds until they have to.
    prove_within_s: u64,
}

/// The last change that was rolled back.
#[derive(Serialize, ToSchema)]
struct RolledBack {
    /// RFC 3339.
    time: Option<String>,
    reason: String,
}

/// What a change does, or would do.
#[derive(Serialize, ToSchema)]
pub struct Outcome {
    /// Every setting that differs.
    changes: Vec<Difference>,
    consequences: Vec<Effect>,
    /// What streams will wait for on this machine.
    warnings: Vec<FieldError>,
    on_trial: Option<Trial>,
}

/// A setting that differs.
#[derive(Serialize, ToSchema)]
struct Difference {
    key: String,
    /// `null` where it had no value.
    before: serde_json::Value,
    /// `null` where it has none any more.
    after: serde_json::Value,
}

/// One thing that happens.
#[derive(Serialize, ToSchema)]
struct Effect {
    /// `null`: it happens to the daemon as a whole.
    stream: Option<String>,
    /// `null`: to all of the stream.
    output: Option<String>,
    /// `live`: on air. `reconnects`: SRT connections are made anew. `restarts`: picture, sound and encoder are made
    /// anew. `starts`, `stops`. `next_start`: it waits for the daemon's next start.
    effect: &'static str,
    /// In words.
    what: String,
}

/// What is asked of `apply`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    confirm_within_s: Option<u64>,
}

#[utoipa::path(get, path = "/v1/config", operation_id = "read_config", tag = "configuration", responses(
    (status = 200, description = "Every setting with its value and who says so. Secrets are in none of them.",
        body = Configuration,
        headers(("ETag" = String, description = "Of the whole configuration, for `If-Match`."))),
    (status = 503, description = "This daemon has no configuration file, as a demo has none."),
))]
pub async fn read(State(facts): State<Facts>) -> Result<Response, Problem> {
    Ok(answer(&facts.configuration()?.current()))
}

/// Nothing is changed.
#[utoipa::path(post, path = "/v1/config/check", operation_id = "check_config", tag = "configuration",
    request_body(content = String, content_type = "application/toml", description = "All overrides, as TOML."),
    responses(
        (status = 200, description = "The overrides go with the file and with this machine.", body = Checked),
        (status = 422, description = "They do not: each error with its document, line and column."),
        (status = 503, description = "The daemon is busy, or has no configuration file."),
    )
)]
pub async fn check(
    State(facts): State<Facts>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Checked>, Problem> {
    let overrides = Change::Overrides(body::toml(&headers, body)?);
    let done = facts.configuration()?.change(overrides, body::guard(&headers), Mode::Plan).await?;
    Ok(Json(Checked { warnings: done.warnings.iter().map(FieldError::from).collect() }))
}

/// Overrides that are good.
#[derive(Serialize, ToSchema)]
pub struct Checked {
    /// What streams will wait for on this machine.
    warnings: Vec<FieldError>,
}

/// Nothing is changed.
#[utoipa::path(post, path = "/v1/config/plan", operation_id = "plan_config", tag = "configuration",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of `/v1/config`.")),
    request_body(content = String, content_type = "application/toml", description = "All overrides, as TOML."),
    responses(
        (status = 200, description = "What they would change, and what that would restart.", body = Outcome),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "They are wrong: each error with its document, line and column."),
        (status = 503, description = "The daemon is busy, or has no configuration file."),
    )
)]
pub async fn plan(
    State(facts): State<Facts>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Outcome>, Problem> {
    let overrides = Change::Overrides(body::toml(&headers, body)?);
    let done = facts.configuration()?.change(overrides, body::guard(&headers), Mode::Plan).await?;
    Ok(Json(Outcome::from(&done)))
}

/// The overrides take the place of those that there are. A stream that streamed before and does not within 20 s
/// takes the change back.
#[utoipa::path(post, path = "/v1/config/apply", operation_id = "apply_config", tag = "configuration",
    params(
        ("confirm_within_s" = Option<u64>, Query, minimum = 1, maximum = 3600,
            description = "The change is rolled back after so many seconds, or at the daemon's next start, unless \
                it is confirmed."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of `/v1/config`."),
    ),
    request_body(content = String, content_type = "application/toml", description = "All overrides, as TOML."),
    responses(
        (status = 200, description = "They count; and what that changes and restarts.", body = Outcome),
        (status = 409, description = "Another change waits to be confirmed."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "They are wrong: each error with its document, line and column. Nothing has \
            changed."),
        (status = 503, description = "They cannot be kept, or the daemon is busy; nothing has changed."),
        (status = 507, description = "The disk is full; nothing has changed."),
    )
)]
pub async fn apply(
    State(facts): State<Facts>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Outcome>, Problem> {
    let confirm_within = asked.ok().map(|Query(asked)| asked.confirm_within_s);
    let Some(confirm_within) =
        confirm_within.filter(|asked| asked.is_none_or(|it| LONGEST_TRIAL_S.contains(&it)))
    else {
        let fix = "write ?confirm_within_s=30, for instance: 1 to 3600 seconds, or nothing";
        return Err(Problem::of_field("confirm_within_s", "is not a number of seconds", fix));
    };
    let overrides = Change::Overrides(body::toml(&headers, body)?);
    let mode = Mode::Apply { confirm_within: confirm_within.map(Duration::from_secs) };
    let done = facts.configuration()?.change(overrides, body::guard(&headers), mode).await?;
    Ok(Json(Outcome::from(&done)))
}

/// The change on trial stays, whatever its streams do.
#[utoipa::path(post, path = "/v1/config/confirm", operation_id = "confirm_config", tag = "configuration", responses(
    (status = 200, description = "The change stays.", body = Configuration, headers(("ETag" = String))),
    (status = 409, description = "There is no change on trial."),
    (status = 503, description = "It cannot be kept, or the daemon is busy."),
    (status = 507, description = "The disk is full."),
))]
pub async fn confirm(State(facts): State<Facts>) -> Result<Response, Problem> {
    Ok(answer(&*facts.configuration()?.confirm().await?))
}

/// The change on trial is taken back.
#[utoipa::path(post, path = "/v1/config/rollback", operation_id = "roll_back_config", tag = "configuration", responses(
    (status = 200, description = "What was before counts again.", body = Configuration, headers(("ETag" = String))),
    (status = 409, description = "There is no change on trial."),
    (status = 503, description = "The daemon is busy, or has no configuration file."),
))]
pub async fn roll_back(State(facts): State<Facts>) -> Result<Response, Problem> {
    Ok(answer(&*facts.configuration()?.take_back().await?))
}

/// The configuration is what the file says.
#[utoipa::path(delete, path = "/v1/config/overrides", operation_id = "remove_overrides", tag = "configuration",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of `/v1/config`.")),
    responses(
        (status = 200, description = "What that changes and restarts.", body = Outcome),
        (status = 409, description = "Another change waits to be confirmed."),
        (status = 412, description = "The configuration is not the one that was meant."),
        (status = 422, description = "The file alone asks for what this machine has not; nothing has changed."),
        (status = 503, description = "They cannot be removed, or the daemon is busy; nothing has changed."),
        (status = 507, description = "The disk is full; nothing has changed."),
    )
)]
pub async fn forget(State(facts): State<Facts>, headers: HeaderMap) -> Result<Json<Outcome>, Problem> {
    let nothing = Change::Overrides(String::new());
    let mode = Mode::Apply { confirm_within: None };
    let done = facts.configuration()?.change(nothing, body::guard(&headers), mode).await?;
    Ok(Json(Outcome::from(&done)))
}

impl Facts {
    /// The configuration, where this daemon has one to change.
    pub fn configuration(&self) -> Result<&Handle, Problem> {
        let none = "this daemon has no configuration file: its command line says what it does";
        self.configuration.as_ref().ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, none))
    }
}

fn answer(current: &Current) -> Response {
    let tag = format!("\"{}\"", tag(current.layers.config.fingerprint()));
    ([(header::ETAG, tag)], Json(Configuration::from(current))).into_response()
}

impl From<&Current> for Configuration {
    fn from(current: &Current) -> Configuration {
        Configuration {
            file: current.file.display().to_string(),
            overrides_file: current.overrides_file.display().to_string(),
            overrides_trouble: current.trouble.clone(),
            removed: current.layers.removed().iter().map(ToString::to_string).collect(),
            settings: current.layers.settings().iter().map(Effective::from).collect(),
            on_trial: current.on_trial.as_ref().map(Trial::from),
            rolled_back: current.taken_back.as_ref().map(RolledBack::from),
        }
    }
}

impl From<&Setting> for Effective {
    fn from(Setting { key, value, origin }: &Setting) -> Effective {
        Effective { key: key.to_string(), value: value_to_json(value), origin: origin.as_str() }
    }
}

impl From<&OnTrial> for Trial {
    fn from(OnTrial { confirm_by, unproven, prove_by }: &OnTrial) -> Trial {
        let until = |by: Instant| by.saturating_duration_since(Instant::now()).as_secs_f64().ceil() as u64;
        Trial {
            confirm_within_s: confirm_by.map(until),
            unproven: unproven.iter().map(ToString::to_string).collect(),
            prove_within_s: until(*prove_by),
        }
    }
}

impl From<&TakenBack> for RolledBack {
    fn from(TakenBack { at, reason }: &TakenBack) -> RolledBack {
        RolledBack { time: rfc3339(*at), reason: reason.clone() }
    }
}

impl From<&Done> for Outcome {
    fn from(done: &Done) -> Outcome {
        Outcome {
            changes: done.plan.changes.iter().map(Difference::from).collect(),
            consequences: done.plan.consequences.iter().map(Effect::from).collect(),
            warnings: done.warnings.iter().map(FieldError::from).collect(),
            on_trial: done.current.on_trial.as_ref().map(Trial::from),
        }
    }
}

impl From<&diff::Change> for Difference {
    fn from(change: &diff::Change) -> Difference {
        let shown = |value: &Option<toml::Value>| match value {
            None => serde_json::Value::Null,
            Some(_) if is_confidential(&change.path) => HIDDEN.into(),
            Some(value) => value_to_json(&without_secrets(value.clone())),
        };
        Difference { key: change.path.clone(), before: shown(&change.before), after: shown(&change.after) }
    }
}

impl From<&Consequence> for Effect {
    fn from(Consequence { stream, output, reach, what }: &Consequence) -> Effect {
        Effect {
            stream: stream.as_ref().map(ToString::to_string),
            output: output.as_ref().map(ToString::to_string),
            effect: reach.as_str(),
            what: what.clone(),
        }
    }
}

/// An hour is time to drive home and back.
const LONGEST_TRIAL_S: std::ops::RangeInclusive<u64> = 1..=3600;
