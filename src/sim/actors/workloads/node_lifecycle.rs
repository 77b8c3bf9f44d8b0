//! Nodes that fall silent: `Ready` becomes `Unknown`, and after five minutes their pods are asked to go.
//!
//! They cannot go, since nobody is there to confirm it: a driver's leader on such a node stays in the API as a
//! pod that is neither dead nor alive. Most takeover stories begin like that.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::Synced;
use super::conditions::{self, Said};
use super::owned::{self, items, number, time};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{LEASES, NODES, PODS};
use crate::sim::store::{DeleteOptions, Part, Patch, Refusal};
use crate::sim::task::Shared;

/// Nodes whose kubelets do not report.
///
/// A kubelet renews its Lease every ten seconds. Written one by one these renewals would be most of what
/// happens in a cluster, and nobody but this controller reads them: so a node that falls silent is noted here,
/// its Lease is brought up to date at that moment, and from then on the Lease is what counts.
pub type Silent = Shared<BTreeSet<String>>;

/// How often nodes are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(5);
/// How long a Lease may stay without renewal.
const GRACE: Duration = Duration::from_secs(50);
/// How long a pod stays on a node that is unreachable, if it does not say so itself.
const TOLERATED: i64 = 300;

const NAMESPACE: &str = "kube-node-lease";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// The node lifecycle controller, with taint eviction.
#[derive(Debug)]
pub(super) struct NodeLifecycle {
    silent: Silent,
    recorder: Recorder,
}

impl NodeLifecycle {
    pub(super) fn new(silent: Silent) -> Self {
        Self { silent, recorder: Recorder::new("taint-eviction-controller") }
    }

    /// The regular look at all silent nodes.
    pub(super) fn monitor(&self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        for name in self.silent.with(|silent| silent.clone()) {
            let lease = ctx.get(LEASES, NAMESPACE, &name)?;
            let renewed = time(&lease, "/spec/renewTime").unwrap_or(ctx.now().wall);
            let age = Duration::try_from(ctx.now().wall.duration_since(renewed)).unwrap_or_default();
            let node = ctx.get(NODES, "", &name)?;
            if age > GRACE && owned::has_condition(&node, "Ready") {
                lose(ctx, &node)?;
            }
        }
        Ok(())
    }

    /// A node changed: the taints go when it is ready, and the pods when they have been there too long.
    pub(super) fn sync(&mut self, ctx: &mut Context<'_>, name: &str) -> Synced {
        let Ok(node) = ctx.get(NODES, "", name) else { return Ok(None) };
        let tainted = items(&node, "/spec/taints").iter().find(|taint| object::text(taint, "/key") == UNREACHABLE);
        let Some(since) = tainted.and_then(|taint| time(taint, "/timeAdded")) else { return Ok(None) };
        if owned::has_condition(&node, "Ready") {
            let mut left = items(&node, "/spec/taints").to_vec();
            left.retain(|taint| object::text(taint, "/key") != UNREACHABLE);
            let left = (!left.is_empty()).then_some(left);
            ctx.patch(NODES, "", name, Part::Object, &Patch::Merge(json!({"spec": {"taints": left}})))?;
            return Ok(None);
        }
        let passed = ctx.now().wall.duration_since(since).as_secs();
        let mut next: Option<i64> = None;
        let pods: Vec<_> = ctx.list(PODS, None).filter(|pod| on(pod, name)).cloned().collect();
        for pod in pods.iter().filter(|pod| !object::is_deleting(pod)) {
            let Some(tolerated) = tolerated(pod) else { continue };
            if passed < tolerated {
                next = Some(next.map_or(tolerated, |next| next.min(tolerated)));
                continue;
            }
            let message = format!("Marking for deletion Pod {}/{}", object::namespace(pod), object::name(pod));
            self.recorder.event(ctx, (PODS, pod), Type::Normal, "TaintManagerEviction", &message);
            ctx.delete(PODS, object::namespace(pod), object::name(pod), &DeleteOptions::default())?;
        }
        Ok(next.map(|next| Duration::from_secs(u64::try_from(next - passed).unwrap_or_default())))
    }
}

/// Nothing is known of the node any more: it says so, and so do its pods.
fn lose(ctx: &mut Context<'_>, node: &Value) -> Result<(), Refusal> {
    let name = object::name(node);
    let at = ctx.now().wall;
    let mut said = items(node, "/status/conditions").to_vec();
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let (reason, message) = ("NodeStatusUnknown", "Kubelet stopped posting node status.");
        conditions::set(&mut said, at, &[], Said { kind, status: "Unknown", reason, message });
    }
    let status = Patch::Merge(json!({"status": {"conditions": said}}));
    ctx.patch(NODES, "", name, Part::Status, &status)?;
    let taint = |effect: &str| json!({"key": UNREACHABLE, "effect": effect, "timeAdded": object::seconds(at)});
    let taints = Patch::Merge(json!({"spec": {"taints": [taint("NoSchedule"), taint("NoExecute")]}}));
    ctx.patch(NODES, "", name, Part::Object, &taints)?;
    let pods: Vec<_> = ctx.list(PODS, None).filter(|pod| on(pod, name) && is_ready(pod)).cloned().collect();
    for pod in pods {
        let mut said = items(&pod, "/status/conditions").to_vec();
        let ready = Said { kind: "Ready", status: "False", reason: "", message: "" };
        conditions::set(&mut said, at, &[], ready);
        let patch = Patch::Merge(json!({"status": {"conditions": said}}));
        ctx.patch(PODS, object::namespace(&pod), object::name(&pod), Part::Status, &patch)?;
    }
    Ok(())
}

fn on(pod: &Value, node: &str) -> bool {
    object::text(pod, "/spec/nodeName") == node
}

fn is_ready(pod: &Value) -> bool {
    owned::has_condition(pod, "Ready")
}

/// How long a pod stays on an unreachable node, in seconds; `None`: for ever.
fn tolerated(pod: &Value) -> Option<i64> {
    let meant = |toleration: &&Value| {
        let key = object::text(toleration, "/key");
        (key == UNREACHABLE || key.is_empty()) && object::text(toleration, "/effect") != "NoSchedule"
    };
    match items(pod, "/spec/tolerations").iter().find(meant) {
        Some(toleration) => number(toleration, "/tolerationSeconds"),
        None => Some(TOLERATED),
    }
}
