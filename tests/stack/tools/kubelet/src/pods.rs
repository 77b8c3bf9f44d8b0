//! The pods of this node: one task for each, from the binding to the end.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::sync::watch as latest;
use tokio::task::JoinSet;

use crate::machine::Machine;
use crate::pod;
use crate::prepare::Folder;
use crate::scheduler::Owners;
use crate::watch::{self, Event};

/// Runs the pods that are bound to this node as long as the kubelet lives.
pub async fn run(machine: Machine, owners: Owners) {
    let fields = format!("spec.nodeName={}", machine.node);
    let mut events = watch::objects(Api::<Pod>::all(machine.client.clone()), fields);
    let mut tasks = Tasks { machine, owners, latest: HashMap::new(), running: JoinSet::new() };
    while let Some(event) = events.recv().await {
        while tasks.running.try_join_next().is_some() {} // tasks that are done
        match event {
            Event::Listed(pods) => {
                let uids: Vec<_> = pods.iter().filter_map(ResourceExt::uid).collect();
                if tasks.latest.is_empty() {
                    Folder::sweep(&tasks.machine, &uids);
                }
                let gone: Vec<_> = tasks.latest.keys().filter(|uid| !uids.contains(uid)).cloned().collect();
                for uid in gone {
                    tasks.gone(&uid);
                }
                for pod in pods {
                    tasks.changed(pod);
                }
            }
            Event::Changed(pod) => tasks.changed(pod),
            Event::Gone(pod) => tasks.gone(&pod.uid().unwrap_or_default()),
        }
    }
}

struct Tasks {
    machine: Machine,
    owners: Owners,
    /// By uid; what each pod's task reads its pod from.
    latest: HashMap<String, latest::Sender<Arc<Pod>>>,
    /// Ended with this: a kubelet that ends must not start a container again.
    running: JoinSet<()>,
}

impl Tasks {
    fn changed(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        self.owners.add(&pod);
        if let Some(task) = self.latest.get(&uid) {
            task.send_replace(Arc::new(pod));
            return;
        }
        let (sender, receiver) = latest::channel(Arc::new(pod));
        self.latest.insert(uid, sender);
        self.running.spawn(pod::run(self.machine.clone(), receiver));
    }

    /// The pod's task sees that no more is to come, and ends the pod.
    fn gone(&mut self, uid: &str) {
        self.owners.remove(uid);
        self.latest.remove(uid);
    }
}
