//! Pods and leases: restarts and R7.

use serde_json::{Value, json};

use super::Table;
use crate::Ask;

const IMAGE: &str = "registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0";

pub(super) fn pods(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-pods";
    let driver = json!({"name": "csi-rbdplugin", "image": "quay.io/cephcsi/cephcsi:v3.15.0"});
    let named = json!([driver, {"name": "csi-snapshotter", "image": "mirror.example.com:5000/snap:v8"}]);
    let imaged = |image: &str| json!([driver, {"name": "sidecar", "image": image}]);
    let set = Some(("apps/v1", "ReplicaSet"));
    let by_name = server.pod("rook-ceph", "by-name", set, &named);
    table.allow("restart a pod with a container csi-snapshotter", table.deletion(&by_name));
    let by_image = server.pod("rook-ceph", "by-image", Some(("apps/v1", "StatefulSet")), &imaged(IMAGE));
    table.allow("restart one with its image", table.deletion(&by_image));
    let digest =
        "localhost:5000/csi-snapshotter:v8@sha256:0123456789012345678901234567890123456789012345678901234567890123";
    let by_digest = server.pod("rook-ceph", "by-digest", set, &imaged(digest));
    table.allow("restart one with its image by digest", table.deletion(&by_digest));

    for (about, name, edit) in [
        ("restart one that nobody has placed yet", "unplaced", json!({"spec": {"nodeName": null}})),
        ("restart one that asks for no grace", "graceless", json!({"spec": {"terminationGracePeriodSeconds": 0}})),
        ("restart one that has ended", "ended", json!({})),
    ] {
        let path = server.edited_pod("rook-ceph", name, set, &named, &edit);
        if name == "ended" {
            server.must(&Ask::merge(&format!("{path}/status"), json!({"status": {"phase": "Failed"}})));
        }
        table.allow(about, table.deletion(&path));
    }

    let words = "makes anew";
    let edit = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": "o-1", "controller": false},
    ]}});
    let path = server.edited_pod("rook-ceph", "uncontrolled", None, &named, &edit);
    table.refuse("restart a pod that its ReplicaSet does not control", policy, words, table.deletion(&path));
    for (about, name, owner) in [
        ("restart a node plugin's", "daemon", Some(("apps/v1", "DaemonSet"))),
        ("delete a pod nobody makes anew", "bare", None),
        ("delete a Job's pod", "job", Some(("batch/v1", "Job"))),
        ("delete a pod of somebody's own ReplicaSet", "custom", Some(("example.com/v1", "ReplicaSet"))),
    ] {
        let path = server.pod("rook-ceph", name, owner, &named);
        table.refuse(about, policy, words, table.deletion(&path));
    }
    let words = "only pods with a csi-snapshotter";
    let provisioner = server.pod("rook-ceph", "provisioner", set, &imaged("example.com/csi-provisioner:v6"));
    table.refuse("restart a pod without one", policy, words, table.deletion(&provisioner));
    let alike = server.pod("rook-ceph", "alike", set, &imaged("example.com/not-csi-snapshotter:v6"));
    table.refuse("restart a pod whose image only ends so", policy, words, table.deletion(&alike));
    let folder = server.pod("rook-ceph", "folder", set, &imaged("example.com/csi-snapshotter/other:v6"));
    table.refuse("restart a pod whose image lies below it", policy, words, table.deletion(&folder));

    let words = "only by its uid";
    table.refuse("restart without a precondition", policy, words, Ask::delete(&by_name, Value::Null));
    let (uid, _) = server.identity(&by_name);
    let forced = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    table.refuse("force a pod away", policy, "does not force", Ask::delete(&by_name, forced));
    let collection = Ask::delete("/api/v1/namespaces/rook-ceph/pods?labelSelector=app%3Dby-name", Value::Null);
    table.refuse("delete all pods of an app", "", "", collection);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "by-name"}});
    let evict = Ask::create(&format!("{by_name}/eviction"), eviction);
    table.refuse("evict a pod", "volwarden-scope", "no business", evict);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    table.refuse("change a pod", "volwarden-scope", "no business", Ask::merge(&by_name, label));
}

pub(super) fn leases(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-leases";
    let stale = server.lease("rook-ceph", "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com");
    table.allow("release a csi-snapshotter's lease", table.deletion(&stale));
    let (uid, version) = server.identity(&stale);
    let options = json!({"preconditions": {"uid": uid}});
    table.refuse("release it in any version", policy, "in the version it looked at", Ask::delete(&stale, options));
    let options = json!({"preconditions": {"resourceVersion": version}});
    table.refuse("release it under any uid", policy, "only by its uid", Ask::delete(&stale, options));
    let holder = json!({"spec": {"holderIdentity": ""}});
    table.refuse("write a csi-snapshotter's lease", policy, "but its own", Ask::merge(&stale, holder.clone()));
    for (about, namespace, name) in [
        ("release csi-provisioner's", "rook-ceph", "rook-ceph-rbd-csi-ceph-com"),
        ("release snapshot-controller's", "kube-system", "snapshot-controller-leader"),
        ("release csi-addons'", "rook-ceph", "rook-ceph-rbd-csi-ceph-com-csi-addons"),
        ("release csi-attacher's", "rook-ceph", "external-attacher-leader-rook-ceph-rbd-csi-ceph-com"),
    ] {
        let path = server.lease(namespace, name);
        table.refuse(about, policy, "but a csi-snapshotter's", table.deletion(&path));
    }
    let create = |namespace: &str, name: &str| {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Ask::create(&path, json!({"metadata": {"name": name}, "spec": {"holderIdentity": "volwarden-0"}}))
    };
    table.refuse("make another lease", policy, "but its own", create("volwarden-system", "another"));
    table.refuse("make its lease elsewhere", policy, "but its own", create("default", "volwarden"));
    let own = server.lease("volwarden-system", "volwarden");
    table.allow("renew its own lease", Ask::merge(&own, holder.clone()));
    table.allow("take the lease of a kopia repository", create("volwarden-system", "volwarden-kopia-0123"));
    table.refuse("take one elsewhere", policy, "but its own", create("default", "volwarden-kopia-0123"));
    table.refuse("delete its own lease", policy, "but a csi-snapshotter's", table.deletion(&own));
    server.must(&create("volwarden-system", "standby"));
    table.refuse(
        "write another's lease beside it",
        policy,
        "but its own",
        Ask::merge("/apis/coordination.k8s.io/v1/namespaces/volwarden-system/leases/standby", holder),
    );
}
