use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::CustomResourceExt as _;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::api::APPROVED;
use crate::api::check;
use crate::api::remediation::Remediation;
use crate::domain::digest::Hash;
use crate::domain::finding::{Class, Subject};
use crate::domain::guard::{Guard, TABLE, Verdict};
use crate::domain::ledger::count::Budget;
use crate::domain::ledger::{Approval, Attempt, Intent, Ledger, Outcome, Phase, Plan, Record};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::{Target, TargetKind};

const PHASES: [Phase; 7] =
    [Phase::Held, Phase::AwaitingApproval, Phase::Acting, Phase::Verifying, Phase::Done, Phase::Failed, Phase::Lapsed];
const OUTCOMES: [Outcome; 5] =
    [Outcome::Applied, Outcome::Lost, Outcome::Denied, Outcome::Unreachable, Outcome::Interrupted];
const TARGETS: [TargetKind; 4] = [TargetKind::Snapshot, TargetKind::Content, TargetKind::Pod, TargetKind::Lease];

// === Any record ===

fn moment() -> impl Strategy<Value = Timestamp> {
    (1_700_000_000_i64..1_900_000_000, 0..1_000_000_000_i32)
        .prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß…]{0,30}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]([-a-z0-9]{0,20}[a-z0-9])?"
}

fn key() -> impl Strategy<Value = Key> {
    (option::of(name()), name()).prop_map(|(space, name)| Key::namespaced(space.unwrap_or_default(), name))
}

fn uid() -> impl Strategy<Value = Uid> {
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}|[a-z]{1,9}".prop_map(|text| Uid::parse(&text))
}

fn hash() -> impl Strategy<Value = Hash> {
    "[0-9a-f]{32}".prop_map(|text| Hash::written(&text))
}

fn target() -> impl Strategy<Value = Target> {
    (select(&TARGETS), key(), uid(), "[1-9][0-9]{0,8}").prop_map(|(kind, key, uid, version)| Target {
        kind,
        key,
        uid,
        version: version.into(),
    })
}

fn step() -> impl Strategy<Value = Step> {
    select(&Step::ALL)
}

fn plan() -> impl Strategy<Value = Plan> {
    let words = (hash(), step(), text(), vec(name(), 0..4));
    (words, target(), any::<bool>(), any::<bool>(), option::of("[!-~]{1,40}")).prop_map(
        |((hash, step, summary, policies), target, leaks, destroys, handle)| Plan {
            hash,
            step,
            summary,
            policies: policies.into_iter().map(Arc::from).collect(),
            target,
            leaks,
            destroys,
            handle: handle.map(Into::into),
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Allow),
        (option::of(moment()), text()).prop_map(|(until, reason)| Verdict::Wait { until, reason }),
        text().prop_map(|reason| Verdict::Refuse { reason }),
    ]
}

fn verdicts() -> impl Strategy<Value = Vec<(Guard, Verdict)>> {
    vec(verdict(), 0..=TABLE.len()).prop_map(|said| TABLE.iter().map(|(guard, ..)| *guard).zip(said).collect())
}

fn intent() -> impl Strategy<Value = Intent> {
    ((1_u32..600, step(), hash()), target(), moment(), name(), any::<(bool, bool)>()).prop_map(
        |((number, step, hash), target, at, by, (leaks, destroys))| Intent {
            number,
            step,
            hash,
            target,
            at,
            by: by.into(),
            leaks,
            destroys,
        },
    )
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let one = (step(), target(), moment(), select(&OUTCOMES), option::of(any::<bool>()), text(), option::of(moment()));
    vec(one, 0..6).prop_map(|all| {
        let numbered = all.into_iter().zip(1_u32..);
        let attempt = |((step, target, at, outcome, helped, message, ended), number)| Attempt {
            number,
            step,
            target,
            at,
            outcome,
            helped,
            message,
            ended,
        };
        numbered.map(attempt).collect()
    })
}

prop_compose! {
    fn record()(
        (name, version, key, kind, uid) in (name(), "[1-9][0-9]{0,8}", key(), select(&Kind::ALL), option::of(uid())),
        (class, driver, since, opened) in (select(&Class::ALL), option::of(name()), moment(), moment()),
        (evidence, phase, message, verdicts) in (vec(text(), 0..4), select(&PHASES), text(), verdicts()),
        (plan, approved, intent, attempts) in (option::of(plan()), option::of(hash()), option::of(intent()), attempts()),
        approval in option::of((hash(), moment(), moment())),
        (orphan, finished, ended) in (option::of(name()), option::of(moment()), moment()),
    ) -> Record {
        Record {
            name: name.into(),
            version: version.into(),
            subject: Subject::new(kind, key),
            uid,
            class,
            driver: driver.unwrap_or_default().into(),
            since,
            evidence,
            opened,
            phase,
            message,
            plan,
            verdicts,
            approved,
            approval: approval.map(|(hash, at, expires)| Approval { hash, at, expires }),
            intent,
            attempts,
            orphan: orphan.map(Into::into),
            finished: if phase.is_over() { Some(ended) } else { finished },
        }
    }
}

// === The server's part ===

/// What a server holds after the POST of this record.
fn stored(record: &Record) -> Value {
    let mut object = created(record);
    object["metadata"]["creationTimestamp"] = json!("2026-11-25T10:00:00Z");
    object["metadata"]["resourceVersion"] = json!("1");
    object["metadata"]["uid"] = json!("u-1");
    if let Some(hash) = &record.approved {
        object["metadata"]["annotations"] = json!({APPROVED: hash.as_str()});
    }
    object
}

fn patched(mut object: Value, record: &Record) -> Value {
    json_patch::merge(&mut object, &status(record, GENERATION));
    object
}

fn read_back(object: &Value) -> Record {
    super::record(&object.to_string()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn schema(part: &str) -> Value {
    let crds = crate::api::crds().unwrap();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "Remediation").unwrap();
    crd.pointer(&format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}")).unwrap().clone()
}

fn flaws(schema: &Value, value: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    check::walk(schema, value, "it", &mut flaws);
    flaws.iter().map(ToString::to_string).collect()
}

proptest! {
    // A counterexample becomes a case of its own here, and no file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_field_survives_and_nothing_old_stays_behind(before in record(), record in record()) {
        let fresh = patched(stored(&record), &record);
        prop_assert_eq!(&read_back(&fresh), &record);
        // The same entry a while before, in whatever state.
        let before = Record { version: "1".into(), ..before };
        let edited = patched(patched(stored(&record), &before), &record);
        prop_assert_eq!(&edited, &fresh);
        prop_assert_eq!(flaws(&schema("status"), &edited["status"]), Vec::<String>::new());
        prop_assert_eq!(flaws(&schema("spec"), &edited["spec"]), Vec::<String>::new());
    }

    #[test]
    fn an_entry_without_a_status_is_open_and_nothing_was_tried_in_it(record in record()) {
        for status in [None, Some(Value::Null), Some(json!({}))] {
            let mut object = stored(&record);
            if let Some(status) = status {
                object["status"] = status;
            }
            let read = read_back(&object);
            prop_assert_eq!((read.phase, read.opened.to_string()), (Phase::Held, "2026-11-25T10:00:00Z".to_owned()));
            prop_assert!(read.attempts.is_empty() && read.intent.is_none() && read.plan.is_none());
            prop_assert!(read.finished.is_none() && read.approval.is_none() && read.verdicts.is_empty());
            prop_assert_eq!((&read.subject, &read.uid, read.class), (&record.subject, &record.uid, record.class));
            prop_assert_eq!((&read.driver, read.since, &read.approved), (&record.driver, record.since, &record.approved));
        }
    }

    #[test]
    fn anything_else_is_an_error_in_one_line(object in "\\PC{0,60}", record in record(), at in 0_usize..4000) {
        let _ = super::record(&object);
        let mut text = patched(stored(&record), &record).to_string();
        let cut = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        if cut < text.len() {
            text.truncate(cut);
            let error = super::record(&text).unwrap_err().to_string();
            prop_assert!(!error.contains('\n'), "{}", error);
        }
    }
}

// === What the status says ===

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(in crate::io) fn sample(phase: Phase) -> Record {
    let over = phase.is_over();
    Record {
        name: "missed-event-u-1-6b49d200".into(),
        version: "7".into(),
        subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster("snapcontent-1")),
        uid: Some(Uid::parse("u-1")),
        class: Class::MissedEvent,
        driver: "csi.example.com".into(),
        since: at(-600),
        evidence: vec!["no event".to_owned()],
        opened: at(0),
        phase,
        message: "in words".to_owned(),
        plan: None,
        verdicts: Vec::new(),
        approved: None,
        approval: None,
        intent: None,
        attempts: Vec::new(),
        orphan: None,
        finished: over.then(|| at(900)),
    }
}

fn content(name: &str) -> Target {
    Target { kind: TargetKind::Content, key: Key::cluster(name), uid: Uid::parse(name), version: "6".into() }
}

fn attempt(number: u32, second: i64) -> Attempt {
    Attempt {
        number,
        step: Step::Nudge,
        target: content(&format!("c{number}")),
        at: at(second),
        outcome: Outcome::Applied,
        helped: None,
        message: "sent".to_owned(),
        ended: None,
    }
}

fn a_plan(step: Step) -> Plan {
    Plan {
        hash: Hash::written("0123456789abcdef0123456789abcdef"),
        step,
        summary: "does it".to_owned(),
        policies: vec!["default".into()],
        target: content("snapcontent-1"),
        leaks: false,
        destroys: false,
        handle: None,
    }
}

/// Type, status and second of each condition.
fn conditions(record: &Record) -> Vec<(String, bool, i64)> {
    let patch = status(record, 1);
    let all = patch["status"]["conditions"].as_array().unwrap().iter();
    all.map(|one| {
        let since: Timestamp = one["lastTransitionTime"].as_str().unwrap().parse().unwrap();
        assert_eq!(one["observedGeneration"], 1);
        assert_eq!((&one["reason"], &one["message"]), (&patch["status"]["phase"], &json!(record.message)));
        (one["type"].as_str().unwrap().to_owned(), one["status"] == "True", since.duration_since(at(0)).as_secs())
    })
    .collect()
}

#[test]
fn conditions_are_kstatus_and_their_times_come_from_the_record() {
    let condition = |about: &str, holds, since| (about.to_owned(), holds, since);
    let (ready, well) = (condition("Ready", false, 0), condition("Ready", true, 900));
    let with = |phase, helped| {
        let mut record = sample(phase);
        record.attempts = vec![Attempt { helped, ended: helped.map(|_| at(60)), ..attempt(1, 30) }];
        record
    };
    for (record, second) in [
        (sample(Phase::Held), Some(condition("Reconciling", true, 0))),
        (with(Phase::Verifying, None), Some(condition("Reconciling", true, 0))),
        (with(Phase::Acting, Some(false)), Some(condition("Reconciling", true, 0))),
        (sample(Phase::AwaitingApproval), Some(condition("Stalled", true, 0))),
        (with(Phase::AwaitingApproval, Some(false)), Some(condition("Stalled", true, 60))),
        (with(Phase::Failed, Some(false)), Some(condition("Stalled", true, 900))),
    ] {
        let expected: Vec<_> = [ready.clone()].into_iter().chain(second).collect();
        assert_eq!(conditions(&record), expected, "{:?}", record.phase);
    }
    for phase in [Phase::Done, Phase::Lapsed] {
        assert_eq!(conditions(&sample(phase)).as_slice(), std::slice::from_ref(&well), "{phase:?}");
    }
}

#[test]
fn what_is_derived_says_who_holds_it_when_it_began_and_how_it_ended() {
    let mut record = sample(Phase::Held);
    record.verdicts = vec![
        (Guard::Synced, Verdict::Allow),
        (Guard::Window, Verdict::Wait { until: Some(at(9)), reason: "closed".to_owned() }),
        (Guard::Budget, Verdict::Refuse { reason: "none".to_owned() }),
    ];
    record.plan = Some(a_plan(Step::RemoveContentFinalizer));
    let patch = status(&record, 1);
    assert_eq!(patch["metadata"], json!({"resourceVersion": "7"}));
    let shown = &patch["status"];
    assert_eq!(
        (&shown["heldBy"], &shown["outcome"], &shown["startedAt"]),
        (&json!("window"), &Value::Null, &Value::Null)
    );
    assert_eq!(shown["plan"]["finalizer"], "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection");
    record.phase = Phase::Acting;
    record.intend(a_plan(Step::Nudge), &"me".into(), at(5));
    let shown = &status(&record, 1)["status"];
    assert_eq!((&shown["heldBy"], &shown["startedAt"]), (&Value::Null, &json!(at(5).to_string())));
    assert_eq!(shown["plan"]["finalizer"], Value::Null);
    record.tried(Outcome::Applied, "sent", at(6));
    record.verified(true, "its status was emptied", at(95));
    record.finish(Phase::Done, "its status was emptied", at(95));
    let shown = &status(&record, 1)["status"];
    assert_eq!((&shown["startedAt"], &shown["outcome"]), (&json!(at(5).to_string()), &json!("its status was emptied")));
    assert_eq!(
        (&shown["attempts"][0]["duration"], &shown["attempts"][0]["verification"]),
        (&json!("1m30s"), &json!("Succeeded"))
    );
}

/// Whoever adds a field has to say what becomes of it when it is absent.
#[test]
fn the_patch_names_every_field_of_the_schema() {
    fn named(schema: &Value, value: &Value, place: &str) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let found = value.get(name);
            assert!(found.is_some(), "{place}.{name} would stay as it was");
            named(inner, found.unwrap(), &format!("{place}.{name}"));
        }
    }
    let mut record = sample(Phase::Acting);
    record.intend(a_plan(Step::Nudge), &"me".into(), at(5));
    record.approval = Some(Approval { hash: Hash::written("h"), at: at(1), expires: at(2) });
    named(&schema("status"), &status(&record, 1)["status"], "status");
}

#[test]
fn long_texts_and_lists_are_cut_to_what_the_schema_takes() {
    let long = "ß".repeat(3000);
    let mut record = sample(Phase::Held);
    record.message.clone_from(&long);
    record.evidence = vec![long.clone(); 40];
    record.verdicts = vec![(Guard::Quiet, Verdict::Wait { until: None, reason: long.clone() })];
    record.plan = Some(Plan {
        summary: long.clone(),
        policies: vec!["p".into(); 20],
        handle: Some(long.as_str().into()),
        ..a_plan(Step::Nudge)
    });
    record.approval = Some(Approval { hash: Hash::written(&long), at: at(1), expires: at(2) });
    record.intend(record.plan.clone().unwrap(), &long.as_str().into(), at(3));
    record.tried(Outcome::Denied, long.as_str(), at(2));
    record.intend(record.plan.clone().unwrap(), &long.as_str().into(), at(3));
    record.attempts[0].ended = Some(at(9_000_000_000));
    let object = patched(stored(&record), &record);
    assert_eq!(flaws(&schema("status"), &object["status"]), Vec::<String>::new());
    let read = read_back(&object);
    assert_eq!((read.message.chars().count(), read.evidence.len()), (1024, 32));
    assert!(read.message.ends_with('…') && read.attempts[0].message.ends_with('…'));
    assert_eq!(object["status"]["attempts"][0]["duration"], "9999h");
}

#[test]
fn an_approval_is_the_trimmed_annotation_and_no_longer_than_the_status_can_keep() {
    let mut object = stored(&sample(Phase::Held));
    let mut read = |text: &str| {
        object["metadata"]["annotations"] = json!({APPROVED: text});
        read_back(&object).approved
    };
    assert_eq!(read(" 0123abcd\n"), Some(Hash::written("0123abcd")));
    assert_eq!(read("  "), None);
    let long = read(&"a".repeat(5000)).unwrap();
    assert_eq!(long.as_str().len(), 128);
    // It is noticed once, and not again at every look.
    let mut record = Record { approved: Some(long), ..sample(Phase::AwaitingApproval) };
    assert!(record.notice_approval(Duration::from_secs(60), at(1)));
    let mut record = read_back(&patched(stored(&record), &record));
    assert!(!record.notice_approval(Duration::from_secs(60), at(2)));
}

#[test]
fn what_this_version_does_not_know_is_named() {
    let mut record = sample(Phase::Done);
    record.verdicts = vec![(Guard::Quiet, Verdict::Allow)];
    record.plan = Some(a_plan(Step::Nudge));
    record.intend(a_plan(Step::Nudge), &"me".into(), at(3));
    record.attempts = vec![attempt(1, 1)];
    record.phase = Phase::Done;
    let object = patched(stored(&record), &record);
    assert!(super::record(&object.to_string()).is_ok());
    for (place, word, because) in [
        ("/spec/class", json!("Bewitched"), "spec.class: `Bewitched` is not known to this version"),
        ("/spec/subject/kind", json!("Pod"), "spec.subject.kind: `Pod` is not"),
        ("/status/plan/rung", json!("Exorcise"), "status.plan.rung: `Exorcise` is not"),
        ("/status/intent/rung", json!("Exorcise"), "status.intent.rung: `Exorcise` is not"),
        ("/status/attempts/0/rung", json!("Exorcise"), "status.attempts.rung: `Exorcise` is not"),
        ("/status/attempts/0/target/kind", json!("Node"), "target.kind: `Node` is not"),
        ("/status/attempts/0/outcome", json!("Maybe"), "unknown variant `Maybe`"),
        ("/status/verdicts/0/guard", json!("moon"), "status.verdicts.guard: `moon` is not"),
        ("/status/verdicts/0/verdict", json!("Maybe"), "unknown variant `Maybe`"),
        ("/status/phase", json!("Resting"), "unknown variant `Resting`"),
        ("/status/finishedAt", Value::Null, "status.finishedAt is missing"),
        ("/metadata/name", json!(""), "metadata.name is missing"),
        ("/metadata/resourceVersion", Value::Null, "metadata.resourceVersion is missing"),
        ("/metadata/creationTimestamp", Value::Null, "metadata.creationTimestamp is missing"),
        ("/spec", Value::Null, "invalid type: null"),
    ] {
        let mut object = object.clone();
        *object.pointer_mut(place).unwrap() = word;
        let error = super::record(&object.to_string()).unwrap_err().to_string();
        assert!(error.starts_with(because), "{place}: {error}");
    }
}

#[test]
fn of_too_many_attempts_those_stay_that_something_rests_on() {
    let mut record = sample(Phase::Verifying);
    record.class = Class::DriverDegraded;
    let restart = Attempt { step: Step::RestartLeader, helped: Some(true), ended: Some(at(900)), ..attempt(2, 30) };
    let vain = |number: u32| Attempt { outcome: Outcome::Lost, ..attempt(number, i64::from(number)) };
    record.attempts = vec![vain(1), restart, Attempt { helped: Some(true), ended: Some(at(1000)), ..attempt(3, 950) }];
    let counted = |number: u32| attempt(number, i64::from(number) * 10);
    record.attempts.extend((4..=300).map(counted));
    record.attempts.extend((301..=600).map(vain));
    record.attempts.extend((601..=900).map(counted));
    let position = record.position();
    let read = read_back(&patched(stored(&record), &record));
    assert_eq!(read.attempts.len(), 512);
    assert_eq!((read.position(), read.next_number()), (position, 901));
    let numbers: Vec<u32> = read.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1..=3, 92..=300, 601..=900].into_iter().flatten().collect::<Vec<u32>>());
    let spent = |record: Record| {
        let mut ledger = Ledger::default();
        ledger.put(record);
        let now = at(9_001);
        (
            ledger.tally().spent("csi.example.com", Budget::Nudges, None, now),
            ledger.tally().spent("csi.example.com", Budget::Restarts, None, now),
        )
    };
    assert_eq!(spent(read), spent(record), "no budget is given twice");
}

#[test]
fn the_definition_is_the_one_that_is_tested() {
    assert_eq!(Remediation::crd_name(), "remediations.volwarden.dev");
    let object = created(&sample(Phase::Held));
    assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("volwarden.dev/v1alpha1"), &json!("Remediation")));
    assert_eq!(object.get("status"), None);
    assert_eq!(object["metadata"], json!({"name": "missed-event-u-1-6b49d200"}));
}
