//! A person's way with repairs on the real stack: try a policy, approve, pause, and let the driver delete what was left.
//!
//! The driver rejects what comes without its secret, and its own state is the judge: what was to be deleted is gone
//! from it, and what was to stay is there. Reclaiming is done as the account of `deploy/base`, so that the fence has its
//! say about the import.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test stops where it stands, prints, and waits in real time"
)]

#[path = "scenarios/warden.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod warden;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use stack::{Options, Rook, Stack};
use warden::{ACCOUNT, Warden};

const SOON: Duration = Duration::from_secs(90);
/// Three fresh reads, 30 s apart, and what a busy machine adds.
const REPAIRED: Duration = Duration::from_secs(240);
const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";

const POLICY: &str = "\
apiVersion: volwarden.dev/v1alpha1
kind: RemediationPolicy
metadata:
  name: default
spec:
  mode: Approve
  scope:
    drivers: [rook-ceph.rbd.csi.ceph.com]
";

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Runs `volwarden`; its exit code, and what it said, which is printed too.
fn volwarden(kubeconfig: &Path, words: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(words)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .env_remove("KUBECONFIG")
        .output()
        .expect("the binary runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("$ volwarden {}\n{said}", words.join(" "));
    (output.status.code().expect("it ends by itself"), said)
}

/// The plan for one content, as a script sees it.
fn plan(stack: &Stack, words: &[&str], content: &str) -> Value {
    let said = Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(["plan", "-o", "json"])
        .args(words)
        .arg("--kubeconfig")
        .arg(stack.kubeconfig())
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    let plans = json["plans"].as_array().unwrap();
    let found = plans.iter().find(|plan| text(plan, "/finding/subject/name") == content);
    found.unwrap_or_else(|| panic!("no plan for {content} in {json:#}")).clone()
}

fn verdict(plan: &Value, guard: &str) -> String {
    let verdicts = plan.pointer("/step/verdicts").and_then(Value::as_array).unwrap();
    text(verdicts.iter().find(|one| one["guard"] == guard).unwrap(), "/verdict")
}

fn handles(stack: &Stack) -> Vec<String> {
    let mut all: Vec<String> = stack.driver_snapshots().unwrap().into_iter().map(|found| found.id).collect();
    all.sort();
    all
}

fn ready(stack: &Stack, name: &str, class: &str) -> (String, String) {
    stack.snapshot("default", name, "data", class).unwrap();
    let content = stack
        .wait(&format!("VolumeSnapshot {name} is ready"), SOON, || {
            let snapshot = stack.get(SNAPSHOTS, Some("default"), name).ok()??;
            let is_ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true));
            is_ready.then(|| text(&snapshot, "/status/boundVolumeSnapshotContentName"))
        })
        .unwrap();
    let handle = text(&stack.get(CONTENTS, None, &content).unwrap().unwrap(), "/status/snapshotHandle");
    (content, handle)
}

fn wait_gone(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str) {
    let what = format!("{kind} {name} is gone");
    stack.wait(&what, SOON, || stack.get(kind, namespace, name).ok()?.is_none().then_some(())).unwrap();
}

/// Strips snapshots while nobody marks their contents, and deletes those, as a script does.
fn orphan(stack: &Stack, cuts: &[(&str, &str)]) {
    let controller = stack.process("snapshot-controller").unwrap();
    controller.kill().unwrap();
    for (snapshot, _) in cuts {
        stack.delete(SNAPSHOTS, Some("default"), snapshot).unwrap();
        let free = json!({"metadata": {"finalizers": []}});
        stack.patch(SNAPSHOTS, Some("default"), snapshot, None, &free).unwrap();
        wait_gone(stack, SNAPSHOTS, Some("default"), snapshot);
    }
    controller.start().unwrap();
    for (_, content) in cuts {
        stack.delete(CONTENTS, None, content).unwrap();
        stack.age(CONTENTS, None, content, "/metadata/deletionTimestamp", Duration::from_secs(1300)).unwrap();
    }
}

fn rook() -> Option<Stack> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    let stack = Stack::start(Options::pods()).unwrap();
    let rook = Rook { driver_args: vec!["--require-secrets".to_owned()], ..Rook::operator() };
    stack.deploy(&rook).unwrap();
    stack.storage_class("rbd", &rook.driver).unwrap();
    stack.snapshot_class_of("fast", &rook.driver, "Delete", true).unwrap();
    stack.snapshot_class_of("kept", &rook.driver, "Retain", true).unwrap();
    stack.claim("default", "data", "rbd", None).unwrap();
    stack.wait_bound("default", "data").unwrap();
    warden::install(&stack, &[&rook.namespace]);
    Some(stack)
}

#[test]
fn a_policy_is_tried_a_plan_approved_and_what_is_left_behind_reclaimed() {
    let Some(stack) = rook() else { return };
    let admin = stack.kubeconfig();
    let (orphaned, orphaned_handle) = ready(&stack, "db-1", "fast");
    let (retained, retained_handle) = ready(&stack, "db-2", "kept");
    let (_, kept_handle) = ready(&stack, "alive", "fast");
    orphan(&stack, &[("db-1", &orphaned), ("db-2", &retained)]);
    let has = |handle: &String| handles(&stack).contains(handle);
    assert!(has(&orphaned_handle) && has(&retained_handle) && has(&kept_handle));

    println!("--- without a policy nothing would be done; with that of a file, somebody would be asked");
    let (code, said) = volwarden(admin, &["plan"]);
    assert!(code == 1 && said.contains("policy none") && said.contains("\nHeld: 2\n"), "{code} {said}");
    let file = stack.folder().join("policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let file = file.to_str().unwrap();
    let (_, said) = volwarden(admin, &["plan", "-f", file]);
    assert!(said.contains("\nNeeds an approval: 2\n"), "{said}");
    let tried = text(&plan(&stack, &["-f", file], &orphaned), "/step/hash");

    println!("--- the daemon enters the same plan into the ledger, and an approval lets it act");
    stack.kubectl(["apply", "-f", file]).unwrap();
    let _daemon = Warden::start(&stack, "volwarden");
    let entry = warden::wait_phase(&stack, "OrphanedContent", &orphaned, "AwaitingApproval", REPAIRED);
    assert_eq!(entry.hash, tried, "what was tried is what is done");
    let (_, said) = volwarden(admin, &["plan"]);
    assert!(said.contains(&format!("volwarden approve {} --hash {tried}", entry.name)), "{said}");
    volwarden(admin, &["why", "vsc", &orphaned]);
    let (code, said) = volwarden(admin, &["approve", &entry.name, "--hash", &tried]);
    assert!(code == 0 && said.contains("\nApproved. It is good for this plan alone"), "{said}");
    warden::wait_phase(&stack, "OrphanedContent", &orphaned, "Done", REPAIRED);
    wait_gone(&stack, CONTENTS, None, &orphaned);
    assert!(!has(&orphaned_handle) && has(&retained_handle) && has(&kept_handle));
    let (code, said) = volwarden(admin, &["approve", &entry.name]);
    assert!(code == 2 && said.contains("is over (Done)"), "{said}");

    println!("--- a pause holds, and says so");
    let entry = warden::wait_phase(&stack, "OrphanedContent", &retained, "AwaitingApproval", REPAIRED);
    let (code, _) = volwarden(admin, &["pause", "--reason", "upgrade of Rook", "--for", "2h"]);
    assert_eq!((code, verdict(&plan(&stack, &[], &retained), "paused").as_str()), (0, "Wait"));
    volwarden(admin, &["plan"]);
    let (code, _) = volwarden(admin, &["resume"]);
    assert_eq!((code, verdict(&plan(&stack, &[], &retained), "paused").as_str()), (0, "Allow"));

    println!("--- what stays behind stands in the orphan ledger, and its driver deletes it");
    volwarden(admin, &["approve", &entry.name]);
    warden::wait_phase(&stack, "OrphanedContent", &retained, "Done", REPAIRED);
    wait_gone(&stack, CONTENTS, None, &retained);
    assert!(has(&retained_handle), "Retain: the backend snapshot is kept");
    let (_, said) = volwarden(admin, &["orphans", "list"]);
    assert!(said.contains(&retained_handle), "{said}");
    let name = text(&stack.kubectl_json(["get", warden::ORPHANS, "-o", "json"]).unwrap(), "/items/0/metadata/name");
    let account = stack.kubeconfig_for(ACCOUNT, &["system:serviceaccounts"]).unwrap();
    let (code, said) = volwarden(&account, &["orphans", "reclaim", &name]);
    assert!(code == 0 && said.contains("The driver answered OK to its deletion."), "{said}");
    assert_eq!(handles(&stack), [kept_handle], "exactly what was to stay");
    let left = stack.get(warden::ORPHANS, None, &name).unwrap().unwrap();
    assert_eq!(text(&left, "/status/phase"), "Reclaimed");
    let (code, said) = volwarden(&account, &["orphans", "reclaim", &name]);
    assert!(code == 2 && said.contains("is reclaimed already"), "{said}");
}
