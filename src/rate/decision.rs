//! What a controller says.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Bitrate, ByteCount};

/// What is to be done from now on, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The sample's time that led to it.
    pub at: Duration,
    pub rule: Rule,
    /// The target of the decision before.
    pub before: Bitrate,
    /// For the video encoder.
    pub target: Bitrate,
    /// What the link was last measured to carry, as video; `None` where nothing has measured it of late.
    pub estimate: Option<Bitrate>,
    /// How long a packet sent now waits in the network, beyond the path's shortest round trip.
    pub queue: Duration,
    /// So many bytes of transport stream may be handed over and not known to have arrived: what else
    /// there is waits before the transport, where groups of pictures can still be left out. Zero lets
    /// nothing through, no sound either.
    pub window: ByteCount,
    /// What may be sent, on the wire: headers and repetitions included.
    pub pace: Bitrate,
    /// What waits before the transport for longer than this is left out.
    pub patience: Duration,
    /// Share of the pictures that are not to be encoded, spread evenly; 0 to 1.
    pub thin: f64,
    /// The next picture is to be a key frame.
    pub key_frame: bool,
}

impl Decision {
    /// The window for sound, which is the last to give way: a little more, where anything gets through.
    pub fn sound_window(&self) -> ByteCount {
        if self.window > ByteCount::ZERO { self.window + SOUND } else { ByteCount::ZERO }
    }
}

/// What made a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The rate does not follow the link: it is not to, as configured.
    Fixed,
    /// The queue is empty: more is tried.
    Grow,
    /// More is tried gently, near what the link carried a moment ago.
    Probe,
    /// More would only be a guess: what is sent now uses little of what is allowed.
    Unproven,
    /// The upper bound of the configuration.
    Maximum,
    /// A queue has formed and what gets through is being measured.
    Measure,
    /// A queue is being worked off.
    Drain,
    /// The queue is gone: back to what was measured.
    Refill,
    /// Somebody else fills the queue: more is tried until it overflows.
    Compete,
    /// Nothing gets through.
    Stall,
}

impl Rule {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Rule::Fixed => "fixed",
            Rule::Grow => "grow",
            Rule::Probe => "probe",
            Rule::Unproven => "unproven",
            Rule::Maximum => "maximum",
            Rule::Measure => "measure",
            Rule::Drain => "drain",
            Rule::Refill => "refill",
            Rule::Compete => "compete",
            Rule::Stall => "stall",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Half a second of 64 kbit/s.
const SOUND: ByteCount = ByteCount::new(4 * 1316);
