//! The slate: what is on air while the source gives nothing.
//!
//! A thread that sleeps until it is shown, and then pushes one picture at the stream's frame rate:
//! a dark one with the reason and the time of day (drawn anew once a second), the last live frame,
//! or the owner's picture. While it is not shown it costs nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::event::Report;
use super::format::Formats;
use super::graph::{self, Graph};
use super::homecoming;
use super::inputs::offer;
use super::plain_file;
use crate::causes::with_causes;
use crate::config;

/// The slate of one encode pipeline. Dropping it ends its thread.
pub(super) struct Slate {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    easel: Easel,
    /// As told last.
    wanted: Mutex<config::Slate>,
}

/// Where the slate's pictures go.
pub(super) struct Outlet {
    pub(super) inlet: gst_app::AppSrc,
    /// Makes the switch take the slate's pictures.
    pub(super) switch_to_slate: Box<dyn Fn() + Send>,
    /// Makes the switch take the live pictures.
    pub(super) switch_to_live: Box<dyn Fn() + Send>,
    /// Time of the picture that left the switch last, on the shared clock.
    pub(super) last_out: Arc<AtomicU64>,
}

/// The newest live frame, kept while the slate is to hold it.
#[derive(Clone, Default)]
pub(super) struct Held {
    newest: Arc<Mutex<Option<gst::Buffer>>>,
    is_wanted: Arc<AtomicBool>,
}

enum Order {
    Show { reason: String },
    Live,
    Change { to: mpsc::Receiver<Face> },
}

/// What is pushed.
enum Face {
    Text(Box<TextPainter>),
    Hold { held: Held, before: gst::Buffer },
    Picture(gst::Buffer),
}

/// The face in use, and one that is still being made.
struct Faces {
    face: Face,
    coming: Option<mpsc::Receiver<Face>>,
    held: Held,
}

/// What faces are made with.
#[derive(Clone)]
struct Easel {
    formats: Formats,
    dark: gst::Buffer,
    held: Held,
}

impl Slate {
    /// Never fails because of what the slate is to show: where that does not come, it stays dark.
    pub(super) fn start(
        video: &config::Video,
        formats: &Formats,
        held: Held,
        outlet: Outlet,
    ) -> Result<Slate, Error> {
        let easel = Easel { formats: formats.clone(), dark: dark(formats)?, held };
        let faces = Faces::first(&easel, &video.slate, PATIENCE)?;
        let frame = gst::ClockTime::try_from(video.framerate.frame_duration())
            .expect("a frame lasts at most a second");
        let (orders, inbox) = mpsc::channel();
        let mut painter = Pusher { faces, outlet, frame, shown: None };
        let thread = thread::Builder::new()
            .name("slate".to_owned())
            .spawn(move || painter.run(&inbox))
            .map_err(|source| Error::Thread { name: "slate", source })?;
        let wanted = Mutex::new(video.slate.clone());
        Ok(Slate { orders: Some(orders), thread: Some(thread), easel, wanted })
    }

    /// Another slate, also while it is on air. Until it is ready the one before is shown, and where it cannot
    /// be made, for good: the log says so. Does not block.
    ///
    /// # Errors
    /// When there is no thread to make it on: then all stays as it is.
    pub(super) fn change(&self, to: &config::Slate) -> Result<(), Error> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *wanted != *to {
            let face = self.easel.make_aside(to, "the slate stays as it was")?;
            *wanted = to.clone();
            self.order(Order::Change { to: face });
        }
        Ok(())
    }

    /// Puts the slate on air, or changes its reason.
    pub(super) fn show(&self, reason: String) {
        self.order(Order::Show { reason });
    }

    /// Puts the live pictures on air.
    pub(super) fn hide(&self) {
        self.order(Order::Live);
    }

    fn order(&self, order: Order) {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if !sent {
            log::error!("the slate's thread has ended");
        }
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the slate's thread panicked");
        }
    }
}

impl Held {
    /// A live frame; it is asked for only where the slate may need it.
    pub(super) fn keep(&self, frame: impl FnOnce() -> Option<gst::Buffer>) {
        if self.is_wanted.load(Ordering::Relaxed)
            && let Some(frame) = frame()
        {
            *self.lock() = Some(frame);
        }
    }

    fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
        if !is_wanted {
            *self.lock() = None;
        }
    }

    /// From now on it is in memory of our own: it may be shown for days, and its camera cannot wait for it.
    fn newest(&self) -> Option<gst::Buffer> {
        let mut held = self.lock();
        if let Some(picture) = held.as_mut() {
            homecoming::leave_device(picture);
        }
        held.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<gst::Buffer>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's state.
struct Pusher {
    faces: Faces,
    outlet: Outlet,
    frame: gst::ClockTime,
    /// The reason on air, the time of the next picture, and the second that the clock shows.
    shown: Option<Shown>,
}

struct Shown {
    reason: String,
    next: gst::ClockTime,
    /// The picture in use and the time that stands on it.
    drawn: Option<(String, gst::Buffer)>,
}

impl Pusher {
    fn run(&mut self, inbox: &mpsc::Receiver<Order>) {
        loop {
            let order = match &self.shown {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(shown) => inbox.recv_timeout(until(shown.next)),
            };
            match order {
                Ok(Order::Show { reason }) => self.show(reason),
                Ok(Order::Live) => {
                    self.shown = None;
                    (self.outlet.switch_to_live)();
                }
                Ok(Order::Change { to }) => self.faces.await_next(to),
                Err(RecvTimeoutError::Timeout) => self.push(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn show(&mut self, reason: String) {
        match &mut self.shown {
            Some(shown) if shown.reason == reason => {}
            Some(shown) => {
                shown.reason = reason;
                shown.drawn = None;
            }
            None => {
                let next = self.first_time();
                self.shown = Some(Shown { reason, next, drawn: None });
                (self.outlet.switch_to_slate)();
            }
        }
    }

    /// One frame after the last live one where that was just now, so that the rate stays steady.
    fn first_time(&self) -> gst::ClockTime {
        let now = clock::now();
        let follows =
            gst::ClockTime::from_nseconds(self.outlet.last_out.load(Ordering::Relaxed)) + self.frame;
        if follows + SEAMLESS >= now { follows } else { now }
    }

    fn push(&mut self) {
        let Some(shown) = &mut self.shown else { return };
        let mut picture = self.faces.picture(shown);
        let header = picture.make_mut();
        header.set_pts(shown.next);
        header.set_dts(gst::ClockTime::NONE);
        header.set_duration(self.frame);
        shown.next = (shown.next + self.frame).max(clock::now().saturating_sub(SEAMLESS));
        match offer(&self.outlet.inlet, picture) {
            Ok(_) => {} // lost where the encoder does not keep up; the next one follows
            Err(error) => log::debug!("slate not taken: {error}"), // the pipeline is stopping
        }
    }
}

impl Easel {
    /// Makes a face on a thread that nobody waits for: fonts, a large photograph or a file server may take theirs.
    /// `otherwise` is said where it cannot be made.
    fn make_aside(
        &self,
        slate: &config::Slate,
        otherwise: &'static str,
    ) -> Result<mpsc::Receiver<Face>, Error> {
        let (made, face) = mpsc::sync_channel(1);
        let (easel, slate) = (self.clone(), slate.clone());
        let work = move || match easel.make(slate) {
            Ok(face) => {
                if made.send(face).is_err() {
                    log::debug!("the slate is ready, and not needed any more");
                }
            }
            Err(error) => log::warn!(error:% = with_causes(&error); "{otherwise}"),
        };
        thread::Builder::new()
            .name("slate face".to_owned())
            .spawn(work)
            .map_err(|source| Error::Thread { name: "slate face", source })?;
        Ok(face)
    }

    fn make(self, slate: config::Slate) -> Result<Face, Error> {
        Ok(match slate {
            config::Slate::Hold => {
                self.held.want(true);
                Face::Hold { held: self.held, before: self.dark }
            }
            config::Slate::Text => Face::Text(Box::new(TextPainter::new(&self.formats, self.dark)?)),
            config::Slate::Picture(path) => Face::Picture(picture(&path, &self.formats)?),
        })
    }
}

impl Faces {
    /// A dark one, where the right one is not there within `patience`.
    fn first(easel: &Easel, slate: &config::Slate, patience: Duration) -> Result<Faces, Error> {
        let coming = easel.make_aside(slate, "the slate stays dark")?;
        let (held, dark) = (easel.held.clone(), Face::Picture(easel.dark.clone()));
        Ok(match coming.recv_timeout(patience) {
            Ok(face) => Faces { face, coming: None, held },
            Err(RecvTimeoutError::Disconnected) => Faces { face: dark, coming: None, held },
            Err(RecvTimeoutError::Timeout) => {
                log::warn!("the slate is not ready yet: it is dark until it is");
                Faces { face: dark, coming: Some(coming), held }
            }
        })
    }

    /// One that was to come before is not needed any more.
    fn await_next(&mut self, face: mpsc::Receiver<Face>) {
        self.coming = Some(face);
    }

    /// The picture to show now. Cloned buffers share their pixels.
    fn picture(&mut self, shown: &mut Shown) -> gst::Buffer {
        if let Some(face) = self.coming.as_ref().and_then(|coming| coming.try_recv().ok()) {
            self.held.want(matches!(face, Face::Hold { .. }));
            *self = Faces { face, coming: None, held: self.held.clone() };
            shown.drawn = None;
        }
        match &mut self.face {
            Face::Picture(picture) => picture.clone(),
            Face::Hold { held, before } => held.newest().unwrap_or_else(|| before.clone()),
            Face::Text(painter) => {
                let time = painter.time_of_day();
                if let Some((drawn_at, picture)) = &shown.drawn
                    && *drawn_at == time
                {
                    return picture.clone();
                }
                let picture = painter.draw(&shown.reason, &time);
                shown.drawn = Some((time, picture.clone()));
                picture
            }
        }
    }
}

/// Draws text on a dark picture.
struct TextPainter {
    /// Running from the start, so that fonts are loaded before the slate is needed.
    _graph: Graph,
    background: gst::Buffer,
    inlet: gst_app::AppSrc,
    text: gst::Element,
    outlet: gst_app::AppSink,
    /// So many were begun; each carries its number as its time.
    drawings: u64,
    /// The one that has not come out yet.
    under_way: Option<gst::ClockTime>,
}

impl TextPainter {
    fn new(formats: &Formats, background: gst::Buffer) -> Result<TextPainter, Error> {
        let graph = Graph::new("slate text");
        let inlet = gst_app::AppSrc::builder()
            .caps(&formats.picture)
            .format(gst::Format::Time)
            .max_bytes(0)
            .max_buffers(1)
            .build();
        let text = graph::make("textoverlay", |text| {
            text.property_from_str("halignment", "center")
                .property_from_str("valignment", "center")
                .property_from_str("line-alignment", "center")
                .property_from_str("wrap-mode", "wordchar")
                .property("font-desc", FONT)
                .property("shaded-background", false)
        })?;
        let outlet = gst_app::AppSink::builder().sync(false).async_(false).enable_last_sample(false).build();
        graph.chain(&[inlet.upcast_ref(), &text, outlet.upcast_ref()])?;
        graph.play(gst::ClockTime::ZERO)?;
        let mut painter =
            TextPainter { background, _graph: graph, inlet, text, outlet, drawings: 0, under_way: None };
        painter
            .try_draw("", "00:00:00", DRAWING_LIMIT)
            .ok_or_else(|| Error::Slate { reason: "no text can be drawn".to_owned() })?;
        Ok(painter)
    }

    fn time_of_day(&self) -> String {
        match gst::glib::DateTime::now_local().and_then(|now| now.format("%H:%M:%S")) {
            Ok(time) => time.to_string(),
            Err(_) => String::new(), // no time zone data and no UTC either: the reason alone
        }
    }

    fn draw(&mut self, reason: &str, time: &str) -> gst::Buffer {
        self.try_draw(reason, time, REDRAWING_LIMIT).unwrap_or_else(|| {
            log::warn!("the slate's text was not drawn in time");
            self.background.clone()
        })
    }

    fn try_draw(&mut self, reason: &str, time: &str, limit: gst::ClockTime) -> Option<gst::Buffer> {
        let number = self.begin(reason, time)?;
        let deadline = clock::now() + limit;
        loop {
            let sample = self.outlet.try_pull_sample(deadline.saturating_sub(clock::now()))?;
            let drawn = sample.buffer_owned()?;
            drop(sample);
            if drawn.pts() == Some(number) {
                self.under_way = None;
                return Some(drawn);
            }
        }
    }

    /// Whether every drawing has come out; one that came too late is thrown away.
    fn is_idle(&mut self) -> bool {
        while let Some(number) = self.under_way {
            let Some(late) = self.outlet.try_pull_sample(gst::ClockTime::ZERO) else { return false };
            if late.buffer().and_then(|drawn| drawn.pts()) == Some(number) {
                self.under_way = None;
            }
        }
        true
    }

    /// Has a drawing made, and gives its number. None: the one before is not drawn yet.
    fn begin(&mut self, reason: &str, time: &str) -> Option<gst::ClockTime> {
        // textoverlay forgets a text that is set while it draws another.
        if !self.is_idle() {
            return None;
        }
        let reason = gst::glib::markup_escape_text(reason);
        self.text.set_property("text", format!("{reason}\n<small>{time}</small>"));
        self.drawings += 1;
        let number = gst::ClockTime::from_nseconds(self.drawings);
        let mut blank = self.background.clone();
        blank.make_mut().set_pts(number);
        self.under_way = offer(&self.inlet, blank).ok()?.then_some(number);
        self.under_way
    }
}

/// A dark picture.
fn dark(formats: &Formats) -> Result<gst::Buffer, Error> {
    let graph = Graph::new("slate background");
    let source = graph::make("videotestsrc", |source| {
        source
            .property_from_str("pattern", "solid-color")
            .property("foreground-color", DARK)
            .property("num-buffers", 1)
    })?;
    let (filter, sink) = (graph::only(&formats.picture)?, still_sink());
    graph.chain(&[&source, &filter, sink.upcast_ref()])?;
    first_picture(&graph, &sink, BACKGROUND_LIMIT, "the background was not made")
}

/// The owner's picture, fitted into the frame.
pub(super) fn picture(path: &Path, formats: &Formats) -> Result<gst::Buffer, Error> {
    plain_file::open(path)?; // GStreamer would wait for a pipe's writer
    let graph = Graph::new("slate picture");
    let uri =
        gst::glib::filename_to_uri(path, None).map_err(|error| Error::Slate { reason: error.to_string() })?;
    let decode = graph::make("uridecodebin", |decode| decode.property("uri", uri.as_str()))?;
    let scale = graph::make("videoconvertscale", |scale| scale.property("add-borders", true))?;
    let freeze = graph::plain("imagefreeze")?;
    let (filter, sink) = (graph::only(&formats.picture)?, still_sink());
    graph.add(&[&decode])?;
    graph.chain(&[&scale, &freeze, &filter, sink.upcast_ref()])?;
    let entry = graph::pad(&scale, "sink");
    decode.connect_pad_added(move |_, pad| {
        if !entry.is_linked()
            && let Err(error) = pad.link(&entry)
        {
            log::debug!(pad:? = pad.name(); "not the slate's picture: {error}");
        }
    });
    let otherwise = format!("{} is no picture that GStreamer decodes", path.display());
    first_picture(&graph, &sink, DRAWING_LIMIT, &otherwise)
}

fn still_sink() -> gst_app::AppSink {
    gst_app::AppSink::builder().sync(false).max_buffers(1).enable_last_sample(false).build()
}

fn first_picture(
    graph: &Graph,
    sink: &gst_app::AppSink,
    limit: gst::ClockTime,
    otherwise: &str,
) -> Result<gst::Buffer, Error> {
    graph.play(gst::ClockTime::ZERO)?;
    let deadline = clock::now() + limit;
    let (failed, failure) = mpsc::channel();
    graph.on_report(move |report| {
        if let Report::Failed { reason, .. } = report
            && failed.send(reason).is_err()
        {
            log::debug!("a slate's pipeline failed after its picture");
        }
    });
    while clock::now() < deadline {
        if let Some(sample) = sink.try_pull_sample(GLANCE) {
            return sample.buffer_owned().ok_or_else(|| Error::Slate { reason: otherwise.to_owned() });
        }
        if let Ok(reason) = failure.try_recv() {
            return Err(Error::Slate { reason: format!("{otherwise}: {reason}") });
        }
    }
    Err(Error::Slate { reason: otherwise.to_owned() })
}

/// How long to wait for a time on the shared clock.
fn until(time: gst::ClockTime) -> Duration {
    time.saturating_sub(clock::now()).into()
}

/// Larger than the capture delay of a USB camera (a few frames).
const SEAMLESS: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// One picture takes milliseconds; decoding a large photograph on a small machine, a second or two.
const DRAWING_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// A plain picture takes no longer unless the machine is stuck.
const BACKGROUND_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// How often to look whether a picture that does not come has failed.
const GLANCE: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// So long may the slate hold up the stream's start.
const PATIENCE: Duration = Duration::from_secs(1);

/// With fonts loaded, text takes a few milliseconds; beyond this, the picture goes without.
const REDRAWING_LIMIT: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// Alpha, red, green, blue.
const DARK: u32 = 0xff10_1418;

/// textoverlay scales it with the picture.
const FONT: &str = "Sans 16";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_that_came_too_late_is_not_taken_for_the_next() {
        let mut painter = TextPainter::new(&formats(), dark(&formats()).unwrap()).unwrap();
        let expected = painter.try_draw("second", "00:00:00", DRAWING_LIMIT).unwrap();
        assert!(painter.begin("first", "00:00:00").is_some(), "begun, and not waited for");
        let drawn = loop {
            // While the first is still being drawn there is no room for another.
            if let Some(drawn) = painter.try_draw("second", "00:00:00", DRAWING_LIMIT) {
                break drawn;
            }
        };
        assert!(pixels(&drawn) == pixels(&expected));
    }

    #[test]
    fn what_the_slate_shows_never_holds_it_up() {
        let (easel, mut shown) = (easel(), shown());
        let plain = easel.dark.as_ptr();
        let text = config::Slate::Text;
        let mut faces = Faces::first(&easel, &text, Duration::ZERO).unwrap();
        let first = faces.picture(&mut shown).as_ptr();
        assert!(first == plain || matches!(faces.face, Face::Text(_)), "dark, or fonts were quick");
        until_shown(&mut faces, &mut shown, |face| matches!(face, Face::Text(_)));

        let missing = config::Slate::Picture("/nonexistent.png".into());
        let mut faces = Faces::first(&easel, &missing, PATIENCE).unwrap();
        assert_eq!(faces.picture(&mut shown).as_ptr(), plain);
    }

    #[test]
    fn another_slate_takes_its_place_when_it_is_ready() {
        let (easel, mut shown) = (easel(), shown());
        let mut faces = Faces::first(&easel, &config::Slate::Text, DRAWING_LIMIT.into()).unwrap();
        let text = pixels(&faces.picture(&mut shown));
        let live = gst::Buffer::from_slice([7; 4]);
        easel.held.keep(|| panic!("nobody holds one"));

        let (late, never) = mpsc::sync_channel(1);
        faces.await_next(never);
        assert!(pixels(&faces.picture(&mut shown)) == text, "the one before, until then");
        faces.await_next(easel.make_aside(&config::Slate::Hold, "not").unwrap());
        assert!(late.send(Face::Picture(live.clone())).is_err(), "it is not needed any more");
        until_shown(&mut faces, &mut shown, |face| matches!(face, Face::Hold { .. }));
        assert_eq!(faces.picture(&mut shown).as_ptr(), easel.dark.as_ptr(), "there was no frame yet");
        easel.held.keep(|| Some(live.clone()));
        assert!(pixels(&faces.picture(&mut shown)) == [7; 4]);

        let missing = config::Slate::Picture("/nonexistent.png".into());
        let failing = easel.make_aside(&missing, "not").unwrap();
        let (gone, ended) = (failing.recv(), mpsc::channel().1);
        assert!(gone.is_err());
        faces.await_next(ended);
        assert!(pixels(&faces.picture(&mut shown)) == [7; 4], "what cannot be made changes nothing");
        faces.await_next(easel.make_aside(&config::Slate::Text, "not").unwrap());
        until_shown(&mut faces, &mut shown, |face| matches!(face, Face::Text(_)));
        assert!(easel.held.newest().is_none(), "a camera's memory is not kept for nobody");
    }

    fn until_shown(faces: &mut Faces, shown: &mut Shown, is_it: fn(&Face) -> bool) {
        let limit = clock::now() + DRAWING_LIMIT;
        while !is_it(&faces.face) {
            assert!(clock::now() < limit, "it comes as soon as it is ready");
            faces.picture(shown);
        }
    }

    fn shown() -> Shown {
        Shown { reason: "no signal".to_owned(), next: gst::ClockTime::ZERO, drawn: None }
    }

    fn easel() -> Easel {
        let formats = formats();
        Easel { dark: dark(&formats).unwrap(), formats, held: Held::default() }
    }

    fn pixels(picture: &gst::Buffer) -> Vec<u8> {
        picture.map_readable().unwrap().to_vec()
    }

    fn formats() -> Formats {
        crate::media::init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\n\
                        [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n";
        let streams = config::parse(document).unwrap().streams;
        Formats::of(&streams.values().next().unwrap().video, "I420")
    }
}
