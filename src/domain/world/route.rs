//! Which source a fact belongs to, and the deletion that a source's watch would have told.

use crate::domain::fact::{Change, Fact, Source};
use crate::domain::name::Key;

/// The source whose object this is.
pub(super) fn source_of(fact: &Fact) -> Option<Source> {
    Some(match fact {
        Fact::Source(source, _) => *source,
        Fact::Snapshot(_) => Source::Snapshots,
        Fact::Content(_) => Source::Contents,
        Fact::SnapshotClass(_) => Source::SnapshotClasses,
        Fact::Lease(_) => Source::Leases,
        Fact::Claim(_) => Source::Claims,
        Fact::Volume(_) => Source::Volumes,
        Fact::Pod(_) => Source::Pods,
        Fact::ReplicaSet(_) => Source::ReplicaSets,
        Fact::Deployment(_) => Source::Deployments,
        Fact::Job(_) => Source::Jobs,
        Fact::StorageClass(_) => Source::StorageClasses,
        Fact::CsiDriver(_) => Source::CsiDrivers,
        Fact::Attachment(_) => Source::Attachments,
        Fact::ContentEvent(_) => Source::ContentEvents,
        Fact::SnapshotEvent(_) => Source::SnapshotEvents,
        Fact::CephCluster(_) => Source::CephClusters,
        Fact::ReplicationSource(_) => Source::ReplicationSources,
        Fact::ReplicationDestination(_) => Source::ReplicationDestinations,
        Fact::KopiaMaintenance(_) => Source::KopiaMaintenances,
        Fact::Group(_) => Source::Groups,
        Fact::GroupContent(_) => Source::GroupContents,
        Fact::Answered(..) | Fact::Tick => return None,
    })
}

/// The deletion of an object of this source, as a watch would have told it.
pub(super) fn gone(source: Source, key: Key) -> Fact {
    match source {
        Source::Snapshots => Fact::Snapshot(Change::Gone(key)),
        Source::Contents => Fact::Content(Change::Gone(key)),
        Source::SnapshotClasses => Fact::SnapshotClass(Change::Gone(key)),
        Source::Leases => Fact::Lease(Change::Gone(key)),
        Source::Claims => Fact::Claim(Change::Gone(key)),
        Source::Volumes => Fact::Volume(Change::Gone(key)),
        Source::Pods => Fact::Pod(Change::Gone(key)),
        Source::ReplicaSets => Fact::ReplicaSet(Change::Gone(key)),
        Source::Deployments => Fact::Deployment(Change::Gone(key)),
        Source::Jobs => Fact::Job(Change::Gone(key)),
        Source::StorageClasses => Fact::StorageClass(Change::Gone(key)),
        Source::CsiDrivers => Fact::CsiDriver(Change::Gone(key)),
        Source::Attachments => Fact::Attachment(Change::Gone(key)),
        Source::ContentEvents => Fact::ContentEvent(Change::Gone(key)),
        Source::SnapshotEvents => Fact::SnapshotEvent(Change::Gone(key)),
        Source::CephClusters => Fact::CephCluster(Change::Gone(key)),
        Source::ReplicationSources => Fact::ReplicationSource(Change::Gone(key)),
        Source::ReplicationDestinations => Fact::ReplicationDestination(Change::Gone(key)),
        Source::KopiaMaintenances => Fact::KopiaMaintenance(Change::Gone(key)),
        Source::Groups => Fact::Group(Change::Gone(key)),
        Source::GroupContents => Fact::GroupContent(Change::Gone(key)),
    }
}
