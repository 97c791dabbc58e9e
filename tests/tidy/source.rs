//! A Rust source file as the tidiness rules see it: its module, and the paths that it names.
//!
//! A small lexer leaves out comments, literals and everything under `#[cfg(test)]`. A real parser
//! would see no more of what the rules ask, and would be a dependency.

/// A file below `src/`.
#[derive(Debug)]
pub struct Source {
    /// From the repository's root: `src/rate/estimate.rs`.
    pub path: String,
    /// From the crate's root: `["rate", "estimate"]`; empty for `lib.rs`.
    pub module: Vec<String>,
    pub text: String,
    /// Outside tests.
    tokens: Vec<Token>,
    /// Modules in files of their own that this file declares under `#[cfg(test)]`.
    pub test_modules: Vec<Vec<String>>,
}

/// A path as it stands in the code, groups of `use` taken apart: `std::fs`, `crate::media::Unit`.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// `crate`, `super` and `self` resolved: without them, from the crate's root.
    pub segments: Vec<String>,
    /// Of this crate, where it was written with `crate`, `super` or `self` (or `uplinkd` in main.rs).
    pub local: bool,
    /// Counted from 1.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let module = module_of(path);
        let (tokens, test_modules) = without_tests(tokenize(text));
        let test_modules =
            test_modules.into_iter().map(|name| [module.as_slice(), &[name]].concat()).collect();
        Source { path: path.to_owned(), module, text: text.to_owned(), tokens, test_modules }
    }

    /// Every path that the file names outside tests, single words included.
    pub fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.tokens[at].is_word() {
                let mut paths = Vec::new();
                at = expand(&self.tokens, at, &[], &mut paths);
                found.extend(paths.into_iter().map(|(segments, line)| self.resolve(segments, line)));
            } else {
                at += 1;
            }
        }
        found
    }

    /// The lines on which these tokens follow each other: `[".", "elapsed", "(", ")"]`.
    pub fn lines_with(&self, sequence: &[&str]) -> Vec<usize> {
        let texts = |window: &[Token]| window.iter().map(|token| token.text.clone()).collect::<Vec<_>>();
        self.tokens
            .windows(sequence.len())
            .filter(|window| texts(window) == sequence)
            .map(|window| window[0].line)
            .collect()
    }

    fn resolve(&self, segments: Vec<String>, line: usize) -> Named {
        let is_main = self.path == "src/main.rs";
        let mut base = self.module.clone();
        let mut rest = segments.as_slice();
        match rest.split_first() {
            Some((first, after)) if first == "crate" || (is_main && first == "uplinkd") => {
                base.clear();
                rest = after;
            }
            Some((first, after)) if first == "self" => rest = after,
            Some((first, _)) if first == "super" => {
                while let Some((word, after)) = rest.split_first() {
                    if word != "super" {
                        break;
                    }
                    base.pop();
                    rest = after;
                }
            }
            _ => return Named { segments, local: false, line },
        }
        base.extend_from_slice(rest);
        Named { segments: base, local: true, line }
    }
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// `src/rate/mod.rs` and `src/rate.rs` are `rate`; `lib.rs` is the root; `main.rs` is `main`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// Adds every leaf of the path or `use` tree at `at` to `found`; returns where it ends.
fn expand(tokens: &[Token], at: usize, before: &[String], found: &mut Vec<(Vec<String>, usize)>) -> usize {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let line = tokens[at].line;
    let mut here = before.to_vec();
    // `self` inside a group is the group's own path.
    if before.is_empty() || text(at) != "self" {
        here.push(text(at).to_owned());
    }
    if text(at + 1) != "::" {
        found.push((here, line));
        return at + 1;
    }
    let next = at + 2;
    if text(next) == "{" {
        let mut inside = next + 1;
        while inside < tokens.len() && text(inside) != "}" {
            inside = match text(inside) {
                "as" => inside + 2, // and the new name
                "," => inside + 1,
                _ => expand(tokens, inside, &here, found),
            };
        }
        inside + 1
    } else if text(next) == "*" || tokens.get(next).is_some_and(Token::is_word) {
        expand(tokens, next, &here, found)
    } else {
        found.push((here, line)); // a turbofish
        next
    }
}

/// Leaves out each item under `#[cfg(test)]`; names those that are modules in files of their own.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        if !starts_with(rest, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(token.clone());
            rest = after;
            continue;
        }
        let mut item = rest;
        while starts_with(item, &["#", "["]) {
            item = &item[1 + group_length(&item[1..])..];
        }
        if let [word, name, end, ..] = item
            && word.text == "mod"
            && end.text == ";"
        {
            modules.push(name.text.clone());
        }
        rest = &item[item_length(item)..];
    }
    (kept, modules)
}

fn starts_with(tokens: &[Token], sequence: &[&str]) -> bool {
    tokens.len() >= sequence.len() && tokens.iter().zip(sequence).all(|(token, text)| token.text == *text)
}

/// Tokens up to the end of the bracket that the first one opens.
fn group_length(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Tokens of an item: up to its `;`, or to the end of its block.
fn item_length(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return at + group_length(&tokens[at..]),
            "(" | "[" => at += group_length(&tokens[at..]),
            ")" | "]" | "}" => return at, // a field or an argument: it ends with what holds it
            _ => at += 1,
        }
    }
    tokens.len()
}

/// Words, `::`, and single signs; without comments, literals and lifetimes.
fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < chars.len() {
        let start = index;
        match chars[index] {
            '/' if at(index + 1) == '/' => index = find(&chars, index, |c| c == '\n'),
            '/' if at(index + 1) == '*' => index = after_comment(&chars, index),
            '"' => index = after_quoted(&chars, index, '"'),
            // A literal is an escape, or one character and its quote; all else is a lifetime.
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                index = after_quoted(&chars, index, '\'')
            }
            '\'' => index = find(&chars, index + 1, |c| !is_word_char(c)),
            ':' if at(index + 1) == ':' => {
                tokens.push(Token { text: "::".to_owned(), line });
                index += 2;
            }
            c if is_word_char(c) => {
                index = find(&chars, index, |c| !is_word_char(c));
                let word: String = chars[start..index].iter().collect();
                let hashes = find(&chars, index, |c| c != '#') - index;
                match (word.as_str(), at(index), at(index + hashes)) {
                    ("r" | "br" | "cr", _, '"') => index = after_raw(&chars, index + hashes, hashes),
                    ("b" | "c", quote @ ('"' | '\''), _) => index = after_quoted(&chars, index, quote),
                    ("r", '#', _) => index += 1, // a raw identifier: its name comes next
                    _ => tokens.push(Token { text: word, line }),
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.to_string(), line });
                }
                index += 1;
            }
        }
        line += chars[start..index.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first index from `from` on where `stop` holds, or the end.
fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&index| stop(chars[index])).unwrap_or(chars.len())
}

/// Past the closing quote of the literal whose opening quote is at `from`.
fn after_quoted(chars: &[char], from: usize, quote: char) -> usize {
    let mut index = from + 1;
    while index < chars.len() && chars[index] != quote {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Past the quote and the hashes that close the raw string whose opening quote is at `from`.
fn after_raw(chars: &[char], from: usize, hashes: usize) -> usize {
    let mut index = from + 1;
    while index < chars.len() {
        index = find(chars, index, |c| c == '"') + 1;
        if find(chars, index, |c| c != '#') - index.min(chars.len()) >= hashes {
            return index + hashes;
        }
    }
    index
}

/// Past a block comment and those nested in it.
fn after_comment(chars: &[char], from: usize) -> usize {
    let (mut index, mut depth) = (from, 0);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let source = Source::new("src/a/b.rs", text);
        source.named().into_iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn comments_literals_and_lifetimes_are_left_out() {
        assert_eq!(words("a /* b /* c */ d */ e // f\ng"), ["a", "e", "g"]);
        assert_eq!(words(r##"a("b\"c", r#"d"e"#, b"f", 'g', '\'', b'h', &'i j)"##), ["a", "j"]);
        assert_eq!(words("r#type"), ["type"]);
    }

    #[test]
    fn trees_of_use_are_taken_apart() {
        let text = "use std::{fs::{self, File as Handle}, net::*};";
        assert_eq!(words(text), ["use", "std::fs", "std::fs::File", "std::net::*"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        assert_eq!(
            words("super::c::D; super::super::e; crate::f; self::g"),
            ["a::c::D", "e", "f", "a::b::g"]
        );
    }

    #[test]
    fn test_items_are_left_out_and_nothing_else() {
        let text = "before; #[cfg(test)] #[allow(x)] mod tests { fn inside() { deep } } after";
        assert_eq!(words(text), ["before", "after"]);
        assert_eq!(words("#[cfg(test)] fn f() -> [u8; 2] { inside } after"), ["after"]);
        let source = Source::new("src/a/mod.rs", "#[cfg(test)]\nmod model;\nmod real;");
        assert_eq!(source.test_modules, [["a", "model"]]);
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let source = Source::new("src/a.rs", "a\n/* \n */ \"\n\" b");
        assert_eq!(source.named().iter().map(|named| named.line).collect::<Vec<_>>(), [1, 4]);
    }
}
