//! uplinkd: a live encoder appliance.
//!
//! A picture and its sound go in, MPEG-TS over SRT goes out, and what the receiver sees never stops
//! for longer than it must. One page of map; each module's head says more.
//!
//! ```text
//! capture ─▶ slate switch ─▶ encode ─▶ fan-out ─▶ for each output: GOP queue ─▶ mux ─▶ driver ─▶ network
//!              (frames)               (access units,                 (drops here)
//!                                      audio frames)                      │
//!                               ▲                                         │ Measurement, every 20 ms
//!                               └── target ── rate, in supervisor ◀───────┘
//!                                                ▲      │ Status
//!                                     api, mqtt, systemd, demo
//! ```
//!
//! Data goes one way, measurements come back one way, commands come from one place.
//!
//! # Invariants
//!
//! 1. **One encode, any number of outputs.** An output that blocks or dies fills its own
//!    [queue](transport::gop_queue) and nothing else.
//! 2. **What must give way gives way before the mux**: frames before the encoder, or whole groups
//!    of pictures before an output's mux; sound last. No TS packet is ever dropped between mux and
//!    driver, so continuity counters, PCR and timestamps stay whole.
//! 3. **"Streaming" is measured**: it means that acknowledged bytes are rising ([`session::output`]).
//! 4. **A dead source never touches the encoder**: the slate takes its place ([`session::source`]).
//! 5. **A configuration is taken wholly or refused wholly**, with all its errors ([`config`]); the
//!    running one stays. The file is never written: changes through the API lie over it, and one after which a
//!    stream does not come back is taken back ([`reconfigure`]).
//! 6. **No packet from the network and no panic of a connection ends the daemon**
//!    ([`transport::srt`], [`supervisor`]).
//! 7. **Secrets are in files** and in no log, answer or error.
//! 8. **What waits, waits before the mux**, not in the network: each output's [`rate::Controller`] bounds what is
//!    under way, and the lead output's sets the encoder's target.
//! 9. **Every decision can be made again**: controllers read no clock and no dice, and the
//!    [flight recorder](rate::recording) keeps what they saw.
//!
//! # Pure core, thin shell
//!
//! Modules marked ● decide, and read no clock, file or socket: time comes in as an argument. The
//! others carry out. `tests/tidy.rs` keeps it that way, and keeps dependencies pointing down this
//! list's other way round: a module uses only what stands above it.
//!
//! # Reading order
//!
//! - ● [`units`]: `Bitrate × Duration = ByteCount`.
//! - ● [`config`]: the TOML document as a tree of values that cannot be wrong.
//! - ● [`rate`]: how much picture the link carries: what the encoder is told, when, and by which rule.
//! - ● [`session`]: the life of a stream, an output, a source: drawn state machines.
//! - ● [`link`]: one model of a bad network; `link::relay` is its real-time shell.
//! - [`transport`]: the GOP queue ●, which stands before each mux, and `transport::srt`, our driver over
//!   `srt-protocol`, with what it measures and when it repeats.
//! - ● [`simulation`]: the real rate control and GOP queue over a link that does not exist, between models
//!   of an encoder, of SRT's sender and of its receiver.
//! - [`capture`]: which cameras and sound inputs there are, which one is meant, and ● the mode that it is set to.
//! - [`media`]: all of GStreamer: sources, slate, encoders; and the mux.
//! - [`machine`]: whether the machine lacks voltage or is slowed down ●, as its kernel says.
//! - [`probe`]: whether an encoder works here: measured in a child process, judged ●, remembered; and whether
//!   what one gives on air can be decoded.
//! - [`supervisor`]: the tasks that own all of the above, one a stream and one an output.
//! - [`reconfigure`]: changes of the configuration: kept, made, watched ●, and taken back.
//! - [`api`]: statuses out, commands and changes in, over HTTP, for those who may; and a client of it.
//! - [`mqtt`]: the same to a broker and from it: packets, conversation, what is told when ●, and a task for which nobody
//!   waits.
//! - [`demo`]: the whole job against an emulated link and a receiver that checks what arrives.
//! - [`systemd`], [`telemetry`], [`causes`], [`plain_file`], [`secrets`], [`networks`] ●: readiness and watchdog; the
//!   log; errors in one line; files that may be anything, and those that only root may read; who counts as one visitor.
//! - [`cli`]: arguments, commands, exit codes.
//!
//! # Glossary
//!
//! - **access unit**: one coded picture. **Group (of pictures)**: a key frame and those that need it.
//! - **slate**: the picture on air while the source gives none.
//! - **latency**: SRT's: how long the receiver holds each packet before it releases it.
//! - **send buffer**: what was handed to SRT and is not acknowledged. **TLPKTDROP**: SRT gives up a
//!   packet that can no longer be in time; here such packets are *late*.
//! - **target**: the video bitrate that the encoder is to keep to. **rule**: what made a [`rate::Decision`].
//!   **lead**: the output whose link the target follows.
//! - **queue**: how long a packet waits at the link's bottleneck, beyond the shortest round trip.
//! - **stall**: nothing arrives though something is under way. **thinning**: not encoding some of the pictures.
//!   **ladder**: fewer, then smaller pictures where the target is below what the picture needs.
//! - **peer**: the other end of an SRT connection. **caller**, **listener**: who dials, who is dialled;
//!   in a **rendezvous** both dial. **initiator**, **responder**: who proposes the terms, who agrees.

pub mod api;
pub mod capture;
pub mod causes;
pub mod cli;
pub mod config;
pub mod demo;
pub mod link;
pub mod machine;
pub mod media;
pub mod mqtt;
pub mod networks;
pub mod plain_file;
pub mod probe;
pub mod rate;
pub mod reconfigure;
pub mod secrets;
pub mod session;
pub mod simulation;
pub mod supervisor;
pub mod systemd;
pub mod telemetry;
pub mod transport;
pub mod units;
