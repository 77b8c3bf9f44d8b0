//! How fast a mass of contents gets the annotation that it needs, against a real API server.
//!
//! `cargo bench --bench repairs -- [CONTENTS]` loads so many orphaned contents (default 10,000) and lets `volwarden run`
//! repair them, as the account of `deploy/base` under its fence, with the limits of a policy at their highest. A task
//! stands in for csi-snapshotter: it renews the leader's Lease, and lets go of each content that is marked, as its driver
//! would once it has deleted.
//! Beside it stands the server's own rate: a plain client that sets one annotation on as many contents.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use stack::{Load, Options, Stack};
use volwarden::io::client::{Client, Target, connect};

const ACCOUNT: &str = "system:serviceaccount:volwarden-system:volwarden";
const CONTENTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents";
const MARK: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
/// Writes of the plain client, and of the stand-in, under way at the same time: as many as the daemon's.
const AT_ONCE: usize = 8;

fn main() {
    let contents = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let options = Options { record: false, apiserver_memory: Some("6GiB".to_owned()), ..Options::api_only() };
    let stack = Stack::start(options).expect("the stack starts");
    install(&stack);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    let client = runtime.block_on(connect(&target)).unwrap();
    println!("| who | contents | took | contents a second | writes a second |");
    println!("| --- | --- | --- | --- | --- |");
    plain(&stack, &runtime, &client, contents);
    daemon(&stack, &runtime, &client, contents);
}

/// The kinds, the rights and the fence, and a policy that holds as little as a policy can.
fn install(stack: &Stack) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base");
    stack.kubectl(["apply", "-k", base.to_str().unwrap()]).unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=60s"];
    let kinds =
        ["remediations", "remediationpolicies", "orphanedsnapshots"].map(|kind| format!("crd/{kind}.volwarden.dev"));
    stack.kubectl(established.map(str::to_owned).into_iter().chain(kinds)).unwrap();
    let policy = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy", "metadata": {"name": "bench"},
        "spec": {
            "mode": "Enforce", "scope": {"drivers": [Load::pairs(1).driver]},
            "limits": {"firstSingly": 1, "maxInFlight": 64, "budgets": {"marksPerHour": 100_000}},
        },
    });
    stack.apply_json(&policy).unwrap();
}

/// The API server's own rate.
fn plain(stack: &Stack, runtime: &tokio::runtime::Runtime, client: &Client, contents: usize) {
    let load = Load {
        prefix: "plain".to_owned(),
        driver: "plain.example.com".to_owned(),
        orphaned: true,
        ..Load::pairs(contents)
    };
    stack.load(&load).expect("the load is in");
    let names = runtime.block_on(list(client, &load.driver));
    let began = Instant::now();
    let mark = json!({"metadata": {"annotations": {"example.com/mark": "yes"}}});
    runtime.block_on(each(client, &names, &mark));
    let took = began.elapsed();
    let rate = per_second(names.len(), took);
    println!("| a plain client | {} | {:.0} s | {rate:.0} | {rate:.0} |", names.len(), took.as_secs_f64());
    // Gone, so that the next row has the server to itself.
    runtime.block_on(each(client, &names, &json!({"metadata": {"finalizers": null}})));
}

fn daemon(stack: &Stack, runtime: &tokio::runtime::Runtime, client: &Client, contents: usize) {
    let load = Load { prefix: "left".to_owned(), orphaned: true, ..Load::pairs(contents) };
    stack.load(&load).expect("the load is in");
    // The first one of a load is whole.
    let wanted = contents - 1;
    let marks = Arc::new(Mutex::new(Vec::with_capacity(wanted)));
    let stand_in = runtime.spawn(let_go(client.clone(), Arc::clone(&marks)));
    let leader = runtime.spawn(lead(client.clone(), load.driver.clone()));
    let mut running = run(stack);
    let began = Instant::now();
    let mut last = (Duration::ZERO, 0);
    let mut first_writes = None;
    loop {
        // The stand-in works only while the runtime is driven.
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(1)).await });
        assert!(!stand_in.is_finished() && !leader.is_finished(), "the stand-in ended");
        assert!(running.try_wait().unwrap().is_none(), "the daemon ended");
        let marked = marks.lock().unwrap().len();
        if marked > 0 && first_writes.is_none() {
            first_writes = Some(writes(stack));
        }
        if marked > last.1 {
            last = (began.elapsed(), marked);
        }
        if marked >= wanted {
            break;
        }
        let still = began.elapsed().saturating_sub(last.0);
        assert!(still < Duration::from_secs(300), "{marked} of {wanted} after {:?}, and no more come", began.elapsed());
    }
    let written = writes(stack) - first_writes.unwrap_or_default();
    running.kill().unwrap();
    running.wait().unwrap();
    let marks = marks.lock().unwrap();
    let took = marks.last().unwrap().duration_since(*marks.first().unwrap());
    println!(
        "| `volwarden run` | {wanted} | {:.0} s | {:.0} | {:.0} |",
        took.as_secs_f64(),
        per_second(wanted, took),
        per_second(written, took)
    );
}

fn run(stack: &Stack) -> Child {
    let kubeconfig = stack.kubeconfig_for(ACCOUNT, &["system:serviceaccounts"]).unwrap();
    Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(["run", "--listen=127.0.0.1:0", "--lease-namespace=volwarden-system", "--require-fence", "--kubeconfig"])
        .arg(kubeconfig)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Writes of the daemon's that the server took so far, by its audit log: actions, the ledger, Events, the lease.
fn writes(stack: &Stack) -> usize {
    let is_write = |line: &&Value| {
        let text = |at: &str| line.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let read = ["get", "list", "watch"].contains(&text("/verb"));
        let taken = line.pointer("/responseStatus/code").and_then(Value::as_u64).is_some_and(|code| code < 300);
        text("/user/username") == ACCOUNT && !read && taken && text("/stage") == "ResponseComplete"
    };
    stack.audit().unwrap().iter().filter(is_write).count()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The names of a driver's contents that are being deleted.
async fn list(client: &Client, driver: &str) -> Vec<String> {
    let request = http::Request::get(CONTENTS).body(Vec::new()).unwrap();
    let all: Value = client.request(request).await.unwrap();
    let items = all["items"].as_array().unwrap().iter();
    let going =
        items.filter(|item| item["spec"]["driver"] == driver && item["metadata"]["deletionTimestamp"].is_string());
    going.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Lays a patch over each.
async fn each(client: &Client, names: &[String], change: &Value) {
    stream::iter(names).for_each_concurrent(AT_ONCE, |name| lay(client, name, change)).await;
}

async fn lay(client: &Client, name: &str, change: &Value) {
    patch(client, &format!("{CONTENTS}/{name}"), change).await;
}

async fn patch(client: &Client, path: &str, change: &Value) {
    let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
    client.request_text(request.body(change.to_string().into_bytes()).unwrap()).await.unwrap();
}

/// Leads as csi-snapshotter of this driver does.
async fn lead(client: Client, driver: String) {
    let object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": driver}, "spec": {},
    });
    post(&client, "/apis/storage.k8s.io/v1/csidrivers", &object).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let name = format!("external-snapshotter-leader-{}", driver.replace('.', "-"));
    let now = format!("{:.6}", jiff::Timestamp::now());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "stand-in", "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now},
    });
    post(&client, leases, &lease).await;
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let renewed = json!({"spec": {"renewTime": format!("{:.6}", jiff::Timestamp::now())}});
        patch(&client, &format!("{leases}/{name}"), &renewed).await;
    }
}

async fn post(client: &Client, path: &str, object: &Value) {
    let request = http::Request::post(path).header("content-type", "application/json");
    client.request_text(request.body(object.to_string().into_bytes()).unwrap()).await.unwrap();
}

/// Lets go of each content that is marked, and notes when it was seen to be.
async fn let_go(client: Client, marks: Arc<Mutex<Vec<Instant>>>) {
    let request = http::Request::get(format!("{CONTENTS}?watch=true&timeoutSeconds=7200")).body(Vec::new()).unwrap();
    let lines = client.request_stream(request).await.unwrap().lines();
    lines
        .filter_map(async |line| {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let metadata = &event["object"]["metadata"];
            let marked = event["type"] == "MODIFIED" && metadata["annotations"][MARK] == "yes";
            (marked && metadata["finalizers"].is_array()).then(|| metadata["name"].as_str().unwrap().to_owned())
        })
        .for_each_concurrent(AT_ONCE, |name| {
            marks.lock().unwrap().push(Instant::now());
            let client = &client;
            async move { lay(client, &name, &json!({"metadata": {"finalizers": null}})).await }
        })
        .await;
}
