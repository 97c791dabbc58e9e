//! The built daemon as its users run it, against receivers that are not ours: libsrt in
//! `srt-live-transmit`, in GStreamer and in ffmpeg.

#[path = "../calm/mod.rs"]
mod calm;

mod api;
mod encoders;
mod harness;
mod lifecycle;
mod listener;
mod outage;
mod page;
mod peers;
mod rate;
mod source;
mod ts;
