//! What is known of this machine that a probe's result depends on.

use std::fs;
use std::path::Path;

/// The kernel and its drivers, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release; empty where it cannot be read.
    pub kernel: String,
    /// Which of its boots this is.
    pub boot: String,
    /// Each driver of a render node, a video device or NVIDIA's modules, with its version where it has one.
    pub drivers: String,
}

impl Machine {
    /// This machine, from `/proc` and `/sys`.
    pub fn this() -> Machine {
        Machine::below(Path::new("/"))
    }

    fn below(root: &Path) -> Machine {
        let line = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default().trim().to_owned();
        Machine {
            kernel: line("proc/sys/kernel/osrelease"),
            boot: line("proc/sys/kernel/random/boot_id"),
            drivers: drivers(root),
        }
    }
}

/// What the machine's processors had done by a moment, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    busy: u64,
    idle: u64,
    /// Of the busy ones, this process's.
    own: u64,
}

impl Work {
    /// By now; nothing where `/proc` does not tell.
    pub fn so_far() -> Option<Work> {
        let read = |path: &str| fs::read_to_string(path).ok();
        Work::of(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    fn of(machine: &str, process: &str) -> Option<Work> {
        let numbers = |text: &str| -> Vec<u64> { text.split_whitespace().flat_map(str::parse).collect() };
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are within the first two.
        let all = numbers(machine.lines().next()?.strip_prefix("cpu ")?);
        let [user, nice, system, idle, waiting, interrupts @ ..] = all.as_slice() else { return None };
        let busy = user + nice + system + interrupts.iter().take(3).sum::<u64>();
        // Behind the program's name, which may hold anything: its 14th and 15th field.
        let (_, fields) = process.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
        let own = times.next()?? + times.next()??;
        Some(Work { busy, idle: idle + waiting, own })
    }

    /// Which share of the processors others than this process have used since then, 0 to 1.
    pub fn share_of_others_since(&self, before: &Work) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let all = busy + self.idle.saturating_sub(before.idle);
        let others = busy.saturating_sub(self.own.saturating_sub(before.own));
        if all == 0 { 0.0 } else { others as f64 / all as f64 }
    }
}

/// Sorted and each once, since the order of `/sys` is none.
fn drivers(root: &Path) -> String {
    let nodes = [("sys/class/drm", "renderD"), ("sys/class/video4linux", "video")];
    let mut names: Vec<String> = nodes
        .iter()
        .flat_map(|(class, prefix)| entries(&root.join(class), prefix))
        .filter_map(|node| {
            let driver = fs::read_link(node.join("device/driver")).ok()?;
            Some(driver.file_name()?.to_string_lossy().into_owned())
        })
        .collect();
    // NVIDIA's encoder is reached without a node of these classes where its display part is not loaded.
    names.extend(root.join("sys/module/nvidia").exists().then(|| "nvidia".to_owned()));
    names.sort();
    names.dedup();
    let with_version = |name: &String| {
        let version = root.join("sys/module").join(name.replace('-', "_")).join("version");
        match fs::read_to_string(version) {
            Ok(version) => format!("{name} {}", version.trim()),
            Err(_) => name.clone(), // most of the kernel's own have no version but the kernel's
        }
    };
    names.iter().map(with_version).collect::<Vec<_>>().join(", ")
}

fn entries(class: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() }; // a machine without any
    let is_wanted = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
    entries.filter_map(Result::ok).filter(is_wanted).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_work_of_others_is_told_from_our_own() {
        let work = |user: u64, idle: u64, own: u64| {
            let machine = format!("cpu  {user} 10 20 {idle} 5 1 2 3 7 0\ncpu0 1 2 3 4\n");
            let process = format!("71 (a) name) R 1 71 71 0 -1 4194560 9 0 0 0 {own} 30 0 0 20 0 3 0 99");
            Work::of(&machine, &process).unwrap()
        };
        let before = work(100, 1000, 0);
        assert_eq!(work(200, 1100, 100).share_of_others_since(&before), 0.0);
        assert_eq!(work(200, 1100, 20).share_of_others_since(&before), 0.4);
        assert_eq!(before.share_of_others_since(&before), 0.0);
        for (machine, process) in [("", ""), ("cpu  1 2", "1 (a) R"), ("cpu  1 2 3 4 5 6", "1 a R 1")] {
            assert_eq!(Work::of(machine, process), None);
        }
        assert!(Work::so_far().is_some_and(|work| work.busy > 0), "this machine tells");
    }

    #[test]
    fn drivers_are_named_with_their_versions() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for (node, driver) in [
            ("sys/class/drm/renderD128", "i915"),
            ("sys/class/video4linux/video11", "bcm2835-codec"),
            ("sys/class/video4linux/video12", "bcm2835-codec"),
            ("sys/class/drm/card0", "not-asked"),
        ] {
            fs::create_dir_all(at(node).join("device")).unwrap();
            symlink(Path::new("../drivers").join(driver), at(node).join("device/driver")).unwrap();
        }
        for (module, version) in [("nvidia", "535.1\n"), ("bcm2835_codec", "0.9")] {
            fs::create_dir_all(at("sys/module").join(module)).unwrap();
            fs::write(at("sys/module").join(module).join("version"), version).unwrap();
        }
        fs::create_dir_all(at("proc/sys/kernel")).unwrap();
        fs::write(at("proc/sys/kernel/osrelease"), "6.1.0-18\n").unwrap();
        let machine = Machine::below(root.path());
        assert_eq!(machine.drivers, "bcm2835-codec 0.9, i915, nvidia 535.1");
        assert_eq!(machine.kernel, "6.1.0-18");
    }

    #[test]
    fn a_machine_without_any_has_none() {
        let root = tempfile::tempdir().unwrap();
        let nothing = Machine { kernel: String::new(), boot: String::new(), drivers: String::new() };
        assert_eq!(Machine::below(root.path()), nothing);
        assert!(!Machine::this().kernel.is_empty() && !Machine::this().boot.is_empty());
    }
}
