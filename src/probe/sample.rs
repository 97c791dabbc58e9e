//! What a decoder makes of a sample of an encoder's stream: asked of a child, since a decoder may crash or hang of it.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::parent::{Error, Prober};
use crate::causes::with_causes;
use crate::config::Codec;
use crate::media::{self, Decoded};

/// The line that the child answers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Decoded(Decoded),
    /// The decoder could not even be tried.
    NotTried(String),
}

impl Prober {
    /// Has units decoded that begin with a key frame, at the lowest priority. Dropped halfway, it kills the child.
    ///
    /// # Errors
    /// Whatever kept the child from an answer: that says nothing of the units.
    pub async fn decode(&self, codec: Codec, units: &[Vec<u8>]) -> Result<Decoded, Error> {
        let arguments = ["decode-sample", "--codec", &codec.to_string()].map(str::to_owned);
        match self.run("the decoder", arguments.into(), &packed(units)).await? {
            Answer::Decoded(decoded) => Ok(decoded),
            Answer::NotTried(reason) => Err(Error::NotTried(reason)),
        }
    }
}

/// What the child does; [`crate::media::init`] comes first. A decoder may hang or crash in this.
pub fn answer(codec: Codec, units: Vec<Vec<u8>>) -> Answer {
    match media::decode_sample(codec, units) {
        Ok(decoded) => Answer::Decoded(decoded),
        Err(error) => Answer::NotTried(with_causes(&error)),
    }
}

/// Units as a child reads them: each behind its length, of four bytes.
fn packed(units: &[Vec<u8>]) -> Vec<u8> {
    let pack = |unit: &Vec<u8>| {
        let length = u32::try_from(unit.len()).unwrap_or(u32::MAX); // a picture of 4 GiB is cut
        [&length.to_be_bytes()[..], unit].concat()
    };
    units.iter().flat_map(pack).collect()
}

/// The units that the daemon gives its child.
///
/// # Errors
/// When the input cannot be read, or ends within a unit.
pub fn unpacked(input: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let (mut rest, mut units) = (&bytes[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (unit, after) = after.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        units.push(unit.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(units) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_out_as_they_went_in_and_a_part_of_one_does_not() {
        let units = vec![vec![1; 300], vec![], vec![2]];
        let bytes = packed(&units);
        assert_eq!(unpacked(&mut &bytes[..]).unwrap(), units);
        assert_eq!(unpacked(&mut &[][..]).unwrap(), Vec::<Vec<u8>>::new());
        for cut in [1, 3, 310 - 3] {
            assert!(unpacked(&mut &bytes[..bytes.len() - cut]).is_err(), "{cut}");
        }
    }
}
