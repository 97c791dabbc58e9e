//! Resampling by a ratio next to 1 that may change with every buffer. Pure.
//!
//! A windowed sinc of [`TAPS`] taps, tabulated at [`PHASES`] places between two samples and interpolated
//! between those. GStreamer's `audioresample` cannot be used: its ratio is that of two whole rates, and
//! changing it starts it anew. The crate `rubato` changes its ratio on the way too, but takes chunks of a set length
//! and tells its delay in whole frames, where [`device_clock`](super::device_clock) has to know the place between two.

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::strip::Frame;

/// A resampler. The first frame that comes out is the first that went in, and then each the ratio's
/// share of a frame later; half a window of frames is kept back until what follows them is known.
#[derive(Debug)]
pub(super) struct Resampler {
    /// What the next frame out still needs, beginning [`BEFORE`] frames before it.
    input: Vec<Frame>,
    /// Where in `input` the next frame out is.
    next: f64,
    emitted: u64,
}

impl Resampler {
    pub(super) fn new() -> Resampler {
        Resampler { input: vec![[0.0; 2]; BEFORE], next: BEFORE as f64, emitted: 0 }
    }

    /// Takes frames; `ratio` frames come out for one that goes in.
    pub(super) fn push(&mut self, frames: impl Iterator<Item = Frame>, ratio: f64, out: &mut Vec<Frame>) {
        self.input.extend(frames);
        let step = 1.0 / ratio;
        while self.next as usize + AFTER < self.input.len() {
            let first = self.next as usize - BEFORE;
            out.push(convolved(&self.input[first..first + TAPS], self.next.fract()));
            self.next += step;
            self.emitted += 1;
        }
        let done = self.next as usize - BEFORE;
        self.input.drain(..done);
        self.next -= done as f64;
    }

    /// Frames that came out.
    pub(super) fn emitted(&self) -> u64 {
        self.emitted
    }

    /// How many frames will have come out before the next that goes in.
    pub(super) fn position(&self, ratio: f64) -> f64 {
        self.emitted as f64 + (self.input.len() as f64 - self.next) * ratio
    }
}

/// The frame that lies `phase` (0 to 1) behind the window's middle.
fn convolved(window: &[Frame], phase: f64) -> Frame {
    let place = phase * PHASES as f64;
    let (row, share) = (place as usize, place.fract() as f32);
    let (here, there) = (&KERNEL[row], &KERNEL[row + 1]);
    let mut sum = [0.0f32; 2];
    for ((frame, here), there) in window.iter().zip(here).zip(there) {
        let weight = here + (there - here) * share;
        sum[0] += frame[0] * weight;
        sum[1] += frame[1] * weight;
    }
    sum
}

/// Row by row the weights of the window's frames, each row a [`PHASES`]th of a frame further.
static KERNEL: LazyLock<Vec<[f32; TAPS]>> = LazyLock::new(|| {
    let row = |phase: usize| {
        let weight = |tap: usize| {
            let at = tap as f64 - BEFORE as f64 - phase as f64 / PHASES as f64;
            let angle = PI * CUTOFF * at;
            let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
            CUTOFF * sinc * kaiser(at / (TAPS as f64 / 2.0))
        };
        let weights: [f64; TAPS] = std::array::from_fn(weight);
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| (weight / sum) as f32) // so that silence at any level stays what it is
    };
    (0..=PHASES).map(row).collect()
});

/// Kaiser's window at −1 to 1.
fn kaiser(at: f64) -> f64 {
    let inside = (1.0 - at * at).max(0.0).sqrt();
    bessel(BETA * inside) / bessel(BETA)
}

/// The modified Bessel function of the first kind, order 0, by its series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..40 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

/// Frames of the window: two thirds of a millisecond.
const TAPS: usize = 32;
/// Of these, before the frame that comes out, and behind it.
const BEFORE: usize = TAPS / 2 - 1;
const AFTER: usize = TAPS / 2;

/// Enough that what interpolation between them adds lies below 16 bits.
const PHASES: usize = 256;

/// Of half the sampling rate: 22 kHz, above what is heard; the rest is the filter's slope.
const CUTOFF: f64 = 0.92;

/// Kaiser's β for 80 dB.
const BETA: f64 = 8.0;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// The largest error, in decibels below full scale, of a sine that is resampled with a ratio that changes.
    fn worst(frequency: f64, ratio: impl Fn(usize) -> f64) -> f64 {
        let wave = |at: f64| (TAU * frequency * at / 48_000.0).sin();
        let mut resampler = Resampler::new();
        let (mut fed, mut at, mut worst) = (0usize, 0.0, 0.0f64);
        for buffer in 0..200 {
            let ratio = ratio(buffer);
            let frames = (fed..fed + 480).map(|n| [wave(n as f64) as f32, 0.5]);
            fed += 480;
            let mut out = Vec::new();
            resampler.push(frames, ratio, &mut out);
            for frame in out {
                if at > TAPS as f64 {
                    worst = worst.max((f64::from(frame[0]) - wave(at)).abs());
                    worst = worst.max((f64::from(frame[1]) - 0.5).abs());
                }
                at += 1.0 / ratio;
            }
        }
        20.0 * worst.log10()
    }

    #[test]
    fn a_sine_stays_a_sine() {
        for frequency in [100.0, 1_000.0, 10_000.0, 16_000.0] {
            let found = worst(frequency, |_| 1.000_2);
            assert!(found < -70.0, "{found} dB at {frequency} Hz");
            let found = worst(frequency, |buffer| 1.0 + 0.001 * (buffer as f64 / 20.0).sin());
            assert!(found < -70.0, "{found} dB at {frequency} Hz while the ratio changes");
        }
    }

    #[test]
    fn as_many_frames_come_out_as_the_ratio_says() {
        for ratio in [0.999, 1.0, 1.000_2, 1.001] {
            let (mut resampler, mut out) = (Resampler::new(), Vec::new());
            for _ in 0..1000 {
                let before = resampler.position(ratio);
                resampler.push(std::iter::repeat_n([0.0; 2], 480), ratio, &mut out);
                assert!((resampler.position(ratio) - before - 480.0 * ratio).abs() < 1e-6);
            }
            assert_eq!(out.len() as u64, resampler.emitted());
            assert!((out.len() as f64 - 480_000.0 * ratio).abs() < TAPS as f64, "{} at {ratio}", out.len());
            assert!(resampler.input.len() <= TAPS, "nothing gathers");
        }
    }

    #[test]
    fn a_ratio_of_one_changes_next_to_nothing() {
        let (mut resampler, mut out) = (Resampler::new(), Vec::new());
        let frames: Vec<Frame> = (0..480).map(|n| [(n as f32 / 10.0).sin(); 2]).collect();
        resampler.push(frames.iter().copied(), 1.0, &mut out);
        assert_eq!(out.len(), 480 - AFTER);
        for (out, frame) in out.iter().zip(&frames).skip(TAPS) {
            assert!((out[0] - frame[0]).abs() < 1e-3);
        }
    }
}
