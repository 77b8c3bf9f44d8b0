//! What a finding says in full: class, evidence and repair as people and programs read them, so that a change
//! of wording is seen in review. `INSTA_UPDATE=always` rewrites the snapshots after a change that is meant.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a case that cannot be built may stop where it stands")]

mod lab;

use insta::assert_json_snapshot;
use lab::*;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::finding::{Class, Finding};
use volwarden::domain::name::Key;
use volwarden::domain::record::{ClaimPhase, ContentStatus, Kind};

use Kind::{CsiDriver, PersistentVolumeClaim, VolumeSnapshot, VolumeSnapshotContent};

fn named(lab: &Lab, class: Class, kind: Kind, name: &str) -> Finding {
    let finding = lab.finding(kind, name).unwrap_or_else(|| panic!("{kind} {name}: {}", why(lab, kind, name)));
    assert_eq!(finding.class, class);
    finding
}

fn why(lab: &Lab, kind: Kind, name: &str) -> String {
    let cluster = matches!(kind, VolumeSnapshotContent | CsiDriver);
    lab.why(kind, if cluster { Key::cluster(name) } else { Key::namespaced("default", name) })
}

/// A healthy cluster with a leader's pod, whose log can be read and is empty.
fn readable() -> Lab {
    let mut lab = Lab::new();
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election=true", "--timeout=150s"]);
    lab.pod("rook-ceph", "leader-0", pod);
    lab.empty_log();
    lab
}

#[test]
fn a_normal_deletion() {
    let mut lab = readable();
    let content = deleting(&lab, "c", "s", 40);
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 40, &[BOUND]);
    lab.snapshot("s", snapshot);
    assert_json_snapshot!([why(&lab, VolumeSnapshotContent, "c"), why(&lab, VolumeSnapshot, "s")]);
}

#[test]
fn orphaned_content() {
    let mut lab = readable();
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    lab.content("c", content);
    assert_json_snapshot!(named(&lab, Class::OrphanedContent, VolumeSnapshotContent, "c"));
}

#[test]
fn orphaned_content_that_may_be_a_copy() {
    let mut lab = readable();
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    content.status = Some(answered("0001-0009-rook-ceph-0000000000000001-c", lab.stamp(90_000)));
    lab.content("c", content);
    assert_json_snapshot!(named(&lab, Class::OrphanedContent, VolumeSnapshotContent, "c"));
}

#[test]
fn missed_event() {
    let mut lab = readable();
    let content = deleting(&lab, "c", "s", 400);
    lab.content("c", content);
    lab.pass(10);
    assert_json_snapshot!(named(&lab, Class::MissedEvent, VolumeSnapshotContent, "c"));
}

#[test]
fn operation_locked() {
    let mut lab = readable();
    let content = deleting(&lab, "c", "s", 400);
    let lock = "an operation with the given Volume ID 0001-0009-rook-ceph-0000000000000001-c already exists";
    lab.delete_error("c", "Failed to delete snapshot", 20);
    lab.log_failure("c", "Aborted", lock, 10);
    lab.content("c", content);
    assert_json_snapshot!(named(&lab, Class::OperationLocked, VolumeSnapshotContent, "c"));
}

#[test]
fn secret_missing() {
    let mut lab = readable();
    let mut content = deleting(&lab, "c", "s", 400);
    content.secret = secret("rook-ceph", "rook-csi-rbd-provisioner");
    lab.content("c", content);
    lab.delete_error("c", "Failed to get snapshot credentials", 20);
    assert_json_snapshot!(named(&lab, Class::SecretMissing, VolumeSnapshotContent, "c"));
}

#[test]
fn deleted_not_released() {
    let mut lab = readable();
    let mut content = deleting(&lab, "c", "s", 600);
    content.status = Some(ContentStatus::default());
    lab.content("c", content);
    lab.pass(30);
    assert_json_snapshot!(named(&lab, Class::DeletedNotReleased, VolumeSnapshotContent, "c"));
}

#[test]
fn abandoned_content() {
    let mut lab = readable();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    lab.pass(30);
    assert_json_snapshot!(named(&lab, Class::AbandonedContent, VolumeSnapshotContent, "c"));
}

#[test]
fn driver_gone_and_what_hangs_on_it() {
    let mut lab = readable();
    let pod = broken(ctrlplugin(&lab, "leader-0", &["--leader-election=true"]), "CrashLoopBackOff");
    lab.pod("rook-ceph", "leader-0", pod);
    lab.stop_leader(DRIVER_LEASE);
    let content = deleting(&lab, "c", "s", 400);
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 400, &[BOUND]);
    lab.snapshot("s", snapshot);
    lab.pass(60);
    assert_json_snapshot!(lab.engine.findings());
}

#[test]
fn driver_unknown() {
    let mut lab = readable();
    let mut content = deleting(&lab, "c", "s", 400);
    content.driver = "bogus.example.com".into();
    content.class = None;
    lab.content("c", content);
    lab.pass(60);
    assert_json_snapshot!(lab.engine.findings());
}

#[test]
fn driver_degraded() {
    let mut lab = readable();
    for at in 0..12 {
        let name = format!("c{at:02}");
        lab.log_failure(&name, "DeadlineExceeded", "context deadline exceeded", 5);
        let content = deleting(&lab, &name, &format!("s{at:02}"), 400);
        lab.content(&name, content);
    }
    lab.pass(121);
    assert_json_snapshot!(named(&lab, Class::DriverDegraded, CsiDriver, DRIVER));
}

#[test]
fn controller_down() {
    let mut lab = readable();
    let snapshot = going(&lab, "s", "c", 400, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    lab.stop_leader(CONTROLLER_LEASE);
    lab.pass(60);
    assert_json_snapshot!(lab.engine.findings());
}

#[test]
fn restore_in_progress() {
    let mut lab = readable();
    lab.claim_warning = Some("ProvisioningFailed: no space left".into());
    lab.claim("restored", claim("restored", ClaimPhase::Pending, Some("default/s")));
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 100, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    assert_json_snapshot!(named(&lab, Class::RestoreInProgress, VolumeSnapshot, "s"));
}

#[test]
fn provisioner_orphan() {
    let mut lab = readable();
    let snapshot = going(&lab, "s", "c", 3000, &[PROVISIONER]);
    lab.snapshot("s", snapshot);
    assert_json_snapshot!(named(&lab, Class::ProvisionerOrphan, VolumeSnapshot, "s"));
}

#[test]
fn create_stuck_and_the_claim_it_pins() {
    let mut lab = readable();
    let snapshot = unready(&lab, "s", 2000);
    lab.snapshot("s", snapshot);
    let mut pinned = claim("data", ClaimPhase::Bound, None);
    pinned.meta = meta("uid-data", None, lab.stamp(400), &[PVC_SOURCE]);
    lab.claim("data", pinned);
    named(&lab, Class::SourcePinned, PersistentVolumeClaim, "data");
    assert_json_snapshot!(lab.engine.findings());
}

#[test]
fn unexplained_because_the_log_may_not_be_read() {
    let mut lab = readable();
    lab.log = volwarden::domain::fact::LogTail::Forbidden;
    lab.feed(Fact::Source(Source::ContentEvents, SourceChange::Forbidden("no".into())));
    lab.feed(Fact::CsiDriver(Change::Gone(Key::cluster(DRIVER))));
    let content = deleting(&lab, "c", "s", 4000);
    lab.content("c", content);
    lab.pass(61);
    assert_json_snapshot!(named(&lab, Class::Unexplained, VolumeSnapshotContent, "c"));
}
