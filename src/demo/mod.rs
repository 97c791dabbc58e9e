//! The demonstration: the whole job on one machine, judged by a receiver that is not ours.
//!
//! [`run`] puts it together; [`receiver`] takes the stream with libsrt and has [`checker`] look at every packet of it;
//! [`decode`] has it decoded, and [`alignment`] finds in that how far the sound is from the picture.
//! [`status`] is the line a second, [`summary`] the table and the verdict in the end, [`json`](mod@json) the same for programs. Between the
//! sender and the receiver stands [`crate::link::relay`].

pub mod alignment;
pub mod checker;
pub mod decode;
pub mod json;
pub mod receiver;
pub mod run;
pub mod status;
pub mod summary;
