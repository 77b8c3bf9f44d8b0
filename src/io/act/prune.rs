//! Deletes one VolumeSnapshot for which there is a pass, and stores the status of a SnapshotRetention.
//!
//! The deletion carries uid and version of the very object the plan was made from: the API server compares both in
//! the same request, and whatever has changed since is left alone. Nothing is sent twice, and nothing after its time.

use std::time::Duration;

use http::Method;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::left;
use super::send::{Call, outcome, send};
use crate::api::{GROUP, VERSION};
use crate::domain::guard::prune::GuardedPrune;
use crate::domain::ledger::Outcome;
use crate::domain::prune::run::Order;
use crate::io::clock::Clock;
use crate::io::request::{self, JSON, encode};

/// Deletes it; what came of that, and the same in words.
pub async fn prune(
    client: &Client,
    guarded: &GuardedPrune,
    lease: &watch::Receiver<Option<Duration>>,
    clock: &impl Clock,
) -> (Outcome, String) {
    let Some(patience) = left(lease, clock, guarded.deadline()) else {
        return (Outcome::Lost, "its time was over before it could be sent: nothing was changed".to_owned());
    };
    match send(client, deletion(guarded.order()), patience).await {
        Ok(_) => (Outcome::Applied, "the API server took it".to_owned()),
        Err(refusal) => (outcome(&refusal), refusal.words.to_string()),
    }
}

fn deletion(order: &Order) -> Call {
    let mut uri = "/apis/snapshot.storage.k8s.io/v1/namespaces/".to_owned();
    encode(&mut uri, &order.key.namespace);
    uri.push_str("/volumesnapshots/");
    encode(&mut uri, &order.key.name);
    let preconditions = json!({"uid": order.uid.to_string(), "resourceVersion": &*order.version});
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    Call { method: Method::DELETE, uri, content: JSON, body }
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
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: Box<str>,
    }
    let Some(patience) = left(lease, clock, Duration::MAX) else { return Err("our lease is over".to_owned()) };
    let mut uri = format!("/apis/{GROUP}/{VERSION}/snapshotretentions/");
    encode(&mut uri, name);
    uri.push_str("/status");
    let bytes = send(client, Call::merge(uri, patch), patience).await.map_err(|refusal| refusal.words.to_string())?;
    let answer = request::parse::<Answer>(&bytes).map_err(|refusal| refusal.words.to_string())?;
    Ok(answer.metadata.resource_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guard::prune::tests::passed;
    use crate::io::tests::{Asked, BEGAN, Told, Watch, ok, refused, server};

    const SECOND: Duration = Duration::from_secs(1);

    /// What comes of the deletion, with so much of our lease and so long after it was let out; and the writes it took.
    async fn pruned(lease: Option<u64>, waited: u64, answer: fn(&Asked) -> Told) -> (Outcome, Vec<Asked>) {
        let (client, book) = server(answer);
        let (_keep, lease) = watch::channel(lease.map(|left| BEGAN + Duration::from_secs(left)));
        let clock = Watch::start();
        tokio::time::sleep(Duration::from_secs(waited)).await;
        let (outcome, _) = prune(&client, &passed(BEGAN), &lease, &clock).await;
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
