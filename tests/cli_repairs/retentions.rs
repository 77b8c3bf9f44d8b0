//! `approve`, `pause`, `resume` and `why` for SnapshotRetentions.

use super::*;

const ONE: &str = "0123456789abcdef0123456789abcdef";
const TWO: &str = "fedcba9876543210fedcba9876543210";

fn retention(spec: &Value, status: &Value) -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "SnapshotRetention", "metadata": {"name": "nightly"},
        "spec": spec, "status": status})
}

/// A policy of which two plans wait for an approval.
async fn waiting() -> Embedded {
    let embedded = cluster().await;
    let spec = json!({"mode": "Approve", "drivers": [DRIVER], "cleanup": {"retainedContents": {"mode": "Approve"}}});
    let status = json!({
        "plan": {"hash": ONE, "at": Timestamp::now(), "toPrune": 3, "reclaimableBytes": 0},
        "cleanup": [{"part": "RetainedContents", "toPrune": 2, "held": 0, "heldBy": [], "hash": TWO, "reclaimableBytes": 0}],
    });
    make(&embedded, table::RETENTIONS, &retention(&spec, &status));
    embedded
}

fn field(embedded: &Embedded, pointer: &str) -> Option<Value> {
    stands(embedded, table::RETENTIONS, "", "nightly")?.pointer(pointer).cloned()
}

#[tokio::test]
async fn each_plan_of_a_retention_is_approved_by_its_own_hash() {
    let embedded = waiting().await;
    let approved = "/metadata/annotations/volwarden.dev~1approved";
    volwarden(&embedded, &["approve", "sret/nightly"]).await.refused(&["2 plans", ONE, TWO]);
    volwarden(&embedded, &["approve", "sret/nightly", "--hash", "0123"]).await.refused(&["something has changed"]);
    volwarden(&embedded, &["approve", "sret/none"]).await.refused(&["there is no SnapshotRetention none"]);
    let dry = volwarden(&embedded, &["approve", "snapshotretention/nightly", "--hash", TWO, "--dry-run=server"]).await;
    assert!(dry.code == 0 && dry.out.contains("Nothing was written (dry run)."), "{}{}", dry.out, dry.err);
    assert_eq!(field(&embedded, approved), None);

    let said = volwarden(&embedded, &["approve", "snapshotretention/nightly", "--hash", TWO]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("SnapshotRetention nightly, RetainedContents\n"), "{}", said.out);
    assert!(said.out.contains("it destroys backend snapshots") && said.out.contains("(approval.validFor 60m)"));
    assert_eq!(field(&embedded, approved), Some(json!(TWO)));
    // The other one beside it.
    let said = volwarden(&embedded, &["approve", "sret/nightly", "--hash", ONE]).await;
    assert_eq!((said.code, field(&embedded, approved)), (0, Some(json!(format!("{ONE},{TWO}")))), "{}", said.err);
    let before = version(&embedded);
    let again = volwarden(&embedded, &["approve", "sret/nightly", "--hash", ONE]).await;
    assert!(again.code == 0 && again.out.ends_with("has not noticed it yet.\n"), "{}", again.out);
    assert_eq!(version(&embedded), before, "there is nothing to write");
    embedded.stop().await;
}

#[tokio::test]
async fn a_retention_is_paused_and_resumed_by_its_kind_and_name() {
    let embedded = waiting().await;
    let words = ["pause", "--reason", "upgrade of Rook", "--for", "2h"];
    volwarden(&embedded, &words).await.refused(&["no RemediationPolicy in this cluster"]);
    let said = volwarden(&embedded, &[&words[..], &["sret/nightly"]].concat()).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("SnapshotRetention nightly is paused until "), "{}", said.out);
    assert_eq!(field(&embedded, "/spec/pause/reason"), Some(json!("upgrade of Rook")));
    assert_eq!(field(&embedded, "/spec/mode"), Some(json!("Approve")), "nothing else changes");
    let said = volwarden(&embedded, &["resume", "--all"]).await;
    assert_eq!(said.out, "SnapshotRetention nightly is resumed; it was paused for: upgrade of Rook\n", "{}", said.err);
    assert_eq!(field(&embedded, "/spec/pause"), None);
    embedded.stop().await;
}

#[tokio::test]
async fn why_says_what_retention_would_do_with_a_snapshot() {
    let embedded = cluster().await;
    let snapshot = |name: &str, hours: i64, labels: Value| {
        let taken = Timestamp::now() - SignedDuration::from_hours(hours);
        make(
            &embedded,
            table::SNAPSHOTS,
            &json!({"metadata": {"namespace": "app", "name": name, "labels": labels},
                "spec": {"source": {"persistentVolumeClaimName": "data"}},
                "status": {"readyToUse": true, "creationTime": taken, "boundVolumeSnapshotContentName": format!("c-{name}")}}),
        );
        let uid = stands(&embedded, table::SNAPSHOTS, "app", name).unwrap()["metadata"]["uid"].clone();
        make(
            &embedded,
            table::CONTENTS,
            &json!({"metadata": {"name": format!("c-{name}"), "finalizers": [BOUND]},
                "spec": {"driver": DRIVER, "deletionPolicy": "Delete", "source": {"volumeHandle": "vol-1"},
                    "volumeSnapshotRef": {"namespace": "app", "name": name, "uid": uid}},
                "status": {"snapshotHandle": format!("h-{name}"), "readyToUse": true}}),
        );
    };
    make(&embedded, table::NAMESPACES, &json!({"metadata": {"name": "app"}}));
    snapshot("new", 2, json!({}));
    snapshot("marked", 50, json!({"volwarden.dev/keep": "yes"}));
    make(&embedded, table::RETENTIONS, &retention(&json!({"keep": {"latest": 1}}), &json!({})));
    let new = volwarden(&embedded, &["why", "vs", "app/new"]).await;
    assert!(new.out.contains("  prune  SnapshotRetention nightly keeps it: latest-1\n"), "{}{}", new.out, new.err);
    let marked = volwarden(&embedded, &["why", "vs", "app/marked", "-o", "json"]).await.json();
    let told = &marked["retention"][0];
    assert_eq!((&told["policy"], &told["fate"], &told["hold"]), (&json!("nightly"), &json!("Held"), &json!("Keep")));
    embedded.stop().await;
}
