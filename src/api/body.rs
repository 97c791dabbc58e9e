//! What comes with a request: its body, and the conditions that it names.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::Value;

use super::problem::Problem;
use crate::reconfigure::Guard;

/// A JSON body of one of these content types.
///
/// # Errors
/// 415, or 400 with the place where it is no JSON.
pub fn json(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    accepted: &[&str],
) -> Result<Value, Problem> {
    parse(&of_type(headers, body, accepted)?)
}

/// Bytes that are JSON.
///
/// # Errors
/// 400 with the place where they are none.
pub fn parse(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {error}")))
}

/// A TOML document, as text.
///
/// # Errors
/// 415, or 400 where it is no text.
pub fn toml(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<String, Problem> {
    let body = of_type(headers, body, &[TOML])?;
    String::from_utf8(body.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not UTF-8 text"))
}

fn of_type(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    accepted: &[&str],
) -> Result<Bytes, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !accepted.iter().any(|accepted| essence.eq_ignore_ascii_case(accepted)) {
        let wanted = accepted.join(" or ");
        let detail = format!("the body is to be {wanted}: send it with that Content-Type");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail));
    }
    body.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body cannot be read")) // its size was seen to
}

/// What `If-Match` and `If-None-Match` ask for. A weak tag is equal to none, as RFC 9110 has it for changes.
pub fn guard(headers: &HeaderMap) -> Guard {
    let lines = |name: HeaderName| {
        let lines = headers.get_all(name).into_iter();
        lines.map(|line| line.to_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    Guard {
        is_one_of: headers.contains_key(header::IF_MATCH).then(|| tags(lines(header::IF_MATCH))),
        is_new: tags(lines(header::IF_NONE_MATCH)).iter().any(|tag| tag == "*"),
    }
}

/// Whether `If-None-Match` names this tag, so that who reads has what it stands for. Proxies may have made it a weak
/// one, which is as good for that.
pub fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

/// The tags of some lines, without their quotes.
pub fn tags<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let tags = lines.into_iter().flat_map(|line| line.split(',')).map(str::trim);
    tags.map(|tag| tag.trim_matches('"').to_owned()).collect()
}

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
const TOML: &str = "application/toml";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn tags_are_read_from_all_lines() {
        let none = Guard::default();
        assert_eq!(guard(&HeaderMap::new()), none);
        let given = guard(&headers(&[(header::IF_MATCH, "\"a\", W/\"b\""), (header::IF_MATCH, "\"c\"")]));
        assert_eq!(given.is_one_of, Some(vec!["a".to_owned(), "W/\"b".to_owned(), "c".to_owned()]));
        assert!(guard(&headers(&[(header::IF_NONE_MATCH, "*")])).is_new);
        assert!(!guard(&headers(&[(header::IF_NONE_MATCH, "\"a\"")])).is_new);
        assert_eq!(guard(&headers(&[(header::IF_MATCH, "*")])).is_one_of, Some(vec!["*".to_owned()]));
    }

    #[test]
    fn who_reads_knows_a_tag_in_any_list_and_a_weak_one_too() {
        let knows = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (header::IF_NONE_MATCH, *line)).collect();
            is_known(&headers(&lines), "\"b\"")
        };
        for lines in [&["\"b\""][..], &["\"a\", \"b\""], &["W/\"b\""], &["*"], &["\"a\"", "W/\"a\",W/\"b\" "]]
        {
            assert!(knows(lines), "{lines:?}");
        }
        for lines in [&[][..], &["b"], &["\"a\""], &["\"ab\""], &["w/\"b\""]] {
            assert!(!knows(lines), "{lines:?}");
        }
    }

    #[test]
    fn bodies_are_of_the_type_that_they_say() {
        let json = |kind: &str, body: &'static [u8]| {
            let headers = headers(&[(header::CONTENT_TYPE, kind)]);
            super::json(&headers, Ok(Bytes::from_static(body)), &[JSON, MERGE_PATCH])
                .map_err(|problem| format!("{problem:?}"))
        };
        assert_eq!(json("application/json; charset=utf-8", b"{}"), Ok(serde_json::json!({})));
        assert_eq!(json("Application/Merge-Patch+JSON", b"1"), Ok(1.into()));
        assert!(json("text/plain", b"{}").unwrap_err().contains("415"));
        assert!(json("application/json", b"{").unwrap_err().contains("line 1 column 1"));
        assert!(super::json(&HeaderMap::new(), Ok(Bytes::new()), &[JSON]).is_err());
    }
}
