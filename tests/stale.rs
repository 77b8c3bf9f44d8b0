//! What is said while a part of the cluster cannot be read: an old view is never put together with a fresh one.
#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use lab::*;
use volwarden::domain::engine::Effect;
use volwarden::domain::fact::{Change, Fact, Live, Source, SourceChange};
use volwarden::domain::finding::Class;
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::record::Kind::{CsiDriver, VolumeSnapshot, VolumeSnapshotContent};

fn fails(lab: &mut Lab, source: Source) {
    lab.feed(Fact::Source(source, SourceChange::Failing("500 Internal Server Error".into())));
}

fn is_back(lab: &mut Lab, source: Source) {
    lab.feed(Fact::Source(source, SourceChange::Progress));
}

#[test]
fn an_object_that_cannot_be_followed_is_not_newly_named_and_named_when_it_can() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 20);
    lab.content("c", content);
    fails(&mut lab, Source::Contents);
    lab.pass(400);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    is_back(&mut lab, Source::Contents);
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
}

#[test]
fn what_was_said_of_it_is_not_taken_back_either() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 400);
    lab.content("c", content);
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
    fails(&mut lab, Source::Contents);
    lab.delete_error("c", "Failed to delete snapshot", 1);
    lab.pass(70);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
    is_back(&mut lab, Source::Contents);
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::Retrying));
}

#[test]
fn a_snapshot_that_was_last_seen_before_its_content_was_deleted_is_not_known_to_live() {
    let mut lab = Lab::new();
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    lab.pass(20);
    lab.silent.insert(Source::Snapshots);
    lab.pass(20);
    let mut content = deleting(&lab, "c", "s", 0);
    content.being_deleted = false;
    lab.content("c", content);
    lab.pass(90);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    lab.silent.clear();
    lab.pass(50);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::AwaitingSnapshot));
}

#[test]
fn a_snapshot_that_was_last_seen_before_its_content_went_may_have_gone_with_it() {
    let mut lab = Lab::new();
    let snapshot = going(&lab, "s", "c", 2000, &[BOUND]);
    lab.snapshot("s", snapshot);
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.pass(20);
    lab.silent.insert(Source::Snapshots);
    lab.pass(20);
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(90);
    assert_eq!(lab.class(VolumeSnapshot, "s"), None);
    lab.silent.clear();
    lab.pass(50);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::MissedEvent));
}

#[test]
fn a_one_shot_command_says_what_it_saw() {
    let mut lab = Lab::eager();
    let content = deleting(&lab, "c", "s", 20);
    lab.content("c", content);
    fails(&mut lab, Source::Contents);
    lab.pass(400);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
}

#[test]
fn a_class_that_cannot_be_read_may_name_the_right_driver_again() {
    let mut lab = Lab::new();
    lab.feed(Fact::SnapshotClass(Change::Applied(Key::cluster("csi-ceph-blockpool"), class("other"))));
    fails(&mut lab, Source::SnapshotClasses);
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    is_back(&mut lab, Source::SnapshotClasses);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::DriverMismatch));
}

#[test]
fn nothing_hangs_on_a_leader_that_may_long_be_back() {
    let mut lab = Lab::new();
    lab.stop_leader(DRIVER_LEASE);
    lab.stop_leader(CONTROLLER_LEASE);
    let content = alive(&lab, "other", "elsewhere");
    lab.content("other", content);
    lab.pass(10);
    // Somebody else renews: that the two do not is told.
    lab.start_leader("kube-node-lease", "node-1");
    lab.pass(300);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone));
    fails(&mut lab, Source::Leases);
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    let waiting = going(&lab, "waiting", "none", 100, &[AS_SOURCE, BOUND]);
    lab.snapshot("waiting", waiting);
    lab.claim("data", claim("data", volwarden::domain::record::ClaimPhase::Bound, None));
    let uncut = unready(&lab, "uncut", 300);
    lab.snapshot("uncut", uncut);
    for (kind, name) in [(VolumeSnapshotContent, "c"), (VolumeSnapshot, "waiting"), (VolumeSnapshot, "uncut")] {
        assert_eq!(lab.class(kind, name), None, "{name}");
    }
    is_back(&mut lab, Source::Leases);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::DriverGone));
    assert_eq!(lab.class(VolumeSnapshot, "waiting"), Some(Class::ControllerDown));
    assert_eq!(lab.class(VolumeSnapshot, "uncut"), Some(Class::CreateStuck));
}

#[test]
fn who_was_ready_when_pods_could_be_read_last_is_no_candidate() {
    let stale = |readable: bool| {
        let mut lab = Lab::new();
        let content = alive(&lab, "c", "s");
        lab.content("c", content);
        let pod = ctrlplugin(&lab, "idle-1", &["--leader-election=true"]);
        lab.pod("rook-ceph", "idle-1", pod);
        if !readable {
            fails(&mut lab, Source::Pods);
        }
        lab.stop_leader(DRIVER_LEASE);
        lab.pass(300);
        lab.class(CsiDriver, DRIVER)
    };
    assert_eq!(stale(true), Some(Class::StaleLeader));
    assert_ne!(stale(false), Some(Class::StaleLeader));
}

#[test]
fn while_pods_are_told_anew_nobody_is_a_candidate() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let pod = ctrlplugin(&lab, "idle-1", &["--leader-election=true"]);
    lab.pod("rook-ceph", "idle-1", pod);
    lab.pass(20);
    lab.silent.insert(Source::Pods);
    lab.pass(100);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(45);
    // The watch is back, and tells within half a minute who is gone.
    lab.silent.clear();
    lab.pass(25);
    assert_eq!(lab.class(CsiDriver, DRIVER), None);
    lab.pass(30);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::StaleLeader));
}

#[test]
fn another_snapshot_of_its_name_in_an_old_view_orphans_no_content() {
    let mut lab = Lab::new();
    let mut other = ready(&lab, "s", "c");
    other.meta.uid = Uid::parse("the-one-before");
    lab.snapshot("s", other);
    fails(&mut lab, Source::Snapshots);
    let mut content = deleting(&lab, "c", "s", 100);
    content.being_deleted = false;
    lab.content("c", content);
    lab.pass(120);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    is_back(&mut lab, Source::Snapshots);
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
}

#[test]
fn a_snapshot_that_loses_its_readiness_for_a_moment_is_not_stuck() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let mut snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot.clone());
    snapshot.ready = Some(false);
    snapshot.error = status_error("VolumeSnapshotContent is missing");
    lab.snapshot("s", snapshot);
    lab.pass(25);
    assert_eq!(lab.class(VolumeSnapshot, "s"), None, "an hour old, and unready for half a minute");
    lab.pass(60);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::CreateStuck));
}

#[test]
fn a_deletion_that_cannot_be_written_down_is_not_laid_at_the_drivers_door() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.delete_error("c", "Failed to clear content status", 5);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!(finding.class, Class::Retrying);
    assert!(finding.summary.contains("has deleted it"), "{}", finding.summary);
}

fn cannot_be_read(lab: &mut Lab, source: Source, key: Key) {
    lab.feed(Fact::Source(source, SourceChange::Unreadable(key)));
}

#[test]
fn what_is_known_of_an_object_that_could_not_be_read_since_stands_still() {
    let mut lab = Lab::new();
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    // It is deleted with its VolumeSnapshot, and what tells so is in a shape that nobody can read.
    cannot_be_read(&mut lab, Source::Contents, Key::cluster("c"));
    lab.feed(Fact::Snapshot(Change::Gone(Key::namespaced("default", "s"))));
    lab.pass(300);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    let content = deleting(&lab, "c", "s", 300);
    lab.content("c", content);
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
    cannot_be_read(&mut lab, Source::Contents, Key::cluster("c"));
    lab.delete_error("c", "Failed to delete snapshot", 1);
    lab.pass(70);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent), "nor is anything taken back");
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(5);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
}

#[test]
fn another_snapshot_of_its_name_that_could_not_be_read_since_orphans_no_content() {
    let mut lab = Lab::new();
    let mut other = ready(&lab, "s", "c");
    other.meta.uid = Uid::parse("the-one-before");
    lab.snapshot("s", other);
    let key = Key::namespaced("default", "s");
    cannot_be_read(&mut lab, Source::Snapshots, key.clone());
    lab.live.insert((VolumeSnapshot, key.clone()), Live::Present(Uid::parse("uid-s")));
    let mut content = deleting(&lab, "c", "s", 100);
    content.being_deleted = false;
    lab.content("c", content);
    lab.pass(120);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    // Gone by a live read: it comes again in a shape that nobody can read, and that answer is void.
    lab.feed(Fact::Snapshot(Change::Gone(key.clone())));
    lab.live.insert((VolumeSnapshot, key.clone()), Live::Absent);
    cannot_be_read(&mut lab, Source::Snapshots, key.clone());
    lab.pass(120);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    lab.live.insert((VolumeSnapshot, key.clone()), Live::Present(Uid::parse("uid-s")));
    cannot_be_read(&mut lab, Source::Snapshots, key);
    lab.pass(60);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
}

#[test]
fn a_content_that_was_last_seen_before_its_snapshot_went_may_have_been_deleted_with_it() {
    let mut lab = Lab::new();
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    lab.pass(20);
    lab.silent.insert(Source::Contents);
    lab.pass(20);
    lab.feed(Fact::Snapshot(Change::Gone(Key::namespaced("default", "s"))));
    lab.pass(120);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    lab.silent.clear();
    lab.pass(50);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::AbandonedContent));
}

#[test]
fn a_creation_that_is_refused_at_once_is_not_owed() {
    let mut lab = Lab::new();
    let mut content = deleting(&lab, "c", "s", 400);
    content.being_deleted = false;
    content.being_created = true;
    lab.content("c", content.clone());
    lab.pass(25);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None, "it is tried, and may be refused");
    lab.pass(10);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::StillCreating));
}

#[test]
fn a_restore_that_was_last_seen_before_its_snapshot_was_deleted_may_have_ended() {
    let mut lab = Lab::new();
    lab.claim("restore", claim("restore", volwarden::domain::record::ClaimPhase::Pending, Some("default/s")));
    lab.pass(20);
    lab.silent.insert(Source::Claims);
    lab.pass(20);
    let snapshot = going(&lab, "s", "c", 0, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    lab.pass(90);
    assert_eq!(lab.class(VolumeSnapshot, "s"), None);
    lab.silent.clear();
    lab.pass(50);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::RestoreInProgress));
}

#[test]
fn a_content_that_is_marked_late_and_goes_at_once_holds_nothing() {
    let mut lab = Lab::new();
    let snapshot = going(&lab, "s", "c", 2000, &[BOUND]);
    lab.snapshot("s", snapshot);
    let mut content = deleting(&lab, "c", "s", 2000);
    content.being_deleted = false;
    lab.content("c", content.clone());
    lab.pass(60);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::AwaitingSnapshot));
    let found = lab.effects.len();
    content.being_deleted = true;
    lab.content("c", content);
    lab.pass(20);
    let waits = |effect: &Effect| matches!(effect, Effect::Found(one) if one.class == Class::WaitingForContent);
    assert!(!lab.effects[found..].iter().any(waits));
    lab.pass(15);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::WaitingForContent));
}

#[test]
fn a_snapshot_whose_readiness_comes_and_goes_is_not_found_at_each_turn() {
    let mut lab = Lab::new();
    // Its status names a content that belonged to the one before it: "missing" and "ready" are said in turn.
    let mut snapshot = ready(&lab, "s", "of-the-one-before");
    lab.claim("data", claim("data", volwarden::domain::record::ClaimPhase::Bound, None));
    for turn in 0..60 {
        snapshot.ready = Some(turn % 2 == 1);
        snapshot.error = if turn % 2 == 1 { None } else { status_error("VolumeSnapshotContent is missing") };
        lab.snapshot("s", snapshot.clone());
        lab.pass(5);
        assert_eq!(lab.class(VolumeSnapshot, "s"), None, "turn {turn}");
    }
    snapshot.ready = Some(false);
    snapshot.error = status_error("VolumeSnapshotContent is missing");
    lab.snapshot("s", snapshot);
    lab.pass(35);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::CreateStuck), "where it stops it is named");
}
