//! Where in a document a setting stands, for what is wrong with it elsewhere: a file that it names, this machine.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::Document;
use super::super::path::{KeyPath, Step};
use super::layers::name_of;
use super::report::Report;
use super::syntax::Source;

/// Line and column, both from 1, of what `key` leads to in a document; where that is left out, of the innermost
/// section around it. `None`: not even that is there.
pub fn place_of(text: &str, key: &KeyPath) -> Option<(usize, usize)> {
    let source = Source::new(text);
    let report = Report::new(&[(Document::File, &source)]);
    innermost(&source.table(), key.steps()).map(|offset| report.position(offset))
}

/// Where the last of the steps that can be gone leads to.
fn innermost(table: &DeTable<'_>, steps: &[Step]) -> Option<usize> {
    let [Step::Key(key), rest @ ..] = steps else { return None };
    within(table.get(key.as_str())?, rest)
}

fn within(value: &Spanned<DeValue<'_>>, steps: &[Step]) -> Option<usize> {
    let inner = match (value.get_ref(), steps) {
        (DeValue::Table(table), steps) => innermost(table, steps),
        (DeValue::Array(list), [Step::Element(name), rest @ ..]) => list
            .iter()
            .find(|element| name_of(element) == Some(name))
            .and_then(|element| within(element, rest)),
        _ => None,
    };
    inner.or(Some(value.span().start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}# é\n\
        [api]\n\
        listen = 'é' \n\
        \n\
        [streams.main]\n\
        video.source = 'test'\n\
        [[streams.main.outputs]]\n\
        name = 'near'\n\
        [[streams.main.outputs]]\n\
        name = 'far'\n\
        \x20 passphrase_file = '/f'\n";

    #[test]
    fn a_setting_is_found_or_the_section_that_it_belongs_in() {
        let place = |key: &str| place_of(TEXT, &key.parse().unwrap());
        assert_eq!(place("api.listen"), Some((3, 10)));
        assert_eq!(place("api.token_file"), Some((2, 1)), "its section");
        assert_eq!(place("streams.main.video.source"), Some((6, 16)));
        assert_eq!(place("streams.main.outputs[far].passphrase_file"), Some((11, 21)));
        assert_eq!(place("streams.main.outputs[near].passphrase_file"), Some((7, 1)));
        assert_eq!(place("streams.main.audio.source"), Some((5, 1)));
        assert_eq!(place("mqtt.url"), None);
    }
}
