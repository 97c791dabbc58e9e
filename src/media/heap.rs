//! DMABufs of our own, from one of the kernel's heaps, for pictures that an encoder is to import and that no device
//! has put into one.
//!
//! Unsafe where the kernel is asked for memory, and where GStreamer is given it.
#![allow(unsafe_code)] // an ioctl takes an address, and GStreamer a bare descriptor

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gst::glib;
use gst_allocators::prelude::*;
use gst_video::{VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta};
use rustix::fs::OFlags;
use rustix::ioctl::{self, Opcode, Updater, opcode};

use super::memory::Layout;

/// A heap, and the buffers that were made of it. They are used again once nobody else has them.
pub(super) struct Heap {
    device: File,
    name: &'static str,
    allocator: gst_allocators::DmaBufAllocator,
    /// [`MOST_BUFFERS`] at most.
    buffers: Mutex<Vec<gst::Buffer>>,
}

/// Why there is no heap, or no buffer of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no /dev/dma_heap")]
    NoHeap,
    #[error("cannot open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("the heap {heap} gives no {size} bytes: {source}")]
    Allocate { heap: &'static str, size: usize, source: io::Error },
    #[error("GStreamer does not take a DMABuf: {0}")]
    Wrap(glib::BoolError),
    #[error("a picture cannot be copied into a DMABuf: {0}")]
    Copy(glib::BoolError),
    #[error("{MOST_BUFFERS} DMABufs are in use")]
    TooMany,
}

impl Heap {
    /// The first of the machine's that this process may use.
    ///
    /// # Errors
    /// When there is none; else why the last of them cannot be opened.
    pub(super) fn open() -> Result<Heap, Error> {
        let mut reason = Error::NoHeap;
        for name in HEAPS {
            let path = Path::new(FOLDER).join(name);
            match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(device) => {
                    let allocator = gst_allocators::DmaBufAllocator::new();
                    return Ok(Heap { device, name, allocator, buffers: Mutex::default() });
                }
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => reason = Error::Open { path, source },
            }
        }
        Err(reason)
    }

    /// A copy of a picture in a DMABuf, its lines where `layout` has them.
    ///
    /// # Errors
    /// When there is no memory left, or all buffers are in use.
    pub(super) fn copy(
        &self,
        picture: &gst::BufferRef,
        info: &VideoInfo,
        layout: &Layout,
    ) -> Result<gst::Buffer, Error> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        // One of another size is of another mode, and will not be asked for again.
        buffers.retain(|buffer| buffer.size() == layout.size);
        let is_free = |buffer: &gst::Buffer| buffer.is_writable() && buffer.is_all_memory_writable();
        let free = match buffers.iter().position(is_free) {
            Some(free) => free,
            None if buffers.len() >= MOST_BUFFERS => return Err(Error::TooMany),
            None => {
                buffers.push(self.allocate(info, layout)?);
                buffers.len() - 1
            }
        };
        let buffer = &mut buffers[free];
        fill(buffer.make_mut(), picture, info).map_err(Error::Copy)?;
        Ok(buffer.clone())
    }

    fn allocate(&self, info: &VideoInfo, layout: &Layout) -> Result<gst::Buffer, Error> {
        let descriptor = request(&self.device, layout.size).map_err(|source| Error::Allocate {
            heap: self.name,
            size: layout.size,
            source,
        })?;
        // SAFETY: the descriptor is that of a DMABuf of at least this size, and from here on the memory's.
        let memory = unsafe { self.allocator.alloc_dmabuf(descriptor, layout.size) }.map_err(Error::Wrap)?;
        let mut buffer = gst::Buffer::new();
        let header = buffer.make_mut();
        header.append_memory(memory);
        let (offsets, strides): (Vec<usize>, Vec<i32>) =
            layout.planes.iter().map(|plane| (plane.offset, plane.stride)).unzip();
        VideoMeta::add_full(
            header,
            VideoFrameFlags::empty(),
            info.format(),
            info.width(),
            info.height(),
            &offsets,
            &strides,
        )
        .map_err(Error::Wrap)?;
        Ok(buffer)
    }
}

/// Copies pixels and times, from wherever the lines of one are to wherever those of the other are.
fn fill(
    buffer: &mut gst::BufferRef,
    picture: &gst::BufferRef,
    info: &VideoInfo,
) -> Result<(), glib::BoolError> {
    let from = VideoFrameRef::from_buffer_ref_readable(picture, info)?;
    let mut to = VideoFrameRef::from_buffer_ref_writable(&mut *buffer, info)?;
    from.copy(&mut to)?;
    drop(to);
    buffer.set_pts(picture.pts());
    buffer.set_dts(picture.dts());
    buffer.set_duration(picture.duration());
    Ok(())
}

fn request(heap: &File, size: usize) -> io::Result<OwnedFd> {
    let mut data = AllocationData {
        len: u64::try_from(size).unwrap_or(u64::MAX),
        fd: 0,
        fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
    };
    // SAFETY: DMA_HEAP_IOCTL_ALLOC reads and writes a dma_heap_allocation_data.
    unsafe { ioctl::ioctl(heap, Updater::<DMA_HEAP_IOCTL_ALLOC, AllocationData>::new(&mut data)) }?;
    let descriptor = RawFd::try_from(data.fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `struct dma_heap_allocation_data` of `linux/dma-heap.h`.
#[repr(C)]
struct AllocationData {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

const DMA_HEAP_IOCTL_ALLOC: Opcode = opcode::read_write::<AllocationData>(b'H', 0);

const FOLDER: &str = "/dev/dma_heap";

/// Contiguous memory first, under the names that it has: encoders without an IOMMU take nothing else. The last
/// is in single pages.
const HEAPS: [&str; 4] = ["linux,cma", "default_cma_region", "reserved", "system"];

/// An encoder has a few pictures at a time; a driver that keeps more than this gives none back.
const MOST_BUFFERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_heap_says_so() {
        gst::init().unwrap();
        match Heap::open() {
            Ok(heap) => assert!(HEAPS.contains(&heap.name)),
            Err(error) => assert!(error.to_string().contains("/dev/dma_heap"), "{error}"),
        }
    }

    /// What a camera gives with memory that only the kernel knows, as far as a process sees it: a descriptor to map.
    fn dmabuf(contents: &[u8]) -> gst::Memory {
        use std::os::unix::fs::FileExt;

        let file = File::from(rustix::fs::memfd_create("picture", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(contents, 0).unwrap();
        let allocator = gst_allocators::DmaBufAllocator::new();
        // SAFETY: the descriptor is that of memory of this size, and from here on GStreamer's.
        unsafe { allocator.alloc_dmabuf(OwnedFd::from(file), contents.len()) }.unwrap()
    }

    #[test]
    fn a_picture_in_a_dmabuf_can_be_looked_at_where_only_its_video_meta_says_where_its_lines_are() {
        crate::media::init().unwrap();
        let (width, height, stride, lines) = (64, 18, 96, 32);
        let (luma, chroma) = (stride * lines, stride * lines / 2);
        let mut bytes = vec![63; luma];
        bytes.extend([102, 240].repeat(chroma / 2)); // red, by BT.709
        let mut picture = gst::Buffer::new();
        let header = picture.make_mut();
        header.append_memory(dmabuf(&bytes));
        let info = VideoInfo::builder(gst_video::VideoFormat::Nv12, width, height)
            .colorimetry(&"bt709".parse().unwrap())
            .fps(gst::Fraction::new(30, 1))
            .build()
            .unwrap();
        let planes = (&[0, luma][..], &[96, 96][..]);
        let none = VideoFrameFlags::empty();
        VideoMeta::add_full(header, none, info.format(), width, height, planes.0, planes.1).unwrap();
        let mut caps = info.to_caps().unwrap();
        caps.make_mut().set_features_simple(Some(gst::CapsFeatures::new(["memory:DMABuf"])));

        let seen = crate::media::Seen { picture, caps }.copied().unwrap();
        assert!(
            !seen.picture.peek_memory(0).is_memory_type::<gst_allocators::DmaBufMemory>(),
            "the camera has its own"
        );
        let jpeg = seen.jpeg(640).unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "{} bytes", jpeg.len());
    }

    #[test]
    fn lines_are_copied_to_where_the_layout_has_them() {
        gst::init().unwrap();
        let info = VideoInfo::builder(gst_video::VideoFormat::Nv12, 64, 18).build().unwrap();
        let mut picture = gst::Buffer::with_size(info.size()).unwrap();
        for (at, byte) in picture.get_mut().unwrap().map_writable().unwrap().iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        picture.get_mut().unwrap().set_pts(gst::ClockTime::SECOND);
        // In system memory, which is copied to just so.
        let mut padded = gst::Buffer::with_size(64 * 32 * 3 / 2).unwrap();
        VideoMeta::add_full(
            padded.get_mut().unwrap(),
            VideoFrameFlags::empty(),
            info.format(),
            64,
            18,
            &[0, 64 * 32],
            &[64, 64],
        )
        .unwrap();
        fill(padded.get_mut().unwrap(), &picture, &info).unwrap();
        assert_eq!(padded.pts(), Some(gst::ClockTime::SECOND));
        let (from, to) = (picture.map_readable().unwrap(), padded.map_readable().unwrap());
        assert!(from[..64 * 18] == to[..64 * 18], "luma");
        assert!(from[64 * 18..] == to[64 * 32..64 * 41], "chroma begins behind the lines that are not shown");
    }
}
