//! What VolSync left behind, on the real API server, with the real snapshot controllers and the daemon under its own
//! account: what nobody owns any more goes, and what a living ReplicationSource will use again stays.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use stack::{DRIVER, Stack};

use super::pruning::{LONG, given_volumes, part, planned, policy, run, run_while};
use super::repairs::handles;
use super::warden::{self, RETENTIONS, Warden, Written};
use super::{SNAPSHOTS, text, turn};

const SPACE: &str = "default";
/// The uid of an owner that nobody has seen for long.
const GONE: &str = "0c7f5e0e-9a53-4a44-8d0e-6f1f4b1f7a10";
const LEFT: [&str; 3] =
    ["Job volsync-src-gone", "PersistentVolumeClaim volsync-gone-src", "VolumeSnapshot volsync-gone-src"];

/// The shape of VolSync's two kinds, without what its schemas say of the fields.
pub(super) fn definition(kind: &str) -> Value {
    let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.volsync.backube")},
        "spec": {
            "group": "volsync.backube", "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "singular": singular, "plural": plural},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

/// What VolSync makes for one synchronisation of this source: a snapshot of `data`, a claim, and a Job that has ended.
fn given_a_synchronisation(stack: &Stack, source: &str, owner: &str, volume: &str) {
    let labels = json!({"app.kubernetes.io/created-by": "volsync", "volsync.backube/cleanup": owner});
    let (temporary, mover) = (format!("volsync-{source}-src"), format!("volsync-src-{source}"));
    // A controller that does not run here would note who provisions a claim.
    let labelled = json!({"metadata": {"labels": labels,
        "annotations": {"volume.kubernetes.io/storage-provisioner": DRIVER}}});
    stack.snapshot(SPACE, &temporary, "data", "fast").unwrap();
    stack.patch(SNAPSHOTS, Some(SPACE), &temporary, None, &labelled).unwrap();
    stack.bound_pvc(SPACE, &temporary, volume).unwrap();
    stack.patch("persistentvolumeclaim", Some(SPACE), &temporary, None, &labelled).unwrap();
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "kopia", "image": "kopia"}]});
    stack
        .create(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": mover, "namespace": SPACE, "labels": labels},
            "spec": {"template": {"spec": pod}},
        }))
        .unwrap();
    let at = Timestamp::now();
    let failed = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": at});
    let over = json!({"status": {"startTime": at,
        "conditions": [failed("Failed"), failed("FailureTarget")]}});
    stack.patch("job", Some(SPACE), &mover, Some("status"), &over).unwrap();
}

/// What the plan lets go of what VolSync left.
fn going(plan: &Value) -> BTreeSet<String> {
    let objects = part(plan, "VolsyncLeftovers")["objects"].as_array().unwrap().clone();
    let going = objects.iter().filter(|one| one["fate"] == "Pruned");
    going.map(|one| format!("{} {}", text(one, "/kind"), text(one, "/name"))).collect()
}

fn is_there(stack: &Stack, kind: &str, name: &str) -> bool {
    stack.get(kind, Some(SPACE), name).unwrap().is_some()
}

/// As the controller does that does not run here: a claim that is being deleted and not in use loses its protection.
fn let_go(stack: &Stack, claim: &str) {
    let found = stack.get("persistentvolumeclaim", Some(SPACE), claim).unwrap();
    if found.is_some_and(|one| one.pointer("/metadata/deletionTimestamp").is_some()) {
        stack.release_pvc(SPACE, claim).unwrap();
    }
}

#[test]
fn ten_4_what_volsync_left_goes_and_what_it_will_use_again_stays() {
    let Some(_turn) = turn() else { return };
    let stack = given_volumes(3);
    for kind in ["ReplicationSource", "ReplicationDestination"] {
        stack.apply_json(&definition(kind)).unwrap();
    }
    let established =
        ["wait", "--for=condition=Established", "--timeout=60s", "crd/replicationsources.volsync.backube"];
    stack.kubectl(established.into_iter().chain(["crd/replicationdestinations.volsync.backube"])).unwrap();

    println!("10.4.1 given a synchronisation of a source that is gone, and one of a source that lives");
    let alive = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource",
        "metadata": {"name": "alive", "namespace": SPACE}, "spec": {}});
    let alive = text(&stack.create(&alive).unwrap(), "/metadata/uid");
    stack.bound_pvc(SPACE, "data", "vol-0").unwrap();
    given_a_synchronisation(&stack, "gone", GONE, "vol-1");
    given_a_synchronisation(&stack, "alive", &alive, "vol-2");
    stack.wait("both snapshots are cut", LONG, || (handles(&stack).len() == 2).then_some(())).unwrap();

    println!("10.4.2 then the plan names what nobody owns, and no more");
    let mut policy = policy("Observe");
    policy["spec"]["cleanup"] = json!({"volsyncLeftovers": {"mode": "Enforce", "olderThan": "1m"}});
    policy["spec"]["minReady"] = json!(1);
    stack.apply_json(&policy).unwrap();
    let left: BTreeSet<String> = LEFT.map(str::to_owned).into();
    stack.wait("they are old enough", LONG, || (going(&planned(&stack, &[]).1) == left).then_some(())).unwrap();

    println!("10.4.3 without the rights for it a run leaves claims and Jobs where they are");
    let _daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);
    run(&stack, "first");
    assert!(
        is_there(&stack, "persistentvolumeclaim", "volsync-gone-src") && is_there(&stack, "job", "volsync-src-gone")
    );

    println!("10.4.4 with them all of it goes, the driver deletes the one snapshot, and nothing else is written");
    let rights = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/volsync-leftovers");
    stack.kubectl(["apply", "-k", rights]).unwrap();
    for round in 0.. {
        run_while(&stack, &format!("again-{round}"), || let_go(&stack, "volsync-gone-src"));
        let there = is_there(&stack, "persistentvolumeclaim", "volsync-gone-src")
            || is_there(&stack, "job", "volsync-src-gone")
            || is_there(&stack, SNAPSHOTS, "volsync-gone-src");
        if !there {
            break;
        }
        assert!(round < 20, "{:#}", stack.get(RETENTIONS, None, "nightly").unwrap().unwrap());
    }
    stack.wait("the driver has deleted one", LONG, || (handles(&stack).len() == 1).then_some(())).unwrap();
    let deleted = |one: &Written| one.verb == "delete" && one.code == 200;
    let written = warden::writes(&stack);
    let names: BTreeSet<String> =
        written.iter().filter(|one| deleted(one)).map(|one| format!("{} {}", one.resource, one.name)).collect();
    let meant =
        ["jobs volsync-src-gone", "persistentvolumeclaims volsync-gone-src", "volumesnapshots volsync-gone-src"];
    assert_eq!(names, meant.map(str::to_owned).into());
    for (kind, name) in [
        ("persistentvolumeclaim", "volsync-alive-src"),
        (SNAPSHOTS, "volsync-alive-src"),
        ("job", "volsync-src-alive"),
        ("persistentvolumeclaim", "data"),
    ] {
        assert!(is_there(&stack, kind, name), "{kind} {name}");
    }
}
