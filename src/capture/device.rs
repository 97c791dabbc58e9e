//! An opened capture device: what it is, what it offers, and what it is told.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use v4l::Device;
use v4l::buffer::Type;
use v4l::capability::Flags;
use v4l::format::description::Flags as FormatFlags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream as MmapStream;
use v4l::io::traits::{CaptureStream, Stream};
use v4l::v4l_sys::{
    V4L2_IN_CAP_DV_TIMINGS, V4L2_IN_ST_NO_H_LOCK, V4L2_IN_ST_NO_POWER, V4L2_IN_ST_NO_SIGNAL,
    V4L2_IN_ST_NO_SYNC, V4L2_IN_ST_NO_V_LOCK,
};
use v4l::video::Capture;

use super::description::{
    Capabilities, Control, ControlKind, Extent, Extents, Format, FourCc, Rate, Rates, Signal, Size, Trouble,
};
use super::identity::Identity;
use super::mode::Mode;
use super::{Error, guarded, ioctl, sysfs};

/// A node that is open. As long as it is, its number becomes no other device's: the kernel gives a number
/// away again when the last descriptor has been closed.
pub struct Opened {
    node: PathBuf,
    identity: Identity,
    device: Device,
}

impl Opened {
    /// Opens a node that gives pictures; those of metadata, outputs and codecs are refused.
    ///
    /// # Errors
    /// When it cannot be opened, is no such device, or its driver does not answer.
    pub fn open(node: &Path) -> Result<Opened, Error> {
        let path = node.to_owned();
        guarded::ask(node, move || {
            let opened = Device::with_path(&path).and_then(|device| Ok((device.query_caps()?, device)));
            let (caps, device) = opened.map_err(|source| Error::Open { node: path.clone(), source })?;
            if !caps.capabilities.intersects(Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE) {
                return Err(Error::NotCapture { node: path, card: caps.card });
            }
            let (major, minor) =
                ioctl::numbers(&device).map_err(|source| Error::Open { node: path.clone(), source })?;
            let (index, usb) = sysfs::look_up(Path::new("/sys"), major, minor);
            let identity = Identity { driver: caps.driver, card: caps.card, bus: caps.bus, index, usb };
            Ok(Opened { node: path, identity, device })
        })
    }

    pub fn node(&self) -> &Path {
        &self.node
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Has everything be asked that it offers, and gives it back with the device.
    pub fn describe(self) -> Result<(Opened, Capabilities), Error> {
        self.asked(|device| {
            let input = ioctl::input(device);
            Ok(Capabilities {
                formats: formats(device)?,
                controls: ioctl::controls(device),
                signal: signal_at(device, input.as_ref()),
                current: device.format().ok().map(|format| Extent::new(format.width, format.height)),
                input: input.map(|input| input.name),
            })
        })
    }

    /// Whether a picture comes in, where there is an input that tells.
    pub fn signal(self) -> Result<(Opened, Signal), Error> {
        self.asked(|device| Ok(signal_at(device, ioctl::input(device).as_ref())))
    }

    /// Sets the device to the timings of what comes in, where they have changed: formats and sizes follow from
    /// them.
    pub fn follow_timings(self) -> Result<(Opened, ()), Error> {
        self.asked(|device| {
            let Ok(seen) = ioctl::query_timings(device) else { return Ok(()) }; // no such input, or nothing comes
            match ioctl::timings(device) {
                Ok(set) if set.described() == seen.described() => Ok(()),
                Ok(_) | Err(_) => ioctl::set_timings(device, &seen),
            }
        })
    }

    /// Has it tell senders what they may send; see [`check_edid`]. One that does so already is left alone:
    /// senders take each change for a cable that was pulled out and put in again.
    pub fn set_edid(self, edid: Vec<u8>) -> Result<(Opened, ()), Error> {
        self.asked(move |device| match ioctl::edid(device) {
            Ok(present) if present == edid => Ok(()),
            Ok(_) | Err(_) => ioctl::set_edid(device, &edid),
        })
    }

    /// Writes controls, by their names, in that order. Gives what was refused, each in words: a picture that
    /// is too dark is better than none.
    pub fn adjust(self, wanted: Vec<(String, i64)>) -> Result<(Opened, Vec<String>), Error> {
        self.asked(move |device| {
            // Asked anew for each: one control may change what others take.
            let set = |(name, value): &(String, i64)| {
                let write = |id, value| ioctl::set_control(device, id, value);
                adjust(&ioctl::controls(device), name, *value, write).err()
            };
            Ok(wanted.iter().filter_map(set).collect())
        })
    }

    /// Begins to capture in that mode, and ends it at once. Of a device that cannot begin (no room on its bus, a
    /// sensor that does not answer), GStreamer's v4l2src keeps the buffers for good that it has made for that, with a
    /// descriptor each: one that has just failed is not given to it before it can.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn rehearse(self, mode: &Mode) -> Result<(Opened, ()), Error> {
        let (node, format) = (self.node.clone(), *mode);
        guarded::ask(&node, move || match rehearse(&self.device, &format) {
            Ok(()) => Ok((self, ())),
            Err(source) => Err(Error::Begin { node: self.node.clone(), source }),
        })
    }

    /// From now on [`Opened::wait_for_change`] returns early when the source changes. An error where the
    /// device has no such events.
    pub fn subscribe(&self) -> io::Result<()> {
        ioctl::subscribe_source_change(&self.device)
    }

    /// Waits for such a change, or for the time to pass. An error where the device has gone.
    pub fn wait_for_change(&self, limit: Duration) -> io::Result<bool> {
        ioctl::wait_for_change(&self.device, limit)
    }

    /// Asks on a thread that has the device meanwhile: one that hangs keeps it.
    fn asked<T: Send + 'static>(
        self,
        question: impl FnOnce(&Device) -> io::Result<T> + Send + 'static,
    ) -> Result<(Opened, T), Error> {
        let node = self.node.clone();
        guarded::ask(&node, move || match question(&self.device) {
            Ok(answer) => Ok((self, answer)),
            Err(source) => Err(Error::Ask { node: self.node.clone(), source }),
        })
    }
}

/// Whether these are whole EDID blocks: 128 bytes each, their sum 0, the first with EDID's mark.
///
/// # Errors
/// What is wrong.
pub fn check_edid(edid: &[u8]) -> Result<(), String> {
    const MARK: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    if edid.len() > MOST_EDID {
        return Err(format!("has more than {MOST_EDID} bytes, not 1 to 256 blocks of 128"));
    }
    if edid.is_empty() || !edid.len().is_multiple_of(ioctl::EDID_BLOCK) {
        return Err(format!("has {} bytes, not 1 to 256 blocks of 128", edid.len()));
    }
    if !edid.starts_with(&MARK) {
        return Err("does not begin as an EDID does: a binary file is wanted".to_owned());
    }
    let sum = |block: &[u8]| block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    match edid.chunks(ioctl::EDID_BLOCK).position(|block| sum(block) != 0) {
        Some(block) => Err(format!("has a wrong checksum in block {block}")),
        None => Ok(()),
    }
}

/// Has one of `controls` written, where it takes that.
fn adjust(
    controls: &[Control],
    name: &str,
    value: i64,
    write: impl FnOnce(u32, i32) -> io::Result<()>,
) -> Result<(), String> {
    let Some(control) = controls.iter().find(|control| control.name == name) else {
        let names = controls.iter().filter(|it| is_for_us(it)).map(|it| it.name.as_str());
        let near = names.min_by_key(|other| strsim::damerau_levenshtein(name, other));
        let hint = near.map(|near| format!("; the nearest name that it has is {near}")).unwrap_or_default();
        return Err(format!("{name}: the device has no such control{hint}"));
    };
    if !is_for_us(control) {
        return Err(format!("{name} cannot be set"));
    }
    let number = i32::try_from(value).ok().filter(|_| control.takes(value));
    let number = number.ok_or_else(|| format!("{name} = {value}: the device takes {}", control.range()))?;
    write(control.id, number).map_err(|error| format!("{name} = {value}: {error}"))
}

/// What comes before the beginning, and is refused, leaves nothing behind: v4l2src finds it out.
fn rehearse(device: &Device, mode: &Mode) -> io::Result<()> {
    let format = v4l::Format::new(mode.extent.width, mode.extent.height, v4l::FourCC::new(&mode.fourcc.0));
    if device.set_format(&format).is_err() {
        return Ok(());
    }
    let Ok(mut stream) = MmapStream::with_buffers(device, Type::VideoCapture, REHEARSED) else {
        return Ok(());
    };
    for index in 0..MOST_BUFFERS {
        if CaptureStream::queue(&mut stream, index).is_err() {
            break; // there are no more
        }
    }
    stream.start() // dropped, it ends, and its buffers go
}

fn is_for_us(control: &Control) -> bool {
    !control.read_only && control.kind != ControlKind::Other
}

fn signal_at(device: &Device, input: Option<&ioctl::Input>) -> Signal {
    let Some(input) = input else { return Signal::Untold };
    if input.capabilities & V4L2_IN_CAP_DV_TIMINGS != 0 {
        return match ioctl::query_timings(device) {
            Ok(timings) => Signal::Present(timings.described()),
            Err(error) => match trouble_of(&error) {
                Some(trouble) => Signal::Absent(trouble),
                // Not told while it streams, by some; what it is set to is what comes then.
                None => Signal::Present(ioctl::timings(device).ok().and_then(|timings| timings.described())),
            },
        };
    }
    match trouble_at(input.status) {
        Some(trouble) => Signal::Absent(trouble),
        None => Signal::Untold,
    }
}

/// What QUERY_DV_TIMINGS fails with (V4L2 documentation, "Query DV timings").
fn trouble_of(error: &io::Error) -> Option<Trouble> {
    let number = rustix::io::Errno::from_io_error(error)?;
    match number {
        rustix::io::Errno::NOLINK => Some(Trouble::NoSignal),
        rustix::io::Errno::NOLCK => Some(Trouble::NoLock),
        rustix::io::Errno::RANGE => Some(Trouble::OutOfRange),
        _ => None,
    }
}

/// What an input's status says.
fn trouble_at(status: u32) -> Option<Trouble> {
    let says = |flags: u32| status & flags != 0;
    if says(V4L2_IN_ST_NO_POWER) {
        Some(Trouble::NoPower)
    } else if says(V4L2_IN_ST_NO_SIGNAL) {
        Some(Trouble::NoSignal)
    } else if says(V4L2_IN_ST_NO_H_LOCK | V4L2_IN_ST_NO_V_LOCK | V4L2_IN_ST_NO_SYNC) {
        Some(Trouble::NoLock)
    } else {
        None
    }
}

fn formats(device: &Device) -> io::Result<Vec<Format>> {
    let format = |format: v4l::format::Description| {
        let sizes = device.enum_framesizes(format.fourcc).unwrap_or_default(); // EINVAL where none are listed
        Format {
            fourcc: FourCc(format.fourcc.repr),
            emulated: format.flags.contains(FormatFlags::EMULATED),
            sizes: sizes.into_iter().map(|size| size_of(device, format.fourcc, size.size)).collect(),
            description: format.description,
        }
    };
    Ok(device.enum_formats()?.into_iter().map(format).collect())
}

fn size_of(device: &Device, fourcc: v4l::FourCC, size: FrameSizeEnum) -> Size {
    let extent = match size {
        FrameSizeEnum::Discrete(size) => Extents::One(Extent::new(size.width, size.height)),
        FrameSizeEnum::Stepwise(size) => Extents::Stepwise {
            least: Extent::new(size.min_width, size.min_height),
            most: Extent::new(size.max_width, size.max_height),
            step: Extent::new(size.step_width, size.step_height),
        },
    };
    // Of a range those of its largest, which are the slowest.
    let (Extents::One(asked) | Extents::Stepwise { most: asked, .. }) = extent;
    let intervals = device.enum_frameintervals(fourcc, asked.width, asked.height).unwrap_or_default();
    let rate = |interval: v4l::Fraction| Rate::of_interval(interval.numerator, interval.denominator);
    let rates = intervals.into_iter().filter_map(|interval| match interval.interval {
        FrameIntervalEnum::Discrete(interval) => rate(interval).map(Rates::One),
        FrameIntervalEnum::Stepwise(range) => {
            Some(Rates::Range { slowest: rate(range.max)?, fastest: rate(range.min)? })
        }
    });
    Size { extent, rates: rates.collect() }
}

/// Some drivers begin only with two or three; they give more where they want more.
const REHEARSED: u32 = 4;

/// VIDEO_MAX_FRAME: no device has more.
const MOST_BUFFERS: usize = 32;

/// Bytes: an EDID counts its blocks in one of its own.
pub const MOST_EDID: usize = ioctl::MOST_EDID_BLOCKS * ioctl::EDID_BLOCK;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edid_is_looked_at_before_it_is_told() {
        let mut edid = vec![0; 128];
        edid[1..7].fill(0xff);
        edid[127] = 6; // six times 255 is -6
        assert_eq!(check_edid(&edid), Ok(()));
        edid[20] = 1;
        assert_eq!(check_edid(&edid).unwrap_err(), "has a wrong checksum in block 0");
        assert_eq!(check_edid(&edid[..100]).unwrap_err(), "has 100 bytes, not 1 to 256 blocks of 128");
        assert!(check_edid(&[b'0'; 128]).unwrap_err().contains("binary"));
        assert!(check_edid(&[]).is_err());
        assert!(check_edid(&[0; MOST_EDID + 1]).unwrap_err().contains("more than 32768 bytes"));
    }

    #[test]
    fn a_control_is_written_only_as_the_device_takes_it() {
        let control = |name: &str, kind| Control {
            name: name.to_owned(),
            id: 7,
            kind,
            default: 0,
            value: None,
            read_only: name == "power_present",
            inactive: false,
        };
        let controls = [
            control("brightness", ControlKind::Integer { least: -64, most: 64, step: 1 }),
            control("power_present", ControlKind::Boolean),
            control("area", ControlKind::Other),
        ];
        let set = |name: &str, value| {
            let mut written = None;
            let write = |id, value| {
                written = Some((id, value));
                Ok(())
            };
            adjust(&controls, name, value, write).map(|()| written)
        };
        assert_eq!(set("brightness", -10), Ok(Some((7, -10))));
        assert_eq!(set("brightness", 65).unwrap_err(), "brightness = 65: the device takes -64 to 64");
        assert_eq!(
            set("brightnes", 1).unwrap_err(),
            "brightnes: the device has no such control; the nearest name that it has is brightness"
        );
        assert_eq!(set("power_present", 1).unwrap_err(), "power_present cannot be set");
        let refused = adjust(&controls, "brightness", 1, |_, _| Err(io::ErrorKind::ResourceBusy.into()));
        assert_eq!(refused.unwrap_err(), "brightness = 1: resource busy");
    }

    #[test]
    fn why_there_is_no_picture() {
        let trouble = |number: rustix::io::Errno| trouble_of(&number.into());
        assert_eq!(trouble(rustix::io::Errno::NOLINK), Some(Trouble::NoSignal));
        assert_eq!(trouble(rustix::io::Errno::NOLCK), Some(Trouble::NoLock));
        assert_eq!(trouble(rustix::io::Errno::RANGE), Some(Trouble::OutOfRange));
        assert_eq!(trouble(rustix::io::Errno::BUSY), None);
        assert_eq!(trouble_at(V4L2_IN_ST_NO_SIGNAL | V4L2_IN_ST_NO_H_LOCK), Some(Trouble::NoSignal));
        assert_eq!(trouble_at(V4L2_IN_ST_NO_SYNC), Some(Trouble::NoLock));
        assert_eq!(trouble_at(0), None);
    }
}
