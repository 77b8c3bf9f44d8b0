//! What can go wrong, in words that name the thing, the place and, where there is one, the remedy.

use std::io;
use std::path::Path;

use crate::tools::Missing;

/// Why the stack could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Programs have not been built.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and to which path.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A command ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// Something did not come about in time.
    #[error("not within {seconds:.1} s: {waited_for}\n{logs}")]
    Timeout {
        /// What was waited for.
        waited_for: String,
        /// For how long.
        seconds: f64,
        /// The end of each process's log.
        logs: String,
    },
    /// A process ended that should be running.
    #[error("{name} ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// The process.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// Anything else; the text says it all.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// For `map_err`: an error of the operating system, with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }
}

/// Writes a file, naming it on failure.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    std::fs::write(path, content).map_err(Error::io(format!("cannot write {}", path.display())))
}

/// Makes a folder and those above it, naming it on failure.
pub(crate) fn create_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::io(format!("cannot make the folder {}", path.display())))
}
