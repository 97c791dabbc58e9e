//! The built daemon as its users run it, against receivers that are not ours: libsrt in
//! `srt-live-transmit`, in GStreamer and in ffmpeg.

#[path = "../calm/mod.rs"]
mod calm;

mod api;
mod ctl;
mod encoders;
mod events;
#[allow(dead_code, reason = "shared with the tests of the API, which use the rest of it")]
mod harness;
mod hostile;
mod lifecycle;
mod listener;
mod metrics;
mod outage;
mod page;
mod peers;
mod rate;
mod security;
mod snapshot;
mod source;
mod ts;
