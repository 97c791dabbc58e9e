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
