//! The overrides laid over the file, with every value's place kept.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::super::path::{KeyPath, Step, are_distinct};

/// The same table, with each of its places `by` bytes further on.
pub(super) fn shifted<'a>(table: DeTable<'a>, by: usize) -> DeTable<'a> {
    table.into_iter().map(|(key, value)| (moved(key, by), shifted_value(value, by))).collect()
}

fn shifted_value<'a>(value: Spanned<DeValue<'a>>, by: usize) -> Spanned<DeValue<'a>> {
    let mut value = moved(value, by);
    match value.get_mut() {
        DeValue::Table(table) => *table = shifted(std::mem::take(table), by),
        DeValue::Array(list) => {
            let all = std::mem::replace(list, DeArray::new()).into_iter();
            *list = all.map(|element| shifted_value(element, by)).collect();
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
    value
}

fn moved<T>(value: Spanned<T>, by: usize) -> Spanned<T> {
    let span = value.span();
    Spanned::new(span.start + by..span.end + by, value.into_inner())
}

/// Takes out what the path leads to, where it is there.
pub(super) fn remove(table: &mut DeTable<'_>, path: &KeyPath) {
    remove_at(table, path.steps());
}

fn remove_at(table: &mut DeTable<'_>, steps: &[Step]) {
    match steps {
        [Step::Key(key)] => {
            table.remove(key.as_str());
        }
        [Step::Key(key), rest @ ..] => {
            let value = table.get_mut(key.as_str()).map(Spanned::get_mut);
            match (value, rest) {
                (Some(DeValue::Table(table)), rest) => remove_at(table, rest),
                (Some(DeValue::Array(list)), [Step::Element(name)]) => {
                    let all = std::mem::replace(list, DeArray::new()).into_iter();
                    *list = all.filter(|it| name_of(it) != Some(name)).collect();
                }
                (Some(DeValue::Array(list)), [Step::Element(name), rest @ ..]) => {
                    let element = list.iter_mut().find(|it| name_of(it) == Some(name));
                    if let Some(DeValue::Table(table)) = element.map(Spanned::get_mut) {
                        remove_at(table, rest);
                    }
                }
                _ => {}
            }
        }
        [Step::Element(_), ..] | [] => {}
    }
}

/// Lays `over` over `table`: sections key by key, lists of named elements by their names, all else as a whole.
/// What both have stands where `over` has it.
pub(super) fn lay_over<'a>(table: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let below = table.remove(key.get_ref().as_ref());
        table.insert(key, laid_over(below, value));
    }
}

fn laid_over<'a>(below: Option<Spanned<DeValue<'a>>>, over: Spanned<DeValue<'a>>) -> Spanned<DeValue<'a>> {
    let span = over.span();
    let value = match (below.map(Spanned::into_inner), over.into_inner()) {
        (Some(DeValue::Table(mut below)), DeValue::Table(over)) => {
            lay_over(&mut below, over);
            DeValue::Table(below)
        }
        (Some(DeValue::Array(below)), DeValue::Array(over)) if are_named(&below) && are_named(&over) => {
            DeValue::Array(lists_laid_over(below, over))
        }
        (_, over) => over,
    };
    Spanned::new(span, value)
}

/// In the order of `below`; what only `over` has comes behind that.
fn lists_laid_over<'a>(below: DeArray<'a>, over: DeArray<'a>) -> DeArray<'a> {
    let mut over: Vec<_> = over.into_iter().collect();
    let mut list = DeArray::new();
    for element in below {
        let twin = over.iter().position(|it| name_of(it) == name_of(&element));
        list.push(match twin {
            Some(twin) => laid_over(Some(element), over.remove(twin)),
            None => element,
        });
    }
    over.into_iter().for_each(|element| list.push(element));
    list
}

pub(super) fn name_of<'a>(element: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    element.get_ref().as_table()?.get("name")?.get_ref().as_str()
}

fn are_named(list: &DeArray<'_>) -> bool {
    are_distinct(list.iter().map(name_of))
}
