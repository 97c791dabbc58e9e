//! The API of the running daemon: changes of the configuration, what lasts of them, and the OpenAPI document.

#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the stream, which use the rest of it")]
mod harness;

mod configuration;
mod http;
mod lasting;
mod openapi;
mod streams;
mod trial;
