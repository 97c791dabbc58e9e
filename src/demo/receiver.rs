//! The demonstration's receiver: GStreamer's `srtsrc`, so that libsrt judges what our sender sends.
//!
//! What comes out of it goes to the [`Checker`] and, where asked for, into a file. It listens, and
//! goes on listening when its caller has gone, as a studio's ingest does (`keep-listening`). Two
//! things follow from GStreamer 1.22:
//! - `srtsrc`'s property `stats` is never read: asked for while the caller is going, it frees the
//!   caller beside the thread that waits for it, which then fails with "Invalid epoll ID" or waits
//!   for ever. Gaps are told by the buffers, the rest by the sender and the link.
//! - Should `srtsrc` fail all the same, a thread starts it again.

mod watch;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use thiserror::Error;

use self::watch::{Watch, described};
use super::alignment::Alignment;
use super::checker::{self, Checker, TICKS_PER_SECOND, Ticks};
use super::decode::Decoder;
use crate::config::KeyLength;
use crate::units::ByteCount;

/// A running receiver; dropping it stops it.
pub struct Receiver {
    pipeline: gst::Pipeline,
    address: SocketAddr,
    shared: Arc<Shared>,
    watch: Option<Watch>,
}

/// What to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free one, see [`Receiver::address`].
    pub listen: SocketAddr,
    /// What we ask of the sender; the larger of both wishes holds. Whole milliseconds.
    pub latency: Duration,
    pub encryption: Option<(String, KeyLength)>,
    /// Where the stream is written to as it arrives; an existing file is replaced.
    pub save: Option<PathBuf>,
}

/// What was received so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reception {
    pub stream: checker::Report,
    pub srt: SrtReport,
    /// From capture to delivery. Absent where the stream's time stamps are not on this machine's
    /// monotonic clock, as with a sender in another process.
    pub delay: Option<Delay>,
    /// How far the sound is from the picture; absent where nobody [looked](Receiver::watch_marks), or before
    /// the first mark.
    pub alignment: Option<Alignment>,
    /// What the saved file holds.
    pub saved: ByteCount,
    /// Why saving has stopped.
    pub save_error: Option<String>,
    /// Why receiving has stopped.
    pub failure: Option<String>,
}

/// What libsrt has released at once: a message of SRT, as the sender made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// On this machine's monotonic clock.
    pub at: Duration,
    /// When the sender gave it to SRT, by the sender's time stamps: on a clock whose zero is not known,
    /// and another one after each new connection.
    pub sent: Option<Duration>,
    /// Whether packets before it were given up, or a connection began.
    pub gap: bool,
    pub bytes: Vec<u8>,
}

/// What libsrt's side of the connections was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrtReport {
    /// Connections accepted.
    pub connections: u64,
    /// Times that packets were given up as too late, or a new connection begun: gaps that libsrt knew of.
    pub gaps: u64,
    /// Times that `srtsrc` failed and was started again.
    pub restarts: u32,
}

/// From the capture of a frame to the arrival of its last byte behind the receiver's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    pub newest: Duration,
    pub smallest: Duration,
    pub largest: Duration,
}

/// Why a receiver cannot start.
#[derive(Debug, Error)]
pub enum Error {
    #[error("GStreamer has no element {name}; the package {package} holds it")]
    ElementMissing { name: &'static str, package: &'static str, source: glib::BoolError },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot write {}", path.display())]
    Save { path: PathBuf, source: io::Error },
    #[error("cannot build the receiver's pipeline")]
    Build(#[from] glib::BoolError),
    #[error("cannot start the receiver's pipeline: {reason}")]
    Start { reason: String, source: gst::StateChangeError },
    #[error("cannot start the thread that watches the receiver")]
    Thread(#[source] io::Error),
}

impl Receiver {
    /// Listens from now on. GStreamer must have been initialised.
    pub fn start(options: &Options) -> Result<Receiver, Error> {
        let address = free_address(options.listen)
            .map_err(|source| Error::Listen { address: options.listen, source })?;
        let file = match &options.save {
            Some(path) => {
                let file = File::create(path).map_err(|source| Error::Save { path: path.clone(), source })?;
                Some(BufWriter::with_capacity(FILE_BUFFER_BYTES, file))
            }
            None => None,
        };
        let shared = Arc::new(Shared(Mutex::new(State { file, ..State::default() })));
        let source = srt_source(address, options)?;
        let sink = gst_app::AppSink::builder().sync(false).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, sink.upcast_ref()])?;
        source.link(&sink)?;
        sink.set_callbacks(callbacks(&shared));
        watch_callers(&source, &shared);
        // Only the watch takes messages away, the one that ends it included.
        pipeline.set_auto_flush_bus(false);
        let bus = pipeline.bus().ok_or_else(|| glib::bool_error!("a pipeline without a bus"))?;
        let mut receiver = Receiver { pipeline, address, shared, watch: None };
        receiver.pipeline.set_state(gst::State::Playing).map_err(|source| {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            let reason = error.as_ref().map_or("no reason given".to_owned(), described);
            Error::Start { reason, source }
        })?;
        let watch = Watch::start(receiver.pipeline.clone(), bus, Arc::clone(&receiver.shared));
        receiver.watch = Some(watch.map_err(Error::Thread)?);
        Ok(receiver)
    }

    /// Where the sender has to call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was received until now.
    pub fn report(&self) -> Reception {
        self.shared.state().reception(now())
    }

    /// Keeps every message from now on, up to [`MAX_MESSAGES`] of them until they are
    /// [taken](Receiver::take_record); later ones are left out of it.
    pub fn record(&self) {
        self.shared.state().record.get_or_insert_default();
    }

    /// The messages kept since the last time, in order.
    pub fn take_record(&self) -> Vec<Message> {
        self.shared.state().record.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Decodes what comes from now on until enough marks of the test source were found, to tell how far the
    /// sound is from the picture.
    ///
    /// # Errors
    /// When the machine lacks an element.
    pub fn watch_marks(&self) -> Result<(), Error> {
        self.shared.state().decoder = Some(Decoder::start()?);
        Ok(())
    }

    /// Stops, and reports the whole. What libsrt still holds back until its time has come is lost:
    /// leave it the latency after the sender has finished.
    pub fn stop(mut self) -> Reception {
        self.halt();
        let mut state = self.shared.state();
        if let Some(mut file) = state.file.take()
            && let Err(error) = file.flush()
        {
            state.save_failed(&error);
        }
        if let Some(decoder) = state.decoder.take() {
            state.alignment = decoder.finish();
        }
        state.reception(now())
    }

    fn halt(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            log::warn!(error:%; "the receiver's pipeline did not stop");
        }
        // A message on the bus keeps its sender alive, and the pipeline keeps the bus. libsrt is only
        // shut down in order once its last element has gone, and else fails at the process's exit.
        if let Some(bus) = self.pipeline.bus() {
            bus.set_flushing(true);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.halt();
    }
}

struct Shared(Mutex<State>);

impl Shared {
    /// The state stays usable after a panic elsewhere.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    checker: Checker,
    file: Option<BufWriter<File>>,
    saved: u64,
    save_error: Option<String>,
    failure: Option<String>,
    srt: SrtReport,
    /// Something has arrived over the connection that there is now.
    receiving: bool,
    /// At most [`MAX_MESSAGES`], newcomers lose; `None` where nobody wants them.
    record: Option<Vec<Message>>,
    /// While marks are looked for.
    decoder: Option<Decoder>,
    alignment: Option<Alignment>,
}

impl State {
    fn take(&mut self, at: Duration, buffer: &gst::BufferRef) {
        // The first buffer of a connection may be marked as well.
        let gap = buffer.flags().contains(gst::BufferFlags::DISCONT) || !self.receiving;
        if gap && self.receiving {
            self.gap();
        }
        self.receiving = true;
        let bytes = match buffer.map_readable() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failure.get_or_insert_with(|| format!("a received buffer cannot be read: {error}"));
                return;
            }
        };
        self.checker.feed(at, &bytes);
        if let Some(decoder) = &self.decoder {
            decoder.feed(&bytes); // what it has no room for costs marks, and more of them come
            self.alignment = decoder.alignment();
            if self.alignment.is_some_and(|found| found.marks >= ENOUGH_MARKS) {
                self.decoder = None;
            }
        }
        if let Some(record) = &mut self.record
            && record.len() < MAX_MESSAGES
        {
            record.push(Message { at, sent: buffer.pts().map(Into::into), gap, bytes: bytes.to_vec() });
        }
        if let Some(file) = &mut self.file {
            match file.write_all(&bytes) {
                Ok(()) => self.saved += bytes.len() as u64,
                Err(error) => self.save_failed(&error),
            }
        }
    }

    fn gap(&mut self) {
        self.srt.gaps += 1;
        self.checker.gap();
    }

    /// What was under way between two connections is missing.
    fn connected(&mut self) {
        self.srt.connections += 1;
        if self.srt.connections > 1 {
            self.gap();
        }
        self.receiving = false;
    }

    fn save_failed(&mut self, error: &io::Error) {
        log::error!(error:%; "saving the received stream has stopped");
        self.save_error = Some(error.to_string());
        self.file = None;
    }

    fn reception(&self, now: Duration) -> Reception {
        let stream = self.checker.report(now);
        Reception {
            delay: stream.video.or(stream.audio).and_then(|track| track.lag).and_then(Delay::of),
            stream,
            srt: self.srt,
            alignment: self.alignment,
            saved: ByteCount::new(self.saved),
            save_error: self.save_error.clone(),
            failure: self.failure.clone(),
        }
    }
}

impl Delay {
    /// The delay that a lag is, if the time stamps count the monotonic clock, as those of our own mux
    /// do, or an hour more, as those of `mpegtsmux` do; what is left must not be hours.
    fn of(lag: checker::Lag) -> Option<Delay> {
        [Ticks::new(0), MPEGTSMUX_OFFSET].into_iter().find_map(|offset| {
            let since_capture = |lag: Ticks| {
                let ticks = Ticks::new(lag.value() + offset.value()).value();
                let delay = Duration::from_nanos(ticks * 100_000 / 9);
                (delay <= LONGEST_DELAY).then_some(delay)
            };
            let (newest, smallest) = (since_capture(lag.newest)?, since_capture(lag.smallest)?);
            Some(Delay { newest, smallest, largest: smallest + lag.spread })
        })
    }
}

fn srt_source(address: SocketAddr, options: &Options) -> Result<gst::Element, Error> {
    let name = "srtsrc";
    let missing = |source| Error::ElementMissing { name, package: "gstreamer1.0-plugins-bad", source };
    let latency = i32::try_from(options.latency.as_millis()).unwrap_or(i32::MAX);
    let source = gst::ElementFactory::make(name).build().map_err(missing)?;
    source.set_property_from_str("mode", "listener");
    source.set_property("localaddress", address.ip().to_string());
    source.set_property("localport", u32::from(address.port()));
    source.set_property("latency", latency);
    source.set_property("keep-listening", true);
    if let Some((passphrase, key_length)) = &options.encryption {
        source.set_property("passphrase", passphrase);
        let bytes = match key_length {
            KeyLength::Aes128 => "16",
            KeyLength::Aes192 => "24",
            KeyLength::Aes256 => "32",
        };
        source.set_property_from_str("pbkeylen", bytes);
    }
    Ok(source)
}

fn callbacks(shared: &Arc<Shared>) -> gst_app::AppSinkCallbacks {
    let shared = Arc::clone(shared);
    gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let at = now();
            if let Some(buffer) = sample.buffer() {
                shared.state().take(at, buffer);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build()
}

fn watch_callers(source: &gst::Element, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    source.connect("caller-added", false, move |_| {
        shared.state().connected();
        None
    });
}

/// The monotonic clock, which GStreamer's system clock is, and with it the senders' time stamps.
fn now() -> Duration {
    gst::SystemClock::obtain().time().into()
}

/// `srtsrc` does not tell which port it was given for 0, so that a free one is chosen here. Another
/// process may take it before `srtsrc` does; then the start fails.
fn free_address(listen: SocketAddr) -> io::Result<SocketAddr> {
    match listen.port() {
        0 => UdpSocket::bind((listen.ip(), 0))?.local_addr(),
        _ => Ok(listen),
    }
}

/// Added by `mpegtsmux` to every running time (an hour, so that a DTS can lie before zero; seen in
/// 1.22: the first PTS of a stream is 3600 s).
const MPEGTSMUX_OFFSET: Ticks = Ticks::new(3600 * TICKS_PER_SECOND);
/// Anything above is not a delay but another clock.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Half a minute's: decoding costs as much as encoding on a small machine, and more of them say no more.
const ENOUGH_MARKS: u64 = 30;
/// Messages: seven minutes at 6 Mbit/s, 340 MB.
const MAX_MESSAGES: usize = 1 << 18;
/// A third of a second at 6 Mbit/s.
const FILE_BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
