//! A Kubernetes API store: objects, their versions, and the log of what happened to them.
//!
//! Pure: whoever writes says who it is and what time it is. It answers as the real server does, because
//! everything above it (controllers, Volwarden's engine, kubectl) is judged by how it copes with those answers.

mod columns;
mod delete;
mod names;
pub mod object;
mod owners;
mod patch;
mod refusal;
mod select;
pub mod table;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use columns::{Cell, Column};
pub use delete::{DeleteOptions, Propagation};
pub use patch::Patch;
pub use refusal::{Details, Refusal};
pub use select::Selector;
pub use table::{Resource, resource};
pub use write::Part;

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager: the program's name, as `managedFields` shows it.
    pub name: &'a str,
    /// Wall time of the write.
    pub at: Timestamp,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version this change made; no two changes share one.
    pub version: u64,
    /// The resource of the object.
    pub resource: &'static Resource,
    /// What happened.
    pub kind: ChangeKind,
    /// The object afterwards; of a deleted one what was last stored, with this change's version.
    pub object: Arc<Value>,
    /// The object before; `None` for a new one.
    pub before: Option<Arc<Value>>,
}

/// The namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Writer of what a cluster is born with.
const SERVER: &str = "kube-apiserver";

/// Objects of one resource, by namespace (empty for none), then name.
type Collection = BTreeMap<String, BTreeMap<String, Arc<Value>>>;

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    objects: BTreeMap<&'static Resource, Collection>,
    /// Groups that are not installed.
    absent: BTreeSet<&'static str>,
    /// The last version given out.
    version: u64,
    /// All changes after version `compacted`, one a version, oldest first.
    log: Vec<Change>,
    compacted: u64,
    /// Of uids and generated names.
    rng: fastrand::Rng,
}

impl Store {
    /// A store with the namespaces that every cluster has, and a definition for each custom resource.
    #[must_use]
    pub fn new(seed: u64, epoch: Timestamp) -> Self {
        let mut store = Self {
            objects: BTreeMap::new(),
            absent: BTreeSet::new(),
            version: 0,
            log: Vec::new(),
            compacted: 0,
            rng: fastrand::Rng::with_seed(seed),
        };
        let server = Writer { name: SERVER, at: epoch };
        for name in NAMESPACES {
            store.insert(server, table::NAMESPACES, "", json!({"metadata": {"name": name}}));
        }
        for resource in table::ALL.iter().filter(|resource| resource.custom) {
            store.insert(server, table::DEFINITIONS, "", definition(resource));
        }
        store
    }

    /// Makes the cluster one that never installed this group.
    pub fn remove_group(&mut self, group: &'static str) {
        self.absent.insert(group);
        self.objects.retain(|resource, _| resource.group != group);
        if let Some(definitions) = self.objects.get_mut(table::DEFINITIONS) {
            for collection in definitions.values_mut() {
                collection.retain(|_, definition| object::text(definition, "/spec/group") != group);
            }
        }
        self.log.retain(|change| change.resource.group != group);
    }

    /// Takes a group out of a cluster that runs: its definitions are deleted, and with them every object, as watches
    /// are told.
    pub fn uninstall(&mut self, group: &'static str) {
        let of_group = |resource: &&'static Resource| resource.group == group;
        let rows: Vec<&'static Resource> = table::ALL.iter().copied().filter(of_group).collect();
        for resource in &rows {
            let objects: Vec<Value> = self.list(resource, None).map(|object| (**object).clone()).collect();
            for object in objects {
                self.commit(resource, ChangeKind::Deleted, object);
            }
        }
        for resource in rows {
            if let Ok(definition) = self.get(table::DEFINITIONS, "", &resource.qualified()) {
                self.commit(table::DEFINITIONS, ChangeKind::Deleted, (*definition).clone());
            }
        }
        self.absent.insert(group);
    }

    /// Puts a group in, or back, with nothing of it.
    pub fn install(&mut self, group: &'static str, at: Timestamp) {
        if self.absent.remove(group) {
            let rows = table::ALL.iter().filter(|resource| resource.custom && resource.group == group);
            for resource in rows {
                self.insert(Writer { name: SERVER, at }, table::DEFINITIONS, "", definition(resource));
            }
        }
    }

    /// What is served.
    pub fn resources(&self) -> impl Iterator<Item = &'static Resource> {
        table::ALL.iter().copied().filter(|resource| self.serves(resource))
    }

    /// Whether this resource is served.
    #[must_use]
    pub fn serves(&self, resource: &Resource) -> bool {
        !self.absent.contains(resource.group)
    }

    /// The object of this name.
    ///
    /// # Errors
    /// There is none, or the resource is not served.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Value>, Refusal> {
        if !self.serves(resource) {
            return Err(Refusal::not_served());
        }
        let found = self.objects.get(resource).and_then(|collection| collection.get(namespace)?.get(name));
        found.cloned().ok_or_else(|| Refusal::not_found(resource, name))
    }

    /// All objects, or those of one namespace; by namespace, then name.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        let namespaces = self.objects.get(resource).into_iter().flatten();
        let wanted = namespaces.filter(move |(name, _)| namespace.is_none_or(|wanted| wanted == *name));
        wanted.flat_map(|(_, objects)| objects.values())
    }

    /// The same as of an earlier version.
    ///
    /// # Errors
    /// That version is no longer known, or not yet.
    pub fn list_at(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<Vec<Arc<Value>>, Refusal> {
        let key = |object: &Value| (object::namespace(object).to_owned(), object::name(object).to_owned());
        let mut then: BTreeMap<_, _> =
            self.list(resource, namespace).map(|object| (key(object), Arc::clone(object))).collect();
        let here = |change: &&Change| {
            change.resource == resource && namespace.is_none_or(|wanted| wanted == object::namespace(&change.object))
        };
        // Newest first: what each change made is taken back.
        for change in self.changes_since(version)?.iter().rev().filter(here) {
            match &change.before {
                Some(before) => then.insert(key(before), Arc::clone(before)),
                None => then.remove(&key(&change.object)),
            };
        }
        Ok(then.into_values().collect())
    }

    /// The last version given out.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Everything that happened after this version, of all resources, oldest first.
    ///
    /// # Errors
    /// It is too long ago, or has not been reached.
    pub fn changes_since(&self, version: u64) -> Result<&[Change], Refusal> {
        if version < self.compacted {
            let message = format!("too old resource version: {version} ({})", self.compacted);
            return Err(Refusal::expired(message));
        }
        if version > self.version {
            return Err(Refusal::too_large_version(version, self.version));
        }
        let from = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.get(from..).unwrap_or_default())
    }

    /// Forgets what happened up to this version.
    pub fn compact(&mut self, up_to: u64) {
        self.compacted = self.compacted.max(up_to.min(self.version));
        let keep = self.log.partition_point(|change| change.version <= self.compacted);
        self.log.drain(..keep);
    }

    /// Enters what has been decided: the one place where objects and log change.
    fn commit(&mut self, resource: &'static Resource, kind: ChangeKind, mut object: Value) -> Arc<Value> {
        self.version = self.version.saturating_add(1);
        object::set_metadata(&mut object, "resourceVersion", self.version.to_string());
        let object = Arc::new(object);
        let namespace = object::namespace(&object).to_owned();
        let name = object::name(&object).to_owned();
        let collection = self.objects.entry(resource).or_default().entry(namespace).or_default();
        let before = match kind {
            ChangeKind::Deleted => collection.remove(&name),
            ChangeKind::Added | ChangeKind::Modified => collection.insert(name, Arc::clone(&object)),
        };
        self.log.push(Change { version: self.version, resource, kind, object: Arc::clone(&object), before });
        object
    }
}

/// The CustomResourceDefinition of a row, as far as people look at one.
fn definition(resource: &Resource) -> Value {
    let names = json!({"kind": resource.kind, "listKind": format!("{}List", resource.kind), "plural": resource.plural,
        "singular": resource.singular, "shortNames": resource.short});
    let conditions = json!([{"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}]);
    json!({
        "metadata": {"name": resource.qualified()},
        "spec": {"group": resource.group, "names": names,
            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "versions": [{"name": resource.version, "served": true, "storage": true}]},
        "status": {"acceptedNames": names, "conditions": conditions, "storedVersions": [resource.version]},
    })
}

#[cfg(test)]
mod tests;
