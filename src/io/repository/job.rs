//! The Job of a task: its manifest, and what became of it.
//!
//! Its pod has no right to the cluster, no privilege on its node and nothing of the daemon's; the Secret reaches it
//! through the kubelet and nobody else. One attempt only: what has to be done again is decided anew.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{LIMIT, PATIENCE, PodUser, SecretRef};
use crate::api::kopia::{ExpireMode, KopiaRepositorySpec, Quantity, RepositoryVolume};
use crate::api::{GROUP, MANAGED_BY, REPOSITORY, TASK, VERSION};
use crate::domain::kopia::Identity;
use crate::domain::name::Key;
use crate::domain::repository::Task;
use crate::domain::repository::course::{self, Last, Pods, Sighted};
use crate::domain::repository::own::Candidate;
use crate::domain::repository::rules::Custody;
use crate::io::request::{self, JSON, encode};

/// The pod's one container.
const CONTAINER: &str = "kopia";
/// A Job that is over stays for so long, with its pod's log: a day, in seconds.
const KEPT: u64 = 24 * 3600;
/// A pod that is told to stop has so long to end kopia and to say so, in seconds.
const GRACE: u64 = 60;

/// What a Job is made from.
#[derive(Clone, Copy, Debug)]
pub struct Mould<'a> {
    /// The repository's rules.
    pub custody: &'a Custody,
    /// Its spec.
    pub spec: &'a KopiaRepositorySpec,
    /// The uid of its object, which owns the Job.
    pub uid: &'a str,
    /// What is done.
    pub task: Task,
    /// The Job's name.
    pub name: &'a str,
    /// The image with our program and kopia.
    pub image: &'a str,
    /// Who we are.
    pub us: &'a Identity,
    /// The repository that it has to be.
    pub unique_id: Option<&'a str>,
    /// The terms under which snapshots were counted last.
    pub tried: Option<&'a str>,
    /// What somebody has approved of this task.
    pub approved: Option<&'a str>,
    /// When something was last set by an approval.
    pub approved_before: Option<Timestamp>,
    /// The sources that may be this cluster's.
    pub own: &'a [Candidate],
}

/// The Job, suspended: nothing of it runs before it is let go.
#[must_use]
pub fn manifest(mould: Mould<'_>) -> Value {
    let Mould { custody, spec, uid, task, name, .. } = mould;
    let key = custody.key();
    let labels = json!({MANAGED_BY: "volwarden", REPOSITORY: uid, TASK: task.as_str()});
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": &*key.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "KopiaRepository", "name": &*key.name, "uid": uid,
                "controller": true,
            }],
        },
        "spec": {
            "suspend": true,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": custody.deadline(task).as_secs(),
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels}, "spec": pod(mould, spec)},
        },
    })
}

fn pod(mould: Mould<'_>, spec: &KopiaRepositorySpec) -> Value {
    let PodUser { run_as_user, run_as_group, fs_group } = &spec.pod_security_context;
    let mut context = json!({
        "runAsUser": run_as_user,
        "runAsGroup": run_as_group,
        "runAsNonRoot": *run_as_user != 0,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let (Some(group), Some(context)) = (fs_group, context.as_object_mut()) {
        context.insert("fsGroup".to_owned(), json!(group));
    }
    let mut scratch = Map::new();
    if let Some(Quantity(size)) = &spec.cache.size_limit {
        scratch.insert("sizeLimit".to_owned(), json!(size));
    }
    let mut volumes = vec![json!({"name": "scratch", "emptyDir": scratch})];
    let mut mounts = vec![json!({"name": "scratch", "mountPath": "/scratch"})];
    for (at, volume) in spec.volumes.iter().enumerate() {
        volumes.push(mounted(at, volume));
        mounts.push(json!({"name": format!("volume-{at}"), "mountPath": format!("/mnt/{}", volume.mount_path)}));
    }
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": context,
        "volumes": volumes,
        "containers": [{
            "name": CONTAINER,
            "image": mould.image,
            "args": words(mould),
            "env": environment(&spec.secret_ref),
            "resources": {"requests": amounts(&spec.resources.requests), "limits": amounts(&spec.resources.limits)},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        }],
    })
}

fn mounted(at: usize, volume: &RepositoryVolume) -> Value {
    let name = format!("volume-{at}");
    match (&volume.volume_source.nfs, &volume.volume_source.persistent_volume_claim) {
        (Some(nfs), _) => json!({"name": name, "nfs": {"server": nfs.server, "path": nfs.path}}),
        (None, Some(claim)) => json!({"name": name, "persistentVolumeClaim": {"claimName": claim.claim_name}}),
        // The schema lets no such volume in.
        (None, None) => json!({"name": name, "emptyDir": {}}),
    }
}

fn words(mould: Mould<'_>) -> Vec<String> {
    let Mould { custody, spec, task, us, unique_id, tried, approved, approved_before, own, .. } = mould;
    let mut words = ["kopia", "task", task.as_str(), "--host", us.host()].map(str::to_owned).to_vec();
    // It ends kopia itself before the Job's deadline does, so that it can say so.
    let longest = custody.deadline(task).as_secs().saturating_sub(GRACE / 2).max(1);
    words.push(format!("--timeout={longest}s"));
    if let Some(id) = unique_id {
        words.push(format!("--unique-id={id}"));
    }
    if let Some(path) = &spec.path {
        words.push(format!("--path={path}"));
    }
    if task == Task::Verify {
        words.push(format!("--percent={}", custody.rules().percent));
    }
    if task.asks_whose() {
        words.extend(own.iter().map(|candidate| format!("--own={candidate}")));
        words.extend(approved.map(|plan| format!("--approved={plan}")));
    }
    if task == Task::Settings {
        words.extend(super::wishes(spec).iter().map(|wish| format!("--keep={wish}")));
        words.extend(super::epochs(spec).iter().map(|(name, value)| format!("--epoch={name}={value}")));
        words.extend(approved_before.map(|at| format!("--approved-before={at}")));
    }
    if let (Task::Expire, Some(expire)) = (task, &spec.expire) {
        words.extend(expire.sources.iter().flatten().map(|source| format!("--source={source}")));
        words.extend(expire.accept_shrunk.iter().map(|source| format!("--accept-shrunk={source}")));
        words.push(format!("--most={}", expire.max_deletions_per_run));
        // Under other terms it only looks, and so it does without any.
        let terms = tried.filter(|_| expire.mode == ExpireMode::Enforce);
        words.extend(terms.map(|terms| format!("--delete={terms}")));
    }
    words
}

fn environment(secret: &SecretRef) -> Value {
    let from = |key: &str, optional: bool| json!({"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": optional}}});
    json!([from("KOPIA_PASSWORD", false), from("KOPIA_REPOSITORY", true), {"name": "TMPDIR", "value": "/scratch"}])
}

fn amounts(all: &BTreeMap<String, Quantity>) -> Value {
    all.iter().map(|(name, Quantity(amount))| (name.clone(), json!(amount))).collect::<Map<_, _>>().into()
}

// === What became of it ===

/// Where a Job is.
#[must_use]
pub fn path(key: &Key) -> String {
    let mut path = "/apis/batch/v1/namespaces/".to_owned();
    encode(&mut path, &key.namespace);
    path.push_str("/jobs/");
    encode(&mut path, &key.name);
    path
}

/// Reads a Job; its version, too.
pub async fn look(client: &Client, key: &Key) -> (Sighted, Box<str>) {
    match request::fetch(client, &path(key), JSON, LIMIT, PATIENCE).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => (Sighted::Absent, "".into()),
        Err(refusal) => (Sighted::Unknown(refusal.words.to_string()), "".into()),
        Ok(bytes) => match request::parse::<JobView>(&bytes) {
            Ok(job) => {
                let version = job.metadata.resource_version.clone();
                (Sighted::There(job.seen()), version)
            }
            Err(refusal) => (Sighted::Unknown(refusal.words.to_string()), "".into()),
        },
    }
}

/// The pods of a Job of this uid.
pub async fn pods(client: &Client, namespace: &str, uid: &str) -> Pods {
    let mut path = "/api/v1/namespaces/".to_owned();
    encode(&mut path, namespace);
    path.push_str("/pods?labelSelector=");
    encode(&mut path, &format!("batch.kubernetes.io/controller-uid={uid}"));
    match request::fetch(client, &path, JSON, LIMIT, PATIENCE).await {
        Err(refusal) => Pods::Unknown(refusal.words.to_string()),
        Ok(bytes) => match request::parse::<PodList>(&bytes) {
            Ok(list) => list.seen(),
            Err(refusal) => Pods::Unknown(refusal.words.to_string()),
        },
    }
}

#[derive(Deserialize)]
struct JobView {
    metadata: Meta,
    #[serde(default)]
    spec: JobSpec,
    #[serde(default)]
    status: JobStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    suspend: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Option<Vec<JobCondition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobCondition {
    r#type: String,
    status: String,
    reason: Option<String>,
}

impl JobView {
    fn seen(self) -> course::Job {
        let conditions = self.status.conditions.unwrap_or_default();
        let holds = |kind: &str| conditions.iter().find(|one| one.r#type == kind && one.status == "True");
        let failed = holds("Failed").map(|one| Some(one.reason.clone().unwrap_or_else(|| "Failed".to_owned())));
        let over = failed.or_else(|| holds("Complete").map(|_| None));
        course::Job { uid: self.metadata.uid, suspended: self.spec.suspend, over }
    }
}

#[derive(Deserialize)]
struct PodList {
    items: Option<Vec<PodView>>,
}

#[derive(Deserialize)]
struct PodView {
    metadata: Meta,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    reason: Option<String>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    message: Option<String>,
    exit_code: Option<i32>,
    reason: Option<String>,
}

impl PodList {
    fn seen(self) -> Pods {
        let mut pods = self.items.unwrap_or_default();
        let ended = |pod: &PodView| matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let active = pods.iter().filter(|pod| !ended(pod)).count();
        if active > 0 {
            return Pods::Active(active);
        }
        pods.sort_by_key(|pod| pod.metadata.creation_timestamp);
        let Some(pod) = pods.pop() else { return Pods::None };
        let containers = pod.status.container_statuses.unwrap_or_default();
        let ours = containers.into_iter().find(|one| one.name == CONTAINER);
        let ended = ours.and_then(|one| one.state.terminated).unwrap_or_default();
        let reason = ended.reason.or(pod.status.reason);
        Pods::Ended(Last { message: ended.message, code: ended.exit_code, reason })
    }
}
