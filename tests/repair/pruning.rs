//! The guards before the deletion of a VolumeSnapshot, through a real world: each obstacle holds it, and only that one.

use volwarden::domain::engine::Settings;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::fence::Fence;
use volwarden::domain::gate::{Gate, Said};
use volwarden::domain::guard::Guard;
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::policy::Mode;
use volwarden::domain::prune::part::Part;
use volwarden::domain::prune::relic::{Kept, Thing};
use volwarden::domain::prune::run::{Ask, Order};
use volwarden::domain::record::{ClaimPhase, DeletionPolicy, Namespace};

use super::lab::hands::enforce;
use super::lab::*;

/// What a run asks about snapshot `old`, when `new` is to stay.
fn ask() -> Ask {
    Ask {
        order: Order {
            part: Part::Snapshots,
            thing: Thing::Snapshot,
            key: Key::namespaced("default", "old"),
            uid: Uid::parse("uid-old"),
            version: "7".into(),
            content: Some(Key::cluster("c-old")),
            driver: Some(DRIVER.into()),
            staying: [(Key::namespaced("default", "new"), Uid::parse("uid-new"))].into(),
            kept: None,
            temporary: None,
        },
        policy: "nightly".into(),
        mode: Mode::Enforce,
        approved: false,
        suspended: false,
        in_scope: true,
        sent: 0,
        limit: 10,
        sent_in_minute: 0,
        per_minute: 10,
        unread: std::time::Duration::ZERO,
        window: Ok(()),
    }
}

/// What holds it after this has happened.
fn held(obstacle: impl FnOnce(&mut Lab)) -> Vec<Guard> {
    held_in(Lab::led(enforce(|_| {})), obstacle)
}

fn held_in(mut lab: Lab, obstacle: impl FnOnce(&mut Lab)) -> Vec<Guard> {
    for name in ["old", "new"] {
        let content = format!("c-{name}");
        let bound = alive(&lab, &content, name);
        lab.content(&content, bound);
        let snapshot = ready(&lab, name, &content);
        lab.snapshot(name, snapshot);
    }
    lab.pass(60);
    obstacle(&mut lab);
    let (judgement, guarded) = lab.engine.judge_prune(&ask(), lab.now());
    let held: Vec<Guard> =
        judgement.verdicts().iter().filter(|(_, one)| !one.allows()).map(|(guard, _)| *guard).collect();
    assert_eq!(guarded.is_some(), held.is_empty());
    held
}

#[test]
fn nothing_is_in_the_way_of_the_plain_one() {
    assert_eq!(held(|_| {}), []);
}

#[test]
fn each_source_that_it_rests_on_has_to_be_followed() {
    for source in [Source::Claims, Source::Namespaces, Source::Pods, Source::Leases, Source::CsiDrivers] {
        let held = held(|lab| lab.feed(Fact::Source(source, SourceChange::Failing("500".into()))));
        assert!(held.contains(&Guard::Synced), "{source}: {held:?}");
    }
    for source in [Source::Snapshots, Source::Contents] {
        let held = held(|lab| lab.feed(Fact::Source(source, SourceChange::Failing("500".into()))));
        assert!(held.contains(&Guard::Synced), "{source}: {held:?}");
    }
}

#[test]
fn without_our_lease() {
    assert_eq!(held(Lab::lose_the_lease), [Guard::Leader]);
}

#[test]
fn what_is_to_be_left_alone() {
    let ignored = Namespace { ignored: true, ..Namespace::default() };
    assert_eq!(
        held(|lab| lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), ignored)))),
        [Guard::Paused]
    );
    let marked = |change: fn(&mut volwarden::domain::record::Snapshot)| {
        held(|lab| {
            let mut snapshot = ready(lab, "old", "c-old");
            change(&mut snapshot);
            lab.snapshot("old", snapshot);
        })
    };
    assert_eq!(marked(|snapshot| snapshot.meta.ignored = true), [Guard::Paused]);
    assert_eq!(marked(|snapshot| snapshot.do_not_delete = true), [Guard::Paused]);
}

#[test]
fn while_the_fence_that_has_to_stand_is_not_seen_to() {
    let held = |said: Option<Fence>| {
        let lab = Lab::led_with(enforce(|_| {}), Settings { require_fence: true, ..Settings::default() });
        held_in(lab, |lab| said.into_iter().for_each(|said| lab.feed(Fact::Fence(said))))
    };
    assert_eq!(held(None), [Guard::Fence]);
    assert_eq!(held(Some(Fence::Missing("x".into()))), [Guard::Fence]);
    assert_eq!(held(Some(Fence::Stands)), []);
}

#[test]
fn while_it_is_being_restored_from() {
    let claim = claim("restore", ClaimPhase::Pending, Some("default/old"));
    assert_eq!(held(|lab| lab.claim("restore", claim)), [Guard::Quiet]);
}

#[test]
fn without_those_that_finish_the_job() {
    for lease in [DRIVER_LEASE, CONTROLLER_LEASE] {
        let held = held(|lab| {
            lab.stop_leader(lease);
            lab.pass(300);
        });
        assert_eq!(held, [Guard::Controller], "{lease}");
    }
}

#[test]
fn while_deletions_of_its_driver_hang() {
    let held = held(|lab| {
        lab.log_failure("stuck", "Internal", "rados: ret=-5", 30);
        let content = deleting(lab, "stuck", "gone", 2000);
        lab.content("stuck", content);
        lab.delete_error("stuck", "Failed to delete snapshot", 30);
        lab.pass(300);
    });
    assert_eq!(held, [Guard::Storm]);
}

#[test]
fn while_an_alert_of_any_policy_says_hold() {
    let gate = || Gate { name: "ceph".into(), server: "http://p".into(), query: "ceph_health_status == 2".into() };
    let with = |said: Option<Said>| {
        held(|lab| {
            lab.policy(enforce(|spec| spec.gates = vec![gate()]));
            assert!(!lab.engine.settled(), "a plan waits until it has been asked");
            if let Some(said) = said {
                lab.feed(Fact::Gate(gate(), said));
                assert!(lab.engine.settled());
            }
        })
    };
    assert_eq!(with(None), [Guard::Alerts]);
    assert_eq!(with(Some(Said::Holds("{}".into()))), [Guard::Alerts]);
    assert_eq!(with(Some(Said::Failed("timed out".into()))), [Guard::Alerts]);
    assert_eq!(with(Some(Said::Quiet)), []);
}

#[test]
fn when_what_was_to_stay_is_no_longer_there_and_ready() {
    let changed = |change: fn(&mut volwarden::domain::record::Snapshot)| {
        held(|lab| {
            let mut snapshot = ready(lab, "new", "c-new");
            change(&mut snapshot);
            lab.snapshot("new", snapshot);
        })
    };
    assert_eq!(changed(|snapshot| snapshot.ready = Some(false)), [Guard::Consequence]);
    assert_eq!(changed(|snapshot| snapshot.meta.uid = Uid::parse("another")), [Guard::Consequence]);
    assert_eq!(changed(|snapshot| snapshot.meta.deleted = snapshot.meta.created), [Guard::Consequence]);
    let gone = held(|lab| lab.feed(Fact::Snapshot(Change::Gone(Key::namespaced("default", "new")))));
    assert_eq!(gone, [Guard::Consequence]);
    let doomed = held(|lab| {
        let mut content = alive(lab, "c-new", "new");
        content.meta.deleted = lab.stamp(1);
        lab.content("c-new", content);
    });
    assert_eq!(doomed, [Guard::Consequence], "its content is told to go");
}

// === What is left over ===

/// What holds the deletion of a retained content after this has happened, with this about the ask.
fn held_content(change: fn(&mut Ask), obstacle: impl FnOnce(&mut Lab)) -> Vec<Guard> {
    let mut lab = Lab::led(enforce(|_| {}));
    for name in ["kept", "other"] {
        let mut bound = alive(&lab, name, "old");
        bound.snapshot.key = Key::namespaced("default", name);
        bound.policy = DeletionPolicy::Retain;
        lab.content(name, bound);
    }
    lab.pass(60);
    obstacle(&mut lab);
    let mut ask = ask();
    ask.order = Order {
        part: Part::RetainedContents,
        thing: Thing::Content,
        key: Key::cluster("kept"),
        content: None,
        staying: [].into(),
        kept: Some(Kept {
            snapshot: Some((Key::namespaced("default", "kept"), Uid::parse("gone"))),
            ..Kept::default()
        }),
        ..ask.order
    };
    (ask.mode, ask.approved) = (Mode::Approve, true);
    change(&mut ask);
    let (judgement, guarded) = lab.engine.judge_prune(&ask, lab.now());
    assert_eq!(guarded.is_some(), judgement.held_by().is_none());
    judgement.verdicts().iter().filter(|(_, one)| !one.allows()).map(|(guard, _)| *guard).collect()
}

#[test]
fn a_retained_content_goes_by_an_approval_and_by_no_mode() {
    assert_eq!(held_content(|_| {}, |_| {}), []);
    assert_eq!(held_content(|ask| ask.approved = false, |_| {}), [Guard::Mode]);
    let enforced = |ask: &mut Ask| (ask.mode, ask.approved) = (Mode::Enforce, false);
    assert_eq!(held_content(enforced, |_| {}), [Guard::Mode]);
}

#[test]
fn what_has_come_up_about_a_retained_content_since_its_plan_holds_it() {
    let shared = held_content(
        |_| {},
        |lab| {
            let twin = lab.engine.world().contents.get(&Key::cluster("kept")).unwrap().clone();
            lab.content("twin", twin);
        },
    );
    assert_eq!(shared, [Guard::Consequence], "another content has its handle");
    let back = held_content(
        |_| {},
        |lab| {
            let mut snapshot = ready(lab, "kept", "kept");
            snapshot.meta.uid = Uid::parse("gone");
            lab.snapshot("kept", snapshot);
        },
    );
    assert_eq!(back, [Guard::Consequence], "its VolumeSnapshot is there again");
    let gone = held_content(|_| {}, |lab| lab.feed(Fact::Content(Change::Gone(Key::cluster("kept")))));
    assert_eq!(gone, [Guard::Consequence]);
    let restore = claim("restore", ClaimPhase::Pending, Some("default/kept"));
    assert_eq!(held_content(|_| {}, |lab| lab.claim("restore", restore)), [Guard::Quiet]);
    let ignored = Namespace { ignored: true, ..Namespace::default() };
    let paused = |lab: &mut Lab| lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), ignored)));
    assert_eq!(held_content(|_| {}, paused), [Guard::Paused]);
    let blind = |lab: &mut Lab| lab.feed(Fact::Source(Source::Orphans, SourceChange::Failing("500".into())));
    assert!(held_content(|_| {}, blind).contains(&Guard::Synced));
    assert_eq!(held_content(|_| {}, Lab::lose_the_lease), [Guard::Leader]);
    let dead = |lab: &mut Lab| {
        lab.stop_leader(DRIVER_LEASE);
        lab.pass(300);
    };
    assert_eq!(held_content(|_| {}, dead), [Guard::Controller]);
}
