//! The sound's channel strip: which channels are heard, how loud, and how loud they are. Pure.
//!
//! ```text
//! samples ─▶ channels and gain ─▶ meter ─▶ mute ─▶ samples
//! ```
//! A change of any of them is a ramp of [`RAMP`] frames, so that nothing clicks. The meter stands before
//! the mute: whoever mutes wants to see whether there is something to be heard.

use std::collections::VecDeque;

use crate::config::Channels;

/// One sample of each channel, left first; full scale is 1.
pub(super) type Frame = [f32; 2];

/// What the strip is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) channels: Channels,
    /// Decibels.
    pub(super) gain: f64,
    pub(super) mute: bool,
}

/// How loud the sound is, left and right, in decibels relative to full scale, behind gain and channel
/// choice. A sine at full scale has a peak of 0 and an RMS of −3; above 0 it is cut off. −100 is silence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The highest sample of the last second.
    pub peak_db: [f64; 2],
    /// Over the last 300 ms, as on a VU meter.
    pub rms_db: [f64; 2],
}

/// A channel strip.
#[derive(Debug)]
pub(super) struct Strip {
    now: Mix,
    meter: Meter,
}

/// What each channel that goes out has of those that come in, and of that what is not muted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mix {
    left: Frame,
    right: Frame,
    open: f32,
}

impl Strip {
    /// A strip that does this from its first sample on.
    pub(super) fn new(settings: Settings) -> Strip {
        Strip { now: Mix::of(settings), meter: Meter::default() }
    }

    /// Works on the next frames, in their place. Gives the levels ten times a second.
    pub(super) fn process(&mut self, frames: &mut [Frame], settings: Settings) -> Option<Levels> {
        let (from, to) = (self.now, Mix::of(settings));
        let ramp = RAMP.min(frames.len());
        let mut levels = None;
        for (index, frame) in frames.iter_mut().enumerate() {
            let mix = if index >= ramp { to } else { from.towards(to, (index + 1) as f32 / ramp as f32) };
            let mixed = mix.of_frame(*frame);
            levels = self.meter.take(mixed).or(levels);
            *frame = mixed.map(|sample| sample * mix.open);
        }
        if !frames.is_empty() {
            self.now = to;
        }
        levels
    }
}

impl Mix {
    fn of(settings: Settings) -> Mix {
        let gain = 10f64.powf(settings.gain / 20.0) as f32;
        let (left, right) = match settings.channels {
            Channels::Stereo => ([1.0, 0.0], [0.0, 1.0]),
            Channels::Mono => ([0.5, 0.5], [0.5, 0.5]),
            Channels::Left => ([1.0, 0.0], [1.0, 0.0]),
            Channels::Right => ([0.0, 1.0], [0.0, 1.0]),
        };
        let loud = |of: Frame| of.map(|share| share * gain);
        Mix { left: loud(left), right: loud(right), open: if settings.mute { 0.0 } else { 1.0 } }
    }

    /// `share` of the way to another, 0 to 1.
    fn towards(self, to: Mix, share: f32) -> Mix {
        let between = |from: f32, to: f32| from + (to - from) * share;
        let both = |from: Frame, to: Frame| [between(from[0], to[0]), between(from[1], to[1])];
        Mix {
            left: both(self.left, to.left),
            right: both(self.right, to.right),
            open: between(self.open, to.open),
        }
    }

    fn of_frame(self, frame: Frame) -> Frame {
        [self.left, self.right].map(|of| of[0] * frame[0] + of[1] * frame[1])
    }
}

/// Measures in slots of [`SLOT`] frames.
#[derive(Debug, Default)]
struct Meter {
    /// At most [`PEAK_SLOTS`], oldest first: the oldest goes.
    slots: VecDeque<Slot>,
    filling: Slot,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    frames: usize,
    peak: Frame,
    /// Sum of the squares.
    energy: [f64; 2],
}

impl Meter {
    /// The levels, when this frame makes a slot full.
    fn take(&mut self, frame: Frame) -> Option<Levels> {
        let slot = &mut self.filling;
        slot.frames += 1;
        for ((peak, energy), sample) in slot.peak.iter_mut().zip(&mut slot.energy).zip(frame) {
            *peak = peak.max(sample.abs());
            *energy += f64::from(sample) * f64::from(sample);
        }
        if slot.frames < SLOT {
            return None;
        }
        if self.slots.len() == PEAK_SLOTS {
            self.slots.pop_front();
        }
        self.slots.push_back(std::mem::take(&mut self.filling));
        Some(self.levels())
    }

    fn levels(&self) -> Levels {
        let decibels = |value: f64| (20.0 * value.log10()).max(SILENCE_DB);
        let peak = |channel: usize| {
            let highest = self.slots.iter().map(|slot| slot.peak[channel]).fold(0.0, f32::max);
            decibels(f64::from(highest))
        };
        let rms = |channel: usize| {
            let recent = self.slots.iter().rev().take(RMS_SLOTS);
            let (frames, energy) = recent.fold((0, 0.0), |(frames, energy), slot| {
                (frames + slot.frames, energy + slot.energy[channel])
            });
            decibels((energy / frames.max(1) as f64).sqrt())
        };
        Levels { peak_db: [0, 1].map(peak), rms_db: [0, 1].map(rms) }
    }
}

/// Frames: 10 ms at 48 kHz, in which a step of 60 dB makes no click, and nobody waits for it.
const RAMP: usize = 480;

/// Frames: 100 ms at 48 kHz, so often as people see a meter move.
const SLOT: usize = 4800;

/// A second, so that who looks once a second misses no peak.
const PEAK_SLOTS: usize = 10;

/// The integration time of a VU meter (IEC 60268-17).
const RMS_SLOTS: usize = 3;

/// Below the 96 dB of 16 bits: a number where the logarithm has none.
const SILENCE_DB: f64 = -100.0;

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    const PLAIN: Settings = Settings { channels: Channels::Stereo, gain: 0.0, mute: false };

    /// A second of a sine of 1 kHz.
    fn sine(left: f32, right: f32) -> Vec<Frame> {
        let wave = |n: usize| (TAU * n as f32 / 48.0).sin();
        (0..48_000).map(|n| [left * wave(n), right * wave(n)]).collect()
    }

    fn levels(frames: &mut [Frame], settings: Settings) -> Levels {
        Strip::new(settings).process(frames, settings).expect("a second is enough")
    }

    #[track_caller]
    fn assert_near(found: [f64; 2], expected: [f64; 2]) {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.05);
        assert!(near, "{found:?} for {expected:?}");
    }

    #[test]
    fn levels_are_those_of_a_sine() {
        let found = levels(&mut sine(1.0, 0.1), PLAIN);
        assert_near(found.peak_db, [0.0, -20.0]);
        assert_near(found.rms_db, [-3.01, -23.01]);
        let silent = levels(&mut vec![[0.0; 2]; SLOT], PLAIN);
        assert_eq!(silent, Levels { peak_db: [-100.0; 2], rms_db: [-100.0; 2] });
    }

    #[test]
    fn gain_counts_for_the_meter_and_mute_does_not() {
        let louder = Settings { gain: 6.0, ..PLAIN };
        let mut frames = sine(0.1, 1.0);
        assert_near(levels(&mut frames, louder).peak_db, [-14.0, 6.0]);
        assert!((frames[12][0] - 0.1995).abs() < 1e-3, "{:?}", frames[12]);
        let mut muted = sine(0.1, 0.1);
        assert_near(levels(&mut muted, Settings { mute: true, ..louder }).peak_db, [-14.0, -14.0]);
        assert!(muted.iter().all(|frame| *frame == [0.0; 2]));
    }

    #[test]
    fn the_channels_are_those_that_were_chosen() {
        let heard = |channels| {
            let mut frames = [[0.2, 0.6]];
            Strip::new(Settings { channels, ..PLAIN }).process(&mut frames, Settings { channels, ..PLAIN });
            frames[0]
        };
        assert_eq!(heard(Channels::Stereo), [0.2, 0.6]);
        assert_eq!(heard(Channels::Mono), [0.4, 0.4]);
        assert_eq!(heard(Channels::Left), [0.2, 0.2]);
        assert_eq!(heard(Channels::Right), [0.6, 0.6]);
    }

    #[test]
    fn a_change_is_a_ramp_and_no_click() {
        let mut strip = Strip::new(PLAIN);
        let mut frames = vec![[0.5f32; 2]; 4 * RAMP];
        let loud = Settings { gain: 6.0, ..PLAIN };
        let (first, rest) = frames.split_at_mut(RAMP);
        let (second, rest) = rest.split_at_mut(RAMP);
        let (third, fourth) = rest.split_at_mut(RAMP);
        strip.process(first, PLAIN);
        strip.process(second, loud);
        strip.process(third, Settings { mute: true, ..loud });
        strip.process(fourth, Settings { mute: true, ..loud });
        let step = frames.windows(2).map(|pair| (pair[1][0] - pair[0][0]).abs()).fold(0.0, f32::max);
        assert!(step < 0.003, "a step of {step}");
        assert!(frames[2 * RAMP - 1][0] > 0.99 && frames[3 * RAMP - 1] == [0.0; 2]);
    }

    #[test]
    fn a_peak_is_seen_for_a_second_and_no_longer() {
        let mut strip = Strip::new(PLAIN);
        let mut peak = vec![[0.0f32; 2]; SLOT];
        peak[0] = [1.0, 0.0];
        strip.process(&mut peak, PLAIN);
        let mut seen = (0..PEAK_SLOTS)
            .map(|_| strip.process(&mut vec![[0.0; 2]; SLOT], PLAIN).map(|levels| levels.peak_db[0]));
        assert!(seen.by_ref().take(PEAK_SLOTS - 1).all(|peak| peak == Some(0.0)));
        assert_eq!(seen.next(), Some(Some(SILENCE_DB)));
    }
}
