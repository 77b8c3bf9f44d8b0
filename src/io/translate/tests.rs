use serde_json::{Value, json};

use super::*;
use crate::domain::name::fingerprint;
use crate::domain::record::{Claim, Content, ContentStatus, EventRecord, Lease, Pod, Replication, Snapshot, Workload};

const UID: &str = "5286d2fc-b692-4bc7-90b0-d76f2e38d0f7";

fn one(source: Source, object: &Value) -> Option<Fact> {
    let mut translator = Translator::new(source);
    translator.object(Verb::Applied, &object.to_string()).expect("it parses").fact
}

/// The record of an object that is ours.
macro_rules! record {
    ($source:ident, $fact:ident, $object:expr) => {
        match one(Source::$source, &$object) {
            Some(Fact::$fact(Change::Applied(_, record))) => record,
            other => panic!("{other:?}"),
        }
    };
}

fn content(object: &Value) -> Content {
    record!(Contents, Content, object)
}

fn deleting_content(status: &Value) -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": "snapcontent-1", "uid": UID, "resourceVersion": "77",
            "creationTimestamp": "2026-11-22T10:00:00Z", "deletionTimestamp": "2026-11-22T11:00:00Z",
            "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
            "annotations": {
                "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted": "yes",
                "snapshot.storage.kubernetes.io/deletion-secret-name": "s",
                "snapshot.storage.kubernetes.io/deletion-secret-namespace": "rook-ceph"},
            "managedFields": [{"manager": "snapshot-controller", "fieldsV1": {"f:metadata": {}}}]},
        "spec": {"deletionPolicy": "Delete", "driver": "rbd", "source": {"volumeHandle": "v"},
            "volumeSnapshotClassName": "fast", "sourceVolumeMode": "Filesystem",
            "volumeSnapshotRef": {"namespace": "media", "name": "a", "uid": UID}},
        "status": status})
}

#[test]
fn a_content_keeps_absent_empty_and_filled_status_apart() {
    assert_eq!(content(&deleting_content(&Value::Null)).status, None);
    let emptied = content(&deleting_content(&json!({}))).status.unwrap();
    assert_eq!(emptied, ContentStatus::default());
    assert!(emptied.emptied());
    for (field, value) in [
        ("snapshotHandle", json!("h")),
        ("readyToUse", json!(false)),
        ("creationTime", json!(0)),
        ("restoreSize", json!(0)),
    ] {
        let mut status = json!({});
        status[field] = value;
        assert!(!content(&deleting_content(&status)).status.unwrap().emptied(), "{field} is there");
    }
}

#[test]
fn a_content_in_full() {
    let status = json!({"snapshotHandle": "0001-h", "readyToUse": true, "creationTime": 1_763_800_000_123_456_789_i64,
        "restoreSize": 1, "error": {"message": "Failed to create snapshot", "time": "2026-11-22T10:00:01Z"}});
    let record = content(&deleting_content(&status));
    assert_eq!(record.snapshot.key, Key::namespaced("media", "a"));
    assert_eq!(record.snapshot.uid, Some(Uid::parse(UID)));
    assert!(record.being_deleted && !record.being_created && !record.in_group && !record.velero);
    assert_eq!(record.secret.as_deref().map(|secret| (&*secret.namespace, &*secret.name)), Some(("rook-ceph", "s")));
    assert_eq!(record.meta.deleted.unwrap().timestamp().to_string(), "2026-11-22T11:00:00Z");
    let status = record.status.unwrap();
    let handle = status.handle.unwrap();
    assert_eq!((handle.print, handle.text.as_deref()), (fingerprint("0001-h"), Some("0001-h")));
    assert_eq!(status.creation_time.unwrap().timestamp().as_second(), 1_763_800_000);
    assert_eq!(&*status.error.unwrap().message, "Failed to create snapshot");
}

#[test]
fn a_handle_is_kept_as_text_only_while_its_content_is_deleted() {
    let mut live = deleting_content(&json!({"snapshotHandle": "0001-h"}));
    live["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
    let handle = content(&live).status.unwrap().handle.unwrap();
    assert_eq!((handle.print, handle.text), (fingerprint("0001-h"), None));
}

#[test]
fn marks_that_make_others_keep_their_hands_off() {
    let group = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";
    let mut object = deleting_content(&Value::Null);
    object["metadata"]["annotations"] = json!({group: "g", "volwarden.dev/ignore": "", "velero.io/x": "y"});
    let record = content(&object);
    assert!(record.in_group && record.meta.ignored && record.velero && !record.being_deleted);
    object["metadata"]["annotations"] = Value::Null;
    object["metadata"]["labels"] =
        json!({"velero.io/backup-name": "b", "snapshot.storage.kubernetes.io/managed-by": "node-1"});
    let record = content(&object);
    assert!(record.velero && !record.in_group);
    assert_eq!(record.managed_by.as_deref(), Some("node-1"));
    assert!(content(&deleting_content(&json!({"volumeGroupSnapshotHandle": "g"}))).in_group);
}

#[test]
fn a_snapshot_in_full_and_empty() {
    let record: Snapshot = record!(
        Snapshots,
        Snapshot,
        json!({
        "metadata": {"name": "a", "namespace": "media", "uid": UID, "labels": {"volsync.backube/do-not-delete": "true"}},
        "spec": {"source": {"volumeSnapshotContentName": "c"}, "volumeSnapshotClassName": "fast"},
        "status": {"boundVolumeSnapshotContentName": "snapcontent-1", "readyToUse": false, "creationTime":
            "2026-11-22T10:00:00Z", "restoreSize": "1Gi", "volumeGroupSnapshotName": "g"}})
    );
    assert_eq!(record.source, crate::domain::record::SnapshotSource::Content("c".into()));
    assert_eq!((record.ready, record.content.as_deref()), (Some(false), Some("snapcontent-1")));
    assert!(record.do_not_delete && record.group.as_deref() == Some("g"));
    let record: Snapshot = record!(Snapshots, Snapshot, json!({"metadata": {"name": "a", "uid": UID}}));
    assert_eq!((record.ready, record.content, record.class), (None, None, None));
}

// === What cannot be read ===

#[test]
fn a_wrong_type_is_an_error_that_names_the_object_and_never_an_absence() {
    let mut wrong = Vec::new();
    for (pointer, value) in [
        ("/metadata/deletionTimestamp", json!("yesterday")),
        ("/metadata/deletionTimestamp", json!(7)),
        ("/metadata/finalizers", json!("one")),
        ("/metadata/annotations", json!(["a"])),
        ("/metadata/uid", json!("")),
        ("/status", json!("Failure")),
        ("/status/snapshotHandle", json!({})),
        ("/spec/volumeSnapshotRef", json!("media/a")),
    ] {
        let mut object = deleting_content(&json!({"snapshotHandle": "h"}));
        *object.pointer_mut(pointer).unwrap() = value;
        wrong.push(object);
    }
    for object in wrong {
        let text = object.to_string();
        let unreadable = Translator::new(Source::Contents).object(Verb::Applied, &text).unwrap_err();
        assert_eq!(unreadable.key, Some(Key::cluster("snapcontent-1")), "{text}");
        assert_eq!(unreadable.version.as_deref(), Some("77"));
        assert!(!unreadable.why.is_empty());
        // As a deletion it needs no more than its name.
        let gone = Translator::new(Source::Contents).object(Verb::Gone, &text).unwrap().fact;
        assert_eq!(gone, Some(Fact::Content(Change::Gone(Key::cluster("snapcontent-1")))));
    }
    for text in ["{\"metadata\":{}}", "{\"metadata\":{\"name\":\"\"}}", "{\"metadata\":[]}", "{}", "[]", "7", "{"] {
        let unreadable = Translator::new(Source::Contents).object(Verb::Applied, text).unwrap_err();
        assert_eq!(unreadable.key, None, "{text}");
    }
}

#[test]
fn a_deletion_time_out_of_range_is_still_a_deletion() {
    for time in ["2300-01-01T00:00:00Z", "1960-01-01T00:00:00Z"] {
        let mut object = deleting_content(&Value::Null);
        object["metadata"]["deletionTimestamp"] = json!(time);
        assert!(content(&object).meta.deleted.is_some(), "{time}");
    }
}

// === Lines ===

#[test]
fn lines_are_read_in_any_order_of_their_fields() {
    let object = json!({"metadata": {"name": "a", "namespace": "media", "uid": UID, "resourceVersion": "5"}});
    for line in [
        format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n"),
        format!("{{ \"object\": {object} , \"type\": \"MODIFIED\" }}"),
        format!("{{\"type\":\"ADDED\",\"object\":{object},\"more\":1}}"),
    ] {
        let mut translator = Translator::new(Source::Snapshots);
        let Line::Object(read) = translator.line(&line).unwrap() else { panic!("{line}") };
        assert!(matches!(read.fact, Some(Fact::Snapshot(Change::Applied(..)))), "{line}");
        assert_eq!(read.version.as_deref(), Some("5"));
    }
    for garbage in [
        "",
        "{}",
        "null",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"NEW\",\"object\":{}}",
        "{\"type\":\"ADDED\",\"object\":{",
    ] {
        assert!(Translator::new(Source::Snapshots).line(garbage).is_err(), "{garbage}");
    }
}

#[test]
fn a_recording_replays_as_the_live_watch_would() {
    let mut translator = Translator::new(Source::Snapshots);
    let mut replay = |line: &str| facts(&mut translator, line).unwrap();
    let object = json!({"metadata": {"name": "a", "namespace": "media", "uid": UID, "resourceVersion": "5"}});
    assert_eq!(replay(&json!({"type": "ADDED", "object": object}).to_string()).len(), 1);
    assert_eq!(
        replay(&json!({"type": "DELETED", "object": object}).to_string()),
        [Fact::Snapshot(Change::Gone(Key::namespaced("media", "a")))]
    );
    let mark = json!({"metadata": {"resourceVersion": "9"}});
    let progress = Fact::Source(Source::Snapshots, SourceChange::Progress);
    assert_eq!(replay(&json!({"type": "BOOKMARK", "object": mark}).to_string()), [progress]);
    let end = json!({"metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}});
    let ended = Fact::Source(Source::Snapshots, SourceChange::ListEnded);
    assert_eq!(replay(&json!({"type": "BOOKMARK", "object": end}).to_string()), [ended]);
    let error = json!({"kind": "Status", "status": "Failure", "message": "gone", "code": 410});
    let failing = Fact::Source(Source::Snapshots, SourceChange::Failing("gone".into()));
    assert_eq!(replay(&json!({"type": "ERROR", "object": error}).to_string()), [failing]);
    let odd = json!({"metadata": {"name": "odd"}, "spec": 7});
    let unreadable = Fact::Source(Source::Snapshots, SourceChange::Unreadable(Key::cluster("odd")));
    assert_eq!(replay(&json!({"type": "ADDED", "object": odd}).to_string()), [unreadable]);
}

// === What is ours ===

fn pod(container: &Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "rook-ceph", "uid": UID}, "spec": {"nodeName": "n", "containers": [
        {"name": "app", "image": "nginx"}, container]}, "status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-07-01T10:00:00Z"}], "containerStatuses": [{"name": container["name"], "ready": true,
        "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated":
        {"message": "Lost connection to CSI driver, exiting"}}}]}})
}

#[test]
fn pods_of_the_storage_machinery_are_kept_and_no_others() {
    for container in [
        json!({"name": "csi-snapshotter", "image": "mirror/x"}),
        json!({"name": "x", "image": "registry.k8s.io/sig-storage/csi-snapshotter:v8.5.0"}),
        json!({"name": "x", "image": "registry.k8s.io/sig-storage/snapshot-controller@sha256:00"}),
        json!({"name": "snapshot-controller", "image": "mirror/x"}),
        json!({"name": "x", "image": "quay.io/cephcsi/cephcsi:v3.15"}),
        json!({"name": "x", "image": "hostpathplugin"}),
        json!({"name": "x", "image": "x", "args": ["--drivername=rbd"]}),
        json!({"name": "x", "image": "x", "command": ["/x", "-drivername", "rbd"]}),
        json!({"name": "x", "image": "x", "args": ["--csi-address=/csi/csi.sock"]}),
        json!({"name": "x", "image": "x", "args": ["--driver-name=nfs"]}),
    ] {
        assert!(one(Source::Pods, &pod(&container)).is_some(), "{container}");
    }
    for container in [
        json!({"name": "x", "image": "x", "args": ["--drivernames=y"]}),
        json!({"name": "scsi-tool", "image": "postgres"}),
        json!({"name": "x"}),
    ] {
        assert!(one(Source::Pods, &pod(&container)).is_none(), "{container}");
    }
}

#[test]
fn the_end_of_a_pod_that_a_list_shows_in_a_shape_nobody_can_read_is_told() {
    let mut translator = Translator::new(Source::Pods);
    let whole = pod(&json!({"name": "csi-snapshotter"}));
    assert!(translator.object(Verb::Applied, &whole.to_string()).unwrap().fact.is_some());
    translator.begin_list();
    let odd = json!({"metadata": {"name": "p", "namespace": "rook-ceph", "uid": 7}}).to_string();
    assert!(translator.object(Verb::Applied, &odd).unwrap_err().key.is_some());
    let gone = translator.object(Verb::Gone, &whole.to_string()).unwrap().fact;
    assert_eq!(gone, Some(Fact::Pod(Change::Gone(Key::namespaced("rook-ceph", "p")))));
}

#[test]
fn a_pod_in_full() {
    let record: Pod = record!(
        Pods,
        Pod,
        pod(&json!({"name": "csi-snapshotter", "image": "i:v8",
        "command": ["/csi-snapshotter"], "args": ["--timeout=150s"]}))
    );
    assert!(record.ready && record.containers.len() == 2);
    assert_eq!(record.ready_changed.map(|at| at.timestamp().to_string()).as_deref(), Some("2026-07-01T10:00:00Z"));
    let sidecar = &record.containers[1];
    assert_eq!(sidecar.args.iter().map(|arg| &**arg).collect::<Vec<_>>(), ["/csi-snapshotter", "--timeout=150s"]);
    assert_eq!((sidecar.ready, sidecar.running, sidecar.restarts), (true, false, 3));
    assert_eq!(sidecar.waiting.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(sidecar.last_termination.as_deref(), Some("Lost connection to CSI driver, exiting"));
    // A sidecar among the init containers counts, an ordinary init container does not.
    let mut native = pod(&json!({"name": "x"}));
    native["spec"]["initContainers"] = json!([{"name": "csi-snapshotter", "restartPolicy": "Always"}]);
    assert!(one(Source::Pods, &native).is_some());
    native["spec"]["initContainers"] = json!([{"name": "csi-snapshotter"}]);
    assert!(one(Source::Pods, &native).is_none());
}

#[test]
fn what_stops_mattering_is_gone_and_what_never_mattered_is_silent() {
    let deployment = |container: &str| {
        json!({"metadata": {"name": "d", "namespace": "x", "uid": UID}, "spec": {"replicas": 2,
            "template": {"spec": {"containers": [{"name": container}]}}}, "status": {"readyReplicas": 1}})
        .to_string()
    };
    let (ours, other) = (deployment("csi-snapshotter"), deployment("web"));
    let mut translator = Translator::new(Source::Deployments);
    let mut see = |verb, text: &str| translator.object(verb, text).unwrap().fact;
    assert_eq!(see(Verb::Applied, &other), None);
    assert_eq!(see(Verb::Gone, &other), None);
    let Some(Fact::Deployment(Change::Applied(key, Workload { replicas, ready, .. }))) = see(Verb::Applied, &ours)
    else {
        panic!("not kept")
    };
    assert_eq!((replicas, ready), (Some(2), 1));
    assert_eq!(see(Verb::Applied, &other), Some(Fact::Deployment(Change::Gone(key.clone()))));
    assert_eq!(see(Verb::Applied, &other), None);
    see(Verb::Applied, &ours);
    assert_eq!(see(Verb::Gone, &ours), Some(Fact::Deployment(Change::Gone(key))));
    assert_eq!(translator.passed(), 3);
}

// === Others ===

#[test]
fn a_claim_names_the_snapshots_it_is_restored_from() {
    let source = |namespace: Value| json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s", "namespace": namespace});
    let claim = |spec: Value| -> Claim {
        record!(
            Claims,
            Claim,
            json!({"metadata": {"name": "c", "namespace": "media", "uid": UID,
            "annotations": {"volume.kubernetes.io/selected-node": "n"}}, "spec": spec})
        )
    };
    let keys = |claim: &Claim| claim.sources.iter().map(|source| source.snapshot.to_string()).collect::<Vec<_>>();
    let both = claim(json!({"dataSource": source(Value::Null), "dataSourceRef": source(Value::Null)}));
    assert_eq!(keys(&both), ["media/s"]);
    assert_eq!(both.phase, crate::domain::record::ClaimPhase::Pending);
    assert!(both.node_selected);
    assert_eq!(keys(&claim(json!({"dataSourceRef": source(json!("other"))}))), ["other/s"]);
    let clone = json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "s"}});
    assert!(claim(clone).sources.is_empty());
    let foreign = json!({"dataSource": {"apiGroup": "example.com", "kind": "VolumeSnapshot", "name": "s"}});
    assert!(claim(foreign).sources.is_empty());
}

#[test]
fn events_are_read_in_both_shapes() {
    let about = json!({"kind": "VolumeSnapshotContent", "name": "snapcontent-1", "uid": UID});
    let old: EventRecord = record!(
        ContentEvents,
        ContentEvent,
        json!({
        "metadata": {"name": "e", "namespace": "default"}, "involvedObject": about, "type": "Warning",
        "reason": "SnapshotDeleteError", "message": "Failed to delete snapshot", "count": 7,
        "source": {"component": "csi-snapshotter rbd"}, "reportingComponent": "", "eventTime": null,
        "firstTimestamp": "2026-11-22T10:00:00Z", "lastTimestamp": "2026-11-22T11:00:00Z"})
    );
    assert_eq!((old.about, old.count, old.warning), (Key::cluster("snapcontent-1"), 7, true));
    assert_eq!(
        (&*old.component, old.last.unwrap().to_string().as_str()),
        ("csi-snapshotter rbd", "2026-11-22T11:00:00Z")
    );
    let new: EventRecord = record!(
        ContentEvents,
        ContentEvent,
        json!({
        "metadata": {"name": "e", "namespace": "default", "creationTimestamp": "2026-11-22T09:00:00Z"},
        "involvedObject": about, "type": "Normal", "reason": "r", "source": {}, "firstTimestamp": null,
        "reportingComponent": "csi-snapshotter rbd", "eventTime": "2026-11-22T10:00:00.000001Z",
        "series": {"count": 3, "lastObservedTime": "2026-11-22T12:00:00Z"}})
    );
    assert_eq!((&*new.component, new.count, new.warning), ("csi-snapshotter rbd", 3, false));
    assert_eq!(new.last.unwrap().to_string(), "2026-11-22T12:00:00Z");
    assert_eq!(new.first.unwrap().to_string(), "2026-11-22T10:00:00.000001Z");
    // A server that does not know the selector sends everybody's.
    let other = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}});
    assert_eq!(one(Source::ContentEvents, &other), None);
}

#[test]
fn leases_groups_and_the_kinds_of_others() {
    let lease: Lease = record!(
        Leases,
        Lease,
        json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {
        "holderIdentity": "h", "leaseDurationSeconds": 137, "renewTime": "2026-11-22T10:00:00.123456Z",
        "leaseTransitions": 4}})
    );
    assert_eq!((&*lease.holder, lease.duration.unwrap().as_secs(), lease.transitions), ("h", 137, 4));
    let group = record!(
        GroupContents,
        GroupContent,
        json!({"metadata": {"name": "g", "uid": UID}, "status": {
        "volumeSnapshotHandlePairList": [{"snapshotHandle": "a", "volumeHandle": "v"}],
        "volumeSnapshotInfoList": [{"snapshotHandle": "b"}, {"snapshotHandle": "a"}]}})
    );
    let mut expected = [fingerprint("a"), fingerprint("b")];
    expected.sort_unstable();
    assert_eq!(&*group.handles, expected);
    let driver = record!(
        CsiDrivers,
        CsiDriver,
        json!({"metadata": {"name": "rbd", "annotations": {
        "csi.ceph.io/ownerref": "{\"Namespace\":\"rook-ceph\",\"Name\":\"rbd\"}"}}})
    );
    assert_eq!(driver.owner, Some(Key::namespaced("rook-ceph", "rbd")));
    let ceph = record!(
        CephClusters,
        CephCluster,
        json!({"metadata": {"name": "c", "namespace": "rook-ceph"}, "status": {
        "ceph": {"health": "HEALTH_ERR", "lastChecked": "2026-11-22T10:00:00Z", "fsid": "f"}}})
    );
    assert_eq!((ceph.health.as_deref(), ceph.checked.is_some()), (Some("HEALTH_ERR"), true));
    let sync: Replication = record!(
        ReplicationSources,
        ReplicationSource,
        json!({
        "metadata": {"name": "r", "namespace": "media", "uid": UID}, "spec": {"sourcePVC": "data", "paused": true},
        "status": {"lastSyncStartTime": "2026-11-22T10:00:00Z", "conditions": [
            {"type": "Synchronizing", "status": "False", "reason": "Error", "message": "no snapshot"}]}})
    );
    assert_eq!((sync.claim.as_deref(), sync.paused, sync.error.as_deref()), (Some("data"), true, Some("no snapshot")));
    assert!(sync.started.is_some() && sync.finished.is_none());
    let upkeep: Replication = record!(
        KopiaMaintenances,
        KopiaMaintenance,
        json!({
        "metadata": {"name": "k", "namespace": "media", "uid": UID}, "spec": {"suspend": true},
        "status": {"lastMaintenanceTime": "2026-11-22T10:00:00Z", "nextScheduledMaintenance": "2026-11-23T10:00:00Z"}})
    );
    assert!(upkeep.paused && upkeep.finished.is_some() && upkeep.next.is_some());
}

#[test]
fn equal_strings_and_secrets_of_a_source_share_memory() {
    let mut translator = Translator::new(Source::Contents);
    let text = deleting_content(&Value::Null).to_string();
    let mut read = || match translator.object(Verb::Applied, &text).unwrap().fact {
        Some(Fact::Content(Change::Applied(_, record))) => record,
        other => panic!("{other:?}"),
    };
    let (one, two) = (read(), read());
    assert!(Arc::ptr_eq(&one.driver, &two.driver));
    assert!(Arc::ptr_eq(&one.meta.finalizers, &two.meta.finalizers));
    assert!(Arc::ptr_eq(one.secret.as_ref().unwrap(), two.secret.as_ref().unwrap()));
}

// === Our own kinds ===

fn policy_object(spec: &Value) -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy",
        "metadata": {"name": "default", "uid": UID, "resourceVersion": "7", "generation": 2}, "spec": spec})
}

fn remediation() -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "Remediation",
        "metadata": {"name": "missed-event-1", "uid": UID, "resourceVersion": "8",
            "creationTimestamp": "2026-11-22T10:00:00Z", "annotations": {"volwarden.dev/approved": "0123abcd"}},
        "spec": {"class": "MissedEvent", "driver": "rbd", "since": "2026-11-22T09:00:00Z",
            "subject": {"kind": "VolumeSnapshotContent", "name": "snapcontent-1", "uid": UID}}})
}

fn orphan_entry() -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "OrphanedSnapshot",
        "metadata": {"name": "orphan-1", "uid": UID, "resourceVersion": "9"},
        "spec": {"driver": "rbd", "snapshotHandle": "0001-h", "deletionPolicy": "Delete", "reason": "gone",
            "origin": {"content": {"name": "snapcontent-1", "uid": "c-1"}}}})
}

#[test]
fn our_own_kinds_become_facts() {
    let policy = record!(Policies, Policy, policy_object(&json!({"mode": "Approve"})));
    assert_eq!((&**policy.name(), policy.mode().as_str(), policy.told().generation), ("default", "Approve", 2));
    let record = record!(Remediations, Remediation, remediation());
    assert_eq!((record.class.as_str(), &*record.version), ("MissedEvent", "8"));
    assert_eq!(record.approved.unwrap().as_str(), "0123abcd");
    let left = record!(Orphans, Orphan, orphan_entry());
    assert_eq!((left.print, left.content), (fingerprint("0001-h"), Uid::parse("c-1")));
}

#[test]
fn an_unreadable_policy_observes_and_an_unreadable_entry_is_told_to_be_there() {
    let policy = record!(Policies, Policy, policy_object(&json!({"mode": "Enforce", "limit": 1})));
    assert_eq!(policy.mode().as_str(), "Observe");
    assert!(policy.problems()[0].contains("spec.limit"), "{:?}", policy.problems());
    let unreadable = |source, object: &Value| {
        let line = json!({"type": "MODIFIED", "object": object}).to_string();
        facts(&mut Translator::new(source), &line).unwrap()
    };
    let mut entry = remediation();
    entry["spec"]["class"] = json!("Bewitched");
    let told = Fact::Source(Source::Remediations, SourceChange::Unreadable(Key::cluster("missed-event-1")));
    assert_eq!(unreadable(Source::Remediations, &entry), [told]);
    let why = Translator::new(Source::Remediations).object(Verb::Applied, &entry.to_string()).unwrap_err().to_string();
    assert_eq!(why, "missed-event-1: spec.class: `Bewitched` is not known to this version");
    let mut entry = orphan_entry();
    entry["spec"].as_object_mut().unwrap().remove("snapshotHandle");
    let told = Fact::Source(Source::Orphans, SourceChange::Unreadable(Key::cluster("orphan-1")));
    assert_eq!(unreadable(Source::Orphans, &entry), [told]);
}

#[test]
fn a_withdrawn_orphan_is_none() {
    let mut entry = orphan_entry();
    entry["status"] = json!({"phase": "Withdrawn"});
    assert_eq!(one(Source::Orphans, &entry), Some(Fact::gone(Source::Orphans, Key::cluster("orphan-1"))));
}
