//! The captures of a stream: one for each source that is open, and one for the sound.
//!
//! Opening a device can take seconds and closing one can hang in its driver, so both happen on a blocking
//! thread. Each opening has channels of its own: what an abandoned one still reports reaches nobody.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::capture::Chosen;
use crate::causes::with_causes;
use crate::config;
use crate::media::{self, Capture, Error, EventSender, Inputs, MediaEvent};

/// What a capture is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A source of pictures, by its number among the stream's.
    Source(usize),
    Sound,
}

impl Origin {
    /// The number of the source; `None` for what gives sound of its own.
    pub fn source(self) -> Option<usize> {
        match self {
            Origin::Source(number) => Some(number),
            Origin::Sound => None,
        }
    }
}

/// Those that are open or being opened.
#[derive(Default)]
pub struct Captures(BTreeMap<Origin, Slot>);

/// A capture that is being opened, is open, or could not be.
struct Slot {
    /// What it may push on; revoked before it closes, since closing takes its time.
    lease: Inputs,
    opening: Option<oneshot::Receiver<Result<Capture, Error>>>,
    open: Option<Capture>,
    events: mpsc::Receiver<MediaEvent>,
}

impl Captures {
    /// Opens one of the stream's sources, on stand-by, anew where it is open already. How it went comes from
    /// [`Captures::next`]. One that is still being opened is waited for: a device or a file server that hangs
    /// would otherwise hold one more thread with each attempt.
    pub fn open_source(&mut self, number: usize, config: &config::Stream, chosen: Chosen, lease: Inputs) {
        let Some(source) = config.video.sources().nth(number).cloned() else {
            return log::error!(number; "there is no such source");
        };
        lease.stand_by(true);
        let config = config.clone();
        self.open(Origin::Source(number), lease, move |inputs, events| {
            Capture::picture(&config, &source, &chosen, inputs, events)
        });
    }

    /// Opens what gives sound of its own; it is kept going by itself.
    pub fn open_sound(&mut self, config: &config::Stream, lease: Inputs) {
        let config = config.clone();
        self.open(Origin::Sound, lease, move |inputs, events| Capture::sound(&config, inputs, events));
    }

    fn open(
        &mut self,
        origin: Origin,
        lease: Inputs,
        start: impl FnOnce(&Inputs, EventSender) -> Result<Capture, Error> + Send + 'static,
    ) {
        if self.0.get(&origin).is_some_and(|slot| slot.opening.is_some()) {
            return;
        }
        let before = self.take(origin);
        let (sender, events) = media::events();
        let (opened, opening) = oneshot::channel();
        let inputs = lease.clone();
        spawn_blocking(move || {
            drop(before); // first: a device opens once
            if let Err(abandoned) = opened.send(start(&inputs, sender)) {
                drop(abandoned); // on this thread, where closing a device may take its time
            }
        });
        self.0.insert(origin, Slot { lease, opening: Some(opening), open: None, events });
    }

    /// Has a camera's controls be set, where it is open.
    pub fn adjust(&self, number: usize, controls: &BTreeMap<String, i32>) {
        let slot = self.0.get(&Origin::Source(number));
        if let Some(capture) = slot.and_then(|slot| slot.open.as_ref()) {
            capture.adjust(controls);
        }
    }

    /// Closes one. The task ends when its device is closed.
    pub fn close(&mut self, origin: Origin) -> JoinHandle<()> {
        let slot = self.take(origin);
        spawn_blocking(move || drop(slot))
    }

    /// Closes all of them.
    pub fn close_all(&mut self) -> JoinHandle<()> {
        let slots = std::mem::take(&mut self.0);
        slots.values().for_each(|slot| slot.lease.revoke());
        spawn_blocking(move || drop(slots))
    }

    /// From now on it pushes nothing any more.
    fn take(&mut self, origin: Origin) -> Option<Slot> {
        self.0.remove(&origin).inspect(|slot| slot.lease.revoke())
    }

    /// Has the pictures of this source be passed on, and of no other.
    pub fn put_on_air(&self, number: Option<usize>) {
        // First all others stand by: two sources never push side by side.
        for is_chosen in [false, true] {
            for (origin, slot) in &self.0 {
                let Origin::Source(own) = origin else { continue };
                if (Some(*own) == number) == is_chosen {
                    slot.lease.stand_by(!is_chosen);
                }
            }
        }
    }

    /// When the newest picture of this source arrived.
    pub fn newest(&self, number: usize) -> Option<Instant> {
        self.0.get(&Origin::Source(number))?.lease.newest_on_lease()
    }

    /// The next thing that one of them has to say; cancel safe.
    pub async fn next(&mut self) -> (Origin, MediaEvent) {
        poll_fn(|context| {
            let mut said = self.0.iter_mut().map(|(origin, slot)| (*origin, slot.poll_event(context)));
            let first = said.find_map(|(origin, event)| match event {
                Poll::Ready(event) => Some((origin, event)),
                Poll::Pending => None,
            });
            first.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Slot {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<MediaEvent> {
        if let Some(opening) = &mut self.opening {
            let Poll::Ready(opened) = pin!(opening).poll(context) else { return Poll::Pending };
            self.opening = None;
            let reason = match opened {
                Ok(Ok(capture)) => {
                    self.open = Some(capture);
                    None
                }
                Ok(Err(error)) => Some(with_causes(&error)),
                Err(_) => Some("opening the source panicked".to_owned()),
            };
            if let Some(reason) = reason {
                return Poll::Ready(MediaEvent::CaptureFailed { reason });
            }
        }
        match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // A closed capture has nothing more to say.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
