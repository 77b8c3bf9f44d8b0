//! The volume binder: a claim and a volume name each other, in four writes.
//!
//! A claim that wants a new volume is handed to the provisioner of its class by an annotation; the volume that
//! comes back names the claim, and the rest is the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sim::actors::object::{self, Key};
use crate::sim::actors::workloads::Synced;
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{CLAIMS, Resource, STORAGE_CLASSES, VOLUMES};
use crate::sim::store::{Part, Patch, Refusal};

const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// The node that a claim's first consumer will run on.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// How often everything is looked at without a reason.
const RESYNC: Duration = Duration::from_secs(15);

/// The volume binder.
#[derive(Debug)]
pub(crate) struct Binder {
    recorder: Recorder,
}

impl Default for Binder {
    fn default() -> Self {
        Self { recorder: Recorder::new("persistentvolume-controller") }
    }
}

impl Binder {
    pub(crate) fn sync_claim(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        let Ok(claim) = ctx.get(CLAIMS, &key.0, &key.1) else { return Ok(None) };
        let name = object::text(&claim, "/spec/volumeName").to_owned();
        if name.is_empty() {
            return self.find(ctx, &claim);
        }
        let volume = ctx.get(VOLUMES, "", &name).ok().filter(|volume| may_bind(volume, &claim));
        if let Some(volume) = volume {
            bind(ctx, &volume, &claim)?;
        } else if object::annotation(&claim, COMPLETED).is_some() && phase(&claim) != "Lost" {
            set_phase(ctx, CLAIMS, &claim, "Lost")?;
            let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            self.recorder.event(ctx, (CLAIMS, &claim), Type::Warning, "ClaimLost", message);
        }
        Ok(None)
    }

    /// A volume for a claim that names none: one that names the claim, one that nobody has, or a new one.
    fn find(&mut self, ctx: &mut Context<'_>, claim: &Value) -> Synced {
        let meant = |volume: &&Arc<Value>| names(volume, claim) && may_bind(volume, claim);
        let volume = ctx.list(VOLUMES, None).find(meant).cloned().or_else(|| free(ctx, claim));
        match volume {
            Some(volume) => bind(ctx, &volume, claim).map(|()| None),
            None if object::is_deleting(claim) => Ok(None),
            None => self.provision(ctx, claim),
        }
    }

    fn provision(&mut self, ctx: &mut Context<'_>, claim: &Value) -> Synced {
        let name = class_of(ctx, claim);
        if name.is_empty() {
            return Ok(Some(RESYNC));
        }
        let Ok(class) = ctx.get(STORAGE_CLASSES, "", &name) else {
            let message = format!("storageclass.storage.k8s.io \"{name}\" not found");
            self.recorder.event(ctx, (CLAIMS, claim), Type::Warning, "ProvisioningFailed", &message);
            return Ok(Some(RESYNC));
        };
        let waits = object::text(&class, "/volumeBindingMode") == "WaitForFirstConsumer";
        if waits && object::annotation(claim, SELECTED_NODE).is_none() {
            let message = "waiting for first consumer to be created before binding";
            self.recorder.event(ctx, (CLAIMS, claim), Type::Normal, "WaitForFirstConsumer", message);
            return Ok(None);
        }
        let provisioner = object::text(&class, "/provisioner");
        if provisioner == "kubernetes.io/no-provisioner" || object::annotation(claim, PROVISIONER).is_some() {
            return Ok(None);
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        let mark = json!({PROVISIONER: provisioner, OLD_PROVISIONER: provisioner});
        let patch = Patch::Merge(json!({"metadata": {"annotations": mark}}));
        ctx.patch(CLAIMS, object::namespace(claim), object::name(claim), Part::Object, &patch)?;
        self.recorder.event(ctx, (CLAIMS, claim), Type::Normal, "ExternalProvisioning", &message);
        Ok(None)
    }
}

/// A look at a volume: free, or left by its claim.
pub(crate) fn sync_volume(ctx: &mut Context<'_>, key: &Key) -> Synced {
    let Ok(volume) = ctx.get(VOLUMES, "", &key.1) else { return Ok(None) };
    let [namespace, name, uid] = ["/spec/claimRef/namespace", "/spec/claimRef/name", "/spec/claimRef/uid"]
        .map(|field| object::text(&volume, field).to_owned());
    if uid.is_empty() {
        if phase(&volume) == "Pending" {
            set_phase(ctx, VOLUMES, &volume, "Available")?;
        }
        return Ok(None);
    }
    let claim = ctx.get(CLAIMS, &namespace, &name).ok().filter(|claim| object::uid(claim) == uid);
    if claim.is_none() && phase(&volume) != "Released" {
        set_phase(ctx, VOLUMES, &volume, "Released")?;
    }
    Ok(None)
}

/// The class of a claim; the default one if it names none.
fn class_of(ctx: &Context<'_>, claim: &Value) -> String {
    if let Some(name) = claim.pointer("/spec/storageClassName").and_then(Value::as_str) {
        return name.to_owned();
    }
    let mut classes = ctx.list(STORAGE_CLASSES, None);
    let default = classes.find(|class| object::annotation(class, DEFAULT_CLASS) == Some("true"));
    default.map(|class| object::name(class).to_owned()).unwrap_or_default()
}

/// A volume that an administrator made and nobody has claimed.
fn free(ctx: &Context<'_>, claim: &Value) -> Option<Arc<Value>> {
    let class = class_of(ctx, claim);
    let suits = |volume: &&Arc<Value>| {
        phase(volume) == "Available"
            && volume.pointer("/spec/claimRef").is_none()
            && object::text(volume, "/spec/storageClassName") == class
            && claim.pointer("/spec/dataSource").is_none()
    };
    ctx.list(VOLUMES, None).find(suits).cloned()
}

/// The volume's reference means a claim of this name.
fn names(volume: &Value, claim: &Value) -> bool {
    object::text(volume, "/spec/claimRef/name") == object::name(claim)
        && object::text(volume, "/spec/claimRef/namespace") == object::namespace(claim)
}

/// The volume is this claim's, or nobody's.
fn may_bind(volume: &Value, claim: &Value) -> bool {
    let uid = object::text(volume, "/spec/claimRef/uid");
    volume.pointer("/spec/claimRef").is_none()
        || (names(volume, claim) && (uid.is_empty() || uid == object::uid(claim)))
}

fn bind(ctx: &mut Context<'_>, volume: &Value, claim: &Value) -> Result<(), Refusal> {
    let (namespace, name) = (object::namespace(claim), object::name(claim));
    let marked = |chosen: bool| if chosen { json!({BY_CONTROLLER: "yes"}) } else { json!({}) };
    if object::text(volume, "/spec/claimRef/uid").is_empty() {
        let mut reference = object::reference(CLAIMS, claim);
        json_patch::merge(&mut reference, &json!({"kind": "PersistentVolumeClaim"}));
        let annotations = marked(!names(volume, claim));
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}, "spec": {"claimRef": reference}}));
        ctx.patch(VOLUMES, "", object::name(volume), Part::Object, &patch)?;
    }
    if phase(volume) != "Bound" {
        set_phase(ctx, VOLUMES, volume, "Bound")?;
    }
    if object::annotation(claim, COMPLETED).is_none() {
        let mut annotations = marked(object::text(claim, "/spec/volumeName").is_empty());
        json_patch::merge(&mut annotations, &json!({COMPLETED: "yes"}));
        let spec = json!({"volumeName": object::name(volume)});
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}, "spec": spec}));
        ctx.patch(CLAIMS, namespace, name, Part::Object, &patch)?;
    }
    if phase(claim) != "Bound" {
        let capacity = volume.pointer("/spec/capacity").cloned().unwrap_or_default();
        let modes = volume.pointer("/spec/accessModes").cloned().unwrap_or_default();
        let status = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
        ctx.patch(CLAIMS, namespace, name, Part::Status, &Patch::Merge(json!({"status": status})))?;
    }
    Ok(())
}

fn phase(object: &Value) -> &str {
    object::text(object, "/status/phase")
}

fn set_phase(ctx: &mut Context<'_>, resource: &'static Resource, of: &Value, phase: &str) -> Result<(), Refusal> {
    let patch = Patch::Merge(json!({"status": {"phase": phase}}));
    ctx.patch(resource, object::namespace(of), object::name(of), Part::Status, &patch).map(drop)
}
