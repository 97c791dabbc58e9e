//! Has samples of what the encoder gives decoded: [`Sampling`] says when, and a child process decodes.

use std::future::pending;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::program::Program;
use crate::causes::with_causes;
use crate::media::{Decoded, EncoderProgress};
use crate::probe::parent::Prober;
use crate::session::sampling::{Finding, Outcome, Sampling, Want};

/// Of one stream. Dropped, it ends the child that decodes.
#[derive(Default)]
pub struct Samples {
    sampling: Sampling,
    decoding: Option<Decoding>,
}

/// What a sample has shown.
#[derive(Debug)]
pub struct Judgement {
    /// Whose sample it is.
    pub element: &'static str,
    pub finding: Finding,
    /// The next sample is to begin with a key frame at once.
    pub wants_key_frame: bool,
}

struct Decoding {
    element: &'static str,
    /// When the encoder began that the sample is of.
    encoder: Instant,
    task: JoinHandle<Outcome>,
}

impl Samples {
    /// To be called at each tick while the program runs.
    pub fn observe(&mut self, now: Instant, program: &Program) {
        let EncoderProgress { element, since: encoder, .. } = program.progress();
        match self.sampling.observe(now, encoder) {
            Want::Nothing => {}
            Want::Sample { .. } => program.want_sample(),
            Want::Take { short } => {
                let Some(units) = program.take_sample(short) else { return };
                self.sampling.taken();
                let codec = program.encoder().codec; // a stream's encoders have one in common
                let task = tokio::spawn(async move {
                    let decoded = match Prober::this_program() {
                        Ok(prober) => prober.decode(codec, &units).await,
                        Err(error) => Err(error),
                    };
                    decoded.map_or_else(
                        |error| Outcome::Unknown(with_causes(&error)),
                        |decoded| outcome(decoded, units.len()),
                    )
                });
                self.decoding = Some(Decoding { element, encoder, task });
            }
        }
    }

    /// Waits for the outcome of a sample; cancel safe. A next sample that is wanted is asked of `program`.
    pub async fn next(&mut self) -> Judgement {
        let result = match &mut self.decoding {
            Some(decoding) => (&mut decoding.task).await,
            None => pending().await,
        };
        let Decoding { element, encoder, .. } =
            self.decoding.take().expect("it has ended just now, and nobody else takes it");
        let outcome =
            result.unwrap_or_else(|_| Outcome::Unknown("waiting for the decoder panicked".to_owned()));
        let (finding, want) = self.sampling.decoded(Instant::now(), encoder, outcome);
        Judgement { element, finding, wants_key_frame: want == Want::Sample { at_once: true } }
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the decoder says of so many units.
fn outcome(decoded: Decoded, units: usize) -> Outcome {
    match decoded {
        Decoded::With { decoder, error: Some(error), .. } => {
            Outcome::NotDecoded(format!("{decoder} does not decode it: {error}"))
        }
        Decoded::With { decoder, pictures, .. } if (pictures as usize) < units => {
            Outcome::NotDecoded(format!("{decoder} decodes {pictures} of {units} pictures"))
        }
        Decoded::With { .. } => Outcome::Decoded,
        Decoded::Parsed { .. } => Outcome::NoDecoder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_content_with_all_pictures_and_no_error() {
        let decoded = |pictures, error: Option<&str>| Decoded::With {
            decoder: "avdec_h264".to_owned(),
            pictures,
            size: Some((640, 360)),
            error: error.map(str::to_owned),
        };
        assert_eq!(outcome(decoded(16, None), 16), Outcome::Decoded);
        let broken = outcome(decoded(16, Some("no frame!")), 16);
        assert_eq!(broken, Outcome::NotDecoded("avdec_h264 does not decode it: no frame!".into()));
        let fewer = outcome(decoded(3, None), 16);
        assert_eq!(fewer, Outcome::NotDecoded("avdec_h264 decodes 3 of 16 pictures".into()));
        assert_eq!(outcome(Decoded::Parsed { pictures: 0, error: None }, 16), Outcome::NoDecoder);
    }
}
