//! The log: journald with fields under systemd, readable lines on stderr otherwise.

use log::{LevelFilter, SetLoggerError};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Installs the logger. Afterwards [`set_level`] changes the level of a running daemon.
///
/// # Errors
/// When the journal's socket cannot be used, or a logger is there already.
pub fn init(level: LevelFilter) -> Result<(), Error> {
    if connected_to_journal() {
        JournalLog::new()?.with_syslog_identifier("uplinkd".to_string()).install()?;
    } else {
        env_logger::Builder::new()
            .filter_level(LevelFilter::Trace) // the level proper is log's own, which can change
            .filter_module("srt_protocol", LevelFilter::Warn) // it logs every packet
            .try_init()?;
    }
    set_level(level);
    Ok(())
}

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
