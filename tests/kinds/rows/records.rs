//! Its own kinds and Events; and a few of the things that are none of its business.

use serde_json::{Value, json};

use super::{Table, annotate};
use crate::Ask;

/// Its own kinds, and Events.
pub(super) fn records(table: &mut Table<'_>) {
    let server = table.server;
    let group = "/apis/volwarden.dev/v1alpha1";
    let entry = |name: &str, annotations: Value| {
        let spec = json!({
            "class": "OrphanedContent", "since": "2026-11-25T10:00:00Z",
            "subject": {"kind": "VolumeSnapshotContent", "name": "c", "uid": "u-1"},
        });
        let metadata = json!({"name": name, "annotations": annotations});
        let object =
            json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "Remediation", "metadata": metadata, "spec": spec});
        Ask::create(&format!("{group}/remediations"), object)
    };
    table.allow("open an entry", entry("new", json!({})));
    table.refuse(
        "open an entry that is approved already",
        "volwarden-ledger",
        "does not approve its own plans",
        entry("new", json!({"volwarden.dev/approved": "0123456789abcdef"})),
    );
    for (name, phase) in [("fresh", None), ("acting", Some("Acting")), ("held", Some("Held")), ("done", Some("Done"))] {
        server.must(&entry(name, json!({})));
        if let Some(phase) = phase {
            let path = format!("{group}/remediations/{name}/status");
            server.must(&Ask::merge(&path, json!({"status": {"phase": phase}})));
        }
    }
    let path = |name: &str| format!("{group}/remediations/{name}");
    table.allow(
        "write an entry's status",
        Ask::merge(&format!("{}/status", path("fresh")), json!({"status": {"phase": "Held"}})),
    );
    table.allow("take an old entry away", table.deletion(&path("done")));
    let words = "before it is over";
    for (about, name) in [
        ("take an entry away that is being acted on", "acting"),
        ("take an entry away that is held", "held"),
        ("take an entry away that has no status", "fresh"),
    ] {
        table.refuse(about, "volwarden-ledger", words, table.deletion(&path(name)));
    }
    let approve = annotate(&path("held"), "volwarden.dev/approved", "0123456789abcdef");
    table.refuse("approve its own plan", "volwarden-scope", "no business", approve);
    let all = Ask::delete(&format!("{group}/remediations"), Value::Null);
    table.refuse("empty the ledger", "", "", all);
    let old = Ask::delete(&format!("{group}/remediations?fieldSelector=status.phase%3DDone"), Value::Null);
    table.refuse("take all old entries away at once", "volwarden-scope", "never a collection", old);

    let orphan = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "OrphanedSnapshot", "metadata": {"name": "orphan-1"},
        "spec": {
            "driver": "csi.example.com", "snapshotHandle": "snap-1", "deletionPolicy": "Delete", "reason": "gone",
            "origin": {"content": {"name": "c", "uid": "u-1"}},
        },
    });
    let orphans = format!("{group}/orphanedsnapshots");
    table.allow("record an orphan", Ask::create(&orphans, orphan.clone()).renamed("orphan-2"));
    server.must(&Ask::create(&orphans, orphan));
    let orphan = format!("{orphans}/orphan-1");
    let status = json!({"status": {"phase": "Orphaned"}});
    table.allow("write an orphan's status", Ask::merge(&format!("{orphan}/status"), status));
    table.refuse("take an orphan's record away", "volwarden-scope", "no business", table.deletion(&orphan));

    let policies = format!("{group}/remediationpolicies");
    let policy = json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy", "metadata": {"name": "p"}, "spec": {}});
    server.must(&Ask::create(&policies, policy.clone()));
    let status = json!({"status": {"observedGeneration": 1}});
    table.allow("write a policy's status", Ask::merge(&format!("{policies}/p/status"), status));
    let raise = Ask::merge(&format!("{policies}/p"), json!({"spec": {"mode": "Approve"}}));
    table.refuse("give itself another mode", "volwarden-scope", "no business", raise);
    table.refuse("make a policy", "volwarden-scope", "no business", Ask::create(&policies, policy).renamed("p2"));

    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-11-25T10:00:00.000000Z", "action": "Repair", "reason": "Repaired",
        "type": "Normal", "reportingController": "volwarden.dev/volwarden", "reportingInstance": "volwarden-0",
        "regarding": {"kind": "VolumeSnapshotContent", "name": "c"}, "note": "x",
    });
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    table.allow("publish an Event", Ask::create(events, event.clone()));
    let mut unnamed = event;
    unnamed["metadata"] = json!({"generateName": "e-"});
    table.allow("publish an Event under a name of the server's", Ask::create(events, unnamed));
}

/// Retention policies: what a run writes of itself, and nothing else.
pub(super) fn retentions(table: &mut Table<'_>) {
    let server = table.server;
    let group = "/apis/volwarden.dev/v1alpha1";
    let retentions = format!("{group}/snapshotretentions");
    let retention = json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "SnapshotRetention", "metadata": {"name": "r"}, "spec": {}});
    server.must(&Ask::create(&retentions, retention));
    let status = json!({"status": {"observedGeneration": 1}});
    table.allow("write a retention's status", Ask::merge(&format!("{retentions}/r/status"), status));
    let approve = annotate(&format!("{retentions}/r"), "volwarden.dev/approved", "0123456789abcdef");
    table.refuse("approve its own pruning", "volwarden-scope", "no business", approve);

    let repositories = format!("{group}/namespaces/backup/kopiarepositories");
    let repository = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository", "metadata": {"name": "r"},
        "spec": {"secretRef": {"name": "kopia"}},
    });
    server.must(&Ask::create(&repositories, repository));
    let status = json!({"status": {"observedGeneration": 1}});
    table.allow("write a repository's status", Ask::merge(&format!("{repositories}/r/status"), status));
    let approve = annotate(&format!("{repositories}/r"), "volwarden.dev/approved", "0123456789abcdef");
    table.refuse("make itself the owner of maintenance", "volwarden-scope", "no business", approve);
}

/// A few of all the things a service account with every right could do.
pub(super) fn everything_else(table: &mut Table<'_>) {
    let mut refuse = |about, ask| table.refuse(about, "volwarden-scope", "no business", ask);
    let named = |path: &str| Ask::create(path, json!({"metadata": {"name": "x"}}));
    refuse("make a secret", named("/api/v1/namespaces/default/secrets"));
    refuse("make a namespace", named("/api/v1/namespaces"));
    refuse("delete a namespace", Ask::delete("/api/v1/namespaces/rook-ceph", Value::Null));
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/everything-else";
    let binding = json!({
        "metadata": {"name": "everything-else"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    });
    refuse("give rights away", Ask::create(role.trim_end_matches("/everything-else"), binding));
    let scale = json!({"spec": {"replicas": 0}});
    let deployment = "/apis/apps/v1/namespaces/volwarden-system/deployments/volwarden";
    refuse("scale a Deployment", Ask::merge(&format!("{deployment}/scale"), scale));
    refuse("change a Deployment", Ask::merge(deployment, json!({"metadata": {"labels": {"a": "b"}}})));
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remediations.volwarden.dev";
    refuse("take a definition away", Ask::delete(crd, Value::Null));
    refuse("make an Event the old way", named("/api/v1/namespaces/default/events"));
}
