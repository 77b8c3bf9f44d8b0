//! What `kubectl get` prints of each resource, as the real server and the CRDs print it.

use serde_json::Value;

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading, as the server writes it; kubectl makes capitals of it.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// Above 0: shown with `-o wide` only.
    pub priority: i32,
    /// Where its cells come from.
    pub cell: Cell,
}

/// Where a cell comes from.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    /// The value at this JSON pointer.
    At(&'static str),
    /// How long ago the time at this pointer was.
    Since(&'static str),
    /// Made from the whole object.
    Made(fn(&Value) -> Value),
}

const fn text(name: &'static str, pointer: &'static str) -> Column {
    Column { name, kind: "string", priority: 0, cell: Cell::At(pointer) }
}

const fn made(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column { name, kind: "string", priority: 0, cell: Cell::Made(cell) }
}

const fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

const fn of(kind: &'static str, column: Column) -> Column {
    Column { kind, ..column }
}

const NAME: Column = text("Name", "/metadata/name");
const AGE: Column = Column { name: "Age", kind: "date", priority: 0, cell: Cell::Since("/metadata/creationTimestamp") };

pub(super) const PLAIN: &[Column] = &[NAME, AGE];

pub(super) const NAMESPACES: &[Column] = &[NAME, text("Status", "/status/phase"), AGE];

pub(super) const NODES: &[Column] = &[
    NAME,
    made("Status", |node| if condition(node, "Ready") { "Ready".into() } else { "NotReady".into() }),
    made("Roles", |_| "<none>".into()),
    AGE,
    text("Version", "/status/nodeInfo/kubeletVersion"),
];

pub(super) const PODS: &[Column] = &[
    NAME,
    made("Ready", |pod| {
        let wanted = items(pod, "/spec/containers").len();
        let ready = statuses(pod).filter(|status| status.get("ready") == Some(&Value::Bool(true))).count();
        format!("{ready}/{wanted}").into()
    }),
    made("Status", pod_status),
    made("Restarts", |pod| {
        let counts = statuses(pod).filter_map(|status| status.get("restartCount")?.as_i64());
        counts.sum::<i64>().to_string().into()
    }),
    AGE,
    wide(made("IP", |pod| or_none(pod, "/status/podIP"))),
    wide(made("Node", |pod| or_none(pod, "/spec/nodeName"))),
];

pub(super) const EVENTS: &[Column] = &[
    Column { name: "Last Seen", kind: "string", priority: 0, cell: Cell::Since("/lastTimestamp") },
    text("Type", "/type"),
    text("Reason", "/reason"),
    made("Object", |event| {
        let kind = string(event, "/involvedObject/kind").to_lowercase();
        format!("{kind}/{}", string(event, "/involvedObject/name")).into()
    }),
    wide(text("Subobject", "/involvedObject/fieldPath")),
    wide(text("Source", "/source/component")),
    text("Message", "/message"),
    wide(Column { name: "First Seen", kind: "string", priority: 1, cell: Cell::Since("/firstTimestamp") }),
    wide(of("integer", text("Count", "/count"))),
    wide(text("Name", "/metadata/name")),
];

pub(super) const CLAIMS: &[Column] = &[
    NAME,
    made("Status", phase_or_terminating),
    text("Volume", "/spec/volumeName"),
    text("Capacity", "/status/capacity/storage"),
    made("Access Modes", |claim| access_modes(claim, "/status/accessModes")),
    text("StorageClass", "/spec/storageClassName"),
    AGE,
];

pub(super) const VOLUMES: &[Column] = &[
    NAME,
    text("Capacity", "/spec/capacity/storage"),
    made("Access Modes", |volume| access_modes(volume, "/spec/accessModes")),
    text("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
    made("Status", phase_or_terminating),
    made("Claim", |volume| match (string(volume, "/spec/claimRef/namespace"), string(volume, "/spec/claimRef/name")) {
        (_, "") => "".into(),
        (namespace, name) => format!("{namespace}/{name}").into(),
    }),
    text("StorageClass", "/spec/storageClassName"),
    AGE,
];

pub(super) const DEPLOYMENTS: &[Column] = &[
    NAME,
    made("Ready", |deployment| {
        let wanted = number(deployment, "/spec/replicas");
        format!("{}/{wanted}", number(deployment, "/status/readyReplicas")).into()
    }),
    made("Up-to-date", |deployment| number(deployment, "/status/updatedReplicas").into()),
    made("Available", |deployment| number(deployment, "/status/availableReplicas").into()),
    AGE,
];

pub(super) const REPLICA_SETS: &[Column] = &[
    NAME,
    made("Desired", |set| number(set, "/spec/replicas").into()),
    made("Current", |set| number(set, "/status/replicas").into()),
    made("Ready", |set| number(set, "/status/readyReplicas").into()),
    AGE,
];

pub(super) const JOBS: &[Column] = &[
    NAME,
    made("Status", |job| {
        let states = ["Complete", "Failed", "Suspended"];
        states.into_iter().find(|state| condition(job, state)).unwrap_or("Running").into()
    }),
    made("Completions", |job| {
        let wanted = job.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
        format!("{}/{wanted}", number(job, "/status/succeeded")).into()
    }),
    AGE,
];

pub(super) const LEASES: &[Column] = &[NAME, text("Holder", "/spec/holderIdentity"), AGE];

pub(super) const CSI_DRIVERS: &[Column] = &[
    NAME,
    of("boolean", text("AttachRequired", "/spec/attachRequired")),
    of("boolean", text("PodInfoOnMount", "/spec/podInfoOnMount")),
    AGE,
];

pub(super) const STORAGE_CLASSES: &[Column] = &[
    made("Name", |class| {
        let default = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
        let mark = if string(class, default) == "true" { " (default)" } else { "" };
        format!("{}{mark}", string(class, "/metadata/name")).into()
    }),
    text("Provisioner", "/provisioner"),
    text("ReclaimPolicy", "/reclaimPolicy"),
    text("VolumeBindingMode", "/volumeBindingMode"),
    made("AllowVolumeExpansion", |class| class.pointer("/allowVolumeExpansion").cloned().unwrap_or(Value::Bool(false))),
    AGE,
];

pub(super) const ATTACHMENTS: &[Column] = &[
    NAME,
    text("Attacher", "/spec/attacher"),
    text("PV", "/spec/source/persistentVolumeName"),
    text("Node", "/spec/nodeName"),
    of("boolean", text("Attached", "/status/attached")),
    AGE,
];

pub(super) const DEFINITIONS: &[Column] =
    &[NAME, Column { name: "Created At", ..text("", "/metadata/creationTimestamp") }];

const READY: Column = of("boolean", text("ReadyToUse", "/status/readyToUse"));
const DELETION_POLICY: Column = text("DeletionPolicy", "/spec/deletionPolicy");
const CREATED: Column =
    Column { name: "CreationTime", kind: "date", priority: 0, cell: Cell::Since("/status/creationTime") };

pub(super) const SNAPSHOTS: &[Column] = &[
    NAME,
    READY,
    text("SourcePVC", "/spec/source/persistentVolumeClaimName"),
    text("SourceSnapshotContent", "/spec/source/volumeSnapshotContentName"),
    text("RestoreSize", "/status/restoreSize"),
    text("SnapshotClass", "/spec/volumeSnapshotClassName"),
    text("SnapshotContent", "/status/boundVolumeSnapshotContentName"),
    CREATED,
    AGE,
];

pub(super) const CONTENTS: &[Column] = &[
    NAME,
    READY,
    of("integer", text("RestoreSize", "/status/restoreSize")),
    DELETION_POLICY,
    text("Driver", "/spec/driver"),
    text("VolumeSnapshotClass", "/spec/volumeSnapshotClassName"),
    text("VolumeSnapshot", "/spec/volumeSnapshotRef/name"),
    text("VolumeSnapshotNamespace", "/spec/volumeSnapshotRef/namespace"),
    AGE,
];

pub(super) const SNAPSHOT_CLASSES: &[Column] =
    &[NAME, text("Driver", "/driver"), text("DeletionPolicy", "/deletionPolicy"), AGE];

pub(super) const GROUP_SNAPSHOTS: &[Column] = &[
    NAME,
    READY,
    text("VolumeGroupSnapshotClass", "/spec/volumeGroupSnapshotClassName"),
    text("VolumeGroupSnapshotContent", "/status/boundVolumeGroupSnapshotContentName"),
    CREATED,
    AGE,
];

pub(super) const GROUP_CONTENTS: &[Column] = &[
    NAME,
    READY,
    DELETION_POLICY,
    text("Driver", "/spec/driver"),
    text("VolumeGroupSnapshotClass", "/spec/volumeGroupSnapshotClassName"),
    text("VolumeGroupSnapshotNamespace", "/spec/volumeGroupSnapshotRef/namespace"),
    text("VolumeGroupSnapshot", "/spec/volumeGroupSnapshotRef/name"),
    AGE,
];

const LAST_SYNC: Column = text("Last Sync", "/status/lastSyncTime");
const SYNC_DURATION: Column = text("Duration", "/status/lastSyncDuration");
const NEXT_SYNC: Column = text("Next Sync", "/status/nextSyncTime");

pub(super) const REPLICATION_SOURCES: &[Column] =
    &[NAME, text("Source", "/spec/sourcePVC"), LAST_SYNC, SYNC_DURATION, NEXT_SYNC];

pub(super) const REPLICATION_DESTINATIONS: &[Column] = &[NAME, LAST_SYNC, SYNC_DURATION, NEXT_SYNC];

pub(super) const CEPH_CLUSTERS: &[Column] = &[
    NAME,
    text("DataDirHostPath", "/spec/dataDirHostPath"),
    text("MonCount", "/spec/mon/count"),
    AGE,
    text("Phase", "/status/phase"),
    text("Message", "/status/message"),
    text("Health", "/status/ceph/health"),
    text("External", "/spec/external/enable"),
    text("FSID", "/status/ceph/fsid"),
];

pub(super) const POLICIES: &[Column] = &[
    NAME,
    text("Mode", "/spec/mode"),
    of("boolean", text("Suspended", "/spec/suspend")),
    made("Ready", |policy| string(ready(policy), "/status").into()),
    of("integer", text("Held", "/status/counts/held")),
    of("integer", text("Acting", "/status/counts/acting")),
    of("integer", text("Done", "/status/counts/done")),
    wide(text("Paused until", "/status/paused/until")),
    wide(made("Message", |policy| string(ready(policy), "/message").into())),
    AGE,
];

const DRIVER: Column = text("Driver", "/spec/driver");
const PHASE: Column = text("Phase", "/status/phase");
const MESSAGE: Column = wide(text("Message", "/status/message"));

pub(super) const REMEDIATIONS: &[Column] = &[
    NAME,
    text("Class", "/spec/class"),
    text("Namespace", "/spec/subject/namespace"),
    text("Subject", "/spec/subject/name"),
    text("Rung", "/status/plan/rung"),
    PHASE,
    text("Held by", "/status/heldBy"),
    wide(DRIVER),
    wide(text("Plan", "/status/plan/hash")),
    MESSAGE,
    AGE,
];

pub(super) const ORPHANS: &[Column] = &[
    NAME,
    DRIVER,
    text("Handle", "/spec/snapshotHandle"),
    PHASE,
    text("Namespace", "/spec/origin/snapshot/namespace"),
    wide(text("Snapshot", "/spec/origin/snapshot/name")),
    wide(text("Cluster", "/spec/ceph/clusterID")),
    wide(of("integer", text("Pool", "/spec/ceph/poolID"))),
    MESSAGE,
    AGE,
];

pub(super) const RETENTIONS: &[Column] = &[
    NAME,
    text("Mode", "/spec/mode"),
    of("boolean", text("Suspended", "/spec/suspend")),
    made("Ready", |policy| string(ready(policy), "/status").into()),
    of("integer", text("Kept", "/status/counts/kept")),
    of("integer", text("To prune", "/status/counts/toPrune")),
    of("integer", text("Held", "/status/counts/held")),
    Column { name: "Last run", kind: "date", priority: 0, cell: Cell::Since("/status/history/0/startedAt") },
    text("Next run", "/status/nextRun"),
    wide(text("Plan", "/status/plan/hash")),
    wide(made("Message", |policy| string(ready(policy), "/message").into())),
    AGE,
];

pub(super) const REPOSITORIES: &[Column] = &[
    NAME,
    made("Ready", |repository| string(ready(repository), "/status").into()),
    made("Reason", |repository| string(ready(repository), "/reason").into()),
    made("Healthy", |repository| string(whole(repository, "Healthy"), "/status").into()),
    text("Finding", "/status/findings/0/class"),
    text("Running", "/status/run/task"),
    text("Last task", "/status/history/0/task"),
    text("Outcome", "/status/history/0/outcome"),
    Column { name: "Last run", kind: "date", priority: 0, cell: Cell::Since("/status/history/0/finishedAt") },
    of("integer", text("Sources", "/status/repository/sources")),
    of("integer", text("Index blobs", "/status/repository/indexBlobs")),
    wide(of("boolean", text("Suspended", "/spec/suspend"))),
    wide(text("Owner", "/status/repository/owner")),
    wide(made("Message", |repository| string(ready(repository), "/message").into())),
    AGE,
];

// === Cells that are made ===

fn string<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn or_none(object: &Value, pointer: &str) -> Value {
    match string(object, pointer) {
        "" => "<none>".into(),
        text => text.into(),
    }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/status/containerStatuses").iter()
}

fn condition(object: &Value, name: &str) -> bool {
    let conditions = items(object, "/status/conditions").iter();
    conditions.into_iter().any(|one| string(one, "/type") == name && string(one, "/status") == "True")
}

/// A condition in full.
fn whole<'a>(object: &'a Value, name: &str) -> &'a Value {
    let mut conditions = items(object, "/status/conditions").iter();
    conditions.find(|one| string(one, "/type") == name).unwrap_or(&Value::Null)
}

fn ready(object: &Value) -> &Value {
    whole(object, "Ready")
}

fn phase_or_terminating(object: &Value) -> Value {
    if is_going(object) {
        return "Terminating".into();
    }
    string(object, "/status/phase").into()
}

/// What holds the pod up, or how its containers ended, or its phase.
fn pod_status(pod: &Value) -> Value {
    if is_going(pod) {
        return "Terminating".into();
    }
    let reasons = statuses(pod).filter_map(|status| {
        let waiting = string(status, "/state/waiting/reason");
        let ended = string(status, "/state/terminated/reason");
        [waiting, ended].into_iter().find(|reason| !reason.is_empty())
    });
    reasons.last().unwrap_or_else(|| string(pod, "/status/phase")).into()
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn access_modes(object: &Value, pointer: &str) -> Value {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    items(object, pointer).iter().map(short).collect::<Vec<_>>().join(",").into()
}
