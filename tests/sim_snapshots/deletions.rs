//! Deletions that stick, each in the way its real counterpart does.

use jiff::Timestamp;
use serde_json::json;
use volwarden::sim::actors::ceph::{Fault, Trouble};
use volwarden::sim::actors::csi::{Code, Status};
use volwarden::sim::actors::csi_snapshotter::Release;
use volwarden::sim::actors::object;
use volwarden::sim::actors::snapshots::{BEING_DELETED, BOUND_FINALIZER, CONTENT_FINALIZER, SOURCE_FINALIZER};
use volwarden::sim::refuse::{Order, Verb};
use volwarden::sim::store::table::{CONTENTS, SECRETS, SNAPSHOTS};
use volwarden::sim::store::{Part, Refusal};

use super::lab::{Lab, Setup, seconds};

const FAILED: &str = "could not sync content";

#[test]
fn a_paused_driver_is_asked_again_after_1_2_4_8_16_seconds_and_its_own_timeout() {
    let mut lab = Setup::new(1).timeout(seconds(10)).start();
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.driver);
    lab.delete(SNAPSHOTS, "default", "a");
    let began = lab.cluster.now().mono.as_secs();
    lab.cluster.run_for(seconds(95));
    let failures = lab.lines(lab.sidecar, FAILED);
    // Each attempt fails ten seconds after it began.
    let attempts: Vec<u64> = failures.iter().map(|(at, _)| at - began - 10).collect();
    assert_eq!(attempts, [0, 11, 23, 37, 55, 81]);
    let words = format!(
        "could not sync content \"{content}\": failed to delete snapshot \"{content}\", err: failed to delete snapshot \
         content {content}: \"rpc error: code = DeadlineExceeded desc = context deadline exceeded\""
    );
    assert!(failures.iter().all(|(_, line)| line.ends_with(&words)), "{failures:#?}");
    let event = ("SnapshotDeleteError".to_owned(), "Failed to delete snapshot".to_owned(), 6);
    assert_eq!(lab.events(&content), [event]);
    let stuck = lab.get(CONTENTS, "", &content).unwrap();
    assert_eq!(stuck.pointer("/status/readyToUse"), Some(&json!(true)), "deletion writes no error");

    lab.cluster.resume(lab.driver);
    lab.wait("it heals by itself", seconds(45), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
    assert!(lab.pool.with(|pool| pool.snapshots().is_empty()));
}

#[test]
fn a_nudge_does_not_wait_for_the_backoff() {
    let mut lab = Setup::new(2).timeout(seconds(10)).start();
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.driver);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(95));
    lab.cluster.resume(lab.driver);
    lab.nudge(&content, "1");
    lab.wait("the nudge works", seconds(1), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

#[test]
fn a_stuck_call_keeps_its_lock_until_the_process_ends() {
    let mut lab = Setup::new(3).timeout(seconds(10)).start();
    let content = lab.ready_snapshot("a");
    let other = lab.ready_snapshot("b");
    let handle = lab.pool.with(|pool| {
        let snapshots = pool.snapshots().iter();
        snapshots.map(|(handle, snapshot)| (handle.clone(), snapshot.name.clone())).collect::<Vec<_>>()
    });
    let (handle, _) =
        handle.into_iter().find(|(_, name)| content.ends_with(name.trim_start_matches("snapshot-"))).unwrap();
    lab.faults.with(|faults| faults.add(Fault::of("DeleteSnapshot", Trouble::Stuck).on(&handle).times(1)));
    lab.delete(SNAPSHOTS, "default", "a");
    lab.delete(SNAPSHOTS, "default", "b");
    lab.cluster.run_for(seconds(60));
    assert!(lab.is_gone(CONTENTS, "", &other), "other snapshots are not concerned");
    let failures = lab.lines(lab.sidecar, FAILED);
    assert!(failures[0].1.contains("code = DeadlineExceeded"), "{failures:#?}");
    let aborted = format!("code = Aborted desc = an operation with the given Volume ID {handle} already exists");
    assert!(failures.len() > 3 && failures[1..].iter().all(|(_, line)| line.contains(&aborted)), "{failures:#?}");
    let words = format!("Req-ID: {handle} GRPC error: rpc error: {aborted}");
    assert!(!lab.lines(lab.driver, &words).is_empty(), "the driver says so too");

    lab.restart_pod();
    lab.wait("the new process has no locks", seconds(60), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
    assert!(lab.pool.with(|pool| pool.snapshots().is_empty()));
}

#[test]
fn a_sidecar_whose_driver_dies_exits_and_its_lease_stays() {
    let mut lab = Lab::new(4);
    let held = lab.lease();
    lab.cluster.kill(lab.driver);
    lab.cluster.run_for(seconds(3));
    assert_eq!(lab.cluster.exit_code(lab.sidecar), Some(1));
    assert_eq!(lab.lines(lab.sidecar, "Lost connection to CSI driver, exiting").len(), 1);
    lab.cluster.run_for(seconds(300));
    assert_eq!(object::text(&lab.lease(), "/spec/holderIdentity"), "ctrlplugin-0");
    assert_eq!(held.pointer("/spec/acquireTime"), lab.lease().pointer("/spec/acquireTime"));
}

#[test]
fn with_retain_the_snapshot_goes_and_the_content_stays() {
    let mut lab = Setup::new(5).policy("Retain").start();
    let content = lab.ready_snapshot("a");
    let ready = lab.get(SNAPSHOTS, "default", "a").unwrap();
    assert_eq!(object::finalizers(&ready).collect::<Vec<_>>(), [SOURCE_FINALIZER]);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(5));
    assert!(lab.is_gone(SNAPSHOTS, "default", "a"));
    let kept = lab.get(CONTENTS, "", &content).unwrap();
    assert!(!object::is_deleting(&kept) && object::annotation(&kept, BEING_DELETED).is_some());
    lab.delete(CONTENTS, "", &content);
    lab.cluster.run_for(seconds(5));
    assert!(lab.is_gone(CONTENTS, "", &content));
    assert_eq!(
        lab.pool.with(|pool| (pool.snapshots().len(), pool.deletions().len())),
        (1, 0),
        "the driver was not asked"
    );
}

#[test]
fn a_snapshot_stripped_before_its_content_is_told_leaves_a_live_orphan() {
    let mut lab = Lab::new(6);
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.controller);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.merge(SNAPSHOTS, "default", "a", Part::Object, json!({"metadata": {"finalizers": null}}));
    lab.cluster.run_for(seconds(5));
    lab.cluster.resume(lab.controller);
    lab.cluster.run_for(seconds(2000));
    let orphan = lab.get(CONTENTS, "", &content).unwrap();
    assert!(!object::is_deleting(&orphan) && object::annotation(&orphan, BEING_DELETED).is_none());
    lab.delete(CONTENTS, "", &content);
    lab.cluster.run_for(seconds(2000));
    assert!(lab.get(CONTENTS, "", &content).is_some(), "nobody ever deletes it");
    assert!(lab.lines(lab.sidecar, FAILED).is_empty() && lab.events(&content).is_empty(), "and nobody says why");

    let mark = json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}});
    lab.merge(CONTENTS, "", &content, Part::Object, mark);
    lab.wait("the annotation makes it a genuine deletion", seconds(2), |lab| lab.is_gone(CONTENTS, "", &content));
    assert!(lab.pool.with(|pool| pool.snapshots().is_empty()));
}

#[test]
fn a_content_whose_finalizer_is_stripped_leaks_its_physical_snapshot() {
    let mut lab = Setup::new(7).timeout(seconds(10)).start();
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.driver);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(5));
    lab.merge(CONTENTS, "", &content, Part::Object, json!({"metadata": {"finalizers": null}}));
    lab.wait("the snapshot follows by itself", seconds(1), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
    lab.cluster.run_for(seconds(60));
    lab.cluster.resume(lab.driver);
    lab.cluster.run_for(seconds(2000));
    assert_eq!(lab.pool.with(|pool| pool.snapshots().len()), 1, "nothing asks for its deletion any more");
}

#[test]
fn a_content_deleted_directly_waits_for_its_snapshot() {
    let mut lab = Lab::new(8);
    let content = lab.ready_snapshot("a");
    lab.delete(CONTENTS, "", &content);
    lab.cluster.run_for(seconds(2000));
    let waiting = lab.get(CONTENTS, "", &content).unwrap();
    assert!(object::is_deleting(&waiting) && object::annotation(&waiting, BEING_DELETED).is_none());
    lab.delete(SNAPSHOTS, "default", "a");
    lab.wait("both go", seconds(2), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

#[test]
fn a_foreign_finalizer_holds_an_emptied_content() {
    let mut lab = Lab::new(9);
    let content = lab.ready_snapshot("a");
    let both = json!({"metadata": {"finalizers": [CONTENT_FINALIZER, "example.com/hold"]}});
    lab.merge(CONTENTS, "", &content, Part::Object, both);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(60));
    let held = lab.get(CONTENTS, "", &content).unwrap();
    assert_eq!(object::finalizers(&held).collect::<Vec<_>>(), ["example.com/hold"]);
    assert_eq!(held.get("status"), Some(&json!({})));
    let waiting = lab.get(SNAPSHOTS, "default", "a").unwrap();
    assert_eq!(object::finalizers(&waiting).collect::<Vec<_>>(), [BOUND_FINALIZER]);
    lab.merge(CONTENTS, "", &content, Part::Object, json!({"metadata": {"finalizers": null}}));
    lab.wait("the snapshot follows", seconds(1), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

#[test]
fn a_missing_secret_is_said_and_asked_for_again() {
    let mut lab = Lab::new(10);
    let content = lab.ready_snapshot("a");
    let prefix = "snapshot.storage.kubernetes.io/deletion-secret";
    let names = json!({"metadata": {"annotations": {format!("{prefix}-name"): "key", format!("{prefix}-namespace"): "default"}}});
    lab.merge(CONTENTS, "", &content, Part::Object, names);
    // The controller writes all annotations as it last saw them: it must have seen these.
    lab.cluster.run_for(seconds(1));
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(5));
    let event = ("SnapshotDeleteError".to_owned(), "Failed to get snapshot credentials".to_owned(), 3);
    assert_eq!(lab.events(&content), [event]);
    assert!(!lab.lines(lab.sidecar, "cannot get credentials for snapshot content").is_empty());
    lab.create(SECRETS, "default", json!({"metadata": {"name": "key"}, "data": {"userID": "YQ=="}}));
    lab.wait("the next attempt finds it", seconds(10), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

#[test]
fn a_driver_that_insists_on_secrets_or_fails_says_so_in_the_log_only() {
    let mut lab = Lab::new(11);
    let content = lab.ready_snapshot("a");
    let failed = Trouble::Fail(Status::new(Code::Internal, "rbd: ret=-16, Device or resource busy"));
    lab.faults.with(|faults| faults.add(Fault::of("DeleteSnapshot", failed)));
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(2));
    assert!(!lab.lines(lab.sidecar, "code = Internal desc = rbd: ret=-16, Device or resource busy").is_empty());
    assert!(!lab.get(CONTENTS, "", &content).unwrap().to_string().contains("ret=-16"));
    lab.faults.with(volwarden::sim::actors::ceph::Faults::clear);
    lab.wait("the next attempt succeeds", seconds(10), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

#[test]
fn a_content_of_a_driver_that_is_not_there_is_nobodys() {
    let mut lab = Lab::new(12);
    let spec = json!({"driver": "gone.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "h"},
                      "volumeSnapshotRef": {"name": "x", "namespace": "default", "uid": "u"}});
    let metadata = json!({"name": "ghost", "annotations": {BEING_DELETED: "yes"}});
    lab.create(CONTENTS, "", json!({"metadata": metadata, "spec": spec}));
    lab.cluster.run_for(seconds(1));
    lab.delete(CONTENTS, "", "ghost");
    lab.cluster.run_for(seconds(2000));
    assert!(lab.get(CONTENTS, "", "ghost").is_some() && lab.events("ghost").is_empty());
}

#[test]
fn a_finalizer_that_could_not_be_removed_is_forgotten_up_to_8_2_and_tried_again_later() {
    for (release, heals) in [(Release::V8_0, false), (Release::V8_3, true), (Release::V8_6, true)] {
        let mut lab = Setup::new(13).release(release).start();
        let content = lab.ready_snapshot("a");
        lab.cluster.refuse(Order {
            process: Some(lab.sidecar),
            verb: Verb::Patch,
            resource: CONTENTS,
            name: Some(content.clone()),
            skip: 0,
            times: 1,
            refusal: Refusal::new(500, "InternalError", "etcdserver: request timed out"),
        });
        lab.delete(SNAPSHOTS, "default", "a");
        lab.cluster.run_for(seconds(3600));
        assert_eq!(lab.is_gone(CONTENTS, "", &content), heals, "{release:?}");
        if !heals {
            let emptied = lab.get(CONTENTS, "", &content).unwrap();
            assert_eq!(emptied.get("status"), Some(&json!({})), "deleted and not released");
            lab.nudge(&content, "1");
            lab.wait("a nudge releases it", seconds(2), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
        }
        assert!(lab.pool.with(|pool| pool.snapshots().is_empty()));
    }
}

#[test]
fn a_throttled_annotation_is_believed_and_comes_with_the_next_look() {
    let mut lab = Lab::new(14);
    let content = lab.ready_snapshot("a");
    lab.cluster.refuse(Order {
        process: Some(lab.controller),
        verb: Verb::Patch,
        resource: CONTENTS,
        name: None,
        skip: 0,
        times: 1,
        refusal: Refusal::new(429, "TooManyRequests", "too many requests"),
    });
    lab.delete(SNAPSHOTS, "default", "a");
    lab.wait("it is deleted all the same", seconds(10), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
    let life = lab.transitions(CONTENTS, &content);
    let deleted_first = |change: &String| change.contains("deleting=true") && !change.contains("being-deleted");
    assert!(life.iter().any(deleted_first), "the content was deleted before it was told: {life:#?}");
}

#[test]
fn a_deletion_that_nobody_looks_at_when_the_cut_ends_is_missed_up_to_8_5() {
    let missed = |release| (0..30).filter(|seed| !deleted_during_a_long_cut(release, *seed)).count();
    assert_eq!(missed(Release::V8_3), 30, "8.3 has no eye for it");
    let rarely = missed(Release::V8_6);
    assert!((1..=10).contains(&rarely), "8.6 misses it when its own next write comes between: {rarely} of 30");
}

/// Whether a snapshot that was deleted while it was cut goes as soon as it is cut.
fn deleted_during_a_long_cut(release: Release, seed: u64) -> bool {
    let mut lab = Setup::new(seed).release(release).timeout(seconds(10)).start();
    lab.cluster.pause(lab.driver);
    let uid = object::uid(&lab.snapshot("a")).to_owned();
    lab.cluster.run_for(seconds(3));
    lab.delete(SNAPSHOTS, "default", "a");
    // By now the wait between two calls is longer than a call: nothing else asks for a look when this one ends.
    lab.cluster.run_for(seconds(93));
    lab.cluster.resume(lab.driver);
    lab.cluster.run_for(seconds(30));
    let soon = lab.is_gone(SNAPSHOTS, "default", "a");
    if !soon {
        let content = lab.get(CONTENTS, "", &format!("snapcontent-{uid}")).unwrap();
        assert_eq!(content.pointer("/status/readyToUse"), Some(&json!(true)));
        assert!(lab.events(object::name(&content)).iter().all(|(reason, ..)| reason != "SnapshotDeleteError"));
    }
    // A wait that was begun before is not called off; it brings the look, or the resync does.
    lab.cluster.run_for(seconds(16 * 60));
    assert!(lab.is_gone(SNAPSHOTS, "default", "a"));
    soon
}

#[test]
fn an_event_that_comes_too_late_is_healed_by_the_resync_and_never_by_8_0() {
    let first_missed = |release| (0..100).find_map(|seed| deleted_during_a_short_cut(release, seed)).unwrap();
    let mut healing = first_missed(Release::V8_3);
    healing.cluster.run_for(seconds(15 * 60));
    assert!(healing.is_gone(SNAPSHOTS, "default", "a"));
    let mut lost = first_missed(Release::V8_0);
    lost.cluster.run_for(seconds(24 * 3600));
    assert!(!lost.is_gone(SNAPSHOTS, "default", "a"));
    let content = lost.cluster.store.list(CONTENTS, None).next().map(|content| object::name(content).to_owned());
    lost.nudge(&content.unwrap(), "1");
    lost.wait("a nudge helps", seconds(2), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}

/// The lab, if nobody looked at a snapshot that was deleted during its one and only call.
fn deleted_during_a_short_cut(release: Release, seed: u64) -> Option<Lab> {
    let mut lab = Setup::new(seed).release(release).start();
    lab.faults.with(|faults| faults.add(Fault::of("CreateSnapshot", Trouble::Slow(seconds(5))).times(1)));
    lab.snapshot("a");
    lab.cluster.run_for(seconds(2));
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(60));
    (!lab.is_gone(SNAPSHOTS, "default", "a")).then_some(lab)
}

#[test]
fn a_content_copied_to_another_cluster_finds_the_first_ones_snapshot() {
    let mut theirs = Lab::new(15);
    let content = theirs.ready_snapshot("a");
    let original = theirs.get(CONTENTS, "", &content).unwrap();
    let mut ours = Setup::new(16).start_in(theirs.pool.clone(), "dr-site");
    let copy = json!({"metadata": {"name": content}, "spec": original.get("spec")});
    ours.create(CONTENTS, "", copy);
    ours.cluster.run_for(seconds(5));
    let handle =
        |lab: &Lab| object::text(&lab.get(CONTENTS, "", &content).unwrap(), "/status/snapshotHandle").to_owned();
    assert_eq!(handle(&ours), handle(&theirs), "the name of a snapshot is its content's alone");
    ours.delete(CONTENTS, "", &content);
    ours.cluster.run_for(seconds(2000));
    assert!(ours.get(CONTENTS, "", &content).is_some(), "a content without a snapshot starts no deletion");
    let mark = json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}});
    ours.merge(CONTENTS, "", &content, Part::Object, mark);
    ours.cluster.run_for(seconds(2));
    let lost: Vec<String> = theirs.pool.with(|pool| pool.deletions().iter().map(|gone| gone.by.clone()).collect());
    assert_eq!(lost, ["dr-site"], "and the pool knows who did it");
    assert!(theirs.get(CONTENTS, "", &content).unwrap().pointer("/status/readyToUse") == Some(&json!(true)));
}

#[test]
fn after_25_events_the_recorder_speaks_once_in_five_minutes() {
    let mut lab = Setup::new(17).timeout(seconds(1)).start();
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.driver);
    lab.delete(SNAPSHOTS, "default", "a");
    let attempts = 40;
    for attempt in 0..attempts {
        lab.nudge(&content, &attempt.to_string());
        lab.cluster.run_for(seconds(3));
    }
    let written = lab.events(&content)[0].2;
    assert!((25..=26).contains(&written), "{written} of at least {attempts}");
    assert!(lab.lines(lab.sidecar, FAILED).len() >= attempts, "the log says them all");
    lab.cluster.run_for(seconds(1200));
    assert!(lab.events(&content)[0].2 > written);
}

#[test]
fn a_log_line_carries_the_virtual_time() {
    let mut lab = Setup::new(18).timeout(seconds(10)).start();
    lab.ready_snapshot("a");
    lab.cluster.pause(lab.driver);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(15));
    let log = lab.cluster.log(lab.sidecar).unwrap().text();
    let line = log.lines().find(|line| line.contains(FAILED)).unwrap();
    let (stamp, rest) = line.split_once(' ').unwrap();
    let at: Timestamp = stamp.parse().unwrap();
    assert!(rest.starts_with(&at.strftime("E%m%d %H:%M:%S%.6f").to_string()), "{line}");
    let told = volwarden::domain::logline::attempts(&log);
    assert_eq!(told.len(), 1, "and Volwarden can read it");
    let attempt = told.values().next().unwrap();
    assert_eq!((&*attempt.code, &*attempt.words), ("DeadlineExceeded", "context deadline exceeded"));
}
