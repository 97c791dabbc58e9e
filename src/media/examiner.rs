//! Looks at what an encoder gives, as it leaves it: its form always, and now and then a sample to be decoded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::form::Form;
use super::unit::Unit;
use crate::config::Codec;

/// Of one encoder. Called on its thread, which it never keeps waiting: what is looked at of each unit are its
/// headers, and what is kept of a few is copied, since an encoder's own buffers may be few.
pub(super) struct Examiner {
    state: Mutex<State>,
}

struct State {
    form: Form,
    sampling: Sampling,
}

/// ```text
///          wanted            a key frame             enough
///   Idle ─────────▶ Wanted ─────────────▶ Gathering ────────▶ Complete
///    ▲                                        │ taken all the same │ taken
///    └────────────────────────────────────────┴────────────────────┘
/// ```
enum Sampling {
    Idle,
    Wanted,
    Gathering(Vec<Vec<u8>>),
    Complete(Vec<Vec<u8>>),
}

impl Examiner {
    /// The first sample is wanted from the beginning.
    pub(super) fn new(codec: Codec) -> Examiner {
        Examiner { state: Mutex::new(State { form: Form::new(codec), sampling: Sampling::Wanted }) }
    }

    /// A unit has left the encoder. In words what is wrong with its stream, once.
    pub(super) fn look(&self, unit: &Unit) -> Option<&'static str> {
        let at = unit.buffer.pts().unwrap_or_default().into(); // every unit is stamped
        let bytes = match unit.buffer.map_readable() {
            Ok(bytes) => bytes,
            Err(error) => {
                log::warn!(error:%; "a coded picture cannot be looked at");
                return None;
            }
        };
        let mut state = self.lock();
        let (headers, flaw) = state.form.look(at, &bytes);
        state.sampling.take(headers.idr, &bytes);
        flaw
    }

    /// The next group of pictures is to be sampled.
    pub(super) fn want_sample(&self) {
        self.lock().sampling = Sampling::Wanted;
    }

    /// The beginning of a group of pictures, where that is there; with `short` also one that is not complete.
    pub(super) fn take_sample(&self, short: bool) -> Option<Vec<Vec<u8>>> {
        let sampling = &mut self.lock().sampling;
        match std::mem::replace(sampling, Sampling::Idle) {
            Sampling::Complete(units) => Some(units),
            Sampling::Gathering(units) if short => Some(units),
            other @ (Sampling::Idle | Sampling::Wanted | Sampling::Gathering(_)) => {
                *sampling = other;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sampling {
    fn take(&mut self, idr: bool, unit: &[u8]) {
        let mut units = match std::mem::replace(self, Sampling::Idle) {
            Sampling::Wanted if idr => Vec::new(),
            Sampling::Gathering(units) if !idr => units,
            Sampling::Gathering(units) => {
                *self = Sampling::Complete(units); // the next group is another sample's
                return;
            }
            other @ (Sampling::Idle | Sampling::Wanted | Sampling::Complete(_)) => {
                *self = other;
                return;
            }
        };
        units.push(unit.to_vec());
        let bytes: usize = units.iter().map(Vec::len).sum();
        let is_enough = units.len() >= SAMPLE_UNITS || bytes >= SAMPLE_BYTES;
        *self = if is_enough { Sampling::Complete(units) } else { Sampling::Gathering(units) };
    }
}

/// Pictures of a sample: what is garbled shows in the first, what refers to a wrong picture in the next ones.
/// Half a second's worth is decoded in as long by one core of a Raspberry Pi, of 1080p.
const SAMPLE_UNITS: usize = 16;

/// Bytes of a sample, after which it is complete: twice the largest key frame that is to be expected.
const SAMPLE_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_beginning_of_one_group() {
        let mut sampling = Sampling::Wanted;
        sampling.take(false, &[9]);
        sampling.take(true, &[0]);
        (1..40).for_each(|number| sampling.take(false, &[number]));
        let Sampling::Complete(units) = sampling else { panic!("that is enough") };
        assert_eq!(units, (0..16).map(|number| vec![number]).collect::<Vec<_>>());

        let mut sampling = Sampling::Wanted;
        (0..40).for_each(|number| sampling.take(number % 4 == 0, &[number]));
        let Sampling::Complete(units) = sampling else { panic!("the next group has begun") };
        assert_eq!(units, [[0], [1], [2], [3]]);
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let mut sampling = Sampling::Wanted;
        sampling.take(true, &vec![0; SAMPLE_BYTES]);
        assert!(matches!(sampling, Sampling::Complete(_)));
    }

    #[test]
    fn what_there_is_can_be_had_before_it_is_complete() {
        let examiner = Examiner::new(Codec::H264);
        assert!(examiner.take_sample(true).is_none());
        examiner.lock().sampling.take(true, &[1]);
        assert!(examiner.take_sample(false).is_none());
        assert_eq!(examiner.take_sample(true).unwrap(), [[1]]);
        assert!(examiner.take_sample(true).is_none(), "once");
        examiner.want_sample();
        examiner.lock().sampling.take(true, &[2]);
        assert_eq!(examiner.take_sample(true).unwrap(), [[2]]);
    }
}
