//! Our SRT under fire.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "../calm/mod.rs"]
mod calm;
#[path = "../srt/common.rs"]
mod common;
mod listener;
mod sender;

/// Each fires as fast as it can.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
