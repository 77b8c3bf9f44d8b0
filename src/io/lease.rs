//! Our own Lease: reads it, writes it, and tells until when it is ours. [`Election`] decides.
//!
//! The engine is told a moment on its own clock and not a yes: should this task hang, the moment passes by
//! itself. On shutdown the lease is given up, so that the other replica takes over within seconds.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::domain::election::{Claim, Election, Held, Rules, Step, View};
use crate::domain::fact::Fact;

use super::act::send::{Call, send};
use super::clock::Clock;
use super::request::{self, JSON, Refusal};

/// Name of the Lease.
pub const NAME: &str = "volwarden";
/// Most that is read of it, in bytes.
const LEASE_BYTES: usize = 1024 * 1024;

/// Where the Lease is, and how it is held.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its namespace.
    pub namespace: String,
    /// The election's rules.
    pub rules: Rules,
}

#[derive(Debug, Deserialize)]
struct Lease {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<Box<str>>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<Timestamp>,
    renew_time: Option<Timestamp>,
    lease_transitions: Option<i32>,
}

fn view(bytes: &[u8]) -> Result<View, Refusal> {
    let lease: Lease = request::parse(bytes)?;
    let spec = lease.spec.unwrap_or_default();
    Ok(View::Held(Held {
        version: lease.metadata.resource_version,
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or_default()),
        acquired: spec.acquire_time,
        renewed: spec.renew_time,
        transitions: spec.lease_transitions.unwrap_or_default(),
    }))
}

fn manifest(namespace: &str, claim: &Claim) -> Value {
    let mut metadata = json!({"name": NAME, "namespace": namespace});
    if let (Some(version), Some(metadata)) = (&claim.version, metadata.as_object_mut()) {
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": &*claim.holder,
            "leaseDurationSeconds": claim.duration.as_secs().max(1),
            // The API wants microseconds, and refuses a time without them.
            "acquireTime": format!("{:.6}", claim.acquired),
            "renewTime": format!("{:.6}", claim.renewed),
            "leaseTransitions": claim.transitions,
        },
    })
}

/// What was last said in the log, so that it is said once.
#[derive(Debug, Default)]
struct Said {
    leads: bool,
    trouble: Option<Arc<str>>,
}

/// Stands for election until told to stop, or until nobody wants to know. Until when we lead is told twice: to the
/// engine, and by `lease` to the hands, who look at it again before each write.
pub async fn run<C: Clock>(
    client: Client,
    seat: Seat,
    clock: C,
    facts: mpsc::Sender<Fact>,
    lease: watch::Sender<Option<Duration>>,
    mut stop: watch::Receiver<bool>,
) {
    let desk = Desk { client, seat };
    let mut election = Election::new(desk.seat.rules.clone());
    let mut said = Said::default();
    loop {
        let work = desk.round(&mut election, &clock, &mut said);
        let told = tokio::select! {
            told = work => told,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        lease.send_replace(told);
        if facts.send(Fact::Leadership(told)).await.is_err() {
            return;
        }
        tokio::select! {
            () = clock.sleep_until(election.next()) => {}
            () = facts.closed() => return,
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // The hands and the engine first: nothing may be written on a lease that is being given up.
    lease.send_replace(None);
    let _ = facts.send(Fact::Leadership(None)).await;
    let (seen, _) = desk.read().await;
    if let Some(claim) = election.release(&seen, clock.now()) {
        match desk.write(&claim).await {
            Ok(()) => info!(lease = NAME, "gave up the lease"),
            Err(refusal) => debug!(%refusal, "the lease could not be given up; it runs out by itself"),
        }
    }
}

struct Desk {
    client: Client,
    seat: Seat,
}

impl Desk {
    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.seat.namespace)
    }

    fn patience(&self) -> Duration {
        self.seat.rules.renew_deadline / 2
    }

    async fn read(&self) -> (View, Option<Refusal>) {
        let path = format!("{}/{NAME}", self.path());
        let read = request::fetch(&self.client, &path, JSON, LEASE_BYTES, self.patience()).await;
        match read.and_then(|bytes| view(&bytes)) {
            Ok(view) => (view, None),
            Err(refusal) if refusal.is(http::StatusCode::NOT_FOUND) && refusal.reason == "NotFound" => {
                (View::Absent, None)
            }
            Err(refusal) => (View::Unknown, Some(refusal)),
        }
    }

    async fn write(&self, claim: &Claim) -> Result<(), Refusal> {
        let manifest = manifest(&self.seat.namespace, claim);
        let call = match claim.version {
            None => Call::create(self.path(), manifest),
            Some(_) => Call::replace(format!("{}/{NAME}", self.path()), manifest),
        };
        send(&self.client, call, self.patience()).await.map(drop)
    }

    /// One look, and the write that follows from it; until when we lead after that.
    async fn round<C: Clock>(&self, election: &mut Election, clock: &C, said: &mut Said) -> Option<Duration> {
        let (seen, mut trouble) = self.read().await;
        match election.observe(&seen, clock.now()) {
            Step::Acquire(claim) | Step::Renew(claim) => {
                let written = self.write(&claim).await;
                let taken = written.is_ok();
                // Another one was faster: that is what elections are like.
                trouble = written.err().filter(|refusal| !refusal.is(http::StatusCode::CONFLICT));
                election.written(taken, clock.now());
            }
            Step::Yield | Step::Sleep(_) => {}
        }
        let leads = election.leads(clock.now());
        if leads != said.leads {
            let (identity, namespace) = (&*self.seat.rules.identity, &*self.seat.namespace);
            if leads {
                info!(identity, namespace, lease = NAME, "leads");
            } else {
                warn!(identity, namespace, lease = NAME, "leads no more; nothing is written until it does again");
            }
            said.leads = leads;
        }
        let words = trouble.map(|refusal| refusal.words);
        if said.trouble != words {
            let namespace = &*self.seat.namespace;
            if let Some(words) = &words {
                warn!(namespace, lease = NAME, %words, "the lease cannot be held");
            } else {
                info!(namespace, lease = NAME, "the lease can be read and written again");
            }
            said.trouble = words;
        }
        election.leads_until().filter(|_| leads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_back_as_it_was_written() {
        let at: Timestamp = "2026-11-25T10:00:00.5Z".parse().unwrap();
        let claim = Claim {
            version: Some("7".into()),
            holder: "me".into(),
            duration: Duration::from_secs(15),
            acquired: at,
            renewed: at,
            transitions: 3,
        };
        let mut written = manifest("ns", &claim);
        assert_eq!(written["spec"]["renewTime"], "2026-11-25T10:00:00.500000Z");
        written["metadata"]["resourceVersion"] = json!("8");
        let View::Held(held) = view(&serde_json::to_vec(&written).unwrap()).unwrap() else { panic!() };
        assert_eq!((&*held.holder, held.duration, held.transitions), ("me", claim.duration, 3));
        assert_eq!((held.renewed, &*held.version), (Some(at), "8"));
    }

    #[test]
    fn a_lease_without_a_spec_is_nobodys() {
        let View::Held(held) = view(br#"{"metadata":{"resourceVersion":"1"}}"#).unwrap() else { panic!() };
        assert!(held.holder.is_empty() && held.renewed.is_none());
        assert!(view(b"<html>").is_err());
    }
}
