//! What GStreamer and its libraries are told by the environment: for the whole process, before its second thread.
#![allow(unsafe_code)] // other threads may read the environment while it is written: there must be none

use std::{env, fs};

use super::{homecoming, machine_code};

/// Tells them everything; false where it comes too late for that: then nothing is changed.
#[must_use]
pub fn prepare() -> bool {
    let Some(process) = Alone::now() else { return false };
    homecoming::leave_nothing_behind(&process);
    machine_code::keep_in_memory(&process);
    true
}

/// That this thread is the process's only one, and makes no other while this is held.
pub(super) struct Alone(());

impl Alone {
    fn now() -> Option<Alone> {
        let threads = fs::read_dir("/proc/self/task").ok()?.count();
        (threads == 1).then_some(Alone(()))
    }

    /// Sets a variable of the environment.
    #[expect(clippy::disallowed_methods, reason = "these libraries listen nowhere else")]
    pub(super) fn set(&self, variable: &str, value: &str) {
        // SAFETY: this thread is the only one: no other reads or writes the environment meanwhile.
        unsafe {
            env::set_var(variable, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn with_threads_nothing_is_changed() {
        gst::init().unwrap();
        let environment = || env::vars_os().collect::<BTreeMap<_, _>>();
        let before = environment();
        let was_alone = std::thread::spawn(prepare).join().unwrap();
        assert!(!was_alone, "the test's own threads make two at least");
        assert_eq!(environment(), before);
    }
}
