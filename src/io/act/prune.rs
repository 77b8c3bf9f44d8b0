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

use super::send::{Call, outcome, send};
use crate::api::{GROUP, VERSION};
use crate::domain::guard::prune::GuardedPrune;
use crate::domain::ledger::Outcome;
use crate::domain::prune::run::Order;
use crate::domain::remedy::action::ACT;
use crate::io::clock::Clock;
use crate::io::request::{self, JSON, encode};

/// How long a write may take from now; `None`: it may not be sent any more.
fn left(lease: &watch::Receiver<Option<Duration>>, clock: &impl Clock, deadline: Duration) -> Option<Duration> {
    let until = (*lease.borrow())?.min(deadline);
    until.checked_sub(clock.now().mono).filter(|left| !left.is_zero()).map(|left| left.min(ACT))
}

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
    use crate::domain::name::{Key, Uid};

    #[test]
    fn a_deletion_is_of_that_very_object_in_that_very_version() {
        let order = Order {
            key: Key::namespaced("app", "db/1"),
            uid: Uid::parse("u-1"),
            version: "7".into(),
            content: Key::cluster("c"),
            driver: "d".into(),
            staying: [].into(),
        };
        let call = deletion(&order);
        assert_eq!(call.method, Method::DELETE);
        assert_eq!(call.uri, "/apis/snapshot.storage.k8s.io/v1/namespaces/app/volumesnapshots/db%2F1");
        assert_eq!(call.body["preconditions"], json!({"uid": "u-1", "resourceVersion": "7"}));
    }
}
