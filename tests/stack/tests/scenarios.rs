//! The stack as a whole: it snapshots, it deletes, and it gets stuck where it is made to.
//!
//! One stack at a time: two cores are not enough for honest timeouts with more.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use stack::{AuditLevel, Fault, Load, Options, Stack, Volume};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const SOON: Duration = Duration::from_secs(30);
const CONTENT: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// The turn to run, or `None` where programs are missing and `VOLWARDEN_STACK_OPTIONAL=1` makes that no failure.
fn turn() -> Option<MutexGuard<'static, ()>> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A stack with the claim `default/data` and the class `fast`.
fn with_claim(options: Options) -> Stack {
    let stack = Stack::start(Options { volumes: vec![Volume::new("vol-1")], ..options }).unwrap();
    stack.bound_pvc("default", "data", "vol-1").unwrap();
    stack.snapshot_class("fast", "Delete").unwrap();
    stack
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Takes a snapshot and returns its content once both are ready.
fn ready_snapshot(stack: &Stack, name: &str) -> Value {
    stack.snapshot("default", name, "data", "fast").unwrap();
    stack
        .wait(&format!("{name} is ready"), SOON, || {
            let snapshot = stack.get("volumesnapshot", Some("default"), name).ok()??;
            let content = text(&snapshot, "/status/boundVolumeSnapshotContentName");
            let ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true)) && !content.is_empty();
            if ready { stack.get(CONTENT, None, &content).ok()? } else { None }
        })
        .unwrap()
}

/// Waits for a line of csi-snapshotter's log: nothing but the log tells why a deletion fails, and the content's
/// `status.error` is for failed creations.
fn wait_logged(stack: &Stack, words: &[&str]) -> String {
    stack
        .wait(&format!("csi-snapshotter logs {words:?}"), SOON, || {
            let log = stack.process("csi-snapshotter-0").ok()?.log();
            log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(ToOwned::to_owned)
        })
        .unwrap()
}

fn wait_gone(stack: &Stack, content: &str) {
    stack
        .wait(&format!("{content} is gone"), SOON, || stack.get(CONTENT, None, content).ok()?.is_none().then_some(()))
        .unwrap();
}

#[test]
fn a_snapshot_is_taken_and_deleted_and_the_backend_agrees() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { audit: AuditLevel::Request, ..Options::full() });
    let file = stack.folder().join("watch.jsonl");
    let recording = stack.record_watch("/apis/snapshot.storage.k8s.io/v1/volumesnapshots", &file).unwrap();

    let content = ready_snapshot(&stack, "one");
    let snapshots = stack.driver_snapshots().unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0].id, text(&content, "/status/snapshotHandle"));
    assert_eq!(snapshots[0].name, format!("snapshot-{}", text(&content, "/spec/volumeSnapshotRef/uid")));
    assert_eq!(snapshots[0].volume_id, "vol-1");

    stack.delete("volumesnapshot", Some("default"), "one").unwrap();
    wait_gone(&stack, &text(&content, "/metadata/name"));
    assert_eq!(stack.driver_snapshots().unwrap(), []);

    let events = stack
        .wait("the watch shows the deletion", SOON, || {
            recording.events().ok().filter(|events| events.iter().any(|event| event["type"] == "DELETED"))
        })
        .unwrap();
    assert_eq!(events[0]["type"], "ADDED");
    assert_eq!(recording.stop().unwrap().len(), events.len());

    let deleted = |line: &Value| line["verb"] == "delete" && line["objectRef"]["resource"] == "volumesnapshots";
    let audit = stack.audit().unwrap();
    let line = audit.iter().find(|line| deleted(line)).expect("the deletion is in the audit log");
    assert_eq!(line["user"]["username"], "admin");
    let version = stack.kubectl_json(["version"]).unwrap();
    assert_eq!(version["serverVersion"]["gitVersion"], version["clientVersion"]["gitVersion"]);
}

#[test]
fn a_paused_driver_makes_a_deletion_stick_and_going_on_heals_it() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options {
        snapshotter_args: vec!["--timeout=2s".to_owned(), "--retry-interval-max=2s".to_owned()],
        ..Options::full()
    });
    let content = text(&ready_snapshot(&stack, "one"), "/metadata/name");
    stack.process("csi-driver").unwrap().pause().unwrap();
    stack.delete("volumesnapshot", Some("default"), "one").unwrap();
    wait_logged(&stack, &["could not sync content", &content, "code = DeadlineExceeded"]);
    assert_eq!(stack.driver_snapshots().unwrap().len(), 1);

    // What waits for an hour need not: the API server serves and streams the older time.
    let file = stack.folder().join("watch.jsonl");
    let recording = stack.record_watch("/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", &file).unwrap();
    let pointer = "/metadata/deletionTimestamp";
    let before = text(&stack.get(CONTENT, None, &content).unwrap().unwrap(), pointer);
    stack.age(CONTENT, None, &content, pointer, Duration::from_secs(3600)).unwrap();
    let after = text(&stack.get(CONTENT, None, &content).unwrap().unwrap(), pointer);
    assert!(after < before, "{after} is not before {before}");
    let streamed = |event: &Value| event["object"].pointer(pointer) == Some(&json!(after));
    stack
        .wait("the watch shows the older time", SOON, || recording.events().ok()?.iter().any(streamed).then_some(()))
        .unwrap();

    stack.process("csi-driver").unwrap().resume().unwrap();
    wait_gone(&stack, &content);
    assert_eq!(stack.driver_snapshots().unwrap(), []);
}

#[test]
fn a_lock_in_the_driver_outlives_its_caller_and_only_a_restart_frees_it() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options {
        snapshotter_args: vec!["--timeout=2s".to_owned(), "--retry-interval-max=1s".to_owned()],
        ..Options::full()
    });
    let content = ready_snapshot(&stack, "one");
    let (name, handle) = (text(&content, "/metadata/name"), text(&content, "/status/snapshotHandle"));
    stack.set_faults(&[Fault::of("DeleteSnapshot").on(&handle).stuck()]).unwrap();
    stack.delete("volumesnapshot", Some("default"), "one").unwrap();
    let refusal = format!("code = Aborted desc = an operation with the given Volume ID {handle} already exists");
    wait_logged(&stack, &["could not sync content", &name, &refusal]);
    stack.set_faults(&[]).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(stack.driver_snapshots().unwrap().len(), 1, "lifting the fault alone must not free the lock");

    let snapshotter = stack.process("csi-snapshotter-0").unwrap();
    stack.process("csi-driver").unwrap().kill().unwrap();
    stack.wait("csi-snapshotter ends with its driver", SOON, || snapshotter.ended()).unwrap();
    stack.process("csi-driver").unwrap().start().unwrap();
    snapshotter.start().unwrap();
    wait_gone(&stack, &name);
    assert_eq!(stack.driver_snapshots().unwrap(), []);
}

#[test]
fn two_snapshotters_have_two_identities_and_the_second_takes_over() {
    let Some(_turn) = turn() else { return };
    let election = [
        "--leader-election-lease-duration=4s",
        "--leader-election-renew-deadline=3s",
        "--leader-election-retry-period=1s",
    ];
    let stack = with_claim(Options {
        snapshotters: vec!["first.host".to_owned(), "second".to_owned()],
        snapshotter_args: election.map(ToOwned::to_owned).to_vec(),
        ..Options::full()
    });
    let holder = || {
        let lease = stack.get("lease", Some(stack::SNAPSHOTTER_LEASE_NAMESPACE), stack::SNAPSHOTTER_LEASE).ok()??;
        Some(text(&lease, "/spec/holderIdentity"))
    };
    assert_eq!(holder().as_deref(), Some("first-host"), "the host name with its dots made dashes");
    stack.process("csi-snapshotter-0").unwrap().kill().unwrap();
    stack.wait("the second one leads", SOON, || holder().filter(|holder| holder == "second")).unwrap();
    ready_snapshot(&stack, "one");
}

#[test]
fn users_have_only_their_roles() {
    let Some(_turn) = turn() else { return };
    let stack = Stack::start(Options { streaming_lists: false, ..Options::api_only() }).unwrap();
    let reader = stack.kubeconfig_for("reader", &["readers"]).unwrap();
    let ask = || stack.kubectl_as(&reader, ["get", "volumesnapshots", "-A"]);
    let error = ask().expect_err("nothing is bound to the user").to_string();
    assert!(error.contains("Forbidden") && error.contains("\"reader\""), "{error}");
    stack
        .kubectl([
            "create",
            "clusterrole",
            "reader",
            "--verb=list",
            "--resource=volumesnapshots.snapshot.storage.k8s.io",
        ])
        .unwrap();
    stack.kubectl(["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--group=readers"]).unwrap();
    stack.wait("the group may list", SOON, || ask().ok()).unwrap();

    // The same stack has streaming lists off: the server turns down what client-go and kube-rs would ask for.
    let stream = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let error = stack.kubectl(["get", "--raw", stream]).expect_err("streaming lists are off").to_string();
    assert!(error.contains("sendInitialEvents"), "{error}");

    let error = stack.process("csi-driver").expect_err("this stack has none").to_string();
    assert!(error.contains("etcd, kube-apiserver"), "{error}");

    // Attaching to it from outside: kubectl works, the rest says why it does not.
    let attached = Stack::attach(stack.kubeconfig()).unwrap();
    assert!(attached.get("namespace", None, "default").unwrap().is_some());
    for error in [attached.process("etcd").err(), attached.audit().err(), attached.driver_snapshots().err()] {
        assert!(error.is_some_and(|error| error.to_string().contains("attached")));
    }
}

#[test]
fn a_load_is_served_as_bound_pairs() {
    let Some(_turn) = turn() else { return };
    let stack = Stack::start(Options { record: false, ..Options::api_only() }).unwrap();
    let loaded = stack.load(&Load::pairs(200)).unwrap();
    assert_eq!(loaded.objects, 400);
    let mean = loaded.bytes / loaded.objects;
    assert!((1800..2300).contains(&mean), "objects of {mean} bytes are not like real ones");

    let list = |kind: &str| stack.kubectl_json(["get", kind, "-A"]).unwrap()["items"].as_array().cloned().unwrap();
    let (snapshots, contents) = (list("volumesnapshots"), list("volumesnapshotcontents"));
    assert_eq!((snapshots.len(), contents.len()), (200, 200));
    for snapshot in &snapshots {
        let bound = &snapshot["status"]["boundVolumeSnapshotContentName"];
        let content =
            contents.iter().find(|content| content["metadata"]["name"] == *bound).expect("its content exists");
        for (here, there) in [("uid", "uid"), ("name", "name"), ("namespace", "namespace")] {
            assert_eq!(snapshot["metadata"][here], content["spec"]["volumeSnapshotRef"][there]);
        }
        assert_eq!(text(content, "/metadata/name"), format!("snapcontent-{}", text(snapshot, "/metadata/uid")));
    }
    let uids: std::collections::BTreeSet<_> =
        snapshots.iter().chain(&contents).map(|object| text(object, "/metadata/uid")).collect();
    assert_eq!(uids.len(), 400, "uids are unique");
}
