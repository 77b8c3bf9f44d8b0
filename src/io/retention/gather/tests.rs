use serde_json::{Value, json};

use super::*;
use crate::domain::prune::relic::{Detail, Kept, Relic, RelicMarks};
use crate::io::tests::{Asked, Told, ok, refused, server};

/// Good snapshots alone.
const NONE: BTreeSet<Part> = BTreeSet::new();

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
    let field = gather(&server(answering(|_| None)).0, &NONE).await.unwrap();
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
        let said = gather(&server(answering(change)).0, &NONE).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("cannot list {what}: ")), "{said}");
    }
    // What is not there owns nothing; what cannot be asked about may.
    let without =
        gather(&server(answering(|uri| uri.contains("volsync").then(|| refused(404, "NotFound")))).0, &NONE).await;
    assert_eq!(without.unwrap().replications, Owners::Absent);
    let unknown: Change = |uri| uri.starts_with("/apis/velero.io").then(|| refused(403, "Forbidden"));
    assert_eq!(gather(&server(answering(unknown)).0, &NONE).await.unwrap().backups, Owners::Unknown);
}

// === What is left over ===

/// A content as snapshot-controller leaves it under policy Retain when its VolumeSnapshot goes.
fn kept(change: impl FnOnce(&mut Value)) -> Value {
    let mark = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
    let mut object = content("c-1", "u-1", "h-1");
    object["spec"]["deletionPolicy"] = json!("Retain");
    object["metadata"] = json!({
        "name": "c-1", "uid": "c-uid", "resourceVersion": "9", "creationTimestamp": "2025-11-24T16:00:00Z",
        "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
        "annotations": {mark: "yes"},
        "managedFields": [
            {"manager": "snapshot-controller", "time": "2025-11-25T00:00:00Z", "fieldsV1": {
                "f:metadata": {"f:annotations": {format!("f:{mark}"): {}}}, "f:spec": {"f:source": {}},
            }},
            {"manager": "kubectl-patch", "time": "2025-11-26T00:00:00Z", "fieldsV1": {"f:spec": {"f:deletionPolicy": {}}}},
        ],
    });
    change(&mut object);
    object
}

fn relics_of(contents: &[Value], snapshots: &[Value], elsewhere: &[Value]) -> Vec<Relic> {
    let mut maker = Assembly { drafts: Some(relics::Drafts::default()), ..Assembly::default() };
    for content in contents {
        maker.content(&content.to_string()).unwrap();
    }
    for snapshot in snapshots {
        maker.snapshot(&snapshot.to_string()).unwrap();
    }
    let Assembly { mut field, drafts, .. } = maker;
    let mut drafts = drafts.unwrap();
    for object in elsewhere {
        relics::group_handles(object, &mut drafts.elsewhere);
        relics::orphan_handle(object, &mut drafts.elsewhere);
    }
    drafts.finish(&mut field);
    field.relics
}

fn details(contents: &[Value], snapshots: &[Value], elsewhere: &[Value]) -> Kept {
    let all = relics_of(contents, snapshots, elsewhere);
    match &all[0].detail {
        Detail::Content(kept) => kept.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retained_content_is_read_with_all_that_its_deletion_rests_on() {
    let all = relics_of(&[kept(|_| ())], &[], &[]);
    let relic = &all[0];
    assert_eq!((&*relic.key.name, &*relic.version, relic.driver.as_deref()), ("c-1", "9", Some("d")));
    assert_eq!(relic.marks, RelicMarks::default());
    assert_eq!(relic.since.unwrap().timestamp().to_string(), "2025-11-25T00:00:00Z", "when its snapshot went");
    let detail = details(&[kept(|_| ())], &[], &[]);
    let wanted = Kept {
        snapshot: Some((Key::namespaced("app", "s"), Uid::parse("u-1"))),
        handle: Some(fingerprint("h-1")),
        retained: true,
        marked: true,
        protected: true,
        here: true,
        last: true,
        ..Kept::default()
    };
    assert_eq!(detail, wanted);
}

#[test]
fn each_doubt_about_a_retained_content_is_read_where_it_stands() {
    type Doubt = (&'static str, Value, fn(&Kept) -> bool);
    let group = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";
    let mark = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
    let creating = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
    let doubts: [Doubt; 11] = [
        ("/metadata/annotations", json!({}), |kept| !kept.marked),
        ("/metadata/annotations", json!({mark: "yes", creating: "yes"}), |kept| kept.creating),
        ("/metadata/annotations", json!({mark: "yes", group: "g"}), |kept| kept.grouped),
        ("/status/volumeGroupSnapshotHandle", json!("g"), |kept| kept.grouped),
        ("/metadata/finalizers", json!([]), |kept| !kept.protected),
        ("/status/snapshotHandle", Value::Null, |kept| kept.handle.is_none()),
        ("/spec/source", json!({"snapshotHandle": "h-1"}), |kept| !kept.here),
        ("/spec/volumeSnapshotRef/uid", Value::Null, |kept| !kept.here),
        ("/metadata/managedFields", json!([]), |kept| !kept.here),
        ("/metadata/managedFields/0/manager", json!("velero"), |kept| !kept.here),
        ("/metadata/creationTimestamp", json!("2025-11-24T17:00:00Z"), |kept| kept.copy),
    ];
    for (place, value, wanted) in doubts {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let object = kept(|object| object.pointer_mut(parent).unwrap()[field] = value.clone());
        let detail = details(&[object], &[], &[]);
        assert!(wanted(&detail), "{place} {value}: {detail:?}");
    }
    let twin = |object: &mut Value| object["metadata"]["name"] = json!("c-2");
    assert!(details(&[kept(|_| ()), kept(twin)], &[], &[]).shared);
    let imported = json!({"metadata": {"name": "c-3"}, "spec": {"driver": "d", "source": {"snapshotHandle": "h-1"}}});
    assert!(details(&[kept(|_| ()), imported], &[], &[]).shared, "before it is bound, too");
    let alone = kept(|object| object["spec"]["source"] = json!({"snapshotHandle": "h-1"}));
    assert!(!details(&[alone], &[], &[]).shared, "an imported one has its handle in both places");
    let grouped = json!({"status": {"volumeSnapshotInfoList": [{"snapshotHandle": "h-1"}]}});
    assert!(details(&[kept(|_| ())], &[], &[grouped]).shared);
    assert!(details(&[kept(|_| ())], &[], &[json!({"spec": {"snapshotHandle": "h-1"}})]).shared);
    assert!(!details(&[kept(|_| ())], &[], &[json!({"spec": {"snapshotHandle": "h-2"}})]).shared);
}

#[test]
fn a_content_whose_snapshot_lives_is_not_left_over() {
    assert!(relics_of(&[kept(|_| ())], &[snapshot(|_| ())], &[]).is_empty());
    let other = snapshot(|object| {
        object["metadata"]["uid"] = json!("u-2");
        object["status"]["boundVolumeSnapshotContentName"] = json!("c-9");
    });
    assert!(!details(&[kept(|_| ())], std::slice::from_ref(&other), &[]).claimed, "another of that name");
    let imports = |object: &mut Value| object["spec"]["source"] = json!({"volumeSnapshotContentName": "c-1"});
    let mut claiming = other;
    imports(&mut claiming);
    assert!(details(&[kept(|_| ())], &[claiming], &[]).claimed);
    // One that is going, and one that nobody kept.
    assert!(
        relics_of(&[kept(|object| object["metadata"]["deletionTimestamp"] = json!("2025-11-26T00:00:00Z"))], &[], &[])
            .is_empty()
    );
    assert!(relics_of(&[content("c-1", "u-1", "h-1")], &[], &[]).is_empty());
    // One that an earlier run has switched.
    let switched = kept(|object| object["spec"]["deletionPolicy"] = json!("Delete"));
    assert!(!details(&[switched], &[], &[]).retained);
}

#[test]
fn what_volsync_made_for_a_while_is_told_from_what_is_kept() {
    let labels = |cleanup: &str, maker: &str| {
        let labels = json!({"app.kubernetes.io/created-by": maker, "volsync.backube/cleanup": cleanup});
        serde_json::from_value::<Texts>(labels).unwrap()
    };
    let found = |labels: &Texts, name: &str| {
        let found = relics::temporary(labels, name, "volsync-", &["-src", "-dest"], None);
        found.map(|one| (one.source.to_string(), one.owner.to_string()))
    };
    let own = labels("rs-1", "volsync");
    assert_eq!(found(&own, "volsync-data-src"), Some(("data".to_owned(), "rs-1".to_owned())));
    assert_eq!(found(&own, "volsync-a-src-dest"), Some(("a-src".to_owned(), "rs-1".to_owned())));
    for (labels, name) in [
        (&own, "data"),
        (&own, "volsync-src-data-cache"),
        (&own, "volsync--src"),
        (&labels("", "volsync"), "volsync-data-src"),
        (&labels("rs-1", "somebody"), "volsync-data-src"),
        (&Texts::new(), "volsync-data-src"),
    ] {
        assert_eq!(found(labels, name), None, "{name}");
    }
}

#[test]
fn claims_jobs_and_what_uses_them() {
    let labels = json!({"app.kubernetes.io/created-by": "volsync", "volsync.backube/cleanup": "rs-1"});
    let metadata = |name: &str| {
        json!({"name": name, "namespace": "app", "uid": name, "resourceVersion": "3", "labels": labels.clone(),
               "creationTimestamp": "2026-11-20T00:00:00Z", "finalizers": ["kubernetes.io/pvc-protection"],
               "annotations": {"volume.kubernetes.io/storage-provisioner": "d"}})
    };
    let claim = |name: &str| json!({"metadata": metadata(name), "spec": {}});
    let used = |uses: &dyn Fn(&mut relics::Uses, &mut Field)| {
        let (mut gathered, mut field) = (relics::Uses::default(), Field::default());
        gathered.claim(&claim("volsync-data-src"), &mut field);
        uses(&mut gathered, &mut field);
        gathered.finish(&mut field);
        field.relics.remove(0)
    };
    let plain = used(&|_, _| ());
    assert_eq!((plain.driver.as_deref(), plain.marks), (Some("d"), RelicMarks::default()));
    let pod = |phase: &str| {
        json!({"metadata": {"namespace": "app"}, "status": {"phase": phase},
               "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "volsync-data-src"}}]}})
    };
    assert!(used(&|uses, _| uses.pod(&pod("Pending"))).marks.used);
    assert!(!used(&|uses, _| uses.pod(&pod("Succeeded"))).marks.used);
    let clone = json!({"metadata": {"name": "x", "namespace": "app"},
                       "spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "volsync-data-src"}}});
    assert!(used(&|uses, field| uses.claim(&clone, field)).marks.used);
    let cutting = cut(|object| {
        object["spec"]["source"] = json!({"persistentVolumeClaimName": "volsync-data-src"});
        object["status"] = Value::Null;
    });
    assert!(used(&|_, field| field.cuts.push(cutting.clone())).marks.used);

    let job = |status: Value| {
        let mut field = Field::default();
        relics::job(&json!({"metadata": metadata("volsync-src-data"), "status": status}), &mut field);
        field
    };
    let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "lastTransitionTime": "2026-11-21T00:00:00Z"}]});
    for kind in ["Complete", "Failed"] {
        let field = job(condition(kind, "True"));
        assert!(field.movers.is_empty() && !field.relics[0].marks.used);
        assert_eq!(field.relics[0].since.unwrap().timestamp().to_string(), "2026-11-21T00:00:00Z");
    }
    for status in [json!({}), condition("Complete", "False"), condition("Suspended", "True")] {
        let field = job(status);
        assert_eq!(field.movers, [Key::namespaced("app", "volsync-src-data")].into());
        assert_eq!(field.moving, [Uid::parse("rs-1")].into());
        assert!(field.relics[0].marks.used);
    }
}

#[test]
fn a_failed_snapshot_is_told_from_one_that_is_being_made() {
    let failed = |contents: &[Value], change: &dyn Fn(&mut Value)| {
        let object = snapshot(|object| {
            object["metadata"]["creationTimestamp"] = json!("2026-11-20T00:00:00Z");
            object["status"] = json!({"readyToUse": false, "error": {"message": "x"}});
            change(object);
        });
        made(contents, &object).extra.and_then(|extra| extra.failed)
    };
    let bare = failed(&[], &|_| ()).unwrap();
    assert_eq!(bare.since.unwrap().timestamp().to_string(), "2026-11-20T00:00:00Z");
    assert!(bare.bare && !bare.creating && !bare.told);
    assert_eq!(failed(&[], &|object| object["status"]["readyToUse"] = json!(true)), None);
    assert_eq!(failed(&[], &|object| object["status"]["error"] = Value::Null), None);
    assert!(failed(&[], &|object| object["status"]["creationTime"] = json!("2026-11-20T00:00:00Z")).unwrap().told);
    assert!(failed(&[], &|object| object["status"]["restoreSize"] = json!("1Gi")).unwrap().told);
    // Its content is found before its status names it.
    let mut one = content("snapcontent-u-1", "u-1", "h");
    assert!(failed(std::slice::from_ref(&one), &|_| ()).unwrap().told, "it has a handle");
    one["status"] = Value::Null;
    one["metadata"]["annotations"] = json!({"snapshot.storage.kubernetes.io/volumesnapshot-being-created": "yes"});
    let creating = failed(&[one], &|_| ()).unwrap();
    assert!(creating.creating && !creating.bare && !creating.told);
}

#[tokio::test]
async fn what_a_cleanup_rests_on_has_to_be_listed_too() {
    let parts: BTreeSet<Part> = Part::CLEANUP.into();
    let usual: Change = |uri| match uri {
        "/apis/snapshot.storage.k8s.io/v1" => Some(ok(json!({"resources": [
            {"name": "volumesnapshots"}, {"name": "volumesnapshotcontents"}, {"name": "volumesnapshotclasses"},
        ]}))),
        "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses" | "/apis/batch/v1/jobs" | "/api/v1/pods" => {
            Some(ok(json!({"items": []})))
        }
        _ => None,
    };
    gather(&server(answering(usual)).0, &parts).await.unwrap();
    for (what, at) in [("VolumeSnapshotClasses", "/volumesnapshotclasses"), ("Jobs", "/jobs"), ("Pods", "/pods")] {
        let answer = answering(usual);
        let without = move |asked: &Asked| {
            let uri = asked.uri.split('?').next().unwrap();
            gone(at, uri).unwrap_or_else(|| answer(asked))
        };
        let said = gather(&server(without).0, &parts).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("cannot list {what}: ")), "{said}");
    }
}
