//! A small embedded cluster: one claim, one driver with its sidecar, and the snapshot-controller.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use volwarden::sim::actors::ceph::{self, CephDriver, Faults, Pool, Volume};
use volwarden::sim::actors::csi_snapshotter::{self, CsiSnapshotter, Release};
use volwarden::sim::actors::object;
use volwarden::sim::actors::snapshot_controller::{self, SnapshotController};
use volwarden::sim::cluster::Cluster;
use volwarden::sim::process::ProcessId;
use volwarden::sim::store::table::{
    CLAIMS, CONTENTS, EVENTS, LEASES, NAMESPACES, Resource, SNAPSHOT_CLASSES, SNAPSHOTS, VOLUMES,
};
use volwarden::sim::store::{Change, ChangeKind, DeleteOptions, Part, Patch};
use volwarden::sim::task::Shared;

const EPOCH: &str = "2026-11-22T19:44:00Z";
pub(crate) const DRIVER: &str = "rook-ceph.rbd.csi.ceph.com";

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The cluster and its parts.
pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
    pub(crate) pool: Shared<Pool>,
    pub(crate) faults: Shared<Faults>,
    pub(crate) driver: ProcessId,
    pub(crate) sidecar: ProcessId,
    pub(crate) controller: ProcessId,
    setup: Setup,
}

/// What a lab is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) policy: &'static str,
    pub(crate) sidecar: csi_snapshotter::Options,
    pub(crate) controller: snapshot_controller::Options,
    pub(crate) driver: ceph::Options,
}

impl Setup {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            policy: "Delete",
            sidecar: csi_snapshotter::Options::new(DRIVER, "rook-ceph", "ctrlplugin-0"),
            controller: snapshot_controller::Options::new("snapshot-controller-0"),
            driver: ceph::Options::new(DRIVER),
        }
    }

    pub(crate) fn release(mut self, release: Release) -> Self {
        self.sidecar.release = release;
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.sidecar.timeout = timeout;
        self
    }

    pub(crate) fn policy(self, policy: &'static str) -> Self {
        Self { policy, ..self }
    }

    /// A lab whose components have found each other.
    pub(crate) fn start(self) -> Lab {
        let pool = Shared::new(Pool::new("rook-ceph", 1));
        let image = Volume { name: "pvc-1".into(), size: 1 << 30, snapshot: None };
        pool.with(|pool| pool.add_volume("vol-0001", image));
        self.start_in(pool, "cluster")
    }

    /// The same in front of a pool that is there already.
    pub(crate) fn start_in(mut self, pool: Shared<Pool>, owner: &str) -> Lab {
        owner.clone_into(&mut self.driver.owner);
        let mut cluster = Cluster::new(self.seed, EPOCH.parse().unwrap());
        let writer = cluster.writer("kubectl");
        cluster.store.create(writer, NAMESPACES, "", json!({"metadata": {"name": "rook-ceph"}})).unwrap();
        let faults = Shared::new(Faults::default());
        let setup = self.clone();
        let driver = cluster.spawn(Box::new(CephDriver::new(self.driver, pool.clone(), faults.clone())));
        let controller = cluster.spawn(Box::new(SnapshotController::new(self.controller)));
        let sidecar = cluster.spawn(Box::new(CsiSnapshotter::new(self.sidecar, driver)));
        let mut lab = Lab { cluster, pool, faults, driver, sidecar, controller, setup };
        let class = json!({"metadata": {"name": "fast"}, "driver": DRIVER, "deletionPolicy": self.policy});
        lab.create(SNAPSHOT_CLASSES, "", class);
        lab.claim("data", "vol-0001");
        lab.cluster.run_for(seconds(1));
        lab
    }
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Self {
        Setup::new(seed).start()
    }

    pub(crate) fn create(&mut self, resource: &'static Resource, namespace: &str, object: Value) -> Arc<Value> {
        let writer = self.cluster.writer("kubectl");
        self.cluster.store.create(writer, resource, namespace, object).unwrap()
    }

    /// The pod of the driver and its sidecar starts anew, under the same name.
    pub(crate) fn restart_pod(&mut self) {
        self.cluster.kill(self.sidecar);
        self.cluster.kill(self.driver);
        let driver = CephDriver::new(self.setup.driver.clone(), self.pool.clone(), self.faults.clone());
        self.cluster.start(self.driver, Box::new(driver));
        let sidecar = CsiSnapshotter::new(self.setup.sidecar.clone(), self.driver);
        self.cluster.start(self.sidecar, Box::new(sidecar));
    }

    /// The sidecar's lease.
    pub(crate) fn lease(&self) -> Arc<Value> {
        let name = "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com";
        self.get(LEASES, "rook-ceph", name).unwrap()
    }

    /// A claim that is bound to a volume with this handle.
    pub(crate) fn claim(&mut self, name: &str, handle: &str) {
        let spec = json!({"volumeName": format!("pv-{name}"), "accessModes": ["ReadWriteOnce"]});
        self.create(CLAIMS, "default", json!({"metadata": {"name": name}, "spec": spec}));
        self.merge(CLAIMS, "default", name, Part::Status, json!({"status": {"phase": "Bound"}}));
        let spec = json!({
            "csi": {"driver": DRIVER, "volumeHandle": handle},
            "claimRef": {"namespace": "default", "name": name},
        });
        self.create(VOLUMES, "", json!({"metadata": {"name": format!("pv-{name}")}, "spec": spec}));
    }

    pub(crate) fn snapshot(&mut self, name: &str) -> Arc<Value> {
        let spec = json!({"source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "fast"});
        self.create(SNAPSHOTS, "default", json!({"metadata": {"name": name}, "spec": spec}))
    }

    /// A snapshot that is ready, and the name of its content.
    pub(crate) fn ready_snapshot(&mut self, name: &str) -> String {
        let uid = object::uid(&self.snapshot(name)).to_owned();
        let content = format!("snapcontent-{uid}");
        self.wait("the snapshot is ready", seconds(30), |lab| {
            let ready = |object: Option<Arc<Value>>| {
                object.is_some_and(|object| object.pointer("/status/readyToUse") == Some(&json!(true)))
            };
            ready(lab.get(SNAPSHOTS, "default", name)) && ready(lab.get(CONTENTS, "", &content))
        });
        self.cluster.run_for(seconds(1));
        content
    }

    pub(crate) fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.cluster.store.get(resource, namespace, name).ok()
    }

    pub(crate) fn merge(&mut self, resource: &'static Resource, namespace: &str, name: &str, part: Part, patch: Value) {
        let writer = self.cluster.writer("kubectl");
        self.cluster.store.patch(writer, resource, namespace, name, part, &Patch::Merge(patch)).unwrap();
    }

    pub(crate) fn delete(&mut self, resource: &'static Resource, namespace: &str, name: &str) {
        let writer = self.cluster.writer("kubectl");
        self.cluster.store.delete(writer, resource, namespace, name, &DeleteOptions::default()).unwrap();
    }

    pub(crate) fn nudge(&mut self, content: &str, value: &str) {
        self.merge(CONTENTS, "", content, Part::Object, json!({"metadata": {"annotations": {"example/nudge": value}}}));
    }

    pub(crate) fn is_gone(&self, resource: &'static Resource, namespace: &str, name: &str) -> bool {
        self.get(resource, namespace, name).is_none()
    }

    /// Lets time pass until something holds; how long that took.
    pub(crate) fn wait(&mut self, what: &str, at_most: Duration, mut holds: impl FnMut(&Lab) -> bool) -> Duration {
        let began = self.cluster.now().mono;
        while !holds(self) {
            let next = self.cluster.next_at().unwrap_or(Duration::MAX);
            assert!(next <= began + at_most, "not within {at_most:?}: {what}\n{}", self.logs());
            self.cluster.step();
        }
        self.cluster.now().mono.saturating_sub(began)
    }

    fn logs(&self) -> String {
        let log = |process: ProcessId| self.cluster.log(process).map(volwarden::sim::process::Log::text);
        [self.controller, self.sidecar, self.driver].into_iter().filter_map(log).collect()
    }

    /// The Events about an object: reason, message, count.
    pub(crate) fn events(&self, about: &str) -> Vec<(String, String, u64)> {
        let events = self.cluster.store.list(EVENTS, None);
        let here = events.filter(|event| object::text(event, "/involvedObject/name") == about);
        here.map(|event| {
            let text = |field: &str| object::text(event, field).to_owned();
            (text("/reason"), text("/message"), event.get("count").and_then(Value::as_u64).unwrap_or_default())
        })
        .collect()
    }

    /// The lines of a process that contain a text, with the seconds since the lab began.
    pub(crate) fn lines(&self, process: ProcessId, containing: &str) -> Vec<(u64, String)> {
        let epoch: Timestamp = EPOCH.parse().unwrap();
        let lines = self.cluster.log(process).unwrap().lines().filter(|(_, line)| line.contains(containing));
        lines.map(|(at, line)| (u64::try_from((at - epoch).get_seconds()).unwrap(), line.to_owned())).collect()
    }

    /// What an object went through, a line each.
    pub(crate) fn transitions(&self, resource: &'static Resource, name: &str) -> Vec<String> {
        let changes = self.cluster.store.changes_since(0).unwrap();
        let here = |change: &&Change| change.resource == resource && object::name(&change.object) == name;
        changes.iter().filter(here).map(transition).collect()
    }
}

/// One change in the words that the recordings are normalised to as well.
fn transition(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Added => "ADDED",
        ChangeKind::Modified => "MODIFIED",
        ChangeKind::Deleted => "DELETED",
    };
    let short = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let finalizers: Vec<String> = object::finalizers(&change.object).map(short).collect();
    let annotations: Vec<String> = object::annotations(&change.object).keys().map(|key| short(key)).collect();
    let status = object::status(&change.object).cloned().unwrap_or_default();
    let ready = status.get("readyToUse").and_then(Value::as_bool).unwrap_or_default();
    let fields: Vec<&str> = FIELDS.into_iter().filter(|field| status.contains_key(*field)).collect();
    line(kind, object::is_deleting(&change.object), &finalizers, &annotations, &fields, ready)
}

pub(crate) const FIELDS: [&str; 6] =
    ["boundVolumeSnapshotContentName", "creationTime", "error", "readyToUse", "restoreSize", "snapshotHandle"];

pub(crate) fn line(
    kind: &str,
    deleting: bool,
    finalizers: &[String],
    annotations: &[String],
    status: &[&str],
    ready: bool,
) -> String {
    format!(
        "{kind} deleting={deleting} finalizers={} annotations={} status={} ready={ready}",
        finalizers.join("+"),
        annotations.join("+"),
        status.join("+")
    )
}
