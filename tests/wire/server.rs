//! A scripted API server behind `kube::Client`, and what it was asked. Whoever looks at that also checks that
//! nothing but GET was sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::io::watch;

/// Collection the tests watch closely; the others are empty and quiet.
pub(super) const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots";
/// Its discovery.
pub(super) const GROUP: &str = "/apis/snapshot.storage.k8s.io/v1";

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    method: Method,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) accept: String,
    pub(super) at: Instant,
}

impl Seen {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A streaming list.
    pub(super) fn streams(&self) -> bool {
        self.get("sendInitialEvents") == Some("true")
    }

    /// A watch from a version.
    pub(super) fn resumes(&self) -> Option<&str> {
        if self.streams() { None } else { self.get("watch").and(self.get("resourceVersion")) }
    }

    /// A page of a list.
    pub(super) fn pages(&self) -> bool {
        self.get("watch").is_none() && self.get("limit") == Some("500")
    }

    /// The probe of a silent source.
    pub(super) fn probes(&self) -> bool {
        self.get("watch").is_none() && self.get("limit") == Some("1")
    }
}

/// One thing a streamed answer does.
pub(super) enum Step {
    /// A line, with its line feed.
    Line(String),
    /// Bytes as they are.
    Raw(String),
    Wait(Duration),
    /// The connection breaks.
    Cut,
    /// Nothing more, and no end.
    Hang,
}

/// An answer.
pub(super) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    Stream(Vec<Step>),
    Body(Body),
    /// No answer at all.
    Hang,
}

pub(super) type Script = dyn FnMut(&Seen) -> Option<Reply> + Send;

/// The server: a script for what a test is about, and defaults for the rest.
#[derive(Clone)]
pub(super) struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Box<Script>>>,
}

impl Server {
    pub(super) fn new(script: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) -> Self {
        Self { seen: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) }
    }

    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<kube::client::Body>| {
                let server = server.clone();
                async move { server.serve(request).await }
            }),
            "default",
        )
    }

    async fn serve(&self, request: Request<kube::client::Body>) -> Result<Response<Body>, Infallible> {
        let (request, _) = request.into_parts();
        let query = request.uri.query().unwrap_or_default();
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let accept = request.headers.get("accept").map(|value| value.to_str().unwrap().to_owned());
        let seen = Seen {
            method: request.method,
            path: request.uri.path().to_owned(),
            query: query.map(|(name, value)| (name.to_owned(), decode(value))).collect(),
            accept: accept.unwrap_or_default(),
            at: Instant::now(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        let scripted = (self.script.lock().unwrap())(&seen);
        let (code, body) = match scripted.unwrap_or_else(|| default(&seen)) {
            Reply::Json(code, value) => (code, Body::from(value.to_string())),
            Reply::Text(code, text) => (code, Body::from(text)),
            Reply::Body(body) => (200, body),
            Reply::Stream(steps) => (200, body(steps)),
            Reply::Hang => std::future::pending().await,
        };
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    /// Requests so far for this path.
    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        let all = self.seen.lock().unwrap();
        assert!(all.iter().all(|seen| seen.method == Method::GET), "this crate only reads: {all:?}");
        drop(all);
        self.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// Starts the watches and hands out what they say.
    pub(super) fn watch(&self) -> Facts {
        self.watch_through(256)
    }

    pub(super) fn watch_through(&self, capacity: usize) -> Facts {
        let (sender, receiver) = mpsc::channel(capacity);
        let mut tasks = JoinSet::new();
        watch::spawn(self.client(), sender, &mut tasks);
        Facts { receiver, tasks, source: Source::Snapshots }
    }
}

fn body(steps: Vec<Step>) -> Body {
    let steps = stream::iter(steps).then(|step| async {
        match step {
            Step::Line(line) => Ok(Bytes::from(line + "\n")),
            Step::Raw(text) => Ok(Bytes::from(text)),
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(Bytes::new())
            }
            Step::Cut => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            Step::Hang => std::future::pending().await,
        }
    });
    Body::from_stream(steps)
}

/// Snapshots are installed and empty, other CRDs are not, the built-in kinds are empty; all of them quiet.
fn default(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        GROUP => discovery(),
        path if path.starts_with("/apis/") && path.split('/').count() <= 4 => Reply::Text(404, "404 page not found"),
        _ if seen.streams() => Reply::Stream(vec![Step::Line(list_end("1")), Step::Hang]),
        _ if seen.get("watch").is_some() => Reply::Stream(vec![Step::Hang]),
        _ if seen.probes() => page(&[], "1", None),
        _ => Reply::Hang,
    }
}

pub(super) fn discovery() -> Reply {
    let names = ["volumesnapshots", "volumesnapshots/status", "volumesnapshotcontents", "volumesnapshotclasses"];
    let resources: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    Reply::Json(200, json!({"kind": "APIResourceList", "resources": resources}))
}

pub(super) fn page(items: &[Value], version: &str, more: Option<&str>) -> Reply {
    let metadata = json!({"resourceVersion": version, "continue": more.unwrap_or_default()});
    Reply::Json(200, json!({"kind": "VolumeSnapshotList", "metadata": metadata, "items": items}))
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message})
}

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(code, status(code, reason, message))
}

pub(super) fn snapshot(name: &str, version: &str) -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "media", "uid": format!("uid-{name}"), "resourceVersion": version},
        "spec": {"source": {"persistentVolumeClaimName": "data"}}})
}

pub(super) fn event(verb: &str, object: &Value) -> String {
    // The order of the real server; serde_json's map would sort `object` first.
    format!("{{\"type\":\"{verb}\",\"object\":{object}}}")
}

pub(super) fn added(name: &str, version: &str) -> Step {
    Step::Line(event("ADDED", &snapshot(name, version)))
}

pub(super) fn bookmark(version: &str) -> String {
    event("BOOKMARK", &json!({"kind": "VolumeSnapshot", "metadata": {"resourceVersion": version}}))
}

pub(super) fn list_end(version: &str) -> String {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version, "annotations": annotations}}))
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let code: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&code, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

// === What comes out ===

/// The facts of one source in short words, and the tasks that make them.
pub(super) struct Facts {
    receiver: mpsc::Receiver<Fact>,
    pub(super) tasks: JoinSet<()>,
    pub(super) source: Source,
}

impl Facts {
    /// The next fact of our source, in words: `began`, `+a`, `-a`, `?a`, `ended`, `progress`, ...
    pub(super) async fn next(&mut self) -> String {
        let next = async {
            loop {
                let fact = self.receiver.recv().await.expect("the watches ended");
                if let Some(word) = word(self.source, &fact) {
                    return word;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(3600), next).await.expect("an hour without a fact")
    }

    /// Facts up to and with the first that begins so.
    pub(super) async fn until(&mut self, last: &str) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            words.push(self.next().await);
            if words.last().unwrap().starts_with(last) {
                return words;
            }
            assert!(words.len() < 10_000, "no {last} in {:?}", words.get(..100));
        }
    }

    /// Everything said during so long a time.
    pub(super) async fn during(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut words = Vec::new();
        while let Ok(word) = tokio::time::timeout_at(end, self.next()).await {
            words.push(word);
        }
        words
    }

    /// Nobody listens any more; the tasks.
    pub(super) fn drop_receiver(self) -> JoinSet<()> {
        self.tasks
    }
}

fn word(source: Source, fact: &Fact) -> Option<String> {
    match fact {
        Fact::Source(of, change) if *of == source => Some(match change {
            SourceChange::ListBegan => "began".to_owned(),
            SourceChange::ListEnded => "ended".to_owned(),
            SourceChange::Progress => "progress".to_owned(),
            SourceChange::Answered => "answered".to_owned(),
            SourceChange::NotInstalled => "not installed".to_owned(),
            SourceChange::Forbidden(words) => format!("forbidden: {words}"),
            SourceChange::Failing(words) => format!("failing: {words}"),
            SourceChange::Unreadable(key) => format!("?{}", key.name),
        }),
        Fact::Snapshot(Change::Applied(key, _)) if source == Source::Snapshots => Some(format!("+{}", key.name)),
        Fact::Snapshot(Change::Gone(key)) if source == Source::Snapshots => Some(format!("-{}", key.name)),
        _ => None,
    }
}
