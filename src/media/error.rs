//! What can go wrong when pipelines are built, started or fed.

use std::path::PathBuf;

use gst::glib;

/// An error of the media part. Failures of a *running* pipeline are [`MediaEvent`](super::MediaEvent)s.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("GStreamer does not start")]
    Init(#[source] glib::Error),
    #[error("a built-in GStreamer plugin does not register")]
    Register(#[source] glib::BoolError),
    /// Asked for something that this version or this machine does not have.
    #[error("{what} is not available: {reason}")]
    Unavailable { what: String, reason: String },
    #[error("GStreamer has no element {element}: install the Debian package {package}")]
    MissingElement { element: &'static str, package: &'static str },
    #[error("cannot create the element {element}")]
    Create {
        element: &'static str,
        #[source]
        source: glib::BoolError,
    },
    #[error("cannot put together the {graph} pipeline")]
    Assemble {
        graph: &'static str,
        #[source]
        source: glib::BoolError,
    },
    #[error("cannot start the {graph} pipeline: {reason}")]
    Start { graph: &'static str, reason: String },
    #[error("cannot start the thread {name}")]
    Thread {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is {kind}, and no file")]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("{path} {reason}")]
    Edid { path: PathBuf, reason: String },
    #[error("cannot make the slate: {reason}")]
    Slate { reason: String },
    #[error("cannot make a still picture: {reason}")]
    Still { reason: String },
    #[error("cannot open the capture device")]
    Device(#[from] crate::capture::Error),
    #[error("the memory of a unit cannot be read")]
    UnitUnreadable,
}

impl Error {
    /// Whether the same attempt would fail again until somebody changes the machine or the configuration.
    pub fn is_hopeless(&self) -> bool {
        match self {
            Error::Init(_)
            | Error::Register(_)
            | Error::Unavailable { .. }
            | Error::MissingElement { .. } => true,
            // Too few descriptors or too little memory may be the reason, and pass.
            Error::Create { .. }
            | Error::Assemble { .. }
            | Error::Start { .. }
            | Error::Thread { .. }
            | Error::File { .. }
            | Error::NotAFile { .. }
            | Error::Slate { .. }
            | Error::Still { .. }
            | Error::Edid { .. }
            | Error::Device(_)
            | Error::UnitUnreadable => false,
        }
    }
}
