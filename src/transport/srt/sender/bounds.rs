//! How long a packet is kept, and how many are.

use std::time::Duration;

use crate::transport::srt::PAYLOAD_BYTES;
use crate::units::Bitrate;

/// How long after its capture a packet is given up: beyond the receiver's latency, since its clock
/// started later than ours by the way there.
pub fn patience(latency: Duration) -> Duration {
    (latency + latency / 4).max(LEAST_PATIENCE)
}

/// Packets of the send buffer: twice what the peak leaves in it within the patience and half a second.
pub fn capacity(peak: Bitrate, patience: Duration) -> usize {
    let packets = 2.0 * packets_per_second(peak) * (patience + CAPACITY_MARGIN).as_secs_f64();
    (packets.ceil() as usize).max(SMALLEST_CAPACITY)
}

/// Full ones.
pub fn packets_per_second(rate: Bitrate) -> f64 {
    rate.as_bps() as f64 / 8.0 / PAYLOAD_BYTES as f64
}

/// `SRT_TLPKTDROP_MINTHRESHOLD_MS` of libsrt: below a second, a packet is not given up.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
/// Room for packets that arrive while others are being given up.
const CAPACITY_MARGIN: Duration = Duration::from_millis(500);
/// Room for a burst of the slowest stream: a key frame of 1.3 MB.
pub const SMALLEST_CAPACITY: usize = 1000;
