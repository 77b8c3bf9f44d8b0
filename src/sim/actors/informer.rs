//! What a controller has been shown of the cluster, and what it believes to be newer than that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::object::{self, Key};
use crate::sim::store::table::Resource;
use crate::sim::store::{Change, ChangeKind};

/// The objects that the informers of one process have shown it.
#[derive(Debug, Default)]
pub struct Informers {
    objects: BTreeMap<&'static Resource, BTreeMap<Key, Arc<Value>>>,
}

impl Informers {
    /// Takes a change in; gives what was known of the object before.
    pub fn apply(&mut self, change: &Change) -> Option<Arc<Value>> {
        let objects = self.objects.entry(change.resource).or_default();
        let key = object::key(&change.object);
        match change.kind {
            ChangeKind::Added | ChangeKind::Modified => objects.insert(key, Arc::clone(&change.object)),
            ChangeKind::Deleted => objects.remove(&key),
        }
    }

    /// Takes for shown what was not: a controller changed an object of its cache in place.
    pub fn believe(&mut self, resource: &'static Resource, object: Arc<Value>) {
        self.objects.entry(resource).or_default().insert(object::key(&object), object);
    }

    /// One object.
    #[must_use]
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(resource)?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a resource, by namespace, then name.
    pub fn list(&self, resource: &'static Resource) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.get(resource).into_iter().flat_map(BTreeMap::values)
    }

    /// The objects of one namespace.
    pub fn list_in<'a>(
        &'a self,
        resource: &'static Resource,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.list(resource).filter(move |object| object::namespace(object) == namespace)
    }
}

/// What a lister says of an object that it was not shown. It names the singular, unlike the API server.
#[must_use]
pub fn not_shown(resource: &Resource, name: &str) -> String {
    format!("{}.{} \"{name}\" not found", resource.singular, resource.group)
}

/// A controller's own record of the newest versions it knows, its own writes among them.
///
/// The snapshot controllers work on what the informer shows only if it is not older than this record. That is
/// how they avoid acting on stale objects, and how an event that comes late is dropped for good.
#[derive(Debug, Default)]
pub struct Versions {
    objects: BTreeMap<Key, Arc<Value>>,
}

impl Versions {
    /// Records an object; false if a newer one is known.
    pub fn store(&mut self, object: &Arc<Value>) -> bool {
        let key = object::key(object);
        if self.objects.get(&key).is_some_and(|known| object::version(known) > object::version(object)) {
            return false;
        }
        self.objects.insert(key, Arc::clone(object));
        true
    }

    /// The newest one known.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Forgets an object.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.remove(&(namespace.to_owned(), name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(version: u64) -> Arc<Value> {
        Arc::new(json!({"metadata": {"name": "a", "resourceVersion": version.to_string()}}))
    }

    #[test]
    fn an_older_version_is_not_taken_and_the_same_one_is() {
        let mut versions = Versions::default();
        assert!(versions.store(&at(7)) && versions.store(&at(10)) && versions.store(&at(10)));
        assert!(!versions.store(&at(9)));
        assert_eq!(versions.get("", "a").map(|object| object::version(&object)), Some(10));
        assert!(versions.remove("", "a").is_some() && versions.get("", "a").is_none());
    }
}
