//! Policies and epochs that a repository is to have: compared, set where that is allowed, and read back.
//!
//! Exit code 0 is no proof that a policy is what it should be. What was set counts only when kopia, asked again, has every
//! number of it; and what is as the spec says is not written.

use jiff::Timestamp;

use super::expire::{Cluster, Stop};
use super::{Answer, KopiaError, Visit, answered};
use crate::domain::kopia::epochs::{self, Epochs};
use crate::domain::kopia::expire::{self, Listed};
use crate::domain::kopia::origin;
use crate::domain::kopia::settings::{self, Change, Settled, To, Wish};
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
    /// Parameters of epochs; none: they are left alone.
    pub epochs: Epochs,
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
    let Order { wishes, epochs, cluster, approved_before } = order;
    let all = answered(visit.local().ask(Ask::Snapshots).await?, expire::listed).value()?;
    let differing = changes(visit, order, &all).await?;
    let plan = settings::approval(&differing, cluster.unique_id.as_deref(), *approved_before);
    let approved = plan.as_ref().is_some_and(|plan| cluster.approved.as_deref() == Some(plan.as_str()));
    let (waiting, setting): (Vec<Change>, _) = differing.into_iter().partition(|one| one.asks() && !approved);
    let named = wishes.len().saturating_add(usize::from(!epochs.is_empty()));
    let kept = named.saturating_sub(waiting.len()).saturating_sub(setting.len());
    let approval = plan.filter(|_| !waiting.is_empty());
    let settled = Settled { kept, set: Vec::new(), waiting, approval };
    if setting.is_empty() {
        return Ok((settled, None));
    }
    let refused = set(visit, &setting).await.err();
    // Whatever kopia said, what it has now is told.
    let left = match changes(visit, order, &all).await {
        Ok(left) => left,
        Err(stop) => return Ok((settled, refused.or(Some(stop)))),
    };
    let is_left = |one: &Change| left.iter().any(|left| left.target == one.target);
    let (not, set): (Vec<Change>, Vec<Change>) = setting.into_iter().partition(is_left);
    let lied = not.first().map(|one| {
        let said = format!("kopia said that it set {}, and it is not so: {}", one.target, one.said());
        Stop::Failed(Failure::new(Class::NoTrace, said))
    });
    Ok((Settled { set, ..settled }, refused.or(lied)))
}

/// What is not as wished now.
async fn changes(visit: &Visit<'_>, order: &Order, all: &[Listed]) -> Result<Vec<Change>, Stop> {
    let Order { wishes, epochs, cluster, .. } = order;
    let named: Vec<String> = wishes.iter().filter_map(|wish| wish.target.source()).map(str::to_owned).collect();
    let (choices, _) = own::choose(&named, &cluster.candidates, all);
    // What cannot be told is another's.
    let foreign = |source: &str| choices.iter().find(|one| one.source == source).is_none_or(|one| one.foreign);
    let defined = answered(visit.local().ask(Ask::Policies).await?, origin::defined).value()?;
    let mut changes = settings::changes(wishes, &defined, foreign);
    if !epochs.is_empty() {
        let now = answered(visit.local().ask(Ask::Status).await?, epochs::epochs).value()?;
        changes.extend(settings::epochs(epochs, &now.ok_or_else(without_epochs)?));
    }
    Ok(changes)
}

fn without_epochs() -> Stop {
    let failure = Failure::new(Class::Unknown, "the index of this repository has no epochs: it is of an old format");
    let remedy = "leave spec.epochs out; a change of format is a person's work".to_owned();
    Stop::Failed(Failure { remedy, ..failure })
}

/// One after another, until one is refused.
async fn set(visit: &Visit<'_>, changes: &[Change]) -> Result<(), Stop> {
    for one in changes {
        let ask = match &one.to {
            To::Policy(keep) => Ask::SetPolicy(one.target.source(), *keep),
            To::Epochs(epochs) => Ask::SetEpochs(epochs),
        };
        match answered(visit.local().ask(ask).await?, |_| Ok(())) {
            Answer::Is(()) => {}
            Answer::Failed(failure) => return Err(Stop::Failed(failure)),
            Answer::Unclear(why) => return Err(Stop::Unclear(format!("{}: {why}", one.target))),
        }
    }
    Ok(())
}
