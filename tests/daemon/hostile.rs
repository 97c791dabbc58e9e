//! The API under attack, while a stream is on air.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};
use crate::security::{TOKEN, token_file};
use crate::ts::check;

/// Sends this, and gives all that comes until the connection ends, however it does.
pub fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // Whoever is refused early cannot write it all.
    if let Err(error) = stream.write_all(bytes) {
        assert!(is_closed(&error), "{error}");
    }
    rest(&mut stream)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the API lets in");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if is_closed(&error) => break,
            Err(error) => panic!("not closed: {error}; so far {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn status(answer: &str) -> u16 {
    answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// A request with the token, that closes.
fn request(line: &str, more: &str) -> Vec<u8> {
    let head = "Host: localhost\r\nConnection: close\r\n";
    format!("{line} HTTP/1.1\r\n{head}Authorization: Bearer {TOKEN}\r\n{more}\r\n").into_bytes()
}

#[test]
fn attacks_are_answered_or_closed_and_the_stream_does_not_notice() {
    calmly(3, || {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "");
        let (_folder, token) = token_file(TOKEN);
        let daemon = Daemon::start(&format!("token_file = {token:?}\n{}", test_stream(port, 1000, "")));
        let bearer = format!("Bearer {TOKEN}");
        let stream = || get(daemon.url("/v1/streams/main"), &[("authorization", &bearer)]).2;
        eventually("it streams", Duration::from_secs(30), || stream()["state"] == "streaming");
        std::thread::sleep(Duration::from_secs(2));
        let quiet = stream();
        std::thread::sleep(Duration::from_secs(8));
        let (before, memory) = (stream(), daemon.resident_kib());

        let address = daemon.address();
        names_of_others(address);
        too_much(address);
        what_is_no_http(address);
        slow_ones(address);
        let idle = idle_ones(address);
        for _ in 0..10 {
            let start = Instant::now();
            assert!(stream()["id"] == "main");
            assert!(start.elapsed() < Duration::from_secs(2), "the owner waits for {:?}", start.elapsed());
        }
        let grown = daemon.resident_kib().saturating_sub(memory);
        assert!(grown < 32 * 1024, "{grown} KiB more than before");
        drop(idle);

        let after = stream();
        let rise = |from: &Value, to: &Value, pointer| {
            let number = |stream: &Value| stream.pointer(pointer).and_then(Value::as_u64);
            number(to).zip(number(from)).map(|(to, from)| to - from).unwrap_or_else(|| panic!("{to:#}"))
        };
        assert_eq!(after["outputs"][0]["connections"], 1, "the same connection: {after:#}");
        assert_eq!(rise(&before, &after, "/outputs/0/late_packets"), 0);
        assert!(rise(&before, &after, "/outputs/0/acked_bytes") > 500_000, "{after:#}");
        let dropped = |from, to| {
            let frames = rise(from, to, "/encoder/frames") as f64;
            rise(from, to, "/encoder/dropped_frames") as f64 / frames
        };
        let (without, with) = (dropped(&quiet, &before), dropped(&before, &after));
        assert!(
            with < without * 1.5 + 0.02,
            "{with:.3} of the frames dropped, and {without:.3} without attacks"
        );
        let report = check(&peer.received());
        assert_eq!((report.continuity_errors(), report.backward_timestamps()), (0, 0), "{report:#?}");
    });
}

fn names_of_others(address: &str) {
    let answer = |head: &str| {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        status(&exchange(address, request.as_bytes()))
    };
    assert_eq!(answer("GET /v1/info HTTP/1.1\r\nHost: evil.example"), 403);
    assert_eq!(answer("GET /v1/info HTTP/1.1"), 400);
    assert_eq!(answer("GET http://evil.example/ HTTP/1.1\r\nHost: localhost"), 400);
    assert_eq!(answer("GET /v1/info HTTP/1.1\r\nHost: localhost"), 401);
    let origin = "Origin: http://evil.example\r\n";
    assert_eq!(status(&exchange(address, &request("GET /v1/info", origin))), 403);
    assert_eq!(status(&exchange(address, &request("GET /v1/info", ""))), 200);
}

fn too_much(address: &str) {
    let announced = request(KEY_FRAME, &format!("{JSON}Content-Length: 104857600\r\n"));
    let refused = exchange(address, &[announced, vec![b' '; 100 * 1024 * 1024]].concat());
    assert!(refused.is_empty() || status(&refused) == 413, "{refused}");
    let chunked = request(KEY_FRAME, &format!("{JSON}Transfer-Encoding: chunked\r\n"));
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let refused = exchange(address, &[chunked, chunk.repeat(100)].concat());
    assert!(refused.is_empty() || status(&refused) == 413, "{refused}");
    let stranger =
        format!("{KEY_FRAME} HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 104857600\r\n\r\n");
    let refused = exchange(address, stranger.as_bytes());
    assert_eq!(status(&refused), 401, "not a byte of a stranger's body is waited for");
    let answer = |path: &str, headers: &str| status(&exchange(address, &request(path, headers)));
    assert_eq!(answer("GET /v1/info", &format!("X: {}\r\n", "x".repeat(20_000))), 431);
    assert_eq!(answer("GET /v1/info", &"X: y\r\n".repeat(100)), 431);
    assert!([414, 431].contains(&answer(&format!("GET /v1/{}", "x".repeat(20_000)), "")));
}

fn what_is_no_http(address: &str) {
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0\0\0",
        b"HELO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut stream = connect(address);
        stream.write_all(garbage).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let said = rest(&mut stream);
        assert!(said.is_empty() || (400..=431).contains(&status(&said)), "{garbage:?}: {said}");
    }
    let health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let pipelined = [health.repeat(50), request("GET /healthz", "")].concat();
    assert_eq!(exchange(address, &pipelined).matches("HTTP/1.1 200 OK").count(), 51);
    let mut half_closed = connect(address);
    half_closed.write_all(&request("GET /v1/info", "")).expect("sent");
    half_closed.shutdown(Shutdown::Write).expect("half closed");
    assert!([0, 200].contains(&status(&rest(&mut half_closed))));
}

/// A header and a body that never come to an end.
fn slow_ones(address: &str) {
    let start = Instant::now();
    let mut loris = connect(address);
    let mut slow_body = connect(address);
    let announced = format!("{JSON}Content-Length: 1000\r\n");
    slow_body.write_all(&request(KEY_FRAME, &announced)).expect("sent");
    slow_body.write_all(b"{").expect("sent");
    let mut sent = 0;
    let dripped =
        b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in dripped {
        if start.elapsed() > PATIENCE || loris.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(sent > 10 && start.elapsed() < PATIENCE, "{sent} bytes in {:?}", start.elapsed());
    assert_eq!(status(&rest(&mut slow_body)), 408);
}

/// A thousand who only sit there.
fn idle_ones(address: &str) -> Vec<TcpStream> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("as many as are allowed");
    let sit = |number| {
        let mut stream = connect(address);
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/info HTTP/1.1\r\nHost: loc").unwrap_or_default(); // or out already
        }
        stream
    };
    (0..1000).map(sit).collect()
}

#[test]
fn secrets_are_in_no_answer_and_in_no_log() {
    let port = free_port();
    let passphrase = "open-sesame-and-more";
    let _peer = Peer::srt_live_transmit(port, &format!("&passphrase={passphrase}&pbkeylen=16"));
    let (folder, token) = token_file(TOKEN);
    let file = folder.path().join("studio.pass");
    std::fs::write(&file, passphrase).expect("written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("for nobody else");
    let configuration = format!(
        "token_file = {token:?}\n[log]\nlevel = \"trace\"\n{}",
        test_stream(port, 300, &format!("passphrase_file = {file:?}\n"))
    );
    let daemon = Daemon::start(&configuration);
    let right = format!("Bearer {TOKEN}");
    let mut said = String::new();
    let mut ask = |method: &str, path: &str, body: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {right}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = connect(daemon.address());
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a time limit"); // events do not end
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..read]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 "), "{method} {path}: {answer}");
        said.push_str(&answer);
    };
    std::thread::sleep(Duration::from_secs(3));
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/info",
        "/v1/capabilities",
        "/v1/devices",
        "/v1/openapi.json",
        "/v1/streams",
        "/v1/streams/main",
        "/v1/streams/main/rate",
        "/v1/streams/main/rate?format=recording",
        "/v1/streams/main/snapshot.jpg",
        "/v1/config",
        "/v1/events",
        "/v1/session",
        "/v1/nothing",
    ] {
        ask("GET", path, "");
    }
    for action in ["keyframe", "restart", "stop", "start", "nothing"] {
        ask("POST", &format!("/v1/streams/main/actions/{action}"), "");
    }
    let login = format!("{{\"token\": \"{TOKEN}\"}}");
    for (method, path, body) in [
        ("POST", "/v1/session", login.as_str()),
        ("POST", "/v1/session", r#"{"token": "correct-horse-battery-stapler"}"#),
        ("DELETE", "/v1/session", ""),
        ("PATCH", "/v1/streams/main", r#"{"rate": {"max_kbps": 1500}}"#),
        ("POST", "/v1/config/check", "nothing"),
    ] {
        ask(method, path, body);
    }
    daemon.reload(&configuration);
    std::thread::sleep(Duration::from_secs(1));
    let log = daemon.log();
    assert!(log.contains("reloaded"), "{log}");
    for secret in [TOKEN, passphrase, "Y29ycmVjdC1ob3JzZS"] {
        assert!(!said.contains(secret), "an answer holds a secret");
        assert!(!log.contains(secret), "the log holds a secret");
    }
}

const KEY_FRAME: &str = "POST /v1/streams/main/actions/keyframe";

const JSON: &str = "Content-Type: application/json\r\n";

/// Three times what anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);
