//! The fence, both ways: every write of a repair passes, with the rights of `deploy/base` and no others; and every
//! other write is refused by the fence itself, with every right there is. And each word of the fence is needed: without
//! it one of these verdicts is another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stack::Options;

use crate::mutants::{Mutant, mutants};
use crate::rows::{Row, table};
use crate::{Ask, SOON, Server, VOLWARDEN, deploy, fenced};

/// What may be tried at the same time: a row is judged by one of these, so they do not get in each other's way. The
/// scope policy has a say in all of them.
const TOGETHER: [&[&str]; 3] = [
    &[
        "volwarden-contents",
        "volwarden-jobs",
        "volwarden-leases",
        "volwarden-ledger",
        "volwarden-pods",
        "volwarden-snapshots",
    ],
    // It shares Jobs with volwarden-jobs.
    &["volwarden-leftovers"],
    &["volwarden-scope"],
];

/// A server with the fence, the rights of one driver's namespace, and the objects that the rows are about.
fn fenced_in() -> Option<(Server, Vec<Row>)> {
    let server = Server::start(Options { group_crds: true, ..Options::api_only() })?;
    server.install();
    server.namespace("rook-ceph", &json!({}));
    server.namespace("backup", &json!({}));
    server.apply_folder(&deploy().join("base/kopia-namespace"), Some("backup"));
    server.namespace("ignored", &json!({"volwarden.dev/ignore": "by storage"}));
    server.apply_folder(&deploy().join("base/driver-namespace"), Some("rook-ceph"));
    server.apply_folder(&deploy().join("base/volsync-leftovers"), None);
    let rows = table(&server);
    Some((server, rows))
}

#[test]
fn every_repair_passes_and_every_other_write_is_refused() {
    let Some((server, rows)) = fenced_in() else { return };
    let volwarden = server.user(VOLWARDEN);
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| row.refused.is_none()) {
        let (code, said) = server.send(&volwarden, &row.ask.dry());
        if !(200..300).contains(&code) {
            wrong.push(format!("should pass: {}: {code} {}", row.about, said["message"]));
        }
    }
    server.bind_admin("everything", VOLWARDEN);
    for row in &rows {
        let Some((policy, words)) = row.refused else { continue };
        let answer = server.send(&volwarden, &row.ask.dry());
        let by = fenced(&answer);
        let meant = by.as_deref().is_some_and(|by| policy.is_empty() || by == policy);
        if !meant || !answer.1["message"].as_str().unwrap().contains(words) {
            wrong.push(format!("should be refused by {policy}: {}: {} {}", row.about, answer.0, answer.1));
        }
        let answer = server.send(&server.admin, &row.ask.dry());
        if fenced(&answer).is_some() {
            wrong.push(format!("is nobody else's fence: {}: {}", row.about, answer.1));
        }
    }
    let passed = rows.iter().filter(|row| row.refused.is_none()).count();
    println!("{passed} writes pass, {} are refused", rows.len() - passed);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What changes nothing on this server when it is taken out, and why it is there.
const NOT_NEEDED: [(&str, &str); 5] = [
    ("has(oldObject.status)` in ", "without it a missing status is an error, which refuses too, but says less"),
    ("request.operation != 'UPDATE'` in `request.operation != 'UPDATE' || variables.finalizersAfter.all(", "as above"),
    ("object.spec.source == oldObject.spec.source", "newer definitions of contents keep it by themselves"),
    (
        "request.operation != 'DELETE'` in `request.operation != 'DELETE' || request.?name",
        "older servers give a name only after admission",
    ),
    (
        "variables.isOurs` in `variables.isOurs || (request.options",
        "a Job's own policy refuses too, and which of two is heard first is the server's choice",
    ),
];

#[test]
fn every_word_of_the_fence_is_needed() {
    let Some((server, rows)) = fenced_in() else { return };
    server.bind_admin("everything", VOLWARDEN);
    server.pod("rook-ceph", "sign-of-volwarden-pods", None, &json!([{"name": "sign", "image": "sign"}]));
    server.claim("rook-ceph", "sign-of-volwarden-leftovers", &json!({}));
    let volwarden = server.user(VOLWARDEN);
    let (mut unnoticed, mut tried) = (Vec::new(), 0);
    for policies in TOGETHER {
        let whole: BTreeMap<&str, Value> =
            policies.iter().map(|name| (*name, server.must(&Ask::get(&path(name)))["spec"].take())).collect();
        let mut left: BTreeMap<&str, Vec<Mutant>> = whole.iter().map(|(name, spec)| (*name, mutants(spec))).collect();
        for round in 0.. {
            let now: BTreeMap<&str, Mutant> =
                left.iter_mut().filter_map(|(name, mutants)| Some((*name, mutants.pop()?))).collect();
            if now.is_empty() {
                break;
            }
            for (name, mutant) in &now {
                replace(&server, name, &mutant.spec, round);
            }
            for name in now.keys() {
                wait_in_force(&server, &volwarden, name, round);
            }
            let asked = rows.iter().filter_map(|row| changed(row, &server.send(&volwarden, &row.ask.dry())));
            let changed: BTreeSet<String> = asked.collect();
            tried += now.len();
            for (name, mutant) in now {
                let known = NOT_NEEDED.iter().any(|(without, _)| mutant.without.starts_with(without));
                if !known && !changed.contains(name) {
                    unnoticed.push(format!("{name} without `{}`", mutant.without));
                }
            }
        }
        for (name, spec) in &whole {
            replace(&server, name, spec, usize::MAX);
        }
        for name in whole.keys() {
            wait_in_force(&server, &volwarden, name, usize::MAX);
        }
    }
    println!("{tried} changed policies, {} unnoticed", unnoticed.len());
    assert!(unnoticed.is_empty(), "no row fails for:\n{}", unnoticed.join("\n"));
}

fn path(policy: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}")
}

/// The policy to which a row owes that its verdict is another now.
fn changed(row: &Row, answer: &(u16, Value)) -> Option<String> {
    match (row.refused, fenced(answer)) {
        (None, by) => by,
        (Some((policy, _)), None) if !policy.is_empty() => Some(policy.to_owned()),
        _ => None,
    }
}

/// Replaces a policy with one that also has a rule by which it can be told that the server goes by it.
fn replace(server: &Server, policy: &str, spec: &Value, round: usize) {
    let (mut validations, variables) = (spec["validations"].clone(), &spec["variables"]);
    let expression = format!("request.?name.orValue('') != 'sign-of-{policy}'");
    let sign = json!({"expression": expression, "message": sign(policy, round)});
    validations.as_array_mut().unwrap().insert(0, sign);
    server.must(&Ask::merge(&path(policy), json!({"spec": {"validations": validations, "variables": variables}})));
}

fn sign(policy: &str, round: usize) -> String {
    format!("round {round} of {policy}")
}

fn wait_in_force(server: &Server, volwarden: &kube::Client, policy: &str, round: usize) {
    let (ask, sign) = (sign_of(policy).dry(), sign(policy, round));
    let shown = || {
        let (_, said) = server.send(volwarden, &ask);
        said["message"].as_str().is_some_and(|text| text.ends_with(&sign)).then_some(())
    };
    server.stack.wait(&sign, SOON, shown).unwrap();
}

/// A request that only the sign's rule refuses, for its name.
fn sign_of(policy: &str) -> Ask {
    let named = |mut body: Value| {
        body["metadata"]["name"] = json!(format!("sign-of-{policy}"));
        body
    };
    match policy {
        "volwarden-contents" => Ask::create(
            "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents",
            named(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "spec": {
                "driver": "csi.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "snap-1"},
                "volumeSnapshotRef": {"namespace": "volwarden-system", "name": "sign"},
            }})),
        ),
        "volwarden-snapshots" => Ask::create(
            "/apis/snapshot.storage.k8s.io/v1/namespaces/volwarden-system/volumesnapshots",
            named(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "spec": {
                "source": {"volumeSnapshotContentName": "sign"},
            }})),
        ),
        "volwarden-ledger" => Ask::create(
            "/apis/volwarden.dev/v1alpha1/remediations",
            named(json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "Remediation", "spec": {
                "class": "MissedEvent", "since": "2026-11-25T10:00:00Z", "subject": {"kind": "VolumeSnapshot", "name": "s"},
            }})),
        ),
        "volwarden-leases" => Ask::create(
            "/apis/coordination.k8s.io/v1/namespaces/volwarden-system/leases",
            named(json!({"metadata": {}})),
        ),
        "volwarden-jobs" => Ask::create(
            "/apis/batch/v1/namespaces/backup/jobs",
            named(json!({"metadata": {}, "spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "sign", "image": "sign"}],
            }}}})),
        ),
        "volwarden-leftovers" => {
            Ask::delete("/api/v1/namespaces/rook-ceph/persistentvolumeclaims/sign-of-volwarden-leftovers", Value::Null)
        }
        "volwarden-pods" => Ask::delete("/api/v1/namespaces/rook-ceph/pods/sign-of-volwarden-pods", Value::Null),
        _ => Ask::create("/api/v1/namespaces/default/configmaps", named(json!({"metadata": {}}))),
    }
}
