//! Results of probes, kept in a file: a probe takes seconds, and what it says holds until something changes.
//!
//! The file is nobody's configuration: where it is missing, unreadable or not ours, there are no results, and
//! everything is probed anew.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::Measurements;
use super::verdict::Verdict;

/// What a result depends on: where any of it differs, it is another encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub element: String,
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub framerate: String,
    /// Of the plugin that holds the element.
    pub plugin: String,
    pub gstreamer: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's drivers for graphics and codecs; empty for an encoder in software.
    pub drivers: String,
    pub uplinkd: String,
}

/// What a probe said, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub key: Key,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How much the encoder is to try, where it has a choice of that.
    pub preset: Option<String>,
    /// Nothing where the probe itself failed.
    pub measured: Option<Measurements>,
    /// Whether a calm machine would say no better. Otherwise it counts until the machine is started anew: a
    /// driver may have been stuck.
    pub lasting: bool,
    /// Whether it counts for no more than [`DISTURBED`] even so: the processors were busy with something else.
    pub disturbed: bool,
    /// Which of the kernel's boots it was.
    pub boot: String,
    /// Seconds since 1970.
    pub probed_at: u64,
}

/// When results are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which of the kernel's boots it is.
    pub boot: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// All results that are kept, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    format: u32,
    results: Vec<Entry>,
}

impl Entry {
    fn holds(&self, now: &Moment) -> bool {
        // A clock that was set back says nothing of how long ago that was.
        let is_fresh = now.at.checked_sub(self.probed_at).is_some_and(|age| age < DISTURBED.as_secs());
        self.lasting || self.boot == now.boot && (!self.disturbed || is_fresh)
    }
}

impl Results {
    /// What is known of exactly this.
    pub fn find(&self, key: &Key, now: &Moment) -> Option<&Entry> {
        self.results.iter().find(|entry| entry.key == *key).filter(|entry| entry.holds(now))
    }

    /// Every mode in which this very element was probed, the oldest first.
    pub fn of_element<'a>(&'a self, key: &'a Key, now: &'a Moment) -> impl Iterator<Item = &'a Entry> {
        let same = |entry: &&Entry| {
            let Key { width, height, framerate, .. } = entry.key.clone();
            entry.key == Key { width, height, framerate, ..key.clone() }
        };
        self.results.iter().filter(same).filter(move |entry| entry.holds(now))
    }

    /// Keeps a result in place of an older one of the same. When it is full, the oldest goes.
    pub fn keep(&mut self, entry: Entry) {
        self.results.retain(|other| other.key != entry.key);
        self.results.push(entry);
        let excess = self.results.len().saturating_sub(MOST_RESULTS);
        self.results.drain(..excess);
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct Cache {
    path: Option<PathBuf>,
}

/// Why results are not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write the results of probes to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is locked by another process", directory.display())]
    Locked { directory: PathBuf },
    #[error("the results of probes cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Cache {
    /// In systemd's directory for the daemon's state, else in the user's cache; nowhere where there is neither.
    pub fn of_this_user() -> Cache {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = std::env::var("STATE_DIRECTORY")
            .ok()
            .and_then(|list| list.split(':').next().map(PathBuf::from)) // systemd lists several with colons
            .filter(|path| path.is_absolute());
        let cache = || {
            let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
            Some(base.join("uplinkd"))
        };
        Cache { path: state.or_else(cache).map(|directory| directory.join(FILE)) }
    }

    /// This very file.
    pub fn at(path: &Path) -> Cache {
        Cache { path: Some(path.to_owned()) }
    }

    /// What is kept; nothing, with a warning, where that cannot be read.
    pub fn load(&self) -> Results {
        let Some(path) = &self.path else { return Results::empty() };
        match read(path) {
            Ok(results) => results,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Results::empty(),
            Err(error) => {
                log::warn!(path:% = path.display(), error:%; "the results of earlier probes cannot be read");
                Results::empty()
            }
        }
    }

    /// Keeps one result more. The file is replaced as a whole: a reader, or a machine that loses power, finds
    /// the old one or the new one. Of several writers, in this process or another, each waits for the one
    /// before, and no result is lost.
    ///
    /// # Errors
    /// When it cannot be written, or another process keeps it locked.
    pub fn keep(&self, entry: Entry) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        let _alone = lock(path)?;
        let mut results = self.load();
        results.keep(entry);
        let text = serde_json::to_vec_pretty(&results)?;
        write(path, &text).map_err(|source| Error::Write { path: path.clone(), source })
    }
}

impl Results {
    pub(super) fn empty() -> Results {
        Results { format: FORMAT, results: Vec::new() }
    }
}

fn read(path: &Path) -> io::Result<Results> {
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("the file is too large"));
    }
    let results: Results = serde_json::from_slice(&text)?;
    if results.format != FORMAT {
        return Err(io::Error::other(format!("its format is {}, not {FORMAT}", results.format)));
    }
    Ok(results)
}

/// Between reading the file and replacing it nobody else does; until what this gives is dropped. The file's
/// directory is what is locked: the file itself is another one after each change, and a lock file beside it
/// would stay.
fn lock(path: &Path) -> Result<File, Error> {
    let cannot = |source| Error::Write { path: path.to_owned(), source };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(cannot)?;
    let file = File::open(directory).map_err(cannot)?;
    let patient_until = Instant::now() + LOCK_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(cannot(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < patient_until => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { directory: directory.to_owned() }),
        }
    }
}

/// To be called by who holds the lock: whatever is there under the new file's name was left by one that died.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if replaced.is_err()
        && let Err(error) = fs::remove_file(&new)
    {
        log::debug!(path:% = new.display(), error:%; "an unfinished file is left behind");
    }
    replaced
}

const FILE: &str = "encoders.json";

/// Raised when the file means something else than before.
const FORMAT: u32 = 2;

/// A machine that was busy when it was probed, with its own start as a rule, is calm by then.
const DISTURBED: Duration = Duration::from_secs(10 * 60);

/// Every row of the table in several modes; an entry takes about one kilobyte.
const MOST_RESULTS: usize = 128;

/// In bytes; far more than [`MOST_RESULTS`] take.
const LARGEST_FILE: u64 = 1 << 20;

/// Another writer holds it for milliseconds, on a slow card for tenths of a second. One that was stopped
/// halfway costs a result, and not the daemon's thread.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// Between two looks.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_until_something_changes() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(&directory.path().join("deep/encoders.json"));
        assert_eq!(cache.load(), Results::empty());
        cache.keep(entry("vah264enc", proven())).unwrap();
        let results = cache.load();
        assert_eq!(results.find(&key("vah264enc"), &at("boot", 1)), Some(&entry("vah264enc", proven())));

        let others = [
            Key { plugin: "1.22.1".into(), ..key("vah264enc") },
            Key { gstreamer: "1.24".into(), ..key("vah264enc") },
            Key { kernel: "6.2".into(), ..key("vah264enc") },
            Key { drivers: "i915 2".into(), ..key("vah264enc") },
            Key { uplinkd: "0.2.0".into(), ..key("vah264enc") },
            Key { width: 1920, ..key("vah264enc") },
            Key { framerate: "60".into(), ..key("vah264enc") },
            Key { codec: "h265".into(), ..key("vah264enc") },
            key("x264enc"),
        ];
        for other in others {
            assert_eq!(results.find(&other, &at("boot", 1)), None, "{other:?}");
        }
        let larger = Key { width: 1920, ..key("vah264enc") };
        assert_eq!(results.of_element(&larger, &at("boot", 1)).count(), 1, "another mode of the same");
    }

    #[test]
    fn what_was_not_proven_counts_until_the_next_boot() {
        let mut results = Results::empty();
        results.keep(entry("vah264enc", Verdict::Refused { reason: "hangs".to_owned() }));
        assert!(results.find(&key("vah264enc"), &at("boot", 1)).is_some());
        assert!(results.find(&key("vah264enc"), &at("next boot", 1)).is_none());
        results.keep(entry("vah264enc", proven()));
        assert!(results.find(&key("vah264enc"), &at("next boot", 1)).is_some());
        assert_eq!(results.results.len(), 1, "the new one is in the old one's place");
    }

    #[test]
    fn what_a_busy_machine_said_counts_for_minutes() {
        let slow = Verdict::TooSlow { factor: 0.5, reason: "keeps 0.5".to_owned() };
        let mut results = Results::empty();
        results.keep(Entry { disturbed: true, probed_at: 1000, ..entry("x264enc", slow) });
        for (now, holds) in [(at("boot", 1000), true), (at("boot", 1599), true), (at("boot", 1600), false)] {
            assert_eq!(results.find(&key("x264enc"), &now).is_some(), holds, "{now:?}");
        }
        let now = at("boot", 3);
        assert_eq!(results.find(&key("x264enc"), &now), None, "a clock that was set back tells no age");
        results.keep(Entry { disturbed: true, ..entry("x264enc", proven()) });
        assert!(results.find(&key("x264enc"), &at("next boot", 99_999)).is_some(), "what was proven, was");
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut results = Results::empty();
        for width in 0..200 {
            results.keep(Entry { key: Key { width, ..key("x264enc") }, ..entry("x264enc", proven()) });
        }
        assert_eq!(results.results.len(), MOST_RESULTS);
        assert_eq!(results.results[0].key.width, 200 - MOST_RESULTS as u32);
    }

    #[test]
    fn a_file_that_is_not_ours_holds_nothing_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("encoders.json");
        let cache = Cache::at(&path);
        let foreign: [&[u8]; 5] =
            [b"", b"\xff\x00garbage", b"[1,2]", br#"{"format":1,"results":[]}"#, br#"{"results":7}"#];
        for text in foreign {
            fs::write(&path, text).unwrap();
            assert_eq!(cache.load(), Results::empty(), "{text:?}");
        }
        fs::write(&path, vec![b' '; LARGEST_FILE as usize + 1]).unwrap();
        assert_eq!(cache.load(), Results::empty());
        cache.keep(entry("x264enc", proven())).unwrap();
        assert_eq!(cache.load().results.len(), 1);
        let names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["encoders.json"], "nothing unfinished is left");
    }

    /// Locks are those of open files: threads are to one another what processes are.
    #[test]
    fn of_many_writers_at_once_none_loses_a_result() {
        const WRITERS: u32 = 8;
        const EACH: u32 = 8;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("encoders.json");
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let cache = Cache::at(&path);
                scope.spawn(move || {
                    for width in writer * EACH..(writer + 1) * EACH {
                        let key = Key { width, ..key("x264enc") };
                        cache.keep(Entry { key, ..entry("x264enc", proven()) }).unwrap();
                    }
                });
            }
        });
        let mut widths: Vec<u32> =
            Cache::at(&path).load().results.iter().map(|entry| entry.key.width).collect();
        widths.sort_unstable();
        assert_eq!(widths, (0..WRITERS * EACH).collect::<Vec<_>>());
    }

    #[test]
    fn a_writer_that_stays_costs_a_result_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(&directory.path().join("encoders.json"));
        let other = File::open(directory.path()).unwrap();
        other.lock().unwrap();
        let error = cache.keep(entry("x264enc", proven())).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        other.unlock().unwrap();
        cache.keep(entry("x264enc", proven())).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_told_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("encoders.json");
        fs::create_dir(&path).unwrap(); // a directory cannot be replaced by a file
        let error = Cache::at(&path).keep(entry("x264enc", proven())).unwrap_err();
        assert!(error.to_string().starts_with("cannot write the results of probes to /"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    fn proven() -> Verdict {
        Verdict::Proven { factor: 4.0 }
    }

    fn entry(element: &str, verdict: Verdict) -> Entry {
        let (boot, preset) = ("boot".to_owned(), Some("superfast".to_owned()));
        let (lasting, disturbed) = (verdict.is_proven(), false);
        Entry { key: key(element), verdict, preset, measured: None, lasting, disturbed, boot, probed_at: 1 }
    }

    fn at(boot: &str, at: u64) -> Moment {
        Moment { boot: boot.to_owned(), at }
    }

    fn key(element: &str) -> Key {
        Key {
            element: element.to_owned(),
            codec: "h264".to_owned(),
            width: 1280,
            height: 720,
            framerate: "30".to_owned(),
            plugin: "1.22.0".to_owned(),
            gstreamer: "GStreamer 1.22.0".to_owned(),
            kernel: "6.1".to_owned(),
            drivers: "i915 1".to_owned(),
            uplinkd: "0.1.0".to_owned(),
        }
    }
}
