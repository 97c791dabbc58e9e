//! `[mqtt]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::{Mqtt, MqttUrl, MqttVersion};
use super::convert::{self, Value};
use super::files;
use super::host::{self, Host, Parts, Spelling};
use super::report::{Complaint, Complaints};
use super::section::Section;

/// `Some(None)` where the section is not there: nothing is told to a broker.
pub(super) fn read(mut section: Section<'_>) -> Option<Option<Mqtt>> {
    if section.is_absent() {
        return Some(None);
    }
    let url = section.required("url", url, &format!("write url = {EXAMPLE}"));
    let version = section.read("version", version).or(MqttVersion::Auto);
    let topic_prefix = section.read("topic_prefix", topic_prefix).or(DEFAULT_PREFIX.to_owned());
    let id = section.read("id", level).optional();
    let client_id = section.read("client_id", one_line).optional();
    let username = section.read("username", one_line).optional();
    let password_file = section.read("password_file", files::secret).optional();
    let tls_ca_file = section.read("tls_ca_file", convert::path).optional();
    let tls = files::tls(&mut section);
    let insecure = section.read("insecure", convert::boolean).or(false);
    let commands = section.read("commands", convert::boolean).or(false);
    let interval =
        section.read("interval_s", |value| convert::seconds(value, INTERVAL_S)).or(DEFAULT_INTERVAL);

    if let (Some(None), Some(Some(_))) = (&username, &password_file) {
        let fix = "write username = \"…\", whose password it is";
        section.complain("password_file", Complaint::new("is set, but without a username", fix));
    }
    if let Some(url) = url.as_ref().filter(|url| !url.tls) {
        for (key, is_given) in [
            ("tls_ca_file", matches!(tls_ca_file, Some(Some(_)))),
            ("tls_certificate_file", matches!(tls, Some(Some(_)))),
        ] {
            if is_given {
                let fix = "write mqtts:// in the url, or remove it";
                section.complain(key, Complaint::new("is for TLS, and the url begins with mqtt://", fix));
            }
        }
        let in_clear = match (&password_file, commands) {
            (Some(Some(_)), _) => Some("the password would go there in clear"),
            (_, Some(true)) => Some("whoever is on the way could give commands"),
            _ => None,
        };
        if let (false, Some(false), Some(risk)) = (url.is_loopback(), insecure, in_clear) {
            let fix = "write mqtts:// in the url, or accept that with insecure = true";
            section.complain("url", Complaint::new(format!("is another machine, without TLS: {risk}"), fix));
        }
    }
    section.finish();
    Some(Some(Mqtt {
        url: url?,
        version: version?,
        topic_prefix: topic_prefix?,
        id: id?,
        client_id: client_id?,
        username: username?,
        password_file: password_file?,
        tls_ca_file: tls_ca_file?,
        tls: tls?,
        insecure: insecure?,
        commands: commands?,
        interval: interval?,
    }))
}

fn url(value: &Value<'_>) -> Result<MqttUrl, Complaints> {
    let text = convert::text(value)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Complaint::new("is no MQTT address", format!("write {EXAMPLE}")).into());
    };
    let tls = match scheme.to_lowercase().as_str() {
        "mqtt" => false,
        "mqtts" => true,
        "tcp" => {
            return Err(Complaint::new("begins with tcp://", "write mqtt:// in its place").into());
        }
        "ssl" | "tls" => {
            return Err(
                Complaint::new(format!("begins with {scheme}://"), "write mqtts:// in its place").into()
            );
        }
        "ws" | "wss" => {
            let message = "asks for MQTT over WebSocket, which is not spoken here";
            return Err(Complaint::new(message, format!("write {EXAMPLE}")).into());
        }
        _ => return Err(Complaint::new("begins with another protocol", format!("write {EXAMPLE}")).into()),
    };
    let mut complaints = Vec::new();
    let (user, address) = match rest.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, rest),
    };
    if let Some(user) = user {
        complaints.push(match user.contains(':') {
            true => Complaint::new(
                "has a password in it",
                "remove everything before and with the @, write username = \"…\", and the password alone into a \
                 file, with password_file = \"/its/path\": this file, and every view of it, stays without secrets",
            ),
            false => Complaint::new(
                "has a user in it, who has a key of his own",
                "remove everything before and with the @, and write username = \"…\"",
            ),
        });
    }
    let address = match address.split_once(['/', '?', '#']) {
        Some((address, "")) => address,
        Some((address, _)) => {
            let fix = "write host and port alone, and what topics begin with as topic_prefix";
            complaints.push(Complaint::new("has something behind its host", fix));
            address
        }
        None => address,
    };
    let Parts { host, port } = match host::split(address, &SPELLING) {
        Ok(parts) => parts,
        Err(complaint) => {
            complaints.push(complaint);
            return Err(Complaints(complaints));
        }
    };
    let host = match host {
        Host::Given(host) => host,
        Host::Missing => Err(Complaint::new("names no host", format!("write {EXAMPLE}"))),
    };
    let host = host.map_err(|complaint| complaints.push(complaint)).ok();
    let port =
        port.unwrap_or(Ok(MqttUrl::usual_port(tls))).map_err(|complaint| complaints.push(complaint)).ok();
    match (host, port, complaints.is_empty()) {
        (Some(host), Some(port), true) => Ok(MqttUrl { host, port, tls }),
        _ => Err(Complaints(complaints)),
    }
}

/// The words, and the numbers that people write without quotes.
fn version(value: &Value<'_>) -> Result<MqttVersion, Complaint> {
    match value.contents {
        toml::de::DeValue::Integer(number) if number.as_str() == "5" => Ok(MqttVersion::V5),
        toml::de::DeValue::Integer(number) if ["3", "4"].contains(&number.as_str()) => {
            Err(Complaint::new("is no version that is spoken here", "write version = \"3.1.1\""))
        }
        toml::de::DeValue::Float(_) => {
            Err(Complaint::new("is a number, not a text", "write version = \"3.1.1\" or \"5\""))
        }
        _ => convert::word(value),
    }
}

/// Some levels of a topic.
fn topic_prefix(value: &Value<'_>) -> Result<String, Complaint> {
    let text = convert::text(value)?;
    let fix = "write topic_prefix = \"uplinkd\", or several levels, such as \"site/studio\"";
    if text.len() > LONGEST_PREFIX {
        return Err(Complaint::new(format!("has more than {LONGEST_PREFIX} bytes"), "write a shorter one"));
    }
    if text.starts_with('$') {
        return Err(Complaint::new("begins with $, and so is the broker's own", fix));
    }
    match text.split('/').all(is_level) {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new("has an empty level, or a character that topics have not (+, #)", fix)),
    }
}

/// One level of a topic.
fn level(value: &Value<'_>) -> Result<String, Complaint> {
    let text = convert::text(value)?;
    let fix = "write id = \"encoder-7\", for instance: this machine's name in topics";
    match is_level(text) && !text.contains('/') && text.len() <= LONGEST_ID {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new("is not one level of a topic: 1 to 64 bytes, without /, + and #", fix)),
    }
}

fn is_level(text: &str) -> bool {
    !text.is_empty() && !text.contains(['+', '#']) && !text.contains(char::is_control)
}

fn one_line(value: &Value<'_>) -> Result<String, Complaint> {
    let text = convert::text(value)?;
    match (1..=LONGEST_ID).contains(&text.len()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => {
            Err(Complaint::new("is not 1 to 64 bytes in one line", format!("write another {}", value.key)))
        }
    }
}

const EXAMPLE: &str = "\"mqtts://HOST\", such as \"mqtts://broker.example.net\"";

const SPELLING: Spelling = Spelling { example: EXAMPLE, ipv6: "mqtts://[2001:db8::1]:8883" };

const DEFAULT_PREFIX: &str = "uplinkd";

/// Seconds. More often is a metric's business; an hour is the longest that a broker's owner would take for alive.
const INTERVAL_S: RangeInclusive<i64> = 1..=3600;

/// A fleet of a thousand boxes makes a hundred messages a second of it.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes. A topic has 65535; ours stay readable.
const LONGEST_PREFIX: usize = 128;

/// Bytes: a host name's label has 63.
const LONGEST_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::super::parse;
    use super::*;

    fn section(text: &str) -> Result<Mqtt, String> {
        parse(&format!("[mqtt]\n{text}")).map(|config| config.mqtt.unwrap()).map_err(|all| all.to_string())
    }

    #[test]
    fn without_the_section_there_is_no_broker() {
        assert_eq!(parse("").unwrap().mqtt, None);
        assert!(section("").unwrap_err().contains("mqtt.url: is missing"));
    }

    #[test]
    fn urls_have_a_host_and_the_usual_port() {
        for (text, host, port, tls) in [
            ("mqtt://broker.example.net", "broker.example.net", 1883, false),
            ("mqtts://Broker:8884/", "broker", 8884, true),
            ("MQTTS://[2001:db8::1]", "2001:db8::1", 8883, true),
            ("mqtt://127.0.0.1:1", "127.0.0.1", 1, false),
        ] {
            let url = section(&format!("url = {text:?}")).unwrap().url;
            assert_eq!((url.host.as_str(), url.port, url.tls), (host, port, tls), "{text}");
            assert_eq!(section(&format!("url = \"{url}\"")).unwrap().url, url);
        }
    }

    #[test]
    fn secrets_and_commands_go_in_clear_only_where_that_was_accepted() {
        let secret = "username = 'a'\npassword_file = '/b'";
        for (url, more, is_good) in [
            ("mqtt://192.0.2.1", "", true),
            ("mqtt://192.0.2.1", secret, false),
            ("mqtt://192.0.2.1", "commands = true", false),
            ("mqtt://192.0.2.1", "commands = true\ninsecure = true", true),
            ("mqtt://localhost", secret, true),
            ("mqtt://[::1]", "commands = true", true),
            ("mqtts://192.0.2.1", secret, true),
        ] {
            let read = section(&format!("url = {url:?}\n{more}"));
            assert_eq!(read.is_ok(), is_good, "{url} {more}: {read:?}");
        }
    }
}
