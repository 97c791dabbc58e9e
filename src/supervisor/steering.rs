//! One output's rate control: from its measurements and its queue to its feed, its driver and its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::feed::Feed;
use super::recorder::Recorder;
use crate::rate::recording::Step;
use crate::rate::{Controller, Decision, LinkSample, Settings};
use crate::session::meter::Meter;
use crate::transport::srt::Measurement;
use crate::units::Bitrate;

/// What an output is steered by, over all its connections.
#[derive(Debug)]
pub struct Steering {
    settings: watch::Receiver<Settings>,
    decision: Arc<watch::Sender<Option<Decision>>>,
    /// Notified at each decision.
    decided: Arc<Notify>,
    pace: watch::Sender<Option<Bitrate>>,
    recorder: Arc<Recorder>,
    lead: Lead,
    /// The recording of the present connection has begun.
    is_recorded: bool,
}

/// Whether decisions count for the output, which are always one connection's: its only one, or that of
/// one of its callers.
#[derive(Clone, Debug)]
pub struct Lead(Arc<AtomicBool>);

impl Lead {
    /// From now on they do.
    pub fn take(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
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
    pub fn new(
        settings: watch::Receiver<Settings>,
        decided: Arc<Notify>,
        recorder: Arc<Recorder>,
    ) -> (Self, watch::Receiver<Option<Decision>>) {
        let (decision, decisions) = watch::channel(None);
        let (decision, pace) = (Arc::new(decision), watch::Sender::new(None));
        let lead = Lead(Arc::new(AtomicBool::new(true)));
        (Steering { settings, decision, decided, pace, recorder, lead, is_recorded: false }, decisions)
    }

    /// For one caller of the output: it is steered by what it decides, and so is the output once it
    /// takes the lead.
    pub fn for_caller(&self) -> (Steering, Lead) {
        let lead = Lead(Arc::new(AtomicBool::new(false)));
        let steering = Steering {
            settings: self.settings.clone(),
            decision: self.decision.clone(),
            decided: self.decided.clone(),
            pace: watch::Sender::new(None),
            recorder: self.recorder.clone(),
            lead: lead.clone(),
            is_recorded: false,
        };
        (steering, lead)
    }

    /// What the driver may send at, on the wire; as fast as it comes before the first decision.
    pub fn pace(&self) -> watch::Receiver<Option<Bitrate>> {
        self.pace.subscribe()
    }

    /// A connection begins.
    pub fn begin(&mut self, latency: Duration) -> Course {
        self.pace.send_replace(None);
        let (began, controller) = (Instant::now(), Controller::new(*self.settings.borrow_and_update()));
        self.is_recorded = false;
        Course { controller, latency, began, encoded: Meter::default() }
    }

    /// It has ended: nothing is decided until the next.
    pub fn end(&mut self) {
        if self.lead.is_taken() {
            self.decision.send_replace(None);
            self.decided.notify_one();
        }
    }

    /// Decides anew.
    pub fn steer(&mut self, course: &mut Course, measurement: &Measurement, feed: &Feed) -> Decision {
        let leads = self.lead.is_taken();
        if leads && !self.is_recorded {
            self.is_recorded = true;
            self.recorder.begin(course.began, &course.controller);
        }
        if self.settings.has_changed().unwrap_or(false) {
            let settings = *self.settings.borrow_and_update();
            course.controller.set(settings);
            if leads {
                self.recorder.settings(&course.controller, settings);
            }
        }
        let sample = course.sample(measurement, feed);
        let decision = course.controller.observe(&sample);
        self.pace.send_replace(Some(decision.pace));
        if leads {
            self.recorder.step(&course.controller, Step { sample, decision });
            self.decision.send_replace(Some(decision));
            self.decided.notify_one();
        }
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
            arrived: measurement.arrived.bytes,
            handed_over: measurement.handed_over.bytes,
            send_buffer: measurement.send_buffer.bytes,
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
