//! Secrets that belong to root alone: the service cannot open them, and reads what systemd has handed over.

use std::fs;
use std::time::Duration;

use crate::apart::apart;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};

/// As systemd would, each under its name with `secret_` before it; what lies in /etc nobody can open, with root's
/// rights over all files taken away.
const HANDED_OVER: &str = "
    ours=$STATE_DIRECTORY/etc; CREDENTIALS_DIRECTORY=$STATE_DIRECTORY/handed-over; export CREDENTIALS_DIRECTORY
    mkdir $ours $CREDENTIALS_DIRECTORY; cp -a /etc/. $ours 2>&- || true
    secrets=$ours/uplinkd/secrets; mkdir -p $secrets
    cp $TESTS/daemon/tls/first.crt $secrets/api.crt; cp $TESTS/daemon/tls/first.key $secrets/api.key
    cp $TESTS/mqtt/tls/authority.crt $TESTS/mqtt/tls/encoder.crt $TESTS/mqtt/tls/encoder.key $secrets
    for name in api.token mqtt.pass studio.pass; do echo correct-horse-battery-staple >$secrets/$name; done
    for file in $secrets/*; do cp $file $CREDENTIALS_DIRECTORY/secret_${file##*/}; chmod 0 $file; done
    echo correct-horse-battery-staple >$ours/api.token; chmod 0 $ours/api.token
    touch $secrets/new.pass $secrets/not-there-yet; chmod 0 $secrets/*
    mount --bind $ours /etc
    exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";

#[test]
fn every_file_that_a_configuration_may_name_is_read_where_systemd_has_put_it() {
    calmly(3, || {
        let Some(mut command) = apart("-rm", HANDED_OVER) else { return };
        command.env("TESTS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"));
        let (port, nobody) = (free_port(), free_port());
        let _peer = Peer::srt_live_transmit(port, "&passphrase=correct-horse-battery-staple&pbkeylen=32");
        let secret = |key: &str, name: &str| format!("{key} = \"/etc/uplinkd/secrets/{name}\"\n");
        let configuration = [
            secret("token_file", "api.token"),
            secret("tls_certificate_file", "api.crt"),
            secret("tls_key_file", "api.key"),
            format!("[mqtt]\nurl = \"mqtts://127.0.0.1:{nobody}\"\nusername = \"encoder\"\n"),
            secret("password_file", "mqtt.pass"),
            secret("tls_ca_file", "authority.crt"),
            secret("tls_certificate_file", "encoder.crt"),
            secret("tls_key_file", "encoder.key"),
            test_stream(port, 300, &secret("passphrase_file", "studio.pass")),
        ];
        let daemon = Daemon::start_as(command, &configuration.concat());
        for told in ["api=https://", "event=output_connected", "event=mqtt_lost"] {
            eventually(told, Duration::from_secs(10), || daemon.log().contains(told));
        }
        let log = daemon.log();
        assert!(log.contains("onnection refused") && !log.contains("ermission denied"), "{log}");
    });
}

#[test]
fn a_reload_takes_what_a_start_would_find_and_nothing_else() {
    calmly(3, || {
        let Some(mut command) = apart("-rm", HANDED_OVER) else { return };
        command.env("TESTS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"));
        let daemon = Daemon::start_as(command, "token_file = \"/etc/uplinkd/secrets/api.token\"\n");
        let reload = |api: &str, told: &str| {
            let before = daemon.log().len();
            fs::write(daemon.configuration(), format!("[api]\n{api}\n"))
                .expect("the configuration is written");
            daemon.signal("HUP");
            let said = || daemon.log()[before..].to_owned();
            eventually(told, Duration::from_secs(10), || said().contains(told));
            said()
        };
        let ends = [
            ("unix:/proc/api.sock", "cannot listen on the socket /proc/api.sock: Permission"),
            ("127.0.0.1:80", "cannot listen on 127.0.0.1:80: Permission"),
        ];
        for (place, told) in ends {
            reload(&format!("listen = \"{place}\""), told);
        }
        let (waits, refused) = ("wait for a restart", "reload refused");
        for name in ["/etc/uplinkd/secrets/not-there-yet", "credential:not-there-yet"] {
            let said = reload(&format!("token_file = \"{name}\""), waits);
            assert!(!said.contains(refused), "systemd may hand it over at the next start: {said}");
        }
        let said = reload("token_file = \"/etc/api.token\"", refused);
        assert!(
            said.contains("api.token_file: this user may not read /etc/api.token; move it to "),
            "{said}"
        );
        let tls = "token_file = \"/etc/uplinkd/secrets/not-there-yet\"\ntls_certificate_file = \"/nowhere.crt\"\n\
                   tls_key_file = \"/etc/uplinkd/secrets/not-there-yet\"";
        let said = reload(tls, refused);
        assert!(said.contains(":3:24: api.tls_certificate_file: cannot read /nowhere.crt"), "{said}");
    });
}

#[test]
fn what_systemd_has_handed_over_is_as_old_as_the_service_and_that_is_said() {
    calmly(3, || {
        let Some(mut command) = apart("-rm", HANDED_OVER) else { return };
        command.env("TESTS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"));
        let token = "token_file = \"/etc/uplinkd/secrets/api.token\"\n";
        let new = test_stream(free_port(), 300, "passphrase_file = \"/etc/uplinkd/secrets/new.pass\"\n");
        let daemon = Daemon::start_as(command, &format!("{token}{new}"));
        let told = "systemd has not handed over the passphrase file /etc/uplinkd/secrets/new.pass: look whether it is there, \
                    and then `sudo systemctl restart uplinkd`";
        eventually(told, Duration::from_secs(10), || daemon.log().contains(told));
        daemon.signal("HUP");
        let told = "what systemd has handed over is as old as the service";
        eventually(told, Duration::from_secs(10), || daemon.log().contains(told));
    });
}

#[test]
fn a_secret_that_the_service_cannot_have_is_told_before_it_starts() {
    let script = "
        ours=$(mktemp -d); cp -a /etc/. $ours 2>&- || true; chmod 755 $ours; mkdir -p $ours/uplinkd/secrets $ours/closed
        cd $ours/uplinkd/secrets
        echo correct-horse-battery-staple >studio.pass
        cp studio.pass .hidden; ln -s studio.pass link; cp studio.pass ../../studio.pass; cp studio.pass ../../open.pass
        cp studio.pass ../../closed; chmod 600 studio.pass ../../studio.pass; chmod 700 ../../closed; cd /
        echo \"$CONFIGURATION\" >$ours/uplinkd/uplinkd.toml
        mount --bind $ours /etc; status=0; \"$0\" \"$@\" || status=$?; umount /etc; rm -r $ours; exit $status";
    let check = |path: &str, configuration: &str| {
        let mut command = apart("-rm", script)?;
        let output = command.args(["check-config", path]).env("CONFIGURATION", configuration).output();
        let output = output.expect("it runs");
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(output.status.success() && said.contains("good, for this machine too"), "{said}");
        Some(said)
    };
    let passphrase = |path: &str| test_stream(9000, 300, &format!("passphrase_file = \"{path}\"\n"));
    let own = "/etc/uplinkd/uplinkd.toml";
    let Some(there) = check(own, &passphrase("/etc/uplinkd/secrets/studio.pass")) else { return };
    assert!(!there.contains("warning"), "{there}");
    for (path, trouble) in [
        ("/etc/studio.pass", "may not read /etc/studio.pass; move it to /etc/uplinkd/secrets"),
        ("/etc/closed/studio.pass", "may not read /etc/closed/studio.pass, for /etc/closed is closed; "),
        ("/etc/uplinkd/secrets/link", "/etc/uplinkd/secrets/link is a link, and systemd"),
        ("/etc/uplinkd/secrets/.hidden", "/etc/uplinkd/secrets/.hidden is hidden, and systemd"),
    ] {
        for configuration in [own, "/etc/uplinkd/../uplinkd/uplinkd.toml"] {
            let said = check(configuration, &passphrase(path)).expect("as before");
            let told = said
                .lines()
                .any(|line| line.contains("outputs[studio].passphrase_file: ") && line.contains(trouble));
            assert!(told, "{trouble}: {said}");
        }
    }
    let umlaut = script.replace("chmod 600", "cp studio.pass büro.pass; chmod 600");
    let output = apart("-rm", &umlaut)
        .expect("as before")
        .args(["check-config", own])
        .env("CONFIGURATION", "")
        .output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("/etc/uplinkd/secrets/büro.pass: systemd takes no file of this name"), "{said}");
    let open = check(own, &passphrase("/etc/open.pass")).expect("as before");
    assert!(!open.contains("warning"), "{open}");
    let listen = check(own, "[api]\nlisten = \"127.0.0.1:443\"\n").expect("as before");
    assert!(
        listen.contains("toml:2:10: warning: api.listen: the service may not listen on port 443"),
        "{listen}"
    );
}
