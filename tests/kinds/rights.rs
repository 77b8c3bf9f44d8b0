//! What RBAC alone gives the service account, and a person who approves: enough, and no more.

use std::process::Command;

use serde_json::{Value, json};
use stack::Options;
use volwarden::api::JOB;
use volwarden::io::repository::lease_name;

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

/// A person with the ClusterRole volwarden-approver.
const APPROVER: &str = "approver@example.com";

const APPROVER_MAY: [Right; 17] = [
    ("list", "volwarden.dev", "remediations", "", ""),
    ("patch", "volwarden.dev", "remediations", "", "r"),
    ("list", "volwarden.dev", "orphanedsnapshots", "", ""),
    ("patch", "volwarden.dev", "remediationpolicies", "", "p"),
    ("patch", "volwarden.dev", "snapshotretentions", "", "r"),
    ("get", "volwarden.dev", "kopiarepositories", "backup", "nas"),
    ("patch", "volwarden.dev", "kopiarepositories", "backup", "nas"),
    // Our Jobs, and VolSync's movers in the whole cluster.
    ("list", "batch", "jobs", "backup", ""),
    ("list", "batch", "jobs", "", ""),
    // The Lease in the daemon's namespace, which is not known to whoever asks.
    ("list", "coordination.k8s.io", "leases", "", ""),
    ("get", "coordination.k8s.io", "leases", "volwarden-system", "volwarden-kopia-x"),
    // The Job that it names, and its pods.
    ("get", "batch", "jobs", "backup", "j"),
    ("list", "", "pods", "backup", ""),
    ("list", "", "pods", "app", ""),
    ("get", "volwarden.dev", "remediationpolicies", "", "p"),
    ("get", "volwarden.dev", "remediations", "", "r"),
    ("list", "volwarden.dev", "snapshotretentions", "", ""),
];

const APPROVER_MAY_NOT: [Right; 22] = [
    ("create", "batch", "jobs", "backup", ""),
    ("patch", "batch", "jobs", "backup", "j"),
    ("delete", "batch", "jobs", "backup", "j"),
    ("watch", "batch", "jobs", "", ""),
    ("patch", "batch", "jobs/status", "backup", "j"),
    ("create", "coordination.k8s.io", "leases", "volwarden-system", ""),
    ("update", "coordination.k8s.io", "leases", "volwarden-system", "volwarden-kopia-x"),
    ("patch", "coordination.k8s.io", "leases", "volwarden-system", "volwarden"),
    ("delete", "coordination.k8s.io", "leases", "volwarden-system", "volwarden-kopia-x"),
    ("watch", "coordination.k8s.io", "leases", "", ""),
    ("get", "", "pods", "backup", "p"),
    ("watch", "", "pods", "", ""),
    ("delete", "", "pods", "backup", "p"),
    ("get", "", "pods/log", "backup", "p"),
    ("create", "", "pods/exec", "backup", "p"),
    ("get", "", "secrets", "backup", "kopia"),
    ("patch", SNAPSHOTS, "volumesnapshots", "app", "db-1"),
    ("delete", SNAPSHOTS, "volumesnapshotcontents", "", "c"),
    ("patch", "volwarden.dev", "kopiarepositories/status", "backup", "nas"),
    ("patch", "volwarden.dev", "remediations/status", "", "r"),
    ("create", "volwarden.dev", "remediations", "", ""),
    ("delete", "volwarden.dev", "orphanedsnapshots", "", "o"),
];

impl Server {
    /// What RBAC says of somebody's right. The administrator asks: the fence does not even let the daemon ask.
    fn allows(&self, (user, groups): (&str, &[&str]), (verb, group, resource, namespace, name): Right) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": groups,
                "resourceAttributes": {
                    "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                    "namespace": namespace, "name": name,
                },
            },
        });
        let said = self.must(&Ask::create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review));
        said["status"]["allowed"] == json!(true)
    }

    /// Everything of the first list and nothing of the second.
    fn judges(&self, who: (&str, &[&str]), may: &[Right], may_not: &[Right]) {
        for right in may {
            assert!(self.allows(who, *right), "{} may not {right:?}", who.0);
        }
        for right in may_not {
            assert!(!self.allows(who, *right), "{} may {right:?}", who.0);
        }
    }

    /// Gives a person the ClusterRole that `deploy/base` brings for people.
    fn bind_approver(&self, user: &str) {
        let binding = json!({
            "metadata": {"name": "approver"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "volwarden-approver"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.must(&Ask::create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding));
    }
}

#[test]
fn each_may_do_what_it_needs_and_nothing_else() {
    let Some(server) = Server::start(Options::control_plane()) else { return };
    server.namespace("rook-ceph", &json!({}));
    server.apply_folder(&deploy().join("base"), None);
    server.apply_folder(&deploy().join("base/driver-namespace"), Some("rook-ceph"));
    server.namespace("backup", &json!({}));
    server.apply_folder(&deploy().join("base/kopia-namespace"), Some("backup"));
    let daemon: (&str, &[&str]) = (VOLWARDEN, &["system:serviceaccounts", "system:authenticated"]);
    server.judges(daemon, &MAY, &MAY_NOT);
    let person: (&str, &[&str]) = (APPROVER, &["system:authenticated"]);
    assert!(!server.allows(person, APPROVER_MAY[0]), "it is bound to nobody");
    server.bind_approver(APPROVER);
    let bound = || server.allows(person, APPROVER_MAY[0]).then_some(());
    server.stack.wait("the approver is bound", SOON, bound).unwrap();
    server.judges(person, &APPROVER_MAY, &APPROVER_MAY_NOT);
    // Who wants VolSync's leftovers cleaned up says so by a folder of its own.
    server.apply_folder(&deploy().join("base/volsync-leftovers"), None);
    let may = |verb, group, resource, namespace, name| server.allows(daemon, (verb, group, resource, namespace, name));
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

/// The real binary as a person who approves: it is told who works on a repository, and an approval is given.
#[test]
fn a_person_who_approves_is_told_who_works_on_a_repository() {
    let Some(server) = Server::start(Options::api_only()) else { return };
    server.install();
    server.namespace("backup", &json!({}));
    server.bind_approver(APPROVER);
    let collection = "/apis/volwarden.dev/v1alpha1/namespaces/backup/kopiarepositories";
    let object = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository", "metadata": {"name": "nas"},
        "spec": {"secretRef": {"name": "kopia"}},
    });
    server.must(&Ask::create(collection, object));
    let id = "ab".repeat(32);
    let status = json!({"status": {"uniqueID": id, "ownerPlan": "0123456789abcdef", "identity": "volwarden@c-1"}});
    server.must(&Ask::merge(&format!("{collection}/nas/status"), status));
    // The Lease names a Job that is gone: only who may read Jobs and list pods can say that nobody holds it.
    let name = lease_name(&id);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "annotations": {JOB: "backup/nas-full-1"}}, "spec": {"holderIdentity": "j-1"},
    });
    server.must(&Ask::create("/apis/coordination.k8s.io/v1/namespaces/volwarden-system/leases", lease));

    let kubeconfig = server.stack.kubeconfig_for(APPROVER, &[]).unwrap();
    let asked = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
        let output = command.args(words).args(["-n", "backup", "--kubeconfig"]).arg(&kubeconfig).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        (output.status.code(), said)
    };
    let bound = || (!asked(&["kopia", "status", "nas"]).1.contains("orbidden")).then_some(());
    server.stack.wait("the approver is bound", SOON, bound).unwrap();
    let (_, said) = asked(&["kopia", "status", "nas"]);
    let free = format!("volwarden-system/{name}: nobody holds it");
    for words in [free.as_str(), "none of ours is under way", "no kopia mover of VolSync's is at work"] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    assert!(!said.contains("cannot be"), "{said}");
    let (code, said) = asked(&["approve", "kopiarepository/nas"]);
    assert!(code == Some(0) && said.contains("Approved."), "{said}");
}
