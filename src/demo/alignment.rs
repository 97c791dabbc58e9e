//! How far the sound is from the picture: from flashes and beeps that were decoded, to an offset. Pure.
//!
//! The test source marks each second with both ([`marks`]). The moment of a flash is where its brightness
//! crosses the half between two pictures, that of a beep where the first sample is loud.

use std::collections::VecDeque;

use crate::media::marks;

/// What was found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alignment {
    /// Marks of which both flash and beep were found.
    pub marks: u64,
    /// How much later the sound is than the picture, in milliseconds: the middle one of the newest
    /// marks. Sound up to 500 ms from its picture is told from that of the mark before or behind.
    pub offset_ms: f64,
    pub smallest_ms: f64,
    pub largest_ms: f64,
}

/// Finds marks in what is decoded. Times in seconds, of picture and sound on one clock.
#[derive(Debug, Default)]
pub(super) struct Marks {
    flashes: Flashes,
    beeps: Beeps,
    /// Found, and not paired yet; at most [`UNPAIRED`] of each, the oldest go.
    flashed: VecDeque<f64>,
    beeped: VecDeque<f64>,
    /// The newest, at most [`KEPT`].
    offsets: VecDeque<f64>,
    paired: u64,
}

impl Marks {
    /// The next picture, with the mean luma of the flash's place.
    pub fn picture(&mut self, at: f64, luma: f64) {
        if let Some(flash) = self.flashes.take(at, luma) {
            push(&mut self.flashed, flash, UNPAIRED);
            self.pair();
        }
    }

    /// The next samples of one channel, full scale 1, so many a second.
    pub fn sound(&mut self, at: f64, rate: f64, samples: impl Iterator<Item = f32>) {
        for (index, sample) in samples.enumerate() {
            if let Some(beep) = self.beeps.take(at + index as f64 / rate, sample) {
                push(&mut self.beeped, beep, UNPAIRED);
                self.pair();
            }
        }
    }

    /// `None` before the first mark.
    pub fn alignment(&self) -> Option<Alignment> {
        let mut sorted: Vec<f64> = self.offsets.iter().map(|offset| offset * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let (smallest_ms, largest_ms) = (*sorted.first()?, *sorted.last()?);
        let offset_ms = sorted[sorted.len() / 2];
        Some(Alignment { marks: self.paired, offset_ms, smallest_ms, largest_ms })
    }

    /// Those that are nearest to each other belong together.
    fn pair(&mut self) {
        let half = marks::PERIOD.as_secs_f64() / 2.0;
        while let (Some(flash), Some(beep)) = (self.flashed.front(), self.beeped.front()) {
            let offset = beep - flash;
            if offset > half {
                self.flashed.pop_front();
            } else if offset < -half {
                self.beeped.pop_front();
            } else {
                self.flashed.pop_front();
                self.beeped.pop_front();
                self.paired += 1;
                push(&mut self.offsets, offset, KEPT);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Flashes {
    last: Option<(f64, f64)>,
}

impl Flashes {
    /// The moment of a flash that this picture makes certain.
    fn take(&mut self, at: f64, luma: f64) -> Option<f64> {
        let (before, dark) = self.last.replace((at, luma))?;
        let is_near = (0.0..LONGEST_STEP).contains(&(at - before));
        (is_near && dark < marks::HALF && luma >= marks::HALF)
            .then(|| before + (at - before) * (marks::HALF - dark) / (luma - dark))
    }
}

#[derive(Debug, Default)]
struct Beeps {
    /// When a sample was loud last.
    loud: Option<f64>,
}

impl Beeps {
    /// The moment of a beep that begins with this sample.
    fn take(&mut self, at: f64, sample: f32) -> Option<f64> {
        if sample.abs() < LOUD {
            return None;
        }
        let begins = self.loud.is_none_or(|loud| !(0.0..QUIET_BEFORE).contains(&(at - loud)));
        self.loud = Some(at);
        begins.then_some(at)
    }
}

fn push(queue: &mut VecDeque<f64>, value: f64, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// Of full scale: above the test tone and what coding adds to it, below the beep with some gain taken away.
const LOUD: f32 = 0.25;

/// Seconds: a beep does not begin anew within itself.
const QUIET_BEFORE: f64 = 0.3;

/// Seconds: of pictures that are farther apart than half of the swell, one may be darkness or full light.
const LONGEST_STEP: f64 = 0.13;

/// Seconds' worth: decoders give picture and sound with less than that between them.
const UNPAIRED: usize = 16;

/// Minutes' worth.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Of marks that are decoded at this frame rate and phase, with sound so much later.
    fn found(frames_per_second: f64, phase: f64, later: f64) -> Alignment {
        let mut marks_found = Marks::default();
        let at = |seconds: f64| Duration::from_secs_f64(seconds);
        for frame in 0..(10.0 * frames_per_second) as u32 {
            let time = phase + f64::from(frame) / frames_per_second;
            marks_found.picture(time, f64::from(marks::luma(at(time))));
        }
        for buffer in 0..1000 {
            let begin = f64::from(buffer) * 0.01;
            let samples = (0..480).map(|n| marks::beep(at(begin + f64::from(n) / 48_000.0)));
            marks_found.sound(begin + later, 48_000.0, samples);
        }
        marks_found.alignment().unwrap()
    }

    #[test]
    fn the_offset_is_found_between_pictures() {
        for frames_per_second in [15.0, 25.0, 29.97, 30.0, 60.0] {
            for phase in [0.0, 0.003, 0.011, 0.02, 0.032] {
                for later in [-0.4, -0.05, 0.0, 0.05, 0.4] {
                    let found = found(frames_per_second, phase, later);
                    assert!(found.marks >= 8, "{found:?}");
                    let error = (found.offset_ms - later * 1e3).abs();
                    assert!(error < 1.0, "{found:?} at {frames_per_second} {phase} {later}");
                    assert!(found.largest_ms - found.smallest_ms < 1.0, "{found:?}");
                }
            }
        }
    }

    #[test]
    fn a_mark_that_is_half_lost_counts_for_nothing() {
        let mut marks = Marks::default();
        let beep = |marks: &mut Marks, at: f64| marks.sound(at, 48_000.0, std::iter::once(0.5));
        let flash = |marks: &mut Marks, at: f64| {
            marks.picture(at - 0.01, 16.0);
            marks.picture(at + 0.01, 235.0);
        };
        beep(&mut marks, 1.0);
        flash(&mut marks, 2.0);
        beep(&mut marks, 3.0);
        assert_eq!(marks.alignment(), None);
        flash(&mut marks, 3.0);
        let found = marks.alignment().unwrap();
        assert!(found.marks == 1 && found.offset_ms.abs() < 0.1, "{found:?}");
    }
}
