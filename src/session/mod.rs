//! What a stream *is* at each moment, and what is to be done next: pure machines, no clock of their own.
//!
//! - [`output`]: one connection's life: connecting, streaming, stalled, backing off.
//! - [`source`]: whether the picture comes from the camera or from the slate, and when capture is tried again.
//! - [`failover`]: which of several sources is on air.
//! - [`life`]: the whole stream, from the two above and the encoder: the state that users see.
//! - [`backoff`]: how long to wait before the next try.
//! - [`encoders`]: which encoder is in use and why; when it is replaced, and how much of the picture it manages.
//! - [`sampling`]: when a sample of what the encoder gives is decoded, and what that proves.
//! - [`meter`]: rates measured from counters.
//!
//! Each takes `now` as an argument. The supervisor drives them: it looks at each every 50 ms, and
//! at an output's [`next_deadline`](output::OutputMachine::next_deadline).

pub mod backoff;
pub mod encoders;
pub mod failover;
pub mod life;
pub mod meter;
pub mod output;
pub mod sampling;
pub mod source;
