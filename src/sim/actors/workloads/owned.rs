//! Who owns what, and what a pod is worth: the questions that all workload controllers ask.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::actors::object;
pub(crate) use crate::sim::actors::object::items;
use crate::sim::process::Context;
use crate::sim::store::table::Resource;

/// The number at a JSON pointer, if there is one.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object::at(object, pointer).and_then(Value::as_i64)
}

/// A time at a JSON pointer.
pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    object::text(object, pointer).parse().ok()
}

/// The reference to its controller.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// The object is controlled by the one of this uid.
pub(crate) fn is_controlled_by(object: &Value, uid: &str) -> bool {
    controller(object).is_some_and(|owner| object::text(owner, "/uid") == uid)
}

/// A reference to a controller, as `metadata.ownerReferences` has it.
pub(crate) fn reference_to(resource: &Resource, owner: &Value) -> Value {
    json!({"apiVersion": resource.api_version(), "kind": resource.kind, "name": object::name(owner),
        "uid": object::uid(owner), "controller": true, "blockOwnerDeletion": true})
}

/// What the owner controls of a resource, in its namespace.
pub(crate) fn controlled(ctx: &Context<'_>, resource: &'static Resource, owner: &Value) -> Vec<Arc<Value>> {
    let uid = object::uid(owner);
    let all = ctx.list(resource, Some(object::namespace(owner)));
    all.filter(|object| is_controlled_by(object, uid)).cloned().collect()
}

/// A condition is true.
pub(crate) fn has_condition(object: &Value, kind: &str) -> bool {
    let of_kind = |condition: &&Value| object::text(condition, "/type") == kind;
    let found = items(object, "/status/conditions").iter().find(of_kind);
    found.is_some_and(|condition| object::text(condition, "/status") == "True")
}

/// Its containers have ended for good.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// It counts as a replica.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !object::is_deleting(pod)
}

/// Names of the claims that a pod mounts.
pub(crate) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    items(pod, "/spec/volumes")
        .iter()
        .filter_map(|volume| object::at(volume, "/persistentVolumeClaim/claimName")?.as_str())
}

/// A new pod of a controller: its template, the controller's reference, and a name that the server makes up.
pub(crate) fn pod_from(template: &Value, base: &str, owner: &Value) -> Value {
    let mut pod = json!({"metadata": template.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": template.get("spec").cloned().unwrap_or_default()});
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("name");
        metadata.insert("generateName".to_owned(), format!("{base}-").into());
        metadata.insert("ownerReferences".to_owned(), json!([owner]));
    }
    pod
}
