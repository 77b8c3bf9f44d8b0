//! Facts: everything that enters the engine, and the reads it may ask for.
//!
//! A fact is one observed thing; the edges translate and never decide. A [`Probe`] is a read the engine wants
//! made (a live GET, the tail of a log); its answer comes back as a fact. Nothing here can change a cluster.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::fence::Fence;
use super::gate::{Gate, Said};
use super::ledger::{Outcome, Record};
use super::name::{Key, Uid};
use super::policy::Policy;
use super::record::{
    Attachment, CephCluster, Claim, Content, CsiDriver, EventRecord, Group, Job, Kind, Lease, Left, Namespace, Pod,
    Replication, Snapshot, SnapshotClass, StorageClass, Volume, Workload,
};
use super::remedy::action::TargetKind;
use super::remedy::fresh::Looked;

/// The present moment, made by the shell: the only way time enters the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock: compared with timestamps the API server wrote, and shown to people.
    pub wall: Timestamp,
    /// Monotonic clock since the process began: everything about other people's leases and silence.
    pub mono: Duration,
}

/// One watched collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// VolumeSnapshots.
    Snapshots,
    /// VolumeSnapshotContents.
    Contents,
    /// VolumeSnapshotClasses.
    SnapshotClasses,
    /// Leases outside `kube-node-lease`.
    Leases,
    /// PersistentVolumeClaims.
    Claims,
    /// PersistentVolumes.
    Volumes,
    /// Pods.
    Pods,
    /// ReplicaSets.
    ReplicaSets,
    /// Deployments.
    Deployments,
    /// Jobs that VolSync made.
    Jobs,
    /// StorageClasses.
    StorageClasses,
    /// CSIDrivers.
    CsiDrivers,
    /// VolumeAttachments.
    Attachments,
    /// Events about VolumeSnapshotContents.
    ContentEvents,
    /// Events about VolumeSnapshots.
    SnapshotEvents,
    /// CephClusters.
    CephClusters,
    /// ReplicationSources.
    ReplicationSources,
    /// ReplicationDestinations.
    ReplicationDestinations,
    /// KopiaMaintenances.
    KopiaMaintenances,
    /// VolumeGroupSnapshots.
    Groups,
    /// VolumeGroupSnapshotContents.
    GroupContents,
    /// Namespaces.
    Namespaces,
    /// Our RemediationPolicies.
    Policies,
    /// Our Remediations: the ledger.
    Remediations,
    /// Our OrphanedSnapshots: the orphan ledger.
    Orphans,
}

impl Source {
    /// All of them, in the order they are started: what findings rest on comes first.
    pub const ALL: [Self; 25] = [
        Self::Snapshots,
        Self::Contents,
        Self::SnapshotClasses,
        Self::CsiDrivers,
        Self::Leases,
        Self::ContentEvents,
        Self::SnapshotEvents,
        Self::Claims,
        Self::Volumes,
        Self::StorageClasses,
        Self::Attachments,
        Self::Pods,
        Self::ReplicaSets,
        Self::Deployments,
        Self::Jobs,
        Self::CephClusters,
        Self::ReplicationSources,
        Self::ReplicationDestinations,
        Self::KopiaMaintenances,
        Self::Groups,
        Self::GroupContents,
        Self::Namespaces,
        Self::Policies,
        Self::Remediations,
        Self::Orphans,
    ];

    /// The public name: the Kubernetes kind; events name what they are about.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshots => "VolumeSnapshot",
            Self::Contents => "VolumeSnapshotContent",
            Self::SnapshotClasses => "VolumeSnapshotClass",
            Self::Leases => "Lease",
            Self::Claims => "PersistentVolumeClaim",
            Self::Volumes => "PersistentVolume",
            Self::Pods => "Pod",
            Self::ReplicaSets => "ReplicaSet",
            Self::Deployments => "Deployment",
            Self::Jobs => "Job",
            Self::StorageClasses => "StorageClass",
            Self::CsiDrivers => "CSIDriver",
            Self::Attachments => "VolumeAttachment",
            Self::ContentEvents => "Event/VolumeSnapshotContent",
            Self::SnapshotEvents => "Event/VolumeSnapshot",
            Self::CephClusters => "CephCluster",
            Self::ReplicationSources => "ReplicationSource",
            Self::ReplicationDestinations => "ReplicationDestination",
            Self::KopiaMaintenances => "KopiaMaintenance",
            Self::Groups => "VolumeGroupSnapshot",
            Self::GroupContents => "VolumeGroupSnapshotContent",
            Self::Namespaces => "Namespace",
            Self::Policies => "RemediationPolicy",
            Self::Remediations => "Remediation",
            Self::Orphans => "OrphanedSnapshot",
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of one watched collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceChange {
    /// A complete list begins: objects follow, and what is not among them is gone once it ends.
    ListBegan,
    /// The list is complete: what it did not hold is deleted, explicitly, now.
    ListEnded,
    /// This object is there but could not be read: it is not gone (a list under way counts it as listed), and
    /// what was known of it may be stale.
    Unreadable(Key),
    /// A sign of life of the watch without an object: a bookmark, or a watch that goes on.
    Progress,
    /// The server answered for this collection on another connection; the watch itself is silent.
    Answered,
    /// Discovery says that the server does not know this kind: an empty set, not an unknown one.
    NotInstalled,
    /// The API server refuses us; carries its words.
    Forbidden(Arc<str>),
    /// The source fails; carries the error. What was known stays, and is stale.
    Failing(Arc<str>),
}

/// An object as it is now, or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Present, as it is now.
    Applied(Key, T),
    /// Deleted.
    Gone(Key),
}

/// What a read of one object answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// The API server answered 404.
    Absent,
    /// It is there, with this uid.
    Present(Uid),
    /// No answer that says either: refused, failing, timed out.
    Unknown(Arc<str>),
}

/// What a read of a container's log gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTail {
    /// The lines, oldest first, cut to a bounded size. `since` tells how far back they are complete.
    Lines {
        /// The text as the kubelet sent it.
        text: Arc<str>,
        /// The log is complete from here on; `None` if the tail was cut and its first line has no time.
        since: Option<Timestamp>,
    },
    /// RBAC refuses `pods/log`.
    Forbidden,
    /// No answer; carries the error.
    Failed(Arc<str>),
}

/// A read that the engine wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// GET one object, past every cache.
    Get {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
    },
    /// The tail of a container's log.
    Log {
        /// The pod.
        pod: Key,
        /// The pod's uid: an answer for a namesake is not an answer.
        uid: Uid,
        /// The container.
        container: Arc<str>,
    },
    /// GET one object that may be written to, with all that a repair has to know of it.
    Look {
        /// Its kind.
        kind: TargetKind,
        /// Its key.
        key: Key,
    },
    /// Warning events about a claim: the cause that its owner must mend.
    ClaimEvents {
        /// The claim.
        claim: Key,
        /// Its uid.
        uid: Uid,
    },
}

/// The answer to a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Probe::Get`].
    Get(Live),
    /// To [`Probe::Log`].
    Log(LogTail),
    /// To [`Probe::Look`].
    Look(Looked),
    /// To [`Probe::ClaimEvents`]: the newest warning in words, if there is one.
    ClaimEvents(Option<Arc<str>>),
}

/// What came of carrying an action out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// Name of the record whose intent it was.
    pub record: Box<str>,
    /// The attempt's number.
    pub attempt: u32,
    /// The outcome.
    pub outcome: Outcome,
    /// The same in words.
    pub message: Arc<str>,
}

/// One observed thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A collection's state changed.
    Source(Source, SourceChange),
    /// A VolumeSnapshot.
    Snapshot(Change<Snapshot>),
    /// A VolumeSnapshotContent.
    Content(Change<Content>),
    /// A VolumeSnapshotClass.
    SnapshotClass(Change<SnapshotClass>),
    /// A Lease.
    Lease(Change<Lease>),
    /// A PersistentVolumeClaim.
    Claim(Change<Claim>),
    /// A PersistentVolume.
    Volume(Change<Volume>),
    /// A pod.
    Pod(Change<Pod>),
    /// A ReplicaSet.
    ReplicaSet(Change<Workload>),
    /// A Deployment.
    Deployment(Change<Workload>),
    /// A Job.
    Job(Change<Job>),
    /// A StorageClass.
    StorageClass(Change<StorageClass>),
    /// A CSIDriver.
    CsiDriver(Change<CsiDriver>),
    /// A VolumeAttachment.
    Attachment(Change<Attachment>),
    /// An Event about a VolumeSnapshotContent.
    ContentEvent(Change<EventRecord>),
    /// An Event about a VolumeSnapshot.
    SnapshotEvent(Change<EventRecord>),
    /// A CephCluster.
    CephCluster(Change<CephCluster>),
    /// A ReplicationSource.
    ReplicationSource(Change<Replication>),
    /// A ReplicationDestination.
    ReplicationDestination(Change<Replication>),
    /// A KopiaMaintenance.
    KopiaMaintenance(Change<Replication>),
    /// A VolumeGroupSnapshot.
    Group(Change<Group>),
    /// A VolumeGroupSnapshotContent.
    GroupContent(Change<Group>),
    /// A Namespace.
    Namespace(Change<Namespace>),
    /// A policy.
    Policy(Change<Box<Policy>>),
    /// A record of the ledger.
    Remediation(Change<Box<Record>>),
    /// An entry of the orphan ledger.
    Orphan(Change<Left>),
    /// Our own lease: until when it is ours, on the monotonic clock; `None` when it is not.
    Leadership(Option<Duration>),
    /// What the Prometheus of a gate says.
    Gate(Gate, Said),
    /// What the probes of the fence come to.
    Fence(Fence),
    /// A record that was to be stored is, in this version; or could not be, for this reason.
    Recorded(Box<str>, Result<Box<str>, Arc<str>>),
    /// What came of carrying an action out.
    Acted(Acted),
    /// A read was answered.
    Answered(Probe, Answer),
    /// Time passed.
    Tick,
}

impl Fact {
    /// The source it is of; an answer and the time are of none.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        Some(match self {
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
            Fact::Namespace(_) => Source::Namespaces,
            Fact::Policy(_) => Source::Policies,
            Fact::Remediation(_) => Source::Remediations,
            Fact::Orphan(_) => Source::Orphans,
            Fact::Leadership(_)
            | Fact::Gate(..)
            | Fact::Fence(_)
            | Fact::Recorded(..)
            | Fact::Acted(_)
            | Fact::Answered(..)
            | Fact::Tick => return None,
        })
    }

    /// The deletion of an object of this source, as its watch would tell it.
    #[must_use]
    pub fn gone(source: Source, key: Key) -> Self {
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
            Source::Namespaces => Fact::Namespace(Change::Gone(key)),
            Source::Policies => Fact::Policy(Change::Gone(key)),
            Source::Remediations => Fact::Remediation(Change::Gone(key)),
            Source::Orphans => Fact::Orphan(Change::Gone(key)),
        }
    }
}
