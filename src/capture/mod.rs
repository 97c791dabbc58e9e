//! Capture devices: which there are, and what the configuration's device stands for.

pub mod jpeg;
mod list;
mod sound;

use std::panic;
use std::path::{Path, PathBuf};

use v4l::capability::{Capabilities, Flags};

pub use self::list::{Device, devices};
pub use self::sound::{SoundInput, sound_inputs};
use crate::config::VideoDevice;

/// Why no device node was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no capture device")]
    None,
    #[error("{path} is not there")]
    Absent { path: PathBuf },
}

/// The device node that `device` means just now.
pub fn resolve(device: &VideoDevice) -> Result<PathBuf, Error> {
    let path = match device {
        VideoDevice::Auto => return first().ok_or(Error::None),
        VideoDevice::ById(name) => Path::new(BY_ID).join(name),
        VideoDevice::ByPath(name) => Path::new(BY_PATH).join(name),
        VideoDevice::Node(path) => path.clone(),
    };
    if path.exists() { Ok(path) } else { Err(Error::Absent { path }) }
}

/// The first node, by number, that gives pictures.
fn first() -> Option<PathBuf> {
    let mut nodes = numbered_nodes();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).find(|path| captures(path))
}

/// `/dev/videoN` with N. Listed here and not by the v4l crate, which panics on names without a number.
fn numbered_nodes() -> Vec<(u32, PathBuf)> {
    let entries = match std::fs::read_dir("/dev") {
        Ok(entries) => entries,
        Err(error) => {
            log::warn!("cannot list /dev: {error}");
            return Vec::new();
        }
    };
    let node = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()?;
        Some((number, entry.path()))
    };
    entries.filter_map(Result::ok).filter_map(node).collect()
}

/// Whether a node is a capture device.
fn captures(path: &Path) -> bool {
    capabilities(path).is_some()
}

/// Of a capture device; nothing of its metadata, an output or a codec, or of what cannot be asked.
fn capabilities(path: &Path) -> Option<Capabilities> {
    let captures = Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE;
    // The v4l crate panics on strings from the driver that are not UTF-8.
    let asked = panic::catch_unwind(|| v4l::Device::with_path(path).and_then(|device| device.query_caps()));
    match asked {
        Ok(Ok(caps)) => caps.capabilities.intersects(captures).then_some(caps),
        Ok(Err(error)) => {
            log::debug!(device:? = path; "not asked for its capabilities: {error}");
            None
        }
        Err(_) => {
            log::warn!(device:? = path; "its driver's answer is malformed");
            None
        }
    }
}

const BY_ID: &str = "/dev/v4l/by-id";
const BY_PATH: &str = "/dev/v4l/by-path";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let error = resolve(&VideoDevice::ById("usb-None_0001-video-index0".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "/dev/v4l/by-id/usb-None_0001-video-index0 is not there");
        let error = resolve(&VideoDevice::ByPath("pci-0".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "/dev/v4l/by-path/pci-0 is not there");
        assert!(resolve(&VideoDevice::Node("/dev/video-none".into())).is_err());
    }

    #[test]
    fn a_node_that_is_there_is_taken_as_it_is() {
        let node = PathBuf::from("/dev/null");
        assert_eq!(resolve(&VideoDevice::Node(node.clone())).unwrap(), node);
        assert!(!captures(&node), "but it is no capture device");
    }
}
