//! A live source of sound, opened anew when it fails: the picture beside it goes on meanwhile.
//!
//! ```text
//! open ──failed──▶ waiting (half a second, then a second) ──▶ open
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use super::clock;
use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::graph::Graph;

/// Sound that is kept going. Dropping it stops it.
pub(super) struct LiveSound {
    signals: mpsc::Sender<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// How one opened source tells what becomes of it.
#[derive(Clone)]
pub(super) struct Teller {
    attempt: u64,
    signals: mpsc::Sender<Signal>,
    /// When it gave sound last, on the shared clock; 0 before.
    heard: Arc<AtomicU64>,
}

enum Signal {
    Stop,
    /// The first sound of this attempt came, in this format.
    Sounding(u64, String),
    Failed(u64, String),
}

impl LiveSound {
    /// `open` builds and starts the source; here the first time, later on a thread of its own. How it
    /// went is told as [`MediaEvent::SoundFailed`], once for each reason, and [`MediaEvent::SoundLive`].
    pub(super) fn start(
        open: impl FnMut(Teller) -> Result<Graph, Error> + Send + 'static,
        events: &EventSender,
    ) -> Result<LiveSound, Error> {
        let (signals, inbox) = mpsc::channel();
        let mut keeper = Keeper {
            open,
            events: events.clone(),
            signals: signals.clone(),
            graph: None,
            attempt: 0,
            told: None,
            retry: Retry::default(),
            heard: Arc::default(),
            due: None,
        };
        keeper.open();
        let thread = thread::Builder::new()
            .name("sound".to_owned())
            .spawn(move || keeper.run(&inbox))
            .map_err(|source| Error::Thread { name: "sound", source })?;
        Ok(LiveSound { signals, thread: Some(thread) })
    }
}

impl Drop for LiveSound {
    fn drop(&mut self) {
        let stopped = self.signals.send(Signal::Stop).is_ok();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!(stopped; "the sound's thread panicked");
        }
    }
}

impl Teller {
    /// In the format that the source gives.
    pub(super) fn sounding(&self, format: String) {
        self.send(Signal::Sounding(self.attempt, format));
    }

    /// Sound came.
    pub(super) fn heard(&self) {
        self.heard.store(clock::now().nseconds(), Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: String) {
        self.send(Signal::Failed(self.attempt, reason));
    }

    /// One that nobody listens to.
    #[cfg(test)]
    pub(super) fn mute() -> Teller {
        Teller { attempt: 0, signals: mpsc::channel().0, heard: Arc::default() }
    }

    fn send(&self, signal: Signal) {
        if self.signals.send(signal).is_err() {
            log::debug!("the sound's thread has ended"); // the capture is being closed
        }
    }
}

/// The thread's state.
struct Keeper<Open> {
    open: Open,
    events: EventSender,
    signals: mpsc::Sender<Signal>,
    graph: Option<Graph>,
    /// What an earlier attempt still says is not taken for this one's.
    attempt: u64,
    /// The failure that was told last, until it is over.
    told: Option<String>,
    retry: Retry,
    /// When the source in use gave sound last; 0 before.
    heard: Arc<AtomicU64>,
    /// When to open it again, or to look whether it gives any.
    due: Option<gst::ClockTime>,
}

impl<Open: FnMut(Teller) -> Result<Graph, Error>> Keeper<Open> {
    fn run(&mut self, inbox: &mpsc::Receiver<Signal>) {
        loop {
            let signal = match self.due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected), // hopeless
                Some(due) => inbox.recv_timeout(due.saturating_sub(clock::now()).into()),
            };
            match signal {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Sounding(attempt, _) | Signal::Failed(attempt, _))
                    if attempt != self.attempt || self.graph.is_none() => {}
                Ok(Signal::Sounding(_, format)) => self.sounding(format),
                Ok(Signal::Failed(_, reason)) => self.failed(reason, true),
                Err(RecvTimeoutError::Timeout) if self.graph.is_some() => self.look(),
                Err(RecvTimeoutError::Timeout) => self.open(),
            }
        }
    }

    fn open(&mut self) {
        self.attempt += 1;
        let opened = clock::now();
        self.due = Some(opened + SILENT_RESTART);
        self.heard = Arc::new(AtomicU64::new(opened.nseconds()));
        let teller =
            Teller { attempt: self.attempt, signals: self.signals.clone(), heard: self.heard.clone() };
        match (self.open)(teller) {
            Ok(graph) => self.graph = Some(graph),
            Err(error) => self.failed(error.to_string(), !error.is_hopeless()),
        }
    }

    fn look(&mut self) {
        let heard = gst::ClockTime::from_nseconds(self.heard.load(Ordering::Relaxed));
        let due = heard + SILENT_RESTART;
        if clock::now() >= due {
            self.failed("it gives no sound".to_owned(), true);
        } else {
            self.due = Some(due);
        }
    }

    fn sounding(&mut self, format: String) {
        self.retry.sounding(clock::now());
        self.told = None;
        self.events.send(MediaEvent::SoundLive { format });
    }

    fn failed(&mut self, reason: String, again: bool) {
        self.graph = None;
        let now = clock::now();
        let wait = self.retry.failed(now);
        self.due = again.then(|| now + wait);
        if self.told.as_ref() == Some(&reason) {
            log::debug!(wait_ms = wait.mseconds(); "the sound fails again: {reason}");
        } else {
            self.told = Some(reason.clone());
            self.events.send(MediaEvent::SoundFailed { reason });
        }
    }
}

/// How long to wait before the next attempt.
#[derive(Default)]
struct Retry {
    waited: Option<gst::ClockTime>,
    sounding_since: Option<gst::ClockTime>,
}

impl Retry {
    fn sounding(&mut self, now: gst::ClockTime) {
        self.sounding_since = Some(now);
    }

    /// The wait; it begins anew after sound that held for longer than the longest wait.
    fn failed(&mut self, now: gst::ClockTime) -> gst::ClockTime {
        let held = self.sounding_since.take().map_or(gst::ClockTime::ZERO, |since| now.saturating_sub(since));
        let wait = match self.waited {
            Some(waited) if held <= LONGEST_WAIT => (waited * 2).min(LONGEST_WAIT),
            Some(_) | None => FIRST_WAIT,
        };
        self.waited = Some(wait);
        wait
    }
}

/// A device that hiccuped can be opened again by then.
const FIRST_WAIT: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// Opening a device that is not there costs little, and sound is to be back within two seconds of its device.
const LONGEST_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// A device that gives nothing for so long is opened anew: it would have told what it can tell.
const SILENT_RESTART: gst::ClockTime = gst::ClockTime::from_seconds(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{events, init};

    #[test]
    fn waits_grow_until_sound_has_held() {
        let second = gst::ClockTime::from_seconds;
        let mut retry = Retry::default();
        let waits: Vec<u64> = (0..3).map(|n| retry.failed(second(n)).mseconds()).collect();
        assert_eq!(waits, [500, 1000, 1000]);
        retry.sounding(second(100));
        assert_eq!(retry.failed(second(101)), second(1), "it did not hold");
        retry.sounding(second(200));
        assert_eq!(retry.failed(second(202)).mseconds(), 500);
    }

    #[test]
    fn a_device_that_falls_silent_is_opened_anew() {
        init().unwrap();
        let (sender, mut receiver) = events();
        let (opened, tellers) = mpsc::channel();
        let open = move |teller: Teller| {
            let graph = Graph::new("sound");
            graph.play(clock::now())?;
            teller.sounding("S16LE".to_owned());
            opened.send(()).unwrap();
            Ok(graph)
        };
        let sound = LiveSound::start(open, &sender).unwrap();
        let live = MediaEvent::SoundLive { format: "S16LE".to_owned() };
        assert_eq!(receiver.blocking_recv(), Some(live.clone()));
        let reason = "it gives no sound".to_owned();
        assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundFailed { reason }));
        assert_eq!(receiver.blocking_recv(), Some(live));
        assert_eq!(tellers.try_iter().count(), 2);
        drop(sound);
    }

    #[test]
    fn a_failure_is_told_again_when_its_reason_changes() {
        init().unwrap();
        let (sender, mut receiver) = events();
        let mut attempts = 0;
        let open = move |teller: Teller| {
            attempts += 1;
            if attempts > 3 {
                teller.sounding("S16LE".to_owned());
                return Ok(Graph::new("sound"));
            }
            let reason = if attempts < 3 { "no such device" } else { "busy" };
            Err(Error::Start { graph: "sound", reason: reason.to_owned() })
        };
        let sound = LiveSound::start(open, &sender).unwrap();
        for reason in ["no such device", "busy"] {
            let reason = format!("cannot start the sound pipeline: {reason}");
            assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundFailed { reason }));
        }
        let live = MediaEvent::SoundLive { format: "S16LE".to_owned() };
        assert_eq!(receiver.blocking_recv(), Some(live));
        drop(sound);
    }

    #[test]
    fn sound_that_fails_is_opened_again_and_told_once_each() {
        init().unwrap();
        let live = || MediaEvent::SoundLive { format: "S16LE".to_owned() };
        let (sender, mut receiver) = events();
        let (opened, tellers) = mpsc::channel();
        let mut attempts = 0;
        let open = move |teller: Teller| {
            attempts += 1;
            if attempts == 1 {
                return Err(Error::Start { graph: "sound", reason: "busy".to_owned() });
            }
            let graph = Graph::new("sound");
            graph.play(clock::now())?;
            opened.send(teller.clone()).unwrap();
            teller.sounding("S16LE".to_owned());
            Ok(graph)
        };
        let sound = LiveSound::start(open, &sender).unwrap();
        let busy = "cannot start the sound pipeline: busy".to_owned();
        assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundFailed { reason: busy }));
        assert_eq!(receiver.blocking_recv(), Some(live()));
        let first = tellers.recv().unwrap();
        first.failed("unplugged".to_owned());
        first.failed("and what follows from it".to_owned());
        first.sounding("again".to_owned());
        let unplugged = MediaEvent::SoundFailed { reason: "unplugged".to_owned() };
        assert_eq!(receiver.blocking_recv(), Some(unplugged));
        assert!(receiver.try_recv().is_err(), "what a closed source says is not told");
        assert_eq!(receiver.blocking_recv(), Some(live()));
        drop(sound);
        assert!(receiver.try_recv().is_err());
    }
}
