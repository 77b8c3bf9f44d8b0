//! Finalizers of claims and volumes that somebody still uses.

use serde_json::json;

use crate::sim::actors::object::{self, Key};
use crate::sim::actors::workloads::{Synced, owned};
use crate::sim::process::Context;
use crate::sim::store::table::{CLAIMS, PODS, Resource, VOLUMES};
use crate::sim::store::{Part, Patch};

/// Keeps a claim that a pod mounts.
const CLAIM: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume that is bound.
const VOLUME: &str = "kubernetes.io/pv-protection";

/// A deleted claim goes when no pod mounts it any more.
pub(crate) fn release_claim(ctx: &mut Context<'_>, key: &Key) -> Synced {
    let mounted = ctx.list(PODS, Some(&key.0)).any(|pod| {
        let runs = !object::text(pod, "/spec/nodeName").is_empty() && !owned::is_finished(pod);
        runs && owned::claims(pod).any(|claim| claim == key.1)
    });
    if mounted { Ok(None) } else { release(ctx, CLAIMS, key, CLAIM) }
}

/// A deleted volume goes when no claim is bound to it any more.
pub(crate) fn release_volume(ctx: &mut Context<'_>, key: &Key) -> Synced {
    let Ok(volume) = ctx.get(VOLUMES, "", &key.1) else { return Ok(None) };
    let bound = object::text(&volume, "/status/phase") == "Bound";
    if bound { super::sync_volume(ctx, key) } else { release(ctx, VOLUMES, key, VOLUME) }
}

fn release(ctx: &mut Context<'_>, resource: &'static Resource, key: &Key, finalizer: &str) -> Synced {
    let Ok(object) = ctx.get(resource, &key.0, &key.1) else { return Ok(None) };
    if object::is_deleting(&object) && object::has_finalizer(&object, finalizer) {
        let left = object::without_finalizers(&object, &[finalizer]);
        let patch = Patch::Merge(json!({"metadata": {"uid": object::uid(&object), "finalizers": left}}));
        ctx.patch(resource, &key.0, &key.1, Part::Object, &patch)?;
    }
    Ok(None)
}
