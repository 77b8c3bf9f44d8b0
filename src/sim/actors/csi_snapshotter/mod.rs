//! csi-snapshotter: the sidecar that has the driver cut and delete snapshots.
//!
//! It looks at a content when the content changes in a way that it cares for, and at every content each 15
//! minutes. Which changes it cares for differs between its versions, and each time it missed one, snapshots
//! stayed for ever in somebody's cluster; hence [`Release`].

mod calls;
mod create;
mod delete;
mod sync;

use std::time::Duration;

use serde_json::Value;

use self::sync::Sidecar;
use super::informer::{Informers, Versions};
use super::object;
use super::snapshots::{BEING_CREATED, is_ready};
use super::workers::Workers;
use crate::sim::election::{self, Elector, Turn};
use crate::sim::process::{Actor, Body, Context, Message, ProcessId};
use crate::sim::recorder::Recorder;
use crate::sim::store::table::{CONTENTS, Resource, SNAPSHOT_CLASSES};
use crate::sim::store::{Change, ChangeKind};
use crate::sim::task::{Shared, Tasks};
use crate::sim::work_queue::Backoff;

/// A release line, as far as its mistakes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 8.0 to 8.2: a resync is dropped as no change, and a finalizer that could not be removed is forgotten.
    V8_0,
    /// 8.3 to 8.5: a deletion that comes while the snapshot is being cut waits for the resync.
    V8_3,
    /// 8.6 and later: that is looked at, unless its own next write gets in between.
    V8_6,
}

/// The flags of the sidecar.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which release it is.
    pub release: Release,
    /// The driver's name, as it gives it.
    pub driver: String,
    /// `--timeout`.
    pub timeout: Duration,
    /// `--resync-period`.
    pub resync: Duration,
    /// `--retry-interval-start` and `--retry-interval-max`.
    pub backoff: Backoff,
    /// `--worker-threads`.
    pub workers: usize,
    /// `--leader-election`; without it there is no lease, and every replica works.
    pub election: Option<election::Options>,
}

impl Options {
    /// The defaults, for a driver, with an election in `namespace` under this host name.
    #[must_use]
    pub fn new(driver: &str, namespace: &str, host: &str) -> Self {
        let lock = format!("external-snapshotter-leader-{}", driver.replace('/', "-"));
        Self {
            release: Release::V8_6,
            driver: driver.to_owned(),
            timeout: Duration::from_secs(60),
            resync: Duration::from_secs(15 * 60),
            backoff: Backoff::default(),
            workers: 10,
            election: Some(election::Options::new(lock, namespace, host)),
        }
    }
}

/// The process.
pub struct CsiSnapshotter {
    options: Options,
    socket: ProcessId,
    sidecar: Sidecar,
    workers: Workers<String>,
    /// The connection to the driver, which it waits for before anything else.
    probe: Tasks<()>,
    elector: Option<Elector>,
    works: bool,
    resync: Option<u64>,
}

impl CsiSnapshotter {
    /// A sidecar whose driver listens in the process `socket`.
    #[must_use]
    pub fn new(options: Options, socket: ProcessId) -> Self {
        let recorder = Recorder::new(format!("csi-snapshotter {}", options.driver));
        let sidecar = Sidecar {
            release: options.release,
            driver: options.driver.clone(),
            timeout: options.timeout,
            socket,
            informers: Shared::new(Informers::default()),
            contents: Shared::new(Versions::default()),
            recorder: Shared::new(recorder),
        };
        let workers = {
            let sidecar = sidecar.clone();
            Workers::new(options.workers, options.backoff, move |key, desk| sidecar.clone().sync_key(key, desk))
        };
        let elector = options.election.clone().map(Elector::new);
        let probe = Tasks::default();
        Self { options, socket, sidecar, workers, probe, elector, works: false, resync: None }
    }

    fn connected(&mut self, ctx: &mut Context<'_>) {
        ctx.klog('I', "main.go:196", &format!("CSI driver name: \"{}\"", self.options.driver));
        match &mut self.elector {
            None => self.begin(ctx),
            Some(elector) => {
                let turn = elector.start(ctx);
                self.turn(ctx, turn);
            }
        }
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

    /// Its controller starts: what is there is looked at first.
    fn begin(&mut self, ctx: &mut Context<'_>) {
        self.works = true;
        ctx.klog('I', "snapshot_controller_base.go:155", "Starting CSI snapshotter");
        let contents = self.sidecar.informers.with(|informers| informers.list(CONTENTS).cloned().collect::<Vec<_>>());
        for content in contents {
            self.workers.add(ctx, object::name(&content).to_owned());
        }
        self.resync = Some(ctx.set_timer(self.options.resync));
    }

    /// The informer shows everything once more, as if it had been updated.
    fn show_again(&mut self, ctx: &mut Context<'_>) {
        self.resync = Some(ctx.set_timer(self.options.resync));
        let contents = self.sidecar.informers.with(|informers| informers.list(CONTENTS).cloned().collect::<Vec<_>>());
        for content in contents {
            if should_enqueue(self.options.release, &content, &content) {
                self.workers.add(ctx, object::name(&content).to_owned());
            }
        }
    }
}

impl Actor for CsiSnapshotter {
    fn name(&self) -> &'static str {
        "csi-snapshotter"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[SNAPSHOT_CLASSES, CONTENTS]
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        ctx.klog('I', "main.go:110", "Version: v8");
        let (socket, timeout) = (self.socket, self.options.timeout);
        self.probe.spawn(ctx, |desk| calls::connect(desk, socket, timeout));
    }

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        let before = self.sidecar.informers.with(|informers| informers.apply(change));
        if !self.works || change.resource != CONTENTS {
            return;
        }
        let wanted = match (change.kind, &before) {
            (ChangeKind::Modified, Some(before)) => should_enqueue(self.options.release, before, &change.object),
            _ => true,
        };
        if wanted {
            self.workers.add(ctx, object::name(&change.object).to_owned());
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.resync == Some(timer) {
            return self.show_again(ctx);
        }
        if self.probe.timer(ctx, timer).is_some() {
            return self.connected(ctx);
        }
        if let Some(elector) = &mut self.elector {
            let turn = elector.timer(ctx, timer);
            self.turn(ctx, turn);
        }
        self.workers.timer(ctx, timer);
    }

    fn message(&mut self, ctx: &mut Context<'_>, message: Message) {
        match message.body {
            Body::Answer { id, result } => {
                if self.probe.answered(ctx, id, result.clone()).is_some() {
                    return self.connected(ctx);
                }
                self.workers.answered(ctx, id, result);
            }
            Body::ConnectionLost if message.from == self.socket => {
                ctx.klog('E', "connection.go:142", "Lost connection to CSI driver, exiting");
                ctx.exit(1);
            }
            Body::ConnectionLost | Body::Call { .. } | Body::Exited { .. } => {}
        }
    }
}

/// Whether a change of a content is one that the sidecar works on.
fn should_enqueue(release: Release, old: &Value, new: &Value) -> bool {
    if object::version(old) == object::version(new) {
        return release >= Release::V8_3;
    }
    if release >= Release::V8_6 && !is_ready(old) && is_ready(new) {
        return true;
    }
    counts_differ(old, new)
}

/// Two versions of a content differ in more than what the sidecar takes for its own doing.
fn counts_differ(old: &Value, new: &Value) -> bool {
    let metadata = |content| Value::get(content, "metadata");
    // No annotations and none left are the same.
    let annotations = |content| metadata(content).and_then(|metadata| metadata.get("annotations"));
    differ(Some(old), Some(new), &["status", "metadata"])
        || differ(metadata(old), metadata(new), &["resourceVersion", "managedFields", "finalizers", "annotations"])
        || differ(annotations(old), annotations(new), &[BEING_CREATED])
}

fn differ(old: Option<&Value>, new: Option<&Value>, but: &[&str]) -> bool {
    let [old, new] = [old, new].map(|fields| {
        let fields = fields.and_then(Value::as_object).into_iter().flatten();
        fields.filter(|(key, _)| !but.contains(&key.as_str()))
    });
    old.ne(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "written where it is used")]
    fn content(version: u64, annotations: Value, status: Value) -> Value {
        json!({"metadata": {"name": "c", "resourceVersion": version.to_string(), "annotations": annotations}, "status": status})
    }

    #[test]
    fn each_release_drops_other_changes() {
        let cutting = content(1, json!({BEING_CREATED: "yes"}), json!({"readyToUse": false}));
        let ready = content(2, json!({BEING_CREATED: "yes"}), json!({"readyToUse": true}));
        let released = content(3, json!({}), json!({"readyToUse": true}));
        let nudged = content(4, json!({"example/nudge": "1"}), json!({"readyToUse": true}));
        let wanted = |old: &Value, new: &Value| {
            [Release::V8_0, Release::V8_3, Release::V8_6].map(|release| should_enqueue(release, old, new))
        };
        assert_eq!(wanted(&cutting, &ready), [false, false, true], "it became ready");
        assert_eq!(wanted(&ready, &released), [false; 3], "its own annotation went");
        assert_eq!(wanted(&released, &nudged), [true; 3], "somebody's annotation came");
        assert_eq!(wanted(&nudged, &nudged), [false, true, true], "a resync");
        let mut deleting = nudged.clone();
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        deleting["metadata"]["resourceVersion"] = json!("5");
        assert_eq!(wanted(&nudged, &deleting), [true; 3], "it was deleted");
    }
}
