//! A capture: what fills an encode pipeline's inlets. It may fail, end and be started anew at any
//! time; the encode pipeline does not notice more than that pictures are missing.

use std::collections::BTreeMap;

use super::camera::Camera;
use super::device_sound;
use super::error::Error;
use super::event::{EventSender, MediaEvent};
use super::file::FileLoop;
use super::graph::Graph;
use super::inputs::Inputs;
use super::live_sound::LiveSound;
use super::test_source;
use crate::capture::Chosen;
use crate::config::{AudioSource, Stream, VideoSource};

/// Running sources. Dropping it stops them.
pub struct Capture {
    /// On this capture's lease.
    inputs: Inputs,
    picture: Option<Source>,
    _sound: Option<LiveSound>,
}

enum Source {
    Live { _graph: Graph },
    Camera(Camera),
    File { _player: FileLoop },
}

impl Capture {
    /// Starts the stream's picture, of its first source, and its sound. An error is the picture's; sound that does not start is
    /// reported as [`MediaEvent::SoundFailed`], and silence is sent until it does. The capture takes over
    /// the lease of `inputs`, and revokes it when it ends.
    pub fn start(stream: &Stream, inputs: &Inputs, events: EventSender) -> Result<Capture, Error> {
        let sound = start_sound(stream, inputs, &events)?;
        let picture = start_picture(stream, &stream.video.source, &Chosen::default(), inputs, &events)?;
        Ok(Capture { inputs: inputs.clone(), picture: Some(picture), _sound: sound })
    }

    /// As [`Capture::start`], the picture alone, of one of the stream's sources; where its device is `auto`, with the
    /// camera that was chosen before. A file has its sound with it where the stream's sound is to come from the file.
    pub fn picture(
        stream: &Stream,
        source: &VideoSource,
        chosen: &Chosen,
        inputs: &Inputs,
        events: EventSender,
    ) -> Result<Capture, Error> {
        let picture = start_picture(stream, source, chosen, inputs, &events)?;
        Ok(Capture { inputs: inputs.clone(), picture: Some(picture), _sound: None })
    }

    /// As [`Capture::start`], the sound alone, where it has a source of its own.
    pub fn sound(stream: &Stream, inputs: &Inputs, events: EventSender) -> Result<Capture, Error> {
        let sound = start_sound(stream, inputs, &events)?;
        Ok(Capture { inputs: inputs.clone(), picture: None, _sound: sound })
    }

    /// Has the camera's controls be set, where there is one; [`MediaEvent::ControlsSet`] tells how it went.
    pub fn adjust(&self, controls: &BTreeMap<String, i32>) {
        match &self.picture {
            Some(Source::Camera(camera)) => camera.adjust(controls),
            Some(Source::Live { .. } | Source::File { .. }) | None => {}
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

fn start_picture(
    stream: &Stream,
    source: &VideoSource,
    chosen: &Chosen,
    inputs: &Inputs,
    events: &EventSender,
) -> Result<Source, Error> {
    let with_sound = stream.audio.source == AudioSource::File;
    let picture = match source {
        VideoSource::Test => Source::Live { _graph: test_source::test_picture(inputs, events)? },
        VideoSource::V4l2(camera) => {
            Source::Camera(Camera::start(camera, chosen, &stream.video, inputs, events)?)
        }
        VideoSource::File { path } => {
            return Ok(Source::File { _player: FileLoop::start(path, with_sound, inputs, events)? });
        }
    };
    if with_sound {
        let reason = "the picture comes from no file, and the sound was to come from there".to_owned();
        events.send(MediaEvent::SoundMissing { reason });
    }
    Ok(picture)
}

/// None where it comes with a file's picture, or is silence.
fn start_sound(stream: &Stream, inputs: &Inputs, events: &EventSender) -> Result<Option<LiveSound>, Error> {
    let inputs = inputs.clone();
    match &stream.audio.source {
        AudioSource::Test => {
            LiveSound::start(move |teller| test_source::test_tone(&inputs, teller), events).map(Some)
        }
        AudioSource::Alsa { device } => {
            let device = device.clone();
            LiveSound::start(move |teller| device_sound::alsa(&device, &inputs, teller), events).map(Some)
        }
        AudioSource::File | AudioSource::Silence | AudioSource::None => Ok(None),
    }
}
