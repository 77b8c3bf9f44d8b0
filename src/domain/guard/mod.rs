//! The guards: every intended action passes all that apply to its step, or is held with a reason.
//!
//! [`TABLE`] says which guard stands before which step. Each guard is a pure function of a [`Case`], which is
//! plain data; [`pass`] asks all of them, and is the only maker of [`Guarded`], the only thing `io::act` takes.
//! So nothing can be written that no guard has seen, and every hold can say why.

mod checks;
pub mod prune;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::digest::Hash;
use super::fact::Now;
use super::ledger::Approved;
use super::ledger::count::{Batch, Budget, Fuse, Spent};
use super::policy::Mode;
use super::remedy::Step;
use super::remedy::action::{ACT, Action};

/// A guard. Its name is public: in the ledger, in metrics, and in what `why` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// What the decision rests on is known.
    Synced,
    /// We hold our own lease, for long enough.
    Leader,
    /// The fence around our account is shown to stand, where that is required.
    Fence,
    /// The policy's mode permits it.
    Mode,
    /// Nobody has said stop.
    Paused,
    /// The policy covers it.
    Scope,
    /// It has been so for long enough, and was seen often enough.
    Settled,
    /// Nobody is using what would be disturbed.
    Quiet,
    /// Whoever must finish the job is alive.
    Controller,
    /// The storage backend is healthy.
    Backend,
    /// It is not one of too many at once.
    Storm,
    /// There is budget left.
    Budget,
    /// The driver's repairs do not keep failing.
    Breaker,
    /// A maintenance window is open.
    Window,
    /// No alert says hold.
    Alerts,
    /// What would be lost was approved.
    Consequence,
}

impl Guard {
    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Leader => "leader",
            Self::Fence => "fence",
            Self::Mode => "mode",
            Self::Paused => "paused",
            Self::Scope => "scope",
            Self::Settled => "settled",
            Self::Quiet => "quiet",
            Self::Controller => "controller",
            Self::Backend => "backend",
            Self::Storm => "storm",
            Self::Budget => "budget",
            Self::Breaker => "breaker",
            Self::Window => "window",
            Self::Alerts => "alerts",
            Self::Consequence => "consequence",
        }
    }

    /// All of them, in the order in which they are asked.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(guard, ..)| *guard)
    }

    /// Reads a public name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().map(|(guard, ..)| *guard).find(|guard| guard.as_str() == name)
    }
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Allow,
    /// Not now.
    Wait {
        /// When it is worth asking again, if that can be told.
        until: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// Not unless something changes.
    Refuse {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Nothing against it.
    #[must_use]
    pub fn allows(&self) -> bool {
        *self == Self::Allow
    }

    /// `Allow`, `Wait` or `Refuse`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Wait { .. } => "Wait",
            Self::Refuse { .. } => "Refuse",
        }
    }

    fn wait(until: Option<Timestamp>, reason: impl Into<String>) -> Self {
        Self::Wait { until, reason: reason.into() }
    }

    fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse { reason: reason.into() }
    }
}

/// Whether a controller works, as far as a repair has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Alive,
    /// It cannot be told, for this reason.
    Unknown(String),
    /// It does not, for this reason.
    Dead(String),
}

/// What is known of the storage backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// There is no kind in the cluster that would tell.
    Untold,
    /// Every CephCluster is healthy by a recent check.
    Healthy,
    /// One is not, or its health is stale.
    Trouble(String),
}

/// What configured alerts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alerts {
    /// None is configured, or none fires.
    Quiet,
    /// One says hold.
    Firing(String),
    /// They cannot be asked.
    Unasked(String),
}

/// How long and how often a finding was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How long it has been so.
    pub age: Duration,
    /// For how long it has to be.
    pub floor: Duration,
    /// So many fresh reads agreed.
    pub times: u32,
    /// So many have to.
    pub needed: u32,
    /// When the next one may count.
    pub next: Option<Timestamp>,
    /// It rests on a look that was too short to be sure.
    pub unverified: bool,
}

/// Everything the guards look at: plain data about one action.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The present.
    pub now: Now,
    /// The action.
    pub action: &'a Action,
    /// Why sources cannot be relied on that the decision rests on.
    pub doubts: Vec<String>,
    /// How much of our own lease is left; `None`: we do not hold it.
    pub lease_left: Option<Duration>,
    /// Why the fence is not taken to stand, where it has to.
    pub unfenced: Option<String>,
    /// The policies' names.
    pub policies: String,
    /// The mode they come to.
    pub mode: Mode,
    /// They switch this step on.
    pub switched_on: bool,
    /// Whether this very plan is approved.
    pub approved: Approved,
    /// What says stop, and until when.
    pub pauses: Vec<(String, Option<Timestamp>)>,
    /// Why no policy covers it.
    pub out_of_scope: Option<String>,
    /// How long and how often it was seen.
    pub seen: Seen,
    /// Pending claims and clones from that very snapshot.
    pub restores: Vec<String>,
    /// Work of the driver's controller that is getting on.
    pub work: Vec<String>,
    /// Any other use of the snapshot.
    pub uses: Vec<String>,
    /// The driver's csi-snapshotter.
    pub snapshotter: Standing,
    /// snapshot-controller.
    pub controller: Standing,
    /// The storage backend.
    pub backend: Backend,
    /// Take the backend for healthy where nothing tells.
    pub assume_healthy: bool,
    /// The driver is degraded: its objects' steps are frozen.
    pub storm: bool,
    /// How repairs of this class go.
    pub batch: Batch,
    /// So many one at a time ...
    pub first_singly: u32,
    /// ... then so many at once.
    pub max_in_flight: u32,
    /// How much of the budget is used.
    pub spent: Spent,
    /// How much there is.
    pub limit: u32,
    /// The driver's breaker.
    pub fuse: Fuse,
    /// Until when this very object is left alone, because the last repair of it failed.
    pub rests: Option<Timestamp>,
    /// Other episodes of the driver in flight.
    pub driver_in_flight: usize,
    /// How long a batch rests after a failure.
    pub rest: Duration,
    /// Whether a window is open, else when one opens.
    pub window: Result<(), Option<Timestamp>>,
    /// The configured alerts.
    pub alerts: Alerts,
}

impl Case<'_> {
    fn budget(&self) -> Budget {
        Budget::of(self.action.step)
    }
}

type Check = fn(&Case<'_>) -> Verdict;

const X: bool = true;
const O: bool = false;

/// Which guard stands before which step: a column for each of [`Step::ALL`], in that order.
#[rustfmt::skip]
pub const TABLE: [(Guard, Check, [bool; 10]); 16] = [
    //                                          Nudge Mark Rest Cand Leas R1 R2 R5 R4 Delete
    (Guard::Synced,      checks::synced,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Leader,      checks::leader,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Fence,       checks::fence,       [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Mode,        checks::mode,        [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Paused,      checks::paused,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Scope,       checks::scope,       [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Settled,     checks::settled,     [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Quiet,       checks::quiet,       [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Controller,  checks::controller,  [   X,   X,   O,   O,   O,   O, O, O, O, O]),
    (Guard::Backend,     checks::backend,     [   O,   O,   X,   X,   O,   O, O, O, O, O]),
    (Guard::Storm,       checks::storm,       [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Budget,      checks::budget,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Breaker,     checks::breaker,     [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Window,      checks::window,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Alerts,      checks::alerts,      [   X,   X,   X,   X,   X,   X, X, X, X, X]),
    (Guard::Consequence, checks::consequence, [   X,   X,   X,   X,   X,   X, X, X, X, X]),
];

/// Whether a guard stands before a step.
#[must_use]
pub fn stands_before(columns: &[bool; 10], step: Step) -> bool {
    let column = Step::ALL.iter().position(|one| *one == step);
    column.and_then(|column| columns.get(column)).copied().unwrap_or(true)
}

/// What all guards that apply say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement(Vec<(Guard, Verdict)>);

impl Judgement {
    /// By guard, in the table's order.
    #[must_use]
    pub fn verdicts(&self) -> &[(Guard, Verdict)] {
        &self.0
    }

    /// The first that does not allow it.
    #[must_use]
    pub fn held_by(&self) -> Option<&(Guard, Verdict)> {
        self.0.iter().find(|(_, verdict)| !verdict.allows())
    }

    /// Whether this guard holds it.
    #[must_use]
    pub fn holds(&self, guard: Guard) -> bool {
        self.0.iter().any(|(one, verdict)| *one == guard && !verdict.allows())
    }

    /// Nothing but these guards is against it.
    #[must_use]
    pub fn only(&self, guards: &[Guard]) -> bool {
        self.0.iter().all(|(guard, verdict)| verdict.allows() || guards.contains(guard))
    }

    /// When it is worth asking again, if all that hold it can tell.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        let waits = self.0.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Allow => None,
            Verdict::Wait { until, .. } => Some(*until),
            Verdict::Refuse { .. } => Some(None),
        });
        waits.collect::<Option<Vec<Timestamp>>>()?.into_iter().max()
    }

    /// The verdicts as they are told apart: guard and word, without reasons that count seconds.
    #[must_use]
    pub fn shape(&self) -> Vec<(Guard, &'static str)> {
        self.0.iter().map(|(guard, verdict)| (*guard, verdict.as_str())).collect()
    }
}

/// Asks every guard that stands before the action's step.
#[must_use]
pub fn judge(case: &Case<'_>) -> Judgement {
    let step = case.action.step;
    let asked = TABLE.iter().filter(|(_, _, columns)| stands_before(columns, step));
    Judgement(asked.map(|(guard, check, _)| (*guard, check(case))).collect())
}

/// An action that every guard has let pass. Nothing else can be carried out, and only [`pass`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    action: Action,
    hash: Hash,
    record: Arc<str>,
    attempt: u32,
    intended: Timestamp,
    deadline: Duration,
}

impl Guarded {
    /// The action.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The plan's hash.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Name of the record whose intent it carries out.
    #[must_use]
    pub fn record(&self) -> &Arc<str> {
        &self.record
    }

    /// The attempt's number.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the intent was written.
    #[must_use]
    pub fn intended(&self) -> Timestamp {
        self.intended
    }

    /// Whatever is not sent and answered by then, on the monotonic clock, must not be sent any more.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// The intent that an action would carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Name of the record.
    pub record: Arc<str>,
    /// The attempt's number.
    pub attempt: u32,
    /// When the intent was written, or will be.
    pub intended: Timestamp,
    /// The plan's hash.
    pub hash: Hash,
}

/// Lets an action pass if every guard allows it; what they say either way.
#[must_use]
pub fn pass(case: &Case<'_>, ticket: Ticket) -> (Judgement, Option<Guarded>) {
    let judgement = judge(case);
    let left = case.lease_left.filter(|_| judgement.held_by().is_none());
    let guarded = left.map(|left| Guarded {
        action: case.action.clone(),
        hash: ticket.hash,
        record: ticket.record,
        attempt: ticket.attempt,
        intended: ticket.intended,
        deadline: case.now.mono + ACT.min(left),
    });
    (judgement, guarded)
}
