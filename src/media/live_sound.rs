//! A live source of sound, opened anew when it fails: the picture beside it goes on meanwhile.
//!
//! ```text
//! open ──failed──▶ waiting (1 s, then twice as long each time, up to 8 s) ──▶ open
//! ```

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
}

enum Signal {
    Stop,
    /// The first sound of this attempt came.
    Sounding(u64),
    Failed(u64, String),
}

impl LiveSound {
    /// `open` builds and starts the source; here the first time, later on a thread of its own. How it
    /// went is told as [`MediaEvent::SoundFailed`] and [`MediaEvent::SoundRestored`].
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
            has_failed: false,
            retry: Retry::default(),
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
    pub(super) fn sounding(&self) {
        self.send(Signal::Sounding(self.attempt));
    }

    pub(super) fn failed(&self, reason: String) {
        self.send(Signal::Failed(self.attempt, reason));
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
    /// Whether a failure was told that is not over yet.
    has_failed: bool,
    retry: Retry,
    /// When to open it again.
    due: Option<gst::ClockTime>,
}

impl<Open: FnMut(Teller) -> Result<Graph, Error>> Keeper<Open> {
    fn run(&mut self, inbox: &mpsc::Receiver<Signal>) {
        loop {
            let signal = match self.due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_sub(clock::now()).into()),
            };
            match signal {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Sounding(attempt) | Signal::Failed(attempt, _))
                    if attempt != self.attempt || self.graph.is_none() => {}
                Ok(Signal::Sounding(_)) => self.sounding(),
                Ok(Signal::Failed(_, reason)) => self.failed(reason, true),
                Err(RecvTimeoutError::Timeout) => self.open(),
            }
        }
    }

    fn open(&mut self) {
        self.due = None;
        self.attempt += 1;
        match (self.open)(Teller { attempt: self.attempt, signals: self.signals.clone() }) {
            Ok(graph) => self.graph = Some(graph),
            Err(error) => self.failed(error.to_string(), !error.is_hopeless()),
        }
    }

    fn sounding(&mut self) {
        self.retry.sounding(clock::now());
        if std::mem::take(&mut self.has_failed) {
            self.events.send(MediaEvent::SoundRestored);
        }
    }

    fn failed(&mut self, reason: String, again: bool) {
        self.graph = None;
        let now = clock::now();
        let wait = self.retry.failed(now);
        self.due = again.then(|| now + wait);
        if std::mem::replace(&mut self.has_failed, true) {
            log::debug!(wait_ms = wait.mseconds(); "the sound fails again: {reason}");
        } else {
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

/// A device that was pulled out and put in again is known to the system by then.
const FIRST_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// Opening a device that is not there costs little, and nobody likes to wait for the sound.
const LONGEST_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{events, init};

    #[test]
    fn waits_grow_until_sound_has_held() {
        let second = gst::ClockTime::from_seconds;
        let mut retry = Retry::default();
        let waits: Vec<u64> = (0..5).map(|n| retry.failed(second(n)).seconds()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8]);
        retry.sounding(second(100));
        assert_eq!(retry.failed(second(105)), second(8), "it did not hold");
        retry.sounding(second(200));
        assert_eq!(retry.failed(second(209)), second(1));
    }

    #[test]
    fn sound_that_fails_is_opened_again_and_told_once_each() {
        init().unwrap();
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
            teller.sounding();
            Ok(graph)
        };
        let sound = LiveSound::start(open, &sender).unwrap();
        let busy = "cannot start the sound pipeline: busy".to_owned();
        assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundFailed { reason: busy }));
        assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundRestored));
        let first = tellers.recv().unwrap();
        first.failed("unplugged".to_owned());
        first.failed("and what follows from it".to_owned());
        first.sounding();
        let unplugged = MediaEvent::SoundFailed { reason: "unplugged".to_owned() };
        assert_eq!(receiver.blocking_recv(), Some(unplugged));
        assert!(receiver.try_recv().is_err(), "what a closed source says is not told");
        assert_eq!(receiver.blocking_recv(), Some(MediaEvent::SoundRestored));
        drop(sound);
        assert!(receiver.try_recv().is_err());
    }
}
