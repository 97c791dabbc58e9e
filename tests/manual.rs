//! The manual page and the shell completions, which the package installs, are those of the command line as it is.
//!
//! `UPDATE_GOLDEN=1 cargo test --test manual` writes them anew.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::{env, fs};

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use uplinkd::cli::Arguments;

#[test]
fn the_manual_page_tells_of_every_command() {
    keep("man/uplinkd.1", &manual());
}

#[test]
fn shells_complete_every_command() {
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut visible(), "uplinkd", &mut text);
        keep(&format!("completions/{}", shell.file_name("uplinkd")), &String::from_utf8(text).unwrap());
    }
}

/// What `man` thinks of it, where it is installed: `apt-get install man-db`.
#[test]
fn man_has_no_complaint() {
    let page = etc("man/uplinkd.1");
    let man =
        Process::new("man").args(["--warnings", "-l", "-P", "cat"]).arg(&page).env("MANWIDTH", "80").output();
    let Ok(man) = man else { return eprintln!("not checked: there is no man here") };
    let complaints = String::from_utf8_lossy(&man.stderr);
    assert!(man.status.success() && complaints.is_empty(), "{complaints}");
    let text = String::from_utf8_lossy(&man.stdout);
    for heading in ["NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "FILES"] {
        assert!(text.lines().any(|line| line == heading), "no {heading} in\n{text}");
    }
}

/// Without what only uplinkd itself runs.
fn visible() -> Command {
    let all = Arguments::command();
    let mut command = Command::new("uplinkd")
        .version(VERSION)
        .about(all.get_about().unwrap().clone())
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommands(all.get_subcommands().filter(|command| !command.is_hide_set()).map(without_hidden));
    command.build();
    command
}

/// clap's completions offer hidden arguments, too, and a command lets go of none.
fn without_hidden(command: &Command) -> Command {
    if !command.get_arguments().any(|argument| argument.is_hide_set()) {
        return command.clone();
    }
    assert!(!command.has_subcommands(), "{}: these would be lost", command.get_name());
    let name: &'static str = command.get_name().to_owned().leak(); // clap takes no other
    Command::new(name)
        .about(command.get_about().unwrap().clone())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
}

fn manual() -> String {
    let command = visible();
    let page =
        Man::new(command.clone()).date("").manual("uplinkd manual").source(format!("uplinkd {VERSION}"));
    let mut text = Vec::new();
    page.render_title(&mut text).unwrap();
    page.render_name_section(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    text.push_str(".ad l\n.SH SYNOPSIS\n\\fBuplinkd\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n");
    text.push_str(DESCRIPTION);
    text.push_str(".SH COMMANDS\n");
    for command in command.get_subcommands() {
        text.push_str(&section(command));
    }
    text + EPILOGUE
}

/// One command: its synopsis as the heading, what it does, its options.
fn section(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let page = Man::new(command.clone());
    let mut options = Vec::new();
    page.render_options_section(&mut options).unwrap();
    let options = String::from_utf8(options).unwrap();
    // Without its own heading, and the definitions that go with one.
    let is_head = |line: &&str| [".SH OPTIONS", ".ie ", ".el "].iter().any(|head| line.starts_with(head));
    let options: String =
        options.lines().filter(|line| !is_head(line)).map(|line| format!("{line}\n")).collect();
    let options = breakable(&options.replace(" [default: ]", ""));
    let about = command.get_about().unwrap().to_string();
    format!(".SS \"{}\"\n{}.\n{options}", escaped(usage), escaped(&about))
}

/// A list without spaces may go on in the next line after a comma.
fn breakable(text: &str) -> String {
    text.replace(',', ",\\:").replace(",\\: ", ", ")
}

/// As roff reads it: a hyphen that is typed, a backslash that is one.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-").replace('"', "\\(dq")
}

/// Compares with what is kept, or writes it.
fn keep(name: &str, now: &str) {
    let path = etc(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == now, "etc/{name} is not of this command line: UPDATE_GOLDEN=1 cargo test --test manual");
}

fn etc(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(name)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const DESCRIPTION: &str = r".SH DESCRIPTION
uplinkd takes a picture and its sound, encodes them once, in hardware where that works, and sends them as MPEG\-TS over
SRT to one or several receivers. The bitrate follows the link. A source that goes away is replaced by a slate on the
same connection, and a connection that breaks is made again.
.PP
On a machine of its own it runs as a service: write
.IR /etc/uplinkd/uplinkd.toml ,
let
.B sudo uplinkd check\-config
read it, and
.B systemctl reload uplinkd
takes it over.
";

const EPILOGUE: &str = r#".SH EXIT STATUS
.TP
.B 0
Done; of
.BR run :
ended by SIGTERM or SIGINT, when all was sent.
.TP
.B 1
Something else went wrong: the message says what.
.TP
.B 69
GStreamer cannot be used; of
.BR ctl :
no daemon answers. A camera or a network that is not there is never a reason to exit.
.TP
.B 75
Another daemon is in the way: it keeps its state in the same folder, or something listens where the API is to.
.TP
.B 77
Of
.BR ctl :
not permitted, for want of a token or of rights to the socket. Where this user may not read the token's file, sudo
helps.
.TP
.B 78
The configuration is wrong: each mistake has a line, with its place and what to write instead.
.SH SIGNALS
.TP
.B SIGHUP
.B run
reads its configuration again. One with mistakes is refused, and the running one stays.
.TP
.BR SIGTERM ", " SIGINT
.B run
sends what still waits, and ends. A second one ends it at once.
.SH FILES
.TP
.I /etc/uplinkd/uplinkd.toml
The configuration. The package makes it when it is first installed, and leaves it alone from then on.
.TP
.I /usr/share/uplinkd/uplinkd.toml
What it was made of, as of the version that is installed: all settings are explained in it.
.TP
.I /etc/uplinkd/secrets/
Passphrases and tokens, each alone in its file, for root alone. The service is handed them when it starts: after a
change,
.BR "systemctl restart uplinkd" .
.TP
.I /usr/share/doc/uplinkd/examples/
Configurations for usual machines.
.TP
.I /var/lib/uplinkd/
.I overrides.toml
is what was changed through the API: without it the file alone counts.
.I encoders.json
is what probes of encoders have found, and may be deleted.
.TP
.I /var/cache/uplinkd/
GStreamer's list of its plugins. It may be deleted.
.SH EXAMPLES
.TP
.B uplinkd demo
The whole job on this machine, over an emulated link, for twenty seconds.
.TP
.B uplinkd devices \-\-probe
What this machine can see, hear and encode with.
.TP
.B curl \-s localhost:9980/v1/streams
How the service's streams are.
.SH SEE ALSO
.BR gst\-inspect\-1.0 (1),
.BR journalctl (1),
.BR systemctl (1)
"#;
