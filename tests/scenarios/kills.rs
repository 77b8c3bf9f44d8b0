//! `kill -9` before and after every write: it was never made, or it has happened and whoever made it never learns so.
//!
//! Two replicas stand behind a proxy each. A proxy that is asked for a write of a kind that was not seen before kills
//! its replica and drops the write; the next time it passes the write on and kills its replica instead of answering.
//! The other one takes over, and the dead one is started again. It goes on like that until the ladders are at their
//! ends. The audit log tells whether anything was done twice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use stack::{DRIVER, Options, Stack};
use volwarden::io::client::{self, Client, Target};

use super::repairs::{handle_of, handles, orphaned};
use super::shapes::three_2_only_the_provisioners_finalizer;
use super::warden::{self, Warden};
use super::{CONTENTS, SNAPSHOTS, age_content, age_snapshot, ready_snapshot, turn, wait_gone, with_claim};

/// All lives together.
const PATIENCE: Duration = Duration::from_secs(2700);

/// What stands between a replica and the API server.
#[derive(Clone)]
struct Proxy {
    admin: Client,
    /// The replica's process; 0: there is none.
    pid: Arc<AtomicU32>,
    kills: Arc<AtomicU32>,
    /// Moments at which somebody has died: before or after which write.
    deadly: Arc<Mutex<BTreeSet<String>>>,
}

/// Which write of a ladder this is: who takes an intent over writes the same once more.
fn step_of(method: &Method, path: &str, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let attempts = body.pointer("/status/attempts").and_then(Value::as_array).map_or(0, Vec::len);
    let phase = super::text(&body, "/status/phase");
    format!("{method} {path} {phase} {attempts} {}", super::text(&body, "/status/intent/rung"))
}

/// A write of repairs; the lease, Events and dry runs are none.
fn is_write(request: &Request) -> bool {
    let path = request.uri().path();
    let apart = path.contains("/leases/volwarden") || path.ends_with("/leases") || path.contains("/events");
    let dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
    request.method() != Method::GET && !apart && !dry && !path.contains("/remediationpolicies/")
}

async fn pass(State(proxy): State<Proxy>, mut request: Request) -> Result<Response, StatusCode> {
    let is_write = is_write(&request);
    let headers = request.headers_mut();
    headers.remove("host");
    headers.insert("impersonate-user", HeaderValue::from_static(warden::ACCOUNT));
    headers.insert("impersonate-group", HeaderValue::from_static("system:authenticated"));
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = path.parse().map_err(|_| StatusCode::BAD_GATEWAY)?;
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let step = step_of(&parts.method, &path, &body);
    if is_write && proxy.kills_at(format!("before {step}")) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let request = axum::http::Request::from_parts(parts, client_body(body.to_vec()));
    let answer = proxy.admin.send(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    if is_write && answer.status().is_success() && proxy.kills_at(format!("after {step}")) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let (parts, body) = answer.into_parts();
    Ok(Response::from_parts(parts, Body::new(body)))
}

impl Proxy {
    /// Kills the replica, if it is alive and nobody has died at this moment yet.
    fn kills_at(&self, moment: String) -> bool {
        let pid = self.pid.load(Ordering::SeqCst);
        let first = pid != 0 && self.deadly.lock().unwrap().insert(moment);
        if !first || self.pid.swap(0, Ordering::SeqCst) != pid {
            return false;
        }
        self.kills.fetch_add(1, Ordering::SeqCst);
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
        true
    }
}

fn client_body(bytes: Vec<u8>) -> kube::client::Body {
    kube::client::Body::from(bytes)
}

/// How many died, and after which writes.
type Told = (Arc<AtomicU32>, Arc<Mutex<BTreeSet<String>>>);

/// A proxy of its own, and a kubeconfig that leads to it.
fn proxy(stack: &Stack, runtime: &tokio::runtime::Runtime, name: &str, told: &Told) -> (PathBuf, Proxy) {
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    let admin = runtime.block_on(client::connect(&target)).unwrap();
    let proxy = Proxy { admin, pid: Arc::default(), kills: Arc::clone(&told.0), deadly: Arc::clone(&told.1) };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(pass).with_state(proxy.clone());
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    });
    let path = stack.folder().join(format!("{name}.kubeconfig"));
    std::fs::write(&path, config.to_string()).unwrap();
    (path, proxy)
}

#[test]
fn nine_1_killed_before_and_after_every_write_the_ladders_end_the_same() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    println!("9.1.1 given what is to be marked, kept and released");
    let alive = ready_snapshot(&stack, "alive");
    three_2_only_the_provisioners_finalizer(&stack);
    let [orphan, retained] = orphaned(&stack, [("orphaned", "fast"), ("retained", "kept")]);
    let mut expected = vec![handle_of(&stack, &alive), handle_of(&stack, &retained)];
    expected.sort();
    for content in [&orphan, &retained] {
        age_content(&stack, content, "/metadata/deletionTimestamp", 1300);
    }
    age_snapshot(&stack, "provisioned", "/metadata/deletionTimestamp", 900);
    warden::enforce(&stack, &[DRIVER], |_| {});

    println!("9.1.2 when each of two replicas is killed before and after each of a ladder's writes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = Told::default();
    let proxies = ["one", "two"].map(|name| proxy(&stack, &runtime, name, &told));
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let mut lives: Vec<Option<Warden>> = vec![None, None];
    let mut started = 0;
    let done = || warden::ledger(&stack).iter().filter(|entry| entry.phase == "Done").count() == 3;
    let over = stack.wait("all three ladders are at their ends", PATIENCE, || {
        for (life, (kubeconfig, proxy)) in lives.iter_mut().zip(&proxies) {
            if proxy.pid.load(Ordering::SeqCst) == 0 {
                *life = None;
                started += 1;
                let born = Warden::start_with(&stack, kubeconfig, &format!("life-{started}"));
                proxy.pid.store(born.pid(), Ordering::SeqCst);
                *life = Some(born);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        done().then_some(())
    });
    over.unwrap_or_else(|error| panic!("{error}\n{:#?}", warden::ledger(&stack)));
    drop(lives);

    let kills = told.0.load(Ordering::SeqCst);
    println!("9.1.3 then after {kills} deaths everything is as if nothing had happened");
    assert!(kills >= 20, "only {kills} died: {:?}", told.1.lock().unwrap());
    wait_gone(&stack, CONTENTS, None, &orphan);
    wait_gone(&stack, CONTENTS, None, &retained);
    wait_gone(&stack, SNAPSHOTS, Some("default"), "provisioned");
    assert_eq!(handles(&stack), expected);
    let mut written: Vec<String> =
        warden::writes(&stack).into_iter().filter(|one| one.code < 300).map(|one| one.name).collect();
    written.sort();
    let mut once = vec![orphan, retained, "provisioned".to_owned()];
    once.sort();
    assert_eq!(written, once, "each exactly once");
}
