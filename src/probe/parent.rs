//! Runs a child that probes or decodes, with a time limit: whatever a driver or a decoder does to it, the daemon only
//! gets a reason.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpriority_process, kill_process_group, setpriority_pgrp};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::child::Answer;
use super::plan::{Measurements, Request};

/// The command that probes and decodes, and how long each may take.
#[derive(Clone, Debug)]
pub struct Prober {
    program: PathBuf,
    /// Before those that say what is probed.
    arguments: Vec<OsString>,
    limit: Duration,
    /// Whether a stream is on air meanwhile, whose pictures come first.
    beside_a_stream: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this program's own file is not known")]
    Program(#[source] io::Error),
    #[error("{who} does not start")]
    Start {
        who: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{who} cannot be waited for")]
    Wait {
        who: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{who} gave no answer within {} s and was killed{said}", limit.as_secs_f64())]
    TimeLimit { who: &'static str, limit: Duration, said: Said },
    #[error("{who} crashed ({signal}){said}")]
    Signal { who: &'static str, signal: &'static str, said: Said },
    #[error("{who} failed with exit code {code}{said}")]
    ExitCode { who: &'static str, code: i32, said: Said },
    #[error("{who}'s answer is not one{said}")]
    Answer { who: &'static str, said: Said },
    #[error("{0}")]
    NotTried(String),
}

/// The last thing that a child said on its standard error, for people.
#[derive(Debug, Default)]
pub struct Said(Option<String>);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

impl Prober {
    /// This program itself.
    ///
    /// # Errors
    /// When the system does not tell which file it is.
    pub fn this_program() -> Result<Prober, Error> {
        let program = std::env::current_exe().map_err(Error::Program)?;
        Ok(Prober { program, arguments: Vec::new(), limit: TIME_LIMIT, beside_a_stream: false })
    }

    /// Another command, which is given the same arguments after its own.
    pub fn command(program: impl Into<PathBuf>, arguments: &[&str], limit: Duration) -> Prober {
        let arguments = arguments.iter().map(Into::into).collect();
        Prober { program: program.into(), arguments, limit, beside_a_stream: false }
    }

    /// The same with what processors have left over from a stream that is on air. It measures no more than
    /// that, which is what a second encoder would get.
    pub fn beside_a_stream(self) -> Prober {
        Prober { beside_a_stream: true, ..self }
    }

    /// Has one encoder probed. One probe at a time: the sessions of hardware encoders are few, and two at once
    /// would slow each other down. Dropped halfway, it kills the child.
    ///
    /// # Errors
    /// Whatever kept the child from measuring: the words are the reason why the encoder is not used.
    pub async fn probe(&self, request: &Request) -> Result<Measurements, Error> {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let _alone = ALONE.lock().await;
        match self.run("the probe", arguments(request), &[]).await? {
            Answer::Measured(measured) => Ok(measured),
            Answer::NotTried(reason) => Err(Error::NotTried(reason)),
        }
    }

    /// Runs a child, called `who` in words, which reads `input` and answers with one line.
    pub(super) async fn run<T: DeserializeOwned>(
        &self,
        who: &'static str,
        arguments: Vec<String>,
        input: &[u8],
    ) -> Result<T, Error> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| Error::Start { who, source })?;
        let group = Group::of(&child);
        if self.beside_a_stream {
            group.give_way();
        }
        let answer = Listener::new(child.stdout.take(), LARGEST_ANSWER);
        let words = Listener::new(child.stderr.take(), LARGEST_COMPLAINT);

        let hears = child.stdin.take();
        let exit = timeout(self.limit, async { tokio::join!(tell(hears, input), child.wait()).1 }).await;
        drop(group); // also what the child left behind; then nobody holds its outputs any more
        if exit.is_err() && timeout(MOMENT, child.wait()).await.is_err() {
            log::error!(child = who; "a killed child stays: a driver hangs in the kernel");
        }
        let (answer, words) = (answer.heard().await, words.heard().await);
        let said = Said::last_line(&words);
        match exit {
            Err(_) => Err(Error::TimeLimit { who, limit: self.limit, said }),
            Ok(Err(source)) => Err(Error::Wait { who, source }),
            Ok(Ok(status)) => read(who, status, &answer, said),
        }
    }
}

fn arguments(request: &Request) -> Vec<String> {
    let Request { info, mode, preset } = request;
    let mut arguments = vec!["probe-encoder".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--element", info.element.to_owned());
    add("--codec", info.codec.to_string());
    add("--width", mode.width.to_string());
    add("--height", mode.height.to_string());
    add("--framerate", mode.framerate.to_string());
    if let Some(preset) = preset {
        add("--preset", (*preset).to_owned());
    }
    arguments
}

fn read<T: DeserializeOwned>(
    who: &'static str,
    status: ExitStatus,
    answer: &[u8],
    said: Said,
) -> Result<T, Error> {
    use std::os::unix::process::ExitStatusExt;

    if let Some(signal) = status.signal() {
        let signal = signal_name(signal);
        return Err(Error::Signal { who, signal, said });
    }
    match status.code() {
        Some(0) => {}
        Some(code) => return Err(Error::ExitCode { who, code, said }),
        None => return Err(Error::Answer { who, said }),
    }
    serde_json::from_slice(answer).map_err(|error| {
        log::debug!(child = who, error:%; "an answer cannot be read");
        Error::Answer { who, said }
    })
}

/// Gives a child its input, to the end. One that ends without it has its reasons, which its exit tells.
async fn tell(child: Option<ChildStdin>, input: &[u8]) {
    let Some(mut child) = child else { return };
    if let Err(error) = child.write_all(input).await {
        log::debug!(error:%; "a child does not read its input to the end");
    }
}

/// The child's process group, which is killed as a whole when this is dropped: with it go what the child has
/// started, such as helpers of a driver.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }

    fn give_way(&self) {
        let Some(group) = self.0 else { return };
        let niceness = getpriority_process(None).unwrap_or_default().max(NICE);
        if let Err(error) = setpriority_pgrp(Some(group), niceness) {
            log::warn!(error:%; "a probe takes as much of the processors as the stream");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(group) = self.0 else { return };
        // A child that was waited for just now and left nobody behind has no group any more. That its number
        // belongs to another group already would take all numbers to have been given out in between.
        match kill_process_group(group, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => log::warn!(group:? = group, error:%; "a probe's processes cannot be killed"),
        }
    }
}

/// Hears one of a child's outputs to its end, so that the child never waits for us, and keeps a part.
struct Listener(Option<JoinHandle<Vec<u8>>>);

impl Listener {
    fn new(output: Option<impl AsyncRead + Unpin + Send + 'static>, keep: usize) -> Listener {
        Listener(output.map(|output| tokio::spawn(hear(output, keep))))
    }

    /// What was kept. Not waited for longer than a moment: a process that left the child's group may still
    /// hold the output.
    async fn heard(mut self) -> Vec<u8> {
        let Some(hearing) = &mut self.0 else { return Vec::new() };
        match timeout(MOMENT, hearing).await {
            Ok(Ok(heard)) => heard,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(hearing) = &self.0 {
            hearing.abort();
        }
    }
}

/// Keeps the newest bytes: an answer is all that is said, and a complaint's end tells the most.
async fn hear(mut output: impl AsyncRead + Unpin, keep: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        match output.read(&mut piece).await {
            Ok(0) => return kept,
            Ok(count) => {
                kept.extend_from_slice(&piece[..count]);
                let excess = kept.len().saturating_sub(keep);
                kept.drain(..excess);
            }
            Err(error) => {
                log::debug!(error:%; "a probe's output cannot be read to its end");
                return kept;
            }
        }
    }
}

impl Said {
    fn last_line(words: &[u8]) -> Said {
        let text = String::from_utf8_lossy(words);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Said(line.map(|line| line.chars().take(LONGEST_LINE).map(printable).collect()))
    }
}

/// The signals that a crash is; the numbers are the same on all of Linux's architectures that GStreamer is
/// built for in Debian, but MIPS's SIGBUS.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => "another signal",
    }
}

/// A trial ends after 5 s of patience at most, its decoding after as many; the first one on a slow machine waits for
/// GStreamer to list its plugins.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Of a probe beside a stream: a tenth of what a thread of the stream gets, where both want all.
const NICE: i32 = 10;

/// For what is left when the child has ended or was killed.
const MOMENT: Duration = Duration::from_millis(500);

/// In bytes; of a child that says more, no answer can be read. An answer has about one kilobyte.
const LARGEST_ANSWER: usize = 64 * 1024;

/// In bytes; what a child said before is lost.
const LARGEST_COMPLAINT: usize = 8 * 1024;

/// In characters.
const LONGEST_LINE: usize = 200;

/// In bytes; what is read at once.
const PIECE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Framerate;
    use crate::media::{self, Mode};

    #[tokio::test]
    async fn each_end_of_a_child_has_its_reason() {
        let cases: &[(&str, &str)] = &[
            ("kill -SEGV $$", "the probe crashed (SIGSEGV)"),
            ("echo driver: bad luck >&2; kill -ABRT $$", "the probe crashed (SIGABRT): driver: bad luck"),
            ("echo one >&2; echo two >&2; exit 3", "the probe failed with exit code 3: two"),
            ("echo hello", "the probe's answer is not one"),
            ("true", "the probe's answer is not one"),
            ("head -c 9000000 /dev/zero", "the probe's answer is not one"),
            ("echo '{\"not_tried\":\"no such device\"}'", "no such device"),
        ];
        for (script, expected) in cases {
            let error = shell(script, Duration::from_secs(10)).probe(&request()).await.unwrap_err();
            assert_eq!(error.to_string(), *expected, "{script}");
        }
        let error = Prober::command("/no/such/program", &[], TIME_LIMIT).probe(&request()).await.unwrap_err();
        assert!(matches!(error, Error::Start { .. }));
    }

    #[tokio::test]
    async fn a_child_that_hangs_costs_its_limit() {
        for script in [
            "sleep 100",
            "yes",
            "while true; do echo complaint >&2; done",
            "trap '' TERM INT; sleep 100 & wait",
        ] {
            let begin = Instant::now();
            let error = shell(script, Duration::from_millis(400)).probe(&request()).await.unwrap_err();
            let words = error.to_string();
            assert!(words.starts_with("the probe gave no answer within 0.4 s and was killed"), "{words}");
            assert!(begin.elapsed() < Duration::from_secs(3), "{script}: {:?}", begin.elapsed());
        }
    }

    #[tokio::test]
    async fn what_a_child_starts_ends_with_it() {
        for (script, limit) in [
            ("sleep 1001.$$ & echo $! >&2; wait", Duration::from_millis(400)), // is killed
            ("sleep 1001.$$ & echo $! >&2; exit 3", Duration::from_secs(10)),  // leaves it behind
        ] {
            let begin = Instant::now();
            let error = shell(script, limit).probe(&request()).await.unwrap_err().to_string();
            assert!(begin.elapsed() < Duration::from_secs(5), "it waited for the grandchild");
            let grandchild = error.rsplit(' ').next().unwrap();
            let gone = |pid: &str| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => stat.contains(") Z "), // dead, and not yet waited for by init
                Err(_) => true,
            };
            assert!(grandchild.parse::<u32>().is_ok(), "{error}");
            let limit = Instant::now() + Duration::from_secs(2);
            while !gone(grandchild) {
                assert!(Instant::now() < limit, "{grandchild} still runs");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_probe_that_is_no_longer_wanted_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("echo $$ > {}; sleep 100", file.display());
        let prober = shell(&script, Duration::from_secs(60));
        assert!(timeout(Duration::from_millis(500), prober.probe(&request())).await.is_err());
        let pid = std::fs::read_to_string(&file).unwrap();
        let limit = Instant::now() + Duration::from_secs(2);
        while std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            assert!(Instant::now() < limit, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn beside_a_stream_it_gives_way() {
        let script = "sleep 0.2; nice >&2; exit 3";
        let own = getpriority_process(None).unwrap();
        for (prober, expected) in
            [(shell(script, TIME_LIMIT), own), (shell(script, TIME_LIMIT).beside_a_stream(), own.max(NICE))]
        {
            let error = prober.probe(&request()).await.unwrap_err().to_string();
            assert_eq!(error, format!("the probe failed with exit code 3: {expected}"));
        }
    }

    #[test]
    fn the_child_is_told_what_to_probe() {
        let request = Request { preset: Some("superfast"), ..request() };
        assert_eq!(
            arguments(&request).join(" "),
            "probe-encoder --element x264enc --codec h264 --width 640 --height 360 --framerate 30000/1001 \
             --preset superfast"
        );
    }

    fn shell(script: &str, limit: Duration) -> Prober {
        Prober::command("/bin/sh", &["-c", script], limit)
    }

    fn request() -> Request {
        let mode = Mode { width: 640, height: 360, framerate: Framerate::new(30_000, 1001).unwrap() };
        Request {
            info: media::back_ends().find(|info| info.element == "x264enc").unwrap(),
            mode,
            preset: None,
        }
    }
}
