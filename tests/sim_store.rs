//! The embedded API server answers as a real one: the same requests, the same answers, word for word.
//!
//! `tests/sim/requests.rs` is the table of requests. What a real kube-apiserver answered is kept as a reviewed copy
//! (`tests/snapshots`); one test compares it with the embedded server, another with a real one again, where its
//! programs are there. Only times, uids and versions are left out.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim/requests.rs"]
mod requests;
#[path = "sim/mod.rs"]
mod sim;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::{Map, Value, json};
use stack::{Options, Stack};
use tokio::time::Instant;
use volwarden::io::client::{self, Target};
use volwarden::sim::store::{Writer, table};

use requests::{Ask, Body, asks};

/// Sends all requests in order; the answers, as far as two servers can give the same.
async fn answers(client: &Client) -> Vec<Value> {
    let mut known = BTreeMap::new();
    let mut answers = Vec::new();
    for ask in asks() {
        let (code, lines) = send(client, &ask, &known).await;
        if let (Some(name), Some(first)) = (ask.keep, lines.first()) {
            let metadata = first.get("metadata").expect(ask.about);
            for (field, key) in [("uid", "uid"), ("rv", "resourceVersion"), ("continue", "continue")] {
                let value = metadata.get(key).and_then(Value::as_str);
                known.extend(value.map(|value| (format!("{name}.{field}"), value.to_owned())));
            }
        }
        let partly =
            |line: &Value| ask.only.iter().filter_map(|at| Some((*at, line.pointer(at)?.clone()))).collect::<Value>();
        let lines =
            lines.into_iter().map(|line| if ask.only.is_empty() { comparable(line, &known) } else { partly(&line) });
        let said: Vec<Value> = lines.collect();
        let request = format!("{} {}", ask.method, ask.path);
        answers.push(json!({"about": ask.about, "request": request, "code": code, "said": said}));
    }
    answers
}

async fn send(client: &Client, ask: &Ask, known: &BTreeMap<String, String>) -> (u16, Vec<Value>) {
    let fill =
        |text: &str| known.iter().fold(text.to_owned(), |text, (key, value)| text.replace(&format!("<{key}>"), value));
    let request = Request::builder().method(ask.method).uri(fill(&ask.path));
    let request = match &ask.body {
        Body::None => request.body(kube::client::Body::empty()),
        Body::Some(kind, value) => {
            let text = fill(&value.to_string());
            request.header("content-type", *kind).body(kube::client::Body::from(text.into_bytes()))
        }
    };
    let response = client.send(request.unwrap()).await.expect(ask.about);
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
    let lines: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&body).into_iter().collect();
    (code, lines.unwrap_or_else(|_| vec![json!(String::from_utf8_lossy(&body))]))
}

/// An answer without what differs between two runs of the same server.
fn comparable(mut value: Value, known: &BTreeMap<String, String>) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        tidy(metadata);
    }
    if let Some(details) = value.get_mut("details").and_then(Value::as_object_mut) {
        replace(details, "uid");
    }
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, comparable(value, known))).collect())
        }
        Value::Array(items) => items.into_iter().map(|item| comparable(item, known)).collect(),
        Value::String(text) => {
            let mut text = text;
            // Versions are short numbers that stand anywhere: only where a sentence quotes one.
            for (key, value) in known.iter().rev().filter(|(key, _)| !key.ends_with("continue")) {
                for (open, close) in [("(", ")"), ("", "")] {
                    if open.is_empty() && key.ends_with("rv") {
                        continue;
                    }
                    text = text.replace(&format!("{open}{value}{close}"), &format!("{open}<{key}>{close}"));
                }
            }
            Value::String(without_versions(&text))
        }
        other => other,
    }
}

fn tidy(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    for key in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "continue"] {
        replace(metadata, key);
    }
    if let Some(base) = metadata.get("generateName").and_then(Value::as_str).map(str::to_owned) {
        let name = metadata["name"].as_str().unwrap();
        assert!(name.starts_with(&base) && name.len() == base.len() + 5, "{name}");
        metadata.insert("name".to_owned(), format!("{base}<five>").into());
    }
}

fn replace(fields: &mut Map<String, Value>, key: &str) {
    if let Some(value) = fields.get_mut(key).filter(|value| value.as_str().is_some_and(|text| !text.is_empty())) {
        *value = format!("<{key}>").into();
    }
}

/// `too old resource version: 1 (345)`: the second number is the server's own affair.
fn without_versions(text: &str) -> String {
    for start in ["too old resource version: ", "Too large resource version: 999999999, current: "] {
        if let Some((before, _)) = text.split_once(start) {
            return format!("{before}{start}<version>");
        }
    }
    text.to_owned()
}

#[tokio::test]
async fn the_embedded_server_answers_as_was_recorded() {
    let embedded = sim::Embedded::start().await;
    // As old as a real server's first versions are to its cache.
    embedded.shared.with(|host| host.store.compact(host.store.version()));
    let answers = answers(&embedded.client().await).await;
    embedded.stop().await;
    insta::assert_json_snapshot!("answers", answers);
}

#[test]
fn a_real_server_answers_as_was_recorded() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let stack = Stack::start(Options::api_only()).unwrap();
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = runtime.block_on(async { answers(&client::connect(&target).await.unwrap()).await });
    insta::assert_json_snapshot!("answers", answers);
}

/// What a server says to a token whose version it has forgotten; how it forgets is its own affair.
async fn expired(client: &Client, mut forget: impl FnMut()) -> Value {
    let ask = |path: String| Ask { about: "a page", method: "GET", path, body: Body::None, keep: None, only: &[] };
    let path = "/api/v1/namespaces?limit=1";
    let (_, page) = send(client, &ask(path.to_owned()), &BTreeMap::new()).await;
    let token = page[0]["metadata"]["continue"].as_str().unwrap().replace('/', "%2F");
    let next = ask(format!("{path}&continue={token}"));
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        forget();
        let (code, mut said) = send(client, &next, &BTreeMap::new()).await;
        if code == 410 {
            return comparable(said.remove(0), &BTreeMap::new());
        }
        assert_eq!(code, 200, "{said:?}");
        assert!(Instant::now() < patience, "the server forgets nothing");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_as_by_a_real_server() {
    let embedded = sim::Embedded::start().await;
    let client = embedded.client().await;
    let ours = expired(&client, || {
        embedded.shared.with(|host| {
            let writer = Writer { name: "tester", at: host.now };
            let map = json!({"metadata": {"generateName": "m-"}});
            host.store.create(writer, table::CONFIG_MAPS, "default", map).unwrap();
            host.store.compact(host.store.version());
        });
    });
    let ours = ours.await;
    embedded.stop().await;
    assert_eq!(ours["metadata"]["continue"], "<continue>", "a way to go on");
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let arguments = ["--etcd-compaction-interval=1s", "--watch-cache=false"].map(str::to_owned).to_vec();
    let start = move || Stack::start(Options { apiserver_args: arguments, ..Options::control_plane() }).unwrap();
    let stack = tokio::task::spawn_blocking(start).await.unwrap();
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    assert_eq!(ours, expired(&client::connect(&target).await.unwrap(), || {}).await);
}
