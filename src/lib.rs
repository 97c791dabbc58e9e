//! uplinkd: a live encoder appliance.

pub mod config;
pub mod transport;
pub mod units;
