//! VolSync in the embedded home cluster: days that go well, and slots that wait for what will not go.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim_home/mod.rs"]
mod sim_home;

use serde_json::{Value, json};
use sim_home::{World, condition, minutes, seconds};
use volwarden::sim::actors::ceph::{self, Fault, Trouble};
use volwarden::sim::actors::csi_snapshotter::Release;
use volwarden::sim::actors::home_cluster::{HomeCluster, Layout};
use volwarden::sim::actors::{object, volsync};
use volwarden::sim::store::table::{
    ATTACHMENTS, CLAIMS, CONTENTS, JOBS, PODS, REPLICATION_DESTINATIONS, REPLICATION_SOURCES, SECRETS, SNAPSHOTS,
    VOLUMES,
};

/// What a ReplicationSource says of itself: the reason and the message of its condition.
fn said(world: &World, app: &str) -> (String, String) {
    let source = world.get(REPLICATION_SOURCES, app, app).unwrap();
    let words = |field: &str| object::text(&source, &format!("/status/conditions/0/{field}")).to_owned();
    (words("reason"), words("message"))
}

fn status(world: &World, app: &str, field: &str) -> Value {
    let source = world.get(REPLICATION_SOURCES, app, app).unwrap();
    source.pointer(&format!("/status/{field}")).cloned().unwrap_or_default()
}

#[test]
fn a_day_of_hourly_backups_leaves_nothing_behind() {
    let begun = std::time::Instant::now();
    let mut world = World::new(7, &HomeCluster::default());
    for _ in 0..24 {
        world.cluster.run_for(minutes(60));
        // As a real server forgets what happened long ago.
        let version = world.cluster.store.version();
        world.cluster.store.compact(version);
    }
    let took = begun.elapsed();
    let backups = world.home.repository.with(|repository| repository.backups().to_vec());
    println!("a day of 5 apps: {took:?}, {} versions, {} backups", world.cluster.store.version(), backups.len());
    for app in world.home.apps.clone() {
        let identity = format!("{app}@{app}:/data");
        let mine = backups.iter().filter(|backup| backup.identity == identity).count();
        assert_eq!(mine, 25, "{app}: one at once, and one each hour");
        assert_eq!(said(&world, &app).0, "WaitingForSchedule");
        assert_eq!(status(&world, &app, "latestMoverStatus")["result"], "Successful");
        assert_eq!(world.names(SNAPSHOTS, &app), [""; 0]);
        assert_eq!(world.names(JOBS, &app), [""; 0]);
        assert_eq!(world.names(CLAIMS, &app), [app.as_str()]);
        assert_eq!(world.all(PODS, &app).len(), 1, "the app's own");
    }
    assert_eq!(world.cluster.store.list(CONTENTS, None).count(), 0);
    assert_eq!(world.cluster.store.list(VOLUMES, None).count(), 5);
    assert_eq!(world.cluster.store.list(ATTACHMENTS, None).count(), 5);
    let (snapshots, volumes) = world.home.pool.with(|pool| (pool.snapshots().len(), pool.volumes().len()));
    assert_eq!((snapshots, volumes), (0, 5), "the pool agrees");
}

fn hang(method: &'static str) -> Fault {
    Fault::of(method, Trouble::Hang)
}

/// A home cluster with one app whose first backup is made and cleaned up.
fn one_app(seed: u64, plan: HomeCluster) -> World {
    let mut world = World::new(seed, &HomeCluster { apps: 1, ..plan });
    world.until("the first backup", minutes(30), |world| {
        world.get(REPLICATION_SOURCES, "sonarr", "sonarr").is_some() && said(world, "sonarr").0 == "WaitingForSchedule"
    });
    world.until("its snapshot is gone", minutes(5), |world| world.names(SNAPSHOTS, "sonarr").is_empty());
    world
}

fn backups(world: &World) -> usize {
    world.home.repository.with(|repository| repository.backups().len())
}

#[test]
fn a_deletion_that_hangs_shows_one_slot_later() {
    for fork in [true, false] {
        let mut world = one_app(1, HomeCluster { fork, ..HomeCluster::default() });
        world.cluster.run_for(seconds(30));
        world.home.faults.with(|faults| faults.add(hang("DeleteSnapshot")));
        world.until("the next backup", minutes(80), |world| backups(world) == 2);
        world.cluster.run_for(minutes(2));
        let snapshot = world.get(SNAPSHOTS, "sonarr", "volsync-sonarr-src").unwrap();
        assert!(object::is_deleting(&snapshot));
        assert_eq!(said(&world, "sonarr").0, "WaitingForSchedule", "it looks healthy");
        let last = status(&world, "sonarr", "lastSyncTime");
        let slot = status(&world, "sonarr", "nextSyncTime").as_str().unwrap().parse().unwrap();
        let due = std::time::Duration::try_from(world.cluster.now().wall.duration_until(slot)).unwrap();
        world.cluster.run_for(due + minutes(3 * 60));
        let waits = if fork {
            ("Error", "data PVC not available (possibly waiting for copy trigger)")
        } else {
            ("SyncInProgress", "Synchronization in-progress")
        };
        assert_eq!(said(&world, "sonarr"), (waits.0.to_owned(), waits.1.to_owned()));
        assert_eq!(status(&world, "sonarr", "lastSyncStartTime"), slot.to_string(), "it began on time, and waits");
        assert_eq!((status(&world, "sonarr", "lastSyncTime"), backups(&world)), (last, 2), "three slots were missed");
        assert_eq!(
            world.get(SNAPSHOTS, "sonarr", "volsync-sonarr-src").unwrap()["metadata"]["uid"],
            snapshot["metadata"]["uid"]
        );

        // The obstacle goes, and nobody needs to be told: the sync goes on by itself.
        world.home.faults.with(ceph::Faults::clear);
        world.until("the backup is made", minutes(30), |world| backups(world) == 3);
        world.until("it is idle again", minutes(5), |world| said(world, "sonarr").0 == "WaitingForSchedule");
        let took = status(&world, "sonarr", "lastSyncDuration");
        assert!(took.as_str().unwrap().starts_with("3h"), "{took}: the waiting counts");
        world.cluster.run_for(minutes(5));
        assert_eq!(world.home.pool.with(|pool| pool.snapshots().len()), 0);
    }
}

#[test]
fn without_a_snapshotter_every_backup_waits_for_its_snapshot() {
    let mut world = World::new(2, &HomeCluster { apps: 1, snapshotter: false, ..HomeCluster::default() });
    world.cluster.run_for(minutes(5 * 60));
    let snapshot = world.get(SNAPSHOTS, "sonarr", "volsync-sonarr-src").unwrap();
    assert!(!object::is_deleting(&snapshot));
    assert_eq!(snapshot["status"]["readyToUse"], false);
    assert_eq!(said(&world, "sonarr").1, "data PVC not available (possibly waiting for copy trigger)");
    assert_eq!((backups(&world), world.names(JOBS, "sonarr")), (0, vec![]));
}

#[test]
fn a_manual_tag_starts_one_backup_and_stops_the_schedule() {
    let mut world = one_app(3, HomeCluster::default());
    world.patch(REPLICATION_SOURCES, "sonarr", "sonarr", json!({"spec": {"trigger": {"manual": "now"}}}));
    world.until("it runs", minutes(10), |world| status(world, "sonarr", "lastManualSync") == "now");
    assert_eq!(backups(&world), 2);
    world.cluster.run_for(minutes(5 * 60));
    assert_eq!((backups(&world), said(&world, "sonarr").0.as_str()), (2, "WaitingForManual"));
    assert_eq!(status(&world, "sonarr", "nextSyncTime"), Value::Null);
    world.patch(REPLICATION_SOURCES, "sonarr", "sonarr", json!({"spec": {"trigger": {"manual": null}}}));
    world.until("the schedule is back", minutes(10), |world| backups(world) == 3);
}

#[test]
fn a_paused_source_of_the_fork_reports_syncs_that_never_were() {
    let mut world = one_app(4, HomeCluster::default());
    let before = status(&world, "sonarr", "lastSyncTime");
    world.patch(REPLICATION_SOURCES, "sonarr", "sonarr", json!({"spec": {"paused": true}}));
    world.cluster.run_for(minutes(3 * 60));
    assert_ne!(status(&world, "sonarr", "lastSyncTime"), before);
    assert_eq!(backups(&world), 1);
}

#[test]
fn a_mover_that_fails_is_tried_nine_times_and_then_all_over_again() {
    let mut world = one_app(5, HomeCluster::default());
    let words = "ERROR: unable to open repository: connection refused";
    let trouble = Some(volsync::Trouble::Fails(1, words.to_owned()));
    world.home.repository.with(|repository| {
        repository.trouble = trouble;
        repository.takes = (seconds(20), seconds(40));
    });
    world.until("the Job is given up", minutes(180), |world| {
        status(world, "sonarr", "latestMoverStatus")["result"] == "Failed"
    });
    let failed = world.history(JOBS, "sonarr", "volsync-src-sonarr");
    assert!(failed.iter().any(|(_, job)| job["status"]["failed"] == 9), "it was tried nine times");
    assert!(status(&world, "sonarr", "latestMoverStatus")["logs"].as_str().unwrap().contains(words));
    assert_eq!(said(&world, "sonarr").0, "SyncInProgress");
    world.until("a new Job begins", minutes(5), |world| !world.names(JOBS, "sonarr").is_empty());
    world.home.repository.with(|repository| repository.trouble = None);
    world.until("the backup is made", minutes(10), |world| backups(world) == 2);
}

#[test]
fn a_mover_that_hangs_is_waited_for() {
    let mut world = one_app(6, HomeCluster::default());
    world.home.repository.with(|repository| repository.trouble = Some(volsync::Trouble::Hangs));
    world.cluster.run_for(minutes(10 * 60));
    let pod = world.all(PODS, "sonarr").iter().find(|pod| object::label(pod, "job-name").is_some()).unwrap().clone();
    assert_eq!((&pod["status"]["phase"], said(&world, "sonarr").0.as_str()), (&json!("Running"), "SyncInProgress"));
    world.home.repository.with(|repository| repository.trouble = None);
    world.until("the backup is made", minutes(5), |world| backups(world) == 2);
}

#[test]
fn a_snapshot_that_must_not_be_deleted_is_let_go() {
    let mut world = one_app(7, HomeCluster::default());
    world.until("the next snapshot", minutes(70), |world| !world.names(SNAPSHOTS, "sonarr").is_empty());
    let name = "volsync-sonarr-src";
    world.patch(SNAPSHOTS, "sonarr", name, json!({"metadata": {"labels": {"volsync.backube/do-not-delete": "true"}}}));
    world.until("the sync is over", minutes(10), |world| said(world, "sonarr").0 == "WaitingForSchedule");
    world.cluster.run_for(minutes(1));
    let snapshot = world.get(SNAPSHOTS, "sonarr", name).unwrap();
    assert!(!object::is_deleting(&snapshot) && snapshot.pointer("/metadata/ownerReferences").is_none());
    assert_eq!(object::label(&snapshot, "volsync.backube/cleanup"), None);
}

fn destination(spec: &Value) -> Value {
    let mut kopia = json!({"copyMethod": "Snapshot", "repository": "sonarr-volsync-secret", "capacity": "5Gi",
        "storageClassName": "ceph-block", "accessModes": ["ReadWriteOnce"], "volumeSnapshotClassName": "csi-ceph-blockpool",
        "cleanupTempPVC": true, "cleanupCachePVC": true});
    kopia.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": "sonarr-dst"}, "spec": {"trigger": {"manual": "restore-once"}, "kopia": kopia}})
}

#[test]
fn a_claim_is_filled_from_the_latest_image_of_a_destination() {
    let mut world = one_app(8, HomeCluster::default());
    world.create(REPLICATION_DESTINATIONS, "sonarr", destination(&json!({"username": "sonarr"})));
    let restored = json!({"metadata": {"name": "restored"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "storageClassName": "ceph-block", "resources": {"requests": {"storage": "5Gi"}},
        "dataSourceRef": {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "sonarr-dst"}}});
    world.create(CLAIMS, "sonarr", restored);
    world.until("it is bound", minutes(20), |world| {
        world.get(CLAIMS, "sonarr", "restored").unwrap()["status"]["phase"] == "Bound"
    });
    world.until("nothing temporary is left", minutes(20), |world| {
        world.names(CLAIMS, "sonarr") == ["restored", "sonarr"]
    });
    let destination = world.get(REPLICATION_DESTINATIONS, "sonarr", "sonarr-dst").unwrap();
    let image = object::text(&destination, "/status/latestImage/name").to_owned();
    assert!(image.starts_with("volsync-sonarr-dst-dest-20260301"), "{image}");
    assert_eq!(destination["status"]["lastManualSync"], "restore-once");
    assert_eq!(destination["status"]["conditions"][0]["reason"], "WaitingForManual");
    let snapshot = world.get(SNAPSHOTS, "sonarr", &image).unwrap();
    let labels: Vec<_> = snapshot["metadata"]["labels"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(labels, ["app.kubernetes.io/created-by"]);
    let reasons = world.reasons("sonarr", "restored");
    for reason in ["VolSyncPopulatorPVCCreated", "VolSyncPopulatorFinished"] {
        assert!(reasons.contains(&reason.to_owned()), "{reasons:?}");
    }
    let volume = object::text(&world.get(CLAIMS, "sonarr", "restored").unwrap(), "/spec/volumeName").to_owned();
    let from = world.get(VOLUMES, "", &volume).unwrap();
    assert_eq!(object::annotation(&from, "volsync.backube/populated-from"), Some(format!("sonarr/{image}").as_str()));
}

#[test]
fn a_restore_of_somebody_unknown_succeeds_and_is_empty() {
    let mut world = one_app(9, HomeCluster::default());
    world.create(REPLICATION_DESTINATIONS, "sonarr", destination(&json!({"username": "nobody"})));
    world.until("it is over", minutes(20), |world| {
        let found = world.get(REPLICATION_DESTINATIONS, "sonarr", "sonarr-dst").unwrap();
        object::text(&found, "/status/lastManualSync") == "restore-once"
    });
    let found = world.get(REPLICATION_DESTINATIONS, "sonarr", "sonarr-dst").unwrap();
    assert_eq!(found["status"]["latestMoverStatus"]["result"], "Successful");
    assert!(object::text(&found, "/status/latestMoverStatus/logs").contains("No eligible snapshots found"));
}

#[test]
fn a_source_without_its_claim_or_secret_says_so() {
    let mut world = one_app(10, HomeCluster::default());
    world.delete(SECRETS, "sonarr", "sonarr-volsync-secret");
    world.until("it says so", minutes(80), |world| {
        said(world, "sonarr").1 == "Secret \"sonarr-volsync-secret\" not found"
    });
    world.patch(REPLICATION_SOURCES, "sonarr", "sonarr", json!({"spec": {"sourcePVC": "other"}}));
    world.until("it says so", minutes(20), |world| {
        said(world, "sonarr").1 == "PersistentVolumeClaim \"other\" not found"
    });
    assert_eq!(
        condition(&world.get(REPLICATION_SOURCES, "sonarr", "sonarr").unwrap(), "Synchronizing").unwrap(),
        "False"
    );
}

#[test]
fn every_release_and_layout_has_a_good_day() {
    for (seed, layout, release) in [
        (11, Layout::Operator, Release::V8_0),
        (12, Layout::Classic, Release::V8_3),
        (13, Layout::Classic, Release::V8_6),
    ] {
        let mut world = World::new(seed, &HomeCluster { apps: 2, layout, release, ..HomeCluster::default() });
        world.cluster.run_for(minutes(5 * 60));
        assert_eq!(backups(&world), 12, "{release:?}");
    }
}
