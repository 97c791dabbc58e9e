//! One output's mux: units in, chunks of whole TS packets out, at once and on the caller's thread.

use std::collections::VecDeque;

use gst::prelude::*;

use super::error::Error;
use super::ts::{AccessUnit, PACKET, Writer};
use super::unit::{Tracks, Unit};
use crate::transport::Chunk;

/// An output's mux. It has no thread and holds nothing back.
#[derive(Debug)]
pub struct Mux {
    writer: Writer,
}

impl Mux {
    pub fn new(tracks: Tracks) -> Mux {
        Mux { writer: Writer::new(tracks) }
    }

    /// Appends one unit to `out`, in chunks of seven packets and a shorter last one, so that no tail
    /// of a picture waits for the next. Takes as long as copying the unit. Units may be left out
    /// between two calls, and any time may pass.
    ///
    /// # Errors
    /// When the unit's memory cannot be read; nothing was written then.
    pub fn push(&mut self, unit: &Unit, out: &mut VecDeque<Chunk>) -> Result<(), Error> {
        let data = unit.buffer.map_readable().map_err(|_| Error::UnitUnreadable)?;
        let pts = unit.buffer.pts().map_or(0, ticks);
        let dts = unit.buffer.dts().map_or(pts, ticks);
        let access_unit = AccessUnit { track: unit.track, key: unit.key, pts, dts, data: &data };
        let mut packets = self.writer.write(&access_unit);
        while !packets.is_empty() {
            let data = packets.split_to(packets.len().min(CHUNK));
            out.push_back(Chunk { captured: unit.captured, data });
        }
        Ok(())
    }

    /// Puts PAT and PMT before the next unit: a receiver that (re)connected starts there. Every key
    /// frame has them before it in any case.
    pub fn resend_tables(&mut self) {
        self.writer.want_tables();
    }
}

/// The shared clock's time in ticks of 90 kHz.
fn ticks(time: gst::ClockTime) -> u64 {
    time.mul_div_round(TICKS_PER_SECOND, gst::ClockTime::SECOND.nseconds())
        .map_or(0, gst::ClockTime::nseconds)
}

/// Seven packets: SRT's usual payload of 1316 bytes.
const CHUNK: usize = 7 * PACKET;

const TICKS_PER_SECOND: u64 = 90_000;
