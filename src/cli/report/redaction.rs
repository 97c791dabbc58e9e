//! What must not leave the machine, taken out of whatever is to leave it.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::secret;
use crate::api::keys::Token;
use crate::config::{Config, SecretFile};
use crate::mqtt::access::{self, Password};
use crate::secrets;

/// Texts that are replaced wherever they stand.
#[derive(Debug, Default)]
pub struct Redaction {
    /// The longest first: one may be part of another.
    secrets: Vec<String>,
}

impl Redaction {
    /// Of everything that this configuration keeps secret: what is in the files that it names, as far as they can be
    /// read by who runs this, and its stream ids, which many receivers take as a password.
    pub fn of(config: Option<&Config>) -> Self {
        let mut secret_texts = BTreeSet::new();
        if let Some(config) = config {
            secret_texts.extend(config.api.token_file.iter().filter_map(token));
            let password =
                config.mqtt.as_ref().and_then(|mqtt| mqtt.password_file.as_ref()).and_then(password);
            secret_texts.extend(password);
            for output in config.streams.values().flat_map(|stream| &stream.outputs) {
                secret_texts
                    .extend(output.passphrase_file.iter().filter_map(|path| secret(&secrets::locate(path))));
                secret_texts.extend(output.stream_id.iter().map(|id| id.as_str().to_owned()));
            }
        }
        Redaction::new(secret_texts)
    }

    fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        // As JSON has them, too, which escapes quotes and more.
        let escaped: Vec<String> = secrets
            .iter()
            .map(|secret| Value::from(secret.as_str()).to_string())
            .chain(secrets.iter().map(|secret| serde_json::Value::from(secret.as_str()).to_string()))
            .map(|quoted| quoted[1..quoted.len() - 1].to_owned())
            .collect();
        secrets.extend(escaped);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Redaction { secrets }
    }

    /// The text without them.
    pub fn apply(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), REDACTED))
    }
}

fn token(file: &SecretFile) -> Option<String> {
    Token::load(file).ok().map(|token| token.reveal().to_owned())
}

fn password(file: &SecretFile) -> Option<String> {
    let unsaid = &mut Vec::new(); // who may read it is another report's
    access::password(file, unsaid).ok().map(|Password(text)| text)
}

/// The effective configuration, every key with its value, but for those that are secret.
pub fn configuration(config: &Config) -> String {
    let mut table = config.to_table();
    hide(&mut table);
    table.to_string()
}

fn hide(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(below) => hide(below),
            Value::Array(elements) => elements.iter_mut().filter_map(Value::as_table_mut).for_each(hide),
            other if SECRET_KEYS.contains(&key.as_str()) => *other = Value::from(REDACTED),
            _ => {}
        }
    }
}

/// Keys whose value is, or may be, a secret of its own. Those that name a secret's file stay.
const SECRET_KEYS: [&str; 1] = ["stream_id"];

const REDACTED: &str = "[redacted]";

/// In bytes: a shorter one is no secret, and replacing it would eat half of the words.
const SHORTEST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let redaction = Redaction::new(["correct horse".to_owned(), "correct horse battery".to_owned()]);
        assert_eq!(redaction.apply("a correct horse battery b"), "a [redacted] b");
        assert_eq!(redaction.apply("{\"x\":\"correct horse\"}"), "{\"x\":\"[redacted]\"}");
    }

    #[test]
    fn quotes_in_a_secret_do_not_hide_it() {
        let redaction = Redaction::new(["pass\"word\\é".to_owned()]);
        let json = serde_json::to_string("pass\"word\\é").unwrap();
        assert_eq!(redaction.apply(&json), "\"[redacted]\"");
    }

    #[test]
    fn files_and_stream_ids_of_a_configuration_are_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (pass, token) = (folder.path().join("a.pass"), folder.path().join("api.token"));
        std::fs::write(&pass, "battery staple\n").unwrap();
        std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
        let text = format!(
            "[api]\ntoken_file = {token:?}\n[streams.main]\n[[streams.main.outputs]]\nname = \"a\"\n\
             url = \"srt://h:9000\"\nstream_id = \"#!::u=admin,k=planted\"\npassphrase_file = {pass:?}\n"
        );
        let config = config::parse(&text).unwrap();
        let shown = configuration(&config);
        assert!(
            shown.contains("[redacted]") && shown.contains("a.pass") && !shown.contains("planted"),
            "{shown}"
        );
        let said = "battery staple 0123456789abcdef0123456789abcdef #!::u=admin,k=planted";
        assert_eq!(Redaction::of(Some(&config)).apply(said), "[redacted] [redacted] [redacted]");
    }
}
