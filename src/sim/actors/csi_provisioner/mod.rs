//! csi-provisioner: makes volumes for claims, empty or from snapshots, and deletes those that are released.
//!
//! While it restores a snapshot it holds it with a finalizer of its own. If it dies in between and the claim
//! goes, nobody takes that finalizer off but the sweep, which older releases do not have.

mod provision;
mod release;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::informer::Informers;
use super::object::{self, Key};
use super::snapshots::PROVISIONER_FINALIZER;
use super::workers::{Outcome, Workers};
use crate::sim::election::{self, Elector, Turn};
use crate::sim::process::{Actor, Body, Context, Message, ProcessId};
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{CLAIMS, Resource, SNAPSHOT_GROUP, SNAPSHOTS, STORAGE_CLASSES, VOLUMES};
use crate::sim::store::{Change, Part};
use crate::sim::task::{Desk, Shared, Tasks};
use crate::sim::work_queue::Backoff;

/// The flags of the sidecar.
#[derive(Clone, Debug)]
pub struct Options {
    /// The driver's name.
    pub driver: String,
    /// `--timeout`.
    pub timeout: Duration,
    /// `--retry-interval-start` and `--retry-interval-max`.
    pub backoff: Backoff,
    /// `--snapshot-orphan-sweep-interval`; `None` for a release that has no sweep.
    pub sweep: Option<Duration>,
    /// `--leader-election`; without it every replica works.
    pub election: Option<election::Options>,
}

impl Options {
    /// The defaults, for a driver, with an election in `namespace` under this host name.
    #[must_use]
    pub fn new(driver: &str, namespace: &str, host: &str) -> Self {
        Self {
            driver: driver.to_owned(),
            timeout: Duration::from_secs(60),
            backoff: Backoff::default(),
            sweep: Some(Duration::from_secs(300)),
            election: Some(election::Options::new(driver.replace('/', "-"), namespace, host)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Claim(Key),
    Volume(String),
}

/// What the workers share.
#[derive(Clone)]
struct Provisioner {
    driver: String,
    timeout: Duration,
    socket: ProcessId,
    informers: Shared<Informers>,
    recorder: Shared<Recorder>,
}

/// The process.
pub struct CsiProvisioner {
    options: Options,
    provisioner: Provisioner,
    workers: Workers<Work>,
    sweeps: Tasks<()>,
    elector: Option<Elector>,
    works: bool,
    sweep: Option<u64>,
}

impl CsiProvisioner {
    /// A sidecar whose driver listens in the process `socket`.
    #[must_use]
    pub fn new(options: Options, socket: ProcessId) -> Self {
        let host = options.election.as_ref().map_or("provisioner", |election| election.host.as_str());
        let recorder = Recorder::new(format!("{}_{host}", options.driver));
        let provisioner = Provisioner {
            driver: options.driver.clone(),
            timeout: options.timeout,
            socket,
            informers: Shared::default(),
            recorder: Shared::new(recorder),
        };
        let workers = {
            let provisioner = provisioner.clone();
            Workers::new(100, options.backoff, move |work, desk| provisioner.clone().sync(work, desk))
        };
        let elector = options.election.clone().map(Elector::new);
        Self { options, provisioner, workers, sweeps: Tasks::default(), elector, works: false, sweep: None }
    }

    fn turn(&mut self, ctx: &mut Context<'_>, turn: Option<Turn>) {
        match turn {
            None => {}
            Some(Turn::Began) => self.begin(ctx),
            Some(Turn::Lost) => {
                ctx.klog('E', "leader_election.go:191", "stopped leading");
                ctx.exit(1);
            }
        }
    }

    fn begin(&mut self, ctx: &mut Context<'_>) {
        self.works = true;
        let all: Vec<Work> = self.provisioner.informers.with(|informers| {
            let claims = informers.list(CLAIMS).map(|claim| Work::Claim(object::key(claim)));
            let volumes = informers.list(VOLUMES).map(|volume| Work::Volume(object::name(volume).to_owned()));
            claims.chain(volumes).collect()
        });
        for work in all {
            self.workers.add(ctx, work);
        }
        // The first sweep comes as soon as its informer has synced.
        self.sweep = self.options.sweep.map(|_| ctx.set_timer(Duration::from_secs(1)));
    }

    fn sweep(&mut self, ctx: &mut Context<'_>) {
        self.sweep = self.options.sweep.map(|interval| ctx.set_timer(interval));
        let provisioner = self.provisioner.clone();
        self.sweeps.spawn(ctx, |desk| provisioner.sweep(desk));
    }
}

impl Actor for CsiProvisioner {
    fn name(&self) -> &'static str {
        "csi-provisioner"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[STORAGE_CLASSES, SNAPSHOTS, CLAIMS, VOLUMES]
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        match &mut self.elector {
            None => self.begin(ctx),
            Some(elector) => {
                let turn = elector.start(ctx);
                self.turn(ctx, turn);
            }
        }
    }

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        self.provisioner.informers.with(|informers| informers.apply(change));
        if !self.works {
            return;
        }
        if change.resource == CLAIMS {
            self.workers.add(ctx, Work::Claim(object::key(&change.object)));
        } else if change.resource == VOLUMES {
            self.workers.add(ctx, Work::Volume(object::name(&change.object).to_owned()));
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.sweep == Some(timer) {
            return self.sweep(ctx);
        }
        if let Some(elector) = &mut self.elector {
            let turn = elector.timer(ctx, timer);
            self.turn(ctx, turn);
        }
        self.sweeps.timer(ctx, timer);
        self.workers.timer(ctx, timer);
    }

    fn message(&mut self, ctx: &mut Context<'_>, message: Message) {
        match message.body {
            Body::Answer { id, result } => self.workers.answered(ctx, id, result),
            Body::ConnectionLost if message.from == self.provisioner.socket => {
                ctx.klog('E', "connection.go:142", "Lost connection to CSI driver, exiting");
                ctx.exit(1);
            }
            Body::ConnectionLost | Body::Call { .. } | Body::Exited { .. } => {}
        }
    }
}

impl Provisioner {
    async fn sync(self, work: Work, desk: Desk) -> Outcome {
        let result = match &work {
            Work::Claim((namespace, name)) => self.sync_claim(namespace, name, &desk).await,
            Work::Volume(name) => self.sync_volume(name, &desk).await,
        };
        let Err(words) = result else { return Outcome::Done };
        let line = format!("Retrying syncing {work:?}: {words}");
        desk.note(move |ctx| ctx.klog('W', "controller.go:989", &line));
        Outcome::Again
    }

    /// Takes the finalizer off snapshots that no claim is waiting for.
    async fn sweep(self, desk: Desk) {
        let orphans: Vec<Arc<Value>> = self.informers.with(|informers| {
            let waiting: Vec<Key> =
                informers.list(CLAIMS).filter(|claim| waits(claim)).filter_map(|c| source(c)).collect();
            let is_orphan = |snapshot: &&Arc<Value>| {
                object::has_finalizer(snapshot, PROVISIONER_FINALIZER) && !waiting.contains(&object::key(snapshot))
            };
            informers.list(SNAPSHOTS).filter(is_orphan).cloned().collect()
        });
        for snapshot in orphans {
            let left = object::without_finalizers(&snapshot, &[PROVISIONER_FINALIZER]);
            let freed = object::with_finalizers(&snapshot, left);
            // Refused because it changed or went: the next sweep looks at it anew.
            let _ = desk.api(SNAPSHOTS, move |ctx| ctx.replace(SNAPSHOTS, Part::Object, freed)).await;
        }
    }

    fn say(&self, claim: &Arc<Value>, kind: Type, reason: &'static str, message: impl Into<String>, desk: &Desk) {
        let (recorder, claim, message) = (self.recorder.clone(), Arc::clone(claim), message.into());
        desk.note(move |ctx| {
            recorder.with(|recorder| recorder.event(ctx, (CLAIMS, &claim), kind, reason, &message));
        });
    }
}

/// The claim has no volume yet.
fn waits(claim: &Value) -> bool {
    matches!(object::text(claim, "/status/phase"), "Pending" | "")
}

/// The snapshot that a claim is to be filled from.
fn source(claim: &Value) -> Option<Key> {
    ["/spec/dataSource", "/spec/dataSourceRef"].iter().find_map(|field| {
        let source = claim.pointer(field)?;
        let is_snapshot = object::text(source, "/kind") == SNAPSHOTS.kind
            && matches!(object::text(source, "/apiGroup"), "" | SNAPSHOT_GROUP);
        let namespace = match object::text(source, "/namespace") {
            "" => object::namespace(claim),
            other => other,
        };
        is_snapshot.then(|| (namespace.to_owned(), object::text(source, "/name").to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claims_source_is_a_snapshot_of_its_own_namespace_unless_it_says_otherwise() {
        let claim = |spec: Value| json!({"metadata": {"namespace": "a"}, "spec": spec});
        let snapshot = json!({"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": "s"});
        let key = |namespace: &str| Some((namespace.to_owned(), "s".to_owned()));
        assert_eq!(source(&claim(json!({"dataSource": snapshot}))), key("a"));
        let elsewhere = json!({"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": "s", "namespace": "b"});
        assert_eq!(source(&claim(json!({"dataSourceRef": elsewhere}))), key("b"));
        let clone = json!({"kind": "PersistentVolumeClaim", "name": "s"});
        assert_eq!(source(&claim(json!({"dataSource": clone}))), None);
    }
}
