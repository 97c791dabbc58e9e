//! mosquitto in a directory of its own, and its two clients.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Daemon, eventually};

/// A broker on the loopback; killed when dropped.
pub struct Broker {
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

/// A message as somebody who listens has got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The broker had kept it.
    pub retained: bool,
    pub topic: String,
    pub payload: String,
}

/// Somebody who listens to everything; gone when dropped.
pub struct Listener {
    child: Child,
    heard: PathBuf,
    _directory: TempDir,
}

/// How long anything may take on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(20);

impl Broker {
    /// One that lets everybody in.
    pub fn start() -> Broker {
        Broker::start_with("allow_anonymous true\n", &[])
    }

    /// One with further lines in its configuration, in which `DIR` is its directory, and with files in that.
    pub fn start_with(lines: &str, files: &[(&str, &str)]) -> Broker {
        let mut broker = Broker::absent(lines, files);
        broker.come();
        broker
    }

    /// One that does not run yet.
    pub fn absent(lines: &str, files: &[(&str, &str)]) -> Broker {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        for (name, contents) in files {
            fs::write(directory.path().join(name), contents).expect("the file is written");
        }
        let lines = lines.replace("DIR", &directory.path().display().to_string());
        // As root it would become another user, who may not read this directory.
        let text = format!("user root\npersistence false\nlistener {port} 127.0.0.1\n{lines}");
        fs::write(directory.path().join("mosquitto.conf"), text).expect("the configuration is written");
        Broker { directory, port, child: None }
    }

    /// Starts it, and waits until it listens.
    pub fn come(&mut self) {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log"));
        let child = Command::new(program("mosquitto"))
            .arg("-v")
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log is made"))
            .spawn()
            .unwrap_or_else(|error| panic!("mosquitto does not start: {error}; `make setup` installs it"));
        self.child = Some(child);
        eventually("mosquitto listens", SOON, || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills it.
    pub fn go(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("mosquitto is killed");
            child.wait().expect("a killed broker can be waited for");
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `[mqtt]` for a daemon; `more` goes into the section.
    pub fn section(&self, more: &str) -> String {
        format!("[mqtt]\nurl = \"{}\"\nid = \"box\"\ninterval_s = 1\n{more}\n", self.url())
    }

    /// Listens to everything, in this version of the protocol.
    pub fn listen(&self) -> Listener {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let heard = directory.path().join("heard");
        let child = Command::new(program("mosquitto_sub"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-V", "5", "-t", "#"])
            .args(["-F", "{\"retained\":%r,\"topic\":\"%t\",\"hex\":\"%x\"}"])
            .stdin(Stdio::null())
            .stdout(File::create(&heard).expect("the file is made"))
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub starts");
        Listener { child, heard, _directory: directory }
    }

    /// Publishes a message; `more` are mosquitto_pub's arguments.
    pub fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let status = Command::new(program("mosquitto_pub"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic, "-m", payload])
            .args(more)
            .status()
            .expect("mosquitto_pub starts");
        assert!(status.success(), "{topic} is not published");
    }

    /// Asks, and gives what is answered, with a topic and a number of its own.
    pub fn request(&self, topic: &str, payload: &str) -> Value {
        let output = Command::new(program("mosquitto_rr"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-V", "5", "-t", topic, "-m", payload])
            .args(["-e", "operator/answers", "-D", "publish", "correlation-data", "seven", "-W", "20"])
            .args(["-F", "{\"correlation\":\"%D\",\"type\":\"%C\",\"answer\":%p}"])
            .output()
            .expect("mosquitto_rr starts");
        let text = String::from_utf8(output.stdout).expect("the answer is text");
        serde_json::from_str(text.trim())
            .unwrap_or_else(|error| panic!("{error}: {text:?}, {:?}", output.stderr))
    }

    /// What is kept there now.
    pub fn kept(&self) -> Vec<Heard> {
        let listener = self.listen();
        self.publish("the/end", "", &[]);
        // What is kept comes before anything that is published later.
        let mut kept = Vec::new();
        eventually("everything has come", SOON, || {
            self.publish("the/end", "x", &[]);
            kept = listener.heard();
            kept.iter().any(|heard| heard.topic == "the/end")
        });
        kept.retain(|heard| heard.retained);
        kept
    }

    /// The text that is kept at this topic.
    pub fn kept_at(&self, topic: &str) -> Option<String> {
        self.kept().into_iter().find(|heard| heard.topic == topic).map(|heard| heard.payload)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.go();
    }
}

impl Listener {
    /// All that has come so far.
    pub fn heard(&self) -> Vec<Heard> {
        let text = fs::read_to_string(&self.heard).unwrap_or_default();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(heard).collect()
    }

    /// Waits for a message to this topic that fits; gives its payload.
    pub fn wait(&self, topic: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        eventually(&format!("a message to {topic}"), SOON, || {
            found = self.heard().into_iter().find(|heard| heard.topic == topic && fits(&heard.payload));
            found.is_some()
        });
        found.expect("seen just now").payload
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().expect("a killed listener can be waited for");
        }
    }
}

fn heard(line: &str) -> Heard {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let hex = text("hex");
    let bytes =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"));
    let payload = String::from_utf8(bytes.collect()).expect("a text");
    Heard { retained: json["retained"] == 1, topic: text("topic"), payload }
}

/// Debian keeps the broker where users do not look.
fn program(name: &str) -> PathBuf {
    let in_sbin = Path::new("/usr/sbin").join(name);
    if in_sbin.exists() { in_sbin } else { name.into() }
}

/// The `mqtt` of `/v1/info`.
pub fn shown(daemon: &Daemon) -> Value {
    let mut response = ureq::get(daemon.url("/v1/info")).call().expect("the API answers");
    let info: Value = response.body_mut().read_json().expect("the API gives JSON");
    info["mqtt"].clone()
}

pub fn wait_until_connected(daemon: &Daemon) {
    eventually(&format!("it is connected: {}", shown(daemon)), SOON, || shown(daemon)["connected"] == true);
}

pub fn parsed(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {payload}"))
}

/// A stream that nobody has enabled.
pub const IDLE: &str = "[streams.main]\nvideo = { source = \"test\", width = 320, height = 180 }\n";
