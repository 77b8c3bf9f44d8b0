//! `volwarden approve kopiarepository/NAME`: that we become the owner of maintenance, that snapshots go of the sources that
//! ask for it, or that policies and epochs are set.
//!
//! They may wait at once, and each has an annotation of its own. Which of them is meant has to be said then: nobody makes
//! another cluster's maintenance ours who wanted to let old snapshots go.

use std::fmt::Write as _;

use super::{CliError, Outcome, output, table};
use crate::api::{APPROVED, APPROVED_EXPIRY, APPROVED_SETTINGS};
use crate::app::consent::Hand;
use crate::app::custody::Entry;
use crate::domain::digest::Hash;
use crate::domain::name::Key;

/// What is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// That we become the owner of maintenance.
    Ownership,
    /// That snapshots go.
    Expiry,
    /// That policies or epochs are set.
    Settings,
}

impl What {
    fn key(self) -> &'static str {
        match self {
            Self::Ownership => APPROVED,
            Self::Expiry => APPROVED_EXPIRY,
            Self::Settings => APPROVED_SETTINGS,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Ownership => "that Volwarden becomes the owner of maintenance",
            Self::Expiry => "that snapshots go of the sources that ask for it",
            Self::Settings => "that policies or epochs are set that are everybody's or another's",
        }
    }
}

/// A plan that can be approved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    what: What,
    hash: Hash,
}

/// Reads, shows and approves.
pub(super) async fn approve(hand: &Hand, key: &Key, hash: Option<&str>, dry: bool) -> Result<Outcome, CliError> {
    let entry = hand.repository(key).await?;
    let plan = approvable(&entry, hash).map_err(CliError::Usage)?;
    let already = given(&entry, &plan);
    if !already {
        hand.approve_repository(&entry, (plan.what.key(), plan.hash.as_str()), dry).await?;
    }
    output::answer(&told(&entry, &plan, already, dry))?;
    Ok(Outcome::Clean)
}

fn plans(entry: &Entry) -> Vec<Plan> {
    let status = &entry.status;
    let owner = status.owner_plan.as_deref();
    let expiry = status.expire.as_ref().and_then(|expire| expire.approval.as_ref()).map(|approval| &*approval.plan);
    let settings = status.settings.as_ref().and_then(|settings| settings.approval.as_ref());
    let settings = settings.map(|approval| &*approval.plan);
    let plan = |what, hash: Option<&str>| hash.map(|hash| Plan { what, hash: Hash::written(hash) });
    let all = [plan(What::Ownership, owner), plan(What::Expiry, expiry), plan(What::Settings, settings)];
    all.into_iter().flatten().collect()
}

fn given(entry: &Entry, plan: &Plan) -> bool {
    let approved = match plan.what {
        What::Ownership => &entry.told.approved,
        What::Expiry => &entry.told.approved_expiry,
        What::Settings => &entry.told.approved_settings,
    };
    approved.as_ref() == Some(&plan.hash)
}

/// The one plan that is meant.
fn approvable(entry: &Entry, hash: Option<&str>) -> Result<Plan, String> {
    let key = entry.custody.key();
    let mut all = plans(entry);
    let list = |all: &[Plan]| {
        all.iter().map(|plan| format!("--hash {} ({})", plan.hash, plan.what.words())).collect::<Vec<_>>().join(" or ")
    };
    if let Some(hash) = hash {
        let hash = Hash::written(hash);
        let found = all.iter().find(|plan| plan.hash == hash);
        return found.cloned().ok_or_else(|| {
            let now = if all.is_empty() { "nothing".to_owned() } else { list(&all) };
            format!("KopiaRepository {key} has no plan {hash}: what can be approved now is {now}; look at it again")
        });
    }
    match all.pop() {
        None => Err(format!("KopiaRepository {key} has nothing to approve")),
        Some(plan) if all.is_empty() => Ok(plan),
        Some(plan) => {
            all.push(plan);
            let count = if all.len() == 2 { "two" } else { "three" };
            Err(format!("KopiaRepository {key} has {count} plans: say which with {}", list(&all)))
        }
    }
}

fn told(entry: &Entry, plan: &Plan, already: bool, dry: bool) -> String {
    let key = entry.custody.key();
    let mut out = format!("KopiaRepository {key}: {}\n", plan.what.words());
    let mut line = |label: &str, text: &str| table::labelled(&mut out, "  ", label, text);
    match plan.what {
        What::Ownership => {
            let owner = entry.status.repository.as_ref().and_then(|sight| sight.owner.as_deref());
            line("owner", owner.unwrap_or("nobody"));
            line("then", entry.status.identity.as_deref().unwrap_or("not told by the daemon yet"));
        }
        What::Expiry => {
            let asking = entry.status.expire.as_ref().and_then(|expire| expire.approval.as_ref());
            for source in asking.iter().flat_map(|asking| &asking.foreign) {
                line("other", &format!("{source} is not shown to be this cluster's"));
            }
            for source in asking.iter().flat_map(|asking| &asking.global_policy) {
                line("global", &format!("{source} has a count of the repository's global policy, or nobody's"));
            }
        }
        What::Settings => {
            let asking = entry.status.settings.as_ref().and_then(|settings| settings.approval.as_ref());
            for one in asking.iter().flat_map(|asking| &asking.changes) {
                line("set", &format!("{}: {}", one.target, one.change));
            }
        }
    }
    line("plan", plan.hash.as_str());
    let validity = match plan.what {
        What::Ownership => "It is done once.".to_owned(),
        What::Settings => {
            "It is done once, by the next run of settings, if these numbers are still what they are now.".to_owned()
        }
        What::Expiry => format!(
            "It is good for exactly these sources under the counts that they have now, from the next run on: {}.",
            format_args!("volwarden kopia expire {} -n {}", key.name, key.namespace)
        ),
    };
    let _ = match (already, dry) {
        (true, _) => writeln!(out, "Approved already. {validity}"),
        (false, true) => {
            writeln!(out, "It could be approved: the API server would take it. Nothing was written (dry run).")
        }
        (false, false) => writeln!(out, "Approved. {validity}"),
    };
    if !already {
        let dry = if dry { " --dry-run=server" } else { "" };
        let _ = writeln!(
            out,
            "With kubectl: kubectl -n {} annotate kopiarepository {} {}={} --overwrite{dry}",
            key.namespace,
            key.name,
            plan.what.key(),
            plan.hash
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(annotations: &Value, status: &Value) -> Entry {
        let object = json!({
            "metadata": {
                "name": "nas", "namespace": "backup", "uid": "u-1", "resourceVersion": "7", "generation": 1,
                "annotations": annotations,
            },
            "spec": {"secretRef": {"name": "kopia"}, "expire": {"mode": "Enforce"}}, "status": status,
        });
        crate::app::custody::read(&object.to_string()).unwrap()
    }

    fn both() -> Value {
        json!({
            "ownerPlan": "o-1", "identity": "volwarden@c-1", "repository": {"owner": "mover@x"},
            "expire": {"approval": {"plan": "e-1", "foreign": ["web@x:/data"], "globalPolicy": ["app@media:/data"]}},
        })
    }

    #[test]
    fn of_two_plans_the_one_that_is_meant_has_to_be_named() {
        let two = entry(&json!({}), &both());
        let said = approvable(&two, None).unwrap_err();
        assert!(
            said.contains("--hash o-1 (that Volwarden becomes the owner") && said.contains("or --hash e-1"),
            "{said}"
        );
        assert_eq!(approvable(&two, Some("o-1")).unwrap().what, What::Ownership);
        assert_eq!(approvable(&two, Some("e-1")).unwrap().what, What::Expiry);
        assert!(approvable(&two, Some("e-2")).unwrap_err().contains("no plan e-2"));
        let mut one = both();
        one.as_object_mut().unwrap().remove("ownerPlan");
        assert_eq!(approvable(&entry(&json!({}), &one), None).unwrap().hash, Hash::written("e-1"));
        assert!(approvable(&entry(&json!({}), &json!({})), None).unwrap_err().contains("nothing to approve"));
    }

    #[test]
    fn neither_approval_is_the_others() {
        let (owner, expiry) = (
            Plan { what: What::Ownership, hash: Hash::written("o-1") },
            Plan { what: What::Expiry, hash: Hash::written("e-1") },
        );
        let with = |key: &str, value: &str| entry(&json!({(key): value}), &both());
        let one = with(APPROVED, "o-1");
        assert_eq!((given(&one, &owner), given(&one, &expiry)), (true, false));
        let one = with(APPROVED_EXPIRY, "e-1");
        assert_eq!((given(&one, &owner), given(&one, &expiry)), (false, true));
        assert!(!given(&with(APPROVED, "e-1"), &expiry) && !given(&with(APPROVED_EXPIRY, "o-1"), &owner));
    }

    #[test]
    fn policies_are_approved_with_each_count_and_by_their_own_annotation() {
        let mut status = both();
        let change = |target: &str| json!({"target": target, "change": "hourly 48 to 24"});
        status["settings"] = json!({"approval": {"plan": "s-1", "changes": [change("global"), change("web@x:/data")]}});
        let all = entry(&json!({APPROVED_EXPIRY: "s-1"}), &status);
        assert!(approvable(&all, None).unwrap_err().contains("has three plans"));
        let plan = approvable(&all, Some("s-1")).unwrap();
        assert!(plan.what == What::Settings && !given(&all, &plan));
        assert!(given(&entry(&json!({APPROVED_SETTINGS: "s-1"}), &status), &plan));
        assert_eq!(
            told(&all, &plan, false, false),
            "\
KopiaRepository backup/nas: that policies or epochs are set that are everybody's or another's
  set    global: hourly 48 to 24
  set    web@x:/data: hourly 48 to 24
  plan   s-1
Approved. It is done once, by the next run of settings, if these numbers are still what they are now.
With kubectl: kubectl -n backup annotate kopiarepository nas volwarden.dev/approved-settings=s-1 --overwrite
"
        );
    }

    #[test]
    fn what_was_approved_is_shown_whole() {
        let two = entry(&json!({}), &both());
        assert_eq!(
            told(&two, &approvable(&two, Some("e-1")).unwrap(), false, false),
            "\
KopiaRepository backup/nas: that snapshots go of the sources that ask for it
  other  web@x:/data is not shown to be this cluster's
  global app@media:/data has a count of the repository's global policy, or nobody's
  plan   e-1
Approved. It is good for exactly these sources under the counts that they have now, from the next run on: volwarden kopia expire nas -n backup.
With kubectl: kubectl -n backup annotate kopiarepository nas volwarden.dev/approved-expiry=e-1 --overwrite
"
        );
        let owner = approvable(&two, Some("o-1")).unwrap();
        let said = told(&two, &owner, false, true);
        assert!(said.contains("owner  mover@x") && said.contains("Nothing was written (dry run)."), "{said}");
        assert!(said.ends_with("volwarden.dev/approved=o-1 --overwrite --dry-run=server\n"), "{said}");
        assert!(told(&two, &owner, true, false).ends_with("Approved already. It is done once.\n"));
    }
}
