//! Whenever the power goes, and whenever the process is killed: the old file or the new one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;

use rustix::process::{Signal, getpid, kill_process};

use super::*;

/// A disk that loses power: what was not made durable may be there, in part, or not.
#[derive(Clone, Debug, Default)]
struct Platter {
    /// Names as they are now, each with its file.
    names: BTreeMap<String, usize>,
    /// Names as they are durable.
    durable_names: BTreeMap<String, usize>,
    /// Each file's contents, and how many bytes of that are durable.
    files: Vec<(Vec<u8>, usize)>,
    /// Steps that are still made before the power goes.
    steps_left: usize,
}

#[derive(Debug, Default)]
struct Failing(RefCell<Platter>);

impl Failing {
    fn step<T>(&self, step: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.0.borrow_mut();
        let left = platter.steps_left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        platter.steps_left = left;
        step(&mut platter)
    }

    fn file(platter: &Platter, name: &str) -> io::Result<usize> {
        platter.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Failing {
    fn path(&self) -> &Path {
        Path::new("/state")
    }

    fn make(&self) -> io::Result<()> {
        self.step(|_| Ok(()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let platter = self.0.borrow();
        Failing::file(&platter, name).map(|file| platter.files[file].0.clone())
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.step(|platter| {
            platter.files.push((contents.to_vec(), 0));
            let file = platter.files.len() - 1;
            platter.names.insert(name.to_owned(), file);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step(|platter| {
            let file = Failing::file(platter, name)?;
            platter.files[file].1 = platter.files[file].0.len();
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|platter| {
            let file = Failing::file(platter, from)?;
            platter.names.remove(from);
            platter.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|platter| {
            platter.names.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step(|platter| {
            platter.durable_names = platter.names.clone();
            Ok(())
        })
    }
}

/// Every state in which the next start may find the disk.
fn after_power_cut(platter: &Platter) -> Vec<Platter> {
    let mut found = Vec::new();
    for names in [&platter.durable_names, &platter.names] {
        for part in [0, 1, 2] {
            let survives = |(contents, durable): &(Vec<u8>, usize)| {
                let length = (*durable).max(contents.len() * part / 2);
                (contents[..length].to_vec(), length)
            };
            let files = platter.files.iter().map(survives).collect();
            let (names, durable_names) = (names.clone(), names.clone());
            found.push(Platter { names, durable_names, files, steps_left: usize::MAX });
        }
    }
    found
}

fn store(platter: Platter) -> Store<Failing> {
    Store::on(Failing(RefCell::new(platter)))
}

/// Does `act` with the power gone after each number of steps; what the next start may find is among `expected`,
/// and after all of the steps it is the last of these alone.
fn survives(before: &Platter, expected: &[&str], act: impl Fn(&Store<Failing>) -> Result<(), Error>) {
    for steps in 0.. {
        let store = store(Platter { steps_left: steps, ..before.clone() });
        let done = act(&store).is_ok();
        for platter in after_power_cut(&store.disk.0.borrow()) {
            let store = self::store(platter);
            store.take_back().unwrap();
            let found = store.load().unwrap();
            let expected = if done { &expected[expected.len() - 1..] } else { expected };
            assert!(expected.contains(&found.as_str()), "{found:?} after {steps} steps");
        }
        if done {
            assert!(steps >= 2, "the power was never gone in the middle of it");
            return;
        }
    }
}

fn holding(overrides: &str) -> Platter {
    let store = store(Platter { steps_left: usize::MAX, ..Platter::default() });
    store.keep(overrides).unwrap();
    store.disk.0.into_inner()
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new() {
    let old = holding("log.level = 'warn' # the old ones");
    survives(&old, &["log.level = 'warn' # the old ones", "log.level = 'debug'"], |store| {
        store.keep("log.level = 'debug'")
    });
    survives(&Platter::default(), &["", "log.level = 'debug'"], |store| store.keep("log.level = 'debug'"));
    survives(&old, &["log.level = 'warn' # the old ones", ""], |store| store.keep(""));
}

#[test]
fn what_nobody_confirmed_does_not_survive() {
    let old = holding("a = 1");
    survives(&old, &["a = 1"], |store| store.try_out("b = 2"));
    survives(&old, &["a = 1", "b = 2"], |store| {
        store.try_out("b = 2")?;
        store.confirm()
    });
    survives(&old, &["a = 1", "c = 3"], |store| {
        store.try_out("b = 2")?;
        store.keep("c = 3")
    });
}

#[test]
fn the_real_disk_keeps_and_forgets() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join("made/when/needed"));
    assert_eq!(store.load().unwrap(), "");
    assert!(!store.take_back().unwrap());
    store.keep("a = 1").unwrap();
    assert_eq!(store.load().unwrap(), "a = 1");
    store.try_out("b = 2").unwrap();
    assert_eq!(store.load().unwrap(), "a = 1");
    store.confirm().unwrap();
    assert_eq!(store.load().unwrap(), "b = 2");
    store.try_out("c = 3").unwrap();
    assert!(store.take_back().unwrap());
    assert_eq!(store.load().unwrap(), "b = 2");
    store.keep("").unwrap();
    assert_eq!(store.load().unwrap(), "");
    assert_eq!(fs::read_dir(store.disk.path()).unwrap().count(), 0, "nothing is left lying about");
}

#[test]
fn what_is_set_aside_replaces_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().to_owned());
    for number in 1..=MOST_SET_ASIDE {
        store.keep(&format!("number = {number}")).unwrap();
        let path = store.set_aside().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), format!("number = {number}"));
        assert_eq!(store.load().unwrap(), "");
    }
    store.keep("one = 'too many'").unwrap();
    assert!(store.set_aside().is_err());
    assert_eq!(store.load().unwrap(), "one = 'too many'");
}

#[test]
fn bytes_that_are_no_text_are_no_overrides() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().to_owned());
    fs::write(store.path(), b"a = '\xff'").unwrap();
    let said = store.load().unwrap_err().to_string();
    assert!(said.contains("overrides.toml:1:6: this byte is not UTF-8 text"), "{said}");
}

#[test]
fn a_full_disk_is_told_from_others() {
    let error = |kind: io::ErrorKind| Error { step: "write", path: "/x".into(), source: kind.into() };
    assert!(error(io::ErrorKind::StorageFull).is_full());
    assert!(!error(io::ErrorKind::ReadOnlyFilesystem).is_full());
    // A file in the place of the directory: nothing can be kept in it.
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = Store::at(directory.path().join("file")).keep("a = 1").unwrap_err();
    assert!(!error.is_full() && error.to_string().starts_with("cannot make the directory of"), "{error}");
}

/// The real disk, on which the process is killed before one of its steps.
struct Deadly {
    directory: Directory,
    steps_left: RefCell<usize>,
}

impl Deadly {
    fn step(&self) -> &Directory {
        let mut left = self.steps_left.borrow_mut();
        match left.checked_sub(1) {
            Some(rest) => *left = rest,
            None => kill_process(getpid(), Signal::KILL).unwrap(),
        }
        &self.directory
    }
}

impl Disk for Deadly {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn make(&self) -> io::Result<()> {
        self.step().make()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.directory.read(name)
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let (half, _) = contents.split_at(contents.len() / 2);
        self.step().write(name, half)?;
        self.step().write(name, contents)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step().sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step().remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step().sync_names()
    }
}

/// This very test, started again as the process that is killed.
#[test]
fn a_kill_leaves_the_old_or_the_new() {
    if let Ok(told) = std::env::var(VICTIM) {
        let (steps, directory) = told.split_once(' ').unwrap();
        let steps_left = RefCell::new(steps.parse().unwrap());
        let store = Store::on(Deadly { directory: Directory(directory.into()), steps_left });
        store.keep(NEW_ONES).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().to_owned());
    let mut seen = Vec::new();
    for steps in 0.. {
        store.keep(OLD_ONES).unwrap();
        let name = "config::store::tests::a_kill_leaves_the_old_or_the_new";
        let victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(VICTIM, format!("{steps} {}", directory.path().display()))
            .output()
            .unwrap();
        let found = store.load().unwrap();
        assert!([OLD_ONES, NEW_ONES].contains(&found.as_str()), "{found:?} after {steps} steps");
        seen.push(found);
        if victim.status.success() {
            break;
        }
        assert!(steps < 20, "it ends: {victim:?}");
    }
    assert!(seen.len() > 5, "it was killed before each step: {seen:?}");
    assert_eq!((seen[0].as_str(), seen[seen.len() - 1].as_str()), (OLD_ONES, NEW_ONES));
}

const VICTIM: &str = "UPLINKD_TEST_VICTIM";
const OLD_ONES: &str = "log.level = 'warn'";
const NEW_ONES: &str = "log.level = 'debug' # and this is longer than what was there before";
