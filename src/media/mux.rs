//! One output's mux: units in, chunks of whole TS packets out, at once and on the caller's thread.

use std::collections::VecDeque;
use std::time::Instant;

use super::error::Error;
use super::ts::{AccessUnit, PACKET, Writer, opus_header, ticks};
use super::unit::{Track, Tracks, Unit};
use crate::config::AudioCodec;
use crate::transport::Chunk;

/// An output's mux. It has no thread and holds nothing back.
#[derive(Debug)]
pub struct Mux {
    writer: Writer,
    audio: Option<AudioCodec>,
}

impl Mux {
    pub fn new(tracks: Tracks) -> Mux {
        Mux { writer: Writer::new(tracks), audio: tracks.audio }
    }

    /// Appends one unit to `out`, in chunks of seven packets and a shorter last one, so that no tail
    /// of a picture waits for the next. Takes as long as copying the unit. Units may be left out
    /// between two calls, and any time may pass.
    ///
    /// # Errors
    /// When the unit's memory cannot be read; nothing was written then.
    pub fn push(&mut self, unit: &Unit, out: &mut VecDeque<Chunk>) -> Result<(), Error> {
        let data = unit.buffer.map_readable().map_err(|_| Error::UnitUnreadable)?;
        let headed = self.headed(unit, &data);
        self.write(unit, unit.captured, headed.as_deref().unwrap_or(&data), out);
        Ok(())
    }

    /// Appends units of sound that follow each other, as one: they share packets and a timestamp. What was
    /// captured from `overtaken` on may still follow them. A receiver releases packets in their order, and no
    /// clock may run ahead of a picture: so they go by the time of what they overtake.
    ///
    /// # Errors
    /// As [`Mux::push`].
    pub fn push_together(
        &mut self,
        sounds: &[Unit],
        overtaken: Instant,
        out: &mut VecDeque<Chunk>,
    ) -> Result<(), Error> {
        let Some(first) = sounds.first() else { return Ok(()) };
        let mut together = Vec::new();
        for sound in sounds {
            let data = sound.buffer.map_readable().map_err(|_| Error::UnitUnreadable)?;
            together.extend_from_slice(self.headed(sound, &data).as_deref().unwrap_or(&data));
        }
        self.write(first, overtaken.min(first.captured), &together, out);
        Ok(())
    }

    /// With what MPEG-TS wants before it; `None` where it wants nothing.
    fn headed(&self, unit: &Unit, data: &[u8]) -> Option<Vec<u8>> {
        let is_opus = unit.track == Track::Audio && self.audio == Some(AudioCodec::Opus);
        is_opus.then(|| [&opus_header(data.len()), data].concat())
    }

    /// As if it had been captured at `captured`, its own time or an earlier one.
    fn write(&mut self, unit: &Unit, captured: Instant, data: &[u8], out: &mut VecDeque<Chunk>) {
        let time = |stamp: Option<gst::ClockTime>| stamp.map(|stamp| ticks(stamp.into()));
        let pts = time(unit.buffer.pts()).unwrap_or(0); // every unit is stamped when it is made
        let dts = time(unit.buffer.dts()).unwrap_or(pts);
        let clock = dts.saturating_sub(ticks(unit.captured.saturating_duration_since(captured)));
        let access_unit = AccessUnit { track: unit.track, key: unit.key, pts, dts, clock, data };
        let mut packets = self.writer.write(&access_unit);
        while !packets.is_empty() {
            let data = packets.split_to(packets.len().min(CHUNK));
            out.push_back(Chunk { captured, data });
        }
    }

    /// Puts PAT and PMT before the next unit: a receiver that (re)connected starts there. Every key
    /// frame has them before it in any case.
    pub fn resend_tables(&mut self) {
        self.writer.want_tables();
    }
}

/// Seven packets: SRT's usual payload of 1316 bytes.
const CHUNK: usize = 7 * PACKET;
