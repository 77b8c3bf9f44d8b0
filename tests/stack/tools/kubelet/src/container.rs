//! One container of a pod as its kubelet remembers it: its state, its last end, and whether and when it is started.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rustix::process::Pid;
use tokio::time::Instant;

use crate::backoff::{Backoff, in_words};
use crate::failure::Failure;

/// How long to wait before a start that failed for want of something is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(3);

/// What a container is for its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Must succeed before the next one starts.
    Init,
    /// An init container that goes on beside the others.
    Sidecar,
    Main,
}

/// When containers of a pod are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// The policy of a pod.
    pub fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// A process of a container.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: Pid,
    pub started: Instant,
    /// Whether SIGTERM has been sent.
    pub asked_to_end: bool,
}

/// A container and how it fares.
#[derive(Debug)]
pub struct Container {
    pub kind: Kind,
    pub spec: Spec,
    pub policy: RestartPolicy,
    pub state: ContainerState,
    /// The end of the run before the present one.
    pub last: Option<ContainerStateTerminated>,
    /// The number of the present run, or of the last one.
    pub restarts: i32,
    pub process: Option<Process>,
    /// The id of the present run, or of the last one.
    pub id: Option<String>,
    /// When it may be started.
    start_at: Instant,
    has_run: bool,
    backoff: Backoff,
}

impl Container {
    /// The containers of a pod, init containers first, taken over from what its status says of them.
    ///
    /// None of them runs: if the status says so, it ended with the kubelet's last life, as on a machine that crashed.
    pub fn all(pod: &Pod, now: &Time) -> Vec<Self> {
        let Some(spec) = &pod.spec else { return Vec::new() };
        let policy = RestartPolicy::of(pod);
        let status = pod.status.clone().unwrap_or_default();
        let init = spec.init_containers.iter().flatten().map(|spec| {
            let sidecar = spec.restart_policy.as_deref() == Some("Always");
            (if sidecar { Kind::Sidecar } else { Kind::Init }, spec)
        });
        let main = spec.containers.iter().map(|spec| (Kind::Main, spec));
        let has_init = spec.init_containers.as_ref().is_some_and(|init| !init.is_empty());
        init.chain(main)
            .map(|(kind, spec)| {
                let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
                Self::take_over(kind, spec, policy, known(&status, &spec.name), reason, now)
            })
            .collect()
    }

    fn take_over(
        kind: Kind,
        spec: &Spec,
        policy: RestartPolicy,
        known: Option<ContainerStatus>,
        reason: &str,
        now: &Time,
    ) -> Self {
        let known = known.unwrap_or_default();
        let id = known.container_id.clone();
        let last = known.last_state.and_then(|state| state.terminated);
        let state = match known.state.unwrap_or_default() {
            ContainerState { terminated: Some(terminated), .. } => terminated_state(terminated),
            ContainerState { running: Some(running), .. } => terminated_state(ContainerStateTerminated {
                container_id: known.container_id,
                exit_code: 255,
                reason: Some("Unknown".to_owned()),
                started_at: running.started_at,
                finished_at: Some(now.clone()),
                ..ContainerStateTerminated::default()
            }),
            _ => waiting(reason, None),
        };
        Self {
            kind,
            spec: spec.clone(),
            policy,
            has_run: last.is_some() || state.terminated.is_some(),
            state,
            last,
            restarts: known.restart_count,
            process: None,
            id,
            start_at: Instant::now(),
            backoff: Backoff::default(),
        }
    }

    /// Whether its last run was the last, unless its pod is deleted first.
    pub fn is_done(&self) -> bool {
        let Some(terminated) = &self.state.terminated else { return false };
        match (self.kind, self.policy) {
            (Kind::Sidecar, _) | (Kind::Main, RestartPolicy::Always) => false,
            (_, RestartPolicy::Never) => true,
            (Kind::Init, _) | (Kind::Main, RestartPolicy::OnFailure) => terminated.exit_code == 0,
        }
    }

    /// Whether it is done and has done well.
    pub fn has_succeeded(&self) -> bool {
        self.is_done() && self.state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code == 0)
    }

    /// Whether a run of it has ever begun.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.state.running.is_some()
    }

    /// When it is to be started, if it is.
    pub fn due(&self) -> Option<Instant> {
        (self.process.is_none() && !self.is_done()).then_some(self.start_at)
    }

    /// Whether the containers after it have to wait for it.
    pub fn holds_the_rest(&self) -> bool {
        match self.kind {
            Kind::Init => !self.has_succeeded(),
            Kind::Sidecar => !self.has_run,
            Kind::Main => false,
        }
    }

    /// The number that its next run will have.
    pub fn next_attempt(&self) -> i32 {
        if self.has_run { self.restarts.saturating_add(1) } else { self.restarts }
    }

    /// A run has begun; `pid` is that of its process, if there is one.
    pub fn started(&mut self, pid: Option<Pid>, id: String, now: Time) {
        self.restarts = self.next_attempt();
        self.has_run = true;
        if let Some(terminated) = self.state.terminated.take() {
            self.last = Some(terminated);
        }
        self.process = pid.map(|pid| Process { pid, started: Instant::now(), asked_to_end: false });
        let running = ContainerStateRunning { started_at: Some(now) };
        self.state = ContainerState { running: Some(running), ..ContainerState::default() };
        self.id = Some(id);
    }

    /// It could not be started, and a later try may do better; false if the last try failed for the same reason.
    pub fn failed(&mut self, failure: &Failure) -> bool {
        if let Some(terminated) = self.state.terminated.take() {
            self.last = Some(terminated);
        }
        self.start_at = Instant::now() + TRY_AGAIN;
        let state = waiting(failure.reason, Some(failure.message.clone()));
        std::mem::replace(&mut self.state, state.clone()) != state
    }

    /// Its process has ended. `pod` is the pod as kubelet names it in messages.
    pub fn ended(&mut self, terminated: ContainerStateTerminated, pod: &str, may_restart: bool) {
        let ran = self.process.take().map_or(Duration::ZERO, |process| process.started.elapsed());
        self.state = terminated_state(terminated);
        if !may_restart || self.is_done() {
            return;
        }
        let wait = self.backoff.after(ran);
        self.start_at = Instant::now() + wait;
        if !wait.is_zero() {
            self.last = self.state.terminated.take();
            let name = &self.spec.name;
            let text = format!("back-off {} restarting failed container={name} pod={pod}", in_words(wait));
            self.state = waiting("CrashLoopBackOff", Some(text));
        }
    }
}

fn known(status: &PodStatus, name: &str) -> Option<ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|known| known.name == name).cloned()
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated_state(terminated: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}
