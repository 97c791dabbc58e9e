//! What of a source's pictures came damaged: counted, and on air nowhere.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::jpeg;

/// Counts of one stream, over all its captures. They only rise.
#[derive(Debug, Default)]
pub(super) struct Damage {
    truncated: AtomicU64,
    corrupt: AtomicU64,
    undecoded: AtomicU64,
}

/// Pictures that the source gave and that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamagedFrames {
    /// They ended too early.
    pub truncated: u64,
    /// They were not what they said they were.
    pub corrupt: u64,
    /// They looked whole, and the decoder gave no picture for them.
    pub undecoded: u64,
}

impl Damage {
    pub(super) fn note(&self, damage: jpeg::Damage) {
        let counter = match damage {
            jpeg::Damage::Truncated => &self.truncated,
            jpeg::Damage::Corrupt(_) => &self.corrupt,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_undecoded(&self, frames: u64) {
        self.undecoded.fetch_add(frames, Ordering::Relaxed);
    }

    pub(super) fn frames(&self) -> DamagedFrames {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DamagedFrames {
            truncated: of(&self.truncated),
            corrupt: of(&self.corrupt),
            undecoded: of(&self.undecoded),
        }
    }
}
