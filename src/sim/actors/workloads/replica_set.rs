//! ReplicaSets: as many pods as wanted, no more and no fewer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::owned::{self, number};
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{PODS, REPLICA_SETS};
use crate::sim::store::{DeleteOptions, Part, Patch, Refusal};

/// The ReplicaSet controller.
#[derive(Debug)]
pub(super) struct ReplicaSets {
    recorder: Recorder,
}

impl Default for ReplicaSets {
    fn default() -> Self {
        Self { recorder: Recorder::new("replicaset-controller") }
    }
}

impl ReplicaSets {
    pub(super) fn sync(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        let Ok(set) = ctx.get(REPLICA_SETS, &key.0, &key.1) else { return Ok(None) };
        let mut pods = owned::controlled(ctx, PODS, &set);
        pods.retain(|pod| owned::is_active(pod));
        let wanted = usize::try_from(number(&set, "/spec/replicas").unwrap_or(1)).unwrap_or_default();
        let managed = if object::is_deleting(&set) { Ok(()) } else { self.manage(ctx, &set, &mut pods, wanted) };
        let ready = pods.iter().filter(|pod| owned::has_condition(pod, "Ready")).count();
        let count = |count: usize| (count > 0).then_some(count);
        let status = json!({
            "replicas": pods.len(), "fullyLabeledReplicas": count(pods.len()), "readyReplicas": count(ready),
            "availableReplicas": count(ready), "observedGeneration": set.pointer("/metadata/generation"),
        });
        ctx.patch(REPLICA_SETS, &key.0, &key.1, Part::Status, &Patch::Merge(json!({"status": status})))?;
        managed.map(|()| None)
    }

    fn manage(
        &mut self,
        ctx: &mut Context<'_>,
        set: &Value,
        pods: &mut Vec<Arc<Value>>,
        wanted: usize,
    ) -> Result<(), Refusal> {
        let (namespace, name) = (object::namespace(set), object::name(set));
        let template = set.pointer("/spec/template").cloned().unwrap_or_default();
        while pods.len() < wanted {
            let pod = owned::pod_from(&template, name, &owned::reference_to(REPLICA_SETS, set));
            let pod = ctx.create(PODS, namespace, pod)?;
            let message = format!("Created pod: {}", object::name(&pod));
            self.recorder.event(ctx, (REPLICA_SETS, set), Type::Normal, "SuccessfulCreate", &message);
            pods.push(pod);
        }
        // The least useful go first: those that run nowhere, then those that are not ready, then the youngest.
        pods.sort_by(|one, other| usefulness(other).cmp(&usefulness(one)).then_with(|| age(one).cmp(&age(other))));
        for pod in pods.split_off(wanted.min(pods.len())) {
            let only = DeleteOptions { uid: Some(object::uid(&pod).to_owned()), ..DeleteOptions::default() };
            ctx.delete(PODS, namespace, object::name(&pod), &only)?;
            let message = format!("Deleted pod: {}", object::name(&pod));
            self.recorder.event(ctx, (REPLICA_SETS, set), Type::Normal, "SuccessfulDelete", &message);
        }
        Ok(())
    }
}

fn usefulness(pod: &Value) -> (bool, bool) {
    (!object::text(pod, "/spec/nodeName").is_empty(), owned::has_condition(pod, "Ready"))
}

fn age(pod: &Value) -> (&str, u64) {
    (object::text(pod, "/metadata/creationTimestamp"), object::version(pod))
}
