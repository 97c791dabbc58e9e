//! Daemons that see another machine than this: by a script that goes before them, and in namespaces of their own.

use std::process::{Command, Output};

/// uplinkd behind a script for `sh`, which ends with `exec "$0" "$@"` and arguments of its own after these.
pub fn behind(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", script, env!("CARGO_BIN_EXE_uplinkd")]);
    command
}

/// The same, where the script may mount what nobody else sees; with `-n` it has a network of its own, too. `None`
/// where this system does not let us, which is told.
pub fn apart(namespaces: &str, script: &str) -> Option<Command> {
    let allowed = Command::new("unshare").args([namespaces, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("not checked: this system lets nobody have a namespace of his own");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args([namespaces, "sh", "-ec", script, env!("CARGO_BIN_EXE_uplinkd")]);
    Some(command)
}

/// What enters the namespaces of a process: a program and its arguments come after.
pub fn entering(process: u32) -> Vec<String> {
    ["-t", &process.to_string(), "-U", "--preserve-credentials", "-m", "-n"].map(str::to_owned).to_vec()
}

/// Runs a script there.
pub fn inside(process: u32, script: &str) -> Output {
    let output = Command::new("nsenter").args(entering(process)).args(["sh", "-ec", script]).output();
    let output = output.expect("nsenter runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
