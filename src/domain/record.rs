//! The slim records the world is made of: what Volwarden remembers of each watched object, and nothing more.
//!
//! No logic lives here. Absent, empty and zero are different states wherever a decision rests on the
//! difference: `Content::status` is `None` when no driver ever answered, and a [`ContentStatus`] whose fields
//! are all `None` when the driver has confirmed the deletion. Taking one for the other leaks backend storage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::name::{Key, Names, Stamp, Uid};

/// What every record keeps of an object's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.creationTimestamp`.
    pub created: Option<Stamp>,
    /// `metadata.deletionTimestamp`: set once someone asked for the deletion.
    pub deleted: Option<Stamp>,
    /// `metadata.finalizers`, in order.
    pub finalizers: Names,
    /// The annotation `volwarden.dev/ignore` is there.
    pub ignored: bool,
}

impl Meta {
    /// Whether the object carries this finalizer.
    #[must_use]
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| &**finalizer == name)
    }
}

/// `spec.source` of a VolumeSnapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotSource {
    /// Cut from this PersistentVolumeClaim of the same namespace.
    Claim(Box<str>),
    /// Imported: bound to this pre-provisioned VolumeSnapshotContent.
    Content(Box<str>),
    /// Neither field is set.
    Unknown,
}

/// A creation error as the controllers write it into a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    /// `error.message`.
    pub message: Box<str>,
    /// `error.time`.
    pub time: Option<Timestamp>,
}

/// A VolumeSnapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Metadata.
    pub meta: Meta,
    /// `spec.source`.
    pub source: SnapshotSource,
    /// `spec.volumeSnapshotClassName`.
    pub class: Option<Arc<str>>,
    /// `status.boundVolumeSnapshotContentName`.
    pub content: Option<Box<str>>,
    /// `status.readyToUse`; absent is not `false`.
    pub ready: Option<bool>,
    /// `status.error`.
    pub error: Option<Box<StatusError>>,
    /// `status.volumeGroupSnapshotName`.
    pub group: Option<Box<str>>,
    /// The label `volsync.backube/do-not-delete` is there.
    pub do_not_delete: bool,
}

/// `spec.deletionPolicy` of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The backend snapshot goes with the object.
    Delete,
    /// The backend snapshot is kept.
    Retain,
    /// Absent or a word we do not know: nothing may rest on it.
    Unknown,
}

/// `spec.source` of a content: made from a volume, or imported from a snapshot handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// `volumeHandle` is set: dynamically provisioned.
    Volume,
    /// `snapshotHandle` is set: pre-provisioned.
    Handle,
    /// Neither.
    Unknown,
}

/// A backend snapshot's id in the driver's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// [`fingerprint`](super::name::fingerprint) of the handle: finds two contents that share one.
    pub print: u64,
    /// The handle itself; kept only while the content is being deleted, when a human may need it.
    pub text: Option<Box<str>>,
}

/// `status` of a content, where the object has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentStatus {
    /// `snapshotHandle`.
    pub handle: Option<Handle>,
    /// `readyToUse`.
    pub ready: Option<bool>,
    /// `creationTime`, which the API has in nanoseconds.
    pub creation_time: Option<Stamp>,
    /// Whether `creationTime` is there at all (it may be out of [`Stamp`]'s range).
    pub has_creation_time: bool,
    /// Whether `restoreSize` is there.
    pub has_restore_size: bool,
    /// `error`: only ever a creation error.
    pub error: Option<Box<StatusError>>,
    /// `volumeGroupSnapshotHandle` is there.
    pub in_group: bool,
}

impl ContentStatus {
    /// The driver has answered the deletion: present, and all four of its fields taken out.
    #[must_use]
    pub fn emptied(&self) -> bool {
        self.handle.is_none() && self.ready.is_none() && !self.has_creation_time && !self.has_restore_size
    }
}

/// The VolumeSnapshot a content points to (`spec.volumeSnapshotRef`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Namespace and name.
    pub key: Key,
    /// Uid; absent in a pre-provisioned content that is not bound yet.
    pub uid: Option<Uid>,
}

/// Names of a Secret in an annotation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A VolumeSnapshotContent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
pub struct Content {
    /// Metadata.
    pub meta: Meta,
    /// `spec.volumeSnapshotRef`.
    pub snapshot: SnapshotRef,
    /// `spec.driver`.
    pub driver: Arc<str>,
    /// `spec.volumeSnapshotClassName`.
    pub class: Option<Arc<str>>,
    /// `spec.deletionPolicy`.
    pub policy: DeletionPolicy,
    /// `spec.source`.
    pub source: ContentSource,
    /// `status`; `None` when the object has none: no driver ever answered.
    pub status: Option<ContentStatus>,
    /// Annotation `snapshot.storage.kubernetes.io/volumesnapshot-being-deleted`.
    pub being_deleted: bool,
    /// Annotation `snapshot.storage.kubernetes.io/volumesnapshot-being-created`.
    pub being_created: bool,
    /// Annotations `snapshot.storage.kubernetes.io/deletion-secret-{name,namespace}`.
    pub secret: Option<Arc<SecretName>>,
    /// Annotation `groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle`, or the status' own field.
    pub in_group: bool,
    /// A `velero.io/...` label or annotation: Velero parks contents without a VolumeSnapshot on purpose.
    pub velero: bool,
    /// Label `snapshot.storage.kubernetes.io/managed-by`: the node whose own sidecar serves it.
    pub managed_by: Option<Arc<str>>,
}

impl Content {
    /// The handle the driver gave, if any.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.status.as_ref().and_then(|status| status.handle.as_ref())
    }
}

/// A VolumeSnapshotClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotClass {
    /// `driver`.
    pub driver: Arc<str>,
    /// `deletionPolicy`.
    pub policy: DeletionPolicy,
    /// Annotated as the default class of its driver.
    pub default: bool,
}

/// A Lease of leader election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `spec.holderIdentity`; empty when released.
    pub holder: Box<str>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Option<Duration>,
    /// `spec.renewTime` by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// `spec.acquireTime` by the holder's clock.
    pub acquired: Option<Timestamp>,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
}

/// `status.phase` of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimPhase {
    /// Pending, or no phase yet: a provisioner may be at work.
    Pending,
    /// Bound.
    Bound,
    /// Lost.
    Lost,
}

/// `spec.dataSource` / `spec.dataSourceRef` of a claim when it is a VolumeSnapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSource {
    /// The VolumeSnapshot's namespace (the claim's own unless the reference names another) and name.
    pub snapshot: Key,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Metadata.
    pub meta: Meta,
    /// `status.phase`.
    pub phase: ClaimPhase,
    /// `spec.volumeName`.
    pub volume: Option<Box<str>>,
    /// `spec.storageClassName`.
    pub storage_class: Option<Arc<str>>,
    /// The snapshots it is restored from: `dataSource` and `dataSourceRef`, without repeats.
    pub sources: Box<[ClaimSource]>,
    /// Annotation `volume.kubernetes.io/selected-node` is there.
    pub node_selected: bool,
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `spec.csi.driver`.
    pub driver: Option<Arc<str>>,
    /// [`fingerprint`](super::name::fingerprint) of `spec.csi.volumeHandle`.
    pub handle: Option<u64>,
}

/// The controller that owns an object (`ownerReferences` with `controller: true`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind, such as `ReplicaSet`.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Uid,
}

/// A container as its pod declares it, with what the kubelet says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Name.
    pub name: Arc<str>,
    /// Image with its tag.
    pub image: Arc<str>,
    /// `command` and `args`, in this order.
    pub args: Names,
    /// `ready` of its status.
    pub ready: bool,
    /// The kubelet says it runs now.
    pub running: bool,
    /// Reason of a waiting state, such as `CrashLoopBackOff`.
    pub waiting: Option<Arc<str>>,
    /// Message of the last termination.
    pub last_termination: Option<Box<str>>,
    /// Restart count.
    pub restarts: u32,
}

/// A pod that matters to us: it has a snapshot sidecar, a snapshot-controller or a CSI driver in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname`.
    pub hostname: Option<Box<str>>,
    /// `status.phase`.
    pub phase: Arc<str>,
    /// The `Ready` condition is true.
    pub ready: bool,
    /// `lastTransitionTime` of the `Ready` condition: since when it is Ready, or is not.
    pub ready_changed: Option<Stamp>,
    /// Its controller.
    pub owner: Option<Owner>,
    /// Containers.
    pub containers: Box<[Container]>,
}

/// A Deployment or a ReplicaSet whose pods matter to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Metadata.
    pub meta: Meta,
    /// Its controller.
    pub owner: Option<Owner>,
    /// `spec.replicas`.
    pub replicas: Option<i32>,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// Containers of its pod template; only name, image and arguments are filled in.
    pub containers: Box<[Container]>,
}

/// A Job of VolSync's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Metadata.
    pub meta: Meta,
    /// Its controller.
    pub owner: Option<Owner>,
    /// `status.active`.
    pub active: i32,
    /// A `Complete` condition is true.
    pub complete: bool,
    /// A `Failed` condition is true.
    pub failed: bool,
}

/// A StorageClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClass {
    /// `provisioner`.
    pub provisioner: Arc<str>,
    /// `volumeBindingMode: WaitForFirstConsumer`.
    pub waits_for_consumer: bool,
}

/// A CSIDriver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsiDriver {
    /// Annotation `csi.ceph.io/ownerref`: the operator's Driver resource, as namespace and name.
    pub owner: Option<Key>,
}

/// A VolumeAttachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `spec.attacher`: the driver's name.
    pub attacher: Arc<str>,
    /// `spec.source.persistentVolumeName`.
    pub volume: Option<Box<str>>,
    /// `status.attached`.
    pub attached: bool,
}

/// A Warning Event of the snapshot controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Kind of the object it is about: VolumeSnapshot or VolumeSnapshotContent.
    pub kind: Kind,
    /// The object's key.
    pub about: Key,
    /// The object's uid; an event of a namesake that lived before must not count.
    pub uid: Option<Uid>,
    /// `reason`.
    pub reason: Arc<str>,
    /// `message`.
    pub message: Arc<str>,
    /// `source.component` or `reportingComponent`.
    pub component: Arc<str>,
    /// Type `Warning`. Normal events only show that their component lives.
    pub warning: bool,
    /// How often it was seen.
    pub count: u32,
    /// First time.
    pub first: Option<Timestamp>,
    /// Last time.
    pub last: Option<Timestamp>,
}

/// Rook's CephCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CephCluster {
    /// `status.ceph.health`, such as `HEALTH_OK`.
    pub health: Option<Box<str>>,
    /// `status.ceph.lastChecked`.
    pub checked: Option<Timestamp>,
    /// `status.ceph.fsid`.
    pub fsid: Option<Box<str>>,
}

/// A ReplicationSource, ReplicationDestination or KopiaMaintenance of VolSync's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Metadata.
    pub meta: Meta,
    /// `spec.sourcePVC`.
    pub claim: Option<Box<str>>,
    /// `spec.paused`, or `spec.suspend` of a KopiaMaintenance.
    pub paused: bool,
    /// `status.lastSyncStartTime`: set while a synchronisation runs.
    pub started: Option<Timestamp>,
    /// `status.lastSyncTime`, or `lastMaintenanceTime`.
    pub finished: Option<Timestamp>,
    /// `status.nextSyncTime`, or `nextScheduledMaintenance`.
    pub next: Option<Timestamp>,
    /// Message of the `Synchronizing` condition when its reason is `Error`.
    pub error: Option<Box<str>>,
}

/// A VolumeGroupSnapshot or its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Metadata.
    pub meta: Meta,
    /// Fingerprints of the snapshot handles a content lists.
    pub handles: Box<[u64]>,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// The annotation `volwarden.dev/ignore` is there.
    pub ignored: bool,
}

/// An entry of the orphan ledger, as far as a repair has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// [`fingerprint`](super::name::fingerprint) of the handle.
    pub print: u64,
    /// Uid of the content that held it.
    pub content: Uid,
}

/// The kinds of objects that findings, events and reads name. The text is the Kubernetes kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// VolumeSnapshot.
    VolumeSnapshot,
    /// VolumeSnapshotContent.
    VolumeSnapshotContent,
    /// PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// CSIDriver: the subject of findings about a driver's sidecar.
    CsiDriver,
    /// Lease: the subject of findings about snapshot-controller.
    Lease,
}

impl Kind {
    /// Every kind a finding or a question can name.
    pub const ALL: [Self; 5] =
        [Self::VolumeSnapshot, Self::VolumeSnapshotContent, Self::PersistentVolumeClaim, Self::CsiDriver, Self::Lease];

    /// The Kubernetes kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VolumeSnapshot => "VolumeSnapshot",
            Self::VolumeSnapshotContent => "VolumeSnapshotContent",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::CsiDriver => "CSIDriver",
            Self::Lease => "Lease",
        }
    }

    /// Reads a Kubernetes kind back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Reads what a person types after `why`: the kind, its plural or its short name, in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let word = word.split('.').next().unwrap_or_default();
        Some(match word {
            "volumesnapshot" | "volumesnapshots" | "vs" => Self::VolumeSnapshot,
            "volumesnapshotcontent" | "volumesnapshotcontents" | "vsc" | "vscs" => Self::VolumeSnapshotContent,
            "persistentvolumeclaim" | "persistentvolumeclaims" | "pvc" | "pvcs" => Self::PersistentVolumeClaim,
            "csidriver" | "csidrivers" | "driver" => Self::CsiDriver,
            "lease" | "leases" => Self::Lease,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
