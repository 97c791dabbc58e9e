//! Secrets that belong to root alone: the service cannot open them, and reads what systemd has handed over.

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
fn a_secret_that_the_service_cannot_have_is_told_before_it_starts() {
    let script = "
        ours=$(mktemp -d); cp -a /etc/. $ours 2>&- || true; mkdir -p $ours/uplinkd/secrets
        echo correct-horse-battery-staple >$ours/uplinkd/secrets/studio.pass
        cp $ours/uplinkd/secrets/studio.pass $ours/studio.pass; chmod 600 $ours/studio.pass $ours/uplinkd/secrets/*
        echo \"$CONFIGURATION\" >$ours/uplinkd/uplinkd.toml
        mount --bind $ours /etc; status=0; \"$0\" \"$@\" || status=$?; umount /etc; rm -r $ours; exit $status";
    let said = |passphrase: &str| {
        let mut command = apart("-rm", script)?;
        let stream = test_stream(9000, 300, &format!("passphrase_file = \"{passphrase}\"\n"));
        let output = command.arg("check-config").env("CONFIGURATION", stream).output().expect("it runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("good, for this machine too"), "{said}");
        Some(said)
    };
    let Some(there) = said("/etc/uplinkd/secrets/studio.pass") else { return };
    assert!(!there.contains("warning"), "{there}");
    let elsewhere = said("/etc/studio.pass").expect("as before");
    assert!(
        elsewhere.contains("outputs[studio].passphrase_file: only root may read /etc/studio.pass"),
        "{elsewhere}"
    );
}
