//! The world: slim records and the few indexes that keep every question O(log n).
//!
//! [`World::apply`] takes one fact in and says which subjects it touches; it never judges. The failure it
//! exists to prevent is a diagnosis on a half-taken-in change: indexes and records move together, here only.

mod query;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::collection::Collection;
use crate::domain::fact::{Change, Fact, Now, Source, SourceChange};
use crate::domain::finding::Subject;
use crate::domain::freshness::{Sources, State};
use crate::domain::identity;
use crate::domain::ledger::Record;
use crate::domain::name::Key;
use crate::domain::policy::Policy;
use crate::domain::record::{
    Attachment, CephCluster, Claim, ClaimPhase, Content, CsiDriver, EventRecord, Group, Job, Kind, Lease, Left,
    Namespace, Pod, Replication, Snapshot, SnapshotClass, SnapshotSource, StorageClass, Volume, Workload,
};

pub use unread::Unread;

/// What a fact touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// One object.
    Subject(Subject),
    /// What is known of one driver's sidecar.
    Driver(Arc<str>),
    /// What is known of the holder of this lease: a driver's sidecar or snapshot-controller.
    Lease(Box<str>),
    /// One record of the ledger.
    Record(Box<str>),
    /// What repairs rest on and findings do not: policies, namespaces, the orphan ledger.
    Repairs,
    /// Pods, workloads or leases as a whole: every driver and the controller.
    Components,
    /// A source became complete, or stopped being so: everything.
    Everything,
}

/// A lease and how long we have watched it stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedLease {
    /// The lease as it is.
    pub lease: Lease,
    /// When we first saw this lease, on the monotonic clock.
    pub first_seen: Duration,
    /// When we last saw it change, on the monotonic clock; the first sight counts.
    pub changed: Duration,
    /// It has changed under our eyes: the holder was alive then, beyond any clock's doubt.
    pub moved: bool,
}

/// Everything known of the cluster.
#[derive(Debug, Default)]
pub struct World {
    /// How far each source can be trusted.
    pub sources: Sources,
    /// VolumeSnapshots.
    pub snapshots: Collection<Snapshot>,
    /// VolumeSnapshotContents.
    pub contents: Collection<Content>,
    /// When a content was seen to get its being-deleted annotation, on the monotonic clock.
    marked: BTreeMap<Key, Duration>,
    /// VolumeSnapshotClasses.
    pub classes: Collection<SnapshotClass>,
    /// Leases.
    pub leases: Collection<WatchedLease>,
    /// PersistentVolumeClaims.
    pub claims: Collection<Claim>,
    /// PersistentVolumes.
    pub volumes: Collection<Volume>,
    /// Pods with a sidecar, a controller or a driver in them.
    pub pods: Collection<Pod>,
    /// ReplicaSets of such pods.
    pub replica_sets: Collection<Workload>,
    /// Deployments of such pods.
    pub deployments: Collection<Workload>,
    /// VolSync's Jobs.
    pub jobs: Collection<Job>,
    /// StorageClasses.
    pub storage_classes: Collection<StorageClass>,
    /// CSIDrivers.
    pub drivers: Collection<CsiDriver>,
    /// VolumeAttachments.
    pub attachments: Collection<Attachment>,
    /// CephClusters.
    pub ceph: Collection<CephCluster>,
    /// ReplicationSources.
    pub replication_sources: Collection<Replication>,
    /// ReplicationDestinations.
    pub replication_destinations: Collection<Replication>,
    /// KopiaMaintenances.
    pub maintenances: Collection<Replication>,
    /// VolumeGroupSnapshots.
    pub groups: Collection<Group>,
    /// VolumeGroupSnapshotContents.
    pub group_contents: Collection<Group>,
    /// Namespaces.
    pub namespaces: Collection<Namespace>,
    /// RemediationPolicies, checked.
    pub policies: Collection<Box<Policy>>,
    /// Remediations as the cluster has them; what the engine makes of them is its ledger.
    pub remediations: Collection<Box<Record>>,
    /// OrphanedSnapshots.
    pub orphans: Collection<Left>,
    /// Entries of either ledger that cannot be read.
    pub unread: Unread,
    /// Objects that findings are about whose newest state could not be read: what is known of them is an older one.
    outgrown: BTreeSet<(Source, Key)>,
    /// Warning Events about contents.
    pub content_events: Collection<EventRecord>,
    /// Warning Events about snapshots.
    pub snapshot_events: Collection<EventRecord>,
    index: Index,
}

#[derive(Debug, Default)]
struct Index {
    /// How many contents carry the handle with this fingerprint.
    handles: BTreeMap<u64, u32>,
    /// How many contents each driver has.
    contents: BTreeMap<Arc<str>, u32>,
    /// Claims that wait to be restored from a snapshot.
    restores: BTreeMap<Key, BTreeSet<Key>>,
    /// Snapshots that are not ready, by their source claim.
    unready: BTreeMap<Key, BTreeSet<Key>>,
    /// Snapshots that are not ready.
    not_ready: BTreeSet<Key>,
    /// Snapshots being deleted.
    deleting: BTreeSet<Key>,
    /// Lease keys by name.
    leases: BTreeMap<Box<str>, BTreeSet<Key>>,
    /// Warning events by what they are about.
    events: BTreeMap<Subject, BTreeSet<Key>>,
    /// When each component last wrote an event, by the event's time.
    alive: BTreeMap<Arc<str>, Timestamp>,
    /// When a claim that refers to the snapshot was last seen, on the monotonic clock.
    last_referred: BTreeMap<Key, Duration>,
}

/// Calls a method on the collection that keeps a source's records.
macro_rules! for_source {
    ($world:expr, $source:expr, $method:ident $(, $arg:expr)?) => {
        match $source {
            Source::Snapshots => $world.snapshots.$method($($arg)?),
            Source::Contents => $world.contents.$method($($arg)?),
            Source::SnapshotClasses => $world.classes.$method($($arg)?),
            Source::Leases => $world.leases.$method($($arg)?),
            Source::Claims => $world.claims.$method($($arg)?),
            Source::Volumes => $world.volumes.$method($($arg)?),
            Source::Pods => $world.pods.$method($($arg)?),
            Source::ReplicaSets => $world.replica_sets.$method($($arg)?),
            Source::Deployments => $world.deployments.$method($($arg)?),
            Source::Jobs => $world.jobs.$method($($arg)?),
            Source::StorageClasses => $world.storage_classes.$method($($arg)?),
            Source::CsiDrivers => $world.drivers.$method($($arg)?),
            Source::Attachments => $world.attachments.$method($($arg)?),
            Source::ContentEvents => $world.content_events.$method($($arg)?),
            Source::SnapshotEvents => $world.snapshot_events.$method($($arg)?),
            Source::CephClusters => $world.ceph.$method($($arg)?),
            Source::ReplicationSources => $world.replication_sources.$method($($arg)?),
            Source::ReplicationDestinations => $world.replication_destinations.$method($($arg)?),
            Source::KopiaMaintenances => $world.maintenances.$method($($arg)?),
            Source::Groups => $world.groups.$method($($arg)?),
            Source::GroupContents => $world.group_contents.$method($($arg)?),
            Source::Namespaces => $world.namespaces.$method($($arg)?),
            Source::Policies => $world.policies.$method($($arg)?),
            Source::Remediations => $world.remediations.$method($($arg)?),
            Source::Orphans => $world.orphans.$method($($arg)?),
        }
    };
}

/// What of a snapshot the indexes hold.
struct SnapshotMarks {
    deleting: bool,
    not_ready: bool,
    claim: Option<Box<str>>,
}

impl SnapshotMarks {
    fn of(snapshot: &Snapshot) -> Self {
        let not_ready = snapshot.ready != Some(true);
        let claim = match &snapshot.source {
            SnapshotSource::Claim(name) if not_ready => Some(name.clone()),
            _ => None,
        };
        Self { deleting: snapshot.meta.deleted.is_some(), not_ready, claim }
    }
}

impl Index {
    fn mark_snapshot(&mut self, key: &Key, marks: SnapshotMarks) {
        if marks.deleting {
            self.deleting.insert(key.clone());
        }
        if marks.not_ready {
            self.not_ready.insert(key.clone());
        }
        if let Some(name) = marks.claim {
            let claim = Key::namespaced(Arc::clone(&key.namespace), name);
            self.unready.entry(claim).or_default().insert(key.clone());
        }
    }

    fn unmark_snapshot(&mut self, key: &Key, marks: SnapshotMarks) {
        if marks.deleting {
            self.deleting.remove(key);
        }
        if marks.not_ready {
            self.not_ready.remove(key);
        }
        if let Some(name) = marks.claim {
            let claim = Key::namespaced(Arc::clone(&key.namespace), name);
            if let Some(set) = self.unready.get_mut(&claim) {
                set.remove(key);
                if set.is_empty() {
                    self.unready.remove(&claim);
                }
            }
        }
    }
}

impl World {
    /// Takes a fact in; what it touches.
    pub fn apply(&mut self, fact: Fact, now: Now) -> Vec<Touch> {
        match fact {
            Fact::Source(source, change) => self.apply_source(source, &change, now),
            Fact::Answered(..)
            | Fact::Leadership(_)
            | Fact::Gate(..)
            | Fact::Fence(_)
            | Fact::Recorded(..)
            | Fact::Acted(_)
            | Fact::Tick => Vec::new(),
            object => {
                let Some(source) = object.source() else { return Vec::new() };
                let was = self.state_of(source);
                self.sources.heard(source, now);
                let mut touched = self.apply_object(object, now);
                // The first object after a failure ends it: what rested on the doubt is looked at again.
                if was != self.state_of(source) {
                    touched.push(Touch::Everything);
                }
                touched
            }
        }
    }

    fn state_of(&self, source: Source) -> Option<std::mem::Discriminant<State>> {
        self.sources.get(source).map(|entry| std::mem::discriminant(&entry.state))
    }

    fn apply_source(&mut self, source: Source, change: &SourceChange, now: Now) -> Vec<Touch> {
        // Not whether it was known: a list that began and was then refused is the end of what was known.
        let was = self.state_of(source);
        self.sources.apply(source, change, now);
        match change {
            SourceChange::ListBegan => {
                self.begin_list(source);
                Vec::new()
            }
            SourceChange::ListEnded => {
                self.drop_unlisted(source, now);
                vec![Touch::Everything]
            }
            SourceChange::Unreadable(key) => {
                let known = for_source!(self, source, mark_listed, key);
                if known && matches!(source, Source::Snapshots | Source::Contents | Source::Claims) {
                    self.outgrown.insert((source, key.clone()));
                }
                if self.unread.note(source, key) {
                    return vec![Touch::Repairs];
                }
                // A lease that was changed in a way nobody can read does not stand still.
                if let Some(lease) = self.leases.get(key).filter(|_| source == Source::Leases).cloned() {
                    self.leases.put(key.clone(), WatchedLease { changed: now.mono, ..lease });
                }
                Vec::new()
            }
            // Nothing of that kind exists: what a former version of the CRD held is gone with it.
            SourceChange::NotInstalled => {
                self.begin_list(source);
                self.drop_unlisted(source, now);
                vec![Touch::Everything]
            }
            SourceChange::Progress | SourceChange::Answered | SourceChange::Forbidden(_) | SourceChange::Failing(_) => {
                if was == self.state_of(source) {
                    Vec::new()
                } else {
                    vec![Touch::Everything]
                }
            }
        }
    }

    /// What is known of this object is older than what the watch has shown, and could not be read.
    #[must_use]
    pub fn is_outgrown(&self, source: Source, key: &Key) -> bool {
        !self.outgrown.is_empty() && self.outgrown.contains(&(source, key.clone()))
    }

    fn apply_object(&mut self, fact: Fact, now: Now) -> Vec<Touch> {
        self.is_read(&fact);
        match fact {
            Fact::Snapshot(change) => self.unless_idle(|world| world.apply_snapshot(change)),
            Fact::Content(change) => self.unless_idle(|world| world.apply_content(change, now)),
            Fact::Lease(change) => self.apply_lease(change, now),
            Fact::Claim(change) => self.apply_claim(change, now),
            Fact::ContentEvent(change) => self.apply_event(change, Source::ContentEvents),
            Fact::SnapshotEvent(change) => self.apply_event(change, Source::SnapshotEvents),
            Fact::SnapshotClass(change) => simple(&mut self.classes, change, Touch::Everything),
            Fact::CsiDriver(change) => {
                let (Change::Applied(key, _) | Change::Gone(key)) = &change;
                let touch = Touch::Driver(Arc::from(&*key.name));
                simple(&mut self.drivers, change, touch)
            }
            Fact::Pod(change) => simple(&mut self.pods, change, Touch::Components),
            Fact::ReplicaSet(change) => simple(&mut self.replica_sets, change, Touch::Components),
            Fact::Deployment(change) => simple(&mut self.deployments, change, Touch::Components),
            Fact::Volume(change) => quiet(&mut self.volumes, change),
            Fact::Job(change) => quiet(&mut self.jobs, change),
            Fact::StorageClass(change) => quiet(&mut self.storage_classes, change),
            Fact::Attachment(change) => quiet(&mut self.attachments, change),
            Fact::CephCluster(change) => quiet(&mut self.ceph, change),
            Fact::ReplicationSource(change) => quiet(&mut self.replication_sources, change),
            Fact::ReplicationDestination(change) => quiet(&mut self.replication_destinations, change),
            Fact::KopiaMaintenance(change) => quiet(&mut self.maintenances, change),
            Fact::Group(change) => quiet(&mut self.groups, change),
            Fact::GroupContent(change) => quiet(&mut self.group_contents, change),
            Fact::Namespace(change) => simple(&mut self.namespaces, change, Touch::Repairs),
            Fact::Policy(change) => self.apply_policy(change),
            Fact::Orphan(change) => {
                let (Change::Applied(key, _) | Change::Gone(key)) = &change;
                self.unread.forget(Source::Orphans, key);
                simple(&mut self.orphans, change, Touch::Repairs)
            }
            Fact::Remediation(change) => {
                let (Change::Applied(key, _) | Change::Gone(key)) = &change;
                let mut touched = vec![Touch::Record(key.name.clone())];
                // Everything was held for it.
                touched.extend(self.unread.forget(Source::Remediations, key).then_some(Touch::Repairs));
                quiet(&mut self.remediations, change);
                touched
            }
            Fact::Source(..)
            | Fact::Answered(..)
            | Fact::Leadership(_)
            | Fact::Gate(..)
            | Fact::Fence(_)
            | Fact::Recorded(..)
            | Fact::Acted(_)
            | Fact::Tick => Vec::new(),
        }
    }

    /// It can be read again, or is gone.
    fn is_read(&mut self, fact: &Fact) {
        let (source, key) = match fact {
            _ if self.outgrown.is_empty() => return,
            Fact::Snapshot(Change::Applied(key, _) | Change::Gone(key)) => (Source::Snapshots, key),
            Fact::Content(Change::Applied(key, _) | Change::Gone(key)) => (Source::Contents, key),
            Fact::Claim(Change::Applied(key, _) | Change::Gone(key)) => (Source::Claims, key),
            _ => return,
        };
        self.outgrown.remove(&(source, key.clone()));
    }

    /// A policy whose status alone was written says nothing new: it would have everything planned anew.
    fn apply_policy(&mut self, change: Change<Box<Policy>>) -> Vec<Touch> {
        if let Change::Applied(key, policy) = &change
            && self.policies.get(key).is_some_and(|known| known.same_rules(policy))
        {
            return quiet(&mut self.policies, change);
        }
        simple(&mut self.policies, change, Touch::Repairs)
    }

    /// The first object to care for and the last one change whether a dead snapshot-controller is anybody's trouble.
    fn unless_idle(&mut self, apply: impl FnOnce(&mut Self) -> Vec<Touch>) -> Vec<Touch> {
        let was_idle = self.idle();
        let mut touched = apply(self);
        if was_idle != self.idle() {
            touched.push(Touch::Lease(identity::CONTROLLER_LEASE.into()));
        }
        touched
    }

    fn apply_snapshot(&mut self, change: Change<Snapshot>) -> Vec<Touch> {
        let mut touched = BTreeSet::new();
        let (key, fresh) = match change {
            Change::Applied(key, snapshot) => (key, Some(snapshot)),
            Change::Gone(key) => (key, None),
        };
        if let Some(snapshot) = &fresh {
            note_snapshot(&mut touched, &key, snapshot);
        } else {
            self.index.last_referred.remove(&key);
        }
        // Who waits for a driver changes whether anybody has to care for it.
        let [before, after] = [self.snapshots.get(&key), fresh.as_ref()].map(waits_for);
        let drivers: BTreeSet<Arc<str>> = if before == after {
            BTreeSet::new()
        } else {
            [before, after].into_iter().flatten().flat_map(|waits| self.drivers_of(waits.0)).cloned().collect()
        };
        let added = fresh.as_ref().map(SnapshotMarks::of);
        let old = match fresh {
            Some(snapshot) => self.snapshots.put(key.clone(), snapshot),
            None => self.snapshots.remove(&key),
        };
        if let Some(old) = &old {
            note_snapshot(&mut touched, &key, old);
            self.index.unmark_snapshot(&key, SnapshotMarks::of(old));
        }
        if let Some(marks) = added {
            self.index.mark_snapshot(&key, marks);
        }
        touched.into_iter().map(Touch::Subject).chain(drivers.into_iter().map(Touch::Driver)).collect()
    }

    /// Remembers when a content that was being deleted already got its being-deleted annotation, if that was seen.
    fn note_mark(&mut self, key: &Key, content: &Content, now: Now) {
        let before = self.contents.get(key).filter(|before| before.meta.uid == content.meta.uid);
        match before {
            // In a deletion that goes its way it is there first.
            Some(before) if content.being_deleted && !before.being_deleted && before.meta.deleted.is_some() => {
                self.marked.insert(key.clone(), now.mono);
            }
            Some(_) if content.being_deleted => {}
            _ => {
                self.marked.remove(key);
            }
        }
    }

    /// How long ago a content that was being deleted already got its being-deleted annotation, if that was seen.
    #[must_use]
    pub fn marked_for(&self, key: &Key, now: Now) -> Option<Duration> {
        self.marked.get(key).map(|at| now.mono.saturating_sub(*at))
    }

    fn apply_content(&mut self, change: Change<Content>, now: Now) -> Vec<Touch> {
        let mut touched = Vec::new();
        let key = match &change {
            Change::Applied(key, _) | Change::Gone(key) => key,
        };
        // A driver's first content and its last one change whether anybody has to care for it.
        let new = if let Change::Applied(_, content) = &change { Some(&content.driver) } else { None };
        let names = [self.contents.get(key).map(|content| &content.driver), new];
        let drivers: Vec<(Arc<str>, u32)> =
            names.into_iter().flatten().map(|name| (Arc::clone(name), self.content_count(name))).collect();
        let print = |content: &Content| content.handle().map(|handle| handle.print);
        let fresh = if let Change::Applied(_, content) = &change { print(content) } else { None };
        let prints = [self.contents.get(key).and_then(print), fresh];
        let shared = prints.map(|print| print.is_some_and(|print| self.handle_count(print) > 1));
        let (key, old) = match change {
            Change::Applied(key, content) => {
                self.note_mark(&key, &content, now);
                note_content(&mut touched, &key, &content);
                if let Some(handle) = content.handle() {
                    *self.index.handles.entry(handle.print).or_default() += 1;
                }
                *self.index.contents.entry(Arc::clone(&content.driver)).or_default() += 1;
                let old = self.contents.put(key.clone(), content);
                (key, old)
            }
            Change::Gone(key) => {
                self.marked.remove(&key);
                let old = self.contents.remove(&key);
                (key, old)
            }
        };
        if let Some(old) = old {
            note_content(&mut touched, &key, &old);
            if let Some(handle) = old.handle() {
                take_one(&mut self.index.handles, &handle.print);
            }
            take_one(&mut self.index.contents, &old.driver);
        }
        // Whether somebody else carries its handle decides what a deletion may destroy. Copies are rare: look for them.
        for (print, was) in prints.into_iter().zip(shared).filter_map(|(print, was)| Some((print?, was))) {
            if was != (self.handle_count(print) > 1) {
                let same = self.contents.iter().filter(|(_, other)| other.handle().is_some_and(|h| h.print == print));
                touched.extend(same.map(|(key, _)| Subject::new(Kind::VolumeSnapshotContent, key.clone())));
            }
        }
        touched.sort();
        touched.dedup();
        let mut touched: Vec<Touch> = touched.into_iter().map(Touch::Subject).collect();
        touched.extend(
            drivers
                .into_iter()
                .filter(|(name, before)| (self.content_count(name) == 0) != (*before == 0))
                .map(|(name, _)| Touch::Driver(name)),
        );
        touched
    }

    fn apply_lease(&mut self, change: Change<Lease>, now: Now) -> Vec<Touch> {
        match change {
            Change::Applied(key, lease) => {
                let name = key.name.clone();
                let (first_seen, changed, moved) = match self.leases.get(&key) {
                    Some(before) if before.lease == lease => (before.first_seen, before.changed, before.moved),
                    // What happened while nobody followed is old news, and no renewal of this moment.
                    Some(before) => (before.first_seen, now.mono, !self.sources.catches_up(Source::Leases, now)),
                    None => (now.mono, now.mono, false),
                };
                self.index.leases.entry(name.clone()).or_default().insert(key.clone());
                self.leases.put(key, WatchedLease { lease, first_seen, changed, moved });
                vec![Touch::Lease(name)]
            }
            Change::Gone(key) => {
                self.leases.remove(&key);
                if let Some(keys) = self.index.leases.get_mut(&key.name) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.index.leases.remove(&key.name);
                    }
                }
                vec![Touch::Lease(key.name)]
            }
        }
    }

    fn apply_claim(&mut self, change: Change<Claim>, now: Now) -> Vec<Touch> {
        let mut touched = BTreeSet::new();
        let (key, old) = match change {
            Change::Applied(key, claim) => {
                touched.insert(Subject::new(Kind::PersistentVolumeClaim, key.clone()));
                let waits = claim.phase == ClaimPhase::Pending;
                let sources = claim.sources.clone();
                let old = self.claims.put(key.clone(), claim);
                if let Some(old) = &old {
                    self.forget_restores(&key, old, now, &mut touched);
                }
                if waits {
                    for source in sources {
                        touched.insert(Subject::new(Kind::VolumeSnapshot, source.snapshot.clone()));
                        self.index.restores.entry(source.snapshot).or_default().insert(key.clone());
                    }
                }
                (key, old)
            }
            Change::Gone(key) => {
                let old = self.claims.remove(&key);
                if let Some(old) = &old {
                    self.forget_restores(&key, old, now, &mut touched);
                }
                (key, old)
            }
        };
        if old.is_some() {
            touched.insert(Subject::new(Kind::PersistentVolumeClaim, key.clone()));
        }
        // A snapshot cannot be cut from a claim that is not there, or has no volume.
        let volume = |claim: &Claim| claim.volume.clone();
        if old.as_ref().map(volume) != self.claims.get(&key).map(volume) {
            touched.extend(self.unready(&key).map(|snapshot| Subject::new(Kind::VolumeSnapshot, snapshot.clone())));
        }
        touched.into_iter().map(Touch::Subject).collect()
    }

    /// Takes a claim out of the restores; remembers when, because the provisioner's sweeps count from there.
    fn forget_restores(&mut self, key: &Key, old: &Claim, now: Now, touched: &mut BTreeSet<Subject>) {
        for source in &old.sources {
            let Some(claims) = self.index.restores.get_mut(&source.snapshot) else { continue };
            if claims.remove(key) {
                touched.insert(Subject::new(Kind::VolumeSnapshot, source.snapshot.clone()));
                self.index.last_referred.insert(source.snapshot.clone(), now.mono);
            }
            if claims.is_empty() {
                self.index.restores.remove(&source.snapshot);
            }
        }
    }

    fn apply_event(&mut self, change: Change<EventRecord>, source: Source) -> Vec<Touch> {
        let events = if source == Source::ContentEvents { &mut self.content_events } else { &mut self.snapshot_events };
        match change {
            Change::Applied(key, event) => {
                if let Some(last) = event.last {
                    let alive = self.index.alive.entry(Arc::clone(&event.component)).or_insert(last);
                    *alive = last.max(*alive);
                }
                let mut touched: Vec<Touch> = writer(&event.component).into_iter().collect();
                if !event.warning {
                    return touched;
                }
                let about = Subject::new(event.kind, event.about.clone());
                self.index.events.entry(about.clone()).or_default().insert(key.clone());
                events.put(key, event);
                touched.push(Touch::Subject(about));
                touched
            }
            Change::Gone(key) => {
                let Some(old) = events.remove(&key) else { return Vec::new() };
                let about = Subject::new(old.kind, old.about);
                if let Some(keys) = self.index.events.get_mut(&about) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.index.events.remove(&about);
                    }
                }
                vec![Touch::Subject(about)]
            }
        }
    }

    fn begin_list(&mut self, source: Source) {
        for_source!(self, source, begin_list);
        self.unread.begin_list(source);
    }

    /// Hands what the completed list did not hold through the same door as a deletion that was watched.
    fn drop_unlisted(&mut self, source: Source, now: Now) {
        let keys = for_source!(self, source, unlisted);
        for key in keys {
            self.apply_object(Fact::gone(source, key), now);
        }
        self.unread.drop_unlisted(source);
    }
}

impl World {
    /// How many records a source's collection holds.
    #[must_use]
    pub fn count(&self, source: Source) -> usize {
        for_source!(self, source, len)
    }
}

fn simple<T>(set: &mut Collection<T>, change: Change<T>, touch: Touch) -> Vec<Touch> {
    quiet(set, change);
    vec![touch]
}

/// Takes in what no finding rests on yet.
fn quiet<T>(set: &mut Collection<T>, change: Change<T>) -> Vec<Touch> {
    match change {
        Change::Applied(key, record) => drop(set.put(key, record)),
        Change::Gone(key) => drop(set.remove(&key)),
    }
    Vec::new()
}

/// The component that an event shows to be alive.
fn writer(component: &str) -> Option<Touch> {
    if component == identity::CONTROLLER_COMPONENT {
        return Some(Touch::Lease(identity::CONTROLLER_LEASE.into()));
    }
    component.strip_prefix(identity::SNAPSHOTTER_COMPONENT).map(|driver| Touch::Driver(Arc::from(driver)))
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The claim a snapshot is cut from.
#[must_use]
pub fn source_claim(key: &Key, snapshot: &Snapshot) -> Option<Key> {
    match &snapshot.source {
        SnapshotSource::Claim(name) => Some(Key::namespaced(Arc::clone(&key.namespace), name.clone())),
        SnapshotSource::Content(_) | SnapshotSource::Unknown => None,
    }
}

/// The content a snapshot is bound to, or will be: by status, by source, or by the name snapshot-controller
/// gives to what it makes.
#[must_use]
pub fn content_key(snapshot: &Snapshot) -> Key {
    match (&snapshot.content, &snapshot.source) {
        (Some(name), _) | (None, SnapshotSource::Content(name)) => Key::cluster(name.clone()),
        _ => Key::cluster(format!("snapcontent-{}", snapshot.meta.uid)),
    }
}

/// What drivers a snapshot that waits to be cut hangs on: its class, if it names one.
#[derive(PartialEq, Eq)]
struct Waits<'a>(Option<&'a Arc<str>>);

fn waits_for(snapshot: Option<&Snapshot>) -> Option<Waits<'_>> {
    snapshot.filter(|snapshot| snapshot.ready != Some(true)).map(|snapshot| Waits(snapshot.class.as_ref()))
}

fn note_snapshot(touched: &mut BTreeSet<Subject>, key: &Key, snapshot: &Snapshot) {
    touched.insert(Subject::new(Kind::VolumeSnapshot, key.clone()));
    touched.insert(Subject::new(Kind::VolumeSnapshotContent, content_key(snapshot)));
    if let Some(claim) = source_claim(key, snapshot) {
        touched.insert(Subject::new(Kind::PersistentVolumeClaim, claim));
    }
}

fn note_content(touched: &mut Vec<Subject>, key: &Key, content: &Content) {
    touched.push(Subject::new(Kind::VolumeSnapshotContent, key.clone()));
    touched.push(Subject::new(Kind::VolumeSnapshot, content.snapshot.key.clone()));
}
