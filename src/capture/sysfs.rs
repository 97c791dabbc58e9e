//! What the kernel shows of a device node below `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

use super::identity::Usb;

/// Which of its device's nodes the node with these numbers is, and its USB device.
pub fn look_up(sys: &Path, major: u32, minor: u32) -> (u32, Option<Usb>) {
    // Canonical, since the way to the parents leads over a link.
    let Ok(node) = fs::canonicalize(sys.join(format!("dev/char/{major}:{minor}"))) else {
        return (0, None); // not mounted, or gone in this moment
    };
    let index = attribute(&node, "index").and_then(|index| index.parse().ok()).unwrap_or(0);
    (index, node.ancestors().find(|directory| directory.join("idVendor").exists()).map(|it| usb(it, &node)))
}

fn usb(device: &Path, node: &Path) -> Usb {
    let interface = node.ancestors().take_while(|directory| *directory != device).last();
    Usb {
        vendor: attribute(device, "idVendor").unwrap_or_default(),
        product: attribute(device, "idProduct").unwrap_or_default(),
        manufacturer: attribute(device, "manufacturer"),
        model: attribute(device, "product"),
        serial: attribute(device, "serial"),
        interface: interface.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()),
    }
}

/// Missing where the device does not say it.
fn attribute(directory: &Path, name: &str) -> Option<String> {
    let text = fs::read(PathBuf::from(directory).join(name)).ok()?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_usb_camera_and_one_that_is_none() {
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("devices/pci0000:00/0000:00:14.0/usb1/1-2");
        let node = device.join("1-2:1.0/video4linux/video3");
        let onboard = sys.path().join("devices/platform/csi/video4linux/video0");
        for (directory, name, text) in [
            (&device, "idVendor", "046d\n"),
            (&device, "idProduct", "082d\n"),
            (&device, "product", "HD Pro Webcam C920\n"),
            (&device, "serial", "0A1B2C3F\n"),
            (&node, "index", "1\n"),
            (&onboard, "index", "0\n"),
        ] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(name), text).unwrap();
        }
        fs::create_dir_all(sys.path().join("dev/char")).unwrap();
        symlink(&node, sys.path().join("dev/char/81:3")).unwrap();
        symlink(&onboard, sys.path().join("dev/char/81:0")).unwrap();

        let (index, usb) = look_up(sys.path(), 81, 3);
        let usb = usb.unwrap();
        assert_eq!((index, usb.vendor.as_str(), usb.product.as_str()), (1, "046d", "082d"));
        assert_eq!(
            (usb.model.as_deref(), usb.serial.as_deref()),
            (Some("HD Pro Webcam C920"), Some("0A1B2C3F"))
        );
        assert_eq!((usb.manufacturer, usb.interface.as_deref()), (None, Some("1-2:1.0")));
        assert_eq!(look_up(sys.path(), 81, 0), (0, None));
        assert_eq!(look_up(sys.path(), 81, 9), (0, None));
    }
}
