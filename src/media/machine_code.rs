//! Where ORC keeps the machine code that it makes for GStreamer's plugins as they run: in memory. It maps the code
//! from a file in `XDG_RUNTIME_DIR`, `HOME`, `TMPDIR` or /tmp, the first that lets it, and the file is nothing but a
//! hole until code is written through the mapping (`orc_code_region_allocate_codemem`, liborc 0.4.33 to 0.4.41). On a
//! disk that is full to the last block the kernel has no block for it then, and ends the process with SIGBUS.

use std::env;
use std::path::Path;

use rustix::fs::{Access, FsWord, StatVfsMountFlags, access, statfs, statvfs};

use super::process::Alone;

/// Has ORC use a file system in memory: the one it would use anyway, where that is one (the runtime directory of
/// somebody who has logged in, which programs of his desktop need), or the machine's shared memory.
pub(super) fn keep_in_memory(process: &Alone) {
    if !code_in_memory() && suits(Path::new(SHARED_MEMORY)) {
        process.set(FIRST_CHOICE, SHARED_MEMORY);
    }
}

/// Whether a full disk does no harm to machine code that is made from now on.
#[must_use]
pub fn code_in_memory() -> bool {
    env::var_os(FIRST_CHOICE).is_some_and(|folder| suits(folder.as_ref()))
}

/// Whether it is a folder in memory, with room, that we may write to and run code from.
fn suits(folder: &Path) -> bool {
    let is_ours = access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let is_memory = statfs(folder).is_ok_and(|system| system.f_type == TMPFS);
    let runs_code = statvfs(folder).is_ok_and(|system| {
        !system.f_flag.contains(StatVfsMountFlags::NOEXEC)
            && system.f_bavail.saturating_mul(system.f_frsize) >= ROOM
    });
    is_ours && is_memory && runs_code
}

/// Where ORC looks first.
const FIRST_CHOICE: &str = "XDG_RUNTIME_DIR";

/// On every Linux with a C library (`shm_open` needs it), and the service has one of its own.
const SHARED_MEMORY: &str = "/dev/shm";

/// `TMPFS_MAGIC` of <linux/magic.h>.
const TMPFS: FsWord = 0x0102_1994;

/// Bytes. ORC takes regions of 64 KiB; a stream with all conversions has two.
const ROOM: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_on_disks_or_of_others_or_without_room_do_not_suit() {
        for folder in ["/nowhere", "/", "/proc", "/sys/kernel", "Cargo.toml"] {
            assert!(!suits(Path::new(folder)), "{folder}");
        }
    }
}
