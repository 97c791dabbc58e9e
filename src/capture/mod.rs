//! Capture devices: which there are, which one the configuration means, and how it is used.
//!
//! - `description` ●, `pixels` ●: what a device offers, as data.
//! - `mode` ●: which of it a stream takes.
//! - `identity` ●: which camera it is, whatever its number.
//! - `find`: the device that is meant, and never another; `list`: all there are.
//! - `hot_plug`, `changes` ●: what is plugged in and out.
//! - `device`: one that is open; `ioctl`, `sysfs`: what the kernel says of it; `guarded`: for how long a driver
//!   may think about that.
//! - `jpeg` ●: whether a frame of Motion JPEG is whole.
//! - `sound`: ALSA's inputs.

pub mod changes;
pub mod description;
mod device;
mod find;
mod guarded;
mod hot_plug;
pub mod identity;
mod ioctl;
pub mod jpeg;
mod list;
pub mod mode;
pub mod pixels;
mod sound;
mod sysfs;

use std::io;
use std::path::PathBuf;

pub use self::device::{MOST_EDID, Opened, check_edid};
pub use self::find::{Chosen, open};
pub use self::hot_plug::HotPlug;
pub use self::list::{Device, Mute, devices};
pub use self::sound::{SoundInput, sound_device, sound_inputs, sound_missing};

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no capture device")]
    None,
    #[error("{path} is not there")]
    Absent { path: PathBuf },
    #[error("{path} leads to another camera now: {found}")]
    Another { path: PathBuf, found: String },
    #[error("{camera} is not plugged in")]
    Away { camera: String },
    #[error("{node} gives no pictures: it is {card}")]
    NotCapture { node: PathBuf, card: String },
    #[error("cannot list {directory}")]
    List {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open {node}")]
    Open {
        node: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{node} does not tell what it offers, or cannot be set")]
    Ask {
        node: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{node} does not begin to capture")]
    Begin {
        node: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the driver of {node} does not answer")]
    Hung { node: PathBuf },
    #[error("what the driver of {node} says is malformed")]
    Malformed { node: PathBuf },
    #[error("cannot start a thread")]
    Thread {
        #[source]
        source: io::Error,
    },
    #[error("{node} cannot be used: {reason}")]
    Unsuitable { node: PathBuf, reason: mode::Unsuitable },
}

/// Below `/dev`, where udev keeps names that stay.
const BY_V4L: &str = "v4l";
const BY_ID: &str = "v4l/by-id";
const BY_PATH: &str = "v4l/by-path";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VideoDevice;

    #[test]
    fn what_is_not_there_is_named() {
        let said = |wanted: VideoDevice| open(&wanted, &Chosen::default()).err().unwrap().to_string();
        assert_eq!(
            said(VideoDevice::ById("usb-None_0001-video-index0".to_owned())),
            "/dev/v4l/by-id/usb-None_0001-video-index0 is not there"
        );
        assert_eq!(said(VideoDevice::ByPath("pci-0".to_owned())), "/dev/v4l/by-path/pci-0 is not there");
        assert_eq!(said(VideoDevice::Node("/dev/video-none".into())), "/dev/video-none is not there");
        assert_eq!(
            said(VideoDevice::Node("/dev/null".into())),
            "cannot open /dev/null",
            "it is no V4L2 device"
        );
    }
}
