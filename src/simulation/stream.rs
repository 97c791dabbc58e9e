//! One stream from camera to screen: who acts when, and what passes between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::encoder::{Encoder, SOUND_INTERVAL};
use super::flight::Flight;
use super::receiver::{Answer, Data, Receiver};
use super::recorder::Recorder;
use super::sender::{SRT_HEADER, Sender};
use super::world::Network;
use super::{Outcome, Scenario};
use crate::link::Verdict;
use crate::rate::recording::{Line, Step};
use crate::rate::{Actuator, Controller, Decision, LinkSample};
use crate::transport::gop_queue::{GopQueue, Kind, Limits};
use crate::units::{Bitrate, ByteCount};

/// Everything between a camera and a screen, at one moment. Its times are since its own start.
pub struct Stream {
    scenario: Scenario,
    /// On the network's clock.
    start: Duration,
    epoch: Instant,
    encoder: Encoder,
    queue: GopQueue<Unit>,
    /// Of the queue.
    room: ByteCount,
    sender: Sender,
    up: Flight<Upward>,
    down: Flight<Answer>,
    receiver: Receiver,
    controller: Controller,
    actuator: Actuator,
    decision: Decision,
    recorder: Recorder,
    /// Samples and decisions, where they are wanted.
    lines: Option<Vec<Line>>,
    /// Of pictures and sound, and of pictures alone.
    meter: Meter,
    encoded: Meter,
    next_picture: Duration,
    next_sound: Duration,
    next_sample: Duration,
}

/// A picture or a frame of sound on its way to the sender.
#[derive(Clone, Copy, Debug)]
struct Unit {
    number: u32,
    captured: Duration,
    /// As transport stream.
    bytes: u64,
}

/// What goes up the link.
#[derive(Clone, Copy, Debug)]
enum Upward {
    Data(Data),
    Confirm { sent: Duration, edge: u64 },
}

impl Stream {
    /// The stream of that number, which begins so long after the scenario does and ends with it.
    pub fn new(scenario: &Scenario, number: usize, epoch: Instant) -> Self {
        let start = scenario.apart * number as u32;
        let scenario = Scenario { duration: scenario.duration.saturating_sub(start), ..scenario.clone() };
        let Scenario { link, latency, settings, law, encoder, .. } = &scenario;
        let mut controller = Controller::tuned(*settings, law.clone());
        let mut sender = Sender::new(link, *latency, settings.peak());
        let decision = controller.observe(&sender.sample(Duration::ZERO));
        sender.allow(decision.pace, decision.sound_window());
        let room = settings.peak() * (*latency + ROOM);
        let mut queue = GopQueue::closed();
        queue.open(Limits { age: decision.patience, bytes: room });
        Stream {
            start,
            epoch,
            encoder: Encoder::new(encoder, decision.target, link.seed.wrapping_add(number as u64)),
            queue,
            room,
            sender,
            up: Flight::new(),
            down: Flight::new(),
            receiver: Receiver::new(*latency, link.delay + link.jitter / 2),
            controller,
            actuator: Actuator::new(encoder.change_cost()),
            decision,
            recorder: Recorder::new(&scenario),
            lines: None,
            meter: Meter::default(),
            encoded: Meter::default(),
            next_picture: ENCODING,
            next_sound: if encoder.sound.is_some() { ENCODING } else { Duration::MAX },
            next_sample: SAMPLE_PERIOD,
            scenario,
        }
    }

    /// Keeps samples and decisions from now on.
    pub fn record(&mut self) {
        self.lines = Some(vec![Line::Start(Box::new(self.controller.clone()))]);
    }

    /// What was kept.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines.unwrap_or_default()
    }

    pub fn finish(mut self, network: &Network) -> Outcome {
        self.recorder.left_out(self.queue.left_out());
        self.recorder.finish(&self.scenario, self.start, &network.uplink, &self.sender.counters())
    }

    /// When it has something to do next, on the network's clock.
    pub fn next_deadline(&self) -> Duration {
        self.next_event().saturating_add(self.start)
    }

    fn next_event(&self) -> Duration {
        self.up
            .next()
            .min(self.down.next())
            .min(self.receiver.next())
            .min(self.sender.next())
            .min(self.next_picture)
            .min(self.next_sound)
            .min(self.next_sample)
    }

    /// Everything that is due at `now` of the network's clock, along the way of the data and back.
    pub fn advance(&mut self, now: Duration, network: &mut Network) {
        let now = now - self.start;
        while let Some(answer) = self.down.arrived(now) {
            self.hear(now, answer, network);
        }
        if now >= self.next_picture {
            self.next_picture += self.scenario.encoder.interval;
            self.encode(now);
        }
        if now >= self.next_sound {
            self.next_sound += SOUND_INTERVAL;
            self.sound(now);
        }
        if now >= self.next_sample {
            self.next_sample += SAMPLE_PERIOD;
            self.decide(now);
        }
        while let Some(data) = self.sender.leave(now) {
            self.send(now, usize::from(data.payload) + SRT_HEADER, Upward::Data(data), network);
        }
        while let Some(upward) = self.up.arrived(now) {
            match upward {
                Upward::Data(data) => {
                    self.recorder.arrived(now, &data);
                    if let Some(report) = self.receiver.receive(data) {
                        self.answer(now, report, network);
                    }
                }
                Upward::Confirm { sent, edge } => self.receiver.confirm(now, sent, edge),
            }
        }
        while let Some(released) = self.receiver.release(now) {
            self.recorder.released(&released);
        }
        for answer in self.receiver.tick(now).into_iter().flatten() {
            self.answer(now, answer, network);
        }
    }

    fn hear(&mut self, now: Duration, answer: Answer, network: &mut Network) {
        match answer {
            Answer::Acknowledge { edge, rtt, sent } => {
                self.sender.acknowledge(now, edge, rtt);
                self.send(now, SRT_HEADER, Upward::Confirm { sent, edge }, network);
                self.pump(now);
            }
            Answer::Report { missing, fresh } => self.sender.report(now, &missing, fresh),
        }
    }

    fn encode(&mut self, now: Duration) {
        let captured = now - ENCODING;
        let Some(picture) = self.encoder.take(captured, self.decision.thin) else {
            self.recorder.thinned(captured);
            return;
        };
        self.meter.add(now, picture.size);
        self.encoded.add(now, picture.size);
        let number = self.recorder.encoded(captured, picture.key);
        let tables = if picture.key { TABLES } else { 0 };
        let bytes = ts_bytes(picture.size.get() + PICTURE_HEADER) + tables;
        let kind = if picture.key { Kind::KeyFrame } else { Kind::DeltaFrame };
        self.enqueue(now, kind, Unit { number, captured, bytes });
    }

    fn sound(&mut self, now: Duration) {
        let size = self.scenario.encoder.sound.unwrap_or(Bitrate::ZERO) * SOUND_INTERVAL;
        self.meter.add(now, size);
        let bytes = ts_bytes(size.get() + SOUND_HEADER);
        self.enqueue(now, Kind::Sound, Unit { number: SOUND, captured: now - ENCODING, bytes });
    }

    fn enqueue(&mut self, now: Duration, kind: Kind, unit: Unit) {
        let (at, captured) = (self.epoch + now, self.epoch + unit.captured);
        self.queue.push(at, kind, captured, ByteCount::new(unit.bytes), unit);
        self.pump(now);
    }

    /// Hands over what the window allows, and of the sound a little more.
    fn pump(&mut self, now: Duration) {
        loop {
            let in_network = self.sender.in_network();
            let units = if in_network < self.decision.window {
                Vec::from_iter(self.queue.pop(self.epoch + now))
            } else if in_network < self.decision.sound_window() {
                let wait = self.scenario.latency.mul_f64(SOUND_PATIENCE);
                self.queue.pop_sounds(self.epoch + now, SOUNDS_TOGETHER, wait)
            } else {
                return;
            };
            if units.is_empty() {
                return;
            }
            for unit in units {
                let packets = self.sender.push(unit.captured, unit.bytes, unit.number);
                self.recorder.handed_over(unit.number, packets);
            }
        }
    }

    fn send(&mut self, now: Duration, bytes: usize, upward: Upward, network: &mut Network) {
        let verdict = network.uplink.offer(self.start + now, bytes);
        self.recorder.offered(now, bytes, &verdict, matches!(upward, Upward::Data(_)));
        if let Verdict::Deliver { at, .. } = verdict {
            self.up.add(at - self.start, upward);
        }
    }

    fn answer(&mut self, now: Duration, answer: Answer, network: &mut Network) {
        if let Verdict::Deliver { at, .. } = network.downlink.offer(self.start + now, ANSWER_BYTES) {
            self.down.add(at - self.start, answer);
        }
    }

    fn decide(&mut self, now: Duration) {
        self.sender.tend(now);
        self.pump(now);
        let sample = self.sample(now);
        let decision = self.controller.observe(&sample);
        if let Some(lines) = &mut self.lines {
            lines.push(Line::Step(Step { sample, decision }));
        }
        if let Some(rate) = self.actuator.command(now, decision.target, self.encoded.rate(now)) {
            self.encoder.set_target(rate);
        }
        self.sender.allow(decision.pace, decision.sound_window());
        self.queue.limit(Limits { age: decision.patience, bytes: self.room });
        if decision.key_frame || self.queue.awaits_key_frame() {
            self.encoder.want_key_frame();
        }
        self.decision = decision;
        self.pump(now);
        self.recorder.decided(&sample, &decision);
    }

    fn sample(&mut self, now: Duration) -> LinkSample {
        let sample = self.sender.sample(now);
        let waits = self.queue.waiting(self.epoch + now).oldest;
        LinkSample {
            oldest: if sample.oldest > Duration::ZERO { sample.oldest } else { waits },
            waiting: self.queue.bytes() + sample.waiting,
            left_out: self.queue.left_out().pictures,
            encoded: self.meter.rate(now),
            ..sample
        }
    }
}

/// The encoders' rate over the last second.
#[derive(Debug, Default)]
struct Meter {
    /// Bounded by the second.
    units: VecDeque<(Duration, ByteCount)>,
    sum: ByteCount,
}

impl Meter {
    fn add(&mut self, now: Duration, size: ByteCount) {
        self.units.push_back((now, size));
        self.sum += size;
    }

    fn rate(&mut self, now: Duration) -> Option<Bitrate> {
        while let Some((at, size)) = self.units.front().copied()
            && now.saturating_sub(at) > METERED
        {
            self.sum = self.sum - size;
            self.units.pop_front();
        }
        (now >= METERED).then(|| self.sum / METERED)
    }
}

/// Whole TS packets for so many bytes of PES.
fn ts_bytes(pes: u64) -> u64 {
    pes.div_ceil(184) * 188
}

/// The number of a unit that is no picture.
pub const SOUND: u32 = u32::MAX;
/// From a picture's capture until the encoder gives it: x264 at `zerolatency` on a small machine.
const ENCODING: Duration = Duration::from_millis(10);
/// `transport::srt`: how often a measurement is published.
const SAMPLE_PERIOD: Duration = Duration::from_millis(20);
/// Of the GOP queue, beyond the latency: what bounds its memory does not bound its time.
const ROOM: Duration = Duration::from_secs(2);
const METERED: Duration = Duration::from_secs(1);
/// `supervisor::feed`: sounds that go together, in fewer packets than one by one (which is not modelled).
const SOUNDS_TOGETHER: usize = 4;
/// Of the latency: for how long sound waits behind pictures.
const SOUND_PATIENCE: f64 = 0.4;
/// PES header with both timestamps, PCR and access unit delimiter.
const PICTURE_HEADER: u64 = 33;
/// PES header with one timestamp, and ADTS.
const SOUND_HEADER: u64 = 21;
/// PAT and PMT, before each key frame.
const TABLES: u64 = 2 * 188;
/// A full acknowledgement; reports are of this order too, and the way back is not limited.
const ANSWER_BYTES: usize = 44;
