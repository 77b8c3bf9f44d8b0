//! An embedded home cluster, and what tests ask of it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use volwarden::sim::actors::home_cluster::{Home, HomeCluster, home_cluster};
use volwarden::sim::actors::object;
use volwarden::sim::cluster::Cluster;
use volwarden::sim::process::{Place, ProcessId};
use volwarden::sim::store::table::{EVENTS, LEASES, NAMESPACES, NODES, PODS, Resource};
use volwarden::sim::store::{ChangeKind, DeleteOptions, Part, Patch};

/// Seven minutes before the hour: the first backups run at once, the next ones on the schedule.
pub(crate) const EPOCH: &str = "2026-03-01T09:53:00Z";

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) home: Home,
}

pub(crate) fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    pub(crate) fn new(seed: u64, plan: &HomeCluster) -> Self {
        let mut cluster = Cluster::new(seed, EPOCH.parse::<Timestamp>().unwrap());
        let home = home_cluster(&mut cluster, plan).unwrap();
        Self { cluster, home }
    }

    /// One that has settled, without apps and VolSync.
    pub(crate) fn bare(seed: u64) -> Self {
        let mut world = Self::new(seed, &HomeCluster { apps: 0, volsync: false, ..HomeCluster::default() });
        world.cluster.run_for(minutes(1));
        world
    }

    pub(crate) fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.cluster.store.get(resource, namespace, name).ok()
    }

    pub(crate) fn all(&self, resource: &'static Resource, namespace: &str) -> Vec<Arc<Value>> {
        self.cluster.store.list(resource, Some(namespace)).cloned().collect()
    }

    pub(crate) fn names(&self, resource: &'static Resource, namespace: &str) -> Vec<String> {
        self.all(resource, namespace).iter().map(|object| object::name(object).to_owned()).collect()
    }

    pub(crate) fn create(&mut self, resource: &'static Resource, namespace: &str, object: Value) -> Arc<Value> {
        let writer = self.cluster.writer("kubectl-create");
        self.cluster.store.create(writer, resource, namespace, object).unwrap()
    }

    pub(crate) fn namespace(&mut self, name: &str) {
        self.create(NAMESPACES, "", json!({"metadata": {"name": name}}));
    }

    pub(crate) fn patch(&mut self, resource: &'static Resource, namespace: &str, name: &str, patch: Value) {
        let writer = self.cluster.writer("kubectl-patch");
        let patch = Patch::Merge(patch);
        self.cluster.store.patch(writer, resource, namespace, name, Part::Object, &patch).unwrap();
    }

    pub(crate) fn delete(&mut self, resource: &'static Resource, namespace: &str, name: &str) {
        self.delete_with(resource, namespace, name, &DeleteOptions::default());
    }

    pub(crate) fn delete_with(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) {
        let writer = self.cluster.writer("kubectl");
        self.cluster.store.delete(writer, resource, namespace, name, options).unwrap();
    }

    /// Goes on until this is so, or fails after `most`; how long it took.
    pub(crate) fn until(&mut self, what: &str, most: Duration, so: impl Fn(&Self) -> bool) -> Duration {
        let from = self.cluster.now().mono;
        while !so(self) {
            let next = self.cluster.next_at().unwrap_or(Duration::MAX);
            assert!(next <= from + most, "{what}: not so within {most:?}\n{}", self.picture());
            self.cluster.step();
        }
        self.cluster.now().mono.saturating_sub(from)
    }

    /// All pods of all namespaces, in a line each: what a failing test shows.
    pub(crate) fn picture(&self) -> String {
        let pods = self.cluster.store.list(PODS, None);
        let lines = pods.map(|pod| {
            format!(
                "{}/{} {} {}",
                object::namespace(pod),
                object::name(pod),
                object::text(pod, "/status/phase"),
                pod["status"]
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn process(&self, namespace: &str, pod: &str, container: &str) -> ProcessId {
        let [namespace, pod, container] = [namespace, pod, container].map(ToOwned::to_owned);
        self.cluster.process_in(&Place { namespace, pod, container }).unwrap()
    }

    /// The holder of a Lease.
    pub(crate) fn holder(&self, namespace: &str, lease: &str) -> String {
        let lease = self.get(LEASES, namespace, lease).expect("the lease is there");
        object::text(&lease, "/spec/holderIdentity").to_owned()
    }

    /// Events about objects of this name, by reason.
    pub(crate) fn reasons(&self, namespace: &str, about: &str) -> Vec<String> {
        let events = self.all(EVENTS, namespace);
        let mine = events.iter().filter(|event| object::text(event, "/involvedObject/name") == about);
        mine.map(|event| object::text(event, "/reason").to_owned()).collect()
    }

    /// Each state that a field of an object went through, from the log of changes.
    pub(crate) fn history(&self, resource: &'static Resource, namespace: &str, name: &str) -> Vec<(ChangeKind, Value)> {
        let log = self.cluster.store.changes_since(0).unwrap();
        let mine = log.iter().filter(|change| {
            change.resource == resource
                && object::namespace(&change.object) == namespace
                && object::name(&change.object) == name
        });
        mine.map(|change| (change.kind, (*change.object).clone())).collect()
    }

    pub(crate) fn node_is(&self, name: &str, status: &str) -> bool {
        let node = self.get(NODES, "", name).unwrap();
        condition(&node, "Ready") == Some(status.to_owned())
    }
}

/// The status of a condition.
pub(crate) fn condition(object: &Value, kind: &str) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    found["status"].as_str().map(ToOwned::to_owned)
}

pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// A Deployment of one container.
pub(crate) fn deployment(name: &str, replicas: u32, strategy: &str) -> Value {
    let labels = json!({"app": name});
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "strategy": {"type": strategy},
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]}}}})
}
