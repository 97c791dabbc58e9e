//! The bin that a fake encoder is: a gate, which is where pictures meet its faults, and a real coder behind it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use gst::glib::{self, ParamSpec, Value};
use gst::prelude::*;

use super::gate::{Gate, Passing, raw};
use super::model::{Codec, Live, Mode, Model, Plan, Property, Setting, Settings, Start};
use super::quirks::{ForceKey, Quirks, Stage, When};

/// What a fake has in common with the others: everything but its class.
pub struct Shared {
    element: &'static str,
    /// `None`: x264enc itself, whose properties are those of the coder.
    model: Option<&'static Model>,
    properties: &'static [Property],
    coder: gst::Element,
    state: Mutex<State>,
}

/// What happens to a picture at the gate.
pub enum Passage {
    Free,
    Swallowed,
    /// It is answered with an error.
    Refused(String),
}

/// What a fake saw and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pictures that came.
    pub pictures: u64,
    /// Coded pictures that went out.
    pub units: u64,
    /// Rates that took effect while it ran.
    pub rates: u64,
    /// Writes that had no effect because it ran.
    pub ignored: u64,
    /// Driver controls that it does not have, or whose value has the wrong type.
    pub unknown_controls: u64,
    /// Key frames that were asked for by event, and whether they are given or not.
    pub key_frames_asked: u64,
    /// What the coder inside was told last, in bits per second.
    pub bits_per_second: u64,
    /// The coder's buffer in milliseconds.
    pub buffer_ms: u64,
}

struct State {
    settings: Settings,
    quirks: Quirks,
    mode: Mode,
    /// It has got caps: the real one would be open.
    running: bool,
    hangs: bool,
    first: Option<Instant>,
    /// Rates that were set and when; the oldest first, until they take effect.
    set: Vec<(Instant, Plan)>,
    plan: Option<Plan>,
    had_headers: bool,
    lost: u64,
    seen: Seen,
}

impl Shared {
    pub fn new(
        element: &'static str,
        model: Option<&'static Model>,
        properties: &'static [Property],
    ) -> Arc<Self> {
        let quirks = super::in_force(element);
        at_stage(&quirks, Stage::Creation);
        let controls = model.map_or(&[][..], |model| model.controls);
        let own = if model.is_some() { properties } else { &[] };
        let state = State {
            settings: Settings::new(own, controls),
            quirks,
            mode: Mode::default(),
            running: false,
            hangs: false,
            first: None,
            set: Vec::new(),
            plan: None,
            had_headers: false,
            lost: 0,
            seen: Seen::default(),
        };
        let coder = coder(model.map_or(Codec::H264, |model| model.codec));
        if model.is_some() {
            prepare(&coder);
        }
        let shared = Arc::new(Shared { element, model, properties, coder, state: Mutex::new(state) });
        super::made(&shared);
        shared
    }

    pub fn element(&self) -> &'static str {
        self.element
    }

    pub fn seen(&self) -> Seen {
        self.state().seen
    }

    pub fn arm(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.state().quirks);
    }

    /// Puts the elements into the bin, and gives it its pads.
    pub fn furnish(self: &Arc<Self>, bin: &gst::Bin) {
        let sink = match self.model {
            Some(model) => gst::Caps::from_str(model.sink).unwrap(),
            None => raw(&[""]),
        };
        let passing = Passing { sink, src: vec![""], encoder: Arc::downgrade(self) };
        let gate = Gate::new(passing).upcast::<gst::Element>();
        let mut chain = vec![gate.clone()];
        if self.model.is_some_and(|model| model.codec == Codec::H265) {
            chain.push(gst::ElementFactory::make("videoconvert").build().unwrap()); // x265enc takes no NV12
        }
        chain.push(self.coder.clone());
        if let Some(model) = self.model {
            let given = gst::Caps::from_str(model.src).unwrap();
            chain.push(gst::ElementFactory::make("capsfilter").property("caps", &given).build().unwrap());
        }
        bin.add_many(&chain).unwrap();
        gst::Element::link_many(&chain).unwrap();
        let last = chain.last().expect("the coder at least");
        let ends = [
            ("sink", gate.static_pad("sink"), gst::PadProbeType::EVENT_DOWNSTREAM),
            ("src", last.static_pad("src"), gst::PadProbeType::EVENT_UPSTREAM),
        ];
        for (name, target, events) in ends {
            let ghost = match bin.pad_template(name) {
                Some(template) => {
                    gst::GhostPad::builder_from_template_with_target(&template, &target.unwrap())
                }
                None => gst::GhostPad::builder_with_target(&target.unwrap()),
            };
            let ghost = ghost.unwrap().name(name).build();
            let shared = Arc::downgrade(self);
            ghost.add_probe(events, move |_, info| force_key_event(&shared, info));
            bin.add_pad(&ghost).unwrap();
        }
        let shared = Arc::downgrade(self);
        self.coder.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            match (shared.upgrade(), info.data.take()) {
                (Some(shared), Some(gst::PadProbeData::Buffer(buffer))) => match shared.leave(buffer) {
                    Some(buffer) => {
                        info.data = Some(gst::PadProbeData::Buffer(buffer));
                        gst::PadProbeReturn::Ok
                    }
                    None => gst::PadProbeReturn::Handled,
                },
                (_, data) => {
                    info.data = data;
                    gst::PadProbeReturn::Ok
                }
            }
        });
    }

    pub fn change_state(&self, transition: gst::StateChange) {
        let quirks = self.state().quirks;
        match transition {
            gst::StateChange::NullToReady => at_stage(&quirks, Stage::Ready),
            gst::StateChange::PausedToReady => {
                at_stage(&quirks, Stage::Stop);
                let mut state = self.state();
                state.running = false;
                state.first = None;
            }
            _ => {}
        }
    }

    pub fn set_property(&self, value: &Value, spec: &ParamSpec) {
        let Some(model) = self.model else {
            if spec.name() == "bitrate" {
                self.set_coders_rate(value.get().unwrap());
            } else {
                self.coder.set_property_from_value(spec.name(), value);
            }
            return;
        };
        let property = self.properties.iter().find(|property| property.spec.name() == spec.name());
        let live = property.expect("GObject sets only what the class has").live;
        let setting = Setting::of(value, spec);
        let mut state = self.state();
        let changed = state.settings.put(spec.name(), setting.clone());
        match live {
            Live::Controls => self.set_controls(&mut state, model, &setting),
            _ if !state.running => {}
            Live::Rate if changed || model.equal_is_change => {
                let key = (model.change_is_key_frame)(&state.settings);
                self.change(&mut state, model, key);
            }
            Live::Restart if changed => self.change(&mut state, model, true),
            Live::Rate | Live::Restart | Live::Later => {}
            Live::Ignored => {
                gst::warning!(gst::CAT_RUST, obj = self.coder, "{} is not taken while it runs", spec.name());
                state.seen.ignored += 1;
            }
        }
    }

    pub fn property(&self, spec: &ParamSpec) -> Value {
        match self.model {
            Some(_) => self.state().settings.of(spec.name()).to_value(spec),
            None => self.coder.property_value(spec.name()),
        }
    }

    /// The coder is set up for these pictures; whether it began anew for them. An error: the real one would not
    /// take them.
    pub fn start(&self, caps: &gst::CapsRef) -> Result<bool, String> {
        let Some(model) = self.model else {
            self.state().running = true;
            return Ok(false);
        };
        let mode = Mode::of(caps, &self.coder.static_pad("src").unwrap().peer_query_caps(None));
        let mut state = self.state();
        let State { settings, hangs, .. } = &mut *state;
        match (model.start)(settings, &mode) {
            Start::Runs => {}
            Start::Refuses(reason) => return Err(format!("{}: {reason}", self.element)),
            Start::Hangs => *hangs = true,
        }
        let plan = (model.plan)(settings, &mode);
        let is_new = !state.running;
        state.running = true;
        if is_new {
            self.set_up(model.codec, &plan, &mode);
        }
        state.mode = mode;
        self.apply(&mut state, plan);
        Ok(is_new)
    }

    /// What the coder takes in READY only, of which no caps are known yet.
    fn set_up(&self, codec: Codec, plan: &Plan, mode: &Mode) {
        self.coder.set_locked_state(true);
        self.coder.set_state(gst::State::Ready).unwrap();
        self.coder.set_property("key-int-max", i32_or_u32(&self.coder, plan.key_distance));
        let options = match (codec, &mode.level) {
            (Codec::H264, Some(level)) => format!("{CODER_OPTIONS}:level={level}"),
            (Codec::H264, None) => CODER_OPTIONS.to_owned(),
            (Codec::H265, Some(level)) => format!("level-idc={level}:high-tier=0"),
            (Codec::H265, None) => String::new(),
        };
        self.coder.set_property("option-string", options);
        self.coder.set_locked_state(false);
        self.coder.sync_state_with_parent().unwrap();
    }

    /// A picture is at the gate. Returns when it may go on: never, where the encoder hangs.
    pub fn pass(&self) -> Passage {
        let (quirks, hangs, pictures, elapsed) = {
            let mut state = self.state();
            let elapsed = state.first.get_or_insert_with(Instant::now).elapsed();
            let pictures = state.seen.pictures;
            state.seen.pictures += 1;
            self.apply_due(&mut state);
            (state.quirks, state.hangs, pictures, elapsed)
        };
        let has_come = |when: Option<When>| when.is_some_and(|when| when.has_come(pictures, elapsed));
        if pictures == 0 {
            at_stage(&quirks, Stage::FirstPicture);
        }
        if hangs || has_come(quirks.blocks) {
            hang();
            return Passage::Refused("the driver hung".to_owned());
        }
        if !quirks.takes.is_zero() && has_come(Some(quirks.takes_from)) {
            thread::sleep(quirks.takes);
        }
        if has_come(quirks.fails) {
            return Passage::Refused(format!("{}: the driver failed (as it was told to)", self.element));
        }
        if has_come(quirks.stalls) { Passage::Swallowed } else { Passage::Free }
    }

    /// A coded picture goes out, as its quirks would have it: `None`, where it is lost.
    fn leave(&self, mut buffer: gst::Buffer) -> Option<gst::Buffer> {
        let mut state = self.state();
        let elapsed = state.first.map_or(Duration::ZERO, |first| first.elapsed());
        let units = state.seen.units;
        let has_come = |when: Option<When>| when.is_some_and(|when| when.has_come(units, elapsed));
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let (loses, corrupts) = (has_come(state.quirks.loses), has_come(state.quirks.corrupts));
        state.seen.units += 1;
        if loses && !is_key {
            state.lost += 1;
            if state.lost % 2 == 1 {
                return None;
            }
        }
        let repeats = state.plan.is_none_or(|plan| plan.repeats_headers);
        let strip = state.had_headers && !repeats;
        state.had_headers = true;
        drop(state);
        if strip || corrupts {
            let codec = self.model.map_or(Codec::H264, |model| model.codec);
            let map = buffer.map_readable().unwrap();
            let data = rewritten(&map, codec, strip, corrupts);
            drop(map);
            let mut other = gst::Buffer::from_mut_slice(data);
            let metadata = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
            buffer.copy_into(other.make_mut(), metadata, ..).unwrap();
            buffer = other;
        }
        Some(buffer)
    }

    /// A new rate, or new settings: at once or when its quirks say so.
    fn change(&self, state: &mut State, model: &Model, key: bool) {
        let elapsed = state.first.map_or(Duration::ZERO, |first| first.elapsed());
        let pictures = state.seen.pictures;
        if state.quirks.ignores_bitrate.is_some_and(|when| when.has_come(pictures, elapsed)) {
            return;
        }
        let State { settings, mode, .. } = state;
        let plan = (model.plan)(settings, mode);
        self.schedule(state, plan, key);
    }

    fn schedule(&self, state: &mut State, plan: Plan, key: bool) {
        state.set.push((Instant::now(), plan));
        if state.quirks.follows_after.is_zero() {
            self.apply_due(state);
        }
        if key || state.quirks.key_frame_each_change {
            self.force_key();
        }
    }

    fn apply_due(&self, state: &mut State) {
        while let Some(&(at, plan)) = state.set.first()
            && at.elapsed() >= state.quirks.follows_after
        {
            state.set.remove(0);
            state.seen.rates += 1;
            self.apply(state, plan);
        }
    }

    fn apply(&self, state: &mut State, plan: Plan) {
        let elapsed = state.first.map_or(Duration::ZERO, |first| first.elapsed());
        let excessive = state.quirks.excess_from.has_come(state.seen.pictures, elapsed);
        let excess = if excessive { state.quirks.excess } else { 1.0 };
        let told = plan.bits_per_second as f64 * excess;
        let kbps = ((told / 1_000.0).round() as u32).clamp(1, MOST_KBPS);
        self.coder.set_property("bitrate", kbps);
        if self.model.is_some_and(|model| model.codec == Codec::H264) {
            let milliseconds = (plan.buffer.as_millis() as u32).clamp(1, LONGEST_BUFFER_MS);
            self.coder.set_property("vbv-buf-capacity", milliseconds);
            state.seen.buffer_ms = u64::from(milliseconds);
        }
        state.seen.bits_per_second = u64::from(kbps) * 1_000;
        state.plan = Some(plan);
    }

    fn set_coders_rate(&self, kbps: u32) {
        let mut state = self.state();
        let plan = Plan {
            bits_per_second: u64::from(kbps) * 1_000,
            buffer: Duration::ZERO,
            key_distance: 0,
            repeats_headers: true,
        };
        if state.first.is_none() {
            return self.apply(&mut state, plan); // what it is made with holds from the start
        }
        let elapsed = state.first.map_or(Duration::ZERO, |first| first.elapsed());
        let pictures = state.seen.pictures;
        if !state.quirks.ignores_bitrate.is_some_and(|when| when.has_come(pictures, elapsed)) {
            self.schedule(&mut state, plan, false);
        }
    }

    fn set_controls(&self, state: &mut State, model: &Model, setting: &Setting) {
        let Setting::Structure(Some(controls)) = setting else { return };
        let mut rate = false;
        let mut key = false;
        for (name, value) in controls.iter() {
            let known = model.controls.iter().find(|control| control.name == name);
            let number = value.get::<i32>().ok().or_else(|| value.get::<bool>().ok().map(i32::from));
            let (Some(control), Some(number)) = (known, number) else {
                gst::warning!(gst::CAT_RUST, obj = self.coder, "control '{name}' is not taken");
                state.seen.unknown_controls += 1;
                continue;
            };
            let changed = state.settings.put_control(control, number);
            rate |= changed && control.name == "video_bitrate";
            key |= control.name == "force_key_frame" && number != 0;
        }
        if state.running && rate {
            self.change(state, model, (model.change_is_key_frame)(&state.settings));
        }
        if state.running && key {
            self.force_key();
        }
    }

    /// Has the coder make its next picture a key frame.
    pub fn force_key(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        assert!(self.coder.static_pad("src").unwrap().send_event(event));
    }

    fn takes_force_key(&self, quirks: &Quirks) -> bool {
        match (quirks.force_key, self.model) {
            (ForceKey::Obeyed, _) | (ForceKey::AsReal, None) => true,
            (ForceKey::Ignored, _) => false,
            (ForceKey::AsReal, Some(model)) => {
                let (major, minor, micro, _) = gst::version();
                model.force_key_since.is_some_and(|since| (major, minor, micro) >= since)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mode {
    fn of(caps: &gst::CapsRef, downstream: &gst::CapsRef) -> Self {
        let picture = caps.structure(0).expect("caps of pictures have a structure");
        let size = |name| picture.get::<i32>(name).map_or(0, i32::unsigned_abs);
        let rate = picture.get::<gst::Fraction>("framerate");
        let asked = |name| downstream.iter().find_map(|structure| structure.get::<String>(name).ok());
        Mode {
            width: size("width"),
            height: size("height"),
            frames_per_second: rate.map_or(0.0, |rate| f64::from(rate.numer()) / f64::from(rate.denom())),
            level: asked("level"),
            profile: asked("profile"),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.element).field("seen", &self.seen()).finish_non_exhaustive()
    }
}

/// Those that hang go on, with an error.
pub fn release_hung() {
    *HANGS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    HANGS.1.notify_all();
}

fn hang() {
    let mut releases = HANGS.0.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *releases;
    while *releases == before {
        releases = HANGS.1.wait(releases).unwrap_or_else(PoisonError::into_inner);
    }
}

fn at_stage(quirks: &Quirks, stage: Stage) {
    if quirks.crashes_at == Some(stage) {
        loop {
            // The first only takes down the handler that looks for overflown stacks.
            let itself = rustix::process::getpid();
            rustix::process::kill_process(itself, rustix::process::Signal::SEGV).unwrap();
        }
    }
    if quirks.hangs_at == Some(stage) {
        hang();
    }
}

fn force_key_event(shared: &Weak<Shared>, info: &gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
    let (Some(shared), Some(event)) = (shared.upgrade(), info.event()) else {
        return gst::PadProbeReturn::Ok;
    };
    if !gst_video::ForceKeyUnitEvent::is(event) {
        return gst::PadProbeReturn::Ok;
    }
    let mut state = shared.state();
    state.seen.key_frames_asked += 1;
    // Not Drop: GStreamer would let go of an event that the bindings have let go of already.
    if shared.takes_force_key(&state.quirks) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
}

fn coder(codec: Codec) -> gst::Element {
    super::real(codec).expect("a fake is registered only where its coder exists").create().build().unwrap()
}

/// Quick, and without a delay: what a fake is about is not the picture.
fn prepare(coder: &gst::Element) {
    coder.set_property_from_str("tune", "zerolatency");
    coder.set_property_from_str("speed-preset", "ultrafast");
    if coder.has_property("byte-stream") {
        coder.set_property("byte-stream", true);
        coder.set_property_from_str("pass", "cbr");
        coder.set_property("bframes", 0u32);
        coder.set_property("threads", 1u32);
    }
}

fn i32_or_u32(coder: &gst::Element, value: u32) -> Value {
    let spec = coder.find_property("key-int-max").unwrap();
    match spec.value_type() {
        glib::Type::I32 => i32::try_from(value).unwrap_or(i32::MAX).to_value(),
        _ => value.min(i32::MAX as u32).to_value(),
    }
}

/// The picture without its parameter sets, or with garbled slices.
fn rewritten(data: &[u8], codec: Codec, strip: bool, corrupt: bool) -> Vec<u8> {
    let mut result = Vec::with_capacity(data.len());
    for range in nals(data) {
        let nal = &data[range];
        let header = nal.iter().position(|&byte| byte == 1).map_or(0, |at| at + 1);
        let kind = nal.get(header).map_or(0, |byte| match codec {
            Codec::H264 => byte & 0x1f,
            Codec::H265 => (byte >> 1) & 0x3f,
        });
        let (is_header, is_slice) = match codec {
            Codec::H264 => (matches!(kind, 7 | 8), matches!(kind, 1..=5)),
            Codec::H265 => (matches!(kind, 32..=34), kind < 32),
        };
        if strip && is_header {
            continue;
        }
        let begin = result.len();
        result.extend_from_slice(nal);
        if corrupt && is_slice {
            for byte in result.iter_mut().skip(begin + header + UNTOUCHED_SLICE_BYTES) {
                *byte = (*byte ^ GARBLE) | 0x04; // never below 4, which would be a start code
            }
        }
    }
    result
}

/// The units of a byte stream with their start codes.
fn nals(data: &[u8]) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = Vec::new();
    for at in 0..data.len().saturating_sub(2) {
        if data[at..at + 3] == [0, 0, 1] {
            starts.push(if at > 0 && data[at - 1] == 0 { at - 1 } else { at });
        }
    }
    let ends = starts.iter().copied().skip(1).chain([data.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Elements that were made and still are, of all fakes.
pub fn alive() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    static ALIVE: OnceLock<Mutex<Vec<Weak<Shared>>>> = OnceLock::new();
    ALIVE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often those that hang were released.
static HANGS: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// As the daemon sets x264enc: key frames only when they are due, and only the buffer bounds the rate.
const CODER_OPTIONS: &str = "scenecut=0:ratetol=100";

/// x264enc's and x265enc's largest bitrate.
const MOST_KBPS: u32 = 102_400;

/// x264enc's largest buffer.
const LONGEST_BUFFER_MS: u32 = 10_000;

/// A slice's header, so that parsers still know the picture.
const UNTOUCHED_SLICE_BYTES: usize = 12;

const GARBLE: u8 = 0x5a;
