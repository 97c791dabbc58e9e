//! One output's mux: units in, chunks of whole TS packets out, at once and on the caller's thread.

use std::sync::{Mutex, PoisonError};

use super::error::Error;
use super::ts::{AccessUnit, PACKET, Writer, ticks};
use super::unit::{Tracks, Unit};
use crate::transport::Chunk;

/// An output's mux. It has no thread and holds nothing back.
pub struct Mux {
    state: Mutex<State>,
}

struct State {
    writer: Writer,
    sink: Box<dyn FnMut(Chunk) + Send>,
}

impl Mux {
    /// `sink` is called from within [`Mux::push`].
    pub fn start(tracks: Tracks, sink: impl FnMut(Chunk) + Send + 'static) -> Result<Mux, Error> {
        Ok(Mux { state: Mutex::new(State { writer: Writer::new(tracks), sink: Box::new(sink) }) })
    }

    /// Writes one unit: its packets are handed to the sink in chunks of seven, the last one shorter,
    /// so that no tail of a picture waits for the next. Takes as long as copying the unit, and what
    /// the sink takes. Units may be left out between two calls, and any time may pass.
    pub fn push(&self, unit: &Unit) -> Result<(), Error> {
        let data = unit.buffer.map_readable().map_err(|_| Error::UnitUnreadable)?;
        let time = |stamp: Option<gst::ClockTime>| stamp.map(|stamp| ticks(stamp.into()));
        let pts = time(unit.buffer.pts()).unwrap_or(0); // every unit is stamped when it is made
        let dts = time(unit.buffer.dts()).unwrap_or(pts);
        let access_unit = AccessUnit { track: unit.track, key: unit.key, pts, dts, data: &data };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut packets = state.writer.write(&access_unit);
        while !packets.is_empty() {
            let data = packets.split_to(packets.len().min(CHUNK));
            (state.sink)(Chunk { captured: unit.captured, data });
        }
        Ok(())
    }

    /// Puts PAT and PMT before the next unit: a receiver that (re)connected starts there. Every key
    /// frame has them before it in any case.
    pub fn resend_tables(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).writer.want_tables();
    }
}

/// Seven packets: SRT's usual payload of 1316 bytes.
const CHUNK: usize = 7 * PACKET;
