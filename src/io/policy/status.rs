//! The status of a policy: in force or not and why, what it governs, what it is at odds with.
//!
//! It is written only where it says something new, because each write comes back by the watch. A condition keeps
//! its time while its status stays the same.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::condition::{CONFLICT, Condition, ConditionStatus, FENCED, READY, STALLED};
use crate::api::policy::{Counts, Floor, Paused, RemediationPolicyStatus};
use crate::domain::fence::Fence;
use crate::domain::name::fingerprint;
use crate::domain::policy::{Policy, Standing, UNFENCED};
use crate::io::ledger::{clear, cut};

/// The longest message.
const TEXT: usize = 1024;
/// The longest reason and floor.
const SHORT: usize = 512;
/// The longest name of a driver; what is longer is none.
const DRIVER: usize = 63;
/// So many drivers are shown.
const DRIVERS: usize = 64;

/// The merge patch of a policy's status subresource; `None` where the object says all of it already.
#[must_use]
pub fn status(policy: &Policy, standing: &Standing, now: Timestamp) -> Option<Value> {
    let told = policy.told();
    let shown = |floor: &&crate::domain::policy::Floor| floor.driver.chars().count() <= DRIVER;
    let floors = standing.floors.iter().filter(shown).take(DRIVERS);
    let status = RemediationPolicyStatus {
        observed_generation: Some(told.generation),
        conditions: conditions(policy, standing, now),
        counts: Some(Counts {
            held: standing.held,
            acting: standing.acting,
            done: standing.done,
            failed: standing.failed,
        }),
        floors: floors
            .map(|floor| Floor {
                driver: floor.driver.to_string(),
                text: cut(&floor.text, SHORT),
                raised: floor.raised,
            })
            .collect(),
        paused: standing.paused.as_ref().map(|(reason, until)| Paused { reason: cut(reason, SHORT), until: *until }),
    };
    if print(&status) == told.print {
        return None;
    }
    let mut status = serde_json::to_value(status).unwrap_or_default();
    clear(&mut status, "", &["paused"]);
    clear(&mut status, "/paused", &["until"]);
    Some(json!({"metadata": {"resourceVersion": &*told.version}, "status": status}))
}

/// Tells two statuses apart.
pub(super) fn print(status: &RemediationPolicyStatus) -> u64 {
    fingerprint(&serde_json::to_string(status).unwrap_or_default())
}

pub(super) fn holds(status: ConditionStatus) -> Option<bool> {
    match status {
        ConditionStatus::True => Some(true),
        ConditionStatus::False => Some(false),
        ConditionStatus::Unknown => None,
    }
}

fn conditions(policy: &Policy, standing: &Standing, now: Timestamp) -> Vec<Condition> {
    let told = policy.told();
    let stated = |about: &str, status: ConditionStatus, reason: &str, message: &str| {
        let before = told.conditions.iter().find(|one| &*one.about == about && one.holds == holds(status));
        Condition {
            r#type: about.to_owned(),
            status,
            observed_generation: Some(told.generation),
            last_transition_time: before.map_or(now, |one| one.since),
            reason: reason.to_owned(),
            message: cut(message, TEXT),
        }
    };
    let condition = |about: &str, holds: bool, reason: &str, message: &str| {
        stated(about, if holds { ConditionStatus::True } else { ConditionStatus::False }, reason, message)
    };
    let mut all = Vec::new();
    if policy.problems().is_empty() {
        let (reason, message) = in_force(policy, standing);
        all.push(condition(READY, true, reason, &message));
    } else {
        let message = format!("it only observes until this is mended: {}", policy.problems().join("; "));
        all.push(condition(READY, false, "Invalid", &message));
        all.push(condition(STALLED, true, "Invalid", &message));
    }
    if !standing.conflicts.is_empty() {
        all.push(condition(CONFLICT, true, "DiffersFromOthers", &at_odds(standing)));
    }
    all.extend(standing.fence.as_ref().map(|fence| {
        let status = match fence {
            Fence::Stands => ConditionStatus::True,
            Fence::Missing(_) => ConditionStatus::False,
            Fence::Untold(_) => ConditionStatus::Unknown,
        };
        stated(FENCED, status, fence.as_str(), &fence.words())
    }));
    all
}

fn in_force(policy: &Policy, standing: &Standing) -> (&'static str, String) {
    let mode = policy.mode().as_str();
    match (&standing.paused, &standing.unfenced) {
        (Some((why, Some(until))), _) => ("Paused", format!("nothing is done under it until {until}: {why}")),
        (Some((why, None)), _) => ("Suspended", format!("nothing is done under it: {why}")),
        (None, Some(why)) => {
            (UNFENCED, format!("nothing is done under it until the fence is seen to stand (--require-fence): {why}"))
        }
        (None, None) if standing.conflicts.is_empty() => ("InForce", format!("in force, mode {mode}")),
        (None, None) => ("Narrowed", format!("in force, mode {mode}; {}", at_odds(standing))),
    }
}

fn at_odds(standing: &Standing) -> String {
    let names = standing.conflicts.join(", ");
    format!("it differs from {names} over the same objects: of each setting the least permissive holds")
}
