//! Every route, and the document that describes them.
//!
//! A new route is a handler with `#[utoipa::path]` above it, which says each status that it answers, a line in
//! `routes`, and a line in `Described`; `Everywhere` adds what the router answers by itself, and gives errors their
//! form. Tests keep the three together, and `etc/openapi.json` up to date.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi};

use super::problem::{self, Problem};
use super::{
    Facts, capabilities, configuration, devices, events, info, metrics, page, rate, secured, snapshot,
    streams,
};

/// All of them; guards stand before them.
pub fn router(facts: Facts) -> Router {
    routes()
        .router
        .merge(page::routes())
        .fallback(|| async { Problem::not_found("there is no such resource") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::disable()) // bodies are read, within their limit, before they come here
        .with_state(facts)
}

/// One line each; a test compares them with [`Described`].
fn routes() -> Routes {
    Routes::default()
        .route(Method::GET, "/healthz", healthz)
        .route(Method::GET, "/readyz", readyz)
        .route(Method::GET, "/metrics", metrics::answer)
        .route(Method::GET, "/v1/openapi.json", openapi)
        .route(Method::GET, "/v1/info", info::answer)
        .route(Method::GET, "/v1/events", events::answer)
        .route(Method::GET, "/v1/capabilities", capabilities::answer)
        .route(Method::GET, "/v1/devices", devices::answer)
        .route(Method::GET, "/v1/streams", streams::list)
        .route(Method::GET, "/v1/streams/{id}", streams::read)
        .route(Method::PUT, "/v1/streams/{id}", streams::replace)
        .route(Method::PATCH, "/v1/streams/{id}", streams::merge)
        .route(Method::DELETE, "/v1/streams/{id}", streams::remove)
        .route(Method::POST, "/v1/streams/{id}/plan", streams::plan)
        .route(Method::POST, "/v1/streams/{id}/actions/{action}", streams::act)
        .route(Method::GET, "/v1/streams/{id}/rate", rate::decisions)
        .route(Method::GET, "/v1/streams/{id}/snapshot.jpg", snapshot::answer)
        .route(Method::GET, "/v1/config", configuration::read)
        .route(Method::POST, "/v1/config/check", configuration::check)
        .route(Method::POST, "/v1/config/plan", configuration::plan)
        .route(Method::POST, "/v1/config/apply", configuration::apply)
        .route(Method::POST, "/v1/config/confirm", configuration::confirm)
        .route(Method::POST, "/v1/config/rollback", configuration::roll_back)
        .route(Method::DELETE, "/v1/config/overrides", configuration::forget)
}

/// The OpenAPI document, which `GET /v1/openapi.json` gives and `etc/openapi.json` holds.
pub fn description() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let json = Described::openapi().to_pretty_json();
        json.expect("a document of texts and numbers can be written") + "\n"
    });
    &TEXT
}

/// A router that knows what is in it, which axum's does not tell.
#[derive(Default)]
struct Routes {
    router: Router<Facts>,
    listed: Vec<(Method, &'static str)>,
}

impl Routes {
    fn route<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Facts>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method that axum knows");
        self.listed.push((method, path));
        Routes { router: self.router.route(path, on(filter, handler)), listed: self.listed }
    }
}

/// What each route takes and answers stands beside its handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "uplinkd",
        description = "The control API of uplinkd, a live encoder. Errors are problems as RFC 9457 has them."
    ),
    paths(
        healthz,
        readyz,
        metrics::answer,
        openapi,
        info::answer,
        events::answer,
        capabilities::answer,
        devices::answer,
        streams::list,
        streams::read,
        streams::replace,
        streams::merge,
        streams::remove,
        streams::plan,
        streams::act,
        rate::decisions,
        snapshot::answer,
        secured::described::ask_session,
        secured::described::open_session,
        secured::described::close_session,
        configuration::read,
        configuration::check,
        configuration::plan,
        configuration::apply,
        configuration::confirm,
        configuration::roll_back,
        configuration::forget,
    ),
    components(schemas(problem::Body)),
    modifiers(&Everywhere)
)]
struct Described;

/// What the router and the guard may answer to any request, and what every error looks like.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    let takes_body = operation.request_body.is_some();
    let mut may_answer = |status: &str, description: &str| {
        let answer = utoipa::openapi::Response::new(description);
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(answer));
    };
    may_answer("400", "The request cannot be read.");
    may_answer("401", "Neither a token nor a session came with it, where the API wants one.");
    may_answer("403", "The Host header names another machine, or the Origin another site.");
    may_answer("429", "Too many wrong tokens came from there.");
    may_answer("503", "There is no answer yet, or no room for one more.");
    if takes_body {
        may_answer("408", "The body did not come in time.");
        may_answer("413", "The body is larger than 1 MiB.");
        may_answer("415", "The body is of another content type.");
    }
    for (status, answer) in &mut operation.responses.responses {
        if let RefOr::T(answer) = answer
            && status.starts_with(['4', '5'])
        {
            let schema = Ref::from_schema_name("Problem");
            let content = Content::new(Some(schema));
            answer.content.entry(problem::CONTENT_TYPE.to_owned()).or_insert(content.into());
        }
    }
}

#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "daemon", responses(
    (status = 200, description = "The daemon answers.", body = String, content_type = "text/plain"),
))]
async fn healthz() -> &'static str {
    "ok\n"
}

#[utoipa::path(get, path = "/readyz", operation_id = "readiness", tag = "daemon", responses(
    (status = 200, description = "The daemon is up.", body = String, content_type = "text/plain"),
    (status = 503, description = "It starts, or sends what it has and ends."),
))]
async fn readyz(State(facts): State<Facts>) -> Response {
    if facts.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting or draining").into_response()
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "openapi", tag = "daemon", responses(
    (status = 200, description = "The OpenAPI document of this very version.", body = serde_json::Value),
))]
async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], description()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let routes: BTreeSet<(String, String)> = routes()
            .listed
            .into_iter()
            .map(|(method, path)| (path.to_owned(), method.as_str().to_lowercase()))
            .collect();
        let document: serde_json::Value = serde_json::from_str(description()).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in ["get", "put", "post", "delete", "patch"] {
                if item.get(method).is_some() {
                    described.insert((path.clone(), method.to_owned()));
                }
            }
        }
        for method in ["get", "post", "delete"] {
            assert!(
                described.remove(&("/v1/session".to_owned(), method.to_owned())),
                "it stands before the routes"
            );
        }
        assert_eq!(routes, described);
    }

    #[test]
    fn every_error_is_a_problem_and_every_answer_is_explained() {
        let document: serde_json::Value = serde_json::from_str(description()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} is the name of two operations");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let place = format!("{method} {path}: {status}");
                    assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
                    if status.starts_with(['4', '5']) {
                        let schema = &answer["content"]["application/problem+json"]["schema"]["$ref"];
                        assert_eq!(schema, "#/components/schemas/Problem", "{place}");
                    }
                }
            }
        }
        assert!(document["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
    }
}
