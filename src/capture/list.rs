//! Every capture device that is there, with the names that it keeps when it is plugged in again.

use std::fs;
use std::path::{Path, PathBuf};

use super::description::Capabilities;
use super::device::Opened;
use super::find::nodes;
use super::identity::Identity;
use super::{BY_ID, BY_PATH, Error};

/// A capture device as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    pub node: PathBuf,
    pub identity: Identity,
    /// By its serial number: `video.device = "by-id:…"`.
    pub by_id: Option<String>,
    /// By the socket that it is plugged into: `video.device = "by-path:…"`.
    pub by_path: Option<String>,
    pub capabilities: Capabilities,
}

/// A node that would not tell what it is.
#[derive(Debug)]
pub struct Mute {
    pub node: PathBuf,
    pub error: Error,
}

/// All capture devices by the number of their nodes, and the nodes that cannot be asked. Asks their drivers,
/// which may take seconds.
///
/// # Errors
/// When `/dev` cannot be listed.
pub fn devices() -> Result<(Vec<Device>, Vec<Mute>), Error> {
    let dev = Path::new("/dev");
    let (mut devices, mut mute) = (Vec::new(), Vec::new());
    for node in nodes(dev)? {
        match Opened::open(&node).and_then(Opened::describe) {
            Ok((opened, capabilities)) => devices.push(Device {
                by_id: alias(&dev.join(BY_ID), &node),
                by_path: alias(&dev.join(BY_PATH), &node),
                identity: opened.identity().clone(),
                node,
                capabilities,
            }),
            Err(Error::NotCapture { .. }) => {}
            Err(error) => mute.push(Mute { node, error }),
        }
    }
    Ok((devices, mute))
}

/// The name of the link in `directory` that leads to `node`.
fn alias(directory: &Path, node: &Path) -> Option<String> {
    let leads_there = |link: &fs::DirEntry| fs::canonicalize(link.path()).is_ok_and(|target| target == node);
    let links = fs::read_dir(directory).ok()?; // missing where udev or a device with such a name is
    let mut names: Vec<String> = links
        .filter_map(Result::ok)
        .filter(leads_there)
        .filter_map(|link| link.file_name().into_string().ok())
        .collect();
    names.sort(); // of several, always the same
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_device_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let node = fs::canonicalize(directory.path()).unwrap().join("video4");
        fs::write(&node, "").unwrap();
        let links = directory.path().join("by-id");
        fs::create_dir(&links).unwrap();
        symlink("../video4", links.join("usb-Cam_0001-video-index0")).unwrap();
        symlink("../video5", links.join("usb-Other-video-index0")).unwrap();
        assert_eq!(alias(&links, &node).as_deref(), Some("usb-Cam_0001-video-index0"));
        assert_eq!(alias(&links, Path::new("/dev/video6")), None);
        assert_eq!(alias(Path::new("/no/such/directory"), &node), None);
    }
}
