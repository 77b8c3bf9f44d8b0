//! What a driver's sidecars may do, and no more: a repair that only works for a cluster administrator must fail here.
//!
//! The rules are those that external-provisioner and external-snapshotter ask for, with secrets, since ceph-csi needs
//! them for every call.

use serde_json::{Value, json};

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
const READ: [&str; 3] = ["get", "list", "watch"];

/// The service account of a driver's controller with its roles.
pub(crate) fn objects(namespace: &str, account: &str) -> Vec<Value> {
    let global = format!("{namespace}-{account}");
    let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": namespace}]);
    let role = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": global}, "rules": cluster_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": global}, "subjects": subjects, "roleRef": role("ClusterRole", &global),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": account, "namespace": namespace}, "rules": namespace_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": account, "namespace": namespace}, "subjects": subjects,
            "roleRef": role("Role", account),
        }),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn cluster_rules() -> Vec<Value> {
    vec![
        rule("", &["secrets"], &["get"]),
        rule("", &["nodes"], &READ),
        rule("", &["persistentvolumes"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "update"]),
        rule("", &["events"], &["list", "watch", "create", "update", "patch"]),
        rule("storage.k8s.io", &["storageclasses", "csinodes", "volumeattachments"], &READ),
        rule(SNAPSHOTS, &["volumesnapshots"], &["get", "list", "watch", "update"]),
        rule(SNAPSHOTS, &["volumesnapshotclasses"], &READ),
        rule(SNAPSHOTS, &["volumesnapshotcontents"], &["get", "list", "watch", "update", "patch"]),
        rule(SNAPSHOTS, &["volumesnapshotcontents/status"], &["update", "patch"]),
    ]
}

fn namespace_rules() -> Vec<Value> {
    let leases = rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "create", "update", "delete"]);
    vec![leases, rule("", &["pods"], &["get"]), rule("apps", &["replicasets"], &["get"])]
}
