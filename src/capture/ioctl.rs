//! What the v4l crate lacks of V4L2: DV timings, EDID, events, inputs, and controls without its panics.
//!
//! Nearly the only `unsafe` of the crate, beside `media::heap`. Each block but one hands the kernel one structure that is defined with its
//! request in `linux/videodev2.h`, for as long as the call lasts.
#![allow(unsafe_code)] // ioctls take addresses

use std::io;
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::raw::c_int;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use v4l::Device;
use v4l::v4l_sys::{
    V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_INACTIVE, V4L2_CTRL_FLAG_NEXT_COMPOUND, V4L2_CTRL_FLAG_NEXT_CTRL,
    V4L2_CTRL_FLAG_READ_ONLY, V4L2_EVENT_SOURCE_CHANGE, v4l2_bt_timings, v4l2_control, v4l2_dv_timings,
    v4l2_edid, v4l2_event, v4l2_event_subscription, v4l2_input, v4l2_query_ext_ctrl, v4l2_querymenu,
};
use v4l::v4l2::vidioc::{
    _IOC_TYPE, VIDIOC_ENUMINPUT, VIDIOC_G_CTRL, VIDIOC_G_EDID, VIDIOC_G_INPUT, VIDIOC_QUERYMENU,
    VIDIOC_S_CTRL, VIDIOC_S_EDID,
};

use super::description::{Control, ControlKind, Extent, Rate, Timings, control_name};

/// The input that a device is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    /// `V4L2_IN_ST_…`
    pub status: u32,
    /// `V4L2_IN_CAP_…`
    pub capabilities: u32,
}

/// Timings as the kernel has them.
#[derive(Clone, Copy)]
pub struct DvTimings(v4l2_dv_timings);

/// Major and minor number of the node that was opened.
pub fn numbers(device: &Device) -> io::Result<(u32, u32)> {
    let number = rustix::fs::fstat(descriptor(device))?.st_rdev;
    Ok((rustix::fs::major(number), rustix::fs::minor(number)))
}

/// `None` where the device knows no inputs.
pub fn input(device: &Device) -> Option<Input> {
    let mut index: c_int = 0;
    // SAFETY: G_INPUT writes one int.
    unsafe { call(device, VIDIOC_G_INPUT, &mut index) }.ok()?;
    let mut input: v4l2_input = zeroed();
    input.index = u32::try_from(index).ok()?;
    // SAFETY: ENUMINPUT reads and writes a v4l2_input.
    unsafe { call(device, VIDIOC_ENUMINPUT, &mut input) }.ok()?;
    Some(Input { name: text(&input.name), status: input.status, capabilities: input.capabilities })
}

/// The timings of what comes in just now. The error says why there are none: ENOLINK for no signal,
/// ENOLCK for no stable one, ERANGE for one that the hardware cannot take, ENODATA or ENOTTY where the input
/// knows no timings.
pub fn query_timings(device: &Device) -> io::Result<DvTimings> {
    let mut timings: v4l2_dv_timings = zeroed();
    // SAFETY: QUERY_DV_TIMINGS writes a v4l2_dv_timings.
    unsafe { call(device, QUERY_DV_TIMINGS, &mut timings) }?;
    Ok(DvTimings(timings))
}

/// The timings that the device is set to.
pub fn timings(device: &Device) -> io::Result<DvTimings> {
    let mut timings: v4l2_dv_timings = zeroed();
    // SAFETY: G_DV_TIMINGS writes a v4l2_dv_timings.
    unsafe { call(device, G_DV_TIMINGS, &mut timings) }?;
    Ok(DvTimings(timings))
}

/// Sets the device to them; refused while it streams.
pub fn set_timings(device: &Device, timings: &DvTimings) -> io::Result<()> {
    let mut timings = timings.0;
    // SAFETY: S_DV_TIMINGS reads and writes a v4l2_dv_timings.
    unsafe { call(device, S_DV_TIMINGS, &mut timings) }
}

/// What the device tells senders; empty where it tells nothing.
pub fn edid(device: &Device) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MOST_EDID_BLOCKS * EDID_BLOCK];
    let mut request: v4l2_edid = zeroed();
    request.blocks = MOST_EDID_BLOCKS as u32;
    request.edid = bytes.as_mut_ptr();
    // SAFETY: G_EDID reads and writes a v4l2_edid, and writes at most `blocks` times 128 bytes where it
    // points, which `bytes` has; it lives beyond the call.
    unsafe { call(device, VIDIOC_G_EDID, &mut request) }?;
    bytes.truncate((request.blocks as usize).min(MOST_EDID_BLOCKS) * EDID_BLOCK);
    Ok(bytes)
}

/// Has the device tell senders these capabilities: whole blocks of 128 bytes, at most 256 of them.
pub fn set_edid(device: &Device, edid: &[u8]) -> io::Result<()> {
    let mut bytes = edid.to_vec();
    let mut request: v4l2_edid = zeroed();
    request.blocks = u32::try_from(bytes.len() / EDID_BLOCK).map_err(io::Error::other)?;
    request.edid = bytes.as_mut_ptr();
    // SAFETY: S_EDID reads a v4l2_edid, and reads and writes `blocks` times 128 bytes where it points, which
    // `bytes` has: the number was divided down from its length, and it lives beyond the call.
    unsafe { call(device, VIDIOC_S_EDID, &mut request) }
}

/// From now on changes of the source make [`wait_for_change`] return.
pub fn subscribe_source_change(device: &Device) -> io::Result<()> {
    let mut subscription: v4l2_event_subscription = zeroed();
    subscription.type_ = V4L2_EVENT_SOURCE_CHANGE;
    // SAFETY: SUBSCRIBE_EVENT reads a v4l2_event_subscription.
    unsafe { call(device, SUBSCRIBE_EVENT, &mut subscription) }
}

/// Waits for an event, or for the time to pass; true where there was one. An error where the device has
/// gone.
pub fn wait_for_change(device: &Device, limit: Duration) -> io::Result<bool> {
    let descriptor = descriptor(device);
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::PRI)];
    poll(&mut polled, Some(&Timespec::try_from(limit).map_err(io::Error::other)?))?;
    let seen = polled[0].revents();
    if !seen.contains(PollFlags::PRI) {
        if seen.contains(PollFlags::HUP) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !seen.is_empty() {
            std::thread::sleep(limit); // some drivers say ERR at once whenever nothing streams
        }
        return Ok(false);
    }
    let mut event: v4l2_event = zeroed();
    // SAFETY: DQEVENT writes a v4l2_event.
    unsafe { call(device, DQEVENT, &mut event) }?;
    Ok(event.type_ == V4L2_EVENT_SOURCE_CHANGE)
}

/// All controls that can be told of, each with its menu and its value.
pub fn controls(device: &Device) -> Vec<Control> {
    let mut controls = Vec::new();
    let mut query: v4l2_query_ext_ctrl = zeroed();
    for _ in 0..MOST_CONTROLS {
        query.id |= V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND;
        // SAFETY: QUERY_EXT_CTRL reads and writes a v4l2_query_ext_ctrl.
        if unsafe { call(device, QUERY_EXT_CTRL, &mut query) }.is_err() {
            break; // EINVAL behind the last
        }
        if query.flags & V4L2_CTRL_FLAG_DISABLED == 0 && query.type_ != TYPE_CLASS {
            controls.push(control(device, &query));
        }
    }
    controls
}

/// Sets a control to a number.
pub fn set_control(device: &Device, id: u32, value: i32) -> io::Result<()> {
    let mut control = v4l2_control { id, value };
    // SAFETY: S_CTRL reads and writes a v4l2_control.
    unsafe { call(device, VIDIOC_S_CTRL, &mut control) }
}

impl DvTimings {
    /// `None` where they are of a kind that is not BT.656 and BT.1120, the only one that there is.
    pub fn described(&self) -> Option<Timings> {
        let DvTimings(timings) = self;
        if timings.type_ != BT_656_1120 {
            return None;
        }
        // SAFETY: the type says that this side of the union was written; any bits are a valid value of it.
        let bt: v4l2_bt_timings = unsafe { timings.__bindgen_anon_1.bt };
        let interlaced = bt.interlaced != 0;
        // V4L2_DV_BT_FRAME_WIDTH and _HEIGHT of the header; the second field's share is of interlaced ones.
        let second = if interlaced { [bt.il_vfrontporch, bt.il_vsync, bt.il_vbackporch] } else { [0; 3] };
        let across: u64 =
            [bt.width, bt.hfrontporch, bt.hsync, bt.hbackporch].into_iter().map(u64::from).sum();
        let down = [bt.height, bt.vfrontporch, bt.vsync, bt.vbackporch].into_iter().chain(second);
        let total = across * down.map(u64::from).sum::<u64>();
        Some(Timings {
            extent: Extent::new(bt.width, bt.height),
            rate: rate(bt.pixelclock, total),
            interlaced,
        })
    }
}

/// Pixels a second over pixels a frame, in lowest terms.
fn rate(clock: u64, total: u64) -> Option<Rate> {
    let (mut a, mut b) = (clock, total);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let part = |whole: u64| u32::try_from(whole / a.max(1)).ok();
    Rate::new(part(clock)?, part(total)?)
}

fn control(device: &Device, query: &v4l2_query_ext_ctrl) -> Control {
    // A C character has a sign on some machines and none on others.
    let name: Vec<u8> = query.name.iter().flat_map(|character| character.to_ne_bytes()).collect();
    let kind = match query.type_ {
        TYPE_INTEGER => ControlKind::Integer { least: query.minimum, most: query.maximum, step: query.step },
        TYPE_BOOLEAN => ControlKind::Boolean,
        TYPE_BUTTON => ControlKind::Button,
        TYPE_MENU | TYPE_INTEGER_MENU => ControlKind::Menu(menu(device, query)),
        _ => ControlKind::Other, // texts, matrices, 64-bit numbers, and what later kernels have
    };
    let has_value = !matches!(kind, ControlKind::Button | ControlKind::Other);
    Control {
        name: control_name(&text(&name)),
        id: query.id,
        value: has_value.then(|| value(device, query.id)).flatten(),
        kind,
        default: query.default_value,
        read_only: query.flags & V4L2_CTRL_FLAG_READ_ONLY != 0,
        inactive: query.flags & V4L2_CTRL_FLAG_INACTIVE != 0,
    }
}

fn value(device: &Device, id: u32) -> Option<i64> {
    let mut control = v4l2_control { id, value: 0 };
    // SAFETY: G_CTRL reads and writes a v4l2_control.
    unsafe { call(device, VIDIOC_G_CTRL, &mut control) }.ok()?;
    Some(i64::from(control.value))
}

fn menu(device: &Device, query: &v4l2_query_ext_ctrl) -> Vec<(i64, String)> {
    let range = query.minimum..=query.maximum.min(query.minimum.saturating_add(LONGEST_MENU));
    let item = |number: i64| {
        let mut item: v4l2_querymenu = zeroed();
        (item.id, item.index) = (query.id, u32::try_from(number).ok()?);
        // SAFETY: QUERYMENU reads and writes a v4l2_querymenu.
        unsafe { call(device, VIDIOC_QUERYMENU, &mut item) }.ok()?; // menus have gaps
        let name = match query.type_ {
            // SAFETY: of such a control QUERYMENU writes this side of the union; both are plain numbers.
            TYPE_INTEGER_MENU => unsafe { item.__bindgen_anon_1.value }.to_string(),
            // SAFETY: likewise.
            _ => text(&unsafe { item.__bindgen_anon_1.name }),
        };
        Some((number, name))
    };
    range.filter_map(item).collect()
}

/// Text of a driver: up to the first zero, and with a mark for what is not UTF-8.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// A descriptor that tokio waits for.
pub fn awaited(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd owns what it names, and gives it to nobody as long as it is in there.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

fn descriptor(device: &Device) -> BorrowedFd<'_> {
    // SAFETY: the device owns the descriptor and is borrowed for as long as what is given here.
    unsafe { BorrowedFd::borrow_raw(raw(device)) }
}

fn raw(device: &Device) -> c_int {
    device.handle().fd()
}

/// # Safety
/// `argument` must be what `request` reads and writes.
unsafe fn call<T>(device: &Device, request: _IOC_TYPE, argument: &mut T) -> io::Result<()> {
    // SAFETY: the caller's promise; the reference is valid for the length of the call.
    unsafe { v4l::v4l2::ioctl(raw(device), request, std::ptr::from_mut(argument).cast()) }
}

/// Structures of the kernel's, of which zeros are a valid value.
///
/// # Safety
/// It must hold numbers, arrays of them, and pointers alone.
unsafe trait Plain {}
// SAFETY: as said, by linux/videodev2.h.
unsafe impl Plain for v4l2_input {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_dv_timings {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_edid {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_event_subscription {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_event {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_query_ext_ctrl {}
// SAFETY: likewise.
unsafe impl Plain for v4l2_querymenu {}

fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` says that zeros are a value.
    unsafe { mem::zeroed() }
}

/// A request by its direction, number and structure, as `_IOC` of asm-generic/ioctl.h, which x86, ARM and
/// RISC-V share.
const fn request<T>(direction: _IOC_TYPE, number: _IOC_TYPE) -> _IOC_TYPE {
    direction << 30 | (mem::size_of::<T>() as _IOC_TYPE) << 16 | (b'V' as _IOC_TYPE) << 8 | number
}

const WRITE: _IOC_TYPE = 1;
const READ: _IOC_TYPE = 2;
const S_DV_TIMINGS: _IOC_TYPE = request::<v4l2_dv_timings>(READ | WRITE, 87);
const G_DV_TIMINGS: _IOC_TYPE = request::<v4l2_dv_timings>(READ | WRITE, 88);
const DQEVENT: _IOC_TYPE = request::<v4l2_event>(READ, 89);
const SUBSCRIBE_EVENT: _IOC_TYPE = request::<v4l2_event_subscription>(WRITE, 90);
const QUERY_DV_TIMINGS: _IOC_TYPE = request::<v4l2_dv_timings>(READ, 99);
const QUERY_EXT_CTRL: _IOC_TYPE = request::<v4l2_query_ext_ctrl>(READ | WRITE, 103);

/// `V4L2_DV_BT_656_1120`.
const BT_656_1120: u32 = 0;

/// `enum v4l2_ctrl_type`.
const TYPE_INTEGER: u32 = 1;
const TYPE_BOOLEAN: u32 = 2;
const TYPE_MENU: u32 = 3;
const TYPE_BUTTON: u32 = 4;
const TYPE_CLASS: u32 = 6;
const TYPE_INTEGER_MENU: u32 = 9;

/// Bytes.
pub const EDID_BLOCK: usize = 128;
/// Of V4L2.
pub const MOST_EDID_BLOCKS: usize = 256;

/// More than any driver has; a broken one may list for ever.
const MOST_CONTROLS: usize = 1024;

/// Items; a broken driver may say four billion.
const LONGEST_MENU: i64 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of linux/videodev2.h, as `strace` knows them on x86-64.
    #[test]
    fn requests_have_their_numbers() {
        assert_eq!(S_DV_TIMINGS, 0xc084_5657);
        assert_eq!(G_DV_TIMINGS, 0xc084_5658);
        assert_eq!(SUBSCRIBE_EVENT, 0x4020_565a);
        assert_eq!(QUERY_DV_TIMINGS, 0x8084_5663);
        assert_eq!(QUERY_EXT_CTRL, 0xc0e8_5667);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(DQEVENT, 0x8088_5659);
    }

    #[test]
    fn rates_are_in_lowest_terms() {
        let of = |clock, total| rate(clock, total).map(|rate| (rate.numerator(), rate.denominator()));
        assert_eq!(of(148_500_000, 2200 * 1125), Some((60, 1)));
        assert_eq!(of(27_000_000, 858 * 525), Some((60000, 1001)));
        assert_eq!(of(0, 0), None);
    }

    #[test]
    fn a_drivers_text_ends_at_its_zero_and_need_not_be_text() {
        assert_eq!(text(b"HDMI 0\0rubbish"), "HDMI 0");
        assert_eq!(text(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
