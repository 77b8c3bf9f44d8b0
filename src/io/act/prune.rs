//! Carries out one deletion for which there is a pass, and stores the status of a SnapshotRetention.
//!
//! Each write carries uid and version of the very object the plan was made from: the API server compares both in the
//! same request, and whatever has changed since is left alone. Nothing is sent twice, and nothing after its time. A
//! retained content takes two writes: its policy is switched to Delete, and that very version is deleted. It goes on
//! carrying snapshot-controller's mark, without which csi-snapshotter would not ask its driver. What breaks off between
//! the two is a content that is planned anew.

use std::time::Duration;

use axum::body::Bytes;
use http::Method;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::left;
use super::send::{Call, JSON_PATCH, outcome, send};
use crate::api::{GROUP, VERSION};
use crate::domain::guard::prune::GuardedPrune;
use crate::domain::ledger::Outcome;
use crate::domain::name::Key;
use crate::domain::prune::relic::{Kept, Thing};
use crate::domain::prune::run::{Order, Seen};
use crate::io::clock::Clock;
use crate::io::request::{self, JSON, encode};
use crate::io::retention::{absent, path};

/// Most that is read of the pods of a namespace, in bytes.
const PODS: usize = 64 * 1024 * 1024;

/// Our lease, and the clock it is measured by.
struct Time<'a, C> {
    lease: &'a watch::Receiver<Option<Duration>>,
    clock: &'a C,
    deadline: Duration,
}

impl<C: Clock> Time<'_, C> {
    fn left(&self) -> Result<Duration, (Outcome, String)> {
        let late = || (Outcome::Lost, "its time was over before it could be sent: nothing was changed".to_owned());
        left(self.lease, self.clock, self.deadline).ok_or_else(late)
    }
}

/// Deletes it; what came of that, and the same in words.
pub async fn prune(
    client: &Client,
    guarded: &GuardedPrune,
    lease: &watch::Receiver<Option<Duration>>,
    clock: &impl Clock,
) -> (Outcome, String) {
    let time = Time { lease, clock, deadline: guarded.deadline() };
    delete(client, guarded.order(), &time).await.unwrap_or_else(|lost| lost)
}

async fn delete<C: Clock>(
    client: &Client,
    order: &Order,
    time: &Time<'_, C>,
) -> Result<(Outcome, String), (Outcome, String)> {
    let refused = |refusal: request::Refusal| (outcome(&refusal), refusal.words.to_string());
    if order.thing == Thing::Claim {
        unmounted(client, &order.key, time.left()?).await?;
    }
    let mut version = order.version.clone();
    if let Some(kept) = &order.kept {
        gone(client, kept, time.left()?).await?;
        if kept.retained {
            let bytes = send(client, switch(order), time.left()?).await.map_err(refused)?;
            version = version_of(&bytes).map_err(|words| (Outcome::Lost, words))?;
        }
    }
    send(client, deletion(order, &version), time.left()?).await.map_err(refused)?;
    Ok((Outcome::Applied, "the API server took it".to_owned()))
}

/// The VolumeSnapshot of a retained content is gone, at this moment and not by a list alone.
async fn gone(client: &Client, kept: &Kept, patience: Duration) -> Result<(), (Outcome, String)> {
    let Some((key, uid)) = &kept.snapshot else { return Ok(()) };
    let place = path(Thing::Snapshot, key);
    match tokio::time::timeout(patience, absent(client, &place, Some(uid))).await {
        Ok(Seen::Gone) => Ok(()),
        Ok(Seen::There) => Err((Outcome::Lost, format!("VolumeSnapshot {key} is there again: nothing was changed"))),
        Ok(Seen::Unknown) | Err(_) => {
            Err((Outcome::Lost, format!("whether VolumeSnapshot {key} is gone cannot be told: nothing was changed")))
        }
    }
}

/// No pod that has not ended mounts the claim: pods are not watched for that.
async fn unmounted(client: &Client, key: &Key, patience: Duration) -> Result<(), (Outcome, String)> {
    let left_alone = |words: String| (Outcome::Lost, format!("{words}: nothing was changed"));
    let mut uri = "/api/v1/namespaces/".to_owned();
    encode(&mut uri, &key.namespace);
    uri.push_str("/pods");
    let bytes = request::fetch(client, &uri, JSON, PODS, patience).await;
    let bytes = bytes.map_err(|refusal| left_alone(format!("pods cannot be listed ({})", refusal.words)))?;
    let list: Value = request::parse(&bytes).map_err(|refusal| left_alone(refusal.words.to_string()))?;
    let pods = list.get("items").and_then(Value::as_array);
    let pods = pods.ok_or_else(|| left_alone("the list of pods has no items".to_owned()))?;
    let ended = |pod: &Value| matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    let mounts = |pod: &Value| {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let mut names = volumes.into_iter().flatten().filter_map(|one| text(one, "/persistentVolumeClaim/claimName"));
        names.any(|name| name == &*key.name)
    };
    match pods.iter().find(|pod| !ended(pod) && mounts(pod)) {
        None => Ok(()),
        Some(pod) => Err(left_alone(format!("Pod {} mounts it", text(pod, "/metadata/name").unwrap_or_default()))),
    }
}

fn text<'a>(object: &'a Value, place: &str) -> Option<&'a str> {
    object.pointer(place).and_then(Value::as_str)
}

/// Switches a retained content to policy Delete, if it is still the one that was planned with.
fn switch(order: &Order) -> Call {
    let body = json!([
        {"op": "test", "path": "/metadata/uid", "value": order.uid.to_string()},
        {"op": "test", "path": "/metadata/resourceVersion", "value": &*order.version},
        {"op": "test", "path": "/spec/deletionPolicy", "value": "Retain"},
        {"op": "replace", "path": "/spec/deletionPolicy", "value": "Delete"},
    ]);
    Call { method: Method::PATCH, uri: path(order.thing, &order.key), content: JSON_PATCH, body }
}

fn deletion(order: &Order, version: &str) -> Call {
    let preconditions = json!({"uid": order.uid.to_string(), "resourceVersion": version});
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    if let Some(map) = body.as_object_mut().filter(|_| order.thing == Thing::Job) {
        // A Job of batch/v1 would leave its pods behind otherwise.
        map.insert("propagationPolicy".to_owned(), json!("Background"));
    }
    Call { method: Method::DELETE, uri: path(order.thing, &order.key), content: JSON, body }
}

fn version_of(bytes: &Bytes) -> Result<Box<str>, String> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: Box<str>,
    }
    let answer = request::parse::<Answer>(bytes).map_err(|refusal| refusal.words.to_string())?;
    Ok(answer.metadata.resource_version)
}

/// Stores the status of a SnapshotRetention, as long as we lead; its new version.
///
/// # Errors
/// In words: it was changed since it was read, or could not be written.
pub async fn tell(
    client: &Client,
    name: &str,
    patch: Value,
    lease: &watch::Receiver<Option<Duration>>,
    clock: &impl Clock,
) -> Result<Box<str>, String> {
    let Some(patience) = left(lease, clock, Duration::MAX) else { return Err("our lease is over".to_owned()) };
    let mut uri = format!("/apis/{GROUP}/{VERSION}/snapshotretentions/");
    encode(&mut uri, name);
    uri.push_str("/status");
    let bytes = send(client, Call::merge(uri, patch), patience).await.map_err(|refusal| refusal.words.to_string())?;
    version_of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guard::prune::tests::{content, passed};
    use crate::io::tests::{Asked, BEGAN, Told, Watch, ok, refused, server};

    const SECOND: Duration = Duration::from_secs(1);

    /// What comes of the deletion, with so much of our lease and so long after it was let out; and the writes it took.
    async fn pruned(lease: Option<u64>, waited: u64, answer: fn(&Asked) -> Told) -> (Outcome, Vec<Asked>) {
        pruned_of(|_| (), lease, waited, answer).await
    }

    /// The same with another order.
    async fn pruned_of(
        change: fn(&mut Order),
        lease: Option<u64>,
        waited: u64,
        answer: fn(&Asked) -> Told,
    ) -> (Outcome, Vec<Asked>) {
        let (client, book) = server(answer);
        let (_keep, lease) = watch::channel(lease.map(|left| BEGAN + Duration::from_secs(left)));
        let clock = Watch::start();
        tokio::time::sleep(Duration::from_secs(waited)).await;
        let (outcome, _) = prune(&client, &passed(BEGAN, change), &lease, &clock).await;
        (outcome, book.all())
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_of_that_very_object_in_that_very_version_and_sent_once() {
        let (outcome, asked) = pruned(Some(60), 0, |_| ok(json!({}))).await;
        assert_eq!((outcome, asked.len(), &asked[0].method), (Outcome::Applied, 1, &Method::DELETE));
        assert_eq!(asked[0].uri, "/apis/snapshot.storage.k8s.io/v1/namespaces/app/volumesnapshots/db-1");
        assert_eq!(asked[0].body["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
        for (answer, meant) in [
            ((|_| refused(409, "Conflict")) as fn(&Asked) -> Told, Outcome::Lost),
            (|_| refused(500, "InternalError"), Outcome::Unreachable),
            (|_| refused(403, "Forbidden"), Outcome::Denied),
            (|_| ok(json!({})).after(3600), Outcome::Unreachable),
        ] {
            let (outcome, asked) = pruned(Some(60), 0, answer).await;
            assert_eq!((outcome, asked.len()), (meant, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_our_lease_or_after_its_time_it_is_not_sent() {
        for (lease, waited) in [(None, 0), (Some(0), 0), (Some(60), 5)] {
            let (outcome, asked) = pruned(lease, waited, |_| ok(json!({}))).await;
            assert_eq!((outcome, asked.len()), (Outcome::Lost, 0), "{lease:?} {waited}");
        }
    }

    /// Where the VolumeSnapshot of a content is not there.
    fn without_snapshot(asked: &Asked) -> Told {
        match (&asked.method, asked.uri.contains("/volumesnapshots/")) {
            (&Method::GET, true) => refused(404, "NotFound"),
            (&Method::PATCH, _) => ok(json!({"metadata": {"resourceVersion": "8"}})),
            _ => ok(json!({})),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retained_content_is_switched_and_that_very_version_deleted() {
        let (outcome, asked) = pruned_of(content, Some(60), 0, without_snapshot).await;
        let methods: Vec<&Method> = asked.iter().map(|one| &one.method).collect();
        assert_eq!((outcome, methods), (Outcome::Applied, vec![&Method::GET, &Method::PATCH, &Method::DELETE]));
        assert!(asked[0].uri.ends_with("/namespaces/app/volumesnapshots/db-1"));
        assert_eq!(asked[1].uri, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/c");
        assert_eq!(asked[1].body[1], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(asked[1].body[2]["value"], "Retain");
        assert_eq!(asked[2].body["preconditions"], json!({"uid": "u", "resourceVersion": "8"}));
        // One that an earlier run has switched is only deleted.
        let switched: fn(&mut Order) = |order| {
            content(order);
            order.kept.as_mut().unwrap().retained = false;
        };
        let (outcome, asked) = pruned_of(switched, Some(60), 0, without_snapshot).await;
        assert_eq!((outcome, asked.len()), (Outcome::Applied, 2));
        assert_eq!(asked[1].body["preconditions"]["resourceVersion"], "7");
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_whose_snapshot_is_there_or_whose_switch_is_refused_is_not_deleted() {
        let there = |asked: &Asked| match asked.method {
            Method::GET => ok(json!({"metadata": {"uid": "gone"}})),
            _ => without_snapshot(asked),
        };
        let unknown = |asked: &Asked| match asked.method {
            Method::GET => refused(503, "ServiceUnavailable"),
            _ => without_snapshot(asked),
        };
        for answer in [there as fn(&Asked) -> Told, unknown] {
            let (outcome, asked) = pruned_of(content, Some(60), 0, answer).await;
            assert_eq!((outcome, asked.len()), (Outcome::Lost, 1));
        }
        let changed = |asked: &Asked| match asked.method {
            Method::PATCH => refused(409, "Conflict"),
            _ => without_snapshot(asked),
        };
        let (outcome, asked) = pruned_of(content, Some(60), 0, changed).await;
        assert_eq!((outcome, asked.len()), (Outcome::Lost, 2));
        // Between the two writes our lease ends.
        let slow = |asked: &Asked| match asked.method {
            Method::PATCH => ok(json!({"metadata": {"resourceVersion": "8"}})).after(4),
            _ => without_snapshot(asked),
        };
        let (outcome, asked) = pruned_of(content, Some(4), 0, slow).await;
        assert!(outcome != Outcome::Applied && asked.iter().all(|one| one.method != Method::DELETE));
    }

    /// One pod that mounts the claim.
    fn pods(asked: &Asked, phase: &str) -> Told {
        if asked.method != Method::GET {
            return ok(json!({}));
        }
        let volumes = json!([{"persistentVolumeClaim": {"claimName": "db-1"}}]);
        ok(json!({"items": [{"metadata": {"name": "p"}, "spec": {"volumes": volumes}, "status": {"phase": phase}}]}))
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_a_pod_mounts_stays() {
        let claim: fn(&mut Order) = |order| order.thing = Thing::Claim;
        let running = |asked: &Asked| pods(asked, "Running");
        let ended = |asked: &Asked| pods(asked, "Succeeded");
        let (outcome, asked) = pruned_of(claim, Some(60), 0, running).await;
        assert_eq!((outcome, asked.len()), (Outcome::Lost, 1));
        let (outcome, asked) = pruned_of(claim, Some(60), 0, ended).await;
        assert_eq!((outcome, &*asked[1].uri), (Outcome::Applied, "/api/v1/namespaces/app/persistentvolumeclaims/db-1"));
        let unlisted = |_: &Asked| refused(403, "Forbidden");
        assert_eq!(pruned_of(claim, Some(60), 0, unlisted).await.0, Outcome::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_takes_its_pods_along() {
        let job: fn(&mut Order) = |order| order.thing = Thing::Job;
        let (_, asked) = pruned_of(job, Some(60), 0, |_| ok(json!({}))).await;
        assert_eq!(
            (&*asked[0].uri, &asked[0].body["propagationPolicy"]),
            ("/apis/batch/v1/namespaces/app/jobs/db-1", &json!("Background"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_is_stored_once_and_only_while_we_lead() {
        let (client, book) = server(|_| ok(json!({"metadata": {"resourceVersion": "8"}})));
        let (lease, until) = watch::channel(Some(BEGAN + SECOND));
        let clock = Watch::start();
        assert_eq!(tell(&client, "nightly", json!({}), &until, &clock).await.as_deref(), Ok("8"));
        assert!(book.writes()[0].uri.ends_with("/snapshotretentions/nightly/status"));
        lease.send_replace(None);
        assert!(tell(&client, "nightly", json!({}), &until, &clock).await.is_err());
        assert_eq!(book.writes().len(), 1);
    }
}
