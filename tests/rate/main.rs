//! How well the daemon follows a link: the built daemon, our link model in real time, libsrt behind it.
//!
//! Most of it takes minutes and belongs to `make lab`; what proves that the measuring is right, and a
//! short run, are quick. One run at a time: two would take each other's processor time. The figures
//! are those of [`score`], the floors those that uplinkd promises.

mod agreement;
mod bench;
mod changes;
mod clips;
mod fade;
#[path = "../fake_encoders/mod.rs"]
#[allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
mod fake_encoders;
mod following;
mod frames;
#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "the daemon's own tests use the rest of it")]
mod harness;
mod latency;
mod measuring;
mod outage;
mod quirks;
mod run;
mod scenes;
mod score;
mod sharing;
