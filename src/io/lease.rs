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
    use crate::io::tests::{Asked, Told, Watch, ok, refused, server};
    use http::Method;
    use std::sync::Mutex;

    const SECOND: Duration = Duration::from_secs(1);

    fn seat() -> Seat {
        Seat { namespace: "ns".to_owned(), rules: Rules::new("me") }
    }

    /// A server that keeps the Lease as the real one does: created once, replaced only on its version.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<(u64, Option<Value>)>>);

    impl Kept {
        fn answer(&self, asked: &Asked) -> Told {
            let mut kept = self.0.lock().unwrap();
            let (version, lease) = &mut *kept;
            if asked.method != Method::GET {
                let known = lease.as_ref().map_or(Value::Null, |lease| lease["metadata"]["resourceVersion"].clone());
                if asked.body["metadata"]["resourceVersion"] != known {
                    return refused(409, "Conflict");
                }
                *version += 1;
                let mut new = asked.body.clone();
                new["metadata"]["resourceVersion"] = json!(version.to_string());
                *lease = Some(new);
            }
            lease.clone().map_or_else(|| refused(404, "NotFound"), ok)
        }

        fn holder(&self) -> Option<Value> {
            self.0.lock().unwrap().1.as_ref().map(|lease| lease["spec"]["holderIdentity"].clone())
        }

        /// Somebody else writes it.
        fn taken_by(&self, holder: &str) {
            let mut kept = self.0.lock().unwrap();
            kept.0 += 1;
            let metadata = json!({"resourceVersion": kept.0.to_string()});
            kept.1 =
                Some(json!({"metadata": metadata, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}}));
        }
    }

    /// A candidate at work: what the engine is told, what the hands are told, and the word to stop.
    struct Candidate {
        facts: mpsc::Receiver<Fact>,
        lease: watch::Receiver<Option<Duration>>,
        stop: watch::Sender<bool>,
    }

    fn stands(client: Client, lease: watch::Sender<Option<Duration>>) -> Candidate {
        let (told, facts) = mpsc::channel(1000);
        let ((stop, stopped), seen) = (watch::channel(false), lease.subscribe());
        tokio::spawn(run(client, seat(), Watch::start(), told, lease, stopped));
        Candidate { facts, lease: seen, stop }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_taken_renewed_on_its_version_and_given_up_after_everybody_was_told() {
        let kept = Kept::default();
        let (lease, seen) = watch::channel(None);
        let writes_while_led = Arc::new(Mutex::new(Vec::new()));
        let (server_kept, noted) = (kept.clone(), Arc::clone(&writes_while_led));
        let (client, book) = server(move |asked| {
            if asked.method != Method::GET {
                noted.lock().unwrap().push((asked.body["spec"]["holderIdentity"].clone(), seen.borrow().is_some()));
            }
            server_kept.answer(asked)
        });
        let mut candidate = stands(client, lease);
        tokio::time::sleep(9 * SECOND).await;
        let writes = book.writes();
        assert_eq!(
            (&writes[0].method, writes[0].uri.as_str()),
            (&Method::POST, "/apis/coordination.k8s.io/v1/namespaces/ns/leases")
        );
        assert!(writes.len() >= 4 && writes[1..].iter().all(|write| write.method == Method::PUT), "{writes:?}");
        assert_eq!((kept.holder(), candidate.lease.borrow().is_some()), (Some(json!("me")), true));
        candidate.stop.send_replace(true);
        tokio::time::sleep(SECOND).await;
        assert_eq!(kept.holder(), Some(json!("")), "the other replica need not wait it out");
        assert_eq!(writes_while_led.lock().unwrap().last(), Some(&(json!(""), false)), "the hands first");
        let mut last = None;
        while let Ok(fact) = candidate.facts.try_recv() {
            last = Some(fact);
        }
        assert!(matches!(last, Some(Fact::Leadership(None))), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_lost_to_who_wrote_it_and_not_given_up_for_them() {
        let kept = Kept::default();
        let server_kept = kept.clone();
        let (client, book) = server(move |asked| server_kept.answer(asked));
        let candidate = stands(client, watch::channel(None).0);
        tokio::time::sleep(3 * SECOND).await;
        assert!(candidate.lease.borrow().is_some());
        kept.taken_by("another");
        tokio::time::sleep(3 * SECOND).await;
        assert!(candidate.lease.borrow().is_none());
        let before = book.writes().len();
        candidate.stop.send_replace(true);
        tokio::time::sleep(SECOND).await;
        assert_eq!((book.writes().len(), kept.holder()), (before, Some(json!("another"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_lets_the_moment_pass_that_was_told() {
        let kept = Kept::default();
        let (hangs, hung) = watch::channel(false);
        let (client, _) =
            server(move |asked| if *hung.borrow() { kept.answer(asked).after(3600) } else { kept.answer(asked) });
        let candidate = stands(client, watch::channel(None).0);
        tokio::time::sleep(3 * SECOND).await;
        let until = candidate.lease.borrow().unwrap();
        hangs.send_replace(true);
        tokio::time::sleep(30 * SECOND).await;
        let told = *candidate.lease.borrow();
        assert!(told.is_none_or(|told| told <= until + 2 * SECOND), "{told:?} {until:?}");
    }

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
