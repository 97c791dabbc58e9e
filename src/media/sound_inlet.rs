//! The sound's inlet: where captured sound is brought into shape, measured, and handed over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock;
use super::device_clock::DeviceClock;
use super::inputs::{offer, stamped};
use super::sound;
use super::strip::{Frame, Levels, Settings, Strip};
use crate::config::Audio;

/// What the source of sound gives, and how loud. Handles are shared.
#[derive(Clone)]
pub(super) struct SoundInlet {
    source: gst_app::AppSrc,
    desk: Arc<Mutex<Desk>>,
    refused: Arc<AtomicU64>,
}

/// A device's clock, from the place where its times are read to that where its sound is handed over.
#[derive(Clone)]
pub(super) struct SharedClock(Arc<Mutex<DeviceClock>>);

impl SharedClock {
    pub(super) fn new() -> SharedClock {
        SharedClock(Arc::new(Mutex::new(DeviceClock::new())))
    }

    /// What is in it is whole after any panic: the worst is sound that settles anew.
    pub(super) fn lock(&self) -> MutexGuard<'_, DeviceClock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What outlives captures: an old one and its successor go through the same strip.
struct Desk {
    settings: Settings,
    /// Positive: the sound is sent later than it was heard. Nanoseconds.
    offset: gst::ClockTimeDiff,
    strip: Strip,
    levels: Option<(gst::ClockTime, Levels)>,
    frames: Vec<Frame>,
}

impl SoundInlet {
    pub(super) fn new(source: gst_app::AppSrc, audio: &Audio) -> SoundInlet {
        let settings = settings(audio);
        let desk = Desk {
            settings,
            offset: offset(audio),
            strip: Strip::new(settings),
            levels: None,
            frames: Vec::new(),
        };
        SoundInlet { source, desk: Arc::new(Mutex::new(desk)), refused: Arc::default() }
    }

    /// Takes gain, mute, channels and a delay over, from the next buffer on.
    pub(super) fn set(&self, audio: &Audio) {
        self.source.set_max_time(sound::most_waiting(audio));
        let mut desk = self.desk();
        desk.settings = settings(audio);
        desk.offset = offset(audio);
    }

    /// How loud the sound is; `None` where none came for a second.
    pub(super) fn levels(&self) -> Option<Levels> {
        let (at, levels) = self.desk().levels?;
        (clock::now().saturating_sub(at) < LEVELS_LAST).then_some(levels)
    }

    /// Buffers that came while as much was waiting as may.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> u64 {
        self.source.current_level_buffers()
    }

    /// Hands over a buffer of the stream's format whose first sample was heard at `at`, or when the
    /// `device` says it was.
    pub(super) fn push(
        &self,
        buffer: &gst::BufferRef,
        at: gst::ClockTime,
        device: Option<&SharedClock>,
    ) -> Result<(), gst::FlowError> {
        let samples = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
        let mut desk = self.desk();
        let mut frames = std::mem::take(&mut desk.frames);
        frames.clear();
        let at = match device {
            None => {
                frames.extend(read(&samples));
                at
            }
            Some(device) => {
                let at = device.lock().take(read(&samples), &mut frames);
                at.map_or(gst::ClockTime::ZERO, nanos) // and no frames where there is no time
            }
        };
        drop(samples);
        let settings = desk.settings;
        if let Some(levels) = desk.strip.process(&mut frames, settings) {
            desk.levels = Some((clock::now(), levels));
        }
        let shifted = gst::ClockTime::from_nseconds(at.nseconds().saturating_add_signed(desk.offset));
        let written = (!frames.is_empty()).then(|| gst::Buffer::from_mut_slice(write(&frames)));
        desk.frames = frames;
        drop(desk);
        if let Some(written) = written
            && !offer(&self.source, stamped(written, shifted))?
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What is in it is whole after any panic: settings and samples, nothing between them.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(audio: &Audio) -> Settings {
    Settings { channels: audio.channels, gain: audio.gain_db, mute: audio.mute }
}

fn offset(audio: &Audio) -> gst::ClockTimeDiff {
    i64::from(audio.offset_ms) * NANOS_PER_MILLISECOND
}

fn nanos(time: Duration) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// From interleaved signed 16 bits, little endian.
fn read(samples: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    let sample = |low: u8, high: u8| f32::from(i16::from_le_bytes([low, high])) / FULL_SCALE;
    samples.chunks_exact(4).map(move |frame| [sample(frame[0], frame[1]), sample(frame[2], frame[3])])
}

/// What is louder than full scale is cut off.
fn write(frames: &[Frame]) -> Vec<u8> {
    let cut = |sample: f32| (sample * FULL_SCALE).round() as i16; // saturates
    frames.iter().flatten().flat_map(|sample| cut(*sample).to_le_bytes()).collect()
}

const FULL_SCALE: f32 = 32_768.0;

const NANOS_PER_MILLISECOND: i64 = 1_000_000;

/// A level that is older says nothing: no sound comes.
const LEVELS_LAST: gst::ClockTime = gst::ClockTime::SECOND;
