//! What carries a stream away: one module an output protocol, and what they have in common.

pub mod gop_queue;
pub mod srt;

use std::time::Instant;

use bytes::Bytes;

/// Whole MPEG-TS packets, at most seven of them (1316 bytes, SRT's usual payload), on their way from
/// an output's mux to its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When the picture or sound in it was captured. The receiver's buffer restores this pace, so
    /// time spent waiting on our side costs latency budget, not jitter.
    pub captured: Instant,
    pub data: Bytes,
}
