//! One fake in a plain pipeline, picture by picture: what is set between two pictures is set there in each run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};

/// appsrc → elements in front → encoder → caps → appsink; without a clock.
pub struct Rig {
    pub pipeline: gst::Pipeline,
    pub encoder: gst::Element,
    source: AppSrc,
    sink: AppSink,
    mode: Mode,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub width: usize,
    pub height: usize,
    pub frames_per_second: u64,
    pub format: &'static str,
    /// A caps feature; empty: system memory.
    pub memory: &'static str,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Unit {
    pub key: bool,
    pub data: Vec<u8>,
}

impl Mode {
    pub const USUAL: Mode =
        Mode { width: 320, height: 176, frames_per_second: 30, format: "NV12", memory: "" };

    fn caps(&self) -> gst::Caps {
        let picture = gst::Structure::builder("video/x-raw")
            .field("format", self.format)
            .field("width", self.width as i32)
            .field("height", self.height as i32)
            .field("framerate", gst::Fraction::new(self.frames_per_second as i32, 1));
        let features = (!self.memory.is_empty()).then(|| gst::CapsFeatures::new([self.memory]));
        let mut caps = gst::Caps::new_empty();
        caps.make_mut().append_structure_full(picture.build(), features);
        caps
    }
}

impl Rig {
    /// `asked` are the caps behind the encoder, if any; `front` are elements before it.
    pub fn new(encoder: &gst::Element, front: &[&str], asked: Option<&str>, mode: Mode) -> Self {
        use std::str::FromStr;
        let source = AppSrc::builder().caps(&mode.caps()).format(gst::Format::Time).build();
        let sink = AppSink::builder().sync(false).build();
        let mut chain = vec![source.clone().upcast::<gst::Element>()];
        for name in front {
            chain.push(gst::ElementFactory::make(name).build().unwrap());
        }
        chain.push(encoder.clone());
        if let Some(asked) = asked {
            let caps = gst::Caps::from_str(asked).unwrap();
            chain.push(gst::ElementFactory::make("capsfilter").property("caps", &caps).build().unwrap());
        }
        chain.push(sink.clone().upcast());
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&chain).unwrap();
        gst::Element::link_many(&chain).unwrap();
        Rig { pipeline, encoder: encoder.clone(), source, sink, mode, next: 0 }
    }

    pub fn play(&self) {
        self.pipeline.set_state(gst::State::Playing).unwrap();
    }

    /// One picture in, and what comes out of it.
    pub fn picture(&mut self) -> Option<Unit> {
        self.push();
        self.unit(PATIENCE)
    }

    /// So many pictures, of which each must come out.
    pub fn pictures(&mut self, count: usize) -> Vec<Unit> {
        (0..count)
            .map(|_| self.picture().unwrap_or_else(|| panic!("{}: {:?}", self.encoder.name(), self.error())))
            .collect()
    }

    pub fn push(&mut self) {
        let mut buffer = gst::Buffer::from_mut_slice(scene(&self.mode, self.next));
        let frame = gst::ClockTime::SECOND / self.mode.frames_per_second;
        let change = buffer.make_mut();
        change.set_pts(frame * self.next);
        change.set_duration(frame);
        self.next += 1;
        self.source.push_buffer(buffer).ok(); // refused after an error, which the bus has
    }

    pub fn unit(&self, patience: Duration) -> Option<Unit> {
        let sample = self.sink.try_pull_sample(gst::ClockTime::from_nseconds(patience.as_nanos() as u64))?;
        let buffer = sample.buffer().unwrap();
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        Some(Unit { key, data: buffer.map_readable().unwrap().to_vec() })
    }

    pub fn error(&self) -> Option<String> {
        let bus = self.pipeline.bus().unwrap();
        let mut errors = Vec::new();
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            if let gst::MessageView::Error(error) = message.view() {
                errors.push(format!("{} ({:?})", error.error(), error.debug()));
            }
        }
        (!errors.is_empty()).then(|| errors.join(", "))
    }

    pub fn ask_for_key_frame(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        assert!(self.encoder.static_pad("src").unwrap().send_event(event));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        crate::fake_encoders::release(); // one that hangs would keep the pipeline
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// In kbit/s, at 30 pictures a second.
pub fn kbps(units: &[Unit]) -> f64 {
    let bytes: usize = units.iter().map(|unit| unit.data.len()).sum();
    bytes as f64 * 8.0 * 30.0 / units.len() as f64 / 1_000.0
}

/// Which of them are key frames, counted from 0.
pub fn keys(units: &[Unit]) -> Vec<usize> {
    units.iter().enumerate().filter(|(_, unit)| unit.key).map(|(at, _)| at).collect()
}

/// A pattern that moves, with noise on it: any rate is used up, and none is missed. It repeats.
fn scene(mode: &Mode, at: u64) -> Vec<u8> {
    static SCENES: Mutex<BTreeMap<(usize, u64), Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut scenes = SCENES.lock().unwrap();
    let at = at % SCENES_BEFORE_IT_REPEATS;
    scenes.entry((mode.width * mode.height, at)).or_insert_with(|| drawn(mode, at)).clone()
}

fn drawn(mode: &Mode, at: u64) -> Vec<u8> {
    let luma = mode.width * mode.height;
    let mut state = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut picture = vec![128; luma * 3 / 2];
    for (index, pixel) in picture.iter_mut().take(luma).enumerate() {
        let (x, y) = (index % mode.width + at as usize * 3, index / mode.width + at as usize);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let wave = ((x / 4) ^ (y / 4)) & 0x3f;
        *pixel = (64 + wave + (state % 24) as usize) as u8;
    }
    picture
}

const SCENES_BEFORE_IT_REPEATS: u64 = 16;

const PATIENCE: Duration = Duration::from_secs(5);
