//! Shapes that hang on no clock but their own: made side by side on one healthy stack, asked about once before
//! their time and once after it.

use serde_json::{Value, json};
use stack::{Options, Stack};

use super::doctor::{doctor, why};
use super::replay::Recorder;
use super::{
    BEING_DELETED, CONTENT_FINALIZER, CONTENTS, PROVISIONER, SNAPSHOTS, age_content, age_snapshot, ready_snapshot,
    ready_snapshot_of, set_finalizers, text, turn, wait_for, wait_gone, with_claim,
};

const VS: &str = "VolumeSnapshot";
const VSC: &str = "VolumeSnapshotContent";

#[test]
fn shapes_are_named_for_what_they_are_and_not_before_their_time() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    let recorder = Recorder::start(&stack);

    two_0_a_normal_deletion_is_nothing(&stack);
    let abandoned = four_1_finalizers_stripped(&stack);
    let orphaned = two_4_stripped_and_then_deleted(&stack);
    let awaiting = two_5_content_deleted_by_hand(&stack);
    let foreign = two_2_foreign_finalizer(&stack);
    let secret = two_10_missing_secret(&stack);
    let bogus = two_7_bogus_driver(&stack, "bogus", false);
    let emptied = two_7_bogus_driver(&stack, "emptied", true);
    let restored = three_1_restored_by_a_pending_claim(&stack);
    three_2_only_the_provisioners_finalizer(&stack);

    let before = doctor(&stack);
    assert_eq!(before.lines(), ["DriverUnknown CSIDriver bogus.example.com"], "nothing else before its time");
    assert_eq!(before.exit, 1);
    let normal = why(&stack, "vsc", &secret);
    assert!(normal.contains("being deleted for") && normal.contains("normal"), "{normal}");

    for content in [&orphaned, &awaiting, &foreign, &secret, &bogus, &emptied] {
        age_content(&stack, content, "/metadata/deletionTimestamp", 120);
    }
    age_content(&stack, &abandoned, "/metadata/creationTimestamp", 200);
    for snapshot in ["foreign", "secret", "restored"] {
        age_snapshot(&stack, snapshot, "/metadata/deletionTimestamp", 120);
    }
    age_snapshot(&stack, "provisioned", "/metadata/deletionTimestamp", 480);

    let after = doctor(&stack);
    for (class, kind, name) in [
        ("AbandonedContent", VSC, abandoned.as_str()),
        ("OrphanedContent", VSC, &orphaned),
        ("AwaitingSnapshot", VSC, &awaiting),
        ("ForeignFinalizer", VSC, &foreign),
        ("WaitingForContent", VS, "foreign"),
        ("SecretMissing", VSC, &secret),
        ("WaitingForContent", VS, "secret"),
        ("DriverUnknown", VSC, &bogus),
        ("DriverUnknown", VSC, &emptied),
        ("RestoreInProgress", VS, &restored),
    ] {
        assert_eq!(after.class(kind, name), class, "{kind} {name}\n{:#}", after.json);
    }
    assert_eq!(after.class(VS, "provisioned"), "", "the provisioner's sweeps take ten minutes");
    assert_eq!(after.lines().len(), 11, "and nothing else: {:#?}", after.lines());
    details(&after, &abandoned, &orphaned, &secret, &bogus);

    age_snapshot(&stack, "provisioned", "/metadata/deletionTimestamp", 120);
    let late = doctor(&stack);
    assert_eq!(late.class(VS, "provisioned"), "ProvisionerOrphan", "{:#}", late.json);
    recorder.agrees_with(&stack, &late);
}

/// What the findings say beyond their class.
fn details(report: &super::doctor::Report, abandoned: &str, orphaned: &str, secret: &str, bogus: &str) {
    let finding = |name| report.finding(VSC, name).unwrap();
    let flag = |name, flag: &str| finding(name).get(flag) == Some(&json!(true));
    assert!(!flag(orphaned, "destroys") && !flag(orphaned, "leaks"), "made here: the safe shape");
    assert_eq!(text(finding(orphaned), "/repair/rung"), "MarkBeingDeleted");
    assert!(flag(abandoned, "destroys"));
    assert!(!flag(abandoned, "unverified"), "seen twice, and a live GET answered 404");
    assert!(text(finding(secret), "/summary").contains("nowhere/missing"), "the secret is named");
    assert!(text(finding(bogus), "/cause").starts_with("DriverUnknown CSIDriver bogus.example.com"));
    assert_eq!(text(finding(bogus), "/docs"), "docs/findings/DriverUnknown.md");
    let waits = report.finding(VS, "secret").unwrap();
    assert_eq!(text(waits, "/cause"), format!("SecretMissing VolumeSnapshotContent {secret}"));
}

fn two_0_a_normal_deletion_is_nothing(stack: &Stack) {
    let content = ready_snapshot(stack, "normal");
    stack.delete(SNAPSHOTS, Some("default"), "normal").unwrap();
    wait_gone(stack, SNAPSHOTS, Some("default"), "normal");
    wait_gone(stack, CONTENTS, None, &content);
    let report = doctor(stack);
    assert_eq!((report.lines(), report.exit), (Vec::new(), 0));
}

/// What the manual's first step leaves behind when snapshot-controller did not act yet.
fn four_1_finalizers_stripped(stack: &Stack) -> String {
    stripped(stack, "stripped", "fast")
}

fn two_4_stripped_and_then_deleted(stack: &Stack) -> String {
    let content = stripped(stack, "orphaned", "fast");
    stack.delete(CONTENTS, None, &content).unwrap();
    content
}

/// A snapshot that went without its content. The controller starts anew: one that was only paused is told of the
/// deletion before it is told of the end, and is now and then quick enough to act on it.
pub(crate) fn stripped(stack: &Stack, name: &str, class: &str) -> String {
    let content = ready_snapshot_of(stack, name, class);
    let controller = stack.process("snapshot-controller").unwrap();
    controller.kill().unwrap();
    stack.delete(SNAPSHOTS, Some("default"), name).unwrap();
    set_finalizers(stack, SNAPSHOTS, Some("default"), name, &[]);
    wait_gone(stack, SNAPSHOTS, Some("default"), name);
    controller.start().unwrap();
    content
}

pub(crate) fn two_5_content_deleted_by_hand(stack: &Stack) -> String {
    let content = ready_snapshot(stack, "awaiting");
    stack.delete(CONTENTS, None, &content).unwrap();
    content
}

pub(crate) fn two_2_foreign_finalizer(stack: &Stack) -> String {
    let content = ready_snapshot(stack, "foreign");
    set_finalizers(stack, CONTENTS, None, &content, &[CONTENT_FINALIZER, "example.com/hold"]);
    stack.delete(SNAPSHOTS, Some("default"), "foreign").unwrap();
    // The driver really deletes and lets go; only the stranger holds it then.
    wait_for(stack, CONTENTS, None, &content, "/metadata/finalizers", |all| *all == json!(["example.com/hold"]));
    content
}

pub(crate) fn two_10_missing_secret(stack: &Stack) -> String {
    let content = ready_snapshot(stack, "secret");
    let annotations = json!({"metadata": {"annotations": {
        "snapshot.storage.kubernetes.io/deletion-secret-name": "missing",
        "snapshot.storage.kubernetes.io/deletion-secret-namespace": "nowhere",
    }}});
    stack.patch(CONTENTS, None, &content, None, &annotations).unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "secret").unwrap();
    stack
        .wait("the Event that speaks of credentials", super::SOON, || {
            let events = stack.kubectl_json(["get", "events", "-n", "default", "-o", "json"]).ok()?;
            let said = events.to_string();
            (said.contains("Failed to get snapshot credentials") && said.contains(&content)).then_some(())
        })
        .unwrap();
    content
}

/// A content of a driver that is not here, being deleted; with an absent status, or one that looks emptied.
pub(crate) fn two_7_bogus_driver(stack: &Stack, name: &str, emptied: bool) -> String {
    let name = format!("snapcontent-{name}");
    stack
        .create(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": VSC,
            "metadata": {"name": name, "finalizers": [CONTENT_FINALIZER], "annotations": {BEING_DELETED: "yes"}},
            "spec": {
                "driver": "bogus.example.com", "deletionPolicy": "Delete",
                "source": {"volumeHandle": "vol-9"},
                "volumeSnapshotRef": {"name": name, "namespace": "default", "uid": "0b0b0b0b-0000-4000-8000-000000000000"},
            },
        }))
        .unwrap();
    if emptied {
        stack.patch(CONTENTS, None, &name, Some("status"), &json!({"status": {"readyToUse": false}})).unwrap();
        stack.patch(CONTENTS, None, &name, Some("status"), &json!({"status": {"readyToUse": Value::Null}})).unwrap();
        wait_for(stack, CONTENTS, None, &name, "/status", |status| *status == json!({}));
    }
    stack.delete(CONTENTS, None, &name).unwrap();
    name
}

fn three_1_restored_by_a_pending_claim(stack: &Stack) -> String {
    ready_snapshot(stack, "restored");
    stack
        .create(&json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "copy", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
                "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": VS, "name": "restored"},
            },
        }))
        .unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "restored").unwrap();
    "restored".to_owned()
}

pub(crate) fn three_2_only_the_provisioners_finalizer(stack: &Stack) {
    let content = ready_snapshot(stack, "provisioned");
    let held = stack.get(SNAPSHOTS, Some("default"), "provisioned").unwrap().unwrap();
    let mut finalizers = held.pointer("/metadata/finalizers").unwrap().as_array().unwrap().clone();
    finalizers.push(json!(PROVISIONER));
    let patch = json!({"metadata": {"finalizers": finalizers}});
    stack.patch(SNAPSHOTS, Some("default"), "provisioned", None, &patch).unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "provisioned").unwrap();
    wait_gone(stack, CONTENTS, None, &content);
    wait_for(stack, SNAPSHOTS, Some("default"), "provisioned", "/metadata/finalizers", |all| {
        *all == json!([PROVISIONER])
    });
}
