//! uplinkd: a live encoder appliance.

pub mod api;
pub mod causes;
pub mod cli;
pub mod config;
pub mod demo;
pub mod link;
pub mod media;
pub mod session;
pub mod supervisor;
pub mod systemd;
pub mod telemetry;
pub mod transport;
pub mod units;
