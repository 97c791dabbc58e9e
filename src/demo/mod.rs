//! The demonstration: the whole job on one machine, judged by a receiver that is not ours.

pub mod checker;
