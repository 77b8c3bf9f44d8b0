//! Kopia repositories without a cluster: one look, one maintenance run, one verification, each in a private folder that
//! goes when it is over. And the same inside the pod of a Job, with a report of what came of it.

mod expire;
mod settings;
mod signs;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::domain::kopia::{
    self, Check, Class, Ended, Failure, Identity, Lock, LockView, Maintenance, Meter, Repository, Round, Size, Source,
    Standing, Unreadable, Upkeep, Verdict,
};
use crate::domain::repository::Task;
use crate::domain::repository::report::{self, Report, Sight};
use crate::driver::Clock;
use crate::io::kopia::{self as edge, Ask, Connection, Local, Taken};

pub use self::expire::{Clearance, Cluster, Expired, Policies, expire, policies};
pub use self::settings::Order;
pub use self::signs::signs;
pub use crate::io::kopia::{Hear, Trouble};

/// A storage that does not even answer whether a folder is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Counting its blobs is a walk over a whole storage, and nothing that anybody waits for.
const WALK: Duration = Duration::from_secs(120);

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

/// A repository in a folder that nobody has connected to, and by which program it is reached.
#[derive(Clone)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// Its password.
    pub password: String,
    /// The host part of our identity.
    pub host: String,
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

/// What a Job's pod is to do, and to what.
#[derive(Clone)]
pub struct Errand {
    /// What.
    pub task: Task,
    /// Where the repository is.
    pub place: Place,
    /// The repository that it has to be; none was seen yet.
    pub unique_id: Option<String>,
    /// So many of a hundred files are read by a verification.
    pub percent: u8,
    /// Which snapshots may go.
    pub expire: Clearance,
    /// Which policies are to be set.
    pub settings: Order,
}

/// Nobody listens.
const DEAF: Hear<'static> = &|_, _| {};

/// The parts of one visit.
struct Visit<'a> {
    connection: Connection,
    identity: Identity,
    folder: TempDir,
    program: PathBuf,
    timeout: Duration,
    hear: Hear<'a>,
}

impl<'a> Visit<'a> {
    fn begin(access: &Access, hear: Hear<'a>) -> Result<Self, KopiaError> {
        let connection = Connection::open(&access.config, access.password_file.as_deref())?;
        let host = access.host.as_deref().or(connection.host()).unwrap_or_default();
        let identity = Identity::on(host).map_err(KopiaError::Identity)?;
        let folder = temporary()?;
        Ok(Self { connection, identity, folder, program: access.program.clone(), timeout: access.timeout, hear })
    }

    /// Where the storage is at hand and nobody's configuration is: in a pod, and in the demo.
    fn at(place: &Place, hear: Hear<'a>) -> Result<Self, KopiaError> {
        let folder = temporary()?;
        let file = folder.path().join("repository.config");
        let connection = Connection::of_folder(&file, &place.folder, place.password.clone())?;
        let identity = Identity::on(&place.host).map_err(KopiaError::Identity)?;
        Ok(Self { connection, identity, folder, program: place.program.clone(), timeout: place.timeout, hear })
    }

    fn local(&self) -> Local<'_> {
        Local {
            program: &self.program,
            connection: &self.connection,
            identity: &self.identity,
            folder: self.folder.path(),
            timeout: self.timeout,
            hear: self.hear,
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

    /// What it takes on its storage; nothing if the walk takes too long.
    async fn stored(&self, standing: &mut Standing) -> Result<Option<Size>, KopiaError> {
        let local = Local { timeout: self.timeout.min(WALK), ..self.local() };
        let ended = local.ask(Ask::Stored).await?;
        if ended.cut.is_some() {
            return Ok(None);
        }
        Ok(answered(ended, |text| Ok(kopia::stored(text))).note(standing).flatten())
    }

    async fn record(&self) -> Result<Answer<Maintenance>, KopiaError> {
        Ok(answered(self.local().ask(Ask::Record).await?, Maintenance::parse))
    }
}

fn temporary() -> Result<TempDir, KopiaError> {
    private("volwarden-kopia-").map_err(KopiaError::Folder)
}

/// A temporary folder that nobody else may look into, whatever the umask says.
pub(super) fn private(prefix: &str) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o700)).tempdir()
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

/// Whether a program is on the PATH.
#[must_use]
pub fn on_path(program: &str) -> bool {
    let may_run =
        |file: PathBuf| file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| may_run(folder.join(program))))
}

/// Looks at a repository. Nothing is written to it.
///
/// # Errors
/// When it could not even be asked; what kopia refused is in the answer.
pub async fn status(access: &Access) -> Result<Standing, KopiaError> {
    seen(&Visit::begin(access, DEAF)?, access.config.display().to_string()).await
}

/// Looks at a repository that nobody has connected to. Nothing is written to it.
///
/// # Errors
/// When it could not even be asked; what kopia refused is in the answer.
pub async fn status_in(place: &Place) -> Result<Standing, KopiaError> {
    let visit = Visit::at(place, DEAF)?;
    let config = visit.folder.path().join("read.config").display().to_string();
    seen(&visit, config).await
}

async fn seen(visit: &Visit<'_>, config: String) -> Result<Standing, KopiaError> {
    let mut standing = Standing::empty(Clock::start().now().wall, config, visit.identity.clone(), visit.lock_view());
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
    standing.size = visit.stored(&mut standing).await?;
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
    let visit = Visit::begin(access, DEAF)?;
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
pub async fn maintain(access: &Access, round: Round, hear: Hear<'_>) -> Result<Verdict, KopiaError> {
    maintained(&Visit::begin(access, hear)?, round).await
}

async fn maintained(visit: &Visit<'_>, round: Round) -> Result<Verdict, KopiaError> {
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
pub async fn verify(access: &Access, percent: u8, hear: Hear<'_>) -> Result<Check, KopiaError> {
    checked(&Visit::begin(access, hear)?, percent).await
}

async fn checked(visit: &Visit<'_>, percent: u8) -> Result<Check, KopiaError> {
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

/// Does one task in a Job's pod, and says what came of it. Before anything is written the repository has to be the one
/// that it was, and our own.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn errand(errand: &Errand) -> Result<Report, KopiaError> {
    let pod = PodLog::begin();
    let hear = |what: &str, line: Option<&str>| pod.hear(what, line);
    let visit = Visit::at(&errand.place, &hear)?;
    let task = errand.task;
    if let Err(failure) = visit.present().await {
        return Ok(Report::failed(task, report::Ended::NotRun, &failure));
    }
    let local = visit.local();
    let repository = match answered(local.ask(Ask::Status).await?, Repository::parse) {
        Answer::Is(repository) => repository,
        Answer::Failed(failure) => return Ok(Report::failed(task, report::Ended::NotRun, &failure)),
        Answer::Unclear(why) => return Ok(Report::unclear(task, why)),
    };
    if let Some(failure) = changed(errand.unique_id.as_deref(), repository.unique_id.as_deref()) {
        return Ok(Report::failed(task, report::Ended::NotRun, &failure));
    }
    let mut report = match task {
        Task::Stats => Report::happened(task, "it was looked at"),
        Task::Own => owned(&visit).await?,
        Task::Quick => Report::maintained(task, &maintained(&visit, Round::Quick).await?),
        Task::Full => Report::maintained(task, &maintained(&visit, Round::Full).await?),
        Task::Verify => Report::verified(task, &checked(&visit, errand.percent).await?),
        Task::VerifyWhole => Report::verified(task, &checked(&visit, 100).await?),
        Task::Settings => settings::settled(&visit, &errand.settings).await?,
        Task::Expire => match expire::expired(&visit, &errand.expire).await? {
            Expired::Decided(decision) => Report::expired(&decision),
            Expired::Failed(failure) => Report::failed(task, report::Ended::Failed, &failure),
            Expired::Unclear(why) => Report::unclear(task, why),
        },
    };
    match sight(&visit).await? {
        Ok(seen) => report.sight = Some(seen),
        // A look that saw only half of it is none.
        Err(blind) if task == Task::Stats => return Ok(blind),
        Err(_) => {}
    }
    Ok(report)
}

/// What kopia says, in the log of a pod, which is all that is left of it: each word as it is said, and of a count that goes
/// on for hours a line a minute.
struct PodLog {
    clock: Clock,
    meter: RefCell<Meter>,
}

impl PodLog {
    fn begin() -> Self {
        Self { clock: Clock::start(), meter: RefCell::default() }
    }

    fn hear(&self, what: &str, line: Option<&str>) {
        let elapsed = self.clock.now().mono;
        let mut meter = self.meter.borrow_mut();
        if let Some(line) = line {
            meter.hear(line, elapsed);
        }
        if let Some(line) = meter.log(elapsed) {
            tracing::info!(ask = what, "kopia: {line}");
        }
    }
}

/// Puts a report into the log, which outlives the termination message.
pub fn log(report: &str) {
    tracing::info!(report, "the task is over");
}

/// The failure, if it is not the repository that it has to be.
fn changed(wanted: Option<&str>, found: Option<&str>) -> Option<Failure> {
    let said = match (wanted, found) {
        (_, None) => "kopia names no unique ID of what is there".to_owned(),
        (Some(wanted), Some(found)) if wanted != found => {
            format!("the unique ID of what is there is {found}, and it has to be {wanted}")
        }
        _ => return None,
    };
    Some(Failure::new(Class::RepositoryChanged, said))
}

/// A look at a repository that can be opened; or a report of what is in the way.
async fn sight(visit: &Visit<'_>) -> Result<Result<Sight, Report>, KopiaError> {
    let local = visit.local();
    let blind = |failure: &Failure| Report::failed(Task::Stats, report::Ended::Failed, failure);
    let unclear = |why: String| Report::unclear(Task::Stats, why);
    let at = Clock::start().now().wall;
    let repository = match answered(local.ask(Ask::Status).await?, Repository::parse) {
        Answer::Is(repository) => repository,
        Answer::Failed(failure) => return Ok(Err(blind(&failure))),
        Answer::Unclear(why) => return Ok(Err(unclear(why))),
    };
    let record = match visit.record().await? {
        Answer::Is(record) => record,
        Answer::Failed(failure) => return Ok(Err(blind(&failure))),
        Answer::Unclear(why) => return Ok(Err(unclear(why))),
    };
    let sources = match answered(local.ask(Ask::Snapshots).await?, kopia::sources) {
        Answer::Is(sources) => sources,
        Answer::Failed(failure) => return Ok(Err(blind(&failure))),
        Answer::Unclear(why) => return Ok(Err(unclear(why))),
    };
    // What of these cannot be told is left out.
    let mut aside = Standing::empty(at, String::new(), visit.identity.clone(), LockView::default());
    let indexes = answered(local.ask(Ask::Indexes).await?, kopia::indexes).note(&mut aside);
    let mut epoch = None;
    if repository.epochs_enabled {
        let current = answered(local.ask(Ask::Epochs).await?, |text| Ok(kopia::epoch(text)));
        epoch = current.note(&mut aside).flatten();
    }
    let stored = visit.stored(&mut aside).await?;
    let sight = Sight::of(at, &repository, Some(&record)).indexed(indexes.map(|(blobs, _)| blobs), epoch);
    Ok(Ok(sight.stored(stored).sourced(&sources)))
}

/// Makes us the owner of maintenance, and believes it when the record says so.
async fn owned(visit: &Visit<'_>) -> Result<Report, KopiaError> {
    let (task, us) = (Task::Own, visit.identity.clone());
    if let Some(failure) = visit.local().ask(Ask::Own).await?.failure() {
        return Ok(Report::failed(task, report::Ended::Failed, &failure));
    }
    Ok(match visit.record().await? {
        Answer::Is(record) if record.owner.as_deref().is_some_and(|owner| us.is(owner)) => {
            Report::happened(task, format!("the owner of maintenance is {us}"))
        }
        Answer::Is(record) => {
            let failure = kopia::may_maintain(&us, &record).err();
            let failure = failure.unwrap_or_else(|| Failure::new(Class::NotOwner, "it has no owner"));
            Report::failed(task, report::Ended::Failed, &failure)
        }
        Answer::Failed(failure) => Report::failed(task, report::Ended::Failed, &failure),
        Answer::Unclear(why) => Report::unclear(task, why),
    })
}
