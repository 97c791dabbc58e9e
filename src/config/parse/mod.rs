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
mod lines;
mod outputs;
mod report;
mod section;
mod streams;
mod suggest;
mod syntax;
mod url;
mod video;

use log::LevelFilter;

use self::report::Report;
use self::section::Section;
use super::{Config, Log, Problems};

/// Reads a whole configuration, or says everything that is wrong with it.
///
/// # Errors
/// All problems of the document, sorted by their place; at least one.
pub fn parse(text: &str) -> Result<Config, Problems> {
    let document = syntax::Document::new(text);
    let report = Report::new(text, document.mended(), document.errors());
    let table = document.table();
    for (offset, key, complaint) in document.complaints(&table) {
        report.push(offset, key, complaint);
    }
    let config = read(Section::root(&report, &table));
    report.finish(config)
}

fn read(mut root: Section<'_>) -> Option<Config> {
    let api = api::read(root.section("api"));
    let log = read_log(root.section("log"));
    let streams = streams::read(root.section("streams"));
    root.not_in_this_version("mqtt");
    root.finish();
    Some(Config { api: api?, log: log?, streams: streams? })
}

fn read_log(mut section: Section<'_>) -> Option<Log> {
    let level = section.read("level", convert::word).or(LevelFilter::Info);
    section.finish();
    Some(Log { level: level? })
}
