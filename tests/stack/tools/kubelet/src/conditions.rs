//! A pod's conditions: which of its containers keep it from being initialized or ready, and since when.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::container::{Container, Kind};

/// Kubelet's conditions, then those that others have set.
pub fn conditions(
    pod: &Pod,
    before: &PodStatus,
    containers: &[Container],
    phase: &str,
    now: &Time,
) -> Vec<PodCondition> {
    let has_sandbox = matches!(phase, "Pending" | "Running") && containers.iter().any(Container::has_run);
    let ours = [
        ("PodReadyToStartContainers", if has_sandbox { Verdict::YES } else { Verdict::NO }),
        ("Initialized", initialized(containers, phase)),
        ("Ready", ready(containers, phase)),
        ("ContainersReady", ready(containers, phase)),
        ("PodScheduled", Verdict::YES),
    ];
    let reported = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let of_others = reported().filter(|one| ours.iter().all(|(kind, _)| one.type_ != *kind)).cloned();
    let of_others: Vec<_> = of_others.collect();
    let condition = |(kind, verdict): (&str, Verdict)| {
        let known = before.conditions.iter().flatten().chain(reported()).find(|one| one.type_ == kind);
        PodCondition { observed_generation: pod.metadata.generation, ..verdict.condition(kind, known, now) }
    };
    ours.into_iter().map(condition).chain(of_others).collect()
}

fn ready(containers: &[Container], phase: &str) -> Verdict {
    match (phase, names(containers, |one| one.kind != Kind::Init && !one.is_running())) {
        ("Succeeded", _) => Verdict { reason: Some("PodCompleted"), ..Verdict::NO },
        ("Failed", _) => Verdict { reason: Some("PodFailed"), ..Verdict::NO },
        (_, Some(names)) => {
            Verdict::because("ContainersNotReady", format!("containers with unready status: [{names}]"))
        }
        (_, None) => Verdict::YES,
    }
}

fn initialized(containers: &[Container], phase: &str) -> Verdict {
    match (phase, names(containers, Container::holds_the_rest)) {
        ("Succeeded", _) => Verdict { reason: Some("PodCompleted"), ..Verdict::YES },
        (_, Some(names)) => {
            Verdict::because("ContainersNotInitialized", format!("containers with incomplete status: [{names}]"))
        }
        (_, None) => Verdict::YES,
    }
}

/// The names of the containers that fit, if any does.
fn names(containers: &[Container], fits: impl Fn(&Container) -> bool) -> Option<String> {
    let names: Vec<_> = containers.iter().filter(|one| fits(one)).map(|one| one.spec.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// What a condition says.
struct Verdict {
    is: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    const YES: Self = Self { is: true, reason: None, message: None };
    const NO: Self = Self { is: false, reason: None, message: None };

    fn because(reason: &'static str, message: String) -> Self {
        Self { is: false, reason: Some(reason), message: Some(message) }
    }

    fn condition(self, kind: &str, known: Option<&PodCondition>, now: &Time) -> PodCondition {
        let status = if self.is { "True" } else { "False" };
        let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.map(ToOwned::to_owned),
            message: self.message,
            last_transition_time: since.or_else(|| Some(now.clone())),
            ..PodCondition::default()
        }
    }
}
