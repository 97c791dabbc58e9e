//! The log: journald with fields under systemd, readable lines on stderr otherwise.

use log::kv::{self, Key, Source, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Installs the logger. Afterwards [`set_level`] changes the level of a running daemon.
///
/// # Errors
/// When the journal's socket cannot be used, or a logger is there already.
pub fn init(level: LevelFilter) -> Result<(), Error> {
    if connected_to_journal() {
        let journal = JournalLog::new()?.with_syslog_identifier("uplinkd".to_string());
        log::set_boxed_logger(Box::new(Journal(journal)))?;
    } else {
        env_logger::Builder::new()
            .filter_level(LevelFilter::Trace) // the level proper is log's own, which can change
            .filter_module(CHATTY, LevelFilter::Warn)
            .try_init()?;
    }
    set_level(level);
    Ok(())
}

/// The journal, less what nobody could read.
struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (metadata.level() <= Level::Warn || !metadata.target().starts_with(CHATTY))
            && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let fields = Prefixed::new(record.key_values());
            self.0.log(&record.to_builder().key_values(&fields).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Key-values under names of our own: `stream` becomes `UPLINKD_STREAM` in the journal, which has names of its own,
/// and everybody else's.
struct Prefixed<'a> {
    source: &'a dyn Source,
    /// In the source's order.
    names: Vec<String>,
}

impl<'a> Prefixed<'a> {
    fn new(source: &'a dyn Source) -> Prefixed<'a> {
        let mut names = Names(Vec::new());
        // Without all names none of the fields is written, and the line still is.
        let names = source.visit(&mut names).map(|()| names.0).unwrap_or_default();
        Prefixed { source, names }
    }
}

impl Source for Prefixed<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.source.visit(&mut Renamed { visitor, names: self.names.iter() })
    }
}

struct Names(Vec<String>);

impl<'kvs> VisitSource<'kvs> for Names {
    fn visit_pair(&mut self, key: Key<'kvs>, _: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push(format!("uplinkd_{key}"));
        Ok(())
    }
}

/// Passes each pair on under the name that is next.
struct Renamed<'a, 'kvs> {
    visitor: &'a mut dyn VisitSource<'kvs>,
    names: std::slice::Iter<'kvs, String>,
}

impl<'kvs> VisitSource<'kvs> for Renamed<'_, 'kvs> {
    fn visit_pair(&mut self, _: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        match self.names.next() {
            Some(name) => self.visitor.visit_pair(Key::from_str(name), value),
            None => Ok(()),
        }
    }
}

/// It logs every packet.
const CHATTY: &str = "srt_protocol";

/// From now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot use the journal")]
    Journal(#[from] std::io::Error),
    #[error("a logger is installed already")]
    Installed(#[from] SetLoggerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_to_the_journal_under_names_of_our_own() {
        #[derive(Default)]
        struct Seen(Vec<String>);
        impl<'kvs> VisitSource<'kvs> for Seen {
            fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
                self.0.push(format!("{key}={value}"));
                Ok(())
            }
        }
        let fields = [("stream", "main"), ("reason", "no signal")];
        let mut seen = Seen::default();
        Prefixed::new(&fields).visit(&mut seen).unwrap();
        assert_eq!(seen.0, ["uplinkd_stream=main", "uplinkd_reason=no signal"]);
    }
}
