//! From an output's queue through its mux to its driver, as far as the link allows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::fanout::{Fanout, OutputQueue};
use crate::media::{Error, Mux, Tracks};
use crate::rate::Decision;
use crate::transport::Chunk;
use crate::transport::gop_queue::Limits;
use crate::transport::srt::Measurement;
use crate::units::ByteCount;

/// One output's feed. Its mux outlives connections, so that continuity counters and timestamps go
/// on where they were.
pub struct Feed {
    fanout: Fanout,
    queue: Arc<OutputQueue>,
    mux: Mux,
    /// Bytes handed to the driver of the present connection, and of these what has left the network:
    /// arrived, or given up.
    handed_over: ByteCount,
    settled: ByteCount,
    /// What may be between the two: with pictures, and with sound on top.
    window: ByteCount,
    sound_window: ByteCount,
    /// Of the present connection.
    latency: Duration,
    /// Of the present connection. Dropped, it tells the driver that no more will come.
    driver: Option<mpsc::Sender<Chunk>>,
    /// What is left of a unit that the driver had no room for. No further unit is muxed before it
    /// has gone: what is in a mux is promised to the receiver.
    rest: VecDeque<Chunk>,
    finishing: bool,
}

impl Feed {
    /// Takes units from the fan-out from now on; they are kept once a connection has begun.
    pub fn new(fanout: Fanout, tracks: Tracks, latency: Duration) -> Self {
        let queue = fanout.attach();
        Feed {
            fanout,
            queue,
            mux: Mux::new(tracks),
            handed_over: ByteCount::ZERO,
            settled: ByteCount::ZERO,
            window: FIRST_WINDOW,
            sound_window: FIRST_WINDOW,
            latency,
            driver: None,
            rest: VecDeque::new(),
            finishing: false,
        }
    }

    pub fn queue(&self) -> &Arc<OutputQueue> {
        &self.queue
    }

    /// A connection begins: with tables and a key frame, so that a decoder can begin there too.
    /// Gives what the driver is to send. At most `room` bytes wait.
    pub fn begin(&mut self, latency: Duration, room: ByteCount) -> mpsc::Receiver<Chunk> {
        let (driver, chunks) = mpsc::channel(CHUNKS);
        self.driver = Some(driver);
        self.rest.clear();
        self.handed_over = ByteCount::ZERO;
        self.settled = ByteCount::ZERO;
        self.window = FIRST_WINDOW;
        self.sound_window = FIRST_WINDOW;
        self.latency = latency;
        self.mux.resend_tables();
        self.queue.open(Limits { age: longest_wait(latency), bytes: room });
        chunks
    }

    /// It has ended: what still waits would be stale by the next one.
    pub fn end(&mut self) {
        self.queue.close();
        self.driver = None;
        self.rest.clear();
    }

    /// What was handed to the driver of the present connection; it may not have taken all of it.
    pub fn handed_over(&self) -> ByteCount {
        self.handed_over
    }

    /// What the link has taken, and what it is to be given from now on.
    pub fn follow(&mut self, measurement: &Measurement, decision: &Decision, room: ByteCount) {
        self.settled = measurement.handed_over.bytes.saturating_sub(measurement.in_network);
        self.window = decision.window;
        self.sound_window = decision.sound_window();
        self.queue.limit(Limits { age: decision.patience, bytes: room });
    }

    /// From now on everything that waits is moved on, in whatever state the link is, and nothing new
    /// is taken in: what comes now is its successor's.
    pub fn finish(&mut self) {
        self.fanout.detach(&self.queue);
        self.finishing = true;
    }

    /// Moves on what the link and the driver have room for. Tells whether pictures can only go on
    /// with a key frame.
    ///
    /// # Errors
    /// When a unit's memory cannot be read.
    pub fn pump(&mut self) -> Result<bool, Error> {
        while self.hand_over() && self.take_next()? {}
        // In a stall nobody knows when a key frame could go: the rate controller asks for them then.
        Ok(!self.finishing && self.window > ByteCount::ZERO && self.queue.awaits_key_frame())
    }

    /// Muxes what may go next. False where there is nothing, or it has to wait.
    fn take_next(&mut self) -> Result<bool, Error> {
        let in_network = self.handed_over.saturating_sub(self.settled);
        if in_network < self.window || self.finishing {
            let Some(unit) = self.queue.pop() else {
                if self.finishing {
                    self.driver = None;
                }
                return Ok(false);
            };
            self.mux.push(&unit, &mut self.rest)?;
        } else if in_network < self.sound_window {
            let sounds = self.queue.pop_sounds(SOUNDS_TOGETHER, self.latency.mul_f64(SOUND_PATIENCE));
            let Some(first) = sounds.first() else { return Ok(false) };
            let overtaken = self.queue.oldest().unwrap_or(first.captured);
            self.mux.push_together(&sounds, overtaken, &mut self.rest)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives the driver what it takes of the rest; true once nothing of it is left.
    fn hand_over(&mut self) -> bool {
        let Some(driver) = &self.driver else { return false };
        while let Some(chunk) = self.rest.pop_front() {
            let bytes = ByteCount::new(chunk.data.len() as u64);
            match driver.try_send(chunk) {
                Ok(()) => self.handed_over += bytes,
                Err(TrySendError::Full(chunk)) => {
                    self.rest.push_front(chunk);
                    return false;
                }
                Err(TrySendError::Closed(_)) => return false, // the connection has ended, which its task is about to learn
            }
        }
        true
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.fanout.detach(&self.queue);
    }
}

/// Chunks between mux and driver: more than a key frame of 1 MB. When they are full the units wait in
/// the queue, where whole groups can be left out.
const CHUNKS: usize = 1024;

/// Before the first decision, which comes after 20 ms: a key frame.
const FIRST_WINDOW: ByteCount = ByteCount::new(64 * 1316);

/// Frames of sound that share packets while pictures wait. One by one, 64 kbit/s of AAC take 141 kbit/s of
/// transport stream; in fours, 70.
const SOUNDS_TOGETHER: usize = 4;
/// Of the latency: for how long sound waits behind pictures. More, and it would be late itself.
const SOUND_PATIENCE: f64 = 0.4;

/// How old a unit may get in the queue before the first decision says so.
fn longest_wait(latency: Duration) -> Duration {
    latency.mul_f64(0.75)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::{AudioCodec, Codec};
    use crate::media::{Track, Unit};
    use crate::rate::Rule;
    use crate::transport::srt::Traffic;
    use crate::units::Bitrate;

    const LATENCY: Duration = Duration::from_millis(1000);
    const ROOM: ByteCount = ByteCount::new(10_000_000);

    fn feed() -> (Fanout, Feed) {
        let fanout = Fanout::default();
        let tracks =
            Tracks { video: Codec::H264, audio: Some(AudioCodec::Aac), audio_lateness: Duration::ZERO };
        let feed = Feed::new(fanout.clone(), tracks, LATENCY);
        (fanout, feed)
    }

    fn picture(key: bool, bytes: usize) -> Unit {
        Unit::sample(Track::Video, key, Instant::now(), bytes)
    }

    fn received(chunks: &mut mpsc::Receiver<Chunk>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(chunk) = chunks.try_recv() {
            bytes.extend_from_slice(&chunk.data);
        }
        bytes
    }

    /// Of what was handed over, so much has not arrived; and so much may not have.
    fn follow(feed: &mut Feed, in_network: u64, window: u64) {
        let now = Instant::now();
        let handed_over = Traffic { packets: 0, bytes: feed.handed_over };
        let in_network = ByteCount::new(in_network);
        let measurement = Measurement { handed_over, in_network, ..Measurement::new(now) };
        let decision = Decision {
            at: Duration::ZERO,
            rule: Rule::Drain,
            before: Bitrate::ZERO,
            target: Bitrate::ZERO,
            estimate: None,
            queue: Duration::ZERO,
            window: ByteCount::new(window),
            pace: Bitrate::ZERO,
            patience: LATENCY,
            thin: 0.0,
            key_frame: false,
        };
        feed.follow(&measurement, &decision, ROOM);
    }

    /// A feed with a connection to which so many bytes have been handed over.
    fn busy_feed(bytes: usize) -> (Fanout, Feed, mpsc::Receiver<Chunk>) {
        let (fanout, mut feed) = feed();
        let mut chunks = feed.begin(LATENCY, ROOM);
        fanout.deliver(&picture(true, bytes));
        assert!(!feed.pump().unwrap());
        received(&mut chunks);
        (fanout, feed, chunks)
    }

    #[test]
    fn nothing_goes_out_before_a_connection_and_a_key_frame() {
        let (fanout, mut feed) = feed();
        fanout.deliver(&picture(true, 100));
        assert!(!feed.pump().unwrap());
        let mut chunks = feed.begin(LATENCY, ROOM);
        fanout.deliver(&picture(false, 100));
        assert!(feed.pump().unwrap(), "a key frame is asked for");
        assert_eq!(received(&mut chunks), [] as [u8; 0]);
        fanout.deliver(&picture(true, 100));
        assert!(!feed.pump().unwrap());
        let bytes = received(&mut chunks);
        assert_eq!(bytes.len(), 3 * 188, "PAT, PMT, and the key frame");
        assert_eq!(u16::from(bytes[1] & 0x1f) << 8 | u16::from(bytes[2]), 0, "the PAT is first");
    }

    #[test]
    fn a_full_window_keeps_units_in_the_queue_until_something_arrives() {
        let (fanout, mut feed, mut chunks) = busy_feed(50_000);
        follow(&mut feed, 40_000, 40_000);
        fanout.deliver(&picture(false, 100));
        assert!(!feed.pump().unwrap());
        assert!(received(&mut chunks).is_empty());
        follow(&mut feed, 39_999, 40_000);
        assert!(!feed.pump().unwrap());
        assert_eq!(received(&mut chunks).len(), 188);
    }

    #[test]
    fn sound_passes_pictures_that_the_link_is_too_slow_for_but_not_without_bound() {
        let (fanout, mut feed, mut chunks) = busy_feed(50_000);
        follow(&mut feed, 40_000, 40_000);
        fanout.deliver(&picture(false, 100));
        let long_ago = Instant::now() - LATENCY / 2;
        for _ in 0..100 {
            fanout.deliver(&Unit::sample(Track::Audio, true, long_ago, 150));
        }
        assert!(!feed.pump().unwrap());
        let sound = received(&mut chunks).len();
        assert!(sound > 188 && sound < 40 * 188, "{sound} bytes");
        assert_eq!(feed.queue.waiting(Instant::now()).bytes.get() % 150, 100, "the picture waits");
    }

    /// A receiver releases packets in their order, each not before its time: with their own, sounds would
    /// hold back the older picture that follows them.
    #[test]
    fn sound_that_passes_pictures_is_stamped_as_they_are() {
        let (fanout, mut feed, mut chunks) = busy_feed(50_000);
        follow(&mut feed, 40_000, 40_000);
        let newer = Instant::now() - LATENCY / 2;
        let older = newer - Duration::from_millis(50);
        fanout.deliver(&Unit::sample(Track::Video, false, older, 100));
        for _ in 0..4 {
            fanout.deliver(&Unit::sample(Track::Audio, true, newer, 150));
        }
        assert!(!feed.pump().unwrap());
        let stamps: Vec<Instant> =
            std::iter::from_fn(|| chunks.try_recv().ok()).map(|it| it.captured).collect();
        assert!(!stamps.is_empty() && stamps.iter().all(|stamp| *stamp == older), "{stamps:?}");
    }

    #[test]
    fn a_unit_larger_than_the_drivers_room_arrives_whole_and_in_order() {
        let (fanout, mut feed) = feed();
        let mut chunks = feed.begin(LATENCY, ROOM);
        fanout.deliver(&picture(true, 3_000_000));
        let mut bytes = Vec::new();
        for _ in 0..4 {
            assert!(!feed.pump().unwrap());
            bytes.extend(received(&mut chunks));
        }
        assert!(bytes.len() > 3_000_000 && bytes.len().is_multiple_of(188));
        let counters: Vec<_> = bytes.chunks(188).skip(2).map(|packet| packet[3] & 0xf).collect();
        assert!(counters.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0xf), "no packet is missing");
    }

    #[test]
    fn finishing_sends_what_waits_through_a_full_window_takes_nothing_new_and_says_so() {
        let (fanout, mut feed) = feed();
        let mut chunks = feed.begin(LATENCY, ROOM);
        follow(&mut feed, 900, 900);
        fanout.deliver(&picture(true, 100));
        feed.finish();
        fanout.deliver(&picture(false, 100));
        assert!(!feed.pump().unwrap());
        assert_eq!(received(&mut chunks).len(), 3 * 188);
        assert_eq!(chunks.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn counters_go_on_over_connections_and_stale_units_do_not() {
        let (fanout, mut feed) = feed();
        let mut first = feed.begin(LATENCY, ROOM);
        fanout.deliver(&picture(true, 100));
        feed.pump().unwrap();
        let before = received(&mut first);
        fanout.deliver(&picture(false, 100));
        feed.end();
        let mut second = feed.begin(LATENCY, ROOM);
        fanout.deliver(&picture(true, 100));
        feed.pump().unwrap();
        let after = received(&mut second);
        assert_eq!(after.len(), 3 * 188, "what waited when the connection ended is gone");
        let counter = |bytes: &[u8]| bytes[2 * 188 + 3] & 0xf;
        assert_eq!(counter(&after), counter(&before) + 1);
    }

    #[test]
    fn a_dropped_feed_takes_nothing_any_more() {
        let (fanout, feed) = feed();
        drop(feed);
        fanout.deliver(&picture(true, 100));
        assert_eq!(fanout.outputs(), 0);
    }
}
