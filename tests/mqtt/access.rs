//! Passwords and certificates: what is wrong is said, and no secret with it.

use std::fs;
use std::path::Path;

use crate::broker::{Broker, IDLE, SOON, shown, wait_until_connected};
use crate::calm::calmly;
use crate::harness::{Daemon, eventually};

fn certificate(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/tls").join(name).display().to_string()
}

fn wait_for_reason(daemon: &Daemon, part: &str) {
    eventually(&format!("a reason with {part:?} in place of {}", shown(daemon)), SOON, || {
        shown(daemon)["reason"].as_str().is_some_and(|reason| reason.contains(part))
    });
}

#[test]
fn a_wrong_password_is_told_and_a_right_one_taken_at_a_reload() {
    calmly(3, || {
        let users = password_file("encoder", "correct horse");
        let lines = "allow_anonymous false\npassword_file DIR/users\n";
        let broker = Broker::start_with(lines, &[("users", &users)]);
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("password");
        fs::write(&file, "battery staple\n").expect("the file is written");
        for version in ["5", "3.1.1"] {
            fs::write(&file, "battery staple\n").expect("the file is written");
            let section = broker.section(&format!(
                "version = {version:?}\nusername = \"encoder\"\npassword_file = {file:?}\n"
            ));
            let daemon = Daemon::start(&format!("{section}{IDLE}"));
            wait_for_reason(&daemon, "username or password is wrong");
            fs::write(&file, "correct horse\n").expect("the file is written");
            daemon.signal("HUP");
            wait_until_connected(&daemon);
            let told = format!("{}{}", daemon.log(), effective(&daemon));
            assert!(!told.contains("horse") && !told.contains("staple"), "{told}");
        }
    });
}

#[test]
fn tls_is_spoken_with_the_right_broker_and_with_a_certificate_where_it_wants_one() {
    calmly(3, || {
        let [crt, key, known] = ["first.crt", "first.key", "second.crt"].map(certificate);
        let lines = format!(
            "allow_anonymous true\ncertfile {crt}\nkeyfile {key}\ncafile {known}\nrequire_certificate true\n"
        );
        let broker = Broker::start_with(&lines, &[]);
        let section = |authority: &str, own: &str| {
            let section = broker.section("").replace("mqtt://127.0.0.1", "mqtts://localhost");
            format!("{section}tls_ca_file = {authority:?}\n{own}{IDLE}")
        };
        let own = format!(
            "tls_certificate_file = {:?}\ntls_key_file = {:?}\n",
            certificate("second.crt"),
            certificate("second.key")
        );
        let daemon = Daemon::start(&section(&known, &own));
        wait_for_reason(&daemon, "from an authority that is not known here");
        daemon.reload(&section(&crt, ""));
        wait_for_reason(&daemon, "misses one");
        daemon.reload(&section(&crt, &own));
        wait_until_connected(&daemon);
    });
}

fn effective(daemon: &Daemon) -> String {
    let mut response = ureq::get(daemon.url("/v1/config")).call().expect("the API answers");
    response.body_mut().read_to_string().expect("text")
}

fn password_file(user: &str, password: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("users");
    let status = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&file)
        .args([user, password])
        .status()
        .expect("mosquitto_passwd starts");
    assert!(status.success());
    fs::read_to_string(file).expect("the file is read")
}
