//! The cluster's own truth at one moment: what is stored, who works, what the secrets are.
//!
//! Findings are judged against these and never against what the daemon believes. Moments are kept for a while,
//! because a daemon may say what was true when it last could see.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::identity;
use crate::domain::name::{Key, Uid};
use crate::sim::cluster::Cluster;
use crate::sim::process::Place;
use crate::sim::store::{Resource, object, table};

/// The cluster at one moment.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) at: Duration,
    pub(super) wall: Timestamp,
    objects: [Vec<Arc<Value>>; KEPT.len()],
    /// Programs that run at this moment, by their pod and container.
    running: Vec<Place>,
}

const KEPT: [&Resource; 8] = [
    table::CONTENTS,
    table::SNAPSHOTS,
    table::CLAIMS,
    table::SNAPSHOT_CLASSES,
    table::CSI_DRIVERS,
    table::SECRETS,
    table::LEASES,
    table::PODS,
];

/// The programs whose life is judged.
const PROGRAMS: [&str; 2] = ["csi-snapshotter", "snapshot-controller"];

impl Moment {
    /// This moment; `places` are where programs run, or would.
    pub(super) fn take(cluster: &Cluster, places: Vec<Place>) -> Self {
        let now = cluster.now();
        let objects = KEPT.map(|resource| cluster.store.list(resource, None).cloned().collect());
        let runs = |place: &Place| cluster.process_in(place).is_some_and(|process| cluster.is_running(process));
        Self { at: now.mono, wall: now.wall, objects, running: places.into_iter().filter(runs).collect() }
    }

    pub(super) fn list(&self, resource: &'static Resource) -> &[Arc<Value>] {
        let place = KEPT.iter().position(|kept| *kept == resource);
        place.and_then(|place| self.objects.get(place)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn get(&self, resource: &'static Resource, key: &Key) -> Option<&Value> {
        let found = self.list(resource).iter().find(|one| is_named(one, key));
        found.map(|found| &**found)
    }

    /// The object under this uid, or under any if none is given.
    pub(super) fn under(&self, resource: &'static Resource, key: &Key, uid: Option<&Uid>) -> Option<&Value> {
        self.get(resource, key).filter(|found| uid.is_none_or(|uid| Uid::parse(object::uid(found)) == *uid))
    }

    /// Whether somebody renews this lease. Its times are by the cluster's own clock.
    pub(super) fn renewed(&self, name: &str) -> bool {
        self.list(table::LEASES).iter().filter(|lease| object::name(lease) == name).any(|lease| {
            let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(15);
            let renewed: Option<Timestamp> = object::text(lease, "/spec/renewTime").parse().ok();
            let holder = object::text(lease, "/spec/holderIdentity");
            !holder.is_empty() && renewed.is_some_and(|at| self.wall.duration_since(at).as_secs() <= seconds)
        })
    }

    /// Who holds this lease.
    pub(super) fn holder(&self, name: &str) -> &str {
        let mut leases = self.list(table::LEASES).iter();
        leases.find(|lease| object::name(lease) == name).map_or("", |lease| object::text(lease, "/spec/holderIdentity"))
    }

    /// A csi-snapshotter of this driver leads.
    pub(super) fn sidecar_works(&self, driver: &str) -> bool {
        self.renewed(&identity::snapshotter_lease(driver)) && self.runs("csi-snapshotter")
    }

    /// A snapshot-controller leads.
    pub(super) fn controller_works(&self) -> bool {
        self.renewed(identity::CONTROLLER_LEASE) && self.runs("snapshot-controller")
    }

    fn runs(&self, container: &str) -> bool {
        self.running.iter().any(|place| place.container == container)
    }

    /// Pods that are Ready and have a container of this name.
    pub(super) fn ready_pods(&self, container: &str) -> usize {
        let ready = |pod: &&Arc<Value>| {
            object::items(pod, "/status/conditions")
                .iter()
                .any(|one| object::text(one, "/type") == "Ready" && object::text(one, "/status") == "True")
        };
        self.list(table::PODS).iter().filter(|pod| has_container(pod, container)).filter(ready).count()
    }

    /// Claims that wait to be restored from this snapshot.
    pub(super) fn restores(&self, snapshot: &Key) -> usize {
        let waits = |claim: &&Arc<Value>| {
            let bound = matches!(object::text(claim, "/status/phase"), "Bound" | "Lost");
            let from = |field: &str| {
                let source = |name: &str| object::text(claim, &format!("/spec/{field}/{name}"));
                let namespace = match source("namespace") {
                    "" => object::namespace(claim),
                    other => other,
                };
                source("kind") == "VolumeSnapshot"
                    && source("name") == &*snapshot.name
                    && namespace == &*snapshot.namespace
            };
            !bound && (from("dataSource") || from("dataSourceRef"))
        };
        self.list(table::CLAIMS).iter().filter(waits).count()
    }
}

pub(super) fn is_named(one: &Value, key: &Key) -> bool {
    object::name(one) == &*key.name && object::namespace(one) == &*key.namespace
}

pub(super) fn has_container(pod: &Value, container: &str) -> bool {
    object::items(pod, "/spec/containers").iter().any(|one| object::text(one, "/name") == container)
}

/// Where the programs of this pod that are judged run.
fn places(pod: &Value) -> impl Iterator<Item = Place> + '_ {
    let containers = object::items(pod, "/spec/containers").iter().map(|one| object::text(one, "/name"));
    containers.filter(|container| PROGRAMS.contains(container)).map(|container| Place {
        namespace: object::namespace(pod).to_owned(),
        pod: object::name(pod).to_owned(),
        container: container.to_owned(),
    })
}

/// Where all of them run, or would.
pub(super) fn all_places(cluster: &Cluster) -> Vec<Place> {
    cluster.store.list(table::PODS, None).flat_map(|pod| places(pod)).collect()
}
