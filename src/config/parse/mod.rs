//! From text to the tree, with all problems at once.
//!
//! toml's recoverable parser gives what it could read, with the place of everything ([`syntax`]);
//! a [`Section`] hands out one table's keys, has each value converted ([`convert`]), and remembers
//! what nobody asked for; all of them write their complaints into one [`Report`]. Reading never
//! stops at a problem: a value that could not be had is `None`, rules between values are checked
//! where all of them could be had, and the tree is put together at the end.

mod api;
mod audio;
mod convert;
mod files;
mod host;
mod layers;
mod lines;
mod mqtt;
mod outputs;
mod place;
mod report;
mod section;
mod streams;
mod suggest;
mod syntax;
mod url;
mod video;

use log::LevelFilter;
use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};
use toml::{Spanned, Table};

pub(in crate::config) use self::place::place_of;
use self::report::{Complaint, Report};
use self::section::Section;
use self::syntax::Source;
use super::path::KeyPath;
use super::{Config, Document, Layers, Log, Problems};

/// Reads a whole configuration, or says everything that is wrong with it.
///
/// # Errors
/// All problems of the document, sorted by their place; at least one.
pub fn parse(text: &str) -> Result<Config, Problems> {
    let source = Source::new(text);
    let report = Report::new(&[(Document::File, &source)]);
    let table = source.table();
    for (offset, key, complaint) in source.complaints(&table) {
        report.push(offset, key, complaint);
    }
    let config = read(Section::root(&report, &table));
    report.finish(config)
}

/// Reads a configuration from the file and the overrides that are laid over it.
///
/// # Errors
/// All problems of both documents, those of the file first, each with its own document's line and column.
pub(in crate::config) fn parse_layers(file: &str, overrides: &str) -> Result<Layers, Problems> {
    let (file, overrides) = (Source::new(file), Source::new(overrides));
    let report = Report::new(&[(Document::File, &file), (Document::Overrides, &overrides)]);
    let behind_file = report::length(&file);
    let (below, over) = (file.table(), overrides.table());
    for (offset, key, complaint) in file.complaints(&below) {
        report.push(offset, key, complaint);
    }
    for (offset, key, complaint) in overrides.complaints(&over) {
        report.push(offset + behind_file, key, complaint);
    }
    let mut over = layers::shifted(over, behind_file);
    let removed = read_removed(&mut over, &report);
    refuse_file_alone(&mut over, &report);
    let mut both = below.clone();
    for path in &removed {
        layers::remove(&mut both, path);
    }
    layers::lay_over(&mut both, over.clone());
    let config = read(Section::root(&report, &both));
    let config = report.finish(config)?;
    Ok(Layers::new(config, [below, over, both].map(plain), removed))
}

/// Two documents that are any TOML, laid over each other.
#[cfg(test)]
pub(in crate::config) fn laid_over(below: &str, over: &str, removed: &[KeyPath]) -> Table {
    let (below, over) = (Source::new(below), Source::new(over));
    let mut both = below.table();
    removed.iter().for_each(|path| layers::remove(&mut both, path));
    layers::lay_over(&mut both, over.table());
    plain(both)
}

/// What the overrides take out of the file: `remove = ["streams.main.outputs[studio]"]`.
fn read_removed(over: &mut DeTable<'_>, report: &Report<'_>) -> Vec<KeyPath> {
    let Some(value) = over.remove(REMOVE) else { return Vec::new() };
    if report.is_broken(&value.span()) {
        return Vec::new();
    }
    let example = "write remove = [\"streams.main.outputs[studio]\"], for instance";
    let DeValue::Array(list) = value.get_ref() else {
        let message = format!("is {}, not a list of paths", convert::kind(value.get_ref()));
        report.push(value.span().start, REMOVE.to_owned(), Complaint::new(message, example));
        return Vec::new();
    };
    let mut paths = Vec::new();
    for element in list.iter() {
        let path = element.get_ref().as_str().and_then(|text| text.parse::<KeyPath>().ok());
        match path.map(|path| (file_alone(path.names()[0]), path)) {
            Some((None, path)) => paths.push(path),
            Some((Some(refusal), _)) => report.push(element.span().start, REMOVE.to_owned(), refusal),
            None => {
                let complaint = Complaint::new("is no path of a setting", example);
                report.push(element.span().start, REMOVE.to_owned(), complaint);
            }
        }
    }
    paths
}

fn refuse_file_alone(over: &mut DeTable<'_>, report: &Report<'_>) {
    for section in [API, MQTT] {
        if let (Some((key, _)), Some(refusal)) = (over.remove_entry(section), file_alone(section)) {
            report.push(key.span().start, section.to_owned(), refusal);
        }
    }
}

/// Why a section is the file's alone; `None` where it is not.
///
/// An API that moves away from under whoever commands it, or cannot be bound at the next start, is out of reach. And
/// `[mqtt]` names a file whose contents are sent to a place that it names, too: who may change both may read any
/// file that the daemon can.
fn file_alone(section: &str) -> Option<Complaint> {
    match section {
        API => {
            let fix = "change it in the configuration file, and restart the daemon";
            Some(Complaint::new("is the file's alone, so that nobody locks himself out", fix))
        }
        MQTT => {
            let fix = "change it in the configuration file, and reload the daemon";
            Some(Complaint::new("is the file's alone, since it says where a password is sent", fix))
        }
        _ => None,
    }
}

/// The same without places.
fn plain(table: DeTable<'_>) -> Table {
    Table::deserialize(Deserializer::from(Spanned::new(0..0, table)))
        .expect("what gave a configuration holds texts, booleans and numbers within their ranges alone")
}

fn read(mut root: Section<'_>) -> Option<Config> {
    let api = api::read(root.section(API));
    let log = read_log(root.section("log"));
    let mqtt = mqtt::read(root.section(MQTT));
    let streams = streams::read(root.section("streams"));
    root.finish();
    Some(Config { api: api?, log: log?, mqtt: mqtt?, streams: streams? })
}

fn read_log(mut section: Section<'_>) -> Option<Log> {
    let level = section.read("level", convert::word).or(LevelFilter::Info);
    section.finish();
    Some(Log { level: level? })
}

const API: &str = "api";
const MQTT: &str = "mqtt";

/// The key of the overrides that names what the file has and the configuration has not.
pub(in crate::config) const REMOVE: &str = "remove";
