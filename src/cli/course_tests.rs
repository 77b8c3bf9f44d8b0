use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::digest::Hash;
use crate::domain::finding::{Class, Finding, Subject};
use crate::domain::guard::{self, Alerts, Backend, Case, Seen, Standing, Ticket};
use crate::domain::ledger::count::{Batch, Fuse, Spent};
use crate::domain::ledger::{Approved, Outcome, Plan};
use crate::domain::name::{Key, Uid};
use crate::domain::policy::{Mode, Policies, Reach};
use crate::domain::record::Kind;
use crate::domain::remedy::action::{Action, Expect, TargetKind};
use crate::domain::remedy::{Step, ladder};

pub(in crate::cli) const HASH: &str = "0123456789abcdef0123456789abcdef";

pub(in crate::cli) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(in crate::cli) fn now() -> Now {
    Now { wall: at(303), mono: Duration::from_secs(1000) }
}

fn action(class: Class, name: &str) -> Action {
    let key = Key::cluster(name);
    let step = ladder(class).first().map_or(Step::Nudge, |rung| rung.step);
    Action {
        step,
        class,
        subject: Subject::new(Kind::VolumeSnapshotContent, key.clone()),
        subject_uid: Some(Uid::parse("u")),
        driver: "d".into(),
        target: Target { kind: TargetKind::Content, key, uid: Uid::parse("u"), version: "7".into() },
        write: step.write(),
        expect: Expect::default(),
        handle: Some("h-1".into()),
        leaks: false,
        destroys: false,
        doubts: Vec::new(),
        orphan: None,
        summary: format!("do it to {name}"),
    }
}

/// A case in which nothing is against the action.
fn fine(action: &Action) -> Case<'_> {
    let (long, short) = (Duration::from_secs(600), Duration::from_secs(60));
    Case {
        unfenced: None,
        now: now(),
        action,
        doubts: Vec::new(),
        lease_left: Some(short),
        policies: "p".to_owned(),
        mode: Mode::Enforce,
        switched_on: true,
        approved: Approved::No,
        pauses: Vec::new(),
        out_of_scope: None,
        seen: Seen { age: long, floor: short, times: 3, needed: 3, next: None, unverified: false },
        restores: Vec::new(),
        work: Vec::new(),
        uses: Vec::new(),
        snapshotter: Standing::Alive,
        controller: Standing::Alive,
        backend: Backend::Healthy,
        assume_healthy: false,
        storm: false,
        batch: Batch { in_flight: 0, repaired: 3, failed: None },
        first_singly: 3,
        max_in_flight: 4,
        spent: Spent { used: 0, frees: None },
        limit: 10,
        fuse: Fuse::Closed,
        rests: None,
        driver_in_flight: 0,
        rest: long,
        window: Ok(()),
        alerts: Alerts::Quiet,
    }
}

/// The first step of a class on an object, judged in a case that was changed.
pub(in crate::cli) fn step(
    class: Class,
    name: &str,
    act: impl Fn(&mut Action),
    change: impl Fn(&mut Case<'_>),
) -> Course {
    let mut action = action(class, name);
    act(&mut action);
    let mut case = fine(&action);
    change(&mut case);
    let hash = Hash::written(HASH);
    let ticket = Ticket { record: "".into(), attempt: 1, intended: at(303), hash: hash.clone() };
    let (judgement, guarded) = guard::pass(&case, ticket);
    let mut governing = Policies::default().govern("d", Reach::Driver);
    governing.names = vec![Arc::from("p")];
    let rung = ladder(class)[0];
    Course::Step(Box::new(Planned { rung, action, hash, governing, judgement, guarded }))
}

/// An open entry about that object, with this plan in it.
pub(in crate::cli) fn record(class: Class, name: &str) -> Record {
    let finding = Finding { driver: Some("d".into()), ..finding(class, name) };
    let mut record = Record::open(&finding, &"d".into(), at(0));
    record.name = format!("entry-{name}").into();
    record.plan = Some(Plan::of(&action(class, name), Hash::written(HASH), &[Arc::from("p")]));
    record
}

pub(in crate::cli) fn finding(class: Class, name: &str) -> Finding {
    let finding = super::super::table::tests::finding(class, Kind::VolumeSnapshotContent, name, None);
    Finding { driver: Some("d".into()), ..finding }
}

pub(in crate::cli) fn shown<'a>(course: &'a Course, episode: Option<&'a Record>) -> Shown<'a> {
    Shown { course, episode, rehearsal: None, tried: false, now: now() }
}

fn text(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|(label, text)| format!("{label} {text}")).collect()
}

fn json(shown: &Shown<'_>) -> serde_json::Value {
    serde_json::to_value(shown.view()).unwrap()
}

const CLASS: Class = Class::OrphanedContent;

#[test]
fn what_nothing_holds_is_done_now_and_shows_its_risks() {
    let course = step(CLASS, "c", |_| {}, |_| {});
    let shown = shown(&course, None);
    assert_eq!((shown.state(), shown.unheld().is_some(), shown.approval()), (State::Now, true, None));
    assert_eq!(text(shown.step()), ["step MarkBeingDeleted: do it to c"]);
    assert!(shown.holds().is_empty());
    assert!(text(shown.guards())[0].starts_with("allow synced, leader, fence, mode"));
    let json = json(&shown);
    assert_eq!(
        (&json["state"], &json["rung"], &json["step"]["hash"]),
        (&"Now".into(), &"MarkBeingDeleted".into(), &HASH.into())
    );
    assert_eq!(json["step"]["verdicts"].as_array().unwrap().len(), 15, "every guard that stands before it");
    assert_eq!(json["step"]["target"]["name"], "c");
}

#[test]
fn each_guard_that_holds_is_said_with_its_end() {
    let course = step(
        CLASS,
        "c",
        |_| {},
        |case| {
            case.seen.age = Duration::from_secs(20);
            case.window = Err(Some(at(303 + 86_400)));
            case.mode = Mode::Observe;
        },
    );
    let shown = shown(&course, None);
    assert_eq!((shown.state(), shown.unheld(), shown.approval()), (State::Held, None, None));
    assert_eq!(
        text(shown.holds()),
        [
            "held mode: policy p is in mode Observe",
            "held settled: it has been so for 20s and has to be for 60s; until 00:05:43Z, in 40s",
            "held window: outside of the maintenance window, which opens at 1970-01-02T00:05:03Z (in 24h)",
        ]
    );
    let json = json(&shown);
    let settled = json["step"]["verdicts"].as_array().unwrap().iter().find(|one| one["guard"] == "settled").unwrap();
    assert_eq!((&settled["verdict"], &settled["until"]), (&"Wait".into(), &"1970-01-01T00:05:43Z".into()));
    assert_eq!(json["until"], serde_json::Value::Null, "a refusal has no end");
}

#[test]
fn an_approval_is_asked_for_with_the_command_that_gives_it() {
    let doubtful = |action: &mut Action| {
        action.destroys = true;
        action.leaks = true;
        action.doubts = vec!["doubtful: copied".to_owned()];
    };
    let course = step(CLASS, "c", doubtful, |_| {});
    let record = record(CLASS, "c");
    let known = shown(&course, Some(&record));
    assert_eq!(known.state(), State::AwaitingApproval);
    assert_eq!(known.approval(), Some(("needs", format!("volwarden approve entry-c --hash {HASH}"))));
    assert_eq!(
        text(known.step())[1..],
        [
            "risk it leaves a snapshot behind in the storage backend",
            "risk it may destroy a backend snapshot that another cluster uses, or a last copy",
            "risk doubtful: copied"
        ]
    );
    let unknown = shown(&course, None).approval().unwrap().1;
    assert!(unknown.contains("kubectl get remediations"), "{unknown}");
    let mut other = record.clone();
    other.plan.as_mut().unwrap().hash = Hash::written("another");
    let stale = shown(&course, Some(&other)).approval().unwrap().1;
    assert!(!stale.contains("volwarden approve"), "the daemon would not take it: {stale}");
    let tried = Shown { tried: true, ..known }.approval().unwrap().1;
    assert!(!tried.contains("volwarden approve"), "the daemon plans by other policies: {tried}");
    // Something else holds it as well: an approval alone would not help.
    let course = step(CLASS, "c", doubtful, |case| case.seen.times = 1);
    assert_eq!(shown(&course, Some(&record)).state(), State::Held);
}

#[test]
fn what_is_under_way_is_no_step_to_come() {
    let course = step(CLASS, "c", |_| {}, |_| {});
    let mut record = record(CLASS, "c");
    let plan = record.plan.clone().unwrap();
    record.intend(plan, &"me".into(), at(240));
    let taken = shown(&course, Some(&record));
    assert_eq!((taken.state(), taken.unheld()), (State::UnderWay, None));
    assert_eq!(text(taken.step()), ["doing MarkBeingDeleted of attempt 1 is being taken by me"]);
    record.tried(Outcome::Applied, "the API server took it", at(250));
    let verifying = shown(&course, Some(&record));
    assert_eq!(verifying.state(), State::UnderWay);
    assert_eq!(
        text(verifying.step()),
        ["doing MarkBeingDeleted was taken 63s ago; whether it helped is being looked at"]
    );
    let last = &record.attempts[0];
    assert_eq!(attempt(last, at(303)), "attempt 1, MarkBeingDeleted 63s ago, Applied: the API server took it");
    let json = serde_json::to_value(EpisodeView::of(&record)).unwrap();
    assert_eq!((&json["name"], &json["lastAttempt"]["outcome"]), (&"entry-c".into(), &"Applied".into()));
    record.verified(false, "no success within 60s", at(300));
    assert_eq!(shown(&course, Some(&record)).state(), State::Now, "it was looked at");
    assert!(attempt(&record.attempts[0], at(303)).ends_with("Applied, it did not help: no success within 60s"));
}

#[test]
fn without_a_step_it_is_said_why() {
    let rung = ladder(Class::OperationLocked)[0];
    let key = Key::cluster("c");
    for (unfit, words, until) in [
        (
            Unfit::Look(TargetKind::Content, key),
            "a fresh read of VolumeSnapshotContent c is missing: look for longer",
            None,
        ),
        (Unfit::NotBefore(Duration::from_secs(1060), "too early".to_owned()), "too early", Some(at(363))),
        (Unfit::Hold("nobody leads".to_owned()), "nobody leads", None),
    ] {
        let course = Course::Standing { rung, unfit };
        let shown = shown(&course, None);
        let held = text(shown.holds());
        assert!(shown.state() == State::Held && held[0].starts_with(&format!("held {words}")), "{held:?}");
        assert_eq!(held[0].contains("until 00:06:03Z, in 60s"), until.is_some(), "{held:?}");
        assert_eq!(shown.view().until, until);
        assert_eq!(text(shown.step()), ["step RestartLeader: it cannot be planned yet"]);
    }
    let course = Course::Exhausted("Nudge: no".to_owned());
    let shown = shown(&course, None);
    assert_eq!((shown.state(), text(shown.step())), (State::NoStep, vec!["step none is left: Nudge: no".to_owned()]));
    assert_eq!(json(&shown)["reason"], "Nudge: no");
}

#[test]
fn what_the_server_says_is_shown_and_a_right_that_is_missing_is_no_error() {
    let course = step(CLASS, "c", |_| {}, |_| {});
    for (rehearsal, words, result) in [
        (Rehearsal::Taken, "server would take it", "Taken"),
        (Rehearsal::Forbidden("403: no".into()), "server forbidden to this user", "Forbidden"),
        (
            Rehearsal::Refused(Outcome::Denied, "422: the fence".into()),
            "server would not take it: 422: the fence",
            "Denied",
        ),
    ] {
        let shown = Shown { rehearsal: Some(&rehearsal), ..shown(&course, None) };
        assert!(text(shown.step())[1].starts_with(words), "{:?}", text(shown.step()));
        assert_eq!(json(&shown)["step"]["dryRun"]["result"], result);
    }
}
