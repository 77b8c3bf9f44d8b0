//! Garbage collection: what is owned goes after its last owner, or before it, or stays.
//!
//! The owner is always asked for anew and compared by uid: an owner of the same name that was made later is
//! another one, and what the old one owned goes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::owned::items;
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::store::table::{self, Resource};
use crate::sim::store::{Change, ChangeKind, DeleteOptions, Part, Patch, Refusal};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// An object of any resource.
pub(super) type Thing = (&'static Resource, Key);

/// The garbage collector: who depends on which uid.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    dependents: BTreeMap<String, BTreeSet<Thing>>,
}

impl Garbage {
    /// Takes a change in; gives what has to be looked at because of it.
    pub(super) fn seen(&mut self, change: &Change) -> Vec<Thing> {
        let object = &change.object;
        let thing = (change.resource, object::key(object));
        let owners = items(object, "/metadata/ownerReferences");
        if change.kind == ChangeKind::Deleted {
            for owner in owners {
                let uid = object::text(owner, "/uid");
                if let Some(dependents) = self.dependents.get_mut(uid) {
                    dependents.remove(&thing);
                }
            }
            let dependents = self.dependents.remove(object::uid(object)).unwrap_or_default();
            // An owner that waits for its dependents may have one fewer to wait for.
            return owners.iter().filter_map(|owner| owner_of(owner, object)).chain(dependents).collect();
        }
        for owner in owners {
            self.dependents.entry(object::text(owner, "/uid").to_owned()).or_default().insert(thing.clone());
        }
        let waits = object::is_deleting(object)
            && (object::has_finalizer(object, FOREGROUND) || object::has_finalizer(object, ORPHAN));
        let is_new = change.kind == ChangeKind::Added && !owners.is_empty();
        if waits || is_new { vec![thing] } else { Vec::new() }
    }

    pub(super) fn sync(&self, ctx: &mut Context<'_>, (resource, key): &Thing) -> Synced {
        let Ok(object) = ctx.get(resource, &key.0, &key.1) else { return Ok(None) };
        if object::is_deleting(&object) {
            if object::has_finalizer(&object, ORPHAN) {
                self.orphan(ctx, resource, &object)?;
            } else if object::has_finalizer(&object, FOREGROUND) {
                self.delete_dependents(ctx, resource, &object)?;
            }
            return Ok(None);
        }
        let owners = items(&object, "/metadata/ownerReferences");
        let lives = |owner: &&Value| {
            owner_of(owner, &object).is_none_or(|(resource, key)| {
                let found = ctx.list(resource, Some(&key.0)).find(|found| object::name(found) == key.1);
                found.is_some_and(|found| object::uid(found) == object::text(owner, "/uid"))
            })
        };
        let left: Vec<Value> = owners.iter().filter(lives).cloned().collect();
        if owners.is_empty() || left.len() == owners.len() {
            return Ok(None);
        }
        if left.is_empty() {
            ctx.delete(resource, &key.0, &key.1, &DeleteOptions::exactly(&object))?;
        } else {
            disown(ctx, resource, &object, &left)?;
        }
        Ok(None)
    }

    fn orphan(&self, ctx: &mut Context<'_>, resource: &'static Resource, owner: &Value) -> Result<(), Refusal> {
        for (resource, key) in self.dependents.get(object::uid(owner)).into_iter().flatten() {
            let Ok(dependent) = ctx.get(resource, &key.0, &key.1) else { continue };
            let mut left = items(&dependent, "/metadata/ownerReferences").to_vec();
            left.retain(|reference| object::text(reference, "/uid") != object::uid(owner));
            disown(ctx, resource, &dependent, &left)?;
        }
        release(ctx, resource, owner, ORPHAN)
    }

    fn delete_dependents(
        &self,
        ctx: &mut Context<'_>,
        resource: &'static Resource,
        owner: &Value,
    ) -> Result<(), Refusal> {
        let mut blocked = false;
        for (resource, key) in self.dependents.get(object::uid(owner)).into_iter().flatten() {
            let Ok(dependent) = ctx.get(resource, &key.0, &key.1) else { continue };
            if !object::is_deleting(&dependent) {
                ctx.delete(resource, &key.0, &key.1, &DeleteOptions::exactly(&dependent))?;
            }
            let gone = ctx.get(resource, &key.0, &key.1).is_err();
            let blocks = |reference: &Value| {
                object::text(reference, "/uid") == object::uid(owner)
                    && reference.get("blockOwnerDeletion") == Some(&Value::Bool(true))
            };
            blocked |= !gone && items(&dependent, "/metadata/ownerReferences").iter().any(blocks);
        }
        if blocked { Ok(()) } else { release(ctx, resource, owner, FOREGROUND) }
    }
}

/// The object that a reference means; `None` for a kind that nobody here knows, which is never garbage's business.
fn owner_of(reference: &Value, dependent: &Value) -> Option<Thing> {
    let (version, kind) = (object::text(reference, "/apiVersion"), object::text(reference, "/kind"));
    let resource = *table::ALL.iter().find(|row| row.kind == kind && row.api_version() == version)?;
    let namespace = if resource.namespaced { object::namespace(dependent) } else { "" };
    Some((resource, (namespace.to_owned(), object::text(reference, "/name").to_owned())))
}

fn disown(
    ctx: &mut Context<'_>,
    resource: &'static Resource,
    dependent: &Value,
    left: &[Value],
) -> Result<(), Refusal> {
    let patch = Patch::Merge(json!({"metadata": {"uid": object::uid(dependent), "ownerReferences": left}}));
    ctx.patch(resource, object::namespace(dependent), object::name(dependent), Part::Object, &patch).map(drop)
}

fn release(ctx: &mut Context<'_>, resource: &'static Resource, owner: &Value, finalizer: &str) -> Result<(), Refusal> {
    let left = object::without_finalizers(owner, &[finalizer]);
    let patch = Patch::Merge(json!({"metadata": {"uid": object::uid(owner), "finalizers": left}}));
    ctx.patch(resource, object::namespace(owner), object::name(owner), Part::Object, &patch).map(drop)
}
