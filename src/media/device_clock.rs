//! A sound device's own clock, followed: its sound is stretched or squeezed so little that nobody hears
//! it, and so stays with the picture however long the stream runs. Pure.
//!
//! A crystal is off by up to 200 ppm, 0.7 s in an hour. What GStreamer's own means make of it:
//! `slave-method=skew` counts samples and lets them drift until they are 200 ms (its ring buffer) away,
//! then jumps; with ALSA's driver timestamps, which are right, the samples no longer follow each other, and
//! `audiorate` cuts or fills 10 ms at a time; `slave-method=resample` is not implemented. So here the
//! timestamps are believed, and the samples are resampled to fit between them.
//!
//! ```text
//!            so much sound seen            as far off for a whole window, or a break told
//! Settling ─────────────────────▶ Following ────────────────────────────────────────────▶ Settling
//! ```
//! A timestamp may be late, where the machine was busy, and hardly ever early: so in each window the
//! earliest counts. In `Settling` nothing is passed on, until it is known when the sound really began.

use std::time::Duration;

use super::resample::Resampler;
use super::strip::Frame;

/// The clock of one opening of a device.
#[derive(Debug)]
pub(super) struct DeviceClock {
    follower: Follower,
    /// Since the last break.
    line: Option<Line>,
}

/// Sound that follows itself, frame by frame.
#[derive(Debug)]
struct Line {
    begin: Duration,
    resampler: Resampler,
}

impl DeviceClock {
    pub(super) fn new() -> DeviceClock {
        DeviceClock { follower: Follower::new(), line: None }
    }

    /// The device says that the sound that is to come now began `at`, on the pipeline's clock, and that it
    /// `lasts` so long, on its own. `is_break`: what was before it is not known to have been right before it.
    pub(super) fn observe(&mut self, at: Duration, lasts: Duration, is_break: bool) {
        if is_break {
            self.follower.settle();
            self.line = None;
        }
        let ratio = self.ratio();
        let here =
            self.line.as_ref().map(|line| line.begin.as_secs_f64() + line.resampler.position(ratio) / RATE);
        match self.follower.observe(at.as_secs_f64(), lasts.as_secs_f64(), here) {
            Some(begin) => {
                let begin = Duration::from_secs_f64(begin.max(0.0));
                self.line = Some(Line { begin, resampler: Resampler::new() });
            }
            None if self.follower.is_settling() => self.line = None,
            None => {}
        }
    }

    /// The sound that was observed last, as it is to be passed on, in `out`, and when it begins; nothing
    /// while the clock settles.
    pub(super) fn take(
        &mut self,
        frames: impl Iterator<Item = Frame>,
        out: &mut Vec<Frame>,
    ) -> Option<Duration> {
        let ratio = self.ratio();
        let line = self.line.as_mut()?;
        let begin = line.begin + of_frames(line.resampler.emitted());
        line.resampler.push(frames, ratio, out);
        Some(begin)
    }

    /// Frames that are made of one.
    fn ratio(&self) -> f64 {
        1.0 + self.follower.correction()
    }
}

/// Follows a clock by the times that it tells. All times in seconds.
#[derive(Debug)]
struct Follower {
    state: State,
    /// How much slower the device's clock is found to be than the pipeline's, as a share.
    drift: f64,
    /// What is corrected at present: the drift, and what takes the rest of the offset away.
    correction: f64,
}

#[derive(Debug)]
enum State {
    Settling(Settling),
    Following(Window),
}

#[derive(Debug, Default)]
struct Settling {
    /// Of sound, on the device's clock.
    seen: f64,
    /// When the first of it began, by the earliest of all its times.
    begin: Option<f64>,
}

/// Of how far the device's time is ahead of what was passed on.
#[derive(Debug, Default)]
struct Window {
    seen: f64,
    range: Option<(f64, f64)>,
}

impl Follower {
    fn new() -> Follower {
        Follower { state: State::Settling(Settling::default()), drift: 0.0, correction: 0.0 }
    }

    fn correction(&self) -> f64 {
        self.correction
    }

    fn is_settling(&self) -> bool {
        matches!(self.state, State::Settling(_))
    }

    /// Begins anew. The drift is the device's, and stays.
    fn settle(&mut self) {
        self.state = State::Settling(Settling::default());
        self.correction = self.drift;
    }

    /// Sound that began at `at` and lasts so long comes to stand at `here`. Gives the time at which it is
    /// to stand where a line of sound begins with it.
    fn observe(&mut self, at: f64, lasts: f64, here: Option<f64>) -> Option<f64> {
        match (&mut self.state, here) {
            (State::Following(window), Some(here)) => {
                let ahead = at - here;
                let (least, most) = window.range.unwrap_or((ahead, ahead));
                let range = (least.min(ahead), most.max(ahead));
                window.range = Some(range);
                window.seen += lasts;
                if window.seen >= WINDOW {
                    *window = Window::default();
                    self.correct(range);
                }
                None
            }
            (State::Following(_), None) => {
                self.settle();
                None
            }
            (State::Settling(settling), _) => {
                let begin = at - settling.seen;
                let begin = settling.begin.map_or(begin, |earliest| earliest.min(begin));
                settling.begin = Some(begin);
                if settling.seen < SETTLING {
                    settling.seen += lasts;
                    return None;
                }
                let begin = begin + settling.seen;
                self.state = State::Following(Window::default());
                Some(begin)
            }
        }
    }

    fn correct(&mut self, (least, most): (f64, f64)) {
        if least > LARGEST_OFFSET || most < -LARGEST_OFFSET {
            return self.settle();
        }
        self.drift = (self.drift + INTEGRAL * least * WINDOW).clamp(-LARGEST_DRIFT, LARGEST_DRIFT);
        let wanted = self.drift + PROPORTIONAL * least;
        self.correction = wanted.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION);
    }
}

fn of_frames(frames: u64) -> Duration {
    let nanos = u128::from(frames) * 1_000_000_000 / RATE as u128;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Frames per second.
const RATE: f64 = 48_000.0;

/// Seconds: a loaded machine reads in time at least once in so long, and an offset grows by 0.2 ms.
const WINDOW: f64 = 1.0;

/// Seconds without sound after the device was opened or has lost some: twenty times to choose from.
const SETTLING: f64 = 0.2;

/// A critically damped loop of the second order with ω = 0.05/s: half of an offset is gone after 30 s,
/// and 200 ppm that come at once move the sound by 1.5 ms. Per second, and per second squared.
const PROPORTIONAL: f64 = 0.1;
const INTEGRAL: f64 = 0.002_5;

/// As a share: what no crystal exceeds, even in the cheapest of sound cards.
const LARGEST_DRIFT: f64 = 0.000_8;

/// As a share: 1.7 cents, a third of what a trained ear hears as a change of pitch.
const LARGEST_CORRECTION: f64 = 0.001;

/// Seconds. More is no drift: sound was lost, or its device stood still. It is half of what people notice
/// between lips and voice, and the correction would take longer than 40 s for it.
const LARGEST_OFFSET: f64 = 0.04;

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose clock is slower by `ppm`, read in buffers of 10 ms that come late by up to 25 ms, one in
    /// fifty by 60.
    struct Device {
        ppm: f64,
        read: u64,
        seed: u64,
    }

    impl Device {
        const FRAMES: u64 = 480;

        fn new(ppm: f64) -> Device {
            Device { ppm, read: 0, seed: 1 }
        }

        /// When the next buffer really began, and when it is said to have.
        fn next(&mut self) -> (f64, f64) {
            let frames = self.read as f64 * Self::FRAMES as f64;
            let really = 1_000_000.0 + frames / RATE * (1.0 + self.ppm * 1e-6);
            self.read += 1;
            let late = self.random() * self.random() * 0.025;
            let late = if self.random() < 0.02 { 0.06 } else { late };
            (really, really + late)
        }

        fn random(&mut self) -> f64 {
            // Knuth's linear congruential generator: the same in every run.
            self.seed =
                self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.seed >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    const LASTS: f64 = 0.01;

    /// The largest offset over so many seconds, and the largest and the last correction, in ppm. The
    /// resampler is its arithmetic alone.
    fn offset(device: &mut Device, seconds: u64) -> (f64, f64, f64) {
        let mut follower = Follower::new();
        let (mut here, mut worst, mut strongest) = (None, 0.0f64, 0.0f64);
        for _ in 0..seconds * 100 {
            let (really, said) = device.next();
            if let Some(begin) = follower.observe(said, LASTS, here) {
                here = Some(begin);
            }
            if let Some(here) = &mut here {
                assert!(!follower.is_settling(), "nothing was lost");
                worst = worst.max((*here - really).abs());
                strongest = strongest.max(follower.correction().abs() * 1e6);
                *here += LASTS * (1.0 + follower.correction());
            }
        }
        (worst, strongest, follower.correction() * 1e6)
    }

    #[test]
    fn an_hour_of_200_ppm_either_way_stays_within_three_milliseconds() {
        for ppm in [-200.0, -50.0, 0.0, 50.0, 200.0] {
            let (worst, strongest, last) = offset(&mut Device::new(ppm), 3600);
            println!(
                "{ppm} ppm: {:.2} ms at worst, {strongest:.0} ppm at most, {last:.0} in the end",
                worst * 1e3
            );
            assert!(worst < 0.003, "{} ms at {ppm} ppm", worst * 1e3);
            assert!(strongest < 500.0, "{strongest} ppm");
            assert!((last - ppm).abs() < 60.0, "{last} for {ppm} ppm");
        }
    }

    #[test]
    fn a_clock_that_changes_its_mind_is_followed() {
        let mut device = Device::new(150.0);
        let mut follower = Follower::new();
        let mut here = None;
        let (mut really, mut worst) = (0.0, 0.0f64);
        for buffer in 0..60_000 {
            let ppm: f64 = if buffer / 15_000 % 2 == 0 { 150.0 } else { -150.0 };
            really += LASTS * (1.0 + ppm * 1e-6);
            let late = device.next().1 - device.next().0;
            if let Some(begin) = follower.observe(really + late.abs().min(0.06), LASTS, here) {
                here = Some(begin);
            }
            if let Some(here) = &mut here {
                worst = worst.max((*here - really).abs());
                *here += LASTS * (1.0 + follower.correction());
            }
        }
        assert!(worst < 0.02, "{} ms", worst * 1e3);
    }

    /// What is passed on, as pairs of begin and frames.
    fn passed_on(clock: &mut DeviceClock, device: &mut Device, seconds: u64) -> Vec<(Duration, usize)> {
        let mut all = Vec::new();
        for _ in 0..seconds * 100 {
            let (_, said) = device.next();
            clock.observe(Duration::from_secs_f64(said), Duration::from_secs_f64(LASTS), false);
            let mut out = Vec::new();
            if let Some(begin) = clock.take(std::iter::repeat_n([0.5; 2], 480), &mut out) {
                all.push((begin, out.len()));
            }
        }
        all
    }

    #[test]
    fn frame_follows_frame_and_the_sound_keeps_its_time() {
        for ppm in [-200.0, 200.0] {
            let (mut clock, mut device) = (DeviceClock::new(), Device::new(ppm));
            let all = passed_on(&mut clock, &mut device, 60);
            assert!((5_970..5_990).contains(&all.len()), "{} buffers: but for the first 200 ms", all.len());
            let mut emitted = 0;
            for (begin, frames) in &all {
                let expected = all[0].0 + of_frames(emitted);
                assert_eq!(*begin, expected, "each begins where the one before it ends");
                emitted += *frames as u64;
            }
            let (really, _) = device.next();
            let end = (all[0].0 + of_frames(emitted)).as_secs_f64();
            assert!((end - really).abs() < 0.003, "{} ms at {ppm} ppm", (end - really) * 1e3);
        }
    }

    #[test]
    fn lost_sound_is_a_break_and_not_made_up_for_by_stretching() {
        let (mut clock, mut device) = (DeviceClock::new(), Device::new(0.0));
        passed_on(&mut clock, &mut device, 10);
        device.read += 30; // 300 ms
        let all = passed_on(&mut clock, &mut device, 5);
        let (begin, frames) = *all.last().unwrap();
        let (really, _) = device.next();
        let end = (begin + of_frames(frames as u64)).as_secs_f64();
        assert!((end - really).abs() < 0.003, "{} ms", (end - really) * 1e3);
        let gap = all.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).fold(0.0, f64::max);
        assert!((0.4..0.6).contains(&gap), "a gap of {gap} s: what was lost, and what settling takes");
    }

    #[test]
    fn a_break_that_is_told_is_believed_at_once() {
        let (mut clock, mut device) = (DeviceClock::new(), Device::new(0.0));
        passed_on(&mut clock, &mut device, 2);
        device.read += 30;
        let (_, said) = device.next();
        clock.observe(Duration::from_secs_f64(said), Duration::from_secs_f64(LASTS), true);
        assert_eq!(clock.take(std::iter::empty(), &mut Vec::new()), None, "it settles");
        let all = passed_on(&mut clock, &mut device, 1);
        assert!((70..=85).contains(&all.len()), "{}", all.len());
    }
}
