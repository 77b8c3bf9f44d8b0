//! Which task of a repository is due, and what holds it.
//!
//! A time that was missed is made up for once. After a failure a task waits by its class: what may work by itself later
//! is tried again soon and then ever later, and what somebody has to change is tried again when the spec has changed, and
//! once a day all the same, because a hold that never ends by itself is found after months.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Task;
use super::findings::{self, Again, Failing, Owner, Point, SourceSeen};
use super::rules::Custody;
use crate::domain::digest::{Encoding, Hash};
use crate::domain::kopia::{Advice, Class, Identity};
use crate::domain::schedule::served;
use crate::domain::words;

/// The first wait after a failure that may pass by itself; it doubles.
const FIRST: Duration = Duration::from_secs(600);
/// Until it is this long.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// The wait after a failure that somebody has to mend.
const MENDED: Duration = Duration::from_secs(24 * 3600);
/// So long we make room for whoever maintains under our own name: kopia's owner does not keep the two of us apart.
const YIELD: Duration = Duration::from_secs(24 * 3600);
/// An owner is not gone before its record is silent for so long, and for three of its own cycles.
const SILENT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a Job is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// `volwarden.dev/requestedAt`.
    Request,
    /// `volwarden.dev/approved`.
    Approval,
    /// The repository was never seen, or its owner is gone.
    Need,
    /// It failed before.
    Retry,
}

/// What the status says of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskTold {
    /// The time of its schedule that was last served.
    pub last_scheduled: Option<Timestamp>,
    /// When it last truly happened.
    pub last_success: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Not by itself before this.
    pub retry_at: Option<Timestamp>,
    /// The generation that failed.
    pub failed_generation: Option<i64>,
    /// The request that it did not run for.
    pub failed_request: Option<Box<str>>,
    /// Why it failed, if it did.
    pub failure: Option<Failing>,
}

/// The repository as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Option<Timestamp>,
    /// Who may run maintenance.
    pub owner: Option<Box<str>>,
    /// When anybody's maintenance last ended well.
    pub last_maintenance: Option<Timestamp>,
    /// How often the owner would run the large cycle.
    pub cycle: Option<Duration>,
    /// Index blobs in use.
    pub index_blobs: Option<u64>,
    /// Bytes of the volume.
    pub capacity: Option<u64>,
    /// Free ones.
    pub available: Option<u64>,
    /// How far the clock of the node that looked is off ours, if it is too far.
    pub skew: Option<SignedDuration>,
    /// Those sources that are latest.
    pub sources: Vec<SourceSeen>,
}

/// What the object says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// The request.
    pub requested: Option<Box<str>>,
    /// The request that a Job was last made for.
    pub handled: Option<Box<str>>,
    /// The approval.
    pub approved: Option<Hash>,
    /// That of an expiry.
    pub approved_expiry: Option<Hash>,
    /// That of settings.
    pub approved_settings: Option<Hash>,
    /// The repository that was seen first.
    pub unique_id: Option<Box<str>>,
    /// When we were made its owner.
    pub owned_since: Option<Timestamp>,
    /// The failure for which nothing is written.
    pub stopped: Option<Class>,
    /// Since when.
    pub stopped_since: Option<Timestamp>,
    /// As it was seen last.
    pub seen: Option<Seen>,
    /// What came of each task.
    pub tasks: BTreeMap<Task, TaskTold>,
    /// Owners of maintenance, oldest first.
    pub owners: Vec<Owner>,
    /// Its volume, one look a day, oldest first.
    pub trend: Vec<Point>,
    /// When a run ended that was under our name and not ours.
    pub stranger: Option<Timestamp>,
    /// When maintenance by another object of the same repository ended.
    pub sibling: Option<Timestamp>,
    /// Policies that are set back by somebody each time we set them.
    pub again: Option<Again>,
    /// What was wrong with it when the status was stored, and since when.
    pub findings: BTreeMap<findings::Class, Timestamp>,
}

impl Told {
    /// The approval that a task takes along.
    #[must_use]
    pub fn approval(&self, task: Task) -> Option<&Hash> {
        match task {
            Task::Expire => self.approved_expiry.as_ref(),
            Task::Settings => self.approved_settings.as_ref(),
            _ => None,
        }
    }
}

/// Why a task that is due, or was asked for, is not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `spec.suspend`.
    Suspended,
    /// The spec makes no sense.
    Invalid(String),
    /// It was never seen.
    Unseen,
    /// It is damaged, or another one.
    Stopped(Class),
    /// Another manager serves it.
    Rival(String),
    /// Maintenance belongs to somebody else.
    NotOwner(Option<Box<str>>),
    /// No window is open.
    Window(Option<Timestamp>),
    /// It failed, and waits.
    Failed(Timestamp),
    /// No snapshot may go.
    NoExpiry,
    /// Nothing is to be set.
    NoSettings,
}

impl Hold {
    /// Its name in a condition.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::Invalid(_) => "Invalid",
            Self::Unseen => "Unseen",
            Self::Stopped(_) => "Stopped",
            Self::Rival(_) => "Rival",
            Self::NotOwner(_) => "NotOwner",
            Self::Window(_) => "Window",
            Self::Failed(_) => "Failed",
            Self::NoExpiry => "NoExpiry",
            Self::NoSettings => "NoSettings",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended => f.write_str("spec.suspend"),
            Self::Invalid(why) => write!(f, "the spec makes no sense: {why}"),
            Self::Unseen => f.write_str("the repository has not been seen yet"),
            Self::Stopped(class) => write!(f, "nothing is written to it: {class}; {}", class.remedy()),
            Self::Rival(who) => write!(f, "{who} maintains it; two managers of one repository are one too many"),
            Self::NotOwner(Some(owner)) => write!(f, "the owner of maintenance is {owner}, not us"),
            Self::NotOwner(None) => f.write_str("maintenance has no owner"),
            Self::Window(Some(opens)) => write!(f, "no window is open before {opens}"),
            Self::Window(None) => f.write_str("no window ever opens"),
            Self::NoExpiry => f.write_str("there is no spec.expire: no snapshot ever goes"),
            Self::NoSettings => f.write_str("there is neither spec.retention nor spec.epochs: nothing is ever set"),
            Self::Failed(until) => write!(f, "it failed, and is tried again at {until}"),
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// The Job to make.
    pub job: Option<(Task, Trigger)>,
    /// What is due and held.
    pub held: Vec<(Task, Hold)>,
}

/// Everything that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The repository's rules.
    pub custody: &'a Custody,
    /// What its object says.
    pub told: &'a Told,
    /// Who we are.
    pub us: &'a Identity,
    /// Another manager that serves this repository, in words.
    pub rival: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// What is due first comes first: ownership, then what sets, deletes, frees and shortens, then what only looks. By the
/// policies that are set now the next snapshots expire.
const ORDER: [Task; 8] =
    [Task::Own, Task::Settings, Task::Expire, Task::Full, Task::Quick, Task::Verify, Task::VerifyWhole, Task::Stats];

/// What is to be done about a repository of which no Job is under way.
#[must_use]
pub fn agenda(case: Case<'_>) -> Agenda {
    let mut agenda = Agenda::default();
    let asked = request(case.told);
    if case.told.unique_id.is_none() || case.told.seen.is_none() {
        // Without a first sight nobody knows what would be written to.
        let due = asked.filter(|task| *task == Task::Stats).map(|_| Trigger::Request);
        let due = due.or_else(|| need(case, Task::Stats, |_| true));
        offer(case, &mut agenda, Task::Stats, due);
        if let Some(task) = asked.filter(|task| *task != Task::Stats) {
            agenda.held.push((task, Hold::Unseen));
        }
        return agenda;
    }
    for task in ORDER {
        let due = if asked == Some(task) { Some(Trigger::Request) } else { by_itself(case, task) };
        offer(case, &mut agenda, task, due);
    }
    agenda
}

/// The first that nothing holds is made.
fn offer(case: Case<'_>, agenda: &mut Agenda, task: Task, due: Option<Trigger>) {
    let Some(trigger) = due else { return };
    match hold(case, task, trigger) {
        Some(hold) => agenda.held.push((task, hold)),
        None if agenda.job.is_none() => agenda.job = Some((task, trigger)),
        None => {}
    }
}

/// The task that somebody asks for and was not answered: the word before the first colon; one that names none asks for
/// full maintenance.
#[must_use]
pub fn request(told: &Told) -> Option<Task> {
    let text = told.requested.as_deref().filter(|text| Some(*text) != told.handled.as_deref())?;
    let word = text.split(':').next().unwrap_or_default().trim();
    // To become the owner takes an approval.
    Some(Task::from_name(word).filter(|task| *task != Task::Own).unwrap_or(Task::Full))
}

/// Whether a task is due without being asked for.
fn by_itself(case: Case<'_>, task: Task) -> Option<Trigger> {
    if task == Task::Own {
        return ownership(case);
    }
    let timer = case.custody.timer(task)?;
    let told = case.told.tasks.get(&task);
    let since = served(told.and_then(|told| told.last_scheduled), case.now).or(case.told.created)?;
    if timer.last(case.now).is_some_and(|slot| slot > since) {
        return Some(Trigger::Schedule);
    }
    told.is_some_and(|told| told.failures > 0).then_some(Trigger::Retry)
}

/// What is due until it has happened once.
fn need(case: Case<'_>, task: Task, wanted: impl FnOnce(&Told) -> bool) -> Option<Trigger> {
    let failed = case.told.tasks.get(&task).is_some_and(|told| told.failures > 0);
    wanted(case.told).then_some(if failed { Trigger::Retry } else { Trigger::Need })
}

/// The time of its schedule that a Job now serves.
#[must_use]
pub fn slot(custody: &Custody, task: Task, now: Timestamp) -> Option<Timestamp> {
    custody.timer(task)?.last(now)
}

/// Whether the owner of maintenance was us when it was last looked at.
fn is_ours(case: Case<'_>) -> bool {
    case.told.seen.as_ref().and_then(|seen| seen.owner.as_deref()).is_some_and(|owner| case.us.is(owner))
}

fn hold(case: Case<'_>, task: Task, trigger: Trigger) -> Option<Hold> {
    let Case { custody, told, now, .. } = case;
    if custody.rules().suspended {
        return Some(Hold::Suspended);
    }
    if !custody.problems().is_empty() {
        return Some(Hold::Invalid(custody.problems().join("; ")));
    }
    if task.writes() {
        if let Some(class) = told.stopped {
            return Some(Hold::Stopped(class));
        }
        if let Some(rival) = case.rival {
            return Some(Hold::Rival(rival.to_owned()));
        }
        if let Some(run) = told.stranger.filter(|run| is_ours(case) && words::age(now, *run) < YIELD) {
            let until = run.checked_add(YIELD).unwrap_or(run);
            return Some(Hold::Rival(format!(
                "somebody under our own name (a run ended at {run}; held until {until})"
            )));
        }
        if let Err(opens) = custody.may_begin(now) {
            return Some(Hold::Window(opens));
        }
    }
    if task == Task::Expire && !custody.rules().expires {
        return Some(Hold::NoExpiry);
    }
    if task == Task::Settings && !custody.rules().settings {
        return Some(Hold::NoSettings);
    }
    if task.maintains() && !is_ours(case) {
        let owner = told.seen.as_ref().and_then(|seen| seen.owner.as_deref());
        return Some(Hold::NotOwner(owner.map(Into::into)));
    }
    let waits = told.tasks.get(&task).filter(|one| one.failed_generation == Some(told.generation));
    let until = waits.and_then(|one| one.retry_at).filter(|until| *until > now);
    // Who asks anew need not wait; the same request is not tried again and again.
    let anew = trigger == Trigger::Request && waits.is_none_or(|one| one.failed_request != told.requested);
    until.filter(|_| !anew).map(Hold::Failed)
}

/// What an approval of ownership is of: from whom, to whom, of which repository, and after which time before.
#[must_use]
pub fn owner_plan(told: &Told, us: &Identity) -> Option<Hash> {
    let owner = told.seen.as_ref()?.owner.as_deref();
    if owner.is_some_and(|owner| us.is(owner)) {
        return None;
    }
    let mut plan = Encoding::of("kopia-owner/1");
    plan.field("uniqueID", told.unique_id.as_deref()?);
    plan.optional("owner", owner);
    plan.field("us", us);
    // Once we have been the owner, an approval of old does not make us one again.
    plan.optional("ownedSince", told.owned_since);
    Some(plan.hash())
}

fn ownership(case: Case<'_>) -> Option<Trigger> {
    let plan = owner_plan(case.told, case.us)?;
    if case.told.approved.as_ref() == Some(&plan) {
        return Some(Trigger::Approval);
    }
    let gone = case.custody.rules().takeover && case.told.owned_since.is_none() && owner_gone(case.told, case.now);
    gone.then_some(Trigger::Need)
}

/// Whether the owner's own record proves that nobody runs maintenance under that name any more. Without a single run in
/// it nothing is proved.
fn owner_gone(told: &Told, now: Timestamp) -> bool {
    let Some(Seen { last_maintenance: Some(last), cycle: Some(cycle), .. }) = &told.seen else { return false };
    words::age(now, *last) > SILENT.max(cycle.saturating_mul(3))
}

/// Until when a task waits after so many failures in a row, the last of this class; none: it cannot be told.
#[must_use]
pub fn retry_at(failures: u32, class: Option<Class>, now: Timestamp) -> Timestamp {
    let wait = match class.map(Class::advice) {
        Some(Advice::Hold | Advice::Human) => MENDED,
        Some(Advice::Retry) | None => {
            let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).filter(|times| *times > 0);
            doubled.and_then(|times| FIRST.checked_mul(times)).unwrap_or(LONGEST).min(LONGEST)
        }
    };
    now.checked_add(wait).unwrap_or(now)
}

/// What a failure of this class means for writing: the repository is another one, empty or damaged.
#[must_use]
pub fn stops(class: Class) -> bool {
    matches!(class, Class::RepositoryChanged | Class::NotInitialised | Class::IndexDamaged | Class::DataDamaged)
}

/// Whether a task that happened shows that writing may go on after a failure of this class: damage to data is seen by a
/// verification alone.
#[must_use]
pub fn clears(task: Task, class: Class) -> bool {
    class != Class::DataDamaged || matches!(task, Task::Verify | Task::VerifyWhole)
}
