//! One output's rate control: from its measurements and its queue to its feed, its driver and its stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::feed::Feed;
use super::recorder::Recorder;
use crate::rate::recording::Step;
use crate::rate::{Controller, Decision, LinkSample, Settings};
use crate::session::meter::Meter;
use crate::transport::srt::{Allowance, Measurement};
use crate::units::Bitrate;

/// What an output is steered by, over all its connections.
#[derive(Debug)]
pub struct Steering {
    settings: watch::Receiver<Settings>,
    decision: watch::Sender<Option<Decision>>,
    /// Notified at each decision.
    decided: Arc<Notify>,
    allowance: watch::Sender<Allowance>,
    recorder: Arc<Recorder>,
}

/// The controller of one connection.
#[derive(Debug)]
pub struct Course {
    controller: Controller,
    latency: Duration,
    began: Instant,
    encoded: Meter,
}

impl Steering {
    /// `decided` is notified whenever there is another decision to be read.
    pub fn new(settings: watch::Receiver<Settings>, decided: Arc<Notify>, recorder: Arc<Recorder>) -> Self {
        let (decision, allowance) = (watch::Sender::new(None), watch::Sender::new(Allowance::default()));
        Steering { settings, decision, decided, allowance, recorder }
    }

    /// The newest decision; `None` without a connection.
    pub fn decisions(&self) -> watch::Receiver<Option<Decision>> {
        self.decision.subscribe()
    }

    /// What the driver may send; as it comes before the first decision.
    pub fn allowance(&self) -> watch::Receiver<Allowance> {
        self.allowance.subscribe()
    }

    /// A connection begins.
    pub fn begin(&mut self, latency: Duration) -> Course {
        self.allowance.send_replace(Allowance::default());
        let (began, controller) = (Instant::now(), Controller::new(*self.settings.borrow_and_update()));
        self.recorder.begin(began, &controller);
        Course { controller, latency, began, encoded: Meter::default() }
    }

    /// The output drains: what is left goes as fast as it can, and nobody is steered by that.
    pub fn release(&mut self) {
        self.allowance.send_replace(Allowance::default());
        self.end();
    }

    /// It has ended: nothing is decided until the next.
    pub fn end(&mut self) {
        self.decision.send_replace(None);
        self.decided.notify_one();
    }

    /// Decides anew.
    pub fn steer(&mut self, course: &mut Course, measurement: &Measurement, feed: &Feed) -> Decision {
        if self.settings.has_changed().unwrap_or(false) {
            let settings = *self.settings.borrow_and_update();
            course.controller.set(settings);
            self.recorder.settings(&course.controller, settings);
        }
        let sample = course.sample(measurement, feed);
        let decision = course.controller.observe(&sample);
        self.recorder.step(&course.controller, Step { sample, decision });
        let (pace, window) = (Some(decision.pace), Some(decision.sound_window()));
        let peak = Some(self.settings.borrow().peak());
        self.allowance.send_replace(Allowance { pace, window, peak });
        self.decision.send_replace(Some(decision));
        self.decided.notify_one();
        decision
    }
}

impl Course {
    fn sample(&mut self, measurement: &Measurement, feed: &Feed) -> LinkSample {
        let waiting = feed.queue().waiting(measurement.at);
        let until_paced = feed.handed_over().saturating_sub(measurement.handed_over.bytes);
        self.encoded.observe(measurement.at, waiting.offered.get());
        let encoded = self.encoded.bitrate();
        LinkSample {
            at: measurement.at.saturating_duration_since(self.began),
            latency: self.latency,
            rtt: measurement.rtt,
            rtt_variance: measurement.rtt_variance,
            fresh_rtt: measurement.fresh_rtt,
            base_rtt: measurement.base_rtt,
            arrived: measurement.handed_over.bytes.saturating_sub(measurement.in_network),
            handed_over: measurement.handed_over.bytes,
            send_buffer: measurement.send_buffer.bytes,
            in_network: measurement.in_network,
            waiting: waiting.bytes + until_paced,
            oldest: measurement.oldest_unacknowledged.max(waiting.oldest),
            oldest_sent: measurement.oldest_sent,
            heard: measurement.heard,
            sent: measurement.sent.packets,
            retransmitted: measurement.retransmitted.packets,
            lost: measurement.nak_packets,
            late: measurement.late_packets,
            left_out: waiting.left_out.pictures,
            limited_by_application: measurement.limited_by_application,
            encoded: (encoded > Bitrate::ZERO).then_some(encoded),
        }
    }
}
