//! Kopia repositories without a cluster: one look, one maintenance run, one verification, each in a private folder that
//! goes when it is over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::domain::kopia::{
    self, Check, Class, Ended, Epochs, Failure, Identity, Lock, LockView, Maintenance, Repository, Round, Source,
    Standing, Unreadable, Upkeep, Verdict,
};
use crate::driver::Clock;
use crate::io::kopia::{self as edge, Ask, Connection, Local, Taken};

pub use crate::io::kopia::Trouble;

/// A storage that does not even answer whether a folder is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a repository is reached, and by which program.
#[derive(Clone, Debug)]
pub struct Access {
    /// Kopia's configuration file.
    pub config: PathBuf,
    /// A file with the password; else kopia's own beside the configuration.
    pub password_file: Option<PathBuf>,
    /// The host part of our identity; else the configuration's.
    pub host: Option<String>,
    /// The program.
    pub program: PathBuf,
    /// How long one call of kopia may take.
    pub timeout: Duration,
}

/// Why a repository could not even be asked. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum KopiaError {
    /// At the edge.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// No private folder.
    #[error("cannot make a temporary folder: {0}; see whether TMPDIR has space and may be written")]
    Folder(std::io::Error),
    /// No identity.
    #[error("we have no identity: {0}; name the host with --host")]
    Identity(String),
}

/// The parts of one visit.
struct Visit {
    connection: Connection,
    identity: Identity,
    folder: TempDir,
    program: PathBuf,
    timeout: Duration,
}

impl Visit {
    fn begin(access: &Access) -> Result<Self, KopiaError> {
        let connection = Connection::open(&access.config, access.password_file.as_deref())?;
        let host = access.host.as_deref().or(connection.host()).unwrap_or_default();
        let identity = Identity::on(host).map_err(KopiaError::Identity)?;
        let folder = TempDir::with_prefix("volwarden-kopia-").map_err(KopiaError::Folder)?;
        Ok(Self { connection, identity, folder, program: access.program.clone(), timeout: access.timeout })
    }

    fn local(&self) -> Local<'_> {
        Local {
            program: &self.program,
            connection: &self.connection,
            identity: &self.identity,
            folder: self.folder.path(),
            timeout: self.timeout,
        }
    }

    /// Whether the storage is there. A mount that hangs is not waited for.
    async fn present(&self) -> Result<(), Failure> {
        let connection = self.connection.clone();
        let looked = tokio::task::spawn_blocking(move || connection.present());
        match tokio::time::timeout(PATIENCE, looked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(Failure::new(Class::Unreachable, format!("it could not be looked at: {error}"))),
            Err(_) => Err(Failure::new(Class::Unreachable, format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    fn lock_view(&self) -> LockView {
        let file = self.connection.lock_file();
        LockView { holders: edge::look(&file), file: file.display().to_string() }
    }

    async fn record(&self) -> Result<Answer<Maintenance>, KopiaError> {
        Ok(answered(self.local().ask(Ask::Record).await?, Maintenance::parse))
    }
}

/// What a question came to.
enum Answer<T> {
    Is(T),
    Failed(Failure),
    Unclear(String),
}

fn answered<T>(ended: Ended, read: impl FnOnce(&str) -> Result<T, Unreadable>) -> Answer<T> {
    if let Some(failure) = ended.failure().filter(|_| ended.cut.is_none()) {
        return Answer::Failed(failure);
    }
    if let Some(cut) = ended.cut {
        return Answer::Unclear(cut);
    }
    match read(&ended.stdout) {
        Ok(value) => Answer::Is(value),
        Err(unreadable) => Answer::Unclear(unreadable.to_string()),
    }
}

impl<T> Answer<T> {
    /// The value; what is in its way goes into the standing, each thing once.
    fn note(self, standing: &mut Standing) -> Option<T> {
        match self {
            Self::Is(value) => return Some(value),
            Self::Failed(failure) if !standing.failures.contains(&failure) => standing.failures.push(failure),
            Self::Unclear(why) if !standing.unclear.contains(&why) => standing.unclear.push(why),
            Self::Failed(_) | Self::Unclear(_) => {}
        }
        None
    }
}

/// Looks at a repository. Nothing is written to it.
///
/// # Errors
/// When it could not even be asked; what kopia refused is in the answer.
pub async fn status(access: &Access) -> Result<Standing, KopiaError> {
    let visit = Visit::begin(access)?;
    let mut standing = Standing {
        at: Clock::start().now().wall,
        config: access.config.display().to_string(),
        identity: visit.identity.clone(),
        repository: None,
        maintenance: None,
        epochs: Epochs::default(),
        sources: None,
        lock: visit.lock_view(),
        failures: Vec::new(),
        unclear: Vec::new(),
    };
    if let Err(failure) = visit.present().await {
        standing.failures.push(failure);
        return Ok(standing);
    }
    let local = visit.local();
    standing.repository = answered(local.ask(Ask::Status).await?, Repository::parse).note(&mut standing);
    // Who cannot open it is told so once.
    if standing.repository.is_none() {
        return Ok(standing);
    }
    let record = visit.record().await?.note(&mut standing);
    standing.maintenance = record.map(|record| Upkeep::seen(&record, &visit.identity));
    let indexes = answered(local.ask(Ask::Indexes).await?, kopia::indexes).note(&mut standing);
    standing.epochs.index_blobs = indexes.map(|(blobs, _)| blobs);
    standing.epochs.index_bytes = indexes.map(|(_, bytes)| bytes);
    if standing.repository.as_ref().is_some_and(|repository| repository.epochs_enabled) {
        let current = answered(local.ask(Ask::Epochs).await?, |text| Ok(kopia::epoch(text)));
        standing.epochs.current = current.note(&mut standing).flatten();
    }
    standing.sources = answered(local.ask(Ask::Snapshots).await?, kopia::sources).note(&mut standing);
    Ok(standing)
}

/// The sources of a repository, and when they were looked at.
#[derive(Debug)]
pub struct Listed {
    /// When.
    pub at: jiff::Timestamp,
    /// What is backed up, or why it cannot be told.
    pub sources: Result<Vec<Source>, Missed>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Missed {
    /// Kopia refused.
    Failed(Failure),
    /// It cannot be told.
    Unclear(String),
}

/// Lists what is backed up. Nothing is written.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn sources(access: &Access) -> Result<Listed, KopiaError> {
    let visit = Visit::begin(access)?;
    let at = Clock::start().now().wall;
    if let Err(failure) = visit.present().await {
        return Ok(Listed { at, sources: Err(Missed::Failed(failure)) });
    }
    let sources = match answered(visit.local().ask(Ask::Snapshots).await?, kopia::sources) {
        Answer::Is(sources) => Ok(sources),
        Answer::Failed(failure) => Err(Missed::Failed(failure)),
        Answer::Unclear(why) => Err(Missed::Unclear(why)),
    };
    Ok(Listed { at, sources })
}

/// Runs maintenance, if it is ours to run, and says what truly happened.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn maintain(access: &Access, round: Round) -> Result<Verdict, KopiaError> {
    let visit = Visit::begin(access)?;
    if let Err(failure) = visit.present().await {
        return Ok(Verdict::NotRun(failure));
    }
    let held = match edge::take(&visit.connection.lock_file())? {
        Taken::Ours(held) => held,
        Taken::Busy(holders) => return Ok(Verdict::NotRun(busy(&visit.connection.lock_file(), &holders))),
    };
    let before = match visit.record().await? {
        Answer::Is(before) => before,
        Answer::Failed(failure) => return Ok(Verdict::NotRun(failure)),
        Answer::Unclear(why) => return Ok(Verdict::Unclear(format!("maintenance was not begun: {why}"))),
    };
    if let Err(failure) = kopia::may_maintain(&visit.identity, &before) {
        return Ok(Verdict::NotRun(failure));
    }
    let ended = visit.local().ask_holding(Ask::Maintain(round), &held).await?;
    let after = match visit.record().await? {
        Answer::Is(after) => Ok(after),
        Answer::Failed(failure) => Err(failure.to_string()),
        Answer::Unclear(why) => Err(why),
    };
    drop(held);
    Ok(kopia::judge(round, &ended, &before, after.as_ref().map_err(String::as_str)))
}

/// What a held lock is called.
fn busy(file: &Path, holders: &[Lock]) -> Failure {
    let who: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let who = if who.is_empty() { "a process that cannot be seen from here".to_owned() } else { who.join(", ") };
    Failure::new(Class::LockHeld, format!("{} is held by {who}", file.display()))
}

/// Verifies: each pack's length, each snapshot's objects, and the content of so many of a hundred files.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn verify(access: &Access, percent: u8) -> Result<Check, KopiaError> {
    let visit = Visit::begin(access)?;
    if let Err(failure) = visit.present().await {
        return Ok(Check::Failed(failure));
    }
    let local = visit.local();
    let packs = local.ask(Ask::Packs).await?;
    // What is missing there is missing for the files as well, and they may take hours.
    if packs.cut.is_some() || packs.failure().is_some() {
        return Ok(kopia::verified(&packs, &Ended::default()));
    }
    let files = local.ask(Ask::Files(percent)).await?;
    Ok(kopia::verified(&packs, &files))
}
