//! The kubelet of one node: pods become processes, and processes become pod statuses.
//!
//! It never invents an end: a pod that is being deleted goes from the API when its processes are really gone.
//! That is why a frozen driver outlives its pod's deletion, and a lost node keeps its pods in the API.

mod images;
mod mounts;
mod node;
mod pod;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::keys::Keys;
use super::object;
use super::workloads::conditions::{self, Said};
use super::workloads::owned;
use crate::sim::process::{Actor, Body, Context, Message, Place, ProcessId};
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{LEASES, NODES, PODS, Resource};
use crate::sim::store::{Change, ChangeKind, DeleteOptions, Part, Patch};
use crate::sim::task::Shared;
use crate::sim::work_queue::Backoff;
pub use images::{EXIT, Factory, Images, Launch, RUNS_FOR, idle};
use mounts::Missing;
pub use node::Node;
use pod::{Pod, State};

/// How often a node's Lease is renewed here; see [`super::workloads::Silent`].
const RENEWED: Duration = Duration::from_secs(300);
/// Retries of a mount.
const MOUNTS: Backoff = Backoff { start: Duration::from_millis(500), max: Duration::from_secs(122) };
/// How long an image takes that is on the node already, and the start of its containers.
const PULLED: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1500));
/// How long the kubelet takes to see that a container has ended, and to start it again.
const RELISTED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The processes of a node, which live and die with it.
pub(crate) type Processes = Shared<std::collections::BTreeSet<ProcessId>>;

/// The process.
pub struct Kubelet {
    node: String,
    images: Images,
    processes: Processes,
    /// By uid: a pod of the same name that comes later is another one.
    pods: BTreeMap<String, Pod>,
    keys: Keys<String>,
    /// When the grace of a pod is over.
    kills: BTreeMap<u64, String>,
    renewal: Option<u64>,
    recorder: Recorder,
}

impl Kubelet {
    pub(crate) fn new(node: &str, images: Images, processes: Processes) -> Self {
        Self {
            node: node.to_owned(),
            images,
            processes,
            pods: BTreeMap::new(),
            keys: Keys::new(MOUNTS),
            kills: BTreeMap::new(),
            renewal: None,
            recorder: Recorder::new("kubelet"),
        }
    }

    /// Looks at a pod: starts what may start, ends what must end, writes what is.
    fn sync(&mut self, ctx: &mut Context<'_>, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if pod.ending {
            if pod.running().next().is_none() {
                self.finish(ctx, uid);
            }
            return;
        }
        if !pod.mounted && !self.mount(ctx, uid) {
            return self.write(ctx, uid);
        }
        self.start_containers(ctx, uid);
        self.write(ctx, uid);
    }

    /// The volumes; false if some are missing, and then it is tried again later.
    fn mount(&mut self, ctx: &mut Context<'_>, uid: &str) -> bool {
        let Some(pod) = self.pods.get_mut(uid) else { return false };
        let missing = mounts::missing(ctx, &pod.object, &self.node);
        let (reason, message) = match &missing {
            Some(Missing::Config(words)) => ("CreateContainerConfigError", words.clone()),
            _ => ("ContainerCreating", String::new()),
        };
        for container in &mut pod.containers {
            container.state = State::Waiting { reason, message: message.clone() };
        }
        let event = match &missing {
            None => {
                pod.mounted = true;
                let after = ctx.between(PULLED.0, PULLED.1);
                self.keys.add_after(ctx, uid.to_owned(), after);
                pod.pulled = true;
                pod.containers.iter_mut().for_each(|container| container.due = ctx.now().mono + after);
                return false;
            }
            Some(Missing::Later) => None,
            Some(Missing::Mount(words)) => Some(("FailedMount", words.clone())),
            Some(Missing::Config(words)) => Some(("Failed", format!("Error: {words}"))),
        };
        if let Some((reason, words)) = event {
            self.recorder.event(ctx, (PODS, &pod.object), Type::Warning, reason, &words);
        }
        let after = MOUNTS.start.saturating_mul(2_u32.saturating_pow(pod.tries)).min(MOUNTS.max);
        pod.tries += 1;
        self.keys.add_after(ctx, uid.to_owned(), after);
        false
    }

    fn start_containers(&mut self, ctx: &mut Context<'_>, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        for place in pod.startable(ctx.now().mono) {
            let (host_name, peers) = (pod::host_name(&pod.object, &self.node), pod.peers());
            let Some(container) = pod.containers.get_mut(place) else { continue };
            let launch = Launch { pod: &pod.object, container: &container.spec, host_name: &host_name, peers: &peers };
            let actor = self.images.launch(&launch);
            let (namespace, name) = pod.key.clone();
            let place = Place { namespace, pod: name, container: container.name.clone() };
            let process = match container.process {
                Some(process) => {
                    ctx.start(process, actor);
                    process
                }
                None => ctx.spawn(Some(place), actor),
            };
            container.begin(ctx.now().wall, process);
            self.processes.with(|processes| processes.insert(process));
        }
    }

    fn write(&mut self, ctx: &mut Context<'_>, uid: &str) {
        let Some(pod) = self.pods.get(uid) else { return };
        let (namespace, name) = &pod.key;
        let live = ctx.get(PODS, namespace, name).ok().filter(|live| object::uid(live) == uid);
        let Some(live) = live else { return };
        let status = status::status(pod, &live, ctx.now().wall, &status::node_address(&self.node));
        let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
        if ctx.patch(PODS, namespace, name, Part::Status, &patch).is_err() {
            self.keys.failed(ctx, uid.to_owned());
        }
    }

    /// Asks the containers to end, and kills them when the grace is over.
    fn begin_end(&mut self, ctx: &mut Context<'_>, live: &Value) {
        let uid = object::uid(live);
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let grace = owned::number(live, "/metadata/deletionGracePeriodSeconds").unwrap_or_default();
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
        if pod.ending && !grace.is_zero() {
            return;
        }
        pod.ending = true;
        for process in pod.running() {
            if grace.is_zero() { ctx.kill(process) } else { ctx.terminate(process) }
        }
        self.kills.insert(ctx.set_timer(grace), uid.to_owned());
        self.keys.add(ctx, uid.to_owned());
    }

    fn kill(&mut self, ctx: &mut Context<'_>, uid: &str) {
        for process in self.pods.get(uid).into_iter().flat_map(Pod::running) {
            ctx.kill(process);
        }
    }

    fn forget(&mut self, ctx: &mut Context<'_>, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        for process in pod.containers.iter().filter_map(|container| container.process) {
            self.processes.with(|processes| processes.remove(&process));
            ctx.forget(process);
        }
    }

    /// All processes of a pod are gone: the last status, and the API may forget the pod.
    fn finish(&mut self, ctx: &mut Context<'_>, uid: &str) {
        self.write(ctx, uid);
        let Some(pod) = self.pods.get(uid) else { return };
        let only = DeleteOptions { uid: Some(uid.to_owned()), grace_seconds: Some(0), ..DeleteOptions::default() };
        match ctx.delete(PODS, &pod.key.0, &pod.key.1, &only) {
            Err(refusal) if refusal.code != 404 && refusal.code != 409 => self.keys.failed(ctx, uid.to_owned()),
            _ => {}
        }
    }

    fn exited(&mut self, ctx: &mut Context<'_>, process: ProcessId, code: i32) {
        self.processes.with(|processes| processes.remove(&process));
        let now = (ctx.now().wall, ctx.now().mono);
        let seen = ctx.between(RELISTED.0, RELISTED.1);
        for pod in self.pods.values_mut() {
            let mine = |container: &&mut pod::Container| container.process == Some(process);
            let Some(container) = pod.containers.iter_mut().find(mine) else { continue };
            let again = container.end(now, code, &pod.key, &pod.uid);
            if let Some(wait) = again.filter(|_| !pod.ending) {
                self.keys.add_after(ctx, pod.uid.clone(), seen.max(wait));
            }
            let uid = pod.uid.clone();
            // While it waits to start again its status is written at once; else with the look that follows.
            if again.is_some() && !pod.ending {
                return self.write(ctx, &uid);
            }
            return self.keys.add_after(ctx, uid, seen);
        }
    }

    fn renew(&mut self, ctx: &mut Context<'_>) {
        self.renewal = Some(ctx.set_timer(RENEWED));
        let now = object::micros(ctx.now().wall);
        let patch = Patch::Merge(json!({"spec": {"renewTime": now, "holderIdentity": self.node}}));
        // A Lease that cannot be renewed now is renewed next time.
        let _ = ctx.patch(LEASES, "kube-node-lease", &self.node, Part::Object, &patch);
    }

    /// Says that the node is ready, if the API says otherwise.
    fn report(&self, ctx: &mut Context<'_>, node: &Value) {
        if owned::has_condition(node, "Ready") {
            return;
        }
        let mut said = owned::items(node, "/status/conditions").to_vec();
        for (kind, status, reason, message) in [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ] {
            conditions::set(&mut said, ctx.now().wall, &["lastHeartbeatTime"], Said { kind, status, reason, message });
        }
        // The next change of the node brings it here again.
        let _ = ctx.patch(NODES, "", &self.node, Part::Status, &Patch::Merge(json!({"status": {"conditions": said}})));
    }

    fn pod_changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        let pod = &change.object;
        if object::text(pod, "/spec/nodeName") != self.node {
            return;
        }
        let uid = object::uid(pod);
        if change.kind == ChangeKind::Deleted {
            // Whoever forces a pod out of the API forces its processes too.
            self.kill(ctx, uid);
            self.forget(ctx, uid);
            return;
        }
        if !self.pods.contains_key(uid) {
            if owned::is_finished(pod) {
                return;
            }
            self.pods.insert(uid.to_owned(), Pod::new(pod, ctx.now().wall));
            self.keys.add(ctx, uid.to_owned());
        }
        if object::is_deleting(pod) {
            self.begin_end(ctx, pod);
        }
    }
}

impl Actor for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &[NODES, PODS]
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        self.renew(ctx);
    }

    fn changed(&mut self, ctx: &mut Context<'_>, change: &Change) {
        if change.resource == PODS {
            self.pod_changed(ctx, change);
        } else if object::name(&change.object) == self.node && change.kind != ChangeKind::Deleted {
            self.report(ctx, &change.object);
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.renewal == Some(timer) {
            self.renew(ctx);
        } else if let Some(uid) = self.kills.remove(&timer) {
            self.kill(ctx, &uid);
        } else if let Some(uid) = self.keys.timer(timer) {
            self.sync(ctx, &uid);
        }
    }

    fn message(&mut self, ctx: &mut Context<'_>, message: Message) {
        if let Body::Exited { process, code } = message.body {
            self.exited(ctx, process, code);
        }
    }
}
