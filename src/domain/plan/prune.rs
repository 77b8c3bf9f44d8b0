//! What the guards before a deletion look at, gathered from the world.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Desk;
use super::gather::standing;
use crate::domain::fact::Source;
use crate::domain::finding::Subject;
use crate::domain::guard::prune::{GuardedPrune, PruneCase, pass};
use crate::domain::guard::{Judgement, Standing};
use crate::domain::name::{Key, Uid};
use crate::domain::prune::field::DriverSight;
use crate::domain::prune::part::Part;
use crate::domain::prune::relic::Thing;
use crate::domain::prune::run::{Ask, Order};
use crate::domain::record::{Content, Kind};

/// The deletion of a VolumeSnapshot or a content rests on these.
const SOURCES: [Source; 7] = [
    Source::Snapshots,
    Source::Contents,
    Source::Claims,
    Source::Leases,
    Source::Pods,
    Source::CsiDrivers,
    Source::Namespaces,
];
/// That of a content on these as well: who else has its handle.
const HANDLES: [Source; 2] = [Source::Orphans, Source::GroupContents];
/// That of a claim or a Job on these.
const VOLSYNC: [Source; 5] =
    [Source::Claims, Source::Namespaces, Source::Jobs, Source::ReplicationSources, Source::ReplicationDestinations];

/// What a deletion rests on.
fn sources(order: &Order) -> Vec<Source> {
    let mut all: Vec<Source> = match order.thing {
        Thing::Snapshot => SOURCES.to_vec(),
        Thing::Content => [&SOURCES[..], &HANDLES[..]].concat(),
        Thing::Claim | Thing::Job => Vec::new(),
    };
    if order.temporary.is_some() {
        all.extend(VOLSYNC.iter().filter(|source| !SOURCES.contains(source) || order.thing != Thing::Snapshot));
    }
    all
}

impl Desk<'_> {
    /// Asks every guard about a deletion.
    #[must_use]
    pub fn judge_prune(&self, ask: &Ask) -> (Judgement, Option<GuardedPrune>) {
        let (now, order) = (self.ctx.now, &ask.order);
        // Claims and Jobs go without the snapshot controllers, and a VolumeSnapshot without a content without a driver's.
        let needed = matches!(order.thing, Thing::Snapshot | Thing::Content);
        let snapshotter = match &order.driver {
            Some(driver) if needed => standing(self.ctx.driver(driver)),
            _ => Standing::Alive,
        };
        let controller = if needed { standing(self.ctx.components.controller.as_ref()) } else { Standing::Alive };
        pass(&PruneCase {
            now,
            ask,
            doubts: sources(order).into_iter().filter_map(|source| self.doubt(source)).collect(),
            lease_left: self.lease_until.and_then(|until| until.checked_sub(now.mono)),
            unfenced: self.unfenced(),
            pauses: self.stops(order),
            uses: self.prune_uses(order),
            snapshotter,
            controller,
            storm: order.driver.as_ref().and_then(|driver| self.trouble(driver, order.part)),
            // Every policy's: what holds a repair holds a deletion all the more.
            alerts: self
                .gates
                .come_to(&self.policies.iter().flat_map(|one| one.spec().gates.iter().cloned()).collect(), now.mono),
            missing: self.missing(order),
            threats: self.threats(order),
        })
    }

    /// What can be said of a driver's deletions.
    #[must_use]
    pub fn sight_driver(&self, driver: &str) -> DriverSight {
        let world = self.ctx.world;
        let all = self.ctx.components.failing.get(driver);
        let deleted = |subject: &&Subject| match subject.kind {
            Kind::VolumeSnapshot => world.snapshots.get(&subject.key).is_some_and(|one| one.meta.deleted.is_some()),
            _ => world.contents.get(&subject.key).is_some_and(|one| one.meta.deleted.is_some()),
        };
        let failing = all.map_or(0, BTreeSet::len);
        let stuck = all.into_iter().flatten().filter(deleted).count();
        DriverSight { degraded: self.degraded(driver), failing, stuck }
    }

    fn trouble(&self, driver: &str, part: Part) -> Option<String> {
        let DriverSight { degraded, failing, stuck } = self.sight_driver(driver);
        if degraded {
            return Some(format!("{driver} is degraded: more deletions would pile up"));
        }
        // Only what goes by count is held by creations that fail: those are what the others clean up.
        let failing = if matches!(part, Part::Snapshots | Part::VolsyncLeftovers) { failing } else { stuck };
        (failing > 0).then(|| format!("{failing} of {driver}'s snapshots hang or fail: more deletions would pile up"))
    }

    /// What the object, as the watch knows it, and its namespace say since the plan was made.
    fn stops(&self, order: &Order) -> Vec<String> {
        let world = self.ctx.world;
        let mut stops = Vec::new();
        let kept = order.kept.as_ref().and_then(|kept| kept.snapshot.as_ref());
        let namespace = kept.map_or(&order.key.namespace, |(key, _)| &key.namespace);
        if world.namespaces.get(&Key::cluster(&**namespace)).is_some_and(|found| found.ignored) {
            stops.push(format!("Namespace {namespace} carries volwarden.dev/ignore"));
        }
        let ignored = match order.thing {
            Thing::Snapshot => world.snapshots.get(&order.key).map(|one| &one.meta),
            Thing::Content => world.contents.get(&order.key).map(|one| &one.meta),
            Thing::Claim => world.claims.get(&order.key).map(|one| &one.meta),
            Thing::Job => world.jobs.get(&order.key).map(|one| &one.meta),
        };
        if ignored.is_some_and(|meta| meta.ignored) {
            stops.push(format!("{order} carries volwarden.dev/ignore"));
        }
        let snapshot = world.snapshots.get(&order.key).filter(|_| order.thing == Thing::Snapshot);
        if snapshot.is_some_and(|snapshot| snapshot.do_not_delete) {
            stops.push(format!("{order} carries volsync.backube/do-not-delete"));
        }
        stops
    }

    fn missing(&self, order: &Order) -> Vec<String> {
        let there = |(key, uid): &&(Key, Uid)| {
            let found = self.ctx.world.snapshots.get(key);
            !found.is_some_and(|found| {
                let content = found.content.as_ref().map(|name| Key::cluster(&**name));
                let content = content.and_then(|content| self.ctx.world.contents.get(&content));
                let restorable =
                    content.is_some_and(|one| one.meta.deleted.is_none() && one.snapshot.uid.as_ref() == Some(uid));
                found.meta.uid == *uid && found.meta.deleted.is_none() && found.ready == Some(true) && restorable
            })
        };
        order.staying.iter().filter(there).map(|(key, _)| format!("VolumeSnapshot {key}")).collect()
    }

    /// What would be lost with a content, beyond what was approved; and what has an owner again.
    fn threats(&self, order: &Order) -> Vec<String> {
        let world = self.ctx.world;
        let mut threats = Vec::new();
        if let Some(kept) = &order.kept {
            let print = world.contents.get(&order.key).and_then(Content::handle).map(|handle| handle.print);
            let grouped = |print: &u64| world.group_contents.iter().any(|(_, group)| group.handles.contains(print));
            let left = |print: &u64| world.orphans.iter().any(|(_, orphan)| orphan.print == *print);
            match print {
                None => threats.push(format!("{order} has no snapshotHandle")),
                Some(print) if world.handle_count(print) > 1 || grouped(&print) || left(&print) => {
                    threats.push(format!("something else carries the snapshotHandle of {order}"));
                }
                Some(_) => {}
            }
            let lives = |(key, uid): &&(Key, Uid)| world.snapshots.get(key).is_some_and(|one| one.meta.uid == *uid);
            if let Some((key, _)) = kept.snapshot.as_ref().filter(lives) {
                threats.push(format!("VolumeSnapshot {key} is there again"));
            }
        }
        if let Some(temporary) = &order.temporary {
            let key = Key::namespaced(Arc::clone(&order.key.namespace), temporary.source.clone());
            let all = [&world.replication_sources, &world.replication_destinations];
            if all.iter().any(|all| all.get(&key).is_some()) {
                threats.push(format!("{key}, its owner, is there again"));
            }
        }
        threats
    }

    fn prune_uses(&self, order: &Order) -> Vec<String> {
        let world = self.ctx.world;
        let snapshot = match (order.thing, &order.kept) {
            (Thing::Snapshot, _) => Some(&order.key),
            (_, Some(kept)) => kept.snapshot.as_ref().map(|(key, _)| key),
            _ => None,
        };
        let restores = snapshot.into_iter().flat_map(|key| world.restores(key));
        let mut uses: Vec<String> =
            restores.map(|claim| format!("PersistentVolumeClaim {claim} is being restored from it")).collect();
        if order.thing == Thing::Claim {
            let cut = world.unready(&order.key).next();
            uses.extend(cut.map(|snapshot| format!("VolumeSnapshot {snapshot} is being cut from it")));
        }
        if let Some(temporary) = &order.temporary {
            for direction in ["src", "dst"] {
                let name = format!("volsync-{direction}-{}", temporary.source);
                let key = Key::namespaced(Arc::clone(&order.key.namespace), name);
                if world.jobs.get(&key).is_some_and(|job| !job.complete && !job.failed) {
                    uses.push(format!("Job {key} has not finished"));
                }
            }
        }
        uses
    }
}
