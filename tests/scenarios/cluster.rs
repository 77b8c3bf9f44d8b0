//! Clusters that lack something: the snapshot CRDs, permissions, streaming lists.

use std::time::Duration;

use serde_json::{Value, json};
use stack::{Options, Stack};

use super::doctor::{doctor, doctor_as, volwarden};
use super::{ready_snapshot, text, turn, with_claim};

#[test]
fn a_cluster_without_snapshots_and_one_with_nothing_but_their_crds() {
    let Some(_turn) = turn() else { return };
    let stack = Stack::start(Options::control_plane()).unwrap();
    let report = doctor(&stack);
    assert_eq!((report.exit, report.findings().len()), (0, 0), "{:#}", report.json);
    for kind in ["VolumeSnapshot", "VolumeSnapshotContent", "CephCluster", "ReplicationSource", "VolumeGroupSnapshot"] {
        assert_eq!(text(report.source(kind), "/state"), "NotInstalled", "{kind}");
    }
    assert_eq!(text(report.source("Pod"), "/state"), "Synced");
    let said = String::from_utf8(volwarden(stack.kubeconfig(), &["doctor"]).stdout).unwrap();
    assert!(said.contains("Not installed: VolumeSnapshot"), "{said}");
    drop(stack);

    let stack = Stack::start(Options::api_only()).unwrap();
    let report = doctor(&stack);
    assert_eq!((report.exit, report.findings().len()), (0, 0), "{:#}", report.json);
    assert_eq!(text(report.source("VolumeSnapshot"), "/state"), "Synced");
    assert_eq!(text(report.source("KopiaMaintenance"), "/state"), "NotInstalled");
}

#[test]
fn somebody_who_may_read_nothing_or_only_a_part_is_told_so() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    ready_snapshot(&stack, "one");
    let nobody = stack.kubeconfig_for("nobody-special", &[]).unwrap();
    let report = doctor_as(&nobody, &[]);
    assert_eq!(report.exit, 2, "it could not tell");
    assert_eq!(text(report.source("VolumeSnapshot"), "/state"), "Forbidden");

    let group = "snapshot.storage.k8s.io";
    stack
        .apply_json(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "looks"},
            "rules": [{"apiGroups": [group], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
        }))
        .unwrap();
    stack.kubectl(["create", "clusterrolebinding", "looks", "--clusterrole=looks", "--user=nobody-special"]).unwrap();
    let report = doctor_as(&nobody, &[]);
    assert_eq!(text(report.source("VolumeSnapshot"), "/state"), "Synced");
    assert_eq!(text(report.source("Lease"), "/state"), "Forbidden");
    assert_eq!(report.lines(), Vec::<String>::new(), "what cannot be read is unknown, not gone");
    assert_eq!(report.exit, 0);
}

#[test]
fn nothing_is_ever_written_and_lists_are_streamed() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    ready_snapshot(&stack, "one");
    let before = stack.audit().unwrap().len();
    let reader = stack.kubeconfig_for("volwarden", &["system:masters"]).unwrap();
    doctor_as(&reader, &["--observe", "5s"]);
    let ours = |entry: &&Value| text(entry, "/user/username") == "volwarden";
    let audit = stack
        .wait("the audit log holds our requests", Duration::from_secs(30), || {
            let audit = stack.audit().ok()?;
            audit.iter().skip(before).any(|entry| ours(&entry)).then_some(audit)
        })
        .unwrap();
    let requests: Vec<&Value> = audit.iter().filter(ours).collect();
    assert!(requests.len() > 20, "{} requests", requests.len());
    for entry in &requests {
        let verb = text(entry, "/verb");
        assert!(["get", "list", "watch"].contains(&verb.as_str()), "not a read: {entry}");
    }
    let streamed = requests.iter().any(|entry| text(entry, "/requestURI").contains("sendInitialEvents=true"));
    assert!(streamed, "lists are streamed where the server can");
}

#[test]
fn a_server_without_streaming_lists_is_served_by_pages() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { streaming_lists: false, ..Options::full() });
    ready_snapshot(&stack, "one");
    let report = doctor(&stack);
    assert_eq!((report.exit, report.lines().len()), (0, 0), "{:#}", report.json);
    assert_eq!(report.source("VolumeSnapshot").get("objects"), Some(&json!(1)));
    assert_eq!(text(report.source("VolumeSnapshotContent"), "/state"), "Synced");
}
