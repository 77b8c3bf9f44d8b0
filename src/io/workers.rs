//! Who works on a kopia repository in a cluster right now: our Jobs, the Lease that keeps them apart, VolSync's movers.
//!
//! It answers "the repository is locked". What cannot be read is said to be so: a list that whoever asks may not read is
//! no empty list.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, Serialize};

use super::repository::{Entry, held, kept, lease_name};
use super::request::{self, JSON, encode};
use crate::api::REPOSITORY;
use crate::domain::name::Key;
use crate::domain::repository::course::Lease;

/// Patience for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most that is read of an answer, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;
/// The container of VolSync's movers that use kopia.
const MOVER: &str = "kopia";

/// A Job that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Namespace and name.
    pub job: String,
    /// When it began, once it did.
    pub since: Option<Timestamp>,
    /// Nothing of it runs.
    pub suspended: bool,
    /// Its pods that have not ended.
    pub pods: u32,
}

/// The Lease of a repository, as people ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Namespace and name.
    pub lease: String,
    /// Who holds it and why it is not free; none: it is free.
    pub held: Option<String>,
}

/// Everything that works on a repository. Of each, or why it cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Our Jobs that are not over.
    pub jobs: Result<Vec<Worker>, String>,
    /// VolSync's movers at work that use kopia, in the whole cluster. Which repository is theirs stands in Secrets.
    pub movers: Result<Vec<Worker>, String>,
    /// The Lease; none where nothing of ours ever wrote.
    pub lease: Result<Option<Hold>, String>,
}

/// Looks at them.
pub async fn look(client: &Client, entry: &Entry) -> Workers {
    let mut ours = "/apis/batch/v1/namespaces/".to_owned();
    encode(&mut ours, &entry.custody.key().namespace);
    ours.push_str("/jobs?labelSelector=");
    encode(&mut ours, &format!("{REPOSITORY}={}", entry.uid));
    let movers = "/apis/batch/v1/jobs?labelSelector=app.kubernetes.io%2Fcreated-by%3Dvolsync";
    let unfinished = |job: &Job| !job.is_over();
    let at_work = |job: &Job| !job.is_over() && job.status.active > 0 && job.has(MOVER);
    Workers {
        jobs: jobs(client, &ours, unfinished).await,
        movers: jobs(client, movers, at_work).await,
        lease: lease(client, entry).await,
    }
}

async fn jobs(client: &Client, path: &str, wanted: impl Fn(&Job) -> bool) -> Result<Vec<Worker>, String> {
    let bytes = request::fetch(client, path, JSON, LIMIT, PATIENCE).await;
    let list = bytes.and_then(|bytes| request::parse::<List<Job>>(&bytes));
    let list = list.map_err(|refusal| refusal.words.to_string())?;
    let mut workers: Vec<Worker> =
        list.items.unwrap_or_default().iter().filter(|job| wanted(job)).map(Job::worker).collect();
    workers.sort_by(|one, two| one.job.cmp(&two.job));
    Ok(workers)
}

async fn lease(client: &Client, entry: &Entry) -> Result<Option<Hold>, String> {
    let Some(id) = entry.told.unique_id.as_deref() else { return Ok(None) };
    let name = lease_name(id);
    // It is in the daemon's namespace, which is not known here.
    let mut path = "/apis/coordination.k8s.io/v1/leases?fieldSelector=".to_owned();
    encode(&mut path, &format!("metadata.name={name}"));
    let bytes = request::fetch(client, &path, JSON, LIMIT, PATIENCE).await;
    let list = bytes.and_then(|bytes| request::parse::<List<Named>>(&bytes));
    let list = list.map_err(|refusal| refusal.words.to_string())?;
    let Some(found) = list.items.unwrap_or_default().into_iter().next() else { return Ok(None) };
    let namespace = found.metadata.namespace;
    // Nobody's uid: whoever holds it is somebody else.
    let held = match held(client, &kept(client, &namespace, &name).await, "-").await {
        Lease::Free | Lease::Ours => None,
        Lease::Held(who) => Some(who),
        Lease::Unknown(why) => return Err(why),
    };
    Ok(Some(Hold { lease: Key::namespaced(namespace, name).to_string(), held }))
}

#[derive(Deserialize)]
struct List<T> {
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Job {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    suspend: Option<bool>,
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    active: u32,
    start_time: Option<Timestamp>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    status: String,
}

impl Job {
    fn is_over(&self) -> bool {
        let ends = |one: &Condition| matches!(one.r#type.as_str(), "Complete" | "Failed") && one.status == "True";
        self.status.conditions.iter().flatten().any(ends)
    }

    fn has(&self, container: &str) -> bool {
        self.spec.template.spec.containers.iter().flatten().any(|one| one.name == container)
    }

    fn worker(&self) -> Worker {
        Worker {
            job: Key::namespaced(&*self.metadata.namespace, &*self.metadata.name).to_string(),
            since: self.status.start_time,
            suspended: self.spec.suspend.unwrap_or_default(),
            pods: self.status.active,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::io::repository;
    use crate::io::tests::{Asked, Told, ok, refused, server};

    fn entry() -> Entry {
        let object = json!({
            "metadata": {"name": "nas", "namespace": "backup", "uid": "u-1", "resourceVersion": "7"},
            "spec": {"secretRef": {"name": "kopia"}}, "status": {"uniqueID": "a1"},
        });
        repository::read(&object.to_string()).unwrap()
    }

    fn job(name: &str, container: &str, active: u32, over: &str) -> serde_json::Value {
        json!({
            "metadata": {"namespace": "app", "name": name},
            "spec": {"template": {"spec": {"containers": [{"name": container}]}}},
            "status": {"active": active, "startTime": "2026-11-25T10:00:00Z", "conditions": [{"type": over, "status": "True"}]},
        })
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_work_is_told_and_what_cannot_be_read_is_not_nobody() {
        let (client, _) = server(|asked: &Asked| -> Told {
            match asked.uri.as_str() {
                "/apis/batch/v1/namespaces/backup/jobs?labelSelector=volwarden.dev%2Frepository%3Du-1" => ok(
                    json!({"items": [job("nas-full", "kopia", 1, "Started"), job("nas-old", "kopia", 0, "Complete")]}),
                ),
                uri if uri.starts_with("/apis/batch/v1/jobs?") => ok(json!({"items": [
                    job("volsync-src-a", "kopia", 1, ""), job("volsync-src-r", "restic", 1, ""),
                    job("volsync-src-w", "kopia", 0, ""), job("volsync-src-o", "kopia", 1, "Failed"),
                ]})),
                _ => refused(403, "Forbidden"),
            }
        });
        let workers = look(&client, &entry()).await;
        let names = |all: &[Worker]| all.iter().map(|one| one.job.clone()).collect::<Vec<_>>();
        assert_eq!(names(&workers.jobs.unwrap()), ["app/nas-full"]);
        assert_eq!(names(&workers.movers.unwrap()), ["app/volsync-src-a"]);
        assert!(workers.lease.unwrap_err().starts_with("403"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_held_while_the_job_that_it_names_is_not_over() {
        let (client, _) = server(|asked: &Asked| -> Told {
            let lease = json!({
                "metadata": {
                    "namespace": "home", "name": lease_name("a1"), "resourceVersion": "3",
                    "annotations": {"volwarden.dev/job": "backup/nas-full"},
                },
                "spec": {"holderIdentity": "j-1"},
            });
            match asked.uri.as_str() {
                uri if uri.starts_with("/apis/coordination.k8s.io/v1/leases?") => ok(json!({"items": [lease]})),
                uri if uri.starts_with("/apis/coordination.k8s.io/v1/namespaces/home/leases/") => ok(lease),
                "/apis/batch/v1/namespaces/backup/jobs/nas-full" => {
                    ok(json!({"metadata": {"uid": "j-1"}, "spec": {"suspend": false}, "status": {}}))
                }
                _ => ok(json!({"items": []})),
            }
        });
        let hold = look(&client, &entry()).await.lease.unwrap().unwrap();
        assert_eq!(hold.lease, format!("home/{}", lease_name("a1")));
        assert_eq!(hold.held.unwrap(), "the Job backup/nas-full holds it, and its Job is not over");
    }
}
