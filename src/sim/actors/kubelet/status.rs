//! A pod's status as the kubelet writes it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{Container, Ended, Pod, State};
use crate::sim::actors::object;
use crate::sim::actors::workloads::conditions::{self, Said};
use crate::sim::actors::workloads::owned::items;

/// The status of a pod; `live` is the pod as the API has it, whose conditions go on.
pub(super) fn status(pod: &Pod, live: &Value, now: Timestamp, address: &str) -> Value {
    let phase = pod.phase();
    let over = matches!(phase, "Succeeded" | "Failed");
    let started = pod.containers.iter().any(|container| container.process.is_some());
    let mine = if host_network(&pod.object) { address.to_owned() } else { pod_address(&pod.uid) };
    let of = |init: bool| {
        let all = pod.containers.iter().filter(|container| container.init == init);
        let list: Vec<Value> = all.map(|container| container_status(container, pod)).collect();
        (!list.is_empty()).then_some(list)
    };
    json!({
        "phase": phase,
        "conditions": said(pod, live, now, over),
        "hostIP": address,
        "hostIPs": [{"ip": address}],
        "podIP": started.then_some(&mine),
        "podIPs": started.then(|| json!([{"ip": mine}])),
        "startTime": object::seconds(pod.since),
        "initContainerStatuses": of(true),
        "containerStatuses": of(false),
        "qosClass": "BestEffort",
    })
}

fn said(pod: &Pod, live: &Value, now: Timestamp, over: bool) -> Vec<Value> {
    let unready: Vec<&str> = pod
        .containers
        .iter()
        .filter(|container| !container.init && !container.is_running())
        .map(|container| container.name.as_str())
        .collect();
    let initialized = pod.containers.iter().filter(|container| container.init).all(|init| init.process.is_some());
    let sandbox = pod.containers.iter().any(Container::is_running);
    let names = format!("containers with unready status: [{}]", unready.join(" "));
    let (ready, reason, message) = if over {
        ("False", if pod.phase() == "Succeeded" { "PodCompleted" } else { "PodFailed" }, "")
    } else if unready.is_empty() {
        ("True", "", "")
    } else {
        ("False", "ContainersNotReady", names.as_str())
    };
    let truth = |is: bool| if is { "True" } else { "False" };
    let mut conditions = items(live, "/status/conditions").to_vec();
    for (kind, status, reason, message) in [
        ("PodReadyToStartContainers", truth(sandbox), "", ""),
        ("Initialized", truth(initialized), "", ""),
        ("Ready", ready, reason, message),
        ("ContainersReady", ready, reason, message),
        ("PodScheduled", "True", "", ""),
    ] {
        conditions::set(&mut conditions, now, &[], Said { kind, status, reason, message });
    }
    conditions
}

fn container_status(container: &Container, pod: &Pod) -> Value {
    let running = container.is_running();
    let image = object::text(&container.spec, "/image");
    let id = container.process.map(|process| format!("containerd://{}-{}", pod.uid, process.0));
    let state = match &container.state {
        State::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
        State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        State::Running { since } => json!({"running": {"startedAt": object::seconds(*since)}}),
        State::Ended(ended) => terminated(ended, id.as_deref()),
    };
    let last = container.last.as_ref().map_or_else(|| json!({}), |ended| terminated(ended, id.as_deref()));
    let mut status = json!({
        "name": container.name, "image": image, "imageID": "", "ready": running, "started": running,
        "restartCount": container.restarts, "state": state, "lastState": last,
    });
    if let Some(fields) = status.as_object_mut()
        && let Some(id) = id
    {
        fields.insert("containerID".to_owned(), id.into());
        fields.insert("imageID".to_owned(), image.into());
    }
    status
}

fn terminated(ended: &Ended, id: Option<&str>) -> Value {
    let reason = match ended.code {
        0 => "Completed",
        255 => "Unknown",
        _ => "Error",
    };
    json!({"terminated": {"exitCode": ended.code, "reason": reason, "startedAt": object::seconds(ended.started),
        "finishedAt": object::seconds(ended.finished), "containerID": id.unwrap_or_default()}})
}

fn host_network(pod: &Value) -> bool {
    pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true))
}

/// An address that stays the pod's.
fn pod_address(uid: &str) -> String {
    let [third, fourth] = two_bytes(uid);
    format!("10.244.{third}.{fourth}")
}

/// An address that stays the node's.
pub(super) fn node_address(name: &str) -> String {
    let [_, last] = two_bytes(name);
    format!("192.168.1.{}", last.clamp(2, 254))
}

fn two_bytes(text: &str) -> [u8; 2] {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, _, third, fourth] = hash.to_be_bytes();
    [third, fourth]
}
