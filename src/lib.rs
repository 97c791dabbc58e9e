//! uplinkd: a live encoder appliance.

pub mod config;
pub mod demo;
pub mod link;
pub mod transport;
pub mod units;
