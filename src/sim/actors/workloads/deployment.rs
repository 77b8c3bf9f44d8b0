//! Deployments: a rollout moves replicas from old ReplicaSets to the new one.
//!
//! `Recreate` (as Rook's controllers have it) leaves nobody running in between; `RollingUpdate` keeps two
//! generations side by side. Both are moments in which a driver's leader is lost, so both are kept.

use std::sync::Arc;

use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::owned::{self, items, number};
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::sim::store::{DeleteOptions, Part, Patch, Refusal};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Old ReplicaSets that are kept when the Deployment does not say how many.
const HISTORY: i64 = 10;

/// The Deployment controller.
#[derive(Debug)]
pub(super) struct Deployments {
    recorder: Recorder,
}

impl Default for Deployments {
    fn default() -> Self {
        Self { recorder: Recorder::new("deployment-controller") }
    }
}

/// A Deployment with its ReplicaSets, the oldest first.
struct Rollout {
    deployment: Arc<Value>,
    /// Of the present template.
    new: Option<Arc<Value>>,
    old: Vec<Arc<Value>>,
    replicas: i64,
    surge: i64,
    unavailable: i64,
}

impl Rollout {
    fn read(ctx: &Context<'_>, deployment: Arc<Value>) -> Self {
        let name = set_name(&deployment);
        let mut old = owned::controlled(ctx, REPLICA_SETS, &deployment);
        old.sort_by_key(|set| revision(set));
        let new = old.iter().position(|set| object::name(set) == name).map(|at| old.remove(at));
        let replicas = wanted(&deployment);
        let (surge, unavailable) = match object::text(&deployment, "/spec/strategy/type") {
            "Recreate" => (0, 0),
            _ => bounds(&deployment, replicas),
        };
        Self { deployment, new, old, replicas, surge, unavailable }
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// Replicas that all sets together should have now.
    fn total(&self) -> i64 {
        self.sets().map(|set| wanted(set)).sum()
    }

    fn count(&self, pointer: &str) -> i64 {
        self.sets().filter_map(|set| number(set, pointer)).sum()
    }

    fn of_new(&self, pointer: &str) -> i64 {
        self.new.as_ref().and_then(|set| number(set, pointer)).unwrap_or_default()
    }

    fn is_complete(&self) -> bool {
        let all = self.replicas;
        self.of_new("/status/replicas") == all
            && self.count("/status/replicas") == all
            && self.count("/status/availableReplicas") == all
    }
}

impl Deployments {
    pub(super) fn sync(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        let Ok(deployment) = ctx.get(DEPLOYMENTS, &key.0, &key.1) else { return Ok(None) };
        if object::is_deleting(&deployment) {
            return Ok(None);
        }
        let rollout = Rollout::read(ctx, deployment);
        match object::text(&rollout.deployment, "/spec/strategy/type") {
            "Recreate" => self.recreate(ctx, &rollout)?,
            _ => self.roll(ctx, &rollout)?,
        }
        // What was written above is read again: the status is of the sets as they are now.
        let rollout = Rollout::read(ctx, Arc::clone(&rollout.deployment));
        write_status(ctx, &rollout)?;
        if rollout.is_complete() {
            clean_up(ctx, &rollout)?;
        }
        Ok(None)
    }

    /// The new set gets its pods only when the last old one is gone.
    fn recreate(&mut self, ctx: &mut Context<'_>, rollout: &Rollout) -> Result<(), Refusal> {
        let mut scaled = false;
        for set in rollout.old.iter().filter(|set| wanted(set) > 0) {
            self.scale(ctx, rollout, set, 0)?;
            scaled = true;
        }
        let running = rollout.old.iter().any(|set| {
            let uid = object::uid(set);
            let mut pods = ctx.list(PODS, Some(object::namespace(set)));
            pods.any(|pod| owned::is_controlled_by(pod, uid) && !owned::is_finished(pod))
        });
        match &rollout.new {
            _ if scaled || running => Ok(()),
            Some(set) if wanted(set) != rollout.replicas => self.scale(ctx, rollout, set, rollout.replicas),
            Some(_) => Ok(()),
            None => self.create(ctx, rollout, rollout.replicas),
        }
    }

    /// New pods as far as the surge allows, then old ones away as far as availability allows.
    fn roll(&mut self, ctx: &mut Context<'_>, rollout: &Rollout) -> Result<(), Refusal> {
        let have = rollout.new.as_ref().map_or(0, |set| wanted(set));
        let room = (rollout.replicas + rollout.surge - rollout.total()).max(0);
        let want = if have > rollout.replicas { rollout.replicas } else { rollout.replicas.min(have + room) };
        match &rollout.new {
            None => return self.create(ctx, rollout, want),
            Some(set) if want != have => return self.scale(ctx, rollout, set, want),
            Some(_) => {}
        }
        self.shrink_old(ctx, rollout)
    }

    fn shrink_old(&mut self, ctx: &mut Context<'_>, rollout: &Rollout) -> Result<(), Refusal> {
        let least = rollout.replicas - rollout.unavailable;
        let not_up = rollout.of_new("/spec/replicas") - rollout.of_new("/status/availableReplicas");
        let mut may_go = (rollout.total() - least - not_up).max(0);
        let mut spare = (rollout.count("/status/availableReplicas") - least).max(0);
        for set in &rollout.old {
            let (have, up) = (wanted(set), number(set, "/status/availableReplicas").unwrap_or_default());
            // Those that are not available are no loss; the others go as long as enough are left.
            let broken = (have - up).clamp(0, may_go);
            let healthy = up.clamp(0, spare.min(may_go - broken));
            if broken + healthy > 0 {
                self.scale(ctx, rollout, set, have - broken - healthy)?;
                may_go -= broken + healthy;
                spare -= healthy;
            }
        }
        Ok(())
    }

    fn create(&mut self, ctx: &mut Context<'_>, rollout: &Rollout, replicas: i64) -> Result<(), Refusal> {
        let deployment = &rollout.deployment;
        let hash = template_hash(deployment);
        let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
        json_patch::merge(&mut template, &json!({"metadata": {"labels": {HASH: hash}}}));
        let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_default();
        json_patch::merge(&mut selector, &json!({"matchLabels": {HASH: hash}}));
        let name = set_name(deployment);
        let number = rollout.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
        let labels = template.pointer("/metadata/labels").cloned().unwrap_or_default();
        let set = json!({
            "metadata": {"name": name, "labels": labels, "annotations": {REVISION: number.to_string()},
                "ownerReferences": [owned::reference_to(DEPLOYMENTS, deployment)]},
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        });
        let namespace = object::namespace(deployment);
        ctx.create(REPLICA_SETS, namespace, set)?;
        let message = format!("Scaled up replica set {name} from 0 to {replicas}");
        self.recorder.event(ctx, (DEPLOYMENTS, deployment), Type::Normal, "ScalingReplicaSet", &message);
        let mark = Patch::Merge(json!({"metadata": {"annotations": {REVISION: number.to_string()}}}));
        ctx.patch(DEPLOYMENTS, namespace, object::name(deployment), Part::Object, &mark).map(drop)
    }

    fn scale(&mut self, ctx: &mut Context<'_>, rollout: &Rollout, set: &Value, to: i64) -> Result<(), Refusal> {
        let (namespace, name, from) = (object::namespace(set), object::name(set), wanted(set));
        ctx.patch(REPLICA_SETS, namespace, name, Part::Object, &Patch::Merge(json!({"spec": {"replicas": to}})))?;
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.event(ctx, (DEPLOYMENTS, &rollout.deployment), Type::Normal, "ScalingReplicaSet", &message);
        Ok(())
    }
}

/// Old sets that have nothing left to do, beyond those kept for a rollback.
fn clean_up(ctx: &mut Context<'_>, rollout: &Rollout) -> Result<(), Refusal> {
    let keep = number(&rollout.deployment, "/spec/revisionHistoryLimit").unwrap_or(HISTORY);
    let idle = |set: &&Arc<Value>| wanted(set) == 0 && number(set, "/status/replicas").unwrap_or_default() == 0;
    let idle: Vec<_> = rollout.old.iter().filter(idle).collect();
    let surplus = idle.len().saturating_sub(usize::try_from(keep).unwrap_or_default());
    for set in idle.into_iter().take(surplus) {
        let only = DeleteOptions { uid: Some(object::uid(set).to_owned()), ..DeleteOptions::default() };
        ctx.delete(REPLICA_SETS, object::namespace(set), object::name(set), &only)?;
    }
    Ok(())
}

fn write_status(ctx: &mut Context<'_>, rollout: &Rollout) -> Result<(), Refusal> {
    let deployment = &rollout.deployment;
    let mut said = items(deployment, "/status/conditions").to_vec();
    let at = ctx.now().wall;
    let available = rollout.count("/status/availableReplicas");
    let (status, reason, message) = if available >= rollout.replicas - rollout.unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let stamps = ["lastUpdateTime"];
    conditions::set(&mut said, at, &stamps, Said { kind: "Available", status, reason, message });
    let name = rollout.new.as_ref().map(|set| object::name(set)).unwrap_or_default();
    let (reason, message) = if rollout.is_complete() {
        ("NewReplicaSetAvailable", format!("ReplicaSet \"{name}\" has successfully progressed."))
    } else {
        ("ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing."))
    };
    let progressing = Said { kind: "Progressing", status: "True", reason, message: &message };
    conditions::set(&mut said, at, &stamps, progressing);
    let status = json!({
        "observedGeneration": deployment.pointer("/metadata/generation"),
        "replicas": positive(rollout.count("/status/replicas")),
        "updatedReplicas": positive(rollout.of_new("/status/replicas")),
        "readyReplicas": positive(rollout.count("/status/readyReplicas")),
        "availableReplicas": positive(available),
        "unavailableReplicas": positive(rollout.total() - available),
        "conditions": said,
    });
    let patch = Patch::Merge(json!({"status": status}));
    ctx.patch(DEPLOYMENTS, object::namespace(deployment), object::name(deployment), Part::Status, &patch).map(drop)
}

/// Go leaves a zero out, and `null` in a merge patch removes.
fn positive(count: i64) -> Option<i64> {
    (count > 0).then_some(count)
}

fn wanted(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

fn revision(set: &Value) -> i64 {
    object::annotation(set, REVISION).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn set_name(deployment: &Value) -> String {
    format!("{}-{}", object::name(deployment), template_hash(deployment))
}

/// How many pods more than wanted there may be, and how many fewer.
fn bounds(deployment: &Value, replicas: i64) -> (i64, i64) {
    let share = |field: &str, up: bool| {
        let pointer = format!("/spec/strategy/rollingUpdate/{field}");
        let percent = match deployment.pointer(&pointer) {
            Some(Value::Number(count)) => return count.as_i64().unwrap_or_default(),
            Some(Value::String(percent)) => percent.trim_end_matches('%').parse().unwrap_or(25),
            _ => 25,
        };
        (replicas * percent + if up { 99 } else { 0 }) / 100
    };
    let (surge, unavailable) = (share("maxSurge", true), share("maxUnavailable", false));
    // Neither may be nothing when the other is: the rollout would stand still.
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

/// The suffix of a template's ReplicaSet: a hash, in the letters that names are made of.
fn template_hash(deployment: &Value) -> String {
    let template = deployment.pointer("/spec/template").map(Value::to_string).unwrap_or_default();
    let hash = template.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |digit: u8| letters.get(usize::from(digit) % letters.len()).copied().map(char::from);
    hash.to_string().bytes().filter_map(letter).collect()
}
