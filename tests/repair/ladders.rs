//! The ladders: what is done about each class, and what is left alone.

use std::sync::Arc;
use std::time::Duration;

use volwarden::domain::engine::Effect;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::finding::Class;
use volwarden::domain::ledger::{Outcome, Phase};
use volwarden::domain::name::{Key, fingerprint};
use volwarden::domain::record::{Content, ContentStatus, DeletionPolicy, Kind, Namespace};
use volwarden::domain::remedy::Step;

use super::lab::hands::{Answer, Works, enforce};
use super::lab::*;

const CONTENT: Kind = Kind::VolumeSnapshotContent;

/// A cluster we lead, with an orphaned content for each name.
fn orphans(names: &[&str]) -> Lab {
    let mut lab = Lab::led(enforce(|_| {}));
    for name in names {
        orphan(&mut lab, name);
    }
    lab
}

fn orphan(lab: &mut Lab, name: &str) {
    let mut content = deleting(lab, name, &format!("s-{name}"), 600);
    content.being_deleted = false;
    lab.content(name, content);
}

#[test]
fn an_orphaned_content_is_marked_after_three_looks_and_once() {
    let mut lab = orphans(&["c"]);
    lab.pass(25);
    assert_eq!(lab.steps(), [], "seen once");
    lab.pass(300);
    assert_eq!(lab.steps(), [("MarkBeingDeleted", "c".to_owned())]);
    let record = lab.the_record();
    assert_eq!((record.phase, record.attempts.len()), (Phase::Done, 1));
    assert_eq!(record.attempts[0].helped, Some(true));
    assert!(record.attempts[0].message.contains("gone"), "{record:?}");
    lab.pass(7200);
    assert_eq!(lab.hands.acts.len(), 1, "silence");
}

#[test]
fn under_retain_what_is_kept_is_remembered_first() {
    let mut lab = Lab::led(enforce(|_| {}));
    let mut content = deleting(&lab, "c", "s", 600);
    (content.being_deleted, content.policy) = (false, DeletionPolicy::Retain);
    lab.hands.enters = false;
    lab.content("c", content);
    lab.pass(300);
    assert_eq!(lab.steps(), [], "nothing before the orphan ledger has it");
    let handle = lab.hands.orphans[0].handle.clone();
    assert!(handle.ends_with("-c") && lab.hands.orphans[0].snapshot.1.is_some());
    lab.hands.enters = true;
    lab.pass(120);
    assert_eq!(lab.steps(), [("MarkBeingDeleted", "c".to_owned())]);
    assert_eq!(lab.the_record().orphan.as_deref(), Some("orphan-uid-c"));
}

#[test]
fn under_retain_what_nobody_could_name_afterwards_is_not_let_go() {
    let mut lab = Lab::led(enforce(|_| {}));
    let mut content = deleting(&lab, "c", "s", 600);
    (content.being_deleted, content.policy) = (false, DeletionPolicy::Retain);
    // What a creation leaves whose error was written over the handle.
    content.status.as_mut().unwrap().handle = None;
    lab.content("c", content);
    lab.pass(1200);
    assert_eq!((lab.steps(), lab.hands.orphans.len()), (Vec::new(), 0));
}

#[test]
fn a_doubtful_content_waits_for_an_approval_of_exactly_its_plan() {
    let mut lab = orphans(&["c"]);
    let twin = alive(&lab, "twin", "s2");
    let mut twin = twin;
    twin.status = lab.engine.world().contents.get(&Key::cluster("c")).unwrap().status.clone();
    twin.snapshot.uid = None;
    lab.content("twin", twin);
    lab.pass(600);
    assert_eq!(lab.steps(), [], "another content carries the same handle");
    let record = lab.the_record();
    assert_eq!(record.phase, Phase::AwaitingApproval);
    let plan = record.plan.unwrap();
    assert!(plan.destroys && !plan.leaks);
    lab.approve(&record.name, Some("00000000000000000000000000000000"));
    lab.pass(120);
    assert_eq!(lab.steps(), [], "that is another plan");
    lab.approve(&record.name, Some(plan.hash.as_str()));
    lab.pass(10);
    assert_eq!(lab.steps(), [("MarkBeingDeleted", "c".to_owned())]);
}

#[test]
fn a_copied_manifest_waits_for_an_approval_and_an_expired_one_is_none() {
    let mut lab = orphans(&["c"]);
    let key = (volwarden::domain::remedy::action::TargetKind::Content, Key::cluster("c"));
    let volwarden::domain::remedy::fresh::Looked::There(mut look) = lab.look(key.0, &key.1) else { panic!() };
    look.made_by_controller = false;
    lab.hands.looks.insert(key, volwarden::domain::remedy::fresh::Looked::There(look));
    lab.pass(300);
    let record = lab.the_record();
    assert_eq!((record.phase, lab.hands.acts.len()), (Phase::AwaitingApproval, 0));
    let hash = record.plan.unwrap().hash;
    // Approved while something else holds it, until it has expired.
    lab.policy(enforce(|spec| spec.suspended = true));
    lab.pass(65);
    let hash = lab.the_record().plan.map_or(hash, |plan| plan.hash);
    lab.approve(&record.name, Some(hash.as_str()));
    lab.pass(3700);
    lab.policy(enforce(|_| {}));
    lab.pass(600);
    assert_eq!(lab.steps(), [], "an hour is over");
    lab.approve(&record.name, None);
    lab.approve(&record.name, Some(hash.as_str()));
    lab.pass(120);
    assert_eq!(lab.steps().len(), 1);
}

#[test]
fn a_missed_event_is_nudged_and_nothing_more_under_delete() {
    let mut lab = Lab::led(enforce(|_| {}));
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    lab.pass(1000);
    assert_eq!(lab.steps(), [("Nudge", "c".to_owned())]);
    let record = lab.the_record();
    assert_eq!(record.phase, Phase::Failed, "{}", record.message);
    assert_eq!(record.attempts[0].helped, Some(false));
}

/// A missed event that was nudged, and then its contents cannot be read for two hours.
fn nudged_and_blind() -> Lab {
    let mut lab = Lab::led(enforce(|_| {}));
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    lab.pass(120);
    assert_eq!(lab.steps(), [("Nudge", "c".to_owned())]);
    lab.feed(Fact::Source(Source::Contents, SourceChange::Failing("500".into())));
    lab.pass(7200);
    let record = lab.the_record();
    assert_eq!((record.phase.is_over(), record.attempts[0].helped), (false, None), "{}", record.message);
    lab
}

#[test]
fn what_works_while_nobody_can_see_it_is_no_failure() {
    let mut lab = nudged_and_blind();
    // A list that shows it no more.
    lab.feed(Fact::Source(Source::Contents, SourceChange::ListBegan));
    lab.pass(20);
    lab.feed(Fact::Source(Source::Contents, SourceChange::ListEnded));
    lab.pass(1);
    let record = lab.the_record();
    assert_eq!((record.phase, record.attempts[0].helped), (Phase::Done, Some(true)), "{}", record.message);
}

#[test]
fn a_watch_that_comes_back_may_first_tell_what_it_missed() {
    let mut lab = nudged_and_blind();
    lab.feed(Fact::Source(Source::Contents, SourceChange::Progress));
    lab.pass(20);
    assert!(!lab.the_record().phase.is_over(), "it catches up");
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(1);
    assert_eq!(lab.the_record().phase, Phase::Done);

    let mut lab = nudged_and_blind();
    lab.feed(Fact::Source(Source::Contents, SourceChange::Progress));
    lab.pass(60);
    let record = lab.the_record();
    assert_eq!((record.phase, record.attempts[0].helped), (Phase::Failed, Some(false)), "{}", record.message);
}

#[test]
fn a_plan_stands_however_long_is_looked() {
    let mut lab = Lab::eager();
    lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), Namespace::default())));
    lab.policy(enforce(|_| {}));
    lab.empty_log();
    orphan(&mut lab, "c");
    lab.pass(20);
    for _ in 0..60 {
        lab.pass(5);
        assert_eq!(lab.holding(CONTENT, Key::cluster("c")), [""; 0]);
    }
}

#[test]
fn an_intent_about_what_is_over_is_closed_and_not_kept_for_ever() {
    let mut lab = Lab::led(enforce(|_| {}));
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.hands.stores = false;
    lab.pass(120);
    let intended = lab.effects.iter().rev().find_map(|effect| match effect {
        Effect::Record(record) if record.intent.is_some() => Some((**record).clone()),
        _ => None,
    });
    // Before it is stored, the driver is seen to try.
    lab.delete_error("c", "Failed to delete snapshot", 1);
    lab.hands.stores = true;
    for fact in lab.record(&intended.unwrap()) {
        lab.feed(fact);
    }
    assert_eq!(lab.class(CONTENT, "c"), Some(Class::Retrying));
    lab.pass(300);
    let record = lab.the_record();
    assert_eq!((lab.steps(), record.phase), (Vec::new(), Phase::Lapsed), "{}", record.message);
}

#[test]
fn a_confirmed_deletion_is_nudged_and_then_let_go_of() {
    let mut lab = Lab::led(enforce(|_| {}));
    let mut content = deleting(&lab, "c", "s", 2000);
    content.status = Some(ContentStatus::default());
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    lab.pass(900);
    assert_eq!(lab.steps(), [("Nudge", "c".to_owned()), ("RemoveContentFinalizer", "c".to_owned())]);
    assert_eq!(lab.the_record().phase, Phase::Done);
}

#[test]
fn a_provisioners_leftover_is_removed_from_the_snapshot() {
    let mut lab = Lab::led(enforce(|_| {}));
    let snapshot = going(&lab, "s", "c", 2000, &[PROVISIONER]);
    lab.snapshot("s", snapshot);
    lab.pass(400);
    assert_eq!(lab.steps(), [("RemoveProvisionerFinalizer", "s".to_owned())]);
    assert_eq!(lab.the_record().phase, Phase::Done);
}

/// A cluster whose driver's leader is a pod, and holds a lock on content `c`.
fn locked(change: impl FnOnce(&mut volwarden::domain::policy::Spec)) -> Lab {
    refused(&[900, 600, 300], change)
}

/// The same, refused as long ago as these.
fn refused(refusals: &[u64], change: impl FnOnce(&mut volwarden::domain::policy::Spec)) -> Lab {
    let mut lab = Lab::led(enforce(|spec| {
        spec.steps.insert(Step::RestartLeader);
        spec.assume_healthy = true;
        change(spec);
    }));
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    lab.pod("rook-ceph", "leader-0", pod);
    for ago in refusals.iter().copied() {
        lab.log_failure("c", "Aborted", "an operation with the given Volume ID x already exists", ago);
    }
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    // The Event of the newest try, which is in the log too.
    lab.delete_error("c", "Failed to delete snapshot", refusals.iter().copied().min().unwrap_or(30));
    lab
}

#[test]
fn a_lock_is_broken_by_restarting_the_leader_and_then_nudged() {
    let mut lab = locked(|_| {});
    lab.hands.works = Works::InVain;
    lab.pass(50);
    assert_eq!(lab.class(CONTENT, "c"), Some(Class::OperationLocked));
    lab.pass(30);
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned())]);
    lab.hands.works = Works::Heals;
    lab.pass(30);
    assert_eq!(lab.steps().len(), 1, "the new leader is given its time");
    lab.pass(200);
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned()), ("Nudge", "c".to_owned())]);
    assert_eq!(lab.the_record().phase, Phase::Done);
}

#[test]
fn a_lock_is_left_alone_without_the_restart_switched_on_and_with_too_few_refusals() {
    let mut lab = locked(|spec| assert!(spec.steps.remove(&Step::RestartLeader)));
    lab.pass(1200);
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.holding(CONTENT, Key::cluster("c")), ["mode"]);

    let mut lab = refused(&[30], |_| {});
    lab.pass(600);
    assert_eq!(lab.steps(), [], "refused once");
}

#[test]
fn a_pod_of_a_daemon_set_is_never_restarted() {
    let mut lab = locked(|_| {});
    let mut pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    pod.owner.as_mut().unwrap().kind = "DaemonSet".into();
    lab.pod("rook-ceph", "leader-0", pod);
    lab.pass(1200);
    assert_eq!(lab.steps(), []);
}

#[test]
fn a_leader_that_does_not_come_back_ends_the_episode_failed() {
    let mut lab = locked(|_| {});
    lab.hands.works = Works::InVain;
    lab.pass(80);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(900);
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned())]);
    assert_eq!(lab.the_record().phase, Phase::Failed);
}

#[test]
fn a_stale_leader_is_answered_by_its_candidate_and_then_by_its_lease() {
    let mut lab = Lab::led(enforce(|spec| {
        spec.steps.extend([Step::RestartLeader, Step::RestartCandidate, Step::ReleaseLease]);
        spec.assume_healthy = true;
    }));
    let pod = ctrlplugin(&lab, "candidate-1", &["--leader-election"]);
    lab.pod("rook-ceph", "candidate-1", pod);
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(400);
    assert_eq!(lab.class(Kind::CsiDriver, DRIVER), Some(Class::StaleLeader));
    assert_eq!(lab.steps(), [("RestartCandidate", "candidate-1".to_owned())]);
    // Its Deployment has made another one, which does not take over either.
    for _ in 0..90 {
        if lab.steps().len() < 2 {
            lab.pass(10);
        }
    }
    let steps = lab.steps();
    assert_eq!(steps.last(), Some(&("ReleaseLease", DRIVER_LEASE.to_owned())), "{steps:?}");
    assert_eq!(steps.len(), 2);
    lab.start_leader("rook-ceph", DRIVER_LEASE);
    lab.pass(200);
    assert_eq!(lab.the_record().phase, Phase::Done);
}

#[test]
fn a_gone_drivers_content_is_let_go_only_by_consent_on_itself_and_an_approval() {
    let mut lab = Lab::led(enforce(|_| {}));
    let mut content = deleting(&lab, "c", "s", 2000);
    (content.driver, content.class) = ("gone.example.com".into(), None);
    lab.content("c", content);
    // Its snapshot waits for it, and is no use of it.
    let waiting = going(&lab, "s", "c", 2000, &[BOUND]);
    lab.snapshot("s", waiting);
    let policy = volwarden::domain::policy::Policy::new(
        "gone",
        volwarden::domain::policy::Spec {
            mode: volwarden::domain::policy::Mode::Enforce,
            scope: volwarden::domain::policy::Scope {
                drivers: [Arc::from("gone.example.com")].into(),
                ..Default::default()
            },
            ..Default::default()
        },
    );
    lab.policy(policy);
    lab.pass(600);
    assert_eq!(lab.class(CONTENT, "c"), Some(Class::DriverUnknown));
    assert_eq!((lab.steps().len(), lab.hands.records.len()), (0, 0), "no consent, no plan");
    let key = (volwarden::domain::remedy::action::TargetKind::Content, Key::cluster("c"));
    let volwarden::domain::remedy::fresh::Looked::There(shown) = lab.look(key.0, &key.1) else { panic!() };
    let agreed = |uid: &str| {
        let look = volwarden::domain::remedy::fresh::Look { leave_behind: Some(uid.into()), ..(*shown).clone() };
        volwarden::domain::remedy::fresh::Looked::There(Box::new(look))
    };
    lab.hands.looks.insert(key.clone(), agreed("uid-of-another"));
    lab.pass(600);
    assert_eq!(lab.hands.records.len(), 0, "a copied consent is none");
    lab.hands.looks.insert(key, agreed("uid-c"));
    lab.pass(700);
    let record = lab.the_record();
    let plan = record.plan.unwrap();
    assert_eq!((record.phase, plan.leaks, lab.steps().len()), (Phase::AwaitingApproval, true, 0));
    lab.approve(&record.name, Some(plan.hash.as_str()));
    lab.pass(60);
    assert_eq!(lab.steps(), [("RemoveIntoOrphanLedger", "c".to_owned())]);
    let left = &lab.hands.orphans[0];
    assert_eq!(left.csi_name().as_deref(), Some("snapshot-uid-s"));
    assert!(lab.engine.world().orphans.iter().any(|(_, entry)| entry.print == fingerprint(&left.handle)));
}

#[test]
fn what_is_somebody_elses_is_never_written_to() {
    type Shape = (&'static str, fn(&Lab, &mut Content));
    let mut lab = Lab::led(enforce(|spec| spec.steps.extend(Step::ALL)));
    let shapes: [Shape; 4] = [
        ("group", |_, c| c.in_group = true),
        ("foreign", |_, c| c.meta.finalizers = vec![Arc::from("example.com/hold")].into()),
        ("mismatch", |_, c| c.class = Some("other".into())),
        ("unexplained", |_, c| c.status = None),
    ];
    lab.feed(Fact::SnapshotClass(Change::Applied(Key::cluster("other"), class("another.driver"))));
    for (name, change) in shapes {
        let mut content = deleting(&lab, name, &format!("s-{name}"), 5000);
        change(&lab, &mut content);
        lab.content(name, content);
    }
    let mut awaiting = deleting(&lab, "awaiting", "s", 5000);
    awaiting.being_deleted = false;
    let snapshot = ready(&lab, "s", "awaiting");
    lab.snapshot("s", snapshot);
    lab.content("awaiting", awaiting);
    lab.pass(3600);
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.hands.records.len(), 0);
    assert!(lab.classes().len() >= 5, "{:?}", lab.classes());
}

#[test]
fn sixty_two_orphans_are_repaired_within_two_hours_one_by_one_at_first() {
    let names: Vec<String> = (0..62).map(|number| format!("c{number:02}")).collect();
    let mut lab = orphans(&[]);
    for name in &names {
        orphan(&mut lab, name);
    }
    let mut passed = 0;
    while lab.hands.acts.len() < 62 && passed < 7200 {
        lab.pass(60);
        passed += 60;
    }
    assert_eq!(lab.hands.acts.len(), 62, "within {passed} s");
    assert!(lab.phases().iter().all(|(_, phase)| *phase == Phase::Done));
    let mut seen = std::collections::BTreeSet::new();
    assert!(lab.steps().into_iter().all(|step| seen.insert(step)), "nothing twice");
    let first = lab.hands.acts[0].intended();
    let within = lab.hands.acts.iter().filter(|act| act.intended().duration_since(first).as_secs() < 3600).count();
    assert_eq!(within, 60, "the budget of an hour");
}

#[test]
fn a_failure_stops_the_batch() {
    let mut lab = orphans(&["a", "b", "c"]);
    lab.hands.works = Works::InVain;
    let marked = |lab: &Lab| lab.steps().iter().filter(|(step, _)| *step == "MarkBeingDeleted").count();
    lab.pass(1100);
    assert_eq!(marked(&lab), 1);
    assert!(lab.phases().contains(&("c".to_owned(), Phase::Failed)), "{:?}", lab.phases());
    lab.pass(1700);
    assert_eq!(marked(&lab), 1, "it rests for half an hour");
}

#[test]
fn outcomes_are_answered_by_another_try_and_not_without_end() {
    for (answer, outcome, tries) in [(Answer::Lost, Outcome::Lost, 10), (Answer::Denied, Outcome::Denied, 3)] {
        let mut lab = orphans(&["c"]);
        lab.hands.works = Works::Answers(answer);
        lab.pass(1800);
        assert_eq!(lab.hands.acts.len(), tries, "{answer:?}");
        let record = lab.the_record();
        assert_eq!(record.phase, Phase::Failed);
        assert!(record.attempts.iter().all(|attempt| attempt.outcome == outcome));
    }
}

#[test]
fn a_storm_is_treated_by_its_driver_and_its_canary() {
    let mut lab = Lab::led(enforce(|spec| {
        spec.steps.insert(Step::RestartLeader);
        spec.assume_healthy = true;
    }));
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    lab.pod("rook-ceph", "leader-0", pod);
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    for name in &names {
        lab.log_failure(name, "Internal", "connection refused", 20);
    }
    for (at, name) in names.iter().enumerate() {
        let content = deleting(&lab, name, &format!("s-{name}"), 3000 - u64::try_from(at).unwrap());
        lab.content(name, content);
    }
    lab.hands.works = Works::InVain;
    lab.pass(80);
    assert_eq!(lab.class(Kind::CsiDriver, DRIVER), Some(Class::DriverDegraded));
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned())]);
    lab.pass(160);
    assert_eq!(lab.steps().last(), Some(&("Nudge", "c0".to_owned())), "the oldest is the canary");
    // The driver confirms the canary's deletion.
    let mut canary = lab.engine.world().contents.get(&Key::cluster("c0")).unwrap().clone();
    canary.status = Some(ContentStatus::default());
    lab.content("c0", canary);
    let before = lab.hands.acts.len();
    lab.pass(31);
    let nudged = &lab.steps()[before..];
    assert!((2..=4).contains(&nudged.len()), "one each ten seconds: {nudged:?}");
    assert!(nudged.iter().all(|(step, name)| *step == "Nudge" && name != "c0"));
    for name in &names {
        lab.feed(Fact::Content(Change::Gone(Key::cluster(name.as_str()))));
    }
    lab.pass(60);
    assert!(lab.phases().iter().all(|(_, phase)| *phase == Phase::Done), "{:?}", lab.phases());
    let spacing: Vec<i64> = lab.hands.acts[2..]
        .windows(2)
        .map(|two| two[1].intended().duration_since(two[0].intended()).as_secs())
        .collect();
    assert!(spacing.iter().all(|seconds| *seconds >= 10), "{spacing:?}");
    let _ = Duration::ZERO;
}
