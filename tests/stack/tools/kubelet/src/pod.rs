//! One pod of this node: a task that starts its containers, starts them again, ends them, and says how they fare.
//!
//! Each round compares what there is with what should be, whatever woke it up; a report or a call that is lost costs a
//! round, never the pod.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::api::{PAUSE, call};
use crate::container::{Container, Kind};
use crate::launch;
use crate::machine::Machine;
use crate::prepare::{self, Folder};
use crate::run::{self, Ended, Start, Which};
use crate::status::{self, Facts};

/// How long a pod may take to end if its deletion does not say.
const GRACE: i64 = 30;
/// Nothing is due: a round will come from elsewhere.
const LONG: Duration = Duration::from_secs(3600);

/// Runs a pod until it has vanished from the API; `latest` is closed then.
pub async fn run(machine: Machine, mut latest: watch::Receiver<Arc<Pod>>) {
    let (ends, mut ended) = mpsc::channel(16);
    let pod = latest.borrow_and_update().clone();
    let mut actor = Actor::new(machine, pod, ends);
    actor.report().await; // so that the API hears of the pod before its containers have started
    loop {
        let wake = actor.round().await;
        tokio::select! {
            changed = latest.changed() => match changed {
                Ok(()) => actor.see(latest.borrow_and_update().clone()),
                Err(_) => break,
            },
            Some(end) = ended.recv() => actor.ended(end),
            () = tokio::time::sleep_until(wake) => {}
        }
    }
    actor.signal(Signal::KILL, |_| true);
    while actor.containers.iter().any(|container| container.process.is_some()) {
        let Some(end) = ended.recv().await else { break };
        actor.ended(end);
    }
    actor.leave();
}

struct Actor {
    machine: Machine,
    pod: Arc<Pod>,
    containers: Vec<Container>,
    /// The status that the containers amount to.
    status: PodStatus,
    ends: mpsc::Sender<Ended>,
    /// When the containers of a pod that is being deleted are killed.
    deadline: Option<Instant>,
    /// Whether the API has accepted that nothing is left of the pod.
    released: bool,
}

impl Actor {
    fn new(machine: Machine, pod: Arc<Pod>, ends: mpsc::Sender<Ended>) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        // A pod whose work is over stays as it was left.
        let over = status.phase.as_deref().is_some_and(status::is_terminal);
        let containers = if over { Vec::new() } else { Container::all(&pod, &run::now()) };
        Self { machine, pod, containers, status, ends, deadline: None, released: false }
    }

    /// Takes note of the pod as the watch has it, which may be older than the answer to the last report.
    fn see(&mut self, pod: Arc<Pod>) {
        let version =
            |pod: &Pod| pod.metadata.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok());
        if version(&pod) > version(&self.pod) {
            self.pod = pod;
        }
    }

    /// Does what is due; returns when the next thing will be.
    async fn round(&mut self) -> Instant {
        let deleting = self.pod.metadata.deletion_timestamp.is_some();
        let wake = if deleting {
            self.stop()
        } else if status::is_over(&self.containers) {
            self.end_sidecars()
        } else {
            self.start_what_is_due().await
        };
        if !self.report().await {
            return wake.min(Instant::now() + PAUSE);
        }
        if deleting && !self.released && !self.has_processes() {
            self.released = self.release().await;
            if !self.released {
                return wake.min(Instant::now() + PAUSE);
            }
        }
        wake
    }

    fn has_processes(&self) -> bool {
        self.containers.iter().any(|container| container.process.is_some())
    }

    /// Starts containers in their order; returns when the next start is due.
    async fn start_what_is_due(&mut self) -> Instant {
        let mut wake = Instant::now() + LONG;
        for index in 0..self.containers.len() {
            let due = |actor: &Self| actor.containers.get(index).and_then(Container::due);
            if due(self).is_some_and(|due| due <= Instant::now()) {
                self.start(index).await;
            }
            wake = due(self).map_or(wake, |due| wake.min(due));
            if self.containers.get(index).is_some_and(Container::holds_the_rest) {
                break;
            }
        }
        wake
    }

    async fn start(&mut self, index: usize) {
        let name = self.name();
        let Some(container) = self.containers.get_mut(index) else { return };
        let which = Which { pod: &self.pod, spec: &container.spec, index, attempt: container.next_attempt() };
        let started = match prepare::launch(&self.machine, &self.pod, &container.spec).await {
            Ok(launch) => run::start(&self.machine, which, &launch, self.ends.clone()).await,
            Err(failure) => Err(failure),
        };
        let id = run::id(&self.pod, &container.spec.name, which.attempt);
        match started {
            Ok(Start::Running(pid)) => container.started(Some(pid), id, run::now()),
            Ok(Start::Refused(terminated)) => {
                container.started(None, id, run::now());
                self.ended(Ended { index, terminated });
            }
            Err(failure) => {
                if container.failed(&failure) {
                    eprintln!("{name}: container {}: {failure}", container.spec.name);
                }
            }
        }
    }

    /// Takes note of a container's end.
    fn ended(&mut self, end: Ended) {
        let may_restart = self.pod.metadata.deletion_timestamp.is_none() && !status::is_over(&self.containers);
        let pod = self.name();
        if let Some(container) = self.containers.get_mut(end.index) {
            container.ended(end.terminated, &pod, may_restart);
        }
    }

    /// Ends what runs, as the deletion of the pod asks.
    fn stop(&mut self) -> Instant {
        self.end(self.pod.metadata.deletion_grace_period_seconds.unwrap_or(GRACE))
    }

    /// Ends the sidecars of a pod whose work is over.
    fn end_sidecars(&mut self) -> Instant {
        let spec = self.pod.spec.as_ref();
        self.end(spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(GRACE))
    }

    /// Asks the containers to end, sidecars last, and kills what still runs when the time is up; returns that time.
    fn end(&mut self, grace: i64) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(grace.try_into().unwrap_or_default());
        let deadline = self.deadline.map_or(deadline, |known| known.min(deadline));
        self.deadline = Some(deadline);
        if !self.has_processes() {
            return Instant::now() + LONG;
        }
        if deadline <= Instant::now() {
            self.signal(Signal::KILL, |_| true);
            return Instant::now() + LONG; // until their ends are told
        }
        let beside = |container: &Container| container.kind == Kind::Sidecar;
        let only_sidecars = self.containers.iter().filter(|one| one.process.is_some()).all(beside);
        self.signal(Signal::TERM, |container| {
            let asked = container.process.is_some_and(|process| process.asked_to_end);
            !asked && (only_sidecars || !beside(container))
        });
        deadline
    }

    fn signal(&mut self, signal: Signal, whom: impl Fn(&Container) -> bool) {
        for container in self.containers.iter_mut().filter(|container| whom(container)) {
            if let Some(process) = &mut container.process {
                launch::signal(process.pid, signal);
                process.asked_to_end = true;
            }
        }
    }

    /// Tells the API how the pod fares, if it does not know; false if that failed.
    async fn report(&mut self) -> bool {
        if !self.containers.is_empty() {
            let stopped = self.pod.metadata.deletion_timestamp.is_some() && !self.has_processes();
            let facts = Facts { containers: &self.containers, stopped };
            self.status = status::status(&self.pod, &self.status, facts, &run::now());
        }
        let (namespace, name) = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        let uid = self.pod.uid().unwrap_or_default();
        self.machine.pods.set(&namespace, &name, &uid, self.status.clone());
        if self.pod.status.as_ref() == Some(&self.status) {
            return true;
        }
        let patch = json!({"metadata": {"uid": uid}, "status": self.status});
        match call(self.api().patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))).await {
            Ok(pod) => self.pod = Arc::new(pod),
            Err(error) if matches!(error.code(), Some(404 | 409)) => {} // it is gone, which the watch will tell
            Err(error) => {
                eprintln!("{}: cannot report its status: {error}", self.name());
                return false;
            }
        }
        true
    }

    /// Lets go of a pod that nothing is left of; false if that failed.
    async fn release(&self) -> bool {
        let preconditions = Preconditions { uid: self.pod.uid(), resource_version: None };
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let params = params.preconditions(preconditions);
        match call(self.api().delete(&self.pod.name_any(), &params)).await {
            Ok(_) => true,
            Err(error) if matches!(error.code(), Some(404 | 409)) => true,
            Err(error) => {
                eprintln!("{}: cannot finish its deletion: {error}", self.name());
                false
            }
        }
    }

    /// Removes what is left on the machine of a pod that has vanished.
    fn leave(&self) {
        Folder::of(&self.machine, &self.pod).remove();
        let (namespace, name) = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        self.machine.pods.remove(&namespace, &name, &self.pod.uid().unwrap_or_default());
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.machine.client.clone(), &self.pod.namespace().unwrap_or_default())
    }

    /// The pod as kubelet names it in messages.
    fn name(&self) -> String {
        let (namespace, uid) = (self.pod.namespace().unwrap_or_default(), self.pod.uid().unwrap_or_default());
        format!("{}_{namespace}({uid})", self.pod.name_any())
    }
}
