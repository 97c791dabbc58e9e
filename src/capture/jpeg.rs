//! Whether a frame of Motion JPEG is whole, before a decoder sees it.
//!
//! Decoders paint over what is missing: a frame that was cut off comes out with a grey lower part, and a garbled
//! one with the colours of something else. So a frame is looked at first: the lengths of its segments, its
//! size, its scans and its end (ITU-T T.81, annex B). The coded picture itself is not decoded, only walked over:
//! 0.1 ms for a frame of 1080 lines.
//!
//! What real cameras do is allowed: anything behind the end of the image (buffers are padded with zeros, or
//! with the rest of an earlier frame), Huffman tables left out (decoders know the usual ones), sizes rounded
//! up to whole blocks. A frame *without* an end may be one whose camera never writes any, or may have lost its lower
//! half on the cable: it is read to its last unit (`units`), and whole where that is there. That takes longer, and
//! such frames alone.

mod units;

use std::ops::ControlFlow;

use self::units::{Coding, Scan, Tables};

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is good as far as it goes, and ends too early.
    #[error("the frame ends too early")]
    Truncated,
    /// It is not what it says it is.
    #[error("the frame is corrupt: {0}")]
    Corrupt(&'static str),
}

/// Width and height in pixels.
pub type Size = (u32, u32);

/// Looks at one frame. `size` is what its source has promised, where it has.
///
/// # Errors
/// What is wrong with it.
pub fn check(frame: &[u8], size: Option<Size>) -> Result<(), Damage> {
    let found = walk(frame, size);
    if let Err(Damage::Corrupt(_)) = found {
        // What makes no sense may be the padding of a frame that was cut off in its header.
        let end = frame.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if walk(&frame[..end], size) == Err(Damage::Truncated) {
            return Err(Damage::Truncated);
        }
    }
    found
}

fn walk(frame: &[u8], size: Option<Size>) -> Result<(), Damage> {
    let mut walk = Walk {
        rest: frame,
        promised: size,
        picture: None,
        tables: Tables::usual(),
        restart_interval: 0,
        scans: 0,
    };
    match walk.take(2)? {
        SOI => {}
        _ => return Err(Damage::Corrupt("it does not begin as a JPEG image does")),
    }
    while walk.segment()?.is_continue() {}
    Ok(())
}

/// The frame's way through the check.
struct Walk<'a> {
    rest: &'a [u8],
    promised: Option<Size>,
    picture: Option<Picture<'a>>,
    tables: Tables<'a>,
    /// In units of the scan; 0: none.
    restart_interval: u32,
    scans: u32,
}

/// What the frame header says.
#[derive(Clone, Copy)]
struct Picture<'a> {
    size: Size,
    /// Of each its name, its sampling factors, and which quantisation it has.
    components: &'a [[u8; 3]],
    /// The largest sampling factors: how many blocks one unit of the scan has each way.
    sampling: (u8, u8),
    is_progressive: bool,
}

impl<'a> Walk<'a> {
    /// One marker with what belongs to it; breaks at the image's end.
    fn segment(&mut self) -> Result<ControlFlow<()>, Damage> {
        match self.marker()? {
            EOI if self.scans == 0 => Err(Damage::Corrupt("it has no picture")),
            EOI => Ok(ControlFlow::Break(())),
            code @ (SOF0 | SOF1 | SOF2) => self.frame_header(code),
            DHT => {
                let tables = self.tables(|class_and_slot, body| {
                    let codes = body.get(..16)?.iter().map(|&count| usize::from(count)).sum::<usize>();
                    (class_and_slot & 0xEC == 0 && codes <= 256).then_some(16 + codes)
                })?;
                for (class_and_slot, table) in tables {
                    self.tables.set(class_and_slot, table);
                }
                Ok(ControlFlow::Continue(()))
            }
            DQT => {
                self.tables(|precision_and_slot, _| match precision_and_slot {
                    0x00..=0x03 => Some(64),
                    0x10..=0x13 => Some(128),
                    _ => None,
                })?;
                Ok(ControlFlow::Continue(()))
            }
            DRI => {
                let [high, low] = self.body()? else { return Err(Damage::Corrupt(LENGTH)) };
                self.restart_interval = u32::from(u16::from_be_bytes([*high, *low]));
                Ok(ControlFlow::Continue(()))
            }
            SOS => self.scan(),
            APP0..=APP15 | COM => self.body().map(|_| ControlFlow::Continue(())),
            _ => Err(Damage::Corrupt("it has a marker that does not belong there")),
        }
    }

    fn frame_header(&mut self, code: u8) -> Result<ControlFlow<()>, Damage> {
        let body = self.body()?;
        let [precision, h1, h0, w1, w0, count, components @ ..] = body else {
            return Err(Damage::Corrupt(LENGTH));
        };
        let size = (u32::from(u16::from_be_bytes([*w1, *w0])), u32::from(u16::from_be_bytes([*h1, *h0])));
        let is_sane = *precision == 8
            && matches!(count, 1 | 3 | 4)
            && components.len() == 3 * usize::from(*count)
            && size.0 > 0
            && size.1 > 0;
        if !is_sane || self.picture.is_some() {
            return Err(Damage::Corrupt("its header makes no sense"));
        }
        if self.promised.is_some_and(|promised| !is_size(size, promised)) {
            return Err(Damage::Corrupt("it has another size than its source says"));
        }
        let (components, []) = components.as_chunks() else { return Err(Damage::Corrupt(LENGTH)) };
        let mut sampling = (1, 1);
        for component in components {
            let (across, down) = factors(*component);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(Damage::Corrupt("its header makes no sense"));
            }
            sampling = (sampling.0.max(across), sampling.1.max(down));
        }
        self.picture = Some(Picture { size, components, sampling, is_progressive: code == SOF2 });
        Ok(ControlFlow::Continue(()))
    }

    /// A segment of tables, each with a byte in front: `length` is how long what follows that is, if it
    /// may be there at all.
    fn tables(&mut self, length: impl Fn(u8, &[u8]) -> Option<usize>) -> Result<Vec<(u8, &'a [u8])>, Damage> {
        let (mut body, mut tables) = (self.body()?, Vec::new());
        while let [head, tail @ ..] = body {
            let parts = length(*head, tail).and_then(|length| tail.split_at_checked(length));
            let (table, rest) = parts.ok_or(Damage::Corrupt("one of its tables makes no sense"))?;
            tables.push((*head, table));
            body = rest;
        }
        Ok(tables)
    }

    /// A scan's header, and its coded data up to the next marker, which stays.
    fn scan(&mut self) -> Result<ControlFlow<()>, Damage> {
        let Some(picture) = self.picture else {
            return Err(Damage::Corrupt("its picture comes before its header"));
        };
        let [count, body @ ..] = self.body()? else { return Err(Damage::Corrupt(LENGTH)) };
        let components = usize::from(*count);
        if !(1..=picture.components.len()).contains(&components) || body.len() != 2 * components + 3 {
            return Err(Damage::Corrupt("a scan's header makes no sense"));
        }
        self.scans += 1;
        let Coded { bytes, restarts } = match self.coded() {
            Err(Damage::Truncated) if self.is_whole_without_end(&picture, &body[..2 * components]) => {
                return Ok(ControlFlow::Break(()));
            }
            found => found?,
        };
        // A scan of one component counts its restarts in blocks of that, and a progressive one may have next
        // to nothing to say: the rules below are those of what cameras send, all components in one scan.
        let is_only = self.scans == 1 && self.rest.get(1) == Some(&EOI);
        if picture.is_progressive || components != picture.components.len() || components == 1 || !is_only {
            return Ok(ControlFlow::Continue(()));
        }
        let units = picture.units();
        let wanted = match self.restart_interval {
            0 => 0,
            interval => units.div_ceil(interval) - 1,
        };
        if restarts > wanted {
            return Err(Damage::Corrupt("it has more restart markers than its size allows"));
        }
        // Of each component a unit has one block at the least, and a block two codes of one bit.
        let least = u64::from(units) * u64::from(*count) * 2 / 8;
        if restarts < wanted || bytes < least {
            return Err(Damage::Truncated); // by a camera or a bridge that writes an end all the same
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether all of the picture is in what is left, though nothing says that it ends there. `components` is the scan's.
    fn is_whole_without_end(&self, picture: &Picture<'_>, components: &[u8]) -> bool {
        let (components, []) = components.as_chunks() else { return false };
        if picture.is_progressive || self.scans > 1 || components.len() != picture.components.len() {
            return false; // other scans may be missing
        }
        let coding = |&[name, slots]: &[u8; 2]| picture.coding(name, slots);
        let Some(codings) = components.iter().map(coding).collect::<Option<Vec<_>>>() else { return false };
        let scan = Scan {
            codings: &codings,
            tables: &self.tables,
            units: picture.units(),
            restart_interval: self.restart_interval,
        };
        units::are_all_there(&scan, self.rest)
    }

    /// Walks over entropy-coded data.
    fn coded(&mut self) -> Result<Coded, Damage> {
        let (mut at, mut restarts) = (0, 0_u32);
        loop {
            let tail = &self.rest[at..];
            let found = tail.iter().position(|&byte| byte == 0xFF).ok_or(Damage::Truncated)?;
            match *tail.get(found + 1).ok_or(Damage::Truncated)? {
                0x00 => at += found + 2,
                0xFF => at += found + 1, // a fill byte
                restart @ RST0..=RST7 => {
                    if self.restart_interval == 0 || u32::from(restart - RST0) != restarts % 8 {
                        return Err(Damage::Corrupt("its restart markers are out of order"));
                    }
                    restarts += 1;
                    at += found + 2;
                }
                _ => {
                    let bytes = u64::try_from(at + found).unwrap_or(u64::MAX);
                    self.rest = &self.rest[at + found..];
                    return Ok(Coded { bytes, restarts });
                }
            }
        }
    }

    /// The next marker's code. Fill bytes may stand before it.
    fn marker(&mut self) -> Result<u8, Damage> {
        let [0xFF] = self.take(1)? else {
            return Err(Damage::Corrupt("something else stands where a marker belongs"));
        };
        loop {
            match self.take(1)? {
                [0xFF] => {}
                [code] => return Ok(*code),
                _ => unreachable!("one byte was taken"),
            }
        }
    }

    /// What a segment holds behind its length.
    fn body(&mut self) -> Result<&'a [u8], Damage> {
        let [high, low] = self.take(2)? else { unreachable!("two bytes were taken") };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        self.take(length.checked_sub(2).ok_or(Damage::Corrupt(LENGTH))?)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// The coded data of one scan.
struct Coded {
    bytes: u64,
    restarts: u32,
}

impl Picture<'_> {
    /// Units of a scan of all its components (MCUs), those that stick out at the right and below included.
    fn units(&self) -> u32 {
        let blocks = |pixels: u32, sampling: u8| pixels.div_ceil(BLOCK * u32::from(sampling));
        match self.components.len() {
            1 => blocks(self.size.0, 1) * blocks(self.size.1, 1),
            _ => blocks(self.size.0, self.sampling.0) * blocks(self.size.1, self.sampling.1),
        }
    }

    /// How a scan of all its components codes the one of this name; `slots` are its tables of Huffman codes.
    fn coding(&self, name: u8, slots: u8) -> Option<Coding> {
        let (across, down) = factors(*self.components.iter().find(|component| component[0] == name)?);
        let blocks = if self.components.len() == 1 { 1 } else { u32::from(across) * u32::from(down) };
        Some(Coding { dc: usize::from(slots >> 4), ac: usize::from(slots & 0xF), blocks })
    }
}

/// A component's sampling factors, across and down.
fn factors([_, sampling, _]: [u8; 3]) -> (u8, u8) {
    (sampling >> 4, sampling & 0xF)
}

/// Whether a header's size is the promised one, or that rounded up to whole blocks, as some encoders write it.
fn is_size(size: Size, promised: Size) -> bool {
    let fits = |own: u32, promised: u32| {
        own == promised
            || own == promised.next_multiple_of(BLOCK)
            || own == promised.next_multiple_of(2 * BLOCK)
    };
    fits(size.0, promised.0) && fits(size.1, promised.1)
}

const LENGTH: &str = "a segment has a length that cannot be";

/// Pixels each way.
const BLOCK: u32 = 8;

// Markers (T.81, table B.1), without the 0xFF in front.
const SOI: &[u8] = &[0xFF, 0xD8];
const EOI: u8 = 0xD9;
/// Baseline, extended sequential, progressive: what Huffman decoders know.
const SOF0: u8 = 0xC0;
const SOF1: u8 = 0xC1;
const SOF2: u8 = 0xC2;
const DHT: u8 = 0xC4;
const RST0: u8 = 0xD0;
const RST7: u8 = 0xD7;
const SOS: u8 = 0xDA;
const DQT: u8 = 0xDB;
const DRI: u8 = 0xDD;
const APP0: u8 = 0xE0;
const APP15: u8 = 0xEF;
const COM: u8 = 0xFE;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: Option<Size> = Some((64, 32));

    /// 64 × 32 in 4:2:0, eight units; `coded` is the data of its only scan.
    fn frame(restart_interval: u16, coded: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xFF, 0xD8];
        let mut segment = |code: u8, body: &[u8]| {
            frame.extend([0xFF, code]);
            frame.extend(u16::try_from(body.len() + 2).unwrap().to_be_bytes());
            frame.extend(body);
        };
        segment(APP0, b"AVI1\0\xFF\xD9 a marker in here is none");
        let mut quantisation = [1; 65];
        quantisation[0] = 0;
        segment(DQT, &quantisation);
        segment(SOF0, &[8, 0, 32, 0, 64, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
        let mut huffman = vec![0x00, 1];
        huffman.extend([0; 15]);
        huffman.push(7);
        segment(DHT, &huffman);
        segment(DRI, &restart_interval.to_be_bytes());
        segment(SOS, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
        frame.extend(coded);
        frame.extend([0xFF, 0xD9]);
        frame
    }

    fn good() -> Vec<u8> {
        frame(0, &[0x12, 0xFF, 0x00, 0x34, 0x56, 0x78, 0x9A, 0xBC])
    }

    fn with(mut frame: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = frame.windows(from.len()).position(|bytes| bytes == from).expect("it is there");
        frame.splice(at..at + from.len(), to.iter().copied());
        frame
    }

    #[test]
    fn a_whole_frame_passes_whatever_stands_behind_it() {
        assert_eq!(check(&good(), SIZE), Ok(()));
        assert_eq!(check(&good(), None), Ok(()));
        for padding in [&[0; 900][..], &[0xFF; 3], b"the rest of an earlier frame \xFF\xD8"] {
            assert_eq!(check(&[&good()[..], padding].concat(), SIZE), Ok(()));
        }
        let filled = with(good(), &[0xFF, SOS], &[0xFF, 0xFF, 0xFF, SOS]);
        assert_eq!(check(&filled, SIZE), Ok(()), "fill bytes before a marker");
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_truncated() {
        let whole = good();
        for length in 0..whole.len() {
            assert_eq!(check(&whole[..length], SIZE), Err(Damage::Truncated), "{length} bytes");
        }
        for length in 0..whole.len() - 1 {
            let padded = [&whole[..length], &[0; 200]].concat();
            assert_eq!(check(&padded, SIZE), Err(Damage::Truncated), "{length} bytes: padding is no end");
        }
        assert_eq!(check(&frame(0, &[0x12]), SIZE), Err(Damage::Truncated), "too little for its size");
    }

    #[test]
    fn what_is_not_what_it_says_is_corrupt() {
        let size = &[8, 0, 32, 0, 64, 3];
        for (what, frame) in [
            ("noise", vec![0x5A; 500]),
            ("another size", with(good(), size, &[8, 0, 48, 0, 64, 3])),
            ("no height", with(good(), size, &[8, 0, 0, 0, 64, 3])),
            ("twelve bits", with(good(), size, &[12, 0, 32, 0, 64, 3])),
            ("two components", with(good(), size, &[8, 0, 32, 0, 64, 2])),
            ("a length of one", with(good(), &[0xFF, DRI, 0, 4], &[0xFF, DRI, 0, 1])),
            ("a table too many", with(good(), &[0xFF, DRI, 0, 4], &[0xFF, DHT, 0, 4])),
            ("a marker in the picture", with(good(), &[0xFF, 0x00], &[0xFF, 0x6B])),
            ("a restart that nobody announced", with(good(), &[0xFF, 0x00], &[0xFF, 0xD0])),
            ("no header", with(good(), &[0xFF, SOF0], &[0xFF, COM])),
            ("no picture", with(good(), &[0xFF, SOS], &[0xFF, EOI])),
            ("arithmetic coding", with(good(), &[0xFF, SOF0], &[0xFF, 0xC9])),
        ] {
            let found = check(&frame, SIZE);
            assert!(matches!(found, Err(Damage::Corrupt(_))), "{what}: {found:?}");
        }
    }

    #[test]
    fn a_frame_without_an_end_is_whole_where_all_its_units_are_there() {
        // Eight units of six blocks: each block a DC of one bit and an end of block of four, 00 and 1010.
        let block = [0, 0, 1, 0, 1, 0];
        let mut bits: Vec<u8> = std::iter::repeat_n(block, 8 * 6).flatten().collect();
        bits.resize(bits.len().next_multiple_of(8), 1);
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| (byte << 1) | bit);
        let coded: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
        let mut whole = with(frame(0, &coded), &[0xFF, DHT], &[0xFF, COM]); // the usual tables
        whole.truncate(whole.len() - 2);
        assert_eq!(check(&whole, SIZE), Ok(()));
        assert_eq!(check(&[&whole[..], &[0; 400]].concat(), SIZE), Ok(()), "padded");
        for cut in 1..coded.len() {
            let cut = &whole[..whole.len() - cut];
            assert_eq!(check(cut, SIZE), Err(Damage::Truncated));
            assert_eq!(check(&[cut, &[0; 400]].concat(), SIZE), Err(Damage::Truncated));
        }
    }

    #[test]
    fn restart_markers_are_counted() {
        let data = [0x11, 0x22, 0x33];
        let coded = |markers: &[u8]| {
            let mut coded = data.to_vec();
            for marker in markers {
                coded.extend([0xFF, *marker]);
                coded.extend(data);
            }
            frame(2, &coded) // eight units: three restarts
        };
        assert_eq!(check(&coded(&[0xD0, 0xD1, 0xD2]), SIZE), Ok(()));
        assert_eq!(check(&coded(&[0xD0, 0xD1]), SIZE), Err(Damage::Truncated));
        assert!(matches!(check(&coded(&[0xD0, 0xD2, 0xD3]), SIZE), Err(Damage::Corrupt(_))));
        assert!(matches!(check(&coded(&[0xD0, 0xD1, 0xD2, 0xD3]), SIZE), Err(Damage::Corrupt(_))));
    }

    #[test]
    fn a_size_may_be_rounded_up_to_whole_blocks() {
        assert!(is_size((1920, 1088), (1920, 1080)));
        assert!(is_size((1920, 1080), (1920, 1080)));
        assert!(!is_size((1920, 1072), (1920, 1080)));
        assert!(!is_size((1088, 1920), (1920, 1080)));
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_check(frame in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(check(&frame, SIZE).is_err(), "chance makes no image");
        }

        #[test]
        fn no_flipped_byte_ends_the_check(at in 0..200_usize, value in any::<u8>()) {
            let mut frame = good();
            let at = at % frame.len();
            frame[at] = value;
            let whole = check(&frame, SIZE).is_ok();
            prop_assert!(whole || value != good()[at]);
        }
    }
}
