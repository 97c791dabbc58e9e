//! On a `/dev` of files, whose contents say which camera each is.

use std::cell::Cell;
use std::os::unix::fs::symlink;

use super::super::identity::tests::camera;
use super::*;

const RIGHT: &str = "usb-046d_C920_1-video-index0";

#[test]
fn a_camera_is_found_under_whatever_number_it_has() {
    let dev = Dev::new();
    dev.plug(0, "C920 1 1-2:1.0", Some(RIGHT));
    assert_eq!(dev.open(&by_id(RIGHT)).unwrap(), "C920 1 1-2:1.0");
    dev.unplug(0, Some(RIGHT));
    assert!(matches!(dev.open(&by_id(RIGHT)), Err(Error::Absent { .. })));
    dev.plug(7, "C920 1 1-4:1.0", Some(RIGHT));
    assert_eq!(dev.open(&by_id(RIGHT)).unwrap(), "C920 1 1-4:1.0");
}

#[test]
fn another_camera_under_its_number_is_not_taken() {
    let dev = Dev::new();
    dev.plug(0, "C920 1 1-2:1.0", Some(RIGHT));
    // udev has not taken the link away yet.
    dev.unplug(0, None);
    dev.plug(0, "BRIO 9 1-2:1.0", None);
    let error = dev.open(&by_id(RIGHT)).unwrap_err();
    assert!(
        error.to_string().ends_with("leads to another camera now: BRIO, serial 9, at usb-0000:00:14.0-2"),
        "{error}"
    );
    // One of its own kind neither.
    dev.plug(0, "C920 2 1-2:1.0", None);
    assert!(matches!(dev.open(&by_id(RIGHT)), Err(Error::Another { .. })));
}

#[test]
fn a_name_that_changes_between_look_and_open_is_not_followed() {
    let dev = Dev::new();
    dev.plug(0, "C920 1 1-2:1.0", Some(RIGHT));
    let open = |node: &Path| {
        let opened = dev.opened(node);
        // In this moment it comes back under another number, and udev renews the link.
        dev.plug(1, "C920 1 1-3:1.0", None);
        dev.link(BY_ID, RIGHT, 1);
        opened
    };
    let result = open_below(&dev.root, &by_id(RIGHT), None, open);
    assert!(matches!(result, Err(Error::Another { .. })), "what was opened is a node of before");
    assert_eq!(dev.open(&by_id(RIGHT)).unwrap(), "C920 1 1-3:1.0", "the next attempt finds it");
}

#[test]
fn a_port_is_the_port() {
    let dev = Dev::new();
    let name = "pci-0000:00:14.0-usb-0:2:1.0-video-index0";
    dev.plug(0, "C920 1 1-2:1.0", None);
    dev.link(BY_PATH, name, 0);
    let wanted = VideoDevice::ByPath(name.to_owned());
    assert_eq!(dev.open(&wanted).unwrap(), "C920 1 1-2:1.0");
    dev.plug(0, "BRIO 9 1-2:1.0", None);
    assert_eq!(dev.open(&wanted).unwrap(), "BRIO 9 1-2:1.0", "whatever is plugged in there");
    dev.plug(0, "BRIO 9 1-5:1.0", None);
    assert!(matches!(dev.open(&wanted), Err(Error::Another { .. })));
}

#[test]
fn auto_keeps_to_the_camera_that_it_chose() {
    let dev = Dev::new();
    assert!(matches!(dev.open_auto(None), Err(Error::None)));
    dev.plug(0, "no camera", None);
    dev.plug(2, "C920 1 1-2:1.0", None);
    dev.plug(10, "BRIO 9 1-3:1.0", None);
    assert_eq!(dev.open_auto(None).unwrap(), "C920 1 1-2:1.0", "by number, and not by letters");
    let chosen = camera("C920", Some("1"), "1-2:1.0");
    dev.unplug(2, None);
    let error = dev.open_auto(Some(&chosen)).unwrap_err();
    assert_eq!(error.to_string(), "C920, serial 1, at usb-0000:00:14.0-2 is not plugged in");
    dev.plug(1, "C920 1 1-4:1.0", None);
    assert_eq!(dev.open_auto(Some(&chosen)).unwrap(), "C920 1 1-4:1.0");
}

#[test]
fn of_two_of_a_kind_the_one_in_its_place_is_taken_and_none_where_that_is_unknown() {
    let dev = Dev::new();
    let chosen = camera("C920", None, "1-3:1.0");
    dev.plug(0, "C920 - 1-2:1.0", None);
    dev.plug(1, "C920 - 1-3:1.0", None);
    assert_eq!(dev.open_auto(Some(&chosen)).unwrap(), "C920 - 1-3:1.0");
    dev.plug(1, "C920 - 1-4:1.0", None);
    assert!(matches!(dev.open_auto(Some(&chosen)), Err(Error::Away { .. })));
    dev.unplug(1, None);
    assert_eq!(dev.open_auto(Some(&chosen)).unwrap(), "C920 - 1-2:1.0", "one alone will be it");
}

#[test]
fn a_camera_that_cannot_be_opened_may_be_the_one() {
    let dev = Dev::new();
    dev.plug(0, "busy", None);
    let chosen = camera("C920", Some("1"), "1-2:1.0");
    assert!(matches!(dev.open_auto(Some(&chosen)), Err(Error::Hung { .. })));
    let opened = Cell::new(0);
    let open = |node: &Path| {
        opened.set(opened.get() + 1);
        dev.opened(node)
    };
    dev.plug(1, "C920 1 1-2:1.0", None);
    assert!(open_below(&dev.root, &VideoDevice::Auto, Some(&chosen), open).is_ok());
    assert_eq!(opened.get(), 2);
}

fn by_id(name: &str) -> VideoDevice {
    VideoDevice::ById(name.to_owned())
}

struct Dev {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

/// A camera that is open.
struct Fake(Identity, String);

impl Identified for Fake {
    fn identity(&self) -> &Identity {
        &self.0
    }
}

impl Dev {
    fn new() -> Dev {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(root.join(BY_ID)).unwrap();
        fs::create_dir_all(root.join(BY_PATH)).unwrap();
        fs::write(root.join("video-loop"), "").unwrap();
        fs::write(root.join("null"), "").unwrap();
        Dev { root, _directory: directory }
    }

    /// `camera`: its model, its serial number or `-`, and its USB interface.
    fn plug(&self, number: u32, camera: &str, id: Option<&str>) {
        fs::write(self.root.join(format!("video{number}")), camera).unwrap();
        if let Some(id) = id {
            self.link(BY_ID, id, number);
        }
    }

    fn unplug(&self, number: u32, id: Option<&str>) {
        fs::remove_file(self.root.join(format!("video{number}"))).unwrap();
        if let Some(id) = id {
            fs::remove_file(self.root.join(BY_ID).join(id)).unwrap();
        }
    }

    fn link(&self, directory: &str, name: &str, number: u32) {
        let link = self.root.join(directory).join(name);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).unwrap();
        }
        symlink(format!("../../video{number}"), link).unwrap();
    }

    fn opened(&self, node: &Path) -> Result<Fake, Error> {
        let text = fs::read_to_string(node).unwrap();
        let words: Vec<_> = text.split(' ').collect();
        match words.as_slice() {
            ["busy"] => Err(Error::Hung { node: node.to_owned() }),
            [model, serial, interface] => {
                let serial = Some(*serial).filter(|serial| *serial != "-");
                Ok(Fake(camera(model, serial, interface), text.clone()))
            }
            _ => Err(Error::NotCapture { node: node.to_owned(), card: text }),
        }
    }

    fn open(&self, wanted: &VideoDevice) -> Result<String, Error> {
        open_below(&self.root, wanted, None, |node| self.opened(node)).map(|opened| opened.1)
    }

    fn open_auto(&self, chosen: Option<&Identity>) -> Result<String, Error> {
        open_below(&self.root, &VideoDevice::Auto, chosen, |node| self.opened(node)).map(|opened| opened.1)
    }
}
