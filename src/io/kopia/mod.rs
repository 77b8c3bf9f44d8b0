//! The edge to kopia: one child process a question, bounded in time and output, on a private copy of its configuration.
//!
//! A `kopia` that is let loose on a shared configuration can delete it with its cache, run maintenance that nobody asked
//! for, and outlive whoever started it. What it may be asked is a closed list, [`Ask`].

mod ask;
mod child;
mod connection;
mod folder;
mod lock;

use std::path::Path;
use std::time::Duration;

pub use ask::Ask;
pub use connection::Connection;
pub use folder::blobs;
pub use lock::{Held, Taken, look, take};

use crate::domain::kopia::{Ended, Identity};

/// Why kopia could not even be asked. Each text is one line: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A file that is needed.
    #[error("cannot read {what} {path}: {source}; {remedy}")]
    Read {
        /// What it is.
        what: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The configuration is none.
    #[error("{path} is no configuration of kopia: {why}; name the file that `kopia repository connect` wrote")]
    Configuration {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// There is no password.
    #[error(
        "no password for {path}: {path}.kopia-password is not there; name a file that holds it with --password-file"
    )]
    NoPassword {
        /// The configuration.
        path: String,
    },
    /// The file with the password holds none.
    #[error("{path} holds no password: {why}")]
    Password {
        /// Where.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Kopia could not be started.
    #[error("cannot start {program}: {source}; install kopia 0.23.1 or newer, or name it with --kopia")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The private folder.
    #[error("cannot use the temporary folder {path}: {source}; see whether it has space")]
    Folder {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The lock file.
    #[error("cannot lock {path}: {source}; keep the configuration in a folder that this user may write to")]
    Lock {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Hears what a kopia says on stderr while it works: the first word of what it was asked, and each line as it comes;
/// without a line nothing new was said since.
pub type Hear<'a> = &'a dyn Fn(&str, Option<&str>);

/// Kopia as a child of this process.
pub struct Local<'a> {
    /// The program.
    pub program: &'a Path,
    /// How the repository is reached.
    pub connection: &'a Connection,
    /// Who we are.
    pub identity: &'a Identity,
    /// A folder of ours alone; configuration, cache and logs go in there.
    pub folder: &'a Path,
    /// How long kopia may take.
    pub timeout: Duration,
    /// Hears what it says meanwhile.
    pub hear: Hear<'a>,
}

impl Local<'_> {
    /// Asks kopia. A question that only reads goes over a connection that cannot write.
    ///
    /// # Errors
    /// When it could not be started; how it ended is in the answer.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Ended, Trouble> {
        self.run(ask, None).await
    }

    /// The same, with the lock in its hands: it stays locked while kopia lives, whatever becomes of us.
    ///
    /// # Errors
    /// When it could not be started; how it ended is in the answer.
    pub async fn ask_holding(&self, ask: Ask<'_>, held: &Held) -> Result<Ended, Trouble> {
        self.run(ask, Some(held)).await
    }

    async fn run(&self, ask: Ask<'_>, held: Option<&Held>) -> Result<Ended, Trouble> {
        let private = self.connection.private_copy(self.folder, self.identity, ask.writes())?;
        let mut words = ask.words(self.identity);
        words.push(format!("--config-file={}", private.display()));
        // While the format is being changed kopia would wait for the end of it, which is a person's, and say nothing.
        words.extend(["--no-auto-maintenance", "--no-progress", "--upgrade-no-block"].map(str::to_owned));
        let what = words.first().cloned().unwrap_or_default();
        let order = child::Order {
            program: self.program,
            words: &words,
            password: self.connection.password(),
            folder: self.folder,
            stdin: held.map(Held::hand_over).transpose()?,
            timeout: self.timeout,
            hear: &|line| (self.hear)(&what, line),
        };
        child::run(order).await
    }
}
