//! VolumeSnapshots: the nudge and R5; and orphans that are imported again.

use serde_json::{Value, json};

use super::{Table, annotate, mark, nudge};
use crate::Ask;
use crate::shapes::{BEING_DELETED, BOUND, CONTENTS, PROVISIONER, SNAPSHOT_BOUND};

/// Makes an object something else.
type Edit<'a> = &'a dyn Fn(&mut Value);

/// The nudge of a VolumeSnapshot, and R5.
pub(super) fn snapshots(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-snapshots";
    let alive = server.snapshot("default", "alive", &[SNAPSHOT_BOUND, PROVISIONER], false);
    let orphan = server.snapshot("default", "orphan", &[PROVISIONER], true);
    let waiting = server.snapshot("default", "waiting", &[SNAPSHOT_BOUND, PROVISIONER], true);
    let ignored = server.snapshot("ignored", "orphan", &[PROVISIONER], true);
    table.allow("nudge a live VolumeSnapshot", nudge(&alive));
    table.allow("nudge one being deleted", nudge(&waiting));
    table.allow("free one of csi-provisioner's finalizer", table.removal(&orphan, 0));
    table.allow("free one of it beside another", table.removal(&waiting, 1));

    table.refuse("free one of snapshot-controller's", policy, "but csi-provisioner's", table.removal(&waiting, 0));
    let all = Ask::json_patch(&waiting, json!([{"op": "remove", "path": "/metadata/finalizers"}]));
    table.refuse("remove the whole list", policy, "but csi-provisioner's", all);
    let twofold = json!({"metadata": {"finalizers": null, "annotations": {"volwarden.dev/nudge": "x"}}});
    table.refuse("free and nudge in one write", policy, "changes nothing else", Ask::merge(&orphan, twofold));
    let more = json!({"metadata": {"finalizers": [SNAPSHOT_BOUND, PROVISIONER, "volwarden.dev/mine"]}});
    table.refuse("add a finalizer", policy, "adds no finalizer", Ask::merge(&alive, more));
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "o-1"}]);
    table.refuse(
        "give it an owner",
        policy,
        "no spec, no label",
        Ask::merge(&alive, json!({"metadata": {"ownerReferences": owner}})),
    );
    table.refuse("free a live one", policy, "being deleted", table.removal(&alive, 1));
    table.refuse("free one in an ignored namespace", policy, "in a namespace annotated", table.removal(&ignored, 0));
    table.refuse("nudge one in an ignored namespace", policy, "in a namespace annotated", nudge(&ignored));
    table.refuse("annotate one", policy, "adds no annotation", annotate(&alive, "volwarden.dev/ignore", ""));
    table.refuse("mark one", policy, "adds no annotation", mark(&waiting));
    let label = json!({"metadata": {"labels": {"volwarden.dev/reclaims": "x"}}});
    let waiting_long = server.snapshot("default", "waiting-long", &[SNAPSHOT_BOUND], true);
    server.must(&annotate(&waiting_long, "team", "a"));
    server.must(&annotate(&waiting_long, "volwarden.dev/nudge", "2026-11-25T09:00:00Z"));
    table.allow("nudge one again, beside a user's annotation", nudge(&waiting_long));
    let words = "no annotation but volwarden.dev/nudge";
    table.refuse("change a user's annotation", policy, words, annotate(&waiting_long, "team", "b"));
    let without = json!({"metadata": {"annotations": {"team": null}}});
    table.refuse("take a user's annotation away", policy, words, Ask::merge(&waiting_long, without));
    let without = json!({"metadata": {"annotations": {"volwarden.dev/nudge": null}}});
    table.refuse("take the nudge away", policy, words, Ask::merge(&waiting_long, without));
    let left = server.snapshot("default", "left-alone", &[], false);
    server.must(&annotate(&left, "volwarden.dev/ignore", ""));
    table.refuse("nudge one to be ignored", policy, "what is annotated", nudge(&left));
    table.refuse("label one as its own", policy, "no spec, no label", Ask::merge(&alive, label));
    let spec = json!({"spec": {"volumeSnapshotClassName": "slow"}});
    table.refuse("change one's spec", policy, "no spec, no label", Ask::merge(&alive, spec));
    table.refuse("delete a user's", policy, "but those it made", table.deletion(&alive));
    let (collection, _) = alive.rsplit_once('/').unwrap();
    table.refuse("delete all", "", "", Ask::delete(collection, Value::Null));
    let status = Ask::merge(&format!("{alive}/status"), json!({"status": {"readyToUse": true}}));
    table.refuse("write one's status", "volwarden-scope", "no business", status);
}

/// An orphan imported again, so that its driver deletes it.
pub(super) fn reclaim(table: &mut Table<'_>) {
    let server = table.server;
    let snapshots =
        |namespace: &str| format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots");
    let content = |edit: Edit<'_>| {
        let mut object = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": "reclaim", "labels": {"volwarden.dev/reclaims": "orphan-1"},
                "annotations": {
                    "snapshot.storage.kubernetes.io/deletion-secret-name": "s",
                    "snapshot.storage.kubernetes.io/deletion-secret-namespace": "rook-ceph",
                },
            },
            "spec": {
                "driver": "csi.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "snap-1"},
                "volumeSnapshotRef": {"namespace": "volwarden-system", "name": "reclaim"},
            },
        });
        edit(&mut object);
        Ask::create(CONTENTS, object)
    };
    let snapshot = |namespace: &str, edit: Edit<'_>| {
        let mut object = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "reclaim", "labels": {"volwarden.dev/reclaims": "orphan-1"}},
            "spec": {"source": {"volumeSnapshotContentName": "reclaim"}},
        });
        edit(&mut object);
        Ask::create(&snapshots(namespace), object)
    };
    table.allow("import an orphan's content", content(&|_| ()));
    table.allow("import its VolumeSnapshot", snapshot("volwarden-system", &|_| ()).renamed("reclaim-2"));

    let no_label = |object: &mut Value| object["metadata"]["labels"] = json!({});
    let contents: [(_, Edit<'_>); 6] = [
        ("create a content without our label", &no_label),
        ("create a dynamic content", &|object| object["spec"]["source"] = json!({"volumeHandle": "vol-1"})),
        ("create one under Retain", &|object| object["spec"]["deletionPolicy"] = json!("Retain")),
        ("create one for a user's VolumeSnapshot", &|object| {
            object["spec"]["volumeSnapshotRef"]["namespace"] = json!("default");
        }),
        ("create one with a finalizer", &|object| object["metadata"]["finalizers"] = json!([BOUND])),
        ("create one already marked", &|object| object["metadata"]["annotations"][BEING_DELETED] = json!("yes")),
    ];
    for (about, edit) in contents {
        table.refuse(about, "volwarden-contents", "creates a content only to reclaim", content(edit));
    }
    let words = "creates a VolumeSnapshot only to reclaim";
    table.refuse("create one elsewhere", "volwarden-snapshots", words, snapshot("default", &|_| ()));
    table.refuse("create one without label", "volwarden-snapshots", words, snapshot("volwarden-system", &no_label));
    let of_claim = snapshot("volwarden-system", &|object| {
        object["spec"]["source"] = json!({"persistentVolumeClaimName": "data"});
    });
    table.refuse("take a snapshot", "volwarden-snapshots", words, of_claim);
    let held = snapshot("volwarden-system", &|object| object["metadata"]["finalizers"] = json!([SNAPSHOT_BOUND]));
    table.refuse("create one with a finalizer", "volwarden-snapshots", words, held);

    server.must(&snapshot("volwarden-system", &|_| ()));
    let ours = format!("{}/reclaim", snapshots("volwarden-system"));
    table.allow("delete the imported VolumeSnapshot", table.deletion(&ours));
    let (uid, _) = server.identity(&ours);
    table.allow("delete it by its uid alone", Ask::delete(&ours, json!({"preconditions": {"uid": uid}})));
    let another = server.snapshot("volwarden-system", "users", &[], false);
    let words = "but those it made";
    table.refuse("delete another beside it", "volwarden-snapshots", words, table.deletion(&another));
    let label = json!({"metadata": {"labels": {"volwarden.dev/reclaims": "x"}}});
    let labelled = server.snapshot("volwarden-system", "labelled", &[], false);
    server.must(&Ask::merge(&labelled, label));
    table.refuse("delete one that was taken of a claim", "volwarden-snapshots", words, table.deletion(&labelled));
    server.must(&snapshot("volwarden-system", &no_label).renamed("imported"));
    let imported = format!("{}/imported", snapshots("volwarden-system"));
    table.refuse("delete what somebody else imported", "volwarden-snapshots", words, table.deletion(&imported));
    server.must(&snapshot("default", &|_| ()));
    let copied = format!("{}/reclaim", snapshots("default"));
    table.refuse("delete a copy elsewhere", "volwarden-snapshots", words, table.deletion(&copied));
}

/// What a SnapshotRetention lets go: good ones that nobody marked, by uid and version.
pub(super) fn prunes(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-snapshots";
    let good = |name: &str, metadata: Value, status: Value| {
        let path = server.snapshot("default", name, &[SNAPSHOT_BOUND], false);
        let mut filled = json!({
            "readyToUse": true, "creationTime": "2026-11-20T00:00:00Z", "boundVolumeSnapshotContentName": "c",
        });
        for (key, value) in status.as_object().unwrap() {
            filled[key] = value.clone();
        }
        server.must(&Ask::merge(&format!("{path}/status"), json!({"status": filled})));
        if !metadata.is_null() {
            server.must(&Ask::merge(&path, json!({"metadata": metadata})));
        }
        path
    };
    let plain = good("prune", Value::Null, json!({}));
    table.allow("prune a good one", table.deletion(&plain));
    let owner = |kind: &str, controller: bool| {
        let owner = json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "o-1", "controller": controller});
        json!({"ownerReferences": [owner]})
    };
    for (about, name, metadata) in [
        ("prune one with an owner that is no controller", "prune-owned", owner("ConfigMap", false)),
        ("prune one of VolSync's", "prune-volsync", owner("ReplicationSource", true)),
    ] {
        let path = good(name, metadata, json!({}));
        table.allow(about, table.deletion(&path));
    }
    let status = |key: &str, value: Value| (Value::Null, json!({(key): value}));
    let labelled = |key: &str| (json!({"labels": {(key): "x"}}), json!({}));
    let noted = |key: &str| (json!({"annotations": {(key): "x"}}), json!({}));
    for (about, name, (metadata, status), words) in [
        ("prune one that is not ready", "unready", status("readyToUse", json!(false)), "but those it made"),
        ("prune one without a time", "timeless", status("creationTime", Value::Null), "but those it made"),
        (
            "prune one without a content",
            "unbound",
            status("boundVolumeSnapshotContentName", Value::Null),
            "but those it made",
        ),
        ("prune one labelled keep", "keep-1", labelled("volwarden.dev/keep"), "to be kept"),
        ("prune one annotated keep", "keep-2", noted("volwarden.dev/keep"), "to be kept"),
        ("prune one of VolSync's not to be deleted", "keep-3", labelled("volsync.backube/do-not-delete"), "to be kept"),
        ("prune one that reclaims elsewhere", "keep-4", labelled("volwarden.dev/reclaims"), "to be kept"),
        ("prune one of a controller", "owned", (owner("Cluster", true), json!({})), "of a controller"),
        ("prune a member of a group", "member", status("volumeGroupSnapshotName", json!("g")), "no member of a group"),
        ("prune one to be ignored", "prune-ignored", noted("volwarden.dev/ignore"), "what is annotated"),
    ] {
        let path = good(name, metadata, status);
        table.refuse(about, policy, words, table.deletion(&path));
    }
    let (metadata, group) = status("volumeGroupSnapshotName", json!("g"));
    let member = good("member-to-nudge", metadata, group);
    table.allow("nudge a member of a group", nudge(&member));
    let (uid, version) = server.identity(&plain);
    for (about, preconditions) in [
        ("prune whatever is there now", json!({})),
        ("prune whatever has this uid", json!({"uid": uid})),
        ("prune whatever has this version", json!({"resourceVersion": version})),
    ] {
        let ask = Ask::delete(&plain, json!({"preconditions": preconditions}));
        table.refuse(about, policy, "the very object", ask);
    }
    let ignored = server.snapshot("ignored", "prune", &[], false);
    let status = json!({
        "readyToUse": true, "creationTime": "2026-11-20T00:00:00Z", "boundVolumeSnapshotContentName": "c",
    });
    server.must(&Ask::merge(&format!("{ignored}/status"), json!({"status": status})));
    table.refuse("prune in an ignored namespace", policy, "in a namespace annotated", table.deletion(&ignored));
}

/// Failed ones: of which nothing came.
pub(super) fn failed(table: &mut Table<'_>) {
    let server = table.server;
    let bad = |name: &str, status: Value| {
        let path = server.snapshot("default", name, &[], false);
        let mut filled = json!({"readyToUse": false, "error": {"message": "Failed to create snapshot"}});
        filled.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        server.must(&Ask::merge(&format!("{path}/status"), json!({"status": filled})));
        path
    };
    let plain = bad("failed", json!({}));
    table.allow("delete a failed one", table.deletion(&plain));
    for (about, name, status) in [
        ("delete one that has not failed", "failed-not", json!({"error": null})),
        ("delete one that failed and is ready", "failed-ready", json!({"readyToUse": true})),
        ("delete one that has a time", "failed-time", json!({"creationTime": "2026-11-20T00:00:00Z"})),
        ("delete one that has a size", "failed-size", json!({"restoreSize": "1Gi"})),
    ] {
        let path = bad(name, status);
        table.refuse(about, "volwarden-snapshots", "but those it made", table.deletion(&path));
    }
    let (uid, _) = server.identity(&plain);
    let ask = Ask::delete(&plain, json!({"preconditions": {"uid": uid}}));
    table.refuse("delete a failed one by its uid alone", "volwarden-snapshots", "the very object", ask);
}
