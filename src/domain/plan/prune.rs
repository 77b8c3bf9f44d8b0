//! What the guards before a deletion look at, gathered from the world.

use super::Desk;
use super::gather::standing;
use crate::domain::fact::Source;
use crate::domain::guard::Judgement;
use crate::domain::guard::prune::{GuardedPrune, PruneCase, pass};
use crate::domain::name::{Key, Uid};
use crate::domain::prune::field::DriverSight;
use crate::domain::prune::run::{Ask, Order};

/// A deletion rests on these.
const SOURCES: [Source; 7] = [
    Source::Snapshots,
    Source::Contents,
    Source::Claims,
    Source::Leases,
    Source::Pods,
    Source::CsiDrivers,
    Source::Namespaces,
];

impl Desk<'_> {
    /// Asks every guard about a deletion.
    #[must_use]
    pub fn judge_prune(&self, ask: &Ask) -> (Judgement, Option<GuardedPrune>) {
        let (now, order) = (self.ctx.now, &ask.order);
        pass(&PruneCase {
            now,
            ask,
            doubts: SOURCES.into_iter().filter_map(|source| self.doubt(source)).collect(),
            lease_left: self.lease_until.and_then(|until| until.checked_sub(now.mono)),
            pauses: self.stops(order),
            uses: self.prune_uses(order),
            snapshotter: standing(self.ctx.driver(&order.driver)),
            controller: standing(self.ctx.components.controller.as_ref()),
            storm: self.trouble(&order.driver),
            // Every policy's: what holds a repair holds a deletion all the more.
            alerts: self
                .gates
                .come_to(&self.policies.iter().flat_map(|one| one.spec().gates.iter().cloned()).collect(), now.mono),
            missing: self.missing(order),
        })
    }

    /// What can be said of a driver's deletions.
    #[must_use]
    pub fn sight_driver(&self, driver: &str) -> DriverSight {
        let failing = self.ctx.components.failing.get(driver).map_or(0, std::collections::BTreeSet::len);
        DriverSight { degraded: self.degraded(driver), failing }
    }

    fn trouble(&self, driver: &str) -> Option<String> {
        let DriverSight { degraded, failing } = self.sight_driver(driver);
        if degraded {
            return Some(format!("{driver} is degraded: more deletions would pile up"));
        }
        (failing > 0).then(|| format!("{failing} of {driver}'s snapshots hang or fail: more deletions would pile up"))
    }

    /// What the object, as the watch knows it, and its namespace say since the plan was made.
    fn stops(&self, order: &Order) -> Vec<String> {
        let world = self.ctx.world;
        let mut stops = Vec::new();
        if world.namespaces.get(&Key::cluster(&*order.key.namespace)).is_some_and(|found| found.ignored) {
            stops.push(format!("Namespace {} carries volwarden.dev/ignore", order.key.namespace));
        }
        if let Some(snapshot) = world.snapshots.get(&order.key) {
            if snapshot.meta.ignored {
                stops.push(format!("VolumeSnapshot {} carries volwarden.dev/ignore", order.key));
            }
            if snapshot.do_not_delete {
                stops.push(format!("VolumeSnapshot {} carries volsync.backube/do-not-delete", order.key));
            }
        }
        stops
    }

    fn missing(&self, order: &Order) -> Vec<String> {
        let there = |(key, uid): &&(Key, Uid)| {
            let found = self.ctx.world.snapshots.get(key);
            !found.is_some_and(|found| {
                found.meta.uid == *uid && found.meta.deleted.is_none() && found.ready == Some(true)
            })
        };
        order.staying.iter().filter(there).map(|(key, _)| format!("VolumeSnapshot {key}")).collect()
    }

    fn prune_uses(&self, order: &Order) -> Vec<String> {
        let restores = self.ctx.world.restores(&order.key);
        restores.map(|claim| format!("PersistentVolumeClaim {claim} is being restored from it")).collect()
    }
}
