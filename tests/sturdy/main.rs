//! What a box in the field meets: heat and weak power supplies, disks that are full or read-only, networks that come
//! late, clocks that jump, two daemons at once; and what the journal says of all that.

#[path = "../calm/mod.rs"]
mod calm;
#[path = "../daemon/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the stream, which use the rest of it")]
mod harness;
#[path = "../api/http.rs"]
#[allow(dead_code, reason = "shared with the tests of the API, which use the rest of it")]
mod http;
#[path = "../daemon/ts.rs"]
#[allow(dead_code, reason = "shared with the tests of the stream, which use the rest of it")]
mod ts;

mod apart;
mod clock;
mod journal;
mod machine;
mod network;
mod secrets;
mod state;
mod twins;
