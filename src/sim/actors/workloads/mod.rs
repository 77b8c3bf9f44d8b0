//! kube-controller-manager: the loops that keep workloads, volumes and owners in line.
//!
//! One process with one set of informers, as the real one. A change says which keys of which loops to look at;
//! a look reads the API itself, so that what is stale here is only the moment, not the content: the races that
//! this product is about happen between the snapshot controllers, which have caches of their own.

pub(crate) mod conditions;
mod daemon_set;
mod deployment;
mod garbage;
mod job;
mod namespace;
mod node_lifecycle;
pub(crate) mod owned;
mod replica_set;

use std::time::Duration;

use serde_json::Value;

use super::keys::Keys;
use super::object::{self, Key};
use super::volumes::{Attachments, Binder, protection, sync_volume};
use crate::sim::process::{Actor, Context};
use crate::sim::store::table::{self, Resource};
use crate::sim::store::{Change, ChangeKind, Refusal};
use crate::sim::work_queue::Backoff;
pub(crate) use daemon_set::pinned_to;
pub use node_lifecycle::Silent;

/// What a look at a key gives: when to look again, if at all.
pub(crate) type Synced = Result<Option<Duration>, Refusal>;

/// Retries of client-go's default rate limiter.
const BACKOFF: Backoff = Backoff { start: Duration::from_millis(5), max: Duration::from_secs(1000) };
/// The Job controller gathers what happens to pods.
const JOB_BATCH: Duration = Duration::from_secs(1);

/// A loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loop {
    Deployment,
    ReplicaSet,
    DaemonSet,
    Job,
    Garbage,
    Namespace,
    Node,
    Claim,
    Volume,
    ClaimProtection,
    VolumeProtection,
    Attachment,
}

type Item = (Loop, &'static Resource, Key);

/// The process.
pub struct ControllerManager {
    keys: Keys<Item>,
    deployments: deployment::Deployments,
    replica_sets: replica_set::ReplicaSets,
    jobs: job::Jobs,
    garbage: garbage::Garbage,
    nodes: node_lifecycle::NodeLifecycle,
    binder: Binder,
    attachments: Attachments,
    monitor: Option<u64>,
}

impl ControllerManager {
    /// A controller manager; `silent` are the nodes whose kubelets do not report.
    #[must_use]
    pub fn new(silent: Silent) -> Self {
        Self {
            keys: Keys::new(BACKOFF),
            deployments: deployment::Deployments::default(),
            replica_sets: replica_set::ReplicaSets::default(),
            jobs: job::Jobs::default(),
            garbage: garbage::Garbage::default(),
            nodes: node_lifecycle::NodeLifecycle::new(silent),
            binder: Binder::default(),
            attachments: Attachments::default(),
            monitor: None,
        }
    }

    fn sync(&mut self, ctx: &mut Context<'_>, (control, resource, key): &Item) -> Synced {
        match control {
            Loop::Deployment => self.deployments.sync(ctx, key),
            Loop::ReplicaSet => self.replica_sets.sync(ctx, key),
            Loop::DaemonSet => daemon_set::sync(ctx, key),
            Loop::Job => self.jobs.sync(ctx, key),
            Loop::Garbage => self.garbage.sync(ctx, &(*resource, key.clone())),
            Loop::Namespace => namespace::sync(ctx, key),
            Loop::Node => self.nodes.sync(ctx, &key.1),
            Loop::Claim => self.binder.sync_claim(ctx, key),
            Loop::Volume => sync_volume(ctx, key),
            Loop::ClaimProtection => protection::release_claim(ctx, key),
            Loop::VolumeProtection => protection::release_volume(ctx, key),
            Loop::Attachment => self.attachments.sync(ctx, key),
        }
    }

    fn watch_nodes(&mut self, ctx: &mut Context<'_>) {
        self.monitor = Some(ctx.set_timer(node_lifecycle::PERIOD));
    }

    fn add(&mut self, ctx: &mut Context<'_>, control: Loop, resource: &'static Resource, key: Key) {
        self.keys.add(ctx, (control, resource, key));
    }

    /// The loops that an object's own kind belongs to.
    fn route(&mut self, ctx: &mut Context<'_>, change: &Change) {
        let (resource, object) = (change.resource, &*change.object);
        let key = object::key(object);
        let gone = change.kind == ChangeKind::Deleted;
        let deleting = object::is_deleting(object) && !gone;
        if resource == table::DEPLOYMENTS {
            self.add(ctx, Loop::Deployment, resource, key);
        } else if resource == table::REPLICA_SETS {
            self.add(ctx, Loop::ReplicaSet, resource, key);
            self.add_owner(ctx, object);
        } else if resource == table::DAEMON_SETS {
            self.add(ctx, Loop::DaemonSet, resource, key);
        } else if resource == table::JOBS {
            self.add(ctx, Loop::Job, resource, key);
        } else if resource == table::NODES {
            self.add(ctx, Loop::Node, resource, key);
            let sets: Vec<_> = ctx.list(table::DAEMON_SETS, None).map(|set| object::key(set)).collect();
            for set in sets {
                self.add(ctx, Loop::DaemonSet, table::DAEMON_SETS, set);
            }
        } else if resource == table::NAMESPACES && deleting {
            self.add(ctx, Loop::Namespace, resource, key);
        } else if resource == table::PODS {
            self.pod(ctx, object, gone);
        } else if resource == table::CLAIMS {
            let control = if deleting { Loop::ClaimProtection } else { Loop::Claim };
            self.add(ctx, control, resource, key);
            let volume = object::text(object, "/spec/volumeName").to_owned();
            if gone && !volume.is_empty() {
                self.add(ctx, Loop::Volume, table::VOLUMES, (String::new(), volume));
            }
        } else if resource == table::VOLUMES {
            self.volume(ctx, change, deleting);
        }
    }

    fn pod(&mut self, ctx: &mut Context<'_>, pod: &Value, gone: bool) {
        self.add_owner(ctx, pod);
        let namespace = object::namespace(pod);
        if !object::text(pod, "/spec/nodeName").is_empty() && owned::claims(pod).next().is_some() {
            self.add(ctx, Loop::Attachment, table::PODS, object::key(pod));
        }
        if gone || owned::is_finished(pod) {
            for claim in owned::claims(pod) {
                self.add(ctx, Loop::ClaimProtection, table::CLAIMS, (namespace.to_owned(), claim.to_owned()));
            }
        }
    }

    fn volume(&mut self, ctx: &mut Context<'_>, change: &Change, deleting: bool) {
        let control = if deleting { Loop::VolumeProtection } else { Loop::Volume };
        self.add(ctx, control, table::VOLUMES, object::key(&change.object));
        // The claim that it names, and the one that has just lost it.
        for volume in change.before.iter().chain([&change.object]) {
            let [namespace, name] =
                ["/spec/claimRef/namespace", "/spec/claimRef/name"].map(|field| object::text(volume, field).to_owned());
            if !name.is_empty() {
                self.add(ctx, Loop::Claim, table::CLAIMS, (namespace, name));
            }
        }
    }

    /// The controller of a pod or a ReplicaSet looks at what became of it.
    fn add_owner(&mut self, ctx: &mut Context<'_>, object: &Value) {
        let Some(owner) = owned::controller(object) else { return };
        let key = (object::namespace(object).to_owned(), object::text(owner, "/name").to_owned());
        match object::text(owner, "/kind") {
            "Deployment" => self.add(ctx, Loop::Deployment, table::DEPLOYMENTS, key),
            "DaemonSet" => self.add(ctx, Loop::DaemonSet, table::DAEMON_SETS, key),
            "Job" => self.keys.add_after(ctx, (Loop::Job, table::JOBS, key), JOB_BATCH),
            "ReplicaSet" => {
                // A Deployment that recreates waits for its old pods, not only for its old ReplicaSets.
                let set = ctx.get(table::REPLICA_SETS, &key.0, &key.1);
                if let Some(set) = set.ok().filter(|_| owned::is_finished(object) || object::is_deleting(object)) {
                    self.add_owner(ctx, &set);
                }
                self.add(ctx, Loop::ReplicaSet, table::REPLICA_SETS, key);
            }
            _ => {}
        }
    }
}

impl Actor for ControllerManager {
    fn name(&self) -> &'static str {
        "kube-controller-manager"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[
            table::NAMESPACES,
            table::NODES,
            table::PODS,
            table::CLAIMS,
            table::VOLUMES,
            table::STORAGE_CLASSES,
            table::DEPLOYMENTS,
            table::REPLICA_SETS,
            table::DAEMON_SETS,
            table::JOBS,
            table::SERVICE_ACCOUNTS,
            table::SNAPSHOTS,
            table::REPLICATION_SOURCES,
            table::REPLICATION_DESTINATIONS,
        ]
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        self.watch_nodes(ctx);
    }

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        for (resource, key) in self.garbage.seen(change) {
            self.add(ctx, Loop::Garbage, resource, key);
        }
        self.route(ctx, change);
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.monitor == Some(timer) {
            // What is refused now is looked at again in a moment anyway.
            let _ = self.nodes.monitor(ctx);
            return self.watch_nodes(ctx);
        }
        let Some(item) = self.keys.timer(timer) else { return };
        match self.sync(ctx, &item) {
            Ok(again) => {
                self.keys.forget(&item);
                if let Some(after) = again {
                    self.keys.add_after(ctx, item, after);
                }
            }
            Err(refusal) => {
                ctx.klog('E', "controller_utils.go", &format!("{:?} {}/{}: {refusal}", item.0, item.2.0, item.2.1));
                self.keys.failed(ctx, item);
            }
        }
    }
}
