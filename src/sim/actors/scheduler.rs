//! kube-scheduler: a node for each pod, once its claims allow one.
//!
//! A pod whose claim is not bound stays Pending without a node; that is what a mover looks like while its
//! temporary volume is being restored.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::Keys;
use super::object::{self, Key};
use super::volumes::SELECTED_NODE;
use super::workloads::conditions::{self, Said};
use super::workloads::{Synced, owned, pinned_to};
use crate::sim::process::{Actor, Context};
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{CLAIMS, NODES, PODS, Resource, STORAGE_CLASSES};
use crate::sim::store::{Change, ChangeKind, Part, Patch};
use crate::sim::work_queue::Backoff;

/// Waits of a pod that fits nowhere.
const BACKOFF: Backoff = Backoff { start: Duration::from_secs(1), max: Duration::from_secs(10) };
/// How long a pod that fits nowhere waits when nothing happens that could help it.
const UNSCHEDULABLE: Duration = Duration::from_secs(300);

/// The process.
pub struct Scheduler {
    keys: Keys<Key>,
    recorder: Recorder,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { keys: Keys::new(BACKOFF), recorder: Recorder::new("default-scheduler") }
    }
}

/// What stands between a pod and a node.
enum Obstacle {
    /// Nothing fits, in the scheduler's words.
    Unschedulable(String),
    /// A claim has just been given a node and is not bound yet.
    Binding,
}

impl Scheduler {
    fn sync(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        let Ok(pod) = ctx.get(PODS, &key.0, &key.1) else { return Ok(None) };
        if !waits(&pod) {
            return Ok(None);
        }
        match place(ctx, &pod) {
            Ok(node) => {
                let patch = Patch::Merge(json!({"metadata": {"uid": object::uid(&pod)}, "spec": {"nodeName": node}}));
                ctx.patch(PODS, &key.0, &key.1, Part::Object, &patch)?;
                let message = format!("Successfully assigned {}/{} to {node}", key.0, key.1);
                self.recorder.event(ctx, (PODS, &pod), Type::Normal, "Scheduled", &message);
                Ok(None)
            }
            Err(Obstacle::Binding) => Ok(Some(BACKOFF.start)),
            Err(Obstacle::Unschedulable(message)) => {
                let mut said = owned::items(&pod, "/status/conditions").to_vec();
                let reason = "Unschedulable";
                let condition = Said { kind: "PodScheduled", status: "False", reason, message: &message };
                conditions::set(&mut said, ctx.now().wall, &[], condition);
                let patch = Patch::Merge(json!({"status": {"conditions": said}}));
                ctx.patch(PODS, &key.0, &key.1, Part::Status, &patch)?;
                self.recorder.event(ctx, (PODS, &pod), Type::Warning, "FailedScheduling", &message);
                Ok(Some(UNSCHEDULABLE))
            }
        }
    }

    fn retry_all(&mut self, ctx: &mut Context<'_>, namespace: Option<&str>) {
        let waiting: Vec<Key> =
            ctx.list(PODS, namespace).filter(|pod| waits(pod)).map(|pod| object::key(pod)).collect();
        for key in waiting {
            self.keys.add(ctx, key);
        }
    }
}

fn waits(pod: &Value) -> bool {
    object::text(pod, "/spec/nodeName").is_empty() && !object::is_deleting(pod) && !owned::is_finished(pod)
}

/// The node with the fewest pods of the same controller, then the fewest pods, then the first by name.
fn place(ctx: &mut Context<'_>, pod: &Value) -> Result<String, Obstacle> {
    let pending = pending_claims(ctx, pod)?;
    let nodes: Vec<Arc<Value>> = ctx.list(NODES, None).cloned().collect();
    let owner = owned::controller(pod).map(|owner| object::text(owner, "/uid").to_owned()).unwrap_or_default();
    let load = |node: &Value| {
        let here = |other: &&Arc<Value>| object::text(other, "/spec/nodeName") == object::name(node);
        let here: Vec<_> = ctx.list(PODS, None).filter(here).filter(|other| owned::is_active(other)).collect();
        let siblings = here.iter().filter(|other| !owner.is_empty() && owned::is_controlled_by(other, &owner)).count();
        (siblings, here.len())
    };
    let best = nodes.iter().filter(|node| fits(node, pod)).min_by_key(|node| load(node));
    let Some(node) = best else {
        let message = format!(
            "0/{count} nodes are available: {count} node(s) didn't match Pod's node affinity/selector or had \
             untolerated taint(s). preemption: 0/{count} nodes are available: {count} Preemption is not helpful for \
             scheduling.",
            count = nodes.len()
        );
        return Err(Obstacle::Unschedulable(message));
    };
    let name = object::name(node).to_owned();
    if pending.is_empty() {
        return Ok(name);
    }
    for claim in pending {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {SELECTED_NODE: name}}}));
        // A claim that has gone meanwhile is found missing at the next look.
        let _ = ctx.patch(CLAIMS, object::namespace(pod), &claim, Part::Object, &patch);
    }
    Err(Obstacle::Binding)
}

/// Claims that wait for this pod to be placed; any other that is not bound keeps it from being placed.
fn pending_claims(ctx: &mut Context<'_>, pod: &Value) -> Result<Vec<String>, Obstacle> {
    let mut pending = Vec::new();
    for name in owned::claims(pod) {
        let Ok(claim) = ctx.get(CLAIMS, object::namespace(pod), name) else {
            return Err(Obstacle::Unschedulable(format!("persistentvolumeclaim \"{name}\" not found")));
        };
        if object::is_deleting(&claim) {
            return Err(Obstacle::Unschedulable(format!("persistentvolumeclaim \"{name}\" is being deleted")));
        }
        if object::text(&claim, "/status/phase") == "Bound" {
            continue;
        }
        let class = ctx.get(STORAGE_CLASSES, "", object::text(&claim, "/spec/storageClassName"));
        let waits = |class: &Value| object::text(class, "/volumeBindingMode") == "WaitForFirstConsumer";
        if !class.is_ok_and(|class| waits(&class)) {
            let message = "pod has unbound immediate PersistentVolumeClaims. not found";
            return Err(Obstacle::Unschedulable(message.to_owned()));
        }
        pending.push(name.to_owned());
    }
    Ok(pending)
}

fn fits(node: &Value, pod: &Value) -> bool {
    if pinned_to(pod).is_some_and(|wanted| wanted != object::name(node)) {
        return false;
    }
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let selected =
        selector.is_none_or(|wanted| wanted.iter().all(|(key, value)| object::label(node, key) == value.as_str()));
    let cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let cordon = cordoned.then(|| json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
    let mut taints = owned::items(node, "/spec/taints").iter().chain(&cordon);
    selected && taints.all(|taint| object::text(taint, "/effect") == "PreferNoSchedule" || is_tolerated(taint, pod))
}

fn is_tolerated(taint: &Value, pod: &Value) -> bool {
    let [key, effect] = ["/key", "/effect"].map(|field| object::text(taint, field));
    owned::items(pod, "/spec/tolerations").iter().any(|toleration| {
        let [own_key, own_effect] = ["/key", "/effect"].map(|field| object::text(toleration, field));
        (own_key.is_empty() || own_key == key) && (own_effect.is_empty() || own_effect == effect)
    })
}

impl Actor for Scheduler {
    fn name(&self) -> &'static str {
        "kube-scheduler"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[NODES, PODS, CLAIMS]
    }

    fn start(&mut self, _ctx: &mut Context<'_>) {}

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        if change.resource == PODS {
            // Its own mark on a pod that fits nowhere is no reason to try again.
            if change.kind == ChangeKind::Added && waits(&change.object) {
                self.keys.add(ctx, object::key(&change.object));
            }
        } else if change.resource == CLAIMS {
            self.retry_all(ctx, Some(object::namespace(&change.object)));
        } else {
            self.retry_all(ctx, None);
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        let Some(key) = self.keys.timer(timer) else { return };
        match self.sync(ctx, &key) {
            Ok(again) => {
                self.keys.forget(&key);
                if let Some(after) = again {
                    self.keys.add_after(ctx, key, after);
                }
            }
            Err(_) => self.keys.failed(ctx, key),
        }
    }
}
