//! Pods of the stack: which there are, and the control of their containers' processes.
//!
//! A node's `running` folder says which process group a container is. The number alone is not believed: a node that was
//! killed leaves its files behind, and the pid may be somebody else's by now.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::error::Error;
use crate::nodes;
use crate::stack::Stack;
use crate::watchdog::carries_mark;

/// How long a container that was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// One pod, and the control of its containers; see [`Stack::pod`]. It is the pod that had the name when this was made:
/// a successor of the same name on another node is not touched.
#[derive(Clone)]
pub struct Pod<'stack> {
    stack: &'stack Stack,
    namespace: String,
    name: String,
    node: String,
}

impl Pod<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node that it is bound to.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Freezes a container (SIGSTOP): its connections stay open, its locks stay held, and nothing answers.
    pub fn pause(&self, container: &str) -> Result<(), Error> {
        self.signal(container, Signal::STOP)
    }

    /// Lets a container go on (SIGCONT).
    pub fn resume(&self, container: &str) -> Result<(), Error> {
        self.signal(container, Signal::CONT)
    }

    /// Kills a container (SIGKILL) and waits for its end; its kubelet then does what the restart policy says.
    pub fn kill(&self, container: &str) -> Result<(), Error> {
        let pid = self.pid(container)?;
        send(pid, Signal::KILL, container)?;
        let what = format!("{container} of the pod {} is gone", self.name);
        self.stack.wait(&what, PATIENCE, || (self.pid(container).ok() != Some(pid)).then_some(()))
    }

    /// [`Self::pause`] for all its containers that are running.
    pub fn pause_all(&self) -> Result<(), Error> {
        self.signal_all(Signal::STOP)
    }

    /// [`Self::resume`] for all its containers that are running.
    pub fn resume_all(&self) -> Result<(), Error> {
        self.signal_all(Signal::CONT)
    }

    /// What `kubectl logs` gives for a container.
    pub fn log(&self, container: &str) -> Result<String, Error> {
        self.stack.kubectl(["logs", &self.name, "-n", &self.namespace, "-c", container])
    }

    fn signal(&self, container: &str, signal: Signal) -> Result<(), Error> {
        send(self.pid(container)?, signal, container)
    }

    fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        self.running().into_iter().try_for_each(|(container, pid)| send(pid, signal, &container))
    }

    fn pid(&self, container: &str) -> Result<Pid, Error> {
        let mut running = self.running();
        if let Some(at) = running.iter().position(|(name, _)| name == container) {
            return Ok(running.swap_remove(at).1);
        }
        let names: Vec<_> = running.into_iter().map(|(name, _)| name).collect();
        let (namespace, name, node) = (&self.namespace, &self.name, &self.node);
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(Error::other(format!(
            "the pod {namespace}/{name} on {node} has no running container {container}; running: {names}"
        )))
    }

    /// Its running containers and their process groups. Nobody's name has a `_`, so that a file's parts are certain.
    fn running(&self) -> Vec<(String, Pid)> {
        let folder = self.running_folder();
        let prefix = format!("{}_{}_", self.namespace, self.name);
        // Files come and go with containers: one that cannot be read is one that has ended.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut running: Vec<_> = entries
            .filter_map(|entry| {
                let container = entry.file_name().to_str()?.strip_prefix(&prefix)?.to_owned();
                let pid = std::fs::read_to_string(entry.path()).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
                carries_mark(pid, self.stack.folder()).then_some((container, pid))
            })
            .collect();
        running.sort_by(|(a, _), (b, _)| a.cmp(b));
        running
    }

    fn running_folder(&self) -> PathBuf {
        nodes::folder(self.stack.folder(), &self.node).join("running")
    }
}

fn send(group: Pid, signal: Signal, container: &str) -> Result<(), Error> {
    kill_process_group(group, signal)
        .map_err(|error| Error::io(format!("cannot signal the container {container}"))(error.into()))
}

impl Stack {
    /// The names of the pods that a label selector (`app=x`, or nothing for all) finds, sorted, without those that are
    /// being deleted. An API that cannot be asked has none.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .pod_list(namespace, selector)
            .iter()
            .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
            .filter_map(|pod| pod.pointer("/metadata/name").and_then(Value::as_str).map(ToOwned::to_owned))
            .collect();
        names.sort();
        names
    }

    pub(crate) fn pod_list(&self, namespace: &str, selector: &str) -> Vec<Value> {
        if let Some(reader) = self.reader() {
            return reader.objects("pods", namespace, selector).unwrap_or_default();
        }
        let answer = self.kubectl_json(["get", "pods", "-n", namespace, "-l", selector]);
        let items = answer.ok().and_then(|mut answer| answer.get_mut("items").map(Value::take));
        items.and_then(|items| items.as_array().cloned()).unwrap_or_default()
    }

    /// A pod that exists and is bound to a node of this stack.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod<'_>, Error> {
        let pod = self.get("pod", Some(namespace), name)?;
        let pod = pod.ok_or_else(|| Error::other(format!("there is no pod {namespace}/{name}")))?;
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if !self.nodes().iter().any(|ours| ours == node) {
            let text = format!("the pod {namespace}/{name} is on '{node}', which is no node of this stack");
            return Err(Error::other(text));
        }
        Ok(Pod { stack: self, namespace: namespace.to_owned(), name: name.to_owned(), node: node.to_owned() })
    }

    /// Waits until a Deployment's rollout is complete: all its pods are of its newest template, and ready.
    pub fn rollout(&self, namespace: &str, deployment: &str) -> Result<(), Error> {
        let deployment = format!("deployment/{deployment}");
        self.kubectl(["rollout", "status", &deployment, "-n", namespace, "--timeout=90s"]).map(drop)
    }
}
