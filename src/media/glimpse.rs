//! The next picture that goes on air, for whoever asks: a glimpse beside the encoder.
//!
//! While nobody asks, a picture passes at the cost of one flag. A picture that is asked for is handed over by
//! reference; whoever gets it copies what it needs and lets go, since cameras have few buffers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use tokio::sync::oneshot;

/// Where the pictures on air of one [`Encode`](super::Encode) can be looked at. Clones look at the same.
#[derive(Clone, Debug, Default)]
pub struct Glimpse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_wanted: AtomicBool,
    /// One at a time: who asks later takes the place of who asked before.
    wish: Mutex<Option<oneshot::Sender<Seen>>>,
}

/// A picture as it went on air.
#[derive(Debug)]
pub struct Seen {
    pub(super) picture: gst::Buffer,
    pub(super) caps: gst::Caps,
}

impl Glimpse {
    /// The next picture, the slate's included; `None` when somebody else asks before it comes. Cancel safe. It
    /// may take for ever: nothing passes where nothing is on air.
    pub async fn next(&self) -> Option<Seen> {
        let (sender, seen) = oneshot::channel();
        *self.0.wish.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.0.is_wanted.store(true, Ordering::Release);
        seen.await.ok()
    }

    /// Shows the picture that passes this pad to who has asked for it. Never blocks: who asks holds the lock for as
    /// long as it takes to leave a wish.
    pub(super) fn offer(&self, pad: &gst::Pad, picture: &gst::Buffer) {
        if !self.0.is_wanted.swap(false, Ordering::Acquire) {
            return;
        }
        let wish = self.0.wish.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(wish), Some(caps)) = (wish, pad.current_caps())
            && let Err(unwanted) = wish.send(Seen { picture: picture.clone(), caps })
        {
            drop(unwanted); // who asked has gone
        }
    }
}
