//! Whether what a finding says was so: class by class, against the cluster's own truth.
//!
//! The rules here are written from what the classes mean and not from how the engine finds them; a copy of its
//! rules would agree with its mistakes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::home::SNAPSHOTTER;
use super::moment::Moment;
use crate::domain::finding::{Class, Finding, Subject};
use crate::domain::identity;
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::sim::cluster::Cluster;
use crate::sim::process::Place;
use crate::sim::store::{Resource, object, table};

const CONTENT_OWN: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
const IN_GROUP: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";
const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
const PVC_SOURCE: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";

/// A snapshot whose readiness comes and goes shows it within this time.
const RESTLESS: Duration = Duration::from_secs(300);

/// Fewer failing objects than this are no storm.
const STORM: usize = 5;

/// The finding says what was so at this moment.
pub(super) fn holds(finding: &Finding, moment: &Moment) -> bool {
    let driver = finding.driver.as_deref().unwrap_or_default();
    match finding.subject.kind {
        Kind::CsiDriver => of_driver(finding.class, &finding.subject.key.name, moment),
        Kind::Lease => finding.class == Class::ControllerDown && !moment.controller_works(),
        Kind::VolumeSnapshotContent => {
            let found = moment.under(table::CONTENTS, &finding.subject.key, finding.uid.as_ref());
            found.is_some_and(|content| of_content(finding.class, content, driver, moment))
        }
        Kind::VolumeSnapshot => {
            let found = moment.under(table::SNAPSHOTS, &finding.subject.key, finding.uid.as_ref());
            found.is_some_and(|snapshot| of_snapshot(finding.class, snapshot, &finding.subject.key, moment))
        }
        Kind::PersistentVolumeClaim => {
            let found = moment.under(table::CLAIMS, &finding.subject.key, finding.uid.as_ref());
            found.is_some_and(|claim| finding.class == Class::SourcePinned && pinned(claim, moment))
        }
    }
}

fn of_driver(class: Class, driver: &str, moment: &Moment) -> bool {
    let installed = moment.get(table::CSI_DRIVERS, &Key::cluster(driver)).is_some();
    match class {
        Class::DriverUnknown => !installed && !moment.sidecar_works(driver),
        Class::DriverGone => !moment.sidecar_works(driver),
        Class::StaleLeader => !moment.sidecar_works(driver) && moment.ready_pods("csi-snapshotter") > 0,
        Class::DriverDegraded => troubled(driver, moment) >= STORM,
        _ => false,
    }
}

/// The component that a finding is about did not work, whatever else is said of it.
pub(super) fn is_down(finding: &Finding, moment: &Moment) -> bool {
    match finding.subject.kind {
        Kind::CsiDriver => !moment.sidecar_works(&finding.subject.key.name),
        _ => !moment.controller_works(),
    }
}

/// Objects of a driver that are not as they should be.
fn troubled(driver: &str, moment: &Moment) -> usize {
    let wrong = |content: &Value| object::is_deleting(content) || object::at(content, "/status/error").is_some();
    let contents = moment.list(table::CONTENTS).iter();
    let contents = contents.filter(|content| object::text(content, "/spec/driver") == driver && wrong(content));
    let snapshots = moment.list(table::SNAPSHOTS).iter();
    let uncut = |snapshot: &Value| object::at(snapshot, "/status/readyToUse").and_then(Value::as_bool) != Some(true);
    contents.count() + snapshots.filter(|snapshot| uncut(snapshot)).count()
}

fn of_content(class: Class, content: &Value, driver: &str, moment: &Moment) -> bool {
    let deleting = object::is_deleting(content);
    let marked = object::annotation(content, BEING_DELETED).is_some();
    let own = object::has_finalizer(content, CONTENT_OWN);
    let status = content.get("status");
    let emptied = status.is_some_and(|status| {
        ["snapshotHandle", "readyToUse", "creationTime", "restoreSize"].iter().all(|field| status.get(field).is_none())
    });
    match class {
        Class::OperationLocked | Class::BackendError if !deleting => {
            object::text(content, "/status/error/message").contains("rpc error: code = ")
        }
        Class::AbandonedContent => !deleting && !snapshot_lives(content, moment),
        // The class and the content are seen by two watches: one of them may be late.
        Class::DriverMismatch => {
            let class = Key::cluster(object::text(content, "/spec/volumeSnapshotClassName"));
            let class = moment.get(table::SNAPSHOT_CLASSES, &class);
            class.is_some_and(|class| object::text(class, "/driver") != object::text(content, "/spec/driver"))
        }
        _ if !deleting => false,
        Class::GroupMember => content.to_string().contains("roupSnapshotHandle"),
        Class::ForeignFinalizer => !own && object::finalizers(content).next().is_some(),
        Class::StillCreating => object::annotation(content, BEING_CREATED).is_some(),
        Class::AwaitingSnapshot => !marked && snapshot_lives(content, moment),
        Class::OrphanedContent => !marked && !snapshot_lives(content, moment),
        Class::DriverUnknown | Class::DriverGone => of_driver(class, driver, moment),
        Class::DeletedNotReleased => own && emptied,
        // That its leader is gone cannot be seen while the lease stands.
        Class::MissedEvent => marked && own && !emptied && moment.renewed(&identity::snapshotter_lease(driver)),
        // What the driver answered is in no object: `Tries` judge it.
        Class::SecretMissing | Class::OperationLocked | Class::BackendError | Class::Retrying => own,
        Class::Unexplained => true,
        _ => false,
    }
}

fn snapshot_lives(content: &Value, moment: &Moment) -> bool {
    let named = |field: &str| object::text(content, &format!("/spec/volumeSnapshotRef/{field}"));
    let uid = Uid::parse(named("uid"));
    moment.under(table::SNAPSHOTS, &Key::namespaced(named("namespace"), named("name")), Some(&uid)).is_some()
}

fn of_snapshot(class: Class, snapshot: &Value, key: &Key, moment: &Moment) -> bool {
    let deleting = object::is_deleting(snapshot);
    let known = [AS_SOURCE, BOUND, IN_GROUP, PROVISIONER];
    let has = |finalizer| object::has_finalizer(snapshot, finalizer);
    let content = moment.get(table::CONTENTS, &content_of(snapshot));
    let marked = content.is_some_and(|content| object::annotation(content, BEING_DELETED).is_some());
    match class {
        Class::CreateStuck => {
            !deleting && object::at(snapshot, "/status/readyToUse").and_then(Value::as_bool) != Some(true)
        }
        _ if !deleting => false,
        Class::GroupMember => has(IN_GROUP),
        Class::RestoreInProgress => moment.restores(key) > 0,
        Class::ControllerDown => !moment.controller_works(),
        Class::WaitingForContent => content.is_some() && marked,
        Class::ProvisionerOrphan => is_provisioners(snapshot) && moment.restores(key) == 0,
        Class::ForeignFinalizer => {
            object::finalizers(snapshot).next().is_some()
                && object::finalizers(snapshot).all(|one| !known.contains(&one))
        }
        Class::MissedEvent => {
            let unmarked = has(AS_SOURCE) && !marked && moment.restores(key) == 0;
            ((has(BOUND) && content.is_none()) || unmarked) && moment.renewed(identity::CONTROLLER_LEASE)
        }
        Class::Unexplained => true,
        _ => false,
    }
}

/// Only csi-provisioner holds it.
pub(super) fn is_provisioners(snapshot: &Value) -> bool {
    object::finalizers(snapshot).eq([PROVISIONER])
}

/// The content a snapshot is bound to or will be.
pub(super) fn content_of(snapshot: &Value) -> Key {
    match object::text(snapshot, "/status/boundVolumeSnapshotContentName") {
        "" => Key::cluster(format!("snapcontent-{}", object::uid(snapshot))),
        bound => Key::cluster(bound),
    }
}

fn pinned(claim: &Value, moment: &Moment) -> bool {
    let of_it = |snapshot: &Value| {
        object::namespace(snapshot) == object::namespace(claim)
            && object::text(snapshot, "/spec/source/persistentVolumeClaimName") == object::name(claim)
            && object::at(snapshot, "/status/readyToUse").and_then(Value::as_bool) != Some(true)
    };
    let held = object::is_deleting(claim) && object::has_finalizer(claim, PVC_SOURCE);
    held && moment.list(table::SNAPSHOTS).iter().any(|snapshot| of_it(snapshot))
}

// === What the driver answered ===

/// One failed try of a csi-snapshotter, as it logged it.
#[derive(Debug)]
struct Try {
    at: Timestamp,
    code: String,
    secret: bool,
    /// The driver had deleted; what failed was to write so.
    unwritten: bool,
}

/// Every failed try, by content; kept although pods go and take their logs with them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    tries: BTreeMap<String, Vec<Try>>,
    /// How far each log has been read.
    read: BTreeMap<Place, Timestamp>,
}

impl Tries {
    /// Reads what was written since the last time. `before` is the moment before these lines.
    pub(super) fn harvest(&mut self, cluster: &Cluster, places: &[Place], before: Option<&Moment>) {
        for place in places.iter().filter(|place| place.container == SNAPSHOTTER) {
            let Some(log) = cluster.process_in(place).and_then(|process| cluster.log(process)) else { continue };
            let read = self.read.entry(place.clone()).or_insert(Timestamp::UNIX_EPOCH);
            let fresh: Vec<(Timestamp, &str)> = log.lines().rev().take_while(|(at, _)| *at > *read).collect();
            for (at, line) in fresh.into_iter().rev() {
                *read = at;
                let Some((_, rest)) = line.split_once("could not sync content \"") else { continue };
                let Some((content, rest)) = rest.split_once('"') else { continue };
                // It also fails at creations. A deletion that cannot be written down is one that failed; as long as the
                // content is marked as being created, what cannot be written is about that.
                let unwritten = !rest.contains(" to delete snapshot ");
                let content_before = before.and_then(|moment| moment.get(table::CONTENTS, &Key::cluster(content)));
                let creating = content_before.is_some_and(|one| object::annotation(one, BEING_CREATED).is_some());
                let own = [": snapshot controller failed to update ", ": error get snapshot content "];
                if unwritten && (creating || !own.iter().any(|words| rest.starts_with(words))) {
                    continue;
                }
                let code =
                    rest.split_once("code = ").map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
                let secret = rest.contains("cannot get credentials");
                let one = Try { at, code: code.to_owned(), secret, unwritten };
                self.tries.entry(content.to_owned()).or_default().push(one);
            }
        }
    }

    /// Whether the driver really answered what this class says. What came after `seen` the daemon may not know.
    pub(super) fn bear_out(&self, class: Class, content: &str, since: Timestamp, seen: Timestamp) -> bool {
        let tries = self.tries.get(content).map_or(&[][..], Vec::as_slice);
        // What the driver answered is not changed by a write that failed.
        let counts = |one: &&Try| !one.unwritten || matches!(class, Class::Retrying | Class::MissedEvent);
        let tries = || tries.iter().filter(|one| one.at >= since).filter(counts);
        let last = tries().rfind(|one| one.at <= seen);
        let mut candidates = last.into_iter().chain(tries().filter(|one| one.at > seen));
        match class {
            Class::SecretMissing => candidates.any(|one| one.secret),
            Class::OperationLocked => candidates.any(|one| one.code == "Aborted"),
            Class::BackendError => candidates.any(|one| !one.code.is_empty()),
            Class::Retrying => candidates.next().is_some(),
            // It has to be true of the past as far as the daemon could see it.
            Class::MissedEvent => last.is_none(),
            _ => true,
        }
    }
}

// === What is stuck ===

/// Something that has not moved for so long that somebody has to say so.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) subject: Subject,
    pub(super) age: Duration,
}

/// Everything that is being deleted, or waits to be cut, for longer than this. What was ready for a moment not long ago
/// has moved, and may go on doing so.
pub(super) fn stuck(moments: &VecDeque<Moment>, longer_than: Duration) -> Vec<Stuck> {
    let kinds: [(&'static Resource, Kind); 2] =
        [(table::CONTENTS, Kind::VolumeSnapshotContent), (table::SNAPSHOTS, Kind::VolumeSnapshot)];
    let Some(moment) = moments.back() else { return Vec::new() };
    let was_ready = |key: &Key, uid: &Uid| {
        let recent = moments.iter().rev().take_while(|one| one.at + RESTLESS >= moment.at);
        recent.filter_map(|one| one.under(table::SNAPSHOTS, key, Some(uid))).any(is_cut)
    };
    let mut found = Vec::new();
    for (resource, kind) in kinds {
        for one in moment.list(resource) {
            let key = Key::namespaced(object::namespace(one), object::name(one));
            let uncut = kind == Kind::VolumeSnapshot && !was_ready(&key, &Uid::parse(object::uid(one)));
            let field = match (object::is_deleting(one), uncut) {
                (true, _) => "/metadata/deletionTimestamp",
                (false, true) => "/metadata/creationTimestamp",
                (false, false) => continue,
            };
            let age = age(one, field, moment.wall);
            if age > longer_than {
                found.push(Stuck { subject: Subject::new(kind, key), age });
            }
        }
    }
    found
}

fn is_cut(snapshot: &Value) -> bool {
    object::at(snapshot, "/status/readyToUse").and_then(Value::as_bool) == Some(true)
}

/// How long ago the time in this field was.
pub(super) fn age(one: &Value, field: &str, wall: Timestamp) -> Duration {
    let at: Option<Timestamp> = object::text(one, field).parse().ok();
    at.and_then(|at| Duration::try_from(wall.duration_since(at)).ok()).unwrap_or_default()
}
