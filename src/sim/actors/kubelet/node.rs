//! A machine with a kubelet: what can happen to it as a whole.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Images, Kubelet, Processes, status};
use crate::sim::actors::object;
use crate::sim::actors::workloads::Silent;
use crate::sim::cluster::Cluster;
use crate::sim::process::ProcessId;
use crate::sim::store::table::{LEASES, NODES};
use crate::sim::store::{Part, Patch, Refusal};

/// How often a real kubelet renews its Lease.
const RENEWAL: i64 = 10;
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// A node.
#[derive(Clone)]
pub struct Node {
    name: String,
    images: Images,
    kubelet: ProcessId,
    processes: Processes,
    silent: Silent,
    booted: Timestamp,
}

impl Node {
    /// A new machine joins the cluster.
    ///
    /// # Errors
    /// The API refuses it.
    pub fn join(cluster: &mut Cluster, name: &str, images: &Images, silent: &Silent) -> Result<Self, Refusal> {
        let address = status::node_address(name);
        let labels =
            json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
        let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {}});
        let booted = cluster.now().wall;
        let writer = cluster.writer("kubelet");
        let node = cluster.store.create(writer, NODES, "", node)?;
        let room = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "capacity": room, "allocatable": room,
            "nodeInfo": {"kubeletVersion": "v1.36.3", "operatingSystem": "linux", "architecture": "amd64"},
        }});
        cluster.store.patch(writer, NODES, "", name, Part::Status, &Patch::Merge(status))?;
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": object::uid(&node)});
        let lease = json!({"metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": object::micros(booted)}});
        cluster.store.create(writer, LEASES, LEASE_NAMESPACE, lease)?;
        let processes = Processes::new(BTreeSet::new());
        let kubelet = cluster.spawn(Box::new(Kubelet::new(name, images.clone(), processes.clone())));
        let (name, images, silent) = (name.to_owned(), images.clone(), silent.clone());
        Ok(Self { name, images, kubelet, processes, silent, booted })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kubelet.
    #[must_use]
    pub fn kubelet(&self) -> ProcessId {
        self.kubelet
    }

    /// It freezes: nothing on it runs, and nothing comes from it.
    pub fn lose(&self, cluster: &mut Cluster) {
        self.fall_silent(cluster);
        for process in self.processes.with(|processes| processes.clone()) {
            cluster.pause(process);
        }
        cluster.pause(self.kubelet);
    }

    /// It goes on where it stood.
    pub fn restore(&self, cluster: &mut Cluster) {
        self.silent.with(|silent| silent.remove(&self.name));
        for process in self.processes.with(|processes| processes.clone()) {
            cluster.resume(process);
        }
        cluster.resume(self.kubelet);
    }

    /// Its power goes: everything on it is dead at once.
    pub fn cut_power(&self, cluster: &mut Cluster) {
        self.fall_silent(cluster);
        for process in self.processes.with(std::mem::take) {
            cluster.kill(process);
        }
        cluster.kill(self.kubelet);
    }

    /// Its power is back: a new kubelet finds the pods it had.
    pub fn power_on(&self, cluster: &mut Cluster) {
        self.silent.with(|silent| silent.remove(&self.name));
        let kubelet = Kubelet::new(&self.name, self.images.clone(), self.processes.clone());
        cluster.start(self.kubelet, Box::new(kubelet));
    }

    /// From now on its Lease is what counts, so that is brought to the last renewal there was.
    fn fall_silent(&self, cluster: &mut Cluster) {
        let now = cluster.now().wall;
        let since = now.duration_since(self.booted).as_secs().rem_euclid(RENEWAL);
        let last = now.saturating_sub(SignedDuration::from_secs(since)).unwrap_or(now);
        let patch = Patch::Merge(json!({"spec": {"renewTime": object::micros(last)}}));
        let writer = cluster.writer("kubelet");
        // Somebody who deleted the Lease has made the node lost already.
        let _ = cluster.store.patch(writer, LEASES, LEASE_NAMESPACE, &self.name, Part::Object, &patch);
        self.silent.with(|silent| silent.insert(self.name.clone()));
    }
}
