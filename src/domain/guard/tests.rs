//! Each guard stops what only it stops: the case allows everything, one field is changed, and exactly that guard
//! holds. Taking a guard out of the table, or making its check allow everything, fails here.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::finding::{Class, Subject};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::domain::remedy::action::{Expect, Target, TargetKind};

fn wall(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn action(step: Step) -> Action {
    let key = Key::cluster("c");
    let kind = if step.reaches_driver() { TargetKind::Pod } else { TargetKind::Content };
    Action {
        step,
        class: Class::OrphanedContent,
        subject: Subject::new(Kind::VolumeSnapshotContent, key.clone()),
        subject_uid: Some(Uid::parse("u")),
        driver: "d".into(),
        target: Target { kind, key, uid: Uid::parse("u"), version: "7".into() },
        write: step.write(),
        expect: Expect::default(),
        handle: None,
        leaks: false,
        destroys: false,
        doubts: Vec::new(),
        orphan: None,
        summary: String::new(),
    }
}

/// A case in which nothing is against the action.
fn fine(action: &Action) -> Case<'_> {
    Case {
        now: Now { wall: wall("2026-11-22T20:00:00Z"), mono: Duration::from_secs(1000) },
        action,
        doubts: Vec::new(),
        lease_left: Some(Duration::from_secs(10)),
        unfenced: None,
        policies: "p".to_owned(),
        mode: Mode::Enforce,
        switched_on: true,
        approved: if action.step.only_by_approval() { Approved::Yes } else { Approved::No },
        pauses: Vec::new(),
        out_of_scope: None,
        seen: Seen {
            age: Duration::from_secs(600),
            floor: Duration::from_secs(60),
            times: 3,
            needed: 3,
            next: None,
            unverified: false,
        },
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
        limit: 1,
        fuse: Fuse::Closed,
        rests: None,
        driver_in_flight: 0,
        rest: Duration::from_secs(1800),
        window: Ok(()),
        alerts: Alerts::Quiet,
    }
}

/// An action of this step on content `c` that every guard lets pass with so much of the lease, at 1000 s.
pub(crate) fn passed(step: Step, lease_left: Duration) -> Guarded {
    let action = action(step);
    let case = Case { lease_left: Some(lease_left), ..fine(&action) };
    let hash = Hash::written("00000000000000000000000000000000");
    let ticket = Ticket { record: "r".into(), attempt: 1, intended: case.now.wall, hash };
    pass(&case, ticket).1.unwrap()
}

fn held(case: &Case<'_>) -> Vec<Guard> {
    judge(case).verdicts().iter().filter(|(_, verdict)| !verdict.allows()).map(|(guard, _)| *guard).collect()
}

type Change = fn(&mut Case<'_>);

/// Holds `step` by exactly `guard`, with words that contain `word`; without it nothing does.
fn only(guard: Guard, step: Step, word: &str, change: Change) {
    let action = action(step);
    let mut case = fine(&action);
    assert_eq!(held(&case), [], "{step} is fine");
    change(&mut case);
    assert_eq!(held(&case), [guard], "{step}");
    let (_, verdict) = judge(&case).held_by().cloned().unwrap();
    let (Verdict::Wait { reason, .. } | Verdict::Refuse { reason }) = verdict else { panic!("{guard} allows") };
    assert!(reason.contains(word), "{guard}: {reason}");
}

/// The same for every step before which the guard stands; and it does not hold the others.
fn wherever(guard: Guard, word: &str, change: Change) {
    let (_, _, columns) = TABLE.iter().find(|(one, ..)| *one == guard).unwrap();
    for (step, stands) in Step::ALL.into_iter().zip(columns) {
        if *stands {
            only(guard, step, word, change);
        } else {
            let action = action(step);
            let mut case = fine(&action);
            change(&mut case);
            assert_eq!(held(&case), [], "{guard} is not asked about {step}");
        }
    }
}

#[test]
fn every_guard_stands_in_the_table_once_under_its_public_name() {
    let names: Vec<&str> = TABLE.iter().map(|(guard, ..)| guard.as_str()).collect();
    assert_eq!(
        names,
        [
            "synced",
            "leader",
            "fence",
            "mode",
            "paused",
            "scope",
            "settled",
            "quiet",
            "controller",
            "backend",
            "storm",
            "budget",
            "breaker",
            "window",
            "alerts",
            "consequence"
        ]
    );
    for (guard, ..) in TABLE {
        assert_eq!(Guard::from_name(guard.as_str()), Some(guard));
    }
}

#[test]
fn which_guard_stands_before_which_step() {
    let spared = |guard: Guard| -> Vec<&str> {
        let (_, _, columns) = TABLE.iter().find(|(one, ..)| *one == guard).unwrap();
        Step::ALL.into_iter().filter(|step| !stands_before(columns, *step)).map(Step::as_str).collect()
    };
    for (guard, ..) in TABLE.iter().filter(|(guard, ..)| !matches!(guard, Guard::Controller | Guard::Backend)) {
        assert_eq!(spared(*guard), [] as [&str; 0], "{guard} stands before every step");
    }
    assert_eq!(spared(Guard::Controller).len(), 8, "only a nudge and R3 need somebody to finish the job");
    let restarts: Vec<&str> =
        Step::ALL.into_iter().map(Step::as_str).filter(|name| !spared(Guard::Backend).contains(name)).collect();
    assert_eq!(restarts, ["RestartLeader", "RestartCandidate"]);
}

#[test]
fn synced_holds_what_rests_on_a_source_in_doubt() {
    wherever(Guard::Synced, "not listed", |case| case.doubts.push("Claims are not listed yet".to_owned()));
}

#[test]
fn leader_holds_without_a_lease_and_with_too_little_of_one() {
    wherever(Guard::Leader, "does not lead", |case| case.lease_left = None);
    wherever(Guard::Leader, "a write needs", |case| case.lease_left = Some(Duration::from_millis(5999)));
    let action = action(Step::Nudge);
    let mut case = fine(&action);
    case.lease_left = Some(Duration::from_secs(6));
    assert_eq!(held(&case), []);
}

#[test]
fn fence_holds_every_step_where_it_has_to_stand_and_is_not_seen_to() {
    wherever(Guard::Fence, "does not stand", |case| case.unfenced = Some("the fence does not stand".to_owned()));
}

#[test]
fn mode_holds_what_only_observes_and_what_nobody_approved() {
    wherever(Guard::Mode, "Observe", |case| case.mode = Mode::Observe);
    only(Guard::Mode, Step::Nudge, "nobody has approved", |case| case.mode = Mode::Approve);
    only(Guard::Mode, Step::Nudge, "another plan", |case| {
        case.mode = Mode::Approve;
        case.approved = Approved::Another;
    });
    only(Guard::Mode, Step::Nudge, "expired at", |case| {
        case.mode = Mode::Approve;
        case.approved = Approved::Expired(case.now.wall);
    });
    only(Guard::Mode, Step::RestartLeader, "not switched on", |case| case.switched_on = false);
    only(Guard::Mode, Step::RestartLeader, "not switched on", |case| {
        case.switched_on = false;
        case.mode = Mode::Approve;
        case.approved = Approved::Yes;
    });
    for step in [Step::RemoveIntoOrphanLedger, Step::DeleteAbandoned] {
        only(Guard::Mode, step, "only ever taken by approval", |case| case.approved = Approved::No);
        only(Guard::Mode, step, "Observe", |case| case.mode = Mode::Observe);
    }
}

#[test]
fn an_approval_opens_approve_mode_for_that_plan() {
    for step in Step::ALL {
        let action = action(step);
        let mut case = fine(&action);
        case.mode = Mode::Approve;
        case.switched_on = !step.only_by_approval();
        case.approved = Approved::Yes;
        assert_eq!(held(&case), [], "{step}");
    }
}

#[test]
fn paused_holds_until_the_last_pause_ends() {
    wherever(Guard::Paused, "suspended", |case| case.pauses.push(("policy p is suspended".to_owned(), None)));
    let action = action(Step::Nudge);
    let mut case = fine(&action);
    let ends = ["2026-11-22T21:00:00Z", "2026-11-22T22:00:00Z"].map(|text| Some(wall(text)));
    case.pauses = ends.into_iter().map(|until| ("paused".to_owned(), until)).collect();
    assert_eq!(judge(&case).until(), ends[1]);
    case.pauses.push(("suspended".to_owned(), None));
    assert_eq!(judge(&case).until(), None, "nobody can tell when");
}

#[test]
fn scope_refuses_what_no_policy_covers() {
    wherever(Guard::Scope, "no policy", |case| case.out_of_scope = Some("no policy covers it".to_owned()));
}

#[test]
fn settled_holds_what_is_young_seldom_seen_or_unsure() {
    wherever(Guard::Settled, "has to be", |case| case.seen.age = Duration::from_secs(59));
    wherever(Guard::Settled, "2 of 3", |case| case.seen.times = 2);
    wherever(Guard::Settled, "too short", |case| case.seen.unverified = true);
}

#[test]
fn quiet_holds_what_would_disturb_somebody() {
    for step in Step::ALL.into_iter().filter(|step| !step.reaches_driver()) {
        only(Guard::Quiet, step, "restored", |case| case.restores.push("ns/a is being restored".to_owned()));
    }
    for step in Step::ALL.into_iter().filter(|step| step.reaches_driver()) {
        only(Guard::Quiet, step, "and 1 more", |case| {
            case.work = vec!["ns/a is being provisioned".to_owned(), "c is being cut".to_owned()];
        });
        let action = action(step);
        let mut case = fine(&action);
        case.restores.push("ns/a is being restored".to_owned());
        assert_eq!(held(&case), [], "a restore that a lock holds up must not keep the lock");
    }
    for step in [Step::RemoveIntoOrphanLedger, Step::DeleteAbandoned] {
        only(Guard::Quiet, step, "made from it", |case| case.uses.push("ns/a was made from it".to_owned()));
    }
}

#[test]
fn controller_holds_what_nobody_would_finish() {
    for step in [Step::Nudge, Step::MarkBeingDeleted] {
        only(Guard::Controller, step, "csi-snapshotter does not work: gone", |case| {
            case.snapshotter = Standing::Dead("gone".to_owned());
        });
        let action = action(step);
        let mut case = fine(&action);
        case.snapshotter = Standing::Unknown("no lease".to_owned());
        case.controller = Standing::Dead("gone".to_owned());
        assert_eq!(held(&case), [], "a content's nudge waits for csi-snapshotter only, alive or unknown");
    }
    let mut nudge = action(Step::Nudge);
    nudge.target.kind = TargetKind::Snapshot;
    for standing in [Standing::Dead("gone".to_owned()), Standing::Unknown("no lease".to_owned())] {
        let mut case = fine(&nudge);
        case.controller = standing;
        case.snapshotter = Standing::Dead("gone".to_owned());
        assert_eq!(held(&case), [Guard::Controller], "a VolumeSnapshot is snapshot-controller's");
        case.controller = Standing::Alive;
        assert_eq!(held(&case), []);
    }
}

#[test]
fn backend_holds_a_restart_into_a_broken_backend() {
    wherever(Guard::Backend, "HEALTH_ERR", |case| case.backend = Backend::Trouble("it tells HEALTH_ERR".to_owned()));
    wherever(Guard::Backend, "assumeHealthy", |case| case.backend = Backend::Untold);
    let action = action(Step::RestartLeader);
    let mut case = fine(&action);
    (case.backend, case.assume_healthy) = (Backend::Untold, true);
    assert_eq!(held(&case), []);
    case.backend = Backend::Trouble("x".to_owned());
    assert_eq!(held(&case), [Guard::Backend], "an assumption does not outweigh what is told");
}

#[test]
fn storm_freezes_single_objects_and_lets_batches_begin_one_by_one() {
    let mut frozen = action(Step::RestartLeader);
    frozen.class = Class::OperationLocked;
    let mut case = fine(&frozen);
    case.storm = true;
    assert_eq!(held(&case), [Guard::Storm]);
    for class in [Class::OrphanedContent, Class::DeletedNotReleased, Class::ProvisionerOrphan] {
        let mut spared = action(Step::Nudge);
        spared.class = class;
        let mut case = fine(&spared);
        case.storm = true;
        assert_eq!(held(&case), [], "{class} is not the driver's fault");
    }
    let mut own = action(Step::RestartLeader);
    (own.class, own.subject) = (Class::DriverDegraded, Subject::driver("d"));
    let mut case = fine(&own);
    case.storm = true;
    case.batch = Batch { in_flight: 9, repaired: 0, failed: Some(case.now.wall) };
    assert_eq!(held(&case), [], "the driver's own ladder is what a storm is treated with");
    for (repaired, in_flight, holds) in
        [(0, 0, false), (0, 1, true), (2, 1, true), (3, 1, false), (3, 3, false), (3, 4, true)]
    {
        let mark = action(Step::MarkBeingDeleted);
        let mut case = fine(&mark);
        case.batch = Batch { in_flight, repaired, failed: None };
        assert_eq!(held(&case) == [Guard::Storm], holds, "{in_flight} after {repaired}");
    }
    only(Guard::Storm, Step::MarkBeingDeleted, "rests", |case| {
        case.batch = Batch { failed: Some(wall("2026-11-22T19:30:01Z")), ..Batch::default() };
    });
}

#[test]
fn budget_holds_what_is_spent_and_refuses_what_there_is_none_of() {
    wherever(Guard::Budget, "are used", |case| case.spent = Spent { used: 1, frees: Some(case.now.wall) });
    wherever(Guard::Budget, "0 of 0", |case| case.limit = 0);
}

#[test]
fn breaker_holds_while_it_is_open_and_lets_one_through_half_open() {
    wherever(Guard::Breaker, "keep failing", |case| case.fuse = Fuse::Open(wall("2026-11-22T20:30:00Z")));
    wherever(Guard::Breaker, "left alone until", |case| case.rests = Some(wall("2026-11-22T20:30:00Z")));
    wherever(Guard::Breaker, "decides", |case| (case.fuse, case.driver_in_flight) = (Fuse::HalfOpen, 1));
    let action = action(Step::Nudge);
    let mut case = fine(&action);
    case.fuse = Fuse::HalfOpen;
    assert_eq!(held(&case), []);
}

#[test]
fn window_alerts_and_consequence() {
    wherever(Guard::Window, "opens at", |case| case.window = Err(Some(wall("2026-11-22T22:00:00Z"))));
    wherever(Guard::Window, "ever opens", |case| case.window = Err(None));
    wherever(Guard::Alerts, "says hold", |case| case.alerts = Alerts::Firing("CephHealthError".to_owned()));
    wherever(Guard::Alerts, "cannot be asked", |case| case.alerts = Alerts::Unasked("timed out".to_owned()));
    for (leaks, destroys) in [(true, false), (false, true), (true, true)] {
        for step in Step::ALL.into_iter().filter(|step| !step.only_by_approval()) {
            let mut action = action(step);
            (action.leaks, action.destroys) = (leaks, destroys);
            let mut case = fine(&action);
            assert_eq!(held(&case), [Guard::Consequence], "{step}");
            case.approved = Approved::Yes;
            assert_eq!(held(&case), [], "{step}");
        }
    }
}

#[test]
fn only_what_every_guard_allows_is_let_pass_and_no_longer_than_the_lease() {
    let nudge = action(Step::Nudge);
    let ticket = || Ticket {
        record: Arc::from("r"),
        attempt: 1,
        intended: wall("2026-11-22T20:00:00Z"),
        hash: Hash::written("h"),
    };
    let mut case = fine(&nudge);
    let (judgement, guarded) = pass(&case, ticket());
    assert_eq!(judgement.held_by(), None);
    assert_eq!(guarded.unwrap().deadline(), case.now.mono + ACT);
    case.alerts = Alerts::Firing("x".to_owned());
    assert_eq!(pass(&case, ticket()).1, None);
}
