//! The continuity counter of a PID (ISO/IEC 13818-1, 2.4.3.3).

use mpeg2ts_reader::packet::Packet;

/// What the packets of one PID were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidReport {
    pub packets: u64,
    /// Counters that did not follow, and nothing explains it.
    pub errors: u64,
    /// Counters that did not follow behind a gap that the transport had announced.
    pub excused: u64,
    /// Packets missing at each of both, summed: at least this many, since the counter only has 4 bits.
    pub missing_at_least: u64,
    /// Packets sent twice in a row, which the standard allows.
    pub duplicates: u64,
    /// Jumps that the stream announced (discontinuity_indicator).
    pub announced_jumps: u64,
}

/// How a packet relates to the one before of its PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    InOrder,
    /// Seen already: to be ignored.
    Duplicate,
    /// Something is missing before it.
    Gap,
}

#[derive(Debug, Default)]
pub(super) struct Continuity {
    report: PidReport,
    last: Option<Last>,
    excused: bool,
}

#[derive(Debug)]
struct Last {
    counter: u8,
    /// Payloads of packets that may be sent twice; empty without one.
    payload: Vec<u8>,
    duplicated: bool,
}

impl Continuity {
    pub fn report(&self) -> PidReport {
        self.report
    }

    /// The next jump is the transport's doing.
    pub fn excuse_next(&mut self) {
        self.excused = true;
    }

    pub fn check(&mut self, packet: &Packet<'_>) -> Next {
        self.report.packets += 1;
        let counter = packet.continuity_counter().count();
        let payload = packet.payload().unwrap_or_default();
        let has_payload = packet.adaptation_control().has_payload();
        let announced = packet.adaptation_field().is_some_and(|field| field.discontinuity_indicator());
        let excused = std::mem::take(&mut self.excused);
        let Some(last) = &mut self.last else {
            self.last = Some(Last { counter, payload: payload.to_vec(), duplicated: false });
            return Next::InOrder;
        };
        let same = counter == last.counter;
        if has_payload && same && !last.duplicated && !last.payload.is_empty() && last.payload == payload {
            last.duplicated = true;
            self.report.duplicates += 1;
            return Next::Duplicate;
        }
        // Packets without a payload do not count.
        let expected = if has_payload { (last.counter + 1) % COUNTERS } else { last.counter };
        last.counter = counter;
        if has_payload {
            last.duplicated = false;
            last.payload.clear();
            last.payload.extend_from_slice(payload);
        }
        if counter == expected {
            return Next::InOrder;
        }
        if announced {
            self.report.announced_jumps += 1;
            return Next::InOrder;
        }
        self.report.missing_at_least += u64::from((counter + COUNTERS - expected) % COUNTERS);
        if excused {
            self.report.excused += 1;
        } else {
            self.report.errors += 1;
        }
        Next::Gap
    }
}

const COUNTERS: u8 = 16;
