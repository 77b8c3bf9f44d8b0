//! The writes that a KopiaRepository takes: its Jobs, the Lease of its repository, and its status.
//!
//! Each is one request with what was read as its precondition, within what is left of our own lease. A Job is made
//! suspended, let go only in the very version that was looked at, and taken away only if it never ran.

use std::time::Duration;

use http::Method;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::left;
use super::send::{Call, outcome, send};
use crate::api::{GROUP, VERSION};
use crate::domain::ledger::Outcome;
use crate::domain::name::Key;
use crate::domain::repository::course::Cleared;
use crate::io::clock::Clock;
use crate::io::repository::{Kept, job_path, lease_path};
use crate::io::request::{self, JSON, encode};

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// What an answer of the API server means, if one was asked.
    pub outcome: Outcome,
    /// In words.
    pub words: String,
}

/// Whoever leads, and until when.
pub struct Hands<C> {
    client: Client,
    lease: watch::Receiver<Option<Duration>>,
    clock: C,
}

#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
}

impl<C: Clock> Hands<C> {
    /// Hands that write while this lease is ours.
    pub fn new(client: Client, lease: watch::Receiver<Option<Duration>>, clock: C) -> Self {
        Self { client, lease, clock }
    }

    async fn write(&self, call: Call) -> Result<Written, Unwritten> {
        let lost = |words: &str| Unwritten { outcome: Outcome::Lost, words: words.to_owned() };
        let Some(patience) = left(&self.lease, &self.clock, Duration::MAX) else {
            return Err(lost("our lease is over"));
        };
        let answer = send(&self.client, call, patience).await;
        let bytes =
            answer.map_err(|refusal| Unwritten { outcome: outcome(&refusal), words: refusal.words.to_string() })?;
        request::parse(&bytes)
            .map_err(|refusal| Unwritten { outcome: Outcome::Unreachable, words: refusal.words.to_string() })
    }

    /// Stores the status; its new version.
    ///
    /// # Errors
    /// It was changed since it was read, or could not be written.
    pub async fn tell(&self, key: &Key, patch: Value) -> Result<Box<str>, Unwritten> {
        let mut uri = format!("/apis/{GROUP}/{VERSION}/namespaces/");
        encode(&mut uri, &key.namespace);
        uri.push_str("/kopiarepositories/");
        encode(&mut uri, &key.name);
        uri.push_str("/status");
        self.write(Call::merge(uri, patch)).await.map(|written| written.metadata.resource_version)
    }

    /// Makes a Job; its uid.
    ///
    /// # Errors
    /// It is there already, or could not be made.
    pub async fn make(&self, key: &Key, manifest: Value) -> Result<Box<str>, Unwritten> {
        let path = job_path(key);
        let collection = path.rsplit_once('/').map(|(collection, _)| collection.to_owned()).unwrap_or_default();
        self.write(Call::create(collection, manifest)).await.map(|written| written.metadata.uid)
    }

    /// Lets a Job go, in the version that was looked at.
    ///
    /// # Errors
    /// It has changed, is gone, or could not be written.
    pub async fn start(&self, key: &Key, job: &Cleared, version: &str) -> Result<(), Unwritten> {
        let patch = json!({"metadata": {"uid": job.uid(), "resourceVersion": version}, "spec": {"suspend": false}});
        self.write(Call::merge(job_path(key), patch)).await.map(drop)
    }

    /// Takes a Job away that never ran, in the version that was looked at.
    ///
    /// # Errors
    /// It has changed, or could not be deleted; one that is gone is no error.
    pub async fn take_away(&self, key: &Key, job: &Cleared, version: &str) -> Result<(), Unwritten> {
        let preconditions = json!({"uid": job.uid(), "resourceVersion": version});
        let body = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions,
            "propagationPolicy": "Background",
        });
        let uri = job_path(key);
        match self.write(Call { method: Method::DELETE, uri, content: JSON, body }).await {
            Err(refused) if refused.outcome != Outcome::Lost || !refused.words.starts_with("404") => Err(refused),
            _ => Ok(()),
        }
    }

    /// Writes the Lease of a repository, in the version that was read.
    ///
    /// # Errors
    /// Somebody else was first, or it could not be written.
    pub async fn lease(&self, namespace: &str, name: &str, kept: &Kept, lease: Value) -> Result<(), Unwritten> {
        let path = lease_path(namespace, name);
        let call = match kept {
            Kept::There(_) => Call::replace(path, lease),
            Kept::Absent | Kept::Unknown(_) => {
                let collection = path.rsplit_once('/').map(|(collection, _)| collection.to_owned());
                Call::create(collection.unwrap_or_default(), lease)
            }
        };
        self.write(call).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::repository::Leased;
    use crate::io::tests::{Asked, BEGAN, Book, Told, Watch, ok, refused, server};

    /// A Job that may be let go.
    fn job() -> Cleared {
        use crate::domain::repository::Task;
        use crate::domain::repository::course::{Going, Job, Lease, Pods, Sighted, Step, next};
        let now = "2026-11-25T10:00:00Z".parse().unwrap();
        let going = Going { task: Task::Full, uid: None, since: now };
        let seen = Sighted::There(Job { uid: "j-1".into(), suspended: true, over: None });
        match next(&going, &seen, &Pods::None, &Lease::Ours, None, now) {
            Step::Start(job) => job,
            other => panic!("{other:?}"),
        }
    }

    fn key() -> Key {
        Key::namespaced("backup", "main")
    }

    /// Hands with our lease, or without it; and what they write.
    fn hands(leads: bool, answer: fn(&Asked) -> Told) -> (Hands<Watch>, Book) {
        let (client, book) = server(answer);
        let (keep, lease) = watch::channel(leads.then_some(BEGAN + Duration::from_secs(60)));
        std::mem::forget(keep);
        (Hands::new(client, lease, Watch::start()), book)
    }

    fn object(_: &Asked) -> Told {
        ok(json!({"metadata": {"uid": "j-1", "resourceVersion": "8"}}))
    }

    #[tokio::test(start_paused = true)]
    async fn each_write_is_of_what_was_read_and_sent_once() {
        let (hands, book) = hands(true, object);
        assert_eq!(hands.tell(&key(), json!({})).await.as_deref(), Ok("8"));
        assert_eq!(hands.make(&key(), json!({})).await.as_deref(), Ok("j-1"));
        hands.start(&key(), &job(), "7").await.unwrap();
        hands.take_away(&key(), &job(), "7").await.unwrap();
        hands.lease("home", "l", &Kept::Absent, json!({})).await.unwrap();
        let leased = Leased { version: "5".into(), holder: "".into(), job: None, transitions: 0 };
        hands.lease("home", "l", &Kept::There(leased), json!({})).await.unwrap();
        let jobs = "/apis/batch/v1/namespaces/backup/jobs";
        let home = "/apis/coordination.k8s.io/v1/namespaces/home/leases";
        let sent: Vec<(Method, String)> = book.writes().into_iter().map(|one| (one.method, one.uri)).collect();
        assert_eq!(
            sent,
            [
                (
                    Method::PATCH,
                    "/apis/volwarden.dev/v1alpha1/namespaces/backup/kopiarepositories/main/status".to_owned()
                ),
                (Method::POST, jobs.to_owned()),
                (Method::PATCH, format!("{jobs}/main")),
                (Method::DELETE, format!("{jobs}/main")),
                (Method::POST, home.to_owned()),
                (Method::PUT, format!("{home}/l")),
            ]
        );
        let writes = book.writes();
        assert_eq!(writes[2].body["metadata"], json!({"uid": "j-1", "resourceVersion": "7"}));
        assert_eq!(writes[2].body["spec"], json!({"suspend": false}));
        assert_eq!(writes[3].body["preconditions"], json!({"uid": "j-1", "resourceVersion": "7"}));
    }

    #[tokio::test(start_paused = true)]
    async fn without_our_lease_nothing_is_sent() {
        let (hands, book) = hands(false, object);
        assert!(hands.tell(&key(), json!({})).await.is_err() && hands.make(&key(), json!({})).await.is_err());
        assert!(hands.start(&key(), &job(), "7").await.is_err() && hands.take_away(&key(), &job(), "7").await.is_err());
        assert!(hands.lease("home", "l", &Kept::Absent, json!({})).await.is_err());
        assert_eq!(book.all().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_gone_is_taken_away_and_one_that_changed_is_not() {
        let (there, _) = hands(true, |_| refused(409, "Conflict"));
        assert_eq!(there.take_away(&key(), &job(), "7").await.unwrap_err().outcome, Outcome::Lost);
        let (gone, _) = hands(true, |_| refused(404, "NotFound"));
        assert_eq!(gone.take_away(&key(), &job(), "7").await, Ok(()));
        let (denied, book) = hands(true, |_| refused(403, "Forbidden"));
        assert_eq!(denied.make(&key(), json!({})).await.unwrap_err().outcome, Outcome::Denied);
        assert_eq!(book.all().len(), 1, "and not tried again");
    }
}
