//! What stands in the headers of coded pictures in Annex B form; nothing behind a picture's first slice header
//! is looked at, so this costs the same for a small picture and a large one.
//!
//! Terms and tables: Rec. ITU-T H.264 (7.3, 7.4, table 7-1) and H.265 (table 7-1).

use crate::config::Codec;

/// What an access unit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// At least one slice of a picture.
    pub(super) picture: bool,
    /// A decoder can begin here.
    pub(super) idr: bool,
    /// Before the picture; a bit for each kind.
    parameter_sets: u8,
    /// Of an H.264 picture whose parameter sets could be read.
    pub(super) order: Option<Order>,
}

/// Where an H.264 picture stands among those that others refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) frame_num: u32,
    /// `frame_num` begins again at 0 when it comes to this.
    pub(super) modulus: u32,
    /// Others may refer to it.
    pub(super) is_reference: bool,
}

/// Reads one encoder's access units, in order: slices cannot be read without the parameter sets before them.
#[derive(Debug)]
pub(super) struct HeaderReader {
    codec: Codec,
    sequence: Sequence,
}

/// What of an H.264 sequence parameter set is needed to read a slice header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    /// None has come, or none that could be read.
    Unknown,
    /// Of those with several identifiers, which one a picture belongs to is not followed up.
    Several,
    One {
        id: u32,
        frame_num_bits: u32,
        separate_colour_planes: bool,
        /// Gaps are allowed: pictures may be left out on purpose, as in temporal layers.
        gaps: bool,
    },
}

impl Headers {
    /// Whether all that a decoder needs to begin stands before the picture.
    pub(super) fn has_parameter_sets(&self, codec: Codec) -> bool {
        self.parameter_sets
            == match codec {
                Codec::H264 => SPS | PPS,
                Codec::H265 => VPS | SPS | PPS,
            }
    }
}

impl HeaderReader {
    pub(super) fn new(codec: Codec) -> HeaderReader {
        HeaderReader { codec, sequence: Sequence::Unknown }
    }

    /// Of one access unit.
    pub(super) fn read(&mut self, unit: &[u8]) -> Headers {
        let mut headers = Headers::default();
        for nal in Nals(unit) {
            let Some(&first) = nal.first() else { continue };
            match self.codec {
                Codec::H264 => match first & 0x1f {
                    kind @ (1 | 5) => {
                        headers.idr = kind == 5;
                        headers.order = self.sequence.order(nal);
                        headers.picture = true;
                    }
                    7 => {
                        headers.parameter_sets |= SPS;
                        self.sequence = self.sequence.and(Sequence::read(nal));
                    }
                    8 => headers.parameter_sets |= PPS,
                    _ => {}
                },
                Codec::H265 => match (first >> 1) & 0x3f {
                    kind @ 0..=31 => {
                        headers.idr = matches!(kind, 19 | 20);
                        headers.picture = true;
                    }
                    32 => headers.parameter_sets |= VPS,
                    33 => headers.parameter_sets |= SPS,
                    34 => headers.parameter_sets |= PPS,
                    _ => {}
                },
            }
            if headers.picture {
                break;
            }
        }
        headers
    }
}

impl Sequence {
    fn read(nal: &[u8]) -> Sequence {
        let bytes = without_escapes(&nal[1..], LONGEST_SEQUENCE);
        Sequence::parse(&mut Bits::new(&bytes)).unwrap_or(Sequence::Unknown)
    }

    /// `None` where it ends too soon, or makes no sense.
    fn parse(bits: &mut Bits<'_>) -> Option<Sequence> {
        let profile = bits.take(8)?;
        bits.take(16)?; // constraints, level
        let id = bits.unsigned()?;
        let mut separate_colour_planes = false;
        if HIGH_PROFILES.contains(&profile) {
            let chroma_format = bits.unsigned()?;
            separate_colour_planes = chroma_format == 3 && bits.flag()?;
            bits.unsigned()?; // depth of luma
            bits.unsigned()?; // depth of chroma
            bits.flag()?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                skip_scaling_lists(bits, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        let frame_num_bits = bits.unsigned()?.checked_add(4).filter(|bits| *bits <= 16)?;
        match bits.unsigned()? {
            0 => {
                bits.unsigned()?;
            }
            1 => {
                bits.flag()?;
                bits.unsigned()?; // the signed ones are as long
                bits.unsigned()?;
                for _ in 0..bits.unsigned()? {
                    bits.unsigned()?;
                }
            }
            2 => {}
            _ => return None,
        }
        bits.unsigned()?; // max_num_ref_frames
        Some(Sequence::One { id, frame_num_bits, separate_colour_planes, gaps: bits.flag()? })
    }

    /// `next` came after this.
    fn and(self, next: Sequence) -> Sequence {
        match (self, next) {
            (Sequence::One { id: before, .. }, Sequence::One { id, .. }) if before != id => Sequence::Several,
            (Sequence::Several, _) => Sequence::Several,
            (Sequence::Unknown | Sequence::One { .. }, next) => next,
        }
    }

    /// Of the picture that this slice belongs to.
    fn order(self, slice: &[u8]) -> Option<Order> {
        let Sequence::One { frame_num_bits, separate_colour_planes, gaps: false, .. } = self else {
            return None;
        };
        let bytes = without_escapes(&slice[1..], LONGEST_SLICE_BEGINNING);
        let mut bits = Bits::new(&bytes);
        bits.unsigned()?; // first_mb_in_slice
        bits.unsigned()?; // slice_type
        bits.unsigned()?; // pic_parameter_set_id
        if separate_colour_planes {
            bits.take(2)?;
        }
        Some(Order {
            frame_num: bits.take(frame_num_bits)?,
            modulus: 1 << frame_num_bits,
            is_reference: slice[0] & 0x60 != 0, // nal_ref_idc
        })
    }
}

/// 7.3.2.1.1.1, of so many lists.
fn skip_scaling_lists(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// What stands between start codes.
struct Nals<'a>(&'a [u8]);

impl<'a> Iterator for Nals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let begin = start_code(self.0)? + START_CODE.len();
        self.0 = &self.0[begin..];
        // A slice is large, and its end is of no interest: whoever takes it does not look for it.
        let looked_at = &self.0[..self.0.len().min(LONGEST_SEQUENCE)];
        Some(&looked_at[..start_code(looked_at).unwrap_or(looked_at.len())])
    }
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(START_CODE.len()).position(|three| three == START_CODE)
}

/// The first bytes without those that keep start codes from arising.
fn without_escapes(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut zeros = 0;
    let is_payload = |byte: &u8| {
        let is_escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !is_escape
    };
    bytes.iter().take(most).copied().filter(is_payload).collect()
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// At most 32.
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// ue(v), 9.1.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// se(v), 9.1.1.
    fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.unsigned()?);
        Some(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}

const SPS: u8 = 1;
const PPS: u8 = 2;
const VPS: u8 = 4;

const START_CODE: [u8; 3] = [0, 0, 1];

/// `profile_idc` of those whose parameter sets tell the chroma format, 7.3.2.1.1.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Bytes: with all scaling lists written out it is some hundred.
const LONGEST_SEQUENCE: usize = 1024;

/// Bytes: what is read of a slice are five numbers.
const LONGEST_SLICE_BEGINNING: usize = 32;

#[cfg(test)]
pub(super) mod samples {
    /// An access unit with its parameter sets: an IDR picture.
    pub fn key_frame() -> Vec<u8> {
        [SEQUENCE, &[0, 0, 1, 0x68, 0xee], &slice(0x65, 0)].concat()
    }

    /// The first slice of a picture, behind this header; of `number` remains what 4 bits hold.
    pub fn slice(header: u8, number: u64) -> Vec<u8> {
        // 1: first_mb 0; 00110: slice_type 5; 1: parameter set 0; then 4 bits of frame_num and 5 others
        let frame_num = u16::try_from(number % 16).unwrap();
        let bits = 0b1001_1010_0001_1111 | frame_num << 5;
        [&[0, 0, 1, header][..], &bits.to_be_bytes()].concat()
    }

    /// High profile, level 3. 1: id 0; 010: 4:2:0; 1, 1: depths of 8; 0, 0; 1: frame_num in 4 bits; 011: order
    /// count of type 2; 010: one reference; 0: no gaps.
    const SEQUENCE: &[u8] = &[0, 0, 0, 1, 0x67, 100, 0, 30, 0b1010_1100, 0b1011_0100, 0b1000_0000];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{key_frame, slice};
    use super::*;

    #[test]
    fn a_unit_is_what_its_headers_say() {
        let cases: &[(Codec, &[u8], bool, bool, u8)] = &[
            (Codec::H264, &[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 1], true, true, SPS | PPS),
            (Codec::H264, &[0, 0, 1, 0x41, 1, 0x65, 0x67], true, false, 0),
            (Codec::H264, &[0, 0, 0, 1, 0x09, 0xf0], false, false, 0),
            (Codec::H264, &[], false, false, 0),
            (Codec::H264, &[0, 0, 1], false, false, 0),
            (
                Codec::H265,
                &[0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1],
                false,
                false,
                VPS | SPS | PPS,
            ),
            (Codec::H265, &[0, 0, 1, 0x26, 1], true, true, 0),
            (Codec::H265, &[0, 0, 1, 0x02, 1], true, false, 0),
        ];
        for &(codec, bytes, picture, idr, parameter_sets) in cases {
            let headers = HeaderReader::new(codec).read(bytes);
            assert_eq!(headers, Headers { picture, idr, parameter_sets, order: None }, "{bytes:x?}");
        }
    }

    #[test]
    fn pictures_are_numbered_as_their_sequence_says() {
        let mut reader = HeaderReader::new(Codec::H264);
        let first = reader.read(&key_frame());
        assert!(first.idr && first.has_parameter_sets(Codec::H264));
        assert_eq!(first.order, Some(Order { frame_num: 0, modulus: 16, is_reference: true }));
        let later = reader.read(&slice(0x41, 13));
        assert_eq!(later.order, Some(Order { frame_num: 13, modulus: 16, is_reference: true }));
        assert!(!later.has_parameter_sets(Codec::H264));
        let of_no_use_to_others = reader.read(&slice(0x01, 14)).order.unwrap();
        assert!(!of_no_use_to_others.is_reference);
        assert_eq!(
            HeaderReader::new(Codec::H264).read(&slice(0x41, 13)).order,
            None,
            "without parameter sets"
        );
    }

    #[test]
    fn of_several_sequences_nothing_is_concluded() {
        let one = |id| Sequence::One { id, frame_num_bits: 4, separate_colour_planes: false, gaps: false };
        assert_eq!(one(0).and(one(0)), one(0));
        assert_eq!(one(0).and(one(1)), Sequence::Several);
        assert_eq!(Sequence::Several.and(one(0)), Sequence::Several);
        assert_eq!(Sequence::Unknown.and(one(1)), one(1));
        assert_eq!(Sequence::Several.order(&slice(0x41, 1)[3..]), None);
    }

    #[test]
    fn what_keeps_start_codes_away_is_no_payload() {
        assert_eq!(without_escapes(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 3], 99), [1, 0, 0, 1, 0, 0, 0, 3]);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(codec in 0..2usize, units in prop::collection::vec(
            prop::collection::vec(prop_oneof![3 => Just(0u8), 2 => Just(1u8), 1 => Just(0x67u8), 1 => Just(0x41u8), 5 => any::<u8>()], 0..80), 0..20))
        {
            let mut reader = HeaderReader::new([Codec::H264, Codec::H265][codec]);
            for unit in units {
                let headers = reader.read(&unit);
                prop_assert!(headers.picture || headers.order.is_none());
            }
        }
    }
}
