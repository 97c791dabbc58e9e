//! What a run was like, in the figures of the link lab's scorer, so that both can stand in one table.
//!
//! | figure | means |
//! |---|---|
//! | `util` | TS bits delivered / sum over seconds of min(link capacity × 1316/1360, 1.04 × max) |
//! | `qd` | queueing delay of each packet of the stream at the bottleneck, in ms |
//! | `lost_pct` | messages that went out and were never released |
//! | `late_pct` | messages released more than 100 ms after sending time + latency |
//! | `freeze` | gaps above 200 ms between pictures that are whole, decodable and on time |
//! | `react_s` | from a fall of the capacity until what is sent stays below it |
//! | `drain_s` | from a fall until the queue stays below 150 ms |
//! | `refill_s` | from a rise until 90 % of it is used |
//!
//! The window is from the first message to the end less the latency and two seconds, in whole seconds.

use std::time::Duration;

use serde::Serialize;
use uplinkd::demo::receiver::Message;
use uplinkd::link::relay::Passage;
use uplinkd::link::{Spec, Verdict};
use uplinkd::units::Bitrate;

use crate::frames::{Frame, frames};

/// What was seen of one stream over a link.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Bytes that the uplink could carry in each 100 ms of the link's time.
    pub capacity: Vec<u64>,
    /// The stream's packets, as they came to the uplink.
    pub passages: Vec<Passage>,
    /// Different messages among them.
    pub sent_messages: u64,
    pub messages: Vec<Message>,
}

/// What was asked of the sender.
#[derive(Clone, Debug)]
pub struct Terms {
    pub latency: Duration,
    /// Of the run, from the first packet.
    pub duration: Duration,
    /// Of the picture.
    pub max: Bitrate,
    pub events: Vec<Event>,
}

/// A known change of the capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub at: Duration,
    pub to: Bitrate,
}

/// The figures; the units stand in their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    pub goodput_kbps: f64,
    pub usable_kbps: f64,
    pub util: f64,
    pub qd_p50: f64,
    pub qd_p95: f64,
    pub qd_p99: f64,
    pub qd_max: f64,
    pub qdrop: u64,
    pub lost_pkts: u64,
    pub lost_pct: f64,
    /// Times that packets were given up.
    pub loss_episodes: u64,
    pub late_pct: f64,
    pub late_max_ms: f64,
    pub frames: u64,
    /// Never encoded, or left out as whole groups before the network.
    pub source_skips: u64,
    pub missing: u64,
    pub damaged: u64,
    /// Whole, but without the key frame that they need.
    pub broken: u64,
    pub freeze_s: f64,
    pub freeze_n: u64,
    pub freeze_max_s: f64,
    pub events: Vec<Reaction>,
}

/// What an event led to, in seconds from it; `None` for what did not come in the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reaction {
    Fall { t: f64, to: u64, qd_max: f64, react_s: Option<f64>, drain_s: Option<f64> },
    Rise { t: f64, to: u64, refill_s: Option<f64> },
}

impl Terms {
    /// Of a run over `link`: its events are the changes of its rate, where they are few enough to be
    /// reacted to one by one, and the ends of its outages.
    pub fn new(link: &Spec, latency: Duration, duration: Duration, max: Bitrate) -> Terms {
        let changes = if link.rate_changes.len() <= MOST_EVENTS { &link.rate_changes[..] } else { &[] };
        let changes = changes.iter().map(|change| Event { at: change.at, to: change.rate });
        let rate = link.rate;
        let returns = link
            .outages
            .iter()
            .filter_map(|outage| Some(Event { at: outage.start + outage.duration, to: rate? }));
        Terms { latency, duration, max, events: changes.chain(returns).collect() }
    }
}

impl Recording {
    /// The figures; `None` where hardly anything was received.
    pub fn score(&self, terms: &Terms) -> Option<Score> {
        let window = Duration::from_secs(terms.duration.checked_sub(terms.latency + TAIL)?.as_secs());
        if self.messages.len() < FEWEST_MESSAGES || window < Duration::from_secs(1) {
            return None;
        }
        let late_ms = self.late_ms();
        let begin = sent(&self.messages[0]);
        let kept = |message: &Message| sent(message).saturating_sub(begin) <= window;
        let late_kept: Vec<f64> = (self.messages.iter().zip(&late_ms))
            .filter(|(message, _)| kept(message))
            .map(|(_, late)| *late)
            .collect();
        let bits: u64 =
            self.messages.iter().filter(|message| kept(message)).map(|m| 8 * m.bytes.len() as u64).sum();
        let usable = self.usable_bits(terms.max, window);
        let delays = self.queue_delays(Duration::ZERO, window);
        let lost = self.sent_messages.saturating_sub(self.messages.len() as u64);
        let mut score = Score {
            goodput_kbps: bits as f64 / window.as_secs_f64() / 1000.0,
            usable_kbps: usable / window.as_secs() as f64 / 1000.0,
            util: bits as f64 / usable,
            qd_p50: percentile(&delays, 0.5),
            qd_p95: percentile(&delays, 0.95),
            qd_p99: percentile(&delays, 0.99),
            qd_max: delays.last().copied().unwrap_or(0.0),
            qdrop: self.passages.iter().filter(|p| p.verdict == QUEUE_DROP && p.at <= window).count() as u64,
            lost_pkts: lost,
            lost_pct: 100.0 * lost as f64 / (self.sent_messages.max(1)) as f64,
            loss_episodes: self.messages.iter().skip(1).filter(|m| m.gap && kept(m)).count() as u64,
            late_pct: 100.0 * share(&late_kept, |late| late > LATE_MS),
            late_max_ms: late_kept.iter().copied().fold(0.0, f64::max),
            events: terms
                .events
                .iter()
                .filter_map(|event| self.reaction(*event, terms.max, window))
                .collect(),
            ..Score::default()
        };
        let mut pictures = frames(&self.messages, &late_ms);
        pictures.retain(|frame| frame.sent.saturating_sub(begin) <= window);
        judge_pictures(&mut score, pictures);
        Some(score)
    }

    /// How much later each message was released than the quickest twentieth, in ms.
    pub fn late_ms(&self) -> Vec<f64> {
        let delays: Vec<f64> = (self.messages.iter())
            .map(|message| (message.at.as_secs_f64() - sent(message).as_secs_f64()) * 1000.0)
            .collect();
        let base = percentile(&sorted(delays.clone()), 0.05);
        delays.iter().map(|delay| delay - base).collect()
    }

    /// Queueing delays in ms of the packets that came between two times, in rising order.
    pub fn queue_delays(&self, from: Duration, to: Duration) -> Vec<f64> {
        let between = self.passages.iter().filter(|passage| (from..=to).contains(&passage.at));
        sorted(between.filter_map(|passage| Some(queued(passage)?.as_secs_f64() * 1000.0)).collect())
    }

    /// Bytes on the wire that passed the bottleneck of those that came between two times.
    pub fn carried(&self, from: Duration, to: Duration) -> u64 {
        (self.passages.iter())
            .filter(|passage| (from..=to).contains(&passage.at) && queued(passage).is_some())
            .map(|passage| passage.bytes.get())
            .sum()
    }

    /// When so many bytes of messages, the first that came from a time on, had arrived behind the link.
    pub fn arrival_of(&self, bytes: u64, from: Duration) -> Option<Duration> {
        let mut arrived = 0;
        self.passages.iter().filter(|passage| passage.at >= from).find_map(|passage| {
            let Verdict::Deliver { at, .. } = passage.verdict else { return None };
            // Acknowledgements and handshakes are shorter than a packet of TS.
            arrived +=
                passage.bytes.get().checked_sub(HEADERS).filter(|payload| *payload >= 188).unwrap_or(0);
            (arrived >= bytes).then_some(at)
        })
    }

    fn usable_bits(&self, max: Bitrate, window: Duration) -> f64 {
        let bins = &self.capacity[..self.capacity.len().min(window.as_secs() as usize * 10)];
        let most = max.as_bps() as f64 * TS_OVER_PICTURE;
        bins.chunks_exact(10)
            .map(|second| 8.0 * second.iter().sum::<u64>() as f64 * PAYLOAD_SHARE)
            .map(|bits| bits.min(most))
            .sum()
    }

    fn reaction(&self, event: Event, max: Bitrate, window: Duration) -> Option<Reaction> {
        let bins = (window.as_millis() / BIN.as_millis()) as usize;
        let start = bin(event.at);
        if start < 20 || start >= bins || self.capacity.len() < bins {
            return None;
        }
        let mut offered = vec![0.0; bins];
        let mut longest = vec![0.0_f64; bins];
        for passage in self.passages.iter().filter(|passage| bin(passage.at) < bins) {
            offered[bin(passage.at)] += 8.0 * passage.bytes.get() as f64;
            let delay = queued(passage).map_or(0.0, |queued| queued.as_secs_f64() * 1000.0);
            longest[bin(passage.at)] = longest[bin(passage.at)].max(delay);
        }
        // Bit/s over the last half second.
        let rate: Vec<f64> = (0..bins)
            .map(|end| {
                let from = end.saturating_sub(4);
                offered[from..=end].iter().sum::<f64>() * 10.0 / (end - from + 1) as f64
            })
            .collect();
        let since = |bin: usize| (bin - start) as f64 / 10.0;
        let to = event.to.as_bps() as f64;
        let before = self.capacity[start - 20..start].iter().sum::<u64>() as f64 * 8.0 / 2.0;
        let (t, to_kbps) = (event.at.as_secs_f64(), event.to.as_kbps());
        Some(if to < before {
            let holds = |at: &usize| rate[*at..at + 10].iter().all(|rate| *rate <= to * 1.02);
            let drained = |at: &usize| longest[*at..at + 5].iter().all(|delay| *delay < DRAINED_MS);
            Reaction::Fall {
                t,
                to: to_kbps,
                qd_max: longest[start..bins.min(start + 200)].iter().copied().fold(0.0, f64::max),
                react_s: (start + 1..bins.saturating_sub(10)).find(holds).map(since),
                drain_s: (start + 3..bins.saturating_sub(5)).find(drained).map(since),
            }
        } else {
            let goal = 0.9 * to.min(max.as_bps() as f64 * WIRE_OVER_PICTURE);
            let filled = |at: &usize| rate[*at..at + 10].iter().sum::<f64>() / 10.0 >= goal;
            let refill_s = (start + 1..bins.saturating_sub(10)).find(filled).map(since);
            Reaction::Rise { t, to: to_kbps, refill_s }
        })
    }
}

fn judge_pictures(score: &mut Score, mut pictures: Vec<Frame>) {
    if pictures.len() <= 10 {
        return;
    }
    pictures.sort_by(|a, b| a.pts_ms.total_cmp(&b.pts_ms));
    let step =
        percentile(&sorted(pictures.windows(2).map(|pair| pair[1].pts_ms - pair[0].pts_ms).collect()), 0.5);
    let (first, last) = (pictures[0].pts_ms, pictures[pictures.len() - 1].pts_ms);
    let (mut decodable, mut clean) = (false, Vec::new());
    for (index, frame) in pictures.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).map(|before| &pictures[before]) {
            let hole = ((frame.pts_ms - before.pts_ms) / step).round() as u64;
            let hole = hole.saturating_sub(1);
            if before.damaged && hole > 0 {
                score.missing += hole;
                decodable = false;
            } else {
                score.source_skips += hole;
            }
        }
        if frame.damaged {
            score.damaged += 1;
            decodable = false;
        } else if frame.key {
            decodable = true;
        } else if !decodable {
            score.broken += 1;
        }
        if decodable && frame.late_ms <= LATE_MS {
            clean.push(frame.pts_ms);
        }
    }
    score.frames = ((last - first) / step).round() as u64 + 1;
    let mut gaps: Vec<f64> = clean.windows(2).map(|pair| pair[1] - pair[0]).collect();
    match (clean.first(), clean.last()) {
        (Some(first_clean), Some(last_clean)) => gaps.extend([first_clean - first, last - last_clean]),
        _ => gaps.push(last - first),
    }
    gaps.retain(|gap| *gap > FREEZE_MS);
    score.freeze_n = gaps.len() as u64;
    score.freeze_s = gaps.iter().fold(0.0, |sum, gap| sum + gap) / 1000.0;
    score.freeze_max_s = gaps.iter().copied().fold(0.0, f64::max) / 1000.0;
}

fn sent(message: &Message) -> Duration {
    message.sent.unwrap_or(message.at)
}

/// How long a packet waited; nothing for one that was dropped or lost.
fn queued(passage: &Passage) -> Option<Duration> {
    match passage.verdict {
        Verdict::Deliver { queued, .. } => Some(queued),
        Verdict::Dropped(_) => None,
    }
}

fn bin(at: Duration) -> usize {
    (at.as_nanos() / BIN.as_nanos()) as usize
}

fn share(values: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    values.iter().filter(|value| holds(**value)).count() as f64 / values.len().max(1) as f64
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Of values in rising order; 0 of none.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = (part * sorted.len() as f64) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// What `capacity` counts by.
pub const BIN: Duration = Duration::from_millis(100);
/// After the last message that could have been released there is nothing to judge.
const TAIL: Duration = Duration::from_secs(2);
/// More are a ramp.
const MOST_EVENTS: usize = 8;
/// Fewer are not a stream.
const FEWEST_MESSAGES: usize = 100;
/// A full message of TS in an SRT, UDP and IP packet.
const PAYLOAD_SHARE: f64 = 1316.0 / 1360.0;
/// What the packing as TS, and as packets besides, adds to a picture's bits.
const TS_OVER_PICTURE: f64 = 1.04;
const WIRE_OVER_PICTURE: f64 = 1.07;
/// A player with a fixed delay has missed what is later.
const LATE_MS: f64 = 100.0;
/// Bytes: IP, UDP and SRT.
const HEADERS: u64 = 44;
const FREEZE_MS: f64 = 200.0;
const DRAINED_MS: f64 = 150.0;
const QUEUE_DROP: Verdict = Verdict::Dropped(uplinkd::link::DropReason::Queue);

#[cfg(test)]
mod tests {
    use super::*;
    use uplinkd::units::ByteCount;

    const MS: Duration = Duration::from_millis(1);

    /// A packet of 1360 bytes on the wire every 4 ms (2.72 Mbit/s) for 30 s, released 1 s later.
    fn steady() -> Recording {
        let at = |number: u32| 4 * MS * number;
        let passage = |number| Passage {
            at: at(number),
            route: 0,
            bytes: ByteCount::new(1360),
            verdict: Verdict::Deliver { at: at(number) + 25 * MS, queued: MS * (number % 100) },
        };
        let message = |number| Message {
            at: at(number) + 1000 * MS,
            sent: Some(at(number)),
            gap: number == 0,
            bytes: vec![0; 1316],
        };
        Recording {
            // 4 Mbit/s.
            capacity: vec![50_000; 300],
            passages: (0..7500).map(passage).collect(),
            sent_messages: 7500,
            messages: (0..7500).map(message).collect(),
        }
    }

    fn terms() -> Terms {
        let (latency, duration) = (1000 * MS, Duration::from_secs(30));
        Terms { latency, duration, max: Bitrate::from_kbps(6000), events: vec![] }
    }

    fn close(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= 0.002 * expected.abs()
    }

    #[test]
    fn utilisation_counts_payload_against_what_could_be_carried() {
        let score = steady().score(&terms()).expect("a score");
        assert!(close(score.util, 2.72 / 4.0), "{score:?}");
        // Where the encoder's most is below the capacity, that counts.
        let score = steady().score(&Terms { max: Bitrate::from_kbps(2500), ..terms() }).expect("a score");
        assert!(close(score.util, 2632.0 / (2500.0 * 1.04)), "{score:?}");
        assert_eq!((score.lost_pkts, score.late_pct, score.qdrop), (0, 0.0, 0));
        // Every whole number of ms up to 99, as often as any other but for the last round.
        assert_eq!((score.qd_p50, score.qd_p95, score.qd_max), (49.0, 94.0, 99.0));
    }

    #[test]
    fn lost_and_late_messages_are_counted() {
        let mut recording = steady();
        recording.messages[3000].at += 101 * MS;
        recording.messages[3001].at += 99 * MS;
        recording.messages.drain(4000..4010);
        recording.messages[4000].gap = true;
        let score = recording.score(&terms()).expect("a score");
        assert_eq!((score.lost_pkts, score.loss_episodes), (10, 1));
        let kept = 27_000.0 / 4.0 + 1.0 - 10.0;
        assert!(close(score.late_pct, 100.0 / kept), "{score:?}");
        assert!(close(score.late_max_ms, 101.0), "{score:?}");
    }

    #[test]
    fn reactions_are_those_of_the_packets() {
        let mut recording = steady();
        // 4 to 2 Mbit/s at 10 s; the sender halves its rate 700 ms later, and doubles it at 20 s, 300 ms after the link.
        recording.capacity[100..200].fill(25_000);
        let thin = (10_700 * MS)..(20_300 * MS);
        let mut number = 0;
        recording.passages.retain(|passage| {
            number += 1;
            !thin.contains(&passage.at) || number % 2 == 0
        });
        for passage in &mut recording.passages {
            let queued = if (10_000 * MS..11_200 * MS).contains(&passage.at) { 180 * MS } else { 10 * MS };
            passage.verdict = Verdict::Deliver { at: passage.at + queued, queued };
        }
        let event = |seconds, kbps| Event { at: Duration::from_secs(seconds), to: Bitrate::from_kbps(kbps) };
        let terms = Terms { events: vec![event(10, 2000), event(20, 2800)], ..terms() };
        let score = recording.score(&terms).expect("a score");
        let [Reaction::Fall { qd_max, react_s, drain_s, .. }, Reaction::Rise { refill_s, .. }] =
            score.events[..]
        else {
            panic!("{score:?}")
        };
        // The mean of half a second has passed the capacity, half way between the rates, a little later.
        assert!((0.9..=1.3).contains(&react_s.expect("a reaction")), "{score:?}");
        assert_eq!((drain_s, qd_max), (Some(1.2), 180.0));
        assert!((0.3..=1.0).contains(&refill_s.expect("a refill")), "{score:?}");
    }

    #[test]
    fn freezes_are_between_clean_pictures() {
        let frame = |number: u32, key: bool| Frame {
            pts_ms: f64::from(number) * 40.0,
            key,
            damaged: false,
            sent: Duration::ZERO,
            released: Duration::ZERO,
            late_ms: 0.0,
            end_byte: 0,
        };
        let mut pictures: Vec<Frame> = (0..100).map(|number| frame(number, number % 20 == 0)).collect();
        pictures[50].damaged = true; // Broken until the key frame at 60: 49 to 60 are 440 ms.
        pictures[75].late_ms = 300.0; // Only 80 ms between its neighbours.
        let mut score = Score::default();
        judge_pictures(&mut score, pictures);
        assert_eq!((score.frames, score.damaged, score.broken, score.missing), (100, 1, 9, 0));
        assert_eq!((score.freeze_n, score.freeze_s, score.freeze_max_s), (1, 0.44, 0.44));
    }

    #[test]
    fn nothing_received_is_no_score() {
        assert_eq!(Recording::default().score(&terms()), None);
    }
}
