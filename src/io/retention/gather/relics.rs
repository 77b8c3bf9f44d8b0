//! What is left over beside good snapshots, as the lists show it: only where a policy asks for it, and few objects each.
//!
//! A retained content is read when it is listed, before the VolumeSnapshots: what still names or uses it afterwards is
//! noticed, and a snapshot that goes meanwhile leaves a content without a mark. managedFields tell who made the content and
//! when snapshot-controller marked it, which is when its VolumeSnapshot went.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{DO_NOT_DELETE, Texts, VOLSYNC, made_by, print};
use crate::api::{IGNORE, KEEP, RECLAIMS};
use crate::domain::diagnose::content::OWN_FINALIZER;
use crate::domain::name::{Key, Stamp, Uid, fingerprint};
use crate::domain::prune::field::Field;
use crate::domain::prune::relic::{Detail, Kept, Relic, RelicMarks, Temporary};
use crate::domain::record::Owner;
use crate::domain::remedy::action::{BEING_CREATED, BEING_DELETED};

/// A backend snapshot that is so much older than its object, in seconds, was not cut for it.
const COPY: i64 = 300;
/// Who makes and marks contents, by its name in managedFields.
const CONTROLLER: &str = "snapshot-controller";
/// The label of everything that VolSync makes, and its value.
const CREATED_BY: &str = "app.kubernetes.io/created-by";
/// The label of what VolSync takes away after a synchronisation; the value is its owner's uid.
const CLEANUP: &str = "volsync.backube/cleanup";
/// Finalizers of claims whose owners let go by themselves.
const CLAIM_FINALIZERS: [&str; 3] = [
    "kubernetes.io/pvc-protection",
    "snapshot.storage.kubernetes.io/pvc-as-source-protection",
    "provisioner.storage.kubernetes.io/cloning-protection",
];
/// Finalizers of Jobs and of what waits for its dependents.
const JOB_FINALIZERS: [&str; 3] = ["foregroundDeletion", "orphan", "batch.kubernetes.io/job-tracking"];
/// Where a claim says who provisions it.
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn time(object: &Value, path: &str) -> Option<Timestamp> {
    text(object, path)?.parse().ok()
}

fn stamp(object: &Value, path: &str) -> Option<Stamp> {
    time(object, path).and_then(Stamp::from_timestamp)
}

fn texts(object: &Value, path: &str) -> Texts {
    let map = object.pointer(path).and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    pairs.map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into())).collect()
}

fn items<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// What every kind has.
fn relic(object: &Value, known: &[&str], detail: Detail) -> Option<Relic> {
    let (labels, notes) = (texts(object, "/metadata/labels"), texts(object, "/metadata/annotations"));
    let either = |key: &str| labels.contains_key(key) || notes.contains_key(key);
    let mut finalizers = items(object, "/metadata/finalizers").filter_map(Value::as_str);
    let marks = RelicMarks {
        deleting: text(object, "/metadata/deletionTimestamp").is_some(),
        ignored: notes.contains_key(IGNORE),
        keep: either(KEEP),
        do_not_delete: either(DO_NOT_DELETE),
        reclaims: either(RECLAIMS),
        foreign_finalizer: finalizers.any(|name| !known.contains(&name)),
        used: false,
    };
    let owner = items(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&true.into()));
    let owner = owner.map(|owner| {
        let version = text(owner, "/apiVersion").unwrap_or_default();
        let kind = text(owner, "/kind").unwrap_or_default();
        Owner {
            kind: if version.starts_with(VOLSYNC) { kind.into() } else { format!("{version} {kind}").into() },
            name: text(owner, "/name").unwrap_or_default().into(),
            uid: Uid::parse(text(owner, "/uid").unwrap_or_default()),
        }
    });
    let since = match &detail {
        Detail::Content(_) => None,
        Detail::Claim(temporary) | Detail::Job(temporary) => temporary.since,
    };
    Some(Relic {
        key: Key::namespaced(text(object, "/metadata/namespace").unwrap_or_default(), text(object, "/metadata/name")?),
        uid: Uid::parse(text(object, "/metadata/uid")?),
        version: text(object, "/metadata/resourceVersion")?.into(),
        class: None,
        driver: None,
        volume: None,
        since,
        size: 0,
        marks,
        owner,
        maker: made_by(&labels, &notes),
        labels: Arc::new(labels),
        detail,
    })
}

/// What VolSync says of an object of its own that is there for one synchronisation only.
pub(super) fn temporary(
    labels: &Texts,
    name: &str,
    prefix: &str,
    suffixes: &[&str],
    since: Option<Stamp>,
) -> Option<Temporary> {
    let owner = labels.get(CLEANUP).filter(|owner| !owner.is_empty())?;
    let by_volsync = labels.get(CREATED_BY).is_some_and(|maker| &**maker == "volsync");
    let rest = name.strip_prefix(prefix).filter(|_| by_volsync)?;
    let source = suffixes.iter().find_map(|suffix| rest.strip_suffix(suffix)).filter(|source| !source.is_empty())?;
    Some(Temporary { owner: Uid::parse(owner), source: source.into(), since })
}

// === Contents ===

/// A content that policy Retain may have kept: whether its VolumeSnapshot is gone shows later.
pub(super) fn content(object: &Value) -> Option<(Relic, Uid)> {
    let policy = text(object, "/spec/deletionPolicy")?;
    let notes = texts(object, "/metadata/annotations");
    let marked = notes.contains_key(BEING_DELETED);
    if text(object, "/metadata/deletionTimestamp").is_some() || !(policy == "Retain" || policy == "Delete" && marked) {
        return None;
    }
    let driver = text(object, "/spec/driver")?;
    let volume = text(object, "/spec/source/volumeHandle");
    let handle = text(object, "/status/snapshotHandle");
    let uid = text(object, "/spec/volumeSnapshotRef/uid");
    let key = Key::namespaced(
        text(object, "/spec/volumeSnapshotRef/namespace").unwrap_or_default(),
        text(object, "/spec/volumeSnapshotRef/name").unwrap_or_default(),
    );
    let group = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";
    let gone = Uid::parse(uid.unwrap_or_default());
    let kept = Kept {
        snapshot: Some((key, gone.clone())),
        handle: handle.map(fingerprint),
        retained: policy == "Retain",
        marked,
        creating: notes.contains_key(BEING_CREATED),
        protected: items(object, "/metadata/finalizers").any(|name| name == OWN_FINALIZER),
        here: volume.is_some() && uid.is_some() && made_here(object),
        copy: is_copy(object),
        grouped: notes.contains_key(group) || object.pointer("/status/volumeGroupSnapshotHandle").is_some(),
        ..Kept::default()
    };
    let mut relic = relic(object, &[OWN_FINALIZER], Detail::Content(kept))?;
    relic.class = text(object, "/spec/volumeSnapshotClassName").map(Into::into);
    relic.driver = Some(driver.into());
    relic.volume = volume.and_then(|handle| NonZeroU64::new(print(driver, handle)));
    relic.since = marked_at(object).and_then(Stamp::from_timestamp);
    let size = object.pointer("/status/restoreSize").and_then(Value::as_u64);
    relic.size = size.unwrap_or_default();
    Some((relic, gone))
}

/// snapshot-controller, and nobody else, wrote what it was made from.
fn made_here(object: &Value) -> bool {
    let of_source = |entry: &&Value| entry.pointer("/fieldsV1/f:spec/f:source").is_some();
    let mut makers = items(object, "/metadata/managedFields").filter(of_source).peekable();
    makers.peek().is_some() && makers.all(|entry| text(entry, "/manager") == Some(CONTROLLER))
}

/// When snapshot-controller put its mark on it.
fn marked_at(object: &Value) -> Option<Timestamp> {
    let mark = format!("/fieldsV1/f:metadata/f:annotations/f:{}", BEING_DELETED.replace('/', "~1"));
    let mut entries = items(object, "/metadata/managedFields");
    let entry = entries.find(|entry| text(entry, "/manager") == Some(CONTROLLER) && entry.pointer(&mark).is_some())?;
    time(entry, "/time")
}

fn is_copy(object: &Value) -> bool {
    let cut = object.pointer("/status/creationTime").and_then(Value::as_i64).map(|nanos| nanos / 1_000_000_000);
    let made = time(object, "/metadata/creationTimestamp").map(Timestamp::as_second);
    matches!((cut, made), (Some(cut), Some(made)) if made - cut > COPY)
}

/// Handles that a group's content lists.
pub(super) fn group_handles(object: &Value, out: &mut BTreeSet<u64>) {
    let imported = items(object, "/spec/source/groupSnapshotHandles/volumeSnapshotHandles").filter_map(Value::as_str);
    let lists = ["/status/volumeSnapshotInfoList", "/status/volumeSnapshotHandlePairList"];
    let listed = lists.into_iter().flat_map(|list| items(object, list));
    out.extend(imported.chain(listed.filter_map(|one| text(one, "/snapshotHandle"))).map(fingerprint));
}

/// The handle of an entry of the orphan ledger.
pub(super) fn orphan_handle(object: &Value, out: &mut BTreeSet<u64>) {
    out.extend(text(object, "/spec/snapshotHandle").map(fingerprint));
}

/// Contents that may be left over, until the other lists have been read.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    contents: BTreeMap<Box<str>, Relic>,
    by_snapshot: BTreeMap<Uid, Vec<Box<str>>>,
    /// So many contents have this handle.
    handles: BTreeMap<u64, usize>,
    /// Groups and the orphan ledger have these.
    pub(super) elsewhere: BTreeSet<u64>,
}

impl Drafts {
    pub(super) fn content(&mut self, object: &Value) {
        // An imported one has it in both places.
        let places = ["/status/snapshotHandle", "/spec/source/snapshotHandle"];
        let own: BTreeSet<u64> = places.iter().filter_map(|place| text(object, place)).map(fingerprint).collect();
        for handle in own {
            *self.handles.entry(handle).or_default() += 1;
        }
        let Some((relic, gone)) = content(object) else { return };
        self.by_snapshot.entry(gone).or_default().push(relic.key.name.clone());
        self.contents.insert(relic.key.name.clone(), relic);
    }

    /// A VolumeSnapshot lives: the contents of that uid are not left over, and one that it names is claimed.
    pub(super) fn lives(&mut self, uid: &Uid, names: impl IntoIterator<Item = Box<str>>) {
        for name in self.by_snapshot.remove(uid).unwrap_or_default() {
            self.contents.remove(&name);
        }
        for name in names {
            if let Some(Relic { detail: Detail::Content(kept), .. }) = self.contents.get_mut(&name) {
                kept.claimed = true;
            }
        }
    }

    /// What is left over, once everything was listed.
    pub(super) fn finish(self, field: &mut Field) {
        let ready: BTreeSet<NonZeroU64> = field
            .cuts
            .iter()
            .filter(|cut| cut.marks.ready && !cut.marks.deleting)
            .filter_map(|cut| cut.volume)
            .collect();
        let Self { contents, handles, elsewhere, .. } = self;
        for mut relic in contents.into_values() {
            if let Detail::Content(kept) = &mut relic.detail {
                let times = kept.handle.and_then(|handle| handles.get(&handle)).copied().unwrap_or_default();
                kept.shared = times > 1 || kept.handle.is_some_and(|handle| elsewhere.contains(&handle));
                kept.last = relic.volume.is_none_or(|volume| !ready.contains(&volume));
            }
            field.relics.push(relic);
        }
    }
}

// === Claims, Jobs, pods ===

/// What uses claims.
#[derive(Default)]
pub(super) struct Uses {
    /// Claims that pods mount, or that other claims are made from.
    claims: BTreeSet<Key>,
}

impl Uses {
    /// A claim that is a clone of another, and a claim of VolSync's.
    pub(super) fn claim(&mut self, object: &Value, field: &mut Field) {
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        for place in ["/spec/dataSource", "/spec/dataSourceRef"] {
            let Some(source) = object.pointer(place) else { continue };
            if let (Some("PersistentVolumeClaim"), Some(name)) = (text(source, "/kind"), text(source, "/name")) {
                let of = text(source, "/namespace").unwrap_or(namespace);
                self.claims.insert(Key::namespaced(of, name));
            }
        }
        let labels = texts(object, "/metadata/labels");
        let name = text(object, "/metadata/name").unwrap_or_default();
        let since = stamp(object, "/metadata/creationTimestamp");
        let Some(temporary) = temporary(&labels, name, "volsync-", &["-src", "-dest"], since) else { return };
        let Some(mut relic) = relic(object, &CLAIM_FINALIZERS, Detail::Claim(temporary)) else { return };
        let notes = texts(object, "/metadata/annotations");
        relic.driver = PROVISIONER.iter().find_map(|key| notes.get(*key)).map(|driver| Arc::from(&**driver));
        field.relics.push(relic);
    }

    /// The claims that a pod mounts, unless it has ended.
    pub(super) fn pod(&mut self, object: &Value) {
        if matches!(text(object, "/status/phase"), Some("Succeeded" | "Failed")) {
            return;
        }
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        let names =
            items(object, "/spec/volumes").filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
        self.claims.extend(names.map(|name| Key::namespaced(namespace, name)));
    }

    /// Marks the claims that are used.
    pub(super) fn finish(self, field: &mut Field) {
        let cut = field.cuts.iter().filter(|cut| !cut.marks.ready && !cut.marks.deleting);
        let cut = cut.filter_map(|cut| {
            Some(Key::namespaced(Arc::clone(&cut.key.namespace), Box::<str>::from(&**cut.claim.as_ref()?)))
        });
        let used: BTreeSet<Key> = self.claims.into_iter().chain(cut).collect();
        for relic in &mut field.relics {
            if matches!(relic.detail, Detail::Claim(_)) && used.contains(&relic.key) {
                relic.marks.used = true;
            }
        }
    }
}

/// A Job of VolSync's.
pub(super) fn job(object: &Value, field: &mut Field) {
    let labels = texts(object, "/metadata/labels");
    let name = text(object, "/metadata/name").unwrap_or_default();
    let ended = |one: &&Value| {
        matches!(text(one, "/type"), Some("Complete" | "Failed")) && text(one, "/status") == Some("True")
    };
    let active = object.pointer("/status/active").and_then(Value::as_i64).unwrap_or_default();
    let end = items(object, "/status/conditions").find(ended).filter(|_| active == 0);
    let since = end.and_then(|one| stamp(one, "/lastTransitionTime"));
    if end.is_none() {
        field.movers.insert(Key::namespaced(text(object, "/metadata/namespace").unwrap_or_default(), name));
        field.moving.extend(labels.get(CLEANUP).map(|owner| Uid::parse(owner)));
    }
    let found =
        ["volsync-src-", "volsync-dst-"].iter().find_map(|prefix| temporary(&labels, name, prefix, &[""], since));
    let Some(temporary) = found else { return };
    let Some(mut relic) = relic(object, &JOB_FINALIZERS, Detail::Job(temporary)) else { return };
    relic.marks.used = end.is_none();
    field.relics.push(relic);
}
