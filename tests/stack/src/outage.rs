//! How a node is lost and comes back: its processes, and what the API says of it meanwhile.
//!
//! The node lifecycle controller does not run here. What it would write after its 40 s is written at once.

use std::collections::HashSet;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::error::Error;
use crate::stack::Stack;

/// What the node lifecycle controller taints a node with that does not answer.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

impl Stack {
    /// Cuts a node off: its kubelet and all its containers freeze, the Node's conditions become Unknown and its pods
    /// are no longer Ready. Nothing on it ends. [`Self::return_node`] brings it back.
    pub fn lose_node(&self, name: &str) -> Result<(), Error> {
        self.freeze(name)?;
        self.mark_unreachable(name)
    }

    /// Cuts a node's power: as [`Self::lose_node`], but its kubelet and all its containers are killed.
    pub fn kill_node(&self, name: &str) -> Result<(), Error> {
        for pid in self.freeze(name)? {
            signal(pid, Signal::KILL);
        }
        self.process(&kubelet(name))?.kill()?;
        self.mark_unreachable(name)
    }

    /// Brings back a node that was lost or killed, and waits until its kubelet says that it is ready.
    pub fn return_node(&self, name: &str) -> Result<(), Error> {
        let process = self.process(&kubelet(name))?;
        match process.pid().and_then(as_pid) {
            Some(root) => {
                for pid in descendants(root) {
                    signal(pid, Signal::CONT);
                }
                process.resume()?;
            }
            None => process.start()?,
        }
        self.wait_node(name)
    }

    /// Freezes a node's processes, parents first: what is frozen starts nothing more.
    fn freeze(&self, name: &str) -> Result<HashSet<Pid>, Error> {
        let process = self.process(&kubelet(name))?;
        process.pause()?;
        let Some(root) = process.pid().and_then(as_pid) else { return Ok(HashSet::new()) };
        let mut frozen = HashSet::new();
        loop {
            let found = descendants(root);
            if found.is_subset(&frozen) {
                return Ok(frozen);
            }
            for pid in found.difference(&frozen) {
                signal(*pid, Signal::STOP);
            }
            frozen.extend(found);
        }
    }

    /// What the node lifecycle controller writes of a node that has not been heard of for 40 s.
    fn mark_unreachable(&self, name: &str) -> Result<(), Error> {
        let now = now();
        let node = self.node(name)?;
        let mut conditions = node.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
        for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            condition.insert("status".to_owned(), json!("Unknown"));
            condition.insert("reason".to_owned(), json!("NodeStatusUnknown"));
            condition.insert("message".to_owned(), json!("Kubelet stopped posting node status."));
            condition.insert("lastTransitionTime".to_owned(), json!(now));
        }
        self.patch("node", None, name, Some("status"), &json!({"status": {"conditions": conditions}}))?;
        let taint = |effect: &str| json!({"key": UNREACHABLE, "effect": effect, "timeAdded": now});
        let taints = other_taints(&node).chain([taint("NoSchedule"), taint("NoExecute")]).collect::<Vec<_>>();
        self.patch("node", None, name, None, &json!({"spec": {"taints": taints}}))?;
        for pod in self.pods_on(name)? {
            self.mark_pod_unready(&pod, &now)?;
        }
        Ok(())
    }

    fn mark_pod_unready(&self, pod: &Value, now: &str) -> Result<(), Error> {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let mut conditions = pod.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
        for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            if condition.get("type").is_some_and(|kind| kind == "Ready") {
                condition.insert("status".to_owned(), json!("False"));
                condition.insert("lastTransitionTime".to_owned(), json!(now));
            }
        }
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let patch = json!({"status": {"conditions": conditions}});
        match self.patch("pod", Some(namespace), name, Some("status"), &patch) {
            Err(Error::Command { stderr, .. }) if stderr.contains("NotFound") => Ok(()), // deleted in the meantime
            outcome => outcome.map(drop),
        }
    }

    fn node(&self, name: &str) -> Result<Value, Error> {
        self.get("node", None, name)?.ok_or_else(|| Error::other(format!("the API server has no node {name}")))
    }

    fn pods_on(&self, node: &str) -> Result<Vec<Value>, Error> {
        let selector = format!("--field-selector=spec.nodeName={node}");
        let mut pods = self.kubectl_json(["get", "pods", "--all-namespaces", &selector])?;
        let items = pods.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        Ok(items.unwrap_or_default())
    }
}

/// A node's taints without those that say it is unreachable.
fn other_taints(node: &Value) -> impl Iterator<Item = Value> {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    taints.into_iter().filter(|taint| taint.get("key").is_none_or(|key| key != UNREACHABLE))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The process of a node.
fn kubelet(node: &str) -> String {
    format!("kubelet-{node}")
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Of a process that has ended meanwhile nothing needs to be frozen or killed.
fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// All processes below one, whatever group they are in.
fn descendants(root: Pid) -> HashSet<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes: Vec<_> = entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // PID (NAME) STATE PARENT ..., and a name may hold anything.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, Pid::from_raw(parent)?))
        })
        .collect();
    let mut found = HashSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, _) in processes.iter().filter(|(_, of)| *of == parent) {
            if found.insert(*pid) {
                parents.push(*pid);
            }
        }
    }
    found
}
