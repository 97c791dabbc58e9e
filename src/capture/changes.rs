//! What has come and gone, once it has come to rest: a camera that is plugged in makes a dozen changes in `/dev`
//! within a moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nodes and links by their paths, each with a mark that differs when something else stands there.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// What lies between two snapshots. What was replaced is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub appeared: Vec<PathBuf>,
    pub gone: Vec<PathBuf>,
}

/// When to look, and what is new then.
///
/// ```text
///           stirred                    quiet for a while, or stirred for long
///   Still ──────────▶ Stirred ─┐ ─────────────────────────────────────────────▶ Still
///     │  ▲               ▲     │ stirred
///     └──┘ a look now    └─────┘
///       and then
/// ```
#[derive(Clone, Debug)]
pub struct Settling {
    known: Snapshot,
    /// When the first and the last change were noticed since the last look.
    stirred: Option<(Instant, Instant)>,
    looked: Instant,
    rescan: Duration,
}

impl Settling {
    /// `known` is what is there now. Where changes are not noticed by themselves, `is_told` is false.
    pub fn new(now: Instant, known: Snapshot, is_told: bool) -> Settling {
        let rescan = if is_told { RESCAN } else { RESCAN_UNTOLD };
        Settling { known, stirred: None, looked: now, rescan }
    }

    /// Something has changed, and more may follow.
    pub fn stir(&mut self, now: Instant) {
        let first = self.stirred.map_or(now, |(first, _)| first);
        self.stirred = Some((first, now));
    }

    /// When to look.
    pub fn next_deadline(&self) -> Instant {
        let rescan = self.looked + self.rescan;
        match self.stirred {
            Some((first, last)) => (last + QUIET).min(first + LONGEST).min(rescan),
            None => rescan,
        }
    }

    /// What is there, and so what has changed since the last look.
    pub fn look(&mut self, now: Instant, seen: Snapshot) -> Changes {
        let changes = between(&self.known, &seen);
        self.known = seen;
        self.stirred = None;
        self.looked = now;
        changes
    }
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.gone.is_empty()
    }
}

fn between(before: &Snapshot, after: &Snapshot) -> Changes {
    let not_in = |there: &Snapshot, other: &Snapshot| -> Vec<PathBuf> {
        there
            .iter()
            .filter(|(path, mark)| other.get(*path) != Some(mark))
            .map(|(path, _)| path.clone())
            .collect()
    };
    Changes { appeared: not_in(after, before), gone: not_in(before, after) }
}

/// udev is done with a camera in less than this between two steps: node, access, links.
const QUIET: Duration = Duration::from_millis(100);

/// Where something never comes to rest, it is looked at all the same: the right camera is to be found within 2 s.
const LONGEST: Duration = Duration::from_millis(500);

/// A net below the kernel's messages, which a full queue loses.
const RESCAN: Duration = Duration::from_secs(5);
/// Where there are no messages.
const RESCAN_UNTOLD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn snapshot(all: &[(&str, &str)]) -> Snapshot {
        all.iter().map(|(path, mark)| (PathBuf::from(path), (*mark).to_owned())).collect()
    }

    fn changes(appeared: &[&str], gone: &[&str]) -> Changes {
        let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect();
        Changes { appeared: paths(appeared), gone: paths(gone) }
    }

    #[test]
    fn what_came_what_went_and_what_was_replaced() {
        let start = Instant::now();
        let before = snapshot(&[("video0", "1"), ("video1", "2"), ("by-id/a", "video0")]);
        let mut settling = Settling::new(start, before.clone(), true);
        assert_eq!(settling.look(start, before), Changes::default());
        let after = snapshot(&[("video0", "7"), ("video2", "8"), ("by-id/a", "video2")]);
        let seen = settling.look(start, after.clone());
        assert_eq!(seen, changes(&["by-id/a", "video0", "video2"], &["by-id/a", "video0", "video1"]));
        assert!(settling.look(start, after).is_empty(), "told once");
    }

    #[test]
    fn a_look_waits_for_rest_but_not_for_ever() {
        let start = Instant::now();
        let mut settling = Settling::new(start, Snapshot::new(), true);
        assert_eq!(settling.next_deadline(), start + RESCAN);
        settling.stir(start + ms(1000));
        assert_eq!(settling.next_deadline(), start + ms(1000) + QUIET);
        settling.stir(start + ms(1080));
        assert_eq!(settling.next_deadline(), start + ms(1080) + QUIET);
        for at in (1100..1490).step_by(50) {
            settling.stir(start + ms(at));
        }
        assert_eq!(settling.next_deadline(), start + ms(1000) + LONGEST);
        settling.look(start + ms(1500), Snapshot::new());
        assert_eq!(settling.next_deadline(), start + ms(1500) + RESCAN);
    }

    #[test]
    fn where_nobody_tells_it_is_looked_at_more_often() {
        let start = Instant::now();
        let settling = Settling::new(start, Snapshot::new(), false);
        assert_eq!(settling.next_deadline(), start + RESCAN_UNTOLD);
    }
}
