//! Which encoder is in use: pictures go to it, its units go out, and it is changed between two pictures.
//!
//! ```text
//! switch ─▶ offer ─▶ Encoding 1 ─▶ deliver ─▶ sink
//!              ╲                    ▲
//!               ╌╌▶ Encoding 2 ╌╌╌╌╌╯  from `install` on, and then no unit of 1 any more
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::encoding::Encoding;
use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::inbox::Inbox;
use super::unit::Unit;
use crate::units::ByteCount;

/// Between the switch and the encoders of one stream.
///
/// Two locks: pictures are handed over under the first and units under the second, so that neither waits
/// for the other. Who takes both takes them in this order.
pub(super) struct Handover {
    in_use: Mutex<Option<Arc<Encoding>>>,
    exit: Mutex<Exit>,
    sink: Box<dyn Fn(Unit) + Send + Sync>,
    events: EventSender,
    generations: AtomicU64,
    totals: Totals,
}

/// Over all encoders of the stream.
#[derive(Default)]
struct Totals {
    dropped: AtomicU64,
    lost: AtomicU64,
    coded: AtomicU64,
    coded_bytes: AtomicU64,
}

struct Exit {
    /// The encoder whose units go out; 0 for none.
    generation: u64,
    /// Decoding time of the last unit that went out.
    last: Option<gst::ClockTime>,
}

impl Handover {
    /// `sink` is called with each unit, on the encoder's thread; it must not block.
    pub(super) fn new(events: EventSender, sink: impl Fn(Unit) + Send + Sync + 'static) -> Handover {
        Handover {
            in_use: Mutex::new(None),
            exit: Mutex::new(Exit { generation: 0, last: None }),
            sink: Box::new(sink),
            events,
            generations: AtomicU64::new(0),
            totals: Totals::default(),
        }
    }

    /// The number of the next encoder: above all before it.
    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives the encoder in use a picture. Never waits for it.
    pub(super) fn offer(&self, picture: gst::Buffer) {
        let is_taken = self.in_use_lock().as_ref().is_some_and(|encoding| encoding.inbox.offer(picture));
        if !is_taken {
            self.totals.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts `next` in use, and gives it the pictures that the one before was given and gave no unit for.
    /// When this returns, nothing of the one before goes out any more; it is handed back to be ended.
    ///
    /// # Errors
    /// When `next` has failed by now; the one before stays in use.
    pub(super) fn install(&self, next: Arc<Encoding>) -> Result<Option<Arc<Encoding>>, Error> {
        let mut in_use = self.in_use_lock();
        let mut exit = self.exit_lock();
        if let Some(error) = next.failure() {
            return Err(error);
        }
        next.put_in_use();
        exit.generation = next.generation;
        let before = in_use.replace(next.clone());
        if let Some(before) = &before {
            let left = before.inbox.close();
            self.totals.lost.fetch_add(left.lost, Ordering::Relaxed);
            let dropped =
                left.pictures.into_iter().filter(|picture| !next.inbox.offer(picture.clone())).count();
            self.totals.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
        Ok(before)
    }

    /// Sends a unit out, unless it is of an encoder that is no longer in use.
    pub(super) fn deliver(&self, generation: u64, inbox: &Inbox, mut unit: Unit) {
        let mut exit = self.exit_lock();
        if exit.generation != generation {
            return;
        }
        let at = unit.buffer.pts().unwrap_or_default(); // every unit is stamped
        inbox.coded(at, unit.size.get());
        self.totals.coded.fetch_add(1, Ordering::Relaxed);
        self.totals.coded_bytes.fetch_add(unit.size.get(), Ordering::Relaxed);
        keep_rising(&mut exit.last, &mut unit.buffer);
        (self.sink)(unit);
    }

    /// An encoder gives nothing more. Of one that is no longer in use, or not yet, that is no news.
    pub(super) fn failed(&self, generation: u64, encoder: &'static str, element: String, reason: String) {
        if self.exit_lock().generation == generation {
            self.events.send(MediaEvent::EncoderFailed { encoder, element, reason });
        }
    }

    /// Whether it is its units that go out.
    pub(super) fn serves(&self, generation: u64) -> bool {
        self.exit_lock().generation == generation
    }

    /// As [`Handover::failed`], of one that imported pictures: they may be all that is wrong.
    pub(super) fn memory_refused(&self, generation: u64, encoder: &'static str, reason: String) {
        if self.exit_lock().generation == generation {
            self.events.send(MediaEvent::MemoryRefused { encoder, reason });
        }
    }

    /// What comes out of an encoder is no stream; with the same exception.
    pub(super) fn broken(&self, generation: u64, encoder: &'static str, reason: &'static str) {
        if self.exit_lock().generation == generation {
            self.events.send(MediaEvent::EncoderBroken { encoder, reason });
        }
    }

    /// The encoder in use; `None` before the first and after the end.
    pub(super) fn in_use(&self) -> Option<Arc<Encoding>> {
        self.in_use_lock().clone()
    }

    /// Ends the encoder in use; what it still has may go out until then. Waits for that, though not
    /// for ever.
    pub(super) fn close(&self) {
        let last = self.in_use_lock().take();
        if let Some(last) = last {
            last.inbox.close();
            last.end_and_wait();
        }
        self.exit_lock().generation = 0;
    }

    /// Pictures that were lost because an encoder did not take them in time.
    pub(super) fn dropped(&self) -> u64 {
        self.totals.dropped.load(Ordering::Relaxed)
    }

    /// Pictures that were stuck in encoders that were replaced.
    pub(super) fn lost(&self) -> u64 {
        self.totals.lost.load(Ordering::Relaxed)
    }

    pub(super) fn coded(&self) -> u64 {
        self.totals.coded.load(Ordering::Relaxed)
    }

    pub(super) fn coded_bytes(&self) -> ByteCount {
        ByteCount::new(self.totals.coded_bytes.load(Ordering::Relaxed))
    }

    fn in_use_lock(&self) -> MutexGuard<'_, Option<Arc<Encoding>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exit_lock(&self) -> MutexGuard<'_, Exit> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encoders differ in how far ahead of the picture's time they want it decoded: behind a change of the
/// encoder, decoding times would step back.
fn keep_rising(last: &mut Option<gst::ClockTime>, unit: &mut gst::Buffer) {
    let (Some(shown), Some(decoded)) = (unit.pts(), unit.dts()) else { return };
    let earliest = last.map_or(decoded, |last| last + DECODING_STEP);
    let risen = decoded.max(earliest.min(shown));
    if risen != decoded {
        unit.make_mut().set_dts(risen);
    }
    *last = Some(risen);
}

/// One tick of the transport stream's 90 kHz, rounded up.
const DECODING_STEP: gst::ClockTime = gst::ClockTime::from_nseconds(11_112);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_times_rise_over_a_change_of_encoder_and_never_pass_the_pictures_own() {
        gst::init().unwrap();
        let mut last = None;
        let decoded = [(100, 100), (133, 133), (166, 100), (200, 134), (233, 233)].map(|(shown, decoded)| {
            let mut unit = gst::Buffer::new();
            unit.make_mut().set_pts(gst::ClockTime::from_mseconds(shown));
            unit.make_mut().set_dts(gst::ClockTime::from_mseconds(decoded));
            keep_rising(&mut last, &mut unit);
            assert!(unit.dts() <= unit.pts());
            unit.dts().unwrap().useconds()
        });
        assert_eq!(decoded, [100_000, 133_000, 133_011, 134_000, 233_000]);
    }
}
