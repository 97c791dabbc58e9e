//! The examples of a Markdown document.

/// What stands between two fences.
#[derive(Debug)]
pub struct Block {
    /// As the fence says; empty where it says nothing.
    pub language: String,
    /// Of the fence, counted from 1.
    pub line: usize,
    pub text: String,
}

/// In their order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in document.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(language) => {
                is_open = true;
                blocks.push(Block {
                    language: language.trim().to_owned(),
                    line: index + 1,
                    text: String::new(),
                });
            }
            None if is_open => {
                let block = blocks.last_mut().expect("one is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!is_open, "the last block has no end");
    blocks
}

/// The commands of a shell's block: a line each, without comments, and those that go on behind a `\` in one.
pub fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines =
        joined.lines().map(|line| without_comment(line).split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// A comment begins with a `#` behind a blank, outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '#' && before.is_whitespace() => return &line[..at],
            None if character == '\'' || character == '"' => quote = Some(character),
            None => {}
        }
        before = character;
    }
    line
}

#[test]
fn commands_are_lines_without_comments() {
    let text = "one 'a # b' # c\n\n# nothing\ntwo \\\n  more#less   # d\n";
    assert_eq!(commands(text), ["one 'a # b'", "two more#less"]);
}

#[test]
fn blocks_have_language_and_line() {
    let found = blocks("a\n```sh\nb\nc\n```\n  ```\n  d\n  ```\n");
    let told: Vec<_> =
        found.iter().map(|block| (block.language.as_str(), block.line, block.text.as_str())).collect();
    assert_eq!(told, [("sh", 2, "b\nc\n"), ("", 6, "  d\n")]);
}
