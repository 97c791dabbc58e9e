//! A V4L2 device as a picture's source: found, set up, captured from, and its input watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::graph::Graph;
use super::inputs::Inputs;
use super::source;
use crate::capture::description::{Signal, Trouble};
use crate::capture::mode::{self, Wish};
use crate::capture::{self, Chosen, Opened};
use crate::config::{Video, VideoDevice};

/// A device that is captured from, or that is waited for until its input has a picture.
pub(super) struct Camera {
    _graph: Option<Graph>,
    _watch: Option<Watch>,
}

impl Camera {
    /// Opens what `device` means, in the mode that suits the stream best. One whose input has no picture is no
    /// error: [`MediaEvent::CaptureWaits`] says why, and [`MediaEvent::CaptureReady`] when it has.
    pub(super) fn start(
        device: &VideoDevice,
        chosen: &Chosen,
        video: &Video,
        inputs: &Inputs,
        events: &EventSender,
    ) -> Result<Camera, Error> {
        let opened = capture::open(device, chosen)?;
        let (opened, ()) = opened.follow_timings()?;
        let (opened, offered) = opened.describe()?;
        if let Signal::Absent(trouble) = offered.signal {
            events.send(MediaEvent::CaptureWaits { reason: no_picture(trouble) });
            let watch = Watch::start(opened, offered.signal, events)?;
            return Ok(Camera { _graph: None, _watch: Some(watch) });
        }
        let choice = mode::choose(&offered, &Wish::new(video, inputs.formats.pixels()))
            .map_err(|reason| capture::Error::Unsuitable { node: opened.node().to_owned(), reason })?;
        let camera = opened.identity().described();
        let mode = choice.mode.to_string();
        log::info!(camera, mode, reason = choice.reason; "camera opened");
        events.send(MediaEvent::CaptureOpened { camera, mode, reason: choice.reason });
        // While `opened` is, its number is no other device's; v4l2src has opened it by the time this returns.
        let graph = source::v4l2(opened.node(), &choice.mode, inputs, events)?;
        let watch = match &offered.signal {
            Signal::Present(_) => Some(Watch::start(opened, offered.signal, events)?),
            Signal::Untold | Signal::Absent(_) => None,
        };
        Ok(Camera { _graph: Some(graph), _watch: watch })
    }
}

/// Looks at a device's input on a thread, until it is dropped or has said something.
struct Watch(Arc<AtomicBool>);

impl Watch {
    fn start(device: Opened, before: Signal, events: &EventSender) -> Result<Watch, Error> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, events) = (is_over.clone(), events.clone());
        if let Err(error) = device.subscribe() {
            log::debug!(node:? = device.node(), error:%; "no events of its input: it is looked at instead");
        }
        thread::Builder::new()
            .name("camera input".to_owned())
            .spawn(move || watch(device, &before, &over, |event| events.send(event)))
            .map_err(|source| Error::Thread { name: "camera input", source })?;
        Ok(Watch(is_over))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Until the input is not what it was `before`, and what it is then has stayed for one more look.
fn watch(mut device: Opened, before: &Signal, over: &AtomicBool, tell: impl Fn(MediaEvent)) {
    let mut last = before.clone();
    while !over.load(Ordering::Relaxed) {
        if device.wait_for_change(LOOK).is_err() {
            return; // the device has gone, as the pipeline says or the next attempt
        }
        let now;
        (device, now) = match device.signal() {
            Ok(answer) => answer,
            Err(error) => {
                log::debug!(error:%; "a device's input cannot be looked at");
                return;
            }
        };
        if now == last
            && let Some(event) = news(before, &now)
        {
            if !over.load(Ordering::Relaxed) {
                tell(event);
            }
            return;
        }
        last = now;
    }
}

/// What has become of an input; `None` while it is as it was.
fn news(before: &Signal, now: &Signal) -> Option<MediaEvent> {
    match (before, now) {
        _ if before == now => None,
        (Signal::Absent(_), Signal::Present(_) | Signal::Untold) => Some(MediaEvent::CaptureReady),
        (_, Signal::Absent(trouble)) => Some(MediaEvent::CaptureFailed { reason: no_picture(*trouble) }),
        (_, Signal::Present(_) | Signal::Untold) => {
            Some(MediaEvent::CaptureFailed { reason: format!("its input has changed to {now}") })
        }
    }
}

fn no_picture(trouble: Trouble) -> String {
    format!("{trouble} at its input")
}

/// Between two looks at an input, where no event comes: the slate is to be on air within half a second.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::description::{Extent, Rate, Timings};

    #[test]
    fn what_becomes_of_an_input_is_told() {
        let timings = |height| {
            let (extent, rate) = (Extent::new(1280, height), Rate::new(50, 1));
            Signal::Present(Some(Timings { extent, rate, interlaced: false }))
        };
        let absent = Signal::Absent(Trouble::NoSignal);
        let failed = |reason: &str| Some(MediaEvent::CaptureFailed { reason: reason.to_owned() });
        assert_eq!(news(&timings(720), &timings(720)), None);
        assert_eq!(news(&absent, &absent), None);
        assert_eq!(news(&absent, &timings(720)), Some(MediaEvent::CaptureReady));
        assert_eq!(news(&timings(720), &absent), failed("no signal at its input"));
        assert_eq!(news(&timings(720), &timings(800)), failed("its input has changed to 1280x800 50/s"));
        assert_eq!(news(&absent, &Signal::Absent(Trouble::NoLock)), failed("no lock at its input"));
    }
}
