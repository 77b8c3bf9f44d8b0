//! What is left over: each reason to stay by itself, and what goes without one.

use std::sync::Arc;
use std::time::Duration;

use super::field::{Cut, DriverSight, Extra, Field, Maker, Marks, Owners};
use super::hold::Hold;
use super::part::Part;
use super::plan::{Fate, Item, Plan, plan};
use super::policy::{Cleanup, Pruning};
use super::relic::{Detail, Failed, Kept, Relic, RelicMarks, Temporary, Thing};
use super::run::Run;
use super::tests::{cut, fate, field, hours, now, planned, pruning, with_extra};
use crate::domain::fact::Now;
use crate::domain::name::{Key, Uid};
use crate::domain::policy::Mode;
use crate::domain::record::{Namespace, Owner};

/// A policy that cleans up everything that is a day old.
fn cleans() -> Pruning {
    pruning(|rules| {
        for part in Part::CLEANUP {
            let mode = if part.only_by_approval() { Mode::Approve } else { Mode::Enforce };
            rules.cleanup.insert(part, Cleanup { mode, older_than: Duration::from_secs(24 * 3600) });
        }
    })
}

fn relic(key: Key, detail: Detail) -> Relic {
    Relic {
        uid: Uid::parse(&key.name),
        key,
        version: "1".into(),
        labels: Arc::default(),
        class: None,
        driver: Some("d".into()),
        volume: None,
        since: hours(25),
        size: 1 << 30,
        marks: RelicMarks::default(),
        owner: None,
        maker: None,
        detail,
    }
}

/// A content that policy Retain kept, with nothing against its going.
fn content(name: &str) -> Relic {
    let kept = Kept {
        snapshot: Some((Key::namespaced("app", "db-1"), Uid::parse("gone"))),
        handle: Some(7),
        retained: true,
        marked: true,
        protected: true,
        here: true,
        ..Kept::default()
    };
    relic(Key::cluster(name), Detail::Content(kept))
}

fn temporary() -> Temporary {
    Temporary { owner: Uid::parse("rs-1"), source: "data".into(), since: hours(25) }
}

fn claim() -> Relic {
    relic(Key::namespaced("app", "volsync-data-src"), Detail::Claim(temporary()))
}

fn job() -> Relic {
    let job = relic(Key::namespaced("app", "volsync-src-data"), Detail::Job(temporary()));
    Relic { driver: None, size: 0, ..job }
}

fn with(relic: Relic) -> Field {
    Field { relics: vec![relic], ..field() }
}

fn judged(field: &Field) -> Fate {
    planned(field, &cleans()).relics[0]
}

type Change = fn(&mut Field);

fn kept(field: &mut Field) -> &mut Kept {
    match &mut field.relics[0].detail {
        Detail::Content(kept) => kept,
        _ => panic!("no content"),
    }
}

#[test]
fn a_retained_content_goes_unless_one_thing_holds_it() {
    assert_eq!(judged(&with(content("c"))), Fate::Pruned);
    let table: [(Hold, Change); 25] = [
        (Hold::BeingDeleted, |field| field.relics[0].marks.deleting = true),
        (Hold::Ignored, |field| field.relics[0].marks.ignored = true),
        (Hold::Ignored, |field| {
            field.namespaces.insert("app".into(), Namespace { ignored: true, ..Namespace::default() });
        }),
        (Hold::Keep, |field| field.relics[0].marks.keep = true),
        (Hold::DoNotDelete, |field| field.relics[0].marks.do_not_delete = true),
        (Hold::Reclaims, |field| field.relics[0].marks.reclaims = true),
        (Hold::Velero, |field| {
            field.backups = Owners::Unknown;
            field.relics[0].maker = Some(Maker::Velero(None));
        }),
        (Hold::Owned, |field| {
            let owner = Owner { kind: "v1 ConfigMap".into(), name: "o".into(), uid: Uid::parse("o") };
            field.relics[0].owner = Some(owner);
        }),
        (Hold::Claimed, |field| kept(field).claimed = true),
        (Hold::InUse, |field| field.used.extend([Key::namespaced("app", "db-1")])),
        (Hold::GroupMember, |field| kept(field).grouped = true),
        (Hold::BeingCreated, |field| kept(field).creating = true),
        (Hold::NoHandle, |field| kept(field).handle = None),
        (Hold::SharedHandle, |field| kept(field).shared = true),
        (Hold::NotMadeHere, |field| kept(field).here = false),
        (Hold::NotMadeHere, |field| field.relics[0].driver = None),
        (Hold::MayBeCopy, |field| kept(field).copy = true),
        (Hold::Unmarked, |field| kept(field).marked = false),
        (Hold::Unprotected, |field| kept(field).protected = false),
        (Hold::InUse, |field| field.relics[0].marks.used = true),
        (Hold::ForeignFinalizer, |field| field.relics[0].marks.foreign_finalizer = true),
        (Hold::TooYoung, |field| field.relics[0].since = hours(23)),
        (Hold::TooYoung, |field| field.relics[0].since = None),
        (Hold::DriverDegraded, |field| {
            field.drivers.insert("d".into(), DriverSight { degraded: true, failing: 9, stuck: 9 });
        }),
        (Hold::DeletionsHang, |field| {
            field.drivers.insert("d".into(), DriverSight { degraded: false, failing: 1, stuck: 1 });
        }),
    ];
    for (hold, change) in table {
        let mut field = with(content("c"));
        change(&mut field);
        let plan = plan(&field, &pruning_of_any_driver(), &[], now());
        assert_eq!(plan.relics[0], Fate::Held(hold), "{hold}");
    }
}

/// The same policy without drivers: an object without one is covered, too.
fn pruning_of_any_driver() -> Pruning {
    let mut rules = cleans().rules().clone();
    rules.drivers.clear();
    Pruning::new("p", rules)
}

#[test]
fn what_policy_is_for_others_does_not_apply() {
    let field = with(content("c"));
    assert_eq!(planned(&field, &pruning(|_| ())).relics[0], Fate::Outside, "it has no such part");
    let elsewhere = pruning(|rules| {
        rules.cleanup = cleans().rules().cleanup.clone();
        rules.drivers = [Arc::from("e")].into();
    });
    assert_eq!(planned(&field, &elsewhere).relics[0], Fate::Outside);
    // A Job is no driver's.
    assert_eq!(planned(&with(job()), &elsewhere).relics[0], Fate::Pruned);
    assert_eq!(planned(&with(claim()), &elsewhere).relics[0], Fate::Outside);
    // What another policy holds by its own age stays.
    let longer = pruning(|rules| {
        let cleanup = Cleanup { mode: Mode::Observe, older_than: Duration::from_secs(48 * 3600) };
        rules.cleanup.insert(Part::RetainedContents, cleanup);
    });
    let other = planned(&field, &longer);
    assert_eq!(plan(&field, &cleans(), &[&other], now()).relics[0], Fate::Held(Hold::KeptByAnother));
}

#[test]
fn what_volsync_left_goes_once_its_owner_is_gone() {
    for relic in [claim(), job()] {
        let (thing, field) = (relic.thing(), with(relic));
        assert_eq!(judged(&field), Fate::Pruned, "{thing}");
        let table: [(Hold, Change); 6] = [
            (Hold::Owned, |field| {
                field.replications = Owners::Living([Key::namespaced("app", "data")].into());
            }),
            (Hold::Owned, |field| field.replicating = [Uid::parse("rs-1")].into()),
            (Hold::Owned, |field| field.replications = Owners::Unknown),
            (Hold::InUse, |field| field.relics[0].marks.used = true),
            (Hold::TooYoung, |field| field.relics[0].since = hours(23)),
            (Hold::DoNotDelete, |field| field.relics[0].marks.do_not_delete = true),
        ];
        for (hold, change) in table {
            let mut field = field.clone();
            change(&mut field);
            assert_eq!(judged(&field), Fate::Held(hold), "{thing} {hold}");
        }
    }
    for change in [(|field| field.movers = [Key::namespaced("app", "volsync-src-data")].into()) as Change, |field| {
        field.moving = [Uid::parse("rs-1")].into();
    }] {
        let mut field = with(claim());
        change(&mut field);
        assert_eq!(judged(&field), Fate::Held(Hold::InUse), "a mover is at work");
    }
}

fn left(name: &str, volume: u64, ago: i64) -> Cut {
    with_extra(cut(name, volume, ago), Extra { temporary: Some(temporary()), ..Extra::default() })
}

#[test]
fn a_temporary_snapshot_neither_counts_nor_is_the_last_one_to_go() {
    let mut field = field();
    field.cuts.push(left("volsync-data-src", 1, 5));
    let plan = planned(&field, &cleans());
    // The newest of all: it would be `latest-1` if it counted.
    assert!(matches!(fate(&plan, &field, "new"), Fate::Kept(_)));
    assert_eq!((fate(&plan, &field, "volsync-data-src"), plan.part(3)), (Fate::Pruned, Part::VolsyncLeftovers));
    assert_eq!(plan.going().collect::<Vec<_>>(), [0, 1], "it is none of those that go by count");
    assert_eq!(plan.going_of(Part::VolsyncLeftovers, &field).collect::<Vec<_>>(), [Item::Cut(3)]);
    // Without the part it is counted like any other.
    assert!(matches!(fate(&planned(&field, &pruning(|_| ())), &field, "volsync-data-src"), Fate::Kept(_)));
    // The only one of its volume stays, unless somebody consents on it.
    field.cuts[3] = left("volsync-data-src", 2, 5);
    assert_eq!(fate(&planned(&field, &cleans()), &field, "volsync-data-src"), Fate::Held(Hold::LastReady));
    field.cuts[3].marks.prune_last = true;
    assert_eq!(fate(&planned(&field, &cleans()), &field, "volsync-data-src"), Fate::Pruned);
}

#[test]
fn those_that_go_by_count_and_those_that_are_left_over_do_not_rely_on_each_other() {
    // Both of one volume would go: one of them has to stay, whichever part decides over it.
    let mut field = field();
    field.cuts.truncate(1);
    field.cuts[0] = cut("other-volume", 9, 1);
    field.cuts.extend([cut("old", 1, 30), left("volsync-data-src", 1, 40)]);
    let plan = planned(&field, &cleans());
    assert_eq!(fate(&plan, &field, "old"), Fate::Held(Hold::LastReady));
    assert_eq!(fate(&plan, &field, "volsync-data-src"), Fate::Pruned);
}

#[test]
fn what_another_policy_counts_is_not_left_over() {
    let mut field = field();
    field.cuts.push(left("volsync-data-src", 1, 5));
    let other = planned(&field, &pruning(|_| ()));
    let plan = plan(&field, &cleans(), &[&other], now());
    assert_eq!(fate(&plan, &field, "volsync-data-src"), Fate::Held(Hold::KeptByAnother));
}

/// One that failed a day ago, without a content.
fn failed(change: impl FnOnce(&mut Cut, &mut Failed)) -> Field {
    let mut one = cut("bad", 1, 0);
    let mut failed = Failed { since: hours(25), bare: true, creating: false, told: false };
    (one.taken, one.volume, one.size) = (None, None, 0);
    one.marks = Marks::default();
    change(&mut one, &mut failed);
    let extra = one.extra.take().map(|extra| *extra).unwrap_or_default();
    let mut field = field();
    field.cuts.push(with_extra(one, Extra { failed: Some(failed), ..extra }));
    field
}

type Edit = fn(&mut Cut, &mut Failed);

#[test]
fn what_failed_goes_by_its_age_unless_a_snapshot_may_have_come_of_it() {
    let judged = |field: &Field| fate(&planned(field, &cleans()), field, "bad");
    assert_eq!(judged(&failed(|_, _| ())), Fate::Pruned);
    let bound = |cut: &mut Cut, failed: &mut Failed| {
        failed.bare = false;
        (cut.marks.bound, cut.marks.deletes) = (true, true);
    };
    assert_eq!(judged(&failed(bound)), Fate::Pruned);
    let table: [(Hold, Edit); 10] = [
        (Hold::BeingCreated, |_, failed| failed.creating = true),
        (Hold::MayHoldData, |_, failed| failed.told = true),
        (Hold::TooYoung, |_, failed| failed.since = hours(23)),
        (Hold::BeingDeleted, |cut, _| cut.marks.deleting = true),
        (Hold::Keep, |cut, _| cut.marks.keep = true),
        (Hold::InUse, |cut, _| cut.marks.as_source = true),
        (Hold::ForeignFinalizer, |cut, _| cut.marks.foreign_finalizer = true),
        (Hold::NoContent, |_, failed| failed.bare = false),
        (Hold::Retained, |cut, failed| {
            failed.bare = false;
            cut.marks.bound = true;
        }),
        (Hold::Owned, |cut, _| {
            let owner = Owner { kind: "x/v1 Cluster".into(), name: "pg".into(), uid: Uid::parse("o") };
            cut.extra = Some(Box::new(Extra { owner: Some(owner), ..Extra::default() }));
        }),
    ];
    for (hold, change) in table {
        assert_eq!(judged(&failed(change)), Fate::Held(hold), "{hold}");
    }
    // Its own failure does not hold it; a deletion that hangs does.
    let mut field = failed(|_, _| ());
    field.drivers.insert("d".into(), DriverSight { degraded: false, failing: 3, stuck: 0 });
    assert_eq!(judged(&field), Fate::Pruned);
    field.drivers.insert("d".into(), DriverSight { degraded: false, failing: 3, stuck: 1 });
    assert_eq!(judged(&field), Fate::Held(Hold::DeletionsHang));
    // Another policy says that it is not ready: that is no reason.
    let field = failed(|_, _| ());
    let other = planned(&field, &pruning(|_| ()));
    assert_eq!(fate(&plan(&field, &cleans(), &[&other], now()), &field, "bad"), Fate::Pruned);
}

#[test]
fn each_part_has_its_own_plan_and_hash() {
    let mut field = with(content("c"));
    field.relics.push(job());
    let policy = cleans();
    let hash = |field: &Field, part| planned(field, &policy).hash_of(part, field, &policy);
    let before = Part::ALL.map(|part| hash(&field, part));
    assert_eq!(before.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    // A snapshot that comes changes the nightly plan, and no other.
    field.cuts.push(cut("newer", 1, 2));
    let after = Part::ALL.map(|part| hash(&field, part));
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    field.relics.push(content("d"));
    assert_ne!(before[1], hash(&field, Part::RetainedContents));
    let plan = planned(&field, &policy);
    assert_eq!(plan.counts_of(Part::RetainedContents, &field).going, 2);
    assert_eq!(plan.reclaimable_of(Part::RetainedContents, &field), 2 << 30);
}

#[test]
fn a_run_takes_only_its_parts_and_one_volume_in_order() {
    let mut field = with(content("c"));
    field.relics[0].volume = field.cuts[0].volume;
    field.relics.extend([claim(), job()]);
    let (policy, plan) = (cleans(), planned(&field, &cleans()));
    let names = |parts: &[Part]| -> Vec<(Thing, String)> {
        let run = Run::of_parts(&plan, &field, &policy, parts);
        let at = Duration::from_secs(1000);
        run.next(at).into_iter().map(|(_, order)| (order.thing, order.key.name.to_string())).collect()
    };
    assert_eq!(names(&[Part::Snapshots]), [(Thing::Snapshot, "old".to_owned())]);
    assert_eq!(names(&[Part::RetainedContents]), [(Thing::Content, "c".to_owned())]);
    // Of one volume the oldest is first, whichever part it belongs to.
    let both = names(&[Part::Snapshots, Part::RetainedContents]);
    assert_eq!(both, [(Thing::Snapshot, "old".to_owned())]);
    assert_eq!(names(&[Part::VolsyncLeftovers]).len(), 2);
    let run = Run::of_parts(&plan, &field, &policy, &[Part::RetainedContents, Part::VolsyncLeftovers]);
    let all: Vec<_> = run.next(Duration::from_secs(1000)).into_iter().map(|(_, order)| order.clone()).collect();
    let content = all.iter().find(|order| order.thing == Thing::Content).unwrap();
    let ask = run.ask(content, &policy, true, Duration::ZERO, Now { wall: now(), mono: Duration::ZERO });
    assert_eq!((ask.mode, ask.in_scope), (Mode::Approve, true), "its own part's mode");
    let job = all.iter().find(|order| order.thing == Thing::Job).unwrap();
    assert!(
        run.ask(job, &policy, false, Duration::ZERO, Now { wall: now(), mono: Duration::ZERO }).in_scope,
        "a Job is no driver's"
    );
}

#[test]
fn a_plan_that_would_let_go_what_something_holds_is_refused_whole() {
    let plan: Plan = planned(&with(content("c")), &cleans());
    assert_eq!((plan.refused, plan.relics), (None, vec![Fate::Pruned]));
    // No mode alone lets a retained content go.
    let enforced = pruning(|rules| {
        let cleanup = Cleanup { mode: Mode::Enforce, older_than: Duration::from_secs(3600) };
        rules.cleanup.insert(Part::RetainedContents, cleanup);
    });
    assert_eq!((enforced.mode(), enforced.mode_of(Part::RetainedContents)), (Mode::Observe, Some(Mode::Observe)));
    let nobody = pruning(|rules| {
        rules.mode = Mode::Observe;
        rules.drivers.clear();
        rules.cleanup = cleans().rules().cleanup.clone();
    });
    assert!(nobody.problems()[0].contains("needs the drivers named"), "{:?}", nobody.problems());
}
