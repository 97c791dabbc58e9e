//! Where a value stands, as people write it: `streams.main.outputs[studio].latency_ms`.

use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

/// The way from the document to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Step>);

/// One step of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    /// An element of a list, by its `name`.
    Element(String),
}

/// Not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path is keys with dots between them, and names of list elements in brackets")]
pub struct InvalidPath;

impl KeyPath {
    /// The path of a key in the section that this one leads to.
    pub fn key(&self, key: &str) -> KeyPath {
        self.then(Step::Key(key.to_owned()))
    }

    /// The path of an element of the list that this one leads to.
    pub fn element(&self, name: &str) -> KeyPath {
        self.then(Step::Element(name.to_owned()))
    }

    fn then(&self, step: Step) -> KeyPath {
        KeyPath(self.0.iter().cloned().chain([step]).collect())
    }

    /// From the document on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The keys and names, without what tells them apart.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(Step::name).collect()
    }

    /// Whether it leads to what `outer` leads to, or into it.
    pub fn is_within(&self, outer: &KeyPath) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// What it leads to.
    pub fn find<'a>(&self, document: &'a Table) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        let Step::Key(first) = first else { return None };
        rest.iter().try_fold(document.get(first)?, |value, step| match step {
            Step::Key(key) => value.as_table()?.get(key),
            Step::Element(name) => value.as_array()?.iter().find(|it| name_of(it) == Some(name)),
        })
    }

    /// Takes what it leads to out of the document; where that is not there, nothing happens.
    pub fn remove_from(&self, document: &mut Table) {
        let Some((last, way)) = self.0.split_last() else { return };
        let Some((first, rest)) = way.split_first() else {
            document.remove(last.name());
            return;
        };
        let start = document.get_mut(first.name());
        let holder = rest.iter().try_fold(start, |value, step| {
            Some(match (step, value?) {
                (Step::Key(key), Value::Table(table)) => table.get_mut(key),
                (Step::Element(name), Value::Array(list)) => {
                    list.iter_mut().find(|it| name_of(it) == Some(name))
                }
                _ => None,
            })
        });
        match (last, holder.flatten()) {
            (Step::Key(key), Some(Value::Table(table))) => {
                table.remove(key);
            }
            (Step::Element(name), Some(Value::Array(list))) => list.retain(|it| name_of(it) != Some(name)),
            _ => {}
        }
    }
}

impl Step {
    fn name(&self) -> &str {
        match self {
            Step::Key(name) | Step::Element(name) => name,
        }
    }
}

/// What a list's elements belong together by.
pub fn name_of(element: &Value) -> Option<&str> {
    element.as_table()?.get("name")?.as_str()
}

/// Whether a list is one of things with names, each its own; others are taken as they are, as a whole.
pub fn are_named(list: &[Value]) -> bool {
    are_distinct(list.iter().map(name_of))
}

/// Whether all are there and no two the same.
pub fn are_distinct<'a>(names: impl Iterator<Item = Option<&'a str>>) -> bool {
    let Some(mut names) = names.collect::<Option<Vec<&str>>>() else { return false };
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() == all
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Element(name) => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for KeyPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, element) = match part.split_once('[') {
                Some((key, rest)) => (key, Some(rest.strip_suffix(']').ok_or(InvalidPath)?)),
                None => (part, None),
            };
            steps.push(Step::Key(plain(key)?));
            if let Some(name) = element {
                steps.push(Step::Element(plain(name)?));
            }
        }
        Ok(KeyPath(steps))
    }
}

/// What keys and names are made of.
fn plain(name: &str) -> Result<String, InvalidPath> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(InvalidPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_they_are_read() {
        for text in ["log", "streams.main", "streams.main.outputs[studio].latency_ms", "a-b_c.d0"] {
            assert_eq!(text.parse::<KeyPath>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", ".a", "a[", "a[]", "a[b", "a]b[", "a b", "a[b]c", "a[b][c]", "\"a\"", "é"]
        {
            assert_eq!(text.parse::<KeyPath>(), Err(InvalidPath), "{text:?}");
        }
    }

    #[test]
    fn a_path_leads_to_a_value_and_takes_it_out() {
        let text = "a.b = 1\n[[a.list]]\nname = 'x'\nc = 2\n[[a.list]]\nname = 'y'";
        let mut document: Table = text.parse().unwrap();
        let path = |text: &str| text.parse::<KeyPath>().unwrap();
        assert_eq!(path("a.list[x].c").find(&document), Some(&Value::Integer(2)));
        assert_eq!(path("a.list[z].c").find(&document), None);
        for nothing in ["z", "a.z", "a.b.c", "a.b[x]", "a.list[z]", "a.list[z].c", "a.list[y].c"] {
            let before = document.clone();
            path(nothing).remove_from(&mut document);
            assert_eq!(document, before, "{nothing}");
        }
        path("a.list[x].c").remove_from(&mut document);
        path("a.list[y]").remove_from(&mut document);
        path("a.b").remove_from(&mut document);
        assert_eq!(document, "[[a.list]]\nname = 'x'".parse().unwrap());
        path("a").remove_from(&mut document);
        assert!(document.is_empty());
    }
}
