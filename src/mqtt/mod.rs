//! Telemetry and commands over MQTT.

mod dialling;
mod packet;
mod publisher;
mod session;
mod topics;
