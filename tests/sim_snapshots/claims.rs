//! Claims: what they are cut from, what is restored into them, and what that holds up.

use std::sync::Arc;

use serde_json::{Value, json};
use volwarden::sim::actors::ceph::{Fault, Faults, Trouble};
use volwarden::sim::actors::csi_provisioner::{self, CsiProvisioner};
use volwarden::sim::actors::object;
use volwarden::sim::actors::snapshots::{CLAIM_FINALIZER, PROVISIONER_FINALIZER};
use volwarden::sim::process::ProcessId;
use volwarden::sim::store::Part;
use volwarden::sim::store::table::{CLAIMS, Resource, SNAPSHOT_CLASSES, SNAPSHOTS, STORAGE_CLASSES, VOLUMES};

use super::lab::{DRIVER, Lab, Setup, seconds};

/// A claim that is to be filled from a snapshot, waiting for its volume.
fn restore(lab: &mut Lab, name: &str, snapshot: &str) {
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "dataSource": source, "storageClassName": "rbd",
                      "resources": {"requests": {"storage": "1Gi"}}});
    let annotations = json!({"volume.kubernetes.io/storage-provisioner": DRIVER});
    let claim =
        lab.create(CLAIMS, "default", json!({"metadata": {"name": name, "annotations": annotations}, "spec": spec}));
    lab.merge(CLAIMS, "default", object::name(&claim), Part::Status, json!({"status": {"phase": "Pending"}}));
    lab.cluster.run_for(seconds(1));
}

/// What a volume controller takes off when nobody uses the object.
fn unprotect(lab: &mut Lab, resource: &'static Resource, namespace: &str, name: &str) {
    let object = lab.get(resource, namespace, name).unwrap();
    let protections = ["kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"];
    let left = object::without_finalizers(&object, &protections);
    lab.merge(resource, namespace, name, Part::Object, json!({"metadata": {"finalizers": left}}));
}

fn bind(lab: &mut Lab, claim: &str) {
    lab.merge(CLAIMS, "default", claim, Part::Status, json!({"status": {"phase": "Bound"}}));
}

fn provisioner(sweep: bool) -> csi_provisioner::Options {
    let mut options = csi_provisioner::Options::new(DRIVER, "rook-ceph", "ctrlplugin-0");
    options.sweep = options.sweep.filter(|_| sweep);
    options
}

fn with_provisioner(seed: u64, sweep: bool) -> (Lab, ProcessId) {
    let mut lab = Lab::new(seed);
    lab.create(STORAGE_CLASSES, "", json!({"metadata": {"name": "rbd"}, "provisioner": DRIVER}));
    let process = lab.cluster.spawn(Box::new(CsiProvisioner::new(provisioner(sweep), lab.driver)));
    lab.cluster.run_for(seconds(1));
    (lab, process)
}

#[test]
fn a_deletion_waits_for_a_restore_and_up_to_8_5_is_not_tried_again() {
    for (retries, heals) in [(true, true), (false, false)] {
        let mut setup = Setup::new(1);
        setup.controller.retries_after_restore = retries;
        let mut lab = setup.start();
        lab.ready_snapshot("a");
        restore(&mut lab, "restored", "a");
        lab.delete(SNAPSHOTS, "default", "a");
        lab.cluster.run_for(seconds(70));
        let pending = lab.events("a").into_iter().find(|(reason, ..)| reason == "SnapshotDeletePending").unwrap();
        assert_eq!(pending.1, "Snapshot is being used to restore a PVC");
        // At +0, 1, 3, 7, 15, 31 and 63 seconds.
        assert_eq!(pending.2, if retries { 7 } else { 1 });
        bind(&mut lab, "restored");
        lab.cluster.run_for(seconds(70));
        assert_eq!(lab.is_gone(SNAPSHOTS, "default", "a"), heals, "retries {retries}");
        if !heals {
            let nudge = json!({"metadata": {"annotations": {"example/nudge": "1"}}});
            lab.merge(SNAPSHOTS, "default", "a", Part::Object, nudge);
            lab.wait("a nudge helps", seconds(2), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
        }
    }
}

#[test]
fn a_restore_holds_its_snapshot_only_while_it_lasts() {
    let (mut lab, _) = with_provisioner(2, true);
    lab.ready_snapshot("a");
    restore(&mut lab, "restored", "a");
    lab.cluster.run_for(seconds(5));
    let life = lab.transitions(SNAPSHOTS, "a");
    let holds =
        |change: &&String| change.contains("volumesnapshot-as-source-protection+volumesnapshot-bound-protection+");
    assert!(life.iter().any(|change| holds(&change)), "{life:#?}");
    assert!(!object::has_finalizer(&lab.get(SNAPSHOTS, "default", "a").unwrap(), PROVISIONER_FINALIZER));
    let uid = object::uid(&lab.get(CLAIMS, "default", "restored").unwrap()).to_owned();
    let volume = lab.get(VOLUMES, "", &format!("pvc-{uid}")).unwrap();
    assert_eq!(object::text(&volume, "/spec/claimRef/uid"), uid);
    let handle = object::text(&volume, "/spec/csi/volumeHandle").to_owned();
    let source = lab.pool.with(|pool| pool.volumes().get(&handle).and_then(|volume| volume.snapshot.clone()));
    assert_eq!(source, lab.pool.with(|pool| pool.snapshots().first_key_value().map(|(handle, _)| handle.clone())));
    let reasons: Vec<String> = lab.events("restored").into_iter().map(|(reason, ..)| reason).collect();
    assert_eq!(reasons, ["Provisioning", "ProvisioningSucceeded"]);
}

#[test]
fn a_provisioner_that_dies_leaves_its_finalizer_and_only_the_sweep_takes_it() {
    for (sweep, heals) in [(true, true), (false, false)] {
        let (mut lab, process) = with_provisioner(3, sweep);
        lab.ready_snapshot("a");
        lab.faults.with(|faults| faults.add(Fault::of("CreateVolume", Trouble::Hang)));
        restore(&mut lab, "restored", "a");
        lab.cluster.kill(process);
        lab.faults.with(Faults::clear);
        unprotect(&mut lab, CLAIMS, "default", "restored");
        lab.delete(CLAIMS, "default", "restored");
        lab.delete(SNAPSHOTS, "default", "a");
        lab.cluster.run_for(seconds(30));
        let left = lab.get(SNAPSHOTS, "default", "a").unwrap();
        assert_eq!(object::finalizers(&left).collect::<Vec<_>>(), [PROVISIONER_FINALIZER]);
        assert_eq!(lab.pool.with(|pool| pool.volumes().len()), 2, "the driver has made a volume that nobody knows");
        lab.cluster.start(process, Box::new(CsiProvisioner::new(provisioner(sweep), lab.driver)));
        lab.cluster.run_for(seconds(700));
        assert_eq!(lab.is_gone(SNAPSHOTS, "default", "a"), heals, "sweep {sweep}");
    }
}

#[test]
fn a_released_volume_is_deleted_with_its_storage() {
    let (mut lab, _) = with_provisioner(4, true);
    lab.ready_snapshot("a");
    restore(&mut lab, "restored", "a");
    let volume = format!("pvc-{}", object::uid(&lab.get(CLAIMS, "default", "restored").unwrap()));
    lab.wait("the volume is made", seconds(5), |lab| lab.get(VOLUMES, "", &volume).is_some());
    unprotect(&mut lab, VOLUMES, "", &volume);
    lab.merge(VOLUMES, "", &volume, Part::Status, json!({"status": {"phase": "Released"}}));
    lab.wait("the volume goes", seconds(5), |lab| lab.is_gone(VOLUMES, "", &volume));
    assert_eq!(lab.pool.with(|pool| pool.volumes().len()), 1, "only the source is left");
}

#[test]
fn a_claim_is_held_while_a_snapshot_of_it_is_cut_and_for_ever_by_one_that_never_is() {
    let mut lab = Lab::new(5);
    let failed = Trouble::Fail(volwarden::sim::actors::csi::Status::new(
        volwarden::sim::actors::csi::Code::Internal,
        "no space left in pool",
    ));
    let held = |lab: &Lab| object::has_finalizer(&lab.get(CLAIMS, "default", "data").unwrap(), CLAIM_FINALIZER);
    lab.ready_snapshot("good");
    assert!(!held(&lab), "the cut is done");
    lab.faults.with(|faults| faults.add(Fault::of("CreateSnapshot", failed)));
    let never = lab.snapshot("never");
    lab.cluster.run_for(seconds(2000));
    assert!(held(&lab));
    let content =
        lab.get(volwarden::sim::store::table::CONTENTS, "", &format!("snapcontent-{}", object::uid(&never))).unwrap();
    let words =
        "failed to take snapshot of the volume vol-0001: \"rpc error: code = Internal desc = no space left in pool\"";
    assert!(object::text(&content, "/status/error/message").ends_with(words), "{content:#}");
    assert!(object::annotation(&content, volwarden::sim::actors::snapshots::BEING_CREATED).is_none(), "a final error");
    let told = lab.get(SNAPSHOTS, "default", "never").unwrap();
    assert!(object::text(&told, "/status/error/message").ends_with(words));
    lab.delete(SNAPSHOTS, "default", "never");
    lab.wait("it can be deleted", seconds(30), |lab| lab.is_gone(SNAPSHOTS, "default", "never"));
    assert!(!held(&lab), "and lets its claim go");
}

#[test]
fn a_class_that_is_missing_or_not_one_is_said_on_the_snapshot() {
    let mut lab = Lab::new(6);
    let snapshot = |lab: &mut Lab, name: &str, class: Value| {
        let spec = json!({"source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": class});
        lab.create(SNAPSHOTS, "default", json!({"metadata": {"name": name}, "spec": spec}));
        lab.cluster.run_for(seconds(10));
    };
    let reasons = |lab: &Lab, name: &str| lab.events(name).into_iter().map(|(reason, ..)| reason).collect::<Vec<_>>();
    snapshot(&mut lab, "lost", json!("nowhere"));
    assert_eq!(reasons(&lab, "lost"), ["GetSnapshotClassFailed"]);
    snapshot(&mut lab, "undecided", Value::Null);
    assert_eq!(reasons(&lab, "undecided"), ["SetDefaultSnapshotClassFailed"]);
    let default = json!({"metadata": {"annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}}});
    lab.merge(SNAPSHOT_CLASSES, "", "fast", Part::Object, default);
    lab.cluster.run_for(seconds(30));
    let decided: Arc<Value> = lab.get(SNAPSHOTS, "default", "undecided").unwrap();
    assert_eq!(object::text(&decided, "/spec/volumeSnapshotClassName"), "fast");
    assert_eq!(decided.pointer("/status/readyToUse"), Some(&json!(true)));
    assert!(decided.pointer("/status/error").is_none());
    lab.delete(SNAPSHOTS, "default", "lost");
    lab.wait("a missing class keeps nothing", seconds(60), |lab| lab.is_gone(SNAPSHOTS, "default", "lost"));
}

#[test]
fn a_prepared_content_is_bound_to_its_snapshot() {
    let mut lab = Lab::new(7);
    let handle = {
        lab.ready_snapshot("a");
        lab.pool.with(|pool| pool.snapshots().first_key_value().map(|(handle, _)| handle.clone())).unwrap()
    };
    let spec = json!({"driver": DRIVER, "deletionPolicy": "Delete", "source": {"snapshotHandle": handle},
                      "volumeSnapshotRef": {"name": "imported", "namespace": "default"}});
    let contents = volwarden::sim::store::table::CONTENTS;
    lab.create(contents, "", json!({"metadata": {"name": "prepared"}, "spec": spec}));
    let spec = json!({"source": {"volumeSnapshotContentName": "prepared"}});
    let snapshot = lab.create(SNAPSHOTS, "default", json!({"metadata": {"name": "imported"}, "spec": spec}));
    lab.wait("it is ready", seconds(60), |lab| {
        lab.get(SNAPSHOTS, "default", "imported").is_some_and(|s| s.pointer("/status/readyToUse") == Some(&json!(true)))
    });
    let content = lab.get(contents, "", "prepared").unwrap();
    assert_eq!(object::text(&content, "/spec/volumeSnapshotRef/uid"), object::uid(&snapshot));
    assert_eq!(object::text(&content, "/status/snapshotHandle"), handle);
    lab.cluster.run_for(seconds(2));
    lab.delete(SNAPSHOTS, "default", "imported");
    lab.wait("it goes with its snapshot", seconds(10), |lab| lab.is_gone(contents, "", "prepared"));
}

#[test]
fn a_member_of_a_group_goes_with_its_group() {
    let mut lab = Lab::new(8);
    lab.ready_snapshot("a");
    let groups = volwarden::sim::store::table::GROUP_SNAPSHOTS;
    lab.create(groups, "default", json!({"metadata": {"name": "g"}, "spec": {"source": {"selector": {}}}}));
    lab.merge(SNAPSHOTS, "default", "a", Part::Status, json!({"status": {"volumeGroupSnapshotName": "g"}}));
    lab.cluster.run_for(seconds(1));
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(20));
    let (reason, words, _) = lab.events("a").into_iter().next_back().unwrap();
    assert_eq!(reason, "SnapshotDeletePending");
    assert!(words.starts_with("deletion of the individual volume snapshot default/a is not allowed"), "{words}");
    lab.delete(groups, "default", "g");
    lab.wait("then it goes", seconds(40), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}
