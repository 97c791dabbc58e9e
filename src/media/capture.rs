//! A capture: what fills an encode pipeline's inlets. It may fail, end and be started anew at any
//! time; the encode pipeline does not notice more than that pictures are missing.

use std::collections::BTreeMap;

use super::camera::Camera;
use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::file::FileLoop;
use super::graph::Graph;
use super::inputs::Inputs;
use super::live_sound::LiveSound;
use super::source;
use crate::capture::Chosen;
use crate::config::{AudioSource, Stream, VideoSource};

/// Running sources. Dropping it stops them.
pub struct Capture {
    /// On this capture's lease.
    inputs: Inputs,
    picture: Source,
    _sound: Option<LiveSound>,
}

enum Source {
    Live { _graph: Graph },
    Camera(Camera),
    File { _player: FileLoop },
}

impl Capture {
    /// Starts the stream's picture and sound. An error is the picture's; sound that does not start is
    /// reported as [`MediaEvent::SoundFailed`], and silence is sent until it does. The capture takes over
    /// the lease of `inputs`, and revokes it when it ends.
    pub fn start(stream: &Stream, inputs: &Inputs, events: EventSender) -> Result<Capture, Error> {
        Capture::start_with(stream, &Chosen::default(), inputs, events)
    }

    /// As [`Capture::start`]; where the device is `auto`, with the camera that was chosen before.
    pub fn start_with(
        stream: &Stream,
        chosen: &Chosen,
        inputs: &Inputs,
        events: EventSender,
    ) -> Result<Capture, Error> {
        let sound = start_sound(stream, inputs, &events)?;
        let picture = match &stream.video.source {
            VideoSource::Test => Source::Live { _graph: source::test_picture(inputs, &events)? },
            VideoSource::V4l2(camera) => {
                Source::Camera(Camera::start(camera, chosen, &stream.video, inputs, &events)?)
            }
            VideoSource::File { path } => {
                let with_sound = stream.audio.source == AudioSource::File;
                Source::File { _player: FileLoop::start(path, with_sound, inputs, &events)? }
            }
        };
        Ok(Capture { inputs: inputs.clone(), picture, _sound: sound })
    }

    /// Has the camera's controls be set, where there is one; [`MediaEvent::ControlsSet`] tells how it went.
    pub fn adjust(&self, controls: &BTreeMap<String, i32>) {
        match &self.picture {
            Source::Camera(camera) => camera.adjust(controls),
            Source::Live { .. } | Source::File { .. } => {}
        }
    }

    /// From now on nothing that it gives is taken. Dropping it does so too, but may then block for as
    /// long as its device does.
    pub fn revoke(&self) {
        self.inputs.revoke();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.revoke();
    }
}

fn start_sound(stream: &Stream, inputs: &Inputs, events: &EventSender) -> Result<Option<LiveSound>, Error> {
    let inputs = inputs.clone();
    match (&stream.audio.source, &stream.video.source) {
        (AudioSource::Test, _) => {
            LiveSound::start(move |teller| source::test_tone(&inputs, teller), events).map(Some)
        }
        (AudioSource::Alsa { device }, _) => {
            let device = device.clone();
            LiveSound::start(move |teller| source::alsa(&device, &inputs, teller), events).map(Some)
        }
        (AudioSource::File, VideoSource::Test | VideoSource::V4l2 { .. }) => {
            let reason = "audio.source = \"file\" without a file as the picture's source".to_owned();
            events.send(MediaEvent::SoundMissing { reason });
            Ok(None)
        }
        // The file's player brings its own sound; silence needs no source.
        (AudioSource::File, VideoSource::File { .. }) | (AudioSource::Silence | AudioSource::None, _) => {
            Ok(None)
        }
    }
}
