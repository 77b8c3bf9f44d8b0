//! Which snapshots of which sources go, and their deletion: by name, under terms that were tried before, and of sources that
//! are not shown to be this cluster's or that inherit the global policy only by approval.

use super::{Access, Answer, DEAF, KopiaError, Trouble, Visit, answered};
use crate::domain::kopia::expire::{self, Decision, Expiry, Listed};
use crate::domain::kopia::origin::{self, Defined};
use crate::domain::kopia::{Class, Failure};
use crate::domain::repository::own::{self, Candidate, Choice};
use crate::domain::retention::Policy;
use crate::io::kopia::Ask;

/// So many snapshots are deleted by one call.
const AT_ONCE: usize = 100;

/// Which snapshots may go.
#[derive(Clone, Debug, Default)]
pub struct Clearance {
    /// Of these sources; where none is named, in a cluster, of those that are shown to be its own.
    pub sources: Vec<String>,
    /// So many at most.
    pub most: usize,
    /// Only under these terms, which were tried before; none: nothing is deleted.
    pub terms: Option<String>,
    /// Of these it is known that their newest snapshot is small.
    pub accepted: Vec<String>,
    /// For which cluster; none: whoever names the terms was shown the sources, and approves of them by that.
    pub cluster: Option<Cluster>,
}

/// What a cluster knows of its sources, and what somebody in it has approved of this task.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The sources that may be its own.
    pub candidates: Vec<Candidate>,
    /// The approval.
    pub approved: Option<String>,
    /// The repository's unique ID.
    pub unique_id: Option<String>,
}

/// What became of snapshots.
#[derive(Debug)]
pub enum Expired {
    /// It was decided.
    Decided(Decision),
    /// Kopia refused.
    Failed(Failure),
    /// It cannot be told.
    Unclear(String),
}

/// Under which policy sources are.
#[derive(Debug)]
pub enum Policies {
    /// These.
    Are(Vec<(String, Policy)>),
    /// Kopia refused.
    Failed(Failure),
    /// It cannot be told.
    Unclear(String),
}

/// Says under which policy each of these sources is. Nothing is written.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn policies(access: &Access, sources: &[String]) -> Result<Policies, KopiaError> {
    let visit = Visit::begin(access, DEAF)?;
    if let Err(failure) = visit.present().await {
        return Ok(Policies::Failed(failure));
    }
    let mut all = Vec::new();
    for source in sources {
        match answered(visit.local().ask(Ask::Policy(source)).await?, expire::policy) {
            Answer::Is(policy) => all.push((source.clone(), policy)),
            Answer::Failed(failure) => return Ok(Policies::Failed(failure)),
            Answer::Unclear(why) => return Ok(Policies::Unclear(why)),
        }
    }
    Ok(Policies::Are(all))
}

/// Decides which snapshots of these sources go, and deletes them if the terms are those that were tried before.
///
/// # Errors
/// When the repository could not even be asked.
pub async fn expire(access: &Access, clearance: &Clearance) -> Result<Expired, KopiaError> {
    let visit = Visit::begin(access, DEAF)?;
    if let Err(failure) = visit.present().await {
        return Ok(Expired::Failed(failure));
    }
    expired(&visit, clearance).await
}

/// What is in the way of an answer.
pub(super) enum Stop {
    Error(KopiaError),
    Failed(Failure),
    Unclear(String),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Error(trouble.into())
    }
}

impl<T> Answer<T> {
    pub(super) fn value(self) -> Result<T, Stop> {
        match self {
            Self::Is(value) => Ok(value),
            Self::Failed(failure) => Err(Stop::Failed(failure)),
            Self::Unclear(why) => Err(Stop::Unclear(why)),
        }
    }
}

pub(super) async fn expired(visit: &Visit<'_>, clearance: &Clearance) -> Result<Expired, KopiaError> {
    match decided(visit, clearance).await {
        Ok(decision) => Ok(Expired::Decided(decision)),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Failed(failure)) => Ok(Expired::Failed(failure)),
        Err(Stop::Unclear(why)) => Ok(Expired::Unclear(why)),
    }
}

async fn decided(visit: &Visit<'_>, clearance: &Clearance) -> Result<Decision, Stop> {
    let local = visit.local();
    let all = answered(local.ask(Ask::Snapshots).await?, expire::listed).value()?;
    let policies = answered(local.ask(Ask::Policies).await?, origin::defined).value()?;
    let named = |source: &String| Choice { source: source.clone(), foreign: false };
    let (choices, apart) = match &clearance.cluster {
        Some(cluster) => own::choose(&clearance.sources, &cluster.candidates, &all),
        None => (clearance.sources.iter().map(named).collect(), Vec::new()),
    };
    let mut expiries = Vec::new();
    for choice in &choices {
        let accepted = clearance.accepted.contains(&choice.source);
        expiries.push(one(visit, choice, accepted, &all, &policies).await?);
    }
    let cluster = clearance.cluster.as_ref();
    let approval = cluster.and_then(|cluster| expire::approval(&expiries, cluster.unique_id.as_deref()));
    let given = cluster.and_then(|cluster| cluster.approved.as_deref());
    let approved = cluster.is_none() || approval.as_ref().is_some_and(|plan| given == Some(plan.as_str()));
    let mut decision = Decision { expiries, apart, approval, approved, deleted: None };
    if clearance.terms.as_deref() == Some(expire::terms(&decision.expiries).as_str()) {
        let going = expire::within(&decision.expiries, clearance.most, approved);
        decision.deleted = Some(deleted(visit, &going).await?);
    }
    Ok(decision)
}

/// What becomes of one source.
async fn one(
    visit: &Visit<'_>,
    Choice { source, foreign }: &Choice,
    accepted: bool,
    all: &[Listed],
    policies: &[Defined],
) -> Result<Expiry, Stop> {
    let local = visit.local();
    let policy = answered(local.ask(Ask::Policy(source)).await?, expire::policy).value()?;
    let dry = local.ask(Ask::Expire(source)).await?;
    if let Some(cut) = dry.cut {
        return Err(Stop::Unclear(cut));
    }
    if let Some(failure) = dry.failure() {
        return Err(Stop::Failed(failure));
    }
    // A source without a snapshot is none that kopia would say anything about.
    let none = !all.iter().any(|one| one.source == *source);
    let would = if none { Some(0) } else { expire::would_delete(&format!("{}\n{}", dry.stdout, dry.stderr)) };
    let expiry = expire::expiry(source, all, policy, would, accepted);
    Ok(Expiry { foreign: *foreign, global: origin::is_global(source, policies), ..expiry })
}

/// Deletes these, looks whether they are gone, and says how many are.
async fn deleted(visit: &Visit<'_>, going: &[String]) -> Result<usize, Stop> {
    let local = visit.local();
    for some in going.chunks(AT_ONCE) {
        let ended = local.ask(Ask::Delete(some)).await?;
        if let Some(cut) = ended.cut {
            return Err(Stop::Unclear(cut));
        }
        if let Some(failure) = ended.failure() {
            return Err(Stop::Failed(failure));
        }
    }
    let left = match answered(local.ask(Ask::Snapshots).await?, expire::listed) {
        Answer::Unclear(why) => return Err(Stop::Unclear(format!("whether all were deleted: {why}"))),
        answer => answer.value()?,
    };
    let stayed = going.iter().filter(|id| left.iter().any(|one| one.id == **id)).count();
    if stayed > 0 {
        let said = format!("kopia said that it deleted {} snapshots, and {stayed} are still there", going.len());
        return Err(Stop::Failed(Failure::new(Class::NoTrace, said)));
    }
    Ok(going.len())
}
