use serde_json::{Value, json};

use super::*;
use crate::io::tests::{Asked, Told, ok, refused, server};

fn content(name: &str, uid: &str, handle: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"driver": "d", "deletionPolicy": "Delete", "source": {"volumeHandle": "v-1"},
                 "volumeSnapshotRef": {"namespace": "app", "name": "s", "uid": uid}},
        "status": {"snapshotHandle": handle, "restoreSize": 1_073_741_824, "creationTime": 1_764_000_000_000_000_000_u64},
    })
}

fn snapshot(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "metadata": {"name": "s", "namespace": "app", "uid": "u-1", "resourceVersion": "7",
                     "finalizers": FINALIZERS[1..3], "labels": {"tier": "db"}, "annotations": {}},
        "spec": {"source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "fast"},
        "status": {"boundVolumeSnapshotContentName": "c-1", "creationTime": "2026-11-20T00:00:00Z", "readyToUse": true},
    });
    change(&mut object);
    object
}

fn made(contents: &[Value], snapshot: &Value) -> Cut {
    let mut maker = Assembly::default();
    for content in contents {
        maker.content(&content.to_string()).unwrap();
    }
    maker.find_shared();
    maker.snapshot(&snapshot.to_string()).unwrap();
    maker.field.cuts.pop().unwrap()
}

fn cut(change: impl FnOnce(&mut Value)) -> Cut {
    made(&[content("c-1", "u-1", "h-1")], &snapshot(change))
}

#[test]
fn a_plain_snapshot_has_no_mark_but_its_health() {
    let plain = cut(|_| ());
    assert_eq!(plain.marks, Marks { ready: true, bound: true, deletes: true, ..Marks::default() });
    assert_eq!((plain.driver.as_deref(), plain.claim.as_deref(), plain.size), (Some("d"), Some("data"), 1 << 30));
    assert_eq!((&*plain.content(), &*plain.version), ("c-1", "7"));
    assert_eq!(plain.taken.unwrap().timestamp().to_string(), "2026-11-20T00:00:00Z");
    assert!(plain.volume.is_some());
}

#[test]
fn each_mark_is_read_where_it_stands() {
    type Mark = (&'static str, Value, fn(&Marks) -> bool);
    let marks: [Mark; 13] = [
        ("/metadata/deletionTimestamp", json!("2026-11-21T00:00:00Z"), |marks| marks.deleting),
        ("/metadata/annotations", json!({"volwarden.dev/ignore": ""}), |marks| marks.ignored),
        ("/metadata/annotations", json!({"volwarden.dev/keep": ""}), |marks| marks.keep),
        ("/metadata/labels", json!({"volwarden.dev/keep": "yes"}), |marks| marks.keep),
        ("/metadata/labels", json!({"volsync.backube/do-not-delete": ""}), |marks| marks.do_not_delete),
        ("/metadata/labels", json!({"volwarden.dev/reclaims": "o"}), |marks| marks.reclaims),
        ("/metadata/annotations", json!({"volwarden.dev/prune-last": "u-1"}), |marks| marks.prune_last),
        ("/metadata/annotations", json!({"volwarden.dev/prune-last": "u-2"}), |marks| !marks.prune_last),
        ("/metadata/labels", json!({"volsync.backube/volpop-pvc-1": "x"}), |marks| marks.as_source),
        ("/metadata/finalizers", json!([IN_USE]), |marks| marks.as_source && !marks.foreign_finalizer),
        ("/metadata/finalizers", json!(["example.com/mine"]), |marks| marks.foreign_finalizer),
        ("/status/readyToUse", json!(false), |marks| !marks.ready),
        ("/status/error", json!({"message": "x"}), |marks| !marks.ready),
    ];
    for (place, value, wanted) in marks {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let found = cut(|object| object.pointer_mut(parent).unwrap()[field] = value.clone());
        assert!(wanted(&found.marks), "{place} {value}: {:?}", found.marks);
    }
}

#[test]
fn a_content_has_to_be_there_alive_and_this_one_s() {
    let plain = snapshot(|_| ());
    let one = || content("c-1", "u-1", "h-1");
    assert!(!made(&[], &plain).marks.bound);
    assert!(!made(&[content("c-1", "u-2", "h-1")], &plain).marks.bound, "another's");
    let mut dying = one();
    dying["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    assert!(!made(&[dying], &plain).marks.bound);
    let mut kept = one();
    kept["spec"]["deletionPolicy"] = json!("Retain");
    assert!(!made(&[kept], &plain).marks.deletes);
    assert!(made(&[one(), content("c-2", "u-9", "h-1")], &plain).marks.shared);
    assert!(!made(&[one(), content("c-2", "u-9", "h-2")], &plain).marks.shared);
    let mut grouped = one();
    grouped["metadata"]["annotations"] = json!({"groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle": "g"});
    assert!(made(&[grouped], &plain).extra.unwrap().group.is_some());
}

#[test]
fn owners_groups_and_makers_are_read() {
    let extra = |change: &dyn Fn(&mut Value)| cut(change).extra.unwrap();
    let owned = extra(&|object| {
        object["metadata"]["ownerReferences"] = json!([
            {"kind": "A", "name": "a", "uid": "1"}, {"kind": "B", "name": "b", "uid": "2", "controller": true},
        ]);
    });
    assert_eq!(&*owned.owner.unwrap().name, "b");
    for (version, kind) in [("volsync.backube/v1alpha1", "ReplicationSource"), ("x.io/v1", "x.io/v1 ReplicationSource")]
    {
        let one = extra(&|object| {
            object["metadata"]["ownerReferences"] = json!([
                {"apiVersion": version, "kind": "ReplicationSource", "name": "a", "uid": "1", "controller": true},
            ]);
        });
        assert_eq!(&*one.owner.unwrap().kind, kind);
    }
    assert_eq!(extra(&|object| object["status"]["volumeGroupSnapshotName"] = json!("g")).group, Some("g".into()));
    let long = "x".repeat(63);
    for (labels, maker) in [
        (json!({"velero.io/backup-name": "nightly"}), Maker::Velero(Some("nightly".into()))),
        (json!({"velero.io/backup-name": long}), Maker::Velero(None)),
        (json!({"backup.velero.io/x": "y"}), Maker::Velero(None)),
        (json!({"snapscheduler.backube/schedule": "daily"}), Maker::SnapScheduler("daily".into())),
        (json!({"kopiur.home-operations.com/repository": "r"}), Maker::Kopiur),
    ] {
        assert_eq!(extra(&|object| object["metadata"]["labels"] = labels.clone()).maker, Some(maker), "{labels}");
    }
    assert_eq!(cut(|object| object["metadata"]["labels"] = json!({"notvelero.io/x": "y"})).extra.unwrap().maker, None);
}

#[test]
fn claims_destinations_and_namespaces() {
    let mut field = Field::default();
    let pvc = |spec: Value| json!({"metadata": {"name": "p", "namespace": "app"}, "spec": spec}).to_string();
    claim(&mut field, &pvc(json!({"dataSource": {"kind": "VolumeSnapshot", "name": "a"}}))).unwrap();
    let other = json!({"dataSourceRef": {"kind": "VolumeSnapshot", "name": "b", "namespace": "other"}});
    claim(&mut field, &pvc(other)).unwrap();
    claim(&mut field, &pvc(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "c"}}))).unwrap();
    assert_eq!(field.used, [Key::namespaced("app", "a"), Key::namespaced("other", "b")].into());
    let image = json!({"metadata": {"name": "d", "namespace": "app"},
                       "status": {"latestImage": {"kind": "VolumeSnapshot", "name": "s"}}});
    destination(&mut field, &image.to_string()).unwrap();
    assert_eq!(field.latest_images, [Key::namespaced("app", "s")].into());
    let found = json!({"metadata": {"name": "app", "annotations": {"volwarden.dev/ignore": ""}, "labels": {"a": "b"}}});
    namespace(&mut field, &found.to_string()).unwrap();
    assert!(field.namespaces["app"].ignored && field.namespaces["app"].labels.len() == 1);
}

/// What a server answers otherwise than usual.
type Change = fn(&str) -> Option<Told>;

fn gone(at: &str, uri: &str) -> Option<Told> {
    uri.ends_with(at).then(|| refused(404, "NotFound"))
}

/// A server with one plain snapshot; what is installed and what is answered can be changed.
fn answering(change: Change) -> impl Fn(&Asked) -> Told {
    move |asked| {
        let uri = asked.uri.split('?').next().unwrap();
        if let Some(told) = change(uri) {
            return told;
        }
        let kinds = |names: &[&str]| {
            ok(json!({"resources": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}))
        };
        match uri {
            "/apis/snapshot.storage.k8s.io/v1" => kinds(&["volumesnapshots", "volumesnapshotcontents"]),
            "/apis/volsync.backube/v1alpha1" => kinds(&["replicationsources", "replicationdestinations"]),
            "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents" => {
                ok(json!({"items": [content("c-1", "u-1", "h-1")]}))
            }
            "/apis/snapshot.storage.k8s.io/v1/volumesnapshots" => ok(json!({"items": [snapshot(|_| ())]})),
            "/api/v1/persistentvolumeclaims" | "/api/v1/namespaces" => ok(json!({"items": []})),
            uri if uri.starts_with("/apis/volsync.backube/v1alpha1/") => ok(json!({"items": []})),
            _ => refused(404, "NotFound"),
        }
    }
}

#[tokio::test]
async fn there_is_no_plan_without_a_list_that_it_rests_on() {
    let field = gather(&server(answering(|_| None)).0).await.unwrap();
    assert_eq!((field.cuts.len(), &field.backups), (1, &Owners::Absent));
    // A 404 out of the blue, as a proxy gives it, is no empty list.
    let changes: [(&str, Change); 5] = [
        ("PersistentVolumeClaims", |uri| gone("/persistentvolumeclaims", uri)),
        ("Namespaces", |uri| gone("/namespaces", uri)),
        ("VolumeSnapshotContents", |uri| gone("/volumesnapshotcontents", uri)),
        ("ReplicationDestinations", |uri| gone("/replicationdestinations", uri)),
        ("ReplicationDestinations", |uri| match uri {
            "/apis/volsync.backube" => Some(ok(json!({}))),
            uri => gone("/apis/volsync.backube/v1alpha1", uri),
        }),
    ];
    for (what, change) in changes {
        let said = gather(&server(answering(change)).0).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("cannot list {what}: ")), "{said}");
    }
    // What is not there owns nothing; what cannot be asked about may.
    let without = gather(&server(answering(|uri| uri.contains("volsync").then(|| refused(404, "NotFound")))).0).await;
    assert_eq!(without.unwrap().replications, Owners::Absent);
    let unknown: Change = |uri| uri.starts_with("/apis/velero.io").then(|| refused(403, "Forbidden"));
    assert_eq!(gather(&server(answering(unknown)).0).await.unwrap().backups, Owners::Unknown);
}
