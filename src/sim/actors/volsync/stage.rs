//! What a sync stages: snapshots and claims, made once and looked at until they are usable; and their removal.
//!
//! Nothing here has a patience: a snapshot that is never ready, or never gone, is waited for without end. And
//! removal does not wait at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::machine::{Progress, Step};
use crate::sim::actors::object;
use crate::sim::actors::workloads::owned::{self, items};
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{self, CLAIMS, JOBS, Resource, SNAPSHOTS};
use crate::sim::store::{DeleteOptions, Part, Patch, Propagation, Refusal};

pub(super) const CREATED_BY: &str = "app.kubernetes.io/created-by";
pub(super) const CLEANUP: &str = "volsync.backube/cleanup";
const DO_NOT_DELETE: &str = "volsync.backube/do-not-delete";
/// Name of the snapshot that is being cut of a claim.
const SNAPSHOT_NAME: &str = "volsync.backube/snapname";
/// How long a snapshot may be without a content, and a claim without a volume, before somebody is told.
const SNAPSHOT_BINDS: Duration = Duration::from_secs(30);
const CLAIM_BINDS: Duration = Duration::from_secs(120);

/// A replication, and who speaks for it.
pub(super) struct Stage<'a> {
    pub(super) resource: &'static Resource,
    pub(super) owner: &'a Value,
    /// `spec.kopia`.
    pub(super) spec: &'a Value,
    pub(super) recorder: &'a mut Recorder,
}

/// A usable object, or none yet.
pub(super) type Staged = Result<Option<Arc<Value>>, String>;

impl Stage<'_> {
    pub(super) fn namespace(&self) -> &str {
        object::namespace(self.owner)
    }

    /// `spec.kopia.<field>`.
    pub(super) fn text(&self, field: &str) -> &str {
        self.spec.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Metadata of what belongs to the replication.
    pub(super) fn metadata(&self, name: &str, temporary: bool) -> Value {
        let mut labels = json!({CREATED_BY: "volsync"});
        if temporary {
            json_patch::merge(&mut labels, &json!({CLEANUP: object::uid(self.owner)}));
        }
        json!({"name": name, "labels": labels, "ownerReferences": [owned::reference_to(self.resource, self.owner)]})
    }

    /// Makes what is not there; gives it, and whether it is new.
    pub(super) fn ensure(
        &self,
        ctx: &mut Context<'_>,
        resource: &'static Resource,
        name: &str,
        object: impl FnOnce(&Self) -> Value,
    ) -> Result<(Arc<Value>, bool), String> {
        if let Ok(found) = ctx.get(resource, self.namespace(), name) {
            return Ok((found, false));
        }
        let made = ctx.create(resource, self.namespace(), said(&object(self)));
        made.map(|made| (made, true)).map_err(words)
    }

    fn say(&mut self, ctx: &mut Context<'_>, kind: Type, reason: &str, message: &str) {
        self.recorder.event(ctx, (self.resource, self.owner), kind, reason, message);
    }

    /// The snapshot of a claim that a sync copies from; none while it is made, or while an old one of this name
    /// is being deleted.
    pub(super) fn snapshot(&mut self, ctx: &mut Context<'_>, source: &Value, name: &str) -> Staged {
        let (snapshot, is_new) = self.ensure(ctx, SNAPSHOTS, name, |stage| stage.new_snapshot(source, name, true))?;
        if object::is_deleting(&snapshot) {
            return Ok(None);
        }
        if is_new {
            self.say_created(ctx, source, name);
        }
        let bound = self.is_bound(ctx, &snapshot);
        let ready = snapshot.pointer("/status/readyToUse") != Some(&Value::Bool(false));
        Ok((bound && ready).then_some(snapshot))
    }

    /// The snapshot that is the outcome of a restore. It need only be bound.
    pub(super) fn image(&mut self, ctx: &mut Context<'_>, source: &Value) -> Staged {
        let name = if let Some(name) = object::annotation(source, SNAPSHOT_NAME) {
            name.to_owned()
        } else {
            let name = format!("{}-{}", object::name(source), ctx.now().wall.strftime("%Y%m%d%H%M%S"));
            annotate(ctx, source, &json!(name))?;
            name
        };
        let (snapshot, is_new) =
            self.ensure(ctx, SNAPSHOTS, &name, |stage| stage.new_snapshot(source, &name, false))?;
        if is_new {
            self.say_created(ctx, source, &name);
        }
        let usable = !object::is_deleting(&snapshot) && self.is_bound(ctx, &snapshot);
        Ok(usable.then_some(snapshot))
    }

    fn new_snapshot(&self, source: &Value, name: &str, temporary: bool) -> Value {
        let class = self.text("volumeSnapshotClassName");
        let mut spec = json!({"source": {"persistentVolumeClaimName": object::name(source)}});
        if !class.is_empty() {
            json_patch::merge(&mut spec, &json!({"volumeSnapshotClassName": class}));
        }
        json!({"metadata": self.metadata(name, temporary), "spec": spec})
    }

    fn say_created(&mut self, ctx: &mut Context<'_>, source: &Value, name: &str) {
        let message = format!("created VolumeSnapshot/{name} from PersistentVolumeClaim/{}", object::name(source));
        self.say(ctx, Type::Normal, "VolumeSnapshotCreated", &message);
    }

    fn is_bound(&mut self, ctx: &mut Context<'_>, snapshot: &Value) -> bool {
        let bound = !object::text(snapshot, "/status/boundVolumeSnapshotContentName").is_empty();
        if !bound && is_older(ctx, snapshot, SNAPSHOT_BINDS) {
            let message = format!(
                "waiting for VolumeSnapshot/{} to bind; check VolumeSnapshotClass name and ensure CSI driver supports \
                 volume snapshots",
                object::name(snapshot)
            );
            self.say(ctx, Type::Warning, "VolumeSnapshotNotBound", &message);
        }
        bound
    }

    /// The temporary claim made from a snapshot. One that is being deleted is taken all the same.
    pub(super) fn claim_from(
        &mut self,
        ctx: &mut Context<'_>,
        snapshot: &Value,
        source: &Value,
        name: &str,
    ) -> Result<Arc<Value>, String> {
        let (claim, is_new) =
            self.ensure(ctx, CLAIMS, name, |stage| stage.claim_of_snapshot(snapshot, source, name))?;
        if is_new {
            let message =
                format!("created PersistentVolumeClaim/{name} from VolumeSnapshot/{}", object::name(snapshot));
            self.say(ctx, Type::Normal, "PersistentVolumeClaimCreated", &message);
        }
        self.say_if_unbound(ctx, &claim);
        Ok(claim)
    }

    fn claim_of_snapshot(&self, snapshot: &Value, source: &Value, name: &str) -> Value {
        let size = [self.spec.get("capacity"), snapshot.pointer("/status/restoreSize")]
            .into_iter()
            .chain([source.pointer("/status/capacity/storage"), source.pointer("/spec/resources/requests/storage")])
            .flatten()
            .next();
        let own = |field: &str| self.spec.get(field).or_else(|| source.pointer(&format!("/spec/{field}"))).cloned();
        let from = json!({"apiGroup": table::SNAPSHOT_GROUP, "kind": SNAPSHOTS.kind, "name": object::name(snapshot)});
        json!({"metadata": self.metadata(name, true), "spec": {
            "accessModes": own("accessModes"), "storageClassName": own("storageClassName"),
            "resources": {"requests": {"storage": size}}, "volumeMode": source.pointer("/spec/volumeMode"),
            "dataSource": from,
        }})
    }

    /// A new, empty claim.
    pub(super) fn new_claim(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        temporary: bool,
        fields: [&str; 3],
    ) -> Result<Arc<Value>, String> {
        let (claim, is_new) = self.ensure(ctx, CLAIMS, name, |stage| {
            let [capacity, class, modes] = fields.map(|field| stage.spec.get(field).cloned());
            json!({
                "metadata": stage.metadata(name, temporary),
                "spec": {"accessModes": modes, "storageClassName": class, "volumeMode": "Filesystem",
                    "resources": {"requests": {"storage": capacity}}},
            })
        })?;
        if is_new {
            let message = format!("created PersistentVolumeClaim/{name} to receive incoming data");
            self.say(ctx, Type::Normal, "PersistentVolumeClaimCreated", &message);
        }
        self.say_if_unbound(ctx, &claim);
        Ok(claim)
    }

    fn say_if_unbound(&mut self, ctx: &mut Context<'_>, claim: &Value) {
        if object::text(claim, "/status/phase") != "Bound" && is_older(ctx, claim, CLAIM_BINDS) {
            let name = object::name(claim);
            let message = format!(
                "waiting for PersistentVolumeClaim/{name} to bind; check StorageClass name and CSI driver capabilities"
            );
            self.say(ctx, Type::Warning, "PersistentVolumeClaimNotBound", &message);
        }
    }

    /// Deletes what was marked for it, and waits for nothing.
    pub(super) fn clean_up(&self, ctx: &mut Context<'_>) -> Step {
        for resource in [CLAIMS, SNAPSHOTS, JOBS] {
            let uid = object::uid(self.owner);
            let marked = |object: &&Arc<Value>| object::label(object, CLEANUP) == Some(uid);
            let objects: Vec<_> = ctx.list(resource, Some(self.namespace())).filter(marked).cloned().collect();
            for object in objects {
                let done = if resource == SNAPSHOTS {
                    self.let_snapshot_go(ctx, &object)
                } else {
                    let propagation = Some(Propagation::Background);
                    delete(ctx, resource, &object, &DeleteOptions { propagation, ..DeleteOptions::default() })
                };
                done.map_err(words)?;
            }
        }
        Ok(Progress::Complete)
    }

    fn let_snapshot_go(&self, ctx: &mut Context<'_>, snapshot: &Value) -> Result<(), Refusal> {
        let mut owners = items(snapshot, "/metadata/ownerReferences").to_vec();
        owners.retain(|owner| object::text(owner, "/uid") != object::uid(self.owner));
        let keep = object::label(snapshot, DO_NOT_DELETE).is_some();
        if !keep && owners.is_empty() {
            let resource_version = Some(object::text(snapshot, "/metadata/resourceVersion").to_owned());
            return delete(ctx, SNAPSHOTS, snapshot, &DeleteOptions { resource_version, ..DeleteOptions::default() });
        }
        let labels = if keep { json!({CLEANUP: null, CREATED_BY: null}) } else { json!({}) };
        let patch = Patch::Merge(json!({"metadata": {"labels": labels, "ownerReferences": owners}}));
        ctx.patch(SNAPSHOTS, self.namespace(), object::name(snapshot), Part::Object, &patch).map(drop)
    }
}

/// The next restore cuts a new snapshot.
pub(super) fn forget_image(ctx: &mut Context<'_>, namespace: &str, claim: &str) -> Result<(), String> {
    match ctx.get(CLAIMS, namespace, claim) {
        Ok(claim) if object::annotation(&claim, SNAPSHOT_NAME).is_some() => annotate(ctx, &claim, &Value::Null),
        _ => Ok(()),
    }
}

fn annotate(ctx: &mut Context<'_>, claim: &Value, name: &Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {SNAPSHOT_NAME: name}}}));
    let done = ctx.patch(CLAIMS, object::namespace(claim), object::name(claim), Part::Object, &patch);
    done.map(drop).map_err(words)
}

/// Deletes; what is gone already is no error.
fn delete(
    ctx: &mut Context<'_>,
    resource: &'static Resource,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Refusal> {
    match ctx.delete(resource, object::namespace(object), object::name(object), options) {
        Err(refusal) if !refusal.is_not_found() => Err(refusal),
        _ => Ok(()),
    }
}

fn is_older(ctx: &Context<'_>, object: &Value, than: Duration) -> bool {
    let made = owned::time(object, "/metadata/creationTimestamp").unwrap_or(ctx.now().wall);
    Duration::try_from(ctx.now().wall.duration_since(made)).is_ok_and(|age| age > than)
}

/// An object without what is null: a Go client writes no field that it has no value for.
fn said(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), said(value))).collect()
        }
        Value::Array(items) => items.iter().map(said).collect(),
        other => other.clone(),
    }
}

/// A refusal in words.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(super) fn words(refusal: Refusal) -> String {
    refusal.to_string()
}
