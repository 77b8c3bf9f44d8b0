//! `volwarden approve snapshotretention/NAME`: one plan of a SnapshotRetention, by its hash.
//!
//! A policy has a plan for each of its parts, and each has its own hash. Which of several is meant has to be said, and
//! what is approved beside it stays so: the annotation names all that hold.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::course::moment;
use super::{CliError, Outcome, Terminal, output, table};
use crate::api::APPROVED;
use crate::app::consent::Hand;
use crate::app::prune::Entry;
use crate::domain::digest::Hash;
use crate::domain::policy::Mode;
use crate::domain::prune::part::Part;
use crate::domain::words;

/// How often it is looked whether the daemon has noticed, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// A plan that waits for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    part: Part,
    hash: Hash,
    going: u32,
    bytes: i64,
}

/// Reads, shows and approves.
pub(super) async fn approve(
    hand: &Hand,
    name: &str,
    hash: Option<&str>,
    dry: bool,
    terminal: Terminal,
) -> Result<Outcome, CliError> {
    let mut entry = hand.retention(name).await?;
    let wanted = approvable(&entry, hash).map_err(CliError::Usage)?;
    let given = given(&entry, &wanted.hash, hand.now());
    if given == Given::Expired && !dry {
        entry = withdraw(hand, entry, &wanted.hash, terminal).await?;
    }
    if matches!(given, Given::Not | Given::Expired) {
        hand.approve_retention(&entry, &with(&entry, &wanted.hash), dry).await?;
    }
    output::answer(&told(&entry, &wanted, given, dry, hand.now()))?;
    Ok(Outcome::Clean)
}

/// The plans that wait for an approval.
fn waiting(entry: &Entry) -> Vec<Waiting> {
    let status = &entry.status;
    let by_count = status.plan.iter().map(|plan| Waiting {
        part: Part::Snapshots,
        hash: Hash::written(&plan.hash),
        going: plan.to_prune,
        bytes: plan.reclaimable_bytes,
    });
    let cleanup = status.cleanup.iter().filter_map(|one| {
        Some(Waiting {
            part: Part::from_name(&one.part)?,
            hash: Hash::written(&one.hash),
            going: one.to_prune,
            bytes: one.reclaimable_bytes,
        })
    });
    let asks = |one: &Waiting| one.going > 0 && entry.pruning.mode_of(one.part) == Some(Mode::Approve);
    by_count.chain(cleanup).filter(asks).collect()
}

/// The plan that would be approved, or why none would.
fn approvable(entry: &Entry, hash: Option<&str>) -> Result<Waiting, String> {
    let name = entry.pruning.name();
    let all = waiting(entry);
    if let Some(hash) = hash {
        let found = all.into_iter().find(|one| one.hash == Hash::written(hash));
        return found.ok_or_else(|| {
            format!(
                "no plan of SnapshotRetention {name} that waits for an approval has the hash {hash}: something has \
                 changed since; look at it with volwarden retention plan, and approve that"
            )
        });
    }
    match all.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!(
            "no plan of SnapshotRetention {name} waits for an approval: nothing would go in a part whose mode is Approve, \
             or nobody has looked yet; see volwarden retention plan"
        )),
        several => {
            let each: Vec<String> = several.iter().map(|one| format!("{} --hash {}", one.part, one.hash)).collect();
            Err(format!("{} plans of SnapshotRetention {name} wait: say which, {}", several.len(), each.join(", ")))
        }
    }
}

/// How far this very plan is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Not,
    /// Until then.
    Noticed(Timestamp),
    Unnoticed,
    Expired,
}

fn given(entry: &Entry, hash: &Hash, now: Timestamp) -> Given {
    let written = entry.told.approved.contains(hash);
    match entry.told.noticed.get(hash) {
        Some(noticed) if now < noticed.expires && written => Given::Noticed(noticed.expires),
        Some(noticed) if now >= noticed.expires => Given::Expired,
        _ if written => Given::Unnoticed,
        // Taken away, and the daemon has not seen that yet: it takes the same hash for the same approval.
        Some(_) => Given::Expired,
        None => Given::Not,
    }
}

/// What the annotation has to say: this one, and what else is approved of the plans that wait.
fn with(entry: &Entry, hash: &Hash) -> BTreeSet<Hash> {
    let waiting: BTreeSet<Hash> = waiting(entry).into_iter().map(|one| one.hash).collect();
    let others = entry.told.approved.iter().filter(|one| waiting.contains(one)).cloned();
    others.chain([hash.clone()]).collect()
}

/// Takes an approval that has expired away, and waits until the daemon has noticed; the policy as it is then.
async fn withdraw(hand: &Hand, entry: Entry, hash: &Hash, terminal: Terminal) -> Result<Entry, CliError> {
    let name = entry.pruning.name().to_string();
    let mut others = with(&entry, hash);
    others.remove(hash);
    let mut entry =
        if entry.told.approved.contains(hash) { hand.approve_retention(&entry, &others, false).await? } else { entry };
    let tries = NOTICED_WITHIN.as_millis().checked_div(LOOK_AGAIN.as_millis()).unwrap_or_default();
    for _ in 0..tries {
        if !entry.told.noticed.contains_key(hash) {
            terminal.progress("");
            approvable(&entry, Some(hash.as_str())).map_err(CliError::Usage)?;
            return Ok(entry);
        }
        terminal.progress("the last approval has expired: waiting until the daemon has seen it gone");
        tokio::time::sleep(LOOK_AGAIN).await;
        entry = hand.retention(&name).await?;
    }
    terminal.progress("");
    Err(CliError::Usage(format!(
        "the last approval of SnapshotRetention {name} had expired and was taken away, and no daemon has noticed within {}: \
         is one running? Run this again when it does",
        words::short(NOTICED_WITHIN)
    )))
}

fn told(entry: &Entry, wanted: &Waiting, given: Given, dry: bool, now: Timestamp) -> String {
    let mut out = String::new();
    let name = entry.pruning.name();
    let _ = writeln!(out, "SnapshotRetention {name}, {}", wanted.part);
    let mut line = |label: &str, text: &str| table::labelled(&mut out, "  ", label, text);
    let count = usize::try_from(wanted.going).unwrap_or_default();
    let size = u64::try_from(wanted.bytes).unwrap_or_default();
    line(
        "goes",
        &format!(
            "{}, {}; each by name: volwarden retention plan",
            words::count(count, "object"),
            super::retention::bytes(size)
        ),
    );
    if wanted.part.only_by_approval() {
        line("risk", "it destroys backend snapshots that nobody can make again");
    }
    if entry.pruning.rules().suspended {
        line("held", "the policy is suspended");
    }
    line("plan", wanted.hash.as_str());
    let valid = entry.pruning.rules().approval_valid;
    let said = match given {
        Given::Noticed(expires) => format!("Approved already, until {}.", moment(expires, now)),
        Given::Unnoticed => "Approved already; the daemon has not noticed it yet.".to_owned(),
        Given::Not | Given::Expired if dry => {
            "It could be approved: the API server would take it. Nothing was written (dry run).".to_owned()
        }
        Given::Not | Given::Expired => {
            let until = now.checked_add(valid).map(|at| moment(at, now)).unwrap_or_default();
            format!(
                "Approved. It is good for this plan alone, until about {until} (approval.validFor {}).",
                words::short(valid)
            )
        }
    };
    let _ = writeln!(out, "{said}");
    if matches!(given, Given::Not | Given::Expired) {
        let all: Vec<String> = with(entry, &wanted.hash).iter().map(ToString::to_string).collect();
        let dry = if dry { " --dry-run=server" } else { "" };
        let all = all.join(",");
        let _ =
            writeln!(out, "With kubectl: kubectl annotate snapshotretention {name} {APPROVED}={all} --overwrite{dry}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::app::prune::read_policy as read;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const TWO: &str = "fedcba9876543210fedcba9876543210";

    fn now() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    fn entry(change: impl FnOnce(&mut Value)) -> Entry {
        let mut object = json!({
            "metadata": {"name": "nightly", "resourceVersion": "7"},
            "spec": {"mode": "Enforce", "drivers": ["d"], "cleanup": {
                "retainedContents": {"mode": "Approve"}, "failedSnapshots": {"mode": "Approve"},
            }},
            "status": {
                "plan": {"hash": "00000000000000000000000000000000", "at": "2026-11-25T11:00:00Z", "toPrune": 5, "reclaimableBytes": 0},
                "cleanup": [
                    {"part": "RetainedContents", "toPrune": 2, "held": 0, "hash": ONE, "reclaimableBytes": 1_073_741_824},
                    {"part": "FailedSnapshots", "toPrune": 0, "held": 0, "hash": TWO, "reclaimableBytes": 0},
                ],
            },
        });
        change(&mut object);
        read(&object.to_string()).unwrap()
    }

    fn approvals(object: &mut Value, text: &str, noticed: &[(&str, &str)]) {
        object["metadata"]["annotations"] = json!({APPROVED: text});
        object["status"]["approvals"] = noticed
            .iter()
            .map(|(hash, expires)| json!({"hash": hash, "at": "2026-11-25T10:00:00Z", "expires": expires}))
            .collect();
    }

    #[test]
    fn one_plan_that_waits_needs_no_hash_and_of_several_none_is_guessed() {
        assert_eq!(
            approvable(&entry(|_| ()), None).unwrap().part,
            Part::RetainedContents,
            "what is enforced waits for nobody"
        );
        let both = entry(|object| object["status"]["cleanup"][1]["toPrune"] = json!(1));
        let said = approvable(&both, None).unwrap_err();
        assert!(said.contains("2 plans") && said.contains(ONE) && said.contains(TWO), "{said}");
        assert_eq!(approvable(&both, Some(TWO)).unwrap().part, Part::FailedSnapshots);
        assert!(approvable(&both, Some("00000000000000000000000000000000")).unwrap_err().contains("something has"));
        let none = entry(|object| object["status"]["cleanup"][0]["toPrune"] = json!(0));
        assert!(approvable(&none, None).unwrap_err().contains("no plan of SnapshotRetention nightly waits"));
    }

    #[test]
    fn an_approval_is_given_once_and_again_only_after_it_expired() {
        let hash = Hash::written(ONE);
        let given = |text: &str, noticed: &[(&str, &str)]| {
            super::given(&entry(|object| approvals(object, text, noticed)), &hash, now())
        };
        assert_eq!(given("", &[]), Given::Not);
        assert_eq!(given(ONE, &[]), Given::Unnoticed);
        let later = "2026-11-25T12:30:00Z";
        assert_eq!(given(ONE, &[(ONE, later)]), Given::Noticed(later.parse().unwrap()));
        assert_eq!(given(ONE, &[(ONE, "2026-11-25T12:00:00Z")]), Given::Expired);
        assert_eq!(given("", &[(ONE, later)]), Given::Expired, "the daemon has not seen it gone yet");
    }

    #[test]
    fn what_else_is_approved_stays_so_and_what_waits_no_more_goes() {
        let both = entry(|object| {
            object["status"]["cleanup"][1]["toPrune"] = json!(1);
            approvals(object, &format!("{TWO},0123"), &[]);
        });
        assert_eq!(with(&both, &Hash::written(ONE)), [ONE, TWO].map(Hash::written).into());
    }

    #[test]
    fn what_was_approved_is_shown_with_until_when_and_kubectls_words() {
        let entry = entry(|_| ());
        let wanted = approvable(&entry, None).unwrap();
        let said = told(&entry, &wanted, Given::Not, false, now());
        assert_eq!(
            said,
            format!(
                "SnapshotRetention nightly, RetainedContents\n  goes   2 objects, 1 GiB; each by name: volwarden retention plan\n  \
                 risk   it destroys backend snapshots that nobody can make again\n  plan   {ONE}\nApproved. It is good for this plan \
                 alone, until about 13:00:00Z, in 60m (approval.validFor 60m).\nWith kubectl: kubectl annotate snapshotretention \
                 nightly volwarden.dev/approved={ONE} --overwrite\n"
            )
        );
        assert!(told(&entry, &wanted, Given::Not, true, now()).contains("Nothing was written (dry run)."));
    }
}
