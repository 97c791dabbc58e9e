//! A V4L2 device as a picture's source: found, set up, captured from, and its input watched.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::graph::Graph;
use super::inputs::Inputs;
use super::{plain_file, source};
use crate::capture::description::{Signal, Trouble};
use crate::capture::mode::{self, Wish};
use crate::capture::{self, Chosen, Opened};
use crate::causes::with_causes;
use crate::config::{self, Video, VideoDevice};

/// A device that is captured from, or that is waited for until its input has a picture.
pub(super) struct Camera {
    device: VideoDevice,
    chosen: Chosen,
    events: EventSender,
    _graph: Option<Graph>,
    _watch: Option<Watch>,
}

impl Camera {
    /// Opens the device that is meant, in the mode that suits the stream best. One whose input has no picture is
    /// no error: [`MediaEvent::CaptureWaits`] says why, and [`MediaEvent::CaptureReady`] when it has.
    pub(super) fn start(
        wanted: &config::Camera,
        chosen: &Chosen,
        video: &Video,
        inputs: &Inputs,
        events: &EventSender,
    ) -> Result<Camera, Error> {
        let edid = wanted.edid_file.as_deref().map(read_edid).transpose()?;
        let mut opened = capture::open(&wanted.device, chosen)?;
        if let Some(edid) = edid {
            opened = opened.set_edid(edid)?.0;
        }
        let (opened, ()) = opened.follow_timings()?;
        let (opened, offered) = opened.describe()?;
        let camera = |graph, watch| Camera {
            device: wanted.device.clone(),
            chosen: chosen.clone(),
            events: events.clone(),
            _graph: graph,
            _watch: watch,
        };
        if let Signal::Absent(trouble) = offered.signal {
            events.send(MediaEvent::CaptureWaits { reason: no_picture(trouble) });
            return Ok(camera(None, Some(Watch::start(opened, offered.signal, events)?)));
        }
        let choice = mode::choose(&offered, &Wish::new(video, inputs.formats.pixels()))
            .map_err(|reason| capture::Error::Unsuitable { node: opened.node().to_owned(), reason })?;
        let (name, mode) = (opened.identity().described(), choice.mode.to_string());
        events.send(MediaEvent::CaptureOpened { camera: name, mode, reason: choice.reason });
        let (opened, refused) = opened.adjust(in_order(&wanted.controls))?;
        events.send(MediaEvent::ControlsSet { refused });
        let (opened, ()) = match chosen.is_doubtful() {
            true => opened.rehearse(&choice.mode)?,
            false => (opened, ()),
        };
        // While `opened` is, its number is no other device's; v4l2src has opened it by the time this returns.
        let graph = source::v4l2(opened.node(), &choice.mode, inputs, events)?;
        let watch = match &offered.signal {
            Signal::Present(_) => Some(Watch::start(opened, offered.signal, events)?),
            Signal::Untold | Signal::Absent(_) => None,
        };
        Ok(camera(Some(graph), watch))
    }

    /// Has its controls be set on a thread, where its driver may take its time.
    pub(super) fn adjust(&self, controls: &BTreeMap<String, i32>) {
        let (device, chosen, events) = (self.device.clone(), self.chosen.clone(), self.events.clone());
        let controls = in_order(controls);
        let set = move || {
            let adjusted = capture::open(&device, &chosen).and_then(|opened| opened.adjust(controls));
            let refused = match adjusted {
                Ok((_, refused)) => refused,
                Err(error) => vec![with_causes(&error)],
            };
            events.send(MediaEvent::ControlsSet { refused });
        };
        if let Err(error) = thread::Builder::new().name("camera controls".to_owned()).spawn(set) {
            log::error!(error:%; "the camera's controls are not set: no thread");
        }
    }
}

/// Reads an EDID and looks whether it is one.
pub(super) fn read_edid(path: &Path) -> Result<Vec<u8>, Error> {
    let most = capture::MOST_EDID as u64 + 1; // more is not one, however much more
    let mut edid = Vec::new();
    let read = plain_file::open(path)?.take(most).read_to_end(&mut edid);
    read.map_err(|source| Error::File { path: path.to_owned(), source })?;
    match capture::check_edid(&edid) {
        Ok(()) => Ok(edid),
        Err(reason) => Err(Error::Edid { path: path.to_owned(), reason }),
    }
}

/// What sets something to be automatic, or not, before what has an effect only then.
fn in_order(controls: &BTreeMap<String, i32>) -> Vec<(String, i64)> {
    let mut controls: Vec<_> =
        controls.iter().map(|(name, value)| (name.clone(), i64::from(*value))).collect();
    controls.sort_by_key(|(name, _)| !name.contains("auto")); // stable
    controls
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
    use std::fs;

    use super::*;
    use crate::capture::description::{Extent, Rate, Timings};

    #[test]
    fn automatic_is_switched_off_before_what_it_hides() {
        let controls = [("auto_exposure", 1), ("brightness", 7), ("exposure_time_absolute", 100)];
        let mut controls: BTreeMap<String, i32> =
            controls.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        controls.insert("focus_automatic_continuous".to_owned(), 0);
        let names: Vec<String> = in_order(&controls).into_iter().map(|(name, _)| name).collect();
        let expected =
            ["auto_exposure", "focus_automatic_continuous", "brightness", "exposure_time_absolute"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_that_is_no_edid_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "00ffffffffffff00").unwrap();
        let error = read_edid(file.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} has 16 bytes, not 1 to 256 blocks of 128", file.path().display())
        );
        assert!(matches!(read_edid(Path::new("/no/such/edid")), Err(Error::File { .. })));
        assert!(matches!(read_edid(Path::new("/dev/zero")), Err(Error::NotAFile { .. })), "it has no end");
    }

    #[test]
    fn of_a_file_too_large_for_an_edid_no_more_is_read_than_tells_that() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap(); // a hole of a terabyte
        let reason = read_edid(file.path()).unwrap_err().to_string();
        assert!(reason.ends_with(" has more than 32768 bytes, not 1 to 256 blocks of 128"), "{reason}");
    }

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
