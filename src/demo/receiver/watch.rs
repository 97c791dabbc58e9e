//! Keeps the receiver's pipeline running.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gst::prelude::*;

use super::Shared;

/// A thread that starts the pipeline again when it has failed.
pub(super) struct Watch {
    bus: gst::Bus,
    thread: JoinHandle<()>,
}

impl Watch {
    /// From here on nobody else may take messages from the bus.
    pub fn start(pipeline: gst::Pipeline, bus: gst::Bus, shared: Arc<Shared>) -> io::Result<Watch> {
        let watcher = Watcher { pipeline, bus: bus.clone(), shared };
        let thread = thread::Builder::new().name("demo-receiver".to_owned()).spawn(move || watcher.run())?;
        Ok(Watch { bus, thread })
    }

    pub fn stop(self) {
        let stop = gst::message::Application::new(gst::Structure::new_empty("stop"));
        if self.bus.post(stop).is_err() || self.thread.join().is_err() {
            log::error!("the receiver's watch did not end as it should");
        }
    }
}

struct Watcher {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    shared: Arc<Shared>,
}

impl Watcher {
    fn run(self) {
        while let Some(message) = self.bus.timed_pop(gst::ClockTime::NONE) {
            match message.view() {
                gst::MessageView::Application(_) => return,
                gst::MessageView::Warning(warning) => {
                    log::warn!(warning:% = warning.error(), debug:? = warning.debug(); "receiver");
                }
                gst::MessageView::Error(_) => {
                    if let Next::Stop = self.restart(described(&message)) {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the pipeline down and up, as often as it is worth it.
    fn restart(&self, mut reason: String) -> Next {
        loop {
            if self.shared.state().srt.restarts >= MAX_RESTARTS {
                log::error!(reason:%; "receiver failed");
                self.shared.state().failure.get_or_insert(reason);
                return Next::Stop;
            }
            log::warn!(reason:%; "receiver failed and is started again");
            self.shared.state().srt.restarts += 1;
            if let Err(error) = self.pipeline.set_state(gst::State::Null) {
                log::warn!(error:%; "the receiver's pipeline did not stop");
            }
            // What the old run still has to say is of no use, unless it is the end.
            while let Some(message) = self.bus.pop() {
                if let gst::MessageView::Application(_) = message.view() {
                    return Next::Stop;
                }
            }
            thread::sleep(RESTART_PAUSE);
            match self.pipeline.set_state(gst::State::Playing) {
                Ok(_) => return Next::Watch,
                Err(error) => reason = error.to_string(),
            }
        }
    }
}

enum Next {
    Watch,
    Stop,
}

/// An error message in words.
pub(super) fn described(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => match error.debug() {
            Some(debug) => format!("{} ({debug})", error.error()),
            None => error.error().to_string(),
        },
        _ => "no reason given".to_owned(),
    }
}

/// Beyond these, failing is not the accident that a restart mends.
const MAX_RESTARTS: u32 = 10;
/// Gives libsrt time to let go of the port.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
