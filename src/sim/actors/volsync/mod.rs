//! VolSync: the controller that copies volumes on a schedule, with the Kopia mover of its fork.
//!
//! What matters here is how it waits and how it does not: every stage of a sync is waited for without limit, the
//! clean-up after it is not waited for at all. So a snapshot that will not go shows one slot later, as a sync
//! that will not begin.

mod job;
mod machine;
mod mover;
mod populator;
mod schedule;
mod stage;

use std::time::Duration;

use serde_json::{Value, json};

use self::job::{Direction, Ended, Mover};
use self::machine::{Machine, Progress, State, Step};
use self::stage::Stage;
use super::keys::Keys;
use super::object::{self, Key};
use super::workloads::owned;
use crate::sim::process::{Actor, Context};
use crate::sim::recorder::Recorder;
use crate::sim::store::table::{
    CLAIMS, JOBS, REPLICATION_DESTINATIONS, REPLICATION_SOURCES, Resource, SNAPSHOT_GROUP, SNAPSHOTS, STORAGE_CLASSES,
    VOLSYNC_GROUP,
};
use crate::sim::store::{Change, ChangeKind, Part, Patch};
use crate::sim::task::Shared;
use crate::sim::throttle::Throttle;
use crate::sim::work_queue::Backoff;
pub use mover::{Backup, MoverProgram, Repository, Trouble};

/// Retries of controller-runtime.
const BACKOFF: Backoff = Backoff { start: Duration::from_millis(5), max: Duration::from_secs(1000) };

/// How it is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fork, which takes a snapshot that is not ready for an error; else upstream, which waits.
    pub is_fork: bool,
    /// The mover's image.
    pub image: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { is_fork: true, image: "ghcr.io/perfectra1n/volsync:v0.17.11".to_owned() }
    }
}

/// What there is to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Source(Key),
    Destination(Key),
    Claim(Key),
}

/// The process.
pub struct VolSync {
    options: Options,
    repository: Shared<Repository>,
    keys: Keys<Work>,
    client: Throttle,
    recorder: Recorder,
}

impl VolSync {
    /// A controller whose movers work on this repository.
    #[must_use]
    pub fn new(options: Options, repository: Shared<Repository>) -> Self {
        let recorder = Recorder::new("volsync-controller");
        // The defaults of controller-runtime; what it reads comes from its caches.
        let client = Throttle::new(20, 30);
        Self { options, repository, keys: Keys::new(BACKOFF), client, recorder }
    }

    fn look(&mut self, ctx: &mut Context<'_>, work: &Work) -> Result<Option<Duration>, String> {
        match work {
            Work::Source(key) => self.replicate(ctx, REPLICATION_SOURCES, key),
            Work::Destination(key) => self.replicate(ctx, REPLICATION_DESTINATIONS, key),
            Work::Claim(key) => populator::sync(ctx, &mut self.recorder, key).map(|()| None),
        }
    }

    /// One step of a replication's state machine, and its status.
    fn replicate(
        &mut self,
        ctx: &mut Context<'_>,
        resource: &'static Resource,
        key: &Key,
    ) -> Result<Option<Duration>, String> {
        let Ok(object) = ctx.get(resource, &key.0, &key.1) else { return Ok(None) };
        if object::is_deleting(&object) {
            return Ok(None);
        }
        let mut machine = Machine::new(&object, ctx.now().wall, self.options.is_fork);
        let nothing = json!({});
        let spec = object.pointer("/spec/kopia").unwrap_or(&nothing);
        let mut stage = Stage { resource, owner: &object, spec, recorder: &mut self.recorder };
        let direction = if resource == REPLICATION_SOURCES { Direction::Source } else { Direction::Destination };
        let mover = Mover { direction, image: &self.options.image, repository: &self.repository };
        let step = match machine.state() {
            State::Initial => Ok(Progress::Waits),
            State::CleaningUp => clean_up(ctx, &stage, direction),
            State::Synchronizing if object.pointer("/spec/paused") == Some(&Value::Bool(true)) => {
                Ok(Progress::Complete)
            }
            State::Synchronizing if direction == Direction::Source => {
                back_up(ctx, &mut stage, &mover, &mut machine, self.options.is_fork)
            }
            State::Synchronizing => restore(ctx, &mut stage, &mover, &mut machine),
        };
        let outcome = machine.advance(step);
        let status = Value::Object(machine.status);
        if object.get("status") != Some(&status) {
            let object = object::with_status(&object, status);
            ctx.replace(resource, Part::Status, object).map_err(stage::words)?;
        }
        outcome
    }

    fn add(&mut self, ctx: &mut Context<'_>, work: Work) {
        self.keys.add(ctx, work);
    }

    fn claim_changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        let claim = &change.object;
        if change.kind != ChangeKind::Deleted && populator::source(claim).is_some() {
            self.add(ctx, Work::Claim(object::key(claim)));
        }
        if let Some(key) = populator::populated(claim) {
            self.add(ctx, Work::Claim(key));
        }
    }

    /// Claims that wait for a destination, or for a class.
    fn waiting_claims(&mut self, ctx: &mut Context<'_>, namespace: Option<&str>) {
        let waits =
            |claim: &Value| populator::source(claim).is_some() && object::text(claim, "/spec/volumeName").is_empty();
        let claims: Vec<Key> =
            ctx.list(CLAIMS, namespace).filter(|claim| waits(claim)).map(|claim| object::key(claim)).collect();
        for key in claims {
            self.add(ctx, Work::Claim(key));
        }
    }
}

/// One look at a backup.
fn back_up(
    ctx: &mut Context<'_>,
    stage: &mut Stage<'_>,
    mover: &Mover<'_>,
    machine: &mut Machine,
    is_fork: bool,
) -> Step {
    let source = job::claim(ctx, stage.namespace(), object::text(stage.owner, "/spec/sourcePVC"))?;
    let data = if matches!(stage.text("copyMethod"), "Direct" | "None") {
        source
    } else {
        let name = format!("volsync-{}-src", object::name(stage.owner));
        match stage.snapshot(ctx, &source, &name)? {
            Some(snapshot) => stage.claim_from(ctx, &snapshot, &source, &name)?,
            None if is_fork => {
                return Err("data PVC not available (possibly waiting for copy trigger)".to_owned());
            }
            None => return Ok(Progress::Waits),
        }
    };
    Ok(finished(mover.run(ctx, stage, &data)?, machine))
}

/// One look at a restore, whose outcome is an image.
fn restore(ctx: &mut Context<'_>, stage: &mut Stage<'_>, mover: &Mover<'_>, machine: &mut Machine) -> Step {
    let given = stage.text("destinationPVC").to_owned();
    let data = if given.is_empty() {
        let name = format!("volsync-{}-dest", object::name(stage.owner));
        let temporary = stage.spec.get("cleanupTempPVC") == Some(&Value::Bool(true));
        stage.new_claim(ctx, &name, temporary, ["capacity", "storageClassName", "accessModes"])?
    } else {
        job::claim(ctx, stage.namespace(), &given)?
    };
    if finished(mover.run(ctx, stage, &data)?, machine) == Progress::Waits {
        return Ok(Progress::Waits);
    }
    let image = if matches!(stage.text("copyMethod"), "Direct" | "None") {
        json!({"apiGroup": "", "kind": CLAIMS.kind, "name": object::name(&data)})
    } else {
        let Some(snapshot) = stage.image(ctx, &data)? else { return Ok(Progress::Waits) };
        json!({"apiGroup": SNAPSHOT_GROUP, "kind": SNAPSHOTS.kind, "name": object::name(&snapshot)})
    };
    let old = machine.status.insert("latestImage".to_owned(), image.clone()).unwrap_or_default();
    let superseded = object::text(&old, "/name");
    if object::text(&old, "/kind") == SNAPSHOTS.kind && superseded != object::text(&image, "/name") {
        let patch = Patch::Merge(json!({"metadata": {"labels": {stage::CLEANUP: object::uid(stage.owner)}}}));
        // An old image that somebody has deleted needs no mark.
        let _ = ctx.patch(SNAPSHOTS, stage.namespace(), superseded, Part::Object, &patch);
    }
    Ok(Progress::Complete)
}

fn clean_up(ctx: &mut Context<'_>, stage: &Stage<'_>, direction: Direction) -> Step {
    if direction == Direction::Destination {
        let claim = match stage.text("destinationPVC") {
            "" => format!("volsync-{}-dest", object::name(stage.owner)),
            given => given.to_owned(),
        };
        stage::forget_image(ctx, stage.namespace(), &claim)?;
    }
    stage.clean_up(ctx)
}

/// Notes how the mover ended.
fn finished(ended: Ended, machine: &mut Machine) -> Progress {
    let (progress, result, logs) = match ended {
        Ended::NotYet => return Progress::Waits,
        Ended::Well(logs) => (Progress::Complete, "Successful", logs),
        Ended::Badly(logs) => (Progress::Waits, "Failed", logs),
    };
    machine.status.insert("latestMoverStatus".to_owned(), json!({"result": result, "logs": logs}));
    progress
}

impl Actor for VolSync {
    fn name(&self) -> &'static str {
        "manager"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[REPLICATION_SOURCES, REPLICATION_DESTINATIONS, SNAPSHOTS, CLAIMS, JOBS, STORAGE_CLASSES]
    }

    fn start(&mut self, _ctx: &mut Context<'_>) {}

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        let (resource, object) = (change.resource, &*change.object);
        let key = object::key(object);
        if resource == REPLICATION_SOURCES {
            return self.add(ctx, Work::Source(key));
        } else if resource == REPLICATION_DESTINATIONS {
            self.waiting_claims(ctx, Some(&key.0));
            return self.add(ctx, Work::Destination(key));
        } else if resource == STORAGE_CLASSES {
            return self.waiting_claims(ctx, None);
        } else if resource == CLAIMS {
            self.claim_changed(ctx, change);
        }
        let Some(owner) = owned::controller(object) else { return };
        let name = (key.0, object::text(owner, "/name").to_owned());
        if !object::text(owner, "/apiVersion").starts_with(VOLSYNC_GROUP) {
            return;
        }
        match object::text(owner, "/kind") {
            "ReplicationSource" => self.add(ctx, Work::Source(name)),
            "ReplicationDestination" => self.add(ctx, Work::Destination(name)),
            _ => {}
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        let Some(work) = self.keys.timer(timer) else { return };
        let now = ctx.now().mono;
        let held = self.client.wait(now);
        if !held.is_zero() {
            return self.keys.add_after(ctx, work, held);
        }
        let outcome = self.look(ctx, &work);
        for _ in 0..ctx.writes() {
            self.client.reserve(now);
        }
        match outcome {
            Ok(again) => {
                self.keys.forget(&work);
                if let Some(after) = again {
                    self.keys.add_after(ctx, work, after);
                }
            }
            Err(words) => {
                ctx.log(format!("{}\tERROR\tReconciler error\t{{\"error\": \"{words}\"}}", ctx.now().wall));
                self.keys.failed(ctx, work);
            }
        }
    }
}
