//! uplinkd: a live encoder appliance.

pub mod config;
pub mod session;
pub mod transport;
pub mod units;
