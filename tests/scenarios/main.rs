//! The product against the real control plane: real controllers leave things stuck, `doctor` says what and why.
//!
//! Each module is one theme with a stack of its own; a scenario makes its shape for real, asks before its time
//! (nothing may be named), lets time pass (timestamps are made older in etcd where waiting would take minutes)
//! and asks again. Scenario numbers are those of `tests/diagnosis.rs`; those from 5 on
//! are stories, told in the words of [`story`], with drivers that run as pods. Two stacks run at a time: most of
//! a scenario is waiting, and two cores are not enough for honest timeouts with more.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a scenario stops where it stands, prints, and waits in real time"
)]

mod answers;
mod cluster;
mod components;
mod doctor;
mod kills;
mod kopia;
mod leaders;
mod leftovers;
mod mending;
mod missed;
mod pruning;
mod repairs;
mod replay;
mod shapes;
mod story;
mod untouched;
mod warden;

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use serde_json::{Value, json};
use stack::{Options, Stack, Volume};

/// So many stacks run at a time: each mostly waits, and has 0.8 GB.
static PLACES: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];

/// Time enough for a healthy controller on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENT_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

/// The turn to run, or `None` where programs are missing and `VOLWARDEN_STACK_OPTIONAL=1` makes that no failure.
fn turn() -> Option<MutexGuard<'static, ()>> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    let taken = |place: &'static Mutex<()>| match place.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    let free = PLACES.iter().find_map(taken);
    Some(free.unwrap_or_else(|| PLACES[0].lock().unwrap_or_else(PoisonError::into_inner)))
}

/// A stack with the claim `default/data` and the classes `fast` (Delete) and `kept` (Retain).
fn with_claim(options: Options) -> Stack {
    let stack = Stack::start(Options { volumes: vec![Volume::new("vol-1")], ..options }).unwrap();
    stack.bound_pvc("default", "data", "vol-1").unwrap();
    stack.snapshot_class("fast", "Delete").unwrap();
    stack.snapshot_class("kept", "Retain").unwrap();
    stack
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Takes a snapshot of `default/data` and gives its content's name once it is ready.
fn ready_snapshot(stack: &Stack, name: &str) -> String {
    ready_snapshot_of(stack, name, "fast")
}

/// The same of another class.
fn ready_snapshot_of(stack: &Stack, name: &str, class: &str) -> String {
    stack.snapshot("default", name, "data", class).unwrap();
    stack
        .wait(&format!("VolumeSnapshot {name} is ready"), SOON, || {
            let snapshot = stack.get(SNAPSHOTS, Some("default"), name).ok()??;
            let content = text(&snapshot, "/status/boundVolumeSnapshotContentName");
            let ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true)) && !content.is_empty();
            // The finalizers come last; what is made of the snapshot later must not race with them.
            // Under Retain the snapshot is not held until its content is gone.
            let finalizers = if class == "kept" { 1 } else { 2 };
            let held = snapshot.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len);
            let held = held == finalizers;
            (ready && held).then_some(content)
        })
        .unwrap()
}

fn wait_gone(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str) {
    let what = format!("{kind} {name} is gone");
    stack.wait(&what, SOON, || stack.get(kind, namespace, name).ok()?.is_none().then_some(())).unwrap();
}

/// Waits until an object has this at a JSON pointer.
fn wait_for(
    stack: &Stack,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    pointer: &str,
    wanted: impl Fn(&Value) -> bool,
) {
    let what = format!("{kind} {name} has {pointer} as wanted");
    stack
        .wait(&what, SOON, || {
            let object = stack.get(kind, namespace, name).ok()??;
            wanted(object.pointer(pointer).unwrap_or(&Value::Null)).then_some(())
        })
        .unwrap();
}

fn set_finalizers(stack: &Stack, kind: &str, namespace: Option<&str>, name: &str, finalizers: &[&str]) {
    stack.patch(kind, namespace, name, None, &json!({"metadata": {"finalizers": finalizers}})).unwrap();
}

fn age_content(stack: &Stack, name: &str, pointer: &str, seconds: u64) {
    stack.age(CONTENTS, None, name, pointer, Duration::from_secs(seconds)).unwrap();
}

fn age_snapshot(stack: &Stack, name: &str, pointer: &str, seconds: u64) {
    stack.age(SNAPSHOTS, Some("default"), name, pointer, Duration::from_secs(seconds)).unwrap();
}
