//! A pod's status, from its containers: phase, conditions and all that kubelet reports.
//!
//! There are no probes: a container that runs is started and ready.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::container::{Container, Kind};
use crate::downward::ADDRESS;

/// What the status is made from, besides the pod.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub containers: &'a [Container],
    /// Whether the pod is being deleted and nothing of it will be started again.
    pub stopped: bool,
}

/// The status of a pod; times of what has not changed are those of `before`.
pub fn status(pod: &Pod, before: &PodStatus, facts: Facts<'_>, now: &Time) -> PodStatus {
    let phase = phase(facts);
    let (init, main): (Vec<_>, Vec<_>) = facts.containers.iter().partition(|container| container.kind != Kind::Main);
    let reported = pod.status.clone().unwrap_or_default();
    let some = |statuses: Vec<ContainerStatus>| (!statuses.is_empty()).then_some(statuses);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(&reported, before, facts, phase, now, pod.metadata.generation)),
        host_ip: Some(ADDRESS.to_owned()),
        host_ips: Some(vec![HostIP { ip: ADDRESS.to_owned() }]),
        pod_ip: Some(ADDRESS.to_owned()),
        pod_ips: Some(vec![PodIP { ip: ADDRESS.to_owned() }]),
        start_time: before.start_time.clone().or_else(|| reported.start_time.clone()).or_else(|| Some(now.clone())),
        init_container_statuses: some(init.into_iter().map(of_container).collect()),
        container_statuses: some(main.into_iter().map(of_container).collect()),
        observed_generation: pod.metadata.generation,
        ..reported
    }
}

fn of_container(container: &Container) -> ContainerStatus {
    let running = container.is_running();
    let ready = running || (container.kind == Kind::Init && container.has_succeeded());
    let image = container.spec.image.clone().unwrap_or_default();
    ContainerStatus {
        name: container.spec.name.clone(),
        image_id: if container.id.is_some() { image.clone() } else { String::new() },
        image,
        container_id: container.id.clone(),
        ready,
        started: Some(running),
        restart_count: container.restarts,
        state: Some(container.state.clone()),
        last_state: Some(ContainerState { terminated: container.last.clone(), ..ContainerState::default() }),
        ..ContainerStatus::default()
    }
}

/// The phase, by the rules that the API's documentation gives.
pub fn phase(facts: Facts<'_>) -> &'static str {
    let containers = facts.containers;
    let init_failed = containers
        .iter()
        .any(|container| container.kind == Kind::Init && container.is_done() && !container.has_succeeded());
    let main = || containers.iter().filter(|container| container.kind == Kind::Main);
    let ended = facts.stopped || init_failed || main().all(Container::is_done);
    if ended && containers.iter().any(|container| container.process.is_some()) {
        return "Running"; // sidecars are the last to end
    }
    if ended {
        let well = main()
            .all(|container| container.state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code == 0));
        return if well { "Succeeded" } else { "Failed" };
    }
    let has_begun = |container: &Container| container.state.waiting.is_none() || container.last.is_some();
    if initialized(containers) && main().all(has_begun) { "Running" } else { "Pending" }
}

/// Whether the init containers let the others start.
pub fn initialized(containers: &[Container]) -> bool {
    containers.iter().all(|container| match container.kind {
        Kind::Init => container.has_succeeded(),
        Kind::Sidecar => container.is_running() || container.last.is_some(),
        Kind::Main => true,
    })
}

fn conditions(
    reported: &PodStatus,
    before: &PodStatus,
    facts: Facts<'_>,
    phase: &str,
    now: &Time,
    generation: Option<i64>,
) -> Vec<PodCondition> {
    let containers = facts.containers;
    let over = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let names = |fits: &dyn Fn(&Container) -> bool| {
        let names: Vec<_> = containers.iter().filter(|one| fits(one)).map(|one| one.spec.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    };
    let incomplete = names(&|one| match one.kind {
        Kind::Init => !one.has_succeeded(),
        Kind::Sidecar => !one.is_running() && one.last.is_none(),
        Kind::Main => false,
    });
    let unready = names(&|one| one.kind != Kind::Init && !one.is_running());
    let ready = || match (over, &unready) {
        (Some(reason), _) => Verdict::no(reason, None),
        (None, Some(names)) => {
            Verdict::no("ContainersNotReady", Some(format!("containers with unready status: [{names}]")))
        }
        (None, None) => Verdict::YES,
    };
    let initialized = match (phase, incomplete) {
        ("Succeeded", _) => Verdict { reason: Some("PodCompleted"), ..Verdict::YES },
        (_, Some(names)) => {
            let text = format!("containers with incomplete status: [{names}]");
            Verdict::no("ContainersNotInitialized", Some(text))
        }
        (_, None) => Verdict::YES,
    };
    let sandbox = containers.iter().any(|one| one.id.is_some()) && over.is_none();
    let ours = [
        ("PodReadyToStartContainers", if sandbox { Verdict::YES } else { Verdict { is: false, ..Verdict::YES } }),
        ("Initialized", initialized),
        ("Ready", ready()),
        ("ContainersReady", ready()),
        ("PodScheduled", Verdict::YES),
    ];
    let mut conditions: Vec<_> = reported.conditions.iter().flatten().cloned().collect();
    conditions.retain(|condition| ours.iter().all(|(kind, _)| condition.type_ != *kind));
    let known = |kind: &str| {
        let mut both = before.conditions.iter().flatten().chain(reported.conditions.iter().flatten());
        both.find(|condition| condition.type_ == kind)
    };
    let made = ours.into_iter().map(|(kind, verdict)| verdict.condition(kind, known(kind), now, generation));
    made.chain(conditions).collect()
}

/// What a condition says.
struct Verdict {
    is: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    const YES: Self = Self { is: true, reason: None, message: None };

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { is: false, reason: Some(reason), message }
    }

    fn condition(
        self,
        kind: &str,
        known: Option<&PodCondition>,
        now: &Time,
        observed_generation: Option<i64>,
    ) -> PodCondition {
        let status = if self.is { "True" } else { "False" };
        let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.map(ToOwned::to_owned),
            message: self.message,
            last_transition_time: since.or_else(|| Some(now.clone())),
            observed_generation,
            ..PodCondition::default()
        }
    }
}

/// Whether a pod's work is over for good.
pub fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}
