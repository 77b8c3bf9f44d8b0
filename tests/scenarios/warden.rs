//! The daemon on the stack, as the account that `deploy/base` makes for it: what it writes is what these rights and
//! the fence let through. And what it wrote, from the API server's own audit log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stack::Stack;

use super::{SOON, text};

/// The account that the daemon runs as.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:volwarden-system:volwarden";
pub(crate) const REMEDIATIONS: &str = "remediations.volwarden.dev";
pub(crate) const ORPHANS: &str = "orphanedsnapshots.volwarden.dev";
pub(crate) const POLICIES: &str = "remediationpolicies.volwarden.dev";
pub(crate) const RETENTIONS: &str = "snapshotretentions.volwarden.dev";
pub(crate) const REPOSITORIES: &str = "kopiarepositories.volwarden.dev";

/// A running daemon.
pub(crate) struct Warden {
    child: Child,
    log: PathBuf,
}

/// Installs the kinds, the rights and the fence; nothing runs yet.
pub(crate) fn install(stack: &Stack, driver_namespaces: &[&str]) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base");
    stack.kubectl(["apply", "-k", base.to_str().unwrap()]).unwrap();
    // What the Deployment would run is started by the tests themselves.
    stack.kubectl(["-n", "volwarden-system", "scale", "deployment/volwarden", "--replicas=0"]).unwrap();
    for namespace in driver_namespaces {
        let rights = base.join("driver-namespace");
        stack.kubectl(["apply", "-n", namespace, "-k", rights.to_str().unwrap()]).unwrap();
    }
    let kinds = [REMEDIATIONS, ORPHANS, POLICIES, RETENTIONS, REPOSITORIES].map(|kind| format!("crd/{kind}"));
    let wait = ["wait", "--for=condition=Established", "--timeout=60s"].map(str::to_owned);
    stack.kubectl(wait.into_iter().chain(kinds)).unwrap();
}

/// A policy that enforces on these drivers, changed.
pub(crate) fn enforce(stack: &Stack, drivers: &[&str], change: impl FnOnce(&mut Value)) {
    let mut policy = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy", "metadata": {"name": "main"},
        "spec": {
            "mode": "Enforce",
            "scope": {"drivers": drivers},
            "rungs": {"restartLeader": true, "releaseLease": true, "removeRetainedFinalizer": true},
            "backend": {"assumeHealthy": true},
        },
    });
    change(&mut policy);
    stack.apply_json(&policy).unwrap();
}

impl Warden {
    /// Starts a replica.
    pub(crate) fn start(stack: &Stack, name: &str) -> Self {
        let groups = ["system:serviceaccounts"];
        let kubeconfig = stack.kubeconfig_for(ACCOUNT, &groups).unwrap();
        Self::start_with(stack, &kubeconfig, name)
    }

    /// Starts a replica with this kubeconfig.
    pub(crate) fn start_with(stack: &Stack, kubeconfig: &Path, name: &str) -> Self {
        let log = stack.folder().join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_volwarden"))
            .args(["run", "--listen=127.0.0.1:0", "--lease-namespace=volwarden-system", "--log-format=json"])
            .args(["--require-fence", "--job-image=volwarden:test"])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("--- the daemon's last words\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// An entry of the ledger, as far as stories ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) subject: String,
    pub(crate) phase: String,
    pub(crate) held_by: String,
    pub(crate) hash: String,
    pub(crate) attempts: Vec<(String, String)>,
}

/// The ledger.
pub(crate) fn ledger(stack: &Stack) -> Vec<Entry> {
    let all = stack.kubectl_json(["get", REMEDIATIONS, "-o", "json"]).unwrap();
    let items = all.pointer("/items").and_then(Value::as_array).unwrap().clone();
    let entry = |item: &Value| {
        let attempts = item.pointer("/status/attempts").and_then(Value::as_array).cloned().unwrap_or_default();
        Entry {
            name: text(item, "/metadata/name"),
            class: text(item, "/spec/class"),
            subject: text(item, "/spec/subject/name"),
            phase: text(item, "/status/phase"),
            held_by: text(item, "/status/heldBy"),
            hash: text(item, "/status/plan/hash"),
            attempts: attempts.iter().map(|one| (text(one, "/rung"), text(one, "/outcome"))).collect(),
        }
    };
    items.iter().map(entry).collect()
}

/// Waits until an entry about this object is in this phase.
pub(crate) fn wait_phase(stack: &Stack, class: &str, subject: &str, phase: &str, patience: Duration) -> Entry {
    let what = format!("the ledger has {class} {subject} {phase}");
    let found = stack.wait(&what, patience, || {
        let all = ledger(stack);
        all.into_iter().find(|one| one.class == class && one.subject == subject && one.phase == phase)
    });
    found.unwrap_or_else(|error| {
        let all = stack.kubectl(["get", REMEDIATIONS, "-o", "yaml"]).unwrap_or_default();
        panic!("{error}\n{all}")
    })
}

/// One write of the daemon's, as the API server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) code: i64,
}

/// Every write of the daemon's beside its own kinds, Events and lease; a dry run is none.
pub(crate) fn writes(stack: &Stack) -> Vec<Written> {
    let mut written = Vec::new();
    for line in stack.audit().unwrap() {
        let verb = text(&line, "/verb");
        let by =
            [text(&line, "/user/username"), text(&line, "/impersonatedUser/username")].contains(&ACCOUNT.to_owned());
        let read = ["get", "list", "watch"].contains(&verb.as_str());
        let own = text(&line, "/objectRef/apiGroup") == "volwarden.dev";
        let resource = text(&line, "/objectRef/resource");
        let name = text(&line, "/objectRef/name");
        let dry = text(&line, "/requestURI").contains("dryRun=All");
        if !by || read || own || dry || resource == "events" || (resource == "leases" && name == "volwarden") {
            continue;
        }
        if text(&line, "/stage") == "ResponseComplete" && resource != "selfsubjectaccessreviews" {
            let code = line.pointer("/responseStatus/code").and_then(Value::as_i64).unwrap_or_default();
            written.push(Written { verb, resource, name, code });
        }
    }
    // Creating its own lease has no name in the reference.
    written.retain(|one| !(one.resource == "leases" && one.verb == "create"));
    written
}

/// The daemon leads.
pub(crate) fn wait_leads(stack: &Stack) -> String {
    let lease = || {
        let found = stack.get("lease", Some("volwarden-system"), "volwarden").ok()??;
        Some(text(&found, "/spec/holderIdentity")).filter(|holder| !holder.is_empty())
    };
    stack.wait("a replica leads", SOON, lease).unwrap()
}
