//! A pod's status, from its containers: phase, conditions and all that kubelet reports.
//!
//! There are no probes: a container that runs is started and ready.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::conditions;
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
        conditions: Some(conditions(pod, before, facts.containers, phase, now)),
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
    let main = || containers.iter().filter(|container| container.kind == Kind::Main);
    let ended = facts.stopped || is_over(containers);
    if ended && containers.iter().any(|container| container.process.is_some()) {
        return "Running"; // sidecars are the last to end
    }
    if ended {
        let well = main()
            .all(|container| container.state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code == 0));
        return if well { "Succeeded" } else { "Failed" };
    }
    if main().all(Container::has_run) { "Running" } else { "Pending" }
}

/// Whether no main container will be started again.
pub fn is_over(containers: &[Container]) -> bool {
    let failed = |one: &Container| one.kind == Kind::Init && one.is_done() && !one.has_succeeded();
    let done = |one: &Container| one.kind != Kind::Main || one.is_done();
    containers.iter().all(done) || containers.iter().any(failed)
}

/// Whether this phase is a pod's last.
pub fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::ContainerStateTerminated;
    use rustix::process::Pid;
    use serde_json::json;

    use super::*;
    use crate::failure::Failure;
    use crate::run::now;

    /// A pod with the init container `init`, the sidecar `side` and the main containers `a` and `b`.
    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web", "generation": 3}, "spec": {
            "restartPolicy": policy,
            "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        }}))
        .unwrap()
    }

    /// The containers of the pod after `name+` (it started), `name=CODE` (it ended) and `name?` (it cannot start).
    fn after(pod: &Pod, story: &str) -> Vec<Container> {
        let mut containers = Container::all(pod, &now());
        for step in story.split_whitespace() {
            let (name, event) = step.split_at(step.find(['+', '=', '?']).unwrap());
            let one = containers.iter_mut().find(|one| one.spec.name == name).unwrap();
            match event {
                "+" => one.started(Pid::from_raw(1), format!("process://{name}"), now()),
                "?" => assert!(one.failed(&Failure::config("no such secret"))),
                code => {
                    let exit_code = code[1..].parse().unwrap();
                    one.ended(ContainerStateTerminated { exit_code, ..Default::default() }, "web", true);
                }
            }
        }
        containers
    }

    #[test]
    fn a_story_of_containers_makes_a_phase_and_conditions() {
        let all = "init+ init=0 side+ a+ b+";
        for (policy, story, phase, initialized, ready) in [
            ("Always", "", "Pending", "False", "False"),
            ("Always", "init+", "Pending", "False", "False"),
            ("Always", "init+ init=0", "Pending", "False", "False"),
            ("Always", "init+ init=0 side+", "Pending", "True", "False"),
            ("Always", "init+ init=0 side+ a+", "Pending", "True", "False"),
            ("Always", "init+ init=0 side+ a+ b?", "Pending", "True", "False"),
            ("Always", all, "Running", "True", "True"),
            ("Always", &format!("{all} a=1"), "Running", "True", "False"),
            ("Always", &format!("{all} a=1 a+"), "Running", "True", "True"),
            ("Always", &format!("{all} a=1 a+ a=1"), "Running", "True", "False"),
            ("Always", &format!("{all} a=0 b=0"), "Running", "True", "False"),
            ("Always", "init+ init=1", "Pending", "False", "False"),
            ("Never", "init+ init=1", "Failed", "False", "False"),
            ("Never", &format!("{all} a=0"), "Running", "True", "False"),
            ("Never", &format!("{all} a=0 b=0"), "Running", "True", "False"),
            ("Never", &format!("{all} a=0 b=0 side=143"), "Succeeded", "True", "False"),
            ("Never", &format!("{all} a=0 b=2 side=143"), "Failed", "True", "False"),
            ("OnFailure", &format!("{all} a=0 b=2"), "Running", "True", "False"),
            ("OnFailure", &format!("{all} a=0 b=2 b+ b=0 side=0"), "Succeeded", "True", "False"),
        ] {
            let pod = pod(policy);
            let facts = Facts { containers: &after(&pod, story), stopped: false };
            let status = status(&pod, &PodStatus::default(), facts, &now());
            let conditions: BTreeMap<_, _> =
                status.conditions.iter().flatten().map(|one| (one.type_.as_str(), one.status.as_str())).collect();
            assert_eq!(status.phase.as_deref(), Some(phase), "{policy}: {story}");
            assert_eq!(conditions["Initialized"], initialized, "{policy}: {story}");
            assert_eq!([conditions["Ready"], conditions["ContainersReady"]], [ready; 2], "{policy}: {story}");
            assert_eq!(status.observed_generation, Some(3));
        }
    }

    #[test]
    fn a_pod_that_was_stopped_is_over_whatever_its_policy() {
        let pod = pod("Always");
        for (story, expected) in [
            ("init+ init=0 side+ a+ b+ a=0 b=0 side=0", "Succeeded"),
            ("init+ init=0 side+ a+ b+ a=0 b=137 side=0", "Failed"),
            ("", "Failed"),
        ] {
            assert_eq!(phase(Facts { containers: &after(&pod, story), stopped: true }), expected, "{story}");
        }
    }

    #[test]
    fn a_container_that_ends_again_waits_and_keeps_its_last_end() {
        let pod = pod("Always");
        let containers = after(&pod, "a+ a=1");
        let state = of_container(&containers[2]);
        assert!(state.state.unwrap().terminated.is_some() && state.last_state.unwrap().terminated.is_none());
        let containers = after(&pod, "a+ a=1 a+ a=3");
        let state = of_container(&containers[2]);
        let waiting = state.state.unwrap().waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(waiting.message.as_deref(), Some("back-off 10s restarting failed container=a pod=web"));
        assert_eq!(state.last_state.unwrap().terminated.unwrap().exit_code, 3);
        assert_eq!((state.restart_count, state.ready, state.started), (1, false, Some(false)));
    }

    #[test]
    fn a_new_life_finds_what_ran_ended() {
        let mut pod = pod("Always");
        let facts = |containers| Facts { containers, stopped: false };
        let containers = after(&pod, "init+ init=0 side+ a+ b+ b=1 b+");
        pod.status = Some(status(&pod, &PodStatus::default(), facts(&containers), &now()));
        let containers = Container::all(&pod, &now());
        assert!(containers[0].has_succeeded());
        let ended = containers[3].state.terminated.as_ref().unwrap();
        assert_eq!((ended.exit_code, ended.reason.as_deref()), (255, Some("Unknown")));
        assert_eq!((containers[3].restarts, containers[3].next_attempt(), containers[2].next_attempt()), (1, 2, 1));
    }

    #[test]
    fn what_stays_true_keeps_its_time_and_what_others_say_is_kept() {
        let mut pod = pod("Always");
        let containers = after(&pod, "init+ init=0 side+ a+ b+");
        let facts = Facts { containers: &containers, stopped: false };
        let early = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let before = status(&pod, &PodStatus::default(), facts, &early);
        let other = json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}, {"type": "Ready", "status": "False"}]});
        pod.status = Some(serde_json::from_value(other).unwrap());
        let again = status(&pod, &before, facts, &now());
        let find = |kind: &str| again.conditions.iter().flatten().find(|one| one.type_ == kind).unwrap();
        assert_eq!(find("DisruptionTarget").status, "True");
        assert_eq!(
            (find("Ready").status.as_str(), find("Ready").last_transition_time.as_ref()),
            ("True", Some(&early))
        );
        assert_eq!(again.start_time, Some(early));
    }
}
