//! `uplinkd ctl`: asks a running daemon, over the same API that curl uses.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the daemon refuses: no such stream, … |
//! | 69 | no daemon answers there |
//! | 77 | the token is missing or wrong, or this user may not read its file, or use the socket |
//! | 78 | the configuration, or a file that it names, is of no use |

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::runtime::Builder;

use super::withheld::Withheld;
use super::{DEFAULT_CONFIG, EX_CONFIG, EX_OTHER, EX_UNAVAILABLE, Failure, say};
use crate::api::client::{Answer, Client, ClientError};
use crate::api::keys::Token;
use crate::causes::with_causes;
use crate::config::file::{self, LoadError};
use crate::config::{self, Config, SecretFile};

/// Where the daemon is, and what it is to do.
#[derive(Debug, Args)]
pub struct CtlArguments {
    /// The daemon's configuration: it says where its API listens, and where the token is
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// A daemon elsewhere: http://HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long, value_name = "URL", env = "UPLINKD_URL")]
    url: Option<String>,
    /// The file with the token for --url
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Certificates to trust with https: the daemon's own, or an authority's
    #[arg(long, value_name = "FILE", default_value = AUTHORITIES)]
    ca_file: PathBuf,
    /// What the API answers, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// How the streams are, or one of them
    Status { stream: Option<String> },
    /// Put a stream on air
    Start { stream: Option<String> },
    /// Take a stream off air, until it is started or the daemon is
    Stop { stream: Option<String> },
    /// Begin a stream anew
    Restart { stream: Option<String> },
    /// Have the encoder make a key frame
    Keyframe { stream: Option<String> },
    /// What the rate control has decided, and why
    Rate {
        stream: Option<String>,
        /// How far back, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        last_s: u32,
    },
    /// What happens, as it happens, until it is interrupted
    Events,
    /// Changes of the configuration, without touching its file
    #[command(subcommand)]
    Config(Change),
    /// Any other resource, as curl would get it: /v1/info
    Get { path: String },
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Every setting with its value, and where it comes from
    Show,
    /// Whether these settings could be laid over the file
    Check { file: PathBuf },
    /// What would restart
    Plan { file: PathBuf },
    /// Lay these settings over the file
    Apply {
        file: PathBuf,
        /// Go back after so many seconds, unless `confirm` comes before
        #[arg(long, value_name = "SECONDS")]
        confirm_within_s: Option<u32>,
    },
    /// Keep what was applied
    Confirm,
    /// Go back to what was before
    Rollback,
    /// Go back to the file alone
    Forget,
}

/// Asks, and says what came back.
pub fn run(arguments: CtlArguments) -> Result<(), Failure> {
    let client = client(&arguments)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    runtime.block_on(carry_out(&client, arguments.command, arguments.json))
}

fn client(arguments: &CtlArguments) -> Result<Client, Failure> {
    if let Some(url) = &arguments.url {
        let token =
            arguments.token_file.as_ref().map(|path| token(&SecretFile::Path(path.clone()))).transpose()?;
        return Client::at(url, token, &arguments.ca_file).map_err(failure);
    }
    configured(file::load(&arguments.config), &arguments.ca_file)
}

fn token(file: &SecretFile) -> Result<Token, Failure> {
    Token::load(file).map_err(|error| match Withheld::secret(file) {
        Some(withheld) => not_permitted(error.key, &withheld),
        None => failure(ClientError::Keys(error)),
    })
}

/// Of the daemon with this configuration. Without one where it usually is, there may still be a daemon where the
/// shipped configuration has it: a demo, for instance.
fn configured(loaded: Result<Config, LoadError>, authorities: &Path) -> Result<Client, Failure> {
    match loaded {
        Ok(config) => Client::of(&config.api).map_err(|error| match (&error, withheld(&config.api)) {
            (ClientError::Keys(_), Some((key, withheld))) => not_permitted(key, &withheld),
            _ => failure(error),
        }),
        Err(LoadError::Missing { path }) if path == Path::new(DEFAULT_CONFIG) => {
            Client::at(DEFAULT_URL, None, authorities).map_err(failure)
        }
        Err(error) => Err(Failure::configuration(error)),
    }
}

/// What a client needs of `api` and may not read.
fn withheld(api: &config::Api) -> Option<(&'static str, Withheld)> {
    let token = api.token_file.as_ref().and_then(Withheld::secret);
    let certificate = || api.tls.as_ref().and_then(|files| Withheld::file(&files.certificate));
    match token {
        Some(withheld) => Some(("api.token_file", withheld)),
        None => certificate().map(|withheld| ("api.tls_certificate_file", withheld)),
    }
}

fn not_permitted(key: &str, withheld: &Withheld) -> Failure {
    Failure::coded(format!("{key}: {}", withheld.needed()), EX_NOPERM)
}

async fn carry_out(client: &Client, command: CtlCommand, json: bool) -> Result<(), Failure> {
    match command {
        CtlCommand::Status { stream: None } => {
            let streams = get(client, "/v1/streams").await?;
            let items = streams["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            match json {
                true => say_json(&streams),
                false if items.is_empty() => say("no stream is configured\n"),
                false => say(&items.iter().map(status).collect::<String>()),
            }
        }
        CtlCommand::Status { stream: Some(stream) } => {
            let stream = get(client, &format!("/v1/streams/{}", encoded(&stream))).await?;
            if json { say_json(&stream) } else { say(&status(&stream)) }
        }
        CtlCommand::Start { stream } => act(client, stream, "start", json).await,
        CtlCommand::Stop { stream } => act(client, stream, "stop", json).await,
        CtlCommand::Restart { stream } => act(client, stream, "restart", json).await,
        CtlCommand::Keyframe { stream } => act(client, stream, "keyframe", json).await,
        CtlCommand::Rate { stream, last_s } => {
            let stream = chosen(client, stream).await?;
            let path = format!("/v1/streams/{}/rate?last_s={last_s}", encoded(&stream));
            let decisions = get(client, &path).await?;
            if json { say_json(&decisions) } else { say(&rate(&decisions)) }
        }
        CtlCommand::Events => follow(client, json).await,
        CtlCommand::Config(change) => reconfigure(client, change).await,
        CtlCommand::Get { path } => show(client, "GET", &path, None).await,
    }
}

async fn act(client: &Client, stream: Option<String>, action: &str, json: bool) -> Result<(), Failure> {
    let stream = chosen(client, stream).await?;
    let path = format!("/v1/streams/{}/actions/{action}", encoded(&stream));
    let answer = granted(client.ask("POST", &path, None).await.map_err(failure)?)?;
    if json { say_json(&parsed(&answer)?) } else { say(&format!("{stream}: {action} asked for\n")) }
}

async fn reconfigure(client: &Client, change: Change) -> Result<(), Failure> {
    match change {
        Change::Show => show(client, "GET", "/v1/config", None).await,
        Change::Check { file } => show(client, "POST", "/v1/config/check", Some(&file)).await,
        Change::Plan { file } => show(client, "POST", "/v1/config/plan", Some(&file)).await,
        Change::Apply { file, confirm_within_s } => {
            let within = confirm_within_s.map(|seconds| format!("?confirm_within_s={seconds}"));
            let path = format!("/v1/config/apply{}", within.unwrap_or_default());
            show(client, "POST", &path, Some(&file)).await
        }
        Change::Confirm => show(client, "POST", "/v1/config/confirm", None).await,
        Change::Rollback => show(client, "POST", "/v1/config/rollback", None).await,
        Change::Forget => show(client, "DELETE", "/v1/config/overrides", None).await,
    }
}

/// The answer as it comes; the request holds the TOML of that file.
async fn show(client: &Client, method: &str, path: &str, file: Option<&Path>) -> Result<(), Failure> {
    let body = match file {
        Some(file) => {
            let wrong = |error| Failure::configuration(format!("cannot read {}: {error}", file.display()));
            let text = std::fs::read(file).map_err(wrong)?;
            Some(("application/toml", text))
        }
        None => None,
    };
    let answer = granted(client.ask(method, path, body).await.map_err(failure)?)?;
    say(&String::from_utf8_lossy(&answer.body))
}

/// The stream that is named, or the only one there is.
async fn chosen(client: &Client, named: Option<String>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    let streams = get(client, "/v1/streams").await?;
    let items = streams["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = items.iter().filter_map(|stream| stream["id"].as_str()).collect();
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::plain("no stream is configured")),
        several => Err(Failure::plain(&format!("which stream: {}?", several.join(", ")))),
    }
}

/// A line for each event, or with `--json` its data alone.
async fn follow(client: &Client, json: bool) -> Result<(), Failure> {
    let mut stream = match client.follow("/v1/events").await.map_err(failure)? {
        Ok(stream) => stream,
        Err(refusal) => return granted(refusal).map(|_| ()),
    };
    let (mut unread, mut kind) = (Vec::new(), String::new());
    while let Some(bytes) = stream.next().await.map_err(failure)? {
        unread.extend_from_slice(&bytes);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let (field, value) = line.trim_end().split_once(':').unwrap_or((line.trim_end(), ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut kind),
                "data" if json => say(&format!("{value}\n"))?,
                "data" => say(&format!("{kind:<10} {value}\n"))?,
                _ => {} // ids and comments are for those who come back
            }
        }
        if unread.len() > LONGEST_LINE {
            return Err(Failure::plain("the daemon sends no events, but a line without end"));
        }
    }
    Err(Failure::plain("the daemon has ended the events"))
}

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    parsed(&granted(client.ask("GET", path, None).await.map_err(failure)?)?)
}

fn parsed(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::plain(&format!("the answer is no JSON; is this uplinkd? {error}")))
}

/// The answer, unless it is a refusal.
fn granted(answer: Answer) -> Result<Answer, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = if matches!(answer.status, 401 | 403 | 429) { EX_NOPERM } else { EX_OTHER };
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reason = match errors {
        [] => format!(" {}", problem["detail"].as_str().unwrap_or("without a reason")),
        errors => errors.iter().map(mistake).collect(), // of which the detail has the first
    };
    Err(Failure::coded(format!("the daemon refuses ({}):{reason}", answer.status), code))
}

/// A line of its own: where it stands, as far as that is known, what is wrong, and what to write.
fn mistake(error: &Value) -> String {
    let part = |name: &str| error[name].as_str().unwrap_or_default();
    let mut line = String::from("\n");
    if let (Some(number), Some(column)) = (error["line"].as_u64(), error["column"].as_u64()) {
        write!(line, "{}:{number}:{column}: ", part("document")).expect("a text takes everything");
    }
    if !part("field").is_empty() {
        write!(line, "{}: ", part("field")).expect("a text takes everything");
    }
    write!(line, "{}; {}", part("detail"), part("fix")).expect("a text takes everything");
    line
}

fn failure(error: ClientError) -> Failure {
    let code = match &error {
        ClientError::Keys(_) | ClientError::Url { .. } => EX_CONFIG,
        ClientError::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            EX_NOPERM
        }
        ClientError::Unreachable { .. } | ClientError::Silent { .. } => EX_UNAVAILABLE,
        ClientError::Broken(_) | ClientError::Path { .. } => EX_OTHER,
    };
    Failure::coded(with_causes(&error), code)
}

fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value:#}\n"))
}

/// A stream in a few lines.
fn status(stream: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut lines = format!("{}: {}", text(&stream["id"]), text(&stream["state"]));
    let mut line = |line: String| writeln!(lines, "{line}").expect("a text takes everything");
    line(stream["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default());
    let source = &stream["source"];
    let format = source["format"].as_str().map(|format| format!(", {format}")).unwrap_or_default();
    line(format!("  source   {}: {}{format}", text(&source["device"]), text(&source["state"])));
    let encoder = &stream["encoder"];
    if encoder.is_object() {
        let (element, target, encoded) =
            (text(&encoder["element"]), kbps(&encoder["target_bps"]), kbps(&encoder["encoded_bps"]));
        line(format!("  encoder  {element}: target {target}, encoded {encoded}"));
    }
    for output in stream["outputs"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (name, state) = (text(&output["name"]), text(&output["state"]));
        let (sent, acknowledged) = (kbps(&output["sent_bps"]), kbps(&output["acked_bps"]));
        let rtt = output["rtt_ms"].as_f64().map(|rtt| format!(", RTT {rtt:.0} ms")).unwrap_or_default();
        let reason = output["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
        line(format!("  output   {name}: {state}, sent {sent}, acknowledged {acknowledged}{rtt}{reason}"));
    }
    lines
}

/// A line for each decision.
fn rate(decisions: &Value) -> String {
    let items = decisions["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = String::new();
    for item in items {
        let (time, rule) = (item["time"].as_str().unwrap_or("-"), item["rule"].as_str().unwrap_or("-"));
        let (before, after) = (kbps(&item["before_bps"]), kbps(&item["after_bps"]));
        let queue = item["queue_ms"].as_u64().unwrap_or_default();
        writeln!(lines, "{time}  {rule:<9} {before:>12} -> {after:>12}  queue {queue} ms")
            .expect("a text takes everything");
    }
    lines
}

fn kbps(bps: &Value) -> String {
    bps.as_u64().map_or("-".to_owned(), |bps| format!("{} kbit/s", bps.div_ceil(1000)))
}

/// A name as one part of a path.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// Where the shipped configuration has the API.
const DEFAULT_URL: &str = "http://127.0.0.1:9980";

/// Debian's bundle.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// `sysexits.h`: not allowed.
const EX_NOPERM: u8 = 77;

/// Bytes: the first event of a stream is its whole state.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_a_few_lines() {
        let stream = json!({
            "id": "main", "state": "degraded", "reason": "studio: no handshake",
            "source": {"state": "live", "device": "test", "format": "320x180 I420"},
            "encoder": {"element": "x264enc", "target_bps": 1_500_000, "encoded_bps": 1_480_200},
            "outputs": [{"name": "studio", "state": "streaming", "sent_bps": 1_600_000, "acked_bps": 0,
                "rtt_ms": 20.4, "reason": null}],
        });
        assert_eq!(
            status(&stream),
            "main: degraded (studio: no handshake)\n  \
               source   test: live, 320x180 I420\n  \
               encoder  x264enc: target 1500 kbit/s, encoded 1481 kbit/s\n  \
               output   studio: streaming, sent 1600 kbit/s, acknowledged 0 kbit/s, RTT 20 ms\n"
        );
        assert_eq!(status(&json!({"id": "a", "state": "stopped"})), "a: stopped\n  source   -: -\n");
    }

    #[test]
    fn a_refusal_says_why_and_has_its_exit_code() {
        let answer = |status, body: &str| Answer { status, body: body.to_owned().into() };
        assert!(granted(answer(202, "")).is_ok());
        let failure = granted(answer(401, r#"{"detail": "a token is needed"}"#)).unwrap_err();
        assert_eq!(
            (failure.message.as_str(), failure.code),
            ("the daemon refuses (401): a token is needed", 77)
        );
        assert_eq!(granted(answer(404, "<html>")).unwrap_err().code, 1);
        let wrong = r#"{"detail": "request:2:9: log.level: is 1; write \"info\" (and 1 more)", "errors": [
            {"field": "log.level", "detail": "is 1", "fix": "write \"info\"", "document": "request", "line": 2, "column": 9},
            {"field": "", "detail": "no", "fix": "yes", "document": null, "line": null, "column": null}]}"#;
        assert_eq!(
            granted(answer(422, wrong)).unwrap_err().message,
            "the daemon refuses (422):\nrequest:2:9: log.level: is 1; write \"info\"\nno; yes"
        );
    }

    #[test]
    fn without_the_usual_configuration_the_usual_place_is_asked() {
        let missing =
            |path: &str| configured(Err(LoadError::Missing { path: path.into() }), Path::new(AUTHORITIES));
        let client = missing(DEFAULT_CONFIG).unwrap();
        assert!(format!("{client:?}").contains("127.0.0.1:9980"), "{client:?}");
        let failure = missing("/nonexistent.toml").unwrap_err();
        assert_eq!(failure.code, EX_CONFIG, "{}", failure.message);
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(encoded("main-2"), "main-2");
        assert_eq!(encoded("../é"), "..%2F%C3%A9");
    }
}
