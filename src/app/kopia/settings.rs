//! Policies that a repository is to have: compared, set where that is allowed, and read back.
//!
//! Exit code 0 is no proof that a policy is what it should be. What was set counts only when kopia, asked again, has all six
//! counts of it; and what is as the spec says is not written.

use jiff::Timestamp;

use super::expire::{Cluster, Stop};
use super::{Answer, KopiaError, Visit, answered};
use crate::domain::kopia::expire;
use crate::domain::kopia::origin::{self, Defined};
use crate::domain::kopia::settings::{self, Change, Settled, Wish};
use crate::domain::kopia::{Class, Failure};
use crate::domain::repository::Task;
use crate::domain::repository::own;
use crate::domain::repository::report::{Ended, Report};
use crate::io::kopia::Ask;

/// What is to be set.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The policies.
    pub wishes: Vec<Wish>,
    /// Whose sources are, and what was approved.
    pub cluster: Cluster,
    /// When something was last set by an approval.
    pub approved_before: Option<Timestamp>,
}

/// Sets what may be set, and says what came of it.
///
/// # Errors
/// When the repository could not even be asked.
pub(super) async fn settled(visit: &Visit<'_>, order: &Order) -> Result<Report, KopiaError> {
    let task = Task::Settings;
    let (settled, stop) = match done(visit, order).await {
        Ok((settled, None)) => return Ok(Report::settled(&settled)),
        Ok((settled, Some(stop))) => (Some(settled), stop),
        Err(stop) => (None, stop),
    };
    let report = match stop {
        Stop::Error(error) => return Err(error),
        Stop::Failed(failure) => Report::failed(task, Ended::Failed, &failure),
        Stop::Unclear(why) => Report::unclear(task, why),
    };
    // What was set before it failed was set.
    Ok(settled.iter().fold(report, Report::with_settings))
}

/// What came of it as far as it went, and what stopped it.
async fn done(visit: &Visit<'_>, order: &Order) -> Result<(Settled, Option<Stop>), Stop> {
    let Order { wishes, cluster, approved_before } = order;
    let local = visit.local();
    let all = answered(local.ask(Ask::Snapshots).await?, expire::listed).value()?;
    let named: Vec<String> = wishes.iter().filter_map(|wish| wish.target.source()).map(str::to_owned).collect();
    let (choices, _) = own::choose(&named, &cluster.candidates, &all);
    // What cannot be told is another's.
    let foreign = |source: &str| choices.iter().find(|one| one.source == source).is_none_or(|one| one.foreign);
    let changes = settings::changes(wishes, &policies(visit).await?, foreign);
    let plan = settings::approval(&changes, cluster.unique_id.as_deref(), *approved_before);
    let approved = plan.as_ref().is_some_and(|plan| cluster.approved.as_deref() == Some(plan.as_str()));
    let (waiting, setting): (Vec<Change>, _) = changes.into_iter().partition(|one| one.asks() && !approved);
    let kept = wishes.len().saturating_sub(waiting.len()).saturating_sub(setting.len());
    let approval = plan.filter(|_| !waiting.is_empty());
    let settled = Settled { kept, set: Vec::new(), waiting, approval };
    if setting.is_empty() {
        return Ok((settled, None));
    }
    let refused = set(visit, &setting).await.err();
    // Whatever kopia said, what it has now is told.
    let now = match policies(visit).await {
        Ok(now) => now,
        Err(stop) => return Ok((settled, refused.or(Some(stop)))),
    };
    let (set, not): (Vec<Change>, Vec<Change>) = setting.into_iter().partition(|one| is_set(one, &now));
    let lied = not.first().map(|one| {
        let said = format!("kopia said that it set the policy of {}, and it is not so: {}", one.target, one.said());
        Stop::Failed(Failure::new(Class::NoTrace, said))
    });
    Ok((Settled { set, ..settled }, refused.or(lied)))
}

/// Every policy that somebody set.
async fn policies(visit: &Visit<'_>) -> Result<Vec<Defined>, Stop> {
    answered(visit.local().ask(Ask::Policies).await?, origin::defined).value()
}

/// One after another, until one is refused.
async fn set(visit: &Visit<'_>, changes: &[Change]) -> Result<(), Stop> {
    for one in changes {
        let ended = visit.local().ask(Ask::SetPolicy(&one.target, one.to)).await?;
        let answer = answered(ended, |_| Ok(()));
        match answer {
            Answer::Is(()) => {}
            Answer::Failed(failure) => return Err(Stop::Failed(failure)),
            Answer::Unclear(why) => return Err(Stop::Unclear(format!("the policy of {}: {why}", one.target))),
        }
    }
    Ok(())
}

/// Whether a policy has all six counts now.
fn is_set(change: &Change, now: &[Defined]) -> bool {
    let wish = Wish { target: change.target.clone(), keep: change.to };
    settings::changes(&[wish], now, |_| false).is_empty()
}
