//! What must not leave the machine, taken out of whatever is to leave it.

use toml::{Table, Value};

use super::known::Known;
use crate::config::Config;

/// Texts that are replaced.
#[derive(Debug, Default)]
pub struct Redaction {
    /// The longest first: one may be part of another.
    texts: Vec<(String, Kind)>,
}

/// Where a text is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Wherever it stands.
    Secret,
    /// As a value in quotes, and, unless it is as short as most words are, as a whole word.
    StreamId,
}

impl Redaction {
    /// Of all that is known to be secret.
    pub fn of(known: &Known) -> Self {
        let secrets = known.secrets.iter().map(|text| (text, Kind::Secret));
        let ids = known.stream_ids.iter().map(|text| (text, Kind::StreamId));
        let mut texts: Vec<(String, Kind)> =
            secrets.chain(ids).flat_map(|(text, kind)| spellings(text).map(|text| (text, kind))).collect();
        texts.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        texts.dedup_by(|next, first| next.0 == first.0); // a secret's rule is the wider, and it stands first
        Redaction { texts }
    }

    /// The text of a page without them; in one `of_json`, the names of fields stay.
    pub fn apply(&self, text: &str, of_json: bool) -> String {
        self.texts.iter().fold(text.to_owned(), |text, (hidden, kind)| match kind {
            Kind::Secret => text.replace(hidden.as_str(), REDACTED),
            Kind::StreamId => without_id(&text, hidden, of_json),
        })
    }
}

/// Whether a stream id stays where it is a word in a sentence.
pub fn is_like_a_word(stream_id: &str) -> bool {
    stream_id.len() < SHORTEST_WORD
}

/// As it is, and as TOML and JSON have it, which escape quotes and more.
fn spellings(text: &str) -> [String; 3] {
    let bare = |quoted: String| quoted[1..quoted.len() - 1].to_owned();
    let (toml, json) = (Value::from(text).to_string(), serde_json::Value::from(text).to_string());
    [text.to_owned(), bare(toml), bare(json)]
}

fn without_id(text: &str, id: &str, of_json: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(id) {
        let end = at + found.len();
        let (before, after) = (&text[..at], &text[end..]);
        let goes = match (before.ends_with('"'), after.strip_prefix('"')) {
            (true, Some(after)) => !(of_json && after.trim_start().starts_with(':')),
            _ => !is_like_a_word(id) && is_whole(before, found, after),
        };
        if goes {
            kept.push_str(&text[done..at]);
            kept.push_str(REDACTED);
            done = end;
        }
    }
    kept.push_str(&text[done..]);
    kept
}

/// Neither end is in the middle of a word.
fn is_whole(before: &str, found: &str, after: &str) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
    let goes_on =
        |left: &str, right: &str| is_letter(left.chars().next_back()) && is_letter(right.chars().next());
    !goes_on(before, found) && !goes_on(found, after)
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

/// In bytes: the words of messages are shorter, most of them.
const SHORTEST_WORD: usize = 8;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn redaction(secrets: &[&str], stream_ids: &[&str]) -> Redaction {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Redaction::of(&Known { secrets: owned(secrets), stream_ids: owned(stream_ids), ..Known::default() })
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let redaction = redaction(&["correct horse", "correct horse battery"], &[]);
        assert_eq!(redaction.apply("a correct horse battery b", false), "a [redacted] b");
        assert_eq!(redaction.apply("{\"x\":\"correct horse\"}", true), "{\"x\":\"[redacted]\"}");
    }

    #[test]
    fn quotes_in_a_secret_do_not_hide_it() {
        let redaction = redaction(&["pass\"word\\é"], &[]);
        let json = serde_json::to_string("pass\"word\\é").unwrap();
        assert_eq!(redaction.apply(&json, true), "\"[redacted]\"");
    }

    #[test]
    fn a_stream_id_that_is_a_word_leaves_the_names_of_fields() {
        let redaction = redaction(&[], &["state", "streaming"]);
        let json = r#"{"state":"streaming","x":["state"],"y" : "restate state","streaming": 1}"#;
        let shown = r#"{"state":"[redacted]","x":["[redacted]"],"y" : "restate state","streaming": 1}"#;
        assert_eq!(redaction.apply(json, true), shown);
        let journal = "the state \"state\": streaming, streamings, not_streaming, streamid=streaming,m=a";
        let shown =
            "the state \"[redacted]\": [redacted], streamings, not_streaming, streamid=[redacted],m=a";
        assert_eq!(redaction.apply(journal, false), shown);
    }

    #[test]
    fn a_stream_id_with_a_secret_in_it_goes_as_a_whole_and_so_does_a_secret_with_a_stream_id_in_it() {
        let shown = redaction(&["planted1"], &["#!::u=admin,k=planted1"]);
        assert_eq!(shown.apply("id #!::u=admin,k=planted1.", false), "id [redacted].");
        assert_eq!(redaction(&["a planted1 b"], &["planted1"]).apply("a planted1 b", false), "[redacted]");
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
        let mut known = Known::default();
        known.learn_document(Path::new("/uplinkd.toml"), &text);
        assert!(known.gaps.is_empty(), "{known:?}");
        let said = "battery staple 0123456789abcdef0123456789abcdef #!::u=admin,k=planted";
        assert_eq!(Redaction::of(&known).apply(said, false), "[redacted] [redacted] [redacted]");
    }
}
