//! A file as a source: played in real time, over and over, picture and sound in step.
//!
//! Each *pass* through the file is a pipeline of its own, which reads a little ahead of its time.
//! When a pass has read all pictures, the next one is opened and made ready while the last pictures
//! of this one still wait for their time; it begins on the clock exactly where this one ends. So
//! the seam costs nothing, needs no seeking, and works with any format that GStreamer decodes.
//!
//! ```text
//! opened ──prerolled──▶ begun ──all pictures read──▶ drained ──last picture shown──▶ dropped
//!                                                       └─ opens the next pass
//! ```
//!
//! A pass is as long as its pictures: sound that goes on behind them is cut off.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::event::{EventSender, MediaEvent, Report};
use super::graph::{self, Graph};
use super::inputs::Inputs;
use super::plain_file;
use super::source::{described, normalised_picture, normalised_sound};
use crate::causes::with_causes;

/// A file that is playing. Dropping it stops it.
pub(super) struct FileLoop {
    signals: mpsc::Sender<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// Which pass; they are numbered from 0.
type PassNumber = u64;

enum Signal {
    Stop,
    Prerolled(PassNumber),
    /// All pictures are read; the pass lasts this long.
    Drained(PassNumber, gst::ClockTime),
    Ended(PassNumber),
    Failed(String),
}

impl FileLoop {
    pub(super) fn start(
        path: &Path,
        with_sound: bool,
        inputs: &Inputs,
        events: &EventSender,
    ) -> Result<FileLoop, Error> {
        let (signals, inbox) = mpsc::channel();
        let mut player = Player {
            path: path.to_owned(),
            with_sound: with_sound && inputs.has_sound(),
            inputs: inputs.clone(),
            events: events.clone(),
            signals: signals.clone(),
            passes: Vec::new(),
            opened: 0,
            next_begin: None,
            duration: None,
        };
        player.open()?;
        let thread = thread::Builder::new()
            .name("file".to_owned())
            .spawn(move || player.run(&inbox))
            .map_err(|source| Error::Thread { name: "file", source })?;
        Ok(FileLoop { signals, thread: Some(thread) })
    }
}

impl Drop for FileLoop {
    fn drop(&mut self) {
        // Without a receiver the thread has ended already, after a failure.
        let stopped = self.signals.send(Signal::Stop).is_ok();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(stopped = stopped; "the file's thread panicked");
        }
    }
}

/// The thread's state.
struct Player {
    path: PathBuf,
    with_sound: bool,
    inputs: Inputs,
    events: EventSender,
    signals: mpsc::Sender<Signal>,
    /// At most two: one that is ending, and the next.
    passes: Vec<Pass>,
    opened: PassNumber,
    /// When the pass that is opened next is to begin; none before the first.
    next_begin: Option<gst::ClockTime>,
    /// How long the last pass that was read was: the next is as long, unless the file is another by then.
    duration: Option<gst::ClockTime>,
}

struct Pass {
    number: PassNumber,
    graph: Graph,
    begin: Option<gst::ClockTime>,
    duration: Option<gst::ClockTime>,
}

impl Player {
    fn run(&mut self, inbox: &mpsc::Receiver<Signal>) {
        for signal in inbox {
            let done = match signal {
                Signal::Stop => return,
                Signal::Failed(reason) => Err(reason),
                Signal::Prerolled(number) => self.begin(number),
                Signal::Drained(number, duration) => self.drained(number, duration),
                Signal::Ended(number) => {
                    self.passes.retain(|pass| pass.number != number);
                    self.open_next()
                }
            };
            if let Err(reason) = done {
                self.passes.clear();
                self.events.send(MediaEvent::CaptureFailed { reason });
                return;
            }
        }
    }

    fn begin(&mut self, number: PassNumber) -> Result<(), String> {
        let planned = self.next_begin;
        let Some(pass) = self.passes.iter_mut().find(|pass| pass.number == number && pass.begin.is_none())
        else {
            return Ok(()); // a pass that was dropped, or that prerolled again
        };
        let now = clock::now();
        let begin = match planned {
            Some(planned) if planned + LATENESS >= now => planned,
            Some(_) | None => now,
        };
        pass.begin = Some(begin);
        pass.graph.play(begin).map_err(|error| error.to_string())?;
        self.open_next()
    }

    fn drained(&mut self, number: PassNumber, duration: gst::ClockTime) -> Result<(), String> {
        if duration.is_zero() {
            return Err(format!("{} has no pictures", self.path.display()));
        }
        if let Some(pass) = self.passes.iter_mut().find(|pass| pass.number == number) {
            pass.duration = Some(duration);
            self.duration = Some(duration);
        }
        self.open_next()
    }

    /// Opens the next pass once it is known when it begins.
    fn open_next(&mut self) -> Result<(), String> {
        let [pass] = self.passes.as_slice() else { return Ok(()) };
        let (Some(begin), Some(duration)) = (pass.begin, pass.duration) else { return Ok(()) };
        self.next_begin = Some(begin + duration);
        self.open().map_err(|error| with_causes(&error))
    }

    fn open(&mut self) -> Result<(), Error> {
        let pass = Pass::open(self, self.opened)?;
        self.opened += 1;
        self.passes.push(pass);
        Ok(())
    }
}

impl Pass {
    fn open(player: &Player, number: PassNumber) -> Result<Pass, Error> {
        plain_file::open(&player.path)?; // GStreamer would wait for a pipe's writer, and each pass opens it anew
        let graph = Graph::new("file");
        let uri = gst::glib::filename_to_uri(&player.path, None).map_err(|error| Error::Unavailable {
            what: player.path.display().to_string(),
            reason: error.to_string(),
        })?;
        let decode = graph::make("uridecodebin", |decode| decode.property("uri", uri.as_str()))?;
        graph.add(&[&decode])?;
        let branches = Branches {
            number,
            pipeline: graph.downgrade(),
            with_sound: player.with_sound,
            inputs: player.inputs.clone(),
            events: player.events.clone(),
            signals: player.signals.clone(),
            reading: Arc::new(Mutex::new(Reading { known_end: player.duration, ..Reading::default() })),
        };
        branches.watch(&decode);
        graph.pause()?;
        let signals = player.signals.clone();
        graph.on_report(move |report| {
            let signal = match report {
                Report::Failed { reason, .. } => Signal::Failed(reason),
                Report::Ended => Signal::Ended(number),
                Report::Prerolled => Signal::Prerolled(number),
            };
            send(&signals, signal);
        });
        Ok(Pass { number, graph, begin: None, duration: None })
    }
}

/// Connects what the decoder finds in the file.
#[derive(Clone)]
struct Branches {
    number: PassNumber,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    with_sound: bool,
    inputs: Inputs,
    events: EventSender,
    signals: mpsc::Sender<Signal>,
    reading: Arc<Mutex<Reading>>,
}

/// How far a pass is read.
#[derive(Default)]
struct Reading {
    picture: bool,
    sound: bool,
    /// The end of the last picture so far.
    end: gst::ClockTime,
    /// Where the pictures end, once they are all read, or as they did in the pass before.
    known_end: Option<gst::ClockTime>,
    is_drained: bool,
}

impl Reading {
    /// All pictures are read: the length of the pass, when that is news.
    fn drain(&mut self) -> Option<gst::ClockTime> {
        if self.is_drained {
            return None;
        }
        self.is_drained = true;
        self.known_end = Some(self.end);
        self.known_end
    }

    /// Whether sound that begins then comes behind the last picture.
    fn is_behind(&self, begin: gst::ClockTime) -> bool {
        self.known_end.is_some_and(|end| begin >= end)
    }
}

impl Branches {
    fn watch(&self, decode: &gst::Element) {
        let branches = self.clone();
        decode.connect_pad_added(move |_, pad| {
            if let Err(error) = branches.connect(pad) {
                send(&branches.signals, Signal::Failed(error.to_string()));
            }
        });
        let branches = self.clone();
        decode.connect_no_more_pads(move |_| branches.complete());
    }

    /// The first picture track and the first sound track are taken; whatever else is there stays unlinked.
    fn connect(&self, pad: &gst::Pad) -> Result<(), Error> {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps.structure(0).map(|format| format.name().as_str());
        let mut reading = self.reading();
        let elements = match kind {
            Some("video/x-raw") if !reading.picture => {
                reading.picture = true;
                self.picture_branch(&caps)?
            }
            Some("audio/x-raw") if self.with_sound && !reading.sound => {
                reading.sound = true;
                self.sound_branch()?
            }
            Some(_) | None => return Ok(()),
        };
        drop(reading);

        let Some(pipeline) = self.pipeline.upgrade() else { return Ok(()) }; // being stopped
        let not_linked = |source| Error::Assemble { graph: "file", source };
        let elements: Vec<_> = elements.iter().collect();
        graph::graft(&pipeline, &elements).map_err(not_linked)?;
        pad.link(&graph::pad(elements[0], "sink"))
            .map(drop)
            .map_err(|error| not_linked(gst::glib::bool_error!("decoded {kind:?}: {error}")))
    }

    fn picture_branch(&self, caps: &gst::Caps) -> Result<Vec<gst::Element>, Error> {
        let queue = Branches::read_ahead()?;
        self.measure(&graph::pad(&queue, "sink"));
        let (events, format) = (self.events.clone(), described(Some(caps)));
        let is_first_pass = self.number == 0;
        let sink = self.inputs.picture_sink(true, move || {
            if is_first_pass {
                events.send(MediaEvent::CaptureLive { format });
            }
        })?;
        let [rate, scale, filter] = normalised_picture(&self.inputs.formats)?;
        Ok(vec![rate, scale, filter, queue, sink])
    }

    fn sound_branch(&self) -> Result<Vec<gst::Element>, Error> {
        let queue = Branches::read_ahead()?;
        // Before it, so that nothing waits for its time in vain; behind it, for what went in before
        // the pictures' end was known.
        self.cut(&graph::pad(&queue, "sink"));
        self.cut(&graph::pad(&queue, "src"));
        let [convert, resample, filter] = normalised_sound(&self.inputs.formats)?;
        Ok(vec![convert, resample, filter, queue, self.inputs.sound_sink(true, || ())?])
    }

    /// What is ready but not yet due. When it is full, reading waits; nothing is lost.
    fn read_ahead() -> Result<gst::Element, Error> {
        graph::make("queue", |queue| {
            queue
                .property("max-size-time", READ_AHEAD.nseconds())
                .property("max-size-buffers", 0u32)
                .property("max-size-bytes", 0u32)
                .property("silent", true)
        })
    }

    /// Notes which pictures pass on the way into the queue, and tells when they have ended.
    fn measure(&self, pad: &gst::Pad) {
        let (branches, kinds) =
            (self.clone(), gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM);
        pad.add_probe(kinds, move |pad, info| {
            let mut reading = branches.reading();
            if let Some((_, end)) = info.buffer().and_then(|buffer| span(pad, buffer)) {
                reading.end = reading.end.max(end);
            }
            if info.event().is_some_and(|event| event.type_() == gst::EventType::Eos)
                && let Some(duration) = reading.drain()
            {
                send(&branches.signals, Signal::Drained(branches.number, duration));
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Lets no sound through that comes behind the last picture: the next pass has begun by then. The
    /// answer makes the reader go on to the file's end without it.
    fn cut(&self, pad: &gst::Pad) {
        let branches = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let begin = info.buffer().and_then(|buffer| span(pad, buffer)).map(|(begin, _)| begin);
            if begin.is_some_and(|begin| branches.reading().is_behind(begin)) {
                info.flow_res = Err(gst::FlowError::Eos);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tracks are known.
    fn complete(&self) {
        let reading = self.reading();
        if !reading.picture {
            send(&self.signals, Signal::Failed("the file has no picture track".to_owned()));
        } else if self.with_sound && !reading.sound && self.number == 0 {
            self.events.send(MediaEvent::SoundMissing { reason: "the file has no sound track".to_owned() });
        }
    }
}

/// The running times at which a buffer begins and ends.
fn span(pad: &gst::Pad, buffer: &gst::Buffer) -> Option<(gst::ClockTime, gst::ClockTime)> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let begin = buffer.pts()?;
    let end = begin + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
    Some((segment.to_running_time(begin)?, segment.to_running_time(end)?))
}

fn send(signals: &mpsc::Sender<Signal>, signal: Signal) {
    if signals.send(signal).is_err() {
        log::debug!("the file's thread has ended"); // it failed before, and said so
    }
}

/// Covers the opening of the next pass (20 to 100 ms, more on a small machine) with few pictures:
/// 720p takes 1.4 MB each.
const READ_AHEAD: gst::ClockTime = gst::ClockTime::from_mseconds(250);

/// A pass that is ready later than planned by more than this begins when it is ready, with a gap;
/// by less, its first pictures come late, but at their planned times.
const LATENESS: gst::ClockTime = gst::ClockTime::from_mseconds(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_end_once_and_sound_behind_them_is_cut_off() {
        let seconds = gst::ClockTime::from_seconds;
        let mut reading = Reading { end: seconds(2), ..Reading::default() };
        assert!(!reading.is_behind(seconds(3)), "the end is not known yet");
        assert_eq!(reading.drain(), Some(seconds(2)));
        assert_eq!(reading.drain(), None, "a second end of stream is no news");
        assert!(reading.is_behind(seconds(2)) && !reading.is_behind(seconds(1)));
        let next = Reading { known_end: Some(seconds(2)), ..Reading::default() };
        assert!(next.is_behind(seconds(2)), "known from the pass before");
    }
}
