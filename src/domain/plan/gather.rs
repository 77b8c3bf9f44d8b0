//! What the guards look at, gathered from the world: plain data, and no judgement.

use std::time::Duration;

use jiff::Timestamp;

use super::Desk;
use crate::domain::components::{Health, View};
use crate::domain::digest::Hash;
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Finding, Subject};
use crate::domain::freshness::State;
use crate::domain::guard::{Backend, Case, Seen, Standing};
use crate::domain::ledger::count::Budget;
use crate::domain::ledger::{Approved, Record};
use crate::domain::name::Key;
use crate::domain::policy::{Governing, UNFENCED};
use crate::domain::record::{ClaimPhase, Kind};
use crate::domain::remedy::action::Action;
use crate::domain::remedy::{Step, ladder};
use crate::domain::timing::SHORT;
use crate::domain::words;
use crate::domain::world::content_key;

/// A source that was silent for longer is not followed any more: one that is healthy says something each minute.
const SILENT: Duration = Duration::from_secs(180);
/// A CephCluster's health is told each minute.
const HEALTH_STALE: Duration = Duration::from_secs(600);
/// Every decision to write rests on these.
const ALWAYS: [Source; 11] = [
    Source::Snapshots,
    Source::Contents,
    Source::Claims,
    Source::Leases,
    Source::Pods,
    Source::CsiDrivers,
    Source::GroupContents,
    Source::Namespaces,
    Source::Policies,
    Source::Remediations,
    Source::Orphans,
];

impl Desk<'_> {
    pub(super) fn case<'b>(
        &self,
        finding: &Finding,
        record: Option<&Record>,
        action: &'b Action,
        hash: &Hash,
        governing: &Governing,
    ) -> Case<'b> {
        let now = self.ctx.now;
        let name = record.map(|record| &*record.name);
        let intent = record.and_then(|record| record.intent.as_ref().map(|intent| (&*record.name, intent.number)));
        let (driver, tally) = (&*action.driver, self.ledger.tally());
        let view = self.ctx.driver(driver);
        let budget = Budget::of(action.step);
        let reaches_driver = action.step.reaches_driver();
        Case {
            now,
            action,
            doubts: self.doubts(action.step),
            lease_left: self.lease_until.and_then(|until| until.checked_sub(now.mono)),
            unfenced: self.unfenced(),
            policies: governing.named(),
            mode: governing.mode,
            switched_on: governing.steps.contains(&action.step),
            approved: record.map_or(Approved::No, |record| record.approves(hash, now.wall)),
            pauses: self.pauses(action, governing),
            out_of_scope: (!governing.in_scope).then(|| self.out_of_scope(action)),
            seen: self.seen(finding, record, governing),
            restores: self.restores(action),
            work: if reaches_driver { self.work(driver) } else { Vec::new() },
            uses: if action.step.only_by_approval() { self.uses(&action.subject) } else { Vec::new() },
            snapshotter: standing(view),
            controller: standing(self.ctx.components.controller.as_ref()),
            backend: self.backend(),
            assume_healthy: governing.assume_healthy,
            storm: self.degraded(driver),
            batch: tally.batch(driver, finding.class, name, now.wall),
            first_singly: governing.first_singly,
            max_in_flight: governing.max_in_flight,
            spent: tally.spent(driver, budget, intent, now.wall),
            limit: budget.limit(&governing.budgets),
            fuse: tally.fuse(driver, &governing.breaker, now.wall),
            rests: if record.is_none_or(|record| record.attempts.is_empty()) {
                tally.rests(finding, &governing.breaker, now.wall)
            } else {
                None
            },
            driver_in_flight: tally.in_flight(driver, name),
            rest: governing.breaker.half_open_after,
            window: window(record, governing, now.wall),
            alerts: self.gates.come_to(&governing.gates, now.mono),
        }
    }

    pub(super) fn degraded(&self, driver: &str) -> bool {
        let finding = self.ctx.findings.get(&Subject::driver(driver));
        self.ctx.storm(driver) || finding.is_some_and(|finding| finding.class == Class::DriverDegraded)
    }

    fn doubts(&self, step: Step) -> Vec<String> {
        let backend = matches!(step, Step::RestartLeader | Step::RestartCandidate).then_some(Source::CephClusters);
        let extra = step.reaches_driver().then_some(Source::StorageClasses).into_iter().chain(backend);
        ALWAYS.into_iter().chain(extra).filter_map(|source| self.doubt(source)).collect()
    }

    /// Why nothing may rest on this collection now, in words.
    #[must_use]
    pub fn doubt(&self, source: Source) -> Option<String> {
        let sources = &self.ctx.world.sources;
        if let Some(doubt) = sources.doubt(source) {
            return Some(doubt);
        }
        if let Some(doubt) = self.ctx.world.unread.doubt(source) {
            return Some(doubt);
        }
        let entry = sources.get(source)?;
        // An intent has to be written somewhere.
        if source == Source::Remediations && entry.state == State::NotInstalled {
            return Some("Remediations are not installed: there is no ledger to write an intent to".to_owned());
        }
        let silent = self.ctx.now.mono.saturating_sub(entry.heard.unwrap_or_default());
        (entry.state == State::Synced && silent > SILENT)
            .then(|| format!("nothing has been heard of {source}s for {}", words::short(silent)))
    }

    /// Why nothing may be written for want of a fence. A single look cannot ask in the daemon's name; it shows what the
    /// daemon says of itself.
    pub(in crate::domain) fn unfenced(&self) -> Option<String> {
        if self.ctx.settings.eager {
            let mut policies = self.policies.iter();
            let policy = policies.find(|one| one.told().conditions.iter().any(|one| &*one.reason == UNFENCED))?;
            let name = policy.name();
            return Some(format!("the daemon waits until it sees its fence stand: status.conditions of policy {name}"));
        }
        self.fence.hold(self.ctx.now.mono).filter(|_| self.ctx.settings.require_fence)
    }

    fn out_of_scope(&self, action: &Action) -> String {
        if action.step.reaches_driver() || action.subject.kind == Kind::CsiDriver {
            return format!("no policy covers the whole of driver {}", action.driver);
        }
        let namespace = self.namespace(&action.subject);
        format!("no policy covers driver {} in namespace {namespace}", action.driver)
    }

    fn pauses(&self, action: &Action, governing: &Governing) -> Vec<(String, Option<Timestamp>)> {
        let (world, now) = (self.ctx.world, self.ctx.now.wall);
        let mut pauses: Vec<(String, Option<Timestamp>)> =
            governing.suspended.iter().map(|name| (format!("policy {name} is suspended"), None)).collect();
        let timed = governing.pauses.iter().filter(|(_, pause)| pause.until > now);
        pauses.extend(timed.map(|(name, pause)| {
            (format!("policy {name} is paused until {}: {}", pause.until, pause.reason), Some(pause.until))
        }));
        let mut objects: Vec<(Kind, Key)> = vec![(action.subject.kind, action.subject.key.clone())];
        if action.target.kind == crate::domain::remedy::action::TargetKind::Content {
            objects.push((Kind::VolumeSnapshotContent, action.target.key.clone()));
        }
        for (kind, key) in &objects {
            self.marked(*kind, key, &mut pauses);
        }
        if let Some(pod) = world.pods.get(&action.target.key).filter(|pod| pod.meta.ignored)
            && pod.meta.uid == action.target.uid
        {
            pauses.push((format!("Pod {} carries volwarden.dev/ignore", action.target.key), None));
        }
        pauses.dedup();
        pauses
    }

    /// What the objects themselves, their snapshot and their namespace say.
    fn marked(&self, kind: Kind, key: &Key, pauses: &mut Vec<(String, Option<Timestamp>)>) {
        let world = self.ctx.world;
        let mut ignored = |what: String| pauses.push((format!("{what} carries volwarden.dev/ignore"), None));
        let snapshot = match kind {
            Kind::VolumeSnapshotContent => {
                let Some(content) = world.contents.get(key) else { return };
                if content.meta.ignored {
                    ignored(format!("VolumeSnapshotContent {key}"));
                }
                Some(content.snapshot.key.clone())
            }
            Kind::VolumeSnapshot => Some(key.clone()),
            Kind::PersistentVolumeClaim | Kind::CsiDriver | Kind::Lease => None,
        };
        let Some(snapshot) = snapshot else { return };
        if world.namespaces.get(&Key::cluster(&*snapshot.namespace)).is_some_and(|found| found.ignored) {
            ignored(format!("Namespace {}", snapshot.namespace));
        }
        if let Some(found) = world.snapshots.get(&snapshot) {
            if found.meta.ignored {
                ignored(format!("VolumeSnapshot {snapshot}"));
            }
            if found.do_not_delete {
                pauses.push((format!("VolumeSnapshot {snapshot} carries volsync.backube/do-not-delete"), None));
            }
        }
    }

    fn seen(&self, finding: &Finding, record: Option<&Record>, governing: &Governing) -> Seen {
        let now = self.ctx.now;
        // A step that helped changes what is wrong: what is now left of it is what has to be seen.
        let climbed = record.is_some_and(Record::climbed);
        let present = self.ctx.findings.get(&finding.subject);
        let class = present.filter(|_| climbed).map_or(finding.class, |present| present.class);
        let followed = !climbed || present.is_some_and(|present| !ladder(present.class).is_empty());
        let sighting = self.sightings.get(&finding.subject);
        let sighting = sighting.filter(|one| one.class == class && one.uid == finding.uid);
        let next = sighting.and_then(|one| {
            let wait = (one.last + governing.observation_interval).saturating_sub(now.mono);
            now.wall.checked_add(wait).ok()
        });
        Seen {
            age: words::age(now.wall, finding.since),
            floor: governing.min_floor,
            // A single look cannot see anything three times: it shows what a daemon that has watched would do.
            times: if self.ctx.settings.eager { governing.observations } else { sighting.map_or(0, |one| one.times) },
            needed: if followed { governing.observations } else { 0 },
            next,
            unverified: finding.unverified,
        }
    }

    /// Claims that wait to be restored from the very snapshot.
    fn restores(&self, action: &Action) -> Vec<String> {
        let Some(snapshot) = self.snapshot_of(&action.subject) else { return Vec::new() };
        let claims = self.ctx.world.restores(&snapshot);
        claims.map(|claim| format!("PersistentVolumeClaim {claim} is being restored from it")).collect()
    }

    fn snapshot_of(&self, subject: &Subject) -> Option<Key> {
        match subject.kind {
            Kind::VolumeSnapshot => Some(subject.key.clone()),
            Kind::VolumeSnapshotContent => {
                self.ctx.world.contents.get(&subject.key).map(|content| content.snapshot.key.clone())
            }
            Kind::PersistentVolumeClaim | Kind::CsiDriver | Kind::Lease => None,
        }
    }

    /// Claims that were made from it, and live snapshots that are bound to it.
    fn uses(&self, subject: &Subject) -> Vec<String> {
        let world = self.ctx.world;
        let Some(snapshot) = self.snapshot_of(subject) else { return Vec::new() };
        let claims =
            world.claims.iter().filter(|(_, claim)| claim.sources.iter().any(|from| from.snapshot == snapshot));
        let claims = claims.map(|(key, _)| format!("PersistentVolumeClaim {key} was made from it"));
        // One that is being deleted itself waits for the content: that is no use.
        let alive = world.snapshots.iter().filter(|(_, found)| found.meta.deleted.is_none());
        let bound = alive.filter(|(_, found)| content_key(found) == subject.key);
        claims.chain(bound.map(|(key, _)| format!("VolumeSnapshot {key} is bound to it"))).collect()
    }

    /// Work of a driver's controller that gets on: what is younger than two calls, and does not itself fail for
    /// the driver's reason. A claim that waits for its first consumer is no work.
    fn work(&self, driver: &str) -> Vec<String> {
        let (world, now) = (self.ctx.world, self.ctx.now);
        let young = self.ctx.timing(self.ctx.driver(driver)).timeout.saturating_mul(2) + SHORT;
        let is_young = |created| words::stamp_age(now.wall, created) < young;
        let of_driver = |claim: &&crate::domain::record::Claim| {
            let class = claim.storage_class.as_ref().and_then(|name| world.storage_classes.get(&Key::cluster(&**name)));
            class.is_some_and(|class| {
                &*class.provisioner == driver && (!class.waits_for_consumer || claim.node_selected)
            })
        };
        let claims = world
            .claims
            .iter()
            .filter(|(_, claim)| claim.phase != ClaimPhase::Bound && claim.meta.deleted.is_none())
            .filter(|(_, claim)| is_young(claim.meta.created) && of_driver(claim))
            .map(|(key, _)| format!("PersistentVolumeClaim {key} is being provisioned"));
        let fails = |content: &crate::domain::record::Content| {
            let error = content.status.as_ref().and_then(|status| status.error.as_ref());
            error.is_some_and(|error| ["DeadlineExceeded", "Aborted"].iter().any(|code| error.message.contains(code)))
        };
        let cuts = world
            .contents
            .iter()
            .filter(|(_, content)| content.being_created && &*content.driver == driver)
            .filter(|(_, content)| is_young(content.meta.created) && !fails(content))
            .map(|(key, _)| format!("VolumeSnapshotContent {key} is being cut"));
        claims.chain(cuts).collect()
    }

    fn backend(&self) -> Backend {
        let clusters = &self.ctx.world.ceph;
        if clusters.is_empty() {
            return Backend::Untold;
        }
        for (key, cluster) in clusters.iter() {
            let health = cluster.health.as_deref().unwrap_or("nothing");
            if !matches!(health, "HEALTH_OK" | "HEALTH_WARN") {
                return Backend::Trouble(format!("CephCluster {key} tells {health}"));
            }
            let age = cluster.checked.map(|at| words::age(self.ctx.now.wall, at));
            if age.is_none_or(|age| age > HEALTH_STALE) {
                return Backend::Trouble(format!("the health of CephCluster {key} is stale"));
            }
        }
        Backend::Healthy
    }
}

/// Work that has begun may finish outside of the window.
fn window(record: Option<&Record>, governing: &Governing, now: Timestamp) -> Result<(), Option<Timestamp>> {
    let begun = record.is_some_and(|record| record.intent.is_some() || !record.attempts.is_empty());
    if begun { Ok(()) } else { governing.may_begin(now) }
}

pub(super) fn standing(view: Option<&View>) -> Standing {
    match view.map(|view| (&view.health, &view.why)) {
        None => Standing::Unknown("nothing is known of it".to_owned()),
        Some((Health::Alive { .. }, _)) => Standing::Alive,
        Some((Health::Undecided, _)) => Standing::Unknown("it is too early to say".to_owned()),
        Some((Health::Unknown(why), _)) => Standing::Unknown(why.clone()),
        Some((Health::Down { .. }, why)) => Standing::Dead(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::diagnose::{Components, Context};
    use crate::domain::engine::Settings;
    use crate::domain::fact::{Fact, Now, SourceChange};
    use crate::domain::fence::Heard;
    use crate::domain::gate::Gates;
    use crate::domain::ledger::Ledger;
    use crate::domain::memory::Memory;
    use crate::domain::policy::Policies;
    use crate::domain::world::World;

    #[test]
    fn an_entry_of_a_ledger_that_cannot_be_read_holds_every_step() {
        let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(100) };
        let mut world = World::default();
        for source in Source::ALL {
            world.apply(Fact::Source(source, SourceChange::ListEnded), now);
        }
        let doubts = |world: &World, step| {
            let (settings, components) = (Settings::default(), Components::default());
            let (memory, findings) = (Memory::default(), BTreeMap::new());
            let (settings, components, memory) = (&settings, &components, &memory);
            Desk {
                ctx: Context { world, settings, components, memory, findings: &findings, now },
                policies: &Policies::default(),
                ledger: &Ledger::default(),
                looks: &BTreeMap::new(),
                sightings: &BTreeMap::new(),
                orphans: &BTreeSet::new(),
                lease_until: None,
                gates: &Gates::default(),
                fence: &Heard::default(),
                paced: &BTreeMap::new(),
            }
            .doubts(step)
        };
        for source in [Source::Remediations, Source::Orphans] {
            assert_eq!(doubts(&world, Step::Nudge), Vec::<String>::new());
            world.apply(Fact::Source(source, SourceChange::Unreadable(Key::cluster("odd"))), now);
            for step in Step::ALL {
                let held = doubts(&world, step);
                assert!(held.len() == 1 && held[0].contains("odd cannot be read"), "{step}: {held:?}");
            }
            world.apply(Fact::gone(source, Key::cluster("odd")), now);
        }
    }
}
