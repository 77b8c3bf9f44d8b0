//! The cluster on which incidents happen, and the hands that make them happen: somebody's kubectl.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::identity;
use crate::sim::actors::csi_snapshotter::Release;
use crate::sim::actors::home_cluster::{Home, HomeCluster, home_cluster};
use crate::sim::actors::snapshots::is_ready;
use crate::sim::cluster::Cluster;
use crate::sim::process::{Place, ProcessId};
use crate::sim::refuse::{Order, Verb};
use crate::sim::store::{DeleteOptions, Part, Patch, Refusal, Resource, object, table};

/// The container of the sidecar that cuts and deletes.
pub(super) const SNAPSHOTTER: &str = "csi-snapshotter";
const PROVISIONER: &str = "csi-provisioner";
const KUBECTL: &str = "kubectl";
const CLASS: &str = "csi-ceph-blockpool";
/// Snapshots that each app has when the story begins.
const NIGHTLIES: u32 = 4;
/// What it takes until a fresh cluster has settled; and until its snapshots are cut and no longer young.
const SETTLING: Duration = Duration::from_secs(5 * 60);
const AGING: Duration = Duration::from_secs(10 * 60);

/// A snapshot with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) namespace: String,
    pub(super) snapshot: String,
    pub(super) content: String,
}

/// What one incident remembers from step to step.
#[derive(Debug, Default)]
pub struct Notes {
    pub(super) pair: Option<Pair>,
    /// What was there, to be put back.
    pub(super) kept: Option<Value>,
    pub(super) frozen: Vec<ProcessId>,
    pub(super) tries: u32,
    /// Until when it waits.
    pub(super) until: Duration,
}

impl Notes {
    /// The incident is about an object of this name, or about none in particular.
    pub(in crate::sim) fn concern(&self, name: &str) -> bool {
        self.pair.as_ref().is_none_or(|pair| pair.snapshot == name || pair.content == name)
    }
}

/// A home cluster in which things go wrong.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// Its parts.
    pub home: Home,
}

impl Stage {
    /// A cluster that has run for a while, with backups and snapshots in it. Its clock stands at `begins`.
    ///
    /// # Errors
    /// The API refuses an object, which a fresh cluster does not.
    pub fn new(seed: u64, begins: Timestamp) -> Result<Self, Refusal> {
        // The nodes join in the first second.
        let before = SETTLING + AGING + Duration::from_secs(1);
        let epoch = SignedDuration::try_from(before).ok().and_then(|before| begins.checked_sub(before).ok());
        let mut cluster = Cluster::new(seed, epoch.unwrap_or(begins));
        // Old sidecars, as many run them: those miss events and never look again.
        let wanted = HomeCluster { release: Release::V8_0, ..HomeCluster::default() };
        let home = home_cluster(&mut cluster, &wanted)?;
        let mut stage = Self { cluster, home };
        stage.cluster.run_for(SETTLING);
        for app in stage.home.apps.clone() {
            for number in 1..=NIGHTLIES {
                stage.cut(&app, &format!("nightly-{number}"));
            }
        }
        stage.cluster.run_for(AGING);
        Ok(stage)
    }

    /// The daemon's own namespace, and a policy under which it may repair.
    ///
    /// # Errors
    /// The API refuses one of them.
    pub fn permit(&mut self) -> Result<(), Refusal> {
        let writer = self.cluster.writer(KUBECTL);
        let namespace = json!({"metadata": {"name": "volwarden-system"}});
        self.cluster.store.create(writer, table::NAMESPACES, "", namespace)?;
        let drivers: Vec<String> =
            self.cluster.store.list(table::CSI_DRIVERS, None).map(|found| object::name(found).to_owned()).collect();
        let rungs = json!({"restartLeader": true, "releaseLease": true, "removeRetainedFinalizer": true});
        let spec = json!({"mode": "Enforce", "scope": {"drivers": drivers}, "rungs": rungs});
        let writer = self.cluster.writer(KUBECTL);
        self.cluster.store.create(writer, table::POLICIES, "", json!({"metadata": {"name": "demo"}, "spec": spec}))?;
        Ok(())
    }

    // === Objects ===

    pub(super) fn create(&mut self, resource: &'static Resource, namespace: &str, object: Value) {
        let writer = self.cluster.writer(KUBECTL);
        let _ = self.cluster.store.create(writer, resource, namespace, object);
    }

    pub(super) fn patch(&mut self, resource: &'static Resource, namespace: &str, name: &str, patch: Value) {
        let writer = self.cluster.writer(KUBECTL);
        let patch = Patch::Merge(patch);
        // Somebody may have been quicker: kubectl would say so, and the story goes on.
        let _ = self.cluster.store.patch(writer, resource, namespace, name, Part::Object, &patch);
    }

    pub(super) fn delete(&mut self, resource: &'static Resource, namespace: &str, name: &str) {
        let writer = self.cluster.writer(KUBECTL);
        let _ = self.cluster.store.delete(writer, resource, namespace, name, &DeleteOptions::default());
    }

    pub(super) fn set_finalizers(
        &mut self,
        resource: &'static Resource,
        (namespace, name): (&str, &str),
        all: &[&str],
    ) {
        self.patch(resource, namespace, name, json!({"metadata": {"finalizers": all}}));
    }

    /// One more finalizer.
    pub(super) fn hold(&mut self, resource: &'static Resource, (namespace, name): (&str, &str), finalizer: &str) {
        let Ok(found) = self.cluster.store.get(resource, namespace, name) else { return };
        let all: Vec<&str> = object::finalizers(&found).chain([finalizer]).collect();
        self.set_finalizers(resource, (namespace, name), &all);
    }

    /// Takes an object away; what can be applied again.
    pub(super) fn take_away(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Value> {
        let found = self.cluster.store.get(resource, namespace, name).ok()?;
        let fields = ["type", "data", "spec"].into_iter().filter_map(|field| Some((field, found.get(field)?.clone())));
        let mut kept: serde_json::Map<_, _> = fields.map(|(field, value)| (field.to_owned(), value)).collect();
        kept.insert("metadata".to_owned(), json!({"name": name}));
        self.delete(resource, namespace, name);
        Some(Value::Object(kept))
    }

    // === Snapshots ===

    /// Has a snapshot of an app's claim cut.
    pub(super) fn cut(&mut self, app: &str, name: &str) {
        let snapshot = json!({"metadata": {"name": name, "namespace": app}, "spec": {
            "volumeSnapshotClassName": CLASS, "source": {"persistentVolumeClaimName": app}}});
        self.create(table::SNAPSHOTS, app, snapshot);
    }

    /// A nightly snapshot that is ready and that nobody deletes yet; the oldest of the app that has most of them.
    pub(super) fn pick(&self) -> Option<Pair> {
        let usable: Vec<Vec<Pair>> = self.home.apps.iter().map(|app| self.nightlies(app)).collect();
        let most = usable.iter().map(Vec::len).max()?;
        usable.into_iter().find(|pairs| pairs.len() == most)?.into_iter().next()
    }

    pub(super) fn nightlies(&self, app: &str) -> Vec<Pair> {
        let snapshots = self.cluster.store.list(table::SNAPSHOTS, Some(app));
        let usable = snapshots
            .filter(|one| object::name(one).starts_with("nightly-") && is_ready(one) && !object::is_deleting(one));
        usable.map(|one| pair(one)).collect()
    }

    pub(super) fn snapshot(&self, pair: &Pair) -> Option<&Value> {
        let mut found = self.cluster.store.list(table::SNAPSHOTS, Some(&pair.namespace));
        found.find(|one| object::name(one) == pair.snapshot).map(|found| &**found)
    }

    /// The handle under which the driver knows it.
    pub(super) fn handle(&self, pair: &Pair) -> Option<String> {
        let content = self.cluster.store.get(table::CONTENTS, "", &pair.content).ok()?;
        Some(object::text(&content, "/status/snapshotHandle").to_owned()).filter(|handle| !handle.is_empty())
    }

    // === Programs ===

    /// Pods of the driver's controller.
    pub(super) fn controllers(&self) -> Vec<String> {
        let pods = self.cluster.store.list(table::PODS, Some(&self.home.namespace));
        let ours = pods.map(|pod| object::name(pod).to_owned());
        ours.filter(|name| name.starts_with(&self.home.deployment)).collect()
    }

    /// The pod whose csi-snapshotter leads.
    pub(super) fn leader(&self) -> Option<String> {
        let lease = identity::snapshotter_lease(&self.home.driver);
        let lease = self.cluster.store.get(table::LEASES, &self.home.namespace, &lease).ok()?;
        let holder = object::text(&lease, "/spec/holderIdentity");
        // A pod's host name is cut off at 63 bytes.
        self.controllers().into_iter().find(|pod| !holder.is_empty() && identity::sanitize(pod).starts_with(holder))
    }

    pub(super) fn process(&self, pod: &str, container: &str) -> Option<ProcessId> {
        let [namespace, pod, container] = [&self.home.namespace, pod, container].map(str::to_owned);
        self.cluster.process_in(&Place { namespace, pod, container })
    }

    /// From now on the API refuses csi-provisioner's updates of this snapshot, as an admission webhook would.
    pub(super) fn refuse_provisioner(&mut self, pair: &Pair) {
        let pods = self.controllers();
        let provisioners: Vec<_> = pods.iter().filter_map(|pod| self.process(pod, PROVISIONER)).collect();
        for process in provisioners {
            self.cluster.refuse(Order {
                process: Some(process),
                verb: Verb::Update,
                resource: table::SNAPSHOTS,
                name: Some(pair.snapshot.clone()),
                skip: 0,
                times: u32::MAX,
                refusal: Refusal::new(403, "Forbidden", "admission webhook \"policy.example.com\" denied the request"),
            });
        }
    }

    pub(super) fn set_deployment(&mut self, namespace: &str, name: &str, spec: &Value) {
        self.patch(table::DEPLOYMENTS, namespace, name, json!({"spec": spec}));
    }
}

pub(super) fn pair(snapshot: &Value) -> Pair {
    Pair {
        namespace: object::namespace(snapshot).to_owned(),
        snapshot: object::name(snapshot).to_owned(),
        content: crate::sim::actors::snapshots::content_name(snapshot),
    }
}
