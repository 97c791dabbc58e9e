//! Our SRT beside other makes and over bad links: one program, so that what waits for one link leaves the
//! machine to another.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "../calm/mod.rs"]
mod calm;
mod common;
mod governor;
mod link;
mod listener;
mod measure;
mod peers;
mod rendezvous;
