//! The cluster of a run, drawn from its seed, with a hand on everything that a fault may be aimed at.

use std::sync::Arc;

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::governance::Governance;
use super::inject::Undo;
use super::people;
use super::script::{Fault, Kind};
use crate::domain::identity;
use crate::sim::actors::csi_snapshotter::Release;
use crate::sim::actors::home_cluster::{self, HomeCluster, Layout, home_cluster};
use crate::sim::cluster::Cluster;
use crate::sim::process::{Place, ProcessId};
use crate::sim::store::{Part, Patch, Refusal, Resource, object, table};

pub(super) const SECRET: &str = "rook-csi-rbd-provisioner";
pub(super) const CLASS: &str = "csi-ceph-blockpool";
pub(super) const SNAPSHOTTER: &str = "csi-snapshotter";
pub(super) const PLUGIN: &str = "csi-rbdplugin";
pub(super) const CONTROLLER: &str = "snapshot-controller";
/// Where the clock of every cluster stands at first.
const EPOCH: i64 = 1_795_379_400;

/// The cluster, and the parts that faults take hold of.
pub(super) struct Home {
    pub(super) cluster: Cluster,
    pub(super) parts: home_cluster::Home,
    pub(super) governance: Arc<Governance>,
}

impl Home {
    /// The cluster of this seed, with everything in it running.
    pub(super) fn new(seed: u64) -> Result<Self, Refusal> {
        let mut rng = Rng::with_seed(seed ^ 0x40E5);
        let releases = [Release::V8_0, Release::V8_3, Release::V8_3, Release::V8_6];
        let wanted = HomeCluster {
            apps: rng.usize(1..=4),
            nodes: 1 + usize::from(rng.bool()) + usize::from(rng.u8(..4) == 0),
            layout: if rng.u8(..3) == 0 { Layout::Classic } else { Layout::Operator },
            replicas: rng.u32(1..=2),
            release: releases.get(rng.usize(..releases.len())).copied().unwrap_or(Release::V8_6),
            volsync: rng.bool(),
            schedule: if rng.bool() { "0 * * * *" } else { "*/30 * * * *" }.to_owned(),
            sweeps: rng.u8(..3) != 0,
            ..HomeCluster::default()
        };
        let mut cluster = Cluster::new(seed, Timestamp::from_second(EPOCH).unwrap_or_default());
        let parts = home_cluster(&mut cluster, &wanted)?;
        let governance = Arc::new(Governance::new(seed, &parts.driver));
        let mut home = Self { cluster, parts, governance: Arc::clone(&governance) };
        governance.begin(&mut home);
        Ok(home)
    }

    pub(super) fn create(&mut self, resource: &'static Resource, namespace: &str, object: Value) {
        let writer = self.cluster.writer(people::KUBECTL);
        let _ = self.cluster.store.create(writer, resource, namespace, object);
    }

    /// The process of this container that a fault hits: the leader's, or one time in four another.
    pub(super) fn aimed_at(&self, container: &str, aim: u32) -> Option<ProcessId> {
        let lease = match container {
            CONTROLLER => identity::CONTROLLER_LEASE.to_owned(),
            _ => identity::snapshotter_lease(&self.parts.driver),
        };
        let leases = self.cluster.store.list(table::LEASES, None);
        let holder =
            leases.filter(|one| object::name(one) == lease).map(|one| object::text(one, "/spec/holderIdentity"));
        let holder = holder.last().unwrap_or_default();
        let has = |pod: &&Arc<Value>| super::moment::has_container(pod, container);
        let holds = |pod: &Value| identity::sanitize(object::name(pod)) == holder;
        let pods: Vec<_> = self.cluster.store.list(table::PODS, None).filter(has).collect();
        let wants_leader = aim % 4 != 3;
        let pod = pods.iter().find(|pod| holds(pod) == wants_leader).or_else(|| pods.first())?;
        let place = Place {
            namespace: object::namespace(pod).to_owned(),
            pod: object::name(pod).to_owned(),
            container: container.to_owned(),
        };
        self.cluster.process_in(&place)
    }

    /// Faults of pods, nodes and workloads.
    pub(super) fn trouble(&mut self, fault: &Fault) -> Vec<Undo> {
        let (namespace, deployment) = (self.parts.namespace.clone(), self.parts.deployment.clone());
        match fault.kind {
            Kind::PodDeleted => {
                let pods = self.cluster.store.list(table::PODS, Some(&namespace));
                let ours: Vec<String> =
                    pods.map(|pod| object::name(pod).to_owned()).filter(|name| name.starts_with(&deployment)).collect();
                if let Some(pod) = (fault.aim as usize).checked_rem(ours.len()).and_then(|place| ours.get(place)) {
                    people::delete(self, table::PODS, &namespace, pod);
                }
                Vec::new()
            }
            Kind::Rollout => {
                let _ = self.parts.restart(&mut self.cluster, &namespace, &deployment);
                Vec::new()
            }
            Kind::NodeLost => {
                let place = (fault.aim as usize).checked_rem(self.parts.nodes.len()).unwrap_or_default();
                let Some(node) = self.parts.nodes.get(place) else { return Vec::new() };
                node.lose(&mut self.cluster);
                vec![Undo::NodeBack(place)]
            }
            Kind::SidecarRemoved => {
                let kept = self.containers().into_iter().filter(|one| object::text(one, "/name") != SNAPSHOTTER);
                let kept: Vec<Value> = kept.collect();
                self.redeploy(&json!({"template": {"spec": {"containers": kept}}}))
            }
            Kind::DriverScaledDown => self.redeploy(&json!({"replicas": 0})),
            _ => Vec::new(),
        }
    }

    fn containers(&self) -> Vec<Value> {
        let found = self.cluster.store.get(table::DEPLOYMENTS, &self.parts.namespace, &self.parts.deployment);
        found.map(|found| object::items(&found, "/spec/template/spec/containers").to_vec()).unwrap_or_default()
    }

    /// Changes the driver's Deployment; what puts it back.
    fn redeploy(&mut self, spec: &Value) -> Vec<Undo> {
        let (namespace, deployment) = (self.parts.namespace.clone(), self.parts.deployment.clone());
        let Ok(found) = self.cluster.store.get(table::DEPLOYMENTS, &namespace, &deployment) else { return Vec::new() };
        let before = json!({"replicas": found.pointer("/spec/replicas"),
            "template": {"spec": {"containers": object::items(&found, "/spec/template/spec/containers")}}});
        self.set_spec(spec);
        vec![Undo::Redeploy(before)]
    }

    fn set_spec(&mut self, spec: &Value) {
        let (namespace, deployment) = (self.parts.namespace.clone(), self.parts.deployment.clone());
        let writer = self.cluster.writer(people::KUBECTL);
        let patch = Patch::Merge(json!({"spec": spec}));
        let _ = self.cluster.store.patch(writer, table::DEPLOYMENTS, &namespace, &deployment, Part::Object, &patch);
    }

    /// A Deployment is what it was; a node is back.
    pub(super) fn put_right(&mut self, undo: Undo) {
        match undo {
            Undo::Redeploy(spec) => self.set_spec(&spec),
            Undo::NodeBack(place) => {
                if let Some(node) = self.parts.nodes.get(place) {
                    node.restore(&mut self.cluster);
                }
            }
            _ => {}
        }
    }
}
