//! What an owner types first: `uplinkd demo` on a machine whose encoders nobody has tried yet, and `uplinkd
//! check-config` and `uplinkd ctl` as a user who may not read the daemon's secrets.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calm;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use self::calm::calmly;

/// Probes of this machine's encoders take longer than the two seconds that are asked for.
#[test]
fn the_time_begins_when_encoders_have_been_tried() {
    calmly(3, || {
        let state = tempfile::tempdir().unwrap();
        let output = demo(&["--seconds", "2"], state.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("00:00 starting   trying "), "{said}");
        assert!(said.contains("\n2 seconds with ") && said.contains("verdict  clean"), "{said}");
        assert!(state.path().join("encoders.json").is_file(), "they were tried");
    });
}

#[test]
fn a_source_that_is_not_there_is_the_reason() {
    calmly(3, || {
        let state = tempfile::tempdir().unwrap();
        let output = demo(&["--seconds", "2", "--source", "/nonexistent.mp4", "--json"], state.path());
        assert_eq!(output.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let defects = told["defects"].to_string();
        assert!(defects.contains("/nonexistent.mp4") && !defects.contains("nothing arrived"), "{told:#}");
    });
}

#[test]
fn a_passphrase_of_no_use_is_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("studio.pass");
    let config = config(folder.path(), &stream(&secret));
    let check = |code: i32, says: &str| {
        let output = uplinkd().arg("check-config").arg(&config).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let key = ": streams.main.outputs[studio].passphrase_file: ";
        assert!(says.is_empty() || said.contains(&format!("{key}{says}")), "{said}");
        assert!(!said.contains("horse"), "{said}");
    };
    check(78, &format!("cannot read the passphrase file {}: ", secret.display()));
    fs::write(&secret, "horse\n").unwrap();
    check(78, &format!("cannot use the passphrase in {}: has 5 bytes", secret.display()));
    fs::write(&secret, "correct horse\n").unwrap();
    check(0, "");
}

#[test]
fn all_files_of_no_use_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[api]\ntoken_file = \"/no/token\"\ntls_certificate_file = \"/no/crt\"\ntls_key_file = \"/no/key\"\n\
                [mqtt]\nurl = \"mqtts://localhost\"\nusername = \"a\"\npassword_file = \"/no/password\"\n\
                tls_ca_file = \"/no/ca\"\ntls_certificate_file = \"/no/mqtt.crt\"\ntls_key_file = \"/no/mqtt.key\"\n";
    let config = config(folder.path(), &(text.to_owned() + &stream(Path::new("/no/passphrase"))));
    let output = uplinkd().arg("check-config").arg(&config).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    for place in [
        "2:14: api.token_file: cannot read /no/token",
        "3:24: api.tls_certificate_file: cannot read /no/crt",
        "4:16: api.tls_key_file: cannot read /no/key",
        "8:17: mqtt.password_file: cannot read /no/password",
        "9:15: mqtt.tls_ca_file: cannot read /no/ca",
        "10:24: mqtt.tls_certificate_file: cannot read /no/mqtt.crt",
        "11:16: mqtt.tls_key_file: cannot read /no/mqtt.key",
        "19:19: streams.main.outputs[studio].passphrase_file: cannot read the passphrase file /no/passphrase",
    ] {
        assert_eq!(told.matches(&format!("uplinkd.toml:{place}")).count(), 1, "{place}: {told}");
    }
}

#[test]
fn secrets_of_root_alone_are_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
        path
    };
    let (token, password) = (secret("token", "0123456789abcdef\n"), secret("password", "correct horse\n"));
    let (passphrase, key) = (secret("pass", "correct horse\n"), secret("key", ""));
    let certificate = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/tls/first.crt");
    let api = format!(
        "[api]\ntoken_file = {token:?}\ntls_certificate_file = {certificate:?}\ntls_key_file = {key:?}\n\
         [mqtt]\nurl = \"mqtt://localhost\"\nusername = \"a\"\npassword_file = {password:?}\n"
    );
    let text = api + &stream(&passphrase);
    let config = config(folder.path(), &text);
    let output = powerless().arg("check-config").arg(&config).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for (key, path) in [
        ("api.token_file", &token),
        ("api.tls_key_file", &key),
        ("mqtt.password_file", &password),
        ("streams.main.outputs[studio].passphrase_file", &passphrase),
    ] {
        let warning = format!(": warning: {key}: this user may not read {}", path.display());
        assert!(told.lines().any(|line| line.contains(&warning) && line.ends_with("with sudo")), "{told}");
        let name = key.rsplit('.').next().unwrap();
        let line = text.lines().position(|line| line.starts_with(&format!("{name} = "))).unwrap() + 1;
        assert!(told.contains(&format!("uplinkd.toml:{line}:{}{warning}", name.len() + 4)), "{line}: {told}");
    }
    assert!(!told.contains("head -c 32"), "a good token is not to be written over: {told}");

    // What else is wrong still is, and ctl cannot do without the token.
    let wrong = fs::read_to_string(&config).unwrap().replace("first.crt", "none.crt");
    fs::write(&config, wrong).unwrap();
    let output = powerless().arg("check-config").arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("api.tls_certificate_file: cannot read "), "{}", said(&output));
    let output = powerless().args(["ctl", "--config"]).arg(&config).arg("status").output().unwrap();
    assert_not_permitted(&output, &format!("this user may not read {}; run this with sudo", token.display()));
    let mut named = powerless();
    named.args(["ctl", "--url", "http://127.0.0.1:1", "--token-file"]).arg(&token).arg("status");
    assert_not_permitted(&named.output().unwrap(), "run this with sudo");
}

#[test]
fn credentials_of_the_service_are_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "[api]\ntoken_file = \"credential:api.token\"\n");
    let output = uplinkd().arg("check-config").arg(&config).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("warning: api.token_file: only the service is given credential:api.token"),
        "{told}"
    );
    let output = uplinkd().args(["ctl", "--config"]).arg(&config).arg("status").output().unwrap();
    assert_not_permitted(
        &output,
        "only the service is given credential:api.token; name the daemon with --url",
    );
}

fn assert_not_permitted(output: &Output, says: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains(says) && !said.contains("head -c 32"), "{said}");
}

fn config(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("uplinkd.toml");
    fs::write(&path, text).unwrap();
    path
}

fn stream(passphrase: &Path) -> String {
    format!(
        "[streams.main]\nenabled = true\nvideo.source = \"test\"\naudio.source = \"test\"\n\
         [[streams.main.outputs]]\nname = \"studio\"\nurl = \"srt://127.0.0.1:9000\"\n\
         passphrase_file = {passphrase:?}\n"
    )
}

fn uplinkd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("UPLINKD_URL");
    command
}

/// The program as somebody whom a file's mode keeps out: root without the power to pass over it.
fn powerless() -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return uplinkd();
    }
    let powers = "-dac_override,-dac_read_search";
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", powers, "--inh-caps", powers, env!("CARGO_BIN_EXE_uplinkd")]);
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("UPLINKD_URL");
    command
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

fn demo(arguments: &[&str], state: &Path) -> Output {
    uplinkd().arg("demo").args(arguments).env("STATE_DIRECTORY", state).output().unwrap()
}
