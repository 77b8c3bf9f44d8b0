//! The end of a namespace: everything in it is deleted, and it stays `Terminating` while something holds on.
//!
//! This is where people first meet a stuck snapshot: a namespace that will not go, whose conditions name the
//! finalizer but not the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::owned::items;
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::store::table::{self, NAMESPACES};
use crate::sim::store::{DeleteOptions, Part, Patch};

/// How soon it is looked at again while something is left.
const AGAIN: Duration = Duration::from_secs(8);

pub(super) fn sync(ctx: &mut Context<'_>, key: &Key) -> Synced {
    let Ok(namespace) = ctx.get(NAMESPACES, "", &key.1) else { return Ok(None) };
    if !object::is_deleting(&namespace) {
        return Ok(None);
    }
    let mut resources = BTreeMap::<String, usize>::new();
    let mut finalizers = BTreeMap::<String, usize>::new();
    for resource in table::ALL.iter().copied().filter(|resource| resource.namespaced) {
        let objects: Vec<_> = ctx.list(resource, Some(&key.1)).cloned().collect();
        for object in objects {
            if !object::is_deleting(&object) {
                ctx.delete(resource, &key.1, object::name(&object), &DeleteOptions::default())?;
            }
            if let Ok(left) = ctx.get(resource, &key.1, object::name(&object)) {
                *resources.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
                for finalizer in object::finalizers(&left) {
                    *finalizers.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
    }
    if resources.is_empty() {
        let patch = Patch::Merge(json!({"spec": {"finalizers": null}}));
        ctx.patch(NAMESPACES, "", &key.1, Part::Object, &patch)?;
        return Ok(None);
    }
    let status = json!({"status": {"conditions": said(ctx, &namespace, &resources, &finalizers)}});
    ctx.patch(NAMESPACES, "", &key.1, Part::Status, &Patch::Merge(status))?;
    Ok(Some(AGAIN))
}

fn said(
    ctx: &Context<'_>,
    namespace: &Value,
    resources: &BTreeMap<String, usize>,
    finalizers: &BTreeMap<String, usize>,
) -> Vec<Value> {
    let list = |counts: &BTreeMap<String, usize>, verb: &str| {
        let each = counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances"));
        each.collect::<Vec<_>>().join(", ")
    };
    let remaining = format!("Some resources are remaining: {}", list(resources, "has"));
    let held = format!("Some content in the namespace has finalizers remaining: {}", list(finalizers, "in"));
    let held = if finalizers.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
    } else {
        ("True", "SomeFinalizersRemain", held.as_str())
    };
    let mut conditions = items(namespace, "/status/conditions").to_vec();
    let all = [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", remaining.as_str()),
        ("NamespaceFinalizersRemaining", held.0, held.1, held.2),
    ];
    for (kind, status, reason, message) in all {
        conditions::set(&mut conditions, ctx.now().wall, &[], Said { kind, status, reason, message });
    }
    conditions
}
