//! What RBAC alone gives the service account: enough, and no more.

use std::process::Command;

use serde_json::{Value, json};
use stack::Options;

use crate::{Ask, SOON, Server, VOLWARDEN, deploy};

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";

/// A verb, an API group, a resource, a namespace and a name.
type Right = (&'static str, &'static str, &'static str, &'static str, &'static str);

const MAY: [Right; 33] = [
    ("watch", SNAPSHOTS, "volumesnapshots", "", ""),
    ("patch", SNAPSHOTS, "volumesnapshots", "app", "db-1"),
    ("patch", SNAPSHOTS, "volumesnapshotcontents", "", "c"),
    ("create", SNAPSHOTS, "volumesnapshotcontents", "", ""),
    ("delete", SNAPSHOTS, "volumesnapshotcontents", "", "c"),
    ("create", SNAPSHOTS, "volumesnapshots", "volwarden-system", ""),
    ("delete", SNAPSHOTS, "volumesnapshots", "volwarden-system", "reclaim"),
    ("delete", SNAPSHOTS, "volumesnapshots", "app", "db-1"),
    ("list", "velero.io", "backups", "", ""),
    ("list", "velero.io", "backuprepositories", "", ""),
    ("list", "kopiur.home-operations.com", "maintenances", "", ""),
    ("list", "kopiur.home-operations.com", "repositories", "", ""),
    ("list", "kopiur.home-operations.com", "clusterrepositories", "", ""),
    ("list", "snapscheduler.backube", "snapshotschedules", "", ""),
    ("list", "", "namespaces", "", ""),
    ("get", "", "pods/log", "rook-ceph", "p"),
    ("delete", "", "pods", "rook-ceph", "p"),
    ("delete", "coordination.k8s.io", "leases", "rook-ceph", "external-snapshotter-leader-x"),
    ("create", "coordination.k8s.io", "leases", "volwarden-system", ""),
    ("update", "coordination.k8s.io", "leases", "volwarden-system", "volwarden"),
    ("create", "events.k8s.io", "events", "default", ""),
    ("patch", "events.k8s.io", "events", "app", "e"),
    ("delete", "volwarden.dev", "remediations", "", "r"),
    ("patch", "volwarden.dev", "remediations/status", "", "r"),
    ("create", "volwarden.dev", "orphanedsnapshots", "", ""),
    ("patch", "volwarden.dev", "remediationpolicies/status", "", "p"),
    ("list", "volwarden.dev", "snapshotretentions", "", ""),
    ("patch", "volwarden.dev", "snapshotretentions/status", "", "r"),
    ("list", "volwarden.dev", "kopiarepositories", "", ""),
    ("patch", "volwarden.dev", "kopiarepositories/status", "backup", "r"),
    ("create", "batch", "jobs", "backup", ""),
    ("patch", "batch", "jobs", "backup", "j"),
    ("delete", "batch", "jobs", "backup", "j"),
];

const MAY_NOT: [Right; 28] = [
    ("get", "", "secrets", "rook-ceph", "s"),
    ("delete", "", "persistentvolumeclaims", "app", "volsync-data-src"),
    ("delete", "batch", "jobs", "app", "volsync-src-data"),
    ("get", "", "pods/log", "app", "p"),
    ("delete", "", "pods", "app", "p"),
    ("create", "", "pods/exec", "rook-ceph", "p"),
    ("deletecollection", "", "pods", "rook-ceph", ""),
    ("update", SNAPSHOTS, "volumesnapshots", "app", "db-1"),
    ("create", SNAPSHOTS, "volumesnapshots", "app", ""),
    ("deletecollection", SNAPSHOTS, "volumesnapshots", "app", ""),
    ("watch", "kopiur.home-operations.com", "maintenances", "", ""),
    ("patch", "volsync.backube", "kopiamaintenances", "backup", "daily"),
    ("delete", "velero.io", "backups", "velero", "nightly"),
    ("patch", SNAPSHOTS, "volumesnapshotcontents/status", "", "c"),
    ("patch", SNAPSHOTS, "volumesnapshots/status", "app", "db-1"),
    ("delete", "coordination.k8s.io", "leases", "kube-system", "snapshot-controller-leader"),
    ("update", "coordination.k8s.io", "leases", "rook-ceph", "external-snapshotter-leader-x"),
    // Which names it may update there is the fence's to say.
    ("patch", "coordination.k8s.io", "leases", "volwarden-system", "another"),
    ("update", "coordination.k8s.io", "leases", "backup", "another"),
    ("create", "batch", "jobs", "app", ""),
    ("patch", "volwarden.dev", "kopiarepositories", "backup", "r"),
    ("patch", "volwarden.dev", "remediations", "", "r"),
    ("patch", "volwarden.dev", "remediationpolicies", "", "p"),
    ("patch", "volwarden.dev", "snapshotretentions", "", "r"),
    ("delete", "volwarden.dev", "orphanedsnapshots", "", "o"),
    ("patch", "admissionregistration.k8s.io", "validatingadmissionpolicies", "", "volwarden-scope"),
    ("impersonate", "", "users", "", "admin"),
    ("create", "", "serviceaccounts/token", "volwarden-system", "volwarden"),
];

#[test]
fn it_may_do_what_it_needs_and_nothing_else() {
    let Some(server) = Server::start(Options::control_plane()) else { return };
    server.namespace("rook-ceph", &json!({}));
    server.apply_folder(&deploy().join("base"), None);
    server.apply_folder(&deploy().join("base/driver-namespace"), Some("rook-ceph"));
    server.namespace("backup", &json!({}));
    server.apply_folder(&deploy().join("base/kopia-namespace"), Some("backup"));
    // The administrator asks for it: the fence does not even let it ask.
    let may = |verb: &str, group: &str, resource: &str, namespace: &str, name: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": VOLWARDEN,
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                    "namespace": namespace, "name": name,
                },
            },
        });
        let said = server.must(&Ask::create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review));
        said["status"]["allowed"] == json!(true)
    };
    for (verb, group, resource, namespace, name) in MAY {
        assert!(may(verb, group, resource, namespace, name), "may not {verb} {group} {resource} {namespace}/{name}");
    }
    for (verb, group, resource, namespace, name) in MAY_NOT {
        assert!(!may(verb, group, resource, namespace, name), "may {verb} {group} {resource} {namespace}/{name}");
    }
    // Who wants VolSync's leftovers cleaned up says so by a folder of its own.
    server.apply_folder(&deploy().join("base/volsync-leftovers"), None);
    let soon = || may("delete", "", "persistentvolumeclaims", "app", "volsync-data-src").then_some(());
    server.stack.wait("it may delete claims", SOON, soon).unwrap();
    assert!(may("delete", "batch", "jobs", "app", "volsync-src-data"));
    assert!(!may("delete", "", "persistentvolumes", "", "pv") && !may("create", "batch", "jobs", "app", "j"));
}

/// The real binary under that account, and what it says it could not read.
#[test]
fn nothing_is_a_blind_spot_to_the_binary() {
    let Some(server) = Server::start(Options { group_crds: true, ..Options::api_only() }) else { return };
    server.install();
    let kubeconfig = server.stack.kubeconfig_for(VOLWARDEN, &["system:serviceaccounts"]).unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    doctor.args(["doctor", "-o", "json", "--observe", "1s"]).arg("--kubeconfig").arg(&kubeconfig);
    let output = doctor.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sources = said["sources"].as_array().unwrap();
    let states = |state: &str| sources.iter().filter(|source| source["state"] == state).count();
    assert!(states("Synced") > 10, "{said}");
    assert_eq!(states("Synced") + states("NotInstalled"), sources.len(), "{said}");
}
