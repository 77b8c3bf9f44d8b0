//! Every resource the store serves: its names, its scope, and what is particular about it.
//!
//! One row a resource, and nothing elsewhere asks for a kind by name: what a row does not say, no code knows.

use std::cmp::Ordering;

use super::columns::{self, Column};

/// One resource of the API.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a resource")]
pub struct Resource {
    /// Tells two resources apart without a look at their names: this is asked millions of times.
    id: u64,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The one version it is served in.
    pub version: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Singular, as people write it.
    pub singular: &'static str,
    /// Kind, as in objects.
    pub kind: &'static str,
    /// Short names for the command line.
    pub short: &'static [&'static str],
    /// Names under which it is asked for together with others.
    pub categories: &'static [&'static str],
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// It has the subresource `status`.
    pub status: bool,
    /// It comes from a CustomResourceDefinition.
    pub custom: bool,
    /// The server counts `metadata.generation`.
    pub generation: bool,
    /// A deletion is answered with the object as it last was, not with a Status.
    pub returns_deleted: bool,
    /// Who wrote what is kept in `managedFields`. Of nothing but snapshots and contents anybody asks who made
    /// them, and to keep it of what is written all the time would cost much of a run.
    pub owned: bool,
    /// Fields that a field selector may name, besides name and namespace.
    pub fields: &'static [&'static str],
    /// What `kubectl get` prints.
    pub columns: &'static [Column],
}

impl Resource {
    const fn built_in(group: &'static str, plural: &'static str, singular: &'static str, kind: &'static str) -> Self {
        Self {
            id: identify(group, plural),
            group,
            version: "v1",
            plural,
            singular,
            kind,
            short: &[],
            categories: &[],
            namespaced: true,
            status: true,
            custom: false,
            generation: false,
            returns_deleted: false,
            owned: false,
            fields: &[],
            columns: columns::PLAIN,
        }
    }

    const fn custom(group: &'static str, plural: &'static str, singular: &'static str, kind: &'static str) -> Self {
        Self { custom: true, generation: true, ..Self::built_in(group, plural, singular, kind) }
    }

    const fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    const fn short(self, short: &'static [&'static str]) -> Self {
        Self { short, ..self }
    }

    const fn in_category(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn cluster_scoped(self) -> Self {
        Self { namespaced: false, ..self }
    }

    const fn without_status(self) -> Self {
        Self { status: false, ..self }
    }

    const fn counted(self) -> Self {
        Self { generation: true, ..self }
    }

    const fn returning_deleted(self) -> Self {
        Self { returns_deleted: true, ..self }
    }

    const fn owned(self) -> Self {
        Self { owned: true, ..self }
    }

    const fn selectable(self, fields: &'static [&'static str]) -> Self {
        Self { fields, ..self }
    }

    const fn printing(self, columns: &'static [Column]) -> Self {
        Self { columns, ..self }
    }

    /// `apiVersion` of its objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether this is the `apiVersion` of its objects.
    #[must_use]
    pub fn is_api_version(&self, text: &str) -> bool {
        if self.group.is_empty() {
            text == self.version
        } else {
            text.split_once('/') == Some((self.group, self.version))
        }
    }

    /// `pods`, `volumesnapshots.snapshot.storage.k8s.io`: how the server's sentences name the resource.
    #[must_use]
    pub fn qualified(&self) -> String {
        qualified(self.plural, self.group)
    }

    /// `Pod`, `VolumeSnapshot.snapshot.storage.k8s.io`: how the server's sentences name the kind.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }
}

/// FNV-1a over both names.
const fn identify(group: &str, plural: &str) -> u64 {
    const fn mix(mut id: u64, mut bytes: &[u8]) -> u64 {
        while let [byte, rest @ ..] = bytes {
            id = (id ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
            bytes = rest;
        }
        id
    }
    mix(mix(mix(0xcbf2_9ce4_8422_2325, plural.as_bytes()), b"."), group.as_bytes())
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Resource {}

/// The resource of this group and plural.
#[must_use]
pub fn resource(group: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|row| row.group == group && row.plural == plural)
}

const APPS: &str = "apps";
const BATCH: &str = "batch";
const STORAGE: &str = "storage.k8s.io";
/// The group of VolumeSnapshots.
pub const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";
/// The group of VolumeGroupSnapshots.
pub const GROUP_SNAPSHOT_GROUP: &str = "groupsnapshot.storage.k8s.io";
/// The group of VolSync.
pub const VOLSYNC_GROUP: &str = "volsync.backube";
/// The group of Rook.
pub const CEPH_GROUP: &str = "ceph.rook.io";
/// Our own group.
pub const OUR_GROUP: &str = crate::api::GROUP;

/// Namespaces.
pub const NAMESPACES: &Resource = &Resource::built_in("", "namespaces", "namespace", "Namespace")
    .short(&["ns"])
    .cluster_scoped()
    .selectable(&["status.phase"])
    .printing(columns::NAMESPACES);
/// Nodes.
pub const NODES: &Resource = &Resource::built_in("", "nodes", "node", "Node")
    .short(&["no"])
    .cluster_scoped()
    .selectable(&["spec.unschedulable"])
    .printing(columns::NODES);
/// Pods.
pub const PODS: &Resource = &Resource::built_in("", "pods", "pod", "Pod")
    .short(&["po"])
    .counted()
    .returning_deleted()
    .selectable(&[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ])
    .printing(columns::PODS);
/// Services.
pub const SERVICES: &Resource =
    &Resource::built_in("", "services", "service", "Service").short(&["svc"]).returning_deleted();
/// ConfigMaps.
pub const CONFIG_MAPS: &Resource =
    &Resource::built_in("", "configmaps", "configmap", "ConfigMap").short(&["cm"]).without_status();
/// Secrets.
pub const SECRETS: &Resource =
    &Resource::built_in("", "secrets", "secret", "Secret").without_status().selectable(&["type"]);
/// ServiceAccounts.
pub const SERVICE_ACCOUNTS: &Resource = &Resource::built_in("", "serviceaccounts", "serviceaccount", "ServiceAccount")
    .short(&["sa"])
    .without_status()
    .returning_deleted();
/// Events.
pub const EVENTS: &Resource = &Resource::built_in("", "events", "event", "Event")
    .short(&["ev"])
    .without_status()
    .selectable(&[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ])
    .printing(columns::EVENTS);
/// PersistentVolumeClaims.
pub const CLAIMS: &Resource =
    &Resource::built_in("", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim")
        .short(&["pvc"])
        .returning_deleted()
        .printing(columns::CLAIMS);
/// PersistentVolumes.
pub const VOLUMES: &Resource = &Resource::built_in("", "persistentvolumes", "persistentvolume", "PersistentVolume")
    .short(&["pv"])
    .cluster_scoped()
    .returning_deleted()
    .printing(columns::VOLUMES);

/// Deployments.
pub const DEPLOYMENTS: &Resource = &Resource::built_in(APPS, "deployments", "deployment", "Deployment")
    .short(&["deploy"])
    .counted()
    .printing(columns::DEPLOYMENTS);
/// ReplicaSets.
pub const REPLICA_SETS: &Resource = &Resource::built_in(APPS, "replicasets", "replicaset", "ReplicaSet")
    .short(&["rs"])
    .counted()
    .selectable(&["status.replicas"])
    .printing(columns::REPLICA_SETS);
/// DaemonSets.
pub const DAEMON_SETS: &Resource =
    &Resource::built_in(APPS, "daemonsets", "daemonset", "DaemonSet").short(&["ds"]).counted();
/// StatefulSets.
pub const STATEFUL_SETS: &Resource =
    &Resource::built_in(APPS, "statefulsets", "statefulset", "StatefulSet").short(&["sts"]).counted();
/// Jobs.
pub const JOBS: &Resource = &Resource::built_in(BATCH, "jobs", "job", "Job")
    .counted()
    .selectable(&["status.successful"])
    .printing(columns::JOBS);
/// CronJobs.
pub const CRON_JOBS: &Resource = &Resource::built_in(BATCH, "cronjobs", "cronjob", "CronJob").short(&["cj"]).counted();
/// Leases.
pub const LEASES: &Resource =
    &Resource::built_in("coordination.k8s.io", "leases", "lease", "Lease").without_status().printing(columns::LEASES);
/// CSIDrivers.
pub const CSI_DRIVERS: &Resource = &Resource::built_in(STORAGE, "csidrivers", "csidriver", "CSIDriver")
    .cluster_scoped()
    .without_status()
    .returning_deleted()
    .printing(columns::CSI_DRIVERS);
/// StorageClasses.
pub const STORAGE_CLASSES: &Resource = &Resource::built_in(STORAGE, "storageclasses", "storageclass", "StorageClass")
    .short(&["sc"])
    .cluster_scoped()
    .without_status()
    .returning_deleted()
    .printing(columns::STORAGE_CLASSES);
/// VolumeAttachments.
pub const ATTACHMENTS: &Resource =
    &Resource::built_in(STORAGE, "volumeattachments", "volumeattachment", "VolumeAttachment")
        .cluster_scoped()
        .returning_deleted()
        .printing(columns::ATTACHMENTS);
/// CustomResourceDefinitions: one object for each custom resource of this table, and nobody writes them.
pub const DEFINITIONS: &Resource = &Resource::built_in(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "customresourcedefinition",
    "CustomResourceDefinition",
)
.short(&["crd", "crds"])
.cluster_scoped()
.counted()
.printing(columns::DEFINITIONS);

/// VolumeSnapshots.
pub const SNAPSHOTS: &Resource =
    &Resource::custom(SNAPSHOT_GROUP, "volumesnapshots", "volumesnapshot", "VolumeSnapshot")
        .short(&["vs"])
        .owned()
        .printing(columns::SNAPSHOTS);
/// VolumeSnapshotContents.
pub const CONTENTS: &Resource =
    &Resource::custom(SNAPSHOT_GROUP, "volumesnapshotcontents", "volumesnapshotcontent", "VolumeSnapshotContent")
        .short(&["vsc", "vscs"])
        .cluster_scoped()
        .owned()
        .printing(columns::CONTENTS);
/// VolumeSnapshotClasses.
pub const SNAPSHOT_CLASSES: &Resource =
    &Resource::custom(SNAPSHOT_GROUP, "volumesnapshotclasses", "volumesnapshotclass", "VolumeSnapshotClass")
        .short(&["vsclass", "vsclasses"])
        .cluster_scoped()
        .without_status()
        .printing(columns::SNAPSHOT_CLASSES);
/// VolumeGroupSnapshots.
pub const GROUP_SNAPSHOTS: &Resource =
    &Resource::custom(GROUP_SNAPSHOT_GROUP, "volumegroupsnapshots", "volumegroupsnapshot", "VolumeGroupSnapshot")
        .short(&["vgs"])
        .printing(columns::GROUP_SNAPSHOTS);
/// VolumeGroupSnapshotContents.
pub const GROUP_CONTENTS: &Resource = &Resource::custom(
    GROUP_SNAPSHOT_GROUP,
    "volumegroupsnapshotcontents",
    "volumegroupsnapshotcontent",
    "VolumeGroupSnapshotContent",
)
.short(&["vgsc", "vgscs"])
.cluster_scoped()
.printing(columns::GROUP_CONTENTS);
/// VolumeGroupSnapshotClasses.
pub const GROUP_CLASSES: &Resource = &Resource::custom(
    GROUP_SNAPSHOT_GROUP,
    "volumegroupsnapshotclasses",
    "volumegroupsnapshotclass",
    "VolumeGroupSnapshotClass",
)
.short(&["vgsclass", "vgsclasses"])
.cluster_scoped()
.without_status()
.printing(columns::SNAPSHOT_CLASSES);

/// ReplicationSources.
pub const REPLICATION_SOURCES: &Resource =
    &Resource::custom(VOLSYNC_GROUP, "replicationsources", "replicationsource", "ReplicationSource")
        .version("v1alpha1")
        .printing(columns::REPLICATION_SOURCES);
/// ReplicationDestinations.
pub const REPLICATION_DESTINATIONS: &Resource =
    &Resource::custom(VOLSYNC_GROUP, "replicationdestinations", "replicationdestination", "ReplicationDestination")
        .version("v1alpha1")
        .printing(columns::REPLICATION_DESTINATIONS);
/// KopiaMaintenances.
pub const KOPIA_MAINTENANCES: &Resource =
    &Resource::custom(VOLSYNC_GROUP, "kopiamaintenances", "kopiamaintenance", "KopiaMaintenance").version("v1alpha1");
/// CephClusters.
pub const CEPH_CLUSTERS: &Resource = &Resource::custom(CEPH_GROUP, "cephclusters", "cephcluster", "CephCluster")
    .short(&["ceph"])
    .printing(columns::CEPH_CLUSTERS);

const OURS: &[&str] = &["volwarden"];

/// RemediationPolicies.
pub const POLICIES: &Resource =
    &Resource::custom(OUR_GROUP, "remediationpolicies", "remediationpolicy", "RemediationPolicy")
        .version(crate::api::VERSION)
        .short(&["rpol"])
        .in_category(OURS)
        .cluster_scoped()
        .printing(columns::POLICIES);
/// Remediations: the ledger.
pub const REMEDIATIONS: &Resource = &Resource::custom(OUR_GROUP, "remediations", "remediation", "Remediation")
    .version(crate::api::VERSION)
    .short(&["rem"])
    .in_category(OURS)
    .cluster_scoped()
    .selectable(&["spec.class", "spec.driver", "spec.subject.uid", "status.phase"])
    .printing(columns::REMEDIATIONS);
/// OrphanedSnapshots: the orphan ledger.
pub const ORPHANS: &Resource =
    &Resource::custom(OUR_GROUP, "orphanedsnapshots", "orphanedsnapshot", "OrphanedSnapshot")
        .version(crate::api::VERSION)
        .short(&["orphan"])
        .in_category(OURS)
        .cluster_scoped()
        .selectable(&["spec.driver", "spec.snapshotHandle", "status.phase"])
        .printing(columns::ORPHANS);

/// SnapshotRetentions.
pub const RETENTIONS: &Resource =
    &Resource::custom(OUR_GROUP, "snapshotretentions", "snapshotretention", "SnapshotRetention")
        .version(crate::api::VERSION)
        .short(&["sret"])
        .in_category(OURS)
        .cluster_scoped()
        .printing(columns::RETENTIONS);

/// KopiaRepositories.
pub const REPOSITORIES: &Resource =
    &Resource::custom(OUR_GROUP, "kopiarepositories", "kopiarepository", "KopiaRepository")
        .version(crate::api::VERSION)
        .short(&["krepo"])
        .in_category(OURS)
        .printing(columns::REPOSITORIES);

/// All of them.
pub const ALL: &[&Resource] = &[
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    EVENTS,
    CLAIMS,
    VOLUMES,
    DEPLOYMENTS,
    REPLICA_SETS,
    DAEMON_SETS,
    STATEFUL_SETS,
    JOBS,
    CRON_JOBS,
    LEASES,
    CSI_DRIVERS,
    STORAGE_CLASSES,
    ATTACHMENTS,
    DEFINITIONS,
    SNAPSHOTS,
    CONTENTS,
    SNAPSHOT_CLASSES,
    GROUP_SNAPSHOTS,
    GROUP_CONTENTS,
    GROUP_CLASSES,
    REPLICATION_SOURCES,
    REPLICATION_DESTINATIONS,
    KOPIA_MAINTENANCES,
    CEPH_CLUSTERS,
    POLICIES,
    REMEDIATIONS,
    ORPHANS,
    RETENTIONS,
    REPOSITORIES,
];
