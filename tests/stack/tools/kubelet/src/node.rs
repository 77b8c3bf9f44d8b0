//! The Node object and its lease: says that this node is there, alive and ready, and says so again when it was doubted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch as latest;
use tokio::time::MissedTickBehavior;

use crate::api::{CallError, call};
use crate::downward::ADDRESS;
use crate::run::now;
use crate::watch::{self, Event};

const RENEWED_EVERY: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
const LEASES: &str = "kube-node-lease";
/// Taints that the node lifecycle controller would take away from a ready node; there is none.
const DOUBTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const VERSION: &str = "v1.36.0";

/// What this node is called, and where its logs are served.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub port: u16,
}

/// Keeps the Node and its lease; `known` is told what the API holds.
pub async fn keep(client: Client, identity: Identity, known: latest::Sender<Option<Node>>) {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut events = watch::objects(nodes.clone(), format!("metadata.name={}", identity.name));
    let mut renewal = tokio::time::interval(RENEWED_EVERY);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(event) = events.recv() => {
                let node = match event {
                    Event::Listed(nodes) => nodes.into_iter().next(),
                    Event::Changed(node) => Some(node),
                    Event::Gone(_) => None,
                };
                complain(assert(&nodes, &identity, node.as_ref()).await, "report the node's status");
                known.send_replace(node);
            }
            _ = renewal.tick() => complain(renew(&client, &identity.name).await, "renew the node's lease"),
        }
    }
}

fn complain(outcome: Result<(), CallError>, what: &str) {
    if let Err(error) = outcome {
        eprintln!("cannot {what}: {error}");
    }
}

/// Makes the Node, or puts right what it says of this kubelet.
async fn assert(nodes: &Api<Node>, identity: &Identity, node: Option<&Node>) -> Result<(), CallError> {
    let labels = labels(&identity.name);
    let Some(node) = node else {
        let metadata = ObjectMeta { name: Some(identity.name.clone()), labels: Some(labels), ..ObjectMeta::default() };
        let made = call(nodes.create(&PostParams::default(), &Node { metadata, ..Node::default() })).await;
        return made.map(drop);
    };
    let has = node.metadata.labels.clone().unwrap_or_default();
    if !labels.iter().all(|(key, value)| has.get(key) == Some(value)) {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        call(nodes.patch(&identity.name, &PatchParams::default(), &patch)).await?;
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let kept: Vec<_> = taints.iter().filter(|taint| !DOUBTS.contains(&taint.key.as_str())).collect();
    if kept.len() < taints.len() {
        let patch = Patch::Merge(json!({"spec": {"taints": kept}}));
        call(nodes.patch(&identity.name, &PatchParams::default(), &patch)).await?;
    }
    let status = node.status.clone().unwrap_or_default();
    if is_asserted(&status, identity) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"status": self::status(&status, identity)}));
    call(nodes.patch_status(&identity.name, &PatchParams::default(), &patch)).await.map(drop)
}

/// Whether a status says that the node is ready and where its logs are.
fn is_asserted(status: &NodeStatus, identity: &Identity) -> bool {
    let endpoints = status.daemon_endpoints.as_ref().and_then(|endpoints| endpoints.kubelet_endpoint.as_ref());
    let mut conditions = status.conditions.iter().flatten();
    endpoints.is_some_and(|endpoint| endpoint.port == i32::from(identity.port))
        && CONDITIONS.iter().all(|(kind, wanted, ..)| {
            conditions.clone().any(|condition| condition.type_ == *kind && condition.status == *wanted)
        })
        && conditions.all(|condition| CONDITIONS.iter().any(|(kind, ..)| condition.type_ == *kind))
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let labels = [("hostname", name), ("os", "linux"), ("arch", architecture())];
    labels.into_iter().map(|(key, value)| (format!("kubernetes.io/{key}"), value.to_owned())).collect()
}

/// The processor as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

fn status(known: &NodeStatus, identity: &Identity) -> NodeStatus {
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let before = known.conditions.iter().flatten().find(|one| one.type_ == kind && one.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now()),
            last_transition_time: before.and_then(|one| one.last_transition_time.clone()).or_else(|| Some(now())),
        }
    };
    let address = |kind: &str, address: &str| NodeAddress { type_: kind.to_owned(), address: address.to_owned() };
    NodeStatus {
        addresses: Some(vec![address("InternalIP", ADDRESS), address("Hostname", &identity.name)]),
        allocatable: Some(capacity()),
        capacity: Some(capacity()),
        conditions: Some(CONDITIONS.map(condition).to_vec()),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: identity.port.into() }),
        }),
        node_info: Some(system()),
        ..NodeStatus::default()
    }
}

fn capacity() -> BTreeMap<String, Quantity> {
    let machine = rustix::system::sysinfo();
    let memory = u64::from(machine.mem_unit).saturating_mul(machine.totalram) >> 10;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    [("cpu", processors.to_string()), ("memory", format!("{memory}Ki")), ("pods", "110".to_owned())]
        .map(|(name, quantity)| (name.to_owned(), Quantity(quantity)))
        .into()
}

fn system() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: "process://1".to_owned(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kubelet_version: VERSION.to_owned(),
        machine_id: read("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: "the host's".to_owned(),
        ..NodeSystemInfo::default()
    }
}

async fn renew(client: &Client, name: &str) -> Result<(), CallError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let spec = LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    match call(leases.patch(name, &PatchParams::default(), &patch)).await {
        Err(error) if error.code() == Some(404) => {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            call(leases.create(&PostParams::default(), &lease)).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_asserted_until_someone_doubts_it() {
        let identity = Identity { name: "node-a".to_owned(), port: 10250 };
        let good = status(&NodeStatus::default(), &identity);
        assert!(is_asserted(&good, &identity));
        assert!(!is_asserted(&NodeStatus::default(), &identity));
        assert!(!is_asserted(&good, &Identity { port: 1, ..identity.clone() }));
        let mut doubted = good;
        for condition in doubted.conditions.iter_mut().flatten().filter(|condition| condition.type_ == "Ready") {
            "Unknown".clone_into(&mut condition.status);
        }
        assert!(!is_asserted(&doubted, &identity));
    }
}
