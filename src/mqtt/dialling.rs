//! When the broker is called again after a connection has failed or ended, in which version of the protocol, and what
//! of all that is worth telling.

use std::time::Duration;

use super::packet::{Refusal, Version};
use super::session::Ended;
use crate::config::MqttVersion;
use crate::session::backoff::{Backoff, Policy};

/// What is remembered from one attempt to the next.
#[derive(Clone, Debug)]
pub struct Dialling {
    wanted: MqttVersion,
    version: Version,
    soon: Backoff,
    late: Backoff,
    /// What was told last of failures; `None` since the last connection.
    told: Option<String>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A file of the configuration is of no use.
    #[error("{0}")]
    Files(String),
    /// There is no way to the broker, or it was interrupted.
    #[error("{0}")]
    Network(String),
    /// It is not the one that is meant, or does not take us for the one that we say.
    #[error("{0}")]
    Tls(String),
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// What follows a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    pub wait: Duration,
    /// The reason, where it has not been told already.
    pub tell: Option<String>,
}

impl Dialling {
    pub fn new(wanted: MqttVersion) -> Dialling {
        let version = match wanted {
            MqttVersion::Auto | MqttVersion::V5 => Version::V5,
            MqttVersion::V311 => Version::V311,
        };
        Dialling { wanted, version, soon: Backoff::new(SOON), late: Backoff::new(LATE), told: None }
    }

    /// The version of the next attempt.
    pub fn version(&self) -> Version {
        self.version
    }

    /// There is a connection.
    pub fn connected(&mut self) {
        self.soon.reset();
        self.late.reset();
        self.told = None;
    }

    /// There is none, or none any more; `was_open` where there was. `jitter` is uniform in 0..1.
    pub fn failed(&mut self, failure: &Failure, was_open: bool, jitter: f64) -> Next {
        if !was_open && self.wanted == MqttVersion::Auto && may_be_version(failure) {
            // Some brokers that do not know version 5 say so, others just hang up.
            let (said, other) = (matches!(failure, Failure::Ended(Ended::Refused(_))), self.other_version());
            self.version = other;
            if said && other == Version::V311 {
                return Next { wait: Duration::ZERO, tell: None };
            }
        }
        let wait = if needs_somebody(failure) { self.late.next(jitter) } else { self.soon.next(jitter) };
        let reason = failure.to_string();
        let is_news = self.told.as_ref() != Some(&reason);
        if is_news {
            self.told = Some(reason.clone());
        }
        Next { wait, tell: is_news.then_some(reason) }
    }

    fn other_version(&self) -> Version {
        match self.version {
            Version::V5 => Version::V311,
            Version::V311 => Version::V5,
        }
    }
}

/// The attempt may have failed because of its version.
fn may_be_version(failure: &Failure) -> bool {
    match failure {
        Failure::Ended(Ended::Refused(refusal)) => *refusal == Refusal::Version,
        Failure::Ended(Ended::Goodbye(_) | Ended::Malformed(_)) => true,
        Failure::Ended(Ended::Silent) | Failure::Files(_) | Failure::Network(_) | Failure::Tls(_) => false,
    }
}

/// It will not pass by itself: a broker that counts wrong passwords is not to be asked every few seconds.
fn needs_somebody(failure: &Failure) -> bool {
    match failure {
        Failure::Files(_) | Failure::Tls(_) | Failure::Ended(Ended::Malformed(_)) => true,
        Failure::Ended(Ended::Refused(refusal)) => match refusal {
            Refusal::Version | Refusal::ClientId | Refusal::Login(_) => true,
            Refusal::Other(_) => false,
        },
        Failure::Network(_) | Failure::Ended(Ended::Goodbye(_) | Ended::Silent) => false,
    }
}

/// A broker that restarts is back in a second; one that is away for hours is not to be rushed by a thousand machines.
const SOON: Policy = Policy { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// Somebody has to change something, here or there. A reload of the daemon asks at once.
const LATE: Policy = Policy { first: Duration::from_secs(30), longest: Duration::from_secs(300) };

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusal: Refusal) -> Failure {
        Failure::Ended(Ended::Refused(refusal))
    }

    #[test]
    fn a_broker_that_is_away_is_called_again_and_again_and_told_once() {
        let mut dialling = Dialling::new(MqttVersion::Auto);
        let away = Failure::Network("connection refused".into());
        let told: Vec<_> = (0..3).map(|_| dialling.failed(&away, false, 0.5)).collect();
        let waits: Vec<_> = told.iter().map(|next| next.wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4]);
        assert_eq!(told.iter().filter(|next| next.tell.is_some()).count(), 1);
        assert_eq!(dialling.version(), Version::V5, "nobody has said anything of versions");
        dialling.connected();
        let again = dialling.failed(&away, true, 0.5);
        assert_eq!((again.wait.as_secs(), again.tell.is_some()), (1, true));
    }

    #[test]
    fn what_only_somebody_can_mend_is_tried_slowly() {
        let mut dialling = Dialling::new(MqttVersion::V5);
        for failure in [
            refused(Refusal::Login("wrong")),
            Failure::Tls("unknown issuer".into()),
            Failure::Files("mqtt.password_file: …".into()),
        ] {
            let next = dialling.failed(&failure, false, 0.5);
            assert!(next.wait >= LATE.first && next.tell.is_some(), "{failure:?}");
        }
    }

    #[test]
    fn a_broker_without_version_5_is_asked_in_3_1_1_at_once() {
        let mut dialling = Dialling::new(MqttVersion::Auto);
        let next = dialling.failed(&refused(Refusal::Version), false, 0.5);
        assert_eq!((next.wait, next.tell, dialling.version()), (Duration::ZERO, None, Version::V311));
        let mut dialling = Dialling::new(MqttVersion::V5);
        assert!(dialling.failed(&refused(Refusal::Version), false, 0.5).wait >= LATE.first);
        assert_eq!(dialling.version(), Version::V5, "that is what is wanted");
    }

    #[test]
    fn a_broker_that_hangs_up_is_asked_in_the_other_version_next() {
        let mut dialling = Dialling::new(MqttVersion::Auto);
        let hung_up = Failure::Ended(Ended::Goodbye("it hung up".into()));
        let versions: Vec<_> = (0..3)
            .map(|_| {
                assert!(dialling.failed(&hung_up, false, 0.5).wait > Duration::ZERO, "no endless loop");
                dialling.version()
            })
            .collect();
        assert_eq!(versions, [Version::V311, Version::V5, Version::V311]);
        dialling.connected();
        dialling.failed(&hung_up, true, 0.5);
        assert_eq!(dialling.version(), Version::V311, "it has worked");
    }
}
