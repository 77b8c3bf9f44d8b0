//! Our own lease on virtual time: the pure election, with a read and a write that take their time and may fail.
//!
//! It stands for `io::lease`. Every write carries the version that was read, and what the daemon believes of its
//! leadership is only what the election says; whether that is true is judged from the lease in the store.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::journal::{Entry, What};
use super::wire::{Flight, Reply};
use super::{Clock, Reading, Weather};
use crate::domain::election::{Claim, Election, Held, Rules, Step, View};
use crate::domain::fact::{Now, Source};
use crate::sim::actors::object::micros;
use crate::sim::cluster::Cluster;
use crate::sim::process::draw;
use crate::sim::store::{Part, object, table};

/// Where our lease is.
pub const NAMESPACE: &str = "volwarden-system";
/// Its name.
pub const LEASE: &str = "volwarden";
/// The daemon's field manager.
pub const MANAGER: &str = "volwarden";
/// Patience for a request: half of the time in which a renewal has to succeed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the way of a read takes, each way; and when everything is slow.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));
const SLOWNESS: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(4));

#[derive(Debug)]
enum Stage {
    /// Until the election wants to read again.
    Idle,
    /// A read is on its way.
    Reading { arrives: Duration, answered: Duration, fails: bool },
    /// Its answer is.
    Read { answered: Duration, view: View },
    /// A write is on its way.
    Writing(Flight, Claim),
    /// Its answer is.
    Written { answered: Duration, taken: bool },
}

/// One candidate; see the module.
#[derive(Debug)]
pub(super) struct Leader {
    election: Election,
    identity: Arc<str>,
    stage: Stage,
    told: Option<Duration>,
    rng: Rng,
}

impl Leader {
    pub(super) fn new(identity: &Arc<str>, rng: Rng) -> Self {
        let election = Election::new(Rules::new(Arc::clone(identity)));
        Self { election, identity: Arc::clone(identity), stage: Stage::Idle, told: None, rng }
    }

    /// When something arrives at the server.
    pub(super) fn arrives(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Reading { arrives, .. } => Some(*arrives),
            Stage::Writing(flight, _) => Some(flight.arrives),
            Stage::Idle | Stage::Read { .. } | Stage::Written { .. } => None,
        }
    }

    /// When the process has something to do.
    pub(super) fn due(&self, clock: Clock) -> Option<Duration> {
        match &self.stage {
            Stage::Idle => Some(clock.time_of(self.election.next())),
            Stage::Read { answered, .. } | Stage::Written { answered, .. } => Some(*answered),
            Stage::Reading { .. } | Stage::Writing(..) => None,
        }
    }

    /// Until when it leads, on the process's clock, as far as it knows.
    pub(super) fn leads_until(&self) -> Option<Duration> {
        self.election.leads_until()
    }

    /// What has come to the server by now.
    pub(super) fn arrive(&mut self, at: Duration, cluster: &mut Cluster, journal: &mut Vec<Entry>) {
        if self.arrives().is_none_or(|arrives| arrives > at) {
            return;
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Reading { answered, fails, .. } => {
                let view = if fails { View::Unknown } else { view(cluster) };
                Stage::Read { answered, view }
            }
            Stage::Writing(flight, claim) => {
                let taken = flight.happens && self.write(&claim, at, cluster, journal);
                Stage::Written { answered: flight.answered, taken: taken && flight.reply == Reply::Servers }
            }
            other => other,
        };
    }

    fn write(&self, claim: &Claim, at: Duration, cluster: &mut Cluster, journal: &mut Vec<Entry>) -> bool {
        let mut metadata = json!({"name": LEASE, "namespace": NAMESPACE});
        if let (Some(version), Some(fields)) = (&claim.version, metadata.as_object_mut()) {
            fields.insert("resourceVersion".to_owned(), version.as_ref().into());
        }
        let lease = json!({"metadata": metadata, "spec": {"holderIdentity": claim.holder,
            "leaseDurationSeconds": claim.duration.as_secs(), "acquireTime": micros(claim.acquired),
            "renewTime": micros(claim.renewed), "leaseTransitions": claim.transitions}});
        let before = cluster.store.get(table::LEASES, NAMESPACE, LEASE).ok();
        let writer = cluster.writer(MANAGER);
        let after = match claim.version {
            None => cluster.store.create(writer, table::LEASES, NAMESPACE, lease),
            Some(_) => cluster.store.replace(writer, table::LEASES, NAMESPACE, LEASE, Part::Object, lease),
        };
        let taken = after.is_ok();
        let (namespace, name) = (NAMESPACE.to_owned(), LEASE.to_owned());
        let (by, resource) = (Arc::clone(&self.identity), table::LEASES);
        journal.push(Entry { at, by, what: What::Lease, resource, namespace, name, before, after, intent: None });
        taken
    }

    /// Does what is due; whether until when we lead is something else now.
    pub(super) fn advance(&mut self, now: Now, clock: Clock, weather: &Weather) -> bool {
        let at = clock.time_of(now.mono);
        if self.due(clock).is_none_or(|due| due > at) {
            return false;
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => self.read(at, weather),
            Stage::Read { view, .. } => match self.election.observe(&view, now) {
                Step::Acquire(claim) | Step::Renew(claim) => {
                    let flight = Flight::send(&mut self.rng, weather.writes, at, PATIENCE);
                    self.stage = Stage::Writing(flight, claim);
                }
                Step::Yield | Step::Sleep(_) => {}
            },
            Stage::Written { taken, .. } => drop(self.election.written(taken, now)),
            other => self.stage = other,
        }
        let until = self.election.leads_until();
        std::mem::replace(&mut self.told, until) != until
    }

    fn read(&mut self, at: Duration, weather: &Weather) {
        let slow = weather.reads == Reading::Slow;
        let (least, most) = if slow { SLOWNESS } else { LATENCY };
        let (way, back) = (draw(&mut self.rng, least, most), draw(&mut self.rng, least, most));
        let hangs = weather.reads == Reading::Hung || way + back >= PATIENCE;
        let fails = hangs || weather.reads == Reading::Failing || weather.sky(Source::Leases).trouble().is_some();
        let answered = if hangs { at + PATIENCE } else { at + way + back };
        self.stage = Stage::Reading { arrives: at + way, answered, fails };
    }
}

fn view(cluster: &Cluster) -> View {
    match cluster.store.get(table::LEASES, NAMESPACE, LEASE) {
        Ok(lease) => View::Held(held(&lease)),
        Err(refusal) if refusal.is_not_found() => View::Absent,
        Err(_) => View::Unknown,
    }
}

fn held(lease: &Value) -> Held {
    let number = |field: &str| object::at(lease, field).and_then(Value::as_u64).unwrap_or_default();
    Held {
        version: object::text(lease, "/metadata/resourceVersion").into(),
        holder: object::text(lease, "/spec/holderIdentity").into(),
        duration: Duration::from_secs(number("/spec/leaseDurationSeconds")),
        acquired: object::text(lease, "/spec/acquireTime").parse().ok(),
        renewed: object::text(lease, "/spec/renewTime").parse().ok(),
        transitions: i32::try_from(number("/spec/leaseTransitions")).unwrap_or(i32::MAX),
    }
}
