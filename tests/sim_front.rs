//! The embedded API server's HTTP front, as its readers see it: kube's client, kubectl, and Volwarden itself.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/kubectl.rs"]
mod kubectl;
#[path = "sim/mod.rs"]
mod sim;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions,
    WatchEvent, WatchParams,
};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use sim::Embedded;
use volwarden::sim::http::LogLine;
use volwarden::sim::store::table::{self, Resource};
use volwarden::sim::store::{DeleteOptions, Writer};

const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/// Makes objects directly in the store, as `writer`, at the cluster's present.
fn make(embedded: &Embedded, resource: &'static Resource, namespace: &str, object: Value) {
    embedded.shared.with(|host| {
        let writer = Writer { name: "snapshot-controller", at: host.now };
        host.store.create(writer, resource, namespace, object).unwrap();
    });
}

fn snapshot(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"volumeSnapshotClassName": "fast",
        "source": {"persistentVolumeClaimName": "data"}}})
}

fn content(name: &str) -> Value {
    json!({"metadata": {"name": name, "finalizers": [BOUND]},
        "spec": {"driver": "rbd.example.com", "deletionPolicy": "Delete", "source": {"volumeHandle": "vol-1"},
            "volumeSnapshotClassName": "fast",
            "volumeSnapshotRef": {"namespace": "default", "name": "gone", "uid": "6b1f5f2e-0000-4000-8000-000000000001"}}})
}

fn pod(name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> =
        containers.iter().map(|name| json!({"name": name, "image": "example.com/i:1"})).collect();
    json!({"metadata": {"name": name}, "spec": {"containers": containers}})
}

fn lines(embedded: &Embedded, texts: &[&str]) {
    embedded.shared.with(|host| {
        for text in texts {
            let number = host.lines.len() as u64;
            let at = host.now + SignedDuration::from_secs(i64::try_from(number).unwrap());
            host.lines.push(LogLine { number, at, text: (*text).to_owned() });
        }
    });
}

fn snapshots(client: &kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
    Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind))
}

/// Runs a program to its end, with nothing of this process's settings.
async fn run(program: PathBuf, words: Vec<String>) -> Output {
    let run = move || {
        let home = std::env::temp_dir();
        Command::new(program).args(words).env_remove("KUBECONFIG").env("HOME", home).output().expect("it runs")
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// `volwarden doctor -o json`: its exit code and `Class Kind name` of each finding.
async fn doctor(embedded: &Embedded) -> (i32, Vec<String>) {
    let kubeconfig = embedded.kubeconfig().display().to_string();
    let words = ["doctor", "-o", "json", "--kubeconfig", &kubeconfig].map(str::to_owned).to_vec();
    let output = run(env!("CARGO_BIN_EXE_volwarden").into(), words).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}\n{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    let word = |finding: &Value, pointer: &str| finding.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter().map(|finding| {
        format!("{} {} {}", word(finding, "/class"), word(finding, "/subject/kind"), word(finding, "/subject/name"))
    });
    (output.status.code().unwrap(), findings.collect())
}

/// What doctor finds then: the cluster has no program of that driver either.
const ORPHAN: [&str; 2] = ["DriverUnknown CSIDriver rbd.example.com", "OrphanedContent VolumeSnapshotContent orphan"];

/// A content that was deleted an hour ago, after its snapshot had gone without marking it.
async fn with_orphan() -> Embedded {
    let embedded = Embedded::start().await;
    embedded.shared.with(|host| {
        host.now = Timestamp::now();
        let writer = Writer { name: "kubectl", at: host.now - SignedDuration::from_hours(1) };
        host.store.create(writer, table::CONTENTS, "", content("orphan")).unwrap();
        host.store.delete(writer, table::CONTENTS, "", "orphan", &DeleteOptions::default()).unwrap();
    });
    embedded
}

#[tokio::test]
async fn kubes_client_reads_writes_and_deletes() {
    let embedded = Embedded::start().await;
    let api = snapshots(&embedded.client().await);
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot"));
    for name in ["a", "b", "c"] {
        let object = DynamicObject::new(name, &resource).data(json!({"spec": snapshot(name)["spec"]}));
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    let page = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (2, Some(1)));
    let next = ListParams::default().limit(2).continue_token(&page.metadata.continue_.unwrap());
    assert_eq!(api.list(&next).await.unwrap().items[0].metadata.name.as_deref(), Some("c"));

    let patch = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let held = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let stale = Preconditions { uid: None, resource_version: Some("1".to_owned()) };
    let refused = api.delete("a", &DeleteParams::default().preconditions(stale)).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.is_conflict()), "{refused}");
    let exact = Preconditions { uid: held.metadata.uid, resource_version: held.metadata.resource_version };
    let going = api.delete("a", &DeleteParams::default().preconditions(exact)).await.unwrap().left().unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    let metadata = api.get_metadata("a").await.unwrap();
    assert_eq!(metadata.metadata.finalizers.unwrap(), ["example.com/hold"]);
    assert!(api.delete("b", &DeleteParams::default()).await.unwrap().is_right(), "it is gone, and a Status says so");
    embedded.stop().await;
}

#[tokio::test]
async fn kubes_client_watches() {
    let embedded = Embedded::start().await;
    make(&embedded, table::SNAPSHOTS, "default", snapshot("a"));
    let api = snapshots(&embedded.client().await);
    let mut events = Box::pin(api.watch(&WatchParams::default(), "0").await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let next = tokio::time::timeout(Duration::from_secs(20), events.next());
        seen.push(match next.await.expect("an event in time").unwrap().unwrap() {
            WatchEvent::Added(object) => format!("+{}", object.metadata.name.unwrap()),
            WatchEvent::Modified(object) => format!("~{}", object.metadata.name.unwrap()),
            WatchEvent::Deleted(object) => format!("-{}", object.metadata.name.unwrap()),
            other => format!("{other:?}"),
        });
        match seen.len() {
            1 => make(&embedded, table::SNAPSHOTS, "default", snapshot("b")),
            2 => {
                let patch = Patch::Merge(json!({"status": {"readyToUse": true}}));
                api.patch_status("b", &PatchParams::default(), &patch).await.unwrap();
            }
            3 => drop(api.delete("a", &DeleteParams::default()).await.unwrap()),
            _ => {}
        }
    }
    assert_eq!(seen, ["+a", "+b", "~b", "-a"]);
    // A watch is no reason not to end.
    embedded.stop().await;
}

#[tokio::test]
async fn logs_are_read_from_the_end_or_by_age() {
    let embedded = Embedded::start().await;
    make(&embedded, table::PODS, "default", pod("p", &["plugin", "sidecar"]));
    lines(&embedded, &["one", "two", "three"]);
    let pods: Api<Pod> = Api::namespaced(embedded.client().await, "default");
    let sidecar = || LogParams { container: Some("sidecar".to_owned()), ..LogParams::default() };
    assert_eq!(pods.logs("p", &sidecar()).await.unwrap(), "one\ntwo\nthree\n");
    let tail = LogParams { tail_lines: Some(1), timestamps: true, ..sidecar() };
    assert_eq!(pods.logs("p", &tail).await.unwrap(), "2026-11-22T20:00:02Z three\n");
    let bytes = LogParams { limit_bytes: Some(5), ..sidecar() };
    assert_eq!(pods.logs("p", &bytes).await.unwrap(), "one\nt");
    embedded.shared.with(|host| host.now += SignedDuration::from_secs(3));
    let since = LogParams { since_seconds: Some(2), ..sidecar() };
    assert_eq!(pods.logs("p", &since).await.unwrap(), "two\nthree\n");
    let unnamed = pods.logs("p", &LogParams::default()).await.unwrap_err().to_string();
    assert!(unnamed.contains("choose one of: [plugin sidecar]"), "{unnamed}");
    embedded.stop().await;
}

#[tokio::test]
async fn a_list_that_takes_too_long_is_refused_with_a_way_to_go_on() {
    let embedded = Embedded::start().await;
    for name in ["a", "b", "c"] {
        make(&embedded, table::SNAPSHOTS, "default", snapshot(name));
    }
    let client = embedded.client().await;
    let path = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots?limit=1";
    let (_, page) = faults::get(&client, path).await;
    let token = |answer: &Value| answer["metadata"]["continue"].as_str().unwrap().replace('/', "%2F");
    make(&embedded, table::SNAPSHOTS, "default", snapshot("aa"));
    let (_, second) = faults::get(&client, &format!("{path}&continue={}", token(&page))).await;
    assert_eq!(second["items"][0]["metadata"]["name"], "b", "as of the first page");
    embedded.shared.with(|host| host.store.compact(host.store.version()));
    let (code, refused) = faults::get(&client, &format!("{path}&continue={}", token(&page))).await;
    assert_eq!((code, &refused["reason"]), (410, &json!("Expired")));
    let (code, rest) = faults::get(&client, &format!("{path}&continue={}", token(&refused))).await;
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (200, &json!("aa")), "as things are now");
    embedded.stop().await;
}

#[tokio::test]
async fn doctor_names_what_is_stuck() {
    let embedded = with_orphan().await;
    assert_eq!(doctor(&embedded).await, (1, ORPHAN.map(str::to_owned).to_vec()));
    embedded.stop().await;
}

#[tokio::test]
async fn a_cluster_without_a_group_does_not_serve_it() {
    let embedded = Embedded::start().await;
    embedded.shared.with(|host| host.store.remove_group(table::VOLSYNC_GROUP));
    let client = embedded.client().await;
    let (code, _) = faults::get(&client, "/apis/volsync.backube/v1alpha1").await;
    assert_eq!(code, 404);
    let (code, page) = faults::get(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions").await;
    let names: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(code, 200);
    assert!(names.contains(&"volumesnapshots.snapshot.storage.k8s.io"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("volsync")), "{names:?}");
    embedded.stop().await;
}
