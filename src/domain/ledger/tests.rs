//! The ledger counts from what is stored, and nothing else.

use super::count::{Budget, Fuse};
use super::*;
use crate::domain::finding::{Repair, Rung as Shown};
use crate::domain::name::Uid;
use crate::domain::policy::Breaker;
use crate::domain::record::Kind;
use crate::domain::remedy::action::TargetKind;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn finding(class: Class, name: &str) -> Finding {
    Finding {
        class,
        subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster(name)),
        uid: Some(Uid::parse(name)),
        driver: Some("d".into()),
        cause: None,
        since: at(0),
        summary: String::new(),
        evidence: Vec::new(),
        leaks: false,
        destroys: false,
        unverified: false,
        repair: Repair { rung: Shown::Nudge, text: String::new() },
    }
}

fn plan(step: Step, name: &str) -> Plan {
    Plan {
        hash: Hash::written("h"),
        step,
        summary: "does it".to_owned(),
        policies: vec!["p".into()],
        target: Target {
            kind: TargetKind::Content,
            key: Key::cluster(name),
            uid: Uid::parse(name),
            version: "7".into(),
        },
        leaks: false,
        destroys: false,
        handle: None,
    }
}

/// A record of `class` whose steps were all applied, at these minutes, and helped or not.
fn record(class: Class, name: &str, steps: &[(Step, i64, Option<bool>)]) -> Record {
    let mut record = Record::open(&finding(class, name), &"d".into(), at(steps.first().map_or(0, |step| step.1)));
    for (step, minute, helped) in steps {
        record.intend(plan(*step, name), &"me".into(), at(*minute));
        record.tried(Outcome::Applied, "sent", at(*minute));
        if let Some(helped) = helped {
            record.verified(*helped, "looked", at(*minute + 1));
        }
    }
    record
}

fn ended(class: Class, name: &str, minute: i64, phase: Phase) -> Record {
    let mut record = record(class, name, &[(Step::MarkBeingDeleted, minute - 1, Some(phase == Phase::Done))]);
    record.finish(phase, "over", at(minute));
    record
}

fn ledger(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    records.into_iter().for_each(|record| ledger.put(record));
    ledger
}

#[test]
fn budgets_count_intents_and_everything_that_may_have_had_an_effect() {
    let mut open = record(Class::MissedEvent, "a", &[(Step::Nudge, 0, Some(false))]);
    open.intend(plan(Step::Nudge, "a"), &"me".into(), at(30));
    let mut vain = record(Class::MissedEvent, "b", &[]);
    for (minute, outcome) in [(10, Outcome::Lost), (11, Outcome::Denied), (12, Outcome::Unreachable)] {
        vain.intend(plan(Step::Nudge, "b"), &"me".into(), at(minute));
        vain.tried(outcome, "x", at(minute));
    }
    let name = open.name.clone();
    let ledger = ledger([open, vain]);
    let spent = |minute| ledger.tally().spent("d", Budget::Nudges, None, at(minute));
    assert_eq!(spent(40).used, 3, "an attempt, an intent, and one nobody knows the end of");
    assert_eq!(spent(40).frees, Some(at(60)));
    assert_eq!(spent(59).used, 3);
    assert_eq!(spent(60).used, 2, "an hour later the first counts no more");
    assert_eq!(
        ledger.tally().spent("d", Budget::Nudges, Some((&name, 2)), at(40)).used,
        2,
        "the one that is asked about"
    );
    assert_eq!(ledger.tally().spent("d", Budget::Marks, None, at(40)).used, 0);
    assert_eq!(ledger.tally().spent("other", Budget::Nudges, None, at(40)).used, 0);
}

#[test]
fn an_attempt_that_was_dropped_gives_its_number_to_no_other() {
    let mut long = record(Class::MissedEvent, "a", &[(Step::Nudge, 0, None), (Step::Nudge, 1, None)]);
    long.attempts.remove(0);
    long.intend(plan(Step::Nudge, "a"), &"me".into(), at(2));
    assert_eq!(long.intent.map(|intent| intent.number), Some(3));
}

#[test]
fn what_a_clock_ahead_of_ours_wrote_counts() {
    let ledger = ledger([record(Class::MissedEvent, "a", &[(Step::Nudge, 100, None)])]);
    assert_eq!(ledger.tally().spent("d", Budget::Nudges, None, at(0)).used, 1);
}

#[test]
fn a_ledger_that_is_read_again_counts_the_same() {
    let records = vec![
        record(Class::MissedEvent, "a", &[(Step::Nudge, 0, Some(false))]),
        ended(Class::OrphanedContent, "b", 5, Phase::Failed),
        ended(Class::OrphanedContent, "c", 6, Phase::Done),
    ];
    let once = ledger(records.clone());
    let twice = ledger(records.iter().rev().chain(&records).cloned());
    for ledger in [&once, &twice] {
        assert_eq!(ledger.tally().spent("d", Budget::Marks, None, at(10)).used, 2);
        assert_eq!(ledger.tally().batch("d", Class::OrphanedContent, None, at(10)).repaired, 1);
    }
    let mut empty = once.clone();
    for record in &records {
        empty.remove(&record.name);
    }
    assert_eq!(empty.tally().spent("d", Budget::Marks, None, at(10)).used, 0);
    assert_eq!(empty.tally().in_flight("d", None), 0);
}

#[test]
fn a_batch_is_trusted_after_three_and_stopped_by_a_failure() {
    let done = |name: &str, minute| ended(Class::OrphanedContent, name, minute, Phase::Done);
    let flying = record(Class::OrphanedContent, "f", &[(Step::MarkBeingDeleted, 9, None)]);
    let mut set = ledger([done("a", 1), done("b", 2), flying.clone()]);
    let batch = |set: &Ledger| set.tally().batch("d", Class::OrphanedContent, None, at(10));
    assert_eq!((batch(&set).in_flight, batch(&set).repaired, batch(&set).failed), (1, 2, None));
    assert_eq!(set.tally().batch("d", Class::OrphanedContent, Some(&flying.name), at(10)).in_flight, 0);
    set.put(ended(Class::OrphanedContent, "g", 3, Phase::Failed));
    assert_eq!((batch(&set).repaired, batch(&set).failed), (0, Some(at(3))));
    set.put(done("h", 4));
    assert_eq!((batch(&set).repaired, batch(&set).failed), (1, None));
    assert_eq!(set.tally().batch("d", Class::OrphanedContent, None, at(400)).repaired, 0, "another day, another batch");
}

#[test]
fn the_breaker_opens_at_three_in_a_row_and_doubles() {
    let breaker = Breaker::default();
    let failed = |name: &str, minute| ended(Class::MissedEvent, name, minute, Phase::Failed);
    let mut set =
        ledger([failed("a", 1), ended(Class::MissedEvent, "x", 2, Phase::Done), failed("b", 3), failed("c", 4)]);
    let fuse = |set: &Ledger, minute| set.tally().fuse("d", &breaker, at(minute));
    assert_eq!(fuse(&set, 5), Fuse::Closed, "one was repaired in between");
    set.put(failed("e", 5));
    assert_eq!(fuse(&set, 6), Fuse::Open(at(35)));
    assert_eq!(fuse(&set, 35), Fuse::HalfOpen);
    set.put(failed("f", 40));
    assert_eq!(fuse(&set, 41), Fuse::Open(at(100)), "an hour now");
    for (name, minute) in [("g", 100), ("h", 300), ("i", 600), ("j", 1200), ("k", 2000)] {
        set.put(failed(name, minute));
    }
    assert_eq!(fuse(&set, 2000), Fuse::Open(at(2720)), "twelve hours at most");
    set.put(ended(Class::OrphanedContent, "z", 2001, Phase::Done));
    assert_eq!(fuse(&set, 2001), Fuse::Closed);
    set.put(ended(Class::MissedEvent, "l", 2002, Phase::Lapsed));
    assert_eq!(fuse(&set, 2003), Fuse::Closed, "one that ended without us is no failure");
}

#[test]
fn the_ladder_is_climbed_by_what_was_tried() {
    use Step::{MarkBeingDeleted, Nudge, RemoveContentFinalizer, RemoveRetainedFinalizer, RestartLeader};
    for (class, steps, position) in [
        (Class::DeletedNotReleased, &[] as &[(Step, i64, Option<bool>)], Position::At(0)),
        (Class::DeletedNotReleased, &[(Nudge, 0, None)], Position::At(0)),
        (Class::DeletedNotReleased, &[(Nudge, 0, Some(true))], Position::Repaired),
        (Class::DeletedNotReleased, &[(Nudge, 0, Some(false))], Position::At(1)),
        (
            Class::DeletedNotReleased,
            &[(Nudge, 0, Some(false)), (RemoveContentFinalizer, 9, Some(false))],
            Position::Failed,
        ),
        (Class::OperationLocked, &[(RestartLeader, 0, Some(true))], Position::At(1)),
        (Class::OperationLocked, &[(RestartLeader, 0, Some(false))], Position::Failed),
        (Class::OperationLocked, &[(RestartLeader, 0, Some(true)), (Nudge, 9, Some(true))], Position::Repaired),
        (
            Class::DriverDegraded,
            &[(RestartLeader, 0, Some(true)), (Nudge, 9, Some(true)), (Nudge, 10, None)],
            Position::At(2),
        ),
        (Class::DriverDegraded, &[(RestartLeader, 0, Some(true)), (Nudge, 9, Some(false))], Position::Failed),
        // The first rung did not apply, and left no trace.
        (Class::DriverUnknown, &[(Step::RemoveIntoOrphanLedger, 0, Some(true))], Position::Repaired),
        (Class::OrphanedContent, &[(MarkBeingDeleted, 0, Some(false))], Position::At(1)),
        (
            Class::OrphanedContent,
            &[(MarkBeingDeleted, 0, Some(false)), (RemoveRetainedFinalizer, 9, Some(true))],
            Position::Repaired,
        ),
    ] {
        assert_eq!(record(class, "a", steps).position(), position, "{class} {steps:?}");
    }
}

#[test]
fn a_write_that_had_no_effect_leaves_the_ladder_where_it_was() {
    let mut record = record(Class::DeletedNotReleased, "a", &[]);
    for minute in 0..2 {
        record.intend(plan(Step::Nudge, "a"), &"me".into(), at(minute));
        record.tried(Outcome::Lost, "somebody was faster", at(minute));
    }
    assert_eq!((record.position(), record.phase), (Position::At(0), Phase::Held));
    assert_eq!(record.in_vain(), Some((Outcome::Lost, 2, at(1))));
    assert_eq!(record.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_approval_is_good_for_one_plan_and_for_a_while() {
    let (hash, other) = (Hash::written("one"), Hash::written("two"));
    let mut record = record(Class::MissedEvent, "a", &[]);
    assert_eq!(record.approves(&hash, at(0)), Approved::No);
    record.approved = Some(hash.clone());
    assert_eq!(record.approves(&hash, at(0)), Approved::No, "what stands on the object is seen first");
    assert!(record.notice_approval(Duration::from_secs(3600), at(0)));
    assert!(!record.notice_approval(Duration::from_secs(3600), at(30)), "it is not made longer by standing there");
    assert_eq!(record.approves(&hash, at(59)), Approved::Yes);
    assert_eq!(record.approves(&other, at(59)), Approved::Another);
    assert_eq!(record.approves(&hash, at(60)), Approved::Expired(at(60)));
    record.approved = None;
    assert!(record.notice_approval(Duration::from_secs(3600), at(61)));
    assert_eq!(record.approves(&hash, at(61)), Approved::No, "taken away");
}

#[test]
fn records_are_kept_longer_than_anything_counts_them() {
    let day = 24 * 60;
    let now = 20 * day;
    let set = ledger([
        ended(Class::MissedEvent, "old", now - 8 * day, Phase::Done),
        ended(Class::MissedEvent, "week", now - 6 * day, Phase::Failed),
        ended(Class::MissedEvent, "new", now - 10, Phase::Done),
        ended(Class::MissedEvent, "newer", now - 5, Phase::Done),
        record(Class::MissedEvent, "open", &[(Step::Nudge, 0, None)]),
    ]);
    let week = Duration::from_secs(7 * 24 * 3600);
    let names = |keep, keep_for| -> Vec<String> {
        let mut names: Vec<String> = set.expired(keep, keep_for, at(now)).iter().map(ToString::to_string).collect();
        names.sort();
        names.into_iter().map(|name| name.split('-').nth(2).unwrap().to_owned()).collect()
    };
    assert_eq!(names(1000, week), ["old"]);
    assert_eq!(names(1, week), ["old", "week"], "too many, and beyond every budget and breaker");
    assert_eq!(names(1000, Duration::from_secs(60)), ["old", "week"], "the breaker still counts the new ones");
}
