//! Which camera a device is: what stays the same when it is plugged in again, and what does not.

/// Of one device node, as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub driver: String,
    /// As its driver calls it.
    pub card: String,
    /// Where it is attached: `usb-0000:00:14.0-2`, `platform:vivid-000`.
    pub bus: String,
    /// Which of its device's nodes it is; 0 where it has one alone.
    pub index: u32,
    /// `None` where it is no USB device.
    pub usb: Option<Usb>,
}

/// What a USB device says of itself, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usb {
    /// Four hexadecimal digits.
    pub vendor: String,
    pub product: String,
    pub manufacturer: Option<String>,
    /// The product's name.
    pub model: Option<String>,
    /// Many cheap devices have none, or the same for all.
    pub serial: Option<String>,
    /// Port and interface in the kernel's words: `1-2.3:1.0`.
    pub interface: Option<String>,
}

impl Identity {
    /// Whether a device is the camera that udev named so below `by-id`. The link may be older than the
    /// device: udev takes links away a while after a device has gone, and its number may be another's by then.
    pub fn is_named(&self, by_id: &str) -> bool {
        let Some(usb) = &self.usb else { return true }; // such names come from USB alone
        let Some((name, index)) = split_index(by_id) else { return true }; // no name of udev's own rules
        let name = letters(name);
        let part = |part: &Option<String>, otherwise: &str| letters(part.as_deref().unwrap_or(otherwise));
        let manufacturer = part(&usb.manufacturer, &usb.vendor);
        let (model, serial) = (part(&usb.model, &usb.product), part(&usb.serial, ""));
        // udev: usb-MANUFACTURER_MODEL_SERIAL, of each as much as fits.
        let ends_as_it_does = match model.get(..COMPARED) {
            Some(beginning) => name.contains(beginning) && name.ends_with(&serial),
            None => name.ends_with(&format!("{model}{serial}")),
        };
        index == self.index
            && ends_as_it_does
            && name.contains(manufacturer.get(..COMPARED).unwrap_or(&manufacturer))
    }

    /// Whether it is plugged in where udev's name below `by-path` says.
    pub fn is_at(&self, by_path: &str) -> bool {
        let Some(interface) = self.usb.as_ref().and_then(|usb| usb.interface.as_deref()) else { return true };
        // The bus, which the kernel numbers as it comes, is not in udev's name: 1-2.3:1.0 is usb-0:2.3:1.0.
        let Some((_, port)) = interface.split_once('-') else { return true };
        let Some((name, index)) = split_index(by_path) else { return true };
        !name.contains("usb") || (name.ends_with(&format!(":{port}")) && index == self.index)
    }

    /// Whether it is the camera of before, wherever it is plugged in and whatever its number is. One that has
    /// no serial number is known by its kind.
    pub fn is(&self, before: &Identity) -> bool {
        if self.index != before.index || self.driver != before.driver || self.card != before.card {
            return false;
        }
        match (&self.usb, &before.usb) {
            (Some(now), Some(before)) => {
                now.vendor == before.vendor && now.product == before.product && now.serial == before.serial
            }
            (None, None) => self.bus == before.bus,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether it is even plugged in where it was.
    pub fn is_in_place(&self, before: &Identity) -> bool {
        self.is(before) && self.bus == before.bus
    }

    /// For people: `HD Pro Webcam C920, serial 1234, at usb-0000:00:14.0-2`.
    pub fn described(&self) -> String {
        let serial = self.usb.as_ref().and_then(|usb| usb.serial.as_deref());
        let serial = serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
        format!("{}{serial}, at {}", self.card, self.bus)
    }
}

/// `usb-046d_C920_1234-video-index0` is `usb-046d_C920_1234` and 0.
fn split_index(name: &str) -> Option<(&str, u32)> {
    let (name, index) = name.rsplit_once("-video-index")?;
    Some((name, index.parse().ok()?))
}

/// What udev leaves as it is, in every version of its rules for what is replaced by `_`.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Characters of each part: udev keeps the first 63 bytes of a name, and replaces some.
const COMPARED: usize = 40;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_name_by_id_is_that_of_the_device() {
        let camera = camera("HD Pro Webcam C920", Some("0A1B2C3F"), "1-2:1.0");
        assert!(camera.is_named("usb-046d_HD_Pro_Webcam_C920_0A1B2C3F-video-index0"));
        assert!(camera.is_named("by hand"), "a link of somebody's own rule");
        for other in [
            "usb-046d_HD_Pro_Webcam_C920_0A1B2C40-video-index0",
            "usb-046d_HD_Pro_Webcam_C920_0A1B2C3F-video-index1",
            "usb-046d_BRIO_0A1B2C3F-video-index0",
            "usb-MACROSILICON_USB_Video-video-index0",
        ] {
            assert!(!camera.is_named(other), "{other}");
        }
        let odd = Usb { manufacturer: Some("Étoile (Shenzhen)".to_owned()), ..camera.usb.clone().unwrap() };
        let odd = Identity { usb: Some(odd), ..camera };
        assert!(odd.is_named("usb-__toile__Shenzhen__HD_Pro_Webcam_C920_0A1B2C3F-video-index0"));
    }

    #[test]
    fn a_name_by_path_is_its_port() {
        let camera = camera("C920", None, "3-2.1:1.0");
        assert!(camera.is_at("pci-0000:00:14.0-usb-0:2.1:1.0-video-index0"));
        assert!(camera.is_at("platform-fd500000.pcie-pci-0000:01:00.0-usb-0:2.1:1.0-video-index0"));
        assert!(!camera.is_at("pci-0000:00:14.0-usb-0:1:1.0-video-index0"));
        assert!(!camera.is_at("pci-0000:00:14.0-usb-0:12.1:1.0-video-index0"));
        assert!(!camera.is_at("pci-0000:00:14.0-usb-0:2.1:1.0-video-index1"));
        let onboard = Identity { usb: None, ..camera };
        assert!(onboard.is_at("platform-fe801000.csi-video-index0"));
    }

    #[test]
    fn a_camera_is_the_same_in_another_port_and_another_of_its_kind_is_not() {
        let before = camera("C920", Some("1"), "1-2:1.0");
        let moved = camera("C920", Some("1"), "1-4:1.0");
        assert!(moved.is(&before) && !moved.is_in_place(&before));
        assert!(!camera("C920", Some("2"), "1-2:1.0").is(&before));
        assert!(!camera("C930", Some("1"), "1-2:1.0").is(&before));
        let onboard = Identity { usb: None, bus: "platform:a".to_owned(), ..before.clone() };
        assert!(onboard.is(&onboard) && !onboard.is(&before));
        assert!(!Identity { bus: "platform:b".to_owned(), ..onboard.clone() }.is(&onboard));
    }

    pub fn camera(model: &str, serial: Option<&str>, interface: &str) -> Identity {
        let (port, _) = interface.split_once(':').unwrap();
        Identity {
            driver: "uvcvideo".to_owned(),
            card: model.to_owned(),
            bus: format!("usb-0000:00:14.0-{}", port.split_once('-').unwrap().1),
            index: 0,
            usb: Some(Usb {
                vendor: "046d".to_owned(),
                product: "082d".to_owned(),
                manufacturer: None,
                model: Some(model.to_owned()),
                serial: serial.map(str::to_owned),
                interface: Some(interface.to_owned()),
            }),
        }
    }
}
