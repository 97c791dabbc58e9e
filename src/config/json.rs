//! Sections of the configuration as JSON, and JSON merge patches on them (RFC 7396).

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

/// What JSON has and TOML has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct NotToml {
    /// Dotted, from where the JSON begins; empty for the whole.
    pub key: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The section as JSON, key by key.
pub fn to_json(section: &Table) -> Json {
    Json::Object(section.iter().map(|(key, value)| (key.clone(), value_to_json(value))).collect())
}

/// A value as JSON. Times are texts; the configuration has none.
pub fn value_to_json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => list.iter().map(value_to_json).collect(),
        Value::Table(table) => to_json(table),
    }
}

/// A section from a JSON object. A member that is `null` is one that is not there.
///
/// # Errors
/// Where something has no counterpart in TOML.
pub fn to_section(json: Json) -> Result<Table, NotToml> {
    match json {
        Json::Object(members) => to_table(members, ""),
        _ => Err(NotToml { key: String::new(), what: "a section is a JSON object" }),
    }
}

fn to_table(members: Map<String, Json>, at: &str) -> Result<Table, NotToml> {
    let mut table = Table::new();
    for (key, json) in members {
        if !json.is_null() {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            table.insert(key, to_value(json, &at)?);
        }
    }
    Ok(table)
}

fn to_value(json: Json, at: &str) -> Result<Value, NotToml> {
    let refused = |what| NotToml { key: at.to_owned(), what };
    Ok(match json {
        Json::Null => return Err(refused("a list has no null")),
        Json::Bool(truth) => truth.into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) if number.is_finite() => number.into(),
            (None, _) => return Err(refused("this number is too large")),
        },
        Json::String(text) => text.into(),
        Json::Array(list) => {
            let elements = list.into_iter().enumerate();
            let elements = elements.map(|(number, json)| to_value(json, &format!("{at}[{number}]")));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        Json::Object(members) => Value::Table(to_table(members, at)?),
    })
}

/// Applies a merge patch: members are put in the place of those of the same name, `null` takes one out, objects
/// are merged, and all else, lists too, is taken as it is.
pub fn merge_patch(target: &mut Json, patch: Json) {
    let Json::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let members = target.as_object_mut().expect("made one just now, where it was none");
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            merge_patch(members.entry(key).or_insert(Json::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The table of RFC 7396, appendix A.
    #[test]
    fn patches_as_the_standard_has_them() {
        for (mut target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            merge_patch(&mut target, patch);
            assert_eq!(target, result);
        }
    }

    #[test]
    fn a_section_comes_back() {
        let section: Table = "a = 1\nb = -2.5\nc = 'd'\ne = [true, 'x']\n[f]\ng = {}".parse().unwrap();
        assert_eq!(to_section(to_json(&section)), Ok(section));
    }

    #[test]
    fn what_toml_has_not_is_named() {
        for (json, key) in [
            (json!([]), ""),
            (json!(null), ""),
            (json!({"a": {"b": [1, null]}}), "a.b[1]"),
            (json!({"a": u64::MAX}), ""),
        ] {
            match to_section(json.clone()) {
                Err(refused) => assert_eq!(refused.key, key),
                Ok(table) => assert_eq!(table["a"], Value::Float(u64::MAX as f64), "{json}"),
            }
        }
        assert_eq!(to_section(json!({"a": null})), Ok(Table::new()));
    }
}
