//! A home cluster as people run it: Rook's Ceph, the snapshot controllers, VolSync, and apps backed up each hour.
//!
//! Names, labels, arguments and strategies are those of the real deployments, since the product has to find its
//! way by them.

mod objects;

use std::collections::BTreeSet;
use std::time::Duration;

use self::objects::Plan;
use super::ceph::{self, CephDriver, Faults, Pool};
use super::csi_provisioner::{self, CsiProvisioner};
use super::csi_snapshotter::{self, CsiSnapshotter, Release};
use super::kubelet::{Images, Launch, Node, idle};
use super::rook::Rook;
use super::scheduler::Scheduler;
use super::snapshot_controller::{self, SnapshotController};
use super::volsync::{self, MoverProgram, Repository, VolSync};
use super::workloads::{ControllerManager, Silent};
use super::{object, workloads::owned};
use crate::sim::cluster::Cluster;
use crate::sim::election;
use crate::sim::process::{Actor, ProcessId};
use crate::sim::store::table::DEPLOYMENTS;
use crate::sim::store::{Part, Patch, Refusal};
use crate::sim::task::Shared;

/// Who deploys the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// ceph-csi-operator, as Rook does from 1.18 on.
    Operator,
    /// Rook itself, as before.
    Classic,
}

/// What the cluster is made of.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part that is there or not")]
pub struct HomeCluster {
    /// How many apps.
    pub apps: usize,
    /// How many nodes.
    pub nodes: usize,
    /// Who deploys the driver.
    pub layout: Layout,
    /// Pods of the driver's controller.
    pub replicas: u32,
    /// csi-snapshotter and snapshot-controller.
    pub release: Release,
    /// The driver's controller has the container `csi-snapshotter`.
    pub snapshotter: bool,
    /// VolSync is there, and each app has a ReplicationSource.
    pub volsync: bool,
    /// When the backups are due.
    pub schedule: String,
    /// The fork's VolSync, else upstream's.
    pub fork: bool,
    /// csi-provisioner is of a release that takes its finalizer off what it left behind.
    pub sweeps: bool,
}

impl Default for HomeCluster {
    fn default() -> Self {
        Self {
            apps: 5,
            nodes: 3,
            layout: Layout::Operator,
            replicas: 2,
            release: Release::V8_6,
            snapshotter: true,
            volsync: true,
            schedule: "0 * * * *".to_owned(),
            fork: true,
            sweeps: true,
        }
    }
}

/// The parts of a home cluster that a story takes hold of.
pub struct Home {
    /// The machines.
    pub nodes: Vec<Node>,
    /// The Ceph pool.
    pub pool: Shared<Pool>,
    /// What is wrong with the driver.
    pub faults: Shared<Faults>,
    /// The Kopia repository.
    pub repository: Shared<Repository>,
    /// kube-controller-manager.
    pub controller_manager: ProcessId,
    /// kube-scheduler.
    pub scheduler: ProcessId,
    /// The driver's name.
    pub driver: String,
    /// The driver's namespace.
    pub namespace: String,
    /// The Deployment of the driver's controller.
    pub deployment: String,
    /// The apps; each has a namespace, a claim and a ReplicationSource of its name.
    pub apps: Vec<String>,
}

impl Home {
    /// `kubectl rollout restart` of a Deployment.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn restart(&self, cluster: &mut Cluster, namespace: &str, deployment: &str) -> Result<(), Refusal> {
        let writer = cluster.writer("kubectl-rollout");
        let mark = serde_json::json!({"kubectl.kubernetes.io/restartedAt": object::seconds(writer.at)});
        let patch = serde_json::json!({"spec": {"template": {"metadata": {"annotations": mark}}}});
        let patch = Patch::Merge(patch);
        cluster.store.patch(writer, DEPLOYMENTS, namespace, deployment, Part::Object, &patch).map(drop)
    }
}

/// Builds the cluster; a few minutes later everything in it runs.
///
/// # Errors
/// The API refuses an object, which a fresh cluster does not.
pub fn home_cluster(cluster: &mut Cluster, wanted: &HomeCluster) -> Result<Home, Refusal> {
    let plan = Plan::new(wanted);
    let pool = Shared::new(Pool::new(&plan.namespace, 2));
    let faults = Shared::new(Faults::default());
    let repository = Shared::new(Repository::default());
    let silent = Silent::new(BTreeSet::new());
    let images = images(&plan, &pool, &faults, &repository);
    let controller_manager = cluster.spawn(Box::new(ControllerManager::new(silent.clone())));
    let scheduler = cluster.spawn(Box::new(Scheduler::default()));
    let nodes: Result<Vec<_>, _> =
        plan.node_names().iter().map(|name| Node::join(cluster, name, &images, &silent)).collect();
    let nodes = nodes?;
    // The nodes are ready before anything is put on them.
    cluster.run_for(Duration::from_secs(1));
    let writer = cluster.writer("kustomize-controller");
    for (resource, namespace, object, status) in plan.objects() {
        let made = cluster.store.create(writer, resource, &namespace, object)?;
        if let Some(status) = status {
            let patch = Patch::Merge(serde_json::json!({"status": status}));
            cluster.store.patch(writer, resource, &namespace, object::name(&made), Part::Status, &patch)?;
        }
    }
    cluster.spawn(Box::new(Rook::new(&plan.namespace, objects::NAMESPACE, pool.clone())));
    Ok(Home {
        nodes,
        pool,
        faults,
        repository,
        controller_manager,
        scheduler,
        driver: plan.driver,
        namespace: plan.namespace,
        deployment: plan.deployment,
        apps: plan.apps,
    })
}

/// The programs that its images are.
fn images(plan: &Plan<'_>, pool: &Shared<Pool>, faults: &Shared<Faults>, repository: &Shared<Repository>) -> Images {
    let (driver, namespace) = (plan.driver.clone(), plan.namespace.clone());
    let (pool, faults, fork, sweeps) = (pool.clone(), faults.clone(), plan.wanted.fork, plan.wanted.sweeps);
    let images = Images::default()
        .with("quay.io/cephcsi/cephcsi", move |launch| -> Box<dyn Actor> {
            if launch.flag("controllerserver") != Some("true") {
                return idle(launch);
            }
            let name = launch.flag("drivername").unwrap_or_default();
            let options = ceph::Options { latency: objects::LATENCY, ..ceph::Options::new(name) };
            Box::new(CephDriver::new(options, pool.clone(), faults.clone()))
        })
        .with("registry.k8s.io/sig-storage/csi-provisioner", {
            let (driver, namespace) = (driver.clone(), namespace.clone());
            move |launch| -> Box<dyn Actor> {
                let mut options = csi_provisioner::Options::new(&driver, &namespace, launch.host_name);
                options.timeout = launch.duration("timeout").unwrap_or(options.timeout);
                options.sweep = options.sweep.filter(|_| sweeps);
                options.election = options.election.map(|election| elected(launch, election));
                Box::new(CsiProvisioner::new(options, socket(launch)))
            }
        })
        .with("registry.k8s.io/sig-storage/csi-snapshotter", move |launch| -> Box<dyn Actor> {
            let mut options = csi_snapshotter::Options::new(&driver, &namespace, launch.host_name);
            options.release = release(launch);
            options.timeout = launch.duration("timeout").unwrap_or(options.timeout);
            options.resync = launch.duration("resync-period").unwrap_or(options.resync);
            options.backoff.max = launch.duration("retry-interval-max").unwrap_or(options.backoff.max);
            options.election = options.election.map(|election| elected(launch, election));
            Box::new(CsiSnapshotter::new(options, socket(launch)))
        })
        .with("registry.k8s.io/sig-storage/snapshot-controller", |launch| -> Box<dyn Actor> {
            let mut options = snapshot_controller::Options::new(launch.host_name);
            options.retries_after_restore = release(launch) >= Release::V8_6;
            options.election = options.election.map(|election| elected(launch, election));
            Box::new(SnapshotController::new(options))
        });
    let repository = repository.clone();
    images.with(plan.volsync_image(), move |launch| -> Box<dyn Actor> {
        if owned::items(launch.container, "/command").iter().any(|word| word == "/mover-kopia/entry.sh") {
            return Box::new(MoverProgram::new(launch, repository.clone()));
        }
        let image = object::text(launch.container, "/image").to_owned();
        Box::new(VolSync::new(volsync::Options { is_fork: fork, image }, repository.clone()))
    })
}

/// The driver that the pod's sidecars talk to.
fn socket(launch: &Launch<'_>) -> ProcessId {
    // A pod without a driver has a socket that nobody listens on.
    launch.peers.get(objects::DRIVER_CONTAINER).copied().unwrap_or(ProcessId(0))
}

/// The release that an image's tag stands for.
fn release(launch: &Launch<'_>) -> Release {
    let tag = object::text(launch.container, "/image").rsplit_once(":v8.").map(|(_, tag)| tag).unwrap_or_default();
    match tag.split('.').next().and_then(|minor| minor.parse().ok()).unwrap_or(u32::MAX) {
        0..3 => Release::V8_0,
        3..6 => Release::V8_3,
        _ => Release::V8_6,
    }
}

/// The election with the times that the arguments give.
fn elected(launch: &Launch<'_>, election: election::Options) -> election::Options {
    election::Options {
        duration: launch.duration("leader-election-lease-duration").unwrap_or(election.duration),
        renew_deadline: launch.duration("leader-election-renew-deadline").unwrap_or(election.renew_deadline),
        retry: launch.duration("leader-election-retry-period").unwrap_or(election.retry),
        ..election
    }
}
