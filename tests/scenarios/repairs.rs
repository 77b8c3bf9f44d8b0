//! Repairs on the real stack, in Enforce, as the account of `deploy/base`. The judges are the driver's own state and
//! the API server's audit log: what ends healthy has leaked nothing, and what is left alone was not written to.

use std::time::Duration;

use serde_json::{Value, json};
use stack::{DRIVER, Options, Stack};

use super::shapes::{
    three_2_only_the_provisioners_finalizer, two_2_foreign_finalizer, two_5_content_deleted_by_hand,
    two_7_bogus_driver, two_10_missing_secret,
};
use super::warden::{self, Warden, Written};
use super::{
    CONTENTS, SNAPSHOTS, age_content, age_snapshot, ready_snapshot, ready_snapshot_of, set_finalizers, text, turn,
    wait_gone, with_claim,
};

/// Three fresh reads, 30 s apart, a batch that begins one by one, and what a busy machine adds.
const REPAIRED: Duration = Duration::from_secs(240);

/// The handles in the backend.
pub(crate) fn handles(stack: &Stack) -> Vec<String> {
    let mut all: Vec<String> = stack.driver_snapshots().unwrap().into_iter().map(|found| found.id).collect();
    all.sort();
    all
}

pub(crate) fn handle_of(stack: &Stack, content: &str) -> String {
    text(&stack.get(CONTENTS, None, content).unwrap().unwrap(), "/status/snapshotHandle")
}

#[test]
fn seven_1_shapes_are_repaired_without_a_leak_and_the_rest_is_untouched() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);

    println!("7.1.1 given what scripts and people leave behind");
    let alive = ready_snapshot(&stack, "alive");
    let kept_alive = handle_of(&stack, &alive);
    let awaiting = two_5_content_deleted_by_hand(&stack);
    let foreign = two_2_foreign_finalizer(&stack);
    let secret = two_10_missing_secret(&stack);
    let bogus = two_7_bogus_driver(&stack, "bogus", false);
    let copied = copied_from_another_cluster(&stack, &kept_alive);
    three_2_only_the_provisioners_finalizer(&stack);
    let [orphaned, retained] = orphaned(&stack, [("orphaned", "fast"), ("retained", "kept")]);
    let (orphaned_handle, retained_handle) = (handle_of(&stack, &orphaned), handle_of(&stack, &retained));
    let before = handles(&stack);
    assert!(before.contains(&orphaned_handle) && before.contains(&retained_handle), "{before:?}");

    println!("7.1.2 when a policy enforces, and time has passed");
    warden::enforce(&stack, &[DRIVER, "bogus.example.com"], |_| {});
    for content in [&orphaned, &retained, &awaiting, &foreign, &secret, &bogus, &copied] {
        age_content(&stack, content, "/metadata/deletionTimestamp", 1300);
    }
    age_snapshot(&stack, "provisioned", "/metadata/deletionTimestamp", 900);
    let mut daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);

    println!("7.1.3 then these end healthy");
    let marked = warden::wait_phase(&stack, "OrphanedContent", &orphaned, "Done", REPAIRED);
    assert_eq!(marked.attempts, [("MarkBeingDeleted".to_owned(), "Applied".to_owned())]);
    wait_gone(&stack, CONTENTS, None, &orphaned);
    let kept = warden::wait_phase(&stack, "OrphanedContent", &retained, "Done", REPAIRED);
    assert_eq!(kept.attempts, [("MarkBeingDeleted".to_owned(), "Applied".to_owned())]);
    wait_gone(&stack, CONTENTS, None, &retained);
    let released = warden::wait_phase(&stack, "ProvisionerOrphan", "provisioned", "Done", REPAIRED);
    assert_eq!(released.attempts, [("RemoveProvisionerFinalizer".to_owned(), "Applied".to_owned())]);
    wait_gone(&stack, SNAPSHOTS, Some("default"), "provisioned");

    println!("7.1.4 and the backend has lost exactly what was to go");
    let after = handles(&stack);
    let expected: Vec<String> = before.iter().filter(|handle| **handle != orphaned_handle).cloned().collect();
    assert_eq!(after, expected, "before: {before:?}");
    let entries = stack.kubectl_json(["get", warden::ORPHANS, "-o", "json"]).unwrap();
    let entries = entries.pointer("/items").and_then(Value::as_array).unwrap().clone();
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(text(&entries[0], "/spec/snapshotHandle"), retained_handle);
    assert_eq!(text(&entries[0], "/status/phase"), "Orphaned");

    println!("7.1.5 and what may be another cluster's waits for an approval");
    let waits = warden::wait_phase(&stack, "OrphanedContent", &copied, "AwaitingApproval", REPAIRED);
    assert_eq!((waits.attempts.len(), waits.held_by.as_str()), (0, "consequence"));

    println!("7.1.6 and nothing else was written to");
    daemon.kill();
    let written = warden::writes(&stack);
    let touched: Vec<&str> = written.iter().map(|one| one.name.as_str()).collect();
    for untouched in [&alive, &awaiting, &foreign, &secret, &bogus, &copied] {
        assert!(!touched.contains(&untouched.as_str()), "{untouched}: {written:#?}");
    }
    let patch = |resource: &str, name: &str| Written {
        verb: "patch".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        code: 200,
    };
    let mut expected = vec![
        patch("volumesnapshotcontents", &orphaned),
        patch("volumesnapshotcontents", &retained),
        patch("volumesnapshots", "provisioned"),
    ];
    let mut written = written;
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    written.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(written, expected, "each once, and no other");
}

/// Contents that a script orphaned: their snapshots went without them, and then they were deleted.
pub(crate) fn orphaned<const N: usize>(stack: &Stack, snapshots: [(&str, &str); N]) -> [String; N] {
    let contents = snapshots.map(|(name, class)| ready_snapshot_of(stack, name, class));
    let controller = stack.process("snapshot-controller").unwrap();
    controller.kill().unwrap();
    for (name, _) in snapshots {
        stack.delete(SNAPSHOTS, Some("default"), name).unwrap();
        set_finalizers(stack, SNAPSHOTS, Some("default"), name, &[]);
        wait_gone(stack, SNAPSHOTS, Some("default"), name);
    }
    controller.start().unwrap();
    for content in &contents {
        stack.delete(CONTENTS, None, content).unwrap();
    }
    contents
}

/// A manifest from another cluster's backup: the same handle as a snapshot that lives, under a content of its own that
/// nobody here made.
fn copied_from_another_cluster(stack: &Stack, handle: &str) -> String {
    let name = "snapcontent-copied";
    let content = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": name, "finalizers": [super::CONTENT_FINALIZER]},
        "spec": {
            "driver": DRIVER, "deletionPolicy": "Delete", "source": {"volumeHandle": "vol-1"},
            "volumeSnapshotClassName": "fast",
            "volumeSnapshotRef": {"name": "elsewhere", "namespace": "default", "uid": "0c0c0c0c-0000-4000-8000-000000000000"},
        },
    });
    stack.create(&content).unwrap();
    // csi-snapshotter would cut it anew; the copy carries the other cluster's answer with it.
    let status = json!({"status": {"snapshotHandle": handle, "readyToUse": true, "creationTime": 1, "restoreSize": 1}});
    stack.patch(CONTENTS, None, name, Some("status"), &status).unwrap();
    stack.delete(CONTENTS, None, name).unwrap();
    name.to_owned()
}

/// The driver has confirmed, and nobody lets csi-snapshotter write that down: the nudge is in vain, and the finalizer is
/// let go of by us, once the status says for long enough that nothing is left in the backend.
#[test]
fn seven_2_a_confirmed_deletion_is_let_go_of() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { snapshotter_args: impatient(), ..Options::full() });
    warden::install(&stack, &[]);
    println!("7.2.1 given contents whose deletion is confirmed and never released");
    let kept = ready_snapshot(&stack, "kept");
    let kept = handle_of(&stack, &kept);
    let content = ready_snapshot(&stack, "confirmed");
    let handle = handle_of(&stack, &content);
    only_we_remove_finalizers(&stack);
    stack.delete(SNAPSHOTS, Some("default"), "confirmed").unwrap();
    super::wait_for(&stack, CONTENTS, None, &content, "/status", |status| *status == json!({}));
    assert_eq!(handles(&stack), std::slice::from_ref(&kept), "the driver has really deleted {handle}");
    age_content(&stack, &content, "/metadata/deletionTimestamp", 1300);

    println!("7.2.2 when a policy enforces");
    warden::enforce(&stack, &[DRIVER], |_| {});
    let daemon = Warden::start(&stack, "volwarden");
    let done = warden::wait_phase(&stack, "DeletedNotReleased", &content, "Done", 2 * REPAIRED);
    let steps: Vec<&str> = done.attempts.iter().map(|(rung, _)| rung.as_str()).collect();
    assert_eq!(steps, ["Nudge", "RemoveContentFinalizer"]);
    wait_gone(&stack, CONTENTS, None, &content);
    assert_eq!(handles(&stack), [kept]);
    drop(daemon);
}

pub(crate) fn impatient() -> Vec<String> {
    ["--retry-interval-max=8s", "--timeout=5s"].map(ToOwned::to_owned).to_vec()
}

/// The server refuses everybody but Volwarden to take a content's finalizer away.
pub(crate) fn only_we_remove_finalizers(stack: &Stack) {
    let rule = "size(object.metadata.?finalizers.orValue([])) >= size(oldObject.metadata.?finalizers.orValue([]))";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "only-we"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["snapshot.storage.k8s.io"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["volumesnapshotcontents"],
            }]},
            "matchConditions": [{"name": "others", "expression": format!("request.userInfo.username != '{}'", warden::ACCOUNT)}],
            "validations": [{"expression": rule}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "only-we"},
        "spec": {"policyName": "only-we", "validationActions": ["Deny"]},
    });
    stack.create(&policy).unwrap();
    stack.create(&binding).unwrap();
    let probe = ready_snapshot(stack, "probe");
    let refused = || {
        let patch = json!({"metadata": {"finalizers": []}});
        stack.patch(CONTENTS, None, &probe, None, &patch).is_err().then_some(())
    };
    stack.wait("the server refuses it", Duration::from_secs(30), refused).unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "probe").unwrap();
}

/// Stops the driver and its csi-snapshotter, and takes away what tells of them; its CSIDriver, as it was.
pub(crate) fn driver_is_gone(stack: &Stack) -> Value {
    let driver = stack.get("csidriver", None, DRIVER).unwrap().unwrap();
    for process in ["csi-snapshotter-0", "csi-driver"] {
        stack.process(process).unwrap().stop().unwrap();
    }
    stack.delete("csidriver", None, DRIVER).unwrap();
    stack.delete("lease", Some("default"), "external-snapshotter-leader-stack-csi-volwarden-dev").unwrap();
    driver
}

/// A driver that is gone for good, as far as anybody can see; then it comes back.
#[test]
fn seven_3_what_a_gone_driver_left_is_remembered_and_reclaimed() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    println!("7.3.1 given a content whose driver, its snapshotter and its lease are gone");
    let content = ready_snapshot(&stack, "left");
    let other = ready_snapshot(&stack, "other");
    let (handle, kept) = (handle_of(&stack, &content), handle_of(&stack, &other));
    let driver = driver_is_gone(&stack);
    stack.delete(SNAPSHOTS, Some("default"), "left").unwrap();
    super::wait_for(&stack, CONTENTS, None, &content, "/metadata/deletionTimestamp", Value::is_string);
    age_content(&stack, &content, "/metadata/deletionTimestamp", 1300);

    println!("7.3.2 when a policy enforces: nothing without consent on the object");
    warden::enforce(&stack, &[DRIVER], |_| {});
    let daemon = Warden::start(&stack, "volwarden");
    let found = || daemon.log().contains("\"class\":\"DriverUnknown\"").then_some(());
    stack.wait("the daemon has found it", REPAIRED, found).unwrap();
    let uid = text(&stack.get(CONTENTS, None, &content).unwrap().unwrap(), "/metadata/uid");
    let agreed = json!({"metadata": {"annotations": {"volwarden.dev/leave-behind": uid}}});
    stack.patch(CONTENTS, None, &content, None, &agreed).unwrap();

    println!("7.3.3 and nothing without an approval of exactly that plan");
    let waits = warden::wait_phase(&stack, "DriverUnknown", &content, "AwaitingApproval", 2 * REPAIRED);
    assert_eq!((waits.attempts.len(), warden::writes(&stack)), (0, Vec::new()));
    let approve = format!("volwarden.dev/approved={}", waits.hash);
    stack.kubectl(["annotate", warden::REMEDIATIONS, &waits.name, &approve]).unwrap();
    let done = warden::wait_phase(&stack, "DriverUnknown", &content, "Done", REPAIRED);
    assert_eq!(done.attempts, [("RemoveIntoOrphanLedger".to_owned(), "Applied".to_owned())]);
    wait_gone(&stack, CONTENTS, None, &content);

    println!("7.3.4 then what was left behind is remembered");
    assert!(handles(&stack).contains(&handle), "the backend still has it");
    let orphans = stack.kubectl_json(["get", warden::ORPHANS, "-o", "json"]).unwrap();
    let orphan = orphans.pointer("/items/0").unwrap();
    assert_eq!(text(orphan, "/spec/snapshotHandle"), handle);
    drop(daemon);

    println!("7.3.5 and once the driver is back, it really deletes");
    let driver = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": driver["spec"],
    });
    stack.create(&driver).unwrap();
    for process in ["csi-driver", "csi-snapshotter-0"] {
        stack.process(process).unwrap().start().unwrap();
    }
    let name = text(orphan, "/metadata/name");
    let said = super::doctor::volwarden(stack.kubeconfig(), &["orphans", "reclaim", &name, "--timeout", "3m"]);
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{words}");
    assert_eq!(handles(&stack), [kept], "{words}");
    let orphan = stack.get(warden::ORPHANS, None, &name).unwrap().unwrap();
    assert_eq!(text(&orphan, "/status/phase"), "Reclaimed", "{words}");
    assert!(words.contains("The driver answered OK"), "{words}");
}
