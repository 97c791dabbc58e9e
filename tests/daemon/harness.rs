//! A daemon in a directory of its own, and receivers for its stream.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// `uplinkd run`, killed when dropped.
pub struct Daemon {
    command: Command,
    child: Child,
    directory: TempDir,
    api: String,
}

impl Daemon {
    /// Starts it with this configuration (without `[api]`, which is added) and waits until it is ready.
    pub fn start(configuration: &str) -> Daemon {
        Daemon::start_as(Command::new(env!("CARGO_BIN_EXE_uplinkd")), configuration)
    }

    /// The same with fakes in place of encoders, as `fake_encoders::quirks::parse` reads them.
    pub fn start_with_fakes(fakes: &str, configuration: &str) -> Daemon {
        let mut command = Daemon::with_fakes();
        command.env("UPLINKD_FAKES", fakes);
        Daemon::start_as(command, configuration)
    }

    /// The same, where probes meet others, which this file names at the time of each.
    pub fn start_with_probed_fakes(fakes: &str, probed: &Path, configuration: &str) -> Daemon {
        let mut command = Daemon::with_fakes();
        command.env("UPLINKD_FAKES", fakes).env("UPLINKD_PROBE_FAKES", probed);
        Daemon::start_as(command, configuration)
    }

    fn with_fakes() -> Command {
        let beside = Path::new(env!("CARGO_BIN_EXE_uplinkd")).with_file_name("examples");
        let program = beside.join("uplinkd-with-fakes");
        assert!(program.exists(), "cargo build --example uplinkd-with-fakes comes first");
        Command::new(program)
    }

    /// The same with files in its state directory, by their names.
    pub fn start_with_state(state: &[(&str, &str)], configuration: &str) -> Daemon {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, contents) in state {
            std::fs::write(directory.path().join(name), contents).expect("the file is written");
        }
        Daemon::start_in(directory, Command::new(env!("CARGO_BIN_EXE_uplinkd")), configuration)
    }

    /// The same by another program, which is given the arguments of uplinkd.
    pub fn start_as(command: Command, configuration: &str) -> Daemon {
        Daemon::start_in(tempfile::tempdir().expect("a temporary directory"), command, configuration)
    }

    fn start_in(directory: TempDir, mut command: Command, configuration: &str) -> Daemon {
        let address = free_tcp_address();
        let path = directory.path().join("uplinkd.toml");
        std::fs::write(&path, with_api(&address, configuration)).expect("the configuration is written");
        command
            .args(["run", "--config"])
            .arg(&path)
            .env("STATE_DIRECTORY", directory.path()) // what probes find is this daemon's alone
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = spawn(&mut command, &directory);
        let daemon = Daemon { command, child, directory, api: format!("http://{address}") };
        daemon.wait_until_ready(0);
        daemon
    }

    /// Kills it, as a power cut would, and starts it anew in the same place.
    pub fn kill_and_start(&mut self) {
        self.kill();
        let starts = self.starts();
        self.child = spawn(&mut self.command, &self.directory);
        self.wait_until_ready(starts);
    }

    /// Ends it without a word of warning.
    pub fn kill(&mut self) {
        self.child.kill().expect("the daemon is killed");
        self.child.wait().expect("a killed daemon can be waited for");
    }

    /// Of the start that comes after so many.
    fn wait_until_ready(&self, starts: usize) {
        eventually("the daemon is ready", Duration::from_secs(20), || {
            // The log tells where the API wants TLS.
            ureq::get(self.url("/readyz")).call().is_ok() || self.starts() > starts
        });
    }

    fn starts(&self) -> usize {
        self.log().matches("ready api=").count()
    }

    /// Of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// Where its API listens.
    pub fn address(&self) -> &str {
        self.api.trim_start_matches("http://")
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("uplinkd.toml")
    }

    /// Where it keeps what lasts.
    pub fn state_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The value of a field that was logged last under this name.
    pub fn logged_number(&self, field: &str) -> u64 {
        let log = self.log();
        let (_, after) =
            log.rsplit_once(&format!(" {field}=")).unwrap_or_else(|| panic!("no {field} in\n{log}"));
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    }

    /// The status of the stream `main`.
    pub fn status(&self) -> Value {
        let mut response = ureq::get(self.url("/v1/streams/main")).call().expect("the API answers");
        response.body_mut().read_json().expect("the API gives JSON")
    }

    pub fn state(&self) -> String {
        self.status()["state"].as_str().expect("a state").to_string()
    }

    /// Waits for a state of the stream `main`; tells how long that took.
    pub fn wait_for(&self, state: &str, timeout: Duration) -> Duration {
        eventually_or(timeout, || self.state() == state).unwrap_or_else(|| {
            panic!("not {state} within {timeout:?}\n{:#}\n{}", self.status(), self.log());
        })
    }

    pub fn act(&self, action: &str) -> u16 {
        let url = self.url(&format!("/v1/streams/main/actions/{action}"));
        ureq::post(url).send_empty().expect("the action is taken").status().as_u16()
    }

    /// Replaces the configuration file and asks for a reload.
    pub fn reload(&self, configuration: &str) {
        let configuration = with_api(self.address(), configuration);
        std::fs::write(self.configuration(), configuration).expect("the configuration is written");
        self.signal("HUP");
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs");
        assert!(status.success(), "cannot send SIG{signal}");
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let mut exit = None;
        eventually(&format!("the daemon ends\n{}", self.log()), timeout, || {
            exit = self.child.try_wait().expect("the daemon can be waited for");
            exit.is_some()
        });
        exit.expect("seen just now")
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// How many of its threads (`task`) or open descriptors (`fd`) there are.
    pub fn count(&self, kind: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{kind}", self.child.id())).expect("it runs").count()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the daemon can be waited for").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already after a test of its end: that it is gone is all that matters here.
        if self.child.kill().is_ok() {
            self.child.wait().expect("a killed daemon can be waited for");
        }
    }
}

/// Its log goes on where there is one already.
fn spawn(command: &mut Command, directory: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log"));
    command.stderr(log.expect("the log file is made")).spawn().expect("uplinkd starts")
}

/// Another program that receives SRT, writing what it gets to a file; killed when dropped.
pub struct Peer {
    child: Child,
    received: PathBuf,
    directory: TempDir,
}

impl Peer {
    /// `srt-live-transmit` as a listener; `query` in libsrt's spelling.
    pub fn srt_live_transmit(port: u16, query: &str) -> Peer {
        Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=listener{query}"))
    }

    /// The same in any mode.
    pub fn srt_live_transmit_at(place: &str) -> Peer {
        let url = format!("srt://{place}");
        Peer::spawn("srt-live-transmit", &["-loglevel:fatal", &url, "file://con"])
    }

    /// GStreamer's `srtsrc` as a listener; `properties` in gst-launch's spelling.
    pub fn srtsrc(port: u16, properties: &[&str]) -> Peer {
        Peer::srtsrc_at(&format!("127.0.0.1:{port}?mode=listener"), properties)
    }

    /// The same in any mode.
    pub fn srtsrc_at(place: &str, properties: &[&str]) -> Peer {
        let uri = format!("uri=srt://{place}");
        let mut arguments = vec!["-q", "srtsrc", &uri];
        arguments.extend(properties);
        arguments.extend(["!", "fdsink", "fd=1"]);
        Peer::spawn("gst-launch-1.0", &arguments)
    }

    /// ffmpeg as a listener; `query` in ffmpeg's spelling. It writes on only the first video and audio track, copied.
    pub fn ffmpeg(port: u16, query: &str) -> Peer {
        Peer::ffmpeg_at(&format!("127.0.0.1:{port}?mode=listener{query}"))
    }

    /// The same in any mode.
    pub fn ffmpeg_at(place: &str) -> Peer {
        let url = format!("srt://{place}");
        Peer::spawn("ffmpeg", &["-v", "error", "-i", &url, "-c", "copy", "-f", "mpegts", "pipe:1"])
    }

    /// Any program that writes what it receives to its standard output.
    pub fn spawn(program: &str, arguments: &[&str]) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let received = directory.path().join("received.ts");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&received).expect("the file is made"))
            .stderr(File::create(directory.path().join("log")).expect("the log is made"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}; `make setup` installs it"));
        Peer { child, received, directory }
    }

    /// All that it has written so far.
    pub fn received(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(&self.received)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .expect("the file is read");
        bytes
    }

    /// Stops it where it is: it neither reads nor says goodbye.
    pub fn freeze(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "STOP", &pid]).status().expect("kill runs");
        assert!(status.success(), "cannot stop {pid}");
    }

    /// The file that it writes to.
    pub fn recording(&self) -> &Path {
        &self.received
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().expect("a killed peer can be waited for");
        }
    }
}

/// A UDP port of the loopback that was free just now.
pub fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

/// Waits for a condition, looking every 20 ms.
pub fn eventually(what: &str, timeout: Duration, condition: impl FnMut() -> bool) {
    assert!(eventually_or(timeout, condition).is_some(), "not within {timeout:?}: {what}");
}

/// The same; `None` when it did not come true, otherwise the time that it took.
pub fn eventually_or(timeout: Duration, mut condition: impl FnMut() -> bool) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < timeout {
        if condition() {
            return Some(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

/// A file with so many seconds of picture and sound; `size` in ffmpeg's spelling.
pub fn make_clip(path: &Path, size: &str, framerate: u32, seconds: u32) {
    let picture = format!("testsrc=size={size}:rate={framerate}");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=440", "-t", &seconds.to_string(), "-pix_fmt", "yuv420p"])
        .arg(path)
        .output()
        .expect("ffmpeg runs; `make setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A pipe that nobody writes to: who opens it waits.
pub fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the pipe is made");
}

/// A small test picture with a tone, to `port` of the loopback; `more` goes into the output's section.
pub fn test_stream(port: u16, latency_ms: u32, more: &str) -> String {
    test_stream_at(&format!("127.0.0.1:{port}"), latency_ms, more)
}

/// The same, to a place in the spelling of SRT's URLs.
pub fn test_stream_at(place: &str, latency_ms: u32, more: &str) -> String {
    format!(
        r#"
[streams.main]
enabled = true

[streams.main.video]
source = "test"
width = 320
height = 180
framerate = 30
encoder = "software"

[streams.main.audio]
source = "test"

[streams.main.rate]
min_kbps = 300
max_kbps = 2000
start_kbps = 1000

[[streams.main.outputs]]
name = "studio"
url = "srt://{place}"
latency_ms = {latency_ms}
{more}
"#
    )
}

fn with_api(address: &str, configuration: &str) -> String {
    format!("[api]\nlisten = \"{address}\"\n{configuration}")
}

fn free_tcp_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}
