//! Our kinds, what `deploy/base` installs, and the fence around Volwarden's service account, on a real API server.
//!
//! A schema that only looks structural, a CEL rule that never says no and an admission policy that matches nothing
//! all pass for what they are not until a server judges them. Nothing acts here but this file: the objects have the
//! shapes in which controllers leave them.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test stops where it stands, prints, and waits in real time"
)]

mod definitions;
mod fence;
mod install;
mod kopia;
mod mutants;
mod race;
mod retentions;
mod rights;
mod rivals;
mod rows;
mod shapes;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use stack::{Options, Stack};
use tokio::runtime::Runtime;
use volwarden::io::client::{self, Target};

/// The name under which the daemon of `deploy/base` comes.
const VOLWARDEN: &str = "system:serviceaccount:volwarden-system:volwarden";
const SOON: Duration = Duration::from_secs(60);

/// One stack at a time: two cores are not enough for honest times with more.
static TURN: Mutex<()> = Mutex::new(());

/// A stack, and somebody who may do everything on it.
struct Server {
    stack: Stack,
    runtime: Runtime,
    admin: Client,
    // Last: the next test begins when the stack is gone.
    _turn: MutexGuard<'static, ()>,
}

/// What a server said: the status, and the object or the Status.
type Answer = (u16, Value);

impl Server {
    /// `None` where programs are missing and `VOLWARDEN_STACK_OPTIONAL=1` makes that no failure.
    fn start(options: Options) -> Option<Self> {
        if let Some(missing) = stack::not_run() {
            println!("NOT RUN: {missing}");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stack = Stack::start(options).unwrap();
        let admin = connect(&runtime, stack.kubeconfig());
        Some(Self { stack, runtime, admin, _turn: turn })
    }

    /// Somebody with a certificate in this name, and in the groups of a service account where it is one.
    fn user(&self, name: &str) -> Client {
        let groups: &[&str] =
            if name.starts_with("system:serviceaccount:") { &["system:serviceaccounts"] } else { &[] };
        connect(&self.runtime, &self.stack.kubeconfig_for(name, groups).unwrap())
    }

    fn send(&self, client: &Client, ask: &Ask) -> Answer {
        let request = Request::builder().method(ask.method).uri(&ask.path).header("content-type", ask.kind);
        let body = if ask.body.is_null() { Body::empty() } else { Body::from(ask.body.to_string().into_bytes()) };
        self.runtime.block_on(async {
            let response = client.send(request.body(body).unwrap()).await.expect(&ask.path);
            let code = response.status().as_u16();
            let bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
            (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
        })
    }

    /// As the administrator; it has to succeed.
    fn must(&self, ask: &Ask) -> Value {
        let (code, said) = self.send(&self.admin, ask);
        assert!((200..300).contains(&code), "{} {}: {code} {said}", ask.method, ask.path);
        said
    }

    /// What `kubectl apply -k FOLDER` does.
    fn apply_folder(&self, folder: &Path, namespace: Option<&str>) -> String {
        let folder = folder.to_str().unwrap();
        let mut words = vec!["apply", "-k", folder];
        words.extend(namespace.iter().flat_map(|name| ["-n", name]));
        self.stack.kubectl(words).unwrap()
    }

    /// Installs `deploy/base`, and waits until the server knows the kinds and minds the fence.
    fn install(&self) {
        self.apply_folder(&deploy().join("base"), None);
        self.wait_established();
        let stranger = Ask::create("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "fence"}}));
        let client = self.user("system:serviceaccount:elsewhere:volwarden");
        self.bind_admin("fence-is-up", "system:serviceaccount:elsewhere:volwarden");
        self.stack
            .wait("the fence is up", SOON, || fenced(&self.send(&client, &stranger.dry())).is_some().then_some(()))
            .unwrap();
    }

    fn wait_established(&self) {
        let kinds =
            ["remediationpolicies", "remediations", "orphanedsnapshots", "snapshotretentions", "kopiarepositories"];
        let words = kinds.map(|kind| format!("crd/{kind}.volwarden.dev"));
        let wait = ["wait", "--for=condition=Established", "--timeout=60s"].map(str::to_owned);
        self.stack.kubectl(wait.into_iter().chain(words)).unwrap();
    }

    /// Gives somebody every right there is.
    fn bind_admin(&self, name: &str, user: &str) {
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.must(&Ask::create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding));
    }
}

/// The policy of ours that refused, if one did.
fn fenced((_, said): &Answer) -> Option<String> {
    let (_, after) = said["message"].as_str()?.split_once("ValidatingAdmissionPolicy '")?;
    Some(after.split_once('\'')?.0.to_owned())
}

fn connect(runtime: &Runtime, kubeconfig: &Path) -> Client {
    let target = Target { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    runtime.block_on(async { client::connect(&target).await.unwrap() })
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// One request.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Value,
}

impl Ask {
    fn new(method: &'static str, path: &str, kind: &'static str, body: Value) -> Self {
        Self { method, path: path.to_owned(), kind, body }
    }

    fn create(path: &str, body: Value) -> Self {
        Self::new("POST", path, "application/json", body)
    }

    fn merge(path: &str, body: Value) -> Self {
        Self::new("PATCH", path, "application/merge-patch+json", body)
    }

    fn json_patch(path: &str, body: Value) -> Self {
        Self::new("PATCH", path, "application/json-patch+json", body)
    }

    fn delete(path: &str, options: Value) -> Self {
        Self::new("DELETE", path, "application/json", options)
    }

    fn get(path: &str) -> Self {
        Self::new("GET", path, "application/json", Value::Null)
    }

    /// The same for an object of another name.
    fn renamed(mut self, name: &str) -> Self {
        self.body["metadata"]["name"] = json!(name);
        self
    }

    /// The same without its effect: everything is checked, nothing is stored.
    fn dry(&self) -> Self {
        let mut ask = self.clone();
        if ask.method == "DELETE" {
            // With a body, the server looks for it there and nowhere else.
            ask.body = if ask.body.is_null() { json!({}) } else { ask.body };
            ask.body["dryRun"] = json!(["All"]);
            return ask;
        }
        ask.path.push_str(if ask.path.contains('?') { "&dryRun=All" } else { "?dryRun=All" });
        ask
    }
}
