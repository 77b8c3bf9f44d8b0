//! `volwarden orphans`, with controllers that do to the import what the real ones do.

use std::time::Duration;

use volwarden::sim::http::Shared;
use volwarden::sim::store::Store;

use super::*;

const NAMESPACE: &str = "kube-system";
const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
const VS_BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
const MARK: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

fn left(name: &str, handle: &str, phase: &str) -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "OrphanedSnapshot", "metadata": {"name": name},
        "spec": {"driver": DRIVER, "snapshotHandle": handle, "deletionPolicy": "Delete", "reason": "its driver was gone",
            "volumeSnapshotClassName": "gone", "deletionSecret": {"name": "secret", "namespace": "rook"},
            "origin": {"content": {"name": "snapcontent-1", "uid": "u-1"}}},
        "status": {"phase": phase}})
}

async fn with_orphan(phase: &str) -> Embedded {
    let embedded = cluster().await;
    driver(&embedded);
    make(&embedded, table::ORPHANS, &left("orphan-1", "h-1", phase));
    embedded
}

/// What the controllers of a cluster do in one go; `None` where there is nothing to do.
fn control(store: &mut Store, at: Timestamp, confirms: bool) -> Option<()> {
    let writer = Writer { name: "snapshot-controller", at };
    let get = |store: &mut Store, resource, namespace: &str| {
        store.get(resource, namespace, "reclaim-orphan-1").ok().map(|object| (*object).clone())
    };
    let snapshot = get(store, table::SNAPSHOTS, NAMESPACE);
    let content = get(store, table::CONTENTS, "");
    let mut patch = |resource, namespace: &str, part, value| {
        store.patch(writer, resource, namespace, "reclaim-orphan-1", part, &Patch::Merge(value)).unwrap();
    };
    let (content, snapshot) = match (content, snapshot) {
        (None, Some(snapshot)) if snapshot.pointer("/metadata/deletionTimestamp").is_some() => {
            patch(table::SNAPSHOTS, NAMESPACE, Part::Object, json!({"metadata": {"finalizers": null}}));
            return Some(());
        }
        (Some(content), snapshot) => (content, snapshot),
        _ => return None,
    };
    if content.pointer("/metadata/deletionTimestamp").is_some() {
        if confirms {
            let empty = json!({"status": {"snapshotHandle": null, "readyToUse": null}});
            patch(table::CONTENTS, "", Part::Status, empty);
        }
        patch(table::CONTENTS, "", Part::Object, json!({"metadata": {"finalizers": null}}));
        return Some(());
    }
    let snapshot = snapshot?;
    if snapshot.pointer("/metadata/deletionTimestamp").is_some() {
        patch(table::CONTENTS, "", Part::Object, json!({"metadata": {"annotations": {MARK: "yes"}}}));
        store.delete(writer, table::CONTENTS, "", "reclaim-orphan-1", &DeleteOptions::default()).unwrap();
        return Some(());
    }
    content.pointer("/spec/volumeSnapshotRef/uid").is_none().then(|| {
        let (uid, handle) = (&snapshot["metadata"]["uid"], &content["spec"]["source"]["snapshotHandle"]);
        let bound = json!({"metadata": {"finalizers": [BOUND]}, "spec": {"volumeSnapshotRef": {"uid": uid}}});
        patch(table::CONTENTS, "", Part::Object, bound);
        patch(table::CONTENTS, "", Part::Status, json!({"status": {"snapshotHandle": handle, "readyToUse": true}}));
        let held = json!({"metadata": {"finalizers": [AS_SOURCE, VS_BOUND]}});
        patch(table::SNAPSHOTS, NAMESPACE, Part::Object, held);
    })
}

/// Controllers that work until they are stopped.
fn controllers(embedded: &Embedded, confirms: bool) -> tokio::task::JoinHandle<()> {
    let shared: Shared<sim::Still> = embedded.shared.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(30)).await;
            shared.with(|host| control(&mut host.store, host.now, confirms));
        }
    })
}

fn phase(embedded: &Embedded) -> Value {
    stands(embedded, table::ORPHANS, "", "orphan-1").unwrap()["status"]["phase"].clone()
}

async fn reclaim(embedded: &Embedded, words: &[&str]) -> Said {
    volwarden(embedded, &[&["orphans", "reclaim", "orphan-1", "--namespace", NAMESPACE], words].concat()).await
}

#[tokio::test]
async fn an_orphan_is_imported_as_the_fence_wants_it_and_the_driver_deletes_it() {
    let embedded = with_orphan("Orphaned").await;
    let before = reclaim(&embedded, &["--timeout", "3s"]).await;
    before.refused(&[
        "was not bound in time",
        "has not bound the two yet",
        "kubectl delete volumesnapshot -n kube-system",
    ]);
    assert_eq!(phase(&embedded), "Reclaiming");
    let content = stands(&embedded, table::CONTENTS, "", "reclaim-orphan-1").unwrap();
    assert_eq!(content["metadata"]["labels"], json!({"volwarden.dev/reclaims": "orphan-1"}));
    assert_eq!(
        content["metadata"]["annotations"],
        json!({"snapshot.storage.kubernetes.io/deletion-secret-name": "secret",
            "snapshot.storage.kubernetes.io/deletion-secret-namespace": "rook"})
    );
    assert_eq!(content["metadata"].get("finalizers"), None);
    assert_eq!(
        content["spec"],
        json!({"driver": DRIVER, "deletionPolicy": "Delete", "source": {"snapshotHandle": "h-1"},
            "volumeSnapshotRef": {"namespace": NAMESPACE, "name": "reclaim-orphan-1"}}),
        "and no class: there is none of that name any more"
    );
    let snapshot = stands(&embedded, table::SNAPSHOTS, NAMESPACE, "reclaim-orphan-1").unwrap();
    assert_eq!(snapshot["spec"], json!({"source": {"volumeSnapshotContentName": "reclaim-orphan-1"}}));
    assert_eq!(snapshot["metadata"]["labels"], json!({"volwarden.dev/reclaims": "orphan-1"}));

    let working = controllers(&embedded, true);
    let said = reclaim(&embedded, &[]).await;
    working.abort();
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(
        said.out.contains("The driver answered OK to its deletion.") && !said.out.contains("freed it"),
        "{}",
        said.out
    );
    assert_eq!(phase(&embedded), "Reclaimed");
    assert_eq!(stands(&embedded, table::CONTENTS, "", "reclaim-orphan-1"), None);
    reclaim(&embedded, &[]).await.refused(&["is reclaimed already"]);
    embedded.stop().await;
}

#[tokio::test]
async fn an_interrupted_call_goes_on_where_it_ended() {
    let embedded = with_orphan("Orphaned").await;
    reclaim(&embedded, &["--timeout", "2s"]).await.refused(&["was not bound in time"]);
    // Bound, its VolumeSnapshot deleted, its content going: the second call finds it so.
    embedded.shared.with(|host| {
        assert!(control(&mut host.store, host.now, true).is_some());
        let writer = Writer { name: "kubectl", at: host.now };
        host.store.delete(writer, table::SNAPSHOTS, NAMESPACE, "reclaim-orphan-1", &DeleteOptions::default()).unwrap();
        assert!(control(&mut host.store, host.now, true).is_some());
    });
    let going = stands(&embedded, table::CONTENTS, "", "reclaim-orphan-1").unwrap();
    assert!(going.pointer("/metadata/deletionTimestamp").is_some());
    let shared = embedded.shared.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        while shared.with(|host| control(&mut host.store, host.now, true)).is_some() {}
    });
    let said = reclaim(&embedded, &[]).await;
    later.await.unwrap();
    assert_eq!((said.code, phase(&embedded)), (0, json!("Reclaimed")), "{}{}", said.out, said.err);
    embedded.stop().await;
}

#[tokio::test]
async fn that_the_driver_answered_is_said_only_if_it_was_seen() {
    let embedded = with_orphan("Orphaned").await;
    let working = controllers(&embedded, false);
    let said = reclaim(&embedded, &[]).await;
    working.abort();
    said.refused(&["is gone, and that the driver answered OK was not seen"]);
    assert_eq!(phase(&embedded), "Orphaned");
    embedded.stop().await;
}

#[tokio::test]
async fn a_handle_that_stands_anywhere_else_is_refused_and_nothing_is_made() {
    let embedded = with_orphan("Orphaned").await;
    let mut by_status = content("other");
    by_status["status"]["snapshotHandle"] = json!("h-1");
    let mut by_source = content("imported");
    by_source["spec"]["source"] = json!({"snapshotHandle": "h-1"});
    by_source["status"] = json!({});
    let group =
        json!({"metadata": {"name": "group"}, "status": {"volumeSnapshotInfoList": [{"snapshotHandle": "h-1"}]}});
    let rows: [(&'static Resource, Value, &str); 4] = [
        (table::GROUP_CONTENTS, group, "VolumeGroupSnapshotContent group"),
        (table::CONTENTS, by_status, "VolumeSnapshotContent other"),
        (table::CONTENTS, by_source, "VolumeSnapshotContent imported"),
        (table::ORPHANS, left("orphan-2", "h-1", "Orphaned"), "OrphanedSnapshot orphan-2"),
    ];
    for (resource, object, words) in rows {
        make(&embedded, resource, &object);
        let before = stands(&embedded, table::ORPHANS, "", "orphan-1");
        reclaim(&embedded, &[]).await.refused(&["h-1", words, "deleting it would delete theirs"]);
        assert_eq!(stands(&embedded, table::ORPHANS, "", "orphan-1"), before);
        assert_eq!(stands(&embedded, table::CONTENTS, "", "reclaim-orphan-1"), None);
        embedded.shared.with(|host| {
            let writer = Writer { name: "kubectl", at: host.now };
            let name = object["metadata"]["name"].as_str().unwrap();
            let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            host.store.patch(writer, resource, "", name, Part::Object, &free).unwrap();
            host.store.delete(writer, resource, "", name, &DeleteOptions::default()).unwrap();
        });
    }
    // One that is reclaimed has let go of it; another handle is nobody's business.
    make(&embedded, table::ORPHANS, &left("orphan-3", "h-1", "Reclaimed"));
    make(&embedded, table::CONTENTS, &content("unrelated"));
    let working = controllers(&embedded, true);
    assert_eq!(reclaim(&embedded, &[]).await.code, 0);
    working.abort();
    embedded.stop().await;
}

#[tokio::test]
async fn nobody_is_asked_who_is_not_there_and_nothing_foreign_is_used() {
    let embedded = cluster().await;
    make(&embedded, table::ORPHANS, &left("orphan-1", "h-1", "Orphaned"));
    reclaim(&embedded, &[]).await.refused(&[DRIVER, "only"]);
    assert_eq!(phase(&embedded), "Orphaned");
    embedded.stop().await;

    let embedded = with_orphan("Withdrawn").await;
    reclaim(&embedded, &[]).await.refused(&["was withdrawn"]);
    volwarden(&embedded, &["orphans", "reclaim", "x"]).await.refused(&["there is no OrphanedSnapshot x"]);
    embedded.stop().await;

    let embedded = with_orphan("Orphaned").await;
    let said = volwarden(&embedded, &["orphans", "reclaim", "orphan-1"]).await;
    said.refused(&["volwarden-system", "--namespace"]);
    let mut foreign = content("reclaim-orphan-1");
    foreign["metadata"]["labels"] = json!({"volwarden.dev/reclaims": "orphan-9"});
    embedded.shared.with(|host| {
        let writer = Writer { name: "kubectl", at: host.now };
        let _ = host.store.delete(writer, table::CONTENTS, "", "reclaim-orphan-1", &DeleteOptions::default());
    });
    make(&embedded, table::CONTENTS, &foreign);
    reclaim(&embedded, &[]).await.refused(&["is there already and was not made for this orphan"]);
    embedded.stop().await;
}

#[tokio::test]
async fn what_is_left_behind_is_listed() {
    let embedded = with_orphan("Orphaned").await;
    make(&embedded, table::ORPHANS, &left("orphan-2", "h-2", "Reclaimed"));
    let said = volwarden(&embedded, &["orphans", "list"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("Orphaned  orphan-1  60m\n") && !said.out.contains("orphan-2"), "{}", said.out);
    assert!(
        said.out.ends_with("1 snapshot is left behind. volwarden orphans reclaim NAME lets its driver delete it.\n")
    );
    let json = volwarden(&embedded, &["orphans", "list", "--all", "-o", "json"]).await.json();
    assert_eq!((&json[1]["name"], &json[1]["phase"]), (&json!("orphan-2"), &json!("Reclaimed")));
    embedded.shared.with(|host| host.store.uninstall(table::OUR_GROUP));
    volwarden(&embedded, &["orphans", "list"]).await.refused(&["orphanedsnapshots.volwarden.dev is not installed"]);
    embedded.stop().await;
}
