//! A driver's controller as Rook deploys it, run by real controllers: it provisions, snapshots, restores and deletes;
//! it gets stuck where it is made to; its leader moves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use stack::{Fault, Options, Rook, Stack};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const SOON: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "rook-ceph";
const DRIVER: &str = "rook-ceph.rbd.csi.ceph.com";
const CONTENT: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// The turn to run, or `None` where programs are missing and `VOLWARDEN_STACK_OPTIONAL=1` makes that no failure.
fn turn() -> Option<MutexGuard<'static, ()>> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A stack with a driver, a storage class and a snapshot class of it, and a claim that the driver provisioned.
fn with_claim(rook: &Rook) -> Stack {
    let stack = Stack::start(Options::pods()).unwrap();
    stack.deploy(rook).unwrap();
    stack.storage_class("rbd", DRIVER).unwrap();
    stack.snapshot_class_of("fast", DRIVER, "Delete", true).unwrap();
    stack.claim("default", "data", "rbd", None).unwrap();
    stack.wait_bound("default", "data").unwrap();
    stack
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Takes a snapshot and returns the name of its content once both are ready.
fn ready_snapshot(stack: &Stack, name: &str) -> String {
    stack.snapshot("default", name, "data", "fast").unwrap();
    let ready = stack.wait(&format!("{name} is ready"), SOON, || {
        let snapshot = stack.get("volumesnapshot", Some("default"), name).ok()??;
        let ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true));
        ready.then(|| text(&snapshot, "/status/boundVolumeSnapshotContentName"))
    });
    ready.unwrap()
}

fn wait_gone(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str) {
    let gone = || stack.get(kind, namespace, name).ok()?.is_none().then_some(());
    stack.wait(&format!("{kind} {name} is gone"), SOON, gone).unwrap();
}

/// The handles of the volumes that really exist.
fn volumes(stack: &Stack) -> BTreeSet<String> {
    let entries = std::fs::read_dir(stack.folder().join("backend/volumes")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".json").map(ToOwned::to_owned)).collect()
}

fn is_ready(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str) -> Option<String> {
    let object = stack.get(kind, namespace, name).ok()??;
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready").map(|condition| text(condition, "/status"))
}

#[test]
fn volumes_are_provisioned_restored_and_deleted_and_two_pods_share_them() {
    let Some(_turn) = turn() else { return };
    let rook = Rook { driver_args: vec!["--require-secrets".to_owned()], ..Rook::operator() };
    let stack = with_claim(&rook);
    assert_eq!(volumes(&stack).len(), 1);
    let pods = stack.pods(NAMESPACE, &format!("app={}", rook.app));
    let nodes: BTreeSet<_> = pods.iter().map(|pod| stack.pod(NAMESPACE, pod).unwrap().node().to_owned()).collect();
    assert_eq!((pods.len(), nodes.len()), (2, 2));

    let content = ready_snapshot(&stack, "one");
    let handle = text(&stack.get(CONTENT, None, &content).unwrap().unwrap(), "/status/snapshotHandle");
    assert_eq!(stack.driver_snapshots().unwrap()[0].id, handle);
    stack.claim("default", "restored", "rbd", Some("one")).unwrap();
    stack.wait_bound("default", "restored").unwrap();
    assert_eq!(volumes(&stack).len(), 2);

    // What one pod made another one deletes.
    let leader = stack.leader_pod(NAMESPACE, DRIVER).unwrap();
    assert!(pods.contains(&leader));
    stack.delete("pod", Some(NAMESPACE), &leader).unwrap();
    // The one that stood by, or the new one: whoever asks first once the lease has run out.
    let moved = || stack.leader_pod(NAMESPACE, DRIVER).filter(|now| *now != leader);
    stack.wait("another pod leads", SOON, moved).unwrap();
    stack.delete("volumesnapshot", Some("default"), "one").unwrap();
    wait_gone(&stack, CONTENT, None, &content);
    assert_eq!(stack.driver_snapshots().unwrap(), []);

    stack.delete("pvc", Some("default"), "restored").unwrap();
    wait_gone(&stack, "pvc", Some("default"), "restored");
    stack.wait("the restored volume is deleted", SOON, || (volumes(&stack).len() == 1).then_some(())).unwrap();
    stack.release_pvc("default", "data").unwrap();
    assert_eq!(stack.pods(NAMESPACE, &format!("app={}", rook.nodeplugin)).len(), 2, "one node plugin a node");
}

#[test]
fn a_lock_in_the_leaders_driver_is_freed_by_the_end_of_its_pod() {
    let Some(_turn) = turn() else { return };
    let snapshotter_args = vec!["--retry-interval-max=1s".to_owned()];
    let stack = with_claim(&Rook { timeout: 2, snapshotter_args, ..Rook::operator() });
    let content = ready_snapshot(&stack, "one");
    let handle = text(&stack.get(CONTENT, None, &content).unwrap().unwrap(), "/status/snapshotHandle");
    stack.set_faults(&[Fault::of("DeleteSnapshot").on(&handle).stuck()]).unwrap();
    stack.delete("volumesnapshot", Some("default"), "one").unwrap();
    let leader = stack.leader_pod(NAMESPACE, DRIVER).unwrap();
    let pod = stack.pod(NAMESPACE, &leader).unwrap();
    let refusal = format!("an operation with the given Volume ID {handle} already exists");
    for container in ["csi-snapshotter", "csi-rbdplugin"] {
        let logged = || pod.log(container).ok()?.contains(&refusal).then_some(());
        stack.wait(&format!("{container} logs the refusal"), SOON, logged).unwrap();
    }
    stack.set_faults(&[]).unwrap();
    assert_eq!(stack.driver_snapshots().unwrap().len(), 1, "lifting the fault alone does not free the lock");
    stack.delete("pod", Some(NAMESPACE), &leader).unwrap();
    wait_gone(&stack, CONTENT, None, &content);
    assert_eq!(stack.driver_snapshots().unwrap(), []);

    // A container that is killed is started again in its place; csi-snapshotter ends when it next needs its driver.
    let restarts = |pod: &str| {
        let pod = stack.get("pod", Some(NAMESPACE), pod).ok()??;
        let counts = pod.pointer("/status/containerStatuses")?.as_array()?.iter();
        let count = |container: &Value| Some((text(container, "/name"), container.get("restartCount")?.as_u64()?));
        counts.map(count).collect::<Option<std::collections::BTreeMap<_, _>>>()
    };
    let leader = stack.wait("a pod leads", SOON, || stack.leader_pod(NAMESPACE, DRIVER)).unwrap();
    stack.pod(NAMESPACE, &leader).unwrap().kill("csi-rbdplugin").unwrap();
    ready_snapshot(&stack, "two");
    stack
        .wait("driver and csi-snapshotter are restarted", SOON, || {
            let restarts = restarts(&leader)?;
            ["csi-rbdplugin", "csi-snapshotter"].iter().all(|name| restarts.get(*name) >= Some(&1)).then_some(())
        })
        .unwrap();
}

#[test]
fn a_node_is_lost_and_comes_back_and_loses_its_power() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(&Rook { nodes: false, ..Rook::classic() });
    let leader = stack.leader_pod(NAMESPACE, DRIVER).unwrap();
    let node = stack.pod(NAMESPACE, &leader).unwrap().node().to_owned();
    stack.lose_node(&node).unwrap();
    assert_eq!(is_ready(&stack, "node", None, &node).as_deref(), Some("Unknown"));
    assert_eq!(is_ready(&stack, "pod", Some(NAMESPACE), &leader).as_deref(), Some("False"));
    let moved = || stack.leader_pod(NAMESPACE, DRIVER).filter(|now| *now != leader);
    let second = stack.wait("the pod on the other node leads", SOON, moved).unwrap();
    ready_snapshot(&stack, "one");

    stack.return_node(&node).unwrap();
    stack
        .wait("the lost pod is ready again", SOON, || {
            (is_ready(&stack, "pod", Some(NAMESPACE), &leader)? == "True").then_some(())
        })
        .unwrap();
    assert_eq!(stack.leader_pod(NAMESPACE, DRIVER), Some(second.clone()));

    let node = stack.pod(NAMESPACE, &second).unwrap().node().to_owned();
    stack.kill_node(&node).unwrap();
    let dead = stack.pod(NAMESPACE, &second).unwrap();
    assert!(dead.resume("csi-rbdplugin").is_err(), "its containers have ended");
    let moved = || stack.leader_pod(NAMESPACE, DRIVER).filter(|now| *now != second);
    stack.wait("the first pod leads again", SOON, moved).unwrap();
    stack.return_node(&node).unwrap();
    stack.rollout(NAMESPACE, "csi-rbdplugin-provisioner").unwrap();
    ready_snapshot(&stack, "two");
}

#[test]
fn deployments_differ_as_they_are_asked_to() {
    let Some(_turn) = turn() else { return };
    let stack = Stack::start(Options::pods()).unwrap();
    let first = Rook { nodes: false, replicas: 1, host_network: true, ..Rook::operator() };
    stack.deploy(&first).unwrap();
    let leader = stack.leader_pod(NAMESPACE, DRIVER).unwrap();
    assert_eq!(stack.pods(NAMESPACE, &format!("app={}", first.app)), std::slice::from_ref(&leader));
    let lease = stack.get("lease", Some(NAMESPACE), &stack.lease_of(DRIVER)).unwrap().unwrap();
    assert_eq!(text(&lease, "/spec/holderIdentity"), stack.pod(NAMESPACE, &leader).unwrap().node());
    let owner = stack.get("csidriver", None, DRIVER).unwrap().unwrap();
    assert!(text(&owner, "/metadata/annotations/csi.ceph.io~1ownerref").contains(DRIVER));

    // Another driver stands beside it, without a csi-snapshotter: it has no leader.
    let second = Rook { nodes: false, snapshotter: false, ..Rook::operator_of("storage", "storage.rbd.csi.ceph.com") };
    stack.deploy(&second).unwrap();
    assert_eq!(stack.leader_pod("storage", &second.driver), None);
    stack.storage_class("other", &second.driver).unwrap();
    stack.claim("default", "other", "other", None).unwrap();
    stack.wait_bound("default", "other").unwrap();
    assert_eq!(stack.leader_pod(NAMESPACE, DRIVER), Some(leader));
}
