//! uplinkd: a live encoder appliance.

pub mod capture;
pub mod config;
pub mod media;
pub mod transport;
pub mod units;
