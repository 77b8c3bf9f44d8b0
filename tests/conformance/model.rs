//! The embedded cluster: the model of the real programs, on virtual time.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use volwarden::sim::actors::ceph::{self, CephDriver, Fault, Faults, Pool, Volume};
use volwarden::sim::actors::csi::{Code, Status};
use volwarden::sim::actors::csi_snapshotter::{self, CsiSnapshotter};
use volwarden::sim::actors::snapshot_controller::{self, SnapshotController};
use volwarden::sim::cluster::Cluster;
use volwarden::sim::election;
use volwarden::sim::process::{Actor, ProcessId};
use volwarden::sim::store::{ChangeKind, DeleteOptions, Part, Patch, Resource, resource};
use volwarden::sim::task::Shared;

use super::backend::{Backend, Component, Fate, Id, Kind, Seen, Trouble};

const HOSTS: [&str; 2] = ["one", "two"];
/// The field manager of what scenarios do by hand.
const KUBECTL: &str = "kubectl";
/// Nothing happens for so long when all is done.
const QUIET: Duration = Duration::from_secs(2);
/// What a command of kubectl takes.
const COMMAND: Duration = Duration::from_millis(100);
/// What the real stack's programs are started with, too.
const RETRY: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(3);

/// The embedded cluster with the same programs as the real stack.
pub(crate) struct Model {
    cluster: Cluster,
    pool: Shared<Pool>,
    faults: Shared<Faults>,
    driver: ProcessId,
    controller: ProcessId,
    snapshotters: [ProcessId; 2],
}

impl Model {
    pub(crate) fn start(seed: u64) -> Self {
        let epoch: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let mut cluster = Cluster::new(seed, epoch);
        let pool = Shared::new(Pool::new("rook-ceph", 1));
        let faults = Shared::default();
        let driver = cluster.spawn(driver(&pool, &faults));
        let controller = cluster.spawn(controller());
        let snapshotters = [0, 1].map(|number| {
            let process = cluster.spawn(snapshotter(number, driver));
            // The first one leads, as in the real stack.
            cluster.run_for(Duration::from_secs(2));
            process
        });
        Self { cluster, pool, faults, driver, controller, snapshotters }
    }

    fn process(&self, component: Component) -> ProcessId {
        match component {
            Component::Controller => self.controller,
            Component::Driver => self.driver,
            Component::Snapshotter(number) => self.snapshotters[number],
        }
    }

    fn program(&self, component: Component) -> Box<dyn Actor> {
        match component {
            Component::Controller => controller(),
            Component::Driver => driver(&self.pool, &self.faults),
            Component::Snapshotter(number) => snapshotter(number, self.driver),
        }
    }
}

fn driver(pool: &Shared<Pool>, faults: &Shared<Faults>) -> Box<dyn Actor> {
    let options = ceph::Options { lists_snapshots: true, ..ceph::Options::new(stack::DRIVER) };
    Box::new(CephDriver::new(options, pool.clone(), faults.clone()))
}

fn controller() -> Box<dyn Actor> {
    let mut options = snapshot_controller::Options::new("controller");
    options.backoff.start = RETRY;
    Box::new(SnapshotController::new(options))
}

fn snapshotter(number: usize, driver: ProcessId) -> Box<dyn Actor> {
    let host = HOSTS[number];
    let mut options = csi_snapshotter::Options::new(stack::DRIVER, stack::SNAPSHOTTER_LEASE_NAMESPACE, host);
    let seconds = Duration::from_secs;
    options.timeout = TIMEOUT;
    options.backoff.start = RETRY;
    options.election = options.election.map(|election| election::Options {
        duration: seconds(6),
        renew_deadline: seconds(4),
        retry: seconds(1),
        ..election
    });
    Box::new(CsiSnapshotter::new(options, driver))
}

fn row(kind: Kind) -> &'static Resource {
    let (group, plural) = kind.resource();
    resource(group, plural).unwrap()
}

impl Backend for Model {
    fn create(&mut self, kind: Kind, namespace: &str, object: Value) -> Value {
        let writer = self.cluster.writer(KUBECTL);
        let created = self.cluster.store.create(writer, row(kind), namespace, object).unwrap();
        self.cluster.run_for(COMMAND);
        created.as_ref().clone()
    }

    fn get(&mut self, id: &Id) -> Option<Value> {
        let found = self.cluster.store.get(row(id.kind), &id.namespace, &id.name).ok()?;
        Some(found.as_ref().clone())
    }

    fn patch(&mut self, id: &Id, status: bool, patch: &Value) {
        let part = if status { Part::Status } else { Part::Object };
        let patch = Patch::Merge(patch.clone());
        let writer = self.cluster.writer(KUBECTL);
        self.cluster.store.patch(writer, row(id.kind), &id.namespace, &id.name, part, &patch).unwrap();
        self.cluster.run_for(COMMAND);
    }

    fn delete(&mut self, id: &Id) {
        let writer = self.cluster.writer(KUBECTL);
        let options = DeleteOptions::default();
        self.cluster.store.delete(writer, row(id.kind), &id.namespace, &id.name, &options).unwrap();
        self.cluster.run_for(COMMAND);
    }

    fn meets(&mut self, component: Component, fate: Fate) {
        let process = self.process(component);
        match fate {
            Fate::Pause => self.cluster.pause(process),
            Fate::Resume => self.cluster.resume(process),
            Fate::Kill => self.cluster.kill(process),
            Fate::Start => self.cluster.start(process, self.program(component)),
        }
    }

    fn log(&mut self, component: Component) -> String {
        self.cluster.log(self.process(component)).unwrap().text()
    }

    fn host(&self, snapshotter: usize) -> &'static str {
        HOSTS[snapshotter]
    }

    fn add_volume(&mut self, handle: &str) {
        let volume = Volume { name: format!("pv-{handle}"), size: 1 << 30, snapshot: None };
        self.pool.with(|pool| pool.add_volume(handle, volume));
    }

    fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.faults.with(|faults| {
            faults.clear();
            match trouble {
                None => {}
                Some(Trouble::Fails(call, code, words)) => {
                    assert_eq!(code, 13, "Internal is the only code that is used");
                    faults.add(Fault::of(call, ceph::Trouble::Fail(Status::new(Code::Internal, words))));
                }
                Some(Trouble::Stuck(call)) => faults.add(Fault::of(call, ceph::Trouble::Stuck)),
            }
        });
    }

    fn snapshots_of(&mut self, volume: &str) -> usize {
        self.pool.with(|pool| pool.snapshots().values().filter(|snapshot| snapshot.volume == volume).count())
    }

    fn pass(&mut self) {
        if !self.cluster.step() {
            self.cluster.run_for(COMMAND);
        }
    }

    fn settle(&mut self) {
        self.cluster.run_for(QUIET);
    }

    fn elapsed(&self) -> Duration {
        self.cluster.now().mono
    }

    fn seen(&mut self, kind: Kind) -> Vec<Seen> {
        let changes = self.cluster.store.changes_since(0).unwrap().iter();
        let of_this = changes.filter(|change| change.resource == row(kind));
        of_this
            .map(|change| Seen { gone: change.kind == ChangeKind::Deleted, object: change.object.as_ref().clone() })
            .collect()
    }
}
