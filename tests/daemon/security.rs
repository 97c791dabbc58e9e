//! Who is let in to the API, and on which ways.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uplinkd::api::client::{Client, ClientError};
use uplinkd::api::keys::Token;
use uplinkd::config::SecretFile;

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, eventually};

pub const TOKEN: &str = "correct-horse-battery-staple";

/// A folder with a token of that text.
pub fn token_file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("api.token");
    write_secret(&path, text);
    (folder, path)
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("for nobody else");
}

/// Status, the headers of the answer, and its body.
fn send(
    method: &str,
    url: String,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, ureq::http::HeaderMap, Value) {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let request = request.body(body.to_owned()).expect("a request");
    let mut response = agent.run(request).expect("an answer");
    let text = response.body_mut().read_to_string().expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status().as_u16(), response.headers().clone(), body)
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_token_lets_in_and_nothing_else() {
    let (_folder, token) = token_file(TOKEN);
    let daemon = Daemon::start(&format!("token_file = {token:?}\n[streams.main]\n"));
    let url = || daemon.url("/v1/streams");
    let right = format!("Bearer {TOKEN}");
    assert_eq!(get(url(), &[("authorization", &right)]).0, 200);
    for open in ["/healthz", "/readyz"] {
        assert_eq!(get(daemon.url(open), &[]).0, 200, "{open}");
    }

    let (status, headers, body) = send("GET", url(), &[], "");
    assert_eq!((status, body["status"].as_u64()), (401, Some(401)), "{body}");
    assert!(headers["www-authenticate"].to_str().expect("text").starts_with("Bearer "), "{headers:?}");
    for wrong in ["Bearer correct-horse-battery-stapl", "Bearer ", "Basic Y29ycmVjdA==", TOKEN] {
        assert_eq!(get(url(), &[("authorization", wrong)]).0, 401, "{wrong}");
    }
    for (method, path) in [
        ("POST", "/v1/streams/main/actions/stop"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/info"),
        ("DELETE", "/"),
    ] {
        assert_eq!(send(method, daemon.url(path), &[], "").0, 401, "{path}");
    }
}

#[test]
fn every_answer_has_its_headers() {
    let (_folder, token) = token_file(TOKEN);
    let daemon = Daemon::start(&format!("token_file = {token:?}\n"));
    for (path, host) in [("/healthz", "localhost"), ("/v1/info", "localhost"), ("/v1/info", "evil.example")] {
        let (_, headers, _) = send("GET", daemon.url(path), &[("host", host)], "");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!headers.contains_key("access-control-allow-origin"), "{headers:?}");
    }
}

#[test]
fn a_page_logs_in_and_out() {
    let (_folder, token) = token_file(TOKEN);
    let daemon = Daemon::start(&format!("token_file = {token:?}\n[streams.main]\n"));
    let session = || daemon.url("/v1/session");
    let asked = send("GET", session(), &[], "").2;
    assert_eq!(asked, json!({"token_required": true, "open": false}));

    let login = |body: &str| send("POST", session(), &[JSON], body);
    assert_eq!(login(r#"{"token": "correct-horse-battery-stable"}"#).0, 401);
    assert_eq!(login(r#"{"tokens": 1}"#).0, 422);
    assert_eq!(login(&format!("{{\"token\": \"{}\"}}", "x".repeat(5000))).0, 413, "a login is short");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(send("POST", session(), &form, &format!("token={TOKEN}")).0, 415);
    assert_eq!(send("PUT", session(), &[JSON], "{}").0, 405);
    let (status, headers, _) = login(&format!("{{\"token\": \"{TOKEN}\"}}"));
    assert_eq!(status, 204);
    let cookie = headers["set-cookie"].to_str().expect("text").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let with = |more: &[(&'static str, &'static str)], method: &str, path: &str| {
        let headers: Vec<(&str, &str)> = more.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        send(method, daemon.url(path), &headers, "").0
    };
    assert_eq!(with(&[], "GET", "/v1/streams"), 200);
    assert_eq!(with(&[], "POST", "/v1/streams/main/actions/stop"), 202);
    // What another site's page can have a browser send, were the cookie sent along.
    let action = "/v1/streams/main/actions/stop";
    assert_eq!(with(&[("origin", "https://evil.example")], "POST", action), 403);
    assert_eq!(with(&[("sec-fetch-site", "cross-site")], "POST", action), 403);
    assert_eq!(with(&[("content-type", "text/plain")], "POST", action), 415);
    assert_eq!(with(&[], "DELETE", "/v1/session"), 204);
    assert_eq!(with(&[], "GET", "/v1/streams"), 401, "logged out");
}

#[test]
fn another_token_ends_all_sessions_and_a_bad_one_changes_nothing() {
    let (_folder, token) = token_file(TOKEN);
    let configuration = format!("token_file = {token:?}\n");
    let daemon = Daemon::start(&configuration);
    let (_, headers, _) =
        send("POST", daemon.url("/v1/session"), &[JSON], &format!("{{\"token\": \"{TOKEN}\"}}"));
    let cookie = headers["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let with_cookie = || get(daemon.url("/v1/info"), &[("cookie", &cookie)]).0;
    write_secret(&token, "short");
    daemon.reload(&configuration);
    eventually("the bad token is told of", Duration::from_secs(5), || daemon.log().contains("5 characters"));
    assert_eq!(with_cookie(), 200);
    write_secret(&token, "another-battery-staple");
    daemon.reload(&configuration);
    eventually("the session has ended", Duration::from_secs(5), || with_cookie() == 401);
    assert_eq!(get(daemon.url("/v1/info"), &[("authorization", "Bearer another-battery-staple")]).0, 200);
}

#[test]
fn a_place_that_waits_for_a_restart_keeps_its_token() {
    let (_folder, token) = token_file(TOKEN);
    let daemon = Daemon::start(&format!("token_file = {token:?}\n"));
    let elsewhere = format!("[api]\nlisten = \"unix:{}\"\n", daemon.state_directory().join("s").display());
    std::fs::write(daemon.configuration(), elsewhere).expect("written");
    daemon.signal("HUP");
    eventually("the reload is told of", Duration::from_secs(5), || {
        daemon.log().contains("wait for a restart")
    });
    eventually("it has ended", Duration::from_secs(5), || daemon.log().contains("reloaded"));
    assert_eq!(get(daemon.url("/v1/info"), &[]).0, 401);
}

#[test]
fn a_reload_refuses_a_token_that_the_next_start_would_not_find() {
    let daemon = Daemon::start("[streams.main]\n");
    let missing = daemon.state_directory().join("missing");
    let refused = format!("token_file = {missing:?}\n[streams.main]\n[streams.second]\n");
    daemon.reload(&refused);
    eventually("it is refused", Duration::from_secs(5), || daemon.log().contains("reload refused"));
    let written = std::fs::read_to_string(daemon.configuration()).expect("it is there");
    let line = written.lines().position(|line| line.starts_with("token_file")).expect("it has one") + 1;
    let place = format!("uplinkd.toml:{line}:14: api.token_file: cannot read");
    assert!(daemon.log().contains(&place), "{}", daemon.log());
    assert_eq!(get(daemon.url("/v1/streams/second"), &[]).0, 404, "nothing of it is taken");
    write_secret(&missing, TOKEN);
    daemon.reload(&refused);
    eventually("it is taken", Duration::from_secs(5), || daemon.log().contains("wait for a restart"));
    eventually("all of it", Duration::from_secs(5), || get(daemon.url("/v1/streams/second"), &[]).0 == 200);
}

#[test]
fn who_guesses_is_slowed_down_and_nobody_is_locked_out() {
    calmly(3, || {
        let (_folder, token) = token_file(TOKEN);
        let daemon = Daemon::start(&format!("token_file = {token:?}\n"));
        let info = |token: &str| {
            let start = Instant::now();
            let status = get(daemon.url("/v1/info"), &[("authorization", &format!("Bearer {token}"))]).0;
            (status, start.elapsed())
        };
        let login = send("POST", daemon.url("/v1/session"), &[JSON], &format!("{{\"token\": \"{TOKEN}\"}}"));
        let cookie =
            login.1["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        for _ in 0..12 {
            assert_eq!(info("wrong").0, 401);
        }
        let (status, wrong) = info("wrong");
        assert_eq!(status, 401);
        assert!(wrong >= Duration::from_secs(1), "{wrong:?}");
        let (status, right) = info(TOKEN);
        assert_eq!(status, 200, "from the same address");
        assert!(right >= Duration::from_secs(1), "a quick answer would tell: {right:?}");
        let start = Instant::now();
        assert_eq!(get(daemon.url("/v1/info"), &[("cookie", &cookie)]).0, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "a session is not slowed down");

        let guesses: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(|| info("wrong").0)).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        assert!(guesses.contains(&401) && guesses.contains(&429), "{guesses:?}");
        let told = daemon.log().matches("wrong token").count();
        assert!((1..=2).contains(&told), "told of {told} times: a guesser does not fill the log");
    });
}

/// A certificate with its key, as the configuration names them.
fn tls(folder: &Path, name: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/tls");
    for kind in ["crt", "key"] {
        std::fs::copy(source.join(format!("{name}.{kind}")), folder.join(format!("api.{kind}")))
            .expect("copied");
    }
    std::fs::set_permissions(folder.join("api.key"), PermissionsExt::from_mode(0o600))
        .expect("for nobody else");
    let (certificate, key) = (folder.join("api.crt"), folder.join("api.key"));
    format!("tls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n")
}

/// The status that a client gets which trusts the certificate of that name.
fn over_tls(daemon: &Daemon, trusted: &str, token: &Path) -> Result<u16, ClientError> {
    let trusted = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/daemon/tls/{trusted}.crt"));
    let token = Token::load(&SecretFile::Path(token.to_owned())).expect("a token");
    let client = Client::at(&format!("https://{}", daemon.address()), Some(token), &trusted)?;
    let answer = Runtime::new().expect("a runtime").block_on(client.ask("GET", "/v1/info", None))?;
    Ok(answer.status)
}

#[test]
fn tls_is_spoken_and_its_certificate_changes_at_a_reload() {
    let (folder, token) = token_file(TOKEN);
    let configuration = format!("token_file = {token:?}\n{}", tls(folder.path(), "first"));
    let daemon = Daemon::start(&configuration);
    assert_eq!(over_tls(&daemon, "first", &token).expect("an answer"), 200);
    assert!(matches!(over_tls(&daemon, "second", &token), Err(ClientError::Unreachable { .. })));
    let plain =
        crate::hostile::exchange(daemon.address(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");

    std::fs::write(folder.path().join("api.key"), "nothing").expect("written");
    daemon.reload(&configuration);
    eventually("the bad key is told of", Duration::from_secs(5), || {
        daemon.log().contains("holds no private key")
    });
    assert_eq!(over_tls(&daemon, "first", &token).expect("an answer"), 200);
    tls(folder.path(), "second");
    daemon.reload(&configuration);
    eventually("the new certificate is shown", Duration::from_secs(5), || {
        over_tls(&daemon, "second", &token).is_ok_and(|status| status == 200)
    });
    assert!(over_tls(&daemon, "first", &token).is_err());
}

#[test]
fn a_flood_of_handshakes_is_held_back_and_its_neighbours_get_in() {
    calmly(3, || {
        let (folder, token) = token_file(TOKEN);
        let configuration = format!("token_file = {token:?}\n{}", tls(folder.path(), "first"));
        let daemon = Daemon::start(&configuration);
        let flood = Duration::from_secs(4);
        let answered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| greetings_answered(daemon.address(), flood))).collect();
            std::thread::sleep(Duration::from_secs(1));
            for _ in 0..5 {
                let start = Instant::now();
                assert_eq!(over_tls(&daemon, "first", &token).expect("an answer"), 200);
                assert!(
                    start.elapsed() < Duration::from_secs(2),
                    "the owner waits for {:?}",
                    start.elapsed()
                );
            }
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        // Thirty at once and ten a second; those that began to wait before the end are answered after it.
        assert!((30..=100).contains(&answered), "{answered} handshakes in {flood:?}");
    });
}

/// How many TLS handshakes the API enters upon for somebody at 127.0.0.2 who begins one after the other.
fn greetings_answered(address: &str, lasting: Duration) -> usize {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(rustls::RootCertStore::empty()) // it does not come to trust
        .with_no_client_auth();
    let config = Arc::new(config);
    let api: SocketAddr = address.parse().expect("an address");
    let (mut answered, start) = (0, Instant::now());
    while start.elapsed() < lasting {
        let mut greeting = Vec::new();
        let name = "localhost".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(config.clone(), name).expect("a client");
        client.write_tls(&mut greeting).expect("a greeting");
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("another address");
        socket.connect(&api.into()).expect("connected");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        if stream.write_all(&greeting).is_ok() && stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {
            answered += 1;
        }
    }
    answered
}

#[test]
fn an_empty_body_needs_no_type_however_it_comes() {
    let daemon = Daemon::start("[streams.main]\n");
    let post = |body: &str| {
        let head = "POST /v1/streams/main/actions/stop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let answer = crate::hostile::exchange(daemon.address(), format!("{head}{body}").as_bytes());
        answer.split_whitespace().nth(1).map(str::to_owned)
    };
    let status = |code: &str| Some(code.to_owned());
    assert_eq!(post("\r\n"), status("202"));
    assert_eq!(post("Content-Length: 0\r\n\r\n"), status("202"));
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), status("202"));
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), status("415"));
    assert_eq!(post("Content-Length: 2\r\n\r\n{}"), status("415"));
}

#[test]
fn a_socket_is_for_owner_and_group_and_needs_no_token() {
    let (folder, token) = token_file(TOKEN);
    let socket = folder.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("what a killed daemon leaves behind"));
    let path = folder.path().join("uplinkd.toml");
    std::fs::write(&path, format!("[api]\nlisten = \"unix:{}\"\ntoken_file = {token:?}\n", socket.display()))
        .expect("written");
    let run = |state: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
        command.args(["run", "--config"]).arg(&path).env("STATE_DIRECTORY", state);
        command
    };
    let mut daemon = run(folder.path()).spawn().expect("uplinkd starts");
    let ask = || {
        let client =
            Client::at(&format!("unix:{}", socket.display()), None, Path::new("/")).expect("a client");
        Runtime::new()
            .expect("a runtime")
            .block_on(client.ask("GET", "/v1/info", None))
            .map(|answer| answer.status)
    };
    eventually("the socket answers", Duration::from_secs(20), || ask().is_ok_and(|status| status == 200));
    let mode = socket.metadata().expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let second = run(tempfile::tempdir().expect("a folder").path()).output().expect("uplinkd runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another daemon listens on it"), "{said}");
    assert_eq!(ask().expect("the first goes on"), 200);

    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().expect("kill runs").success());
    assert!(daemon.wait().expect("it ends").success());
    assert!(!socket.exists(), "removed at the end");
}

#[test]
fn files_of_no_use_are_mistakes_of_the_configuration() {
    let (folder, token) = token_file("too-short");
    let path = folder.path().join("uplinkd.toml");
    let public = "listen = \"0.0.0.0:0\"";
    let good = tls(folder.path(), "first");
    let mixed = good.replace("api.key", "other.key");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/tls/second.key");
    std::fs::copy(source, folder.path().join("other.key")).expect("copied");
    for (api, said) in [
        (format!("token_file = {token:?}"), "api.token.*holds 9 characters"),
        (
            "token_file = \"/nonexistent\"".to_owned(),
            "uplinkd.toml:2:14: api.token_file: cannot read /nonexistent",
        ),
        (mixed, "api.tls_key_file: .*other.key is not the key of the certificate in .*api.crt"),
        (good.replace("api.crt", "api.key"), "api.tls_certificate_file: .*api.key holds no certificate"),
        (good.replace("api.key", "api.crt"), "api.tls_key_file: .*api.crt holds no private key"),
        (public.to_owned(), "uplinkd.toml:2:10: api.listen: .*insecure = true"),
        (public.to_owned(), "uplinkd.toml:1:1: api.token_file: is missing"),
    ] {
        std::fs::write(&path, format!("[api]\n{api}\n")).expect("written");
        for command in ["run", "check-config"] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
            let program =
                if command == "run" { program.args(["run", "--config"]) } else { program.arg(command) };
            let output = program.arg(&path).output().expect("uplinkd runs");
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{printed}");
            let is_said = printed.lines().any(|line| {
                let mut rest = line;
                said.split(".*").all(|part| match rest.find(part) {
                    Some(at) => {
                        rest = &rest[at + part.len()..];
                        true
                    }
                    None => false,
                })
            });
            assert!(is_said, "{said} is not in\n{printed}");
            assert!(!printed.contains("too-short"), "{printed}");
        }
    }
}

#[test]
fn a_credential_of_systemd_is_a_token_too() {
    let (folder, _) = token_file(TOKEN);
    let path = folder.path().join("uplinkd.toml");
    std::fs::write(&path, "[api]\ntoken_file = \"credential:api.token\"\n").expect("written");
    let check = |directory: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
        command.arg("check-config").arg(&path).env_remove("CREDENTIALS_DIRECTORY");
        command.envs(directory.map(|directory| ("CREDENTIALS_DIRECTORY", directory)));
        command.output().expect("uplinkd runs")
    };
    assert_eq!(check(Some(folder.path())).status.code(), Some(0));
    let empty = tempfile::tempdir().expect("a temporary directory");
    let without = check(Some(empty.path()));
    let said = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(78), "{said}");
    assert!(said.contains("api.token_file: credential:api.token is not there: systemd has"), "{said}");
    assert_eq!(check(None).status.code(), Some(0), "the service alone can tell");
}
