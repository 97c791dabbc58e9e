//! The built daemon and mosquitto: what the broker is told, what it asks for, and what is left of both when one of
//! them is away. Every broker has a port and a configuration of its own.

#[path = "../calm/mod.rs"]
mod calm;
#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the stream, which use the rest of it")]
mod harness;

mod access;
mod broker;
mod commands;
mod outage;
mod telemetry;
