//! The encode pipeline's inlets: where captured pictures and sound are handed over.
//!
//! Hand-over passes references to pictures: no pixel is copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use gst::prelude::*;
use gst_video::VideoMeta;

use super::clock;
use super::damage::Damage;
use super::error::Error;
use super::format::Formats;
use super::graph;
use super::sound_inlet::{SharedClock, SoundInlet};
use super::strip::Levels;
use crate::config::Audio;

/// A handle to an [`Encode`](super::Encode)'s inlets. What is pushed after that has stopped is lost.
///
/// It is held on a *lease*, which its clones share. One capture has one lease: a capture that is being
/// closed may push for a while yet, and once its lease is revoked that no longer counts as anything. A lease that
/// is on *stand-by* passes nothing on either, but what is pushed on it shows that its source works.
#[derive(Clone)]
pub struct Inputs {
    pub(super) formats: Formats,
    pictures: gst_app::AppSrc,
    sound: Option<SoundInlet>,
    tally: Arc<Tally>,
    on_air: OnAir,
    lease: Arc<Lease>,
}

/// What one capture may do, and has done.
#[derive(Debug, Default)]
struct Lease {
    is_revoked: AtomicBool,
    is_standing_by: AtomicBool,
    /// When its newest picture arrived, on the shared clock; 0 before the first.
    newest: AtomicU64,
}

/// Whether the live picture is on air. While it is not, none is passed on: what would wait at the
/// switch would be stale when its time comes.
#[derive(Clone, Debug)]
pub(super) struct OnAir(Arc<AtomicBool>);

impl OnAir {
    pub(super) fn new() -> OnAir {
        OnAir(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn set(&self, live: bool) {
        self.0.store(live, Ordering::Release);
    }

    fn is_live(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What came in. All of it only rises.
#[derive(Debug, Default)]
pub(super) struct Tally {
    frames: AtomicU64,
    frames_refused: AtomicU64,
    /// When the newest picture arrived, on the shared clock; 0 before the first.
    newest: AtomicU64,
    damage: Damage,
    /// Whether it was told that pictures come with times that lie ahead.
    ahead_told: AtomicBool,
}

impl Inputs {
    pub(super) fn new(
        formats: &Formats,
        pictures: gst_app::AppSrc,
        sound: Option<SoundInlet>,
        on_air: OnAir,
    ) -> Inputs {
        Inputs {
            formats: formats.clone(),
            pictures,
            sound,
            tally: Arc::default(),
            on_air,
            lease: Arc::default(),
        }
    }

    /// The same inlets on a fresh lease: one for each opening of a capture.
    pub fn lease(&self) -> Inputs {
        Inputs { lease: Arc::default(), ..self.clone() }
    }

    /// Whether what is pushed on this lease is passed on; a fresh one passes everything on.
    pub fn stand_by(&self, stand_by: bool) {
        self.lease.is_standing_by.store(stand_by, Ordering::Release);
    }

    /// When the newest picture on this lease arrived, whether it was passed on or not.
    pub fn newest_on_lease(&self) -> Option<Instant> {
        at_clock(&self.lease.newest).map(clock::to_instant)
    }

    /// Ends the lease: what is still pushed on it, through this handle or a clone, is ignored, picture
    /// and sound. Neither blocks nor waits; may be repeated.
    pub fn revoke(&self) {
        self.lease.is_revoked.store(true, Ordering::Release);
    }

    fn is_revoked(&self) -> bool {
        self.lease.is_revoked.load(Ordering::Acquire)
    }

    fn is_standing_by(&self) -> bool {
        self.lease.is_standing_by.load(Ordering::Acquire)
    }

    /// Whether the stream has a sound track at all.
    pub(super) fn has_sound(&self) -> bool {
        self.sound.is_some()
    }

    pub(super) fn frames(&self) -> u64 {
        self.tally.frames.load(Ordering::Relaxed)
    }

    /// Where damaged pictures are counted.
    pub(super) fn damage(&self) -> &Damage {
        &self.tally.damage
    }

    /// Pictures on air that came while two were waiting.
    pub(super) fn frames_refused(&self) -> u64 {
        self.tally.frames_refused.load(Ordering::Relaxed)
    }

    /// Buffers of sound that came while as much was waiting as may.
    pub(super) fn sound_refused(&self) -> u64 {
        self.sound.as_ref().map_or(0, SoundInlet::refused)
    }

    /// How loud the sound is that comes in; `None` where none came for a second.
    pub(super) fn levels(&self) -> Option<Levels> {
        self.sound.as_ref()?.levels()
    }

    /// Takes what may change while the stream runs: gain, mute, channels, and a delay.
    pub(super) fn set_sound(&self, audio: &Audio) {
        if let Some(sound) = &self.sound {
            sound.set(audio);
        }
    }

    /// When the newest picture arrived. Its own time would not do: a source with a long pipeline is
    /// live though each of its pictures is old.
    pub(super) fn newest_frame(&self) -> Option<gst::ClockTime> {
        at_clock(&self.tally.newest)
    }

    /// The end of a capture pipeline that hands pictures over; `first` is called before the first.
    /// `sync`: wait for each picture's time, for sources that are faster than real time.
    pub(super) fn picture_sink(
        &self,
        sync: bool,
        first: impl FnOnce() + Send + 'static,
    ) -> Result<gst::Element, Error> {
        let (inputs, mut first) = (self.clone(), Some(first));
        let sink = hand_over(sync, &self.formats.picture, move |buffer, at| {
            if !inputs.is_revoked()
                && let Some(first) = first.take()
            {
                first();
            }
            inputs.push_picture(buffer, at)
        })?;
        accept_video_meta(&graph::pad(&sink, "sink"));
        Ok(sink)
    }

    /// The end of a capture pipeline that hands sound over; `first` is called before the first.
    pub(super) fn sound_sink(
        &self,
        sync: bool,
        first: impl FnOnce() + Send + 'static,
    ) -> Result<gst::Element, Error> {
        self.sound_end(sync, None, first)
    }

    /// As [`Inputs::sound_sink`], of a device that gives sound by a clock of its own.
    pub(super) fn device_sound_sink(
        &self,
        device: SharedClock,
        first: impl FnOnce() + Send + 'static,
    ) -> Result<gst::Element, Error> {
        self.sound_end(false, Some(device), first)
    }

    fn sound_end(
        &self,
        sync: bool,
        device: Option<SharedClock>,
        first: impl FnOnce() + Send + 'static,
    ) -> Result<gst::Element, Error> {
        let (inputs, mut first) = (self.clone(), Some(first));
        hand_over(sync, &self.formats.sound, move |buffer, at| {
            if let Some(first) = first.take() {
                first();
            }
            inputs.push_sound(&buffer, at, device.as_ref())
        })
    }

    /// A picture of this moment, for tests of what is behind the inlets.
    #[cfg(test)]
    pub(super) fn push_now(&self, picture: gst::Buffer) {
        self.push_picture(picture, clock::now()).expect("the pipeline runs");
    }

    fn push_picture(&self, buffer: gst::Buffer, at: gst::ClockTime) -> Result<(), gst::FlowError> {
        // Read before the lease is looked at: so no picture ever counts as newer than its lease's end.
        let now = clock::now();
        if self.is_revoked() {
            return Ok(());
        }
        self.lease.newest.fetch_max(now.nseconds(), Ordering::Relaxed);
        if self.is_standing_by() {
            return Ok(());
        }
        self.tally.frames.fetch_add(1, Ordering::Relaxed);
        self.tally.newest.fetch_max(now.nseconds(), Ordering::Relaxed);
        if self.on_air.is_live() && !offer(&self.pictures, stamped(buffer, self.not_ahead(at, now)))? {
            self.tally.frames_refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A picture from the future becomes one of now: all that come until its time, the slate's too,
    /// would be left out behind it.
    fn not_ahead(&self, at: gst::ClockTime, now: gst::ClockTime) -> gst::ClockTime {
        if at > now + CLOCK_JITTER && !self.tally.ahead_told.swap(true, Ordering::Relaxed) {
            let ahead_ms = (at - now).mseconds();
            log::warn!(ahead_ms; "the source's timestamps lie ahead: times of arrival are used where they do");
        }
        at.min(now)
    }

    fn push_sound(
        &self,
        buffer: &gst::BufferRef,
        at: gst::ClockTime,
        device: Option<&SharedClock>,
    ) -> Result<(), gst::FlowError> {
        match &self.sound {
            Some(sound) if !self.is_revoked() && !self.is_standing_by() => sound.push(buffer, at, device),
            Some(_) | None => Ok(()),
        }
    }
}

/// A time of the shared clock; 0 stands for none.
fn at_clock(nanos: &AtomicU64) -> Option<gst::ClockTime> {
    match nanos.load(Ordering::Relaxed) {
        0 => None,
        nanos => Some(gst::ClockTime::from_nseconds(nanos)),
    }
}

/// Pushes a buffer unless as many wait as may: then it is lost, and the answer is false. (appsrc can
/// leak by itself, but does not tell how often.)
pub(super) fn offer(inlet: &gst_app::AppSrc, buffer: gst::Buffer) -> Result<bool, gst::FlowError> {
    let (buffers, time) = (inlet.max_buffers(), inlet.max_time());
    let full = (buffers > 0 && inlet.current_level_buffers() >= buffers)
        || (!time.is_zero() && inlet.current_level_time() >= time);
    if full {
        return Ok(false);
    }
    inlet.push_buffer(buffer).map(|_| true)
}

/// The buffer with its time on the shared clock; the data is shared, not copied.
pub(super) fn stamped(mut buffer: gst::Buffer, at: gst::ClockTime) -> gst::Buffer {
    let header = buffer.make_mut();
    header.set_pts(at);
    header.set_dts(gst::ClockTime::NONE);
    buffer
}

/// A sink that calls `push` with each buffer and its time on the shared clock.
fn hand_over(
    sync: bool,
    caps: &gst::Caps,
    mut push: impl FnMut(gst::Buffer, gst::ClockTime) -> Result<(), gst::FlowError> + Send + 'static,
) -> Result<gst::Element, Error> {
    graph::require("appsink")?;
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let begin = sink.base_time().unwrap_or(gst::ClockTime::ZERO);
            let Some(at) = running_time(&sample) else {
                return Ok(gst::FlowSuccess::Ok); // outside its segment: not to be shown
            };
            let Some(buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
            drop(sample);
            match push(buffer, begin + at) {
                // The encode pipeline is being stopped: this capture's end follows.
                Ok(()) | Err(gst::FlowError::Flushing) => Ok(gst::FlowSuccess::Ok),
                Err(error) => Err(error),
            }
        })
        .build();
    let sink = gst_app::AppSink::builder()
        .caps(caps)
        .sync(sync)
        .qos(false)
        .max_buffers(1)
        .enable_last_sample(false)
        .callbacks(callbacks)
        .build();
    Ok(sink.upcast())
}

/// The time of a sample's buffer since its pipeline's base time.
pub(super) fn running_time(sample: &gst::Sample) -> Option<gst::ClockTime> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(sample.buffer()?.pts()?)
}

/// Tells sources that padded lines are welcome: v4l2src copies every frame otherwise.
fn accept_video_meta(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        match info.query_mut().map(|query| query.view_mut()) {
            Some(gst::QueryViewMut::Allocation(query)) => {
                query.add_allocation_meta::<VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// A time that is less ahead than this is no error of the source's worth telling.
const CLOCK_JITTER: gst::ClockTime = gst::ClockTime::from_mseconds(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_is_pushed_on_a_revoked_lease_counts_for_nothing() {
        let inputs = inputs();
        let (old, new) = (inputs.lease(), inputs.lease());
        old.clone().push_picture(gst::Buffer::new(), clock::now()).unwrap();
        old.push_sound(&sound(), clock::now(), None).unwrap();
        assert_eq!(waiting(&inputs), (1, 1));
        let before = (inputs.frames(), inputs.newest_frame().unwrap());
        assert_eq!(before.0, 1);

        old.revoke();
        old.clone().push_picture(gst::Buffer::new(), clock::now()).unwrap();
        old.push_sound(&sound(), clock::now(), None).unwrap();
        assert_eq!((inputs.frames(), inputs.newest_frame().unwrap()), before);
        assert_eq!(waiting(&inputs), (1, 1));

        new.push_picture(gst::Buffer::new(), clock::now()).unwrap();
        new.push_sound(&sound(), clock::now(), None).unwrap();
        assert_eq!(inputs.frames(), 2);
        assert!(inputs.newest_frame().unwrap() > before.1);
        assert_eq!(waiting(&inputs), (2, 2));
    }

    #[test]
    fn what_is_pushed_on_stand_by_only_shows_that_its_source_works() {
        let inputs = inputs();
        let (on_air, spare) = (inputs.lease(), inputs.lease());
        spare.stand_by(true);
        let before = Instant::now();
        spare.push_picture(gst::Buffer::new(), clock::now()).unwrap();
        spare.push_sound(&sound(), clock::now(), None).unwrap();
        assert_eq!((waiting(&inputs), inputs.frames(), inputs.newest_frame()), ((0, 0), 0, None));
        assert!(spare.newest_on_lease().is_some_and(|at| at >= before));
        assert_eq!(on_air.newest_on_lease(), None, "each lease counts its own");
        on_air.stand_by(true);
        spare.stand_by(false);
        on_air.push_picture(gst::Buffer::new(), clock::now()).unwrap();
        spare.push_picture(gst::Buffer::new(), clock::now()).unwrap();
        assert_eq!((waiting(&inputs).0, inputs.frames()), (1, 1));
        assert!(inputs.newest_frame().is_some());
    }

    #[test]
    fn a_picture_lives_by_its_arrival_however_old_or_new_it_says_it_is() {
        let inputs = inputs();
        let hour = gst::ClockTime::from_seconds(3600);
        for at in [gst::ClockTime::from_nseconds(1), clock::now() + hour, clock::now()] {
            let before = clock::now();
            inputs.push_picture(gst::Buffer::new(), at).unwrap();
            let newest = inputs.newest_frame().unwrap();
            assert!(newest >= before && newest <= clock::now(), "{newest}");
        }
    }

    #[test]
    fn a_time_ahead_becomes_now_and_others_stay() {
        let inputs = inputs();
        let now = gst::ClockTime::from_seconds(100);
        assert_eq!(inputs.not_ahead(now - gst::ClockTime::SECOND, now), now - gst::ClockTime::SECOND);
        assert_eq!(inputs.not_ahead(now + gst::ClockTime::MSECOND, now), now);
        assert!(!inputs.tally.ahead_told.load(Ordering::Relaxed), "too little to tell");
        assert_eq!(inputs.not_ahead(now + gst::ClockTime::SECOND, now), now);
        assert!(inputs.tally.ahead_told.load(Ordering::Relaxed));
    }

    /// Inlets that keep what is pushed: nothing is behind them.
    fn inputs() -> Inputs {
        crate::media::init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'\n\
                        [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
        let streams = config::parse(document).unwrap().streams;
        let stream = streams.values().next().unwrap();
        let formats = Formats::of(&stream.video, "I420");
        let inlet = || gst_app::AppSrc::builder().build();
        Inputs::new(&formats, inlet(), Some(SoundInlet::new(inlet(), &stream.audio)), OnAir::new())
    }

    /// One frame of it.
    fn sound() -> gst::Buffer {
        gst::Buffer::from_slice([0u8; 4])
    }

    fn waiting(inputs: &Inputs) -> (u64, u64) {
        (inputs.pictures.current_level_buffers(), inputs.sound.as_ref().unwrap().waiting())
    }
}
