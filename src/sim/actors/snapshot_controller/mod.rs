//! snapshot-controller: binds snapshots to contents, guards both, and starts their deletion.
//!
//! It works on what its informers show it and on a record of its own writes. Its two halves (snapshots and
//! contents) wake each other through the queue; the one thing that nobody wakes it for is what a claim does.

mod bind;
mod claims;
mod contents;
mod delete;
mod snapshots;
mod status;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::informer::{Informers, Versions};
use super::object::{self, Key};
use super::workers::{Outcome, Workers};
use crate::sim::election::{self, Elector, Turn};
use crate::sim::process::{Actor, Context};
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::Change;
use crate::sim::store::table::{
    CLAIMS, CONTENTS, GROUP_CONTENTS, GROUP_SNAPSHOTS, Resource, SNAPSHOT_CLASSES, SNAPSHOTS,
};
use crate::sim::task::{Desk, Shared};
use crate::sim::work_queue::Backoff;

/// The flags of the controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// From 8.6 on a deletion that waits for a restore is tried again by itself.
    pub retries_after_restore: bool,
    /// `--resync-period`.
    pub resync: Duration,
    /// `--retry-interval-start` and `--retry-interval-max`.
    pub backoff: Backoff,
    /// `--leader-election`; without it every replica works.
    pub election: Option<election::Options>,
}

impl Options {
    /// The defaults of 8.6, with an election under this host name.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            retries_after_restore: true,
            resync: Duration::from_secs(15 * 60),
            backoff: Backoff::default(),
            election: Some(election::Options::new("snapshot-controller-leader", "kube-system", host)),
        }
    }
}

/// What there is to work on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Snapshot(Key),
    Content(String),
}

/// What the workers share.
#[derive(Clone)]
struct Controller {
    retries_after_restore: bool,
    informers: Shared<Informers>,
    snapshots: Shared<Versions>,
    contents: Shared<Versions>,
    recorder: Shared<Recorder>,
    /// What a worker wants looked at besides its own key.
    wanted: Shared<Vec<Work>>,
}

/// The process.
pub struct SnapshotController {
    options: Options,
    controller: Controller,
    workers: Workers<Work>,
    elector: Option<Elector>,
    works: bool,
    resync: Option<u64>,
}

impl SnapshotController {
    /// A controller with these flags.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let controller = Controller {
            retries_after_restore: options.retries_after_restore,
            informers: Shared::default(),
            snapshots: Shared::default(),
            contents: Shared::default(),
            recorder: Shared::new(Recorder::new("snapshot-controller")),
            wanted: Shared::default(),
        };
        let workers = {
            let controller = controller.clone();
            // Ten for snapshots and ten for contents.
            Workers::new(20, options.backoff, move |work, desk| controller.clone().sync(work, desk))
        };
        let elector = options.election.clone().map(Elector::new);
        Self { options, controller, workers, elector, works: false, resync: None }
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
        ctx.klog('I', "snapshot_controller_base.go:255", "Starting snapshot controller");
        self.controller.record_all();
        self.show_all(ctx);
    }

    /// Everything is looked at: when it begins, and at every resync.
    fn show_all(&mut self, ctx: &mut Context<'_>) {
        self.resync = Some(ctx.set_timer(self.options.resync));
        let all: Vec<Work> = self.controller.informers.with(|informers| {
            let snapshots = informers.list(SNAPSHOTS).map(|snapshot| Work::Snapshot(object::key(snapshot)));
            let contents = informers.list(CONTENTS).map(|content| Work::Content(object::name(content).to_owned()));
            snapshots.chain(contents).collect()
        });
        for work in all {
            self.workers.add(ctx, work);
        }
    }

    fn add_wanted(&mut self, ctx: &mut Context<'_>) {
        for work in self.controller.wanted.with(std::mem::take) {
            self.workers.add(ctx, work);
        }
    }
}

impl Actor for SnapshotController {
    fn name(&self) -> &'static str {
        "snapshot-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[SNAPSHOT_CLASSES, CLAIMS, GROUP_SNAPSHOTS, GROUP_CONTENTS, SNAPSHOTS, CONTENTS]
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
        self.controller.informers.with(|informers| informers.apply(change));
        if !self.works {
            return;
        }
        if change.resource == SNAPSHOTS {
            self.workers.add(ctx, Work::Snapshot(object::key(&change.object)));
        } else if change.resource == CONTENTS {
            self.workers.add(ctx, Work::Content(object::name(&change.object).to_owned()));
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.resync == Some(timer) {
            return self.show_all(ctx);
        }
        if let Some(elector) = &mut self.elector {
            let turn = elector.timer(ctx, timer);
            self.turn(ctx, turn);
        }
        self.workers.timer(ctx, timer);
        self.add_wanted(ctx);
    }
}

impl Controller {
    async fn sync(self, work: Work, desk: Desk) -> Outcome {
        let (what, result) = match &work {
            Work::Snapshot((namespace, name)) => {
                (format!("snapshot \"{namespace}/{name}\""), self.sync_snapshot_key(namespace, name, &desk).await)
            }
            Work::Content(name) => (format!("content \"{name}\""), self.sync_content_key(name, &desk).await),
        };
        let Err(words) = result else { return Outcome::Done };
        let line = format!("could not sync {what}: {words}");
        desk.note(move |ctx| ctx.klog('E', "snapshot_controller_base.go:548", &line));
        Outcome::Again
    }

    /// The record begins with what the informers show.
    fn record_all(&self) {
        self.informers.with(|informers| {
            for (resource, versions) in [(SNAPSHOTS, &self.snapshots), (CONTENTS, &self.contents)] {
                versions.with(|versions| {
                    for object in informers.list(resource) {
                        versions.store(object);
                    }
                });
            }
        });
    }

    fn want(&self, work: Work) {
        self.wanted.with(|wanted| wanted.push(work));
    }

    /// An Event about a snapshot.
    fn say(&self, snapshot: &Arc<Value>, kind: Type, reason: &'static str, message: impl Into<String>, desk: &Desk) {
        let (recorder, snapshot, message) = (self.recorder.clone(), Arc::clone(snapshot), message.into());
        desk.note(move |ctx| {
            recorder.with(|recorder| recorder.event(ctx, (SNAPSHOTS, &snapshot), kind, reason, &message));
        });
    }
}

/// What it says of a write that was refused.
fn update_failed(what: &str, words: &str) -> String {
    format!("snapshot controller failed to update {what} on API server: {words}")
}
