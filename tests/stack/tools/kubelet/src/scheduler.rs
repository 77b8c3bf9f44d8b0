//! Finds nodes for pods without a scheduler: each kubelet offers itself to every pod that fits, and the API takes one.
//!
//! There is no leader, so that pods find a node as long as any node is left. A node that has pods of the same owner
//! already is slower to offer, so that replicas spread.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch as latest;
use tokio::time::Instant;

use crate::api::{CallError, PAUSE, call};
use crate::fit::fits;
use crate::watch::{self, Event};

/// The handicap of a node for each pod that it has of the same owner.
const HANDICAP: Duration = Duration::from_millis(100);
/// There is no pod to wait for.
const LONG: Duration = Duration::from_secs(3600);

/// The controllers of the pods of this node, by the pods' uids.
#[derive(Clone, Default)]
pub struct Owners(Arc<Mutex<HashMap<String, String>>>);

impl Owners {
    /// The node has this pod.
    pub fn add(&self, pod: &Pod) {
        if let (Some(uid), Some(owner)) = (pod.uid(), controller(pod)) {
            self.all().insert(uid, owner);
        }
    }

    /// The node has it no more.
    pub fn remove(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn handicap(&self, pod: &Pod) -> Duration {
        let owner = controller(pod);
        let same = self.all().values().filter(|other| Some(*other) == owner.as_ref()).count();
        HANDICAP * u32::try_from(same).unwrap_or(u32::MAX)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn controller(pod: &Pod) -> Option<String> {
    pod.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

/// Offers this node to pods as long as the kubelet lives.
pub async fn offer(client: Client, name: String, mut node: latest::Receiver<Option<Node>>, owners: Owners) {
    let mut events = watch::objects(Api::<Pod>::all(client.clone()), "spec.nodeName=".to_owned());
    // Since when each pod without a node waits for an offer.
    let mut waiting: BTreeMap<String, (Instant, Pod)> = BTreeMap::new();
    loop {
        let next = node.borrow().as_ref().and_then(|node| first(&waiting, node, &owners));
        let due = next.as_ref().map_or_else(|| Instant::now() + LONG, |(due, _)| *due);
        tokio::select! {
            Some(event) = events.recv() => remember(&mut waiting, event),
            changed = node.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due) => {
                let Some((_, uid)) = next else { continue };
                let Some((_, pod)) = waiting.remove(&uid) else { continue };
                match bind(&client, &pod, &name).await {
                    Ok(()) => owners.add(&pod),
                    Err(error) if matches!(error.code(), Some(404 | 409)) => {} // gone, or another node was faster
                    Err(error) => {
                        eprintln!("cannot take the pod {}: {error}", pod.name_any());
                        waiting.insert(uid, (Instant::now() + PAUSE, pod));
                    }
                }
            }
        }
    }
}

/// When the next offer is due, and to which pod.
fn first(waiting: &BTreeMap<String, (Instant, Pod)>, node: &Node, owners: &Owners) -> Option<(Instant, String)> {
    let fitting = waiting.iter().filter(|(_, (_, pod))| fits(pod, node));
    fitting.map(|(uid, (since, pod))| (*since + owners.handicap(pod), uid.clone())).min()
}

fn remember(waiting: &mut BTreeMap<String, (Instant, Pod)>, event: Event<Pod>) {
    let now = Instant::now();
    let see = |waiting: &mut BTreeMap<String, (Instant, Pod)>, pod: Pod| {
        let uid = pod.uid().unwrap_or_default();
        let since = waiting.get(&uid).map_or(now, |(since, _)| *since);
        waiting.insert(uid, (since, pod));
    };
    match event {
        Event::Listed(pods) => {
            let mut before = std::mem::take(waiting);
            for pod in pods {
                if let Some((uid, known)) = before.remove_entry(&pod.uid().unwrap_or_default()) {
                    waiting.insert(uid, known);
                }
                see(waiting, pod);
            }
        }
        Event::Changed(pod) => see(waiting, pod),
        Event::Gone(pod) => {
            waiting.remove(&pod.uid().unwrap_or_default());
        }
    }
}

async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<(), CallError> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = Binding {
        metadata: ObjectMeta { name: Some(name.clone()), uid: pod.uid(), ..ObjectMeta::default() },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let bound: Result<Status, _> =
        call(pods.create_subresource("binding", &name, &PostParams::default(), &binding)).await;
    bound.map(drop)
}
