//! The volume populator: a claim whose data source is a ReplicationDestination gets its latest image.
//!
//! A second claim is restored from the snapshot, and its volume is then handed to the first. Until that is
//! done the snapshot has two owners, so that nobody deletes it meanwhile.

use std::sync::Arc;

use serde_json::{Value, json};

use super::stage::{CREATED_BY, words};
use crate::sim::actors::object::{self, Key};
use crate::sim::actors::volumes::SELECTED_NODE;
use crate::sim::actors::workloads::owned::{self, items};
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{
    CLAIMS, REPLICATION_DESTINATIONS, SNAPSHOT_GROUP, SNAPSHOTS, STORAGE_CLASSES, VOLSYNC_GROUP, VOLUMES,
};
use crate::sim::store::{DeleteOptions, Part, Patch};

const IN_USE: &str = "volsync.backube/volpop-pvc-";
const POPULATES: &str = "volsync.backube/populator-pvc-for";

/// The ReplicationDestination that a claim is to be filled from.
pub(super) fn source(claim: &Value) -> Option<&str> {
    let field = |name: &str| object::text(claim, name);
    let meant = field("/spec/dataSourceRef/apiGroup") == VOLSYNC_GROUP
        && field("/spec/dataSourceRef/kind") == REPLICATION_DESTINATIONS.kind;
    Some(field("/spec/dataSourceRef/name")).filter(|name| meant && !name.is_empty())
}

/// The claim that another one populates.
pub(super) fn populated(claim: &Value) -> Option<Key> {
    Some((object::namespace(claim).to_owned(), object::label(claim, POPULATES)?.to_owned()))
}

/// One look at a claim.
pub(super) fn sync(ctx: &mut Context<'_>, recorder: &mut Recorder, key: &Key) -> Result<(), String> {
    let Ok(claim) = ctx.get(CLAIMS, &key.0, &key.1) else { return Ok(()) };
    let Some(destination) = source(&claim) else { return Ok(()) };
    let class = ctx.get(STORAGE_CLASSES, "", object::text(&claim, "/spec/storageClassName"));
    let waits = class.is_ok_and(|class| object::text(&class, "/volumeBindingMode") == "WaitForFirstConsumer");
    let node = object::annotation(&claim, SELECTED_NODE).filter(|_| waits);
    if waits && node.is_none() {
        return Ok(());
    }
    let prime = format!("vs-prime-{}", object::uid(&claim));
    let mut found = ctx.get(CLAIMS, &key.0, &prime).ok();
    if object::text(&claim, "/spec/volumeName").is_empty() {
        if found.is_none() {
            found = begin(ctx, recorder, &claim, destination, node)?;
        }
        let Some(prime) = &found else { return Ok(()) };
        hold(ctx, &claim, prime)?;
        return hand_over(ctx, &claim, prime);
    }
    match found {
        Some(prime) if object::text(&prime, "/status/phase") == "Lost" => finish(ctx, recorder, &claim, &prime),
        _ => Ok(()),
    }
}

/// Makes the second claim, if there is an image to make it from.
fn begin(
    ctx: &mut Context<'_>,
    recorder: &mut Recorder,
    claim: &Value,
    destination: &str,
    node: Option<&str>,
) -> Result<Option<Arc<Value>>, String> {
    let namespace = object::namespace(claim);
    let mut warn = |ctx: &mut Context<'_>, reason: &str, message: &str| {
        recorder.event(ctx, (CLAIMS, claim), Type::Warning, reason, message);
        Ok(None)
    };
    let Ok(found) = ctx.get(REPLICATION_DESTINATIONS, namespace, destination) else {
        let message = format!("Unable to populate volume: ReplicationDestination \"{destination}\" not found");
        return warn(ctx, "VolSyncPopulatorReplicationDestinationMissing", &message);
    };
    let [kind, image] =
        ["/status/latestImage/kind", "/status/latestImage/name"].map(|field| object::text(&found, field));
    if image.is_empty() {
        let message = "Unable to populate volume, waiting for replicationdestination to have latestImage";
        return warn(ctx, "VolSyncPopulatorReplicationDestinationNoLatestImage", message);
    }
    if kind != SNAPSHOTS.kind {
        let message = "Unable to populate volume: ReplicationDestination latestImage is not a volumesnapshot";
        return warn(ctx, "VolSyncPopulatorError", message);
    }
    let label = format!("{IN_USE}{}", object::uid(claim));
    let patch = Patch::Merge(json!({"metadata": {"labels": {label: object::name(claim)}}}));
    ctx.patch(SNAPSHOTS, namespace, image, Part::Object, &patch).map_err(words)?;
    let mut metadata = json!({
        "name": format!("vs-prime-{}", object::uid(claim)),
        "labels": {POPULATES: object::name(claim), CREATED_BY: "volsync"},
        "ownerReferences": [owned::reference_to(CLAIMS, claim)],
    });
    if let Some(node) = node {
        json_patch::merge(&mut metadata, &json!({"annotations": {SELECTED_NODE: node}}));
    }
    let mut spec = claim.get("spec").cloned().unwrap_or_default();
    let reference = json!({"apiGroup": SNAPSHOT_GROUP, "kind": kind, "name": image});
    json_patch::merge(&mut spec, &json!({"dataSource": reference, "dataSourceRef": reference}));
    let prime = json!({"metadata": metadata, "spec": spec});
    let prime = ctx.create(CLAIMS, namespace, prime).map_err(words)?;
    let message = format!("Populator pvc created from snapshot {image}");
    recorder.event(ctx, (CLAIMS, claim), Type::Normal, "VolSyncPopulatorPVCCreated", &message);
    Ok(Some(prime))
}

/// The second claim becomes an owner of the snapshot.
fn hold(ctx: &mut Context<'_>, claim: &Value, prime: &Value) -> Result<(), String> {
    for snapshot in in_use(ctx, claim) {
        let mut owners = items(&snapshot, "/metadata/ownerReferences").to_vec();
        if owners.iter().any(|owner| object::text(owner, "/uid") == object::uid(prime)) {
            continue;
        }
        owners.push(json!({"apiVersion": "v1", "kind": CLAIMS.kind, "name": object::name(prime),
            "uid": object::uid(prime)}));
        let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
        let done = ctx.patch(SNAPSHOTS, object::namespace(claim), object::name(&snapshot), Part::Object, &patch);
        done.map_err(words)?;
    }
    Ok(())
}

/// The volume of the second claim becomes the first one's.
fn hand_over(ctx: &mut Context<'_>, claim: &Value, prime: &Value) -> Result<(), String> {
    let name = object::text(prime, "/spec/volumeName");
    let Ok(volume) = ctx.get(VOLUMES, "", name) else { return Ok(()) };
    if object::text(&volume, "/spec/claimRef/uid") == object::uid(claim) {
        return Ok(());
    }
    let from = format!("{}/{}", object::namespace(claim), object::text(prime, "/spec/dataSourceRef/name"));
    let reference = json!({"namespace": object::namespace(claim), "name": object::name(claim),
        "uid": object::uid(claim), "resourceVersion": object::text(claim, "/metadata/resourceVersion")});
    let patch = Patch::Merge(json!({
        "metadata": {"annotations": {"volsync.backube/populated-from": from}}, "spec": {"claimRef": reference},
    }));
    ctx.patch(VOLUMES, "", name, Part::Object, &patch).map(drop).map_err(words)
}

fn finish(ctx: &mut Context<'_>, recorder: &mut Recorder, claim: &Value, prime: &Value) -> Result<(), String> {
    if object::is_deleting(prime) {
        return Ok(());
    }
    recorder.event(ctx, (CLAIMS, claim), Type::Normal, "VolSyncPopulatorFinished", "Populator finished");
    let namespace = object::namespace(claim);
    for snapshot in in_use(ctx, claim) {
        let label = format!("{IN_USE}{}", object::uid(claim));
        let patch = Patch::Merge(json!({"metadata": {"labels": {label: null}}}));
        ctx.patch(SNAPSHOTS, namespace, object::name(&snapshot), Part::Object, &patch).map_err(words)?;
    }
    ctx.delete(CLAIMS, namespace, object::name(prime), &DeleteOptions::default()).map(drop).map_err(words)
}

fn in_use(ctx: &Context<'_>, claim: &Value) -> Vec<Arc<Value>> {
    let label = format!("{IN_USE}{}", object::uid(claim));
    let marked = |snapshot: &&Arc<Value>| object::label(snapshot, &label).is_some();
    ctx.list(SNAPSHOTS, Some(object::namespace(claim))).filter(marked).cloned().collect()
}
