//! DaemonSets: one pod on each node, pinned there by an affinity that the scheduler honours.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::owned::{self, items};
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::store::table::{DAEMON_SETS, NODES, PODS};
use crate::sim::store::{DeleteOptions, Part, Patch};

/// The node that a pod's affinity names.
pub(crate) fn pinned_to(pod: &Value) -> Option<&str> {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let term = items(pod, terms).first()?;
    term.pointer("/matchFields/0/values/0")?.as_str()
}

pub(super) fn sync(ctx: &mut Context<'_>, key: &Key) -> Synced {
    let Ok(set) = ctx.get(DAEMON_SETS, &key.0, &key.1) else { return Ok(None) };
    let nodes: BTreeSet<String> = ctx.list(NODES, None).map(|node| object::name(node).to_owned()).collect();
    let mut pods = owned::controlled(ctx, PODS, &set);
    if !object::is_deleting(&set) {
        for pod in pods.iter().filter(|pod| pinned_to(pod).is_some_and(|node| !nodes.contains(node))) {
            ctx.delete(PODS, &key.0, object::name(pod), &DeleteOptions::default())?;
        }
        pods.retain(|pod| owned::is_active(pod));
        for node in nodes.iter().filter(|node| !pods.iter().any(|pod| pinned_to(pod) == Some(node))) {
            ctx.create(PODS, &key.0, pod(&set, node))?;
        }
    }
    let pods = owned::controlled(ctx, PODS, &set);
    let ready = pods.iter().filter(|pod| owned::is_active(pod) && owned::has_condition(pod, "Ready")).count();
    let have = pods.iter().filter(|pod| owned::is_active(pod)).count();
    let status = json!({
        "desiredNumberScheduled": nodes.len(), "currentNumberScheduled": have, "updatedNumberScheduled": have,
        "numberReady": ready, "numberAvailable": ready, "numberMisscheduled": 0,
        "observedGeneration": set.pointer("/metadata/generation"),
    });
    ctx.patch(DAEMON_SETS, &key.0, &key.1, Part::Status, &Patch::Merge(json!({"status": status})))?;
    Ok(None)
}

/// The pod of one node: it also stays when the node is not ready.
fn pod(set: &Value, node: &str) -> Value {
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let mut pod = owned::pod_from(&template, object::name(set), &owned::reference_to(DAEMON_SETS, set));
    let here = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    let required = json!({"nodeSelectorTerms": [here]});
    let tolerations: Vec<Value> = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .iter()
        .map(|taint| json!({"key": taint, "operator": "Exists", "effect": "NoExecute"}))
        .chain([json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"})])
        .collect();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        spec.insert("affinity".to_owned(), affinity);
        spec.insert("tolerations".to_owned(), tolerations.into());
    }
    pod
}
