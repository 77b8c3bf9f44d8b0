//! What is sent, and what is not sent any more: a table of fresh reads.

use super::*;
use crate::domain::diagnose::content::OWN_FINALIZER;
use crate::domain::finding::{Class, Subject};
use crate::domain::name::Key;
use crate::domain::policy::Policies;
use crate::domain::policy::Reach;
use crate::domain::record::Kind;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::{Target, TargetKind};

fn names(names: &[&str]) -> Names {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn read() -> Look {
    Look {
        uid: Uid::parse("u"),
        version: "8".into(),
        deleting: true,
        finalizers: names(&["other/hold", OWN_FINALIZER]),
        annotated: true,
        nudge: None,
        leave_behind: None,
        marked: false,
        creating: false,
        emptied: false,
        handle: Some("h".into()),
        volume_handle: Some("v".into()),
        made_by_controller: true,
    }
}

fn action(step: Step, expect: Expect) -> Action {
    let key = Key::cluster("c");
    Action {
        step,
        class: Class::OrphanedContent,
        subject: Subject::new(Kind::VolumeSnapshotContent, key.clone()),
        subject_uid: Some(Uid::parse("u")),
        driver: "d".into(),
        target: Target { kind: TargetKind::Content, key, uid: Uid::parse("u"), version: "7".into() },
        write: step.write(),
        expect,
        handle: Some("h".into()),
        leaks: false,
        destroys: false,
        doubts: Vec::new(),
        orphan: None,
        summary: String::new(),
    }
}

fn then() -> Timestamp {
    "2026-11-22T20:00:00Z".parse().unwrap()
}

fn fit(step: Step, expect: Expect, change: impl FnOnce(&mut Look)) -> Fit {
    let mut look = read();
    change(&mut look);
    action(step, expect).fit(&Looked::There(Box::new(look)), then())
}

fn deleting() -> Expect {
    Expect { deleting: true, ..Expect::default() }
}

#[test]
fn a_finalizer_is_removed_by_its_name_at_the_place_where_the_fresh_read_found_it() {
    let expect = Expect { finalizers: Some(names(&["other/hold", OWN_FINALIZER])), ..deleting() };
    let Fit::Send(Request::Patch(ops)) = fit(Step::RemoveContentFinalizer, expect, |_| {}) else { panic!() };
    assert_eq!(
        ops,
        [
            Op::Test("/metadata/uid".into(), "u".into()),
            Op::Test("/metadata/resourceVersion".into(), "8".into()),
            Op::Test("/metadata/finalizers/1".into(), OWN_FINALIZER.into()),
            Op::Remove("/metadata/finalizers/1".into()),
        ]
    );
}

#[test]
fn an_annotation_is_added_with_its_key_escaped_and_its_map_where_there_is_none() {
    let Fit::Send(Request::Patch(ops)) = fit(Step::Nudge, deleting(), |look| look.annotated = false) else { panic!() };
    assert_eq!(ops[2], Op::AddMap("/metadata/annotations".into()));
    assert_eq!(ops[3], Op::Add("/metadata/annotations/volwarden.dev~1nudge".into(), then().to_string()));
    let Fit::Send(Request::Patch(ops)) = fit(Step::MarkBeingDeleted, deleting(), |_| {}) else { panic!() };
    let path = "/metadata/annotations/snapshot.storage.kubernetes.io~1volumesnapshot-being-deleted";
    assert_eq!(ops.last(), Some(&Op::Add(path.into(), "yes".into())));
}

#[test]
fn a_deletion_carries_the_version_of_the_fresh_read() {
    let sent = fit(Step::RestartLeader, Expect::default(), |look| look.deleting = false);
    assert_eq!(sent, Fit::Send(Request::Delete { uid: Uid::parse("u"), version: "8".into() }));
}

#[test]
fn whatever_has_changed_since_is_lost() {
    type Case = (&'static str, Step, Expect, fn(&mut Look));
    let cases: [Case; 10] = [
        ("another object", Step::Nudge, deleting(), |look| look.uid = Uid::parse("v")),
        ("not being deleted", Step::Nudge, deleting(), |look| look.deleting = false),
        (
            "finalizers have changed",
            Step::RemoveRetainedFinalizer,
            Expect { finalizers: Some(names(&[OWN_FINALIZER])), ..deleting() },
            |_| {},
        ),
        ("has changed", Step::RemoveContentFinalizer, Expect { marked: Some(true), ..deleting() }, |_| {}),
        ("being-created is there", Step::MarkBeingDeleted, Expect { not_creating: true, ..deleting() }, |look| {
            look.creating = true;
        }),
        ("not emptied", Step::RemoveContentFinalizer, Expect { emptied: true, ..deleting() }, |_| {}),
        ("snapshotHandle", Step::MarkBeingDeleted, Expect { handle: Some("other".into()), ..deleting() }, |_| {}),
        (
            "snapshot-controller alone",
            Step::MarkBeingDeleted,
            Expect { made_by_controller: true, ..deleting() },
            |look| {
                look.made_by_controller = false;
            },
        ),
        ("does not carry its uid", Step::RemoveIntoOrphanLedger, Expect { consent: true, ..deleting() }, |look| {
            look.leave_behind = Some("another".into());
        }),
        ("it has changed", Step::ReleaseLease, Expect { unchanged: true, ..Expect::default() }, |look| {
            look.deleting = false;
        }),
    ];
    for (word, step, expect, change) in cases {
        let found = fit(step, expect, change);
        let Fit::Lost(why) = found else { panic!("{word}: {found:?}") };
        assert!(why.contains(word), "{word}: {why}");
    }
}

#[test]
fn gone_and_unreadable_targets_are_lost_and_nothing_is_sent() {
    let nudge = action(Step::Nudge, deleting());
    for looked in [Looked::Absent, Looked::Unknown("timed out".into())] {
        assert!(matches!(nudge.fit(&looked, then()), Fit::Lost(_)));
    }
}

#[test]
fn an_effect_that_is_there_is_not_made_again() {
    type Case = (Step, fn(&mut Look));
    let cases: [Case; 4] = [
        (Step::Nudge, |look| look.nudge = Some(then().to_string().into())),
        (Step::MarkBeingDeleted, |look| look.marked = true),
        (Step::RemoveContentFinalizer, |look| look.finalizers = names(&["other/hold"])),
        (Step::RestartLeader, |look| look.deleting = true),
    ];
    for (step, change) in cases {
        assert_eq!(fit(step, deleting(), change), Fit::Done, "{step}");
    }
    let older = fit(Step::Nudge, deleting(), |look| look.nudge = Some("2026-11-22T19:00:00Z".into()));
    assert!(matches!(older, Fit::Send(_)), "another nudge's time is not this one's");
}

#[test]
fn a_plans_hash_is_over_what_is_done_and_under_which_policies_and_not_over_versions() {
    let governing = Policies::default().govern("d", Reach::Driver);
    let plain = action(Step::MarkBeingDeleted, deleting());
    let hash = plain.hash(&governing);
    let mut newer = plain.clone();
    newer.target.version = "9".into();
    assert_eq!(newer.hash(&governing), hash);
    let changes: [fn(&mut Action); 9] = [
        |action| action.step = Step::Nudge,
        |action| action.write = Step::Nudge.write(),
        |action| action.target.uid = Uid::parse("other"),
        |action| action.subject_uid = None,
        |action| action.handle = None,
        |action| action.destroys = true,
        |action| action.leaks = true,
        |action| action.expect.finalizers = Some(names(&["x"])),
        |action| action.doubts.push("doubtful".to_owned()),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = plain.clone();
        change(&mut other);
        assert_ne!(other.hash(&governing), hash, "change {at}");
    }
    let mut policies = Policies::default();
    policies.put(crate::domain::policy::Policy::new("p", crate::domain::policy::Spec::default()));
    assert_ne!(plain.hash(&policies.govern("d", Reach::Driver)), hash);
}
