//! Somebody who follows README.md to the letter, in a folder that is a whole machine to him.
//!
//! Commands run as they stand there, with few exceptions: folders below `/etc` and `/run` are in his own, and so are the
//! ports of others. Where the API listens, curl is told by a `.curlrc`, and `uplinkd ctl` by `UPLINKD_URL`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Peer, eventually, eventually_or, free_port};

pub struct Reader {
    folder: TempDir,
    /// Of the API on this machine, of the one with TLS, and of the receiver that README.md has at 9000.
    api: u16,
    tls: u16,
    receiver: u16,
    spare_port: u16,
    /// At this port, and at the receiver's once the example of one has been tried: that ends with its connection.
    peers: Vec<Peer>,
    running: Vec<Running>,
    is_on_air: bool,
}

/// A command, ended with all that it has started.
struct Running {
    command: String,
    child: Child,
    /// Where its output goes.
    output: PathBuf,
}

impl Reader {
    pub fn new() -> Reader {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let spare_port = free_port();
        let reader = Reader {
            folder,
            api: free_tcp_port(),
            tls: free_tcp_port(),
            receiver: free_port(),
            spare_port,
            peers: vec![Peer::srt_live_transmit(spare_port, "")],
            running: Vec::new(),
            is_on_air: false,
        };
        let root = reader.root();
        for folder in
            ["bin", "target/release", "etc/uplinkd/secrets", "run/uplinkd", "state", "state-with-tls"]
        {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for program in ["bin/uplinkd", "target/release/uplinkd"] {
            symlink(env!("CARGO_BIN_EXE_uplinkd"), root.join(program)).expect("a link");
        }
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/uplinkd/uplinkd.toml");
        fs::copy(shipped, root.join("etc/uplinkd/uplinkd.toml")).expect("copied");
        for secret in ["studio.pass", "mqtt.password"] {
            let secret = root.join("etc/uplinkd/secrets").join(secret);
            fs::write(&secret, "open-sesame-and-more").expect("written");
            fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("for nobody else");
        }
        fs::write(root.join("uplink.csv"), "0,4000\n20000,900\n40000,3000\n").expect("written");
        let Reader { api, tls, .. } = reader;
        let curlrc = format!(
            "fail-with-body\nmax-time = 30\n\
             connect-to = \"localhost:9980:127.0.0.1:{api}\"\n\
             connect-to = \"encoder.local:9980:127.0.0.1:{tls}\"\n"
        );
        fs::write(root.join(".curlrc"), curlrc).expect("written");
        reader
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it to its end, which is to be a good one.
    pub fn run(&mut self, command: &str, says: Option<&str>) {
        if command == "nano my.toml" {
            return self.edit();
        }
        if let Some(program) = ["promtool"].into_iter().find(|program| command.contains(program))
            && !is_installed(program)
        {
            return eprintln!("not run, since there is no {program}: {command}");
        }
        if command.contains("localhost:9980") || command.starts_with("uplinkd ctl") {
            self.wait_until_on_air();
        }
        let mut running = self.start(command);
        let mut status = None;
        let ended = eventually_or(PATIENCE, || {
            status = running.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        let output = running.output();
        assert!(ended.is_some(), "not within {PATIENCE:?}: {command}\n{output}");
        assert!(
            status.is_some_and(|status| status.success()),
            "{command}\n{status:?}\n{output}\n{}",
            self.logs()
        );
        if let Some(says) = says {
            assert!(output.contains(says), "{command}\ndoes not say {says:?}:\n{output}");
        }
        let is_json = command.starts_with("curl ")
            && command.contains("/v1/")
            && !["-o ", ">", "|"].iter().any(|elsewhere| command.contains(elsewhere));
        if is_json {
            let json = serde_json::from_str::<Value>(&output);
            assert!(json.is_ok(), "{command}\nis answered by no JSON:\n{output}");
        }
        if command.ends_with("-o now.jpg") {
            let picture = fs::read(self.root().join("now.jpg")).expect("a picture");
            assert!(picture.starts_with(&[0xff, 0xd8]) && picture.len() > 1000, "{} bytes", picture.len());
        }
        if command.contains("--svg steps.svg") {
            assert!(fs::read_to_string(self.root().join("steps.svg")).expect("a drawing").contains("</svg>"));
        }
    }

    /// Runs it until it says so.
    pub fn run_until(&mut self, command: &str, says: &str) {
        if command.starts_with("curl ") {
            self.wait_until_on_air();
        }
        let running = self.start(command);
        let said = eventually_or(PATIENCE, || running.output().contains(says));
        assert!(said.is_some(), "{command}\ndoes not say {says:?}:\n{}\n{}", running.output(), self.logs());
        if command.contains("mode=listener") {
            drop(running);
            self.peers.push(Peer::srt_live_transmit(self.receiver, ""));
        }
    }

    /// Starts it, and has it run until all is read.
    pub fn leave_running(&mut self, command: &str) {
        let running = self.start(command);
        self.running.push(running);
        if command.contains("uplinkd run") {
            self.is_on_air = true;
        }
    }

    /// A configuration, or overrides of one.
    pub fn take_toml(&mut self, text: &str) {
        if text.contains("\nremove = ") || text.starts_with("remove = ") {
            return fs::write(self.root().join("overrides.toml"), text).expect("written");
        }
        let is_for_others = text.starts_with("[api]\n");
        let name = if is_for_others { "with-tls.toml" } else { "example.toml" };
        fs::write(self.root().join(name), self.here(text)).expect("written");
        self.run(&format!("uplinkd check-config {name}"), None);
        if is_for_others {
            self.leave_running(&format!(
                "STATE_DIRECTORY={}/state-with-tls uplinkd run --config {name}",
                self.root().display()
            ));
            eventually("the API speaks TLS", PATIENCE, || {
                TcpStream::connect(("127.0.0.1", self.tls)).is_ok()
            });
            for file in ["api.crt", "api.token"] {
                fs::copy(self.root().join("etc/uplinkd/secrets").join(file), self.root().join(file))
                    .expect("copied");
            }
        }
    }

    /// Events as README.md shows them have the fields of those that there are.
    pub fn compare_events(&self, text: &str) {
        let mut shown = fields(&text.replace("[…]", "[]"));
        let url = format!("http://127.0.0.1:{}/v1/events?replay=1000", self.api);
        let mut body = ureq::get(url).call().expect("events").into_body().into_reader();
        let mut told = Vec::new();
        let mut buffer = [0; 4096];
        let is_told = |told: &[u8]| {
            let fields = fields(&String::from_utf8_lossy(told));
            shown.keys().all(|event| fields.contains_key(event))
        };
        while !is_told(&told) {
            let read = std::io::Read::read(&mut body, &mut buffer).expect("events go on");
            assert!(read > 0, "events end:\n{}", String::from_utf8_lossy(&told));
            told.extend_from_slice(&buffer[..read]);
        }
        let told = fields(&String::from_utf8_lossy(&told));
        assert!(shown.len() > 1, "{text}");
        for (event, fields) in std::mem::take(&mut shown) {
            assert_eq!(told[&event], fields, "{event}");
        }
    }

    /// What an owner would have written: a test picture, and two receivers on this machine.
    fn edit(&mut self) {
        let Reader { api, receiver, spare_port, .. } = *self;
        let mine = format!(
            r#"
[api]
listen = "127.0.0.1:{api}"

[streams.main]
enabled = true

[streams.main.video]
source = "test"
width = 160
height = 90
framerate = 15
encoder = "software"

[streams.main.audio]
source = "test"

[streams.main.rate]
min_kbps = 300
max_kbps = 3000

[[streams.main.outputs]]
name = "studio"
url = "srt://127.0.0.1:{receiver}"
latency_ms = 500

[[streams.main.outputs]]
name = "spare"
url = "srt://127.0.0.1:{spare_port}"
latency_ms = 500
"#
        );
        fs::write(self.root().join("my.toml"), mine).expect("written");
    }

    /// A command or a configuration with this machine's folders and ports.
    fn here(&self, text: &str) -> String {
        let root = self.root().display();
        let mut here = text
            .replace("/etc/uplinkd/", &format!("{root}/etc/uplinkd/"))
            .replace("/run/uplinkd/", &format!("{root}/run/uplinkd/"))
            .replace("0.0.0.0:9980", &format!("0.0.0.0:{}", self.tls))
            .replace("127.0.0.1:9000", &format!("127.0.0.1:{}", self.receiver));
        if text.starts_with("uplinkd ctl") {
            here = here.replace("encoder.local:9980", &format!("localhost:{}", self.tls));
        }
        if text == "uplinkd check-config" {
            here = format!("uplinkd check-config {root}/etc/uplinkd/uplinkd.toml");
        }
        here
    }

    fn start(&self, command: &str) -> Running {
        let root = self.root();
        let output = root.join(format!("output-{}", rand::random::<u32>()));
        let file = File::create(&output).expect("a file");
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &self.here(command)])
            .current_dir(root)
            .env("PATH", format!("{}/bin:{path}", root.display()))
            .env("HOME", root)
            .env("CURL_HOME", root)
            .env("STATE_DIRECTORY", root.join("state"))
            .env("UPLINKD_URL", format!("http://127.0.0.1:{}", self.api))
            .env("RUST_LOG_STYLE", "never")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the same file"))
            .stderr(File::create(output.with_extension("errors")).expect("a file"))
            .process_group(0)
            .spawn()
            .expect("bash starts");
        Running { command: command.to_owned(), child, output }
    }

    /// As somebody would who sees in the log that it has just begun. On a machine that is busy it may be degraded.
    fn wait_until_on_air(&self) {
        assert!(self.is_on_air, "README.md asks for a daemon before it has started one");
        let url = format!("http://127.0.0.1:{}/v1/streams/main", self.api);
        let stream = || -> Option<Value> { ureq::get(&url).call().ok()?.body_mut().read_json().ok() };
        let is_on_air = |stream: Value| {
            let outputs = stream["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
            let receives = |output: &Value| output["state"] == "streaming";
            !stream["encoder"].is_null() && !outputs.is_empty() && outputs.iter().all(receives)
        };
        let begins = eventually_or(PATIENCE, || stream().is_some_and(is_on_air));
        assert!(begins.is_some(), "it is not on air: {:#?}\n{}", stream(), self.logs());
    }

    /// What those say that are left running.
    fn logs(&self) -> String {
        self.running.iter().map(|running| format!("{}\n{}", running.command, running.errors())).collect()
    }
}

impl Running {
    fn output(&self) -> String {
        let output = fs::read(&self.output).expect("its output");
        let output = String::from_utf8_lossy(&output).into_owned();
        if output.is_empty() { self.errors() } else { output }
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.output.with_extension("errors")).expect("its errors")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        // Nobody is left of most of them.
        let killed = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        assert!(killed.is_ok(), "kill is not there");
        self.child.wait().expect("it can be waited for");
    }
}

/// The fields of each kind of event, of server-sent events as text; of the first of each kind.
fn fields(events: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for event in events.split("\n\n") {
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = line("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
        if let (Some(kind), Some(Value::Object(data))) = (line("event: "), data) {
            assert!(line("id: ").is_some_and(|id| id.contains('-')), "{event}");
            found.entry(kind.to_owned()).or_insert_with(|| data.keys().cloned().collect());
        }
    }
    found
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

fn free_tcp_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// For each example, on a machine that is busy: most take a moment, and the longest ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
