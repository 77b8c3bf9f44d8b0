//! Slim views of other people's objects: the fields we read, every one optional, everything else skipped
//! without being kept.
//!
//! The views borrow from the text they are read from and are dropped once a record is made of them, so a
//! 2 KB object costs its record and no more. Absence is kept as absence (`None` is not an empty value), but a
//! field of a wrong type is an error of the whole object and never reads as absent: a `deletionTimestamp` we
//! cannot read must not make an object look alive.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

// === Text and times ===

/// A string that borrows from the input unless it holds escapes. (serde borrows a bare `Cow<str>` but not one
/// inside an `Option`.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// An RFC 3339 time; a text that is none is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| de::Error::custom(format_args!("`{}` is not an RFC 3339 time", &*text)))
    }
}

// === Metadata ===

/// `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Metadata<'a> {
    /// `name`.
    pub name: Option<Text<'a>>,
    /// `namespace`.
    pub namespace: Option<Text<'a>>,
    /// `uid`.
    pub uid: Option<Text<'a>>,
    /// `resourceVersion`.
    pub resource_version: Option<Text<'a>>,
    /// `creationTimestamp`.
    pub creation_timestamp: Option<Moment>,
    /// `deletionTimestamp`.
    pub deletion_timestamp: Option<Moment>,
    /// `finalizers`.
    pub finalizers: Option<Vec<Text<'a>>>,
    /// `ownerReferences`.
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
    /// `annotations`, those we read.
    pub annotations: Option<Annotations<'a>>,
    /// `labels`, those we read.
    pub labels: Option<Labels<'a>>,
}

/// One of `metadata.ownerReferences`.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct OwnerReference<'a> {
    /// `kind`.
    pub kind: Option<Text<'a>>,
    /// `name`.
    pub name: Option<Text<'a>>,
    /// `uid`.
    pub uid: Option<Text<'a>>,
    /// `controller`.
    pub controller: Option<bool>,
}

/// The annotations that something rests on; the others (`last-applied-configuration` can be larger than its
/// object) are skipped.
#[allow(clippy::struct_excessive_bools, reason = "each is the presence of one annotation, independent of the others")]
#[derive(Debug, Default)]
pub struct Annotations<'a> {
    /// `snapshot.storage.kubernetes.io/volumesnapshot-being-deleted`.
    pub being_deleted: bool,
    /// `snapshot.storage.kubernetes.io/volumesnapshot-being-created`.
    pub being_created: bool,
    /// `snapshot.storage.kubernetes.io/deletion-secret-name`.
    pub deletion_secret_name: Option<Text<'a>>,
    /// `snapshot.storage.kubernetes.io/deletion-secret-namespace`.
    pub deletion_secret_namespace: Option<Text<'a>>,
    /// `groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle`.
    pub group_handle: bool,
    /// `snapshot.storage.kubernetes.io/is-default-class` is `true`.
    pub default_class: bool,
    /// `csi.ceph.io/ownerref`: JSON with the namespace and name of the operator's Driver.
    pub ceph_owner: Option<Text<'a>>,
    /// `volume.kubernetes.io/selected-node`.
    pub selected_node: bool,
    /// `volwarden.dev/ignore`.
    pub ignored: bool,
    /// `k8s.io/initial-events-end`: this bookmark ends a streaming list.
    pub initial_events_end: bool,
    /// Any of `velero.io/...`.
    pub velero: bool,
}

/// The labels that something rests on.
#[derive(Debug, Default)]
pub struct Labels<'a> {
    /// `snapshot.storage.kubernetes.io/managed-by`.
    pub managed_by: Option<Text<'a>>,
    /// `volsync.backube/do-not-delete`.
    pub do_not_delete: bool,
    /// Any of `velero.io/...`.
    pub velero: bool,
}

/// A key in Velero's domain or below it (`velero.io/...`, `backup.velero.io/...`).
fn is_velero(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    domain == "velero.io" || domain.ends_with(".velero.io")
}

/// A map of strings of which `take` picks what it wants; `null` values read as empty, as Go does.
struct Picked<'t, T, F>(&'t mut T, F);

impl<'de, T, F> Visitor<'de> for Picked<'_, T, F>
where
    F: FnMut(&mut T, &str) -> Pick,
    T: Keep<'de>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match (self.1)(self.0, &key) {
                Pick::Skip => {
                    map.next_value::<IgnoredAny>()?;
                }
                Pick::Value => {
                    if let Some(value) = map.next_value::<Option<Text<'de>>>()? {
                        self.0.keep(&key, value);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a key's value is wanted.
enum Pick {
    Skip,
    Value,
}

/// Stores the value of a wanted key.
trait Keep<'a> {
    fn keep(&mut self, key: &str, value: Text<'a>);
}

const SECRET_NAME: &str = "snapshot.storage.kubernetes.io/deletion-secret-name";
const SECRET_NAMESPACE: &str = "snapshot.storage.kubernetes.io/deletion-secret-namespace";
const DEFAULT_CLASS: &str = "snapshot.storage.kubernetes.io/is-default-class";
const CEPH_OWNER: &str = "csi.ceph.io/ownerref";
const MANAGED_BY: &str = "snapshot.storage.kubernetes.io/managed-by";

impl<'a> Keep<'a> for Annotations<'a> {
    fn keep(&mut self, key: &str, value: Text<'a>) {
        match key {
            SECRET_NAME => self.deletion_secret_name = Some(value),
            SECRET_NAMESPACE => self.deletion_secret_namespace = Some(value),
            DEFAULT_CLASS => self.default_class = &*value == "true",
            CEPH_OWNER => self.ceph_owner = Some(value),
            _ => {}
        }
    }
}

impl<'a> Keep<'a> for Labels<'a> {
    fn keep(&mut self, key: &str, value: Text<'a>) {
        if key == MANAGED_BY {
            self.managed_by = Some(value);
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Annotations::<'de>::default();
        deserializer.deserialize_map(Picked(&mut found, |found: &mut Annotations<'de>, key: &str| {
            match key {
                "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted" => found.being_deleted = true,
                "snapshot.storage.kubernetes.io/volumesnapshot-being-created" => found.being_created = true,
                "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle" => found.group_handle = true,
                "volume.kubernetes.io/selected-node" => found.selected_node = true,
                "volwarden.dev/ignore" => found.ignored = true,
                "k8s.io/initial-events-end" => found.initial_events_end = true,
                SECRET_NAME | SECRET_NAMESPACE | DEFAULT_CLASS | CEPH_OWNER => return Pick::Value,
                other => found.velero |= is_velero(other),
            }
            Pick::Skip
        }))?;
        Ok(found)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Labels::<'de>::default();
        deserializer.deserialize_map(Picked(&mut found, |found: &mut Labels<'de>, key: &str| {
            match key {
                "volsync.backube/do-not-delete" => found.do_not_delete = true,
                MANAGED_BY => return Pick::Value,
                other => found.velero |= is_velero(other),
            }
            Pick::Skip
        }))?;
        Ok(found)
    }
}

// === What the API server itself says ===

/// One line of a watch.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct WatchLine<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub verb: Text<'a>,
    /// The object, or a Status.
    pub object: &'a RawValue,
}

/// A page of a list, its items still unread: one of them that cannot be read must not hide the others.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Page<'a> {
    /// `metadata`.
    pub metadata: PageMeta<'a>,
    /// `items`. Required, though it may be `null`: an answer without it is no list, and must not read as an
    /// empty one, which would delete everything.
    #[serde(deserialize_with = "present")]
    pub items: Option<Vec<&'a RawValue>>,
}

/// Makes a field required although its type is an `Option`.
fn present<'de, D: de::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer)
}

/// `metadata` of a page.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct PageMeta<'a> {
    /// `resourceVersion` of the whole list.
    #[serde(rename = "resourceVersion")]
    pub resource_version: Option<Text<'a>>,
    /// `continue`: there are more pages.
    #[serde(rename = "continue")]
    pub more: Option<Text<'a>>,
}

/// Any object, for its metadata alone; a bookmark is one too.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Bare<'a> {
    /// `metadata`.
    pub metadata: Metadata<'a>,
}

/// An object of which not even the metadata can be read as it should be: enough to name it.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct NameOnly<'a> {
    /// `metadata`.
    pub metadata: NameMeta<'a>,
}

/// Name, namespace and version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct NameMeta<'a> {
    /// `name`.
    pub name: Text<'a>,
    /// `namespace`.
    pub namespace: Option<Text<'a>>,
    /// `resourceVersion`.
    pub resource_version: Option<Text<'a>>,
}

/// A `Status`: how the API server says no.
#[derive(Debug, Default, Deserialize)]
pub struct Status {
    /// `code`: an HTTP status.
    pub code: Option<u16>,
    /// `reason`: a word such as `NotFound`.
    pub reason: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `details`.
    pub details: Option<StatusDetails>,
}

/// `details` of a [`Status`].
#[derive(Debug, Deserialize)]
pub struct StatusDetails {
    /// Name of the object it is about.
    pub name: Option<String>,
}

/// `GET /apis/<group>/<version>`: an `APIResourceList`.
#[derive(Debug, Deserialize)]
pub struct ResourceList {
    /// `resources`.
    pub resources: Vec<Resource>,
}

/// One of the resources of a group version.
#[derive(Debug, Deserialize)]
pub struct Resource {
    /// `name`: the plural, or plural/subresource.
    pub name: String,
}

/// `GET /version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `gitVersion`.
    pub git_version: String,
    /// `major`.
    pub major: Option<String>,
    /// `minor`.
    pub minor: Option<String>,
}

/// Declares views of the same make: every field optional, named in the API by its camel case or as given.
macro_rules! views {
    ($($(#[$doc:meta])* $name:ident { $($field:ident $(($json:literal))? : $type:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> {
            $(
                #[doc = concat!("The API's `", stringify!($field), "`, in its camel case.")]
                $(#[serde(rename = $json)])?
                pub $field: Option<$type>,
            )*
        }
    )* };
}

/// Declares top-level views: metadata, and the parts named.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> {
            /// `metadata`.
            pub metadata: Metadata<'a>,
            $(
                #[doc = concat!("The API's `", stringify!($field), "`, in its camel case.")]
                pub $field: Option<$type>,
            )*
        }
    )* };
}

objects! {
    /// VolumeSnapshot.
    VolumeSnapshot { spec: SnapshotSpec<'a>, status: SnapshotStatus<'a> }
    /// VolumeSnapshotContent.
    VolumeSnapshotContent { spec: ContentSpec<'a>, status: ContentStatus<'a> }
    /// VolumeSnapshotClass.
    VolumeSnapshotClass { driver: Text<'a>, deletion_policy: Text<'a> }
    /// Lease.
    Lease { spec: LeaseSpec<'a> }
    /// PersistentVolumeClaim.
    PersistentVolumeClaim { spec: ClaimSpec<'a>, status: ClaimStatus<'a> }
    /// PersistentVolume.
    PersistentVolume { spec: VolumeSpec<'a> }
    /// Pod.
    Pod { spec: PodSpec<'a>, status: PodStatus<'a> }
    /// Deployment or ReplicaSet.
    Workload { spec: WorkloadSpec<'a>, status: WorkloadStatus }
    /// Job.
    Job { status: JobStatus<'a> }
    /// StorageClass.
    StorageClass { provisioner: Text<'a>, volume_binding_mode: Text<'a> }
    /// VolumeAttachment.
    VolumeAttachment { spec: AttachmentSpec<'a>, status: AttachmentStatus }
    /// Event of core/v1, in its old and its new shape.
    Event {
        involved_object: ObjectReference<'a>, reason: Text<'a>, message: Text<'a>, source: EventSource<'a>,
        reporting_component: Text<'a>, r#type: Text<'a>, count: i64, series: EventSeries,
        first_timestamp: Moment, last_timestamp: Moment, event_time: Moment,
    }
    /// CephCluster.
    CephCluster { status: CephClusterStatus<'a> }
    /// ReplicationSource, ReplicationDestination or KopiaMaintenance.
    Replication { spec: ReplicationSpec<'a>, status: ReplicationStatus<'a> }
    /// VolumeGroupSnapshotContent.
    GroupContent { spec: GroupContentSpec<'a>, status: GroupContentStatus<'a> }
}

views! {
    /// `spec` of a VolumeSnapshot.
    SnapshotSpec { source: SnapshotSource<'a>, volume_snapshot_class_name: Text<'a> }
    /// `spec.source` of a VolumeSnapshot.
    SnapshotSource { persistent_volume_claim_name: Text<'a>, volume_snapshot_content_name: Text<'a> }
    /// `status` of a VolumeSnapshot.
    SnapshotStatus {
        bound_volume_snapshot_content_name: Text<'a>, ready_to_use: bool, error: SnapshotError<'a>,
        volume_group_snapshot_name: Text<'a>,
    }
    /// `status.error` of a VolumeSnapshot or its content.
    SnapshotError { message: Text<'a>, time: Moment }
    /// `spec` of a VolumeSnapshotContent.
    ContentSpec {
        volume_snapshot_ref: ObjectReference<'a>, driver: Text<'a>, volume_snapshot_class_name: Text<'a>,
        deletion_policy: Text<'a>, source: ContentSource<'a>,
    }
    /// A reference to an object.
    ObjectReference { kind: Text<'a>, namespace: Text<'a>, name: Text<'a>, uid: Text<'a> }
    /// `spec.source` of a VolumeSnapshotContent.
    ContentSource { volume_handle: Text<'a>, snapshot_handle: Text<'a> }
    /// `status` of a VolumeSnapshotContent; `creationTime` is in nanoseconds since 1970.
    ContentStatus {
        snapshot_handle: Text<'a>, ready_to_use: bool, creation_time: i64, restore_size: i64,
        error: SnapshotError<'a>, volume_group_snapshot_handle: Text<'a>,
    }
    /// `spec` of a Lease; the duration is in seconds.
    LeaseSpec {
        holder_identity: Text<'a>, lease_duration_seconds: i64, renew_time: Moment, acquire_time: Moment,
        lease_transitions: i32,
    }
    /// `spec` of a PersistentVolumeClaim.
    ClaimSpec {
        volume_name: Text<'a>, storage_class_name: Text<'a>, data_source: DataSource<'a>,
        data_source_ref: DataSource<'a>,
    }
    /// `spec.dataSource` or `spec.dataSourceRef` of a claim; only the latter can name a namespace.
    DataSource { api_group: Text<'a>, kind: Text<'a>, name: Text<'a>, namespace: Text<'a> }
    /// `status` of a PersistentVolumeClaim.
    ClaimStatus { phase: Text<'a> }
    /// `spec` of a PersistentVolume.
    VolumeSpec { csi: CsiVolume<'a> }
    /// `spec.csi` of a PersistentVolume.
    CsiVolume { driver: Text<'a>, volume_handle: Text<'a> }
    /// `spec` of a pod or of a pod template.
    PodSpec {
        node_name: Text<'a>, host_network: bool, hostname: Text<'a>, containers: Vec<Container<'a>>,
        init_containers: Vec<Container<'a>>,
    }
    /// A container of a pod. With `restartPolicy: Always` an init container is a sidecar.
    Container {
        name: Text<'a>, image: Text<'a>, command: Vec<Text<'a>>, args: Vec<Text<'a>>, restart_policy: Text<'a>,
    }
    /// `status` of a pod.
    PodStatus {
        phase: Text<'a>, conditions: Vec<Condition<'a>>, container_statuses: Vec<ContainerStatus<'a>>,
        init_container_statuses: Vec<ContainerStatus<'a>>, start_time: Moment,
    }
    /// A condition of anything.
    Condition {
        r#type: Text<'a>, status: Text<'a>, reason: Text<'a>, message: Text<'a>, last_transition_time: Moment,
    }
    /// What the kubelet says of a container.
    ContainerStatus {
        name: Text<'a>, ready: bool, restart_count: u32, state: ContainerState<'a>, last_state: ContainerState<'a>,
    }
    /// `state` or `lastState` of a container.
    ContainerState { running: RunningState, waiting: WaitingState<'a>, terminated: TerminatedState<'a> }
    /// `waiting` state of a container.
    WaitingState { reason: Text<'a> }
    /// `terminated` state of a container.
    TerminatedState { reason: Text<'a>, message: Text<'a> }
    /// `spec` of a Deployment or ReplicaSet.
    WorkloadSpec { replicas: i32, template: PodTemplate<'a> }
    /// `spec.template` of a Deployment or ReplicaSet.
    PodTemplate { spec: PodSpec<'a> }
    /// `status` of a Job.
    JobStatus { active: i32, conditions: Vec<Condition<'a>> }
    /// `spec` of a VolumeAttachment.
    AttachmentSpec { attacher: Text<'a>, source: AttachmentSource<'a> }
    /// `spec.source` of a VolumeAttachment.
    AttachmentSource { persistent_volume_name: Text<'a> }
    /// `source` of an Event.
    EventSource { component: Text<'a> }
    /// `status` of a CephCluster.
    CephClusterStatus { ceph: CephStatus<'a> }
    /// `status.ceph`.
    CephStatus { health: Text<'a>, last_checked: Text<'a>, fsid: Text<'a> }
    /// `spec` of VolSync's kinds.
    ReplicationSpec { source_pvc("sourcePVC"): Text<'a>, paused: bool, suspend: bool }
    /// `status` of VolSync's kinds.
    ReplicationStatus {
        last_sync_start_time: Moment, last_sync_time: Moment, next_sync_time: Moment, last_maintenance_time: Moment,
        next_scheduled_maintenance: Moment, conditions: Vec<Condition<'a>>,
    }
    /// `spec` of a VolumeGroupSnapshotContent.
    GroupContentSpec { source: GroupSource<'a> }
    /// `spec.source` of a VolumeGroupSnapshotContent.
    GroupSource { group_snapshot_handles: GroupHandles<'a> }
    /// Handles a group content was imported from.
    GroupHandles { volume_snapshot_handles: Vec<Text<'a>> }
    /// `status` of a VolumeGroupSnapshotContent: the list is called `...InfoList` since v1beta2 and
    /// `...HandlePairList` before.
    GroupContentStatus {
        volume_snapshot_info_list: Vec<GroupMember<'a>>, volume_snapshot_handle_pair_list: Vec<GroupMember<'a>>,
    }
    /// One snapshot of a group.
    GroupMember { snapshot_handle: Text<'a> }
    /// The value of the annotation `csi.ceph.io/ownerref`.
    CephOwner { namespace("Namespace"): Text<'a>, name("Name"): Text<'a> }
}

/// `running` state of a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningState {
    /// `startedAt`.
    pub started_at: Option<Moment>,
}

/// `status` of a Deployment or ReplicaSet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// `readyReplicas`.
    pub ready_replicas: Option<i32>,
}

/// `status` of a VolumeAttachment.
#[derive(Debug, Deserialize)]
pub struct AttachmentStatus {
    /// `attached`.
    pub attached: Option<bool>,
}

/// `series` of an Event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSeries {
    /// `count`.
    pub count: Option<i64>,
    /// `lastObservedTime`.
    pub last_observed_time: Option<Moment>,
}
