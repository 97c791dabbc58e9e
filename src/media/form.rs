//! Whether what leaves an encoder has the form of a stream: what can be told of every picture without decoding it.

use std::collections::VecDeque;
use std::time::Duration;

use super::headers::{HeaderReader, Headers, Order};
use crate::config::Codec;

/// Looks at the units of one encoder, in the order in which they come.
///
/// One flaw proves nothing: a driver may stumble where its mode changes, and what it costs is over with the next
/// key frame. [`PROOF`] of a kind among [`RECENT`] units are a fault that stays.
#[derive(Debug)]
pub(super) struct Form {
    codec: Codec,
    reader: HeaderReader,
    units: u64,
    last_at: Option<Duration>,
    /// `frame_num` of the last picture that others may refer to.
    reference: Option<u32>,
    /// Numbers of the units with each kind of flaw; the newest, [`PROOF`] at most.
    flaws: [VecDeque<u64>; Flaw::ALL.len()],
    is_told: bool,
}

/// What is wrong with one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// It holds no picture.
    Empty,
    /// It is shown before the one before it, or with it. No encoder here is let reorder pictures.
    Backwards,
    /// A decoder could begin here if it had the parameter sets.
    Bare,
    /// A picture that others refer to is missing before it.
    Gap,
}

impl Form {
    pub(super) fn new(codec: Codec) -> Form {
        Form {
            codec,
            reader: HeaderReader::new(codec),
            units: 0,
            last_at: None,
            reference: None,
            flaws: Default::default(),
            is_told: false,
        }
    }

    /// A unit whose picture is shown at `at`. In words what is wrong with the stream, once.
    pub(super) fn look(&mut self, at: Duration, unit: &[u8]) -> (Headers, Option<&'static str>) {
        self.units += 1;
        let headers = self.reader.read(unit);
        let found = [
            (Flaw::Empty, !headers.picture),
            (Flaw::Backwards, self.last_at.is_some_and(|last| at <= last)),
            (Flaw::Bare, headers.idr && !headers.has_parameter_sets(self.codec)),
            (Flaw::Gap, self.is_after_gap(&headers)),
        ];
        self.last_at = Some(at);
        let mut told = None;
        for (flaw, _) in found.into_iter().filter(|(_, is_there)| *is_there) {
            if self.count(flaw) && !self.is_told {
                self.is_told = true;
                told = Some(flaw.words());
            }
        }
        (headers, told)
    }

    fn is_after_gap(&mut self, headers: &Headers) -> bool {
        let Some(Order { frame_num, modulus, is_reference }) = headers.order else {
            if headers.picture {
                self.reference = None;
            }
            return false;
        };
        // After one that nobody refers to, and of the second field of a frame, it is the same number again.
        let is_next = |last: u32| frame_num == last || frame_num == (last + 1) % modulus;
        let is_after_gap = !headers.idr && self.reference.is_some_and(|last| !is_next(last));
        if is_reference {
            self.reference = Some(frame_num);
        }
        is_after_gap
    }

    /// Whether that is the proof.
    fn count(&mut self, flaw: Flaw) -> bool {
        let units = self.units;
        let numbers = &mut self.flaws[flaw as usize];
        numbers.push_back(units);
        if numbers.len() > PROOF {
            numbers.pop_front();
        }
        numbers.len() == PROOF && numbers.front().is_some_and(|first| units - first < RECENT)
    }
}

impl Flaw {
    const ALL: [Flaw; 4] = [Flaw::Empty, Flaw::Backwards, Flaw::Bare, Flaw::Gap];

    fn words(self) -> &'static str {
        match self {
            Flaw::Empty => "units without a picture",
            Flaw::Backwards => "pictures that are not later than those before them",
            Flaw::Bare => "key frames without parameter sets",
            Flaw::Gap => "pictures are missing that others refer to",
        }
    }
}

/// Flaws of a kind: with three, a viewer has seen more than a stumble.
const PROOF: usize = 3;

/// Units: ten seconds at thirty pictures a second. Flaws further apart cost less than a change of the encoder.
const RECENT: u64 = 300;

#[cfg(test)]
mod tests {
    use super::super::headers::samples::{key_frame, slice};
    use super::*;

    #[test]
    fn a_stream_that_misses_references_is_told_once() {
        let mut stream = Stream::new();
        assert!((1..40).all(|number| stream.picture(number).is_none()), "the number begins again at 16");
        let losing = [41, 43, 45, 47, 49, 51].map(|number| stream.picture(number));
        let told: Vec<_> = losing.iter().map(Option::is_some).collect();
        assert_eq!(told, [false, false, true, false, false, false]);
        assert_eq!(losing[2], Some("pictures are missing that others refer to"));
    }

    #[test]
    fn a_stumble_now_and_then_is_none() {
        let mut stream = Stream::new();
        let mut number = 0;
        for _ in 0..20 {
            number += 2; // one is missing
            assert_eq!(stream.picture(number), None);
            for _ in 0..RECENT / 2 {
                number += 1;
                assert_eq!(stream.picture(number), None);
            }
        }
    }

    #[test]
    fn a_key_frame_begins_anew() {
        let mut stream = Stream::new();
        for _ in 0..10 {
            assert!((1..7).all(|number| stream.picture(number).is_none()));
            assert_eq!(stream.key_frame(), None);
        }
    }

    #[test]
    fn pictures_that_nobody_refers_to_may_be_missing() {
        let mut stream = Stream::new();
        for number in 1..50 {
            // Each followed by one with the next number that is for nobody; every other one of those is lost.
            assert_eq!(stream.picture(number), None);
            if number % 2 == 0 {
                assert_eq!(stream.unit(&slice(0x01, number + 1)), None);
            }
        }
    }

    #[test]
    fn each_flaw_has_its_words() {
        let mut stream = Stream::new();
        let empty = (0..3).filter_map(|_| stream.unit(&[0, 0, 1, 9, 0xf0])).collect::<Vec<_>>();
        assert_eq!(empty, ["units without a picture"]);
        let mut stream = Stream::new();
        let bare = (0..3).filter_map(|_| stream.unit(&slice(0x65, 0))).collect::<Vec<_>>();
        assert_eq!(bare, ["key frames without parameter sets"]);
        let mut stream = Stream::new();
        let backwards = (1..4).filter_map(|number| stream.form.look(Duration::ZERO, &slice(0x41, number)).1);
        assert_eq!(backwards.collect::<Vec<_>>(), ["pictures that are not later than those before them"]);
    }

    struct Stream {
        form: Form,
        at: Duration,
    }

    impl Stream {
        /// Its first key frame has come.
        fn new() -> Stream {
            let mut stream = Stream { form: Form::new(Codec::H264), at: Duration::ZERO };
            assert_eq!(stream.key_frame(), None);
            stream
        }

        fn unit(&mut self, unit: &[u8]) -> Option<&'static str> {
            self.at += Duration::from_millis(33);
            self.form.look(self.at, unit).1
        }

        fn picture(&mut self, number: u64) -> Option<&'static str> {
            self.unit(&slice(0x41, number))
        }

        fn key_frame(&mut self) -> Option<&'static str> {
            self.unit(&key_frame())
        }
    }
}
