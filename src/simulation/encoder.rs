//! Encoders: how large each picture gets.

use std::str::FromStr;
use std::time::Duration;

use rand::RngCore;
use rand_pcg::Pcg32;
use thiserror::Error;

use crate::link::{rate, time};
use crate::rate::ChangeCost;
use crate::units::{Bitrate, ByteCount};

/// How an encoder behaves. The default is x264 as the daemon sets it up (`superfast`, `zerolatency`, a buffer
/// of 200 ms, key frames when they are due), 640×360, on a clip that always needs the rate that it is given:
/// it fills 0.98 of its target. Fitted to recordings of the daemon under a changing target.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderModel {
    /// Between two pictures.
    pub interval: Duration,
    /// Between two key frames.
    pub key_interval: Duration,
    /// A key frame is so many times larger than the mean picture.
    pub peak: f64,
    /// A lower target is taken up to 63 % in this time.
    pub follow: Duration,
    /// And a higher one: bits are saved at once, and spent again with care.
    pub rise: Duration,
    /// Of the target, more than was asked for: 0.3 is 30 % too much.
    pub overshoot: f64,
    /// Standard deviation of a picture's size, as a share of it.
    pub noise: f64,
    /// Share of the scenes that take less than the rate: three quarters of it.
    pub easy: f64,
    /// Pictures do not get smaller than this rate makes them.
    pub floor: Bitrate,
    /// Each change of the target begins with a key frame.
    pub keys_on_change: bool,
    /// A still scene, from a time on for a duration: pictures need no more than [`STILL`].
    pub still: Vec<(Duration, Duration)>,
    /// AAC beside the picture.
    pub sound: Option<Bitrate>,
}

impl Default for EncoderModel {
    fn default() -> Self {
        EncoderModel {
            interval: Duration::from_nanos(1_000_000_000 / 30),
            key_interval: Duration::from_secs(2),
            peak: 3.5,
            follow: Duration::from_millis(200),
            rise: Duration::from_millis(250),
            overshoot: 0.0,
            noise: 0.15,
            easy: 0.02,
            floor: Bitrate::from_kbps(110),
            keys_on_change: false,
            still: Vec::new(),
            sound: None,
        }
    }
}

/// A part of a model's line that cannot be read, and what to write.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("encoder: {part:?}: {problem}; write {fix}")]
pub struct ModelError {
    pub part: String,
    pub problem: String,
    pub fix: String,
}

impl FromStr for EncoderModel {
    type Err = ModelError;

    /// Reads `follow=1s,rise=1s,overshoot=0.3,noise=0.15,easy=0.02,peak=3.5,floor=110k,keys-on-change=yes,still=20s+60s`,
    /// each part of it optional; `still` may be given again.
    fn from_str(line: &str) -> Result<Self, ModelError> {
        let mut model = EncoderModel::default();
        for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let complaint =
                |(problem, fix): (String, String)| ModelError { part: part.to_owned(), problem, fix };
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            model.read(key, value).map_err(complaint)?;
        }
        Ok(model)
    }
}

impl EncoderModel {
    /// As x264's row of the table of back ends has it, or that of those which answer with a key frame.
    pub fn change_cost(&self) -> ChangeCost {
        let interval = if self.keys_on_change { Duration::from_secs(1) } else { Duration::ZERO };
        let step = if self.keys_on_change { 0.1 } else { 0.02 };
        ChangeCost { step, interval, key_frame: self.keys_on_change }
    }

    fn read(&mut self, key: &str, value: &str) -> Result<(), (String, String)> {
        let wrong = |problem: &str, fix: &str| Err((problem.to_owned(), fix.to_owned()));
        let number = |range: std::ops::RangeInclusive<f64>| {
            value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                (format!("it is no number from {} to {}", range.start(), range.end()), "one".to_owned())
            })
        };
        match key {
            "follow" => self.follow = time(value)?.max(Duration::from_micros(1)),
            "rise" => self.rise = time(value)?.max(Duration::from_micros(1)),
            "overshoot" => self.overshoot = number(-0.9..=10.0)?,
            "noise" => self.noise = number(0.0..=1.0)?,
            "peak" => self.peak = number(1.0..=100.0)?,
            "easy" => self.easy = number(0.0..=1.0)?,
            "floor" => self.floor = rate(value)?,
            "keys-on-change" => match value {
                "yes" => self.keys_on_change = true,
                "no" => self.keys_on_change = false,
                _ => return wrong("it is a choice", "keys-on-change=yes or keys-on-change=no"),
            },
            "still" => {
                let Some((from, length)) = value.split_once('+') else {
                    return wrong("its duration is missing", "still=START+DURATION, such as still=20s+60s");
                };
                self.still.push((time(from)?, time(length)?));
            }
            _ => {
                return wrong(
                    "no such part",
                    "one of follow, rise, overshoot, noise, easy, peak, floor, keys-on-change, still",
                );
            }
        }
        Ok(())
    }
}

/// A picture that was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub key: bool,
    /// Of the elementary stream.
    pub size: ByteCount,
}

/// A model at work.
#[derive(Clone, Debug)]
pub struct Encoder {
    model: EncoderModel,
    random: Pcg32,
    /// What its rate control has taken up of the target, bit/s.
    rate: f64,
    /// The picture content's deviation from the mean, which lasts a few pictures.
    content: f64,
    /// Bytes that were spent above the rate, to be saved on the pictures to come.
    debt: f64,
    since_key: Duration,
    target: Bitrate,
    owes_key: bool,
    /// Share of a picture that is still to be left unencoded.
    thinned: f64,
    scene: Scene,
}

/// What is shown: a cut begins it.
#[derive(Clone, Copy, Debug)]
struct Scene {
    until: Duration,
    /// Of the rate, what it takes.
    demand: f64,
}

impl Encoder {
    pub fn new(model: &EncoderModel, target: Bitrate, seed: u64) -> Self {
        Encoder {
            model: model.clone(),
            random: Pcg32::new(seed, ENCODER_STREAM),
            rate: target.as_bps() as f64,
            content: 0.0,
            debt: 0.0,
            since_key: model.key_interval,
            target,
            owes_key: false,
            thinned: 0.0,
            scene: Scene { until: MEAN_SCENE, demand: 1.0 },
        }
    }

    pub fn set_target(&mut self, target: Bitrate) {
        if target != self.target {
            self.owes_key |= self.model.keys_on_change;
            self.target = target;
        }
    }

    /// The next picture is to be a key frame.
    pub fn want_key_frame(&mut self) {
        self.owes_key = true;
    }

    /// Takes the next picture, captured at `now`; `None` where it is one of the share `thin` that is not
    /// encoded.
    pub fn take(&mut self, now: Duration, thin: f64) -> Option<Picture> {
        if now >= self.scene.until {
            self.cut(now);
        }
        let model = &self.model;
        self.since_key = self.since_key.saturating_add(model.interval);
        self.thinned += thin;
        if self.thinned >= 1.0 {
            self.thinned -= 1.0;
            return None;
        }
        let interval = model.interval.as_secs_f64();
        let wanted = self.target.as_bps() as f64 * (1.0 + model.overshoot);
        let follow = if wanted < self.rate { model.follow } else { model.rise };
        self.rate += (wanted - self.rate) * (1.0 - (-interval / follow.as_secs_f64()).exp());
        let key = self.owes_key || self.since_key + model.interval / 2 > model.key_interval;
        let share = self.share(key);
        let mean = self.rate * self.scene.demand / 8.0 * interval;
        // Content lasts: each picture resembles the one before.
        self.content =
            LASTING * self.content + (1.0 - LASTING * LASTING).sqrt() * model.noise * self.normal();
        let drawn = mean * share * (1.0 + self.content).max(LEAST_DRAWN);
        let size = (drawn - self.debt / REPAYMENT).max(LEAST_SHARE * mean);
        self.debt = (self.debt + size - mean * share).clamp(-DEEPEST * mean, DEEPEST * mean);
        let size = size.min(self.need(now, key)).max(self.model.floor.as_bps() as f64 / 8.0 * interval);
        if key {
            self.owes_key = false;
            self.since_key = Duration::ZERO;
        }
        Some(Picture { key, size: ByteCount::new(size as u64) })
    }

    /// Another scene, which begins with a key frame.
    fn cut(&mut self, now: Duration) {
        let is_easy = self.uniform() < self.model.easy;
        let demand = if is_easy { EASY_DEMAND } else { 1.0 };
        self.scene = Scene { until: now + MEAN_SCENE.mul_f64(0.25 + 1.5 * self.uniform()), demand };
        self.owes_key = true;
    }

    /// Of the mean picture, so that the mean of a whole group is one.
    fn share(&self, key: bool) -> f64 {
        let group = (self.model.key_interval.as_secs_f64() / self.model.interval.as_secs_f64()).max(1.0);
        let peak = self.model.peak.clamp(1.0, group);
        match key {
            true => peak,
            false if group > 1.0 => (group - peak) / (group - 1.0),
            false => 1.0,
        }
    }

    /// The most bytes that a picture is worth.
    fn need(&self, now: Duration, key: bool) -> f64 {
        let is_still = self.model.still.iter().any(|(from, length)| (*from..*from + *length).contains(&now));
        match (is_still, key) {
            (true, true) => STILL_KEY,
            (true, false) => STILL.as_bps() as f64 / 8.0 * self.model.interval.as_secs_f64(),
            (false, _) => f64::INFINITY,
        }
    }

    /// Nearly normal, variance 1: the sum of four uniform numbers, the same on every machine.
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3.0_f64.sqrt()
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / 4_294_967_296.0
    }
}

/// A frame of AAC, 1024 samples at 48 kHz.
pub const SOUND_INTERVAL: Duration = Duration::from_nanos(21_333_333);
/// What a still scene takes between key frames.
pub const STILL: Bitrate = Bitrate::from_kbps(60);
/// And its key frames, in bytes, at the best quality.
const STILL_KEY: f64 = 30_000.0;
/// PCG stream of its own: links with and without an encoder draw the same losses.
const ENCODER_STREAM: u64 = 3;
/// Correlation of a picture's content with that of the one before.
const LASTING: f64 = 0.8;
/// Of scenes that follow each other; they last from a quarter of it to seven.
const MEAN_SCENE: Duration = Duration::from_secs(5);
/// What an easy scene takes of the rate.
const EASY_DEMAND: f64 = 0.75;
/// Of the mean share: no content makes a picture smaller than that.
const LEAST_DRAWN: f64 = 0.3;
/// Pictures over which the rate control makes up for its error.
const REPAYMENT: f64 = 8.0;
/// Of the mean picture: quantisers do not reach further within one.
const LEAST_SHARE: f64 = 0.25;
/// Mean pictures that the rate control remembers: the buffer of x264's 600 ms.
const DEEPEST: f64 = 18.0;
