//! The commands that plan, approve, pause and reclaim: the real binary against the embedded API server.
//!
//! What a person is told is taken for what is so, and acted on at 3 a.m. So each answer is compared with what the
//! cluster then holds, and each refusal with that nothing was written.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "cli_repairs/approve.rs"]
mod approve;
#[path = "cli_repairs/kopia.rs"]
mod kopia;
#[path = "cli_repairs/orphans.rs"]
mod orphans;
#[path = "cli_repairs/pause.rs"]
mod pause;
#[path = "cli_repairs/plan.rs"]
mod plan;
#[path = "cli_repairs/retentions.rs"]
mod retentions;
#[path = "sim/mod.rs"]
mod sim;

use std::process::{Command, Output, Stdio};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim::Embedded;
use volwarden::sim::store::table::{self, Resource};
use volwarden::sim::store::{DeleteOptions, Part, Patch, Writer};

const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const DRIVER: &str = "rbd.example.com";

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Exit code 2, nothing on stdout, and one line that has all of these words.
    fn refused(&self, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str(), self.err.lines().count()), (2, "", 1), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{word} is not in {}", self.err);
        }
    }
}

/// Runs `volwarden` on an embedded cluster, with nothing of this machine's settings.
async fn volwarden(embedded: &Embedded, words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.args(words).arg("--kubeconfig").arg(embedded.kubeconfig()).env_clear().stdin(Stdio::null());
    let run = move || command.output().expect("the binary runs");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}

/// An embedded cluster at the machine's present, as the commands' clock is.
async fn cluster() -> Embedded {
    let embedded = Embedded::start().await;
    embedded.shared.with(|host| host.now = Timestamp::now());
    embedded
}

/// Makes an object, and its status where it has one.
fn make(embedded: &Embedded, resource: &'static Resource, object: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    embedded.shared.with(|host| {
        let writer = Writer { name: "snapshot-controller", at: host.now - SignedDuration::from_hours(1) };
        host.store.create(writer, resource, &namespace, object.clone()).unwrap();
        if let Some(status) = object.get("status") {
            let patch = Patch::Merge(json!({"status": status}));
            host.store.patch(writer, resource, &namespace, &name, Part::Status, &patch).unwrap();
        }
    });
}

/// An object as it stands in the cluster now.
fn stands(embedded: &Embedded, resource: &'static Resource, namespace: &str, name: &str) -> Option<Value> {
    embedded.shared.with(|host| host.store.get(resource, namespace, name).ok().map(|object| (*object).clone()))
}

/// How far the cluster's history goes: it stands still where nothing is written.
fn version(embedded: &Embedded) -> u64 {
    embedded.shared.with(|host| host.store.version())
}

fn content(name: &str) -> Value {
    json!({"metadata": {"name": name, "finalizers": [BOUND]},
        "spec": {"driver": DRIVER, "deletionPolicy": "Delete", "source": {"volumeHandle": "vol-1"},
            "volumeSnapshotClassName": "fast",
            "volumeSnapshotRef": {"namespace": "default", "name": "gone", "uid": "6b1f5f2e-0000-4000-8000-000000000001"}},
        "status": {"snapshotHandle": format!("handle-{name}"), "readyToUse": true,
            "creationTime": (Timestamp::now() - SignedDuration::from_hours(1)).as_second() * 1_000_000_000}})
}

/// A content that was deleted an hour ago, after its VolumeSnapshot had gone without marking it.
fn orphan(embedded: &Embedded, name: &str) {
    make(embedded, table::CONTENTS, &content(name));
    embedded.shared.with(|host| {
        let writer = Writer { name: "kubectl", at: host.now - SignedDuration::from_mins(50) };
        host.store.delete(writer, table::CONTENTS, "", name, &DeleteOptions::default()).unwrap();
    });
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy", "metadata": {"name": name}, "spec": spec})
}

/// The driver, with a csi-snapshotter that leads and renews its lease for as long as the runtime lives.
fn driver(embedded: &Embedded) {
    make(embedded, table::CSI_DRIVERS, &json!({"metadata": {"name": DRIVER}, "spec": {}}));
    let name = "external-snapshotter-leader-rbd-example-com";
    make(
        embedded,
        table::LEASES,
        &json!({"metadata": {"namespace": "kube-system", "name": name},
            "spec": {"holderIdentity": "ctrlplugin-0", "leaseDurationSeconds": 15, "renewTime": Timestamp::now()}}),
    );
    let shared = embedded.shared.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            shared.with(|host| {
                host.now = Timestamp::now();
                let writer = Writer { name: "csi-snapshotter", at: host.now };
                let patch = Patch::Merge(json!({"spec": {"renewTime": host.now}}));
                host.store.patch(writer, table::LEASES, "kube-system", name, Part::Object, &patch).unwrap();
            });
        }
    });
}

/// An entry of the ledger about the content `snapcontent-1`.
fn remediation(name: &str, uid: &str, hash: &str, phase: &str) -> Value {
    let target = json!({"kind": "VolumeSnapshotContent", "name": "snapcontent-1", "uid": uid, "resourceVersion": "7"});
    let over = ["Done", "Failed", "Lapsed"].contains(&phase).then(Timestamp::now);
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "Remediation", "metadata": {"name": name},
        "spec": {"class": "OrphanedContent", "driver": DRIVER, "since": Timestamp::now() - SignedDuration::from_mins(50),
            "subject": {"kind": "VolumeSnapshotContent", "name": "snapcontent-1", "uid": uid}},
        "status": {"phase": phase, "message": "held by mode", "finishedAt": over,
            "plan": {"hash": hash, "rung": "MarkBeingDeleted", "summary": "set the annotation being-deleted",
                "policies": ["default"], "target": target, "leaks": false, "destroys": true}}})
}
