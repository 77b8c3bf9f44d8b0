use serde_json::{Value, json};

use super::*;
use crate::api::retention::RunOutcome;
use crate::domain::prune::agenda::{Due, Trigger as Why, due};
use crate::domain::prune::field::Field;
use crate::domain::prune::plan::Plan;
use crate::domain::prune::run::Tally;

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn object(change: impl FnOnce(&mut Value)) -> Entry {
    let mut object = json!({
        "metadata": {"name": "p", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-11-01T00:00:00Z"},
        "spec": {"mode": "Enforce", "drivers": ["d"], "keep": {"daily": 7},
                 "schedule": {"cron": "0 3 * * *"}, "selector": {"matchLabels": {"a": "b"}}},
    });
    change(&mut object);
    read(&object.to_string()).unwrap()
}

/// What the API server would give back after the entry's patch.
fn stored(entry: &Entry) -> Entry {
    let patch = patch(entry);
    assert_eq!(patch["metadata"]["resourceVersion"], *entry.version);
    object(|object| {
        object["metadata"]["annotations"] = json!({"volwarden.dev/requestedAt": "r-1"});
        object["status"] = without_nulls(&patch["status"]);
    })
}

fn without_nulls(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    map.iter().filter(|(_, inner)| !inner.is_null()).map(|(key, inner)| (key.clone(), without_nulls(inner))).collect()
}

#[test]
fn a_policy_is_read_with_what_its_object_says() {
    let entry = object(|object| {
        object["metadata"]["annotations"] =
            json!({"volwarden.dev/requestedAt": "now", "volwarden.dev/approved": "0123456789abcdef"});
    });
    assert_eq!((entry.pruning.mode(), entry.pruning.problems().len()), (Mode::Enforce, 0));
    assert_eq!((entry.pruning.rules().keep.daily, entry.pruning.rules().selector.len()), (7, 1));
    assert_eq!((entry.told.generation, entry.told.requested.as_deref()), (3, Some("now")));
    assert_eq!(entry.told.approved, [Hash::written("0123456789abcdef")].into());
    let both = object(|object| {
        object["metadata"]["annotations"] = json!({"volwarden.dev/approved": " 0123456789abcdef, fedcba9876543210,"});
    });
    assert_eq!(both.told.approved, ["0123456789abcdef", "fedcba9876543210"].map(Hash::written).into());
    assert!(read("[]").is_none());
}

#[test]
fn what_cannot_be_read_observes_and_says_why() {
    for spec in [json!({"mode": "Auto"}), json!({"keep": {"dayly": 1}}), json!([]), json!({"minReady": 0})] {
        let entry = object(|object| object["spec"] = spec.clone());
        assert_eq!(entry.pruning.mode(), Mode::Observe, "{spec}");
        assert!(!entry.pruning.problems().is_empty(), "{spec}");
    }
}

#[test]
fn a_run_that_is_stored_is_neither_repeated_nor_forgotten() {
    let mut entry = object(|object| object["metadata"]["annotations"] = json!({"volwarden.dev/requestedAt": "r-1"}));
    assert_eq!(due(&entry.pruning, &entry.told, now()), Due::Run(Why::Request));
    looked(&mut entry, &Plan::default(), &Field::default(), now());
    begun(&mut entry, Why::Request, None, (&[&Hash::written("0123456789abcdef")], 5), "pod-1", now());
    said(&mut entry, None, now());
    // The process ends here: whoever leads next sees it, and does not go on with it.
    let mut next = stored(&entry);
    assert_eq!(due(&next.pruning, &next.told, now()), Due::Close);
    closed(&mut next, now());
    said(&mut next, None, now());
    let after = stored(&next);
    assert_eq!(after.status.history[0].outcome, RunOutcome::Interrupted);
    assert_eq!(after.status.last_handled_request.as_deref(), Some("r-1"));
    let slot = due(&after.pruning, &after.told, now());
    assert_eq!(slot, Due::Run(Why::Schedule), "the schedule's own time is another matter");
}

#[test]
fn a_scheduled_run_is_written_down_with_its_time_before_it_begins() {
    let mut entry = object(|_| ());
    let slot = agenda::scheduled(&entry.pruning, &entry.told, now());
    assert_eq!(slot.unwrap().to_string(), "2026-11-25T03:00:00Z");
    begun(&mut entry, Why::Schedule, slot, (&[&Hash::written("0123456789abcdef")], 5), "pod-1", now());
    assert!(progressed(&mut entry, &Tally { deleted: 2, ..Tally::default() }, Some("window: closed")));
    assert!(!progressed(&mut entry, &Tally { deleted: 2, ..Tally::default() }, Some("window: closed")));
    said(&mut entry, None, now());
    let kinds = |entry: &Entry| -> Vec<(String, String)> {
        entry.status.conditions.iter().map(|one| (one.r#type.clone(), one.reason.clone())).collect()
    };
    assert_eq!(kinds(&entry), [("Ready".into(), "Running".into()), ("Reconciling".into(), "Running".into())]);
    let tally = Tally { deleted: 4, hanging: 1, ..Tally::default() };
    ended(&mut entry, RunOutcome::Partly, &tally, "one hangs: app/old", now());
    said(&mut entry, None, now());
    assert_eq!(kinds(&entry), [("Ready".into(), "DeletionHangs".into()), ("Stalled".into(), "DeletionHangs".into())]);
    let after = stored(&entry);
    assert_eq!((after.status.run, after.status.history[0].hanging), (None, 1));
    assert_eq!(after.status.next_run.unwrap().to_string(), "2026-11-26T03:00:00Z");
    assert_eq!(agenda::scheduled(&after.pruning, &after.told, now()), None);
}

#[test]
fn history_is_bounded_and_a_condition_keeps_its_time() {
    let mut entry = object(|_| ());
    for _ in 0..15 {
        begun(&mut entry, Why::Approval, None, (&[&Hash::written("0123456789abcdef")], 0), "pod-1", now());
        ended(&mut entry, RunOutcome::Done, &Tally::default(), "nothing to do", now());
    }
    assert_eq!(entry.status.history.len(), 10);
    said(&mut entry, None, now());
    said(&mut entry, None, now() + jiff::SignedDuration::from_secs(60));
    assert_eq!(entry.status.conditions[0].last_transition_time, now());
    said(&mut entry, Some("cannot list Namespaces: 403"), now());
    assert_eq!(entry.status.conditions[0].reason, "CannotPlan");
}

#[test]
fn an_approval_is_written_down_with_its_end_and_outlives_the_process() {
    let approved = |object: &mut Value| {
        object["spec"]["mode"] = json!("Approve");
        object["metadata"]["annotations"] = json!({"volwarden.dev/approved": "0123456789abcdef"});
    };
    let mut entry = object(approved);
    let hash = Hash::written("0123456789abcdef");
    assert!(notice(&mut entry, now()));
    assert_eq!(entry.status.approvals[0].expires, now() + Duration::from_secs(3600));
    begun(&mut entry, Why::Approval, None, (&[&hash], 5), "pod-1", now());
    ended(&mut entry, RunOutcome::Done, &Tally::default(), "done", now());
    let patch = patch(&entry);
    let mut next = object(|object| {
        approved(object);
        object["status"] = without_nulls(&patch["status"]);
    });
    let later = now() + Duration::from_secs(1800);
    assert!(!notice(&mut next, later), "it is not made longer by another replica");
    assert_eq!(next.told.noticed[&hash].run, Some(now()));
    assert!(next.told.approves(&hash, later) && !next.told.approves(&hash, later + Duration::from_secs(1800)));
}

#[test]
fn what_is_cleaned_up_is_read_and_its_hash_waits_in_the_status() {
    let entry = object(|object| {
        object["spec"]["cleanup"] =
            json!({"retainedContents": {"mode": "Approve", "olderThan": "720h"}, "failedSnapshots": {}});
        object["status"] = json!({"cleanup": [
            {"part": "RetainedContents", "toPrune": 2, "held": 0, "hash": "0123456789abcdef", "reclaimableBytes": 0},
            {"part": "FailedSnapshots", "toPrune": 0, "held": 1, "hash": "fedcba9876543210", "reclaimableBytes": 0},
        ]});
    });
    let parts: Vec<(Part, Mode)> = entry.pruning.parts().collect();
    assert_eq!(
        parts,
        [
            (Part::Snapshots, Mode::Enforce),
            (Part::RetainedContents, Mode::Approve),
            (Part::FailedSnapshots, Mode::Observe)
        ]
    );
    assert_eq!(entry.pruning.cleanup(Part::RetainedContents).unwrap().older_than, Duration::from_secs(720 * 3600));
    assert_eq!(entry.told.planned, [(Part::RetainedContents, Hash::written("0123456789abcdef"))].into());
    let never = object(|object| object["spec"]["cleanup"] = json!({"retainedContents": {"mode": "Enforce"}}));
    assert_eq!((never.pruning.mode(), never.pruning.problems().len()), (Mode::Observe, 1));
}
