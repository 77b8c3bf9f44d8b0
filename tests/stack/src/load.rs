//! Fills a cluster with bound, ready snapshots for benchmarks: one real pair through the API, then copies of it as
//! etcd stores them, straight into etcd.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::stack::Stack;

/// Puts in one etcd transaction; it takes 128 at most.
const BATCH: usize = 120;
const GROUP: &str = "snapshot.storage.k8s.io";
/// What external-snapshotter puts on every snapshot and on every content.
const SNAPSHOT_FINALIZERS: [&str; 2] = [
    "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection",
    "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection",
];
const CONTENT_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/// What to load.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many snapshots, each with its content.
    pub pairs: usize,
    /// Over how many namespaces, `PREFIX-ns-0` and on, they are spread.
    pub namespaces: usize,
    /// Over how many classes, `PREFIX-class-0` and on.
    pub classes: usize,
    /// The CSI driver that they claim. Not the stack's own: its csi-snapshotter would look after them.
    pub driver: String,
    /// What all names begin with; a second load of one cluster needs another.
    pub prefix: String,
    /// Without the snapshots, and the contents have been in deletion for an hour: what is left when somebody strips the
    /// finalizers of snapshots whose contents were made by snapshot-controller. The first pair stays whole.
    pub orphaned: bool,
}

impl Load {
    /// So many pairs, in 20 namespaces and 2 classes of a Ceph driver.
    #[must_use]
    pub fn pairs(pairs: usize) -> Self {
        let (driver, prefix) = ("rook-ceph.rbd.csi.ceph.com".to_owned(), "load".to_owned());
        Self { pairs, namespaces: 20, classes: 2, driver, prefix, orphaned: false }
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}-ns-{}", self.prefix, number % self.namespaces.max(1))
    }

    fn class(&self, number: usize) -> String {
        format!("{}-class-{}", self.prefix, number % self.classes.max(1))
    }
}

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Objects, so twice the pairs.
    pub objects: usize,
    /// The stored size of all of them.
    pub bytes: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// The names and ids of one pair, which follow from its number.
struct Pair {
    namespace: String,
    class: String,
    snapshot: String,
    snapshot_uid: String,
    content: String,
    content_uid: String,
    claim: String,
    handle: String,
    volume: String,
}

impl Pair {
    fn new(load: &Load, number: usize) -> Self {
        // The prefix tells loads apart in uids too: FNV-1a, 32 bits of it.
        let load_id =
            load.prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let uuid = |kind: u16| format!("{load_id:08x}-{kind:04x}-4000-8000-{number:012x}");
        Self {
            namespace: load.namespace(number),
            class: load.class(number),
            snapshot: format!("{}-{number:06}", load.prefix),
            content: format!("snapcontent-{}", uuid(1)),
            snapshot_uid: uuid(1),
            content_uid: uuid(2),
            claim: format!("data-{}", number % 1000),
            handle: format!("0001-0009-rook-ceph-0000000000000002-{}", uuid(3)),
            volume: format!("0001-0009-rook-ceph-0000000000000002-{}", uuid(4)),
        }
    }

    fn snapshot_key(&self) -> String {
        format!("/registry/{GROUP}/volumesnapshots/{}/{}", self.namespace, self.snapshot)
    }

    fn content_key(&self) -> String {
        format!("/registry/{GROUP}/volumesnapshotcontents/{}", self.content)
    }

    /// Makes a stored snapshot this one.
    fn rewrite_snapshot(&self, object: &mut Value) -> Result<(), Error> {
        set(object, "/metadata/name", &self.snapshot)?;
        set(object, "/metadata/namespace", &self.namespace)?;
        set(object, "/metadata/uid", &self.snapshot_uid)?;
        set(object, "/spec/volumeSnapshotClassName", &self.class)?;
        set(object, "/spec/source/persistentVolumeClaimName", &self.claim)?;
        set(object, "/status/boundVolumeSnapshotContentName", &self.content)
    }

    /// Makes a stored content this one.
    fn rewrite_content(&self, object: &mut Value) -> Result<(), Error> {
        set(object, "/metadata/name", &self.content)?;
        set(object, "/metadata/uid", &self.content_uid)?;
        set(object, "/spec/volumeSnapshotClassName", &self.class)?;
        set(object, "/spec/source/volumeHandle", &self.volume)?;
        set(object, "/spec/volumeSnapshotRef/name", &self.snapshot)?;
        set(object, "/spec/volumeSnapshotRef/namespace", &self.namespace)?;
        set(object, "/spec/volumeSnapshotRef/uid", &self.snapshot_uid)?;
        set(object, "/status/snapshotHandle", &self.handle)
    }
}

fn set(object: &mut Value, pointer: &str, value: &str) -> Result<(), Error> {
    let field = object.pointer_mut(pointer);
    *field.ok_or_else(|| Error::other(format!("the pair made through the API was stored without {pointer}")))? =
        json!(value);
    Ok(())
}

/// Makes a stored content one that snapshot-controller made two hours ago and that has been in deletion for one.
fn orphan(content: &mut Value) -> Result<(), Error> {
    let at = |ago: i64| jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - ago);
    let at = |ago| at(ago).map_err(|error| Error::other(format!("the clock stands where no time is: {error}")));
    let (made, deleted) = (at(7200)?, at(3600)?);
    let managers = content.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for entry in managers.into_iter().flatten() {
        set(entry, "/manager", "snapshot-controller")?;
    }
    set(content, "/metadata/creationTimestamp", &made.to_string())?;
    let cut = content.pointer_mut("/status/creationTime");
    *cut.ok_or_else(|| Error::other("the pair made through the API has no creationTime"))? =
        json!(made.as_nanosecond());
    let metadata = content.pointer_mut("/metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or_else(|| Error::other("the pair made through the API has no metadata"))?;
    metadata.insert("deletionTimestamp".to_owned(), json!(deleted.to_string()));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    Ok(())
}

impl Stack {
    /// Loads bound, ready pairs of VolumeSnapshot and VolumeSnapshotContent.
    ///
    /// snapshot-controller is paused meanwhile, if this stack has it. Nothing exists behind these objects: no claims,
    /// no volumes, no snapshots in the backend.
    pub fn load(&self, load: &Load) -> Result<Loaded, Error> {
        let start = Instant::now();
        let controller = self.process("snapshot-controller").ok().filter(|controller| controller.is_running());
        controller.map_or(Ok(()), crate::Process::pause)?;
        let outcome = self.load_all(load);
        controller.map_or(Ok(()), crate::Process::resume)?;
        outcome.map(|(objects, bytes)| Loaded { objects, bytes, elapsed: start.elapsed() })
    }

    fn load_all(&self, load: &Load) -> Result<(usize, usize), Error> {
        if load.pairs == 0 {
            return Ok((0, 0));
        }
        self.load_surroundings(load)?;
        let etcd = self.etcd()?;
        let first = self.load_first(load)?;
        let template = |key: &str| -> Result<Value, Error> {
            let stored = etcd.get(key)?.ok_or_else(|| Error::other(format!("etcd has nothing at {key}")))?;
            serde_json::from_slice(&stored.value).map_err(|error| Error::other(format!("{key} is no JSON: {error}")))
        };
        let (mut snapshot, mut content) = (template(&first.snapshot_key())?, template(&first.content_key())?);
        if load.orphaned {
            orphan(&mut content)?;
        }
        let mut bytes = snapshot.to_string().len() + content.to_string().len();
        let mut batch = Vec::with_capacity(BATCH);
        for number in 1..load.pairs {
            let pair = Pair::new(load, number);
            pair.rewrite_snapshot(&mut snapshot)?;
            pair.rewrite_content(&mut content)?;
            batch.push((pair.content_key(), content.to_string().into_bytes()));
            if !load.orphaned {
                batch.push((pair.snapshot_key(), snapshot.to_string().into_bytes()));
            }
            if batch.len() + 2 > BATCH || number + 1 == load.pairs {
                bytes += batch.iter().map(|(_, value)| value.len()).sum::<usize>();
                etcd.put_all(&batch)?;
                batch.clear();
            }
        }
        // One write to each kind through the API: until then its paged lists are read from etcd, several times slower.
        let mark = json!({"metadata": {"annotations": {"volwarden.dev/loaded": load.pairs.to_string()}}});
        self.patch("volumesnapshot", Some(&first.namespace), &first.snapshot, None, &mark)?;
        self.patch("volumesnapshotcontent", None, &first.content, None, &mark)?;
        Ok((if load.orphaned { load.pairs + 1 } else { 2 * load.pairs }, bytes))
    }

    fn load_surroundings(&self, load: &Load) -> Result<(), Error> {
        let namespace =
            |number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": load.namespace(number)}});
        let class = |number| {
            json!({
                "apiVersion": format!("{GROUP}/v1"), "kind": "VolumeSnapshotClass", "driver": load.driver,
                "deletionPolicy": "Delete", "metadata": {"name": load.class(number)},
            })
        };
        let namespaces = (0..load.namespaces.max(1)).map(namespace);
        let items: Vec<_> = namespaces.chain((0..load.classes.max(1)).map(class)).collect();
        self.apply_json(&json!({"apiVersion": "v1", "kind": "List", "items": items})).map(drop)
    }

    /// The one pair that is made as controllers make it: created, then given a status.
    fn load_first(&self, load: &Load) -> Result<Pair, Error> {
        let mut pair = Pair::new(load, 0);
        let snapshot = self.create(&json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": pair.snapshot, "namespace": pair.namespace,
                "labels": {"app.kubernetes.io/created-by": "volsync", "volsync.backube/cleanup": "load"},
            },
            "spec": {
                "volumeSnapshotClassName": pair.class, "source": {"persistentVolumeClaimName": pair.claim},
            },
        }))?;
        let uid = snapshot.pointer("/metadata/uid").and_then(Value::as_str);
        uid.ok_or_else(|| Error::other("the API server made a snapshot without a uid"))?
            .clone_into(&mut pair.snapshot_uid);
        pair.content = format!("snapcontent-{}", pair.snapshot_uid);
        let prefix = "snapshot.storage.kubernetes.io";
        self.create(&json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": pair.content,
                "annotations": {
                    format!("{prefix}/deletion-secret-name"): "rook-csi-rbd-provisioner",
                    format!("{prefix}/deletion-secret-namespace"): "rook-ceph",
                },
            },
            "spec": {
                "deletionPolicy": "Delete", "driver": load.driver, "sourceVolumeMode": "Filesystem",
                "source": {"volumeHandle": pair.volume}, "volumeSnapshotClassName": pair.class,
                "volumeSnapshotRef": {
                    "apiVersion": format!("{GROUP}/v1"), "kind": "VolumeSnapshot", "name": pair.snapshot,
                    "namespace": pair.namespace, "uid": pair.snapshot_uid,
                },
            },
        }))?;
        let protected = json!({"metadata": {"finalizers": SNAPSHOT_FINALIZERS}});
        self.patch("volumesnapshot", Some(&pair.namespace), &pair.snapshot, None, &protected)?;
        let protected = json!({"metadata": {"finalizers": [CONTENT_FINALIZER]}});
        self.patch("volumesnapshotcontent", None, &pair.content, None, &protected)?;
        let status = json!({"status": {
            "readyToUse": true, "restoreSize": 10_737_418_240_u64, "creationTime": 1_767_225_600_000_000_000_u64,
            "snapshotHandle": pair.handle,
        }});
        self.patch("volumesnapshotcontent", None, &pair.content, Some("status"), &status)?;
        let status = json!({"status": {
            "readyToUse": true, "restoreSize": "10Gi", "creationTime": "2026-01-01T00:00:00Z",
            "boundVolumeSnapshotContentName": pair.content,
        }});
        self.patch("volumesnapshot", Some(&pair.namespace), &pair.snapshot, Some("status"), &status)?;
        Ok(pair)
    }
}
